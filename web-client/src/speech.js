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
/** @type {any} */
const { RTCRtpScriptTransform: Transform, navigator, trustedTypes } = globalThis;

/** Where the worker is: the one script that our rules for scripts let a page name, under the policy of this name. */
function workerUrl() {
  const createScriptURL = () => new URL('./speech-worker.js', import.meta.url).href;
  return trustedTypes ? trustedTypes.createPolicy('speech-worker', { createScriptURL }).createScriptURL('') : createScriptURL();
}

/** Says from reports of loss how many frames are wanted. */
export class LossMeter {
  #loss = 0;
  #isLossy = false;

  /**
   * @param {number} share of the packets since the report before
   * @param {number} [carries] what the browser takes the line to carry, in bit/s, if it says so
   * @returns {number}
   */
  note(share, carries = Infinity) {
    this.#loss += WEIGHT * (Math.min(1, Math.max(0, share)) - this.#loss);
    this.#isLossy = this.#loss >= (this.#isLossy ? END : BEGIN);
    return this.#isLossy && carries >= LEAST ? FRAMES : 0;
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
   * @param {RTCPeerConnection} pc
   */
  attach(pc) {
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
      const carries = stats.find(({ availableOutgoingBitrate }) => availableOutgoingBitrate > 0)?.availableOutgoingBitrate;
      this.#worker.postMessage(meter.note(report.fractionLost ?? 0, carries));
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
