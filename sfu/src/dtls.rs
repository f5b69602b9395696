//! DTLS-SRTP as server (RFC 5763, RFC 5764). The only file that knows the DTLS library.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{constant_time, digest};

/// This server's certificate and key: one self-signed P-256 pair for the process.
pub(crate) struct Certificate {
    inner: dimpl::DtlsCertificate,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("making the DTLS certificate failed")]
pub(crate) struct CertificateError;

impl Certificate {
    /// A fresh one.
    pub(crate) fn generate() -> Result<Self, CertificateError> {
        let inner = dimpl::certificate::generate_self_signed_certificate().map_err(|_| CertificateError)?;
        Ok(Self { inner })
    }

    /// Its SHA-256 fingerprint, whose `Display` is the value of `a=fingerprint`.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(HashFunction::Sha256, &self.inner.certificate)
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
