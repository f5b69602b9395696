//! RFC 8656 sentence by sentence: allocations, permissions, channels and payload. Quotations are the RFC's own.

mod support;

use housecall_turn::stun::{AttributeType, Builder, Class, Method, TransactionId};
use housecall_turn::{Dropped, Fragments, Framing, Outcome, PeerAddr, UnixSeconds};
use support::{
    BOTH, CANDIDATES, Client, Exact as _, Lab, Style, UNIX, build, channel_data, channel_value, config, dropped,
    hand_over, patient, relayed, secret, send_indication,
};

// RFC 8656 §7.2: "The server then replies with a success response. The success response contains: an XOR-RELAYED-ADDRESS attribute […],
// a LIFETIME attribute […], an XOR-MAPPED-ADDRESS attribute containing the client's IP address and port (from the 5-tuple)."
#[test]
fn an_allocation() {
    for style in BOTH {
        let mut lab = Lab::hand_over();
        let mut client = patient(style);
        let reply = client.allocate(&mut lab);
        assert_eq!(reply.class, Class::Success);
        let [relayed] = reply.relayed()[..] else {
            panic!("one relayed address")
        };
        assert_eq!(relayed.ip().to_string(), "203.0.113.5");
        // "In all cases, the server SHOULD only allocate ports from the range 49152 - 65535".
        assert!(relayed.port() >= 49_152);
        assert_eq!(reply.number(AttributeType::LIFETIME), Some(600));
        assert_eq!(reply.message().xor_mapped_address(), Some(client.addr.remote()));
        assert_eq!(reply.get(AttributeType::RESERVATION_TOKEN), None);
        assert_eq!(lab.server.allocations(), 1);
    }
}

// §7.2: "The server checks if the 5-tuple is currently in use by an existing allocation. If yes, the server rejects the request with a
// 437 (Allocation Mismatch) error." A retransmission is no new request (§5: the server remembers or rebuilds its answer).
#[test]
fn allocate_is_idempotent_and_a_second_allocation_is_refused() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Modern);
    client.introduce(&mut lab);
    let request = client.signed(Method::ALLOCATE, |builder| {
        builder
            .attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
            .attribute(AttributeType::EVEN_PORT, &[0x80]);
    });
    let first = client.send(&mut lab, &request);
    assert_eq!(first.code, 0);
    for _ in 0..3 {
        assert_eq!(client.send(&mut lab, &request).bytes, first.bytes);
    }
    assert_eq!(lab.server.allocations(), 1);
    assert_eq!(client.allocate(&mut lab).code, 437);

    // Another user with the same transaction id on the same 5-tuple is no retransmission.
    client.credentials = secret().mint("18", UnixSeconds(UNIX + 3_600));
    let id = TransactionId([client.next_id - 1; 12]);
    let request = client.signed_as(id, Method::ALLOCATE, |builder| {
        builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    assert_eq!(client.send(&mut lab, &request).code, 437);
}

// §7.2: "If the REQUESTED-TRANSPORT attribute is not included or is malformed, the server rejects the request with a 400 (Bad Request)
// error. Otherwise, if the attribute is included but specifies a protocol that is not supported by the server, the server rejects the
// request with a 442 (Unsupported Transport Protocol) error."
#[test]
fn requested_transport() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.introduce(&mut lab);
    for (value, code) in [
        (None, 400),
        (Some(&[17, 0][..]), 400),
        (Some(&[6, 0, 0, 0]), 442),
        (Some(&[17, 0, 0, 0]), 0),
    ] {
        let reply = client.ask(&mut lab, Method::ALLOCATE, |builder| {
            if let Some(value) = value {
                builder.attribute(AttributeType::REQUESTED_TRANSPORT, value);
            }
        });
        assert_eq!(reply.code, code, "{value:?}");
    }
}

// §7.2, checks 5 to 9, each alone and in the combinations that are forbidden.
#[test]
fn families_even_ports_and_reservations() {
    use AttributeType as A;
    const V4: (AttributeType, &[u8]) = (A::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]);
    const V6: (AttributeType, &[u8]) = (A::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    const BOTH: (AttributeType, &[u8]) = (A::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    const EVEN: (AttributeType, &[u8]) = (A::EVEN_PORT, &[0]);
    const PAIR: (AttributeType, &[u8]) = (A::EVEN_PORT, &[0x80]);
    const TOKEN: (AttributeType, &[u8]) = (A::RESERVATION_TOKEN, &[1, 2, 3, 4, 5, 6, 7, 8]);
    for (attributes, code, addresses) in [
        (&[][..], 0, &[4][..]),
        (&[V4], 0, &[4]),
        (&[V6], 0, &[6]),
        (&[BOTH], 0, &[4, 6]),
        (&[EVEN], 0, &[4]),
        (&[EVEN, V6], 0, &[6]),
        (&[PAIR], 0, &[4]),
        (&[BOTH, EVEN], 0, &[4, 6]),
        // "it checks to see if the token is valid […]. If the token is not valid for some reason, […] 508 (Insufficient Capacity)".
        (&[TOKEN], 508, &[]),
        (&[TOKEN, EVEN], 400, &[]),
        (&[TOKEN, V4], 400, &[]),
        (&[TOKEN, BOTH], 400, &[]),
        (&[V4, BOTH], 400, &[]),
        (&[PAIR, BOTH], 400, &[]),
        // "If yes, and the attribute value is 0x01 (IPv4 address family), then the server rejects the request with a 400".
        (&[(A::ADDITIONAL_ADDRESS_FAMILY, &[1, 0, 0, 0])], 400, &[]),
        (&[(A::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0])], 440, &[]),
        (&[(A::REQUESTED_ADDRESS_FAMILY, &[1])], 400, &[]),
        (&[(A::RESERVATION_TOKEN, &[1])], 400, &[]),
        (&[(A::EVEN_PORT, &[])], 400, &[]),
        (&[(A::LIFETIME, &[1])], 400, &[]),
        (&[(A::DONT_FRAGMENT, &[])], 0, &[4]),
    ] {
        let mut lab = Lab::hand_over();
        let mut client = patient(Style::Modern);
        let reply = client.allocate_with(&mut lab, |builder| {
            for (kind, value) in attributes {
                builder.attribute(*kind, value);
            }
        });
        assert_eq!(reply.code, code, "{attributes:?}");
        let families: Vec<i32> = reply
            .relayed()
            .iter()
            .map(|ip| if ip.is_ipv4() { 4 } else { 6 })
            .collect();
        assert_eq!(families, addresses, "{attributes:?}");
        if attributes.contains(&EVEN) || attributes.contains(&PAIR) {
            assert!(reply.relayed().iter().all(|address| address.port().is_multiple_of(2)));
        }
        assert_eq!(
            reply.get(A::RESERVATION_TOKEN).is_some(),
            code == 0 && attributes.contains(&PAIR)
        );
    }
}

// "the server looks for a pair of port numbers N and N+1 on the same IP address, where N is even. Port N is used in the current
// allocation, while the relayed transport address with port N+1 is assigned a token and reserved for a future allocation. The server
// MUST hold this reservation for at least 30 seconds".
#[test]
fn a_reserved_port_is_held_for_thirty_seconds() {
    for (wait, code) in [(29, 0), (31, 508)] {
        let mut lab = Lab::hand_over();
        let mut client = patient(Style::Classic);
        let first = client.allocate_with(&mut lab, |builder| {
            builder.attribute(AttributeType::EVEN_PORT, &[0x80]);
        });
        let token = first.get(AttributeType::RESERVATION_TOKEN).unwrap();
        lab.pass(wait);
        // "The 5-tuple for the Allocate request containing the RESERVATION-TOKEN attribute can be any allowed 5-tuple".
        let mut second = Client::new("198.51.100.99:1", "18", Style::Modern);
        let reply = second.allocate_with(&mut lab, |builder| {
            builder.attribute(AttributeType::RESERVATION_TOKEN, &token);
        });
        assert_eq!(reply.code, code);
        if code == 0 {
            assert_eq!(reply.relayed()[0].port(), first.relayed()[0].port() + 1);
            let mut third = Client::new("198.51.100.98:1", "19", Style::Modern);
            let again = third.allocate_with(&mut lab, |builder| {
                builder.attribute(AttributeType::RESERVATION_TOKEN, &token);
            });
            assert_eq!(again.code, 508, "a token is good once");
        }
    }
}

// "If the REQUESTED-ADDRESS-FAMILY attribute is absent and the server does not support the IPv4 address family, the server MUST include
// […] 440 (Address Family not Supported)". "If the server can partially meet the request, […] then it includes ADDRESS-ERROR-CODE".
#[test]
fn a_server_with_one_family() {
    for (attributes, code, missing) in [
        (None, 0, None),
        (Some((AttributeType::REQUESTED_ADDRESS_FAMILY, 2)), 440, None),
        (
            Some((AttributeType::ADDITIONAL_ADDRESS_FAMILY, 2)),
            0,
            Some([2, 0, 4, 40]),
        ),
    ] {
        let mut only_v4 = config(hand_over());
        only_v4.relay.v6 = None;
        let mut lab = Lab::new(only_v4);
        let mut client = patient(Style::Modern);
        let reply = client.allocate_with(&mut lab, |builder| {
            if let Some((kind, family)) = attributes {
                builder.attribute(kind, &[family, 0, 0, 0]);
            }
        });
        assert_eq!(reply.code, code);
        let error = reply.get(AttributeType::ADDRESS_ERROR_CODE);
        assert_eq!(error.as_deref(), missing.as_ref().map(|code| &code[..]));
    }
    let mut only_v6 = config(hand_over());
    only_v6.relay.v4 = None;
    assert_eq!(patient(Style::Modern).allocate(&mut Lab::new(only_v6)).code, 440);
}

// "the server computes the minimum of the client's proposed lifetime and the server's maximum allowed lifetime. If this computed value
// is greater than the default lifetime, then the server uses the computed lifetime […]. Otherwise, the server uses the default".
#[test]
fn lifetimes() {
    for (asked, granted) in [
        (1, 600),
        (600, 600),
        (601, 601),
        (3_600, 3_600),
        (3_601, 3_600),
        (u32::MAX, 3_600),
        (0, 600),
    ] {
        let mut lab = Lab::hand_over();
        let mut client = patient(Style::Classic);
        let reply = client.allocate_with(&mut lab, |builder| {
            builder.attribute(AttributeType::LIFETIME, &asked.to_be_bytes());
        });
        assert_eq!(
            reply.number(AttributeType::LIFETIME),
            Some(granted),
            "asked for {asked}"
        );
        lab.pass(u64::from(granted) - 1);
        let reply = client.refresh(&mut lab, 700);
        assert!([0, 438].contains(&reply.code), "alive until the end");
    }
}

#[test]
fn an_allocation_ends_by_itself_and_gives_everything_back() {
    let mut config = config(hand_over());
    config.relay.ports = 50_000..=50_000;
    let mut lab = Lab::new(config);
    let mut client = patient(Style::Classic);
    assert_eq!(client.allocate(&mut lab).code, 0);
    let mut other = Client::new("198.51.100.8:1", "18", Style::Classic);
    assert_eq!(other.allocate(&mut lab).code, 508, "no port is left");
    lab.pass(599);
    assert_eq!(lab.server.allocations(), 1);
    let due = lab.server.poll_timeout().unwrap();
    assert!(due > lab.now && (due - lab.now).as_secs() <= 5);
    lab.pass(5);
    assert_eq!(lab.server.allocations(), 0);
    assert_eq!(client.refresh(&mut lab, 600).code, 437);
    assert_eq!(other.allocate(&mut lab).code, 0);
}

// §8.2: "If the 'desired lifetime' is zero, then the request succeeds and the allocation is deleted."
#[test]
fn refresh_renews_and_deletes() {
    for style in BOTH {
        let mut lab = Lab::hand_over();
        let mut client = patient(style);
        client.introduce(&mut lab);
        assert_eq!(client.refresh(&mut lab, 600).code, 437, "there is none");
        client.allocate(&mut lab);
        lab.pass(500);
        let reply = client.refresh(&mut lab, 1_000);
        assert_eq!((reply.code, reply.number(AttributeType::LIFETIME)), (0, Some(1_000)));
        lab.pass(900);
        let reply = client.ask(&mut lab, Method::REFRESH, |_| {});
        assert_eq!(
            (reply.code, reply.number(AttributeType::LIFETIME)),
            (0, Some(600)),
            "no LIFETIME is the default"
        );
        let reply = client.refresh(&mut lab, 0);
        assert_eq!((reply.code, reply.number(AttributeType::LIFETIME)), (0, Some(0)));
        assert_eq!(lab.server.allocations(), 0);
        assert_eq!(client.refresh(&mut lab, 0).code, 437);
        assert_eq!(client.allocate(&mut lab).code, 0, "the 5-tuple is free again");
    }
}

// §8.2: "If the server receives a Refresh Request with a REQUESTED-ADDRESS-FAMILY attribute, and the attribute's value does not match
// the address family of the allocation, the server MUST reply with a 443 (Peer Address Family Mismatch)".
#[test]
fn refresh_of_one_family_of_a_dual_allocation() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Modern);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    let mut refresh = |lab: &mut Lab, family: u8, lifetime: u32| {
        client
            .ask(lab, Method::REFRESH, |builder| {
                builder
                    .attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0])
                    .attribute(AttributeType::LIFETIME, &lifetime.to_be_bytes());
            })
            .code
    };
    assert_eq!(refresh(&mut lab, 3, 600), 443);
    assert_eq!(refresh(&mut lab, 1, 0), 0);
    assert_eq!(refresh(&mut lab, 1, 600), 443, "IPv4 is gone");
    assert_eq!(refresh(&mut lab, 2, 600), 0);
    assert_eq!(lab.server.allocations(), 1);
    assert_eq!(client.permit(&mut lab, &["203.0.113.5:443"]), 443);
    assert_eq!(client.permit(&mut lab, &["[2001:db8::5]:443"]), 0);
    assert_eq!(client.refresh(&mut lab, 0).code, 0);
    assert_eq!(lab.server.allocations(), 0);
}

// One family of a dual allocation that is not renewed ends alone.
#[test]
fn families_end_apart() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Modern);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    lab.pass(300);
    client.ask(&mut lab, Method::REFRESH, |builder| {
        builder.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    lab.pass(310);
    assert_eq!(client.permit(&mut lab, &["203.0.113.5:443"]), 443);
    assert_eq!(client.permit(&mut lab, &["[2001:db8::5]:443"]), 0);
    lab.pass(300);
    assert_eq!(lab.server.allocations(), 0);
}

// RFC 8656 §5: requests "other than an Allocate request […] to use the same username and password": 441 (Wrong Credentials), 437 without
// an allocation.
#[test]
fn an_allocation_belongs_to_its_username() {
    for style in BOTH {
        let mut lab = Lab::hand_over();
        let mut client = patient(style);
        client.introduce(&mut lab);
        assert_eq!(client.permit(&mut lab, &[CANDIDATES[0]]), 437);
        assert_eq!(client.bind(&mut lab, 0x4000, CANDIDATES[0]), 437);
        client.allocate(&mut lab);
        client.credentials = secret().mint("18", UnixSeconds(UNIX + 3_600));
        assert_eq!(client.permit(&mut lab, &[CANDIDATES[0]]), 441);
        assert_eq!(client.bind(&mut lab, 0x4000, CANDIDATES[0]), 441);
        assert_eq!(client.refresh(&mut lab, 0).code, 441);
        assert_eq!(lab.server.allocations(), 1);
    }
}

// §10.2: "The CreatePermission request MUST contain at least one XOR-PEER-ADDRESS attribute and MAY contain multiple such attributes. If
// no such attribute exists, or if any of these attributes are invalid, then a 400 (Bad Request) error is returned." "If an
// XOR-PEER-ADDRESS attribute contains an address of an address family that is not the same as that of a relayed transport address for
// the allocation, the server MUST generate an error response with the 443 (Peer Address Family Mismatch) response code."
#[test]
fn permissions() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.allocate(&mut lab);
    assert_eq!(client.permit(&mut lab, &[]), 400);
    let malformed = client.ask(&mut lab, Method::CREATE_PERMISSION, |builder| {
        builder.attribute(AttributeType::XOR_PEER_ADDRESS, &[0, 3, 1, 2, 3, 4, 5, 6]);
    });
    assert_eq!(malformed.code, 400);
    assert_eq!(
        client.permit(&mut lab, &[CANDIDATES[2]]),
        443,
        "this allocation is IPv4"
    );
    assert_eq!(client.permit(&mut lab, &[CANDIDATES[0], "198.51.100.50:443"]), 403);
    // All or none: the good address of a refused request was not permitted.
    let send = send_indication(CANDIDATES[0], b"x");
    assert_eq!(dropped(&lab.raw(client.addr, &send)), Some(Dropped::NoPermission));
    assert_eq!(client.permit(&mut lab, &[CANDIDATES[0], CANDIDATES[1]]), 0);
    assert!(relayed(&lab.raw(client.addr, &send), &send).is_some());
    // "The port portion of each attribute is ignored and may be any arbitrary value."
    assert_eq!(client.permit(&mut lab, &["203.0.113.5:0"]), 0);
}

// §9: "The Permission Lifetime MUST be 300 seconds (= 5 minutes)."
#[test]
fn a_permission_lives_for_five_minutes() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(AttributeType::LIFETIME, &3_600_u32.to_be_bytes());
    });
    client.permit(&mut lab, &[CANDIDATES[0]]);
    let send = send_indication(CANDIDATES[0], b"x");
    lab.pass(299);
    assert!(relayed(&lab.raw(client.addr, &send), &send).is_some());
    lab.pass(1);
    assert_eq!(
        dropped(&lab.raw(client.addr, &send)),
        Some(Dropped::NoPermission),
        "sending does not renew it"
    );
}

// §11.2: "The Send indication MUST contain both an XOR-PEER-ADDRESS attribute and a DATA attribute. If one of these attributes is missing
// or invalid, then the message is discarded." Data of any length, "even zero".
#[test]
fn send_indications() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Modern);
    let send = send_indication(CANDIDATES[0], b"hello");
    assert_eq!(dropped(&lab.raw(client.addr, &send)), Some(Dropped::NoAllocation));
    let own = client.allocate(&mut lab).relayed()[0];
    client.permit(&mut lab, &[CANDIDATES[0]]);
    let outcome = lab.raw(client.addr, &send);
    assert_eq!(
        relayed(&outcome, &send),
        Some((CANDIDATES[0].to_owned(), b"hello".to_vec()))
    );
    // "the source transport address is the relayed transport address of the allocation".
    let Outcome::Relay(relay) = outcome else { unreachable!() };
    assert_eq!(relay.relayed, own);
    let empty = send_indication(CANDIDATES[0], b"");
    assert_eq!(
        relayed(&lab.raw(client.addr, &empty), &empty),
        Some((CANDIDATES[0].to_owned(), Vec::new()))
    );

    // The address is permitted, the port is not that of a candidate.
    let wrong_port = send_indication("203.0.113.5:22", b"x");
    assert_eq!(dropped(&lab.raw(client.addr, &wrong_port)), Some(Dropped::Forbidden));
    let no_data = build(Class::Indication, Method::SEND, TransactionId([1; 12]), |builder| {
        builder.xor_address(AttributeType::XOR_PEER_ADDRESS, CANDIDATES[0].parse().unwrap());
    });
    assert_eq!(dropped(&lab.raw(client.addr, &no_data)), Some(Dropped::Malformed));
    let no_peer = build(Class::Indication, Method::SEND, TransactionId([1; 12]), |builder| {
        builder.attribute(AttributeType::DATA, b"x");
    });
    assert_eq!(dropped(&lab.raw(client.addr, &no_peer)), Some(Dropped::Malformed));
    let unknown = build(Class::Indication, Method::SEND, TransactionId([1; 12]), |builder| {
        builder
            .xor_address(AttributeType::XOR_PEER_ADDRESS, CANDIDATES[0].parse().unwrap())
            .attribute(AttributeType(0x7777), &[])
            .attribute(AttributeType::DATA, b"x");
    });
    assert_eq!(dropped(&lab.raw(client.addr, &unknown)), Some(Dropped::Malformed));
    assert!(lab.reply(client.addr).is_none(), "indications are never answered");
}

// §12.2, each check.
#[test]
fn channel_binding() {
    for style in BOTH {
        let mut lab = Lab::hand_over();
        let mut client = patient(style);
        client.allocate(&mut lab);
        let missing_peer = client.ask(&mut lab, Method::CHANNEL_BIND, |builder| {
            builder.attribute(AttributeType::CHANNEL_NUMBER, &channel_value(0x4000));
        });
        assert_eq!(missing_peer.code, 400);
        let missing_channel = client.ask(&mut lab, Method::CHANNEL_BIND, |builder| {
            builder.xor_address_exact(AttributeType::XOR_PEER_ADDRESS, CANDIDATES[0].parse().unwrap());
        });
        assert_eq!(missing_channel.code, 400);
        // "The channel number is in the range 0x4000 through 0x4FFF (inclusive)".
        for channel in [0, 0x3fff, 0x5000, 0x7fff, 0x8000, 0xffff] {
            assert_eq!(client.bind(&mut lab, channel, CANDIDATES[0]), 400, "{channel:#x}");
        }
        assert_eq!(client.bind(&mut lab, 0x4000, CANDIDATES[2]), 443);
        assert_eq!(client.bind(&mut lab, 0x4000, "203.0.113.7:443"), 403);
        assert_eq!(
            client.bind(&mut lab, 0x4000, "203.0.113.5:22"),
            403,
            "a candidate's address, another port"
        );
        assert_eq!(client.bind(&mut lab, 0x4000, CANDIDATES[0]), 0);
        assert_eq!(
            client.bind(&mut lab, 0x4000, CANDIDATES[0]),
            0,
            "the same again renews it"
        );
        assert_eq!(
            client.bind(&mut lab, 0x4000, CANDIDATES[1]),
            400,
            "the channel has another peer"
        );
        assert_eq!(
            client.bind(&mut lab, 0x4001, CANDIDATES[0]),
            400,
            "the peer has another channel"
        );
        assert_eq!(client.bind(&mut lab, 0x4fff, CANDIDATES[1]), 0);

        // "A ChannelBind transaction also creates or refreshes a permission towards the peer".
        let data = channel_data(0x4000, b"frame");
        assert_eq!(
            relayed(&lab.raw(client.addr, &data), &data),
            Some((CANDIDATES[0].to_owned(), b"frame".to_vec()))
        );
        // "If the ChannelData message is received on a channel that is not bound to any peer, then the message is silently discarded."
        let data = channel_data(0x4001, b"frame");
        assert_eq!(dropped(&lab.raw(client.addr, &data)), Some(Dropped::NoChannel));
    }
}

// §12: "A channel binding lasts for 10 minutes unless refreshed." And §12.6: "the receipt of a ChannelData message MUST NOT refresh either
// the channel binding or the permission towards the peer."
#[test]
fn a_channel_ends_after_ten_minutes_and_its_permission_after_five() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(AttributeType::LIFETIME, &3_600_u32.to_be_bytes());
    });
    client.bind(&mut lab, 0x4000, CANDIDATES[0]);
    let data = channel_data(0x4000, b"x");
    lab.pass(299);
    assert!(relayed(&lab.raw(client.addr, &data), &data).is_some());
    lab.pass(1);
    assert_eq!(dropped(&lab.raw(client.addr, &data)), Some(Dropped::NoPermission));
    client.permit(&mut lab, &[CANDIDATES[0]]);
    lab.pass(299);
    assert!(relayed(&lab.raw(client.addr, &data), &data).is_some());
    lab.pass(1);
    assert_eq!(dropped(&lab.raw(client.addr, &data)), Some(Dropped::NoChannel));
    // "Once unbound, the channel number can be bound to a different transport address".
    assert_eq!(client.bind(&mut lab, 0x4000, CANDIDATES[1]), 0);
    assert_eq!(client.bind(&mut lab, 0x4001, CANDIDATES[0]), 0);
}

// §11.3: "If relaying is permitted, then the server checks if there is a channel bound to the peer". §12.5: "The server, on the other hand,
// MUST use the ChannelData message if a channel has been bound to the peer."
#[test]
fn payload_on_its_way_back() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.allocate(&mut lab);
    client.permit(&mut lab, &[CANDIDATES[0]]);
    let send = send_indication(CANDIDATES[0], b"x");
    let Outcome::Relay(relay) = lab.raw(client.addr, &send) else {
        panic!("relayed")
    };
    let peer = relay.peer;
    let back = lab.server.to_client(relay.allocation, peer, lab.now).unwrap();
    assert_eq!(back.client, client.addr);
    assert!(matches!(back.framing, Framing::Indication { peer: from, .. } if from == peer));
    // "Note that only addresses are compared and port numbers are not considered."
    let other_port = PeerAddr::new("203.0.113.5:9".parse().unwrap());
    assert!(lab.server.to_client(relay.allocation, other_port, lab.now).is_some());
    let stranger = PeerAddr::new("203.0.113.9:443".parse().unwrap());
    assert!(lab.server.to_client(relay.allocation, stranger, lab.now).is_none());
    client.bind(&mut lab, 0x4123, CANDIDATES[0]);
    let back = lab.server.to_client(relay.allocation, peer, lab.now).unwrap();
    assert!(matches!(back.framing, Framing::Channel(channel) if channel.get() == 0x4123));
    lab.pass(300);
    assert!(
        lab.server.to_client(relay.allocation, peer, lab.now).is_none(),
        "no permission"
    );
    client.permit(&mut lab, &[CANDIDATES[0]]);
    assert!(lab.server.to_client(relay.allocation, peer, lab.now).is_some());
    client.refresh(&mut lab, 0);
    client.allocate(&mut lab);
    client.permit(&mut lab, &[CANDIDATES[0]]);
    assert!(
        lab.server.to_client(relay.allocation, peer, lab.now).is_none(),
        "a new allocation is not the old one"
    );
}

// Hand-over reaches the media server's own candidates and nothing else, however it is written.
#[test]
fn anything_but_a_candidate_is_forbidden_in_every_encoding() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    for peer in [
        "127.0.0.1:443",
        "0.0.0.0:443",
        "10.0.0.1:443",
        "169.254.169.254:80",
        "203.0.113.4:443",
        "255.255.255.255:443",
        "[::]:443",
        "[::1]:443",
        "[::ffff:203.0.113.5]:443",
        "[::203.0.113.5]:443",
        "[64:ff9b::203.0.113.5]:443",
        "[64:ff9b:1::203.0.113.5]:443",
        "[2002:cb00:7105::1]:443",
        "[2001:db8::6]:443",
        "[fe80::1]:443",
        "[ff02::1]:443",
    ] {
        assert_eq!(client.permit(&mut lab, &[peer]), 403, "{peer}");
        assert_eq!(client.bind(&mut lab, 0x4000, peer), 403, "{peer}");
        let send = send_indication(peer, b"x");
        assert_eq!(
            dropped(&lab.raw(client.addr, &send)),
            Some(Dropped::Forbidden),
            "{peer}"
        );
    }
    for candidate in CANDIDATES {
        assert_eq!(client.permit(&mut lab, &[candidate]), 0);
    }
}

// §11.2 and §18.9: what came with DONT-FRAGMENT leaves with the DF bit set. ChannelData has no place to ask for it.
#[test]
fn dont_fragment_is_passed_on() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.allocate(&mut lab);
    client.bind(&mut lab, 0x4000, CANDIDATES[0]);
    let mut buffer = [0; 128];
    let mut builder = Builder::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([9; 12]));
    builder
        .xor_address(AttributeType::XOR_PEER_ADDRESS, CANDIDATES[0].parse().unwrap())
        .attribute(AttributeType::DONT_FRAGMENT, &[])
        .attribute(AttributeType::DATA, b"x");
    let len = builder.finish().unwrap();
    for (message, expected) in [
        (&buffer[..len], Fragments::Forbidden),
        (&send_indication(CANDIDATES[0], b"x"), Fragments::Allowed),
        (&[0x40, 0, 0, 1, 7], Fragments::Allowed),
    ] {
        let Outcome::Relay(relay) = lab.raw(client.addr, message) else {
            panic!("relayed")
        };
        assert_eq!(relay.fragments, expected);
    }
}
