// @ts-check
/**
 * The one owner of the peer connection: lines, offers, subscriptions, and bringing media back.
 *
 * The client offers and the server answers, one offer at a time, so there is no glare. Every connection starts with four lines:
 * a microphone and a camera to send (also without devices, so that a camera can come later with no new offer), and one of each
 * to receive (so that being admitted needs no new offer).
 *
 * @typedef {import('../types/protocol.d.ts').ClientMessage} ClientMessage
 * @typedef {import('../types/protocol.d.ts').ServerMessage} ServerMessage
 * @typedef {import('../types/protocol.d.ts').ParticipantInfo} ParticipantInfo
 * @typedef {import('../types/protocol.d.ts').SlotInfo} SlotInfo
 * @typedef {import('../types/protocol.d.ts').SourceName} SourceName
 * @typedef {import('../types/protocol.d.ts').TargetName} TargetName
 * @typedef {import('../types/app.d.ts').Assignment} Assignment
 * @typedef {import('../types/app.d.ts').Remote} Remote
 * @typedef {import('../types/app.d.ts').Share} Share
 * @typedef {import('../types/app.d.ts').MediaConnection} MediaConnection
 *
 * @typedef {object} Hooks
 * @property {(message: ClientMessage) => boolean} send false if the connection to the server is down
 * @property {() => void} onChange remotes or connection have changed
 * @property {() => void} onFailed this connection is beyond repair: build a new one
 * @property {() => void} onScreenRefused the server takes no screen, or the browser sends none
 *
 * @typedef {{audio: MediaStreamTrack | null, video: MediaStreamTrack | null}} LocalTracks
 */

import { cameraEncodings, markScreen, plan, screenEncoding, targets } from './plan.js';

/** @typedef {{name: 'idle'} | {name: 'offering'} | {name: 'asked', id: number}} Negotiation */

/** Counts the page's offers over all its connections, so that a late answer to an old one fits none of the new. */
let offers = 0;

export class Call {
  /** @type {RTCPeerConnection} */
  peerConnection;
  /** @type {MediaConnection} */
  connection = 'new';

  /** @type {Hooks} */
  #hooks;
  /** @type {RTCRtpTransceiver} */
  #microphone;
  /** @type {RTCRtpTransceiver} */
  #camera;
  /** Made when a screen is first shared. @type {RTCRtpTransceiver | null} */
  #screen = null;
  /** The screen to be shared, whatever is still on its way. @type {MediaStreamTrack | null} */
  #wantedScreen = null;
  #changesScreen = false;
  /** @type {Negotiation} */
  #negotiation = { name: 'idle' };
  /** Whether something changed since the last offer that needs a new one. */
  #stale = false;
  /** @type {SlotInfo[]} */
  #slots = [];
  /** Receiving lines asked for so far. */
  #lines = { audio: 1, video: 1 };
  /** @type {Assignment[]} */
  #assignments = [];
  /** @type {ParticipantInfo[]} */
  #participants = [];
  /** What was asked for on a line. The server starts each line at the best. @type {Map<string, TargetName>} */
  #targets = new Map();
  /** Who is to be seen larger than the others, and first. @type {string | null} */
  #chosen = null;
  /** Lines whose target was set by hand, which the client then leaves alone. @type {Set<string>} */
  #pinned = new Set();
  /** What the server last said of each line. @type {Map<string, Extract<ServerMessage, {type: 'quality'}>>} */
  #said = new Map();
  /** Lines whose picture may be stopped. @type {Set<string>} */
  #atRisk = new Set();
  /** Who sees the screen shared. @type {import('../types/protocol.d.ts').ScreenAudience | null} */
  screenAudience = null;
  /** What this client's own uplink carries, as far as the server said. @type {TargetName} */
  carries = 'p720';
  /** Not needed before there is a call. @type {Promise<import('./uplink.js').Uplink>} */
  #uplink;
  #closed = false;

  /**
   * @param {RTCIceServer[]} iceServers
   * @param {LocalTracks} tracks
   * @param {Hooks} hooks
   */
  constructor(iceServers, tracks, hooks) {
    this.#hooks = hooks;
    const pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    this.peerConnection = pc;
    // One stream for both, so that receivers keep lips and voice together.
    const streams = [new MediaStream()];
    this.#microphone = pc.addTransceiver(tracks.audio ?? 'audio', { direction: 'sendonly', streams });
    this.#camera = pc.addTransceiver(tracks.video ?? 'video', { direction: 'sendonly', streams, sendEncodings: cameraEncodings() });
    this.#uplink = import('./uplink.js').then(({ Uplink }) => new Uplink(this.#camera.sender));
    pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.onconnectionstatechange = () => this.#connectionChanged();
    pc.oniceconnectionstatechange = () => this.#connectionChanged();
    this.#negotiate();
  }

  /**
   * Sends these tracks from now on. Needs no new offer, and the layers keep their SSRCs.
   * @param {LocalTracks} tracks
   */
  async setTracks(tracks) {
    if (this.#closed) return;
    await Promise.all([replace(this.#microphone.sender, tracks.audio), replace(this.#camera.sender, tracks.video)]);
  }

  /**
   * Shares a screen from now on, or none. Its line is used again when the next one is shared.
   * @param {MediaStreamTrack | null} track
   */
  async setScreen(track) {
    this.#wantedScreen = track;
    if (!track) this.screenAudience = null;
    // One change at a time: what is wanted meanwhile comes after it.
    if (this.#changesScreen) return;
    this.#changesScreen = true;
    while (!this.#closed && (this.#screen?.sender.track ?? null) !== this.#wantedScreen) {
      const wanted = this.#wantedScreen;
      if (!(await this.#putScreen(wanted)) && this.#wantedScreen === wanted) break;
    }
    this.#changesScreen = false;
  }

  /**
   * @param {MediaStreamTrack | null} track
   * @returns {Promise<boolean>} false if the browser refuses
   */
  async #putScreen(track) {
    try {
      if (this.#screen) {
        this.#screen.direction = track ? 'sendonly' : 'inactive';
        await replace(this.#screen.sender, track);
      } else if (track) {
        this.#screen = this.peerConnection.addTransceiver(track, { direction: 'sendonly', streams: [new MediaStream()], sendEncodings: [screenEncoding()] });
        // Firefox begins with 720 lines otherwise, for some fifteen seconds.
        const { sender } = this.#screen;
        void import('./uplink.js').then(({ Uplink }) => new Uplink(sender).keepResolution());
      }
    } catch (cause) {
      if (this.#closed) return false;
      console.warn('housecall: the browser does not send the screen', cause);
      if (this.#screen) this.#screen.direction = 'inactive';
      this.#negotiate();
      if (track && this.#wantedScreen === track) this.#hooks.onScreenRefused();
      return false;
    }
    if (!this.#closed) this.#negotiate();
    return true;
  }

  /**
   * Receives what these participants publish, one of them larger than the others or none.
   * @param {ParticipantInfo[]} others
   * @param {string | null} chosen
   */
  setParticipants(others, chosen) {
    this.#participants = others;
    this.#chosen = chosen;
    this.#subscribe();
    this.#hooks.onChange();
  }

  /** @param {ServerMessage} message */
  handle(message) {
    switch (message.type) {
      case 'answer':
        void this.#answered(message.id, message.sdp, message.slots);
        break;
      case 'offer_refused':
        void this.#refused(message.id, message.message);
        break;
      case 'quality':
        this.#said.set(message.mid, message);
        this.#hooks.onChange();
        break;
      case 'picture_at_risk':
        if (message.over) this.#atRisk.delete(message.mid);
        else this.#atRisk.add(message.mid);
        this.#hooks.onChange();
        break;
      case 'audience':
        if (message.mid !== this.#screen?.mid) break;
        this.screenAudience = message.by;
        this.#hooks.onChange();
        break;
      case 'uplink':
        if (message.mid !== this.#camera.mid) break;
        this.carries = message.carries;
        void this.#uplink.then((uplink) => uplink.obey(message));
        this.#hooks.onChange();
        break;
    }
  }

  /** The connection to the server is gone. */
  serverLost() {
    void this.#uplink.then((uplink) => uplink.serverLost());
  }

  /**
   * The connection to the server is back and still knows this call: say again what may have been lost on the way.
   */
  resync() {
    if (this.#negotiation.name === 'asked') {
      // The offer or its answer may be gone. The same offer again is harmless.
      const { localDescription } = this.peerConnection;
      this.#negotiation = { name: 'idle' };
      if (localDescription?.type === 'offer') this.#ask(localDescription.sdp);
    }
    for (const { mid, track } of this.#assignments) this.#hooks.send({ type: 'subscribe', mid, track });
    for (const [mid, target] of this.#targets) this.#hooks.send({ type: 'target', mid, target });
    void this.#uplink.then((uplink) => uplink.serverBack());
    if (this.connection === 'interrupted') this.#restartIce();
    else if (this.#stale) this.#negotiate();
  }

  /**
   * Asks for a size by hand; the client leaves the line alone from then on.
   * @param {string} mid
   * @param {TargetName} target
   */
  pinTarget(mid, target) {
    this.#pinned.add(mid);
    this.#targets.set(mid, target);
    return this.#hooks.send({ type: 'target', mid, target });
  }

  /** The line of the first picture received, if there is one. */
  get firstVideoMid() {
    return this.#assignments.find((a) => a.kind === 'video')?.mid ?? this.#slots.find((s) => s.kind === 'video')?.mid ?? null;
  }

  /** @returns {Remote[]} */
  remotes() {
    // The stage is a screen's, if one is shared.
    const several = this.#participants.length > 1 && this.shares().length === 0;
    return this.#participants.map((p) => {
      const line = (/** @type {SourceName} */ source) =>
        this.#assignments.find((a) => a.participant === p.participant && a.source === source)?.mid ?? null;
      return {
        participant: p.participant,
        name: p.name,
        role: p.role,
        choice: several ? (p.participant === this.#chosen ? 'chosen' : 'open') : 'none',
        microphoneMuted: p.microphone_muted,
        audio: this.#track(line('microphone')),
        ...this.#picture(p, line('camera'), p.camera_muted),
      };
    });
  }

  /** Lines that show a screen. @returns {Set<string>} */
  get screenMids() {
    return new Set(this.#assignments.flatMap((a) => (a.source === 'screen' ? [a.mid] : [])));
  }

  /** The screens others share. @returns {Share[]} */
  shares() {
    return this.#assignments.flatMap((a) => {
      const p = a.source === 'screen' ? this.#participants.find((p) => p.participant === a.participant) : undefined;
      return p ? [{ track: a.track, name: p.name, ...this.#picture(p, a.mid, false) }] : [];
    });
  }

  /**
   * @param {ParticipantInfo} publisher
   * @param {string | null} mid
   * @param {boolean} cameraMuted
   */
  #picture({ connected }, mid, cameraMuted) {
    const said = mid ? this.#said.get(mid) : undefined;
    return {
      connected,
      cameraMuted,
      video: this.#track(mid),
      sending: said?.sending ?? null,
      target: said?.target ?? 'p720',
      why: said?.reason ?? null,
      atRisk: mid !== null && this.#atRisk.has(mid),
    };
  }

  close() {
    this.#closed = true;
    void this.#uplink.then((uplink) => uplink.close());
    this.peerConnection.onconnectionstatechange = null;
    this.peerConnection.oniceconnectionstatechange = null;
    this.peerConnection.close();
  }

  /**
   * @param {string | null} mid
   * @returns {MediaStreamTrack | null}
   */
  #track(mid) {
    if (mid === null) return null;
    return this.peerConnection.getTransceivers().find((t) => t.mid === mid)?.receiver.track ?? null;
  }

  #subscribe() {
    const { assignments, changes, missing } = plan(this.#slots, this.#participants, this.#assignments);
    this.#assignments = assignments;
    for (const { mid, track } of changes) {
      this.#said.delete(mid);
      this.#atRisk.delete(mid);
      this.#hooks.send({ type: 'subscribe', mid, track });
    }
    for (const [mid, target] of targets(assignments, this.#chosen)) {
      if (this.#pinned.has(mid) || (this.#targets.get(mid) ?? 'p720') === target) continue;
      this.#targets.set(mid, target);
      this.#hooks.send({ type: 'target', mid, target });
    }
    // Lines that are asked for but not answered yet count as there, so that every state in between does not add more.
    const open = { audio: this.#lines.audio - count(this.#slots, 'audio'), video: this.#lines.video - count(this.#slots, 'video') };
    let added = false;
    for (const kind of /** @type {const} */ (['audio', 'video'])) {
      for (let i = open[kind]; i < missing[kind]; i += 1) {
        this.peerConnection.addTransceiver(kind, { direction: 'recvonly' });
        this.#lines[kind] += 1;
        added = true;
      }
    }
    if (added) this.#negotiate();
  }

  /** Lets the browser look at all ways to the server again. Media goes on meanwhile. */
  lookForBetterWay() {
    if (!this.#closed) this.#restartIce();
  }

  #restartIce() {
    this.peerConnection.restartIce();
    this.#negotiate();
  }

  /** Offers anew, or as soon as the present offer is answered. */
  #negotiate() {
    this.#stale = true;
    if (this.#negotiation.name === 'idle') void this.#offer();
  }

  async #offer() {
    this.#negotiation = { name: 'offering' };
    this.#stale = false;
    const pc = this.peerConnection;
    try {
      await pc.setLocalDescription();
    } catch (cause) {
      this.#broken(cause);
      return;
    }
    if (this.#closed) return;
    // No waiting for candidates: the server is ICE-lite and learns the client's address from its checks.
    this.#ask(pc.localDescription?.sdp ?? '');
  }

  /** @param {string} sdp */
  #ask(sdp) {
    offers += 1;
    this.#negotiation = { name: 'asked', id: offers };
    // Until the first answer is here this is a new connection to the server, which may still hold the one before.
    const fresh = this.peerConnection.remoteDescription === null;
    // If the connection to the server is down this goes nowhere; `resync` says it again.
    this.#hooks.send({ type: 'offer', id: offers, sdp: markScreen(sdp, this.#screen?.mid ?? null), ...(fresh ? { fresh } : {}) });
  }

  /**
   * @param {number} id
   * @param {string} sdp
   * @param {SlotInfo[]} slots
   */
  async #answered(id, sdp, slots) {
    if (this.#closed || this.#negotiation.name !== 'asked' || this.#negotiation.id !== id) return;
    try {
      await this.peerConnection.setRemoteDescription({ type: 'answer', sdp });
    } catch (cause) {
      this.#broken(cause);
      return;
    }
    if (this.#closed) return;
    this.#slots = slots;
    this.#negotiation = { name: 'idle' };
    void this.#uplink.then((uplink) => uplink.keepResolution());
    this.#subscribe();
    this.#hooks.onChange();
    if (this.#stale) this.#negotiate();
  }

  /**
   * @param {number} id
   * @param {string} reason
   */
  async #refused(id, reason) {
    if (this.#closed || this.#negotiation.name !== 'asked' || this.#negotiation.id !== id) return;
    if (!this.peerConnection.remoteDescription) {
      this.#broken(new Error(`the first offer was refused: ${reason}`));
      return;
    }
    // The session is as it was before; without the lines asked for, somebody stays unseen, which is better than no call.
    try {
      await this.peerConnection.setLocalDescription({ type: 'rollback' });
    } catch (cause) {
      this.#broken(cause);
      return;
    }
    this.#negotiation = { name: 'idle' };
    // What changed since that offer is offered nevertheless: the end of a screen must not get lost.
    if (this.#stale) this.#negotiate();
    if (this.#screen?.sender.track && this.#screen.currentDirection !== 'sendonly') this.#hooks.onScreenRefused();
  }

  /** @param {unknown} cause */
  #broken(cause) {
    if (this.#closed) return;
    console.warn('housecall: the media connection has to be built anew', cause);
    this.connection = 'failed';
    this.#hooks.onFailed();
  }

  #connectionChanged() {
    if (this.#closed) return;
    const before = this.connection;
    this.connection = connectionOf(this.peerConnection.connectionState, this.peerConnection.iceConnectionState);
    if (this.connection === before) return;
    this.#hooks.onChange();
    // Restart while ICE is merely disconnected; once it has failed, Firefox would connect again but never play.
    if (this.connection === 'interrupted') this.#restartIce();
    if (this.connection === 'failed') this.#hooks.onFailed();
  }
}

/**
 * @param {RTCPeerConnectionState} whole
 * @param {RTCIceConnectionState} ice
 * @returns {MediaConnection}
 */
export function connectionOf(whole, ice) {
  if (whole === 'failed' || ice === 'failed') return 'failed';
  if (whole === 'disconnected' || ice === 'disconnected') return 'interrupted';
  if (whole === 'connected') return 'connected';
  return whole === 'new' ? 'new' : 'connecting';
}

/**
 * @param {SlotInfo[]} slots
 * @param {'audio' | 'video'} kind
 */
function count(slots, kind) {
  return slots.filter((s) => s.kind === kind).length;
}

/**
 * @param {RTCRtpSender} sender
 * @param {MediaStreamTrack | null} track
 */
async function replace(sender, track) {
  if (sender.track === track) return;
  await sender.replaceTrack(track);
}
