//! The plaintext ring of one published layer: what came in, decrypted once, read by every viewer and for every retransmission.
//!
//! Entries stand in order of arrival. A packet that comes late (reordered, or repaired by retransmission) is read late by everybody;
//! its sequence number says where it belongs. Payloads lie one behind the other in one circular buffer; whatever the next payload
//! is written over is forgotten. Nothing is allocated after the ring was made.

use std::time::Instant;

use crate::ext::AudioLevel;
use crate::media::Codec;
use crate::red::{Red, RedError};
use crate::rtp::{TimestampUnwrapper, Unwrapper};
use crate::vp8::{Descriptor, Vp8Error, Width};
use crate::{h264, limits};

/// Bounds of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingSize {
    /// Packets, a power of two.
    pub(crate) packets: usize,
    /// Bytes of payload.
    pub(crate) bytes: usize,
}

/// A place in a ring. Ordered by arrival; places of a ring with a higher serial number are all later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RingIndex(u64);

impl RingIndex {
    /// Bits that count packets: 174 years at 200 packets/s. The rest is the ring's serial number.
    const PACKET_BITS: u32 = 40;

    /// The place after this one.
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// For whoever remembers many places.
    pub(crate) const fn mark(self) -> RingMark {
        RingMark {
            count: self.0 as u32,
            serial: (self.0 >> Self::PACKET_BITS) as u8,
        }
    }
}

/// The lower halves of a [`RingIndex`]: enough to find a packet among those that a ring holds ([`Ring::find`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingMark {
    /// Of the count of packets. Comes round after years.
    pub(crate) count: u32,
    /// Of the ring's serial number. Comes round when a publisher has changed its stream 256 times, while the viewer was sent nothing.
    pub(crate) serial: u8,
}

/// How a payload is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// One codec frame, or a part of one.
    Plain(Codec),
    /// Opus in redundancy (RFC 2198).
    Red,
}

/// A packet to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    /// When it arrived.
    pub(crate) arrival: Instant,
    /// Its sequence number, made wide by the receive side. A repaired packet has its original one.
    pub(crate) sequence: u64,
    /// Its RTP timestamp.
    pub(crate) timestamp: u32,
    /// Its marker bit.
    pub(crate) marker: bool,
    /// What its payload type stands for.
    pub(crate) packing: Packing,
    /// How loud it is, if it says so.
    pub(crate) audio_level: Option<AudioLevel>,
}

/// What is known of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Facts {
    /// Nothing inside: padding, or a browser's first audio packets.
    Empty,
    /// Plain Opus.
    Opus,
    /// Opus in redundancy.
    Red(Red),
    /// VP8.
    Vp8(Vp8Facts),
    /// H.264. `starts_key_frame`: carries a sequence parameter set.
    H264 {
        /// A receiver can start here.
        starts_key_frame: bool,
    },
}

/// What is known of a VP8 payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vp8Facts {
    /// Its descriptor.
    pub(crate) descriptor: Descriptor,
    /// The picture id made wide, if there is one.
    pub(crate) picture_id: Option<u64>,
    /// First packet of a key frame.
    pub(crate) starts_key_frame: bool,
}

/// A stored packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    /// When it arrived.
    pub(crate) arrival: Instant,
    /// The publisher's sequence number, wide.
    pub(crate) sequence: u64,
    /// The publisher's timestamp, wide.
    pub(crate) timestamp: u64,
    /// Last packet of a frame (video) or first after a silence (audio).
    pub(crate) marker: bool,
    /// How the payload is packed.
    pub(crate) packing: Packing,
    /// How loud it is.
    pub(crate) audio_level: Option<AudioLevel>,
    /// What is known of the payload.
    pub(crate) facts: Facts,
    start: u32,
    len: u16,
}

impl Stored {
    /// Whether a receiver can start at this packet.
    pub(crate) const fn starts_key_frame(&self) -> bool {
        match self.facts {
            Facts::Vp8(vp8) => vp8.starts_key_frame,
            Facts::H264 { starts_key_frame } => starts_key_frame,
            Facts::Empty | Facts::Opus | Facts::Red(_) => false,
        }
    }

    /// Bytes of the buffer it holds. Empty payloads hold one, so that they are forgotten in their turn.
    const fn range(&self) -> (usize, usize) {
        let len = if self.len == 0 { 1 } else { self.len as usize };
        (self.start as usize, self.start as usize + len)
    }
}

/// Where a key frame starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyFrame {
    /// Its first packet's place.
    pub(crate) index: RingIndex,
    /// Its first packet's sequence number.
    pub(crate) sequence: u64,
    /// Its timestamp.
    pub(crate) timestamp: u64,
    /// When its first packet arrived.
    pub(crate) arrival: Instant,
    /// Width and height, where the codec shows them. Untrusted.
    pub(crate) size: Option<(u16, u16)>,
}

/// Why a packet was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// Longer than [`limits::MAX_PAYLOAD`].
    #[error("the payload is too long")]
    TooLong,
    /// The VP8 descriptor is damaged.
    #[error(transparent)]
    Vp8(#[from] Vp8Error),
    /// The redundancy headers are damaged.
    #[error(transparent)]
    Red(#[from] RedError),
}

/// What a reader finds at its cursor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Read<'a> {
    /// A packet and its payload; go on with the next place.
    Packet(&'a Stored, &'a [u8]),
    /// Nothing yet.
    Empty,
    /// The packet was forgotten before it was read. The oldest one still there is at this place.
    Overtaken(RingIndex),
}

/// See the module.
pub(crate) struct Ring {
    size: RingSize,
    /// Grows to `size.packets`, then entries are replaced; place `i` is at `i % size.packets`.
    entries: Vec<Stored>,
    bytes: Box<[u8]>,
    /// Where the next payload is written.
    write: usize,
    first: RingIndex,
    oldest: RingIndex,
    end: RingIndex,
    timestamps: TimestampUnwrapper,
    picture_ids_7: Unwrapper<7>,
    picture_ids_15: Unwrapper<15>,
    latest_key_frame: Option<KeyFrame>,
}

impl Ring {
    /// An empty ring. `serial` must be higher than that of any ring this one takes the place of: cursors and retransmissions then
    /// cannot mistake the one for the other.
    pub(crate) fn new(size: RingSize, serial: u32) -> Self {
        assert!(
            size.packets.is_power_of_two() && size.bytes >= limits::MAX_PAYLOAD,
            "a ring's bounds are constants of `limits`"
        );
        let first = RingIndex(u64::from(serial) << RingIndex::PACKET_BITS);
        Self {
            size,
            entries: Vec::with_capacity(size.packets),
            bytes: vec![0; size.bytes].into_boxed_slice(),
            write: 0,
            first,
            oldest: first,
            end: first,
            timestamps: TimestampUnwrapper::new(),
            picture_ids_7: Unwrapper::new(),
            picture_ids_15: Unwrapper::new(),
            latest_key_frame: None,
        }
    }

    /// Gives what is here new places, for a ring that takes the place of another. `serial` as in [`Self::new`].
    pub(crate) fn renumber(&mut self, serial: u32) {
        let before = self.first;
        self.first = RingIndex(u64::from(serial) << RingIndex::PACKET_BITS);
        let moved = |index: RingIndex| RingIndex(self.first.0 + (index.0 - before.0));
        (self.oldest, self.end) = (moved(self.oldest), moved(self.end));
        if let Some(key) = &mut self.latest_key_frame {
            key.index = moved(key.index);
        }
    }

    /// Stores a packet. The caller has seen to it that it is not a duplicate.
    ///
    /// # Errors
    /// [`StoreError`]; the ring is then as before.
    pub(crate) fn insert(&mut self, packet: Incoming, payload: &[u8]) -> Result<&Stored, StoreError> {
        if payload.len() > limits::MAX_PAYLOAD {
            return Err(StoreError::TooLong);
        }
        let facts = self.facts(packet.packing, payload)?;
        let start = self.make_room(payload.len().max(1));
        self.bytes[start..start + payload.len()].copy_from_slice(payload);
        let stored = Stored {
            arrival: packet.arrival,
            sequence: packet.sequence,
            timestamp: self.timestamps.unwrap(u64::from(packet.timestamp)),
            marker: packet.marker,
            packing: packet.packing,
            audio_level: packet.audio_level,
            facts,
            start: start as u32,
            len: payload.len() as u16,
        };
        let index = self.end;
        self.end = index.next();
        let slot = self.slot(index);
        if slot < self.entries.len() {
            self.entries[slot] = stored;
        } else {
            self.entries.push(stored);
        }
        if stored.starts_key_frame() {
            self.note_key_frame(index, &stored, payload);
        }
        Ok(&self.entries[slot])
    }

    fn facts(&mut self, packing: Packing, payload: &[u8]) -> Result<Facts, StoreError> {
        if payload.is_empty() {
            return Ok(Facts::Empty);
        }
        Ok(match packing {
            Packing::Plain(Codec::Opus) => Facts::Opus,
            Packing::Red => Facts::Red(Red::parse(payload)?),
            Packing::Plain(Codec::H264) => Facts::H264 {
                starts_key_frame: h264::sequence_parameter_set(payload).is_some(),
            },
            Packing::Plain(Codec::Vp8) => {
                let descriptor = Descriptor::parse(payload)?;
                Facts::Vp8(Vp8Facts {
                    descriptor,
                    picture_id: descriptor.picture_id.map(|id| match id.width {
                        Width::Seven => self.picture_ids_7.unwrap(u64::from(id.value)),
                        Width::Fifteen => self.picture_ids_15.unwrap(u64::from(id.value)),
                    }),
                    starts_key_frame: descriptor.starts_key_frame(payload),
                })
            }
        })
    }

    /// Forgets what the next `len` bytes are written over, and one entry more if all are taken. Returns where to write.
    fn make_room(&mut self, len: usize) -> usize {
        if self.write + len > self.bytes.len() {
            // The payload must lie in one piece: leave the rest of the buffer, and what is there, behind.
            let left = self.write;
            self.forget_while(|stored| stored.range().0 >= left);
            self.write = 0;
        }
        let (start, end) = (self.write, self.write + len);
        self.forget_while(|stored| {
            let (first, last) = stored.range();
            first < end && start < last
        });
        if self.end.0 - self.oldest.0 == self.size.packets as u64 {
            self.oldest = self.oldest.next();
        }
        self.write = end;
        start
    }

    fn forget_while(&mut self, condition: impl Fn(&Stored) -> bool) {
        while self.oldest < self.end && condition(&self.entries[self.slot(self.oldest)]) {
            self.oldest = self.oldest.next();
        }
    }

    fn note_key_frame(&mut self, index: RingIndex, stored: &Stored, payload: &[u8]) {
        let size = match stored.facts {
            Facts::Vp8(vp8) => vp8.descriptor.key_frame_size(payload),
            Facts::H264 { .. } => h264::sequence_parameter_set(payload).and_then(h264::picture_size),
            Facts::Empty | Facts::Opus | Facts::Red(_) => None,
        };
        // H.264 may repeat its parameter sets inside a frame: it starts with the first of them.
        let later = |known: &KeyFrame| {
            stored.timestamp > known.timestamp
                || (stored.timestamp == known.timestamp && stored.sequence < known.sequence)
        };
        if self.latest_key_frame.as_ref().is_none_or(later) {
            self.latest_key_frame = Some(KeyFrame {
                index,
                sequence: stored.sequence,
                timestamp: stored.timestamp,
                arrival: stored.arrival,
                size,
            });
        }
    }

    const fn slot(&self, index: RingIndex) -> usize {
        ((index.0 - self.first.0) & (self.size.packets as u64 - 1)) as usize
    }

    /// The place the next packet will get: a cursor that sees only what is yet to come.
    pub(crate) const fn end(&self) -> RingIndex {
        self.end
    }

    /// The place of the packet that arrived last, if it is still there.
    pub(crate) fn newest(&self) -> Option<RingIndex> {
        (self.oldest < self.end).then(|| RingIndex(self.end.0 - 1))
    }

    /// What is at a place.
    pub(crate) fn read(&self, cursor: RingIndex) -> Read<'_> {
        if cursor < self.oldest {
            Read::Overtaken(self.oldest)
        } else if cursor >= self.end {
            Read::Empty
        } else {
            let stored = &self.entries[self.slot(cursor)];
            let start = stored.start as usize;
            Read::Packet(stored, &self.bytes[start..start + usize::from(stored.len)])
        }
    }

    /// The packet at a marked place, if the ring still has it.
    pub(crate) fn find(&self, mark: RingMark) -> Option<(&Stored, &[u8])> {
        let end = self.end.mark();
        let back = u64::from(end.count.wrapping_sub(mark.count));
        let index = RingIndex(self.end.0.checked_sub(back)?);
        match self.read(index) {
            Read::Packet(stored, payload) if index.mark() == mark => Some((stored, payload)),
            _ => None,
        }
    }

    /// What came before a place and is still there, the latest first.
    pub(crate) fn before(&self, place: RingIndex) -> impl Iterator<Item = (&Stored, &[u8])> {
        let places = self.oldest.0..place.0.min(self.end.0);
        places.rev().map_while(|place| match self.read(RingIndex(place)) {
            Read::Packet(stored, payload) => Some((stored, payload)),
            Read::Empty | Read::Overtaken(_) => None,
        })
    }

    /// The latest key frame whose first packet is still there.
    pub(crate) fn latest_key_frame(&self) -> Option<&KeyFrame> {
        self.latest_key_frame.as_ref().filter(|key| key.index >= self.oldest)
    }

    /// Where to read a key frame from: its first packet's place, or that of the earliest packet which belongs after it but came
    /// before it. Packets from before the key frame may lie in between.
    pub(crate) fn start_of(&self, key: &KeyFrame) -> RingIndex {
        let lowest = key.index.0.saturating_sub(limits::SWITCH_LOOK_BACK).max(self.oldest.0);
        (lowest..key.index.0)
            .map(RingIndex)
            .find(|place| self.entries[self.slot(*place)].sequence > key.sequence)
            .unwrap_or(key.index)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::testing;

    const SMALL: RingSize = RingSize {
        packets: 8,
        bytes: limits::MAX_PAYLOAD * 2,
    };

    fn incoming(sequence: u64, packing: Packing) -> Incoming {
        Incoming {
            arrival: testing::start() + Duration::from_millis(sequence),
            sequence,
            timestamp: 3_000 * sequence as u32,
            marker: true,
            packing,
            audio_level: None,
        }
    }

    const OPUS: Packing = Packing::Plain(Codec::Opus);
    const VP8: Packing = Packing::Plain(Codec::Vp8);
    const KEY: [u8; 12] = [0x90, 0x80, 0x80, 0x05, 0x50, 0x2f, 0x01, 0x9d, 0x01, 0x2a, 0x80, 0x02];

    #[test]
    fn readers_see_packets_in_order_of_arrival() {
        let mut ring = Ring::new(SMALL, 0);
        let mut cursor = ring.end();
        assert!(matches!(ring.read(cursor), Read::Empty));
        for sequence in [5, 7, 6] {
            ring.insert(incoming(sequence, OPUS), &[sequence as u8]).unwrap();
        }
        for expected in [5_u8, 7, 6] {
            let Read::Packet(stored, payload) = ring.read(cursor) else {
                panic!("{expected} is there")
            };
            assert_eq!((stored.sequence, payload), (u64::from(expected), &[expected][..]));
            cursor = cursor.next();
        }
        assert!(matches!(ring.read(cursor), Read::Empty));
    }

    #[test]
    fn a_late_reader_is_told() {
        let mut ring = Ring::new(SMALL, 3);
        let start = ring.end();
        for sequence in 0..9 {
            ring.insert(incoming(sequence, OPUS), &[]).unwrap();
        }
        let Read::Overtaken(oldest) = ring.read(start) else {
            panic!("eight fit")
        };
        assert_eq!(oldest, start.next());
        assert!(matches!(ring.read(oldest), Read::Packet(stored, []) if stored.sequence == 1));
        // A cursor into the ring that was here before.
        assert!(matches!(ring.read(Ring::new(SMALL, 2).end()), Read::Overtaken(_)));
    }

    #[test]
    fn a_marked_packet_is_found_while_it_is_there() {
        let mut ring = Ring::new(SMALL, 3);
        let mut marks = Vec::new();
        for sequence in 0..10 {
            marks.push(ring.end().mark());
            ring.insert(incoming(sequence, OPUS), &[sequence as u8]).unwrap();
        }
        let found: Vec<u64> = marks
            .iter()
            .filter_map(|mark| ring.find(*mark).map(|(stored, _)| stored.sequence))
            .collect();
        assert_eq!(found, [2, 3, 4, 5, 6, 7, 8, 9], "eight are held");
        assert!(ring.find(ring.end().mark()).is_none(), "still to come");
        let other = RingMark { serial: 2, ..marks[9] };
        assert!(ring.find(other).is_none(), "of a ring that was here before");
        ring.renumber(4);
        assert!(ring.find(marks[9]).is_none(), "the ring has another place now");
    }

    #[test]
    fn a_ring_in_anothers_place_keeps_what_it_has_under_new_numbers() {
        let mut ring = Ring::new(SMALL, 1);
        for sequence in 0..11 {
            let payload: &[u8] = if sequence == 9 { &KEY } else { &[0x80, sequence as u8] };
            let packing = if sequence == 9 { VP8 } else { OPUS };
            ring.insert(incoming(sequence, packing), payload).unwrap();
        }
        let (before, oldest) = (ring.end(), ring.oldest);
        ring.renumber(4);
        assert!(matches!(ring.read(before), Read::Overtaken(_)), "a cursor of before");
        assert!(matches!(ring.read(Ring::new(SMALL, 3).end()), Read::Overtaken(_)));
        assert_eq!(ring.end().0 - ring.oldest.0, before.0 - oldest.0);
        let key = ring.latest_key_frame().unwrap();
        assert!(
            matches!(ring.read(key.index), Read::Packet(stored, payload) if stored.sequence == 9 && payload == KEY)
        );
        ring.insert(incoming(11, OPUS), &[7]).unwrap();
        let newest = ring.newest().unwrap();
        assert!(matches!(ring.read(newest), Read::Packet(stored, [7]) if stored.sequence == 11));
    }

    #[test]
    fn payloads_are_looked_into() {
        let mut ring = Ring::new(SMALL, 0);
        assert_eq!(
            ring.insert(incoming(1, OPUS), &[0; limits::MAX_PAYLOAD + 1])
                .map(|_| ()),
            Err(StoreError::TooLong)
        );
        assert!(matches!(
            ring.insert(incoming(1, VP8), &[0x80]),
            Err(StoreError::Vp8(_))
        ));
        assert!(matches!(
            ring.insert(incoming(1, Packing::Red), &[0x80]),
            Err(StoreError::Red(_))
        ));
        assert_eq!(ring.end(), Ring::new(SMALL, 0).end());
        assert_eq!(ring.insert(incoming(1, VP8), &[]).unwrap().facts, Facts::Empty);
        let red = ring.insert(incoming(2, Packing::Red), b"\x6fnew").unwrap();
        assert_eq!(red.facts, Facts::Red(Red { primary: 1 }));
        let sps = ring
            .insert(incoming(3, Packing::Plain(Codec::H264)), &[0x67, 0x42])
            .unwrap();
        assert!(sps.starts_key_frame());
    }

    #[test]
    fn the_latest_key_frame_is_found_with_packets_that_came_before_it() {
        let mut ring = Ring::new(SMALL, 0);
        let mut delta = KEY;
        delta[4] |= 1;
        let mut continued = KEY;
        continued[0] = 0x80;
        ring.insert(incoming(9, VP8), &delta).unwrap();
        assert_eq!(ring.latest_key_frame(), None);
        // 10 is the key frame's first packet and comes after 11 and 12.
        for (sequence, payload) in [(11, continued), (8, delta), (12, delta), (10, KEY), (13, delta)] {
            ring.insert(incoming(sequence, VP8), &payload).unwrap();
        }
        let key = *ring.latest_key_frame().unwrap();
        assert_eq!(key.sequence, 10);
        assert!(matches!(ring.read(ring.start_of(&key)), Read::Packet(stored, _) if stored.sequence == 11));
        for sequence in 14..21 {
            ring.insert(incoming(sequence, VP8), &delta).unwrap();
        }
        assert_eq!(ring.latest_key_frame(), None, "it was forgotten");
    }

    proptest! {
        /// Whatever is still readable is what was written, and the newest packets always are readable.
        #[test]
        fn payloads_are_kept_whole(lens in prop::collection::vec(0..limits::MAX_PAYLOAD, 1..200)) {
            let mut ring = Ring::new(SMALL, 1);
            let mut cursor = ring.end();
            for (i, len) in lens.iter().enumerate() {
                ring.insert(incoming(i as u64, OPUS), &vec![i as u8; *len]).unwrap();
                let Read::Packet(stored, payload) = ring.read(cursor) else { panic!("the newest is there") };
                prop_assert_eq!((stored.sequence, payload.len()), (i as u64, *len));
                cursor = cursor.next();
                let Read::Overtaken(mut place) = ring.read(RingIndex(0)) else { panic!("ring 0 is gone") };
                let mut held = 0;
                while let Read::Packet(stored, payload) = ring.read(place) {
                    prop_assert_eq!(payload.len(), lens[stored.sequence as usize]);
                    prop_assert!(payload.iter().all(|byte| *byte == stored.sequence as u8));
                    place = place.next();
                    held += 1;
                }
                prop_assert_eq!(place, cursor);
                prop_assert!((1..=SMALL.packets).contains(&held));
            }
        }
    }
}
