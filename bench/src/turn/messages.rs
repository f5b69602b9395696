//! TURN as a client writes and reads it (RFC 8656), by a library that shares no code with the server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::hmac;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use stun::agent::TransactionId;
use stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_ERROR_CODE, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_TRANSPORT,
    ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS,
};
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_REFRESH, Message, MessageType,
    Method, Setter,
};
use stun::textattrs::TextAttribute;
use stun::xoraddr::XorMappedAddress;

/// The channel that every client of the generator binds.
pub(crate) const CHANNEL: u16 = 0x4001;
/// Bytes of a ChannelData header.
pub(crate) const CHANNEL_HEADER: usize = 4;
/// Bytes of a STUN header.
const STUN_HEADER: usize = 20;

/// What a client shows.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Credentials {
    /// Those that a server with this shared secret takes until `expires`, in seconds since 1970.
    pub(crate) fn minted(secret: &str, id: &str, expires: u64) -> Self {
        let username = format!("{expires}:{id}");
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let password = BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()));
        Self { username, password }
    }
}

/// What a client knows after the server's challenge.
pub(crate) struct Access {
    username: String,
    realm: String,
    nonce: String,
    integrity: MessageIntegrity,
}

impl Access {
    /// Reads a 401 (Unauthenticated).
    pub(crate) fn from_challenge(answer: &[u8], credentials: &Credentials) -> Result<Self> {
        let message = parse(answer)?;
        let code = error_code(&message).context("the server did not ask for credentials")?;
        ensure!(code == 401 || code == 438, "the server answered {code} instead of 401");
        let text = |kind| -> Result<String> { Ok(String::from_utf8(message.get(kind)?)?) };
        let (realm, nonce) = (text(ATTR_REALM)?, text(ATTR_NONCE)?);
        Ok(Self {
            username: credentials.username.clone(),
            integrity: MessageIntegrity::new_long_term_integrity(
                credentials.username.clone(),
                realm.clone(),
                credentials.password.clone(),
            ),
            realm,
            nonce,
        })
    }

    fn sign(&self, message: &mut Message) -> Result<()> {
        for (kind, text) in [
            (ATTR_USERNAME, &self.username),
            (ATTR_REALM, &self.realm),
            (ATTR_NONCE, &self.nonce),
        ] {
            TextAttribute::new(kind, text.clone()).add_to(message)?;
        }
        self.integrity.add_to(message)?;
        Ok(())
    }
}

/// An Allocate request; without access it is a stranger's.
pub(crate) fn allocate(access: Option<&Access>) -> Result<Vec<u8>> {
    request(METHOD_ALLOCATE, access, |message| {
        message.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        Ok(())
    })
}

/// Ends an allocation.
pub(crate) fn release(access: &Access) -> Result<Vec<u8>> {
    request(METHOD_REFRESH, Some(access), |message| {
        message.add(ATTR_LIFETIME, &[0; 4]);
        Ok(())
    })
}

/// Binds [`CHANNEL`] to a peer, which also permits it.
pub(crate) fn bind(access: &Access, peer: SocketAddr) -> Result<Vec<u8>> {
    request(METHOD_CHANNEL_BIND, Some(access), |message| {
        let [high, low] = CHANNEL.to_be_bytes();
        message.add(ATTR_CHANNEL_NUMBER, &[high, low, 0, 0]);
        let (ip, port) = (peer.ip(), peer.port());
        XorMappedAddress { ip, port }.add_to_as(message, ATTR_XOR_PEER_ADDRESS)?;
        Ok(())
    })
}

fn request(method: Method, access: Option<&Access>, add: impl FnOnce(&mut Message) -> Result<()>) -> Result<Vec<u8>> {
    let mut message = Message::new();
    message.build(&[
        Box::new(MessageType::new(method, CLASS_REQUEST)) as Box<dyn Setter>,
        Box::new(TransactionId::new()),
    ])?;
    add(&mut message)?;
    if let Some(access) = access {
        access.sign(&mut message)?;
    }
    Ok(message.raw)
}

/// That the answer is a success.
pub(crate) fn check_success(answer: &[u8]) -> Result<Message> {
    let message = parse(answer)?;
    if message.typ.class != CLASS_SUCCESS_RESPONSE {
        bail!("{} was refused with {:?}", message.typ, error_code(&message));
    }
    Ok(message)
}

/// The relayed address in the answer to an Allocate request.
pub(crate) fn relayed(answer: &[u8]) -> Result<SocketAddr> {
    let message = check_success(answer)?;
    let mut address = XorMappedAddress {
        ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: 0,
    };
    address.get_from_as(&message, ATTR_XOR_RELAYED_ADDRESS)?;
    Ok(SocketAddr::new(address.ip, address.port))
}

fn parse(answer: &[u8]) -> Result<Message> {
    let mut message = Message::new();
    message.raw = answer.to_vec();
    message.decode().context("an answer that is not STUN")?;
    Ok(message)
}

fn error_code(message: &Message) -> Option<u16> {
    let value = message.get(ATTR_ERROR_CODE).ok()?;
    let [_, _, class, number, ..] = value[..] else {
        return None;
    };
    Some(u16::from(class & 7) * 100 + u16::from(number))
}

/// The header of a ChannelData message for so much payload.
pub(crate) fn channel_header(payload: usize) -> [u8; CHANNEL_HEADER] {
    let [a, b] = CHANNEL.to_be_bytes();
    let [c, d] = (payload as u16).to_be_bytes();
    [a, b, c, d]
}

/// The payload of a ChannelData message of [`CHANNEL`] in a datagram.
pub(crate) fn channel_payload(datagram: &mut [u8]) -> Option<&mut [u8]> {
    let header = datagram.first_chunk::<CHANNEL_HEADER>()?;
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[..2] != CHANNEL.to_be_bytes() {
        return None;
    }
    datagram.get_mut(CHANNEL_HEADER..CHANNEL_HEADER + len)
}

/// How long the first message on a stream is, padding included; `None` while its header is not whole.
pub(crate) fn stream_message(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(header) = bytes.first_chunk::<CHANNEL_HEADER>() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    match header[0] >> 6 {
        0 => Ok(Some(STUN_HEADER + len)),
        1 => Ok(Some(CHANNEL_HEADER + len.next_multiple_of(4))),
        _ => bail!("the server's stream is not TURN"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_other_software_mints() {
        // The example is of two lines of a shell: `printf %s 1:a | openssl dgst -sha1 -hmac s -binary | base64`.
        let credentials = Credentials::minted("s", "a", 1);
        assert_eq!(credentials.username, "1:a");
        assert_eq!(credentials.password, "qH1Fb2LKmLFeRP97PvQuaZllyWg=");
    }

    #[test]
    fn a_strangers_allocate_request_is_as_short_as_a_browsers() {
        assert_eq!(allocate(None).expect("it is written").len(), 28);
    }

    #[test]
    fn channel_data_is_wrapped_and_unwrapped() {
        let mut datagram = channel_header(3).to_vec();
        datagram.extend_from_slice(b"abc");
        assert_eq!(channel_payload(&mut datagram).as_deref(), Some(&b"abc"[..]));
        // Padding is allowed.
        datagram.push(0);
        assert_eq!(channel_payload(&mut datagram).as_deref(), Some(&b"abc"[..]));
        assert_eq!(channel_payload(&mut datagram[..6]), None, "cut off");
        datagram[1] ^= 1;
        assert_eq!(channel_payload(&mut datagram), None, "another channel");
    }

    #[test]
    fn streams_are_cut_at_padded_messages() {
        for (bytes, expected) in [
            (&[0x40, 1, 0][..], None),
            (&[0x40, 1, 0, 0], Some(4)),
            (&[0x40, 1, 0, 5], Some(12)),
            (&[1, 1, 0, 8], Some(28)),
        ] {
            assert_eq!(stream_message(bytes).expect("TURN"), expected, "{bytes:x?}");
        }
        assert!(stream_message(&[0x80, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_relayed_address_and_a_refusal_are_read() {
        let answer = |class, add: &dyn Fn(&mut Message)| {
            let mut message = Message::new();
            let setters: [Box<dyn Setter>; 2] = [
                Box::new(MessageType::new(METHOD_ALLOCATE, class)),
                Box::new(TransactionId::new()),
            ];
            message.build(&setters).expect("it is built");
            add(&mut message);
            message.raw
        };
        let address: SocketAddr = "192.0.2.1:50000".parse().expect("an address");
        let success = answer(CLASS_SUCCESS_RESPONSE, &|message| {
            let (ip, port) = (address.ip(), address.port());
            let added = XorMappedAddress { ip, port }.add_to_as(message, ATTR_XOR_RELAYED_ADDRESS);
            added.expect("it is added");
        });
        assert_eq!(relayed(&success).expect("a success"), address);
        let refusal = answer(stun::message::CLASS_ERROR_RESPONSE, &|message| {
            message.add(ATTR_ERROR_CODE, &[0, 0, 4, 86]);
        });
        let text = format!("{:#}", relayed(&refusal).expect_err("a refusal"));
        assert!(text.contains("486"), "{text}");
    }
}
