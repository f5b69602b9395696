// @ts-check
/** Shared screens: the button to share one's own, and the others' on the stage. */

import { h, icon, setAttribute, setText, show } from '../dom.js';
import { t } from '../i18n.js';
import { others } from '../state.js';
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

/** How long nobody sees it before that is said: it begins so, and a line may carry it again at once. */
const UNSEEN_MS = 4_000;

/**
 * The button, and what says that one's screen is seen by others. Null where the browser cannot share: on most phones.
 * @param {import('../app.js').App} app
 */
export function shareControl(app) {
  if (!navigator.mediaDevices?.getDisplayMedia) return null;
  const symbol = icon('screen');
  const words = h('span', { class: 'control-words' });
  const toggle = h('button', { type: 'button', class: 'control', 'data-test': 'share', onclick: () => void press() }, symbol, words);
  const statusWords = h('span');
  const status = h('p', { class: 'sharing', 'data-test': 'sharing' }, icon('screen'), statusWords);
  const unseen = new Unseen((said, isSeenAgain) => {
    setText(statusWords, t(said ?? 'share.on'));
    status.classList.toggle('is-unseen', said !== null);
    if (said) app.announce(t(said));
    else if (isSeenAgain) app.announce(t('share.seen'));
  });
  let asking = false;
  let isOver = false;

  async function press() {
    if (asking) return;
    if (app.screen) {
      stop(app.screen);
      return;
    }
    asking = true;
    update();
    const track = await choose(app, () => isOver);
    asking = false;
    if (track) begin(track);
    update();
  }

  /** @param {MediaStreamTrack} track */
  function begin(track) {
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
    // Not disabled: that would take the focus away from whoever pressed it by keyboard.
    setAttribute(toggle, 'aria-disabled', asking ? 'true' : null);
    toggle.classList.toggle('is-sharing', app.screen !== null);
    symbol.className = `icon icon-${app.screen ? 'close' : 'screen'}`;
    setText(words, name);
    setAttribute(toggle, 'title', name);
    show(status, app.screen !== null);
    // Who is alone sees that.
    const isWatchable = app.screen !== null && others(app.state).length > 0;
    unseen.update(isWatchable ? (app.call?.screenAudience ?? null) : null);
  }
  setText(statusWords, t('share.on'));
  update();
  return {
    toggle,
    status,
    update,
    destroy() {
      isOver = true;
      unseen.destroy();
    },
  };
}

/** @typedef {'share.unseen_thin' | 'share.unseen'} UnseenWords */

/** Says that nobody sees the screen, once that lasts, and when it is over. */
export class Unseen {
  #say;
  /** @type {UnseenWords | null} */
  #said = null;
  /** What is to be said unless it changes. @type {UnseenWords | null} */
  #next = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {(said: UnseenWords | null, isSeenAgain: boolean) => void} say called on each change */
  constructor(say) {
    this.#say = say;
  }

  /** @param {import('../../types/protocol.d.ts').ScreenAudience | null} audience null while nobody needs to be told anything */
  update(audience) {
    const words = audience && /** @type {const} */ ({ seen: null, too_thin: 'share.unseen_thin', not_arriving: 'share.unseen', unwatched: 'share.unseen' })[audience];
    if (words === this.#next) return;
    this.#next = words;
    clearTimeout(this.#timer);
    if (words) this.#timer = setTimeout(() => this.#tell(words), UNSEEN_MS);
    else this.#tell(null, audience === 'seen');
  }

  destroy() {
    clearTimeout(this.#timer);
  }

  /**
   * @param {UnseenWords | null} words
   * @param {boolean} [isSeen] somebody sees it, which is more than that there is nothing to say
   */
  #tell(words, isSeen = false) {
    if (words === this.#said) return;
    this.#said = words;
    this.#say(words, isSeen);
  }
}

/**
 * Lets the person choose a screen. Nothing comes of it if the visit is over by then, or the page has turned to another one.
 * @param {Pick<import('../app.js').App, 'state' | 'say'>} app
 * @param {() => boolean} isOver whether the visit that it was chosen for is not shown any more
 * @returns {Promise<MediaStreamTrack | null>}
 */
export async function choose(app, isOver) {
  const visit = visitOf(app);
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia(/** @type {DisplayMediaStreamOptions} */ (WANTED));
    const track = stream.getVideoTracks()[0];
    if (track && visit !== null && visit === visitOf(app) && !isOver()) return track;
    track?.stop();
  } catch (error) {
    const key = trouble(error);
    if (key && !isOver()) app.say(key);
  }
  return null;
}

/** @param {Pick<import('../app.js').App, 'state'>} app */
function visitOf({ state: { page } }) {
  return page.name === 'visit' ? page.session.visit.id : null;
}

/**
 * What there is to say when no screen is chosen. Whoever closes the browser's question has changed their mind, and knows it; the same
 * error says that the computer forbids it, which its words tell apart.
 * @param {unknown} error
 * @returns {'share.denied' | 'share.failed' | null}
 */
export function trouble(error) {
  if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return 'share.failed';
  return /system/i.test(error.message) ? 'share.denied' : null;
}

/** A new connection of somebody who shares goes without their screen for a moment. */
const ENDED_MS = 3_000;

/** Says who begins to share a screen and who has ended, by what the server says of people: the connection that brings the picture may change. */
export class Sharers {
  #announce;
  /** Who shares, and once they do not, since when: a timer. @type {Map<string, {name: string, ends: ReturnType<typeof setTimeout> | null}>} */
  #known = new Map();

  /** @param {(text: string) => void} announce */
  constructor(announce) {
    this.#announce = announce;
  }

  /** @param {import('../../types/protocol.d.ts').ParticipantInfo[]} others */
  update(others) {
    for (const { participant, name, tracks } of others) {
      const known = this.#known.get(participant);
      const shares = tracks.some((t) => t.source === 'screen');
      if (shares) {
        if (known?.ends) clearTimeout(known.ends);
        if (!known) this.#announce(t('share.began', { name }));
        this.#known.set(participant, { name, ends: null });
      } else if (known && !known.ends) {
        known.ends = setTimeout(() => {
          this.#known.delete(participant);
          this.#announce(t('share.ended', { name }));
        }, ENDED_MS);
      }
    }
    // That somebody has left is said, and is enough.
    for (const [participant, { ends }] of this.#known) {
      if (others.some((p) => p.participant === participant)) continue;
      if (ends) clearTimeout(ends);
      this.#known.delete(participant);
    }
  }

  destroy() {
    for (const { ends } of this.#known.values()) if (ends) clearTimeout(ends);
  }
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
    /** It is not shared any more, or comes over another connection. */
    stop() {
      video.srcObject = null;
    },
  };
}
