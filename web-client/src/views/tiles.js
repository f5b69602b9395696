// @ts-check
/** The other people: their pictures large, their sound, their names. */

import { each, h, icon, setText, show } from '../dom.js';
import { t } from '../i18n.js';
import { initials } from './avatar.js';

/** @typedef {import('../../types/app.d.ts').Remote} Remote */

/** @param {import('../app.js').App} app */
export function tilesView(app) {
  const element = h('ul', { class: 'tiles' });
  /** @type {Map<string, {element: HTMLElement, update(remote: Remote): void, play(): void, stop(): void}>} */
  const drawn = new Map();

  return {
    element,
    /** @param {Remote[]} remotes */
    update(remotes) {
      for (const [key, tile] of drawn) if (!remotes.some((r) => r.participant === key)) tile.stop();
      each(element, remotes, (r) => r.participant, (r) => tile(app, r), /** @type {any} */ (drawn));
      element.dataset.count = String(Math.min(remotes.length, 9));
    },
    /** Called from a press, which is what the browser wants before it plays sound. */
    play() {
      for (const tile of drawn.values()) tile.play();
    },
    destroy() {
      for (const tile of drawn.values()) tile.stop();
    },
  };
}

/**
 * @param {import('../app.js').App} app
 * @param {Remote} first
 */
function tile(app, { name }) {
  // The picture is silent and the sound has an element of its own: browsers let a silent picture play at once, and sound must
  // not wait for the first frame. Lips stay in sync below, where both come from the same sender.
  const video = h('video', { class: 'remote-video', playsinline: true, autoplay: true, 'data-test': 'remote-video', 'aria-label': name });
  video.muted = true;
  const audio = h('audio', { autoplay: true });
  const words = h('p', { class: 'tile-words' });
  const blank = h('div', { class: 'tile-blank' }, h('span', { class: 'avatar large', 'aria-hidden': 'true' }, initials(name)), words);
  const muted = h('span', { class: 'nameplate-muted' }, icon('mic-off'), h('span', { class: 'visually-hidden' }, t('visit.muted')));
  const plate = h('p', { class: 'nameplate' }, muted, h('span', {}, name));
  const element = h('li', { class: 'tile' }, video, blank, plate, audio);
  /** @type {Remote | null} */
  let now = null;
  video.addEventListener('resize', () => draw());
  video.addEventListener('loadeddata', () => draw());

  function draw() {
    if (!now) return;
    const hasFrames = video.videoWidth > 0;
    const picture = now.connected && now.video !== null && !now.cameraMuted && now.sending !== 'audio_only' && hasFrames;
    // Hidden by opacity: a picture out of sight goes on being decoded and comes back at once.
    element.classList.toggle('no-picture', !picture);
    show(blank, !picture);
    show(muted, now.microphoneMuted);
    setText(
      words,
      !now.connected ? t('visit.away') : now.cameraMuted ? t('visit.camera_is_off') : now.sending === 'audio_only' ? t('visit.sound_only') : '',
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
      draw();
    },
    play,
    stop() {
      video.srcObject = null;
      audio.srcObject = null;
    },
  };
}
