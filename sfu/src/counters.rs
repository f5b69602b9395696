//! Counting without cost: a shard counts in plain integers and publishes the differences to Prometheus a few times a second.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::media::Kind;
use crate::path::PathKind;

/// One counted thing. The table below gives each its metric, its label and its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// SRTP media packets opened and stored.
    RtpIn,
    /// Their RTP bytes.
    RtpBytesIn,
    /// Media packets sealed for a viewer, retransmissions not included.
    RtpOut,
    /// Their RTP bytes.
    RtpBytesOut,
    /// Bytes of padding that made packets equally long; among [`Self::RtpBytesOut`].
    PaddingOut,
    /// Retransmissions sealed for a viewer.
    RtxOut,
    /// Packets received over RTX that repaired a hole.
    RtxIn,
    /// SRTCP packets opened.
    RtcpIn,
    /// SRTCP packets sealed.
    RtcpOut,
    /// STUN messages received.
    StunIn,
    /// DTLS datagrams received.
    DtlsIn,
    /// TURN requests and payload received.
    TurnIn,
    /// Answers to TURN requests.
    TurnOut,
    /// STUN and DTLS datagrams sent.
    ControlOut,
    /// Send calls; `RtpOut` over this is the mean batch.
    SendCalls,
    /// Datagrams from an address that has not passed a connectivity check.
    UnknownSource,
    /// Datagrams of no protocol spoken here.
    UnknownProtocol,
    /// TURN that nothing comes of: no allocation, no permission, over a budget.
    TurnRefused,
    /// STUN that is malformed or fails its integrity check.
    BadStun,
    /// RTP, RTCP or extension that does not parse.
    Malformed,
    /// SRTP or SRTCP whose authentication failed.
    NotAuthentic,
    /// SRTP or SRTCP received twice or too late.
    Replayed,
    /// SRTP before DTLS is done.
    NotConnected,
    /// Media of a synchronisation source nobody announced.
    UnknownSsrc,
    /// Media bigger than a ring's slot.
    TooBig,
    /// Media too old to be stored, or resent before it was sent.
    Untimely,
    /// Packets that could not be sealed.
    SealFailed,
    /// Datagrams of audio, feedback and handshakes that waited because the socket's send buffer was full.
    SendHeld,
    /// Datagrams lost because the socket's send buffer was full.
    SendBufferFull,
    /// DTLS datagrams dropped because too many waited for their turn.
    HandshakesDropped,
    /// Datagrams the kernel refused to send.
    SendRefused,
    /// Receive calls that failed.
    ReceiveErrors,
    /// Times when strangers began to send too many requests.
    Floods,
    /// Those of them that the system keeps apart from media.
    FloodsApart,
    /// Sequence numbers asked for from publishers.
    NackOut,
    /// Sequence numbers viewers asked for.
    NackIn,
    /// Key frames asked for from publishers.
    KeyFrameOut,
    /// Key frames viewers asked for.
    KeyFrameIn,
    /// Transport-wide feedback messages sent.
    TwccOut,
    /// Commands refused because a shard's queue was full.
    CommandsRefused,
    /// Commands that had to wait for room in a shard's queue.
    CommandsDelayed,
    /// Events lost because nobody took them.
    EventsLost,
    /// Rooms ended by a broken invariant.
    RoomsFailed,
    /// Offers answered.
    OffersAnswered,
    /// Offers refused.
    OffersRefused,
    /// Transports that finished their handshake.
    Connected,
    /// Packets of padding sent to measure a path.
    ProbeOut,
    /// Transport-wide feedback messages received.
    TwccIn,
    /// Probes that arrived as they were sent.
    ProbesClean,
    /// Probes that met the bottleneck.
    ProbesFull,
    /// Probes of which too little came back.
    ProbesUnclear,
    /// Steps down because a path carried too little.
    DownCapacity,
    /// Steps down because of a queue.
    DownQueue,
    /// Steps down because of loss.
    DownLoss,
    /// Steps up.
    Up,
    /// Publishers told to switch a layer off or on because of who watches.
    UplinkDemand,
    /// Publishers told to send less because of their own path.
    UplinkDown,
    /// Publishers told that they may send more again.
    UplinkUp,
    /// Connections closed because they were of no use.
    StreamsUnused,
    /// Datagrams lost because a connection did not take them in time.
    StreamQueueFull,
    /// Relay allocations made.
    TurnAllocated,
    /// Answers 401 and 438 of the relay: the normal first step, or wrong credentials.
    TurnChallenged,
    /// Requests of known clients that the relay refused: a quota, an address that cannot be reached, a mistake.
    TurnDenied,
    /// Strangers that got no answer because there were too many.
    TurnOverBudget,
}

/// How many kinds of [`Count`] there are.
pub(crate) const COUNTS: usize = TABLE.len();

/// (count, metric family, label value). All families have the one label `kind`.
const TABLE: [(Count, Family, &str); 64] = [
    (Count::RtpIn, Family::Packets, "rtp_in"),
    (Count::RtpBytesIn, Family::Bytes, "rtp_in"),
    (Count::RtpOut, Family::Packets, "rtp_out"),
    (Count::RtpBytesOut, Family::Bytes, "rtp_out"),
    (Count::PaddingOut, Family::Bytes, "padding_out"),
    (Count::RtxOut, Family::Packets, "rtx_out"),
    (Count::RtxIn, Family::Packets, "rtx_in"),
    (Count::RtcpIn, Family::Packets, "rtcp_in"),
    (Count::RtcpOut, Family::Packets, "rtcp_out"),
    (Count::StunIn, Family::Packets, "stun_in"),
    (Count::DtlsIn, Family::Packets, "dtls_in"),
    (Count::TurnIn, Family::Packets, "turn_in"),
    (Count::TurnOut, Family::Packets, "turn_out"),
    (Count::ControlOut, Family::Packets, "control_out"),
    (Count::SendCalls, Family::Turns, "send_calls"),
    (Count::UnknownSource, Family::Dropped, "unknown_source"),
    (Count::UnknownProtocol, Family::Dropped, "unknown_protocol"),
    (Count::TurnRefused, Family::Dropped, "turn_refused"),
    (Count::BadStun, Family::Dropped, "bad_stun"),
    (Count::Malformed, Family::Dropped, "malformed"),
    (Count::NotAuthentic, Family::Dropped, "not_authentic"),
    (Count::Replayed, Family::Dropped, "replayed"),
    (Count::NotConnected, Family::Dropped, "not_connected"),
    (Count::UnknownSsrc, Family::Dropped, "unknown_ssrc"),
    (Count::TooBig, Family::Dropped, "too_big"),
    (Count::Untimely, Family::Dropped, "untimely"),
    (Count::SealFailed, Family::Dropped, "seal_failed"),
    (Count::SendHeld, Family::Turns, "send_held"),
    (Count::SendBufferFull, Family::Dropped, "send_buffer_full"),
    (Count::HandshakesDropped, Family::Dropped, "handshakes_dropped"),
    (Count::SendRefused, Family::Dropped, "send_refused"),
    (Count::ReceiveErrors, Family::Turns, "receive_errors"),
    (Count::Floods, Family::Turns, "floods"),
    (Count::FloodsApart, Family::Turns, "floods_apart"),
    (Count::NackOut, Family::Feedback, "nack_out"),
    (Count::NackIn, Family::Feedback, "nack_in"),
    (Count::KeyFrameOut, Family::Feedback, "key_frame_request_out"),
    (Count::KeyFrameIn, Family::Feedback, "key_frame_request_in"),
    (Count::TwccOut, Family::Feedback, "transport_wide_out"),
    (Count::CommandsRefused, Family::Turns, "commands_refused"),
    (Count::CommandsDelayed, Family::Turns, "commands_delayed"),
    (Count::EventsLost, Family::Turns, "events_lost"),
    (Count::RoomsFailed, Family::Sessions, "rooms_failed"),
    (Count::OffersAnswered, Family::Sessions, "offers_answered"),
    (Count::OffersRefused, Family::Sessions, "offers_refused"),
    (Count::Connected, Family::Sessions, "connected"),
    (Count::ProbeOut, Family::Packets, "probe_out"),
    (Count::TwccIn, Family::Feedback, "transport_wide_in"),
    (Count::ProbesClean, Family::Adaptation, "probe_clean"),
    (Count::ProbesFull, Family::Adaptation, "probe_full"),
    (Count::ProbesUnclear, Family::Adaptation, "probe_unclear"),
    (Count::DownCapacity, Family::Adaptation, "down_capacity"),
    (Count::DownQueue, Family::Adaptation, "down_queue"),
    (Count::DownLoss, Family::Adaptation, "down_loss"),
    (Count::Up, Family::Adaptation, "up"),
    (Count::UplinkDemand, Family::Adaptation, "uplink_demand"),
    (Count::UplinkDown, Family::Adaptation, "uplink_down"),
    (Count::UplinkUp, Family::Adaptation, "uplink_up"),
    (Count::StreamsUnused, Family::Turns, "streams_unused"),
    (Count::StreamQueueFull, Family::Dropped, "stream_queue_full"),
    (Count::TurnAllocated, Family::Relay, "allocated"),
    (Count::TurnChallenged, Family::Relay, "challenged"),
    (Count::TurnDenied, Family::Relay, "denied"),
    (Count::TurnOverBudget, Family::Relay, "over_budget"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Packets,
    Bytes,
    Dropped,
    Feedback,
    Sessions,
    Turns,
    Adaptation,
    Relay,
}

impl Family {
    const ALL: [(Self, &'static str, &'static str); 8] = [
        (
            Self::Packets,
            "housecall_media_packets_total",
            "Datagrams of the media port by protocol and direction.",
        ),
        (Self::Bytes, "housecall_media_bytes_total", "RTP bytes by direction."),
        (
            Self::Dropped,
            "housecall_media_dropped_total",
            "Datagrams that were not used or not sent, by cause.",
        ),
        (
            Self::Feedback,
            "housecall_media_feedback_total",
            "Repair and congestion feedback by kind and direction.",
        ),
        (
            Self::Sessions,
            "housecall_media_sessions_total",
            "Negotiations, connections and rooms by outcome.",
        ),
        (
            Self::Turns,
            "housecall_media_driver_total",
            "What the media threads did and what they could not do.",
        ),
        (
            Self::Adaptation,
            "housecall_media_adaptation_total",
            "Steps on the ladder by direction and cause, and probes by verdict.",
        ),
        (
            Self::Relay,
            "housecall_turn_requests_total",
            "Requests to the relay by outcome: allocated; challenged to show credentials; denied although known; not answered for there were too many.",
        ),
    ];
}

/// Seconds: steps around what is promised for audio (0.2 ms, 1 ms) and video (1.5 ms, 3 ms).
const FORWARD_BUCKETS: [f64; 12] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.001_5, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05,
];

/// A shard's counters since they were last taken, and its sizes.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    counts: [u64; COUNTS],
}

impl Default for Counters {
    fn default() -> Self {
        Self { counts: [0; COUNTS] }
    }
}

impl Counters {
    #[inline]
    pub(crate) fn add(&mut self, count: Count, by: u64) {
        self.counts[count as usize] += by;
    }

    pub(crate) fn get(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }
}

/// How many things a shard holds, as the difference to what it last published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) rooms: i64,
    pub(crate) participants: i64,
    pub(crate) tracks: i64,
    pub(crate) slots: i64,
    /// Connected transports, by their path in the order of [`PathKind::ALL`].
    pub(crate) paths: [i64; PathKind::ALL.len()],
    pub(crate) allocations: i64,
}

impl std::ops::Sub for Sizes {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            rooms: self.rooms - before.rooms,
            participants: self.participants - before.participants,
            tracks: self.tracks - before.tracks,
            slots: self.slots - before.slots,
            paths: std::array::from_fn(|index| self.paths[index] - before.paths[index]),
            allocations: self.allocations - before.allocations,
        }
    }
}

/// The media core's Prometheus metrics, shared by all shards.
pub struct Metrics {
    counters: Vec<IntCounter>,
    families: Vec<IntCounterVec>,
    forward: HistogramVec,
    forward_audio: Histogram,
    forward_video: Histogram,
    rooms: IntGauge,
    participants: IntGauge,
    tracks: IntGauge,
    slots: IntGauge,
    paths: IntGaugeVec,
    allocations: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero, every series present from the start.
    ///
    /// # Panics
    /// Never: the names are constants, and a test makes them all.
    #[must_use]
    pub fn new() -> Self {
        let families: Vec<IntCounterVec> = Family::ALL
            .iter()
            .map(|(_, name, help)| {
                IntCounterVec::new(Opts::new(*name, *help), &["kind"]).expect("metric names are constants")
            })
            .collect();
        let counters = TABLE
            .iter()
            .map(|(_, family, kind)| {
                let index = Family::ALL
                    .iter()
                    .position(|(other, _, _)| other == family)
                    .unwrap_or(0);
                families[index].with_label_values(&[kind])
            })
            .collect();
        let gauge = |name: &str, help: &str| IntGauge::new(name, help).expect("metric names are constants");
        let forward = HistogramOpts::new(
            "housecall_media_forward_seconds",
            "Time of media packets from their receipt to the end of the flush that sent them, a sample of them.",
        );
        let forward = HistogramVec::new(forward.buckets(FORWARD_BUCKETS.to_vec()), &["kind"])
            .expect("metric names are constants");
        Self {
            counters,
            families,
            forward_audio: forward.with_label_values(&["audio"]),
            forward_video: forward.with_label_values(&["video"]),
            forward,
            rooms: gauge("housecall_media_rooms", "Rooms open in the media core."),
            participants: gauge("housecall_media_participants", "Participants with a transport."),
            tracks: gauge("housecall_media_tracks", "Tracks published."),
            slots: gauge("housecall_media_slots", "Lines on which participants can receive."),
            paths: {
                let opts = Opts::new(
                    "housecall_media_transports",
                    "Connected participants by the path that their media takes.",
                );
                let paths = IntGaugeVec::new(opts, &["path"]).expect("metric names are constants");
                for kind in PathKind::ALL {
                    paths.with_label_values(&[kind.as_str()]);
                }
                paths
            },
            allocations: gauge("housecall_turn_allocations", "Relay allocations."),
        }
    }

    /// Makes the metrics part of a registry.
    ///
    /// # Errors
    /// If a metric of the same name is there already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        for family in &self.families {
            registry.register(Box::new(family.clone()))?;
        }
        registry.register(Box::new(self.forward.clone()))?;
        registry.register(Box::new(self.paths.clone()))?;
        for gauge in [
            &self.rooms,
            &self.participants,
            &self.tracks,
            &self.slots,
            &self.allocations,
        ] {
            registry.register(Box::new(gauge.clone()))?;
        }
        Ok(())
    }

    pub(crate) fn add(&self, count: Count, by: u64) {
        self.counters[count as usize].inc_by(by);
    }

    /// Notes how long a packet took through the server.
    pub(crate) fn note_forwarded(&self, kind: Kind, time: Duration) {
        let histogram = match kind {
            Kind::Audio => &self.forward_audio,
            Kind::Video => &self.forward_video,
        };
        histogram.observe(time.as_secs_f64());
    }

    pub(crate) fn publish(&self, (counters, sizes): (Counters, Sizes)) {
        for (counter, by) in self.counters.iter().zip(counters.counts) {
            if by > 0 {
                counter.inc_by(by);
            }
        }
        self.rooms.add(sizes.rooms);
        self.participants.add(sizes.participants);
        self.tracks.add(sizes.tracks);
        self.slots.add(sizes.slots);
        for (kind, change) in PathKind::ALL.iter().zip(sizes.paths) {
            if change != 0 {
                self.paths.with_label_values(&[kind.as_str()]).add(change);
            }
        }
        self.allocations.add(sizes.allocations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_every_count_moves_its_own_series() {
        let metrics = Metrics::new();
        let registry = Registry::new();
        metrics.register(&registry).expect("names are unique");
        for (index, (count, _, _)) in TABLE.iter().enumerate() {
            assert_eq!(*count as usize, index, "{count:?}");
            let mut counters = Counters::default();
            counters.add(*count, index as u64 + 1);
            assert_eq!(counters.get(*count), index as u64 + 1);
            metrics.publish((counters, Sizes::default()));
        }
        let series: Vec<f64> = registry
            .gather()
            .iter()
            .filter(|family| family.name().ends_with("_total"))
            .flat_map(|family| {
                family
                    .get_metric()
                    .iter()
                    .map(|metric| metric.get_counter().get_value())
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(series.len(), COUNTS);
        assert_eq!(series.iter().sum::<f64>(), (COUNTS * (COUNTS + 1) / 2) as f64);
    }

    #[test]
    fn forwarding_times_are_told_by_kind() {
        let metrics = Metrics::new();
        metrics.note_forwarded(Kind::Audio, Duration::from_micros(150));
        metrics.note_forwarded(Kind::Video, Duration::from_micros(1_700));
        metrics.note_forwarded(Kind::Video, Duration::from_secs(1));
        assert_eq!(metrics.forward_audio.get_sample_count(), 1);
        assert_eq!(metrics.forward_video.get_sample_count(), 2);
        assert!((metrics.forward_video.get_sample_sum() - 1.001_7).abs() < 1e-9);
    }

    #[test]
    fn sizes_add_up_over_shards() {
        let metrics = Metrics::new();
        metrics.publish((
            Counters::default(),
            Sizes {
                rooms: 2,
                participants: 3,
                tracks: 4,
                slots: 5,
                paths: [1, 0, 0, 2, 0],
                allocations: 2,
            },
        ));
        metrics.publish((
            Counters::default(),
            Sizes {
                rooms: -1,
                paths: [0, 0, 0, -1, 1],
                ..Sizes::default()
            },
        ));
        assert_eq!((metrics.rooms.get(), metrics.slots.get()), (1, 5));
        let paths = PathKind::ALL.map(|kind| metrics.paths.with_label_values(&[kind.as_str()]).get());
        assert_eq!((paths, metrics.allocations.get()), ([1, 0, 0, 1, 1], 2));
    }
}
