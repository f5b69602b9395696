//! One headless WebRTC peer of the generator: ICE checks, DTLS, SRTP keys. One socket, blocking handshake, then raw speed.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use dimpl::{Dtls, Output};
use stun::agent::TransactionId;
use stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use stun::textattrs::TextAttribute;
use stun::xoraddr::XorMappedAddress;

use crate::dtls::{self, Profile};
use crate::offer::{self, Offer};
use crate::pipe::{Pipe, Way};
use crate::srtp::SessionKeys;

/// How long a handshake may take on a machine that is busy with a hundred of them.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Between two flights of an unanswered check or handshake.
const RETRY: Duration = Duration::from_millis(200);

/// A connected peer.
pub(crate) struct Peer {
    /// To the server's media port.
    pub(crate) pipe: Pipe,
    /// The keys of both directions.
    pub(crate) keys: SessionKeys,
    /// For connectivity checks.
    pub(crate) check: Check,
}

/// What a connectivity check needs.
pub(crate) struct Check {
    username: String,
    remote_pwd: String,
    /// For the checks of a server that is not ICE-lite.
    own_pwd: String,
    server: SocketAddr,
}

impl Peer {
    /// Connects to the server that gave this answer. It blocks for some milliseconds.
    pub(crate) fn connect(offer: Offer, answer: &str, profile: Option<Profile>, way: &Way) -> Result<Self> {
        let value = |name: &str| {
            answer
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
                .with_context(|| format!("no {name} in the answer"))
        };
        let candidates = offer::candidates(answer);
        // On one machine, the way over loopback is as good as any and never filtered.
        let loopback = candidates.iter().find(|address| address.ip().is_loopback());
        let server = loopback.or(candidates.first()).copied();
        let server = server.context("the answer has no UDP host candidate with an address")?;
        let remote_ufrag = value("a=ice-ufrag:")?;
        let check = Check {
            username: format!("{remote_ufrag}:{}", offer.ufrag),
            remote_pwd: value("a=ice-pwd:")?.to_owned(),
            own_pwd: offer.pwd,
            server,
        };
        // We offered actpass: the answer decides who begins (RFC 8842 §5.3).
        let client = !matches!(value("a=setup:"), Ok("active"));
        let pipe = match way {
            Way::Direct => Pipe::plain(direct(server)?),
            Way::Relayed(ways) => ways.open(server)?,
        };
        pipe.socket.set_read_timeout(Some(RETRY))?;
        let keys = handshake(&pipe, &check, client, profile)?;
        Ok(Self { pipe, keys, check })
    }
}

impl Check {
    /// A check with USE-CANDIDATE, which also renews consent (RFC 7675).
    pub(crate) fn request(&self) -> Result<Vec<u8>> {
        let mut message = Message::new();
        message.build(&[
            Box::new(BINDING_REQUEST) as Box<dyn Setter>,
            Box::new(TransactionId::new()),
            Box::new(TextAttribute::new(ATTR_USERNAME, self.username.clone())),
        ])?;
        message.add(ATTR_PRIORITY, &0x6e00_01ff_u32.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &0x1122_3344_5566_7788_u64.to_be_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        MessageIntegrity::new_short_term_integrity(self.remote_pwd.clone()).add_to(&mut message)?;
        FINGERPRINT.add_to(&mut message)?;
        Ok(message.raw)
    }

    /// The answer to a check of a server that is not lite; `None` if it is anything else.
    pub(crate) fn respond(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        if !datagram.starts_with(&[0, 1]) {
            return None;
        }
        let mut request = Message::new();
        request.raw = datagram.to_vec();
        request.decode().ok()?;
        let mut response = Message::new();
        response.transaction_id = request.transaction_id;
        let mapped = XorMappedAddress {
            ip: self.server.ip(),
            port: self.server.port(),
        };
        response
            .build(&[
                Box::new(request.transaction_id) as Box<dyn Setter>,
                Box::new(BINDING_SUCCESS),
                Box::new(mapped),
                Box::new(MessageIntegrity::new_short_term_integrity(self.own_pwd.clone())),
                Box::new(FINGERPRINT),
            ])
            .ok()?;
        Some(response.raw)
    }
}

fn direct(server: SocketAddr) -> Result<UdpSocket> {
    let local: IpAddr = match server.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0)).context("a UDP socket for a peer")?;
    socket.connect(server)?;
    Ok(socket)
}

fn handshake(pipe: &Pipe, check: &Check, client: bool, profile: Option<Profile>) -> Result<SessionKeys> {
    let began = Instant::now();
    let mut buffer = vec![0; 2_048];
    // One answered check with USE-CANDIDATE is all a lite server wants.
    loop {
        pipe.send(&check.request()?)?;
        let answered = loop {
            match pipe.recv(&mut buffer) {
                Ok(len) if buffer[..len].starts_with(&[0x01, 0x01]) => break true,
                Ok(len) if buffer[..len].starts_with(&[0x01, 0x11]) => {
                    bail!("the server refused the connectivity check")
                }
                Ok(len) => {
                    if let Some(response) = check.respond(&buffer[..len]) {
                        pipe.send(&response)?;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break false,
                Err(error) => return Err(error).context("waiting for the check's answer"),
            }
        };
        if answered {
            break;
        }
        if began.elapsed() > HANDSHAKE {
            bail!("no answer to connectivity checks");
        }
    }
    let certificate = dtls::certificate()?.clone();
    let mut dtls = Dtls::new_12(dtls::config(profile)?, certificate, Instant::now());
    dtls.set_active(client);
    let failed = |error: dimpl::Error| anyhow!("DTLS: {error}");
    dtls.handle_timeout(Instant::now()).map_err(failed)?;
    let mut out = vec![0; 2_048];
    let mut keys = None;
    loop {
        let next = loop {
            match dtls.poll_output(&mut out) {
                Output::Packet(packet) => match profile {
                    None => {
                        pipe.send(packet)?;
                    }
                    Some(profile) => {
                        let mut packet = packet.to_vec();
                        profile.insist(&mut packet);
                        pipe.send(&packet)?;
                    }
                },
                Output::KeyingMaterial(material, profile) => {
                    keys = Some(SessionKeys::new(&material, profile, client)?);
                }
                Output::BufferTooSmall { needed } => out.resize(needed, 0),
                Output::Timeout(at) => break at,
                _ => {}
            }
        };
        if let Some(keys) = keys.take() {
            return Ok(keys);
        }
        let wait = next
            .saturating_duration_since(Instant::now())
            .clamp(Duration::from_millis(1), RETRY);
        pipe.socket.set_read_timeout(Some(wait))?;
        match pipe.recv(&mut buffer) {
            Ok(len) if matches!(buffer[0], 20..=63) => dtls.handle_packet(&buffer[..len]).map_err(failed)?,
            Ok(len) => {
                if let Some(response) = check.respond(&buffer[..len]) {
                    pipe.send(&response)?;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("waiting for the DTLS handshake"),
        }
        dtls.handle_timeout(Instant::now()).map_err(failed)?;
        if began.elapsed() > HANDSHAKE {
            bail!("the DTLS handshake did not finish");
        }
    }
}
