//! What a peer offers in SDP.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use aws_lc_rs::digest::{SHA256, digest};

/// Payload types and header extension ids of all offers.
pub(crate) const VP8: u8 = 96;
/// Retransmissions of [`VP8`].
pub(crate) const RTX: u8 = 97;
/// Opus.
pub(crate) const OPUS: u8 = 111;
/// `sdes:mid`.
pub(crate) const MID_ID: u8 = 1;
/// `sdes:rtp-stream-id`.
pub(crate) const RID_ID: u8 = 2;
/// Transport-wide sequence numbers.
pub(crate) const TWCC_ID: u8 = 3;
/// `ssrc-audio-level`.
pub(crate) const LEVEL_ID: u8 = 5;

/// The rids of a simulcast line, low to high as browsers are told to send them.
pub(crate) const RIDS: [&str; 2] = ["m", "h"];

/// One `m=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Opus from this side.
    SendAudio { ssrc: u32 },
    /// One VP8 stream from this side.
    SendVideo { ssrc: u32 },
    /// 480p and 720p from this side, told apart by their rids alone.
    SendSimulcast,
    /// Room for somebody's microphone.
    ReceiveAudio,
    /// Room for somebody's camera.
    ReceiveVideo,
}

/// An offer and what belongs to it. Mids are "0", "1", and so on.
pub(crate) struct Offer {
    /// The text.
    pub(crate) sdp: String,
    /// ICE user name fragment and password.
    pub(crate) ufrag: String,
    /// See there.
    pub(crate) pwd: String,
}

impl Offer {
    /// For these lines, in one bundle.
    pub(crate) fn new(lines: &[Line]) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let print = digest(&SHA256, &super::dtls::certificate()?.certificate);
        let print: Vec<String> = print.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let ufrag = format!("b{number:07x}");
        let pwd = format!("benchmark-password-{number:08x}");
        let mids: Vec<String> = (0..lines.len()).map(|mid| mid.to_string()).collect();
        let mut sdp = format!(
            "v=0\r\no=- {number} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
             a=extmap-allow-mixed\r\na=msid-semantic: WMS *\r\n",
            mids.join(" ")
        );
        let transport = format!(
            "c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=ice-options:trickle\r\n\
             a=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            print.join(":")
        );
        for (line, mid) in lines.iter().zip(&mids) {
            line.write(&mut sdp, &transport, mid)?;
        }
        Ok(Self { sdp, ufrag, pwd })
    }
}

impl Line {
    fn write(self, sdp: &mut String, transport: &str, mid: &str) -> std::fmt::Result {
        let audio = matches!(self, Self::SendAudio { .. } | Self::ReceiveAudio);
        if audio {
            write!(sdp, "m=audio 9 UDP/TLS/RTP/SAVPF {OPUS}\r\n")?;
        } else {
            write!(sdp, "m=video 9 UDP/TLS/RTP/SAVPF {VP8} {RTX}\r\n")?;
        }
        let direction = match self {
            Self::SendAudio { .. } | Self::SendVideo { .. } | Self::SendSimulcast => "sendonly",
            Self::ReceiveAudio | Self::ReceiveVideo => "recvonly",
        };
        write!(
            sdp,
            "{transport}a=mid:{mid}\r\na={direction}\r\na=extmap:{MID_ID} urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
             a=extmap:{TWCC_ID} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n"
        )?;
        if audio {
            write!(
                sdp,
                "a=extmap:{LEVEL_ID} urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=rtpmap:{OPUS} opus/48000/2\r\n\
                 a=rtcp-fb:{OPUS} transport-cc\r\na=fmtp:{OPUS} minptime=10;useinbandfec=1\r\n"
            )?;
        } else {
            write!(
                sdp,
                "a=rtpmap:{VP8} VP8/90000\r\na=rtcp-fb:{VP8} nack\r\na=rtcp-fb:{VP8} nack pli\r\n\
                 a=rtcp-fb:{VP8} ccm fir\r\na=rtcp-fb:{VP8} transport-cc\r\n\
                 a=rtpmap:{RTX} rtx/90000\r\na=fmtp:{RTX} apt={VP8}\r\n"
            )?;
        }
        match self {
            Self::SendAudio { ssrc } => write!(sdp, "a=msid:bench audio\r\na=ssrc:{ssrc} cname:bench\r\n"),
            Self::SendVideo { ssrc } => write!(
                sdp,
                "a=msid:bench video\r\na=ssrc-group:FID {ssrc} {0}\r\na=ssrc:{ssrc} cname:bench\r\na=ssrc:{0} cname:bench\r\n",
                ssrc + 1
            ),
            Self::SendSimulcast => write!(
                sdp,
                "a=msid:bench video\r\na=extmap:{RID_ID} urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
                 a=rid:{0} send\r\na=rid:{1} send\r\na=simulcast:send {0};{1}\r\n",
                RIDS[0], RIDS[1]
            ),
            Self::ReceiveAudio | Self::ReceiveVideo => Ok(()),
        }
    }
}

/// The addresses of an answer's UDP host candidates, in its order.
pub(crate) fn candidates(answer: &str) -> Vec<std::net::SocketAddr> {
    let parse = |line: &str| {
        let words: Vec<&str> = line.trim().strip_prefix("a=candidate:")?.split_whitespace().collect();
        let [_, "1", protocol, _, ip, port, "typ", "host", ..] = words[..] else {
            return None;
        };
        let ip: std::net::IpAddr = ip.parse().ok()?;
        (protocol.eq_ignore_ascii_case("udp")).then_some((ip, port.parse().ok()?).into())
    };
    let mut found: Vec<std::net::SocketAddr> = Vec::new();
    for address in answer.lines().filter_map(parse) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_has_its_lines_in_one_bundle() {
        let lines = [
            Line::SendAudio { ssrc: 7 },
            Line::SendSimulcast,
            Line::ReceiveAudio,
            Line::ReceiveVideo,
        ];
        let offer = Offer::new(&lines).expect("an offer");
        assert!(offer.sdp.contains("a=group:BUNDLE 0 1 2 3\r\n"));
        assert_eq!(offer.sdp.matches("m=audio").count(), 2);
        assert_eq!(offer.sdp.matches("a=recvonly").count(), 2);
        assert!(offer.sdp.contains("a=simulcast:send m;h\r\n"));
        assert!(offer.sdp.lines().all(|line| line.as_bytes()[1] == b'='));
        assert_ne!(offer.ufrag, Offer::new(&lines).expect("an offer").ufrag);
    }

    #[test]
    fn only_udp_host_candidates_count() {
        let answer = "a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host\r\n\
                      a=candidate:2 1 tcp 1 192.0.2.1 40000 typ host tcptype passive\r\n\
                      a=candidate:3 1 UDP 5 127.0.0.1 40001 typ host generation 0\r\n\
                      a=candidate:4 2 udp 5 127.0.0.1 40002 typ host\r\n\
                      a=candidate:5 1 udp 5 abcd.local 40002 typ host\r\n\
                      a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host\r\n";
        let expected: Vec<std::net::SocketAddr> = ["192.0.2.1:40000", "127.0.0.1:40001"]
            .map(|address| address.parse().expect("an address"))
            .into();
        assert_eq!(candidates(answer), expected);
    }
}
