//! What the relay costs without sockets: an allocation with its challenge, payload each way, and a stranger.

use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use criterion::{Criterion, criterion_group, criterion_main};
use housecall_turn::stun::{AttributeType, Builder, Class, Integrity, IntegrityKey, Message, Method, TransactionId};
use housecall_turn::{
    Bindings, ClientAddr, ClientTransport, Config, Outcome, Peers, Quotas, REALM, RelayAddresses, Secret, Server,
    UnixSeconds,
};
use md5::Digest as _;

const UNIX: u64 = 1_800_000_000;
const PEER: ([u8; 4], u16) = ([203, 0, 113, 5], 443);

fn build(class: Class, method: Method, id: u64, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
    let mut buffer = [0; 1_500];
    let mut number = [0; 12];
    number[..8].copy_from_slice(&id.to_be_bytes());
    let mut builder = Builder::new(&mut buffer, class, method, TransactionId(number));
    add(&mut builder);
    let len = builder.finish().expect("it fits");
    buffer[..len].to_vec()
}

struct Client {
    username: String,
    key: IntegrityKey,
    integrity: Integrity,
    id: u64,
}

impl Client {
    fn new(secret: &Secret, integrity: Integrity) -> Self {
        let credentials = secret.mint("17", UnixSeconds(UNIX + 3_600));
        let text = format!("{}:{REALM}:{}", credentials.username, credentials.password);
        let key = match integrity {
            Integrity::Sha1 => IntegrityKey::new(&md5::Md5::digest(&text)),
            Integrity::Sha256 => IntegrityKey::new(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()),
        };
        Self {
            username: credentials.username,
            key,
            integrity,
            id: 0,
        }
    }

    fn request(&mut self, method: Method, nonce: Option<&[u8]>, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        self.id += 1;
        build(Class::Request, method, self.id, |builder| {
            add(builder);
            let Some(nonce) = nonce else { return };
            builder
                .username(&self.username)
                .attribute(AttributeType::REALM, REALM.as_bytes())
                .attribute(AttributeType::NONCE, nonce);
            if self.integrity == Integrity::Sha256 {
                builder
                    .attribute(AttributeType::PASSWORD_ALGORITHM, &[0, 2, 0, 0])
                    .attribute(AttributeType::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0]);
            }
            builder.integrity(self.integrity, &self.key);
        })
    }
}

fn server(secret: &Secret, started: Instant) -> Server {
    Server::new(Config {
        secret: secret.clone(),
        key: [7; 32],
        relay: RelayAddresses {
            v4: Some(PEER.0.into()),
            v6: None,
            ports: 49_152..=65_535,
        },
        peers: Peers::Only(vec![PEER.into()]),
        quotas: Quotas {
            per_user: 10_000,
            per_prefix: 10_000,
            total: 10_000,
            bytes_per_second: u32::MAX,
        },
        bindings: Bindings::Ignore,
        started,
        unix: UnixSeconds(UNIX),
    })
}

fn transport(builder: &mut Builder<'_>) {
    builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
}

#[expect(clippy::disallowed_methods, reason = "an origin; time stands still in here")]
fn now() -> Instant {
    Instant::now()
}

fn benches(criterion: &mut Criterion) {
    let secret = Secret::new(b"secret");
    let start = now();
    let client_addr = ClientAddr::new(ClientTransport::Udp, ([198, 51, 100, 7], 50_000).into(), None);
    for (name, integrity) in [("sha1", Integrity::Sha1), ("sha256", Integrity::Sha256)] {
        let mut server = server(&secret, start);
        let mut client = Client::new(&secret, integrity);
        let challenge = client.request(Method::ALLOCATE, None, transport);
        server.handle_client_datagram(client_addr, &challenge, start);
        let (_, answer) = server.poll_transmit().expect("a challenge");
        let nonce = Message::parse(&answer)
            .expect("parses")
            .get(AttributeType::NONCE)
            .expect("a nonce")
            .to_vec();
        let allocate = client.request(Method::ALLOCATE, Some(&nonce), transport);
        let delete = client.request(Method::REFRESH, Some(&nonce), |builder| {
            builder.attribute(AttributeType::LIFETIME, &[0; 4]);
        });
        // Long after the last one, so that the budget for strangers is not what is measured.
        let mut at = start;
        criterion.bench_function(&format!("challenge, allocation and its end ({name})"), |bench| {
            bench.iter(|| {
                at += Duration::from_micros(1);
                server.handle_client_datagram(
                    ClientAddr::new(ClientTransport::Tcp, client_addr.remote(), None),
                    &challenge,
                    at,
                );
                server.handle_client_datagram(client_addr, &allocate, start);
                server.handle_client_datagram(client_addr, &delete, start);
                std::iter::from_fn(|| server.poll_transmit()).count()
            });
        });
        if integrity == Integrity::Sha1 {
            server.handle_client_datagram(client_addr, &allocate, start);
            let bind = client.request(Method::CHANNEL_BIND, Some(&nonce), |builder| {
                builder
                    .attribute(AttributeType::CHANNEL_NUMBER, &[0x40, 0, 0, 0])
                    .xor_address(AttributeType::XOR_PEER_ADDRESS, PEER.into());
            });
            server.handle_client_datagram(client_addr, &bind, start);
            while server.poll_transmit().is_some() {}
            let mut data = vec![0x40, 0, 0x04, 0xb0];
            data.resize(4 + 1_200, 1);
            let Outcome::Relay(relay) = server.handle_client_datagram(client_addr, &data, start) else {
                panic!("relayed");
            };
            let mut at = start;
            criterion.bench_function("a ChannelData message from a client", |bench| {
                bench.iter(|| {
                    at += Duration::from_micros(1);
                    server.handle_client_datagram(client_addr, &data, at)
                });
            });
            let mut buffer = [0; 1_300];
            criterion.bench_function("a payload to a client", |bench| {
                bench.iter(|| {
                    let to = server.to_client(relay.allocation, relay.peer, start)?;
                    to.framing.write(&mut buffer, 1_200)
                });
            });
        }
    }
    let mut server = server(&secret, start);
    let mut client = Client::new(&secret, Integrity::Sha1);
    let request = client.request(Method::ALLOCATE, None, transport);
    criterion.bench_function("a stranger over the budget", |bench| {
        bench.iter(|| {
            let outcome = server.handle_client_datagram(client_addr, &request, start);
            while server.poll_transmit().is_some() {}
            outcome
        });
    });
}

criterion_group!(relay, benches);
criterion_main!(relay);
