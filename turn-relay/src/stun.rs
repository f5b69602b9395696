//! Reading and writing STUN messages (RFC 8489) without copying.
//!
//! [`Message`] looks at a datagram in place: parsing checks the header and the framing of every attribute once, lookups
//! walk the bytes. Attributes behind the first integrity attribute are not covered by it and are never shown (§14.5).
//! [`Builder`] writes a message into the caller's buffer.

mod builder;
mod integrity;
mod message;

use std::fmt;

pub use builder::{BufferTooSmall, Builder};
pub use integrity::{Integrity, IntegrityError, IntegrityKey};
pub use message::{Attribute, ErrorCode, Fingerprint, Message, ParseError};

/// The fixed word in every header (§5).
pub const MAGIC_COOKIE: u32 = 0x2112_a442;

/// Bytes of a header: type, length, magic cookie, transaction id.
pub const HEADER_LEN: usize = 20;

/// Longest USERNAME value in bytes (§14.3).
pub const MAX_USERNAME_LEN: usize = 508;

/// What kind of message of its method this is (§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// A request was done.
    Success,
    /// A request was refused; carries ERROR-CODE.
    Error,
}

impl Class {
    /// The two class bits of the message type.
    const fn bits(self) -> u16 {
        match self {
            Self::Request => 0x0000,
            Self::Indication => 0x0010,
            Self::Success => 0x0100,
            Self::Error => 0x0110,
        }
    }

    const fn from_bits(message_type: u16) -> Self {
        match message_type & 0x0110 {
            0x0000 => Self::Request,
            0x0010 => Self::Indication,
            0x0100 => Self::Success,
            _ => Self::Error,
        }
    }
}

/// A method, 12 bits (§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(u16);

impl Method {
    /// Binding, the only method of STUN itself and of ICE.
    pub const BINDING: Self = Self(0x001);

    /// Allocate (RFC 8656 §17).
    pub const ALLOCATE: Self = Self(0x003);
    /// Refresh.
    pub const REFRESH: Self = Self(0x004);
    /// Send, an indication only.
    pub const SEND: Self = Self(0x006);
    /// Data, an indication only.
    pub const DATA: Self = Self(0x007);
    /// CreatePermission.
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// ChannelBind.
    pub const CHANNEL_BIND: Self = Self(0x009);

    /// A method by its number; `None` above 0xfff.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number <= 0xfff { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The message type of this method and class: method bits spread around the class bits.
    const fn message_type(self, class: Class) -> u16 {
        (self.0 & 0x000f) | (self.0 & 0x0070) << 1 | (self.0 & 0x0f80) << 2 | class.bits()
    }

    const fn from_message_type(message_type: u16) -> Self {
        Self((message_type & 0x000f) | (message_type & 0x00e0) >> 1 | (message_type & 0x3e00) >> 2)
    }
}

/// Ties an answer to its request; for addresses of IPv6 also the mask (§5, §14.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransactionId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The type number of an attribute (§14, RFC 8445 §16.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeType(pub u16);

impl AttributeType {
    /// MAPPED-ADDRESS.
    pub const MAPPED_ADDRESS: Self = Self(0x0001);
    /// USERNAME.
    pub const USERNAME: Self = Self(0x0006);
    /// MESSAGE-INTEGRITY: HMAC-SHA1.
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    /// ERROR-CODE.
    pub const ERROR_CODE: Self = Self(0x0009);
    /// UNKNOWN-ATTRIBUTES.
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000a);
    /// REALM.
    pub const REALM: Self = Self(0x0014);
    /// NONCE.
    pub const NONCE: Self = Self(0x0015);
    /// MESSAGE-INTEGRITY-SHA256.
    pub const MESSAGE_INTEGRITY_SHA256: Self = Self(0x001c);
    /// XOR-MAPPED-ADDRESS.
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    /// PRIORITY (ICE).
    pub const PRIORITY: Self = Self(0x0024);
    /// USE-CANDIDATE (ICE).
    pub const USE_CANDIDATE: Self = Self(0x0025);
    /// CHANNEL-NUMBER (RFC 8656 §18, like all down to RESERVATION-TOKEN).
    pub const CHANNEL_NUMBER: Self = Self(0x000c);
    /// LIFETIME.
    pub const LIFETIME: Self = Self(0x000d);
    /// XOR-PEER-ADDRESS.
    pub const XOR_PEER_ADDRESS: Self = Self(0x0012);
    /// DATA.
    pub const DATA: Self = Self(0x0013);
    /// XOR-RELAYED-ADDRESS.
    pub const XOR_RELAYED_ADDRESS: Self = Self(0x0016);
    /// REQUESTED-ADDRESS-FAMILY.
    pub const REQUESTED_ADDRESS_FAMILY: Self = Self(0x0017);
    /// EVEN-PORT.
    pub const EVEN_PORT: Self = Self(0x0018);
    /// REQUESTED-TRANSPORT.
    pub const REQUESTED_TRANSPORT: Self = Self(0x0019);
    /// DONT-FRAGMENT.
    pub const DONT_FRAGMENT: Self = Self(0x001a);
    /// RESERVATION-TOKEN.
    pub const RESERVATION_TOKEN: Self = Self(0x0022);
    /// PASSWORD-ALGORITHM (RFC 8489 §14.12).
    pub const PASSWORD_ALGORITHM: Self = Self(0x001d);
    /// USERHASH (RFC 8489 §14.4).
    pub const USERHASH: Self = Self(0x001e);
    /// ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.11).
    pub const ADDITIONAL_ADDRESS_FAMILY: Self = Self(0x8000);
    /// ADDRESS-ERROR-CODE (RFC 8656 §18.12).
    pub const ADDRESS_ERROR_CODE: Self = Self(0x8001);
    /// PASSWORD-ALGORITHMS (RFC 8489 §14.11).
    pub const PASSWORD_ALGORITHMS: Self = Self(0x8002);
    /// SOFTWARE.
    pub const SOFTWARE: Self = Self(0x8022);
    /// FINGERPRINT.
    pub const FINGERPRINT: Self = Self(0x8028);
    /// ICE-CONTROLLED.
    pub const ICE_CONTROLLED: Self = Self(0x8029);
    /// ICE-CONTROLLING.
    pub const ICE_CONTROLLING: Self = Self(0x802a);

    /// Whether a receiver that does not know it must refuse the message (types below 0x8000).
    #[must_use]
    pub const fn is_comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

impl fmt::Debug for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttributeType({:#06x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_types_of_the_registry() {
        for (class, number) in [
            (Class::Request, 0x0001),
            (Class::Indication, 0x0011),
            (Class::Success, 0x0101),
            (Class::Error, 0x0111),
        ] {
            assert_eq!(Method::BINDING.message_type(class), number);
        }
        // Allocate, Send indication, ChannelBind error: RFC 8656 §17.
        assert_eq!(Method(3).message_type(Class::Request), 0x0003);
        assert_eq!(Method(6).message_type(Class::Indication), 0x0016);
        assert_eq!(Method(9).message_type(Class::Error), 0x0119);
    }

    #[test]
    fn every_method_and_class_survives_the_message_type() {
        for number in 0..=0xfff {
            let method = Method::new(number).unwrap();
            for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
                let message_type = method.message_type(class);
                assert_eq!(message_type & 0xc000, 0, "the two zero bits of a STUN message");
                assert_eq!(Method::from_message_type(message_type), method);
                assert_eq!(Class::from_bits(message_type), class);
            }
        }
        assert_eq!(Method::new(0x1000), None);
    }
}
