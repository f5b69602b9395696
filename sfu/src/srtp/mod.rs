//! SRTP and SRTCP in place (RFC 3711, RFC 7714), one [`Opener`] and one [`Sealer`] per transport.
//!
//! Keys are scheduled when a transport connects; a packet costs one pass of the cipher over the caller's buffer, no
//! allocation, no copy. **No (key, nonce) pair repeats, by construction**: a nonce is made of SSRC and packet index, and
//! a sealed index is remembered for as long as it could pass again: behind a window of 512 packets nothing passes at all, and
//! the table of SSRCs forgets nothing. A repaired packet may so leave late under its own number; retransmissions go on an SSRC
//! of their own with indices of their own. One `Sealer` per set of keys: it cannot be cloned, and [`from_dtls`] must be called
//! once per handshake.

mod cm_sha1;
mod gcm;
mod kdf;
mod replay;
mod streams;

use cm_sha1::CmSha1;
use gcm::Gcm;
use kdf::{Kdf, Label};
use replay::{Refused, Window, estimate_index};
use streams::Streams;

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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Aes128CmSha1_80, Self::AeadAes128Gcm, Self::AeadAes256Gcm];

    /// The IANA name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
        }
    }

    /// Whether a peer may be made to seal another message under one sequence number. Browsers send a lost packet of audio again under its own
    /// number, with another time and transport-wide number in its header where they were agreed on. In Galois/counter mode that is one nonce for
    /// two messages, and whoever hears both can compute the key that authenticates (RFC 7714 §14.2, RFC 5116 §5.1.1). Counter mode with HMAC
    /// gives nothing away: the payload is the same. The *same* message sealed again is the same to the bit, and harmless in all of them.
    #[must_use]
    pub const fn may_repeat(self) -> bool {
        match self {
            Self::Aes128CmSha1_80 => true,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => false,
        }
    }

    /// Bytes sealing adds to an RTP packet.
    #[must_use]
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => cm_sha1::TAG_LEN,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => gcm::TAG_LEN,
        }
    }

    /// Bytes sealing adds to an RTCP compound packet.
    #[must_use]
    pub const fn rtcp_overhead(self) -> usize {
        self.rtp_overhead() + RTCP_INDEX_LEN
    }

    /// Bytes of a master key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master salt.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }
}

/// Bytes that sealing can add to an RTP packet, in any profile. Leave so much room behind the plain packet.
pub const MAX_RTP_OVERHEAD: usize = 16;

/// Bytes that sealing can add to an RTCP compound packet, in any profile: tag and index word.
pub const MAX_RTCP_OVERHEAD: usize = MAX_RTP_OVERHEAD + RTCP_INDEX_LEN;

/// Bytes of the shortest RTP header.
const RTP_HEADER_LEN: usize = 12;
/// Bytes at the start of an RTCP compound packet that are never encrypted.
const RTCP_HEADER_LEN: usize = 8;
/// Bytes of E flag and index in SRTCP.
const RTCP_INDEX_LEN: usize = 4;
/// The E flag: "this packet is encrypted".
const RTCP_ENCRYPTED: u32 = 1 << 31;
const RTCP_INDEX_MASK: u32 = RTCP_ENCRYPTED - 1;
/// The last index of an RTP stream: 32 bits of roll-over counter, 16 of sequence number.
const MAX_RTP_INDEX: u64 = (1 << 48) - 1;

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
    /// SRTCP that says it is not encrypted; nobody sends that, so it is not let in.
    #[error("not encrypted")]
    NotEncrypted,
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
    /// The sequence number was sealed before for this SSRC, or is so old that this is not known: sealing could repeat a nonce.
    #[error("sequence number was used before")]
    Repeated,
    /// More SSRCs than one transport may use.
    #[error("too many SSRCs")]
    TooManySsrcs,
    /// The key has protected as many packets as it may.
    #[error("the key is used up")]
    KeyExhausted,
}

impl From<Refused> for OpenError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Used => Self::Replayed,
            Refused::TooOld => Self::TooOld,
        }
    }
}

/// Keying material of the wrong length for its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SRTP keying material does not fit its profile")]
pub struct KeyError;

/// Which end of DTLS we were: each writes with its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// We answered the handshake.
    Server,
    /// We began it.
    Client,
}

/// Both directions of a transport from what the DTLS exporter gave (RFC 5764 §4.2): client key, server key, client salt,
/// server salt.
///
/// # Errors
/// [`KeyError`] when the material has the wrong length.
pub fn from_dtls(profile: Profile, material: &[u8], role: DtlsRole) -> Result<(Opener, Sealer), KeyError> {
    let (key_len, salt_len) = (profile.key_len(), profile.salt_len());
    if material.len() != 2 * (key_len + salt_len) {
        return Err(KeyError);
    }
    let (keys, salts) = material.split_at(2 * key_len);
    let client = Cipher::new(profile, &keys[..key_len], &salts[..salt_len])?;
    let server = Cipher::new(profile, &keys[key_len..], &salts[salt_len..])?;
    let (receive, send) = match role {
        DtlsRole::Server => (client, server),
        DtlsRole::Client => (server, client),
    };
    Ok((Opener::new(profile, receive), Sealer::new(profile, send)))
}

/// The session keys of one direction.
enum Cipher {
    Gcm {
        rtp: Gcm,
        rtcp: Gcm,
    },
    /// Boxed: its key schedules lie inside and take 3.5 kB.
    CmSha1(Box<CmSha1Pair>),
}

struct CmSha1Pair {
    rtp: CmSha1,
    rtcp: CmSha1,
}

impl Cipher {
    fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Result<Self, KeyError> {
        let kdf = Kdf::new(master_key, master_salt)?;
        Ok(match profile {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => Self::Gcm {
                rtp: Gcm::new(&kdf, profile.key_len(), Label::RtpKey, Label::RtpSalt)?,
                rtcp: Gcm::new(&kdf, profile.key_len(), Label::RtcpKey, Label::RtcpSalt)?,
            },
            Profile::Aes128CmSha1_80 => Self::CmSha1(Box::new(CmSha1Pair {
                rtp: CmSha1::new(&kdf, Label::RtpKey, Label::RtpAuth, Label::RtpSalt)?,
                rtcp: CmSha1::new(&kdf, Label::RtcpKey, Label::RtcpAuth, Label::RtcpSalt)?,
            })),
        })
    }
}

/// Authenticates and decrypts what the peer sends.
pub struct Opener {
    cipher: Cipher,
    rtp_overhead: usize,
    rtp: Streams<Window>,
    rtcp: Streams<Window>,
}

impl Opener {
    fn new(profile: Profile, cipher: Cipher) -> Self {
        Self {
            cipher,
            rtp_overhead: profile.rtp_overhead(),
            rtp: Streams::new(),
            rtcp: Streams::new(),
        }
    }

    /// Opens an SRTP packet in place. `header_len` is the RTP header with CSRCs and extension. Returns the length of the
    /// plain packet, header included. On failure the packet's payload may be garbled.
    ///
    /// An SSRC is remembered by its first authentic packet, which is taken to be before the stream's first roll-over
    /// (senders start below 2^15 so that this holds, RFC 3711 §3.3.1).
    ///
    /// # Errors
    /// See [`OpenError`].
    #[inline]
    pub fn open_rtp(&mut self, packet: &mut [u8], header_len: usize) -> Result<usize, OpenError> {
        if header_len < RTP_HEADER_LEN || packet.len() < header_len.saturating_add(self.rtp_overhead) {
            return Err(OpenError::TooShort);
        }
        let seq = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        let stream = self.rtp.get_mut(ssrc);
        let index = match &stream {
            Some(window) => {
                let index = estimate_index(window.highest(), seq).ok_or(OpenError::TooOld)?;
                window.check(index)?;
                index
            }
            None => u64::from(seq),
        };
        let plain_len = match &self.cipher {
            Cipher::Gcm { rtp, .. } => rtp.open_rtp(packet, header_len, ssrc, index)?,
            Cipher::CmSha1(pair) => pair.rtp.open_rtp(packet, header_len, ssrc, index)?,
        };
        match stream {
            Some(window) => window.mark(index),
            None => self
                .rtp
                .insert(ssrc, Window::starting_at(index))
                .map_err(|_| OpenError::TooManySsrcs)?,
        }
        Ok(plain_len)
    }

    /// Opens an SRTCP compound packet in place. Returns the length of the plain one.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, OpenError> {
        if packet.len() < RTCP_HEADER_LEN + self.rtp_overhead + RTCP_INDEX_LEN {
            return Err(OpenError::TooShort);
        }
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let tag_at = packet.len() - self.rtp_overhead;
        // GCM: tag, then index word. Counter mode: index word, then tag.
        let word_at = match &self.cipher {
            Cipher::Gcm { .. } => packet.len() - RTCP_INDEX_LEN,
            Cipher::CmSha1(_) => tag_at - RTCP_INDEX_LEN,
        };
        let mut word = [0; RTCP_INDEX_LEN];
        word.copy_from_slice(&packet[word_at..word_at + RTCP_INDEX_LEN]);
        let word = u32::from_be_bytes(word);
        if word & RTCP_ENCRYPTED == 0 {
            return Err(OpenError::NotEncrypted);
        }
        let index = u64::from(word & RTCP_INDEX_MASK);
        let stream = self.rtcp.get_mut(ssrc);
        if let Some(window) = &stream {
            window.check(index)?;
        }
        let plain_len = match &self.cipher {
            Cipher::Gcm { rtcp, .. } => rtcp.open_rtcp(&mut packet[..word_at], ssrc, word)?,
            Cipher::CmSha1(pair) => {
                let mut tag = [0; cm_sha1::TAG_LEN];
                tag.copy_from_slice(&packet[tag_at..]);
                pair.rtcp.open_rtcp(&mut packet[..tag_at], &tag, ssrc, word)?
            }
        };
        match stream {
            Some(window) => window.mark(index),
            None => self
                .rtcp
                .insert(ssrc, Window::starting_at(index))
                .map_err(|_| OpenError::TooManySsrcs)?,
        }
        Ok(plain_len)
    }
}

/// Encrypts and signs what we send.
pub struct Sealer {
    cipher: Cipher,
    profile: Profile,
    /// The indices sealed, by SSRC.
    rtp: Streams<Window>,
    /// The next SRTCP index: one row of numbers for all SSRCs, which rises for each of them.
    rtcp_index: u32,
}

impl Sealer {
    fn new(profile: Profile, cipher: Cipher) -> Self {
        Self {
            cipher,
            profile,
            rtp: Streams::new(),
            rtcp_index: 0,
        }
    }

    /// The profile in use.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// See `Member::touch`.
    #[inline]
    pub(crate) fn touch(&self) {
        std::hint::black_box(self.rtcp_index);
        self.rtp.touch();
    }

    /// Seals the RTP packet in `buffer[..plain_len]` in place; `header_len` is its header with CSRCs and extension. `buffer`
    /// must be longer than the packet by [`Profile::rtp_overhead`]. Returns the length to send.
    ///
    /// Each sequence number of an SSRC can be sealed once. They may skip up to 2^15 − 1 ahead, and come up to 511 late; the
    /// roll-over is counted here. The first one of an SSRC should be below 2^15, else a receiver that misses it and the
    /// roll-over after it can never open the stream.
    ///
    /// # Errors
    /// See [`SealError`]. After an error the packet in the buffer is as it was.
    #[inline]
    pub fn seal_rtp(&mut self, buffer: &mut [u8], plain_len: usize, header_len: usize) -> Result<usize, SealError> {
        let room = plain_len.saturating_add(self.profile.rtp_overhead());
        if header_len < RTP_HEADER_LEN || plain_len < header_len || buffer.len() < room {
            return Err(SealError::BufferTooSmall);
        }
        let seq = u16::from_be_bytes([buffer[2], buffer[3]]);
        let ssrc = u32::from_be_bytes([buffer[8], buffer[9], buffer[10], buffer[11]]);
        let index = match self.rtp.get_mut(ssrc) {
            Some(window) => {
                let index = match estimate_index(window.highest(), seq) {
                    Some(index) => index,
                    None if window.highest() > MAX_RTP_INDEX / 2 => return Err(SealError::KeyExhausted),
                    None => return Err(SealError::Repeated),
                };
                window.check(index).map_err(|_| SealError::Repeated)?;
                // Noted before it is used: whatever happens next, this index is spent.
                window.mark(index);
                index
            }
            None => {
                let index = u64::from(seq);
                self.rtp
                    .insert(ssrc, Window::starting_at(index))
                    .map_err(|_| SealError::TooManySsrcs)?;
                index
            }
        };
        match &self.cipher {
            Cipher::Gcm { rtp, .. } => rtp.seal_rtp(buffer, plain_len, header_len, ssrc, index),
            Cipher::CmSha1(pair) => pair.rtp.seal_rtp(buffer, plain_len, header_len, ssrc, index),
        }
    }

    /// Seals the RTCP compound packet in `buffer[..plain_len]` in place; `buffer` must be longer by
    /// [`Profile::rtcp_overhead`]. Returns the length to send.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], plain_len: usize) -> Result<usize, SealError> {
        let room = plain_len.saturating_add(self.profile.rtcp_overhead());
        if plain_len < RTCP_HEADER_LEN || buffer.len() < room {
            return Err(SealError::BufferTooSmall);
        }
        if self.rtcp_index > RTCP_INDEX_MASK {
            return Err(SealError::KeyExhausted);
        }
        let word = RTCP_ENCRYPTED | self.rtcp_index;
        self.rtcp_index += 1;
        let ssrc = u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]);
        match &self.cipher {
            Cipher::Gcm { rtcp, .. } => rtcp.seal_rtcp(buffer, plain_len, ssrc, word),
            Cipher::CmSha1(pair) => pair.rtcp.seal_rtcp(buffer, plain_len, ssrc, word),
        }
    }
}

#[cfg(test)]
mod tests;
