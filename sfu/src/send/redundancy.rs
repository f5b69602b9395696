//! Audio for a path that loses packets: each packet takes the two frames before its own along (RFC 2198), so that only three losses in a
//! row are heard. Browsers put one frame along; the other comes from the ring, and so do both where the publisher knows no redundancy.

use arrayvec::ArrayVec;

use crate::ids::PayloadType;
use crate::limits;
use crate::red::{self, Block};
use crate::ring::{Facts, Ring, RingIndex, Stored};

/// Frames before its own that a packet carries.
const FRAMES: usize = 2;
/// How far back in order of arrival the packets before are looked for: what was resent comes late.
const LOOK_BACK: usize = 8;

/// The frames of a packet that is to be written with redundancy.
#[derive(Debug)]
pub(super) struct Protected<'a> {
    /// Older frames, the newest first. Never empty.
    older: ArrayVec<Block<'a>, FRAMES>,
    own: &'a [u8],
}

impl<'a> Protected<'a> {
    /// For the packet at `place`. `None` if it holds no frame, or if there is none before it.
    pub(super) fn gather(ring: &'a Ring, place: RingIndex, stored: &Stored, payload: &'a [u8]) -> Option<Self> {
        let own = frame(stored, payload)?;
        let mut protected = Self {
            older: ArrayVec::new(),
            own,
        };
        protected.take_in(0, stored, payload);
        for (other, payload) in ring.before(place).take(LOOK_BACK) {
            let behind = stored.sequence.wrapping_sub(other.sequence);
            if !(1..=FRAMES as u64).contains(&behind) {
                continue;
            }
            let age = stored.timestamp.wrapping_sub(other.timestamp);
            if let (Ok(age), Some(data)) = (u16::try_from(age), frame(other, payload)) {
                protected.add(Block { age, data });
                protected.take_in(age, other, payload);
            }
        }
        let fits = |protected: &Self| protected.len() <= limits::MAX_PAYLOAD;
        while !fits(&protected) && protected.older.pop().is_some() {}
        (!protected.older.is_empty()).then_some(protected)
    }

    /// Adds the redundant frames of a packet that is `age` older.
    fn take_in(&mut self, age: u16, stored: &Stored, payload: &'a [u8]) {
        if let Facts::Red(_) = stored.facts {
            for block in red::blocks(payload) {
                if let Some(age) = age.checked_add(block.age) {
                    self.add(Block { age, ..block });
                }
            }
        }
    }

    /// Keeps the youngest.
    fn add(&mut self, block: Block<'a>) {
        if !block.is_expressible() {
            return;
        }
        let place = self.older.partition_point(|known| known.age < block.age);
        if self.older.get(place).is_some_and(|known| known.age == block.age) || place == FRAMES {
            return;
        }
        if self.older.is_full() {
            self.older.pop();
        }
        self.older.insert(place, block);
    }

    /// Bytes of the payload.
    pub(super) fn len(&self) -> usize {
        let older = self.older.iter().map(|block| red::BLOCK_HEADER + block.data.len());
        older.sum::<usize>() + 1 + self.own.len()
    }

    /// Writes the payload to `out`, which must have room for [`Self::len`] bytes.
    pub(super) fn write(&self, out: &mut [u8], opus: PayloadType) {
        red::write(out, self.older.iter().rev(), self.own, opus);
    }
}

/// The frame that is a packet's own.
fn frame<'a>(stored: &Stored, payload: &'a [u8]) -> Option<&'a [u8]> {
    match stored.facts {
        Facts::Opus => Some(payload),
        Facts::Red(red) => payload.get(usize::from(red.primary)..),
        Facts::Empty | Facts::Vp8(_) | Facts::H264 { .. } => None,
    }
    .filter(|frame| !frame.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;
    use crate::media::Codec;
    use crate::ring::{Incoming, Packing, Read};

    const PLAIN: Packing = Packing::Plain(Codec::Opus);

    /// Number, packing and payload of a packet.
    type Came<'a> = (u64, Packing, &'a [u8]);
    /// What came, in words and as packets, and what the last one is sent as.
    type Case<'a> = (&'a str, &'a [Came<'a>], Option<&'a [u8]>);

    /// Stores packets by number; their frames say which they are. What the last one is sent as.
    fn last_of(packets: &[Came<'_>]) -> Option<Vec<u8>> {
        let mut ring = Ring::new(limits::AUDIO_RING, 1);
        for (sequence, packing, payload) in packets {
            let packet = Incoming {
                arrival: testing::start(),
                sequence: *sequence,
                timestamp: 1_000_000 + 960 * *sequence as u32,
                marker: false,
                packing: *packing,
                audio_level: None,
            };
            ring.insert(packet, payload).unwrap();
        }
        let place = ring.newest().unwrap();
        let Read::Packet(stored, payload) = ring.read(place) else {
            panic!("just stored")
        };
        let protected = Protected::gather(&ring, place, stored, payload)?;
        let mut out = vec![0; protected.len()];
        protected.write(&mut out, PayloadType(13));
        Some(out)
    }

    /// Headers of blocks 20 and 40 ms old, with so many bytes.
    const fn old(ms: u16, len: u8) -> [u8; 4] {
        let age = ms * 48;
        [0x8d, (age >> 6) as u8, (age << 2) as u8, len]
    }

    #[test]
    fn two_frames_go_along_wherever_they_are_found() {
        let red = Packing::Red;
        // Browsers' packets: the frame before, then their own.
        let [a, b, c] = [
            &b"\xef\x0f\x00\x01\x6fza"[..],
            b"\xef\x0f\x00\x01\x6fab",
            b"\xef\x0f\x00\x01\x6fbc",
        ];
        let whole = [&old(40, 1)[..], &old(20, 1), b"\x0dabc"].concat();
        let one = [&old(20, 1)[..], b"\x0dbc"].concat();
        let table: [Case<'_>; 9] = [
            ("all there", &[(1, red, a), (2, red, b), (3, red, c)], Some(&whole)),
            ("the one in between was lost", &[(1, red, a), (3, red, c)], Some(&whole)),
            ("the first was lost", &[(2, red, b), (3, red, c)], Some(&whole)),
            (
                "in another order",
                &[(2, red, b), (1, red, a), (3, red, c)],
                Some(&whole),
            ),
            ("both were lost", &[(3, red, c)], Some(&one)),
            (
                "no redundancy",
                &[(1, PLAIN, b"a"), (2, PLAIN, b"b"), (3, PLAIN, b"c")],
                Some(&whole),
            ),
            ("nothing before", &[(3, PLAIN, b"c")], None),
            (
                "empty packets before",
                &[(1, red, b""), (2, PLAIN, b""), (3, PLAIN, b"c")],
                None,
            ),
            (
                "an empty one",
                &[(1, PLAIN, b"a"), (2, PLAIN, b"b"), (3, PLAIN, b"")],
                None,
            ),
        ];
        for (what, packets, expected) in table {
            assert_eq!(last_of(packets).as_deref(), expected, "{what}");
        }
    }

    #[test]
    fn what_came_before_a_long_silence_or_is_too_long_stays_behind() {
        let mut ring = Ring::new(limits::AUDIO_RING, 1);
        let mut packet = Incoming {
            arrival: testing::start(),
            sequence: 1,
            timestamp: 0,
            marker: false,
            packing: PLAIN,
            audio_level: None,
        };
        ring.insert(packet, b"a").unwrap();
        (packet.sequence, packet.timestamp) = (2, 400 * 48);
        ring.insert(packet, &[7; 1_024]).unwrap();
        (packet.sequence, packet.timestamp) = (3, 420 * 48);
        ring.insert(packet, b"c").unwrap();
        let place = ring.newest().unwrap();
        let Read::Packet(stored, payload) = ring.read(place) else {
            panic!("just stored")
        };
        assert!(Protected::gather(&ring, place, stored, payload).is_none());
    }
}
