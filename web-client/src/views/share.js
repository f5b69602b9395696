// @ts-check
/** Shared screens: the button to share one's own, and the others' on the stage. */

import { h, icon, setAttribute, setText, show } from '../dom.js';
import { t } from '../i18n.js';
import { pauses } from './pause.js';

/** @typedef {import('../../types/app.d.ts').Share} Share */

/** Not more than the server lets through: pixels are for text, frames for what little moves. */
const WANTED = {
  video: { frameRate: { ideal: 5, max: 5 }, width: { max: 1920 }, height: { max: 1080 } },
  audio: false,
  // A picture of this very page shows itself in itself; and another tab may be chosen while sharing.
  selfBrowserSurface: 'exclude',
  surfaceSwitching: 'include',
};

/**
 * The button, and what says that one's screen is seen by others. Null where the browser cannot share: on most phones.
 * @param {import('../app.js').App} app
 */
export function shareControl(app) {
  if (!navigator.mediaDevices?.getDisplayMedia) return null;
  const symbol = icon('screen');
  const words = h('span', { class: 'control-words' });
  const toggle = h('button', { type: 'button', class: 'control', 'data-test': 'share', onclick: () => void press() }, symbol, words);
  const status = h('p', { class: 'sharing', 'data-test': 'sharing' }, icon('screen'), t('share.on'));
  let asking = false;

  async function press() {
    if (app.screen) {
      stop(app.screen);
      return;
    }
    asking = true;
    update();
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia(/** @type {DisplayMediaStreamOptions} */ (WANTED));
      begin(stream.getVideoTracks()[0]);
    } catch (error) {
      // Whoever closes the browser's question has changed their mind, and knows it.
      const declined = error instanceof DOMException && (error.name === 'NotAllowedError' || error.name === 'AbortError');
      if (!declined) app.say('share.failed');
    } finally {
      asking = false;
      update();
    }
  }

  /** @param {MediaStreamTrack | undefined} track */
  function begin(track) {
    // The visit may be over by the time a screen is chosen.
    if (!track || app.state.page.name !== 'visit') {
      track?.stop();
      return;
    }
    track.contentHint = 'text';
    // By the browser's own bar, or the shared window was closed.
    track.onended = () => stop(track);
    app.share(track);
    app.announce(t('share.on'));
  }

  /** @param {MediaStreamTrack} track */
  function stop(track) {
    if (app.screen !== track) return;
    app.share(null);
    app.announce(t('share.off'));
  }

  function update() {
    const name = t(app.screen ? 'share.stop' : 'share.start');
    toggle.disabled = asking;
    toggle.classList.toggle('is-sharing', app.screen !== null);
    symbol.className = `icon icon-${app.screen ? 'close' : 'screen'}`;
    setText(words, name);
    setAttribute(toggle, 'title', name);
    show(status, app.screen !== null);
  }
  update();
  return { toggle, status, update };
}

/**
 * Somebody's screen on the stage.
 * @param {import('../app.js').App} app
 * @param {Share} first
 */
export function screenTile(app, { name }) {
  const words = t('share.theirs', { name });
  const video = h('video', { class: 'remote-video', playsinline: true, autoplay: true, 'data-test': 'remote-screen', 'aria-label': words });
  video.muted = true;
  const paused = h('p', { class: 'tile-paused', 'data-test': 'screen-paused' }, icon('screen'), t('share.paused'));
  const away = h('p', { class: 'tile-words' }, t('visit.away'));
  const blank = h('div', { class: 'tile-blank' }, away);
  const element = h('li', { class: 'tile screen' }, video, paused, blank, h('div', { class: 'tile-top' }, h('p', { class: 'nameplate' }, icon('screen'), h('span', {}, words))));
  const pause = pauses(video, () => {
    app.announce(t('weak.back'));
    draw();
  });
  /** @type {Share | null} */
  let now = null;
  video.addEventListener('resize', () => draw());
  app.announce(t('share.began', { name }));

  function draw() {
    if (!now) return;
    element.classList.toggle('no-picture', video.videoWidth === 0);
    element.classList.toggle('paused', pause.on);
    show(paused, pause.on);
    // The last page stays where it can be read.
    show(blank, !now.connected);
  }

  return {
    element,
    /** @param {Share} share */
    update(share) {
      if (now?.video !== share.video) {
        video.srcObject = share.video ? new MediaStream([share.video]) : null;
        if (share.video) void video.play().catch(() => {});
      }
      now = share;
      pause.follow(share);
      draw();
    },
    /** It is not shared any more. */
    ended() {
      video.srcObject = null;
      app.announce(t('share.ended', { name }));
    },
    stop() {
      video.srcObject = null;
    },
  };
}
