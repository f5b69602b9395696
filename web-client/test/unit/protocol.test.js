// @ts-check
/**
 * The golden messages of the server's protocol, read by the client itself: the whole page but its views, over a socket, a peer
 * connection and a server that are made up. Every file has its place here; one that is new or gone fails.
 */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { mock, test } from 'node:test';

const GOLDEN = new URL('../../../signaling/golden/', import.meta.url);

/** @param {'client' | 'server'} side @returns {Record<string, any>} messages by the names of their files */
function goldens(side) {
  const folder = new URL(`${side}/`, GOLDEN);
  const entries = readdirSync(folder).map((file) => [file, JSON.parse(readFileSync(new URL(file, folder), 'utf8'))]);
  return Object.fromEntries(entries);
}

/** Lets promises that are already resolved run on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

class FakeSocket {
  /** @type {FakeSocket[]} */
  static all = [];
  /** @type {any[]} */
  sent = [];
  /** @type {any} */
  onopen = null;
  /** @type {any} */
  onmessage = null;
  /** @type {any} */
  onclose = null;
  constructor() {
    FakeSocket.all.push(this);
  }
  /** @param {string} data */
  send(data) {
    this.sent.push(JSON.parse(data));
  }
  close() {}
}

class FakePeerConnection {
  /** @type {any} */
  localDescription = null;
  /** @type {any} */
  remoteDescription = null;
  connectionState = 'new';
  iceConnectionState = 'new';
  isClosed = false;
  /** @type {any[]} */
  lines = [];
  /** @param {any} configuration */
  constructor(configuration) {
    this.configuration = configuration;
  }
  addTransceiver(/** @type {any} */ what) {
    /** @type {any} */
    const parameters = { encodings: [{ rid: 'm', active: true }, { rid: 'h', active: true }] };
    const sender = {
      track: typeof what === 'string' ? null : what,
      getParameters: () => parameters,
      setParameters: async () => {},
      replaceTrack: async (/** @type {any} */ track) => {
        sender.track = track;
      },
    };
    const line = { mid: String(this.lines.length), sender, receiver: { track: {} } };
    this.lines.push(line);
    return line;
  }
  async setLocalDescription(/** @type {any} */ description) {
    this.localDescription = description?.type === 'rollback' ? this.localDescription : { type: 'offer', sdp: 'v=0\r\n' };
    if (description?.type === 'rollback') this.isRolledBack = true;
  }
  async setRemoteDescription(/** @type {any} */ description) {
    this.remoteDescription = description;
  }
  getTransceivers() {
    return this.lines;
  }
  getReceivers() {
    return [];
  }
  async getStats() {
    return new Map();
  }
  restartIce() {}
  close() {
    this.isClosed = true;
  }
}

/** @param {Record<string, unknown>} globals */
function provide(globals) {
  for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

/** A patient's page that has pressed "join"; the server has not said anything yet. */
async function joined() {
  const session = {
    session: goldens('client')['hello_first.json'].session,
    expires_at: '2100-01-01T00:00:00Z',
    role: 'patient',
    name: 'Sam',
    visit: { id: 'v', starts_at: '', ends_at: '', time_zone: 'UTC', clinic_name: '', clinician_name: '', status: 'scheduled' },
  };
  FakeSocket.all = [];
  provide({
    addEventListener: () => {},
    document: { addEventListener: () => {}, visibilityState: 'visible' },
    location: { href: 'https://visits.example.org/join' },
    // No devices at all: the page joins all the same.
    navigator: {},
    fetch: async () => ({ ok: true, status: 200, json: async () => session }),
    WebSocket: FakeSocket,
    RTCPeerConnection: FakePeerConnection,
    MediaStream: class {},
    // In step with the timers.
    performance: { now: () => Date.now() },
  });
  const { App } = await import('../../src/app.js');
  const app = new App('a-token-of-a-link', () => {});
  app.start();
  for (let i = 0; i < 3; i += 1) await settle();
  app.dispatch({ type: 'join_pressed' });
  for (let i = 0; i < 3; i += 1) await settle();
  const socket = /** @type {FakeSocket} */ (FakeSocket.all.at(-1));
  socket.onopen({});
  /** @param {any} message the server says this */
  const say = async (message) => {
    socket.onmessage({ data: JSON.stringify(message) });
    for (let i = 0; i < 3; i += 1) await settle();
  };
  const connection = () => /** @type {FakePeerConnection} */ (/** @type {unknown} */ (app.call?.peerConnection));
  return { app, socket, say, connection };
}

/** @typedef {Awaited<ReturnType<typeof joined>> & {golden: Record<string, any>}} Page */

/** Brings the page into the visit with two lines to receive on, as the golden files tell it. @param {Page} page */
async function inVisit(page) {
  await page.say(page.golden['welcome.json']);
  await page.say(page.golden['state.json']);
  await answered(page);
  // The shared screen wants a line of its own.
  await answered(page);
}

/** @param {Page} page */
async function answered(page) {
  // Ids count over all connections of a page.
  const offer = page.socket.sent.findLast((message) => message.type === 'offer');
  await page.say({ ...page.golden['answer.json'], id: offer.id });
}

/** What each message of the server does to the page. @type {Record<string, (page: Page) => Promise<void>>} */
const SERVER = {
  'welcome.json': async (page) => {
    const golden = page.golden['welcome.json'];
    await page.say(golden);
    assert.deepEqual(page.app.state.link, { name: 'up', you: golden.you });
    assert.deepEqual(page.connection().configuration.iceServers, golden.ice_servers, 'the relay is used');
    // What it is given to come back with, it shows when it comes back.
    page.socket.onclose({});
    mock.timers.tick(1_000);
    await settle();
    const next = /** @type {FakeSocket} */ (FakeSocket.all.at(-1));
    assert.notEqual(next, page.socket);
    next.onopen({});
    assert.deepEqual(next.sent, [goldens('client')['hello.json']]);
  },
  'state.json': async (page) => {
    await page.say(page.golden['welcome.json']);
    const golden = page.golden['state.json'];
    await page.say(golden);
    const { page: screen } = page.app.state;
    assert.ok(screen.name === 'visit');
    const others = golden.participants.filter((/** @type {any} */ p) => p.participant !== page.golden['welcome.json'].you);
    const remotes = page.app.call?.remotes() ?? [];
    assert.deepEqual(
      remotes.map((r) => [r.participant, r.name, r.role, r.connected, r.microphoneMuted, r.cameraMuted]),
      others.map((/** @type {any} */ p) => [p.participant, p.name, p.role, p.connected, p.microphone_muted, p.camera_muted]),
    );
    assert.deepEqual(screen.room.visit.queue, golden.queue);
  },
  'state_waiting.json': async (page) => {
    await page.say(page.golden['welcome.json']);
    const golden = page.golden['state_waiting.json'];
    await page.say(golden);
    const { page: screen } = page.app.state;
    assert.ok(screen.name === 'waiting');
    assert.deepEqual([screen.room.visit.you, screen.room.visit.clinician], [golden.you, golden.clinician]);
  },
  'answer.json': async (page) => {
    await page.say(page.golden['welcome.json']);
    await page.say(page.golden['state.json']);
    const other = page.socket.sent.findLast((message) => message.type === 'offer').id + 1;
    await page.say({ ...page.golden['answer.json'], id: other });
    assert.equal(page.connection().remoteDescription, null, 'the answer to another offer');
    await answered(page);
    assert.deepEqual(page.connection().remoteDescription, { type: 'answer', sdp: page.golden['answer.json'].sdp });
    // One line for pictures: the screen has it, until there is one for the camera too.
    const tracks = page.golden['state.json'].participants[0].tracks.filter((/** @type {any} */ track) => track.source !== 'camera');
    const wanted = page.golden['answer.json'].slots.map((/** @type {any} */ slot) => ({
      type: 'subscribe',
      mid: slot.mid,
      track: tracks.find((/** @type {any} */ track) => track.kind === slot.kind).track,
    }));
    const asked = page.socket.sent.filter((message) => message.type === 'subscribe');
    assert.deepEqual(asked.sort((a, b) => a.mid - b.mid), wanted);
  },
  'offer_refused.json': async (page) => {
    await page.say(page.golden['welcome.json']);
    const { id } = page.socket.sent.findLast((message) => message.type === 'offer');
    assert.notEqual(page.app.call?.connection, 'failed');
    await page.say({ ...page.golden['offer_refused.json'], id });
    assert.equal(page.app.call?.connection, 'failed', 'without a first answer there is no call');
  },
  'quality.json': async (page) => {
    await inVisit(page);
    const golden = page.golden['quality.json'];
    await page.say(golden);
    assert.deepEqual(page.app.call?.shares().map((r) => r.sending), [golden.sending]);
  },
  'uplink.json': async (page) => {
    await inVisit(page);
    const golden = page.golden['uplink.json'];
    await page.say(golden);
    assert.equal(page.app.call?.carries, golden.carries);
    const { encodings } = page.connection().lines[1].sender.getParameters();
    assert.deepEqual(
      encodings.map((/** @type {any} */ e) => ({ rid: e.rid, active: e.active, max_kbps: e.maxBitrate / 1_000 })),
      golden.layers,
    );
  },
  'audience.json': async (page) => {
    await inVisit(page);
    page.app.share(/** @type {any} */ ({ kind: 'video', stop() {}, addEventListener() {} }));
    await settle();
    const golden = page.golden['audience.json'];
    const { mid } = page.connection().lines.at(-1);
    await page.say({ ...golden, mid: `${mid}0` });
    assert.equal(page.app.call?.screenAudience, null, 'another line');
    await page.say({ ...golden, mid });
    assert.equal(page.app.call?.screenAudience, golden.by);
    page.app.share(null);
    assert.equal(page.app.call?.screenAudience, null, 'the next screen is another one');
  },
  'picture_at_risk.json': async (page) => {
    await inVisit(page);
    await page.say(page.golden['picture_at_risk.json']);
    assert.equal(page.app.state.page.name, 'visit', 'known, and nothing breaks');
  },
  'connection_lost.json': async (page) => {
    await inVisit(page);
    const before = page.connection();
    await page.say(page.golden['connection_lost.json']);
    mock.timers.tick(1_000);
    assert.ok(before.isClosed);
    assert.notEqual(page.connection(), before, 'another connection is built');
  },
  'ended.json': async (page) => {
    await inVisit(page);
    const golden = page.golden['ended.json'];
    await page.say(golden);
    const { page: screen } = page.app.state;
    assert.ok(screen.name === 'ended');
    assert.deepEqual([screen.reason, screen.message], [golden.reason, golden.message]);
    assert.equal(page.app.call, null);
  },
  'error.json': async (page) => {
    await inVisit(page);
    await page.say(page.golden['error.json']);
    const { default: en } = await import('../../locales/en.js');
    const key = /** @type {keyof typeof en} */ (`error.${page.golden['error.json'].code}`);
    assert.ok(en[key], 'there are words for it');
    assert.equal(page.app.toast, en[key]);
  },
  'pong.json': async (page) => {
    await inVisit(page);
    const { state } = page.app;
    // Without an answer the connection is given up; a pong is one.
    for (let i = 0; i < 10; i += 1) {
      mock.timers.tick(5_000);
      await page.say(page.golden['pong.json']);
      await settle();
    }
    assert.deepEqual([page.app.state, FakeSocket.all.length], [state, 1]);
  },
};

test('every golden message of the server does what it should', async (context) => {
  const golden = goldens('server');
  assert.deepEqual(Object.keys(golden).sort(), Object.keys(SERVER).sort(), 'the files (left) and this test (right)');
  for (const [file, check] of Object.entries(SERVER)) {
    await context.test(file, async () => {
      mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: Date.parse('2026-11-22T10:00:00Z') });
      try {
        const page = { ...(await joined()), golden };
        await check(page);
        page.app.dispatch({ type: 'leave_pressed' });
      } finally {
        mock.timers.reset();
      }
    });
  }
});

/** The names and types of a message's fields. @param {any} message */
const shape = (message) => JSON.stringify(Object.entries(message).map(([name, value]) => (name === 'type' ? [name, value] : [name, typeof value])).sort());

test('the client says nothing that is not in the golden messages, and every kind of them', async () => {
  const golden = goldens('client');
  const known = new Set(Object.values(golden).map(shape));
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: Date.parse('2026-11-22T10:00:00Z') });
  try {
    const page = { ...(await joined()), golden: goldens('server') };
    await inVisit(page);
    // Somebody with a picture goes; a second offer; what a clinician can say; signs of life; coming back; leaving.
    await page.say({ ...page.golden['state.json'], participants: [] });
    page.app.setTarget(undefined, 'p480');
    page.connection().connectionState = 'disconnected';
    /** @type {any} */ (page.connection()).onconnectionstatechange();
    await settle();
    // An offer has to be answered soon, or the ping behind it.
    await page.say({ ...page.golden['pong.json'], id: page.socket.sent.at(-1).id });
    page.app.dispatch({ type: 'admit_pressed', participant: 'p' });
    page.app.dispatch({ type: 'decline_pressed', participant: 'p', reason: '' });
    mock.timers.tick(5_000);
    await page.say(page.golden['pong.json']);
    // Ten seconds into the call the page tells how it went.
    mock.timers.tick(5_000);
    await settle();
    await page.say(page.golden['pong.json']);
    mock.timers.tick(2_000);
    await settle();
    page.app.dispatch({ type: 'end_visit_pressed' });
    page.socket.onclose({});
    mock.timers.tick(1_000);
    await settle();
    const next = /** @type {FakeSocket} */ (FakeSocket.all.at(-1));
    next.onopen({});
    next.onmessage({ data: JSON.stringify({ ...page.golden['welcome.json'], resumed: true }) });
    page.app.dispatch({ type: 'leave_pressed' });
    const said = [...page.socket.sent, ...next.sent];
    for (const message of said) assert.ok(known.has(shape(message)), `no golden message is like ${JSON.stringify(message)}`);
    const unsaid = [...new Set(Object.values(golden).map(({ type }) => type))].filter((type) => said.every((message) => message.type !== type));
    assert.deepEqual(unsaid, [], 'kinds that the client never said here');
  } finally {
    mock.timers.reset();
  }
});
