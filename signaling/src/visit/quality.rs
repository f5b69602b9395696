//! What the quality record is told, and what it is asked.

use std::time::Instant;

use housecall_sfu::{Event, Kind, Layer, ParticipantId, Snapshot, Target, TrackChange, UplinkChange};

use super::stay::{Slot, SocketId};
use super::{Output, Visit};
use crate::ids::StayId;
use crate::limits;
use crate::message::{ClientReport, ErrorCode};
use crate::quality::{Direction, Line, Refused, Rung, Sight};

impl Visit {
    /// Whose figures the media core is to be asked for.
    pub(crate) fn measured(&self) -> Vec<ParticipantId> {
        let connections = self.stays.values().filter_map(|stay| stay.connection.as_ref());
        let answered = connections.filter(|connection| connection.answered);
        answered
            .map(|connection| connection.id)
            .take(limits::QUALITY_PARTICIPANTS)
            .collect()
    }

    /// The figures asked for.
    pub(crate) fn handle_snapshot(&mut self, snapshot: &Snapshot, now: Instant) {
        let sights: Vec<Sight<'_>> = self
            .stays
            .values()
            .filter_map(|stay| {
                Some(Sight {
                    stay: stay.id,
                    media: stay.connection.as_ref()?.id,
                    tracks: stay.tracks(),
                })
            })
            .collect();
        self.quality.look(snapshot, &sights, now);
    }

    /// Has the records stored as they are now.
    pub(crate) fn keep_quality(&mut self, now: Instant) {
        let records = self.quality.keep(now);
        if !records.is_empty() {
            self.outputs.push_back(Output::Quality(records));
        }
    }

    /// Has the records of those who are gone stored.
    pub(super) fn end_quality(&mut self, now: Instant) {
        let stays = &self.stays;
        let records = self.quality.end(|stay| stays.contains_key(&stay), now);
        if !records.is_empty() {
            self.outputs.push_back(Output::Quality(records));
        }
    }

    pub(super) fn handle_report(&mut self, id: StayId, socket: SocketId, report: &ClientReport, now: Instant) {
        match self.quality.report(id, report, now) {
            Ok(()) => {}
            Err(Refused::TooOften) => self.refuse(socket, ErrorCode::Limit, "Reports come too often."),
            Err(Refused::OutOfRange) => self.refuse(socket, ErrorCode::BadMessage, "The report says what cannot be."),
        }
    }

    /// Lets the record know of something the media core told, after the visit has acted on it.
    pub(super) fn watch_event(&mut self, event: &Event, now: Instant) {
        let stay_of = |participant: &ParticipantId| self.by_media.get(participant).copied();
        match event {
            Event::Connected {
                participant, handshake, ..
            } => {
                if let Some(stay) = stay_of(participant) {
                    self.quality.connected(stay, *handshake, now);
                }
            }
            Event::Track {
                participant,
                change: TrackChange::Started,
                ..
            } => {
                if let Some(stay) = stay_of(participant) {
                    self.quality.media_came(stay, now);
                }
            }
            Event::Quality {
                participant,
                from,
                to,
                change,
                evidence,
                ..
            } => {
                if let Some(stay) = stay_of(participant) {
                    self.quality
                        .moved(stay, Direction::Down, (*from, *to), *change, evidence, now);
                    self.watch_lines(stay, now);
                }
            }
            Event::Uplink {
                participant,
                from,
                to,
                change: UplinkChange::Path(change),
                evidence,
                ..
            } => {
                if let Some(stay) = stay_of(participant) {
                    self.quality
                        .moved(stay, Direction::Up, (*from, *to), *change, evidence, now);
                    self.quality.uplink_limited(stay, *to < Target::Video(Layer::P720));
                }
            }
            Event::Sending { participant, .. } => {
                if let Some(stay) = stay_of(participant) {
                    self.watch_lines(stay, now);
                }
            }
            _ => {}
        }
    }

    /// Lets the record know what somebody's lines show.
    pub(super) fn watch_lines(&mut self, id: StayId, now: Instant) {
        let Some(connection) = self.stays.get(&id).and_then(|stay| stay.connection.as_ref()) else {
            return;
        };
        let video = connection.slots.iter().filter(|(_, slot)| slot.kind == Kind::Video);
        let lines: Vec<Line> = video
            .map(|(mid, slot)| Line {
                mid: *mid,
                rung: rung(slot),
                is_limited: slot.limit.is_some(),
            })
            .collect();
        self.quality.lines(id, &lines, now);
    }
}

/// What a line shows; `None` if it is without a picture for another reason than its path.
fn rung(slot: &Slot) -> Option<Rung> {
    slot.source?;
    match slot.sending?.1 {
        Some(Layer::P720) => Some(Rung::P720),
        Some(Layer::P480) => Some(Rung::P480),
        None => (slot.limit == Some(Target::AudioOnly)).then_some(Rung::AudioOnly),
    }
}
