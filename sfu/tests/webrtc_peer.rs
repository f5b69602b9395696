//! The media core seen by an independent client: the `webrtc` crate, which shares no code with it.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

mod support;

use support::peer::{H, Line, M, Peer};

/// The client against itself: what the tests below rely on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_without_a_server() {
    let mut publisher = Peer::new(&[Line::PublishAudio, Line::PublishVideo]).await;
    let viewer = Peer::new(&[]).await;
    let offer = publisher.offer().await;
    publisher.accept(&viewer.answer(&offer).await).await;
    publisher.connected().await;
    publisher.publish().await;
    viewer
        .until("1", "sixty frames", |inbox| inbox.viewer.frames_of(H) >= 60)
        .await;
    viewer
        .until("0", "fifty audio packets", |inbox| inbox.listener.packets >= 50)
        .await;
    viewer.inbox("1", |inbox| assert_eq!(inbox.viewer.faults(), [""; 0]));
    assert_eq!(viewer.inbox("1", |inbox| inbox.viewer.frames_of(M)), 0);
    viewer.leave().await;
    publisher.leave().await;
}
