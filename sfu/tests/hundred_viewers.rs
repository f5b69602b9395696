//! One publisher and a hundred viewers, in a test binary of its own so that it has the machine to itself.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clients have sockets, clocks and a runtime"
)]

mod support;

use std::sync::Arc;

use housecall_sfu::ParticipantId;
use support::peer::Line;
use support::server::{Server, without_faults};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_publisher_reaches_a_hundred_viewers_without_a_lost_packet() {
    const VIEWERS: u64 = 100;
    let server = Arc::new(Server::start());
    let (publisher, tracks) = server.publisher(&[Line::PublishAudio, Line::PublishSimulcast]).await;
    let mut viewers = Vec::new();
    // A few at a time: the server waits for nobody's handshake for ever, and a slow machine is to get through them.
    for few in (0..VIEWERS).collect::<Vec<_>>().chunks(10) {
        let mut joining = JoinSet::new();
        for number in few {
            let (server, tracks, id) = (server.clone(), tracks.clone(), ParticipantId(100 + number));
            joining.spawn(async move { server.viewer(id, &tracks).await });
        }
        viewers.extend(joining.join_all().await);
    }
    for viewer in &viewers {
        viewer
            .until("1", "ninety frames", |inbox| inbox.viewer.shown().len() >= 90)
            .await;
        viewer
            .until("0", "a hundred audio packets", |inbox| inbox.listener.packets >= 100)
            .await;
    }
    publisher.leave().await;
    for viewer in &viewers {
        viewer
            .until("1", "every packet", |inbox| inbox.viewer.missing() == 0)
            .await;
        viewer
            .until("0", "every audio packet", |inbox| inbox.listener.lost == 0)
            .await;
        without_faults(viewer, "1");
        viewer.inbox("1", |inbox| {
            assert!(inbox.viewer.shown()[0].key, "decodable from a key frame");
        });
    }
}
