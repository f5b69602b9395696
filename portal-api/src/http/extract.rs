//! What handlers ask for in their signatures. Asking for a [`Session`] or a [`Bearer`] *is* the access check.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::{Bytes, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::Edge;
use super::problem::Problem;
use super::rate::{Place, RateLimit};
use super::serve::Peer;
use crate::ids::RequestId;
use crate::limits::{JSON_BYTES, SDP_BYTES};
use crate::store::{Ctx, Holder};

/// The holder of a session token.
pub(super) struct Session(pub(super) Holder);

/// The holder of a session token, or of a join link's or command line's token.
pub(super) struct Bearer(pub(super) Holder);

impl<S: Send + Sync> FromRequestParts<S> for Session
where
    Edge: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let edge = Edge::from_ref(state);
        let (token, request) = presented(&edge, parts)?;
        Ok(Self(edge.portal.authenticate_session(token, request).await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Bearer
where
    Edge: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let edge = Edge::from_ref(state);
        let (token, request) = presented(&edge, parts)?;
        Ok(Self(edge.portal.authenticate_bearer(token, request).await?))
    }
}

/// Whoever presents a good token of any kind: what they may do is for the permission table to say.
pub(super) struct Asker(pub(super) Ctx);

impl<S: Send + Sync> FromRequestParts<S> for Asker
where
    Edge: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let edge = Edge::from_ref(state);
        let (token, request) = presented(&edge, parts)?;
        Ok(Self(edge.portal.context_of(token, request).await?))
    }
}

/// The token to look up, if this address may have one looked up.
fn presented<'a>(edge: &Edge, parts: &'a Parts) -> Result<(&'a str, RequestId), Problem> {
    allow(&edge.lookups, parts)?;
    let token = bearer_token(&parts.headers).ok_or(Problem::SESSION_EXPIRED)?;
    Ok((token, request_id(parts)))
}

/// Passed the limit on exchanges of links.
pub(super) struct ExchangeAllowed;

impl<S: Send + Sync> FromRequestParts<S> for ExchangeAllowed
where
    Edge: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        allow(&Edge::from_ref(state).exchanges, parts).map(|()| Self)
    }
}

/// A place among the sockets that are being greeted. Greeting looks up a session, so it takes from that allowance.
pub(super) struct Greeting(pub(super) Place);

impl<S: Send + Sync> FromRequestParts<S> for Greeting
where
    Edge: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let edge = Edge::from_ref(state);
        allow(&edge.lookups, parts)?;
        let place = edge.greeting.take(client(parts));
        // By then, those of now have spoken or been closed.
        let full = || Problem::TOO_MANY_REQUESTS.retry_after(housecall_signaling::limits::HELLO_TIMEOUT);
        place.map(Self).ok_or_else(full)
    }
}

/// The address of whoever asks.
pub(super) struct Client(pub(super) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(client(parts)))
    }
}

fn client(parts: &Parts) -> IpAddr {
    let peer = parts.extensions.get::<Peer>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0)
}

fn allow(limit: &RateLimit, parts: &Parts) -> Result<(), Problem> {
    limit
        .take(client(parts))
        .map_err(|wait| Problem::TOO_MANY_REQUESTS.retry_after(wait))
}

fn request_id(parts: &Parts) -> RequestId {
    parts
        .extensions
        .get()
        .copied()
        .expect("the outermost middleware gives every request an id")
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1).
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The request's id.
pub(super) struct Id(pub(super) RequestId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(request_id(parts)))
    }
}

/// Values in the path; one that cannot be read names nothing.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = axum::extract::Path::from_request_parts(parts, state).await;
        found
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|_: PathRejection| Problem::NOT_FOUND)
    }
}

/// Values after the question mark.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = axum::extract::Query::from_request_parts(parts, state).await;
        found
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|_: QueryRejection| {
                Problem::INVALID_REQUEST
                    .detail("a parameter in the address is missing, unknown, or has a value that cannot be read")
            })
    }
}

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = body(request, "application/json", JSON_BYTES).await?;
        // serde_json's own text may quote the body, which may name people: say where, not what.
        serde_json::from_slice(&body).map(Self).map_err(|cause| {
            let what = match cause.classify() {
                serde_json::error::Category::Data => "a field is missing, unknown, or of the wrong type",
                _ => "the body is not valid JSON",
            };
            Problem::INVALID_REQUEST.detail(format!("{what} (line {}, column {})", cause.line(), cause.column()))
        })
    }
}

/// An SDP body.
pub(super) struct Sdp(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for Sdp {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        text(request, "application/sdp", SDP_BYTES).await.map(Self)
    }
}

/// An SDP fragment (RFC 8840).
pub(super) struct Fragment(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for Fragment {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let limit = housecall_signaling::limits::MAX_FRAGMENT_BYTES;
        text(request, "application/trickle-ice-sdpfrag", limit).await.map(Self)
    }
}

async fn text(request: Request, media_type: &str, limit: usize) -> Result<String, Problem> {
    let body = body(request, media_type, limit).await?;
    String::from_utf8(body.into()).map_err(|_| Problem::INVALID_REQUEST.detail("the body is not UTF-8"))
}

async fn body(request: Request, media_type: &str, limit: usize) -> Result<Bytes, Problem> {
    let sent = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = sent
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    if !essence.eq_ignore_ascii_case(media_type) {
        return Err(Problem::UNSUPPORTED_MEDIA_TYPE.detail(format!("the body must be {media_type}")));
    }
    to_bytes(request.into_body(), limit)
        .await
        .map_err(|_| Problem::TOO_LARGE.detail(format!("the body must arrive whole and have at most {limit} bytes")))
}
