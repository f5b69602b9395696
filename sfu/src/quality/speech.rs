//! How good speech sounds: the E-model, fullband (ITU-T G.107.2), reduced to what a network does to Opus.
//!
//! `R = (148 − Ie,eff) / 1.48 − Id`, on the familiar scale up to 100:
//! * `Ie,eff = Ie + (132 − Ie) · Ppl / (Ppl + Bpl)` (G.107.2, random loss), with `Ie` = 16.83 and `Bpl` = 10.44 for Opus, superwideband,
//!   VBR at 31 kbit/s: M. Al-Ahmadi, P. Pocta, H. Melvin, "An Adaptive Bitrate Switching Algorithm for Speech Applications in Context of
//!   WebRTC", ACM TOMM 17(4), 2021, doi 10.1145/3458751.
//! * `Id = 0.024 d + 0.11 (d − 177.3) H(d − 177.3)`, d the delay from mouth to ear in milliseconds: R. Cole, J. Rosenbluth, "Voice over IP
//!   performance monitoring", ACM CCR 31(2), 2001, their fit of G.107's delay impairment without echo.
//! * MOS from R as in G.107, Annex B.

use std::time::Duration;

/// The best R of the fullband scale.
const R_FULLBAND: f64 = 148.0;
/// From the fullband scale to that of G.107.
const SCALE: f64 = 1.48;
/// The most that equipment and loss can take.
const WORST: f64 = 132.0;
/// What Opus itself takes.
const IE_OPUS: f64 = 16.83;
/// How well Opus stands loss, in per cent.
const BPL_OPUS: f64 = 10.44;

/// A mean opinion score for speech, from 1 (bad) to 4.5 (as good as it gets).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Mos(f32);

impl Mos {
    /// The number.
    #[must_use]
    pub const fn value(self) -> f32 {
        self.0
    }
}

/// What people would say of speech that takes `delay` from mouth to ear and of which the share `loss` (0.0..=1.0) has to be made up.
#[must_use]
pub fn mos(delay: Duration, loss: f64) -> Mos {
    let percent = 100.0 * loss.clamp(0.0, 1.0);
    let equipment = IE_OPUS + (WORST - IE_OPUS) * percent / (percent + BPL_OPUS);
    let millis = delay.as_secs_f64() * 1_000.0;
    let waiting = 0.024 * millis + 0.11 * (millis - 177.3).max(0.0);
    let r = ((R_FULLBAND - equipment) / SCALE - waiting).clamp(0.0, 100.0);
    // The formula dips below 1 for small R, which G.107 sets to 1.
    let score = 1.0 + 0.035 * r + 7e-6 * r * (r - 60.0) * (100.0 - r);
    Mos(score.clamp(1.0, 4.5) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_delay_and_loss() {
        // (ms, per cent, score): worked out apart from this code.
        for (delay, percent, expected) in [
            (0, 0.0, 4.30),
            (50, 0.0, 4.27),
            (150, 0.0, 4.20),
            (177, 0.0, 4.18),
            (300, 0.0, 3.50),
            (400, 0.0, 2.81),
            (50, 1.0, 4.05),
            (50, 3.0, 3.60),
            (50, 5.0, 3.21),
            (50, 10.0, 2.54),
            (50, 20.0, 1.89),
            (600, 0.0, 1.52),
            (2000, 100.0, 1.00),
        ] {
            let score = f64::from(mos(Duration::from_millis(delay), percent / 100.0).value());
            assert!(
                (score - expected).abs() < 0.01,
                "{delay} ms, {percent} %: {score:.2}, not {expected}"
            );
        }
    }

    #[test]
    fn more_delay_and_more_loss_are_never_better() {
        for delay in (0..1_500).step_by(25) {
            for percent in 0..100 {
                let at = |delay, percent: u32| mos(Duration::from_millis(delay), f64::from(percent) / 100.0);
                assert!(at(delay, percent) >= at(delay + 25, percent) && at(delay, percent) >= at(delay, percent + 1));
                assert!((1.0..=4.5).contains(&at(delay, percent).value()));
            }
        }
        // Shares out of range are the nearest that is in it.
        assert_eq!(mos(Duration::ZERO, -1.0), mos(Duration::ZERO, 0.0));
        assert_eq!(mos(Duration::ZERO, 7.0), mos(Duration::ZERO, 1.0));
    }
}
