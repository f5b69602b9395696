// @ts-check
/**
 * How long to wait before the next try.
 *
 * The first try comes within a quarter of a second: most drops are a Wi-Fi roaming or a server restart, and the visit should be
 * whole again within a second. Later ones double up to ten seconds, and each is spread over half its length, so that a
 * waiting room full of people does not return at the same instant after a restart.
 */

export const FIRST_MS = 250;
export const LONGEST_MS = 10_000;

/**
 * @param {number} attempt 0 for the first try after a drop
 * @param {number} random 0..1
 * @returns {number} milliseconds
 */
export function delay(attempt, random) {
  const whole = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return whole / 2 + (whole / 2) * random;
}

/** Failures in a row after which nothing more is tried unasked: with the delays above the last try comes within 8 s of the first. */
export const MOST_FAILURES = 6;
/** Nor once trying has taken this long: a try that the network swallows takes 15 to 30 s to fail. */
export const LONGEST_TRYING_MS = 30_000;

/** Tries at something that may never work, so that a person is told and given the choice before long. */
export class Tries {
  #failures = 0;
  #since = 0;

  /**
   * @param {number} now
   * @param {number} random 0..1
   * @returns {number | null} milliseconds to the next try, or null if enough is enough
   */
  failed(now, random) {
    if (this.#failures === 0) this.#since = now;
    this.#failures += 1;
    if (this.#failures >= MOST_FAILURES || now - this.#since >= LONGEST_TRYING_MS) return null;
    return delay(this.#failures - 1, random);
  }

  /** It worked, or a person wants it tried from the beginning. */
  forget() {
    this.#failures = 0;
  }
}
