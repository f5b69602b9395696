// @ts-check
/** Modal questions, on the browser's own `<dialog>`: it keeps the focus inside, closes on Escape and gives the focus back. */

import { h, icon } from '../dom.js';
import { t } from '../i18n.js';

let dialogs = 0;

/**
 * @param {string} title
 * @param {Array<import('../dom.js').Child>} body
 * @param {{onClose?: () => void}} [options]
 */
export function openDialog(title, body, { onClose } = {}) {
  dialogs += 1;
  const id = `dialog-title-${dialogs}`;
  const close = () => dialog.close();
  const dialog = h(
    'dialog',
    { class: 'dialog', 'aria-labelledby': id },
    h(
      'div',
      { class: 'dialog-head' },
      h('h2', { id }, title),
      h('button', { type: 'button', class: 'icon-button', 'aria-label': t('app.close'), onclick: close }, icon('close')),
    ),
    ...body,
  );
  dialog.addEventListener('close', () => {
    onClose?.();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, close };
}

/**
 * A yes-or-no question whose yes is final.
 * @param {{title: string, text: string, yes: string, no: string, onYes: () => void}} question
 */
export function confirmDialog({ title, text, yes, no, onYes }) {
  const { close } = openDialog(title, [
    h('p', {}, text),
    h(
      'div',
      { class: 'actions' },
      h('button', { type: 'button', class: 'button quiet', onclick: () => close() }, no),
      h(
        'button',
        {
          type: 'button',
          class: 'button danger',
          onclick: () => {
            close();
            onYes();
          },
        },
        yes,
      ),
    ),
  ]);
}

/** The end of a visit for everybody is final. @param {import('../app.js').App} app */
export function askToEnd(app) {
  confirmDialog({
    title: t('visit.end_title'),
    text: t('visit.end_text'),
    yes: t('visit.end'),
    no: t('app.cancel'),
    onYes: () => app.dispatch({ type: 'end_visit_pressed' }),
  });
}
