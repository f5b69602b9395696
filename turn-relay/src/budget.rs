//! How many answers strangers get: a fixed table of allowances by address prefix, and one for all together. It never grows, and nothing
//! in it can be told apart from nothing.

use crate::address::ClientAddr;
use crate::limits::{BUDGET_BURST, BUDGET_ENTRIES, BUDGET_PER_SECOND, BUDGET_TOTAL_PER_SECOND};

/// An allowance that refills with time. Counted in thousandths, for times are in milliseconds.
#[derive(Clone, Copy, Default)]
struct Allowance {
    /// Thousandths of answers already given, as of `at`; they wear off with time.
    spent: u64,
    /// Milliseconds of the server's life.
    at: u64,
}

impl Allowance {
    fn take(&mut self, now: u64, per_second: u32, burst: u32) -> bool {
        let worn_off = now.saturating_sub(self.at) * u64::from(per_second);
        self.spent = self.spent.saturating_sub(worn_off);
        self.at = now;
        let fits = self.spent + 1_000 <= u64::from(burst) * 1_000;
        if fits {
            self.spent += 1_000;
        }
        fits
    }
}

/// See the module.
pub(crate) struct Budget {
    entries: Box<[Allowance]>,
    total: Allowance,
    /// Keeps strangers from choosing whose entry they share.
    seed: u64,
}

impl Budget {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            entries: vec![Allowance::default(); BUDGET_ENTRIES].into_boxed_slice(),
            total: Allowance::default(),
            seed: seed | 1,
        }
    }

    /// Whether this client may be answered once more. `now` in milliseconds of the server's life. Streams always may: their answers go
    /// to nobody else, and connections have bounds of their own.
    pub(crate) fn take(&mut self, client: ClientAddr, now: u64) -> bool {
        if client.transport().is_stream() {
            return true;
        }
        let mixed = (client.prefix() ^ self.seed.rotate_left(32)).wrapping_mul(self.seed);
        let index = (mixed ^ (mixed >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let entry = &mut self.entries[index as usize & (BUDGET_ENTRIES - 1)];
        // A prefix that has had its share takes nothing away from the others.
        entry.take(now, BUDGET_PER_SECOND, BUDGET_BURST)
            && self.total.take(now, BUDGET_TOTAL_PER_SECOND, BUDGET_TOTAL_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::ClientTransport;

    fn client(address: &str, transport: ClientTransport) -> ClientAddr {
        ClientAddr::new(transport, address.parse().unwrap(), None)
    }

    #[test]
    fn a_prefix_has_a_burst_and_a_rate_and_takes_nothing_from_another() {
        let mut budget = Budget::new(0x1234_5678_9abc_def1);
        let count = |budget: &mut Budget, address: &str, now: u64| {
            (0..5_000)
                .filter(|_| budget.take(client(address, ClientTransport::Udp), now))
                .count()
        };
        assert_eq!(count(&mut budget, "192.0.2.1:1", 0), 1_000);
        assert_eq!(count(&mut budget, "192.0.2.200:9", 0), 0, "the same /24");
        assert_eq!(count(&mut budget, "192.0.3.1:1", 0), 1_000, "another /24");
        assert_eq!(count(&mut budget, "192.0.2.1:1", 1_000), 100, "a second later");
        assert_eq!(
            count(&mut budget, "192.0.2.1:1", 3_600_000),
            1_000,
            "never more than the burst"
        );
        assert!(budget.take(client("192.0.2.1:1", ClientTransport::Tls), 3_600_000));
    }

    #[test]
    fn all_prefixes_together_have_a_rate() {
        let mut budget = Budget::new(77);
        let mut given = 0;
        for third in 0..200 {
            for fourth in 0..200 {
                let address = format!("10.{third}.{fourth}.1:1");
                given += u32::from(budget.take(client(&address, ClientTransport::Udp), 5_000));
            }
        }
        assert!(given <= BUDGET_TOTAL_PER_SECOND, "{given}");
    }
}
