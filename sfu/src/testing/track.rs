//! A published video or audio track for tests: rings that packets are put into, and what the publisher reports.

use std::time::{Duration, Instant};

use super::publisher::MediaPacket;
use crate::clock::NtpTime;
use crate::media::{Codec, Layer};
use crate::ntp::{NtpSpan, SrMapping};
use crate::ring::{Incoming, Packing, Ring, StoreError};
use crate::rtp::SequenceUnwrapper;
use crate::send::LayerSource;
use crate::{limits, testing};

/// One layer, or the one stream of audio.
pub(crate) struct TestLayer {
    pub(crate) ring: Ring,
    sequences: SequenceUnwrapper,
    pub(crate) mapping: Option<SrMapping>,
    pub(crate) active: bool,
}

/// See the module.
pub(crate) struct TestTrack {
    /// Video: 480p, 720p. Audio: the first alone.
    pub(crate) layers: Vec<TestLayer>,
    pub(crate) clock_offset: Option<NtpSpan>,
    audio: bool,
}

impl TestTrack {
    fn new(sizes: &[crate::ring::RingSize], audio: bool) -> Self {
        let layer = |size: &crate::ring::RingSize| TestLayer {
            ring: Ring::new(*size, 1),
            sequences: SequenceUnwrapper::new(),
            mapping: None,
            active: true,
        };
        Self {
            layers: sizes.iter().map(layer).collect(),
            clock_offset: None,
            audio,
        }
    }

    pub(crate) fn video() -> Self {
        Self::new(&[limits::SMALL_VIDEO_RING, limits::LARGE_VIDEO_RING], false)
    }

    pub(crate) fn audio() -> Self {
        Self::new(&[limits::AUDIO_RING], true)
    }

    pub(crate) fn layer_mut(&mut self, layer: Layer) -> &mut TestLayer {
        &mut self.layers[layer as usize]
    }

    /// Stores a packet of a video layer.
    pub(crate) fn store(&mut self, layer: Layer, packet: &MediaPacket, now: Instant) {
        self.layers[layer as usize]
            .store(packet, Packing::Plain(Codec::Vp8), now)
            .unwrap();
    }

    /// Stores a packet of audio.
    pub(crate) fn store_audio(&mut self, packet: &MediaPacket, packing: Packing, now: Instant) {
        self.layers[0].store(packet, packing, now).unwrap();
    }

    /// Like sender reports of both layers about the picture the publisher has just taken.
    pub(crate) fn report(&mut self, publisher: &testing::VideoPublisher, epoch: NtpTime) {
        for layer in [Layer::P480, Layer::P720] {
            self.layer_mut(layer).mapping = Some(SrMapping {
                ntp: epoch + publisher.time(),
                rtp: publisher.timestamp(layer),
            });
        }
        self.clock_offset = Some(NtpSpan::from(Duration::ZERO));
    }

    fn get(&self, layer: Option<Layer>) -> Option<&TestLayer> {
        match layer {
            Some(layer) if !self.audio => self.layers.get(layer as usize),
            None if self.audio => self.layers.first(),
            _ => None,
        }
    }
}

impl TestLayer {
    fn store(&mut self, packet: &MediaPacket, packing: Packing, now: Instant) -> Result<(), StoreError> {
        let incoming = Incoming {
            arrival: now,
            sequence: self.sequences.unwrap(u64::from(packet.sequence)),
            timestamp: packet.timestamp,
            marker: packet.marker,
            packing,
            audio_level: None,
        };
        self.ring.insert(incoming, &packet.payload).map(|_| ())
    }
}

impl LayerSource for TestTrack {
    fn ring(&self, layer: Option<Layer>) -> Option<&Ring> {
        self.get(layer).map(|layer| &layer.ring)
    }

    fn sr_mapping(&self, layer: Option<Layer>) -> Option<SrMapping> {
        self.get(layer)?.mapping
    }

    fn clock_offset(&self) -> Option<NtpSpan> {
        self.clock_offset
    }

    fn only_layer(&self) -> Option<Layer> {
        None
    }

    fn is_active(&self, layer: Layer) -> bool {
        self.get(Some(layer)).is_some_and(|layer| layer.active)
    }
}
