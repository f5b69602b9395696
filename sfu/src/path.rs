//! The way datagrams take between this server and one peer.

use std::net::{IpAddr, SocketAddr};

use housecall_turn::{AllocationKey, PeerAddr};

/// One way to one peer: what a received datagram says about where it came from, and where its answers must go.
///
/// Compared as a whole: the same remote address reached from two of our own addresses is two paths, because a NAT in front
/// of the peer may let in only what comes from the address the peer spoke to. A path through our relay is one of its own: its remote
/// address is the relayed one, and its local address the candidate of ours that the peer spoke to through the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    remote: SocketAddr,
    local: Option<IpAddr>,
    relay: Option<Through>,
}

/// The relay of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Through {
    allocation: AllocationKey,
    /// Of the candidate that the peer speaks to.
    port: u16,
}

impl Path {
    /// The path of a UDP datagram from `remote`, which arrived at our address `local` if the socket tells.
    ///
    /// IPv4-mapped IPv6 addresses, which a dual-stack socket reports, become plain IPv4, and scope and flow of IPv6
    /// addresses are dropped except for link-local ones: one peer must have one name.
    #[must_use]
    pub fn udp(remote: SocketAddr, local: Option<IpAddr>) -> Self {
        Self {
            remote: canonical(remote),
            local: local.map(|ip| ip.to_canonical()),
            relay: None,
        }
    }

    /// The path of payload that came through an allocation of our relay, which the peer knows as `relayed`, for our own candidate `peer`.
    #[must_use]
    pub(crate) fn relayed(allocation: AllocationKey, relayed: SocketAddr, peer: PeerAddr) -> Self {
        Self {
            remote: canonical(relayed),
            local: Some(peer.get().ip()),
            relay: Some(Through {
                allocation,
                port: peer.get().port(),
            }),
        }
    }

    /// Through which allocation it leads, and which candidate of ours the client named.
    #[must_use]
    pub(crate) fn relayed_by(&self) -> Option<(AllocationKey, PeerAddr)> {
        let through = self.relay?;
        Some((
            through.allocation,
            PeerAddr::new(SocketAddr::new(self.local?, through.port)),
        ))
    }

    /// The peer's address, IPv4 where it is one.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Our address the peer speaks to, if the socket tells. Answers must leave from it.
    #[must_use]
    pub fn local(&self) -> Option<IpAddr> {
        self.local
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::from((v4, v6.port())),
            None if v6.ip().is_unicast_link_local() => {
                std::net::SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into()
            }
            None => SocketAddr::from((*v6.ip(), v6.port())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_has_one_name() {
        let plain = Path::udp("192.0.2.1:5000".parse().unwrap(), Some("198.51.100.1".parse().unwrap()));
        let mapped = Path::udp(
            "[::ffff:192.0.2.1]:5000".parse().unwrap(),
            Some("::ffff:198.51.100.1".parse().unwrap()),
        );
        assert_eq!(plain, mapped);
        assert!(mapped.remote().is_ipv4());

        let global = Path::udp("[2001:db8::1%7]:5000".parse().unwrap(), None);
        assert_eq!(global, Path::udp("[2001:db8::1]:5000".parse().unwrap(), None));
        let link = Path::udp("[fe80::1%7]:5000".parse().unwrap(), None);
        assert_ne!(link, Path::udp("[fe80::1%8]:5000".parse().unwrap(), None));
    }

    #[test]
    fn our_own_address_is_part_of_the_path() {
        let remote = "192.0.2.1:5000".parse().unwrap();
        let one = Path::udp(remote, Some("198.51.100.1".parse().unwrap()));
        let two = Path::udp(remote, Some("198.51.100.2".parse().unwrap()));
        assert_ne!(one, two);
    }
}
