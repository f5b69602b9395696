// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIRST_MS, LONGEST_MS } from '../../src/backoff.js';
import { ANSWER_MS, GiveUp, HELLO_MS, LEAVE_MS, LONGEST_HELLO_MS, PING_MS, SILENCE_MS, Signaling } from '../../src/signaling.js';

/** Time that moves only when told to. */
class VirtualClock {
  time = 0;
  /** @type {Array<{at: number, run: () => void}>} */
  timers = [];
  now = () => this.time;
  random = () => 1;
  /** @param {() => void} run @param {number} ms */
  setTimeout = (run, ms) => {
    const timer = { at: this.time + ms, run };
    this.timers.push(timer);
    return timer;
  };
  /** @param {any} timer */
  clearTimeout = (timer) => {
    this.timers = this.timers.filter((t) => t !== timer);
  };
  /** @param {number} ms */
  async pass(ms) {
    const end = this.time + ms;
    await settle();
    for (;;) {
      const next = this.timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.clearTimeout(next);
      this.time = next.at;
      next.run();
      await settle();
    }
    this.time = end;
  }
}

/** Lets promises that are already resolved run on. */
async function settle() {
  for (let i = 0; i < 8; i += 1) await Promise.resolve();
}

class FakeSocket {
  /** @type {any[]} */
  sent = [];
  closed = false;
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: any) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onclose = null;
  /** @param {string} data */
  send(data) {
    this.sent.push(JSON.parse(data));
  }
  close() {
    this.closed = true;
  }
  /** @param {unknown} message */
  say(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  welcome(resume = 'r1', resumed = false) {
    this.onopen?.({});
    this.say({ type: 'welcome', you: 'me', role: 'patient', resume, resumed, ice_servers: [] });
  }
}

function setUp() {
  const clock = new VirtualClock();
  /** @type {FakeSocket[]} */
  const sockets = [];
  /** @type {string[]} */
  const log = [];
  /** @type {{session: (renew: boolean) => Promise<string>}} */
  const given = { session: async (renew) => (renew ? 'renewed' : 's') };
  const signaling = new Signaling(
    {
      connect: () => {
        const socket = new FakeSocket();
        sockets.push(socket);
        return socket;
      },
      session: (renew) => given.session(renew),
      onMessage: (message) => log.push(message.type),
      onLost: () => log.push('lost'),
      onGivenUp: () => log.push('given up'),
    },
    clock,
  );
  /** The newest socket. */
  const socket = () => /** @type {FakeSocket} */ (sockets.at(-1));
  return { clock, sockets, socket, log, given, signaling };
}

/** A connection that is up. */
async function up() {
  const all = setUp();
  all.signaling.open();
  await all.clock.pass(0);
  all.socket().welcome();
  return all;
}

test('hello is the first message, and nothing is sent before the welcome', async () => {
  const { clock, socket, signaling, log } = setUp();
  signaling.open();
  await clock.pass(0);
  socket().onopen?.({});
  assert.deepEqual(socket().sent, [{ type: 'hello', session: 's' }]);
  assert.equal(signaling.send({ type: 'end_visit' }), false);
  socket().say({ type: 'welcome', you: 'me', role: 'patient', resume: 'r1', resumed: false, ice_servers: [] });
  assert.equal(signaling.send({ type: 'end_visit' }), true);
  assert.deepEqual(log, ['welcome']);
});

test('a dropped socket comes back within a quarter of a second and resumes', async () => {
  const { clock, sockets, socket, log } = await up();
  socket().onclose?.({});
  assert.deepEqual(log, ['welcome', 'lost']);
  await clock.pass(FIRST_MS);
  assert.equal(sockets.length, 2);
  socket().onopen?.({});
  assert.deepEqual(socket().sent, [{ type: 'hello', session: 's', resume: 'r1' }]);
});

test('a server that is away is asked again and again, less and less often', async () => {
  const { clock, sockets, socket } = await up();
  const times = [];
  for (let i = 0; i < 7; i += 1) {
    const before = sockets.length;
    socket().onclose?.({});
    const since = clock.time;
    while (sockets.length === before) await clock.pass(10);
    times.push(clock.time - since);
  }
  assert.deepEqual(times, [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000]);
});

test('pings go out every five seconds; silence means dead', async () => {
  const { clock, socket, sockets, log } = await up();
  const first = socket();
  await clock.pass(PING_MS);
  assert.deepEqual(first.sent.at(-1), { type: 'ping', id: 1 });
  first.say({ type: 'pong', id: 1 });
  await clock.pass(SILENCE_MS - 1);
  assert.equal(first.closed, false);
  await clock.pass(PING_MS);
  assert.equal(first.closed, true);
  assert.equal(log.at(-1), 'lost');
  await clock.pass(FIRST_MS);
  assert.equal(sockets.length, 2);
});

test('a server that answers pings is never dropped', async () => {
  const { clock, socket, sockets } = await up();
  for (let i = 0; i < 100; i += 1) {
    await clock.pass(PING_MS);
    socket().say({ type: 'pong', id: i });
  }
  assert.equal(sockets.length, 1);
});

test('a socket that never says welcome is given up, the first ones sooner', async () => {
  const { clock, sockets, signaling } = setUp();
  signaling.open();
  await clock.pass(0);
  const times = [];
  for (let i = 1; i <= 4; i += 1) {
    const since = clock.time;
    while (!sockets[i - 1]?.closed) await clock.pass(10);
    times.push(clock.time - since);
    while (sockets.length === i) await clock.pass(10);
  }
  assert.deepEqual(times, [...HELLO_MS, LONGEST_HELLO_MS, LONGEST_HELLO_MS]);
});

test('an offer that is not answered is taken to a new socket, with more and more patience', async () => {
  const { clock, socket, sockets, signaling } = await up();
  const patience = [];
  for (let i = 0; i < 3; i += 1) {
    const stuck = socket();
    signaling.send({ type: 'offer', id: 1, sdp: '' });
    assert.equal(stuck.sent.at(-1).type, 'ping');
    // On its way before the offer came.
    stuck.say({ type: 'quality' });
    const since = clock.time;
    while (!stuck.closed) {
      await clock.pass(10);
      assert.ok(clock.time - since <= SILENCE_MS);
    }
    patience.push(clock.time - since);
    while (socket() === stuck) await clock.pass(10);
    socket().welcome('r1', true);
    socket().say({ type: 'uplink', layers: [] });
    assert.equal(socket().sent[0].resume, 'r1', 'it is the same stay');
  }
  assert.deepEqual(patience, [ANSWER_MS, 2 * ANSWER_MS, SILENCE_MS]);

  const healthy = socket();
  signaling.send({ type: 'offer', id: 1, sdp: '' });
  healthy.say({ type: 'answer', id: 1, sdp: '' });
  await clock.pass(PING_MS);
  assert.equal(healthy.closed, false, 'it was answered');
  signaling.send({ type: 'offer', id: 2, sdp: '' });
  healthy.say({ type: 'pong', id: healthy.sent.at(-1).id });
  await clock.pass(ANSWER_MS);
  assert.equal(healthy.closed, false, 'a busy server that hears us is no reason');
  signaling.send({ type: 'offer', id: 3, sdp: '' });
  await clock.pass(ANSWER_MS);
  assert.equal(healthy.closed, true, 'and patience begins anew');
  assert.equal(sockets.length, 4);
});

test('after a restart the server knows neither session nor resume: the session is made anew from the link', async () => {
  const { clock, socket } = await up();
  socket().onclose?.({});
  await clock.pass(FIRST_MS);
  socket().onopen?.({});
  socket().say({ type: 'error', code: 'session_expired', message: '' });
  socket().onclose?.({});
  await clock.pass(LONGEST_MS);
  socket().onopen?.({});
  assert.equal(socket().sent[0].session, 'renewed');
});

test('a dead link ends the tries, a server that is away does not', async () => {
  const { clock, given, sockets, signaling, log } = setUp();
  let tries = 0;
  given.session = async () => {
    tries += 1;
    throw new Error('unreachable');
  };
  signaling.open();
  await clock.pass(30_000);
  assert.ok(tries > 5 && tries < 15, `${tries} tries`);
  given.session = async () => {
    throw new GiveUp(new Error('link_expired'));
  };
  await clock.pass(LONGEST_MS);
  assert.equal(log.at(-1), 'given up');
  await clock.pass(60_000);
  assert.equal(sockets.length, 0);
  assert.deepEqual(clock.timers, []);
});

test('leaving says so, keeping the place, and never comes back', async () => {
  const { clock, socket, sockets, signaling, log } = await up();
  signaling.leave();
  assert.deepEqual(socket().sent.at(-1), { type: 'leave', keep_place: true });
  assert.equal(socket().closed, false, 'the message must get out first');
  await clock.pass(LEAVE_MS);
  assert.equal(socket().closed, true);
  await clock.pass(60_000);
  assert.equal(sockets.length, 1);
  assert.deepEqual(log, ['welcome']);
});

test('a stay that has ended is not resumed', async () => {
  const { clock, socket } = await up();
  socket().say({ type: 'ended', reason: 'server_stopping', message: '' });
  socket().onclose?.({});
  await clock.pass(FIRST_MS);
  socket().onopen?.({});
  assert.deepEqual(socket().sent, [{ type: 'hello', session: 's' }]);
});

test('when the network is back nobody sits out the pause', async () => {
  const { clock, socket, sockets, signaling } = await up();
  for (let i = 0; i < 6; i += 1) {
    socket().onclose?.({});
    await clock.pass(LONGEST_MS);
  }
  socket().onclose?.({});
  const before = sockets.length;
  signaling.hurry();
  await clock.pass(0);
  assert.equal(sockets.length, before + 1);
});

test('what is not a message is nothing', async () => {
  const { socket, log } = await up();
  for (const data of ['', '{', '[]', 'null', '1', '{"type":1}', new Uint8Array(3)]) socket().onmessage?.({ data });
  assert.deepEqual(log, ['welcome']);
});

test('the server is reached if it answers at once, on the ping that was sent for it', async () => {
  const { clock, socket, signaling } = await up();
  let reached = 0;
  const ask = () => {
    signaling.whenReached(() => (reached += 1));
    return socket().sent.at(-1);
  };
  const first = ask();
  assert.equal(first.type, 'ping');
  socket().say({ type: 'pong', id: first.id - 1 });
  assert.equal(reached, 0, 'another ping');
  await clock.pass(1_000);
  socket().say({ type: 'pong', id: first.id });
  socket().say({ type: 'pong', id: first.id });
  assert.equal(reached, 1, 'once');
  const late = ask();
  await clock.pass(3_000);
  socket().say({ type: 'pong', id: late.id });
  assert.equal(reached, 1, 'too late');
  signaling.close();
  signaling.whenReached(() => assert.fail('not reached'));
});
