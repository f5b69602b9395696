//! RTCP: reading what peers send and writing what we send (RFC 3550 §6, RFC 4585, RFC 5104, RFC 5506).
//!
//! Reading: [`parse`] walks a decrypted datagram and yields one [`Packet`] after another, all borrowed from the datagram. Nothing
//! panics and nothing is allocated; each packet's inner lists were checked before it is handed out, so walking them cannot fail.
//! Writing: a [`Writer`] appends packets to the caller's buffer; transport-wide feedback has a builder of its own in [`twcc`].
//!
//! Reduced-size packets (RFC 5506) need no special care here: no order of packets is assumed.

mod feedback;
#[cfg(test)]
mod oracle_tests;
mod reports;
pub(crate) mod twcc;
mod write;

pub(crate) use feedback::{FullIntraRequest, Nack, PictureLoss, Remb};
pub(crate) use reports::{Goodbye, ReceiverReport, ReportBlock, SenderInfo, SenderReport, SourceDescription};
pub(crate) use twcc::TransportFeedback;
pub(crate) use write::Writer;

use crate::ids::Ssrc;
use crate::limits;

/// Packet types (RFC 3550 §12.1, RFC 4585 §6.1).
mod packet_type {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SOURCE_DESCRIPTION: u8 = 202;
    pub(super) const GOODBYE: u8 = 203;
    pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
    pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
}

/// Feedback message types: the header's five count bits in packets of types 205 and 206.
mod format {
    /// Generic NACK (RFC 4585 §6.2.1).
    pub(super) const NACK: u8 = 1;
    /// Transport-wide congestion control feedback.
    pub(super) const TRANSPORT_WIDE: u8 = 15;
    /// Picture loss indication (RFC 4585 §6.3.1).
    pub(super) const PICTURE_LOSS: u8 = 1;
    /// Full intra request (RFC 5104 §4.3.1).
    pub(super) const FULL_INTRA_REQUEST: u8 = 4;
    /// Application layer feedback, of which REMB is one.
    pub(super) const APPLICATION: u8 = 15;
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packet<'a> {
    /// SR (RFC 3550 §6.4.1).
    SenderReport(SenderReport<'a>),
    /// RR (RFC 3550 §6.4.2).
    ReceiverReport(ReceiverReport<'a>),
    /// SDES (RFC 3550 §6.5), of which only the CNAME is of use.
    SourceDescription(SourceDescription<'a>),
    /// BYE (RFC 3550 §6.6).
    Goodbye(Goodbye<'a>),
    /// Generic NACK (RFC 4585 §6.2.1).
    Nack(Nack<'a>),
    /// Transport-wide congestion control feedback.
    TransportFeedback(TransportFeedback<'a>),
    /// PLI (RFC 4585 §6.3.1).
    PictureLoss(PictureLoss),
    /// FIR (RFC 5104 §4.3.1).
    FullIntraRequest(FullIntraRequest<'a>),
    /// REMB (draft-alvestrand-rmcat-remb-03).
    Remb(Remb<'a>),
    /// Well-formed, but nothing this server acts on.
    Other,
}

/// What was wrong with a compound or one packet of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// A header that is not RTCP version 2, or whose length or padding goes past the end. Nothing after it can be read.
    #[error("broken RTCP header")]
    Header,
    /// One packet's content does not fit its header. What follows is still read.
    #[error("malformed RTCP packet of type {packet_type}")]
    Malformed {
        /// The packet type.
        packet_type: u8,
    },
    /// More packets than [`limits::RTCP_PACKETS_PER_DATAGRAM`]. The rest is not read.
    #[error("too many RTCP packets in one datagram")]
    TooMany,
}

/// Reads a datagram as a compound packet (RFC 3550 §6.1) or a reduced-size one (RFC 5506).
///
/// A malformed packet is one `Err` and is skipped; a broken header ends the walk with an `Err`.
pub(crate) const fn parse(datagram: &[u8]) -> Compound<'_> {
    Compound {
        rest: datagram,
        left: limits::RTCP_PACKETS_PER_DATAGRAM,
    }
}

/// Iterator over the packets of one datagram, made by [`parse`].
#[derive(Clone, Debug)]
pub(crate) struct Compound<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.rest = &[];
            return Some(Err(ParseError::TooMany));
        };
        self.left = left;
        let Some((header, body, rest)) = split_packet(self.rest) else {
            self.rest = &[];
            return Some(Err(ParseError::Header));
        };
        self.rest = rest;
        let packet = read_body(header, body).ok_or(ParseError::Malformed {
            packet_type: header.packet_type,
        });
        Some(packet)
    }
}

#[derive(Clone, Copy)]
struct Header {
    count: u8,
    packet_type: u8,
}

/// Header, body without padding, and what follows.
fn split_packet(data: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let (&[flags, packet_type, length_high, length_low], rest) = data.split_first_chunk::<4>()?;
    if flags >> 6 != 2 {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([length_high, length_low])) * 4;
    let (mut body, rest) = rest.split_at_checked(length)?;
    if flags & 0x20 != 0 {
        // RFC 3550 §6.4.1: the last octet counts the padding, itself included, a multiple of four. Some senders of transport-wide
        // feedback round up to four without counting from a multiple of it, so that part of the rule is not enforced.
        let padding = usize::from(*body.last()?);
        if padding == 0 {
            return None;
        }
        body = body.get(..body.len().checked_sub(padding)?)?;
    }
    let header = Header {
        count: flags & 0x1f,
        packet_type,
    };
    Some((header, body, rest))
}

fn read_body(header: Header, body: &[u8]) -> Option<Packet<'_>> {
    Some(match (header.packet_type, header.count) {
        (packet_type::SENDER_REPORT, count) => Packet::SenderReport(SenderReport::parse(body, count)?),
        (packet_type::RECEIVER_REPORT, count) => Packet::ReceiverReport(ReceiverReport::parse(body, count)?),
        (packet_type::SOURCE_DESCRIPTION, count) => Packet::SourceDescription(SourceDescription::parse(body, count)?),
        (packet_type::GOODBYE, count) => Packet::Goodbye(Goodbye::parse(body, count)?),
        (packet_type::TRANSPORT_FEEDBACK, format::NACK) => Packet::Nack(Nack::parse(body)?),
        (packet_type::TRANSPORT_FEEDBACK, format::TRANSPORT_WIDE) => {
            Packet::TransportFeedback(TransportFeedback::parse(body)?)
        }
        (packet_type::PAYLOAD_FEEDBACK, format::PICTURE_LOSS) => Packet::PictureLoss(PictureLoss::parse(body)?),
        (packet_type::PAYLOAD_FEEDBACK, format::FULL_INTRA_REQUEST) => {
            Packet::FullIntraRequest(FullIntraRequest::parse(body)?)
        }
        (packet_type::PAYLOAD_FEEDBACK, format::APPLICATION) if Remb::is_remb(body) => Packet::Remb(Remb::parse(body)?),
        _ => Packet::Other,
    })
}

/// Takes big-endian numbers off the front of a slice.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u24(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn ssrc(&mut self) -> Option<Ssrc> {
        self.u32().map(Ssrc)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(data: &[u8]) -> Vec<Result<&'static str, ParseError>> {
        let name = |packet| match packet {
            Packet::SenderReport(_) => "sr",
            Packet::ReceiverReport(_) => "rr",
            Packet::SourceDescription(_) => "sdes",
            Packet::Goodbye(_) => "bye",
            Packet::Nack(_) => "nack",
            Packet::TransportFeedback(_) => "twcc",
            Packet::PictureLoss(_) => "pli",
            Packet::FullIntraRequest(_) => "fir",
            Packet::Remb(_) => "remb",
            Packet::Other => "other",
        };
        parse(data).map(|packet| packet.map(name)).collect()
    }

    const PLI: [u8; 12] = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];

    #[test]
    fn reduced_size_packets_stand_alone() {
        assert_eq!(kinds(&PLI), [Ok("pli")]);
    }

    #[test]
    fn broken_headers_end_the_walk() {
        let header = [Err(ParseError::Header)];
        for bad in [
            &[0x81][..],
            &[0x81, 206, 0],
            // Version 1.
            &[0x41, 206, 0, 0],
            // Longer than the datagram.
            &[0x81, 206, 0, 2, 0, 0, 0, 1],
            // Padding of zero, padding over the whole packet and more.
            &[0xa1, 206, 0, 1, 0, 0, 0, 0],
            &[0xa1, 206, 0, 1, 0, 0, 0, 5],
            &[0xa1, 206, 0, 0],
        ] {
            assert_eq!(kinds(bad), header, "{bad:?}");
        }
        assert_eq!(kinds(&[]), []);
        assert_eq!(
            kinds(&[&PLI[..], &[0; 4]].concat()),
            [Ok("pli"), Err(ParseError::Header)]
        );
    }

    #[test]
    fn a_malformed_packet_is_skipped() {
        let short_pli = [0x81, 206, 0, 1, 0, 0, 0, 1];
        assert_eq!(
            kinds(&[&short_pli[..], &PLI].concat()),
            [Err(ParseError::Malformed { packet_type: 206 }), Ok("pli")]
        );
    }

    #[test]
    fn what_is_not_known_is_skipped() {
        let app = [0x80, 204, 0, 2, 0, 0, 0, 1, b'n', b'a', b'm', b'e'];
        let other_afb = [0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, b'A', b'B', b'C', b'D'];
        assert_eq!(
            kinds(&[&app[..], &other_afb, &PLI].concat()),
            [Ok("other"), Ok("other"), Ok("pli")]
        );
    }

    #[test]
    fn the_number_of_packets_is_bounded() {
        let empty_rr = [0x80, 201, 0, 1, 0, 0, 0, 1];
        let walked = kinds(&empty_rr.repeat(limits::RTCP_PACKETS_PER_DATAGRAM + 5));
        assert_eq!(walked.len(), limits::RTCP_PACKETS_PER_DATAGRAM + 1);
        assert_eq!(walked.last(), Some(&Err(ParseError::TooMany)));
    }
}
