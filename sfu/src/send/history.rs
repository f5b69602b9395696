//! What left under which sequence number.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::media::Layer;
use crate::ring::{RingIndex, RingMark};
use crate::send::forwarder::Offsets;

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Our wide sequence number.
    pub(super) sequence: u64,
    /// Where its payload is, if the ring still has it.
    pub(super) mark: RingMark,
    /// What was added to its numbers.
    pub(super) offsets: Offsets,
    /// Which ring it is in.
    pub(super) layer: Option<Layer>,
    /// How often it was resent.
    pub(super) resends: u8,
    /// See [`Entry::last_sent`].
    last_sent: u16,
}

/// The same as it is kept: most of what a viewer costs in memory is these, and each packet touches one that is cold by then.
#[derive(Clone, Copy)]
struct Entry {
    /// How often the sequence numbers have gone round the history, counted from one; `None`: nothing is here. Enough for 300 years.
    lap: Option<NonZeroU32>,
    /// Both halves of a [`RingMark`].
    count: u32,
    timestamp: u32,
    picture_id: u16,
    /// When it was last sent, in milliseconds since the history was made. Wraps after 65 s, long after anybody asks for a packet.
    last_sent: u16,
    serial: u8,
    tl0: u8,
    layer: Option<Layer>,
    resends: u8,
}

impl Entry {
    const EMPTY: Self = Self {
        lap: None,
        count: 0,
        timestamp: 0,
        picture_id: 0,
        last_sent: 0,
        serial: 0,
        tl0: 0,
        layer: None,
        resends: 0,
    };
}

const _SMALL: () = assert!(size_of::<Entry>() == 20);

/// The last packets of a slot, by sequence number. Sized once.
pub(super) struct History {
    /// Place of `sequence` is `sequence % len`; a later number takes the place of an earlier one, never the other way round.
    entries: Box<[Entry]>,
    epoch: Instant,
}

impl History {
    /// Room for `len` packets, a power of two.
    pub(super) fn new(len: usize, epoch: Instant) -> Self {
        assert!(len.is_power_of_two(), "the lengths are constants of `limits`");
        Self {
            entries: vec![Entry::EMPTY; len].into_boxed_slice(),
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
        let lap = self.lap(sequence);
        let place = self.place(sequence);
        let entry = &mut self.entries[place];
        if entry.lap >= lap {
            return false;
        }
        let RingMark { count, serial } = index.mark();
        *entry = Entry {
            lap,
            count,
            timestamp: offsets.timestamp,
            picture_id: offsets.picture_id,
            last_sent,
            serial,
            tl0: offsets.tl0,
            layer,
            resends: 0,
        };
        true
    }

    /// The packet sent under a number, if it is remembered.
    pub(super) fn get(&self, sequence: u64) -> Option<Sent> {
        let entry = &self.entries[self.place(sequence)];
        (entry.lap == self.lap(sequence)).then_some(Sent {
            sequence,
            mark: RingMark {
                count: entry.count,
                serial: entry.serial,
            },
            offsets: Offsets {
                timestamp: entry.timestamp,
                picture_id: entry.picture_id,
                tl0: entry.tl0,
            },
            layer: entry.layer,
            resends: entry.resends,
            last_sent: entry.last_sent,
        })
    }

    /// How long ago a remembered packet was last sent, to the millisecond.
    pub(super) fn age(&self, sent: &Sent, now: Instant) -> Duration {
        Duration::from_millis(u64::from(self.millis(now).wrapping_sub(sent.last_sent)))
    }

    /// Notes that a remembered packet was sent again.
    pub(super) fn note_resent(&mut self, sequence: u64, now: Instant) {
        let (lap, last_sent) = (self.lap(sequence), self.millis(now));
        let place = self.place(sequence);
        let entry = &mut self.entries[place];
        if entry.lap == lap {
            entry.resends = entry.resends.saturating_add(1);
            entry.last_sent = last_sent;
        }
    }

    /// See [`crate::member::Member::touch`].
    #[inline]
    pub(super) fn touch(&self, sequence: u64) {
        std::hint::black_box(self.entries[self.place(sequence)].count);
    }

    const fn place(&self, sequence: u64) -> usize {
        sequence as usize & (self.entries.len() - 1)
    }

    /// Never `None`, before the end of the numbers.
    const fn lap(&self, sequence: u64) -> Option<NonZeroU32> {
        NonZeroU32::new((sequence >> self.entries.len().trailing_zeros()) as u32 + 1)
    }

    fn millis(&self, now: Instant) -> u16 {
        now.saturating_duration_since(self.epoch).as_millis() as u16
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
        let age = |history: &History| history.age(&history.get(5).unwrap(), later);
        assert_eq!(age(&history), Duration::from_millis(250));
        history.note_resent(5, later);
        assert_eq!(age(&history), Duration::ZERO);
        assert_eq!(history.get(5).unwrap().resends, 1);
    }
}
