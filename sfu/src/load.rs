//! How busy a shard is: what its thread measures, and what follows from it. No clock of its own.

use std::time::{Duration, Instant};

use crate::limits;

/// What a shard did in one window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// The share of the time it was awake, in thousandths.
    pub(crate) permille: u16,
    /// The same without handshakes and commands: people who join make a shard busy, but give it no more to forward.
    pub(crate) media_permille: u16,
    /// Datagrams it received, per second.
    pub(crate) datagrams: u64,
}

/// Adds up turns to windows of [`limits::LOAD_WINDOW`].
#[derive(Debug)]
pub(crate) struct LoadMeter {
    since: Instant,
    worked: Duration,
    forwarded: Duration,
    datagrams: u64,
}

/// One turn of a shard's thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnTimes {
    /// When it woke up.
    pub(crate) began: Instant,
    /// When it was done with media.
    pub(crate) forwarded: Instant,
    /// When it was done with all.
    pub(crate) ended: Instant,
}

impl LoadMeter {
    /// Nothing was done before `now`.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            since: now,
            worked: Duration::ZERO,
            forwarded: Duration::ZERO,
            datagrams: 0,
        }
    }

    /// Notes a turn of the thread. What the window was like, if it ends with this turn.
    pub(crate) fn note_turn(&mut self, turn: TurnTimes, datagrams: u64) -> Option<Load> {
        let TurnTimes {
            began,
            forwarded,
            ended,
        } = turn;
        self.worked += ended.saturating_duration_since(began);
        self.forwarded += forwarded.saturating_duration_since(began);
        self.datagrams += datagrams;
        let window = ended.saturating_duration_since(self.since);
        if window < limits::LOAD_WINDOW {
            return None;
        }
        let micros = window.as_micros().max(1);
        let share = |of: Duration| (of.as_micros() * 1_000 / micros).min(1_000) as u16;
        let load = Load {
            permille: share(self.worked),
            media_permille: share(self.forwarded),
            datagrams: (u128::from(self.datagrams) * 1_000_000 / micros) as u64,
        };
        *self = Self::new(ended);
        Some(load)
    }
}

/// The average over some ten windows, from the average before and the last window.
pub(crate) const fn average(before: u16, window: u16) -> u16 {
    let rest = before as u32 * 7 + window as u32;
    // Rounded towards the window, so that it gets there.
    (if window > before { rest.div_ceil(8) } else { rest / 8 }) as u16
}

/// How a shard's thread takes its datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Intake {
    /// It wakes for each.
    #[default]
    AtOnce,
    /// It sleeps for [`limits::INTAKE_PAUSE`] first, so that one wake-up serves several.
    InGroups,
}

impl Intake {
    /// What a window says about the next one. The way back needs less than half the rate, so that it does not swing.
    #[must_use]
    pub(crate) const fn after(self, load: Load) -> Self {
        self.after_rate(load.datagrams)
    }

    /// The same by datagrams a second.
    pub(crate) const fn after_rate(self, datagrams: u64) -> Self {
        let threshold = match self {
            Self::AtOnce => limits::INTAKE_IN_GROUPS_FROM,
            Self::InGroups => limits::INTAKE_IN_GROUPS_FROM / 2,
        };
        if datagrams >= threshold {
            Self::InGroups
        } else {
            Self::AtOnce
        }
    }
}

/// Whether the thread waits for [`limits::INTAKE_PAUSE`] after a turn in which it received something and sent nothing, before it looks at
/// its socket again. Such turns bring feedback and parts of frames that leave when they are whole: to wake up costs more than to read
/// them. But a pause that brings little costs a wake-up itself. So it is tried now and then, and done while it pays.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lull {
    /// Datagrams that a pause brought, on average, times 16.
    yields: u32,
    /// Chances since the last pause.
    passed: u8,
}

impl Lull {
    /// A pause that brings so many has saved a wake-up. Times 16.
    const WORTH: u32 = 2 * 16;
    /// Every so manieth chance is taken to try.
    const TRIAL: u8 = 64;

    /// Whether to pause this time.
    pub(crate) const fn take(&mut self) -> bool {
        self.passed = self.passed.saturating_add(1);
        let takes = self.yields >= Self::WORTH || self.passed >= Self::TRIAL;
        if takes {
            self.passed = 0;
        }
        takes
    }

    /// What the pause brought.
    pub(crate) fn note(&mut self, datagrams: usize) {
        // A trial that pays is followed by the next chance; one that does not, after some, by none.
        let brought = datagrams.min(64) as u32 * 16;
        self.yields = (self.yields + brought) / 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;

    #[test]
    fn a_window_is_the_share_of_time_and_the_rate() {
        let start = testing::start();
        let turn = |began: u64, forwarded: u64, ended: u64| {
            let at = |micros| start + Duration::from_micros(micros);
            TurnTimes {
                began: at(began),
                forwarded: at(forwarded),
                ended: at(ended),
            }
        };
        let mut meter = LoadMeter::new(start);
        assert_eq!(meter.note_turn(turn(0, 4_000, 10_000), 30), None);
        let window = limits::LOAD_WINDOW.as_micros() as u64;
        let load = meter.note_turn(turn(window - 2_500, window, window), 20).unwrap();
        assert_eq!(load.permille, (12_500 * 1_000 / window) as u16);
        assert_eq!(load.media_permille, (6_500 * 1_000 / window) as u16);
        assert_eq!(load.datagrams, 50 * 1_000_000 / window);
        let next = meter.note_turn(turn(window, 2 * window, 2 * window), 0).unwrap();
        assert_eq!(
            (next.permille, next.media_permille, next.datagrams),
            (1_000, 1_000, 0),
            "a window begins with nothing"
        );
    }

    #[test]
    fn the_average_follows_and_arrives() {
        let mut permille = 0;
        for _ in 0..60 {
            permille = average(permille, 1_000);
        }
        assert_eq!(permille, 1_000);
        assert_eq!(average(1_000, 0), 875);
        for _ in 0..60 {
            permille = average(permille, 0);
        }
        assert_eq!(permille, 0);
    }

    #[test]
    fn intake_goes_back_only_when_it_is_clearly_quieter() {
        let rate = |datagrams| Load {
            datagrams,
            ..Load::default()
        };
        let from = limits::INTAKE_IN_GROUPS_FROM;
        let mut intake = Intake::default();
        for (datagrams, expected) in [
            (from - 1, Intake::AtOnce),
            (from, Intake::InGroups),
            (from / 2, Intake::InGroups),
            (from / 2 - 1, Intake::AtOnce),
            (from - 1, Intake::AtOnce),
        ] {
            intake = intake.after(rate(datagrams));
            assert_eq!(intake, expected, "after {datagrams}/s");
        }
    }

    #[test]
    fn pauses_in_lulls_are_tried_and_kept_while_they_pay() {
        let mut lull = Lull::default();
        let chances = |lull: &mut Lull| (0..1_000).find(|_| lull.take()).expect("tried some time");
        assert_eq!(chances(&mut lull), 63, "a trial");
        lull.note(8);
        assert_eq!(chances(&mut lull), 0, "it paid");
        for _ in 0..5 {
            lull.note(1);
        }
        assert_eq!(chances(&mut lull), 63, "it no longer does");
        lull.note(0);
        assert_eq!(chances(&mut lull), 63);
    }
}
