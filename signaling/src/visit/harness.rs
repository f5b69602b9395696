//! A visit with people, a pretended media core and a pretended store around it, in virtual time.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use housecall_sfu::{
    Answer, Event, IceCredentials, Kind, Mid, NegotiateError, ParticipantId, PublishedTrack, RoomId, Slot, Source,
    Target, TrackChange, TrackId,
};

use super::http::HttpKind;
use super::{Bounds, Fresh, MediaCommand, Output, ResumeToken, SocketId, Visit};
use crate::error::JoinError;
use crate::frame::CloseCode;
use crate::hub::HttpJoin;
use crate::ids::{DisplayName, PersonId, StayId, VisitId};
use crate::limits;
use crate::message::{ClientMessage, EndReason, Place, RoleName, ServerMessage, VisitState};
use crate::portal::{Change, Identity, Via, VisitEvent};
use crate::quality::{QualityMetrics, QualityRecord};

/// What a socket has been sent.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) messages: Vec<ServerMessage>,
    pub(super) closed: Option<CloseCode>,
}

impl Inbox {
    /// The last state.
    pub(super) fn state(&self) -> &VisitState {
        let last = self.messages.iter().rev().find_map(|message| match message {
            ServerMessage::State(state) => Some(state),
            _ => None,
        });
        last.expect("a state was sent")
    }

    pub(super) fn welcome(&self) -> (&str, &str, bool) {
        match self.messages.first() {
            Some(ServerMessage::Welcome {
                you, resume, resumed, ..
            }) => (you, resume, *resumed),
            _ => panic!("welcome comes first"),
        }
    }

    pub(super) fn ended(&self) -> Option<EndReason> {
        self.messages.iter().find_map(|message| match message {
            ServerMessage::Ended { reason, .. } => Some(*reason),
            _ => None,
        })
    }
}

/// What the events alone say about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) admitted: bool,
    pub(super) connected: bool,
    /// Orders the queue.
    pub(super) since: usize,
}

/// What the media core was told about one participant.
#[derive(Default)]
pub(super) struct Transport {
    pub(super) tracks: Vec<PublishedTrack>,
    pub(super) slots: BTreeMap<Mid, (Kind, Option<TrackId>)>,
}

pub(super) struct World {
    pub(super) visit: Visit,
    pub(super) now: Instant,
    pub(super) sockets: HashMap<SocketId, Inbox>,
    pub(super) events: Vec<VisitEvent>,
    pub(super) told: BTreeMap<String, Told>,
    pub(super) transports: HashMap<ParticipantId, Transport>,
    pub(super) offers: Vec<(ParticipantId, String)>,
    pub(super) targets: Vec<(ParticipantId, Target)>,
    pub(super) relay_ended: Vec<StayId>,
    pub(super) answers: HashMap<StayId, Result<HttpJoin, JoinError>>,
    /// Quality records that were to be stored.
    pub(super) kept: Vec<QualityRecord>,
    next: u64,
}

pub(super) const VISIT: &str = "visit-1";

pub(super) fn identity(person: &str, role: RoleName) -> Identity {
    Identity {
        visit: VisitId::new(VISIT).expect("valid"),
        person: PersonId::new(person).expect("valid"),
        role,
        name: DisplayName::new(person),
        admitted: false,
        clinician: None,
    }
}

impl World {
    pub(super) fn new(bounds: Bounds) -> Self {
        #[expect(clippy::disallowed_methods, reason = "virtual time starts anywhere")]
        let now = Instant::now();
        Self {
            visit: Visit::new(
                VisitId::new(VISIT).expect("valid"),
                RoomId(7),
                bounds,
                QualityMetrics::new(),
            ),
            now,
            sockets: HashMap::new(),
            events: Vec::new(),
            told: BTreeMap::new(),
            transports: HashMap::new(),
            offers: Vec::new(),
            targets: Vec::new(),
            relay_ended: Vec::new(),
            answers: HashMap::new(),
            kept: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn fresh_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Says hello and settles.
    pub(super) fn hello(&mut self, identity: Identity, resume: Option<&str>) -> Result<SocketId, JoinError> {
        let number = self.fresh_number();
        let socket = SocketId(number);
        let fresh = Fresh {
            // Not in the order of coming, as random numbers are not.
            stay: StayId::from_random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            resume: ResumeToken::new(format!("resume-{number}")),
        };
        self.visit.handle_hello(identity, resume, socket, fresh, self.now)?;
        self.sockets.insert(socket, Inbox::default());
        self.settle();
        Ok(socket)
    }

    pub(super) fn join(&mut self, person: &str, role: RoleName) -> SocketId {
        self.hello(identity(person, role), None).expect("there is room")
    }

    pub(super) fn say(&mut self, socket: SocketId, message: ClientMessage) {
        self.visit.handle_message(socket, message, self.now);
        self.settle();
    }

    pub(super) fn drop_socket(&mut self, socket: SocketId) {
        self.visit.handle_socket_gone(socket, self.now);
        self.settle();
    }

    pub(super) fn http(&mut self, identity: Identity, kind: HttpKind) -> Result<StayId, JoinError> {
        let number = self.fresh_number();
        let stay = StayId::from_random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.visit
            .handle_http_join(identity, kind, "offer".to_owned(), stay, self.now)?;
        self.settle();
        Ok(stay)
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, why)) = self.visit.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.visit.handle_timeout(self.now);
            let moved_on = self.visit.poll_timeout().is_none_or(|(next, _)| next > self.now);
            assert!(moved_on, "{why}: the deadline was handled and is still due");
            self.settle();
        }
        self.now = end;
    }

    /// Answers the oldest offer with these lines to receive on, and has it publish these tracks.
    pub(super) fn answer(&mut self, slots: &[(&str, Kind)], tracks: &[(u64, Kind)]) -> ParticipantId {
        let (participant, _) = self.offers.remove(0);
        let slots: Vec<Slot> = slots
            .iter()
            .map(|&(mid, kind)| Slot {
                mid: Mid::new(mid).expect("valid"),
                kind,
            })
            .collect();
        let transport = self.transports.entry(participant).or_default();
        let before = std::mem::take(&mut transport.slots);
        for slot in &slots {
            let source = before.get(&slot.mid).and_then(|(_, source)| *source);
            transport.slots.insert(slot.mid, (slot.kind, source));
        }
        let answer = Answer {
            sdp: "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n".to_owned(),
            published: Vec::new(),
            slots,
            ice: IceCredentials {
                ufrag: format!("ufrag{}", participant.0),
                pwd: "p".repeat(22),
            },
        };
        self.visit.handle_negotiated(participant, Ok(answer), self.now);
        self.settle();
        for &(track, kind) in tracks {
            self.track(participant, track, kind, TrackChange::Started);
        }
        participant
    }

    pub(super) fn refuse_offer(&mut self, error: NegotiateError) {
        let (participant, _) = self.offers.remove(0);
        self.visit.handle_negotiated(participant, Err(error), self.now);
        self.settle();
    }

    pub(super) fn track(&mut self, participant: ParticipantId, track: u64, kind: Kind, change: TrackChange) {
        let source = match kind {
            Kind::Audio => Source::Microphone,
            Kind::Video => Source::Camera,
        };
        self.track_from(participant, track, source, change);
    }

    pub(super) fn track_from(&mut self, participant: ParticipantId, track: u64, source: Source, change: TrackChange) {
        let kind = if source == Source::Microphone {
            Kind::Audio
        } else {
            Kind::Video
        };
        let track = PublishedTrack {
            track: TrackId(track),
            mid: Mid::new("0").expect("valid"),
            kind,
            source,
        };
        if let Some(transport) = self.transports.get_mut(&participant) {
            transport.tracks.retain(|t| t.track != track.track);
            if change == TrackChange::Started {
                transport.tracks.push(track);
            }
        }
        self.media(&Event::Track {
            room: RoomId(7),
            participant,
            track,
            change,
        });
    }

    pub(super) fn media(&mut self, event: &Event) {
        if let Event::Closed { participant, .. } = event {
            self.transports.remove(participant);
        }
        self.visit.handle_media_event(event, self.now);
        self.settle();
    }

    /// Where a track is shown.
    pub(super) fn viewers_of(&self, track: u64) -> Vec<ParticipantId> {
        let shows = |t: &Transport| t.slots.values().any(|(_, source)| *source == Some(TrackId(track)));
        self.transports
            .iter()
            .filter(|(_, t)| shows(t))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn event_names(&self) -> Vec<&'static str> {
        self.events.iter().map(VisitEvent::name).collect()
    }

    pub(super) fn inbox(&self, socket: SocketId) -> &Inbox {
        &self.sockets[&socket]
    }

    /// The participant behind a socket.
    pub(super) fn name_of(&self, socket: SocketId) -> String {
        self.inbox(socket).welcome().0.to_owned()
    }

    /// Carries out what the visit wants, in order, and checks all that must always hold.
    pub(super) fn settle(&mut self) {
        while let Some(output) = self.visit.poll_output(self.now) {
            match output {
                Output::Record(event) => self.learn(event),
                Output::Send { socket, message } | Output::Welcome { socket, message, .. } => {
                    self.deliver(socket, message);
                }
                Output::Close { socket, code } => {
                    let inbox = self.sockets.get_mut(&socket).expect("a known socket is closed");
                    assert!(inbox.closed.replace(code).is_none(), "a socket is closed once");
                }
                Output::Media(command) => self.command(command),
                Output::HttpAnswer { stay, result } => {
                    assert!(self.answers.insert(stay, result).is_none(), "a POST is answered once");
                }
                Output::HttpLeft { .. } => {}
                Output::Quality(records) => self.kept.extend(records),
            }
        }
        self.check();
    }

    fn deliver(&mut self, socket: SocketId, message: ServerMessage) {
        if let ServerMessage::State(state) = &message {
            let told = self.told[&self.name_of(socket)];
            assert_eq!(
                told.admitted,
                state.you == Place::Admitted {},
                "clients learn what was recorded, not before"
            );
            if !told.admitted {
                assert!(
                    state.participants.is_empty() && state.queue.is_empty(),
                    "who waits sees nobody"
                );
            }
        }
        let inbox = self.sockets.get_mut(&socket).expect("a known socket is written to");
        assert!(inbox.closed.is_none(), "nothing is sent after a close");
        inbox.messages.push(message);
    }

    /// Applies an event to what the events say. Each must change something, and fit what was said before.
    fn learn(&mut self, event: VisitEvent) {
        let order = self.events.len();
        let key = event.who().map(|who| who.participant.clone());
        let before = key.as_ref().and_then(|key| self.told.get(key)).copied();
        let new = Told {
            admitted: false,
            connected: true,
            since: order,
        };
        let after = match (&event.change, before) {
            (Change::Queued { .. }, None) => Some(new),
            (Change::Entered { .. }, None) => Some(Told { admitted: true, ..new }),
            (Change::Admitted { by, .. }, Some(told)) if !told.admitted => {
                assert_eq!(by.role, RoleName::Clinician);
                Some(Told { admitted: true, ..told })
            }
            (Change::Declined { .. }, Some(told)) if !told.admitted => None,
            (Change::Disconnected { .. }, Some(told)) if told.connected => Some(Told {
                connected: false,
                ..told
            }),
            (Change::SteppedAway { .. }, Some(told)) if told.connected && !told.admitted => Some(Told {
                connected: false,
                ..told
            }),
            (Change::Returned { .. }, Some(told)) if !told.connected => Some(Told {
                connected: true,
                ..told
            }),
            (Change::TookOver { .. }, Some(told)) if told.connected => Some(told),
            (Change::Left { .. }, Some(_)) => None,
            (Change::Ended { .. } | Change::Interrupted { .. }, None) => {
                self.told.clear();
                self.events.push(event);
                return;
            }
            _ => panic!("{} does not fit {before:?}", event.name()),
        };
        let key = key.expect("an event about somebody");
        match after {
            Some(told) => self.told.insert(key, told),
            None => self.told.remove(&key),
        };
        self.events.push(event);
    }

    fn command(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::Negotiate { participant, offer } => {
                assert!(
                    self.offers.iter().all(|(p, _)| *p != participant),
                    "one offer of a participant at a time"
                );
                self.offers.push((participant, offer));
            }
            MediaCommand::Remove { participant } => {
                self.transports.remove(&participant);
            }
            MediaCommand::EndRelay { stay } => self.relay_ended.push(stay),
            MediaCommand::SetSource {
                participant,
                mid,
                source,
            } => {
                let transport = self
                    .transports
                    .get_mut(&participant)
                    .expect("a source for a living transport");
                let slot = transport
                    .slots
                    .get_mut(&mid)
                    .expect("a source for a line that is there");
                assert_ne!(slot.1, source, "commands only for what changes");
                slot.1 = source;
            }
            MediaCommand::SetTarget {
                participant, target, ..
            } => self.targets.push((participant, target)),
            MediaCommand::CloseRoom => self.transports.clear(),
        }
    }

    fn check(&self) {
        self.check_events();
        self.check_sources();
        self.check_bounds();
        self.check_queue();
    }

    /// Every change of state is in exactly one event: the events alone make up the state.
    fn check_events(&self) {
        let of_events: Vec<_> = self
            .told
            .iter()
            .map(|(id, told)| (id.clone(), told.admitted, told.connected))
            .collect();
        let of_visit: Vec<_> = self
            .visit
            .stays
            .values()
            .filter(|stay| !stay.is_joining())
            .map(|stay| (stay.id.to_string(), stay.is_admitted(), stay.is_connected()))
            .collect();
        assert_eq!(of_events, of_visit, "events on the left, the visit on the right");
    }

    /// What is forwarded, as the media core knows it, joins admitted people only, as the events know them.
    fn check_sources(&self) {
        let owner = |id: &ParticipantId| self.visit.by_media.get(id).map(ToString::to_string);
        let is_admitted = |name: &String| self.told.get(name).is_some_and(|told| told.admitted);
        for (viewer, transport) in &self.transports {
            for (mid, (kind, source)) in &transport.slots {
                let Some(source) = source else { continue };
                let publishes = |(_, t): &(&ParticipantId, &Transport)| {
                    t.tracks
                        .iter()
                        .any(|track| track.track == *source && track.kind == *kind)
                };
                let (publisher, _) = self
                    .transports
                    .iter()
                    .find(publishes)
                    .expect("a source that is published");
                let (viewer, publisher) = (owner(viewer).expect("known"), owner(publisher).expect("known"));
                assert!(
                    is_admitted(&viewer),
                    "{viewer} is not admitted and receives {source:?} on {mid}"
                );
                assert!(is_admitted(&publisher), "{publisher} is not admitted and is forwarded");
                assert_ne!(viewer, publisher, "nobody is sent their own track");
            }
        }
    }

    fn check_bounds(&self) {
        let visit = &self.visit;
        let viewers = visit.stays.values().filter(|stay| stay.via() == Via::Whep).count();
        assert!(viewers <= visit.bounds.viewers && visit.stays.len() - viewers <= visit.bounds.people);
        let mut people: Vec<_> = visit
            .stays
            .values()
            .filter(|s| s.via() == Via::Socket)
            .map(|s| (&s.person, s.role))
            .collect();
        assert_eq!(people.len(), visit.by_person.len(), "one stay for each person");
        people.sort_unstable_by_key(|(person, role)| ((*person).clone(), *role as u8));
        people.dedup();
        assert_eq!(people.len(), visit.by_person.len(), "no person has a ghost");

        let online: Vec<_> = visit
            .stays
            .values()
            .filter_map(|stay| Some((stay.socket()?, stay.id)))
            .collect();
        assert_eq!(online.len(), visit.by_socket.len());
        assert!(
            online
                .iter()
                .all(|(socket, id)| visit.by_socket.get(socket) == Some(id))
        );
        assert!(online.iter().all(|(socket, _)| self.sockets[socket].closed.is_none()));

        let connections: Vec<_> = visit
            .stays
            .values()
            .filter_map(|s| Some((s.connection.as_ref()?, s.id)))
            .collect();
        assert_eq!(connections.len(), visit.by_media.len());
        for (connection, id) in connections {
            assert_eq!(visit.by_media.get(&connection.id), Some(&id));
            assert!(connection.slots.len() <= limits::MAX_SLOTS && connection.tracks.len() <= limits::MAX_TRACKS);
        }
        let leaked = self.transports.keys().find(|id| !visit.by_media.contains_key(id));
        assert_eq!(leaked, None, "the media core holds a transport nobody knows");
    }

    /// Clinicians see the queue in the order of coming, and those in it their position.
    fn check_queue(&self) {
        let mut queue: Vec<_> = self.told.iter().filter(|(_, told)| !told.admitted).collect();
        queue.sort_by_key(|(_, told)| told.since);
        let names: Vec<_> = queue.iter().map(|(name, _)| (*name).clone()).collect();
        for stay in self.visit.stays.values() {
            let Some(inbox) = stay.socket().map(|socket| self.inbox(socket)) else {
                continue;
            };
            let state = inbox.state();
            match (&state.you, stay.role) {
                (Place::Waiting { position }, _) => assert_eq!(names[*position as usize - 1], stay.id.to_string()),
                (Place::Admitted {}, RoleName::Clinician) => {
                    let seen: Vec<_> = state.queue.iter().map(|waiting| waiting.participant.clone()).collect();
                    assert_eq!(seen, names);
                }
                (Place::Admitted {}, _) => assert!(state.queue.is_empty()),
            }
        }
    }
}
