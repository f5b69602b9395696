//! Freezes that were none: a picture that was stopped on purpose and came back.
//!
//! A client's `freezeCount` counts every gap between two frames that is long for the frame rate (W3C webrtc-stats). Chromium counts a gap of
//! more than five seconds as a pause and not as a freeze.

use std::time::Duration;

/// From here on browsers count a gap as a pause.
const COUNTED_AS_PAUSE: Duration = Duration::from_secs(5);
/// By how much a client's gap may be longer than ours: a layer counts as stopped 1.2 s after its last packet, and the first new
/// frame is a key frame that has to be asked for.
const SLACK: Duration = Duration::from_millis(2_500);

/// Freezes and their length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freezes {
    pub(super) count: u32,
    pub(super) length: Duration,
}

impl Freezes {
    /// What is left without pauses that ended meanwhile.
    #[must_use]
    pub(super) fn without(mut self, pauses: &[Duration]) -> Self {
        // The longest first: each takes away what is left of the longest freezes.
        for pause in pauses.iter().filter(|pause| **pause <= COUNTED_AS_PAUSE) {
            if self.count == 0 {
                break;
            }
            self.count -= 1;
            self.length = self.length.saturating_sub(*pause + SLACK);
        }
        if self.count == 0 {
            self.length = Duration::ZERO;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intended_pauses_are_not_freezes() {
        let ms = Duration::from_millis;
        for (count, length, pauses, left, rest) in [
            (0, 0, &[][..], 0, 0),
            (1, 400, &[], 1, 400),
            (1, 3_060, &[3_000], 0, 0),
            (2, 4_260, &[2_000], 1, 0),
            (2, 6_000, &[2_000], 1, 1_500),
            // A long pause was never counted: the freeze beside it stays.
            (1, 700, &[20_000], 1, 700),
            (3, 900, &[1_000, 1_000, 1_000, 1_000], 0, 0),
        ] {
            let pauses: Vec<_> = pauses.iter().map(|millis| ms(*millis)).collect();
            let freezes = Freezes {
                count,
                length: ms(length),
            };
            let expected = Freezes {
                count: left,
                length: ms(rest),
            };
            assert_eq!(freezes.without(&pauses), expected, "{freezes:?} {pauses:?}");
        }
    }
}
