//! Somebody shares a screen, somebody else is seen by camera, and the viewer's path gets thin: the camera goes down first.

use std::time::{Duration, Instant};

use super::peer::{Profile, receiving_mid};
use super::stage::{ROOM, Stage, tell};
use crate::api::{Event, NegotiateError};
use crate::ids::Mid;
use crate::media::{Bitrate, Kind, Layer, Source, Target};
use crate::testing::link::Quality;
use crate::testing::puppet::{Direction, Line};

const SECOND: Duration = Duration::from_secs(1);

fn home(kbps: u64) -> Quality {
    Quality {
        delay: Duration::from_millis(20),
        rate: Some(Bitrate::from_kbps(kbps)),
        ..Quality::PERFECT
    }
}

fn screen() -> Profile {
    Profile {
        screen: true,
        ..Profile::full()
    }
}

/// Where the ladder has put a line of the viewer, by what was told since.
fn moved_to(stage: &Stage, mid: Mid, since: Instant) -> Vec<Target> {
    let moves = stage.events.iter().filter(|(at, _)| *at >= since);
    let moves = moves.filter_map(|(_, event)| match event {
        Event::Quality { mid: of, to, .. } if *of == mid => Some(*to),
        _ => None,
    });
    moves.collect()
}

/// Somebody behind a line of so many kbit/s who has been seeing a face and a screen for five seconds, and the lines of both.
fn face_and_screen(seed: u64, kbps: u64) -> (Stage, [Mid; 2]) {
    let mut stage = Stage::new(seed);
    let viewer = Profile {
        receives: 2,
        ..Profile::viewer()
    };
    stage.join(ROOM, &viewer, home(kbps));
    stage.join(ROOM, &Profile::full(), Quality::PERFECT);
    stage.join(ROOM, &screen(), Quality::PERFECT);
    // The camera has the first line: without a screen it would come first.
    stage.watch(0, 0, 1);
    stage.watch(0, 1, 2);
    stage.connect_all();
    stage.run(5 * SECOND);
    (stage, [0, 1].map(|pair| receiving_mid(pair, Kind::Video)))
}

#[test]
fn on_a_thin_path_the_camera_goes_before_the_screen_and_the_screen_before_the_sound() {
    tell(1, 1, |seed| {
        let (mut stage, [face, slides]) = face_and_screen(seed, 4_000);
        assert_eq!(moved_to(&stage, slides, stage.start), []);
        let frames = |stage: &Stage, line: usize, since: Instant| {
            let decoded = &stage.seats[0].peer.screen.video[line].decoded;
            decoded.iter().filter(|(at, _)| *at >= since).count()
        };

        // 1,000: the screen's 600 and sound leave too little for a face.
        let before = stage.now;
        stage.seats[0].down.set_quality(home(1_000));
        stage.run(10 * SECOND);
        assert_eq!(moved_to(&stage, face, before).last(), Some(&Target::AudioOnly));
        assert_eq!(moved_to(&stage, slides, before), [], "the screen stays");
        let calm = stage.now - 5 * SECOND;
        assert_eq!(frames(&stage, 0, calm), 0);
        assert!(frames(&stage, 1, calm) >= 140, "{} of 150", frames(&stage, 1, calm));

        // 550: fewer frames of the screen, and still every pixel.
        let before = stage.now;
        stage.seats[0].down.set_quality(home(550));
        stage.run(10 * SECOND);
        assert_eq!(moved_to(&stage, slides, before), [], "frames are left out first");
        let calm = stage.now - 5 * SECOND;
        let left = frames(&stage, 1, calm);
        assert!((60..140).contains(&left), "{left} of 150");

        // 200: nothing but sound, and all of that.
        let before = stage.now;
        stage.seats[0].down.set_quality(home(200));
        stage.run(10 * SECOND);
        assert_eq!(moved_to(&stage, slides, before).first(), Some(&Target::AudioOnly));
        let calm = stage.now - 5 * SECOND;
        assert_eq!(frames(&stage, 1, calm), 0);
        for line in &stage.seats[0].peer.screen.audio {
            line.check_order();
            let heard = line.playable.values().filter(|at| **at >= calm).count();
            assert!(heard >= 240, "{heard} of 250 sounds");
        }

        // Wide again: the screen is back first, then the face.
        let before = stage.now;
        stage.seats[0].down.set_quality(home(4_000));
        stage.run(40 * SECOND);
        let told = stage.events.iter().filter(|(at, _)| *at >= before);
        let mut ups = told.filter_map(|(_, event)| match event {
            Event::Quality { mid, from, to, .. } if to > from => Some(*mid),
            _ => None,
        });
        assert_eq!(ups.next(), Some(slides));
        assert!(ups.any(|mid| mid == face));
        let calm = stage.now - 5 * SECOND;
        assert!(frames(&stage, 0, calm) >= 140 && frames(&stage, 1, calm) >= 140);
        stage.worker.check();
    });
}

/// What moves on a screen takes all the path can carry, for one second or for four, and then nothing: the face beside it loses frames and
/// does not come and go each time.
#[test]
fn a_face_does_not_come_and_go_with_every_page_of_a_screen() {
    tell(1, 1, |seed| {
        for (moving, still) in [(1, 6), (4, 8)] {
            let (mut stage, [face, slides]) = face_and_screen(seed, 1_000);
            for _ in 0..10 {
                let before = stage.now;
                stage.seats[2].peer.studio.switch(Layer::P480, true);
                stage.run(moving * SECOND);
                stage.seats[2].peer.studio.switch(Layer::P480, false);
                stage.run(still * SECOND);
                let decoded = &stage.seats[0].peer.screen.video[1].decoded;
                assert!(decoded.iter().any(|(at, _)| *at > before), "each page is seen");
            }
            assert_eq!(moved_to(&stage, slides, stage.start), [], "the screen stays");
            // Down and back once, while the path is being learnt.
            let moves = moved_to(&stage, face, stage.start);
            assert!(moves.len() <= 4, "{moving} s of {}: {moves:?}", moving + still);
        }
    });
}

/// A screen on which nothing moves is no screen that was switched off: nothing is told, and what comes next is shown.
#[test]
fn a_screen_that_stands_still_is_still_shared() {
    tell(1, 2, |seed| {
        let mut stage = Stage::new(seed);
        stage.join(ROOM, &Profile::viewer(), home(4_000));
        stage.join(ROOM, &screen(), Quality::PERFECT);
        stage.watch(0, 0, 1);
        stage.connect_all();
        stage.run(3 * SECOND);
        let published = stage.stats(1).expect("a member").published;
        assert_eq!(
            published.iter().filter(|one| one.layer.is_some()).count(),
            1,
            "{published:?}"
        );
        let before = stage.now;
        stage.seats[1].peer.studio.switch(Layer::P480, false);
        stage.run(20 * SECOND);
        let is_news = |event: &Event| {
            matches!(
                event,
                Event::Sending { .. } | Event::Quality { .. } | Event::Uplink { .. }
            )
        };
        assert_eq!(stage.told(before, is_news), 0);
        let before = stage.now;
        stage.seats[1].peer.studio.switch(Layer::P480, true);
        stage.run(SECOND);
        let decoded = &stage.seats[0].peer.screen.video[0].decoded;
        assert!(decoded.iter().any(|(at, _)| *at > before));
    });
}

#[test]
fn a_screen_is_told_from_a_camera_and_one_line_is_not_both() {
    let mut stage = Stage::new(1);
    stage.join(ROOM, &screen(), Quality::PERFECT);
    stage.join(ROOM, &Profile::full(), Quality::PERFECT);
    stage.connect_all();
    stage.run(SECOND);
    let sources = |stage: &Stage, seat: usize| -> Vec<Source> {
        let id = stage.seats[seat].peer.id;
        let told = stage.events.iter().filter_map(|(_, event)| match event {
            Event::Track { participant, track, .. } if *participant == id => Some(track.source),
            _ => None,
        });
        let mut told: Vec<Source> = told.collect();
        told.sort_unstable();
        told
    };
    assert_eq!(sources(&stage, 0), [Source::Microphone, Source::Screen]);
    assert_eq!(sources(&stage, 1), [Source::Microphone, Source::Camera]);
    stage.seats[0].peer.shares_screen = false;
    assert!(matches!(stage.negotiate(0), Err(NegotiateError::Conflict(_))));
    stage.seats[1].peer.shares_screen = true;
    assert!(matches!(stage.negotiate(1), Err(NegotiateError::Conflict(_))));
    // One at a time.
    stage.seats[0].peer.shares_screen = true;
    stage.negotiate(0).expect("as before");
    let one_more = Line::new(Kind::Video, Direction::SendOnly);
    stage.seats[0].peer.lines.push(one_more);
    assert!(matches!(stage.negotiate(0), Err(NegotiateError::Unsupported(_))));
}
