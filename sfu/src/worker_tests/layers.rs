//! What is wanted changes while packets are lost: 720p, 480p, sound only and back.

use std::time::Duration;

use super::peer::{Profile, receiving_mid};
use super::stage::{ROOM, Stage, tell};
use crate::api::Event;
use crate::counters::Count;
use crate::limits;
use crate::media::{Kind, Layer, Target};
use crate::testing::link::Quality;

const SECOND: Duration = Duration::from_secs(1);
const P480: Target = Target::Video(Layer::P480);
const P720: Target = Target::Video(Layer::P720);
/// From a wish to the picture: the request, the key frame and their repairs.
const SWITCHED: Duration = Duration::from_millis(1_500);

#[test]
fn the_picture_follows_the_target_and_never_breaks() {
    tell(1, 3, |seed| {
        let mut stage = Stage::new(seed);
        stage.join(ROOM, &Profile::full(), Quality::lossy(50));
        stage.join(ROOM, &Profile::viewer(), Quality::lossy(50));
        stage.watch(1, 0, 0);
        stage.connect_all();
        stage.run(4 * SECOND);
        let mut paused = false;
        for target in [P480, Target::AudioOnly, P720, P480, P720, Target::AudioOnly, P480, P720] {
            let before = stage.now;
            let asked_before = stage.seats[0].peer.studio.key_frame_requests.len();
            stage.target(1, target);
            stage.run(4 * SECOND);
            let (from, to) = (before + SWITCHED, stage.now);
            let video = &stage.seats[1].peer.screen.video[0];
            let asked = &stage.seats[0].peer.studio.key_frame_requests[asked_before..];
            let figures = video.decoder.figures();
            let story = format!("{target:?} after {:?}: {figures:?}", before - stage.start);
            match target {
                Target::AudioOnly => {
                    // The last frame is finished, what was lost of it is repaired, and that is all.
                    assert!(video.packets.last().is_none_or(|last| *last < from), "{story}");
                    assert!(asked.is_empty(), "nobody wants a key frame: {story}");
                }
                Target::Video(layer) => {
                    let height = if layer == Layer::P720 { 720 } else { 480 };
                    assert_eq!(video.heights(from, to), [height], "{story}");
                    assert!(video.longest_gap(from, to) <= SECOND, "{story}");
                    let switch = if paused { SWITCHED } else { SECOND };
                    assert!(video.longest_gap(before, from) <= switch, "{story}");
                    assert!((1..=4).contains(&asked.len()), "{asked:?} {story}");
                }
            }
            assert_eq!(figures.undecodable, 0, "{story}");
            paused = target == Target::AudioOnly;
            // Sound never stops.
            let audio = &stage.seats[1].peer.screen.audio[0];
            audio.check_order();
            let told = stage.told(before, |event| {
                matches!(event, Event::Sending { mid, target: told, layer, .. }
                    if *mid == receiving_mid(0, Kind::Video) && *told == target
                        && *layer == match target { Target::AudioOnly => None, Target::Video(layer) => Some(layer) })
            });
            assert_eq!(told, 1, "what flows is told once: {story}");
        }
        let (audio, sounds) = (
            &stage.seats[1].peer.screen.audio[0],
            stage.seats[0].peer.studio.sounds(),
        );
        assert!(
            audio.sounds.len() as u32 * 100 >= sounds * 85,
            "{} of {sounds}",
            audio.sounds.len()
        );
        let video = &stage.seats[1].peer.screen.video[0];
        assert!(
            video.asked_for_key_frames.len() <= 2,
            "a pause is no freeze: {:?}",
            video.asked_for_key_frames.len()
        );
    });
}

/// Eight viewers that cannot make up their minds cost a publisher no more key frames than its budget.
#[test]
fn key_frames_for_many_viewers_are_shared() {
    tell(30, 1, |seed| {
        let mut stage = Stage::new(seed);
        stage.join(ROOM, &Profile::full(), Quality::lossy(20));
        for _ in 0..8 {
            stage.join(ROOM, &Profile::viewer(), Quality::lossy(20));
        }
        stage.connect_all();
        stage.run(SECOND);
        // They are all shown the picture at once: one request for each layer at most.
        let before = stage.count(Count::KeyFrameOut);
        for viewer in 1..=8 {
            stage.watch(viewer, 0, 0);
        }
        stage.run(2 * SECOND);
        let shared = stage.count(Count::KeyFrameOut) - before;
        assert!((1..=4).contains(&shared), "{shared} requests for eight viewers");

        let (began, before) = (stage.now, stage.count(Count::KeyFrameOut));
        for _ in 0..75 {
            let viewer = 1 + stage.chance.below(8) as usize;
            let target = [P480, P720, Target::AudioOnly][stage.chance.below(3) as usize];
            stage.target(viewer, target);
            stage.run(Duration::from_millis(200));
        }
        let requests = stage.count(Count::KeyFrameOut) - before;
        let budget =
            (stage.now - began).as_secs() / limits::KEY_FRAME_PACE.as_secs() + u64::from(limits::KEY_FRAME_BURST);
        assert!(requests <= budget, "{requests} requests, {budget} allowed");
        for viewer in 1..=8 {
            stage.target(viewer, P720);
        }
        stage.run(4 * SECOND);
        let from = stage.now - SECOND;
        for viewer in 1..=8 {
            let video = &stage.seats[viewer].peer.screen.video[0];
            assert_eq!(video.decoder.figures().undecodable, 0);
            assert_eq!(video.heights(from, stage.now), [720], "viewer {viewer}");
        }
    });
}
