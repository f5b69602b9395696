// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIRST_MS, LONGEST_MS, LONGEST_TRYING_MS, MOST_FAILURES, Tries, delay } from '../../src/backoff.js';

test('delays double up to a bound and are spread over half their length', () => {
  const whole = [0, 1, 2, 3, 4, 5, 6, 7, 1_000].map((attempt) => delay(attempt, 1));
  assert.deepEqual(whole, [FIRST_MS, 500, 1_000, 2_000, 4_000, 8_000, LONGEST_MS, LONGEST_MS, LONGEST_MS]);
  assert.equal(delay(3, 0), 1_000);
});

test('what fails at once is tried a few times, ever more slowly, and then no more', () => {
  const tries = new Tries();
  let now = 0;
  /** @type {Array<number | null>} */
  const pauses = [];
  for (let i = 0; i < MOST_FAILURES; i += 1) {
    const pause = tries.failed(now, 1);
    pauses.push(pause);
    now += pause ?? 0;
  }
  assert.deepEqual(pauses, [250, 500, 1_000, 2_000, 4_000, null]);
  assert.ok(now < 8_000);
  assert.equal(tries.failed(now, 1), null, 'and stays given up');
  tries.forget();
  assert.equal(tries.failed(now, 1), FIRST_MS);
});

test('what takes long to fail is given up by the clock', () => {
  const tries = new Tries();
  assert.notEqual(tries.failed(100_000, 0), null, 'from the first failure on, not from the start of the page');
  assert.notEqual(tries.failed(100_000 + LONGEST_TRYING_MS - 1, 0), null);
  assert.equal(tries.failed(100_000 + LONGEST_TRYING_MS, 0), null);
});

test('a success in between begins the count anew', () => {
  const tries = new Tries();
  for (let i = 0; i < 10 * MOST_FAILURES; i += 1) {
    if (i % 3 === 0) tries.forget();
    assert.notEqual(tries.failed(i, 0), null);
  }
});
