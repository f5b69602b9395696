//! One line a participant receives on: a subscription and the track it is pointed at.

use std::time::Instant;

use slab::Slab;

use crate::api::SlotStats;
use crate::batch::{Batch, Cargo, Envelope};
use crate::clock::NtpTime;
use crate::counters::Count;
use crate::ids::{Mid, PayloadType, Ssrc};
use crate::media::{Codec, Kind, Layer, Target};
use crate::member::Filled;
use crate::published::{Published, TrackKey};
use crate::rtcp::SenderInfo;
use crate::sdp::{MediaLine, Receiving};
use crate::send::{Negotiated, PayloadTypes, SlotConfig, Stamp, Subscription, Written};
use crate::transport::Transport;
use crate::worker::Shared;

/// See the module.
pub(crate) struct Slot {
    pub(crate) sub: Subscription,
    /// Where the track is that `sub` reads.
    pub(crate) source: Option<TrackKey>,
    cname: String,
    /// What was last told of it.
    told: (Target, Option<Layer>),
}

/// How a member's packets leave.
pub(crate) struct Way<'a> {
    pub(crate) envelope: Envelope,
    pub(crate) transport: &'a mut Transport,
    /// The next transport-wide number.
    pub(crate) transport_wide: &'a mut u16,
}

impl Slot {
    pub(crate) fn new(line: &MediaLine, receiving: &Receiving, seed: u64, now: Instant) -> Self {
        let sub = Subscription::new(config(line, receiving), seed, now);
        let told = (sub.target(), None);
        Self {
            sub,
            source: None,
            cname: receiving.stream_id(),
            told,
        }
    }

    /// Takes over what a new offer says of the line. Its SSRC is the same, so numbers go on where they were.
    pub(crate) fn renegotiate(&mut self, line: &MediaLine, receiving: &Receiving) {
        debug_assert_eq!((line.mid, receiving.ssrc), (self.mid(), self.ssrc()), "the same line");
        self.sub.set_config(config(line, receiving));
        self.cname = receiving.stream_id();
    }

    pub(crate) fn mid(&self) -> Mid {
        self.sub.config().mid
    }

    pub(crate) fn kind(&self) -> Kind {
        self.sub.config().kind
    }

    pub(crate) fn ssrc(&self) -> Ssrc {
        self.sub.config().ssrc
    }

    pub(crate) fn cname(&self) -> &str {
        &self.cname
    }

    pub(crate) fn set_source(&mut self, source: Option<TrackKey>, tracks: &Slab<Published>) {
        self.source = source;
        self.sub
            .set_source(source.and_then(|key| tracks.get(key.0)).map(|track| track.id));
    }

    pub(crate) fn set_target(&mut self, target: Target, now: Instant) {
        self.sub.set_target(target, now);
    }

    /// What is to be told about the slot, if it changed: target and flowing layer.
    pub(crate) fn take_change(&mut self) -> Option<(Target, Option<Layer>)> {
        let is = (self.sub.target(), self.sub.layer());
        (self.kind() == Kind::Video && is != self.told).then(|| {
            self.told = is;
            is
        })
    }

    /// Seals what there is for this slot into the batch: retransmissions, then new packets.
    pub(crate) fn fill(
        &mut self,
        way: &mut Way<'_>,
        batch: &mut Batch,
        tracks: &Slab<Published>,
        shared: &mut Shared,
        now: Instant,
    ) -> Filled {
        let Some(track) = self.source.and_then(|key| tracks.get(key.0)) else {
            return Filled::All;
        };
        let mut stamp = Stamp {
            now,
            ntp: NtpTime::from_bits(0),
            transport_wide: *way.transport_wide,
        };
        let cargo = match self.kind() {
            Kind::Audio => Cargo::Urgent,
            Kind::Video => Cargo::Video,
        };
        let filled = loop {
            let Some(space) = batch.space_in(&way.envelope) else {
                break Filled::Part;
            };
            let (written, count) = match self.sub.poll_resend(track, &mut stamp, space) {
                Some(written) => (written, Count::RtxOut),
                None => match self.sub.poll_packet(track, &mut stamp, space) {
                    Some(written) => (written, Count::RtpOut),
                    None => break Filled::All,
                },
            };
            let Written {
                len,
                padding,
                header_len,
                arrival,
                ..
            } = written;
            match way.transport.seal_rtp(space, len, header_len) {
                Ok(sealed) => {
                    batch.commit(&mut way.envelope, sealed, cargo);
                    shared.counters.add(count, 1);
                    shared.counters.add(Count::RtpBytesOut, len as u64);
                    shared.counters.add(Count::PaddingOut, padding as u64);
                    if count == Count::RtpOut {
                        shared.samples.note(self.sub.config().kind, arrival);
                    }
                }
                Err(_) => shared.counters.add(Count::SealFailed, 1),
            }
        };
        *way.transport_wide = stamp.transport_wide;
        filled
    }

    /// The sender report that is due, if the slot has sent and the publisher has reported.
    pub(crate) fn sender_report(&mut self, tracks: &Slab<Published>, ntp: NtpTime, now: Instant) -> Option<SenderInfo> {
        let track = tracks.get(self.source?.0)?;
        let facts = self.sub.sender_report(track, now, ntp)?;
        Some(SenderInfo {
            ssrc: self.ssrc(),
            ntp: facts.ntp,
            rtp_timestamp: facts.rtp,
            packets: facts.packets,
            bytes: facts.octets,
        })
    }

    pub(crate) fn stats(&self, tracks: &Slab<Published>) -> SlotStats {
        let counted = self.sub.counters();
        SlotStats {
            mid: self.mid(),
            source: self.source.and_then(|key| tracks.get(key.0)).map(|track| track.id),
            target: self.sub.target(),
            layer: self.sub.layer(),
            packets: counted.packets,
            bytes: counted.bytes,
            resent: counted.resent,
            loss: self.sub.loss(),
        }
    }
}

fn config(line: &MediaLine, receiving: &Receiving) -> SlotConfig {
    let negotiated = |media: Option<PayloadType>| {
        media.map(|media| Negotiated {
            media,
            rtx: receiving.rtx.and_then(|_| line.formats.rtx(media)),
        })
    };
    SlotConfig {
        mid: line.mid,
        kind: line.kind,
        ssrc: receiving.ssrc,
        rtx_ssrc: receiving.rtx,
        payload_types: PayloadTypes {
            opus: negotiated(line.formats.media(Codec::Opus)),
            red: negotiated(line.formats.red()),
            vp8: negotiated(line.formats.media(Codec::Vp8)),
            h264: negotiated(line.formats.media(Codec::H264)),
        },
        extensions: crate::ext::ExtensionIds {
            // SSRCs are declared in the answer, so packets need no MID; send times serve no receiver that has the wide numbers.
            mid: None,
            rid: None,
            repaired_rid: None,
            twcc: receiving.extensions.twcc,
            abs_send_time: None,
            audio_level: receiving.extensions.audio_level.filter(|_| line.kind == Kind::Audio),
        },
    }
}
