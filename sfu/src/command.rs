//! What crosses from the handle to a shard's thread.

use tokio::sync::oneshot;

use crate::api::{Answer, IceCredentials, NegotiateError, ParticipantStats, Snapshot};
use crate::ids::{Mid, ParticipantId, RelayUserId, RoomId, TrackId};
use crate::media::Target;

/// One request to a shard: each is the like-named method of [`crate::Sfu`].
pub(crate) enum Command {
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
    EndRelayUser {
        room: RoomId,
        user: RelayUserId,
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
    Snapshot {
        room: RoomId,
        participants: Vec<ParticipantId>,
        reply: oneshot::Sender<Snapshot>,
    },
    /// Panics, as a broken invariant would.
    #[cfg(test)]
    Panic {
        room: RoomId,
    },
    /// Runs something on the shard's thread.
    #[cfg(test)]
    Run {
        room: RoomId,
        work: Work,
    },
}

/// See [`Command::Run`].
#[cfg(test)]
pub(crate) type Work = Box<dyn FnOnce(&mut crate::worker::Worker, std::time::Instant) + Send>;

impl Command {
    /// The room it is about.
    pub(crate) const fn room(&self) -> RoomId {
        match self {
            Self::CreateRoom { room, .. }
            | Self::CloseRoom { room }
            | Self::Negotiate { room, .. }
            | Self::RestartIce { room, .. }
            | Self::RemoveParticipant { room, .. }
            | Self::EndRelayUser { room, .. }
            | Self::SetSource { room, .. }
            | Self::SetTarget { room, .. }
            | Self::Stats { room, .. }
            | Self::Snapshot { room, .. } => *room,
            #[cfg(test)]
            Self::Panic { room } | Self::Run { room, .. } => *room,
        }
    }
}
