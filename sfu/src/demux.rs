//! What kind of datagram this is, by its first bytes (RFC 7983, RFC 5761).

/// What a datagram claims to be. Nothing is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Datagram {
    /// STUN's Binding, which ICE checks with (first byte 0..=3, magic cookie in place).
    Stun,
    /// STUN of any other method: TURN's requests and indications.
    Turn,
    /// DTLS (first byte 20..=63).
    Dtls,
    /// TURN's ChannelData (first byte 64..=79).
    ChannelData,
    /// SRTP.
    Rtp,
    /// SRTCP: an RTCP packet type where RTP has marker and payload type (RFC 5761 §4).
    Rtcp,
}

/// Classifies a datagram; `None` for what fits nothing, or is shorter than the shortest header of its kind.
#[must_use]
pub(crate) fn classify(datagram: &[u8]) -> Option<Datagram> {
    match *datagram.first()? {
        0..=3 if datagram.len() >= 20 && datagram[4..8] == [0x21, 0x12, 0xa4, 0x42] => {
            // The bits of the method are around those of the class (RFC 8489 §5).
            let method = u16::from_be_bytes([datagram[0], datagram[1]]) & 0x3eef;
            Some(if method == 0x0001 {
                Datagram::Stun
            } else {
                Datagram::Turn
            })
        }
        20..=63 if datagram.len() >= 13 => Some(Datagram::Dtls),
        64..=79 if datagram.len() >= 4 => Some(Datagram::ChannelData),
        128..=191 if datagram.len() >= 8 => match datagram[1] {
            192..=223 => Some(Datagram::Rtcp),
            _ if datagram.len() >= 12 => Some(Datagram::Rtp),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_rfc_7983_and_rfc_5761() {
        let make = |first: u8, second: u8, len: usize| {
            let mut bytes = vec![0; len];
            for (at, byte) in [first, second].into_iter().enumerate().take(len) {
                bytes[at] = byte;
            }
            if len >= 8 && first < 4 {
                bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
            }
            bytes
        };
        for (first, second, len, expected) in [
            (0, 1, 20, Some(Datagram::Stun)),
            (1, 1, 20, Some(Datagram::Stun)),
            (1, 0x11, 20, Some(Datagram::Stun)),
            (0, 3, 20, Some(Datagram::Turn)),
            (0, 0x16, 20, Some(Datagram::Turn)),
            (3, 1, 20, Some(Datagram::Turn)),
            (0, 1, 19, None),
            (4, 0, 100, None),
            (19, 0, 100, None),
            (20, 254, 13, Some(Datagram::Dtls)),
            (22, 254, 12, None),
            (63, 254, 100, Some(Datagram::Dtls)),
            (64, 0, 4, Some(Datagram::ChannelData)),
            (79, 0, 4, Some(Datagram::ChannelData)),
            (64, 0, 3, None),
            (80, 0, 100, None),
            (127, 0, 100, None),
            (128, 96, 12, Some(Datagram::Rtp)),
            (128, 96, 11, None),
            // Marker set on payload type 63 (191) and 96 (224): RTP. In between lie the RTCP packet types.
            (144, 191, 12, Some(Datagram::Rtp)),
            (144, 224, 12, Some(Datagram::Rtp)),
            (128, 192, 8, Some(Datagram::Rtcp)),
            (128, 200, 8, Some(Datagram::Rtcp)),
            (191, 223, 8, Some(Datagram::Rtcp)),
            (128, 200, 7, None),
            (192, 200, 100, None),
            (255, 0, 100, None),
        ] {
            assert_eq!(classify(&make(first, second, len)), expected, "{first} {second} {len}");
        }
        assert_eq!(classify(&[]), None);
        assert_eq!(classify(&[0; 20]), None, "no magic cookie");
    }
}
