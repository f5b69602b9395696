//! Redundant audio (RFC 2198): a primary Opus frame with older ones in front of it.

use arrayvec::ArrayVec;

use crate::ids::PayloadType;

/// Where the newest frame lies in a redundant payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Red {
    /// Offset of the primary block's data from the start of the payload; it reaches to the end.
    pub(crate) primary: u16,
}

/// Why a payload is not RED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedError {
    /// Ends inside the block headers, or the blocks are longer than the payload.
    #[error("the payload ends inside its redundant blocks")]
    Truncated,
}

impl Red {
    /// Reads the block headers (RFC 2198 §3).
    ///
    /// # Errors
    /// [`RedError::Truncated`].
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, RedError> {
        let mut headers = 0;
        let mut redundant = 0;
        loop {
            match payload.get(headers..) {
                Some([first, _, high, low, ..]) if first & 0x80 != 0 => {
                    redundant += usize::from(u16::from_be_bytes([high & 0x03, *low]));
                    headers += 4;
                }
                Some([first, ..]) if first & 0x80 == 0 => {
                    headers += 1;
                    break;
                }
                _ => return Err(RedError::Truncated),
            }
        }
        let primary = headers + redundant;
        if primary > payload.len() {
            return Err(RedError::Truncated);
        }
        u16::try_from(primary)
            .map(|primary| Self { primary })
            .map_err(|_| RedError::Truncated)
    }
}

/// Bytes of the header of a redundant block; the primary's has one.
pub(crate) const BLOCK_HEADER: usize = 4;

/// A redundant frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// How much older than the packet's own frame it is, in ticks of the clock.
    pub(crate) age: u16,
    pub(crate) data: &'a [u8],
}

impl Block<'_> {
    /// Whether a block's header can say it: 14 bits of age, 10 bits of length.
    pub(crate) const fn is_expressible(&self) -> bool {
        self.age > 0 && self.age < 1 << 14 && !self.data.is_empty() && self.data.len() < 1 << 10
    }
}

/// The redundant blocks of a payload that [`Red::parse`] accepted, as they stand there: the oldest first.
pub(crate) fn blocks(payload: &[u8]) -> impl Iterator<Item = Block<'_>> {
    let headers = payload.chunks(BLOCK_HEADER).take_while(|header| header[0] & 0x80 != 0);
    let mut data = payload
        .get(headers.clone().count() * BLOCK_HEADER + 1..)
        .unwrap_or_default();
    headers.map_while(move |header| {
        let [_, high, middle, low] = *header.first_chunk::<BLOCK_HEADER>()?;
        let (block, rest) = data.split_at_checked(usize::from(u16::from_be_bytes([middle & 0x03, low])))?;
        data = rest;
        Some(Block {
            age: u16::from(high) << 6 | u16::from(middle) >> 2,
            data: block,
        })
    })
}

/// Whether a payload that [`Red::parse`] accepted has more than one redundant block.
pub(crate) fn has_several_blocks(payload: &[u8]) -> bool {
    let is_redundant = |at: usize| payload.get(at).is_some_and(|first| first & 0x80 != 0);
    is_redundant(0) && is_redundant(BLOCK_HEADER)
}

/// The youngest `N` of [`blocks`], the oldest of them first.
pub(crate) fn last_blocks<const N: usize>(payload: &[u8]) -> ArrayVec<Block<'_>, N> {
    let mut last = ArrayVec::new();
    for block in blocks(payload) {
        if last.is_full() {
            last.remove(0);
        }
        last.push(block);
    }
    last
}

/// Writes a payload: redundant blocks, the oldest first, all [expressible](Block::is_expressible), and the packet's own frame. `out` must
/// have room for [`BLOCK_HEADER`] and the data of each, one byte, and the frame. The payload's length.
pub(crate) fn write<'a>(
    out: &mut [u8],
    redundant: impl Iterator<Item = &'a Block<'a>> + Clone,
    own: &[u8],
    payload_type: PayloadType,
) -> usize {
    let mut at = 0;
    for block in redundant.clone() {
        let [high, low] = (block.age << 2 | (block.data.len() >> 8) as u16).to_be_bytes();
        out[at..at + BLOCK_HEADER].copy_from_slice(&[0x80 | payload_type.0, high, low, block.data.len() as u8]);
        at += BLOCK_HEADER;
    }
    out[at] = payload_type.0 & 0x7f;
    at += 1;
    for data in redundant.map(|block| block.data).chain([own]) {
        out[at..at + data.len()].copy_from_slice(data);
        at += data.len();
    }
    at
}

/// Names `payload_type` in every block header of a payload that [`Red::parse`] accepted: each receiver has its own number for Opus.
pub(crate) fn set_block_payload_type(payload: &mut [u8], payload_type: PayloadType) {
    let mut at = 0;
    while let Some(first) = payload.get_mut(at) {
        let more = *first & 0x80;
        *first = more | payload_type.0 & 0x7f;
        if more == 0 {
            return;
        }
        at += 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn primary_blocks_are_found() {
        let table: [(&[u8], Result<u16, RedError>); 8] = [
            // The first packet of a stream has the primary block alone.
            (b"\x6fprimary", Ok(1)),
            (b"\xef\x0f\x00\x03\x6foldnew", Ok(8)),
            (b"\xef\x0f\x00\x03\xef\x07\x80\x02\x6fabcdenew", Ok(14)),
            // An empty primary block.
            (b"\xef\x0f\x00\x03\x6fold", Ok(8)),
            (b"\xef\x0f\x00\x04\x6fold", Err(RedError::Truncated)),
            (b"\xef\x0f\x00", Err(RedError::Truncated)),
            (b"\xef\x0f\x00\x03", Err(RedError::Truncated)),
            (b"", Err(RedError::Truncated)),
        ];
        for (payload, expected) in table {
            assert_eq!(Red::parse(payload).map(|red| red.primary), expected, "{payload:02x?}");
        }
    }

    #[test]
    fn blocks_take_the_receivers_payload_type() {
        let mut payload = *b"\xef\x0f\x00\x03\x6foldnew";
        set_block_payload_type(&mut payload, PayloadType(96));
        assert_eq!(&payload, b"\xe0\x0f\x00\x03\x60oldnew");
    }

    #[test]
    fn what_is_written_is_read() {
        let blocks = [
            Block {
                age: 16_383,
                data: &[7; 1_023],
            },
            Block { age: 960, data: b"b" },
        ];
        let mut out = vec![0; 2 * BLOCK_HEADER + 1_023 + 1 + 1 + 3];
        assert_eq!(write(&mut out, blocks.iter(), b"own", PayloadType(111)), out.len());
        let red = Red::parse(&out).unwrap();
        assert_eq!(&out[usize::from(red.primary)..], b"own");
        assert_eq!(super::blocks(&out).collect::<Vec<_>>(), blocks);
        assert!(blocks.iter().all(Block::is_expressible));
        let cannot = [(0, 3), (16_384, 3), (960, 0), (960, 1_024)];
        assert!(cannot.iter().all(|(age, len)| {
            !Block {
                age: *age,
                data: &out[..*len],
            }
            .is_expressible()
        }));
    }

    proptest! {
        #[test]
        fn blocks_lie_before_the_primary(payload: Vec<u8>) {
            if let Ok(red) = Red::parse(&payload) {
                let (count, bytes) = blocks(&payload).fold((0, 0), |(n, sum), block| (n + 1, sum + block.data.len()));
                prop_assert_eq!(has_several_blocks(&payload), count > 1);
                prop_assert_eq!(count * BLOCK_HEADER + 1 + bytes, usize::from(red.primary));
                let last = last_blocks::<3>(&payload);
                prop_assert_eq!(last.len(), count.min(3));
                prop_assert!(last.into_iter().eq(blocks(&payload).skip(count.saturating_sub(3))));
            } else {
                let _ = blocks(&payload).count();
            }
        }

        #[test]
        fn parsing_never_panics_and_renaming_keeps_the_blocks(payload: Vec<u8>, payload_type in 0_u8..128) {
            let parsed = Red::parse(&payload);
            let mut written = payload.clone();
            set_block_payload_type(&mut written, PayloadType(payload_type));
            if parsed.is_ok() {
                prop_assert_eq!(Red::parse(&written), parsed);
            }
        }
    }
}
