// @ts-check
/** After the visit: why it is over in plain words, and the way back where there is one. */

import { h } from '../dom.js';
import { current, t } from '../i18n.js';
import { frame, heading } from './frame.js';

/** @typedef {import('../i18n.js').Key} Key */

/**
 * @param {import('../app.js').App} app
 * @param {Extract<import('../../types/app.d.ts').Page, {name: 'ended'}>} page
 */
export function endedView(app, page) {
  const { session, reason, stay } = page;
  const clinician = session.role === 'clinician';
  const [titleKey, textKey] = words(page);
  const title = t(titleKey);
  const today = app.desk?.today() ?? null;
  const comesBack = reason !== 'visit_ended' && reason !== 'cancelled';
  const rejoin = comesBack
    ? h(
        'button',
        { type: 'button', class: 'button primary big', 'data-test': 'rejoin', onclick: () => app.dispatch({ type: 'rejoin_pressed' }) },
        t(reason === 'replaced' ? 'ended.replaced_action' : reason === 'declined' ? 'ended.declined_action' : 'ended.rejoin'),
      )
    : null;
  // A clinician who leaves decides here what becomes of the visit: it goes on without them, or it is over.
  const end =
    app.desk && reason === 'left'
      ? h('button', { type: 'button', class: 'button danger-quiet big', onclick: () => app.desk?.askToEnd() }, t('visit.end'))
      : null;
  const { element } = frame(
    session.visit.clinic_name,
    [
      h(
        'section',
        { class: 'card message' },
        heading(title),
        reason === 'declined' && page.message ? h('p', { class: 'quote' }, t('ended.declined_reason', { message: page.message })) : null,
        stay.length > 0 ? h('p', { class: 'stay' }, t('ended.stay', { count: stay.length, names: list(stay) })) : null,
        h('p', {}, t(textKey)),
        rejoin || end ? h('div', { class: 'choices-row' }, rejoin, end) : null,
      ),
      today ? h('div', { class: 'card' }, today.element) : null,
    ],
    clinician ? '' : 'narrow',
  );
  return { element, title, update: () => today?.update(), destroy() {} };
}

/** @param {string[]} names */
function list(names) {
  return new Intl.ListFormat(current().regional).format(names);
}

/**
 * @param {Extract<import('../../types/app.d.ts').Page, {name: 'ended'}>} page
 * @returns {[Key, Key]}
 */
export function words({ reason, from, session }) {
  switch (reason) {
    case 'left':
      if (session.role === 'clinician') return ['ended.left', 'ended.left_text_clinician'];
      return from === 'waiting' ? ['ended.left_waiting', 'ended.left_waiting_text'] : ['ended.left', 'ended.left_text'];
    case 'visit_ended':
      return ['ended.visit_ended', session.role === 'clinician' ? 'ended.visit_ended_clinician' : 'ended.visit_ended_text'];
    case 'declined':
      return ['ended.declined', 'ended.declined_text'];
    case 'replaced':
      return ['ended.replaced', 'ended.replaced_text'];
    case 'cancelled':
      return ['ended.cancelled', 'ended.cancelled_text'];
    case 'server_stopping':
      return ['ended.server_stopping', 'ended.back_text'];
    case 'failed':
      return ['ended.failed', 'ended.back_text'];
  }
}
