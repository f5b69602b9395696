//! ChannelData (RFC 8656 §12.4), and how payload is framed on its way back to a client, in place.

use std::ops::Range;

use crate::address::PeerAddr;
use crate::stun::{AttributeType, Builder, Class, HEADER_LEN, Method, TransactionId};

/// Bytes of a ChannelData header: channel number and length.
pub(crate) const CHANNEL_HEADER_LEN: usize = 4;

/// A channel number in the range that RFC 8656 §12 allows, 0x4000..=0x4fff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelNumber(u16);

impl ChannelNumber {
    /// `None` outside of the range.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if matches!(number, 0x4000..=0x4fff) {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A ChannelData message found in a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelData {
    /// The channel.
    pub channel: ChannelNumber,
    /// Where in the datagram the application data lies.
    pub payload: Range<usize>,
}

impl ChannelData {
    /// Reads the header. `None` if the channel is out of range, or the datagram is shorter than the header claims (§12.6). Bytes
    /// behind the application data are padding, which §12.5 allows over UDP too.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let (&[channel_high, channel_low, length_high, length_low], rest) = datagram.split_first_chunk()?;
        let channel = ChannelNumber::new(u16::from_be_bytes([channel_high, channel_low]))?;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        (length <= rest.len()).then_some(Self {
            channel,
            payload: CHANNEL_HEADER_LEN..CHANNEL_HEADER_LEN + length,
        })
    }
}

/// How payload from a peer is wrapped for the client: a ChannelData message if a channel is bound, else a Data indication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Four bytes in front.
    Channel(ChannelNumber),
    /// A STUN header, XOR-PEER-ADDRESS and the header of DATA in front, up to three bytes of padding behind.
    Indication {
        /// The peer the payload comes from.
        peer: PeerAddr,
        /// Any number that no other message in flight has.
        id: TransactionId,
    },
}

impl Framing {
    /// The most bytes any framing needs in front of the payload: an indication that names an IPv6 peer.
    pub const MAX_HEADROOM: usize = HEADER_LEN + 4 + 20 + 4;

    /// The most bytes any framing needs behind the payload.
    pub const MAX_TAIL: usize = 3;

    /// Bytes needed in front of the payload.
    #[must_use]
    pub fn headroom(&self) -> usize {
        match self {
            Self::Channel(_) => CHANNEL_HEADER_LEN,
            // An IPv4-mapped address is written as IPv4, like everywhere.
            Self::Indication { peer, .. } if peer.get().ip().to_canonical().is_ipv4() => HEADER_LEN + 4 + 8 + 4,
            Self::Indication { .. } => Self::MAX_HEADROOM,
        }
    }

    /// For another payload of the same kind: an indication gets the next transaction id.
    pub fn advance(&mut self) {
        if let Self::Indication { id, .. } = self {
            let [.., last_but_three, last_but_two, last_but_one, last] = &mut id.0;
            let number = u32::from_be_bytes([*last_but_three, *last_but_two, *last_but_one, *last]).wrapping_add(1);
            [*last_but_three, *last_but_two, *last_but_one, *last] = number.to_be_bytes();
        }
    }

    /// Bytes needed behind a payload of `len` bytes, on a datagram transport.
    #[must_use]
    pub fn tail(&self, len: usize) -> usize {
        match self {
            Self::Channel(_) => 0,
            Self::Indication { .. } => len.next_multiple_of(4) - len,
        }
    }

    /// Wraps the payload that lies at `buffer[headroom..headroom + len]` and returns the length of the whole message, which begins at
    /// the start of `buffer`. The payload is not touched. `None` if the buffer is too short, or the length is more than 16 bits can tell.
    pub fn write(&self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let headroom = self.headroom();
        let total = headroom + len + self.tail(len);
        let told = match self {
            Self::Channel(_) => len,
            Self::Indication { .. } => total - HEADER_LEN,
        };
        if told > usize::from(u16::MAX) || buffer.len() < total {
            return None;
        }
        match self {
            Self::Channel(channel) => {
                buffer[..2].copy_from_slice(&channel.get().to_be_bytes());
                buffer[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            }
            Self::Indication { peer, id } => {
                let mut builder = Builder::new(&mut buffer[..headroom - 4], Class::Indication, Method::DATA, *id);
                builder.xor_address(AttributeType::XOR_PEER_ADDRESS, peer.get());
                builder.finish().ok()?;
                buffer[2..4].copy_from_slice(&((total - HEADER_LEN) as u16).to_be_bytes());
                buffer[headroom - 4..headroom - 2].copy_from_slice(&AttributeType::DATA.0.to_be_bytes());
                buffer[headroom - 2..headroom].copy_from_slice(&(len as u16).to_be_bytes());
                buffer[headroom + len..total].fill(0);
            }
        }
        Some(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::Message;

    #[test]
    fn channel_numbers_of_rfc_8656() {
        for (number, fine) in [
            (0x3fff, false),
            (0x4000, true),
            (0x4fff, true),
            (0x5000, false),
            (0x7fff, false),
            (0xffff, false),
        ] {
            assert_eq!(ChannelNumber::new(number).is_some(), fine, "{number:#x}");
        }
    }

    #[test]
    fn channel_data_is_found_where_it_lies() {
        let parse = |bytes: &[u8]| ChannelData::parse(bytes).map(|data| (data.channel.get(), data.payload));
        assert_eq!(parse(&[0x40, 0, 0, 2, 7, 8]), Some((0x4000, 4..6)));
        assert_eq!(parse(&[0x40, 0, 0, 1, 7, 0, 0, 0]), Some((0x4000, 4..5)), "padding");
        // §12.4: "Note that 0 is a valid length."
        assert_eq!(parse(&[0x4f, 0xff, 0, 0]), Some((0x4fff, 4..4)));
        assert_eq!(parse(&[0x40, 0, 0, 3, 7, 8]), None, "shorter than claimed");
        assert_eq!(parse(&[0x50, 0, 0, 0]), None, "reserved range");
        assert_eq!(parse(&[0x40, 0, 0]), None);
    }

    #[test]
    fn payload_is_wrapped_in_place() {
        for peer in ["192.0.2.7:4000", "[2001:db8::7]:4000"] {
            let peer = PeerAddr::new(peer.parse().unwrap());
            for len in 0..9 {
                let id = TransactionId([3; 12]);
                for framing in [
                    Framing::Channel(ChannelNumber::new(0x4001).unwrap()),
                    Framing::Indication { peer, id },
                ] {
                    let head = framing.headroom();
                    let mut buffer = vec![0xee; head + len + 3];
                    for (at, byte) in buffer[head..head + len].iter_mut().enumerate() {
                        *byte = at as u8;
                    }
                    let total = framing.write(&mut buffer, len).unwrap();
                    let expected: Vec<u8> = (0..len as u8).collect();
                    match framing {
                        Framing::Channel(channel) => {
                            let data = ChannelData::parse(&buffer[..total]).unwrap();
                            assert_eq!((data.channel, &buffer[data.payload]), (channel, &expected[..]));
                        }
                        Framing::Indication { .. } => {
                            let message = Message::parse(&buffer[..total]).unwrap();
                            assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
                            assert_eq!(message.xor_address(AttributeType::XOR_PEER_ADDRESS), Some(peer.get()));
                            assert_eq!(message.get(AttributeType::DATA), Some(&expected[..]));
                            assert_eq!(message.position(AttributeType::DATA), Some(head..head + len));
                        }
                    }
                    assert_eq!(framing.write(&mut buffer[..total - 1], len), None, "too short");
                }
            }
        }
    }

    #[test]
    fn a_length_of_more_than_16_bits_is_not_written() {
        let peer = |text: &str| Framing::Indication {
            peer: PeerAddr::new(text.parse().unwrap()),
            id: TransactionId([3; 12]),
        };
        let channel = Framing::Channel(ChannelNumber::new(0x4001).unwrap());
        let mut buffer = vec![0; 66_000];
        // The longest datagrams of IPv4 and IPv6 have 65,507 and 65,527 bytes.
        for (framing, longest) in [
            (channel, 65_535),
            (peer("192.0.2.7:4000"), 65_516),
            (peer("[2001:db8::7]:4000"), 65_504),
        ] {
            assert!(framing.write(&mut buffer, longest).is_some(), "{framing:?}");
            assert_eq!(framing.write(&mut buffer, longest + 1), None, "{framing:?}");
        }
    }
}
