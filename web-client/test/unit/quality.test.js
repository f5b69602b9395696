// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { between, level, notice, read } from '../../src/quality.js';

/**
 * @typedef {import('../../types/app.d.ts').Remote} Remote
 * @param {Remote['sending']} sending
 * @param {Partial<Remote>} [rest]
 * @returns {Remote}
 */
const remote = (sending, rest = {}) => ({
  participant: 'p',
  name: 'p',
  role: 'patient',
  connected: true,
  choice: 'none',
  microphoneMuted: false,
  cameraMuted: false,
  audio: null,
  video: /** @type {any} */ ({}),
  sending,
  target: 'p720',
  why: 'asked',
  atRisk: false,
  ...rest,
});
/** @type {import('../../src/quality.js').Own} */
const free = { carries: 'p720', sendsPicture: true, sharesScreen: false };
const yours = /** @type {const} */ ({ why: 'connection' });
const theirs = /** @type {const} */ ({ why: 'publisher' });

test('one word for the connection', () => {
  /** @type {Array<[import('../../types/app.d.ts').MediaConnection, number, number | null, Array<Remote>, string, import('../../src/quality.js').Own?]>} */
  const table = [
    ['new', 0, null, [], 'connecting'],
    ['connecting', 0, null, [], 'connecting'],
    ['connected', 0, null, [], 'good'],
    ['connected', 0, 0.05, [remote('p720')], 'good'],
    ['connected', 0, 0.05, [remote('p480', { target: 'p480' })], 'good'],
    ['connected', 0.03, 0.05, [remote('p720')], 'fair'],
    ['connected', 0, 0.4, [remote('p720')], 'fair'],
    ['connected', 0.1, 0.05, [remote('p720')], 'poor_yours'],
    ['connected', 0, 0.9, [remote('p720')], 'poor_yours'],
    ['connected', 0, 0.05, [remote('audio_only', { target: 'audio_only' })], 'sound_only'],
    ['connected', 0, 0.05, [remote('audio_only', { cameraMuted: true })], 'good'],
    ['connected', 0, 0.05, [remote('audio_only', { target: 'audio_only' }), remote('p480', { target: 'p480' })], 'good'],
    ['connected', 0, 0.05, [remote(null)], 'good'],
    ['interrupted', 0, 0.05, [remote('p720')], 'interrupted'],
    ['failed', 0, 0.05, [remote('p720')], 'interrupted'],
    // Whose line it is.
    ['connected', 0, 0.05, [remote('p480', yours)], 'fair'],
    ['connected', 0, 0.05, [remote('p480', theirs)], 'fair'],
    ['connected', 0, 0.05, [remote('audio_only', yours)], 'poor_yours'],
    ['connected', 0, 0.05, [remote('audio_only', theirs)], 'poor_theirs'],
    ['connected', 0, 0.05, [remote('audio_only', theirs), remote('audio_only', yours)], 'poor_yours'],
    ['connected', 0, 0.05, [remote('audio_only', { ...theirs, cameraMuted: true })], 'good'],
    ['connected', 0, 0.05, [remote('p720')], 'fair', { carries: 'p480', sendsPicture: true, sharesScreen: false }],
    ['connected', 0, 0.05, [remote('p720')], 'poor_yours', { carries: 'audio_only', sendsPicture: true, sharesScreen: false }],
    ['connected', 0, 0.05, [remote('p720')], 'good', { carries: 'audio_only', sendsPicture: false, sharesScreen: false }],
  ];
  for (const [connection, loss, roundTrip, remotes, expected, own] of table) {
    assert.equal(level(connection, { loss, roundTrip }, remotes, own ?? free), expected, JSON.stringify([connection, loss, roundTrip, remotes, own]));
  }
});

test('what a person has to know about pictures that stop', () => {
  assert.equal(notice([remote('p720')], free), null);
  assert.equal(notice([remote('p480', { ...yours, atRisk: true })], free), 'at_risk');
  assert.equal(notice([remote('audio_only', yours), remote('p480', { atRisk: true })], free), 'paused');
  assert.equal(notice([remote('audio_only', theirs)], free), 'paused');
  assert.equal(notice([remote('audio_only', { ...theirs, cameraMuted: true })], free), null, 'a camera that is off is no line');
  assert.equal(notice([remote('audio_only', { target: 'audio_only', why: 'asked' })], free), null, 'asked for');
  assert.equal(notice([remote('audio_only', { ...yours, connected: false })], free), null, 'who is away is said elsewhere');
  assert.equal(notice([remote('audio_only', yours)], { carries: 'audio_only', sendsPicture: true, sharesScreen: false }), 'own_paused');
  assert.equal(notice([], { carries: 'audio_only', sendsPicture: false, sharesScreen: false }), null);
});

test('that cameras give way to a screen says nothing bad about a line', () => {
  const ok = { loss: 0, roundTrip: 0.05 };
  const paused = [remote('audio_only', yours), remote('audio_only', theirs)];
  const [shown, stopped] = [[remote('p720')], [remote('audio_only', yours)]];
  assert.equal(level('connected', ok, paused, free, shown), 'good');
  assert.equal(notice(paused, free, shown), 'for_screen');
  assert.equal(notice([remote('p480', { atRisk: true })], free, shown), null);
  // The screen itself is judged, and cameras with it once it is gone.
  assert.equal(level('connected', ok, paused, free, stopped), 'poor_yours');
  assert.equal(notice(paused, free, stopped), 'paused');
  assert.equal(notice([], free, [remote('p720', { atRisk: true })]), 'at_risk');
  assert.equal(level('connected', { loss: 0.1, roundTrip: 0.05 }, paused, free, shown), 'poor_yours', 'loss is loss');
  // Whoever shares has one line for both.
  const sharer = /** @type {const} */ ({ carries: 'audio_only', sendsPicture: true, sharesScreen: true });
  assert.equal(level('connected', ok, [remote('p720')], sharer), 'good');
  assert.equal(notice([remote('p720')], sharer), 'own_for_screen');
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
