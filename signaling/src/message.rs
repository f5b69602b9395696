//! The whole signalling protocol: two closed enums. `docs/protocol.md` shows each message once; `signaling/golden/*.json` holds
//! the same examples for the tests in Rust and in the web client; `web-client/types/protocol.d.ts` is generated from these types.
//!
//! One JSON object per WebSocket text message, its kind in `type`. Unknown kinds and unknown fields are refused; variants
//! without fields have braces all the same, because serde lets unknown fields through on bare ones.
//! The server sends the visit as a whole snapshot ([`ServerMessage::State`]) on every change, so that a client that missed
//! something has converged after the next one.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What a client may say.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// First message on every socket, within five seconds. `session` comes from `POST /api/session`; `resume` from an earlier
    /// [`ServerMessage::Welcome`] when a dropped socket comes back. A patient who says hello is queued.
    Hello {
        session: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        resume: Option<String>,
    },
    /// An SDP offer. `id` is the client's count of its offers and returns in the answer. Allowed while waiting.
    /// `fresh` is true on the first offer of every new `RTCPeerConnection`: the server then drops the one before.
    Offer {
        id: u32,
        sdp: String,
        #[serde(default, skip_serializing_if = "is_false")]
        #[ts(optional, as = "Option<bool>")]
        fresh: bool,
    },
    /// Points the client's receiving line `mid` at a track from the last state, or at nothing.
    Subscribe { mid: String, track: Option<TrackRef> },
    /// What the video line `mid` should be sent.
    Target { mid: String, target: TargetName },
    /// The person switched microphone or camera. The media itself is handled by the client; this tells the others.
    Muted { microphone: bool, camera: bool },
    /// Clinician: lets a waiting participant in.
    Admit { participant: ParticipantRef },
    /// Clinician: sends a waiting participant away with a word of reason (at most 200 characters).
    Decline {
        participant: ParticipantRef,
        reason: String,
    },
    /// Leaves. `keep_place` keeps the place in the queue (a waiting patient) or the admission (anybody else).
    Leave { keep_place: bool },
    /// Clinician: ends the visit for everybody.
    EndVisit {},
    /// How the call went for this client since its last report. Answered by nothing; at most one in five seconds.
    Report(ClientReport),
    /// Keeps the socket alive and measures it. Answered by [`ServerMessage::Pong`].
    Ping { id: u32 },
}

/// What the server says.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerMessage {
    /// Answer to hello. `resumed` false means that the server holds no connection for this client: build a new one.
    Welcome {
        you: ParticipantRef,
        role: RoleName,
        resume: String,
        resumed: bool,
        /// For `RTCPeerConnection`: the relay, with credentials for this person. Empty if there is none.
        ice_servers: Vec<IceServer>,
    },
    /// Everything this person may know about the visit, as a whole, on every change.
    State(VisitState),
    /// Answer to an offer. `slots` are the lines on which the client can receive.
    Answer { id: u32, sdp: String, slots: Vec<SlotInfo> },
    /// An offer was refused; the session is as it was before.
    OfferRefused { id: u32, message: String },
    /// What a receiving video line is sent has changed.
    Quality {
        mid: String,
        target: TargetName,
        /// What flows, `audio_only` if no picture does.
        sending: TargetName,
        direction: Direction,
        reason: QualityReason,
    },
    /// This client's own connection has become so thin that the picture on a receiving line may be stopped within a second;
    /// `over`: not any more, or it has been.
    PictureAtRisk { mid: String, over: bool },
    /// What the sending camera line `mid` is to send from now on, whole: what nobody watches is off, and what this client's uplink
    /// does not carry. Said again on `resumed: true`. A client that has lost its socket sends everything.
    Uplink {
        mid: String,
        /// All layers of the line, in the order of the offer.
        layers: Vec<UplinkLayerInfo>,
        /// The most that this client's uplink carries: `audio_only` if no picture is to be sent.
        carries: TargetName,
        reason: UplinkReason,
    },
    /// Whether anybody sees the screen that is shared on the sending line `mid`. Said when that changes, and again on `resumed: true`. It
    /// begins with nobody: whoever shares a screen should be told only what lasts.
    Audience { mid: String, by: ScreenAudience },
    /// The server has lost this client's media connection: make a new `RTCPeerConnection` and offer with `fresh`. The place
    /// in the visit is kept.
    ConnectionLost {},
    /// The visit or this person's part in it is over. The socket closes after it.
    Ended { reason: EndReason, message: String },
    /// Something this client sent could not be done; nothing else changed.
    Error { code: ErrorCode, message: String },
    /// Answer to ping.
    Pong { id: u32 },
}

/// Who sees a shared screen. In order: what is said is the best that anybody has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum ScreenAudience {
    /// Nobody has asked for it.
    Unwatched,
    /// It is asked for, and does not reach the server, or has not yet.
    NotArriving,
    /// It is asked for, and the lines of those who do so carry sound only.
    TooThin,
    /// Somebody is sent it.
    Seen,
}

/// What a client saw and heard since its last report, from `getStats`. Over all its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct ClientReport {
    /// What it is about, milliseconds: 1,000 to 120,000.
    pub interval_ms: u32,
    /// Once: from the opening of the page until it could be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub page_ms: Option<u32>,
    /// Once: from this page's first `welcome` to the first frame it decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub first_frame_ms: Option<u32>,
    /// Frames decoded.
    pub frames_decoded: u32,
    /// Frames dropped.
    pub frames_dropped: u32,
    /// `freezeCount`, pauses included.
    pub freezes: u32,
    /// `totalFreezesDuration`, pauses included.
    pub freeze_ms: u32,
    /// `totalSamplesReceived`.
    pub samples: u32,
    /// `concealedSamples` without `silentConcealedSamples`.
    pub concealed: u32,
    /// How long sound waited in the jitter buffer on average, if it was played.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub jitter_buffer_ms: Option<u32>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if hands a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A participant, for the length of a stay. The same string as the last segment of a WHIP or WHEP `Location`.
pub type ParticipantRef = String;
/// A track, for as long as it is published.
pub type TrackRef = String;

/// A person's view of a visit.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct VisitState {
    /// Where this person is.
    pub you: Place,
    /// Whether and how the clinician is there.
    pub clinician: ClinicianPresence,
    /// Everybody admitted and present, oneself included. Empty for those who wait.
    pub participants: Vec<ParticipantInfo>,
    /// Who waits, longest first. Empty but for clinicians.
    pub queue: Vec<WaitingInfo>,
}

/// Where a person is in a visit.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "place", rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// In the queue.
    Waiting {
        /// 1 is next.
        position: u32,
    },
    /// In the visit.
    Admitted {},
}

/// What a waiting patient is told about the clinician.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum ClinicianPresence {
    /// Not here yet.
    NotStarted,
    /// Here, in a call with somebody else.
    WithAnotherPatient,
    /// Here and free.
    Ready,
}

/// Somebody in the visit.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct ParticipantInfo {
    pub participant: ParticipantRef,
    pub role: RoleName,
    pub name: String,
    /// False while the socket is gone and the stay is kept for a return.
    pub connected: bool,
    /// True if the microphone is off.
    pub microphone_muted: bool,
    /// True if the camera is off.
    pub camera_muted: bool,
    pub tracks: Vec<TrackInfo>,
}

/// A published track.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct TrackInfo {
    pub track: TrackRef,
    pub kind: KindName,
    pub source: SourceName,
}

/// Somebody in the queue.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct WaitingInfo {
    pub participant: ParticipantRef,
    pub name: String,
    pub role: RoleName,
    /// How long so far, in whole seconds at the time of sending.
    pub waiting_seconds: u32,
    /// False while the person is gone and the place is kept.
    pub connected: bool,
}

/// A line the client can receive on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct SlotInfo {
    pub mid: String,
    pub kind: KindName,
}

/// One layer of a camera as it is to be sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct UplinkLayerInfo {
    pub rid: String,
    pub active: bool,
    /// Kilobits per second.
    pub max_kbps: u32,
}

/// An entry of `RTCConfiguration.iceServers`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    pub urls: Vec<String>,
    pub username: String,
    pub credential: String,
}

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum KindName {
    Audio,
    Video,
}

/// What a track is taken from. A screen is what its publisher's offer marks with `a=content:slides` (RFC 4796).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    Microphone,
    Camera,
    Screen,
}

/// What a video line is sent. Ordered by quality.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum TargetName {
    AudioOnly,
    P480,
    P720,
}

/// A person's role in a visit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    Patient,
    Guest,
    Clinician,
}

/// Which way a quality change went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Up,
    Down,
    Same,
}

/// Why a quality change came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum QualityReason {
    /// The client asked for it by [`ClientMessage::Target`].
    Asked,
    /// The publisher started or stopped sending that layer.
    Publisher,
    /// This client's own connection carries less than before, or more again. That the picture stops is said before it does.
    Connection,
}

/// Why a client is to send something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum UplinkReason {
    /// Somebody began to watch a layer, or nobody does any more.
    Demand,
    /// This client's uplink carries less than before, or more again.
    Connection,
}

/// Why somebody's part in a visit is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The clinician ended the visit.
    VisitEnded,
    /// The clinician declined; the message is the word of reason.
    Declined,
    /// This person left.
    Left,
    /// The same person joined from elsewhere.
    Replaced,
    /// The appointment was cancelled.
    Cancelled,
    /// The server is being stopped; come back in a moment.
    ServerStopping,
    /// The media core had to end the call; rejoin.
    Failed,
}

/// What kind of thing went wrong with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a message of this protocol.
    BadMessage,
    /// Not allowed for this role or at this place.
    NotAllowed,
    /// Names a participant, line or track that is not there.
    NotFound,
    /// The session is unknown or has expired: get a new one.
    SessionExpired,
    /// Over a limit.
    Limit,
}
