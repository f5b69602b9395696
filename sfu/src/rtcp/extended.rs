//! Extended reports (RFC 3611), as far as a receiver needs them to learn the round trip to a sender: it sends the time (RRTR, §4.4),
//! the sender answers with how long it held it (DLRR, §4.5).

use super::Reader;
use crate::clock::CompactNtp;
use crate::ids::Ssrc;

/// Block type: receiver reference time report.
pub(super) const BLOCK_RRTR: u8 = 4;
const BLOCK_DLRR: u8 = 5;

/// XR.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExtendedReport<'a> {
    /// Who reports.
    pub(crate) sender: Ssrc,
    blocks: &'a [u8],
}

impl<'a> ExtendedReport<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let sender = reader.ssrc()?;
        let blocks = reader.0;
        while !reader.0.is_empty() {
            read_block(&mut reader)?;
        }
        Some(Self { sender, blocks })
    }

    /// The delays since last reference time, one for each receiver that sent its time.
    pub(crate) fn delays(&self) -> impl Iterator<Item = Dlrr> + use<'a> {
        let mut reader = Reader(self.blocks);
        std::iter::from_fn(move || read_block(&mut reader))
            .filter(|(block_type, _)| *block_type == BLOCK_DLRR)
            .flat_map(|(_, content)| {
                let mut reader = Reader(content);
                std::iter::from_fn(move || {
                    Some(Dlrr {
                        receiver: reader.ssrc()?,
                        last_reference: CompactNtp(reader.u32()?),
                        delay: CompactNtp(reader.u32()?),
                    })
                })
            })
    }
}

fn read_block<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let block_type = reader.u8()?;
    reader.u8()?;
    let words = reader.u16()?;
    Some((block_type, reader.take(usize::from(words) * 4)?))
}

/// Delay since the last receiver reference time report: the mirror of LSR and DLSR in reception reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dlrr {
    /// Whose reference time this answers.
    pub(crate) receiver: Ssrc,
    /// That time, or zero.
    pub(crate) last_reference: CompactNtp,
    /// Time from its arrival to this answer's departure.
    pub(crate) delay: CompactNtp,
}
