//! For whoever looks after the server.

use std::sync::Mutex;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use prometheus::TextEncoder;

use super::Edge;
use super::extract::Client;
use super::problem::Problem;
use super::proxy::{holds, is_forwarded};

/// A probe costs a flush to disk; a stranger who asks often gets the last answer.
const PROBE_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// What the last probe of the store said, and when.
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<(Timestamp, bool)>>);

impl Readiness {
    async fn store_writable(&self, edge: &Edge) -> bool {
        let now = edge.portal.now();
        if let Some((at, writable)) = *self.0.lock().expect("no code panics while it holds this lock")
            && now.duration_since(at).abs() < PROBE_EVERY
        {
            return writable;
        }
        let writable = edge.portal.store().probe().await.is_ok();
        *self.0.lock().expect("no code panics while it holds this lock") = Some((now, writable));
        writable
    }
}

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: visits can be held.
pub(super) async fn ready(State(edge): State<Edge>) -> Result<&'static str, Problem> {
    if !(edge.media_alive)() {
        return Err(Problem::NOT_READY.detail("the media core has stopped"));
    }
    if !edge.readiness.store_writable(&edge).await {
        return Err(Problem::NOT_READY.detail("the store takes no commit"));
    }
    Ok("ready\n")
}

/// `GET /metrics`: Prometheus text, for those who are listed. Behind a proxy on this machine strangers come from a listed address
/// too, so what has been passed on is not answered. Nobody else learns that there is something.
pub(super) async fn metrics(State(edge): State<Edge>, Client(address): Client, headers: HeaderMap) -> Response {
    if is_forwarded(&headers) || !holds(&edge.settings.metrics_from, address) {
        return Problem::NOT_FOUND.into_response();
    }
    match TextEncoder::new().encode_to_string(&edge.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(cause) => {
            tracing::warn!(%cause, "metrics cannot be encoded");
            Problem::INTERNAL.into_response()
        }
    }
}
