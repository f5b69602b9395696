//! `[tls]`: the certificate of HTTPS and of TURN over TLS.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[tls]` as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenTls {
    /// The certificate chain in PEM; empty without TLS.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whether to make one, which browsers warn of.
    pub self_signed: bool,
    /// See [`super::Config::oldest_tls`].
    pub oldest: TlsVersion,
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// There is none: a proxy in front has it, or nobody but this machine comes.
    Off,
    /// Two files in PEM, looked after while the server runs.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made at the start.
    SelfSigned,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// With AEAD ciphers only.
    #[serde(rename = "1.2")]
    V12,
    /// What all browsers of the last years speak.
    #[default]
    #[serde(rename = "1.3")]
    V13,
}

/// Where the certificate comes from.
pub(super) fn check(written: WrittenTls) -> Result<Tls, ConfigError> {
    let is_there = |path: &Path| !path.as_os_str().is_empty();
    match (is_there(&written.cert), is_there(&written.key), written.self_signed) {
        (false, false, false) => Ok(Tls::Off),
        (false, false, true) => Ok(Tls::SelfSigned),
        (true, true, false) => Ok(Tls::Files {
            cert: written.cert,
            key: written.key,
        }),
        (_, _, true) => Err(ConfigError::new(
            "tls.self_signed",
            "there are files as well",
            "Keep either the files or self_signed",
        )),
        (true, false, false) => Err(ConfigError::new(
            "tls.key",
            "there is a certificate without a key",
            "Name the file with its private key",
        )),
        (false, true, false) => Err(ConfigError::new(
            "tls.cert",
            "there is a key without a certificate",
            "Name the file with the certificate chain",
        )),
    }
}
