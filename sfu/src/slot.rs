//! One line a participant receives on: a subscription and the track it is pointed at.

use std::time::Instant;

use slab::Slab;

use crate::adapt::{Candidate, Controller, Flow, Move, Rates, Sort};
use crate::api::SlotStats;
use crate::batch::{Batch, Cargo, Envelope};
use crate::clock::NtpTime;
use crate::counters::Count;
use crate::ids::{Mid, PayloadType, Ssrc};
use crate::media::{Codec, Kind, Layer, Source, Target};
use crate::member::Filled;
use crate::published::{Published, TrackKey};
use crate::rtcp::SenderInfo;
use crate::sdp::{MediaLine, Receiving};
use crate::send::{Negotiated, PayloadTypes, SlotConfig, Stamp, Subscription, Written};
use crate::settings::Adaptation;
use crate::transport::Transport;
use crate::worker::Shared;

/// See the module.
pub(crate) struct Slot {
    pub(crate) sub: Subscription,
    /// Where the track is that `sub` reads.
    pub(crate) source: Option<TrackKey>,
    /// What was asked for. The ladder may be below it.
    wish: Target,
    /// Its place on the ladder.
    flow: Flow,
    /// The receiver was told that its picture may stop.
    warned: bool,
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
    /// Made with the first packet that has a transport-wide number.
    pub(crate) controller: &'a mut Option<Box<Controller>>,
    /// When video may go on, if the pace stopped it.
    pub(crate) paced_until: &'a mut Option<Instant>,
}

impl Way<'_> {
    /// A packet is about to leave.
    fn note(&mut self, written: &Written, sort: Sort, shared: &Shared, now: Instant) {
        if let Some(number) = written.transport_wide
            && shared.config.adaptation == Adaptation::On
        {
            self.controller
                .get_or_insert_with(|| Box::new(Controller::new(shared.config.picture_floor, now)))
                .handle_sent(number, written.len, sort, now);
        }
    }

    /// So is a packet of the picture `ssrc`, on a path that loses many. Whether it is to be sent once more at once.
    #[cold]
    fn note_picture(&mut self, written: &Written, ssrc: Ssrc, shared: &Shared, now: Instant) -> bool {
        let (Some(number), Some(controller)) = (written.transport_wide, self.controller.as_mut()) else {
            return false;
        };
        let sequence = written.repeats.unwrap_or(written.sequence) as u16;
        controller.handle_sent_picture(number, (ssrc, sequence), written.len, written.repeats.is_some(), now);
        written.is_awaited && !shared.has_dropped(now) && controller.takes_copy(written.len, now)
    }
}

impl Slot {
    pub(crate) fn new(line: &MediaLine, receiving: &Receiving, seed: u64, now: Instant) -> Self {
        let sub = Subscription::new(config(line, receiving), seed, now);
        let wish = sub.target();
        let told = (wish, None);
        Self {
            sub,
            source: None,
            wish,
            flow: Flow::new(wish),
            warned: false,
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

    /// Something else is asked for. What is less is done at once; so is what is more, unless the path is known to have a limit.
    pub(crate) fn set_target(&mut self, target: Target, path_is_limited: bool, now: Instant) {
        self.wish = target;
        self.flow.ask(target, path_is_limited);
        self.sub.set_target(self.flow.rung(), now);
    }

    /// The slot as the ladder sees it; `None` for audio and for a slot that shows nothing.
    pub(crate) fn candidate(&mut self, tracks: &Slab<Published>, now: Instant) -> Option<Candidate<'_>> {
        let track = self.source.and_then(|key| tracks.get(key.0))?;
        (self.kind() == Kind::Video).then(|| Candidate {
            rates: Rates {
                small: track.rate(Layer::P480, now),
                large: track.rate(Layer::P720, now),
            },
            flow: &mut self.flow,
            ideal: self.wish,
            is_screen: track.source == Source::Screen,
        })
    }

    /// Does what the ladder decided.
    pub(crate) fn handle_move(&mut self, step: &Move, now: Instant) {
        self.sub.set_target(step.to, now);
        if step.urgent {
            self.sub.hold();
        }
    }

    /// Takes over how many temporal layers the ladder leaves out. Says whether the picture may soon stop, if that is news.
    pub(crate) fn follow_ladder(&mut self, controller: &Controller, now: Instant) -> Option<bool> {
        self.sub.set_thinning(self.flow.thinning());
        let is_at_risk = controller.is_about_to_stop(&self.flow, now);
        let was_warned = std::mem::replace(&mut self.warned, is_at_risk);
        (is_at_risk != was_warned).then_some(is_at_risk)
    }

    /// What the slot needs of its track: the rung it is on, and the layer that flows.
    pub(crate) fn demand(&self) -> (Target, Option<Layer>) {
        (self.flow.rung(), self.sub.layer())
    }

    /// What is to be told about the slot, if it changed: target and flowing layer.
    pub(crate) fn take_change(&mut self, tracks: &Slab<Published>) -> Option<(Target, Option<Layer>)> {
        let track = self.source.and_then(|key| tracks.get(key.0));
        let is_paused = track.is_some_and(|track| track.plan.is_paused());
        let is = (self.wish, self.sub.layer().filter(|_| !is_paused));
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
        let is_video = self.kind() == Kind::Video;
        let cargo = if is_video { Cargo::Video } else { Cargo::Urgent };
        let filled = loop {
            if is_video
                && let Some(controller) = way.controller.as_mut().filter(|controller| controller.paces())
                && let Some(wait) = controller.wait(self.sub.next_arrival(track).unwrap_or(now), now)
            {
                *way.paced_until = Some(now + wait);
                break Filled::All;
            }
            let Some(space) = batch.space_in(&way.envelope) else {
                break Filled::Part;
            };
            let (written, count, sort) = match self.sub.poll_resend(track, &mut stamp, space) {
                Some(written) => (written, Count::RtxOut, Sort::Resend),
                None => match self.sub.poll_packet(track, &mut stamp, space) {
                    Some(written) if is_video => (written, Count::RtpOut, Sort::Video),
                    Some(written) => (written, Count::RtpOut, Sort::Audio),
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
            way.note(&written, sort, shared, now);
            if is_video && self.sub.is_lossy() && way.note_picture(&written, self.ssrc(), shared, now) {
                self.sub.repeat(&written);
            }
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

    /// Whether probes can be sent here.
    pub(crate) fn takes_padding(&self) -> bool {
        self.source.is_some() && self.sub.takes_padding()
    }

    /// Seals packets of padding into the batch until the probe is as fast as it should be.
    pub(crate) fn fill_padding(
        &mut self,
        way: &mut Way<'_>,
        batch: &mut Batch,
        shared: &mut Shared,
        now: Instant,
    ) -> Filled {
        let mut stamp = Stamp {
            now,
            ntp: NtpTime::from_bits(0),
            transport_wide: *way.transport_wide,
        };
        let filled = loop {
            let wanted = way
                .controller
                .as_mut()
                .map_or(0, |controller| controller.wanted_padding(now));
            if wanted == 0 {
                break Filled::All;
            }
            let Some(space) = batch.space_in(&way.envelope) else {
                break Filled::Part;
            };
            let Some(written) = self.sub.write_padding(&mut stamp, space) else {
                break Filled::All;
            };
            way.note(&written, Sort::Padding, shared, now);
            match way.transport.seal_rtp(space, written.len, written.header_len) {
                Ok(sealed) => {
                    batch.commit(&mut way.envelope, sealed, Cargo::Video);
                    shared.counters.add(Count::ProbeOut, 1);
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
            kind: self.kind(),
            source: self.source.and_then(|key| tracks.get(key.0)).map(|track| track.id),
            target: self.wish,
            layer: self.sub.layer(),
            packets: counted.packets,
            bytes: counted.bytes,
            resent: counted.resent,
            loss: self.sub.loss(),
            lost: self.sub.lost(),
            jitter: self.sub.reported_jitter(),
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
