//! A router over a fresh portal, and a media core that answers any offer that looks like one.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use housecall_sfu::{
    Answer, IceCredentials, Mid, NegotiateError, ParticipantId, RelayAccess, RelayUserId, RoomId, Snapshot, Target,
    TrackId,
};
use housecall_signaling::{Hub, HubSettings, Media};
use jiff::Timestamp;
use serde_json::Value;
use tower::ServiceExt;

use crate::clock::ManualClock;
use crate::ids::{RequestId, VisitId};
use crate::secret::Token;
use crate::store::{AuditRow, Ctx};
use crate::{ClinicProfile, Peer, Portal, Web, WebSettings};

pub(super) const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n";

/// Stands in for the media core.
#[derive(Clone)]
pub(super) struct FakeMedia;

impl Media for FakeMedia {
    fn create_room(&self, _: RoomId, _: usize) -> Result<(), NegotiateError> {
        Ok(())
    }
    fn close_room(&self, _: RoomId) {}
    async fn negotiate(&self, _: RoomId, _: ParticipantId, offer: String) -> Result<Answer, NegotiateError> {
        match offer.as_str() {
            OFFER => Ok(Answer {
                sdp: "v=0\r\no=- 2 2 IN IP4 0.0.0.0\r\n".to_owned(),
                published: Vec::new(),
                slots: Vec::new(),
                ice: credentials("serv"),
            }),
            "unsupported" => Err(NegotiateError::Unsupported("no bundle".to_owned())),
            _ => Err(NegotiateError::Malformed("no v= line".to_owned())),
        }
    }
    async fn restart_ice(
        &self,
        _: RoomId,
        _: ParticipantId,
        _: IceCredentials,
    ) -> Result<IceCredentials, NegotiateError> {
        Ok(credentials("next"))
    }
    fn remove_participant(&self, _: RoomId, _: ParticipantId) {}
    fn relay_access(&self, _: RoomId, _: RelayUserId) -> Option<RelayAccess> {
        None
    }

    fn end_relay_user(&self, _: RoomId, _: RelayUserId) {}

    fn set_source(&self, _: RoomId, _: ParticipantId, _: Mid, _: Option<TrackId>) {}
    fn set_target(&self, _: RoomId, _: ParticipantId, _: Mid, _: Target) {}

    async fn snapshot(&self, _: RoomId, _: Vec<ParticipantId>) -> Option<Snapshot> {
        None
    }
}

fn credentials(ufrag: &str) -> IceCredentials {
    IceCredentials {
        ufrag: ufrag.to_owned(),
        pwd: "0123456789012345678901".to_owned(),
    }
}

pub(super) struct Fixture {
    pub(super) directory: tempfile::TempDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) portal: Portal,
    pub(super) registry: prometheus::Registry,
    pub(super) router: Router,
    pub(super) visit: VisitId,
    pub(super) clinician: Token,
    pub(super) patient: Token,
}

/// Names that the demo clinic holds; none may show up in logs, metrics or errors.
pub(super) const NAMES: [&str; 3] = ["Alex Rivera", "Sam Morgan", "Harbor Street"];

impl Fixture {
    pub(super) async fn new() -> Self {
        Self::with(WebSettings::default(), || true).await
    }

    pub(super) async fn with(settings: WebSettings, media_alive: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let now: Timestamp = "2026-11-22T09:00:00Z".parse().expect("instant");
        let clock = Arc::new(ManualClock::new(now));
        let portal = Portal::open_with_clock(directory.path(), clock.clone()).expect("a new portal");
        let links = portal.start_clinic(ClinicProfile::demo()).await.expect("started");
        let (_, events) = tokio::sync::mpsc::channel(1);
        let hub = Hub::new(FakeMedia, events, Arc::new(portal.clone()), HubSettings::default());
        let registry = prometheus::Registry::new();
        let router = crate::router(Web {
            portal: portal.clone(),
            hub,
            settings,
            registry: registry.clone(),
            media_alive: Arc::new(media_alive),
        });
        Self {
            directory,
            clock,
            portal,
            registry,
            router: router.expect("fresh metrics"),
            visit: links.visit,
            clinician: links.clinician,
            patient: links.patient,
        }
    }

    /// Sends a request, from this machine unless it says otherwise.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Reply {
        request.extensions_mut().get_or_insert(Peer(Ipv4Addr::LOCALHOST.into()));
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("the router does not fail");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 10_000_000).await.expect("a whole body");
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.to_vec(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(ask(Method::GET, path).body(Body::empty()).expect("a request"))
            .await
    }

    /// With a bearer and perhaps a JSON body.
    pub(super) async fn call(&self, method: Method, path: &str, bearer: &str, body: Option<Value>) -> Reply {
        let mut request = ask(method, path).header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).expect("a request")).await
    }

    pub(super) async fn exchange(&self, token: &Token) -> Reply {
        let body = serde_json::json!({ "token": token.expose() });
        let request = ask(Method::POST, "/api/session").header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).expect("a request"))
            .await
    }

    pub(super) async fn session(&self, token: &Token) -> String {
        let reply = self.exchange(token).await;
        assert_eq!(reply.status, StatusCode::OK);
        reply.json()["session"].as_str().expect("a token").to_owned()
    }

    pub(super) async fn log(&self) -> Vec<AuditRow> {
        let ctx = Ctx::operator("test", RequestId::random());
        let read = self.portal.store().tx(&ctx, |tx| tx.audit_read(0, 10_000)).await;
        read.expect("the audit log")
    }
}

pub(super) fn ask(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("visible ASCII"))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Checks that this is a whole problem, of this status and code.
    #[track_caller]
    pub(super) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.header("content-type")),
            (status, "application/problem+json"),
            "{}",
            self.text()
        );
        let problem = self.json();
        assert_eq!(
            (problem["code"].as_str(), problem["status"].as_u64()),
            (Some(code), Some(status.into()))
        );
        assert_eq!(
            problem["type"].as_str(),
            Some(format!("urn:housecall:problem:{code}").as_str())
        );
        assert_eq!(problem["request_id"].as_str(), Some(self.header("x-request-id")));
        for text in ["title", "detail", "action"] {
            assert!(
                problem[text].as_str().is_some_and(|text| text.len() > 8),
                "{text}: {problem}"
            );
        }
    }
}
