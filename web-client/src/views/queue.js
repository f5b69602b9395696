// @ts-check
/** Who waits, for how long, and the two things to do about it. */

import { each, h, setText, show } from '../dom.js';
import { current, t } from '../i18n.js';
import { duration } from '../time.js';
import { initials } from './avatar.js';
import { lostFor, QUIET_MS } from './banner.js';
import { openDialog } from './dialog.js';

/** The server's limit on a reason. */
const REASON_LENGTH = 200;

/**
 * @typedef {import('../../types/protocol.d.ts').WaitingInfo} WaitingInfo
 * @typedef {import('../../types/app.d.ts').Room} Room
 */

/** @param {import('../app.js').App} app */
export function queueView(app) {
  const list = h('ul', { class: 'queue-list' });
  const empty = h('p', { class: 'empty' });
  const heading = h('h2', { class: 'section-title' });
  const element = h('section', { class: 'queue', 'aria-label': t('queue.title') }, heading, empty, list);
  /** @type {Map<string, {element: HTMLElement, update(item: WaitingInfo): void}>} */
  const drawn = new Map();
  /** @type {Room | null} */
  let room = null;
  const timer = setInterval(() => draw(), 1_000);

  function draw() {
    const queue = room?.visit.queue ?? [];
    each(list, queue, (w) => w.participant, row, drawn);
    show(list, queue.length > 0);
    // Without a connection nobody knows who waits by now, and nobody can be let in.
    const lost = lostFor(app) > QUIET_MS;
    show(empty, queue.length === 0 || lost);
    setText(empty, t(lost ? 'queue.stale' : room ? 'queue.empty' : 'queue.connecting'));
    setText(heading, t('queue.title'));
  }

  /** @param {WaitingInfo} first */
  function row(first) {
    const { participant, name } = first;
    const detail = h('span', { class: 'queue-detail' });
    const admit = h(
      'button',
      {
        type: 'button',
        class: 'button primary',
        'data-test': 'admit',
        'aria-label': t('queue.admit_name', { name }),
        onclick: () => app.dispatch({ type: 'admit_pressed', participant }),
      },
      t('queue.admit'),
    );
    const decline = h(
      'button',
      {
        type: 'button',
        class: 'button quiet',
        'aria-label': t('queue.decline_name', { name }),
        onclick: () => declineDialog(app, first),
      },
      t('queue.decline'),
    );
    const line = h(
      'li',
      { class: 'queue-row' },
      h('span', { class: 'avatar', 'aria-hidden': 'true' }, initials(name)),
      h('span', { class: 'queue-who' }, h('span', { class: 'queue-name' }, name), detail),
      h('span', { class: 'queue-actions' }, decline, admit),
    );
    return {
      element: line,
      /** @param {WaitingInfo} w */
      update(w) {
        const { link } = app.state;
        const since = room ? ((link.name === 'lost' ? link.since : performance.now()) - room.at) / 1_000 : 0;
        admit.disabled = decline.disabled = link.name !== 'up';
        const time = t('queue.waits', { time: duration(w.waiting_seconds + since, current().regional) });
        const parts = [w.role === 'guest' ? t('queue.guest') : null, time, w.connected ? null : t('queue.away')];
        setText(detail, parts.filter((p) => p !== null).join(' · '));
        line.classList.toggle('away', !w.connected);
      },
    };
  }

  return {
    element,
    /** @param {Room | null} next */
    update(next) {
      room = next;
      draw();
    },
    destroy() {
      clearInterval(timer);
    },
  };
}

/**
 * @param {import('../app.js').App} app
 * @param {WaitingInfo} who
 */
function declineDialog(app, { participant, name }) {
  const ready = [t('queue.reason_1'), t('queue.reason_2'), t('queue.reason_3')];
  const own = h('textarea', { rows: 3, maxlength: REASON_LENGTH, name: 'own' });
  const ownField = h('label', { class: 'field' }, h('span', {}, t('queue.reason_text')), own);
  const other = h('input', { type: 'radio', name: 'reason', value: '' });
  const choices = ready.map((reason, i) => choice(h('input', { type: 'radio', name: 'reason', value: reason, checked: i === 0 }), reason));
  const form = h(
    'form',
    {
      class: 'form',
      onchange: () => {
        show(ownField, other.checked);
        own.required = other.checked;
        if (other.checked) own.focus();
      },
      onsubmit: (event) => {
        event.preventDefault();
        const chosen = String(new FormData(form).get('reason') ?? '');
        app.dispatch({ type: 'decline_pressed', participant, reason: (chosen || own.value).trim().slice(0, REASON_LENGTH) });
        close();
      },
    },
    h('fieldset', { class: 'choices' }, h('legend', {}, t('queue.reason')), ...choices, choice(other, t('queue.reason_other'))),
    ownField,
    h(
      'div',
      { class: 'actions' },
      h('button', { type: 'button', class: 'button quiet', onclick: () => close() }, t('app.cancel')),
      h('button', { type: 'submit', class: 'button danger' }, t('queue.send_decline')),
    ),
  );
  show(ownField, false);
  const { close } = openDialog(t('queue.decline_title', { name }), [form]);
}

/**
 * @param {HTMLInputElement} input
 * @param {string} words
 */
function choice(input, words) {
  return h('label', { class: 'choice' }, input, h('span', {}, words));
}
