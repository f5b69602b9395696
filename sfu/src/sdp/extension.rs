//! RTP header extensions in SDP (`a=extmap`, RFC 8285).

use super::offer::Direction;
use super::session::Formats;
use crate::ext::ExtensionIds;

/// A header extension this server makes use of. All others are refused, by not being repeated in the answer: above all the
/// dependency descriptor, with which browsers strip VP8 of its picture ids, and video orientation, without which a phone
/// turns the picture itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownExtension {
    Mid,
    Rid,
    RepairedRid,
    TransportCc,
    AbsSendTime,
    AudioLevel,
}

impl KnownExtension {
    const ALL: [Self; 6] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::TransportCc,
        Self::AbsSendTime,
        Self::AudioLevel,
    ];

    pub(super) const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        }
    }

    /// True if we put it on packets we send; rids only name what publishers send.
    const fn is_sent_by_us(self) -> bool {
        !matches!(self, Self::Rid | Self::RepairedRid)
    }
}

/// One `a=extmap` line of a known extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfferedExtension {
    pub(super) kind: KnownExtension,
    /// 1..=14: what fits the one-byte form, which is all we write.
    pub(super) id: u8,
    /// As the client wrote it; most write none, which means both ways.
    pub(super) direction: Option<Direction>,
}

impl OfferedExtension {
    /// Reads the value of `a=extmap`. `None` for an unknown extension or an id that does not fit the one-byte form.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_whitespace();
        let (number, uri) = (words.next()?, words.next()?);
        let (id, direction) = match number.split_once('/') {
            Some((id, direction)) => (id, Some(Direction::parse(direction)?)),
            None => (number, None),
        };
        Some(Self {
            kind: KnownExtension::ALL.into_iter().find(|kind| kind.uri() == uri)?,
            id: id.parse().ok().filter(|id| (1..=14).contains(id))?,
            direction,
        })
    }

    pub(super) fn client_may_send(self) -> bool {
        self.direction.is_none_or(Direction::sends)
    }

    /// True if the client is to put it on what it publishes in these formats. Audio without redundancy of its own (Firefox) goes without what is
    /// another value each time a packet leaves: it has to be asked for when it is lost, browsers resend it under its own sequence number, and what
    /// is sealed twice under one number must be the same to the bit (RFC 7714 §14.2, see [`crate::srtp::Profile::may_repeat`]). Chromium's
    /// redundant audio keeps it: without, a picture asked for again after a time of sound alone began at 30 kbit/s (docs/adaptation.md).
    pub(super) fn is_wanted_of(self, formats: &Formats) -> bool {
        let differs_when_resent = matches!(self.kind, KnownExtension::TransportCc | KnownExtension::AbsSendTime);
        self.client_may_send() && !(differs_when_resent && formats.is_asked_for_by_its_own_number())
    }

    pub(super) fn server_may_send(self) -> bool {
        self.kind.is_sent_by_us() && self.direction.is_none_or(Direction::receives)
    }
}

/// Where the id of a known extension is kept.
pub(super) fn slot(ids: &mut ExtensionIds, kind: KnownExtension) -> &mut Option<u8> {
    match kind {
        KnownExtension::Mid => &mut ids.mid,
        KnownExtension::Rid => &mut ids.rid,
        KnownExtension::RepairedRid => &mut ids.repaired_rid,
        KnownExtension::TransportCc => &mut ids.twcc,
        KnownExtension::AbsSendTime => &mut ids.abs_send_time,
        KnownExtension::AudioLevel => &mut ids.audio_level,
    }
}

/// The known extension with this id, if there is one.
pub(super) fn by_id(mut ids: ExtensionIds, id: u8) -> Option<KnownExtension> {
    KnownExtension::ALL
        .into_iter()
        .find(|kind| *slot(&mut ids, *kind) == Some(id))
}

/// Those extensions of a line that `wanted` picks.
pub(super) fn collect(offered: &[OfferedExtension], wanted: impl Fn(OfferedExtension) -> bool) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    for extension in offered.iter().filter(|extension| wanted(**extension)) {
        *slot(&mut ids, extension.kind) = Some(extension.id);
    }
    ids
}
