//! Whole connections in virtual time, with the DTLS library as client and hand-made checks.

use proptest::prelude::*;

use super::*;
use crate::ice::generate_credentials;
use crate::limits::{CONSENT_TIMEOUT, MAX_DATAGRAM, MAX_PATHS};
use client::{Check, Client, path};

mod client;

/// A server, its client, and the network between them.
struct Pair {
    server: Transport,
    client: Client,
    now: Instant,
    events: Vec<TransportEvent>,
}

impl Pair {
    fn new() -> Self {
        Self::with_fingerprint(|client| client.fingerprint())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an instant to begin at; virtual time runs from there"
    )]
    fn with_fingerprint(choose: impl FnOnce(&Client) -> Fingerprint) -> Self {
        let now = Instant::now();
        let (local, remote) = (generate_credentials(), generate_credentials());
        let client = Client::new(&local, &remote, now);
        let config = TransportConfig {
            local,
            remote,
            remote_fingerprint: choose(&client),
            certificate: Arc::new(Certificate::generate().unwrap()),
        };
        Self {
            server: Transport::new(config, now),
            client,
            now,
            events: Vec::new(),
        }
    }

    /// One check on `path`, answered.
    fn check(&mut self, path: Path) {
        self.check_with(path, &Check::default()).unwrap();
    }

    fn check_with(&mut self, path: Path, check: &Check) -> Result<(), StunRejected> {
        let request = self.client.check(check);
        let outcome = self.server.handle_stun(path, &request, self.now);
        self.collect();
        outcome
    }

    fn collect(&mut self) {
        while let Some(event) = self.server.poll_event() {
            self.events.push(event);
        }
    }

    fn take_events(&mut self) -> Vec<TransportEvent> {
        self.collect();
        std::mem::take(&mut self.events)
    }

    fn transmits(&mut self) -> Vec<(Path, Vec<u8>)> {
        let mut out = [0; MAX_DATAGRAM];
        std::iter::from_fn(|| {
            let (path, len) = self.server.poll_transmit(&mut out)?;
            Some((path, out[..len].to_vec()))
        })
        .collect()
    }

    /// Lets DTLS run on `path` for at most `limit`. `carry` says what becomes of each datagram: the delays after which it
    /// arrives, none for lost.
    fn run_dtls(&mut self, path: Path, limit: Duration, mut carry: impl FnMut() -> Vec<Duration>) {
        let end = self.now + limit;
        let mut flying: Vec<(Instant, bool, Vec<u8>)> = Vec::new();
        while self.now < end && !self.client.is_connected() {
            for datagram in self.client.poll_dtls(self.now) {
                flying.extend(
                    carry()
                        .into_iter()
                        .map(|delay| (self.now + delay, true, datagram.clone())),
                );
            }
            for (_, datagram) in self.transmits() {
                flying.extend(
                    carry()
                        .into_iter()
                        .map(|delay| (self.now + delay, false, datagram.clone())),
                );
            }
            let timeouts = [self.client.poll_timeout(), self.server.poll_timeout().map(|(at, _)| at)];
            let next = flying
                .iter()
                .map(|(at, ..)| *at)
                .chain(timeouts.into_iter().flatten())
                .min();
            self.now = next.unwrap_or(end).max(self.now);
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            let due: Vec<_> = flying.extract_if(.., |(at, ..)| *at <= self.now).collect();
            for (_, to_server, datagram) in due {
                if to_server {
                    let _ = self.server.handle_dtls(path, &datagram, self.now);
                } else {
                    self.client.handle_dtls(&datagram, self.now);
                }
            }
            self.collect();
        }
        for datagram in self.client.poll_dtls(self.now) {
            let _ = self.server.handle_dtls(path, &datagram, self.now);
        }
        self.collect();
    }

    fn connect(&mut self) {
        self.check(path(1));
        self.run_dtls(path(1), Duration::from_secs(5), || vec![Duration::from_millis(10)]);
        assert!(self.client.is_connected() && self.server.is_connected());
        self.transmits();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.server.poll_timeout().filter(|(at, _)| *at <= end) {
            assert!(at > self.now || self.server.poll_timeout().is_some());
            self.now = at.max(self.now);
            self.server.handle_timeout(self.now);
        }
        self.now = end;
        self.server.handle_timeout(self.now);
        self.collect();
    }
}

fn connected(events: &[TransportEvent]) -> Option<(Profile, Duration)> {
    events.iter().find_map(|event| match event {
        TransportEvent::Connected { profile, handshake } => Some((*profile, *handshake)),
        _ => None,
    })
}

#[test]
fn a_browser_connects_in_one_round_trip_and_media_flows_both_ways() {
    let mut pair = Pair::new();
    assert_eq!(pair.server.selected_path(), None);
    pair.check(path(1));
    assert_eq!(pair.server.selected_path(), Some(path(1)));
    let answers = pair.transmits();
    assert_eq!(answers.len(), 1);
    assert_eq!(pair.client.mapped_address(&answers[0].1), Some(path(1).remote()));
    assert_eq!(answers[0].0, path(1));

    let start = pair.now;
    pair.run_dtls(path(1), Duration::from_secs(5), || vec![Duration::from_millis(50)]);
    // Hello out, hello back, keys out: the server is done after three half trips, the client after four.
    assert_eq!(pair.now - start, Duration::from_millis(200));
    let events = pair.take_events();
    assert_eq!(events[0], TransportEvent::NewPath(path(1)));
    assert_eq!(
        connected(&events),
        Some((Profile::AeadAes256Gcm, Duration::from_millis(150)))
    );
    assert!(pair.server.is_connected());

    let (mut opener, mut sealer) = pair.client.srtp();
    let mut rtp = vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5];
    let plain = rtp.clone();
    rtp.resize(plain.len() + srtp::MAX_RTP_OVERHEAD, 0);
    let len = sealer.seal_rtp(&mut rtp, plain.len(), 12).unwrap();
    assert_eq!(pair.server.open_rtp(&mut rtp[..len], 12), Ok(plain.len()));
    assert_eq!(rtp[..plain.len()], plain);
    let len = pair.server.seal_rtp(&mut rtp, plain.len(), 12).unwrap();
    assert_eq!(opener.open_rtp(&mut rtp[..len], 12), Ok(plain.len()));

    let mut rtcp = vec![0x80, 201, 0, 1, 0, 0, 0, 7];
    rtcp.resize(8 + srtp::MAX_RTCP_OVERHEAD, 0);
    let len = pair.server.seal_rtcp(&mut rtcp, 8).unwrap();
    assert_eq!(opener.open_rtcp(&mut rtcp[..len]), Ok(8));
    let len = sealer.seal_rtcp(&mut rtcp, 8).unwrap();
    assert_eq!(pair.server.open_rtcp(&mut rtcp[..len]), Ok(8));
}

#[test]
fn nothing_opens_or_seals_before_the_handshake() {
    let mut pair = Pair::new();
    pair.check(path(1));
    assert_eq!(pair.server.open_rtp(&mut [0x80; 60], 12), Err(OpenError::NotReady));
    assert_eq!(pair.server.open_rtcp(&mut [0x80; 60]), Err(OpenError::NotReady));
    assert_eq!(pair.server.seal_rtp(&mut [0x80; 60], 40, 12), Err(SealError::NotReady));
    assert_eq!(pair.server.seal_rtcp(&mut [0x80; 60], 40), Err(SealError::NotReady));
    assert!(!pair.server.is_connected());
}

#[test]
fn dtls_is_heard_only_from_a_validated_path() {
    let mut pair = Pair::new();
    let hello = pair.client.poll_dtls(pair.now);
    assert!(hello.iter().all(|datagram| {
        pair.server.handle_dtls(path(1), datagram, pair.now) == Err(DtlsRejected::UnvalidatedPath)
    }));
    pair.check(path(1));
    pair.transmits();
    for datagram in &hello {
        let refused = pair.server.handle_dtls(path(2), datagram, pair.now);
        assert_eq!(refused, Err(DtlsRejected::UnvalidatedPath));
    }
    assert!(
        pair.transmits().is_empty(),
        "no amplification towards an address that proved nothing"
    );
    for datagram in &hello {
        assert_eq!(pair.server.handle_dtls(path(1), datagram, pair.now), Ok(()));
    }
    assert!(!pair.transmits().is_empty());
}

#[test]
fn the_hello_in_two_datagrams_in_any_order() {
    for swap in [false, true] {
        let mut pair = Pair::new();
        pair.check(path(1));
        pair.transmits();
        let hello = pair.client.poll_dtls(pair.now);
        let mut parts = client::split_hello(&hello[0], 50);
        if swap {
            parts.reverse();
        }
        assert_eq!(pair.server.handle_dtls(path(1), &parts[0], pair.now), Ok(()));
        assert!(pair.transmits().is_empty(), "half a hello");
        assert_eq!(pair.server.handle_dtls(path(1), &parts[1], pair.now), Ok(()));
        assert!(!pair.transmits().is_empty(), "the whole hello, swapped: {swap}");
    }
}

#[test]
fn another_certificate_than_the_sdps_is_refused() {
    let mut pair = Pair::with_fingerprint(|_| Certificate::generate().unwrap().fingerprint());
    pair.check(path(1));
    pair.run_dtls(path(1), Duration::from_secs(2), || vec![Duration::from_millis(10)]);
    let events = pair.take_events();
    assert_eq!(connected(&events), None);
    assert_eq!(
        events,
        [
            TransportEvent::NewPath(path(1)),
            TransportEvent::PathDropped(path(1)),
            TransportEvent::Closed(CloseReason::WrongFingerprint),
        ]
    );
    assert_eq!(pair.server.open_rtp(&mut [0x80; 60], 12), Err(OpenError::NotReady));
    assert_eq!(
        pair.server.handle_dtls(path(1), &[22; 20], pair.now),
        Err(DtlsRejected::Closed)
    );
    assert_eq!(pair.check_with(path(1), &Check::default()), Err(StunRejected::Closed));
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn a_transport_that_never_connects_closes() {
    let mut pair = Pair::new();
    assert_eq!(pair.server.poll_timeout().unwrap().0, pair.now + CONNECT_TIMEOUT);
    pair.wait(CONNECT_TIMEOUT - Duration::from_millis(1));
    assert_eq!(pair.take_events(), []);
    pair.wait(Duration::from_millis(1));
    assert_eq!(
        pair.take_events(),
        [TransportEvent::Closed(CloseReason::ConnectTimeout)]
    );

    // Also with checks, but no DTLS.
    let mut pair = Pair::new();
    for _ in 0..6 {
        if pair.check_with(path(1), &Check::default()).is_ok() {
            pair.wait(Duration::from_secs(5));
        }
    }
    assert_eq!(
        pair.take_events().last(),
        Some(&TransportEvent::Closed(CloseReason::ConnectTimeout))
    );
}

#[test]
fn consent_is_lost_after_silence_and_returns_with_a_check() {
    let mut pair = Pair::new();
    pair.connect();
    for _ in 0..20 {
        pair.check(path(1));
        pair.wait(Duration::from_secs(5));
        assert!(pair.server.is_connected());
    }
    pair.take_events();
    pair.check(path(1));
    pair.wait(CONSENT_TIMEOUT - Duration::from_millis(1));
    assert_eq!(pair.take_events(), []);
    pair.wait(Duration::from_millis(1));
    assert_eq!(
        pair.take_events(),
        [TransportEvent::PathDropped(path(1)), TransportEvent::Disconnected]
    );
    assert!(!pair.server.is_connected());
    assert_eq!(pair.server.selected_path(), None);
    pair.wait(Duration::from_secs(3_600));
    assert_eq!(pair.take_events(), [], "the owner decides how long to wait");

    pair.check(path(2));
    assert_eq!(
        pair.take_events(),
        [TransportEvent::NewPath(path(2)), TransportEvent::Reconnected]
    );
    assert!(pair.server.is_connected());
    assert_eq!(pair.server.selected_path(), Some(path(2)));
}

#[test]
fn only_authenticated_checks_keep_consent() {
    let mut pair = Pair::new();
    pair.connect();
    pair.take_events();
    let start = pair.now;
    while pair.now < start + CONSENT_TIMEOUT {
        let forged = Check {
            password: Some("another password of length"),
            ..Check::default()
        };
        assert_eq!(pair.check_with(path(1), &forged), Err(StunRejected::Unauthenticated));
        pair.wait(Duration::from_secs(2));
    }
    assert!(pair.take_events().contains(&TransportEvent::Disconnected));
}

#[test]
fn the_nominated_path_is_used_and_before_that_the_one_dtls_comes_from() {
    let mut pair = Pair::new();
    pair.check(path(1));
    pair.check(path(2));
    assert_eq!(pair.server.selected_path(), Some(path(1)), "the first valid one");
    let hello = pair.client.poll_dtls(pair.now);
    pair.server.handle_dtls(path(2), &hello[0], pair.now).unwrap();
    assert_eq!(pair.server.selected_path(), Some(path(2)), "where the peer sends from");

    pair.check_with(
        path(1),
        &Check {
            nominate: true,
            ..Check::default()
        },
    )
    .unwrap();
    assert_eq!(pair.server.selected_path(), Some(path(1)));
    pair.server.handle_dtls(path(2), &hello[0], pair.now).unwrap();
    pair.check(path(2));
    assert_eq!(pair.server.selected_path(), Some(path(1)), "nominated stays nominated");
    pair.check_with(
        path(2),
        &Check {
            nominate: true,
            ..Check::default()
        },
    )
    .unwrap();
    assert_eq!(pair.server.selected_path(), Some(path(2)), "until another is");

    // The nominated one dies, the other goes on.
    for _ in 0..8 {
        pair.check(path(1));
        pair.now += Duration::from_secs(4);
        pair.server.ice.handle_timeout(pair.now);
    }
    assert_eq!(pair.server.selected_path(), Some(path(1)));
}

#[test]
fn paths_are_bounded_and_the_one_unused_for_longest_goes() {
    let mut pair = Pair::new();
    pair.check_with(
        path(0),
        &Check {
            nominate: true,
            ..Check::default()
        },
    )
    .unwrap();
    for number in 1..MAX_PATHS as u16 {
        pair.now += Duration::from_millis(1);
        pair.check(path(number));
    }
    pair.check(path(1));
    pair.take_events();
    pair.check(path(100));
    assert_eq!(
        pair.take_events(),
        [TransportEvent::PathDropped(path(2)), TransportEvent::NewPath(path(100))],
        "not the nominated one, though it is older"
    );
    for number in 200..1_000 {
        pair.now += Duration::from_millis(1);
        pair.check(path(number));
        pair.transmits();
    }
    let added = 800;
    assert_eq!(pair.take_events().len(), 2 * added);
    assert_eq!(pair.server.selected_path(), Some(path(0)));
}

#[test]
fn a_check_sent_again_gets_the_same_answer() {
    let mut pair = Pair::new();
    let request = pair.client.check(&Check::default());
    for _ in 0..3 {
        pair.server.handle_stun(path(1), &request, pair.now).unwrap();
        pair.now += Duration::from_millis(100);
    }
    let answers = pair.transmits();
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(pair.take_events(), [TransportEvent::NewPath(path(1))]);
}

#[test]
fn answers_show_the_address_of_the_path_plainly() {
    let mut pair = Pair::new();
    for remote in ["192.0.2.7:5000", "[2001:db8::7]:5000", "[::ffff:192.0.2.7]:5000"] {
        let path = Path::udp(remote.parse().unwrap(), None);
        pair.check(path);
        let answers = pair.transmits();
        assert_eq!(
            pair.client.mapped_address(&answers[0].1),
            Some(path.remote()),
            "{remote}"
        );
    }
    assert_eq!(pair.take_events().len(), 2, "the mapped form is the same path");
}

#[test]
fn refusals_by_the_book() {
    let mut pair = Pair::new();
    for (check, rejected, code, protected) in [
        // RFC 8489 §9.1.3: no credentials at all, wrong ones.
        (
            Check {
                without_integrity: true,
                ..Check::default()
            },
            StunRejected::Unauthenticated,
            400,
            false,
        ),
        (
            Check {
                username: Some(""),
                ..Check::default()
            },
            StunRejected::Unauthenticated,
            400,
            false,
        ),
        (
            Check {
                username: Some("who:ever"),
                ..Check::default()
            },
            StunRejected::Unauthenticated,
            401,
            false,
        ),
        (
            Check {
                username: Some("nocolon"),
                ..Check::default()
            },
            StunRejected::Unauthenticated,
            401,
            false,
        ),
        (
            Check {
                password: Some("another password of length"),
                ..Check::default()
            },
            StunRejected::Unauthenticated,
            401,
            false,
        ),
        // RFC 8489 §6.3.1: an unknown attribute that must be understood.
        (
            Check {
                extra: Some(0x7777),
                ..Check::default()
            },
            StunRejected::Refused,
            420,
            true,
        ),
        // RFC 8445 §7.3.1.1: both controlled; we are lite and stay so.
        (
            Check {
                controlled: true,
                ..Check::default()
            },
            StunRejected::Refused,
            487,
            true,
        ),
    ] {
        assert_eq!(pair.check_with(path(1), &check), Err(rejected), "{code}");
        let answers = pair.transmits();
        assert_eq!(pair.client.error(&answers[0].1), Some((code, protected)));
        assert!(!pair.server.ice.is_valid(path(1)), "{code} validated the path");
    }
    assert_eq!(pair.take_events(), []);

    // An unknown attribute that may be ignored is; SHA-256 integrity is answered in kind.
    pair.check_with(
        path(1),
        &Check {
            extra: Some(0xc057),
            ..Check::default()
        },
    )
    .unwrap();
    pair.check_with(
        path(1),
        &Check {
            sha256: true,
            ..Check::default()
        },
    )
    .unwrap();
    let answers = pair.transmits();
    assert!(
        answers
            .iter()
            .all(|(_, answer)| pair.client.mapped_address(answer).is_some())
    );
}

#[test]
fn what_is_no_request_is_not_answered() {
    let mut pair = Pair::new();
    let good = pair.client.check(&Check::default());
    let mut broken = good.clone();
    *broken.last_mut().unwrap() ^= 1;
    let indication = client::binding(Class::Indication);
    let response = client::binding(Class::Success);
    for (datagram, rejected) in [
        (&b"hello"[..], StunRejected::Malformed),
        (&good[..good.len() - 1], StunRejected::Malformed),
        (&broken, StunRejected::Malformed),
        (&indication, StunRejected::NotARequest),
        (&response, StunRejected::NotARequest),
    ] {
        assert_eq!(pair.server.handle_stun(path(1), datagram, pair.now), Err(rejected));
    }
    assert_eq!(pair.transmits(), []);
}

#[test]
fn the_ufrag_of_a_check_names_its_transport() {
    let mut pair = Pair::new();
    let check = pair.client.check(&Check::default());
    assert_eq!(stun_local_ufrag(&check), Some(pair.client.server_ufrag()));
    for datagram in [
        &b"hello"[..],
        &client::binding(Class::Indication),
        &client::binding(Class::Request),
    ] {
        assert_eq!(stun_local_ufrag(datagram), None);
    }
}

#[test]
fn an_ice_restart_keeps_dtls_and_moves_to_the_new_path() {
    let mut pair = Pair::new();
    pair.connect();
    pair.take_events();
    let old = Check::default();
    let (local, remote) = (generate_credentials(), generate_credentials());
    pair.server.restart_ice(local.clone(), remote.clone(), pair.now);

    // The answer is still on its way to the client.
    pair.check_with(path(1), &old).unwrap();
    assert_eq!(pair.server.selected_path(), Some(path(1)));
    let stale = pair.client.check(&old);

    pair.client.use_credentials(&local, &remote);
    pair.check(path(2));
    assert_eq!(
        pair.server.selected_path(),
        Some(path(2)),
        "the client says where it is now"
    );
    let refused = pair.server.handle_stun(path(1), &stale, pair.now);
    assert_eq!(
        refused,
        Err(StunRejected::Unauthenticated),
        "the old credentials are spent"
    );
    assert!(pair.server.ice.is_valid(path(1)), "what is under way still arrives");
    pair.check_with(
        path(2),
        &Check {
            nominate: true,
            ..Check::default()
        },
    )
    .unwrap();
    assert_eq!(
        pair.take_events(),
        [TransportEvent::NewPath(path(2)), TransportEvent::PathDropped(path(1))]
    );
    assert!(pair.server.is_connected());

    let (_, mut sealer) = pair.client.srtp();
    let mut rtp = vec![0x80; 12 + srtp::MAX_RTP_OVERHEAD];
    let len = sealer.seal_rtp(&mut rtp, 12, 12).unwrap();
    assert_eq!(pair.server.open_rtp(&mut rtp[..len], 12), Ok(12), "same keys");
}

#[test]
fn an_ice_restart_revives_after_darkness_and_again_before_any_check() {
    let mut pair = Pair::new();
    pair.connect();
    pair.wait(Duration::from_secs(120));
    assert!(pair.take_events().contains(&TransportEvent::Disconnected));
    let (lost, lost_remote) = (generate_credentials(), generate_credentials());
    pair.server.restart_ice(lost, lost_remote, pair.now);
    pair.check(path(3));
    assert_eq!(
        pair.take_events(),
        [TransportEvent::NewPath(path(3)), TransportEvent::Reconnected],
        "the answer was lost: the client still has the first credentials"
    );
    let (local, remote) = (generate_credentials(), generate_credentials());
    pair.server.restart_ice(local.clone(), remote.clone(), pair.now);
    pair.check(path(3));
    pair.client.use_credentials(&local, &remote);
    pair.check(path(3));
    assert_eq!(pair.take_events(), []);
    assert!(pair.server.is_connected());
}

#[test]
fn goodbyes_from_either_side() {
    let mut pair = Pair::new();
    pair.connect();
    pair.take_events();
    let goodbye = pair.client.close(pair.now);
    let _ = pair.server.handle_dtls(path(1), &goodbye[0], pair.now);
    assert_eq!(
        pair.take_events(),
        [
            TransportEvent::PathDropped(path(1)),
            TransportEvent::Closed(CloseReason::ClosedByPeer)
        ]
    );
    assert_eq!(pair.transmits().len(), 1, "goodbye in return");
    assert_eq!(pair.server.open_rtp(&mut [0x80; 60], 12), Err(OpenError::NotReady));

    let mut pair = Pair::new();
    pair.connect();
    pair.take_events();
    pair.server.close();
    let out = pair.transmits();
    assert_eq!(out.len(), 1);
    pair.client.handle_dtls(&out[0].1, pair.now);
    assert!(pair.client.was_closed());
    assert_eq!(
        pair.take_events().last(),
        Some(&TransportEvent::Closed(CloseReason::ClosedByUs))
    );
    pair.server.close();
    assert_eq!(pair.take_events(), []);
    assert_eq!(pair.transmits(), []);
}

#[test]
fn waiting_datagrams_are_bounded() {
    let mut pair = Pair::new();
    for _ in 0..10 * MAX_PENDING_TRANSMITS {
        pair.check(path(1));
    }
    assert_eq!(pair.transmits().len(), MAX_PENDING_TRANSMITS);
}

/// A small generator, so that a seed names a network.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn handshakes_survive_loss_duplication_and_reordering() {
    let mut slowest = Duration::ZERO;
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut pair = Pair::new();
        pair.check(path(1));
        pair.transmits();
        let start = pair.now;
        pair.run_dtls(path(1), Duration::from_secs(25), || {
            let copies = match dice.roll(100) {
                0..20 => 0,
                20..30 => 2,
                _ => 1,
            };
            (0..copies).map(|_| Duration::from_millis(5 + dice.roll(60))).collect()
        });
        assert!(pair.client.is_connected() && pair.server.is_connected(), "seed {seed}");
        slowest = slowest.max(pair.now - start);
    }
    assert!(slowest < Duration::from_secs(20), "slowest handshake {slowest:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever a stranger or the peer sends, at any stage: no panic, no unbounded queue, no time in the past.
    #[test]
    fn hostile_datagrams_do_no_harm(
        connect: bool,
        packets in prop::collection::vec(
            (0_u8..7, prop::collection::vec(any::<u8>(), 0..200), any::<prop::sample::Index>(), 0_u64..3_000), 1..60),
    ) {
        let mut pair = Pair::new();
        if connect {
            pair.connect();
        } else {
            pair.check(path(1));
        }
        let mut hello = pair.client.poll_dtls(pair.now);
        for (kind, mut bytes, index, wait) in packets {
            match kind {
                0 => { let _ = pair.server.handle_stun(path(1), &bytes, pair.now); }
                1 => { let _ = pair.server.handle_dtls(path(1), &bytes, pair.now); }
                // A changed byte in a good check.
                2 => {
                    let mut check = pair.client.check(&Check::default());
                    // Behind the integrity lies FINGERPRINT, which is not needed.
                    let at = index.index(check.len() - 8);
                    check[at] ^= 1 + bytes.len() as u8;
                    prop_assert!(pair.server.handle_stun(path(3), &check, pair.now).is_err());
                }
                // A handshake record with a random body.
                3 => {
                    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, index.index(256) as u8, 0, bytes.len() as u8];
                    record.append(&mut bytes);
                    let _ = pair.server.handle_dtls(path(1), &record, pair.now);
                }
                // A changed byte in a good hello.
                4 => if let Some(mut datagram) = hello.pop() {
                    let at = index.index(datagram.len());
                    datagram[at] ^= 1 + bytes.len() as u8;
                    let _ = pair.server.handle_dtls(path(1), &datagram, pair.now);
                },
                5 => {
                    let mut packet = [&[0x80, 96][..], &bytes].concat();
                    prop_assert!(pair.server.open_rtp(&mut packet, 12).is_err());
                    prop_assert!(pair.server.open_rtcp(&mut packet).is_err());
                }
                _ => pair.wait(Duration::from_millis(wait)),
            }
            if let Some((at, _)) = pair.server.poll_timeout() {
                pair.server.handle_timeout(at.min(pair.now));
                if at <= pair.now {
                    prop_assert!(pair.server.poll_timeout().is_none_or(|(at, _)| at > pair.now), "busy loop");
                }
            }
            pair.collect();
            prop_assert!(pair.transmits().len() <= MAX_PENDING_TRANSMITS);
        }
        let closed = pair.events.iter().filter(|event| matches!(event, TransportEvent::Closed(_))).count();
        prop_assert!(closed <= 1);
    }
}
