//! How many requests of strangers are looked at in one turn. What is over it is dropped unread: media of those who have an allocation stands in the
//! same queue of the kernel, and waits for each of them.

use crate::limits;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// How many were looked at in this turn.
    seen: usize,
    /// How many were dropped since the last [`Self::take_dropped`].
    dropped: u64,
}

impl Strangers {
    /// A turn begins.
    pub(super) fn begin(&mut self) {
        self.seen = 0;
    }

    /// Whether a datagram is to be looked at. `is_known` says whether its sender has an allocation; it is asked only when there are many.
    pub(super) fn takes(&mut self, is_known: impl FnOnce() -> bool) -> bool {
        if self.seen < limits::RELAY_STRANGERS_PER_TURN {
            return true;
        }
        let takes = is_known();
        self.dropped += u64::from(!takes);
        takes
    }

    /// One that was looked at was no payload: a request, or of no use.
    pub(super) fn note(&mut self) {
        self.seen += 1;
    }

    /// Datagrams that were dropped, since the last call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_flood_a_turn_looks_at_some_strangers_and_at_all_who_are_known() {
        let mut strangers = Strangers::default();
        for _ in 0..3 {
            strangers.begin();
            let (mut of_strangers, mut of_known) = (0, 0);
            for number in 0..8_192 {
                let is_known = number % 16 == 0;
                if strangers.takes(|| is_known) {
                    if is_known {
                        of_known += 1;
                    } else {
                        of_strangers += 1;
                        strangers.note();
                    }
                }
            }
            assert_eq!((of_strangers, of_known), (limits::RELAY_STRANGERS_PER_TURN, 8_192 / 16));
            let dropped = 8_192 - 8_192 / 16 - limits::RELAY_STRANGERS_PER_TURN;
            assert_eq!(strangers.take_dropped(), dropped as u64);
        }
    }
}
