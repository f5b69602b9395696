//! Bounds: what users, strangers and whole prefixes can have of a server, and what the public relay does when ports run out.

mod support;

use std::net::IpAddr;

use housecall_turn::stun::{AttributeType, Class, Method, TransactionId};
use housecall_turn::{
    Bindings, ClientAddr, ClientTransport, Config, Dropped, Network, Opened, Outcome, Peers, Quotas, RelayCommand,
    UnixSeconds,
};
use support::{
    CANDIDATES, Client, Lab, Style, UNIX, build, channel_data, config, dropped, hand_over, patient, quotas, relayed,
    secret,
};

// §7.2: "the server MAY choose to reject the request with a 486 (Allocation Quota Reached) error […] it SHOULD define it based on the
// username used to authenticate the request and not on the client's transport address."
#[test]
fn quotas_of_users_prefixes_and_all() {
    let mut config = config(hand_over());
    config.quotas = Quotas {
        per_user: 2,
        per_prefix: 5,
        total: 7,
        ..quotas()
    };
    let mut lab = Lab::new(config);
    let ask = |lab: &mut Lab, address: &str, id: &str| {
        let mut client = Client::new(address, id, Style::Modern);
        // Credentials of another hour are the same user.
        client.credentials = secret().mint(id, UnixSeconds(UNIX + 3_600 + u64::from(client.addr.remote().port())));
        client.allocate(lab).code
    };
    assert_eq!(ask(&mut lab, "198.51.100.1:1", "a"), 0);
    assert_eq!(ask(&mut lab, "192.0.2.1:2", "a"), 0);
    assert_eq!(ask(&mut lab, "192.0.2.1:3", "a"), 486, "from anywhere");
    for port in 1..=4 {
        assert_eq!(ask(&mut lab, &format!("198.51.100.9:{port}"), &port.to_string()), 0);
    }
    assert_eq!(ask(&mut lab, "198.51.100.10:1", "x"), 486, "this /24 has five");
    assert_eq!(ask(&mut lab, "192.0.2.9:1", "x"), 0);
    assert_eq!(ask(&mut lab, "192.0.2.9:2", "y"), 508, "there are seven");
    lab.server.end_user("a");
    assert_eq!(lab.server.allocations(), 5);
    assert_eq!(ask(&mut lab, "198.51.100.10:1", "a"), 0, "all quotas were given back");
}

#[test]
fn bandwidth_over_the_quota_is_lost() {
    let mut config = config(hand_over());
    config.quotas.bytes_per_second = 10_000;
    let mut lab = Lab::new(config);
    let mut client = patient(Style::Classic);
    client.allocate(&mut lab);
    client.bind(&mut lab, 0x4000, CANDIDATES[0]);
    let data = channel_data(0x4000, &[0; 1_000]);
    let passed = |lab: &mut Lab| {
        (0..20)
            .filter(|_| relayed(&lab.raw(client.addr, &data), &data).is_some())
            .count()
    };
    assert_eq!(passed(&mut lab), 10);
    assert_eq!(dropped(&lab.raw(client.addr, &data)), Some(Dropped::Bandwidth));
    lab.pass(1);
    assert_eq!(passed(&mut lab), 10);
}

// A visit that ends takes its allocations with it.
#[test]
fn a_user_can_be_ended() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.allocate(&mut lab);
    client.bind(&mut lab, 0x4000, CANDIDATES[0]);
    lab.server.end_user("18");
    assert_eq!(lab.server.allocations(), 1);
    lab.server.end_user("17");
    assert_eq!(lab.server.allocations(), 0);
    let data = channel_data(0x4000, b"x");
    assert_eq!(dropped(&lab.raw(client.addr, &data)), Some(Dropped::NoAllocation));
}

#[test]
fn strangers_share_a_budget_and_streams_do_not() {
    let mut lab = Lab::hand_over();
    let mut answers = 0;
    for port in 1..=5_000 {
        let mut stranger = Client::new(&format!("198.51.100.{}:{port}", port % 250), "x", Style::Classic);
        let request = stranger.bare(Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        });
        lab.raw(stranger.addr, &request);
        answers += usize::from(lab.reply(stranger.addr).is_some());
    }
    assert_eq!(answers, 1_000);
    assert_eq!(lab.server.take_counters().over_budget, 4_000);
    let mut elsewhere = patient(Style::Classic);
    elsewhere.addr = ClientAddr::new(ClientTransport::Tls, "198.51.100.3:9".parse().unwrap(), None);
    assert_eq!(elsewhere.allocate(&mut lab).code, 0);
}

#[test]
fn the_queue_of_answers_has_a_bound() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    let request = client.bare(Method::ALLOCATE, |builder| {
        builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    let outcomes: Vec<_> = (0..600).map(|_| lab.raw(client.addr, &request)).collect();
    assert_eq!(
        outcomes.iter().filter(|outcome| **outcome == Outcome::Request).count(),
        512
    );
    assert_eq!(dropped(&outcomes[599]), Some(Dropped::Busy));
    assert_eq!(std::iter::from_fn(|| lab.server.poll_transmit()).count(), 512);
}

#[test]
fn binding_requests_are_answered_only_when_asked_for() {
    for (bindings, answered) in [(Bindings::Ignore, false), (Bindings::Answer, true)] {
        let mut config = config(hand_over());
        config.bindings = bindings;
        let mut lab = Lab::new(config);
        let mut client = patient(Style::Classic);
        let request = client.bare(Method::BINDING, |_| {});
        lab.raw(client.addr, &request);
        let reply = lab.reply(client.addr);
        assert_eq!(reply.is_some(), answered);
        if let Some(reply) = reply {
            assert_eq!(reply.message().xor_mapped_address(), Some(client.addr.remote()));
            assert!(reply.bytes.len() <= 2 * request.len());
        }
    }
}

#[test]
fn what_is_no_turn_is_left_alone() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    client.allocate(&mut lab);
    for bytes in [
        &[][..],
        &[0x50, 0, 0, 0],
        &[0x80; 40],
        &[0x16, 3, 1],
        &[0x40, 0, 0],
        &[0; 20],
        // A response, an unknown method, a Data indication: clients send none of these.
        &build(Class::Success, Method::ALLOCATE, TransactionId([1; 12]), |_| {}),
        &build(
            Class::Request,
            Method::new(0x0a).unwrap(),
            TransactionId([1; 12]),
            |_| {},
        ),
        &build(Class::Indication, Method::DATA, TransactionId([1; 12]), |_| {}),
        &build(Class::Indication, Method::BINDING, TransactionId([1; 12]), |_| {}),
    ] {
        assert!(
            matches!(lab.raw(client.addr, bytes), Outcome::Dropped(_)),
            "{bytes:02x?}"
        );
        assert!(lab.reply(client.addr).is_none());
    }
    // A fingerprint that does not fit is another protocol or a damaged message.
    let mut damaged = client.bare(Method::ALLOCATE, |builder| {
        builder
            .attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
            .fingerprint();
    });
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(dropped(&lab.raw(client.addr, &damaged)), Some(Dropped::Malformed));
}

// RFC 8489 §14.7: whoever uses FINGERPRINT is answered with it.
#[test]
fn fingerprints_are_returned() {
    let mut lab = Lab::hand_over();
    let mut client = patient(Style::Classic);
    let request = client.bare(Method::ALLOCATE, |builder| {
        builder
            .attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
            .fingerprint();
    });
    lab.raw(client.addr, &request);
    let reply = lab.reply(client.addr).unwrap();
    assert_eq!(reply.message().fingerprint(), housecall_turn::stun::Fingerprint::Valid);
}

#[test]
fn limits_of_one_allocation() {
    let mut config = config(Peers::Public {
        own: Vec::new(),
        denied: Vec::new(),
        allowed: (1..=40).map(|last| IpAddr::from([10, 0, 0, last]).into()).collect(),
    });
    config.quotas.per_user = 1;
    let mut lab = Lab::new(config);
    let mut client = patient(Style::Classic);
    client.introduce(&mut lab);
    let request = client.signed(Method::ALLOCATE, |builder| {
        builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    lab.raw(client.addr, &request);
    let Some(RelayCommand::Open { allocation, relayed }) = lab.server.poll_relay() else {
        panic!("a socket is asked for")
    };
    assert!(lab.reply(client.addr).is_none(), "no answer before the socket is there");
    lab.raw(client.addr, &request);
    assert!(
        lab.reply(client.addr).is_none() && lab.server.poll_relay().is_none(),
        "nor for a retransmission"
    );
    lab.server.relay_opened(allocation, relayed, Opened::Yes, lab.now);
    assert_eq!(lab.reply(client.addr).unwrap().relayed(), [relayed]);

    for last in 1..=40_u16 {
        let code = client.bind(&mut lab, 0x4000 + last, &format!("10.0.0.{last}:5000"));
        assert_eq!(code, if last <= 32 { 0 } else { 508 }, "channel {last}");
    }
    let peers: Vec<String> = (1..=33).map(|last| format!("10.0.0.{last}:5000")).collect();
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    assert_eq!(client.permit(&mut lab, &peers), 508);
    lab.server.end_user("17");
    assert_eq!(lab.server.poll_relay(), Some(RelayCommand::Close { relayed }));
}

#[test]
fn a_port_that_cannot_be_opened_is_no_allocation() {
    let mut lab = Lab::new(config(Peers::Public {
        own: Vec::new(),
        denied: Vec::new(),
        allowed: Vec::new(),
    }));
    let mut client = patient(Style::Modern);
    client.introduce(&mut lab);
    // How often a port was asked for: each time another, until there were tries enough.
    for (dual, opens, code, addresses, asked) in [
        (false, [false, false], 508, 0, 4),
        (true, [false, false], 508, 0, 5),
        (true, [true, false], 0, 1, 5),
        (false, [true, false], 0, 1, 1),
    ] {
        let request = client.signed(Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            if dual {
                builder.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
            }
        });
        lab.raw(client.addr, &request);
        let (mut refused, mut times) = (Vec::new(), 0);
        while let Some(RelayCommand::Open { allocation, relayed }) = lab.server.poll_relay() {
            assert!(!refused.contains(&relayed), "another one");
            let opened = match opens[usize::from(relayed.is_ipv6())] {
                true => Opened::Yes,
                false => Opened::No,
            };
            refused.push(relayed);
            times += 1;
            lab.server.relay_opened(allocation, relayed, opened, lab.now);
            lab.server.check();
        }
        let reply = lab.reply(client.addr).unwrap();
        assert_eq!((reply.code, reply.relayed().len(), times), (code, addresses, asked));
        lab.server.end_user("17");
        while lab.server.poll_relay().is_some() {}
    }
}

// EVEN-PORT asks for one port in particular: another would be no answer to it.
#[test]
fn an_even_port_that_cannot_be_opened_has_no_substitute() {
    let mut lab = Lab::new(config(Peers::Public {
        own: Vec::new(),
        denied: Vec::new(),
        allowed: Vec::new(),
    }));
    let mut client = patient(Style::Modern);
    client.introduce(&mut lab);
    let request = client.signed(Method::ALLOCATE, |builder| {
        builder
            .attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
            .attribute(AttributeType::EVEN_PORT, &[0x80]);
    });
    lab.raw(client.addr, &request);
    let Some(RelayCommand::Open { allocation, relayed }) = lab.server.poll_relay() else {
        panic!("a socket is asked for")
    };
    lab.server.relay_opened(allocation, relayed, Opened::No, lab.now);
    assert_eq!(lab.reply(client.addr).unwrap().code, 508);
    lab.server.check();
}

// §18.7: a port in reserve waits for an allocation, and is as much of a client's share as one.
#[test]
fn a_port_in_reserve_counts_as_an_allocation() {
    let mut lab = Lab::new(Config {
        quotas: Quotas {
            per_user: 3,
            ..config(Peers::Only(Vec::new())).quotas
        },
        ..config(Peers::Only(Vec::new()))
    });
    let mut next = 0;
    let mut allocate = |lab: &mut Lab, kind, value: &[u8]| {
        next += 1;
        let mut client = Client::new(&format!("198.51.100.{next}:1"), "17", Style::Modern);
        client.allocate_with(lab, |builder| {
            builder.attribute(kind, value);
        })
    };
    let (even, token) = (AttributeType::EVEN_PORT, AttributeType::RESERVATION_TOKEN);
    let first = allocate(&mut lab, even, &[0x80]);
    assert_eq!(first.code, 0);
    assert_eq!(allocate(&mut lab, even, &[0x80]).code, 486, "two more would be four");
    assert_eq!(allocate(&mut lab, even, &[0]).code, 0);
    assert_eq!(allocate(&mut lab, even, &[0]).code, 486);
    // What was counted is what is now taken up.
    let reserved = first.get(token).unwrap();
    assert_eq!(allocate(&mut lab, token, &reserved).code, 0);
    assert_eq!(allocate(&mut lab, even, &[0]).code, 486);
    lab.server.end_user("17");
    let again = allocate(&mut lab, even, &[0x80]);
    assert_eq!(again.code, 0);
    lab.server.end_user("17");
    assert_eq!(allocate(&mut lab, even, &[0x80]).code, 0, "one is still held");
    lab.pass(31);
    lab.server.end_user("17");
    lab.server.check();
}

#[test]
fn a_system_without_descriptors_is_asked_once() {
    let mut lab = Lab::new(config(Peers::Public {
        own: Vec::new(),
        denied: Vec::new(),
        allowed: Vec::new(),
    }));
    let mut client = patient(Style::Modern);
    client.introduce(&mut lab);
    lab.server.take_counters();
    for (opened, code) in [(Opened::Exhausted, 508), (Opened::Exhausted, 508), (Opened::Yes, 0)] {
        let request = client.signed(Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        });
        lab.raw(client.addr, &request);
        let Some(RelayCommand::Open { allocation, relayed }) = lab.server.poll_relay() else {
            panic!("a socket is asked for")
        };
        lab.server.relay_opened(allocation, relayed, opened, lab.now);
        assert_eq!(lab.server.poll_relay(), None, "no other port is tried");
        assert_eq!(lab.reply(client.addr).unwrap().code, code);
        lab.server.check();
    }
    let counters = lab.server.take_counters();
    assert_eq!((counters.exhausted, counters.refused), (2, 2));
}

#[test]
fn a_peer_in_a_network_that_has_become_our_own_is_cut_off() {
    let public = |own| Peers::Public {
        own,
        denied: Vec::new(),
        allowed: Vec::new(),
    };
    let mut lab = Lab::new(config(public(Vec::new())));
    let mut client = patient(Style::Modern);
    assert_eq!(client.allocate_public(&mut lab).code, 0);
    let (near, far) = ("198.41.0.7:5000", "198.41.1.7:5000");
    assert_eq!(client.bind(&mut lab, 0x4000, near), 0);
    assert_eq!(client.bind(&mut lab, 0x4001, far), 0);
    let addr = client.addr;
    let relays = |lab: &mut Lab, channel: u8| {
        let outcome = lab.raw(addr, &[0x40, channel, 0, 1, 7]);
        matches!(outcome, Outcome::Relay(_))
    };
    assert!(relays(&mut lab, 0) && relays(&mut lab, 1));
    let own = Network::around("198.41.0.1".parse().unwrap(), 24);
    lab.server.set_own(vec![own]);
    assert!(!relays(&mut lab, 0) && relays(&mut lab, 1));
    lab.server.check();
    assert_eq!(client.bind(&mut lab, 0x4000, near), 403);
    lab.server.set_own(Vec::new());
    assert_eq!(client.bind(&mut lab, 0x4000, near), 0);
    assert!(relays(&mut lab, 0));
}
