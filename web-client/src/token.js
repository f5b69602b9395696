// @ts-check
/**
 * The secret of a join link is its fragment: browsers never send that to a server, so it is in no log and no Referer.
 * The page leaves it in the address bar: a reload, a restored tab or "add to home screen" must lead back into the visit.
 */

/**
 * The token in something a person pasted; empty if there is none.
 * @param {string} text
 */
export function tokenOf(text) {
  const at = text.indexOf('#');
  if (at < 0) return '';
  const token = text.slice(at + 1).trim();
  return /^[\w.~=+/-]{8,4096}$/u.test(token) ? token : '';
}

/**
 * The token in the address bar, whatever it looks like: the server judges it.
 * @param {string} hash
 */
export function tokenInHash(hash) {
  const raw = hash.replace(/^#/, '');
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw;
  }
}
