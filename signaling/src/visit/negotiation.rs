//! Offers and answers, and what the media core tells of its own accord.

use housecall_sfu::{Answer, Event, Mid, NegotiateError, ParticipantId, PublishedTrack, Target, TrackChange};
use std::time::Instant;

use super::stay::{Connection, HttpState, Link, Negotiation, SocketId, Stay};
use super::{MediaCommand, Visit, view};
use crate::ids::StayId;
use crate::limits;
use crate::message::{EndReason, ServerMessage, SlotInfo};
use crate::portal::{Change, Interruption, Leaving, Via};

impl Visit {
    pub(super) fn handle_offer(
        &mut self,
        stay: StayId,
        socket: SocketId,
        id: u32,
        sdp: String,
        fresh: bool,
        now: Instant,
    ) {
        self.quality.offered(stay, now);
        if fresh {
            self.drop_connection(stay);
        }
        match self.negotiation_mut(stay) {
            None => {
                self.start_connection(stay, id, sdp);
            }
            Some((participant, negotiation)) => match negotiation {
                Negotiation::Idle => {
                    *negotiation = Negotiation::Answering { id, next: None };
                    self.media(MediaCommand::Negotiate {
                        participant,
                        offer: sdp,
                    });
                }
                Negotiation::Answering { next: next @ None, .. } => *next = Some((id, sdp)),
                Negotiation::Answering { next: Some(_), .. } => {
                    let message = "Wait for the answers to the offers before this one.".to_owned();
                    self.send(socket, ServerMessage::OfferRefused { id, message });
                }
            },
        }
    }

    pub(super) fn start_connection(&mut self, stay: StayId, offer: u32, sdp: String) {
        self.next_media += 1;
        let participant = ParticipantId((self.room.0 << 32) | u64::from(self.next_media));
        let Some(holder) = self.stays.get_mut(&stay) else {
            return;
        };
        let mut connection = Connection::new(participant);
        connection.negotiation = Negotiation::Answering { id: offer, next: None };
        holder.connection = Some(connection);
        self.by_media.insert(participant, stay);
        self.media(MediaCommand::Negotiate {
            participant,
            offer: sdp,
        });
    }

    /// Ends a stay's transport, if it has one; whoever was shown its tracks is shown nothing instead.
    pub(super) fn drop_connection(&mut self, stay: StayId) {
        let Some(connection) = self.stays.get_mut(&stay).and_then(|stay| stay.connection.take()) else {
            return;
        };
        self.by_media.remove(&connection.id);
        self.media(MediaCommand::Remove {
            participant: connection.id,
        });
        self.views_stale = true;
        self.sources_stale = true;
    }

    fn negotiation_mut(&mut self, stay: StayId) -> Option<(ParticipantId, &mut Negotiation)> {
        let connection = self.stays.get_mut(&stay)?.connection.as_mut()?;
        Some((connection.id, &mut connection.negotiation))
    }

    fn connection_mut(&mut self, participant: ParticipantId) -> Option<(StayId, &mut Connection)> {
        let &id = self.by_media.get(&participant)?;
        Some((id, self.stays.get_mut(&id)?.connection.as_mut()?))
    }

    /// The media core has answered or refused an offer.
    pub(crate) fn handle_negotiated(
        &mut self,
        participant: ParticipantId,
        result: Result<Answer, NegotiateError>,
        now: Instant,
    ) {
        let Some((stay, connection)) = self.connection_mut(participant) else {
            // Its person left meanwhile. The removal may have overtaken the offer.
            if result.is_ok() && !self.over {
                self.media(MediaCommand::Remove { participant });
            }
            return;
        };
        let Negotiation::Answering { id, next } = std::mem::replace(&mut connection.negotiation, Negotiation::Idle)
        else {
            return;
        };
        if let Ok(answer) = &result {
            connection.take_answer(answer);
        }
        let next = next.map(|(next_id, offer)| {
            connection.negotiation = Negotiation::Answering {
                id: next_id,
                next: None,
            };
            offer
        });
        self.sources_stale = true;

        let Some(holder) = self.stays.get(&stay) else { return };
        if holder.via() != Via::Socket {
            return self.http_negotiated(stay, result, now);
        }
        if let Some(socket) = holder.socket() {
            self.send(
                socket,
                match result {
                    Ok(answer) => ServerMessage::Answer {
                        id,
                        slots: slot_infos(&answer),
                        sdp: answer.sdp,
                    },
                    Err(error) => ServerMessage::OfferRefused {
                        id,
                        message: error.to_string(),
                    },
                },
            );
        }
        if let Some(offer) = next {
            self.media(MediaCommand::Negotiate { participant, offer });
        }
    }

    /// Something the media core tells of its own accord.
    pub(crate) fn handle_media_event(&mut self, event: &Event, now: Instant) {
        self.act_on(event, now);
        self.watch_event(event, now);
    }

    fn act_on(&mut self, event: &Event, now: Instant) {
        match *event {
            Event::Connected { .. } => {}
            Event::PictureAtRisk {
                participant,
                mid,
                is_over,
                ..
            } => self.tell(
                participant,
                ServerMessage::PictureAtRisk {
                    mid: mid.to_string(),
                    over: is_over,
                },
            ),
            Event::Uplink {
                participant,
                mid,
                layers,
                to,
                change,
                ..
            } => {
                let message = view::uplink(mid, layers, to, change);
                if let Some((_, connection)) = self.connection_mut(participant) {
                    connection.uplinks.insert(mid, message.clone());
                }
                self.tell(participant, message);
            }
            Event::Quality {
                participant, mid, to, ..
            } => self.line_moved(participant, mid, to),
            Event::Disconnected { participant, .. } => self.http_consent_lost(participant, now),
            Event::Reconnected { participant, .. } => self.http_consent_back(participant),
            Event::Closed { participant, .. } => self.connection_closed(participant),
            Event::Track {
                participant,
                track,
                change,
                ..
            } => self.track_changed(participant, track, change),
            Event::Sending {
                participant,
                mid,
                target,
                layer,
                ..
            } => {
                self.audiences_stale = true;
                let Some((stay, connection)) = self.connection_mut(participant) else {
                    return;
                };
                let Some(slot) = connection.slots.get_mut(&mid) else {
                    return;
                };
                let before = slot.sending.replace((target, layer));
                let message = view::quality(mid.as_str(), before, (target, layer), slot.limit);
                // Back where it was asked to be: from here on changes have other causes.
                if slot.limit == Some(target) && layer.map(Target::Video) == Some(target) {
                    slot.limit = None;
                }
                let changed = before != Some((target, layer));
                if let Some(socket) = self.stays.get(&stay).and_then(|s| s.socket()).filter(|_| changed) {
                    self.send(socket, message);
                }
            }
            Event::RoomFailed { .. } => self.handle_interruption(Interruption::MediaFailed),
        }
    }

    /// A line's path has put it on another rung. That its picture stops is said now, while it still flows; everything else when it
    /// is seen.
    fn line_moved(&mut self, participant: ParticipantId, mid: Mid, to: Target) {
        self.audiences_stale = true;
        let Some((stay, connection)) = self.connection_mut(participant) else {
            return;
        };
        let Some(slot) = connection.slots.get_mut(&mid) else {
            return;
        };
        slot.limit = Some(to);
        let Some((target, _)) = slot.sending.filter(|_| to == Target::AudioOnly) else {
            return;
        };
        let before = slot.sending.replace((target, None));
        let message = view::quality(mid.as_str(), before, (target, None), slot.limit);
        let changed = before != Some((target, None));
        if let Some(socket) = self.stays.get(&stay).and_then(|s| s.socket()).filter(|_| changed) {
            self.send(socket, message);
        }
    }

    /// Sends something to the client of a media connection, if its socket is there.
    fn tell(&mut self, participant: ParticipantId, message: ServerMessage) {
        let stay = self.by_media.get(&participant).and_then(|id| self.stays.get(id));
        if let Some(socket) = stay.and_then(Stay::socket) {
            self.send(socket, message);
        }
    }

    fn track_changed(&mut self, participant: ParticipantId, track: PublishedTrack, change: TrackChange) {
        let order = self.next_publisher;
        let Some((_, connection)) = self.connection_mut(participant) else {
            return;
        };
        let known = connection.tracks.iter().position(|t| t.track == track.track);
        match (change, known) {
            (TrackChange::Started, None) if connection.tracks.len() < limits::MAX_TRACKS => {
                connection.tracks.push(track);
                connection.publishing_since.get_or_insert(order);
                self.next_publisher += 1;
            }
            (TrackChange::Ended, Some(index)) => {
                connection.uplinks.remove(&track.mid);
                connection.audiences.remove(&track.mid);
                connection.tracks.remove(index);
                if connection.tracks.is_empty() {
                    connection.publishing_since = None;
                }
            }
            (TrackChange::Started, _) | (TrackChange::Ended, None) => return,
        }
        self.views_stale = true;
        self.sources_stale = true;
    }

    fn connection_closed(&mut self, participant: ParticipantId) {
        let Some((id, connection)) = self.connection_mut(participant) else {
            return;
        };
        let unanswered = matches!(connection.negotiation, Negotiation::Answering { .. });
        self.drop_connection(id);
        let Some(stay) = self.stays.get(&id) else { return };
        match &stay.link {
            Link::Socket { .. } => {
                if let Some(socket) = stay.socket() {
                    self.send(socket, ServerMessage::ConnectionLost {});
                }
            }
            // The answer, when it comes, finds nobody; the request ends with the media core's refusal or this one.
            Link::Http {
                state: HttpState::Joining,
                ..
            } if unanswered => {
                self.http_refused(id, NegotiateError::NoSuchParticipant);
            }
            Link::Http { .. } => {
                let who = stay.who();
                let how = Leaving::ConnectionClosed;
                self.record(Change::Left {
                    who,
                    how,
                    keeps_admission: true,
                });
                self.remove_stay(id, EndReason::Left, String::new());
            }
        }
    }
}

fn slot_infos(answer: &Answer) -> Vec<SlotInfo> {
    let slots = answer.slots.iter().take(limits::MAX_SLOTS);
    slots
        .map(|slot| SlotInfo {
            mid: slot.mid.to_string(),
            kind: view::kind_name(slot.kind),
        })
        .collect()
}
