//! The client of the independent `turn` crate against this server, over real sockets on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use housecall_turn::{
    Bindings, ClientAddr, ClientTransport, Config, Framing, Outcome, Peers, Quotas, RelayAddresses, Secret, Server,
    UnixSeconds,
};
use tokio::net::UdpSocket;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn as _;

const PEER: &str = "203.0.113.5:443";
const UNIX: u64 = 1_800_000_000;

#[expect(
    clippy::disallowed_methods,
    reason = "real sockets need real time, and this is their driver"
)]
fn now() -> Instant {
    Instant::now()
}

/// How payload came and how its echo went back.
#[derive(Default, Debug, PartialEq, Eq)]
struct Seen {
    indications: u32,
    channel_data: u32,
}

/// Serves the socket with hand-over to a peer that sends everything back, its bytes reversed, until it has echoed `count` payloads.
async fn serve(socket: UdpSocket, mut server: Server, count: u32) -> Seen {
    let mut seen = Seen::default();
    let mut buffer = [0; 2_048];
    while seen.indications + seen.channel_data < count {
        let (len, from) = socket.recv_from(&mut buffer).await.expect("a datagram");
        let client = ClientAddr::new(ClientTransport::Udp, from, None);
        let outcome = server.handle_client_datagram(client, &buffer[..len], now());
        while let Some((to, bytes)) = server.poll_transmit() {
            socket.send_to(&bytes, to.remote()).await.expect("sent");
        }
        if let Outcome::Relay(relay) = outcome {
            let payload = &buffer[relay.payload];
            let back = server
                .to_client(relay.allocation, relay.peer, now())
                .expect("permitted");
            match back.framing {
                Framing::Indication { .. } => seen.indications += 1,
                Framing::Channel(_) => seen.channel_data += 1,
            }
            let head = back.framing.headroom();
            let mut wrapped = vec![0; head + payload.len() + Framing::MAX_TAIL];
            for (to, from) in wrapped[head..].iter_mut().zip(payload.iter().rev()) {
                *to = *from;
            }
            let len = back.framing.write(&mut wrapped, payload.len()).expect("it fits");
            socket
                .send_to(&wrapped[..len], back.client.remote())
                .await
                .expect("sent");
        }
        server.check();
    }
    seen
}

fn server(local: SocketAddr) -> (Server, Secret) {
    let secret = Secret::new(b"shared");
    let config = Config {
        secret: secret.clone(),
        key: [3; 32],
        relay: RelayAddresses {
            v4: match local.ip() {
                std::net::IpAddr::V4(v4) => Some(v4),
                std::net::IpAddr::V6(_) => None,
            },
            v6: None,
            ports: 49_152..=65_535,
        },
        peers: Peers::Only(vec![PEER.parse().unwrap()]),
        quotas: Quotas {
            per_user: 2,
            per_prefix: 100,
            total: 100,
            bytes_per_second: 1_000_000,
        },
        bindings: Bindings::Answer,
        started: now(),
        unix: UnixSeconds(UNIX),
    };
    (Server::new(config), secret)
}

#[tokio::test]
async fn the_client_of_another_project_allocates_sends_and_binds_a_channel() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let local = socket.local_addr().unwrap();
    let (server, secret) = server(local);
    let serving = tokio::spawn(serve(socket, server, 20));

    let credentials = secret.mint("17", UnixSeconds(UNIX + 60));
    let own = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let own_address = own.local_addr().unwrap();
    let client = Client::new(ClientConfig {
        stun_serv_addr: local.to_string(),
        turn_serv_addr: local.to_string(),
        username: credentials.username,
        password: credentials.password,
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(own),
        vnet: None,
    })
    .await
    .unwrap();
    client.listen().await.unwrap();
    assert_eq!(client.send_binding_request().await.unwrap(), own_address);
    let relayed = client.allocate().await.unwrap();
    assert_eq!(relayed.local_addr().unwrap().ip(), local.ip());

    let peer: SocketAddr = PEER.parse().unwrap();
    let mut buffer = [0; 2_048];
    for number in 0..20_u16 {
        let payload: Vec<u8> = (0..=number * 60).map(|byte| byte as u8).collect();
        relayed.send_to(&payload, peer).await.unwrap();
        let (len, from) = relayed.recv_from(&mut buffer).await.unwrap();
        assert_eq!(from, peer);
        let mut expected = payload;
        expected.reverse();
        assert_eq!(buffer[..len], expected, "payload {number}");
    }
    let seen = serving.await.unwrap();
    assert!(
        seen.indications > 0 && seen.channel_data > 0,
        "both ways were used: {seen:?}"
    );
}

#[tokio::test]
async fn wrong_credentials_and_forbidden_peers_are_errors_to_it() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let local = socket.local_addr().unwrap();
    let (server, secret) = server(local);
    let serving = tokio::spawn(serve(socket, server, 1));
    for (password, is_good) in [
        ("guess".to_owned(), false),
        (secret.mint("17", UnixSeconds(UNIX + 60)).password, true),
    ] {
        let client = Client::new(ClientConfig {
            stun_serv_addr: local.to_string(),
            turn_serv_addr: local.to_string(),
            username: secret.mint("17", UnixSeconds(UNIX + 60)).username,
            password,
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            conn: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
            vnet: None,
        })
        .await
        .unwrap();
        client.listen().await.unwrap();
        match client.allocate().await {
            Err(_) => assert!(!is_good),
            Ok(relayed) => {
                assert!(is_good);
                assert!(
                    relayed.send_to(b"x", "127.0.0.1:22".parse().unwrap()).await.is_err(),
                    "403"
                );
                relayed.send_to(b"x", PEER.parse().unwrap()).await.unwrap();
            }
        }
    }
    serving.await.unwrap();
}
