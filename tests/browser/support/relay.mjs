/**
 * A bad network between browsers and the server: a UDP relay that loses packets by a seed, is thin or long, goes dark, or watches what passes.
 *
 * A page is sent through it by `relay.script`, run in the page before its own scripts: it puts the relay's address into
 * the candidates of every answer. The server is ICE-lite and learns the client's address, here the relay's, from its checks.
 */

import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';

/** Browsers that one relay serves, for a runaway test must not eat all sockets. A browser uses a few local ports each. */
const MAX_CLIENTS = 64;

/** An address of this machine that Firefox takes as a candidate, for it refuses loopback; loopback if there is no other. */
const ownAddress = () =>
  Object.values(networkInterfaces())
    .flat()
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';

/** Socket buffers, in bytes (the kernel may grant less): a test that is kept from the processor for a moment loses nothing by chance. */
const RECEIVE_BUFFER = 4 << 20;
/** How long a datagram may wait for a thin uplink before it is dropped, in ms: what a home router's queue holds. */
const MAX_QUEUE = 300;
/** Bytes of IP and UDP headers of a datagram. */
const HEADERS = 28;

/** A small generator with a seed (mulberry32): numbers in [0, 1). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** RTP and RTCP by their first byte (RFC 7983 §7). STUN and DTLS repeat themselves in their own time; losing them tests patience. */
const isMedia = (datagram) => datagram[0] >= 128 && datagram[0] <= 191;

/** What a datagram is, by its first bytes (RFC 7983 §7, RFC 5761 §4). */
export function kindOf(datagram) {
  if (datagram[0] < 4) return 'stun';
  if (datagram[0] >= 20 && datagram[0] <= 63) return 'dtls';
  if (!isMedia(datagram)) return 'other';
  return datagram[1] >= 192 && datagram[1] <= 223 ? 'rtcp' : 'rtp';
}

/** The clear part of an SRTP packet: its header, with the one-byte header extensions (RFC 8285 §4.2) by their ids. */
export function readRtp(datagram) {
  const header = {
    payloadType: datagram[1] & 0x7f,
    sequence: datagram.readUInt16BE(2),
    timestamp: datagram.readUInt32BE(4),
    ssrc: datagram.readUInt32BE(8),
    extensions: new Map(),
  };
  const start = 12 + 4 * (datagram[0] & 0x0f);
  if ((datagram[0] & 0x10) === 0 || datagram.readUInt16BE(start) !== 0xbede) return header;
  const end = start + 4 + 4 * datagram.readUInt16BE(start + 2);
  for (let at = start + 4; at < end; ) {
    const [id, length] = [datagram[at] >> 4, (datagram[at] & 0x0f) + 1];
    at += 1;
    // Id 0 is a byte of padding.
    if (id === 0) continue;
    header.extensions.set(id, datagram.subarray(at, at + length));
    at += length;
  }
  return header;
}

/** Whether a STUN message has an attribute of this type (RFC 8489 §14). */
export function hasAttribute(message, type) {
  for (let at = 20; at + 4 <= message.length; at += 4 + ((message.readUInt16BE(at + 2) + 3) & ~3)) {
    if (message.readUInt16BE(at) === type) return true;
  }
  return false;
}

export class Relay {
  /** True: nothing passes. */
  dark = false;
  /** What the link towards the server carries, in bit/s; `null`: everything. */
  uplink = null;
  /** How much later everything arrives, each way, in ms; and up to so much more for each datagram, without overtaking. */
  delay = 0;
  jitter = 0;
  /** Called with each datagram that passes: (direction, datagram), where direction is "up" (to the server) or "down". */
  watch = null;
  /** Called the same way with each datagram of media that is not lost by chance: true, and it is lost on purpose. */
  drop = null;
  /** Called the same way with each datagram that comes, before it is known whether it passes: what an eavesdropper at the sender's side has. */
  overhear = null;
  /** Media datagrams so far. */
  counts = { up: { passed: 0, lost: 0 }, down: { passed: 0, lost: 0 } };

  #front = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER });
  #closed = false;
  /** When the uplink has sent all that waits for it. */
  #uplinkFree = 0;
  /** The socket towards the server of each client, by the client's address. */
  #clients = new Map();
  #server;
  /** Ours and the server's. Also towards the server, for it tells the browser from where its checks come, and Firefox refuses loopback there, too. */
  #address = ownAddress();
  #loss;
  #dice;
  /** When the last datagram of each way arrives. */
  #arrival = { up: 0, down: 0 };

  /** Relays to the server's `port` (it must listen on every address), losing this share of media datagrams each way. */
  static async start({ port, loss = 0, seed = 1 }) {
    const relay = new Relay();
    relay.#server = port;
    relay.#loss = loss;
    // One for each way: what is lost on one does not depend on what passes on the other.
    relay.#dice = { up: random(seed), down: random(seed + 1) };
    relay.#front.on('message', (datagram, from) => relay.#client(from)?.(datagram));
    await new Promise((resolve, reject) => {
      relay.#front.once('error', reject);
      relay.#front.bind(0, relay.#address, resolve);
    });
    return relay;
  }

  /** Source text that sends a page's media through this relay. */
  get script() {
    const { address, port } = this.#front.address();
    // The rest of what the server offers would lead around the relay.
    return `
      const { setRemoteDescription } = RTCPeerConnection.prototype;
      RTCPeerConnection.prototype.setRemoteDescription = function (description) {
        const sdp = description?.sdp
          ?.replace(/^a=candidate:(?!1 ).*\\r\\n/gm, '')
          .replace(/^(a=candidate:1 1 udp \\d+) \\S+ \\d+/gm, '$1 ${address} ${port}');
        return setRemoteDescription.call(this, sdp ? { type: description.type, sdp } : description);
      };`;
  }

  async close() {
    this.#closed = true;
    const sockets = [this.#front, ...[...this.#clients.values()].map(({ socket }) => socket)];
    this.#clients.clear();
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.close(resolve))));
  }

  /** What takes a datagram of this client to the server. */
  #client({ address, port }) {
    const key = `${address} ${port}`;
    let client = this.#clients.get(key);
    if (!client && this.#clients.size < MAX_CLIENTS) {
      const socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER });
      // "Refused" while the server is being restarted.
      socket.on('error', () => {});
      socket.on('message', (datagram) => this.#passes('down', datagram) && this.#late('down', () => this.#front.send(datagram, port, address)));
      const send = (datagram) =>
        this.#passes('up', datagram) &&
        this.#throttle(datagram.length, () => this.#late('up', () => socket.send(datagram, this.#server, this.#address)));
      client = { socket, send };
      this.#clients.set(key, client);
    }
    return client?.send;
  }

  /** Sends when the uplink has got so far, or not at all. */
  #throttle(bytes, send) {
    if (this.uplink === null) return send();
    const now = performance.now();
    const start = Math.max(now, this.#uplinkFree);
    if (start - now > MAX_QUEUE) return;
    this.#uplinkFree = start + ((bytes + HEADERS) * 8_000) / this.uplink;
    setTimeout(() => this.#closed || send(), this.#uplinkFree - now);
  }

  /** Sends after the delay of the way. */
  #late(direction, send) {
    if (this.delay === 0 && this.jitter === 0) return send();
    const now = performance.now();
    const at = Math.max(this.#arrival[direction], now + this.delay + this.jitter * this.#dice[direction]());
    this.#arrival[direction] = at;
    setTimeout(() => this.#closed || send(), at - now);
  }

  #passes(direction, datagram) {
    if (this.dark) return false;
    this.overhear?.(direction, datagram);
    if (isMedia(datagram)) {
      const lost = this.#dice[direction]() < this.#loss || (this.drop?.(direction, datagram) ?? false);
      this.counts[direction][lost ? 'lost' : 'passed'] += 1;
      if (lost) return false;
    }
    this.watch?.(direction, datagram);
    return true;
  }
}
