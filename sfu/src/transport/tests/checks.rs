//! ICE as the peer sees it: validation, nomination, consent, restarts, refusals.

use super::*;

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
fn a_path_whose_connection_is_gone_is_gone_at_once() {
    let mut pair = Pair::new();
    pair.connect();
    pair.check(path(2));
    pair.take_events();
    pair.server.handle_path_gone(path(2));
    assert_eq!(pair.take_events(), [TransportEvent::PathDropped(path(2))]);
    assert!(pair.server.is_connected(), "another is left");
    pair.server.handle_path_gone(path(1));
    assert_eq!(
        pair.take_events(),
        [TransportEvent::PathDropped(path(1)), TransportEvent::Disconnected]
    );
    pair.server.handle_path_gone(path(1));
    assert_eq!(pair.take_events(), [], "once");
    pair.check(path(3));
    assert_eq!(pair.server.selected_path(), Some(path(3)));
    assert!(pair.server.is_connected());
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
    assert_eq!(pair.server.ice.selected(), Some(path(1)));
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
    let (local, remote) = (
        generate_credentials(&mut Random::System, TAG),
        generate_credentials(&mut Random::System, TAG),
    );
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
    let (lost, lost_remote) = (
        generate_credentials(&mut Random::System, TAG),
        generate_credentials(&mut Random::System, TAG),
    );
    pair.server.restart_ice(lost, lost_remote, pair.now);
    pair.check(path(3));
    assert_eq!(
        pair.take_events(),
        [TransportEvent::NewPath(path(3)), TransportEvent::Reconnected],
        "the answer was lost: the client still has the first credentials"
    );
    let (local, remote) = (
        generate_credentials(&mut Random::System, TAG),
        generate_credentials(&mut Random::System, TAG),
    );
    pair.server.restart_ice(local.clone(), remote.clone(), pair.now);
    pair.check(path(3));
    pair.client.use_credentials(&local, &remote);
    pair.check(path(3));
    assert_eq!(pair.take_events(), []);
    assert!(pair.server.is_connected());
}

#[test]
fn waiting_datagrams_are_bounded() {
    let mut pair = Pair::new();
    for _ in 0..10 * MAX_PENDING_TRANSMITS {
        pair.check(path(1));
    }
    assert_eq!(pair.transmits().len(), MAX_PENDING_TRANSMITS);
}
