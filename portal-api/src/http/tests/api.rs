//! The JSON interface, as the web client uses it.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::fixture::{Fixture, ask};
use crate::WebSettings;
use crate::http::rate::Allowance;
use crate::secret::{Token, TokenKind};

#[tokio::test]
async fn a_link_becomes_a_session() {
    let f = Fixture::new().await;
    let reply = f.exchange(&f.patient).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("cache-control"), "no-store");
    let mut body = reply.json();
    let session = body["session"].take();
    assert!(session.as_str().is_some_and(|text| text.starts_with("hcs_")));
    let expected = json!({
        "session": null,
        "expires_at": "2026-11-22T09:15:00Z",
        "role": "patient",
        "name": "Alex Rivera",
        "admitted": false,
        "visit": {
            "id": f.visit,
            "starts_at": "2026-11-22T09:00:00Z",
            "ends_at": "2026-11-22T10:00:00Z",
            "time_zone": "UTC",
            "clinic_name": "Harbor Street Clinic",
            "clinician_name": "Dr. Sam Morgan",
            "status": "scheduled",
        },
    });
    assert_eq!(body, expected);

    f.exchange(&Token::mint(TokenKind::Link))
        .await
        .assert_problem(404, "link_invalid");
    f.clock.advance(jiff::SignedDuration::from_hours(24));
    f.exchange(&f.patient).await.assert_problem(410, "link_expired");
}

#[tokio::test]
async fn a_session_is_refreshed_until_it_has_expired() {
    let f = Fixture::new().await;
    let session = f.session(&f.patient).await;
    f.clock.advance(jiff::SignedDuration::from_mins(14));
    let reply = f.call(Method::POST, "/api/session/refresh", &session, None).await;
    assert_eq!(reply.status, StatusCode::OK);
    let fresh = reply.json();
    assert_eq!(fresh["expires_at"], "2026-11-22T09:29:00Z");
    assert_ne!(fresh["session"], session.as_str());
    f.clock.advance(jiff::SignedDuration::from_mins(2));
    let reply = f.call(Method::POST, "/api/session/refresh", &session, None).await;
    reply.assert_problem(401, "session_expired");
    assert_eq!(reply.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn a_clinicians_day() {
    let f = Fixture::new().await;
    let clinician = f.session(&f.clinician).await;
    let day = f.call(Method::GET, "/api/today", &clinician, None).await.json();
    let expected = json!({
        "now": "2026-11-22T09:00:00Z",
        "time_zone": "UTC",
        "appointments": [{
            "visit": f.visit,
            "starts_at": "2026-11-22T09:00:00Z",
            "ends_at": "2026-11-22T10:00:00Z",
            "time_zone": "UTC",
            "patient_name": "Alex Rivera",
            "status": "scheduled",
            "waiting": 0,
            "longest_wait_seconds": 0,
        }],
    });
    assert_eq!(day, expected);

    let appointment = json!({ "patient_name": "Bo Lund", "starts_at": "2026-11-22T11:00:00+01:00", "minutes": 20 });
    let made = f
        .call(Method::POST, "/api/appointments", &clinician, Some(appointment))
        .await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    assert_eq!(
        (&made["starts_at"], &made["ends_at"]),
        (&json!("2026-11-22T10:00:00Z"), &json!("2026-11-22T10:20:00Z"))
    );
    let link = made["patient_link"].as_str().expect("a link");
    let patient = Token::parse(link.strip_prefix("/join#").expect("a path")).expect("a token");
    assert_eq!(f.exchange(&patient).await.json()["name"], "Bo Lund");

    let visit = made["visit"].as_str().expect("an id");
    let switched = f
        .call(Method::POST, &format!("/api/visits/{visit}/session"), &clinician, None)
        .await;
    assert_eq!(
        (switched.status, switched.json()["visit"]["id"].as_str()),
        (StatusCode::OK, Some(visit))
    );
    let range = "/api/appointments?from=2026-11-22T10:05:00Z&to=2026-11-23T00:00:00Z";
    let listed = f.call(Method::GET, range, &clinician, None).await.json();
    assert_eq!(listed["appointments"].as_array().map(Vec::len), Some(1));

    let cancel = format!("/api/appointments/{visit}/cancel");
    let reply = f.call(Method::POST, &cancel, &clinician, None).await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::NO_CONTENT, 0));
    f.exchange(&patient).await.assert_problem(410, "visit_cancelled");
    let day = f.call(Method::GET, "/api/today", &clinician, None).await.json();
    assert_eq!(day["appointments"][1]["status"], "cancelled");
}

#[tokio::test]
async fn patients_have_no_business_with_lists() {
    let f = Fixture::new().await;
    let patient = f.session(&f.patient).await;
    let appointment = json!({ "patient_name": "Bo", "starts_at": "2026-11-22T10:00:00Z", "minutes": 20 });
    f.call(Method::GET, "/api/today", &patient, None)
        .await
        .assert_problem(403, "not_allowed");
    let reply = f
        .call(Method::POST, "/api/appointments", &patient, Some(appointment))
        .await;
    reply.assert_problem(403, "not_allowed");
    let cancel = format!("/api/appointments/{}/cancel", f.visit);
    f.call(Method::POST, &cancel, &patient, None)
        .await
        .assert_problem(403, "not_allowed");
    let session = format!("/api/visits/{}/session", f.visit);
    f.call(Method::POST, &session, &patient, None)
        .await
        .assert_problem(403, "not_allowed");
    let range = "/api/appointments?from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z";
    f.call(Method::GET, range, &patient, None)
        .await
        .assert_problem(403, "not_allowed");
}

/// Every route for known people, without a bearer and with bad ones. A join link is no session.
#[tokio::test]
async fn no_session_no_answer() {
    let f = Fixture::new().await;
    let visit = f.visit;
    let routes = [
        (Method::POST, "/api/session/refresh".to_owned()),
        (Method::POST, format!("/api/visits/{visit}/session")),
        (Method::GET, "/api/today".to_owned()),
        (Method::POST, "/api/appointments".to_owned()),
        (
            Method::GET,
            "/api/appointments?from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z".to_owned(),
        ),
        (Method::POST, format!("/api/appointments/{visit}/cancel")),
    ];
    for (method, path) in routes {
        let bare = f
            .send(
                ask(method.clone(), &path)
                    .body(axum::body::Body::empty())
                    .expect("a request"),
            )
            .await;
        bare.assert_problem(401, "session_expired");
        for bearer in ["", "x", Token::mint(TokenKind::Session).expose(), f.clinician.expose()] {
            f.call(method.clone(), &path, bearer, None)
                .await
                .assert_problem(401, "session_expired");
        }
        let basic = ask(method.clone(), &path).header("authorization", "Basic eDp5");
        f.send(basic.body(axum::body::Body::empty()).expect("a request"))
            .await
            .assert_problem(401, "session_expired");
    }
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let few = Allowance {
        per_second: 1,
        burst: 3,
    };
    let f = Fixture::with(
        WebSettings {
            exchanges: few,
            ..WebSettings::default()
        },
        || true,
    )
    .await;
    for _ in 0..3 {
        f.exchange(&Token::mint(TokenKind::Link))
            .await
            .assert_problem(404, "link_invalid");
    }
    let refused = f.exchange(&f.patient).await;
    refused.assert_problem(429, "too_many_requests");
    assert_eq!(refused.header("retry-after"), "1");

    let f = Fixture::with(
        WebSettings {
            lookups: few,
            ..WebSettings::default()
        },
        || true,
    )
    .await;
    for _ in 0..3 {
        f.call(Method::GET, "/api/today", "x", None)
            .await
            .assert_problem(401, "session_expired");
    }
    f.call(Method::GET, "/api/today", "x", None)
        .await
        .assert_problem(429, "too_many_requests");
    // A socket's greeting is a look-up too.
    f.get("/ws").await.assert_problem(429, "too_many_requests");
}

/// The audit rows of a request carry the id that its answer carries.
#[tokio::test]
async fn an_answer_leads_to_its_audit_rows() {
    let f = Fixture::new().await;
    let clinician = f.session(&f.clinician).await;
    let reply = f.call(Method::GET, "/api/today", &clinician, None).await;
    let id = reply.header("x-request-id");
    let log = f.log().await;
    let actions: Vec<_> = log
        .iter()
        .filter(|row| row.request == id)
        .map(|row| row.action.as_str())
        .collect();
    assert_eq!(actions, ["session.authenticate", "clinic.find", "visit.list"]);
}
