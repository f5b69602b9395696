//! Unpredictable numbers: SSRCs, first sequence numbers and timestamps (RFC 3550 §5.1, RFC 8108), ICE credentials.
//!
//! Like time, chance is an argument: tests and fuzzing hand in a seeded one and get the same run again.

use aws_lc_rs::rand;

use crate::testing::Chance;

/// Where randomness comes from.
pub(crate) enum Random {
    /// The operating system.
    System,
    /// A seed. **For tests only**: whoever knows a few numbers knows them all.
    Seeded(Chance),
}

impl Random {
    /// Sixty-four random bits.
    ///
    /// # Panics
    /// If the system's random source fails, after which nothing here would be safe to go on with.
    pub(crate) fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_ne_bytes(bytes)
    }

    /// Random bytes.
    ///
    /// # Panics
    /// As [`Self::u64`].
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        match self {
            Self::System => rand::fill(bytes).expect("the system's random source works"),
            Self::Seeded(chance) => bytes.iter_mut().for_each(|byte| *byte = chance.bits() as u8),
        }
    }
}
