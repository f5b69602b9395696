/** Visits of people whose network lets no UDP out: over ICE-TCP, TURN/TCP and TURN/TLS, all on the one port. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { after, afterEach, before, describe, test } from 'node:test';
import { connect } from 'node:tls';

import { Authority } from './support/authority.mjs';
import { launch, open } from './support/chromium.mjs';
import * as firefox from './support/firefox.mjs';
import { decodes, meet, relayOnly, selected, settles, stats, until } from './support/page.mjs';
import { Server } from './support/server.mjs';

/** Takes what goes over UDP out of every answer, as a firewall does with the packets. */
const noUdp = `
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    const sdp = description?.sdp?.replace(/^a=candidate:\\S+ 1 udp .*\\r\\n/gm, '');
    return setRemoteDescription.call(this, sdp ? { type: description.type, sdp } : description);
  };`;

/** Relayed candidates only, by addresses that begin like this. */
const relayedBy = (start) => `globalThis.relayUrls = (url) => url.startsWith('${start}'); ${relayOnly}`;

let authority;
let server;
let browser;
let people = [];

before(async () => {
  authority = await Authority.create();
  const tls = await authority.issue('localhost', 'DNS:localhost', 'IP:127.0.0.1');
  server = await Server.start({ host: '0.0.0.0', tls });
  browser = await launch({ home: authority.home });
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await authority?.remove();
});
afterEach(async () => {
  for (const page of people) await page.context().close();
  people = [];
});

async function person(link, script) {
  const page = await open(browser, link, { script });
  people.push(page);
  return page;
}

/** The fingerprint of the certificate that a new connection is shown. */
const shown = () =>
  new Promise((resolve, reject) => {
    const socket = connect({ port: server.port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on('error', reject);
  });

const metrics = () =>
  new Promise((resolve, reject) => {
    const ca = readFileSync(authority.root);
    get(`${server.origin}/metrics`, { ca }, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve(text);
    }).on('error', reject);
  });

/** A visit of two people with these scripts: both see and hear each other for a while. How long the first frames took, in ms. */
async function visit(patientScript, clinicianScript) {
  const links = await server.visit('patient', 'clinician');
  return talk(await person(links.patient, patientScript), await person(links.clinician, clinicianScript));
}

async function talk(patient, clinician) {
  const began = performance.now();
  await meet(patient, clinician);
  for (const page of [patient, clinician]) await decodes(page, { frames: 1 });
  const first = Math.round(performance.now() - began);
  for (const page of [patient, clinician]) {
    await decodes(page, { frames: 90, audioSeconds: 3 });
    assert.deepEqual(page.errors, []);
  }
  return { patient, clinician, first };
}

describe('without UDP', () => {
  test('by default the way is direct, over UDP, and the page came over TLS', async () => {
    const { patient, clinician, first } = await visit();
    console.log(`direct: first frames ${first} ms after the press`);
    for (const page of [patient, clinician]) {
      assert.match(page.url(), /^https:/);
      await settles(page, 'direct over UDP', ({ local, remote }) => remote?.protocol === 'udp' && /^(host|prflx)$/.test(local?.candidateType));
    }
  });

  test('ICE over TCP carries the visit', async () => {
    const { patient, clinician, first } = await visit(noUdp);
    console.log(`ICE-TCP: first frames ${first} ms after the press`);
    const { local, remote } = await selected(patient);
    assert.equal(local.protocol, 'tcp');
    assert.equal(remote.protocol, 'tcp');
    await settles(clinician, 'over UDP', ({ remote: other }) => other?.protocol === 'udp');
  });

  for (const [name, start, protocol] of [
    ['TURN over TCP', 'turn:', 'tcp'],
    ['TURN over TLS', 'turns:', 'tls'],
  ]) {
    test(`${name} carries the visit of two people`, async () => {
      const { patient, clinician, first } = await visit(relayedBy(start), relayedBy(start));
      console.log(`${name}: first frames ${first} ms after the press`);
      for (const page of [patient, clinician]) {
        const { local } = await selected(page);
        assert.equal(local.candidateType, 'relay');
        assert.equal(local.relayProtocol, protocol);
        assert.ok(local.url.startsWith(start));
      }
    });
  }

  test('a new certificate is used as soon as it lies there, and a visit over TURN/TLS goes on', async () => {
    const { patient, clinician } = await visit(relayedBy('turns:'), relayedBy('turns:'));
    const before = await shown();
    await authority.issue('localhost', 'DNS:localhost', 'IP:127.0.0.1');
    const began = performance.now();
    await until('new handshakes are on the new certificate', async () => (await shown()) !== before);
    console.log(`a new certificate was in use after ${Math.round(performance.now() - began)} ms`);
    for (const page of [patient, clinician]) {
      await decodes(page, { frames: 60, audioSeconds: 2 });
      const { local } = await selected(page);
      assert.equal(local.relayProtocol, 'tls');
      assert.equal(await page.evaluate(() => globalThis.housecall.peerConnection.connectionState), 'connected');
      assert.deepEqual(page.errors, []);
    }
  });

  test('metrics tell the paths', async () => {
    await visit(relayedBy('turns:'), noUdp);
    // Those of the test before may be there for a moment still.
    const expected = [/^housecall_media_transports\{path="turn_tls"\} 1$/m, /^housecall_media_transports\{path="tcp"\} 1$/m, /^housecall_turn_allocations [1-9]/m];
    let text;
    await until('they do', async () => {
      text = await metrics();
      return expected.every((line) => line.test(text));
    }).catch((error) => {
      throw new Error(`${error.message}:\n${text}`);
    });
  });
});

describe('without UDP, in Firefox', () => {
  let other;
  before(async () => {
    other = await firefox.launch({ authority });
  });
  after(() => other?.close());

  for (const [name, script, expected] of [
    ['ICE over TCP', noUdp, { candidateType: 'host', protocol: 'tcp' }],
    ['TURN over TCP', relayedBy('turn:'), { candidateType: 'relay', relayProtocol: 'tcp' }],
    ['TURN over TLS', relayedBy('turns:'), { candidateType: 'relay', relayProtocol: 'tls' }],
  ]) {
    test(`${name} carries a visit with somebody in Chromium`, async () => {
      const links = await server.visit('patient', 'clinician');
      const patient = await firefox.open(other, links.patient, { script });
      people.push(patient);
      const { first } = await talk(patient, await person(links.clinician));
      console.log(`Firefox, ${name}: first frames ${first} ms after the press`);
      const all = await stats(patient);
      const pair = all.find(({ type, selected }) => type === 'candidate-pair' && selected);
      const local = all.find(({ id }) => id === pair?.localCandidateId);
      const way = Object.fromEntries(Object.keys(expected).map((key) => [key, local?.[key]]));
      assert.deepEqual(way, expected);
    });
  }
});
