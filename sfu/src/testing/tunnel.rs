//! A client's end of the relay, for tests and fuzzing: requests a TURN client makes, and payload wrapped and unwrapped as it does it.

use std::net::SocketAddr;

use housecall_turn::stun::{AttributeType, Builder, Class, Integrity, IntegrityKey, Message, Method, TransactionId};
use housecall_turn::{ChannelData, Credentials, REALM};

use crate::demux::{Datagram, classify};

/// The one channel that is ever bound.
const CHANNEL: u16 = 0x4001;

/// See the module.
pub(crate) struct Tunnel {
    credentials: Credentials,
    /// Of the server's candidate that it speaks to through the relay.
    candidate: SocketAddr,
    nonce: Vec<u8>,
    requests: u8,
    has_channel: bool,
}

impl Tunnel {
    pub(crate) const fn new(credentials: Credentials, candidate: SocketAddr) -> Self {
        Self {
            credentials,
            candidate,
            nonce: Vec::new(),
            requests: 0,
            has_channel: false,
        }
    }

    /// Takes over the nonce of a refusal.
    pub(crate) fn adopt_nonce(&mut self, refusal: &Message<'_>) {
        self.nonce = refusal.get(AttributeType::NONCE).unwrap_or_default().to_vec();
    }

    /// From here on payload goes through the channel.
    pub(crate) const fn use_channel(&mut self) {
        self.has_channel = true;
    }

    pub(crate) fn allocate(&mut self) -> Vec<u8> {
        self.request(Method::ALLOCATE, |builder| {
            builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        })
    }

    pub(crate) fn permit(&mut self) -> Vec<u8> {
        let candidate = self.candidate;
        self.request(Method::CREATE_PERMISSION, |builder| {
            builder.xor_address(AttributeType::XOR_PEER_ADDRESS, candidate);
        })
    }

    pub(crate) fn bind_channel(&mut self) -> Vec<u8> {
        let candidate = self.candidate;
        let [high, low] = CHANNEL.to_be_bytes();
        self.request(Method::CHANNEL_BIND, |builder| {
            builder
                .attribute(AttributeType::CHANNEL_NUMBER, &[high, low, 0, 0])
                .xor_address(AttributeType::XOR_PEER_ADDRESS, candidate);
        })
    }

    /// A refresh; a lifetime of zero ends the allocation.
    pub(crate) fn refresh(&mut self, seconds: u32) -> Vec<u8> {
        self.request(Method::REFRESH, |builder| {
            builder.attribute(AttributeType::LIFETIME, &seconds.to_be_bytes());
        })
    }

    fn request(&mut self, method: Method, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        self.requests = self.requests.wrapping_add(1);
        let key = [&self.credentials.username, ":", REALM, ":", &self.credentials.password].concat();
        let key = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
        build(Class::Request, method, TransactionId([self.requests; 12]), |builder| {
            add(builder);
            if !self.nonce.is_empty() {
                builder
                    .username(&self.credentials.username)
                    .attribute(AttributeType::REALM, REALM.as_bytes())
                    .attribute(AttributeType::NONCE, &self.nonce)
                    .attribute(AttributeType::PASSWORD_ALGORITHM, &[0, 2, 0, 0])
                    .attribute(AttributeType::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
                    .integrity(Integrity::Sha256, &IntegrityKey::new(key.as_ref()));
            }
        })
    }

    /// What is to be sent to the relay, so that `payload` comes to the candidate.
    pub(crate) fn wrap(&self, payload: &[u8]) -> Vec<u8> {
        if self.has_channel {
            let mut datagram = CHANNEL.to_be_bytes().to_vec();
            datagram.extend((payload.len() as u16).to_be_bytes());
            datagram.extend(payload);
            return datagram;
        }
        build(Class::Indication, Method::SEND, TransactionId([9; 12]), |builder| {
            builder
                .xor_address(AttributeType::XOR_PEER_ADDRESS, self.candidate)
                .attribute(AttributeType::DATA, payload);
        })
    }
}

/// What arrived at a client, taken out of what the relay put around it. What came another way than the client now takes is as it is, or lost.
///
/// # Panics
/// If the relay wrote something that no client understands.
pub(crate) fn unwrapped(tunnel: Option<&Tunnel>, datagram: Vec<u8>) -> Option<Vec<u8>> {
    match (tunnel, classify(&datagram)) {
        (Some(tunnel), Some(Datagram::ChannelData)) => {
            assert!(tunnel.has_channel, "no channel was bound");
            let data = ChannelData::parse(&datagram).expect("the relay writes ChannelData");
            Some(datagram[data.payload].to_vec())
        }
        (Some(tunnel), Some(Datagram::Turn)) => {
            let message = Message::parse(&datagram).expect("the relay writes STUN");
            assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
            let peer = message.xor_address(AttributeType::XOR_PEER_ADDRESS);
            assert_eq!(peer, Some(tunnel.candidate));
            Some(message.get(AttributeType::DATA).expect("payload").to_vec())
        }
        (None, Some(Datagram::Turn | Datagram::ChannelData)) => None,
        _ => Some(datagram),
    }
}

fn build(class: Class, method: Method, id: TransactionId, add: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
    let mut buffer = [0; 2_048];
    let mut builder = Builder::new(&mut buffer, class, method, id);
    add(&mut builder);
    let len = builder.finish().expect("it fits");
    buffer[..len].to_vec()
}
