//! What is to be sent again, until it is: what the receiver asked for (RFC 4585 generic NACK), and on a path that loses many also what feedback
//! says is missing and what the publisher repaired.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits;
use crate::send::history::{History, Sent};

/// Taken as the round trip until one was measured.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(50);
/// Packets are not repeated faster than this however short the round trip.
const LEAST_REPEAT: Duration = Duration::from_millis(10);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The packet waits to be sent again, or was just now.
    Taken,
    /// It was sent as often as any packet is, and did not arrive: it never will.
    Spent,
}

/// The queue of one slot. It grows with the first requests, up to its bound: most viewers ask for little or nothing.
#[derive(Debug)]
pub(super) struct Resends {
    waiting: VecDeque<u64>,
}

impl Resends {
    /// An empty queue.
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }

    /// Queues a sent packet, unless it waits already, was resent less than a round trip ago or too often, or the queue is full. `twice`: the
    /// path loses much, and one that is lost again is asked for a round trip later at the soonest.
    pub(super) fn ask(
        &mut self,
        sent: &Sent,
        history: &History,
        round_trip: Option<Duration>,
        twice: bool,
        now: Instant,
    ) -> Asked {
        let repeat = round_trip.unwrap_or(UNKNOWN_ROUND_TRIP).max(LEAST_REPEAT);
        let too_soon = sent.resends > 0 && history.age(sent, now) < repeat;
        if too_soon {
            return Asked::Taken;
        }
        self.ask_at_once(sent, twice)
    }

    /// The same for one that is known not to be on its way.
    pub(super) fn ask_at_once(&mut self, sent: &Sent, twice: bool) -> Asked {
        if self.waiting.contains(&sent.sequence) {
            return Asked::Taken;
        }
        if sent.resends >= limits::MAX_RESENDS {
            return Asked::Spent;
        }
        self.follow(sent.sequence);
        if twice {
            self.follow(sent.sequence);
        }
        Asked::Taken
    }

    /// Queues a packet once more, if there is room, whether it waits already or not.
    pub(super) fn follow(&mut self, sequence: u64) {
        if self.waiting.len() < limits::MAX_PENDING_RESENDS {
            self.waiting.push_back(sequence);
        }
    }

    /// The next to be resent.
    pub(super) fn next(&mut self) -> Option<u64> {
        self.waiting.pop_front()
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
