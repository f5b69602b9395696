// @ts-check
/**
 * Part of `npm run test:browser`: a line becomes thin and good again, in a real Chromium. What people see and hear said, and when:
 * the warning first, the banner before the picture stops, the banner gone only with a new frame.
 */

import assert from 'node:assert/strict';
import { serve } from '../mock-server.mjs';
import { launch, open, screens } from './screens.mjs';

const server = await serve(0);
const browser = await launch();
const screen = screens.find((s) => s.name === 'visit');
assert.ok(screen);
const { page, complaints } = await open(browser, server.origin, screen, { width: 1280, height: 800 });

/** @param {unknown} message */
const say = (message) => page.evaluate((m) => /** @type {any} */ (globalThis).fake.say(m), message);
/** @param {boolean} on */
const picture = (on) => page.evaluate((value) => /** @type {any} */ (globalThis).fake.picture(value), on);
const frames = () =>
  page.locator('[data-test=remote-video]').evaluate((v) => /** @type {HTMLVideoElement} */ (v).getVideoPlaybackQuality().totalVideoFrames);
const quality = (/** @type {string} */ sending, /** @type {string} */ direction) =>
  say({ type: 'quality', mid: '3', target: 'p720', sending, direction, reason: 'connection' });
/** Everything the live region has said from here on. */
await page.evaluate(() => {
  const region = document.querySelector('body > [role=status]');
  /** @type {string[]} */
  const spoken = [];
  Object.assign(globalThis, { spoken });
  new MutationObserver(() => spoken.push(region?.textContent?.trim() ?? '')).observe(/** @type {Node} */ (region), { childList: true, characterData: true, subtree: true });
});
const spoken = () => page.evaluate(() => /** @type {any} */ (globalThis).spoken);

await quality('p480', 'down');
await page.locator('[data-quality=fair]').waitFor();
await say({ type: 'picture_at_risk', mid: '3', over: false });
await page.locator('[data-test=weak]').waitFor();

// Said while the picture still moves.
await quality('audio_only', 'down');
await say({ type: 'picture_at_risk', mid: '3', over: true });
await page.locator('[data-test=paused]').waitFor();
assert.equal(await page.locator('[data-test=weak]').isVisible(), false);
const before = await frames();
await page.waitForFunction((n) => {
  const video = /** @type {HTMLVideoElement | null} */ (document.querySelector('[data-test=remote-video]'));
  return (video?.getVideoPlaybackQuality().totalVideoFrames ?? 0) > n;
}, before);
assert.deepEqual(await spoken(), ['Weak connection: video may pause to keep audio clear', 'Video paused to keep audio clear']);
await picture(false);
// What was on its way is still shown, on a busy machine for a while.
let still = -1;
const end = Date.now() + 60_000;
for (let now = await frames(); now !== still; now = await frames()) {
  still = now;
  assert.ok(Date.now() < end, 'the picture stands');
  await page.waitForTimeout(1_000);
}
const look = await page.locator('[data-test=remote-video]').evaluate((v) => ({ opacity: Number(getComputedStyle(v).opacity), width: /** @type {HTMLVideoElement} */ (v).videoWidth }));
assert.ok(look.width > 0 && look.opacity > 0.2 && look.opacity < 0.8, `the last frame stays, dimmed: ${JSON.stringify(look)}`);

// The server sends again, but nothing has come yet.
await quality('p480', 'up');
await page.locator('[data-quality=fair]').waitFor();
await page.waitForTimeout(500);
assert.ok(await page.locator('[data-test=paused]').isVisible(), 'until a new frame is decoded');
await picture(true);
await page.locator('[data-test=paused]').waitFor({ state: 'hidden' });
await page.waitForFunction((n) => {
  const video = /** @type {HTMLVideoElement | null} */ (document.querySelector('[data-test=remote-video]'));
  return (video?.getVideoPlaybackQuality().totalVideoFrames ?? 0) > n;
}, still);
await page.waitForFunction(() => /** @type {any} */ (globalThis).spoken.at(-1) === 'Video is back');
assert.deepEqual(complaints, []);

await browser.close();
server.close();
console.log('a thin line is announced in time');
