//! All live visits of this process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream};
use housecall_sfu::{Event, NegotiateError, Sfu};
use tokio::sync::mpsc;

use crate::error::{HttpError, JoinError};
use crate::frame::{CloseCode, Frame};
use crate::ids::VisitId;
use crate::media::Media;
use crate::message::EndReason;
use crate::portal::{Identity, Portal};

/// What the composition root decides for the visits.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// People, and encoders that publish over WHIP, in one visit.
    pub max_people: usize,
    /// WHEP viewers in one visit.
    pub max_viewers: usize,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            max_people: 16,
            max_viewers: 500,
        }
    }
}

/// All live visits of this process. Cheap to clone. `M` is the media core; tests may put something else in its place.
pub struct Hub<P, M = Sfu> {
    shared: Arc<Shared<P, M>>,
}

struct Shared<P, M> {
    _portal: Arc<P>,
    _media: M,
}

impl<P, M> Clone for Hub<P, M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The answer to a WHIP or WHEP `POST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpJoin {
    /// Last segment of the `Location`.
    pub participant: String,
    /// The SDP answer.
    pub answer: String,
    /// The `ETag`, with its quotes (RFC 9725 §4.3.1).
    pub etag: String,
}

/// What came of a WHIP or WHEP `PATCH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpPatch {
    /// Candidates taken note of: 204. An ICE-lite server learns paths from checks and needs none of them.
    Accepted,
    /// ICE restarted: 200 with this body (`application/trickle-ice-sdpfrag`) and `ETag`.
    Restarted {
        /// The server's new credentials.
        fragment: String,
        /// The new `ETag`, with its quotes.
        etag: String,
    },
}

/// How many people wait in a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The visit.
    pub visit: VisitId,
    /// How many.
    pub count: usize,
    /// How long the first of them has waited.
    pub longest: Duration,
}

impl<P: Portal, M: Media> Hub<P, M> {
    /// Starts to look after visits. Must be called inside a tokio runtime: it spawns the task that reads `events`.
    pub fn new(media: M, events: mpsc::Receiver<Event>, portal: Arc<P>, settings: HubSettings) -> Self {
        let _ = (events, settings);
        Self {
            shared: Arc::new(Shared {
                _portal: portal,
                _media: media,
            }),
        }
    }

    /// Serves one WebSocket from its first message to its end.
    pub async fn serve_socket<S, E>(&self, mut socket: S)
    where
        S: Stream<Item = Result<Frame, E>> + Sink<Frame> + Unpin + Send,
        E: Send,
    {
        let _ = socket.send(Frame::Close(Some(CloseCode::Unavailable))).await;
    }

    /// Joins somebody who publishes over WHIP (RFC 9725).
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn whip(&self, identity: Identity, offer: String) -> Result<HttpJoin, JoinError> {
        let _ = (identity, offer);
        Err(JoinError::Offer(NegotiateError::Busy))
    }

    /// Joins somebody who watches over WHEP: the first publishing participant other than itself, or the participant `from`.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn whep(&self, identity: Identity, from: Option<String>, offer: String) -> Result<HttpJoin, JoinError> {
        let _ = (identity, from, offer);
        Err(JoinError::Offer(NegotiateError::Busy))
    }

    /// A `PATCH` of an HTTP participant: trickled candidates, or an ICE restart if `if_match` is `*` (RFC 9725 §4.3).
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn http_patch(
        &self,
        identity: &Identity,
        participant: &str,
        fragment: &str,
        if_match: Option<&str>,
    ) -> Result<HttpPatch, HttpError> {
        let _ = (identity, participant, fragment, if_match);
        Err(HttpError::NotFound)
    }

    /// A `DELETE` of an HTTP participant.
    ///
    /// # Errors
    /// [`HttpError::NotFound`].
    pub async fn http_leave(&self, identity: &Identity, participant: &str) -> Result<(), HttpError> {
        let _ = (identity, participant);
        Err(HttpError::NotFound)
    }

    /// Who waits in these visits. Visits in which nobody waits are left out.
    #[must_use]
    pub fn waiting(&self, visits: &[VisitId]) -> Vec<Waiting> {
        let _ = visits;
        Vec::new()
    }

    /// Ends a visit for everybody who is in it, with `ended` and this reason; returns when they have been told.
    /// Never call it from inside a store transaction: it records an event.
    pub async fn close_visit(&self, visit: &VisitId, reason: EndReason) {
        let _ = (visit, reason);
    }

    /// Tells everybody that the server is stopping and refuses whoever comes; returns when they have been told.
    pub async fn shutdown(&self) {}

    /// Registers the metrics of the visits.
    ///
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn register_metrics(&self, registry: &prometheus::Registry) -> Result<(), prometheus::Error> {
        let _ = registry;
        Ok(())
    }
}
