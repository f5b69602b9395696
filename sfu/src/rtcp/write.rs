//! Writing RTCP packets into the caller's buffer.

use super::reports::{REPORT_BLOCK, ReportBlock, SenderInfo};
use super::{format, packet_type};
use crate::ids::Ssrc;

/// Report blocks one packet can carry: the header counts them in five bits.
const BLOCKS_PER_PACKET: usize = 31;

/// The packet does not fit into what is left of the buffer. Nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room left in the RTCP buffer")]
pub(crate) struct Full;

/// Appends packets to a buffer, which may be of any size.
///
/// A compound that goes to a browser begins with a sender or receiver report and a source description unless reduced-size RTCP
/// was negotiated (RFC 5506); keeping that order is the caller's part.
pub(crate) struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl<'b> Writer<'b> {
    /// Begins at the start of the buffer.
    pub(crate) const fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Bytes written so far.
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// SR (RFC 3550 §6.4.1). Blocks after the 31st go into receiver reports behind it.
    ///
    /// # Errors
    /// [`Full`] if not all of it fits.
    pub(crate) fn sender_report(&mut self, info: &SenderInfo, blocks: &[ReportBlock]) -> Result<(), Full> {
        let (first, more) = blocks.split_at(blocks.len().min(BLOCKS_PER_PACKET));
        self.all_or_nothing(|writer| {
            let mut body = writer.packet(packet_type::SENDER_REPORT, first.len(), 24 + first.len() * REPORT_BLOCK)?;
            body.u32(info.ssrc.0);
            body.bytes(&info.ntp.to_bits().to_be_bytes());
            body.u32(info.rtp_timestamp);
            body.u32(info.packets);
            body.u32(info.bytes);
            body.blocks(first);
            if more.is_empty() {
                return Ok(());
            }
            writer.receiver_report(info.ssrc, more)
        })
    }

    /// RR (RFC 3550 §6.4.2). Blocks after the 31st go into further receiver reports; none at all is a valid, empty report.
    ///
    /// # Errors
    /// [`Full`] if not all of it fits.
    pub(crate) fn receiver_report(&mut self, sender: Ssrc, blocks: &[ReportBlock]) -> Result<(), Full> {
        self.all_or_nothing(|writer| {
            let mut rest = blocks;
            loop {
                let (now, later) = rest.split_at(rest.len().min(BLOCKS_PER_PACKET));
                let mut body = writer.packet(packet_type::RECEIVER_REPORT, now.len(), 4 + now.len() * REPORT_BLOCK)?;
                body.u32(sender.0);
                body.blocks(now);
                if later.is_empty() {
                    return Ok(());
                }
                rest = later;
            }
        })
    }

    /// SDES with one source's canonical name (RFC 3550 §6.5.1), of which at most 255 bytes are taken.
    ///
    /// # Errors
    /// [`Full`] if it does not fit.
    pub(crate) fn source_description(&mut self, ssrc: Ssrc, cname: &str) -> Result<(), Full> {
        const CNAME: u8 = 1;
        let name = &cname.as_bytes()[..cname.len().min(255)];
        // Source, item header, text, and one to four zeros.
        let length = (4 + 2 + name.len() + 1).next_multiple_of(4);
        let mut body = self.packet(packet_type::SOURCE_DESCRIPTION, 1, length)?;
        body.u32(ssrc.0);
        body.bytes(&[CNAME, name.len() as u8]);
        body.bytes(name);
        Ok(())
    }

    /// Generic NACK (RFC 4585 §6.2.1). Ascending order packs best; nothing is written for an empty list.
    ///
    /// # Errors
    /// [`Full`] if not all of it fits.
    pub(crate) fn nack(&mut self, sender: Ssrc, media: Ssrc, sequences: &[u16]) -> Result<(), Full> {
        let pairs = nack_pairs(sequences).count();
        if pairs == 0 {
            return Ok(());
        }
        let kind = usize::from(format::NACK);
        let mut body = self.packet(packet_type::TRANSPORT_FEEDBACK, kind, 8 + pairs * 4)?;
        body.u32(sender.0);
        body.u32(media.0);
        for (first, mask) in nack_pairs(sequences) {
            body.u32(u32::from(first) << 16 | u32::from(mask));
        }
        Ok(())
    }

    /// PLI (RFC 4585 §6.3.1).
    ///
    /// # Errors
    /// [`Full`] if it does not fit.
    pub(crate) fn picture_loss(&mut self, sender: Ssrc, media: Ssrc) -> Result<(), Full> {
        let mut body = self.packet(packet_type::PAYLOAD_FEEDBACK, usize::from(format::PICTURE_LOSS), 8)?;
        body.u32(sender.0);
        body.u32(media.0);
        Ok(())
    }

    fn all_or_nothing(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Full>) -> Result<(), Full> {
        let before = self.length;
        write(self).inspect_err(|_| self.length = before)
    }

    /// Writes a header and hands out the zeroed body after it. `length` is the body's, a multiple of four.
    fn packet(&mut self, packet_type: u8, count: usize, length: usize) -> Result<Body<'_>, Full> {
        debug_assert!(length.is_multiple_of(4) && count < 32, "callers round up and split");
        let words = u16::try_from(length / 4).map_err(|_| Full)?;
        let end = self.length + 4 + length;
        let packet = self.buffer.get_mut(self.length..end).ok_or(Full)?;
        let (header, body) = packet.split_first_chunk_mut::<4>().ok_or(Full)?;
        let [length_high, length_low] = words.to_be_bytes();
        *header = [0x80 | count as u8, packet_type, length_high, length_low];
        body.fill(0);
        self.length = end;
        Ok(Body(body))
    }
}

/// The unwritten rest of one packet's body. Its callers sized it, so running out is a bug.
struct Body<'b>(&'b mut [u8]);

impl Body<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let (head, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        self.0 = rest;
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    fn blocks(&mut self, blocks: &[ReportBlock]) {
        for block in blocks {
            self.u32(block.ssrc.0);
            // RFC 3550 §A.3: the 24-bit count is clamped, it does not wrap.
            let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
            self.u32(u32::from(block.fraction_lost) << 24 | lost);
            self.u32(block.highest_sequence);
            self.u32(block.jitter);
            self.u32(block.last_sr.0);
            self.u32(block.delay_since_last_sr.0);
        }
    }
}

/// Packs sequence numbers into pairs of a packet id and a mask of the 16 after it.
fn nack_pairs(sequences: &[u16]) -> impl Iterator<Item = (u16, u16)> + use<'_> {
    let mut rest = sequences;
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        rest = tail;
        let mut mask = 0;
        while let Some((&next, tail)) = rest.split_first() {
            match next.wrapping_sub(first) {
                0 => {}
                ahead @ 1..=16 => mask |= 1 << (ahead - 1),
                _ => break,
            }
            rest = tail;
        }
        Some((first, mask))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nack_pairs_pack() {
        let pack = |sequences: &[u16]| nack_pairs(sequences).collect::<Vec<_>>();
        assert_eq!(pack(&[]), []);
        assert_eq!(pack(&[7]), [(7, 0)]);
        assert_eq!(pack(&[7, 7, 8, 23, 24]), [(7, 0b1000_0000_0000_0001), (24, 0)]);
        assert_eq!(pack(&[65_535, 0, 1]), [(65_535, 0b11)]);
        // Descending order costs space, not correctness.
        assert_eq!(pack(&[8, 7]), [(8, 0), (7, 0)]);
    }

    #[test]
    fn what_does_not_fit_is_not_written_at_all() {
        let block = ReportBlock {
            ssrc: Ssrc(1),
            fraction_lost: 0,
            cumulative_lost: 0,
            highest_sequence: 0,
            jitter: 0,
            last_sr: crate::clock::CompactNtp::ZERO,
            delay_since_last_sr: crate::clock::CompactNtp::ZERO,
        };
        // 40 blocks need two packets: 8 + 31·24 and 8 + 9·24 bytes.
        let mut buffer = [0xee; 8 + 31 * 24 + 8 + 9 * 24];
        let length = buffer.len();
        let mut writer = Writer::new(&mut buffer[..length - 1]);
        assert_eq!(writer.receiver_report(Ssrc(9), &[block; 40]), Err(Full));
        assert_eq!(writer.len(), 0);
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(writer.receiver_report(Ssrc(9), &[block; 40]), Ok(()));
        assert_eq!(writer.len(), length);
        assert_eq!(writer.picture_loss(Ssrc(9), Ssrc(9)), Err(Full));
    }
}
