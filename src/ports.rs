//! One port number for everything, on TCP and on UDP; further shards have the ports after it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use housecall_sfu::{RelayUrls, Settings, Streams};

use crate::ServeError;
use crate::config::{Config, Tls};

/// With port 0 the kernel chooses a TCP port whose UDP twin may be taken by somebody else. Each try draws another; sixteen in a
/// row that are all taken means that there is something else wrong.
const TRIES: usize = 16;

/// What was bound: the TCP listeners, the running media core, and the port they share.
pub(crate) struct Ports {
    /// One for each shard, in their order.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) media: housecall_sfu::Running,
    /// Where both listen; further shards have the ports after it.
    pub(crate) address: SocketAddr,
}

/// Binds both, or neither.
pub(crate) fn bind(config: &Config) -> Result<Ports, ServeError> {
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
    let settings = Settings {
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
    };
    let media = housecall_sfu::start(&settings).map_err(|cause| match cause {
        housecall_sfu::StartError::Bind { address, source } => refused("UDP", address, source),
        other => ServeError::Media(other),
    })?;
    let further = media.addresses.iter().skip(1).map(|address| listen(*address));
    let listeners = std::iter::once(Ok(first)).chain(further).collect::<Result<_, _>>()?;
    Ok(Ports {
        listeners,
        media,
        address,
    })
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
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
fn refused(transport: &'static str, address: SocketAddr, cause: std::io::Error) -> ServeError {
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
