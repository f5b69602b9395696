// @ts-check
/** Where the page begins: language, which page this is, and drawing whatever state the app is in. */

import { App } from './app.js';
import { h, setText } from './dom.js';
import { load, t } from './i18n.js';
import { wantsMedia } from './state.js';
import { tokenInHash } from './token.js';
import { endedView } from './views/ended.js';
import { frame, heading } from './views/frame.js';
import { lobbyView } from './views/lobby.js';
import { problemView } from './views/problem.js';
import { waitingView } from './views/waiting.js';

/**
 * @typedef {object} View A screen. It draws what the app holds, and dispatches what the person does.
 * @property {HTMLElement} element
 * @property {string} title for the window
 * @property {() => void} update draws the present state
 * @property {() => void} destroy lets go of timers and media
 */

const root = /** @type {HTMLElement} */ (document.getElementById('app'));
const announcer = h('div', { class: 'visually-hidden', role: 'status', 'aria-live': 'polite' });
const toast = h('div', { class: 'toast', 'aria-hidden': 'true' });
document.body.append(announcer, toast);

/** Keeps the screen on. @type {WakeLockSentinel | 'asking' | null} */
let lock = null;

await load(document);
if (location.pathname === '/join' || location.pathname === '/join/') visit();
else mount((await import('./views/landing.js')).landingView());

function visit() {
  if (typeof RTCPeerConnection === 'undefined' || !('addTransceiver' in RTCPeerConnection.prototype)) {
    mount(problemView(null, 'browser_too_old'));
    return;
  }
  const app = new App(tokenInHash(location.hash), announce);
  /** @type {View | null} */
  let view = null;
  let drawn = '';

  /**
   * The visit's own screen comes after the join page, in the time a person needs to press the button.
   * @type {typeof import('./views/visit.js') | 'loading' | null}
   */
  let call = null;
  const fetchCall = async () => {
    if (call !== null || app.state.page.name === 'opening' || app.state.page.name === 'problem') return;
    call = 'loading';
    try {
      [call] = await Promise.all([import('./views/visit.js'), styles('stage.css')]);
    } catch {
      // The server is gone just now.
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      call = null;
    }
    draw();
  };

  const draw = () => {
    void fetchCall();
    const ready = call !== 'loading' ? call : null;
    const name = app.state.page.name === 'visit' && !ready ? 'opening' : screenOf(app);
    if (name !== drawn) {
      // Not on the very first screen: there the browser's own start at the top of the page is right.
      const takeFocus = drawn !== '' && drawn !== 'opening';
      drawn = name;
      view?.destroy();
      view = name === 'opening' ? openingView() : viewOf(app, ready);
      mount(view, takeFocus);
    }
    view?.update();
    setText(toast, app.toast ?? '');
    toast.classList.toggle('shown', app.toast !== null);
    void keepAwake(wantsMedia(app.state.page));
  };
  app.subscribe(draw);
  draw();
  app.start();
  // Another link pasted into the address bar of this page.
  addEventListener('hashchange', () => location.reload());

  // For tests and for whoever helps a clinic over the phone.
  Object.defineProperty(globalThis, 'housecall', {
    value: Object.freeze({
      get peerConnection() {
        return app.call?.peerConnection ?? null;
      },
      get state() {
        return app.state.page.name;
      },
      /**
       * `setTarget('p480')` for the first picture, `setTarget('3', 'p480')` for the line `3`.
       * @param {...string} args
       */
      setTarget(...args) {
        const target = /** @type {import('../types/protocol.d.ts').TargetName} */ (args.at(-1));
        return app.setTarget(args.length > 1 ? args[0] : undefined, target);
      },
    }),
  });
}

/**
 * Styles that come later count as if the page's own sheet had begun with them.
 * @param {string} name
 */
function styles(name) {
  const sheet = document.createElement('link');
  sheet.rel = 'stylesheet';
  sheet.href = new URL(`../styles/${name}`, import.meta.url).href;
  return new Promise((resolve, reject) => {
    sheet.onload = resolve;
    sheet.onerror = () => {
      sheet.remove();
      reject(new Error(`${name} did not come`));
    };
    document.querySelector('link[rel=stylesheet]')?.before(sheet);
  });
}

/**
 * Two states with the same name share a screen: it is drawn on, not built anew.
 * @param {App} app
 */
function screenOf({ state: { page } }) {
  switch (page.name) {
    case 'problem':
      return `problem ${page.problem}`;
    case 'joining':
    case 'waiting':
      return 'waiting';
    case 'lobby':
      return `lobby ${page.session.visit.id}`;
    case 'ended':
      return `ended ${page.reason}`;
    default:
      return page.name;
  }
}

/**
 * @param {App} app
 * @param {typeof import('./views/visit.js') | null} call
 * @returns {View}
 */
function viewOf(app, call) {
  const { page } = app.state;
  switch (page.name) {
    case 'opening':
      return openingView();
    case 'ending':
      return openingView(t('ended.ending'));
    case 'problem':
      return problemView(app, page.problem);
    case 'lobby':
      return lobbyView(app, page.session);
    case 'joining':
    case 'waiting':
      return waitingView(app, page.session);
    case 'visit':
      return call ? call.visitView(app, page.session) : openingView();
    case 'ended':
      return endedView(app, page);
  }
}

/**
 * @param {string} [title]
 * @returns {View}
 */
function openingView(title = t('app.opening')) {
  const { element } = frame(t('app.name'), [h('div', { class: 'opening' }, h('span', { class: 'spinner', 'aria-hidden': 'true' }), heading(title))]);
  return { element, title, update() {}, destroy() {} };
}

/**
 * @param {View} view
 * @param {boolean} [takeFocus]
 */
function mount(view, takeFocus = false) {
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  root.replaceChildren(view.element);
  document.title = `${view.title} · ${t('app.name')}`;
  scrollTo(0, 0);
  if (takeFocus) view.element.querySelector('h1')?.focus({ preventScroll: true });
}

/** @param {string} text */
function announce(text) {
  // The same sentence twice in a row is news again: an invisible mark makes it differ.
  announcer.textContent = announcer.textContent === text ? `${text}\u00a0` : text;
}

/**
 * A phone must not fall asleep in the waiting room.
 * @param {boolean} wanted
 */
async function keepAwake(wanted) {
  if (!('wakeLock' in navigator) || lock === 'asking' || document.visibilityState !== 'visible') return;
  const held = lock !== null && !lock.released;
  if (wanted === held) return;
  if (!wanted) {
    const ours = lock;
    lock = null;
    await ours?.release();
    return;
  }
  lock = 'asking';
  // Low battery, or not allowed: then not.
  lock = await navigator.wakeLock.request('screen').catch(() => null);
}
