//! People come and go by the thousand, in any order and at any point of their handshake: nothing is left of them, and a worker that has
//! nothing to do sleeps.

use std::time::{Duration, Instant};

use super::peer::Profile;
use super::stage::{ROOM, Stage, tell};
use crate::api::Event;
use crate::command::Command;
use crate::counters::Count;
use crate::ids::{ParticipantId, RoomId};
use crate::limits;
use crate::media::{Kind, Layer, Target};
use crate::testing::Chance;
use crate::testing::link::Quality;

const SECOND: Duration = Duration::from_secs(1);
const ROOMS: [RoomId; 3] = [ROOM, RoomId(2), RoomId(3)];
/// People who are there at once.
const MOST: usize = 12;

/// Somebody who may be anywhere between the first offer and a picture.
fn somebody(chance: &mut Chance) -> (Profile, Quality) {
    let profile = Profile {
        microphone: chance.percent(60),
        camera: chance.percent(10),
        receives: chance.below(3) as usize,
        ..Profile::full()
    };
    let quality = match chance.below(4) {
        0 => Quality::lossy(100),
        1 => Quality::lossy(400),
        _ => Quality {
            delay: Duration::from_millis(chance.below(20)),
            ..Quality::PERFECT
        },
    };
    (profile, quality)
}

/// What has become of those who came.
#[derive(Clone, Copy, Debug, Default)]
struct Fates {
    joined: usize,
    /// By the time they left, in whatever way.
    had_keys: usize,
    had_none: usize,
}

impl Fates {
    fn note_leaving(&mut self, stage: &mut Stage, seat: usize) {
        let peer = &mut stage.seats[seat].peer;
        peer.is_gone = true;
        if peer.puppet.has_keys() {
            self.had_keys += 1;
        } else {
            self.had_none += 1;
        }
    }
}

/// Members who left without a word, and have to be taken out some time.
type Ghosts = Vec<(RoomId, ParticipantId)>;

fn step(stage: &mut Stage, chance: &mut Chance, fates: &mut Fates, ghosts: &mut Ghosts) {
    let count = stage.seats.len();
    let any = |chance: &mut Chance| chance.below(count.max(1) as u64) as usize;
    match chance.below(16) {
        0..=6 if count < MOST => {
            let (profile, quality) = somebody(chance);
            let room = ROOMS[chance.below(3) as usize];
            stage.join(room, &profile, quality);
            fates.joined += 1;
        }
        _ if count == 0 => {}
        7 | 8 => {
            let seat = any(chance);
            stage.remove(seat);
            fates.note_leaving(stage, seat);
        }
        9 => {
            // The phone falls into the water.
            let seat = any(chance);
            ghosts.push((stage.seats[seat].peer.room, stage.seats[seat].peer.id));
            fates.note_leaving(stage, seat);
        }
        10 => {
            let seat = any(chance);
            let now = stage.now;
            let peer = &mut stage.seats[seat].peer;
            if peer.puppet.has_keys() {
                // The goodbye may be lost too; then it is a ghost.
                let path = peer.path;
                for datagram in peer.client.close(now) {
                    stage.seats[seat].up.send((path, datagram), now);
                }
                stage.run(limits::FIRST_REPORT);
                ghosts.push((stage.seats[seat].peer.room, stage.seats[seat].peer.id));
                fates.note_leaving(stage, seat);
            }
        }
        11 | 12 => {
            let (seat, other) = (any(chance), any(chance));
            let pair = chance.below(2) as usize;
            stage.watch(seat, pair, other);
            let targets = [
                Target::AudioOnly,
                Target::Video(Layer::P480),
                Target::Video(Layer::P720),
            ];
            stage.target(seat, targets[chance.below(3) as usize]);
        }
        13 => {
            let seat = any(chance);
            if stage.stats(seat).is_some() {
                stage.restart_ice(seat);
            }
        }
        14 => {
            let seat = any(chance);
            if chance.percent(50) {
                let path = stage.fresh_path();
                stage.seats[seat].peer.move_to(path, stage.now);
            } else if stage.stats(seat).is_some() {
                let line = chance.below(2) as usize;
                let on = chance.percent(50);
                stage.seats[seat].peer.lines[line] = Profile {
                    microphone: on,
                    camera: on,
                    ..Profile::full()
                }
                .lines()[line];
                stage.negotiate(seat).expect("a good offer");
            }
        }
        _ if chance.percent(5) => {
            let room = ROOMS[chance.below(3) as usize];
            stage.command(Command::CloseRoom { room });
            for seat in 0..stage.seats.len() {
                if stage.seats[seat].peer.room == room {
                    fates.note_leaving(stage, seat);
                }
            }
            stage.create_room(room);
        }
        _ => {
            if let Some((room, participant)) = ghosts.pop() {
                stage.command(Command::RemoveParticipant { room, participant });
            }
        }
    }
    stage.seats.retain(|seat| !seat.peer.is_gone);
}

#[test]
fn of_thousands_who_came_and_went_nothing_is_left() {
    tell(1, 1, |seed| {
        let mut chance = Chance::new(seed ^ 0xc4a7);
        let mut stage = Stage::new(seed);
        for room in &ROOMS[1..] {
            stage.create_room(*room);
        }
        let (mut fates, mut ghosts) = (Fates::default(), Ghosts::new());
        while fates.joined < 2_000 {
            step(&mut stage, &mut chance, &mut fates, &mut ghosts);
            stage.run(Duration::from_micros(chance.below(25_000)));
            stage.strays.clear();
        }
        assert!(fates.had_keys > 500 && fates.had_none > 300, "{fates:?}");
        assert!(stage.count(Count::RtpOut) > 1_000, "media flowed in between");

        // Everybody leaves: half of them one by one, the rest with their rooms.
        while stage.seats.len() > MOST / 2 {
            stage.remove(0);
            stage.seats.remove(0);
        }
        for (room, participant) in ghosts {
            stage.command(Command::RemoveParticipant { room, participant });
        }
        for room in ROOMS {
            stage.command(Command::CloseRoom { room });
        }
        stage.worker.check_empty();
        // They don't know yet, and go on talking.
        stage.run(SECOND);
        stage.seats.clear();
        stage.run(limits::CONNECT_TIMEOUT + limits::CONSENT_TIMEOUT);
        stage.worker.check_forgotten();
        let connected = stage.told(stage.start, |event| matches!(event, Event::Connected { .. }));
        assert_eq!(connected as u64, stage.count(Count::Connected));
        // Memory for those who were there at once, not for all who ever were: ghosts wait for 30 s to connect.
        assert!(
            stage.worker.members.capacity() <= 1_024,
            "{}",
            stage.worker.members.capacity()
        );
        let (_, sizes) = stage.worker.take_counters();
        assert_eq!(sizes, crate::counters::Sizes::default(), "the gauges are at zero");
    });
}

fn wake_ups(stage: &Stage, since: Instant) -> usize {
    stage.wake_ups.iter().filter(|(at, _)| *at >= since).count()
}

/// A deadline wakes the thread only when there is something to do for it.
#[test]
fn a_room_where_nothing_happens_wakes_nobody_but_for_reports() {
    tell(10, 1, |seed| {
        const MEMBERS: usize = 8;
        const TIME: u64 = 40;
        let mut stage = Stage::new(seed);
        for _ in 0..MEMBERS {
            stage.join(ROOM, &Profile::viewer(), Quality::lossy(10));
        }
        stage.connect_all();
        stage.run(2 * SECOND);
        let before = stage.now;
        stage.run(TIME as u32 * SECOND);
        let woken = wake_ups(&stage, before);
        // A report a second each, and what is left of deadlines that were moved.
        assert!(
            woken <= 2 * MEMBERS * TIME as usize,
            "{woken} wake-ups in {TIME} s for {MEMBERS} members"
        );

        // Those who lost consent, and those who never connected, sleep until they are given up.
        for seat in 0..MEMBERS {
            stage.set_quality(seat, Quality::DARK);
        }
        for _ in 0..MEMBERS {
            stage.join(ROOM, &Profile::full(), Quality::DARK);
        }
        let before = stage.now;
        stage.run(limits::CONSENT_TIMEOUT + SECOND);
        let gone = stage.told(before, |event| matches!(event, Event::Disconnected { .. }));
        let given_up = stage.told(before, |event| matches!(event, Event::Closed { .. }));
        assert_eq!((gone, given_up), (MEMBERS, MEMBERS));
        let before = stage.now;
        stage.run(60 * SECOND);
        assert_eq!(wake_ups(&stage, before), 0, "{:?}", stage.wake_ups.last());
        assert_eq!(stage.worker.poll_timeout(), None);
    });
}

#[test]
fn a_busy_room_wakes_the_thread_for_what_is_due_and_no_more() {
    tell(20, 1, |seed| {
        let mut stage = Stage::new(seed);
        for _ in 0..2 {
            stage.join(ROOM, &Profile::full(), Quality::lossy(50));
        }
        stage.watch(0, 0, 1);
        stage.watch(1, 0, 0);
        stage.connect_all();
        stage.run(2 * SECOND);
        let before = stage.now;
        stage.run(10 * SECOND);
        let woken = wake_ups(&stage, before) as u64;
        // Feedback 20 times a second each, two looks at each of 13 lost or late packets a second and layer, reports.
        assert!(woken / 10 <= 300, "{woken} wake-ups in 10 s");
        stage.point(0, 0, Kind::Video, None);
        stage.run(SECOND);
        stage.worker.check();
    });
}
