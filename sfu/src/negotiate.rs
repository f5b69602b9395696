//! Joining, re-offering and leaving: turns agreed sessions into members, tracks and slots, and takes them apart again.

use std::sync::Arc;
use std::time::Instant;

use crate::api::{Answer, IceCredentials, NegotiateError, PublishedTrack, Slot as SlotInfo, TrackChange};
use crate::ice::generate_credentials;
use crate::ids::{ParticipantId, RoomId, Ssrc};
use crate::limits;
use crate::member::{Member, MemberKey};
use crate::published::{Published, TrackKey};
use crate::sdp::{self, AnswerParams, Receiving, Session};
use crate::slot::Slot;
use crate::transport::{Transport, TransportConfig};
use crate::worker::{Shared, Worker};

impl Worker {
    /// Answers an offer: the first one of a participant makes it a member, a later one changes its session.
    pub(crate) fn negotiate(
        &mut self,
        room: RoomId,
        participant: ParticipantId,
        offer: &str,
        now: Instant,
    ) -> Result<Answer, NegotiateError> {
        let members = self.rooms.get(&room).ok_or(NegotiateError::NoSuchRoom)?;
        match self.by_id.get(&participant).copied() {
            Some(key) if members.members.contains(&key) => self.renegotiate(key, offer, now),
            Some(_) => Err(NegotiateError::NoSuchParticipant),
            None => {
                let limit = members.max_participants.min(limits::MAX_MEMBERS_PER_SHARD);
                if members.members.len() >= members.max_participants
                    || self.members.len() >= limits::MAX_MEMBERS_PER_SHARD
                {
                    return Err(NegotiateError::Full { limit });
                }
                self.join(room, participant, offer, now)
            }
        }
    }

    fn join(
        &mut self,
        room: RoomId,
        participant: ParticipantId,
        offer: &str,
        now: Instant,
    ) -> Result<Answer, NegotiateError> {
        let local = self.new_credentials();
        let session_id = self.shared.random.u64() >> 1;
        let (session, sdp) = self.answer(offer, None, &local, session_id, &[])?;
        let transport = Transport::new(
            TransportConfig {
                local: local.clone(),
                remote: session.remote_ice.clone(),
                remote_fingerprint: session.remote_fingerprint.clone(),
                certificate: Arc::clone(&self.shared.config.certificate),
            },
            now,
        );
        let seed = self.shared.random.u64();
        let member = Member::new(room, participant, transport, session, session_id, local.clone(), seed);
        let key = MemberKey(self.members.insert(member));
        self.by_id.insert(participant, key);
        self.index_ufrags(key);
        if let Some(room) = self.rooms.get_mut(&room) {
            room.members.push(key);
        }
        Ok(self.adopt(key, sdp, local, now))
    }

    fn renegotiate(&mut self, key: MemberKey, offer: &str, now: Instant) -> Result<Answer, NegotiateError> {
        let member = &self.members[key.0];
        let previous = member.session.clone();
        let session_id = member.session_id;
        let used = member.ssrcs();
        let current = member.local_ice.clone();
        // Whether it is a restart shows only in the offer, so an answer is first made with the present credentials.
        let (session, sdp) = self.answer(offer, Some(&previous), &current, session_id, &used)?;
        if !session.ice_restarted(&previous) {
            self.members[key.0].session = session;
            return Ok(self.adopt(key, sdp, current, now));
        }
        let local = self.new_credentials();
        let (session, sdp) = self.answer(offer, Some(&previous), &local, session_id, &used)?;
        let remote = session.remote_ice.clone();
        self.members[key.0].session = session;
        self.install_credentials(key, local.clone(), remote, now);
        Ok(self.adopt(key, sdp, local, now))
    }

    /// An ICE restart without an offer. Returns our new credentials.
    pub(crate) fn restart_transport(&mut self, key: MemberKey, remote: IceCredentials, now: Instant) -> IceCredentials {
        let local = self.new_credentials();
        self.members[key.0].session.remote_ice = remote.clone();
        self.install_credentials(key, local.clone(), remote, now);
        local
    }

    fn new_credentials(&mut self) -> IceCredentials {
        generate_credentials(&mut self.shared.random, self.shared.config.tag)
    }

    fn install_credentials(&mut self, key: MemberKey, local: IceCredentials, remote: IceCredentials, now: Instant) {
        let member = &mut self.members[key.0];
        member.transport.restart_ice(local.clone(), remote, now);
        member.local_ice = local;
        self.index_ufrags(key);
        self.after_transport(key, now);
    }

    /// Lets checks find the member by all names its transport goes by, and by no other.
    fn index_ufrags(&mut self, key: MemberKey) {
        let member = &mut self.members[key.0];
        for old in member.ufrags.drain(..) {
            self.by_ufrag.remove(&old);
        }
        member.ufrags.extend(member.transport.local_ufrags().map(Box::from));
        self.by_ufrag
            .extend(member.ufrags.iter().map(|ufrag| (ufrag.clone(), key)));
    }

    fn answer(
        &mut self,
        offer: &str,
        previous: Option<&Session>,
        local: &IceCredentials,
        session_id: u64,
        used: &[Ssrc],
    ) -> Result<(Session, String), NegotiateError> {
        let Shared { config, random, .. } = &mut self.shared;
        let mut fresh: Vec<Ssrc> = used.to_vec();
        let mut next_ssrc = || loop {
            let ssrc = Ssrc(random.u64() as u32);
            if ssrc.0 != 0 && !fresh.contains(&ssrc) {
                fresh.push(ssrc);
                return ssrc;
            }
        };
        sdp::answer(
            offer,
            previous,
            AnswerParams {
                local_ice: local,
                fingerprint: &config.certificate.fingerprint(),
                candidates: &config.candidates,
                tcp_candidates: &config.tcp_candidates,
                start_kbps: config.start_kbps,
                session_id,
                next_ssrc: &mut next_ssrc,
            },
        )
    }

    /// Brings tracks and slots in line with the member's session and writes the answer.
    fn adopt(&mut self, key: MemberKey, sdp: String, ice: IceCredentials, now: Instant) -> Answer {
        let session = self.members[key.0].session.clone();
        let published = self.adopt_tracks(key, &session);
        let slots = self.adopt_slots(key, &session, now);
        self.members[key.0].adopt_session(&self.tracks);
        self.make_pending(key);
        Answer {
            sdp,
            published,
            slots,
            ice,
        }
    }

    /// Ends the tracks the session no longer has, changes those it has, adds new ones.
    fn adopt_tracks(&mut self, key: MemberKey, session: &Session) -> Vec<PublishedTrack> {
        for track in self.members[key.0].tracks.clone() {
            let known = &self.tracks[track.0];
            let line = session.line(known.mid).filter(|line| line.kind == known.kind);
            match line.and_then(|line| Some((line, line.publishes.as_ref()?))) {
                Some((line, publishing)) => {
                    let moved = self.tracks[track.0].renegotiate(line, publishing);
                    self.members[key.0].handle_moved_layers(track, &moved);
                }
                None => self.end_track(track),
            }
        }
        let mut published = Vec::new();
        for line in session.media() {
            let Some(publishing) = &line.publishes else { continue };
            let mut known = self.members[key.0].tracks.iter().copied();
            let known = known.find(|track| self.tracks[track.0].mid == line.mid);
            let track = known.unwrap_or_else(|| {
                let id = self.next_track_id();
                let (room, owner) = (self.members[key.0].room, self.members[key.0].id);
                let new = Published::new(id, room, (key, owner), line, publishing);
                let track = TrackKey(self.tracks.insert(new));
                self.members[key.0].tracks.push(track);
                track
            });
            published.push(self.tracks[track.0].public());
        }
        published
    }

    /// Closes the slots the session no longer has, or lays them to rest; changes or wakes those it has; adds new ones.
    fn adopt_slots(&mut self, key: MemberKey, session: &Session, now: Instant) -> Vec<SlotInfo> {
        let (member, random) = (&mut self.members[key.0], &mut self.shared.random);
        let line_of = |slot: &Slot| session.line(slot.mid());
        let is = |receiving: Option<&Receiving>, slot: &Slot| receiving.is_some_and(|line| line.ssrc == slot.ssrc());
        let receives = |slot: &Slot| line_of(slot).is_some_and(|line| is(line.receives.as_ref(), slot));
        let rests = |slot: &Slot| line_of(slot).is_some_and(|line| is(line.resting.as_ref(), slot));

        let mut unwatched = Vec::new();
        for mut slot in member.slots.extract_if(.., |slot| !receives(slot)) {
            unwatched.extend(slot.source);
            slot.set_source(None, &self.tracks);
            member.resting.push(slot);
        }
        member
            .slots
            .extend(member.resting.extract_if(.., |slot| receives(slot)));
        member.resting.retain(rests);
        // Room for four, as a vector takes it by itself, would cost a viewer of one camera 3 KiB.
        let lines = session.media().filter(|line| line.receives.is_some()).count();
        member.slots.reserve_exact(lines.saturating_sub(member.slots.len()));
        let mut slots = Vec::new();
        for line in session.media() {
            let Some(receiving) = &line.receives else { continue };
            match member.slots.iter_mut().find(|slot| slot.mid() == line.mid) {
                Some(slot) => slot.renegotiate(line, receiving),
                None => member.slots.push(Slot::new(line, receiving, random.u64(), now)),
            }
            slots.push(SlotInfo {
                mid: line.mid,
                kind: line.kind,
            });
        }
        // Audio first: it never waits behind a picture.
        member.slots.sort_by_key(Slot::kind);
        for track in unwatched {
            self.refresh_viewers(track);
        }
        slots
    }

    /// Takes a track away from its viewers and its publisher.
    fn end_track(&mut self, track: TrackKey) {
        let Some(published) = self.tracks.try_remove(track.0) else {
            return;
        };
        for viewer in &published.viewers {
            let Some(member) = self.members.get_mut(viewer.0) else {
                continue;
            };
            for slot in member.slots.iter_mut().filter(|slot| slot.source == Some(track)) {
                slot.set_source(None, &self.tracks);
            }
            // What it is sent has changed, and that is to be told.
            self.make_pending(*viewer);
        }
        if let Some(owner) = self.members.get_mut(published.owner.0) {
            owner.forget_track(track);
        }
        if published.started {
            self.shared.events.push_back(published.event(TrackChange::Ended));
        }
    }

    /// Takes a member out of its room with everything it has.
    pub(crate) fn remove_member(&mut self, key: MemberKey) {
        let Some(member) = self.members.get(key.0) else { return };
        let (room, id) = (member.room, member.id);
        for track in member.tracks.clone() {
            self.end_track(track);
        }
        let Some(mut member) = self.members.try_remove(key.0) else {
            return;
        };
        if let Some(room) = self.rooms.get_mut(&room) {
            room.members.retain(|other| *other != key);
        }
        for track in member.slots.iter_mut().filter_map(|slot| slot.source.take()) {
            self.refresh_viewers(track);
        }
        self.timers.remove(key.0);
        self.by_id.remove(&id);
        for ufrag in &member.ufrags {
            self.by_ufrag.remove(ufrag);
        }
        self.forget_paths(key, &member.transport);
    }
}
