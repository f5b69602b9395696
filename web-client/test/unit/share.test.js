// @ts-check
/** Sharing a screen, as far as it goes without a browser: what is chosen, what is sent, what is said. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

/** What a page has and Node has not. @type {any} */
const page = globalThis;
page.MediaStream = class {};
page.addEventListener ??= () => {};
page.document ??= { addEventListener() {}, visibilityState: 'visible' };
page.navigator ??= {};
/** The browser's question, and how a test answers it. @type {{resolve(stream: any): void, reject(error: any): void}} */
let question;
page.navigator.mediaDevices = {
  addEventListener() {},
  enumerateDevices: async () => [],
  getUserMedia: async () => Promise.reject(new DOMException('', 'NotFoundError')),
  getDisplayMedia: () => new Promise((resolve, reject) => (question = { resolve, reject })),
};

/** Settles in the order a test says. @type {Array<{track: any, resolve(): void, reject(error: any): void}>} */
let replacing = [];
class FakeConnection {
  connectionState = 'new';
  iceConnectionState = 'new';
  localDescription = { type: 'offer', sdp: '' };
  remoteDescription = null;
  /** @type {any[]} */
  made = [];
  addTransceiver(/** @type {any} */ what, /** @type {any} */ { direction }) {
    const sender = {
      track: typeof what === 'string' ? null : what,
      getParameters: () => ({ encodings: [] }),
      setParameters: async () => {},
      replaceTrack: (/** @type {any} */ track) =>
        new Promise((resolve, reject) => {
          const settled = () => {
            sender.track = track;
            resolve(undefined);
          };
          replacing.push({ track, resolve: settled, reject });
        }),
    };
    this.made.push({ mid: null, direction, sender });
    return this.made.at(-1);
  }
  getTransceivers() {
    return [];
  }
  async setLocalDescription() {}
  async getStats() {
    return new Map();
  }
  close() {}
}
page.RTCPeerConnection = FakeConnection;

const { App } = await import('../../src/app.js');
const { Call } = await import('../../src/call.js');
const { Sharers, Unseen, choose, trouble } = await import('../../src/views/share.js');

const turn = () => new Promise((resolve) => setImmediate(resolve));
/** @param {string} name @returns {any} */
const track = (name) => ({ name, stopped: false, stop() { this.stopped = true; } });
/** @param {string} id @returns {any} */
const inVisit = (id) => ({ page: { name: 'visit', session: { visit: { id } } } });

/** What a test has opened. @type {Array<() => void>} */
let open = [];
beforeEach(() => {
  replacing = [];
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
});
afterEach(() => {
  for (const close of open) close();
  open = [];
  mock.timers.reset();
});

test('a screen is for the visit it was chosen in, while that is shown', async () => {
  for (const [what, change, kept] of /** @type {Array<[string, (app: any, over: () => void) => void, boolean]>} */ ([
    ['nothing happened', () => {}, true],
    ['another visit', (app) => (app.state = inVisit('v2')), false],
    ['the visit ended', (app) => (app.state = { page: { name: 'ended' } }), false],
    ['in a waiting room and back meanwhile', (_, over) => over(), false],
  ])) {
    const app = { state: inVisit('v1'), say: () => assert.fail() };
    const one = track('a');
    let isOver = false;
    const chosen = choose(app, () => isOver);
    change(app, () => (isOver = true));
    question.resolve({ getVideoTracks: () => [one] });
    assert.equal(await chosen, kept ? one : null, what);
    assert.equal(one.stopped, !kept, what);
  }
});

test('who declines is told nothing, who is not let is', () => {
  assert.equal(trouble(new DOMException('Permission denied', 'NotAllowedError')), null);
  assert.equal(trouble(new DOMException('Permission denied by system', 'NotAllowedError')), 'share.denied');
  assert.equal(trouble(new DOMException('', 'AbortError')), 'share.failed');
  assert.equal(trouble(new TypeError()), 'share.failed');
});

test('a screen ends with the page that has the button to stop it', () => {
  /** @type {string[]} */
  const said = [];
  const app = new App('', (text) => said.push(text));
  open.push(() => app.dispatch({ type: 'leave_pressed' }));
  const now = (/** @type {any} */ you) =>
    app.dispatch({ type: 'visit_state', visit: /** @type {any} */ ({ type: 'state', you, clinician: 'ready', participants: [], queue: [] }), now: 0 });
  app.state = { page: { name: 'joining', session: /** @type {any} */ ({ role: 'patient' }), room: null }, link: { name: 'connecting' } };
  app.dispatch({ type: 'welcome', you: 'me', resumed: false });
  now({ place: 'admitted' });
  const one = track('a');
  app.share(one);
  now({ place: 'admitted' });
  assert.equal(app.screen, one);
  now({ place: 'waiting', position: 1 });
  assert.equal(app.screen, null);
  assert.ok(one.stopped);
  assert.ok(said.includes('You are no longer sharing your screen'));
});

function call() {
  const refused = mock.fn();
  const call = new Call([], { audio: null, video: null }, { send: () => true, onChange() {}, onFailed() {}, onScreenRefused: refused });
  open.push(() => call.close());
  const line = () => /** @type {any} */ (call.peerConnection).made[4];
  return { call, line, refused };
}

test('what is wanted while the browser is busy comes after it', async () => {
  const { call: it, line } = call();
  const [first, second] = [track('a'), track('b')];
  await it.setScreen(first);
  assert.equal(line().direction, 'sendonly');
  const stopped = it.setScreen(null);
  replacing.shift()?.resolve();
  await stopped;
  assert.equal(line().direction, 'inactive');
  void it.setScreen(second);
  void it.setScreen(null);
  replacing.shift()?.resolve();
  await turn();
  assert.equal(replacing[0]?.track, null, 'the second is taken away again');
  replacing.shift()?.resolve();
  await turn();
  assert.deepEqual([line().sender.track, line().direction], [null, 'inactive']);
});

test('a screen that the browser does not send is not said to be shared', async () => {
  const { call: it, line, refused } = call();
  await it.setScreen(track('a'));
  const stopped = it.setScreen(null);
  replacing.shift()?.resolve();
  await stopped;
  mock.method(console, 'warn', () => {});
  const again = it.setScreen(track('b'));
  replacing.shift()?.reject(new Error('no'));
  await again;
  assert.equal(refused.mock.callCount(), 1);
  assert.equal(line().direction, 'inactive');
});

test('who begins and ends sharing is said once, whatever connections do', () => {
  /** @type {string[]} */
  const said = [];
  const sharers = new Sharers((text) => said.push(text));
  /** @param {string[]} sources @returns {any} */
  const ann = (sources) => ({ participant: 'a', name: 'Ann', tracks: sources.map((source, i) => ({ track: `t${i}`, kind: 'video', source })) });
  sharers.update([ann(['camera'])]);
  sharers.update([ann(['camera', 'screen'])]);
  // A new connection of hers.
  sharers.update([ann([])]);
  sharers.update([ann(['camera'])]);
  mock.timers.tick(1_000);
  sharers.update([ann(['camera', 'screen'])]);
  mock.timers.tick(10_000);
  assert.deepEqual(said, ['Ann is sharing a screen.']);
  sharers.update([ann(['camera'])]);
  mock.timers.tick(10_000);
  assert.deepEqual(said.slice(1), ['Ann is no longer sharing a screen.']);
  sharers.update([ann(['screen'])]);
  sharers.update([]);
  mock.timers.tick(10_000);
  assert.deepEqual(said.slice(2), ['Ann is sharing a screen.'], 'that she has left is said elsewhere');
});

test('that nobody sees the screen is said once it lasts, and that somebody does again; not that one is alone, or connects anew', () => {
  /** @type {any[]} */
  const said = [];
  const unseen = new Unseen((words, isSeenAgain) => said.push(words ?? (isSeenAgain ? 'again' : 'nothing')));
  const now = (/** @type {any} */ audience, ms = 0) => {
    unseen.update(audience);
    mock.timers.tick(ms);
    return said.splice(0);
  };
  assert.deepEqual(now('unwatched', 500), []);
  assert.deepEqual(now('not_arriving', 1_000), []);
  assert.deepEqual(now('seen', 10_000), [], 'as always when a screen begins');
  assert.deepEqual(now('too_thin', 3_000), []);
  assert.deepEqual(now('too_thin', 2_000), ['share.unseen_thin'], 'from its beginning on');
  // The server tries, and the line does not carry it.
  assert.deepEqual(now('not_arriving', 1_000), []);
  assert.deepEqual(now('too_thin', 10_000), []);
  assert.deepEqual(now('not_arriving', 10_000), ['share.unseen']);
  assert.deepEqual(now('seen'), ['again']);
  assert.deepEqual(now('unwatched', 10_000), ['share.unseen']);
  assert.deepEqual(now(null, 10_000), ['nothing']);
  unseen.update('too_thin');
  unseen.destroy();
  assert.deepEqual(now('too_thin', 10_000), [], 'the page is another one');
});
