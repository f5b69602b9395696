//! AES128_CM_HMAC_SHA1_80 (RFC 3711 §4.1.1, §4.2.1): the fallback for peers without GCM.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use super::kdf::{Kdf, Label};
use super::{KeyError, OpenError, RTCP_HEADER_LEN, RTCP_INDEX_MASK, SealError};

/// Bytes of the tag: the first 80 bits of HMAC-SHA1.
pub(super) const TAG_LEN: usize = 10;

/// Bytes of the whole HMAC.
const HMAC_LEN: usize = 20;

/// A key with its salt, for RTP or for RTCP of one direction. Key schedules are made once, here.
pub(super) struct CmSha1 {
    cipher: EncryptingKey,
    auth: hmac::Key,
    /// The salt as the upper 112 bits.
    salt: u128,
}

impl CmSha1 {
    pub(super) fn new(kdf: &Kdf, key: Label, auth: Label, salt: Label) -> Result<Self, KeyError> {
        let mut key_bytes = Zeroizing::new([0; 16]);
        let mut auth_bytes = Zeroizing::new([0; HMAC_LEN]);
        let mut salt_bytes = [0; 16];
        kdf.derive(key, &mut key_bytes[..])?;
        kdf.derive(auth, &mut auth_bytes[..])?;
        kdf.derive(salt, &mut salt_bytes[..14])?;
        Self::from_session_keys(&key_bytes[..], &auth_bytes[..], u128::from_be_bytes(salt_bytes))
    }

    fn from_session_keys(key: &[u8], auth: &[u8], salt: u128) -> Result<Self, KeyError> {
        let key = UnboundCipherKey::new(&AES_128, key).map_err(|_| KeyError)?;
        Ok(Self {
            cipher: EncryptingKey::ctr(key).map_err(|_| KeyError)?,
            auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth),
            salt,
        })
    }

    /// XORs the key stream of this packet over `data`: encryption and decryption alike.
    #[inline]
    fn apply(&self, data: &mut [u8], ssrc: u32, index: u64) -> Result<(), aws_lc_rs::error::Unspecified> {
        let iv = self.salt ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16;
        let context = EncryptionContext::Iv128(FixedLength::from(iv.to_be_bytes()));
        self.cipher.less_safe_encrypt(data, context).map(|_| ())
    }

    #[inline]
    fn tag(&self, data: &[u8]) -> Option<[u8; HMAC_LEN]> {
        let mut tag = [0; HMAC_LEN];
        hmac::sign_to_buffer(&self.auth, data, &mut tag).ok()?;
        Some(tag)
    }

    #[inline]
    pub(super) fn seal_rtp(
        &self,
        buffer: &mut [u8],
        plain_len: usize,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SealError> {
        self.apply(&mut buffer[header_len..plain_len], ssrc, index)
            .map_err(|_| SealError::BufferTooSmall)?;
        // The HMAC covers the packet and the roll-over counter, which is not sent: it stands where the tag will go, so that
        // the HMAC runs over one piece.
        let roll_over = (index >> 16) as u32;
        buffer[plain_len..plain_len + 4].copy_from_slice(&roll_over.to_be_bytes());
        let tag = self.tag(&buffer[..plain_len + 4]).ok_or(SealError::BufferTooSmall)?;
        buffer[plain_len..plain_len + TAG_LEN].copy_from_slice(&tag[..TAG_LEN]);
        Ok(plain_len + TAG_LEN)
    }

    #[inline]
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, OpenError> {
        let plain_len = packet.len() - TAG_LEN;
        let mut received = [0; TAG_LEN];
        received.copy_from_slice(&packet[plain_len..]);
        let roll_over = (index >> 16) as u32;
        packet[plain_len..plain_len + 4].copy_from_slice(&roll_over.to_be_bytes());
        self.verify(&packet[..plain_len + 4], &received)?;
        self.apply(&mut packet[header_len..plain_len], ssrc, index)
            .map_err(|_| OpenError::Authentication)?;
        Ok(plain_len)
    }

    fn verify(&self, data: &[u8], received: &[u8; TAG_LEN]) -> Result<(), OpenError> {
        let expected = self.tag(data).ok_or(OpenError::Authentication)?;
        verify_slices_are_equal(&expected[..TAG_LEN], received).map_err(|_| OpenError::Authentication)
    }

    /// `word` is E flag and index; it stands before the tag (RFC 3711 §3.4).
    pub(super) fn seal_rtcp(
        &self,
        buffer: &mut [u8],
        plain_len: usize,
        ssrc: u32,
        word: u32,
    ) -> Result<usize, SealError> {
        let index = u64::from(word & RTCP_INDEX_MASK);
        self.apply(&mut buffer[RTCP_HEADER_LEN..plain_len], ssrc, index)
            .map_err(|_| SealError::BufferTooSmall)?;
        let covered = plain_len + 4;
        buffer[plain_len..covered].copy_from_slice(&word.to_be_bytes());
        let tag = self.tag(&buffer[..covered]).ok_or(SealError::BufferTooSmall)?;
        buffer[covered..covered + TAG_LEN].copy_from_slice(&tag[..TAG_LEN]);
        Ok(covered + TAG_LEN)
    }

    /// `packet` ends with the index word; the tag was cut off.
    pub(super) fn open_rtcp(
        &self,
        packet: &mut [u8],
        received: &[u8; TAG_LEN],
        ssrc: u32,
        word: u32,
    ) -> Result<usize, OpenError> {
        self.verify(packet, received)?;
        let plain_len = packet.len() - 4;
        let index = u64::from(word & RTCP_INDEX_MASK);
        self.apply(&mut packet[RTCP_HEADER_LEN..plain_len], ssrc, index)
            .map_err(|_| OpenError::Authentication)?;
        Ok(plain_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 3711 B.2: the first key stream blocks, with SSRC and index zero.
    #[test]
    fn key_stream_of_rfc_3711() {
        let key = hex::decode("2B7E151628AED2A6ABF7158809CF4F3C").unwrap();
        let salt = 0xF0F1_F2F3_F4F5_F6F7_F8F9_FAFB_FCFD_0000;
        let cipher = CmSha1::from_session_keys(&key, &[0; HMAC_LEN], salt).unwrap();
        let mut stream = vec![0; 0xff02 * 16];
        cipher.apply(&mut stream, 0, 0).unwrap();
        for (block, expected) in [
            (0x0000, "E03EAD0935C95E80E166B16DD92B4EB4"),
            (0x0001, "D23513162B02D0F72A43A2FE4A5F97AB"),
            (0x0002, "41E95B3BB0A2E8DD477901E4FCA894C0"),
            (0xfeff, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
            (0xff00, "362B7C3C6773516318A077D7FC5073AE"),
            (0xff01, "6A2CC3787889374FBEB4C81B17BA6C44"),
        ] {
            let expected = hex::decode(expected).unwrap();
            assert_eq!(stream[block * 16..][..16], expected, "{block:x}");
        }
    }
}
