// @ts-check
/** The waiting room: one's place, the clinician's state in plain words, one's own picture. Also shown while joining. */

import { h, icon, setAttribute, setText, show } from '../dom.js';
import { t } from '../i18n.js';
import { linkBanner } from './banner.js';
import { deviceNotice } from './devices.js';
import { frame, heading } from './frame.js';
import { selfPicture } from './self.js';
import { shortcuts, toggleButtons } from './toggles.js';

/**
 * @param {import('../app.js').App} app
 * @param {import('../../types/app.d.ts').Session} session
 */
export function waitingView(app, session) {
  const clinician = session.visit.clinician_name;
  const self = selfPicture(app);
  const toggles = toggleButtons(app, 'preview');
  const banner = linkBanner(app);
  const notice = deviceNotice(app);
  const unbind = shortcuts(app);
  const position = h('p', { class: 'position' });
  const presence = h('p', { class: 'presence' });
  const presenceWords = h('span');
  presence.append(h('span', { class: 'pulse', 'aria-hidden': 'true' }), presenceWords);
  const leave = h(
    'button',
    { type: 'button', class: 'button quiet', onclick: () => app.dispatch({ type: 'leave_pressed' }) },
    icon('leave'),
    t('waiting.leave'),
  );
  const card = h(
    'section',
    { class: 'card waiting-card' },
    heading(t('waiting.title')),
    position,
    presence,
    h('p', { class: 'hint' }, t('waiting.hint')),
    notice.element,
    leave,
  );
  const { element, main } = frame(session.visit.clinic_name, [
    h('div', { class: 'waiting' }, card, h('div', { class: 'preview-stage' }, self.element, toggles.element)),
  ]);
  main.prepend(banner.element);

  return {
    element,
    title: t('waiting.title'),
    update() {
      const { page } = app.state;
      self.update();
      toggles.update();
      banner.update();
      notice.update();
      const visit = page.name === 'waiting' ? page.room.visit : null;
      setAttribute(card, 'data-test', visit ? 'waiting' : null);
      const place = visit?.you.place === 'waiting' ? visit.you.position : null;
      setText(
        position,
        place === null ? t('waiting.connecting') : place <= 1 ? t('waiting.next') : t('waiting.position', { count: place - 1 }),
      );
      show(presence, visit !== null);
      if (visit) {
        setText(presenceWords, t(`waiting.${visit.clinician}`, { clinician }));
        presence.dataset.presence = visit.clinician;
      }
    },
    destroy() {
      self.destroy();
      banner.destroy();
      unbind();
    },
  };
}
