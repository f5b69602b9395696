//! How much may be sent again that nobody asked for: a share of the pictures that left lately. Where packets are lost because there are too
//! many of them, more of the same must not follow.

/// Sent again unasked are at most this many in a hundred of the pictures' bytes: a tenth lost on both lines takes about 20.
const SHARE_PERCENT: u32 = 25;
/// What left is counted in spans of this. What was not used of the share of two of them is gone.
const SPAN_US: i64 = 250_000;

/// How often a packet is sent again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    /// Once.
    One,
    /// Twice: one that is lost again is asked for a round trip later at the soonest.
    Two,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// Bytes that may be sent.
    left: u32,
    span: i64,
    /// Bytes of pictures that left in this span, and in the one before.
    present: u32,
    before: u32,
}

impl Allowance {
    /// A packet of a picture left for the first time.
    pub(super) fn handle_picture(&mut self, size: u16, now_us: i64) {
        self.advance(now_us);
        self.present = self.present.saturating_add(u32::from(size));
        self.left = self.most().min(self.left + share(u32::from(size)));
    }

    /// Whether a packet may be sent again unasked, and how often: twice only if `most` says so and half is left. It is counted as sent.
    pub(super) fn take(&mut self, size: u16, most: Copies, now_us: i64) -> Option<Copies> {
        self.advance(now_us);
        let size = u32::from(size);
        let copies = if most == Copies::Two && self.left >= (2 * size).max(self.most() / 2) {
            Copies::Two
        } else if self.left >= size {
            Copies::One
        } else {
            return None;
        };
        self.left -= match copies {
            Copies::One => size,
            Copies::Two => 2 * size,
        };
        Some(copies)
    }

    /// The share of half a second.
    fn most(&self) -> u32 {
        share(self.before.saturating_add(self.before.max(self.present)))
    }

    fn advance(&mut self, now_us: i64) {
        let span = now_us.div_euclid(SPAN_US);
        if span > self.span {
            self.before = if span == self.span + 1 { self.present } else { 0 };
            self.present = 0;
            self.span = span;
            self.left = self.left.min(self.most());
        }
    }
}

const fn share(bytes: u32) -> u32 {
    (bytes as u64 * SHARE_PERCENT as u64 / 100) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_what_leaves_may_follow_and_twice_only_while_half_of_it_is_left() {
        let (one, two) = (Some(Copies::One), Some(Copies::Two));
        let mut allowance = Allowance::default();
        assert_eq!(allowance.take(1_000, Copies::One, 0), None, "nothing left yet");
        for span in 0..4 {
            for _ in 0..40 {
                allowance.handle_picture(1_000, span * SPAN_US);
            }
        }
        let taken: Vec<_> = (0..15)
            .map(|_| allowance.take(1_000, Copies::Two, 3 * SPAN_US))
            .collect();
        assert_eq!(taken[..6], [two; 6], "half of the 20,000 bytes of two spans");
        assert_eq!(taken[6..14], [one; 8]);
        assert_eq!(taken[14], None);
        allowance.handle_picture(4_000, 4 * SPAN_US);
        assert_eq!(allowance.take(1_000, Copies::Two, 4 * SPAN_US), one);
        assert_eq!(allowance.take(1_000, Copies::Two, 4 * SPAN_US), None);
        allowance.handle_picture(40_000, 4 * SPAN_US);
        assert_eq!(allowance.take(1_000, Copies::One, 5 * SPAN_US), one);
        assert_eq!(allowance.take(1_000, Copies::One, 9 * SPAN_US), None, "long ago");
    }
}
