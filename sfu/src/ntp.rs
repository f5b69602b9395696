//! Signed differences of NTP time, and what a sender report ties together.

use std::time::Duration;

use crate::clock::NtpTime;

/// A signed length of time in units of 2⁻³² s: ± 68 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NtpSpan(i64);

impl NtpSpan {
    /// From `earlier` to `later`; negative if they are the other way round. The nearer way round the era is taken.
    pub(crate) const fn between(earlier: NtpTime, later: NtpTime) -> Self {
        Self(later.to_bits().wrapping_sub(earlier.to_bits()) as i64)
    }

    /// In ticks of a clock of `rate` per second, rounded to the nearest.
    pub(crate) const fn ticks(self, rate: u32) -> i64 {
        ((self.0 as i128 * rate as i128 + (1 << 31)) >> 32) as i64
    }

    /// The moment this long after `time`.
    pub(crate) const fn after(self, time: NtpTime) -> NtpTime {
        NtpTime::from_bits(time.to_bits().wrapping_add(self.0 as u64))
    }
}

impl From<Duration> for NtpSpan {
    /// Saturates at 68 years.
    fn from(time: Duration) -> Self {
        let seconds = time.as_secs().min(i64::MAX as u64 >> 32);
        let fraction = (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000;
        Self((seconds << 32 | fraction) as i64)
    }
}

/// Two clocks shown side by side by a sender report: at `ntp`, the stream's RTP clock read `rtp` (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SrMapping {
    /// The wall clock of whoever wrote the report.
    pub(crate) ntp: NtpTime,
    /// The RTP timestamp of the same moment.
    pub(crate) rtp: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_signed_and_cross_the_era() {
        let before = NtpTime::from_bits(u64::MAX - (1 << 31));
        let after = before + Duration::from_secs(1);
        let second = NtpSpan::between(before, after);
        assert_eq!(second, NtpSpan::from(Duration::from_secs(1)));
        assert_eq!(second.ticks(90_000), 90_000);
        assert_eq!(NtpSpan::between(after, before).ticks(90_000), -90_000);
        assert_eq!(second.after(before), after);
    }
}
