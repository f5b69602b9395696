//! What holds for every answer: headers, ids, metrics, logs.

use std::cell::RefCell;
use std::io::Write;

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use super::fixture::{Fixture, NAMES, OFFER, ask};
use crate::{Peer, WebSettings};

const EVERYWHERE: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
         media-src 'self' blob:; manifest-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; \
         require-trusted-types-for 'script'; trusted-types speech-worker",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

#[tokio::test]
async fn security_headers_are_on_every_answer() {
    for tls in [false, true] {
        let f = Fixture::with(
            WebSettings {
                tls,
                ..WebSettings::default()
            },
            || true,
        )
        .await;
        for path in [
            "/",
            "/join",
            "/nowhere",
            "/api/today",
            "/ops",
            "/ops/visits",
            "/healthz",
            "/readyz",
            "/metrics",
            "/ws",
            "/assets/x",
        ] {
            let reply = f.get(path).await;
            for (name, value) in EVERYWHERE {
                assert_eq!(reply.header(name), value, "{path}");
            }
            let permissions = reply.header("permissions-policy");
            assert!(
                ["camera", "microphone", "display-capture"]
                    .iter()
                    .all(|one| permissions.contains(&format!("{one}=(self)"))),
                "{path}"
            );
            assert_eq!(!reply.header("strict-transport-security").is_empty(), tls, "{path}");
            assert_eq!(reply.header("x-request-id").len(), 36, "{path}");
        }
    }
}

/// What Chromium and Firefox send when a person goes to an address.
const BY_A_PERSON: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

#[tokio::test]
async fn people_read_errors_as_a_page_and_programs_as_json() {
    let f = Fixture::new().await;
    for path in ["/visit/alert(1)", "/api/today", "/assets/x", "/ws"] {
        let asked = |accept: &'static str| {
            let request = ask(Method::GET, path).header("accept", accept).body(Body::empty());
            f.send(request.expect("a request"))
        };
        let page = asked(BY_A_PERSON).await;
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{path}");
        assert_eq!(page.header("vary"), "accept", "{path}");
        for (name, value) in EVERYWHERE {
            assert_eq!(page.header(name), value, "{path}");
        }
        let html = page.text();
        for part in [
            "<!doctype html>",
            "<h1>",
            "href=\"/\"",
            "/styles/main.css",
            page.header("x-request-id"),
        ] {
            assert!(html.contains(part), "{path} lacks {part}: {html}");
        }
        assert!(!html.contains("alert(1)"), "nothing that was sent comes back");

        for accept in ["*/*", "application/json", "text/plain, text/htmlx"] {
            let problem = asked(accept).await;
            assert_eq!(
                problem.header("content-type"),
                "application/problem+json",
                "{path} for {accept}"
            );
            assert_eq!(problem.status, page.status, "{path}");
            assert_eq!(problem.json()["request_id"], problem.header("x-request-id"));
        }
    }
}

#[tokio::test]
async fn ids_of_requests_are_ours_and_never_the_same() {
    let f = Fixture::new().await;
    let request = ask(Method::GET, "/healthz")
        .header("x-request-id", "mine")
        .body(Body::empty());
    let first = f.send(request.expect("a request")).await;
    let second = f.get("/healthz").await;
    assert_ne!(first.header("x-request-id"), "mine");
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

/// Uses every route once, well and badly.
async fn tour(f: &Fixture) -> Vec<String> {
    let clinician = f.session(&f.clinician).await;
    let patient = f.session(&f.patient).await;
    let appointment = json!({ "patient_name": "Nemo Nobody", "starts_at": "2026-11-22T10:00:00Z", "minutes": 20 });
    let made = f
        .call(Method::POST, "/api/appointments", &clinician, Some(appointment))
        .await
        .json();
    let visit = made["visit"].as_str().expect("an id").to_owned();
    let mut secrets = vec![
        clinician.clone(),
        patient.clone(),
        f.clinician.expose().to_owned(),
        f.patient.expose().to_owned(),
    ];
    secrets.extend(["patient_link", "clinician_link"].map(|link| made[link].as_str().expect("a link")[6..].to_owned()));
    for (method, path, bearer) in [
        (Method::GET, "/api/today".to_owned(), &clinician),
        (Method::GET, "/api/today".to_owned(), &patient),
        (
            Method::GET,
            "/api/appointments?from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z".to_owned(),
            &clinician,
        ),
        (Method::POST, "/api/session/refresh".to_owned(), &patient),
        (Method::POST, format!("/api/visits/{visit}/session"), &clinician),
        (Method::POST, format!("/api/appointments/{visit}/cancel"), &clinician),
        (
            Method::DELETE,
            format!("/whip/{}/0123456789abcdef", f.visit),
            &clinician,
        ),
        (Method::from_bytes(b"BREW").expect("a method"), "/".to_owned(), &patient),
    ] {
        f.call(method, &path, bearer, None).await;
    }
    for path in [
        "/",
        "/join",
        "/assets/x/y",
        "/ws",
        "/healthz",
        "/readyz",
        "/nowhere/Nemo",
        "/Nobody",
    ] {
        f.get(path).await;
    }
    for kind in ["whip", "whep"] {
        let request = ask(Method::POST, &format!("/{kind}/{}", f.visit))
            .header("authorization", format!("Bearer {clinician}"))
            .header("content-type", "application/sdp");
        f.send(request.body(Body::from(OFFER)).expect("a request")).await;
    }
    secrets.push(visit);
    secrets
}

#[tokio::test]
async fn metrics_hold_counts_and_no_names() {
    let f = Fixture::new().await;
    let secrets = tour(&f).await;
    let text = f.get("/metrics").await.text().to_owned();
    for needle in NAMES
        .into_iter()
        .map(str::to_owned)
        .chain(secrets)
        .chain([f.visit.to_string(), "Nemo".to_owned()])
    {
        assert!(!text.contains(&needle));
    }
    assert!(
        text.contains("housecall_http_requests_total{method=\"GET\",route=\"/api/today\",status=\"2xx\"} 1"),
        "{text}"
    );
    assert!(text.contains("housecall_http_requests_total{method=\"GET\",route=\"/api/today\",status=\"4xx\"} 1"));
    assert!(text.contains("housecall_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"4xx\"} 2"));
    assert!(text.contains("housecall_http_requests_total{method=\"other\",route=\"/\",status=\"4xx\"} 1"));
    assert!(text.contains("route=\"/api/appointments/{visit}/cancel\""));
    assert!(text.contains("housecall_http_request_seconds_count{route=\"/join\"} 1"));

    let series = |f: &Fixture| {
        f.registry
            .gather()
            .iter()
            .map(|family| family.get_metric().len())
            .sum::<usize>()
    };
    let before = series(&f);
    tour(&f).await;
    f.get("/metrics").await;
    let first = series(&f);
    assert!(first <= before + 2, "{before} then {first}");
    for n in 0..50 {
        f.get(&format!("/nowhere/{n}")).await;
        f.get(&format!("/assets/{n}")).await;
    }
    assert_eq!(series(&f), first, "strangers add series");
}

thread_local! {
    /// What was logged on this thread, which is this test's: the runtime of a test has one thread.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.write(bytes))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_hold_routes_and_no_names() {
    // For the whole process: beside a subscriber of one thread, call sites that another thread meets first would stay silent.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(|| Lines)
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("no other test logs");
    let f = Fixture::new().await;
    let secrets = tour(&f).await;
    let text = String::from_utf8(LINES.take()).expect("UTF-8");
    assert!(text.contains("route=/api/today"), "nothing was logged: {text}");
    let (visit, tokens) = secrets.split_last().expect("secrets");
    for needle in NAMES
        .into_iter()
        .map(str::to_owned)
        .chain(tokens.iter().cloned())
        .chain(["Nemo".to_owned()])
    {
        assert!(!text.contains(&needle));
    }
    let edge: Vec<&str> = text.lines().filter(|line| line.contains("housecall_portal")).collect();
    assert!(
        edge.iter().all(|line| !line.contains(visit.as_str())),
        "the edge logs templates, not paths"
    );
}

#[tokio::test]
async fn metrics_are_for_listed_addresses_that_come_directly() {
    let settings = WebSettings {
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
        ..WebSettings::default()
    };
    let f = Fixture::with(settings, || true).await;
    for (peer, header, shown) in [
        ("127.0.0.1", None, true),
        ("::1", None, true),
        ("::ffff:127.0.0.1", None, true),
        ("127.0.0.2", None, false),
        ("192.0.2.1", None, false),
        ("10.0.0.1", None, false),
        ("127.0.0.1", Some("x-forwarded-for"), false),
        ("127.0.0.1", Some("forwarded"), false),
        ("127.0.0.1", Some("via"), false),
        ("10.0.0.1", Some("x-forwarded-for"), false),
    ] {
        let peer = Peer(peer.parse().expect("an address"));
        let mut request = ask(Method::GET, "/metrics").extension(peer);
        if let Some(name) = header {
            request = request.header(name, "127.0.0.1");
        }
        let reply = f.send(request.body(Body::empty()).expect("a request")).await;
        match shown {
            true => assert!(reply.text().contains("housecall_"), "{peer:?} {header:?}"),
            false => reply.assert_problem(404, "not_found"),
        }
    }
}
