//! What holds for every request: an id, security headers, errors in one form, one metric, one log line.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::Problem;
use super::{Edge, Peer, proxy};
use crate::ids::RequestId;

/// Everything from the own origin, nothing inline, nothing framed; the DOM takes no strings as code, but for the URL of one worker
/// (`web-client/src/speech.js`; its policy makes that one URL only).
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    font-src 'self'; connect-src 'self'; media-src 'self' blob:; manifest-src 'self'; form-action 'none'; \
    frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types speech-worker";
const PERMISSIONS_POLICY: &str = "camera=(self), microphone=(self), autoplay=(self), fullscreen=(self), \
    picture-in-picture=(self), display-capture=(self), screen-wake-lock=(self), geolocation=(), payment=(), usb=()";
const STRICT_TRANSPORT_SECURITY: &str = "max-age=31536000";

/// On every answer. `Cache-Control` only where a handler has not said otherwise.
const SECURITY_HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What an error looks like to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `application/problem+json`, for programs: the form for all who don't ask for pages.
    Json,
    /// A small page, for people who typed an address into a browser.
    Page,
}

impl Form {
    /// Browsers name `text/html` when a person goes somewhere, and neither in `fetch` nor for scripts and pictures.
    fn wanted(headers: &HeaderMap) -> Self {
        let mut named = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|item| item.split(';').next())
            .map(str::trim);
        match named.any(|kind| kind.eq_ignore_ascii_case("text/html")) {
            true => Self::Page,
            false => Self::Json,
        }
    }
}

/// The outermost middleware.
pub(super) async fn finish(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let id = RequestId::random();
    request.extensions_mut().insert(id);
    if let Some(&Peer(peer)) = request.extensions().get() {
        let client = proxy::client(peer, request.headers(), &edge.settings.trusted_proxies);
        request.extensions_mut().insert(Peer(client));
    }
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let form = Form::wanted(request.headers());
    let start = Instant::now();

    let mut response = next.run(request).await;

    write_problem(&mut response, id, form);
    secure(response.headers_mut(), edge.settings.tls);
    response.headers_mut().insert(REQUEST_ID, header_value(&id.to_string()));

    let (status, elapsed) = (response.status(), start.elapsed());
    edge.metrics.count(&route, &method, status, elapsed);
    let problem = response.extensions().get::<Problem>().map(|problem| problem.code);
    // The route's template, not the path: the path names visits.
    if status.is_server_error() {
        tracing::warn!(request = %id, %method, %route, status = status.as_u16(), ?elapsed, problem, "request failed");
    } else {
        tracing::debug!(request = %id, %method, %route, status = status.as_u16(), ?elapsed, problem, "request");
    }
    response
}

/// Gives every error the one form, those of axum itself included.
fn write_problem(response: &mut Response, id: RequestId, form: Form) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return;
    }
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => problem.clone(),
        None => {
            let problem = Problem::of_status(status);
            response.extensions_mut().insert(problem.clone());
            problem
        }
    };
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    let (content_type, body) = match form {
        Form::Json => ("application/problem+json", problem.body(id)),
        Form::Page => ("text/html; charset=utf-8", problem.page(id)),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers
            .entry(header::RETRY_AFTER)
            .or_insert(HeaderValue::from_static("2"));
    }
    *response.body_mut() = Body::from(body);
}

fn secure(headers: &mut HeaderMap, tls: bool) {
    for (name, value) in SECURITY_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if tls {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static(STRICT_TRANSPORT_SECURITY),
        );
    }
}

/// A header value of text that is known to be visible ASCII; anything else becomes an empty one.
pub(super) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
