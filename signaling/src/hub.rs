//! All live visits of this process: finds or starts a visit's task, and carries requests to it.

#[cfg(test)]
mod fakes;
mod presence;
mod socket;
mod task;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{Sink, Stream};
use housecall_sfu::{Event, NegotiateError, RoomId, Sfu};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::error::{HttpError, JoinError};
use crate::frame::Frame;
use crate::ids::{StayId, VisitId};
use crate::limits;
use crate::media::Media;
use crate::message::{EndReason, IceServer};
use crate::metrics::Metrics;
use crate::portal::{Change, Identity, Interruption, Portal, VisitEvent};
use crate::visit::{Fresh, HttpKind, ResumeToken, SocketId};
use presence::Presence;
use task::{Request, VisitHandle, VisitTask};

/// Media events waiting for one visit's task. A busy visit of hundreds of viewers makes a few hundred at once when its publisher
/// comes or goes; a visit further behind is interrupted.
const MEDIA_EVENTS: usize = 4_096;
/// How often a join is tried when the visit's task ends at that very moment.
const JOIN_ATTEMPTS: usize = 4;
/// How long a stop waits for sockets to be told.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

/// What the composition root decides for the visits.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// People, and encoders that publish over WHIP, in one visit; at least 2. Until they are here, one of the seats
    /// is kept for a clinician and one for the patient.
    pub max_people: usize,
    /// WHEP viewers in one visit.
    pub max_viewers: usize,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            max_people: 16,
            max_viewers: 500,
        }
    }
}

/// All live visits of this process. Cheap to clone. `M` is the media core; tests may put something else in its place.
pub struct Hub<P, M = Sfu> {
    shared: Arc<Shared<P, M>>,
}

impl<P, M> Clone for Hub<P, M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What all tasks of the hub share. The locks are held for a few map operations and never across an await.
struct Shared<P, M> {
    portal: Arc<P>,
    media: M,
    settings: HubSettings,
    metrics: Metrics,
    presence: Presence,
    chance: Chance,
    visits: Mutex<HashMap<VisitId, VisitHandle>>,
    rooms: Mutex<HashMap<RoomId, mpsc::Sender<Event>>>,
    next_room: AtomicU64,
    next_socket: AtomicU64,
    stopping: AtomicBool,
    /// Sockets that have not said hello.
    greeting: Semaphore,
    /// Sockets being served.
    sockets: watch::Sender<usize>,
}

/// The operating system's random numbers.
struct Chance(SystemRandom);

impl Chance {
    fn fresh(&self) -> Result<Fresh, aws_lc_rs::error::Unspecified> {
        let mut stay = [0; 8];
        let mut resume = [0; 24];
        self.0.fill(&mut stay)?;
        self.0.fill(&mut resume)?;
        Ok(Fresh {
            stay: StayId::from_random(u64::from_ne_bytes(stay)),
            resume: ResumeToken::new(URL_SAFE_NO_PAD.encode(resume)),
        })
    }
}

/// The answer to a WHIP or WHEP `POST`.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpJoin {
    /// Last segment of the `Location`.
    pub participant: String,
    /// The SDP answer. Holds the ICE password, hence no derived `Debug`.
    pub answer: String,
    /// The `ETag`, with its quotes (RFC 9725 §4.3.1).
    pub etag: String,
    /// The relay with credentials for this participant, if there is one (RFC 9725 §4.6).
    pub relay: Option<IceServer>,
}

impl std::fmt::Debug for HttpJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpJoin")
            .field("participant", &self.participant)
            .field("etag", &self.etag)
            .finish_non_exhaustive()
    }
}

/// What came of a WHIP or WHEP `PATCH`.
#[derive(Clone, PartialEq, Eq)]
pub enum HttpPatch {
    /// Candidates taken note of: 204. An ICE-lite server learns paths from checks and needs none of them.
    Accepted,
    /// ICE restarted: 200 with this body (`application/trickle-ice-sdpfrag`) and `ETag`.
    Restarted {
        /// The server's new credentials: a secret, hence no derived `Debug`.
        fragment: String,
        /// The new `ETag`, with its quotes.
        etag: String,
    },
}

impl std::fmt::Debug for HttpPatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepted => f.write_str("Accepted"),
            Self::Restarted { etag, .. } => f.debug_struct("Restarted").field("etag", etag).finish_non_exhaustive(),
        }
    }
}

/// How many people wait in a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The visit.
    pub visit: VisitId,
    /// How many.
    pub count: usize,
    /// How long the first of them has waited.
    pub longest: Duration,
}

impl<P: Portal, M: Media> Hub<P, M> {
    /// Starts to look after visits. Must be called inside a tokio runtime: it spawns the task that reads `events`.
    pub fn new(media: M, events: mpsc::Receiver<Event>, portal: Arc<P>, settings: HubSettings) -> Self {
        let shared = Arc::new(Shared {
            portal,
            media,
            settings,
            metrics: Metrics::new(),
            presence: Presence::new(),
            chance: Chance(SystemRandom::new()),
            visits: Mutex::default(),
            rooms: Mutex::default(),
            next_room: AtomicU64::new(1),
            next_socket: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            greeting: Semaphore::new(limits::MAX_GREETING_SOCKETS),
            sockets: watch::Sender::new(0),
        });
        tokio::spawn(route_events(Arc::clone(&shared), events));
        Self { shared }
    }

    /// Serves one WebSocket from its first message to its end.
    ///
    /// The library below should be told to refuse messages longer than [`limits::MAX_MESSAGE_BYTES`], and to answer pings.
    /// `greeting` is dropped when the socket has said hello, or with it: whoever serves strangers bounds by it how many silent
    /// sockets one of them holds.
    pub async fn serve_socket<S, E>(&self, socket: S, greeting: impl Send)
    where
        S: Stream<Item = Result<Frame, E>> + Sink<Frame> + Unpin + Send,
        E: Send,
    {
        socket::serve(&self.shared, socket, greeting).await;
    }

    /// Joins somebody who publishes over WHIP (RFC 9725).
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn whip(&self, identity: Identity, offer: String) -> Result<HttpJoin, JoinError> {
        self.http_join(identity, || HttpKind::Whip, offer).await
    }

    /// Joins somebody who watches over WHEP: the first publishing participant other than itself, or the participant `from`.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn whep(&self, identity: Identity, from: Option<String>, offer: String) -> Result<HttpJoin, JoinError> {
        self.http_join(identity, || HttpKind::Whep { from: from.clone() }, offer)
            .await
    }

    async fn http_join(
        &self,
        identity: Identity,
        kind: impl Fn() -> HttpKind,
        offer: String,
    ) -> Result<HttpJoin, JoinError> {
        if offer.len() > limits::MAX_MESSAGE_BYTES {
            return Err(NegotiateError::Malformed("it is too long".to_owned()).into());
        }
        for _ in 0..JOIN_ATTEMPTS {
            let handle = self.shared.visit(&identity.visit)?;
            let (reply, answer) = oneshot::channel();
            let request = Request::HttpJoin {
                identity: identity.clone(),
                kind: kind(),
                offer: offer.clone(),
                reply,
            };
            if handle.requests.send(request).await.is_ok()
                && let Ok(result) = answer.await
            {
                return result;
            }
            if handle.over.load(Ordering::Acquire) {
                break;
            }
            self.shared.forget(&identity.visit, handle.room);
        }
        Err(JoinError::Stopping)
    }

    /// A `PATCH` of an HTTP participant: trickled candidates, or an ICE restart if `if_match` is `*` (RFC 9725 §4.3).
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn http_patch(
        &self,
        identity: &Identity,
        participant: &str,
        fragment: &str,
        if_match: Option<&str>,
    ) -> Result<HttpPatch, HttpError> {
        let person = identity.person.clone();
        let (participant, if_match) = (participant.to_owned(), if_match.map(str::to_owned));
        let fragment = fragment.to_owned();
        self.ask(&identity.visit, |reply| Request::HttpPatch {
            person,
            participant,
            fragment,
            if_match,
            reply,
        })
        .await
        .unwrap_or(Err(HttpError::NotFound))
    }

    /// A `DELETE` of an HTTP participant.
    ///
    /// # Errors
    /// [`HttpError::NotFound`].
    pub async fn http_leave(&self, identity: &Identity, participant: &str) -> Result<(), HttpError> {
        let (person, participant) = (identity.person.clone(), participant.to_owned());
        self.ask(&identity.visit, |reply| Request::HttpLeave {
            person,
            participant,
            reply,
        })
        .await
        .unwrap_or(Err(HttpError::NotFound))
    }

    /// Asks a visit that is there already.
    async fn ask<T>(&self, visit: &VisitId, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let handle = self.shared.lock_visits().get(visit).cloned()?;
        let (reply, answer) = oneshot::channel();
        handle.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Who waits in these visits. Visits in which nobody waits, or only people who are away, are left out.
    #[must_use]
    pub fn waiting(&self, visits: &[VisitId]) -> Vec<Waiting> {
        let live = self.shared.lock_visits();
        let now = task::now();
        visits
            .iter()
            .filter_map(|visit| {
                let (count, since) = (*live.get(visit)?.waiting.lock().unwrap_or_else(PoisonError::into_inner))?;
                Some(Waiting {
                    visit: visit.clone(),
                    count,
                    longest: now.saturating_duration_since(since),
                })
            })
            .collect()
    }

    /// Whether somebody is in this visit or waits, or was lately and may still come back.
    #[must_use]
    pub fn is_open(&self, visit: &VisitId) -> bool {
        self.shared.lock_visits().contains_key(visit)
    }

    /// Has the quality records of a visit that goes on stored as they are now; returns when that was done, or was tried.
    pub async fn keep_quality(&self, visit: &VisitId) {
        // The reply is never sent, only dropped.
        let _ = self.ask::<()>(visit, |done| Request::KeepQuality { done }).await;
    }

    /// Ends a visit for everybody who is in it, with `ended` and this reason; returns when they have been told.
    /// Never call it from inside a store transaction: it records an event.
    pub async fn close_visit(&self, visit: &VisitId, reason: EndReason) {
        // `None`: nobody is there. The reply is never sent, only dropped.
        let _ = self.ask(visit, |done| Request::End { reason, done }).await;
    }

    /// Tells everybody that the server is stopping and refuses whoever comes; returns when they have been told.
    pub async fn shutdown(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        let visits: Vec<_> = self.shared.lock_visits().values().cloned().collect();
        let mut farewells = Vec::with_capacity(visits.len());
        for visit in visits {
            let (done, told) = oneshot::channel::<()>();
            let cause = Interruption::ServerStopping;
            if visit.requests.send(Request::Interrupt { cause, done }).await.is_ok() {
                farewells.push(told);
            }
        }
        for told in farewells {
            let _ = told.await;
        }
        let mut sockets = self.shared.sockets.subscribe();
        let all_gone = sockets.wait_for(|&count| count == 0);
        if tokio::time::timeout(FAREWELL_TIMEOUT, all_gone).await.is_err() {
            tracing::warn!("some sockets did not close in time");
        }
    }

    /// Registers the metrics of the visits.
    ///
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn register_metrics(&self, registry: &prometheus::Registry) -> Result<(), prometheus::Error> {
        self.shared.metrics.register(registry)
    }
}

impl<P, M> Shared<P, M> {
    fn lock_visits(&self) -> std::sync::MutexGuard<'_, HashMap<VisitId, VisitHandle>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_rooms(&self) -> std::sync::MutexGuard<'_, HashMap<RoomId, mpsc::Sender<Event>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a visit's task off the lists, unless another has taken its place.
    fn forget(&self, visit: &VisitId, room: RoomId) {
        let mut visits = self.lock_visits();
        if visits.get(visit).is_some_and(|handle| handle.room == room) {
            visits.remove(visit);
        }
        drop(visits);
        self.lock_rooms().remove(&room);
    }

    fn new_socket(&self) -> SocketId {
        SocketId(self.next_socket.fetch_add(1, Ordering::Relaxed))
    }
}

impl<P: Portal, M: Media> Shared<P, M> {
    /// The task of a visit; starts one if there is none.
    fn visit(self: &Arc<Self>, visit: &VisitId) -> Result<VisitHandle, JoinError> {
        let mut visits = self.lock_visits();
        // Read under the lock: a stop tells all visits that are listed after it was set.
        if self.stopping.load(Ordering::Acquire) {
            return Err(JoinError::Stopping);
        }
        if let Some(handle) = visits.get(visit) {
            return Ok(handle.clone());
        }
        if visits.len() >= limits::MAX_VISITS {
            return Err(JoinError::Full {
                limit: limits::MAX_VISITS,
            });
        }
        let (requests, inbox) = mpsc::channel(limits::VISIT_QUEUE);
        let (events, media_events) = mpsc::channel(MEDIA_EVENTS);
        let handle = VisitHandle {
            requests,
            room: RoomId(self.next_room.fetch_add(1, Ordering::Relaxed)),
            waiting: Arc::default(),
            over: Arc::default(),
        };
        visits.insert(visit.clone(), handle.clone());
        drop(visits);
        self.lock_rooms().insert(handle.room, events);
        let task = VisitTask::new(Arc::clone(self), visit.clone(), handle.clone(), inbox, media_events);
        let running = tokio::spawn(task.run());
        tokio::spawn(supervise(Arc::clone(self), visit.clone(), running));
        Ok(handle)
    }
}

/// A panic in a visit's task is a bug that ends that visit and no other.
async fn supervise<P: Portal, M>(shared: Arc<Shared<P, M>>, visit: VisitId, running: tokio::task::JoinHandle<()>) {
    let Err(error) = running.await else { return };
    if !error.is_panic() {
        return;
    }
    tracing::error!(%visit, "a broken invariant ended the visit's task; everybody may rejoin");
    let cause = Interruption::ServerFault;
    let event = VisitEvent {
        visit,
        change: Change::Interrupted { cause },
    };
    shared.metrics.count_event(&event);
    if let Err(error) = shared.portal.record(event).await {
        tracing::error!(%error, "the interruption could not be stored");
    }
}

/// Carries the media core's events to the visits they are about.
async fn route_events<P, M>(shared: Arc<Shared<P, M>>, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        let room = match event {
            Event::Connected { room, .. }
            | Event::Disconnected { room, .. }
            | Event::Reconnected { room, .. }
            | Event::Closed { room, .. }
            | Event::Track { room, .. }
            | Event::Sending { room, .. }
            | Event::Quality { room, .. }
            | Event::PictureAtRisk { room, .. }
            | Event::Uplink { room, .. }
            | Event::RoomFailed { room } => room,
        };
        if matches!(
            event,
            Event::Quality { .. } | Event::Uplink { .. } | Event::PictureAtRisk { .. }
        ) {
            tracing::debug!(?event, "adaptation");
        }
        let mut rooms = shared.lock_rooms();
        let Some(visit) = rooms.get(&room) else { continue };
        // Waiting here would hold up all other visits.
        if let Err(mpsc::error::TrySendError::Full(_)) = visit.try_send(event) {
            shared.metrics.visits_lagging.inc();
            rooms.remove(&room);
        }
    }
}
