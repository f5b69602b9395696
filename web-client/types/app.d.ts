// The client's own types: what the HTTP interface answers, and the states and events of the page.
// Message types of the WebSocket are in protocol.d.ts, generated from the server's.

import type { Key } from "../src/i18n.js";
import type {
  ClientMessage,
  EndReason,
  ErrorCode,
  KindName,
  ParticipantRef,
  QualityReason,
  RoleName,
  ServerMessage,
  SourceName,
  TargetName,
  TrackRef,
  VisitState,
} from "./protocol.d.ts";

// ---- HTTP ----

export type VisitStatus = "scheduled" | "in_progress" | "ended" | "cancelled";

export type VisitInfo = {
  id: string;
  /** RFC 3339 instants. */
  starts_at: string;
  ends_at: string;
  /** The clinic's IANA time zone. */
  time_zone: string;
  clinic_name: string;
  clinician_name: string;
  status: VisitStatus;
};

/** What a join link is exchanged for. */
export type Session = {
  session: string;
  expires_at: string;
  role: RoleName;
  name: string;
  /** Whether this person was let in already and goes straight into the visit. */
  admitted: boolean;
  visit: VisitInfo;
};

export type TodayRow = {
  visit: string;
  starts_at: string;
  ends_at: string;
  /** Null until a patient is known: the visit was made by the command line. */
  patient_name: string | null;
  status: VisitStatus;
  waiting: number;
  longest_wait_seconds?: number | null;
};

export type Today = { now: string; time_zone: string; appointments: TodayRow[] };

export type NewAppointment = { patient_name: string; starts_at: string; minutes: number; time_zone?: string };

export type CreatedAppointment = { visit: string; patient_link: string; starts_at: string };

// ---- Problems: each one is a sentence and one action ----

export type Problem =
  | "link_missing"
  | "link_invalid"
  | "link_expired"
  | "visit_cancelled"
  | "visit_ended"
  | "too_many_requests"
  | "server_gone"
  | "browser_too_old";

// ---- The page's state ----

/** The connection to the signalling server. */
export type Link =
  | { name: "off" }
  | { name: "connecting" }
  | { name: "up"; you: ParticipantRef }
  | { name: "lost"; since: number; you: ParticipantRef | null };

/** The visit as the server last told it, and when (milliseconds of the page's clock). */
export type Room = { visit: VisitState; at: number };

export type Page =
  | { name: "opening" }
  | { name: "problem"; problem: Problem }
  /** Before joining. Clinicians are connected here already and see the queue (`room`); others are not. */
  | { name: "lobby"; session: Session; room: Room | null }
  | { name: "joining"; session: Session; room: Room | null }
  | { name: "waiting"; session: Session; room: Room }
  | { name: "visit"; session: Session; room: Room }
  /** `stay` are the names of those who were in the visit when this person left it. */
  | { name: "ended"; session: Session; reason: EndReason; message: string; from: "waiting" | "visit"; stay: string[] }
  /** A clinician who left ends the visit for everybody: connects once more to say so. */
  | { name: "ending"; session: Session };

export type State = { page: Page; link: Link };

export type Event =
  | { type: "opened"; session: Session }
  | { type: "open_failed"; problem: Problem }
  | { type: "retry_pressed" }
  | { type: "join_pressed" }
  | { type: "admit_pressed"; participant: ParticipantRef }
  | { type: "decline_pressed"; participant: ParticipantRef; reason: string }
  | { type: "leave_pressed" }
  | { type: "end_visit_pressed" }
  | { type: "rejoin_pressed" }
  | { type: "connecting" }
  | { type: "welcome"; you: ParticipantRef; resumed: boolean }
  | { type: "visit_state"; visit: VisitState; now: number }
  | { type: "link_lost"; now: number }
  | { type: "ended"; reason: EndReason; message: string }
  | { type: "server_error"; code: ErrorCode; message: string };

/** What the page has to do because of an event. Carried out by `app.js`; the reducer only names it. */
export type Effect =
  | { do: "open_link" }
  | { do: "connect" }
  | { do: "reconnect_fresh" }
  | { do: "disconnect" }
  | { do: "leave" }
  | { do: "send"; message: ClientMessage }
  /** Build a peer connection, or with `keep` go on with the one there is. */
  | { do: "start_media"; keep: boolean }
  | { do: "stop_media" }
  | { do: "announce"; key: Key; params?: Record<string, string | number> }
  | { do: "toast"; key: Key };

// ---- Devices ----

export type DeviceTrouble = "denied" | "missing" | "busy" | "insecure";

/** A microphone or a camera. `off` is the person's choice, `trouble` is not. */
export type DeviceState =
  | { name: "idle" }
  | { name: "asking" }
  | { name: "on"; track: MediaStreamTrack }
  | { name: "off" }
  | { name: "trouble"; trouble: DeviceTrouble };

export type DevicesState = {
  microphone: DeviceState;
  camera: DeviceState;
  microphones: MediaDeviceInfo[];
  cameras: MediaDeviceInfo[];
};

// ---- The call ----

export type MediaConnection = "new" | "connecting" | "connected" | "interrupted" | "failed";

/** A picture somebody else sends. */
export type Picture = {
  connected: boolean;
  cameraMuted: boolean;
  video: MediaStreamTrack | null;
  /** What flows on the video line, as far as the server said. */
  sending: TargetName | null;
  /** What was asked for, and why what flows is what it is. */
  target: TargetName;
  why: QualityReason | null;
  /** The picture may be stopped within a second, because this client's line has become so thin. */
  atRisk: boolean;
};

/** A screen somebody else shares. */
export type Share = Picture & { track: TrackRef; name: string };

/** Somebody else in the visit, as the views draw them. */
export type Remote = Picture & {
  participant: ParticipantRef;
  name: string;
  role: RoleName;
  /** Whether it was chosen to be shown larger than the others, or can be. */
  choice: "none" | "open" | "chosen";
  microphoneMuted: boolean;
  audio: MediaStreamTrack | null;
};

export type Assignment = { mid: string; kind: KindName; source: SourceName; participant: ParticipantRef; track: TrackRef };

/** What the server wants of the camera. */
export type UplinkOrder = Extract<ServerMessage, { type: "uplink" }>;

export type QualityLevel = "connecting" | "good" | "fair" | "poor_yours" | "poor_theirs" | "sound_only" | "interrupted" | "failed";

/** What a person has to know about pictures that were stopped, or may be, by somebody's line. */
export type Notice = "own_paused" | "own_for_screen" | "paused" | "for_screen" | "at_risk";

export type QualitySample = {
  /** 0..1 of the packets expected since the last sample. */
  loss: number;
  /** Seconds; null if not measured. */
  roundTrip: number | null;
};
