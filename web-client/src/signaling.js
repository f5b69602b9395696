// @ts-check
/**
 * The one owner of the WebSocket: hello, resume, pings, noticing a dead server, coming back.
 *
 * It knows nothing of peer connections or the page. Media does not depend on it: when the socket drops, sound and picture go on,
 * and the socket comes back with the resume token. If the server does not know that token any more (it was restarted), the
 * session is renewed from the join link, which the page keeps, and the person is back without pressing anything.
 *
 * @typedef {import('../types/protocol.d.ts').ClientMessage} ClientMessage
 * @typedef {import('../types/protocol.d.ts').ServerMessage} ServerMessage
 *
 * @typedef {{
 *   now(): number,
 *   setTimeout(run: () => void, ms: number): unknown,
 *   clearTimeout(timer: any): void,
 *   random(): number,
 * }} Clock
 *
 * @typedef {object} Socket The part of WebSocket that is used here.
 * @property {(data: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 *
 * @typedef {object} Hooks
 * @property {() => Socket} connect opens a socket
 * @property {(renew: boolean) => Promise<string>} session a session token; `renew` when the last one was refused or may be stale.
 *   Rejects with `GiveUp` when there is no point in trying again
 * @property {(message: ServerMessage) => void} onMessage every message but `pong`
 * @property {() => void} onLost the connection dropped; it is being brought back
 * @property {(cause: unknown) => void} onGivenUp it is not coming back
 */

import { delay } from './backoff.js';

/** A server that answers within this is reached. */
const REACHED_MS = 2_000;
/** A ping goes out this often: often enough to notice a dead path soon, and it keeps NAT and proxies awake. */
export const PING_MS = 5_000;
/** Nothing heard for this long (two pings and a bit) means that the path or the server is dead, whatever the socket says. */
export const SILENCE_MS = 12_000;
/**
 * A socket that has not said welcome by then is given up: the first, the second, and all others. On a line that loses much, TCP sends
 * what was lost at twice the pause each time, and a new connection overtakes one that had bad luck.
 */
export const HELLO_MS = [4_000, 6_000];
export const LONGEST_HELLO_MS = 8_000;
/** For the same reason: an offer that is not answered, nor the ping behind it, for this long is taken to a new socket. Twice that after each in vain. */
export const ANSWER_MS = 4_000;
/** How long a leave may take to reach the server before the socket is closed anyway. */
export const LEAVE_MS = 1_000;

/** Thrown by `Hooks.session` when trying again is useless (the link has expired, the visit was cancelled). */
export class GiveUp extends Error {
  /** @param {unknown} cause */
  constructor(cause) {
    super('no session to be had', { cause });
  }
}

/**
 * @typedef {{ping: number, timer: unknown}} Question The ping behind an offer, and the end of patience.
 *
 * @typedef {{name: 'idle'}
 *   | {name: 'waiting', timer: unknown}
 *   | {name: 'preparing'}
 *   | {name: 'greeting', socket: Socket, timer: unknown}
 *   | {name: 'up', socket: Socket, heard: number, timer: unknown, question: Question | null}
 *   | {name: 'leaving', socket: Socket, timer: unknown}
 *   | {name: 'closed'}} Connection
 */

export class Signaling {
  /** @type {Connection} */
  #connection = { name: 'idle' };
  #attempt = 0;
  /** Offers in a row after which nothing was heard. */
  #unanswered = 0;
  #pings = 0;
  /** Who waits for the server to be reached. @type {{ping: number, until: number, then: () => void} | null} */
  #asked = null;
  #renew = false;
  /** Counts tries, so that a session token that arrives late is not used for a newer one. */
  #generation = 0;
  /** @type {string | null} */
  #resume = null;
  /** @type {Hooks} */
  #hooks;
  /** @type {Clock} */
  #clock;

  /**
   * @param {Hooks} hooks
   * @param {Clock} clock
   */
  constructor(hooks, clock) {
    this.#hooks = hooks;
    this.#clock = clock;
  }

  get isUp() {
    return this.#connection.name === 'up';
  }

  open() {
    if (this.#connection.name === 'idle') void this.#try();
  }

  /**
   * Sends a message, if the connection is up. Nothing is queued: after a drop the state is told anew.
   * @param {ClientMessage} message
   * @returns {boolean} whether it was handed to the socket
   */
  send(message) {
    if (this.#connection.name !== 'up') return false;
    this.#connection.socket.send(JSON.stringify(message));
    if (message.type === 'offer') this.#expectAnswer(this.#connection);
    return true;
  }

  /** The network came back or the page was woken: do not sit out the delay, and find out at once whether the path still lives. */
  hurry() {
    if (this.#connection.name === 'waiting') {
      this.#clock.clearTimeout(this.#connection.timer);
      this.#attempt = 0;
      void this.#try();
    } else if (this.#connection.name === 'up') {
      this.#ping();
    }
  }

  /** Drops this connection and comes back as somebody new: for a media connection that has failed. */
  reconnectFresh() {
    if (this.#connection.name === 'closed' || this.#connection.name === 'leaving') return;
    this.#resume = null;
    this.#drop();
  }

  /** Says goodbye, keeping the place, and closes. */
  leave() {
    if (this.#connection.name !== 'up') {
      this.close();
      return;
    }
    const { socket } = this.#connection;
    this.send({ type: 'leave', keep_place: true });
    this.#clock.clearTimeout(this.#connection.timer);
    if (this.#connection.question) this.#clock.clearTimeout(this.#connection.question.timer);
    const timer = this.#clock.setTimeout(() => this.close(), LEAVE_MS);
    this.#connection = { name: 'leaving', socket, timer };
  }

  close() {
    this.#detach();
    this.#connection = { name: 'closed' };
  }

  async #try() {
    const generation = ++this.#generation;
    this.#connection = { name: 'preparing' };
    /** @type {string} */
    let session;
    try {
      session = await this.#hooks.session(this.#renew);
    } catch (cause) {
      if (generation !== this.#generation || this.#connection.name !== 'preparing') return;
      if (cause instanceof GiveUp) {
        this.close();
        this.#hooks.onGivenUp(cause.cause);
      } else {
        this.#later();
      }
      return;
    }
    if (generation !== this.#generation || this.#connection.name !== 'preparing') return;
    this.#renew = false;
    this.#greet(session);
  }

  /** @param {string} session */
  #greet(session) {
    /** @type {Socket} */
    let socket;
    try {
      socket = this.#hooks.connect();
    } catch {
      this.#later();
      return;
    }
    const patience = HELLO_MS[this.#attempt] ?? LONGEST_HELLO_MS;
    const timer = this.#clock.setTimeout(() => this.#drop(), patience);
    this.#connection = { name: 'greeting', socket, timer };
    socket.onopen = () => {
      /** @type {ClientMessage} */
      const hello = this.#resume ? { type: 'hello', session, resume: this.#resume } : { type: 'hello', session };
      socket.send(JSON.stringify(hello));
    };
    socket.onmessage = (event) => this.#message(event.data);
    socket.onclose = () => this.#drop();
  }

  /** @param {unknown} data */
  #message(data) {
    const message = parse(data);
    if (!message) return;
    if (this.#connection.name === 'up') this.#heard(this.#connection, message);
    switch (message.type) {
      case 'pong':
        this.#answered(message.id);
        return;
      case 'welcome':
        this.#welcome(message.resume);
        break;
      case 'error':
        // The next try brings a session made from the join link.
        if (message.code === 'session_expired') this.#renew = true;
        break;
      case 'ended':
        if (this.#connection.name === 'leaving') {
          this.close();
          return;
        }
        // This stay is over; whatever comes next is a new one.
        this.#resume = null;
        break;
    }
    if (this.#connection.name === 'leaving') return;
    this.#hooks.onMessage(message);
  }

  /**
   * Calls `then` once the server has answered, if it does at once: where it cannot be reached either, nothing can be agreed with it.
   * @param {() => void} then
   */
  whenReached(then) {
    if (this.#connection.name === 'up') this.#asked = { ping: this.#ping(), until: this.#clock.now() + REACHED_MS, then };
  }

  /** @param {number} ping */
  #answered(ping) {
    if (this.#asked?.ping !== ping) return;
    const { until, then } = this.#asked;
    this.#asked = null;
    if (this.#clock.now() <= until) then();
  }

  /** @param {string} resume */
  #welcome(resume) {
    if (this.#connection.name !== 'greeting') return;
    const { socket, timer } = this.#connection;
    this.#clock.clearTimeout(timer);
    this.#resume = resume;
    this.#attempt = 0;
    this.#connection = { name: 'up', socket, heard: this.#clock.now(), timer: this.#nextBeat(), question: null };
  }

  /**
   * A ping goes out right behind an offer: whatever else is heard may have been on its way before.
   * @param {Extract<Connection, {name: 'up'}>} connection
   */
  #expectAnswer(connection) {
    if (connection.question) this.#clock.clearTimeout(connection.question.timer);
    const patience = Math.min(SILENCE_MS, ANSWER_MS * 2 ** this.#unanswered);
    const timer = this.#clock.setTimeout(() => {
      this.#unanswered += 1;
      this.#drop();
    }, patience);
    connection.question = { ping: this.#ping(), timer };
  }

  /**
   * @param {Extract<Connection, {name: 'up'}>} connection
   * @param {ServerMessage} message
   */
  #heard(connection, message) {
    connection.heard = this.#clock.now();
    if (!connection.question) return;
    const answers = message.type === 'pong' ? message.id === connection.question.ping : message.type === 'answer' || message.type === 'offer_refused';
    if (!answers) return;
    this.#clock.clearTimeout(connection.question.timer);
    connection.question = null;
    this.#unanswered = 0;
  }

  #nextBeat() {
    return this.#clock.setTimeout(() => this.#beat(), PING_MS);
  }

  #beat() {
    if (this.#connection.name !== 'up') return;
    if (this.#clock.now() - this.#connection.heard >= SILENCE_MS) {
      this.#drop();
      return;
    }
    this.#ping();
    this.#connection.timer = this.#nextBeat();
  }

  #ping() {
    this.#pings = (this.#pings + 1) % 0x1_0000_0000;
    this.send({ type: 'ping', id: this.#pings });
    return this.#pings;
  }

  /** The connection is of no use any more: forget it and come back. */
  #drop() {
    const { name } = this.#connection;
    if (name === 'closed' || name === 'waiting') return;
    if (name === 'leaving') {
      this.close();
      return;
    }
    // Refused again and again before a welcome: the session may be what is wrong with it.
    if (name === 'greeting' && this.#attempt > 1) this.#renew = true;
    this.#later();
  }

  #later() {
    this.#detach();
    const timer = this.#clock.setTimeout(() => void this.#try(), delay(this.#attempt, this.#clock.random()));
    this.#attempt += 1;
    this.#connection = { name: 'waiting', timer };
    this.#hooks.onLost();
  }

  /** Silences and closes the present socket and its timer. */
  #detach() {
    this.#generation += 1;
    if ('timer' in this.#connection) this.#clock.clearTimeout(this.#connection.timer);
    if ('question' in this.#connection && this.#connection.question) this.#clock.clearTimeout(this.#connection.question.timer);
    if ('socket' in this.#connection) {
      const { socket } = this.#connection;
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
  }
}

/**
 * @param {unknown} data
 * @returns {ServerMessage | null}
 */
function parse(data) {
  if (typeof data !== 'string') return null;
  try {
    const value = JSON.parse(data);
    return value && typeof value === 'object' && typeof value.type === 'string' ? value : null;
  } catch {
    return null;
  }
}
