// @ts-check
/**
 * The state of the connection in one word: pure functions over what the server and `getStats` say.
 *
 * @typedef {import('../types/app.d.ts').QualityLevel} QualityLevel
 * @typedef {import('../types/app.d.ts').QualitySample} QualitySample
 * @typedef {import('../types/app.d.ts').MediaConnection} MediaConnection
 * @typedef {import('../types/app.d.ts').Picture} Picture
 *
 * @typedef {{received: number, lost: number}} Counters
 */

// The page loads this module with its first call, and the other one with it.
export { Way, pathInUse } from './way.js';

/** From here on people notice: words get lost now and then. */
const FAIR_LOSS = 0.02;
/** From here on a conversation is hard. */
const POOR_LOSS = 0.08;
/** Seconds. From here on people begin to talk over each other (ITU-T G.114: 150 ms one way is unnoticed, 400 ms is the limit). */
const FAIR_ROUND_TRIP = 0.3;
const POOR_ROUND_TRIP = 0.7;

/**
 * @typedef {object} Own What this client's own line carries of its camera, and which pictures it may lose.
 * @property {import('../types/protocol.d.ts').TargetName} carries
 * @property {boolean} sendsPicture
 * @property {boolean} sharesScreen
 */

/**
 * Cameras give way to a screen on a line that is good enough for a visit: that says nothing bad about the line.
 * @param {MediaConnection} connection
 * @param {QualitySample | null} sample
 * @param {Picture[]} faces
 * @param {Own} own
 * @param {Picture[]} [screens]
 * @returns {QualityLevel}
 */
export function level(connection, sample, faces, own, screens = []) {
  if (connection === 'interrupted' || connection === 'failed') return 'interrupted';
  if (connection !== 'connected') return 'connecting';
  const loss = sample?.loss ?? 0;
  const roundTrip = sample?.roundTrip ?? 0;
  const judged = giveWay(screens) ? screens : [...faces, ...screens];
  const pictures = judged.filter((r) => r.video && !r.cameraMuted && r.sending !== null);
  // What is asked for by hand says nothing about a line.
  const less = (/** @type {Picture['why']} */ why, /** @type {Picture['sending']} */ sending) =>
    pictures.some((r) => r.why === why && r.sending === sending && r.target !== sending);
  const carries = own.sendsPicture && !own.sharesScreen ? own.carries : 'p720';
  if (loss >= POOR_LOSS || roundTrip >= POOR_ROUND_TRIP || carries === 'audio_only' || less('connection', 'audio_only')) return 'poor_yours';
  if (less('publisher', 'audio_only')) return 'poor_theirs';
  if (pictures.length > 0 && pictures.every((r) => r.sending === 'audio_only')) return 'sound_only';
  const isFair = loss >= FAIR_LOSS || roundTrip >= FAIR_ROUND_TRIP || carries === 'p480';
  if (isFair || less('connection', 'p480') || less('publisher', 'p480')) return 'fair';
  return 'good';
}

/**
 * What a person has to know about pictures that stopped or may stop, the most important first.
 * @param {Picture[]} faces
 * @param {Own} own
 * @param {Picture[]} [screens]
 * @returns {import('../types/app.d.ts').Notice | null}
 */
export function notice(faces, own, screens = []) {
  if (own.sendsPicture && own.carries === 'audio_only') return own.sharesScreen ? 'own_for_screen' : 'own_paused';
  if (giveWay(screens)) {
    if (screens.some(isPaused)) return 'paused';
    if (screens.some((r) => r.atRisk)) return 'at_risk';
    return faces.some(isPaused) ? 'for_screen' : null;
  }
  const all = [...faces, ...screens];
  if (all.some(isPaused)) return 'paused';
  return all.some((r) => r.atRisk) ? 'at_risk' : null;
}

/**
 * Whether a screen is shown, which cameras give way to. One that is paused itself takes nothing from them.
 * @param {Picture[]} screens
 */
export function giveWay(screens) {
  return screens.some((screen) => screen.video !== null && screen.connected && screen.sending !== 'audio_only');
}

/**
 * Whether somebody's picture was stopped by a line, not by a person.
 * @param {Picture} picture
 */
export function isPaused({ video, cameraMuted, connected, sending, target, why }) {
  return video !== null && connected && !cameraMuted && sending === 'audio_only' && target !== 'audio_only' && (why === 'connection' || why === 'publisher');
}

/**
 * What the counters of two moments say about the time between them.
 * @param {Counters | null} before
 * @param {Counters} now
 * @param {number | null} roundTrip
 * @returns {QualitySample}
 */
export function between(before, now, roundTrip) {
  const received = Math.max(0, now.received - (before?.received ?? 0));
  const lost = Math.max(0, now.lost - (before?.lost ?? 0));
  return { loss: received + lost === 0 ? 0 : lost / (received + lost), roundTrip };
}

/**
 * Sums up what is received, and finds the round trip of the path in use.
 * @param {Iterable<any>} reports the values of an RTCStatsReport
 * @returns {{counters: Counters, roundTrip: number | null}}
 */
export function read(reports) {
  const counters = { received: 0, lost: 0 };
  /** @type {number | null} */
  let roundTrip = null;
  for (const report of reports) {
    if (report.type === 'inbound-rtp') {
      counters.received += report.packetsReceived ?? 0;
      counters.lost += Math.max(0, report.packetsLost ?? 0);
    } else if (report.type === 'candidate-pair' && report.nominated && report.state === 'succeeded') {
      roundTrip = report.currentRoundTripTime ?? roundTrip;
    }
  }
  return { counters, roundTrip };
}
