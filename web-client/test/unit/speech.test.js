// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LossMeter, speech } from '../../src/speech.js';
import { Redundancy } from '../../src/speech-worker.js';

const OPUS = 111;
const header = (/** @type {number} */ age, /** @type {number} */ length) => [0x80 | OPUS, age >> 6, ((age & 63) << 2) | (length >> 8), length & 255];

/**
 * What Chromium's encoder gives: the frame before, if there is one, and its own.
 * @param {number[]} own
 * @param {number[]} [before]
 */
const encoded = (own, before) => new Uint8Array([...(before ? [...header(960, before.length), OPUS, ...before] : [OPUS]), ...own]).buffer;

/** @param {ArrayBuffer | null} payload */
const bytes = (payload) => payload && [...new Uint8Array(payload)];

test('each packet takes the two frames before its own along, with their ages', () => {
  const redundancy = new Redundancy();
  assert.equal(redundancy.next(encoded([1]), 0, 2), null, 'nothing came before');
  assert.equal(redundancy.next(encoded([2, 2], [1]), 960, 2), null, 'the encoder has done it');
  const third = [...header(1_920, 1), ...header(960, 2), OPUS, 1, 2, 2, 3];
  assert.deepEqual(bytes(redundancy.next(encoded([3], [2, 2]), 1_920, 2)), third);
  const fourth = [...header(1_920, 2), ...header(960, 1), OPUS, 2, 2, 3, 4];
  assert.deepEqual(bytes(redundancy.next(encoded([4], [3]), 2_880, 2)), fourth);
});

test('the clock may come round', () => {
  const redundancy = new Redundancy();
  for (const [number, timestamp] of [2 ** 32 - 1_920, 2 ** 32 - 960].entries()) redundancy.next(encoded([number]), timestamp, 2);
  assert.deepEqual(bytes(redundancy.next(encoded([2], [1]), 0, 2)), [...header(1_920, 1), ...header(960, 1), OPUS, 0, 1, 2]);
});

test('nothing is changed while nothing is lost, nor by what was before', () => {
  const redundancy = new Redundancy();
  for (const number of [1, 2, 3]) assert.equal(redundancy.next(encoded([number]), 960 * number, 0), null);
  assert.equal(redundancy.next(encoded([4], [3]), 3_840, 2), null, 'frames from before it was switched on are gone');
});

test('what a header cannot say, or what is too long, stays behind', () => {
  const redundancy = new Redundancy();
  redundancy.next(encoded([1]), 0, 2);
  redundancy.next(encoded([2], [1]), 960, 2);
  assert.equal(redundancy.next(encoded([3]), 960 + 16_384, 2), null, 'after a silence');
  const long = Array(600).fill(7);
  redundancy.next(encoded(long), 30_000, 2);
  redundancy.next(encoded([5]), 30_960, 2);
  assert.deepEqual(bytes(redundancy.next(encoded(long), 31_920, 2)), [...header(960, 1), OPUS, 5, ...long], 'a packet has room for one of them');
});

test('blocks follow each other without a gap', () => {
  const redundancy = new Redundancy();
  redundancy.next(encoded([1]), 0, 2);
  redundancy.next(encoded(Array(1_024).fill(7)), 960, 2);
  assert.equal(redundancy.next(encoded([3]), 1_920, 2), null, 'the one in between is too long');
});

test('after a frame that passes unread none from before it goes along', async () => {
  /** @type {any} */
  const worker = globalThis;
  const metadata = (/** @type {number} */ rtpTimestamp) => ({ mimeType: 'audio/red', rtpTimestamp });
  const broken = () => {
    throw new Error('no metadata');
  };
  const unread = [() => ({ ...metadata(1_920), mimeType: 'audio/opus' }), () => ({ mimeType: 'audio/red' }), broken];
  for (const getMetadata of [() => metadata(1_920), ...unread]) {
    /** @type {any[]} */
    const frames = [1, 2, 3, 4].map((number) => ({ data: encoded([number]), getMetadata: () => metadata(960 * (number - 1)) }));
    frames[2].getMetadata = getMetadata;
    const readable = new ReadableStream({
      start(controller) {
        for (const frame of frames) controller.enqueue(frame);
        controller.close();
      },
    });
    worker.onmessage({ data: 2 });
    await new Promise((close) => worker.onrtctransform({ transformer: { readable, writable: new WritableStream({ close: () => close(undefined) }) } }));
    worker.onmessage({ data: 0 });
    const isRead = !unread.includes(getMetadata);
    const fourth = isRead ? [...header(1_920, 1), ...header(960, 1), OPUS, 2, 3, 4] : [OPUS, 4];
    assert.deepEqual(bytes(frames[3].data), fourth, `${getMetadata}`);
  }
});

test('what is no redundancy passes as it is', () => {
  const redundancy = new Redundancy();
  redundancy.next(encoded([1]), 0, 2);
  redundancy.next(encoded([2], [1]), 960, 2);
  for (const payload of [[], [OPUS], [0xef], [0xef, 15, 0, 200, OPUS, 1], [0xff, 0xff, 0xff, 0xff]]) {
    assert.equal(redundancy.next(new Uint8Array(payload).buffer, 1_920, 2), null, `${payload}`);
  }
});

test('it begins after a few seconds of a tenth lost, and ends some time after the last loss', () => {
  const meter = new LossMeter();
  const reports = (/** @type {number} */ share, /** @type {number} */ count) => Array.from({ length: count }, () => meter.note({ loss: share }));
  assert.deepEqual(reports(0.01, 60).filter(Boolean), [], 'a hundredth is nothing');
  assert.equal(meter.note({ loss: 0.08 }), 0, 'nor is one bad second');
  reports(0, 10);
  assert.ok(reports(0.1, 5).includes(2), 'a tenth is');
  assert.deepEqual(new Set(reports(0.02, 60)), new Set([2]), 'it stays while some are lost');
  const after = reports(0, 30);
  assert.equal(after[0], 2);
  assert.equal(after.at(-1), 0);
  reports(0.1, 10);
  assert.deepEqual([meter.note({ loss: 0.1, estimate: 200_000 }), meter.note({ loss: 0.1, estimate: 300_000 })], [0, 2], 'a thin line is not filled up');
  assert.equal(new LossMeter().note({ loss: Number.NaN }), 0, 'nonsense is no loss');
});

test('a line whose packets queue up is not given more of them', () => {
  const meter = new LossMeter();
  /** How many frames were wanted, without repetitions. @param {any} report @param {number} count */
  const reports = (report, count) =>
    Array.from({ length: count }, () => meter.note({ loss: 0.1, carries: 'p720', ...report })).filter((frames, place, all) => frames !== all[place - 1]);
  assert.deepEqual(reports({ roundTrip: 0.05 }, 10), [0, 2], 'lost by chance');
  assert.deepEqual(reports({ roundTrip: 0.3 }, 1), [2], 'one long round trip is no queue');
  assert.deepEqual(reports({ roundTrip: 0.08 }, 5), [2]);
  assert.deepEqual(reports({ roundTrip: 0.3 }, 5), [2, 0], 'several are');
  assert.deepEqual(reports({ roundTrip: 0.05 }, 7), [0], 'for some time');
  assert.deepEqual(reports({ roundTrip: 0.05 }, 3), [2], 'and then lost by chance again');
  assert.deepEqual(reports({ roundTrip: 0.05, carries: 'p480' }, 7), [0], 'the server found that the line carries less');
  assert.deepEqual(reports({ roundTrip: 0.05, carries: 'p480' }, 9), [0, 2], 'the picture has made room');
  assert.deepEqual(reports({ roundTrip: 0.05 }, 3), [2], 'more again is no sign of a queue');
  // The way is longer now, and stays so.
  assert.deepEqual(reports({ roundTrip: 0.4 }, 70).at(-1), 2);
});

test('where the browser does not suit there is none', async () => {
  assert.equal(await speech, null);
});
