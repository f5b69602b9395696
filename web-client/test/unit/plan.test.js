// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MOST_LINES, cameraEncodings, markScreen, plan, screenEncoding, targets } from '../../src/plan.js';

/**
 * @typedef {import('../../types/protocol.d.ts').ParticipantInfo} ParticipantInfo
 * @typedef {import('../../types/protocol.d.ts').SlotInfo} SlotInfo
 */

/**
 * @param {string} participant
 * @param {Array<'audio' | 'video'>} [kinds]
 * @returns {ParticipantInfo}
 */
const person = (participant, kinds = ['audio', 'video']) => ({
  participant,
  role: 'patient',
  name: participant,
  connected: true,
  microphone_muted: false,
  camera_muted: false,
  tracks: kinds.map((kind) => ({ track: `${participant}-${kind}`, kind, source: kind === 'audio' ? 'microphone' : 'camera' })),
});
/** @type {SlotInfo[]} */
const pair = [
  { mid: '2', kind: 'audio' },
  { mid: '3', kind: 'video' },
];
/** @type {SlotInfo[]} */
const two = [...pair, { mid: '4', kind: 'audio' }, { mid: '5', kind: 'video' }];

test('one other person fits the lines that are there from the start', () => {
  const { changes, missing } = plan(pair, [person('a')], []);
  assert.deepEqual(changes, [
    { mid: '2', track: 'a-audio' },
    { mid: '3', track: 'a-video' },
  ]);
  assert.deepEqual(missing, { audio: 0, video: 0 });
});

test('saying the same again changes nothing', () => {
  const first = plan(two, [person('a'), person('b')], []);
  const second = plan(two, [person('b'), person('a')], first.assignments);
  assert.deepEqual(second.changes, []);
  assert.deepEqual(second.assignments, first.assignments);
});

test('a second person needs lines; when they come, the first keeps theirs', () => {
  const first = plan(pair, [person('a')], []);
  const crowded = plan(pair, [person('a'), person('b')], first.assignments);
  assert.deepEqual(crowded.missing, { audio: 1, video: 1 });
  assert.deepEqual(crowded.changes, []);
  const roomy = plan(two, [person('a'), person('b')], crowded.assignments);
  assert.deepEqual(roomy.changes, [
    { mid: '4', track: 'b-audio' },
    { mid: '5', track: 'b-video' },
  ]);
});

test('who leaves frees the line, and it is pointed at nothing', () => {
  const first = plan(two, [person('a'), person('b')], []);
  const { changes, assignments } = plan(two, [person('b')], first.assignments);
  assert.deepEqual(changes, [
    { mid: '2', track: null },
    { mid: '3', track: null },
  ]);
  assert.deepEqual(assignments.map((a) => a.mid), ['4', '5']);
});

test('who comes back with new tracks takes the line over in one step', () => {
  const first = plan(pair, [person('a')], []);
  const { changes } = plan(pair, [person('b')], first.assignments);
  assert.deepEqual(changes, [
    { mid: '2', track: 'b-audio' },
    { mid: '3', track: 'b-video' },
  ]);
});

test('without a camera there is no picture to ask for', () => {
  assert.deepEqual(plan(pair, [person('a', ['audio'])], []).changes, [{ mid: '2', track: 'a-audio' }]);
});

test('after a new connection the old lines mean nothing', () => {
  const old = plan(two, [person('a'), person('b')], []);
  const { assignments } = plan(pair, [person('a')], old.assignments);
  assert.deepEqual(assignments.map((a) => a.mid), ['2', '3']);
});

test('a crowd never asks for more lines than a screen can show', () => {
  const crowd = Array.from({ length: 50 }, (_, i) => person(`p${i}`));
  assert.deepEqual(plan(pair, crowd, []).missing, { audio: MOST_LINES - 1, video: MOST_LINES - 1 });
});

test('faces that share the screen with more than one other are asked for smaller', () => {
  const lines = Array.from({ length: 4 }, (_, i) => /** @type {SlotInfo} */ ({ mid: String(i), kind: 'video' }));
  const asked = (/** @type {number} */ n) => {
    const people = Array.from({ length: n }, (_, i) => person(`p${i}`, ['video']));
    return [...targets(plan(lines, people, []).assignments).values()];
  };
  assert.deepEqual(asked(2), ['p720', 'p720']);
  assert.deepEqual(asked(3), ['p480', 'p480', 'p480']);
});

test('layers go low to high, within the rates the server counts on', () => {
  const [m, h] = cameraEncodings();
  assert.deepEqual([m?.rid, m?.scaleResolutionDownBy, m?.maxBitrate], ['m', 1.5, 600_000]);
  assert.deepEqual([h?.rid, h?.scaleResolutionDownBy, h?.maxBitrate], ['h', 1, 1_500_000]);
});

test('who was chosen is asked for large, the others small', () => {
  const lines = [...two, { mid: '6', kind: /** @type {const} */ ('video') }];
  const asked = (/** @type {string[]} */ names, /** @type {string | null} */ chosen) => {
    const people = names.map((name) => person(name, ['video']));
    return [...targets(plan(lines, people, []).assignments, chosen).values()];
  };
  assert.deepEqual(asked(['a'], 'a'), ['p720']);
  assert.deepEqual(asked(['a', 'b'], 'b'), ['p480', 'p720']);
  assert.deepEqual(asked(['a', 'b', 'c'], 'c'), ['p480', 'p480', 'p720']);
  assert.deepEqual(asked(['a', 'b'], 'gone'), ['p720', 'p720']);
});

test('a shared screen is asked for in full, and faces small but for whoever was chosen', () => {
  const lines = Array.from({ length: 4 }, (_, i) => /** @type {SlotInfo} */ ({ mid: String(i), kind: 'video' }));
  const sharer = person('a', ['video']);
  sharer.tracks.push({ track: 'a-screen', kind: 'video', source: 'screen' });
  const asked = (/** @type {ParticipantInfo[]} */ people, /** @type {string | null} */ chosen) => {
    const { assignments } = plan(lines, people, []);
    const wanted = targets(assignments, chosen);
    return assignments.map((a) => [a.track, wanted.get(a.mid)]);
  };
  assert.deepEqual(asked([sharer], null), [['a-screen', 'p720'], ['a-video', 'p480']]);
  assert.deepEqual(asked([sharer, person('b', ['video'])], 'b'), [['a-screen', 'p720'], ['a-video', 'p480'], ['b-video', 'p720']]);
});

test('a screen is seen however many faces there are', () => {
  const crowd = Array.from({ length: MOST_LINES }, (_, i) => person(`p${i}`, ['video']));
  const lines = Array.from({ length: MOST_LINES + 1 }, (_, i) => /** @type {SlotInfo} */ ({ mid: String(i), kind: 'video' }));
  const before = plan(lines.slice(0, MOST_LINES), crowd, []);
  const sharer = crowd.at(-1);
  sharer?.tracks.push({ track: 'screen', kind: 'video', source: 'screen' });
  const began = plan(lines.slice(0, MOST_LINES), crowd, before.assignments);
  assert.deepEqual(began.missing, { audio: 0, video: 1 }, 'a line of its own is asked for');
  assert.deepEqual(plan(lines, crowd, began.assignments).changes, [{ mid: String(MOST_LINES), track: 'screen' }]);
  const late = plan(lines.slice(0, 1), crowd, []);
  assert.deepEqual(late.changes, [{ mid: '0', track: 'screen' }], 'who comes later sees it first');
  assert.equal(late.missing.video, MOST_LINES - 1);
});

test('a screen has few frames and many pixels, and its line says what it is', () => {
  assert.deepEqual(screenEncoding(), { maxFramerate: 5, maxBitrate: 1_200_000, scalabilityMode: 'L1T3' });
  const sdp = 'a=mid:4\r\na=sendonly\r\na=mid:41\r\n';
  assert.equal(markScreen(sdp, '4'), 'a=mid:4\r\na=content:slides\r\na=sendonly\r\na=mid:41\r\n');
  assert.equal(markScreen(sdp, null), sdp);
});
