//! Joining, re-offering and leaving: turns agreed sessions into members, tracks and slots, and takes them apart again.

use std::sync::Arc;
use std::time::Instant;

use crate::api::{Answer, IceCredentials, NegotiateError, Slot as SlotInfo, TrackChange};
use crate::ice::generate_credentials;
use crate::ids::{ParticipantId, RoomId, Ssrc};
use crate::limits;
use crate::member::{Member, MemberKey};
use crate::published::{Published, TrackKey};
use crate::random;
use crate::sdp::{self, AnswerParams, Session};
use crate::slot::Slot;
use crate::transport::{Transport, TransportConfig};
use crate::worker::Worker;

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
        let local = generate_credentials();
        let session_id = random::u64() >> 1;
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
        let member = Member::new(room, participant, transport, session, session_id, local.clone());
        let key = MemberKey(self.members.insert(member));
        self.by_id.insert(participant, key);
        self.by_ufrag.insert(local.ufrag.clone().into_boxed_str(), key);
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
        let local = generate_credentials();
        let (session, sdp) = self.answer(offer, Some(&previous), &local, session_id, &used)?;
        let remote = session.remote_ice.clone();
        self.members[key.0].session = session;
        self.install_credentials(key, local.clone(), remote, now);
        Ok(self.adopt(key, sdp, local, now))
    }

    /// An ICE restart without an offer. Returns our new credentials.
    pub(crate) fn restart_transport(&mut self, key: MemberKey, remote: IceCredentials, now: Instant) -> IceCredentials {
        let local = generate_credentials();
        self.members[key.0].session.remote_ice = remote.clone();
        self.install_credentials(key, local.clone(), remote, now);
        local
    }

    fn install_credentials(&mut self, key: MemberKey, local: IceCredentials, remote: IceCredentials, now: Instant) {
        let member = &mut self.members[key.0];
        member.transport.restart_ice(local.clone(), remote, now);
        // The credentials before stay good until the first check with the new ones; those before them are done with.
        let retired = member
            .previous_ufrag
            .replace(std::mem::replace(&mut member.local_ice, local.clone()).ufrag);
        if let Some(ufrag) = retired {
            self.by_ufrag.remove(ufrag.as_str());
        }
        self.by_ufrag.insert(local.ufrag.into_boxed_str(), key);
        self.after_transport(key, now);
    }

    fn answer(
        &self,
        offer: &str,
        previous: Option<&Session>,
        local: &IceCredentials,
        session_id: u64,
        used: &[Ssrc],
    ) -> Result<(Session, String), NegotiateError> {
        let config = &self.shared.config;
        let mut fresh: Vec<Ssrc> = used.to_vec();
        let mut next_ssrc = || loop {
            let ssrc = Ssrc(random::u64() as u32);
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
                start_kbps: config.start_kbps,
                session_id,
                next_ssrc: &mut next_ssrc,
            },
        )
    }

    /// Brings tracks and slots in line with the member's session and writes the answer.
    fn adopt(&mut self, key: MemberKey, sdp: String, ice: IceCredentials, now: Instant) -> Answer {
        let member = &self.members[key.0];
        let session = member.session.clone();
        let gone: Vec<TrackKey> = member
            .tracks
            .iter()
            .copied()
            .filter(|track| {
                session
                    .line(self.tracks[track.0].mid)
                    .is_none_or(|line| line.publishes.is_none())
            })
            .collect();
        for track in gone {
            self.end_track(track);
        }
        let mut watched = Vec::new();
        self.members[key.0].slots.retain(|slot| {
            let kept = session.line(slot.mid()).is_some_and(|line| line.receives.is_some());
            if !kept {
                watched.extend(slot.source);
            }
            kept
        });
        for track in watched {
            self.refresh_viewers(track);
        }
        let (mut published, mut slots) = (Vec::new(), Vec::new());
        for line in session.media() {
            if let Some(publishing) = &line.publishes {
                let known = self.members[key.0]
                    .tracks
                    .iter()
                    .copied()
                    .find(|track| self.tracks[track.0].mid == line.mid);
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
            if let Some(receiving) = &line.receives {
                let member = &mut self.members[key.0];
                if !member.slots.iter().any(|slot| slot.mid() == line.mid) {
                    member.slots.push(Slot::new(line, receiving, now));
                    // Audio first: it never waits behind a picture.
                    member.slots.sort_by_key(Slot::kind);
                }
                slots.push(SlotInfo {
                    mid: line.mid,
                    kind: line.kind,
                });
            }
        }
        self.members[key.0].adopt_session(&self.tracks);
        self.make_pending(key);
        Answer {
            sdp,
            published,
            slots,
            ice,
        }
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
        self.by_id.remove(&id);
        self.by_ufrag.remove(member.local_ice.ufrag.as_str());
        if let Some(ufrag) = &member.previous_ufrag {
            self.by_ufrag.remove(ufrag.as_str());
        }
        self.forget_paths(key);
    }
}
