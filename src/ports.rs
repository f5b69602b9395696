//! One port number for everything, on TCP and on UDP; further shards have the ports after it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use housecall_sfu::{RelayUrls, Settings, Streams};
use listenfd::ListenFd;
use socket2::Socket;

use crate::ServeError;
use crate::config::{Config, Tls};

/// With port 0 the kernel chooses a TCP port whose UDP twin may be taken by somebody else. Each try draws another; sixteen in a
/// row that are all taken means that there is something else wrong.
pub(crate) const TRIES: usize = 16;

/// Sockets that whoever started the program opened for it, as systemd does (`sd_listen_fds(3)`). Then nothing is bound here.
#[derive(Debug, Default)]
pub struct Given {
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

impl Given {
    /// Takes those that came with the start. To be asked once, before there are threads.
    ///
    /// # Errors
    /// [`ServeError::Given`] if one is neither TCP nor UDP.
    pub fn from_environment() -> Result<Self, ServeError> {
        let mut passed = ListenFd::from_env();
        let mut given = Self::default();
        for index in 0..passed.len() {
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                given.tcp.push(listener);
            } else if let Ok(Some(socket)) = passed.take_udp_socket(index) {
                given.udp.push(socket);
            } else {
                return Err(ServeError::Given(format!(
                    "the one at place {index} is neither TCP nor UDP"
                )));
            }
        }
        Ok(given)
    }

    fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.udp.is_empty()
    }
}

/// What was bound: the TCP listeners, the running media core, and the port they share.
pub(crate) struct Ports {
    /// Each with its shard: one for every shard, in their order, and further ones that were given.
    pub(crate) listeners: Vec<(TcpListener, usize)>,
    pub(crate) media: housecall_sfu::Running,
    /// Where both listen; further shards have the ports after it.
    pub(crate) address: SocketAddr,
}

/// Takes what was given, or binds both, or neither.
pub(crate) fn open(config: &Config, given: Given) -> Result<Ports, ServeError> {
    if !given.is_empty() {
        return take(config, given);
    }
    let chosen_by_kernel = config.listen.port() == 0;
    for _ in 1..TRIES {
        match bind_once(config) {
            Err(ServeError::PortTaken { .. }) if chosen_by_kernel => {}
            outcome => return outcome,
        }
    }
    bind_once(config)
}

fn bind_once(config: &Config) -> Result<Ports, ServeError> {
    let first = listen(config.listen)?;
    let address = first.local_addr().map_err(ServeError::Runtime)?;
    let media = housecall_sfu::start(&settings(config, address)).map_err(|cause| match cause {
        housecall_sfu::StartError::Bind { address, source } => refused("UDP", address, source),
        other => ServeError::Media(other),
    })?;
    let further = media.addresses.iter().skip(1).map(|address| listen(*address));
    let listeners: Result<Vec<_>, _> = std::iter::once(Ok(first)).chain(further).collect();
    Ok(Ports {
        listeners: listeners?.into_iter().zip(0..).collect(),
        media,
        address,
    })
}

/// With what was given: a UDP socket for each shard, a TCP socket with the same port for each of them, and perhaps more of TCP (port 80), which
/// the first shard gets.
fn take(config: &Config, given: Given) -> Result<Ports, ServeError> {
    let local = |socket: std::io::Result<SocketAddr>| socket.map_err(ServeError::Runtime);
    let Given { mut tcp, udp } = given;
    let Some(first) = udp.first() else {
        return Err(ServeError::Given("there is no UDP socket".to_owned()));
    };
    let address = local(first.local_addr())?;
    if udp.len() != config.shards {
        let problem = format!("there are {} UDP sockets for {} media.shards", udp.len(), config.shards);
        return Err(ServeError::Given(problem));
    }
    if config.listen.port() != 0 && config.listen.port() != address.port() {
        let problem = format!(
            "the first is for port {}, but `listen` names port {}",
            address.port(),
            config.listen.port()
        );
        return Err(ServeError::Given(problem));
    }
    let mut listeners = Vec::new();
    for (shard, socket) in udp.iter().enumerate() {
        let port = local(socket.local_addr())?.port();
        let is_its = |listener: &TcpListener| listener.local_addr().is_ok_and(|address| address.port() == port);
        let Some(index) = tcp.iter().position(is_its) else {
            return Err(ServeError::Given(format!("there is no TCP socket for port {port}")));
        };
        listeners.push((tcp.remove(index), shard));
    }
    listeners.extend(tcp.into_iter().map(|listener| (listener, 0)));
    for (listener, _) in &listeners {
        listener.set_nonblocking(true).map_err(ServeError::Runtime)?;
    }
    let sockets = udp.into_iter().map(Socket::from).collect();
    Ok(Ports {
        listeners,
        media: housecall_sfu::start_on(&settings(config, address), sockets).map_err(ServeError::Media)?,
        address,
    })
}

fn settings(config: &Config, address: SocketAddr) -> Settings {
    Settings {
        listen: address,
        public_addresses: config.public_addresses.clone(),
        shards: config.shards,
        streams: Streams::Accepted {
            relay_urls: relay_urls(config),
        },
        relay: config.relay.into(),
        start_kbps: config.start_kbps,
        picture_floor: housecall_sfu::Bitrate::from_kbps(u64::from(config.picture_floor_kbps)),
        adaptation: if config.adaptation {
            housecall_sfu::Adaptation::On
        } else {
            housecall_sfu::Adaptation::Off
        },
    }
}

/// Listens for TCP.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listener = TcpListener::bind(address).map_err(|cause| refused("TCP", address, cause))?;
    listener.set_nonblocking(true).map_err(ServeError::Runtime)?;
    Ok(listener)
}

/// How clients reach TURN. Only where TLS ends here does the public name lead to this server and not to a proxy in front of it.
fn relay_urls(config: &Config) -> RelayUrls {
    if config.tls == Tls::Off {
        return RelayUrls::default();
    }
    let public = config.public_url.as_deref().and_then(host_and_port);
    let (host, port) = public.map_or_else(|| ("localhost".to_owned(), None), |(host, port)| (host, Some(port)));
    RelayUrls {
        tcp_host: Some(host.clone()),
        tls_host: Some(host),
        port,
    }
}

/// Host (with the brackets of an IPv6 address) and port of a checked origin.
pub(crate) fn host_and_port(origin: &str) -> Option<(String, u16)> {
    let (scheme, rest) = origin.split_once("://")?;
    let default = if scheme == "https" { 443 } else { 80 };
    let end = rest.rfind(']').map_or(0, |bracket| bracket + 1);
    Some(match rest[end..].rsplit_once(':') {
        Some((_, port)) => (rest[..rest.len() - port.len() - 1].to_owned(), port.parse().ok()?),
        None => (rest.to_owned(), default),
    })
}

/// Says what a failed bind means to whoever started the server.
pub(crate) fn refused(transport: &'static str, address: SocketAddr, cause: std::io::Error) -> ServeError {
    let port = address.port();
    match cause.kind() {
        ErrorKind::AddrInUse => ServeError::PortTaken {
            transport,
            port,
            other: SocketAddr::new(address.ip(), port.checked_add(1).unwrap_or(8080)),
        },
        ErrorKind::PermissionDenied => ServeError::PortForbidden { transport, port },
        ErrorKind::AddrNotAvailable => ServeError::NotOurAddress { address },
        _ => ServeError::Bind {
            transport,
            address,
            cause,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_a_host_and_a_port() {
        for (origin, expected) in [
            ("https://visits.example.org", Some(("visits.example.org", 443))),
            ("http://visits.example.org", Some(("visits.example.org", 80))),
            ("https://visits.example.org:8443", Some(("visits.example.org", 8_443))),
            ("https://[2001:db8::1]", Some(("[2001:db8::1]", 443))),
            ("https://[2001:db8::1]:444", Some(("[2001:db8::1]", 444))),
            ("https://host:x", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host_and_port(origin), expected, "{origin}");
        }
    }
}
