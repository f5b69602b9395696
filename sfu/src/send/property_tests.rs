//! Random calls in virtual time: two publishers, one viewer, loss, reordering and duplicates on both sides, switches, pauses and probes.
//! Whatever happens, no number is sealed twice, retransmissions equal what was sent, and the decoder is never contradicted
//! ([`Viewer`] and `VideoDecoder` check that at each step); and when the trouble ends the picture comes back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::testbed::{EPOCH, Out, Viewer, config};
use crate::clock::testing::start;
use crate::ids::TrackId;
use crate::media::{Kind, Layer, Target};
use crate::testing::track::TestTrack;
use crate::testing::{Chance, DecoderFigures, MediaPacket, VideoPublisher};

/// Probabilities in percent.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    /// A publisher's packet is lost; half of them are repaired later.
    uplink_loss: u64,
    /// A publisher's packet comes later.
    uplink_late: u64,
    /// A publisher's packet is stored twice.
    uplink_twice: u64,
    /// A packet to the viewer is lost.
    downlink_loss: u64,
    /// A packet to the viewer comes later.
    downlink_late: u64,
    /// Per picture: the target or the source changes, a layer stops or starts, the viewer asks for a key frame, a NACK of nonsense, or a
    /// probe.
    events: u64,
}

/// A publisher and its track, as packets reach it.
struct Camera {
    id: TrackId,
    publisher: VideoPublisher,
    track: TestTrack,
    /// Packets under way: due at this picture.
    late: Vec<(u32, Layer, MediaPacket)>,
    key_frame_at: Option<u32>,
}

struct World {
    chance: Chance,
    trouble: Trouble,
    start: Instant,
    tick: u32,
    cameras: [Camera; 2],
    watched: usize,
    viewer: Viewer,
    under_way: VecDeque<(u32, Out)>,
    /// Frames that were sent to their end.
    ended: u64,
    /// What the viewer waits for longest, and when it gives up.
    patience: Option<(Option<u16>, u32)>,
}

impl World {
    fn new(seed: u64, trouble: Trouble) -> Self {
        let start = start();
        let camera = |n: u64| Camera {
            id: TrackId(n),
            publisher: VideoPublisher::new(seed.wrapping_add(n)),
            track: TestTrack::video(),
            late: Vec::new(),
            key_frame_at: None,
        };
        let mut viewer = Viewer::new(config(Kind::Video), seed, start);
        viewer.sub.set_source(Some(TrackId(0)));
        Self {
            chance: Chance::new(seed),
            trouble,
            start,
            tick: 0,
            cameras: [camera(0), camera(1)],
            watched: 0,
            viewer,
            under_way: VecDeque::new(),
            ended: 0,
            patience: None,
        }
    }

    fn now(&self) -> Instant {
        self.start + self.cameras[0].publisher.time()
    }

    fn step(&mut self) {
        self.tick += 1;
        if self.chance.percent(self.trouble.events) {
            self.event();
        }
        for camera in &mut self.cameras {
            camera.publisher.advance();
        }
        let now = self.now();
        for camera in &mut self.cameras {
            camera.step(self.tick, now, self.trouble, &mut self.chance);
        }
        self.send(now);
        self.receive(now);
        let camera = &mut self.cameras[self.watched];
        if self.viewer.sub.wanted_key_frame(&camera.track, now).is_some() {
            let at = self.tick + 1 + self.chance.below(3) as u32;
            camera.key_frame_at = Some(camera.key_frame_at.map_or(at, |known| known.min(at)));
        }
    }

    fn event(&mut self) {
        let now = self.now();
        let pick = self.chance.below(12);
        match pick {
            0..=3 => {
                let targets = [
                    Target::AudioOnly,
                    Target::Video(Layer::P480),
                    Target::Video(Layer::P720),
                ];
                let target = targets[self.chance.below(3) as usize];
                self.viewer.sub.set_target(target, now);
            }
            4 => {
                self.watched = 1 - self.watched;
                self.viewer.sub.set_source(Some(self.cameras[self.watched].id));
            }
            5 => {
                let layer = [Layer::P480, Layer::P720][self.chance.below(2) as usize];
                let layer = self.cameras[self.watched].track.layer_mut(layer);
                layer.active = !layer.active;
            }
            6 => self.viewer.sub.handle_pli(),
            7 => {
                let bits = self.chance.bits();
                let numbers = (0..4).map(|i| (bits >> (16 * i)) as u16);
                self.viewer.sub.handle_nack(numbers, now);
            }
            8 | 9 => self.viewer.pad(1 + self.chance.below(8) as usize, now),
            _ => {
                let camera = &mut self.cameras[self.watched];
                camera
                    .track
                    .report(&camera.publisher, EPOCH + Duration::from_millis(pick));
            }
        }
    }

    fn send(&mut self, now: Instant) {
        for out in self.viewer.take(&self.cameras[self.watched].track, now) {
            self.ended += u64::from(out.written.marker && !out.is_rtx());
            if self.chance.percent(self.trouble.downlink_loss) {
                continue;
            }
            let late = self.chance.percent(self.trouble.downlink_late);
            let due = self.tick + if late { 1 + self.chance.below(3) as u32 } else { 0 };
            self.under_way.push_back((due, out));
        }
    }

    fn receive(&mut self, now: Instant) {
        let tick = self.tick;
        let (due, later) = self.under_way.drain(..).partition(|(due, _)| *due <= tick);
        self.under_way = later;
        let due: VecDeque<(u32, Out)> = due;
        for (_, out) in &due {
            self.viewer.decode(out);
        }
        let missing = self.viewer.decoder.missing();
        if missing.is_empty() && self.viewer.decoder.has_picture() {
            self.patience = None;
            return;
        }
        let oldest = missing.first().copied();
        self.viewer.sub.handle_nack(missing.into_iter(), now);
        // A browser waits for three seconds; half of that keeps the test short.
        let until = match self.patience {
            Some((known, until)) if known == oldest => until,
            _ => tick + 45,
        };
        self.patience = Some((oldest, until));
        if tick >= until {
            self.viewer.decoder.skip_missing();
            self.viewer.sub.handle_pli();
            self.patience = None;
        }
    }

    fn run(&mut self, pictures: u32) -> DecoderFigures {
        for _ in 0..pictures {
            self.step();
        }
        self.viewer.decoder.figures()
    }

    /// Ends all trouble, and lets both layers be sent and wanted.
    fn calm(&mut self) {
        self.trouble = Trouble::default();
        for camera in &mut self.cameras {
            for layer in [Layer::P480, Layer::P720] {
                camera.track.layer_mut(layer).active = true;
            }
        }
        let now = self.now();
        self.viewer.sub.set_target(Target::Video(Layer::P720), now);
    }
}

impl Camera {
    fn step(&mut self, tick: u32, now: Instant, trouble: Trouble, chance: &mut Chance) {
        if self.key_frame_at.is_some_and(|at| at <= tick) {
            self.key_frame_at = None;
            self.publisher.request_key_frame();
        }
        let (due, later) = self.late.drain(..).partition(|(due, ..)| *due <= tick);
        self.late = later;
        let due: Vec<(u32, Layer, MediaPacket)> = due;
        for (_, layer, packet) in &due {
            self.track.store(*layer, packet, now);
        }
        for layer in [Layer::P480, Layer::P720] {
            if !self.track.layer_mut(layer).active {
                // A browser starts a layer it had stopped with a key frame, on every layer.
                self.publisher.request_key_frame();
                continue;
            }
            for packet in self.publisher.encode(layer) {
                if chance.percent(trouble.uplink_loss) {
                    if chance.percent(50) {
                        self.late.push((tick + 2 + chance.below(4) as u32, layer, packet));
                    }
                } else if chance.percent(trouble.uplink_late) {
                    self.late.push((tick + 1, layer, packet));
                } else {
                    self.track.store(layer, &packet, now);
                    if chance.percent(trouble.uplink_twice) {
                        self.track.store(layer, &packet, now);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn trouble_passes(
        seed: u64, uplink_loss in 0_u64..8, uplink_late in 0_u64..8, uplink_twice in 0_u64..3,
        downlink_loss in 0_u64..15, downlink_late in 0_u64..8, events in 0_u64..30,
    ) {
        let trouble = Trouble { uplink_loss, uplink_late, uplink_twice, downlink_loss, downlink_late, events };
        let mut world = World::new(seed, trouble);
        world.run(400);
        world.calm();
        // Ten seconds: refreshes are limited to three in that time.
        let before = world.run(350);
        let after = world.run(30);
        prop_assert_eq!(after.decoded - before.decoded, 30, "{:?}", after);
        prop_assert_eq!(after.height, 720);
        prop_assert!(world.viewer.decoder.has_picture());
    }

    /// With nothing lost, nothing is ever missing, broken or in vain, whatever is switched.
    #[test]
    fn without_loss_every_frame_that_is_sent_is_shown(seed: u64, events in 0_u64..60) {
        let mut world = World::new(seed, Trouble { events, ..Trouble::default() });
        let figures = world.run(600);
        prop_assert_eq!((figures.undecodable, figures.unfinished, figures.lost), (0, 0, 0));
        prop_assert!(world.viewer.decoder.missing().is_empty());
        prop_assert_eq!(figures.decoded, world.ended, "each frame that was sent to its end is shown");
        prop_assert!(events > 0 || figures.decoded == 600, "with nothing switched, each picture: {:?}", figures);
        // Whatever it was switched to, it comes back when that is asked for, without a loss to be repaired.
        world.calm();
        let before = world.run(150);
        let after = world.run(30);
        prop_assert_eq!((after.decoded - before.decoded, after.height), (30, 720));
        prop_assert_eq!((after.undecodable, after.unfinished, after.lost), (0, 0, 0));
    }

    /// The receiver's own loss is always repaired: what it decodes has no gap once the retransmissions are there.
    #[test]
    fn downlink_loss_is_repaired(seed: u64, downlink_loss in 1_u64..20, downlink_late in 0_u64..10) {
        let mut world = World::new(seed, Trouble::default());
        // A receiver that misses the very first packet does not know of it.
        world.run(1);
        world.trouble = Trouble { downlink_loss, downlink_late, ..Trouble::default() };
        world.run(299);
        world.calm();
        let figures = world.run(30);
        prop_assert_eq!((figures.undecodable, figures.unfinished, figures.lost), (0, 0, 0));
        prop_assert_eq!(figures.decoded, 330);
        prop_assert!(world.viewer.sub.counters().resent > 0);
    }
}
