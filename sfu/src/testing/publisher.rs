//! A publisher of VP8-like simulcast: right descriptors and numbers, made-up pictures that say what they are.

use std::time::Duration;

use super::Chance;
use crate::media::Layer;

/// Ticks of a frame at 30 frames a second.
const FRAME_TICKS: u32 = 3_000;
/// Time of a frame at 30 frames a second.
pub(crate) const FRAME_TIME: Duration = Duration::from_nanos(33_333_333);

/// What the first byte after the descriptor and key frame header is followed by: layer, frame, the frame it refers to, part, parts.
pub(super) const STAMP_LEN: usize = 1 + 4 + 4 + 1 + 1;

/// One RTP packet before it has a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPacket {
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Last packet of its frame.
    pub marker: bool,
    /// Payload.
    pub payload: Vec<u8>,
}

/// One simulcast layer's encoder.
#[derive(Clone, Debug)]
struct Encoder {
    layer: Layer,
    sequence: u16,
    first_timestamp: u32,
    picture_id: u16,
    tl0: u8,
    frame: u32,
    /// The last frame of the lowest temporal layer: what the next one refers to, of whichever layer.
    base: u32,
    key_wanted: bool,
    size: (u16, u16),
    /// Bytes of a delta frame, on average.
    bytes: usize,
}

/// Two layers of one camera, 30 frames a second. All first numbers are random, and different for each layer.
#[derive(Clone, Debug)]
pub struct VideoPublisher {
    chance: Chance,
    encoders: [Encoder; 2],
    tick: u32,
}

impl VideoPublisher {
    /// The first frame of each layer is a key frame.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut encoder = |layer, size, kbps: usize| Encoder {
            layer,
            sequence: chance.bits() as u16,
            first_timestamp: chance.bits() as u32,
            picture_id: chance.bits() as u16 & 0x7fff,
            tl0: chance.bits() as u8,
            frame: 0,
            base: 0,
            key_wanted: true,
            size,
            bytes: kbps * 125 / 30,
        };
        let encoders = [
            encoder(Layer::P480, (853, 480), 600),
            encoder(Layer::P720, (1280, 720), 1_500),
        ];
        Self {
            chance,
            encoders,
            tick: 0,
        }
    }

    /// Takes the next picture.
    pub fn advance(&mut self) {
        self.tick += 1;
    }

    /// Time from the first picture to this one.
    #[must_use]
    pub fn time(&self) -> Duration {
        FRAME_TIME * self.tick
    }

    /// Like a PLI: the next frame of every layer is a key frame.
    pub fn request_key_frame(&mut self) {
        for encoder in &mut self.encoders {
            encoder.key_wanted = true;
        }
    }

    /// The RTP timestamp of this picture on a layer: what a sender report would tie to [`Self::time`].
    #[must_use]
    pub fn timestamp(&self, layer: Layer) -> u32 {
        let encoder = &self.encoders[layer as usize];
        encoder
            .first_timestamp
            .wrapping_add(self.tick.wrapping_mul(FRAME_TICKS))
    }

    /// The packets of this picture on a layer.
    pub fn encode(&mut self, layer: Layer) -> Vec<MediaPacket> {
        let timestamp = self.timestamp(layer);
        let chance = &mut self.chance;
        let encoder = &mut self.encoders[layer as usize];
        debug_assert_eq!(encoder.layer, layer);
        let key = std::mem::take(&mut encoder.key_wanted);
        let mut bytes = encoder.bytes / 2 + chance.below(encoder.bytes as u64) as usize;
        if key {
            bytes *= 4;
        }
        let temporal = if key { 0 } else { (encoder.frame % 2) as u8 };
        if temporal == 0 {
            encoder.tl0 = encoder.tl0.wrapping_add(1);
        }
        let parts = bytes.div_ceil(1_100);
        let packets = (0..parts)
            .map(|part| {
                let id = (encoder.picture_id | 0x8000).to_be_bytes();
                let start = if part == 0 { 0x90 } else { 0x80 };
                let mut payload = vec![start, 0xe0, id[0], id[1], encoder.tl0, temporal << 6 | temporal << 5];
                if part == 0 && key {
                    let ((w, h), tag) = (encoder.size, 0x10);
                    payload.extend([tag, 0, 0, 0x9d, 0x01, 0x2a]);
                    payload.extend(w.to_le_bytes());
                    payload.extend(h.to_le_bytes());
                } else {
                    payload.push(0x11);
                }
                payload.push(layer as u8);
                payload.extend(encoder.frame.to_be_bytes());
                payload.extend(if key { encoder.frame } else { encoder.base }.to_be_bytes());
                payload.extend([part as u8, parts as u8]);
                // Equal within a byte, the shorter ones first: as browsers cut a frame.
                payload.resize(((bytes + part) / parts).max(payload.len()), part as u8);
                let packet = MediaPacket {
                    sequence: encoder.sequence,
                    timestamp,
                    marker: part + 1 == parts,
                    payload,
                };
                encoder.sequence = encoder.sequence.wrapping_add(1);
                packet
            })
            .collect();
        if temporal == 0 {
            encoder.base = encoder.frame;
        }
        encoder.frame += 1;
        encoder.picture_id = (encoder.picture_id + 1) & 0x7fff;
        packets
    }
}
