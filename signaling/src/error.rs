//! Why a request over HTTP could not be done.

use housecall_sfu::NegotiateError;

/// Why somebody could not join over WHIP or WHEP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The offer was refused; its text says what was wrong with it.
    #[error(transparent)]
    Offer(#[from] NegotiateError),
    /// The visit has as many participants as it may, or the server as many visits.
    #[error("full: at most {limit}")]
    Full {
        /// The limit that was reached.
        limit: usize,
    },
    /// The visit ended, or the server is being stopped, while joining.
    #[error("the visit has just ended or the server is being stopped")]
    Stopping,
}

/// Why a request about an HTTP participant could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No such participant of this person over HTTP in this visit: 404.
    #[error("there is no such session; it may have ended")]
    NotFound,
    /// No `If-Match`: 428.
    #[error("PATCH needs an If-Match header: the ETag to trickle, * to restart ICE")]
    PreconditionRequired,
    /// `If-Match` names another ICE session than the current one: 412.
    #[error("If-Match does not name the current ICE session")]
    PreconditionFailed,
    /// The SDP fragment cannot be read: 400.
    #[error("the SDP fragment cannot be used: {0}")]
    Fragment(&'static str),
    /// The media core refused.
    #[error(transparent)]
    Media(#[from] NegotiateError),
}
