/** What the tests do with an open page of the client, in whichever browser it is. */

import assert from 'node:assert/strict';

/** The element behind one of the client's stable hooks. */
export const hook = (page, name) => page.locator(`[data-test="${name}"]`).first();

/** All WebRTC statistics of the page's connection, as plain objects. */
export function stats(page) {
  return page.evaluate(async () => {
    const connection = globalThis.housecall?.peerConnection;
    return connection ? [...(await connection.getStats()).values()] : [];
  });
}

/** The inbound stream of a kind that has carried most, or undefined. */
export async function inbound(page, kind) {
  const streams = (await stats(page)).filter((stat) => stat.type === 'inbound-rtp' && stat.kind === kind);
  return streams.sort((a, b) => b.bytesReceived - a.bytesReceived)[0];
}

/** How long things may take, in ms, where nothing else is said: what takes a second on an idle machine takes many on a busy one. */
const PATIENCE = 60_000;

/** Waits until `probe` gives something truthy, and gives it back. */
export async function until(what, probe, timeout = PATIENCE) {
  const end = Date.now() + timeout;
  let last;
  for (;;) {
    last = await probe();
    if (last) return last;
    if (Date.now() > end) throw new Error(`timed out waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Waits until the page has decoded this much more than now: video frames, and audio in seconds. */
export async function decodes(page, { frames = 0, audioSeconds = 0, timeout = PATIENCE }) {
  const video = (await inbound(page, 'video'))?.framesDecoded ?? 0;
  const audio = (await inbound(page, 'audio'))?.totalSamplesDuration ?? 0;
  await until(
    `${frames} more frames and ${audioSeconds} s more of sound are decoded`,
    async () => {
      const [now, sound] = [await inbound(page, 'video'), await inbound(page, 'audio')];
      return (now?.framesDecoded ?? 0) >= video + frames && (sound?.totalSamplesDuration ?? 0) >= audio + audioSeconds;
    },
    timeout,
  );
}

/** Presses the join button if the page shows one before what comes after it, the hook `next`. */
export async function joins(page, next) {
  const [button, after] = [hook(page, 'join-button'), hook(page, next)];
  const isVisible = (element) => element.isVisible().catch(() => false);
  // A page that is still loading has neither.
  await until(`the join button or "${next}" is shown`, async () => (await isVisible(button)) || isVisible(after));
  if (await isVisible(button)) await button.click();
}

/** The clinician joins, if they have not, and lets the patient in. */
export async function admit(clinician) {
  await joins(clinician, 'admit');
  await hook(clinician, 'admit').click();
}

/** Patient joins and waits, clinician joins and admits: both are in the visit. */
export async function meet(patient, clinician) {
  await hook(patient, 'join-button').click();
  await hook(patient, 'waiting').waitFor();
  await admit(clinician);
  await hook(patient, 'remote-video').waitFor();
  await hook(clinician, 'remote-video').waitFor();
}

/** What the selected pair of the page's connection is. */
export async function selected(page) {
  const all = await stats(page);
  const transport = all.find((stat) => stat.type === 'transport');
  const pair = all.find((stat) => stat.id === transport?.selectedCandidatePairId);
  const candidate = (id) => all.find((stat) => stat.id === id);
  return { pair, local: candidate(pair?.localCandidateId), remote: candidate(pair?.remoteCandidateId) };
}

/**
 * Waits until the page's connection has settled on a pair that `is` accepts: a browser short of time may take a worse one first, whose answer came
 * sooner, and changes when the better one answers.
 */
export async function settles(page, what, is, timeout = PATIENCE) {
  let last;
  try {
    return await until(`the path is ${what}`, async () => (is((last = await selected(page))) ? last : undefined), timeout);
  } catch (error) {
    const { local, remote } = last ?? {};
    throw new Error(`${error.message}; it is ${JSON.stringify({ local, remote })}`);
  }
}

/** Run in the page before its own scripts: connections may use relayed candidates only, as behind a firewall that lets only the relay through. */
export const relayOnly = `
  const Plain = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Plain {
    constructor(configuration) {
      const only = configuration.iceServers.map((server) => ({ ...server, urls: server.urls.filter((url) => globalThis.relayUrls?.(url) ?? true) }));
      super({ ...configuration, iceServers: only, iceTransportPolicy: 'relay' });
    }
  };`;

/**
 * Lets nothing pass the relay of a page until the page has agreed on an ICE restart, then waits until it is connected again: on the same
 * connection as before.
 */
export async function restartInTheDark(page, relay) {
  const call = () =>
    page.evaluate(() => {
      const { localDescription, signalingState, iceConnectionState } = globalThis.housecall.peerConnection;
      return { fragment: /a=ice-ufrag:(\S+)/.exec(localDescription.sdp)[1], signalingState, iceConnectionState };
    });
  const before = await call();
  await page.evaluate(() => {
    globalThis.before = globalThis.housecall.peerConnection;
  });
  relay.dark = true;
  // Browsers say "disconnected" after 7 s, on which the client restarts. Firefox would say "failed" after 27 s, from which no restart
  // leads back.
  await until(
    'the restart is agreed',
    async () => {
      const now = await call();
      return now.fragment !== before.fragment && now.signalingState === 'stable';
    },
    25_000,
  );
  relay.dark = false;
  await until('it is connected again', async () => /connected|completed/.test((await call()).iceConnectionState));
  assert.ok(await page.evaluate(() => globalThis.before === globalThis.housecall.peerConnection), 'the connection is the same');
}
