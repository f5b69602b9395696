//! Pretended sockets, media core and portal for the hub's tests.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, Stream};
use housecall_sfu::{
    Answer, Event, IceCredentials, Kind, Mid, NegotiateError, ParticipantId, ParticipantStats, PublishedTrack,
    RelayAccess, RelayUserId, RoomId, Slot, Snapshot, Source, Target, TrackChange, TrackId,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::{Hub, HubSettings};
use crate::frame::{CloseCode, Frame};
use crate::ids::{DisplayName, PersonId, VisitId};
use crate::media::Media;
use crate::message::RoleName;
use crate::portal::{AuthError, Identity, Portal, RecordError, VisitEvent};
use crate::quality::QualityRecord;

/// A media core that answers every offer with two receiving lines and remembers the rest.
#[derive(Clone, Default)]
pub(super) struct FakeMedia(pub(super) Arc<Mutex<FakeState>>);

#[derive(Default)]
pub(super) struct FakeState {
    rooms: HashMap<RoomId, Vec<ParticipantId>>,
    sources: HashMap<(ParticipantId, Mid), Option<TrackId>>,
    pub(super) relay_ended: Vec<RelayUserId>,
    pub(super) break_on_target: bool,
    pub(super) figures: HashMap<ParticipantId, ParticipantStats>,
}

impl FakeMedia {
    pub(super) fn source(&self, participant: ParticipantId, mid: &str) -> Option<TrackId> {
        let state = self.0.lock().unwrap();
        state
            .sources
            .get(&(participant, Mid::new(mid).unwrap()))
            .copied()
            .flatten()
    }

    pub(super) fn newest(&self) -> (RoomId, ParticipantId) {
        let state = self.0.lock().unwrap();
        let all = state
            .rooms
            .iter()
            .flat_map(|(room, people)| people.iter().map(move |p| (*room, *p)));
        all.max_by_key(|(_, participant)| *participant)
            .expect("somebody is connected")
    }

    pub(super) fn rooms(&self) -> usize {
        self.0.lock().unwrap().rooms.len()
    }
}

impl Media for FakeMedia {
    fn create_room(&self, room: RoomId, _max_participants: usize) -> Result<(), NegotiateError> {
        self.0.lock().unwrap().rooms.entry(room).or_default();
        Ok(())
    }

    fn close_room(&self, room: RoomId) {
        self.0.lock().unwrap().rooms.remove(&room);
    }

    async fn negotiate(
        &self,
        room: RoomId,
        participant: ParticipantId,
        offer: String,
    ) -> Result<Answer, NegotiateError> {
        if offer == "bad" {
            return Err(NegotiateError::Malformed("no".to_owned()));
        }
        let mut state = self.0.lock().unwrap();
        let people = state.rooms.get_mut(&room).ok_or(NegotiateError::NoSuchRoom)?;
        if !people.contains(&participant) {
            people.push(participant);
        }
        let slot = |mid, kind| Slot {
            mid: Mid::new(mid).unwrap(),
            kind,
        };
        Ok(Answer {
            sdp: "m=audio 9 X 111\r\n".to_owned(),
            published: Vec::new(),
            slots: vec![slot("2", Kind::Audio), slot("3", Kind::Video)],
            ice: IceCredentials {
                ufrag: "ufrag".to_owned(),
                pwd: "p".repeat(22),
            },
        })
    }

    async fn restart_ice(
        &self,
        _room: RoomId,
        _participant: ParticipantId,
        _remote: IceCredentials,
    ) -> Result<IceCredentials, NegotiateError> {
        Ok(IceCredentials {
            ufrag: "again".to_owned(),
            pwd: "q".repeat(22),
        })
    }

    fn remove_participant(&self, room: RoomId, participant: ParticipantId) {
        if let Some(people) = self.0.lock().unwrap().rooms.get_mut(&room) {
            people.retain(|p| *p != participant);
        }
    }

    fn relay_access(&self, room: RoomId, user: RelayUserId) -> Option<RelayAccess> {
        Some(RelayAccess {
            urls: vec![format!("turn:192.0.2.1:{}?transport=udp", room.0)],
            username: format!("1800000000:{user}"),
            password: "secret".to_owned(),
        })
    }

    fn end_relay_user(&self, _room: RoomId, user: RelayUserId) {
        self.0.lock().unwrap().relay_ended.push(user);
    }

    fn set_source(&self, _room: RoomId, participant: ParticipantId, mid: Mid, source: Option<TrackId>) {
        self.0.lock().unwrap().sources.insert((participant, mid), source);
    }

    fn set_target(&self, _room: RoomId, _participant: ParticipantId, _mid: Mid, _target: Target) {
        let broken = self.0.lock().unwrap().break_on_target;
        assert!(!broken, "a bug, on purpose");
    }

    async fn snapshot(&self, _room: RoomId, participants: Vec<ParticipantId>) -> Option<Snapshot> {
        let figures = self.0.lock().unwrap().figures.clone();
        let known = participants
            .into_iter()
            .filter_map(|id| Some((id, figures.get(&id)?.clone())));
        Some(Snapshot {
            participants: known.collect(),
            ..Snapshot::default()
        })
    }
}

/// A portal whose sessions read `visit/person/role`, and whose store can be made to hang or fail.
pub(super) struct FakePortal {
    events: Mutex<Vec<VisitEvent>>,
    pub(super) kept: Mutex<Vec<QualityRecord>>,
    pub(super) failing: AtomicBool,
    pub(super) open: watch::Sender<bool>,
}

impl Portal for FakePortal {
    async fn authenticate(&self, session: &str) -> Result<Identity, AuthError> {
        match session {
            "ended" => return Err(AuthError::VisitEnded),
            "cancelled" => return Err(AuthError::VisitCancelled),
            "down" => return Err(AuthError::Unavailable),
            _ => {}
        }
        let mut parts = session.split('/');
        let (Some(visit), Some(person), Some(role)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(AuthError::SessionExpired);
        };
        Ok(identity(visit, person, role))
    }

    async fn record(&self, event: VisitEvent) -> Result<(), RecordError> {
        let mut open = self.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
        if self.failing.load(Ordering::Relaxed) {
            return Err(RecordError("disk full".into()));
        }
        self.events.lock().unwrap().push(event);
        Ok(())
    }

    async fn keep_quality(&self, _visit: VisitId, records: Vec<QualityRecord>) -> Result<(), RecordError> {
        if self.failing.load(Ordering::Relaxed) {
            return Err(RecordError("disk full".into()));
        }
        self.kept.lock().unwrap().extend(records);
        Ok(())
    }
}

pub(super) fn identity(visit: &str, person: &str, role: &str) -> Identity {
    Identity {
        visit: VisitId::new(visit).unwrap(),
        person: PersonId::new(person).unwrap(),
        role: match role {
            "clinician" => RoleName::Clinician,
            "guest" => RoleName::Guest,
            _ => RoleName::Patient,
        },
        name: DisplayName::new(person),
        admitted: false,
        clinician: PersonId::new("doctor"),
    }
}

/// One end of a pretended WebSocket: the server's.
pub(super) struct Wire {
    from_client: mpsc::UnboundedReceiver<Frame>,
    to_client: mpsc::UnboundedSender<Frame>,
    stuck: Arc<AtomicBool>,
}

impl Stream for Wire {
    type Item = Result<Frame, Infallible>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.from_client.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

impl Sink<Frame> for Wire {
    type Error = ();
    fn poll_ready(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        // A reader that is stuck stays stuck: nobody needs to be woken.
        if self.stuck.load(Ordering::Relaxed) {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }
    fn start_send(self: Pin<&mut Self>, frame: Frame) -> Result<(), ()> {
        self.to_client.send(frame).map_err(|_| ())
    }
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }
}

/// The other end: the client's.
pub(super) struct Client {
    to_server: Option<mpsc::UnboundedSender<Frame>>,
    pub(super) from_server: mpsc::UnboundedReceiver<Frame>,
    pub(super) stuck: Arc<AtomicBool>,
    pub(super) served: tokio::task::JoinHandle<()>,
}

impl Client {
    pub(super) fn send(&self, frame: Frame) {
        let socket = self.to_server.as_ref().expect("the socket is open");
        // A server that has closed does not read any more, as in life.
        let _ = socket.send(frame);
    }

    pub(super) fn say(&self, message: &Value) {
        self.send(Frame::Text(message.to_string()));
    }

    /// Drops the socket without a word.
    pub(super) fn vanish(&mut self) {
        self.to_server = None;
    }

    /// The next text message.
    pub(super) async fn hear(&mut self) -> Value {
        loop {
            match self.from_server.recv().await {
                Some(Frame::Text(text)) => return serde_json::from_str(&text).expect("JSON"),
                Some(Frame::Ping) => {}
                Some(Frame::Close(code)) => panic!("closed: {:?}", code.map(CloseCode::name)),
                _ => panic!("no message came"),
            }
        }
    }

    /// Passes over messages until one is as wanted.
    pub(super) async fn hear_until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.hear().await;
            if wanted(&message) {
                return message;
            }
        }
    }

    pub(super) async fn hear_type(&mut self, kind: &str) -> Value {
        self.hear_until(|message| message["type"] == kind).await
    }

    /// The close code, after whatever comes before it; the server is then done with this socket.
    pub(super) async fn closed(&mut self) -> CloseCode {
        loop {
            match self.from_server.recv().await {
                Some(Frame::Close(Some(code))) => {
                    (&mut self.served).await.expect("no panic");
                    return code;
                }
                Some(_) => {}
                None => panic!("ended without a close"),
            }
        }
    }
}

pub(super) struct House {
    pub(super) hub: Hub<FakePortal, FakeMedia>,
    pub(super) media: FakeMedia,
    pub(super) portal: Arc<FakePortal>,
    pub(super) events: mpsc::Sender<Event>,
}

impl House {
    pub(super) fn new() -> Self {
        let portal = Arc::new(FakePortal {
            events: Mutex::default(),
            kept: Mutex::default(),
            failing: AtomicBool::new(false),
            open: watch::Sender::new(true),
        });
        let media = FakeMedia::default();
        let (events, receiver) = mpsc::channel(16);
        let hub = Hub::new(media.clone(), receiver, Arc::clone(&portal), HubSettings::default());
        Self {
            hub,
            media,
            portal,
            events,
        }
    }

    pub(super) fn open(&self) -> Client {
        let (to_server, from_client) = mpsc::unbounded_channel();
        let (to_client, from_server) = mpsc::unbounded_channel();
        let stuck = Arc::new(AtomicBool::new(false));
        let wire = Wire {
            from_client,
            to_client,
            stuck: Arc::clone(&stuck),
        };
        let hub = self.hub.clone();
        let served = tokio::spawn(async move { hub.serve_socket(wire, ()).await });
        Client {
            to_server: Some(to_server),
            from_server,
            stuck,
            served,
        }
    }

    /// Says hello and has been welcomed.
    pub(super) async fn join(&self, session: &str) -> (Client, Value) {
        let mut client = self.open();
        client.say(&json!({"type": "hello", "session": session}));
        let welcome = client.hear_type("welcome").await;
        (client, welcome)
    }

    /// A participant's first packet of a track.
    pub(super) async fn publish(&self, (room, participant): (RoomId, ParticipantId), track: u64, kind: Kind) {
        let track = PublishedTrack {
            track: TrackId(track),
            mid: Mid::new("0").unwrap(),
            kind,
            source: match kind {
                Kind::Audio => Source::Microphone,
                Kind::Video => Source::Camera,
            },
        };
        let change = TrackChange::Started;
        self.events
            .send(Event::Track {
                room,
                participant,
                track,
                change,
            })
            .await
            .expect("the hub listens");
    }

    pub(super) fn event_names(&self) -> Vec<&'static str> {
        self.portal
            .events
            .lock()
            .unwrap()
            .iter()
            .map(VisitEvent::name)
            .collect()
    }

    /// Lets everything that can happen without time passing happen, and a little more.
    pub(super) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
