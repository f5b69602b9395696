// @ts-check
/**
 * `npm run test:browser`: every screen in a real Chromium, on a phone and on a desktop. Fails on any axe violation (WCAG 2.2 AA and
 * best practice), any error in the console (the CSP speaks there), any sideways scrolling, any target under 44 px, and on a
 * walk through the visit with the keyboard alone. `npm run test:browser -- visit leaving`: only screens and walks whose names begin so.
 */

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { serve } from '../mock-server.mjs';
import { launch, open, screens } from './screens.mjs';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SIZES = [
  { width: 320, height: 640 },
  { width: 320, height: 568 },
  { width: 844, height: 390 },
  { width: 1280, height: 800 },
];
/** The lowest phone: what is said there to somebody who sees one other person. */
const LOW = /^(join|visit-(went|muted|paused|weak|own|server))/;
/** Pixels in both directions; WCAG 2.2 asks for 24. */
const SMALLEST = 44;

/** @type {string[]} */
const failures = [];
let checks = 0;
const wanted = process.argv.slice(2);
const isWanted = (/** @type {string} */ name) => wanted.length === 0 || wanted.some((w) => name.startsWith(w));
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

/**
 * Whether something is so, or becomes so within ten seconds: what follows a press may come a moment after what was waited for.
 * @param {() => Promise<boolean>} probe
 */
async function becomes(probe) {
  const end = Date.now() + 10_000;
  for (;;) {
    if (await probe()) return true;
    if (Date.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

for (const screen of screens.filter(({ name }) => isWanted(name))) {
  for (const viewport of SIZES) {
    // Held sideways, a phone differs in the visit alone.
    if (viewport.height < 480 && !/^(visit|room)/.test(screen.name)) continue;
    if (viewport.height === 568 && !LOW.test(screen.name)) continue;
    const at = `${screen.name} at ${viewport.width}×${viewport.height}`;
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
        // What stands at the top of a picture: all of the button is seen, and of the name as much as says whose it is.
        const tops = [...document.querySelectorAll('.tile')].flatMap((tile) => {
          const [plate, button] = ['.nameplate', '.tile-choose'].map((s) => /** @type {HTMLElement} */ (tile.querySelector(s)));
          if (!plate || !button?.checkVisibility()) return [];
          const [t, p, b] = [tile, plate, button].map((e) => e.getBoundingClientRect());
          if (!t || !p || !b) return [];
          const apart = p.right <= b.left || b.right <= p.left || p.bottom <= b.top || b.bottom <= p.top;
          const within = [p, b].every((r) => r.left >= t.left && r.right <= t.right && r.top >= t.top && r.bottom <= t.bottom);
          return apart && within && p.width >= 60 ? [] : [`${plate.innerText} ${JSON.stringify([t, p, b])}`];
        });
        // What is said in the middle of the stage, or in the preview, is read: nothing lies over it.
        const words = [...document.querySelectorAll('.alone-words, .alone-hint, [data-count="1"] :is(.tile-words, .tile-paused), .preview-stage .self-blank span')];
        const above = [...document.querySelectorAll('.self-tile, .toggles.preview button')].map((e) => e.getBoundingClientRect());
        const covered = words
          .filter((e) => /** @type {HTMLElement} */ (e).checkVisibility() && e.textContent !== '')
          .filter((e) => {
            const r = e.getBoundingClientRect();
            return above.some((a) => a.width > 0 && a.left < r.right && r.left < a.right && a.top < r.bottom && r.top < a.bottom);
          })
          .map((e) => e.textContent);
        return { sideways: document.documentElement.scrollWidth - innerWidth, small, tops, covered, title: document.title, headings: document.querySelectorAll('h1').length };
      }, SMALLEST);
      check(`${at}: scrolls sideways by ${layout.sideways} px`, layout.sideways <= 0);
      check(`${at}: small targets: ${layout.small.join('; ')}`, layout.small.length === 0);
      check(`${at}: name and button of a picture: ${layout.tops.join('; ')}`, layout.tops.length === 0);
      check(`${at}: words under one's own picture or a button: ${layout.covered.join('; ')}`, layout.covered.length === 0);
      check(`${at}: has ${layout.headings} h1`, layout.headings === 1);
      await context.close();
    } catch (error) {
      check(`${at}: not reached: ${error}`, false);
      if (!browser.isConnected()) throw new Error(`the browser is gone since ${at}`, { cause: error });
    }
  }
  console.log(`  looked at ${screen.name}`);
}

for (const walk of [keyboard, autoplay, refusal, sideways, chosen, sharing, foldless, leaving, again, stale]) if (isWanted(walk.name)) await walk();
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
  check('keyboard: the heading has the focus in the waiting room', await becomes(() => page.evaluate(() => document.activeElement?.tagName === 'H1')));
  const me = { participant: 'me', role: 'patient', name: 'Me', connected: true, microphone_muted: false, camera_muted: false, tracks: [] };
  await page.evaluate((p) => /** @type {any} */ (globalThis).fake.state({ you: { place: 'admitted' }, participants: [p] }), me);
  await page.locator('[data-test=hang-up]').waitFor();
  const muted = () => page.evaluate(() => /** @type {any} */ (globalThis).fake.sent.filter((/** @type {any} */ m) => m.type === 'muted').at(-1));
  await page.keyboard.press('Control+d');
  await page.keyboard.press('Control+e');
  await page.locator('[data-test=camera].is-off').waitFor();
  check('keyboard: Control+D and Control+E switch both off', await becomes(async () => JSON.stringify(await muted()) === '{"type":"muted","microphone":true,"camera":true}'));
  check('keyboard: the camera is let go of', await becomes(() => page.evaluate(() => /** @type {HTMLVideoElement} */ (document.querySelector('[data-test=self-video]')).srcObject === null)));
  await tabTo('mute');
  await page.keyboard.press('Space');
  await tabTo('camera');
  await page.keyboard.press('Space');
  await page.locator('[data-test=camera]:not(.is-off)').waitFor();
  check('keyboard: both are on again', await becomes(async () => JSON.stringify(await muted()) === '{"type":"muted","microphone":false,"camera":false}'));
  const layers = await page.evaluate(() => {
    /** @type {RTCPeerConnection} */
    const pc = /** @type {any} */ (globalThis).housecall.peerConnection;
    return pc.getSenders().map((s) => `${s.track?.kind} ${s.track?.readyState}`);
  });
  check(`keyboard: both tracks are sent again: ${layers}`, layers[0] === 'audio live' && layers[1] === 'video live');
  await tabTo('hang-up');
  await page.keyboard.press('Enter');
  await page.locator('[data-test=rejoin]').waitFor();
  check('keyboard: leaving keeps the place', await becomes(() => page.evaluate(() => /** @type {any} */ (globalThis).fake.sent.some((/** @type {any} */ m) => m.type === 'leave' && m.keep_place))));
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
    const other = { participant: 'new', role: 'guest', name: 'New', connected: true, microphone_muted: false, camera_muted: true, tracks: [{ track: 'new-a', kind: 'audio', source: 'microphone' }] };
    /** @type {any} */ (globalThis).fake.state({ participants: [other] });
  });
  const button = page.getByRole('button', { name: 'Turn on sound' });
  await button.click();
  await button.waitFor({ state: 'hidden' });
  check('autoplay: one button and it is gone', await becomes(async () => !(await button.isVisible())));
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
  // On a machine so slow that trying takes half a minute the person is told sooner.
  check(`refusal: asked ${asked} times before the person was told`, asked >= 2 && asked <= 6);
  check('refusal: the quality says so too', await becomes(async () => (await page.locator('[data-test=quality]').innerText()) === 'Not connected'));
  const banner = page.locator('.banner');
  await page.getByRole('button', { name: 'Try again' }).click();
  await banner.waitFor({ state: 'hidden' });
  await banner.waitFor();
  const more = (await offers()) - asked;
  check(`refusal: asked ${more} times after the press`, more >= 2 && more <= 6);
  await page.evaluate(() => /** @type {any} */ (globalThis).fake.refuseOffers(false));
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.locator('[data-quality=good]').waitFor();
  check('refusal: one press and it is gone', await becomes(async () => !(await banner.isVisible())));
  check('refusal: the picture is there', await becomes(() => page.evaluate(() => /** @type {HTMLVideoElement} */ (document.querySelector('[data-test=remote-video]')).srcObject !== null)));
  await context.close();
  console.log('  was refused, and let in at last');
}

/**
 * Opens a screen by its name.
 * @param {string} name
 * @param {{width: number, height: number}} viewport
 */
function reach(name, viewport) {
  const screen = screens.find((s) => s.name === name);
  if (!screen) throw new Error(`no screen ${name}`);
  return open(browser, server.origin, screen, viewport);
}

/** A phone held sideways: everybody is shown, each in a picture worth looking at, and no control lies over another or over the edge. */
async function sideways() {
  for (const [name, people] of /** @type {const} */ ([['visit', 1], ['visit-three', 2], ['visit-four', 3]])) {
    const viewport = { width: 844, height: 390 };
    const { page, context } = await reach(name, viewport);
    const boxes = (/** @type {string} */ selector) =>
      page.evaluate((s) => [...document.querySelectorAll(s)].map((e) => e.getBoundingClientRect().toJSON()), selector);
    const [tiles, controls] = [await boxes('.tile'), await boxes('.controls .control')];
    check(`sideways ${name}: ${tiles.length} tiles`, tiles.length === people);
    // A third of the screen's area for one, and a 16:9 picture of at least 240 × 135 for each of three.
    for (const t of tiles) {
      const width = Math.min(t.width, (t.height * 16) / 9);
      check(`sideways ${name}: a picture of ${Math.round(width)} px`, width >= (people === 1 ? 500 : 240));
    }
    for (const [i, c] of controls.entries()) {
      check(`sideways ${name}: control ${i} is on the screen`, c.top >= 0 && c.bottom <= viewport.height && c.right <= viewport.width);
      check(`sideways ${name}: control ${i} lies over no picture`, tiles.every((t) => t.right <= c.left + 1));
      check(`sideways ${name}: control ${i} overlaps the next`, i === 0 || controls[i - 1].bottom <= c.top + 0.5);
    }
    await context.close();
  }
  console.log('  held the phone sideways');
}

/** Whoever was chosen is larger than the others, who share all the room that is left; from right to left too. */
async function chosen() {
  const sizes = { desktop: { width: 1280, height: 800 }, upright: { width: 320, height: 640 }, sideways: { width: 844, height: 390 } };
  for (const [size, viewport] of Object.entries(sizes)) {
    for (const name of ['visit-three', 'visit-four']) {
      const { page, context } = await reach(name, viewport);
      const at = `chosen: ${name}, ${size}`;
      await page.locator('[data-test=choose]').nth(1).click();
      await page.locator('.tiles.one-chosen').waitFor();
      for (const direction of ['ltr', 'rtl']) {
        await page.evaluate((d) => document.documentElement.setAttribute('dir', d), direction);
        const boxes = (/** @type {string} */ selector) => page.evaluate((s) => [...document.querySelectorAll(s)].map((e) => e.getBoundingClientRect().toJSON()), selector);
        const [[whole], [large], small] = [await boxes('.tiles'), await boxes('.tile.chosen'), await boxes('.tile:not(.chosen)')];
        const area = (/** @type {any} */ r) => r.width * r.height;
        check(`${at}: ${small.length} others`, small.length === (name === 'visit-three' ? 1 : 2));
        check(`${at}: larger than the others`, small.every((s) => area(large) > 2 * area(s)));
        // But for the gaps between them.
        const used = [large, ...small].reduce((sum, r) => sum + area(r), 0) / area(whole);
        check(`${at}: ${Math.round(100 * used)} % of the room are used`, used > 0.95);
        check(`${at}: all others are as large`, small.every((s) => Math.abs(area(s) - area(small[0])) < 400));
        const hidden = await page.evaluate(() =>
          [...document.querySelectorAll('.tile-choose')].filter((button) => {
            const { x, y, width, height } = button.getBoundingClientRect();
            return !button.contains(document.elementFromPoint(x + width / 2, y + height / 2));
          }).length,
        );
        check(`${at}: in ${direction}, ${hidden} buttons lie under something`, hidden === 0);
        const ends = await page.evaluate(() =>
          [...document.querySelectorAll('.tile')].map((tile) => {
            const [plate, button] = ['.nameplate', '.tile-choose'].map((s) => tile.querySelector(s)?.getBoundingClientRect());
            return plate && button && (plate.right <= button.left ? 'ltr' : button.right <= plate.left ? 'rtl' : 'one over the other');
          }),
        );
        check(`${at}: in ${direction}, the button stands at the end: ${ends}`, ends.every((end) => end === direction));
      }
      await context.close();
    }
  }
  console.log('  chose who is seen larger');
}

/** What stops somebody from being seen and heard is said where they look first; a time in a form is seen whole. */
async function foldless() {
  const phone = { width: 390, height: 844 };
  const denied = await reach('join-denied', phone);
  const notice = await denied.page.locator('.notice').boundingBox();
  check(`phone: the notice ends at ${notice && notice.y + notice.height}`, notice !== null && notice.y + notice.height <= phone.height);
  await denied.context.close();
  for (const viewport of [phone, { width: 320, height: 640 }]) {
    const form = await reach('desk-new', viewport);
    const starts = form.page.locator('input[name=starts]');
    const cut = await starts.evaluate((e) => e.scrollWidth - e.clientWidth);
    const width = (await starts.boundingBox())?.width ?? 0;
    check(`phone ${viewport.width}: the start time is cut by ${cut} px`, cut <= 0);
    check(`phone ${viewport.width}: the start time has ${width} px`, width >= 220);
    await form.context.close();
  }
  const four = await reach('visit-four', phone);
  const tiles = await four.page.evaluate(() => [...document.querySelectorAll('.tile')].map((e) => e.getBoundingClientRect().toJSON()));
  const pictures = tiles.map((t) => Math.round(Math.min(t.width, (t.height * 16) / 9)));
  check(`phone: pictures of ${pictures} px`, pictures.length === 3 && pictures.every((width) => width >= 300));
  await four.context.close();
  console.log('  looked for what is said too low');
}

/** A clinician who leaves says what becomes of the visit; a patient who is declined has a way on. */
async function leaving() {
  const desktop = { width: 1280, height: 800 };
  const room = await reach('room-left-behind', desktop);
  const sent = (/** @type {string} */ type) =>
    room.page.evaluate((t) => /** @type {any} */ (globalThis).fake.sent.filter((/** @type {any} */ m) => m.type === t).length, type);
  check('leaving: the visit goes on', (await sent('leave')) === 1 && (await sent('end_visit')) === 0);
  check('leaving: the list calls nothing open', await becomes(async () => (await room.page.locator('.today-here:visible').count()) === 0));
  check('leaving: coming back is one press away', await becomes(() => room.page.locator('[data-test=rejoin]').isVisible()));
  await room.page.getByRole('button', { name: 'End visit for everyone' }).click();
  await room.page.keyboard.press('Escape');
  check('leaving: Escape ends nothing', (await sent('end_visit')) === 0 && (await room.page.locator('[data-test=rejoin]').isVisible()));
  check('leaving: the focus is back', await becomes(async () => (await room.page.evaluate(() => document.activeElement?.textContent)) === 'End visit for everyone'));
  await room.page.keyboard.press('Enter');
  await room.page.locator('dialog').getByRole('button', { name: 'End visit for everyone' }).click();
  await room.page.getByRole('heading', { name: 'The visit is over' }).waitFor();
  check('leaving: it is over for everybody', await becomes(async () => (await sent('end_visit')) === 1));
  check('leaving: and nobody comes back', await becomes(async () => (await room.page.locator('[data-test=rejoin]').count()) === 0));
  await room.context.close();

  const went = await reach('room-went', { width: 390, height: 844 });
  check('leaving: on a phone nothing hides who has left', await becomes(async () => !(await went.page.locator('.panel').isVisible())));
  await went.context.close();

  const declined = await reach('declined', { width: 390, height: 844 });
  await declined.page.getByRole('button', { name: 'Ask again' }).click();
  await declined.page.locator('[data-test=waiting]').waitFor();
  await declined.context.close();
  console.log('  left, and was declined');
}

/** Who was let in before is told of no waiting room on the way back. */
async function again() {
  const { page, context } = await reach('join-again', { width: 390, height: 844 });
  await page.evaluate(() => {
    /** @type {any} */ (globalThis).seen = '';
    new MutationObserver(() => (/** @type {any} */ (globalThis).seen += document.getElementById('app')?.innerText)).observe(document, { subtree: true, childList: true, characterData: true });
    /** @type {any} */ (globalThis).fake.state({ you: { place: 'admitted' }, participants: [] });
  });
  await page.getByRole('button', { name: 'Return to the visit' }).click();
  await page.locator('main.visit').waitFor();
  const seen = await page.evaluate(() => /** @type {any} */ (globalThis).seen);
  check('again: it says that it is joining', seen.includes('Joining…'));
  check('again: nothing of a waiting room', !seen.includes('Waiting room') && !seen.includes('Nobody sees'));
  await context.close();
  console.log('  came back to a visit');
}

/** While the server is away, nothing is shown as if it were known. */
async function stale() {
  const desk = await reach('desk-server-gone', { width: 1280, height: 800 });
  check('stale: nobody can be let in', await becomes(() => desk.page.locator('[data-test=admit]').first().isDisabled()));
  // The one who has waited for less than a minute: there each second shows.
  const waits = desk.page.locator('.queue-detail').nth(1);
  const before = await waits.innerText();
  await desk.page.waitForTimeout(2_100);
  check('stale: the waiting time stands still', (await waits.innerText()) === before);
  await desk.context.close();
  const waiting = await reach('waiting-server-gone', { width: 390, height: 844 });
  check('stale: no word on where the clinician is', await becomes(async () => !(await waiting.page.locator('.presence').isVisible())));
  check('stale: the place is kept', await becomes(async () => (await waiting.page.locator('.position').innerText()) === 'Your place is kept'));
  await waiting.context.close();
  const visit = await reach('visit-server-gone', { width: 390, height: 844 });
  check('stale: sound and picture still work', await becomes(async () => (await visit.page.locator('.banner').innerText()).includes('Sound and picture still work')));
  await visit.context.close();
  console.log('  lost the server');
}

/** Sharing is said aloud, ends by the browser's own bar too, and whoever declines the browser's question hears nothing of it. */
async function sharing() {
  const { page, context } = await reach('visit', { width: 1280, height: 800 });
  const said = (/** @type {string} */ words) =>
    page.locator('[aria-live]', { hasText: words }).first().waitFor({ state: 'attached', timeout: 10_000 }).then(() => true, () => false);
  const sends = () =>
    page.waitForFunction(() => /** @type {any} */ (globalThis).fake.sent.filter((/** @type {any} */ m) => m.type === 'offer').at(-1).sdp.includes('a=content:slides')).then(() => true, () => false);
  const button = page.locator('[data-test=share]');
  await page.evaluate(() => {
    const ask = navigator.mediaDevices.getDisplayMedia.bind(navigator.mediaDevices);
    /** @type {any} */ (globalThis).declines = true;
    navigator.mediaDevices.getDisplayMedia = async (options) => {
      if (/** @type {any} */ (globalThis).declines) throw new DOMException('', 'NotAllowedError');
      const stream = await ask(options);
      /** @type {any} */ (globalThis).shared = stream.getVideoTracks()[0];
      return stream;
    };
  });
  await button.focus();
  await page.keyboard.press('Enter');
  await page.locator('[data-test=share]:not([aria-disabled])').waitFor();
  check('sharing: the focus stays on the button', await button.evaluate((b) => b === document.activeElement));
  check('sharing: who declines is told nothing', !(await page.locator('.toast').isVisible()) && (await button.innerText()) === 'Share screen');
  await page.evaluate(() => (/** @type {any} */ (globalThis).declines = false));
  await button.focus();
  await page.keyboard.press('Enter');
  check('sharing: it is said', await said('You are sharing your screen'));
  check('sharing: and shown', await becomes(() => page.locator('[data-test=sharing]').isVisible()));
  check('sharing: the button stops it', await becomes(async () => (await button.innerText()) === 'Stop sharing'));
  check('sharing: the server is told that it is a screen', await sends());
  await page.evaluate(() => {
    const { shared } = /** @type {any} */ (globalThis);
    shared.stop();
    shared.dispatchEvent(new Event('ended'));
  });
  check('sharing: the browser ends it', await said('You are no longer sharing your screen'));
  check('sharing: nothing says otherwise', await becomes(async () => !(await page.locator('[data-test=sharing]').isVisible())));
  await context.close();

  const viewer = await reach('visit-share', { width: 1280, height: 800 });
  const heard = (/** @type {string} */ words) =>
    viewer.page.locator('[aria-live]', { hasText: words }).first().waitFor({ state: 'attached', timeout: 10_000 }).then(() => true, () => false);
  check('sharing: others are told', await heard('Dr. Amira Haddad is sharing a screen.'));
  const faces = [{ track: 'doc-a', kind: 'audio', source: 'microphone' }, { track: 'doc-v', kind: 'video', source: 'camera' }];
  const doctor = { participant: 'doc', role: 'clinician', name: 'Dr. Amira Haddad', connected: true, microphone_muted: false, camera_muted: false, tracks: faces };
  const away = { ...doctor, connected: false, tracks: [...faces, { track: 'doc-s', kind: 'video', source: 'screen' }] };
  await viewer.page.evaluate((p) => /** @type {any} */ (globalThis).fake.state({ participants: [p] }), away);
  const lost = viewer.page.locator('.tile.screen .tile-words');
  await lost.waitFor();
  const ground = await lost.evaluate((words) => getComputedStyle(words).backgroundColor);
  check('sharing: that the sharer is away can be read on a white page', ground === 'rgb(242, 193, 78)');
  await viewer.page.evaluate((p) => /** @type {any} */ (globalThis).fake.state({ participants: [p] }), doctor);
  check('sharing: and of its end', await heard('Dr. Amira Haddad is no longer sharing a screen.'));
  check('sharing: the stage is free', await becomes(async () => (await viewer.page.locator('[data-test=remote-screen]').count()) === 0));
  await viewer.context.close();
  console.log('  shared a screen');
}
