/**
 * The table of docs/adaptation.md: what a viewer in a real browser sees and hears while a line is cut or bad.
 *
 *   npm run lab                   everything, some six minutes
 *   npm run lab -- 400 tenth      these rows only
 *   HOUSECALL_STORY=1 …           and what the server decided, on what evidence
 *
 * Figures for reading, not a test: they depend on the machine. Needs root, `ip`, `tc` and `nft`.
 */

import { cpus } from 'node:os';

import { executablePath, launch, open } from './support/chromium.mjs';
import { Network } from './support/network.mjs';
import { inbound, meet, stats, until } from './support/page.mjs';
import { Relay } from './support/relay.mjs';
import { Server } from './support/server.mjs';

/** How much of the processors was idle since the reading before, in %: under 20 or so the figures are the machine's, not the line's. */
function idle(before) {
  const now = cpus().reduce(([free, all], { times }) => [free + times.idle, all + Object.values(times).reduce((a, b) => a + b)], [0, 0]);
  return { now, share: before ? Math.round((100 * (now[0] - before[0])) / (now[1] - before[1])) : 0 };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const GOOD = '2500kbit';
const THIN_MS = 15_000;
const OPEN_MS = 20_000;
const LOSSY_MS = 40_000;

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
  const before = seen.frames.filter(([at]) => at < from).slice(-30);
  // The usual distance; the middle one, for there may have been a pause.
  const gaps = before.slice(1).map(([at], place) => at - before[place][0]).sort((a, b) => a - b);
  let mean = gaps[gaps.length >> 1] ?? 50;
  let [frozen, pauses, held, heldSince] = [0, 0, 0, null];
  let last = before.at(-1)?.[0] ?? from;
  for (const [at] of [...frames, [to]]) {
    const gap = at - last;
    // A picture that stands and is not said to is frozen, also if it is said later.
    const said = seen.paused.find(([since, is], place) => is && since <= at && (seen.paused[place + 1]?.[0] ?? Infinity) >= last)?.[0];
    const isIntended = said !== undefined;
    // W3C webrtc-stats: three times the mean distance, or 150 ms more.
    const isFreeze = (long) => long > Math.max(3 * mean, mean + 150);
    if (!isFreeze(gap)) mean += (gap - mean) / 30;
    else if (!isIntended) frozen += gap;
    else {
      const unsaid = Math.max(0, said - last);
      if (isFreeze(unsaid)) frozen += unsaid;
      held += gap - unsaid;
      if (at === to) heldSince = (said - from) / 1_000;
    }
    if (gap > 200 && !isIntended) pauses += 1;
    last = at;
  }
  const concealed = (sound[1].concealedSamples - sound[0].concealedSamples) / (sound[1].totalSamplesReceived - sound[0].totalSamplesReceived);
  const last5 = frames.filter(([at]) => at > to - 5_000).length / 5;
  const heights = [];
  for (const [at, height] of frames) if (heights.at(-1)?.height !== height) heights.push({ at: (at - from) / 1_000, height });
  return { frozen: frozen / 1_000, held: held / 1_000, heldSince, pauses, concealed: 100 * concealed, heights, late: last5, rate: (frames.length * 1_000) / (to - from) };
}

/** What it came to stand on, and since when: the picture's lines and frames, or that there is none and it was said. */
function settled({ heights, held, heldSince, late }) {
  if (heldSince !== null) return { rung: 'sound only, and said so', after: heldSince };
  const last = heights.at(-1);
  if (!last) return { rung: 'no picture, and nothing said', after: 0 };
  const told = held > 0 ? `; ${held.toFixed(1)} s without, and said so` : '';
  return { rung: `${last.height}p, ${late.toFixed(0)} frames/s${told}`, after: last.at };
}

const seconds = (value) => (value === undefined ? 'not' : value.toFixed(1));

const only = process.argv.slice(2);
const wanted = (name) => only.length === 0 || only.includes(name);
if (process.env.HOUSECALL_STORY) process.env.RUST_LOG ??= 'info,housecall_signaling=debug';
const row = (...cells) => console.log(`| ${cells.join(' | ')} |`);
const header = (...cells) => {
  row(...cells);
  row(...cells.map(() => '---'));
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
    await other.setDown(GOOD);
    const links = await server.visit('patient', 'clinician');
    const from = (network, link) => link.replace(/^http:\/\/[^/]+/, at(network));
    const patient = await open(browsers[0], long?.both ? links.patient : from(one, links.patient), { script: relays[1]?.script });
    const clinician = await open(browsers[1], long ? links.clinician : from(other, links.clinician), { script: relay?.script });
    await meet(patient, clinician);
    await clinician.evaluate(watch);
    await until('720 lines are decoded', async () => (await inbound(clinician, 'video'))?.frameHeight === 720, 60_000).catch(() => {});
    await pause(11_000);
    if (lossy > 0) await Promise.all([one.setLoss(lossy), other.setLoss(lossy)]);
    await body({ patient, clinician, one, other, server });
  } finally {
    await Promise.all(browsers.map((each) => each.close()));
    await Promise.all(relays.map((each) => each.close()));
    await server.stop();
    await Promise.all([one.remove(), other.remove()]);
  }
}

const sound = (page) => inbound(page, 'audio');
const seen = (page) => page.evaluate(() => globalThis.seen);

/** What the server decided and on what evidence, from a moment on. */
const story = (server, from) =>
  server.log
    .split('\n')
    .map((line) => [Date.parse(line.split(' ')[0]), line])
    .filter(([at, line]) => at >= from && /evidence|quality|uplink/.test(line))
    .map(([at, line]) => `  ${((at - from) / 1_000).toFixed(2).padStart(6)} s ${line.slice(line.indexOf(' ') + 1)}`)
    .join('\n');

/** The rows of a line that is cut for a while. */
async function cut(kbps) {
  await visit({}, async ({ patient, clinician, other, server }) => {
    const begin = Date.now() - 5_000;
    const load = idle().now;
    const first = await sound(clinician);
    await other.setDown(`${kbps}kbit`);
    const thin = Date.now();
    await pause(THIN_MS);
    const second = await sound(clinician);
    await other.setDown(GOOD);
    const open = Date.now();
    await pause(OPEN_MS);
    const third = await sound(clinician);
    const all = await seen(clinician);
    const before = figures(all, begin, thin, [first, first]);
    const during = figures(all, thin, open, [first, second]);
    const after = figures(all, open, Date.now(), [second, third]);
    const { rung, after: since } = settled(during);
    // A picture that was never smaller is back at once.
    const back = (height) => after.heights.find((step) => step.height >= height)?.at;
    row(
      `2.5 Mbit/s → ${kbps} kbit/s for 15 s`,
      during.frozen.toFixed(1),
      rung,
      since.toFixed(1),
      during.concealed.toFixed(2),
      seconds(back(480)),
      seconds(back(720)),
      `${after.frozen.toFixed(1)}; ${after.concealed.toFixed(2)}`,
      `${before.rate.toFixed(0)}, ${after.late.toFixed(0)}`,
      idle(load).share,
    );
    if (process.env.HOUSECALL_STORY) console.log(during.heights, after.heights, `\n${story(server, thin)}`, await details(patient, clinician, first, third));
  });
}

const CUT = [700, 400, 250].filter((kbps) => wanted(String(kbps)));
if (CUT.length > 0) {
  header('line of the viewer', 'frozen, s', 'settles on', 'after, s', 'sound made up, %', 'open again: 480p after, s', '720p after, s', 'then frozen, s; made up, %', 'frames/s before, at the end', 'idle, %');
  for (const kbps of CUT) await cut(kbps);
}

const LOSSY = [
  ['long', '80 ms round trip, 3 % lost', { long: { delay: 40, loss: 0.03 } }],
  ['tenth', '10 % lost, both lines, both ways', { lossy: 0.1 }],
  ['tenth-long', '10 % lost, both lines, both ways, each 40 ms there and back', { long: { delay: 20, loss: 0.1, both: true } }],
].filter(([name]) => wanted(name));
if (LOSSY.length > 0) header('line', 'frozen, s', 'picture', 'pauses over 200 ms', 'sound made up, %', 'seconds looked at', 'idle, %');
for (const [, words, how] of LOSSY) {
  await visit(how, async ({ patient, clinician }) => {
    if (how.lossy) await pause(5_000);
    const [first, from, load] = [await sound(clinician), Date.now(), idle().now];
    await pause(LOSSY_MS);
    const [second, to] = [await sound(clinician), Date.now()];
    const found = figures(await seen(clinician), from, to, [first, second]);
    row(words, found.frozen.toFixed(1), settled(found).rung, found.pauses, found.concealed.toFixed(2), LOSSY_MS / 1_000, idle(load).share);
    if (process.env.HOUSECALL_STORY) console.log(await details(patient, clinician, first, second));
  });
}

/** What lies behind a row: buffers, requests, repairs. */
async function details(patient, clinician, first, second) {
  const video = await inbound(clinician, 'video');
  const delay = (now, then) => (1_000 * (now.jitterBufferDelay - (then?.jitterBufferDelay ?? 0))) / (now.jitterBufferEmittedCount - (then?.jitterBufferEmittedCount ?? 0));
  return {
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
      .map(({ kind, rid, framesPerSecond, nackCount, retransmittedPacketsSent, packetsSent, targetBitrate, qualityLimitationReason }) => ({ kind, rid, framesPerSecond, nackCount, retransmittedPacketsSent, packetsSent, targetBitrate, qualityLimitationReason })),
  };
}
