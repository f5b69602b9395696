// @ts-check
/**
 * One participant's visit as three bands over one time axis: the picture, the speech, the trouble. Shapes carry what colours say:
 * a band is as high as it is good, so that it reads without colour too.
 *
 * @typedef {import('../../types/ops.d.ts').QualityRecord} QualityRecord
 * @typedef {import('../../types/ops.d.ts').Sample} Sample
 */

import { clock, culpritWord, grade, percent, rungWord, score, summary } from './words.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 1_000;
const BAND = 56;
const GAP = 10;
/** @type {Record<string, number>} */
const HEIGHT = { p720: 1, p480: 0.62, audio_only: 0.2 };

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children
 */
function s(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/** @param {QualityRecord} record */
export function timeline(record) {
  const end = Math.max(record.seconds, record.samples.at(-1)?.at ?? 0, 1);
  const x = (/** @type {number} */ at) => (Math.min(at, end) / end) * WIDTH;
  const first = 0;
  const second = BAND + GAP;
  const third = 2 * (BAND + GAP);
  const height = 3 * BAND + 2 * GAP;
  const picture = s('g', {});
  const speech = s('g', {});
  const trouble = s('g', {});
  for (const [top, name] of /** @type {const} */ ([[first, 'picture'], [second, 'speech'], [third, 'trouble']])) {
    picture.append(s('rect', { class: `band band-${name}`, x: 0, y: top, width: WIDTH, height: BAND }));
  }
  for (const sample of record.samples) {
    const from = x(sample.at - sample.span);
    const width = Math.max(1, x(sample.at) - from);
    if (sample.rung) {
      const tall = BAND * (HEIGHT[sample.rung] ?? 1);
      picture.append(s('rect', { class: `rung rung-${sample.rung}`, x: from, y: first + BAND - tall, width, height: tall }));
    }
    const low = lowest(sample);
    if (low !== null) {
      const tall = Math.max(3, (BAND * (low - 1)) / 3.5);
      speech.append(s('rect', { class: `speech speech-${grade(low)}`, x: from, y: second + BAND - tall, width, height: tall }));
    }
    if (sample.culprit) {
      const place = sample.culprit === 'server' ? 2 : sample.culprit.endsWith('_uplink') ? 0 : 1;
      trouble.append(s('rect', { class: 'trouble', x: from, y: third + (place * BAND) / 3 + 1, width, height: BAND / 3 - 2 }));
    }
    if (sample.frozen > 0) trouble.append(s('rect', { class: 'frozen', x: from, y: first + BAND - 4, width, height: 4 }));
  }
  for (const move of record.moves) {
    if (move.direction === 'down') picture.append(s('line', { class: 'move', x1: x(move.at), x2: x(move.at), y1: first, y2: first + BAND }));
  }
  const chart = s(
    'svg',
    { class: 'timeline', viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': summary(record) },
    picture,
    speech,
    trouble,
  );
  return { chart, end };
}

/**
 * Both ways count: what was said has to arrive, too.
 * @param {Sample} sample
 */
export function lowest(sample) {
  const scores = [sample.up_mos, sample.down_mos].filter((mos) => mos !== undefined);
  return scores.length > 0 ? Math.min(.../** @type {number[]} */ (scores)) : null;
}

/**
 * A sample in words, for the line under the chart.
 * @param {Sample} sample
 */
export function sentence(sample) {
  const parts = [clock(Math.max(0, sample.at - sample.span)), sample.rung ? rungWord(sample.rung) : 'no picture'];
  const low = lowest(sample);
  if (low !== null) parts.push(`speech ${score(low)}`);
  if (sample.estimate_kbps !== undefined) parts.push(`${sample.estimate_kbps} kbit/s`);
  if (sample.up_loss > 0 || sample.down_loss > 0) parts.push(`lost ${percent(sample.up_loss)} up, ${percent(sample.down_loss)} down`);
  if (sample.queue_ms >= 1) parts.push(`queue ${Math.round(sample.queue_ms)} ms`);
  if (sample.frozen > 0) parts.push(`frozen ${sample.frozen.toFixed(1)} s`);
  if (sample.culprit) parts.push(culpritWord(sample.culprit));
  return parts.join(' · ');
}
