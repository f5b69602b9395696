//! Pictures nobody sees: packets that look like VP8 to a forwarder and tell a viewer exactly which frame they are.
//!
//! Every packet carries a stamp behind its VP8 headers: encoding, frame number, place in the frame. A real decoder shows rubbish
//! or freezes when a frame is missing; [`Viewer`] says which one, and checks everything the forwarder rewrites.

use std::collections::BTreeMap;

/// 90 kHz at 30 frames a second.
const TICKS_PER_FRAME: u32 = 3_000;
/// Descriptor with 15-bit picture id, TL0PICIDX and temporal layer (RFC 7741 §4.2).
const DESCRIPTOR_BYTES: usize = 6;
const STAMP_BYTES: usize = 8;

/// One encoding of a camera.
pub struct Encoder {
    encoding: u8,
    size: (u16, u16),
    /// Packets of a delta frame; a key frame has three times as many.
    packets_per_frame: u8,
    frame: u32,
    picture_id: u16,
    tl0: u8,
    timestamp: u32,
}

/// One packet to be sent.
pub struct Packet {
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
}

impl Encoder {
    /// Counters start where they will wrap within seconds.
    pub fn new(encoding: u8, size: (u16, u16), packets_per_frame: u8) -> Self {
        Self {
            encoding,
            size,
            packets_per_frame,
            frame: 0,
            picture_id: 0x7fff - 40 - u16::from(encoding),
            tl0: 240,
            timestamp: u32::MAX - 60 * TICKS_PER_FRAME,
        }
    }

    /// The next frame's packets, all but the last 1,100 bytes.
    pub fn frame(&mut self, key: bool) -> Vec<Packet> {
        let count = if key {
            3 * self.packets_per_frame
        } else {
            self.packets_per_frame
        };
        let packets = (0..count).map(|index| self.packet(key, index, count)).collect();
        self.frame += 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0 = self.tl0.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(TICKS_PER_FRAME);
        packets
    }

    fn packet(&self, key: bool, index: u8, count: u8) -> Packet {
        let first = index == 0;
        let mut payload = vec![
            0x80 | u8::from(first) << 4,
            0xe0,
            0x80 | (self.picture_id >> 8) as u8,
            self.picture_id as u8,
            self.tl0,
            0x20,
        ];
        if first {
            // RFC 6386 §9.1: frame tag with the inverse key frame bit; a key frame then has its start code and size.
            payload.extend([0x10 | u8::from(!key), 0x02, 0x00]);
            if key {
                payload.extend([0x9d, 0x01, 0x2a]);
                payload.extend(self.size.0.to_le_bytes());
                payload.extend(self.size.1.to_le_bytes());
            }
        }
        let marker = index + 1 == count;
        let filler = if marker { 300 } else { 1_100 };
        payload.resize(filler, self.encoding);
        payload.extend([self.encoding, index, count, u8::from(key)]);
        payload.extend(self.frame.to_be_bytes());
        Packet {
            timestamp: self.timestamp,
            marker,
            payload,
        }
    }
}

/// What is in a packet, as far as a viewer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    timestamp: u32,
    marker: bool,
    content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Empty, or too short for our stamp: padding.
    Padding,
    Slice(Slice),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    start: bool,
    picture_id: u16,
    tl0: u8,
    encoding: u8,
    index: u8,
    count: u8,
    key: bool,
    frame: u32,
    size: Option<(u16, u16)>,
}

impl Slice {
    fn parse(payload: &[u8]) -> Option<Self> {
        let stamp = payload.len().checked_sub(STAMP_BYTES)?;
        let (body, stamp) = payload.split_at(stamp);
        let [first, 0xe0, high, low, tl0, _, rest @ ..] = body else {
            return None;
        };
        let start = first & 0x10 != 0;
        let size = match rest {
            [_, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..] if start => {
                Some((u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d])))
            }
            _ => None,
        };
        Some(Self {
            start,
            picture_id: u16::from_be_bytes([high & 0x7f, *low]),
            tl0: *tl0,
            encoding: stamp[0],
            index: stamp[1],
            count: stamp[2],
            key: stamp[3] == 1,
            frame: u32::from_be_bytes([stamp[4], stamp[5], stamp[6], stamp[7]]),
            size,
        })
    }
}

/// Stands for a jitter buffer and a decoder: takes packets in any order, shows frames in order, and notes every fault.
#[derive(Default)]
pub struct Viewer {
    /// Extended sequence number of the next packet to look at.
    next: Option<u64>,
    highest: u64,
    waiting: BTreeMap<u64, Seen>,
    decoder: Option<Shown>,
    frame: Vec<Slice>,
    frame_timestamp: u32,
    shown: Vec<Shown>,
    faults: Vec<String>,
    /// Packets, the same one twice counted twice.
    pub packets: u64,
}

/// A decoded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    pub encoding: u8,
    pub key: bool,
    pub size: (u16, u16),
    number: u32,
    picture_id: u16,
    tl0: u8,
    timestamp: u32,
}

impl Viewer {
    /// Takes a packet as it came.
    pub fn receive(&mut self, sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) {
        self.packets += 1;
        let content = Slice::parse(payload).map_or(Content::Padding, Content::Slice);
        let seen = Seen {
            timestamp,
            marker,
            content,
        };
        let extended = match self.next {
            None => 1 << 32 | u64::from(sequence),
            Some(_) => extend(self.highest, sequence),
        };
        self.next.get_or_insert(extended);
        self.highest = self.highest.max(extended);
        if self.next.is_some_and(|next| extended >= next) {
            self.waiting.entry(extended).or_insert(seen);
        }
        while let Some(next) = self.next
            && let Some(seen) = self.waiting.remove(&next)
        {
            self.next = Some(next + 1);
            self.play(next, seen);
        }
    }

    /// Frames shown so far, oldest first.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// How many frames of an encoding were shown.
    pub fn frames_of(&self, encoding: u8) -> usize {
        self.shown.iter().filter(|shown| shown.encoding == encoding).count()
    }

    /// Everything that would have shown as rubbish, a freeze or a jump, and what a forwarder must not do.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Sequence numbers below the highest that never came.
    pub fn missing(&self) -> u64 {
        self.next
            .map_or(0, |next| self.highest + 1 - next - self.waiting.len() as u64)
    }

    fn play(&mut self, sequence: u64, seen: Seen) {
        let Content::Slice(slice) = seen.content else { return };
        if self.frame.is_empty() {
            self.frame_timestamp = seen.timestamp;
        }
        if self.frame_timestamp != seen.timestamp {
            let text = format!("packet {sequence}: the timestamp changes inside frame {}", slice.frame);
            self.faults.push(text);
        }
        self.frame.push(slice);
        if seen.marker {
            let slices = std::mem::take(&mut self.frame);
            self.show(sequence, &slices, seen.timestamp);
        }
    }

    fn show(&mut self, sequence: u64, slices: &[Slice], timestamp: u32) {
        let first = slices[0];
        let mut fault = |text: &str| self.faults.push(format!("packet {sequence}: {text}: {first:?}"));
        let whole = slices.len() == usize::from(first.count)
            && slices.iter().enumerate().all(|(index, slice)| {
                (
                    usize::from(slice.index),
                    slice.frame,
                    slice.encoding,
                    slice.picture_id,
                    slice.tl0,
                ) == (index, first.frame, first.encoding, first.picture_id, first.tl0)
            });
        if !whole || !first.start {
            return fault("a frame is not whole");
        }
        let size = match (self.decoder, first.size) {
            (_, Some(size)) if first.key => size,
            (Some(before), None) if !first.key => before.size,
            _ => return fault("no key frame first"),
        };
        if let Some(before) = self.decoder {
            if !first.key && (first.encoding, first.frame) != (before.encoding, before.number + 1) {
                return fault("a frame refers to one that was not shown");
            }
            if first.picture_id != (before.picture_id + 1) & 0x7fff {
                fault("the picture id jumps");
            }
            if first.tl0 != before.tl0.wrapping_add(1) {
                fault("TL0PICIDX jumps");
            }
            if !(1..=90_000 * 60).contains(&timestamp.wrapping_sub(before.timestamp)) {
                fault("the timestamp does not go on");
            }
        }
        let shown = Shown {
            encoding: first.encoding,
            key: first.key,
            size,
            number: first.frame,
            picture_id: first.picture_id,
            tl0: first.tl0,
            timestamp,
        };
        self.decoder = Some(shown);
        self.shown.push(shown);
    }
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer")
            .field("packets", &self.packets)
            .field("missing", &self.missing())
            .field("shown", &self.shown.len())
            .field("last", &self.shown.last())
            .field("faults", &self.faults.len())
            .field("first", &self.faults.first())
            .finish_non_exhaustive()
    }
}

/// The extended number nearest to `highest`.
pub fn extend(highest: u64, sequence: u16) -> u64 {
    let ahead = sequence.wrapping_sub(highest as u16) as i16;
    highest.wrapping_add_signed(i64::from(ahead))
}

/// Counts what an audio line got: which sequence numbers, and whether timestamps keep step.
#[derive(Debug, Default)]
pub struct Listener {
    highest: Option<u64>,
    pub packets: u64,
    pub lost: u64,
}

impl Listener {
    pub fn receive(&mut self, sequence: u16) {
        self.packets += 1;
        let extended = self
            .highest
            .map_or(u64::from(sequence), |highest| extend(highest, sequence));
        match self.highest {
            Some(highest) if extended <= highest => self.lost = self.lost.saturating_sub(1),
            Some(highest) => {
                self.lost += extended - highest - 1;
                self.highest = Some(extended);
            }
            None => self.highest = Some(extended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(encoder: &mut Encoder, viewer: &mut Viewer, sequence: &mut u16, key: bool, lose: Option<usize>) {
        for (index, packet) in encoder.frame(key).into_iter().enumerate() {
            if lose != Some(index) {
                viewer.receive(*sequence, packet.timestamp, packet.marker, &packet.payload);
            }
            *sequence = sequence.wrapping_add(1);
        }
    }

    #[test]
    fn a_whole_stream_has_no_faults_over_every_wrap() {
        let (mut encoder, mut viewer, mut sequence) = (Encoder::new(1, (1280, 720), 4), Viewer::default(), 65_500);
        for frame in 0..300 {
            watch(&mut encoder, &mut viewer, &mut sequence, frame % 100 == 0, None);
        }
        assert_eq!(
            (viewer.faults(), viewer.missing(), viewer.frames_of(1)),
            (&[][..], 0, 300)
        );
    }

    #[test]
    fn a_lost_packet_stops_the_picture_and_is_counted() {
        let (mut encoder, mut viewer, mut sequence) = (Encoder::new(1, (1280, 720), 4), Viewer::default(), 1);
        watch(&mut encoder, &mut viewer, &mut sequence, true, None);
        watch(&mut encoder, &mut viewer, &mut sequence, false, Some(1));
        watch(&mut encoder, &mut viewer, &mut sequence, false, None);
        assert_eq!((viewer.missing(), viewer.frames_of(1)), (1, 1));
    }

    #[test]
    fn a_switch_without_key_frame_is_a_fault() {
        let (mut low, mut high) = (Encoder::new(0, (853, 480), 2), Encoder::new(1, (1280, 720), 4));
        let (mut viewer, mut sequence) = (Viewer::default(), 1);
        low.frame(true);
        watch(&mut high, &mut viewer, &mut sequence, true, None);
        watch(&mut low, &mut viewer, &mut sequence, false, None);
        assert!(
            viewer.faults()[0].contains("refers to one that was not shown"),
            "{viewer:?}"
        );
    }
}
