//! SRTP and SRTCP in place (RFC 3711, RFC 7714).

/// An SRTP protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// AES-128 in counter mode, HMAC-SHA1 with an 80-bit tag.
    Aes128CmSha1_80,
    /// AES-128 in Galois/counter mode, 128-bit tag.
    AeadAes128Gcm,
    /// AES-256 in Galois/counter mode, 128-bit tag.
    AeadAes256Gcm,
}

impl Profile {
    /// The IANA name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
        }
    }
}

/// Bytes that sealing can add to an RTP packet, in any profile. Leave so much room behind the plain packet.
pub const MAX_RTP_OVERHEAD: usize = 16;

/// Bytes that sealing can add to an RTCP compound packet, in any profile: tag and index word.
pub const MAX_RTCP_OVERHEAD: usize = 20;

/// Why a received packet was not opened. A value and a counter, never a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OpenError {
    /// No keys: DTLS is not done.
    #[error("no keys yet")]
    NotReady,
    /// Shorter than a header and a tag, or `header_len` does not fit.
    #[error("too short")]
    TooShort,
    /// Seen before.
    #[error("replayed")]
    Replayed,
    /// Older than the replay window reaches.
    #[error("older than the replay window")]
    TooOld,
    /// The tag is wrong.
    #[error("authentication failed")]
    Authentication,
    /// More SSRCs than one transport may use.
    #[error("too many SSRCs")]
    TooManySsrcs,
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SealError {
    /// No keys: DTLS is not done.
    #[error("no keys yet")]
    NotReady,
    /// `plain_len` or `header_len` do not fit, or the buffer has no room for the tag.
    #[error("the buffer is too small")]
    BufferTooSmall,
    /// The sequence number is not after the last one sealed for this SSRC: sealing would repeat a nonce.
    #[error("sequence number is not after the last one sealed")]
    OutOfOrder,
    /// More SSRCs than one transport may use.
    #[error("too many SSRCs")]
    TooManySsrcs,
    /// The key has protected as many packets as it may.
    #[error("the key is used up")]
    KeyExhausted,
}
