//! Whole connections in virtual time, with the DTLS library as client and hand-made checks.

use super::*;
use crate::ice::generate_credentials;
use crate::limits::{CONSENT_TIMEOUT, MAX_DATAGRAM, MAX_PATHS};
use crate::random::Random;
use crate::steering::Tag;
use client::{Check, Client, path};

const TAG: Tag = Tag(*b"tags");

mod checks;
pub(crate) mod client;
mod hostile;

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

    fn with_fingerprint(choose: impl FnOnce(&Client) -> Fingerprint) -> Self {
        let now = crate::clock::testing::start();
        let (local, remote) = (
            generate_credentials(&mut Random::System, TAG),
            generate_credentials(&mut Random::System, TAG),
        );
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
