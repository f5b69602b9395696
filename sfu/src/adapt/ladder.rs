//! The ladder of one video flow: which layer it is sent, from what is known of the path. No clock, no packets: numbers in, at most
//! one move out.
//!
//! Two budgets give hysteresis: what flows may use the present estimate, what is new must fit the least of the last five seconds
//! and have been probed.

use crate::adapt::signals::Millis;
use crate::api::QualityChange;
use crate::media::{Bitrate, Layer, Target};

/// What is set aside for audio: Opus with redundancy is 50 kbit/s, headers of 50 packets a second 20 more.
pub(crate) const AUDIO_RESERVE: Bitrate = Bitrate::from_kbps(80);
/// A screen has no picture below this, audio included: 200 kbit/s bring a page of text within some seconds. A clinic's own limit, which is
/// for faces, counts if it is lower.
pub(crate) const SCREEN_FLOOR: Bitrate = Bitrate::from_kbps(280);
/// What is kept for a screen that is shown even while nothing moves on it: the next page comes all at once.
pub(crate) const SCREEN_RESERVE: Bitrate = Bitrate::from_kbps(200);
/// What our own client limits 480p and 720p to: no more is believed of a layer that has just begun, with a key frame.
pub(crate) const SMALL: Bitrate = Bitrate::from_kbps(600);
pub(crate) const LARGE: Bitrate = Bitrate::from_kbps(1_500);
/// Headers below RTP and the SRTP tag, as a share of a video layer's rate: 44 bytes on 1,100.
const OVERHEAD: f64 = 1.04;

/// A shortage this long is one: a feedback and a half, twice.
const SHORT_US: i64 = 300_000;
/// With less than this share of the need, it is at once.
const MUCH_TOO_SHORT: f64 = 0.75;
/// So is a queue like this.
const LONG_QUEUE: Millis = 150.0;
/// The picture goes when the estimate was below the floor for so long.
const LOW_US: i64 = 1_500_000;
/// People are warned this long before.
const WARNING_US: i64 = 500_000;
/// With less than this share of the floor, a key frame of the smaller layer would only fill the queue.
const FAR_BELOW_FLOOR: f64 = 0.8;
/// So it is when that is seen so soon after the smaller layer was asked for.
const SECOND_THOUGHT_US: i64 = 400_000;
/// Below this share of the floor it is at once from the smaller layer too.
const HALF_THE_FLOOR: f64 = 0.5;
/// Audio that loses more than this, beyond what the path always loses, is being crowded out.
const AUDIO_LOSS: f64 = 0.05;
/// Shares of a layer's bytes that are left with one and with two of three temporal layers gone (Chromium's L1T3).
const THINNED: [f64; 3] = [1.0, 0.6, 0.4];
/// While a queue of this height stands, the top temporal layer is left out, and two layers with twice of it.
const DRAIN_QUEUE: Millis = 60.0;
/// Least time between two changes of thinning upwards.
const THICKEN_US: i64 = 700_000;
/// Least time without picture.
const PAUSE_DWELL_US: i64 = 2_000_000;
/// Least time at 480p before 720p; four times as long each time a climb fails.
const CLIMB_DWELL_US: i64 = 4_000_000;
/// The longest that becomes.
const LONGEST_DWELL_US: i64 = 60_000_000;
/// A rung lost this soon after it was climbed was climbed in error.
const FAILED_CLIMB_US: i64 = 10_000_000;
/// One held for longer than this was right.
const GOOD_CLIMB_US: i64 = 60_000_000;
/// Layer rates are means over about so long ...
const SMOOTHING_US: f64 = 4_000_000.0;
/// ... and the least seen as long as the layer is new.
const NEW_LAYER_US: i64 = 1_500_000;
/// What a climb needs, over the need of the rung.
const CLIMB_MARGIN: f64 = 1.15;
/// Picture comes back at this share of the floor: 650 of 500.
const RETURN_MARGIN: f64 = 1.3;

/// Why a flow changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The path to the receiver carries less than the flow needs.
    Capacity,
    /// A queue built before the receiver.
    Queue,
    /// Packets were lost on the way to the receiver.
    Loss,
    /// The path carries more again.
    Recovered,
}

impl From<Cause> for QualityChange {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Capacity => Self::Capacity,
            Cause::Queue => Self::Queue,
            Cause::Loss => Self::Loss,
            Cause::Recovered => Self::Recovered,
        }
    }
}

/// A change of what a flow is sent, and what was known when it was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Move {
    pub(crate) from: Target,
    pub(crate) to: Target,
    pub(crate) cause: Cause,
    /// What flows must stop now, without waiting for what comes next.
    pub(crate) urgent: bool,
}

/// What is known of the path, as far as one flow may use it: what other flows need is taken off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget {
    /// The estimate; `None` while nothing has shown a limit.
    pub(crate) target: Option<Bitrate>,
    /// Its five-second minimum, less what others would need.
    pub(crate) minimum: Option<Bitrate>,
    /// What a clean probe has measured lately.
    pub(crate) probed: Bitrate,
    /// The queue that stands.
    pub(crate) queue: Millis,
    /// A queue of ours stands, or packets are dropped.
    pub(crate) is_congested: bool,
    /// More is lost than usual.
    pub(crate) loses: bool,
    /// Share of audio lost beyond the usual.
    pub(crate) audio_loss: f64,
    /// Below this there is no picture.
    pub(crate) floor: Bitrate,
    /// The flow shows a shared screen.
    pub(crate) is_screen: bool,
}

/// What a flow could be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    /// What 480p is sent at; `None` if its publisher does not send it.
    pub(crate) small: Option<Bitrate>,
    /// Same for 720p.
    pub(crate) large: Option<Bitrate>,
}

/// What a layer is sent at, without the peaks that key frames are.
#[derive(Clone, Copy, Debug, Default)]
struct Smooth {
    bps: Option<f64>,
    since_us: i64,
    at_us: i64,
}

impl Smooth {
    fn follow(&mut self, rate: Option<Bitrate>, nominal: Bitrate, now_us: i64) {
        let Some(rate) = rate.map(bps) else {
            self.bps = None;
            return;
        };
        let Some(known) = self.bps else {
            *self = Self {
                bps: Some(rate.min(bps(nominal))),
                since_us: now_us,
                at_us: now_us,
            };
            return;
        };
        // A layer begins with a key frame.
        let is_new = now_us - self.since_us < NEW_LAYER_US;
        let share = ((now_us - self.at_us) as f64 / SMOOTHING_US).clamp(0.0, 1.0);
        let followed = known + (rate - known) * share;
        self.bps = Some(if is_new { known.min(rate) } else { followed });
        self.at_us = now_us;
    }

    fn rate(&self) -> Option<Bitrate> {
        self.bps.map(|bps| Bitrate::from_bps(bps as u64))
    }
}

/// One flow's place on the ladder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    small: Smooth,
    large: Smooth,
    rung: Target,
    /// Temporal layers left out.
    thinning: u8,
    since_us: i64,
    thinned_us: i64,
    /// Since when the path has been too small for what flows.
    short_us: Option<i64>,
    /// Since when it has been below the floor.
    low_us: Option<i64>,
    /// When it last climbed to the top, or began there.
    climbed_us: Option<i64>,
    dwell_us: i64,
    /// The rung is below what was asked for because of the path.
    is_limited: bool,
}

impl Flow {
    pub(crate) const fn new(ideal: Target) -> Self {
        const UNKNOWN: Smooth = Smooth {
            bps: None,
            since_us: 0,
            at_us: 0,
        };
        Self {
            small: UNKNOWN,
            large: UNKNOWN,
            rung: ideal,
            thinning: 0,
            since_us: i64::MIN / 2,
            thinned_us: i64::MIN / 2,
            short_us: None,
            low_us: None,
            climbed_us: None,
            dwell_us: CLIMB_DWELL_US,
            is_limited: false,
        }
    }

    /// What the flow is to be sent.
    pub(crate) const fn rung(&self) -> Target {
        self.rung
    }

    /// How many temporal layers are to be left out.
    pub(crate) const fn thinning(&self) -> u8 {
        self.thinning
    }

    /// The picture will soon be stopped unless the path gets better.
    pub(crate) fn is_about_to_stop(&self, now_us: i64) -> bool {
        self.rung != Target::AudioOnly && self.low_us.is_some_and(|since| now_us - since >= WARNING_US)
    }

    /// Takes in what the layers are sent at over the last second; gives the same without its peaks.
    pub(crate) fn smooth(&mut self, rates: Rates, now_us: i64) -> Rates {
        self.small.follow(rates.small, SMALL, now_us);
        self.large.follow(rates.large, LARGE, now_us);
        Rates {
            small: self.small.rate(),
            large: self.large.rate(),
        }
    }

    /// What the flow costs now.
    pub(crate) fn cost(&self, rates: Rates) -> f64 {
        cost(self.rung, rates) * THINNED[usize::from(self.thinning.min(2))]
    }

    /// What the smallest picture the flow asks for costs.
    pub(crate) fn least_cost(ideal: Target, rates: Rates) -> f64 {
        match ideal {
            Target::AudioOnly => 0.0,
            Target::Video(_) => cost(Target::Video(Layer::P480), rates),
        }
    }

    /// Something else is asked for. Less is taken at once; more is, too, while the path has shown no limit: else it is climbed to.
    pub(crate) fn ask(&mut self, ideal: Target, path_is_limited: bool) {
        if ideal > self.rung && (self.is_limited || path_is_limited) {
            self.is_limited = true;
            return;
        }
        self.is_limited &= ideal == self.rung;
        self.rung = ideal;
        self.thinning = 0;
        self.short_us = None;
        self.low_us = None;
    }

    /// One step: what is asked for, what it would cost, what there is.
    pub(crate) fn step(&mut self, ideal: Target, rates: Rates, budget: &Budget, now_us: i64) -> Option<Move> {
        self.climbed_us.get_or_insert(now_us);
        if ideal == self.rung {
            self.is_limited = false;
        }
        let Some(target) = budget.target else {
            if self.rung < ideal {
                self.is_limited = false;
                return Some(self.go(ideal, Cause::Recovered, false, now_us));
            }
            self.thinning = 0;
            return None;
        };
        let target = bps(target);
        let floor = bps(budget.floor);
        self.low_us = (target < floor).then(|| self.low_us.unwrap_or(now_us));
        let step = match self.rung {
            Target::Video(Layer::P720) if rates.small.is_some() && rates.large.is_some() => {
                self.down_from_720(rates, target, budget, now_us)
            }
            Target::Video(_) => self
                .down_from_480(rates, target, budget, now_us)
                .or_else(|| self.up_from_480(ideal, rates, budget, now_us)),
            Target::AudioOnly => self.up_from_audio(ideal, rates, budget, now_us),
        };
        if step.is_none() {
            self.thin(rates, target, budget, now_us);
        }
        step
    }

    fn down_from_720(&mut self, rates: Rates, target: f64, budget: &Budget, now_us: i64) -> Option<Move> {
        let need = need(Target::Video(Layer::P720), rates);
        let floor = bps(budget.floor);
        let is_short = target < need;
        self.short_us = is_short.then(|| self.short_us.unwrap_or(now_us));
        let long = self.short_us.is_some_and(|since| now_us - since >= SHORT_US);
        let much = target < MUCH_TOO_SHORT * need;
        let queue = budget.is_congested && budget.queue > LONG_QUEUE && target < 1.1 * need;
        if !(long || much || queue) {
            return None;
        }
        let cause = match (budget.loses, queue) {
            (true, _) => Cause::Loss,
            (false, true) => Cause::Queue,
            (false, false) => Cause::Capacity,
        };
        let to = if budget.is_congested && target < FAR_BELOW_FLOOR * floor {
            Target::AudioOnly
        } else {
            Target::Video(Layer::P480)
        };
        Some(self.go(to, cause, budget.is_congested, now_us))
    }

    fn down_from_480(&mut self, rates: Rates, target: f64, budget: &Budget, now_us: i64) -> Option<Move> {
        let floor = bps(budget.floor);
        let least = bps(AUDIO_RESERVE) + thinnest(self.rung, rates);
        let is_low = target < floor.max(least);
        self.low_us = is_low.then(|| self.low_us.unwrap_or(now_us));
        let long = self.low_us.is_some_and(|since| now_us - since >= LOW_US);
        let soon = now_us - self.since_us < SECOND_THOUGHT_US && target < FAR_BELOW_FLOOR * floor;
        let much = budget.is_congested && (soon || target < HALF_THE_FLOOR * floor);
        let crowded = budget.is_congested && budget.audio_loss > AUDIO_LOSS && is_low;
        if !(long || much || crowded) {
            return None;
        }
        let cause = if crowded { Cause::Loss } else { Cause::Capacity };
        Some(self.go(Target::AudioOnly, cause, crowded || much, now_us))
    }

    fn up_from_480(&mut self, ideal: Target, rates: Rates, budget: &Budget, now_us: i64) -> Option<Move> {
        let aim = self.aim(ideal, rates, budget.floor, budget.is_screen)?;
        let rested = now_us - self.since_us >= self.dwell_us && self.thinning == 0;
        let fits = rested && !budget.is_congested && enough(budget, aim);
        (self.rung < ideal && fits && rates.large.is_some()).then(|| {
            self.climbed_us = Some(now_us);
            self.go(Target::Video(Layer::P720), Cause::Recovered, false, now_us)
        })
    }

    fn up_from_audio(&mut self, ideal: Target, rates: Rates, budget: &Budget, now_us: i64) -> Option<Move> {
        let aim = self.aim(ideal, rates, budget.floor, budget.is_screen)?;
        let rested = now_us - self.since_us >= PAUSE_DWELL_US;
        let fits = rested && !budget.is_congested && enough(budget, aim);
        (self.rung < ideal && fits).then(|| self.go(Target::Video(Layer::P480), Cause::Recovered, false, now_us))
    }

    /// How much a probe must show for the next step up; `None` if there is none.
    pub(crate) fn aim(&self, ideal: Target, rates: Rates, floor: Bitrate, is_screen: bool) -> Option<Bitrate> {
        let aim = match self.rung {
            Target::AudioOnly if ideal > Target::AudioOnly => {
                // A screen's floor is far below what it may take: what is left of it once frames are left out has to fit as well, else
                // it would go again at once.
                let least = if is_screen {
                    CLIMB_MARGIN * (bps(AUDIO_RESERVE) + thinnest(Target::Video(Layer::P480), rates))
                } else {
                    0.0
                };
                least.max(RETURN_MARGIN * bps(floor))
            }
            Target::Video(_) if self.thinning > 0 => need(self.rung, rates) * 1.05,
            Target::Video(Layer::P480) if ideal > self.rung && rates.large.is_some() => {
                CLIMB_MARGIN * need(Target::Video(Layer::P720), rates)
            }
            _ => return None,
        };
        Some(Bitrate::from_bps(aim as u64))
    }

    /// Leaves out temporal layers while the path is too small for all of them, or a queue has to go.
    fn thin(&mut self, rates: Rates, target: f64, budget: &Budget, now_us: i64) {
        let wanted = match self.rung {
            Target::AudioOnly => 0,
            Target::Video(Layer::P720) if rates.small.is_some() => 0,
            Target::Video(_) => {
                let picture = cost(self.rung, rates);
                let left = target - bps(AUDIO_RESERVE);
                let by_rate = if left >= picture {
                    0
                } else if left >= THINNED[1] * picture {
                    1
                } else {
                    2
                };
                let by_queue = if budget.is_congested && budget.queue > 2.0 * DRAIN_QUEUE {
                    2
                } else {
                    u8::from(budget.is_congested && budget.queue > DRAIN_QUEUE)
                };
                by_queue.max(by_rate)
            }
        };
        let may_thicken = !budget.is_congested && now_us - self.thinned_us >= THICKEN_US;
        if wanted > self.thinning || (wanted < self.thinning && may_thicken) {
            self.thinning = wanted;
            self.thinned_us = now_us;
        }
    }

    /// 720p does not come: the smaller picture is what there is.
    pub(crate) fn give_up_large(&mut self, now_us: i64) -> Move {
        self.go(Target::Video(Layer::P480), Cause::Capacity, false, now_us)
    }

    fn go(&mut self, to: Target, cause: Cause, urgent: bool, now_us: i64) -> Move {
        let from = std::mem::replace(&mut self.rung, to);
        if to < from {
            self.is_limited = true;
        }
        // One lost climb is one, however far down it leads.
        if to < from && from == Target::Video(Layer::P720) {
            let held_us = now_us - self.climbed_us.unwrap_or(now_us);
            if held_us < FAILED_CLIMB_US {
                self.dwell_us = (4 * self.dwell_us).min(LONGEST_DWELL_US);
            } else if held_us > GOOD_CLIMB_US {
                self.dwell_us = CLIMB_DWELL_US;
            }
        }
        self.since_us = now_us;
        self.short_us = None;
        self.low_us = None;
        self.thinning = 0;
        self.thinned_us = now_us;
        Move {
            from,
            to,
            cause,
            urgent,
        }
    }
}

/// Whether what is new fits.
fn enough(budget: &Budget, aim: Bitrate) -> bool {
    // The layer's own rate moves between a probe and its use.
    let aim = bps(aim) * 0.95;
    budget.minimum.is_none_or(|minimum| bps(minimum) >= aim) && bps(budget.probed) >= aim
}

const fn bps(rate: Bitrate) -> f64 {
    rate.bps() as f64
}

/// What a rung costs on the wire.
fn cost(rung: Target, rates: Rates) -> f64 {
    let rate = match rung {
        Target::AudioOnly => None,
        Target::Video(Layer::P480) => rates.small.or(rates.large),
        Target::Video(Layer::P720) => rates.large.or(rates.small),
    };
    rate.map_or(0.0, bps) * OVERHEAD
}

/// What is left of that with as many frames left out as can be.
fn thinnest(rung: Target, rates: Rates) -> f64 {
    cost(rung, rates) * THINNED[2]
}

/// What a rung needs, audio included.
fn need(rung: Target, rates: Rates) -> f64 {
    bps(AUDIO_RESERVE) + cost(rung, rates)
}

#[cfg(test)]
mod tests;
