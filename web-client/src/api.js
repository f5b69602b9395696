// @ts-check
/**
 * The HTTP interface. Tokens travel in bodies and headers, never in a URL.
 *
 * @typedef {import('../types/app.d.ts').Session} Session
 * @typedef {import('../types/app.d.ts').Problem} Problem
 * @typedef {import('../types/app.d.ts').Today} Today
 * @typedef {import('../types/app.d.ts').NewAppointment} NewAppointment
 * @typedef {import('../types/app.d.ts').CreatedAppointment} CreatedAppointment
 */

/** An answer of the server that says no, or no answer at all (`status` 0). */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   */
  constructor(status, code) {
    super(`${status} ${code}`);
    this.status = status;
    this.code = code;
  }
}

/**
 * @param {string} token
 * @returns {Promise<Session>}
 */
export function exchange(token) {
  return call('POST', '/api/session', null, { token });
}

/**
 * @param {Session} session
 * @returns {Promise<Session>}
 */
export function refresh(session) {
  return call('POST', '/api/session/refresh', session);
}

/**
 * @param {Session} session
 * @param {string} visit
 * @returns {Promise<Session>}
 */
export function switchVisit(session, visit) {
  return call('POST', `/api/visits/${encodeURIComponent(visit)}/session`, session);
}

/**
 * @param {Session} session
 * @returns {Promise<Today>}
 */
export function today(session) {
  return call('GET', '/api/today', session);
}

/**
 * @param {Session} session
 * @param {NewAppointment} appointment
 * @returns {Promise<CreatedAppointment>}
 */
export function createAppointment(session, appointment) {
  return call('POST', '/api/appointments', session, appointment);
}

/**
 * @param {Session} session
 * @param {string} visit
 * @returns {Promise<void>}
 */
export function cancelAppointment(session, visit) {
  return call('POST', `/api/appointments/${encodeURIComponent(visit)}/cancel`, session);
}

/**
 * What to tell a person who could not get in.
 * @param {unknown} error
 * @returns {Problem}
 */
export function problemOf(error) {
  if (!(error instanceof ApiError) || error.status === 0) return 'server_gone';
  switch (error.code) {
    case 'link_expired':
    case 'visit_cancelled':
    case 'visit_ended':
    case 'too_many_requests':
    case 'link_invalid':
      return error.code;
  }
  if (error.status === 429) return 'too_many_requests';
  return error.status >= 500 ? 'server_gone' : 'link_invalid';
}

/**
 * @param {'GET' | 'POST'} method
 * @param {string} path
 * @param {Session | null} session
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
async function call(method, path, session, body) {
  /** @type {Record<string, string>} */
  const headers = { accept: 'application/json' };
  if (session) headers.authorization = `Bearer ${session.session}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  /** @type {Response} */
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      cache: 'no-store',
      credentials: 'omit',
      signal: AbortSignal.timeout(15_000),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(0, 'unreachable');
  }
  if (response.status === 204) return undefined;
  /** @type {any} */
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    // An answer that is not ours (a proxy's error page, say): the status is all there is.
  }
  if (!response.ok) throw new ApiError(response.status, typeof answer?.code === 'string' ? answer.code : 'unknown');
  if (answer === null) throw new ApiError(0, 'unreadable');
  return answer;
}
