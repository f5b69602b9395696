//! What can be asked of the media core and what it tells: the whole interface to the crates above.
//!
//! Calling contract: a room is created, participants negotiate into it (the first offer creates the participant), tracks
//! they publish are announced by events, and a *slot* (a media line on which a participant receives) forwards whatever
//! track it is pointed at. **Nothing is forwarded unless a slot was pointed at it**: deny by default.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::{Mid, ParticipantId, Rid, RoomId, TrackId};
use crate::media::{Bitrate, Kind, Layer, Source, Target};
use crate::path::PathKind;

/// The server's answer to an offer.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The SDP answer, complete: all candidates inside, nothing to trickle. Holds the ICE password, hence no derived `Debug`.
    pub sdp: String,
    /// Tracks this participant publishes after this negotiation, one for each line it sends on. Ids are stable over re-offers.
    pub published: Vec<PublishedTrack>,
    /// Lines this participant receives on after this negotiation.
    pub slots: Vec<Slot>,
    /// The server's ICE credentials, for a WHIP `ETag`.
    pub ice: IceCredentials,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("published", &self.published)
            .field("slots", &self.slots)
            .field("ice", &self.ice)
            .finish_non_exhaustive()
    }
}

/// A track as it was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedTrack {
    /// Its id, chosen by the media core.
    pub track: TrackId,
    /// The publisher's media line.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// What it is taken from.
    pub source: Source,
}

/// A media line on which a participant can receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The receiver's media line.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
}

/// One side's ICE user name fragment and password (RFC 8445 §5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`, 4 to 256 characters.
    pub ufrag: String,
    /// `a=ice-pwd`, 22 to 256 characters. A secret: never logged, hence no derived `Debug`.
    pub pwd: String,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceCredentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// How a client reaches the relay: an entry of `RTCConfiguration.iceServers`. Holds a password, hence no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayAccess {
    /// `turn:` addresses.
    pub urls: Vec<String>,
    /// Says until when it is good.
    pub username: String,
    /// The password.
    pub password: String,
}

/// Why an offer was refused. The text says what was wrong and is fit to be shown to whoever wrote the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NegotiateError {
    /// Not SDP at all, or over the limits.
    #[error("the offer is not valid SDP: {0}")]
    Malformed(String),
    /// Well-formed, but asks for something this server does not do.
    #[error("the offer cannot be answered: {0}")]
    Unsupported(String),
    /// A re-offer that contradicts what was negotiated before.
    #[error("the new offer does not fit the session: {0}")]
    Conflict(String),
    /// No such room, or it has ended.
    #[error("the room does not exist or has ended")]
    NoSuchRoom,
    /// No such participant.
    #[error("the participant does not exist or has left")]
    NoSuchParticipant,
    /// The room or the shard is full.
    #[error("the room is full: at most {limit} participants")]
    Full {
        /// The limit that was reached.
        limit: usize,
    },
    /// The shard's command queue is full or the shard has stopped.
    #[error("the media server is too busy; try again in a moment")]
    Busy,
}

/// What the media core tells of its own accord. Delivered over a bounded queue, in order per room.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// ICE and DTLS are done: media can flow. Sent once per transport.
    Connected {
        /// The room.
        room: RoomId,
        /// The participant.
        participant: ParticipantId,
        /// From the first answered check to here.
        handshake: Duration,
        /// IANA name of the SRTP protection profile in use, e.g. `SRTP_AEAD_AES_256_GCM`.
        srtp_profile: &'static str,
    },
    /// No consent (RFC 7675) for the time in `limits`; media stopped. The participant stays until removed; an ICE restart revives it.
    Disconnected {
        /// The room.
        room: RoomId,
        /// The participant.
        participant: ParticipantId,
    },
    /// A connection that was disconnected is alive again.
    Reconnected {
        /// The room.
        room: RoomId,
        /// The participant.
        participant: ParticipantId,
    },
    /// The peer closed DTLS, its handshake failed, or it never connected: the participant is gone from the media core.
    Closed {
        /// The room.
        room: RoomId,
        /// The participant.
        participant: ParticipantId,
        /// A word for logs and metrics.
        reason: &'static str,
    },
    /// The first media packet of a track arrived, or its negotiation took it away.
    Track {
        /// The room.
        room: RoomId,
        /// The publisher.
        participant: ParticipantId,
        /// The track.
        track: PublishedTrack,
        /// What happened to it.
        change: TrackChange,
    },
    /// What a slot is sent has changed.
    Sending {
        /// The room.
        room: RoomId,
        /// The receiver.
        participant: ParticipantId,
        /// The receiver's line.
        mid: Mid,
        /// What is wanted for it.
        target: Target,
        /// What flows: `None` until the first key frame, and for audio-only.
        layer: Option<Layer>,
    },
    /// The ladder moved a video slot: its path carries less than before, or more. Told before it is done; what flows is told by
    /// [`Event::Sending`].
    Quality {
        /// The room.
        room: RoomId,
        /// The receiver.
        participant: ParticipantId,
        /// The receiver's line.
        mid: Mid,
        /// What it was sent.
        from: Target,
        /// What it will be sent.
        to: Target,
        /// Why.
        change: QualityChange,
        /// What was known of the path.
        evidence: Evidence,
    },
    /// The path to a receiver has become so thin that its picture will be stopped in a second, unless it gets better.
    PictureAtRisk {
        /// The room.
        room: RoomId,
        /// The receiver.
        participant: ParticipantId,
        /// The receiver's line.
        mid: Mid,
        /// It has got better, or the picture has stopped: there is nothing to fear any more.
        is_over: bool,
    },
    /// What a publisher should send on a camera's line has changed: layers that nobody watches are to be switched off, and those its
    /// uplink does not carry. To be passed on to the publisher, before it counts; one that cannot be told goes on as it is.
    Uplink {
        /// The room.
        room: RoomId,
        /// The publisher.
        participant: ParticipantId,
        /// The publisher's line.
        mid: Mid,
        /// The track.
        track: TrackId,
        /// Its layers, in the order of its offer.
        layers: [UplinkLayer; 2],
        /// The most its uplink carries, before.
        from: Target,
        /// The most its uplink carries.
        to: Target,
        /// Why.
        change: UplinkChange,
        /// What was known of the path from the publisher.
        evidence: Evidence,
    },
    /// A broken invariant ended this room. All its participants are gone.
    RoomFailed {
        /// The room.
        room: RoomId,
    },
}

/// Why the ladder moved a slot, or a publisher's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QualityChange {
    /// The path carries less than the picture needs.
    Capacity,
    /// Packets queued up on the way.
    Queue,
    /// Packets were lost on the way.
    Loss,
    /// The path carries more again.
    Recovered,
}

/// One layer as its publisher should send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkLayer {
    /// Its name in the offer.
    pub rid: Rid,
    /// Whether it is to be sent.
    pub active: bool,
    /// The most it may take.
    pub max: Bitrate,
}

/// Why a publisher should send something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkChange {
    /// Somebody began to watch a layer, or nobody does any more.
    Demand,
    /// Its uplink carries less, or more again.
    Path(QualityChange),
}

/// What was known of a path when something was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// What it can carry; `None` as long as nothing has shown a limit.
    pub estimate: Option<Bitrate>,
    /// What arrived over the last half second.
    pub delivered: Bitrate,
    /// How long packets stood in a queue.
    pub queue: Duration,
    /// The share of packets lost over the last second, 0.0..=1.0.
    pub loss: f32,
    /// The round trip, if one was measured.
    pub rtt: Option<Duration>,
}

/// What happened to a published track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackChange {
    /// Its first packet arrived.
    Started,
    /// It was negotiated away or its publisher left.
    Ended,
}

/// A participant's figures at one moment, for quality pages, tests and metrics. Counters since the participant joined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParticipantStats {
    /// Where the selected path leads, if there is one. Never above DEBUG in logs.
    pub remote: Option<SocketAddr>,
    /// What the selected path is.
    pub path: Option<PathKind>,
    /// How long the oldest datagram has waited for the participant's TCP connection to take it; `None` over UDP, and while nothing waits.
    pub stream_queue: Option<Duration>,
    /// Round trip by RTCP reports on what we send, if one was measured.
    pub rtt: Option<Duration>,
    /// What its path can carry, as far as that has shown.
    pub estimate: Option<Bitrate>,
    /// What its own uplink can carry, as far as that has shown.
    pub uplink_estimate: Option<Bitrate>,
    /// How long what we send stands in a queue, by its transport-wide feedback.
    pub queue: Duration,
    /// The range in which the transit times of nine in ten packets of the audio we send lie, by the same feedback.
    pub spread: Duration,
    /// The share of what we sent over the last second that was lost, by the same feedback, 0.0..=1.0.
    pub path_loss: f32,
    /// From a repair request to the repaired packet, smoothed, if that was measured: a round trip and the publisher's time to answer.
    pub uplink_rtt: Option<Duration>,
    /// What it publishes.
    pub published: Vec<PublishedStats>,
    /// What it receives.
    pub slots: Vec<SlotStats>,
}

/// Figures of one published layer.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedStats {
    /// The track.
    pub track: TrackId,
    /// `None` for audio.
    pub layer: Option<Layer>,
    /// Media packets received, repaired ones included, duplicates not.
    pub packets: u64,
    /// Their RTP bytes.
    pub bytes: u64,
    /// What came over the last second.
    pub rate: Bitrate,
    /// Packets that never came (RFC 3550 cumulative loss, after repair).
    pub lost: u64,
    /// Packets repaired by retransmission.
    pub repaired: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// The range in which the transit times of nine in ten packets lie. Audio only.
    pub spread: Duration,
    /// Width and height read from the last key frame, where the codec shows it.
    pub size: Option<(u16, u16)>,
    /// Key frames seen.
    pub key_frames: u64,
}

/// Figures of one slot.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotStats {
    /// The receiver's line.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// The track it is pointed at.
    pub source: Option<TrackId>,
    /// What is wanted.
    pub target: Target,
    /// What flows.
    pub layer: Option<Layer>,
    /// Packets sent, without retransmissions.
    pub packets: u64,
    /// Their RTP bytes.
    pub bytes: u64,
    /// Retransmissions sent.
    pub resent: u64,
    /// Loss the receiver last reported, 0.0..=1.0.
    pub loss: f32,
    /// Packets that never arrived, by all the receiver's reports; what its publisher's path lost is not among them.
    pub lost: u64,
    /// Interarrival jitter the receiver last reported (RFC 3550 §6.4.1).
    pub jitter: Duration,
}

/// What a shard's thread has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Media packets sent, retransmissions included.
    pub sent: u64,
    /// Datagrams that could not be sent.
    pub unsent: u64,
}

impl std::ops::Add for Output {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            unsent: self.unsent + other.unsent,
        }
    }
}

impl Output {
    /// The share of what was to be sent since an earlier moment that could not be, 0.0..=1.0.
    #[must_use]
    pub fn unsent_since(self, before: Self) -> f32 {
        let unsent = self.unsent.saturating_sub(before.unsent);
        let sent = self.sent.saturating_sub(before.sent);
        unsent as f32 / (sent + unsent).max(1) as f32
    }
}

/// Figures of some participants of a room, taken at one moment, and of the thread that serves them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The longest that anything due waited for the thread over the last seconds: what the server itself added.
    pub lateness: Duration,
    /// What the thread has sent since it started, for all rooms.
    pub output: Output,
    /// Those that are there, in the order asked for.
    pub participants: Vec<(ParticipantId, ParticipantStats)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_an_answer_shows_no_password() {
        let answer = Answer {
            sdp: "a=ice-pwd:secret-in-sdp-00000000".to_owned(),
            published: Vec::new(),
            slots: Vec::new(),
            ice: IceCredentials {
                ufrag: "frag".to_owned(),
                pwd: "secret-in-credentials-0".to_owned(),
            },
        };
        let printed = format!("{answer:?}");
        assert!(printed.contains("frag") && !printed.contains("secret"), "{printed}");
    }
}
