// @ts-check
/**
 * A worker between the microphone's encoder and the network. Chromium puts one frame into the packet after its own (RFC 2198); on a line that
 * loses packets this puts more of them there, so that two lost in a row are no loss. Otherwise, and whenever something is not as it
 * expects it, frames pass as they are.
 */

/** Bits of a block's header: how much older it may be, in ticks, and how long. */
const MAX_AGE = (1 << 14) - 1;
const MAX_LENGTH = (1 << 10) - 1;
/** What the encoder's frame may grow to: browsers take no more than this from a transform of audio, and it leaves room in a packet. */
const MAX_PAYLOAD = 1_000;
/** Frames before its own that a packet may take along. */
const MOST = 2;

/** The frames of one stream. */
export class Redundancy {
  /** The last frames, the oldest first. @type {{timestamp: number, data: Uint8Array}[]} */
  #past = [];

  /**
   * What to send instead of a payload with redundancy; null to send it as it is.
   * @param {ArrayBuffer} payload
   * @param {number} timestamp
   * @param {number} wanted how many frames to take along; 0 leaves everything as it is
   * @returns {ArrayBuffer | null}
   */
  next(payload, timestamp, wanted) {
    const read = wanted > 0 ? split(new Uint8Array(payload)) : null;
    if (!read) {
      this.forget();
      return null;
    }
    const { type, own, blocks } = read;
    const past = this.#past.map(({ timestamp: before, data }) => ({ age: (timestamp - before) >>> 0, data }));
    const fits = past.map(({ age, data }) => age > 0 && age <= MAX_AGE && data.length <= MAX_LENGTH);
    // Without a gap: the server takes the youngest for the frame of the packet before, the next one for that before it.
    const older = past.slice(Math.max(fits.lastIndexOf(false) + 1, past.length - Math.min(wanted, MOST)));
    this.#past = [...this.#past, { timestamp, data: own }].slice(-MOST);
    while (older.length > 0 && sizeOf(older, own) > MAX_PAYLOAD) older.shift();
    // Just switched on, or after a silence: the encoder's own redundancy is as good.
    return older.length > blocks ? written(type, older, own) : null;
  }

  /** A packet goes out whose frame is not known: what was before it is not what comes right before the next one. */
  forget() {
    this.#past = [];
  }
}

/**
 * The newest frame of a payload, its type, and how many older ones are in front of it.
 * @param {Uint8Array} payload
 */
function split(payload) {
  let at = 0;
  let older = 0;
  while ((payload[at] ?? 0) & 0x80) {
    older += (((payload[at + 2] ?? 0) & 3) << 8) | (payload[at + 3] ?? 0);
    at += 4;
  }
  const type = payload[at];
  const own = payload.slice(at + 1 + older);
  return type === undefined || own.length === 0 ? null : { type, own, blocks: at / 4 };
}

/**
 * @param {{data: Uint8Array}[]} older
 * @param {Uint8Array} own
 */
function sizeOf(older, own) {
  return older.reduce((sum, { data }) => sum + 4 + data.length, 1 + own.length);
}

/**
 * @param {number} type
 * @param {{age: number, data: Uint8Array}[]} older the oldest first
 * @param {Uint8Array} own
 */
function written(type, older, own) {
  const out = new Uint8Array(sizeOf(older, own));
  let at = 0;
  for (const { age, data } of older) {
    out.set([0x80 | type, age >> 6, ((age & 0x3f) << 2) | (data.length >> 8), data.length & 0xff], at);
    at += 4;
  }
  out[at] = type;
  at += 1;
  for (const data of [...older.map((block) => block.data), own]) {
    out.set(data, at);
    at += data.length;
  }
  return out.buffer;
}

/** How many frames the page wants taken along. */
let wanted = 0;

/** @type {any} */
const worker = globalThis;

worker.onmessage = (/** @type {MessageEvent<number>} */ { data }) => {
  wanted = data;
};

worker.onrtctransform = (/** @type {any} */ { transformer: { readable, writable } }) => {
  const redundancy = new Redundancy();
  const protect = new TransformStream({
    transform(frame, controller) {
      try {
        const { mimeType, rtpTimestamp } = frame.getMetadata();
        const isRed = mimeType === 'audio/red' && rtpTimestamp !== undefined;
        const data = isRed ? redundancy.next(frame.data, rtpTimestamp, wanted) : redundancy.forget();
        if (data) frame.data = data;
      } catch {
        // As it is, then: speech must not wait for this.
        redundancy.forget();
      }
      controller.enqueue(frame);
    },
  });
  // Ends with the connection.
  readable.pipeThrough(protect).pipeTo(writable).catch(() => {});
};

// In a worker, not where this is tested.
if (typeof worker.postMessage === 'function' && typeof worker.document === 'undefined') worker.postMessage('ready');
