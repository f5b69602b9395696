// @ts-check
/**
 * The client without Housecall behind it: the files as the portal serves them (hashed directory, the same CSP) and an HTTP
 * interface with canned answers. The token says which: `#patient`, `#clinician`, `#expired`, `#invalid`, `#cancelled`, `#ended`, `#gone`.
 * The WebSocket and the media are played inside the page by `browser/fake-visit.js`.
 */

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { extname, normalize } from 'node:path';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const ASSETS = '/assets/mock';
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; media-src 'self' blob:; require-trusted-types-for 'script'; trusted-types speech-worker";
/** @type {Record<string, string>} */
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.html': 'text/html; charset=utf-8' };

/** @type {Record<string, [number, string]>} */
const REFUSALS = {
  invalid: [404, 'link_invalid'],
  expired: [410, 'link_expired'],
  cancelled: [410, 'visit_cancelled'],
  ended: [410, 'visit_ended'],
  busy: [429, 'too_many_requests'],
  gone: [503, 'unavailable'],
};

/**
 * @param {number} port 0 for any
 * @returns {Promise<{origin: string, close(): void}>}
 */
export async function serve(port) {
  const server = createServer((request, response) => {
    answer(request).then(
      ({ status, type, body }) => {
        response.writeHead(status, { 'content-type': type, 'content-security-policy': CSP, 'cache-control': 'no-store' });
        response.end(body);
      },
      () => {
        response.writeHead(404);
        response.end();
      },
    );
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(undefined)));
  const address = server.address();
  if (!address || typeof address === 'string') throw new Error('no port');
  return { origin: `http://localhost:${address.port}`, close: () => server.close() };
}

/** @param {import('node:http').IncomingMessage} request */
async function answer(request) {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost');
  if (pathname.startsWith('/api/')) return api(request.method ?? 'GET', pathname, await bodyOf(request));
  if (pathname === '/' || pathname === '/join') {
    const html = await readFile(`${ROOT}/index.html`, 'utf8');
    return { status: 200, type: TYPES['.html'] ?? '', body: html.replaceAll('{{assets}}', ASSETS) };
  }
  if (!pathname.startsWith(`${ASSETS}/`)) throw new Error('not found');
  const path = normalize(pathname.slice(ASSETS.length));
  if (!/^\/(src|styles|icons|locales)\//.test(path)) throw new Error('not found');
  return { status: 200, type: TYPES[extname(path)] ?? 'application/octet-stream', body: await readFile(ROOT + path) };
}

/**
 * @param {string} method
 * @param {string} path
 * @param {any} body
 */
function api(method, path, body) {
  const json = (/** @type {number} */ status, /** @type {unknown} */ value) => ({ status, type: 'application/json', body: JSON.stringify(value) });
  if (path === '/api/session' && method === 'POST') {
    const refusal = REFUSALS[body.token];
    if (refusal) return json(refusal[0], { type: 'about:blank', title: '', status: refusal[0], detail: '', code: refusal[1], action: '', request_id: '1' });
    const role = body.token === 'clinician' || body.token === 'guest' ? body.token : 'patient';
    const answer = session(role, 'v1');
    if (body.token === 'again') answer.admitted = true;
    // In two hours, by whatever the clock of the test says.
    if (body.token === 'early') answer.visit.starts_at = new Date(Math.ceil(Date.now() / 900_000) * 900_000 + 7_200_000).toISOString();
    return json(200, answer);
  }
  if (path === '/api/today') return json(200, today());
  const visit = /^\/api\/visits\/([^/]+)\/session$/.exec(path);
  if (visit) return json(200, session('clinician', visit[1] ?? ''));
  if (path === '/api/appointments' && method === 'POST') {
    return json(201, { visit: 'v9', patient_link: 'http://localhost/join#kXw2Yp0uQ7Zr1nB4c', clinician_link: '', starts_at: body.starts_at });
  }
  return { status: 204, type: 'text/plain', body: '' };
}

/**
 * @param {'patient' | 'guest' | 'clinician'} role
 * @param {string} visit
 */
function session(role, visit) {
  return {
    session: 's',
    expires_at: new Date(Date.now() + 900_000).toISOString(),
    role,
    name: role === 'clinician' ? 'Dr. Amira Haddad' : role === 'guest' ? 'Ilse (interpreter)' : 'Maria Keller',
    admitted: role === 'clinician',
    visit: {
      id: visit,
      starts_at: '2026-11-23T09:30:00Z',
      ends_at: '2026-11-23T10:00:00Z',
      time_zone: 'Europe/Berlin',
      clinic_name: 'Lakeside Family Practice',
      clinician_name: 'Dr. Amira Haddad',
      status: 'scheduled',
    },
  };
}

function today() {
  const row = (/** @type {string} */ visit, /** @type {string} */ at, /** @type {string} */ name, /** @type {string} */ status, waiting = 0) => ({
    visit,
    starts_at: `2026-11-23T${at}:00Z`,
    ends_at: `2026-11-23T${at}:00Z`,
    patient_name: name,
    status,
    waiting,
    longest_wait_seconds: waiting > 0 ? 260 : null,
  });
  return {
    now: new Date().toISOString(),
    time_zone: 'Europe/Berlin',
    appointments: [
      row('v0', '09:00', 'Jonas Weber', 'ended'),
      row('v1', '09:30', 'Maria Keller', 'in_progress', 2),
      row('v2', '10:00', 'Thaddeus Featherstonehaugh-Montgomery', 'scheduled', 1),
      row('v3', '10:30', 'Lucía Fernández', 'scheduled'),
      row('v4', '11:00', 'Sam Okafor', 'cancelled'),
      { ...row('v5', '11:30', '', 'scheduled'), patient_name: null },
    ],
  };
}

/** @param {import('node:http').IncomingMessage} request */
async function bodyOf(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text === '' ? null : JSON.parse(text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { origin } = await serve(8090);
  console.log(`${origin}/join#patient and ${origin}/join#clinician (the visit itself needs the browser scripts)`);
}
