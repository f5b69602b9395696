//! Whether strangers flood a shard's port, and when their requests are looked at while it lasts. No clock of its own.

use std::time::{Duration, Instant};

use crate::limits;

/// Counts requests that anybody may send ([`crate::steering::Lane::Requests`]), wherever they arrived.
#[derive(Debug)]
pub(crate) struct Flood {
    state: State,
    /// When the present window began.
    since: Instant,
    /// Requests in it.
    requests: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    Flooded {
        /// When there were last too many.
        last: Instant,
        looks: Looks,
    },
}

/// Whether requests wait where they are to be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    /// They arrive with media.
    None,
    /// They are apart.
    From {
        next: Instant,
        /// To the one after that, if nothing is found.
        gap: Duration,
    },
}

/// What a turn of the thread changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Began,
    Ended,
}

impl Flood {
    /// Nothing came before `now`.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            state: State::Quiet,
            since: now,
            requests: 0,
        }
    }

    /// Notes a turn that brought so many of them. To be called in each turn.
    #[inline]
    pub(crate) fn note(&mut self, requests: usize, now: Instant) -> Option<Change> {
        if requests == 0 && self.state == State::Quiet {
            return None;
        }
        self.count(requests, now)
    }

    fn count(&mut self, requests: usize, now: Instant) -> Option<Change> {
        if now.saturating_duration_since(self.since) >= limits::FLOOD_WINDOW {
            (self.since, self.requests) = (now, 0);
        }
        self.requests += requests;
        let too_many = self.requests >= limits::FLOOD_REQUESTS;
        match &mut self.state {
            State::Quiet if too_many => {
                self.state = State::Flooded {
                    last: now,
                    looks: Looks::None,
                };
                Some(Change::Began)
            }
            State::Flooded { last, .. } if too_many => {
                *last = now;
                None
            }
            State::Flooded { last, .. } if now.saturating_duration_since(*last) >= limits::FLOOD_OVER => {
                self.state = State::Quiet;
                Some(Change::Ended)
            }
            State::Quiet | State::Flooded { .. } => None,
        }
    }

    /// They arrive apart from media from now on, until the flood is over.
    pub(crate) fn parted(&mut self, now: Instant) {
        if let State::Flooded { looks, .. } = &mut self.state {
            *looks = Looks::From {
                next: now,
                gap: limits::REQUESTS_GAP,
            };
        }
    }

    /// When the requests that wait are to be looked at.
    pub(crate) const fn poll_look(&self) -> Option<Instant> {
        match self.state {
            State::Flooded {
                looks: Looks::From { next, .. },
                ..
            } => Some(next),
            State::Quiet | State::Flooded { .. } => None,
        }
    }

    /// Notes that they were looked at: how many there were, and whether some were left.
    pub(crate) fn looked(&mut self, found: usize, left: Left, now: Instant) {
        if let State::Flooded {
            looks: Looks::From { next, gap },
            ..
        } = &mut self.state
        {
            *gap = if found > 0 {
                limits::REQUESTS_GAP
            } else {
                (*gap * 2).min(limits::REQUESTS_GAP_MOST)
            };
            *next = match left {
                Left::Nothing => now + *gap,
                Left::Some => now,
            };
        }
    }
}

/// What a look has left where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Some,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;

    /// Turns of the thread every millisecond, for so long: what changed, and after how many milliseconds.
    fn turns(flood: &mut Flood, now: &mut Instant, each: usize, milliseconds: u64) -> Vec<(u64, Change)> {
        let changes = (0..milliseconds).filter_map(|passed| {
            *now += Duration::from_millis(1);
            flood.note(each, *now).map(|change| (passed, change))
        });
        changes.collect()
    }

    #[test]
    fn a_flood_is_seen_at_once_and_over_when_it_has_been_quiet_for_long() {
        let mut now = testing::start();
        let mut flood = Flood::new(now);
        // 200,000 a second: in the second millisecond.
        assert_eq!(turns(&mut flood, &mut now, 200, 5_000), [(1, Change::Began)]);
        // Pauses that are too short change nothing.
        let over = limits::FLOOD_OVER.as_millis() as u64;
        let window = limits::FLOOD_WINDOW.as_millis() as u64;
        assert_eq!(turns(&mut flood, &mut now, 0, over - window), []);
        assert_eq!(turns(&mut flood, &mut now, 200, 10), []);
        let ended = turns(&mut flood, &mut now, 0, 2 * over);
        assert_eq!(
            ended.iter().map(|(_, change)| *change).collect::<Vec<_>>(),
            [Change::Ended]
        );
        assert!((over - window..=over + window).contains(&ended[0].0), "{ended:?}");
        assert_eq!(turns(&mut flood, &mut now, 200, 100), [(1, Change::Began)], "and again");
    }

    #[test]
    fn what_clients_send_is_no_flood() {
        let mut now = testing::start();
        let mut flood = Flood::new(now);
        let most = limits::FLOOD_REQUESTS / limits::FLOOD_WINDOW.as_millis() as usize - 1;
        assert_eq!(turns(&mut flood, &mut now, most, 60_000), []);
        assert_eq!(flood.poll_look(), None);
    }

    #[test]
    fn looks_are_a_gap_apart_unless_something_was_left() {
        let now = testing::start();
        let mut flood = Flood::new(now);
        assert_eq!(flood.note(limits::FLOOD_REQUESTS, now), Some(Change::Began));
        assert_eq!(flood.poll_look(), None, "nothing is apart");
        flood.looked(0, Left::Nothing, now);
        assert_eq!(flood.poll_look(), None);
        flood.parted(now);
        assert_eq!(flood.poll_look(), Some(now));
        flood.looked(8, Left::Some, now);
        assert_eq!(flood.poll_look(), Some(now));
        flood.looked(8, Left::Nothing, now);
        assert_eq!(flood.poll_look(), Some(now + limits::REQUESTS_GAP));
        // Fewer and fewer looks while there is nothing, and as many as before with the first request.
        for _ in 0..10 {
            flood.looked(0, Left::Nothing, now);
        }
        assert_eq!(flood.poll_look(), Some(now + limits::REQUESTS_GAP_MOST));
        flood.looked(1, Left::Nothing, now);
        assert_eq!(flood.poll_look(), Some(now + limits::REQUESTS_GAP));
    }
}
