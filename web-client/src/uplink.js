// @ts-check
/**
 * Does what the server asks of the camera: which layers are sent, and how fast at most. By parameters, never by stopping the track:
 * the SSRCs stay, and a layer that comes back begins with a key frame of itself.
 *
 * @typedef {import('../types/app.d.ts').UplinkOrder} UplinkOrder
 */

/** A connection to the server that is lost for longer than this cannot bring word that a layer is wanted: all are sent. */
const UNHEARD_MS = 2_000;

export class Uplink {
  #sender;
  /** What the server said last. @type {UplinkOrder | null} */
  #order = null;
  /** Changes of the parameters, one after the other: each is read and written anew. @type {Promise<void>} */
  #changes = Promise.resolve();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #unheard;
  #closed = false;

  /** @param {RTCRtpSender} sender the camera's */
  constructor(sender) {
    this.#sender = sender;
  }

  /** @param {UplinkOrder} order */
  obey(order) {
    this.#order = order;
    return this.#change((parameters) => obeyed(parameters, order.layers));
  }

  /** If it stays gone, everything is sent that the uplink carries, because nobody can ask for it. */
  serverLost() {
    clearTimeout(this.#unheard);
    this.#unheard = setTimeout(() => {
      const order = this.#order;
      if (order) void this.#change((parameters) => obeyed(parameters, whileUnheard(order)));
    }, UNHEARD_MS);
  }

  /** The server says anew what it wants. */
  serverBack() {
    clearTimeout(this.#unheard);
  }

  /**
   * Left alone, Chromium scales a layer down when it is the only one: the 480p layer must stay 480p and lose frames instead. A
   * browser without the setting ignores it: the server reads the real size from the key frames anyway.
   */
  keepResolution() {
    return this.#change((parameters) => {
      if (parameters.degradationPreference === 'maintain-resolution') return false;
      parameters.degradationPreference = 'maintain-resolution';
      return true;
    });
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#unheard);
  }

  /**
   * @param {(parameters: RTCRtpSendParameters) => boolean} change false if there is nothing to do
   */
  #change(change) {
    this.#changes = this.#changes.then(async () => {
      if (this.#closed) return;
      const parameters = this.#sender.getParameters();
      if (!change(parameters)) return;
      try {
        await this.#sender.setParameters(parameters);
      } catch (cause) {
        // More is sent than is wanted, and the call goes on.
        console.debug('housecall: the camera keeps its parameters', cause);
      }
    });
    return this.#changes;
  }
}

/**
 * Writes what the server asks of the camera into its sender's parameters. Layers it does not name stay as they are.
 * @param {{encodings: RTCRtpEncodingParameters[]}} parameters
 * @param {UplinkOrder['layers']} layers
 * @returns {boolean} false if they are so already
 */
export function obeyed(parameters, layers) {
  let changed = false;
  for (const { rid, active, max_kbps } of layers) {
    const encoding = parameters.encodings.find((e) => e.rid === rid);
    if (!encoding) continue;
    const maxBitrate = max_kbps * 1_000;
    changed ||= encoding.active !== active || encoding.maxBitrate !== maxBitrate;
    encoding.active = active;
    encoding.maxBitrate = maxBitrate;
  }
  return changed;
}

/**
 * What to send while the server cannot be heard: all layers that the uplink was last said to carry, the smaller ones first.
 * @param {UplinkOrder} last
 * @returns {UplinkOrder['layers']}
 */
export function whileUnheard({ layers, carries }) {
  const carried = { audio_only: 0, p480: 1, p720: layers.length }[carries];
  return layers.map((layer, place) => ({ ...layer, active: place < carried }));
}
