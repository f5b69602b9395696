//! Quality over all visits, for Prometheus. Labels are closed sets and all series exist from the start: their number is the same at one visit
//! and at two hundred.

use prometheus::{CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::record::{Direction, Rung};

/// Steps around the ladder's: the floor, 480p, 720p.
const KBPS: [f64; 10] = [
    100e3, 250e3, 500e3, 650e3, 800e3, 1_000e3, 1_500e3, 2_000e3, 3_000e3, 5_000e3,
];
/// Seconds: what is unnoticed, what thins the picture, what stops it.
const QUEUE: [f64; 9] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.3, 0.6, 1.5];
/// Satisfied people from 4.0 on, many dissatisfied below 3.6, nearly all below 2.6 (ITU-T G.107, Annex B).
const SCORES: [f64; 8] = [1.5, 2.0, 2.6, 3.1, 3.6, 4.0, 4.2, 4.5];

/// Why a slot moved, as in records and labels.
pub(super) const REASONS: [&str; 4] = ["capacity", "queue", "loss", "recovered"];
/// Whose legs there are, over all roles.
pub(super) const CULPRITS: [&str; 3] = ["uplink", "downlink", "server"];

/// See the module. Cheap to clone: all clones are the same metrics.
#[derive(Clone)]
pub(crate) struct QualityMetrics {
    rung: CounterVec,
    moves: IntCounterVec,
    estimate: Histogram,
    queue: Histogram,
    freeze: prometheus::Counter,
    play: prometheus::Counter,
    mos: HistogramVec,
    trouble: CounterVec,
    first_frame: Histogram,
    pub(crate) unkept: prometheus::IntCounter,
}

impl QualityMetrics {
    pub(crate) fn new() -> Self {
        const NAMES: &str = "metric names are constants";
        let counter = |name: &str, help: &str| prometheus::Counter::new(name, help).expect(NAMES);
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())).expect(NAMES)
        };
        let metrics = Self {
            rung: CounterVec::new(
                Opts::new(
                    "housecall_quality_rung_seconds_total",
                    "Time at each rung, over all lines with a picture.",
                ),
                &["rung"],
            )
            .expect(NAMES),
            moves: IntCounterVec::new(
                Opts::new(
                    "housecall_quality_moves_total",
                    "Moves on the ladder, by the way media goes and why.",
                ),
                &["direction", "reason"],
            )
            .expect(NAMES),
            estimate: histogram(
                "housecall_quality_estimate_bits_per_second",
                "What paths to participants were thought to carry, looked at every few seconds; paths that showed no limit are left out.",
                &KBPS,
            ),
            queue: histogram(
                "housecall_quality_queue_seconds",
                "How long packets to participants stood in a queue, looked at every few seconds.",
                &QUEUE,
            ),
            freeze: counter(
                "housecall_quality_freeze_seconds_total",
                "Time in which pictures stood still although they should not have, as clients saw it.",
            ),
            play: counter(
                "housecall_quality_play_seconds_total",
                "Time in which pictures were sent to participants.",
            ),
            mos: HistogramVec::new(
                HistogramOpts::new(
                    "housecall_quality_mos",
                    "Score for speech by the E-model, looked at every few seconds.",
                )
                .buckets(SCORES.to_vec()),
                &["direction"],
            )
            .expect(NAMES),
            trouble: CounterVec::new(
                Opts::new(
                    "housecall_quality_trouble_seconds_total",
                    "Time in which somebody heard or saw badly, by where it was caused.",
                ),
                &["culprit"],
            )
            .expect(NAMES),
            first_frame: histogram(
                "housecall_quality_first_frame_seconds",
                "From being in the visit, with media connected, to the first frame of somebody else on the screen.",
                &[0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0],
            ),
            unkept: prometheus::IntCounter::new(
                "housecall_quality_unkept_total",
                "Times that quality records could not be stored.",
            )
            .expect(NAMES),
        };
        for rung in Rung::ALL {
            metrics.rung.with_label_values(&[rung.name()]);
        }
        for direction in [Direction::Up, Direction::Down] {
            metrics.mos.with_label_values(&[direction.name()]);
            for reason in REASONS {
                metrics.moves.with_label_values(&[direction.name(), reason]);
            }
        }
        for culprit in CULPRITS {
            metrics.trouble.with_label_values(&[culprit]);
        }
        metrics
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.rung.clone()))?;
        registry.register(Box::new(self.moves.clone()))?;
        registry.register(Box::new(self.estimate.clone()))?;
        registry.register(Box::new(self.queue.clone()))?;
        registry.register(Box::new(self.freeze.clone()))?;
        registry.register(Box::new(self.play.clone()))?;
        registry.register(Box::new(self.mos.clone()))?;
        registry.register(Box::new(self.trouble.clone()))?;
        registry.register(Box::new(self.first_frame.clone()))?;
        registry.register(Box::new(self.unkept.clone()))
    }

    pub(super) fn rung(&self, rung: Rung, seconds: f64) {
        self.rung.with_label_values(&[rung.name()]).inc_by(seconds);
        if rung > Rung::AudioOnly {
            self.play.inc_by(seconds);
        }
    }

    pub(super) fn moved(&self, direction: Direction, reason: &'static str) {
        self.moves.with_label_values(&[direction.name(), reason]).inc();
    }

    pub(super) fn path(&self, estimate_bps: Option<u64>, queue_seconds: f64) {
        if let Some(bps) = estimate_bps {
            self.estimate.observe(bps as f64);
        }
        self.queue.observe(queue_seconds);
    }

    pub(super) fn frozen(&self, seconds: f64) {
        self.freeze.inc_by(seconds);
    }

    pub(super) fn mos(&self, direction: Direction, score: f32) {
        self.mos
            .with_label_values(&[direction.name()])
            .observe(f64::from(score));
    }

    pub(super) fn trouble(&self, culprit: &'static str, seconds: f64) {
        self.trouble.with_label_values(&[culprit]).inc_by(seconds);
    }

    pub(super) fn first_frame(&self, seconds: f64) {
        self.first_frame.observe(seconds);
    }
}
