//! Retransmissions (RFC 4588 §4): the original sequence number, then the original payload.

/// What a packet on a retransmission SSRC brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retransmission<'a> {
    /// Nothing but padding. Browsers probe the path with such packets before they send their first picture.
    Padding,
    /// A packet that was sent before.
    Packet {
        /// Its sequence number on the layer's own SSRC.
        original_sequence: u16,
        /// Its payload, which lies [`HEADER`] bytes after the start of the retransmission's payload. May be empty.
        payload: &'a [u8],
    },
    /// One byte: neither.
    Truncated,
}

/// Bytes that stand before the original payload.
pub(crate) const HEADER: usize = 2;

/// Reads the payload of a decrypted packet, its RTP padding removed.
pub(crate) fn read(payload: &[u8]) -> Retransmission<'_> {
    match payload {
        [] => Retransmission::Padding,
        [_] => Retransmission::Truncated,
        [high, low, payload @ ..] => Retransmission::Packet {
            original_sequence: u16::from_be_bytes([*high, *low]),
            payload,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads() {
        assert_eq!(read(&[]), Retransmission::Padding);
        assert_eq!(read(&[1]), Retransmission::Truncated);
        for payload in [&[][..], &[9, 8, 7]] {
            let packet = [&[0x12, 0x34], payload].concat();
            let expected = Retransmission::Packet {
                original_sequence: 0x1234,
                payload,
            };
            assert_eq!(read(&packet), expected);
            assert_eq!(&packet[HEADER..], payload);
        }
    }
}
