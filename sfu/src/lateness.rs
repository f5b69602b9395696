//! How late the shard's thread was for what was due: what the server itself adds to everything it forwards.

use std::time::{Duration, Instant};

use crate::limits;

/// The longest delays of this window and of the one before, so that whoever asks every few seconds misses none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lateness {
    /// When the last turn was. Nobody can be late for what was not due before it.
    turned: Instant,
    since: Instant,
    longest: Duration,
    before: Duration,
}

impl Lateness {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            turned: now,
            since: now,
            longest: Duration::ZERO,
            before: Duration::ZERO,
        }
    }

    /// A turn begins in which `due` is the earliest deadline.
    pub(crate) fn note_turn(&mut self, due: Option<Instant>, now: Instant) {
        if now.saturating_duration_since(self.since) >= limits::LATENESS_WINDOW {
            self.before = std::mem::take(&mut self.longest);
            self.since = now;
        }
        if let Some(due) = due {
            let late = now.saturating_duration_since(due.max(self.turned));
            self.longest = self.longest.max(late);
        }
        self.turned = now;
    }

    /// The longest delay of the last seconds.
    pub(crate) fn longest(&self) -> Duration {
        self.longest.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_was_due_is_measured_from_the_last_turn_on_and_forgotten_after_two_windows() {
        let start = testing::start();
        let mut lateness = Lateness::new(start);
        lateness.note_turn(Some(start + 5 * MS), start + 8 * MS);
        assert_eq!(lateness.longest(), 3 * MS);
        // A deadline set in the past was not missed by anybody.
        lateness.note_turn(Some(start), start + 9 * MS);
        assert_eq!(lateness.longest(), 3 * MS);
        lateness.note_turn(Some(start + 10 * MS), start + 130 * MS);
        assert_eq!(lateness.longest(), 120 * MS);
        lateness.note_turn(None, start + limits::LATENESS_WINDOW);
        assert_eq!(lateness.longest(), 120 * MS, "of the window before");
        lateness.note_turn(None, start + 2 * limits::LATENESS_WINDOW);
        assert_eq!(lateness.longest(), Duration::ZERO);
    }
}
