//! The general relay over real sockets, as its clients and their peers see it.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test over real sockets"
)]

#[path = "support/relay.rs"]
mod relay;

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use housecall_turn::stun::{AttributeType, Builder, Class, Message, Method, TransactionId};
use relay::{Client, Lab, PATIENCE, Reply, channel_data, message_of, payload, socket};

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

#[test]
fn a_connection_inherits_nothing_from_the_one_before_it_at_its_address() {
    let lab = Lab::open(&["127.0.0.1"], &[]);
    let mut client = Client::new(&lab, "17");
    client.nonce.clear();
    let open = || lab.connect();
    let mut before = open();
    let udp = [17, 0, 0, 0];
    let challenge = client.ask_over(&mut before, Method::ALLOCATE, &udp);
    client.nonce = challenge.message().get(AttributeType::NONCE).expect("a nonce").to_vec();
    assert_eq!(client.ask_over(&mut before, Method::ALLOCATE, &udp).code(), 0);
    assert_eq!(client.ask_over(&mut before, Method::REFRESH, &[]).code(), 0);
    // The end of the first is not seen before this one.
    let mut after = open();
    assert_eq!(client.ask_over(&mut after, Method::REFRESH, &[]).code(), 437);
    assert_eq!(client.ask_over(&mut after, Method::ALLOCATE, &udp).code(), 0);
    drop(before);
    assert_eq!(client.ask_over(&mut after, Method::REFRESH, &[]).code(), 0);
}

// A stream has no bound of its own on what a UDP datagram can hold.
#[test]
fn the_longest_datagrams_cross_from_and_to_a_connection() {
    let lab = Lab::open(&["127.0.0.1"], &["127.0.0.1"]);
    let mut client = Client::new(&lab, "17");
    client.nonce.clear();
    let mut link = lab.connect();
    let udp = [17, 0, 0, 0];
    let challenge = client.ask_over(&mut link, Method::ALLOCATE, &udp);
    client.nonce = challenge.message().get(AttributeType::NONCE).expect("a nonce").to_vec();
    let relayed = client.ask_over(&mut link, Method::ALLOCATE, &udp).relayed()[0];
    let peer = socket("127.0.0.1:0");
    let address = peer.local_addr().expect("bound");
    let bind = client.request(Method::CHANNEL_BIND, |builder| {
        builder
            .attribute(AttributeType::CHANNEL_NUMBER, &[0x40, 1, 0, 0])
            .xor_address(AttributeType::XOR_PEER_ADDRESS, address);
    });
    let mut message = channel_data(0x4001, &payload(1, 65_507));
    message.resize(message.len().next_multiple_of(4), 0);
    // Another thread, for it takes it as the relay does.
    let mut up = link.try_clone().expect("a descriptor");
    let writing = std::thread::spawn(move || {
        for bytes in [bind, message] {
            up.write_all(&bytes).expect("written");
        }
    });
    let mut buffer = vec![0; 65_536];
    let (len, from) = peer.recv_from(&mut buffer).expect("from the relay");
    assert_eq!((from, &buffer[..len]), (relayed, &payload(1, 65_507)[..]));
    writing.join().expect("no panic");
    peer.send_to(&payload(2, 65_507), relayed).expect("sent");
    assert_eq!(Reply(message_of(&mut link)).code(), 0, "the channel");
    let mut message = channel_data(0x4001, &payload(2, 65_507));
    message.resize(message.len().next_multiple_of(4), 0);
    assert!(message_of(&mut link) == message, "not as it was sent");
}

#[test]
fn datagrams_over_the_mtu_of_a_network_card_cross_unless_they_must_not() {
    let lab = Lab::open(&["127.0.0.1"], &["127.0.0.1"]);
    let mut client = Client::new(&lab, "17");
    let relayed = client.allocate(false)[0];
    let peer = socket("127.0.0.1:0");
    let address = peer.local_addr().expect("bound");
    assert_eq!(client.bind(0x4001, address), 0);
    let mut buffer = [0; 4_096];
    for number in 0..8 {
        client
            .socket
            .send(&channel_data(0x4001, &payload(number, 3_000)))
            .expect("sent");
        peer.send_to(&payload(number, 3_000), relayed).expect("sent");
    }
    for number in 0..8 {
        let (len, _) = peer.recv_from(&mut buffer).expect("from the relay");
        assert_eq!(buffer[..len], payload(number, 3_000));
        let len = client.socket.recv(&mut buffer).expect("from the relay");
        assert_eq!(buffer[..len], channel_data(0x4001, &payload(number, 3_000)));
    }
    // Loopback carries it whole.
    let mut builder = Builder::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([9; 12]));
    builder
        .xor_address(AttributeType::XOR_PEER_ADDRESS, address)
        .attribute(AttributeType::DONT_FRAGMENT, &[])
        .attribute(AttributeType::DATA, b"whole");
    let len = builder.finish().expect("it fits");
    client.socket.send(&buffer[..len]).expect("sent");
    let (len, from) = peer.recv_from(&mut buffer).expect("from the relay");
    assert_eq!((from, &buffer[..len]), (relayed, &b"whole"[..]));
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
