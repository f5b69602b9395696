//! Packet indices and the window that lets each pass once (RFC 3711 §3.3.1, §3.3.2, appendix A).

/// How far back a window reaches, in packets. RFC 3711 asks for 64 at least. 512 is 2.4 s of a 720p layer: a packet that a
/// publisher lost and sent again leaves late under its own number, and must find it unused still ([`crate::limits::MAX_HOLE`]).
pub(super) const REACH: u64 = 512;

const WORDS: usize = REACH as usize / 64;

// A repaired packet finds its number in the window even at the end of the longest hole.
const _: () = assert!(REACH >= 2 * crate::limits::MAX_HOLE);

/// Which of the last [`REACH`] indices were used. Guards received packets against replay and sent ones against a second use of
/// a nonce: an index passes once; one so old that this is not known never.
#[derive(Clone, Debug)]
pub(super) struct Window {
    highest: u64,
    /// Bit `index % REACH`: that index was used.
    used: [u64; WORDS],
}

/// An index does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Used,
    TooOld,
}

impl Window {
    /// The window of a stream whose first packet has this index.
    pub(super) fn starting_at(index: u64) -> Self {
        let mut window = Self {
            highest: index,
            used: [0; WORDS],
        };
        window.set(index);
        window
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether an index is still free.
    #[inline]
    pub(super) fn check(&self, index: u64) -> Result<(), Refused> {
        match self.highest.checked_sub(index) {
            None => Ok(()),
            Some(age) if age >= REACH => Err(Refused::TooOld),
            Some(_) if self.used[word(index)] & bit(index) != 0 => Err(Refused::Used),
            Some(_) => Ok(()),
        }
    }

    /// Marks an index that [`Self::check`] let pass as used.
    #[inline]
    pub(super) fn mark(&mut self, index: u64) {
        if index > self.highest {
            if index - self.highest >= REACH {
                self.used = [0; WORDS];
            } else {
                for skipped in self.highest + 1..index {
                    self.used[word(skipped)] &= !bit(skipped);
                }
            }
            self.highest = index;
        }
        self.set(index);
    }

    fn set(&mut self, index: u64) {
        self.used[word(index)] |= bit(index);
    }
}

const fn word(index: u64) -> usize {
    (index % REACH / 64) as usize
}

const fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

/// The 48-bit index of the packet with sequence number `seq`, given the highest index so far: the one nearest to it
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
        fn an_index_passes_once(start in 0_u64..1 << 40, steps in prop::collection::vec(-600_i64..700, 1..300)) {
            let mut window = Window::starting_at(start);
            let mut used = std::collections::HashSet::from([start]);
            let mut highest = start;
            for step in steps {
                // Mostly small steps, so that indices meet.
                let step = if step % 5 == 0 { step } else { step % 16 };
                let Some(index) = highest.checked_add_signed(step) else { continue };
                let expected = if index + REACH <= highest {
                    Err(Refused::TooOld)
                } else if used.contains(&index) {
                    Err(Refused::Used)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(index), expected, "{} of {}", index, highest);
                if expected.is_ok() {
                    window.mark(index);
                    used.insert(index);
                    highest = highest.max(index);
                }
                prop_assert_eq!(window.highest(), highest);
            }
        }
    }
}
