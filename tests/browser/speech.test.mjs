/**
 * Lost speech is asked for and sent again. Browsers do so under the packet's own sequence number, and in Galois/counter mode one number must never be
 * sealed over two different packets (RFC 7714 §14.2): what an eavesdropper hears twice has to be the same to the bit.
 *
 * Chromium's speech is not asked for: there the page puts two frames before its own into each packet while the line loses packets.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { house } from './support/house.mjs';
import { watchHoles } from './support/machine.mjs';
import { decodes, inbound, meet, stats, until } from './support/page.mjs';
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

/** Run in the page: notes that its worker runs, and what it was told last. */
const listening = `
  const Plain = Worker;
  globalThis.Worker = class extends Plain {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', () => (globalThis.isRunning = true));
    }
  };
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (message) {
    globalThis.told = message;
    return postMessage.call(this, message);
  };`;

test('two packets of speech lost in a row on the way up are no loss where the page adds redundancy (Chromium), which ends with the losses', async () => {
  const { relay, patient, clinician } = await pairBehindRelay('Chromium', 'Chromium', { script: listening });
  await until('the worker runs before there is a call', () => patient.evaluate(() => globalThis.isRunning));
  await meet(patient, clinician);
  await decodes(clinician, { audioSeconds: 2 });
  const told = () => patient.evaluate(() => globalThis.told);
  await until('the worker is there, and leaves everything as it is', async () => (await told()) === 0);
  const { ssrc } = (await stats(patient)).find((stat) => stat.type === 'outbound-rtp' && stat.kind === 'audio');
  // A busy machine may take the line for a thin one at first, and a thin one is not filled up.
  const carries = async () => (await stats(patient)).find(({ availableOutgoingBitrate }) => availableOutgoingBitrate > 0)?.availableOutgoingBitrate;
  await until('the browser takes the line to carry redundancy', async () => (await carries()) >= 400_000, 60_000);
  const heard = async () => {
    const { packetsReceived, packetsLost } = await inbound(clinician, 'audio');
    return { packetsReceived, packetsLost };
  };
  const before = await heard();
  let dropped = 0;
  // A tenth, always two in a row. Of these the browser's own redundancy brings back one.
  relay.drop = (way, datagram) => {
    if (way !== 'up' || kindOf(datagram) !== 'rtp') return false;
    const packet = readRtp(datagram);
    const isLost = packet.ssrc === ssrc && packet.sequence % 20 < 2;
    dropped += isLost ? 1 : 0;
    return isLost;
  };
  // One report of two such pairs is enough for the page, and from then on nothing is lost.
  await until('one of two is gone', async () => (await heard()).packetsLost >= before.packetsLost + 1);
  await until('the page has seen it', async () => (await told()) === 2, 60_000);
  // What was on its way when it began.
  await decodes(clinician, { audioSeconds: 1, timeout: 60_000 });
  const isWhole = watchHoles();
  const [since, droppedBefore] = [await heard(), dropped];
  await until('forty more packets were lost on the way up', () => dropped >= droppedBefore + 40, 60_000);
  await until('what was spoken has been heard', async () => (await heard()).packetsReceived >= since.packetsReceived + 300, 60_000);
  // A busy machine may lose one itself beside a pair; without the page's redundancy twenty of forty would be gone.
  isWhole({ packetsLost: (await heard()).packetsLost - since.packetsLost }, 'each of them was found in a later one', 2);
  relay.drop = null;
  await until('it ends', async () => (await told()) === 0, 60_000);
  await decodes(clinician, { audioSeconds: 2 });
});
