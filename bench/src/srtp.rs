//! The generator's own SRTP (RFC 3711, RFC 7714): little, separate from the server's, so that a pass of both means something.

use anyhow::{Context, Result, bail};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use dimpl::SrtpProfile;

/// Bytes a sealed packet can be longer, in any profile.
pub(crate) const MAX_TAG: usize = 16;
/// Bytes of the SRTCP index with the encryption bit.
const INDEX_LEN: usize = 4;
const GCM_TAG: usize = 16;
const GCM_SALT: usize = 12;
const SHA1_TAG: usize = 10;
const SHA1_SALT: usize = 14;
/// Bytes at the start of an RTCP packet that stay in the clear.
const RTCP_CLEAR: usize = 8;

/// One direction's cipher for either RTP or RTCP.
enum Cipher {
    Gcm {
        key: LessSafeKey,
        salt: [u8; GCM_SALT],
    },
    /// Counter mode with HMAC-SHA1, tag of 80 bits.
    Sha1 {
        /// Boxed: the key schedule takes a kilobyte and more.
        key: Box<EncryptingKey>,
        salt: [u8; SHA1_SALT],
        mac: Box<hmac::Key>,
    },
}

/// Seals or opens RTP of one direction.
pub(crate) struct RtpKeys(Cipher);

/// Seals or opens RTCP of one direction.
pub(crate) struct RtcpKeys {
    cipher: Cipher,
    next: u32,
}

/// All keys of a peer.
pub(crate) struct SessionKeys {
    /// For what this side sends.
    pub(crate) rtp_seal: RtpKeys,
    /// For what it receives.
    pub(crate) rtp_open: RtpKeys,
    /// For RTCP it sends.
    pub(crate) rtcp_seal: RtcpKeys,
    /// For RTCP it receives.
    pub(crate) rtcp_open: RtcpKeys,
}

impl SessionKeys {
    /// From the DTLS exporter (RFC 5764 §4.2): client key, server key, client salt, server salt.
    pub(crate) fn new(material: &[u8], profile: SrtpProfile, client: bool) -> Result<Self> {
        let (key_len, salt_len) = match profile {
            SrtpProfile::AES128_CM_SHA1_80 => (16, SHA1_SALT),
            SrtpProfile::AEAD_AES_128_GCM => (16, GCM_SALT),
            SrtpProfile::AEAD_AES_256_GCM => (32, GCM_SALT),
            other => bail!("the generator does not speak {other}"),
        };
        let parts = material.split_at_checked(2 * key_len);
        let (keys, salts) = parts.context("short keying material")?;
        let salts = salts.get(..2 * salt_len).context("short keying material")?;
        let (client_key, server_key) = keys.split_at(key_len);
        let (client_salt, server_salt) = salts.split_at(salt_len);
        let (mine, theirs) = if client {
            ((client_key, client_salt), (server_key, server_salt))
        } else {
            ((server_key, server_salt), (client_key, client_salt))
        };
        let rtcp = |(key, salt)| -> Result<RtcpKeys> {
            Ok(RtcpKeys {
                cipher: Cipher::derive(profile, key, salt, [3, 4, 5])?,
                next: 0,
            })
        };
        Ok(Self {
            rtp_seal: RtpKeys(Cipher::derive(profile, mine.0, mine.1, [0, 1, 2])?),
            rtp_open: RtpKeys(Cipher::derive(profile, theirs.0, theirs.1, [0, 1, 2])?),
            rtcp_seal: rtcp(mine)?,
            rtcp_open: rtcp(theirs)?,
        })
    }
}

impl Cipher {
    /// `labels` are those of cipher key, authentication key and salt (RFC 3711 §4.3.1, §4.3.2).
    fn derive(profile: SrtpProfile, master: &[u8], salt: &[u8], labels: [u8; 3]) -> Result<Self> {
        let mut key = vec![0; master.len()];
        derive(master, salt, labels[0], &mut key)?;
        if profile == SrtpProfile::AES128_CM_SHA1_80 {
            let (mut mac, mut session_salt) = ([0; 20], [0; SHA1_SALT]);
            derive(master, salt, labels[1], &mut mac)?;
            derive(master, salt, labels[2], &mut session_salt)?;
            return Ok(Self::Sha1 {
                key: Box::new(EncryptingKey::ctr(UnboundCipherKey::new(&AES_128, &key)?)?),
                salt: session_salt,
                mac: Box::new(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &mac)),
            });
        }
        let algorithm = if master.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let mut session_salt = [0; GCM_SALT];
        derive(master, salt, labels[2], &mut session_salt)?;
        Ok(Self::Gcm {
            key: LessSafeKey::new(UnboundKey::new(algorithm, &key)?),
            salt: session_salt,
        })
    }
}

impl RtpKeys {
    /// Seals `packet[..len]` in place; the tag goes behind it. `index` is the extended sequence number.
    pub(crate) fn seal(&self, packet: &mut [u8], len: usize, header: usize, index: u64) -> Result<usize> {
        match &self.0 {
            Cipher::Gcm { key, salt } => {
                let nonce = rtp_nonce(salt, packet, index);
                let (head, rest) = packet.split_at_mut(header);
                let (payload, behind) = rest.split_at_mut(len - header);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*head), payload)?;
                behind[..GCM_TAG].copy_from_slice(tag.as_ref());
                Ok(len + GCM_TAG)
            }
            Cipher::Sha1 { key, salt, mac } => {
                let iv = counter(salt, &packet[8..12], index);
                key.less_safe_encrypt(&mut packet[header..len], iv)?;
                let tag = rtp_tag(mac, &packet[..len], index);
                packet[len..len + SHA1_TAG].copy_from_slice(&tag.as_ref()[..SHA1_TAG]);
                Ok(len + SHA1_TAG)
            }
        }
    }

    /// Opens a packet in place. Returns the plain length.
    pub(crate) fn open(&self, packet: &mut [u8], header: usize, index: u64) -> Result<usize> {
        match &self.0 {
            Cipher::Gcm { key, salt } => {
                let nonce = rtp_nonce(salt, packet, index);
                let (head, sealed) = packet.split_at_mut(header);
                let plain = key.open_in_place(nonce, Aad::from(&*head), sealed)?;
                Ok(header + plain.len())
            }
            Cipher::Sha1 { key, salt, mac } => {
                let len = packet.len().checked_sub(SHA1_TAG).context("short packet")?;
                if rtp_tag(mac, &packet[..len], index).as_ref()[..SHA1_TAG] != packet[len..] {
                    bail!("wrong tag");
                }
                let iv = counter(salt, &packet[8..12], index);
                key.less_safe_encrypt(&mut packet[header..len], iv)?;
                Ok(len)
            }
        }
    }
}

impl RtcpKeys {
    /// Seals an RTCP packet.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        let word = (self.next | 1 << 31).to_be_bytes();
        let index = self.next;
        self.next += 1;
        let mut packet = plain.to_vec();
        match &self.cipher {
            Cipher::Gcm { key, salt } => {
                let nonce = rtcp_nonce(salt, plain, index);
                let aad = rtcp_aad(plain, word);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut packet[RTCP_CLEAR..])?;
                packet.extend_from_slice(tag.as_ref());
                packet.extend_from_slice(&word);
            }
            Cipher::Sha1 { key, salt, mac } => {
                let iv = counter(salt, &plain[4..8], index.into());
                key.less_safe_encrypt(&mut packet[RTCP_CLEAR..], iv)?;
                packet.extend_from_slice(&word);
                let tag = hmac::sign(mac, &packet);
                packet.extend_from_slice(&tag.as_ref()[..SHA1_TAG]);
            }
        }
        Ok(packet)
    }

    /// Opens an RTCP packet into its plain form.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let overhead = INDEX_LEN
            + match self.cipher {
                Cipher::Gcm { .. } => GCM_TAG,
                Cipher::Sha1 { .. } => SHA1_TAG,
            };
        if sealed.len() < RTCP_CLEAR + overhead {
            bail!("short SRTCP packet");
        }
        match &self.cipher {
            Cipher::Gcm { key, salt } => {
                let (body, word) = sealed.split_at(sealed.len() - INDEX_LEN);
                let word: [u8; INDEX_LEN] = word.try_into()?;
                let nonce = rtcp_nonce(salt, body, u32::from_be_bytes(word) & !(1 << 31));
                let mut packet = body.to_vec();
                key.open_in_place(nonce, Aad::from(rtcp_aad(body, word)), &mut packet[RTCP_CLEAR..])?;
                packet.truncate(body.len() - GCM_TAG);
                Ok(packet)
            }
            Cipher::Sha1 { key, salt, mac } => {
                let (signed, tag) = sealed.split_at(sealed.len() - SHA1_TAG);
                if hmac::sign(mac, signed).as_ref()[..SHA1_TAG] != *tag {
                    bail!("wrong tag");
                }
                let (body, word) = signed.split_at(signed.len() - INDEX_LEN);
                let index = u32::from_be_bytes(word.try_into()?) & !(1 << 31);
                let mut packet = body.to_vec();
                let iv = counter(salt, &body[4..8], index.into());
                key.less_safe_encrypt(&mut packet[RTCP_CLEAR..], iv)?;
                Ok(packet)
            }
        }
    }
}

/// RFC 3711 §4.3.1 with a key derivation rate of zero.
fn derive(master: &[u8], salt: &[u8], label: u8, out: &mut [u8]) -> Result<()> {
    let mut iv = [0; 16];
    iv[..salt.len()].copy_from_slice(salt);
    iv[7] ^= label;
    let algorithm = if master.len() == 16 { &AES_128 } else { &AES_256 };
    let key = EncryptingKey::ctr(UnboundCipherKey::new(algorithm, master)?)?;
    out.fill(0);
    key.less_safe_encrypt(out, EncryptionContext::Iv128(FixedLength::from(iv)))?;
    Ok(())
}

/// The counter block of RFC 3711 §4.1.1.
fn counter(salt: &[u8; SHA1_SALT], ssrc: &[u8], index: u64) -> EncryptionContext {
    let mut iv = [0; 16];
    iv[..SHA1_SALT].copy_from_slice(salt);
    for (byte, ssrc) in iv[4..8].iter_mut().zip(ssrc) {
        *byte ^= ssrc;
    }
    for (byte, index) in iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *byte ^= index;
    }
    EncryptionContext::Iv128(FixedLength::from(iv))
}

/// Over the packet and the roll-over counter (RFC 3711 §4.2).
fn rtp_tag(mac: &hmac::Key, packet: &[u8], index: u64) -> hmac::Tag {
    let mut signing = hmac::Context::with_key(mac);
    signing.update(packet);
    signing.update(&((index >> 16) as u32).to_be_bytes());
    signing.sign()
}

/// RFC 7714 §8.1.
fn rtp_nonce(salt: &[u8; GCM_SALT], packet: &[u8], index: u64) -> Nonce {
    let mut nonce = [0; GCM_SALT];
    nonce[2..6].copy_from_slice(&packet[8..12]);
    nonce[6..12].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 §9.1.
fn rtcp_nonce(salt: &[u8; GCM_SALT], packet: &[u8], index: u32) -> Nonce {
    let mut nonce = [0; GCM_SALT];
    nonce[2..6].copy_from_slice(&packet[4..8]);
    nonce[8..12].copy_from_slice(&index.to_be_bytes());
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    Nonce::assume_unique_for_key(nonce)
}

fn rtcp_aad(packet: &[u8], word: [u8; INDEX_LEN]) -> [u8; 12] {
    let mut aad = [0; 12];
    aad[..RTCP_CLEAR].copy_from_slice(&packet[..RTCP_CLEAR]);
    aad[RTCP_CLEAR..].copy_from_slice(&word);
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_seals_its_mirror_opens() {
        for (profile, key_len, salt_len, tag) in [
            (SrtpProfile::AEAD_AES_128_GCM, 16, 12, 16),
            (SrtpProfile::AEAD_AES_256_GCM, 32, 12, 16),
            (SrtpProfile::AES128_CM_SHA1_80, 16, 14, 10),
        ] {
            let material: Vec<u8> = (0..2 * (key_len + salt_len)).map(|byte| byte as u8).collect();
            let mut client = SessionKeys::new(&material, profile, true).expect("keys");
            let server = SessionKeys::new(&material, profile, false).expect("keys");
            let mut packet = vec![0x80; 100 + tag];
            assert_eq!(
                client.rtp_seal.seal(&mut packet, 100, 12, 70_007).expect("sealed"),
                100 + tag
            );
            assert_ne!(packet[50], 0x80);
            let another_index = server.rtp_open.open(&mut packet.clone(), 12, 4_471);
            assert!(
                another_index.is_err(),
                "{profile}: the roll-over counter is authenticated"
            );
            assert_eq!(server.rtp_open.open(&mut packet, 12, 70_007).expect("opened"), 100);
            assert_eq!(packet[50], 0x80);

            let plain = [0x81, 201, 0, 1, 1, 2, 3, 4, 9, 9, 9, 9];
            for _ in 0..2 {
                let mut sealed = client.rtcp_seal.seal(&plain).expect("sealed");
                assert_eq!(server.rtcp_open.open(&sealed).expect("opened"), plain);
                sealed[9] ^= 1;
                assert!(server.rtcp_open.open(&sealed).is_err());
            }
        }
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn the_key_derivation_gives_the_vector_of_the_rfc() {
        let unhex = |text: &str| -> Vec<u8> {
            (0..text.len() / 2)
                .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex"))
                .collect()
        };
        let (master, salt) = (
            unhex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            unhex("0EC675AD498AFEEBB6960B3AABE6"),
        );
        let mut key = [0; 16];
        derive(&master, &salt, 0, &mut key).expect("derived");
        assert_eq!(key.to_vec(), unhex("C61E7A93744F39EE10734AFE3FF7A087"));
        let mut mac = [0; 20];
        derive(&master, &salt, 1, &mut mac).expect("derived");
        assert_eq!(mac.to_vec(), unhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }
}
