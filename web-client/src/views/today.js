// @ts-check
/** The clinician's appointments of today; opening, creating and cancelling them. */

import { copyText, each, h, icon, setText, show } from '../dom.js';
import { current, t } from '../i18n.js';
import { clock, duration, ownZone } from '../time.js';
import { confirmDialog, openDialog } from './dialog.js';

/** @typedef {import('../../types/app.d.ts').TodayRow} TodayRow */

/**
 * @param {import('../app.js').App} app
 * @param {import('../today.js').Today} today
 */
export function todayView(app, today) {
  const list = h('ul', { class: 'today-list' });
  const empty = h('p', { class: 'empty' });
  const stale = h(
    'div',
    { class: 'notice', role: 'status' },
    h('p', {}, t('today.stale')),
    h('button', { type: 'button', class: 'button quiet', onclick: () => void today.refresh() }, t('today.refresh')),
  );
  const element = h(
    'section',
    { class: 'today', 'aria-label': t('today.title') },
    h(
      'div',
      { class: 'section-head' },
      h('h2', { class: 'section-title' }, t('today.title')),
      h('button', { type: 'button', class: 'button quiet', onclick: () => newAppointment(today) }, icon('plus'), t('today.new')),
    ),
    stale,
    empty,
    list,
  );
  /** @type {Map<string, {element: HTMLElement, update(item: TodayRow): void}>} */
  const drawn = new Map();

  /** @param {TodayRow} first */
  function row(first) {
    const name = first.patient_name ?? t('today.no_name');
    const time = clock(first.starts_at, current().regional, ownZone());
    const status = h('span', { class: 'status' });
    const waiting = h('span', { class: 'today-waiting' });
    const open = h(
      'button',
      { type: 'button', class: 'button quiet', 'aria-label': t('today.open_name', { name, time }), onclick: () => void app.openVisit(first.visit) },
      t('today.open'),
    );
    const cancel = h(
      'button',
      {
        type: 'button',
        class: 'button plain',
        'aria-label': t('today.cancel_name', { name, time }),
        onclick: () =>
          confirmDialog({
            title: t('today.cancel_title'),
            text: t('today.cancel_text', { name, time }),
            yes: t('today.cancel_do'),
            no: t('today.cancel_keep'),
            onYes: () => void today.cancel(first.visit).catch(() => app.say('error.cancel')),
          }),
      },
      t('today.cancel'),
    );
    const here = h('span', { class: 'today-here' }, t('today.this'));
    const line = h(
      'li',
      { class: 'today-row' },
      h('span', { class: 'today-time' }, time),
      h('span', { class: 'today-who' }, h('span', { class: 'today-name' }, name), h('span', { class: 'today-detail' }, status, waiting)),
      h('span', { class: 'today-actions' }, here, open, cancel),
    );
    return {
      element: line,
      /** @param {TodayRow} r */
      update(r) {
        const { page } = app.state;
        const isHere = 'room' in page && page.session.visit.id === r.visit;
        const over = r.status === 'ended' || r.status === 'cancelled';
        const { waiting: count, seconds } = whoWaits(page, r);
        const past = r.status === 'scheduled' && Date.parse(r.ends_at) < Date.now();
        setText(status, t(past ? 'status.past' : `status.${r.status}`));
        status.dataset.status = r.status;
        // Somebody who waits says more than a plan, and not the opposite of it.
        show(status, r.status !== 'scheduled' || count === 0);
        setText(waiting, count > 0 && !over ? t('today.waiting', { count, time: duration(seconds, current().regional) }) : '');
        line.classList.toggle('here', isHere);
        line.classList.toggle('over', over);
        show(here, isHere && !over);
        show(open, !isHere && !over);
        show(cancel, r.status === 'scheduled');
      },
    };
  }

  return {
    element,
    update() {
      const rows = today.rows ?? [];
      each(list, rows, (r) => `${r.visit} ${r.patient_name ?? ''}`, row, drawn);
      show(list, rows.length > 0);
      show(empty, rows.length === 0 && !(today.stale && today.rows === null));
      setText(empty, t(today.rows === null ? 'today.loading' : 'today.empty'));
      show(stale, today.stale);
    },
  };
}

/**
 * The list is some seconds old; of the visit that is open here, the page knows better.
 * @param {import('../../types/app.d.ts').Page} page
 * @param {TodayRow} row
 */
export function whoWaits(page, row) {
  const room = 'room' in page && page.session.visit.id === row.visit ? page.room : null;
  if (!room) return { waiting: row.waiting, seconds: row.longest_wait_seconds ?? 0 };
  const waits = room.visit.queue.map((w) => w.waiting_seconds);
  return { waiting: waits.length, seconds: waits.length === 0 ? 0 : Math.max(...waits) + (performance.now() - room.at) / 1_000 };
}

/** @param {import('../today.js').Today} today */
function newAppointment(today) {
  const name = h('input', { name: 'name', required: true, maxlength: 120, autocomplete: 'off' });
  const starts = h('input', { type: 'datetime-local', name: 'starts', required: true, value: nextQuarter(new Date()) });
  const minutes = h('input', { type: 'number', name: 'minutes', required: true, min: 5, max: 240, step: 5, value: 30, inputmode: 'numeric' });
  const trouble = h('p', { class: 'trouble', role: 'alert' });
  show(trouble, false);
  const submit = h('button', { type: 'submit', class: 'button primary' }, t('today.new_create'));
  const form = h(
    'form',
    {
      class: 'form',
      onsubmit: async (event) => {
        event.preventDefault();
        submit.disabled = true;
        try {
          const created = await today.create({
            patient_name: name.value.trim(),
            starts_at: new Date(starts.value).toISOString(),
            minutes: Number(minutes.value),
          });
          close();
          showLink(name.value.trim(), new URL(created.patient_link, location.origin).href);
        } catch {
          setText(trouble, t('error.create'));
          show(trouble, true);
        } finally {
          submit.disabled = false;
        }
      },
    },
    field(t('today.new_name'), name),
    h('div', { class: 'field-row' }, field(t('today.new_start'), starts), field(t('today.new_minutes'), minutes)),
    trouble,
    h(
      'div',
      { class: 'actions' },
      h('button', { type: 'button', class: 'button quiet', onclick: () => close() }, t('app.cancel')),
      submit,
    ),
  );
  const { close } = openDialog(t('today.new'), [form]);
  name.focus();
}

/**
 * @param {string} name
 * @param {string} link
 */
function showLink(name, link) {
  const text = h('input', { readonly: true, value: link, 'aria-label': t('today.created', { name }), onfocus: () => text.select() });
  const copy = h('button', { type: 'button', class: 'button primary', onclick: () => void copyText(link, text, copy, t('today.copied')) }, t('today.copy'));
  const { close } = openDialog(t('today.created', { name }), [
    h('p', {}, t('today.created_text')),
    h('div', { class: 'copy-row' }, text, copy),
    h('div', { class: 'actions' }, h('button', { type: 'button', class: 'button quiet', onclick: () => close() }, t('today.done'))),
  ]);
  copy.focus();
}

/**
 * @param {string} label
 * @param {HTMLElement} input
 */
function field(label, input) {
  return h('label', { class: 'field' }, h('span', {}, label), input);
}

/**
 * The next quarter of an hour, as `datetime-local` wants it: in the visitor's own zone, without one.
 * @param {Date} now
 */
export function nextQuarter(now) {
  const at = new Date(Math.ceil(now.getTime() / 900_000) * 900_000);
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}`;
}
