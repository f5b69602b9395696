//! How fast something flows, over the last second.

use std::time::{Duration, Instant};

use crate::media::Bitrate;

const BUCKET_MILLIS: u64 = 100;
const BUCKET: Duration = Duration::from_millis(BUCKET_MILLIS);
const BUCKETS: usize = 10;

/// A window of one second in ten buckets: it moves by a tenth of a second at a time and needs no list of packets.
#[derive(Clone, Debug, Default)]
pub(super) struct RateWindow {
    /// When the first packet came, and the number of the newest bucket counted from it.
    started: Option<(Instant, u64)>,
    /// Bytes.
    buckets: [u64; BUCKETS],
}

impl RateWindow {
    /// Counts a packet. Time that runs backwards counts as the newest time.
    pub(super) fn add(&mut self, bytes: usize, now: Instant) {
        let (start, newest) = *self.started.get_or_insert((now, 0));
        let current = bucket_number(start, now).max(newest);
        let passed = (current - newest).min(BUCKETS as u64);
        for number in current - passed + 1..=current {
            self.buckets[index(number)] = 0;
        }
        self.started = Some((start, current));
        self.buckets[index(current)] += bytes as u64;
    }

    /// The rate over the second up to `now`, or since the first packet if that is less, but over a tenth of a second at least.
    pub(super) fn rate(&self, now: Instant) -> Bitrate {
        let Some((start, newest)) = self.started else {
            return Bitrate::ZERO;
        };
        let current = bucket_number(start, now).max(newest);
        let oldest = (current + 1).saturating_sub(BUCKETS as u64);
        let bytes = (oldest..=newest).map(|number| self.buckets[index(number)]).sum();
        let window_start = start + BUCKET * u32::try_from(oldest).unwrap_or(u32::MAX);
        let time = now.saturating_duration_since(window_start).max(BUCKET);
        Bitrate::from_bytes_over(bytes, time)
    }
}

fn bucket_number(start: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(start).as_millis() as u64 / BUCKET_MILLIS
}

const fn index(number: u64) -> usize {
    (number % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_steady_stream_has_its_rate_from_the_first_tenth_on() {
        let start = testing::start();
        let mut window = RateWindow::default();
        assert_eq!(window.rate(start), Bitrate::ZERO);
        // 125 bytes each 10 ms are 100 kbit/s.
        for packet in 0..500 {
            let now = start + packet * 10 * MS;
            window.add(125, now);
            let rate = window.rate(now + 10 * MS);
            if packet >= 9 {
                let error = rate.bps().abs_diff(100_000);
                assert!(error <= 1_000, "{rate} at packet {packet}");
            }
        }
    }

    #[test]
    fn it_falls_to_nothing_within_a_second_of_silence() {
        let start = testing::start();
        let mut window = RateWindow::default();
        for packet in 0..100 {
            window.add(125, start + packet * 10 * MS);
        }
        let half = window.rate(start + 1_500 * MS).bps();
        assert!((40_000..=60_000).contains(&half), "{half}");
        assert_eq!(window.rate(start + 2_000 * MS), Bitrate::ZERO);
        assert_eq!(window.rate(start + Duration::from_secs(1_000_000)), Bitrate::ZERO);
        // And what was before the silence does not come back.
        let later = start + Duration::from_secs(3_000);
        window.add(125, later);
        assert!(window.rate(later).bps() <= 10_000);
    }

    #[test]
    fn time_that_runs_backwards_is_harmless() {
        let start = testing::start();
        let mut window = RateWindow::default();
        window.add(125, start);
        window.add(125, start + 950 * MS);
        window.add(125, start + 10 * MS);
        window.add(125, start - 10 * MS);
        assert!(window.rate(start + 999 * MS).bps().abs_diff(4 * 125 * 8) < 10);
    }
}
