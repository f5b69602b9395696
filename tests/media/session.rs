//! A WHIP or WHEP session as a tool has it: an address, an entity tag, a bearer token (RFC 9725).

use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use crate::server::PATIENCE;

/// A session on the server.
pub(crate) struct Session {
    url: Url,
    bearer: String,
    /// Of its ICE session.
    pub(crate) etag: String,
    /// The answer to its offer.
    pub(crate) answer: String,
}

impl Session {
    /// Posts an offer to an endpoint.
    pub(crate) async fn post(endpoint: &str, bearer: &str, offer: String) -> Self {
        let request = Client::new()
            .post(endpoint)
            .header("content-type", "application/sdp")
            .body(offer);
        let response = send(request, bearer).await;
        let status = response.status();
        if status != StatusCode::CREATED {
            panic!("{endpoint}: {status}: {}", response.text().await.unwrap_or_default());
        }
        assert_eq!(header(&response, "content-type"), "application/sdp");
        assert_eq!(header(&response, "accept-patch"), "application/trickle-ice-sdpfrag");
        let endpoint = Url::parse(endpoint).expect("a URL");
        let url = endpoint.join(header(&response, "location")).expect("a location");
        let below = format!("{}/", endpoint.path());
        assert!(url.path().starts_with(&below), "{url} is not below {endpoint}");
        Self {
            url,
            bearer: bearer.to_owned(),
            etag: header(&response, "etag").to_owned(),
            answer: response.text().await.expect("an answer"),
        }
    }

    /// The participant's id: the last part of the address.
    pub(crate) fn participant(&self) -> &str {
        self.url.path().rsplit('/').next().expect("a split has a last part")
    }

    /// Sends a fragment.
    pub(crate) async fn patch(&self, if_match: &str, fragment: &str) -> Response {
        let request = Client::new()
            .patch(self.url.clone())
            .header("content-type", "application/trickle-ice-sdpfrag")
            .header("if-match", if_match)
            .body(fragment.to_owned());
        send(request, &self.bearer).await
    }

    /// Restarts ICE with the credentials in this fragment; returns the answer as it is from then on.
    pub(crate) async fn restart(&mut self, fragment: &str) -> String {
        let response = self.patch("*", fragment).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "content-type"), "application/trickle-ice-sdpfrag");
        self.etag = header(&response, "etag").to_owned();
        let new = response.text().await.expect("a fragment");
        let replaced = |line: &str| match line.split_once(':') {
            Some((key @ ("a=ice-ufrag" | "a=ice-pwd"), _)) => value(&new, key).to_owned(),
            _ => line.to_owned(),
        };
        let lines: Vec<String> = self.answer.lines().map(replaced).collect();
        self.answer = lines.join("\r\n") + "\r\n";
        self.answer.clone()
    }

    /// Ends it.
    pub(crate) async fn delete(&self) {
        assert_eq!(self.try_delete().await, StatusCode::OK);
    }

    /// Tries to end it.
    pub(crate) async fn try_delete(&self) -> StatusCode {
        send(Client::new().delete(self.url.clone()), &self.bearer)
            .await
            .status()
    }
}

async fn send(request: RequestBuilder, bearer: &str) -> Response {
    let request = request.header("authorization", format!("Bearer {bearer}"));
    request.timeout(PATIENCE).send().await.expect("the server answers")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_else(|| panic!("no {name} in {response:?}"))
}

/// The line of a description or fragment that begins with this key.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(&format!("{key}:")));
    line.unwrap_or_else(|| panic!("no {key} in {text}"))
}

/// A description without its candidates, and the candidates of its first line (all others are bundled with it).
pub(crate) fn candidates(description: &str) -> (String, String) {
    let is_candidate = |line: &&str| line.starts_with("a=candidate:");
    let is_other = |line: &&str| !is_candidate(line) && *line != "a=end-of-candidates";
    let first = description.split("\r\nm=").nth(1).expect("a media line");
    (
        joined(description.lines().filter(is_other)),
        joined(first.lines().filter(is_candidate)),
    )
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(|line| format!("{line}\r\n")).collect()
}

/// The head of a fragment about a description (RFC 8840 §9): its credentials and first media line.
pub(crate) fn of_description(description: &str) -> String {
    let media = description.lines().find(|line| line.starts_with("m="));
    joined(
        [
            value(description, "a=ice-ufrag"),
            value(description, "a=ice-pwd"),
            media.expect("a media line"),
            value(description, "a=mid"),
        ]
        .into_iter(),
    )
}

/// A metric of the server, by its name and labels.
pub(crate) async fn metric(origin: &str, name: &str) -> f64 {
    let response = reqwest::get(format!("{origin}/metrics")).await;
    let text = response.expect("the server answers").text().await.expect("a body");
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in:\n{text}"))
}

/// Waits until a metric has this value.
pub(crate) async fn until_metric(origin: &str, name: &str, wanted: f64) {
    let began = Instant::now();
    loop {
        let is = metric(origin, name).await;
        if is == wanted {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{name} is {is}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
