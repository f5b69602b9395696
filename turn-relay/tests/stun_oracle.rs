//! Arbitrary messages and bytes, with the independent `stun` crate as judge.

use std::net::SocketAddr;

use housecall_turn::stun::{
    AttributeType, Builder, Class, Fingerprint, Integrity, IntegrityKey, Message, Method, TransactionId,
};
use proptest::prelude::*;
use stun::attributes::{ATTR_ERROR_CODE, ATTR_USERNAME};
use stun::message::{Getter as _, Setter as _};

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(vec![Class::Request, Class::Indication, Class::Success, Class::Error])
}

fn attributes() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let kind = any::<u16>().prop_filter("attributes with a meaning of their own", |kind| {
        // 0x8020 is an old XOR-MAPPED-ADDRESS, which the oracle takes for the new one.
        ![0x0008, 0x001c, 0x8020, 0x8028].contains(kind)
    });
    prop::collection::vec((kind, prop::collection::vec(any::<u8>(), 0..40)), 0..12)
}

proptest! {
    #[test]
    fn what_is_written_the_oracle_reads(
        class in class(), number in 0_u16..0x1000, id: [u8; 12], attributes in attributes(), address: SocketAddr,
        password in "[ -~]{1,40}",
    ) {
        let key = IntegrityKey::new(password.as_bytes());
        let method = Method::new(number).unwrap();
        let mut buffer = [0; 2_048];
        let mut builder = Builder::new(&mut buffer, class, method, TransactionId(id));
        builder.xor_mapped_address(address).error_code(487, "Role Conflict").username("a:b");
        for (kind, value) in &attributes {
            builder.attribute(AttributeType(*kind), value);
        }
        builder.message_integrity(&key).fingerprint();
        let len = builder.finish().unwrap();

        let mut oracle = stun::message::Message::new();
        oracle.unmarshal_binary(&buffer[..len]).unwrap();
        prop_assert_eq!(oracle.transaction_id.0, id);
        prop_assert_eq!(oracle.typ.value() & 0x3eef, (number & 0xf) | (number & 0x70) << 1 | (number & 0xf80) << 2);
        prop_assert_eq!(oracle.attributes.0.len(), attributes.len() + 5);
        for (attribute, (kind, value)) in oracle.attributes.0[3..].iter().zip(&attributes) {
            prop_assert_eq!(attribute.typ.0, *kind);
            prop_assert_eq!(&attribute.value, value);
        }
        let mut mapped = stun::xoraddr::XorMappedAddress::default();
        mapped.get_from(&oracle).unwrap();
        prop_assert_eq!(mapped.port, address.port());
        prop_assert_eq!(mapped.ip.to_canonical(), address.ip().to_canonical());
        prop_assert_eq!(&oracle.get(ATTR_USERNAME).unwrap(), b"a:b");
        prop_assert_eq!(&oracle.get(ATTR_ERROR_CODE).unwrap()[2..4], &[4, 87]);
        stun::fingerprint::FINGERPRINT.check(&oracle).unwrap();
        stun::integrity::MessageIntegrity::new_short_term_integrity(password).check(&mut oracle).unwrap();
    }

    #[test]
    fn what_the_oracle_writes_is_read(id: [u8; 12], attributes in attributes(), address: SocketAddr, password in "[ -~]{1,40}") {
        let mut oracle = stun::message::Message::new();
        oracle.typ = stun::message::BINDING_SUCCESS;
        oracle.transaction_id = stun::agent::TransactionId(id);
        oracle.write_header();
        stun::xoraddr::XorMappedAddress { ip: address.ip(), port: address.port() }.add_to(&mut oracle).unwrap();
        for (kind, value) in &attributes {
            oracle.add(stun::attributes::AttrType(*kind), value);
        }
        stun::integrity::MessageIntegrity::new_short_term_integrity(password.clone()).add_to(&mut oracle).unwrap();
        stun::fingerprint::FINGERPRINT.add_to(&mut oracle).unwrap();

        let message = Message::parse(&oracle.raw).unwrap();
        prop_assert_eq!(message.class(), Class::Success);
        prop_assert_eq!(message.method(), Method::BINDING);
        prop_assert_eq!(message.transaction_id(), TransactionId(id));
        let mapped = message.xor_mapped_address().unwrap();
        prop_assert_eq!((mapped.ip().to_canonical(), mapped.port()), (address.ip().to_canonical(), address.port()));
        let read: Vec<_> = message.attributes().skip(1).map(|a| (a.kind.0, a.value.to_vec())).collect();
        prop_assert_eq!(read, attributes);
        prop_assert_eq!(message.verify_integrity(&IntegrityKey::new(password.as_bytes())), Ok(Integrity::Sha1));
        prop_assert_eq!(message.fingerprint(), Fingerprint::Valid);
    }

    #[test]
    fn one_changed_bit_is_noticed(id: [u8; 12], attributes in attributes(), bit: prop::sample::Index) {
        let key = IntegrityKey::new(b"password");
        let mut buffer = [0; 2_048];
        let mut builder = Builder::new(&mut buffer, Class::Request, Method::BINDING, TransactionId(id));
        for (kind, value) in &attributes {
            builder.attribute(AttributeType(*kind), value);
        }
        builder.message_integrity(&key).fingerprint();
        let len = builder.finish().unwrap();
        let bit = bit.index(len * 8);
        buffer[bit / 8] ^= 1 << (bit % 8);
        let noticed = match Message::parse(&buffer[..len]) {
            Err(_) => true,
            Ok(message) => {
                message.fingerprint() != Fingerprint::Valid || message.verify_integrity(&key) != Ok(Integrity::Sha1)
            }
        };
        prop_assert!(noticed, "bit {}", bit);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        housecall_turn::fuzzing::stun(&bytes);
    }

    /// Arbitrary attributes of known types and false lengths behind a true header, so that they are really walked.
    #[test]
    fn arbitrary_attributes_do_no_harm(
        words in prop::collection::vec(
            (prop::sample::select(vec![0_u16, 1, 6, 8, 9, 0xa, 0x1c, 0x20, 0x24, 0x25, 0x8028, 0x8029, 0x802a]), 0_u16..48),
            0..50,
        ),
    ) {
        let length = words.len() * 4;
        let mut bytes = vec![0, 1, (length >> 8) as u8, length as u8, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend([9; 12]);
        bytes.extend(words.iter().flat_map(|(kind, len)| [kind.to_be_bytes(), len.to_be_bytes()]).flatten());
        housecall_turn::fuzzing::stun(&bytes);
        let shown: usize = Message::parse(&bytes).map_or(0, |m| m.attributes().map(|a| 4 + a.value.len()).sum());
        prop_assert!(shown <= length);
    }
}
