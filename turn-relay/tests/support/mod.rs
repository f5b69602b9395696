#![allow(dead_code, reason = "each test binary uses its part")]

//! A server in virtual time, and a client that shares no code with it but the STUN codec.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use housecall_turn::stun::{AttributeType, Builder, Class, Integrity, IntegrityKey, Message, Method, TransactionId};
use housecall_turn::{
    Bindings, ClientAddr, ClientTransport, Config, Credentials, Dropped, Opened, Outcome, Peers, Quotas,
    RelayAddresses, RelayCommand, Secret, Server, UnixSeconds,
};
use md5::Digest as _;

/// The time at which labs begin.
pub(crate) const UNIX: u64 = 1_800_000_000;
/// Candidates of the media server that hand-over reaches.
pub(crate) const CANDIDATES: [&str; 3] = ["203.0.113.5:443", "203.0.113.6:443", "[2001:db8::5]:443"];

pub(crate) fn secret() -> Secret {
    Secret::new(b"the secret of the tests")
}

pub(crate) fn quotas() -> Quotas {
    Quotas {
        per_user: 4,
        per_prefix: 100,
        total: 200,
        bytes_per_second: 2_500_000,
    }
}

pub(crate) fn config(peers: Peers) -> Config {
    Config {
        secret: secret(),
        key: [5; 32],
        relay: RelayAddresses {
            v4: Some([203, 0, 113, 5].into()),
            v6: Some("2001:db8::5".parse().unwrap()),
            ports: 49_152..=65_535,
        },
        peers,
        quotas: quotas(),
        bindings: Bindings::Ignore,
        started: start(),
        unix: UnixSeconds(UNIX),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an origin for virtual time; nothing here depends on which"
)]
fn start() -> Instant {
    Instant::now()
}

pub(crate) fn hand_over() -> Peers {
    Peers::Only(CANDIDATES.iter().map(|candidate| candidate.parse().unwrap()).collect())
}

/// An answer as a client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) class: Class,
    /// 0 for success.
    pub(crate) code: u16,
}

impl Reply {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    pub(crate) fn get(&self, kind: AttributeType) -> Option<Vec<u8>> {
        self.message().get(kind).map(<[u8]>::to_vec)
    }

    pub(crate) fn number(&self, kind: AttributeType) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    pub(crate) fn relayed(&self) -> Vec<SocketAddr> {
        self.message()
            .xor_addresses(AttributeType::XOR_RELAYED_ADDRESS)
            .flatten()
            .collect()
    }
}

pub(crate) struct Lab {
    pub(crate) server: Server,
    pub(crate) now: Instant,
}

impl Lab {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            now: config.started,
            server: Server::new(config),
        }
    }

    pub(crate) fn hand_over() -> Self {
        Self::new(config(hand_over()))
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.server.handle_timeout(self.now);
    }

    pub(crate) fn raw(&mut self, client: ClientAddr, bytes: &[u8]) -> Outcome {
        self.server.handle_client_datagram(client, bytes, self.now)
    }

    /// The one answer that is waiting, if there is one.
    pub(crate) fn reply(&mut self, client: ClientAddr) -> Option<Reply> {
        let (to, bytes) = self.server.poll_transmit()?;
        assert_eq!(to, client, "answers go to whoever asked");
        assert!(self.server.poll_transmit().is_none(), "one answer to one request");
        let message = Message::parse(&bytes).expect("answers parse");
        assert!(
            message.get(AttributeType::SOFTWARE).is_none(),
            "nobody is told what this is"
        );
        Some(Reply {
            class: message.class(),
            code: message.error_code().map_or(0, |error| error.code),
            bytes: bytes.to_vec(),
        })
    }
}

/// How a client makes keys and protects messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// RFC 5389: MD5 and SHA-1.
    Classic,
    /// RFC 8489: PASSWORD-ALGORITHM SHA-256 and MESSAGE-INTEGRITY-SHA256.
    Modern,
}

pub(crate) struct Client {
    pub(crate) addr: ClientAddr,
    pub(crate) credentials: Credentials,
    pub(crate) style: Style,
    pub(crate) realm: Vec<u8>,
    pub(crate) nonce: Vec<u8>,
    pub(crate) algorithms: Vec<u8>,
    pub(crate) next_id: u8,
}

impl Client {
    pub(crate) fn new(address: &str, id: &str, style: Style) -> Self {
        Self {
            addr: ClientAddr::new(ClientTransport::Udp, address.parse().unwrap(), None),
            credentials: secret().mint(id, UnixSeconds(UNIX + 3_600)),
            style,
            realm: Vec::new(),
            nonce: Vec::new(),
            algorithms: Vec::new(),
            next_id: 0,
        }
    }

    pub(crate) fn key(&self) -> IntegrityKey {
        let text = [
            self.credentials.username.as_bytes(),
            b":",
            &self.realm,
            b":",
            self.credentials.password.as_bytes(),
        ]
        .concat();
        match self.style {
            Style::Classic => IntegrityKey::new(&md5::Md5::digest(&text)),
            Style::Modern => IntegrityKey::new(digest::digest(&digest::SHA256, &text).as_ref()),
        }
    }

    pub(crate) fn id(&mut self) -> TransactionId {
        self.next_id = self.next_id.wrapping_add(1);
        TransactionId([self.next_id; 12])
    }

    /// A request without credentials.
    pub(crate) fn bare(&mut self, method: Method, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        let id = self.id();
        build(Class::Request, method, id, add)
    }

    /// A request with credentials, under a new transaction id.
    pub(crate) fn signed(&mut self, method: Method, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        let id = self.id();
        self.signed_as(id, method, add)
    }

    pub(crate) fn signed_as(&self, id: TransactionId, method: Method, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        let key = self.key();
        build(Class::Request, method, id, |builder| {
            add(builder);
            builder
                .username(&self.credentials.username)
                .attribute(AttributeType::REALM, &self.realm)
                .attribute(AttributeType::NONCE, &self.nonce);
            match self.style {
                Style::Classic => builder.integrity(Integrity::Sha1, &key),
                Style::Modern => builder
                    .attribute(AttributeType::PASSWORD_ALGORITHM, &[0, 2, 0, 0])
                    .attribute(AttributeType::PASSWORD_ALGORITHMS, &self.algorithms)
                    .integrity(Integrity::Sha256, &key),
            };
        })
    }

    /// Takes realm, nonce and algorithms out of a 401 or 438.
    pub(crate) fn learn(&mut self, reply: &Reply) {
        self.realm = reply.get(AttributeType::REALM).expect("REALM");
        self.nonce = reply.get(AttributeType::NONCE).expect("NONCE");
        self.algorithms = reply
            .get(AttributeType::PASSWORD_ALGORITHMS)
            .expect("PASSWORD-ALGORITHMS");
    }

    /// The first step: an Allocate request without credentials, answered by 401.
    pub(crate) fn introduce(&mut self, lab: &mut Lab) {
        let request = self.bare(Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        });
        lab.raw(self.addr, &request);
        let reply = lab.reply(self.addr).expect("a challenge");
        assert_eq!(reply.code, 401);
        self.learn(&reply);
    }

    /// Sends a signed request; the answer's protection is checked.
    pub(crate) fn ask(&mut self, lab: &mut Lab, method: Method, add: impl FnOnce(&mut Builder<'_>)) -> Reply {
        let request = self.signed(method, add);
        self.send(lab, &request)
    }

    pub(crate) fn send(&mut self, lab: &mut Lab, request: &[u8]) -> Reply {
        let outcome = lab.raw(self.addr, request);
        let reply = lab
            .reply(self.addr)
            .unwrap_or_else(|| panic!("an answer, not {outcome:?}"));
        if reply.code == 401 || reply.code == 438 {
            assert!(!reply.message().has_integrity());
        } else {
            let expected = match self.style {
                Style::Classic => Integrity::Sha1,
                Style::Modern => Integrity::Sha256,
            };
            assert_eq!(
                reply.message().verify_integrity(&self.key()),
                Ok(expected),
                "code {}",
                reply.code
            );
        }
        reply
    }

    pub(crate) fn allocate(&mut self, lab: &mut Lab) -> Reply {
        self.allocate_with(lab, |_| {})
    }

    pub(crate) fn allocate_with(&mut self, lab: &mut Lab, add: impl FnOnce(&mut Builder<'_>)) -> Reply {
        if self.nonce.is_empty() {
            self.introduce(lab);
        }
        self.ask(lab, Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            add(builder);
        })
    }

    /// A dual allocation of a public relay, whose sockets open at once.
    pub(crate) fn allocate_public(&mut self, lab: &mut Lab) -> Reply {
        self.introduce(lab);
        let request = self.signed(Method::ALLOCATE, |builder| {
            builder
                .attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
                .attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        });
        lab.raw(self.addr, &request);
        while let Some(RelayCommand::Open { allocation, relayed }) = lab.server.poll_relay() {
            lab.server.relay_opened(allocation, relayed, Opened::Yes, lab.now);
        }
        lab.reply(self.addr).expect("an answer")
    }

    pub(crate) fn permit(&mut self, lab: &mut Lab, peers: &[&str]) -> u16 {
        self.ask(lab, Method::CREATE_PERMISSION, |builder| {
            for peer in peers {
                builder.xor_address_exact(AttributeType::XOR_PEER_ADDRESS, peer.parse().unwrap());
            }
        })
        .code
    }

    pub(crate) fn bind(&mut self, lab: &mut Lab, channel: u16, peer: &str) -> u16 {
        self.ask(lab, Method::CHANNEL_BIND, |builder| {
            builder
                .attribute(AttributeType::CHANNEL_NUMBER, &channel_value(channel))
                .xor_address_exact(AttributeType::XOR_PEER_ADDRESS, peer.parse().unwrap());
        })
        .code
    }

    pub(crate) fn refresh(&mut self, lab: &mut Lab, lifetime: u32) -> Reply {
        self.ask(lab, Method::REFRESH, |builder| {
            builder.attribute(AttributeType::LIFETIME, &lifetime.to_be_bytes());
        })
    }
}

pub(crate) fn channel_value(channel: u16) -> [u8; 4] {
    let [high, low] = channel.to_be_bytes();
    [high, low, 0, 0]
}

pub(crate) fn channel_data(channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = channel.to_be_bytes().to_vec();
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub(crate) fn send_indication(peer: &str, payload: &[u8]) -> Vec<u8> {
    build(Class::Indication, Method::SEND, TransactionId([1; 12]), |builder| {
        builder
            .xor_address_exact(AttributeType::XOR_PEER_ADDRESS, peer.parse().unwrap())
            .attribute(AttributeType::DATA, payload);
    })
}

pub(crate) fn build(class: Class, method: Method, id: TransactionId, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; 2_048];
    let mut builder = Builder::new(&mut buffer, class, method, id);
    add(&mut builder);
    let len = builder.finish().unwrap();
    buffer.truncate(len);
    buffer
}

/// Where payload went and what it was.
pub(crate) fn relayed(outcome: &Outcome, datagram: &[u8]) -> Option<(String, Vec<u8>)> {
    match outcome {
        Outcome::Relay(relay) => Some((relay.peer.get().to_string(), datagram[relay.payload.clone()].to_vec())),
        _ => None,
    }
}

/// Writes addresses as they are, IPv4-mapped ones too: what the product's own builder never does.
pub(crate) trait Exact {
    fn xor_address_exact(&mut self, kind: AttributeType, address: SocketAddr) -> &mut Self;
}

impl Exact for Builder<'_> {
    fn xor_address_exact(&mut self, kind: AttributeType, address: SocketAddr) -> &mut Self {
        match address {
            SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
                let id = self.id();
                let mut value = vec![0, 2];
                value.extend((v6.port() ^ 0x2112).to_be_bytes());
                let mut mask = vec![0x21, 0x12, 0xa4, 0x42];
                mask.extend(id.0);
                value.extend(v6.ip().octets().iter().zip(mask).map(|(byte, mask)| byte ^ mask));
                self.attribute(kind, &value)
            }
            plain => self.xor_address(kind, plain),
        }
    }
}

pub(crate) const BOTH: [Style; 2] = [Style::Classic, Style::Modern];

pub(crate) fn patient(style: Style) -> Client {
    Client::new("198.51.100.7:50000", "17", style)
}

pub(crate) fn dropped(outcome: &Outcome) -> Option<Dropped> {
    match outcome {
        Outcome::Dropped(why) => Some(*why),
        _ => None,
    }
}
