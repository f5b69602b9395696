//! Why something could not be done, in the words of the portal.

use crate::store::{Conflict, Stale, StoreError};

/// Why something could not be done. HTTP turns each into a problem with a stable code.
#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    /// No link has this secret, or it was taken back.
    #[error("the link is not valid")]
    LinkInvalid,
    /// The link's time is over.
    #[error("the link has expired")]
    LinkExpired,
    /// No session has this token, or its time is over.
    #[error("the session is unknown or has expired")]
    SessionExpired,
    /// The visit is over.
    #[error("the visit has ended")]
    VisitEnded,
    /// The appointment was cancelled.
    #[error("the appointment was cancelled")]
    VisitCancelled,
    /// This role may not do this.
    #[error("this role may not do this")]
    NotAllowed,
    /// No such thing, or none this person may see.
    #[error("there is no such thing")]
    NotFound,
    /// The state of the thing does not allow it.
    #[error("not possible as things stand: {0}")]
    Conflict(Conflict),
    /// A value is out of range; the text says which.
    #[error("{0}")]
    Invalid(&'static str),
    /// The store cannot be asked at the moment.
    #[error("the store cannot be asked at the moment")]
    Unavailable(#[source] StoreError),
}

impl From<StoreError> for PortalError {
    fn from(cause: StoreError) -> Self {
        match cause {
            StoreError::Denied => Self::NotAllowed,
            StoreError::NotFound => Self::NotFound,
            StoreError::Conflict(conflict) => Self::Conflict(conflict),
            StoreError::Stale(Stale::Expired) => Self::LinkExpired,
            StoreError::Stale(Stale::Revoked) => Self::LinkInvalid,
            StoreError::Panicked | StoreError::Unavailable | StoreError::Database(_) => Self::Unavailable(cause),
        }
    }
}
