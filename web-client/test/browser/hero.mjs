// @ts-check
/** `npm run hero`: the picture of a visit in the README, docs/images/visit.png. The people are drawn (drawn-people.js). */

import { readFile } from 'node:fs/promises';
import { serve } from '../mock-server.mjs';
import { launch, open, screens } from './screens.mjs';

const OUT = new URL('../../../docs/images/visit.png', import.meta.url).pathname;
const people = await readFile(new URL('./drawn-people.js', import.meta.url), 'utf8');
/** In place of the camera, which shows a test pattern in headless Chromium. */
const camera = `
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    for (const track of stream.getVideoTracks()) {
      stream.removeTrack(track);
      track.stop();
      stream.addTrack(drawn.track('patient'));
    }
    return stream;
  };`;

const screen = screens.find((s) => s.name === 'visit');
if (!screen) throw new Error('no visit screen');
const server = await serve(0);
const browser = await launch();
const { page, context } = await open(browser, server.origin, screen, { width: 1280, height: 800 }, [people, camera]);
// The encoder begins small; the picture is taken once it is whole.
await page.waitForFunction(() => /** @type {HTMLVideoElement} */ (document.querySelector('[data-test=remote-video]')).videoHeight >= 720, undefined, { timeout: 60_000 });
await page.mouse.move(0, 0);
await page.waitForTimeout(4_000);
await page.screenshot({ path: OUT });
await context.close();
await browser.close();
server.close();
