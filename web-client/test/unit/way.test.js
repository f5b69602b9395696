// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DARK_MS, FIRST_LOOK_MS, LONGEST_LOOK_MS, Way, pathInUse } from '../../src/way.js';

/**
 * @param {string} type
 * @param {string} protocol
 */
const chromium = (type, protocol) => [
  { id: 'T', type: 'transport', selectedCandidatePairId: 'P' },
  { id: 'Q', type: 'candidate-pair', localCandidateId: 'X', remoteCandidateId: 'X' },
  { id: 'P', type: 'candidate-pair', localCandidateId: 'L', remoteCandidateId: 'R' },
  { id: 'L', candidateType: type, protocol: type === 'relay' ? 'udp' : protocol },
  { id: 'R', candidateType: 'host', protocol },
];

/** @param {any[]} reports */
const isDirect = (reports) => pathInUse(reports)?.direct;

/** A path on which something comes at every look. */
function busy() {
  let received = 0;
  return (/** @type {boolean} */ direct) => ({ direct, received: (received += 1_000) });
}

test('the way is told by the pair in use', () => {
  assert.equal(isDirect(chromium('prflx', 'udp')), true);
  assert.equal(isDirect(chromium('host', 'tcp')), false);
  assert.equal(isDirect(chromium('relay', 'udp')), false, 'a relay is reached over TCP here');
  const firefox = chromium('host', 'udp')
    .slice(2)
    .map((report) => (report.id === 'P' ? { ...report, selected: true, bytesReceived: 7 } : report));
  assert.deepEqual(pathInUse(firefox), { direct: true, received: 7 });
  assert.equal(pathInUse(chromium('host', 'udp'))?.received, null, 'not told');
  assert.equal(pathInUse([]), null);
});

test('where UDP never worked nothing is tried', () => {
  const [way, path] = [new Way(), busy()];
  for (let now = 0; now < 1_000_000; now += 2_000) assert.equal(way.note(path(false), now), false);
});

test('after a fall UDP is looked for ever more rarely, until it is back', () => {
  const [way, path] = [new Way(), busy()];
  assert.equal(way.note(path(true), 0), false);
  /** @type {number[]} */
  const looks = [];
  for (let now = 1_000; now < 600_000; now += 1_000) if (way.note(path(false), now)) looks.push(now - 1_000);
  assert.deepEqual(looks.slice(0, 4), [FIRST_LOOK_MS, 3 * FIRST_LOOK_MS, 7 * FIRST_LOOK_MS, 15 * FIRST_LOOK_MS]);
  const last = looks.slice(-2);
  assert.equal((last[1] ?? 0) - (last[0] ?? 0), LONGEST_LOOK_MS);
  assert.equal(way.note(path(true), 700_000), false);
  assert.equal(way.note(null, 701_000), false);
  assert.equal(way.note(path(false), 702_000), false, 'and it is given time before the next');
  assert.equal(way.note(path(false), 702_000 + FIRST_LOOK_MS), false, 'as much as before: UDP came back for a moment only');
  for (let now = 800_000; now <= 860_000; now += 1_000) way.note(path(true), now);
  way.note(path(false), 861_000);
  assert.equal(way.note(path(false), 861_000 + FIRST_LOOK_MS), true, 'but not after a minute of UDP');
});

/**
 * What comes within each second, from the first on; at which seconds a better way is looked for.
 * @param {Array<number | null>} bytes
 */
function looksAt(bytes, direct = true) {
  const way = new Way();
  let sum = 0;
  return bytes.flatMap((more, second) => {
    sum += more ?? 0;
    return way.note({ direct, received: more === null ? null : sum }, second * 1_000) ? [second] : [];
  });
}

test('a path that goes dark is noticed once, and before the browser would', () => {
  const dark = Math.ceil(DARK_MS / 1_000);
  assert.ok(dark < 5);
  const steady = [900, 900, 900, 900];
  assert.deepEqual(looksAt([...steady, ...new Array(60).fill(0)]), [steady.length - 1 + dark], 'once');
  assert.deepEqual(looksAt([...steady, 0, 0, 0, 0, ...steady, 0, 0, 0, 0]), [5, 13], 'and again after it was light');
});

test('pauses are no darkness', () => {
  assert.deepEqual(looksAt([9, 9, 9, 0, 9, 0, 9, 9, 0, 9]), [], 'a second');
  assert.deepEqual(looksAt([9, 0, 9, 0, 9, 0, 9, 0, 0, 0, 0, 0]), [], 'where hardly anything ever comes');
  assert.deepEqual(looksAt([9, 9, 9, 9, 0, 0, 0, 0], false), [], 'over TCP, where one lost packet makes all wait');
  assert.deepEqual(looksAt([null, null, null, null, null, null, null, null]), [], 'where the browser does not count');
  const way = new Way();
  for (let second = 0; second < 10; second += 1) way.note({ direct: true, received: second }, second * 1_000);
  assert.equal(way.note({ direct: true, received: 50 }, 3_600_000), false, 'a page that slept while things came');
});
