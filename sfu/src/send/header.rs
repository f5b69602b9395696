//! The outgoing header: one fixed layout for every packet of a slot, so that packets of a frame come out equally long.

use crate::ext::AudioLevel;
use crate::ids::{PayloadType, Ssrc};
use crate::rtp::FIXED_HEADER_LEN;
use crate::send::{SlotConfig, Stamp};

/// Fixed header, extension header, transport-wide number 3, send time 4, audio level 2, mid at most 17, rounded up to words.
pub(crate) const MAX_HEADER: usize = FIXED_HEADER_LEN + 4 + 28;

/// A header with everything filled in that is the same for each packet, and the places of what is not.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderTemplate {
    bytes: [u8; MAX_HEADER],
    len: u8,
    /// Offsets of the elements' data.
    transport_wide: Option<u8>,
    send_time: Option<u8>,
    /// Offset of the whole element: without a level, padding stands there.
    audio_level: Option<u8>,
}

/// What differs from packet to packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderFields {
    pub(super) ssrc: Ssrc,
    pub(super) payload_type: PayloadType,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) audio_level: Option<AudioLevel>,
}

impl HeaderTemplate {
    /// For a slot. Extension ids that the one-byte form (RFC 8285 §4.2) cannot express are left out.
    pub(super) fn new(config: &SlotConfig) -> Self {
        let mut template = Self {
            bytes: [0; MAX_HEADER],
            len: FIXED_HEADER_LEN as u8,
            transport_wide: None,
            send_time: None,
            audio_level: None,
        };
        let ids = &config.extensions;
        let mut at = FIXED_HEADER_LEN + 4;
        let mut element = |id: Option<u8>, data: &[u8]| -> Option<u8> {
            let id = id.filter(|id| (1..=14).contains(id))?;
            let place = at as u8;
            template.bytes[at] = id << 4 | (data.len() - 1) as u8;
            template.bytes[at + 1..=at + data.len()].copy_from_slice(data);
            at += 1 + data.len();
            Some(place)
        };
        let transport_wide = element(ids.twcc, &[0; 2]);
        let send_time = element(ids.abs_send_time, &[0; 3]);
        let audio_level = element(ids.audio_level, &[0; 1]);
        element(ids.mid, config.mid.as_str().as_bytes());
        template.transport_wide = transport_wide.map(|at| at + 1);
        template.send_time = send_time.map(|at| at + 1);
        template.audio_level = audio_level;
        template.bytes[0] = 2 << 6;
        let words = (at - FIXED_HEADER_LEN - 4).div_ceil(4);
        if words > 0 {
            template.bytes[0] |= 0x10;
            template.bytes[FIXED_HEADER_LEN..FIXED_HEADER_LEN + 4].copy_from_slice(&[0xbe, 0xde, 0, words as u8]);
            template.len = (FIXED_HEADER_LEN + 4 + 4 * words) as u8;
        }
        template
    }

    /// The length of every header.
    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Writes a header to the start of `out`, which must have room for it. Returns the transport-wide number, if it carries one.
    pub(super) fn write(&self, out: &mut [u8], fields: HeaderFields, stamp: &mut Stamp) -> Option<u16> {
        let out = &mut out[..self.len()];
        out.copy_from_slice(&self.bytes[..self.len()]);
        out[1] = u8::from(fields.marker) << 7 | fields.payload_type.0 & 0x7f;
        out[2..4].copy_from_slice(&fields.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&fields.ssrc.0.to_be_bytes());
        if let Some(at) = self.send_time.map(usize::from) {
            // 6.18 fixed point out of 32.32.
            let time = (stamp.ntp.to_bits() >> 14) as u32;
            out[at..at + 3].copy_from_slice(&time.to_be_bytes()[1..]);
        }
        if let Some(at) = self.audio_level.map(usize::from) {
            match fields.audio_level {
                Some(level) => out[at + 1] = level.to_byte(),
                None => out[at] = 0,
            }
        }
        let number = stamp.transport_wide;
        let at = usize::from(self.transport_wide?);
        out[at..at + 2].copy_from_slice(&number.to_be_bytes());
        stamp.transport_wide = number.wrapping_add(1);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{NtpTime, testing};
    use crate::ext::ExtensionIds;
    use crate::ids::Mid;
    use crate::media::Kind;
    use crate::rtp::RtpHeader;
    use crate::send::PayloadTypes;

    fn template(extensions: ExtensionIds, mid: &str) -> HeaderTemplate {
        HeaderTemplate::new(&SlotConfig {
            mid: Mid::new(mid).unwrap(),
            kind: Kind::Audio,
            ssrc: Ssrc(1),
            rtx_ssrc: None,
            payload_types: PayloadTypes::default(),
            extensions,
        })
    }

    fn fields(audio_level: Option<AudioLevel>) -> HeaderFields {
        HeaderFields {
            ssrc: Ssrc(0x0102_0304),
            payload_type: PayloadType(111),
            sequence: 0xfffe,
            timestamp: 77,
            marker: true,
            audio_level,
        }
    }

    fn stamp() -> Stamp {
        Stamp {
            now: testing::start(),
            ntp: NtpTime::from_bits(0x0000_0003_8000_0000),
            transport_wide: 0xffff,
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let ids = ExtensionIds {
            mid: Some(4),
            rid: Some(10),
            repaired_rid: None,
            twcc: Some(3),
            abs_send_time: Some(2),
            audio_level: Some(14),
        };
        let level = AudioLevel {
            voice: true,
            below_full: 12,
        };
        let template = template(ids, "0123456789abcdef");
        let mut out = [0xaa; MAX_HEADER];
        let mut stamp = stamp();
        assert_eq!(template.len(), MAX_HEADER);
        assert_eq!(template.write(&mut out, fields(Some(level)), &mut stamp), Some(0xffff));
        assert_eq!(stamp.transport_wide, 0);
        let header = RtpHeader::parse(&out).unwrap();
        assert_eq!((header.sequence, header.timestamp, header.marker), (0xfffe, 77, true));
        assert_eq!(
            (header.ssrc, header.payload_type),
            (Ssrc(0x0102_0304), PayloadType(111))
        );
        assert_eq!(usize::from(header.len), template.len());
        let found = header.extensions(&out, &ids);
        assert_eq!(found.mid(), Mid::new("0123456789abcdef"));
        assert_eq!(found.twcc, Some(0xffff));
        assert_eq!(found.abs_send_time, Some(3 << 18 | 1 << 17));
        assert_eq!(found.audio_level, Some(level));
        assert_eq!(found.rid(), None);

        template.write(&mut out, fields(None), &mut stamp);
        let found = header.extensions(&out, &ids);
        assert_eq!(found.audio_level, None);
        assert_eq!(
            found.mid(),
            Mid::new("0123456789abcdef"),
            "what follows the padding is found"
        );
    }

    #[test]
    fn no_extensions_no_block() {
        let template = template(
            ExtensionIds {
                twcc: Some(15),
                ..ExtensionIds::default()
            },
            "0",
        );
        let mut out = [0; MAX_HEADER];
        let mut stamp = stamp();
        assert_eq!(template.write(&mut out, fields(None), &mut stamp), None);
        assert_eq!(template.len(), FIXED_HEADER_LEN);
        assert_eq!(RtpHeader::parse(&out[..FIXED_HEADER_LEN]).unwrap().extension, None);
        assert_eq!(stamp.transport_wide, 0xffff);
    }
}
