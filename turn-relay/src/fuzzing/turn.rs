//! The whole relay under programs: bytes are read as what two clients and a stranger do, requests with right and wrong credentials,
//! payload, damaged messages and time. A model that only believes success responses says what may be relayed.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::stun::{AttributeType, Builder, Class, Integrity, IntegrityKey, Message, Method, TransactionId};
use crate::{
    Bindings, ClientAddr, ClientTransport, Config, Opened, Outcome, Peers, Quotas, REALM, RelayAddresses, RelayCommand,
    Secret, Server, UnixSeconds, limits,
};

const UNIX: u64 = 1_800_000_000;

/// Peers that programs name: candidates, their relatives in other encodings, and addresses that must stay out of reach.
const PEERS: [&str; 10] = [
    "203.0.113.5:443",
    "[2001:db8::5]:443",
    "203.0.113.5:22",
    "8.8.8.8:53",
    "[2a00:1450::1]:53",
    "127.0.0.1:443",
    "[::ffff:203.0.113.5]:443",
    "[::1]:443",
    "10.0.0.1:443",
    "0.0.0.0:0",
];

/// What the model knows of one client.
#[derive(Default)]
struct Known {
    /// The latest time at which its allocation may still live.
    until: Option<Instant>,
    /// Peers' addresses and until when they may be permitted.
    grants: Vec<(IpAddr, Instant)>,
}

/// Transaction id and method of a signed request, with the peers it names.
type Asked = (TransactionId, Method, Vec<IpAddr>);

struct Actor {
    addr: ClientAddr,
    username: String,
    key: [IntegrityKey; 2],
    nonce: Vec<u8>,
    known: Known,
    /// What a success would answer.
    asked: Option<Asked>,
    /// The last signed request, and what a success answers then.
    last: Vec<u8>,
    last_asked: Option<Asked>,
}

struct Program<'d> {
    data: &'d [u8],
    server: Server,
    is_public: bool,
    now: Instant,
    actors: Vec<Actor>,
    next_id: u64,
}

/// Runs a program and says how many payloads it relayed.
///
/// # Panics
/// When the relay is wrong.
pub(super) fn turn(data: &[u8], start: Instant) -> u64 {
    let [mode, data @ ..] = data else { return 0 };
    let is_public = mode & 1 == 1;
    let candidates: Vec<SocketAddr> = PEERS[..2].iter().filter_map(|peer| peer.parse().ok()).collect();
    let secret = Secret::new(b"fuzz");
    let server = Server::new(Config {
        secret: secret.clone(),
        key: [9; 32],
        relay: RelayAddresses {
            v4: Some([203, 0, 113, 5].into()),
            v6: (mode & 2 == 0).then_some("2001:db8::5".parse().expect("an address")),
            ports: 50_000..=50_007,
        },
        peers: if is_public {
            Peers::Public {
                own: vec![IpAddr::from([203, 0, 113, 9]).into()],
                denied: Vec::new(),
                allowed: Vec::new(),
            }
        } else {
            Peers::Only(candidates)
        },
        quotas: Quotas {
            per_user: 1,
            per_prefix: 2,
            total: 3,
            bytes_per_second: 1_000,
        },
        bindings: if mode & 4 == 0 {
            Bindings::Ignore
        } else {
            Bindings::Answer
        },
        started: start,
        unix: UnixSeconds(UNIX),
    });
    let actors = (0..4_u8)
        .map(|number| {
            let credentials = secret.mint(&format!("{}", number / 2), UnixSeconds(UNIX + 900 * u64::from(number)));
            let text = format!("{}:{REALM}:{}", credentials.username, credentials.password);
            let md5 = <md5::Md5 as md5::Digest>::digest(&text);
            let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
            let transport = if number == 3 {
                ClientTransport::Tls
            } else {
                ClientTransport::Udp
            };
            Actor {
                addr: ClientAddr::new(transport, ([198, 51, 100, number], 4_000).into(), None),
                username: credentials.username,
                key: [IntegrityKey::new(&md5), IntegrityKey::new(sha256.as_ref())],
                nonce: Vec::new(),
                known: Known::default(),
                asked: None,
                last: Vec::new(),
                last_asked: None,
            }
        })
        .collect();
    let mut program = Program {
        data,
        server,
        is_public,
        now: start,
        actors,
        next_id: 0,
    };
    while let Some(op) = program.byte() {
        program.step(op);
        program.drain();
        program.server.check();
    }
    // With time everything ends, and everything is given back.
    program.now += Duration::from_secs(2 * u64::from(limits::MAX_LIFETIME));
    program.server.handle_timeout(program.now);
    program.drain();
    program.server.check();
    assert_eq!(program.server.allocations(), 0, "nothing outlives its lifetime");
    program.server.take_counters().relayed
}

impl Program<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.data.split_first()?;
        self.data = rest;
        Some(*first)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.data.split_at(len.min(self.data.len()));
        self.data = rest;
        taken.to_vec()
    }

    fn step(&mut self, op: u8) {
        let who = usize::from(op >> 6);
        match op & 0x0f {
            0 => {
                let seconds = u64::from(self.byte().unwrap_or(0));
                self.now += Duration::from_secs(seconds * seconds / 16);
                self.server.handle_timeout(self.now);
            }
            1 => self.challenge(who),
            2..=6 => {
                let method = [
                    Method::ALLOCATE,
                    Method::REFRESH,
                    Method::CREATE_PERMISSION,
                    Method::CHANNEL_BIND,
                    Method::ALLOCATE,
                ][usize::from(op & 0x0f) - 2];
                self.request(who, method, op & 0x10 != 0);
            }
            7 => {
                let peer = self.peer();
                let payload = self.bytes(8);
                let id = self.id();
                let datagram = build(Class::Indication, Method::SEND, id, |builder| {
                    xor_peer(builder, peer);
                    builder.attribute(AttributeType::DATA, &payload);
                });
                self.send(who, &datagram);
            }
            8 => {
                let channel = 0x4000 + u16::from(self.byte().unwrap_or(0) & 3);
                let mut datagram = channel.to_be_bytes().to_vec();
                let payload = self.bytes(8);
                datagram.extend((payload.len() as u16).to_be_bytes());
                datagram.extend(payload);
                self.send(who, &datagram);
            }
            9 => {
                let len = usize::from(self.byte().unwrap_or(0));
                let datagram = self.bytes(len);
                self.send(who, &datagram);
            }
            10 => {
                // The last request again, as it was or with a byte changed.
                let mut datagram = self.actors[who].last.clone();
                let (at, change) = (self.byte().unwrap_or(0), self.byte().unwrap_or(0));
                let len = datagram.len().max(1);
                if let Some(byte) = datagram.get_mut(usize::from(at) % len) {
                    *byte ^= change;
                }
                let actor = &mut self.actors[who];
                // Unchanged, it is the same request, whatever was sent with a byte changed since.
                actor.asked = (change == 0).then(|| actor.last_asked.clone()).flatten();
                self.send(who, &datagram);
            }
            11 => self.server.end_user(&format!("{}", who / 2)),
            12 => self.server.end_client(self.actors[who].addr),
            _ => {
                let candidates = PEERS[..2].iter().filter_map(|peer| peer.parse().ok()).collect();
                if !self.is_public {
                    self.server.set_peers(candidates);
                }
            }
        }
    }

    fn id(&mut self) -> TransactionId {
        self.next_id += 1;
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.next_id.to_be_bytes());
        TransactionId(id)
    }

    fn peer(&mut self) -> SocketAddr {
        let index = usize::from(self.byte().unwrap_or(0)) % PEERS.len();
        PEERS[index].parse().expect("an address")
    }

    fn challenge(&mut self, who: usize) {
        let id = self.id();
        let datagram = build(Class::Request, Method::ALLOCATE, id, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        });
        self.send(who, &datagram);
    }

    fn request(&mut self, who: usize, method: Method, is_modern: bool) {
        let id = self.id();
        let flags = self.byte().unwrap_or(0);
        let amount = u32::from(self.byte().unwrap_or(0)) * 16;
        let peers: Vec<SocketAddr> = (0..usize::from(flags & 3)).map(|_| self.peer()).collect();
        let actor = &self.actors[who];
        let datagram = build(Class::Request, method, id, |builder| {
            if flags & 4 == 0 {
                builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            }
            if flags & 8 != 0 {
                builder.attribute(AttributeType::LIFETIME, &amount.to_be_bytes());
            }
            match flags >> 4 {
                1 => builder.attribute(AttributeType::EVEN_PORT, &[0x80]),
                2 => builder.attribute(AttributeType::EVEN_PORT, &[0]),
                3 => builder.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]),
                4 => builder.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]),
                5 => builder.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]),
                6 => builder.attribute(AttributeType(0x7000), &[]),
                7 => builder.attribute(AttributeType::RESERVATION_TOKEN, &[1; 8]),
                _ => builder,
            };
            builder.attribute(AttributeType::CHANNEL_NUMBER, &[0x40, (amount / 16) as u8 & 3, 0, 0]);
            for peer in &peers {
                xor_peer(builder, *peer);
            }
            builder
                .username(&actor.username)
                .attribute(AttributeType::REALM, REALM.as_bytes())
                .attribute(AttributeType::NONCE, &actor.nonce);
            if is_modern {
                builder
                    .attribute(AttributeType::PASSWORD_ALGORITHM, &[0, 2, 0, 0])
                    .attribute(AttributeType::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
                    .integrity(Integrity::Sha256, &actor.key[1]);
            } else {
                builder.integrity(Integrity::Sha1, &actor.key[0]);
            }
        });
        self.actors[who].last.clone_from(&datagram);
        let asked = Some((id, method, peers.iter().map(SocketAddr::ip).collect::<Vec<_>>()));
        self.actors[who].last_asked.clone_from(&asked);
        self.actors[who].asked = asked;
        self.send(who, &datagram);
    }

    fn send(&mut self, who: usize, datagram: &[u8]) {
        let outcome = self
            .server
            .handle_client_datagram(self.actors[who].addr, datagram, self.now);
        if let Outcome::Relay(relay) = outcome {
            let actor = &self.actors[who];
            let peer = relay.peer.get();
            assert!(
                actor.known.until.is_some_and(|until| until > self.now),
                "relayed without an allocation"
            );
            let granted = actor
                .known
                .grants
                .iter()
                .any(|(ip, until)| *ip == peer.ip() && *until > self.now);
            assert!(granted, "relayed to {peer} without permission");
            let reachable = if self.is_public { &PEERS[3..5] } else { &PEERS[..2] };
            assert!(
                reachable.iter().any(|reachable| reachable.parse() == Ok(peer)) || self.is_relayed_port(peer),
                "{peer} is out of reach"
            );
            assert!(relay.payload.end <= datagram.len());
            let back = self.server.to_client(relay.allocation, relay.peer, self.now);
            assert_eq!(
                back.map(|back| back.client),
                Some(actor.addr),
                "and back to whoever asked"
            );
        }
        if self.server.allocations() == 0 {
            // No allocation: whatever the model believes has ended.
            self.actors.iter_mut().for_each(|actor| actor.known = Known::default());
        }
    }

    fn is_relayed_port(&self, peer: SocketAddr) -> bool {
        self.is_public && (50_000..=50_007).contains(&peer.port())
    }

    fn drain(&mut self) {
        // A port that cannot be opened may be followed by another.
        while let Some(command) = self.server.poll_relay() {
            assert!(self.is_public, "hand-over has no sockets");
            let RelayCommand::Open { allocation, relayed } = command else {
                continue;
            };
            let opened = if (self.next_id + u64::from(relayed.port())).is_multiple_of(5) {
                Opened::No
            } else {
                Opened::Yes
            };
            self.server.relay_opened(allocation, relayed, opened, self.now);
        }
        while let Some((to, bytes)) = self.server.poll_transmit() {
            let message = Message::parse(&bytes).expect("answers parse");
            let Some(actor) = self.actors.iter_mut().find(|actor| actor.addr == to) else {
                panic!("an answer to nobody");
            };
            if let Some(nonce) = message.get(AttributeType::NONCE) {
                actor.nonce = nonce.to_vec();
            }
            let Some((id, method, peers)) = &actor.asked else {
                continue;
            };
            if message.class() != Class::Success || message.transaction_id() != *id || message.method() != *method {
                continue;
            }
            let lifetime = message
                .get(AttributeType::LIFETIME)
                .and_then(|value| value.try_into().ok())
                .map(u32::from_be_bytes);
            match *method {
                Method::ALLOCATE | Method::REFRESH => {
                    let until = self.now + Duration::from_secs(lifetime.expect("LIFETIME").into());
                    // One family of a dual allocation may be refreshed alone; the model keeps the later end.
                    actor.known.until = actor.known.until.into_iter().chain([until]).max();
                }
                _ => {
                    let until = self.now + Duration::from_secs(limits::PERMISSION_LIFETIME.into());
                    actor.known.grants.extend(peers.iter().map(|ip| (*ip, until)));
                }
            }
        }
    }
}

fn build(class: Class, method: Method, id: TransactionId, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; 1_024];
    let mut builder = Builder::new(&mut buffer, class, method, id);
    add(&mut builder);
    let len = builder.finish().expect("it fits");
    buffer.truncate(len);
    buffer
}

/// XOR-PEER-ADDRESS in the family the address is written in, mapped ones too.
fn xor_peer(builder: &mut Builder<'_>, peer: SocketAddr) {
    let SocketAddr::V6(v6) = peer else {
        builder.xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
        return;
    };
    let mut value = [0; 20];
    value[1] = 2;
    value[2..4].copy_from_slice(&(v6.port() ^ 0x2112).to_be_bytes());
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&crate::stun::MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&builder.id().0);
    for (byte, (plain, mask)) in value[4..].iter_mut().zip(v6.ip().octets().iter().zip(mask)) {
        *byte = plain ^ mask;
    }
    builder.attribute(AttributeType::XOR_PEER_ADDRESS, &value);
}
