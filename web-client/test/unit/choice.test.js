// @ts-check
/** Who was chosen to be seen larger stays so, whichever media connection carries the pictures. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

/**
 * @typedef {import('../../types/protocol.d.ts').ParticipantInfo} ParticipantInfo
 * @typedef {import('../../types/protocol.d.ts').ClientMessage} ClientMessage
 * @typedef {import('../../types/app.d.ts').Session} Session
 */

/** As much of a peer connection as a call needs to be built and to take an answer. */
class FakeConnection {
  connectionState = 'new';
  iceConnectionState = 'new';
  /** @type {{type: string, sdp: string} | null} */
  localDescription = null;
  remoteDescription = null;
  onconnectionstatechange = () => {};
  addTransceiver() {
    const parameters = { encodings: [] };
    return { mid: null, sender: { track: null, getParameters: () => parameters, setParameters: async () => {}, replaceTrack: async () => {} } };
  }
  getTransceivers() {
    return [];
  }
  async setLocalDescription() {
    this.localDescription = { type: 'offer', sdp: '' };
  }
  async setRemoteDescription() {}
  async getStats() {
    return new Map();
  }
  close() {}
}

/** What a page has and Node has not. @type {any} */
const page = globalThis;
page.RTCPeerConnection = FakeConnection;
page.MediaStream = class {};
page.addEventListener ??= () => {};
page.document ??= { addEventListener() {}, visibilityState: 'visible' };
page.navigator ??= {};

const { App } = await import('../../src/app.js');
const { Call } = await import('../../src/call.js');

/** @param {string} participant @returns {ParticipantInfo} */
const person = (participant) => ({
  participant,
  role: 'guest',
  name: participant,
  connected: true,
  microphone_muted: false,
  camera_muted: false,
  tracks: [{ track: `${participant}-video`, kind: 'video', source: 'camera' }],
});

/** What a test has opened: it has timers. @type {Array<() => void>} */
let open = [];
beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'setInterval'] }));
afterEach(() => {
  for (const close of open) close();
  open = [];
  mock.timers.reset();
});

/** An app in a visit with these others. @param {...string} others */
function visit(...others) {
  const app = new App('', () => {});
  open.push(() => app.dispatch({ type: 'leave_pressed' }));
  const now = (/** @type {string[]} */ names) =>
    app.dispatch({
      type: 'visit_state',
      visit: /** @type {any} */ ({ type: 'state', you: { place: 'admitted' }, clinician: 'ready', participants: ['me', ...names].map(person), queue: [] }),
      now: 0,
    });
  const session = /** @type {Session} */ (/** @type {unknown} */ ({ role: 'guest' }));
  app.state = { page: { name: 'joining', session, room: null }, link: { name: 'connecting' } };
  app.dispatch({ type: 'welcome', you: 'me', resumed: false });
  now(others);
  return { app, now };
}

/** @param {InstanceType<typeof App>} app */
const chosen = (app) => app.call?.remotes().filter((r) => r.choice === 'chosen').map((r) => r.participant);

/** Lets the present connection fail, and the pause before the next one pass. @param {InstanceType<typeof App>} app */
function fail(app) {
  const before = app.call;
  const pc = /** @type {any} */ (before?.peerConnection);
  pc.connectionState = 'failed';
  pc.onconnectionstatechange();
  mock.timers.tick(20_000);
  assert.notEqual(app.call, before, 'there is a new connection');
}

test('the choice outlives a media connection that failed', () => {
  const { app } = visit('a', 'b', 'c');
  app.choose('b');
  assert.deepEqual(chosen(app), ['b']);
  fail(app);
  assert.deepEqual(chosen(app), ['b']);
  app.choose(null);
  fail(app);
  assert.deepEqual(chosen(app), []);
});

test('the choice ends with the one who was chosen', () => {
  const { app, now } = visit('a', 'b', 'c');
  app.choose('b');
  now(['a', 'c']);
  fail(app);
  now(['a', 'b', 'c']);
  assert.deepEqual(chosen(app), [], 'also when they are back');
});

test('a new call asks for the others in the smaller size from its first answer on', async () => {
  /** @type {ClientMessage[]} */
  const sent = [];
  const hooks = { send: (/** @type {ClientMessage} */ m) => sent.push(m) > 0, onChange() {}, onFailed() {}, onScreenRefused() {} };
  const call = new Call([], { audio: null, video: null }, hooks);
  open.push(() => call.close());
  call.setParticipants([person('a'), person('b')], 'b');
  await new Promise((resolve) => setImmediate(resolve));
  const offer = sent.find((m) => m.type === 'offer');
  assert.ok(offer);
  call.handle({
    type: 'answer',
    id: offer.id,
    sdp: '',
    slots: [
      { mid: '3', kind: 'video' },
      { mid: '5', kind: 'video' },
    ],
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    sent.filter((m) => m.type === 'target'),
    [{ type: 'target', mid: '3', target: 'p480' }],
  );
});
