//! Who is who: clients and peers have addresses of different types, so that one is never taken for the other.

use std::net::{IpAddr, SocketAddr};

/// How a client speaks to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientTransport {
    /// Datagrams.
    Udp,
    /// A TCP connection.
    Tcp,
    /// TLS on a TCP connection.
    Tls,
}

impl ClientTransport {
    /// Whether the client's address is proved by the transport itself: an answer cannot go to somebody who did not ask.
    pub(crate) const fn is_stream(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls => true,
        }
    }
}

/// The 5-tuple of a client (RFC 8656 §2.2). The server's port is left out: one [`crate::Server`] serves one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddr {
    transport: ClientTransport,
    remote: SocketAddr,
    local: Option<IpAddr>,
}

impl ClientAddr {
    /// A client at `remote` that speaks to our address `local`, if the socket tells. IPv4-mapped addresses become IPv4.
    #[must_use]
    pub fn new(transport: ClientTransport, remote: SocketAddr, local: Option<IpAddr>) -> Self {
        Self {
            transport,
            remote: SocketAddr::new(remote.ip().to_canonical(), remote.port()),
            local: local.map(|ip| ip.to_canonical()),
        }
    }

    /// How the client speaks to us.
    #[must_use]
    pub fn transport(&self) -> ClientTransport {
        self.transport
    }

    /// The client's address as the server sees it.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Our address the client speaks to. Answers must leave from it.
    #[must_use]
    pub fn local(&self) -> Option<IpAddr> {
        self.local
    }

    /// What quotas and budgets are counted by: the IPv4 /24 or the IPv6 /48, which one household or one attacker has for free.
    pub(crate) fn prefix(&self) -> u64 {
        match self.remote.ip() {
            IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8),
            IpAddr::V6(v6) => (1 << 63) | (v6.to_bits() >> 80) as u64,
        }
    }
}

/// A peer's transport address, exactly as the client wrote it: an IPv4-mapped IPv6 address is not the IPv4 address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddr(SocketAddr);

impl PeerAddr {
    /// A peer by its address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// The address.
    #[must_use]
    pub fn get(&self) -> SocketAddr {
        self.0
    }

    /// IPv4 or IPv6.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.0.ip())
    }
}

/// An address family, by its number in REQUESTED-ADDRESS-FAMILY (RFC 8656 §18.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order in which they are told.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// By the first byte of the attribute's value.
    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0x01 => Some(Self::V4),
            0x02 => Some(Self::V6),
            _ => None,
        }
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::V4 => 0x01,
            Self::V6 => 0x02,
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::V4 => 0,
            Self::V6 => 1,
        }
    }
}
