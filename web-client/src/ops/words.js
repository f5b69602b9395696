// @ts-check
/**
 * What numbers mean, in words. Pure functions. The page is for operators and in English.
 *
 * @typedef {import('../../types/ops.d.ts').QualityRecord} QualityRecord
 * @typedef {import('../../types/ops.d.ts').Sample} Sample
 * @typedef {import('../../types/ops.d.ts').Move} Move
 * @typedef {'good' | 'fair' | 'poor' | 'unknown'} Grade
 */

/** @type {Record<string, string>} */
const RUNGS = { p720: '720p', p480: '480p', audio_only: 'sound only' };
/** @type {Record<string, string>} */
const PATHS = { udp: 'UDP', tcp: 'TCP', turn_udp: 'TURN over UDP', turn_tcp: 'TURN over TCP', turn_tls: 'TURN over TLS' };
/** @type {Record<string, string>} */
const REASONS = { capacity: 'the line carries less', queue: 'packets queued up', loss: 'packets were lost', recovered: 'the line carries more again' };

/** @param {string} name */
export const rungWord = (name) => RUNGS[name] ?? name;
/** @param {string} name */
export const pathWord = (name) => PATHS[name] ?? name;
/** @param {string} name */
export const reasonWord = (name) => REASONS[name] ?? name;

/**
 * Bands of ITU-T G.107, Annex B.
 * @param {number | null | undefined} mos
 * @returns {Grade}
 */
export function grade(mos) {
  if (mos === null || mos === undefined) return 'unknown';
  if (mos >= 4) return 'good';
  return mos >= 3.6 ? 'fair' : 'poor';
}

/** @type {Record<Grade, string>} */
const GRADES = { good: 'Good', fair: 'Fair', poor: 'Poor', unknown: 'Not measured' };
/** @param {number | null | undefined} mos */
export const gradeWord = (mos) => GRADES[grade(mos)];

/**
 * `patient_uplink` and the like, as a sentence.
 * @param {string | null | undefined} culprit
 */
export function culpritSentence(culprit) {
  if (!culprit || culprit === 'nobody') return 'No trouble.';
  if (culprit === 'server') return 'The server was late or could not send.';
  const [side, leg] = culprit.split('_');
  const whose = side === 'clinic' ? 'The clinic’s' : `The ${side}’s`;
  return leg === 'uplink' ? `${whose} line to the server was bad.` : `${whose} line from the server was bad.`;
}

/** @param {string | null | undefined} culprit */
export function culpritWord(culprit) {
  if (!culprit || culprit === 'nobody') return 'no trouble';
  return culprit === 'server' ? 'server' : culprit.replace('_', ' ');
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3_600), Math.floor(whole / 60) % 60, whole % 60];
  const pad = (/** @type {number} */ n) => String(n).padStart(2, '0');
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${minutes}:${pad(rest)}`;
}

/** @param {number | null | undefined} share */
export const percent = (share) => (share === null || share === undefined ? '–' : `${(share * 100).toFixed(share > 0 && share < 0.01 ? 2 : 1)} %`);

/** @param {number | null | undefined} ms */
export const milliseconds = (ms) => (ms === null || ms === undefined ? '–' : `${Math.round(ms)} ms`);

/** @param {number | null | undefined} mos */
export const score = (mos) => (mos === null || mos === undefined ? '–' : mos.toFixed(1));

/** @type {Array<[keyof import('../../types/ops.d.ts').JoinTimes, string]>} */
const STAGES = [
  ['page_ms', 'page ready'],
  ['offer_ms', 'offer'],
  ['ice_ms', 'ICE'],
  ['dtls_ms', 'DTLS'],
  ['media_ms', 'first media in'],
  ['admitted_ms', 'admitted'],
  ['first_frame_ms', 'first frame'],
];

/**
 * The stages of joining that were reached, in the order in which they were; the page's own comes first, for it was before hello.
 * @param {QualityRecord['join']} join
 * @returns {Array<{stage: string, ms: number}>}
 */
export function stages(join) {
  return STAGES.flatMap(([key, stage]) => {
    const ms = join[key];
    return ms === null || ms === undefined ? [] : [{ key, stage, ms }];
  })
    .sort((a, b) => Number(b.key === 'page_ms') - Number(a.key === 'page_ms') || a.ms - b.ms)
    .map(({ stage, ms }) => ({ stage, ms }));
}

/**
 * The whole timeline in one sentence, for those who do not see it.
 * @param {QualityRecord} record
 */
export function summary(record) {
  const rungs = Object.entries(record.rungs)
    .sort(([, a], [, b]) => b - a)
    .map(([name, seconds]) => `${clock(seconds)} at ${rungWord(name)}`);
  const parts = [
    rungs.length > 0 ? rungs.join(', ') : 'no picture was sent',
    `${record.moves.length + record.moves_left_out} changes`,
    `${record.picture.freezes} freezes, ${record.picture.freeze_seconds.toFixed(1)} s in all`,
    culpritSentence(record.culprit).replace(/\.$/u, '').toLowerCase(),
  ];
  return `${parts.join('; ')}.`;
}
