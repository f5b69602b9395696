//! The general relay on loopback, and a client that is told of it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use housecall_sfu::{Arrival, Plain, PublicRelay, PublicRelaySettings, StreamKind};
use housecall_turn::stun::{AttributeType, Builder, Class, Integrity, IntegrityKey, Message, Method, TransactionId};
use housecall_turn::{Bindings, Network, Quotas, REALM, Secret, UnixSeconds};
use prometheus::Registry;

/// Guards against hanging for ever; nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Ports near one that nobody has now. Should somebody take some of them, the relay passes over those.
pub(crate) fn ports() -> RangeInclusive<u16> {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let first = free.expect("a free port").port().min(u16::MAX - 999);
    first..=first + 999
}

pub(crate) fn secret() -> Secret {
    Secret::new(b"0123456789abcdef0123456789abcdef")
}

pub(crate) fn unix_now() -> UnixSeconds {
    UnixSeconds(SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs())
}

pub(crate) struct Lab {
    pub(crate) ports: RangeInclusive<u16>,
    pub(crate) relay: PublicRelay,
    pub(crate) registry: Registry,
}

impl Lab {
    pub(crate) fn open(addresses: &[&str], allowed: &[&str]) -> Self {
        let address = |text: &&str| text.parse::<IpAddr>().expect("an address");
        let registry = Registry::new();
        let ports = ports();
        let settings = PublicRelaySettings {
            listen: "127.0.0.1:0".parse().expect("an address"),
            addresses: addresses.iter().map(address).collect(),
            ports: ports.clone(),
            secret: secret(),
            bindings: Bindings::Ignore,
            allowed: allowed.iter().map(|text| Network::from(address(text))).collect(),
            denied: Vec::new(),
            quotas: Quotas {
                per_user: 4,
                per_prefix: 100,
                total: 100,
                bytes_per_second: 1_000_000_000,
            },
        };
        let relay = PublicRelay::start(settings, &registry).expect("a relay on loopback");
        Self { ports, relay, registry }
    }

    /// A connection to the relay, always from the same address.
    pub(crate) fn connect(&self) -> UnixStream {
        let (near, far) = UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("an option");
        far.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let arrival = Arrival {
            kind: StreamKind::TurnTcp,
            remote: "127.0.0.9:50000".parse().expect("an address"),
            local: "127.0.0.1".parse().expect("an address"),
            connection: Box::new(Plain(near)),
            begun: Vec::new(),
        };
        let _ = self.relay.open_stream(arrival).expect("room");
        far
    }

    /// Waits until the counters with these label values have reached a sum.
    pub(crate) fn wait_for(&self, family: &str, labels: &[&str], expected: u64) {
        let began = Instant::now();
        let mut found = 0;
        while began.elapsed() < PATIENCE {
            let families = self.registry.gather();
            let family = families.iter().find(|found| found.name() == family).expect("a family");
            let with = |metric: &&prometheus::proto::Metric| {
                let has = |label: &&str| metric.get_label().iter().any(|pair| pair.value() == *label);
                labels.iter().all(has)
            };
            found = family
                .get_metric()
                .iter()
                .filter(with)
                .map(|metric| metric.get_counter().get_value() as u64)
                .sum();
            if found >= expected {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(found, expected, "{family} {labels:?}");
    }
}

pub(crate) fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a socket on loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    pub(crate) username: String,
    pub(crate) key: IntegrityKey,
    pub(crate) nonce: Vec<u8>,
    pub(crate) next: u8,
}

/// What the relay answered.
pub(crate) struct Reply(pub(crate) Vec<u8>);

impl Reply {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.0).expect("STUN")
    }

    /// 0 for success.
    pub(crate) fn code(&self) -> u16 {
        self.message().error_code().map_or(0, |error| error.code)
    }

    pub(crate) fn relayed(&self) -> Vec<SocketAddr> {
        let message = self.message();
        let found = message.xor_addresses(AttributeType::XOR_RELAYED_ADDRESS);
        found.flatten().collect()
    }
}

impl Client {
    pub(crate) fn new(lab: &Lab, user: &str) -> Self {
        let socket = socket("127.0.0.1:0");
        socket.connect(lab.relay.address()).expect("connected");
        let credentials = secret().mint(user, UnixSeconds(unix_now().0 + 600));
        let text = format!("{}:{REALM}:{}", credentials.username, credentials.password);
        let mut client = Self {
            socket,
            username: credentials.username,
            key: IntegrityKey::new(aws_lc_rs_sha256(&text).as_ref()),
            nonce: Vec::new(),
            next: 0,
        };
        let challenge = client.ask(Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        });
        assert_eq!(challenge.code(), 401);
        client.nonce = challenge.message().get(AttributeType::NONCE).expect("a nonce").to_vec();
        client
    }

    pub(crate) fn ask(&mut self, method: Method, add: impl FnOnce(&mut Builder<'_>)) -> Reply {
        let request = self.request(method, add);
        self.socket.send(&request).expect("sent");
        Reply(self.receive())
    }

    pub(crate) fn request(&mut self, method: Method, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        self.next += 1;
        let mut buffer = [0; 1_024];
        let mut builder = Builder::new(&mut buffer, Class::Request, method, TransactionId([self.next; 12]));
        add(&mut builder);
        if !self.nonce.is_empty() {
            builder
                .username(&self.username)
                .attribute(AttributeType::REALM, REALM.as_bytes())
                .attribute(AttributeType::NONCE, &self.nonce)
                .attribute(AttributeType::PASSWORD_ALGORITHM, &[0, 2, 0, 0])
                .attribute(AttributeType::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
                .integrity(Integrity::Sha256, &self.key);
        }
        let len = builder.finish().expect("it fits");
        buffer[..len].to_vec()
    }

    /// As [`Self::ask`], over a connection.
    pub(crate) fn ask_over(&mut self, link: &mut UnixStream, method: Method, transport: &[u8]) -> Reply {
        let request = self.request(method, |builder| {
            if !transport.is_empty() {
                builder.attribute(AttributeType::REQUESTED_TRANSPORT, transport);
            }
        });
        link.write_all(&request).expect("written");
        Reply(message_of(link))
    }

    pub(crate) fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 2_048];
        let len = self.socket.recv(&mut buffer).expect("something from the relay");
        buffer[..len].to_vec()
    }

    pub(crate) fn allocate(&mut self, is_dual: bool) -> Vec<SocketAddr> {
        let reply = self.ask(Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            if is_dual {
                builder.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
            }
        });
        assert_eq!(reply.code(), 0);
        reply.relayed()
    }

    pub(crate) fn bind(&mut self, channel: u16, peer: SocketAddr) -> u16 {
        let [high, low] = channel.to_be_bytes();
        let reply = self.ask(Method::CHANNEL_BIND, |builder| {
            builder
                .attribute(AttributeType::CHANNEL_NUMBER, &[high, low, 0, 0])
                .xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
        });
        reply.code()
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) -> u16 {
        let reply = self.ask(Method::CREATE_PERMISSION, |builder| {
            builder.xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
        });
        reply.code()
    }

    pub(crate) fn send_indication(&self, peer: SocketAddr, payload: &[u8]) {
        let mut buffer = [0; 2_048];
        let mut builder = Builder::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([9; 12]));
        builder
            .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
            .attribute(AttributeType::DATA, payload);
        let len = builder.finish().expect("it fits");
        self.socket.send(&buffer[..len]).expect("sent");
    }
}

pub(crate) fn aws_lc_rs_sha256(text: &str) -> impl AsRef<[u8]> + use<> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes())
}

/// The next whole message of a connection, which may come in several pieces or with others at once.
pub(crate) fn message_of(link: &mut UnixStream) -> Vec<u8> {
    let mut message = vec![0; 4];
    link.read_exact(&mut message).expect("a message in time");
    let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
    // Channels are 0x4000 to 0x4FFF, and their messages are padded to four bytes (RFC 8656 §12.5).
    let rest = if message[0] & 0xC0 == 0x40 {
        length.next_multiple_of(4)
    } else {
        16 + length
    };
    message.resize(4 + rest, 0);
    link.read_exact(&mut message[4..]).expect("the whole of it");
    message
}

pub(crate) fn channel_data(channel: u16, payload: &[u8]) -> Vec<u8> {
    [
        &channel.to_be_bytes()[..],
        &(payload.len() as u16).to_be_bytes(),
        payload,
    ]
    .concat()
}

/// Payload of a length, that no other has.
pub(crate) fn payload(number: usize, len: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; len];
    payload
        .iter_mut()
        .zip((number as u32).to_be_bytes())
        .for_each(|(to, byte)| *to = byte);
    payload
}
