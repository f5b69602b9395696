//! Session keys from master keys (RFC 3711 §4.3, RFC 7714 §11). No key derivation rate: one derivation per transport.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::KeyError;

/// What a derived key is for: the labels of RFC 3711 §4.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Label {
    RtpKey = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

/// AES in counter mode as a pseudo-random function, keyed by the master key of 16 or 32 bytes.
pub(super) struct Kdf {
    prf: EncryptingKey,
    /// The master salt as the upper 112 bits; a 96-bit salt is padded with zeros behind it.
    salt: u128,
}

impl Kdf {
    pub(super) fn new(master_key: &[u8], master_salt: &[u8]) -> Result<Self, KeyError> {
        let algorithm = match master_key.len() {
            16 => &AES_128,
            32 => &AES_256,
            _ => return Err(KeyError),
        };
        if !matches!(master_salt.len(), 12 | 14) {
            return Err(KeyError);
        }
        let key = UnboundCipherKey::new(algorithm, master_key).map_err(|_| KeyError)?;
        let prf = EncryptingKey::ctr(key).map_err(|_| KeyError)?;
        let mut salt = [0; 16];
        salt[..master_salt.len()].copy_from_slice(master_salt);
        let salt = u128::from_be_bytes(salt);
        Ok(Self { prf, salt })
    }

    /// Fills `out` with the key of this label.
    pub(super) fn derive(&self, label: Label, out: &mut [u8]) -> Result<(), KeyError> {
        // The label stands 48 bits (of an index that is always zero) and 16 bits (of the block counter) above the end.
        let iv = self.salt ^ (u128::from(label as u8) << 64);
        out.fill(0);
        let context = EncryptionContext::Iv128(FixedLength::from(iv.to_be_bytes()));
        self.prf
            .less_safe_encrypt(out, context)
            .map(|_| ())
            .map_err(|_| KeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 3711 B.3.
    #[test]
    fn vectors_of_rfc_3711() {
        let key = hex::decode("E1F97A0D3E018BE0D64FA32C06DE4139").unwrap();
        let salt = hex::decode("0EC675AD498AFEEBB6960B3AABE6").unwrap();
        let kdf = Kdf::new(&key, &salt).unwrap();
        for (label, expected) in [
            (Label::RtpKey, "C61E7A93744F39EE10734AFE3FF7A087"),
            (Label::RtpSalt, "30CBBC08863D8C85D49DB34A9AE1"),
            (
                Label::RtpAuth,
                "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF722709\
                 86371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E47403576",
            ),
        ] {
            let expected = hex::decode(expected).unwrap();
            let mut out = vec![0xff; expected.len()];
            kdf.derive(label, &mut out).unwrap();
            assert_eq!(out, expected, "{label:?}");
        }
    }

    #[test]
    fn labels_give_different_keys_and_odd_sizes_are_refused() {
        let kdf = Kdf::new(&[1; 32], &[2; 12]).unwrap();
        let labels = [
            Label::RtpKey,
            Label::RtpAuth,
            Label::RtpSalt,
            Label::RtcpKey,
            Label::RtcpAuth,
            Label::RtcpSalt,
        ];
        let keys: std::collections::HashSet<_> = labels
            .into_iter()
            .map(|label| {
                let mut out = [0; 16];
                kdf.derive(label, &mut out).unwrap();
                out
            })
            .collect();
        assert_eq!(keys.len(), labels.len());
        assert!(Kdf::new(&[0; 15], &[0; 14]).is_err());
        assert!(Kdf::new(&[0; 16], &[0; 13]).is_err());
    }
}
