//! A token bucket.

use std::time::{Duration, Instant};

/// Lets `burst` things through at once and `per_second` for long.
pub(crate) struct TokenBucket {
    /// Time one token takes to grow.
    interval: Duration,
    burst: u32,
    /// When the bucket was, or will be, empty: it holds one token for each interval since.
    empty_at: Instant,
}

impl TokenBucket {
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / per_second;
        // An `Instant` cannot always go back: the full bucket is reached by `take`'s clamp, so start full only if it can.
        let empty_at = now.checked_sub(interval * burst).unwrap_or(now);
        Self {
            interval,
            burst,
            empty_at,
        }
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let full_since = now.checked_sub(self.interval * self.burst).unwrap_or(self.empty_at);
        let next = self.empty_at.max(full_since) + self.interval;
        if next > now {
            return false;
        }
        self.empty_at = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        #[expect(clippy::disallowed_methods, reason = "virtual time starts anywhere")]
        let start = Instant::now() + Duration::from_secs(1_000);
        let mut bucket = TokenBucket::new(20, 60, start);
        let taken = |bucket: &mut TokenBucket, at: u64| {
            let now = start + Duration::from_millis(at);
            std::iter::from_fn(|| bucket.take(now).then_some(())).count()
        };
        assert_eq!(taken(&mut bucket, 0), 60);
        assert_eq!(taken(&mut bucket, 49), 0);
        assert_eq!(taken(&mut bucket, 50), 1);
        assert_eq!(taken(&mut bucket, 1_050), 20);
        assert_eq!(taken(&mut bucket, 100_000), 60, "never more than the burst");
    }
}
