//! The handle by which everything above the media core speaks to it. Cheap to clone; every call is a bounded queue entry.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::api::{Answer, IceCredentials, NegotiateError, ParticipantStats, RelayAccess, Snapshot};
use crate::command::Command;
use crate::driver::ShardHandle;
use crate::ids::{Mid, ParticipantId, RelayUserId, RoomId, TrackId};
use crate::media::Target;
use crate::placement::Placement;
use crate::streams::{Arrival, StreamEnd};

/// The media core.
#[derive(Clone)]
pub struct Sfu {
    shards: Arc<[ShardHandle]>,
    placement: Arc<Placement>,
}

impl Sfu {
    pub(crate) fn new(shards: Arc<[ShardHandle]>) -> Self {
        Self {
            shards,
            placement: Arc::default(),
        }
    }

    /// The shard a room lives on, for life. Any will do to say that there is no such room.
    fn shard(&self, room: RoomId) -> &ShardHandle {
        &self.shards[self.placement.shard_of(room).unwrap_or(0)]
    }

    async fn ask<T>(&self, room: RoomId, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.shard(room).send(command(reply)).ok()?;
        answer.await.ok()
    }

    /// Whether every shard's thread is there. Once false it stays so: visits on that shard can't be held until the program is started again.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shards.iter().all(ShardHandle::is_running)
    }

    /// Opens a room for at most `max_participants`, on the shard with most headroom. A room that exists already keeps its limit and its
    /// shard.
    ///
    /// # Errors
    /// [`NegotiateError::Busy`] when the shard's queue is full or the shard has stopped.
    pub fn create_room(&self, room: RoomId, max_participants: usize) -> Result<(), NegotiateError> {
        let load = self.shards.iter().map(ShardHandle::permille);
        let shard = &self.shards[self.placement.place(room, load)];
        shard.send(Command::CreateRoom { room, max_participants })
    }

    /// Closes a room and everybody's transport in it. Closing an unknown room does nothing.
    pub fn close_room(&self, room: RoomId) {
        if let Some(shard) = self.placement.forget(room) {
            self.shards[shard].send_always(Command::CloseRoom { room });
        }
    }

    /// Answers an offer. The first offer of a participant creates it; a later one renegotiates (new lines, ICE restart).
    ///
    /// # Errors
    /// See [`NegotiateError`]. A refused re-offer leaves the session as it was.
    pub async fn negotiate(
        &self,
        room: RoomId,
        participant: ParticipantId,
        offer: String,
    ) -> Result<Answer, NegotiateError> {
        self.ask(room, |reply| Command::Negotiate {
            room,
            participant,
            offer,
            reply,
        })
        .await
        .unwrap_or(Err(NegotiateError::Busy))
    }

    /// ICE restart without SDP (RFC 9725 §4.3.2, WHIP `PATCH`): takes the client's new credentials, returns the server's new ones.
    ///
    /// # Errors
    /// [`NegotiateError::NoSuchRoom`], [`NegotiateError::NoSuchParticipant`], [`NegotiateError::Busy`].
    pub async fn restart_ice(
        &self,
        room: RoomId,
        participant: ParticipantId,
        remote: IceCredentials,
    ) -> Result<IceCredentials, NegotiateError> {
        self.ask(room, |reply| Command::RestartIce {
            room,
            participant,
            remote,
            reply,
        })
        .await
        .unwrap_or(Err(NegotiateError::Busy))
    }

    /// Removes a participant: transport, tracks, slots. Its tracks' [`crate::TrackChange::Ended`] events follow.
    pub fn remove_participant(&self, room: RoomId, participant: ParticipantId) {
        self.shard(room)
            .send_always(Command::RemoveParticipant { room, participant });
    }

    /// How somebody reaches a room through the relay, with credentials good for some hours; `None` if the relay is off. A room that is not
    /// open yet gets its shard by it, for a client must know the relay before it can offer.
    #[must_use]
    pub fn relay_access(&self, room: RoomId, user: RelayUserId) -> Option<RelayAccess> {
        let load = self.shards.iter().map(ShardHandle::permille);
        self.shards[self.placement.place(room, load)].relay_access(user)
    }

    /// Hands a connection to a shard, which reads and writes it from now on; `None` if it has too much to do. Shards are numbered from 0, in the
    /// order of [`crate::Running::addresses`].
    pub fn open_stream(&self, shard: usize, arrival: Arrival) -> Option<StreamEnd> {
        self.shards.get(shard)?.open_stream(arrival)
    }

    /// Ends whatever somebody has on the relay towards a room.
    pub fn end_relay_user(&self, room: RoomId, user: RelayUserId) {
        self.shard(room).send_always(Command::EndRelayUser { room, user });
    }

    /// Points a slot at a track, or at nothing. A track of another room or kind, or an unknown one, points it at nothing.
    pub fn set_source(&self, room: RoomId, participant: ParticipantId, mid: Mid, source: Option<TrackId>) {
        self.shard(room).send_always(Command::SetSource {
            room,
            participant,
            mid,
            source,
        });
    }

    /// Says what a video slot should be sent. Switches at the next key frame, which is asked for.
    pub fn set_target(&self, room: RoomId, participant: ParticipantId, mid: Mid, target: Target) {
        self.shard(room).send_always(Command::SetTarget {
            room,
            participant,
            mid,
            target,
        });
    }

    /// A participant's figures; `None` if there is no such participant.
    pub async fn stats(&self, room: RoomId, participant: ParticipantId) -> Option<ParticipantStats> {
        self.ask(room, |reply| Command::Stats {
            room,
            participant,
            reply,
        })
        .await
        .flatten()
    }

    /// Figures of some participants, all of one moment; those beyond the shard's bound are left out. `None` if the shard is too busy.
    pub async fn snapshot(&self, room: RoomId, participants: Vec<ParticipantId>) -> Option<Snapshot> {
        self.ask(room, |reply| Command::Snapshot {
            room,
            participants,
            reply,
        })
        .await
    }

    /// Lets the shard panic while it handles a command about a room.
    #[cfg(test)]
    pub(crate) fn panic_in(&self, room: RoomId) {
        self.shard(room).send_always(Command::Panic { room });
    }
}

#[cfg(test)]
impl Sfu {
    /// Runs something on the thread of a room's shard.
    pub(crate) fn run_on_shard_of(&self, room: RoomId, work: crate::command::Work) {
        self.shard(room).send_always(Command::Run { room, work });
    }

    /// Lets every shard look as busy as this, until its next window of load ends.
    pub(crate) fn pretend_busy(&self, permille: &[u16]) {
        for (shard, permille) in self.shards.iter().zip(permille) {
            shard.pretend_busy(*permille);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[tokio::test]
    async fn rooms_spread_over_shards_and_commands_find_them() {
        let settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            shards: 2,
            ..Settings::default()
        };
        let running = crate::start(&settings).expect("loopback");
        let sfu = running.sfu;
        for room in 0..6 {
            sfu.create_room(RoomId(room), 2).expect("an empty queue");
        }
        let on_first = (0..6).filter(|room| std::ptr::eq(sfu.shard(RoomId(*room)), &raw const sfu.shards[0]));
        assert_eq!(on_first.count(), 3);
        // A room is known to its shard alone.
        for room in 0..8 {
            let answer = sfu.negotiate(RoomId(room), ParticipantId(1), String::new()).await;
            let is_known = !matches!(answer, Err(NegotiateError::NoSuchRoom));
            assert_eq!(is_known, room < 6, "room {room}: {answer:?}");
        }
        sfu.close_room(RoomId(3));
        let answer = sfu.negotiate(RoomId(3), ParticipantId(1), String::new()).await;
        assert!(matches!(answer, Err(NegotiateError::NoSuchRoom)));
    }
}
