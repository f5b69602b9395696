//! Over real sockets: what a router alone cannot show.

use std::net::SocketAddr;
use std::pin::pin;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::fixture::Fixture;
use crate::{Connections, Peer, WebSettings};

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

async fn start(f: &Fixture) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel();
    let (connections, stop_all) = Connections::new();
    let router = f.router.clone();
    let done = tokio::spawn(async move {
        let mut stopped = pin!(stopped);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                accepted = listener.accept() => {
                    let (stream, peer) = accepted.expect("a connection");
                    tokio::spawn(connections.clone().serve(stream, Peer(peer.ip()), router.clone()));
                }
            }
        }
        drop((listener, connections));
        stop_all.stop().await;
    });
    Server { address, stop, done }
}

async fn answer(stream: &mut TcpStream, until: &str) -> String {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(until) {
        assert_ne!(stream.read_buf(&mut text).await.expect("readable"), 0, "closed early");
    }
    String::from_utf8(text).expect("UTF-8")
}

#[tokio::test]
async fn a_stop_finishes_what_is_open() {
    let f = Fixture::new().await;
    let server = start(&f).await;
    let mut kept = TcpStream::connect(server.address).await.expect("connected");
    for _ in 0..2 {
        kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .expect("written");
        assert!(answer(&mut kept, "ok\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    server.stop.send(()).expect("running");
    server.done.await.expect("no panic");
    let mut rest = Vec::new();
    kept.read_to_end(&mut rest).await.expect("closed in order");
    assert!(rest.is_empty());
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn broken_requests_end_their_own_connection() {
    let f = Fixture::new().await;
    let server = start(&f).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000));
    for bad in [
        &b"\x00\x01\x02\x03\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        long.as_bytes(),
    ] {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        // The server may close while it is still being written to.
        let _ = stream.write_all(bad).await;
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        assert!(
            text.is_empty() || text.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&text)
        );
    }
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("written");
    answer(&mut stream, "ok\n").await;
}

#[tokio::test]
async fn a_patient_waits_on_a_socket() {
    let f = Fixture::new().await;
    let server = start(&f).await;
    let session = f.session(&f.patient).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", server.address))
        .await
        .expect("upgraded");
    let hello = serde_json::json!({ "type": "hello", "session": session }).to_string();
    socket.send(Message::text(hello)).await.expect("sent");
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        if let Message::Text(text) = socket.next().await.expect("open").expect("a message") {
            let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            kinds.push(message["type"].as_str().expect("a type").to_owned());
        }
    }
    assert_eq!(kinds, ["welcome", "state"]);
    let clinician = f.session(&f.clinician).await;
    let day = f
        .call(axum::http::Method::GET, "/api/today", &clinician, None)
        .await
        .json();
    assert_eq!(day["appointments"][0]["waiting"], 1);

    let cancel = format!("/api/appointments/{}/cancel", f.visit);
    f.call(axum::http::Method::POST, &cancel, &clinician, None).await;
    let mut ended = None;
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message {
            ended = Some(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"));
        }
    }
    let ended = ended.expect("told");
    assert_eq!(
        (&ended["type"], &ended["reason"]),
        (&"ended".into(), &"cancelled".into())
    );
    let events = f.log().await;
    let events: Vec<_> = events
        .iter()
        .filter(|row| row.action == "visit.event")
        .map(|row| &row.objects)
        .collect();
    assert!(events.iter().any(|objects| objects.contains("event:queued")));
    assert!(events.iter().any(|objects| objects.contains("event:ended")));
}

#[tokio::test]
async fn a_foreign_page_gets_no_socket() {
    let f = Fixture::new().await;
    let server = start(&f).await;
    for (origin, allowed) in [
        (format!("http://{}", server.address), true),
        ("https://evil.example".to_owned(), false),
    ] {
        let request = ClientRequestBuilder::new(format!("ws://{}/ws", server.address).parse().expect("an address"));
        let tried = tokio_tungstenite::connect_async(request.with_header("Origin", origin)).await;
        match tried {
            Ok(_) => assert!(allowed),
            Err(Error::Http(response)) => assert!(!allowed && response.status() == 403),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn silent_sockets_of_one_address_keep_nobody_else_out() {
    let settings = WebSettings {
        trusted_proxies: vec!["127.0.0.1/32".parse().expect("a network")],
        greeting: 2,
        ..WebSettings::default()
    };
    let f = Fixture::with(settings, || true).await;
    let server = start(&f).await;
    let from = async |client: &str| {
        let address = format!("ws://{}/ws", server.address).parse().expect("an address");
        let request = ClientRequestBuilder::new(address).with_header("X-Forwarded-For", client);
        tokio_tungstenite::connect_async(request).await
    };
    let (mut first, _) = from("198.51.100.7").await.expect("upgraded");
    let (_second, _) = from("198.51.100.7").await.expect("upgraded");
    match from("198.51.100.7").await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 429),
        other => panic!("a third silent socket: {:?}", other.map(|_| ())),
    }
    from("203.0.113.9").await.expect("another address is greeted");

    let session = f.session(&f.patient).await;
    let hello = serde_json::json!({ "type": "hello", "session": session }).to_string();
    first.send(Message::text(hello)).await.expect("sent");
    assert!(first.next().await.expect("open").expect("a message").is_text());
    from("198.51.100.7")
        .await
        .expect("whoever has said hello takes no place");
}
