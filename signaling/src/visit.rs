//! One visit: who waits, who is in it, what is forwarded to whom. No sockets, threads or clocks.
//!
//! Calling contract: call one of the `handle_*` methods, then [`Visit::poll_output`] until it returns `None`, carrying out the
//! outputs **in order** (an event is to be durable before what follows it is done), then wait for the next input or for
//! [`Visit::poll_timeout`]. Several inputs may be handled before polling; views are then sent once.
//!
//! Deny by default: what a slot is pointed at is decided in one place, [`Visit::sync_sources`](sources), from who is admitted.

mod audience;
#[cfg(test)]
mod harness;
mod http;
#[cfg(test)]
mod http_tests;
mod negotiation;
mod quality;
mod sources;
mod stay;
#[cfg(test)]
mod tests;
mod view;
#[cfg(test)]
mod walk;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use housecall_sfu::{Mid, ParticipantId, RoomId, Target, TrackId};

use crate::error::JoinError;
use crate::frame::CloseCode;
use crate::hub::HttpJoin;
use crate::ids::{PersonId, StayId, VisitId};
use crate::limits;
use crate::message::{ClientMessage, EndReason, ErrorCode, RoleName, ServerMessage};
use crate::portal::{Change, Identity, Interruption, Leaving, Via, VisitEvent, Who};
use crate::quality::{Observer, QualityMetrics, QualityRecord};

pub(crate) use http::{HttpKind, PatchPlan};
pub(crate) use stay::{Fresh, ResumeToken, SocketId};
use stay::{Link, Place, SocketState, Stay};

/// What the task that drives a visit must do.
pub(crate) enum Output {
    /// Have this stored before carrying out what follows.
    Record(VisitEvent),
    /// Send this; a socket that is gone is passed over.
    Send { socket: SocketId, message: ServerMessage },
    /// Send this welcome, with what this person may use of the relay in it.
    Welcome {
        socket: SocketId,
        stay: StayId,
        message: ServerMessage,
    },
    /// Close a socket after what was sent to it.
    Close { socket: SocketId, code: CloseCode },
    /// Tell the media core.
    Media(MediaCommand),
    /// The answer to a WHIP or WHEP `POST`.
    HttpAnswer {
        stay: StayId,
        result: Result<HttpJoin, JoinError>,
    },
    /// A WHIP or WHEP `DELETE` has been done.
    HttpLeft { stay: StayId },
    /// Have these stored; nothing waits for it.
    Quality(Vec<QualityRecord>),
}

/// What the media core is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MediaCommand {
    Negotiate {
        participant: ParticipantId,
        offer: String,
    },
    Remove {
        participant: ParticipantId,
    },
    /// Whatever this person has on the relay ends.
    EndRelay {
        stay: StayId,
    },
    SetSource {
        participant: ParticipantId,
        mid: Mid,
        source: Option<TrackId>,
    },
    SetTarget {
        participant: ParticipantId,
        mid: Mid,
        target: Target,
    },
    CloseRoom,
}

/// How many may take part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Over sockets and WHIP. One seat is kept for a clinician.
    pub(crate) people: usize,
    /// Over WHEP.
    pub(crate) viewers: usize,
}

/// One visit.
pub(crate) struct Visit {
    id: VisitId,
    room: RoomId,
    bounds: Bounds,
    stays: BTreeMap<StayId, Stay>,
    by_person: HashMap<(PersonId, RoleName), StayId>,
    by_socket: HashMap<SocketId, StayId>,
    by_media: HashMap<ParticipantId, StayId>,
    booked_with: Option<PersonId>,
    busy_elsewhere: bool,
    next_media: u32,
    next_turn: u64,
    next_publisher: u64,
    outputs: VecDeque<Output>,
    views_stale: bool,
    sources_stale: bool,
    audiences_stale: bool,
    over: bool,
    quality: Observer,
}

impl Visit {
    /// An empty visit whose media is in `room`; the number must fit 32 bits, so that participants' numbers can be made of it.
    pub(crate) fn new(id: VisitId, room: RoomId, bounds: Bounds, metrics: QualityMetrics) -> Self {
        debug_assert!(
            room.0 <= u64::from(u32::MAX),
            "participants' numbers are made of the room's"
        );
        Self {
            id,
            room,
            bounds,
            stays: BTreeMap::new(),
            by_person: HashMap::new(),
            by_socket: HashMap::new(),
            by_media: HashMap::new(),
            booked_with: None,
            busy_elsewhere: false,
            next_media: 0,
            next_turn: 0,
            next_publisher: 0,
            outputs: VecDeque::new(),
            views_stale: false,
            sources_stale: false,
            audiences_stale: false,
            over: false,
            quality: Observer::new(metrics),
        }
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self, now: Instant) -> Option<Output> {
        if self.outputs.is_empty() && std::mem::take(&mut self.sources_stale) {
            self.sync_sources(now);
        }
        if self.outputs.is_empty() && std::mem::take(&mut self.views_stale) {
            self.show_views(now);
        }
        if self.outputs.is_empty() && std::mem::take(&mut self.audiences_stale) {
            self.tell_audiences();
        }
        if self.outputs.is_empty() {
            self.end_quality(now);
        }
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`] next, and why.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.stays.values().filter_map(Stay::deadline).min()
    }

    /// Nobody is here and nobody's place is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.stays.is_empty()
    }

    /// Ended or interrupted: drain the outputs and drop it.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Somebody said hello. If the same person was here before, on whatever device, this is that stay going on.
    pub(crate) fn handle_hello(
        &mut self,
        identity: Identity,
        resume: Option<&str>,
        socket: SocketId,
        fresh: Fresh,
        now: Instant,
    ) -> Result<(), JoinError> {
        if self.over {
            return Err(JoinError::Stopping);
        }
        let known = self.by_person.get(&(identity.person.clone(), identity.role)).copied();
        if known.is_none() {
            self.check_room_for(identity.role, Via::Socket)?;
        }
        self.booked_with = identity.clinician.clone().or(self.booked_with.take());
        let (stay, resumed) = match known {
            Some(stay) => (stay, self.come_back(stay, identity, resume, socket, fresh.resume, now)),
            None => (self.come_in(identity, socket, fresh, now), false),
        };
        self.by_socket.insert(socket, stay);
        self.welcome(stay, socket, resumed);
        self.views_stale = true;
        self.sources_stale = true;
        Ok(())
    }

    fn come_in(&mut self, identity: Identity, socket: SocketId, fresh: Fresh, now: Instant) -> StayId {
        let admitted = identity.admitted || identity.role == RoleName::Clinician;
        let link = Link::Socket {
            resume: fresh.resume,
            state: SocketState::Online { socket, told: None },
        };
        let stay = self.new_stay(fresh.stay, identity, admitted, link, now);
        self.by_person.insert((stay.person.clone(), stay.role), stay.id);
        self.record(arrival(&stay));
        self.stays.insert(fresh.stay, stay);
        fresh.stay
    }

    /// Returns whether the client goes on with the connection it had.
    fn come_back(
        &mut self,
        id: StayId,
        identity: Identity,
        candidate: Option<&str>,
        new_socket: SocketId,
        new_resume: ResumeToken,
        now: Instant,
    ) -> bool {
        let Some(stay) = self.stays.get_mut(&id) else {
            return false;
        };
        let same_page = candidate.is_some_and(|token| stay.may_resume(token));
        let who = stay.who();
        stay.name = identity.name;
        let Link::Socket { resume, state } = &mut stay.link else {
            return false;
        };
        let before = std::mem::replace(
            state,
            SocketState::Online {
                socket: new_socket,
                told: None,
            },
        );
        if !same_page {
            // The page before this one must not be able to come back.
            *resume = new_resume;
            stay.microphone_muted = false;
            stay.camera_muted = false;
        }
        let has_media = stay.connection.as_ref().is_some_and(|connection| connection.answered);
        match before {
            SocketState::Online { socket, .. } => {
                if !same_page {
                    self.record(Change::TookOver { who });
                }
                self.send_end(
                    socket,
                    EndReason::Replaced,
                    "This visit was opened on another page or device.".to_owned(),
                );
            }
            SocketState::Lost { .. } | SocketState::Away { .. } => self.record(Change::Returned { who }),
        }
        if !same_page {
            self.quality.new_page(id, now);
            self.drop_connection(id);
        }
        same_page && has_media
    }

    fn welcome(&mut self, id: StayId, socket: SocketId, resumed: bool) {
        let Some(stay) = self.stays.get(&id) else { return };
        let Link::Socket { resume, .. } = &stay.link else {
            return;
        };
        let welcome = ServerMessage::Welcome {
            you: id.to_string(),
            role: stay.role,
            resume: resume.reveal().to_owned(),
            resumed,
            ice_servers: Vec::new(),
        };
        let connection = stay.connection.as_ref().filter(|_| resumed);
        let slots = connection.map(|connection| &connection.slots);
        // What was said about quality while the socket was gone is said again.
        let uplinks = connection
            .into_iter()
            .flat_map(|connection| connection.uplinks.values());
        let audiences = connection
            .into_iter()
            .flat_map(|connection| &connection.audiences)
            .map(|(&mid, &by)| audience::message(mid, by));
        let qualities: Vec<_> = slots
            .into_iter()
            .flatten()
            .filter_map(|(mid, slot)| {
                slot.sending
                    .map(|sending| view::quality(mid.as_str(), slot.sending, sending, slot.limit))
            })
            .chain(uplinks.cloned())
            .chain(audiences)
            .collect();
        self.outputs.push_back(Output::Welcome {
            socket,
            stay: id,
            message: welcome,
        });
        for quality in qualities {
            self.send(socket, quality);
        }
    }

    /// A message other than hello from a socket that has said hello.
    pub(crate) fn handle_message(&mut self, socket: SocketId, message: ClientMessage, now: Instant) {
        let Some(&id) = self.by_socket.get(&socket) else { return };
        let Some(stay) = self.stays.get_mut(&id) else { return };
        let clinician = stay.role == RoleName::Clinician;
        match message {
            ClientMessage::Hello { .. } => self.refuse(socket, ErrorCode::BadMessage, "Hello was said already."),
            ClientMessage::Offer { id: offer, sdp, fresh } => self.handle_offer(id, socket, offer, sdp, fresh, now),
            ClientMessage::Subscribe { mid, track } => self.handle_subscribe(id, socket, &mid, track.as_deref()),
            ClientMessage::Target { mid, target } => self.handle_target(id, socket, &mid, view::target(target)),
            ClientMessage::Muted { microphone, camera } => {
                stay.microphone_muted = microphone;
                stay.camera_muted = camera;
                self.views_stale = true;
            }
            ClientMessage::Admit { .. } | ClientMessage::Decline { .. } | ClientMessage::EndVisit {} if !clinician => {
                self.refuse(socket, ErrorCode::NotAllowed, "Only the clinician can do this.");
            }
            ClientMessage::Admit { participant } => self.handle_admit(id, socket, &participant, now),
            ClientMessage::Decline { participant, reason } => self.handle_decline(id, socket, &participant, &reason),
            ClientMessage::Leave { keep_place } => self.handle_leave(id, socket, keep_place, now),
            ClientMessage::EndVisit {} => {
                let by = stay.who();
                self.handle_end(EndReason::VisitEnded, Some(by));
            }
            ClientMessage::Report(report) => self.handle_report(id, socket, &report, now),
            ClientMessage::Ping { id } => self.send(socket, ServerMessage::Pong { id }),
        }
    }

    fn handle_admit(&mut self, clinician: StayId, socket: SocketId, participant: &str, now: Instant) {
        let (Some(id), Some(by)) = (self.waiting_stay(participant), self.who(clinician)) else {
            return self.refuse(socket, ErrorCode::NotFound, "This person does not wait here any more.");
        };
        let Some(stay) = self.stays.get_mut(&id) else { return };
        stay.place = Place::Admitted;
        if let Link::Socket { state, .. } = &mut stay.link {
            // Whoever is gone has the usual time to return from here on.
            match state {
                SocketState::Online { .. } => {}
                SocketState::Lost { since } | SocketState::Away { since } => *since = now,
            }
        }
        let who = stay.who();
        self.quality.admitted(id, now);
        self.record(Change::Admitted { who, by });
        self.views_stale = true;
        self.sources_stale = true;
    }

    fn handle_decline(&mut self, clinician: StayId, socket: SocketId, participant: &str, reason: &str) {
        if reason.chars().count() > limits::MAX_REASON_CHARS {
            return self.refuse(socket, ErrorCode::Limit, "The word of reason is too long.");
        }
        let (Some(id), Some(by)) = (self.waiting_stay(participant), self.who(clinician)) else {
            return self.refuse(socket, ErrorCode::NotFound, "This person does not wait here any more.");
        };
        let Some(who) = self.who(id) else { return };
        self.record(Change::Declined { who, by });
        let reason = limits::clean_text(reason, limits::MAX_REASON_CHARS);
        self.remove_stay(id, EndReason::Declined, reason);
    }

    fn handle_leave(&mut self, id: StayId, socket: SocketId, keep_place: bool, now: Instant) {
        let Some(stay) = self.stays.get_mut(&id) else { return };
        let who = stay.who();
        let message = "You have left the visit.".to_owned();
        if keep_place && stay.waiting().is_some() {
            if let Link::Socket { state, .. } = &mut stay.link {
                *state = SocketState::Away { since: now };
            }
            self.record(Change::SteppedAway { who });
            self.drop_connection(id);
            self.send_end(socket, EndReason::Left, message);
            self.views_stale = true;
        } else {
            let how = Leaving::Asked;
            self.record(Change::Left {
                who,
                how,
                keeps_admission: keep_place,
            });
            self.remove_stay(id, EndReason::Left, message);
        }
    }

    /// A socket is gone without a word. Media goes on for now.
    pub(crate) fn handle_socket_gone(&mut self, socket: SocketId, now: Instant) {
        let Some(id) = self.by_socket.remove(&socket) else {
            return;
        };
        let Some(stay) = self.stays.get_mut(&id) else { return };
        let Link::Socket { state, .. } = &mut stay.link else {
            return;
        };
        *state = SocketState::Lost { since: now };
        let who = stay.who();
        self.record(Change::Disconnected { who });
        self.views_stale = true;
    }

    /// The deadline of [`Self::poll_timeout`] has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<StayId> = self
            .stays
            .values()
            .filter(|stay| stay.deadline().is_some_and(|(at, _)| at <= now))
            .map(|stay| stay.id)
            .collect();
        for id in due {
            let Some(stay) = self.stays.get_mut(&id) else { continue };
            let waiting = stay.waiting().is_some();
            match &mut stay.link {
                Link::Socket { state, .. } if waiting && matches!(state, SocketState::Lost { .. }) => {
                    if let SocketState::Lost { since } = *state {
                        *state = SocketState::Away { since };
                    }
                    self.drop_connection(id);
                }
                Link::Socket { .. } | Link::Http { .. } => {
                    let who = stay.who();
                    let how = Leaving::Timeout;
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

    /// Says whether one of [`Self::clinicians_of_interest`] is in a call in another visit.
    pub(crate) fn handle_elsewhere(&mut self, busy: bool) {
        self.views_stale |= self.busy_elsewhere != busy;
        self.busy_elsewhere = busy;
    }

    /// The visit is over for everybody.
    pub(crate) fn handle_end(&mut self, reason: EndReason, by: Option<Who>) {
        if self.over {
            return;
        }
        self.record(Change::Ended { reason, by });
        let message = match reason {
            EndReason::Cancelled => "The appointment was cancelled.",
            _ => "The visit has ended.",
        };
        self.disband(reason, message);
    }

    /// Everybody is disconnected and may come back.
    pub(crate) fn handle_interruption(&mut self, cause: Interruption) {
        if self.over {
            return;
        }
        // What follows an event that could not be stored must not happen.
        self.outputs.clear();
        self.record(Change::Interrupted { cause });
        let (reason, message) = match cause {
            Interruption::ServerStopping => (
                EndReason::ServerStopping,
                "The server is being restarted. Rejoin in a moment.",
            ),
            Interruption::MediaFailed | Interruption::StoreFailed | Interruption::ServerFault => (
                EndReason::Failed,
                "Something went wrong on the server. Rejoin the visit.",
            ),
        };
        self.disband(reason, message);
    }

    fn disband(&mut self, reason: EndReason, message: &str) {
        let sockets: Vec<_> = self.stays.values().filter_map(Stay::socket).collect();
        for socket in sockets {
            self.send_end(socket, reason, message.to_owned());
        }
        let joining: Vec<_> = self.stays.values().filter(|s| s.is_joining()).map(|s| s.id).collect();
        for stay in joining {
            let result = Err(JoinError::Stopping);
            self.outputs.push_back(Output::HttpAnswer { stay, result });
        }
        let stays = self.stays.keys().copied();
        self.outputs
            .extend(stays.map(|stay| Output::Media(MediaCommand::EndRelay { stay })));
        self.outputs.push_back(Output::Media(MediaCommand::CloseRoom));
        self.stays.clear();
        self.by_person.clear();
        self.by_socket.clear();
        self.by_media.clear();
        self.views_stale = false;
        self.sources_stale = false;
        self.audiences_stale = false;
        self.over = true;
    }

    fn check_room_for(&self, role: RoleName, via: Via) -> Result<(), JoinError> {
        let viewer = via == Via::Whep;
        let taken = self
            .stays
            .values()
            .filter(|stay| (stay.via() == Via::Whep) == viewer)
            .count();
        // Visits are for these two. Their encoders, if they have some, don't sit in their seats.
        let is_missing = |missing: &RoleName| {
            let here = |stay: &Stay| stay.role == *missing && stay.via() == Via::Socket;
            *missing != role && !self.stays.values().any(here)
        };
        let kept = || {
            let roles = [RoleName::Clinician, RoleName::Patient];
            roles.iter().filter(|role| is_missing(role)).count()
        };
        let limit = match viewer {
            true => self.bounds.viewers,
            false => self.bounds.people.saturating_sub(kept()),
        };
        if taken >= limit {
            Err(JoinError::Full { limit })
        } else {
            Ok(())
        }
    }

    fn new_stay(&mut self, id: StayId, identity: Identity, admitted: bool, link: Link, now: Instant) -> Stay {
        let place = if admitted {
            Place::Admitted
        } else {
            self.next_turn += 1;
            Place::Waiting {
                since: now,
                turn: self.next_turn,
            }
        };
        let via = link.via();
        self.quality.begin(id, identity.role, via, admitted, now);
        Stay {
            id,
            person: identity.person,
            role: identity.role,
            name: identity.name,
            place,
            link,
            connection: None,
            microphone_muted: false,
            camera_muted: false,
        }
    }

    /// Takes a stay out after its event was recorded. A socket it still has is told why and closed.
    fn remove_stay(&mut self, id: StayId, reason: EndReason, message: String) {
        self.drop_connection(id);
        let Some(stay) = self.stays.remove(&id) else { return };
        if stay.is_joining() {
            self.quality.forget(id);
        }
        self.media(MediaCommand::EndRelay { stay: id });
        if let Some(socket) = stay.socket() {
            self.send_end(socket, reason, message);
        }
        if stay.via() == Via::Socket {
            self.by_person.remove(&(stay.person, stay.role));
        }
        self.views_stale = true;
        self.sources_stale = true;
    }

    fn send_end(&mut self, socket: SocketId, reason: EndReason, message: String) {
        self.by_socket.remove(&socket);
        self.send(socket, ServerMessage::Ended { reason, message });
        self.outputs.push_back(Output::Close {
            socket,
            code: CloseCode::Done,
        });
    }

    fn waiting_stay(&self, participant: &str) -> Option<StayId> {
        let id = StayId::parse(participant)?;
        self.stays.get(&id)?.waiting().map(|_| id)
    }

    fn who(&self, id: StayId) -> Option<Who> {
        self.stays.get(&id).map(Stay::who)
    }

    fn record(&mut self, change: Change) {
        let visit = self.id.clone();
        self.outputs.push_back(Output::Record(VisitEvent { visit, change }));
    }

    fn send(&mut self, socket: SocketId, message: ServerMessage) {
        self.outputs.push_back(Output::Send { socket, message });
    }

    fn refuse(&mut self, socket: SocketId, code: ErrorCode, message: &str) {
        let message = message.to_owned();
        self.send(socket, ServerMessage::Error { code, message });
    }

    fn media(&mut self, command: MediaCommand) {
        self.outputs.push_back(Output::Media(command));
    }
}

/// The event of somebody's coming.
fn arrival(stay: &Stay) -> Change {
    let who = stay.who();
    match stay.place {
        Place::Waiting { .. } => Change::Queued { who },
        Place::Admitted => Change::Entered { who },
    }
}
