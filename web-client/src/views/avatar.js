// @ts-check
/** Small signs: a person's initials, a count. */

import { h, setText, show } from '../dom.js';

/**
 * "Dr. Ana María Ruiz" → "AR"
 * @param {string} name
 */
export function initials(name) {
  const all = name.trim().split(/\s+/u).filter(Boolean);
  const names = all.filter((word) => !word.endsWith('.'));
  const words = names.length > 0 ? names : all;
  const first = [...(words[0] ?? '')][0] ?? '?';
  const last = words.length > 1 ? ([...(words.at(-1) ?? '')][0] ?? '') : '';
  return (first + last).toLocaleUpperCase();
}

/** A round badge with a count, e.g. of people who wait. */
export function badge() {
  const element = h('span', { class: 'badge', 'aria-hidden': 'true' });
  return {
    element,
    /** @param {number} n */
    update(n) {
      show(element, n > 0);
      setText(element, n > 99 ? '99+' : String(n));
    },
  };
}

