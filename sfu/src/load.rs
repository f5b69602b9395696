//! How busy a shard is: what its thread measures, and what follows from it. No clock of its own.

use std::time::{Duration, Instant};

use crate::limits;

/// What a shard did in one window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// The share of the time it was awake, in thousandths.
    pub(crate) permille: u16,
    /// Datagrams it received, per second.
    pub(crate) datagrams: u64,
}

/// Adds up turns to windows of [`limits::LOAD_WINDOW`].
#[derive(Debug)]
pub(crate) struct LoadMeter {
    since: Instant,
    worked: Duration,
    datagrams: u64,
}

impl LoadMeter {
    /// Nothing was done before `now`.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            since: now,
            worked: Duration::ZERO,
            datagrams: 0,
        }
    }

    /// Notes a turn of the thread. What the window was like, if it ends with this turn.
    pub(crate) fn note_turn(&mut self, began: Instant, ended: Instant, datagrams: u64) -> Option<Load> {
        self.worked += ended.saturating_duration_since(began);
        self.datagrams += datagrams;
        let window = ended.saturating_duration_since(self.since);
        if window < limits::LOAD_WINDOW {
            return None;
        }
        let micros = window.as_micros().max(1);
        let load = Load {
            permille: (self.worked.as_micros() * 1_000 / micros).min(1_000) as u16,
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
        let threshold = match self {
            Self::AtOnce => limits::INTAKE_IN_GROUPS_FROM,
            Self::InGroups => limits::INTAKE_IN_GROUPS_FROM / 2,
        };
        if load.datagrams >= threshold {
            Self::InGroups
        } else {
            Self::AtOnce
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;

    #[test]
    fn a_window_is_the_share_of_time_and_the_rate() {
        let start = testing::start();
        let at = |micros| start + Duration::from_micros(micros);
        let mut meter = LoadMeter::new(start);
        assert_eq!(meter.note_turn(at(0), at(10_000), 30), None);
        let window = limits::LOAD_WINDOW.as_micros() as u64;
        let load = meter.note_turn(at(window - 2_500), at(window), 20).unwrap();
        assert_eq!(load.permille, (12_500 * 1_000 / window) as u16);
        assert_eq!(load.datagrams, 50 * 1_000_000 / window);
        let next = meter.note_turn(at(window), at(2 * window), 0).unwrap();
        assert_eq!(
            (next.permille, next.datagrams),
            (1_000, 0),
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
        let rate = |datagrams| Load { permille: 0, datagrams };
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
}
