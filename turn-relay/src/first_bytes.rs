//! Which protocol a new connection on the one port speaks, by its first bytes. The client speaks first in all of them.

use crate::limits::FIRST_BYTES;
use crate::stun::MAGIC_COOKIE;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A TLS handshake record (RFC 8446 §5.1).
    Tls,
    /// STUN as TURN frames it on streams.
    Turn,
    /// RFC 4571 framing whose first packet is STUN: ICE over TCP (RFC 6544).
    IceTcp,
    /// A method of HTTP/1, or the preface of HTTP/2.
    Http,
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FirstBytes {
    /// It is this.
    Known(Protocol),
    /// More bytes are needed, [`FIRST_BYTES`] at most.
    More,
    /// None of ours: close the connection without a word.
    Refused,
}

/// Looks at the first bytes of a connection. They are not taken off: whoever serves the protocol reads them again.
#[must_use]
pub fn first_bytes(bytes: &[u8]) -> FirstBytes {
    let Some(first) = bytes.first() else {
        return FirstBytes::More;
    };
    match first {
        0x16 => match bytes.get(1) {
            Some(3) => FirstBytes::Known(Protocol::Tls),
            Some(_) => stun(bytes),
            None => FirstBytes::More,
        },
        b'A'..=b'Z' => http(bytes),
        _ => stun(bytes),
    }
}

/// The same inside of TLS, when the client named no protocol by ALPN: TLS in TLS is not spoken here.
#[must_use]
pub fn first_bytes_in_tls(bytes: &[u8]) -> FirstBytes {
    match first_bytes(bytes) {
        FirstBytes::Known(Protocol::Tls) => FirstBytes::Refused,
        other => other,
    }
}

/// A method is a word of capitals and a space (RFC 9110 §9.1; others exist, none that we serve).
fn http(bytes: &[u8]) -> FirstBytes {
    for byte in bytes.iter().take(FIRST_BYTES) {
        match byte {
            b' ' => return FirstBytes::Known(Protocol::Http),
            b'A'..=b'Z' => {}
            _ => return FirstBytes::Refused,
        }
    }
    if bytes.len() < FIRST_BYTES {
        FirstBytes::More
    } else {
        FirstBytes::Refused
    }
}

/// STUN has its cookie at 4, behind an RFC 4571 length at 6. A STUN length that looks like half a cookie is not possible: it would not be
/// a multiple of four.
fn stun(bytes: &[u8]) -> FirstBytes {
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let at = |offset: usize| {
        let seen = bytes.get(offset..).unwrap_or_default();
        cookie.iter().zip(seen).all(|(expected, byte)| expected == byte)
    };
    let is_plain = bytes[0] & 0xc0 == 0 && at(4);
    let is_framed = bytes.get(2).is_none_or(|byte| byte & 0xc0 == 0) && at(6);
    match (is_plain, is_framed) {
        (true, _) if bytes.len() >= 8 => FirstBytes::Known(Protocol::Turn),
        (false, true) if bytes.len() >= FIRST_BYTES => FirstBytes::Known(Protocol::IceTcp),
        (false, false) => FirstBytes::Refused,
        _ => FirstBytes::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: [u8; 12] = [0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4];
    const ICE: [u8; 12] = [0, 100, 0, 1, 0, 80, 0x21, 0x12, 0xa4, 0x42, 1, 2];

    /// What is said at last when the bytes come one by one, and after how many.
    fn decided(bytes: &[u8]) -> (FirstBytes, usize) {
        for len in 0..=bytes.len() {
            match first_bytes(&bytes[..len]) {
                FirstBytes::More => {}
                decided => {
                    for longer in len..=bytes.len() {
                        assert_eq!(
                            first_bytes(&bytes[..longer]),
                            decided,
                            "more bytes do not change it: {bytes:02x?}"
                        );
                    }
                    return (decided, len);
                }
            }
        }
        (FirstBytes::More, bytes.len())
    }

    #[test]
    fn each_protocol_is_known_by_its_first_bytes() {
        use FirstBytes::{Known, More, Refused};
        use Protocol::{Http, IceTcp, Tls, Turn};
        for (bytes, expected) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], (Known(Tls), 2)),
            (&TURN, (Known(Turn), 8)),
            (&ICE, (Known(IceTcp), 10)),
            (b"GET / HTTP/1.1\r\n", (Known(Http), 4)),
            (b"PRI * HTTP/2.0\r\n", (Known(Http), 4)),
            (b"OPTIONS / HTTP/1.1\r\n", (Known(Http), 8)),
            (b"PROPFIND / HTTP/1.1\r\n", (Known(Http), 9)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", (Refused, 4)),
            (b"AVERYLONGMETHOD / ", (Refused, 10)),
            (b"get / HTTP/1.1", (Refused, 3)),
            (b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01", (Refused, 7)),
            (b"\x16\x04\x01\x02\x00\x01\x00\x00\x00\x00", (Refused, 7)),
            (b"\x80\x60\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", (Refused, 7)),
            (b"", (More, 0)),
            (b"GE", (More, 2)),
            (b"\x16", (More, 1)),
            (&TURN[..7], (More, 7)),
            (&ICE[..9], (More, 9)),
        ] {
            assert_eq!(decided(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn ice_frames_of_any_length_are_told_from_turn() {
        for len in 20_u16..=1_500 {
            for kind in [0x0001_u16, 0x0101] {
                let mut bytes = len.to_be_bytes().to_vec();
                bytes.extend(kind.to_be_bytes());
                bytes.extend((len - 20).to_be_bytes());
                bytes.extend(MAGIC_COOKIE.to_be_bytes());
                if bytes[0] == 0x16 && bytes[1] == 3 {
                    continue; // A frame of 5,635 bytes: no check is that long.
                }
                assert_eq!(first_bytes(&bytes), FirstBytes::Known(Protocol::IceTcp), "length {len}");
            }
        }
    }

    #[test]
    fn in_tls_there_is_no_tls() {
        assert_eq!(first_bytes_in_tls(b"\x16\x03\x01"), FirstBytes::Refused);
        assert_eq!(first_bytes_in_tls(b"GET / "), FirstBytes::Known(Protocol::Http));
        assert_eq!(first_bytes_in_tls(&TURN), FirstBytes::Known(Protocol::Turn));
    }
}
