//! What RFC 8489 says about framing, order and integrity, case by case.

use housecall_turn::stun::{
    AttributeType, BufferTooSmall, Builder, Class, ErrorCode, Fingerprint, Integrity, IntegrityError, IntegrityKey,
    Message, Method, ParseError, TransactionId,
};

const ID: TransactionId = TransactionId([7; 12]);

fn key() -> IntegrityKey {
    IntegrityKey::new(b"VOkJxbRl1RmTxUk/WvJxBt")
}

fn build(add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
    let mut buffer = vec![0xaa; 1_500];
    let mut builder = Builder::new(&mut buffer, Class::Request, Method::BINDING, ID);
    add(&mut builder);
    let len = builder.finish().unwrap();
    buffer.truncate(len);
    buffer
}

fn parse_error(bytes: &[u8]) -> Option<ParseError> {
    Message::parse(bytes).err()
}

#[test]
fn framing() {
    let good = build(|b| {
        b.attribute(AttributeType::SOFTWARE, b"abcde");
    });
    assert_eq!(parse_error(&good), None);

    assert_eq!(parse_error(&[]), Some(ParseError::TooShort));
    assert_eq!(parse_error(&good[..19]), Some(ParseError::TooShort));
    assert_eq!(parse_error(&good[..good.len() - 4]), Some(ParseError::Length), "cut");
    assert_eq!(
        parse_error(&[&good[..], &[0; 4]].concat()),
        Some(ParseError::Length),
        "trailing bytes"
    );

    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert_eq!(parse_error(&with(0, 0x80)), Some(ParseError::NotStun), "first two bits");
    assert_eq!(parse_error(&with(0, 0x40)), Some(ParseError::NotStun), "first two bits");
    assert_eq!(parse_error(&with(7, 0)), Some(ParseError::NotStun), "magic cookie");
    assert_eq!(
        parse_error(&with(3, good[3] - 1)),
        Some(ParseError::Length),
        "not a multiple of four"
    );
    assert_eq!(
        parse_error(&with(23, 9)),
        Some(ParseError::Attribute),
        "reaches over the end"
    );
    assert_eq!(
        parse_error(&with(22, 0xff)),
        Some(ParseError::Attribute),
        "reaches far over the end"
    );
    // Padding bytes may be anything (§14).
    assert_eq!(parse_error(&with(good.len() - 1, 0xff)), None);
}

#[test]
fn the_first_attribute_of_a_type_counts() {
    let bytes = build(|b| {
        b.priority(1).priority(2);
    });
    assert_eq!(Message::parse(&bytes).unwrap().priority(), Some(1));
}

// §14.5: attributes behind MESSAGE-INTEGRITY are ignored, except MESSAGE-INTEGRITY-SHA256 and FINGERPRINT.
#[test]
fn nothing_unprotected_is_seen() {
    let bytes = build(|b| {
        b.priority(1)
            .message_integrity(&key())
            .username("intruder")
            .use_candidate()
            .fingerprint();
    });
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.verify_integrity(&key()), Ok(Integrity::Sha1));
    assert_eq!(message.priority(), Some(1));
    assert_eq!(message.username(), None);
    assert!(!message.use_candidate());
    assert_eq!(message.attributes().count(), 1);
    assert_eq!(
        message.unknown_required(&[]).collect::<Vec<_>>(),
        [AttributeType::PRIORITY]
    );
    assert_eq!(message.fingerprint(), Fingerprint::Valid);
}

#[test]
fn sha256_integrity_is_preferred_and_covers_all_before_it() {
    let both = build(|b| {
        b.priority(1)
            .message_integrity(&key())
            .integrity(Integrity::Sha256, &key())
            .fingerprint();
    });
    assert_eq!(
        Message::parse(&both).unwrap().verify_integrity(&key()),
        Ok(Integrity::Sha256)
    );

    // §14.6: the HMAC runs over the message with the length up to and with the attribute itself.
    let alone = build(|b| {
        b.priority(1).integrity(Integrity::Sha256, &key()).fingerprint();
    });
    let at = 20 + 8;
    let mut covered = alone[..at].to_vec();
    covered[2..4].copy_from_slice(&(8_u16 + 36).to_be_bytes());
    let hmac_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"VOkJxbRl1RmTxUk/WvJxBt");
    let tag = aws_lc_rs::hmac::sign(&hmac_key, &covered);
    assert_eq!(&alone[at + 4..at + 36], tag.as_ref());

    // A forged SHA-256 attribute is not excused by a good SHA-1 one.
    let mut forged = both;
    let end = forged.len();
    forged[end - 9] ^= 1;
    assert_eq!(
        Message::parse(&forged).unwrap().verify_integrity(&key()),
        Err(IntegrityError::Wrong)
    );
}

#[test]
fn integrity_must_be_whole() {
    let none = build(|b| {
        b.priority(1);
    });
    assert_eq!(
        Message::parse(&none).unwrap().verify_integrity(&key()),
        Err(IntegrityError::Absent)
    );
    for kind in [
        AttributeType::MESSAGE_INTEGRITY,
        AttributeType::MESSAGE_INTEGRITY_SHA256,
    ] {
        for len in [0, 4, 16, 19, 20, 21, 31, 32, 33] {
            let zeros = build(|b| {
                b.attribute(kind, &vec![0; len]);
            });
            let message = Message::parse(&zeros).unwrap();
            assert_eq!(
                message.verify_integrity(&key()),
                Err(IntegrityError::Wrong),
                "{kind:?} {len}"
            );
        }
    }
}

#[test]
fn fingerprint_is_last_and_true() {
    let good = build(|b| {
        b.priority(1).fingerprint();
    });
    assert_eq!(Message::parse(&good).unwrap().fingerprint(), Fingerprint::Valid);
    let mut bad = good.clone();
    bad[27] ^= 1;
    assert_eq!(Message::parse(&bad).unwrap().fingerprint(), Fingerprint::Invalid);

    let followed = build(|b| {
        b.fingerprint().priority(1);
    });
    assert_eq!(parse_error(&followed), Some(ParseError::AfterFingerprint));
    let short = build(|b| {
        b.attribute(AttributeType::FINGERPRINT, &[0; 3]);
    });
    assert_eq!(Message::parse(&short).unwrap().fingerprint(), Fingerprint::Invalid);
}

#[test]
fn errors_and_unknown_attributes() {
    let bytes = build(|b| {
        let odd = [AttributeType(0x7fff), AttributeType(0x0030)];
        b.error_code(420, "Unknown Attribute")
            .unknown_attributes(odd.into_iter());
    });
    let message = Message::parse(&bytes).unwrap();
    let (code, reason) = (420, "Unknown Attribute");
    assert_eq!(message.error_code(), Some(ErrorCode { code, reason }));
    assert_eq!(
        message.unknown_attributes().collect::<Vec<_>>(),
        [AttributeType(0x7fff), AttributeType(0x0030)]
    );
    for value in [&[0, 0, 2, 99][..], &[0, 0, 7, 0], &[0, 0, 4, 100], &[0, 0, 4]] {
        let bytes = build(|b| {
            b.attribute(AttributeType::ERROR_CODE, value);
        });
        assert_eq!(Message::parse(&bytes).unwrap().error_code(), None, "{value:?}");
    }
    let many = build(|b| {
        b.unknown_attributes((0..1_000).map(AttributeType));
    });
    assert_eq!(Message::parse(&many).unwrap().unknown_attributes().count(), 16);
}

#[test]
fn values_of_the_wrong_size_are_absent() {
    let bytes = build(|b| {
        b.attribute(AttributeType::PRIORITY, &[0; 3])
            .attribute(AttributeType::ICE_CONTROLLING, &[0; 7])
            .attribute(AttributeType::ICE_CONTROLLED, &[0; 9])
            .attribute(AttributeType::USERNAME, &[b'a'; 509])
            .attribute(AttributeType::XOR_MAPPED_ADDRESS, &[0, 1, 0, 0, 0]);
    });
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.priority(), None);
    assert_eq!(message.ice_controlling(), None);
    assert_eq!(message.ice_controlled(), None);
    assert_eq!(message.username(), None);
    assert_eq!(message.xor_mapped_address(), None);
    for value in [&[0, 1][..], &[0, 3, 0, 0, 0, 0, 0, 0], &[0, 2, 0, 0, 0, 0, 0, 0]] {
        let bytes = build(|b| {
            b.attribute(AttributeType::XOR_MAPPED_ADDRESS, value);
        });
        assert_eq!(Message::parse(&bytes).unwrap().xor_mapped_address(), None, "{value:?}");
    }
}

#[test]
fn a_full_buffer_is_an_error() {
    for size in 0..20 + 8 + 24 + 8 {
        let mut buffer = vec![0; size];
        let mut builder = Builder::new(&mut buffer, Class::Request, Method::BINDING, ID);
        builder.priority(1).message_integrity(&key()).fingerprint();
        assert_eq!(builder.finish(), Err(BufferTooSmall), "{size}");
    }
    let mut large = vec![0; 200_000];
    let mut builder = Builder::new(&mut large, Class::Request, Method::BINDING, ID);
    builder.attribute(AttributeType::SOFTWARE, &[0; 40_000]);
    builder.attribute(AttributeType::SOFTWARE, &[0; 40_000]);
    assert_eq!(builder.finish(), Err(BufferTooSmall), "the length field has 16 bits");
}
