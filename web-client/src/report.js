// @ts-check
/**
 * How the call goes, told to the server every ten seconds: numbers for the visit's quality record, nothing about anybody.
 *
 * @typedef {import('../types/protocol.d.ts').ClientReport} ClientReport
 * @typedef {import('../types/protocol.d.ts').ClientMessage} ClientMessage
 *
 * @typedef {object} Totals Since the connection began, over all lines.
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
 * Sums up what is received.
 * @param {Iterable<any>} reports the values of an RTCStatsReport
 * @param {Set<string>} [left] lines that are left out: a screen's frames come when something moves, and none is missed in between
 * @returns {Totals}
 */
export function totals(reports, left) {
  const sum = { ...NOTHING };
  for (const report of reports) {
    if (report.type !== 'inbound-rtp' || left?.has(report.mid)) continue;
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
  return sum;
}

/**
 * What happened between two moments. A line that is gone takes its sums along: then a figure is 0 and not negative.
 * @param {Totals} before
 * @param {Totals} now
 * @param {number} milliseconds
 * @returns {ClientReport}
 */
export function between(before, now, milliseconds) {
  /** @param {keyof Totals} name */
  const grown = (name) => Math.max(0, now[name] - before[name]);
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
  /** @type {Totals} */
  #before = { ...NOTHING };
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
   * @param {Set<string>} [left] lines that are left out
   */
  take(reports, now, left) {
    const span = now - this.#since;
    if (span < EVERY_MS) return;
    const sums = totals(reports, left);
    // A page that was asleep for minutes knows nothing of when in them things happened.
    const report = span > 120_000 ? null : between(this.#before, sums, span);
    this.#before = sums;
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
      if (sums.frames === 0) continue;
      this.#times.firstFrame ??= performance.now();
      clearInterval(this.#look);
      return;
    }
  }
}
