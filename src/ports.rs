//! One port number for everything: HTTP on TCP, media on UDP.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use housecall_sfu::Settings;

use crate::ServeError;
use crate::config::Config;

/// With port 0 the kernel chooses a TCP port whose UDP twin may be taken by somebody else. Each try draws another; sixteen in a
/// row that are all taken means that there is something else wrong.
const TRIES: usize = 16;

/// What was bound: the TCP listener, the running media core, and the port they share.
pub(crate) struct Ports {
    pub(crate) http: TcpListener,
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
    let http = TcpListener::bind(config.listen).map_err(|cause| refused("TCP", config.listen, cause))?;
    http.set_nonblocking(true).map_err(ServeError::Runtime)?;
    let address = http.local_addr().map_err(ServeError::Runtime)?;
    let settings = Settings {
        listen: address,
        public_addresses: config.public_addresses.clone(),
        shards: config.shards,
        relay: config.relay.into(),
        start_kbps: config.start_kbps,
        picture_floor: housecall_sfu::Bitrate::from_kbps(u64::from(config.picture_floor_kbps)),
    };
    let media = housecall_sfu::start(&settings).map_err(|cause| match cause {
        housecall_sfu::StartError::Bind { address, source } => refused("UDP", address, source),
        other => ServeError::Media(other),
    })?;
    Ok(Ports { http, media, address })
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
