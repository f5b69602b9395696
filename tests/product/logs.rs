//! What is logged is worth reading, and tells nobody who meets whom.

use std::fs::File;

use housecall_signaling::message::ClientMessage;
use serde_json::{Value, json};

use crate::person::{self, Person, together};
use crate::server::{self, Server};

/// The default, and everything that our own code ever says.
const FILTERS: [Option<&str>; 2] = [
    None,
    Some(
        "info,housecall=trace,housecall_portal=trace,housecall_signaling=trace,housecall_sfu=trace,housecall_turn=trace",
    ),
];

#[tokio::test]
async fn no_name_link_or_secret_is_logged() {
    for filter in FILTERS {
        let data = tempfile::tempdir().expect("a temporary directory");
        let path = data.path().join("log");
        let log = File::create(&path).expect("a file can be made");
        let server = Server::start_logged(&data.path().join("data"), filter, log);
        let secrets = visit(&server, &data.path().join("data")).await;
        server.terminate();
        assert!(server.ended().success());

        let log = std::fs::read_to_string(&path).expect("the log is text");
        for expected in ["started", "visit event", "admitted", "stopped"] {
            assert!(log.contains(expected), "{expected:?} is worth a line:\n{log}");
        }
        for secret in secrets {
            assert!(secret.len() >= 3, "{secret:?} is too short to look for");
            assert!(!log.contains(&secret), "{secret:?} is in the log ({filter:?}):\n{log}");
        }
        assert!(!log.contains("#hc_"), "a link is in the log:\n{log}");
    }
}

/// A visit with all that can go wrong in it. Returns what must not be in the log.
async fn visit(server: &Server, data: &std::path::Path) -> Vec<String> {
    let mut secrets = vec!["Zebulon".to_owned(), "Quagmire".to_owned(), "not-a-token".to_owned()];
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    for who in ["Patient", "Clinician"] {
        let token = server.token(who).to_owned();
        let session = person::session(server, &token).await;
        secrets.extend([text(&session["session"]), text(&session["name"]), token]);
        secrets.push(text(&session["visit"]["clinician_name"]));
    }
    let (mut clinician, mut patient) = together(server).await;
    secrets.extend([clinician.session.clone(), patient.session.clone()]);
    let not_there = ClientMessage::Admit {
        participant: "nobody".to_owned(),
    };
    patient.send(&not_there).await;

    let id = server::command(data, &["visit", "create"]);
    let arguments = ["token", "--visit", &id, "--role", "guest", "--name", "Zebulon Quagmire"];
    let guest = server::command(data, &arguments);
    let mut somebody = Person::join(server, &guest).await;
    somebody.until(|_| true).await;
    secrets.push(somebody.session.clone());

    let client = reqwest::Client::new();
    let at = |path: &str| format!("{}{path}", server.origin());
    for bearer in [guest.as_str(), "not-a-token"] {
        let publish = client
            .post(at(&format!("/whip/{id}")))
            .bearer_auth(bearer)
            .header("content-type", "application/sdp");
        let refused = publish.body("v=0\r\ns=Zebulon\r\n").send().await.expect("an answer");
        assert!(refused.status().is_client_error());
    }
    let wrong = client
        .post(at("/api/session"))
        .json(&json!({ "token": "not-a-token" }))
        .send()
        .await
        .expect("an answer");
    assert!(wrong.status().is_client_error());
    let lost = client
        .get(at("/Zebulon?Quagmire=not-a-token"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(lost.status(), 404);
    secrets.push(guest);

    clinician.send(&ClientMessage::EndVisit {}).await;
    clinician.until_ended().await;
    secrets
}
