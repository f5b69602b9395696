//! The outgoing numbers of one slot: sequence, timestamp, VP8 picture id and TL0PICIDX.
//!
//! Between two switches all numbers are the publisher's plus constants, so a packet that comes late has its own number waiting, and
//! a hole left by the publisher's loss stays a hole until the repaired packet fills it. At a switch (of layer, of source, after a
//! pause) new constants are chosen so that the numbers go on without a gap.
//!
//! What a hole means: the receiver sees it as loss and asks for it. Within [`limits::REPAIR_WINDOW`] the publisher was asked as
//! well, and the packet is sent as soon as it is there; after that the receiver's NACK becomes a key frame request. Holes are counted, so
//! that what the receiver reports as lost can be told from what never left.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::limits;
use crate::media::{Kind, Layer};
use crate::ntp::{NtpSpan, SrMapping};
use crate::ring::{Facts, Stored};

/// How far timestamps aligned by sender reports may be from what the arrival times say before they are not believed: packets
/// of two layers of one publisher are not queued half a second apart, but a publisher can write anything into a report.
const LARGEST_DOUBT: Duration = Duration::from_millis(500);

/// What is added to a packet's numbers on the way out, all wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) timestamp: u32,
    pub(super) picture_id: u16,
    pub(super) tl0: u8,
}

/// The numbers of one stretch without a switch.
#[derive(Clone, Copy, Debug)]
struct Segment {
    layer: Option<Layer>,
    /// The publisher's sequence number the segment starts with, and ours for it.
    first_in: u64,
    first_out: u64,
    /// Wide versions of [`Offsets`].
    timestamp: u64,
    picture_id: u64,
    tl0: u8,
}

/// How the timestamps of a new segment continue those of the last.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alignment {
    /// Same layer, same clock: after a pause, or over a gap.
    SameClock,
    /// Another layer of the same publisher; both reports tie their clocks to its wall clock.
    Reports {
        /// Of the layer that was sent.
        old: SrMapping,
        /// Of the layer that is sent now.
        new: SrMapping,
    },
    /// Nothing in common but the time of arrival.
    Arrival,
}

/// A run of the publisher's numbers that goes on without a gap in ours. Packets left out in between (of a temporal layer that is
/// not wanted) separate runs; packets of an earlier run that come late still find their numbers.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// From this number of the publisher's ...
    first_in: u64,
    /// ... up to before this one. Packets from here to the next run were left out.
    end_in: u64,
    first_out: u64,
    picture_id: u64,
}

/// Why a packet has no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misplaced {
    /// From before the start of the segment.
    TooEarly,
    /// So far ahead that the hole could not be filled: the segment ends here.
    Gap,
}

/// The last frame (video) or packet (audio) sent, by timestamp.
#[derive(Clone, Copy, Debug)]
struct Last {
    timestamp: u64,
    arrival: Instant,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Forwarder {
    clock_rate: u32,
    /// The least step of the timestamp at a switch.
    least_step: i64,
    next_sequence: u64,
    next_picture_id: u64,
    /// TL0PICIDX of the packet with the highest sequence number.
    tl0: u8,
    first_timestamp: u64,
    last: Option<Last>,
    segment: Option<Segment>,
    /// Runs of the segment before the present one, oldest first.
    runs: ArrayVec<Run, { limits::REMEMBERED_RUNS }>,
    /// The publisher's highest number in this segment that was sent or left out.
    highest_in: u64,
    /// The publisher's picture id of the frame that was left out last, while nothing was sent since.
    left_out: Option<u64>,
    holes: u64,
}

impl Forwarder {
    /// `seed` decides the first numbers, which RFC 3550 §5.1 wants unpredictable.
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        let (clock_rate, least_step) = match kind {
            // A packet of Opus lasts 20 ms; two packets must not claim the same time.
            Kind::Audio => (48_000, 960),
            Kind::Video => (90_000, 1),
        };
        Self {
            clock_rate,
            least_step,
            // Below 2^15, so that no receiver can be in doubt about SRTP's rollover counter.
            next_sequence: seed & 0x7fff,
            next_picture_id: seed >> 15 & 0x7fff,
            tl0: (seed >> 30) as u8,
            first_timestamp: seed >> 32,
            last: None,
            segment: None,
            runs: ArrayVec::new(),
            highest_in: 0,
            left_out: None,
            holes: 0,
        }
    }

    /// Starts a segment at `first`: its numbers follow on the highest that were sent.
    pub(super) fn begin(&mut self, first: &Stored, layer: Option<Layer>, alignment: Alignment) {
        let timestamp = self.next_timestamp(first, alignment);
        let (picture_id, tl0) = match first.facts {
            Facts::Vp8(vp8) => (vp8.picture_id, vp8.descriptor.tl0.map(|tl0| tl0.value)),
            Facts::Empty | Facts::Opus | Facts::Red(_) | Facts::H264 { .. } => (None, None),
        };
        self.runs.clear();
        self.highest_in = first.sequence.saturating_sub(1);
        self.left_out = None;
        self.segment = Some(Segment {
            layer,
            first_in: first.sequence,
            first_out: self.next_sequence,
            timestamp: timestamp.wrapping_sub(first.timestamp),
            picture_id: picture_id.map_or(0, |id| self.next_picture_id.wrapping_sub(id)),
            tl0: tl0.map_or(0, |tl0| self.tl0.wrapping_add(1).wrapping_sub(tl0)),
        });
    }

    fn next_timestamp(&self, first: &Stored, alignment: Alignment) -> u64 {
        let Some(last) = self.last else {
            return self.first_timestamp;
        };
        let elapsed = self.ticks(first.arrival.saturating_duration_since(last.arrival));
        let aligned = match (alignment, self.segment) {
            (Alignment::SameClock, Some(old)) => {
                let timestamp = first.timestamp.wrapping_add(old.timestamp);
                Some(timestamp.wrapping_sub(last.timestamp) as i64)
            }
            (Alignment::Reports { old: from, new: to }, Some(old)) => {
                // The old layer's clock at the moment the first frame of the new one was taken.
                let between_reports = NtpSpan::between(from.ntp, to.ntp).ticks(self.clock_rate) as u32;
                let since_report = (first.timestamp as u32).wrapping_sub(to.rtp);
                let old_clock = from.rtp.wrapping_add(between_reports).wrapping_add(since_report);
                let timestamp = old_clock.wrapping_add(old.timestamp as u32);
                Some(i64::from(timestamp.wrapping_sub(last.timestamp as u32) as i32))
            }
            (Alignment::Arrival, _) | (_, None) => None,
        };
        let doubt = self.ticks(LARGEST_DOUBT).unsigned_abs();
        let step = aligned
            .filter(|step| step.abs_diff(elapsed) <= doubt)
            .unwrap_or(elapsed);
        last.timestamp.wrapping_add(step.max(self.least_step) as u64)
    }

    fn ticks(&self, time: Duration) -> i64 {
        NtpSpan::from(time).ticks(self.clock_rate)
    }

    /// The layer and clock of the last segment mean nothing any more: another source follows.
    pub(super) const fn forget_source(&mut self) {
        self.segment = None;
    }

    /// Our sequence number for a packet of the current segment.
    ///
    /// # Errors
    /// [`Misplaced`]. Without a segment every packet is too early.
    pub(super) fn place(&self, packet: &Stored) -> Result<u64, Misplaced> {
        let segment = self.segment.as_ref().ok_or(Misplaced::TooEarly)?;
        let Some(ahead) = packet.sequence.checked_sub(segment.first_in) else {
            let run = self.run_of(packet).ok_or(Misplaced::TooEarly)?;
            return Ok(run.first_out + (packet.sequence - run.first_in));
        };
        let sequence = segment.first_out + ahead;
        if sequence > self.next_sequence + limits::MAX_HOLE {
            return Err(Misplaced::Gap);
        }
        Ok(sequence)
    }

    /// The earlier run that a late packet is of.
    fn run_of(&self, packet: &Stored) -> Option<&Run> {
        let mut runs = self.runs.iter().rev();
        runs.find(|run| (run.first_in..run.end_in).contains(&packet.sequence))
    }

    /// Leaves out a packet of a frame that is not to be sent. `begins`: it is the first of its frame. False if it must be sent after
    /// all, because a packet before it is missing: that one has its number already.
    #[must_use]
    pub(super) fn leave_out(&mut self, packet: &Stored, begins: bool) -> bool {
        let Some(segment) = &mut self.segment else { return false };
        if packet.sequence <= self.highest_in {
            // A straggler of a frame that was left out.
            return packet.sequence < segment.first_in;
        }
        if begins {
            if packet.sequence != self.highest_in + 1 {
                return false;
            }
            if self.runs.is_full() {
                self.runs.remove(0);
            }
            if packet.sequence > segment.first_in {
                self.runs.push(Run {
                    first_in: segment.first_in,
                    end_in: packet.sequence,
                    first_out: segment.first_out,
                    picture_id: segment.picture_id,
                });
            }
            if let Facts::Vp8(_) = packet.facts {
                segment.picture_id = segment.picture_id.wrapping_sub(1);
            }
        }
        if let Facts::Vp8(vp8) = packet.facts {
            self.left_out = vp8.picture_id;
        }
        self.highest_in = packet.sequence;
        segment.first_in = packet.sequence + 1;
        segment.first_out = self.next_sequence;
        true
    }

    /// To be called before a packet is placed or left out. If it begins the picture right behind one that was left out, whatever is
    /// missing between them was of that one: it gets no number. Else it would be sent once it is repaired, a part of a frame whose
    /// beginning never was.
    pub(super) fn end_left_out(&mut self, packet: &Stored) {
        let (Some(segment), Some(left_out), Facts::Vp8(vp8)) = (&mut self.segment, self.left_out, packet.facts) else {
            return;
        };
        let is_next = vp8.descriptor.frame_start && vp8.picture_id == Some(left_out + 1);
        if is_next && packet.sequence > self.highest_in {
            self.highest_in = packet.sequence - 1;
            segment.first_in = packet.sequence;
        }
    }

    /// What is added to the numbers of this packet of the current segment.
    pub(super) fn offsets_of(&self, packet: &Stored) -> Offsets {
        let offsets = self.offsets();
        match self.segment {
            Some(segment) if packet.sequence < segment.first_in => {
                let run = self.run_of(packet);
                Offsets {
                    picture_id: run.map_or(offsets.picture_id, |run| run.picture_id as u16),
                    ..offsets
                }
            }
            _ => offsets,
        }
    }

    /// What the current segment adds to a packet's numbers.
    pub(super) fn offsets(&self) -> Offsets {
        self.segment.as_ref().map_or_else(Offsets::default, |segment| Offsets {
            timestamp: segment.timestamp as u32,
            picture_id: segment.picture_id as u16,
            tl0: segment.tl0,
        })
    }

    /// Notes that a packet leaves under `sequence`, the number [`Self::place`] gave it. True if it is the newest so far.
    pub(super) fn note_sent(&mut self, packet: &Stored, sequence: u64) -> bool {
        let Some(segment) = self.segment else { return false };
        let newest = sequence >= self.next_sequence;
        self.highest_in = self.highest_in.max(packet.sequence);
        if newest {
            self.holes += sequence - self.next_sequence;
            self.next_sequence = sequence + 1;
            self.left_out = None;
        } else {
            self.holes = self.holes.saturating_sub(1);
        }
        let timestamp = packet.timestamp.wrapping_add(segment.timestamp);
        if self
            .last
            .is_none_or(|last| timestamp.wrapping_sub(last.timestamp) as i64 > 0)
        {
            self.last = Some(Last {
                timestamp,
                arrival: packet.arrival,
            });
        }
        if let Facts::Vp8(vp8) = packet.facts {
            if let Some(id) = vp8.picture_id {
                let next = id.wrapping_add(segment.picture_id).wrapping_add(1);
                if next.wrapping_sub(self.next_picture_id) as i64 > 0 {
                    self.next_picture_id = next;
                }
            }
            if let Some(tl0) = vp8.descriptor.tl0
                && newest
            {
                self.tl0 = tl0.value.wrapping_add(segment.tl0);
            }
        }
        newest
    }

    /// The timestamp of what was sent last, zero before anything was.
    pub(super) fn last_timestamp(&self) -> u32 {
        self.last.map_or(0, |last| last.timestamp as u32)
    }

    /// The number after the highest one sent.
    pub(super) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The layer of the current segment, or of the last one during a pause. The outer option is the segment's.
    pub(super) fn layer(&self) -> Option<Option<Layer>> {
        self.segment.as_ref().map(|segment| segment.layer)
    }

    /// Numbers that were passed over because their packets have not come from the publisher.
    pub(super) const fn holes(&self) -> u64 {
        self.holes
    }

    /// Ticks of the media clock per second.
    pub(super) const fn clock_rate(&self) -> u32 {
        self.clock_rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{NtpTime, testing};
    use crate::media::Codec;
    use crate::ring::{Incoming, Packing, Ring};

    const P480: Option<Layer> = Some(Layer::P480);
    const P720: Option<Layer> = Some(Layer::P720);

    struct Bench {
        start: Instant,
        forwarder: Forwarder,
    }

    impl Bench {
        fn new(seed: u64) -> Self {
            Self {
                start: testing::start(),
                forwarder: Forwarder::new(Kind::Video, seed),
            }
        }

        /// A VP8 packet with a 15-bit picture id and TL0PICIDX.
        fn packet(&self, ms: u64, sequence: u64, timestamp: u32, picture_id: u16, tl0: u8) -> Stored {
            let id = (picture_id | 0x8000).to_be_bytes();
            let payload = [0x90, 0xc0, id[0], id[1], tl0, 0, 0];
            let packet = Incoming {
                arrival: self.start + Duration::from_millis(ms),
                sequence,
                timestamp,
                marker: true,
                packing: Packing::Plain(Codec::Vp8),
                audio_level: None,
            };
            *Ring::new(limits::AUDIO_RING, 0).insert(packet, &payload).unwrap()
        }

        /// Sends a packet; its wide sequence number, timestamp, picture id and TL0PICIDX.
        fn send(&mut self, packet: &Stored) -> (u64, u32, u16, u8) {
            let sequence = self.forwarder.place(packet).unwrap();
            self.forwarder.note_sent(packet, sequence);
            let offsets = self.forwarder.offsets();
            let Facts::Vp8(vp8) = packet.facts else {
                panic!("made above")
            };
            (
                sequence,
                (packet.timestamp as u32).wrapping_add(offsets.timestamp),
                (vp8.picture_id.unwrap() as u16).wrapping_add(offsets.picture_id) & 0x7fff,
                vp8.descriptor.tl0.unwrap().value.wrapping_add(offsets.tl0),
            )
        }
    }

    /// First numbers: sequence 5, picture id 0x7fff, tl0 255 + 1, timestamp 2^32 − 1 − … all about to wrap.
    const SEED: u64 = 0xffff_fff0_0000_0000 | 0xff << 30 | 0x7fff << 15 | 5;

    #[test]
    fn numbers_go_on_over_a_layer_switch() {
        let mut bench = Bench::new(SEED);
        let key = bench.packet(0, 1_000, 50_000, 77, 9);
        bench.forwarder.begin(&key, P480, Alignment::Arrival);
        let (sequence, timestamp, picture_id, tl0) = bench.send(&key);
        assert_eq!((sequence, picture_id), (5, 0x7fff));
        assert_eq!(tl0, ((SEED >> 30) as u8).wrapping_add(1));
        let delta = bench.packet(33, 1_001, 53_000, 78, 10);
        assert_eq!(
            bench.send(&delta),
            (6, timestamp.wrapping_add(3_000), 0, tl0.wrapping_add(1))
        );

        // The other layer's clock is 7,000,000 ahead; its report was written half a second later.
        let ntp = NtpTime::from_bits(1 << 40);
        let alignment = Alignment::Reports {
            old: SrMapping { ntp, rtp: 8_000 },
            new: SrMapping {
                ntp: ntp + Duration::from_millis(500),
                rtp: 7_053_000,
            },
        };
        // Taken 40 ms after the last frame, whatever the arrival says.
        let key = bench.packet(90, 4, 7_056_600, 500, 200);
        let old_clock = 8_000 + 45_000 + 3_600;
        bench.forwarder.begin(&key, P720, alignment);
        assert_eq!(bench.forwarder.layer(), Some(P720));
        let sent = bench.send(&key);
        assert_eq!(
            sent,
            (7, timestamp.wrapping_add(old_clock - 50_000), 1, tl0.wrapping_add(2))
        );
    }

    #[test]
    fn without_believable_reports_arrival_decides() {
        let report = |seconds: u64, rtp| SrMapping {
            ntp: NtpTime::from_bits(seconds << 32),
            rtp,
        };
        for alignment in [
            Alignment::Arrival,
            Alignment::Reports {
                old: report(10, 0),
                new: report(500, 0),
            },
            Alignment::SameClock,
        ] {
            let mut bench = Bench::new(0);
            let key = bench.packet(0, 1, 0, 1, 1);
            bench.forwarder.begin(&key, P480, Alignment::Arrival);
            let (_, timestamp, ..) = bench.send(&key);
            let key = bench.packet(100, 1, 77_000_000, 1, 1);
            bench.forwarder.begin(&key, P720, alignment);
            assert_eq!(bench.send(&key).1, timestamp.wrapping_add(9_000), "{alignment:?}");
        }
    }

    #[test]
    fn time_never_stands_still_at_a_switch() {
        let mut bench = Bench::new(0);
        let key = bench.packet(0, 1, 0, 1, 1);
        bench.forwarder.begin(&key, P480, Alignment::Arrival);
        let (_, timestamp, ..) = bench.send(&key);
        let key = bench.packet(0, 1, 0, 1, 1);
        bench.forwarder.begin(&key, P720, Alignment::SameClock);
        assert_eq!(bench.send(&key).1, timestamp.wrapping_add(1));
    }

    #[test]
    fn holes_stay_open_and_are_counted() {
        let mut bench = Bench::new(0);
        let key = bench.packet(0, 100, 0, 1, 1);
        bench.forwarder.begin(&key, P720, Alignment::Arrival);
        bench.send(&key);
        let ahead = bench.packet(33, 103, 6_000, 3, 1);
        assert_eq!(bench.send(&ahead).0, 3);
        assert_eq!(bench.forwarder.holes(), 2);
        let repaired = bench.packet(80, 101, 3_000, 2, 1);
        assert_eq!(
            bench.send(&repaired),
            (1, bench.forwarder.first_timestamp as u32 + 3_000, 1, 1)
        );
        assert_eq!(bench.forwarder.holes(), 1);
        let early = bench.packet(80, 99, 3_000, 2, 1);
        assert_eq!(bench.forwarder.place(&early), Err(Misplaced::TooEarly));
        let far = bench.packet(80, 104 + limits::MAX_HOLE, 3_000, 2, 1);
        assert!(bench.forwarder.place(&far).is_ok());
        let farther = bench.packet(80, 105 + limits::MAX_HOLE, 3_000, 2, 1);
        assert_eq!(bench.forwarder.place(&farther), Err(Misplaced::Gap));
    }

    #[test]
    fn another_source_has_another_clock() {
        let mut bench = Bench::new(0);
        assert_eq!(
            bench.forwarder.place(&bench.packet(0, 1, 0, 1, 1)),
            Err(Misplaced::TooEarly)
        );
        let key = bench.packet(0, 1, 0, 1, 1);
        bench.forwarder.begin(&key, P720, Alignment::Arrival);
        let (_, timestamp, ..) = bench.send(&key);
        bench.forwarder.forget_source();
        assert_eq!(bench.forwarder.layer(), None);
        let other = bench.packet(500, 9, 10_000, 1, 1);
        // "Same clock" cannot be meant: there is no segment.
        bench.forwarder.begin(&other, P720, Alignment::SameClock);
        assert_eq!(bench.send(&other).1, timestamp.wrapping_add(45_000));
    }
}
