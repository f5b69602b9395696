//! `housecall doctor`: looks at the configuration and the machine, and says in one sentence each what is wrong and what to do.
//!
//! What is looked at ([`facts`]) and what follows from it ([`findings`]) are apart: the second is a function of the first.

mod ask;
mod facts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{Config, Relay, Tls};
use crate::ports::host_and_port;

pub(crate) use facts::gather;

/// A disk with less than this left stops a clinic within weeks; logs and backups of others share it.
const DISK_LOW: u64 = 512 * 1024 * 1024;
/// Less than this, in bytes, and the burst of one key frame to a few viewers overflows the socket. It is the default of Linux.
const SOCKET_BUFFER_LOW: u64 = 212_992;
/// A certificate that ends sooner was not renewed in time: those who renew by themselves do it weeks before.
const EXPIRES_SOON: i64 = 7 * 24 * 3_600;

/// Whether a port can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// This server has it, and answers.
    Ours,
    /// Nobody has it.
    Free,
    /// Somebody has it who does not answer as this server does.
    Taken,
    /// systemd has it for this service, which does not answer.
    Kept { service: String },
    /// This user may not have it.
    Forbidden,
    /// The machine has no such address.
    NotHere,
}

/// What is known of the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// No TLS here.
    None,
    /// Made at the start.
    SelfSigned,
    /// To come from an authority.
    Awaited,
    /// The files cannot be used; what [`crate::TlsError`] says.
    Unusable(String),
    /// There it is. Times are seconds of Unix time.
    Good {
        not_before: i64,
        not_after: i64,
        names: Vec<String>,
        /// Certificates in the file.
        chain: usize,
        /// Signed by its own key.
        is_root: bool,
    },
}

/// Whether something answers on a way to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not asked, for the server is not running or there is no such way.
    NotAsked,
    /// The relay's answer came back.
    Came,
    /// None came.
    Missing,
}

/// What the doctor looks at.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) config: Config,
    pub(crate) tcp: Port,
    pub(crate) udp: Port,
    pub(crate) certificate: Certificate,
    /// Why an authority gave no certificate when it was last asked.
    pub(crate) acme_trouble: Option<String>,
    /// Addresses of this machine.
    pub(crate) own: Vec<IpAddr>,
    /// Addresses of the host in `public_url`; `None` if it has no such host.
    pub(crate) resolved: Option<Vec<IpAddr>>,
    pub(crate) relay_udp: Answer,
    pub(crate) relay_tcp: Answer,
    pub(crate) relay_tls: Answer,
    /// Seconds of Unix time.
    pub(crate) now: i64,
    /// When the data was last written.
    pub(crate) data_written: Option<i64>,
    pub(crate) data_writable: bool,
    /// Whose the data is, if neither this user's nor root's.
    pub(crate) data_owner: Option<String>,
    /// Bytes left on the disk of the data.
    pub(crate) disk_free: Option<u64>,
    /// `net.core.rmem_max`, and the same for sending.
    pub(crate) socket_buffer: Option<u64>,
}

/// Something wrong: what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    pub(crate) sentence: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.sentence)
    }
}

/// Looks, and prints what was found. True if nothing is wrong.
///
/// # Errors
/// If it cannot be printed.
pub async fn doctor(config: &Config, out: &mut impl Write) -> std::io::Result<bool> {
    let facts = gather(config).await;
    let found = findings(&facts);
    for finding in &found {
        writeln!(out, "{finding}")?;
    }
    if found.is_empty() {
        let server = match facts.tcp {
            Port::Ours => "the server answers on every way it has",
            _ => "the server is not running, and could be started",
        };
        writeln!(out, "Nothing is wrong: {server}.")?;
    }
    Ok(found.is_empty())
}

/// The same for a server that has just started, or has a new certificate: what is wrong goes to its log.
pub(crate) async fn look(config: Config) {
    for finding in findings(&gather(&config).await) {
        tracing::warn!(check = finding.check, "{}", finding.sentence);
    }
}

/// What is wrong.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |check, sentence: String| found.push(Finding { check, sentence });
    asker(facts, &mut say);
    ports(facts, &mut say);
    addresses(facts, &mut say);
    acme(facts, &mut say);
    certificate(facts, &mut say);
    relay(facts, &mut say);
    machine(facts, &mut say);
    found
}

/// Whoever asks as another user than the server's is told what is true of themselves.
fn asker(facts: &Facts, say: &mut impl FnMut(&'static str, String)) {
    if let (false, Some(owner)) = (facts.data_writable, &facts.data_owner) {
        say(
            "user",
            format!(
                "{} belongs to {owner}, and this user may see too little of the server to judge it; ask as that user: sudo -u {owner} housecall doctor …, with the same arguments.",
                facts.config.data_dir.display()
            ),
        );
    }
}

fn ports(facts: &Facts, say: &mut impl FnMut(&'static str, String)) {
    let listen = facts.config.listen;
    let port = listen.port();
    for (name, state) in [("TCP", &facts.tcp), ("UDP", &facts.udp)] {
        match state {
            Port::Ours | Port::Free => {}
            Port::Taken => say(
                "port",
                format!("another program has {name} port {port}; stop it, or choose another port with `listen`."),
            ),
            Port::Kept { service } => {
                return say(
                    "port",
                    format!(
                        "systemd has {name} port {port} for {service}, which does not answer; mend what `sudo journalctl -u {service} -n 20` says, then `sudo systemctl restart {service}`."
                    ),
                );
            }
            Port::Forbidden => say(
                "port",
                format!(
                    "this user may not open {name} port {port}; have systemd open it (housecall.socket), or give the program the right to it: setcap cap_net_bind_service=+ep, or AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit."
                ),
            ),
            Port::NotHere => {
                return say(
                    "port",
                    format!(
                        "this machine has no address {}; listen on one it has, or on 0.0.0.0, and put the outside address into `public_addresses`.",
                        listen.ip()
                    ),
                );
            }
        }
    }
}

/// Chromium takes no candidate on a port below 1024, except for 80 and 443, and those on public addresses only.
fn refused_by_chromium(ip: IpAddr, port: u16) -> bool {
    let is_private = match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    };
    port < 1_024 && (is_private || !matches!(port, 80 | 443))
}

/// Whether somebody elsewhere can reach an address at all.
fn is_public(ip: IpAddr) -> bool {
    !housecall_turn::deny::is_denied(ip)
}

fn addresses(facts: &Facts, say: &mut impl FnMut(&'static str, String)) {
    let config = &facts.config;
    let Some(origin) = &config.public_url else { return };
    let Some((host, _)) = host_and_port(origin) else { return };
    let is_local = host == "localhost" || host.starts_with("127.");
    let has_proxy = !config.trusted_proxies.is_empty();
    if origin.starts_with("https://") && config.tls == Tls::Off && !has_proxy {
        say(
            "public_url",
            format!(
                "{origin} is HTTPS, but nobody has a certificate; get one with [tls.acme], set tls.cert and tls.key, or list the TLS proxy in front in `trusted_proxies`."
            ),
        );
    }
    if origin.starts_with("http://") && !is_local {
        say(
            "public_url",
            format!(
                "browsers give no camera to pages on {origin}; make it https:// and get a certificate with [tls.acme], or set tls.cert and tls.key."
            ),
        );
    }
    if config.listen.ip().is_loopback() && !is_local && !has_proxy {
        say(
            "listen",
            format!(
                "the server listens on {} alone, so nobody outside reaches {host}; set listen = \"0.0.0.0:{}\".",
                config.listen.ip(),
                config.listen.port()
            ),
        );
    }
    let Some(resolved) = &facts.resolved else {
        return say(
            "name",
            format!("{host} has no address; make a DNS record for it that leads to this machine."),
        );
    };
    let is_ours = |ip: &IpAddr| facts.own.contains(ip) || config.public_addresses.contains(ip);
    if !has_proxy
        && !resolved.iter().any(is_ours)
        && let Some(outside) = resolved.first()
    {
        say(
            "public_addresses",
            format!(
                "{host} leads to {outside}, which this machine does not know as its own, so media would be offered at addresses that nobody reaches; if a NAT maps it here, set public_addresses = [\"{outside}\"], else correct the DNS record."
            ),
        );
    }
    let port = config.listen.port();
    let offered = if config.public_addresses.is_empty() {
        &facts.own
    } else {
        &config.public_addresses
    };
    let public_name = resolved.iter().any(|ip| is_public(*ip));
    if public_name && !config.public_addresses.is_empty() && !offered.iter().any(|ip| is_public(*ip)) {
        say(
            "public_addresses",
            format!(
                "all of public_addresses are private, but {host} is in the public internet; name the public address there."
            ),
        );
    } else if resolved.iter().any(is_ours) && offered.iter().all(|ip| refused_by_chromium(*ip, port)) {
        say(
            "port",
            format!(
                "Chromium takes no media from port {port} of these addresses, so no visit would connect; in a network of your own use a port above 1023, e.g. listen = \"0.0.0.0:8443\"."
            ),
        );
    }
}

/// What is in the way of a certificate by ACME.
fn acme(facts: &Facts, say: &mut impl FnMut(&'static str, String)) {
    let Tls::Acme(acme) = &facts.config.tls else { return };
    let host = &acme.host;
    let origin = facts.config.public_url.as_deref().and_then(host_and_port);
    let port = origin.map_or(443, |(_, port)| port);
    // An authority of one's own in a laboratory may look wherever it likes.
    if port != 443 && acme.root.is_none() {
        say(
            "acme",
            format!(
                "the authority looks at port 443 of {host} and nowhere else, but public_url names port {port}; use port 443, or give certificate files as tls.cert and tls.key."
            ),
        );
    }
    let Some(trouble) = &facts.acme_trouble else {
        if let Certificate::Good { not_after, .. } = facts.certificate
            && facts.now >= not_after
        {
            say(
                "acme",
                "the certificate has ended, for the server was not running when it was time for another; start the server, and it asks for one.".to_owned(),
            );
        }
        return;
    };
    let what = match facts.certificate {
        Certificate::Good { not_after, .. } => {
            let days = (not_after - facts.now).div_euclid(24 * 3_600);
            format!("the certificate is not renewed and ends in {} days", days.max(0))
        }
        _ => format!("there is no certificate for {host} yet"),
    };
    say(
        "acme",
        format!(
            "{what}: {trouble}; see that {host} leads to this machine in the DNS and that TCP port 443 of it is open to everybody, and the server tries again by itself."
        ),
    );
}

fn certificate(facts: &Facts, say: &mut impl FnMut(&'static str, String)) {
    let host = facts.config.public_url.as_deref().and_then(host_and_port);
    let host = host.map(|(host, _)| host);
    let Certificate::Good {
        not_before,
        not_after,
        names,
        chain,
        is_root,
    } = &facts.certificate
    else {
        match &facts.certificate {
            Certificate::Unusable(why) => say("certificate", format!("{why}.")),
            Certificate::SelfSigned => {
                if let Some(host) = host.filter(|host| host != "localhost") {
                    say(
                        "certificate",
                        format!(
                            "browsers warn patients of the self-signed certificate, and TURN over TLS does not work with it; get one for {host} with [tls.acme], or set tls.cert and tls.key."
                        ),
                    );
                }
            }
            Certificate::None | Certificate::Awaited | Certificate::Good { .. } => {}
        }
        return;
    };
    let days = |from: i64| from.div_euclid(24 * 3_600);
    if facts.now < *not_before {
        say(
            "certificate",
            format!(
                "it is not valid for another {} days; set the machine's clock right, or use the certificate from then on.",
                days(not_before - facts.now).max(1)
            ),
        );
    } else if matches!(facts.config.tls, Tls::Acme(_)) {
        // It is renewed by the server; what is in the way of that has been said.
    } else if facts.now >= *not_after {
        say(
            "certificate",
            format!(
                "it ended {} days ago; renew it, and put the new one into the same files: it is used at once.",
                days(facts.now - not_after)
            ),
        );
    } else if not_after - facts.now < EXPIRES_SOON {
        say(
            "certificate",
            format!(
                "it ends in {} days; renew it now, and see why that did not happen by itself.",
                days(not_after - facts.now)
            ),
        );
    }
    if let Some(host) = host
        && !names.iter().any(|name| covers(name, host.trim_matches(['[', ']'])))
    {
        say(
            "certificate",
            format!("it is not for {host}; get one that names it, for browsers refuse this one."),
        );
    }
    if *chain == 1 && !is_root {
        say(
            "certificate",
            "the file has the certificate without its chain, which some phones refuse; use the full chain (fullchain.pem).".to_owned(),
        );
    }
}

/// Whether a name in a certificate is good for a host (RFC 9525 §6.3: a wildcard stands for one label).
fn covers(name: &str, host: &str) -> bool {
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    match name.strip_prefix("*.") {
        None => same(name, host),
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| same(rest, parent)),
    }
}

fn relay(facts: &Facts, say: &mut impl FnMut(&'static str, String)) {
    if facts.config.relay == Relay::HandOverUdp {
        say(
            "turn.relay",
            "\"hand-over-udp\" keeps Chromium from ever taking the direct path; set turn.relay = \"hand-over\"."
                .to_owned(),
        );
    }
    if facts.config.relay == Relay::Off && facts.config.tls != Tls::Off {
        say(
            "turn.relay",
            "patients behind a firewall that lets only TLS out cannot be reached without the relay; set turn.relay = \"hand-over\".".to_owned(),
        );
    }
    let port = facts.config.listen.port();
    for (way, answer) in [
        ("UDP", facts.relay_udp),
        ("TCP", facts.relay_tcp),
        ("TLS", facts.relay_tls),
    ] {
        if answer == Answer::Missing {
            say(
                "relay",
                format!(
                    "the server runs, but its relay does not answer over {way} on port {port}; let the machine's own firewall pass it, and look into the log."
                ),
            );
        }
    }
}

fn machine(facts: &Facts, say: &mut impl FnMut(&'static str, String)) {
    let data = facts.config.data_dir.display();
    if !facts.data_writable && facts.data_owner.is_none() {
        say(
            "data",
            format!("this user cannot write to {data}; make the directory his, or name another as `data_dir`."),
        );
    }
    if let Some(free) = facts.disk_free.filter(|free| *free < DISK_LOW) {
        say(
            "disk",
            format!(
                "{} MiB are left for {data}; make room, for without it no visit can be stored.",
                free / (1024 * 1024)
            ),
        );
    }
    if let Some(written) = facts.data_written.filter(|written| *written > facts.now + 300) {
        say(
            "clock",
            format!(
                "the data was last written {} s after the machine's clock; set the clock right and keep it so (systemd-timesyncd or chrony).",
                written - facts.now
            ),
        );
    }
    if let Some(bytes) = facts.socket_buffer.filter(|bytes| *bytes < SOCKET_BUFFER_LOW) {
        say(
            "kernel",
            format!(
                "sockets may buffer {bytes} bytes, so bursts of video are lost in the machine itself; set net.core.rmem_max and net.core.wmem_max to 8388608 (sysctl)."
            ),
        );
    }
}

/// How long an answer from this machine may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the server on this machine is asked.
fn own_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    };
    SocketAddr::new(ip, listen.port())
}
