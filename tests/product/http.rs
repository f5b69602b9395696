//! The HTTP edge of the running program, as a stranger and an operator see it.

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::person::together;
use crate::server::Server;

async fn get(server: &Server, path: &str) -> Response {
    let url = format!("{}{path}", server.origin());
    Client::new().get(url).send().await.expect("the server answers")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

#[tokio::test]
async fn pages_come_with_the_client_and_its_armour() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(data.path());
    for path in ["/", "/join"] {
        let page = get(&server, path).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        let policy = header(&page, "content-security-policy").to_owned();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "require-trusted-types-for 'script'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path} lacks {part}: {policy}");
        }
        assert_eq!(header(&page, "referrer-policy"), "no-referrer");
        let html = page.text().await.expect("a body");
        let assets: Vec<&str> = html.split('"').filter(|part| part.starts_with("/assets/")).collect();
        assert!(!assets.is_empty(), "{path} loads nothing");
        for asset in assets {
            let asset = get(&server, asset).await;
            assert_eq!(asset.status(), StatusCode::OK);
            assert!(header(&asset, "cache-control").contains("immutable"));
        }
    }
}

#[tokio::test]
async fn operators_see_that_it_lives_and_what_it_does() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(data.path());
    assert_eq!(get(&server, "/healthz").await.status(), StatusCode::OK);
    assert_eq!(get(&server, "/readyz").await.status(), StatusCode::OK);
    let _people = together(&server).await;
    let metrics = get(&server, "/metrics").await.text().await.expect("a body");
    for line in [
        "housecall_signaling_visits 1",
        "housecall_http_requests_total",
        "housecall_signaling_sockets 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
}

#[tokio::test]
async fn refusals_say_what_is_wrong_and_what_to_do() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(data.path());
    let client = Client::new();
    let post = |path: &str| client.post(format!("{}{path}", server.origin()));
    for (request, status, code) in [
        (
            post("/api/session").json(&json!({ "token": "hc_nobody" })),
            404,
            "link_invalid",
        ),
        (
            post("/api/session").json(&json!({ "token": "x", "more": 1 })),
            400,
            "invalid_request",
        ),
        (
            post("/api/session")
                .header("content-type", "application/json")
                .body("{"),
            400,
            "invalid_request",
        ),
        (
            client.get(format!("{}/api/today", server.origin())),
            401,
            "session_expired",
        ),
        (
            post("/whip/00000000-0000-4000-8000-000000000000")
                .header("content-type", "application/sdp")
                .body("v=0"),
            401,
            "session_expired",
        ),
        (client.get(format!("{}/nowhere", server.origin())), 404, "not_found"),
    ] {
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status(), status, "{code}");
        assert_eq!(header(&response, "content-type"), "application/problem+json");
        let problem: Value = response.json().await.expect("a JSON body");
        assert_eq!(problem["code"], code);
        for part in ["title", "action", "request_id"] {
            assert!(
                problem[part].as_str().is_some_and(|text| !text.is_empty()),
                "{code} lacks {part}"
            );
        }
    }
}
