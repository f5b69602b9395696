//! What an offer and its answer agreed on.

use arrayvec::ArrayVec;

use crate::api::IceCredentials;
use crate::dtls::Fingerprint;
use crate::ext::ExtensionIds;
use crate::ids::{Mid, PayloadType, Rid, Ssrc};
use crate::limits;
pub(crate) use crate::media::Codec;
use crate::media::{Kind, Layer, Source};

/// An agreed session: everything a transport and its room need to know of the SDP exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The client's ICE credentials.
    pub(crate) remote_ice: IceCredentials,
    /// What the client's DTLS certificate must hash to.
    pub(crate) remote_fingerprint: Fingerprint,
    /// Header extension ids of the whole bundle: the same on every line that has the extension (RFC 8843 §9.2).
    pub(crate) extensions: ExtensionIds,
    /// The media lines in the order of the offer, refused ones included: a line keeps its place for the life of a session.
    pub(crate) lines: Vec<Line>,
    /// Answers written so far; the version in the answer's `o=` line.
    pub(crate) version: u64,
}

impl Session {
    /// True if the client changed its ICE credentials since `previous`: an ICE restart (RFC 8839 §4.4.1.1.1).
    #[must_use]
    pub(crate) fn ice_restarted(&self, previous: &Self) -> bool {
        self.remote_ice != previous.remote_ice
    }

    /// The lines that carry media, in order.
    pub(crate) fn media(&self) -> impl Iterator<Item = &MediaLine> {
        self.lines.iter().filter_map(|line| match line {
            Line::Media(media) => Some(media),
            Line::Refused(_) => None,
        })
    }

    /// The media line with this tag.
    #[must_use]
    pub(crate) fn line(&self, mid: Mid) -> Option<&MediaLine> {
        self.media().find(|line| line.mid == mid)
    }
}

/// One `m=` line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "refused lines are rare: boxing the others would cost more"
)]
pub(crate) enum Line {
    /// Carries media, or could (an inactive line keeps its place and, if it had one, its sending side).
    Media(MediaLine),
    /// Refused: port 0 in the answer. The client may use its place for a new line later (RFC 8829 §5.2.2).
    Refused(Refusal),
}

/// Why a line was refused while the rest of the offer was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The client closed it (port 0).
    Closed,
    /// Neither audio nor video: a data channel, for instance.
    NotMedia,
    /// Not secured as WebRTC media is (`UDP/TLS/RTP/SAVPF` or its TCP sibling).
    NotSecureRtp,
    /// No codec that this server forwards.
    NoCodec,
    /// Not in the BUNDLE group, or without RTCP multiplexing: it would need a transport of its own.
    OwnTransport,
}

/// An accepted line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaLine {
    /// Its tag.
    pub(crate) mid: Mid,
    /// Audio or video.
    pub(crate) kind: Kind,
    /// What the client sends on it, if it does.
    pub(crate) publishes: Option<Publishing>,
    /// What the server sends on it, if it does. Both are set on a `sendrecv` line, neither on an inactive one.
    pub(crate) receives: Option<Receiving>,
    /// The sending side of a line that is inactive or publishing only for now, so that its SSRCs are the same when it receives again.
    pub(crate) resting: Option<Receiving>,
    /// Payload types agreed for the line, in the order of preference of the answer.
    pub(crate) formats: Formats,
    /// Feedback agreed for the line's media.
    pub(crate) feedback: Feedback,
}

/// The client's sending side of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publishing {
    /// What it is taken from. A line keeps it for as long as it publishes.
    pub(crate) source: Source,
    /// What it sends: one entry without rid, or up to two with rid, low to high.
    pub(crate) encodings: ArrayVec<Encoding, { limits::MAX_ENCODINGS }>,
    /// How it is known which of them is the larger.
    pub(crate) order: LayerOrder,
    /// SSRCs the offer named, in its order. Often none: browsers leave them out with rids, some encoders always.
    ///
    /// Without rids the first entry is the one encoding's. With rids only the header extensions say which is which,
    /// but the pairing of media and retransmission holds.
    pub(crate) declared: ArrayVec<DeclaredSsrc, { limits::MAX_DECLARED_SSRCS }>,
    /// Header extensions the client may put on packets of this line.
    pub(crate) extensions: ExtensionIds,
}

impl Publishing {
    /// Whether the offer says where retransmissions come: on declared SSRCs, or on ones that name their layer. A publisher that agreed on
    /// their format alone may resend under a packet's own number.
    pub(crate) fn names_repairs(&self) -> bool {
        self.extensions.repaired_rid.is_some()
            || !self.declared.is_empty() && self.declared.iter().all(|stream| stream.rtx.is_some())
    }
}

/// How it is known which of two encodings is the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerOrder {
    /// The offer says how large they are.
    Stated,
    /// By their order in the offer, which most clients have low to high, but not all: the pictures themselves decide.
    Assumed,
}

/// One encoding of a published track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    /// Its name in header extensions; `None` if the line has a single, unnamed encoding.
    pub(crate) rid: Option<Rid>,
    /// The rung it stands for; `None` for audio.
    pub(crate) layer: Option<Layer>,
    /// The client does not send it for now, and says so (RFC 8853 §5.1). It may start at any time without a new offer.
    pub(crate) paused: bool,
}

/// An SSRC named in the offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeclaredSsrc {
    /// The media stream's.
    pub(crate) media: Ssrc,
    /// Its retransmission stream's (`a=ssrc-group:FID`, RFC 5576 §4.2).
    pub(crate) rtx: Option<Ssrc>,
}

/// The server's sending side of a line. SSRCs are ours and stay the same over re-offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receiving {
    /// Of the media we send.
    pub(crate) ssrc: Ssrc,
    /// Of our retransmissions; `None` if the client does not take any (audio, or no RTX offered).
    pub(crate) rtx: Option<Ssrc>,
    /// Number of its media stream: the n-th audio and the n-th video line share one, so that a client that points both at
    /// one participant gets one stream, with lip-sync. See [`Self::stream_id`].
    pub(crate) stream: u8,
    /// Header extensions we may put on packets of this line.
    pub(crate) extensions: ExtensionIds,
}

impl Receiving {
    /// The stream's name: first part of `msid`, and the CNAME for RTCP.
    #[must_use]
    pub(crate) fn stream_id(&self) -> String {
        format!("remote-{}", self.stream)
    }
}

/// What a payload type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A media packet of this codec.
    Media(Codec),
    /// Opus wrapped in redundancy (RFC 2198); `opus` is the payload type of the blocks inside.
    Red {
        /// What is inside.
        opus: PayloadType,
    },
    /// Retransmission (RFC 4588) of packets with payload type `apt`.
    Rtx {
        /// What is resent.
        apt: PayloadType,
    },
}

/// The agreed payload types of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Formats(pub(crate) ArrayVec<(PayloadType, Format), { limits::MAX_FORMATS }>);

impl Formats {
    /// What a packet with this payload type is.
    #[must_use]
    pub(crate) fn get(&self, payload_type: PayloadType) -> Option<Format> {
        self.0
            .iter()
            .find(|(pt, _)| *pt == payload_type)
            .map(|(_, format)| *format)
    }

    /// The payload type of a codec's plain media packets.
    #[must_use]
    pub(crate) fn media(&self, codec: Codec) -> Option<PayloadType> {
        self.find(|format| format == Format::Media(codec))
    }

    /// The payload type of Opus in redundancy.
    #[must_use]
    pub(crate) fn red(&self) -> Option<PayloadType> {
        self.find(|format| matches!(format, Format::Red { .. }))
    }

    /// The payload type under which packets of payload type `apt` are resent.
    #[must_use]
    pub(crate) fn rtx(&self, apt: PayloadType) -> Option<PayloadType> {
        self.find(|format| format == Format::Rtx { apt })
    }

    /// Audio without redundancy: a packet that is lost has to be asked for, and comes again under its own sequence number.
    #[must_use]
    pub(crate) fn is_asked_for_by_its_own_number(&self) -> bool {
        self.media(Codec::Opus).is_some() && self.red().is_none()
    }

    /// All of them, in the answer's order of preference.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PayloadType, Format)> {
        self.0.iter().copied()
    }

    fn find(&self, wanted: impl Fn(Format) -> bool) -> Option<PayloadType> {
        self.0.iter().find(|(_, format)| wanted(*format)).map(|(pt, _)| *pt)
    }
}

/// RTCP feedback agreed for a line's media (RFC 4585, RFC 5104). Independent of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Feedback {
    /// Generic NACK.
    pub(crate) nack: bool,
    /// Picture loss indication.
    pub(crate) pli: bool,
    /// Full intra request.
    pub(crate) fir: bool,
    /// Transport-wide congestion control feedback.
    pub(crate) transport_cc: bool,
}
