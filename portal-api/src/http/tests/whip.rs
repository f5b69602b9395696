//! WHIP (RFC 9725) and WHEP.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use jiff::SignedDuration;

use super::fixture::{Fixture, OFFER, Reply, ask};
use crate::limits::SDP_BYTES;
use crate::store::HolderRole;
use crate::{TokenRequest, VisitStart};

struct Call<'a> {
    method: Method,
    path: &'a str,
    bearer: &'a str,
    kind: &'a str,
    if_match: Option<&'a str>,
    body: &'a str,
}

impl Fixture {
    async fn tool(&self, call: Call<'_>) -> Reply {
        let mut request = ask(call.method, call.path)
            .header("authorization", format!("Bearer {}", call.bearer))
            .header("content-type", call.kind);
        if let Some(tag) = call.if_match {
            request = request.header("if-match", tag);
        }
        self.send(request.body(Body::from(call.body.to_owned())).expect("a request"))
            .await
    }

    async fn offer(&self, path: &str, bearer: &str, body: &str) -> Reply {
        let kind = "application/sdp";
        self.tool(Call {
            method: Method::POST,
            path,
            bearer,
            kind,
            if_match: None,
            body,
        })
        .await
    }

    async fn trickle(&self, path: &str, bearer: &str, if_match: Option<&str>, body: &str) -> Reply {
        let kind = "application/trickle-ice-sdpfrag";
        self.tool(Call {
            method: Method::PATCH,
            path,
            bearer,
            kind,
            if_match,
            body,
        })
        .await
    }

    async fn guest(&self) -> String {
        let wanted = TokenRequest {
            visit: self.visit,
            role: HolderRole::Guest,
            name: None,
            ttl: None,
        };
        let minted = self
            .portal
            .mint_token(wanted)
            .await
            .unwrap_or_else(|cause| panic!("{cause}"));
        minted.token.expose().to_owned()
    }
}

#[tokio::test]
async fn a_publisher_comes_restarts_and_goes() {
    let f = Fixture::new().await;
    let bearer = f.clinician.expose();
    let created = f.offer(&format!("/whip/{}", f.visit), bearer, OFFER).await;
    assert_eq!(
        (created.status, created.header("content-type")),
        (StatusCode::CREATED, "application/sdp")
    );
    assert!(created.text().starts_with("v=0\r\n"));
    let location = created.header("location").to_owned();
    let participant = location
        .strip_prefix(&format!("/whip/{}/", f.visit))
        .expect("below the endpoint");
    assert!(!participant.is_empty() && !participant.contains('/'));
    let etag = created.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2);

    let candidate = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n";
    f.trickle(&location, bearer, None, candidate)
        .await
        .assert_problem(428, "precondition_required");
    f.trickle(&location, bearer, Some("\"other\""), candidate)
        .await
        .assert_problem(412, "precondition_failed");
    f.trickle(&location, bearer, Some(&etag), "nonsense")
        .await
        .assert_problem(400, "invalid_request");
    assert_eq!(
        f.trickle(&location, bearer, Some(&etag), candidate).await.status,
        StatusCode::NO_CONTENT
    );

    let restart = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n";
    let restarted = f.trickle(&location, bearer, Some("*"), restart).await;
    assert_eq!(
        (restarted.status, restarted.header("content-type")),
        (StatusCode::OK, "application/trickle-ice-sdpfrag")
    );
    assert!(restarted.text().contains("a=ice-ufrag:next"));
    assert_ne!(restarted.header("etag"), etag);
    f.trickle(&location, bearer, Some(&etag), candidate)
        .await
        .assert_problem(412, "precondition_failed");

    let wrong = Call {
        method: Method::PATCH,
        path: &location,
        bearer,
        kind: "application/sdp",
        if_match: Some("*"),
        body: restart,
    };
    f.tool(wrong).await.assert_problem(415, "unsupported_media_type");

    let guest = f.guest().await;
    f.call(Method::DELETE, &location, &guest, None)
        .await
        .assert_problem(404, "not_found");
    assert_eq!(
        f.call(Method::DELETE, &location, bearer, None).await.status,
        StatusCode::OK
    );
    f.call(Method::DELETE, &location, bearer, None)
        .await
        .assert_problem(404, "not_found");
}

#[tokio::test]
async fn watchers_may_name_whom_they_watch() {
    let f = Fixture::new().await;
    let created = f
        .offer(&format!("/whip/{}", f.visit), f.clinician.expose(), OFFER)
        .await;
    let publisher = created
        .header("location")
        .rsplit_once('/')
        .expect("a path")
        .1
        .to_owned();
    let guest = f.guest().await;
    let whep = format!("/whep/{}", f.visit);
    for path in [whep.clone(), format!("{whep}?from={publisher}")] {
        let reply = f.offer(&path, &guest, OFFER).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        assert!(reply.header("location").starts_with(&format!("{whep}/")));
    }
    f.offer(&format!("{whep}?from=0000000000000000"), &guest, OFFER)
        .await
        .assert_problem(404, "not_found");
    f.offer(&format!("{whep}?form={publisher}"), &guest, OFFER)
        .await
        .assert_problem(400, "invalid_request");
}

#[tokio::test]
async fn one_token_may_bring_many_watchers() {
    let f = Fixture::new().await;
    f.offer(&format!("/whip/{}", f.visit), f.clinician.expose(), OFFER)
        .await;
    let guest = f.guest().await;
    let whep = format!("/whep/{}", f.visit);
    let all = futures_util::future::join_all((0..100).map(|_| f.offer(&whep, &guest, OFFER))).await;
    let places: std::collections::BTreeSet<_> = all.iter().map(|reply| reply.header("location").to_owned()).collect();
    assert!(all.iter().all(|reply| reply.status == StatusCode::CREATED));
    assert_eq!(places.len(), 100);
}

#[tokio::test]
async fn what_endpoints_refuse() {
    let f = Fixture::new().await;
    let other = f
        .portal
        .create_visit(VisitStart::In(SignedDuration::ZERO), crate::ClinicProfile::demo())
        .await
        .expect("made")
        .visit;
    let bearer = f.clinician.expose();
    for kind in ["whip", "whep"] {
        let endpoint = format!("/{kind}/{}", f.visit);
        f.offer(&endpoint, "x", OFFER)
            .await
            .assert_problem(401, "session_expired");
        f.offer(&format!("/{kind}/{other}"), bearer, OFFER)
            .await
            .assert_problem(403, "not_allowed");
        f.offer(&format!("/{kind}/x"), bearer, OFFER)
            .await
            .assert_problem(404, "not_found");
        f.offer(&endpoint, bearer, "v=")
            .await
            .assert_problem(400, "invalid_request");
        f.offer(&endpoint, bearer, "unsupported")
            .await
            .assert_problem(422, "offer_unsupported");
        f.offer(&endpoint, bearer, &"x".repeat(SDP_BYTES + 1))
            .await
            .assert_problem(413, "too_large");
        let json = Call {
            method: Method::POST,
            path: &endpoint,
            bearer,
            kind: "application/json",
            if_match: None,
            body: "{}",
        };
        f.tool(json).await.assert_problem(415, "unsupported_media_type");
    }
    let clinician = f.session(&f.clinician).await;
    let cancel = format!("/api/appointments/{}/cancel", f.visit);
    assert_eq!(
        f.call(Method::POST, &cancel, &clinician, None).await.status,
        StatusCode::NO_CONTENT
    );
    f.offer(&format!("/whip/{}", f.visit), bearer, OFFER)
        .await
        .assert_problem(410, "visit_cancelled");
}

#[tokio::test]
async fn pages_of_other_origins_may_call() {
    let f = Fixture::new().await;
    let endpoint = format!("/whip/{}", f.visit);
    let session = format!("/whep/{}/0123456789abcdef", f.visit);
    for (path, methods, accepts) in [
        (&endpoint, "POST, OPTIONS", ("accept-post", "application/sdp")),
        (
            &session,
            "PATCH, DELETE, OPTIONS",
            ("accept-patch", "application/trickle-ice-sdpfrag"),
        ),
    ] {
        let reply = f
            .send(ask(Method::OPTIONS, path).body(Body::empty()).expect("a request"))
            .await;
        assert_eq!((reply.status, reply.header(accepts.0)), (StatusCode::OK, accepts.1));
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert_eq!(reply.header("access-control-allow-methods"), methods);
        assert_eq!(
            reply.header("access-control-allow-headers"),
            "authorization, content-type, if-match"
        );
    }
    let refused = f.offer(&endpoint, "x", OFFER).await;
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "*",
        "scripts may read why"
    );
    assert_eq!(refused.header("cross-origin-resource-policy"), "cross-origin");
    assert_eq!(f.get("/api/today").await.header("access-control-allow-origin"), "");
}
