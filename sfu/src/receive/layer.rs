//! The account of one received stream: what came, what is missing, how evenly it flows (RFC 3550 §6.4, §A.3, §A.8).

use std::time::{Duration, Instant};

use super::nack::{NackGenerator, NackList, Patience};
use super::rate::RateWindow;
use crate::clock::CompactNtp;
use crate::ids::Ssrc;
use crate::limits;
use crate::media::Bitrate;
use crate::ntp::SrMapping;
use crate::quality::Spread;
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::rtp::SequenceUnwrapper;

/// Ticks of a second of Opus (RFC 7587 §4.1).
const AUDIO_CLOCK: u32 = 48_000;

/// What is done about packets that do not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// Nothing: no retransmission was negotiated.
    None,
    /// They are asked for, and come on an SSRC of their own (RFC 4588).
    Nack,
    /// They are asked for, and come as they were at first: there is no SSRC for retransmissions.
    Same,
    /// They are asked for as long as they can still be heard, and come as they were at first: browsers answer requests for audio
    /// though they do not offer to, and have no retransmission SSRC for it.
    Speech,
}

/// A packet that is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Its sequence number, wide.
    pub(crate) sequence: u64,
    /// Where it stands among those that came before.
    pub(crate) order: Order,
}

/// Where a packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// After all others.
    Newest,
    /// It filled a hole.
    Late,
}

/// Why a packet is not to be stored. A counter is all it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It came before.
    #[error("duplicate packet")]
    Duplicate,
    /// So far behind that nobody knows whether it came before.
    #[error("packet from before the receive window")]
    TooOld,
    /// A retransmission of something that lies far ahead of all that was sent.
    #[error("retransmission from the future")]
    TooNew,
}

/// Counters of a stream since its first packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerCounters {
    /// Packets received, repaired ones included, duplicates not.
    pub(crate) packets: u64,
    /// Their RTP bytes.
    pub(crate) bytes: u64,
    /// Packets that did not come (so far).
    pub(crate) lost: u64,
    /// Packets that came as retransmissions, or of audio, late after they were asked for or inside another one.
    pub(crate) repaired: u64,
    /// Interarrival jitter.
    pub(crate) jitter: Duration,
    /// The range in which the transit times of nine in ten packets of audio lie.
    pub(crate) spread: Duration,
}

/// The account of one primary SSRC.
#[derive(Debug)]
pub(crate) struct LayerReceiver {
    ssrc: Ssrc,
    sequences: SequenceUnwrapper,
    seen: Seen,
    packets: u64,
    bytes: u64,
    repaired: u64,
    /// Of these, found inside the next packet, and not come by themselves as yet.
    recovered: u64,
    jitter: Jitter,
    rate: RateWindow,
    repair: Repair,
    nack: Option<NackGenerator>,
    last_report: Option<LastReport>,
    /// Expected and received by itself or on request at the last report block.
    reported: (u64, u64),
}

/// A sender report that came.
#[derive(Clone, Copy, Debug)]
struct LastReport {
    mapping: SrMapping,
    arrival: Instant,
}

impl LayerReceiver {
    /// For a stream whose timestamps tick `clock_rate` times a second.
    pub(crate) fn new(ssrc: Ssrc, clock_rate: u32, repair: Repair) -> Self {
        Self {
            ssrc,
            sequences: SequenceUnwrapper::new(),
            seen: Seen::default(),
            packets: 0,
            bytes: 0,
            repaired: 0,
            recovered: 0,
            jitter: Jitter::new(clock_rate),
            rate: RateWindow::default(),
            repair,
            nack: match repair {
                Repair::None => None,
                Repair::Nack | Repair::Same => Some(NackGenerator::new(Patience::Picture)),
                Repair::Speech => Some(NackGenerator::new(Patience::Speech)),
            },
            last_report: None,
            reported: (0, 0),
        }
    }

    /// The stream's SSRC.
    pub(crate) const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// A packet came on the stream's own SSRC. `bytes` is its RTP length.
    ///
    /// A jump ahead of any length is believed at once: SRTP has authenticated it, and has itself counted the wraps (RFC 3711 §3.3.1).
    /// For the same reason there is no restart to detect: what is behind SRTP's replay window never gets here.
    ///
    /// # Errors
    /// [`Refused`] if it must not be stored.
    pub(crate) fn handle_packet(
        &mut self,
        sequence: u16,
        timestamp: u32,
        bytes: usize,
        now: Instant,
    ) -> Result<Accepted, Refused> {
        let accepted = match self.accept(sequence, bytes, now) {
            // SRTP lets nothing through twice, so this one was overtaken by the packet it was found in, and not lost.
            Err(Refused::Duplicate) if self.recovered > 0 => {
                self.recovered -= 1;
                self.repaired -= 1;
                return Err(Refused::Duplicate);
            }
            accepted => accepted?,
        };
        let was_resent = match (accepted.order, &mut self.nack) {
            (Order::Late, Some(nack)) if self.repair == Repair::Speech => nack.handle_repaired(accepted.sequence, now),
            (Order::Late, Some(nack)) => {
                nack.handle_late(accepted.sequence);
                false
            }
            (Order::Newest, _) | (_, None) => false,
        };
        if was_resent {
            self.repaired += 1;
        } else {
            self.jitter.add(timestamp, now);
        }
        Ok(accepted)
    }

    /// A packet came back on the retransmission SSRC. `bytes` is the length it had originally. Says nothing about jitter.
    ///
    /// # Errors
    /// [`Refused`] if it must not be stored. Most often it is a duplicate: browsers probe with what was already received.
    pub(crate) fn handle_repaired(&mut self, sequence: u16, bytes: usize, now: Instant) -> Result<Accepted, Refused> {
        // The original number stands in the payload, where no replay protection keeps it near. A lost tail may come back before
        // anything newer does, hence not only holes.
        let wide = self.sequences.peek(u64::from(sequence));
        let highest = self.sequences.highest().ok_or(Refused::TooNew)?;
        if wide > highest + limits::MAX_HOLES as u64 {
            return Err(Refused::TooNew);
        }
        let accepted = self.accept(sequence, bytes, now)?;
        self.repaired += 1;
        if let Some(nack) = &mut self.nack {
            nack.handle_repaired(accepted.sequence, now);
        }
        Ok(accepted)
    }

    /// A packet that did not come by itself was found inside the one after it. False if it has come all the same, or is from before the
    /// first one.
    pub(crate) fn handle_recovered(&mut self, sequence: u64) -> bool {
        if sequence < self.seen.first || self.seen.fill(sequence).is_err() {
            return false;
        }
        self.packets += 1;
        self.repaired += 1;
        self.recovered += 1;
        if let Some(nack) = &mut self.nack {
            nack.handle_late(sequence);
        }
        true
    }

    fn accept(&mut self, sequence: u16, bytes: usize, now: Instant) -> Result<Accepted, Refused> {
        let before = self.sequences.highest();
        let wide = self.sequences.unwrap(u64::from(sequence));
        let order = match before {
            Some(highest) if wide <= highest => {
                self.seen.fill(wide)?;
                Order::Late
            }
            Some(highest) => {
                self.seen.advance(wide);
                if let Some(nack) = &mut self.nack {
                    nack.note_loss(wide - highest - 1);
                    nack.handle_gap(highest + 1..wide, now);
                }
                Order::Newest
            }
            None => {
                self.seen.start(wide);
                Order::Newest
            }
        };
        self.packets += 1;
        self.bytes += bytes as u64;
        self.rate.add(bytes, now);
        Ok(Accepted { sequence: wide, order })
    }

    /// The packet that was accepted as `sequence` is the first of a key frame.
    pub(crate) fn handle_key_frame(&mut self, sequence: u64) {
        if let Some(nack) = &mut self.nack {
            nack.handle_key_frame(sequence);
        }
    }

    /// Nothing that would come under its own number is asked for from here on: the publisher would have to seal another message under a number
    /// that is used up.
    #[inline]
    pub(crate) fn spare_numbers(&mut self) {
        if matches!(self.repair, Repair::Same | Repair::Speech) {
            self.nack = None;
        }
    }

    /// The publisher told how the stream's clock and its wall clock belong together.
    pub(crate) fn handle_sender_report(&mut self, info: &SenderInfo, now: Instant) {
        self.last_report = Some(LastReport {
            mapping: SrMapping {
                ntp: info.ntp,
                rtp: info.rtp_timestamp,
            },
            arrival: now,
        });
    }

    /// What the publisher told last, and when it came.
    pub(crate) fn sender_report(&self) -> Option<(SrMapping, Instant)> {
        self.last_report.map(|last| (last.mapping, last.arrival))
    }

    /// The round trip to the publisher and its answering time, smoothed, if it was measured.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.nack.as_ref().and_then(NackGenerator::round_trip)
    }

    /// Packets to ask the publisher for now, on this SSRC. Empty if there are none.
    pub(crate) fn poll_nack(&mut self, now: Instant) -> NackList {
        self.nack.as_mut().map_or_else(NackList::new, |nack| nack.poll(now))
    }

    /// Says once, after [`Self::poll_nack`] or a jump, that something was lost for good and a key frame is needed.
    pub(crate) fn take_broken(&mut self) -> bool {
        self.nack.as_mut().is_some_and(NackGenerator::take_broken)
    }

    /// When [`Self::poll_nack`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.nack.as_ref().and_then(NackGenerator::poll_timeout)
    }

    /// The rate over the last second.
    pub(crate) fn rate(&self, now: Instant) -> Bitrate {
        self.rate.rate(now)
    }

    /// Counters since the first packet.
    pub(crate) fn counters(&self) -> LayerCounters {
        LayerCounters {
            packets: self.packets,
            bytes: self.bytes,
            lost: self.expected() - self.packets,
            repaired: self.repaired,
            jitter: self.jitter.duration(),
            spread: self.jitter.spread(),
        }
    }

    /// The block for the next receiver report, or `None` if nothing came yet. Loss is counted after repair; but frames of speech that were found
    /// inside other packets count as lost in the fraction, by which the publisher's page sees that redundancy is needed.
    ///
    /// The fraction lost is that since the last block (RFC 3550 §A.3), so each block made is to be sent.
    pub(crate) fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        let highest = self.sequences.highest()?;
        let expected = self.expected();
        let received = self.packets - self.recovered;
        let (expected_before, received_before) = std::mem::replace(&mut self.reported, (expected, received));
        let expected_since = expected - expected_before;
        // A packet that came late can make up for more than was expected since: no loss then.
        let lost_since = expected_since.saturating_sub(received - received_before);
        let fraction = (lost_since * 256).checked_div(expected_since).unwrap_or(0);
        let (last_sr, delay_since_last_sr) = self.last_report.map_or((CompactNtp::ZERO, CompactNtp::ZERO), |last| {
            let delay = now.saturating_duration_since(last.arrival);
            (last.mapping.ntp.compact(), CompactNtp::from_duration(delay))
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(expected - self.packets).unwrap_or(i32::MAX),
            // Wide numbers begin in the second cycle, reports in the first.
            highest_sequence: (highest - (1 << 16)) as u32,
            jitter: self.jitter.ticks(),
            last_sr,
            delay_since_last_sr,
        })
    }

    fn expected(&self) -> u64 {
        self.sequences
            .highest()
            .map_or(0, |highest| highest - self.seen.first + 1)
    }
}

/// Which of the last [`limits::RECEIVE_WINDOW`] packets came, one bit each.
#[derive(Debug)]
struct Seen {
    bits: [u64; limits::RECEIVE_WINDOW as usize / 64],
    highest: u64,
    /// The lowest number expected: that of the first packet, or of one that was overtaken by it.
    first: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            bits: [0; limits::RECEIVE_WINDOW as usize / 64],
            highest: 0,
            first: 0,
        }
    }
}

impl Seen {
    const fn place(sequence: u64) -> (usize, u64) {
        let bit = sequence % limits::RECEIVE_WINDOW;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn start(&mut self, sequence: u64) {
        self.highest = sequence;
        self.first = sequence;
        let (word, bit) = Self::place(sequence);
        self.bits[word] |= bit;
    }

    /// One that is newer than all others.
    fn advance(&mut self, sequence: u64) {
        let ahead = sequence - self.highest;
        if ahead >= limits::RECEIVE_WINDOW {
            self.bits.fill(0);
        } else {
            for between in self.highest + 1..=sequence {
                let (word, bit) = Self::place(between);
                self.bits[word] &= !bit;
            }
        }
        self.highest = sequence;
        let (word, bit) = Self::place(sequence);
        self.bits[word] |= bit;
    }

    /// One that is not.
    fn fill(&mut self, sequence: u64) -> Result<(), Refused> {
        if sequence + limits::RECEIVE_WINDOW <= self.highest {
            return Err(Refused::TooOld);
        }
        let (word, bit) = Self::place(sequence);
        if self.bits[word] & bit != 0 {
            return Err(Refused::Duplicate);
        }
        self.bits[word] |= bit;
        self.first = self.first.min(sequence);
        Ok(())
    }
}

/// Interarrival jitter (RFC 3550 §A.8).
#[derive(Debug)]
struct Jitter {
    clock_rate: u32,
    /// Sixteen times the jitter in ticks.
    scaled: u32,
    /// Arrival and timestamp of the packet before.
    last: Option<(Instant, u32)>,
    /// When the first packet came, and how much longer than it the last one took, in microseconds.
    first: Option<Instant>,
    transit: i64,
    /// Of audio: pictures are spread by whoever sends them.
    spread: Option<Spread>,
}

impl Jitter {
    const fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            scaled: 0,
            last: None,
            first: None,
            transit: 0,
            spread: if clock_rate == AUDIO_CLOCK {
                Some(Spread::new())
            } else {
                None
            },
        }
    }

    fn add(&mut self, timestamp: u32, now: Instant) {
        let Some((before, timestamp_before)) = self.last.replace((now, timestamp)) else {
            return;
        };
        let passed = now.saturating_duration_since(before).as_micros() as u64;
        let ticks = (passed.saturating_mul(u64::from(self.clock_rate)) / 1_000_000) as i64;
        let sent = i64::from(timestamp.wrapping_sub(timestamp_before) as i32);
        let longer = ticks.saturating_sub(sent);
        if let Some(spread) = &mut self.spread {
            let first = *self.first.get_or_insert(before);
            let rate = i64::from(self.clock_rate);
            self.transit = self.transit.saturating_add(longer.saturating_mul(1_000_000) / rate);
            let now_us = now.saturating_duration_since(first).as_micros() as i64;
            spread.add(self.transit, now_us);
        }
        let difference = longer.unsigned_abs();
        // A pause or a timestamp that jumps is no jitter of the path; ten seconds keep the sum within its bits.
        let Some(difference) = u32::try_from(difference)
            .ok()
            .filter(|ticks| *ticks <= self.clock_rate.saturating_mul(10))
        else {
            return;
        };
        self.scaled = self.scaled - ((self.scaled + 8) >> 4) + difference;
    }

    fn spread(&self) -> Duration {
        self.spread.as_ref().map_or(Duration::ZERO, Spread::get)
    }

    const fn ticks(&self) -> u32 {
        self.scaled >> 4
    }

    fn duration(&self) -> Duration {
        let micros = u64::from(self.ticks()) * 1_000_000;
        Duration::from_micros(micros.checked_div(u64::from(self.clock_rate)).unwrap_or(0))
    }
}
