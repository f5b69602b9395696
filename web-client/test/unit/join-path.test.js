// @ts-check
/** What a patient's browser fetches before the join page stands: small, and all named in the page for one round trip. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join, normalize, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Bytes, compressed. On a slow phone connection (1 Mbit/s) that is four tenths of a second. */
const BUDGET = 47_100;
const read = (/** @type {string} */ path) => readFileSync(join(ROOT, path));

/**
 * A module and all it imports at once (not what it may load later).
 * @param {string} path
 * @param {Set<string>} seen
 */
function imports(path, seen = new Set()) {
  if (seen.has(path)) return seen;
  seen.add(path);
  const code = read(path).toString();
  for (const [, from] of code.matchAll(/^(?:import|export)\s[^;]*?from '([^']+)'/gm)) imports(normalize(join(dirname(path), from ?? '')), seen);
  return seen;
}

test('the page names every module the join page needs', () => {
  const named = [...read('index.html').toString().matchAll(/rel="modulepreload" href="\{\{assets\}\}\/([^"]+)"/g)].map((m) => m[1]);
  const needed = [...imports('src/main.js')].filter((path) => path !== 'src/main.js');
  assert.deepEqual(named.sort(), needed.sort());
});

test('the join path stays within its budget', () => {
  // The operator's page has a sheet of its own, and the visit's screen brings its styles along.
  const later = ['ops.css', 'stage.css', 'visit.css', 'share.css'];
  const styles = readdirSync(join(ROOT, 'styles')).filter((name) => !later.includes(name)).map((name) => `styles/${name}`);
  const icons = readdirSync(join(ROOT, 'icons')).map((name) => `icons/${name}`);
  const files = [...imports('src/main.js'), ...styles, ...icons, 'index.html'];
  const size = files.reduce((sum, path) => sum + brotliCompressSync(read(path)).length, 0);
  assert.ok(size <= BUDGET, `${size} bytes in ${files.length} files`);
});

test('nothing comes from anywhere else', () => {
  for (const path of [...imports('src/main.js'), 'index.html', ...readdirSync(join(ROOT, 'styles')).map((name) => `styles/${name}`)]) {
    assert.doesNotMatch(read(path).toString(), /(?:src|href|url|import|from)\s*[=(]?\s*['"]?(?:https?:)?\/\//, path);
  }
});
