//! Clients behind the relay: the visit goes on when somebody moves there and back, and nothing but the relay's end ends it.

use std::net::SocketAddr;
use std::time::Duration;

use housecall_turn::stun::{AttributeType, Class, Message};
use housecall_turn::{Bindings, Config, Peers, Quotas, RelayAddresses, Secret, Server, UnixSeconds};

use super::peer::Profile;
use super::stage::{ROOM, Stage, tell};
use crate::api::Event;
use crate::command::Command;
use crate::counters::Count;
use crate::ids::RelayUserId;
use crate::limits;
use crate::path::Path;
use crate::relay::Relay;
use crate::testing::link::Quality;
use crate::testing::tunnel::Tunnel;

const SECOND: Duration = Duration::from_secs(1);
const UNIX: u64 = 1_800_000_000;
const USER: RelayUserId = RelayUserId(0xab);
const CANDIDATE: &str = "198.51.100.1:8080";
const PUBLISHER: usize = 0;
const VIEWER: usize = 1;

fn candidate() -> SocketAddr {
    CANDIDATE.parse().expect("an address")
}

/// Turns the relay on and gives a seat an allocation at an address of its own, over a line that loses nothing.
fn enter(stage: &mut Stage, seat: usize) {
    enter_by(stage, seat, Stage::fresh_path);
}

/// The same from an address, or on a connection, that `path` gives once the relay is there.
pub(super) fn enter_by(stage: &mut Stage, seat: usize, path: impl FnOnce(&mut Stage) -> Path) {
    let secret = Secret::new(b"secret");
    stage.worker.set_relay(Relay::new(Server::new(Config {
        secret: secret.clone(),
        key: [4; 32],
        relay: RelayAddresses {
            v4: Some([198, 51, 100, 1].into()),
            v6: None,
            ports: 49_152..=65_535,
        },
        peers: Peers::Only(vec![candidate()]),
        quotas: Quotas {
            per_user: 1,
            per_prefix: 1,
            total: 1,
            bytes_per_second: limits::RELAY_BYTES_PER_SECOND,
        },
        bindings: Bindings::Ignore,
        started: stage.start,
        unix: UnixSeconds(UNIX),
    })));
    let mut tunnel = Tunnel::new(secret.mint(&USER.to_string(), UnixSeconds(UNIX + 3_600)), candidate());
    let path = path(stage);
    let challenge = ask(stage, path, tunnel.allocate());
    let message = Message::parse(&challenge).expect("an answer");
    assert_eq!(message.error_code().map(|error| error.code), Some(401));
    tunnel.adopt_nonce(&message);
    let answer = ask(stage, path, tunnel.allocate());
    let relayed = Message::parse(&answer)
        .expect("an answer")
        .xor_address(AttributeType::XOR_RELAYED_ADDRESS);
    ask(stage, path, tunnel.permit());
    let now = stage.now;
    let seat = &mut stage.seats[seat];
    seat.peer.move_to(path, now);
    seat.peer.relayed = Some(relayed.expect("a relayed address"));
    seat.tunnel = Some(tunnel);
}

fn bind_channel(stage: &mut Stage, seat: usize) {
    let path = stage.seats[seat].peer.path;
    let mut tunnel = stage.seats[seat].tunnel.take().expect("it is behind the relay");
    ask(stage, path, tunnel.bind_channel());
    tunnel.use_channel();
    stage.seats[seat].tunnel = Some(tunnel);
}

/// Hands the worker a request and takes the answer out of what it sends.
fn ask(stage: &mut Stage, path: Path, mut request: Vec<u8>) -> Vec<u8> {
    let now = stage.now;
    stage.worker.handle_datagram(path, &mut request, now);
    let mut answer = None;
    while let Some(transmit) = stage.worker.poll_transmit(now) {
        assert_eq!(transmit.path, path, "nothing else was waiting");
        answer = Some(transmit.contents.to_vec());
    }
    let answer = answer.expect("an answer");
    let message = Message::parse(&answer).expect("an answer parses");
    assert!(message.class() == Class::Success || message.error_code().is_some_and(|error| error.code == 401));
    answer
}

fn longest_gap(stage: &Stage, from: std::time::Instant) -> Duration {
    stage.seats[VIEWER].peer.screen.video[0].longest_gap(from, stage.now)
}

#[test]
fn a_visit_goes_on_through_the_relay_and_back() {
    tell(5_000, 2, |seed| {
        for mover in [VIEWER, PUBLISHER] {
            let mut stage = Stage::new(seed);
            stage.join(ROOM, &Profile::full(), Quality::lossy(10));
            stage.join(ROOM, &Profile::viewer(), Quality::lossy(10));
            stage.watch(VIEWER, 0, PUBLISHER);
            stage.connect_all();
            stage.run(3 * SECOND);
            let direct = stage.seats[mover].peer.path;

            let moved = stage.now;
            enter(&mut stage, mover);
            stage.run(3 * SECOND);
            // A viewer says little: checks, reports and feedback.
            let least = if mover == PUBLISHER { 300 } else { 3 };
            assert!(stage.count(Count::TurnIn) > least, "its packets come through the relay");
            bind_channel(&mut stage, mover);
            stage.run(10 * SECOND);
            assert_eq!(stage.count(Count::TurnRefused), 0);
            assert!(
                longest_gap(&stage, moved) < 2 * SECOND,
                "{:?} without a frame",
                longest_gap(&stage, moved)
            );

            let back = stage.now;
            stage.seats[mover].tunnel = None;
            stage.seats[mover].peer.relayed = None;
            stage.seats[mover].peer.move_to(direct, back);
            stage.run(5 * SECOND);
            assert!(longest_gap(&stage, back) < 2 * SECOND);
            let figures = stage.seats[VIEWER].peer.screen.video[0].decoder.figures();
            assert_eq!(figures.undecodable, 0, "{figures:?}");
            assert_eq!(
                stage.told(moved, |event| matches!(event, Event::Disconnected { .. })),
                0
            );
            stage.worker.check();
        }
    });
}

#[test]
fn what_the_relay_carried_ends_with_it() {
    tell(5_100, 1, |seed| {
        let mut stage = Stage::new(seed);
        stage.join(ROOM, &Profile::full(), Quality::PERFECT);
        stage.join(ROOM, &Profile::viewer(), Quality::PERFECT);
        stage.watch(VIEWER, 0, PUBLISHER);
        stage.connect_all();
        enter(&mut stage, VIEWER);
        bind_channel(&mut stage, VIEWER);
        stage.run(3 * SECOND);
        let ended = stage.now;
        stage.command(Command::EndRelayUser { room: ROOM, user: USER });
        stage.run(Duration::from_millis(500));
        let received = stage.seats[VIEWER].peer.figures.rtp;
        // Nothing arrives any more, and the worker is not woken again and again for what it cannot send.
        let wake_ups = stage.wake_ups.len();
        stage.run(limits::CONSENT_TIMEOUT + SECOND);
        assert_eq!(stage.seats[VIEWER].peer.figures.rtp, received);
        assert!(
            stage.wake_ups.len() - wake_ups < 20_000,
            "{}",
            stage.wake_ups.len() - wake_ups
        );
        assert!(stage.count(Count::TurnRefused) > 0);
        assert_eq!(
            stage.told(ended, |event| matches!(event, Event::Disconnected { .. })),
            1
        );
        stage.worker.check();
    });
}
