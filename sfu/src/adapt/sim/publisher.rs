//! A camera as Chromium sends it: two layers of three temporal layers each, key frames when asked, of a camera's size.

use crate::adapt::Rates;
use crate::media::{Bitrate, Layer};
use crate::testing::Chance;

/// Longest RTP packet of a frame.
const PACKET: usize = 1_150;

/// A packet of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) layer: Layer,
    pub(super) frame: u64,
    pub(super) temporal: u8,
    pub(super) begins_frame: bool,
    pub(super) starts_key_frame: bool,
    pub(super) size: usize,
    /// At the server.
    pub(super) arrived_ms: u64,
}

struct Encoder {
    layer: Layer,
    kbps: f64,
    key_bytes: (u64, u64),
    /// Bytes spent above the rate, that following frames have to save.
    debt: f64,
    /// Rate over the last second, one frame at a time.
    recent: std::collections::VecDeque<usize>,
}

pub(super) struct Publisher {
    chance: Chance,
    encoders: [Encoder; 2],
    next_frame: u64,
    frame: u64,
    key_at: Option<u64>,
    last_key: u64,
}

impl Publisher {
    pub(super) fn new(seed: u64) -> Self {
        let encoder = |layer, kbps, key_bytes| Encoder {
            layer,
            kbps,
            key_bytes,
            debt: 0.0,
            recent: std::collections::VecDeque::new(),
        };
        Self {
            chance: Chance::new(seed),
            encoders: [
                encoder(Layer::P480, 580.0, (18_000, 28_000)),
                encoder(Layer::P720, 1_450.0, (38_000, 60_000)),
            ],
            next_frame: 5 + seed % 33,
            frame: 0,
            key_at: Some(0),
            last_key: 0,
        }
    }

    /// A request arrives: a key frame of both layers 16 to 47 ms later.
    pub(super) fn request_key_frame(&mut self, ms: u64) {
        if self.key_at.is_none() {
            let at = ms + 16 + self.chance.below(32);
            self.key_at = Some(at.max(self.last_key + 200));
        }
    }

    pub(super) fn rates(&self) -> Rates {
        let rate = |encoder: &Encoder| {
            let bytes: usize = encoder.recent.iter().sum();
            let rate = Bitrate::from_bps(bytes as u64 * 8 * 30 / encoder.recent.len().max(1) as u64);
            (!encoder.recent.is_empty()).then_some(rate)
        };
        Rates {
            small: rate(&self.encoders[0]),
            large: rate(&self.encoders[1]),
        }
    }

    pub(super) fn step(&mut self, ms: u64, mut emit: impl FnMut(Packet)) {
        if ms < self.next_frame {
            return;
        }
        // 30 frames a second in whole milliseconds.
        self.next_frame += if self.frame.is_multiple_of(3) { 34 } else { 33 };
        let key = self.key_at.is_some_and(|at| at <= ms);
        if key {
            self.key_at = None;
            self.last_key = ms;
        }
        let temporal = if key {
            0
        } else {
            [0, 2, 1, 2][(self.frame % 4) as usize]
        };
        for encoder in &mut self.encoders {
            let mean = encoder.kbps * 125.0 / 30.0;
            let bytes = if key {
                let (least, most) = encoder.key_bytes;
                let bytes = least + self.chance.below(most - least);
                encoder.debt += bytes as f64 - mean;
                bytes as f64
            } else {
                let share = [1.6, 0.8, 0.8][usize::from(temporal)];
                let saved = (encoder.debt * 0.05).min(mean * 0.4).max(0.0);
                encoder.debt -= saved;
                let noise = 0.7 + self.chance.below(600) as f64 / 1_000.0;
                (mean * share * noise - saved).max(150.0)
            };
            let parts = (bytes as usize).div_ceil(PACKET);
            let size = bytes as usize / parts + 30;
            encoder.recent.push_back(size * parts);
            if encoder.recent.len() > 30 {
                encoder.recent.pop_front();
            }
            for part in 0..parts {
                emit(Packet {
                    layer: encoder.layer,
                    frame: self.frame,
                    temporal,
                    begins_frame: part == 0,
                    starts_key_frame: key && part == 0,
                    size,
                    arrived_ms: 0,
                });
            }
        }
        self.frame += 1;
    }
}
