//! Time-limited credentials: the username says until when it is good and for whom, the password proves that we said so. The form is
//! the one that other TURN servers call a shared secret (`username = expiry:id`, `password = base64(HMAC-SHA1(secret, username))`), so
//! that software which mints its own credentials can use this relay. Nothing is stored for any of them.

use aws_lc_rs::{digest, hmac};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use md5::{Digest as _, Md5};

use crate::limits;
use crate::stun::IntegrityKey;

/// The realm (RFC 8489 §14.9). It names nothing to anybody; four bytes keep the answer to a stranger within twice its request.
pub const REALM: &str = "turn";

/// Seconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixSeconds(pub u64);

/// A username and its password, as a client is given them. A secret: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `expiry:id`.
    pub username: String,
    /// Good until then.
    pub password: String,
}

/// What passwords are derived from. A secret: no `Debug`.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// A secret of the process, or one shared with the software that mints credentials for the public relay.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret))
    }

    /// Credentials for `id` (printable ASCII, at most 64 bytes, an opaque number: it is seen on the wire) until `expires`.
    #[must_use]
    pub fn mint(&self, id: &str, expires: UnixSeconds) -> Credentials {
        debug_assert!(is_id(id), "an id is opaque and short");
        let username = format!("{}:{id}", expires.0);
        let password = BASE64_STANDARD.encode(hmac::sign(&self.0, username.as_bytes()));
        Credentials { username, password }
    }

    /// The key that protects messages of `username` (RFC 8489 §9.2.2).
    pub(crate) fn key(&self, username: &str, algorithm: PasswordAlgorithm) -> IntegrityKey {
        let tag = hmac::sign(&self.0, username.as_bytes());
        // Base64 of 20 bytes.
        let mut password = [0; 28];
        let written = BASE64_STANDARD.encode_slice(tag.as_ref(), &mut password);
        debug_assert_eq!(written.ok(), Some(28), "28 characters hold 20 bytes");
        let parts: [&[u8]; 5] = [username.as_bytes(), b":", REALM.as_bytes(), b":", &password];
        match algorithm {
            PasswordAlgorithm::Md5 => {
                let mut hash = Md5::new();
                parts.iter().for_each(|part| hash.update(part));
                IntegrityKey::new(&hash.finalize())
            }
            PasswordAlgorithm::Sha256 => {
                let mut hash = digest::Context::new(&digest::SHA256);
                parts.iter().for_each(|part| hash.update(part));
                IntegrityKey::new(hash.finish().as_ref())
            }
        }
    }
}

/// How a key is made of a password (RFC 8489 §18.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordAlgorithm {
    /// What every client of RFC 5389 uses.
    Md5,
    /// What a client of RFC 8489 uses.
    Sha256,
}

impl PasswordAlgorithm {
    /// The value of PASSWORD-ALGORITHMS: ours, best first, none with parameters.
    pub(crate) const LIST: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

    /// By the value of PASSWORD-ALGORITHM.
    pub(crate) fn from_value(value: &[u8]) -> Option<Self> {
        match value {
            [0, 1, 0, 0] => Some(Self::Md5),
            [0, 2, 0, 0] => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// A username taken apart. Nothing is proved by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Username<'a> {
    /// When the credentials end.
    pub(crate) expires: UnixSeconds,
    /// Whom they are for.
    pub(crate) id: &'a str,
}

impl<'a> Username<'a> {
    /// `None` for what [`Secret::mint`] would not have written.
    pub(crate) fn parse(username: &'a str) -> Option<Self> {
        let (expires, id) = username.split_once(':')?;
        let is_number = (1..=12).contains(&expires.len()) && expires.bytes().all(|byte| byte.is_ascii_digit());
        (username.len() <= limits::MAX_USERNAME && is_number && is_id(id)).then(|| {
            Some(Self {
                expires: UnixSeconds(expires.parse().ok()?),
                id,
            })
        })?
    }
}

/// A user of the relay: everything that quotas are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct User(u64);

impl User {
    /// The user of an id. Ids are only ever those we signed, so 64 bits of a hash are enough to tell them apart.
    pub(crate) fn new(id: &str) -> Self {
        Self(truncated(id.as_bytes()))
    }
}

/// A name for a whole username, kept with the allocation that was made with it (RFC 8656 §5, error 441).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UsernameHash(u64);

impl UsernameHash {
    pub(crate) fn new(username: &str) -> Self {
        Self(truncated(username.as_bytes()))
    }
}

fn truncated(bytes: &[u8]) -> u64 {
    let hash = digest::digest(&digest::SHA256, bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_ref()[..8]);
    u64::from_be_bytes(first)
}

fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_what_shared_secret_software_computes() {
        // printf '1700000000:17' | openssl dgst -sha1 -hmac north -binary | base64
        let minted = Secret::new(b"north").mint("17", UnixSeconds(1_700_000_000));
        assert_eq!(minted.username, "1700000000:17");
        assert_eq!(minted.password, "kBWQ/P778ObHMHyqoQNiczNoJIY=");
    }

    #[test]
    fn usernames_that_we_would_not_write_are_none() {
        let longest = "x".repeat(64);
        for (username, expected) in [
            ("17:a", Some((17, "a"))),
            ("0017:a:b", Some((17, "a:b"))),
            ("17:", None),
            (":a", None),
            ("17", None),
            ("-1:a", None),
            ("+1:a", None),
            ("1e3:a", None),
            ("9999999999999:a", None),
            ("17:a b", None),
            ("17:ä", None),
            (&format!("17:{longest}"), Some((17, longest.as_str()))),
            (&format!("17:{longest}x"), None),
        ] {
            let parsed = Username::parse(username).map(|name| (name.expires.0, name.id));
            assert_eq!(parsed, expected, "{username}");
        }
    }
}
