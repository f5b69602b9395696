//! The vocabulary of media: kinds, layers, targets, rates.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Opus, 48 kHz.
    Audio,
    /// VP8 or H.264, 90 kHz.
    Video,
}

/// What a track is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Sound.
    Microphone,
    /// A picture of somebody. Whatever does not say that it is a screen is one.
    Camera,
    /// A shared screen or window (`a=content:slides`, RFC 4796): text, which has to stay legible.
    Screen,
}

/// A codec this server forwards. It never decodes; it needs to see key frames and, for VP8, picture ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587, 48 kHz. May travel inside RED (RFC 2198) on a payload type of its own.
    Opus,
    /// RFC 7741, 90 kHz.
    Vp8,
    /// RFC 6184, constrained baseline, packetization mode 1, 90 kHz.
    H264,
}

impl Codec {
    /// Ticks of the RTP timestamp per second.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Vp8 | Self::H264 => 90_000,
        }
    }

    /// The kind of track this codec is for.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Opus => Kind::Audio,
            Self::Vp8 | Self::H264 => Kind::Video,
        }
    }
}

/// A video layer a subscription can receive, by the rung of the product's ladder. Ordered by quality.
///
/// A publisher that sends a single encoding has only [`Layer::P720`], whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// The smaller simulcast encoding, nominally 853×480 (rid `m` from our client).
    P480,
    /// The larger one, nominally 1280×720 (rid `h` from our client).
    P720,
}

/// What a video subscription should be sent. Ordered by quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// No picture.
    AudioOnly,
    /// This layer, or the best one below it that the publisher really sends.
    Video(Layer),
}

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Nothing per second.
    pub const ZERO: Self = Self(0);

    /// From bits per second.
    #[must_use]
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// From kilobits (1,000 bits) per second.
    #[must_use]
    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps * 1_000)
    }

    /// The mean rate of `bytes` over `time`; zero for no time at all.
    #[must_use]
    pub fn from_bytes_over(bytes: u64, time: Duration) -> Self {
        let micros = time.as_micros().min(u128::from(u64::MAX)) as u64;
        Self((bytes * 8_000_000).checked_div(micros).unwrap_or(0))
    }

    /// As bits per second.
    #[must_use]
    pub const fn bps(self) -> u64 {
        self.0
    }
}

impl Add for Bitrate {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Bitrate {
    type Output = Self;
    /// Never below zero.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kbit/s", self.0 / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_ordered_by_quality() {
        assert!(Target::AudioOnly < Target::Video(Layer::P480));
        assert!(Target::Video(Layer::P480) < Target::Video(Layer::P720));
    }

    #[test]
    fn rates_saturate() {
        assert_eq!(Bitrate::from_kbps(1) - Bitrate::from_kbps(2), Bitrate::ZERO);
        assert_eq!(Bitrate::from_bytes_over(125, Duration::from_secs(1)).bps(), 1_000);
        assert_eq!(Bitrate::from_bytes_over(125, Duration::ZERO), Bitrate::ZERO);
    }
}
