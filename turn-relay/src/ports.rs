//! Which relayed ports of one address are in use.

use std::ops::RangeInclusive;

/// A range of ports, one bit each.
pub(crate) struct PortPool {
    first: u16,
    count: u32,
    used: Box<[u64]>,
    free: u32,
}

impl PortPool {
    pub(crate) fn new(ports: &RangeInclusive<u16>) -> Self {
        let count = if ports.is_empty() {
            0
        } else {
            u32::from(*ports.end() - *ports.start()) + 1
        };
        Self {
            first: *ports.start(),
            count,
            used: vec![0; count.div_ceil(64) as usize].into_boxed_slice(),
            free: count,
        }
    }

    /// A free port, the first one from a place that `chance` chooses.
    pub(crate) fn take_any(&mut self, chance: u64) -> Option<u16> {
        if self.free == 0 {
            return None;
        }
        let start = (chance % u64::from(self.count)) as u32;
        let offset = self.free_from(start).or_else(|| self.free_from(0))?;
        self.set(offset);
        Some(self.port(offset))
    }

    /// A free even port; with `pair` also the one above it.
    pub(crate) fn take_even(&mut self, pair: bool, chance: u64) -> Option<u16> {
        if self.count == 0 {
            return None;
        }
        let start = (chance % u64::from(self.count)) as u32;
        let fits = |offset: &u32| {
            self.port(*offset).is_multiple_of(2)
                && !self.is_used(*offset)
                && (!pair || (offset + 1 < self.count && !self.is_used(offset + 1)))
        };
        // Rare (RTP and RTCP of old telephones) and bounded by the range.
        let offset = (start..self.count).chain(0..start).find(fits)?;
        self.set(offset);
        if pair {
            self.set(offset + 1);
        }
        Some(self.port(offset))
    }

    pub(crate) fn release(&mut self, port: u16) {
        let offset = u32::from(port - self.first);
        debug_assert!(self.is_used(offset), "port {port} was taken");
        self.used[offset as usize / 64] &= !(1 << (offset % 64));
        self.free += 1;
    }

    /// Whether a port is given out at the moment.
    pub(crate) fn is_taken(&self, port: u16) -> bool {
        port.checked_sub(self.first)
            .is_some_and(|offset| u32::from(offset) < self.count && self.is_used(u32::from(offset)))
    }

    /// How many ports are given out.
    pub(crate) fn taken(&self) -> u32 {
        self.count - self.free
    }

    fn free_from(&self, start: u32) -> Option<u32> {
        let mut word = start as usize / 64;
        let mut mask = u64::MAX << (start % 64);
        while word < self.used.len() {
            let free = !self.used[word] & mask;
            if free != 0 {
                let offset = word as u32 * 64 + free.trailing_zeros();
                return (offset < self.count).then_some(offset);
            }
            word += 1;
            mask = u64::MAX;
        }
        None
    }

    fn port(&self, offset: u32) -> u16 {
        // The offset is below the count, so this is at most the end of the range.
        self.first + offset as u16
    }

    fn is_used(&self, offset: u32) -> bool {
        self.used[offset as usize / 64] & (1 << (offset % 64)) != 0
    }

    fn set(&mut self, offset: u32) {
        debug_assert!(!self.is_used(offset), "a port is given once");
        self.used[offset as usize / 64] |= 1 << (offset % 64);
        self.free -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_port_is_given_once_until_it_comes_back() {
        for ports in [49_152..=49_152, 50_001..=50_129, 65_400..=65_535] {
            let mut pool = PortPool::new(&ports);
            let mut taken = HashSet::new();
            let mut chance = 12_345_u64;
            while let Some(port) = pool.take_any(chance) {
                assert!(ports.contains(&port) && taken.insert(port) && pool.is_taken(port));
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            }
            assert_eq!(taken.len(), ports.len());
            pool.release(*ports.start());
            assert_eq!(pool.take_any(chance), Some(*ports.start()));
        }
        #[expect(clippy::reversed_empty_ranges, reason = "an empty range is the case")]
        let mut none = PortPool::new(&(2..=1));
        assert_eq!((none.take_any(5), none.take_even(false, 5)), (None, None));
    }

    #[test]
    fn even_ports_and_pairs() {
        let mut pool = PortPool::new(&(50_001..=50_005));
        assert_eq!(pool.take_even(true, 0), Some(50_002));
        assert_eq!(pool.take_even(true, 3), Some(50_004));
        assert_eq!(pool.take_even(false, 0), None);
        assert_eq!(pool.take_any(0), Some(50_001));
        pool.release(50_005);
        assert_eq!(pool.take_even(true, 0), None, "the even one is in use");
        pool.release(50_004);
        assert_eq!(pool.take_even(true, 0), Some(50_004));
        assert_eq!(pool.take_any(0), None);
    }
}
