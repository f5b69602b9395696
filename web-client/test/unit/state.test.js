// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { initial, others, reduce } from '../../src/state.js';

/**
 * @typedef {import('../../types/app.d.ts').State} State
 * @typedef {import('../../types/app.d.ts').Event} Event
 * @typedef {import('../../types/app.d.ts').Session} Session
 * @typedef {import('../../types/protocol.d.ts').VisitState} VisitState
 * @typedef {import('../../types/protocol.d.ts').ParticipantInfo} ParticipantInfo
 */

/** @param {Session['role']} role @returns {Session} */
const session = (role) => ({
  session: 's',
  expires_at: '2026-11-22T10:15:00Z',
  role,
  name: 'Somebody',
  admitted: false,
  visit: {
    id: 'v1',
    starts_at: '2026-11-22T10:00:00Z',
    ends_at: '2026-11-22T10:30:00Z',
    time_zone: 'Europe/Berlin',
    clinic_name: 'Clinic',
    clinician_name: 'Dr. A',
    status: 'scheduled',
  },
});
/** @param {string} participant @returns {ParticipantInfo} */
const person = (participant) => ({
  participant,
  role: 'patient',
  name: participant,
  connected: true,
  microphone_muted: false,
  camera_muted: false,
  tracks: [],
});
/** @param {number} position @returns {VisitState} */
const waiting = (position) => ({ you: { place: 'waiting', position }, clinician: 'ready', participants: [], queue: [] });
/** @param {ParticipantInfo[]} participants @returns {VisitState} */
const admitted = (...participants) => ({ you: { place: 'admitted' }, clinician: 'ready', participants, queue: [] });

/**
 * Runs events through the reducer and gathers what has to be done.
 * @param {Event[]} events
 * @param {State} [from]
 */
function run(events, from = initial) {
  let state = from;
  const effects = [];
  for (const event of events) {
    const step = reduce(state, event);
    state = step.state;
    effects.push(...step.effects);
  }
  return { state, effects, done: effects.filter((e) => e.do !== 'announce').map((e) => (e.do === 'send' ? `send ${e.message.type}` : e.do)) };
}

/** @type {Event[]} */
const toWaiting = [
  { type: 'opened', session: session('patient') },
  { type: 'join_pressed' },
  { type: 'welcome', you: 'me', resumed: false },
  { type: 'visit_state', visit: waiting(2), now: 100 },
];
/** @type {Event[]} */
const toVisit = [...toWaiting, { type: 'visit_state', visit: admitted(person('me'), person('doc')), now: 200 }];

test('a patient says hello only after pressing join, connects media while waiting, and keeps it on admission', () => {
  assert.deepEqual(run(toWaiting.slice(0, 1)).done, []);
  const waits = run(toWaiting);
  assert.equal(waits.state.page.name, 'waiting');
  assert.deepEqual(waits.done, ['connect', 'start_media']);
  const visit = run(toVisit);
  assert.equal(visit.state.page.name, 'visit');
  assert.deepEqual(visit.done, ['connect', 'start_media'], 'admission starts nothing anew');
  assert.deepEqual(others(visit.state).map((p) => p.participant), ['doc']);
});

test('a clinician is connected at once and sees the queue; admitting goes into the visit with media', () => {
  /** @type {Event[]} */
  const events = [
    { type: 'opened', session: session('clinician') },
    { type: 'welcome', you: 'doc', resumed: false },
    { type: 'visit_state', visit: { ...admitted(person('doc')), queue: [] }, now: 1 },
  ];
  const lobby = run(events);
  assert.equal(lobby.state.page.name, 'lobby');
  assert.deepEqual(lobby.done, ['connect']);
  const visit = run([{ type: 'admit_pressed', participant: 'p' }], lobby.state);
  assert.equal(visit.state.page.name, 'visit');
  assert.deepEqual(visit.done, ['send admit', 'start_media']);
  const again = run([{ type: 'admit_pressed', participant: 'q' }], visit.state);
  assert.deepEqual(again.done, ['send admit'], 'media is there already');
});

test('a clinician who joins before the welcome gets media with it', () => {
  const { state, done } = run([
    { type: 'opened', session: session('clinician') },
    { type: 'join_pressed' },
    { type: 'welcome', you: 'doc', resumed: false },
    { type: 'visit_state', visit: admitted(person('doc')), now: 1 },
  ]);
  assert.equal(state.page.name, 'visit');
  assert.deepEqual(done, ['connect', 'start_media']);
});

test('a dropped socket leaves the visit standing; what comes back decides about media', () => {
  const dropped = run([{ type: 'link_lost', now: 500 }, { type: 'link_lost', now: 900 }], run(toVisit).state);
  assert.equal(dropped.state.page.name, 'visit');
  assert.deepEqual(dropped.state.link, { name: 'lost', since: 500, you: 'me' }, 'since the first loss');
  assert.deepEqual(dropped.done, []);
  assert.deepEqual(others(dropped.state).map((p) => p.participant), ['doc'], 'one is not among the others');
  for (const resumed of [true, false]) {
    const { effects } = run([{ type: 'welcome', you: 'me2', resumed }], dropped.state);
    assert.deepEqual(effects[0], { do: 'start_media', keep: resumed });
  }
});

test('leaving from anywhere keeps the place, lets go of the devices, and offers the way back', () => {
  for (const [events, from] of /** @type {const} */ ([
    [toWaiting, 'waiting'],
    [toVisit, 'visit'],
  ])) {
    const left = run([{ type: 'leave_pressed' }], run([...events]).state);
    assert.deepEqual(left.done, ['leave', 'stop_media']);
    assert.ok(left.state.page.name === 'ended' && left.state.page.from === from && left.state.page.reason === 'left');
    const back = run([{ type: 'rejoin_pressed' }], left.state);
    assert.equal(back.state.page.name, 'joining');
    assert.deepEqual(back.done, ['connect']);
  }
});

test('the end of a visit: some reasons are final, after some the client comes back by itself', () => {
  const visit = run(toVisit).state;
  for (const reason of /** @type {const} */ (['visit_ended', 'declined', 'replaced', 'cancelled', 'left'])) {
    const { state, done } = run([{ type: 'ended', reason, message: 'm' }], visit);
    assert.ok(state.page.name === 'ended' && state.page.reason === reason);
    assert.deepEqual(done, ['stop_media', 'disconnect']);
  }
  for (const reason of /** @type {const} */ (['server_stopping', 'failed'])) {
    const { state, done } = run([{ type: 'ended', reason, message: '' }], visit);
    assert.equal(state.page.name, 'visit');
    assert.deepEqual(done, ['reconnect_fresh']);
  }
});

test('another visit of the day: the present one is left first', () => {
  const visit = run([
    { type: 'opened', session: session('clinician') },
    { type: 'welcome', you: 'doc', resumed: false },
    { type: 'visit_state', visit: admitted(person('doc')), now: 1 },
    { type: 'join_pressed' },
  ]).state;
  const { state, done } = run([{ type: 'opened', session: session('clinician') }], visit);
  assert.ok(state.page.name === 'lobby' && state.page.room === null);
  assert.deepEqual(done, ['leave', 'stop_media', 'connect']);
});

test('a late message does not bring back what is over', () => {
  const left = run([{ type: 'leave_pressed' }], run(toVisit).state).state;
  const { state, done } = run(
    [
      { type: 'visit_state', visit: admitted(person('me')), now: 1 },
      { type: 'welcome', you: 'me', resumed: true },
      { type: 'ended', reason: 'left', message: '' },
      { type: 'link_lost', now: 2 },
    ],
    left,
  );
  assert.deepEqual(state, left);
  assert.deepEqual(done, []);
});

test('people who listen hear what others see', () => {
  const said = (/** @type {ReturnType<typeof run>} */ { effects }) => effects.flatMap((e) => (e.do === 'announce' ? [e.key] : []));
  assert.deepEqual(said(run(toVisit)), ['announce.joining', 'announce.waiting', 'announce.admitted']);
  const visit = run(toVisit).state;
  assert.deepEqual(said(run([{ type: 'visit_state', visit: admitted(person('me'), person('doc'), person('guest')), now: 3 }], visit)), ['announce.entered']);
  assert.deepEqual(said(run([{ type: 'visit_state', visit: admitted(person('me')), now: 3 }], visit)), ['announce.went']);
  const same = run([{ type: 'visit_state', visit: waiting(2), now: 300 }], run(toWaiting).state);
  assert.deepEqual(said(same), [], 'the same place is not said twice');
});

test('troubles: a dead link is one screen, trying again starts over', () => {
  const bad = run([{ type: 'open_failed', problem: 'server_gone' }]);
  assert.deepEqual(bad.state.page, { name: 'problem', problem: 'server_gone' });
  assert.deepEqual(run([{ type: 'retry_pressed' }], bad.state).done, ['open_link']);
});

test('a clinician who has left can still end the visit for everybody', () => {
  /** @type {Event[]} */
  const left = [
    { type: 'opened', session: session('clinician') },
    { type: 'welcome', you: 'me', resumed: false },
    { type: 'visit_state', visit: admitted(person('me')), now: 100 },
    { type: 'join_pressed' },
    { type: 'visit_state', visit: admitted(person('me'), person('Maria')), now: 200 },
    { type: 'leave_pressed' },
  ];
  const { state } = run(left);
  assert.ok(state.page.name === 'ended');
  assert.deepEqual(state.page.stay, ['Maria'], 'who is left behind');
  const ending = run([{ type: 'end_visit_pressed' }, { type: 'welcome', you: 'me', resumed: false }], state);
  assert.equal(ending.state.page.name, 'ending');
  assert.deepEqual(ending.done, ['connect', 'send end_visit'], 'without sound and picture');
  // The server was away in between: said once more.
  const again = run([{ type: 'link_lost', now: 300 }, { type: 'welcome', you: 'me', resumed: false }], ending.state);
  assert.deepEqual(again.done, ['send end_visit']);
  const over = run([{ type: 'ended', reason: 'visit_ended', message: '' }], again.state);
  assert.ok(over.state.page.name === 'ended' && over.state.page.reason === 'visit_ended' && over.state.link.name === 'off');
});

test('a patient who was declined can ask again', () => {
  const declined = run([...toWaiting, { type: 'ended', reason: 'declined', message: 'later' }, { type: 'rejoin_pressed' }]);
  assert.equal(declined.state.page.name, 'joining');
  assert.equal(declined.done.at(-1), 'connect');
});
