// @ts-check
/** Before the visit: who invites, when, how one looks and sounds. For clinicians also the queue and the day. */

import { h, icon, setText, show } from '../dom.js';
import { current, t } from '../i18n.js';
import { ownZone, visitTimes } from '../time.js';
import { deviceNotice, devicePanel } from './devices.js';
import { frame, heading } from './frame.js';
import { linkBanner } from './banner.js';
import { selfPicture } from './self.js';
import { toggleButtons } from './toggles.js';

/**
 * @param {import('../app.js').App} app
 * @param {import('../../types/app.d.ts').Session} session
 */
export function lobbyView(app, session) {
  const clinician = session.role === 'clinician';
  const { visit } = session;
  const times = visitTimes(visit, current().regional, ownZone());
  const guest = session.role === 'guest';
  const title = clinician
    ? t('join.title_clinician', { name: session.name })
    : t(guest ? 'visit.title' : 'join.title', { clinician: visit.clinician_name });
  // Who was let in before goes straight in: nobody may think that they are unseen for a while yet.
  const returns = !clinician && session.admitted;

  const self = selfPicture(app);
  const notice = deviceNotice(app);
  const panel = devicePanel(app, { notice: false });
  const toggles = toggleButtons(app, 'preview');
  const banner = linkBanner(app);
  const queue = app.desk?.queue() ?? null;
  const today = app.desk?.today() ?? null;

  const anyway = h('p', { class: 'fine' });
  const join = h(
    'button',
    { type: 'button', class: 'button primary big', 'data-test': 'join-button', onclick: () => app.dispatch({ type: 'join_pressed' }) },
    t(clinician ? 'join.button_clinician' : returns ? 'join.button_return' : 'join.button'),
  );
  const facts = h(
    'dl',
    { class: 'facts' },
    fact('calendar', t('join.when'), [
      h('span', { class: 'fact-main' }, t('join.time', { day: times.day, time: times.time })),
      times.clinic && h('span', { class: 'fact-more' }, t('join.clinic_time', times.clinic)),
    ]),
    clinician ? null : fact('person', t('join.as'), [h('span', { class: 'fact-main' }, session.name)]),
  );
  const preview = h(
    'section',
    { class: 'preview', 'aria-label': t('join.preview') },
    h('div', { class: 'preview-stage' }, self.element, toggles.element),
    panel.element,
  );
  const intro = h(
    'section',
    { class: 'intro' },
    heading(title),
    facts,
    h('p', { class: 'hint' }, t(clinician ? 'join.clinician_hint' : returns ? 'join.return_hint' : guest ? 'join.guest_hint' : 'join.patient_hint')),
    notice.element,
    h('div', { class: 'join-row' }, join, anyway),
  );
  const { element, main } = frame(
    visit.clinic_name,
    clinician
      ? [h('div', { class: 'desk' }, h('div', { class: 'desk-main' }, intro, card(queue?.element), card(today?.element)), h('div', { class: 'desk-side' }, preview))]
      : [h('div', { class: 'join' }, intro, preview)],
    clinician ? 'wide' : '',
  );
  main.prepend(banner.element);

  return {
    element,
    title,
    update() {
      const { page } = app.state;
      if (page.name !== 'lobby') return;
      const { microphone, camera } = app.devices.state;
      self.update();
      notice.update();
      panel.update();
      toggles.update();
      banner.update();
      queue?.update(page.room);
      today?.update();
      const lacking = microphone.name === 'trouble' || camera.name === 'trouble';
      show(anyway, lacking);
      setText(anyway, t('join.anyway'));
    },
    destroy() {
      self.destroy();
      panel.destroy();
      queue?.destroy();
      banner.destroy();
    },
  };
}

/**
 * @param {string} symbol
 * @param {string} name
 * @param {Array<import('../dom.js').Child>} value
 */
function fact(symbol, name, value) {
  return h('div', { class: 'fact' }, h('dt', {}, icon(symbol), h('span', { class: 'visually-hidden' }, name)), h('dd', {}, ...value));
}

/** @param {HTMLElement | undefined} content */
function card(content) {
  return content ? h('div', { class: 'card' }, content) : null;
}
