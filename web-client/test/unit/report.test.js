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

test('what is received is summed up over all lines', () => {
  const sums = totals([video(100), video(50, 2, 0.75), audio(48_000, 960, 480), { type: 'outbound-rtp', kind: 'video', framesEncoded: 9 }]);
  assert.deepEqual({ ...sums, bufferedSeconds: 0 }, {
    frames: 150, dropped: 2, freezes: 2, frozenSeconds: 0.75, samples: 48_000, concealed: 480, bufferedSeconds: 0, emitted: 48_000,
  });
});

test('a shared screen, which stands still by nature, is left out', () => {
  const sums = totals([{ ...video(100), mid: '3' }, { ...video(5, 9, 60), mid: '5' }], new Set(['5']));
  assert.deepEqual([sums.frames, sums.freezes, sums.frozenSeconds], [100, totals([video(100)]).freezes, totals([video(100)]).frozenSeconds]);
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
