//! What crosses from the handle to a shard's thread.

use tokio::sync::oneshot;

use crate::api::{Answer, IceCredentials, NegotiateError, ParticipantStats};
use crate::ids::{Mid, ParticipantId, RoomId, TrackId};
use crate::media::Target;

/// One request to a shard. See the methods of [`crate::Sfu`] for what each does.
#[expect(
    missing_docs,
    reason = "each variant is the like-named method of `Sfu`, documented there"
)]
pub enum Command {
    CreateRoom {
        room: RoomId,
        max_participants: usize,
    },
    CloseRoom {
        room: RoomId,
    },
    Negotiate {
        room: RoomId,
        participant: ParticipantId,
        offer: String,
        reply: oneshot::Sender<Result<Answer, NegotiateError>>,
    },
    RestartIce {
        room: RoomId,
        participant: ParticipantId,
        remote: IceCredentials,
        reply: oneshot::Sender<Result<IceCredentials, NegotiateError>>,
    },
    RemoveParticipant {
        room: RoomId,
        participant: ParticipantId,
    },
    SetSource {
        room: RoomId,
        participant: ParticipantId,
        mid: Mid,
        source: Option<TrackId>,
    },
    SetTarget {
        room: RoomId,
        participant: ParticipantId,
        mid: Mid,
        target: Target,
    },
    Stats {
        room: RoomId,
        participant: ParticipantId,
        reply: oneshot::Sender<Option<ParticipantStats>>,
    },
}
