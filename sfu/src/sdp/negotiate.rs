//! Decides what of an offer is accepted, and what contradicts the session before it.

use std::net::SocketAddr;

use arrayvec::ArrayVec;

use super::extension::{self, OfferedExtension};
use super::offer::{Offer, OfferedFormat, OfferedLine, OfferedMedia, OfferedRid, unsupported};
use super::session::{
    Codec, Encoding, Feedback, Format, Formats, LayerOrder, Line, MediaLine, Publishing, Receiving, Refusal, Session,
};
use super::write;
use crate::api::{IceCredentials, NegotiateError};
use crate::dtls::Fingerprint;
use crate::ext::ExtensionIds;
use crate::ids::{PayloadType, Ssrc};
use crate::limits;
use crate::media::{Kind, Layer, Source};

/// What the server puts into an answer.
pub(crate) struct AnswerParams<'a> {
    /// The server's ICE credentials. New ones belong to an ICE restart.
    pub(crate) local_ice: &'a IceCredentials,
    /// Of the server's DTLS certificate.
    pub(crate) fingerprint: &'a Fingerprint,
    /// Host candidates (UDP), best first.
    pub(crate) candidates: &'a [SocketAddr],
    /// Those of them that take connections as well (RFC 6544, passive).
    pub(crate) tcp_candidates: &'a [SocketAddr],
    /// The bit rate video publishers are told to start with, kbit/s.
    pub(crate) start_kbps: u32,
    /// The session id in the `o=` line: the same for all answers of a session, below 2^63.
    pub(crate) session_id: u64,
    /// Chooses SSRCs: random, and never one already used on this transport.
    pub(crate) next_ssrc: &'a mut dyn FnMut() -> Ssrc,
}

/// Answers an offer. With a `previous` session it is a re-offer: what was agreed stays, new lines are added.
///
/// # Errors
/// [`NegotiateError::Malformed`], [`NegotiateError::Unsupported`] and [`NegotiateError::Conflict`]; the previous session is
/// then still in force.
#[expect(
    clippy::needless_pass_by_value,
    reason = "made for one call; `next_ssrc` is borrowed from the caller for it"
)]
pub(crate) fn answer(
    offer: &str,
    previous: Option<&Session>,
    params: AnswerParams<'_>,
) -> Result<(Session, String), NegotiateError> {
    let offer = Offer::read(offer)?;
    if let Some(previous) = previous {
        check_continuity(&offer, previous)?;
    }
    let session = decide(&offer, previous, &mut *params.next_ssrc)?;
    check_screens(&session, previous)?;
    if session.media().next().is_none() {
        return Err(unsupported(
            "no line has a codec this server forwards: Opus, VP8, or H.264 constrained baseline in packetization mode 1",
        ));
    }
    let text = write::answer(&offer, &session, &params);
    Ok((session, text))
}

/// What a re-offer must not change (RFC 8829 §5.2.2, RFC 8842 §4): lines keep their place, tag and kind, and the DTLS
/// connection goes on, so the certificate is the same.
fn check_continuity(offer: &Offer, previous: &Session) -> Result<(), NegotiateError> {
    if offer.fingerprint != previous.remote_fingerprint {
        return Err(conflict("another certificate needs a new peer connection"));
    }
    if offer.lines.len() < previous.lines.len() {
        return Err(conflict("it has fewer media lines than the one before"));
    }
    for (offered, agreed) in offer.lines.iter().zip(&previous.lines) {
        let (Line::Media(agreed), Ok(offered)) = (agreed, &offered.content) else {
            continue;
        };
        if offered.mid != agreed.mid {
            return Err(conflict(format!("the line with mid {} has another mid", agreed.mid)));
        }
        if offered.kind != agreed.kind {
            return Err(conflict(format!("the line with mid {} has another kind", agreed.mid)));
        }
    }
    Ok(())
}

/// At most [`limits::MAX_SCREENS`] screens, and no camera becomes one behind the back of whoever was told that it is a camera.
fn check_screens(session: &Session, previous: Option<&Session>) -> Result<(), NegotiateError> {
    let source = |line: &MediaLine| line.publishes.as_ref().map(|publishing| publishing.source);
    let screens = session.media().filter(|line| source(line) == Some(Source::Screen));
    if screens.count() > limits::MAX_SCREENS {
        return Err(unsupported("one screen can be shared at a time"));
    }
    for line in session.media() {
        let before = previous.and_then(|previous| previous.line(line.mid)).and_then(source);
        if source(line).zip(before).is_some_and(|(now, before)| now != before) {
            return Err(conflict(format!(
                "the line with mid {} cannot change between camera and screen while it sends",
                line.mid
            )));
        }
    }
    Ok(())
}

fn decide(
    offer: &Offer,
    previous: Option<&Session>,
    next_ssrc: &mut dyn FnMut() -> Ssrc,
) -> Result<Session, NegotiateError> {
    let mut session = Session {
        remote_ice: offer.ice.clone(),
        remote_fingerprint: offer.fingerprint.clone(),
        extensions: ExtensionIds::default(),
        lines: Vec::with_capacity(offer.lines.len()),
        version: previous.map_or(1, |previous| previous.version + 1),
    };
    for (index, offered) in offer.lines.iter().enumerate() {
        let before = previous.and_then(|previous| match previous.lines.get(index) {
            Some(Line::Media(line)) => Some(line),
            _ => None,
        });
        let line = decide_line(offered, before)?;
        session.lines.push(line);
        if let (Some(Line::Media(line)), Ok(media)) = (session.lines.last(), &offered.content) {
            merge_extensions(&mut session.extensions, media, line)?;
        }
    }
    if let Some(previous) = previous {
        check_extensions(session.extensions, previous.extensions)?;
    }
    for (index, offered) in offer.lines.iter().enumerate() {
        if let Ok(media) = &offered.content {
            give_sending_side(&mut session.lines, index, media, next_ssrc);
        }
    }
    Ok(session)
}

fn decide_line(offered: &OfferedLine, before: Option<&MediaLine>) -> Result<Line, NegotiateError> {
    let media = match &offered.content {
        Ok(media) => media,
        Err(refusal) => return Ok(Line::Refused(*refusal)),
    };
    let formats = choose_formats(media);
    if formats.iter().next().is_none() {
        return Ok(Line::Refused(Refusal::NoCodec));
    }
    if let Some(before) = before {
        let changed = |(pt, format)| formats.get(pt).is_some_and(|now| now != format);
        if before.formats.iter().any(changed) {
            let text = format!(
                "on the line with mid {} a payload type has changed its meaning",
                media.mid
            );
            return Err(conflict(text));
        }
    }
    Ok(Line::Media(MediaLine {
        mid: media.mid,
        kind: media.kind,
        publishes: media.direction.sends().then(|| publishing(media, &formats)),
        receives: None,
        resting: before
            .and_then(|before| before.receives.as_ref().or(before.resting.as_ref()))
            .cloned(),
        feedback: choose_feedback(media, &formats),
        formats,
    }))
}

/// The payload types we take, best first. One of each codec: the first that fits in the client's order.
fn choose_formats(media: &OfferedMedia) -> Formats {
    let mut chosen = Formats::default();
    let first = |fits: &dyn Fn(&OfferedFormat) -> bool| {
        media
            .formats
            .iter()
            .find(|format| fits(format))
            .map(|format| format.payload_type)
    };
    match media.kind {
        Kind::Audio => {
            let Some(opus) = first(&|format| format.encoding == "opus/48000/2") else {
                return chosen;
            };
            // A sender uses redundancy only if it comes first in the answer.
            if let Some(red) = first(&|format| format.encoding == "red/48000/2" && is_red_of(format, opus)) {
                chosen.0.push((red, Format::Red { opus }));
            }
            chosen.0.push((opus, Format::Media(Codec::Opus)));
        }
        Kind::Video => {
            let vp8 = first(&|format| format.encoding == "vp8/90000");
            let h264 = [Profile::ConstrainedBaseline, Profile::Baseline]
                .into_iter()
                .find_map(|profile| first(&|format| is_h264(format, profile)));
            for (payload_type, codec) in [(vp8, Codec::Vp8), (h264, Codec::H264)] {
                let Some(apt) = payload_type else { continue };
                chosen.0.push((apt, Format::Media(codec)));
                if let Some(rtx) = first(&|format| format.encoding == "rtx/90000" && is_rtx_of(format, apt)) {
                    chosen.0.push((rtx, Format::Rtx { apt }));
                }
            }
        }
    }
    chosen
}

/// `a=fmtp:63 111/111`: every block is this Opus.
fn is_red_of(format: &OfferedFormat, opus: PayloadType) -> bool {
    format.fmtp.split('/').all(|block| block.trim().parse() == Ok(opus.0))
}

fn is_rtx_of(format: &OfferedFormat, apt: PayloadType) -> bool {
    format.parameter("apt").and_then(|value| value.parse().ok()) == Some(apt.0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Profile {
    /// What every browser decodes.
    ConstrainedBaseline,
    /// May use tools that browsers lack; in practice no encoder does, and some clients name only this.
    Baseline,
}

/// H.264 in packetization mode 1 (RFC 6184 §8.1: absent means 0) of this profile.
fn is_h264(format: &OfferedFormat, wanted: Profile) -> bool {
    if format.encoding != "h264/90000" || format.parameter("packetization-mode") != Some("1") {
        return false;
    }
    let profile = match format.parameter("profile-level-id") {
        // RFC 6184 §8.1: absent means baseline, level 1.
        None => Some(Profile::Baseline),
        Some(id) => u32::from_str_radix(id, 16)
            .ok()
            .filter(|_| id.len() == 6)
            .and_then(|id| {
                let (profile, constraints) = (id >> 16, (id >> 8) & 0xff);
                // constraint_set1_flag says that the stream is decodable as main profile too, which is what "constrained" comes to.
                match (profile, constraints & 0x40 != 0) {
                    (0x42, true) => Some(Profile::ConstrainedBaseline),
                    (0x42, false) => Some(Profile::Baseline),
                    _ => None,
                }
            }),
    };
    profile == Some(wanted)
}

/// Feedback that every agreed codec of the line has.
fn choose_feedback(media: &OfferedMedia, formats: &Formats) -> Feedback {
    let all = |wanted: &str| {
        media
            .formats
            .iter()
            .filter(|format| matches!(formats.get(format.payload_type), Some(Format::Media(_))))
            .all(|format| format.feedback.iter().any(|value| value == wanted))
    };
    let video = media.kind == Kind::Video;
    Feedback {
        nack: video && all("nack"),
        pli: video && all("nack pli"),
        fir: video && all("ccm fir"),
        // See `OfferedExtension::is_wanted_of`.
        transport_cc: (media.direction.receives() || !formats.is_asked_for_by_its_own_number()) && all("transport-cc"),
    }
}

fn publishing(media: &OfferedMedia, formats: &Formats) -> Publishing {
    let extensions = extension::collect(&media.extensions, |extension| extension.is_wanted_of(formats));
    // Without the extension nothing would tell the encodings apart; not accepting them leaves the client one.
    let (mut rids, order) = if extensions.rid.is_some() {
        choose_rids(&media.rids)
    } else {
        (ArrayVec::new(), LayerOrder::Assumed)
    };
    if media.is_slides {
        // A screen is read: it has one size, the largest. The ladder counts on it.
        rids.drain(..rids.len().saturating_sub(1));
    }
    let layer = (media.kind == Kind::Video).then_some(Layer::P720);
    let encodings = match (media.kind, &rids[..]) {
        (Kind::Video, [low, high]) => [(low, Layer::P480), (high, Layer::P720)]
            .into_iter()
            .map(|(offered, layer)| Encoding {
                rid: Some(offered.rid),
                layer: Some(layer),
                paused: offered.paused,
            })
            .collect(),
        (_, offered) => ArrayVec::from_iter([Encoding {
            rid: offered.last().map(|offered| offered.rid),
            layer,
            paused: offered.last().is_some_and(|offered| offered.paused),
        }]),
    };
    let source = match (media.kind, media.is_slides) {
        (Kind::Audio, _) => Source::Microphone,
        (Kind::Video, true) => Source::Screen,
        (Kind::Video, false) => Source::Camera,
    };
    Publishing {
        source,
        encodings,
        order,
        declared: media.ssrcs.iter().copied().take(limits::MAX_DECLARED_SSRCS).collect(),
        extensions,
    }
}

/// The two largest encodings, low to high.
///
/// If all say how large they are, by the same measure and with a difference, that decides. Else the order of the offer does,
/// which browsers want low to high: Chromium treats the first encoding as the one to keep alive. (Of three or more the last two are
/// then taken for the largest; which of those two is the larger is seen in their pictures.)
fn choose_rids(offered: &[OfferedRid]) -> (ArrayVec<OfferedRid, { limits::MAX_ENCODINGS }>, LayerOrder) {
    let mut rids = offered.to_vec();
    let measures: [fn(&OfferedRid) -> Option<u64>; 3] = [|rid| rid.pixels, |rid| rid.frame_size, |rid| rid.bitrate];
    let telling = measures.into_iter().find(|measure| {
        let sizes: Option<Vec<u64>> = rids.iter().map(measure).collect();
        sizes.is_some_and(|sizes| sizes.iter().any(|size| *size != sizes[0]))
    });
    if let Some(measure) = telling {
        rids.sort_by_key(measure);
    }
    let largest = rids.len().saturating_sub(limits::MAX_ENCODINGS);
    rids.drain(..largest);
    let order = if telling.is_some() {
        LayerOrder::Stated
    } else {
        LayerOrder::Assumed
    };
    (rids.into_iter().collect(), order)
}

/// Adds the ids of an accepted line to those of the bundle, where an id has one meaning (RFC 8843 §9.2).
fn merge_extensions(bundle: &mut ExtensionIds, media: &OfferedMedia, line: &MediaLine) -> Result<(), NegotiateError> {
    for offered in &media.extensions {
        let other_meaning = extension::by_id(*bundle, offered.id).is_some_and(|kind| kind != offered.kind);
        let slot = extension::slot(bundle, offered.kind);
        if other_meaning || slot.is_some_and(|id| id != offered.id) {
            let text = format!(
                "the header extension ids of the line with mid {} differ from another line's",
                line.mid
            );
            return Err(unsupported(text));
        }
        *slot = Some(offered.id);
    }
    Ok(())
}

/// An id keeps its meaning: packets under the old one may still be on their way.
fn check_extensions(now: ExtensionIds, before: ExtensionIds) -> Result<(), NegotiateError> {
    let changed = (1..=14).any(|id| {
        let (now, before) = (extension::by_id(now, id), extension::by_id(before, id));
        now.is_some() && before.is_some() && now != before
    });
    if changed {
        return Err(conflict("a header extension id has changed its meaning"));
    }
    Ok(())
}

/// Completes the sending side of a line the client receives on. What the line had before stays.
fn give_sending_side(lines: &mut [Line], index: usize, media: &OfferedMedia, next_ssrc: &mut dyn FnMut() -> Ssrc) {
    let free = free_stream(lines, media.kind);
    let Some(Line::Media(line)) = lines.get_mut(index) else {
        return;
    };
    if !media.direction.receives() {
        return;
    }
    let resting = line.resting.take();
    let wants_rtx = line
        .formats
        .iter()
        .any(|(_, format)| matches!(format, Format::Rtx { .. }));
    let extensions = extension::collect(&media.extensions, OfferedExtension::server_may_send);
    let rtx = resting.as_ref().and_then(|resting| resting.rtx);
    line.receives = Some(Receiving {
        ssrc: resting.as_ref().map_or_else(&mut *next_ssrc, |resting| resting.ssrc),
        rtx: wants_rtx.then(|| rtx.unwrap_or_else(&mut *next_ssrc)),
        stream: resting.map_or(free, |resting| resting.stream),
        extensions,
    });
}

/// The lowest stream number that no line of this kind has, so that the n-th audio and the n-th video line share a stream.
fn free_stream(lines: &[Line], kind: Kind) -> u8 {
    let taken = |number: u8| {
        lines.iter().any(|line| match line {
            Line::Media(line) if line.kind == kind => line
                .receives
                .as_ref()
                .or(line.resting.as_ref())
                .is_some_and(|receiving| receiving.stream == number),
            _ => false,
        })
    };
    (0..limits::MAX_LINES as u8)
        .find(|number| !taken(*number))
        .unwrap_or(u8::MAX)
}

fn conflict(what: impl Into<String>) -> NegotiateError {
    NegotiateError::Conflict(what.into())
}
