//! What must not work, and how it is said.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::json;

use super::fixture::{Fixture, NAMES, ask};
use crate::ids::RequestId;
use crate::limits::JSON_BYTES;
use crate::secret::{Token, TokenKind};

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let f = Fixture::new().await;
    let json = "application/json";
    let large = format!("{{\"token\":\"{}\"}}", "x".repeat(JSON_BYTES));
    let deep = "[".repeat(10_000);
    let cases: [(&str, &[u8], u16, &str); 12] = [
        (json, b"", 400, "invalid_request"),
        (json, b"{", 400, "invalid_request"),
        (json, b"[]", 400, "invalid_request"),
        (json, b"{}", 400, "invalid_request"),
        (json, b"{\"token\":1}", 400, "invalid_request"),
        (json, b"{\"token\":\"x\",\"more\":1}", 400, "invalid_request"),
        (json, b"{\"token\":\"x\",\"token\":\"y\"}", 400, "invalid_request"),
        (json, b"\xff\xfe", 400, "invalid_request"),
        (json, deep.as_bytes(), 400, "invalid_request"),
        (json, large.as_bytes(), 413, "too_large"),
        ("text/plain", b"{\"token\":\"x\"}", 415, "unsupported_media_type"),
        ("", b"{\"token\":\"x\"}", 415, "unsupported_media_type"),
    ];
    for (content_type, body, status, code) in cases {
        let mut request = ask(Method::POST, "/api/session");
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let reply = f
            .send(request.body(Body::from(body.to_vec())).expect("a request"))
            .await;
        reply.assert_problem(status, code);
    }
    let request = ask(Method::POST, "/api/session").header("content-type", "Application/JSON; charset=utf-8");
    let reply = f
        .send(request.body(Body::from("{\"token\":\"x\"}")).expect("a request"))
        .await;
    reply.assert_problem(404, "link_invalid");
}

#[tokio::test]
async fn appointments_that_make_no_sense() {
    let f = Fixture::new().await;
    let clinician = f.session(&f.clinician).await;
    let good = json!({ "patient_name": "Nemo Nobody", "starts_at": "2026-11-22T10:00:00Z", "minutes": 20 });
    let with = |key: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    for bad in [
        with("patient_name", json!("")),
        with("patient_name", json!("Nemo\u{0}Nobody")),
        with("patient_name", json!("Nemo ".repeat(100))),
        with("patient_name", json!(null)),
        with("starts_at", json!("tomorrow")),
        with("starts_at", json!("2026-11-22T10:00:00")),
        with("starts_at", json!("1999-01-01T00:00:00Z")),
        with("starts_at", json!(1_700_000_000)),
        with("minutes", json!(0)),
        with("minutes", json!(-20)),
        with("minutes", json!(1e30)),
        with("minutes", json!("20")),
        with("time_zone", json!("Mars/Olympus")),
        with("time_zone", json!("../../etc/passwd")),
        with("clinic", json!("another")),
    ] {
        let reply = f
            .call(Method::POST, "/api/appointments", &clinician, Some(bad.clone()))
            .await;
        reply.assert_problem(400, "invalid_request");
        assert!(!reply.text().contains("Nemo"), "an error text names somebody");
    }
    for query in [
        "",
        "?from=2026-11-22T10:00:00Z",
        "?from=x&to=y",
        "?from=2026-11-23T00:00:00Z&to=2026-11-22T00:00:00Z",
        "?from=2026-01-01T00:00:00Z&to=2026-12-01T00:00:00Z",
        "?from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z&patient=1",
        "?from=%ff&to=%00",
    ] {
        let path = format!("/api/appointments{query}");
        f.call(Method::GET, &path, &clinician, None)
            .await
            .assert_problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn addresses_that_lead_nowhere() {
    let f = Fixture::new().await;
    let clinician = f.session(&f.clinician).await;
    for path in [
        "/nowhere",
        "/api",
        "/api/",
        "/join/x",
        "/index.html",
        "/assets",
        "/assets/",
        "/assets/../Cargo.toml",
        "/assets/%2e%2e/%2e%2e/Cargo.toml",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/assets/0000000000000000/src/main.js",
        "/assets//src/main.js",
        "/housecall.sqlite3",
        "/..",
        "/%00",
    ] {
        f.get(path).await.assert_problem(404, "not_found");
    }
    for id in [
        "x",
        "00000000-0000-0000-0000-00000000000",
        "%00",
        "..",
        "00000000-0000-4000-8000-000000000000",
    ] {
        let path = format!("/api/appointments/{id}/cancel");
        f.call(Method::POST, &path, &clinician, None)
            .await
            .assert_problem(404, "not_found");
        let path = format!("/api/visits/{id}/session");
        f.call(Method::POST, &path, &clinician, None)
            .await
            .assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn methods_that_do_not_fit() {
    let f = Fixture::new().await;
    for (method, path, allow) in [
        (Method::POST, "/", "GET,HEAD"),
        (Method::DELETE, "/api/session", "POST"),
        (Method::GET, "/api/session", "POST"),
        (Method::PUT, "/api/today", "GET,HEAD"),
        (Method::GET, "/whip/x", "POST,OPTIONS"),
        (Method::from_bytes(b"BREW").expect("a method"), "/healthz", "GET,HEAD"),
    ] {
        let reply = f.send(ask(method, path).body(Body::empty()).expect("a request")).await;
        reply.assert_problem(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn a_plain_request_to_the_socket_is_refused() {
    let f = Fixture::new().await;
    f.get("/ws").await.assert_problem(400, "invalid_request");
}

#[tokio::test]
async fn faults_inside_are_said_without_their_causes() {
    let f = Fixture::with(crate::WebSettings::default(), || false).await;
    f.get("/readyz").await.assert_problem(503, "not_ready");
    assert_eq!(f.get("/healthz").await.status, StatusCode::OK);

    let f = Fixture::with(crate::WebSettings::default(), || panic!("{}", NAMES[0])).await;
    let reply = f.get("/readyz").await;
    reply.assert_problem(500, "internal");
    assert!(!reply.text().contains(NAMES[0]));

    let f = Fixture::new().await;
    assert_eq!(f.get("/readyz").await.text(), "ready\n");
    let db = rusqlite::Connection::open(f.directory.path().join("housecall.sqlite3")).expect("the file");
    let breaking = "CREATE TRIGGER broken BEFORE UPDATE ON probe BEGIN SELECT RAISE(ABORT, 'x'); END;
        CREATE TRIGGER worse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'x'); END";
    db.execute_batch(breaking).expect("triggers");
    assert_eq!(f.get("/readyz").await.text(), "ready\n", "asked again within a second");
    f.clock.advance(jiff::SignedDuration::from_secs(2));
    f.get("/readyz").await.assert_problem(503, "not_ready");
    let reply = f.exchange(&f.patient).await;
    reply.assert_problem(503, "unavailable");
    assert_eq!(reply.header("retry-after"), "2");
}

/// Anybody can make up tokens; the audit log is kept for years.
#[tokio::test]
async fn made_up_secrets_are_counted_and_leave_no_row() {
    let f = Fixture::new().await;
    let before = f.log().await.len();
    for _ in 0..250 {
        let [link, session] = [TokenKind::Link, TokenKind::Session].map(Token::mint);
        assert!(f.portal.exchange(link.expose(), RequestId::random()).await.is_err());
        for text in [link.expose(), session.expose()] {
            assert!(f.portal.authenticate_bearer(text, RequestId::random()).await.is_err());
        }
        let refused = f.portal.authenticate_session(session.expose(), RequestId::random());
        assert!(refused.await.is_err());
    }
    let log = f.log().await;
    assert_eq!(log.len(), before + 1, "the first reading of the log, and nothing else");
    let metrics = f.get("/metrics").await.text().to_owned();
    assert!(
        metrics.contains("\nhousecall_unknown_secrets_total 1000\n"),
        "{metrics}"
    );

    f.portal.revoke_links(f.visit).await.expect("revoked");
    f.exchange(&f.patient).await.assert_problem(404, "link_invalid");
    let log = f.log().await;
    let row = log
        .iter()
        .rfind(|row| row.action == "link.redeem")
        .expect("a secret that was somebody's leaves its row");
    assert_eq!(row.outcome, "failed");
    assert!(row.objects.contains("person:"), "{}", row.objects);
}
