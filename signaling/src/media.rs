//! The media core as the visits use it: a seam, so that tests can stand in its place.

use housecall_sfu::{
    Answer, IceCredentials, Mid, NegotiateError, ParticipantId, RelayAccess, RelayUserId, RoomId, Sfu, Snapshot,
    Target, TrackId,
};

/// The part of [`Sfu`] that visits use. See there for what each method does.
#[expect(
    missing_docs,
    reason = "each method is the like-named one of `Sfu`, documented there"
)]
pub trait Media: Clone + Send + Sync + 'static {
    fn create_room(&self, room: RoomId, max_participants: usize) -> Result<(), NegotiateError>;
    fn close_room(&self, room: RoomId);
    fn negotiate(
        &self,
        room: RoomId,
        participant: ParticipantId,
        offer: String,
    ) -> impl Future<Output = Result<Answer, NegotiateError>> + Send;
    fn restart_ice(
        &self,
        room: RoomId,
        participant: ParticipantId,
        remote: IceCredentials,
    ) -> impl Future<Output = Result<IceCredentials, NegotiateError>> + Send;
    fn remove_participant(&self, room: RoomId, participant: ParticipantId);
    fn relay_access(&self, room: RoomId, user: RelayUserId) -> Option<RelayAccess>;
    fn end_relay_user(&self, room: RoomId, user: RelayUserId);
    fn set_source(&self, room: RoomId, participant: ParticipantId, mid: Mid, source: Option<TrackId>);
    fn set_target(&self, room: RoomId, participant: ParticipantId, mid: Mid, target: Target);
    fn snapshot(&self, room: RoomId, participants: Vec<ParticipantId>)
    -> impl Future<Output = Option<Snapshot>> + Send;
}

impl Media for Sfu {
    fn create_room(&self, room: RoomId, max_participants: usize) -> Result<(), NegotiateError> {
        Self::create_room(self, room, max_participants)
    }

    fn close_room(&self, room: RoomId) {
        Self::close_room(self, room);
    }

    async fn negotiate(
        &self,
        room: RoomId,
        participant: ParticipantId,
        offer: String,
    ) -> Result<Answer, NegotiateError> {
        Self::negotiate(self, room, participant, offer).await
    }

    async fn restart_ice(
        &self,
        room: RoomId,
        participant: ParticipantId,
        remote: IceCredentials,
    ) -> Result<IceCredentials, NegotiateError> {
        Self::restart_ice(self, room, participant, remote).await
    }

    fn remove_participant(&self, room: RoomId, participant: ParticipantId) {
        Self::remove_participant(self, room, participant);
    }

    fn relay_access(&self, room: RoomId, user: RelayUserId) -> Option<RelayAccess> {
        Self::relay_access(self, room, user)
    }

    fn end_relay_user(&self, room: RoomId, user: RelayUserId) {
        Self::end_relay_user(self, room, user);
    }

    fn set_source(&self, room: RoomId, participant: ParticipantId, mid: Mid, source: Option<TrackId>) {
        Self::set_source(self, room, participant, mid, source);
    }

    fn set_target(&self, room: RoomId, participant: ParticipantId, mid: Mid, target: Target) {
        Self::set_target(self, room, participant, mid, target);
    }

    async fn snapshot(&self, room: RoomId, participants: Vec<ParticipantId>) -> Option<Snapshot> {
        Self::snapshot(self, room, participants).await
    }
}
