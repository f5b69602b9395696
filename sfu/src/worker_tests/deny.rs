//! Deny by default: a participant gets what it was pointed at and nothing else, and nothing at all once it is out.

use std::time::Duration;

use super::peer::{Profile, receiving_mid};
use super::stage::{ROOM, Stage, tell};
use crate::api::IceCredentials;
use crate::command::Command;
use crate::counters::Count;
use crate::ids::RoomId;
use crate::media::Kind;
use crate::testing::link::Quality;
use crate::testing::puppet::Puppet;
use crate::transport::tests::client::Client;

const SECOND: Duration = Duration::from_secs(1);
const OTHER_ROOM: RoomId = RoomId(2);

/// A seat's media as the peer got it.
fn media(stage: &Stage, seat: usize) -> u64 {
    stage.seats[seat].peer.figures.rtp
}

/// Datagrams sent to a seat so far.
fn sent_to(stage: &Stage, seat: usize) -> u64 {
    stage.links(seat)[1].sent
}

#[test]
fn nobody_gets_what_it_was_not_pointed_at() {
    tell(1, 2, |seed| {
        let mut stage = Stage::new(seed);
        stage.create_room(OTHER_ROOM);
        let quality = Quality::lossy(10);
        let publisher = stage.join(ROOM, &Profile::full(), quality);
        let viewer = stage.join(ROOM, &Profile::viewer(), quality);
        let waiting = stage.join(ROOM, &Profile::full(), quality);
        let stranger = stage.join(OTHER_ROOM, &Profile::full(), quality);
        stage.watch(viewer, 0, publisher);
        // The other room's participant is pointed at this room's tracks, by a mistake of whoever gives commands.
        stage.watch(stranger, 0, publisher);
        // And this room's are pointed at what is not there, or is of the wrong kind.
        let sound = stage.seats[publisher].peer.track(Kind::Audio);
        stage.point(waiting, 0, Kind::Video, sound);
        let foreign = stage.seats[stranger].peer.track(Kind::Video);
        stage.point(waiting, 0, Kind::Video, foreign);
        stage.connect_all();
        stage.run(5 * SECOND);
        assert!(media(&stage, viewer) > 500, "who was pointed at it gets it");
        for seat in [publisher, waiting, stranger] {
            assert_eq!(media(&stage, seat), 0, "seat {seat} got media");
            let stats = stage.stats(seat).expect("a member");
            assert!(stats.slots.iter().all(|slot| slot.source.is_none()), "{stats:?}");
        }
        // A participant is named with its room, or not at all.
        let before = sent_to(&stage, viewer);
        let command = Command::RemoveParticipant {
            room: OTHER_ROOM,
            participant: stage.seats[viewer].peer.id,
        };
        stage.command(command);
        stage.run(SECOND);
        assert!(sent_to(&stage, viewer) > before + 100, "it is still there");

        // Taken away again: a packet that is on its way arrives, and none is sent after it.
        stage.point(viewer, 0, Kind::Audio, None);
        stage.point(viewer, 0, Kind::Video, None);
        stage.run(Duration::from_millis(100));
        let before = media(&stage, viewer);
        stage.run(3 * SECOND);
        assert_eq!(media(&stage, viewer), before, "nothing flows after it was taken away");
    });
}

#[test]
fn who_was_removed_is_sent_one_goodbye_and_nothing_more() {
    tell(10, 2, |seed| {
        for by_room in [false, true] {
            let mut stage = Stage::new(seed);
            stage.create_room(OTHER_ROOM);
            let quality = Quality::lossy(10);
            for room in [ROOM, OTHER_ROOM] {
                let first = stage.join(room, &Profile::full(), quality);
                let second = stage.join(room, &Profile::full(), quality);
                stage.watch(first, 0, second);
                stage.watch(second, 0, first);
            }
            stage.connect_all();
            stage.run(3 * SECOND);
            let before = [0, 1].map(|seat| sent_to(&stage, seat));
            if by_room {
                stage.command(Command::CloseRoom { room: ROOM });
            } else {
                stage.remove(0);
            }
            // It doesn't give up: checks, media, reports, requests for what is missing.
            let unknown = stage.count(Count::UnknownSource);
            let opened = stage.count(Count::RtpIn);
            stage.run(5 * SECOND);
            assert_eq!(sent_to(&stage, 0), before[0] + 1, "a DTLS close_notify");
            assert!(
                stage.count(Count::UnknownSource) > unknown + 500,
                "what it sends is counted"
            );
            let told = stage.seats[0].peer.client.was_closed();
            let lost = stage.links(0)[1].lost;
            assert!(told || lost > 0, "the goodbye says so");
            if by_room {
                assert_eq!(sent_to(&stage, 1), before[1] + 1);
            } else {
                assert!(
                    sent_to(&stage, 1) > before[1] + 10,
                    "the other one stays, with reports and answers"
                );
                assert!(
                    stage
                        .stats(1)
                        .expect("a member")
                        .slots
                        .iter()
                        .all(|slot| slot.source.is_none())
                );
            }
            // The other room notices nothing.
            let seen = &stage.seats[2].peer.screen.video[0];
            assert!(seen.longest_gap(stage.now - 5 * SECOND, stage.now) < SECOND);
            assert!(stage.count(Count::RtpIn) > opened, "and goes on");
            // It can't come back by the name it had.
            let gone = &stage.seats[0].peer;
            let command = Command::SetSource {
                room: ROOM,
                participant: gone.id,
                mid: receiving_mid(0, Kind::Video),
                source: stage.seats[1].peer.track(Kind::Video),
            };
            stage.command(command);
            assert_eq!(stage.stats(0), None);
            stage.run(SECOND);
            assert_eq!(sent_to(&stage, 0), before[0] + 1);
            stage.worker.check();
        }
    });
}

#[test]
fn strangers_do_nothing_but_count() {
    tell(20, 2, |seed| {
        let mut stage = Stage::new(seed);
        let quality = Quality::PERFECT;
        let publisher = stage.join(ROOM, &Profile::full(), quality);
        let viewer = stage.join(ROOM, &Profile::full(), quality);
        stage.watch(viewer, 0, publisher);
        stage.connect_all();
        stage.run(2 * SECOND);
        let strange = stage.fresh_path();
        let [path, viewer_path] = [publisher, viewer].map(|seat| stage.seats[seat].peer.path);
        let selected = stage.stats(publisher).expect("a member").remote;

        // What the viewer publishes within 400 ms, kept from the network.
        let now = stage.now;
        let sender = &mut stage.seats[viewer].peer;
        let mut media = Vec::new();
        sender
            .studio
            .handle_timeout(&mut sender.puppet, &mut media, now + Duration::from_millis(400));
        assert!(media.len() > 50);
        let figures =
            |stage: &Stage| [Count::RtpIn, Count::RtxIn, Count::RtcpIn, Count::Connected].map(|c| stage.count(c));
        let before = (figures(&stage), stage.events.len());
        let dropped = |stage: &Stage| [Count::UnknownSource, Count::NotAuthentic].map(|count| stage.count(count));
        let dropped_before = dropped(&stage);
        for (number, packet) in media.iter().enumerate() {
            // From an address that proved nothing: good keys are no excuse.
            stage.worker.handle_datagram(strange, &mut packet.clone(), stage.now);
            assert_eq!(dropped(&stage)[0], dropped_before[0] + number as u64 + 1);
            // Under another's address, with one's own keys.
            stage.worker.handle_datagram(path, &mut packet.clone(), stage.now);
            assert_eq!(dropped(&stage)[1], dropped_before[1] + number as u64 + 1);
        }
        // A handshake from an address that proved nothing.
        let own = &stage.seats[viewer].peer.puppet.own;
        let hello = Client::new(own, own, stage.now).poll_dtls(stage.now);
        assert!(!hello.is_empty());
        let unknown = stage.count(Count::UnknownSource);
        for record in &hello {
            stage.worker.handle_datagram(strange, &mut record.clone(), stage.now);
        }
        assert_eq!(stage.count(Count::UnknownSource), unknown + hello.len() as u64);
        // A check for somebody who is there, without the password: refused, and the address is no better than before.
        let bad = stage.count(Count::BadStun);
        let honest = &stage.seats[publisher].peer.puppet;
        let guess = IceCredentials {
            pwd: "not-the-password-of-anyone".to_owned(),
            ..honest.server.clone()
        };
        let mut liar = Puppet::new(honest.own.clone(), guess);
        let mut check = liar.check(true);
        stage.worker.handle_datagram(strange, &mut check, stage.now);
        assert_eq!(stage.count(Count::BadStun), bad + 1);
        for packet in &media {
            stage.worker.handle_datagram(strange, &mut packet.clone(), stage.now);
        }
        assert_eq!(
            (figures(&stage), stage.events.len()),
            before,
            "nothing came of all that"
        );
        stage.settle();
        assert_eq!(
            stage.stats(publisher).expect("a member").remote,
            selected,
            "nor was anybody's address changed"
        );
        assert!(
            stage.strays.iter().all(|(_, to)| *to == strange) && stage.strays.len() <= 1,
            "one refusal is sent"
        );
        // Whose keys they are, on its own path, is heard: the packets themselves were good.
        let opened = stage.count(Count::RtpIn);
        for packet in &media {
            stage
                .worker
                .handle_datagram(viewer_path, &mut packet.clone(), stage.now);
        }
        assert_eq!(stage.count(Count::RtpIn), opened + media.len() as u64);
        stage.settle();
    });
}
