// @ts-check
/** The visit itself: a dark stage with the others, one's own picture in a corner, the controls; for clinicians the queue beside it. */

import { h, icon, setAttribute, setText, show } from '../dom.js';
import { t } from '../i18n.js';
import { linkBanner } from './banner.js';
import { devicePanel } from './devices.js';
import { openDialog } from './dialog.js';
import { selfPicture } from './self.js';
import { others } from '../state.js';
import { Sharers, shareControl } from './share.js';
import { tilesView } from './tiles.js';
import { shortcuts, toggleButtons } from './toggles.js';

const CORNERS = /** @type {const} */ (['bottom-end', 'bottom-start', 'top-start', 'top-end']);

/**
 * @param {import('../app.js').App} app
 * @param {import('../../types/app.d.ts').Session} session
 */
export function visitView(app, session) {
  const clinician = session.role === 'clinician';
  const title = clinician ? t('visit.title_clinician') : t('visit.title', { clinician: session.visit.clinician_name });
  const unbind = shortcuts(app);
  const banner = linkBanner(app);
  const tiles = tilesView(app);
  const told = new Sharers(app.announce);
  const self = selfTile(app);
  const toggles = toggleButtons(app, 'call');
  const share = shareControl(app);
  const panel = app.desk?.panel() ?? null;

  const qualityWords = h('span');
  const quality = h('p', { class: 'quality', 'data-test': 'quality' }, h('span', { class: 'quality-bars', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')), qualityWords);
  // Said aloud by the app, when it changes.
  const weak = h('p', { class: 'weak', 'data-test': 'weak' });
  const aloneWords = h('p', { class: 'alone-words' });
  const aloneHint = h('p', { class: 'alone-hint' });
  const alone = h('div', { class: 'alone' }, icon('person'), aloneWords, aloneHint);
  const sound = h(
    'div',
    { class: 'sound', role: 'alert' },
    h('p', {}, t('visit.sound_blocked')),
    h('button', { type: 'button', class: 'button primary', onclick: () => tiles.play() }, icon('sound'), t('visit.sound_on')),
  );

  const settings = control('settings', t('visit.settings'), { onclick: () => settingsDialog(app) });
  const hangUp = control('hang-up', t('visit.hang_up'), {
    class: 'control hang-up',
    'data-test': 'hang-up',
    onclick: () => app.dispatch({ type: 'leave_pressed' }),
  });
  const controls = h(
    'div',
    { class: 'controls', role: 'group', 'aria-label': t('visit.controls') },
    toggles.mic,
    toggles.cam,
    share?.toggle,
    panel?.toggle,
    settings,
    hangUp,
  );
  const middle = h('div', { class: 'stage-middle' }, ...tiles.element, alone, sound, self.element);
  const element = h(
    'main',
    { class: 'visit', id: 'main' },
    h('h1', { class: 'visually-hidden', tabindex: '-1' }, title),
    h('div', { class: 'stage-top' }, quality, share?.status, weak, banner.element),
    middle,
    controls,
    panel?.element,
  );

  /** Who was here last. @type {string | null} */
  let lastSeen = null;

  return {
    element,
    title,
    update() {
      const { page } = app.state;
      if (page.name !== 'visit') return;
      const remotes = app.call?.remotes() ?? [];
      const shares = app.call?.shares() ?? [];
      tiles.update(remotes, shares);
      told.update(others(app.state));
      middle.classList.toggle('has-screen', shares.length > 0);
      self.update();
      toggles.update();
      share?.update();
      banner.update();
      panel?.update(page.room, remotes.length === 0);
      show(alone, remotes.length === 0);
      lastSeen = remotes.at(-1)?.name ?? lastSeen;
      if (lastSeen !== null) {
        setText(aloneWords, t('visit.went', { name: lastSeen }));
        setText(aloneHint, t(clinician ? 'visit.went_clinician' : 'visit.went_patient'));
      } else {
        setText(aloneWords, clinician ? t('visit.alone') : t('visit.alone_patient', { clinician: session.visit.clinician_name }));
        setText(aloneHint, clinician ? t('visit.alone_clinician') : '');
      }
      setText(qualityWords, t(`quality.${app.quality}`));
      // A paused picture says so itself.
      const notice = app.notice === 'paused' || app.notice === 'for_screen' ? null : app.notice;
      show(weak, notice !== null);
      setText(weak, notice ? t(`weak.${notice}`) : '');
      setAttribute(quality, 'data-quality', app.quality);
      show(sound, app.soundBlocked);
    },
    destroy() {
      unbind();
      told.destroy();
      banner.destroy();
      tiles.destroy();
      share?.destroy();
      self.destroy();
      panel?.destroy();
    },
  };
}

/** One's own picture, in a corner of the person's choice. @param {import('../app.js').App} app */
function selfTile(app) {
  const self = selfPicture(app);
  let corner = 0;
  const move = h(
    'button',
    {
      type: 'button',
      class: 'self-move',
      'aria-label': t('visit.move_self'),
      title: t('visit.move_self'),
      onclick: () => {
        corner = (corner + 1) % CORNERS.length;
        element.dataset.corner = CORNERS[corner];
      },
    },
    icon('move'),
  );
  const element = h('div', { class: 'self-tile', 'data-corner': CORNERS[0] }, self.element, move);
  return { element, update: self.update, destroy: self.destroy };
}

/** @param {import('../app.js').App} app */
function settingsDialog(app) {
  const panel = devicePanel(app);
  openDialog(t('visit.settings_title'), [panel.element], {
    onClose: () => {
      unsubscribe();
      panel.destroy();
    },
  });
  const unsubscribe = app.subscribe(() => panel.update());
  panel.update();
}

/**
 * @param {string} symbol
 * @param {string} words
 * @param {import('../dom.js').Props} props
 */
function control(symbol, words, props) {
  return h('button', { type: 'button', class: 'control', title: words, ...props }, icon(symbol), h('span', { class: 'control-words' }, words));
}
