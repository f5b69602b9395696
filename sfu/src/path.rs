//! The way datagrams take between this server and one peer.

use std::net::{IpAddr, SocketAddr};

use housecall_turn::{AllocationKey, ClientAddr, ClientTransport, PeerAddr};

/// One way to one peer: what a received datagram says about where it came from, and where its answers must go.
///
/// Compared as a whole: the same remote address reached from two of our own addresses is two paths, because a NAT in front
/// of the peer may let in only what comes from the address the peer spoke to. A path through our relay is one of its own: its remote
/// address is the relayed one, and its local address the candidate of ours that the peer spoke to through the relay. A path on a stream
/// ends with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    remote: SocketAddr,
    local: Option<IpAddr>,
    via: Via,
}

/// What carries a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Via {
    /// Datagrams.
    Udp,
    /// A connection of its own.
    Stream(StreamId, StreamKind),
    /// Our relay.
    Relay {
        allocation: AllocationKey,
        /// Of the candidate that the peer speaks to.
        port: u16,
        /// How the client speaks to the relay.
        client: ClientTransport,
        /// On which connection, if on one.
        stream: Option<StreamId>,
    },
}

/// Names a stream; no other ever has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u64);

/// What a stream carries, and how it is cut into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamKind {
    /// ICE over TCP (RFC 6544): datagrams with their length in front (RFC 4571).
    IceTcp,
    /// TURN over TCP (RFC 8656 §2.1).
    TurnTcp,
    /// TURN over TLS. The bytes here are what was in it.
    TurnTls,
}

impl StreamKind {
    /// How the relay sees such a client; `None` for what is no client of the relay.
    pub(crate) const fn client(self) -> Option<ClientTransport> {
        match self {
            Self::IceTcp => None,
            Self::TurnTcp => Some(ClientTransport::Tcp),
            Self::TurnTls => Some(ClientTransport::Tls),
        }
    }
}

/// What a path is, for quality records and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathKind {
    /// Directly, by UDP.
    Udp,
    /// Directly, by ICE over TCP.
    Tcp,
    /// Through the relay, over UDP.
    TurnUdp,
    /// Through the relay, over TCP.
    TurnTcp,
    /// Through the relay, over TLS.
    TurnTls,
}

impl PathKind {
    /// All, in the order of preference.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::TurnUdp, Self::TurnTcp, Self::TurnTls];

    /// Its name in metrics and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::TurnUdp => "turn_udp",
            Self::TurnTcp => "turn_tcp",
            Self::TurnTls => "turn_tls",
        }
    }
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
            via: Via::Udp,
        }
    }

    /// The path of what comes on a stream from `remote` to our address `local`.
    #[must_use]
    pub(crate) fn stream(id: StreamId, kind: StreamKind, remote: SocketAddr, local: IpAddr) -> Self {
        Self {
            via: Via::Stream(id, kind),
            ..Self::udp(remote, Some(local))
        }
    }

    /// The path of payload that came through an allocation of our relay, which the peer knows as `relayed`, for our own candidate `peer`.
    /// `client` is the path between the relay and its client.
    #[must_use]
    pub(crate) fn relayed(client: Self, allocation: AllocationKey, relayed: SocketAddr, peer: PeerAddr) -> Self {
        let (transport, stream) = match client.via {
            Via::Stream(id, kind) => (kind.client().unwrap_or(ClientTransport::Tcp), Some(id)),
            Via::Udp | Via::Relay { .. } => (ClientTransport::Udp, None),
        };
        Self {
            remote: canonical(relayed),
            local: Some(peer.get().ip()),
            via: Via::Relay {
                allocation,
                port: peer.get().port(),
                client: transport,
                stream,
            },
        }
    }

    /// Through which allocation it leads, and which candidate of ours the client named.
    #[must_use]
    pub(crate) fn relayed_by(&self) -> Option<(AllocationKey, PeerAddr)> {
        match self.via {
            Via::Relay { allocation, port, .. } => {
                Some((allocation, PeerAddr::new(SocketAddr::new(self.local?, port))))
            }
            Via::Udp | Via::Stream(..) => None,
        }
    }

    /// Who comes by it, as the relay sees it; `None` for what cannot be a client of the relay.
    pub(crate) fn relay_client(&self) -> Option<ClientAddr> {
        let transport = match self.via {
            Via::Udp => ClientTransport::Udp,
            Via::Stream(_, kind) => kind.client()?,
            Via::Relay { .. } => return None,
        };
        Some(ClientAddr::new(transport, self.remote, self.local))
    }

    /// The connection that it is, and what is on it.
    #[inline]
    pub(crate) fn is_stream(&self) -> Option<(StreamId, StreamKind)> {
        match self.via {
            Via::Stream(id, kind) => Some((id, kind)),
            Via::Udp | Via::Relay { .. } => None,
        }
    }

    /// The connection that carries it, directly or to the relay.
    pub(crate) fn carrier(&self) -> Option<StreamId> {
        match self.via {
            Via::Udp => None,
            Via::Stream(id, _) => Some(id),
            Via::Relay { stream, .. } => stream,
        }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> PathKind {
        match self.via {
            Via::Udp => PathKind::Udp,
            Via::Stream(_, StreamKind::IceTcp) => PathKind::Tcp,
            Via::Stream(_, StreamKind::TurnTcp) => PathKind::TurnTcp,
            Via::Stream(_, StreamKind::TurnTls) => PathKind::TurnTls,
            Via::Relay { client, .. } => match client {
                ClientTransport::Udp => PathKind::TurnUdp,
                ClientTransport::Tcp => PathKind::TurnTcp,
                ClientTransport::Tls => PathKind::TurnTls,
            },
        }
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

    #[test]
    fn each_connection_is_a_path_of_its_own_and_has_the_kind_of_what_is_on_it() {
        let (remote, local) = ("192.0.2.1:5000".parse().unwrap(), "198.51.100.1".parse().unwrap());
        let make = |id, kind| Path::stream(StreamId(id), kind, remote, local);
        let udp = Path::udp(remote, Some(local));
        for (path, kind, client) in [
            (udp, PathKind::Udp, Some(ClientTransport::Udp)),
            (make(1, StreamKind::IceTcp), PathKind::Tcp, None),
            (
                make(1, StreamKind::TurnTcp),
                PathKind::TurnTcp,
                Some(ClientTransport::Tcp),
            ),
            (
                make(1, StreamKind::TurnTls),
                PathKind::TurnTls,
                Some(ClientTransport::Tls),
            ),
        ] {
            assert_eq!(path.kind(), kind);
            assert_eq!(path.relay_client().map(|client| client.transport()), client);
        }
        assert_ne!(make(1, StreamKind::IceTcp), make(2, StreamKind::IceTcp));
        assert_ne!(make(1, StreamKind::IceTcp), udp);
        assert_eq!(make(7, StreamKind::TurnTls).carrier(), Some(StreamId(7)));
    }
}
