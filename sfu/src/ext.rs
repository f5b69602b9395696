//! RTP header extensions (RFC 8285): which ids were negotiated, and their elements found in one pass.

use crate::ids::{Mid, Rid};

/// The ids one media line negotiated (`a=extmap`), 1..=14 for one-byte and 1..=255 for two-byte element headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 8843).
    pub(crate) mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    pub(crate) rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852): the same on retransmissions.
    pub(crate) repaired_rid: Option<u8>,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    pub(crate) twcc: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
    pub(crate) abs_send_time: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    pub(crate) audio_level: Option<u8>,
}

/// How loud the audio of a packet is (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AudioLevel {
    /// The sender believes that it is speech.
    pub(crate) voice: bool,
    /// Decibels *below* the loudest possible: 0 is loudest, 127 silence.
    pub(crate) below_full: u8,
}

impl AudioLevel {
    /// From the element's one byte.
    pub(crate) const fn from_byte(byte: u8) -> Self {
        Self {
            voice: byte & 0x80 != 0,
            below_full: byte & 0x7f,
        }
    }

    /// The element's one byte.
    pub(crate) const fn to_byte(self) -> u8 {
        (self.voice as u8) << 7 | self.below_full & 0x7f
    }
}

/// The negotiated elements of one packet. Elements of the wrong length are left out, as are all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions<'a> {
    mid: Option<&'a [u8]>,
    rid: Option<&'a [u8]>,
    repaired_rid: Option<&'a [u8]>,
    /// The transport-wide sequence number.
    pub(crate) twcc: Option<u16>,
    /// When the packet left its sender: 24 bits, seconds with 18 fraction bits, wraps every 64 s.
    pub(crate) abs_send_time: Option<u32>,
    /// How loud it is.
    pub(crate) audio_level: Option<AudioLevel>,
    /// There is something besides names and loudness, known or not: whoever sends the packet again may put something else there.
    pub(crate) may_change: bool,
}

impl<'a> Extensions<'a> {
    /// Reads the elements of an extension block whose profile field is `profile`. Damaged blocks yield what came before the damage.
    pub(crate) fn parse(profile: u16, elements: &'a [u8], ids: &ExtensionIds) -> Self {
        let mut found = Self::default();
        match profile {
            0xbede => found.parse_one_byte(elements, ids),
            // The lowest four bits are "appbits", free for any use (RFC 8285 §4.3).
            0x1000..=0x100f => found.parse_two_byte(elements, ids),
            _ => found.may_change = true,
        }
        found
    }

    /// RFC 8285 §4.2: four bits of id, four bits of length less one. Id 0 is a byte of padding, 15 ends the block.
    fn parse_one_byte(&mut self, mut rest: &'a [u8], ids: &ExtensionIds) {
        while let [head, after @ ..] = rest {
            let id = head >> 4;
            match id {
                0 => rest = after,
                15 => {
                    self.may_change = true;
                    return;
                }
                _ => {
                    let Some((data, next)) = after.split_at_checked(usize::from(head & 0x0f) + 1) else {
                        self.may_change = true;
                        return;
                    };
                    self.take(id, data, ids);
                    rest = next;
                }
            }
        }
    }

    /// RFC 8285 §4.3: a byte of id, a byte of length. Id 0 is a byte of padding.
    fn parse_two_byte(&mut self, mut rest: &'a [u8], ids: &ExtensionIds) {
        while let [id, after @ ..] = rest {
            if *id == 0 {
                rest = after;
                continue;
            }
            let Some((data, next)) = after
                .split_first()
                .and_then(|(len, data)| data.split_at_checked(usize::from(*len)))
            else {
                self.may_change = true;
                return;
            };
            self.take(*id, data, ids);
            rest = next;
        }
    }

    fn take(&mut self, id: u8, data: &'a [u8], ids: &ExtensionIds) {
        let id = Some(id);
        let is_fixed = [ids.audio_level, ids.mid, ids.rid, ids.repaired_rid].contains(&id);
        self.may_change |= !is_fixed;
        if id == ids.twcc {
            // The second version of the extension appends a feedback request to the number.
            if let [high, low, ..] = *data {
                self.twcc = Some(u16::from_be_bytes([high, low]));
            }
        } else if id == ids.audio_level {
            if let [byte, ..] = *data {
                self.audio_level = Some(AudioLevel::from_byte(byte));
            }
        } else if id == ids.abs_send_time {
            if let [a, b, c] = *data {
                self.abs_send_time = Some(u32::from_be_bytes([0, a, b, c]));
            }
        } else if id == ids.mid {
            self.mid = Some(data);
        } else if id == ids.rid {
            self.rid = Some(data);
        } else if id == ids.repaired_rid {
            self.repaired_rid = Some(data);
        }
    }

    /// The media line's tag, if the packet names it. Checked only when asked for: known SSRCs do without.
    pub(crate) fn mid(&self) -> Option<Mid> {
        self.mid.and_then(Mid::from_bytes)
    }

    /// The layer's name, if the packet names it.
    pub(crate) fn rid(&self) -> Option<Rid> {
        self.rid.and_then(Rid::from_bytes)
    }

    /// On a retransmission: the name of the layer that is repaired.
    pub(crate) fn repaired_rid(&self) -> Option<Rid> {
        self.repaired_rid.and_then(Rid::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IDS: ExtensionIds = ExtensionIds {
        mid: Some(4),
        rid: Some(10),
        repaired_rid: Some(11),
        twcc: Some(3),
        abs_send_time: Some(2),
        audio_level: Some(1),
    };

    /// What [`ALL_ONE_BYTE`] and [`ALL_TWO_BYTE`] say.
    fn check_all(found: &Extensions<'_>) {
        assert_eq!(found.mid(), Mid::new("0"));
        assert_eq!(found.rid(), Rid::new("hi"));
        assert_eq!(found.repaired_rid(), Rid::new("m"));
        assert_eq!(found.twcc, Some(0x1234));
        assert_eq!(found.abs_send_time, Some(0x0001_0203));
        assert_eq!(
            found.audio_level,
            Some(AudioLevel {
                voice: true,
                below_full: 30
            })
        );
    }

    #[test]
    fn one_byte_headers() {
        let elements = b"\x40\x30\x00\xa1hi\xb0m\x31\x12\x34\x22\x01\x02\x03\x10\x9e\x50\xff\x00\x00";
        check_all(&Extensions::parse(0xbede, elements, &IDS));
    }

    #[test]
    fn two_byte_headers() {
        let elements = b"\x04\x01\x30\x00\x0a\x02hi\x0b\x01m\x03\x02\x12\x34\x02\x03\x01\x02\x03\x01\x01\x9e\x63\x00";
        check_all(&Extensions::parse(0x1000, elements, &IDS));
        check_all(&Extensions::parse(0x100f, elements, &IDS));
    }

    #[test]
    fn damage_ends_the_search_and_strange_lengths_are_left_out() {
        let table: [(u16, &[u8]); 8] = [
            (0xbede, &[0x32, 1, 2]),
            (0xbede, &[0xf0, 0x31, 1, 2]),
            (0xbede, &[0x30, 1]),
            (0xbede, &[0x21, 1, 2]),
            (0x1000, &[3]),
            (0x1000, &[3, 2, 1]),
            (0x1000, &[1, 0, 3, 0]),
            (0x1234, &[0x31, 1, 2]),
        ];
        for (profile, elements) in table {
            let found = Extensions::parse(profile, elements, &IDS);
            let nothing = Extensions {
                may_change: true,
                ..Extensions::default()
            };
            assert_eq!(found, nothing, "{profile:#x} {elements:02x?}");
        }
        // Not UTF-8: there, but not a name.
        assert_eq!(Extensions::parse(0xbede, &[0x40, 0xff], &IDS).mid(), None);
    }

    #[test]
    fn ids_that_were_not_negotiated_are_not_seen() {
        let found = Extensions::parse(0xbede, &[0x31, 1, 2, 0x10, 3], &ExtensionIds::default());
        assert_eq!((found.twcc, found.audio_level), (None, None));
    }

    #[test]
    fn only_names_and_loudness_are_the_same_when_a_packet_is_sent_again() {
        let same: [(u16, &[u8]); 4] = [
            (0xbede, b"\x40\x30\x10\x9e\x00\x00"),
            (0xbede, b"\xa1hi\xb0m"),
            (0x1000, b"\x04\x01\x30\x01\x01\x9e\x00"),
            (0xbede, b""),
        ];
        for (profile, elements) in same {
            assert!(
                !Extensions::parse(profile, elements, &IDS).may_change,
                "{elements:02x?}"
            );
        }
        let other: [(u16, &[u8]); 7] = [
            (0xbede, b"\x40\x30\x31\x12\x34"),
            (0xbede, b"\x22\x01\x02\x03"),
            // Never agreed on.
            (0xbede, b"\x70\x01"),
            (0x1000, b"\x07\x00"),
            (0xbede, b"\xf0\x22\x01\x02\x03"),
            (0xbede, b"\x33\x01"),
            (0x1234, b"\x10\x9e"),
        ];
        for (profile, elements) in other {
            assert!(Extensions::parse(profile, elements, &IDS).may_change, "{elements:02x?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(two_byte: bool, elements: Vec<u8>) {
            let found = Extensions::parse(if two_byte { 0x1000 } else { 0xbede }, &elements, &IDS);
            let _ = (found.mid(), found.rid(), found.repaired_rid());
        }

        #[test]
        fn audio_levels_round_trip(byte: u8) {
            prop_assert_eq!(AudioLevel::from_byte(byte).to_byte(), byte);
        }
    }
}
