// @ts-check
/**
 * Sends more redundancy with speech while the line to the server loses packets. Chromium only: Firefox sends none at all, and elsewhere it was
 * not measured.
 *
 * Chromium takes a transform only in the very task in which the sender is made, and sends nothing any more when its worker ends or the
 * transform is taken away. So the worker must run before there is a call, stays for as long as the page, and hands frames
 * on as they are while nothing is lost.
 */

/** Frames that each packet takes along on a bad line; the browser's own one otherwise. */
const FRAMES = 2;
/** Shares of packets lost, over the last few reports: from here on, and down to here. */
const BEGIN = 0.03;
const END = 0.01;
/** How much one report, of about a second, counts. */
const WEIGHT = 0.2;
/** Bit/s. Where the browser takes the line to carry less, losses may well be of too many packets. */
const LEAST = 250_000;
const LOOK_MS = 1_000;
/** Seconds. A round trip longer by this than the shortest of the last minute is a queue; jitter and what Wi-Fi holds back for a moment is less. */
const QUEUE = 0.1;
const ROUND_TRIPS = 60;
/** Reports from the last sign of a queue on: sooner nobody knows whether it is gone. */
const CROWDED_REPORTS = 8;
/** @type {Array<import('../types/protocol.d.ts').TargetName>} */
const RUNGS = ['audio_only', 'p480', 'p720'];
/** @type {any} */
const { RTCRtpScriptTransform: Transform, navigator, trustedTypes } = globalThis;

/** Where the worker is: the one script that our rules for scripts let a page name, under the policy of this name. */
function workerUrl() {
  const createScriptURL = () => new URL('./speech-worker.js', import.meta.url).href;
  return trustedTypes ? trustedTypes.createPolicy('speech-worker', { createScriptURL }).createScriptURL('') : createScriptURL();
}

/**
 * @typedef {object} Report What is known of the line since the report before.
 * @property {number} loss share of the packets
 * @property {number} [roundTrip] seconds
 * @property {number} [estimate] what the browser takes the line to carry, in bit/s
 * @property {import('../types/protocol.d.ts').TargetName} [carries] what the server said that the line carries
 */

/**
 * Says from reports how many frames are wanted. Where packets are lost because they queue up, more bits would lose more: none beyond the browser's own
 * while the round trip is longer than it can be, or when the server has just found that the line carries less.
 */
export class LossMeter {
  #loss = 0;
  #isLossy = false;
  /** The last round trips. @type {number[]} */
  #roundTrips = [];
  /** Reports in a row whose round trip was long. */
  #long = 0;
  /** Reports for which the line counts as crowded. */
  #crowded = 0;
  /** @type {NonNullable<Report['carries']>} */
  #carries = 'p720';

  /**
   * @param {Report} report
   * @returns {number}
   */
  note({ loss, roundTrip, estimate = Infinity, carries = this.#carries }) {
    this.#loss += WEIGHT * (Math.min(1, Math.max(0, loss)) - this.#loss) || 0;
    this.#isLossy = this.#loss >= (this.#isLossy ? END : BEGIN);
    this.#long = this.#isLong(roundTrip) ? this.#long + 1 : 0;
    // One long round trip may be what a moment of Wi-Fi held back.
    if (this.#long >= 2 || RUNGS.indexOf(carries) < RUNGS.indexOf(this.#carries)) this.#crowded = CROWDED_REPORTS;
    else if (this.#crowded > 0) this.#crowded -= 1;
    this.#carries = carries;
    return this.#isLossy && this.#crowded === 0 && estimate >= LEAST ? FRAMES : 0;
  }

  /** @param {number | undefined} roundTrip */
  #isLong(roundTrip) {
    if (roundTrip === undefined) return false;
    this.#roundTrips = [...this.#roundTrips, roundTrip].slice(-ROUND_TRIPS);
    return roundTrip > Math.min(...this.#roundTrips) + QUEUE;
  }
}

export class Speech {
  #worker;

  /** @param {Worker} worker one that runs */
  constructor(worker) {
    this.#worker = worker;
  }

  /**
   * To be called in the task in which the connection and its senders were made.
   * @param {import('./call.js').Call} call
   */
  attach(call) {
    const pc = call.peerConnection;
    const sender = pc.getSenders()[0];
    if (!sender) return;
    try {
      /** @type {any} */ (sender).transform = new Transform(this.#worker);
    } catch (cause) {
      console.debug('housecall: no more redundancy than the browser has', cause);
      return;
    }
    this.#worker.postMessage(0);
    const meter = new LossMeter();
    let seen = 0;
    const timer = setInterval(async () => {
      if (pc.connectionState === 'closed') {
        clearInterval(timer);
        return;
      }
      const stats = [...(await sender.getStats()).values()];
      const report = stats.find(({ type }) => type === 'remote-inbound-rtp');
      if (!report || report.timestamp === seen) return;
      seen = report.timestamp;
      const estimate = stats.find(({ availableOutgoingBitrate }) => availableOutgoingBitrate > 0)?.availableOutgoingBitrate;
      const { fractionLost: loss = 0, roundTripTime: roundTrip } = report;
      this.#worker.postMessage(meter.note({ loss, roundTrip, estimate, carries: call.carries }));
    }, LOOK_MS);
  }
}

/**
 * Starts the worker, once for each page. Null where the browser does not suit, or the worker did not come.
 * @returns {Promise<Speech | null>}
 */
async function prepare() {
  const redundant = () => RTCRtpSender.getCapabilities('audio')?.codecs.some(({ mimeType }) => mimeType === 'audio/red');
  if (!Transform || !navigator.userAgentData || !redundant()) return null;
  return new Promise((resolve) => {
    const worker = new Worker(workerUrl(), { type: 'module' });
    worker.onmessage = () => resolve(new Speech(worker));
    worker.onerror = () => resolve(null);
  });
}

/** There from the first import on, and ready before the first call where it is to be of use. */
export const speech = prepare().catch(() => null);
