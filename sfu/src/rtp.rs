//! RTP packets (RFC 3550 §5.1): the header read once, in place, without copying; and wrapping numbers made wide.

use crate::ext::{ExtensionIds, Extensions};
use crate::ids::{PayloadType, Ssrc};

/// The fixed header's length.
pub(crate) const FIXED_HEADER_LEN: usize = 12;

/// The facts of an RTP header. SRTP leaves the header in the clear, so this works before and after decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RtpHeader {
    /// For video: last packet of a frame. For audio: first packet after a silence.
    pub(crate) marker: bool,
    /// What the payload is.
    pub(crate) payload_type: PayloadType,
    /// Counts packets of this SSRC, wraps.
    pub(crate) sequence: u16,
    /// Ticks of the media clock, wraps.
    pub(crate) timestamp: u32,
    /// Who sends.
    pub(crate) ssrc: Ssrc,
    /// The P bit: the payload ends in padding, whose length is its last byte.
    pub(crate) padding: bool,
    /// Length of the whole header with CSRC list and extension: where the payload starts.
    pub(crate) len: u16,
    /// The extension block, if the X bit is set.
    pub(crate) extension: Option<ExtensionBlock>,
}

/// Where the extension elements lie (RFC 3550 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtensionBlock {
    /// Which format the elements have: 0xBEDE one-byte, 0x100x two-byte headers (RFC 8285 §4.2, §4.3).
    pub(crate) profile: u16,
    /// Offset of the first element from the start of the packet.
    pub(crate) start: u16,
    /// Length of all elements in bytes, a multiple of four.
    pub(crate) len: u16,
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RtpError {
    /// Ends inside the header.
    #[error("the packet ends inside its header")]
    Truncated,
    /// The version is not 2.
    #[error("the version is not 2")]
    Version,
    /// Longer than any datagram.
    #[error("the packet is longer than a datagram")]
    TooLong,
    /// The padding length is zero or reaches into the header.
    #[error("the padding length does not fit the packet")]
    Padding,
}

impl RtpHeader {
    /// Reads the header of an RTP or SRTP packet.
    ///
    /// # Errors
    /// [`RtpError::Truncated`], [`RtpError::Version`] and [`RtpError::TooLong`].
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        if packet.len() > usize::from(u16::MAX) {
            return Err(RtpError::TooLong);
        }
        let Some((fixed, _)) = packet.split_first_chunk::<FIXED_HEADER_LEN>() else {
            return Err(RtpError::Truncated);
        };
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let csrc_count = usize::from(fixed[0] & 0x0f);
        let mut len = FIXED_HEADER_LEN + 4 * csrc_count;
        let mut extension = None;
        if fixed[0] & 0x10 != 0 {
            let Some((head, _)) = packet.get(len..).and_then(<[u8]>::split_first_chunk::<4>) else {
                return Err(RtpError::Truncated);
            };
            let block = ExtensionBlock {
                profile: u16::from_be_bytes([head[0], head[1]]),
                start: (len + 4) as u16,
                len: u16::from_be_bytes([head[2], head[3]])
                    .checked_mul(4)
                    .ok_or(RtpError::Truncated)?,
            };
            len += 4 + usize::from(block.len);
            extension = Some(block);
        }
        if len > packet.len() {
            return Err(RtpError::Truncated);
        }
        Ok(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: PayloadType(fixed[1] & 0x7f),
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
            padding: fixed[0] & 0x20 != 0,
            len: len as u16,
            extension,
        })
    }

    /// The payload of a *decrypted* packet this header was read from, padding removed. May be empty: browsers send a
    /// handful of empty audio packets at the start, and padding-only packets when they probe.
    ///
    /// # Errors
    /// [`RtpError::Padding`]; [`RtpError::Truncated`] if `packet` is shorter than the header said.
    pub(crate) fn payload<'a>(&self, packet: &'a [u8]) -> Result<&'a [u8], RtpError> {
        let body = packet.get(usize::from(self.len)..).ok_or(RtpError::Truncated)?;
        if !self.padding {
            return Ok(body);
        }
        let count = usize::from(*body.last().ok_or(RtpError::Padding)?);
        if count == 0 || count > body.len() {
            return Err(RtpError::Padding);
        }
        Ok(&body[..body.len() - count])
    }

    /// All negotiated extension elements of the packet this header was read from, in one pass.
    pub(crate) fn extensions<'a>(&self, packet: &'a [u8], ids: &ExtensionIds) -> Extensions<'a> {
        let Some(block) = self.extension else {
            return Extensions::default();
        };
        let start = usize::from(block.start);
        let elements = packet.get(start..start + usize::from(block.len)).unwrap_or_default();
        Extensions::parse(block.profile, elements, ids)
    }
}

/// Makes a number that wraps at `BITS` bits wide, once, at the edge.
///
/// A value is taken to be the one nearest to the highest seen so far. Wide values start in the second cycle, so that packets that
/// were sent before the first one to arrive have room below it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unwrapper<const BITS: u32> {
    highest: Option<u64>,
}

/// For RTP sequence numbers.
pub(crate) type SequenceUnwrapper = Unwrapper<16>;
/// For RTP timestamps.
pub(crate) type TimestampUnwrapper = Unwrapper<32>;

impl<const BITS: u32> Unwrapper<BITS> {
    const CYCLE: u64 = 1 << BITS;

    /// An unwrapper that has seen nothing.
    pub(crate) const fn new() -> Self {
        Self { highest: None }
    }

    /// The wide value, without remembering it: for numbers a stranger names, such as those of a NACK.
    pub(crate) fn peek(&self, value: u64) -> u64 {
        let value = value & (Self::CYCLE - 1);
        let Some(highest) = self.highest else {
            return Self::CYCLE + value;
        };
        let forward = value.wrapping_sub(highest) & (Self::CYCLE - 1);
        if forward < Self::CYCLE / 2 {
            highest + forward
        } else {
            // `highest` never falls, and starts a whole cycle up: there is room below it.
            highest + forward - Self::CYCLE
        }
    }

    /// The wide value; the highest one is remembered.
    pub(crate) fn unwrap(&mut self, value: u64) -> u64 {
        let wide = self.peek(value);
        if self.highest.is_none_or(|highest| wide > highest) {
            self.highest = Some(wide);
        }
        wide
    }

    /// The highest wide value so far.
    pub(crate) const fn highest(&self) -> Option<u64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACKET: [u8; 12] = [0x80, 0xe0, 0x12, 0x34, 0, 0, 0, 7, 1, 2, 3, 4];

    #[test]
    fn fixed_header() {
        let header = RtpHeader::parse(&PACKET).unwrap();
        assert!(header.marker && !header.padding);
        assert_eq!(header.payload_type, PayloadType(96));
        assert_eq!((header.sequence, header.timestamp), (0x1234, 7));
        assert_eq!(header.ssrc, Ssrc(0x0102_0304));
        assert_eq!((header.len, header.extension), (12, None));
        assert_eq!(header.payload(&PACKET), Ok(&[][..]));
    }

    #[test]
    fn contributing_sources_and_extension_move_the_payload() {
        let mut packet = vec![0x92, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        packet.extend([0; 8]); // two CSRCs
        packet.extend([0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
        packet.extend(b"payload");
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.len, 28);
        let block = header.extension.unwrap();
        assert_eq!((block.profile, block.start, block.len), (0xbede, 24, 4));
        assert_eq!(header.payload(&packet), Ok(&b"payload"[..]));
    }

    #[test]
    fn padding_is_removed() {
        type Case = (&'static [u8], Result<&'static [u8], RtpError>);
        let cases: [Case; 6] = [
            (&[1, 2, 1], Ok(&[1, 2])),
            (&[1, 0, 0, 3], Ok(&[1])),
            (&[0, 0, 3], Ok(&[])),
            (&[1, 2, 0], Err(RtpError::Padding)),
            (&[1, 2, 4], Err(RtpError::Padding)),
            (&[], Err(RtpError::Padding)),
        ];
        for (body, expected) in cases {
            let mut packet = PACKET.to_vec();
            packet[0] |= 0x20;
            packet.extend(body);
            let header = RtpHeader::parse(&packet).unwrap();
            assert_eq!(header.payload(&packet), expected, "{body:?}");
        }
    }

    #[test]
    fn broken_headers_are_refused() {
        let cases: [(&[u8], RtpError); 5] = [
            (&[], RtpError::Truncated),
            (&PACKET[..11], RtpError::Truncated),
            (&[0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], RtpError::Version),
            // One CSRC promised, none there.
            (&[0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], RtpError::Truncated),
            // An extension of 65,535 words.
            (
                &[0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0xff, 0xff],
                RtpError::Truncated,
            ),
        ];
        for (packet, error) in cases {
            assert_eq!(RtpHeader::parse(packet), Err(error), "{packet:02x?}");
        }
        assert_eq!(RtpHeader::parse(&vec![0x80; 70_000]), Err(RtpError::TooLong));
    }

    #[test]
    fn sequence_numbers_widen_across_the_wrap_in_both_directions() {
        let mut wide = SequenceUnwrapper::new();
        let first = wide.unwrap(65_534);
        assert_eq!(wide.unwrap(1), first + 3);
        assert_eq!(wide.unwrap(65_535), first + 1);
        assert_eq!(wide.unwrap(2), first + 4);
        assert_eq!(wide.peek(65_533), first - 1);
        assert_eq!(wide.highest(), Some(first + 4));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(packet: Vec<u8>) {
            if let Ok(header) = RtpHeader::parse(&packet) {
                prop_assert!(usize::from(header.len) <= packet.len());
                let _ = header.payload(&packet);
                let _ = header.extensions(&packet, &ExtensionIds::default());
            }
        }

        #[test]
        fn unwrapping_keeps_the_low_bits_and_never_falls_below_zero(values: Vec<u16>) {
            let mut wide = SequenceUnwrapper::new();
            for value in values {
                let got = wide.unwrap(u64::from(value));
                prop_assert_eq!(got as u16, value);
                prop_assert!(got >= 1 << 15);
            }
        }
    }
}
