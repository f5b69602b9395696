//! Which layers of a camera its publisher should send: those that somebody watches and that its uplink carries. Moments in, a plan out.
//!
//! The publisher need not obey: it may be an encoder that nobody can tell, or its page may be out of reach. So a layer is there when
//! it comes, whatever the plan says; what the plan adds is that a layer which was switched off *comes back when it is asked for*.

use std::time::{Duration, Instant};

use crate::adapt::ladder::{LARGE, SMALL};
use crate::media::{Bitrate, Layer, Target};

const LAYERS: [Layer; 2] = [Layer::P480, Layer::P720];
/// A layer that nobody watches is switched off after this: whoever changes their mind, or comes with the next message, finds it.
const UNWATCHED: Duration = Duration::from_millis(1_000);
/// One that was asked for is there within this: a round trip of signalling, 70 ms of the browser's, a key frame; and patience.
const COMES_WITHIN: Duration = Duration::from_millis(2_500);
/// Share of the nominal rate that a layer which is off is taken to have.
const USUAL_SHARE: f64 = 0.95;

/// What a layer is taken to be sent at while it is off: what our own client limits it to, nearly.
pub(crate) fn nominal(layer: Layer) -> Bitrate {
    let limit = match layer {
        Layer::P480 => SMALL,
        Layer::P720 => LARGE,
    };
    Bitrate::from_bps((limit.bps() as f64 * USUAL_SHARE) as u64)
}

/// What the publisher was asked to do with a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Send it. `unwatched`: since when nobody wants it.
    On {
        since: Option<Instant>,
        unwatched: Option<Instant>,
    },
    /// Don't.
    Off,
}

/// Facts about one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerFacts {
    /// Some viewer is to be sent it, or is being sent it.
    pub(crate) is_wanted: bool,
    /// It arrives.
    pub(crate) is_active: bool,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    asked: [Asked; 2],
    /// The most the uplink carries.
    limit: Target,
    /// A layer went off when it was asked to: this publisher listens.
    obeys: bool,
    /// Will be there in a moment if anybody wants it.
    comes: [bool; 2],
    /// No picture because the uplink carries none, or not yet again.
    is_paused: bool,
}

impl Default for Plan {
    fn default() -> Self {
        let on = Asked::On {
            since: None,
            unwatched: None,
        };
        Self {
            asked: [on; 2],
            limit: Target::Video(Layer::P720),
            obeys: false,
            comes: [false; 2],
            is_paused: false,
        }
    }
}

impl Plan {
    /// Takes in what is wanted and what comes, each by layer, the smaller first. True if the publisher is to be told.
    pub(crate) fn update(&mut self, facts: [LayerFacts; 2], limit: Target, now: Instant) -> bool {
        let before = *self;
        self.limit = limit;
        let any_active = facts.iter().any(|facts| facts.is_active);
        self.is_paused = limit == Target::AudioOnly || (self.is_paused && !any_active);
        for ((layer, asked), facts) in LAYERS.into_iter().zip(&mut self.asked).zip(facts) {
            let is_carried = Target::Video(layer) <= limit;
            *asked = match *asked {
                _ if !is_carried => Asked::Off,
                Asked::On { since, .. } if facts.is_wanted => Asked::On { since, unwatched: None },
                Asked::On { since, unwatched } => {
                    let unwatched = unwatched.unwrap_or(now);
                    if now.saturating_duration_since(unwatched) >= UNWATCHED {
                        Asked::Off
                    } else {
                        let unwatched = Some(unwatched);
                        Asked::On { since, unwatched }
                    }
                }
                Asked::Off if facts.is_wanted => Asked::On {
                    since: Some(now),
                    unwatched: None,
                },
                Asked::Off => Asked::Off,
            };
        }
        for place in 0..LAYERS.len() {
            let was_off = before.asked[place] == Asked::Off;
            self.obeys |= was_off && !facts[place].is_active;
            self.comes[place] = self.obeys
                && Target::Video(LAYERS[place]) <= limit
                && match self.asked[place] {
                    Asked::Off => true,
                    Asked::On { since, .. } => since.is_some_and(|since| now < since + COMES_WITHIN),
                };
        }
        LAYERS.iter().any(|layer| self.is_on(*layer) != before.is_on(*layer)) || self.limit != before.limit
    }

    /// Whether the publisher should send it.
    pub(crate) const fn is_on(&self, layer: Layer) -> bool {
        matches!(self.asked[index(layer)], Asked::On { .. })
    }

    /// It is not there, but will be in a moment if anybody wants it.
    pub(crate) const fn comes(&self, layer: Layer) -> bool {
        self.comes[index(layer)]
    }

    /// Since when it was to be sent again; `None` if it is off, or always was on.
    pub(crate) const fn asked_since(&self, layer: Layer) -> Option<Instant> {
        match self.asked[index(layer)] {
            Asked::On { since, .. } => since,
            Asked::Off => None,
        }
    }

    /// The most the uplink carries.
    pub(crate) const fn limit(&self) -> Target {
        self.limit
    }

    /// The publisher's uplink carries no picture.
    pub(crate) const fn is_paused(&self) -> bool {
        self.is_paused
    }
}

const fn index(layer: Layer) -> usize {
    match layer {
        Layer::P480 => 0,
        Layer::P720 => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;

    const P480: Target = Target::Video(Layer::P480);
    const P720: Target = Target::Video(Layer::P720);

    fn facts(is_wanted: bool, is_active: bool) -> LayerFacts {
        LayerFacts { is_wanted, is_active }
    }

    fn plan_at(plan: &mut Plan, ms: u64, wanted: [bool; 2], active: [bool; 2], limit: Target) -> bool {
        let layers = [facts(wanted[0], active[0]), facts(wanted[1], active[1])];
        plan.update(layers, limit, testing::start() + Duration::from_millis(ms))
    }

    fn on(plan: &Plan) -> [bool; 2] {
        LAYERS.map(|layer| plan.is_on(layer))
    }

    #[test]
    fn a_layer_nobody_watches_goes_off_within_two_seconds_and_comes_back_at_once() {
        let mut plan = Plan::default();
        assert!(!plan_at(&mut plan, 0, [true, true], [true, true], P720));
        assert!(!plan_at(&mut plan, 250, [true, false], [true, true], P720));
        assert!(!plan_at(&mut plan, 1_249, [true, false], [true, true], P720));
        assert!(plan_at(&mut plan, 1_250, [true, false], [true, true], P720));
        assert_eq!(on(&plan), [true, false]);
        // It still arrives: whether this publisher listens is not known.
        assert!(!plan.comes(Layer::P720));
        assert!(!plan_at(&mut plan, 2_500, [true, false], [true, false], P720));
        assert!(plan.comes(Layer::P720), "it went when it was asked to");
        assert!(plan_at(&mut plan, 2_600, [true, true], [true, false], P720));
        assert_eq!(on(&plan), [true, true]);
        assert!(plan.comes(Layer::P720));
        assert!(!plan_at(&mut plan, 5_200, [true, true], [true, false], P720));
        assert!(!plan.comes(Layer::P720), "it was asked for and did not come");
    }

    #[test]
    fn somebody_who_looks_again_within_a_second_finds_the_layer() {
        let mut plan = Plan::default();
        for ms in (0..10_000).step_by(500) {
            let is_wanted = ms % 1_000 == 0;
            assert!(!plan_at(&mut plan, ms, [true, is_wanted], [true, true], P720));
        }
        assert_eq!(on(&plan), [true, true]);
    }

    #[test]
    fn what_the_uplink_does_not_carry_goes_off_at_once_and_is_not_waited_for() {
        let mut plan = Plan::default();
        plan_at(&mut plan, 0, [true, true], [true, true], P720);
        assert!(plan_at(&mut plan, 100, [true, true], [true, true], P480));
        assert_eq!((on(&plan), plan.comes(Layer::P720)), ([true, false], false));
        assert!(plan_at(&mut plan, 200, [true, true], [true, false], Target::AudioOnly));
        assert!(plan.is_paused());
        plan_at(&mut plan, 1_500, [true, true], [false, false], Target::AudioOnly);
        assert!(!plan.comes(Layer::P480), "nobody is to wait for it");
        assert!(plan_at(&mut plan, 4_000, [true, true], [false, false], P480));
        assert!(plan.is_paused(), "until the picture is there again");
        assert!(plan.comes(Layer::P480));
        plan_at(&mut plan, 4_200, [true, true], [true, false], P480);
        assert!(!plan.is_paused());
        assert_eq!(on(&plan), [true, false]);
    }

    #[test]
    fn the_plan_of_a_muted_camera_is_the_same_when_it_comes_back() {
        let mut plan = Plan::default();
        plan_at(&mut plan, 0, [true, true], [true, true], P720);
        for ms in (1_000..60_000).step_by(250) {
            assert!(!plan_at(&mut plan, ms, [true, true], [false, false], P720));
        }
        assert_eq!(on(&plan), [true, true]);
    }
}
