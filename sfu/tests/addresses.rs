//! How clients reach the server: over IPv4 and IPv6, on several addresses, and through a 1:1 NAT.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's way to fail")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clients have sockets, clocks and a runtime"
)]

mod support;

use std::net::IpAddr;

use housecall_sfu::{ParticipantId, PublishedTrack};
use support::peer::{H, Line, Peer};
use support::server::{PUBLISHER, Server, VIEWER, lines_for, without_faults};

const PUBLISHED: [Line; 2] = [Line::PublishAudio, Line::PublishSimulcast];

/// Addresses and ports of an answer's candidates in order, with their priorities.
fn candidates(answer: &str) -> Vec<(IpAddr, u16, u32)> {
    let first_section = answer.split("\r\nm=").nth(1).expect("a media section");
    first_section
        .lines()
        .filter_map(|line| line.strip_prefix("a=candidate:"))
        .map(|candidate| {
            let words: Vec<&str> = candidate.split(' ').collect();
            assert_eq!((words[2], words[6], words[7]), ("udp", "typ", "host"), "{candidate}");
            (
                words[4].parse().unwrap(),
                words[5].parse().unwrap(),
                words[3].parse().unwrap(),
            )
        })
        .collect()
}

fn addresses(answer: &str) -> Vec<IpAddr> {
    let candidates = candidates(answer);
    assert!(
        candidates.is_sorted_by(|(.., one), (.., next)| one > next),
        "the first is preferred: {candidates:?}"
    );
    candidates.into_iter().map(|(ip, ..)| ip).collect()
}

/// A picture and sound reach the viewer.
async fn plays(viewer: &Peer) {
    viewer.until("1", "720p", |inbox| inbox.viewer.frames_of(H) >= 60).await;
    viewer.until("0", "audio", |inbox| inbox.listener.packets >= 50).await;
    without_faults(viewer, "1");
}

async fn viewer_at(server: &Server, address: &str, tracks: &[PublishedTrack]) -> Peer {
    let viewer = Peer::at(address, &lines_for(tracks)).await;
    server.watch(VIEWER, &viewer, tracks).await;
    viewer
}

/// Where the server sees a participant.
async fn seen_at(server: &Server, participant: ParticipantId) -> IpAddr {
    server.stats(participant).await.remote.expect("a path").ip()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_ipv6() {
    let server = Server::listening("[::1]:0", &[]);
    let peer = Peer::at("[::1]:0", &PUBLISHED).await;
    let (_publisher, tracks) = server.publish(peer).await;
    let viewer = Peer::at("[::1]:0", &lines_for(&tracks)).await;
    let answer = server.join(VIEWER, &viewer).await;
    assert_eq!(addresses(&answer.sdp), ["::1".parse::<IpAddr>().unwrap()]);
    server.subscribe(VIEWER, &answer, &tracks);
    plays(&viewer).await;
    assert!(seen_at(&server, VIEWER).await.is_ipv6());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_socket_serves_ipv4_and_ipv6() {
    let server = Server::listening("[::]:0", &[]);
    let peer = Peer::at("127.0.0.1:0", &PUBLISHED).await;
    let (_publisher, tracks) = server.publish(peer).await;
    let viewer = Peer::at("[::1]:0", &lines_for(&tracks)).await;
    let answer = server.join(VIEWER, &viewer).await;
    let offered = addresses(&answer.sdp);
    for loopback in ["127.0.0.1", "::1"] {
        assert!(offered.contains(&loopback.parse().unwrap()), "{offered:?}");
    }
    server.subscribe(VIEWER, &answer, &tracks);
    plays(&viewer).await;
    assert_eq!(
        seen_at(&server, PUBLISHER).await,
        "127.0.0.1".parse::<IpAddr>().unwrap()
    );
    assert_eq!(seen_at(&server, VIEWER).await, "::1".parse::<IpAddr>().unwrap());
}

/// The first of them leads nowhere, as the address of a line that is down does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_public_addresses_are_offered_in_order_and_one_that_works_is_enough() {
    let public = ["192.0.2.1", "127.0.0.3", "127.0.0.2"].map(|address| address.parse().unwrap());
    let server = Server::listening("0.0.0.0:0", &public);
    let (_publisher, tracks) = server.publisher(&PUBLISHED).await;
    let viewer = Peer::at("127.0.0.1:0", &lines_for(&tracks)).await;
    let answer = server.join(VIEWER, &viewer).await;
    assert_eq!(addresses(&answer.sdp), public, "these and no others");
    for (_, port, _) in candidates(&answer.sdp) {
        assert_eq!(port, server.address.port());
    }
    server.subscribe(VIEWER, &answer, &tracks);
    plays(&viewer).await;
}

/// As in a cloud: the machine knows nothing of the public address it is reached at. Real kernels in between: the client, the NAT and the
/// server each have a network namespace.
#[test]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn through_a_one_to_one_nat() {
    use support::network::{Network, PUBLIC, SERVER};

    let network = match Network::new() {
        Ok(network) => network,
        Err(why) => {
            // The whole test run asks for it where it can be had, so that it is not left out without a word.
            let required = std::env::var_os("HOUSECALL_TEST_NAT").is_some_and(|value| value == "required");
            assert!(!required, "{why}");
            eprintln!("left out: {why}");
            return;
        }
    };
    let public = PUBLIC.map(|address| address.parse().unwrap());
    let server = network.in_server(move || Server::listening("0.0.0.0:0", &public));
    network.in_client(move |client| {
        let client = format!("{client}:0");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let peer = Peer::at(&client, &PUBLISHED).await;
            let (publisher, tracks) = server.publish(peer).await;
            let viewer = viewer_at(&server, &client, &tracks).await;
            plays(&viewer).await;
            let again = server.negotiate(VIEWER, &viewer).await;
            assert_eq!(addresses(&again.sdp), public);
            assert!(
                !again.sdp.contains(SERVER),
                "the address inside is nobody's business:\n{}",
                again.sdp
            );
            assert_eq!(format!("{}:0", seen_at(&server, VIEWER).await), client);
            publisher.leave().await;
        });
    });
}
