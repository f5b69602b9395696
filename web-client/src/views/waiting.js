// @ts-check
/** The waiting room: one's place, the clinician's state in plain words, one's own picture. Also shown while joining. */

import { h, icon, setAttribute, setText, show } from '../dom.js';
import { current, t } from '../i18n.js';
import { ownZone, whenFrom } from '../time.js';
import { linkBanner } from './banner.js';
import { deviceNotice } from './devices.js';
import { frame, heading } from './frame.js';
import { selfPicture } from './self.js';
import { shortcuts, toggleButtons } from './toggles.js';

/** Who comes more than this before the appointment is told when it is. */
const EARLY_MS = 10 * 60_000;

/**
 * @param {import('../app.js').App} app
 * @param {import('../../types/app.d.ts').Session} session
 */
export function waitingView(app, session) {
  const self = selfPicture(app);
  const toggles = toggleButtons(app, 'preview');
  let lost = false;
  const banner = linkBanner(app, (now) => {
    lost = now;
    draw();
  });
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
  const title = heading(t('announce.joining'));
  const hint = h('p', { class: 'hint' }, t('waiting.hint'));
  const card = h(
    'section',
    { class: 'card waiting-card' },
    title,
    position,
    presence,
    hint,
    notice.element,
    leave,
  );
  const { element, main } = frame(session.visit.clinic_name, [
    h('div', { class: 'waiting' }, card, h('div', { class: 'preview-stage' }, self.element, toggles.element)),
  ]);
  main.prepend(banner.element);

  function draw() {
    const { page } = app.state;
    const visit = page.name === 'waiting' ? page.room.visit : null;
    setAttribute(card, 'data-test', visit ? 'waiting' : null);
    // Before the server has said so, nobody is known to wait: clinicians, and who was let in before, go straight into the visit.
    setText(title, t(visit ? 'waiting.title' : 'announce.joining'));
    show(hint, visit !== null);
    const place = visit?.you.place === 'waiting' ? visit.you.position : null;
    setText(
      position,
      place === null
        ? t('waiting.connecting')
        : lost
          ? t('waiting.kept')
          : place <= 1
            ? t('waiting.next')
            : t('waiting.position', { count: place - 1 }),
    );
    // What was known of the clinician may be long past.
    show(presence, visit !== null && !lost);
    if (!visit) return;
    setText(presenceWords, presenceText(session, visit.clinician, new Date()));
    presence.dataset.presence = visit.clinician;
  }

  return {
    element,
    title: t('waiting.title'),
    update() {
      self.update();
      toggles.update();
      banner.update();
      notice.update();
    },
    destroy() {
      self.destroy();
      banner.destroy();
      unbind();
    },
  };
}

/**
 * Where the clinician is, for somebody who waits.
 * @param {import('../../types/app.d.ts').Session} session
 * @param {import('../../types/protocol.d.ts').ClinicianPresence} presence
 * @param {Date} now
 */
export function presenceText({ role, visit }, presence, now) {
  const clinician = visit.clinician_name;
  if (presence === 'not_started' && Date.parse(visit.starts_at) - now.getTime() > EARLY_MS) {
    return t('waiting.early', { clinician, time: whenFrom(now, visit.starts_at, current().regional, ownZone()) });
  }
  // A guest waits to join the very patient whom the clinician is with.
  if (presence === 'with_another_patient' && role === 'guest') return t('waiting.busy', { clinician });
  return t(`waiting.${presence}`, { clinician });
}
