// @ts-check
/**
 * The state of the connection in one word: pure functions over what the server and `getStats` say.
 *
 * @typedef {import('../types/app.d.ts').QualityLevel} QualityLevel
 * @typedef {import('../types/app.d.ts').QualitySample} QualitySample
 * @typedef {import('../types/app.d.ts').MediaConnection} MediaConnection
 * @typedef {import('../types/app.d.ts').Remote} Remote
 *
 * @typedef {{received: number, lost: number}} Counters
 */

/** From here on people notice: words get lost now and then. */
const FAIR_LOSS = 0.02;
/** From here on a conversation is hard. */
const POOR_LOSS = 0.08;
/** Seconds. From here on people begin to talk over each other (ITU-T G.114: 150 ms one way is unnoticed, 400 ms is the limit). */
const FAIR_ROUND_TRIP = 0.3;
const POOR_ROUND_TRIP = 0.7;

/**
 * @param {MediaConnection} connection
 * @param {QualitySample | null} sample
 * @param {Remote[]} remotes
 * @returns {QualityLevel}
 */
export function level(connection, sample, remotes) {
  if (connection === 'interrupted' || connection === 'failed') return 'interrupted';
  if (connection !== 'connected') return 'connecting';
  const loss = sample?.loss ?? 0;
  const roundTrip = sample?.roundTrip ?? 0;
  if (loss >= POOR_LOSS || roundTrip >= POOR_ROUND_TRIP) return 'poor';
  const pictures = remotes.filter((r) => r.video && !r.cameraMuted && r.sending !== null);
  if (pictures.length > 0 && pictures.every((r) => r.sending === 'audio_only')) return 'sound_only';
  if (loss >= FAIR_LOSS || roundTrip >= FAIR_ROUND_TRIP) return 'fair';
  return 'good';
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
