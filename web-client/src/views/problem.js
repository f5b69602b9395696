// @ts-check
/** A trouble that fills the page: what it is, and exactly one thing to do. */

import { copyText, h } from '../dom.js';
import { t } from '../i18n.js';
import { frame, heading } from './frame.js';

/** @typedef {import('../../types/app.d.ts').Problem} Problem */

/**
 * @param {import('../app.js').App | null} app null where nothing can be tried again
 * @param {Problem} problem
 */
export function problemView(app, problem) {
  const title = t(`problem.${problem}`);
  const { element } = frame(
    t('app.name'),
    [h('section', { class: 'card message' }, heading(title), h('p', {}, t(`problem.${problem}_text`)), action(app, problem))],
    'narrow',
  );
  return { element, title, update() {}, destroy() {} };
}

/**
 * @param {import('../app.js').App | null} app
 * @param {Problem} problem
 */
function action(app, problem) {
  switch (problem) {
    case 'link_missing':
    case 'link_invalid':
      return h('a', { class: 'button primary big', href: '/' }, t('problem.paste'));
    case 'browser_too_old': {
      const copy = h('button', { type: 'button', class: 'button primary big', onclick: () => void copyText(location.href, null, copy, t('problem.copied')) }, t('problem.copy'));
      return copy;
    }
    case 'server_gone':
    case 'too_many_requests':
      return retry(app, t('problem.retry'));
    case 'link_expired':
    case 'visit_cancelled':
    case 'visit_ended':
      return retry(app, t('problem.check'));
  }
}

/**
 * @param {import('../app.js').App | null} app
 * @param {string} words
 */
function retry(app, words) {
  return h('button', { type: 'button', class: 'button primary big', onclick: () => app?.dispatch({ type: 'retry_pressed' }) }, words);
}
