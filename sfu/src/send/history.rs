//! What left under which sequence number.

use std::time::{Duration, Instant};

use crate::media::Layer;
use crate::ring::RingIndex;
use crate::send::forwarder::Offsets;

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Our wide sequence number.
    pub(super) sequence: u64,
    /// Where its payload is.
    pub(super) index: RingIndex,
    /// What was added to its numbers.
    pub(super) offsets: Offsets,
    /// Which ring it is in.
    pub(super) layer: Option<Layer>,
    /// How often it was resent.
    pub(super) resends: u8,
    /// When it was last sent, in milliseconds since the history was made. Wraps after 49 days.
    last_sent: u32,
}

/// The last packets of a slot, by sequence number. Sized once.
pub(super) struct History {
    /// Place of `sequence` is `sequence % len`; a later number takes the place of an earlier one, never the other way round.
    slots: Box<[Option<Sent>]>,
    epoch: Instant,
}

impl History {
    /// Room for `len` packets, a power of two.
    pub(super) fn new(len: usize, epoch: Instant) -> Self {
        assert!(len.is_power_of_two(), "the lengths are constants of `limits`");
        Self {
            slots: vec![None; len].into_boxed_slice(),
            epoch,
        }
    }

    /// Claims a sequence number for a packet that is about to be sealed. False if the number was used before, or is so old that
    /// this is not known: the packet must not be sent. This is what keeps SRTP nonces unique.
    #[must_use]
    pub(super) fn claim(
        &mut self,
        sequence: u64,
        index: RingIndex,
        offsets: Offsets,
        layer: Option<Layer>,
        now: Instant,
    ) -> bool {
        let last_sent = self.millis(now);
        let slot = self.slot(sequence);
        if self.slots[slot].is_some_and(|sent| sent.sequence >= sequence) {
            return false;
        }
        self.slots[slot] = Some(Sent {
            sequence,
            index,
            offsets,
            layer,
            resends: 0,
            last_sent,
        });
        true
    }

    /// The packet sent under a number, if it is remembered.
    pub(super) fn get(&self, sequence: u64) -> Option<&Sent> {
        self.slots[self.slot(sequence)]
            .as_ref()
            .filter(|sent| sent.sequence == sequence)
    }

    /// How long ago a remembered packet was last sent, to the millisecond.
    pub(super) fn age(&self, sent: &Sent, now: Instant) -> Duration {
        Duration::from_millis(u64::from(self.millis(now).wrapping_sub(sent.last_sent)))
    }

    /// Notes that a remembered packet was sent again.
    pub(super) fn note_resent(&mut self, sequence: u64, now: Instant) {
        let last_sent = self.millis(now);
        let slot = self.slot(sequence);
        if let Some(sent) = self.slots[slot].as_mut().filter(|sent| sent.sequence == sequence) {
            sent.resends = sent.resends.saturating_add(1);
            sent.last_sent = last_sent;
        }
    }

    const fn slot(&self, sequence: u64) -> usize {
        sequence as usize & (self.slots.len() - 1)
    }

    fn millis(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.epoch).as_millis() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;
    use crate::ring::{Ring, RingSize};

    fn history() -> (History, RingIndex, Instant) {
        let size = RingSize {
            packets: 1,
            bytes: 2_000,
        };
        let start = testing::start();
        (History::new(4, start), Ring::new(size, 0).end(), start)
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Option<Sent>>(), 32);
    }

    #[test]
    fn a_number_is_claimed_once() {
        let (mut history, index, now) = history();
        let mut claim = |sequence| history.claim(sequence, index, Offsets::default(), None, now);
        assert!(claim(10));
        assert!(!claim(10), "used");
        assert!(claim(12) && claim(11), "a hole is filled late");
        assert!(!claim(11), "used");
        assert!(claim(14), "takes the place of 10");
        assert!(!claim(10), "no longer known");
        assert!(history.get(14).is_some() && history.get(10).is_none() && history.get(13).is_none());
    }

    #[test]
    fn ages_count_from_the_last_sending() {
        let (mut history, index, start) = history();
        let later = start + Duration::from_millis(250);
        assert!(history.claim(5, index, Offsets::default(), None, start));
        let age = |history: &History| history.age(history.get(5).unwrap(), later);
        assert_eq!(age(&history), Duration::from_millis(250));
        history.note_resent(5, later);
        assert_eq!(age(&history), Duration::ZERO);
        assert_eq!(history.get(5).unwrap().resends, 1);
    }
}
