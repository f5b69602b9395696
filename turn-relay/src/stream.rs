//! Cutting TCP and TLS streams into messages, and framing what goes back.
//!
//! Both functions that look for a frame are pure: they look at what has arrived and say how long the first frame is. The caller keeps one
//! buffer for each connection, hands frames on where they lie, and moves what is left to the front after a read's last frame.

use std::ops::Range;

use crate::stun::{HEADER_LEN, MAGIC_COOKIE};

/// A whole frame at the start of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the message lies, without length prefix or padding.
    pub message: Range<usize>,
    /// How many bytes to take off the stream.
    pub len: usize,
}

/// Why a stream cannot go on: it has to be closed, for there is no way to find the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Neither STUN nor ChannelData.
    #[error("the stream is neither STUN nor ChannelData")]
    Unknown,
    /// Longer than this stream may have it.
    #[error("a message is too long")]
    TooLong,
}

/// The first message of a TURN stream (RFC 8656 §12.5, RFC 8489 §6.2.2): STUN, or ChannelData padded to four bytes. `None` if more bytes
/// are needed. `longest` bounds a message with header and padding: [`MAX_STREAM_MESSAGE`](crate::limits::MAX_STREAM_MESSAGE) or
/// [`MAX_RELAYED_MESSAGE`](crate::limits::MAX_RELAYED_MESSAGE).
///
/// # Errors
/// See [`FramingError`]. Told as early as the bytes show it.
pub fn turn_frame(bytes: &[u8], longest: usize) -> Result<Option<Frame>, FramingError> {
    let Some(first) = bytes.first() else {
        return Ok(None);
    };
    let header = match first {
        0x00..=0x3f => HEADER_LEN,
        0x40..=0x4f => 4,
        _ => return Err(FramingError::Unknown),
    };
    let &[_, _, high, low, ..] = bytes else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let is_stun = header == HEADER_LEN;
    if is_stun && !length.is_multiple_of(4) {
        return Err(FramingError::Unknown);
    }
    if is_stun
        && bytes
            .iter()
            .skip(4)
            .zip(MAGIC_COOKIE.to_be_bytes())
            .any(|(byte, cookie)| *byte != cookie)
    {
        return Err(FramingError::Unknown);
    }
    let message = header + length;
    let len = message.next_multiple_of(4);
    if len > longest {
        return Err(FramingError::TooLong);
    }
    Ok((bytes.len() >= len).then_some(Frame {
        message: 0..message,
        len,
    }))
}

/// The first packet of an ICE-TCP stream: two bytes of length, then the packet (RFC 4571 §2). `None` if more bytes are needed. A length
/// of zero is a frame without content (RFC 6544 §10.1 uses it to keep a path alive). `longest` bounds the packet.
///
/// # Errors
/// [`FramingError::TooLong`].
pub fn ice_frame(bytes: &[u8], longest: usize) -> Result<Option<Frame>, FramingError> {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > longest {
        return Err(FramingError::TooLong);
    }
    Ok((rest.len() >= length).then_some(Frame {
        message: 2..2 + length,
        len: 2 + length,
    }))
}

/// Bytes of padding behind a message of `len` bytes on a TURN stream. STUN messages never need any.
#[must_use]
pub const fn turn_padding(len: usize) -> usize {
    len.next_multiple_of(4) - len
}

/// The two bytes that go before a packet on an ICE-TCP stream; `None` if it is too long for them.
#[must_use]
pub fn ice_header(len: usize) -> Option<[u8; 2]> {
    u16::try_from(len).ok().map(u16::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_RELAYED_MESSAGE, MAX_STREAM_MESSAGE};
    use proptest::prelude::*;

    fn turn(bytes: &[u8]) -> Result<Option<Frame>, FramingError> {
        turn_frame(bytes, MAX_STREAM_MESSAGE)
    }

    fn ice(bytes: &[u8]) -> Result<Option<Frame>, FramingError> {
        ice_frame(bytes, MAX_STREAM_MESSAGE)
    }

    fn stun(len: usize) -> Vec<u8> {
        let mut bytes = vec![0, 1, (len >> 8) as u8, len as u8];
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.resize(HEADER_LEN + len, 9);
        bytes
    }

    fn channel_data(len: usize) -> Vec<u8> {
        let mut bytes = vec![0x40, 1, (len >> 8) as u8, len as u8];
        bytes.resize(4 + len, 7);
        bytes
    }

    /// Feeds `stream` in pieces that end where `cuts` says, as a connection does.
    fn cut(stream: &[u8], cuts: &[usize], frame: fn(&[u8]) -> Result<Option<Frame>, FramingError>) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut buffer: Vec<u8> = Vec::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([stream.len()]) {
            buffer.extend(&stream[from..to]);
            from = to;
            while let Some(found) = frame(&buffer).unwrap() {
                messages.push(buffer[found.message].to_vec());
                buffer.drain(..found.len);
            }
        }
        assert!(buffer.is_empty(), "whole messages leave nothing behind");
        messages
    }

    #[test]
    fn messages_come_out_whole_wherever_the_stream_is_split() {
        let messages = [
            stun(0),
            channel_data(0),
            channel_data(1),
            stun(8),
            channel_data(4),
            channel_data(7),
            stun(4),
        ];
        let mut stream = Vec::new();
        let mut framed = Vec::new();
        for message in &messages {
            stream.extend(message);
            stream.extend(vec![0; turn_padding(message.len())]);
            framed.extend(ice_header(message.len()).unwrap());
            framed.extend(message);
        }
        for first in 0..=stream.len() {
            assert_eq!(cut(&stream, &[first], turn), messages, "split at {first}");
        }
        for first in 0..=framed.len() {
            assert_eq!(cut(&framed, &[first], ice), messages, "split at {first}");
        }
        let every: Vec<usize> = (0..stream.len()).collect();
        assert_eq!(cut(&stream, &every, turn), messages, "byte by byte");
        let every: Vec<usize> = (0..framed.len()).collect();
        assert_eq!(cut(&framed, &every, ice), messages, "byte by byte");
    }

    proptest! {
        #[test]
        fn any_messages_in_any_pieces(
            lens in prop::collection::vec((any::<bool>(), 0_usize..300), 1..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let messages: Vec<Vec<u8>> = lens
                .into_iter()
                .map(|(is_stun, len)| if is_stun { stun(len / 4 * 4) } else { channel_data(len) })
                .collect();
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend(message);
                stream.extend(vec![0xaa; turn_padding(message.len())]);
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(cut(&stream, &cuts, turn), messages);
        }
    }

    #[test]
    fn what_is_no_message_ends_the_stream_at_its_first_wrong_byte() {
        for (bytes, expected) in [
            (&[0x50_u8][..], Err(FramingError::Unknown)),
            (&[0x80], Err(FramingError::Unknown)),
            (b"GET / HTTP/1.1", Ok(None)),
            (&[0, 1, 0, 3], Err(FramingError::Unknown)),
            (&[0, 1, 0, 0, 0x21], Ok(None)),
            (&[0, 1, 0, 0, 0x22], Err(FramingError::Unknown)),
            (&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x43], Err(FramingError::Unknown)),
            (&[0, 1, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42], Err(FramingError::TooLong)),
            (&[0x40, 0, 0xff, 0xff], Err(FramingError::TooLong)),
            (&[], Ok(None)),
        ] {
            // 'G' is 0x47, the first byte of a channel: the connection was told apart before, so that does not come here.
            let found = turn(bytes);
            match expected {
                Ok(None) if bytes.first() == Some(&b'G') => assert!(matches!(found, Ok(None) | Err(_))),
                _ => assert_eq!(found, expected, "{bytes:02x?}"),
            }
        }
        assert_eq!(ice(&[0xff, 0xff]), Err(FramingError::TooLong));
        assert_eq!(ice(&[0, 0, 1]), Ok(Some(Frame { message: 2..2, len: 2 })));
    }

    // RFC 8656 §12.4 and RFC 8489 §5: 16 bits of length, which count the payload alone.
    #[test]
    fn the_public_relay_takes_whatever_a_length_can_tell() {
        let whole = |message: &[u8]| turn_frame(message, MAX_RELAYED_MESSAGE).map(|frame| frame.map(|frame| frame.len));
        let mut longest = channel_data(65_535);
        assert_eq!(whole(&longest), Ok(None), "its padding is missing");
        longest.push(0);
        assert_eq!(whole(&longest), Ok(Some(65_540)));
        assert_eq!(whole(&stun(65_532)), Ok(Some(65_552)));
        assert_eq!(turn(&longest), Err(FramingError::TooLong), "not into the media core");
    }
}
