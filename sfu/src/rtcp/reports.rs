//! Sender and receiver reports, source description, goodbye (RFC 3550 §6.4–6.6).

use std::fmt;

use super::Reader;
use crate::clock::{CompactNtp, NtpTime};
use crate::ids::Ssrc;

/// Bytes of one reception report block.
pub(super) const REPORT_BLOCK: usize = 24;

/// What a sender says of itself (RFC 3550 §6.4.1, "sender info").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderInfo {
    /// The stream's source.
    pub(crate) ssrc: Ssrc,
    /// Wall-clock time of the report.
    pub(crate) ntp: NtpTime,
    /// The same moment in the stream's RTP timestamp.
    pub(crate) rtp_timestamp: u32,
    /// Packets sent so far, wrapping.
    pub(crate) packets: u32,
    /// Payload bytes sent so far, wrapping.
    pub(crate) bytes: u32,
}

/// SR.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SenderReport<'a> {
    /// What the sender says of itself.
    pub(crate) info: SenderInfo,
    /// What it says of streams it receives.
    pub(crate) blocks: ReportBlocks<'a>,
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(body: &'a [u8], count: u8) -> Option<Self> {
        let mut reader = Reader(body);
        let info = SenderInfo {
            ssrc: reader.ssrc()?,
            ntp: NtpTime::from_bits(reader.u64()?),
            rtp_timestamp: reader.u32()?,
            packets: reader.u32()?,
            bytes: reader.u32()?,
        };
        // Profile-specific extensions may follow the blocks; they are ignored (RFC 3550 §6.4.3).
        let blocks = ReportBlocks(reader.take(usize::from(count) * REPORT_BLOCK)?);
        Some(Self { info, blocks })
    }
}

/// RR.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiverReport<'a> {
    /// What it says of streams it receives.
    pub(crate) blocks: ReportBlocks<'a>,
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(body: &'a [u8], count: u8) -> Option<Self> {
        let mut reader = Reader(body);
        // Who reports: a transport has one peer.
        reader.ssrc()?;
        Some(Self {
            blocks: ReportBlocks(reader.take(usize::from(count) * REPORT_BLOCK)?),
        })
    }
}

/// Iterator over reception report blocks, at most 31.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReportBlocks<'a>(&'a [u8]);

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let mut reader = Reader(self.0);
        let block = ReportBlock {
            ssrc: reader.ssrc()?,
            fraction_lost: reader.u8()?,
            // Sign-extended from 24 bits.
            cumulative_lost: ((reader.u24()? << 8) as i32) >> 8,
            highest_sequence: reader.u32()?,
            jitter: reader.u32()?,
            last_sr: CompactNtp(reader.u32()?),
            delay_since_last_sr: CompactNtp(reader.u32()?),
        };
        self.0 = reader.0;
        Some(block)
    }
}

/// What a receiver says of one stream (RFC 3550 §6.4.1, "report block").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReportBlock {
    /// The stream.
    pub(crate) ssrc: Ssrc,
    /// Lost since the last report, in 1/256 of what was expected.
    pub(crate) fraction_lost: u8,
    /// Lost since the start; 24 bits signed, negative when duplicates outnumber losses.
    pub(crate) cumulative_lost: i32,
    /// Highest sequence number received, extended by the number of wraps.
    pub(crate) highest_sequence: u32,
    /// Interarrival jitter in ticks of the stream's RTP clock.
    pub(crate) jitter: u32,
    /// The stream's last sender report, or zero.
    pub(crate) last_sr: CompactNtp,
    /// Time from that report's arrival to this one's departure.
    pub(crate) delay_since_last_sr: CompactNtp,
}

impl ReportBlock {
    /// [`Self::fraction_lost`] as 0.0..1.0.
    pub(crate) fn loss(&self) -> f32 {
        f32::from(self.fraction_lost) / 256.0
    }
}

/// SDES. Names in it are personal to whoever chose them: only the length shows in `Debug`.
#[derive(Clone, Copy)]
pub(crate) struct SourceDescription<'a> {
    chunks: &'a [u8],
    count: u8,
}

impl fmt::Debug for SourceDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceDescription")
            .field("chunks", &self.count)
            .finish_non_exhaustive()
    }
}

impl<'a> SourceDescription<'a> {
    pub(super) fn parse(body: &'a [u8], count: u8) -> Option<Self> {
        let packet = Self { chunks: body, count };
        (packet.cnames_with_none().count() == usize::from(count)).then_some(packet)
    }

    /// Each source with its canonical name, in order; sources without one are left out.
    pub(crate) fn cnames(&self) -> impl Iterator<Item = (Ssrc, &'a [u8])> {
        self.cnames_with_none()
            .filter_map(|(ssrc, name)| name.map(|name| (ssrc, name)))
    }

    fn cnames_with_none(&self) -> impl Iterator<Item = (Ssrc, Option<&'a [u8]>)> + use<'a> {
        let mut reader = Reader(self.chunks);
        (0..self.count).map_while(move |_| read_chunk(&mut reader))
    }
}

/// One SDES chunk: a source, items, and one to four zero bytes up to a multiple of four (RFC 3550 §6.5).
fn read_chunk<'a>(reader: &mut Reader<'a>) -> Option<(Ssrc, Option<&'a [u8]>)> {
    const CNAME: u8 = 1;
    let start = reader.0.len();
    let ssrc = reader.ssrc()?;
    let mut name = None;
    loop {
        match reader.u8()? {
            0 => break,
            item => {
                let length = reader.u8()?;
                let text = reader.take(usize::from(length))?;
                if item == CNAME {
                    name = Some(text);
                }
            }
        }
    }
    let unaligned = (start - reader.0.len()) % 4;
    if unaligned != 0 {
        reader.take(4 - unaligned)?;
    }
    Some((ssrc, name))
}

/// BYE. The reason text is not read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goodbye<'a> {
    sources: &'a [u8],
}

impl<'a> Goodbye<'a> {
    pub(super) fn parse(body: &'a [u8], count: u8) -> Option<Self> {
        let sources = body.get(..usize::from(count) * 4)?;
        Some(Self { sources })
    }

    /// The sources that leave, at most 31.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        ssrcs(self.sources)
    }
}

pub(super) fn ssrcs(bytes: &[u8]) -> impl Iterator<Item = Ssrc> + use<'_> {
    let mut reader = Reader(bytes);
    std::iter::from_fn(move || reader.ssrc())
}
