//! The DTLS side of a peer: one certificate for all of them, and a client that offers one SRTP profile only if told so.
//!
//! The library always offers its three profiles. To offer one, the ClientHello on the wire names that one three times, and so does
//! what is hashed and signed of it: both sides then agree on the transcript.

use std::sync::{Arc, LazyLock};

use anyhow::{Result, anyhow};
use dimpl::crypto::{
    Buf, CryptoProvider, HashAlgorithm, HashContext, HashProvider, KeyProvider, SignatureAlgorithm, SigningKey,
    aws_lc_rs::default_provider,
};
use dimpl::{Config, CryptoError, DtlsCertificate};

/// An SRTP profile to insist on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// AEAD_AES_256_GCM, what browsers and the server agree on.
    Gcm256,
    /// AEAD_AES_128_GCM.
    Gcm128,
    /// AES128_CM_HMAC_SHA1_80, what older clients speak.
    Sha1,
}

/// `use_srtp` with the library's three profiles: type, length, list length, profiles.
const OFFERED: [u8; 12] = [0, 0x0e, 0, 9, 0, 6, 0, 8, 0, 7, 0, 1];
/// Bytes of it before the profiles.
const HEAD: usize = 6;

impl Profile {
    /// As in SDP security descriptions and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gcm256 => "GCM-256",
            Self::Gcm128 => "GCM-128",
            Self::Sha1 => "CM_SHA1_80",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Gcm256 => 8,
            Self::Gcm128 => 7,
            Self::Sha1 => 1,
        }
    }

    /// Rewrites the offer of profiles, if there is one in these bytes. It keeps its length.
    pub(crate) fn insist(self, bytes: &mut [u8]) {
        let Some(at) = bytes.windows(OFFERED.len()).position(|window| window == OFFERED) else {
            return;
        };
        for profile in bytes[at + HEAD..at + OFFERED.len()].chunks_exact_mut(2) {
            profile[1] = self.number();
        }
    }

    fn insisting(self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        self.insist(&mut bytes);
        bytes
    }
}

/// The certificate of all peers: making one for each would cost more than the handshakes.
pub(crate) fn certificate() -> Result<&'static DtlsCertificate> {
    static CERTIFICATE: LazyLock<Result<DtlsCertificate, String>> =
        LazyLock::new(|| dimpl::certificate::generate_self_signed_certificate().map_err(|error| error.to_string()));
    CERTIFICATE
        .as_ref()
        .map_err(|error| anyhow!("making a certificate: {error}"))
}

/// The configuration for a profile; `None` offers all.
pub(crate) fn config(profile: Option<Profile>) -> Result<Arc<Config>> {
    let builder = Config::builder();
    let builder = match profile {
        None => builder,
        Some(profile) => {
            // One for the length of the process, as the library wants it.
            let only: &'static Only = match profile {
                Profile::Gcm256 => &Only(Profile::Gcm256),
                Profile::Gcm128 => &Only(Profile::Gcm128),
                Profile::Sha1 => &Only(Profile::Sha1),
            };
            builder.with_crypto_provider(CryptoProvider {
                hash_provider: only,
                key_provider: only,
                ..default_provider()
            })
        }
    };
    let config = builder.build().map_err(|error| anyhow!("DTLS: {error}"))?;
    Ok(Arc::new(config))
}

/// Hashes and signs what went over the wire instead of what the library wrote.
#[derive(Debug)]
struct Only(Profile);

#[derive(Debug)]
struct OnlyHash {
    inner: Box<dyn HashContext>,
    profile: Profile,
}

#[derive(Debug)]
struct OnlyKey {
    inner: Box<dyn SigningKey>,
    profile: Profile,
}

impl HashProvider for Only {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        Box::new(OnlyHash {
            inner: default_provider().hash_provider.create_hash(algorithm),
            profile: self.0,
        })
    }
}

impl HashContext for OnlyHash {
    fn update(&mut self, data: &[u8]) {
        self.inner.update(&self.profile.insisting(data));
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        self.inner.clone_and_finalize(out);
    }
}

impl KeyProvider for Only {
    fn load_private_key(&self, key: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        Ok(Box::new(OnlyKey {
            inner: default_provider().key_provider.load_private_key(key)?,
            profile: self.0,
        }))
    }
}

impl SigningKey for OnlyKey {
    fn sign(&mut self, data: &[u8], hash: HashAlgorithm, out: &mut Buf) -> Result<(), CryptoError> {
        self.inner.sign(&self.profile.insisting(data), hash, out)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.inner.hash_algorithm()
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        self.inner.supported_hash_algorithms()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use dimpl::{Dtls, Output, SrtpProfile};

    use super::*;

    #[test]
    fn only_the_offer_is_rewritten() {
        let mut bytes = [&[1, 2, 3][..], &OFFERED, &[0, 9]].concat();
        Profile::Sha1.insist(&mut bytes);
        assert_eq!(bytes, [1, 2, 3, 0, 0x0e, 0, 9, 0, 6, 0, 1, 0, 1, 0, 1, 0, 9]);
        let mut others = vec![0, 0x0e, 0, 7, 0, 4, 0, 8];
        Profile::Sha1.insist(&mut others);
        assert_eq!(others, [0, 0x0e, 0, 7, 0, 4, 0, 8]);
    }

    /// What `dtls` says: its datagrams, and the profile once there is one.
    fn drain(dtls: &mut Dtls, insist: Option<Profile>) -> (Vec<Vec<u8>>, Option<SrtpProfile>) {
        let (mut packets, mut agreed) = (Vec::new(), None);
        let mut scratch = vec![0; 4_096];
        loop {
            match dtls.poll_output(&mut scratch) {
                Output::Packet(packet) => {
                    let mut packet = packet.to_vec();
                    if let Some(profile) = insist {
                        profile.insist(&mut packet);
                    }
                    packets.push(packet);
                }
                Output::KeyingMaterial(_, profile) => agreed = Some(profile),
                Output::Timeout(_) => return (packets, agreed),
                _ => {}
            }
        }
    }

    #[test]
    fn the_server_takes_the_profile_insisted_on() {
        for (insist, expected) in [
            (None, SrtpProfile::AEAD_AES_256_GCM),
            (Some(Profile::Gcm256), SrtpProfile::AEAD_AES_256_GCM),
            (Some(Profile::Gcm128), SrtpProfile::AEAD_AES_128_GCM),
            (Some(Profile::Sha1), SrtpProfile::AES128_CM_SHA1_80),
        ] {
            let mut now = Instant::now();
            let certificate = certificate().expect("a certificate");
            let mut client = Dtls::new_12(config(insist).expect("configuration"), certificate.clone(), now);
            client.set_active(true);
            let mut server = Dtls::new_12(Arc::new(Config::default()), certificate.clone(), now);
            let mut agreed = (None, None);
            for _ in 0..20 {
                now += Duration::from_millis(1);
                client.handle_timeout(now).expect("client");
                server.handle_timeout(now).expect("server");
                let (packets, profile) = drain(&mut client, insist);
                agreed.0 = agreed.0.or(profile);
                for packet in packets {
                    server.handle_packet(&packet).expect("the server accepts");
                }
                let (packets, profile) = drain(&mut server, None);
                agreed.1 = agreed.1.or(profile);
                for packet in packets {
                    client.handle_packet(&packet).expect("the client accepts");
                }
            }
            assert_eq!(agreed, (Some(expected), Some(expected)), "{insist:?}");
        }
    }
}
