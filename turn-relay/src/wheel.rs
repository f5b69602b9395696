//! A coarse timer wheel: entries are put into the slot of their time and come out when it has passed. No entry is ever looked for; one
//! whose time was moved comes out early and is put in again by its owner.

use crate::limits::{WHEEL_SECONDS, WHEEL_SLOTS};

/// See the module. Times are seconds of the server's life.
pub(crate) struct Wheel<K> {
    slots: Box<[Vec<K>]>,
    /// One bit for each slot that holds something.
    occupied: [u64; WHEEL_SLOTS / 64],
    /// Number of the next slot to come out, counted from the beginning of time.
    next: u64,
    len: usize,
}

impl<K> Wheel<K> {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..WHEEL_SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; WHEEL_SLOTS / 64],
            next: 0,
            len: 0,
        }
    }

    /// Puts an entry in that comes out at `due` or up to [`WHEEL_SECONDS`] later. What is further away than the wheel is long comes out
    /// early.
    pub(crate) fn insert(&mut self, entry: K, due: u32) {
        let slot = u64::from(due.div_ceil(WHEEL_SECONDS)).clamp(self.next, self.next + WHEEL_SLOTS as u64 - 1);
        let index = slot as usize % WHEEL_SLOTS;
        self.slots[index].push(entry);
        self.occupied[index / 64] |= 1 << (index % 64);
        self.len += 1;
    }

    /// Takes out everything whose time has come, a slot at a time.
    pub(crate) fn take_due(&mut self, now: u32) -> Option<Vec<K>> {
        let last = u64::from(now / WHEEL_SECONDS);
        while self.next <= last {
            if self.len == 0 {
                self.next = last + 1;
                return None;
            }
            let index = self.next as usize % WHEEL_SLOTS;
            self.next += 1;
            if !self.slots[index].is_empty() {
                self.occupied[index / 64] &= !(1 << (index % 64));
                let entries = std::mem::take(&mut self.slots[index]);
                self.len -= entries.len();
                return Some(entries);
            }
        }
        None
    }

    /// When [`Self::take_due`] will have something, seconds of the server's life.
    pub(crate) fn next_due(&self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let start = self.next as usize % WHEEL_SLOTS;
        let words = self.occupied.len();
        // The word of the first slot is looked at twice: its high bits first, its low bits last.
        for step in 0..=words {
            let index = (start / 64 + step) % words;
            let mut word = self.occupied[index];
            if step == 0 {
                word &= u64::MAX << (start % 64);
            } else if step == words {
                word &= !(u64::MAX << (start % 64));
            }
            if word != 0 {
                let slot = index * 64 + word.trailing_zeros() as usize;
                let ahead = (slot + WHEEL_SLOTS - start) % WHEEL_SLOTS;
                return Some((self.next + ahead as u64) as u32 * WHEEL_SECONDS);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Entries come out once, not before their time, and when the wheel said that something would.
        #[test]
        fn entries_come_out_when_due(
            entries in prop::collection::vec((0_u32..3_600, 0_u32..4_000), 1..60),
        ) {
            let mut wheel = Wheel::new();
            let mut now = 0;
            let mut waiting = Vec::new();
            for (number, (wait, life)) in entries.into_iter().enumerate() {
                now += wait % 50;
                while let Some(due) = wheel.take_due(now) {
                    for (number, due) in due {
                        prop_assert!(due <= now, "{number} came early");
                        waiting.retain(|(_, other)| *other != number);
                    }
                }
                let due = now + life;
                wheel.insert((number, due), due);
                waiting.push((due, number));
                prop_assert!(waiting.iter().all(|(due, _)| *due + WHEEL_SECONDS > now));
            }
            while let Some(next) = wheel.next_due() {
                prop_assert!(next >= now.saturating_sub(WHEEL_SECONDS));
                now = next;
                let taken = wheel.take_due(now).expect("the wheel said so");
                for (number, due) in taken {
                    prop_assert!(due <= now && due + WHEEL_SECONDS > now);
                    waiting.retain(|(_, other)| *other != number);
                }
            }
            prop_assert!(waiting.is_empty());
        }
    }

    #[test]
    fn an_empty_wheel_has_nothing_to_do() {
        let mut wheel = Wheel::<u8>::new();
        assert_eq!(wheel.next_due(), None);
        assert_eq!(wheel.take_due(1_000_000), None);
        wheel.insert(1, 0);
        assert!(
            wheel.take_due(1_000_003).is_none(),
            "the past is over: the next slot has it"
        );
        assert_eq!(wheel.take_due(1_000_004), Some(vec![1]));
    }
}
