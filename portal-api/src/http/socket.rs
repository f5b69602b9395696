//! `GET /ws`: from HTTP to a live visit's socket.

use std::future::ready;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use housecall_signaling::{CloseCode, Frame, Hub, Media, limits};

use super::Edge;
use super::extract::Greeting;
use super::problem::Problem;
use super::rate::Place;
use crate::Portal;

/// The library's limit stands above the visits' own, so that they can say what was wrong before they close.
const MESSAGE_BYTES: usize = 2 * limits::MAX_MESSAGE_BYTES;

/// Upgrades a request of our own page, or of a tool that is no page.
pub(super) async fn upgrade<M: Media>(
    Greeting(place): Greeting,
    State(edge): State<Edge>,
    State(hub): State<Hub<Portal, M>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let public = edge.settings.public_origin.as_deref();
    if !origin_is_ours(&headers, public) {
        return Err(Problem::ORIGIN_REFUSED);
    }
    Ok(upgrade
        .max_message_size(MESSAGE_BYTES)
        .max_frame_size(MESSAGE_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(1024 * 1024)
        .on_upgrade(async move |socket| serve(hub, socket, place).await))
}

async fn serve<M: Media>(hub: Hub<Portal, M>, socket: WebSocket, place: Place) {
    let frames = socket
        .with(|frame: Frame| ready(Ok::<_, axum::Error>(to_message(frame))))
        .map(|received| received.map(from_message));
    hub.serve_socket(frames, place).await;
}

fn to_message(frame: Frame) -> Message {
    match frame {
        Frame::Text(text) => Message::Text(text.into()),
        Frame::Binary => Message::Binary(axum::body::Bytes::new()),
        Frame::Ping => Message::Ping(axum::body::Bytes::new()),
        Frame::Pong => Message::Pong(axum::body::Bytes::new()),
        Frame::Close(code) => Message::Close(code.map(|code| CloseFrame {
            code: code.number(),
            reason: code.reason().into(),
        })),
    }
}

fn from_message(message: Message) -> Frame {
    match message {
        Message::Text(text) => Frame::Text(text.as_str().to_owned()),
        Message::Binary(_) => Frame::Binary,
        Message::Ping(_) => Frame::Ping,
        Message::Pong(_) => Frame::Pong,
        Message::Close(frame) => Frame::Close(frame.map(|frame| CloseCode::Other(frame.code))),
    }
}

/// Browsers put their page's origin on every WebSocket request, so another site's page is told apart from ours (RFC 6455 §10.2).
/// Tools send none.
fn origin_is_ours(headers: &HeaderMap, public: Option<&str>) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return true;
    };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else {
        return false;
    };
    if public.is_some_and(|public| origin.eq_ignore_ascii_case(public)) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), host) else {
        return false;
    };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let strip = |authority: &str| {
        authority
            .strip_suffix(default_port)
            .unwrap_or(authority)
            .to_ascii_lowercase()
    };
    !authority.is_empty() && strip(authority) == strip(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_may_connect() {
        let check = |origin: Option<&str>, host: &str, public: Option<&str>, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("host"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("origin"));
            }
            assert_eq!(origin_is_ours(&headers, public), expected, "{origin:?} to {host}");
        };
        check(None, "clinic.example", None, true);
        check(Some("https://clinic.example"), "clinic.example", None, true);
        check(Some("https://Clinic.example"), "clinic.example:443", None, true);
        check(Some("http://localhost:8080"), "localhost:8080", None, true);
        check(Some("http://localhost:8081"), "localhost:8080", None, false);
        check(Some("https://evil.example"), "clinic.example", None, false);
        check(
            Some("https://clinic.example.evil.example"),
            "clinic.example",
            None,
            false,
        );
        check(Some("null"), "clinic.example", None, false);
        check(Some("ftp://clinic.example"), "clinic.example", None, false);
        check(Some("https://"), "", None, false);
        check(
            Some("https://clinic.example"),
            "10.0.0.5:8080",
            Some("https://clinic.example"),
            true,
        );
        check(
            Some("http://clinic.example"),
            "10.0.0.5:8080",
            Some("https://clinic.example"),
            false,
        );
    }
}
