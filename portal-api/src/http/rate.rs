//! Limits per address prefix: on how often, and on how many at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::limits::RATE_PREFIXES;

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// For long, each second; at least 1.
    pub per_second: u32,
    /// At once; at least 1.
    pub burst: u32,
}

/// Whom an allowance belongs to. An IPv6 household or office holds a /56 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Prefix {
    V4(u32),
    V6(u64),
    /// All who came when the table was full.
    Others,
}

impl Prefix {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 72) as u64),
        }
    }
}

pub(super) struct RateLimit {
    limiter: DefaultKeyedRateLimiter<Prefix>,
}

impl RateLimit {
    pub(super) fn new(allowance: Allowance) -> Self {
        let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(allowance.per_second)).allow_burst(at_least_one(allowance.burst));
        Self {
            limiter: RateLimiter::keyed(quota),
        }
    }

    /// Takes one from the allowance of this address; if there is none left, how long to wait.
    pub(super) fn take(&self, address: IpAddr) -> Result<(), Duration> {
        if self.limiter.len() >= RATE_PREFIXES {
            self.limiter.retain_recent();
        }
        let full = self.limiter.len() >= RATE_PREFIXES;
        let prefix = if full { Prefix::Others } else { Prefix::of(address) };
        self.limiter
            .check_key(&prefix)
            .map_err(|refused| refused.wait_time_from(DefaultClock::default().now()))
    }
}

/// What may be held open at once, per address prefix. The table is as long as there are prefixes that hold something.
#[derive(Clone)]
pub struct Places {
    limit: usize,
    held: Arc<Mutex<HashMap<Prefix, usize>>>,
}

/// Held until it is dropped.
pub struct Place {
    places: Places,
    prefix: Prefix,
}

impl Places {
    /// So many for each prefix.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Arc::default(),
        }
    }

    /// A place for this address, if its prefix does not hold all it may.
    #[must_use]
    pub fn take(&self, address: IpAddr) -> Option<Place> {
        let prefix = Prefix::of(address);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.get(&prefix).copied().unwrap_or(0);
        if count >= self.limit {
            return None;
        }
        held.insert(prefix, count + 1);
        let places = self.clone();
        Some(Place { places, prefix })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.prefix) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.prefix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn an_allowance_is_shared_by_a_prefix_and_by_nobody_else() {
        let limit = RateLimit::new(Allowance {
            per_second: 1,
            burst: 2,
        });
        let check = |text: &str| limit.take(address(text)).is_ok();
        assert!(check("192.0.2.1") && check("::ffff:192.0.2.1"));
        let wait = limit.take(address("192.0.2.1")).expect_err("used up");
        assert!(wait <= Duration::from_secs(1));
        assert!(check("192.0.2.2"));

        assert!(check("2001:db8:0:100::1") && check("2001:db8:0:1ff::2"));
        assert!(!check("2001:db8:0:155::3"));
        assert!(check("2001:db8:0:200::1"));
    }

    #[test]
    fn places_come_back_and_leave_nothing_behind() {
        let places = Places::new(2);
        let take = |text: &str| places.take(address(text));
        let (first, second) = (take("192.0.2.1"), take("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some() && take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
        drop(first);
        let third = take("192.0.2.1");
        assert!(third.is_some() && take("192.0.2.1").is_none());
        drop((second, third));
        assert!(places.held.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn strangers_cannot_grow_the_table_without_end() {
        let limit = RateLimit::new(Allowance {
            per_second: 1,
            burst: 1,
        });
        let base = u32::from_be_bytes([10, 0, 0, 0]);
        for n in 0..RATE_PREFIXES as u32 + 10 {
            let _ = limit.take(IpAddr::V4((base + n).into()));
        }
        assert!(limit.limiter.len() <= RATE_PREFIXES + 1);
    }
}
