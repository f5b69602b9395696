//! `[turn]`: what the embedded relay is for, and what the general relay may do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{ConfigError, in_range, networks};

/// Allocations of one user of the general relay, and of all. One costs a socket and some kilobytes.
const PER_USER: RangeInclusive<u32> = 1..=10_000;
const TOTAL: RangeInclusive<u32> = 1..=32_768;
/// What one allocation may relay, both directions together, kbit/s: from one voice to a 10 Gbit/s line.
const KBPS: RangeInclusive<u32> = 64..=10_000_000;
/// Ports below this belong to services.
const FIRST_PORT: u16 = 1_024;

/// `[turn]` as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenTurn {
    /// See [`super::Config::relay`].
    pub relay: Relay,
    /// See [`GeneralRelay::listen`].
    #[serde(deserialize_with = "super::listen")]
    pub listen: SocketAddr,
    /// See [`GeneralRelay::secret_file`].
    pub secret_file: PathBuf,
    /// See [`GeneralRelay::addresses`].
    pub addresses: Vec<IpAddr>,
    /// See [`GeneralRelay::ports`]: the first and the last.
    pub ports: [u16; 2],
    /// See [`GeneralRelay::answer_stun`].
    pub answer_stun: bool,
    /// See [`GeneralRelay::allow_peers`].
    pub allow_peers: Vec<String>,
    /// See [`GeneralRelay::deny_peers`].
    pub deny_peers: Vec<String>,
    /// See [`GeneralRelay::allocations_per_user`].
    pub allocations_per_user: u32,
    /// See [`GeneralRelay::allocations`].
    pub allocations: u32,
    /// See [`GeneralRelay::kbps_per_allocation`].
    pub kbps_per_allocation: u32,
}

impl Default for WrittenTurn {
    fn default() -> Self {
        Self {
            relay: Relay::default(),
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 3478)),
            secret_file: PathBuf::new(),
            addresses: Vec::new(),
            ports: [49_152, 65_535],
            answer_stun: false,
            allow_peers: Vec::new(),
            deny_peers: Vec::new(),
            allocations_per_user: 16,
            allocations: 4_096,
            kbps_per_allocation: 10_000,
        }
    }
}

/// What the TURN relay is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relay {
    /// There is none.
    Off,
    /// For participants of visits, towards this server's own media.
    #[default]
    HandOver,
    /// The same, and browsers are told of TURN over UDP. Chromium then never takes the direct path.
    HandOverUdp,
    /// As [`Self::HandOver`], and on a port of its own a relay for other software.
    Public,
}

impl From<Relay> for housecall_sfu::Relay {
    fn from(relay: Relay) -> Self {
        match relay {
            Relay::Off => Self::Off,
            // The general relay has nothing to do with the media port.
            Relay::HandOver | Relay::Public => Self::HandOver,
            Relay::HandOverUdp => Self::HandOverUdp,
        }
    }
}

/// The general relay: TURN for other software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneralRelay {
    /// Where its clients come to, by UDP, TCP and, where there is a certificate, TLS.
    pub listen: SocketAddr,
    /// The file with the secret that credentials are made of.
    pub secret_file: PathBuf,
    /// The addresses that relayed ports have for others, at most one of each family. Empty: those of this machine.
    pub addresses: Vec<IpAddr>,
    /// The relayed ports.
    pub ports: RangeInclusive<u16>,
    /// Whether anybody is told the address it comes from (STUN), credentials or not.
    pub answer_stun: bool,
    /// Peers that can be reached although they are no public addresses, or are in a network that this machine stands in.
    pub allow_peers: Vec<IpNet>,
    /// Peers that cannot be reached, not even if they are among those.
    pub deny_peers: Vec<IpNet>,
    /// Allocations of one user.
    pub allocations_per_user: u32,
    /// Allocations of all.
    pub allocations: u32,
    /// What one allocation may relay, both directions together, kbit/s.
    pub kbps_per_allocation: u32,
}

/// What the general relay may do, if there is one.
pub(super) fn check(written: WrittenTurn) -> Result<Option<GeneralRelay>, ConfigError> {
    in_range("turn.allocations_per_user", &written.allocations_per_user, &PER_USER)?;
    in_range("turn.allocations", &written.allocations, &TOTAL)?;
    in_range("turn.kbps_per_allocation", &written.kbps_per_allocation, &KBPS)?;
    let [first, last] = written.ports;
    if first < FIRST_PORT || last < first {
        return Err(ConfigError::new(
            "turn.ports",
            format_args!("{first} to {last} is no range of ports from {FIRST_PORT} on"),
            "Name the first and the last, e.g. [49152, 65535]",
        ));
    }
    for (index, address) in written.addresses.iter().enumerate() {
        let before = &written.addresses[..index];
        let problem = if address.is_unspecified() || address.is_multicast() {
            "is not the address of a machine"
        } else if before.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            "is the second of its family"
        } else {
            continue;
        };
        return Err(ConfigError::new(
            "turn.addresses",
            format_args!("{address} {problem}"),
            "Name one IPv4 address, one IPv6 address, or one of each",
        ));
    }
    let allow_peers = networks("turn.allow_peers", &written.allow_peers)?;
    let deny_peers = networks("turn.deny_peers", &written.deny_peers)?;
    if written.relay != Relay::Public {
        return Ok(None);
    }
    if written.secret_file.as_os_str().is_empty() {
        return Err(ConfigError::new(
            "turn.secret_file",
            "the public relay needs a secret, and it is empty",
            "Name a file that only this user may read, made with: openssl rand -hex 32 > FILE",
        ));
    }
    Ok(Some(GeneralRelay {
        listen: written.listen,
        secret_file: written.secret_file,
        addresses: written.addresses,
        ports: first..=last,
        answer_stun: written.answer_stun,
        allow_peers,
        deny_peers,
        allocations_per_user: written.allocations_per_user,
        allocations: written.allocations,
        kbps_per_allocation: written.kbps_per_allocation,
    }))
}
