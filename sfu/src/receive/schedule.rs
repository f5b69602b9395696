//! When a transport sends its receiver reports, and sender reports with them (RFC 3550 §6.3).

use std::time::{Duration, Instant};

use crate::limits;

/// Spreads a transport's reports over time, so that hundreds of transports do not send them in the same millisecond.
#[derive(Clone, Debug)]
pub(crate) struct ReportSchedule {
    next: Option<Instant>,
    /// How long it may wait for something else to leave.
    slack: Duration,
    random: SplitMix,
}

impl ReportSchedule {
    /// Nothing is due until there is a stream to report on. Every transport wants another `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            next: None,
            slack: Duration::ZERO,
            random: SplitMix(seed),
        }
    }

    /// A stream was received, or is sent, for the first time, and it is known which line and layer it belongs to: report soon.
    ///
    /// Never call it for a stream whose place is not known yet. Browsers stop sending MID and RID once a report named the SSRC.
    pub(crate) fn handle_new_stream(&mut self, now: Instant) {
        let soon = now + limits::FIRST_REPORT;
        self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
        self.slack = Duration::ZERO;
    }

    /// Whether reports are to be sent now. If so, the next are due after 0.5 to 1.5 intervals (RFC 3550 §6.3.1).
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        if self.next.is_none_or(|next| now < next) {
            return false;
        }
        let interval = limits::REPORT_INTERVAL;
        let spread = interval.as_micros() as u64;
        let wait = interval / 2 + Duration::from_micros(self.random.next() % spread);
        self.next = Some(now + wait);
        self.slack = limits::REPORT_SLACK;
        true
    }

    /// When [`Self::poll`] is to be called at the latest. It says yes a little before, to whoever calls because something else leaves.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next.map(|next| next + self.slack)
    }
}

/// The SplitMix64 generator: spreading reports needs no better one.
#[derive(Clone, Debug)]
struct SplitMix(u64);

impl SplitMix {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;

    #[test]
    fn the_first_report_is_soon_and_the_others_are_spread_around_a_second() {
        let start = testing::start();
        let mut schedule = ReportSchedule::new(7);
        assert_eq!(schedule.poll_timeout(), None);
        assert!(!schedule.poll(start + Duration::from_secs(5)));
        schedule.handle_new_stream(start);
        let first = start + limits::FIRST_REPORT;
        assert_eq!(schedule.poll_timeout(), Some(first));
        assert!(!schedule.poll(first - Duration::from_micros(1)));

        let mut now = first;
        let mut waits = Vec::new();
        for _ in 0..1_000 {
            assert!(schedule.poll(now));
            assert!(!schedule.poll(now), "once each");
            let latest = schedule.poll_timeout().unwrap();
            let next = latest - limits::REPORT_SLACK;
            assert!(!schedule.clone().poll(next - Duration::from_micros(1)));
            assert!(schedule.clone().poll(next), "with whatever leaves before it must");
            waits.push(next - now);
            now = next;
        }
        let mean = waits.iter().sum::<Duration>() / 1_000;
        assert!(waits.iter().all(|wait| (500..1_500).contains(&wait.as_millis())));
        assert!((950..=1_050).contains(&mean.as_millis()), "{mean:?}");
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_new_stream_brings_the_next_report_forward_never_back() {
        let start = testing::start();
        let mut schedule = ReportSchedule::new(1);
        schedule.handle_new_stream(start);
        schedule.handle_new_stream(start + Duration::from_millis(50));
        assert_eq!(schedule.poll_timeout(), Some(start + limits::FIRST_REPORT));
        let now = start + limits::FIRST_REPORT;
        assert!(schedule.poll(now));
        schedule.handle_new_stream(now);
        assert_eq!(
            schedule.poll_timeout(),
            Some(now + limits::FIRST_REPORT),
            "and it waits for nothing"
        );
    }
}
