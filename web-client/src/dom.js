// @ts-check
/**
 * Building elements without markup strings: nothing a person typed can become an element, and no Trusted Types policy is needed.
 *
 * @typedef {Node | string | null | undefined | false} Child
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Props
 */

/**
 * `h('button', {class: 'primary', onclick: go, 'data-test': 'join-button'}, 'Join')`
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Props} [props] attributes; `on…` are listeners, `true` is an empty attribute, `null` and `false` are none
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

/**
 * An icon of `icons/`, drawn by `styles/icons.css` as a mask in the colour of the text. Always beside or under a name in words.
 * @param {string} name
 */
export function icon(name) {
  return h('span', { class: `icon icon-${name}`, 'aria-hidden': 'true' });
}

/**
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {HTMLElement} element
 * @param {boolean} shown
 */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string | null} value
 */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Makes a list's children those of `items`, keeping the element of an item that stays (and with it focus and playing media).
 *
 * @template T
 * @param {HTMLElement} list
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => {element: HTMLElement, update(item: T): void}} create
 * @param {Map<string, {element: HTMLElement, update(item: T): void}>} drawn what was drawn the last time; belongs to the caller
 */
export function each(list, items, key, create, drawn) {
  const keys = new Set(items.map(key));
  for (const [k, { element }] of drawn) {
    if (!keys.has(k)) {
      element.remove();
      drawn.delete(k);
    }
  }
  items.forEach((item, index) => {
    const k = key(item);
    let view = drawn.get(k);
    if (!view) {
      view = create(item);
      drawn.set(k, view);
    }
    view.update(item);
    if (list.children[index] !== view.element) list.insertBefore(view.element, list.children[index] ?? null);
  });
}

/**
 * Copies, or where the browser does not let us, selects the text for the person to copy.
 * @param {string} text
 * @param {HTMLInputElement | null} input
 * @param {HTMLElement} button
 * @param {string} done
 */
export async function copyText(text, input, button, done) {
  try {
    await navigator.clipboard.writeText(text);
    setText(button, done);
  } catch {
    input?.focus();
    input?.select();
  }
}
