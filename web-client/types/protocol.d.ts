// Generated from signaling/src/message.rs.
export type ClientMessage =
  | { type: "hello"; session: string; resume?: string }
  | { type: "offer"; id: number; sdp: string; fresh?: boolean }
  | { type: "subscribe"; mid: string; track: TrackRef | null }
  | { type: "target"; mid: string; target: TargetName }
  | { type: "muted"; microphone: boolean; camera: boolean }
  | { type: "admit"; participant: ParticipantRef }
  | { type: "decline"; participant: ParticipantRef; reason: string }
  | { type: "leave"; keep_place: boolean }
  | { type: "end_visit" }
  | { type: "ping"; id: number };
export type ServerMessage =
  | { type: "welcome"; you: ParticipantRef; role: RoleName; resume: string; resumed: boolean; ice_servers: Array<IceServer> }
  | ({ type: "state" } & VisitState)
  | { type: "answer"; id: number; sdp: string; slots: Array<SlotInfo> }
  | { type: "offer_refused"; id: number; message: string }
  | { type: "quality"; mid: string; target: TargetName; sending: TargetName; direction: Direction; reason: QualityReason }
  | { type: "connection_lost" }
  | { type: "ended"; reason: EndReason; message: string }
  | { type: "error"; code: ErrorCode; message: string }
  | { type: "pong"; id: number };
export type ParticipantRef = string;
export type TrackRef = string;
export type VisitState = {
  you: Place;
  clinician: ClinicianPresence;
  participants: Array<ParticipantInfo>;
  queue: Array<WaitingInfo>;
};
export type Place = { place: "waiting"; position: number } | { place: "admitted" };
export type ClinicianPresence = "not_started" | "with_another_patient" | "ready";
export type ParticipantInfo = {
  participant: ParticipantRef;
  role: RoleName;
  name: string;
  connected: boolean;
  microphone_muted: boolean;
  camera_muted: boolean;
  tracks: Array<TrackInfo>;
};
export type TrackInfo = { track: TrackRef; kind: KindName };
export type WaitingInfo = {
  participant: ParticipantRef;
  name: string;
  role: RoleName;
  waiting_seconds: number;
  connected: boolean;
};
export type SlotInfo = { mid: string; kind: KindName };
export type IceServer = { urls: Array<string>; username: string; credential: string };
export type KindName = "audio" | "video";
export type TargetName = "audio_only" | "p480" | "p720";
export type RoleName = "patient" | "guest" | "clinician";
export type Direction = "up" | "down" | "same";
export type QualityReason = "asked" | "publisher";
export type EndReason =
  | "visit_ended"
  | "declined"
  | "left"
  | "replaced"
  | "cancelled"
  | "server_stopping"
  | "failed";
export type ErrorCode = "bad_message" | "not_allowed" | "not_found" | "session_expired" | "limit";
