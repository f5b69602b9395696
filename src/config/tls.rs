//! `[tls]`: the certificate of HTTPS and of TURN over TLS.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::ServerName;

use super::ConfigError;
use crate::ports::host_and_port;

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
    /// A certificate by ACME.
    pub acme: WrittenAcme,
}

/// `[tls.acme]` as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenAcme {
    /// Whether whoever runs this server agrees to the authority's terms; this is what turns ACME on.
    pub terms_agreed: bool,
    /// An e-mail address for the authority, or nothing.
    pub contact: String,
    /// The authority's directory.
    pub directory: String,
    /// The certificate in PEM that the directory's own certificate leads to; empty: those of the system.
    pub root: PathBuf,
}

/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

impl Default for WrittenAcme {
    fn default() -> Self {
        Self {
            terms_agreed: false,
            contact: String::new(),
            directory: LETS_ENCRYPT.to_owned(),
            root: PathBuf::new(),
        }
    }
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
    /// From an authority, by ACME, to which its terms were agreed.
    Acme(Acme),
}

/// How to get a certificate by ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The name it is for: that of `public_url`.
    pub host: String,
    /// An e-mail address for the authority.
    pub contact: Option<String>,
    /// The authority's directory.
    pub directory: String,
    /// The one certificate that the directory's may lead to; `None`: those of the system.
    pub root: Option<PathBuf>,
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
pub(super) fn check(written: WrittenTls, public_url: Option<&str>) -> Result<Tls, ConfigError> {
    let is_there = |path: &Path| !path.as_os_str().is_empty();
    let has_files = is_there(&written.cert) || is_there(&written.key);
    if let Some(acme) = acme(&written.acme, public_url)? {
        if has_files || written.self_signed {
            return Err(ConfigError::new(
                "tls.acme",
                "there is another certificate as well",
                "Keep either tls.acme, or tls.cert and tls.key, or tls.self_signed",
            ));
        }
        return Ok(Tls::Acme(acme));
    }
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

/// What is asked of an authority, if its terms were agreed to.
fn acme(written: &WrittenAcme, public_url: Option<&str>) -> Result<Option<Acme>, ConfigError> {
    if !written.terms_agreed {
        if *written != WrittenAcme::default() {
            return Err(ConfigError::new(
                "tls.acme.terms_agreed",
                "the other keys of [tls.acme] do nothing without it",
                "Read the authority's terms (https://letsencrypt.org/repository for Let's Encrypt) and set it to true, or leave [tls.acme] out",
            ));
        }
        return Ok(None);
    }
    let origin = public_url.filter(|origin| origin.starts_with("https://"));
    let host = origin.and_then(host_and_port).map(|(host, _)| host);
    let host = host.filter(|host| matches!(ServerName::try_from(host.as_str()), Ok(ServerName::DnsName(_))));
    let host = host.filter(|host| host.contains('.')).ok_or_else(|| {
        ConfigError::new(
            "tls.acme",
            "an authority gives certificates to names in the DNS only, and `public_url` has none",
            "Set public_url to https:// and the name, e.g. \"https://visits.example.org\"",
        )
    })?;
    let contact = Some(written.contact.trim()).filter(|contact| !contact.is_empty());
    if contact.is_some_and(|contact| !contact.contains('@') || contact.contains([':', '?', ',', ' '])) {
        return Err(ConfigError::new(
            "tls.acme.contact",
            "it is not one e-mail address",
            "Write it like \"it@example.org\", or leave it out",
        ));
    }
    if !written.directory.starts_with("https://") {
        return Err(ConfigError::new(
            "tls.acme.directory",
            "it does not begin with https://",
            format_args!("Use the directory address of the authority; that of Let's Encrypt is {LETS_ENCRYPT}"),
        ));
    }
    Ok(Some(Acme {
        host: host.to_ascii_lowercase(),
        contact: contact.map(str::to_owned),
        directory: written.directory.clone(),
        root: Some(written.root.clone()).filter(|root| !root.as_os_str().is_empty()),
    }))
}
