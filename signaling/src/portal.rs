//! What a visit needs from the portal (who is this, store that), and what it tells it.

use crate::ids::{DisplayName, PersonId, VisitId};
use crate::message::{EndReason, ParticipantRef, RoleName};
use crate::quality::QualityRecord;

/// The portal, as the visits see it.
pub trait Portal: Send + Sync + 'static {
    /// Who holds this session. Asked once for each hello.
    ///
    /// # Errors
    /// See [`AuthError`].
    fn authenticate(&self, session: &str) -> impl Future<Output = Result<Identity, AuthError>> + Send;

    /// Stores an event. Clients are told of the change, and media flows by it, only after this has returned: when it
    /// returns, the event must be durable.
    ///
    /// # Errors
    /// [`RecordError`] when it could not be stored. The visit is then interrupted: what cannot be audited does not happen.
    fn record(&self, event: VisitEvent) -> impl Future<Output = Result<(), RecordError>> + Send;

    /// Stores quality records of a visit in place of what was stored of the same participants. The visit goes on without it if that fails.
    ///
    /// # Errors
    /// [`RecordError`] when they could not be stored.
    fn keep_quality(
        &self,
        visit: VisitId,
        records: Vec<QualityRecord>,
    ) -> impl Future<Output = Result<(), RecordError>> + Send;
}

/// Who somebody is, in one visit.
#[derive(Clone)]
pub struct Identity {
    /// The visit.
    pub visit: VisitId,
    /// The person, the same on every device.
    pub person: PersonId,
    /// Their role in it.
    pub role: RoleName,
    /// What the others see.
    pub name: DisplayName,
    /// Was let in earlier in this visit and has lost that by no later event, see [`VisitEvent::admission`]. Clinicians
    /// count as admitted without it.
    pub admitted: bool,
    /// The clinician the visit is booked with, so that those who wait can be told whether that person is with somebody else.
    pub clinician: Option<PersonId>,
}

/// Why a session was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Unknown or expired: a new one is needed.
    #[error("the session is unknown or has expired")]
    SessionExpired,
    /// The visit has ended.
    #[error("the visit has ended")]
    VisitEnded,
    /// The appointment was cancelled.
    #[error("the appointment was cancelled")]
    VisitCancelled,
    /// The store cannot be asked at the moment.
    #[error("the server cannot look up sessions at the moment")]
    Unavailable,
}

/// An event could not be stored.
#[derive(Debug, thiserror::Error)]
#[error("storing a visit event failed")]
pub struct RecordError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// One change of a visit's state. Exactly one of these for every change; no names inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitEvent {
    /// The visit.
    pub visit: VisitId,
    /// What changed.
    pub change: Change,
}

/// Whom an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The stay.
    pub participant: ParticipantRef,
    /// The person.
    pub person: PersonId,
    /// Their role.
    pub role: RoleName,
    /// How they take part.
    pub via: Via,
}

/// How somebody takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// WebSocket signalling.
    Socket,
    /// Publishes over WHIP (RFC 9725).
    Whip,
    /// Receives over WHEP.
    Whep,
}

impl Via {
    /// A stable word for stores and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Whip => "whip",
            Self::Whep => "whep",
        }
    }
}

/// A change of a visit's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Somebody came and waits to be let in.
    Queued {
        /// Who.
        who: Who,
    },
    /// Somebody came and is in the visit at once: a clinician, somebody admitted before, an HTTP participant that counts as admitted.
    Entered {
        /// Who.
        who: Who,
    },
    /// Somebody who waited was let in.
    Admitted {
        /// Who.
        who: Who,
        /// By whom.
        by: Who,
    },
    /// Somebody who waited was sent away.
    Declined {
        /// Who.
        who: Who,
        /// By whom.
        by: Who,
    },
    /// The socket dropped (or ICE consent, over HTTP); place and media are kept for a while.
    Disconnected {
        /// Who.
        who: Who,
    },
    /// Somebody who was disconnected or away is back, on the same stay.
    Returned {
        /// Who.
        who: Who,
    },
    /// The same person came from another page or device and took over the stay.
    TookOver {
        /// Who.
        who: Who,
    },
    /// Somebody who waits went away on purpose and keeps the place in the queue.
    SteppedAway {
        /// Who.
        who: Who,
    },
    /// Somebody's stay is over.
    Left {
        /// Who.
        who: Who,
        /// How it came about.
        how: Leaving,
        /// Whether an admission they had holds when they return.
        keeps_admission: bool,
    },
    /// The visit is over for everybody.
    Ended {
        /// Why.
        reason: EndReason,
        /// The clinician who ended it; `None` if the portal did.
        by: Option<Who>,
    },
    /// Everybody was disconnected by the server; the visit itself goes on when they come back.
    Interrupted {
        /// Why.
        cause: Interruption,
    },
}

/// How a stay came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaving {
    /// They left.
    Asked,
    /// They were gone for longer than stays or places are kept.
    Timeout,
    /// The media connection of an HTTP participant closed.
    ConnectionClosed,
}

/// Why the server disconnected everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interruption {
    /// The media core ended the room.
    MediaFailed,
    /// An event could not be stored.
    StoreFailed,
    /// The server is being stopped.
    ServerStopping,
    /// A broken invariant ended the visit's task.
    ServerFault,
}

impl VisitEvent {
    /// All that [`Self::name`] can return.
    pub const NAMES: [&'static str; 11] = [
        "queued",
        "entered",
        "admitted",
        "declined",
        "disconnected",
        "returned",
        "took_over",
        "stepped_away",
        "left",
        "ended",
        "interrupted",
    ];

    /// A stable snake_case word for the audit log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.change {
            Change::Queued { .. } => "queued",
            Change::Entered { .. } => "entered",
            Change::Admitted { .. } => "admitted",
            Change::Declined { .. } => "declined",
            Change::Disconnected { .. } => "disconnected",
            Change::Returned { .. } => "returned",
            Change::TookOver { .. } => "took_over",
            Change::SteppedAway { .. } => "stepped_away",
            Change::Left { .. } => "left",
            Change::Ended { .. } => "ended",
            Change::Interrupted { .. } => "interrupted",
        }
    }

    /// Whom it is about, unless it is about everybody.
    #[must_use]
    pub const fn who(&self) -> Option<&Who> {
        match &self.change {
            Change::Queued { who }
            | Change::Entered { who }
            | Change::Admitted { who, .. }
            | Change::Declined { who, .. }
            | Change::Disconnected { who }
            | Change::Returned { who }
            | Change::TookOver { who }
            | Change::SteppedAway { who }
            | Change::Left { who, .. } => Some(who),
            Change::Ended { .. } | Change::Interrupted { .. } => None,
        }
    }

    /// Who did it: the clinician for an admission, a decline or an end, else the person it is about, else (`None`) the server.
    #[must_use]
    pub const fn by(&self) -> Option<&Who> {
        match &self.change {
            Change::Admitted { by, .. } | Change::Declined { by, .. } => Some(by),
            Change::Ended { by, .. } => by.as_ref(),
            Change::Interrupted { .. }
            | Change::Disconnected { .. }
            | Change::Left {
                how: Leaving::Timeout | Leaving::ConnectionClosed,
                ..
            } => None,
            _ => self.who(),
        }
    }

    /// What this event makes of the admission of the person it is about: `Some(true)`, let in; `Some(false)`, must be let
    /// in (again); `None`, as before. The last `Some` is what [`Identity::admitted`] must say.
    #[must_use]
    pub const fn admission(&self) -> Option<bool> {
        match &self.change {
            Change::Admitted { .. } => Some(true),
            Change::Declined { .. }
            | Change::Left {
                keeps_admission: false, ..
            } => Some(false),
            _ => None,
        }
    }
}
