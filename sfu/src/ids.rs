//! Names of things, one type per kind, so that they cannot be mixed up.
//!
//! Room and participant numbers are opaque here: whoever drives the media core chooses them and knows what they stand for.

use std::fmt;

use arrayvec::ArrayString;

/// A room: the set of participants whose tracks can be forwarded to each other. Lives on one shard for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u64);

/// One participant of one room, which is one transport. Unique over all rooms of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantId(pub u64);

/// Somebody who may use the relay, over all connections. Seen on the wire, so it must say nothing about anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayUserId(pub u64);

impl fmt::Display for RelayUserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One published track (a microphone or a camera with all its layers). Unique over all rooms of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u64);

/// An RTP synchronisation source (RFC 3550 §3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssrc(pub u32);

impl fmt::Debug for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ssrc({:#010x})", self.0)
    }
}

/// An RTP payload type, 0..=127.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadType(pub u8);

/// A media line's identification tag (RFC 8843 `mid`), at most 16 bytes; browsers use "0", "1", …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mid(ArrayString<16>);

/// A simulcast layer's name within its media line (RFC 8852 `rid`), at most 16 bytes. People tend to just call it rid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rid(ArrayString<16>);

macro_rules! short_name {
    ($name:ident) => {
        impl $name {
            /// Takes 1 to 16 visible ASCII bytes; anything else is `None`.
            #[must_use]
            pub fn new(text: &str) -> Option<Self> {
                let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
                if !fits {
                    return None;
                }
                ArrayString::from(text).ok().map(Self)
            }

            /// Same as [`Self::new`] for bytes as they come out of a header extension.
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                std::str::from_utf8(bytes).ok().and_then(Self::new)
            }

            /// The tag as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
short_name!(Mid);
short_name!(Rid);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_short_visible_ascii() {
        assert_eq!(Mid::new("0").map(|m| m.to_string()), Some("0".to_owned()));
        for bad in ["", "a b", "ümlaut", "12345678901234567"] {
            assert_eq!(Mid::new(bad), None, "{bad:?}");
        }
        assert_eq!(Rid::from_bytes(&[0xff]), None);
    }
}
