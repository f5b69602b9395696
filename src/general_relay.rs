//! The general relay as the configuration has it: `turn.relay = "public"`.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use housecall_sfu::{PublicRelay, PublicRelayError, PublicRelaySettings, usable_addresses};
use housecall_turn::{Bindings, Network, Quotas, Secret};
use ipnet::IpNet;
use prometheus::Registry;

use crate::ServeError;
use crate::config::{Config, GeneralRelay};
use crate::ports::{TRIES, listen, refused};

/// Shortest secret taken, bytes: 128 bits as hexadecimal digits.
const SHORTEST_SECRET: usize = 32;

/// Why the secret cannot be used. None shows anything of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("{} cannot be read. Check turn.secret_file, and that this user may read it", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: std::io::Error,
    },
    /// It could be guessed.
    #[error("the secret in {} is shorter than {SHORTEST_SECRET} characters. Make one with: openssl rand -hex 32", path.display())]
    Short {
        /// Which file.
        path: PathBuf,
    },
}

/// The relay, and where its clients come to by TCP.
pub(crate) struct General {
    pub(crate) relay: PublicRelay,
    pub(crate) listener: TcpListener,
}

/// Starts it, if there is to be one.
pub(crate) fn start(config: &Config, registry: &Registry) -> Result<Option<General>, ServeError> {
    let Some(general) = &config.general_relay else {
        return Ok(None);
    };
    let secret = secret(&general.secret_file).map_err(ServeError::RelaySecret)?;
    let chosen_by_kernel = general.listen.port() == 0;
    for _ in 1..TRIES {
        match start_once(config, general, &secret, registry) {
            Err(ServeError::PortTaken { .. }) if chosen_by_kernel => {}
            outcome => return outcome.map(Some),
        }
    }
    start_once(config, general, &secret, registry).map(Some)
}

fn start_once(
    config: &Config,
    general: &GeneralRelay,
    secret: &Secret,
    registry: &Registry,
) -> Result<General, ServeError> {
    let listener = listen(general.listen)?;
    let address = listener.local_addr().map_err(ServeError::Runtime)?;
    let settings = settings(config, general, address, secret.clone());
    let relay = PublicRelay::start(settings, registry).map_err(|cause| match cause {
        PublicRelayError::Bind { address, source } => refused("UDP", address, source),
        PublicRelayError::Thread(cause) => ServeError::Runtime(cause),
        PublicRelayError::Metrics(cause) => ServeError::Metrics(cause),
    })?;
    Ok(General { relay, listener })
}

fn settings(config: &Config, general: &GeneralRelay, listen: SocketAddr, secret: Secret) -> PublicRelaySettings {
    let addresses = if general.addresses.is_empty() {
        usable_addresses(&config.public_addresses, listen)
    } else {
        general.addresses.clone()
    };
    PublicRelaySettings {
        listen,
        addresses,
        ports: general.ports.clone(),
        secret,
        bindings: if general.answer_stun {
            Bindings::Answer
        } else {
            Bindings::Ignore
        },
        allowed: general.allow_peers.iter().map(network).collect(),
        denied: general.deny_peers.iter().map(network).collect(),
        quotas: Quotas {
            per_user: general.allocations_per_user,
            // Other software's users may all come through one server of theirs.
            per_prefix: general.allocations,
            total: general.allocations,
            bytes_per_second: general.kbps_per_allocation.saturating_mul(125),
        },
    }
}

fn network(network: &IpNet) -> Network {
    Network {
        first: network.network(),
        prefix: network.prefix_len(),
    }
}

/// The secret in a file, without the white space around it.
fn secret(path: &Path) -> Result<Secret, SecretError> {
    let text = std::fs::read(path).map_err(|cause| SecretError::Unreadable {
        path: path.to_owned(),
        cause,
    })?;
    let secret = text.trim_ascii();
    if secret.len() < SHORTEST_SECRET {
        return Err(SecretError::Short { path: path.to_owned() });
    }
    Ok(Secret::new(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_could_be_guessed_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        assert!(matches!(secret(&path), Err(SecretError::Unreadable { .. })));
        for (text, fine) in [
            ("", false),
            ("changeme\n", false),
            (" 0123456789abcdef0123456789abcdef\n", true),
        ] {
            std::fs::write(&path, text).expect("written");
            let read = secret(&path);
            assert_eq!(read.is_ok(), fine, "{text:?}");
            if let Err(refusal) = read {
                assert!(!refusal.to_string().contains("changeme"), "{refusal}");
            }
        }
    }
}
