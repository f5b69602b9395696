// Generated from signaling/src/message.rs by its tests; docs/protocol.md explains each message.
// To write it anew: HOUSECALL_UPDATE=1 cargo test -p housecall-signaling --test contract

/** A participant, for the length of a stay. */
export type ParticipantRef = string;

/** A track, for as long as it is published. */
export type TrackRef = string;

export type ClientMessage = { "type": "hello", session: string, resume?: string, }
  | { "type": "offer", id: number, sdp: string, fresh?: boolean, }
  | { "type": "subscribe", mid: string, track: string | null, }
  | { "type": "target", mid: string, target: TargetName, }
  | { "type": "muted", microphone: boolean, camera: boolean, }
  | { "type": "admit", participant: string, }
  | { "type": "decline", participant: string, reason: string, }
  | { "type": "leave", keep_place: boolean, }
  | { "type": "end_visit", }
  | { "type": "report" } & ClientReport
  | { "type": "ping", id: number, };

export type ClientReport = { 
/**
 * What it is about, milliseconds: 1,000 to 120,000.
 */
interval_ms: number, 
/**
 * Once: from the opening of the page until it could be used.
 */
page_ms?: number, 
/**
 * Once: from this page's first `welcome` to the first frame it decoded.
 */
first_frame_ms?: number, 
/**
 * Frames decoded.
 */
frames_decoded: number, 
/**
 * Frames dropped.
 */
frames_dropped: number, 
/**
 * `freezeCount`, pauses included.
 */
freezes: number, 
/**
 * `totalFreezesDuration`, pauses included.
 */
freeze_ms: number, 
/**
 * `totalSamplesReceived`.
 */
samples: number, 
/**
 * `concealedSamples` without `silentConcealedSamples`.
 */
concealed: number, 
/**
 * How long sound waited in the jitter buffer on average, if it was played.
 */
jitter_buffer_ms?: number, };

export type ClinicianPresence = "not_started" | "with_another_patient" | "ready";

export type Direction = "up" | "down" | "same";

export type EndReason = "visit_ended" | "declined" | "left" | "replaced" | "cancelled" | "server_stopping" | "failed";

export type ErrorCode = "bad_message" | "not_allowed" | "not_found" | "session_expired" | "limit";

export type IceServer = { urls: Array<string>, username: string, credential: string, };

export type KindName = "audio" | "video";

export type ParticipantInfo = { participant: string, role: RoleName, name: string, 
/**
 * False while the socket is gone and the stay is kept for a return.
 */
connected: boolean, 
/**
 * True if the microphone is off.
 */
microphone_muted: boolean, 
/**
 * True if the camera is off.
 */
camera_muted: boolean, tracks: Array<TrackInfo>, };

export type Place = { "place": "waiting", 
/**
 * 1 is next.
 */
position: number, }
  | { "place": "admitted", };

export type QualityReason = "asked" | "publisher" | "connection";

export type RoleName = "patient" | "guest" | "clinician";

export type ScreenAudience = "unwatched" | "not_arriving" | "too_thin" | "seen";

export type ServerMessage = { "type": "welcome", you: string, role: RoleName, resume: string, resumed: boolean, 
/**
 * For `RTCPeerConnection`: the relay, with credentials for this person. Empty if there is none.
 */
ice_servers: Array<IceServer>, }
  | { "type": "state" } & VisitState
  | { "type": "answer", id: number, sdp: string, slots: Array<SlotInfo>, }
  | { "type": "offer_refused", id: number, message: string, }
  | { "type": "quality", mid: string, target: TargetName, 
/**
 * What flows, `audio_only` if no picture does.
 */
sending: TargetName, direction: Direction, reason: QualityReason, }
  | { "type": "picture_at_risk", mid: string, over: boolean, }
  | { "type": "uplink", mid: string, 
/**
 * All layers of the line, in the order of the offer.
 */
layers: Array<UplinkLayerInfo>, 
/**
 * The most that this client's uplink carries: `audio_only` if no picture is to be sent.
 */
carries: TargetName, reason: UplinkReason, }
  | { "type": "audience", mid: string, by: ScreenAudience, }
  | { "type": "connection_lost", }
  | { "type": "ended", reason: EndReason, message: string, }
  | { "type": "error", code: ErrorCode, message: string, }
  | { "type": "pong", id: number, };

export type SlotInfo = { mid: string, kind: KindName, };

export type SourceName = "microphone" | "camera" | "screen";

export type TargetName = "audio_only" | "p480" | "p720";

export type TrackInfo = { track: string, kind: KindName, source: SourceName, };

export type UplinkLayerInfo = { rid: string, active: boolean, 
/**
 * Kilobits per second.
 */
max_kbps: number, };

export type UplinkReason = "demand" | "connection";

export type VisitState = { 
/**
 * Where this person is.
 */
you: Place, 
/**
 * Whether and how the clinician is there.
 */
clinician: ClinicianPresence, 
/**
 * Everybody admitted and present, oneself included. Empty for those who wait.
 */
participants: Array<ParticipantInfo>, 
/**
 * Who waits, longest first. Empty but for clinicians.
 */
queue: Array<WaitingInfo>, };

export type WaitingInfo = { participant: string, name: string, role: RoleName, 
/**
 * How long so far, in whole seconds at the time of sending.
 */
waiting_seconds: number, 
/**
 * False while the person is gone and the place is kept.
 */
connected: boolean, };
