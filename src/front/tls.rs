//! TLS: what certificate is shown, and how it is changed while connections go on. TURN and HTTPS share it.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::metrics::FrontMetrics;
use crate::acme::Place;
use crate::config::{Tls, TlsVersion};

/// What can be asked for by name (RFC 7301 §6, RFC 7443 §3). HTTP/1.1 only: WebSockets need it.
const PROTOCOLS: [&[u8]; 3] = [b"http/1.1", b"stun.turn", ACME];
/// What an authority asks for when it looks whether a name is ours (RFC 8737 §6.2). It is answered only while that is so.
pub(super) const ACME: &[u8] = b"acme-tls/1";

/// How often the files are looked at. New handshakes are on a new certificate within this and the time to read it.
const LOOK: Duration = Duration::from_secs(1);

/// Why there is no certificate. Each says what to do; none shows anything of a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read. Check the path in [tls], and that this user may read it", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// A file has something else in it.
    #[error("{} has no {what} in PEM. Give the chain as tls.cert (your own certificate first) and its key as tls.key", path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Key and certificate do not fit.
    #[error("the key in {} is not that of the first certificate in {}. Give the pair that was issued together", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The TLS library takes neither.
    #[error(
        "the certificate cannot be used for TLS ({0}). Use an RSA (2048 bits or more), P-256, P-384 or Ed25519 key"
    )]
    Unusable(#[source] rustls::Error),
    /// One could not be made.
    #[error("a self-signed certificate could not be made for these names. Check public_url")]
    SelfSigned(#[source] rcgen::Error),
}

/// The certificate that new handshakes get.
pub(crate) struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
    /// What an authority is shown that asks for this name, while it is to look.
    challenge: RwLock<Option<Challenge>>,
    provider: Arc<CryptoProvider>,
}

struct Challenge {
    host: String,
    key: Arc<CertifiedKey>,
}

/// While it lives, the authority is answered.
pub(crate) struct Answering(Arc<Certificate>);

impl Drop for Answering {
    fn drop(&mut self) {
        *self.0.challenge.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // An authority names this protocol and no other (RFC 8737 §3); nobody else names it at all.
        if !hello.alpn().is_some_and(|mut names| names.any(|name| name == ACME)) {
            return Some(self.get());
        }
        let challenge = self.challenge.read().unwrap_or_else(PoisonError::into_inner);
        let asked = hello.server_name()?;
        let challenge = challenge.as_ref();
        let challenge = challenge.filter(|challenge| challenge.host.eq_ignore_ascii_case(asked))?;
        Some(Arc::clone(&challenge.key))
    }
}

impl Certificate {
    /// The one that the configuration names, or one of its own making for `names`. `None` without TLS. What came by ACME is in `data`;
    /// until something has come, there is one of its own making.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn open(tls: &Tls, data: &Path, names: Vec<String>) -> Result<Option<Arc<Self>>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let first = match tls {
            Tls::Off => return Ok(None),
            Tls::Files { cert, key } => load(cert, key, &provider)?,
            Tls::SelfSigned => self_signed(names, &provider)?,
            Tls::Acme(acme) => {
                let file = Place::of(acme, data).certificate();
                match load(&file, &file, &provider) {
                    Ok(pair) => pair,
                    // Whatever is wrong with it: a new one will be asked for.
                    Err(_) => self_signed(names, &provider)?,
                }
            }
        };
        Ok(Some(Arc::new(Self {
            current: RwLock::new(Arc::new(first)),
            challenge: RwLock::new(None),
            provider,
        })))
    }

    /// What accepts connections with it.
    ///
    /// # Errors
    /// [`TlsError::Unusable`].
    pub(crate) fn acceptor(self: &Arc<Self>, oldest: TlsVersion) -> Result<TlsAcceptor, TlsError> {
        let versions: &[_] = match oldest {
            TlsVersion::V13 => &[&TLS13],
            TlsVersion::V12 => &[&TLS13, &TLS12],
        };
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Answers an authority that looks whether `host` is ours, until what this gives is dropped. `digest` is what it wants to see (RFC 8737 §3).
    ///
    /// # Errors
    /// [`TlsError::SelfSigned`], [`TlsError::Unusable`].
    pub(crate) fn answer(self: &Arc<Self>, host: &str, digest: &[u8; 32]) -> Result<Answering, TlsError> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(TlsError::SelfSigned)?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = Arc::new(sign_itself(&params, &self.provider)?);
        let challenge = Challenge {
            host: host.to_owned(),
            key,
        };
        *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = Some(challenge);
        Ok(Answering(Arc::clone(self)))
    }

    fn get(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, key: CertifiedKey) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }

    /// The end of its validity, seconds of Unix time.
    pub(crate) fn not_after(&self) -> Option<i64> {
        not_after(&self.get())
    }
}

fn not_after(key: &CertifiedKey) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(key.cert.first()?).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Reads a chain and its key.
pub(crate) fn load(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|cause| TlsError::Unreadable {
            path: path.to_owned(),
            cause,
        })
    };
    let not_pem = |path: &Path, what| TlsError::NotPem {
        path: path.to_owned(),
        what,
    };
    let chain: Result<Vec<CertificateDer<'static>>, PemError> = CertificateDer::pem_slice_iter(&read(cert)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| not_pem(cert, "certificate"))?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| not_pem(key, "private key"))?;
    CertifiedKey::from_der(chain, secret, provider).map_err(|cause| match cause {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            cert: cert.to_owned(),
            key: key.to_owned(),
        },
        cause => TlsError::Unusable(cause),
    })
}

fn self_signed(names: Vec<String>, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let mut params = CertificateParams::new(names).map_err(TlsError::SelfSigned)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Housecall, self-signed");
    sign_itself(&params, provider)
}

fn sign_itself(params: &CertificateParams, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let key = KeyPair::generate().map_err(TlsError::SelfSigned)?;
    let certificate = params.self_signed(&key).map_err(TlsError::SelfSigned)?;
    let secret = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|_| TlsError::Unusable(rustls::Error::General("a key that was just made".to_owned())))?;
    // Not `from_der`, which looks whether they fit and refuses the extension that an authority wants to see.
    let key = provider.key_provider.load_private_key(secret);
    Ok(CertifiedKey::new(
        vec![certificate.into()],
        key.map_err(TlsError::Unusable)?,
    ))
}

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    inode: u64,
    len: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let of = |metadata: Metadata| Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
            len: metadata.len(),
        };
        std::fs::metadata(path).ok().map(of)
    }
}

/// Looks after the files for ever: a new pair is shown to new handshakes; connections go on with what they have. A pair that cannot be used
/// (half written, or one file of two) changes nothing, and is tried again when a file changes again. `changed` is told of each new one, for it
/// may be the wrong one: for another name, or soon over.
pub(crate) async fn watch(
    certificate: Arc<Certificate>,
    cert: PathBuf,
    key: PathBuf,
    metrics: FrontMetrics,
    changed: Arc<Notify>,
) {
    let stamps = || (Stamp::of(&cert), Stamp::of(&key));
    let note = |certificate: &Certificate| {
        let end = certificate.not_after().unwrap_or_default();
        metrics.certificate.with_label_values(&["not_after"]).set(end);
    };
    // There is none yet where the first is still to come by ACME; the figure is 0 then, which is an alarm.
    if cert.exists() {
        note(&certificate);
    }
    // What was read at the start may have changed since; then it is read once more than necessary.
    let mut seen = (None, None);
    let mut interval = tokio::time::interval(LOOK);
    loop {
        interval.tick().await;
        let is = stamps();
        if is == seen {
            continue;
        }
        seen = is;
        match load(&cert, &key, &certificate.provider) {
            Ok(new) if new.cert == certificate.get().cert => {}
            Ok(new) => {
                certificate.set(new);
                note(&certificate);
                metrics.certificate.with_label_values(&["reloads"]).inc();
                tracing::info!("a new certificate is in use");
                changed.notify_one();
            }
            Err(cause) => {
                tracing::warn!(%cause, "the certificate's files have changed, and the one before stays in use");
            }
        }
    }
}
