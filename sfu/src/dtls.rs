//! DTLS-SRTP as server (RFC 5763, RFC 5764). The only file that knows the DTLS library.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest};
use dimpl::{Output, SrtpProfile};
use zeroize::Zeroizing;

use crate::limits::{MAX_DATAGRAM, MAX_DTLS_DATAGRAM, MAX_DTLS_QUEUE};
use crate::srtp::Profile;

/// When a flight is sent again for the first time; doubled each time after. RFC 6347 says a second, but a lost datagram
/// then costs a second of the patient's waiting. On a slower path it costs one needless flight of a kilobyte.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// How often a flight is sent again: 250 ms doubled seven times is past [`crate::limits::CONNECT_TIMEOUT`].
const RETRIES: usize = 7;

/// Room for whatever one call of the library can put out. The largest is the peer's certificate, which came in datagrams that
/// the library holds until it is whole. The library panics when it does not fit, so this is computed, not guessed.
const SCRATCH: usize = MAX_DTLS_DATAGRAM * MAX_DTLS_QUEUE;

/// A timeout beyond this is the library's way of saying that it waits for nothing.
const IDLE: Duration = Duration::from_secs(24 * 3_600);

/// This server's certificate and key: one self-signed P-256 pair for the process.
pub(crate) struct Certificate {
    inner: dimpl::DtlsCertificate,
    config: Arc<dimpl::Config>,
}

/// Why there is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("making the DTLS certificate failed")]
pub(crate) struct CertificateError;

impl Certificate {
    /// A fresh one.
    pub(crate) fn generate() -> Result<Self, CertificateError> {
        Self::with_config(config())
    }

    /// A fresh one whose connections time their retransmissions by a seed. Keys are as random as ever.
    #[cfg(test)]
    pub(crate) fn generate_seeded(seed: u64) -> Result<Self, CertificateError> {
        Self::with_config(config().dangerously_set_rng_seed(seed))
    }

    fn with_config(config: dimpl::ConfigBuilder) -> Result<Self, CertificateError> {
        let inner = dimpl::certificate::generate_self_signed_certificate().map_err(|_| CertificateError)?;
        let config = config.build().map_err(|_| CertificateError)?;
        Ok(Self {
            inner,
            config: Arc::new(config),
        })
    }

    /// Its SHA-256 fingerprint, whose `Display` is the value of `a=fingerprint`.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(HashFunction::Sha256, &self.inner.certificate)
    }
}

fn config() -> dimpl::ConfigBuilder {
    dimpl::Config::builder()
        .mtu(MAX_DATAGRAM)
        .max_queue_rx(MAX_DTLS_QUEUE)
        // The cookie would prove the sender's address at the price of a round trip. A check with valid MESSAGE-INTEGRITY
        // has proved it: `Transport` lets DTLS in from no other path.
        .use_server_cookie(false)
        .flight_start_rto(FIRST_RETRY)
        .flight_retries(RETRIES)
}

/// What a DTLS connection came to.
pub(crate) enum DtlsEvent {
    /// The handshake is done and the peer's certificate is the one of its SDP.
    Connected {
        /// The SRTP profile agreed.
        profile: Profile,
        /// What the exporter gave (RFC 5764 §4.2).
        keys: Zeroizing<Vec<u8>>,
    },
    /// The peer said goodbye.
    ClosedByPeer,
    /// The peer's certificate is another one.
    WrongFingerprint,
    /// Anything else. DTLS cannot go on from here.
    Failed,
}

/// The server's side of one DTLS connection.
pub(crate) struct Dtls {
    inner: dimpl::Dtls,
    expected: Fingerprint,
    state: State,
    timeout: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is known of the peer.
    Handshaking,
    /// The peer showed the certificate of its SDP; the handshake will prove that it has the key.
    CertificateMatches,
    /// The handshake is done; the exporter's keys come next.
    Finished,
    /// Keys were handed out.
    Connected,
    /// Closed or failed: the library must not be touched again.
    Over,
}

impl Dtls {
    /// Waits for a ClientHello.
    pub(crate) fn new(certificate: &Certificate, expected: Fingerprint, now: Instant) -> Self {
        let inner = dimpl::Dtls::new_12(Arc::clone(&certificate.config), certificate.inner.clone(), now);
        Self {
            inner,
            expected,
            state: State::Handshaking,
            timeout: None,
        }
    }

    /// Takes a datagram; what must be sent goes to `send`.
    pub(crate) fn handle_datagram(
        &mut self,
        datagram: &[u8],
        now: Instant,
        send: &mut impl FnMut(&[u8]),
    ) -> Option<DtlsEvent> {
        // Longer than any path's MTU: nobody's handshake.
        if self.state == State::Over || datagram.len() > MAX_DTLS_DATAGRAM {
            return None;
        }
        let outcome = self
            .inner
            .handle_timeout(now)
            .and_then(|()| self.inner.handle_packet(datagram));
        self.drain(&outcome, now, send)
    }

    /// Sends again what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, send: &mut impl FnMut(&[u8])) -> Option<DtlsEvent> {
        if self.timeout.is_none_or(|timeout| now < timeout) {
            return None;
        }
        let outcome = self.inner.handle_timeout(now);
        self.drain(&outcome, now, send)
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// Says goodbye (`close_notify`), if there is anybody to say it to.
    pub(crate) fn close(&mut self, send: &mut impl FnMut(&[u8])) {
        if self.state == State::Connected && self.inner.close().is_ok() {
            let mut scratch = [0; MAX_DATAGRAM];
            while let Output::Packet(packet) = self.inner.poll_output(&mut scratch) {
                send(packet);
            }
        }
        self.end();
    }

    fn end(&mut self) {
        self.state = State::Over;
        self.timeout = None;
    }

    /// Takes everything the library has to say. Its errors are all fatal; an alert may be waiting to be sent even so.
    fn drain(
        &mut self,
        outcome: &Result<(), dimpl::Error>,
        now: Instant,
        send: &mut impl FnMut(&[u8]),
    ) -> Option<DtlsEvent> {
        let mut scratch = [0; SCRATCH];
        let mut event = outcome.is_err().then_some(DtlsEvent::Failed);
        loop {
            match self.inner.poll_output(&mut scratch) {
                Output::Packet(packet) => send(packet),
                Output::PeerCert(certificate) if self.state == State::Handshaking => {
                    if self.expected.matches(certificate) {
                        self.state = State::CertificateMatches;
                    } else {
                        event = Some(DtlsEvent::WrongFingerprint);
                        break;
                    }
                }
                // Without the certificate's word there is no connection, whatever the library says.
                Output::Connected if self.state == State::CertificateMatches => self.state = State::Finished,
                Output::Connected => {
                    event = Some(DtlsEvent::Failed);
                    break;
                }
                Output::KeyingMaterial(material, profile) => {
                    let keys = Zeroizing::new(material.to_vec());
                    match (self.state, known_profile(profile)) {
                        (State::Finished, Some(profile)) => {
                            self.state = State::Connected;
                            event = Some(DtlsEvent::Connected { profile, keys });
                        }
                        _ => {
                            event = Some(DtlsEvent::Failed);
                            break;
                        }
                    }
                }
                Output::CloseNotify => {
                    // The goodbye in return is already queued behind this; let it out.
                    event = Some(DtlsEvent::ClosedByPeer);
                }
                Output::Timeout(at) => {
                    self.timeout = Some(at).filter(|at| at.saturating_duration_since(now) < IDLE);
                    break;
                }
                Output::BufferTooSmall { .. } => {
                    event = Some(DtlsEvent::Failed);
                    break;
                }
                // Nobody was offered data channels; what comes is thrown away.
                Output::ApplicationData(_) | Output::PeerCert(_) => {}
                _ => {}
            }
        }
        // Finished without keys: the peer agreed to no SRTP profile.
        if self.state == State::Finished && event.is_none() {
            event = Some(DtlsEvent::Failed);
        }
        if !matches!(event, None | Some(DtlsEvent::Connected { .. })) {
            self.end();
        }
        event
    }
}

fn known_profile(profile: SrtpProfile) -> Option<Profile> {
    match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::Aes128CmSha1_80),
        SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
        SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
        _ => None,
    }
}

/// A certificate's fingerprint as in SDP (RFC 8122 §5). `FromStr` takes and `Display` gives the attribute's value,
/// `sha-256 4A:AD:B9:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    hash: HashFunction,
    digest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HashFunction {
    Sha256,
    Sha384,
    Sha512,
}

impl HashFunction {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// Why a fingerprint was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FingerprintError {
    /// MD5, SHA-1 and unknown functions.
    #[error("the fingerprint's hash function is not sha-256, sha-384 or sha-512")]
    HashFunction,
    /// Not colon-separated hex of the function's length.
    #[error("the fingerprint is not colon-separated hexadecimal of its hash function's length")]
    Malformed,
}

impl Fingerprint {
    fn of(hash: HashFunction, certificate: &[u8]) -> Self {
        let digest = digest::digest(hash.algorithm(), certificate).as_ref().to_vec();
        Self { hash, digest }
    }

    /// From a SHA-256 digest.
    pub(crate) fn from_sha256(digest: [u8; 32]) -> Self {
        Self {
            hash: HashFunction::Sha256,
            digest: digest.to_vec(),
        }
    }

    /// Whether `certificate` (DER) has this fingerprint.
    fn matches(&self, certificate: &[u8]) -> bool {
        let other = Self::of(self.hash, certificate);
        constant_time::verify_slices_are_equal(&self.digest, &other.digest).is_ok()
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let (name, hex) = text.trim().split_once(' ').ok_or(FingerprintError::Malformed)?;
        let hash = HashFunction::ALL
            .into_iter()
            .find(|hash| hash.name().eq_ignore_ascii_case(name))
            .ok_or(FingerprintError::HashFunction)?;
        let digest = hex
            .trim()
            .split(':')
            .take(hash.algorithm().output_len() + 1)
            .map(|pair| match pair.as_bytes() {
                [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => u8::from_str_radix(pair, 16).ok(),
                _ => None,
            })
            .collect::<Option<Vec<u8>>>()
            .filter(|digest| digest.len() == hash.algorithm().output_len())
            .ok_or(FingerprintError::Malformed)?;
        Ok(Self { hash, digest })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.name())?;
        for (at, byte) in self.digest.iter().enumerate() {
            write!(f, "{}{byte:02X}", if at == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_print_and_parse() {
        let certificate = Certificate::generate().unwrap();
        let ours = certificate.fingerprint();
        assert_eq!(ours.to_string().parse(), Ok(ours.clone()));
        assert_eq!(ours.to_string().len(), "sha-256 ".len() + 32 * 3 - 1);
        assert!(ours.matches(&certificate.inner.certificate));
        assert!(!ours.matches(b"another"));
        for hash in HashFunction::ALL {
            let print = Fingerprint::of(hash, b"der");
            let parsed: Fingerprint = print.to_string().to_lowercase().parse().unwrap();
            assert!(parsed.matches(b"der"));
        }
    }

    #[test]
    fn bad_fingerprints_are_refused() {
        let good = Fingerprint::of(HashFunction::Sha256, b"der").to_string();
        for (text, error) in [
            (String::new(), FingerprintError::Malformed),
            ("sha-1 AA:BB".to_owned(), FingerprintError::HashFunction),
            ("sha-256 AA:BB".to_owned(), FingerprintError::Malformed),
            (good.replace(':', ""), FingerprintError::Malformed),
            (format!("{good}:00"), FingerprintError::Malformed),
            (good.replacen(':', ":+", 1), FingerprintError::Malformed),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(error), "{text}");
        }
    }
}
