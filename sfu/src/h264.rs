//! H.264 in RTP (RFC 6184): where key frames start, and their size.

/// NAL unit types (ITU-T H.264 table 7-1; RFC 6184 §5.2).
const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;

/// The longest sequence parameter set looked into, in bytes. Those of constrained baseline have 10 to 30; the limit keeps a
/// hostile one from costing time.
const MAX_SPS: usize = 128;

/// The sequence parameter set a payload carries, if any: what a key frame that a receiver can start from begins with.
///
/// A key frame without one (IDR slices alone) does not count as a start: parameter sets that are only in the publisher's SDP do not
/// reach our receivers. Looks into single NAL units, STAP-A and the first fragment of FU-A.
pub(crate) fn sequence_parameter_set(payload: &[u8]) -> Option<&[u8]> {
    let (first, rest) = payload.split_first()?;
    match first & 0x1f {
        NAL_SPS => Some(rest),
        NAL_STAP_A => {
            let mut rest = rest;
            while let Some((len, after)) = rest.split_first_chunk::<2>() {
                let (unit, next) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
                if let [head, body @ ..] = unit
                    && head & 0x1f == NAL_SPS
                {
                    return Some(body);
                }
                rest = next;
            }
            None
        }
        NAL_FU_A => match rest {
            [head, body @ ..] if head & 0x80 != 0 && head & 0x1f == NAL_SPS => Some(body),
            _ => None,
        },
        _ => None,
    }
}

/// Width and height of the pictures a sequence parameter set announces (ITU-T H.264 §7.3.2.1.1), cropping applied. `None` if it is
/// damaged, cut off before the size, or names a size that is not a picture's.
pub(crate) fn picture_size(sps: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(&sps[..sps.len().min(MAX_SPS)]);
    let profile = bits.take(8)?;
    bits.take(16)?; // constraint flags, level
    bits.golomb()?; // id
    let mut chroma = 1;
    if matches!(
        profile,
        44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244
    ) {
        chroma = bits.golomb()?;
        if chroma == 3 {
            bits.take(1)?;
        }
        bits.golomb()?; // luma depth
        bits.golomb()?; // chroma depth
        bits.take(1)?;
        if bits.take(1)? == 1 {
            // Scaling matrices: no browser sends them, and skipping them right takes more code than it is worth.
            return None;
        }
    }
    bits.golomb()?; // frame number width
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.take(1)?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()?.min(255) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?; // reference frames
    bits.take(1)?;
    let width = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let map_units = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let frames_only = bits.take(1)?;
    let height = map_units.checked_mul(2 - frames_only)?;
    if frames_only == 0 {
        bits.take(1)?;
    }
    bits.take(1)?;
    let (mut crop_x, mut crop_y) = (0, 0);
    if bits.take(1)? == 1 {
        let unit_x = if matches!(chroma, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma == 1 { 2 } else { 1 } * (2 - frames_only);
        let mut side = |unit: u32| -> Option<u32> { bits.golomb()?.checked_add(bits.golomb()?)?.checked_mul(unit) };
        crop_x = side(unit_x)?;
        crop_y = side(unit_y)?;
    }
    let width = u16::try_from(width.checked_sub(crop_x)?).ok()?;
    let height = u16::try_from(height.checked_sub(crop_y)?).ok()?;
    (width > 0 && height > 0).then_some((width, height))
}

/// Reads bits of a NAL unit, leaving out emulation prevention bytes (ITU-T H.264 §7.4.1).
struct Bits<'a> {
    rest: &'a [u8],
    current: u8,
    left: u8,
    zeros: u8,
}

impl<'a> Bits<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            current: 0,
            left: 0,
            zeros: 0,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (mut first, mut rest) = self.rest.split_first()?;
        if self.zeros >= 2 && *first == 3 {
            self.zeros = 0;
            (first, rest) = rest.split_first()?;
        }
        self.zeros = if *first == 0 { self.zeros.saturating_add(1) } else { 0 };
        self.rest = rest;
        Some(*first)
    }

    /// Up to 32 bits, highest first.
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            if self.left == 0 {
                self.current = self.byte()?;
                self.left = 8;
            }
            self.left -= 1;
            value = value << 1 | u32::from(self.current >> self.left & 1);
        }
        Some(value)
    }

    /// An unsigned Exp-Golomb number (ITU-T H.264 §9.1) below 2³¹.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 30 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Constrained baseline, 1280×720 (45 rows of macroblocks, no cropping).
    const SPS_720: [u8; 9] = [0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb];

    /// Writes bits from "01 1 …"; anything else is ignored.
    fn bits(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
        digits
            .chunks(8)
            .map(|chunk| chunk.iter().enumerate().fold(0, |byte, (i, bit)| byte | bit << (7 - i)))
            .collect()
    }

    #[test]
    fn parameter_sets_mark_key_frames() {
        let table: [(&[u8], bool); 9] = [
            (&SPS_720, true),
            // STAP-A of SPS and PPS, and of PPS alone.
            (b"\x78\x00\x04\x67\x42\xc0\x1f\x00\x02\x68\xce", true),
            (b"\x78\x00\x02\x68\xce\x00\x04\x67\x42\xc0\x1f", true),
            (b"\x78\x00\x02\x68\xce", false),
            (b"\x78\x00\x09\x67\x42", false),
            // FU-A: first fragment of an SPS, a later one, an IDR slice.
            (b"\x7c\x87\x42", true),
            (b"\x7c\x07\x42", false),
            (b"\x7c\x85\x42", false),
            (b"", false),
        ];
        for (payload, expected) in table {
            assert_eq!(sequence_parameter_set(payload).is_some(), expected, "{payload:02x?}");
        }
    }

    #[test]
    fn sizes() {
        // profile 66, level 31, id 0, frame number 4 bits, order type 2, 1 reference, no gaps, 80 × 45 macroblocks, frames only,
        // direct 8×8, no cropping, no VUI.
        let head = bits("01000010 11000000 00011111 1 1 011 010 0 0000001010000 00000101101 1 1 0 0 1");
        assert_eq!(picture_size(&head), Some((1280, 720)));
        // The same with 54 × 30 macroblocks, 11 pixels... cropped to 854 × 480: right by 5 units of two.
        let cropped = bits("01000010 11000000 00011111 1 1 011 010 0 00000110110 000011110 1 1 1 1 00110 1 1 0 1");
        assert_eq!(picture_size(&cropped), Some((854, 480)));
        assert_eq!(picture_size(&head[..5]), None);
        assert_eq!(picture_size(&[]), None);
    }

    #[test]
    fn emulation_prevention_is_left_out() {
        let mut plain = Bits::new(&[0, 0, 3, 1]);
        assert_eq!(plain.take(24), Some(1));
        assert_eq!(plain.take(1), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(payload: Vec<u8>) {
            if let Some(sps) = sequence_parameter_set(&payload) {
                let _ = picture_size(sps);
            }
            let _ = picture_size(&payload);
        }
    }
}
