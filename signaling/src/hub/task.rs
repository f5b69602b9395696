//! The task that owns one visit: it reads the clock, waits for what comes, and carries out what the visit says.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use housecall_sfu::{Answer, Event, IceCredentials, NegotiateError, ParticipantId, RelayUserId, RoomId, Snapshot};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::limits;

use super::{HttpJoin, HttpPatch, Shared};
use crate::error::{HttpError, JoinError};
use crate::frame::CloseCode;
use crate::ids::{PersonId, StayId, VisitId};
use crate::media::Media;
use crate::message::{ClientMessage, EndReason, IceServer, ServerMessage};
use crate::metrics::Census;
use crate::portal::{Identity, Interruption, Portal, VisitEvent};
use crate::quality::QualityRecord;
use crate::visit::{Bounds, Fresh, HttpKind, MediaCommand, Output, PatchPlan, SocketId, Visit};

/// Who waits in a visit, for asking without waiting: how many, and since when.
pub(super) type Summary = Arc<Mutex<Option<(usize, Instant)>>>;

/// A visit's task as the hub knows it.
#[derive(Clone)]
pub(super) struct VisitHandle {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) room: RoomId,
    pub(super) waiting: Summary,
    /// Set once the visit has ended or was interrupted, and not when it just emptied.
    pub(super) over: Arc<AtomicBool>,
}

/// What a socket's task holds on to be told things.
pub(super) struct Outbox {
    pub(super) messages: mpsc::Sender<Outgoing>,
    /// Cuts the socket off at once, whatever is still in the queue. Holds one code.
    pub(super) cut: mpsc::Sender<CloseCode>,
}

/// One thing to be written to a socket.
pub(super) enum Outgoing {
    Message(ServerMessage),
    Close(CloseCode),
}

/// What is asked of a visit's task.
pub(super) enum Request {
    Hello {
        identity: Identity,
        resume: Option<String>,
        socket: SocketId,
        outbox: Outbox,
        reply: oneshot::Sender<Result<(), JoinError>>,
    },
    Message {
        socket: SocketId,
        message: ClientMessage,
    },
    SocketGone {
        socket: SocketId,
    },
    HttpJoin {
        identity: Identity,
        kind: HttpKind,
        offer: String,
        reply: oneshot::Sender<Result<HttpJoin, JoinError>>,
    },
    HttpPatch {
        person: PersonId,
        participant: String,
        fragment: String,
        if_match: Option<String>,
        reply: oneshot::Sender<Result<HttpPatch, HttpError>>,
    },
    HttpLeave {
        person: PersonId,
        participant: String,
        reply: oneshot::Sender<Result<(), HttpError>>,
    },
    /// `done` is dropped when everybody has been told.
    End {
        reason: EndReason,
        done: oneshot::Sender<()>,
    },
    Interrupt {
        cause: Interruption,
        done: oneshot::Sender<()>,
    },
    /// `done` is dropped when the quality records as they are now are stored.
    KeepQuality {
        done: oneshot::Sender<()>,
    },
}

/// What the media core was asked and has done.
enum Done {
    Negotiated {
        participant: ParticipantId,
        result: Result<Answer, NegotiateError>,
    },
    Restarted {
        participant: ParticipantId,
        result: Result<IceCredentials, NegotiateError>,
        reply: oneshot::Sender<Result<HttpPatch, HttpError>>,
    },
    Measured(Option<Snapshot>),
}

type Work = FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>;

/// How many requests are handled before the outputs are carried out: one snapshot then serves them all.
const BATCH: usize = 32;

/// Attempts at storing an event, and the time between them. A busy store recovers in this time; a full disk does not.
const RECORD_RETRIES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// The visit waits no longer than this for its quality records to be stored.
const KEEP_TIMEOUT: Duration = Duration::from_secs(2);
/// A store that takes longer counts as failed.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct VisitTask<P: Portal, M: Media> {
    shared: Arc<Shared<P, M>>,
    id: VisitId,
    room: RoomId,
    visit: Visit,
    handle: VisitHandle,
    requests: mpsc::Receiver<Request>,
    media_events: mpsc::Receiver<Event>,
    sockets: HashMap<SocketId, Outbox>,
    joining: HashMap<StayId, oneshot::Sender<Result<HttpJoin, JoinError>>>,
    leaving: HashMap<StayId, oneshot::Sender<Result<(), HttpError>>>,
    ending: Vec<oneshot::Sender<()>>,
    keeping: Vec<oneshot::Sender<()>>,
    work: Work,
    /// The media core was asked for figures and has not answered.
    measuring: bool,
    /// Looks since the quality records were last stored.
    looks: u32,
    room_open: bool,
    published: Published,
}

/// What this visit last told the rest of the process. Taken back when the task ends, in whatever way.
struct Published {
    clinicians: Vec<(PersonId, bool)>,
    census: Census,
}

impl<P: Portal, M: Media> VisitTask<P, M> {
    pub(super) fn new(
        shared: Arc<Shared<P, M>>,
        id: VisitId,
        handle: VisitHandle,
        requests: mpsc::Receiver<Request>,
        media_events: mpsc::Receiver<Event>,
    ) -> Self {
        let bounds = Bounds {
            people: shared.settings.max_people.max(2),
            viewers: shared.settings.max_viewers,
        };
        shared.metrics.visits.inc();
        Self {
            visit: Visit::new(id.clone(), handle.room, bounds, shared.metrics.quality.clone()),
            id,
            room: handle.room,
            handle,
            requests,
            media_events,
            sockets: HashMap::new(),
            joining: HashMap::new(),
            leaving: HashMap::new(),
            ending: Vec::new(),
            keeping: Vec::new(),
            work: FuturesUnordered::new(),
            measuring: false,
            looks: 0,
            room_open: false,
            published: Published {
                clinicians: Vec::new(),
                census: Census::default(),
            },
            shared,
        }
    }

    /// Runs until the visit is over or empty.
    pub(super) async fn run(mut self) {
        let mut presence = self.shared.presence.changes();
        let start = tokio::time::Instant::from_std(now()) + limits::QUALITY_LOOK;
        let mut look = tokio::time::interval_at(start, limits::QUALITY_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = self
                .visit
                .poll_timeout()
                .map(|(at, _)| tokio::time::Instant::from_std(at));
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // Whatever wakes the task, several inputs are taken before the outputs are carried out.
            tokio::select! {
                Some(request) = self.requests.recv() => {
                    self.handle(request);
                    for _ in 1..BATCH {
                        let Ok(request) = self.requests.try_recv() else { break };
                        self.handle(request);
                    }
                }
                event = self.media_events.recv() => match event {
                    Some(event) => self.visit.handle_media_event(&event, now()),
                    None => {
                        // The hub gives a visit up that does not keep up: what it would do next might be wrong.
                        tracing::warn!(visit = %self.id, "interrupted: too far behind its media events");
                        self.visit.handle_interruption(Interruption::MediaFailed);
                    }
                },
                Some(done) = self.work.next() => self.handle_done(done),
                Ok(()) = presence.changed() => {}
                _ = look.tick() => self.look(),
                () = timer => self.visit.handle_timeout(now()),
            }
            self.carry_out().await;
            self.tell_the_house();
            if self.visit.is_over() {
                self.handle.over.store(true, Ordering::Release);
                return;
            }
            if self.visit.is_empty() && self.work.is_empty() {
                // Whoever has asked meanwhile gets no reply from this task and asks the next one.
                return;
            }
        }
    }

    fn handle(&mut self, request: Request) {
        let now = now();
        match request {
            Request::Hello {
                identity,
                resume,
                socket,
                outbox,
                reply,
            } => {
                let fresh = match self.shared.chance.fresh() {
                    Ok(fresh) => fresh,
                    Err(_) => return,
                };
                let result = self.visit.handle_hello(identity, resume.as_deref(), socket, fresh, now);
                if result.is_ok() {
                    self.sockets.insert(socket, outbox);
                }
                if reply.send(result).is_err() {
                    self.drop_socket(socket);
                }
            }
            Request::Message { socket, message } => self.visit.handle_message(socket, message, now),
            Request::SocketGone { socket } => self.drop_socket(socket),
            Request::HttpJoin {
                identity,
                kind,
                offer,
                reply,
            } => {
                let Ok(Fresh { stay, .. }) = self.shared.chance.fresh() else {
                    return;
                };
                match self.visit.handle_http_join(identity, kind, offer, stay, now) {
                    Ok(()) => {
                        self.joining.insert(stay, reply);
                    }
                    Err(error) => {
                        let _ = reply.send(Err(error));
                    }
                }
            }
            Request::HttpPatch {
                person,
                participant,
                fragment,
                if_match,
                reply,
            } => {
                match self
                    .visit
                    .handle_patch(&person, &participant, &fragment, if_match.as_deref())
                {
                    Ok(PatchPlan::Accepted) => {
                        let _ = reply.send(Ok(HttpPatch::Accepted));
                    }
                    Ok(PatchPlan::Restart { participant, remote }) => {
                        let (media, room) = (self.shared.media.clone(), self.room);
                        self.work.push(Box::pin(async move {
                            let result = media.restart_ice(room, participant, remote).await;
                            Done::Restarted {
                                participant,
                                result,
                                reply,
                            }
                        }));
                    }
                    Err(error) => {
                        let _ = reply.send(Err(error));
                    }
                }
            }
            Request::HttpLeave {
                person,
                participant,
                reply,
            } => match self.visit.handle_http_leave(&person, &participant) {
                Ok(stay) => {
                    self.leaving.insert(stay, reply);
                }
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            },
            Request::End { reason, done } => {
                self.visit.handle_end(reason, None);
                self.ending.push(done);
            }
            Request::Interrupt { cause, done } => {
                self.visit.handle_interruption(cause);
                self.ending.push(done);
            }
            Request::KeepQuality { done } => {
                self.visit.keep_quality(now);
                self.keeping.push(done);
            }
        }
    }

    /// Asks the media core how everybody's lines are doing. One answer is waited for at a time: a shard that is behind is not asked more.
    fn look(&mut self) {
        self.looks += 1;
        if self.looks * limits::QUALITY_LOOK >= limits::QUALITY_KEEP {
            self.looks = 0;
            self.visit.keep_quality(now());
        }
        let participants = self.visit.measured();
        if participants.is_empty() || self.measuring {
            return;
        }
        self.measuring = true;
        let (media, room) = (self.shared.media.clone(), self.room);
        self.work.push(Box::pin(async move {
            Done::Measured(media.snapshot(room, participants).await)
        }));
    }

    fn drop_socket(&mut self, socket: SocketId) {
        self.sockets.remove(&socket);
        self.visit.handle_socket_gone(socket, now());
    }

    fn handle_done(&mut self, done: Done) {
        match done {
            Done::Negotiated { participant, result } => self.visit.handle_negotiated(participant, result, now()),
            Done::Restarted {
                participant,
                result,
                reply,
            } => {
                let _ = reply.send(self.visit.handle_restarted(participant, result));
            }
            Done::Measured(snapshot) => {
                self.measuring = false;
                if let Some(snapshot) = snapshot {
                    self.visit.handle_snapshot(&snapshot, now());
                }
            }
        }
    }

    async fn carry_out(&mut self) {
        let people = self.visit.clinicians_of_interest();
        self.visit
            .handle_elsewhere(self.shared.presence.busy_elsewhere(&self.id, &people));
        while let Some(output) = self.visit.poll_output(now()) {
            match output {
                Output::Record(event) => self.record(event).await,
                Output::Send { socket, message } => self.deliver(socket, Outgoing::Message(message)),
                Output::Welcome {
                    socket,
                    stay,
                    mut message,
                } => {
                    if let ServerMessage::Welcome { ice_servers, .. } = &mut message {
                        ice_servers.extend(self.ice_server(stay));
                    }
                    self.deliver(socket, Outgoing::Message(message));
                }
                Output::Close { socket, code } => {
                    self.deliver(socket, Outgoing::Close(code));
                    self.sockets.remove(&socket);
                }
                Output::Media(command) => self.command(command),
                Output::HttpAnswer { stay, result } => {
                    let reply = self.joining.remove(&stay);
                    let result = result.map(|joined| HttpJoin {
                        relay: self.ice_server(stay),
                        ..joined
                    });
                    let reached = reply.is_some_and(|reply| reply.send(result).is_ok());
                    if !reached {
                        self.visit.handle_http_abandoned(stay);
                    }
                }
                Output::HttpLeft { stay } => {
                    if let Some(reply) = self.leaving.remove(&stay) {
                        let _ = reply.send(Ok(()));
                    }
                }
                Output::Quality(records) => self.keep_quality(records).await,
            }
        }
        self.keeping.clear();
    }

    /// The visit does not hang on its record: what cannot be stored is lost, and counted.
    async fn keep_quality(&mut self, records: Vec<QualityRecord>) {
        let kept = self.shared.portal.keep_quality(self.id.clone(), records);
        let cause = match tokio::time::timeout(KEEP_TIMEOUT, kept).await {
            Ok(Ok(())) => return,
            Ok(Err(cause)) => cause.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        self.shared.metrics.quality.unkept.inc();
        tracing::warn!(visit = %self.id, cause, "quality records could not be stored");
    }

    async fn record(&mut self, event: VisitEvent) {
        self.shared.metrics.count_event(&event);
        tracing::info!(
            visit = %self.id,
            event = event.name(),
            participant = event.who().map_or("-", |who| who.participant.as_str()),
            "visit event"
        );
        let mut retries = RECORD_RETRIES.into_iter();
        loop {
            let attempt = tokio::time::timeout(RECORD_TIMEOUT, self.shared.portal.record(event.clone())).await;
            let wait = match attempt {
                Ok(Ok(())) => return,
                // A late success would make a second attempt a second row.
                Err(_) => None,
                Ok(Err(_)) => retries.next(),
            };
            let Some(wait) = wait else { break };
            tokio::time::sleep(wait).await;
        }
        tracing::error!(visit = %self.id, event = event.name(), "a visit event could not be stored; interrupting the visit");
        self.visit.handle_interruption(Interruption::StoreFailed);
    }

    /// A reader who is `SEND_QUEUE` messages behind is cut off.
    fn deliver(&mut self, socket: SocketId, outgoing: Outgoing) {
        let Some(outbox) = self.sockets.get(&socket) else {
            return;
        };
        match outbox.messages.try_send(outgoing) {
            Ok(()) => {}
            Err(error) => {
                let outbox = self.sockets.remove(&socket);
                if let (mpsc::error::TrySendError::Full(_), Some(outbox)) = (error, outbox) {
                    let _ = outbox.cut.try_send(CloseCode::TooSlow);
                }
                self.visit.handle_socket_gone(socket, now());
            }
        }
    }

    /// The relay, with credentials for this person alone.
    fn ice_server(&self, stay: StayId) -> Option<IceServer> {
        let access = self.shared.media.relay_access(self.room, RelayUserId(stay.number()))?;
        Some(IceServer {
            urls: access.urls,
            username: access.username,
            credential: access.password,
        })
    }

    fn command(&mut self, command: MediaCommand) {
        let (media, room) = (&self.shared.media, self.room);
        match command {
            MediaCommand::Negotiate { participant, offer } => {
                let settings = &self.shared.settings;
                let opened = if self.room_open {
                    Ok(())
                } else {
                    media.create_room(room, settings.max_people.max(2) + settings.max_viewers)
                };
                self.room_open = opened.is_ok();
                let media = media.clone();
                self.work.push(Box::pin(async move {
                    let result = match opened {
                        Ok(()) => media.negotiate(room, participant, offer).await,
                        Err(error) => Err(error),
                    };
                    Done::Negotiated { participant, result }
                }));
            }
            MediaCommand::Remove { participant } => media.remove_participant(room, participant),
            MediaCommand::EndRelay { stay } => media.end_relay_user(room, RelayUserId(stay.number())),
            MediaCommand::SetSource {
                participant,
                mid,
                source,
            } => media.set_source(room, participant, mid, source),
            MediaCommand::SetTarget {
                participant,
                mid,
                target,
            } => media.set_target(room, participant, mid, target),
            // The room is closed when the task ends, in whatever way it does.
            MediaCommand::CloseRoom => {}
        }
    }

    fn tell_the_house(&mut self) {
        let clinicians = self.visit.clinicians_here();
        self.shared
            .presence
            .set(&self.id, &self.published.clinicians, &clinicians);
        self.published.clinicians = clinicians;
        let census = self.visit.census();
        self.shared.metrics.count_participants(&self.published.census, &census);
        self.published.census = census;
        *self.handle.waiting.lock().unwrap_or_else(PoisonError::into_inner) = self.visit.waiting_summary();
    }
}

impl<P: Portal, M: Media> Drop for VisitTask<P, M> {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.forget(&self.id, self.room);
        shared.presence.set(&self.id, &self.published.clinicians, &[]);
        shared
            .metrics
            .count_participants(&self.published.census, &Census::default());
        shared.metrics.visits.dec();
        shared.media.close_room(self.room);
    }
}

#[expect(clippy::disallowed_methods, reason = "this task is the driver of a sans-IO visit")]
pub(super) fn now() -> Instant {
    // Tokio's clock, so that tests can hold it.
    tokio::time::Instant::now().into_std()
}
