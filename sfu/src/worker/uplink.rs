//! What publishers are asked to send: what their viewers watch, as far as their uplinks carry it.

use std::time::Instant;

use arrayvec::ArrayVec;

use super::Worker;
use crate::adapt::{Cause, Demand, LayerFacts, Rates, SCREEN_RESERVE, Uplink, nominal};
use crate::api::{Event, UplinkChange, UplinkLayer};
use crate::counters::Count;
use crate::limits;
use crate::media::{Bitrate, Kind, Layer, Source, Target};
use crate::member::{Member, MemberKey};
use crate::published::{Published, TrackKey};

const P480: Target = Target::Video(Layer::P480);
const P720: Target = Target::Video(Layer::P720);
/// A layer that was asked for is given so long before its not coming says something of the uplink.
const SOON: std::time::Duration = std::time::Duration::from_secs(1);

/// What the viewers of one track need of it.
#[derive(Clone, Copy, Default)]
struct Watched {
    /// Rungs somebody is on, and layers somebody is being sent.
    rungs: [bool; 2],
    flows: [bool; 2],
}

impl Watched {
    fn best(self) -> Target {
        match self.rungs {
            [_, true] => P720,
            [true, false] => P480,
            [false, false] => Target::AudioOnly,
        }
    }

    /// What is wanted of a publisher whose uplink carries no more than `limit`: who is on a higher rung is sent the best below it.
    fn wanted(self, limit: Target) -> [bool; 2] {
        let [small, large] = self.rungs;
        let large_goes = limit == P720;
        [
            small || self.flows[0] || (large && !large_goes),
            (large || self.flows[1]) && large_goes,
        ]
    }
}

impl Worker {
    /// Does [`Self::steer_uplink`] if the last time is long enough ago.
    pub(super) fn look_at_uplink(&mut self, key: MemberKey, now: Instant) {
        let is_time = |member: &Member| member.uplink.as_ref().is_none_or(|uplink| uplink.may_step(now));
        if self.members.get(key.0).is_some_and(is_time) {
            self.steer_uplink(key, now);
        }
    }

    /// Decides anew what a publisher is asked to send, and tells if that is something else than before.
    pub(super) fn steer_uplink(&mut self, key: MemberKey, now: Instant) {
        let Some(member) = self.members.get(key.0) else { return };
        let has_two_layers = |track: &TrackKey| {
            self.tracks
                .get(track.0)
                .is_some_and(|track| track.source == Source::Camera && track.two_layers().is_some())
        };
        let cameras = member.tracks.iter().copied().filter(has_two_layers);
        let cameras: ArrayVec<TrackKey, { limits::MAX_LINES }> = cameras.take(limits::MAX_LINES).collect();
        if cameras.is_empty() {
            self.members[key.0].uplink = None;
            return;
        }
        // One ladder for the path: the first camera's.
        for (place, track) in cameras.into_iter().enumerate() {
            self.steer_track(key, track, place == 0, now);
        }
    }

    fn watched(&self, key: TrackKey) -> Watched {
        let mut watched = Watched::default();
        for viewer in &self.tracks[key.0].viewers {
            let Some(viewer) = self.members.get(viewer.0) else {
                continue;
            };
            for slot in viewer.slots.iter().filter(|slot| slot.source == Some(key)) {
                let (rung, flows) = slot.demand();
                if let Target::Video(layer) = rung {
                    watched.rungs[layer as usize] = true;
                }
                // What flows to somebody who wants no picture any more ends with its frame.
                if let Some(layer) = flows.filter(|_| rung != Target::AudioOnly) {
                    watched.flows[layer as usize] = true;
                }
            }
        }
        watched
    }

    fn steer_track(&mut self, owner: MemberKey, key: TrackKey, is_first: bool, now: Instant) {
        let watched = self.watched(key);
        let floor = self.shared.config.picture_floor;
        let demand = self.demand(owner, key, watched, now);
        let member = &mut self.members[owner.0];
        let rtt = member.round_trip(&self.tracks);
        let uplink = member.uplink.get_or_insert_with(|| Box::new(Uplink::new(floor, now)));
        uplink.set_ordered(
            member
                .transport
                .selected_path()
                .is_some_and(|path| path.carrier().is_some()),
        );
        let max_before = uplink.small_max();
        let step = if is_first { uplink.step(&demand, now) } else { None };
        let published = &mut self.tracks[key.0];
        let from = published.plan.limit();
        let to = uplink.limit();
        let wanted = watched.wanted(to);
        let facts = [Layer::P480, Layer::P720].map(|layer| LayerFacts {
            is_wanted: wanted[layer as usize],
            is_active: published.arrives(layer),
        });
        let changed = published.plan.update(facts, to, now);
        if !changed && max_before == uplink.small_max() {
            return;
        }
        let Some(layers) = published.two_layers() else { return };
        let max = |layer| match layer {
            Layer::P480 => uplink.small_max(),
            Layer::P720 => crate::adapt::LARGE,
        };
        let change = match step {
            Some(step) => UplinkChange::Path(step.cause.into()),
            None if changed => UplinkChange::Demand,
            None => UplinkChange::Path(Cause::Capacity.into()),
        };
        self.shared.events.push_back(Event::Uplink {
            room: published.room,
            participant: published.owner_id,
            mid: published.mid,
            track: published.id,
            layers: layers.map(|(rid, layer)| UplinkLayer {
                rid,
                active: published.plan.is_on(layer),
                max: max(layer),
            }),
            from,
            to,
            change,
            evidence: uplink.estimate().evidence(rtt),
        });
        let count = match change {
            UplinkChange::Demand => Count::UplinkDemand,
            UplinkChange::Path(_) if to < from => Count::UplinkDown,
            UplinkChange::Path(_) => Count::UplinkUp,
        };
        self.shared.counters.add(count, 1);
        if to != from {
            // Viewers look for another layer, or are told that there is none.
            for viewer in published.viewers.clone() {
                self.make_pending(viewer);
            }
        }
    }

    fn demand(&self, owner: MemberKey, key: TrackKey, watched: Watched, now: Instant) -> Demand {
        let published = &self.tracks[key.0];
        let plan = &published.plan;
        let rate = |layer| published.rate(layer, now).unwrap_or_else(|| nominal(layer));
        let [small, large] = [rate(Layer::P480), rate(Layer::P720)];
        // Both layers share the uplink, if both are watched.
        let beside = if watched.rungs[0] { small } else { Bitrate::ZERO };
        let asked_since = plan.asked_since(Layer::P720);
        let is_missing = plan.is_on(Layer::P720)
            && asked_since.is_none_or(|since| now >= since + SOON)
            && !published.arrives(Layer::P720)
            && plan.is_on(Layer::P480)
            && published.arrives(Layer::P480);
        let own = || {
            let tracks = self.members[owner.0].tracks.iter();
            tracks.filter_map(|key| self.tracks.get(key.0))
        };
        let screen = own()
            .filter(|track| track.source == Source::Screen)
            .filter_map(|track| track.rate(Layer::P720, now))
            .fold(Bitrate::ZERO, |sum, rate| sum + rate.max(SCREEN_RESERVE));
        let audio = own()
            .filter(|track| track.kind == Kind::Audio)
            .filter_map(Published::audio_account)
            .fold((0, 0), |sum, (came, lost)| (sum.0 + came, sum.1 + lost));
        Demand {
            ideal: watched.best(),
            rates: Rates {
                small: Some(small),
                large: Some(large + beside),
            },
            screen,
            large_is_missing: is_missing,
            audio,
        }
    }
}
