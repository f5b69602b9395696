//! What the fuzz targets call. Not an interface: it may change at any time.

use crate::stun::{Builder, Class, IntegrityKey, Message};

/// Parses `data` and asks the message for everything it can tell; what parses must survive being built again.
///
/// # Panics
/// When the codec is wrong.
pub fn stun(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    let key = IntegrityKey::new(b"password");
    let _ = (message.username(), message.priority(), message.use_candidate());
    let _ = (
        message.ice_controlling(),
        message.ice_controlled(),
        message.xor_mapped_address(),
    );
    let _ = (message.verify_integrity(&key), message.fingerprint());
    if let Some(error) = message.error_code() {
        assert!((300..700).contains(&error.code));
    }
    assert!(message.unknown_attributes().count() <= data.len());
    assert!(message.unknown_required(&[]).count() <= data.len());

    let mut buffer = vec![0; data.len() + 32];
    let mut builder = Builder::new(&mut buffer, message.class(), message.method(), message.transaction_id());
    for attribute in message.attributes() {
        builder.attribute(attribute.kind, attribute.value);
    }
    builder.message_integrity(&key).fingerprint();
    let len = builder
        .finish()
        .expect("the same attributes, 24 bytes of integrity and 8 of fingerprint fit");
    let again = Message::parse(&buffer[..len]).expect("what was built parses");
    assert!(again.attributes().eq(message.attributes()));
    assert_eq!(again.class() == Class::Request, message.class() == Class::Request);
    assert!(again.verify_integrity(&key).is_ok());
}
