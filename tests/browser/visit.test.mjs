/** A visit in two Chromium windows through the real server. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { launch } from './support/chromium.mjs';
import { watchHoles } from './support/machine.mjs';
import { admit, decodes, hook, inbound, joins, meet, stats, until } from './support/page.mjs';
import { Server } from './support/server.mjs';
import { windows } from './support/windows.mjs';

const { person, pair, visit } = windows();

describe('a visit', () => {
  test('join, wait, admit: both see and hear each other in simulcast over an AEAD cipher', async () => {
    const { patient, clinician } = await pair();
    await hook(patient, 'join-button').click();
    await hook(patient, 'waiting').waitFor();
    await until('the transport is connected while the patient waits', () =>
      patient.evaluate(() => globalThis.housecall.peerConnection?.connectionState === 'connected'),
    );
    assert.equal((await inbound(patient, 'video'))?.framesDecoded ?? 0, 0, 'nothing is forwarded to somebody who waits');
    await admit(clinician);
    for (const page of [patient, clinician]) {
      await hook(page, 'remote-video').waitFor();
      await decodes(page, { frames: 150, audioSeconds: 5 });
      await until('720 lines are decoded', async () => (await inbound(page, 'video')).frameHeight === 720, 60_000);
    }
    for (const page of [patient, clinician]) {
      const transport = (await stats(page)).find((stat) => stat.type === 'transport');
      assert.match(transport.srtpCipher, /AEAD_AES_(128|256)_GCM/);
      // A busy machine may be sent the small one for a while.
      await until('of the two layers the one that is watched goes on', async () => {
        const layers = (await stats(page)).filter((stat) => stat.type === 'outbound-rtp' && stat.kind === 'video');
        assert.deepEqual(layers.map((layer) => layer.rid).sort(), ['h', 'm']);
        return String(layers.filter((layer) => layer.active).map((layer) => [layer.rid, layer.frameHeight])) === 'h,720';
      });
      assert.ok(await hook(page, 'self-video').isVisible());
      assert.ok(await hook(page, 'quality').isVisible());
      assert.deepEqual(page.errors, []);
    }
  });

  test('the picture switches 720 → 480 → none → 720 by request, and the decoder never breaks', async () => {
    const isWhole = watchHoles();
    const { patient, clinician } = await pair();
    await meet(patient, clinician);
    const height = async () => (await inbound(clinician, 'video'))?.frameHeight;
    await until('the first rung is 720', async () => (await height()) === 720);
    await clinician.evaluate(() => globalThis.housecall.setTarget('p480'));
    await until('480 lines are decoded', async () => (await height()) === 480);
    await decodes(clinician, { frames: 30 });
    await clinician.evaluate(() => globalThis.housecall.setTarget('audio_only'));
    await until('no picture comes any more', async () => {
      const before = (await inbound(clinician, 'video')).framesReceived;
      await new Promise((resolve) => setTimeout(resolve, 700));
      return (await inbound(clinician, 'video')).framesReceived === before;
    });
    await decodes(clinician, { audioSeconds: 2 });
    await clinician.evaluate(() => globalThis.housecall.setTarget('p720'));
    await until('720 lines are decoded again', async () => (await height()) === 720);
    await decodes(clinician, { frames: 30 });
    const video = await inbound(clinician, 'video');
    isWhole(video, 'switching leaves no hole in the sequence');
    isWhole(await inbound(clinician, 'audio'), 'nor in that of the sound');
  });

  test('a reloaded page is back in the visit after one press', async () => {
    const { patient, clinician } = await pair();
    await meet(patient, clinician);
    await decodes(clinician, { frames: 20 });
    await patient.reload();
    await joins(patient, 'remote-video');
    await hook(patient, 'remote-video').waitFor();
    await decodes(patient, { frames: 30, audioSeconds: 1 });
    await decodes(clinician, { frames: 30, audioSeconds: 1 });
    assert.equal(await clinician.locator('[data-test="remote-video"]').count(), 1, 'the ghost is gone');
  });

  test('either can hang up and come back', async () => {
    const { patient, clinician } = await pair();
    await meet(patient, clinician);
    for (const [leaver, other] of [[patient, clinician], [clinician, patient]]) {
      await decodes(leaver, { frames: 10 });
      await hook(leaver, 'hang-up').click();
      await hook(leaver, 'rejoin').click();
      await joins(leaver, 'remote-video');
      await hook(leaver, 'remote-video').waitFor();
      await decodes(leaver, { frames: 20 });
      await decodes(other, { frames: 20 });
    }
  });

  test('mute and camera buttons stop and bring back sound and picture', async () => {
    const { patient, clinician } = await pair();
    await meet(patient, clinician);
    await decodes(clinician, { frames: 20, audioSeconds: 1 });
    await silences(patient, clinician);
  });

  test('a patient without camera and microphone is in the visit and sees and hears the clinician', async () => {
    const bare = await launch({ devices: false });
    try {
      const links = await visit('patient', 'clinician');
      const patient = await person(links.patient, {}, bare);
      const clinician = await person(links.clinician);
      await hook(patient, 'join-button').click();
      await hook(patient, 'waiting').waitFor();
      await admit(clinician);
      await decodes(patient, { frames: 60, audioSeconds: 2 });
      await clinician.getByText('Pat Example').first().waitFor();
    } finally {
      await bare.close();
    }
  });

  // Only an address of its own makes Chromium use IPv6 at all.
  const ipv6 = Object.values(networkInterfaces()).flat().some(({ family, internal, scopeid }) => family === 'IPv6' && !internal && scopeid === 0);
  for (const host of ['[::1]', '[::]']) {
    test(`over IPv6, with a server that listens on ${host}`, { skip: !ipv6 && 'this machine has no IPv6 address of its own' }, async () => {
      const own = await Server.start({ host });
      try {
        const links = await own.visit('patient', 'clinician');
        const patient = await person(links.patient);
        const clinician = await person(links.clinician);
        await meet(patient, clinician);
        for (const page of [patient, clinician]) {
          await decodes(page, { frames: 30, audioSeconds: 1 });
          const all = await stats(page);
          const { remoteCandidateId } = all.find(({ type, nominated }) => type === 'candidate-pair' && nominated);
          const { address } = all.find(({ id }) => id === remoteCandidateId);
          if (host === '[::1]') assert.equal(address, '::1');
        }
      } finally {
        await own.stop();
      }
    });
  }

  test('after kill -9 and restart nothing is lost, and both are back from the open page on a new connection', async () => {
    const own = await Server.start();
    try {
      const links = await own.visit('patient', 'clinician');
      const patient = await person(links.patient);
      const clinician = await person(links.clinician);
      const pages = [patient, clinician];
      await meet(patient, clinician);
      for (const page of pages) await decodes(page, { frames: 20, audioSeconds: 1 });
      for (const page of pages) await page.evaluate(() => void (globalThis.before = globalThis.housecall.peerConnection));
      const before = { told: await appointment(own, links), stored: stored(own.data) };
      assert.equal(before.told.status, 'in_progress');
      assert.ok(before.stored.audit.some(({ objects }) => objects.includes('event:admitted')), 'the admission is in the audit log');
      await own.kill();
      holds(left(own.data), before.stored);
      const again = await Server.start({ data: own.data, port: own.port });
      own.process = again.process;
      own.exited = again.exited;
      for (const page of pages) {
        await until(
          'there is another connection, and it is up',
          () =>
            page.evaluate(() => {
              const now = globalThis.housecall.peerConnection;
              return now && now !== globalThis.before && now.connectionState === 'connected';
            }),
          60_000,
        );
        assert.equal(await page.evaluate(() => globalThis.before.connectionState), 'closed');
        // From nothing, for these are other streams.
        await decodes(page, { frames: 30, audioSeconds: 1, timeout: 60_000 });
        assert.equal(await page.locator('[data-test="remote-video"]').count(), 1, 'nobody is there twice');
      }
      assert.deepEqual(await appointment(own, links), before.told, 'the same appointment, and its visit still goes on');
      holds(stored(own.data), before.stored);
    } finally {
      await own.stop();
    }
  });
});

/** The visit in its clinician's list of the day. */
async function appointment(server, { visit, clinician }) {
  const api = async (path, bearer, body) => {
    const headers = { 'content-type': 'application/json', ...(bearer && { authorization: `Bearer ${bearer}` }) };
    const answer = await fetch(server.origin + path, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body) });
    assert.equal(answer.status, 200, path);
    return answer.json();
  };
  const { session } = await api('/api/session', null, { token: clinician.split('#')[1] });
  const { appointments } = await api('/api/today', session);
  const row = appointments.find((appointment) => appointment.visit === visit);
  assert.ok(row, 'it is in the list');
  // Who waits for how long is of this moment.
  const { visit: id, starts_at, ends_at, patient_name, status } = row;
  return { id, starts_at, ends_at, patient_name, status };
}

/** All rows of the tables that matter, in the order in which they were written. The server may be running. */
function stored(data) {
  const rows = (table) => {
    const text = execFileSync('sqlite3', ['-readonly', '-json', join(data, 'housecall.sqlite3'), `SELECT * FROM ${table} ORDER BY rowid`]);
    return JSON.parse(text.toString() || '[]');
  };
  return Object.fromEntries(['appointments', 'visits', 'visit_people', 'join_links', 'audit'].map((table) => [table, rows(table)]));
}

/** As `stored`, of a server that was killed, from a copy: looking must not repair anything. */
function left(data) {
  const copy = mkdtempSync(join(tmpdir(), 'housecall-test-'));
  try {
    cpSync(data, copy, { recursive: true });
    return stored(copy);
  } finally {
    rmSync(copy, { recursive: true });
  }
}

/** Every row that was there is there, as it was. A start adds links of the demo's own, and the audit log goes on. */
function holds(now, before) {
  for (const [table, rows] of Object.entries(before)) {
    assert.ok(rows.length > 0, table);
    assert.deepEqual(now[table].slice(0, rows.length), rows, table);
  }
}

/** Microphone and camera are switched off and on by the buttons: the other one hears and sees nothing, and then everything again. */
async function silences(page, other) {
  const isWhole = watchHoles();
  const [audio, video] = [() => inbound(other, 'audio'), () => inbound(other, 'video')];
  /** What a counter grows by within a second and a half. */
  const growth = async (read) => {
    const before = await read();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    return (await read()) - before;
  };
  const energy = async () => (await audio()).totalAudioEnergy;
  const frames = async () => (await video()).framesReceived;
  const packets = async () => (await video()).packetsReceived;

  await until('there is sound and a picture to begin with', async () => (await growth(energy)) > 1e-5 && (await growth(frames)) > 10);
  await hook(page, 'mute').click();
  await until('silence is heard', async () => (await growth(energy)) < 1e-6);
  await until('its level is nought', async () => (await audio()).audioLevel < 0.001);
  await decodes(other, { frames: 20 });
  await hook(page, 'mute').click();
  await until('sound is heard again', async () => (await growth(energy)) > 1e-5);

  await hook(page, 'camera').click();
  await until('the sound goes on, and not one packet of the picture comes meanwhile', async () => {
    const before = await packets();
    return (await growth(energy)) > 1e-5 && (await packets()) === before;
  });
  await other.getByText('Camera is off').first().waitFor();
  assert.equal(await page.evaluate(() => globalThis.housecall.peerConnection.getSenders().every(({ track }) => track?.kind !== 'video')), true, 'nothing takes pictures');
  await hook(page, 'camera').click();
  await decodes(other, { frames: 30 });
  isWhole(await video(), 'a pause is no hole in the sequence');
}
