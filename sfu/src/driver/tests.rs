//! Two shards with real threads and sockets: what one does is nothing to the other.
#![expect(
    clippy::disallowed_types,
    reason = "the driver is tested with sockets that share no code with it"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use super::{COMMANDS_PER_TURN, Running, start, start_on};
use crate::api::{Answer, IceCredentials};
use crate::demux::{self, Datagram};
use crate::dtls::Fingerprint;
use crate::handle::Sfu;
use crate::ids::{ParticipantId, RoomId};
use crate::limits;
use crate::media::Kind;
use crate::path::StreamKind;
use crate::settings::{self, RelayUrls, Settings};
use crate::streams::{Arrival, Plain};
use crate::testing::puppet::{Direction, Fields, Line, OPUS, Puppet, offer};

const FIRST: RoomId = RoomId(1);
const SECOND: RoomId = RoomId(2);
/// For what may be lost.
const WAIT: Duration = Duration::from_millis(200);
/// For what must come some time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two shards, and a room on each.
fn two_shards() -> Running {
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        shards: 2,
        ..Settings::default()
    };
    let running = start(&settings).expect("loopback");
    for room in [FIRST, SECOND] {
        running.sfu.create_room(room, 4).expect("an empty queue");
    }
    running
}

/// The address an answer offers.
fn candidate(answer: &Answer) -> SocketAddr {
    let line = answer.sdp.lines().find_map(|line| line.strip_prefix("a=candidate:"));
    let mut words = line.expect("a candidate").split(' ').skip(4);
    let (ip, port) = (words.next().expect("an address"), words.next().expect("a port"));
    SocketAddr::new(ip.parse().expect("an address"), port.parse().expect("a port"))
}

fn lines(direction: Direction) -> [Line; 1] {
    [Line::new(Kind::Audio, direction)]
}

fn own(participant: ParticipantId) -> IceCredentials {
    IceCredentials {
        ufrag: format!("ufrag{}", participant.0),
        pwd: "a-password-of-the-client".to_owned(),
    }
}

async fn negotiate(sfu: &Sfu, room: RoomId, participant: ParticipantId, direction: Direction) -> Answer {
    let text = offer(&lines(direction), &own(participant), &Fingerprint::from_sha256([7; 32]));
    sfu.negotiate(room, participant, text).await.expect("a good offer")
}

/// Somebody with a socket, connected but for the handshake, whose keys are put in place.
struct Somebody {
    socket: UdpSocket,
    puppet: Puppet,
    answer: Answer,
}

impl Somebody {
    async fn join(sfu: &Sfu, room: RoomId, participant: ParticipantId, direction: Direction) -> Self {
        let answer = negotiate(sfu, room, participant, direction).await;
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        socket.connect(candidate(&answer)).expect("loopback");
        let mut puppet = Puppet::new(own(participant), answer.ice.clone());
        socket.send(&puppet.check(true)).expect("sent");
        let mut buffer = [0; 2_048];
        let len = socket.recv(&mut buffer).expect("an answer to the check");
        let address = socket.local_addr().expect("bound");
        assert!(puppet.is_answer(&buffer[..len], address));
        let keys = Puppet::keys(participant.0);
        puppet.connect(&keys);
        let (done, is_done) = oneshot::channel();
        let work = move |worker: &mut crate::worker::Worker, now| {
            let key = worker.by_id[&participant];
            worker.members[key.0].transport.connect_with(&keys, now);
            worker.after_transport(key, now);
            let _ = done.send(());
        };
        sfu.run_on_shard_of(room, Box::new(work));
        is_done.await.expect("the shard runs");
        Self { socket, puppet, answer }
    }

    /// The next packet of audio.
    fn hear(&mut self) -> Vec<u8> {
        let mut buffer = [0; 2_048];
        loop {
            let len = self.socket.recv(&mut buffer).expect("a datagram");
            if matches!(demux::classify(&buffer[..len]), Some(Datagram::Rtp)) {
                let len = self.puppet.open_rtp(&mut buffer[..len]).expect("sealed for us");
                return buffer[..len].to_vec();
            }
        }
    }
}

/// The first room's shard stands still from now on, until it is told to go on.
async fn stand_still(sfu: &Sfu) -> mpsc::Sender<()> {
    let (go_on, wait) = mpsc::channel::<()>();
    let (stopped, has_stopped) = oneshot::channel();
    let work = move |_: &mut crate::worker::Worker, _| {
        let _ = stopped.send(());
        let _ = wait.recv();
    };
    sfu.run_on_shard_of(FIRST, Box::new(work));
    has_stopped.await.expect("the shard runs");
    go_on
}

#[tokio::test]
async fn a_shard_that_stands_still_holds_up_no_other() {
    const PACKETS: u16 = 300;
    let running = two_shards();
    let sfu = &running.sfu;
    let mut speaker = Somebody::join(sfu, SECOND, ParticipantId(1), Direction::SendOnly).await;
    let mut listener = Somebody::join(sfu, SECOND, ParticipantId(2), Direction::RecvOnly).await;
    let (slot, track) = (listener.answer.slots[0].mid, speaker.answer.published[0].track);
    sfu.set_source(SECOND, ParticipantId(2), slot, Some(track));

    let go_on = stand_still(sfu).await;
    let (said, mut is_said) = oneshot::channel();
    sfu.run_on_shard_of(FIRST, Box::new(|_, _| _ = said.send(())));

    for sequence in 0..PACKETS {
        let fields = Fields {
            ssrc: 1_000,
            sequence,
            timestamp: u32::from(sequence) * 960,
            payload_type: OPUS.0,
            mid: Some("0"),
            ..Fields::default()
        };
        let words = sequence.to_be_bytes().repeat(40);
        let packet = speaker.puppet.seal_rtp(&fields, &words).expect("numbers rise");
        speaker.socket.send(&packet).expect("sent");
        let heard = listener.hear();
        assert!(heard.ends_with(&words), "packet {sequence}");
    }
    // Joining the other shard works as well, and the first has still done nothing.
    negotiate(sfu, SECOND, ParticipantId(3), Direction::RecvOnly).await;
    assert!(is_said.try_recv().is_err(), "it stood still all the while");
    assert!(sfu.is_running());
    go_on.send(()).expect("it waits for this");
    is_said.await.expect("it goes on");
    assert!(sfu.stats(FIRST, ParticipantId(1)).await.is_none());
}

#[tokio::test]
async fn of_strangers_connections_a_turn_takes_little_and_the_next_ones_the_rest() {
    // An Allocate request without credentials, which everybody is told to send with some.
    const ALLOCATE: [u8; 20] = [0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        relay: settings::Relay::HandOver,
        streams: settings::Streams::Accepted {
            relay_urls: RelayUrls::default(),
        },
        ..Settings::default()
    };
    let running = start(&settings).expect("loopback");
    let sfu = &running.sfu;
    sfu.create_room(FIRST, 4).expect("an empty queue");

    let go_on = stand_still(sfu).await;
    let mut clients = Vec::new();
    for port in 1..=8 {
        let (near, mut client) = UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("an option");
        client.write_all(&ALLOCATE).expect("written");
        let arrival = Arrival {
            kind: StreamKind::TurnTcp,
            remote: ([192, 0, 2, 1], port).into(),
            local: [127, 0, 0, 1].into(),
            connection: Box::new(Plain(near)),
            begun: Vec::new(),
        };
        let end = sfu.open_stream(0, arrival).expect("room");
        clients.push((client, end));
    }
    // The turn that stands still has room for all but the last of these, and each turn looks at connections before it does.
    for _ in 1..COMMANDS_PER_TURN {
        sfu.run_on_shard_of(FIRST, Box::new(|_, _| {}));
    }
    let (taken, is_taken) = oneshot::channel();
    let work = |worker: &mut crate::worker::Worker, _| {
        let _ = taken.send(worker.shared.relay.take_counters().challenged);
    };
    sfu.run_on_shard_of(FIRST, Box::new(work));
    go_on.send(()).expect("it waits for this");
    let challenged = is_taken.await.expect("the shard runs");
    // One of them may have been looked at twice: for it was new, and for its descriptor tells of it.
    assert!(
        (1..=limits::STRANGERS_READS_PER_TURN as u64).contains(&challenged),
        "{challenged}"
    );
    for (client, _) in &mut clients {
        let mut answer = [0; 2];
        client.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, [0x01, 0x13], "Allocate, refused");
    }
}

/// Strangers flood a shard while somebody is connected: they keep their consent, and others are answered. How many floods were kept apart.
async fn flooded(sockets: Vec<Socket>) -> f64 {
    // From another prefix (/24) each, for each has a budget of answers.
    const FLOOD: [u8; 4] = [127, 77, 1, 1];
    const NEWCOMER: [u8; 4] = [127, 77, 2, 1];
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        relay: settings::Relay::HandOverUdp,
        ..Settings::default()
    };
    let running = start_on(&settings, sockets).expect("loopback");
    let registry = prometheus::Registry::new();
    running.metrics.register(&registry).expect("once");
    let count = |kind: &str| {
        let families = registry.gather();
        let driver = families
            .iter()
            .find(|family| family.name() == "housecall_media_driver_total");
        let mut kinds = driver.expect("registered").get_metric().iter();
        let counted = kinds.find(|metric| metric.get_label()[0].value() == kind);
        counted.expect("counted").get_counter().get_value()
    };
    running.sfu.create_room(FIRST, 4).expect("an empty queue");
    let mut member = Somebody::join(&running.sfu, FIRST, ParticipantId(1), Direction::RecvOnly).await;
    // Allocate over UDP without credentials: long enough for an answer of twice its length.
    let request = [
        &[0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42],
        &[7; 12][..],
        &[0, 0x19, 0, 4, 17, 0, 0, 0],
    ]
    .concat();
    let from = |ip: [u8; 4]| {
        let socket = UdpSocket::bind(SocketAddr::from((ip, 0))).expect("loopback");
        socket.connect(running.addresses[0]).expect("loopback");
        socket.set_read_timeout(Some(WAIT)).expect("set");
        socket
    };
    let stranger = from(FLOOD);
    let handful = || (0..200).for_each(|_| _ = stranger.send(&request));

    let patience = Instant::now() + PATIENCE;
    assert!(count("floods") == 0.0);
    while count("floods") == 0.0 {
        assert!(Instant::now() < patience, "the flood was never noticed");
        handful();
    }
    // Whatever is lost is sent again, as clients do.
    let own = member.socket.local_addr().expect("bound");
    member.socket.set_read_timeout(Some(WAIT)).expect("set");
    let mut buffer = [0; 2_048];
    for _ in 0..20 {
        let mut is_answered = false;
        while !is_answered {
            assert!(Instant::now() < patience, "a participant is not answered");
            handful();
            member.socket.send(&member.puppet.check(false)).expect("sent");
            while !is_answered && let Ok(len) = member.socket.recv(&mut buffer) {
                is_answered = member.puppet.is_answer(&buffer[..len], own);
            }
        }
    }
    let newcomer = from(NEWCOMER);
    let answered = || {
        handful();
        newcomer.send(&request).expect("sent");
        newcomer.recv(&mut [0; 2_048]).is_ok()
    };
    while !answered() {
        assert!(Instant::now() < patience, "nobody else is answered");
    }
    count("floods_apart")
}

#[tokio::test]
async fn in_a_flood_participants_keep_their_consent_and_others_may_ask() {
    assert!(flooded(Vec::new()).await >= 1.0, "it was kept apart");
}

#[tokio::test]
async fn a_flood_that_cannot_be_kept_apart_is_received_as_ever() {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
    // Others may have joined already.
    rustix::net::sockopt::set_socket_reuseport(&socket, true).expect("an option");
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&address.into()).expect("loopback");
    assert!(flooded(vec![socket]).await == 0.0);
}

#[tokio::test]
async fn a_room_never_leaves_its_shard() {
    let running = two_shards();
    let sfu = &running.sfu;
    let home = |room: RoomId| {
        let sfu = sfu.clone();
        async move {
            let answer = negotiate(&sfu, room, ParticipantId(room.0), Direction::SendOnly).await;
            candidate(&answer).port()
        }
    };
    let (first, second) = (home(FIRST).await, home(SECOND).await);
    assert_ne!(first, second, "each shard has a port");
    assert_eq!(
        [first, second],
        [running.addresses[0].port(), running.addresses[1].port()]
    );
    for (number, busy) in [[1_000, 0], [0, 1_000], [1_000, 0]].into_iter().enumerate() {
        sfu.pretend_busy(&busy);
        sfu.create_room(FIRST, 4).expect("it is there already");
        assert_eq!(
            home(FIRST).await,
            first,
            "a new offer is answered from where the room is"
        );
        assert_eq!(home(SECOND).await, second);
        // A new room goes where there is room.
        let (new, idle) = (RoomId(10 + number as u64), [second, first][usize::from(busy[0] == 0)]);
        sfu.pretend_busy(&busy);
        sfu.create_room(new, 4).expect("an empty queue");
        assert_eq!(home(new).await, idle);
    }
}
