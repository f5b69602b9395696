//! AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::kdf::{Kdf, Label};
use super::{KeyError, OpenError, SealError};

/// Bytes of the tag.
pub(super) const TAG_LEN: usize = 16;

/// A key with its salt, for RTP or for RTCP of one direction. The key schedule is made once, here.
pub(super) struct Gcm {
    key: LessSafeKey,
    /// The salt as the lower 96 bits.
    salt: u128,
}

impl Gcm {
    pub(super) fn new(kdf: &Kdf, key_len: usize, key: Label, salt: Label) -> Result<Self, KeyError> {
        let mut key_bytes = Zeroizing::new([0; 32]);
        let mut salt_bytes = [0; 12];
        kdf.derive(key, &mut key_bytes[..key_len])?;
        kdf.derive(salt, &mut salt_bytes)?;
        Self::from_session_key(&key_bytes[..key_len], salt_bytes)
    }

    fn from_session_key(key: &[u8], salt_bytes: [u8; 12]) -> Result<Self, KeyError> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return Err(KeyError),
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| KeyError)?;
        let mut salt = [0; 16];
        salt[4..].copy_from_slice(&salt_bytes);
        Ok(Self {
            key: LessSafeKey::new(key),
            salt: u128::from_be_bytes(salt),
        })
    }

    /// Two zero bytes, SSRC, and six bytes of index, XORed with the salt (§8.1, §9.1: for RTCP, the 31-bit index with zeros
    /// before it, which is the same). Unique while no (SSRC, index) repeats.
    #[inline]
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let bits = self.salt ^ u128::from(ssrc) << 48 ^ u128::from(index);
        let bytes = bits.to_be_bytes();
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&bytes[4..]);
        Nonce::assume_unique_for_key(nonce)
    }

    /// `buffer[..header_len]` is authenticated, `buffer[header_len..plain_len]` encrypted; the tag goes behind.
    #[inline]
    pub(super) fn seal_rtp(
        &self,
        buffer: &mut [u8],
        plain_len: usize,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SealError> {
        let sealed_len = plain_len + TAG_LEN;
        let (header, rest) = buffer[..sealed_len].split_at_mut(header_len);
        let (payload, tag) = rest.split_at_mut(plain_len - header_len);
        self.key
            .seal_in_place_scatter(self.nonce(ssrc, index), Aad::from(&*header), payload, &[], tag)
            .map_err(|_| SealError::BufferTooSmall)?;
        Ok(sealed_len)
    }

    #[inline]
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, OpenError> {
        let (header, sealed) = packet.split_at_mut(header_len);
        let plain = self
            .key
            .open_in_place(self.nonce(ssrc, index), Aad::from(&*header), sealed)
            .map_err(|_| OpenError::Authentication)?;
        Ok(header_len + plain.len())
    }

    /// The header of 8 bytes and `word` (E flag and index) are authenticated; tag and word go behind (§9.2).
    pub(super) fn seal_rtcp(
        &self,
        buffer: &mut [u8],
        plain_len: usize,
        ssrc: u32,
        word: u32,
    ) -> Result<usize, SealError> {
        let aad = rtcp_aad(buffer, word);
        let (body, rest) = buffer[super::RTCP_HEADER_LEN..].split_at_mut(plain_len - super::RTCP_HEADER_LEN);
        let (tag, rest) = rest.split_at_mut(TAG_LEN);
        let index = u64::from(word & super::RTCP_INDEX_MASK);
        self.key
            .seal_in_place_scatter(self.nonce(ssrc, index), Aad::from(aad), body, &[], tag)
            .map_err(|_| SealError::BufferTooSmall)?;
        rest[..4].copy_from_slice(&word.to_be_bytes());
        Ok(plain_len + TAG_LEN + 4)
    }

    /// `packet` has no index word any more: it was read and cut off.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, word: u32) -> Result<usize, OpenError> {
        let aad = rtcp_aad(packet, word);
        let index = u64::from(word & super::RTCP_INDEX_MASK);
        let plain = self
            .key
            .open_in_place(
                self.nonce(ssrc, index),
                Aad::from(aad),
                &mut packet[super::RTCP_HEADER_LEN..],
            )
            .map_err(|_| OpenError::Authentication)?;
        Ok(super::RTCP_HEADER_LEN + plain.len())
    }
}

fn rtcp_aad(packet: &[u8], word: u32) -> [u8; 12] {
    let mut aad = [0; 12];
    aad[..8].copy_from_slice(&packet[..8]);
    aad[8..].copy_from_slice(&word.to_be_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "517569642070726f2071756f";
    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn bytes(hex_text: &str) -> Vec<u8> {
        hex::decode(hex_text.split_whitespace().collect::<String>()).unwrap()
    }

    fn gcm(key_len: usize) -> Gcm {
        Gcm::from_session_key(&bytes(KEY)[..key_len], bytes(SALT).try_into().unwrap()).unwrap()
    }

    // RFC 7714 §16.1.1, §16.2.1.
    #[test]
    fn rtp_vectors_of_rfc_7714() {
        let plain = bytes(
            "8040f17b8041f8d35501a0b2
             47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573",
        );
        for (key_len, sealed) in [
            (
                16,
                "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833
                 899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                32,
                "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b
                 7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ] {
            let mut buffer = [&plain[..], &[0; TAG_LEN]].concat();
            let len = gcm(key_len)
                .seal_rtp(&mut buffer, plain.len(), 12, 0x5501_a0b2, 0xf17b)
                .unwrap();
            assert_eq!(buffer[12..len], bytes(sealed), "{key_len}");
            let len = gcm(key_len).open_rtp(&mut buffer, 12, 0x5501_a0b2, 0xf17b).unwrap();
            assert_eq!(buffer[..len], plain, "{key_len}");
        }
    }

    // RFC 7714 §17.1.
    #[test]
    fn rtcp_vectors_of_rfc_7714() {
        let plain = bytes(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61
             deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        );
        let sealed = "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa458
                      96cf4d2fc5abf87245d9eade 800005d4";
        let mut buffer = [&plain[..], &[0; TAG_LEN + 4]].concat();
        let len = gcm(16)
            .seal_rtcp(&mut buffer, plain.len(), 0x4d61_7273, 0x8000_05d4)
            .unwrap();
        assert_eq!(buffer[8..len], bytes(sealed));
        let len = gcm(16)
            .open_rtcp(&mut buffer[..len - 4], 0x4d61_7273, 0x8000_05d4)
            .unwrap();
        assert_eq!(buffer[..len], plain);
    }
}
