//! What the doctor looks at.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Answer, Certificate, Facts, Port, ask, own_address};
use crate::acme::Place;
use crate::config::{Config, Relay, Tls};
use crate::front::tls;
use crate::owner::other_owner;
use crate::ports::host_and_port;

/// Looks at everything. Changes nothing.
pub(crate) async fn gather(config: &Config) -> Facts {
    let address = own_address(config.listen);
    let is_served = ask::is_served(address, config.tls != Tls::Off).await;
    let tcp = bindable(TcpListener::bind(config.listen).map(drop));
    let tcp = known(tcp, is_served, "Stream", config.listen.port()).await;
    // What the relay says of it is another question.
    let udp = bindable(UdpSocket::bind(config.listen).map(drop));
    let udp = known(udp, is_served, "Datagram", config.listen.port()).await;
    let has_relay = is_served && config.relay != Relay::Off;
    let asked = async |is_asked: bool, answer: bool| match (is_asked, answer) {
        (false, _) => Answer::NotAsked,
        (true, true) => Answer::Came,
        (true, false) => Answer::Missing,
    };
    let has_tls = has_relay && config.tls != Tls::Off;
    let host = config.public_url.as_deref().and_then(host_and_port);
    Facts {
        tcp,
        udp,
        certificate: certificate(config),
        acme_trouble: acme_trouble(config),
        own: if_addrs::get_if_addrs()
            .unwrap_or_default()
            .iter()
            .map(if_addrs::Interface::ip)
            .collect(),
        resolved: match host {
            Some((host, port)) => resolve(&host, port).await,
            None => None,
        },
        relay_udp: asked(has_relay, has_relay && ask::relay_over_udp(address).await).await,
        relay_tcp: asked(has_relay, has_relay && ask::relay_over_tcp(address).await).await,
        relay_tls: asked(has_tls, has_tls && ask::relay_over_tls(address).await).await,
        now: seconds(SystemTime::now()),
        data_written: modified(&config.data_dir.join("housecall.sqlite3")),
        data_writable: is_writable(&config.data_dir),
        data_owner: other_owner(&config.data_dir),
        disk_free: disk_free(&config.data_dir),
        socket_buffer: ["rmem_max", "wmem_max"]
            .iter()
            .filter_map(|name| std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok())
            .filter_map(|text| text.trim().parse().ok())
            .min(),
        config: config.clone(),
    }
}

fn bindable(tried: std::io::Result<()>) -> Port {
    match tried.map_err(|cause| cause.kind()) {
        Ok(()) => Port::Free,
        Err(ErrorKind::PermissionDenied) => Port::Forbidden,
        Err(ErrorKind::AddrNotAvailable) => Port::NotHere,
        Err(_) => Port::Taken,
    }
}

/// Whose a port is that cannot be bound. Forbidden is a port to whoever asks, not to the service, which may have it.
async fn known(port: Port, is_served: bool, kind: &str, number: u16) -> Port {
    match port {
        Port::Taken | Port::Forbidden if is_served => Port::Ours,
        Port::Taken | Port::Forbidden => match keeper(&ask::systemd_sockets().await, kind, number) {
            Some(service) => Port::Kept { service },
            None => port,
        },
        port => port,
    }
}

/// The service for which systemd has a port, in what `systemctl list-sockets --show-types` prints: address, kind, the socket's unit, the service's.
pub(super) fn keeper(sockets: &str, kind: &str, port: u16) -> Option<String> {
    sockets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (address, its_kind) = (words.next()?, words.next()?);
        let is_it = address.rsplit_once(':').is_some_and(|(_, its)| its.parse() == Ok(port));
        (its_kind == kind && is_it).then_some(words.nth(1)?.to_owned())
    })
}

async fn resolve(host: &str, port: u16) -> Option<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port))
        .await
        .ok()?;
    let found: Vec<IpAddr> = found.map(|address: SocketAddr| address.ip()).collect();
    (!found.is_empty()).then_some(found)
}

/// The nearest directory that exists.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors()
        .map(|path| {
            if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            }
        })
        .find(|path| path.exists())
}

fn is_writable(directory: &Path) -> bool {
    existing(directory).is_some_and(|path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok())
}

fn disk_free(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(existing(directory)?).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

fn modified(path: &Path) -> Option<i64> {
    Some(seconds(std::fs::metadata(path).ok()?.modified().ok()?))
}

/// What the authority's last failure was; a root that cannot be read is one as well.
fn acme_trouble(config: &Config) -> Option<String> {
    let Tls::Acme(acme) = &config.tls else { return None };
    if let Some(root) = &acme.root
        && let Err(cause) = CertificateDer::from_pem_file(root)
    {
        return Some(format!("tls.acme.root, {}, cannot be used: {cause}", root.display()));
    }
    let trouble = Place::of(acme, &config.data_dir).trouble()?;
    Some(trouble.what.trim_end_matches('.').to_owned())
}

pub(super) fn certificate(config: &Config) -> Certificate {
    let (cert, key) = match &config.tls {
        Tls::Off => return Certificate::None,
        Tls::SelfSigned => return Certificate::SelfSigned,
        Tls::Files { cert, key } => (cert.clone(), key.clone()),
        Tls::Acme(acme) => {
            let file = Place::of(acme, &config.data_dir).certificate();
            if !file.exists() {
                return Certificate::Awaited;
            }
            (file.clone(), file)
        }
    };
    let pair = match tls::load(&cert, &key, &aws_lc_rs::default_provider()) {
        Ok(pair) => pair,
        Err(cause) => return Certificate::Unusable(cause.to_string()),
    };
    let Some((_, own)) = pair.cert.first().and_then(|der| X509Certificate::from_der(der).ok()) else {
        return Certificate::Unusable(format!("{} cannot be read as a certificate", cert.display()));
    };
    let alternative = own.subject_alternative_name().ok().flatten();
    let names = alternative.map(|extension| extension.value.general_names.iter().filter_map(name).collect());
    Certificate::Good {
        not_before: own.validity().not_before.timestamp(),
        not_after: own.validity().not_after.timestamp(),
        names: names.unwrap_or_default(),
        chain: pair.cert.len(),
        is_root: own.issuer() == own.subject(),
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            16 => Some(IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}
