//! Feedback messages (RFC 4585 §6, RFC 5104 §4.3.1, draft-alvestrand-rmcat-remb-03). Transport-wide feedback is in [`super::twcc`].

use super::Reader;
use super::reports::ssrcs;
use crate::ids::Ssrc;
use crate::media::Bitrate;

/// Generic NACK.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nack<'a> {
    /// The stream in which packets are missing.
    pub(crate) media: Ssrc,
    pairs: &'a [u8],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        // Who asks.
        reader.ssrc()?;
        let nack = Self {
            media: reader.ssrc()?,
            pairs: reader.0,
        };
        nack.pairs.len().is_multiple_of(4).then_some(nack)
    }

    /// The sequence numbers asked for, as written: up to 17 for each pair of packet id and bit mask.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = u16> + use<'a> {
        let mut reader = Reader(self.pairs);
        let pairs = std::iter::from_fn(move || Some((reader.u16()?, reader.u16()?)));
        pairs.flat_map(|(first, mask)| {
            let followers = (0..16).filter(move |bit| mask >> bit & 1 != 0);
            std::iter::once(first).chain(followers.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }
}

/// PLI: the sender's decoder lost an undefined amount of picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureLoss {
    /// Who asks.
    pub(crate) sender: Ssrc,
    /// The stream a key frame is wanted of.
    pub(crate) media: Ssrc,
}

impl PictureLoss {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        Some(Self {
            sender: reader.ssrc()?,
            media: reader.ssrc()?,
        })
    }
}

/// FIR: a full intra frame is demanded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FullIntraRequest<'a> {
    entries: &'a [u8],
}

impl<'a> FullIntraRequest<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        // Who asks; and the media source, a field that is not used (RFC 5104 §4.3.1.2): the streams are in the entries.
        reader.u64()?;
        let entries = reader.0;
        entries.len().is_multiple_of(8).then_some(Self { entries })
    }

    /// Each stream a frame is demanded of with the command's sequence number: a repeated number is the same demand.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Ssrc, u8)> + use<'a> {
        let mut reader = Reader(self.entries);
        std::iter::from_fn(move || {
            let entry = (reader.ssrc()?, reader.u8()?);
            reader.u24()?;
            Some(entry)
        })
    }
}

/// REMB: the receiver's estimate of what it can take in, over all the streams it names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remb<'a> {
    /// The estimate.
    pub(crate) bitrate: Bitrate,
    sources: &'a [u8],
}

impl<'a> Remb<'a> {
    /// Application layer feedback is REMB if it says so in its first four bytes.
    pub(super) fn is_remb(body: &[u8]) -> bool {
        body.get(8..12) == Some(b"REMB")
    }

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        // Sender, media source (unused), the name.
        reader.take(12)?;
        let count = usize::from(reader.u8()?);
        let rate = reader.u24()?;
        let exponent = rate >> 18;
        let mantissa = u64::from(rate & 0x3_ffff);
        // 18 bits shifted by up to 63: more than 64 bits can hold is simply a lot.
        let saturates = exponent > mantissa.leading_zeros();
        let bps = if saturates { u64::MAX } else { mantissa << exponent };
        Some(Self {
            bitrate: Bitrate::from_bps(bps),
            sources: reader.take(count * 4)?,
        })
    }

    /// The streams the estimate covers, at most 255.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        ssrcs(self.sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remb(rate: [u8; 3]) -> Bitrate {
        let body = [&[0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 0][..], &rate].concat();
        Remb::parse(&body).unwrap().bitrate
    }

    #[test]
    fn remb_rates() {
        assert_eq!(remb([0, 0, 1]), Bitrate::from_bps(1));
        assert_eq!(remb([0x03, 0xff, 0xff]), Bitrate::from_bps(262_143));
        assert_eq!(remb([0b0000_0110, 0, 3]), Bitrate::from_bps(262_150));
        // Exponent 63: 1 still fits, 2 does not, 0 is nothing whatever the exponent.
        assert_eq!(remb([0xfc, 0, 1]), Bitrate::from_bps(1 << 63));
        assert_eq!(remb([0xfc, 0, 2]), Bitrate::from_bps(u64::MAX));
        assert_eq!(remb([0xfc, 0, 0]), Bitrate::ZERO);
    }

    #[test]
    fn nack_masks_wrap() {
        let body = [0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xfe, 0x80, 0b0000_0011, 0, 9, 0, 0];
        let nack = Nack::parse(&body).unwrap();
        assert_eq!(nack.sequences().collect::<Vec<_>>(), [65_534, 65_535, 0, 14, 9]);
        assert!(Nack::parse(&body[..10]).is_none());
    }
}
