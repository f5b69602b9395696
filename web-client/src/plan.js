// @ts-check
/**
 * Which receiving line shows whose track: arithmetic, without a peer connection.
 *
 * @typedef {import('../types/protocol.d.ts').ParticipantInfo} ParticipantInfo
 * @typedef {import('../types/protocol.d.ts').SlotInfo} SlotInfo
 * @typedef {import('../types/protocol.d.ts').TargetName} TargetName
 * @typedef {import('../types/protocol.d.ts').KindName} KindName
 * @typedef {import('../types/app.d.ts').Assignment} Assignment
 *
 * @typedef {object} Plan
 * @property {Assignment[]} assignments who is on which line from now on
 * @property {Array<{mid: string, track: string | null}>} changes what has to be said to the server to get there
 * @property {{audio: number, video: number}} missing lines that are needed and not there
 */

/**
 * How many lines of a kind a client asks for at most. A visit is a conversation; a screen shows no more faces than this, and a
 * phone decodes no more.
 */
export const MOST_LINES = 8;

/**
 * A track keeps the line it has; free lines go to new tracks, screens first and then in the order of the participants; a line whose track
 * is gone is pointed at nothing, unless somebody else takes it at once. A screen is what everybody has to see: it may have one line more
 * than there are for faces.
 *
 * @param {SlotInfo[]} slots
 * @param {ParticipantInfo[]} remotes
 * @param {Assignment[]} current
 * @returns {Plan}
 */
export function plan(slots, remotes, current) {
  const lines = new Map(slots.map((s) => [s.mid, s.kind]));
  const everything = remotes.flatMap((p) => p.tracks.map((t) => ({ participant: p.participant, ...t })));
  const wanted = [...everything.filter((t) => t.source === 'screen'), ...everything.filter((t) => t.source !== 'screen')];
  const alive = new Set(wanted.map((w) => w.track));

  const assignments = current.filter((a) => alive.has(a.track) && lines.get(a.mid) === a.kind);
  const held = new Set(assignments.map((a) => a.track));
  const used = new Set(assignments.map((a) => a.mid));
  const free = slots.filter((s) => !used.has(s.mid));
  const missing = { audio: 0, video: 0 };
  /** @type {Plan['changes']} */
  const changes = [];

  for (const { participant, track, kind, source } of wanted) {
    if (held.has(track)) continue;
    held.add(track);
    const at = free.findIndex((s) => s.kind === kind);
    const slot = at < 0 ? undefined : free.splice(at, 1)[0];
    if (slot) {
      assignments.push({ mid: slot.mid, kind, source, participant, track });
      changes.push({ mid: slot.mid, track });
    } else if (slots.filter((s) => s.kind === kind).length + missing[kind] < MOST_LINES + (source === 'screen' ? 1 : 0)) {
      missing[kind] += 1;
    }
  }

  const now = new Set(assignments.map((a) => a.mid));
  for (const { mid } of current) {
    if (!now.has(mid) && lines.has(mid)) changes.push({ mid, track: null });
  }
  return { assignments, changes, missing };
}

/**
 * What to ask for on each picture: the full size for one or two faces, the smaller one when they share the screen with more. Whoever was
 * chosen is asked for in full size and all others in the smaller one: on a thin line the server gives what is asked for large first.
 * A shared screen takes the stage: it is asked for in full size, and faces in the smaller one, but for whoever was chosen.
 * @param {Assignment[]} assignments
 * @param {string | null} [chosen] the participant
 * @returns {Map<string, TargetName>}
 */
export function targets(assignments, chosen = null) {
  const pictures = assignments.filter((a) => a.kind === 'video');
  const cameras = pictures.filter((a) => a.source === 'camera');
  const isChosen = cameras.length > 1 && cameras.some((a) => a.participant === chosen);
  /** @type {TargetName} */
  const target = isChosen || cameras.length > 2 || cameras.length < pictures.length ? 'p480' : 'p720';
  return new Map(pictures.map((a) => [a.mid, a.source === 'screen' || (isChosen && a.participant === chosen) ? 'p720' : target]));
}

/**
 * The camera's layers, **low to high**: Chromium gives the first encoding a floor of 30 kbit/s and later ones the floor of their
 * size, so this order lets the large one go off on a thin link and the small one stay. At 1280×720 they are 853×480 and 1280×720.
 * @returns {RTCRtpEncodingParameters[]}
 */
export function cameraEncodings() {
  const common = { active: true, maxFramerate: 30, scalabilityMode: 'L1T3' };
  return [
    { rid: 'm', scaleResolutionDownBy: 1.5, maxBitrate: 600_000, ...common },
    { rid: 'h', scaleResolutionDownBy: 1, maxBitrate: 1_500_000, ...common },
  ];
}

/**
 * A shared screen: text has to be legible and hardly moves, so pixels count and frames do not.
 * @returns {RTCRtpEncodingParameters}
 */
export function screenEncoding() {
  const temporal = { scalabilityMode: 'L1T3' };
  return { maxFramerate: 5, maxBitrate: 1_200_000, ...temporal };
}

/**
 * An offer in which one line is marked as a shared screen (RFC 4796).
 * @param {string} sdp
 * @param {string | null} mid
 */
export function markScreen(sdp, mid) {
  return mid === null ? sdp : sdp.replace(`a=mid:${mid}\r\n`, '$&a=content:slides\r\n');
}
