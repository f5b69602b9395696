//! Nonces that need no memory: each says when it was made, and a MAC binds it to the client's address (RFC 8489 §9.2.4: "The server
//! MUST NOT choose the same NONCE for two requests unless they have the same source IP address and port").

use aws_lc_rs::{constant_time, hmac};
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};

use crate::address::{ClientAddr, ClientTransport};
use crate::limits;

/// The nonce cookie and the security features (RFC 8489 §9.2): bit 0, password algorithms, is set; usernames are not anonymous.
pub(crate) const COOKIE: &[u8; 13] = b"obMatJos2gAAA";

/// Bytes of MAC. Eighty bits cannot be guessed online.
const MAC_LEN: usize = 10;

/// Base64 of four bytes of time and the MAC, without padding.
const SEALED_LEN: usize = 19;

/// Bytes of a whole nonce.
pub(crate) const NONCE_LEN: usize = COOKIE.len() + SEALED_LEN;

/// Makes and checks nonces.
pub(crate) struct Nonces(hmac::Key);

impl Nonces {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A nonce for this client, good from `now` on (seconds of the server's life).
    pub(crate) fn issue(&self, client: ClientAddr, now: u32) -> [u8; NONCE_LEN] {
        let mut sealed = [0; 4 + MAC_LEN];
        sealed[..4].copy_from_slice(&now.to_be_bytes());
        sealed[4..].copy_from_slice(&self.mac(client, now));
        let mut nonce = [0; NONCE_LEN];
        nonce[..COOKIE.len()].copy_from_slice(COOKIE);
        let written = BASE64_STANDARD_NO_PAD.encode_slice(sealed, &mut nonce[COOKIE.len()..]);
        debug_assert_eq!(written.ok(), Some(SEALED_LEN), "19 characters hold 14 bytes");
        nonce
    }

    /// Whether we gave this nonce to this client, and not too long ago.
    pub(crate) fn is_valid(&self, nonce: &[u8], client: ClientAddr, now: u32) -> bool {
        let Some(sealed) = nonce.strip_prefix(COOKIE) else {
            return false;
        };
        let mut bytes = [0; 4 + MAC_LEN + 1];
        if sealed.len() != SEALED_LEN || BASE64_STANDARD_NO_PAD.decode_slice(sealed, &mut bytes) != Ok(4 + MAC_LEN) {
            return false;
        }
        let made = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let is_fresh = now.checked_sub(made).is_some_and(|age| age <= limits::NONCE_LIFETIME);
        let mac = self.mac(client, made);
        is_fresh && constant_time::verify_slices_are_equal(&mac, &bytes[4..4 + MAC_LEN]).is_ok()
    }

    fn mac(&self, client: ClientAddr, made: u32) -> [u8; MAC_LEN] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&made.to_be_bytes());
        context.update(&[match client.transport() {
            ClientTransport::Udp => 0,
            ClientTransport::Tcp => 1,
            ClientTransport::Tls => 2,
        }]);
        context.update(&client.remote().port().to_be_bytes());
        match client.remote().ip() {
            std::net::IpAddr::V4(v4) => context.update(&v4.octets()),
            std::net::IpAddr::V6(v6) => context.update(&v6.octets()),
        }
        let tag = context.sign();
        let mut mac = [0; MAC_LEN];
        mac.copy_from_slice(&tag.as_ref()[..MAC_LEN]);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> ClientAddr {
        ClientAddr::new(ClientTransport::Udp, address.parse().unwrap(), None)
    }

    #[test]
    fn a_nonce_serves_one_address_for_an_hour() {
        let nonces = Nonces::new(&[1; 32]);
        let here = client("192.0.2.1:5000");
        let nonce = nonces.issue(here, 100);
        assert_eq!(nonce.len(), 32);
        assert!(nonces.is_valid(&nonce, here, 100));
        assert!(nonces.is_valid(&nonce, here, 100 + limits::NONCE_LIFETIME));
        assert!(!nonces.is_valid(&nonce, here, 101 + limits::NONCE_LIFETIME));
        assert!(!nonces.is_valid(&nonce, here, 99), "made in the future");
        assert!(!nonces.is_valid(&nonce, client("192.0.2.1:5001"), 100));
        assert!(!nonces.is_valid(&nonce, client("192.0.2.2:5000"), 100));
        let tls = ClientAddr::new(ClientTransport::Tls, here.remote(), None);
        assert!(!nonces.is_valid(&nonce, tls, 100));
        assert!(!Nonces::new(&[2; 32]).is_valid(&nonce, here, 100), "another server");
    }

    #[test]
    fn no_changed_bit_passes() {
        let nonces = Nonces::new(&[1; 32]);
        let here = client("[2001:db8::1]:5000");
        let nonce = nonces.issue(here, 7);
        for bit in 0..nonce.len() * 8 {
            let mut changed = nonce;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!nonces.is_valid(&changed, here, 7), "bit {bit}");
        }
        for len in 0..nonce.len() {
            assert!(!nonces.is_valid(&nonce[..len], here, 7));
        }
        assert!(!nonces.is_valid(&[&nonce[..], b"A"].concat(), here, 7));
    }
}
