//! Reads an offer: text to types, with everything checked that does not depend on what this server can do.

use rtc_sdp::SessionDescription;
use rtc_sdp::description::common::Attribute;
use rtc_sdp::description::media::{MediaDescription, MediaName};

use super::extension::{KnownExtension, OfferedExtension};
use super::session::{DeclaredSsrc, Refusal};
use crate::api::{IceCredentials, NegotiateError};
use crate::dtls::{Fingerprint, FingerprintError};
use crate::ids::{Mid, PayloadType, Rid, Ssrc};
use crate::limits;
use crate::media::Kind;

/// A readable offer.
pub(super) struct Offer {
    pub(super) ice: IceCredentials,
    pub(super) fingerprint: Fingerprint,
    pub(super) lines: Vec<OfferedLine>,
}

/// One `m=` line of it.
pub(super) struct OfferedLine {
    /// As it came: a refused line repeats it in the answer.
    pub(super) name: MediaName,
    pub(super) mid: Option<Mid>,
    pub(super) content: Result<OfferedMedia, Refusal>,
}

/// A line that could carry media.
pub(super) struct OfferedMedia {
    pub(super) mid: Mid,
    pub(super) kind: Kind,
    pub(super) direction: Direction,
    /// `a=content` names slides (RFC 4796): a shared screen.
    pub(super) is_slides: bool,
    /// `a=rtcp-rsize` (RFC 5506).
    pub(super) reduced_size: bool,
    /// In the client's order of preference.
    pub(super) formats: Vec<OfferedFormat>,
    pub(super) extensions: Vec<OfferedExtension>,
    /// In the order of `a=simulcast`; a lone `a=rid` without it counts too.
    pub(super) rids: Vec<OfferedRid>,
    pub(super) ssrcs: Vec<DeclaredSsrc>,
}

/// A line's direction as seen by whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }

    /// The same as the other side writes it.
    pub(super) fn flipped(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            both_or_none => both_or_none,
        }
    }

    pub(super) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub(super) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// A payload type with what the offer says of it.
pub(super) struct OfferedFormat {
    pub(super) payload_type: PayloadType,
    /// `name/clock` or `name/clock/channels`, in lower case.
    pub(super) encoding: String,
    pub(super) fmtp: String,
    /// Values of `a=rtcp-fb`, such as `nack pli`.
    pub(super) feedback: Vec<String>,
}

impl OfferedFormat {
    /// A parameter of `a=fmtp`; names are compared without regard to case.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.fmtp.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A simulcast encoding and how large it says it will be.
#[derive(Clone, Copy)]
pub(super) struct OfferedRid {
    pub(super) rid: Rid,
    /// Marked `~` in `a=simulcast`.
    pub(super) paused: bool,
    /// `max-width` × `max-height`.
    pub(super) pixels: Option<u64>,
    /// `max-fs`, macroblocks.
    pub(super) frame_size: Option<u64>,
    /// `max-br`, bit/s.
    pub(super) bitrate: Option<u64>,
}

impl Offer {
    /// # Errors
    /// [`NegotiateError::Malformed`] and [`NegotiateError::Unsupported`].
    pub(super) fn read(text: &str) -> Result<Self, NegotiateError> {
        let description = parse(text)?;
        let bundle = bundle_group(&description);
        let mut lines = Vec::with_capacity(description.media_descriptions.len());
        for media in &description.media_descriptions {
            let line = read_line(&description, media, bundle.as_deref())?;
            let repeated = |other: &OfferedLine| line.mid.is_some() && other.mid == line.mid;
            if lines.iter().any(repeated) {
                return Err(malformed("two media lines have the same a=mid"));
            }
            lines.push(line);
        }
        let live = || {
            lines
                .iter()
                .zip(&description.media_descriptions)
                .filter(|(line, _)| line.content.is_ok())
        };
        let Some((_, tagged)) = live().next() else {
            return Err(unsupported(
                "it has no open audio or video line secured with DTLS (UDP/TLS/RTP/SAVPF) in one BUNDLE group",
            ));
        };
        if bundle.is_none() && live().count() > 1 {
            return Err(unsupported("several media lines need one BUNDLE group (RFC 8843)"));
        }
        let (ice, fingerprint) = read_transport(&description, tagged)?;
        Ok(Self {
            ice,
            fingerprint,
            lines,
        })
    }
}

fn parse(text: &str) -> Result<SessionDescription, NegotiateError> {
    if text.len() > limits::MAX_OFFER_BYTES {
        return Err(malformed(format!(
            "it is longer than {} bytes",
            limits::MAX_OFFER_BYTES
        )));
    }
    // The parser's own errors quote what they stumbled over, which may be a password; a line number is as helpful.
    for (index, line) in text.lines().enumerate() {
        let well_formed = line.is_empty() || (line.as_bytes()[0].is_ascii_lowercase() && line[1..].starts_with('='));
        if !well_formed {
            return Err(malformed(format!("line {} is not of the form x=value", index + 1)));
        }
    }
    let media_lines = text.lines().filter(|line| line.starts_with("m=")).count();
    if media_lines > limits::MAX_LINES {
        return Err(malformed(format!("it has more than {} media lines", limits::MAX_LINES)));
    }
    SessionDescription::unmarshal(&mut std::io::Cursor::new(text.as_bytes()))
        .map_err(|_| malformed("its lines are not in the order or form of RFC 8866"))
}

/// The tags of the first BUNDLE group.
fn bundle_group(description: &SessionDescription) -> Option<Vec<&str>> {
    values(&description.attributes, "group").find_map(|value| {
        let mut words = value.split_whitespace();
        (words.next() == Some("BUNDLE")).then(|| words.collect())
    })
}

fn read_line(
    description: &SessionDescription,
    media: &MediaDescription,
    bundle: Option<&[&str]>,
) -> Result<OfferedLine, NegotiateError> {
    let mid = match value(&media.attributes, "mid") {
        Some(text) => {
            Some(Mid::new(text).ok_or_else(|| malformed("an a=mid is not 1 to 16 visible ASCII characters"))?)
        }
        None => None,
    };
    Ok(OfferedLine {
        name: media.media_name.clone(),
        mid,
        content: read_content(description, media, mid, bundle)?,
    })
}

fn read_content(
    description: &SessionDescription,
    media: &MediaDescription,
    mid: Option<Mid>,
    bundle: Option<&[&str]>,
) -> Result<Result<OfferedMedia, Refusal>, NegotiateError> {
    let bundled = mid.is_some_and(|mid| bundle.is_some_and(|group| group.contains(&mid.as_str())));
    let bundle_only = bundled && has(&media.attributes, "bundle-only");
    if media.media_name.port.value == 0 && !bundle_only {
        return Ok(Err(Refusal::Closed));
    }
    let kind = match media.media_name.media.as_str() {
        "audio" => Kind::Audio,
        "video" => Kind::Video,
        _ => return Ok(Err(Refusal::NotMedia)),
    };
    if !matches!(
        media.media_name.protos.join("/").as_str(),
        "UDP/TLS/RTP/SAVPF" | "TCP/TLS/RTP/SAVPF" | "TCP/DTLS/RTP/SAVPF"
    ) {
        return Ok(Err(Refusal::NotSecureRtp));
    }
    if bundle.is_some() && !bundled {
        return Ok(Err(Refusal::OwnTransport));
    }
    if !has(&media.attributes, "rtcp-mux") {
        return Err(unsupported("every media line needs a=rtcp-mux (RFC 5761)"));
    }
    let mid = mid.ok_or_else(|| unsupported("every media line needs a=mid (RFC 8829)"))?;
    Ok(Ok(OfferedMedia {
        mid,
        kind,
        direction: direction(&media.attributes)
            .or_else(|| direction(&description.attributes))
            .unwrap_or(Direction::SendRecv),
        is_slides: values(&media.attributes, "content")
            .any(|value| value.split(',').any(|word| word.trim() == "slides")),
        reduced_size: has(&media.attributes, "rtcp-rsize"),
        formats: read_formats(media),
        extensions: read_extensions(media),
        rids: read_rids(media)?,
        ssrcs: read_ssrcs(media),
    }))
}

/// ICE credentials and DTLS parameters: of the first live line, else of the session.
fn read_transport(
    description: &SessionDescription,
    media: &MediaDescription,
) -> Result<(IceCredentials, Fingerprint), NegotiateError> {
    let find = |key| value(&media.attributes, key).or_else(|| value(&description.attributes, key));
    let (Some(ufrag), Some(pwd)) = (find("ice-ufrag"), find("ice-pwd")) else {
        return Err(unsupported("a=ice-ufrag and a=ice-pwd are missing: ICE is required"));
    };
    if !(4..=256).contains(&ufrag.len()) || !(22..=256).contains(&pwd.len()) {
        return Err(malformed("a=ice-ufrag has 4 to 256 characters, a=ice-pwd 22 to 256"));
    }
    // RFC 8839 allows letters, digits, + and / only, some clients use more. A colon would make a STUN user name ambiguous.
    if !ufrag
        .bytes()
        .chain(pwd.bytes())
        .all(|b| b.is_ascii_graphic() && b != b':')
    {
        return Err(malformed("a=ice-ufrag and a=ice-pwd are visible ASCII without colons"));
    }
    // Several certificates or hash functions may be listed; the first one we know will do.
    let fingerprint = values(&media.attributes, "fingerprint")
        .chain(values(&description.attributes, "fingerprint"))
        .map(str::parse::<Fingerprint>)
        .find(|read| *read != Err(FingerprintError::HashFunction));
    let fingerprint = match fingerprint {
        Some(Ok(fingerprint)) => fingerprint,
        Some(Err(error)) => return Err(malformed(error.to_string())),
        None => {
            return Err(unsupported(
                "a=fingerprint with sha-256 is missing: DTLS-SRTP is required",
            ));
        }
    };
    match find("setup") {
        Some("actpass" | "active") => {}
        _ => {
            return Err(unsupported(
                "a=setup has to be actpass or active: this server is the DTLS server",
            ));
        }
    }
    let ice = IceCredentials {
        ufrag: ufrag.to_owned(),
        pwd: pwd.to_owned(),
    };
    Ok((ice, fingerprint))
}

fn read_formats(media: &MediaDescription) -> Vec<OfferedFormat> {
    let mut formats: Vec<OfferedFormat> = Vec::new();
    for text in &media.media_name.formats {
        let Some(payload_type) = payload_type(text) else {
            continue;
        };
        if formats.iter().all(|format| format.payload_type != payload_type) {
            formats.push(OfferedFormat {
                payload_type,
                encoding: String::new(),
                fmtp: String::new(),
                feedback: Vec::new(),
            });
        }
    }
    for attribute in &media.attributes {
        let Some((about, text)) = attribute.value.as_deref().and_then(|value| value.split_once(' ')) else {
            continue;
        };
        let text = text.trim();
        let everyone = about == "*" && attribute.key == "rtcp-fb";
        let about = payload_type(about);
        for format in &mut formats {
            if !everyone && about != Some(format.payload_type) {
                continue;
            }
            match attribute.key.as_str() {
                "rtpmap" => format.encoding = text.to_ascii_lowercase(),
                "fmtp" => text.clone_into(&mut format.fmtp),
                "rtcp-fb" => format.feedback.push(text.to_ascii_lowercase()),
                _ => {}
            }
        }
    }
    formats
}

/// A payload type that can be told from RTCP on a shared port: 64 to 95 cannot, once the marker bit is set (RFC 5761 §4).
fn payload_type(text: &str) -> Option<PayloadType> {
    let number: u8 = text.parse().ok()?;
    matches!(number, 0..=63 | 96..=127).then_some(PayloadType(number))
}

fn read_extensions(media: &MediaDescription) -> Vec<OfferedExtension> {
    let mut extensions: Vec<OfferedExtension> = Vec::new();
    for value in values(&media.attributes, "extmap") {
        let Some(extension) = OfferedExtension::parse(value) else {
            continue;
        };
        let known = |kind: KnownExtension| extensions.iter().any(|other| other.kind == kind);
        if !known(extension.kind) {
            extensions.push(extension);
        }
    }
    extensions
}

fn read_rids(media: &MediaDescription) -> Result<Vec<OfferedRid>, NegotiateError> {
    let mut declared: Vec<OfferedRid> = Vec::new();
    for value in values(&media.attributes, "rid") {
        let mut words = value.split_whitespace();
        let (Some(name), Some("send")) = (words.next(), words.next()) else {
            continue;
        };
        let rid = read_rid(name)?;
        if declared.iter().all(|other| other.rid != rid) {
            declared.push(with_restrictions(rid, words.next().unwrap_or_default()));
        }
    }
    let Some(simulcast) = value(&media.attributes, "simulcast") else {
        declared.truncate(1);
        return Ok(declared);
    };
    let mut words = simulcast.split_whitespace();
    let mut rids: Vec<OfferedRid> = Vec::new();
    while let (Some(direction), Some(list)) = (words.next(), words.next()) {
        if direction != "send" {
            continue;
        }
        for alternatives in list.split(';') {
            // `a,b`: either will do, we take the first.
            let marked = alternatives.split(',').next().unwrap_or_default();
            let name = marked.trim_start_matches('~');
            let rid = read_rid(name)?;
            if let Some(offered) = declared.iter().find(|offered| offered.rid == rid)
                && rids.iter().all(|other| other.rid != rid)
            {
                rids.push(OfferedRid {
                    paused: name != marked,
                    ..*offered
                });
            }
        }
    }
    Ok(rids)
}

fn read_rid(name: &str) -> Result<Rid, NegotiateError> {
    let well_formed = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    Rid::new(name)
        .filter(|_| well_formed)
        .ok_or_else(|| malformed("a rid is not 1 to 16 letters, digits, dashes or underscores"))
}

fn with_restrictions(rid: Rid, restrictions: &str) -> OfferedRid {
    let number = |name: &str| {
        restrictions.split(';').find_map(|restriction| {
            let (key, value) = restriction.split_once('=')?;
            (key == name)
                .then(|| value.parse::<u32>().ok().map(u64::from))
                .flatten()
        })
    };
    OfferedRid {
        rid,
        paused: false,
        pixels: number("max-width")
            .zip(number("max-height"))
            .map(|(width, height)| width * height),
        frame_size: number("max-fs"),
        bitrate: number("max-br"),
    }
}

fn read_ssrcs(media: &MediaDescription) -> Vec<DeclaredSsrc> {
    // Second and later members of a pairing are repair streams, not media.
    let mut pairs: Vec<(Ssrc, Ssrc)> = Vec::new();
    let mut repairs: Vec<Ssrc> = Vec::new();
    for value in values(&media.attributes, "ssrc-group") {
        let mut words = value.split_whitespace();
        let semantics = words.next().unwrap_or_default();
        let ssrcs: Vec<Ssrc> = words.filter_map(|word| word.parse().ok().map(Ssrc)).take(2).collect();
        let [first, second] = ssrcs[..] else { continue };
        if !matches!(semantics, "FID" | "FEC" | "FEC-FR") || repairs.len() >= 2 * limits::MAX_DECLARED_SSRCS {
            continue;
        }
        repairs.push(second);
        if semantics == "FID" {
            pairs.push((first, second));
        }
    }
    let mut declared: Vec<DeclaredSsrc> = Vec::new();
    for value in values(&media.attributes, "ssrc") {
        let number = value.split_whitespace().next().unwrap_or_default();
        let Some(ssrc) = number.parse().ok().map(Ssrc) else {
            continue;
        };
        let known = repairs.contains(&ssrc) || declared.iter().any(|other| other.media == ssrc);
        if known || declared.len() == limits::MAX_DECLARED_SSRCS {
            continue;
        }
        let rtx = pairs.iter().find(|(media, _)| *media == ssrc).map(|(_, rtx)| *rtx);
        declared.push(DeclaredSsrc { media: ssrc, rtx });
    }
    declared
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| Direction::parse(&attribute.key))
}

fn has(attributes: &[Attribute], key: &str) -> bool {
    attributes.iter().any(|attribute| attribute.key == key)
}

fn value<'a>(attributes: &'a [Attribute], key: &'a str) -> Option<&'a str> {
    values(attributes, key).next()
}

fn values<'a>(attributes: &'a [Attribute], key: &'a str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |attribute| attribute.key == key)
        .filter_map(|attribute| attribute.value.as_deref())
        .map(str::trim)
}

fn malformed(what: impl Into<String>) -> NegotiateError {
    NegotiateError::Malformed(what.into())
}

pub(super) fn unsupported(what: impl Into<String>) -> NegotiateError {
    NegotiateError::Unsupported(what.into())
}
