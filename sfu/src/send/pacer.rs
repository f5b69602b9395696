//! When video leaves. An idle shard forwards at once; but where many watch, a frame is offered to all of them when it is whole, or with the
//! tick: nobody can show a part of it, and each part would cost a call for every viewer. A busy one lets the packets of a frame, which an uplink has spread, collect until the
//! next tick, so that they leave in one call. Audio, control and feedback never wait.
//!
//! All members of a shard share one grid of ticks, hence one timer and one flush. A budget per member and tick (#4) belongs into
//! [`Leaving`]: it is what a tick allows.

use std::time::Instant;

use crate::limits;
use crate::load::Load;
use crate::member::MemberKey;

/// What of a member's output may leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Control, feedback and audio: its video waits for the tick.
    Urgent,
    /// Everything.
    All,
}

/// Whether video waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AtOnce,
    Collecting,
}

/// One for a shard. Which members wait is in its list; that a member waits is noted with the member as well.
pub(crate) struct Pacer {
    mode: Mode,
    /// A point of the grid.
    origin: Instant,
    /// When the members in `waiting` may go on.
    tick: Option<Instant>,
    waiting: Vec<MemberKey>,
}

impl Pacer {
    /// One that lets everything pass. The grid of ticks begins at `origin`.
    pub(crate) const fn new(origin: Instant) -> Self {
        Self {
            mode: Mode::AtOnce,
            origin,
            tick: None,
            waiting: Vec::new(),
        }
    }

    /// Takes in how busy the shard was. The way back to sending at once needs less than half the load, so that it does not swing.
    pub(crate) fn handle_load(&mut self, load: Load) {
        let threshold = match self.mode {
            Mode::AtOnce => limits::PACING_FROM_PERMILLE,
            Mode::Collecting => limits::PACING_FROM_PERMILLE / 2,
        };
        self.mode = if load.media_permille >= threshold {
            Mode::Collecting
        } else {
            Mode::AtOnce
        };
    }

    /// Whether new video is to wait for the tick.
    pub(crate) fn collects(&self) -> bool {
        self.mode == Mode::Collecting
    }

    /// Puts a member into the list for the next tick. The caller sees to it that each is there once.
    pub(crate) fn wait(&mut self, key: MemberKey, now: Instant) {
        self.hold(now);
        self.waiting.push(key);
    }

    /// Something is kept until the next tick.
    pub(crate) fn hold(&mut self, now: Instant) {
        if self.tick.is_none() {
            let since = now.saturating_duration_since(self.origin);
            let into = since.as_nanos() % limits::PACER_TICK.as_nanos();
            self.tick = Some(now + limits::PACER_TICK - std::time::Duration::from_nanos(into as u64));
        }
    }

    /// Nothing is kept any more: without members that wait there is no tick.
    pub(crate) fn release(&mut self) {
        if self.waiting.is_empty() {
            self.tick = None;
        }
    }

    /// When members must be asked for with [`Self::poll_due`].
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.tick
    }

    /// A member whose video may leave, until `None`.
    pub(crate) fn poll_due(&mut self, now: Instant) -> Option<MemberKey> {
        if self.tick.is_none_or(|tick| now < tick) {
            return None;
        }
        let key = self.waiting.pop();
        if key.is_none() {
            self.tick = None;
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::testing;

    fn permille(permille: u16) -> Load {
        Load {
            media_permille: permille,
            ..Load::default()
        }
    }

    #[test]
    fn only_a_busy_shard_collects_and_it_does_not_swing() {
        let mut pacer = Pacer::new(testing::start());
        let from = limits::PACING_FROM_PERMILLE;
        for (load, collects) in [
            (0, false),
            (from - 1, false),
            (from, true),
            (from / 2, true),
            (from / 2 - 1, false),
            (from - 1, false),
        ] {
            pacer.handle_load(permille(load));
            assert_eq!(pacer.collects(), collects, "at {load} ‰");
        }
    }

    #[test]
    fn all_who_wait_share_the_next_point_of_the_grid() {
        let start = testing::start();
        let mut pacer = Pacer::new(start);
        let tick = limits::PACER_TICK;
        let at = |micros| start + 3 * tick + Duration::from_micros(micros);
        assert_eq!((pacer.poll_timeout(), pacer.poll_due(at(0))), (None, None));
        pacer.wait(MemberKey(1), at(1));
        pacer.wait(MemberKey(2), at(1_500));
        assert_eq!(pacer.poll_timeout(), Some(start + 4 * tick));
        assert_eq!(pacer.poll_due(at(1_999)), None);
        let now = start + 4 * tick;
        let mut due: Vec<MemberKey> = std::iter::from_fn(|| pacer.poll_due(now)).collect();
        due.sort();
        assert_eq!(due, [MemberKey(1), MemberKey(2)]);
        assert_eq!(pacer.poll_timeout(), None);
        pacer.wait(MemberKey(1), now);
        assert_eq!(
            pacer.poll_timeout(),
            Some(now + tick),
            "a point of the grid is not its own next"
        );
    }
}
