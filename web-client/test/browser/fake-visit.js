// @ts-check
/**
 * Runs in the page before its own scripts: a WebSocket that speaks the signalling protocol, and in place of the SFU a second
 * peer connection in the same page, which sends a drawn person. `globalThis.fake` steers it from the test.
 */
(() => {
  /** @type {any} */
  const g = globalThis;
  /** @type {any} */
  let socket = null;
  /** @type {any[]} */
  const sent = [];
  /** @type {any} */
  let state = { you: { place: 'waiting', position: 1 }, clinician: 'not_started', participants: [], queue: [] };
  let refuse = false;
  let refuseOffers = false;

  class FakeSocket {
    onopen = null;
    onmessage = null;
    onclose = null;
    constructor() {
      socket = this;
      setTimeout(() => (refuse ? /** @type {any} */ (this).onclose?.({}) : /** @type {any} */ (this).onopen?.({})), 10);
    }
    /** @param {string} text */
    send(text) {
      const message = JSON.parse(text);
      sent.push(message);
      if (message.type === 'hello') {
        say({ type: 'welcome', you: 'me', role: g.fakeRole ?? 'patient', resume: 'r', resumed: false, ice_servers: [] });
        say({ type: 'state', ...state });
      } else if (message.type === 'offer') {
        if (refuseOffers) say({ type: 'offer_refused', id: message.id, message: 'the server is busy' });
        else void answer(message);
      }
      else if (message.type === 'subscribe' && message.track?.endsWith('-s')) {
        // A shared screen.
        void far?.getTransceivers().find((t) => t.mid === message.mid)?.sender.replaceTrack(results());
      } else if (message.type === 'end_visit') say({ type: 'ended', reason: 'visit_ended', message: '' });
      else if (message.type === 'ping') say({ type: 'pong', id: message.id });
    }
    close() {}
  }
  /** @param {unknown} message */
  function say(message) {
    setTimeout(() => /** @type {any} */ (socket)?.onmessage?.({ data: JSON.stringify(message) }), 1);
  }

  /** @type {RTCPeerConnection | null} */
  let far = null;
  let offers = '';
  /** @param {{id: number, sdp: string}} offer */
  async function answer({ id, sdp }) {
    const first = /a=fingerprint:.*/.exec(sdp)?.[0] ?? '';
    if (!far || first !== offers) {
      far?.close();
      far = new RTCPeerConnection();
      offers = first;
    }
    const pc = far;
    await pc.setRemoteDescription({ type: 'offer', sdp });
    const slots = [];
    for (const section of sdp.split('\r\nm=').slice(1)) {
      if (!section.includes('a=recvonly')) continue;
      const mid = /a=mid:(\S+)/.exec(section)?.[1] ?? '';
      const kind = section.startsWith('audio') ? 'audio' : 'video';
      slots.push({ mid, kind });
      const transceiver = pc.getTransceivers().find((t) => t.mid === mid);
      if (transceiver && transceiver.direction !== 'sendonly') {
        transceiver.direction = 'sendonly';
        await transceiver.sender.replaceTrack(kind === 'video' ? (g.drawn?.track('doctor') ?? person(slots.length)) : hum());
      }
    }
    await pc.setLocalDescription();
    await new Promise((resolve) => {
      if (pc.iceGatheringState === 'complete') resolve(undefined);
      pc.addEventListener('icegatheringstatechange', () => pc.iceGatheringState === 'complete' && resolve(undefined));
    });
    say({ type: 'answer', id, sdp: pc.localDescription?.sdp, slots });
  }

  /** @param {number} seed */
  function person(seed) {
    const canvas = document.createElement('canvas');
    canvas.width = 1280;
    canvas.height = 720;
    const c = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    let at = 0;
    setInterval(() => {
      at += 1;
      const wall = c.createLinearGradient(0, 0, 1280, 720);
      wall.addColorStop(0, seed % 2 ? '#b9c7c4' : '#cbbfae');
      wall.addColorStop(1, seed % 2 ? '#7f9894' : '#93826a');
      c.fillStyle = wall;
      c.fillRect(0, 0, 1280, 720);
      const sway = Math.sin(at / 20) * 12;
      c.fillStyle = '#2f4858';
      c.beginPath();
      c.ellipse(640 + sway / 2, 740, 330, 300, 0, 0, 7);
      c.fill();
      c.fillStyle = '#c98f6b';
      c.beginPath();
      c.ellipse(640 + sway, 330, 120, 155, 0, 0, 7);
      c.fill();
      c.fillStyle = '#3b2a20';
      c.beginPath();
      c.ellipse(640 + sway, 245, 135, 95, 0, 0, 7);
      c.fill();
    }, 40);
    return canvas.captureStream(25).getVideoTracks()[0] ?? null;
  }

  /** A page of results, as a clinician would show them. */
  function results() {
    const canvas = document.createElement('canvas');
    canvas.width = 1280;
    canvas.height = 720;
    const c = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    c.scale(2 / 3, 2 / 3);
    const rows = ['Haemoglobin   13.8 g/dL   12.0 – 15.5', 'Leucocytes     6.1 /nL   4.0 – 10.0', 'Ferritin       18 µg/L   15 – 150', 'TSH         2.4 mU/L   0.4 – 4.0', 'HbA1c          5.4 %   4.0 – 5.6'];
    setInterval(() => {
      c.fillStyle = '#fff';
      c.fillRect(0, 0, 1920, 1080);
      c.fillStyle = '#12343b';
      c.font = '600 64px sans-serif';
      c.fillText('Results of 18 November', 110, 150);
      c.font = '48px sans-serif';
      rows.forEach((row, i) => c.fillText(row, 110, 300 + i * 110));
      c.fillStyle = '#0b7a75';
      c.fillRect(110, 900, 1700, 8);
      c.strokeRect(2, 2, 1916, 1076);
    }, 200);
    const track = canvas.captureStream(5).getVideoTracks()[0] ?? null;
    if (track) track.contentHint = 'text';
    return track;
  }

  function hum() {
    const context = new AudioContext();
    const target = context.createMediaStreamDestination();
    return target.stream.getAudioTracks()[0] ?? null;
  }

  g.WebSocket = FakeSocket;
  g.fake = {
    sent,
    say,
    /** @param {any} next */
    state(next) {
      state = { ...state, ...next };
      say({ type: 'state', ...state });
    },
    /** Stops or resumes what the other side sends, as the server does. @param {boolean} on */
    async picture(on) {
      for (const sender of far?.getSenders() ?? []) {
        if (sender.track?.kind !== 'video') continue;
        const parameters = sender.getParameters();
        for (const encoding of parameters.encodings) encoding.active = on;
        await sender.setParameters(parameters);
      }
    },
    drop() {
      refuse = true;
      socket?.onclose?.({});
    },
    restore() {
      refuse = false;
    },
    /** @param {boolean} on */
    refuseOffers(on) {
      refuseOffers = on;
    },
  };
})();
