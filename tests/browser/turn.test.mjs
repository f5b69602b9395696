/** Visits of people whose browsers may use the relay only: every packet goes through TURN on the media port. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { decodes, hook, joins, meet, relayOnly, selected, settles, until } from './support/page.mjs';
import { Server } from './support/server.mjs';
import { windows } from './support/windows.mjs';

const { person, visit, server } = windows({ host: '0.0.0.0', relay: 'hand-over-udp' });

/** Relayed candidates by UDP only: TURN over TCP is named too, and is taken if its answer comes first. */
const relayedByUdp = `globalThis.relayUrls = (url) => url.endsWith('?transport=udp'); ${relayOnly}`;

const turnPackets = async () => {
  const text = await (await fetch(`${server().origin}/metrics`)).text();
  return Number(/^housecall_media_packets_total\{kind="turn_in"\} (\d+)/m.exec(text)?.[1] ?? 0);
};

test('by default the way is direct', async () => {
  const own = await Server.start();
  try {
    const links = await own.visit('patient', 'clinician');
    const [patient, clinician] = [await person(links.patient), await person(links.clinician)];
    await meet(patient, clinician);
    for (const page of [patient, clinician]) {
      await decodes(page, { frames: 30, audioSeconds: 1 });
      await settles(page, 'direct', ({ local }) => /^(host|prflx)$/.test(local?.candidateType));
    }
  } finally {
    await own.stop();
  }
});

test('a fact of Chromium: told of TURN over UDP at the address of media, it does not take the direct way', async () => {
  const own = await Server.start({ relay: 'hand-over-udp' });
  try {
    const links = await own.visit('patient', 'clinician');
    const [patient, clinician] = [await person(links.patient), await person(links.clinician)];
    await meet(patient, clinician);
    for (const page of [patient, clinician]) {
      await decodes(page, { frames: 30, audioSeconds: 1 });
      const { local, remote } = await selected(page);
      const way = local.candidateType === 'relay' ? 'relay' : remote.protocol;
      assert.match(way, /^(relay|tcp)$/, 'if this is udp, look at docs/decisions/0003 again');
    }
  } finally {
    await own.stop();
  }
});

describe('through the relay alone', () => {
  test('two people see and hear each other, by channels and not by indications', async () => {
    const links = await visit('patient', 'clinician');
    const patient = await person(links.patient, { script: relayedByUdp });
    const clinician = await person(links.clinician, { script: relayedByUdp });
    const began = performance.now();
    await meet(patient, clinician);
    for (const page of [patient, clinician]) await decodes(page, { frames: 100, audioSeconds: 3 });
    console.log(`relay: both in the visit and 100 frames decoded after ${Math.round(performance.now() - began)} ms`);
    for (const page of [patient, clinician]) {
      const { local } = await selected(page);
      assert.equal(local.candidateType, 'relay');
      assert.equal(local.relayProtocol, 'udp');
      assert.match(local.url, /^turn:/);
      assert.deepEqual(page.errors, []);
    }
    await until('media came in through TURN', async () => (await turnPackets()) > 500);
  });

  test('one person behind the relay and one without, a reload, and the end', async () => {
    const links = await visit('patient', 'clinician');
    const patient = await person(links.patient, { script: relayOnly });
    const clinician = await person(links.clinician);
    await meet(patient, clinician);
    for (const page of [patient, clinician]) await decodes(page, { frames: 60, audioSeconds: 2 });
    assert.equal((await selected(patient)).local.candidateType, 'relay');
    await settles(clinician, 'direct, which is preferred', ({ local }) => local && local.candidateType !== 'relay');

    await patient.reload();
    await joins(patient, 'remote-video');
    await hook(patient, 'remote-video').waitFor();
    await decodes(patient, { frames: 60, audioSeconds: 2 });
    assert.equal((await selected(patient)).local.candidateType, 'relay');
    await decodes(clinician, { frames: 30 });
  });
});
