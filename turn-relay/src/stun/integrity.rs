//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.5, §14.6).

use aws_lc_rs::hmac;

use super::HEADER_LEN;
use super::message::{Message, attribute_at};

/// Bytes of type and length before an integrity value.
const ATTRIBUTE_HEADER_LEN: usize = 4;

/// Which attribute protects a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// MESSAGE-INTEGRITY.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256.
    Sha256,
}

/// Why a message is not authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntegrityError {
    /// Neither attribute is there.
    #[error("the message has no integrity attribute")]
    Absent,
    /// The value is of the wrong length or does not fit message and key.
    #[error("the integrity attribute does not fit")]
    Wrong,
}

/// An HMAC key ready for both functions: the password for short-term credentials, a hash of user, realm and password for
/// long-term ones (§9.1.1, §9.2.2). A secret: no `Debug`.
#[derive(Clone)]
pub struct IntegrityKey {
    sha1: hmac::Key,
    sha256: hmac::Key,
}

impl IntegrityKey {
    /// Prepares the key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self {
            sha1: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key),
            sha256: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// The HMAC over `bytes[..at]` as if the message ended behind the integrity attribute that begins at `at`.
    pub(super) fn sign(&self, integrity: Integrity, bytes: &[u8], at: usize) -> hmac::Tag {
        let key = match integrity {
            Integrity::Sha1 => &self.sha1,
            Integrity::Sha256 => &self.sha256,
        };
        let length = at - HEADER_LEN + ATTRIBUTE_HEADER_LEN + key.algorithm().tag_len();
        let mut context = hmac::Context::with_key(key);
        context.update(&bytes[..2]);
        context.update(&(length as u16).to_be_bytes());
        context.update(&bytes[4..at]);
        context.sign()
    }
}

impl Message<'_> {
    /// Checks the integrity attribute in constant time; the SHA-256 one if both are there (§9.1.3). Says which it was, for
    /// the answer must be protected in the same way.
    ///
    /// # Errors
    /// See [`IntegrityError`].
    pub fn verify_integrity(&self, key: &IntegrityKey) -> Result<Integrity, IntegrityError> {
        let (integrity, at) = match (self.integrity_sha256_at, self.integrity_at) {
            (Some(at), _) => (Integrity::Sha256, at),
            (None, Some(at)) => (Integrity::Sha1, at),
            (None, None) => return Err(IntegrityError::Absent),
        };
        let (attribute, _) = attribute_at(self.as_bytes(), at).ok_or(IntegrityError::Wrong)?;
        let expected = key.sign(integrity, self.as_bytes(), at);
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_ref(), attribute.value)
            .map(|()| integrity)
            .map_err(|_| IntegrityError::Wrong)
    }
}
