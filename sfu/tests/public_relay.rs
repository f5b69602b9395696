//! The general relay over real sockets, as its clients and their peers see it.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test over real sockets"
)]

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant, SystemTime};

use housecall_sfu::{PublicRelay, PublicRelaySettings, StreamKind, StreamLink};
use housecall_turn::stun::{AttributeType, Builder, Class, Integrity, IntegrityKey, Message, Method, TransactionId};
use housecall_turn::{Bindings, Network, Quotas, REALM, Secret, UnixSeconds};
use prometheus::Registry;

/// Guards against hanging for ever; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ports near one that nobody has now. Should somebody take some of them, the relay passes over those.
fn ports() -> RangeInclusive<u16> {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let first = free.expect("a free port").port().min(u16::MAX - 999);
    first..=first + 999
}

fn secret() -> Secret {
    Secret::new(b"0123456789abcdef0123456789abcdef")
}

fn unix_now() -> UnixSeconds {
    UnixSeconds(SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs())
}

struct Lab {
    ports: RangeInclusive<u16>,
    relay: PublicRelay,
    registry: Registry,
}

impl Lab {
    fn open(addresses: &[&str], allowed: &[&str]) -> Self {
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

    /// Waits until the counters with these label values have reached a sum.
    fn wait_for(&self, family: &str, labels: &[&str], expected: u64) {
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

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a socket on loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

struct Client {
    socket: UdpSocket,
    username: String,
    key: IntegrityKey,
    nonce: Vec<u8>,
    next: u8,
}

/// What the relay answered.
struct Reply(Vec<u8>);

impl Reply {
    fn message(&self) -> Message<'_> {
        Message::parse(&self.0).expect("STUN")
    }

    /// 0 for success.
    fn code(&self) -> u16 {
        self.message().error_code().map_or(0, |error| error.code)
    }

    fn relayed(&self) -> Vec<SocketAddr> {
        let message = self.message();
        let found = message.xor_addresses(AttributeType::XOR_RELAYED_ADDRESS);
        found.flatten().collect()
    }
}

impl Client {
    fn new(lab: &Lab, user: &str) -> Self {
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

    fn ask(&mut self, method: Method, add: impl FnOnce(&mut Builder<'_>)) -> Reply {
        let request = self.request(method, add);
        self.socket.send(&request).expect("sent");
        Reply(self.receive())
    }

    fn request(&mut self, method: Method, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
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
    async fn ask_over(&mut self, link: &mut StreamLink, method: Method, transport: &[u8]) -> Reply {
        let request = self.request(method, |builder| {
            if !transport.is_empty() {
                builder.attribute(AttributeType::REQUESTED_TRANSPORT, transport);
            }
        });
        link.reader
            .buffer()
            .await
            .expect("a buffer")
            .extend_from_slice(&request);
        assert!(
            link.reader.hand_over().await.expect("a relay"),
            "it has nothing else to do"
        );
        let answer = tokio::time::timeout(PATIENCE, link.writer.next()).await;
        let chunk = answer.expect("an answer in time").expect("an answer");
        let reply = Reply(chunk.to_vec());
        link.writer.done(chunk);
        reply
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 2_048];
        let len = self.socket.recv(&mut buffer).expect("something from the relay");
        buffer[..len].to_vec()
    }

    fn allocate(&mut self, is_dual: bool) -> Vec<SocketAddr> {
        let reply = self.ask(Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            if is_dual {
                builder.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
            }
        });
        assert_eq!(reply.code(), 0);
        reply.relayed()
    }

    fn bind(&mut self, channel: u16, peer: SocketAddr) -> u16 {
        let [high, low] = channel.to_be_bytes();
        let reply = self.ask(Method::CHANNEL_BIND, |builder| {
            builder
                .attribute(AttributeType::CHANNEL_NUMBER, &[high, low, 0, 0])
                .xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
        });
        reply.code()
    }

    fn permit(&mut self, peer: SocketAddr) -> u16 {
        let reply = self.ask(Method::CREATE_PERMISSION, |builder| {
            builder.xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
        });
        reply.code()
    }

    fn send_indication(&self, peer: SocketAddr, payload: &[u8]) {
        let mut buffer = [0; 2_048];
        let mut builder = Builder::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([9; 12]));
        builder
            .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
            .attribute(AttributeType::DATA, payload);
        let len = builder.finish().expect("it fits");
        self.socket.send(&buffer[..len]).expect("sent");
    }
}

fn aws_lc_rs_sha256(text: &str) -> impl AsRef<[u8]> + use<> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes())
}

fn channel_data(channel: u16, payload: &[u8]) -> Vec<u8> {
    [
        &channel.to_be_bytes()[..],
        &(payload.len() as u16).to_be_bytes(),
        payload,
    ]
    .concat()
}

/// Payload of a length, that no other has.
fn payload(number: usize, len: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; len];
    payload
        .iter_mut()
        .zip((number as u32).to_be_bytes())
        .for_each(|(to, byte)| *to = byte);
    payload
}

#[test]
fn bursts_cross_both_ways_in_order_and_are_counted() {
    let lab = Lab::open(&["127.0.0.1"], &["127.0.0.1"]);
    let mut client = Client::new(&lab, "17");
    let [relayed] = client.allocate(false)[..] else {
        panic!("one address")
    };
    assert!(lab.ports.contains(&relayed.port()));
    let peer = socket("127.0.0.1:0");
    let address = peer.local_addr().expect("bound");
    assert_eq!(client.bind(0x4001, address), 0);
    // Equal ones with a shorter one behind them, as frames of video have, and an empty one.
    let lens = [1_200, 1_200, 1_200, 1_200, 1_200, 1_200, 1_200, 300, 0, 20];
    let (mut buffer, mut number) = ([0; 2_048], 0);
    for _ in 0..20 {
        let burst = number..number + lens.len();
        for (number, len) in burst.clone().zip(lens) {
            client
                .socket
                .send(&channel_data(0x4001, &payload(number, len)))
                .expect("sent");
        }
        for (number, len) in burst.clone().zip(lens) {
            let (got, from) = peer.recv_from(&mut buffer).expect("from the relay");
            assert_eq!((from, &buffer[..got]), (relayed, &payload(number, len)[..]));
        }
        for (number, len) in burst.clone().zip(lens) {
            peer.send_to(&payload(number, len), relayed).expect("sent");
        }
        for (number, len) in burst.clone().zip(lens) {
            assert_eq!(client.receive(), channel_data(0x4001, &payload(number, len)));
        }
        number = burst.end;
    }
    let bytes = 20 * lens.iter().sum::<usize>() as u64;
    for direction in ["to_peer", "to_client"] {
        lab.wait_for("housecall_turn_public_packets_total", &["udp", direction], 200);
        lab.wait_for("housecall_turn_public_bytes_total", &["udp", direction], bytes);
    }
    lab.wait_for("housecall_turn_public_requests_total", &["allocated"], 1);
}

#[test]
fn without_a_channel_payload_is_in_indications_and_without_permission_nowhere() {
    let lab = Lab::open(&["127.0.0.1"], &["127.0.0.1"]);
    let mut client = Client::new(&lab, "17");
    let relayed = client.allocate(false)[0];
    let peer = socket("127.0.0.1:0");
    let address = peer.local_addr().expect("bound");
    client.send_indication(address, b"too early");
    peer.send_to(b"too early", relayed).expect("sent");
    lab.wait_for("housecall_turn_public_dropped_total", &["refused"], 1);
    lab.wait_for("housecall_turn_public_dropped_total", &["unpermitted"], 1);
    assert_eq!(client.permit(address), 0);
    client.send_indication(address, b"now");
    let mut buffer = [0; 64];
    let (len, from) = peer.recv_from(&mut buffer).expect("from the relay");
    assert_eq!((from, &buffer[..len]), (relayed, &b"now"[..]));
    peer.send_to(b"answer", relayed).expect("sent");
    let answer = client.receive();
    let message = Message::parse(&answer).expect("STUN");
    assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
    assert_eq!(message.xor_address(AttributeType::XOR_PEER_ADDRESS), Some(address));
    assert_eq!(message.get(AttributeType::DATA), Some(&b"answer"[..]));
}

#[test]
fn a_dual_allocation_has_a_socket_of_each_family_and_what_ends_is_closed() {
    if UdpSocket::bind("[::1]:0").is_err() {
        // A machine without IPv6 has nothing to show here.
        return;
    }
    let lab = Lab::open(&["127.0.0.1", "::1"], &["127.0.0.1", "::1"]);
    let mut client = Client::new(&lab, "17");
    let relayed = client.allocate(true);
    let mut buffer = [0; 64];
    for (number, (own, relayed)) in ["127.0.0.1:0", "[::1]:0"].into_iter().zip(&relayed).enumerate() {
        let (peer, channel) = (socket(own), 0x4000 + number as u16);
        assert_eq!(client.bind(channel, peer.local_addr().expect("bound")), 0);
        client.socket.send(&channel_data(channel, b"hello")).expect("sent");
        let (len, from) = peer.recv_from(&mut buffer).expect("from the relay");
        assert_eq!((from, &buffer[..len]), (*relayed, &b"hello"[..]));
        assert!(UdpSocket::bind(relayed).is_err(), "it is a real socket");
    }
    let gone = client.ask(Method::REFRESH, |builder| {
        builder.attribute(AttributeType::LIFETIME, &[0; 4]);
    });
    assert_eq!((gone.code(), relayed.len()), (0, 2));
    for address in relayed {
        // The answer may be here before the socket is gone.
        let began = Instant::now();
        while UdpSocket::bind(address).is_err() {
            assert!(began.elapsed() < PATIENCE, "{address} is never free again");
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_connection_inherits_nothing_from_the_one_before_it_at_its_address() {
    let lab = Lab::open(&["127.0.0.1"], &[]);
    let mut client = Client::new(&lab, "17");
    client.nonce.clear();
    let open = || {
        let remote = "127.0.0.9:50000".parse().expect("an address");
        let local = "127.0.0.1".parse().expect("an address");
        lab.relay
            .open_stream(StreamKind::TurnTcp, remote, local)
            .expect("a link")
    };
    let mut before = open();
    let udp = [17, 0, 0, 0];
    let challenge = client.ask_over(&mut before, Method::ALLOCATE, &udp).await;
    client.nonce = challenge.message().get(AttributeType::NONCE).expect("a nonce").to_vec();
    assert_eq!(client.ask_over(&mut before, Method::ALLOCATE, &udp).await.code(), 0);
    assert_eq!(client.ask_over(&mut before, Method::REFRESH, &[]).await.code(), 0);
    // The end of the first is not seen before this one.
    let mut after = open();
    assert_eq!(client.ask_over(&mut after, Method::REFRESH, &[]).await.code(), 437);
    assert_eq!(client.ask_over(&mut after, Method::ALLOCATE, &udp).await.code(), 0);
    drop(before);
    assert_eq!(client.ask_over(&mut after, Method::REFRESH, &[]).await.code(), 0);
}

#[test]
fn two_clients_meet_at_their_relayed_addresses() {
    let lab = Lab::open(&["127.0.0.1"], &[]);
    let mut clients = [Client::new(&lab, "17"), Client::new(&lab, "18")];
    let relayed: Vec<SocketAddr> = clients.iter_mut().flat_map(|client| client.allocate(false)).collect();
    assert_eq!(clients[0].bind(0x4000, relayed[1]), 0);
    assert_eq!(clients[1].bind(0x4000, relayed[0]), 0);
    clients[0]
        .socket
        .send(&channel_data(0x4000, b"over there"))
        .expect("sent");
    assert_eq!(clients[1].receive(), channel_data(0x4000, b"over there"));
}

#[test]
fn nothing_of_this_machine_is_a_peer() {
    let lab = Lab::open(&["127.0.0.1", "::1"], &[]);
    let mut client = Client::new(&lab, "17");
    client.allocate(true);
    let own = if_addrs::get_if_addrs().expect("interfaces");
    for ip in own.iter().map(if_addrs::Interface::ip) {
        let port = lab.relay.address().port();
        assert_eq!(client.bind(0x4000, SocketAddr::new(ip, port)), 403, "{ip}");
    }
}

#[test]
fn quotas_hold_over_real_sockets() {
    let lab = Lab::open(&["127.0.0.1"], &[]);
    let mut codes = HashMap::<u16, u32>::new();
    for _ in 0..6 {
        let mut client = Client::new(&lab, "17");
        let reply = client.ask(Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        });
        *codes.entry(reply.code()).or_default() += 1;
    }
    assert_eq!(codes, HashMap::from([(0, 4), (486, 2)]));
}
