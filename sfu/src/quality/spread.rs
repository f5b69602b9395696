//! How unevenly packets of speech come: what a listener's jitter buffer has to hold back.

use std::time::Duration;

/// Microseconds that are counted together.
const BIN_US: i64 = 10_000;
/// Bins: the first packet of a span lies in the one after a quarter of them, so that they reach from 160 ms before it to 480 ms after.
const BINS: usize = 64;
const FIRST: i64 = BINS as i64 / 4;
/// Spans are so long: a hundred packets and more.
const SPAN_US: i64 = 2_500_000;
/// A transit time that is off by more than this is that of another clock: the sender has begun anew.
const JUMP_US: i64 = 1_000_000;
/// Fewer packets than this say nothing.
const LEAST: u32 = 25;

/// The range in which the transit times of nine in ten packets lie, over some seconds.
///
/// Interarrival jitter (RFC 3550 §6.4.1) compares neighbours. Where packets that are held up hold up those behind them, neighbours come together, and
/// it stays low however long they were held up.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    /// When the present span began, and the transit time of its first packet.
    span: Option<(i64, i64)>,
    /// Of all that speak: some hundreds in a bin.
    counts: [u16; BINS],
    /// Of the span before.
    before: Duration,
}

impl Spread {
    pub(crate) const fn new() -> Self {
        Self {
            span: None,
            counts: [0; BINS],
            before: Duration::ZERO,
        }
    }

    /// A packet that took `transit_us`, by two clocks that need not agree, came at `now_us`.
    pub(crate) fn add(&mut self, transit_us: i64, now_us: i64) {
        let before = self.span.map(|(since, first)| {
            let off = transit_us.saturating_sub(first).saturating_abs();
            (now_us.saturating_sub(since), off, first)
        });
        let first = match before {
            Some((0..SPAN_US, ..=JUMP_US, first)) => first,
            before => {
                // What is longer ago, or by another clock, says nothing of now.
                self.before = match before {
                    Some((age, ..=JUMP_US, _)) if age < 2 * SPAN_US => self.measure(),
                    _ => Duration::ZERO,
                };
                self.counts = [0; BINS];
                self.span = Some((now_us, transit_us));
                transit_us
            }
        };
        let bin = FIRST + transit_us.saturating_sub(first).div_euclid(BIN_US);
        let count = &mut self.counts[bin.clamp(0, BINS as i64 - 1) as usize];
        *count = count.saturating_add(1);
    }

    /// The worse of the last span and the present one.
    pub(crate) fn get(&self) -> Duration {
        self.before.max(self.measure())
    }

    /// From the bin of the twentieth part to that of the last twentieth.
    fn measure(&self) -> Duration {
        let all: u32 = self.counts.iter().map(|count| u32::from(*count)).sum();
        if all < LEAST {
            return Duration::ZERO;
        }
        let place = |rank: u32| {
            let mut sum = 0;
            let reached = self.counts.iter().position(|count| {
                sum += u32::from(*count);
                sum > rank
            });
            reached.unwrap_or(0) as u64
        };
        let bins = place(all - 1 - all / 20) - place(all / 20);
        Duration::from_micros(bins * BIN_US as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET_US: i64 = 20_000;

    fn spread(packets: std::ops::Range<i64>, transit: impl Fn(i64) -> i64) -> Spread {
        let mut spread = Spread::new();
        for number in packets {
            spread.add(transit(number), number * PACKET_US);
        }
        spread
    }

    #[test]
    fn what_nine_in_ten_packets_vary_is_measured_and_single_ones_are_not() {
        let ms = Duration::from_millis;
        assert_eq!(spread(0..200, |_| -7_000_000).get(), ms(0), "clocks need not agree");
        assert_eq!(spread(0..200, |number| number % 10 * 10_000).get(), ms(90));
        assert_eq!(
            spread(0..200, |number| i64::from(number % 30 == 0) * 400_000).get(),
            ms(0)
        );
        assert_eq!(spread(0..10, |number| number % 10 * 10_000).get(), ms(0), "too few");
        let jump = spread(0..200, |number| i64::from(number > 150) * 60_000_000);
        assert_eq!(jump.get(), ms(0), "speech begins again with another clock");
        let crowd = spread(0..2_000, |number| i64::from(number % 25 == 0) * 300_000);
        assert_eq!(crowd.get(), ms(0), "one in twenty-five");
        let mut several = Spread::new();
        for number in 0..2_000 {
            several.add(i64::from(number % 25 == 0) * 300_000, number * 1_000);
        }
        assert_eq!(several.get(), ms(0), "the same of twenty who speak at once");
        let mut pause = spread(0..200, |number| number % 10 * 10_000);
        pause.add(0, 60_000_000);
        assert_eq!(pause.get(), ms(0), "nobody spoke for long");
        assert_eq!(
            spread(0..500, |number| i64::from(number < 100) * (number % 10) * 10_000).get(),
            ms(0),
            "it is over"
        );
    }

    #[test]
    fn times_of_any_size_are_counted() {
        let mut spread = Spread::new();
        for (transit, now) in [(i64::MIN, i64::MIN), (i64::MAX, 0), (i64::MIN, i64::MAX), (0, i64::MIN)] {
            spread.add(transit, now);
        }
        assert_eq!(spread.get(), Duration::ZERO);
    }
}
