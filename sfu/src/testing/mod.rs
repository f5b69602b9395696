//! Helpers for tests and benchmarks, inside and outside this crate: a publisher of VP8-like simulcast, a decoder that notices every
//! mistake, and seeded chance. No part of the interface.

mod audience;
mod decoder;
mod forwarding;
#[cfg(test)]
pub(crate) mod link;
mod publisher;
pub(crate) mod puppet;
#[cfg_attr(not(test), allow(dead_code, reason = "benchmarks use only a part of it"))]
pub(crate) mod track;
pub(crate) mod tunnel;

pub use audience::{Audience, Forwarded};
#[cfg(test)]
pub(crate) use decoder::frame_of;
pub use decoder::{DecoderFigures, VideoDecoder};
pub use forwarding::Forwarding;
#[cfg(test)]
pub(crate) use publisher::FRAME_TIME;
pub use publisher::{MediaPacket, VideoPublisher};

/// Seeded chance (SplitMix64): the same seed gives the same run.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// From a seed; every seed is good.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, which must not be zero.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// True with this probability.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
