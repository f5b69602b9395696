// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIRST_LOOK_MS, LONGEST_LOOK_MS, Way, isDirect } from '../../src/way.js';

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

test('the way is told by the pair in use', () => {
  assert.equal(isDirect(chromium('prflx', 'udp')), true);
  assert.equal(isDirect(chromium('host', 'tcp')), false);
  assert.equal(isDirect(chromium('relay', 'udp')), false, 'a relay is reached over TCP here');
  const firefox = chromium('host', 'udp')
    .slice(2)
    .map((report) => (report.id === 'P' ? { ...report, selected: true } : report));
  assert.equal(isDirect(firefox), true);
  assert.equal(isDirect([]), null);
});

test('where UDP never worked nothing is tried', () => {
  const way = new Way();
  for (let now = 0; now < 1_000_000; now += 2_000) assert.equal(way.note(false, now), false);
});

test('after a fall UDP is looked for ever more rarely, until it is back', () => {
  const way = new Way();
  assert.equal(way.note(true, 0), false);
  /** @type {number[]} */
  const looks = [];
  for (let now = 1_000; now < 600_000; now += 1_000) if (way.note(false, now)) looks.push(now - 1_000);
  assert.deepEqual(looks.slice(0, 4), [FIRST_LOOK_MS, 3 * FIRST_LOOK_MS, 7 * FIRST_LOOK_MS, 15 * FIRST_LOOK_MS]);
  const last = looks.slice(-2);
  assert.equal((last[1] ?? 0) - (last[0] ?? 0), LONGEST_LOOK_MS);
  assert.equal(way.note(true, 700_000), false);
  assert.equal(way.note(null, 701_000), false);
  assert.equal(way.note(false, 702_000), false, 'and it is given time before the next');
});
