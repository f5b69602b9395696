// @ts-check
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';
import en from '../../locales/en.js';
import { fill, languages, pick } from '../../src/i18n.js';
import { clock, duration, visitTimes, whenFrom } from '../../src/time.js';
import { tokenInHash, tokenOf } from '../../src/token.js';
import { whoWaits } from '../../src/views/today.js';
import { presenceText } from '../../src/views/waiting.js';
import { initials } from '../../src/views/avatar.js';

const LOCALES = new URL('../../locales/', import.meta.url);
const SRC = new URL('../../src/', import.meta.url);

/** @param {import('../../src/i18n.js').Text} text */
const forms = (text) => (typeof text === 'string' ? [text] : Object.values(text));
/** @param {import('../../src/i18n.js').Text} text */
const holes = (text) => new Set(forms(text).flatMap((form) => form.match(/\{\w+\}/g) ?? []));

test('every language has a catalogue and every catalogue a language', async () => {
  const files = (await readdir(LOCALES)).map((name) => name.replace('.js', '')).sort();
  assert.deepEqual(files, Object.keys(languages).sort());
});

for (const tag of Object.keys(languages)) {
  test(`${tag}: the same keys and placeholders as English, nothing empty`, async () => {
    /** @type {import('../../src/i18n.js').Catalogue} */
    const catalogue = (await import(new URL(`${tag}.js`, LOCALES).href)).default;
    assert.deepEqual(Object.keys(catalogue), Object.keys(en));
    for (const [key, text] of Object.entries(catalogue)) {
      assert.ok(forms(text).every((form) => form.trim() !== ''), key);
      assert.deepEqual(holes(text), holes(/** @type {any} */ (en)[key]), key);
      assert.equal(typeof text, typeof (/** @type {any} */ (en)[key]), key);
    }
  });
}

test('every text is used somewhere', async () => {
  let code = '';
  for (const entry of await readdir(SRC, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) code += await readFile(`${entry.parentPath}/${entry.name}`, 'utf8');
  }
  // Keys that are put together from a word of the protocol.
  const composed = [/^(quality|weak|status|error|problem)\./, /^waiting\.(not_started|with_another_patient|ready)$/, /^device\.(denied|missing|busy|insecure)/, /^announce\.(microphone|camera)_/];
  const unused = Object.keys(en).filter((key) => !code.includes(`'${key}'`) && !composed.some((pattern) => pattern.test(key)));
  assert.deepEqual(unused, []);
});

test('texts are filled in, with the plural form of the language', () => {
  assert.equal(fill('a {x} {y}', { x: 1 }, 'en'), 'a 1 {y}');
  assert.equal(fill({ one: 'one', other: '{count} of them' }, { count: 1 }, 'en'), 'one');
  assert.equal(fill({ one: 'one', other: '{count} of them' }, { count: 3 }, 'en'), '3 of them');
  assert.equal(fill('{name}', { name: '$& {x}' }, 'en'), '$& {x}');
});

test('the first wish with a catalogue wins', () => {
  assert.equal(pick(['fr-FR', 'es-MX', 'en']), 'es');
  assert.equal(pick(['EN-us']), 'en');
  assert.equal(pick(['fr']), 'en');
  assert.equal(pick([]), 'en');
});

test('a visit is told in the visitor’s time, and in the clinic’s where its clock differs', () => {
  const visit = { starts_at: '2026-11-22T09:30:00Z', ends_at: '2026-11-22T10:00:00Z', time_zone: 'Europe/Berlin' };
  const london = visitTimes(visit, 'en-GB', 'Europe/London');
  assert.match(london.day, /Sunday.*22 November/);
  assert.match(london.time, /09:30.*10:00/);
  assert.match(london.clinic?.time ?? '', /10:30.*11:00/);
  assert.equal(london.clinic?.zone, 'Berlin');
  assert.equal(visitTimes(visit, 'en-GB', 'Europe/Paris').clinic, null, 'another zone, the same clock');
  assert.match(visitTimes(visit, 'en-GB', 'Pacific/Auckland').day, /22 November/);
  assert.match(visitTimes({ ...visit, starts_at: '2026-11-22T23:30:00Z' }, 'en-GB', 'Pacific/Auckland').day, /Monday.*23 November/);
});

test('lengths of time at a glance', () => {
  const table = /** @type {const} */ ([
    [-3, '0 sec'],
    [42.9, '42 sec'],
    [60, '1 min'],
    [3_599, '59 min'],
    [3_600, '1 hr'],
    [3_900, '1 hr 5 min'],
  ]);
  for (const [seconds, words] of table) assert.equal(duration(seconds, 'en-US'), words);
});

test('a token is what follows the #, and nothing else will do', () => {
  assert.equal(tokenOf('https://clinic.example/join#abcDEF123_-x'), 'abcDEF123_-x');
  assert.equal(tokenOf('  see https://clinic.example/join#abcDEF123  '), 'abcDEF123');
  for (const text of ['', 'https://clinic.example/join', 'x#', 'x#short', 'x#has spaces in it', 'x#<script>alert(1)</script>']) {
    assert.equal(tokenOf(text), '', text);
  }
  assert.equal(tokenInHash('#abc%3D'), 'abc=');
  assert.equal(tokenInHash('#abc%'), 'abc%');
  assert.equal(tokenInHash(''), '');
});

test('initials of any name', () => {
  const table = /** @type {const} */ ([
    ['Maria Keller', 'MK'],
    ['Ana María Ruiz', 'AR'],
    ['Dr. Amira Haddad', 'AH'],
    ['Dr.', 'D'],
    ['Ōe', 'Ō'],
    ['  ', '?'],
    ['𝒜lice 𝓑ob', '𝒜𝓑'],
  ]);
  for (const [name, letters] of table) assert.equal(initials(name), letters);
});

test('no AM stands alone on a line', () => {
  const visit = { starts_at: '2026-11-22T09:30:00Z', ends_at: '2026-11-22T10:00:00Z', time_zone: 'UTC' };
  const times = [clock(visit.starts_at, 'en-US', 'UTC'), visitTimes(visit, 'en-US', 'UTC').time];
  for (const time of times) {
    assert.match(time, /AM$/);
    assert.doesNotMatch(time, /[^\u00a0\S]/, 'a space at which a line may break');
  }
});

test('a time to come has its day unless that is today', () => {
  const now = new Date('2026-11-22T20:00:00Z');
  assert.equal(whenFrom(now, '2026-11-22T22:00:00Z', 'en-GB', 'UTC'), '22:00');
  assert.match(whenFrom(now, '2026-11-23T08:00:00Z', 'en-GB', 'UTC'), /Monday.*23 November, 0?8:00/);
  assert.equal(whenFrom(now, '2026-11-23T08:00:00Z', 'en-GB', 'Pacific/Auckland'), '21:00', 'today, over there');
});

test('who waits is told what holds for them', () => {
  const session = (/** @type {'patient' | 'guest'} */ role) => ({
    session: 's',
    expires_at: '',
    role,
    name: 'N',
    admitted: false,
    visit: {
      id: 'v',
      starts_at: '2026-11-22T12:00:00Z',
      ends_at: '2026-11-22T12:30:00Z',
      time_zone: 'UTC',
      clinic_name: 'C',
      clinician_name: 'Dr. A',
      status: /** @type {const} */ ('scheduled'),
    },
  });
  const at = (/** @type {string} */ time) => new Date(`2026-11-22T${time}:00Z`);
  assert.match(presenceText(session('patient'), 'not_started', at('10:00')), /begins at .*:00/, 'two hours early');
  assert.doesNotMatch(presenceText(session('patient'), 'not_started', at('11:55')), /begins/);
  assert.doesNotMatch(presenceText(session('patient'), 'ready', at('10:00')), /begins/, 'the clinician is early too');
  assert.match(presenceText(session('patient'), 'with_another_patient', at('12:00')), /another patient/);
  assert.doesNotMatch(presenceText(session('guest'), 'with_another_patient', at('12:00')), /another patient/, 'it may be the very one they come for');
});

test('of the visit that is open here the page knows more than the list', () => {
  const row = { visit: 'v1', starts_at: '', ends_at: '', patient_name: null, status: /** @type {const} */ ('scheduled'), waiting: 0, longest_wait_seconds: null };
  const waits = (/** @type {number} */ waiting_seconds) => ({ participant: 'p', name: 'N', role: /** @type {const} */ ('patient'), waiting_seconds, connected: true });
  const page = /** @type {any} */ ({
    name: 'lobby',
    session: { visit: { id: 'v1' } },
    room: { at: performance.now(), visit: { you: { place: 'admitted' }, clinician: 'ready', participants: [], queue: [waits(30), waits(90)] } },
  });
  const { waiting, seconds } = whoWaits(page, row);
  assert.equal(waiting, 2);
  assert.ok(seconds >= 90 && seconds < 100, `${seconds}`);
  assert.deepEqual(whoWaits(page, { ...row, visit: 'v2', waiting: 1, longest_wait_seconds: 7 }), { waiting: 1, seconds: 7 }, 'of others only the list knows');
});
