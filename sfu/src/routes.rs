//! Which track and layer a received SSRC belongs to.
//!
//! Browsers name their streams by MID and RID only until the first receiver report for the SSRC, so the mapping is learned from
//! the first packets and kept; encoders without header extensions are known by the SSRCs of their offer, or by a payload type
//! that only one line has (RFC 8843 §9.2).

use std::time::Instant;

use crate::ext::{ExtensionIds, Extensions};
use crate::ids::{Mid, Ssrc};
use crate::limits;
use crate::published::{LayerIndex, TrackKey};
use crate::rtp::RtpHeader;
use crate::sdp::{Format, MediaLine, Session};

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) track: TrackKey,
    pub(crate) layer: LayerIndex,
    /// The SSRC carries retransmissions.
    pub(crate) is_rtx: bool,
}

/// A line the peer sends on, as far as routing goes.
struct Line {
    mid: Mid,
    track: TrackKey,
    line: MediaLine,
}

/// An SSRC and where it leads.
struct Learned {
    ssrc: Ssrc,
    route: Route,
    since: Instant,
}

/// See the module.
pub(crate) struct Routes {
    /// At most [`limits::MAX_ROUTES`].
    learned: Vec<Learned>,
    lines: Vec<Line>,
    ids: ExtensionIds,
}

impl Routes {
    pub(crate) fn new(session: &Session) -> Self {
        Self {
            learned: Vec::new(),
            lines: Vec::new(),
            ids: session.extensions,
        }
    }

    pub(crate) fn extension_ids(&self) -> &ExtensionIds {
        &self.ids
    }

    /// Takes over the lines of a new session; `tracks` are those of its publishing lines.
    pub(crate) fn adopt(&mut self, session: &Session, tracks: impl Iterator<Item = (Mid, TrackKey)>) {
        self.ids = session.extensions;
        self.lines = tracks
            .filter_map(|(mid, track)| {
                session.line(mid).map(|line| Line {
                    mid,
                    track,
                    line: line.clone(),
                })
            })
            .collect();
    }

    pub(crate) fn forget(&mut self, track: TrackKey) {
        self.learned.retain(|learned| learned.route.track != track);
        self.lines.retain(|line| line.track != track);
    }

    /// All SSRCs learned.
    pub(crate) fn ssrcs(&self) -> impl Iterator<Item = Ssrc> {
        self.learned.iter().map(|learned| learned.ssrc)
    }

    /// An SSRC of media that the peer really sends: what transport-wide feedback must name.
    pub(crate) fn first_media(&self) -> Option<Ssrc> {
        self.learned
            .iter()
            .find(|learned| !learned.route.is_rtx)
            .map(|learned| learned.ssrc)
    }

    /// The route of an SSRC seen before.
    pub(crate) fn known(&self, ssrc: Ssrc) -> Option<Route> {
        self.learned
            .iter()
            .find(|learned| learned.ssrc == ssrc)
            .map(|learned| learned.route)
    }

    /// The layers of a track have other places, or are gone.
    pub(crate) fn handle_moved_layers(&mut self, track: TrackKey, moved: &[Option<LayerIndex>]) {
        self.learned.retain_mut(|learned| {
            if learned.route.track != track {
                return true;
            }
            let place = moved.get(learned.route.layer).copied().flatten();
            learned.route.layer = place.unwrap_or(learned.route.layer);
            place.is_some()
        });
    }

    /// The route of an authenticated packet; learned from it if it is the first of its SSRC.
    pub(crate) fn find(&mut self, header: &RtpHeader, extensions: &Extensions<'_>, now: Instant) -> Option<Route> {
        if let Some(route) = self.known(header.ssrc) {
            return Some(route);
        }
        let ssrc = header.ssrc;
        let route = self.learn(header, extensions)?;
        let since = now;
        let is_full = self.learned.len() == limits::MAX_ROUTES;
        match self.learned.iter_mut().find(|learned| learned.route == route) {
            // An encoder that starts anew with another SSRC takes the place of the old one, which does not get it back at once: a
            // straggler must not, and each change costs a new ring.
            Some(old) if now < old.since + limits::STREAM_LIFE => return None,
            Some(old) => *old = Learned { ssrc, route, since },
            None if is_full => return None,
            None => self.learned.push(Learned { ssrc, route, since }),
        }
        Some(route)
    }

    fn learn(&self, header: &RtpHeader, extensions: &Extensions<'_>) -> Option<Route> {
        let format_of = |line: &Line| line.line.formats.get(header.payload_type);
        let by_ssrc = || {
            self.lines.iter().find_map(|line| {
                let declared = &line.line.publishes.as_ref()?.declared;
                declared
                    .iter()
                    .any(|d| d.media == header.ssrc || d.rtx == Some(header.ssrc))
                    .then_some(line)
            })
        };
        let line = match extensions.mid() {
            Some(mid) => self.lines.iter().find(|line| line.mid == mid)?,
            None => match by_ssrc() {
                Some(line) => line,
                None => only(self.lines.iter().filter(|line| format_of(line).is_some()))?,
            },
        };
        let is_rtx = matches!(format_of(line)?, Format::Rtx { .. });
        let encodings = &line.line.publishes.as_ref()?.encodings;
        let rid = if is_rtx {
            extensions.repaired_rid().or_else(|| extensions.rid())
        } else {
            extensions.rid()
        };
        let layer = match rid {
            Some(rid) => encodings.iter().position(|encoding| encoding.rid == Some(rid))?,
            None if encodings.len() == 1 => 0,
            // A retransmission whose media stream is known by the offer's pairing.
            None => {
                let declared = &line.line.publishes.as_ref()?.declared;
                let media = declared.iter().find(|d| d.rtx == Some(header.ssrc))?.media;
                self.known(media)?.layer
            }
        };
        Some(Route {
            track: line.track,
            layer,
            is_rtx,
        })
    }
}

/// The only item, if there is exactly one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}
