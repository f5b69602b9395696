//! The forwarding path alone, for benchmarks: no transport, no crypto.

use std::time::Instant;

use super::VideoPublisher;
use super::track::TestTrack;
use crate::clock::NtpTime;
use crate::ext::ExtensionIds;
use crate::ids::{Mid, PayloadType, Ssrc, TrackId};
use crate::limits;
use crate::media::{Kind, Layer};
use crate::send::{MAX_HEADER, Negotiated, PayloadTypes, SlotConfig, Stamp, Subscription};

/// One publisher of 720p, some viewers, virtual time.
pub struct Forwarding {
    publisher: VideoPublisher,
    track: TestTrack,
    viewers: Vec<Subscription>,
    /// Where virtual time began.
    start: Instant,
    transport_wide: u16,
    out: Box<[u8]>,
}

impl Forwarding {
    /// All viewers watch; the first picture starts them.
    #[must_use]
    pub fn new(viewers: u64, start: Instant) -> Self {
        let config = |n: u64| SlotConfig {
            mid: Mid::new("0").expect("a valid tag"),
            kind: Kind::Video,
            ssrc: Ssrc(n as u32),
            rtx_ssrc: Some(Ssrc(n as u32 | 1 << 31)),
            payload_types: PayloadTypes {
                vp8: Some(Negotiated {
                    media: PayloadType(96),
                    rtx: Some(PayloadType(97)),
                }),
                ..PayloadTypes::default()
            },
            extensions: ExtensionIds {
                twcc: Some(3),
                ..ExtensionIds::default()
            },
        };
        let viewers = (0..viewers)
            .map(|n| {
                let mut viewer = Subscription::new(config(n), n, start);
                viewer.set_source(Some(TrackId(1)));
                viewer
            })
            .collect();
        Self {
            publisher: VideoPublisher::new(1),
            track: TestTrack::video(),
            viewers,
            start,
            transport_wide: 0,
            out: vec![0; MAX_HEADER + limits::MAX_PAYLOAD].into_boxed_slice(),
        }
    }

    /// Stores the packets of the next 720p picture. How many there were.
    pub fn store(&mut self) -> usize {
        self.publisher.advance();
        let now = self.start + self.publisher.time();
        let packets = self.publisher.encode(Layer::P720);
        for packet in &packets {
            self.track.store(Layer::P720, packet, now);
        }
        packets.len()
    }

    /// Writes for every viewer what was stored, one behind the other into the same space. Packets and bytes written.
    pub fn forward(&mut self) -> (usize, usize) {
        let mut stamp = Stamp {
            now: self.start + self.publisher.time(),
            ntp: NtpTime::from_bits(0),
            transport_wide: self.transport_wide,
        };
        let (mut packets, mut bytes) = (0, 0);
        for viewer in &mut self.viewers {
            while let Some(written) = viewer.poll_packet(&self.track, &mut stamp, &mut self.out) {
                packets += 1;
                bytes += written.len;
            }
        }
        self.transport_wide = stamp.transport_wide;
        (packets, bytes)
    }
}
