//! Metrics of the live visits. Labels are closed sets and all series exist from the start.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::frame::CloseCode;
use crate::message::ClientMessage;
use crate::portal::{Via, VisitEvent};
use crate::quality::QualityMetrics;

#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) sockets: IntGauge,
    pub(crate) visits: IntGauge,
    participants: IntGaugeVec,
    messages: IntCounterVec,
    closes: IntCounterVec,
    events: IntCounterVec,
    pub(crate) visits_lagging: prometheus::IntCounter,
    pub(crate) quality: QualityMetrics,
}

/// Participants of one visit: `[via][waiting, admitted]`.
pub(crate) type Census = [[i64; 2]; 3];

const VIAS: [Via; 3] = [Via::Socket, Via::Whip, Via::Whep];
const PLACES: [&str; 2] = ["waiting", "admitted"];

/// The kind of a message, as in its `type`.
pub(crate) const fn message_kind(message: &ClientMessage) -> &'static str {
    match message {
        ClientMessage::Hello { .. } => "hello",
        ClientMessage::Offer { .. } => "offer",
        ClientMessage::Subscribe { .. } => "subscribe",
        ClientMessage::Target { .. } => "target",
        ClientMessage::Muted { .. } => "muted",
        ClientMessage::Admit { .. } => "admit",
        ClientMessage::Decline { .. } => "decline",
        ClientMessage::Leave { .. } => "leave",
        ClientMessage::EndVisit {} => "end_visit",
        ClientMessage::Report(_) => "report",
        ClientMessage::Ping { .. } => "ping",
    }
}

const MESSAGE_KINDS: [&str; 12] = [
    "hello",
    "offer",
    "subscribe",
    "target",
    "muted",
    "admit",
    "decline",
    "leave",
    "end_visit",
    "report",
    "ping",
    "refused",
];

impl Metrics {
    pub(crate) fn new() -> Self {
        let gauge = |name: &str, help: &str| IntGauge::new(name, help).expect("a fixed, valid metric name");
        let vec = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("a fixed, valid metric name")
        };
        let metrics = Self {
            sockets: gauge("housecall_signaling_sockets", "WebSockets being served"),
            visits: gauge("housecall_signaling_visits", "Visits with somebody in them"),
            participants: IntGaugeVec::new(
                Opts::new("housecall_signaling_participants", "Participants, kept places included"),
                &["via", "place"],
            )
            .expect("a fixed, valid metric name"),
            messages: vec("housecall_signaling_messages_total", "Messages from clients", &["type"]),
            closes: vec(
                "housecall_signaling_closes_total",
                "Sockets closed, by who or why",
                &["reason"],
            ),
            events: vec("housecall_signaling_events_total", "Changes of visits", &["event"]),
            visits_lagging: prometheus::IntCounter::new(
                "housecall_signaling_visits_lagging_total",
                "Visits interrupted because they could not keep up with their media events",
            )
            .expect("a fixed, valid metric name"),
            quality: QualityMetrics::new(),
        };
        for kind in MESSAGE_KINDS {
            metrics.messages.with_label_values(&[kind]);
        }
        for reason in CloseCode::ALL.map(CloseCode::name).iter().chain(&["peer"]) {
            metrics.closes.with_label_values(&[reason]);
        }
        for event in VisitEvent::NAMES {
            metrics.events.with_label_values(&[event]);
        }
        metrics.count_participants(&Census::default(), &Census::default());
        metrics
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.quality.register(registry)?;
        registry.register(Box::new(self.sockets.clone()))?;
        registry.register(Box::new(self.visits.clone()))?;
        registry.register(Box::new(self.participants.clone()))?;
        registry.register(Box::new(self.messages.clone()))?;
        registry.register(Box::new(self.closes.clone()))?;
        registry.register(Box::new(self.events.clone()))?;
        registry.register(Box::new(self.visits_lagging.clone()))
    }

    /// Counts a message that could be read, or (`None`) one that could not.
    pub(crate) fn count_message(&self, message: Option<&ClientMessage>) {
        self.messages
            .with_label_values(&[message.map_or("refused", message_kind)])
            .inc();
    }

    /// Counts the end of a socket: by our code, or (`None`) because the peer went.
    pub(crate) fn count_close(&self, code: Option<CloseCode>) {
        self.closes
            .with_label_values(&[code.map_or("peer", CloseCode::name)])
            .inc();
    }

    pub(crate) fn count_event(&self, event: &VisitEvent) {
        self.events.with_label_values(&[event.name()]).inc();
    }

    /// Moves the gauges from a visit's earlier census to its present one.
    pub(crate) fn count_participants(&self, before: &Census, now: &Census) {
        for (v, via) in VIAS.iter().enumerate() {
            for (p, place) in PLACES.iter().enumerate() {
                self.participants
                    .with_label_values(&[via.name(), place])
                    .add(now[v][p] - before[v][p]);
            }
        }
    }
}
