/** What both browsers do with what we send and ask for, as far as we rely on it. The numbers name the sections of the page on browser facts. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { house } from './support/house.mjs';
import { watchHoles } from './support/machine.mjs';
import { decodes, hook, inbound, meet, stats, until } from './support/page.mjs';
import { kindOf, readRtp } from './support/relay.mjs';

const { person, pairBehindRelay, visit } = house();

/** The patient is in the browser of that name. */
const pair = (name, script) => pairBehindRelay(name, 'Chromium', { script });

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const outbound = async (page, kind) => (await stats(page)).filter((stat) => stat.type === 'outbound-rtp' && stat.kind === kind);

for (const name of ['Chromium', 'Firefox']) {
  describe(`what ${name} does`, () => {
    test('2: packets that carry a byte of padding are decoded like any other', async () => {
      const isWhole = watchHoles();
      const { relay, patient, clinician } = await pair(name);
      let [padded, ssrc] = [0, null];
      relay.watch = (way, datagram) => {
        // The P bit of RTP (RFC 3550 §5.1) stands in the clear; probes have it too, on another SSRC.
        if (way === 'down' && kindOf(datagram) === 'rtp' && (datagram[0] & 0x20) !== 0 && readRtp(datagram).ssrc === ssrc) padded += 1;
      };
      await meet(patient, clinician);
      await decodes(patient, { frames: 30 });
      ssrc = (await inbound(patient, 'video')).ssrc;
      const before = await inbound(patient, 'video');
      await until('some packets of the picture are padded', () => padded >= 20, 60_000);
      await decodes(patient, { frames: 30 });
      // Once no more comes, a busy machine has decoded all of it too, or says what it left out.
      await hook(clinician, 'camera').click();
      const since = (now, field) => (now[field] ?? 0) - (before[field] ?? 0);
      const now = await until(`what came is decoded, with ${padded} packets padded`, async () => {
        const now = await inbound(patient, 'video');
        const accounted = since(now, 'framesDecoded') + since(now, 'framesDropped');
        return accounted >= since(now, 'framesReceived') - 5 && now;
      });
      // A frame that can't be decoded would end the picture and ask for a key frame, once for each.
      const asked = now.nackCount - before.nackCount + now.pliCount - before.pliCount;
      const dropped = isWhole(now, 'nothing is missing');
      assert.ok(asked === 0 || dropped > 0, `nothing was asked for: ${asked}`);
    });

    test('5: where nobody speaks hardly any sound is sent (DTX), as the answer asks', async () => {
      const { relay, patient, clinician } = await pair(name);
      let [packets, ssrc] = [0, null];
      relay.watch = (way, datagram) => {
        if (way === 'up' && kindOf(datagram) === 'rtp' && readRtp(datagram).ssrc === ssrc) packets += 1;
      };
      await meet(patient, clinician);
      await decodes(clinician, { frames: 10, audioSeconds: 1 });
      const answer = await patient.evaluate(() => globalThis.housecall.peerConnection.remoteDescription.sdp);
      assert.match(answer, /usedtx=1/);
      ssrc = (await outbound(patient, 'audio'))[0].ssrc;
      /** Packets a second. */
      const rate = async () => {
        packets = 0;
        await pause(2_000);
        return packets / 2;
      };
      await hook(patient, 'mute').click();
      await until('silence is not sent fifty times a second', async () => (await rate()) < 15);
      await hook(patient, 'mute').click();
      await until('sound is', async () => (await rate()) > 25);
    });
  });
}

describe('what Chromium does', () => {
  test('3: the start bitrate of the answer is where its estimate begins', async () => {
    const first = async (strip) => {
      const script = `
        globalThis.estimates = [];
        const Plain = RTCPeerConnection;
        globalThis.RTCPeerConnection = class extends Plain {
          constructor(configuration) {
            super(configuration);
            setInterval(async () => {
              for (const stat of (await this.getStats()).values()) {
                if (stat.type === 'candidate-pair' && stat.availableOutgoingBitrate > 0) globalThis.estimates.push(stat.availableOutgoingBitrate);
              }
            }, 20);
          }
          setRemoteDescription(description) {
            const sdp = ${strip} ? description.sdp.replace(/x-google-start-bitrate=\\d+/g, 'x-nothing=1') : description.sdp;
            return super.setRemoteDescription({ type: description.type, sdp });
          }
        };`;
      const { relay, patient } = await pair('Chromium', script);
      // Without feedback it stays where it begins, however late a busy machine looks.
      relay.drop = (way, datagram) => way === 'down' && kindOf(datagram) === 'rtcp';
      await hook(patient, 'join-button').click();
      await until('there is an estimate', () => patient.evaluate(() => globalThis.estimates.length > 0));
      return patient.evaluate(() => globalThis.estimates[0]);
    };
    const [told, alone] = [await first(false), await first(true)];
    assert.ok(told >= 1_200_000 && alone < 600_000, `${told} bit/s, ${alone} without the word of the answer`);
  });
});

/** Counts the frames that the page's camera sends, by size and temporal layer, before they are sealed. */
const counting = `
  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function (...args) {
    const transceiver = addTransceiver.apply(this, args);
    if (args[1]?.sendEncodings) {
      globalThis.counter = new Worker('/counter.js');
      transceiver.sender.transform = new RTCRtpScriptTransform(globalThis.counter);
    }
    return transceiver;
  };`;
const counter = `
  const frames = {};
  onrtctransform = ({ transformer: { readable, writable } }) => {
    const count = new TransformStream({
      transform(frame, controller) {
        const { width, height, temporalIndex } = frame.getMetadata();
        const layers = (frames[width + '×' + height] ??= {});
        layers[temporalIndex] = (layers[temporalIndex] ?? 0) + 1;
        controller.enqueue(frame);
      },
    });
    readable.pipeThrough(count).pipeTo(writable);
  };
  onmessage = () => postMessage(frames);`;

describe('what Chromium does with L1T3', () => {
  test('3: every second frame is of the highest of three temporal layers, every fourth of the lowest', async () => {
    const links = await visit('patient', 'clinician');
    // Our own rules for scripts would not let the counter in.
    const patient = await person('Chromium', links.patient, { script: counting, bypassCSP: true });
    await patient.context().route('**/counter.js', (route) => route.fulfill({ contentType: 'text/javascript', body: counter }));
    await meet(patient, await person('Chromium', links.clinician));
    const frames = await until('a hundred frames of the large layer were sent', async () => {
      const all = await patient.evaluate(
        () =>
          new Promise((resolve) => {
            globalThis.counter.onmessage = ({ data }) => resolve(data);
            globalThis.counter.postMessage('');
          }),
      );
      const large = all['1280×720'] ?? {};
      return Object.values(large).reduce((sum, one) => sum + one, 0) >= 100 && large;
    }, 40_000);
    const sum = Object.values(frames).reduce((sum, one) => sum + one, 0);
    const shares = Object.fromEntries(Object.entries(frames).map(([layer, one]) => [layer, Math.round((10 * one) / sum)]));
    assert.deepEqual(Object.keys(shares), ['0', '1', '2'], JSON.stringify(frames));
    assert.ok(shares[0] <= 4 && shares[1] <= 4 && shares[2] >= 4 && shares[2] <= 6, JSON.stringify(frames));
  });
});

describe('what Firefox does', () => {
  test('7: after half a minute of darkness the connection has failed; another one is built, and all is as before', async () => {
    const { relay, patient, clinician } = await pair('Firefox');
    await meet(patient, clinician);
    await decodes(patient, { frames: 30 });
    await patient.evaluate(() => {
      globalThis.before = globalThis.housecall.peerConnection;
      globalThis.states = [];
      globalThis.before.addEventListener('iceconnectionstatechange', () => globalThis.states.push(globalThis.before.iceConnectionState));
    });
    relay.dark = true;
    await until('another connection was built', () => patient.evaluate(() => globalThis.before !== globalThis.housecall.peerConnection), 90_000);
    const states = await patient.evaluate(() => globalThis.states);
    assert.ok(states.includes('failed'), `Firefox said ${states}`);
    relay.dark = false;
    for (const page of [patient, clinician]) await decodes(page, { frames: 30, audioSeconds: 1 });
    assert.equal(await patient.evaluate(() => globalThis.before.connectionState), 'closed');
  });
});
