//! NTP time as RTCP carries it.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A 64-bit NTP timestamp: seconds since 1900 in the upper half, fractions of 2⁻³² s in the lower (RFC 3550 §4).
///
/// Whose clock it is depends on where it came from: a publisher's sender report is in the publisher's clock.
/// Arithmetic wraps, as the era does in 2036.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NtpTime(pub(crate) u64);

impl NtpTime {
    /// The middle 32 bits, as report blocks echo them in LSR (RFC 3550 §6.4.1).
    pub(crate) const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// From `earlier` to `self`, negative if `self` is the earlier one. The nearer way round the era is taken.
    pub(crate) const fn since(self, earlier: Self) -> NtpSpan {
        NtpSpan(self.0.wrapping_sub(earlier.0) as i64)
    }
}

impl Add<NtpSpan> for NtpTime {
    type Output = Self;
    fn add(self, span: NtpSpan) -> Self {
        Self(self.0.wrapping_add(span.0 as u64))
    }
}

impl Sub<NtpSpan> for NtpTime {
    type Output = Self;
    fn sub(self, span: NtpSpan) -> Self {
        Self(self.0.wrapping_sub(span.0 as u64))
    }
}

impl Add<Duration> for NtpTime {
    type Output = Self;
    fn add(self, time: Duration) -> Self {
        self + NtpSpan::from(time)
    }
}

/// A signed length of time in units of 2⁻³² s: ± 68 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NtpSpan(pub(crate) i64);

impl NtpSpan {
    /// This span in ticks of a clock of `rate` per second, rounded to the nearest.
    pub(crate) const fn ticks(self, rate: u32) -> i64 {
        ((self.0 as i128 * rate as i128 + (1 << 31)) >> 32) as i64
    }

    /// How long, without the sign.
    pub(crate) const fn abs(self) -> Duration {
        let span = self.0.unsigned_abs();
        let nanos = ((span & 0xffff_ffff) * 1_000_000_000) >> 32;
        Duration::new(span >> 32, nanos as u32)
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
        let before = NtpTime(u64::MAX - (1 << 31));
        let after = before + Duration::from_secs(1);
        assert_eq!(after.since(before).abs(), Duration::from_secs(1));
        assert_eq!(after.since(before).ticks(90_000), 90_000);
        assert_eq!(before.since(after).ticks(90_000), -90_000);
        assert_eq!(after - NtpSpan::from(Duration::from_secs(1)), before);
    }

    #[test]
    fn middle_bits_are_seconds_and_a_sixteenth_bit_fraction() {
        assert_eq!(NtpTime(0x1234_5678_9abc_def0).middle(), 0x5678_9abc);
    }
}
