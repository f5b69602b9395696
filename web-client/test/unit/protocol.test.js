// @ts-check
/**
 * The golden messages of the server's protocol, read by the client's own code: every kind the server can say moves the page or is
 * handled by the call, and every kind the client says has a golden of the same shape.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

const GOLDEN = new URL('../../../signaling/golden/', import.meta.url);

/** @returns {Array<{file: string, message: any}>} */
function goldens() {
  return readdirSync(GOLDEN, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.json'))
    .flatMap((entry) => {
      const file = `${entry.parentPath}/${entry.name}`;
      const value = JSON.parse(readFileSync(file, 'utf8'));
      return (Array.isArray(value) ? value : [value]).map((message) => ({ file, message }));
    });
}

/** What the client makes use of, by the kinds of the messages. */
const CLIENT = { hello: ['session'], offer: ['id', 'sdp'], subscribe: ['mid', 'track'], target: ['mid', 'target'], muted: ['microphone', 'camera'], admit: ['participant'], decline: ['participant', 'reason'], leave: ['keep_place'], end_visit: [], ping: ['id'] };
const SERVER = { welcome: ['you', 'role', 'resume', 'resumed', 'ice_servers'], state: ['you', 'clinician', 'participants', 'queue'], answer: ['id', 'sdp', 'slots'], offer_refused: ['id'], quality: ['mid', 'target', 'sending'], picture_at_risk: ['mid', 'over'], uplink: ['mid', 'layers', 'carries'], connection_lost: [], ended: ['reason', 'message'], error: ['code', 'message'], pong: ['id'] };

test('the golden messages are those the client knows, with the fields it reads', { skip: !existsSync(GOLDEN) && 'no golden messages here yet' }, () => {
  /** @type {Record<string, string[]>} */
  const known = { ...CLIENT, ...SERVER };
  const seen = new Set();
  for (const { file, message } of goldens()) {
    const fields = known[message.type];
    assert.ok(fields, `${file}: the client does not know "${message.type}"`);
    for (const field of fields) assert.ok(field in message, `${file}: "${field}" is missing`);
    seen.add(message.type);
  }
  assert.deepEqual([...Object.keys(known)].filter((kind) => !seen.has(kind)), [], 'kinds without a golden message');
});
