// @ts-check
/**
 * How the call goes, told to the server every ten seconds: numbers for the visit's quality record, nothing about anybody.
 *
 * @typedef {import('../types/protocol.d.ts').ClientReport} ClientReport
 * @typedef {import('../types/protocol.d.ts').ClientMessage} ClientMessage
 *
 * @typedef {object} Totals Since the connection began, of one line.
 * @property {number} frames
 * @property {number} dropped
 * @property {number} freezes
 * @property {number} frozenSeconds
 * @property {number} samples
 * @property {number} concealed without silence
 * @property {number} bufferedSeconds sample seconds spent in the jitter buffer
 * @property {number} emitted samples that left it
 *
 * @typedef {object} JoinTimes What this page remembers of its beginning, in milliseconds of `performance.now()`.
 * @property {number | null} usable when the page could be used
 * @property {number | null} welcomed when the server first said welcome
 * @property {number | null} firstFrame when the first frame was decoded
 * @property {boolean} said whether the server has been told all of it
 */

/** How often the server is told. */
const EVERY_MS = 10_000;
/** How often it is looked whether there is a first frame. */
const LOOK_MS = 100;

/** @type {Readonly<Totals>} */
const NOTHING = { frames: 0, dropped: 0, freezes: 0, frozenSeconds: 0, samples: 0, concealed: 0, bufferedSeconds: 0, emitted: 0 };

/**
 * Sums up what is received on each line.
 * @param {Iterable<any>} reports the values of an RTCStatsReport
 * @returns {Map<string, Totals>}
 */
export function totals(reports) {
  /** @type {Map<string, Totals>} */
  const lines = new Map();
  for (const report of reports) {
    if (report.type !== 'inbound-rtp') continue;
    const line = report.mid ?? report.id ?? '';
    const sum = lines.get(line) ?? { ...NOTHING };
    lines.set(line, sum);
    if (report.kind === 'video') {
      sum.frames += report.framesDecoded ?? 0;
      sum.dropped += report.framesDropped ?? 0;
      sum.freezes += report.freezeCount ?? 0;
      sum.frozenSeconds += report.totalFreezesDuration ?? 0;
    } else {
      sum.samples += report.totalSamplesReceived ?? 0;
      sum.concealed += Math.max(0, (report.concealedSamples ?? 0) - (report.silentConcealedSamples ?? 0));
      sum.bufferedSeconds += report.jitterBufferDelay ?? 0;
      sum.emitted += report.jitterBufferEmittedCount ?? 0;
    }
  }
  return lines;
}

/**
 * What happened between two moments. A line that is gone takes its sums along, and one that begins anew counts from nothing.
 * @param {Map<string, Totals>} before
 * @param {Map<string, Totals>} now
 * @param {number} milliseconds
 * @param {Set<string>} [left] lines that are left out: a screen's frames come when something moves, and none is missed in between
 * @returns {ClientReport}
 */
export function between(before, now, milliseconds, left) {
  const lines = [...now].filter(([line]) => !left?.has(line));
  /** @param {keyof Totals} name */
  const grown = (name) => lines.reduce((sum, [line, of]) => sum + Math.max(0, of[name] - (before.get(line)?.[name] ?? 0)), 0);
  const samples = Math.round(grown('samples'));
  const emitted = grown('emitted');
  /** @type {ClientReport} */
  const report = {
    interval_ms: Math.round(milliseconds),
    frames_decoded: grown('frames'),
    frames_dropped: grown('dropped'),
    freezes: grown('freezes'),
    freeze_ms: Math.round(grown('frozenSeconds') * 1_000),
    samples,
    concealed: Math.min(samples, Math.round(grown('concealed'))),
  };
  if (emitted > 0) report.jitter_buffer_ms = Math.min(10_000, Math.round((grown('bufferedSeconds') / emitted) * 1_000));
  return report;
}

export class Reporter {
  /** @type {Map<string, Totals>} */
  #before = new Map();
  /** Lines that have shown a screen since. @type {Set<string>} */
  #left = new Set();
  #since;
  #send;
  #times;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #look;

  /**
   * @param {RTCPeerConnection} connection
   * @param {(message: ClientMessage) => boolean} send false if the connection to the server is down
   * @param {JoinTimes} times
   * @param {number} now
   */
  constructor(connection, send, times, now) {
    this.#since = now;
    this.#send = send;
    this.#times = times;
    if (times.firstFrame === null) this.#look = setInterval(() => void this.#lookFor(connection), LOOK_MS);
  }

  stop() {
    clearInterval(this.#look);
  }

  /**
   * Takes the connection's statistics, and tells the server when it is time.
   * @param {any[]} reports
   * @param {number} now
   * @param {Set<string>} [left] lines that show a screen now
   */
  take(reports, now, left) {
    for (const line of left ?? []) this.#left.add(line);
    const span = now - this.#since;
    if (span < EVERY_MS) return;
    const sums = totals(reports);
    // A page that was asleep for minutes knows nothing of when in them things happened.
    const report = span > 120_000 ? null : between(this.#before, sums, span, this.#left);
    this.#before = sums;
    this.#left = new Set(left);
    this.#since = now;
    if (!report) return;
    const { usable, welcomed, firstFrame, said } = this.#times;
    if (!said && usable !== null) report.page_ms = Math.round(usable);
    if (!said && welcomed !== null && firstFrame !== null) report.first_frame_ms = Math.round(Math.max(0, firstFrame - welcomed));
    const sent = this.#send({ type: 'report', ...report });
    if (sent && report.first_frame_ms !== undefined) this.#times.said = true;
  }

  /** @param {RTCPeerConnection} connection */
  async #lookFor(connection) {
    for (const receiver of connection.getReceivers()) {
      if (receiver.track.kind !== 'video') continue;
      const sums = totals((await receiver.getStats()).values());
      if (![...sums.values()].some(({ frames }) => frames > 0)) continue;
      this.#times.firstFrame ??= performance.now();
      clearInterval(this.#look);
      return;
    }
  }
}
