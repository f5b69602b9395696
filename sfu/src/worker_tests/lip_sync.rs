//! Lips stay in sync: by the sender reports a viewer gets, sound and picture of one moment are of one moment.

use std::time::{Duration, Instant};

use super::peer::Profile;
use super::peer::screen::Sample;
use super::peer::studio::Timing;
use super::stage::{ROOM, Stage, tell};
use crate::clock::NtpTime;
use crate::media::{Layer, Target};
use crate::testing::Chance;
use crate::testing::link::Quality;

const SECOND: Duration = Duration::from_secs(1);
/// How far sound and picture may be apart. 45 ms are noticed (ITU-R BT.1359).
const TOLERANCE_MS: f64 = 5.0;
/// Same at a switch, until the next report: a key frame whose packets had to be repaired comes after later pictures of the other layer
/// were shown, and time cannot go back for it.
const SWITCH_TOLERANCE_MS: f64 = 300.0;
/// Time in which a report gets through, even if two are lost.
const REPORTED: Duration = Duration::from_secs(3);

fn ms_after(earlier: NtpTime, later: NtpTime) -> f64 {
    later.to_bits().wrapping_sub(earlier.to_bits()) as i64 as f64 / f64::from(u32::MAX) * 1_000.0
}

/// A publisher whose clocks agree with nobody's, and whose layers take their time each.
fn strange_timing(chance: &mut Chance) -> Timing {
    let millionths = |chance: &mut Chance| chance.below(400) as i64 - 200;
    Timing {
        wall: NtpTime::from_bits(chance.bits()),
        drift: millionths(chance),
        audio_drift: millionths(chance),
        audio_latency: Duration::from_millis(chance.below(30)),
        video_latency: [10, 60].map(|most| Duration::from_millis(5 + chance.below(most))),
    }
}

/// How far apart sound and picture are for a viewer of `publisher` between two moments, in ms, for each picture.
fn skews(stage: &Stage, viewer: usize, pair: usize, publisher: usize, from: Instant, to: Instant) -> Vec<f64> {
    let screen = &stage.seats[viewer].peer.screen;
    let studio = &stage.seats[publisher].peer.studio;
    let inside = |sample: &&Sample| (from..to).contains(&sample.at);
    // How far off each clock is, by what was really captured when.
    let sounds: Vec<(Instant, f64)> = screen.audio[pair]
        .samples
        .iter()
        .filter(inside)
        .map(|sample| {
            let captured = studio.sounds_captured[sample.what.1 as usize];
            (sample.at, ms_after(stage.wall(captured), sample.ntp))
        })
        .collect();
    let pictures = screen.video[pair].samples.iter().filter(inside);
    let skew = pictures.filter_map(|sample| {
        let captured = studio.pictures_captured[&sample.what];
        let place = sounds.partition_point(|(at, _)| *at < sample.at);
        let (_, sound) = sounds.get(place).or(sounds.last())?;
        Some(ms_after(stage.wall(captured), sample.ntp) - sound)
    });
    skew.collect()
}

fn worst(skews: &[f64]) -> f64 {
    skews.iter().map(|skew| skew.abs()).fold(0.0, f64::max)
}

#[test]
fn sound_and_picture_of_one_moment_stay_together() {
    tell(1, 4, |seed| {
        let mut chance = Chance::new(seed ^ 0xc10c);
        let mut stage = Stage::new(seed);
        let lossy = Quality::lossy(80);
        let publisher = Profile {
            timing: strange_timing(&mut chance),
            ..Profile::full()
        };
        stage.join(ROOM, &publisher, lossy);
        stage.join(ROOM, &Profile::viewer(), lossy);
        stage.watch(1, 0, 0);
        stage.connect_all();
        // The first reports of publisher and server.
        stage.run(6 * SECOND);
        let (mut seen, mut noticed) = (0, 0);
        for target in [
            Target::Video(Layer::P480),
            Target::Video(Layer::P720),
            Target::AudioOnly,
            Target::Video(Layer::P480),
            Target::AudioOnly,
            Target::Video(Layer::P720),
        ] {
            let before = stage.now;
            stage.target(1, target);
            stage.run(8 * SECOND);
            let at_switch = skews(&stage, 1, 0, 0, before, before + REPORTED);
            let after = skews(&stage, 1, 0, 0, before + REPORTED, stage.now);
            assert_eq!(
                after.len() > 100,
                target != Target::AudioOnly,
                "{} pictures at {target:?}",
                after.len()
            );
            assert!(
                worst(&after) <= TOLERANCE_MS,
                "{} ms at {target:?}, {publisher:?}",
                worst(&after)
            );
            assert!(
                worst(&at_switch) <= SWITCH_TOLERANCE_MS,
                "{} ms going to {target:?}",
                worst(&at_switch)
            );
            seen += at_switch.len();
            noticed += at_switch.iter().filter(|skew| skew.abs() > TOLERANCE_MS).count();
        }
        assert!(
            noticed * 5 <= seen,
            "{noticed} of {seen} pictures around switches are off"
        );
    });
}

#[test]
fn two_publishers_with_other_clocks_are_each_in_sync() {
    tell(50, 1, |seed| {
        let mut chance = Chance::new(seed ^ 0xc10c);
        let mut stage = Stage::new(seed);
        for _ in 0..2 {
            let publisher = Profile {
                timing: strange_timing(&mut chance),
                receives: 0,
                ..Profile::full()
            };
            stage.join(ROOM, &publisher, Quality::lossy(30));
        }
        let viewer = Profile {
            receives: 2,
            ..Profile::viewer()
        };
        stage.join(ROOM, &viewer, Quality::lossy(30));
        stage.watch(2, 0, 0);
        stage.watch(2, 1, 1);
        stage.connect_all();
        stage.run(6 * SECOND);
        let before = stage.now;
        stage.run(10 * SECOND);
        for publisher in 0..2 {
            let skews = skews(&stage, 2, publisher, publisher, before, stage.now);
            assert!(skews.len() > 200, "{} pictures", skews.len());
            assert!(worst(&skews) <= TOLERANCE_MS, "{} ms", worst(&skews));
        }
    });
}

/// Where nothing is lost, going down is in sync from the first picture on, by what both layers' reports say: not by when packets arrive.
#[test]
fn a_smaller_picture_is_in_sync_at_once() {
    tell(60, 2, |seed| {
        let mut chance = Chance::new(seed ^ 0xc10c);
        let mut stage = Stage::new(seed);
        let calm = Quality {
            delay: Duration::from_millis(20),
            ..Quality::PERFECT
        };
        let publisher = Profile {
            timing: Timing {
                video_latency: [5, 45].map(Duration::from_millis),
                ..strange_timing(&mut chance)
            },
            ..Profile::full()
        };
        stage.join(ROOM, &publisher, calm);
        stage.join(ROOM, &Profile::viewer(), calm);
        stage.watch(1, 0, 0);
        stage.connect_all();
        stage.run(4 * SECOND);
        for target in [
            Target::Video(Layer::P480),
            Target::AudioOnly,
            Target::Video(Layer::P480),
        ] {
            let before = stage.now;
            stage.target(1, target);
            stage.run(3 * SECOND);
            let skews = skews(&stage, 1, 0, 0, before, stage.now);
            assert!(
                worst(&skews) <= TOLERANCE_MS,
                "{} ms going to {target:?}",
                worst(&skews)
            );
        }
        // Up again, and down again.
        for layer in [Layer::P720, Layer::P480] {
            let before = stage.now;
            stage.target(1, Target::Video(layer));
            stage.run(3 * SECOND);
            let skews = skews(&stage, 1, 0, 0, before, stage.now);
            assert!(skews.len() > 80);
            if layer == Layer::P480 {
                assert!(worst(&skews) <= TOLERANCE_MS, "{} ms going down", worst(&skews));
            } else {
                // The first larger picture is older than smaller ones that were shown; the report after the switch sets it right.
                let off = skews.iter().filter(|skew| skew.abs() > TOLERANCE_MS).count();
                assert!(
                    off <= 8 && worst(&skews) <= SWITCH_TOLERANCE_MS,
                    "{off} pictures going up"
                );
            }
        }
    });
}
