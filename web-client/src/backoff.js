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
