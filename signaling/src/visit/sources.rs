//! Who is sent what. The one place that points slots at tracks.

use std::collections::HashMap;
use std::time::Instant;

use housecall_sfu::{Kind, ParticipantId, PublishedTrack, Target, TrackId};

use super::stay::{HttpVia, Link, SocketId, Stay};
use super::{MediaCommand, Output, Visit, view};
use crate::ids::StayId;
use crate::message::ErrorCode;

impl Visit {
    pub(super) fn handle_subscribe(&mut self, id: StayId, socket: SocketId, mid: &str, track: Option<&str>) {
        let Some(stay) = self.stays.get(&id) else { return };
        if !stay.is_admitted() {
            return self.refuse(socket, ErrorCode::NotAllowed, "You are not in the visit yet.");
        }
        let wish = match track {
            None => None,
            Some(name) => match view::track_id(name).and_then(|track| self.published(track)) {
                Some((publisher, _)) if publisher == id => {
                    return self.refuse(socket, ErrorCode::NotAllowed, "This is your own track.");
                }
                Some((_, track)) => Some(track),
                None => return self.refuse(socket, ErrorCode::NotFound, "There is no such track."),
            },
        };
        let Some(slot) = self.slot_mut(id, mid) else {
            return self.refuse(socket, ErrorCode::NotFound, "There is no such receiving line.");
        };
        match wish {
            Some((_, kind)) if kind != slot.kind => {
                self.refuse(
                    socket,
                    ErrorCode::NotAllowed,
                    "The line and the track are not of one kind.",
                );
            }
            _ => {
                slot.wish = wish.map(|(track, _)| track);
                self.sources_stale = true;
            }
        }
    }

    pub(super) fn handle_target(&mut self, id: StayId, socket: SocketId, mid: &str, target: Target) {
        let line = self
            .stays
            .get(&id)
            .and_then(|stay| stay.connection.as_ref())
            .and_then(|c| {
                c.slots
                    .iter()
                    .find(|(m, slot)| m.as_str() == mid && slot.kind == Kind::Video)
                    .map(|(m, _)| (c.id, *m))
            });
        match line {
            Some((participant, mid)) => self.media(MediaCommand::SetTarget {
                participant,
                mid,
                target,
            }),
            None => self.refuse(socket, ErrorCode::NotFound, "There is no such receiving video line."),
        }
    }

    /// A track that people in the visit may see: its publisher is admitted.
    fn published(&self, track: TrackId) -> Option<(StayId, (TrackId, Kind))> {
        self.stays.values().filter(|stay| stay.is_admitted()).find_map(|stay| {
            let found = stay.tracks().iter().find(|published| published.track == track)?;
            Some((stay.id, (found.track, found.kind)))
        })
    }

    fn slot_mut(&mut self, id: StayId, mid: &str) -> Option<&mut super::stay::Slot> {
        let slots = &mut self.stays.get_mut(&id)?.connection.as_mut()?.slots;
        slots.iter_mut().find(|(m, _)| m.as_str() == mid).map(|(_, slot)| slot)
    }

    /// Points every slot at what it may and should show, and at nothing otherwise. **A slot shows a track only while both its
    /// viewer and the track's publisher are admitted.** Commands go out only for what changes.
    pub(super) fn sync_sources(&mut self, now: Instant) {
        let allowed: HashMap<TrackId, (StayId, Kind)> = self
            .stays
            .values()
            .filter(|stay| stay.is_admitted())
            .flat_map(|stay| stay.tracks().iter().map(|track| (track.track, (stay.id, track.kind))))
            .collect();
        self.audiences_stale = true;
        self.follow();
        let mut changed = Vec::new();
        for stay in self.stays.values_mut() {
            let admitted = stay.is_admitted();
            let Some(connection) = &mut stay.connection else {
                continue;
            };
            for (&mid, slot) in &mut connection.slots {
                let may_show = |track: &TrackId| {
                    admitted
                        && allowed
                            .get(track)
                            .is_some_and(|&(publisher, kind)| publisher != stay.id && kind == slot.kind)
                };
                // A wish for what is gone is forgotten: the client sees it gone and asks anew.
                slot.wish = slot.wish.filter(|track| allowed.contains_key(track));
                let source = slot.wish.filter(may_show);
                if source == slot.source {
                    continue;
                }
                slot.source = source;
                slot.sending = None;
                slot.limit = None;
                changed.push(stay.id);
                let participant: ParticipantId = connection.id;
                self.outputs.push_back(Output::Media(MediaCommand::SetSource {
                    participant,
                    mid,
                    source,
                }));
            }
        }
        for stay in changed {
            self.watch_lines(stay, now);
        }
    }

    /// Makes the wishes of WHEP viewers: the n-th line of a kind shows the n-th such track of the publisher they follow.
    fn follow(&mut self) {
        let mut publishers: Vec<Publisher> = self.stays.values().filter_map(Publisher::of).collect();
        publishers.sort_unstable_by_key(|publisher| publisher.since);

        for stay in self.stays.values_mut() {
            let Link::Http {
                via: HttpVia::Whep { from, following },
                ..
            } = &mut stay.link
            else {
                continue;
            };
            let publishes = |id: StayId| publishers.iter().find(|publisher| publisher.id == id);
            let chosen = match (*from, *following) {
                (Some(from), _) => publishes(from),
                (None, Some(current)) => publishes(current).or(publishers.first()),
                (None, None) => publishers.first(),
            };
            *following = chosen.map(|publisher| publisher.id);
            let Some(connection) = &mut stay.connection else {
                continue;
            };
            for kind in [Kind::Audio, Kind::Video] {
                let tracks = chosen.iter().flat_map(|publisher| &publisher.tracks);
                let mut tracks = tracks.filter(|track| track.kind == kind);
                for slot in connection.slots.values_mut().filter(|slot| slot.kind == kind) {
                    slot.wish = tracks.next().map(|track| track.track);
                }
            }
        }
    }
}

/// Somebody whom WHEP viewers can follow.
struct Publisher {
    since: u64,
    id: StayId,
    tracks: Vec<PublishedTrack>,
}

impl Publisher {
    fn of(stay: &Stay) -> Option<Self> {
        let since = stay.connection.as_ref()?.publishing_since?;
        let publishes = stay.is_admitted() && !stay.tracks().is_empty();
        publishes.then(|| Self {
            since,
            id: stay.id,
            tracks: stay.tracks().to_vec(),
        })
    }
}
