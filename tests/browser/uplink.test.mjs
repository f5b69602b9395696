/** What a camera sends: what somebody watches, and nothing else. In Chromium, through the real server. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { watchHoles } from './support/machine.mjs';
import { decodes, hook, inbound, meet, stats, until } from './support/page.mjs';
import { windows } from './support/windows.mjs';

const { person, pair, visit } = windows();

/** Two who see and hear each other. */
async function met() {
  const { patient, clinician } = await pair();
  await meet(patient, clinician);
  return { patient, clinician };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Frames sent so far, by layer. */
async function sent(page) {
  const layers = (await stats(page)).filter((stat) => stat.type === 'outbound-rtp' && stat.kind === 'video');
  return Object.fromEntries(layers.map((layer) => [layer.rid, layer.framesSent]));
}

const height = async (page) => (await inbound(page, 'video'))?.frameHeight;
const target = (page, what) => page.evaluate((name) => globalThis.housecall.setTarget(name), what);

/**
 * Waits until only those layers are sent that should be: `expected` says it of each, looked at for a second at a time. How long that took is
 * printed, for an idle machine; within two seconds is what the server's own tests assert, in virtual time.
 */
async function isSent(page, expected) {
  const began = performance.now();
  const names = Object.keys(expected);
  let frames = await sent(page);
  await until(`only these layers are sent: ${JSON.stringify(expected)}`, async () => {
    await pause(1_000);
    const now = await sent(page);
    const right = names.every((rid) => now[rid] > frames[rid] === expected[rid]);
    frames = now;
    return right;
  });
  console.log(`${JSON.stringify(expected)}: seen ${Math.round(performance.now() - began)} ms after it was asked for, a second of looking included`);
}

describe('what a camera sends', () => {
  test('a layer nobody watches stops, and comes back when it is asked for', async () => {
    const isWhole = watchHoles();
    const { patient, clinician } = await met();
    await until('720 lines are decoded', async () => (await height(clinician)) === 720);
    await isSent(patient, { m: false, h: true });

    await target(clinician, 'p480');
    await until('480 lines are decoded', async () => (await height(clinician)) === 480);
    await isSent(patient, { m: true, h: false });

    await target(clinician, 'audio_only');
    await isSent(patient, { m: false, h: false });
    await decodes(clinician, { audioSeconds: 1 });

    await target(clinician, 'p720');
    await until('720 lines are decoded again', async () => (await height(clinician)) === 720);
    await decodes(clinician, { frames: 30 });
    await isSent(patient, { m: false, h: true });
    isWhole(await inbound(clinician, 'video'), 'the numbers have no hole');
    assert.deepEqual([...patient.errors, ...clinician.errors], []);
  });

  test('a camera that was put away while nobody watched is seen when it is back', async () => {
    const { patient, clinician } = await met();
    await decodes(clinician, { frames: 30 });
    await target(clinician, 'audio_only');
    await isSent(patient, { m: false, h: false });
    await hook(patient, 'camera').click();
    await target(clinician, 'p720');
    await pause(4_000);
    await hook(patient, 'camera').click();
    // How large it is then is for the processor to say too.
    await decodes(clinician, { frames: 30 });
  });

  test('nothing is sent into a waiting room', async () => {
    const links = await visit('patient', 'clinician');
    const patient = await person(links.patient);
    await hook(patient, 'join-button').click();
    await hook(patient, 'waiting').waitFor();
    await until('the transport is connected', () =>
      patient.evaluate(() => globalThis.housecall.peerConnection?.connectionState === 'connected'),
    );
    await isSent(patient, { m: false, h: false });
    assert.ok(await hook(patient, 'self-video').first().isVisible());
  });

  test('whoever is chosen is seen large, the other small, until nobody is', async () => {
    const links = await visit('patient', 'clinician', 'guest');
    const script = `
      globalThis.targets = [];
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (text) {
        const message = JSON.parse(text);
        if (message.type === 'target') globalThis.targets.push(message.target);
        return send.call(this, text);
      };`;
    const [patient, clinician, guest] = [await person(links.patient), await person(links.clinician, { script }), await person(links.guest)];
    await meet(patient, clinician);
    assert.ok(!(await hook(clinician, 'choose').isVisible()), 'one person is large anyway');
    await hook(guest, 'join-button').click();
    await hook(clinician, 'admit').click();
    const tile = (name) => clinician.locator('.tile', { hasText: name });
    const lines = (name) => tile(name).locator('video').evaluate((video) => video.videoHeight);
    const asked = () => clinician.evaluate(() => globalThis.targets);
    const [first, second] = ['Pat Example', 'Gus Example'];
    await until('both are seen', async () => (await lines(first)) > 0 && (await lines(second)) > 0, 60_000);
    assert.deepEqual(await asked(), [], 'both were asked for in full size, which is how a line begins');
    const button = tile(second).locator('[data-test="choose"]');
    await button.click();
    await until('it says so', async () => (await button.getAttribute('aria-pressed')) === 'true');
    await until('the other was asked for small', async () => String(await asked()) === 'p480');
    await until('and is seen small', async () => {
      const [large, small] = [await tile(second).boundingBox(), await tile(first).boundingBox()];
      return large.width * large.height > 2 * small.width * small.height && large.y < small.y;
    });
    // How many lines there are is for the processor to say too, which three pages share: but the other has never more.
    await until('the other has no more lines', async () => (await lines(first)) <= 480 && (await lines(second)) >= (await lines(first)), 60_000);
    await button.click();
    await until('nobody is', async () => (await button.getAttribute('aria-pressed')) === 'false');
    await until('both were asked for in full size again', async () => String(await asked()) === 'p480,p720');
    assert.deepEqual([...patient.errors, ...clinician.errors, ...guest.errors], []);
  });
});
