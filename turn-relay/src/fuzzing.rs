//! What the fuzz targets call. Not an interface: it may change at any time.

mod turn;

use std::time::Instant;

use crate::first_bytes::{FirstBytes, first_bytes};
use crate::limits::{MAX_RELAYED_MESSAGE, MAX_STREAM_MESSAGE};
use crate::stream::{ice_frame, turn_frame};
use crate::stun::{Builder, Class, IntegrityKey, Message};
use crate::{ChannelData, Framing};

/// Runs `data` as a program against the whole relay. Returns how many payloads it relayed.
///
/// # Panics
/// When the relay is wrong.
pub fn turn(data: &[u8]) -> u64 {
    turn::turn(data, origin())
}

#[expect(
    clippy::disallowed_methods,
    reason = "an origin for virtual time; nothing depends on which"
)]
fn origin() -> Instant {
    Instant::now()
}

/// Reads `data` as ChannelData and writes it again.
///
/// # Panics
/// When the two differ.
pub fn channel_data(data: &[u8]) {
    let Some(found) = ChannelData::parse(data) else { return };
    let payload = &data[found.payload.clone()];
    let framing = Framing::Channel(found.channel);
    let mut buffer = vec![0; framing.headroom() + payload.len()];
    buffer[framing.headroom()..].copy_from_slice(payload);
    let len = framing.write(&mut buffer, payload.len()).expect("it fits");
    assert_eq!(buffer[..len], data[..len]);
}

/// Cuts `data` into messages, whole and split at every byte, and asks what protocol it is.
///
/// # Panics
/// When the pieces give other messages than the whole.
pub fn framing(data: &[u8]) {
    for (frame, longest) in [
        (turn_frame as fn(&[u8], usize) -> _, MAX_STREAM_MESSAGE),
        (turn_frame, MAX_RELAYED_MESSAGE),
        (ice_frame, MAX_STREAM_MESSAGE),
    ] {
        let frame = |bytes: &[u8]| frame(bytes, longest);
        let mut whole = Vec::new();
        let mut at = 0;
        let end = loop {
            match frame(&data[at..]) {
                Ok(Some(found)) => {
                    assert!(found.len > 0 && found.message.end <= found.len);
                    whole.push(at + found.message.start..at + found.message.end);
                    at += found.len;
                }
                Ok(None) => break Ok(at),
                // Which error it is may depend on how much is seen at once.
                Err(_) => break Err(at),
            }
        };
        let mut pieces = Vec::new();
        let mut at = 0;
        let mut ended = Ok(at);
        'bytes: for len in 0..=data.len() {
            loop {
                match frame(&data[at..len]) {
                    Ok(Some(found)) => {
                        pieces.push(at + found.message.start..at + found.message.end);
                        at += found.len;
                        ended = Ok(at);
                    }
                    Ok(None) => break,
                    Err(_) => {
                        ended = Err(at);
                        break 'bytes;
                    }
                }
            }
        }
        assert_eq!((pieces, ended), (whole, end));
    }
    let mut decided = FirstBytes::More;
    for len in 0..=data.len().min(32) {
        let now = first_bytes(&data[..len]);
        assert!(
            decided == FirstBytes::More || decided == now,
            "more bytes changed a decision"
        );
        decided = now;
    }
    assert!(
        data.len() < crate::limits::FIRST_BYTES || decided != FirstBytes::More,
        "ten bytes are enough"
    );
}

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
