// @ts-check
/** The quiet page around everything but the call: name of the house on top, language at the bottom. */

import { h, icon } from '../dom.js';
import { current, languages, remember } from '../i18n.js';

/**
 * @param {string} name the clinic's, once it is known
 * @param {Array<import('../dom.js').Child>} content
 * @param {string} [variant] a class for the page
 */
export function frame(name, content, variant = '') {
  const main = h('main', { class: 'page-main', id: 'main' }, ...content);
  const element = h(
    'div',
    { class: `page ${variant}` },
    h('header', { class: 'page-head' }, icon('housecall'), h('span', { class: 'page-name' }, name)),
    main,
    h('footer', { class: 'page-foot' }, languageSwitch()),
  );
  return { element, main };
}

/** One heading per screen; it takes the focus when the screen appears, so that a screen reader starts there. @param {string} text */
export function heading(text) {
  return h('h1', { tabindex: '-1' }, text);
}

function languageSwitch() {
  const { language } = current();
  const tags = /** @type {Array<keyof typeof languages>} */ (Object.keys(languages));
  const others = tags.filter((tag) => tag !== language);
  return h(
    'span',
    { class: 'languages' },
    icon('globe'),
    ...others.map((tag) =>
      h(
        'button',
        {
          type: 'button',
          class: 'link-button',
          lang: tag,
          onclick: () => {
            // The link in the address bar survives a reload, so the person stays where they were.
            remember(tag);
            location.reload();
          },
        },
        languages[tag],
      ),
    ),
  );
}
