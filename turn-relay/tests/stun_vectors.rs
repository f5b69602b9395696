//! The test vectors of RFC 5769, read, verified, and written again byte for byte.

use housecall_turn::stun::{
    AttributeType, Builder, Class, Fingerprint, Integrity, IntegrityError, IntegrityKey, Message, Method, TransactionId,
};

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

const ID: TransactionId = TransactionId([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);

/// §2.1
const REQUEST: &str = "
    000100582112a442b7e7a701bc34d686fa87dfae
    802200105354554e207465737420636c69656e74
    002400046e0001ff
    80290008932ff9b151263b36
    000600096576746a3a68367659202020
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
    80280004e57a3bcf";

/// §2.2
const RESPONSE_V4: &str = "
    0101003c2112a442b7e7a701bc34d686fa87dfae
    8022000b7465737420766563746f7220
    002000080001a147e112a643
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7
    80280004c07d4c96";

/// §2.3
const RESPONSE_V6: &str = "
    010100482112a442b7e7a701bc34d686fa87dfae
    8022000b7465737420766563746f7220
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9
    00080014a382954e4be67bf11784c97c8292c275bfe3ed41
    80280004c8fb0b4c";

/// §2.4
const LONG_TERM_REQUEST: &str = "
    000100602112a44278ad3433c6ad72c029da412e
    00060012e3839ee38388e383aae38383e382afe382b90000
    0015001c662f2f3439396b3935346436 4f4c33346f4c394653547679363473 41
    0014000b6578616d706c652e6f726700
    00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";

/// MD5 of "マトリックス:example.org:TheMatrIX".
const LONG_TERM_KEY: &str = "e8ca7ad59d5eb0518e312911d2dab2a9";

fn bytes(hex_text: &str) -> Vec<u8> {
    hex::decode(hex_text.split_whitespace().collect::<String>()).unwrap()
}

fn key() -> IntegrityKey {
    IntegrityKey::new(PASSWORD)
}

#[test]
fn the_request_of_section_2_1() {
    let bytes = bytes(REQUEST);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    assert_eq!(message.transaction_id(), ID);
    assert_eq!(message.get(AttributeType::SOFTWARE), Some(&b"STUN test client"[..]));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(message.ice_controlled(), Some(0x932f_f9b1_5126_3b36));
    assert_eq!(message.ice_controlling(), None);
    assert_eq!(message.username(), Some("evtj:h6vY"));
    assert!(!message.use_candidate());
    assert_eq!(message.verify_integrity(&key()), Ok(Integrity::Sha1));
    assert_eq!(
        message.verify_integrity(&IntegrityKey::new(b"another")),
        Err(IntegrityError::Wrong)
    );
    assert_eq!(message.fingerprint(), Fingerprint::Valid);
}

#[test]
fn the_responses_of_sections_2_2_and_2_3_read_and_written() {
    for (vector, address) in [
        (RESPONSE_V4, "192.0.2.1:32853"),
        (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let bytes = bytes(vector);
        let message = Message::parse(&bytes).unwrap();
        let address = address.parse().unwrap();
        assert_eq!((message.class(), message.method()), (Class::Success, Method::BINDING));
        assert_eq!(message.xor_mapped_address(), Some(address));
        assert_eq!(message.verify_integrity(&key()), Ok(Integrity::Sha1));
        assert_eq!(message.fingerprint(), Fingerprint::Valid);

        // Written again up to the integrity attribute: the vectors pad with a space where this codec pads with zero.
        let mut buffer = [0; 128];
        let mut builder = Builder::new(&mut buffer, Class::Success, Method::BINDING, ID);
        builder
            .attribute(AttributeType::SOFTWARE, b"test vector")
            .xor_mapped_address(address)
            .message_integrity(&key())
            .fingerprint();
        let len = builder.finish().unwrap();
        let integrity_at = bytes.len() - 32;
        let mut expected = bytes[..integrity_at].to_vec();
        expected[20 + 4 + 11] = 0;
        assert_eq!(buffer[..integrity_at], expected);
        assert_eq!(len, bytes.len());
        let again = Message::parse(&buffer[..len]).unwrap();
        assert_eq!(again.verify_integrity(&key()), Ok(Integrity::Sha1));
        assert_eq!(again.fingerprint(), Fingerprint::Valid);
    }
}

#[test]
fn the_long_term_request_of_section_2_4_read_and_written() {
    let vector = bytes(LONG_TERM_REQUEST);
    let key = IntegrityKey::new(&bytes(LONG_TERM_KEY));
    let message = Message::parse(&vector).unwrap();
    assert_eq!(message.username(), Some("マトリックス"));
    assert_eq!(message.get(AttributeType::REALM), Some(&b"example.org"[..]));
    assert_eq!(message.verify_integrity(&key), Ok(Integrity::Sha1));
    assert_eq!(message.fingerprint(), Fingerprint::Absent);

    let mut buffer = [0; 256];
    let mut builder = Builder::new(&mut buffer, Class::Request, Method::BINDING, message.transaction_id());
    builder
        .username("マトリックス")
        .attribute(AttributeType::NONCE, b"f//499k954d6OL34oL9FSTvy64sA")
        .attribute(AttributeType::REALM, b"example.org")
        .message_integrity(&key);
    let len = builder.finish().unwrap();
    assert_eq!(buffer[..len], vector);
}
