//! VP8 in RTP (RFC 7741): the payload descriptor read and rewritten in place, key frames and their size seen.

/// Picture ids count frames modulo this (15 bits, RFC 7741 §4.2).
const PICTURE_ID_MASK: u16 = 0x7fff;

/// What a payload descriptor says, and where its numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// Its length: where the VP8 bytes start.
    pub(crate) len: u8,
    /// The N bit: no other frame depends on this one.
    pub(crate) non_reference: bool,
    /// First packet of a frame (S set and partition 0).
    pub(crate) frame_start: bool,
    /// Counts frames, if present.
    pub(crate) picture_id: Option<PictureId>,
    /// Counts frames of the lowest temporal layer, if present.
    pub(crate) tl0: Option<Tl0>,
    /// The temporal layer, if present.
    pub(crate) temporal: Option<Temporal>,
    /// The KEYIDX, if present.
    pub(crate) key_index: Option<u8>,
}

/// A picture id. Always directly after the two bytes of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureId {
    /// Its value.
    pub(crate) value: u16,
    /// How it is written.
    pub(crate) width: Width,
}

/// How many bits a picture id has on the wire.
///
/// Rewriting keeps the width of the source, hence the length of the packet: a number of ours is cut to it. Every browser
/// sends 15 bits; a source of 7 bits makes the receiver see 7-bit numbers that wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// One byte, M bit clear.
    Seven,
    /// Two bytes, M bit set.
    Fifteen,
}

impl Width {
    const fn bytes(self) -> usize {
        match self {
            Self::Seven => 1,
            Self::Fifteen => 2,
        }
    }
}

/// A TL0PICIDX and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tl0 {
    /// Its value, wraps.
    pub(crate) value: u8,
    /// Offset from the start of the payload.
    at: u8,
}

/// Which temporal layer a frame is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Temporal {
    /// 0..=3; 0 is the base.
    pub(crate) id: u8,
    /// The Y bit: depends on the base layer only.
    pub(crate) base_only: bool,
}

/// Why a payload is not VP8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Vp8Error {
    /// Ends inside the descriptor, or right after it.
    #[error("the payload ends inside the VP8 descriptor")]
    Truncated,
}

impl Descriptor {
    /// Reads the descriptor at the start of a payload (RFC 7741 §4.2).
    ///
    /// # Errors
    /// [`Vp8Error::Truncated`], also if no VP8 byte follows.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Vp8Error> {
        let byte = |at: usize| payload.get(at).copied().ok_or(Vp8Error::Truncated);
        let first = byte(0)?;
        let mut found = Self {
            len: 1,
            non_reference: first & 0x20 != 0,
            frame_start: first & 0x17 == 0x10,
            picture_id: None,
            tl0: None,
            temporal: None,
            key_index: None,
        };
        let mut at = 1;
        if first & 0x80 != 0 {
            let flags = byte(at)?;
            at += 1;
            if flags & 0x80 != 0 {
                let high = byte(at)?;
                let id = if high & 0x80 == 0 {
                    PictureId {
                        value: u16::from(high),
                        width: Width::Seven,
                    }
                } else {
                    PictureId {
                        value: u16::from_be_bytes([high & 0x7f, byte(at + 1)?]),
                        width: Width::Fifteen,
                    }
                };
                at += id.width.bytes();
                found.picture_id = Some(id);
            }
            if flags & 0x40 != 0 {
                found.tl0 = Some(Tl0 {
                    value: byte(at)?,
                    at: at as u8,
                });
                at += 1;
            }
            if flags & 0x30 != 0 {
                let last = byte(at)?;
                at += 1;
                if flags & 0x20 != 0 {
                    found.temporal = Some(Temporal {
                        id: last >> 6,
                        base_only: last & 0x20 != 0,
                    });
                }
                if flags & 0x10 != 0 {
                    found.key_index = Some(last & 0x1f);
                }
            }
        }
        byte(at)?;
        found.len = at as u8;
        Ok(found)
    }

    /// Whether the payload this descriptor was read from starts a key frame (RFC 6386 §9.1: lowest bit of the frame tag clear).
    ///
    /// Only that bit is looked at: it stays in the clear under end-to-end encryption, when the size may not.
    pub(crate) fn starts_key_frame(&self, payload: &[u8]) -> bool {
        self.frame_start && payload.get(usize::from(self.len)).is_some_and(|tag| tag & 1 == 0)
    }

    /// Width and height from a key frame's first packet, if its start code is there (RFC 6386 §9.1). Untrusted: the publisher
    /// writes them, and under end-to-end encryption they may be noise.
    pub(crate) fn key_frame_size(&self, payload: &[u8]) -> Option<(u16, u16)> {
        if !self.starts_key_frame(payload) {
            return None;
        }
        let header = payload.get(usize::from(self.len)..)?.first_chunk::<10>()?;
        if header[3..6] != [0x9d, 0x01, 0x2a] {
            return None;
        }
        // Two upper bits of each are the scaling hint.
        let width = u16::from_le_bytes([header[6], header[7]]) & 0x3fff;
        let height = u16::from_le_bytes([header[8], header[9]]) & 0x3fff;
        (width > 0 && height > 0).then_some((width, height))
    }

    /// Writes other numbers over those of the payload this descriptor was read from. Numbers that the source lacks stay absent;
    /// the length never changes.
    pub(crate) fn rewrite(&self, payload: &mut [u8], picture_id: u16, tl0: u8) {
        match self.picture_id.map(|id| id.width) {
            Some(Width::Seven) => {
                if let Some(byte) = payload.get_mut(2) {
                    *byte = (picture_id & 0x7f) as u8;
                }
            }
            Some(Width::Fifteen) => {
                if let Some(bytes) = payload.get_mut(2..4) {
                    bytes.copy_from_slice(&(picture_id & PICTURE_ID_MASK | 0x8000).to_be_bytes());
                }
            }
            None => {}
        }
        if let Some(byte) = self.tl0.and_then(|old| payload.get_mut(usize::from(old.at))) {
            *byte = tl0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn descriptors() {
        let bare = Descriptor {
            len: 1,
            non_reference: false,
            frame_start: true,
            picture_id: None,
            tl0: None,
            temporal: None,
            key_index: None,
        };
        let fifteen = |value| {
            Some(PictureId {
                value,
                width: Width::Fifteen,
            })
        };
        let table: [(&[u8], Result<Descriptor, Vp8Error>); 13] = [
            (&[0x10, 0xff], Ok(bare)),
            // Partition 1, or not the start of a partition: not the start of a frame.
            (
                &[0x11, 0xff],
                Ok(Descriptor {
                    frame_start: false,
                    ..bare
                }),
            ),
            (
                &[0x00, 0xff],
                Ok(Descriptor {
                    frame_start: false,
                    ..bare
                }),
            ),
            (
                &[0x30, 0xff],
                Ok(Descriptor {
                    non_reference: true,
                    ..bare
                }),
            ),
            (
                &[0x90, 0x80, 0x11, 0xff],
                Ok(Descriptor {
                    len: 3,
                    picture_id: Some(PictureId {
                        value: 0x11,
                        width: Width::Seven,
                    }),
                    ..bare
                }),
            ),
            (
                &[0x90, 0x80, 0x92, 0x34, 0xff],
                Ok(Descriptor {
                    len: 4,
                    picture_id: fifteen(0x1234),
                    ..bare
                }),
            ),
            // What Chromium and Firefox send: I, L, T.
            (
                &[0x90, 0xe0, 0x80, 0x01, 0x05, 0x60, 0xff],
                Ok(Descriptor {
                    len: 6,
                    picture_id: fifteen(1),
                    tl0: Some(Tl0 { value: 5, at: 4 }),
                    temporal: Some(Temporal { id: 1, base_only: true }),
                    ..bare
                }),
            ),
            (
                &[0x90, 0x50, 0x07, 0x1f, 0xff],
                Ok(Descriptor {
                    len: 4,
                    tl0: Some(Tl0 { value: 7, at: 2 }),
                    key_index: Some(31),
                    ..bare
                }),
            ),
            (&[], Err(Vp8Error::Truncated)),
            (&[0x10], Err(Vp8Error::Truncated)),
            (&[0x90], Err(Vp8Error::Truncated)),
            (&[0x90, 0x80, 0x92], Err(Vp8Error::Truncated)),
            (&[0x90, 0xe0, 0x80, 0x01, 0x05, 0x60], Err(Vp8Error::Truncated)),
        ];
        for (payload, expected) in table {
            assert_eq!(Descriptor::parse(payload), expected, "{payload:02x?}");
        }
    }

    #[test]
    fn key_frames_and_their_size() {
        let key = [0x10, 0x50, 0x2f, 0x01, 0x9d, 0x01, 0x2a, 0x55, 0x43, 0xe0, 0x01];
        let descriptor = Descriptor::parse(&key).unwrap();
        assert!(descriptor.starts_key_frame(&key));
        assert_eq!(descriptor.key_frame_size(&key), Some((853, 480)));

        let mut delta = key;
        delta[1] |= 1;
        assert!(!descriptor.starts_key_frame(&delta));
        assert_eq!(descriptor.key_frame_size(&delta), None);

        // Encrypted after the third byte: a key frame all the same.
        let mut noise = key;
        noise[4] = 0;
        assert!(descriptor.starts_key_frame(&noise));
        assert_eq!(descriptor.key_frame_size(&noise), None);

        // The second packet of a key frame.
        let mut continued = key;
        continued[0] = 0;
        let descriptor = Descriptor::parse(&continued).unwrap();
        assert!(!descriptor.starts_key_frame(&continued));
    }

    #[test]
    fn seven_bit_ids_keep_their_length() {
        let mut payload = [0x90, 0x80, 0x11, 0xff];
        let descriptor = Descriptor::parse(&payload).unwrap();
        descriptor.rewrite(&mut payload, 0x1fff, 0);
        assert_eq!(payload, [0x90, 0x80, 0x7f, 0xff]);
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_rewriting_changes_the_numbers_only(
            payload in prop::collection::vec(any::<u8>(), 0..24), picture_id: u16, tl0: u8,
        ) {
            let Ok(before) = Descriptor::parse(&payload) else { return Ok(()) };
            let _ = before.key_frame_size(&payload);
            let mut written = payload.clone();
            before.rewrite(&mut written, picture_id, tl0);
            let after = Descriptor::parse(&written).unwrap();
            prop_assert_eq!(after.len, before.len);
            prop_assert_eq!(&written[usize::from(after.len)..], &payload[usize::from(before.len)..]);
            let mask = match before.picture_id.map(|id| id.width) {
                Some(Width::Seven) => 0x7f,
                _ => PICTURE_ID_MASK,
            };
            prop_assert_eq!(after.picture_id.map(|id| id.value), before.picture_id.map(|_| picture_id & mask));
            prop_assert_eq!(after.tl0.map(|id| id.value), before.tl0.map(|_| tl0));
            prop_assert_eq!((after.temporal, after.key_index), (before.temporal, before.key_index));
            prop_assert_eq!(after.frame_start, before.frame_start);
        }
    }
}
