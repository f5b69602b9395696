//! What a viewer's path can carry: a state machine over [`Signals`], one step for each feedback.
//!
//! The estimate is a *capacity*: while a queue stands, what arrives is what the bottleneck lets through, and nothing else has to be
//! guessed. Without a queue what arrives is what was sent, and says only "at least so much"; then the estimate stays, grows by 8 % a
//! second while it is being filled, or is raised by a probe.

use std::time::Duration;

use crate::adapt::signals::{Losses, Millis, Signals};
use crate::api::Evidence;
use crate::media::Bitrate;

/// Share of the measured capacity that is used: what is left drains the queue.
const USED_SHARE: f64 = 0.95;
/// Growth per second while the estimate is filled. As libwebrtc's.
const GROWTH: f64 = 0.08;
/// It does not grow further above what arrives than this.
const FILLED: f64 = 1.15;
/// No growth for so long after a queue has stood.
const CALM_US: i64 = 1_000_000;
/// A queue is being built when it stands at this at least and the trend rises.
const LEAST_QUEUE: Millis = 20.0;
/// A queue this high is congestion whatever its trend.
const HIGH_QUEUE: Millis = 90.0;
/// Below this the path is clear again.
const CLEAR_QUEUE: Millis = 15.0;
/// Least rise of the trend line that counts.
const LEAST_RISE: Millis = 12.0;
/// A queue that grows like this is no blip: it is believed without a second feedback.
const STEEP_QUEUE: Millis = 45.0;
const STEEP_RISE: Millis = 40.0;
/// Frames come in bursts, which rise and fall on a thin line by themselves.
const STEEP_OVER_SCATTER: f64 = 2.5;
/// A queue that may be one. Until the next feedback no more is sent than comes through: a blip costs 60 ms of one frame.
const HINT_QUEUE: Millis = 22.0;
const HINT_RISE: Millis = 15.0;
const HINT_US: i64 = 120_000;
/// Over TCP and TLS what is lost comes a round trip or a timeout later, and everything behind it at once: delay has to rise by so many times
/// more there to be a queue.
pub(crate) const ORDERED_GATE: f64 = 2.5;
/// Loss above the usual that is congestion with a queue too short to be seen: over the last 0.3 s, and over the last second. A path
/// that begins to lose a tenth by chance is far from the latter.
const LOSS_EXCESS: f64 = 0.15;
const LOSS_EXCESS_OF_SECOND: f64 = 0.18;
/// Below this many packets loss says nothing.
pub(super) const LEAST_FATES: u32 = 15;
/// A burst of losses shorter than this is a blip.
const LOSING_US: i64 = 180_000;
/// Capacity is measured over this time at most ...
const MEASURE_US: i64 = 350_000;
/// ... and this at least.
const LEAST_MEASURE_US: i64 = 50_000;
/// A queue grows if it does so by more than this share of time.
const GROWING_SLOPE: f64 = 0.05;
/// A queue that does not get shorter for so long, though less is sent than arrives, is not ours: the path has changed.
const FOREIGN_QUEUE_US: i64 = 4_000_000;
/// Spans of half a second for the five-second minimum.
const MINIMA: usize = 10;
const MINIMUM_SPAN_US: i64 = 500_000;

/// What a path is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No queue of ours stands.
    Clear {
        /// Since when.
        since_us: i64,
    },
    /// One feedback says that a queue builds. A blip ends here.
    Suspected {
        /// Since when.
        since_us: i64,
    },
    /// A queue stands or packets are being dropped.
    Congested {
        /// Since when.
        since_us: i64,
        /// The queue was lowest so far at this time and height (tenths of milliseconds).
        lowest: (i64, i64),
    },
}

/// Which signal says that the path is congested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Delay.
    Queue,
    /// Loss.
    Loss,
}

/// What is known of a path, for decisions and records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// Capacity; `None` as long as nothing has shown a limit.
    pub(crate) target: Option<Bitrate>,
    /// The least it was in the last five seconds, or since a probe measured it.
    pub(crate) minimum: Option<Bitrate>,
    /// What arrived over the last half second.
    pub(crate) delivered: Bitrate,
    /// The queue that stands.
    pub(crate) queue: Millis,
    /// Losses of the last second.
    pub(crate) losses: Losses,
    /// More is lost than this path usually loses.
    pub(crate) loses_more_than_usual: bool,
    /// A queue of ours stands.
    pub(crate) is_congested: bool,
}

impl Estimate {
    /// Of a path nothing is known of.
    pub(crate) const UNKNOWN: Self = Self {
        target: None,
        minimum: None,
        delivered: Bitrate::ZERO,
        queue: 0.0,
        losses: Losses {
            packets: 0,
            lost: 0,
            audio: 0,
            audio_lost: 0,
        },
        loses_more_than_usual: false,
        is_congested: false,
    };

    /// For records of what was decided.
    pub(crate) fn evidence(&self, rtt: Option<Duration>) -> Evidence {
        Evidence {
            estimate: self.target,
            delivered: self.delivered,
            queue: Duration::from_micros((self.queue.max(0.0) * 1_000.0) as u64),
            loss: self.losses.share() as f32,
            rtt,
        }
    }
}

/// See the module.
pub(crate) struct Estimator {
    phase: Phase,
    /// Bits per second.
    target: Option<f64>,
    minima: [f64; MINIMA],
    minimum_span: i64,
    last_us: Option<i64>,
    /// When a queue of ours last stood.
    last_congested_us: i64,
    estimate: Estimate,
    /// How far delays lie from their trend, on average.
    scatter: Millis,
    /// How many times wider than over UDP delays may vary.
    gate: f64,
    /// What comes through, while it looks as if a queue began to build.
    hint: Option<f64>,
}

impl Estimator {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Clear { since_us: 0 },
            target: None,
            minima: [f64::INFINITY; MINIMA],
            minimum_span: 0,
            last_us: None,
            last_congested_us: i64::MIN / 2,
            estimate: Estimate::UNKNOWN,
            scatter: 2.0,
            gate: 1.0,
            hint: None,
        }
    }

    /// What is known now.
    pub(crate) const fn estimate(&self) -> &Estimate {
        &self.estimate
    }

    /// Whether a queue of ours stood within the last `span`.
    pub(crate) fn congested_within(&self, span: Duration, now_us: i64) -> bool {
        now_us - self.last_congested_us <= span.as_micros() as i64
    }

    /// Whether nothing hints at congestion.
    pub(crate) const fn is_clear(&self) -> bool {
        matches!(self.phase, Phase::Clear { .. })
    }

    /// What comes through, while it looks as if a queue began to build: video does well to go no faster until the next feedback.
    pub(crate) const fn hint(&self) -> Option<f64> {
        self.hint
    }

    /// Whether packets come in order and none is missing, as over TCP.
    pub(crate) const fn set_ordered(&mut self, is_ordered: bool) {
        self.gate = if is_ordered { ORDERED_GATE } else { 1.0 };
    }

    /// One step: a feedback was taken in.
    pub(crate) fn handle_feedback(&mut self, signals: &mut Signals, now_us: i64) {
        let seconds = self
            .last_us
            .map_or(0.0, |last| (now_us - last) as f64 / 1e6)
            .clamp(0.0, 1.0);
        self.last_us = Some(now_us);
        let losses = signals.losses(10, now_us);
        let recent = signals.losses(3, now_us);
        let standing = signals.standing();
        let queue = standing.unwrap_or(0.0);
        let trend = signals.trend();
        if let Some(trend) = trend {
            self.scatter += (trend.scatter - self.scatter) * (seconds / 2.0).min(1.0);
        }
        let loss_excess = recent.share() - signals.usual_loss();
        let loses = recent.packets >= LEAST_FATES
            && loss_excess > LOSS_EXCESS
            && losses.share() - signals.usual_loss() > LOSS_EXCESS_OF_SECOND;
        let rises = trend.is_some_and(|trend| trend.rise > (self.gate * LEAST_RISE).max(1.5 * self.scatter));
        let high = self.gate * HIGH_QUEUE + 2.0 * self.scatter;
        let builds = standing.is_some() && ((queue > self.gate * LEAST_QUEUE && rises) || queue > high);
        let latest = signals.latest().unwrap_or(0.0);
        // After a stall everything comes at once, with what looks like a queue.
        let steep = latest > self.gate * STEEP_QUEUE + self.scatter
            && signals.short_trend().is_some_and(|trend| {
                trend.rise > self.gate * STEEP_RISE && trend.rise > STEEP_OVER_SCATTER * trend.scatter
            })
            && signals.longest_gap() < latest / 2.0;
        // What costs nothing can be done on less evidence.
        let hinted = latest > self.gate * HINT_QUEUE + self.scatter
            && signals
                .short_trend()
                .is_some_and(|trend| trend.rise > self.gate * HINT_RISE && trend.rise > 1.5 * trend.scatter);
        self.hint = if hinted {
            signals
                .delivered(HINT_US, i64::MIN, Some(HINT_QUEUE / 4.0))
                .map(|(rate, _)| rate)
        } else {
            None
        };
        let sign = match (builds || steep, loses) {
            (true, _) => Some(Sign::Queue),
            (false, true) => Some(Sign::Loss),
            (false, false) => None,
        };
        let congested = Phase::Congested {
            since_us: now_us,
            lowest: (now_us, (queue * 10.0) as i64),
        };
        self.phase = match (self.phase, sign) {
            (Phase::Clear { .. } | Phase::Suspected { .. }, Some(Sign::Queue)) if steep => congested,
            (Phase::Clear { .. }, Some(_)) => Phase::Suspected { since_us: now_us },
            (Phase::Suspected { .. }, Some(Sign::Queue)) => congested,
            (Phase::Suspected { since_us }, Some(Sign::Loss)) if now_us - since_us >= LOSING_US => congested,
            (suspected @ Phase::Suspected { .. }, Some(Sign::Loss)) => suspected,
            (Phase::Suspected { .. }, None) => Phase::Clear { since_us: now_us },
            (Phase::Congested { .. }, None) if queue < CLEAR_QUEUE + self.scatter && !loses => {
                Phase::Clear { since_us: now_us }
            }
            (Phase::Congested { since_us, lowest }, _) => {
                let height = (queue * 10.0) as i64;
                let lowest = if height < lowest.1 - lowest.1 / 10 || rises || loses {
                    (now_us, height)
                } else {
                    lowest
                };
                if now_us - lowest.0 > FOREIGN_QUEUE_US {
                    signals.rebase();
                    Phase::Clear { since_us: now_us }
                } else {
                    Phase::Congested { since_us, lowest }
                }
            }
            (clear @ Phase::Clear { .. }, None) => clear,
        };
        let delivered = signals.delivered(500_000, i64::MIN, None).map_or(0.0, |(rate, _)| rate);
        match self.phase {
            Phase::Congested { .. } => {
                self.last_congested_us = now_us;
                // In a queue that does not grow there may be somebody else's packets: then what arrives is our share of what drains it.
                let grows = trend.is_some_and(|trend| trend.slope > GROWING_SLOPE);
                if grows || loses || steep {
                    self.measure(signals, loses, now_us);
                }
            }
            Phase::Clear { since_us } if now_us - since_us > CALM_US => self.grow(delivered, seconds),
            Phase::Clear { .. } | Phase::Suspected { .. } => {}
        }
        if matches!(self.phase, Phase::Clear { .. }) && losses.packets >= LEAST_FATES {
            signals.learn_usual_loss(losses.share(), seconds);
        }
        self.note_minimum(now_us);
        self.estimate = Estimate {
            target: self.target.map(bitrate),
            minimum: self.target.map(|_| bitrate(self.minimum())),
            delivered: bitrate(delivered),
            queue,
            losses,
            loses_more_than_usual: loses,
            is_congested: matches!(self.phase, Phase::Congested { .. }),
        };
    }

    /// Nothing has come that tells of the path, for so long that no queue of ours is left. What it carries stays as it was last known.
    pub(crate) fn handle_silence(&mut self, now_us: i64) {
        if !matches!(self.phase, Phase::Clear { .. }) {
            self.phase = Phase::Clear { since_us: now_us };
        }
        self.hint = None;
        self.last_us = None;
        self.estimate = Estimate {
            target: self.estimate.target,
            minimum: self.estimate.minimum,
            ..Estimate::UNKNOWN
        };
    }

    /// What comes through while a queue stands is the capacity.
    fn measure(&mut self, signals: &Signals, loses: bool, now_us: i64) {
        let queue = (!loses).then_some(LEAST_QUEUE / 2.0);
        let Some((rate, span)) = signals.delivered(MEASURE_US, i64::MIN, queue) else {
            return;
        };
        if span < LEAST_MEASURE_US {
            return;
        }
        let used = rate * USED_SHARE;
        if self.target.is_none_or(|target| used < target) {
            self.target = Some(used);
            self.note_minimum(now_us);
        }
    }

    fn grow(&mut self, delivered: f64, seconds: f64) {
        let Some(target) = &mut self.target else { return };
        // Frozen while the application sends less than the estimate: nothing is learned then.
        if delivered > 0.85 * *target {
            let grown = *target * (1.0 + GROWTH * seconds);
            *target = target.max(grown.min(FILLED * delivered));
        }
    }

    /// A probe has measured `rate` without filling the queue, or has met the bottleneck at `rate`.
    pub(crate) fn handle_probed(&mut self, rate: Bitrate, was_clean: bool, now_us: i64) {
        let rate = rate.bps() as f64 * if was_clean { 1.0 } else { USED_SHARE };
        let Some(target) = self.target else { return };
        if rate <= target {
            return;
        }
        self.target = Some(rate);
        if was_clean {
            self.minima = [f64::INFINITY; MINIMA];
        }
        self.note_minimum(now_us);
        self.estimate.target = self.target.map(bitrate);
        self.estimate.minimum = Some(bitrate(self.minimum()));
    }

    /// The sender shows that it cannot send more than this, though no queue was seen.
    pub(crate) fn handle_ceiling(&mut self, rate: f64, now_us: i64) {
        self.target = Some(self.target.map_or(rate, |target| target.min(rate)));
        self.note_minimum(now_us);
        self.estimate.target = self.target.map(bitrate);
        self.estimate.minimum = Some(bitrate(self.minimum()));
    }

    fn minimum(&self) -> f64 {
        self.minima.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn note_minimum(&mut self, now_us: i64) {
        let Some(target) = self.target else { return };
        let span = now_us.div_euclid(MINIMUM_SPAN_US);
        for number in (self.minimum_span + 1..=span).take(MINIMA) {
            self.minima[number.rem_euclid(MINIMA as i64) as usize] = f64::INFINITY;
        }
        self.minimum_span = self.minimum_span.max(span);
        let place = &mut self.minima[self.minimum_span.rem_euclid(MINIMA as i64) as usize];
        *place = place.min(target);
    }
}

fn bitrate(bps: f64) -> Bitrate {
    Bitrate::from_bps(bps.clamp(0.0, 1e12) as u64)
}
