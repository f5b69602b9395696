//! What operators are shown, and that nobody else is.

use axum::http::Method;
use housecall_signaling::Portal as _;
use housecall_signaling::message::RoleName;
use housecall_signaling::quality::{
    Direction, JoinTimes, LegRecord, Move, PathSince, PictureRecord, QualityRecord, Rung,
};
use jiff::SignedDuration;

use super::fixture::{Fixture, NAMES};
use crate::limits::{OPERATOR_DAY, QUALITY_KEPT, QUALITY_ROWS};
use crate::portal::live::live_visit;

fn record(participant: &str, role: RoleName, culprit: &str) -> QualityRecord {
    QualityRecord {
        participant: participant.to_owned(),
        role,
        via: "socket".to_owned(),
        seconds: 60.0,
        ended: true,
        join: JoinTimes::default(),
        paths: vec![PathSince {
            at: 0.2,
            path: "udp".to_owned(),
        }],
        rungs: [(Rung::P720, 55.0)].into(),
        moves: vec![Move {
            at: 12.0,
            direction: Direction::Down,
            from: Rung::P720,
            to: Rung::P480,
            reason: "capacity".to_owned(),
            estimate_kbps: Some(700),
            delivered_kbps: 650,
            queue_ms: 40.0,
            loss: 0.0,
            rtt_ms: Some(40.0),
        }],
        moves_left_out: 0,
        picture: PictureRecord::default(),
        up: LegRecord::default(),
        down: LegRecord::default(),
        heard_mos: Some(4.2),
        culprit: culprit.to_owned(),
        trouble: Vec::new(),
        samples: Vec::new(),
    }
}

impl Fixture {
    async fn operator(&self) -> String {
        let minted = self.portal.mint_operator(OPERATOR_DAY).await.expect("made");
        minted.token.expose().to_owned()
    }

    async fn keep(&self, records: Vec<QualityRecord>) {
        let kept = self.portal.keep_quality(live_visit(self.visit), records).await;
        kept.expect("stored");
    }
}

#[tokio::test]
async fn an_operator_reads_the_record_of_a_visit_and_no_name() {
    let f = Fixture::new().await;
    let operator = f.operator().await;
    f.clock.advance(SignedDuration::from_secs(60));
    f.keep(vec![
        record("aa", RoleName::Patient, "nobody"),
        record("bb", RoleName::Clinician, "patient_uplink"),
    ])
    .await;
    let path = format!("/ops/visits/{}/quality", f.visit);
    let reply = f.call(Method::GET, &path, &operator, None).await;
    let body = reply.json();
    assert_eq!(body["visit"], f.visit.to_string());
    let participants = body["participants"].as_array().expect("a list");
    assert_eq!(participants.len(), 2, "{body}");
    assert_eq!(participants[0]["participant"], "aa");
    assert_eq!(participants[0]["started_at"], "2026-11-22T09:00:00Z");
    assert_eq!(participants[0]["updated_at"], "2026-11-22T09:01:00Z");
    assert_eq!(participants[0]["moves"][0]["reason"], "capacity");
    assert_eq!(participants[0]["rungs"]["p720"], 55.0);
    assert_eq!(participants[1]["culprit"], "patient_uplink");

    let list = f.call(Method::GET, "/ops/visits", &operator, None).await;
    let line = &list.json()["visits"][0];
    assert_eq!((&line["visit"], &line["participants"]), (&body["visit"], &2.into()));
    assert_eq!(line["culprit"], "patient_uplink");

    let export = f.call(Method::GET, "/ops/visits/quality.ndjson", &operator, None).await;
    assert_eq!(export.header("content-type"), "application/x-ndjson");
    let lines: Vec<serde_json::Value> = export
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["visit"], body["visit"]);

    for reply in [&reply, &list, &export] {
        for name in NAMES {
            assert!(!reply.text().contains(name), "{name}");
        }
    }
    let log = f.log().await;
    let rows = |action: &str| {
        log.iter()
            .filter(|row| row.action == action && row.outcome == "ok")
            .count()
    };
    assert_eq!((rows("quality.keep"), rows("operator.create")), (1, 1));
    assert!(rows("quality.read") >= 3 && rows("operator.authenticate") == 3);
    let read = log.iter().rfind(|row| row.action == "quality.read").expect("a row");
    assert_eq!((read.role.as_str(), read.purpose.as_str()), ("operator", "operations"));
    assert!(read.objects.contains(&f.visit.to_string()), "{read:?}");
}

#[tokio::test]
async fn nobody_but_operators_is_shown_quality_records() {
    let f = Fixture::new().await;
    f.keep(vec![record("aa", RoleName::Patient, "nobody")]).await;
    let clinician = f.session(&f.clinician).await;
    let patient = f.session(&f.patient).await;
    let one = format!("/ops/visits/{}/quality", f.visit);
    for path in ["/ops/visits", "/ops/visits/quality.ndjson", &one] {
        for bearer in [&clinician, &patient, f.clinician.expose(), f.patient.expose()] {
            let reply = f.call(Method::GET, path, bearer, None).await;
            reply.assert_problem(403, "not_allowed");
        }
        f.get(path).await.assert_problem(401, "session_expired");
        let made_up = format!("hco_{}", "A".repeat(43));
        let reply = f.call(Method::GET, path, &made_up, None).await;
        reply.assert_problem(401, "session_expired");
    }
    let denied = f.log().await;
    let denied = denied.iter().filter(|row| row.action == "quality.read");
    assert!(denied.clone().all(|row| row.outcome == "denied"));
    assert_eq!(denied.count(), 12, "each refusal is in the log");
}

#[tokio::test]
async fn an_operators_token_opens_nothing_else_and_ends() {
    let f = Fixture::new().await;
    let operator = f.operator().await;
    for (method, path) in [
        (Method::GET, "/api/today".to_owned()),
        (Method::POST, "/api/session/refresh".to_owned()),
        (Method::POST, format!("/api/visits/{}/session", f.visit)),
        (Method::DELETE, format!("/whip/{}/0123456789abcdef", f.visit)),
    ] {
        let reply = f.call(method, &path, &operator, None).await;
        reply.assert_problem(401, "session_expired");
    }
    f.clock.advance(OPERATOR_DAY);
    let reply = f.call(Method::GET, "/ops/visits", &operator, None).await;
    reply.assert_problem(401, "session_expired");
    for ttl in [SignedDuration::ZERO, SignedDuration::from_hours(32 * 24)] {
        assert!(f.portal.mint_operator(ttl).await.is_err());
    }
}

#[tokio::test]
async fn an_export_goes_on_where_the_last_one_ended_and_comes_in_pages() {
    let f = Fixture::new().await;
    let operator = f.operator().await;
    let count = 2 * QUALITY_ROWS + 7;
    for chunk in (0..count).collect::<Vec<_>>().chunks(50) {
        let records = chunk
            .iter()
            .map(|number| record(&format!("{number:04}"), RoleName::Guest, "nobody"));
        f.keep(records.collect()).await;
        f.clock.advance(SignedDuration::from_secs(1));
    }
    let participants = async |path: &str| -> Vec<String> {
        let reply = f.call(Method::GET, path, &operator, None).await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
        let lines = reply.text().lines();
        lines
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
                line["participant"].as_str().expect("an id").to_owned()
            })
            .collect()
    };
    let all = participants("/ops/visits/quality.ndjson").await;
    let expected: Vec<String> = (0..count).map(|number| format!("{number:04}")).collect();
    assert_eq!(all, expected);
    let late = participants("/ops/visits/quality.ndjson?since=2026-11-22T09:00:08Z").await;
    assert_eq!(late, expected[400..]);
    let none = participants("/ops/visits/quality.ndjson?since=2027-01-01T00:00:00Z").await;
    assert!(none.is_empty());
    let reply = f
        .call(Method::GET, "/ops/visits/quality.ndjson?since=soon", &operator, None)
        .await;
    reply.assert_problem(400, "invalid_request");
}

#[tokio::test]
async fn a_record_is_replaced_and_old_ones_are_forgotten() {
    let f = Fixture::new().await;
    f.keep(vec![record("aa", RoleName::Patient, "nobody")]).await;
    f.clock.advance(SignedDuration::from_secs(300));
    f.keep(vec![QualityRecord {
        seconds: 360.0,
        ..record("aa", RoleName::Patient, "server")
    }])
    .await;
    let operator = f.operator().await;
    let path = format!("/ops/visits/{}/quality", f.visit);
    let body = f.call(Method::GET, &path, &operator, None).await.json();
    assert_eq!(body["participants"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["participants"][0]["culprit"], "server");
    assert_eq!(body["participants"][0]["started_at"], "2026-11-22T08:59:00Z");

    f.clock.advance(QUALITY_KEPT + SignedDuration::from_secs(1));
    f.keep(vec![record("bb", RoleName::Patient, "nobody")]).await;
    let operator = f.operator().await;
    let body = f.call(Method::GET, &path, &operator, None).await.json();
    assert_eq!(body["participants"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["participants"][0]["participant"], "bb");

    let missing = "/ops/visits/00000000-0000-4000-8000-000000000000/quality";
    f.call(Method::GET, missing, &operator, None)
        .await
        .assert_problem(404, "not_found");
}
