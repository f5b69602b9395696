// @ts-check
/** Every screen of the client, and how to get there. Shared by the accessibility test and the screenshots. */

import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

/** @typedef {import('playwright-core').Page} Page */

const ARGS = [
  '--no-sandbox',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--disable-background-networking',
  '--autoplay-policy=user-gesture-required',
];

/** @param {string[]} [extra] */
export function launch(extra = []) {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...ARGS, ...extra] });
}

const me = { participant: 'me', role: 'patient', name: 'Me', connected: true, microphone_muted: false, camera_muted: false, tracks: [] };
const doctor = {
  participant: 'doc',
  role: 'clinician',
  name: 'Dr. Amira Haddad',
  connected: true,
  microphone_muted: false,
  camera_muted: false,
  tracks: [
    { track: 'doc-a', kind: 'audio', source: 'microphone' },
    { track: 'doc-v', kind: 'video', source: 'camera' },
  ],
};
const patient = { ...doctor, participant: 'pat', role: 'patient', name: 'Maria Keller', microphone_muted: true, tracks: [{ track: 'pat-a', kind: 'audio', source: 'microphone' }, { track: 'pat-v', kind: 'video', source: 'camera' }] };
const interpreter = { ...doctor, participant: 'int', role: 'guest', name: 'Ilse (interpreter)', tracks: [{ track: 'int-a', kind: 'audio', source: 'microphone' }, { track: 'int-v', kind: 'video', source: 'camera' }] };
const son = { ...doctor, participant: 'son', role: 'guest', name: 'Peter Keller', camera_muted: true, tracks: [{ track: 'son-a', kind: 'audio', source: 'microphone' }] };
/** Shows results. */
const sharer = { ...doctor, tracks: [...doctor.tracks, { track: 'doc-s', kind: 'video', source: 'screen' }] };
const queue = [
  { participant: 'w1', name: 'Maria Keller', role: 'patient', waiting_seconds: 254, connected: true },
  { participant: 'w2', name: 'Thaddeus Featherstonehaugh-Montgomery', role: 'guest', waiting_seconds: 42, connected: false },
];

/**
 * @param {Page} page
 * @param {any} state
 */
const tell = (page, state) => page.evaluate((s) => /** @type {any} */ (globalThis).fake.state(s), state);
/**
 * @param {Page} page
 * @param {any} message
 */
const say = (page, message) => page.evaluate((m) => /** @type {any} */ (globalThis).fake.say(m), message);
/** @param {Page} page */
const join = async (page) => {
  await page.locator('[data-test=join-button]').click();
  await page.locator('[data-test=waiting]').waitFor();
};
/** @param {Page} page */
const moving = (page) =>
  page.waitForFunction(() => [...document.querySelectorAll('[data-test=remote-video]')].some((v) => /** @type {HTMLVideoElement} */ (v).videoWidth > 0));

/** A shared screen and a face are seen. @param {Page} page */
const shown = async (page) => {
  await moving(page);
  await page.waitForFunction(() => /** @type {HTMLVideoElement | null} */ (document.querySelector('[data-test=remote-screen]'))?.videoWidth);
};

/** A clinician and a patient see each other. @param {Page} page */
const met = async (page) => {
  await tell(page, { you: { place: 'admitted' }, clinician: 'ready', queue: queue.slice(0, 1) });
  await page.locator('[data-test=admit]').first().click();
  await page.locator('main.visit').waitFor();
  await tell(page, { participants: [{ ...me, role: 'clinician' }, patient], queue: [] });
  await moving(page);
};

/**
 * @typedef {object} Screen
 * @property {string} name
 * @property {string} path
 * @property {boolean} [clinician]
 * @property {'denied' | 'none' | 'es'} [with]
 * @property {(page: Page) => Promise<unknown>} reach
 */

/** @type {Screen[]} */
export const screens = [
  { name: 'landing', path: '/', reach: (p) => p.locator('h1').waitFor() },
  { name: 'join', path: '/join#patient', reach: (p) => p.locator('.pickers select').first().waitFor() },
  { name: 'join-again', path: '/join#again', reach: (p) => p.locator('.pickers select').first().waitFor() },
  { name: 'join-guest', path: '/join#guest', reach: (p) => p.locator('.pickers select').first().waitFor() },
  { name: 'join-es', path: '/join#patient', with: 'es', reach: (p) => p.locator('.pickers select').first().waitFor() },
  { name: 'join-denied', path: '/join#patient', with: 'denied', reach: (p) => p.locator('.notice button').waitFor() },
  { name: 'join-no-devices', path: '/join#patient', with: 'none', reach: (p) => p.locator('.notice button').waitFor() },
  {
    name: 'waiting',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'waiting', position: 2 }, clinician: 'with_another_patient' });
    },
  },
  {
    name: 'waiting-early',
    path: '/join#early',
    reach: async (p) => {
      await join(p);
      await p.getByText('Your visit begins at').waitFor();
    },
  },
  {
    name: 'waiting-guest',
    path: '/join#guest',
    reach: async (p) => {
      await join(p);
      await tell(p, { clinician: 'with_another_patient' });
      await p.getByText('is in a visit').waitFor();
    },
  },
  {
    name: 'waiting-server-gone',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await p.evaluate(() => /** @type {any} */ (globalThis).fake.drop());
      await p.locator('.banner button').waitFor({ timeout: 20_000 });
    },
  },
  {
    name: 'visit',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await moving(p);
      await p.locator('[data-quality=good]').waitFor();
    },
  },
  {
    name: 'visit-muted-sound-only',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await moving(p);
      await p.locator('[data-test=mute]').click();
      await p.locator('[data-test=camera]').click();
      await say(p, { type: 'quality', mid: '3', target: 'audio_only', sending: 'audio_only', direction: 'down', reason: 'asked' });
      await p.locator('[data-quality=sound_only]').waitFor();
    },
  },
  {
    name: 'visit-weak',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await moving(p);
      await say(p, { type: 'quality', mid: '3', target: 'p720', sending: 'p480', direction: 'down', reason: 'connection' });
      await say(p, { type: 'picture_at_risk', mid: '3', over: false });
      await p.locator('[data-quality=fair]').waitFor();
      await p.locator('[data-test=weak]').waitFor();
    },
  },
  ...(/** @type {const} */ (['connection', 'publisher'])).map((reason) => ({
    name: `visit-paused-${reason === 'connection' ? 'yours' : 'theirs'}`,
    path: '/join#patient',
    reach: async (/** @type {Page} */ p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await moving(p);
      await say(p, { type: 'quality', mid: '3', target: 'p720', sending: 'audio_only', direction: 'down', reason });
      await p.locator(`[data-quality=poor_${reason === 'connection' ? 'yours' : 'theirs'}]`).waitFor();
      await p.locator('[data-test=paused]').waitFor();
    },
  })),
  {
    name: 'visit-own-paused',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await moving(p);
      const layers = ['m', 'h'].map((rid) => ({ rid, active: false, max_kbps: 600 }));
      await say(p, { type: 'uplink', mid: '1', layers, carries: 'audio_only', reason: 'connection' });
      await p.locator('[data-quality=poor_yours]').waitFor();
      await p.locator('[data-test=weak]').waitFor();
    },
  },
  {
    name: 'visit-four',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor, interpreter, son] });
      await moving(p);
      await p.waitForFunction(() => document.querySelectorAll('.tile:not(.no-picture)').length === 2);
    },
  },
  {
    name: 'visit-three',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor, interpreter] });
      await p.waitForFunction(() => document.querySelectorAll('.tile:not(.no-picture)').length === 2);
    },
  },
  {
    name: 'visit-three-chosen',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor, { ...interpreter, microphone_muted: true }] });
      await p.waitForFunction(() => document.querySelectorAll('.tile:not(.no-picture)').length === 2);
      await p.locator('[data-test=choose]').nth(1).click();
      await p.locator('.tiles.one-chosen').waitFor();
    },
  },
  {
    name: 'visit-share',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, sharer] });
      await shown(p);
    },
  },
  {
    name: 'visit-share-four',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, sharer, interpreter, son] });
      await shown(p);
      await p.waitForFunction(() => document.querySelectorAll('.tiles .tile:not(.no-picture)').length === 2);
    },
  },
  {
    name: 'visit-share-paused',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, sharer] });
      await shown(p);
      const mid = await p.evaluate(() => /** @type {any} */ (globalThis).fake.sent.findLast((/** @type {any} */ m) => m.type === 'subscribe' && m.track === 'doc-s').mid);
      for (const line of ['3', mid]) await say(p, { type: 'quality', mid: line, target: 'p720', sending: 'audio_only', direction: 'down', reason: 'connection' });
      await p.locator('[data-test=screen-paused]').waitFor();
    },
  },
  ...(/** @type {const} */ ([undefined, 'es'])).map((words) => ({
    name: words ? 'visit-sharing-es' : 'visit-sharing',
    path: '/join#patient',
    with: words,
    reach: async (/** @type {Page} */ p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await moving(p);
      await p.locator('[data-test=share]').click();
      await p.locator('[data-test=sharing]').waitFor();
    },
  })),
  ...(/** @type {const} */ ([undefined, 'es'])).map((words) => ({
    name: words ? 'visit-sharing-unseen-es' : 'visit-sharing-unseen',
    path: '/join#patient',
    with: words,
    reach: async (/** @type {Page} */ p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await moving(p);
      await p.locator('[data-test=share]').click();
      await p.locator('[data-test=sharing]').waitFor();
      const line = () =>
        p.evaluate(() => {
          const { peerConnection } = /** @type {any} */ (globalThis).housecall;
          return peerConnection.getTransceivers().find((/** @type {any} */ t) => t.sender.track?.contentHint === 'text')?.mid ?? null;
        });
      while ((await line()) === null) await p.waitForTimeout(50);
      await say(p, { type: 'audience', mid: await line(), by: 'too_thin' });
      await p.locator('.sharing.is-unseen').waitFor();
    },
  })),
  {
    name: 'room-sharing',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await met(p);
      await p.locator('[data-test=share]').click();
      await p.locator('[data-test=sharing]').waitFor();
    },
  },
  {
    name: 'visit-went',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await moving(p);
      await tell(p, { participants: [me] });
      await p.locator('.alone-words', { hasText: 'Dr. Amira Haddad has left' }).waitFor();
    },
  },
  {
    name: 'visit-server-gone',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await moving(p);
      await p.evaluate(() => /** @type {any} */ (globalThis).fake.drop());
      await p.locator('.banner button').waitFor({ timeout: 20_000 });
    },
  },
  {
    name: 'visit-settings',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await moving(p);
      await p.getByRole('button', { name: 'Settings' }).click();
      await p.locator('dialog').waitFor();
    },
  },
  ...['waiting', 'visit'].map((place) => ({
    name: `${place}-no-media`,
    path: '/join#patient',
    reach: async (/** @type {Page} */ p) => {
      await p.evaluate(() => /** @type {any} */ (globalThis).fake.refuseOffers(true));
      await join(p);
      if (place === 'visit') await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await p.locator('.banner button').waitFor();
    },
  })),
  {
    name: 'left',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await tell(p, { you: { place: 'admitted' }, participants: [me, doctor] });
      await p.locator('[data-test=hang-up]').click();
      await p.locator('[data-test=rejoin]').waitFor();
    },
  },
  {
    name: 'declined',
    path: '/join#patient',
    reach: async (p) => {
      await join(p);
      await say(p, { type: 'ended', reason: 'declined', message: 'I am running late. Please come back in 15 minutes.' });
      await p.locator('.quote').waitFor();
      await p.getByRole('button', { name: 'Ask again' }).waitFor();
    },
  },
  ...['invalid', 'expired', 'cancelled', 'ended', 'busy', 'gone', ''].map((token) => ({
    name: `problem-${token || 'missing'}`,
    path: `/join#${token}`,
    reach: (/** @type {Page} */ p) => p.locator('.message').waitFor(),
  })),
  {
    name: 'desk',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await tell(p, { you: { place: 'admitted' }, clinician: 'ready', queue });
      await p.locator('[data-test=admit]').first().waitFor();
      await p.locator('.today-row').first().waitFor();
    },
  },
  {
    name: 'desk-server-gone',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await tell(p, { you: { place: 'admitted' }, clinician: 'ready', queue });
      await p.locator('[data-test=admit]').first().waitFor();
      await p.evaluate(() => /** @type {any} */ (globalThis).fake.drop());
      await p.locator('.banner').waitFor();
      await p.getByText('Who waits may have changed').waitFor();
    },
  },
  {
    name: 'desk-cancel',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await p.getByRole('button', { name: 'Cancel the visit of Lucía Fernández' }).click();
      await p.locator('dialog').waitFor();
    },
  },
  {
    name: 'desk-empty',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await tell(p, { you: { place: 'admitted' }, clinician: 'ready', queue: [] });
      await p.locator('.today-row').first().waitFor();
    },
  },
  {
    name: 'desk-decline',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await tell(p, { you: { place: 'admitted' }, clinician: 'ready', queue });
      await p.getByRole('button', { name: 'Decline Maria Keller' }).click();
      await p.getByText('Other').click();
    },
  },
  {
    name: 'desk-new',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await tell(p, { you: { place: 'admitted' }, clinician: 'ready', queue: [] });
      await p.getByRole('button', { name: 'New appointment' }).click();
      await p.locator('dialog input[name=name]').fill('Ana Ruiz');
    },
  },
  {
    name: 'desk-created',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await tell(p, { you: { place: 'admitted' }, clinician: 'ready', queue: [] });
      await p.getByRole('button', { name: 'New appointment' }).click();
      await p.locator('dialog input[name=name]').fill('Ana Ruiz');
      await p.getByRole('button', { name: 'Create' }).click();
      await p.getByRole('button', { name: 'Copy link' }).waitFor();
    },
  },
  {
    name: 'room-alone',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await tell(p, { you: { place: 'admitted' }, clinician: 'ready', queue });
      await p.locator('[data-test=admit]').first().waitFor();
      await p.locator('[data-test=join-button]').click();
      await p.locator('main.visit').waitFor();
    },
  },
  {
    name: 'room-visit',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await tell(p, { you: { place: 'admitted' }, clinician: 'ready', queue });
      await p.locator('[data-test=admit]').first().click();
      await p.locator('main.visit').waitFor();
      await tell(p, { participants: [{ ...me, role: 'clinician' }, patient], queue: queue.slice(1) });
      await moving(p);
      await p.locator('[data-quality=good]').waitFor();
    },
  },
  {
    name: 'room-went',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await met(p);
      await tell(p, { participants: [{ ...me, role: 'clinician' }] });
      await p.locator('.alone-words', { hasText: 'Maria Keller has left' }).waitFor();
    },
  },
  {
    name: 'room-left-behind',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await met(p);
      await p.locator('[data-test=hang-up]').click();
      await p.getByText('Maria Keller is still in the visit').waitFor();
      await p.locator('.today-row').first().waitFor();
    },
  },
  {
    name: 'room-end',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await met(p);
      await p.locator('[data-test=hang-up]').click();
      await p.getByRole('button', { name: 'End visit for everyone' }).click();
      await p.locator('dialog').waitFor();
    },
  },
  {
    name: 'room-left',
    path: '/join#clinician',
    clinician: true,
    reach: async (p) => {
      await tell(p, { you: { place: 'admitted' }, clinician: 'ready', queue: [] });
      await p.getByText('Nobody is waiting').waitFor();
      await p.locator('[data-test=join-button]').click();
      await p.locator('[data-test=hang-up]').click();
      await p.locator('.today-row').first().waitFor();
    },
  },
];

const FAKE = await readFile(new URL('./fake-visit.js', import.meta.url), 'utf8');

/**
 * Opens a screen in a context of its own.
 * @param {import('playwright-core').Browser} browser
 * @param {string} origin
 * @param {Screen} screen
 * @param {{width: number, height: number}} viewport
 * @param {string[]} [scripts] run in the page before its own
 */
export async function open(browser, origin, screen, viewport, scripts = []) {
  const context = await browser.newContext({
    viewport,
    locale: screen.with === 'es' ? 'es-MX' : 'en-GB',
    timezoneId: screen.with === 'es' ? 'America/Mexico_City' : 'Europe/London',
    permissions: ['camera', 'microphone', 'clipboard-write'],
    hasTouch: viewport.width < 600,
  });
  const page = await context.newPage();
  /** @type {string[]} */
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('Failed to load resource')) complaints.push(message.text());
  });
  for (const script of scripts) await page.addInitScript(script);
  await page.addInitScript(FAKE);
  if (screen.clinician) await page.addInitScript("globalThis.fakeRole = 'clinician'");
  const error = screen.with === 'denied' ? 'NotAllowedError' : screen.with === 'none' ? 'NotFoundError' : null;
  if (error) await page.addInitScript(`navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', '${error}'); }`);
  await page.goto(origin + screen.path);
  await screen.reach(page);
  return { page, context, complaints };
}
