//! One shard's rooms, without socket, thread or clock: the whole media core as the driver sees it.
//!
//! Calling contract: after any number of `handle_*` calls, drain [`Worker::poll_transmit`] and [`Worker::poll_event`], then come
//! back at [`Worker::poll_timeout`] at the latest. Handshakes cost a thousand times what a packet costs: their datagrams wait, and
//! `poll_transmit` takes a step of one when nothing else is left. [`Worker::poll_ready`] takes none: for a driver that has media to look at
//! in between.
//!
//! Output is made viewer by viewer when it is polled: received packets wait in their track's ring, and a participant that has
//! anything to be sent stands in `pending`. So all packets of a burst for one viewer are sealed one behind the other into the
//! send batch, and the ring is the only queue there is. What a panic leaves in the batch is whole: packets are put there when sealed.

mod check;
pub(crate) mod fuzz;
mod output;
mod streams;
mod uplink;

use output::Frames;

use std::cell::Cell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use rustc_hash::FxHashMap;
use slab::Slab;

use crate::api::{Event, IceCredentials, NegotiateError, Output, ParticipantStats, Snapshot, TrackChange};
use crate::batch::Batch;
use crate::clock::WallClock;
use crate::command::Command;
use crate::counters::{Count, Counters, Sizes};
use crate::demux::{self, Datagram};
use crate::dtls::Certificate;
use crate::ids::{Mid, ParticipantId, RoomId, TrackId};
use crate::lateness::Lateness;
use crate::limits;
use crate::load::Load;
use crate::media::{Bitrate, Kind, Layer, Target};
use crate::member::{Member, MemberKey, Received};
use crate::path::{Path, StreamId, StreamKind};
use crate::published::{Published, TrackKey};
use crate::random::Random;
use crate::relay::{Relay, Relayed};
use crate::send::Pacer;
use crate::settings::Adaptation;
use crate::steering::Tag;
use crate::timers::Timers;
use crate::transport::{Transport, TransportEvent, stun_local_ufrag};

/// What a worker needs to know from the start.
pub(crate) struct WorkerConfig {
    /// Its number, part of the track ids it gives out.
    pub(crate) shard: u16,
    /// Host candidates for answers, best first.
    pub(crate) candidates: Vec<SocketAddr>,
    /// Those of them that take connections as well.
    pub(crate) tcp_candidates: Vec<SocketAddr>,
    /// The process-wide DTLS identity.
    pub(crate) certificate: Arc<Certificate>,
    /// Start bitrate hinted to publishers, kbit/s.
    pub(crate) start_kbps: u32,
    /// Below this a viewer is sent no picture.
    pub(crate) picture_floor: Bitrate,
    /// Whether what a viewer is sent follows what its path carries.
    pub(crate) adaptation: Adaptation,
    /// What all our names in ICE begin with.
    pub(crate) tag: Tag,
    /// Datagrams one send call can hold.
    pub(crate) max_segments: usize,
    /// Ties `Instant`s to wall-clock time, for sender reports.
    pub(crate) wall: WallClock,
}

/// A room's members.
pub(crate) struct Room {
    pub(crate) members: Vec<MemberKey>,
    pub(crate) max_participants: usize,
}

/// A key frame that a viewer is waiting for.
#[derive(Clone, Copy)]
pub(crate) struct KeyFrameWish {
    pub(crate) track: TrackKey,
    pub(crate) layer: Layer,
}

/// Everything but the members and tracks themselves that handling one of them may touch.
pub(crate) struct Shared {
    pub(crate) config: WorkerConfig,
    pub(crate) random: Random,
    pub(crate) counters: Counters,
    pub(crate) events: VecDeque<Event>,
    /// TURN, if it is on.
    pub(crate) relay: Relay,
    /// Connections that have not taken all they were given, and since when the oldest of it waits.
    pub(crate) stream_queues: FxHashMap<StreamId, Instant>,
    /// Key frames wished for by viewers, on their way to the publishers.
    pub(crate) wishes: Vec<KeyFrameWish>,
    /// Some of the packets that were forwarded since the last flush: what they were, and when they had arrived.
    pub(crate) samples: Samples,
    /// When the socket was last full, and video was dropped for it.
    pub(crate) full_socket: Option<Instant>,
}

impl Shared {
    /// Whether what viewers miss may have been dropped here: then sending more of it helps nobody.
    pub(crate) fn has_dropped(&self, now: Instant) -> bool {
        self.full_socket
            .is_some_and(|at| now.saturating_duration_since(at) < limits::FULL_SOCKET_PAUSE)
    }
}

/// Arrivals of packets that were forwarded, a few of each flush.
#[derive(Default)]
pub(crate) struct Samples {
    since: u32,
    taken: ArrayVec<(Kind, Instant), { limits::LATENCY_SAMPLES_PER_FLUSH }>,
}

impl Samples {
    /// Notes a packet, or lets it pass.
    #[inline]
    pub(crate) fn note(&mut self, kind: Kind, arrival: Instant) {
        self.since += 1;
        if self.since >= limits::LATENCY_SAMPLE && self.taken.try_push((kind, arrival)).is_ok() {
            self.since = 0;
        }
    }
}

/// See the module.
pub(crate) struct Worker {
    pub(crate) shared: Shared,
    pub(crate) rooms: FxHashMap<RoomId, Room>,
    pub(crate) members: Slab<Member>,
    pub(crate) tracks: Slab<Published>,
    pub(crate) by_id: FxHashMap<ParticipantId, MemberKey>,
    pub(crate) by_ufrag: FxHashMap<Box<str>, MemberKey>,
    by_path: FxHashMap<Path, MemberKey>,
    /// The path of the last datagram: a burst is looked up once.
    last_path: Option<(Path, MemberKey)>,
    /// Tracks with packets their viewers have not been offered yet.
    dirty: Vec<TrackKey>,
    /// Tracks whose packets are kept until their frame is whole, or until the tick.
    held: Vec<TrackKey>,
    /// Members that may have something to send, each once.
    pending: VecDeque<MemberKey>,
    pacer: Pacer,
    lateness: Lateness,
    /// DTLS datagrams that wait for their turn.
    handshakes: VecDeque<(Path, Box<[u8]>)>,
    /// When each member is to be looked at, by the number of its key.
    pub(crate) timers: Timers,
    /// DTLS goodbyes of members that are gone.
    farewells: VecDeque<(Path, Vec<u8>)>,
    batch: Batch,
    /// Whose datagram or command is being handled: what a panic ends.
    current: Option<RoomId>,
    told: Sizes,
    /// What was sent, without the counters that have not been taken.
    output: Output,
    next_track: u64,
    /// See [`_NOT_SHARED`].
    not_shared: PhantomData<Cell<()>>,
}

/// A worker belongs to one thread: no other can have so much as a reference to it, so nothing on the packet path needs a lock, and nothing has
/// one. This does not compile if [`Worker`] is `Sync`, for then both implementations fit.
const _NOT_SHARED: fn() = || {
    trait NotSync<Witness> {
        fn holds() {}
    }
    impl<T> NotSync<()> for T {}
    impl<T: Sync> NotSync<u8> for T {}
    let () = <Worker as NotSync<_>>::holds();
};

impl Worker {
    /// A worker without rooms.
    #[must_use]
    pub(crate) fn new(config: WorkerConfig, random: Random) -> Self {
        let pacer = Pacer::new(config.wall.origin());
        let batch = Batch::new(config.max_segments);
        let lateness = Lateness::new(config.wall.origin());
        Self {
            next_track: (u64::from(config.shard) << 48) + 1,
            shared: Shared {
                config,
                random,
                counters: Counters::default(),
                events: VecDeque::new(),
                relay: Relay::off(),
                stream_queues: FxHashMap::default(),
                // One for each line of the member that is being filled.
                wishes: Vec::with_capacity(limits::MAX_LINES),
                samples: Samples::default(),
                full_socket: None,
            },
            rooms: FxHashMap::default(),
            members: Slab::new(),
            tracks: Slab::new(),
            by_id: FxHashMap::default(),
            by_ufrag: FxHashMap::default(),
            by_path: FxHashMap::default(),
            last_path: None,
            dirty: Vec::new(),
            held: Vec::new(),
            pending: VecDeque::new(),
            pacer,
            lateness,
            handshakes: VecDeque::new(),
            timers: Timers::default(),
            farewells: VecDeque::new(),
            batch,
            current: None,
            told: Sizes::default(),
            output: Output::default(),
            not_shared: PhantomData,
        }
    }

    /// Lets clients come through TURN from now on.
    pub(crate) fn set_relay(&mut self, relay: Relay) {
        self.shared.relay = relay;
    }

    /// Takes one datagram from the network, or one message of a stream. SRTP is opened in place, so `datagram` is scribbled over.
    pub(crate) fn handle_datagram(&mut self, path: Path, datagram: &mut [u8], now: Instant) {
        self.current = None;
        let is_turn = matches!(demux::classify(datagram), Some(Datagram::Turn | Datagram::ChannelData));
        match path.is_stream() {
            Some((_, StreamKind::TurnTcp | StreamKind::TurnTls)) => self.handle_turn(path, datagram, now),
            None if is_turn => self.handle_turn(path, datagram, now),
            None | Some((_, StreamKind::IceTcp)) => self.handle_plain(path, datagram, now),
        }
    }

    fn handle_turn(&mut self, path: Path, datagram: &mut [u8], now: Instant) {
        match self.shared.relay.handle(path, datagram, now) {
            Relayed::Payload(path, payload) => {
                self.count(Count::TurnIn, 1);
                if let Some(payload) = datagram.get_mut(payload) {
                    self.handle_plain(path, payload, now);
                }
            }
            Relayed::Request => self.count(Count::TurnIn, 1),
            Relayed::Nothing => self.count(Count::TurnRefused, 1),
        }
    }

    /// A datagram that is not TURN, or what was in one.
    fn handle_plain(&mut self, path: Path, datagram: &mut [u8], now: Instant) {
        match demux::classify(datagram) {
            Some(Datagram::Stun) => self.handle_stun(path, datagram, now),
            Some(Datagram::Dtls) => self.queue_dtls(path, datagram),
            Some(Datagram::Rtp) => self.handle_rtp(path, datagram, now),
            Some(Datagram::Rtcp) => self.handle_rtcp(path, datagram, now),
            Some(Datagram::Turn | Datagram::ChannelData) | None => self.count(Count::UnknownProtocol, 1),
        }
    }

    fn handle_stun(&mut self, path: Path, datagram: &[u8], now: Instant) {
        self.count(Count::StunIn, 1);
        let key = stun_local_ufrag(datagram)
            .and_then(|ufrag| self.by_ufrag.get(ufrag))
            .copied();
        let Some(key) = key else {
            return self.count(Count::UnknownSource, 1);
        };
        let Some(member) = self.enter(key) else { return };
        match member.transport.handle_stun(path, datagram, now) {
            // The path belongs to whoever proved it last: a NAT may have given it to another participant and back.
            Ok(()) => {
                self.last_path = None;
                self.by_path.insert(path, key);
            }
            Err(_) => self.count(Count::BadStun, 1),
        }
        self.after_transport(key, now);
    }

    /// DTLS waits: see [`Self::handle_handshake`].
    fn queue_dtls(&mut self, path: Path, datagram: &[u8]) {
        self.count(Count::DtlsIn, 1);
        if self.member_at(path).is_none() {
            return self.count(Count::UnknownSource, 1);
        }
        if self.handshakes.len() == limits::MAX_WAITING_HANDSHAKES || datagram.len() > limits::MAX_DTLS_DATAGRAM {
            return self.count(Count::HandshakesDropped, 1);
        }
        self.handshakes.push_back((path, datagram.into()));
    }

    /// Hands the DTLS datagram that waits for longest to its transport: up to half a millisecond of elliptic curves. False if none waits.
    pub(crate) fn handle_handshake(&mut self, now: Instant) -> bool {
        let Some((path, datagram)) = self.handshakes.pop_front() else {
            return false;
        };
        // The path may have changed hands, or be gone.
        let Some(key) = self.member_at(path) else {
            self.count(Count::UnknownSource, 1);
            return true;
        };
        if let Some(member) = self.enter(key)
            && member.transport.handle_dtls(path, &datagram, now).is_err()
        {
            self.count(Count::UnknownSource, 1);
        }
        self.after_transport(key, now);
        true
    }

    /// Whether [`Self::handle_handshake`] has something to do.
    pub(crate) fn has_handshakes(&self) -> bool {
        !self.handshakes.is_empty()
    }

    fn handle_rtp(&mut self, path: Path, datagram: &mut [u8], now: Instant) {
        let Some(key) = self.member_at(path) else {
            return self.count(Count::UnknownSource, 1);
        };
        let Some(member) = self.members.get_mut(key.0) else {
            return;
        };
        self.current = Some(member.room);
        self.lateness.note_media();
        match member.handle_rtp(datagram, &mut self.tracks, &mut self.shared, now) {
            Received::Stored { track, announce } => {
                let published = &mut self.tracks[track.0];
                if !published.dirty {
                    published.dirty = true;
                    self.dirty.push(track);
                }
                if announce {
                    let event = published.event(TrackChange::Started);
                    self.shared.events.push_back(event);
                }
            }
            Received::Nothing => {}
            Received::Dropped(cause) => self.count(cause, 1),
        }
        if self.members[key.0]
            .uplink
            .as_ref()
            .is_some_and(|uplink| uplink.is_due(now))
        {
            self.steer_uplink(key, now);
        }
        self.make_pending(key);
    }

    fn handle_rtcp(&mut self, path: Path, datagram: &mut [u8], now: Instant) {
        let Some(key) = self.member_at(path) else {
            return self.count(Count::UnknownSource, 1);
        };
        let Some(member) = self.members.get_mut(key.0) else {
            return;
        };
        self.current = Some(member.room);
        if let Err(cause) = member.handle_rtcp(datagram, &mut self.tracks, &mut self.shared, now) {
            self.count(cause, 1);
        }
        self.make_pending(key);
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.lateness.note_turn(self.timers.first().map(|(at, _)| at), now);
        while let Some(key) = self.timers.pop_due(now).map(MemberKey) {
            let Some(member) = self.members.get_mut(key.0) else {
                continue;
            };
            self.current = Some(member.room);
            member.transport.handle_timeout(now);
            self.update_activity(key, now);
            self.after_transport(key, now);
        }
        self.shared.relay.handle_timeout(now);
        if self.pacer.poll_timeout().is_some_and(|tick| tick <= now) {
            // What has just come leaves with the rest, frames that are not whole included.
            self.offer_new_packets(Frames::AsTheyAre, now);
        }
        while let Some(key) = self.pacer.poll_due(now) {
            if let Some(member) = self.members.get_mut(key.0) {
                member.waits = false;
                self.make_pending(key);
            }
        }
        self.current = None;
    }

    /// Takes in how busy the shard's thread was.
    pub(crate) fn handle_load(&mut self, load: Load) {
        self.pacer.handle_load(load);
    }

    /// Carries out a command. Answers go out by the command's own channel.
    pub(crate) fn handle_command(&mut self, command: Command, now: Instant) {
        self.current = Some(command.room());
        match command {
            Command::CreateRoom { room, max_participants } => {
                self.rooms.entry(room).or_insert(Room {
                    members: Vec::new(),
                    max_participants,
                });
            }
            Command::CloseRoom { room } => {
                let members = self.rooms.get(&room).map(|room| room.members.clone());
                for key in members.unwrap_or_default() {
                    self.say_goodbye(key);
                }
                self.close_room(room);
            }
            Command::Negotiate {
                room,
                participant,
                offer,
                reply,
            } => {
                let answer = self.negotiate(room, participant, &offer, now);
                let count = if answer.is_ok() {
                    Count::OffersAnswered
                } else {
                    Count::OffersRefused
                };
                self.count(count, 1);
                // The asker may have gone; the session stands all the same until it is removed.
                let _ = reply.send(answer);
            }
            Command::RestartIce {
                room,
                participant,
                remote,
                reply,
            } => {
                let _ = reply.send(self.restart_ice(room, participant, remote, now));
            }
            Command::RemoveParticipant { room, participant } => {
                if let Some(key) = self.find(room, participant) {
                    self.say_goodbye(key);
                    self.remove_member(key);
                }
            }
            Command::EndRelayUser { user, .. } => self.shared.relay.end_user(user),
            Command::SetSource {
                room,
                participant,
                mid,
                source,
            } => self.set_source(room, participant, mid, source),
            Command::SetTarget {
                room,
                participant,
                mid,
                target,
            } => self.set_target(room, participant, mid, target, now),
            Command::Stats {
                room,
                participant,
                reply,
            } => {
                let _ = reply.send(self.stats(room, participant, now));
            }
            Command::Snapshot {
                room,
                participants,
                reply,
            } => {
                let _ = reply.send(self.snapshot(room, &participants, now));
            }
            #[cfg(test)]
            Command::Panic { .. } => panic!("an invariant that a test broke"),
            #[cfg(test)]
            Command::Run { work, .. } => work(self, now),
        }
        self.current = None;
    }

    /// What happened, oldest first.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called, and what for.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let tick = self.pacer.poll_timeout().map(|at| (at, "pacer tick"));
        let timer = self.timers.first().map(|(at, key)| {
            let what = self
                .members
                .get(key)
                .map_or("a member that left", |member| member.scheduled_for);
            (at, what)
        });
        let relay = self.shared.relay.poll_timeout().map(|at| (at, "relay allocation"));
        let promise = self.lateness.poll_timeout().map(|at| (at, "to be back in time"));
        let all = tick.into_iter().chain(timer).chain(relay).chain(promise);
        all.min_by_key(|(at, _)| *at)
    }

    /// Ends the room whose packet, timer or command was being handled when a panic struck.
    pub(crate) fn fail_current_room(&mut self) {
        let Some(room) = self.current.take() else { return };
        self.count(Count::RoomsFailed, 1);
        self.close_room(room);
        self.shared.events.push_back(Event::RoomFailed { room });
    }

    pub(crate) fn count(&mut self, count: Count, by: u64) {
        self.shared.counters.add(count, by);
    }

    /// The counters since the last call, and how sizes have changed since then.
    pub(crate) fn take_counters(&mut self) -> (Counters, Sizes) {
        let sizes = Sizes {
            rooms: self.rooms.len() as i64,
            participants: self.members.len() as i64,
            tracks: self.tracks.len() as i64,
            slots: self.members.iter().map(|(_, member)| member.slots.len() as i64).sum(),
            paths: self.paths_in_use(),
            allocations: self.shared.relay.allocations() as i64,
        };
        let change = sizes - self.told;
        self.told = sizes;
        let relay = self.shared.relay.take_counters();
        for (count, by) in [
            (Count::TurnAllocated, relay.allocated),
            (Count::TurnChallenged, relay.challenged),
            (Count::TurnDenied, relay.refused),
            (Count::TurnOverBudget, relay.over_budget),
        ] {
            self.count(count, by);
        }
        self.output = self.output + output(&self.shared.counters);
        (std::mem::take(&mut self.shared.counters), change)
    }

    pub(crate) fn next_track_id(&mut self) -> TrackId {
        let id = TrackId(self.next_track);
        self.next_track += 1;
        id
    }

    pub(crate) fn find(&self, room: RoomId, participant: ParticipantId) -> Option<MemberKey> {
        let key = *self.by_id.get(&participant)?;
        self.members
            .get(key.0)
            .is_some_and(|member| member.room == room)
            .then_some(key)
    }

    fn enter(&mut self, key: MemberKey) -> Option<&mut Member> {
        let member = self.members.get_mut(key.0)?;
        self.current = Some(member.room);
        Some(member)
    }

    fn member_at(&mut self, path: Path) -> Option<MemberKey> {
        if let Some((last, key)) = self.last_path
            && last == path
        {
            return Some(key);
        }
        let key = *self.by_path.get(&path)?;
        self.last_path = Some((path, key));
        Some(key)
    }

    /// Takes in what a member's transport says after it was handed something.
    pub(crate) fn after_transport(&mut self, key: MemberKey, now: Instant) {
        while let Some(member) = self.members.get_mut(key.0) {
            let (room, participant) = (member.room, member.id);
            let Some(event) = member.transport.poll_event() else {
                break;
            };
            match event {
                TransportEvent::NewPath(path) => {
                    self.last_path = None;
                    self.by_path.insert(path, key);
                }
                TransportEvent::PathDropped(path) => {
                    self.last_path = None;
                    if self.by_path.get(&path) == Some(&key) {
                        self.by_path.remove(&path);
                    }
                }
                TransportEvent::Connected { profile, handshake } => {
                    member.handle_connected(now);
                    self.count(Count::Connected, 1);
                    let srtp_profile = profile.name();
                    self.shared.events.push_back(Event::Connected {
                        room,
                        participant,
                        handshake,
                        srtp_profile,
                    });
                }
                TransportEvent::Disconnected => self.shared.events.push_back(Event::Disconnected { room, participant }),
                TransportEvent::Reconnected => {
                    self.shared.events.push_back(Event::Reconnected { room, participant });
                    self.update_activity(key, now);
                }
                TransportEvent::Closed(reason) => {
                    self.remove_member(key);
                    self.shared.events.push_back(Event::Closed {
                        room,
                        participant,
                        reason: reason.as_str(),
                    });
                    return;
                }
            }
        }
        self.make_pending(key);
    }

    /// Notices a member's layers that were switched off, and lets their viewers look for others.
    fn update_activity(&mut self, key: MemberKey, now: Instant) {
        let Some(member) = self.members.get(key.0) else {
            return;
        };
        for track in &member.tracks {
            let published = &mut self.tracks[track.0];
            if published.update_activity(now) && !published.dirty {
                published.dirty = true;
                self.dirty.push(*track);
            }
        }
        self.look_at_uplink(key, now);
    }

    /// Takes a member that left out of the path index.
    pub(crate) fn forget_paths(&mut self, key: MemberKey, transport: &Transport) {
        self.last_path = None;
        for path in transport.paths() {
            if self.by_path.get(&path) == Some(&key) {
                self.by_path.remove(&path);
            }
        }
    }

    /// Closes a member's transport, so that its peer knows at once. The member is then to be removed.
    fn say_goodbye(&mut self, key: MemberKey) {
        let Some(member) = self.members.get_mut(key.0) else {
            return;
        };
        member.transport.close();
        let mut space = [0; limits::MAX_DATAGRAM];
        while self.farewells.len() < limits::MAX_FAREWELLS
            && let Some((path, len)) = member.transport.poll_transmit(&mut space)
        {
            self.farewells.push_back((path, space[..len].to_vec()));
        }
        // The paths it drops must leave the index; that it has closed needs no event, whoever asked for it knows.
        while let Some(event) = member.transport.poll_event() {
            if let TransportEvent::PathDropped(path) = event
                && self.by_path.get(&path) == Some(&key)
            {
                self.by_path.remove(&path);
            }
        }
    }

    fn set_source(&mut self, room: RoomId, participant: ParticipantId, mid: Mid, source: Option<TrackId>) {
        let Some(key) = self.find(room, participant) else {
            return;
        };
        let found = source.and_then(|wanted| {
            self.tracks
                .iter()
                .find(|(_, track)| track.id == wanted && track.room == room)
                .map(|(index, _)| TrackKey(index))
        });
        let Some(slot) = self.members[key.0].slots.iter_mut().find(|slot| slot.mid() == mid) else {
            return;
        };
        let found = found.filter(|track| self.tracks[track.0].kind == slot.kind());
        let before = slot.source;
        slot.set_source(found, &self.tracks);
        for track in before.into_iter().chain(found) {
            self.refresh_viewers(track);
        }
        self.make_pending(key);
    }

    /// Recomputes who watches a track from the slots that point at it.
    pub(crate) fn refresh_viewers(&mut self, track: TrackKey) {
        let Some(published) = self.tracks.get_mut(track.0) else {
            return;
        };
        let Some(room) = self.rooms.get(&published.room) else {
            return;
        };
        published.viewers.clear();
        for key in &room.members {
            let watches = |member: &Member| member.slots.iter().any(|slot| slot.source == Some(track));
            if self.members.get(key.0).is_some_and(watches) {
                published.viewers.push(*key);
            }
        }
    }

    fn set_target(&mut self, room: RoomId, participant: ParticipantId, mid: Mid, target: Target, now: Instant) {
        let Some(key) = self.find(room, participant) else {
            return;
        };
        let member = &mut self.members[key.0];
        let path_is_limited = member.path_is_limited();
        if let Some(slot) = member.slots.iter_mut().find(|slot| slot.mid() == mid) {
            slot.set_target(target, path_is_limited, now);
        }
        self.make_pending(key);
    }

    fn restart_ice(
        &mut self,
        room: RoomId,
        participant: ParticipantId,
        remote: IceCredentials,
        now: Instant,
    ) -> Result<IceCredentials, NegotiateError> {
        if !self.rooms.contains_key(&room) {
            return Err(NegotiateError::NoSuchRoom);
        }
        let key = self.find(room, participant).ok_or(NegotiateError::NoSuchParticipant)?;
        let local = self.restart_transport(key, remote, now);
        Ok(local)
    }

    fn stats(&self, room: RoomId, participant: ParticipantId, now: Instant) -> Option<ParticipantStats> {
        let key = self.find(room, participant)?;
        Some(self.members[key.0].stats(&self.tracks, &self.shared, now))
    }

    fn snapshot(&self, room: RoomId, participants: &[ParticipantId], now: Instant) -> Snapshot {
        Snapshot {
            lateness: self.lateness.longest(),
            output: self.output + output(&self.shared.counters),
            participants: participants
                .iter()
                .take(limits::SNAPSHOT_PARTICIPANTS)
                .filter_map(|participant| Some((*participant, self.stats(room, *participant, now)?)))
                .collect(),
        }
    }

    fn close_room(&mut self, room: RoomId) {
        let Some(members) = self.rooms.get(&room).map(|room| room.members.clone()) else {
            return;
        };
        for key in members {
            self.remove_member(key);
        }
        self.rooms.remove(&room);
    }
}

/// What was sent and what could not be.
fn output(counters: &Counters) -> Output {
    let sum = |counts: &[Count]| counts.iter().map(|count| counters.get(*count)).sum();
    Output {
        sent: sum(&[Count::RtpOut, Count::RtxOut]),
        unsent: sum(&[Count::SendBufferFull, Count::SendRefused, Count::SealFailed]),
    }
}
