// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reporter, between, totals } from '../../src/report.js';

const video = (/** @type {number} */ frames, freezes = 0, frozen = 0) => ({
  type: 'inbound-rtp',
  kind: 'video',
  framesDecoded: frames,
  framesDropped: 1,
  freezeCount: freezes,
  totalFreezesDuration: frozen,
});
const audio = (/** @type {number} */ samples, concealed = 0, silent = 0) => ({
  type: 'inbound-rtp',
  kind: 'audio',
  totalSamplesReceived: samples,
  concealedSamples: concealed,
  silentConcealedSamples: silent,
  jitterBufferDelay: samples * 0.04,
  jitterBufferEmittedCount: samples,
});

test('what is received is summed up line by line', () => {
  const sums = totals([{ ...video(100), mid: '3' }, { ...video(50, 2, 0.75), mid: '5' }, { ...audio(48_000, 960, 480), mid: '2' }, { type: 'outbound-rtp', kind: 'video', framesEncoded: 9 }]);
  const nothing = { frames: 0, dropped: 0, freezes: 0, frozenSeconds: 0, samples: 0, concealed: 0, bufferedSeconds: 0, emitted: 0 };
  assert.deepEqual([...sums].map(([line, { bufferedSeconds, ...rest }]) => [line, { ...rest, bufferedSeconds: 0 }]), [
    ['3', { ...nothing, frames: 100, dropped: 1 }],
    ['5', { ...nothing, frames: 50, dropped: 1, freezes: 2, frozenSeconds: 0.75 }],
    ['2', { ...nothing, samples: 48_000, concealed: 480, emitted: 48_000 }],
  ]);
  const report = between(new Map(), sums, 10_000);
  assert.deepEqual([report.frames_decoded, report.frames_dropped, report.freezes, report.samples], [150, 2, 2, 48_000]);
});

test('a screen, which stands still by nature, is left out while it is shown, and a camera’s line before and after it counts', () => {
  /** @type {any[]} */
  const told = [];
  const times = { usable: null, welcomed: null, firstFrame: 1, said: false };
  const reporter = new Reporter(/** @type {any} */ ({}), (message) => told.push(message) > 0, times, 0);
  const lines = (/** @type {number} */ first, /** @type {number} */ second, /** @type {number} */ frozen) => [{ ...video(first), mid: '3' }, { ...video(second, frozen, frozen), mid: '5' }];
  reporter.take(lines(300, 300, 0), 10_000, new Set());
  reporter.take(lines(600, 310, 9), 20_000, new Set(['5']));
  // The screen ended within these ten seconds, with a freeze that was none.
  reporter.take(lines(900, 400, 60), 30_000, new Set());
  reporter.take(lines(1_200, 700, 60), 40_000, new Set());
  assert.deepEqual(told.map(({ frames_decoded, freezes }) => [frames_decoded, freezes]), [[600, 0], [300, 0], [300, 0], [600, 0]]);
});

test('a report is the difference of two moments, and never negative', () => {
  const before = totals([video(100, 1, 0.5), audio(480_000)]);
  const now = totals([video(400, 2, 1.25), audio(960_000, 4_800)]);
  assert.deepEqual(between(before, now, 10_004.2), {
    interval_ms: 10_004, frames_decoded: 300, frames_dropped: 0, freezes: 1, freeze_ms: 750, samples: 480_000, concealed: 4_800, jitter_buffer_ms: 40,
  });
  const gone = between(now, totals([]), 10_000);
  assert.ok(Object.values(gone).every((value) => value >= 0));
  assert.equal(gone.jitter_buffer_ms, undefined);
});

test('the server is told every ten seconds, and of the beginning once', () => {
  /** @type {any[]} */
  const told = [];
  let online = false;
  const times = { usable: 310.4, welcomed: 1_000, firstFrame: 3_150.6, said: false };
  const reporter = new Reporter(/** @type {any} */ ({}), (message) => { if (online) told.push(message); return online; }, times, 0);
  for (let now = 2_000; now <= 40_000; now += 2_000) {
    online = now > 15_000;
    reporter.take([video(now / 40)], now);
  }
  reporter.take([video(9_000)], 400_000);
  assert.deepEqual(told.map(({ page_ms, first_frame_ms, frames_decoded }) => [page_ms, first_frame_ms, frames_decoded]), [
    [310, 2_151, 250],
    [undefined, undefined, 250],
    [undefined, undefined, 250],
  ]);
});
