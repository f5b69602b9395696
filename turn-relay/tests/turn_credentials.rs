//! RFC 8489 §9.2 sentence by sentence: long-term credentials of two kinds. Quotations are the RFC's own.

mod support;

use housecall_turn::stun::{AttributeType, Class, Integrity, Method};
use housecall_turn::{Peers, UnixSeconds};
use support::{BOTH, Client, Lab, Style, UNIX, config, patient, secret};

// RFC 8489 §9.2.4: "If the message does not contain a MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 attribute, the server MUST
// generate an error response with an error code of 401 (Unauthenticated). This response MUST include a REALM value. The response
// MUST include a NONCE, selected by the server."
#[test]
fn a_stranger_is_challenged_and_nothing_is_kept() {
    let mut lab = Lab::hand_over();
    for method in [
        Method::ALLOCATE,
        Method::REFRESH,
        Method::CREATE_PERMISSION,
        Method::CHANNEL_BIND,
    ] {
        let mut client = patient(Style::Classic);
        let request = client.bare(method, |_| {});
        lab.raw(client.addr, &request);
        // A request of 20 bytes is too small for the whole answer, which is more than twice as large.
        assert!(lab.reply(client.addr).is_none());
        let request = client.bare(method, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        });
        lab.raw(client.addr, &request);
        let reply = lab.reply(client.addr).unwrap();
        assert_eq!((reply.class, reply.code), (Class::Error, 401));
        assert_eq!(reply.get(AttributeType::REALM).unwrap(), b"turn");
        // "If the server adds a PASSWORD-ALGORITHMS attribute, it MUST set the STUN Security Feature 'Password algorithms' bit to 1."
        assert!(reply.get(AttributeType::NONCE).unwrap().starts_with(b"obMatJos2gAAA"));
        assert_eq!(
            reply.get(AttributeType::PASSWORD_ALGORITHMS).unwrap(),
            [0, 2, 0, 0, 0, 1, 0, 0]
        );
        assert!(!reply.message().has_integrity() && reply.message().username().is_none());
        // Twice the request, as both are on the wire with IPv4 and UDP headers.
        assert!(
            reply.bytes.len() + 28 <= 2 * (request.len() + 28),
            "{} bytes",
            reply.bytes.len()
        );
    }
    assert_eq!(lab.server.allocations(), 0);
    assert_eq!(
        lab.server.poll_timeout(),
        None,
        "nothing is remembered that would have to be forgotten"
    );
}

// "The server MUST NOT choose the same NONCE for two requests unless they have the same source IP address and port."
#[test]
fn a_nonce_of_another_address_is_stale() {
    let mut lab = Lab::hand_over();
    let mut one = patient(Style::Modern);
    one.introduce(&mut lab);
    let mut other = Client::new("198.51.100.7:50001", "17", Style::Modern);
    other.introduce(&mut lab);
    assert_ne!(one.nonce, other.nonce);
    other.nonce.clone_from(&one.nonce);
    assert_eq!(other.allocate(&mut lab).code, 438);
}

// "If the message contains a MESSAGE-INTEGRITY or a MESSAGE-INTEGRITY-SHA256 attribute, but is missing either the USERNAME or
// USERHASH, REALM, or NONCE attribute, the server MUST generate an error response with an error code of 400 (Bad Request)."
#[test]
fn incomplete_credentials_are_a_bad_request() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.introduce(&mut lab);
    for missing in [AttributeType::USERNAME, AttributeType::REALM, AttributeType::NONCE] {
        let key = client.key();
        let request = client.bare(Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            for (kind, value) in [
                (AttributeType::USERNAME, client_username()),
                (AttributeType::REALM, b"turn".to_vec()),
                (AttributeType::NONCE, b"anything".to_vec()),
            ] {
                if kind != missing {
                    builder.attribute(kind, &value);
                }
            }
            builder.integrity(Integrity::Sha1, &key);
        });
        lab.raw(client.addr, &request);
        let reply = lab.reply(client.addr).unwrap();
        assert_eq!(reply.code, 400, "{missing:?}");
        // "This response SHOULD NOT include a USERNAME, USERHASH, NONCE, or REALM attribute."
        assert_eq!(reply.message().attributes().count(), 1);
    }
}

fn client_username() -> Vec<u8> {
    secret().mint("17", UnixSeconds(UNIX + 3_600)).username.into_bytes()
}

// "If the request contains neither the PASSWORD-ALGORITHMS nor the PASSWORD-ALGORITHM algorithm, then the request is processed as
// though PASSWORD-ALGORITHM were MD5. Otherwise, unless (1) PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS are both present, (2)
// PASSWORD-ALGORITHMS matches the value sent in the response that sent this NONCE, and (3) PASSWORD-ALGORITHM matches one of the
// entries in PASSWORD-ALGORITHMS, the server MUST generate an error response with an error code of 400 (Bad Request)."
#[test]
fn bidding_down_is_noticed() {
    const LIST: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];
    for (chosen, list, code) in [
        (Some(&[0, 2, 0, 0][..]), Some(&LIST[..]), 0),
        (Some(&[0, 2, 0, 0]), None, 400),
        (None, Some(&LIST), 400),
        (Some(&[0, 1, 0, 0]), Some(&LIST[4..]), 400),
        (Some(&[0, 2, 0, 0]), Some(&[0, 1, 0, 0, 0, 2, 0, 0]), 400),
        (Some(&[0, 3, 0, 0]), Some(&LIST), 400),
    ] {
        let mut lab = Lab::hand_over();
        let mut client = patient(Style::Modern);
        client.introduce(&mut lab);
        let key = client.key();
        let (username, realm, nonce) = (
            client.credentials.username.clone(),
            client.realm.clone(),
            client.nonce.clone(),
        );
        let request = client.bare(Method::ALLOCATE, |builder| {
            builder
                .attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
                .username(&username)
                .attribute(AttributeType::REALM, &realm)
                .attribute(AttributeType::NONCE, &nonce);
            if let Some(chosen) = chosen {
                builder.attribute(AttributeType::PASSWORD_ALGORITHM, chosen);
            }
            if let Some(list) = list {
                builder.attribute(AttributeType::PASSWORD_ALGORITHMS, list);
            }
            builder.integrity(Integrity::Sha256, &key);
        });
        lab.raw(client.addr, &request);
        let reply = lab.reply(client.addr).unwrap();
        assert_eq!(reply.code, code, "{chosen:?} {list:?}");
    }
}

// A client that names MD5 from the full list is served, with SHA-256 around its answers: "Any response generated by the server MUST
// include the MESSAGE-INTEGRITY-SHA256 attribute […] unless the request was processed as though PASSWORD-ALGORITHM was MD5 (because
// the request contained neither PASSWORD-ALGORITHMS nor PASSWORD-ALGORITHM)."
#[test]
fn md5_by_choice_is_answered_with_sha256() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.introduce(&mut lab);
    let key = client.key();
    let (username, realm, nonce) = (
        client.credentials.username.clone(),
        client.realm.clone(),
        client.nonce.clone(),
    );
    let request = client.bare(Method::ALLOCATE, |builder| {
        builder
            .attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
            .username(&username)
            .attribute(AttributeType::REALM, &realm)
            .attribute(AttributeType::NONCE, &nonce)
            .attribute(AttributeType::PASSWORD_ALGORITHM, &[0, 1, 0, 0])
            .attribute(AttributeType::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
            .integrity(Integrity::Sha256, &key);
    });
    lab.raw(client.addr, &request);
    let reply = lab.reply(client.addr).unwrap();
    assert_eq!(reply.message().verify_integrity(&key), Ok(Integrity::Sha256));
}

// "If the value of the USERNAME or USERHASH attribute is not valid, the server MUST generate an error response with an error code of
// 401 (Unauthenticated)." The same for a wrong password; and an expired username is not valid for anything new.
#[test]
fn wrong_expired_and_made_up_credentials() {
    for style in BOTH {
        let mut lab = Lab::hand_over();
        let mut client = patient(style);
        client.introduce(&mut lab);
        let good = client.credentials.clone();
        for (username, password) in [
            ("17".to_owned(), good.password.clone()),
            (good.username.clone(), "guess".to_owned()),
            (format!("{}:18", UNIX + 3_600), good.password.clone()),
            (format!("{}:17", UNIX + 7_200), good.password.clone()),
        ] {
            client.credentials.username = username;
            client.credentials.password = password;
            let reply = client.allocate(&mut lab);
            assert_eq!(reply.code, 401);
            assert!(reply.get(AttributeType::NONCE).is_some(), "and told how to do better");
        }
        client.credentials = secret().mint("17", UnixSeconds(UNIX - 1));
        assert_eq!(client.allocate(&mut lab).code, 401, "expired");
        client.credentials = good;
        assert_eq!(client.allocate(&mut lab).code, 0);
    }
}

// A visit outlives the credentials it began with: what was allocated with them can be kept.
#[test]
fn an_allocation_outlives_its_credentials_and_no_visit() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Modern);
    assert_eq!(client.allocate(&mut lab).code, 0);
    for _ in 0..8 {
        lab.pass(590);
        let reply = client.refresh(&mut lab, 600);
        if reply.code == 438 {
            client.learn(&reply);
            assert_eq!(client.refresh(&mut lab, 600).code, 0);
        }
    }
    let mut late = Client::new("198.51.100.7:50002", "17", Style::Modern);
    late.introduce(&mut lab);
    assert_eq!(late.allocate(&mut lab).code, 401, "nothing new with old credentials");
    while lab.server.allocations() == 1 {
        lab.pass(590);
        let reply = client.refresh(&mut lab, 600);
        if reply.code == 438 {
            client.learn(&reply);
            client.refresh(&mut lab, 600);
        }
    }
    let lived = lab.now.duration_since(Lab::hand_over().now).as_secs();
    assert!(
        (13 * 3_600 - 1_200..14 * 3_600).contains(&lived),
        "an hour, and twelve of grace: {lived} s"
    );
}

#[test]
fn the_public_relay_has_no_grace_and_follows_the_wall_clock() {
    let mut lab = Lab::new(config(Peers::Public {
        own: Vec::new(),
        denied: Vec::new(),
        allowed: Vec::new(),
    }));
    let mut client = patient(Style::Modern);
    client.allocate_public(&mut lab);
    lab.pass(60);
    // Good for an hour, by a clock that was found to be late.
    lab.server.set_unix(UnixSeconds(UNIX + 3_600), lab.now);
    assert_eq!(client.refresh(&mut lab, 600).code, 0, "the last second");
    lab.pass(1);
    assert_eq!(client.refresh(&mut lab, 600).code, 401);
    lab.server.set_unix(UnixSeconds(UNIX + 61), lab.now);
    assert_eq!(client.refresh(&mut lab, 600).code, 0, "and set back");
}

// "If the NONCE is no longer valid, the server MUST generate an error response with an error code of 438 (Stale Nonce). This response
// MUST include NONCE, REALM, and PASSWORD-ALGORITHMS attributes".
#[test]
fn a_nonce_gets_stale_and_is_renewed() {
    for style in BOTH {
        let mut lab = Lab::hand_over();
        let mut client = patient(style);
        client.credentials = secret().mint("17", UnixSeconds(UNIX + 100_000));
        client.introduce(&mut lab);
        lab.pass(3_601);
        let reply = client.allocate(&mut lab);
        assert_eq!(reply.code, 438);
        client.learn(&reply);
        assert_eq!(client.allocate(&mut lab).code, 0);
    }
}

// RFC 8489 §6.3.1: unknown comprehension-required attributes are 420 and listed. RFC 8656 §5 adds nothing for TURN.
#[test]
fn unknown_attributes_are_listed() {
    for style in BOTH {
        let mut lab = Lab::hand_over();
        let mut client = patient(style);
        client.introduce(&mut lab);
        let reply = client.allocate_with(&mut lab, |builder| {
            builder
                .attribute(AttributeType(0x7777), &[1, 2])
                .attribute(AttributeType(0x8777), &[1, 2])
                .attribute(AttributeType::USERHASH, &[0; 32]);
        });
        assert_eq!(reply.code, 420);
        let listed: Vec<_> = reply.message().unknown_attributes().collect();
        assert_eq!(listed, [AttributeType(0x7777), AttributeType::USERHASH]);
        assert_eq!(lab.server.allocations(), 0);
    }
}
