//! Housecall as one program: reads the configuration, opens the store, starts the media core, the visits and the HTTP edge.

mod acme;
mod announce;
pub mod config;
mod descriptors;
mod doctor;
mod front;
mod general_relay;
mod owner;
mod panics;
mod ports;
pub mod probe;
mod upkeep;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use housecall_portal::store::OpenError;
use housecall_portal::text::PersonName;
use housecall_portal::{ClinicProfile, Portal, PortalError, Web, WebSettings};
use housecall_signaling::{Hub, HubSettings};
use jiff::SignedDuration;
use sd_notify::NotifyState;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use announce::{Announcement, Starter};
use config::{Config, Tls};
pub use doctor::doctor;
use front::tls::Certificate;
pub use front::tls::TlsError;
use front::{FrontMetrics, Secured, Services};
use general_relay::General;
pub use panics::log_panics;
pub use ports::Given;
use ports::Ports;

/// Why the server did not start, or ended by itself. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is in use.
    #[error(
        "{transport} port {port} is taken by another program (perhaps another Housecall). Stop that one, or choose another port: housecall serve --listen {other}"
    )]
    PortTaken {
        /// TCP or UDP.
        transport: &'static str,
        /// The port.
        port: u16,
        /// What could be tried instead.
        other: SocketAddr,
    },
    /// Ports below 1024 need a privilege.
    #[error(
        "this user may not open {transport} port {port}. Choose a port above 1023, have systemd open it (housecall.socket), or give the program the right to low ports (setcap cap_net_bind_service=+ep)"
    )]
    PortForbidden {
        /// TCP or UDP.
        transport: &'static str,
        /// The port.
        port: u16,
    },
    /// The machine has no such address.
    #[error(
        "this machine has no address {}. Listen on one it has, or on 0.0.0.0 for all of them; an address that only the outside sees belongs into public_addresses", address.ip()
    )]
    NotOurAddress {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Binding failed otherwise.
    #[error("cannot listen on {transport} {address}. Check the address and the system's limits")]
    Bind {
        /// TCP or UDP.
        transport: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        #[source]
        cause: std::io::Error,
    },
    /// The sockets of a service manager cannot be used.
    #[error(
        "the sockets that came with the start do not fit: {0}. Give one ListenStream and one ListenDatagram for each port in housecall.socket"
    )]
    Given(String),
    /// There is no certificate that could be shown.
    #[error("TLS cannot be served")]
    Tls(#[source] TlsError),
    /// The public relay has no secret.
    #[error("the public relay cannot be opened")]
    RelaySecret(#[source] general_relay::SecretError),
    /// The media core did not start.
    #[error("the media core did not start")]
    Media(#[source] housecall_sfu::StartError),
    /// The store did not open.
    #[error(
        "cannot open what is stored in {}. Check that the directory exists on a disk with room and belongs to this user", directory.display()
    )]
    Store {
        /// The data directory.
        directory: PathBuf,
        /// The cause.
        #[source]
        cause: OpenError,
    },
    /// The data is another user's.
    #[error(
        "{} belongs to {owner}, and this user may not use it. Run this as {owner}: sudo -u {owner} housecall …", absolute(directory).display()
    )]
    OthersData {
        /// The data directory.
        directory: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// A command was sent to where nothing is stored: most often, it was not told where the server keeps its data.
    #[error(
        "nothing is stored in {}. Say where the running server keeps its data: --data DIR (the server prints it at start, after \"Data\"), or --config with the server's file", absolute(directory).display()
    )]
    NoData {
        /// The data directory.
        directory: PathBuf,
    },
    /// The running server is older than this program, and would not know its own database after it was brought up to date.
    #[error(
        "the server that uses {} is an older version of Housecall (its data is at version {found}, this program needs {known}). Restart the server with this program first, or use the program that it runs", absolute(directory).display()
    )]
    OlderServer {
        /// The data directory.
        directory: PathBuf,
        /// The version of the data.
        found: i64,
        /// The version this program needs.
        known: i64,
    },
    /// Two servers on the same data would each hold half of a visit.
    #[error("another Housecall serves what is stored in {}. Stop that one, or choose another directory: --data DIR", directory.display())]
    DataInUse {
        /// The data directory.
        directory: PathBuf,
    },
    /// The lock on the data could not be had.
    #[error(
        "cannot use the data directory {}. Check that it is on a disk with room and belongs to this user", directory.display()
    )]
    Lock {
        /// The data directory.
        directory: PathBuf,
        /// The cause.
        #[source]
        cause: std::io::Error,
    },
    /// The demo clinic could not be made.
    #[error("cannot make the demo clinic. Try another data directory: --data DIR")]
    Clinic(#[source] PortalError),
    /// Two metrics have the same name.
    #[error("the metrics cannot be set up; this is a bug, please report it")]
    Metrics(#[source] prometheus::Error),
    /// The HTTP edge ended although nobody asked it to.
    #[error(
        "the web server ended by itself; this is a bug, please report it with the log, and start the program again"
    )]
    EdgeEnded(#[source] Option<tokio::task::JoinError>),
    /// The operating system refused something basic.
    #[error("the operating system refused a socket")]
    Runtime(#[source] std::io::Error),
}

/// The file that a running server holds locked.
const LOCK: &str = "server.lock";
/// How long a stop may take: telling everybody, finishing requests. Service managers kill after 90 s; people lose patience before.
const STOP_TIME: Duration = Duration::from_secs(10);

/// Runs the server until `shutdown`, on the sockets that were given or on its own. Tells a service manager that asked for it. Prints what its operator needs to know on `out`.
///
/// # Errors
/// [`ServeError`]: nothing was started, or everything was stopped again.
pub async fn run(
    config: Config,
    given: Given,
    out: &mut impl Write,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let Ports {
        listeners,
        media,
        address,
    } = ports::open(&config, given)?;
    let certificate =
        Certificate::open(&config.tls, &config.data_dir, certificate_names(&config)).map_err(ServeError::Tls)?;
    // Before anything is opened: opening brings the database up to date, under the feet of whoever else serves it.
    let mut lock = lock(&config.data_dir)?;
    let kept = SignedDuration::from_hours(24 * i64::from(config.quality_days));
    let portal = open_portal(&config)?.keeping_quality(kept);
    let links = match config.demo {
        true => Some(
            portal
                .start_clinic(clinic_profile(&config).map_err(ServeError::Clinic)?)
                .await
                .map_err(ServeError::Clinic)?,
        ),
        false => None,
    };
    let hub = Hub::new(
        media.sfu.clone(),
        media.events,
        Arc::new(portal.clone()),
        HubSettings {
            max_people: config.participants_per_visit,
            max_viewers: config.viewers_per_visit,
        },
    );
    let origin = config
        .public_url
        .clone()
        .unwrap_or_else(|| local_origin(address, &config.tls));
    let listeners: Result<Vec<_>, std::io::Error> = listeners
        .into_iter()
        .map(|(listener, shard)| Ok((tokio::net::TcpListener::from_std(listener)?, shard)))
        .collect();
    let listeners = listeners.map_err(ServeError::Runtime)?;
    let registry = prometheus::Registry::new();
    hub.register_metrics(&registry).map_err(ServeError::Metrics)?;
    media.metrics.register(&registry).map_err(ServeError::Metrics)?;
    let metrics = FrontMetrics::register(&registry).map_err(ServeError::Metrics)?;
    let general = general_relay::start(&config, &registry)?;
    let sfu = media.sfu.clone();
    let router = housecall_portal::router(Web {
        portal: portal.clone(),
        hub: hub.clone(),
        settings: WebSettings {
            tls: origin.starts_with("https://"),
            public_origin: Some(origin.clone()),
            trusted_proxies: config.trusted_proxies.clone(),
            metrics_from: config.metrics_from.clone(),
            ..WebSettings::default()
        },
        registry,
        media_alive: Arc::new(move || media.sfu.is_running()),
    })
    .map_err(ServeError::Metrics)?;
    // For commands, which print whole links then. Without it they print all but the beginning.
    if let Err(cause) = lock.write_all(origin.as_bytes()) {
        tracing::warn!(%cause, "commands cannot be told where people open links");
    }
    let (stop, stopping) = oneshot::channel::<()>();
    let secured = match &certificate {
        None => None,
        Some(certificate) => Some(Secured {
            acceptor: certificate.acceptor(config.oldest_tls).map_err(ServeError::Tls)?,
            redirect: housecall_portal::redirect(&origin),
        }),
    };
    let mut watching = JoinSet::new();
    let changed = Arc::new(Notify::new());
    if let Some(certificate) = &certificate {
        let pair = match &config.tls {
            Tls::Files { cert, key } => Some((cert.clone(), key.clone())),
            Tls::Acme(acme) => {
                let certificate = Arc::clone(certificate);
                let place = acme::Place::of(acme, &config.data_dir);
                let file = place.certificate();
                watching.spawn(acme::keep(acme.clone(), place, certificate, metrics.clone()));
                Some((file.clone(), file))
            }
            Tls::Off | Tls::SelfSigned => None,
        };
        if let Some((cert, key)) = pair {
            let (certificate, changed) = (Arc::clone(certificate), Arc::clone(&changed));
            watching.spawn(front::tls::watch(certificate, cert, key, metrics.clone(), changed));
        }
    }
    watching.spawn(upkeep::keep(portal, hub.clone()));
    let relay_address = general.as_ref().map(|general| general.relay.address());
    let (general_relay, general_listener) = match general {
        Some(General { relay, listener }) => {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Runtime)?;
            (Some(relay), Some(listener))
        }
        None => (None, None),
    };
    let services = Services {
        router,
        tls: secured,
        sfu,
        general: general_relay,
        proxies: config.trusted_proxies.clone(),
        metrics,
    };
    let mut edge = tokio::spawn(front::serve(listeners, general_listener, services, async {
        // An error means that the sender is gone, which asks for a stop as well.
        let _ = stopping.await;
    }));

    let announcement = Announcement {
        origin: &origin,
        http: address,
        media: &media.addresses,
        relay: relay_address.map(|address| (address, certificate.is_some())),
        data: &std::path::absolute(&config.data_dir).map_err(ServeError::Runtime)?,
        links: links.as_ref(),
        starter: Starter::from_environment(),
    };
    if let Err(cause) = announcement.print(out) {
        // A closed stdout (a service without one) is no reason not to serve.
        tracing::warn!(%cause, "what to do next could not be printed");
    }
    drop(links);
    if config.proxies_unnamed() {
        tracing::warn!(
            "public_url is https, so a proxy stands in front, but trusted_proxies is empty: all people count as one, and a stranger can \
             use up everybody's share of tries. Name the proxy's address in trusted_proxies (docs/configuration.md, Behind a TLS proxy)"
        );
    }
    if let Some(sentence) = descriptors::raise(&config) {
        tracing::warn!(check = "files", "{sentence}");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, "started");
    tell_manager(NotifyState::Ready);
    let looked_at = Config {
        listen: address,
        ..config.clone()
    };
    // Again whenever there is a new certificate, which may be worse than the one before.
    let looking = tokio::spawn(async move {
        loop {
            doctor::look(looked_at.clone()).await;
            changed.notified().await;
        }
    });

    tokio::select! {
        () = shutdown => {}
        ended = &mut edge => {
            // The log has the panic. Nothing can be served any more: end loudly, so that whoever watches starts it again.
            let _ = tokio::time::timeout(STOP_TIME, hub.shutdown()).await;
            return Err(ServeError::EdgeEnded(ended.err()));
        }
    }
    tracing::info!("stopping");
    tell_manager(NotifyState::Stopping);
    looking.abort();
    watching.abort_all();
    drop(stop);
    let told_and_closed = async { tokio::join!(hub.shutdown(), edge) };
    match tokio::time::timeout(STOP_TIME, told_and_closed).await {
        Ok(_) => tracing::info!("stopped"),
        Err(_) => tracing::warn!("stopped before everybody could be told"),
    }
    Ok(())
}

/// Says so to the service manager (`sd_notify(3)`), if there is one that asked.
fn tell_manager(state: NotifyState<'_>) {
    if let Err(cause) = sd_notify::notify(&[state]) {
        tracing::warn!(%cause, "the service manager cannot be told");
    }
}

/// Makes this the only server on the data, until the file is closed, be it by a kill. Makes the directory, for this user alone,
/// if there is none. Commands need no lock.
fn lock(directory: &Path) -> Result<File, ServeError> {
    let refused = |cause| ServeError::Lock {
        directory: directory.to_owned(),
        cause,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(refused)?;
    // What a running server wrote into it stays.
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).mode(0o600);
    let file = file.open(directory.join(LOCK)).map_err(refused)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).map_err(refused)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(ServeError::DataInUse {
            directory: directory.to_owned(),
        }),
        Err(TryLockError::Error(cause)) => Err(refused(cause)),
    }
}

/// Where a browser on this machine finds the server.
fn local_origin(address: SocketAddr, tls: &Tls) -> String {
    let scheme = if *tls == Tls::Off { "http" } else { "https" };
    if address.ip().is_unspecified() || address.ip().is_loopback() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

/// What a self-signed certificate is for.
fn certificate_names(config: &Config) -> Vec<String> {
    let public = config.public_url.as_deref().and_then(ports::host_and_port);
    let public = public.map(|(host, _)| host.trim_matches(['[', ']']).to_owned());
    let addresses = config.public_addresses.iter().map(ToString::to_string);
    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let listen = Some(config.listen.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    let mut names: Vec<String> = public.into_iter().chain(own).chain(addresses).collect();
    names.extend(listen.map(|ip| ip.to_string()));
    names
}

/// The clinic that a data directory used for the first time will hold.
///
/// # Errors
/// [`PortalError::Invalid`] if the clinician's name is none; a checked configuration has a good one.
pub fn clinic_profile(config: &Config) -> Result<ClinicProfile, PortalError> {
    let clinician = PersonName::new(&config.clinic.clinician);
    Ok(ClinicProfile {
        name: config.clinic.name.clone(),
        time_zone: config.clinic.time_zone.clone(),
        clinician: clinician.map_err(|_| PortalError::Invalid("clinic.clinician is not a name"))?,
        ..ClinicProfile::demo()
    })
}

/// Opens what is stored, for the server: makes what is missing and brings it up to date.
///
/// # Errors
/// [`ServeError::Store`].
fn open_portal(config: &Config) -> Result<Portal, ServeError> {
    Portal::open(&config.data_dir).map_err(|cause| not_opened(&config.data_dir, cause))
}

/// Opens what is stored, for a command, beside a server or without one. Makes no data directory, and brings nothing up to date
/// under the feet of a server.
///
/// # Errors
/// [`ServeError::NoData`], [`ServeError::OlderServer`], [`ServeError::Store`].
pub fn open_for_command(config: &Config) -> Result<Portal, ServeError> {
    let directory = &config.data_dir;
    let (found, known) = match Portal::open_as_it_is(directory) {
        Ok(portal) => return Ok(portal),
        Err(OpenError::Missing) => {
            return Err(ServeError::NoData {
                directory: directory.clone(),
            });
        }
        Err(OpenError::Older { found, known }) => (found, known),
        Err(cause) => return Err(not_opened(directory, cause)),
    };
    // With the lock no server runs, nor starts until this is done.
    let _lock = lock(directory).map_err(|refused| match refused {
        ServeError::DataInUse { directory } => ServeError::OlderServer {
            directory,
            found,
            known,
        },
        other => other,
    })?;
    open_portal(config)
}

/// Where people open links of the server that uses the data in this directory; `None` if no server does, and empty if it didn't say.
#[must_use]
pub fn origin_of_server(directory: &Path) -> Option<String> {
    let mut file = File::open(directory.join(LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut origin = String::new();
            file.read_to_string(&mut origin).unwrap_or_default();
            Some(origin)
        }
        _ => None,
    }
}

fn not_opened(directory: &Path, cause: OpenError) -> ServeError {
    if let OpenError::Directory(refused) = &cause
        && refused.kind() == std::io::ErrorKind::PermissionDenied
        && let Some(owner) = owner::other_owner(directory)
    {
        return ServeError::OthersData {
            directory: directory.to_owned(),
            owner,
        };
    }
    ServeError::Store {
        directory: directory.to_owned(),
        cause,
    }
}

/// A directory by its whole name: which one it is, is what people get wrong.
fn absolute(directory: &Path) -> PathBuf {
    std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned())
}
