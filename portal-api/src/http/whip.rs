//! WHIP (RFC 9725) and WHEP: encoders, test tools and other SDKs take part over plain HTTP.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use housecall_signaling::message::IceServer;
use housecall_signaling::{HttpJoin, HttpPatch, Hub, Identity, Media};
use serde::Deserialize;

use super::edge::header_value;
use super::extract::{Bearer, Fragment, Path, Query, Sdp};
use super::problem::Problem;
use crate::Portal;
use crate::ids::VisitId;
use crate::portal::live::identity;
use crate::store::Holder;

const SDP: HeaderValue = HeaderValue::from_static("application/sdp");
const FRAGMENT: HeaderValue = HeaderValue::from_static("application/trickle-ice-sdpfrag");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// `POST /whip/{visit}`
pub(super) async fn publish<M: Media>(
    State(hub): State<Hub<Portal, M>>,
    Path(visit): Path<VisitId>,
    Bearer(holder): Bearer,
    Sdp(offer): Sdp,
) -> Result<Response, Problem> {
    let identity = in_visit(&holder, visit)?;
    let joined = hub.whip(identity, offer).await?;
    Ok(created("whip", visit, joined))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    from: Option<String>,
}

/// `POST /whep/{visit}[?from={participant}]`
pub(super) async fn watch<M: Media>(
    State(hub): State<Hub<Portal, M>>,
    Path(visit): Path<VisitId>,
    Query(source): Query<Source>,
    Bearer(holder): Bearer,
    Sdp(offer): Sdp,
) -> Result<Response, Problem> {
    let identity = in_visit(&holder, visit)?;
    let joined = hub.whep(identity, source.from, offer).await?;
    Ok(created("whep", visit, joined))
}

/// `PATCH {Location}`: candidates, or an ICE restart (RFC 9725 §4.3).
pub(super) async fn patch<M: Media>(
    State(hub): State<Hub<Portal, M>>,
    Path((visit, participant)): Path<(VisitId, String)>,
    Bearer(holder): Bearer,
    headers: HeaderMap,
    Fragment(fragment): Fragment,
) -> Result<Response, Problem> {
    let identity = in_visit(&holder, visit)?;
    let if_match = match headers.get(header::IF_MATCH).map(HeaderValue::to_str) {
        Some(Ok(value)) => Some(value),
        Some(Err(_)) => return Err(Problem::PRECONDITION_FAILED),
        None => None,
    };
    let done = hub.http_patch(&identity, &participant, &fragment, if_match).await?;
    Ok(match done {
        HttpPatch::Accepted => StatusCode::NO_CONTENT.into_response(),
        HttpPatch::Restarted { fragment, etag } => {
            let headers = [(header::CONTENT_TYPE, FRAGMENT), (header::ETAG, header_value(&etag))];
            (StatusCode::OK, headers, fragment).into_response()
        }
    })
}

/// `DELETE {Location}`
pub(super) async fn leave<M: Media>(
    State(hub): State<Hub<Portal, M>>,
    Path((visit, participant)): Path<(VisitId, String)>,
    Bearer(holder): Bearer,
) -> Result<StatusCode, Problem> {
    let identity = in_visit(&holder, visit)?;
    hub.http_leave(&identity, &participant).await?;
    Ok(StatusCode::OK)
}

/// `OPTIONS` of an endpoint (RFC 9725 §4.2).
pub(super) async fn options() -> Response {
    let headers = [
        (ACCEPT_POST, SDP),
        (header::ALLOW, HeaderValue::from_static("POST, OPTIONS")),
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("POST, OPTIONS"),
        ),
    ];
    preflight(headers)
}

/// `OPTIONS` of a session.
pub(super) async fn session_options() -> Response {
    let headers = [
        (ACCEPT_PATCH, FRAGMENT),
        (header::ALLOW, HeaderValue::from_static("PATCH, DELETE, OPTIONS")),
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("PATCH, DELETE, OPTIONS"),
        ),
    ];
    preflight(headers)
}

fn preflight(headers: [(HeaderName, HeaderValue); 3]) -> Response {
    let shared = [
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, if-match"),
        ),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ];
    (StatusCode::OK, headers, shared).into_response()
}

/// Any page may call these addresses: they take a bearer token and no cookie, so a foreign page has nothing that the token's holder
/// did not give it.
pub(super) async fn cross_origin(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("location, etag, link, accept-patch, retry-after, x-request-id"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    response
}

/// A token opens its own visit only.
fn in_visit(holder: &Holder, visit: VisitId) -> Result<Identity, Problem> {
    if holder.visit() != visit {
        return Err(Problem::NOT_ALLOWED.detail("the token belongs to another visit"));
    }
    Ok(identity(holder)?)
}

/// The answer is complete, with all candidates. `Link` names the relay (RFC 9725 §4.6), for clients behind networks that let no UDP through.
fn created(kind: &str, visit: VisitId, joined: HttpJoin) -> Response {
    let location = format!("/{kind}/{visit}/{}", joined.participant);
    let headers = [
        (header::CONTENT_TYPE, SDP),
        (header::LOCATION, header_value(&location)),
        (header::ETAG, header_value(&joined.etag)),
        (ACCEPT_PATCH, FRAGMENT),
    ];
    let mut response = (StatusCode::CREATED, headers, joined.answer).into_response();
    for relay in joined.relay.iter().flat_map(links) {
        response.headers_mut().append(header::LINK, relay);
    }
    response
}

/// One `Link` for each address of the relay. Credentials are of base64, digits and colons, so nothing needs to be escaped.
fn links(relay: &IceServer) -> impl Iterator<Item = HeaderValue> {
    let IceServer {
        urls,
        username,
        credential,
    } = relay;
    urls.iter().map(move |url| {
        let link = format!(
            "<{url}>; rel=\"ice-server\"; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
        );
        let mut value = header_value(&link);
        value.set_sensitive(true);
        value
    })
}
