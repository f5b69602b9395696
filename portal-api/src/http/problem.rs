//! Errors as `application/problem+json` (RFC 9457): a stable code, a sentence, and one thing to do.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use housecall_sfu::NegotiateError;
use housecall_signaling::{HttpError, JoinError};

use super::assets::ASSETS;
use crate::PortalError;
use crate::ids::RequestId;

/// An error as HTTP says it. The middleware writes the body, for it knows the request's id.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// Stable snake_case word that clients switch on.
    pub(super) code: &'static str,
    title: &'static str,
    action: &'static str,
    detail: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
}

macro_rules! problems {
    ($($name:ident: $status:ident, $code:literal, $title:literal, $action:literal;)*) => { $(
        pub(super) const $name: Self = Self::plain(StatusCode::$status, $code, $title, $action);
    )*
        /// All of them, for the test that holds the page about them true.
        #[cfg(test)]
        const ALL: &[Self] = &[$(Self::$name),*];
    };
}

impl Problem {
    problems! {
        INVALID_REQUEST: BAD_REQUEST, "invalid_request", "The request cannot be understood", "Correct the request and send it again.";
        SESSION_EXPIRED: UNAUTHORIZED, "session_expired", "No valid session", "Exchange the join link for a new session.";
        NOT_ALLOWED: FORBIDDEN, "not_allowed", "Not allowed for this person", "Use a link or token that is meant for this.";
        ORIGIN_REFUSED: FORBIDDEN, "origin_refused", "The page is of another origin", "Open the page at the server's own address.";
        NOT_FOUND: NOT_FOUND, "not_found", "There is no such thing here", "Check the address.";
        LINK_INVALID: NOT_FOUND, "link_invalid", "The link is not valid", "Open the newest link you were sent, whole.";
        METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED, "method_not_allowed", "This cannot be done here", "Use one of the methods in the Allow header.";
        CONFLICT: CONFLICT, "conflict", "Not possible as things stand", "Reload, look at how things stand, and decide again.";
        LINK_EXPIRED: GONE, "link_expired", "The link has expired", "Ask the clinic for a new link.";
        VISIT_ENDED: GONE, "visit_ended", "The visit has ended", "Ask the clinic for a new appointment if you need one.";
        VISIT_CANCELLED: GONE, "visit_cancelled", "The appointment was cancelled", "Ask the clinic for a new appointment if you need one.";
        PRECONDITION_FAILED: PRECONDITION_FAILED, "precondition_failed", "The session has changed since", "Use the newest ETag, or If-Match: * to restart ICE.";
        TOO_LARGE: PAYLOAD_TOO_LARGE, "too_large", "The request is too large", "Send less.";
        UNSUPPORTED_MEDIA_TYPE: UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body is of the wrong type", "Send the Content-Type this address is documented with.";
        OFFER_UNSUPPORTED: UNPROCESSABLE_ENTITY, "offer_unsupported", "The offer cannot be answered", "Offer what the protocol page lists.";
        PRECONDITION_REQUIRED: PRECONDITION_REQUIRED, "precondition_required", "If-Match is missing", "Send If-Match with the ETag, or * to restart ICE.";
        TOO_MANY_REQUESTS: TOO_MANY_REQUESTS, "too_many_requests", "Too many requests from this network", "Wait a moment and try again.";
        INTERNAL: INTERNAL_SERVER_ERROR, "internal", "Something went wrong in the server", "Try again; if it stays, tell the operator the request id.";
        UNAVAILABLE: SERVICE_UNAVAILABLE, "unavailable", "The server cannot do this at the moment", "Try again in a moment.";
        FULL: SERVICE_UNAVAILABLE, "visit_full", "There is no room for another participant", "Wait until somebody has left, then try again.";
        NOT_READY: SERVICE_UNAVAILABLE, "not_ready", "A part of the server does not work", "Look at the server's log.";
    }

    const fn plain(status: StatusCode, code: &'static str, title: &'static str, action: &'static str) -> Self {
        Self {
            status,
            code,
            title,
            action,
            detail: None,
            retry_after: None,
        }
    }

    /// With a sentence about this very case. It must hold no personal data.
    pub(super) fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// For answers that come from no handler of ours: axum's own rejections.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => Self::METHOD_NOT_ALLOWED,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::SERVICE_UNAVAILABLE => Self::UNAVAILABLE,
            status if status.is_client_error() => Self {
                status,
                ..Self::INVALID_REQUEST
            },
            _ => Self::INTERNAL,
        }
    }

    /// The body.
    pub(super) fn body(&self, request: RequestId) -> String {
        serde_json::json!({
            "type": format!("urn:housecall:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail.as_deref().unwrap_or(self.title),
            "code": self.code,
            "action": self.action,
            "request_id": request,
        })
        .to_string()
    }

    /// The body, for people: a page that loads nothing but our own style. The texts are ours and hold nothing that was sent.
    pub(super) fn page(&self, request: RequestId) -> String {
        let link = |rel, file| {
            let asset = ASSETS.iter().find(|asset| asset.path.ends_with(file));
            asset.map_or_else(String::new, |asset| {
                format!("<link rel=\"{rel}\" href=\"{}\">", asset.path)
            })
        };
        let (style, icon) = (
            link("stylesheet", "/styles/main.css"),
            link("icon", "/icons/housecall.svg"),
        );
        // A visit is opened by its link; what else a person may want in a browser is the start page.
        let action = match self.status {
            StatusCode::NOT_FOUND => "Open the link from your clinic’s message again, whole, or go to the start page.",
            _ => self.action,
        };
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
            <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"robots\" content=\"noindex\">\
            <title>{title} · Housecall</title>{icon}{style}</head>\n<body><div class=\"page narrow\"><main class=\"page-main\">\
            <section class=\"card message\"><h1>{title}</h1><p>{action}</p>\
            <a class=\"button primary big\" href=\"/\">Start page</a>\
            <p class=\"fine\">{status} · {request}</p></section></main></div></body></html>\n",
            title = match self.status {
                StatusCode::NOT_FOUND => "There is no page at this address",
                _ => self.title,
            },
            status = self.status.as_u16(),
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        let default_wait = (self.status == StatusCode::SERVICE_UNAVAILABLE).then_some(Duration::from_secs(2));
        if let Some(wait) = self.retry_after.or(default_wait) {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<PortalError> for Problem {
    fn from(cause: PortalError) -> Self {
        match cause {
            PortalError::LinkInvalid => Self::LINK_INVALID,
            PortalError::LinkExpired => Self::LINK_EXPIRED,
            PortalError::SessionExpired => Self::SESSION_EXPIRED,
            PortalError::VisitEnded => Self::VISIT_ENDED,
            PortalError::VisitCancelled => Self::VISIT_CANCELLED,
            PortalError::NotAllowed => Self::NOT_ALLOWED,
            PortalError::NotFound => Self::NOT_FOUND,
            PortalError::Conflict(conflict) => Self::CONFLICT.detail(conflict.to_string()),
            PortalError::Invalid(what) => Self::INVALID_REQUEST.detail(what),
            PortalError::Unavailable(cause) => {
                // SQLite's texts name tables and columns, never values.
                tracing::warn!(
                    error = &cause as &dyn std::error::Error,
                    "the store did not do a request"
                );
                Self::UNAVAILABLE
            }
        }
    }
}

impl From<NegotiateError> for Problem {
    fn from(cause: NegotiateError) -> Self {
        let text = cause.to_string();
        match cause {
            NegotiateError::Malformed(_) => Self::INVALID_REQUEST.detail(text),
            NegotiateError::Unsupported(_) => Self::OFFER_UNSUPPORTED.detail(text),
            NegotiateError::Conflict(_) => Self::CONFLICT.detail(text),
            NegotiateError::NoSuchRoom | NegotiateError::NoSuchParticipant => Self::NOT_FOUND.detail(text),
            NegotiateError::Full { .. } => Self::FULL.detail(text),
            NegotiateError::Busy => Self::UNAVAILABLE.detail(text),
        }
    }
}

impl From<JoinError> for Problem {
    fn from(cause: JoinError) -> Self {
        let text = cause.to_string();
        match cause {
            JoinError::Offer(refused) => refused.into(),
            JoinError::Full { .. } => Self::FULL.detail(text),
            JoinError::Stopping => Self::UNAVAILABLE.detail(text),
        }
    }
}

impl From<HttpError> for Problem {
    fn from(cause: HttpError) -> Self {
        match cause {
            HttpError::NotFound => Self::NOT_FOUND.detail(HttpError::NotFound.to_string()),
            HttpError::PreconditionRequired => Self::PRECONDITION_REQUIRED,
            HttpError::PreconditionFailed => Self::PRECONDITION_FAILED,
            HttpError::Fragment(what) => Self::INVALID_REQUEST.detail(what),
            HttpError::Media(refused) => refused.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Problem;

    #[test]
    fn the_page_lists_every_code_with_its_status() {
        let page = include_str!("../../../docs/http.md");
        let rows = page
            .lines()
            .filter(|line| line.starts_with("| 4") || line.starts_with("| 5"));
        let listed: Vec<(&str, &str)> = rows
            .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
            .flat_map(|(status, codes)| codes.split('`').skip(1).step_by(2).map(move |code| (status, code)))
            .filter(|(_, code)| *code != "Retry-After")
            .collect();
        for problem in Problem::ALL {
            let row = listed.iter().find(|(_, code)| *code == problem.code);
            let status = row.map(|(status, _)| *status).unwrap_or_default();
            assert!(status.contains(problem.status.as_str()), "{}", problem.code);
        }
        assert_eq!(
            listed.len(),
            Problem::ALL.len(),
            "the page lists a code that does not exist"
        );
    }
}
