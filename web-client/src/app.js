// @ts-check
/**
 * Holds the state, carries out the effects the reducer names, and keeps signalling, call and devices in step with it.
 * Views get this object: they draw from it and dispatch events to it.
 *
 * @typedef {import('../types/app.d.ts').State} State
 * @typedef {import('../types/app.d.ts').Event} Event
 * @typedef {import('../types/app.d.ts').Effect} Effect
 * @typedef {import('../types/app.d.ts').Session} Session
 * @typedef {import('../types/app.d.ts').QualityLevel} QualityLevel
 * @typedef {import('../types/protocol.d.ts').ServerMessage} ServerMessage
 * @typedef {import('../types/protocol.d.ts').IceServer} IceServer
 * @typedef {import('../types/protocol.d.ts').TargetName} TargetName
 */

import * as api from './api.js';
import { Tries } from './backoff.js';
import { Call } from './call.js';
import { Devices } from './devices.js';
import { t } from './i18n.js';
import { GiveUp, Signaling } from './signaling.js';
import { initial, others, reduce, wantsMedia } from './state.js';

/** A session is renewed when it has less than this left. It lives for 15 minutes. */
const RENEW_BEFORE_MS = 60_000;
/** How often the path of the call is looked at; the words of the quality indicator are of so many looks together. */
const LOOK_MS = 1_000;
const LOOKS_PER_SAMPLE = 2;
/** How long a passing remark stays on screen. */
const TOAST_MS = 6_000;

export class App {
  /** @type {State} */
  state = initial;
  devices = new Devices(() => this.#devicesChanged());
  /** What only clinicians need; null for everybody else. @type {import('./desk.js').Desk | null} */
  desk = null;
  /** @type {Call | null} */
  call = null;
  /** @type {QualityLevel} */
  quality = 'connecting';
  /** What has to be known about pictures that stopped or may stop. @type {import('../types/app.d.ts').Notice | null} */
  notice = null;
  /** Set while the browser wants a press before it plays sound. */
  soundBlocked = false;
  /** Set once sound and picture could not be connected for so long that the person has to know. */
  mediaGivenUp = false;
  /** A passing remark. @type {string | null} */
  toast = null;
  /** The screen or window that is shared. @type {MediaStreamTrack | null} */
  screen = null;

  /** What the join link carries. Kept, so that a restarted server can be told again who this is. */
  #token;
  /** @type {Session | null} */
  #session = null;
  /** @type {Signaling | null} */
  #signaling = null;
  /** @type {IceServer[]} */
  #iceServers = [];
  /** What the others were last told about microphone and camera, to say it once. */
  #saidMuted = '';
  #mediaTries = new Tries();
  /** Who was chosen to be seen larger, whichever call it is, until they are gone. @type {string | null} */
  #chosen = null;
  /** @type {{received: number, lost: number} | null} */
  #counters = null;
  /** Comes with the first call: nothing of it is needed before. @type {typeof import('./quality.js') | null} */
  #meter = null;
  #looks = 0;
  /** Whether UDP ever worked here: kept over all connections of the page. @type {import('./way.js').Way | null} */
  #way = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #sampler;
  /** @type {import('./speech.js').Speech | null} */
  #speech = null;
  /** @type {import('./report.js').Reporter | null} */
  #reporter = null;
  /** @type {import('./report.js').JoinTimes} */
  #joinTimes = { usable: null, welcomed: null, firstFrame: null, said: false };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #toastTimer;
  /** @type {Array<() => void>} */
  #listeners = [];
  /** Says something to people who listen to the page. @type {(text: string) => void} */
  announce;

  /**
   * @param {string} token
   * @param {(text: string) => void} announce
   */
  constructor(token, announce) {
    this.#token = token;
    this.announce = announce;
    addEventListener('online', () => this.#signaling?.hurry());
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.#signaling?.hurry();
    });
  }

  /**
   * @param {() => void} listener called after every change
   * @returns {() => void} takes it away again
   */
  subscribe(listener) {
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((l) => l !== listener);
    };
  }

  start() {
    this.#perform({ do: 'open_link' });
  }

  /** @param {Event} event */
  dispatch(event) {
    const { state, effects } = reduce(this.state, event);
    this.state = state;
    if (!others(state).some((p) => p.participant === this.#chosen)) this.#chosen = null;
    for (const effect of effects) this.#perform(effect);
    if (this.screen && state.page.name !== 'visit') {
      // The button that stops it is of the visit alone: nobody sends a screen into a waiting room, or shows it again unasked.
      this.share(null);
      this.announce(t('share.off'));
    }
    this.#tellCall();
    this.#sayMuted();
    this.desk?.follow();
    this.#changed();
  }

  /** Does not sit out the delay before the next try to reach the server, and begins anew with sound and picture if they were given up. */
  tryNow() {
    this.#signaling?.hurry();
    if (!this.mediaGivenUp) return;
    this.mediaGivenUp = false;
    this.#mediaTries.forget();
    this.#startMedia(false);
    this.#assess(null);
    this.#changed();
  }

  /**
   * A clinician turns to another visit of the day.
   * @param {string} visit
   */
  async openVisit(visit) {
    try {
      const session = await api.switchVisit(await this.freshSession(), visit);
      this.#session = session;
      this.dispatch({ type: 'opened', session });
      void this.devices.start();
    } catch {
      this.say('error.open_visit');
    }
  }

  /**
   * A passing remark, shown and read out.
   * @param {import('./i18n.js').Key} key
   */
  say(key) {
    this.toast = t(key);
    this.announce(this.toast);
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => {
      this.toast = null;
      this.#changed();
    }, TOAST_MS);
    this.#changed();
  }

  /** @param {boolean} blocked */
  setSoundBlocked(blocked) {
    if (this.soundBlocked === blocked) return;
    this.soundBlocked = blocked;
    if (blocked) this.announce(t('visit.sound_blocked'));
    this.#changed();
  }

  /**
   * Shows somebody larger than the others, and keeps their picture longest when the line gets thin; or nobody.
   * @param {string | null} participant
   */
  choose(participant) {
    this.#chosen = participant;
    this.#tellCall();
  }

  /**
   * Shares a screen instead of the one before, or none.
   * @param {MediaStreamTrack | null} track
   */
  share(track) {
    if (this.screen === track) return;
    this.screen?.stop();
    this.screen = track;
    void this.call?.setScreen(track);
    this.#changed();
  }

  #tellCall() {
    this.call?.setParticipants(others(this.state), this.#chosen);
  }

  /**
   * Asks for a size by hand, for tests and support: `housecall.setTarget('3', 'p480')` or `housecall.setTarget('audio_only')`.
   * @param {string | undefined} mid
   * @param {TargetName} target
   */
  setTarget(mid, target) {
    const line = mid ?? this.call?.firstVideoMid ?? null;
    return line !== null && (this.call?.pinTarget(line, target) ?? false);
  }

  /**
   * The session, renewed if it is about to expire.
   * @returns {Promise<Session>}
   */
  async freshSession() {
    const session = this.#session;
    if (!session) throw new Error('no session yet');
    if (Date.parse(session.expires_at) - Date.now() > RENEW_BEFORE_MS) return session;
    return this.#renew(session, true);
  }

  /**
   * @param {Session} session
   * @param {boolean} valid whether the server is thought to know it still
   */
  async #renew(session, valid) {
    /** @type {Session | null} */
    let renewed = null;
    if (valid) renewed = await api.refresh(session).catch(() => null);
    if (!renewed) {
      renewed = await api.exchange(this.#token);
      if (renewed.visit.id !== session.visit.id) renewed = await api.switchVisit(renewed, session.visit.id);
    }
    this.#session = renewed;
    return renewed;
  }

  /** @param {Effect} effect */
  #perform(effect) {
    switch (effect.do) {
      case 'open_link':
        void this.#openLink();
        break;
      case 'connect':
        this.#connect();
        break;
      case 'reconnect_fresh':
        this.#signaling?.reconnectFresh();
        break;
      case 'disconnect':
        this.#signaling?.close();
        this.#signaling = null;
        break;
      case 'leave':
        this.#signaling?.leave();
        this.#signaling = null;
        break;
      case 'send':
        if (!this.#signaling?.send(effect.message)) this.say('error.offline');
        break;
      case 'start_media':
        this.#startMedia(effect.keep);
        break;
      case 'stop_media':
        this.#stopCall();
        this.share(null);
        this.mediaGivenUp = false;
        this.#mediaTries.forget();
        this.devices.stop();
        break;
      case 'announce':
        this.announce(t(effect.key, effect.params));
        break;
      case 'toast':
        this.say(effect.key);
        break;
    }
  }

  async #openLink() {
    if (this.#token === '') {
      this.dispatch({ type: 'open_failed', problem: 'link_missing' });
      return;
    }
    try {
      this.#session = await api.exchange(this.#token);
      if (this.#session.role === 'clinician') this.desk ??= (await import('./desk.js')).openDesk(this, () => this.#changed());
      this.#joinTimes.usable ??= performance.now();
      this.dispatch({ type: 'opened', session: this.#session });
      void this.devices.start();
      void import('./speech.js').then(async ({ speech }) => (this.#speech = await speech), () => {});
    } catch (error) {
      this.dispatch({ type: 'open_failed', problem: api.problemOf(error) });
    }
  }

  #connect() {
    this.#signaling?.close();
    this.#saidMuted = '';
    this.#signaling = new Signaling(
      {
        connect: () => new WebSocket(new URL('/ws', location.href.replace(/^http/, 'ws'))),
        session: (renew) => this.#sessionFor(renew),
        onMessage: (message) => this.#message(message),
        onLost: () => {
          this.call?.serverLost();
          this.dispatch({ type: 'link_lost', now: performance.now() });
        },
        onGivenUp: (cause) => this.dispatch({ type: 'open_failed', problem: api.problemOf(cause) }),
      },
      {
        now: () => performance.now(),
        setTimeout: (run, ms) => setTimeout(run, ms),
        clearTimeout: (timer) => clearTimeout(timer),
        random: Math.random,
      },
    );
    this.#signaling.open();
  }

  /** @param {boolean} renew */
  async #sessionFor(renew) {
    try {
      const session = renew && this.#session ? await this.#renew(this.#session, false) : await this.freshSession();
      return session.session;
    } catch (error) {
      const problem = api.problemOf(error);
      // A server that is away or busy comes back; a link that is dead does not.
      throw problem === 'server_gone' || problem === 'too_many_requests' ? error : new GiveUp(error);
    }
  }

  /** @param {ServerMessage} message */
  #message(message) {
    switch (message.type) {
      case 'welcome':
        this.#joinTimes.welcomed ??= performance.now();
        this.#iceServers = message.ice_servers;
        this.#saidMuted = '';
        this.dispatch({ type: 'welcome', you: message.you, resumed: message.resumed });
        break;
      case 'state':
        this.dispatch({ type: 'visit_state', visit: message, now: performance.now() });
        break;
      case 'connection_lost':
        if (this.call) this.#callFailed(this.call);
        break;
      case 'ended':
        this.dispatch({ type: 'ended', reason: message.reason, message: message.message });
        break;
      case 'error':
        this.dispatch({ type: 'server_error', code: message.code, message: message.message });
        break;
      default:
        this.call?.handle(message);
    }
  }

  /** @param {boolean} keep */
  #startMedia(keep) {
    void this.devices.start();
    if (keep && this.call && this.call.connection !== 'failed') {
      this.call.resync();
      return;
    }
    this.#stopCall();
    const call = new Call(this.#iceServers, this.devices.tracks, {
      send: (message) => this.#signaling?.send(message) ?? false,
      onChange: () => this.#callChanged(),
      onFailed: () => this.#callFailed(call),
      onScreenRefused: () => {
        this.share(null);
        this.say('share.failed');
      },
    });
    this.#speech?.attach(call);
    this.call = call;
    void call.setScreen(this.screen);
    this.#tellCall();
    this.#counters = null;
    void import('./quality.js').then((meter) => {
      this.#meter = meter;
      this.#callChanged();
    });
    this.#sampler = setInterval(() => void this.#sample(), LOOK_MS);
    void this.#startReports(call);
  }

  /**
   * Not part of the join page: it is needed ten seconds into a call.
   * @param {Call} call
   */
  async #startReports(call) {
    // Without it the record has fewer numbers, and the call is the same.
    const loaded = await import('./report.js').catch(() => null);
    if (this.call !== call || !loaded) return;
    this.#reporter = new loaded.Reporter(call.peerConnection, (message) => this.#signaling?.send(message) ?? false, this.#joinTimes, performance.now());
  }

  #stopCall() {
    clearInterval(this.#sampler);
    this.#reporter?.stop();
    this.#reporter = null;
    this.call?.close();
    this.call = null;
    this.quality = 'connecting';
    this.notice = null;
    this.soundBlocked = false;
  }

  #callChanged() {
    if (!this.call) return;
    if (this.call.connection === 'connected') {
      this.#mediaTries.forget();
      this.mediaGivenUp = false;
    }
    this.#assess(null);
    this.#changed();
  }

  /**
   * Beyond repair: a new connection takes its place. The pause grows, so that neither a network that lets nothing through nor a
   * server that refuses is hammered; after some tries the person is told and decides.
   * @param {Call} call
   */
  #callFailed(call) {
    if (this.call !== call) return;
    const pause = this.#mediaTries.failed(performance.now(), Math.random());
    this.mediaGivenUp = pause === null;
    this.#callChanged();
    if (pause === null) return;
    setTimeout(() => {
      if (this.call === call) this.#startMedia(false);
    }, pause);
  }

  async #sample() {
    const { call } = this;
    if (!call) return;
    const reports = [...(await call.peerConnection.getStats()).values()];
    if (this.call !== call) return;
    const now = performance.now();
    this.#reporter?.take(reports, now, call.screenMids);
    if (!this.#meter) return;
    this.#way ??= new this.#meter.Way();
    const look = call.connection === 'connected' && this.#way.note(this.#meter.pathInUse(reports), now);
    // Where nothing at all gets through, an offer would only be in the way of what the browser does by itself.
    if (look) this.#signaling?.whenReached(() => this.call === call && call.lookForBetterWay());
    // Words about the line would flicker if every look changed them.
    this.#looks += 1;
    if (this.#looks % LOOKS_PER_SAMPLE !== 0) return;
    const { counters, roundTrip } = this.#meter.read(reports);
    const sample = this.#meter.between(this.#counters, counters, roundTrip);
    this.#counters = counters;
    this.#assess(sample);
    this.#changed();
  }

  /** @type {import('../types/app.d.ts').QualitySample | null} */
  #lastSample = null;

  /** @param {import('../types/app.d.ts').QualitySample | null} sample */
  #assess(sample) {
    const meter = this.#meter;
    if (!this.call || !meter) return;
    this.#lastSample = sample ?? this.#lastSample;
    const before = this.quality;
    const [faces, screens] = [this.call.remotes(), this.call.shares()];
    const own = { carries: this.call.carries, sendsPicture: this.devices.state.camera.name === 'on', sharesScreen: this.screen !== null };
    this.quality = this.mediaGivenUp ? 'failed' : meter.level(this.call.connection, this.#lastSample, faces, own, screens);
    const noticed = this.notice;
    this.notice = meter.notice(faces, own, screens);
    if (this.notice && this.notice !== noticed) this.announce(t(`weak.${this.notice}`));
    // Said aloud only where a person has to know why something stopped, or that it is back.
    const notable = this.quality === 'sound_only' || this.quality === 'interrupted' || before === 'sound_only' || before === 'interrupted';
    if (this.quality !== before && notable) this.announce(t(`quality.${this.quality}`));
  }

  #devicesChanged() {
    void this.call?.setTracks(this.devices.tracks);
    this.#sayMuted();
    this.#changed();
  }

  /** Tells the others about microphone and camera, if that is news. */
  #sayMuted() {
    if (!this.#signaling?.isUp) return;
    const inUse = wantsMedia(this.state.page);
    const { microphone, camera } = this.devices.state;
    const message = /** @type {const} */ ({
      type: 'muted',
      microphone: !inUse || microphone.name !== 'on',
      camera: !inUse || camera.name !== 'on',
    });
    const text = JSON.stringify(message);
    if (text !== this.#saidMuted && this.#signaling.send(message)) this.#saidMuted = text;
  }

  #changed() {
    for (const listener of this.#listeners) listener();
  }
}
