// @ts-check
/** What a clinician has beside the visit. */

import { h, icon, setAttribute, setText, show } from '../dom.js';
import { t } from '../i18n.js';
import { badge } from './avatar.js';
import { askToEnd } from './dialog.js';
import { queueView } from './queue.js';
import { todayView } from './today.js';

/**
 * The queue and the day, beside the picture on a desktop and as a sheet over it on a phone. Not modal: the call goes on.
 * @param {import('../app.js').App} app
 * @param {import('../today.js').Today} model
 */
export function sidePanel(app, model) {
  const queue = queueView(app);
  const today = todayView(app, model);
  const count = badge();
  const toggleWords = h('span', { class: 'visually-hidden' });
  const toggle = h(
    'button',
    { type: 'button', class: 'control', 'aria-controls': 'panel', onclick: () => setOpen(!open, true) },
    icon('people'),
    h('span', { class: 'control-words' }, t('visit.people'), toggleWords),
    count.element,
  );
  const closeButton = h('button', { type: 'button', class: 'icon-button', 'aria-label': t('app.close'), onclick: () => setOpen(false, true) }, icon('close'));
  const end = h(
    'button',
    {
      type: 'button',
      class: 'button danger-quiet',
      onclick: () => askToEnd(app),
    },
    t('visit.end'),
  );
  const element = h(
    'section',
    {
      class: 'panel',
      id: 'panel',
      'aria-label': t('visit.people'),
      onkeydown: (event) => {
        if (event.key === 'Escape') setOpen(false, true);
      },
    },
    h('div', { class: 'panel-head' }, closeButton),
    queue.element,
    today.element,
    end,
  );
  let open = true;
  // Opens by itself while there is nobody to look at, and gives way on a phone once somebody is there.
  let wasAlone = true;
  const narrow = matchMedia('(max-width: 60rem)');
  setOpen(true, false);

  /**
   * @param {boolean} next
   * @param {boolean} byPerson
   */
  function setOpen(next, byPerson) {
    open = next;
    show(element, open);
    setAttribute(toggle, 'aria-expanded', String(open));
    if (byPerson) (open ? closeButton : toggle).focus();
  }

  return {
    element,
    toggle,
    /**
     * @param {import('../../types/app.d.ts').Room} room
     * @param {boolean} isAlone
     */
    update(room, isAlone) {
      queue.update(room);
      today.update();
      const waiting = room.visit.queue.length;
      count.update(waiting);
      setText(toggleWords, waiting > 0 ? t('visit.people_waiting', { count: waiting }) : '');
      if (isAlone !== wasAlone) {
        wasAlone = isAlone;
        // On a phone it would hide who has just left, so there it opens for somebody who waits only.
        if (isAlone) setOpen(!narrow.matches || waiting > 0, false);
        else if (narrow.matches) setOpen(false, false);
      }
    },
    destroy() {
      queue.destroy();
    },
  };
}
