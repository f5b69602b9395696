//! Prints the answer.

use std::net::SocketAddr;

use rtc_sdp::SessionDescription;
use rtc_sdp::description::common::{Address, Attribute, ConnectionInformation};
use rtc_sdp::description::media::{MediaDescription, MediaName, RangedPort};
use rtc_sdp::description::session::{Origin, TimeDescription};

use super::extension::OfferedExtension;
use super::negotiate::AnswerParams;
use super::offer::{Direction, Offer, OfferedLine, OfferedMedia};
use super::session::{Codec, Format, Line, MediaLine, Session};
use crate::ids::PayloadType;
use crate::media::Kind;

/// What Opus publishers are asked to send (RFC 7587 §7). Firefox would send 63 kbit/s in stereo, and the audio reserve of the
/// ladder is 80 for everything. DTX lets a listener's uplink rest; voice frames and their redundancy are as without it.
const OPUS_PUBLISHING: &str = "minptime=10;useinbandfec=1;maxaveragebitrate=32000;stereo=0;usedtx=1";

/// For lines on which the client sends nothing.
const OPUS_RECEIVING: &str = "minptime=10;useinbandfec=1";

/// The text of the answer to `offer` that agrees on `session`.
pub(super) fn answer(offer: &Offer, session: &Session, params: &AnswerParams<'_>) -> String {
    let mut bundle = String::from("BUNDLE");
    for line in session.media() {
        bundle.push(' ');
        bundle.push_str(line.mid.as_str());
    }
    let attributes = vec![pair("group", bundle), flag("ice-lite"), pair("msid-semantic", "WMS *")];
    let mut media_descriptions = Vec::with_capacity(session.lines.len());
    let mut candidates = Some(params.candidates);
    for (offered, line) in offer.lines.iter().zip(&session.lines) {
        media_descriptions.push(match (line, &offered.content) {
            // The first accepted line carries the candidates of the whole bundle.
            (Line::Media(line), Ok(media)) => accepted(offered, media, line, candidates.take(), params),
            _ => refused(offered),
        });
    }
    SessionDescription {
        origin: Origin {
            username: "-".to_owned(),
            session_id: params.session_id,
            session_version: session.version,
            network_type: "IN".to_owned(),
            address_type: "IP4".to_owned(),
            unicast_address: "127.0.0.1".to_owned(),
        },
        session_name: "-".to_owned(),
        time_descriptions: vec![TimeDescription::default()],
        attributes,
        media_descriptions,
        ..SessionDescription::default()
    }
    .marshal()
}

fn refused(offered: &OfferedLine) -> MediaDescription {
    let mut attributes = Vec::new();
    attributes.extend(offered.mid.map(|mid| pair("mid", mid.as_str())));
    attributes.push(flag("inactive"));
    description(
        MediaName {
            port: RangedPort { value: 0, range: None },
            ..offered.name.clone()
        },
        attributes,
    )
}

fn accepted(
    offered: &OfferedLine,
    media: &OfferedMedia,
    line: &MediaLine,
    candidates: Option<&[SocketAddr]>,
    params: &AnswerParams<'_>,
) -> MediaDescription {
    let mut attributes = vec![
        pair("mid", line.mid.as_str()),
        pair("ice-ufrag", &params.local_ice.ufrag),
        pair("ice-pwd", &params.local_ice.pwd),
        pair("ice-options", "ice2 trickle"),
        pair("fingerprint", params.fingerprint.to_string()),
        pair("setup", "passive"),
    ];
    if let Some(candidates) = candidates {
        attributes.extend(
            candidates
                .iter()
                .enumerate()
                .map(|(index, address)| candidate(index, *address)),
        );
        attributes.extend(
            params
                .tcp_candidates
                .iter()
                .enumerate()
                .map(|(index, address)| tcp_candidate(candidates.len() + index, index, *address)),
        );
        attributes.push(flag("end-of-candidates"));
    }
    attributes.push(flag(direction(line).as_str()));
    attributes.push(flag("rtcp-mux"));
    if media.reduced_size {
        attributes.push(flag("rtcp-rsize"));
    }
    for (payload_type, format) in line.formats.iter() {
        describe_format(&mut attributes, payload_type, format, media, line, params);
    }
    let useful = |extension: &&OfferedExtension| {
        let published = line.publishes.is_some() && extension.is_wanted_of(&line.formats);
        published || (line.receives.is_some() && extension.server_may_send())
    };
    for extension in media.extensions.iter().filter(useful) {
        let way = extension
            .direction
            .map_or(String::new(), |way| format!("/{}", way.flipped().as_str()));
        attributes.push(pair(
            "extmap",
            format!("{}{way} {}", extension.id, extension.kind.uri()),
        ));
    }
    describe_encodings(&mut attributes, line);
    describe_sending(&mut attributes, line);
    description(
        MediaName {
            port: RangedPort { value: 9, range: None },
            formats: line
                .formats
                .iter()
                .map(|(payload_type, _)| payload_type.0.to_string())
                .collect(),
            ..offered.name.clone()
        },
        attributes,
    )
}

fn direction(line: &MediaLine) -> Direction {
    match (&line.publishes, &line.receives) {
        (Some(_), Some(_)) => Direction::SendRecv,
        (Some(_), None) => Direction::RecvOnly,
        (None, Some(_)) => Direction::SendOnly,
        (None, None) => Direction::Inactive,
    }
}

/// A host candidate (RFC 8839 §5.1) with the priority of RFC 8445 §5.1.2.1.
fn candidate(index: usize, address: SocketAddr) -> Attribute {
    const HOST_PREFERENCE: u32 = 126;
    const COMPONENT: u32 = 1;
    let local_preference = 65_535 - index.min(65_535) as u32;
    let priority = (HOST_PREFERENCE << 24) | (local_preference << 8) | (256 - COMPONENT);
    let (foundation, ip, port) = (index + 1, address.ip(), address.port());
    pair(
        "candidate",
        format!("{foundation} {COMPONENT} udp {priority} {ip} {port} typ host"),
    )
}

/// A host candidate that waits for connections (RFC 6544 §4.5), below all over UDP (§4.2).
fn tcp_candidate(foundation: usize, index: usize, address: SocketAddr) -> Attribute {
    const HOST_PREFERENCE: u32 = 90;
    const PASSIVE: u32 = 4;
    const COMPONENT: u32 = 1;
    let other_preference = 8_191 - index.min(8_191) as u32;
    let local_preference = (PASSIVE << 13) | other_preference;
    let priority = (HOST_PREFERENCE << 24) | (local_preference << 8) | (256 - COMPONENT);
    let (foundation, ip, port) = (foundation + 1, address.ip(), address.port());
    pair(
        "candidate",
        format!("{foundation} {COMPONENT} tcp {priority} {ip} {port} typ host tcptype passive"),
    )
}

fn describe_format(
    attributes: &mut Vec<Attribute>,
    payload_type: PayloadType,
    format: Format,
    media: &OfferedMedia,
    line: &MediaLine,
    params: &AnswerParams<'_>,
) {
    let number = payload_type.0;
    let publishes = line.publishes.is_some();
    let start = format!("x-google-start-bitrate={}", params.start_kbps);
    let (encoding, fmtp) = match format {
        Format::Media(Codec::Opus) if publishes => ("opus/48000/2", OPUS_PUBLISHING.to_owned()),
        Format::Media(Codec::Opus) => ("opus/48000/2", OPUS_RECEIVING.to_owned()),
        Format::Red { opus } => ("red/48000/2", format!("{0}/{0}", opus.0)),
        Format::Media(Codec::Vp8) if publishes => ("VP8/90000", start),
        Format::Media(Codec::Vp8) => ("VP8/90000", String::new()),
        Format::Media(Codec::H264) => {
            let offered = media
                .formats
                .iter()
                .find(|offered| offered.payload_type == payload_type);
            let profile = offered.and_then(|offered| offered.parameter("profile-level-id"));
            let mut fmtp = "level-asymmetry-allowed=1;packetization-mode=1".to_owned();
            if let Some(profile) = profile {
                fmtp.push_str(&format!(";profile-level-id={profile}"));
            }
            if publishes {
                fmtp.push_str(&format!(";{start}"));
            }
            ("H264/90000", fmtp)
        }
        Format::Rtx { apt } => ("rtx/90000", format!("apt={}", apt.0)),
    };
    attributes.push(pair("rtpmap", format!("{number} {encoding}")));
    if !fmtp.is_empty() {
        attributes.push(pair("fmtp", format!("{number} {fmtp}")));
    }
    if matches!(format, Format::Media(_)) {
        let agreed = line.feedback;
        let feedback = [
            (agreed.nack, "nack"),
            (agreed.pli, "nack pli"),
            (agreed.fir, "ccm fir"),
            (agreed.transport_cc, "transport-cc"),
        ];
        for (_, name) in feedback.into_iter().filter(|(agreed, _)| *agreed) {
            attributes.push(pair("rtcp-fb", format!("{number} {name}")));
        }
    }
}

/// RFC 8853 §5.3: the answer takes the encodings it wants, as `recv`. One that the client has paused is repeated as paused:
/// without the mark Chromium switches it on again, against the client's own `setParameters`.
fn describe_encodings(attributes: &mut Vec<Attribute>, line: &MediaLine) {
    let Some(publishing) = &line.publishes else { return };
    let mut list = Vec::with_capacity(publishing.encodings.len());
    for encoding in &publishing.encodings {
        let Some(rid) = encoding.rid else { continue };
        attributes.push(pair("rid", format!("{rid} recv")));
        list.push(format!("{}{rid}", if encoding.paused { "~" } else { "" }));
    }
    if list.len() > 1 {
        attributes.push(pair("simulcast", format!("recv {}", list.join(";"))));
    }
}

/// SSRCs are declared although browsers can do without, because Firefox drops retransmissions on undeclared ones.
fn describe_sending(attributes: &mut Vec<Attribute>, line: &MediaLine) {
    let Some(receiving) = &line.receives else { return };
    let stream = receiving.stream_id();
    let track = match line.kind {
        Kind::Audio => format!("{stream}-audio"),
        Kind::Video => format!("{stream}-video"),
    };
    attributes.push(pair("msid", format!("{stream} {track}")));
    if let Some(rtx) = receiving.rtx {
        attributes.push(pair("ssrc-group", format!("FID {} {}", receiving.ssrc.0, rtx.0)));
    }
    for ssrc in [Some(receiving.ssrc), receiving.rtx].into_iter().flatten() {
        attributes.push(pair("ssrc", format!("{} cname:{stream}", ssrc.0)));
        attributes.push(pair("ssrc", format!("{} msid:{stream} {track}", ssrc.0)));
    }
}

fn description(media_name: MediaName, attributes: Vec<Attribute>) -> MediaDescription {
    MediaDescription {
        media_name,
        connection_information: Some(ConnectionInformation {
            network_type: "IN".to_owned(),
            address_type: "IP4".to_owned(),
            address: Some(Address {
                address: "0.0.0.0".to_owned(),
                ttl: None,
                range: None,
            }),
        }),
        attributes,
        ..MediaDescription::default()
    }
}

fn flag(key: &str) -> Attribute {
    Attribute::new(key.to_owned(), None)
}

fn pair(key: &str, value: impl Into<String>) -> Attribute {
    Attribute::new(key.to_owned(), Some(value.into()))
}
