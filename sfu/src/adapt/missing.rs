//! Which packets of a picture feedback says did not arrive, so that they are sent again unasked.
//!
//! A receiver asks for them, too, and sooner; but where many packets are lost, so are its requests, and it repeats them only a tenth of a
//! second later (Chromium: 110 ms). Feedback comes every 50 ms anyway, and also tells that what was sent again was lost again.

use arrayvec::ArrayVec;

use crate::ids::Ssrc;
use crate::limits;

/// A packet of a picture that did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) ssrc: Ssrc,
    pub(super) sequence: u16,
    /// Bytes on the wire.
    pub(super) size: u16,
}

/// Packets that are to be sent again.
pub(super) type AllLost = ArrayVec<Lost, { limits::MAX_UNASKED }>;

/// What a transport-wide number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Nothing, or nothing any more.
    None,
    /// The packet as it was sent the only time so far: if this is lost, it is missing.
    Only,
    /// The packet as it was sent last, of several times: if this is lost, it is missing. So it is if nobody knows, because the feedback that was
    /// to tell of it was lost.
    Last,
    /// The packet, but it was sent again since: if this arrives, nothing is missing.
    Earlier,
}

/// What left under a transport-wide number.
#[derive(Clone, Copy, Debug)]
struct Note {
    ssrc: Ssrc,
    sequence: u16,
    number: u16,
    size: u16,
    role: Role,
}

const _SMALL: () = assert!(size_of::<Note>() == 12);

/// The last packets of pictures, by transport-wide number. Made for paths that lose many.
pub(crate) struct Missing {
    notes: Box<[Note]>,
    /// The number after the highest that feedback told of.
    untold: Option<u16>,
    lost: AllLost,
}

impl Missing {
    pub(crate) fn new() -> Self {
        let nothing = Note {
            ssrc: Ssrc(0),
            sequence: 0,
            number: 0,
            size: 0,
            role: Role::None,
        };
        Self {
            notes: vec![nothing; limits::MISSING_HISTORY].into_boxed_slice(),
            untold: None,
            lost: AllLost::new(),
        }
    }

    /// Packet `sequence` of a picture's `ssrc` leaves under a transport-wide number with `size` bytes on the wire, `again` if it did before.
    pub(crate) fn handle_sent(&mut self, number: u16, ssrc: Ssrc, sequence: u16, size: u16, again: bool) {
        if again {
            for note in self.same(ssrc, sequence) {
                note.role = Role::Earlier;
            }
        }
        let place = self.place(number);
        self.notes[place] = Note {
            ssrc,
            sequence,
            number,
            size,
            role: if again { Role::Last } else { Role::Only },
        };
    }

    /// Feedback says that a number arrived.
    pub(crate) fn handle_arrived(&mut self, number: u16) {
        self.handle_told(number);
        let Some(Note {
            ssrc, sequence, role, ..
        }) = self.take(number)
        else {
            return;
        };
        if role == Role::Only {
            // It left under no other number, and was not given up: most packets end here.
            return;
        }
        for note in self.same(ssrc, sequence) {
            note.role = Role::None;
        }
        self.lost.retain(|lost| (lost.ssrc, lost.sequence) != (ssrc, sequence));
    }

    /// Feedback says that a number did not arrive. What was sent but once may have been overtaken: see [`Self::handle_given_up`].
    pub(crate) fn handle_missing(&mut self, number: u16) {
        self.handle_told(number);
        if self.find(number).is_some_and(|note| note.role != Role::Only)
            && let Some(note) = self.take(number)
            && note.role == Role::Last
        {
            self.give_up(note);
        }
    }

    /// A number that was said not to have arrived is no longer expected: one that left well after it has arrived.
    pub(crate) fn handle_given_up(&mut self, number: u16) {
        if self.find(number).is_some_and(|note| note.role == Role::Only)
            && let Some(note) = self.take(number)
        {
            self.give_up(note);
        }
    }

    /// Feedback has come as far as this number.
    fn handle_told(&mut self, number: u16) {
        let untold = self.untold.unwrap_or(number);
        let ahead = number.wrapping_sub(untold);
        if ahead >= 1 << 15 {
            return;
        }
        self.untold = Some(number.wrapping_add(1));
        for skipped in 0..ahead.min(limits::MISSING_HISTORY as u16) {
            let number = number.wrapping_sub(1 + skipped);
            let place = self.place(number);
            let note = self.notes[place];
            if note.number == number && note.role == Role::Last {
                self.give_up(note);
            }
        }
    }

    fn give_up(&mut self, note: Note) {
        // As many as one feedback seldom tells of; the rest are asked for.
        let _ = self.lost.try_push(Lost {
            ssrc: note.ssrc,
            sequence: note.sequence,
            size: note.size,
        });
    }

    /// Packets that are to be sent again, once.
    pub(super) fn take_lost(&mut self) -> AllLost {
        std::mem::take(&mut self.lost)
    }

    /// What is on its way is no longer of interest.
    pub(crate) fn forget(&mut self) {
        self.notes.iter_mut().for_each(|note| note.role = Role::None);
        self.untold = None;
        self.lost.clear();
    }

    fn find(&self, number: u16) -> Option<&Note> {
        let note = &self.notes[self.place(number)];
        (note.number == number && note.role != Role::None).then_some(note)
    }

    fn take(&mut self, number: u16) -> Option<Note> {
        let taken = *self.find(number)?;
        let place = self.place(number);
        self.notes[place].role = Role::None;
        Some(taken)
    }

    fn same(&mut self, ssrc: Ssrc, sequence: u16) -> impl Iterator<Item = &mut Note> {
        let notes = self.notes.iter_mut();
        notes.filter(move |note| note.sequence == sequence && note.ssrc == ssrc && note.role != Role::None)
    }

    const fn place(&self, number: u16) -> usize {
        number as usize & (limits::MISSING_HISTORY - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: Ssrc = Ssrc(7);

    fn told(missing: &mut Missing, arrived: &[u16], lost: &[u16]) -> Vec<u16> {
        lost.iter().for_each(|number| missing.handle_missing(*number));
        lost.iter().for_each(|number| missing.handle_given_up(*number));
        arrived.iter().for_each(|number| missing.handle_arrived(*number));
        missing.take_lost().iter().map(|lost| lost.sequence).collect()
    }

    #[test]
    fn what_is_missing_is_said_once() {
        let mut missing = Missing::new();
        for number in 0..4 {
            missing.handle_sent(number, PICTURE, 100 + number, 1_200, false);
        }
        assert_eq!(told(&mut missing, &[0, 2], &[1]), [101]);
        assert_eq!(told(&mut missing, &[], &[0, 1, 2, 9]), [], "arrived, said, never sent");
        assert_eq!(told(&mut missing, &[], &[3]), [103]);
    }

    #[test]
    fn a_packet_that_was_overtaken_is_not_missing() {
        let mut missing = Missing::new();
        missing.handle_sent(1, PICTURE, 100, 1_200, false);
        missing.handle_sent(2, PICTURE, 101, 1_200, false);
        missing.handle_missing(1);
        missing.handle_arrived(2);
        assert_eq!(missing.take_lost().len(), 0, "it may be on its way yet");
        missing.handle_arrived(1);
        missing.handle_given_up(1);
        assert_eq!(missing.take_lost().len(), 0, "it came");
        // What is asked for meanwhile is that sending's affair.
        missing.handle_sent(3, PICTURE, 102, 1_200, false);
        missing.handle_missing(3);
        missing.handle_sent(4, PICTURE, 102, 1_200, true);
        missing.handle_given_up(3);
        assert_eq!(missing.take_lost().len(), 0, "it was sent again");
        missing.handle_missing(4);
        assert_eq!(missing.take_lost().len(), 1, "what was sent again is believed at once");
    }

    #[test]
    fn a_packet_sent_again_is_missing_only_if_all_of_its_sendings_are() {
        let mut missing = Missing::new();
        // Asked for before feedback told of it, and sent twice.
        missing.handle_sent(1, PICTURE, 100, 1_200, false);
        missing.handle_sent(2, PICTURE, 100, 1_200, true);
        missing.handle_sent(3, PICTURE, 100, 1_200, true);
        missing.handle_sent(4, PICTURE, 101, 1_200, false);
        assert_eq!(told(&mut missing, &[], &[1]), [], "it was sent again");
        assert_eq!(told(&mut missing, &[], &[2]), [], "the other one may have arrived");
        assert_eq!(told(&mut missing, &[4], &[3]), [100]);
        // The first of two arrives, the second does not.
        missing.handle_sent(5, PICTURE, 100, 1_200, true);
        missing.handle_sent(6, PICTURE, 100, 1_200, true);
        assert_eq!(told(&mut missing, &[5], &[6]), [], "in one feedback");
        missing.handle_sent(7, PICTURE, 102, 1_200, true);
        missing.handle_sent(8, PICTURE, 102, 1_200, true);
        assert_eq!(told(&mut missing, &[7], &[]), []);
        assert_eq!(told(&mut missing, &[], &[8]), [], "in two");
    }

    #[test]
    fn where_feedback_is_lost_only_what_was_sent_again_is_taken_for_missing() {
        let mut missing = Missing::new();
        missing.handle_sent(65_533, PICTURE, 100, 1_200, false);
        missing.handle_sent(65_534, PICTURE, 101, 1_200, false);
        missing.handle_sent(65_535, PICTURE, 100, 1_200, true);
        missing.handle_sent(0, PICTURE, 100, 1_200, true);
        missing.handle_sent(1, PICTURE, 102, 1_200, false);
        assert_eq!(told(&mut missing, &[], &[65_533]), []);
        assert_eq!(told(&mut missing, &[1], &[]), [100]);
        assert_eq!(told(&mut missing, &[0], &[]), [], "feedback that was overtaken");
    }

    #[test]
    fn places_are_used_again_and_another_path_knows_nothing() {
        let mut missing = Missing::new();
        let lap = limits::MISSING_HISTORY as u16;
        missing.handle_sent(1, PICTURE, 100, 1_200, false);
        missing.handle_sent(1 + lap, PICTURE, 200, 1_200, false);
        assert_eq!(told(&mut missing, &[], &[1]), [], "long ago");
        missing.forget();
        assert_eq!(told(&mut missing, &[], &[1 + lap]), []);
        for number in 0..lap {
            missing.handle_sent(number, PICTURE, number, 1_200, false);
        }
        let all: Vec<u16> = (0..lap).collect();
        assert_eq!(told(&mut missing, &[], &all).len(), limits::MAX_UNASKED);
    }
}
