//! A whole worker under arbitrary inputs, for the fuzz target of that name.
//!
//! Three participants are connected in one room, a fourth one waits for its handshake, and the input decides what happens then. Any of
//! them may go behind the relay, and says in transport-wide feedback what arrived when. What the worker sends is opened as a browser
//! would open it, so that a nonce that comes twice shows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use housecall_turn::stun::{Class, Message};
use housecall_turn::{Bindings, Config, Peers, Quotas, RelayAddresses, Secret, Server, UnixSeconds};
use tokio::sync::oneshot;

use super::{Worker, WorkerConfig};
use crate::api::{Event, IceCredentials, TrackChange};
use crate::clock::{NtpTime, WallClock};
use crate::command::Command;
use crate::counters::Count;
use crate::demux::{Datagram, classify};
use crate::dtls::{Certificate, Fingerprint};
use crate::ids::{Mid, ParticipantId, RelayUserId, RoomId, Ssrc, TrackId};
use crate::limits;
use crate::media::{Kind, Layer, Target};
use crate::path::Path;
use crate::random::Random;
use crate::relay::Relay;
use crate::rtcp::Writer;
use crate::rtcp::twcc::{FeedbackBuilder, FeedbackHeader};
use crate::rtp::RtpHeader;
use crate::srtp::OpenError;
use crate::testing::puppet::{Direction, Fields, IDS, Line, OPUS, Puppet, RTX, VP8, offer, sending_ssrcs};
use crate::testing::tunnel::{Tunnel, unwrapped};
use crate::testing::{Chance, VideoPublisher};

const ROOM: RoomId = RoomId(1);
const OTHER_ROOM: RoomId = RoomId(2);
const UNIX: u64 = 1_800_000_000;
/// Packets that one feedback message tells of, at most.
const HEARD: usize = 600;

/// One participant and what it knows.
struct Actor {
    id: ParticipantId,
    room: RoomId,
    path: Path,
    lines: Vec<Line>,
    puppet: Puppet,
    camera: VideoPublisher,
    sequences: [u16; STREAMS.len()],
    transport_wide: u16,
    /// Its way through the relay, if it takes that.
    tunnel: Option<Tunnel>,
    /// Transport-wide numbers of what came, and when, since its last feedback.
    heard: VecDeque<(u16, Instant)>,
    feedback_count: u8,
    /// The highest number that came of each stream.
    highest: BTreeMap<u32, u16>,
    /// What the server sends to it.
    receives: Vec<Ssrc>,
    tracks: Vec<TrackId>,
}

/// What an actor can send: payload type, line, rid, repaired rid. The last one was never agreed on.
const STREAMS: [(u8, &str, Option<&str>, Option<&str>); 6] = [
    (OPUS.0, "0", None, None),
    (VP8.0, "1", Some("m"), None),
    (VP8.0, "1", Some("h"), None),
    (RTX.0, "1", None, Some("m")),
    (RTX.0, "1", None, Some("h")),
    (77, "9", None, None),
];

/// More transmits than any input asks for at one moment.
const MUCH: usize = 100_000;

struct Stage {
    worker: Worker,
    secret: Secret,
    start: Instant,
    now: Instant,
    actors: Vec<Actor>,
    joins: u64,
    /// Tracks that were announced and have not ended.
    started: BTreeSet<TrackId>,
}

/// What a program led to, for the tests that make programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Packets of padding that measure a path.
    pub(crate) probes: u64,
    /// Steps on the ladder, up or down.
    pub(crate) steps: u64,
    /// Transport-wide feedback taken in.
    pub(crate) feedback: u64,
    /// Requests and payload that the relay took.
    pub(crate) relayed: u64,
    /// Retransmissions sent.
    pub(crate) resent: u64,
}

/// Runs the program that `data` stands for: an operation, the length of its argument, the argument.
#[expect(
    clippy::disallowed_methods,
    reason = "an instant to begin at; virtual time runs from there"
)]
pub(crate) fn drive(data: &[u8]) -> Reached {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    let certificate = CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate().expect("P-256 works")));
    let now = Instant::now();
    let config = WorkerConfig {
        shard: 0,
        candidates: vec![candidate()],
        tcp_candidates: Vec::new(),
        certificate: Arc::clone(certificate),
        start_kbps: 1_500,
        picture_floor: crate::media::Bitrate::from_kbps(500),
        adaptation: crate::settings::Adaptation::On,
        tag: crate::steering::Tag(*b"tags"),
        max_segments: 16,
        wall: WallClock::new(now, NtpTime::from_bits(0xe000_0000_0000_0000)),
    };
    let secret = Secret::new(b"secret");
    let mut stage = Stage {
        worker: Worker::new(config, Random::Seeded(Chance::new(7))),
        secret: secret.clone(),
        start: now,
        now,
        actors: Vec::new(),
        joins: 0,
        started: BTreeSet::new(),
    };
    stage.worker.set_relay(Relay::new(Server::new(Config {
        secret,
        key: [4; 32],
        relay: RelayAddresses {
            v4: Some([198, 51, 100, 1].into()),
            v6: None,
            ports: 49_152..=65_535,
        },
        peers: Peers::Only(vec![candidate()]),
        quotas: Quotas {
            per_user: 2,
            per_prefix: 8,
            total: 8,
            bytes_per_second: limits::RELAY_BYTES_PER_SECOND,
        },
        bindings: Bindings::Ignore,
        started: now,
        unix: UnixSeconds(UNIX),
    })));
    for room in [ROOM, OTHER_ROOM] {
        stage.command(Command::CreateRoom {
            room,
            max_participants: 6,
        });
    }
    for index in 0..4 {
        stage.enter(index);
    }
    let mut rest = data;
    while let [kind, len, tail @ ..] = rest {
        let (argument, tail) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = tail;
        let index = usize::from(kind >> 4 & 3);
        match (kind & 0x80 != 0, kind & 0x0f) {
            (false, kind) => stage.step(kind, index, argument),
            (true, 0..=5) => stage.report(index, argument),
            (true, 6 | 7) => stage.miss(index, argument),
            (true, kind) => stage.relay(kind, index, argument),
        }
        // Sometimes a burst is handled before anything is sent.
        if kind & 0x40 == 0 {
            stage.settle();
        }
    }
    stage.settle();
    let reached = stage.reached();
    stage.finish();
    reached
}

/// The server's own address, also for those who come through its relay.
fn candidate() -> SocketAddr {
    ([192, 0, 2, 1], 8_080).into()
}

impl Stage {
    /// Something this actor sends arrives, by the way it takes.
    fn deliver(&mut self, index: usize, mut datagram: Vec<u8>) {
        let actor = &self.actors[index];
        if let Some(tunnel) = &actor.tunnel {
            datagram = tunnel.wrap(&datagram);
        }
        self.worker.handle_datagram(actor.path, &mut datagram, self.now);
    }

    /// Transport-wide feedback about what came: which of it is called lost, and by how much the rest is said to be late.
    fn report(&mut self, index: usize, argument: &[u8]) {
        let (start, actor) = (self.start, &mut self.actors[index]);
        let heard: Vec<(u16, Instant)> = actor.heard.drain(..).collect();
        let (Some(&(base_sequence, _)), Some(&media)) = (heard.first(), actor.receives.first()) else {
            return;
        };
        let mut buffer = [0; limits::MAX_DATAGRAM];
        actor.feedback_count = actor.feedback_count.wrapping_add(1);
        let header = FeedbackHeader {
            sender: Ssrc(1_001),
            media,
            base_sequence,
            feedback_count: actor.feedback_count,
        };
        let mut builder = FeedbackBuilder::new(&mut buffer, header);
        let mut arrivals = heard.into_iter().peekable();
        let mut late = 0_u32;
        for place in 0..HEARD as u16 {
            let number = base_sequence.wrapping_add(place);
            let Some(&(next, at)) = arrivals.peek() else { break };
            let byte = argument
                .get(usize::from(place) % argument.len().max(1))
                .copied()
                .unwrap_or_default();
            late = late.saturating_add(u32::from(byte >> 4));
            // Quarters of a millisecond. A number that is not there was lost, or went to somebody else's path.
            let ticks = (at - start).as_micros() as u32 / 250 + 4_000 + late;
            let arrival = (next == number && byte & 0x0f != 0x0f).then_some(ticks);
            if next == number {
                arrivals.next();
            }
            if builder.push(arrival).is_err() {
                break;
            }
        }
        let packet = builder.finish().and_then(|len| actor.puppet.seal_rtcp(&buffer[..len]));
        if let Some(packet) = packet {
            self.deliver(index, packet);
        }
    }

    /// Asks again for some of the last packets of a stream.
    fn miss(&mut self, index: usize, argument: &[u8]) {
        let actor = &mut self.actors[index];
        let [stream, back @ ..] = argument else { return };
        let ssrcs: Vec<u32> = actor.highest.keys().copied().collect();
        let Some(&ssrc) = ssrcs.get(usize::from(*stream) % ssrcs.len().max(1)) else {
            return;
        };
        let highest = actor.highest[&ssrc];
        let mut missing: Vec<u16> = back.iter().map(|back| highest.wrapping_sub(u16::from(*back))).collect();
        missing.sort_by_key(|number| std::cmp::Reverse(highest.wrapping_sub(*number)));
        missing.dedup();
        let mut buffer = [0; limits::MAX_DATAGRAM];
        let mut writer = Writer::new(&mut buffer);
        if missing.is_empty() || writer.nack(Ssrc(1_001), Ssrc(ssrc), &missing).is_err() {
            return;
        }
        let len = writer.len();
        if let Some(packet) = actor.puppet.seal_rtcp(&buffer[..len]) {
            self.deliver(index, packet);
        }
    }

    /// Everything about the relay: on it, off it, its requests, and hostile ones.
    fn relay(&mut self, kind: u8, index: usize, argument: &[u8]) {
        let user = RelayUserId(index as u64);
        match kind {
            8 => self.enter_relay(index, user),
            9 => {
                // Back to the direct way, which must be proved anew only if it was forgotten.
                self.actors[index].tunnel = None;
                let check = self.actors[index].puppet.check(true);
                self.deliver(index, check);
            }
            10 | 11 => {
                let Some(tunnel) = &mut self.actors[index].tunnel else {
                    return;
                };
                let seconds = argument.first().map_or(600, |byte| u32::from(*byte) * 4);
                let request = if kind == 10 {
                    tunnel.refresh(seconds)
                } else {
                    tunnel.permit()
                };
                self.ask(index, request);
            }
            12 => self.command(Command::EndRelayUser { room: ROOM, user }),
            _ => {
                // Whatever somebody writes to the relay, right behind its first bytes.
                let path = self.actors[index].path;
                let start: &[u8] = [&[0x40, 0x01][..], &[0x00, 0x16, 0x00], &[0x00, 0x03, 0x00]][usize::from(kind) % 3];
                let mut datagram = [start, argument].concat();
                self.worker.handle_datagram(path, &mut datagram, self.now);
            }
        }
    }

    fn enter_relay(&mut self, index: usize, user: RelayUserId) {
        let credentials = self.secret.mint(&user.to_string(), UnixSeconds(UNIX + 3_600));
        let mut tunnel = Tunnel::new(credentials, candidate());
        if let Some(challenge) = self.ask(index, tunnel.allocate())
            && let Ok(message) = Message::parse(&challenge)
        {
            tunnel.adopt_nonce(&message);
        }
        for request in [tunnel.allocate(), tunnel.permit(), tunnel.bind_channel()] {
            if self.ask(index, request).is_none() {
                return;
            }
        }
        tunnel.use_channel();
        self.actors[index].tunnel = Some(tunnel);
        // The path through it must be proved before anything goes by it.
        let check = self.actors[index].puppet.check(true);
        self.deliver(index, check);
    }

    /// Hands the worker a request to the relay; what it answers.
    fn ask(&mut self, index: usize, mut request: Vec<u8>) -> Option<Vec<u8>> {
        self.settle();
        let path = self.actors[index].path;
        self.worker.handle_datagram(path, &mut request, self.now);
        let answer = self.worker.poll_transmit(self.now)?;
        assert_eq!(answer.path, path, "all else was sent");
        Some(answer.contents.to_vec())
    }

    fn command(&mut self, command: Command) {
        self.worker.handle_command(command, self.now);
    }

    /// Joins as the actor with this number, anew. The last one does not finish its handshake.
    fn enter(&mut self, index: usize) {
        self.joins += 1;
        let own = IceCredentials {
            ufrag: format!("ufrag{}", self.joins),
            pwd: "a-password-of-the-client".to_owned(),
        };
        let (send, receive) = (Direction::SendOnly, Direction::RecvOnly);
        let lines = [
            (Kind::Audio, send),
            (Kind::Video, send),
            (Kind::Audio, receive),
            (Kind::Video, receive),
        ];
        let lines = lines.map(|(kind, direction)| Line::new(kind, direction)).to_vec();
        let actor = Actor {
            id: ParticipantId(self.joins),
            room: ROOM,
            path: Path::udp(([192, 0, 2, 9], 1_000 + index as u16).into(), None),
            lines,
            puppet: Puppet::new(own.clone(), own),
            camera: VideoPublisher::new(self.joins),
            sequences: [65_500; STREAMS.len()],
            transport_wide: 0,
            tunnel: None,
            heard: VecDeque::new(),
            feedback_count: 0,
            highest: BTreeMap::new(),
            receives: Vec::new(),
            tracks: Vec::new(),
        };
        if index < self.actors.len() {
            self.actors[index] = actor;
        } else {
            self.actors.push(actor);
        }
        self.negotiate(index, None);
        let actor = &mut self.actors[index];
        let mut check = actor.puppet.check(true);
        self.worker.handle_datagram(actor.path, &mut check, self.now);
        let key = self.worker.by_id.get(&actor.id).copied();
        if let Some(key) = key.filter(|_| index < 3) {
            let keys = Puppet::keys(self.joins);
            actor.puppet.connect(&keys);
            self.worker.members[key.0].transport.connect_with(&keys, self.now);
            self.worker.after_transport(key, self.now);
        }
        self.settle();
    }

    /// Offers the actor's lines, or `text`.
    fn negotiate(&mut self, index: usize, text: Option<String>) {
        let actor = &self.actors[index];
        let (reply, mut answer) = oneshot::channel();
        let offered =
            text.unwrap_or_else(|| offer(&actor.lines, &actor.puppet.own, &Fingerprint::from_sha256([7; 32])));
        let (room, participant) = (actor.room, actor.id);
        self.command(Command::Negotiate {
            room,
            participant,
            offer: offered,
            reply,
        });
        let answer = answer.try_recv().expect("a command is answered at once");
        let Ok(answer) = answer else { return };
        let actor = &mut self.actors[index];
        actor.puppet.server = answer.ice;
        actor.tracks = answer.published.iter().map(|track| track.track).collect();
        actor.receives = sending_ssrcs(&answer.sdp)
            .into_iter()
            .flat_map(|(_, media, rtx)| [Some(media), rtx])
            .flatten()
            .collect();
    }

    fn step(&mut self, kind: u8, index: usize, argument: &[u8]) {
        let now = self.now;
        let byte = |place: usize| argument.get(place).copied().unwrap_or_default();
        let path = self.actors[index].path;
        let (room, participant) = (self.actors[index].room, self.actors[index].id);
        let mid = Mid::new(["0", "1", "2", "3"][usize::from(byte(0) & 3)]).expect("a digit");
        match kind {
            0 => self.send_picture(index, byte(0), byte(1)),
            1 => {
                if let Some(packet) = self.actors[index].media(argument) {
                    self.deliver(index, packet);
                }
            }
            2 => {
                if let Some(packet) = self.actors[index].feedback(argument) {
                    self.deliver(index, packet);
                }
            }
            3 => self.worker.handle_datagram(path, &mut argument.to_vec(), now),
            4 => {
                // Somebody on the way flips bits.
                if let Some(mut packet) = self.actors[index].media(&argument[argument.len() / 2..]) {
                    for flip in argument[..argument.len() / 2].chunks_exact(2) {
                        let place = usize::from(flip[0]) % packet.len();
                        packet[place] ^= flip[1];
                    }
                    self.worker.handle_datagram(path, &mut packet, now);
                }
            }
            5 => {
                let stranger = Path::udp(([203, 0, 113, 5], u16::from(byte(0))).into(), None);
                self.worker.handle_datagram(stranger, &mut argument.to_vec(), now);
            }
            6 => {
                let mut check = self.actors[index].puppet.check(byte(0) & 1 != 0);
                // From one's own address, from a new one, or from somebody else's.
                let from = match byte(1) {
                    other @ 0..=3 => self.actors[usize::from(other)].path,
                    port => Path::udp(([192, 0, 2, 9], u16::from(port)).into(), None),
                };
                self.worker.handle_datagram(from, &mut check, now);
            }
            7 => {
                // All that came in one moment is dealt with in it.
                self.settle();
                let millis: u64 = argument.iter().map(|byte| u64::from(*byte) * u64::from(*byte)).sum();
                self.now += Duration::from_millis(millis);
            }
            8 => {
                let tracks: Vec<TrackId> = self.actors.iter().flat_map(|actor| actor.tracks.clone()).collect();
                let source = tracks.get(usize::from(byte(1))).copied();
                self.command(Command::SetSource {
                    room,
                    participant,
                    mid,
                    source,
                });
            }
            9 => {
                let targets = [
                    Target::AudioOnly,
                    Target::Video(Layer::P480),
                    Target::Video(Layer::P720),
                ];
                self.command(Command::SetTarget {
                    room,
                    participant,
                    mid,
                    target: targets[usize::from(byte(1) % 3)],
                });
            }
            10 => match byte(0) & 3 {
                0 => self.command(Command::RemoveParticipant { room, participant }),
                1 => self.command(Command::CloseRoom { room }),
                2 => self.command(Command::CreateRoom {
                    room,
                    max_participants: usize::from(byte(1)),
                }),
                _ => self.enter(index),
            },
            11 => {
                // New directions for lines, and perhaps a new line.
                let actor = &mut self.actors[index];
                if byte(0) & 0x80 != 0 && actor.lines.len() < 12 {
                    let kind = if byte(0) & 0x40 == 0 { Kind::Audio } else { Kind::Video };
                    actor.lines.push(Line::new(kind, Direction::Inactive));
                }
                for (line, byte) in actor.lines.iter_mut().zip(argument) {
                    use Direction::{Closed, Inactive, RecvOnly, SendOnly, SendRecv};
                    line.direction = [SendOnly, RecvOnly, SendRecv, Inactive, Closed][usize::from(byte & 7) % 5];
                    line.simulcast = byte & 8 != 0 && line.kind == Kind::Video && line.direction != RecvOnly;
                }
                if byte(1) & 0x80 != 0 {
                    actor.puppet.own.ufrag.push('x');
                }
                self.negotiate(index, None);
            }
            12 => {
                let remote = IceCredentials {
                    ufrag: format!("again{}", byte(0)),
                    pwd: "a-password-of-the-client".to_owned(),
                };
                let (reply, mut answer) = oneshot::channel();
                self.actors[index].puppet.own = remote.clone();
                self.command(Command::RestartIce {
                    room,
                    participant,
                    remote,
                    reply,
                });
                if let Ok(Ok(server)) = answer.try_recv() {
                    self.actors[index].puppet.server = server;
                }
            }
            13 => {
                let (reply, mut answer) = oneshot::channel();
                self.command(Command::Stats {
                    room,
                    participant,
                    reply,
                });
                let stats = answer.try_recv().expect("a command is answered at once");
                assert_eq!(stats.is_some(), self.worker.by_id.contains_key(&participant));
            }
            14 => self.poll(usize::from(byte(0))),
            _ => {
                let actor = &self.actors[index];
                let text = offer(&actor.lines, &actor.puppet.own, &Fingerprint::from_sha256([7; 32]));
                let mut text = text.into_bytes();
                for change in argument.chunks_exact(3) {
                    let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % text.len();
                    text[place] = change[2];
                }
                self.negotiate(index, String::from_utf8(text).ok());
            }
        }
    }

    /// A picture on both layers, of which the packets named by `lost` do not arrive.
    fn send_picture(&mut self, index: usize, lost: u8, key: u8) {
        let actor = &mut self.actors[index];
        actor.camera.advance();
        if key & 1 != 0 {
            actor.camera.request_key_frame();
        }
        let mut packets = Vec::new();
        for (stream, layer) in [(1, Layer::P480), (2, Layer::P720)] {
            for packet in actor.camera.encode(layer) {
                packets.extend(actor.seal(stream, packet.timestamp, packet.marker, &packet.payload));
            }
        }
        for (number, packet) in packets.into_iter().enumerate() {
            if lost >> (number % 8) & 1 == 0 {
                self.deliver(index, packet);
            }
        }
    }

    /// Does what is due, sends everything, and looks whether all is well.
    fn settle(&mut self) {
        self.worker.handle_timeout(self.now);
        self.poll(MUCH);
        assert!(!self.worker.has_output(), "output without end");
        self.worker.check();
        let next = self.worker.poll_timeout();
        assert!(next.is_none_or(|(at, what)| at > self.now || panic!("woken again for {what}")));
        while let Some(event) = self.worker.poll_event() {
            match event {
                Event::Track { track, change, .. } => match change {
                    TrackChange::Started => assert!(self.started.insert(track.track), "a track starts once"),
                    TrackChange::Ended => assert!(self.started.remove(&track.track), "what ends was announced"),
                },
                Event::RoomFailed { .. } => panic!("a room failed"),
                _ => {}
            }
        }
    }

    /// Takes at most so many transmits.
    fn poll(&mut self, at_most: usize) {
        for _ in 0..at_most {
            let Some(transmit) = self.worker.poll_transmit(self.now) else {
                return;
            };
            assert!(!transmit.contents.is_empty() && transmit.segment <= limits::MAX_PACKET);
            let through = self.actors.iter().position(|actor| actor.path == transmit.path);
            for datagram in transmit.contents.chunks(transmit.segment) {
                let is_answer = Message::parse(datagram).is_ok_and(|message| message.class() != Class::Indication);
                let datagram = if is_answer {
                    Some(datagram.to_vec())
                } else {
                    let tunnel = through.and_then(|index| self.actors[index].tunnel.as_ref());
                    unwrapped(tunnel, datagram.to_vec())
                };
                // The rest of what goes through a relay that was left.
                let Some(datagram) = datagram else { continue };
                // A path may have been proved by another actor than the one it was given to: whoever can open it is meant.
                let mut outcomes = Vec::new();
                for actor in &mut self.actors {
                    let mut datagram = datagram.clone();
                    match classify(&datagram) {
                        Some(Datagram::Rtp) => {
                            let outcome = actor.puppet.open_rtp(&mut datagram);
                            if outcome.is_ok() {
                                actor.hear(&datagram, self.now);
                            }
                            outcomes.push(outcome);
                        }
                        Some(Datagram::Rtcp) => outcomes.push(actor.puppet.open_rtcp(&mut datagram)),
                        Some(Datagram::Stun | Datagram::Dtls | Datagram::Turn) => {}
                        Some(Datagram::ChannelData) | None => panic!("the worker sends no such thing"),
                    }
                }
                let is_opened = outcomes.iter().any(Result::is_ok);
                let is_repeated = |outcome: &Result<usize, OpenError>| {
                    matches!(outcome, Err(OpenError::Replayed | OpenError::TooOld))
                };
                assert!(is_opened || !outcomes.iter().any(is_repeated), "a nonce came twice");
            }
        }
    }

    fn reached(&self) -> Reached {
        let count = |kinds: &[Count]| kinds.iter().map(|kind| self.worker.shared.counters.get(*kind)).sum();
        Reached {
            probes: count(&[Count::ProbeOut]),
            steps: count(&[Count::Up, Count::DownCapacity, Count::DownQueue, Count::DownLoss]),
            feedback: count(&[Count::TwccIn]),
            relayed: count(&[Count::TurnIn]),
            resent: count(&[Count::RtxOut]),
        }
    }

    fn finish(&mut self) {
        for room in [ROOM, OTHER_ROOM] {
            self.command(Command::CloseRoom { room });
        }
        for index in 0..self.actors.len() {
            let user = RelayUserId(index as u64);
            self.command(Command::EndRelayUser { room: ROOM, user });
        }
        self.settle();
        self.worker.check_empty();
        assert!(self.started.is_empty(), "tracks that started have ended");
        // Deadlines of those who left run out and are not renewed.
        self.now += limits::CONSENT_TIMEOUT + limits::CONNECT_TIMEOUT;
        self.settle();
        // The relay looks at the deadlines of what it ended.
        self.now += Duration::from_secs(3_600);
        self.settle();
        assert_eq!(self.worker.poll_timeout(), None);
    }
}

impl Actor {
    /// Notes a packet that came, for the next feedback.
    fn hear(&mut self, packet: &[u8], now: Instant) {
        let Ok(header) = RtpHeader::parse(packet) else { return };
        let highest = self.highest.entry(header.ssrc.0).or_insert(header.sequence);
        if header.sequence.wrapping_sub(*highest) < 1 << 15 {
            *highest = header.sequence;
        }
        if let Some(number) = header.extensions(packet, &IDS).twcc {
            if self.heard.len() == HEARD {
                self.heard.pop_front();
            }
            self.heard.push_back((number, now));
        }
    }

    fn seal(&mut self, stream: usize, timestamp: u32, marker: bool, payload: &[u8]) -> Option<Vec<u8>> {
        let (payload_type, mid, rid, repaired_rid) = STREAMS[stream];
        let sequence = self.sequences[stream];
        self.sequences[stream] = sequence.wrapping_add(1);
        self.transport_wide = self.transport_wide.wrapping_add(1);
        let fields = Fields {
            ssrc: 1_000 + stream as u32,
            sequence,
            timestamp,
            payload_type,
            marker,
            mid: Some(mid),
            rid,
            repaired_rid,
            twcc: Some(self.transport_wide),
        };
        self.puppet.seal_rtp(&fields, payload)
    }

    /// An authentic media packet: which stream, how far ahead, what is odd about it, then its payload.
    fn media(&mut self, argument: &[u8]) -> Option<Vec<u8>> {
        let (&[stream, ahead, odd], payload) = argument.split_first_chunk()?;
        let place = usize::from(stream) % STREAMS.len();
        let (payload_type, mid, rid, repaired_rid) = STREAMS[place];
        self.sequences[place] = self.sequences[place].wrapping_add(u16::from(ahead));
        self.transport_wide = self.transport_wide.wrapping_add(u16::from(odd >> 4));
        let named = odd & 1 == 0;
        let fields = Fields {
            ssrc: 1_000 + place as u32 + u32::from(stream >> 4) * 16,
            sequence: self.sequences[place],
            timestamp: u32::from(self.sequences[place]) * 900,
            payload_type: if odd & 2 == 0 { payload_type } else { odd },
            marker: odd & 4 != 0,
            mid: Some(mid).filter(|_| named),
            rid: rid.filter(|_| named),
            repaired_rid: repaired_rid.filter(|_| named),
            twcc: Some(self.transport_wide).filter(|_| odd & 8 == 0),
        };
        self.puppet.seal_rtp(&fields, payload)
    }

    /// An authentic compound: of which kind, about which of our streams, then its content.
    fn feedback(&mut self, argument: &[u8]) -> Option<Vec<u8>> {
        let (&[kind, about], content) = argument.split_first_chunk()?;
        let about = self.receives.get(usize::from(about)).copied().unwrap_or(Ssrc(1_001));
        let mut buffer = [0; limits::MAX_DATAGRAM];
        let len = {
            let mut writer = Writer::new(&mut buffer);
            let pairs = content
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            match kind % 3 {
                0 => writer.picture_loss(Ssrc(1_001), about).ok()?,
                1 => writer.nack(Ssrc(1_001), about, &pairs.collect::<Vec<_>>()).ok()?,
                _ => {
                    // Any packet type from 200 on, with the SSRCs in their places.
                    let mut body = vec![kind & 0x1f | 0x80, 200 + kind % 8, 0, 0];
                    body.extend(1_001_u32.to_be_bytes());
                    body.extend(about.0.to_be_bytes());
                    body.extend(content);
                    body.resize(body.len().next_multiple_of(4), 0);
                    body[3] = (body.len() / 4 - 1) as u8;
                    return self.puppet.seal_rtcp(&body);
                }
            }
            writer.len()
        };
        self.puppet.seal_rtcp(&buffer[..len.max(8)])
    }
}
