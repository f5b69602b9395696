// @ts-check
/** The other people: their pictures large, their sound, their names. */

import { each, h, icon, setAttribute, setText, show } from '../dom.js';
import { t } from '../i18n.js';
import { initials } from './avatar.js';
import { giveWay } from '../quality.js';
import { pauses } from './pause.js';
import { screenTile } from './share.js';

/** @typedef {import('../../types/app.d.ts').Remote} Remote */
/** @typedef {import('../../types/app.d.ts').Share} Share */

/** @param {import('../app.js').App} app */
export function tilesView(app) {
  const element = h('ul', { class: 'tiles' });
  /** @type {Map<string, {element: HTMLElement, update(remote: Remote): void, play(): void, stop(): void}>} */
  const drawn = new Map();
  const screens = h('ul', { class: 'screens' });
  /** @type {Map<string, ReturnType<typeof screenTile>>} */
  const shown = new Map();
  /** Whether faces give way to a screen. */
  let forScreen = false;

  return {
    /** Screens stand before faces, for whoever listens too. */
    element: [screens, element],
    /**
     * @param {Remote[]} remotes
     * @param {Share[]} shares
     */
    update(remotes, shares) {
      for (const [key, screen] of shown) if (!shares.some((s) => s.track === key)) screen.stop();
      forScreen = giveWay(shares);
      each(screens, shares, (s) => s.track, (s) => screenTile(app, s), /** @type {any} */ (shown));
      show(screens, shares.length > 0);
      for (const [key, tile] of drawn) if (!remotes.some((r) => r.participant === key)) tile.stop();
      each(element, remotes, (r) => r.participant, (r) => tile(app, r, () => forScreen), /** @type {any} */ (drawn));
      element.classList.toggle('one-chosen', shares.length === 0 && remotes.some((r) => r.choice === 'chosen'));
      element.dataset.count = String(Math.min(remotes.length, 9));
      // Below who was chosen: all others in one row, or in two when they are more than four.
      const others = remotes.length - 1;
      element.style.setProperty('--others', String(others));
      element.style.setProperty('--columns', String(others > 4 ? Math.ceil(others / 2) : Math.max(others, 1)));
    },
    /** Called from a press, which is what the browser wants before it plays sound. */
    play() {
      for (const tile of drawn.values()) tile.play();
    },
    destroy() {
      for (const tile of drawn.values()) tile.stop();
      for (const screen of shown.values()) screen.stop();
    },
  };
}

/**
 * @param {import('../app.js').App} app
 * @param {Remote} first
 * @param {() => boolean} forScreen whether faces give way to a screen
 */
function tile(app, { participant, name }, forScreen) {
  // The picture is silent and the sound has an element of its own: browsers let a silent picture play at once, and sound must
  // not wait for the first frame. Lips stay in sync below, where both come from the same sender.
  const video = h('video', { class: 'remote-video', playsinline: true, autoplay: true, 'data-test': 'remote-video', 'aria-label': name });
  video.muted = true;
  const audio = h('audio', { autoplay: true });
  const words = h('p', { class: 'tile-words' });
  const blank = h('div', { class: 'tile-blank' }, h('span', { class: 'avatar large', 'aria-hidden': 'true' }, initials(name)), words);
  const muted = h('span', { class: 'nameplate-muted' }, icon('mic-off'), h('span', { class: 'visually-hidden' }, t('visit.muted')));
  const plate = h('p', { class: 'nameplate' }, muted, h('span', {}, name));
  const whyPaused = h('span');
  const pausedWords = h('p', { class: 'tile-paused', 'data-test': 'paused' }, icon('camera-off'), whyPaused);
  const choose = h(
    'button',
    { type: 'button', class: 'tile-choose', title: t('visit.larger'), 'data-test': 'choose', 'aria-pressed': 'false', onclick: () => app.choose(now?.choice === 'chosen' ? null : participant) },
    icon('move'),
    h('span', { class: 'tile-choose-words' }, t('visit.larger')),
    h('span', { class: 'visually-hidden' }, `: ${name}`),
  );
  const element = h('li', { class: 'tile' }, video, pausedWords, blank, h('div', { class: 'tile-top' }, plate, choose), audio);
  /** @type {Remote | null} */
  let now = null;
  const pause = pauses(video, () => {
    app.announce(t('weak.back'));
    draw();
  });
  video.addEventListener('resize', () => draw());
  video.addEventListener('loadeddata', () => draw());

  function draw() {
    if (!now) return;
    const hasFrames = video.videoWidth > 0;
    const isOff = now.sending === 'audio_only' && !pause.on;
    const picture = now.connected && now.video !== null && !now.cameraMuted && !isOff && hasFrames;
    // Hidden by opacity: a picture out of sight goes on being decoded and comes back at once.
    element.classList.toggle('no-picture', !picture);
    element.classList.toggle('paused', pause.on);
    show(pausedWords, pause.on);
    if (pause.on) setText(whyPaused, t(forScreen() ? 'weak.for_screen' : 'weak.paused'));
    show(blank, !picture);
    show(muted, now.microphoneMuted);
    show(choose, now.choice !== 'none');
    setAttribute(choose, 'aria-pressed', String(now.choice === 'chosen'));
    element.classList.toggle('chosen', now.choice === 'chosen');
    setText(
      words,
      !now.connected ? t('visit.away') : now.cameraMuted ? t('visit.camera_is_off') : isOff ? t('visit.sound_only') : '',
    );
  }

  function play() {
    if (!now?.audio) return;
    audio.play().then(
      () => app.setSoundBlocked(false),
      (error) => {
        if (error instanceof DOMException && error.name === 'NotAllowedError') app.setSoundBlocked(true);
      },
    );
  }

  return {
    element,
    /** @param {Remote} remote */
    update(remote) {
      const before = now;
      now = remote;
      if (before?.video !== remote.video) {
        video.srcObject = remote.video ? new MediaStream([remote.video]) : null;
        if (remote.video) void video.play().catch(() => {});
      }
      if (before?.audio !== remote.audio) {
        audio.srcObject = remote.audio ? new MediaStream([remote.audio]) : null;
        play();
      }
      pause.follow(remote);
      draw();
    },
    play,
    stop() {
      video.srcObject = null;
      audio.srcObject = null;
    },
  };
}
