//! How late the shard's thread was for what was due: what the server itself adds to everything it forwards.
//!
//! A thread that was away is found out by what it missed, and often nothing is due for a while. So a turn that brought media promises the next
//! one ([`Lateness::poll_timeout`]): while media flows, it comes long before that by itself, and costs nothing.

use std::time::{Duration, Instant};

use crate::limits;

/// The longest delays of this window and of the one before, so that whoever asks every few seconds misses none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lateness {
    /// When the last turn was. Nobody can be late for what was not due before it.
    turned: Instant,
    /// When the thread said it would be back.
    promised: Option<Instant>,
    /// Whether media came since the last turn.
    has_media: bool,
    since: Instant,
    longest: Duration,
    before: Duration,
}

impl Lateness {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            turned: now,
            promised: None,
            has_media: false,
            since: now,
            longest: Duration::ZERO,
            before: Duration::ZERO,
        }
    }

    /// Media came.
    pub(crate) const fn note_media(&mut self) {
        self.has_media = true;
    }

    /// When the thread is to be back at the latest, for its absence to be seen.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.promised
    }

    /// A turn begins in which `due` is the earliest deadline of others.
    pub(crate) fn note_turn(&mut self, due: Option<Instant>, now: Instant) {
        if now.saturating_duration_since(self.since) >= limits::LATENESS_WINDOW {
            self.before = std::mem::take(&mut self.longest);
            self.since = now;
        }
        if let Some(due) = due.into_iter().chain(self.promised).min() {
            let late = now.saturating_duration_since(due.max(self.turned));
            self.longest = self.longest.max(late);
        }
        self.promised = if std::mem::take(&mut self.has_media) {
            Some(now + limits::BACK_WITHIN)
        } else {
            // One that was not due as yet stands: a command in between says nothing of media.
            self.promised.filter(|promised| *promised > now)
        };
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

    #[test]
    fn a_thread_that_was_away_after_media_is_late_though_nothing_was_due() {
        let start = testing::start();
        let mut lateness = Lateness::new(start);
        lateness.note_turn(None, start);
        assert_eq!(lateness.poll_timeout(), None, "nobody sends anything");
        lateness.note_media();
        lateness.note_turn(None, start + 10 * MS);
        assert_eq!(lateness.poll_timeout(), Some(start + 10 * MS + limits::BACK_WITHIN));
        // A command changes nothing, and being back in time is not late.
        lateness.note_turn(None, start + 20 * MS);
        assert_eq!(lateness.poll_timeout(), Some(start + 10 * MS + limits::BACK_WITHIN));
        lateness.note_turn(None, start + 10 * MS + limits::BACK_WITHIN);
        assert_eq!((lateness.longest(), lateness.poll_timeout()), (Duration::ZERO, None));
        // Silence of the senders is not the thread's.
        lateness.note_media();
        lateness.note_turn(None, start + 900 * MS);
        assert_eq!(lateness.longest(), Duration::ZERO);
        // It promised to be back, and was not, however far off the next deadline was.
        lateness.note_media();
        let back = start + 1_050 * MS;
        lateness.note_turn(Some(start + 2_000 * MS), back);
        assert_eq!(lateness.longest(), 150 * MS - limits::BACK_WITHIN);
    }
}
