// @ts-check
/**
 * What the page is doing, as a union of named states, and the pure function that moves between them.
 *
 * No DOM, no socket, no clock: time comes in with the events, and what has to be done goes out as a list of effects.
 *
 * @typedef {import('../types/app.d.ts').State} State
 * @typedef {import('../types/app.d.ts').Page} Page
 * @typedef {import('../types/app.d.ts').Event} Event
 * @typedef {import('../types/app.d.ts').Effect} Effect
 * @typedef {import('../types/app.d.ts').Session} Session
 * @typedef {import('../types/protocol.d.ts').VisitState} VisitState
 * @typedef {{state: State, effects: Effect[]}} Step
 */

/** @type {State} */
export const initial = { page: { name: 'opening' }, link: { name: 'off' } };

/** Reasons after which the client comes back by itself: the person did nothing and wants to stay. */
const COMES_BACK = new Set(['server_stopping', 'failed']);

/**
 * @param {State} state
 * @param {Event} event
 * @returns {Step}
 */
export function reduce(state, event) {
  const { page } = state;
  switch (event.type) {
    case 'opened':
      return opened(state, event.session);
    case 'open_failed':
      return { state: { page: { name: 'problem', problem: event.problem }, link: { name: 'off' } }, effects: [{ do: 'stop_media' }, { do: 'disconnect' }] };
    case 'retry_pressed':
      return page.name === 'problem' ? { state: initial, effects: [{ do: 'open_link' }] } : same(state);
    case 'join_pressed':
      return joinPressed(state);
    case 'admit_pressed': {
      const admit = send({ type: 'admit', participant: event.participant });
      // Admitting somebody is joining them: a clinician who has not pressed "join" yet comes along.
      const joined = joinPressed(state);
      return { state: joined.state, effects: [admit, ...joined.effects] };
    }
    case 'decline_pressed':
      return { state, effects: [send({ type: 'decline', participant: event.participant, reason: event.reason })] };
    case 'end_visit_pressed':
      if (page.name !== 'ended') return { state, effects: [send({ type: 'end_visit' })] };
      return { state: { page: { name: 'ending', session: page.session }, link: { name: 'connecting' } }, effects: [{ do: 'connect' }] };
    case 'leave_pressed':
      return leave(state);
    case 'rejoin_pressed':
      if (page.name !== 'ended') return same(state);
      return {
        state: { page: { name: 'joining', session: page.session, room: null }, link: { name: 'connecting' } },
        effects: [{ do: 'connect' }, { do: 'announce', key: 'announce.joining' }],
      };
    case 'connecting':
      return isLive(page) && state.link.name === 'off' ? same({ ...state, link: { name: 'connecting' } }) : same(state);
    case 'welcome':
      return welcome(state, event.you, event.resumed);
    case 'visit_state':
      return visitState(state, event.visit, event.now);
    case 'link_lost':
      if (!isLive(page) || state.link.name === 'lost') return same(state);
      return same({ ...state, link: { name: 'lost', since: event.now, you: you(state) } });
    case 'ended':
      return ended(state, event.reason, event.message);
    case 'server_error':
      // An expired session renews itself below the page; anything else is worth a word, and nothing has changed.
      return event.code === 'session_expired' ? same(state) : { state, effects: [{ do: 'toast', key: `error.${event.code}` }] };
  }
}

/**
 * Whether a page wants a signalling connection.
 * @param {Page} page
 */
export function isLive(page) {
  return wantsMedia(page) || page.name === 'ending' || (page.name === 'lobby' && page.session.role === 'clinician');
}

/**
 * Whether a page wants microphone, camera and peer connection to be in use for the visit.
 * @param {Page} page
 */
export function wantsMedia(page) {
  return page.name === 'joining' || page.name === 'waiting' || page.name === 'visit';
}

/**
 * The other people in the visit.
 * @param {State} state
 */
export function others(state) {
  const { page } = state;
  if (page.name !== 'visit') return [];
  const me = you(state);
  return page.room.visit.participants.filter((p) => p.participant !== me);
}

/**
 * This page's own participant, as far as it is known.
 * @param {State} state
 */
function you({ link }) {
  return link.name === 'up' || link.name === 'lost' ? link.you : null;
}

/**
 * A link was opened, or (for a clinician) another visit.
 * @param {State} state
 * @param {Session} session
 * @returns {Step}
 */
function opened(state, session) {
  /** @type {Effect[]} */
  const before = wantsMedia(state.page) ? [{ do: 'leave' }, { do: 'stop_media' }] : [];
  /** @type {Page} */
  const page = { name: 'lobby', session, room: null };
  // A clinician is connected at once, to see who waits. A patient who says hello is queued, so that waits for the button.
  return session.role === 'clinician'
    ? { state: { page, link: { name: 'connecting' } }, effects: [...before, { do: 'connect' }] }
    : { state: { page, link: { name: 'off' } }, effects: before };
}

/**
 * @param {State} state
 * @returns {Step}
 */
function joinPressed(state) {
  const { page, link } = state;
  if (page.name !== 'lobby') return same(state);
  /** @type {Effect} */
  const announce = { do: 'announce', key: 'announce.joining' };
  if (link.name === 'off') {
    return {
      state: { page: { name: 'joining', session: page.session, room: null }, link: { name: 'connecting' } },
      effects: [{ do: 'connect' }, announce],
    };
  }
  // Connected (a clinician): the media goes into the stay that is there. If it is not up, the next welcome starts it.
  /** @type {Effect[]} */
  const media = link.name === 'up' ? [{ do: 'start_media', keep: false }] : [];
  const next = page.room
    ? /** @type {Page} */ ({ name: 'visit', session: page.session, room: page.room })
    : /** @type {Page} */ ({ name: 'joining', session: page.session, room: null });
  return { state: { ...state, page: next }, effects: [...media, announce] };
}

/**
 * @param {State} state
 * @returns {Step}
 */
function leave(state) {
  const { page } = state;
  if (page.name !== 'joining' && page.name !== 'waiting' && page.name !== 'visit') return same(state);
  return {
    state: {
      page: { name: 'ended', session: page.session, reason: 'left', message: '', from: page.name === 'visit' ? 'visit' : 'waiting', stay: others(state).map((p) => p.name) },
      link: { name: 'off' },
    },
    effects: [{ do: 'leave' }, { do: 'stop_media' }],
  };
}

/**
 * @param {State} state
 * @param {string} me
 * @param {boolean} resumed
 * @returns {Step}
 */
function welcome(state, me, resumed) {
  if (!isLive(state.page)) return same(state);
  /** @type {Effect[]} */
  const effects = wantsMedia(state.page) ? [{ do: 'start_media', keep: resumed }] : [];
  if (state.page.name === 'ending') effects.push(send({ type: 'end_visit' }));
  if (state.link.name === 'lost' && wantsMedia(state.page)) effects.push({ do: 'announce', key: 'announce.reconnected' });
  return { state: { ...state, link: { name: 'up', you: me } }, effects };
}

/**
 * @param {State} state
 * @param {VisitState} visit
 * @param {number} now
 * @returns {Step}
 */
function visitState(state, visit, now) {
  const { page } = state;
  const room = { visit, at: now };
  /** @type {Effect[]} */
  const effects = [];
  switch (page.name) {
    case 'lobby':
      effects.push(...arrivals(page.room?.visit, visit));
      return { state: { ...state, page: { ...page, room } }, effects };
    case 'joining':
    case 'waiting':
    case 'visit': {
      const { session } = page;
      if (visit.you.place === 'waiting') {
        const before = page.name === 'waiting' && page.room.visit.you.place === 'waiting' ? page.room.visit.you.position : null;
        if (before !== visit.you.position) effects.push({ do: 'announce', key: 'announce.waiting', params: { position: visit.you.position } });
        return { state: { ...state, page: { name: 'waiting', session, room } }, effects };
      }
      if (page.name !== 'visit' && session.role !== 'clinician') effects.push({ do: 'announce', key: 'announce.admitted' });
      if (page.name === 'visit') effects.push(...comings(state, page.room.visit, visit));
      effects.push(...arrivals(page.room?.visit, visit));
      return { state: { ...state, page: { name: 'visit', session, room } }, effects };
    }
    default:
      return same(state);
  }
}

/**
 * Who came to the queue since the last state. A clinician hears of it wherever they are.
 * @param {VisitState | undefined} before
 * @param {VisitState} after
 * @returns {Effect[]}
 */
function arrivals(before, after) {
  if (!before) return [];
  const known = new Set(before.queue.map((w) => w.participant));
  return after.queue
    .filter((w) => !known.has(w.participant))
    .map((w) => ({ do: 'announce', key: 'announce.waits', params: { name: w.name } }));
}

/**
 * Who entered or left the visit since the last state.
 * @param {State} state
 * @param {VisitState} before
 * @param {VisitState} after
 * @returns {Effect[]}
 */
function comings(state, before, after) {
  const me = you(state);
  const was = new Map(before.participants.map((p) => [p.participant, p]));
  const is = new Map(after.participants.map((p) => [p.participant, p]));
  /** @type {Effect[]} */
  const effects = [];
  for (const p of after.participants) {
    if (p.participant !== me && !was.has(p.participant)) effects.push({ do: 'announce', key: 'announce.entered', params: { name: p.name } });
  }
  for (const p of before.participants) {
    if (p.participant !== me && !is.has(p.participant)) effects.push({ do: 'announce', key: 'announce.went', params: { name: p.name } });
  }
  return effects;
}

/**
 * @param {State} state
 * @param {import('../types/protocol.d.ts').EndReason} reason
 * @param {string} message
 * @returns {Step}
 */
function ended(state, reason, message) {
  const { page } = state;
  if (!isLive(page) || page.name === 'opening' || page.name === 'problem' || page.name === 'ended') return same(state);
  if (COMES_BACK.has(reason)) return { state, effects: [{ do: 'reconnect_fresh' }] };
  return {
    state: {
      page: { name: 'ended', session: page.session, reason, message, from: page.name === 'joining' || page.name === 'waiting' ? 'waiting' : 'visit', stay: [] },
      link: { name: 'off' },
    },
    effects: [{ do: 'stop_media' }, { do: 'disconnect' }],
  };
}

/**
 * @param {State} state
 * @returns {Step}
 */
function same(state) {
  return { state, effects: [] };
}

/**
 * @param {import('../types/protocol.d.ts').ClientMessage} message
 * @returns {Effect}
 */
function send(message) {
  return { do: 'send', message };
}
