// @ts-check
/**
 * The operator's page: the visits that were measured, and one of them at a glance. The token stays behind the # of the address;
 * the visit stands before it. No name is shown here, and none is sent.
 *
 * @typedef {import('../../types/ops.d.ts').QualityRecord} QualityRecord
 * @typedef {import('../../types/ops.d.ts').VisitLine} VisitLine
 * @typedef {import('../../types/ops.d.ts').Leg} Leg
 */

import { h } from '../dom.js';
import { tokenInHash } from '../token.js';
import { sentence, timeline } from './timeline.js';
import { clock, culpritSentence, culpritWord, grade, gradeWord, milliseconds, pathWord, percent, reasonWord, rungWord, score, stages, summary } from './words.js';

const root = /** @type {HTMLElement} */ (document.getElementById('ops'));

class Refused extends Error {}

void open();
addEventListener('hashchange', () => location.reload());

async function open() {
  const visit = new URLSearchParams(location.search).get('visit');
  try {
    if (tokenInHash(location.hash) === '') throw new Refused('This page needs an operator’s token behind a # in its address. On the server: housecall ops token');
    if (visit) show(visitView(visit, (await ask(`/ops/visits/${encodeURIComponent(visit)}/quality`)).participants));
    else show(listView((await ask('/ops/visits')).visits));
  } catch (error) {
    const text = error instanceof Refused ? error.message : 'The server does not answer. Reload in a moment.';
    show(h('section', { class: 'card message' }, h('h1', { tabindex: '-1' }, 'Visit quality'), h('p', { role: 'alert' }, text)));
  }
}

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
async function ask(path) {
  const response = await fetch(path, { headers: { authorization: `Bearer ${tokenInHash(location.hash)}` } });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) throw new Refused('This token is not known, or its time is over. On the server: housecall ops token');
  if (response.status === 404) throw new Refused('No quality record is kept of this visit.');
  throw new Refused(problem.detail ?? `The server refused (${response.status}).`);
}

/** @param {HTMLElement} view */
function show(view) {
  root.replaceChildren(h('main', { class: 'page-main ops' }, view));
}

/** @param {VisitLine[]} visits */
function listView(visits) {
  if (visits.length === 0) {
    return h('section', { class: 'card message' }, h('h1', {}, 'Visit quality'), h('p', {}, 'No visit has been measured yet. A record is stored when somebody leaves, and every five minutes.'));
  }
  const rows = visits.map((line) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, h('a', { href: `?visit=${line.visit}${location.hash}`, 'data-test': 'visit' }, when(line.started_at))),
      h('td', {}, clock((Date.parse(line.updated_at) - Date.parse(line.started_at)) / 1_000)),
      h('td', {}, String(line.participants)),
      h('td', {}, line.culprit ? h('span', { class: 'chip chip-poor' }, culpritWord(line.culprit)) : 'no trouble'),
    ),
  );
  return h(
    'section',
    { class: 'card' },
    h('h1', {}, 'Visit quality'),
    h(
      'div',
      { class: 'scroll' },
      h(
        'table',
        { class: 'visits' },
        h('thead', {}, h('tr', {}, ...['Began', 'Length', 'People', 'Trouble'].map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, ...rows),
      ),
    ),
  );
}

/**
 * @param {string} visit
 * @param {QualityRecord[]} records
 */
function visitView(visit, records) {
  const first = records.map((record) => record.started_at).sort()[0] ?? '';
  return h(
    'div',
    { class: 'visit-quality' },
    h('p', {}, h('a', { href: `/ops${location.hash}` }, '← All visits')),
    h('header', {}, h('h1', {}, `Visit of ${when(first)}`), h('p', { class: 'fine' }, visit)),
    ...records.map(recordView),
    legend(),
  );
}

/** @param {QualityRecord} record */
function recordView(record) {
  const role = { patient: 'Patient', clinician: 'Clinician', guest: 'Guest' }[record.role];
  const worst = [record.up.mos, record.down.mos, record.heard_mos].filter((mos) => mos !== null);
  const mos = worst.length > 0 ? Math.min(.../** @type {number[]} */ (worst)) : null;
  const { chart, end } = timeline(record);
  const now = h('p', { class: 'at', 'aria-hidden': 'true' }, summary(record));
  chart.addEventListener('pointermove', (event) => {
    const at = (/** @type {PointerEvent} */ (event).offsetX / chart.clientWidth) * end;
    const sample = record.samples.find((known) => known.at >= at);
    now.textContent = sample ? sentence(sample) : summary(record);
  });
  chart.addEventListener('pointerleave', () => {
    now.textContent = summary(record);
  });
  return h(
    'section',
    { class: 'card record', 'data-test': `record-${record.role}` },
    h(
      'header',
      { class: 'record-head' },
      h('h2', {}, role),
      h('span', { class: `chip chip-${grade(mos)}`, 'data-test': 'grade' }, `${gradeWord(mos)}${mos === null ? '' : ` · speech ${score(mos)} of 4.5`}`),
      h('span', { class: 'fine' }, `${clock(record.seconds)}${record.ended ? '' : ' so far'} · ${record.paths.map(({ path }) => pathWord(path)).join(', then ') || 'no media path'}${record.via === 'socket' ? '' : ` · ${record.via.toUpperCase()}`}`),
    ),
    h('p', { class: 'culprit' }, culpritSentence(record.culprit)),
    h(
      'div',
      { class: 'chart' },
      h('div', { class: 'chart-names', 'aria-hidden': 'true' }, ...['Picture', 'Speech', 'Trouble'].map((name) => h('span', {}, name))),
      chart,
      h('div', { class: 'chart-axis', 'aria-hidden': 'true' }, ...[0, 0.25, 0.5, 0.75, 1].map((share) => h('span', {}, clock(end * share)))),
    ),
    now,
    joinView(record),
    legsView(record),
    movesView(record),
  );
}

/** @param {QualityRecord} record */
function joinView(record) {
  const reached = stages(record.join);
  if (reached.length === 0) return null;
  return h(
    'div',
    { class: 'stages' },
    h('h3', {}, 'Joining'),
    h('ol', {}, ...reached.map(({ stage, ms }) => h('li', {}, h('span', {}, stage), h('b', {}, ms < 10_000 ? `${ms} ms` : clock(ms / 1_000))))),
  );
}

/** @param {QualityRecord} record */
function legsView(record) {
  /** @type {Array<[string, (leg: Leg) => string]>} */
  const rows = [
    ['Speech score', (leg) => (leg.mos === null ? '–' : `${score(leg.mos)} (lowest ${score(leg.mos_low)})`)],
    ['Audio lost', (leg) => percent(leg.audio_loss)],
    ['Packets lost, before repair', (leg) => (leg.packets === 0 ? '–' : percent(leg.loss))],
    ['Jitter', (leg) => milliseconds(leg.jitter_ms)],
    ['Round trip', (leg) => milliseconds(leg.rtt_ms)],
    ['Longest queue', (leg) => milliseconds(leg.queue_ms)],
  ];
  const { picture } = record;
  return h(
    'div',
    { class: 'legs scroll' },
    h('h3', {}, 'Line'),
    h(
      'table',
      {},
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, ''), h('th', { scope: 'col' }, 'To the server'), h('th', { scope: 'col' }, 'From the server'))),
      h('tbody', {}, ...rows.map(([name, value]) => h('tr', {}, h('th', { scope: 'row' }, name), h('td', {}, value(record.up)), h('td', {}, value(record.down))))),
    ),
    h(
      'p',
      { class: 'fine' },
      `As heard: ${score(record.heard_mos)}. Picture: ${clock(picture.play_seconds)} shown, ${picture.freezes} freezes (${picture.freeze_seconds.toFixed(1)} s), ${picture.dropped} of ${picture.frames} frames dropped.`,
    ),
  );
}

/** @param {QualityRecord} record */
function movesView(record) {
  const count = record.moves.length + record.moves_left_out;
  if (count === 0) return null;
  const rows = record.moves.map((move) =>
    h(
      'tr',
      {},
      h('td', {}, clock(move.at)),
      h('td', {}, `${move.direction === 'down' ? 'sent to them' : 'sent by them'}: ${rungWord(move.from)} → ${rungWord(move.to)}`),
      h('td', {}, reasonWord(move.reason)),
      h('td', {}, [move.estimate_kbps === null ? null : `${move.estimate_kbps} kbit/s`, `queue ${Math.round(move.queue_ms)} ms`, `loss ${percent(move.loss)}`, move.rtt_ms === null ? null : `round trip ${Math.round(move.rtt_ms)} ms`].filter(Boolean).join(', ')),
    ),
  );
  const head = h('thead', {}, h('tr', {}, ...['At', 'Change', 'Because', 'What was known'].map((name) => h('th', { scope: 'col' }, name))));
  return h('details', { class: 'moves' }, h('summary', {}, `${count} ${count === 1 ? 'change' : 'changes'} of the picture`), h('div', { class: 'scroll' }, h('table', {}, head, h('tbody', {}, ...rows))));
}

function legend() {
  return h(
    'p',
    { class: 'fine' },
    'Picture: a full band is 720p, lower ones are 480p and sound only; a mark at the foot is a freeze. Speech: 4 and more is good, below 3.6 people complain. Trouble: upper row, a line to the server; middle row, a line from it; lower row, the server.',
  );
}

/** @param {string} instant */
function when(instant) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(instant));
}
