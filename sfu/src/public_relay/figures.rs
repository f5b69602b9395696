//! Figures of the general relay: counted in plain integers by its thread, published a few times a second. Labels are of a fixed few.

use housecall_turn::{ClientTransport, Counters};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Which way payload went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToPeer,
    ToClient,
}

/// Why a datagram was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// A client sent it without right: no allocation, channel or permission, a peer that is denied, or over its bandwidth.
    Refused,
    /// A peer sent it without permission, or over the client's bandwidth.
    Unpermitted,
    /// The kernel would not send it.
    Unsendable,
    /// A socket or connection did not take it in time.
    Full,
}

const TRANSPORTS: [(ClientTransport, &str); 3] = [
    (ClientTransport::Udp, "udp"),
    (ClientTransport::Tcp, "tcp"),
    (ClientTransport::Tls, "tls"),
];
const DIRECTIONS: [(Direction, &str); 2] = [(Direction::ToPeer, "to_peer"), (Direction::ToClient, "to_client")];
const LOSSES: [(Lost, &str); 4] = [
    (Lost::Refused, "refused"),
    (Lost::Unpermitted, "unpermitted"),
    (Lost::Unsendable, "unsendable"),
    (Lost::Full, "full"),
];

/// What the thread has counted since it last published.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Packets and bytes, by transport and direction.
    passed: [[(u64, u64); DIRECTIONS.len()]; TRANSPORTS.len()],
    lost: [u64; LOSSES.len()],
}

impl Tally {
    pub(super) fn pass(&mut self, transport: ClientTransport, direction: Direction, packets: usize, bytes: usize) {
        let (all_packets, all_bytes) = &mut self.passed[transport as usize][direction as usize];
        *all_packets += packets as u64;
        *all_bytes += bytes as u64;
    }

    pub(super) fn lose(&mut self, why: Lost, datagrams: usize) {
        self.lost[why as usize] += datagrams as u64;
    }
}

/// What Prometheus is told.
#[derive(Clone)]
pub(super) struct Figures {
    allocations: IntGauge,
    requests: IntCounterVec,
    packets: IntCounterVec,
    bytes: IntCounterVec,
    lost: IntCounterVec,
}

impl Figures {
    /// All of them, at zero.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name, help, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let allocations = IntGauge::new("housecall_turn_public_allocations", "Allocations of the general relay.")?;
        registry.register(Box::new(allocations.clone()))?;
        let figures = Self {
            allocations,
            requests: counters(
                "housecall_turn_public_requests_total",
                "Requests to the general relay by outcome: allocated; challenged to show credentials; denied although known; of those, the ones for which the system had no socket left; not answered for there were too many.",
                &["kind"],
            )?,
            packets: counters(
                "housecall_turn_public_packets_total",
                "Datagrams through the general relay, by how the client is connected and direction.",
                &["transport", "direction"],
            )?,
            bytes: counters(
                "housecall_turn_public_bytes_total",
                "Payload through the general relay, by how the client is connected and direction.",
                &["transport", "direction"],
            )?,
            lost: counters(
                "housecall_turn_public_dropped_total",
                "Datagrams that the general relay did not pass on: refused (from clients), unpermitted (from peers), unsendable, full (a socket or connection).",
                &["reason"],
            )?,
        };
        figures.publish(&Tally::default(), Counters::default(), 0);
        Ok(figures)
    }

    pub(super) fn publish(&self, tally: &Tally, requests: Counters, allocations: usize) {
        self.allocations.set(allocations as i64);
        for (kind, count) in [
            ("allocated", requests.allocated),
            ("challenged", requests.challenged),
            ("denied", requests.refused),
            ("exhausted", requests.exhausted),
            ("over_budget", requests.over_budget),
        ] {
            self.requests.with_label_values(&[kind]).inc_by(count);
        }
        for (transport, transport_label) in TRANSPORTS {
            for (direction, direction_label) in DIRECTIONS {
                let (packets, bytes) = tally.passed[transport as usize][direction as usize];
                let labels = [transport_label, direction_label];
                self.packets.with_label_values(&labels).inc_by(packets);
                self.bytes.with_label_values(&labels).inc_by(bytes);
            }
        }
        for (why, label) in LOSSES {
            self.lost.with_label_values(&[label]).inc_by(tally.lost[why as usize]);
        }
    }
}
