//! What sender and receiver tell each other about a slot (RFC 3550 §6.4).

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::clock::{CompactNtp, NtpTime};
use crate::limits;
use crate::media::Kind;
use crate::rtcp::ReportBlock;

/// What a sender report says of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderFacts {
    /// The server's wall clock.
    pub(crate) ntp: NtpTime,
    /// The slot's RTP clock at that moment.
    pub(crate) rtp: u32,
    /// Packets sent, wraps.
    pub(crate) packets: u32,
    /// Payload bytes sent, wraps.
    pub(crate) octets: u32,
}

/// A report's figures, to take the next one's difference from.
#[derive(Clone, Copy, Debug)]
struct Baseline {
    highest_sequence: u32,
    cumulative_lost: i32,
    holes: u64,
}

/// The reports of one slot.
#[derive(Debug, Default)]
pub(super) struct Reports {
    sent: ArrayVec<(CompactNtp, Instant), { limits::REMEMBERED_REPORTS }>,
    round_trip: Option<Duration>,
    baseline: Option<Baseline>,
    loss: f32,
    lost: u64,
    /// As it was reported, in units of the RTP clock.
    jitter: u32,
}

impl Reports {
    /// Notes that a sender report leaves now.
    pub(super) fn note_sent(&mut self, ntp: NtpTime, now: Instant) {
        if self.sent.is_full() {
            self.sent.remove(0);
        }
        self.sent.push((ntp.compact(), now));
    }

    /// Takes in a report block. `holes` are the numbers that never left so far, because the publisher's packets were lost:
    /// the receiver counts them as lost, and they are taken out again.
    pub(super) fn handle(&mut self, heard: &ReportBlock, holes: u64, now: Instant) {
        if let Some(sample) = self.sample(heard, now) {
            // The smoothing of RFC 6298 §2.3.
            self.round_trip = Some(self.round_trip.map_or(sample, |known| (known * 7 + sample) / 8));
        }
        self.jitter = heard.jitter;
        self.loss = self.baseline.map_or_else(
            || heard.loss(),
            |before| {
                let expected = i64::from(heard.highest_sequence.wrapping_sub(before.highest_sequence) as i32);
                let lost = i64::from(heard.cumulative_lost) - i64::from(before.cumulative_lost);
                let holes = holes.wrapping_sub(before.holes) as i64;
                let (sent, lost) = (expected - holes, lost - holes);
                if sent <= 0 || lost <= 0 {
                    0.0
                } else {
                    self.lost += lost.min(sent) as u64;
                    lost.min(sent) as f32 / sent as f32
                }
            },
        );
        self.baseline = Some(Baseline {
            highest_sequence: heard.highest_sequence,
            cumulative_lost: heard.cumulative_lost,
            holes,
        });
    }

    /// The round trip a block proves. Only reports that were really sent count, by when they were really sent.
    fn sample(&self, heard: &ReportBlock, now: Instant) -> Option<Duration> {
        if heard.last_sr == CompactNtp::ZERO {
            return None;
        }
        let (_, sent) = self.sent.iter().find(|(report, _)| *report == heard.last_sr)?;
        let elapsed = now.saturating_duration_since(*sent);
        let delay = heard.delay_since_last_sr.to_duration();
        // A delay of a little more than all the time there was is rounding; more is a lie.
        if delay > elapsed + Duration::from_millis(1) {
            return None;
        }
        Some(elapsed.saturating_sub(delay))
    }

    /// The smoothed round trip.
    pub(super) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The share of what we sent between the last two reports that did not arrive, 0.0..=1.0.
    pub(super) const fn loss(&self) -> f32 {
        self.loss
    }

    /// How much of what we sent did not arrive, by the differences between all reports.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// The interarrival jitter last reported.
    pub(super) fn jitter(&self, kind: Kind) -> Duration {
        // RFC 7587 §4.1 for Opus; RFC 6184 and RFC 7741 for video.
        let clock = match kind {
            Kind::Audio => 48_000,
            Kind::Video => 90_000,
        };
        Duration::from_micros(u64::from(self.jitter) * 1_000_000 / clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;
    use crate::ids::Ssrc;

    const NTP: NtpTime = NtpTime::from_bits(0x1234_5678_9abc_def0);

    fn heard(highest_sequence: u32, cumulative_lost: i32) -> ReportBlock {
        ReportBlock {
            ssrc: Ssrc(1),
            fraction_lost: 64,
            cumulative_lost,
            highest_sequence,
            jitter: 900,
            last_sr: CompactNtp::ZERO,
            delay_since_last_sr: CompactNtp::ZERO,
        }
    }

    #[test]
    fn round_trips_count_from_when_the_report_left() {
        let start = testing::start();
        let mut reports = Reports::default();
        reports.note_sent(NTP, start);
        let block = |last_sr, delay_ms| ReportBlock {
            last_sr,
            delay_since_last_sr: CompactNtp::from_duration(Duration::from_millis(delay_ms)),
            ..heard(1, 0)
        };
        let now = start + Duration::from_millis(1_100);
        reports.handle(&block(CompactNtp(5), 1_000), 0, now);
        assert_eq!(reports.round_trip(), None, "never sent");
        reports.handle(&block(NTP.compact(), 1_200), 0, now);
        assert_eq!(reports.round_trip(), None, "held longer than it exists");
        reports.handle(&block(NTP.compact(), 1_000), 0, now);
        assert_eq!(reports.round_trip().map(|time| time.as_millis()), Some(100));
        for i in 0..10 {
            reports.note_sent(NTP + Duration::from_secs(i), now);
        }
        assert_eq!(reports.sent.len(), limits::REMEMBERED_REPORTS);
    }

    #[test]
    fn holes_are_not_the_receivers_loss() {
        let now = testing::start();
        let mut reports = Reports::default();
        reports.handle(&heard(1_000, 10), 10, now);
        assert_eq!(reports.loss(), 0.25, "the first report says so itself");
        reports.handle(&heard(1_100, 30), 20, now);
        assert_eq!(reports.loss(), 10.0 / 90.0);
        reports.handle(&heard(1_200, 40), 40, now);
        assert_eq!(reports.loss(), 0.0, "more holes than losses: repaired since");
        reports.handle(&heard(1_000, 90), 40, now);
        assert_eq!(reports.loss(), 0.0, "a report that runs backwards");
    }
}
