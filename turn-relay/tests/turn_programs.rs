//! The whole relay under random programs, and the deny table under every range.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use housecall_turn::{Network, Peers, deny, fuzzing};
use proptest::prelude::*;
use support::{Client, Lab, Style, config};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_programs_break_no_rule(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzzing::turn(&data);
    }

    /// Mostly sensible: challenges first, then requests, payload and time.
    #[test]
    fn sensible_programs_break_no_rule(
        mode in 0_u8..8,
        steps in prop::collection::vec((0_u8..4, 0_u8..9, any::<bool>(), 0_u8..24, any::<u8>(), 0_u8..10), 1..60),
    ) {
        let mut data = vec![mode, 0x01, 0x41, 0x81, 0xc1];
        for (who, op, modern, flags, amount, peer) in steps {
            data.push(who << 6 | u8::from(modern) << 4 | op);
            data.extend([flags, amount, peer, peer / 2, 0]);
        }
        fuzzing::turn(&data);
    }

    #[test]
    fn streams_cut_anywhere_give_the_same_messages(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::framing(&data);
        fuzzing::channel_data(&data);
    }

    #[test]
    fn streams_of_small_numbers_too(
        words in prop::collection::vec(prop::sample::select(vec![0_u16, 1, 4, 0x4000, 0x2112, 0xa442, 0x1603]), 0..60),
    ) {
        let data: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
        fuzzing::framing(&data);
        fuzzing::channel_data(&data);
    }

    /// Every denied block, at its edges and anywhere inside, in the server and not only in the table.
    #[test]
    fn no_address_of_a_special_range_can_be_a_peer(block in 0..deny::DENIED.len(), inside: u128) {
        let block = &deny::DENIED[block];
        let mut lab = public();
        for bits in [0, u128::MAX, inside] {
            let ip = within(block, bits);
            prop_assert!(block.network.contains(ip) && deny::is_denied(ip), "{ip} ({})", block.purpose);
            prop_assert_eq!(permit(&mut lab, ip), 403, "{} ({})", ip, block.purpose);
        }
    }

    /// Any IPv4 address in any form that carries it inside an IPv6 one.
    #[test]
    fn no_ipv4_address_can_be_reached_through_ipv6(bits: u32, low: u16, local: u64) {
        let v4 = Ipv4Addr::from_bits(bits);
        let [a, b, c, d] = v4.octets();
        let (high, low16) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let mut lab = public();
        for v6 in [
            v4.to_ipv6_mapped(),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low16),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low16),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low16),
            Ipv6Addr::new(0x64, 0xff9b, 1, low, 0, 0, high, low16),
            Ipv6Addr::new(0x2002, high, low16, low, 0, 0, 0, local as u16),
            Ipv6Addr::new(0x2001, 0, 1, 2, 3, low, !high, !low16),
            Ipv6Addr::new(0x2a00, local as u16, 1, low, 0, 0x5efe, high, low16),
            Ipv6Addr::new(0x2a00, local as u16, 1, low, 0x200, 0x5efe, high, low16),
        ] {
            prop_assert_eq!(permit(&mut lab, v6.into()), 403, "{}", v6);
        }
    }

    /// What is not denied is global unicast of its family.
    #[test]
    fn what_is_allowed_is_global(bits: u128) {
        let v6 = Ipv6Addr::from_bits(bits);
        if !deny::is_denied(v6.into()) {
            prop_assert!(v6.segments()[0] >> 13 == 1 && !v6.is_loopback() && !v6.is_multicast());
        }
        let v4 = Ipv4Addr::from_bits(bits as u32);
        if !deny::is_denied(v4.into()) {
            prop_assert!(!(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()));
            prop_assert!(!(v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified()));
        }
    }
}

fn within(block: &deny::Block, bits: u128) -> IpAddr {
    match block.network.first {
        IpAddr::V4(network) => {
            let host = u32::MAX.checked_shr(block.network.prefix.into()).unwrap_or(0);
            Ipv4Addr::from_bits(network.to_bits() | (bits as u32 & host)).into()
        }
        IpAddr::V6(network) => {
            let host = u128::MAX.checked_shr(block.network.prefix.into()).unwrap_or(0);
            Ipv6Addr::from_bits(network.to_bits() | (bits & host)).into()
        }
    }
}

/// A public relay with a dual allocation of one client.
fn public() -> (Lab, Client) {
    public_with(Peers::Public {
        own: vec![IpAddr::from([192, 0, 9, 9]).into()],
        denied: Vec::new(),
        allowed: Vec::new(),
    })
}

fn public_with(peers: Peers) -> (Lab, Client) {
    let mut config = config(peers);
    // Not of a documentation range: the relay's own address can be a peer.
    config.relay.v4 = Some([198, 41, 0, 77].into());
    config.relay.v6 = Some("2a00:1450::77".parse().unwrap());
    let mut lab = Lab::new(config);
    let mut client = Client::new("198.51.100.7:50000", "17", Style::Classic);
    client.allocate_public(&mut lab);
    (lab, client)
}

fn permit((lab, client): &mut (Lab, Client), ip: IpAddr) -> u16 {
    client.permit(lab, &[&std::net::SocketAddr::new(ip, 443).to_string()])
}

#[test]
fn ordinary_addresses_can_be_peers_and_our_own_cannot() {
    let mut lab = public();
    for (ip, code) in [
        ("8.8.8.8", 0),
        ("1.1.1.1", 0),
        ("198.41.0.4", 0),
        ("2a00:1450:4001::1", 0),
        ("2606:4700::1111", 0),
        ("192.0.9.9", 403),
        ("0.0.0.0", 403),
        ("255.255.255.255", 403),
    ] {
        assert_eq!(permit(&mut lab, ip.parse().unwrap()), code, "{ip}");
    }
    // Two clients of this relay may meet at their relayed addresses; the rest of this machine stays out of reach.
    let (mut lab, mut client) = lab;
    let mut other = Client::new("198.51.100.8:50000", "18", Style::Classic);
    let relayed = other.allocate_public(&mut lab).relayed()[0];
    assert_eq!(client.bind(&mut lab, 0x4000, &relayed.to_string()), 0);
    let not_relayed = if relayed.port() == 65_535 {
        65_534
    } else {
        relayed.port() + 1
    };
    assert_eq!(
        client.bind(&mut lab, 0x4001, &format!("{}:{not_relayed}", relayed.ip())),
        403
    );
    assert_eq!(client.bind(&mut lab, 0x4001, &format!("{}:443", relayed.ip())), 403);
}

#[test]
fn neighbours_are_no_peers_unless_allowed_and_what_is_denied_never_is() {
    let network = |text: &str, prefix| Network::around(text.parse().unwrap(), prefix);
    let mut lab = public_with(Peers::Public {
        // The relay's own address is in the network that it stands in, as everywhere.
        own: vec![network("198.41.0.77", 24), network("2a00:1450::77", 64)],
        denied: vec![network("9.9.0.0", 16), network("10.8.1.0", 24)],
        allowed: vec![network("10.8.0.0", 16), network("198.41.0.128", 28)],
    });
    for (ip, code) in [
        ("198.41.1.4", 0),
        ("198.41.0.4", 403),
        ("198.41.0.127", 403),
        ("198.41.0.128", 0),
        ("2a00:1450::1", 403),
        ("2a00:1450:0:1::1", 0),
        ("10.8.0.1", 0),
        ("10.8.1.1", 403),
        ("9.9.9.9", 403),
        ("9.10.9.9", 0),
        ("168.63.129.16", 403),
        ("168.63.129.17", 0),
        ("198.41.0.77", 0),
    ] {
        assert_eq!(permit(&mut lab, ip.parse().unwrap()), code, "{ip}");
    }
    let (mut lab, mut client) = lab;
    assert_eq!(client.bind(&mut lab, 0x4001, "198.41.0.77:443"), 403, "no relayed port");
    let mut other = Client::new("198.51.100.8:50000", "18", Style::Classic);
    let relayed = other.allocate_public(&mut lab).relayed()[0];
    assert_eq!(client.bind(&mut lab, 0x4000, &relayed.to_string()), 0);
}

/// The kept programs do what they are named after; if they did not, the fuzzer would begin with nothing.
#[test]
fn a_program_can_relay() {
    let allocate = [0x01, 0x02, 0, 0];
    let permit = [0x04, 1, 0, 0];
    let send = [0x07, 0, 1, 1, 1, 1, 1, 1, 1, 1];
    let bind = [0x05, 1, 0, 0];
    let channel_data = [0x08, 0, 1, 1, 1, 1, 1, 1, 1, 1];
    let program = [&[0][..], &allocate, &permit, &send, &bind, &channel_data].concat();
    assert_eq!(fuzzing::turn(&program), 2);
    assert_eq!(fuzzing::turn(&[&[0][..], &allocate, &send, &channel_data].concat()), 0);
}
