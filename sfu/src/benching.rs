//! What the benchmarks in `benches/` need of the inside. Not an interface.

use std::time::{Duration, Instant};

pub use crate::adapt::sim::beside::{Ran, WANTED_KBPS, Way, ours};
pub use crate::adapt::sim::plot::{Drawn, TRACES, draw};
use crate::demux;
use crate::ids::Ssrc;
use crate::limits;
use crate::receive::{LayerReceiver, Repair, TwccRecorder};
use crate::rtcp::{self, Packet};

/// The receiving side of a transport with one 720p stream, without crypto and storage.
pub struct Receiving {
    layer: LayerReceiver,
    twcc: TwccRecorder,
    now: Instant,
    sequence: u16,
}

impl Receiving {
    /// Begins at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            layer: LayerReceiver::new(Ssrc(1), 90_000, Repair::Nack),
            twcc: TwccRecorder::new(Ssrc(2)),
            now,
            sequence: 0,
        }
    }

    /// One packet is accounted for, 5 ms after the one before it; of each hundred, `lost` never come.
    pub fn packet(&mut self, lost: u16) {
        self.now += Duration::from_millis(5);
        self.sequence = self.sequence.wrapping_add(1);
        if self.sequence % 100 < lost {
            return;
        }
        let timestamp = u32::from(self.sequence) * 450;
        if self
            .layer
            .handle_packet(self.sequence, timestamp, 1_100, self.now)
            .is_ok()
        {
            self.twcc.record(self.sequence, self.now);
        }
    }

    /// Writes the feedback that is due into `out` and gives its length, zero if none is.
    pub fn feedback(&mut self, out: &mut [u8]) -> usize {
        self.now += limits::TWCC_INTERVAL;
        let _ = self.layer.poll_nack(self.now);
        self.twcc.poll_feedback(self.now, Ssrc(1), out).unwrap_or(0)
    }
}

/// How many of these datagrams are of a protocol spoken here, by their first bytes.
#[must_use]
pub fn recognised(datagrams: &[&[u8]]) -> usize {
    datagrams
        .iter()
        .filter(|datagram| demux::classify(datagram).is_some())
        .count()
}

/// Walks all transport-wide feedback of a datagram: packets received, and the sum of their arrivals in microseconds.
#[must_use]
pub fn read_feedback(data: &[u8]) -> (usize, i64) {
    let feedback = rtcp::parse(data).filter_map(|packet| match packet {
        Ok(Packet::TransportFeedback(feedback)) => Some(feedback),
        _ => None,
    });
    let arrivals = feedback.flat_map(|feedback| feedback.statuses().filter_map(|status| status.arrival));
    arrivals.fold((0, 0), |(count, sum), arrival| (count + 1, sum + arrival.micros()))
}
