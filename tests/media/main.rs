//! WHIP and WHEP from end to end: the real program, HTTP as any tool speaks it, and the media of an independent client (the
//! `webrtc` crate), which says of every frame whether a decoder would have shown it.

mod session;

#[path = "../product/server.rs"]
#[allow(dead_code, reason = "the product's tests use all of it")]
mod server;
#[path = "../../sfu/tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;

use reqwest::StatusCode;
use server::Server;
use session::{Session, candidates, metric, of_description, until_metric};
use support::lossy::LossyLink;
use support::peer::{H, Line, M, Peer};
use support::server::without_faults;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// A running server with one visit, and tokens for it.
struct House {
    server: Server,
    data: TempDir,
    visit: String,
}

impl House {
    fn open() -> Self {
        Self::with("")
    }

    /// Everybody is sent what was asked for, whatever the path carries: a machine on which a hundred clients keep each other waiting is a bad path,
    /// and a layer that is switched in the middle of a frame that does not come on is a frame that nobody can show.
    fn without_adaptation() -> Self {
        Self::with("[media]\nadaptation = false\n")
    }

    fn with(configuration: &str) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        let file = data.path().join("housecall.toml");
        std::fs::write(&file, configuration).expect("a file");
        let file = file.display().to_string();
        let server = Server::start_with(data.path(), &["--config", &file, "--listen", "127.0.0.1:0"]);
        let visit = server::command(data.path(), &["visit", "create"]);
        Self { server, data, visit }
    }

    fn token(&self, role: &str) -> String {
        let data: &Path = self.data.path();
        server::command(data, &["token", "--visit", &self.visit, "--role", role])
    }

    fn whip(&self) -> String {
        format!("{}/whip/{}", self.server.origin(), self.visit)
    }

    fn whep(&self) -> String {
        format!("{}/whep/{}", self.server.origin(), self.visit)
    }

    /// Somebody who publishes sound and two layers of a picture.
    async fn publisher(&self) -> (Peer, Session) {
        let mut peer = Peer::new(&[Line::PublishAudio, Line::PublishSimulcast]).await;
        let session = Session::post(&self.whip(), &self.token("clinician"), peer.offer().await).await;
        peer.accept(&session.answer).await;
        peer.connected().await;
        peer.publish().await;
        (peer, session)
    }

    /// Somebody who receives at this address.
    async fn viewer(whep: &str, token: &str) -> (Peer, Session) {
        let peer = Peer::new(&[Line::ReceiveAudio, Line::ReceiveVideo]).await;
        let session = Session::post(whep, token, peer.offer().await).await;
        peer.accept(&session.answer).await;
        peer.connected().await;
        (peer, session)
    }

    async fn metric(&self, name: &str) -> f64 {
        metric(self.server.origin(), name).await
    }
}

async fn shows(viewer: &Peer, frames: usize) {
    viewer
        .until("1", "the picture", |inbox| inbox.viewer.shown().len() >= frames)
        .await;
}

/// Begun with a key frame, and nothing lost, broken or torn since. Only once nothing is under way any more.
async fn flawless(viewer: &Peer) {
    viewer
        .until("1", "every packet", |inbox| inbox.viewer.missing() == 0)
        .await;
    viewer
        .until("0", "every audio packet", |inbox| inbox.listener.lost == 0)
        .await;
    without_faults(viewer, "1");
    viewer.inbox("1", |inbox| {
        assert!(inbox.viewer.shown()[0].key, "decodable from its first packet on");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_reaches_its_viewers_who_come_and_go() {
    let house = House::open();
    let (publisher, published) = house.publisher().await;
    let guest = house.token("guest");
    let (first, first_session) = House::viewer(&house.whep(), &guest).await;
    shows(&first, 60).await;
    // Later ones begin with a key frame, too: of the first publisher there is, or of the one they name.
    let named = format!("{}?from={}", house.whep(), published.participant());
    let (second, _second_session) = House::viewer(&named, &guest).await;
    let (third, third_session) = House::viewer(&house.whep(), &house.token("clinician")).await;
    for viewer in [&second, &third] {
        shows(viewer, 60).await;
        viewer
            .until("0", "the sound", |inbox| inbox.listener.packets >= 50)
            .await;
    }
    until_metric(house.server.origin(), "housecall_media_participants", 4.0).await;

    // One of them goes: its session is no more, and the others go on.
    third_session.delete().await;
    assert_eq!(third_session.try_delete().await, StatusCode::NOT_FOUND);
    until_metric(house.server.origin(), "housecall_media_participants", 3.0).await;

    // The publisher goes, and another one takes the place, in the same gap-free stream, from a key frame on.
    published.delete().await;
    let before = first.inbox("1", |inbox| inbox.viewer.shown().len());
    drop(publisher);
    let (_again, _again_session) = house.publisher().await;
    shows(&first, before + 60).await;
    // The smaller one comes first where the machine is busy.
    for viewer in [&first, &second] {
        viewer
            .until("1", "the large picture", |inbox| inbox.viewer.frames_of(H) > 0)
            .await;
    }
    first_session.delete().await;
    for viewer in [&first, &second] {
        flawless(viewer).await;
    }
    for lost in [
        "housecall_media_feedback_total{kind=\"nack_in\"}",
        "housecall_media_feedback_total{kind=\"nack_out\"}",
        "housecall_media_dropped_total{kind=\"send_buffer_full\"}",
        "housecall_media_dropped_total{kind=\"replayed\"}",
    ] {
        assert_eq!(house.metric(lost).await, 0.0, "{lost}: nothing is lost on loopback");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_trickle_and_an_ice_restart_moves_media_to_a_new_path() {
    let house = House::open();
    let (_publisher, _published) = house.publisher().await;
    let viewer = Peer::new(&[Line::ReceiveAudio, Line::ReceiveVideo]).await;

    // The offer goes without candidates; they follow.
    let offer = viewer.offer().await;
    let (bare, own) = candidates(&offer);
    assert!(!own.is_empty() && !bare.contains("a=candidate"));
    let mut session = Session::post(&house.whep(), &house.token("guest"), bare).await;
    let media: std::net::SocketAddr = house.server.address().parse().expect("an address");
    let one = LossyLink::to(media, 1).await;
    viewer.accept(&one.reroute(&session.answer)).await;
    let fragment = format!("{}{own}a=end-of-candidates\r\n", of_description(&offer));
    let etag = session.etag.clone();
    assert_eq!(session.patch(&etag, &fragment).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        session.patch("\"another\"", &fragment).await.status(),
        StatusCode::PRECONDITION_FAILED
    );
    viewer.connected().await;
    shows(&viewer, 30).await;

    // The path is gone; a restart brings the same session over another one.
    let two = LossyLink::to(media, 2).await;
    drop(one);
    viewer.restart_ice().await;
    let offer = viewer.offer().await;
    let answer = session.restart(&of_description(&offer)).await;
    assert_ne!(session.etag, etag, "another ICE session has another tag");
    assert_eq!(
        session.patch(&etag, &fragment).await.status(),
        StatusCode::PRECONDITION_FAILED,
        "the one before is over"
    );
    let before = viewer.inbox("1", |inbox| inbox.viewer.packets);
    viewer.accept(&two.reroute(&answer)).await;
    viewer
        .until("1", "packets over the new path", |inbox| {
            inbox.viewer.packets >= before + 500
        })
        .await;
    assert_eq!(
        house.metric("housecall_media_sessions_total{kind=\"connected\"}").await,
        2.0,
        "one DTLS session each"
    );
    session.delete().await;
}

/// Acceptance: one publisher, a hundred viewers over HTTP, nothing lost, every stream decodable from a key frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a figure for whoever asks how it went")]
async fn a_publisher_reaches_a_hundred_viewers_without_a_lost_packet() {
    const VIEWERS: usize = 100;
    let house = House::without_adaptation();
    let (publisher, published) = house.publisher().await;
    let (whep, guest) = (Arc::new(house.whep()), Arc::new(house.token("guest")));
    let mut viewers = Vec::new();
    // A few at a time: the server waits for nobody's handshake for ever, and a slow machine is to get through them.
    while viewers.len() < VIEWERS {
        let mut joining = JoinSet::new();
        for _ in 0..10 {
            let (whep, guest) = (whep.clone(), guest.clone());
            joining.spawn(async move { House::viewer(&whep, &guest).await });
        }
        viewers.extend(joining.join_all().await);
    }
    for (viewer, _) in &viewers {
        shows(viewer, 90).await;
        viewer
            .until("0", "a hundred audio packets", |inbox| inbox.listener.packets >= 100)
            .await;
    }
    published.delete().await;
    drop(publisher);
    let mut frames = [0, 0];
    for (viewer, _) in &viewers {
        flawless(viewer).await;
        viewer.inbox("1", |inbox| {
            frames[0] += inbox.viewer.frames_of(H);
            frames[1] += inbox.viewer.frames_of(M);
        });
    }
    let asked = house.metric("housecall_media_feedback_total{kind=\"nack_in\"}").await;
    println!(
        "{VIEWERS} viewers: {} frames at 720p and {} at 480p shown, 0 packets lost, {asked} asked for again",
        frames[0], frames[1]
    );
}
