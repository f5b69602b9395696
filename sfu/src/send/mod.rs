//! The sending side: one [`Subscription`] for each line a participant receives on, which reads the rings of the track it is pointed at
//! and writes complete plaintext RTP packets into the caller's buffer.
//!
//! Everything is *pulled*: a burst is received, decrypted and stored first, then each viewer in turn is asked for packets until it
//! has none. The rings are the only queue.
//!
//! * `forwarder` chooses the outgoing numbers, without gaps across layers, sources and pauses;
//! * `header` writes the one fixed header layout of a slot;
//! * `history` remembers what left under which number: for retransmission, and so that no number is used twice;
//! * `key_frame` decides when to ask for a key frame;
//! * `resend` queues what the receiver asked for again;
//! * `pacer` decides when video leaves;
//! * `padding` makes packets of a frame equally long, so that they leave in one call;
//! * `redundancy` puts earlier frames into packets of audio, where the path loses some;
//! * `report` keeps sender reports, round trip and loss.

#[cfg(test)]
mod audio_tests;
mod forwarder;
mod header;
mod history;
mod key_frame;
mod pacer;
mod padding;
#[cfg(test)]
mod property_tests;
mod redundancy;
mod report;
mod resend;
mod subscription;
#[cfg(test)]
mod subscription_tests;
#[cfg(test)]
mod testbed;

use std::time::Instant;

use crate::clock::NtpTime;
use crate::ext::ExtensionIds;
use crate::ids::{Mid, PayloadType, Ssrc};
use crate::media::{Codec, Kind, Layer};
use crate::ntp::{NtpSpan, SrMapping};
use crate::ring::{Packing, Ring};

pub(crate) use header::MAX_HEADER;
pub(crate) use pacer::{Leaving, Pacer};
pub(crate) use subscription::Subscription;

/// What was negotiated for a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotConfig {
    /// The receiver's line.
    pub(crate) mid: Mid,
    /// What the line takes.
    pub(crate) kind: Kind,
    /// The SSRC of the media we send.
    pub(crate) ssrc: Ssrc,
    /// The SSRC of our retransmissions; `None` if the receiver takes none.
    pub(crate) rtx_ssrc: Option<Ssrc>,
    /// The receiver's payload types.
    pub(crate) payload_types: PayloadTypes,
    /// The receiver's extension ids. Those for transport-wide numbers, send time, audio level and mid are written if set.
    pub(crate) extensions: ExtensionIds,
}

/// The payload types a receiver takes, by what they stand for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PayloadTypes {
    /// Opus.
    pub(crate) opus: Option<Negotiated>,
    /// Opus in redundancy. Without it, redundant audio is stripped to its primary frame.
    pub(crate) red: Option<Negotiated>,
    /// VP8.
    pub(crate) vp8: Option<Negotiated>,
    /// H.264.
    pub(crate) h264: Option<Negotiated>,
}

/// A payload type and the one its retransmissions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// Of first sendings.
    pub(crate) media: PayloadType,
    /// Of retransmissions (RFC 4588 `apt`).
    pub(crate) rtx: Option<PayloadType>,
}

impl PayloadTypes {
    /// What audio leaves as with more redundancy than it came with: the type of the packet, and that of the frames in it.
    fn protected(&self) -> Option<(PayloadType, PayloadType)> {
        Some((self.red?.media, self.opus?.media))
    }

    /// How a payload packed like this leaves, if it can at all.
    const fn outgoing(&self, packing: Packing) -> Option<(Outgoing, Negotiated)> {
        let (outgoing, negotiated) = match (packing, self.red) {
            (Packing::Plain(Codec::Opus), _) => (Outgoing::AsIs, self.opus),
            (Packing::Plain(Codec::Vp8), _) => (Outgoing::AsIs, self.vp8),
            (Packing::Plain(Codec::H264), _) => (Outgoing::AsIs, self.h264),
            (Packing::Red, None) => (Outgoing::PrimaryOnly, self.opus),
            (Packing::Red, red) => match self.opus {
                Some(opus) => (Outgoing::Redundant { opus: opus.media }, red),
                None => return None,
            },
        };
        match negotiated {
            Some(negotiated) => Some((outgoing, negotiated)),
            None => None,
        }
    }
}

/// What is done to a payload on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outgoing {
    /// Nothing, or VP8's numbers.
    AsIs,
    /// Its blocks are given the receiver's payload type for Opus.
    Redundant { opus: PayloadType },
    /// Stripped of its redundancy.
    PrimaryOnly,
}

/// A published track as its viewers see it. Audio has no layers: its one stream is asked for as `None`.
pub(crate) trait LayerSource {
    /// The ring of a layer, if a packet of it ever came.
    fn ring(&self, layer: Option<Layer>) -> Option<&Ring>;
    /// What the publisher's last sender report for this layer said, in the publisher's clock.
    fn sr_mapping(&self, layer: Option<Layer>) -> Option<SrMapping>;
    /// From the publisher's clock to ours. One figure for all tracks of a publisher, so that lips stay in sync.
    fn clock_offset(&self) -> Option<NtpSpan>;
    /// The layer of a video track that was negotiated with a single encoding.
    fn only_layer(&self) -> Option<Layer>;
    /// Whether the publisher really sends this layer now.
    fn is_active(&self, layer: Layer) -> bool;
}

/// What packets of one transport have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// Now.
    pub(crate) now: Instant,
    /// The same by the server's wall clock, for absolute send times.
    pub(crate) ntp: NtpTime,
    /// The transport-wide number of the next packet. Counted up with each packet that carries it.
    pub(crate) transport_wide: u16,
}

/// A complete plaintext RTP packet in the caller's buffer. The SRTP tag goes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Written {
    /// The packet's length, padding included.
    pub(crate) len: usize,
    /// When the publisher's packet arrived.
    pub(crate) arrival: Instant,
    /// Bytes of padding at its end.
    pub(crate) padding: usize,
    /// Where the payload starts: what stays in the clear. Equal for all media packets of a slot.
    pub(crate) header_len: usize,
    /// The SSRC it has.
    pub(crate) ssrc: Ssrc,
    /// The wide sequence number: its upper bits are SRTP's rollover counter (RFC 3711 §3.3.1). It starts below 2¹⁵.
    ///
    /// **It does not always rise**: a packet that its publisher sent out of order, or resent, leaves late under its own number.
    /// No number of an SSRC is ever given to two packets.
    pub(crate) sequence: u64,
    /// Of a retransmission, the sequence number it repeats.
    pub(crate) repeats: Option<u64>,
    /// The publisher repaired it: the receiver has waited for it, and asked for it in vain.
    pub(crate) is_awaited: bool,
    /// The marker bit.
    pub(crate) marker: bool,
    /// The transport-wide number it carries, if any.
    pub(crate) transport_wide: Option<u16>,
}
