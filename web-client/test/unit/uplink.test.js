// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cameraEncodings } from '../../src/plan.js';
import { Uplink, obeyed, whileUnheard } from '../../src/uplink.js';

test('what the server asks of the camera goes into its parameters, and only if it is news', () => {
  const parameters = { encodings: cameraEncodings() };
  const all = [
    { rid: 'm', active: true, max_kbps: 600 },
    { rid: 'h', active: true, max_kbps: 1_500 },
  ];
  assert.equal(obeyed(parameters, all), false, 'a camera starts with all layers');
  const less = [
    { rid: 'm', active: true, max_kbps: 350 },
    { rid: 'h', active: false, max_kbps: 1_500 },
    { rid: 'unknown', active: true, max_kbps: 1 },
  ];
  assert.equal(obeyed(parameters, less), true);
  assert.deepEqual(
    parameters.encodings.map((e) => [e.rid, e.active, e.maxBitrate]),
    [
      ['m', true, 350_000],
      ['h', false, 1_500_000],
    ],
  );
  assert.equal(obeyed(parameters, less), false);
});

test('while the server cannot be heard all layers are sent that the uplink carries', () => {
  const layers = [
    { rid: 'm', active: false, max_kbps: 600 },
    { rid: 'h', active: true, max_kbps: 1_500 },
  ];
  for (const [carries, expected] of /** @type {const} */ ([
    ['p720', [true, true]],
    ['p480', [true, false]],
    ['audio_only', [false, false]],
  ])) {
    const order = whileUnheard({ type: 'uplink', mid: '1', layers, carries, reason: 'demand' });
    assert.deepEqual(order.map((layer) => layer.active), expected, carries);
  }
});

test('orders are carried out one after the other, and a refusal of the browser is survived', async () => {
  let encodings = cameraEncodings();
  /** @type {string[]} */
  const calls = [];
  const sender = /** @type {any} */ ({
    getParameters: () => ({ encodings: structuredClone(encodings) }),
    setParameters: async (/** @type {any} */ next) => {
      calls.push(next.encodings.map((/** @type {any} */ e) => Number(e.active)).join(''));
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (calls.length === 1) throw new Error('no');
      encodings = next.encodings;
    },
  });
  const uplink = new Uplink(sender);
  const order = (/** @type {boolean} */ m, /** @type {boolean} */ h) =>
    uplink.obey({
      type: 'uplink',
      mid: '1',
      layers: [
        { rid: 'm', active: m, max_kbps: 600 },
        { rid: 'h', active: h, max_kbps: 1_500 },
      ],
      carries: 'p720',
      reason: 'demand',
    });
  await Promise.all([order(true, false), order(false, true), order(false, false)]);
  assert.deepEqual(calls, ['10', '01', '00']);
  assert.deepEqual(encodings.map((e) => e.active), [false, false]);
  uplink.close();
  await order(true, true);
  assert.equal(calls.length, 3, 'nothing is done to a call that is over');
});
