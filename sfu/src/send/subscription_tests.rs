//! What one viewer of one video track is sent, by story.

use std::time::{Duration, Instant};

use super::testbed::{EPOCH, Out, VP8, VP8_RTX, Viewer, config};
use crate::adapt::Copies;
use crate::clock::testing::start;
use crate::ids::TrackId;
use crate::limits;
use crate::media::{Kind, Layer, Target};
use crate::testing::track::TestTrack;
use crate::testing::{MediaPacket, VideoPublisher};

const TRACK: Option<TrackId> = Some(TrackId(7));
const P480: Target = Target::Video(Layer::P480);
const P720: Target = Target::Video(Layer::P720);

/// One publisher, one viewer, no loss but what a test makes.
struct Scene {
    start: Instant,
    publisher: VideoPublisher,
    track: TestTrack,
    viewer: Viewer,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let start = start();
        let mut viewer = Viewer::new(config(Kind::Video), 0xfedc_ba98_7654_7ff0, start);
        viewer.sub.set_source(TRACK);
        Self {
            start,
            publisher: VideoPublisher::new(1),
            track: TestTrack::video(),
            viewer,
            now: start,
        }
    }

    /// The next picture of every active layer.
    fn picture(&mut self) -> Vec<(Layer, Vec<MediaPacket>)> {
        self.publisher.advance();
        self.now = self.start + self.publisher.time();
        let active = [Layer::P480, Layer::P720].map(|layer| (layer, self.track.layer_mut(layer).active));
        let sent = active.into_iter().filter(|(_, active)| *active);
        sent.map(|(layer, _)| (layer, self.publisher.encode(layer))).collect()
    }

    fn store(&mut self, picture: &[(Layer, Vec<MediaPacket>)]) {
        for (layer, packets) in picture {
            for packet in packets {
                self.track.store(*layer, packet, self.now);
            }
        }
    }

    /// Pictures without loss. Key frame requests reach the publisher with the next picture. How many there were.
    fn run(&mut self, pictures: usize) -> usize {
        let mut requests = 0;
        for _ in 0..pictures {
            if self.viewer.sub.wanted_key_frame(&self.track, self.now).is_some() {
                requests += 1;
                self.publisher.request_key_frame();
            }
            let picture = self.picture();
            self.store(&picture);
            self.viewer.pump(&self.track, self.now);
        }
        requests
    }

    fn wait(&mut self, ms: u64) {
        self.start += Duration::from_millis(ms);
        self.now += Duration::from_millis(ms);
    }

    fn set_target(&mut self, target: Target) {
        self.viewer.sub.set_target(target, self.now);
    }

    fn nack(&mut self, numbers: &[u16]) {
        self.viewer.sub.handle_nack(numbers.iter().copied(), self.now);
    }

    fn take(&mut self) -> Vec<Out> {
        self.viewer.take(&self.track, self.now)
    }

    #[track_caller]
    fn assert_flawless(&self) {
        let figures = self.viewer.decoder.figures();
        assert_eq!(
            (figures.undecodable, figures.unfinished, figures.lost),
            (0, 0, 0),
            "{figures:?}"
        );
        assert_eq!(self.viewer.decoder.missing(), [0_u16; 0]);
    }
}

#[test]
fn starts_at_a_key_frame_that_is_asked_for() {
    let mut scene = Scene::new();
    // Frames from before the viewer came.
    for _ in 0..10 {
        let picture = scene.picture();
        scene.store(&picture);
    }
    assert_eq!(scene.viewer.pump(&scene.track, scene.now), 0);
    assert_eq!(scene.viewer.sub.layer(), None);
    let picture = scene.picture();
    scene.store(&picture);
    assert_eq!(
        scene.viewer.pump(&scene.track, scene.now),
        0,
        "a delta frame is no start"
    );
    assert_eq!(scene.run(3), 1);
    assert_eq!(scene.viewer.sub.layer(), Some(Layer::P720));
    assert_eq!(scene.viewer.decoder.figures().decoded, 3);
    assert_eq!(scene.viewer.decoder.figures().height, 720);
    scene.assert_flawless();
}

#[test]
fn a_key_frame_that_was_just_sent_to_others_is_a_start() {
    let mut scene = Scene::new();
    for _ in 0..4 {
        let picture = scene.picture();
        scene.store(&picture);
    }
    scene.viewer.pump(&scene.track, scene.now);
    assert_eq!(scene.viewer.decoder.figures().decoded, 4);
    assert_eq!(scene.run(5), 0, "no request");
    scene.assert_flawless();
}

#[test]
fn layers_switch_down_up_off_and_on_without_a_gap() {
    for reports in [false, true] {
        let mut scene = Scene::new();
        if reports {
            scene.track.report(&scene.publisher, EPOCH);
        }
        let mut decoded = 0;
        for (target, height, layer) in [
            (P720, 720, Some(Layer::P720)),
            (P480, 480, Some(Layer::P480)),
            (P720, 720, Some(Layer::P720)),
            (Target::AudioOnly, 720, None),
            (P480, 480, Some(Layer::P480)),
            (Target::AudioOnly, 480, None),
            (P720, 720, Some(Layer::P720)),
        ] {
            scene.set_target(target);
            scene.run(30);
            let figures = scene.viewer.decoder.figures();
            assert_eq!(scene.viewer.sub.layer(), layer);
            assert_eq!(figures.height, height);
            let expected = if target == Target::AudioOnly { 0 } else { 30 };
            assert_eq!(
                figures.decoded - decoded,
                expected,
                "each picture is shown once: {target:?}"
            );
            decoded = figures.decoded;
            scene.assert_flawless();
            scene.wait(5_000);
        }
    }
}

#[test]
fn stops_at_the_end_of_a_frame() {
    let mut scene = Scene::new();
    scene.run(5);
    scene.publisher.request_key_frame();
    let picture = scene.picture();
    let packets = &picture[1].1;
    assert!(packets.len() > 3);
    for packet in &packets[..2] {
        scene.track.store(Layer::P720, packet, scene.now);
    }
    scene.viewer.pump(&scene.track, scene.now);
    scene.set_target(Target::AudioOnly);
    assert_eq!(scene.viewer.pump(&scene.track, scene.now), 0);
    assert_eq!(scene.viewer.sub.layer(), Some(Layer::P720), "the frame is not over");
    for packet in &packets[2..] {
        scene.track.store(Layer::P720, packet, scene.now);
    }
    let next = scene.picture();
    scene.store(&next);
    assert_eq!(scene.viewer.pump(&scene.track, scene.now), packets.len() - 2);
    assert_eq!(scene.viewer.sub.layer(), None);
    assert_eq!(scene.viewer.decoder.figures().decoded, 6);
    scene.assert_flawless();
}

#[test]
fn does_not_wait_for_the_end_of_a_frame_for_ever() {
    let mut scene = Scene::new();
    scene.run(5);
    let picture = scene.picture();
    scene.track.store(Layer::P720, &picture[1].1[0], scene.now);
    scene.viewer.pump(&scene.track, scene.now);
    scene.set_target(Target::AudioOnly);
    scene.viewer.pump(&scene.track, scene.now);
    let (due, what) = scene.viewer.sub.poll_timeout(scene.now).unwrap();
    assert_eq!((due - scene.now, what), (limits::FINISH_FRAME, "end of the last frame"));
    scene.viewer.pump(&scene.track, due);
    assert_eq!(scene.viewer.sub.layer(), None);
    assert_eq!(scene.viewer.sub.poll_timeout(due), None);
}

#[test]
fn the_best_layer_that_is_sent_takes_the_place_of_one_that_is_not() {
    let mut scene = Scene::new();
    scene.run(5);
    scene.wait(200);
    scene.track.layer_mut(Layer::P720).active = false;
    scene.run(10);
    assert_eq!(scene.viewer.sub.layer(), Some(Layer::P480));
    scene.track.layer_mut(Layer::P720).active = true;
    scene.run(10);
    assert_eq!(scene.viewer.sub.layer(), Some(Layer::P720));
    assert_eq!(scene.viewer.decoder.figures().decoded, 25);
    scene.assert_flawless();

    // Nothing below what is wanted: nothing is sent, and nothing is asked for.
    scene.set_target(P480);
    scene.track.layer_mut(Layer::P480).active = false;
    scene.set_target(Target::AudioOnly);
    scene.run(3);
    scene.set_target(P480);
    assert_eq!(scene.run(10), 0);
    assert_eq!(scene.viewer.sub.layer(), None);
}

#[test]
fn the_receivers_loss_is_repaired_by_retransmission() {
    let mut scene = Scene::new();
    scene.run(5);
    let picture = scene.picture();
    scene.store(&picture);
    let sent = scene.take();
    let lost = &sent[1];
    for out in sent.iter().filter(|out| out.written != lost.written) {
        scene.viewer.decode(out);
    }
    let missing = scene.viewer.decoder.missing();
    assert_eq!(missing, [lost.header().sequence]);
    scene.nack(&missing);
    scene.nack(&missing);
    let resent = scene.take();
    assert_eq!(resent.len(), 1, "asked for twice, sent once");
    let (first, again) = (lost.header(), resent[0].header());
    assert_eq!((again.payload_type, first.payload_type), (VP8_RTX, VP8));
    assert_eq!((again.timestamp, again.marker), (first.timestamp, first.marker));
    scene.nack(&missing);
    assert_eq!(scene.take().len(), 0, "not again within a round trip");
    scene.wait(60);
    scene.nack(&missing);
    assert_eq!(scene.take().len(), 1, "the retransmission was lost");
    scene.viewer.decode(&resent[0]);
    assert_eq!(scene.run(5), 0);
    scene.assert_flawless();
    assert_eq!(scene.viewer.sub.counters().resent, 2);
}

#[test]
fn a_packet_is_resent_only_so_often_and_then_a_key_frame_is_asked_for() {
    let mut scene = Scene::new();
    scene.run(5);
    let picture = scene.picture();
    scene.store(&picture);
    let number = scene.take()[0].header().sequence;
    let (mut resent, mut has_asked) = (0, false);
    for _ in 0..50 {
        let is_spent = resent == usize::from(limits::MAX_RESENDS);
        scene.nack(&[number]);
        resent += scene.take().len();
        let wanted = scene.viewer.sub.wanted_key_frame(&scene.track, scene.now);
        assert!(is_spent || wanted.is_none(), "it may arrive yet");
        has_asked |= wanted.is_some();
        scene.wait(100);
    }
    assert_eq!(resent, usize::from(limits::MAX_RESENDS));
    assert!(has_asked);
}

#[test]
fn the_publishers_loss_is_a_hole_that_a_repaired_packet_fills() {
    let mut scene = Scene::new();
    scene.run(5);
    let mut picture = scene.picture();
    let lost = picture[1].1.remove(1);
    scene.store(&picture);
    scene.viewer.pump(&scene.track, scene.now);
    let missing = scene.viewer.decoder.missing();
    assert_eq!(missing.len(), 1);
    scene.nack(&missing);
    assert_eq!(scene.run(3), 0, "the publisher was asked, it may still come");
    scene.track.store(Layer::P720, &lost, scene.now);
    // A second copy that somehow got past the receive side.
    scene.track.store(Layer::P720, &lost, scene.now);
    assert_eq!(scene.viewer.pump(&scene.track, scene.now), 1);
    scene.run(3);
    scene.assert_flawless();
    assert_eq!(scene.viewer.decoder.figures().decoded, 12);
}

#[test]
fn on_a_path_that_loses_many_what_was_repaired_leaves_twice_and_what_feedback_misses_unasked() {
    let mut scene = Scene::new();
    scene.run(5);
    scene.viewer.sub.set_lossy(true);
    let mut repaired = None;
    for (late_by, is_awaited) in [(0, false), (2, false), (10, true)] {
        let mut picture = scene.picture();
        let late = picture[1].1.remove(1);
        scene.store(&picture);
        assert!(scene.take().iter().all(|taken| !taken.written.is_awaited));
        scene.now += Duration::from_millis(late_by);
        scene.track.store(Layer::P720, &late, scene.now);
        let [first] = &scene.take()[..] else {
            panic!("it is sent")
        };
        assert_eq!(
            first.written.is_awaited, is_awaited,
            "{late_by} ms behind those after it"
        );
        repaired = Some(first.written);
    }
    let repaired = repaired.expect("three were");
    scene.viewer.sub.repeat(&repaired);
    let [again] = &scene.take()[..] else {
        panic!("it is sent once more")
    };
    let number = repaired.sequence;
    assert_eq!((repaired.repeats, again.written.repeats), (None, Some(number)));
    // Feedback that both are missing comes within what is taken for a round trip, and is believed all the same.
    scene.nack(&[number as u16]);
    assert_eq!(scene.take().len(), 0, "it may be on its way");
    for (copies, count) in [(Copies::One, 1), (Copies::Two, 2)] {
        scene.viewer.sub.handle_missing(number as u16, copies);
        assert_eq!(scene.take().len(), count);
    }
    scene.viewer.sub.handle_missing(number as u16 + 1_000, Copies::Two);
    assert_eq!(scene.take().len(), 0, "never sent");
}

#[test]
fn a_hole_that_is_not_filled_asks_for_a_key_frame() {
    let mut scene = Scene::new();
    scene.run(5);
    let mut picture = scene.picture();
    picture[1].1.remove(1);
    scene.store(&picture);
    scene.viewer.pump(&scene.track, scene.now);
    let missing = scene.viewer.decoder.missing();
    assert_eq!(scene.run(12), 0);
    scene.nack(&missing);
    assert_eq!(
        scene.viewer.sub.wanted_key_frame(&scene.track, scene.now),
        Some(Layer::P720)
    );
    scene.publisher.request_key_frame();
    scene.run(1);
    scene.nack(&missing);
    assert_eq!(scene.run(5), 0, "what is before the key frame is not needed");
    scene.viewer.decoder.skip_missing();
    assert!(scene.viewer.decoder.has_picture());
}

#[test]
fn without_retransmission_a_nack_asks_for_a_key_frame() {
    let mut scene = Scene::new();
    let mut config = config(Kind::Video);
    config.rtx_ssrc = None;
    scene.viewer = Viewer::new(config, 5, scene.now);
    scene.viewer.sub.set_source(TRACK);
    scene.run(5);
    let picture = scene.picture();
    scene.store(&picture);
    let number = scene.take()[0].header().sequence;
    scene.wait(100);
    scene.nack(&[number]);
    assert_eq!(scene.take().len(), 0);
    assert_eq!(
        scene.viewer.sub.wanted_key_frame(&scene.track, scene.now),
        Some(Layer::P720)
    );
}

#[test]
fn nacks_for_what_was_never_sent_do_nothing() {
    let mut scene = Scene::new();
    scene.nack(&[0, 1, 0x7ff0, 0xffff]);
    scene.run(5);
    let picture = scene.picture();
    scene.store(&picture);
    let last = scene.take().last().unwrap().header().sequence;
    scene.nack(&[
        last.wrapping_add(1),
        last.wrapping_add(30_000),
        last.wrapping_sub(30_000),
        0x7fef,
    ]);
    assert_eq!(scene.take().len(), 0);
    assert_eq!(scene.viewer.sub.wanted_key_frame(&scene.track, scene.now), None);
}

#[test]
fn a_lost_picture_is_refreshed_unless_nothing_flows() {
    let mut scene = Scene::new();
    scene.run(5);
    scene.wait(1_000);
    scene.viewer.sub.handle_pli();
    scene.viewer.sub.handle_pli();
    assert_eq!(scene.run(30), 1);
    scene.set_target(Target::AudioOnly);
    scene.run(3);
    scene.viewer.sub.handle_pli();
    assert_eq!(scene.run(90), 0, "browsers ask 3 s into every pause");
    assert_eq!(scene.viewer.decoder.figures().key_frames, 2);
    scene.assert_flawless();
}

#[test]
fn a_request_is_repeated_until_the_key_frame_comes() {
    let mut scene = Scene::new();
    for _ in 0..10 {
        let picture = scene.picture();
        scene.store(&picture);
    }
    let mut asked = 0;
    let mut now = scene.now;
    let until = now + Duration::from_secs(3);
    while now < until {
        asked += u32::from(scene.viewer.sub.wanted_key_frame(&scene.track, now).is_some());
        let (due, what) = scene.viewer.sub.poll_timeout(now).unwrap();
        assert_eq!(what, "key frame request");
        assert!(due > now, "a deadline lies ahead");
        now = due;
    }
    assert_eq!(asked, 4);
}

#[test]
fn a_reader_that_was_overtaken_starts_again_at_a_key_frame() {
    let mut scene = Scene::new();
    scene.run(5);
    for _ in 0..200 {
        let picture = scene.picture();
        scene.store(&picture);
    }
    assert_eq!(scene.viewer.pump(&scene.track, scene.now), 0);
    assert_eq!(scene.viewer.sub.counters().interrupted, 1);
    assert_eq!(scene.run(5), 1);
    assert_eq!(scene.viewer.decoder.figures().decoded, 10);
    scene.assert_flawless();
}

#[test]
fn a_gap_too_long_to_fill_starts_again_at_a_key_frame() {
    let mut scene = Scene::new();
    scene.run(5);
    let mut gone = 0;
    while gone <= limits::MAX_HOLE as usize {
        gone += scene.picture()[1].1.len();
    }
    assert_eq!(scene.run(1), 0);
    assert_eq!(scene.run(5), 1);
    assert_eq!(scene.viewer.decoder.figures().decoded, 10);
    scene.assert_flawless();
}

/// It once did: the start was found anew at every gap, and the media thread never came back.
#[test]
fn a_gap_right_after_a_key_frame_does_not_start_from_it_again() {
    let mut scene = Scene::new();
    scene.run(2);
    let mut picture = scene.picture();
    for packet in picture.iter_mut().flat_map(|(_, packets)| packets) {
        packet.sequence = packet.sequence.wrapping_add(limits::MAX_HOLE as u16 + 50);
    }
    scene.store(&picture);
    assert_eq!(
        scene.viewer.pump(&scene.track, scene.now),
        0,
        "nothing that can be shown"
    );
    assert_eq!(scene.viewer.sub.counters().interrupted, 1);
    assert_eq!(scene.viewer.sub.layer(), None);
    scene.wait(limits::KEY_FRAME_GAP.as_millis() as u64);
    assert!(scene.viewer.sub.wanted_key_frame(&scene.track, scene.now).is_some());
}

#[test]
fn a_key_frame_is_not_started_at_twice_when_what_follows_is_torn_off() {
    let mut scene = Scene::new();
    scene.run(1);
    let mut gone = 0;
    while gone <= limits::MAX_HOLE as usize {
        gone += scene.publisher.encode(Layer::P720).len();
    }
    // The key frame is young enough to be shared with people who join.
    assert!(scene.publisher.time() < limits::KEY_FRAME_REUSE);
    let mut picture = scene.picture();
    scene.store(&picture);
    assert_eq!(
        scene.viewer.pump(&scene.track, scene.now),
        0,
        "the numbers do not go on"
    );
    assert!(
        scene.viewer.sub.poll_timeout(scene.now).is_some(),
        "a key frame is needed"
    );

    // A packet of after the key frame that came before it, and is too far from it.
    scene.publisher.request_key_frame();
    picture = scene.picture();
    let far = &mut picture[1].1;
    let mut stray = far[far.len() - 1].clone();
    stray.sequence = stray.sequence.wrapping_add(limits::MAX_HOLE as u16 + 50);
    far.insert(0, stray);
    scene.store(&picture);
    let sent = scene.viewer.take(&scene.track, scene.now).len();
    assert!(sent < picture[1].1.len(), "{sent}");
}

#[test]
fn a_key_frame_whose_start_comes_late_is_shown_whole() {
    let mut scene = Scene::new();
    scene.run(5);
    scene.set_target(P480);
    scene.viewer.pump(&scene.track, scene.now);
    scene.publisher.request_key_frame();
    let mut picture = scene.picture();
    assert!(picture[0].1.len() >= 3);
    picture[0].1.swap(0, 2);
    scene.store(&picture);
    scene.viewer.pump(&scene.track, scene.now);
    scene.run(5);
    assert_eq!(scene.viewer.decoder.figures().height, 480);
    scene.assert_flawless();
}

#[test]
fn another_source_goes_on_in_the_same_numbers() {
    let mut scene = Scene::new();
    scene.run(10);
    for seed in 2..5 {
        scene.publisher = VideoPublisher::new(seed);
        scene.track = TestTrack::video();
        scene.start = scene.now + Duration::from_millis(20);
        scene.viewer.sub.set_source(Some(TrackId(seed)));
        scene.run(10);
    }
    scene.viewer.sub.set_source(None);
    scene.run(3);
    assert_eq!(scene.viewer.decoder.figures().decoded, 40);
    scene.assert_flawless();
}

#[test]
fn nothing_is_sent_in_a_codec_the_receiver_does_not_take() {
    let mut scene = Scene::new();
    let mut config = config(Kind::Video);
    config.payload_types.h264 = config.payload_types.vp8.take();
    scene.viewer = Viewer::new(config, 5, scene.now);
    scene.viewer.sub.set_source(TRACK);
    assert_eq!(scene.run(2), 1);
    assert_eq!(scene.run(100), 0, "and no key frames are asked for");
    assert_eq!(scene.viewer.decoder.figures().decoded, 0);
}

/// The same moment of the publisher's clock has the same report before and after a switch: lips stay in sync.
#[test]
fn sender_reports_follow_the_layer() {
    let mut scene = Scene::new();
    assert_eq!(scene.viewer.sub.sender_report(&scene.track, scene.now, EPOCH), None);
    scene.run(10);
    assert_eq!(
        scene.viewer.sub.sender_report(&scene.track, scene.now, EPOCH),
        None,
        "nothing was reported"
    );
    for target in [P720, P480, P720] {
        scene.set_target(target);
        scene.track.report(&scene.publisher, EPOCH);
        scene.run(10);
        let picture = scene.picture();
        scene.store(&picture);
        let shown = scene.take()[0].header().timestamp;
        let taken = EPOCH + scene.publisher.time();
        let report = scene.viewer.sub.sender_report(&scene.track, scene.now, taken).unwrap();
        assert_eq!(report.ntp, taken);
        let off = report.rtp.wrapping_sub(shown) as i32;
        assert!(off.abs() <= 1, "{off} ticks");
        let counters = scene.viewer.sub.counters();
        assert_eq!(
            (report.packets, report.octets),
            (counters.packets as u32, counters.octets as u32)
        );
    }
}

/// What is missing of a frame that is left out gets no number, so that nobody asks for it, and is left out when it comes late.
#[test]
fn the_end_of_a_frame_left_out_may_come_late() {
    let mut scene = Scene::new();
    scene.run(5);
    scene.viewer.sub.set_thinning(1);
    scene.run(4);
    let before = scene.viewer.sub.counters().thinned;
    assert!(before > 0, "the upper temporal layer is left out");
    let mut upper = scene.picture();
    let late = upper[1].1.pop().unwrap();
    assert_eq!(
        (late.payload[5] >> 6, late.marker),
        (1, true),
        "of the upper layer, its end"
    );
    scene.store(&upper);
    assert_eq!(scene.take().len(), 0);
    let base = scene.picture();
    scene.store(&base);
    let sent = scene.take();
    assert_eq!(sent.len(), base[1].1.len());
    for out in &sent {
        scene.viewer.decode(out);
    }
    assert_eq!(scene.viewer.decoder.missing(), [0_u16; 0], "no hole");
    scene.track.store(Layer::P720, &late, scene.now);
    assert_eq!(scene.take().len(), 0);
}
