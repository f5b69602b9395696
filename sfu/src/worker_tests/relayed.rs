//! Clients behind the relay: the visit goes on when somebody moves there and back, and nothing but the relay's end ends it.

use std::net::SocketAddr;
use std::time::Duration;

use housecall_turn::stun::{AttributeType, Builder, Class, Integrity, IntegrityKey, Message, Method, TransactionId};
use housecall_turn::{
    Bindings, ChannelData, Config, Credentials, Peers, Quotas, REALM, RelayAddresses, Secret, Server, UnixSeconds,
};

use super::peer::Profile;
use super::stage::{ROOM, Stage, tell};
use crate::api::Event;
use crate::command::Command;
use crate::counters::Count;
use crate::demux::{Datagram, classify};
use crate::ids::RelayUserId;
use crate::limits;
use crate::path::Path;
use crate::relay::Relay;
use crate::testing::link::Quality;

const SECOND: Duration = Duration::from_secs(1);
const UNIX: u64 = 1_800_000_000;
const USER: RelayUserId = RelayUserId(0xab);
const CANDIDATE: &str = "198.51.100.1:8080";
const PUBLISHER: usize = 0;
const VIEWER: usize = 1;

/// A client's end of the relay: what it sends and receives, wrapped and unwrapped.
pub(crate) struct Tunnel {
    credentials: Credentials,
    nonce: Vec<u8>,
    requests: u8,
    has_channel: bool,
}

impl Tunnel {
    pub(crate) fn wrap(&self, payload: &[u8]) -> Vec<u8> {
        if self.has_channel {
            let mut datagram = vec![0x40, 0x01];
            datagram.extend((payload.len() as u16).to_be_bytes());
            datagram.extend(payload);
            return datagram;
        }
        build(Class::Indication, Method::SEND, TransactionId([9; 12]), |builder| {
            builder
                .xor_address(AttributeType::XOR_PEER_ADDRESS, candidate())
                .attribute(AttributeType::DATA, payload);
        })
    }

    fn request(&mut self, method: Method, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        self.requests += 1;
        let key = [&self.credentials.username, ":", REALM, ":", &self.credentials.password].concat();
        let key = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
        build(Class::Request, method, TransactionId([self.requests; 12]), |builder| {
            add(builder);
            if !self.nonce.is_empty() {
                builder
                    .username(&self.credentials.username)
                    .attribute(AttributeType::REALM, REALM.as_bytes())
                    .attribute(AttributeType::NONCE, &self.nonce)
                    .attribute(AttributeType::PASSWORD_ALGORITHM, &[0, 2, 0, 0])
                    .attribute(AttributeType::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
                    .integrity(Integrity::Sha256, &IntegrityKey::new(key.as_ref()));
            }
        })
    }
}

/// What arrived at a client, taken out of what the relay put around it. What came another way than the client now takes is as it is, or lost.
pub(crate) fn unwrapped(tunnel: Option<&Tunnel>, datagram: Vec<u8>) -> Option<Vec<u8>> {
    match (tunnel, classify(&datagram)) {
        (Some(tunnel), Some(Datagram::ChannelData)) => {
            assert!(tunnel.has_channel, "no channel was bound");
            let data = ChannelData::parse(&datagram).expect("the relay writes ChannelData");
            Some(datagram[data.payload].to_vec())
        }
        (Some(_), Some(Datagram::Turn)) => {
            let message = Message::parse(&datagram).expect("the relay writes STUN");
            assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
            assert_eq!(message.xor_address(AttributeType::XOR_PEER_ADDRESS), Some(candidate()));
            Some(message.get(AttributeType::DATA).expect("payload").to_vec())
        }
        (None, Some(Datagram::Turn | Datagram::ChannelData)) => None,
        _ => Some(datagram),
    }
}

fn candidate() -> SocketAddr {
    CANDIDATE.parse().expect("an address")
}

fn build(class: Class, method: Method, id: TransactionId, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
    let mut buffer = [0; 2_048];
    let mut builder = Builder::new(&mut buffer, class, method, id);
    add(&mut builder);
    let len = builder.finish().expect("it fits");
    buffer[..len].to_vec()
}

/// Turns the relay on and gives a seat an allocation at an address of its own, over a line that loses nothing.
fn enter(stage: &mut Stage, seat: usize) {
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
    let mut tunnel = Tunnel {
        credentials: secret.mint(&USER.to_string(), UnixSeconds(UNIX + 3_600)),
        nonce: Vec::new(),
        requests: 0,
        has_channel: false,
    };
    let path = stage.fresh_path();
    let transport = |builder: &mut Builder<'_>| {
        builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    };
    let request = tunnel.request(Method::ALLOCATE, transport);
    let challenge = ask(stage, path, request);
    let message = Message::parse(&challenge).expect("an answer");
    assert_eq!(message.error_code().map(|error| error.code), Some(401));
    tunnel.nonce = message.get(AttributeType::NONCE).expect("a nonce").to_vec();
    let request = tunnel.request(Method::ALLOCATE, transport);
    let answer = ask(stage, path, request);
    let relayed = Message::parse(&answer)
        .expect("an answer")
        .xor_address(AttributeType::XOR_RELAYED_ADDRESS);
    let request = tunnel.request(Method::CREATE_PERMISSION, |builder| {
        builder.xor_address(AttributeType::XOR_PEER_ADDRESS, candidate());
    });
    ask(stage, path, request);
    let now = stage.now;
    let seat = &mut stage.seats[seat];
    seat.peer.move_to(path, now);
    seat.peer.relayed = Some(relayed.expect("a relayed address"));
    seat.tunnel = Some(tunnel);
}

fn bind_channel(stage: &mut Stage, seat: usize) {
    let path = stage.seats[seat].peer.path;
    let mut tunnel = stage.seats[seat].tunnel.take().expect("it is behind the relay");
    let request = tunnel.request(Method::CHANNEL_BIND, |builder| {
        builder
            .attribute(AttributeType::CHANNEL_NUMBER, &[0x40, 0x01, 0, 0])
            .xor_address(AttributeType::XOR_PEER_ADDRESS, candidate());
    });
    ask(stage, path, request);
    tunnel.has_channel = true;
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
