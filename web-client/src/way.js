// @ts-check
/**
 * By which way media goes, and when to look for a better one.
 *
 * A browser that was thrown off UDP stays on TCP until somebody asks it to look again: it gave up the other pairs of addresses. TCP
 * makes everything wait for one lost packet, so whoever came by UDP before should go back to it. Where UDP never worked, it is not
 * looked for: there is a firewall, and it stays.
 */

/** The first look after a fall; further ones come at twice the time, up to the longest. */
export const FIRST_LOOK_MS = 15_000;
export const LONGEST_LOOK_MS = 120_000;
/** UDP that has held for so long works again: the next fall is a new one. */
const STEADY_MS = 60_000;
/** A path is dark when nothing has come for so long, */
export const DARK_MS = 2_000;
/** and something had come at so many looks before. The server answers whoever sends several times a second. */
const STEADY_LOOKS = 3;

/**
 * @typedef {object} Path The pair of addresses in use.
 * @property {boolean} direct whether media goes over UDP all the way to the server
 * @property {number | null} received bytes received on it, null if the browser doesn't say
 */

/**
 * The path in use; null if that can't be told.
 * @param {Iterable<any>} reports the values of an RTCStatsReport
 * @returns {Path | null}
 */
export function pathInUse(reports) {
  const all = new Map([...reports].map((report) => [report.id, report]));
  const transport = [...all.values()].find((report) => report.type === 'transport');
  const chosen = transport?.selectedCandidatePairId;
  // Firefox has no transport, and says `selected`.
  const pair = chosen ? all.get(chosen) : [...all.values()].find((report) => report.type === 'candidate-pair' && report.selected);
  const local = all.get(pair?.localCandidateId);
  const remote = all.get(pair?.remoteCandidateId);
  if (!local || !remote) return null;
  return { direct: local.candidateType !== 'relay' && remote.protocol === 'udp', received: pair.bytesReceived ?? null };
}

/** Remembers whether UDP worked and when something last came, and says when to look at all ways again. */
export class Way {
  #worked = false;
  /** @type {number | null} */
  #nextLook = null;
  #pause = FIRST_LOOK_MS;
  /** @type {number | null} */
  #received = null;
  #cameAt = 0;
  /** Looks in a row, up to the last at which something had come. */
  #steady = 0;
  #quiet = false;
  /** Since when media goes over UDP. @type {number | null} */
  #directSince = null;

  /**
   * To be told about once a second.
   * @param {Path | null} path
   * @param {number} now milliseconds
   * @returns {boolean} true: look for a better way now
   */
  note(path, now) {
    if (!path) return false;
    // A stream that waits two seconds for a lost packet is nothing unusual.
    const dark = this.#isDark(path.direct ? path.received : null, now);
    return this.#mayReturn(path.direct, now) || dark;
  }

  /**
   * Once in each silence: if looking around does not help, the browser says what to do next.
   * @param {number | null} received
   * @param {number} now
   */
  #isDark(received, now) {
    if (received === null) {
      this.#steady = 0;
      return false;
    }
    if (received !== this.#received) {
      this.#received = received;
      this.#cameAt = now;
      this.#steady = this.#quiet ? 1 : this.#steady + 1;
      this.#quiet = false;
      return false;
    }
    this.#quiet = true;
    if (this.#steady < STEADY_LOOKS || now - this.#cameAt < DARK_MS) return false;
    this.#steady = 0;
    return true;
  }

  /**
   * @param {boolean} direct
   * @param {number} now
   */
  #mayReturn(direct, now) {
    if (direct) {
      this.#worked = true;
      this.#nextLook = null;
      this.#directSince ??= now;
      if (now - this.#directSince >= STEADY_MS) this.#pause = FIRST_LOOK_MS;
      return false;
    }
    this.#directSince = null;
    if (!this.#worked) return false;
    if (this.#nextLook === null) {
      // `#pause` stays what it was if UDP came back for a moment only.
      this.#nextLook = now + this.#pause;
      return false;
    }
    if (now < this.#nextLook) return false;
    this.#pause = Math.min(LONGEST_LOOK_MS, this.#pause * 2);
    this.#nextLook = now + this.#pause;
    return true;
  }
}
