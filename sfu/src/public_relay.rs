//! The general relay: TURN (RFC 8656) for other software, with real sockets as relayed addresses. It shares nothing with the shards: its
//! own thread, its own port, its own credentials. What it may do is decided by [`housecall_turn::Server`].

mod buffers;
mod driver;
mod figures;
mod gather;
mod own;
mod strangers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use housecall_turn::limits::MAX_RELAYED_MESSAGE;
use housecall_turn::{Bindings, Config, Family, Network, Peers, Quotas, RelayAddresses, Secret, Server};
use if_addrs::IfAddr;
use prometheus::Registry;
use rustix::event::{EventfdFlags, epoll, eventfd};

use crate::driver::{candidates, random_bytes, unix_now, wake};
use crate::limits;
use crate::relay::one_of_each_family;
use crate::socket::{Oversize, UdpPort};
use crate::streams::{self, Arrival, Opener, StreamEnd};

use driver::Base;
use figures::Figures;
use own::Own;

/// Settings of the general relay. Holds a secret, hence no `Debug`.
#[derive(Clone)]
pub struct PublicRelaySettings {
    /// Where clients come to by UDP. Port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// The addresses that relayed ports have for others, at most one of each family. One that this machine does not have is that of a 1:1 NAT
    /// in front of it.
    pub addresses: Vec<IpAddr>,
    /// The relayed ports.
    pub ports: RangeInclusive<u16>,
    /// What credentials are made of: `username = expiry:id`, `password = base64(HMAC-SHA1(secret, username))`.
    pub secret: Secret,
    /// Whether the relay is a STUN server for strangers as well.
    pub bindings: Bindings,
    /// Peers that can be reached although they are special-purpose, of this machine or in its networks.
    pub allowed: Vec<Network>,
    /// Peers that cannot be reached, allowed or not.
    pub denied: Vec<Network>,
    /// How much clients may have.
    pub quotas: Quotas,
}

/// Why the general relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum PublicRelayError {
    /// The UDP socket could not be bound.
    #[error("binding the relay's socket to UDP {address} failed")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The kernel gave no thread or no descriptor.
    #[error("starting the relay's thread failed")]
    Thread(#[source] std::io::Error),
    /// Two figures have the same name.
    #[error("the relay's metrics cannot be set up")]
    Metrics(#[source] prometheus::Error),
}

/// The general relay. It ends when this is dropped.
pub struct PublicRelay {
    address: SocketAddr,
    opener: Opener,
    wake: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
}

impl PublicRelay {
    /// Starts it, with its figures in `registry`.
    ///
    /// # Errors
    /// [`PublicRelayError`].
    pub fn start(settings: PublicRelaySettings, registry: &Registry) -> Result<Self, PublicRelayError> {
        Self::start_with(settings, registry, own_networks)
    }

    fn start_with(
        settings: PublicRelaySettings,
        registry: &Registry,
        read: ReadNetworks,
    ) -> Result<Self, PublicRelayError> {
        let thread = PublicRelayError::Thread;
        let bind = |source| PublicRelayError::Bind {
            address: settings.listen,
            source,
        };
        // Before the figures, which can be registered only once: with another port this may be tried again.
        let clients = UdpPort::bind(
            settings.listen,
            false,
            Oversize::Fragmented,
            limits::SOCKET_BUFFER_BYTES,
        )
        .map_err(bind)?;
        let address = clients.local();
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(|errno| thread(errno.into()))?;
        let wake = Arc::new(wake);
        let (opener, streams) = streams::pair(Arc::clone(&wake), MAX_RELAYED_MESSAGE, driver::now).map_err(thread)?;
        let stop = Arc::new(AtomicBool::new(false));
        let base = Base {
            own: Own::default(),
            read,
            settings,
            clients,
            streams,
            wake: Arc::clone(&wake),
            stop: Arc::clone(&stop),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|errno| thread(errno.into()))?,
            figures: Figures::register(registry).map_err(PublicRelayError::Metrics)?,
        };
        base.watch().map_err(|errno| thread(errno.into()))?;
        driver::spawn(base).map_err(thread)?;
        Ok(Self {
            address,
            opener,
            wake,
            stop,
        })
    }

    /// Where clients come to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands a connection of a client to the relay, which reads and writes it from now on. `None` if it has too much to do, or the connection is not TURN.
    pub fn open_stream(&self, arrival: Arrival) -> Option<StreamEnd> {
        arrival.kind.client()?;
        self.opener.open(arrival)
    }
}

impl Drop for PublicRelay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        wake(&self.wake);
    }
}

/// The best address of each family for a relay that listens there: of `public` if there are any, else of this machine.
#[must_use]
pub fn usable_addresses(public: &[IpAddr], listen: SocketAddr) -> Vec<IpAddr> {
    let found = one_of_each_family(&candidates(public, listen));
    found.iter().map(SocketAddr::ip).collect()
}

/// How the networks of this machine are read.
type ReadNetworks = fn(&PublicRelaySettings) -> std::io::Result<Vec<Network>>;

/// Every address at which this machine can be reached, and the networks of its interfaces: as peers they are refused. A neighbour with a public address
/// may trust this machine, or be kept from the internet by a firewall that both of them are behind.
fn own_networks(settings: &PublicRelaySettings) -> std::io::Result<Vec<Network>> {
    let on_link = |interface: if_addrs::Interface| match interface.addr {
        IfAddr::V4(v4) => Network::around(v4.ip.into(), v4.prefixlen),
        IfAddr::V6(v6) => Network::around(v6.ip.into(), v6.prefixlen),
    };
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(interfaces
        .into_iter()
        .map(on_link)
        .chain(always_own(settings))
        .collect())
}

/// What is this machine's by its configuration.
fn always_own(settings: &PublicRelaySettings) -> impl Iterator<Item = Network> + '_ {
    let addresses = settings.addresses.iter().copied();
    addresses.chain([settings.listen.ip()]).map(Network::from)
}

fn server(settings: &PublicRelaySettings, own: Vec<Network>, now: Instant) -> Server {
    let of = |family| settings.addresses.iter().copied().find(|ip| Family::of(*ip) == family);
    let v4: Option<Ipv4Addr> = of(Family::V4).and_then(|ip| match ip {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    });
    let v6: Option<Ipv6Addr> = of(Family::V6).and_then(|ip| match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => Some(v6),
    });
    Server::new(Config {
        secret: settings.secret.clone(),
        key: random_bytes(),
        relay: RelayAddresses {
            v4,
            v6,
            ports: settings.ports.clone(),
        },
        peers: Peers::Public {
            own,
            denied: settings.denied.clone(),
            allowed: settings.allowed.clone(),
        },
        quotas: settings.quotas,
        bindings: settings.bindings,
        started: now,
        unix: unix_now(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    /// How often the networks were asked for. The first two times there is no answer.
    static READS: AtomicUsize = AtomicUsize::new(0);
    const FAILURES: usize = 2;

    fn read_late(settings: &PublicRelaySettings) -> std::io::Result<Vec<Network>> {
        if READS.fetch_add(1, Ordering::SeqCst) < FAILURES {
            return Err(rustix::io::Errno::MFILE.into());
        }
        Ok(always_own(settings).collect())
    }

    #[test]
    #[expect(clippy::disallowed_types, reason = "a test over real sockets")]
    fn nothing_is_served_before_the_networks_are_known() {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let settings = PublicRelaySettings {
            listen,
            addresses: vec![listen.ip()],
            ports: 49_152..=49_160,
            secret: Secret::new(b"0123456789abcdef0123456789abcdef"),
            bindings: Bindings::Answer,
            allowed: Vec::new(),
            denied: Vec::new(),
            quotas: Quotas {
                per_user: 1,
                per_prefix: 1,
                total: 1,
                bytes_per_second: 1,
            },
        };
        let relay = PublicRelay::start_with(settings, &Registry::new(), read_late).expect("a relay on loopback");
        let client = std::net::UdpSocket::bind(listen).expect("a socket");
        // A Binding request without attributes is a header (RFC 8489 §5).
        let mut request = [7; 20];
        request[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        client.send_to(&request, relay.address()).expect("sent");
        client
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        client.recv(&mut [0; 256]).expect("answered once they are known");
        assert!(READS.load(Ordering::SeqCst) > FAILURES, "and not before");
    }
}
