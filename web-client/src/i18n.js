// @ts-check
/**
 * Words. A catalogue is a flat object from keys to texts with `{placeholders}`; a text that depends on a number is an object of
 * plural forms. `en` is complete by definition, and a test holds the others to the same keys.
 */

import en from '../locales/en.js';

/**
 * @typedef {keyof typeof en} Key
 * @typedef {string | {one: string, other: string}} Text
 * @typedef {Record<Key, Text>} Catalogue
 */

/** Language tags with a catalogue, and what they call themselves. */
export const languages = /** @type {const} */ ({ en: 'English', es: 'Español' });

const RTL = new Set(['ar', 'fa', 'he', 'ur']);
const STORED = 'housecall.language';

/** @type {Catalogue} */
let catalogue = en;
/** @type {keyof typeof languages} */
let language = 'en';
/** For dates and numbers: the visitor's own variant of the language, e.g. `es-MX`. */
let regional = 'en';

/**
 * Picks the language and loads its catalogue.
 * @param {Document} document
 */
export async function load(document) {
  const wishes = [stored(), ...(navigator.languages ?? [])].filter((wish) => wish !== null);
  language = pick(wishes);
  regional = wishes.find((wish) => primary(wish) === language) ?? language;
  if (language !== 'en') catalogue = (await import(`../locales/${language}.js`)).default;
  document.documentElement.lang = language;
  document.documentElement.dir = RTL.has(language) ? 'rtl' : 'ltr';
}

/**
 * The first wish that has a catalogue.
 * @param {string[]} wishes
 * @returns {keyof typeof languages}
 */
export function pick(wishes) {
  for (const wish of wishes) {
    const tag = primary(wish);
    if (tag in languages) return /** @type {keyof typeof languages} */ (tag);
  }
  return 'en';
}

/**
 * @param {Key} key
 * @param {Record<string, string | number>} [params] `count` chooses the plural form
 */
export function t(key, params = {}) {
  return fill(catalogue[key] ?? en[key], params, language);
}

/**
 * @param {Text} text
 * @param {Record<string, string | number>} params
 * @param {string} tag
 */
export function fill(text, params, tag) {
  const form = typeof text === 'string' ? text : new Intl.PluralRules(tag).select(Number(params.count)) === 'one' ? text.one : text.other;
  return form.replace(/\{(\w+)\}/g, (whole, name) => String(params[name] ?? whole));
}

/** The language in use, and the tag for dates and numbers. */
export function current() {
  return { language, regional };
}

/** @param {keyof typeof languages} tag */
export function remember(tag) {
  try {
    localStorage.setItem(STORED, tag);
  } catch {
    // Storage may be forbidden; the browser's language stays.
  }
}

function stored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

/** @param {string} tag */
function primary(tag) {
  return tag.toLowerCase().split('-')[0] ?? '';
}
