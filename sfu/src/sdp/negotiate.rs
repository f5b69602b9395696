//! Decides what of an offer is accepted.

use std::net::SocketAddr;

use super::session::Session;
use crate::api::{IceCredentials, NegotiateError};
use crate::ids::Ssrc;

/// What the server puts into an answer.
pub(crate) struct AnswerParams<'a> {
    /// The server's ICE credentials. New ones belong to an ICE restart.
    pub(crate) local_ice: &'a IceCredentials,
    /// SHA-256 of the server's DTLS certificate, as hexadecimal pairs with colons.
    pub(crate) fingerprint: &'a str,
    /// Host candidates (UDP), best first.
    pub(crate) candidates: &'a [SocketAddr],
    /// The bit rate video publishers are told to start with, kbit/s.
    pub(crate) start_kbps: u32,
    /// The session id in the `o=` line: the same for all answers of a session, below 2^63.
    pub(crate) session_id: u64,
    /// Chooses SSRCs: random, and never one already used on this transport.
    pub(crate) next_ssrc: &'a mut dyn FnMut() -> Ssrc,
}

/// Answers an offer. With a `previous` session it is a re-offer: what was agreed stays, new lines are added.
///
/// # Errors
/// [`NegotiateError::Malformed`], [`NegotiateError::Unsupported`] and [`NegotiateError::Conflict`]; the previous session is
/// then still in force.
pub(crate) fn answer(
    offer: &str,
    previous: Option<&Session>,
    params: AnswerParams<'_>,
) -> Result<(Session, String), NegotiateError> {
    let _ = (offer, previous, params.next_ssrc);
    Err(NegotiateError::Unsupported("not yet".to_owned()))
}
