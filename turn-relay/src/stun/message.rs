//! A received message, looked at in place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use super::{AttributeType, Class, HEADER_LEN, MAGIC_COOKIE, MAX_USERNAME_LEN, Method, TransactionId};

/// Bytes of an attribute's type and length.
const ATTRIBUTE_HEADER_LEN: usize = 4;

/// What FINGERPRINT is XORed with (RFC 8489 §14.7).
pub(super) const FINGERPRINT_MASK: u32 = 0x5354_554e;

/// Why a datagram is not a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Shorter than a header.
    #[error("shorter than a STUN header")]
    TooShort,
    /// The first two bits or the magic cookie say that this is something else.
    #[error("not STUN")]
    NotStun,
    /// The header's length is not that of the datagram, or not a multiple of four.
    #[error("the length in the header does not fit the datagram")]
    Length,
    /// An attribute reaches over the end.
    #[error("an attribute reaches over the end")]
    Attribute,
    /// Something follows FINGERPRINT, which must be last (RFC 8489 §14.7).
    #[error("an attribute follows FINGERPRINT")]
    AfterFingerprint,
}

/// One attribute as it lies in the message, padding taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type.
    pub kind: AttributeType,
    /// Its value.
    pub value: &'a [u8],
}

/// What ERROR-CODE says (RFC 8489 §14.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode<'a> {
    /// 300..=699.
    pub code: u16,
    /// For people; empty if it is not UTF-8.
    pub reason: &'a str,
}

/// What the FINGERPRINT attribute says about the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// There is none.
    Absent,
    /// It fits: this is STUN and not another protocol that looks like it.
    Valid,
    /// It does not fit.
    Invalid,
}

/// A STUN message in a datagram. Framing is checked, nothing is authenticated.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where the attributes that may be looked at end: at the first integrity attribute, FINGERPRINT, or the end.
    body_end: usize,
    /// Where MESSAGE-INTEGRITY begins, if it is the first integrity attribute or stands alone.
    pub(super) integrity_at: Option<usize>,
    /// Where MESSAGE-INTEGRITY-SHA256 begins.
    pub(super) integrity_sha256_at: Option<usize>,
    fingerprint_at: Option<usize>,
}

impl<'a> Message<'a> {
    /// Checks the header and every attribute's bounds.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        if bytes.len() < HEADER_LEN {
            return Err(ParseError::TooShort);
        }
        if bytes[0] & 0xc0 != 0 || bytes[4..8] != MAGIC_COOKIE.to_be_bytes() {
            return Err(ParseError::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        if !length.is_multiple_of(4) || HEADER_LEN + length != bytes.len() {
            return Err(ParseError::Length);
        }

        let mut message = Self {
            bytes,
            body_end: bytes.len(),
            integrity_at: None,
            integrity_sha256_at: None,
            fingerprint_at: None,
        };
        let mut at = HEADER_LEN;
        while at < bytes.len() {
            if message.fingerprint_at.is_some() {
                return Err(ParseError::AfterFingerprint);
            }
            let (attribute, next) = attribute_at(bytes, at).ok_or(ParseError::Attribute)?;
            match attribute.kind {
                // MESSAGE-INTEGRITY behind the SHA-256 one is not covered by it, so it is ignored like all else there.
                AttributeType::MESSAGE_INTEGRITY
                    if message.integrity_at.is_none() && message.integrity_sha256_at.is_none() =>
                {
                    message.integrity_at = Some(at);
                }
                AttributeType::MESSAGE_INTEGRITY_SHA256 if message.integrity_sha256_at.is_none() => {
                    message.integrity_sha256_at = Some(at);
                }
                AttributeType::FINGERPRINT => message.fingerprint_at = Some(at),
                _ => {
                    at = next;
                    continue;
                }
            }
            message.body_end = message.body_end.min(at);
            at = next;
        }
        Ok(message)
    }

    /// Request, indication, success or error.
    #[must_use]
    pub fn class(&self) -> Class {
        Class::from_bits(self.message_type())
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        Method::from_message_type(self.message_type())
    }

    fn message_type(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// The transaction id.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER_LEN]);
        TransactionId(id)
    }

    /// The whole message.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Attributes in order, up to the first integrity attribute or FINGERPRINT.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let (bytes, end) = (self.bytes, self.body_end);
        let mut at = HEADER_LEN;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (attribute, next) = attribute_at(bytes, at)?;
            at = next;
            Some(attribute)
        })
    }

    /// The value of the first attribute of a type; later ones of the same type are ignored (RFC 8489 §14).
    #[must_use]
    pub fn get(&self, kind: AttributeType) -> Option<&'a [u8]> {
        self.attributes()
            .find(|attribute| attribute.kind == kind)
            .map(|attribute| attribute.value)
    }

    /// USERNAME, if it is UTF-8 of permitted length.
    #[must_use]
    pub fn username(&self) -> Option<&'a str> {
        let value = self.get(AttributeType::USERNAME)?;
        (value.len() <= MAX_USERNAME_LEN)
            .then(|| std::str::from_utf8(value).ok())
            .flatten()
    }

    /// PRIORITY.
    #[must_use]
    pub fn priority(&self) -> Option<u32> {
        self.get(AttributeType::PRIORITY)?
            .try_into()
            .ok()
            .map(u32::from_be_bytes)
    }

    /// Whether USE-CANDIDATE is there.
    #[must_use]
    pub fn use_candidate(&self) -> bool {
        self.get(AttributeType::USE_CANDIDATE).is_some()
    }

    /// The tie-breaker of ICE-CONTROLLING.
    #[must_use]
    pub fn ice_controlling(&self) -> Option<u64> {
        self.get(AttributeType::ICE_CONTROLLING)?
            .try_into()
            .ok()
            .map(u64::from_be_bytes)
    }

    /// The tie-breaker of ICE-CONTROLLED.
    #[must_use]
    pub fn ice_controlled(&self) -> Option<u64> {
        self.get(AttributeType::ICE_CONTROLLED)?
            .try_into()
            .ok()
            .map(u64::from_be_bytes)
    }

    /// XOR-MAPPED-ADDRESS.
    #[must_use]
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.xor_address(AttributeType::XOR_MAPPED_ADDRESS)
    }

    /// An attribute in the form of XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
    #[must_use]
    pub fn xor_address(&self, kind: AttributeType) -> Option<SocketAddr> {
        xor_address(self.get(kind)?, self.transaction_id())
    }

    /// Every attribute of a type that has the form of XOR-MAPPED-ADDRESS; `None` for one that is malformed.
    pub fn xor_addresses(&self, kind: AttributeType) -> impl Iterator<Item = Option<SocketAddr>> + use<'a> {
        let id = self.transaction_id();
        self.attributes()
            .filter(move |attribute| attribute.kind == kind)
            .map(move |attribute| xor_address(attribute.value, id))
    }

    /// Where in the message the value of the first attribute of a type lies, for payload that is to be handed on in place.
    #[must_use]
    pub fn position(&self, kind: AttributeType) -> Option<Range<usize>> {
        let mut at = HEADER_LEN;
        while at < self.body_end {
            let (attribute, next) = attribute_at(self.bytes, at)?;
            if attribute.kind == kind {
                let start = at + ATTRIBUTE_HEADER_LEN;
                return Some(start..start + attribute.value.len());
            }
            at = next;
        }
        None
    }

    /// ERROR-CODE, if it is well-formed.
    #[must_use]
    pub fn error_code(&self) -> Option<ErrorCode<'a>> {
        let (&[_, _, class, number], reason) = self.get(AttributeType::ERROR_CODE)?.split_first_chunk()?;
        let class = class & 0x07;
        ((3..=6).contains(&class) && number < 100).then(|| ErrorCode {
            code: u16::from(class) * 100 + u16::from(number),
            reason: std::str::from_utf8(reason).unwrap_or_default(),
        })
    }

    /// The types UNKNOWN-ATTRIBUTES lists; none if it is not there.
    pub fn unknown_attributes(&self) -> impl Iterator<Item = AttributeType> + use<'a> {
        self.get(AttributeType::UNKNOWN_ATTRIBUTES)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|pair| AttributeType(u16::from_be_bytes([pair[0], pair[1]])))
    }

    /// Comprehension-required attributes that are not among `known`: a request with any of them must be refused with 420.
    pub fn unknown_required<'k>(
        &self,
        known: &'k [AttributeType],
    ) -> impl Iterator<Item = AttributeType> + use<'a, 'k> {
        self.attributes()
            .map(|attribute| attribute.kind)
            .filter(|kind| kind.is_comprehension_required() && !known.contains(kind))
    }

    /// Whether an integrity attribute is there at all.
    #[must_use]
    pub fn has_integrity(&self) -> bool {
        self.integrity_at.is_some() || self.integrity_sha256_at.is_some()
    }

    /// Whether FINGERPRINT is there and fits (RFC 8489 §14.7).
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let Some(at) = self.fingerprint_at else {
            return Fingerprint::Absent;
        };
        let expected = crc32fast::hash(&self.bytes[..at]) ^ FINGERPRINT_MASK;
        match attribute_at(self.bytes, at) {
            Some((attribute, _)) if attribute.value == expected.to_be_bytes() => Fingerprint::Valid,
            _ => Fingerprint::Invalid,
        }
    }
}

/// The attribute that begins at `at` and where the next one begins, or `None` if it does not fit.
pub(super) fn attribute_at(bytes: &[u8], at: usize) -> Option<(Attribute<'_>, usize)> {
    let (&[kind_high, kind_low, length_high, length_low], rest) = bytes.get(at..)?.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    let value = rest.get(..length)?;
    let next = at + ATTRIBUTE_HEADER_LEN + length.next_multiple_of(4);
    (next <= bytes.len()).then_some((
        Attribute {
            kind: AttributeType(u16::from_be_bytes([kind_high, kind_low])),
            value,
        },
        next,
    ))
}

/// Reads a value in the form of XOR-MAPPED-ADDRESS.
fn xor_address(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let (&[_, family, port_high, port_low], address) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([port_high, port_low]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match family {
        0x01 => {
            let bits = u32::from_be_bytes(address.try_into().ok()?) ^ MAGIC_COOKIE;
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        }
        0x02 => {
            let bits = u128::from_be_bytes(address.try_into().ok()?) ^ xor_mask(id);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// What an IPv6 address is XORed with: magic cookie and transaction id.
pub(super) fn xor_mask(id: TransactionId) -> u128 {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&id.0);
    u128::from_be_bytes(mask)
}
