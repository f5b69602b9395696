//! Addresses that the public relay never sends to: everything that is not a plain, globally reachable unicast address by the IANA
//! registries of special-purpose addresses (RFC 6890). Without it a relay is a way into the network it stands in.
//!
//! Kept closed from both sides: IPv4 by the list of what is denied, IPv6 by the one block that is allowed (2000::/3) and the list of
//! what is denied in it. Every form that carries an IPv4 address inside an IPv6 one is denied whole, whatever the IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub first: IpAddr,
    /// How many bits its addresses have in common.
    pub prefix: u8,
}

/// A denied block and what it is for.
pub struct Block {
    /// Which addresses.
    pub network: Network,
    /// Its name in the registry.
    pub purpose: &'static str,
}

const fn v4(network: [u8; 4], prefix: u8, purpose: &'static str) -> Block {
    let [a, b, c, d] = network;
    let first = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    Block {
        network: Network { first, prefix },
        purpose,
    }
}

const fn v6(high: [u16; 4], prefix: u8, purpose: &'static str) -> Block {
    let [a, b, c, d] = high;
    let first = IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0));
    Block {
        network: Network { first, prefix },
        purpose,
    }
}

/// The mapped form does not fit the helper: its bits are in the lower half.
const MAPPED: Block = Block {
    network: Network {
        first: IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0)),
        prefix: 96,
    },
    purpose: "IPv4-mapped",
};

/// Every block of the IANA registries that is not for the public internet, those through which an IPv4 address can be named in IPv6, and the one
/// address outside them that a cloud answers its machines at.
pub const DENIED: &[Block] = &[
    v4([0, 0, 0, 0], 8, "this network"),
    v4([10, 0, 0, 0], 8, "private"),
    v4([100, 64, 0, 0], 10, "shared address space, carriers' NAT"),
    v4([127, 0, 0, 0], 8, "loopback"),
    v4([169, 254, 0, 0], 16, "link-local, cloud metadata"),
    v4(
        [168, 63, 129, 16],
        32,
        "Azure's host: agent, name server, health probes",
    ),
    v4([172, 16, 0, 0], 12, "private"),
    v4([192, 0, 0, 0], 24, "IETF protocol assignments"),
    v4([192, 0, 2, 0], 24, "documentation"),
    v4([192, 31, 196, 0], 24, "AS112"),
    v4([192, 52, 193, 0], 24, "AMT"),
    v4([192, 88, 99, 0], 24, "6to4 relay anycast"),
    v4([192, 168, 0, 0], 16, "private"),
    v4([192, 175, 48, 0], 24, "AS112"),
    v4([198, 18, 0, 0], 15, "benchmarking"),
    v4([198, 51, 100, 0], 24, "documentation"),
    v4([203, 0, 113, 0], 24, "documentation"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([240, 0, 0, 0], 4, "reserved, broadcast"),
    MAPPED,
    v6([0, 0, 0, 0], 8, "unspecified, loopback, IPv4-compatible"),
    v6([0x64, 0xff9b, 0, 0], 96, "IPv4/IPv6 translation"),
    v6([0x64, 0xff9b, 1, 0], 48, "local IPv4/IPv6 translation"),
    v6([0x100, 0, 0, 0], 64, "discard only"),
    v6([0x100, 0, 0, 1], 64, "dummy prefix"),
    v6(
        [0x2001, 0, 0, 0],
        23,
        "IETF protocol assignments: Teredo, ORCHID, benchmarking",
    ),
    v6([0x2001, 0xdb8, 0, 0], 32, "documentation"),
    v6([0x2002, 0, 0, 0], 16, "6to4"),
    v6([0x2620, 0x4f, 0x8000, 0], 48, "AS112"),
    v6([0x3fff, 0, 0, 0], 20, "documentation"),
    v6([0x5f00, 0, 0, 0], 16, "segment routing identifiers"),
    v6([0xfc00, 0, 0, 0], 7, "unique local"),
    v6([0xfe80, 0, 0, 0], 10, "link-local"),
    v6([0xfec0, 0, 0, 0], 10, "site-local"),
    v6([0xff00, 0, 0, 0], 8, "multicast"),
];

/// Whether the public relay must not send to this address.
#[must_use]
pub fn is_denied(ip: IpAddr) -> bool {
    let is_global_unicast = match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000,
    };
    // ISATAP (RFC 5214 §6.1) names an IPv4 address in the interface identifier, in anybody's prefix.
    let is_isatap = matches!(ip, IpAddr::V6(v6) if v6.segments()[4] & 0xfcff == 0 && v6.segments()[5] == 0x5efe);
    !is_global_unicast || is_isatap || DENIED.iter().any(|block| block.network.contains(ip))
}

impl From<IpAddr> for Network {
    /// That address alone.
    fn from(first: IpAddr) -> Self {
        let prefix = match first {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { first, prefix }
    }
}

impl Network {
    /// The addresses that have `prefix` bits in common with `ip`, as an interface says which are reached through it. Without any, `ip` alone: an
    /// interface that has no netmask says nothing.
    #[must_use]
    pub fn around(ip: IpAddr, prefix: u8) -> Self {
        let whole = Self::from(ip);
        let host = whole.prefix.saturating_sub(prefix);
        let first = match ip {
            _ if prefix == 0 || host == 0 => return whole,
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() >> host << host)),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> host << host)),
        };
        Self { first, prefix }
    }

    /// Whether an address is one of these. Families never match each other.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.first, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (network.to_bits() ^ ip.to_bits()) & mask == 0
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (network.to_bits() ^ ip.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_interfaces() {
        for (ip, prefix, first, expected) in [
            ("198.41.0.77", 24, "198.41.0.0", 24),
            ("198.41.0.77", 31, "198.41.0.76", 31),
            ("198.41.0.77", 32, "198.41.0.77", 32),
            ("198.41.0.77", 0, "198.41.0.77", 32),
            ("2a00:1450:1:2::77", 64, "2a00:1450:1:2::", 64),
            ("2a00:1450:1:2::77", 128, "2a00:1450:1:2::77", 128),
            ("2a00:1450:1:2::77", 0, "2a00:1450:1:2::77", 128),
        ] {
            let network = Network::around(ip.parse().unwrap(), prefix);
            assert_eq!(
                (network.first, network.prefix),
                (first.parse().unwrap(), expected),
                "{ip}/{prefix}"
            );
            assert!(network.contains(ip.parse().unwrap()));
        }
    }
}
