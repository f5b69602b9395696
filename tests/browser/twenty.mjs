/**
 * Twenty visits one after the other: each must reach decoded video on both sides. Prints how long it took from the press on
 * "admit" to the first decoded frame, and the median. usage: node twenty.mjs [RUNS]
 */

import { launch, open } from './support/chromium.mjs';
import { hook, inbound, joins, until } from './support/page.mjs';
import { Server } from './support/server.mjs';

const runs = Number(process.argv[2] ?? 20);
const server = await Server.start();
const browser = await launch();
const times = [];
let reached = 0;
try {
  for (let run = 1; run <= runs; run += 1) {
    const links = await server.visit('patient', 'clinician');
    const patient = await open(browser, links.patient);
    const clinician = await open(browser, links.clinician);
    try {
      await hook(patient, 'join-button').click();
      await hook(patient, 'waiting').waitFor();
      await joins(clinician, 'admit');
      // As in life, the patient has waited for a moment: transports are up, encoders are warm.
      await until('the patient is connected', () =>
        patient.evaluate(() => globalThis.housecall.peerConnection?.connectionState === 'connected'),
      );
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const first = (page) =>
        page.evaluate(
          () =>
            new Promise((resolve) => {
              const tick = async () => {
                const all = [...((await globalThis.housecall?.peerConnection?.getStats())?.values() ?? [])];
                const decoded = all.some((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video' && stat.framesDecoded > 0);
                if (decoded) resolve(performance.timeOrigin + performance.now());
                else setTimeout(tick, 5);
              };
              void tick();
            }),
        );
      const frames = [first(patient), first(clinician)];
      const button = hook(clinician, 'admit');
      await button.waitFor();
      const pressed = Date.now();
      await button.click();
      const ends = await Promise.race([
        Promise.all(frames),
        new Promise((_, reject) => setTimeout(() => reject(new Error('no decoded video within 20 s')), 20_000)),
      ]);
      times.push(...ends.map((end) => end - pressed));
      reached += 1;
      const height = (await inbound(patient, 'video')).frameHeight;
      console.log(`run ${run}: patient ${Math.round(ends[0] - pressed)} ms, clinician ${Math.round(ends[1] - pressed)} ms, first at ${height} lines`);
    } catch (error) {
      console.log(`run ${run}: FAILED: ${error.message}`);
    } finally {
      await patient.context().close();
      await clinician.context().close();
    }
  }
} finally {
  await browser.close();
  await server.stop();
}
times.sort((a, b) => a - b);
const at = (share) => Math.round(times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? NaN);
console.log(`${reached} of ${runs} reached decoded video on both sides; admit → first decoded frame: median ${at(0.5)} ms, p90 ${at(0.9)} ms`);
process.exitCode = reached === runs ? 0 : 1;
