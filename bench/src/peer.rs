//! One headless WebRTC peer of the generator: an offer, ICE checks, DTLS, SRTP. One socket, blocking handshake, then raw speed.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest::{SHA256, digest};
use dimpl::{Dtls, DtlsCertificate, Output};
use stun::agent::TransactionId;
use stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, Message, Setter};
use stun::textattrs::TextAttribute;

use crate::srtp::{Keys, client_keys};

/// How long a handshake may take on a machine that is busy with a hundred of them.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Between two flights of an unanswered check or handshake.
const RETRY: Duration = Duration::from_millis(200);

/// What the peer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends one VP8 track.
    Publisher,
    /// Receives one video and one audio track.
    Viewer,
}

/// VP8's payload type in the generator's offers.
pub(crate) const VP8: u8 = 96;
/// The header extension id of transport-wide sequence numbers in the generator's offers.
pub(crate) const TWCC_ID: u8 = 3;

/// A peer that has made its offer.
pub(crate) struct Offering {
    /// The SDP offer.
    pub(crate) offer: String,
    ufrag: String,
    pwd: String,
    certificate: DtlsCertificate,
}

/// A connected peer.
pub(crate) struct Peer {
    /// Connected to the server's media port.
    pub(crate) socket: UdpSocket,
    /// Seals what this peer sends.
    pub(crate) seal: Keys,
    /// Opens what it receives.
    pub(crate) open: Keys,
    check: Check,
}

/// What a connectivity check needs.
struct Check {
    username: String,
    remote_pwd: String,
    controlling: u64,
}

impl Offering {
    /// An offer for `role`; `ssrc` is the publisher's.
    pub(crate) fn new(role: Role, ssrc: u32, number: u64) -> Result<Self> {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| anyhow::anyhow!("making a certificate: {error}"))?;
        let print = digest(&SHA256, &certificate.certificate);
        let print: Vec<String> = print.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let ufrag = format!("b{number:07x}");
        let pwd = format!("benchmark-password-{number:08x}");
        let transport = format!(
            "c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
             a=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            print.join(":")
        );
        let video = |mid: u8, direction: &str| {
            format!(
                "m=video 9 UDP/TLS/RTP/SAVPF {VP8} 97\r\n{transport}a=mid:{mid}\r\na={direction}\r\n\
                 a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
                 a=extmap:{TWCC_ID} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
                 a=rtpmap:{VP8} VP8/90000\r\na=rtcp-fb:{VP8} nack\r\na=rtcp-fb:{VP8} nack pli\r\n\
                 a=rtcp-fb:{VP8} ccm fir\r\na=rtcp-fb:{VP8} transport-cc\r\n\
                 a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt={VP8}\r\n"
            )
        };
        let (bundle, lines) = match role {
            Role::Publisher => (
                "0",
                format!(
                    "{}a=msid:bench video\r\na=ssrc-group:FID {ssrc} {}\r\na=ssrc:{ssrc} cname:bench\r\na=ssrc:{} cname:bench\r\n",
                    video(0, "sendonly"),
                    ssrc + 1,
                    ssrc + 1
                ),
            ),
            Role::Viewer => ("0", video(0, "recvonly")),
        };
        let offer = format!(
            "v=0\r\no=- {number} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {bundle}\r\n\
             a=extmap-allow-mixed\r\na=msid-semantic: WMS *\r\n{lines}"
        );
        Ok(Self {
            offer,
            ufrag,
            pwd,
            certificate,
        })
    }

    /// Takes the answer and connects to the first candidate that is an address of `host`'s family.
    pub(crate) fn connect(self, answer: &str, server: SocketAddr) -> Result<Peer> {
        let value = |name: &str| {
            answer
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
                .with_context(|| format!("no {name} in the answer"))
        };
        let remote_ufrag = value("a=ice-ufrag:")?;
        let check = Check {
            username: format!("{remote_ufrag}:{}", self.ufrag),
            remote_pwd: value("a=ice-pwd:")?.to_owned(),
            controlling: 0x1122_3344_5566_7788,
        };
        // Its own password is for checks the server, being lite, never sends.
        drop(self.pwd);
        let local: SocketAddr = if server.is_ipv4() {
            ([127, 0, 0, 1], 0).into()
        } else {
            "[::1]:0".parse()?
        };
        let socket = UdpSocket::bind(local).context("a UDP socket for a peer")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(RETRY))?;
        let (seal, open) = handshake(&socket, &check, self.certificate)?;
        Ok(Peer {
            socket,
            seal,
            open,
            check,
        })
    }
}

impl Peer {
    /// Sends a consent check (RFC 7675); the answer is read with everything else and ignored.
    pub(crate) fn send_check(&self) -> Result<()> {
        self.socket.send(&self.check.request()?)?;
        Ok(())
    }
}

impl Check {
    fn request(&self) -> Result<Vec<u8>> {
        let mut message = Message::new();
        message.build(&[
            Box::new(BINDING_REQUEST) as Box<dyn Setter>,
            Box::new(TransactionId::new()),
            Box::new(TextAttribute::new(ATTR_USERNAME, self.username.clone())),
        ])?;
        message.add(ATTR_PRIORITY, &0x6e00_01ff_u32.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &self.controlling.to_be_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        MessageIntegrity::new_short_term_integrity(self.remote_pwd.clone()).add_to(&mut message)?;
        FINGERPRINT.add_to(&mut message)?;
        Ok(message.raw)
    }
}

fn handshake(socket: &UdpSocket, check: &Check, certificate: DtlsCertificate) -> Result<(Keys, Keys)> {
    let began = Instant::now();
    let mut buffer = vec![0; 2_048];
    // ICE: one answered check with USE-CANDIDATE is all a lite peer wants.
    loop {
        socket.send(&check.request()?)?;
        match socket.recv(&mut buffer) {
            Ok(len) if buffer[..len].starts_with(&[0x01, 0x01]) => break,
            Ok(len) if buffer[..len].starts_with(&[0x01, 0x11]) => bail!("the server refused the connectivity check"),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("waiting for the check's answer"),
        }
        if began.elapsed() > HANDSHAKE {
            bail!("no answer to connectivity checks");
        }
    }
    let mut dtls = Dtls::new_12(Arc::new(dimpl::Config::default()), certificate, Instant::now());
    dtls.set_active(true);
    dtls.handle_timeout(Instant::now())
        .map_err(|error| anyhow::anyhow!("DTLS: {error}"))?;
    let mut out = vec![0; 2_048];
    let mut keys = None;
    loop {
        let next = loop {
            match dtls.poll_output(&mut out) {
                Output::Packet(packet) => {
                    socket.send(packet)?;
                }
                Output::KeyingMaterial(material, profile) => keys = Some(client_keys(&material, profile)?),
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
        socket.set_read_timeout(Some(wait))?;
        match socket.recv(&mut buffer) {
            Ok(len) if matches!(buffer[0], 20..=63) => {
                dtls.handle_packet(&buffer[..len])
                    .map_err(|error| anyhow::anyhow!("DTLS: {error}"))?;
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("waiting for the DTLS handshake"),
        }
        dtls.handle_timeout(Instant::now())
            .map_err(|error| anyhow::anyhow!("DTLS: {error}"))?;
        if began.elapsed() > HANDSHAKE {
            bail!("the DTLS handshake did not finish");
        }
    }
}
