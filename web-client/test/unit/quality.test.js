// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { between, level, read } from '../../src/quality.js';

/** @param {import('../../types/protocol.d.ts').TargetName | null} sending @returns {import('../../types/app.d.ts').Remote} */
const remote = (sending, cameraMuted = false) => ({
  participant: 'p',
  name: 'p',
  role: 'patient',
  connected: true,
  microphoneMuted: false,
  cameraMuted,
  audio: null,
  video: /** @type {any} */ ({}),
  sending,
});

test('one word for the connection', () => {
  /** @type {Array<[import('../../types/app.d.ts').MediaConnection, number, number | null, Array<import('../../types/app.d.ts').Remote>, string]>} */
  const table = [
    ['new', 0, null, [], 'connecting'],
    ['connecting', 0, null, [], 'connecting'],
    ['connected', 0, null, [], 'good'],
    ['connected', 0, 0.05, [remote('p720')], 'good'],
    ['connected', 0, 0.05, [remote('p480')], 'good'],
    ['connected', 0.03, 0.05, [remote('p720')], 'fair'],
    ['connected', 0, 0.4, [remote('p720')], 'fair'],
    ['connected', 0.1, 0.05, [remote('p720')], 'poor'],
    ['connected', 0, 0.05, [remote('audio_only')], 'sound_only'],
    ['connected', 0, 0.05, [remote('audio_only', true)], 'good'],
    ['connected', 0, 0.05, [remote('audio_only'), remote('p480')], 'good'],
    ['connected', 0, 0.05, [remote(null)], 'good'],
    ['interrupted', 0, 0.05, [remote('p720')], 'interrupted'],
    ['failed', 0, 0.05, [remote('p720')], 'interrupted'],
  ];
  for (const [connection, loss, roundTrip, remotes, expected] of table) {
    assert.equal(level(connection, { loss, roundTrip }, remotes), expected, JSON.stringify([connection, loss, roundTrip]));
  }
});

test('loss is of the time since the last sample, and counters may jump back', () => {
  assert.deepEqual(between(null, { received: 90, lost: 10 }, 0.1), { loss: 0.1, roundTrip: 0.1 });
  assert.equal(between({ received: 90, lost: 10 }, { received: 190, lost: 10 }, null).loss, 0);
  assert.equal(between({ received: 90, lost: 10 }, { received: 0, lost: 0 }, null).loss, 0);
});

test('figures come from what is received and the path in use', () => {
  const { counters, roundTrip } = read([
    { type: 'inbound-rtp', packetsReceived: 10, packetsLost: 1 },
    { type: 'inbound-rtp', packetsReceived: 5, packetsLost: -2 },
    { type: 'outbound-rtp', packetsSent: 100 },
    { type: 'candidate-pair', nominated: false, state: 'succeeded', currentRoundTripTime: 9 },
    { type: 'candidate-pair', nominated: true, state: 'succeeded', currentRoundTripTime: 0.02 },
  ]);
  assert.deepEqual(counters, { received: 15, lost: 1 });
  assert.equal(roundTrip, 0.02);
});
