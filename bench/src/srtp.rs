//! The generator's own AEAD SRTP (RFC 7714): little, separate from the server's, so that a pass of both means something.

use anyhow::{Context, Result, bail};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use dimpl::SrtpProfile;

/// Bytes a sealed packet is longer.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of a sealed RTCP packet beyond the tag: the index with the encryption bit.
const INDEX_LEN: usize = 4;
const SALT_LEN: usize = 12;

/// One direction's keys.
pub(crate) struct Keys {
    rtp: LessSafeKey,
    rtp_salt: [u8; SALT_LEN],
    rtcp: LessSafeKey,
    rtcp_salt: [u8; SALT_LEN],
    rtcp_index: u32,
}

/// The keys of a client: (what it seals with, what it opens with).
pub(crate) fn client_keys(material: &[u8], profile: SrtpProfile) -> Result<(Keys, Keys)> {
    let key_len = match profile {
        SrtpProfile::AEAD_AES_128_GCM => 16,
        SrtpProfile::AEAD_AES_256_GCM => 32,
        other => bail!("the generator speaks AEAD only, the server chose {other}"),
    };
    // RFC 5764 §4.2: client key, server key, client salt, server salt.
    let (keys, salts) = material
        .split_at_checked(2 * key_len)
        .context("short keying material")?;
    let (client, server) = keys.split_at(key_len);
    let (client_salt, server_salt) = salts.split_at_checked(SALT_LEN).context("short keying material")?;
    Ok((Keys::derive(client, client_salt)?, Keys::derive(server, server_salt)?))
}

impl Keys {
    fn derive(master: &[u8], salt: &[u8]) -> Result<Self> {
        let key = |label| -> Result<LessSafeKey> {
            let algorithm = if master.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
            let mut bytes = vec![0; master.len()];
            derive(master, salt, label, &mut bytes)?;
            Ok(LessSafeKey::new(UnboundKey::new(algorithm, &bytes)?))
        };
        let session_salt = |label| -> Result<[u8; SALT_LEN]> {
            let mut bytes = [0; SALT_LEN];
            derive(master, salt, label, &mut bytes)?;
            Ok(bytes)
        };
        Ok(Self {
            rtp: key(0)?,
            rtp_salt: session_salt(2)?,
            rtcp: key(3)?,
            rtcp_salt: session_salt(5)?,
            rtcp_index: 0,
        })
    }

    /// Seals `packet[..len]` in place; the tag goes behind it. `index` is the extended sequence number.
    pub(crate) fn seal_rtp(&self, packet: &mut [u8], len: usize, header_len: usize, index: u64) -> Result<usize> {
        let nonce = rtp_nonce(&self.rtp_salt, packet, index);
        let (header, rest) = packet.split_at_mut(header_len);
        let (payload, behind) = rest.split_at_mut(len - header_len);
        let tag = self
            .rtp
            .seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)?;
        behind[..TAG_LEN].copy_from_slice(tag.as_ref());
        Ok(len + TAG_LEN)
    }

    /// Opens a packet in place. Returns the plain length.
    pub(crate) fn open_rtp(&self, packet: &mut [u8], header_len: usize, index: u64) -> Result<usize> {
        let nonce = rtp_nonce(&self.rtp_salt, packet, index);
        let (header, sealed) = packet.split_at_mut(header_len);
        let plain = self.rtp.open_in_place(nonce, Aad::from(&*header), sealed)?;
        Ok(header_len + plain.len())
    }

    /// Seals an RTCP packet: header of eight bytes in the clear, then cipher text, tag, index.
    pub(crate) fn seal_rtcp(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        let index = self.rtcp_index | 1 << 31;
        self.rtcp_index += 1;
        let mut packet = plain.to_vec();
        let mut aad = [0; 12];
        aad[..8].copy_from_slice(&plain[..8]);
        aad[8..].copy_from_slice(&index.to_be_bytes());
        let nonce = rtcp_nonce(&self.rtcp_salt, plain, index & 0x7fff_ffff);
        let tag = self
            .rtcp
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut packet[8..])?;
        packet.extend_from_slice(tag.as_ref());
        packet.extend_from_slice(&index.to_be_bytes());
        Ok(packet)
    }

    /// Opens an RTCP packet into its plain form.
    pub(crate) fn open_rtcp(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        if sealed.len() < 8 + TAG_LEN + INDEX_LEN {
            bail!("short SRTCP packet");
        }
        let (body, index) = sealed.split_at(sealed.len() - INDEX_LEN);
        let index = u32::from_be_bytes(index.try_into()?);
        let mut aad = [0; 12];
        aad[..8].copy_from_slice(&body[..8]);
        aad[8..].copy_from_slice(&index.to_be_bytes());
        let nonce = rtcp_nonce(&self.rtcp_salt, body, index & 0x7fff_ffff);
        let mut packet = body.to_vec();
        self.rtcp.open_in_place(nonce, Aad::from(aad), &mut packet[8..])?;
        packet.truncate(body.len() - TAG_LEN);
        Ok(packet)
    }
}

/// RFC 3711 §4.3.1 with a key derivation rate of zero.
fn derive(master: &[u8], salt: &[u8], label: u8, out: &mut [u8]) -> Result<()> {
    let mut iv = [0; 16];
    iv[..SALT_LEN].copy_from_slice(salt);
    iv[7] ^= label;
    let algorithm = if master.len() == 16 { &AES_128 } else { &AES_256 };
    let key = EncryptingKey::ctr(UnboundCipherKey::new(algorithm, master)?)?;
    out.fill(0);
    key.less_safe_encrypt(out, EncryptionContext::Iv128(FixedLength::from(iv)))?;
    Ok(())
}

/// RFC 7714 §8.1.
fn rtp_nonce(salt: &[u8; SALT_LEN], packet: &[u8], index: u64) -> Nonce {
    let mut nonce = [0; SALT_LEN];
    nonce[2..6].copy_from_slice(&packet[8..12]);
    nonce[6..12].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 §9.1.
fn rtcp_nonce(salt: &[u8; SALT_LEN], packet: &[u8], index: u32) -> Nonce {
    let mut nonce = [0; SALT_LEN];
    nonce[2..6].copy_from_slice(&packet[4..8]);
    nonce[8..12].copy_from_slice(&index.to_be_bytes());
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_seals_its_mirror_opens() {
        for (profile, key_len) in [(SrtpProfile::AEAD_AES_128_GCM, 16), (SrtpProfile::AEAD_AES_256_GCM, 32)] {
            let material: Vec<u8> = (0..2 * key_len + 2 * SALT_LEN).map(|byte| byte as u8).collect();
            let (mut seal, _) = client_keys(&material, profile).expect("keys");
            let (open, _) = client_keys(&material, profile).expect("keys");
            let mut packet = vec![0x80; 100 + TAG_LEN];
            assert_eq!(seal.seal_rtp(&mut packet, 100, 12, 7).expect("sealed"), 116);
            assert_ne!(packet[50], 0x80);
            assert!(
                open.open_rtp(&mut packet.clone(), 12, 8).is_err(),
                "another index is another nonce"
            );
            assert_eq!(open.open_rtp(&mut packet, 12, 7).expect("opened"), 100);
            assert_eq!(packet[50], 0x80);
            let plain = [0x81, 201, 0, 1, 1, 2, 3, 4, 9, 9, 9, 9];
            let sealed = seal.seal_rtcp(&plain).expect("sealed");
            assert_eq!(open.open_rtcp(&sealed).expect("opened"), plain);
        }
    }
}
