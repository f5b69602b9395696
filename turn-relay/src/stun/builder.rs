//! Writing a message into the caller's buffer.

use std::net::SocketAddr;

use super::integrity::{Integrity, IntegrityKey};
use super::message::{FINGERPRINT_MASK, xor_mask};
use super::{AttributeType, Class, HEADER_LEN, MAGIC_COOKIE, Method, TransactionId};

/// The message did not fit the buffer, or is longer than 65,535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the STUN message does not fit the buffer")]
pub struct BufferTooSmall;

/// Writes one message. Attributes are appended in the order of the calls; [`Self::finish`] tells whether all fitted.
pub struct Builder<'b> {
    buffer: &'b mut [u8],
    id: TransactionId,
    /// Bytes written, or that something did not fit.
    len: Result<usize, BufferTooSmall>,
}

impl<'b> Builder<'b> {
    /// Begins a message at the start of `buffer`.
    #[must_use]
    pub fn new(buffer: &'b mut [u8], class: Class, method: Method, id: TransactionId) -> Self {
        let len = match buffer.get_mut(..HEADER_LEN) {
            Some(header) => {
                header[..2].copy_from_slice(&method.message_type(class).to_be_bytes());
                header[2..4].fill(0);
                header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
                header[8..].copy_from_slice(&id.0);
                Ok(HEADER_LEN)
            }
            None => Err(BufferTooSmall),
        };
        Self { buffer, id, len }
    }

    /// The transaction id.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// Appends any attribute.
    pub fn attribute(&mut self, kind: AttributeType, value: &[u8]) -> &mut Self {
        if let Ok(at) = self.len {
            self.len = write_attribute(self.buffer, at, kind, value);
        }
        self
    }

    /// Appends USERNAME.
    pub fn username(&mut self, username: &str) -> &mut Self {
        self.attribute(AttributeType::USERNAME, username.as_bytes())
    }

    /// Appends PRIORITY.
    pub fn priority(&mut self, priority: u32) -> &mut Self {
        self.attribute(AttributeType::PRIORITY, &priority.to_be_bytes())
    }

    /// Appends USE-CANDIDATE.
    pub fn use_candidate(&mut self) -> &mut Self {
        self.attribute(AttributeType::USE_CANDIDATE, &[])
    }

    /// Appends ICE-CONTROLLING.
    pub fn ice_controlling(&mut self, tie_breaker: u64) -> &mut Self {
        self.attribute(AttributeType::ICE_CONTROLLING, &tie_breaker.to_be_bytes())
    }

    /// Appends ICE-CONTROLLED.
    pub fn ice_controlled(&mut self, tie_breaker: u64) -> &mut Self {
        self.attribute(AttributeType::ICE_CONTROLLED, &tie_breaker.to_be_bytes())
    }

    /// Appends XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(&mut self, address: SocketAddr) -> &mut Self {
        self.xor_address(AttributeType::XOR_MAPPED_ADDRESS, address)
    }

    /// Appends an attribute in the form of XOR-MAPPED-ADDRESS (RFC 8489 §14.2). An IPv4-mapped address is written as IPv4.
    pub fn xor_address(&mut self, kind: AttributeType, address: SocketAddr) -> &mut Self {
        let mut value = [0; 20];
        let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
        value[2..4].copy_from_slice(&port.to_be_bytes());
        let len = match address.ip().to_canonical() {
            std::net::IpAddr::V4(v4) => {
                value[1] = 0x01;
                value[4..8].copy_from_slice(&(v4.to_bits() ^ MAGIC_COOKIE).to_be_bytes());
                8
            }
            std::net::IpAddr::V6(v6) => {
                value[1] = 0x02;
                value[4..].copy_from_slice(&(v6.to_bits() ^ xor_mask(self.id)).to_be_bytes());
                20
            }
        };
        self.attribute(kind, &value[..len])
    }

    /// Appends ERROR-CODE with `code` in 300..=699 and a reason of at most 127 bytes.
    ///
    /// # Panics
    /// When either is out of range: both are constants of the caller.
    pub fn error_code(&mut self, code: u16, reason: &str) -> &mut Self {
        assert!(
            (300..700).contains(&code) && reason.len() <= 127,
            "error {code} {reason}"
        );
        let mut value = [0; 4 + 127];
        value[2] = (code / 100) as u8;
        value[3] = (code % 100) as u8;
        value[4..4 + reason.len()].copy_from_slice(reason.as_bytes());
        self.attribute(AttributeType::ERROR_CODE, &value[..4 + reason.len()])
    }

    /// Appends UNKNOWN-ATTRIBUTES with the first 16 of `kinds`: enough to tell what is wrong, and an answer that cannot be
    /// made to grow.
    pub fn unknown_attributes(&mut self, kinds: impl Iterator<Item = AttributeType>) -> &mut Self {
        let mut value = [0; 32];
        let mut len = 0;
        for (slot, kind) in value.chunks_exact_mut(2).zip(kinds) {
            slot.copy_from_slice(&kind.0.to_be_bytes());
            len += 2;
        }
        self.attribute(AttributeType::UNKNOWN_ATTRIBUTES, &value[..len])
    }

    /// Appends MESSAGE-INTEGRITY over all so far.
    pub fn message_integrity(&mut self, key: &IntegrityKey) -> &mut Self {
        self.integrity(Integrity::Sha1, key)
    }

    /// Appends MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 over all so far.
    pub fn integrity(&mut self, integrity: Integrity, key: &IntegrityKey) -> &mut Self {
        let Ok(at) = self.len else { return self };
        let tag = key.sign(integrity, self.buffer, at);
        let kind = match integrity {
            Integrity::Sha1 => AttributeType::MESSAGE_INTEGRITY,
            Integrity::Sha256 => AttributeType::MESSAGE_INTEGRITY_SHA256,
        };
        self.attribute(kind, tag.as_ref())
    }

    /// Appends FINGERPRINT over all so far. It must be the last attribute.
    pub fn fingerprint(&mut self) -> &mut Self {
        let Ok(at) = self.len else { return self };
        // The checksum covers the header with the length it will have, so the attribute is written first.
        self.attribute(AttributeType::FINGERPRINT, &[0; 4]);
        if let Ok(end) = self.len {
            let checksum = crc32fast::hash(&self.buffer[..at]) ^ FINGERPRINT_MASK;
            self.buffer[end - 4..end].copy_from_slice(&checksum.to_be_bytes());
        }
        self
    }

    /// The message's length in bytes.
    ///
    /// # Errors
    /// [`BufferTooSmall`] when something did not fit; the buffer's content is then of no use.
    pub fn finish(&self) -> Result<usize, BufferTooSmall> {
        self.len
    }
}

/// Writes an attribute with its padding at `at` and updates the header's length. Returns the new end.
fn write_attribute(buffer: &mut [u8], at: usize, kind: AttributeType, value: &[u8]) -> Result<usize, BufferTooSmall> {
    let end = at + 4 + value.len().next_multiple_of(4);
    let value_length = u16::try_from(value.len()).map_err(|_| BufferTooSmall)?;
    let message_length = u16::try_from(end - HEADER_LEN).map_err(|_| BufferTooSmall)?;
    let room = buffer.get_mut(at..end).ok_or(BufferTooSmall)?;
    room[..2].copy_from_slice(&kind.0.to_be_bytes());
    room[2..4].copy_from_slice(&value_length.to_be_bytes());
    room[4..4 + value.len()].copy_from_slice(value);
    room[4 + value.len()..].fill(0);
    buffer[2..4].copy_from_slice(&message_length.to_be_bytes());
    Ok(end)
}
