//! A broken invariant ends one room: it is told and counted, the other rooms of the shard lose nothing, and the thread lives.

use std::time::Duration;

use super::peer::Profile;
use super::stage::{ROOM, Stage, tell};
use crate::api::{Event, NegotiateError, TrackChange};
use crate::command::Command;
use crate::counters::Count;
use crate::dtls::Fingerprint;
use crate::ids::{ParticipantId, RoomId};
use crate::media::Kind;
use crate::published::TrackKey;
use crate::settings::Settings;
use crate::testing::link::Quality;
use crate::testing::puppet::offer;

const SECOND: Duration = Duration::from_secs(1);
const BROKEN: RoomId = RoomId(2);
/// A track that is nowhere.
const NOWHERE: TrackKey = TrackKey(usize::MAX);

/// What is broken, and so when it is noticed.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// The next packet of the room's publisher.
    Packet,
    /// The next deadline of it.
    Deadline,
    /// The next offer of it.
    Offer,
    /// Some command.
    Command,
}

fn break_room(stage: &mut Stage, publisher: usize, how: Break) {
    let id = stage.seats[publisher].peer.id;
    let worker = &mut stage.worker;
    let member = &mut worker.members[worker.by_id[&id].0];
    match how {
        Break::Packet => {
            let video = member
                .tracks
                .iter()
                .find(|track| worker.tracks[track.0].kind == Kind::Video);
            let video = *video.expect("it has a camera");
            worker.tracks[video.0].layers.clear();
        }
        Break::Deadline => member.tracks.push(NOWHERE),
        Break::Offer => {
            member.tracks.push(NOWHERE);
            let offer = stage.seats[publisher].peer.offer();
            let (reply, mut answer) = tokio::sync::oneshot::channel();
            stage.command(Command::Negotiate {
                room: BROKEN,
                participant: id,
                offer,
                reply,
            });
            assert!(answer.try_recv().is_err(), "nobody is left to answer");
        }
        Break::Command => stage.command(Command::Panic { room: BROKEN }),
    }
}

#[test]
fn a_room_that_breaks_ends_alone() {
    tell(1, 1, |seed| {
        for how in [Break::Packet, Break::Deadline, Break::Offer, Break::Command] {
            let quality = Quality {
                delay: Duration::from_millis(20),
                ..Quality::PERFECT
            };
            let mut stage = Stage::new(seed);
            stage.create_room(BROKEN);
            for room in [ROOM, BROKEN] {
                let first = stage.join(room, &Profile::full(), quality);
                let second = stage.join(room, &Profile::full(), quality);
                stage.watch(first, 0, second);
                stage.watch(second, 0, first);
            }
            stage.connect_all();
            stage.run(2 * SECOND);
            stage.caught = Some(0);
            let before = stage.now;
            let asked = stage.count(Count::NackIn) + stage.count(Count::NackOut);
            break_room(&mut stage, 2, how);
            stage.run(3 * SECOND);

            // Told once and counted once, with its tracks.
            assert_eq!(stage.caught, Some(1), "{how:?}");
            assert_eq!(
                stage.told(before, |event| *event == Event::RoomFailed { room: BROKEN }),
                1,
                "{how:?}"
            );
            assert_eq!(stage.told(before, |event| matches!(event, Event::RoomFailed { .. })), 1);
            assert_eq!(stage.count(Count::RoomsFailed), 1);
            let ended = |event: &Event| {
                matches!(
                    event,
                    Event::Track {
                        room: BROKEN,
                        change: TrackChange::Ended,
                        ..
                    }
                )
            };
            assert_eq!(stage.told(before, ended), 4, "{how:?}");
            assert_eq!(stage.worker.rooms.len(), 1);
            stage.worker.check();
            // Nothing more is sent to anybody of it.
            let sent = [2, 3].map(|seat: usize| stage.links(seat)[1].sent);
            stage.run(2 * SECOND);
            assert_eq!([2, 3].map(|seat: usize| stage.links(seat)[1].sent), sent, "{how:?}");
            let refused = stage.negotiate(2);
            assert!(matches!(refused, Err(NegotiateError::NoSuchRoom)), "{refused:?}");

            // The other room has not lost a packet.
            for seat in [0, 1] {
                let screen = &stage.seats[seat].peer.screen;
                let figures = screen.video[0].decoder.figures();
                assert_eq!(
                    (figures.lost, figures.undecodable, figures.unfinished),
                    (0, 0, 0),
                    "{how:?}"
                );
                let gap = screen.video[0].longest_gap(before, stage.now - SECOND / 10);
                assert!(gap < Duration::from_millis(100), "{how:?}: {gap:?} without a frame");
                let sounds = &screen.audio[0].sounds;
                let span = sounds.keys().last().expect("heard") - sounds.keys().next().expect("heard") + 1;
                assert_eq!(sounds.len() as u32, span, "{how:?}: not one sound is missing");
            }
            assert_eq!(
                stage.count(Count::NackIn) + stage.count(Count::NackOut),
                asked,
                "{how:?}"
            );

            // A room of that name can be opened again, and works.
            stage.seats.truncate(2);
            stage.create_room(BROKEN);
            let first = stage.join(BROKEN, &Profile::full(), quality);
            let second = stage.join(BROKEN, &Profile::viewer(), quality);
            stage.watch(second, 0, first);
            stage.connect_all();
            stage.run(2 * SECOND);
            assert!(stage.seats[second].peer.screen.video[0].decoder.has_picture());
            for room in [ROOM, BROKEN] {
                stage.command(Command::CloseRoom { room });
            }
            stage.worker.check_empty();
            assert_eq!(stage.caught, Some(1));
        }
    });
}

/// The same through the real thread of the driver.
#[tokio::test]
async fn the_media_thread_outlives_a_room_that_breaks() {
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        ..Settings::default()
    };
    let mut running = crate::driver::start(&settings).expect("a socket on loopback");
    let sfu = running.sfu.clone();
    let own = crate::api::IceCredentials {
        ufrag: "peer".to_owned(),
        pwd: "a-password-of-the-client".to_owned(),
    };
    let text = offer(&Profile::full().lines(), &own, &Fingerprint::from_sha256([7; 32]));
    for room in [ROOM, BROKEN] {
        sfu.create_room(room, 4).expect("not busy");
        let answer = sfu.negotiate(room, ParticipantId(room.0), text.clone()).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    for round in 0..3 {
        sfu.panic_in(BROKEN);
        // Another room's request behind it is answered as if nothing had happened.
        assert!(sfu.stats(ROOM, ParticipantId(ROOM.0)).await.is_some());
        assert_eq!(
            running.events.recv().await,
            Some(Event::RoomFailed { room: BROKEN }),
            "round {round}"
        );
        assert_eq!(sfu.stats(BROKEN, ParticipantId(BROKEN.0)).await, None);
        let refused = sfu.negotiate(BROKEN, ParticipantId(9), text.clone()).await;
        assert!(matches!(refused, Err(NegotiateError::NoSuchRoom)), "{refused:?}");
        assert!(sfu.is_running());
        sfu.create_room(BROKEN, 4).expect("not busy");
        let answer = sfu.negotiate(BROKEN, ParticipantId(BROKEN.0), text.clone()).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    let answer = sfu.negotiate(ROOM, ParticipantId(10), text).await;
    assert!(answer.is_ok(), "{answer:?}");
}
