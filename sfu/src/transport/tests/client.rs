//! The other end: a DTLS client and checks made by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, ConfigBuilder, Output};
use housecall_turn::stun::{AttributeType, Builder, Class, Integrity, IntegrityKey, Message, Method, TransactionId};

use crate::api::IceCredentials;
use crate::dtls::Fingerprint;
use crate::path::Path;
use crate::srtp::{DtlsRole, Opener, Profile, Sealer, from_dtls};

pub(crate) fn path(number: u16) -> Path {
    Path::udp(
        SocketAddr::from(([192, 0, 2, 1], 10_000 + number)),
        Some([198, 51, 100, 1].into()),
    )
}

/// What is unusual about a check.
#[derive(Default)]
pub(crate) struct Check {
    pub(crate) nominate: bool,
    pub(crate) controlled: bool,
    pub(crate) without_integrity: bool,
    pub(crate) sha256: bool,
    /// An additional empty attribute.
    pub(crate) extra: Option<u16>,
    /// Instead of the true one; empty for none at all.
    pub(crate) username: Option<&'static str>,
    pub(crate) password: Option<&'static str>,
}

pub(crate) struct Client {
    dtls: dimpl::Dtls,
    certificate: Vec<u8>,
    server: IceCredentials,
    own_ufrag: String,
    transactions: u64,
    out: Vec<Vec<u8>>,
    timeout: Option<Instant>,
    connected: bool,
    closed: bool,
    keys: Option<Vec<u8>>,
}

impl Client {
    pub(crate) fn new(server: &IceCredentials, own: &IceCredentials, now: Instant) -> Self {
        Self::with_config(Config::builder(), server, own, now)
    }

    /// One that times its retransmissions by a seed.
    pub(crate) fn seeded(seed: u64, server: &IceCredentials, own: &IceCredentials, now: Instant) -> Self {
        let config = Config::builder().dangerously_set_rng_seed(seed);
        Self::with_config(config, server, own, now)
    }

    fn with_config(config: ConfigBuilder, server: &IceCredentials, own: &IceCredentials, now: Instant) -> Self {
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let config = config
            .flight_start_rto(Duration::from_millis(100))
            .flight_retries(10)
            .build()
            .unwrap();
        let mut dtls = dimpl::Dtls::new_12(Arc::new(config), certificate.clone(), now);
        dtls.set_active(true);
        dtls.handle_timeout(now).unwrap();
        Self {
            dtls,
            certificate: certificate.certificate,
            server: server.clone(),
            own_ufrag: own.ufrag.clone(),
            transactions: 0,
            out: Vec::new(),
            timeout: None,
            connected: false,
            closed: false,
            keys: None,
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.certificate);
        Fingerprint::from_sha256(digest.as_ref().try_into().unwrap())
    }

    pub(crate) fn use_credentials(&mut self, server: &IceCredentials, own: &IceCredentials) {
        self.server = server.clone();
        self.own_ufrag = own.ufrag.clone();
    }

    pub(crate) fn server_ufrag(&self) -> &str {
        &self.server.ufrag
    }

    pub(crate) fn check(&mut self, check: &Check) -> Vec<u8> {
        self.transactions += 1;
        let mut id = [0; 12];
        id[4..].copy_from_slice(&self.transactions.to_be_bytes());
        let mut buffer = [0; 512];
        let mut builder = Builder::new(&mut buffer, Class::Request, Method::BINDING, TransactionId(id));
        match check.username {
            None => {
                builder.username(&format!("{}:{}", self.server.ufrag, self.own_ufrag));
            }
            Some("") => {}
            Some(other) => {
                builder.username(other);
            }
        }
        builder.priority(0x6e00_01ff);
        if check.controlled {
            builder.ice_controlled(1);
        } else {
            builder.ice_controlling(1);
        }
        if check.nominate {
            builder.use_candidate();
        }
        if let Some(kind) = check.extra {
            builder.attribute(AttributeType(kind), &[]);
        }
        if !check.without_integrity {
            let password = check.password.unwrap_or(&self.server.pwd);
            let integrity = if check.sha256 {
                Integrity::Sha256
            } else {
                Integrity::Sha1
            };
            builder.integrity(integrity, &IntegrityKey::new(password.as_bytes()));
        }
        let len = builder.fingerprint().finish().unwrap();
        buffer[..len].to_vec()
    }

    /// The mapped address in a good answer to the last check.
    pub(crate) fn mapped_address(&self, answer: &[u8]) -> Option<SocketAddr> {
        let message = Message::parse(answer).ok()?;
        let key = IntegrityKey::new(self.server.pwd.as_bytes());
        message.verify_integrity(&key).ok()?;
        (message.class() == Class::Success).then(|| message.xor_mapped_address())?
    }

    /// The code of an error answer, and whether it is authentic.
    pub(crate) fn error(&self, answer: &[u8]) -> Option<(u16, bool)> {
        let message = Message::parse(answer).ok()?;
        let key = IntegrityKey::new(self.server.pwd.as_bytes());
        assert_eq!(message.class(), Class::Error);
        if message.error_code()?.code == 420 {
            assert_eq!(
                message.unknown_attributes().collect::<Vec<_>>(),
                [AttributeType(0x7777)]
            );
        }
        Some((message.error_code()?.code, message.verify_integrity(&key).is_ok()))
    }

    fn drain(&mut self) {
        let mut buffer = [0; 4_096];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => self.out.push(packet.to_vec()),
                Output::Connected => self.connected = true,
                Output::KeyingMaterial(material, _) => self.keys = Some(material.to_vec()),
                Output::CloseNotify => self.closed = true,
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return;
                }
                _ => {}
            }
        }
    }

    /// DTLS datagrams to send.
    pub(crate) fn poll_dtls(&mut self, _now: Instant) -> Vec<Vec<u8>> {
        self.drain();
        std::mem::take(&mut self.out)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let _ = self.dtls.handle_timeout(now);
        self.drain();
    }

    pub(crate) fn handle_dtls(&mut self, datagram: &[u8], now: Instant) {
        let _ = self.dtls.handle_timeout(now);
        let _ = self.dtls.handle_packet(datagram);
        self.drain();
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected && self.keys.is_some()
    }

    pub(crate) fn was_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn close(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.dtls.close().unwrap();
        self.poll_dtls(now)
    }

    pub(crate) fn srtp(&self) -> (Opener, Sealer) {
        from_dtls(Profile::AeadAes256Gcm, self.keys.as_ref().unwrap(), DtlsRole::Client).unwrap()
    }
}

/// A Binding message of a class, with nothing in it.
pub(crate) fn binding(class: Class) -> Vec<u8> {
    let mut buffer = [0; 20];
    let len = Builder::new(&mut buffer, class, Method::BINDING, TransactionId([1; 12])).finish();
    buffer[..len.unwrap()].to_vec()
}

/// A ClientHello in one record, cut into two records of their own, as browsers send it because it is too long for one.
pub(crate) fn split_hello(datagram: &[u8], at: usize) -> Vec<Vec<u8>> {
    let (record, body) = (&datagram[..13], &datagram[25..]);
    let (first, second) = body.split_at(at);
    [(0, 0, first), (1, at, second)]
        .into_iter()
        .map(|(sequence, offset, part)| {
            let mut out = record[..10].to_vec();
            out.push(sequence);
            out.extend((12 + part.len() as u16).to_be_bytes());
            out.extend(&datagram[13..19]);
            out.extend(&(offset as u32).to_be_bytes()[1..]);
            out.extend(&(part.len() as u32).to_be_bytes()[1..]);
            out.extend(part);
            out
        })
        .collect()
}
