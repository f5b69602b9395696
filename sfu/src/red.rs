//! Redundant audio (RFC 2198): a primary Opus frame with older ones in front of it.

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

    proptest! {
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
