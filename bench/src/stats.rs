//! Percentiles and medians.

use std::time::Duration;

use serde::Serialize;

/// Times of one kind, nanoseconds each; longer than four seconds counts as four.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<u32>);

/// What is told of [`Samples`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// How many there were.
    pub(crate) count: usize,
    /// Half of them are below, microseconds.
    pub(crate) p50_us: f64,
    /// All but one in a hundred are below, microseconds.
    pub(crate) p99_us: f64,
    /// The longest, microseconds.
    pub(crate) max_us: f64,
}

impl Samples {
    pub(crate) fn add(&mut self, nanos: u64) {
        self.0.push(u32::try_from(nanos).unwrap_or(u32::MAX));
    }

    pub(crate) fn append(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sorts and sums up; zeros if there is nothing.
    pub(crate) fn summary(&mut self) -> Summary {
        self.0.sort_unstable();
        let at = |percent: usize| {
            let rank = (self.0.len() * percent).div_ceil(100).max(1) - 1;
            self.0.get(rank).map_or(0.0, |nanos| f64::from(*nanos) / 1e3)
        };
        Summary {
            count: self.0.len(),
            p50_us: at(50),
            p99_us: at(99),
            max_us: at(100),
        }
    }
}

/// The middle one, or the mean of the two in the middle; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Microseconds for each of `count` things; zero of nothing.
pub(crate) fn micros_each(time: Duration, count: u64) -> f64 {
    if count == 0 {
        0.0
    } else {
        time.as_secs_f64() * 1e6 / count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut samples = Samples::default();
        assert_eq!(samples.summary(), Summary::default());
        for nanos in (1..=200).rev() {
            samples.add(nanos * 1_000);
        }
        let summary = samples.summary();
        assert_eq!(
            (summary.count, summary.p50_us, summary.p99_us, summary.max_us),
            (200, 100.0, 198.0, 200.0)
        );
        samples = Samples::default();
        samples.add(u64::MAX);
        assert_eq!(samples.summary().p50_us, f64::from(u32::MAX) / 1e3);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn nothing_costs_nothing() {
        assert_eq!(micros_each(Duration::from_secs(1), 0), 0.0);
        assert_eq!(micros_each(Duration::from_secs(1), 1_000), 1_000.0);
    }
}
