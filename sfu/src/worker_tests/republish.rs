//! Publishers change what they send while viewers stay: another SSRC, layers off and on, a camera put away, a person who leaves and
//! returns.

use std::time::Duration;

use super::peer::{Peer, Profile};
use super::stage::{ROOM, Stage, tell};
use crate::api::{Event, TrackChange};
use crate::ids::TrackId;
use crate::limits;
use crate::media::{Kind, Layer};
use crate::testing::link::Quality;
use crate::testing::puppet::{Direction, Line};

const SECOND: Duration = Duration::from_secs(1);
const LAYERS: [Layer; 2] = [Layer::P480, Layer::P720];

/// A publisher and two viewers, one of whom wants no more than 480p; all have seen the picture for three seconds.
fn watched(seed: u64) -> Stage {
    watched_as(seed, &Profile::full())
}

fn watched_as(seed: u64, publisher: &Profile) -> Stage {
    let mut stage = Stage::new(seed);
    let quality = Quality::lossy(30);
    stage.join(ROOM, publisher, quality);
    for viewer in [1, 2] {
        stage.join(ROOM, &Profile::viewer(), quality);
        stage.watch(viewer, 0, 0);
    }
    stage.target(2, crate::media::Target::Video(Layer::P480));
    stage.connect_all();
    stage.run(3 * SECOND);
    stage
}

fn viewer(stage: &Stage, seat: usize) -> &Peer {
    &stage.seats[seat].peer
}

/// Both viewers had a picture all along but for `gap`, of these heights at the end.
fn assert_seen(stage: &Stage, since: std::time::Instant, gap: Duration, heights: [u16; 2], story: &str) {
    for (seat, height) in [1, 2].into_iter().zip(heights) {
        let video = &viewer(stage, seat).screen.video[0];
        let figures = video.decoder.figures();
        assert_eq!(figures.undecodable, 0, "{story}: {figures:?}");
        let longest = video.longest_gap(since, stage.now);
        assert!(longest <= gap, "{story}: viewer {seat} had no picture for {longest:?}");
        assert_eq!(
            video.heights(stage.now - SECOND, stage.now),
            [height],
            "{story}: viewer {seat}"
        );
        viewer(stage, seat).screen.audio[0].check_order();
    }
    stage.worker.check();
}

/// Some encoders list the largest layer first and do not say how large it is: the pictures show which is which. A new offer may have it
/// either way round.
#[test]
fn layers_are_known_by_their_pictures_whatever_their_order() {
    tell(1, 2, |seed| {
        let publisher = Profile {
            largest_first: true,
            ..Profile::full()
        };
        let mut stage = watched_as(seed, &publisher);
        assert_seen(&stage, stage.now - SECOND, SECOND, [720, 480], "from the start");
        for largest_first in [false, true, true, false] {
            let before = stage.now;
            stage.seats[0].peer.largest_first = largest_first;
            stage.negotiate(0).expect("a good offer");
            stage.run(3 * SECOND);
            let story = format!("largest first: {largest_first}");
            assert_seen(&stage, before, SECOND, [720, 480], &story);
        }
    });
}

#[test]
fn an_encoder_that_starts_anew_is_taken_for_the_same_layer() {
    tell(1, 2, |seed| {
        let mut stage = watched(seed);
        let tracks = stage.told(stage.start, |event| matches!(event, Event::Track { .. }));
        for (round, layer) in [Layer::P720, Layer::P480, Layer::P480, Layer::P720]
            .into_iter()
            .enumerate()
        {
            let before = stage.now;
            stage.seats[0].peer.studio.restart_encoder(layer);
            stage.run(4 * SECOND);
            assert_seen(
                &stage,
                before,
                2 * SECOND,
                [720, 480],
                &format!("round {round}, {layer:?}"),
            );
        }
        let told = stage.told(stage.start, |event| matches!(event, Event::Track { .. }));
        assert_eq!(told, tracks, "the tracks are the same");
        let stats = stage.stats(0).expect("a member");
        assert_eq!(
            stats.published.len(),
            3,
            "an SSRC that is gone is not counted: {stats:?}"
        );
    });
}

#[test]
fn a_layer_that_is_switched_off_is_replaced_by_the_other() {
    tell(10, 2, |seed| {
        let mut stage = watched(seed);
        // Until the layer is taken for off, and then a key frame.
        let noticed = limits::LAYER_INACTIVE + SECOND;
        let story = |stage: &mut Stage, layer, on, heights, what: &str| {
            let before = stage.now;
            stage.seats[0].peer.studio.switch(layer, on);
            stage.run(4 * SECOND);
            assert_seen(stage, before, noticed, heights, what);
        };
        story(&mut stage, Layer::P720, false, [480, 480], "720p off");
        story(&mut stage, Layer::P720, true, [720, 480], "720p on");
        // There is nothing below 480p: who wants it at most waits.
        let before = stage.now;
        stage.seats[0].peer.studio.switch(Layer::P480, false);
        stage.run(4 * SECOND);
        let seen =
            |stage: &Stage, seat: usize| viewer(stage, seat).screen.video[0].heights(stage.now - SECOND, stage.now);
        assert_eq!(seen(&stage, 1), [720]);
        assert!(seen(&stage, 2).is_empty(), "no larger picture than was wanted");
        stage.seats[0].peer.studio.switch(Layer::P480, true);
        stage.run(2 * SECOND);
        assert_eq!((seen(&stage, 1), seen(&stage, 2)), (vec![720], vec![480]));
        // Both off is a pause; sound goes on, and nobody asks for key frames without end.
        for layer in LAYERS {
            stage.seats[0].peer.studio.switch(layer, false);
        }
        let asked = viewer(&stage, 0).studio.key_frame_requests.len();
        stage.run(10 * limits::KEY_FRAME_PACE);
        let asked = viewer(&stage, 0).studio.key_frame_requests.len() - asked;
        assert!(
            asked <= 10 + limits::KEY_FRAME_BURST as usize,
            "{asked} key frames asked for in ten seconds of pause"
        );
        let heard = viewer(&stage, 1).screen.audio[0].sounds.len();
        let resumed = stage.now;
        for layer in LAYERS {
            stage.seats[0].peer.studio.switch(layer, true);
        }
        stage.run(4 * SECOND);
        assert_seen(&stage, resumed, 2 * SECOND, [720, 480], "both on again");
        assert!(viewer(&stage, 1).screen.audio[0].sounds.len() > heard + 150);
        assert!(stage.now - before > 15 * SECOND);
    });
}

/// Re-offers: the camera's line becomes inactive, and sends again with a new track.
#[test]
fn a_camera_that_is_put_away_and_brought_back_is_a_new_track() {
    tell(20, 2, |seed| {
        let mut stage = watched(seed);
        let first = viewer(&stage, 0).track(Kind::Video).expect("published");
        let began = stage.now;
        stage.seats[0].peer.lines[1].direction = Direction::Inactive;
        stage.seats[0].peer.lines[1].simulcast = false;
        stage.negotiate(0).expect("a good offer");
        stage.run(2 * SECOND);
        let ended = |track: TrackId| move |event: &Event| matches!(event, Event::Track { track: told, change: TrackChange::Ended, .. } if told.track == track);
        assert_eq!(stage.told(began, ended(first)), 1);
        let packets = viewer(&stage, 1).screen.video[0].packets.len();
        // The browser goes on for a moment before it applies the answer; nobody gets that.
        stage.run(SECOND);
        assert_eq!(viewer(&stage, 1).screen.video[0].packets.len(), packets);

        stage.seats[0].peer.lines[1] = Line::new(Kind::Video, Direction::SendOnly);
        for layer in LAYERS {
            stage.seats[0].peer.studio.restart_encoder(layer);
        }
        stage.negotiate(0).expect("a good offer");
        let second = viewer(&stage, 0).track(Kind::Video).expect("published");
        assert_ne!(first, second);
        stage.run(SECOND);
        assert_eq!(
            viewer(&stage, 1).screen.video[0].packets.len(),
            packets,
            "nobody was pointed at the new track"
        );
        let before = stage.now;
        for seat in [1, 2] {
            stage.point(seat, 0, Kind::Video, Some(second));
        }
        stage.run(4 * SECOND);
        assert_seen(&stage, before, 2 * SECOND, [720, 480], "a new track");
    });
}

#[test]
fn somebody_who_leaves_and_returns_is_seen_again_in_the_same_place() {
    tell(30, 2, |seed| {
        let mut stage = watched(seed);
        let mut publisher = 0;
        for round in 0..3 {
            let before = stage.now;
            match round {
                // The page is closed.
                0 => {
                    let now = stage.now;
                    let peer = &mut stage.seats[publisher].peer;
                    let goodbye = peer.client.close(now);
                    peer.out.extend(goodbye);
                    let path = peer.path;
                    for mut datagram in std::mem::take(&mut peer.out) {
                        stage.worker.handle_datagram(path, &mut datagram, now);
                    }
                    stage.settle();
                    let closed = stage.told(before, |event| {
                        matches!(
                            event,
                            Event::Closed {
                                reason: "closed_by_peer",
                                ..
                            }
                        )
                    });
                    assert_eq!(closed, 1);
                }
                // It is taken out, as a ghost is when its person comes back.
                1 => stage.remove(publisher),
                // Its network is gone, and it comes back before that is noticed.
                _ => {
                    stage.set_quality(publisher, Quality::DARK);
                    stage.run(2 * SECOND);
                    stage.remove(publisher);
                }
            }
            stage.seats[publisher].peer.is_gone = true;
            stage.run(SECOND);
            let ended = stage.told(before, |event| {
                matches!(
                    event,
                    Event::Track {
                        change: TrackChange::Ended,
                        ..
                    }
                )
            });
            assert_eq!(ended, 2, "its sound and its picture");
            publisher = stage.join(ROOM, &Profile::full(), Quality::lossy(30));
            for seat in [1, 2] {
                stage.watch(seat, 0, publisher);
            }
            stage.connect_all();
            let back = stage.now;
            stage.run(4 * SECOND);
            assert_seen(&stage, back, 2 * SECOND, [720, 480], &format!("return {round}"));
        }
        assert_eq!(stage.worker.members.len(), 3);
        assert_eq!(stage.worker.tracks.len(), 2);
    });
}
