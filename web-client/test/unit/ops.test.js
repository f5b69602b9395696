// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lowest, sentence } from '../../src/ops/timeline.js';
import { clock, culpritSentence, culpritWord, gradeWord, percent, stages, summary } from '../../src/ops/words.js';

/** @type {import('../../types/ops.d.ts').Sample} */
const SAMPLE = {
  at: 65, span: 5, rung: 'p480', estimate_kbps: 700, queue_ms: 40, up_loss: 0, down_loss: 0.031,
  up_jitter_ms: 1, down_jitter_ms: 2, up_mos: 4.2, down_mos: 3.4, frozen: 0.5, culprit: 'clinic_downlink',
};

test('who caused trouble, in words', () => {
  for (const [culprit, word, text] of /** @type {Array<[string | null, string, string]>} */ ([
    [null, 'no trouble', 'No trouble.'],
    ['nobody', 'no trouble', 'No trouble.'],
    ['server', 'server', 'The server was late or could not send.'],
    ['patient_uplink', 'patient uplink', 'The patient’s line to the server was bad.'],
    ['clinic_downlink', 'clinic downlink', 'The clinic’s line from the server was bad.'],
  ])) {
    assert.deepEqual([culpritWord(culprit), culpritSentence(culprit)], [word, text]);
  }
});

test('numbers in words', () => {
  assert.deepEqual([0, 65, 3_725].map(clock), ['0:00', '1:05', '1:02:05']);
  assert.deepEqual([null, 0, 0.001, 0.031].map(percent), ['–', '0.0 %', '0.10 %', '3.1 %']);
  assert.deepEqual([null, 4.2, 3.7, 2].map(gradeWord), ['Not measured', 'Good', 'Fair', 'Poor']);
  assert.equal(lowest(SAMPLE), 3.4);
  assert.equal(sentence(SAMPLE), '1:00 · 480p · speech 3.4 · 700 kbit/s · lost 0.0 % up, 3.1 % down · queue 40 ms · frozen 0.5 s · clinic downlink');
});

test('the stages of joining in the order in which they were reached', () => {
  const join = { page_ms: 310, offer_ms: 20, ice_ms: 90, dtls_ms: 130, media_ms: 160, admitted_ms: 0, first_frame_ms: null };
  assert.deepEqual(stages(join).map(({ stage }) => stage), ['page ready', 'admitted', 'offer', 'ICE', 'DTLS', 'first media in']);
});

test('a timeline in one sentence', () => {
  const record = /** @type {any} */ ({ rungs: { p480: 5, p720: 60 }, moves: [{}], moves_left_out: 2, picture: { freezes: 1, freeze_seconds: 0.45 }, culprit: 'nobody' });
  assert.equal(summary(record), '1:00 at 720p, 0:05 at 480p; 3 changes; 1 freezes, 0.5 s in all; no trouble.');
});
