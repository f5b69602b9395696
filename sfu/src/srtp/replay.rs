//! Packet indices and the window against replays (RFC 3711 §3.3.1, §3.3.2, appendix A).

use super::OpenError;

/// Which of the last 128 indices were seen. RFC 3711 asks for 64 at least; 128 is 0.7 s of a 720p layer, more than any
/// reordering seen. Older packets are refused.
#[derive(Clone, Debug)]
pub(super) struct ReplayWindow {
    highest: u64,
    /// Bit n: index `highest - n` was seen. Bit 0 is always set.
    seen: u128,
}

impl ReplayWindow {
    /// The window of a stream whose first authentic packet has this index.
    pub(super) fn starting_at(index: u64) -> Self {
        Self {
            highest: index,
            seen: 1,
        }
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether a packet of this index may still come. To be asked before authentication, which costs more.
    pub(super) fn check(&self, index: u64) -> Result<(), OpenError> {
        match self.highest.checked_sub(index) {
            None => Ok(()),
            Some(age) if age >= u64::from(u128::BITS) => Err(OpenError::TooOld),
            Some(age) if self.seen & (1 << age) != 0 => Err(OpenError::Replayed),
            Some(_) => Ok(()),
        }
    }

    /// Notes an authentic packet.
    pub(super) fn accept(&mut self, index: u64) {
        match index.checked_sub(self.highest) {
            Some(ahead) => {
                let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.highest = index;
            }
            None => {
                let age = self.highest - index;
                if age < u64::from(u128::BITS) {
                    self.seen |= 1 << age;
                }
            }
        }
    }
}

/// The 48-bit index of the packet with sequence number `seq`, given the highest index seen: the one nearest to it
/// (appendix A). `None` if that would lie before the stream's first roll-over or after the last possible index.
pub(super) fn estimate_index(highest: u64, seq: u16) -> Option<u64> {
    let (roll_over, last) = (highest >> 16, (highest & 0xffff) as u16);
    let roll_over = if last < 0x8000 {
        if seq.saturating_sub(last) > 0x8000 {
            roll_over.checked_sub(1)?
        } else {
            roll_over
        }
    } else if last - 0x8000 > seq {
        roll_over + 1
    } else {
        roll_over
    };
    let index = roll_over << 16 | u64::from(seq);
    (index <= super::MAX_RTP_INDEX).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn indices_near_a_roll_over() {
        for (highest, seq, expected) in [
            (0x0_0000, 0x0001, Some(0x0_0001)),
            (0x0_0005, 0xffff, None),
            (0x0_ffff, 0x0000, Some(0x1_0000)),
            (0x1_0000, 0xffff, Some(0x0_ffff)),
            (0x1_0000, 0x8000, Some(0x1_8000)),
            (0x1_0000, 0x8001, Some(0x0_8001)),
            (0x1_8000, 0x0000, Some(0x1_0000)),
            (0x1_8001, 0x0000, Some(0x2_0000)),
            (super::super::MAX_RTP_INDEX, 0x0000, None),
        ] {
            assert_eq!(estimate_index(highest, seq), expected, "{highest:x} {seq:x}");
        }
    }

    proptest! {
        #[test]
        fn any_index_less_than_half_a_roll_over_away_is_found(highest in 0x1_0000_u64..1 << 40, away in -0x7fff_i64..0x8000) {
            let index = highest.checked_add_signed(away).unwrap();
            prop_assert_eq!(estimate_index(highest, index as u16), Some(index));
        }

        /// Against a set that forgets nothing.
        #[test]
        fn the_window_takes_each_index_once(start in 0_u64..1 << 40, steps in prop::collection::vec(-200_i64..400, 1..300)) {
            let mut window = ReplayWindow::starting_at(start);
            let mut seen = std::collections::HashSet::from([start]);
            let mut highest = start;
            for step in steps {
                let Some(index) = highest.checked_add_signed(step) else { continue };
                let expected = if seen.contains(&index) && index + 128 > highest {
                    Err(OpenError::Replayed)
                } else if index + 128 <= highest {
                    Err(OpenError::TooOld)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(index), expected, "{} of {}", index, highest);
                if expected.is_ok() {
                    window.accept(index);
                    seen.insert(index);
                    highest = highest.max(index);
                }
                prop_assert_eq!(window.highest(), highest);
            }
        }
    }
}
