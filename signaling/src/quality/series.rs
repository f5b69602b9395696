//! How it went over time, in a bounded number of samples: when they are full, each two become one that tells the worse of both.

use super::record::Sample;
use crate::limits;

/// Samples of equal length, the last one perhaps still growing.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    samples: Vec<Sample>,
    /// Looks in a whole sample, a power of two; 0 is 1.
    shift: u32,
    /// Looks in the last one.
    last: u32,
}

impl Series {
    pub(super) fn push(&mut self, sample: Sample) {
        match self.samples.last_mut() {
            Some(last) if self.last > 0 && self.last < 1 << self.shift => {
                worst(last, &sample);
                self.last += 1;
            }
            _ => {
                if self.samples.len() == limits::QUALITY_SAMPLES {
                    self.halve();
                }
                self.samples.push(sample);
                self.last = 1;
            }
        }
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Sample> {
        self.samples.last_mut()
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn halve(&mut self) {
        let whole = std::mem::take(&mut self.samples);
        self.shift += 1;
        let mut pairs = whole.into_iter();
        while let Some(mut first) = pairs.next() {
            if let Some(second) = pairs.next() {
                worst(&mut first, &second);
            }
            self.samples.push(first);
        }
    }
}

/// Takes a later sample into an earlier one.
fn worst(earlier: &mut Sample, later: &Sample) {
    fn least<T: PartialOrd + Copy>(one: Option<T>, other: Option<T>) -> Option<T> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if other < one { other } else { one }),
            (one, other) => one.or(other),
        }
    }
    earlier.at = later.at;
    earlier.span += later.span;
    earlier.rung = least(earlier.rung, later.rung);
    earlier.estimate_kbps = least(earlier.estimate_kbps, later.estimate_kbps);
    earlier.queue_ms = earlier.queue_ms.max(later.queue_ms);
    earlier.rtt_ms = match (earlier.rtt_ms, later.rtt_ms) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    };
    earlier.up_loss = earlier.up_loss.max(later.up_loss);
    earlier.down_loss = earlier.down_loss.max(later.down_loss);
    earlier.up_jitter_ms = earlier.up_jitter_ms.max(later.up_jitter_ms);
    earlier.down_jitter_ms = earlier.down_jitter_ms.max(later.down_jitter_ms);
    earlier.up_mos = least(earlier.up_mos, later.up_mos);
    earlier.down_mos = least(earlier.down_mos, later.down_mos);
    earlier.frozen += later.frozen;
    earlier.culprit = later.culprit.clone().or(earlier.culprit.take());
}

#[cfg(test)]
mod tests {
    use super::super::record::Rung;
    use super::*;

    fn sample(at: u32, loss: f32, rung: Option<Rung>) -> Sample {
        Sample {
            at: f64::from(at),
            span: 5.0,
            rung,
            estimate_kbps: None,
            queue_ms: 0.0,
            rtt_ms: Some(at as f32),
            up_loss: 0.0,
            down_loss: loss,
            up_jitter_ms: 0.0,
            down_jitter_ms: 0.0,
            up_mos: Some(4.0 - loss),
            down_mos: None,
            frozen: 0.5,
            culprit: None,
        }
    }

    #[test]
    fn a_long_visit_keeps_its_worst_moments_in_a_bounded_number_of_samples() {
        let mut series = Series::default();
        let looks = 24 * 720;
        for look in 1..=looks {
            let bad = look == 7_000;
            series.push(sample(
                look * 5,
                if bad { 0.9 } else { 0.01 },
                bad.then_some(Rung::AudioOnly),
            ));
            assert!(series.samples().len() <= limits::QUALITY_SAMPLES);
        }
        let samples = series.samples();
        assert!(samples.len() > limits::QUALITY_SAMPLES / 2, "{}", samples.len());
        let bad = samples
            .iter()
            .find(|sample| sample.rung == Some(Rung::AudioOnly))
            .expect("kept");
        assert!((bad.at - bad.span..=bad.at).contains(&35_000.0), "{bad:?}");
        assert!((bad.down_loss, bad.up_mos) == (0.9, Some(3.1)), "{bad:?}");
        let spans: f64 = samples.iter().map(|sample| sample.span).sum();
        assert!((spans - 5.0 * f64::from(looks)).abs() < 1e-6);
        assert!(
            samples
                .windows(2)
                .all(|pair| pair[1].at - pair[1].span >= pair[0].at - 1e-6)
        );
        let frozen: f32 = samples.iter().map(|sample| sample.frozen).sum();
        assert!((frozen - 0.5 * looks as f32).abs() < 1.0);
    }
}
