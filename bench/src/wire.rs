//! RTP as the generator writes and reads it.

use crate::offer::{LEVEL_ID, MID_ID, OPUS, RID_ID, RTX, TWCC_ID, VP8};

/// Bytes of the fixed header.
pub(crate) const FIXED: usize = 12;
/// Bytes of a VP8 descriptor with picture id and TL0PICIDX, and of a key frame's header behind it.
const VP8_DESCRIPTOR: usize = 5;
const VP8_KEY_FRAME: usize = 10;
/// Where in a video payload the time of sending stands: behind everything that a server reads or rewrites.
const VIDEO_STAMP: usize = 16;
/// The same in an audio payload.
const AUDIO_STAMP: usize = 8;

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Audio,
    Video,
}

impl Media {
    /// Where the time of sending stands in the payload.
    fn stamp(self) -> usize {
        match self {
            Self::Audio => AUDIO_STAMP,
            Self::Video => VIDEO_STAMP,
        }
    }
}

/// The header of a packet to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) media: Media,
    pub(crate) marker: bool,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// Transport-wide number.
    pub(crate) transport_wide: u16,
    /// Mid and rid, as browsers say them until they are known to be heard.
    pub(crate) names: Option<(&'a str, Option<&'a str>)>,
}

impl Header<'_> {
    /// Writes it and returns its length.
    pub(crate) fn write(&self, packet: &mut [u8]) -> usize {
        let (payload_type, level) = match self.media {
            Media::Audio => (OPUS, true),
            Media::Video => (VP8, false),
        };
        packet[0] = 0x90;
        packet[1] = payload_type | u8::from(self.marker) << 7;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let mut at = FIXED + 4;
        let mut element = |id: u8, data: &[u8]| {
            packet[at] = id << 4 | (data.len() as u8 - 1);
            packet[at + 1..=at + data.len()].copy_from_slice(data);
            at += 1 + data.len();
        };
        element(TWCC_ID, &self.transport_wide.to_be_bytes());
        if level {
            element(LEVEL_ID, &[0x80 | 30]);
        }
        if let Some((mid, rid)) = self.names {
            element(MID_ID, mid.as_bytes());
            if let Some(rid) = rid {
                element(RID_ID, rid.as_bytes());
            }
        }
        while !(at - FIXED).is_multiple_of(4) {
            packet[at] = 0;
            at += 1;
        }
        let words = (at - FIXED - 4) / 4;
        packet[FIXED..FIXED + 4].copy_from_slice(&[0xbe, 0xde, 0, words as u8]);
        at
    }
}

/// Where a video packet stands in its frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picture {
    /// Number of the frame.
    pub(crate) frame: u64,
    /// The frame's first packet.
    pub(crate) first: bool,
    /// Of a key frame.
    pub(crate) key: bool,
    /// Pixels of a key frame.
    pub(crate) size: (u16, u16),
}

impl Picture {
    /// Writes the beginning of a VP8 payload: descriptor with a picture id of fifteen bits and TL0PICIDX, then the frame's header.
    pub(crate) fn write(&self, payload: &mut [u8]) {
        let picture = (self.frame as u16) & 0x7fff | 0x8000;
        payload[0] = 0x80 | if self.first { 0x10 } else { 0 };
        payload[1] = 0xc0;
        payload[2..4].copy_from_slice(&picture.to_be_bytes());
        payload[4] = self.frame as u8;
        let header = &mut payload[VP8_DESCRIPTOR..VP8_DESCRIPTOR + VP8_KEY_FRAME];
        header.fill(0x11);
        header[0] = u8::from(!self.key);
        if self.key && self.first {
            header[1..6].copy_from_slice(&[0, 0, 0x9d, 0x01, 0x2a]);
            header[6..8].copy_from_slice(&self.size.0.to_le_bytes());
            header[8..10].copy_from_slice(&self.size.1.to_le_bytes());
        }
    }
}

/// Puts the time of sending into a payload.
pub(crate) fn write_stamp(media: Media, payload: &mut [u8], nanos: u64) {
    let at = media.stamp();
    payload[at..at + 8].copy_from_slice(&nanos.to_be_bytes());
}

/// Reads it.
pub(crate) fn read_stamp(media: Media, payload: &[u8]) -> Option<u64> {
    let at = media.stamp();
    Some(u64::from_be_bytes(payload.get(at..at + 8)?.try_into().ok()?))
}

/// What a received datagram is, from its clear bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Media(Packet),
    /// A retransmission or padding: of the transport, but of no stream that is counted.
    Repair {
        transport_wide: Option<u16>,
    },
    Control,
    Stun,
    Other,
}

/// A media packet's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) media: Media,
    pub(crate) sequence: u16,
    pub(crate) ssrc: u32,
    /// With extension.
    pub(crate) header: usize,
    pub(crate) transport_wide: Option<u16>,
}

impl Received {
    pub(crate) fn parse(datagram: &[u8]) -> Self {
        match datagram {
            [0..=3, ..] => Self::Stun,
            [first, second, ..] if first >> 6 == 2 && datagram.len() > FIXED => {
                if (192..=223).contains(second) {
                    return Self::Control;
                }
                let (header, transport_wide) = extension(datagram);
                let media = match second & 0x7f {
                    OPUS => Media::Audio,
                    VP8 => Media::Video,
                    RTX => return Self::Repair { transport_wide },
                    _ => return Self::Other,
                };
                Self::Media(Packet {
                    media,
                    sequence: u16::from_be_bytes([datagram[2], datagram[3]]),
                    ssrc: u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]),
                    header,
                    transport_wide,
                })
            }
            _ => Self::Other,
        }
    }
}

/// Length of the whole header, and the transport-wide number in its one-byte extension.
fn extension(packet: &[u8]) -> (usize, Option<u16>) {
    if packet[0] & 0x10 == 0 || packet.len() < FIXED + 4 {
        return (FIXED, None);
    }
    let end = FIXED + 4 + 4 * usize::from(u16::from_be_bytes([packet[14], packet[15]]));
    let mut rest = packet.get(FIXED + 4..end).unwrap_or_default();
    while let [head, after @ ..] = rest {
        let len = usize::from(head & 0x0f) + 1;
        match head >> 4 {
            0 => rest = after,
            TWCC_ID if len == 2 && after.len() >= 2 => return (end, Some(u16::from_be_bytes([after[0], after[1]]))),
            15 => break,
            _ => rest = after.get(len..).unwrap_or_default(),
        }
    }
    (end, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (media, names) in [
            (Media::Audio, None),
            (Media::Audio, Some(("0", None))),
            (Media::Video, None),
            (Media::Video, Some(("1", Some("h")))),
        ] {
            let mut packet = [0; 200];
            let header = Header {
                media,
                marker: true,
                sequence: 60_000,
                timestamp: 9,
                ssrc: 0xabcd,
                transport_wide: 77,
                names,
            };
            let len = header.write(&mut packet);
            assert!(len.is_multiple_of(4));
            let payload = &mut packet[len..];
            if media == Media::Video {
                let picture = Picture {
                    frame: 3,
                    first: true,
                    key: true,
                    size: (1_280, 720),
                };
                picture.write(payload);
                assert_eq!(&payload[5..15], [0, 0, 0, 0x9d, 1, 0x2a, 0, 5, 0xd0, 2]);
            }
            write_stamp(media, payload, 12_345);
            assert_eq!(read_stamp(media, payload), Some(12_345));
            let expected = Packet {
                media,
                sequence: 60_000,
                ssrc: 0xabcd,
                header: len,
                transport_wide: Some(77),
            };
            assert_eq!(Received::parse(&packet), Received::Media(expected));
        }
        assert_eq!(Received::parse(&[0, 1, 0, 0]), Received::Stun);
        assert_eq!(Received::parse(&[0x80; 4]), Received::Other);
        let mut control = [0x81; 20];
        control[1] = 205;
        assert_eq!(Received::parse(&control), Received::Control);
    }

    #[test]
    fn a_stamp_leaves_what_servers_read_alone() {
        const { assert!(VIDEO_STAMP >= VP8_DESCRIPTOR + VP8_KEY_FRAME) }
        assert_eq!(read_stamp(Media::Audio, &[0; 10]), None);
    }
}
