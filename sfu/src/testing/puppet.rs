//! The other end of a member, for tests and fuzzing: offers, checks, and packets sealed and opened as a browser does it.

use std::fmt::Write as _;

#[cfg(test)]
use housecall_turn::stun::Message;
use housecall_turn::stun::{Builder, Class, IntegrityKey, Method, TransactionId};

use crate::api::IceCredentials;
use crate::dtls::Fingerprint;
use crate::ext::ExtensionIds;
use crate::ids::{PayloadType, Ssrc};
use crate::media::Kind;
use crate::rtp::RtpHeader;
use crate::srtp::{self, DtlsRole, OpenError, Opener, Profile, Sealer};

/// The header extensions of every offer.
pub(crate) const IDS: ExtensionIds = ExtensionIds {
    mid: Some(4),
    rid: Some(10),
    repaired_rid: Some(11),
    twcc: Some(3),
    abs_send_time: None,
    audio_level: Some(1),
};
pub(crate) const OPUS: PayloadType = PayloadType(111);
#[cfg(test)]
pub(crate) const RED: PayloadType = PayloadType(63);
pub(crate) const VP8: PayloadType = PayloadType(96);
pub(crate) const RTX: PayloadType = PayloadType(97);

/// Which way media goes on a line, as its offerer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    SendOnly,
    RecvOnly,
    SendRecv,
    Inactive,
    /// The line is closed: port 0.
    Closed,
}

impl Direction {
    const fn attribute(self) -> &'static str {
        match self {
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::SendRecv => "sendrecv",
            Self::Inactive | Self::Closed => "inactive",
        }
    }
}

/// One line of an offer; its mid is its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) direction: Direction,
    /// Encodings "m" and "h" instead of a single one without a name.
    pub(crate) simulcast: bool,
}

impl Line {
    pub(crate) const fn new(kind: Kind, direction: Direction) -> Self {
        let simulcast = matches!(kind, Kind::Video) && matches!(direction, Direction::SendOnly | Direction::SendRecv);
        Self {
            kind,
            direction,
            simulcast,
        }
    }
}

/// An offer with these lines.
pub(crate) fn offer(lines: &[Line], ice: &IceCredentials, fingerprint: &Fingerprint) -> String {
    let open = |line: &Line| line.direction != Direction::Closed;
    let mut text = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE");
    for (mid, _) in lines.iter().enumerate().filter(|(_, line)| open(line)) {
        let _ = write!(text, " {mid}");
    }
    text.push_str("\r\n");
    for (mid, line) in lines.iter().enumerate() {
        let port = if open(line) { 9 } else { 0 };
        let formats = match line.kind {
            Kind::Audio => "audio {port} UDP/TLS/RTP/SAVPF 111 63",
            Kind::Video => "video {port} UDP/TLS/RTP/SAVPF 96 97",
        };
        let _ = write!(
            text,
            "m={}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{fingerprint}\r\n\
             a=setup:actpass\r\na=mid:{mid}\r\na={}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
             a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
             a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n",
            formats.replace("{port}", if port == 9 { "9" } else { "0" }),
            ice.ufrag,
            ice.pwd,
            line.direction.attribute(),
        );
        text.push_str(match line.kind {
            Kind::Audio => {
                "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=rtpmap:111 opus/48000/2\r\n\
                 a=rtcp-fb:111 transport-cc\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"
            }
            Kind::Video => {
                "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
                 a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\na=rtpmap:96 VP8/90000\r\n\
                 a=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
                 a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
            }
        });
        if line.simulcast {
            text.push_str("a=rid:m send\r\na=rid:h send\r\na=simulcast:send m;h\r\n");
        }
    }
    text
}

/// What an answer says the server sends on one line: the media SSRC, and that of its retransmissions.
pub(crate) fn sending_ssrcs(answer: &str) -> Vec<(usize, Ssrc, Option<Ssrc>)> {
    let mut found: Vec<(usize, Ssrc, Option<Ssrc>)> = Vec::new();
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).map(Ssrc);
    let sections = answer.split("\r\nm=").skip(1);
    for (index, section) in sections.enumerate() {
        let mut group = None;
        for line in section.lines() {
            if let Some(pair) = line.strip_prefix("a=ssrc-group:FID ") {
                let mut pair = pair.split(' ');
                group = number(pair.next()).zip(number(pair.next()));
            } else if let Some(rest) = line.strip_prefix("a=ssrc:")
                && found.last().is_none_or(|(last, ..)| *last != index)
                && let Some(ssrc) = number(rest.split(' ').next())
            {
                let rtx = group.filter(|(media, _)| *media == ssrc).map(|(_, rtx)| rtx);
                found.push((index, ssrc, rtx));
            }
        }
    }
    found
}

/// An RTP packet to be written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fields<'a> {
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) mid: Option<&'a str>,
    pub(crate) rid: Option<&'a str>,
    pub(crate) repaired_rid: Option<&'a str>,
    pub(crate) twcc: Option<u16>,
}

/// The packet in plaintext, and the length of its header.
pub(crate) fn rtp(fields: &Fields<'_>, payload: &[u8]) -> (Vec<u8>, usize) {
    let mut out = vec![0x90, fields.payload_type | u8::from(fields.marker) << 7];
    out.extend(fields.sequence.to_be_bytes());
    out.extend(fields.timestamp.to_be_bytes());
    out.extend(fields.ssrc.to_be_bytes());
    let mut elements = Vec::new();
    let mut element = |id: Option<u8>, content: &[u8]| {
        if let Some(id) = id.filter(|_| (1..=16).contains(&content.len())) {
            elements.push(id << 4 | (content.len() - 1) as u8);
            elements.extend(content);
        }
    };
    element(IDS.mid, fields.mid.unwrap_or_default().as_bytes());
    element(IDS.rid, fields.rid.unwrap_or_default().as_bytes());
    element(IDS.repaired_rid, fields.repaired_rid.unwrap_or_default().as_bytes());
    if let Some(number) = fields.twcc {
        element(IDS.twcc, &number.to_be_bytes());
    }
    elements.resize(elements.len().next_multiple_of(4), 0);
    out.extend([0xbe, 0xde, 0, (elements.len() / 4) as u8]);
    out.extend(elements);
    let header_len = out.len();
    out.extend(payload);
    (out, header_len)
}

/// One connection's other end.
pub(crate) struct Puppet {
    /// Its own ICE credentials.
    pub(crate) own: IceCredentials,
    /// The server's, from the answer.
    pub(crate) server: IceCredentials,
    transactions: u64,
    srtp: Option<(Opener, Sealer)>,
}

impl Puppet {
    pub(crate) const fn new(own: IceCredentials, server: IceCredentials) -> Self {
        Self {
            own,
            server,
            transactions: 0,
            srtp: None,
        }
    }

    /// Keys for [`crate::transport::Transport::connect_with`], different for each number.
    pub(crate) fn keys(number: u64) -> [u8; 88] {
        let mut keys = [0x5a; 88];
        for key in keys.chunks_exact_mut(8) {
            key.copy_from_slice(&number.to_be_bytes());
        }
        // The client's and the server's must differ.
        keys[..32].iter_mut().for_each(|byte| *byte ^= 0xff);
        keys
    }

    /// Takes over the client's side of the keys.
    pub(crate) fn connect(&mut self, keys: &[u8]) {
        self.srtp = srtp::from_dtls(Profile::AeadAes256Gcm, keys, DtlsRole::Client).ok();
    }

    /// Takes over what a real handshake agreed on.
    #[cfg(test)]
    pub(crate) fn adopt_keys(&mut self, keys: (Opener, Sealer)) {
        self.srtp = Some(keys);
    }

    /// Whether keys are in place.
    #[cfg(test)]
    pub(crate) const fn has_keys(&self) -> bool {
        self.srtp.is_some()
    }

    /// Whether a datagram is the authentic answer to a check, saying that it came from `address`.
    #[cfg(test)]
    pub(crate) fn is_answer(&self, datagram: &[u8], address: std::net::SocketAddr) -> bool {
        let Ok(answer) = Message::parse(datagram) else {
            return false;
        };
        let is_authentic = answer
            .verify_integrity(&IntegrityKey::new(self.server.pwd.as_bytes()))
            .is_ok();
        is_authentic && answer.class() == Class::Success && answer.xor_mapped_address() == Some(address)
    }

    /// An authentic connectivity check.
    pub(crate) fn check(&mut self, nominate: bool) -> Vec<u8> {
        self.transactions += 1;
        let mut id = [0; 12];
        id[4..].copy_from_slice(&self.transactions.to_be_bytes());
        let mut buffer = [0; 512];
        let mut builder = Builder::new(&mut buffer, Class::Request, Method::BINDING, TransactionId(id));
        builder.username(&format!("{}:{}", self.server.ufrag, self.own.ufrag));
        builder.priority(0x6e00_01ff).ice_controlling(1);
        if nominate {
            builder.use_candidate();
        }
        builder.message_integrity(&IntegrityKey::new(self.server.pwd.as_bytes()));
        let len = builder.fingerprint().finish().expect("it fits");
        buffer[..len].to_vec()
    }

    /// Seals a packet; `None` before [`Self::connect`], or if its number was used.
    pub(crate) fn seal_rtp(&mut self, fields: &Fields<'_>, payload: &[u8]) -> Option<Vec<u8>> {
        let (_, sealer) = self.srtp.as_mut()?;
        let (mut packet, header_len) = rtp(fields, payload);
        let plain = packet.len();
        packet.resize(plain + srtp::MAX_RTP_OVERHEAD, 0);
        let len = sealer.seal_rtp(&mut packet, plain, header_len).ok()?;
        packet.truncate(len);
        Some(packet)
    }

    /// Seals a compound of eight bytes or more.
    pub(crate) fn seal_rtcp(&mut self, compound: &[u8]) -> Option<Vec<u8>> {
        let (_, sealer) = self.srtp.as_mut()?;
        let mut packet = compound.to_vec();
        packet.resize(compound.len() + srtp::MAX_RTCP_OVERHEAD, 0);
        let len = sealer.seal_rtcp(&mut packet, compound.len()).ok()?;
        packet.truncate(len);
        Some(packet)
    }

    /// Opens what the server sent. Its replay window refuses whatever was sealed under the same key and nonce before.
    pub(crate) fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, OpenError> {
        let (opener, _) = self.srtp.as_mut().ok_or(OpenError::NotReady)?;
        let header = RtpHeader::parse(packet).map_err(|_| OpenError::TooShort)?;
        opener.open_rtp(packet, usize::from(header.len))
    }

    /// Same for a compound.
    pub(crate) fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, OpenError> {
        let (opener, _) = self.srtp.as_mut().ok_or(OpenError::NotReady)?;
        opener.open_rtcp(packet)
    }
}
