// @ts-check
/**
 * `npm run test:browser`: every screen in a real Chromium, on a phone and on a desktop. Fails on any axe violation (WCAG 2.2 AA and
 * best practice), any error in the console (the CSP speaks there), any sideways scrolling, any target under 44 px, and on a
 * walk through the visit with the keyboard alone.
 */

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { serve } from '../mock-server.mjs';
import { launch, open, screens } from './screens.mjs';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SIZES = [
  { width: 320, height: 640 },
  { width: 1280, height: 800 },
];
/** Pixels in both directions; WCAG 2.2 asks for 24. */
const SMALLEST = 44;

/** @type {string[]} */
const failures = [];
let checks = 0;
const server = await serve(0);
const browser = await launch();

/**
 * @param {string} what
 * @param {boolean} holds
 */
function check(what, holds) {
  checks += 1;
  if (!holds) failures.push(what);
}

for (const screen of screens) {
  for (const viewport of SIZES) {
    const at = `${screen.name} at ${viewport.width}`;
    try {
      const { page, context, complaints } = await open(browser, server.origin, screen, viewport);
      check(`${at}: console: ${complaints.join('; ')}`, complaints.length === 0);
      // From here on the console is axe's: it styles the page it looks at, and the CSP says no.
      await page.evaluate(AXE);
      const violations = await page.evaluate(async () => {
        const axe = /** @type {any} */ (globalThis).axe;
        const result = await axe.run(document, {
          runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
        });
        return result.violations.map((/** @type {any} */ v) => `${v.id}: ${v.help} — ${v.nodes.map((/** @type {any} */ n) => n.html.slice(0, 160)).join(' | ')}`);
      });
      check(`${at}: axe: ${violations.join('\n    ')}`, violations.length === 0);
      const layout = await page.evaluate((smallest) => {
        const top = document.querySelector('dialog[open]') ?? document.body;
        const small = [...top.querySelectorAll('button, a[href], select, input:not([type=radio])')]
          .filter((e) => /** @type {HTMLElement} */ (e).checkVisibility())
          .filter((e) => {
            const { width, height } = e.getBoundingClientRect();
            return width < smallest - 0.5 || height < smallest - 0.5;
          })
          .map((e) => `${e.outerHTML.slice(0, 80)} ${Math.round(e.getBoundingClientRect().width)}×${Math.round(e.getBoundingClientRect().height)}`);
        return { sideways: document.documentElement.scrollWidth - innerWidth, small, title: document.title, headings: document.querySelectorAll('h1').length };
      }, SMALLEST);
      check(`${at}: scrolls sideways by ${layout.sideways} px`, layout.sideways <= 0);
      check(`${at}: small targets: ${layout.small.join('; ')}`, layout.small.length === 0);
      check(`${at}: has ${layout.headings} h1`, layout.headings === 1);
      await context.close();
    } catch (error) {
      check(`${at}: not reached: ${error}`, false);
    }
  }
  console.log(`  looked at ${screen.name}`);
}

await keyboard();
await autoplay();
await refusal();
await browser.close();
server.close();

console.log(failures.length === 0 ? `ok: ${checks} checks on ${screens.length} screens` : `FAILED ${failures.length} of ${checks} checks:\n- ${failures.join('\n- ')}`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** From the join page into the visit and out again, touching nothing but keys. */
async function keyboard() {
  const screen = screens.find((s) => s.name === 'join');
  if (!screen) throw new Error('no join screen');
  const { page, context } = await open(browser, server.origin, screen, { width: 1280, height: 800 });
  const focused = (/** @type {string} */ hook) => page.evaluate((h) => /** @type {HTMLElement} */ (document.activeElement)?.dataset.test === h, hook);
  const tabTo = async (/** @type {string} */ hook) => {
    for (let i = 0; i < 20 && !(await focused(hook)); i += 1) await page.keyboard.press('Tab');
    check(`keyboard: Tab reaches ${hook}`, await focused(hook));
  };
  await tabTo('join-button');
  await page.keyboard.press('Enter');
  await page.locator('[data-test=waiting]').waitFor();
  check('keyboard: the heading has the focus in the waiting room', await page.evaluate(() => document.activeElement?.tagName === 'H1'));
  const me = { participant: 'me', role: 'patient', name: 'Me', connected: true, microphone_muted: false, camera_muted: false, tracks: [] };
  await page.evaluate((p) => /** @type {any} */ (globalThis).fake.state({ you: { place: 'admitted' }, participants: [p] }), me);
  await page.locator('[data-test=hang-up]').waitFor();
  const muted = () => page.evaluate(() => /** @type {any} */ (globalThis).fake.sent.filter((/** @type {any} */ m) => m.type === 'muted').at(-1));
  await page.keyboard.press('Control+d');
  await page.keyboard.press('Control+e');
  await page.locator('[data-test=camera].is-off').waitFor();
  check('keyboard: Control+D and Control+E switch both off', JSON.stringify(await muted()) === '{"type":"muted","microphone":true,"camera":true}');
  check('keyboard: the camera is let go of', await page.evaluate(() => /** @type {HTMLVideoElement} */ (document.querySelector('[data-test=self-video]')).srcObject === null));
  await tabTo('mute');
  await page.keyboard.press('Space');
  await tabTo('camera');
  await page.keyboard.press('Space');
  await page.locator('[data-test=camera]:not(.is-off)').waitFor();
  check('keyboard: both are on again', JSON.stringify(await muted()) === '{"type":"muted","microphone":false,"camera":false}');
  const layers = await page.evaluate(() => {
    /** @type {RTCPeerConnection} */
    const pc = /** @type {any} */ (globalThis).housecall.peerConnection;
    return pc.getSenders().map((s) => `${s.track?.kind} ${s.track?.readyState}`);
  });
  check(`keyboard: both tracks are sent again: ${layers}`, layers[0] === 'audio live' && layers[1] === 'video live');
  await tabTo('hang-up');
  await page.keyboard.press('Enter');
  await page.locator('[data-test=rejoin]').waitFor();
  check('keyboard: leaving keeps the place', await page.evaluate(() => /** @type {any} */ (globalThis).fake.sent.some((/** @type {any} */ m) => m.type === 'leave' && m.keep_place)));
  await tabTo('rejoin');
  await page.keyboard.press('Enter');
  await page.locator('[data-test=hang-up]').waitFor();
  await context.close();
  console.log('  walked through by keyboard');
}

/** Sound that the browser holds back is offered with one button. */
async function autoplay() {
  const screen = screens.find((s) => s.name === 'visit');
  if (!screen) throw new Error('no visit screen');
  const { page, context } = await open(browser, server.origin, screen, { width: 390, height: 844 });
  await page.evaluate(() => {
    const play = HTMLAudioElement.prototype.play;
    let blocked = true;
    HTMLAudioElement.prototype.play = function () {
      if (!blocked) return play.call(this);
      return Promise.reject(new DOMException('', 'NotAllowedError'));
    };
    addEventListener('click', () => (blocked = false), { capture: true });
    const other = { participant: 'new', role: 'guest', name: 'New', connected: true, microphone_muted: false, camera_muted: true, tracks: [{ track: 'new-a', kind: 'audio' }] };
    /** @type {any} */ (globalThis).fake.state({ participants: [other] });
  });
  const button = page.getByRole('button', { name: 'Turn on sound' });
  await button.click();
  await button.waitFor({ state: 'hidden' });
  check('autoplay: one button and it is gone', !(await button.isVisible()));
  await context.close();
  console.log('  turned the sound on');
}

/** A server that refuses the first offer is asked a bounded number of times; then there is one sentence and one button, which begins anew. */
async function refusal() {
  const screen = screens.find((s) => s.name === 'visit-no-media');
  if (!screen) throw new Error('no such screen');
  const { page, context } = await open(browser, server.origin, screen, { width: 390, height: 844 });
  const offers = () => page.evaluate(() => /** @type {any} */ (globalThis).fake.sent.filter((/** @type {any} */ m) => m.type === 'offer').length);
  const asked = await offers();
  check(`refusal: asked ${asked} times before the person was told`, asked === 6);
  check('refusal: the quality says so too', (await page.locator('[data-test=quality]').innerText()) === 'Not connected');
  const banner = page.locator('.banner');
  await page.getByRole('button', { name: 'Try again' }).click();
  await banner.waitFor({ state: 'hidden' });
  await banner.waitFor();
  check(`refusal: asked ${(await offers()) - asked} times after the press`, (await offers()) === 2 * asked);
  await page.evaluate(() => /** @type {any} */ (globalThis).fake.refuseOffers(false));
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.locator('[data-quality=good]').waitFor();
  check('refusal: one press and it is gone', !(await banner.isVisible()));
  check('refusal: the picture is there', await page.evaluate(() => /** @type {HTMLVideoElement} */ (document.querySelector('[data-test=remote-video]')).srcObject !== null));
  await context.close();
  console.log('  was refused, and let in at last');
}
