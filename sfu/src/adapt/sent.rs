//! What left under which transport-wide number: a fixed ring, so that recording a packet costs a few stores and no allocation.

use crate::limits;

/// What a packet was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Speech: never held back.
    Audio,
    /// A picture's first sending.
    Video,
    /// A retransmission, asked for or not.
    Resend,
    /// Sent to measure the path, of no use to the receiver.
    Padding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The number was not used.
    Unused,
    /// Nothing is known. So it stays if the feedback that was to tell of it was lost.
    UnderWay,
    /// Reported as not arrived, so far.
    Missing,
    Arrived,
    /// Given up. It may still be reported as arrived, when packets overtook each other.
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Microseconds on the ring's clock, wrapping after 71 minutes: far longer than any number is remembered in use.
    sent: u32,
    size: u16,
    sort: Sort,
    fate: Fate,
}

/// A packet that feedback was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentPacket {
    /// Its number, wide.
    pub(crate) number: u64,
    /// When it left, in microseconds on the controller's clock.
    pub(crate) sent_us: i64,
    /// Bytes on the wire.
    pub(crate) size: u16,
    /// What it was.
    pub(crate) sort: Sort,
}

/// See the module.
pub(crate) struct SentHistory {
    entries: Box<[Entry]>,
    /// The number after the last one recorded. Counted from 2¹⁶ upwards so that looking back never underflows.
    next: u64,
    /// Everything below was given up or arrived.
    settled: u64,
    begun: bool,
}

impl SentHistory {
    pub(crate) fn new() -> Self {
        let empty = Entry {
            sent: 0,
            size: 0,
            sort: Sort::Padding,
            fate: Fate::Unused,
        };
        Self {
            entries: vec![empty; limits::SENT_HISTORY].into_boxed_slice(),
            next: 1 << 16,
            settled: 1 << 16,
            begun: false,
        }
    }

    /// Notes a packet. Numbers are given out one by one; one that was skipped counts as never sent.
    pub(crate) fn record(&mut self, number: u16, now_us: i64, size: usize, sort: Sort) {
        if !self.begun {
            self.begun = true;
            self.next = (1 << 16) + u64::from(number);
            self.settled = self.next;
        }
        let skipped = u64::from(number.wrapping_sub(self.next as u16));
        for _ in 0..skipped.min(limits::SENT_HISTORY as u64) {
            self.push(Entry {
                sent: now_us as u32,
                size: 0,
                sort,
                fate: Fate::Unused,
            });
        }
        self.next += skipped - skipped.min(limits::SENT_HISTORY as u64);
        self.push(Entry {
            sent: now_us as u32,
            size: size.min(usize::from(u16::MAX)) as u16,
            sort,
            fate: Fate::UnderWay,
        });
    }

    /// What was sent so far went another way: nothing is learned from its fate.
    pub(crate) fn forget(&mut self) {
        for entry in &mut self.entries {
            entry.fate = Fate::Unused;
        }
        self.settled = self.next;
    }

    /// See [`crate::member::Member::touch`].
    #[inline]
    pub(crate) fn touch(&self) {
        std::hint::black_box(self.entries[self.place(self.next)].sent);
    }

    fn push(&mut self, entry: Entry) {
        let place = self.place(self.next);
        self.entries[place] = entry;
        self.next += 1;
    }

    const fn place(&self, number: u64) -> usize {
        number as usize & (limits::SENT_HISTORY - 1)
    }

    /// The wide number a feedback means: the nearest at or below the last one sent. `None` if that is no longer remembered.
    pub(crate) fn widen(&self, number: u16) -> Option<u64> {
        let last = self.next.checked_sub(1)?;
        let wide = last - u64::from((last as u16).wrapping_sub(number));
        (self.begun && last - wide < limits::SENT_HISTORY as u64).then_some(wide)
    }

    fn packet(&self, number: u64, now_us: i64) -> SentPacket {
        let entry = &self.entries[self.place(number)];
        SentPacket {
            number,
            sent_us: now_us - i64::from((now_us as u32).wrapping_sub(entry.sent)),
            size: entry.size,
            sort: entry.sort,
        }
    }

    /// A packet was reported as arrived. `None` if it was before, or never left.
    pub(crate) fn arrived(&mut self, number: u64, now_us: i64) -> Option<(SentPacket, bool)> {
        let place = self.place(number);
        let was_lost = match self.entries[place].fate {
            Fate::UnderWay | Fate::Missing => false,
            Fate::Lost => true,
            Fate::Unused | Fate::Arrived => return None,
        };
        self.entries[place].fate = Fate::Arrived;
        Some((self.packet(number, now_us), was_lost))
    }

    /// A packet was reported as not arrived.
    pub(crate) fn missing(&mut self, number: u64) {
        let place = self.place(number);
        if self.entries[place].fate == Fate::UnderWay {
            self.entries[place].fate = Fate::Missing;
        }
    }

    /// Gives up what left before `sent_before_us` and was reported missing: `each` is called for each packet of that time whose
    /// fate is known, with whether it was lost.
    pub(crate) fn settle(&mut self, sent_before_us: i64, now_us: i64, mut each: impl FnMut(SentPacket, bool)) {
        self.settled = self.settled.max(self.next.saturating_sub(limits::SENT_HISTORY as u64));
        while self.settled < self.next {
            let packet = self.packet(self.settled, now_us);
            if packet.sent_us >= sent_before_us {
                break;
            }
            let place = self.place(self.settled);
            let entry = &mut self.entries[place];
            match entry.fate {
                Fate::Unused | Fate::UnderWay => {}
                Fate::Missing => {
                    entry.fate = Fate::Lost;
                    each(packet, true);
                }
                Fate::Arrived | Fate::Lost => each(packet, false),
            }
            self.settled += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 8);
    }

    #[test]
    fn numbers_wrap_and_each_arrives_once() {
        let mut sent = SentHistory::new();
        for (at, number) in (65_534..65_536).chain(0..2_u32).enumerate() {
            sent.record(number as u16, at as i64 * 1_000, 100, Sort::Video);
        }
        let wide = sent.widen(65_535).unwrap();
        let (packet, _) = sent.arrived(wide, 10_000).unwrap();
        assert_eq!((packet.sent_us, packet.size), (1_000, 100));
        assert_eq!(sent.arrived(wide, 10_000), None, "once");
        assert_eq!(sent.widen(1).unwrap(), wide + 2);
        sent.missing(wide - 1);
        sent.missing(wide);
        sent.missing(wide + 1);
        let mut lost = Vec::new();
        sent.settle(3_000, 10_000, |packet, is_lost| {
            lost.push((packet.number.wrapping_sub(wide), is_lost));
        });
        assert_eq!(lost, [(u64::MAX, true), (0, false), (1, true)]);
        sent.settle(5_000, 10_000, |_, _| panic!("what nobody reported on is not known"));
        assert!(sent.arrived(wide + 1, 10_000).unwrap().1, "late is better than never");
        assert_eq!(sent.widen(5), None, "never sent, and 65,534 before it is not known");
    }

    #[test]
    fn a_number_that_was_left_out_is_neither_lost_nor_arrived() {
        let mut sent = SentHistory::new();
        sent.record(10, 0, 1, Sort::Audio);
        sent.record(12, 0, 1, Sort::Audio);
        let left_out = sent.widen(11).unwrap();
        assert_eq!(sent.arrived(left_out, 0), None);
        let mut settled = 0;
        sent.missing(left_out - 1);
        sent.missing(left_out + 1);
        sent.settle(1, 1, |_, _| settled += 1);
        assert_eq!(settled, 2);
    }
}
