/** A visit of two Chromium pages, and what its quality record says afterwards: to a program, and to an operator who looks at the page. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decodes, hook, meet, until } from './support/page.mjs';
import { windows } from './support/windows.mjs';

const { person, pair, server: house } = windows();

test('a visit leaves a record of numbers and no names, which operators alone are shown', async () => {
  const server = house();
  const { links, patient, clinician } = await pair();
  await meet(patient, clinician);
  for (const page of [patient, clinician]) await decodes(page, { frames: 100, audioSeconds: 5 });

  const token = await server.command('ops', 'token', '--ttl', '30m');
  const ask = (path, bearer) => fetch(`${server.origin}${path}`, { headers: { authorization: `Bearer ${bearer}` } });
  const path = `/ops/visits/${links.visit}/quality`;
  // While it goes on, as soon as both pages have reported and were looked at.
  const participants = await until(
    'both have told of their first frame',
    async () => {
      const response = await ask(path, token);
      if (!response.ok) return null;
      const body = await response.json();
      const scored = ({ join, heard_mos, up, down }) => join.first_frame_ms !== null && heard_mos !== null && up.mos !== null && down.mos !== null;
      // A browser short of time may come over another path at first, and decodes its first frames late.
      const told = (one) => scored(one) && one.paths.at(-1)?.path === 'udp' && one.picture.frames > 50 && one.samples.length > 0;
      return body.participants.length === 2 && body.participants.every(told) ? body.participants : null;
    },
    90_000,
  );
  for (const { role, via, join, paths, rungs, up, down, heard_mos: heard, picture, samples, ended } of participants) {
    const about = `${role}: ${JSON.stringify({ join, paths, rungs, up, down, heard, picture })}`;
    assert.equal(via, 'socket');
    assert.equal(ended, false);
    assert.ok(paths.slice(0, -1).every(({ path }) => path === 'tcp' || path === 'udp'), about);
    assert.ok(join.page_ms > 0 && join.offer_ms <= join.ice_ms && join.ice_ms <= join.dtls_ms && join.dtls_ms <= join.media_ms, about);
    assert.ok(join.first_frame_ms >= Math.max(join.dtls_ms, join.admitted_ms), about);
    assert.ok(Object.values(rungs).reduce((sum, seconds) => sum + seconds, 0) > 2, about);
    for (const score of [up.mos, down.mos, heard]) assert.ok(score >= 1 && score <= 4.5, about);
    // One machine does it all here, so the scores are those of a busy machine's line: they are good where that was.
    for (const line of [up, down]) {
      if (line.audio_loss < 0.01 && line.jitter_ms < 30 && line.rtt_ms < 100) assert.ok(line.mos > 3.5, about);
      else console.log(`this machine makes a bad line: ${JSON.stringify(line)}`);
    }
    assert.notEqual(samples[0].up_mos, undefined, about);
  }
  assert.deepEqual(participants.map(({ role }) => role).sort(), ['clinician', 'patient']);

  await hook(clinician, 'hang-up').click();
  await until('the record of whoever left has ended', async () => {
    const body = await (await ask(path, token)).json();
    return body.participants.find(({ role }) => role === 'clinician').ended;
  });

  const names = ['Pat Example', 'Clara', 'Example', 'Harbor', 'Alex', 'Morgan'];
  for (const one of [path, '/ops/visits', '/ops/visits/quality.ndjson', '/metrics']) {
    const text = await (await ask(one, token)).text();
    for (const name of names) assert.ok(!text.includes(name), `${one} has ${name}`);
  }
  for (const link of [links.patient, links.clinician]) {
    assert.equal((await ask(path, link.split('#')[1])).status, 403);
  }

  for (const width of [1280, 360]) {
    const page = await person(`${server.origin}/ops?visit=${links.visit}#${token}`, { viewport: { width, height: 900 } });
    await hook(page, 'record-patient').waitFor();
    await hook(page, 'record-clinician').waitFor();
    assert.equal(await page.getByRole('img').count(), 2, 'a timeline each');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wide, 0, `the page fits ${width} px`);
    if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/ops-${width}.png`, fullPage: true });
    await page.getByRole('link', { name: 'All visits' }).click();
    await hook(page, 'visit').waitFor();
    if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/ops-list-${width}.png`, fullPage: true });
    assert.deepEqual(page.errors, []);
  }
  const stranger = await person(`${server.origin}/ops`);
  await stranger.getByText('operator’s token').waitFor();
});
