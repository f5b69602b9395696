/**
 * Lost speech is asked for and sent again. Browsers do so under the packet's own sequence number, and in Galois/counter mode one number must never be
 * sealed over two different packets (RFC 7714 §14.2): what an eavesdropper hears twice has to be the same to the bit.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { house } from './support/house.mjs';
import { meet, stats, until } from './support/page.mjs';
import { kindOf, readRtp } from './support/relay.mjs';

const { pairBehindRelay } = house();

/** They meet. Counts, of the audio that goes up, packets that are sent again as they were, and those that are sent again as something else. */
async function speak(relay, patient, clinician) {
  const streams = new Map();
  // From the first packet on: those that name their line (MID) are sent again as well.
  relay.overhear = (way, datagram) => {
    if (way !== 'up' || kindOf(datagram) !== 'rtp') return;
    const { ssrc, sequence } = readRtp(datagram);
    if (!streams.has(ssrc)) streams.set(ssrc, { first: 0, same: 0, other: 0, packets: new Map() });
    const stream = streams.get(ssrc);
    const before = stream.packets.get(sequence);
    if (!before) stream.first += 1;
    else if (before.equals(datagram)) stream.same += 1;
    else stream.other += 1;
    if (!before) stream.packets.set(sequence, Buffer.from(datagram));
  };
  await meet(patient, clinician);
  const all = await stats(patient);
  assert.match(all.find(({ type }) => type === 'transport').srtpCipher, /GCM/, 'the mode where it matters');
  const { ssrc } = all.find((stat) => stat.type === 'outbound-rtp' && stat.kind === 'audio');
  return until('there is speech', () => streams.get(ssrc));
}

test('speech without redundancy (Firefox) is sent again as it was, to the bit', async () => {
  const { relay, patient, clinician } = await pairBehindRelay('Firefox', 'Chromium', { loss: 0.1, seed: 4 });
  const found = await speak(relay, patient, clinician);
  await until('lost speech was sent again twenty times', () => found.same + found.other >= 20, 60_000);
  assert.equal(found.other, 0, 'no number was sealed over another packet');
});

test('speech with redundancy (Chromium) is not asked for: it would be another packet under the same number', async () => {
  const { relay, patient, clinician } = await pairBehindRelay('Chromium', 'Chromium', { loss: 0.2, seed: 4 });
  const found = await speak(relay, patient, clinician);
  await until('some hundred packets were spoken', () => found.first >= 300, 60_000);
  assert.deepEqual([found.same, found.other], [0, 0]);
});
