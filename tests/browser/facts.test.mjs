/**
 * What Chromium does, as far as we rely on it: a new version that does otherwise is noticed here, not in a visit. The numbers
 * name the sections of the page on browser facts; those of Firefox are in firefox.test.mjs.
 *
 * All tests share one visit, in their order: the patient's media passes through a relay that only watches.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launch, open } from './support/chromium.mjs';
import { watchHoles } from './support/machine.mjs';
import { decodes, inbound, meet, restartInTheDark, stats, until } from './support/page.mjs';
import { Relay, hasAttribute, kindOf, readRtp } from './support/relay.mjs';
import { Server } from './support/server.mjs';

let server;
let relay;
let browser;
let patient;
let clinician;
let isWhole;
/** The first datagrams of STUN and DTLS that passed the relay: {way, kind, nominates}. */
const first = [];
/** RTP streams sent by the patient, by SSRC: {first, last, packets, largest}. */
const streams = new Map();

function watch(way, datagram) {
  const kind = kindOf(datagram);
  // Not those of media: on a busy machine hundreds may come before a path is nominated.
  if (/^(stun|dtls)$/.test(kind) && first.length < 500) first.push({ way, kind, nominates: kind === 'stun' && hasAttribute(datagram, 0x0025) });
  if (way !== 'up' || kind !== 'rtp') return;
  const packet = readRtp(datagram);
  const stream = streams.get(packet.ssrc) ?? { first: packet, packets: 0, largest: 0 };
  stream.last = packet;
  stream.packets += 1;
  stream.largest = Math.max(stream.largest, datagram.length);
  stream.next?.(packet);
  streams.set(packet.ssrc, stream);
}

before(async () => {
  isWhole = watchHoles();
  server = await Server.start({ host: '0.0.0.0' });
  relay = await Relay.start({ port: server.port });
  relay.watch = watch;
  browser = await launch();
  const links = await server.visit('patient', 'clinician');
  patient = await open(browser, links.patient, { script: relay.script });
  clinician = await open(browser, links.clinician);
  await meet(patient, clinician);
  await decodes(clinician, { frames: 30 });
});
after(async () => {
  await browser?.close();
  await relay?.close();
  await server?.stop();
});

const find = async (page, wanted) => (await stats(page)).find((stat) => Object.entries(wanted).every(([key, value]) => stat[key] === value));
/** The patient's outgoing video layers by rid. */
async function layers() {
  const all = (await stats(patient)).filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video');
  return Object.fromEntries(all.map((layer) => [layer.rid, layer]));
}
const height = async () => (await inbound(clinician, 'video'))?.frameHeight;
const setTarget = (target) => clinician.evaluate((target) => globalThis.housecall.setTarget(target), target);
/** Switches a layer of the patient's on or off, and from then on what the server asks of the camera is not carried out. */
const setActive = (rid, active) =>
  patient.evaluate(
    async ({ rid, active }) => {
      const sender = globalThis.housecall.peerConnection.getSenders().find(({ track }) => track?.kind === 'video');
      const parameters = sender.getParameters();
      parameters.encodings.find((encoding) => encoding.rid === rid).active = active;
      sender.setParameters = async () => {};
      await RTCRtpSender.prototype.setParameters.call(sender, parameters);
    },
    { rid, active },
  );
const descriptions = () =>
  patient.evaluate(() => {
    const { localDescription, remoteDescription } = globalThis.housecall.peerConnection;
    return { offer: localDescription.sdp, answer: remoteDescription.sdp };
  });

describe('what Chromium does', () => {
  test('1: DTLS 1.2 with AEAD_AES_256_GCM; the ClientHello is two datagrams', async () => {
    const transport = await find(patient, { type: 'transport' });
    assert.equal(transport.tlsVersion, 'FEFD');
    assert.match(transport.srtpCipher, /AEAD_AES_256_GCM$/);
    assert.equal(transport.dtlsRole, 'client');
    const answered = first.findIndex(({ way, kind }) => way === 'down' && kind === 'dtls');
    const hello = first.slice(0, answered).filter(({ way, kind }) => way === 'up' && kind === 'dtls');
    assert.ok(hello.length >= 2, `the ClientHello came in ${hello.length} datagram(s)`);
  });

  test('7: towards ICE-lite it begins DTLS on a path that is not nominated yet', async () => {
    await until('a path is nominated', () => first.some(({ nominates }) => nominates));
    assert.equal(first.find(({ way, kind }) => way === 'up' && kind === 'stun').nominates, false);
    const dtls = first.findIndex(({ way, kind }) => way === 'up' && kind === 'dtls');
    const nominated = first.findIndex(({ nominates }) => nominates);
    assert.ok(dtls >= 0 && dtls < nominated, `DTLS at ${dtls}, nominated at ${nominated}`);
  });

  test('3: two layers low to high, 853×480 and 1280×720, with VP8 descriptors that can be read', async () => {
    const { offer, answer } = await descriptions();
    assert.match(offer, /a=simulcast:send m;h/);
    // With it, the VP8 descriptor would shrink to a byte and the picture id would be gone.
    assert.match(offer, /dependency-descriptor-rtp-header-extension/);
    assert.doesNotMatch(answer, /dependency-descriptor-rtp-header-extension/);
    // The server has the one switched off that nobody watches, on a slow machine before its first frame; there it may be either.
    for (const rid of ['m', 'h']) await setActive(rid, true);
    await until('both layers have their sizes', async () => {
      const { m, h } = await layers();
      return m.frameWidth === 853 && m.frameHeight === 480 && h.frameWidth === 1280 && h.frameHeight === 720;
    });
    await until('the picture at the clinician is the large one', async () => (await height()) === 720);
  });

  test('3: transport-wide feedback on a stream that is really sent lets the estimate rise', async (t) => {
    // One layer alone gives it no reason to rise; the server has the one that nobody watches switched off.
    await setActive('m', true);
    const began = { at: performance.now(), ...(await layers()) };
    // Without feedback, or with feedback that it ignores, it would stay at 300 kbit/s or decay to 80.
    await until(
      'the estimate has risen above what the answer told it to begin with',
      async () => (await find(patient, { type: 'candidate-pair', nominated: true }))?.availableOutgoingBitrate > 1_800_000,
    ).catch(async (error) => {
      // What is not sent cannot be estimated: the camera has twenty frames a second.
      const rate = (1_000 * ((await layers()).h.framesEncoded - began.h.framesEncoded)) / (performance.now() - began.at);
      if (rate > 12) throw error;
      t.skip(`this machine encodes ${rate.toFixed(1)} frames a second, too few to send what would raise the estimate`);
    });
  });

  test('3: RID and MID are on the first packets only; what was learnt from them holds', async () => {
    const { offer } = await descriptions();
    const id = (name) => Number(new RegExp(`a=extmap:(\\d+)\\S* urn:ietf:params:rtp-hdrext:sdes:${name}`).exec(offer)[1]);
    const [mid, rid, repaired] = [id('mid'), id('rtp-stream-id'), id('repaired-rtp-stream-id')];
    const sent = Object.values(await layers());
    assert.equal(sent.length, 2);
    for (const { rid: name, ssrc, rtxSsrc, mid: line } of sent) {
      const stream = streams.get(ssrc);
      assert.equal(String(stream.first.extensions.get(rid)), name);
      assert.equal(String(stream.first.extensions.get(mid)), line);
      await until(`a receiver report has named ${name}, and its packets go without`, () => !stream.last.extensions.has(rid) && !stream.last.extensions.has(mid));
      // Padding probes go out on the RTX stream before any media, and harm nothing: all of this visit came after them.
      const rtx = streams.get(rtxSsrc);
      if (rtx) assert.equal(String(rtx.first.extensions.get(repaired)), name);
    }
    await until('there were padding probes', () => sent.some(({ rtxSsrc }) => streams.has(rtxSsrc)));
    assert.doesNotMatch(offer, /a=ssrc-group:FID/, 'nothing but the packets tells which SSRC is which');
    for (const [target, lines] of [['p480', 480], ['p720', 720]]) {
      await setTarget(target);
      await until(`${lines} lines are decoded`, async () => (await height()) === lines);
    }
  });

  test('2: no RTP packet is larger than 1,200 bytes before SRTP adds its tag', () => {
    for (const [ssrc, { largest }] of streams) assert.ok(largest <= 1_216, `${largest} bytes on ${ssrc}`);
  });

  test('5: the answer makes it send RED around Opus at 32 kbit/s', async () => {
    const { offer } = await descriptions();
    const audio = await find(patient, { type: 'outbound-rtp', kind: 'audio' });
    const red = Number(/a=rtpmap:(\d+) red\/48000/.exec(offer)[1]);
    // Only since the answer lists it first. (getStats goes on naming the Opus inside.)
    await until('RED is sent', () => streams.get(audio.ssrc).last.payloadType === red);
    assert.equal(audio.targetBitrate, 32_000);
    // Each packet holds the one before, too: 80 bytes twice at 32 kbit/s, and no more than that.
    const mean = audio.bytesSent / audio.packetsSent;
    assert.ok(mean > 40 && mean < 200, `${mean} bytes a packet`);
  });

  test('4: a request for a key frame of one layer gives one on every layer', async () => {
    const before = await layers();
    await setTarget('p480');
    await until('480 lines are decoded', async () => (await height()) === 480);
    await until('both layers have made a key frame', async () => {
      const now = await layers();
      return ['m', 'h'].every((rid) => now[rid].keyFramesEncoded > before[rid].keyFramesEncoded);
    });
    const now = await layers();
    assert.ok(now.m.pliCount + now.h.pliCount - before.m.pliCount - before.h.pliCount >= 1, 'it was asked for');
    await setTarget('p720');
    await until('720 lines are decoded', async () => (await height()) === 720);
  });

  test('4: a layer that is switched off stops, and comes back with a key frame in the same sequence', async () => {
    const before = await layers();
    const stream = streams.get(before.h.ssrc);
    // The server has it switched off, for nobody watches it.
    await setActive('m', true);
    await until('the small layer is sent too', async () => (await layers()).m.framesSent > before.m.framesSent + 5);
    await setActive('h', false);
    // A busy machine may show the small one already, and have some of the large one still on its way.
    const { h: off, m: alone } = await until('only the other one is sent', async () => {
      const seen = await layers();
      await until('it goes on', async () => (await layers()).m.framesSent >= seen.m.framesSent + 10);
      const now = await layers();
      return now.h.framesSent === seen.h.framesSent && now;
    });
    await until('the clinician is shown it', async () => (await height()) === 480);
    const { packets, last } = stream;
    await until('the other one goes on', async () => (await layers()).m.framesSent > alone.framesSent + 30);
    assert.equal(stream.packets, packets, 'nothing is sent of the one that is off');
    // With one layer left it would be scaled down; "maintain-resolution" is what keeps its size.
    assert.equal((await layers()).m.frameHeight, 480);
    const next = new Promise((resolve) => {
      stream.next = resolve;
    });
    await setActive('h', true);
    await until('it is back with a key frame', async () => {
      const { h } = await layers();
      return h.framesSent > off.framesSent && h.keyFramesEncoded > off.keyFramesEncoded;
    });
    await until('the clinician is shown it again', async () => (await height()) === 720);
    assert.equal((await layers()).h.ssrc, before.h.ssrc);
    assert.equal((await next).sequence, (last.sequence + 1) & 0xffff, 'its sequence numbers go on without a gap');
    isWhole(await inbound(clinician, 'video'), 'switching leaves no hole in the sequence');
  });

  test('6: it asks for a key frame once a pause has lasted three seconds, not before, and goes on at a key frame', async () => {
    const before = await inbound(clinician, 'video');
    await setTarget('audio_only');
    await until('it asks for a key frame', async () => (await inbound(clinician, 'video')).pliCount > before.pliCount);
    const { timestamp, lastPacketReceivedTimestamp, framesDecoded } = await inbound(clinician, 'video');
    assert.ok(timestamp - lastPacketReceivedTimestamp > 2_500, `asked ${timestamp - lastPacketReceivedTimestamp} ms into the pause`);
    // Ours, who asked for the pause, gets none: the server does not trouble the patient.
    const { m, h } = await layers();
    await decodes(clinician, { audioSeconds: 1 });
    const now = await layers();
    assert.equal(now.m.pliCount + now.h.pliCount, m.pliCount + h.pliCount);
    await setTarget('p720');
    await until('the picture is back', async () => (await inbound(clinician, 'video')).framesDecoded > framesDecoded + 30);
    const after = await inbound(clinician, 'video');
    assert.ok(after.keyFramesDecoded > before.keyFramesDecoded);
    isWhole(after, 'a pause is no hole in the sequence');
  });

  test('7: an ICE restart brings a dark path back in the same DTLS session', async () => {
    first.length = 0;
    await restartInTheDark(patient, relay);
    for (const page of [patient, clinician]) await decodes(page, { frames: 30, audioSeconds: 1 });
    assert.equal(first.filter(({ kind }) => kind === 'dtls').length, 0, 'there was no new DTLS handshake');
  });

  test('3: on a thin uplink the large layer goes off by itself and the small one stays, as they are in this order', async () => {
    relay.uplink = 900_000;
    await until(
      'only the small one is sent',
      async () => {
        const before = await layers();
        await until('the small one goes on', async () => (await layers()).m.framesSent >= before.m.framesSent + 20);
        return (await layers()).h.framesSent === before.h.framesSent;
      },
      90_000,
    );
    const { m } = await layers();
    assert.deepEqual([m.frameWidth, m.frameHeight], [853, 480], 'and at its size');
    await until('the clinician is shown it', async () => (await height()) === 480);
    await decodes(clinician, { frames: 20 });
  });
});
