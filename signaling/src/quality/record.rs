//! The record as it is stored and shown: JSON, stable from one release to the next but for new fields.

use serde::{Deserialize, Serialize};

use crate::message::RoleName;

/// What a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// No picture, because the path carries none.
    AudioOnly,
    /// 480p.
    P480,
    /// 720p.
    P720,
}

impl Rung {
    /// All of them, lowest first.
    pub const ALL: [Self; 3] = [Self::AudioOnly, Self::P480, Self::P720];

    /// As in JSON and in labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AudioOnly => "audio_only",
            Self::P480 => "p480",
            Self::P720 => "p720",
        }
    }
}

/// Which way media went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the participant to the server.
    Up,
    /// From the server to the participant.
    Down,
}

impl Direction {
    /// As in JSON and in labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// One participant's part in a visit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityRecord {
    /// The participant.
    pub participant: String,
    /// Their role.
    pub role: RoleName,
    /// How they took part, see [`crate::Via::name`].
    pub via: String,
    /// How long so far, seconds.
    pub seconds: f64,
    /// Whether it is over.
    pub ended: bool,
    /// How long it took to be in it.
    pub join: JoinTimes,
    /// The paths that media took, oldest first.
    pub paths: Vec<PathSince>,
    /// Seconds at each rung, over all lines with a picture.
    pub rungs: std::collections::BTreeMap<Rung, f64>,
    /// Moves on the ladder, oldest first.
    pub moves: Vec<Move>,
    /// How many of the oldest moves were left out.
    pub moves_left_out: u32,
    /// The picture, as the client saw it.
    pub picture: PictureRecord,
    /// What the participant sent, as it came to the server.
    pub up: LegRecord,
    /// What the server sent, as it came to the participant.
    pub down: LegRecord,
    /// Score for speech as it was played, what went wrong on the speakers' lines included, 1 to 4.5.
    pub heard_mos: Option<f32>,
    /// Who caused most of the trouble: `{role}_uplink`, `{role}_downlink`, `server` or `nobody`.
    pub culprit: String,
    /// Seconds of trouble by who caused it.
    pub trouble: Vec<TroubleRecord>,
    /// How it went, oldest first.
    pub samples: Vec<Sample>,
}

/// Milliseconds from hello (or the HTTP request) to each stage; `None` for what has not happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTimes {
    /// From opening the page until it could be used: before hello.
    pub page_ms: Option<u32>,
    /// The first offer came.
    pub offer_ms: Option<u32>,
    /// The first connectivity check was answered.
    pub ice_ms: Option<u32>,
    /// DTLS was done: media can flow.
    pub dtls_ms: Option<u32>,
    /// The first media of this participant came to the server.
    pub media_ms: Option<u32>,
    /// Was in the visit: let in, or at once.
    pub admitted_ms: Option<u32>,
    /// The client showed its first frame of somebody else.
    pub first_frame_ms: Option<u32>,
}

/// A path and when it was first seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathSince {
    /// Seconds since the beginning.
    pub at: f64,
    /// `udp`, `tcp`, `turn_udp`, `turn_tcp` or `turn_tls`.
    pub path: String,
}

/// A move on the ladder, and what was known when it was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// Seconds since the beginning.
    pub at: f64,
    /// Which way.
    pub direction: Direction,
    /// The rung before.
    pub from: Rung,
    /// The rung after.
    pub to: Rung,
    /// `capacity`, `queue`, `loss` or `recovered`.
    pub reason: String,
    /// What the path was thought to carry, kbit/s.
    pub estimate_kbps: Option<u32>,
    /// What got through over the last half second, kbit/s.
    pub delivered_kbps: u32,
    /// How long packets stood in a queue, milliseconds.
    pub queue_ms: f32,
    /// Share of packets lost over the last second.
    pub loss: f32,
    /// Round trip, milliseconds.
    pub rtt_ms: Option<f32>,
}

/// The picture, as the client saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PictureRecord {
    /// Seconds in which a picture was sent.
    pub play_seconds: f64,
    /// Freezes (W3C webrtc-stats), without what was stopped on purpose.
    pub freezes: u32,
    /// Their length.
    pub freeze_seconds: f64,
    /// Frames decoded.
    pub frames: u64,
    /// Frames dropped by the client.
    pub dropped: u64,
}

/// One direction of a participant's line over the whole stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LegRecord {
    /// Packets that should have come.
    pub packets: u64,
    /// Share of them lost, before repair.
    pub loss: f32,
    /// Share of audio lost.
    pub audio_loss: Option<f32>,
    /// Mean interarrival jitter, milliseconds.
    pub jitter_ms: Option<f32>,
    /// Mean round trip, milliseconds.
    pub rtt_ms: Option<f32>,
    /// The longest queue seen, milliseconds.
    pub queue_ms: Option<f32>,
    /// Mean score for speech, 1 to 4.5.
    pub mos: Option<f32>,
    /// Its lowest.
    pub mos_low: Option<f32>,
}

/// Seconds of trouble that somebody caused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TroubleRecord {
    /// See [`QualityRecord::culprit`].
    pub culprit: String,
    /// How long.
    pub seconds: f64,
}

/// Some seconds, told by the worst of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the beginning, at its end.
    pub at: f64,
    /// How many seconds it stands for.
    pub span: f64,
    /// The lowest rung.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rung: Option<Rung>,
    /// The lowest estimate, kbit/s.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub estimate_kbps: Option<u32>,
    /// The longest queue, milliseconds.
    pub queue_ms: f32,
    /// The longest round trip, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_ms: Option<f32>,
    /// The largest share of packets lost, upwards.
    pub up_loss: f32,
    /// The largest share of packets lost, downwards.
    pub down_loss: f32,
    /// The largest jitter upwards, milliseconds.
    pub up_jitter_ms: f32,
    /// The largest jitter downwards, milliseconds.
    pub down_jitter_ms: f32,
    /// The lowest score upwards.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub up_mos: Option<f32>,
    /// The lowest score downwards.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub down_mos: Option<f32>,
    /// Seconds frozen.
    pub frozen: f32,
    /// Who caused trouble, if there was any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub culprit: Option<String>,
}
