//! What publishers are asked to send: layers that nobody watches go off, and come back when somebody does.

use std::time::{Duration, Instant};

use super::peer::Profile;
use super::stage::{ROOM, Stage, tell};
use crate::api::Event;
use crate::media::{Layer, Target};
use crate::testing::link::Quality;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const P480: Target = Target::Video(Layer::P480);
const P720: Target = Target::Video(Layer::P720);
/// From the media core's word to the encoder: signalling there and back, and the browser's 70 ms.
const OBEYS_AFTER: Duration = Duration::from_millis(120);

/// Lets time pass, and lets the publisher at `seat` do what it is told.
fn run(stage: &mut Stage, seat: usize, time: Duration) {
    let end = stage.now + time;
    while stage.now < end {
        let before = stage.now;
        stage.run(20 * MS);
        let late: Vec<_> = orders(stage)
            .filter(|(at, _)| *at + OBEYS_AFTER > before && *at + OBEYS_AFTER <= stage.now)
            .map(|(_, layers)| layers)
            .collect();
        for layers in late {
            for (layer, on) in [(Layer::P480, layers[0]), (Layer::P720, layers[1])] {
                if stage.seats[seat].peer.studio.is_on(layer) != on {
                    stage.seats[seat].peer.studio.switch(layer, on);
                }
            }
        }
    }
}

/// What the publisher was told, and when: which layers, the smaller first.
fn orders(stage: &Stage) -> impl Iterator<Item = (Instant, [bool; 2])> {
    stage.events.iter().filter_map(|(at, event)| match event {
        Event::Uplink { layers, .. } => Some((*at, layers.map(|layer| layer.active))),
        _ => None,
    })
}

fn last_order(stage: &Stage) -> Option<[bool; 2]> {
    orders(stage).last().map(|(_, layers)| layers)
}

#[test]
fn layers_nobody_watches_go_off_and_come_back_when_they_are_asked_for() {
    tell(1, 3, |seed| {
        let mut stage = Stage::new(seed);
        stage.join(ROOM, &Profile::full(), Quality::lossy(20));
        stage.join(ROOM, &Profile::viewer(), Quality::lossy(20));
        stage.connect_all();
        // In the waiting room nobody watches.
        run(&mut stage, 0, 2 * SECOND);
        assert_eq!(last_order(&stage), Some([false, false]), "off within two seconds");
        run(&mut stage, 0, 2 * SECOND);
        stage.watch(1, 0, 0);
        for (target, expected) in [
            (P720, [false, true]),
            (P480, [true, false]),
            (Target::AudioOnly, [false, false]),
            (P480, [true, false]),
            (P720, [false, true]),
        ] {
            let before = stage.now;
            stage.target(1, target);
            run(&mut stage, 0, 4 * SECOND);
            let story = format!("{target:?} after {:?}", before - stage.start);
            assert_eq!(last_order(&stage), Some(expected), "{story}");
            let (at, _) = orders(&stage).last().expect("the publisher was told");
            assert!(at - before <= 2 * SECOND, "{story}: told after {:?}", at - before);
            let video = &stage.seats[1].peer.screen.video[0];
            assert_eq!(video.decoder.figures().undecodable, 0, "{story}");
            if let Target::Video(layer) = target {
                let height = if layer == Layer::P720 { 720 } else { 480 };
                // The order, the browser's time to obey, a key frame, and repairs of it.
                let settled = before + OBEYS_AFTER + 400 * MS;
                assert_eq!(video.heights(settled, stage.now), [height], "{story}");
                assert!(video.longest_gap(settled, stage.now) <= SECOND, "{story}");
            }
        }
    });
}

/// A layer goes on being sent as long as one viewer of several wants it.
#[test]
fn a_layer_that_one_of_two_watches_stays() {
    tell(1, 2, |seed| {
        let mut stage = Stage::new(seed);
        stage.join(ROOM, &Profile::full(), Quality::lossy(0));
        stage.join(ROOM, &Profile::viewer(), Quality::lossy(0));
        stage.join(ROOM, &Profile::viewer(), Quality::lossy(0));
        stage.connect_all();
        stage.watch(1, 0, 0);
        stage.watch(2, 0, 0);
        run(&mut stage, 0, SECOND);
        stage.target(1, P480);
        run(&mut stage, 0, 4 * SECOND);
        assert!(last_order(&stage).is_none_or(|layers| layers == [true, true]));
        for (viewer, height) in [(1, 480), (2, 720)] {
            let video = &stage.seats[viewer].peer.screen.video[0];
            assert_eq!(video.heights(stage.now - 2 * SECOND, stage.now), [height]);
        }
    });
}

/// A publisher that cannot be told goes on sending everything, and everybody sees what they want.
#[test]
fn a_publisher_that_does_not_obey_is_seen_all_the_same() {
    tell(1, 2, |seed| {
        let mut stage = Stage::new(seed);
        stage.join(ROOM, &Profile::full(), Quality::lossy(20));
        stage.join(ROOM, &Profile::viewer(), Quality::lossy(20));
        stage.connect_all();
        stage.run(4 * SECOND);
        stage.watch(1, 0, 0);
        for (target, height) in [(P720, 720), (P480, 480), (P720, 720)] {
            stage.target(1, target);
            stage.run(4 * SECOND);
            let video = &stage.seats[1].peer.screen.video[0];
            assert_eq!(video.heights(stage.now - 2 * SECOND, stage.now), [height]);
        }
    });
}
