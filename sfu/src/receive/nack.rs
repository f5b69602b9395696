//! Asking the publisher for packets that did not come (RFC 4585 §6.2.1).

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::limits;

/// Sequence numbers to ask for in one message, ascending.
pub(crate) type NackList = ArrayVec<u16, { limits::MAX_HOLES }>;

/// A packet that is missing.
#[derive(Clone, Copy, Debug)]
struct Hole {
    sequence: u64,
    since: Instant,
    /// When to ask, or ask again.
    due: Instant,
    asked: Asked,
    /// The request is sent a second time when it is due, and is then due at this time.
    after_echo: Option<Instant>,
}

/// What was done about a hole.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// It may still be reordering.
    Never,
    /// Asked for so many times.
    Times { first: Instant, last: Instant, tries: u8 },
}

impl Asked {
    const fn tries(self) -> u8 {
        match self {
            Self::Never => 0,
            Self::Times { tries, .. } => tries,
        }
    }

    const fn again(self, now: Instant) -> Self {
        match self {
            Self::Never => Self::Times {
                first: now,
                last: now,
                tries: 1,
            },
            Self::Times { first, tries, .. } => Self::Times {
                first,
                last: now,
                tries: tries + 1,
            },
        }
    }
}

/// What is known of the time from a request to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoundTrip {
    Unknown,
    /// Answers come after the next request, so nobody knows which they are to; this was the time since the first.
    AtMost(Duration),
    /// Smoothed, and how far samples are from it (RFC 6298 §2.3).
    Measured {
        mean: Duration,
        deviation: Duration,
    },
}

impl RoundTrip {
    const fn get(self) -> Option<Duration> {
        match self {
            Self::Unknown => None,
            Self::AtMost(time) | Self::Measured { mean: time, .. } => Some(time),
        }
    }
}

/// How long a missing packet is worth asking for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until a key frame would be better.
    Picture,
    /// Until its moment has passed at the listeners.
    Speech,
}

/// Whether viewers can make a picture of what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picture {
    /// Nothing is lost for good.
    Whole,
    /// Something is; nobody was told yet.
    Broken,
    /// Something is, and a key frame was asked for.
    AwaitingKeyFrame,
}

/// The holes of one received stream.
#[derive(Debug)]
pub(super) struct NackGenerator {
    patience: Patience,
    /// Ascending. Allocated once, never beyond [`limits::MAX_HOLES`].
    holes: Vec<Hole>,
    /// No hole is due before this. May be early after a repair, which costs one empty poll.
    next_due: Option<Instant>,
    round_trip: RoundTrip,
    /// The share of packets that leave holes, over the last hundred or so.
    loss: f32,
    picture: Picture,
}

impl NackGenerator {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            holes: Vec::with_capacity(limits::MAX_HOLES),
            next_due: None,
            round_trip: RoundTrip::Unknown,
            loss: 0.0,
            picture: Picture::Whole,
        }
    }

    /// A packet came, and so many before it did not.
    pub(super) fn note_loss(&mut self, missing: u64) {
        let missing = missing.min(limits::UPLINK_LOSS_SPAN as u64) as f32;
        self.loss += (1.0 - self.loss) * missing / limits::UPLINK_LOSS_SPAN;
        self.loss -= self.loss / limits::UPLINK_LOSS_SPAN;
    }

    /// These were jumped over. Too many at once are not worth repairing: a key frame is.
    pub(super) fn handle_gap(&mut self, missing: std::ops::Range<u64>, now: Instant) {
        let count = missing.end.saturating_sub(missing.start);
        if count > (limits::MAX_HOLES - self.holes.len()) as u64 {
            self.holes.clear();
            self.next_due = None;
            self.break_picture();
            return;
        }
        let due = now + limits::NACK_TOLERANCE;
        self.holes.extend(missing.map(|sequence| Hole {
            sequence,
            since: now,
            due,
            asked: Asked::Never,
            after_echo: None,
        }));
        if count > 0 {
            self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
        }
    }

    /// This one came by itself, late.
    pub(super) fn handle_late(&mut self, sequence: u64) {
        self.close(sequence);
    }

    /// This one came as a retransmission. Says whether it was asked for.
    pub(super) fn handle_repaired(&mut self, sequence: u64, now: Instant) -> bool {
        match self.close(sequence) {
            Some(Asked::Times { first, last, tries }) => {
                self.handle_answer([first, last].map(|asked| now.saturating_duration_since(asked)), tries);
                true
            }
            Some(Asked::Never) | None => false,
        }
    }

    fn close(&mut self, sequence: u64) -> Option<Asked> {
        let place = self.holes.binary_search_by_key(&sequence, |hole| hole.sequence).ok()?;
        let hole = self.holes.remove(place);
        if self.holes.is_empty() {
            self.next_due = None;
        }
        Some(hole.asked)
    }

    /// What was asked for `tries` times came, so long after the first request and the last. Which of them it answers is known only if there was
    /// one (Karn's rule). But if requests follow each other faster than answers can come there is never only one: then it is the first.
    fn handle_answer(&mut self, [since_first, since_last]: [Duration; 2], tries: u8) {
        self.round_trip = match self.round_trip {
            RoundTrip::Measured { mean, deviation } if tries == 1 => RoundTrip::Measured {
                mean: (mean * 7 + since_first) / 8,
                deviation: (deviation * 3 + since_first.abs_diff(mean)) / 4,
            },
            RoundTrip::Unknown | RoundTrip::AtMost(_) if tries == 1 => RoundTrip::Measured {
                mean: since_first,
                deviation: since_first / 2,
            },
            known @ RoundTrip::Measured { mean, .. } if since_last >= mean / 2 => known,
            RoundTrip::AtMost(before) if since_last >= before / 2 => RoundTrip::AtMost(before.min(since_first)),
            RoundTrip::Measured { .. } | RoundTrip::AtMost(_) | RoundTrip::Unknown => RoundTrip::AtMost(since_first),
        };
    }

    /// A key frame starts here: nobody needs what was before it.
    pub(super) fn handle_key_frame(&mut self, sequence: u64) {
        let useless = self.holes.partition_point(|hole| hole.sequence < sequence);
        self.holes.drain(..useless);
        if self.holes.is_empty() {
            self.next_due = None;
        }
        self.picture = Picture::Whole;
    }

    /// What to ask for now. Gives up on holes that are too old.
    pub(super) fn poll(&mut self, now: Instant) -> NackList {
        let mut list = NackList::new();
        if self.next_due.is_none_or(|due| now < due) {
            return list;
        }
        let before = self.holes.len();
        let longest = self.longest_age();
        self.holes.retain(|hole| {
            hole.asked.tries() < limits::MAX_NACK_TRIES && now.saturating_duration_since(hole.since) < longest
        });
        if self.holes.len() < before {
            self.break_picture();
        }
        let interval = self.interval();
        let free_tries = self.round_trip.get().map_or(0, |_| limits::NACK_FREE_TRIES);
        let is_lossy = self.loss >= limits::LOSSY_UPLINK;
        for hole in &mut self.holes {
            if hole.due <= now {
                // As many places as there can be holes.
                list.push(hole.sequence as u16);
                if let Some(then) = hole.after_echo.take() {
                    hole.due = then;
                    continue;
                }
                hole.asked = hole.asked.again(now);
                // As long as the round trip is known, what was asked for over one ago and is not here was lost itself, or the request was.
                let patient = hole.asked.tries().saturating_sub(free_tries);
                let wait = interval * u32::from(patient.clamp(1, limits::NACK_BACKOFF));
                // Not later than it would be given up, so that this is noticed in time.
                hole.due = (now + wait).min(hole.since + longest);
                if is_lossy && wait > limits::NACK_ECHO * 2 {
                    hole.after_echo = Some(hole.due);
                    hole.due = now + limits::NACK_ECHO;
                }
            }
        }
        self.next_due = self.holes.iter().map(|hole| hole.due).min();
        list
    }

    /// Says once that something was lost for good, until the next key frame.
    pub(super) const fn take_broken(&mut self) -> bool {
        match self.picture {
            Picture::Broken => {
                self.picture = Picture::AwaitingKeyFrame;
                true
            }
            Picture::Whole | Picture::AwaitingKeyFrame => false,
        }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.next_due
    }

    pub(super) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip.get()
    }

    fn break_picture(&mut self) {
        if self.picture == Picture::Whole {
            self.picture = Picture::Broken;
        }
    }

    fn interval(&self) -> Duration {
        let Some(time) = self.round_trip.get() else {
            return limits::NACK_INTERVAL;
        };
        // A quarter more than the mean, so that an answer on its way is not asked for again.
        let patient = time + time / 4 + limits::NACK_TOLERANCE;
        let interval = match self.round_trip {
            // Where much is lost, waiting costs more than asking in vain.
            RoundTrip::Measured { mean, deviation } if self.loss >= limits::LOSSY_UPLINK => {
                patient.min(mean + (deviation * 3).max(limits::NACK_TOLERANCE))
            }
            RoundTrip::Measured { .. } | RoundTrip::AtMost(_) | RoundTrip::Unknown => patient,
        };
        interval.max(limits::MIN_NACK_INTERVAL)
    }

    fn longest_age(&self) -> Duration {
        let of_path = self.round_trip.get().unwrap_or_default() * 4;
        match self.patience {
            Patience::Picture => of_path.clamp(limits::MAX_HOLE_AGE, limits::LONGEST_HOLE_AGE),
            Patience::Speech => limits::MAX_SPEECH_HOLE_AGE,
        }
    }
}
