/**
 * The table of docs/adaptation.md: what a viewer in a real browser sees and hears while a line is cut or bad.
 *
 *   npm run lab                   everything, some eight minutes
 *   npm run lab -- 400 tenth      these rows only
 *
 * Figures for reading, not a test: they depend on the machine. Needs root, `ip`, `tc` and `nft`.
 */

import { executablePath, launch, open } from './support/chromium.mjs';
import { Network } from './support/network.mjs';
import { hook, inbound, meet, stats, until } from './support/page.mjs';
import { Relay } from './support/relay.mjs';
import { Server } from './support/server.mjs';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const THIN_MS = 15_000;

/** Run in the viewer's page: notes each frame that is shown, and when the page says that there is none. */
const watch = () => {
  const seen = { frames: [], paused: [] };
  globalThis.seen = seen;
  const follow = (video) => {
    const next = (now, { height }) => {
      seen.frames.push([performance.timeOrigin + now, height]);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  };
  const videos = new Set();
  setInterval(() => {
    for (const video of document.querySelectorAll('[data-test="remote-video"]')) {
      if (!videos.has(video)) follow(video);
      videos.add(video);
    }
    const banner = document.querySelector('[data-test="paused"]');
    const is = Boolean(banner && banner.checkVisibility());
    if (seen.paused.at(-1)?.[1] !== is) seen.paused.push([Date.now(), is]);
  }, 50);
};

/** Figures of a span of time, from what was seen and two readings of the audio's statistics. */
function figures(seen, from, to, sound) {
  const frames = seen.frames.filter(([at]) => at >= from && at <= to);
  const isPaused = (at) => seen.paused.filter(([since]) => since <= at + 100).at(-1)?.[1] ?? false;
  const before = seen.frames.filter(([at]) => at < from).slice(-30);
  let mean = before.length > 1 ? (before.at(-1)[0] - before[0][0]) / (before.length - 1) : 40;
  let [frozen, pauses, held] = [0, 0, 0];
  let last = before.at(-1)?.[0] ?? from;
  for (const [at] of [...frames, [to]]) {
    const gap = at - last;
    // W3C webrtc-stats: three times the mean distance, or 150 ms more.
    const isIntended = isPaused(last + 400) || isPaused(at);
    if (gap > Math.max(3 * mean, mean + 150)) isIntended ? (held += gap) : (frozen += gap);
    else mean += (gap - mean) / 30;
    if (gap > 200 && !isIntended) pauses += 1;
    last = at;
  }
  const concealed = (sound[1].concealedSamples - sound[0].concealedSamples) / (sound[1].totalSamplesReceived - sound[0].totalSamplesReceived);
  const heights = [];
  for (const [at, height] of frames) if (heights.at(-1)?.height !== height) heights.push({ at: (at - from) / 1_000, height });
  return { frozen: frozen / 1_000, held: held / 1_000, pauses, concealed: 100 * concealed, heights, rate: (frames.length * 1_000) / (to - from) };
}

const settled = ({ heights, held }) => {
  const last = heights.at(-1);
  const rung = last ? `${last.height}p from ${last.at.toFixed(1)} s` : 'no picture';
  return held > 0 ? `${rung}; told, no picture for ${held.toFixed(1)} s` : rung;
};

const only = process.argv.slice(2);
const wanted = (name) => only.length === 0 || only.includes(name);
const rows = [];
const row = (...cells) => {
  rows.push(cells);
  console.log(`| ${cells.join(' | ')} |`);
};

/** Both of a visit, and whatever lies between; `body` gets the pages. */
async function visit({ lossy = 0, long = null, seed = 1 }, body) {
  const [one, other] = [await Network.make(), await Network.make()];
  const server = await Server.start({ host: '0.0.0.0' });
  const at = (network) => `http://${network.host}:${server.port}`;
  const browser = async (network) =>
    launch({ path: await network.wrapper(executablePath), more: [`--unsafely-treat-insecure-origin-as-secure=${at(network)}`] });
  const browsers = [long?.both ? await launch() : await browser(one), long ? await launch() : await browser(other)];
  // The long way is that of the clinician alone, or one for each.
  const relays = [];
  for (let each = 0; each < (long?.both ? 2 : long ? 1 : 0); each += 1) {
    relays.push(await Relay.start({ port: server.port, loss: long.loss, seed: seed + 2 * each }));
    relays[each].delay = long.delay;
  }
  const relay = relays[0];
  try {
    await Promise.all([one, other].flatMap((network) => [network.setDown('100mbit'), network.setUp('100mbit')]));
    await other.setDown('2500kbit');
    const links = await server.visit('patient', 'clinician');
    const from = (network, link) => link.replace(/^http:\/\/[^/]+/, at(network));
    const patient = await open(browsers[0], long?.both ? links.patient : from(one, links.patient), { script: relays[1]?.script });
    const clinician = await open(browsers[1], long ? links.clinician : from(other, links.clinician), { script: relay?.script });
    await meet(patient, clinician);
    await clinician.evaluate(watch);
    await until('720 lines are decoded', async () => (await inbound(clinician, 'video'))?.frameHeight === 720, 60_000).catch(() => {});
    await pause(11_000);
    if (lossy > 0) await Promise.all([one.setLoss(lossy), other.setLoss(lossy)]);
    await body({ patient, clinician, one, other });
  } finally {
    await Promise.all(browsers.map((each) => each.close()));
    await Promise.all(relays.map((each) => each.close()));
    await server.stop();
    await Promise.all([one.remove(), other.remove()]);
  }
}

const sound = (page) => inbound(page, 'audio');
const seen = (page) => page.evaluate(() => globalThis.seen);

console.log('| line of the viewer | picture | frozen, s | sound made up, % | frames/s |\n|---|---|---|---|---|');
for (const kbps of [700, 400, 250]) {
  if (!wanted(String(kbps))) continue;
  await visit({}, async ({ clinician, other }) => {
    const first = await sound(clinician);
    await other.setDown(`${kbps}kbit`);
    const cut = Date.now();
    await pause(THIN_MS);
    const second = await sound(clinician);
    await other.setDown('2500kbit');
    const back = Date.now();
    await pause(20_000);
    const third = await sound(clinician);
    const all = await seen(clinician);
    const thin = figures(all, cut, back, [first, second]);
    const good = figures(all, back, Date.now(), [second, third]);
    row(`2.5 Mbit/s → ${kbps} kbit/s`, settled(thin), thin.frozen.toFixed(1), thin.concealed.toFixed(2), thin.rate.toFixed(0));
    const steps = good.heights.map(({ at, height }) => `${height}p at ${at.toFixed(1)} s`).join(', ');
    row(`… and back`, steps, good.frozen.toFixed(1), good.concealed.toFixed(2), good.rate.toFixed(0));
  });
}
for (const [name, words, how] of [
  ['long', '80 ms round trip, 3 % lost', { long: { delay: 40, loss: 0.03 } }],
  ['tenth', '10 % lost, both lines, both ways', { lossy: 0.1 }],
  ['tenth-long', '10 % lost, both lines, both ways, each 40 ms there and back', { long: { delay: 20, loss: 0.1, both: true } }],
]) {
  if (!wanted(name)) continue;
  await visit(how, async ({ patient, clinician }) => {
    if (how.lossy) await pause(5_000);
    const [first, from] = [await sound(clinician), Date.now()];
    await pause(60_000);
    const [second, to] = [await sound(clinician), Date.now()];
    const found = figures(await seen(clinician), from, to, [first, second]);
    row(words, `${settled(found)}; ${found.pauses} pauses over 200 ms a minute`, found.frozen.toFixed(1), found.concealed.toFixed(2), found.rate.toFixed(0));
    if (process.env.HOUSECALL_STORY) {
      const video = await inbound(clinician, 'video');
      const delay = (now, then) => (1_000 * (now.jitterBufferDelay - (then?.jitterBufferDelay ?? 0))) / (now.jitterBufferEmittedCount - (then?.jitterBufferEmittedCount ?? 0));
      console.log({
        audioBufferMs: delay(second, first),
        videoBufferMs: delay(video),
        concealmentEvents: second.concealmentEvents - first.concealmentEvents,
        lost: second.packetsLost - first.packetsLost,
        received: second.packetsReceived - first.packetsReceived,
        fecReceived: second.fecPacketsReceived - (first.fecPacketsReceived ?? 0),
        fecDiscarded: second.fecPacketsDiscarded - (first.fecPacketsDiscarded ?? 0),
        discarded: second.packetsDiscarded - first.packetsDiscarded,
        videoLost: video.packetsLost,
        nacks: video.nackCount,
        plis: video.pliCount,
        repaired: video.retransmittedPacketsReceived,
        sent: (await stats(patient))
          .filter((stat) => stat.type === 'outbound-rtp')
          .map(({ kind, rid, nackCount, retransmittedPacketsSent, packetsSent, targetBitrate, qualityLimitationReason }) => ({ kind, rid, nackCount, retransmittedPacketsSent, packetsSent, targetBitrate, qualityLimitationReason })),
      });
    }
  });
}
