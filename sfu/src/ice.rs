//! ICE-lite for one transport (RFC 8445).

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::api::IceCredentials;

/// Characters of a local user name fragment: 96 bits, so that it names a transport among all and cannot be guessed.
pub(crate) const UFRAG_LEN: usize = 16;

/// Characters of a local password: 144 bits (RFC 8445 §5.3 asks for 128).
pub(crate) const PWD_LEN: usize = 24;

/// Fresh random credentials for our side.
#[must_use]
pub(crate) fn generate_credentials() -> IceCredentials {
    IceCredentials {
        ufrag: random_ice_chars(UFRAG_LEN),
        pwd: random_ice_chars(PWD_LEN),
    }
}

/// `len` ≤ 32 random `ice-char`s (RFC 8839 §5.4), six bits each.
fn random_ice_chars(len: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system's random source works, else nothing here is safe");
    bytes[..len]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 63)]))
        .collect()
}
