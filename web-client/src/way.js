// @ts-check
/**
 * By which way media goes, and when to look for a better one.
 *
 * A browser that was thrown off UDP stays on TCP until somebody asks it to look again: it gave up the other pairs of addresses. TCP
 * makes everything wait for one lost packet, so whoever came by UDP before should go back to it. Where UDP never worked, nothing is
 * tried: there is a firewall, and it stays.
 */

/** The first look after a fall; further ones come at twice the time, up to the longest. */
export const FIRST_LOOK_MS = 15_000;
export const LONGEST_LOOK_MS = 120_000;

/**
 * Whether media goes over UDP all the way to the server; null if that can't be told.
 * @param {Iterable<any>} reports the values of an RTCStatsReport
 * @returns {boolean | null}
 */
export function isDirect(reports) {
  const all = new Map([...reports].map((report) => [report.id, report]));
  const transport = [...all.values()].find((report) => report.type === 'transport');
  const chosen = transport?.selectedCandidatePairId;
  // Firefox has no transport, and says `selected`.
  const pair = chosen ? all.get(chosen) : [...all.values()].find((report) => report.type === 'candidate-pair' && report.selected);
  const local = all.get(pair?.localCandidateId);
  const remote = all.get(pair?.remoteCandidateId);
  if (!local || !remote) return null;
  return local.candidateType !== 'relay' && remote.protocol === 'udp';
}

/** Remembers whether UDP worked, and says when to look for it again. */
export class Way {
  #worked = false;
  /** @type {number | null} */
  #nextLook = null;
  #pause = FIRST_LOOK_MS;

  /**
   * @param {boolean | null} direct
   * @param {number} now milliseconds
   * @returns {boolean} true: look for a better way now
   */
  note(direct, now) {
    if (direct === null) return false;
    if (direct) {
      this.#worked = true;
      this.#nextLook = null;
      return false;
    }
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
