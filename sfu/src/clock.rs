//! Wall-clock time as RTCP carries it (RFC 5905 §6), computed from the monotonic time that is handed in. No clock is read here.

use std::fmt;
use std::time::{Duration, Instant};

/// Seconds from 1900-01-01 (the NTP prime epoch) to 1970-01-01 (the Unix epoch).
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// A moment in the 64-bit NTP timestamp format (RFC 5905 §6): 32 bits of seconds since 1900, 32 bits of fraction (233 ps).
///
/// The seconds wrap in February 2036. Differences are taken around the wrap, so they are right for moments less than 68 years apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NtpTime(u64);

impl NtpTime {
    /// From the 64 bits of a sender report.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits that go into a sender report.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From the time since 1970-01-01 UTC.
    #[must_use]
    pub fn from_unix(since_epoch: Duration) -> Self {
        Self(to_fixed_point(since_epoch).wrapping_add(UNIX_EPOCH_IN_NTP << 32))
    }

    /// Time since 1970-01-01 UTC, for moments from 1970 to 2104: seconds below 2^31 are taken to be of era 1, the rule of RFC 4330 §3.
    #[must_use]
    pub fn to_unix(self) -> Duration {
        let era = if self.0 >> 63 == 0 { 1_u64 << 32 } else { 0 };
        let seconds = ((self.0 >> 32) + era).saturating_sub(UNIX_EPOCH_IN_NTP);
        Duration::from_secs(seconds) + from_fixed_point(self.0 & 0xffff_ffff)
    }

    /// The middle 32 bits: what reception reports echo (RFC 3550 §4).
    #[must_use]
    pub const fn compact(self) -> CompactNtp {
        CompactNtp((self.0 >> 16) as u32)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let difference = self.0.wrapping_sub(earlier.0) as i64;
        u64::try_from(difference).map_or(Duration::ZERO, from_fixed_point)
    }
}

impl std::ops::Add<Duration> for NtpTime {
    type Output = Self;
    fn add(self, time: Duration) -> Self {
        Self(self.0.wrapping_add(to_fixed_point(time)))
    }
}

impl std::ops::Sub<Duration> for NtpTime {
    type Output = Self;
    fn sub(self, time: Duration) -> Self {
        Self(self.0.wrapping_sub(to_fixed_point(time)))
    }
}

impl fmt::Debug for NtpTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NtpTime({}.{:08x})", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// The middle 32 bits of an [`NtpTime`] (RFC 3550 §4), or a time span in the same unit: 1/65,536 s, wrapping after 18.2 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CompactNtp(pub u32);

impl CompactNtp {
    /// Zero, which stands for "none yet" in reception reports (RFC 3550 §6.4.1).
    pub const ZERO: Self = Self(0);

    /// A time span, cut to what fits: 18.2 hours.
    #[must_use]
    pub fn from_duration(time: Duration) -> Self {
        Self(u32::try_from(to_fixed_point(time) >> 16).unwrap_or(u32::MAX))
    }

    /// Read as a time span.
    #[must_use]
    pub fn to_duration(self) -> Duration {
        from_fixed_point(u64::from(self.0) << 16)
    }

    /// The round trip a reception report proves (RFC 3550 §6.4.1): now − last report − delay at the other side.
    ///
    /// `None` if nothing was echoed yet, or if the numbers put the report into the future, as a peer's lie or a stepped clock may.
    /// A negative result of under 1 ms is rounding, and is given as zero.
    #[must_use]
    pub fn round_trip(now: Self, last_report: Self, delay: Self) -> Option<Duration> {
        const ROUNDING: i32 = -66;
        if last_report == Self::ZERO {
            return None;
        }
        let span = now.0.wrapping_sub(last_report.0).wrapping_sub(delay.0) as i32;
        match u32::try_from(span) {
            Ok(span) => Some(Self(span).to_duration()),
            Err(_) => (span >= ROUNDING).then_some(Duration::ZERO),
        }
    }
}

/// Ties monotonic time to wall-clock time at one moment, so that both sides of every later conversion agree.
///
/// The wall clock is deliberately not read again: a step of the host's clock must not tear a stream's lip sync apart.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    base_instant: Instant,
    base_ntp: NtpTime,
}

impl WallClock {
    /// `base_ntp` was the wall-clock time at `base_instant`.
    #[must_use]
    pub const fn new(base_instant: Instant, base_ntp: NtpTime) -> Self {
        Self { base_instant, base_ntp }
    }

    /// The moment they were tied together.
    #[must_use]
    pub(crate) const fn origin(&self) -> Instant {
        self.base_instant
    }

    /// The wall-clock time at `now`.
    #[must_use]
    pub fn ntp(&self, now: Instant) -> NtpTime {
        match now.checked_duration_since(self.base_instant) {
            Some(after) => self.base_ntp + after,
            None => self.base_ntp - self.base_instant.duration_since(now),
        }
    }
}

/// 32.32 fixed point, rounded to the nearest, wrapping every 2^32 s.
fn to_fixed_point(time: Duration) -> u64 {
    let fraction = ((u64::from(time.subsec_nanos()) << 32) + 500_000_000) / 1_000_000_000;
    (time.as_secs() << 32).wrapping_add(fraction)
}

fn from_fixed_point(fixed: u64) -> Duration {
    let nanos = ((fixed & 0xffff_ffff) * 1_000_000_000 + (1 << 31)) >> 32;
    // Rounding up may give a whole second, which `Duration::new` carries.
    Duration::new(fixed >> 32, nanos as u32)
}

#[cfg(test)]
pub(crate) mod testing {
    use std::time::Instant;

    /// Where a test's virtual time begins. The only clock reading in this crate's tests, and nothing depends on its value.
    #[expect(
        clippy::disallowed_methods,
        reason = "an `Instant` cannot be had otherwise; tests only add to it"
    )]
    pub(crate) fn start() -> Instant {
        // Room below it, for tests that look back.
        Instant::now() + std::time::Duration::from_secs(86_400)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments() {
        for (unix, seconds) in [
            (0, 2_208_988_800),
            // RFC 868 names these three: 1976, 1980, 1983-05-01.
            (189_302_400, 2_398_291_200),
            (315_532_800, 2_524_521_600),
            (420_595_200, 2_629_584_000),
            // The last second of era 0 is 2036-02-07 06:28:15 UTC.
            (2_085_978_495, 4_294_967_295),
            (2_085_978_496, 0),
        ] {
            let time = NtpTime::from_unix(Duration::from_secs(unix));
            assert_eq!(time.to_bits(), seconds << 32, "{unix}");
            assert_eq!(time.to_unix(), Duration::from_secs(unix));
        }
    }

    #[test]
    fn the_middle_bits() {
        assert_eq!(
            NtpTime::from_bits(0x1234_5678_9abc_def0).compact(),
            CompactNtp(0x5678_9abc)
        );
        assert_eq!(
            CompactNtp::from_duration(Duration::from_millis(1_500)),
            CompactNtp(0x1_8000)
        );
        assert_eq!(
            CompactNtp::from_duration(Duration::from_secs(100_000)),
            CompactNtp(u32::MAX)
        );
    }

    /// The example of RFC 3550 §6.4.1, figure 2: 0xb710:8000 − 0xb705:2000 − 5.250 s = 6.125 s.
    #[test]
    fn round_trip_of_the_rfc_example() {
        let round_trip = CompactNtp::round_trip(CompactNtp(0xb710_8000), CompactNtp(0xb705_2000), CompactNtp(0x5_4000));
        assert_eq!(round_trip, Some(Duration::from_millis(6_125)));
    }

    #[test]
    fn impossible_round_trips_are_none() {
        let now = CompactNtp(1_000_000);
        assert_eq!(CompactNtp::round_trip(now, CompactNtp::ZERO, CompactNtp::ZERO), None);
        assert_eq!(
            CompactNtp::round_trip(now, CompactNtp(2_000_000), CompactNtp::ZERO),
            None
        );
        assert_eq!(
            CompactNtp::round_trip(now, CompactNtp(1_000_001), CompactNtp::ZERO),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn differences_go_around_the_wrap() {
        let before = NtpTime::from_unix(Duration::from_secs(2_085_978_490));
        let after = before + Duration::from_secs(10);
        assert_eq!(after.saturating_since(before), Duration::from_secs(10));
        assert_eq!(before.saturating_since(after), Duration::ZERO);
        assert_eq!(after - Duration::from_secs(10), before);
    }

    #[test]
    fn a_wall_clock_runs_both_ways() {
        let start = testing::start();
        let noon = NtpTime::from_unix(Duration::from_secs(1_790_000_000));
        let clock = WallClock::new(start, noon);
        assert_eq!(clock.ntp(start), noon);
        assert_eq!(
            clock.ntp(start + Duration::from_millis(250)).to_bits() - noon.to_bits(),
            1 << 30
        );
        assert_eq!(clock.ntp(start - Duration::from_secs(3)), noon - Duration::from_secs(3));
    }

    proptest! {
        #[test]
        fn unix_time_survives_to_a_nanosecond(seconds in 0..4_000_000_000_u64, nanos in 0..1_000_000_000_u32) {
            let time = Duration::new(seconds, nanos);
            prop_assert!(NtpTime::from_unix(time).to_unix().abs_diff(time) <= Duration::from_nanos(1));
        }
    }
}
