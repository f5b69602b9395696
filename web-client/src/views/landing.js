// @ts-check
/** The start page: what this is, and the way in for those who hold a link. */

import { h, setText, show } from '../dom.js';
import { t } from '../i18n.js';
import { tokenOf } from '../token.js';
import { frame, heading } from './frame.js';

export function landingView() {
  const example = `${location.origin}/join#…`;
  const input = h('input', { type: 'url', name: 'link', required: true, autocomplete: 'off', spellcheck: 'false', placeholder: example, 'aria-describedby': 'link-trouble' });
  const trouble = h('p', { class: 'trouble', role: 'alert', id: 'link-trouble' });
  show(trouble, false);
  const form = h(
    'form',
    {
      class: 'paste',
      novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        const token = tokenOf(input.value);
        if (token) {
          location.assign(`/join#${token}`);
          return;
        }
        setText(trouble, t('landing.bad_link'));
        show(trouble, true);
        input.setAttribute('aria-invalid', 'true');
        input.focus();
      },
    },
    h('label', { class: 'field' }, h('span', {}, t('landing.paste')), input),
    h('button', { type: 'submit', class: 'button primary' }, t('landing.open')),
  );
  const steps = /** @type {const} */ (['landing.step1', 'landing.step2', 'landing.step3']);
  const { element } = frame(
    t('app.name'),
    [
      h(
        'section',
        { class: 'hero' },
        heading(t('landing.title')),
        h('p', { class: 'lead' }, t('landing.lead')),
        h('div', { class: 'card' }, form, trouble),
      ),
      h(
        'section',
        { class: 'how' },
        h('h2', {}, t('landing.how')),
        h('ol', { class: 'steps' }, ...steps.map((key) => h('li', {}, h('span', {}, t(key))))),
        h('p', { class: 'fine' }, t('landing.privacy')),
      ),
      h('section', { class: 'demo' }, h('h2', {}, t('landing.demo_title')), h('p', {}, t('landing.demo'))),
    ],
    'landing',
  );
  return { element, title: t('landing.title'), update() {}, destroy() {} };
}
