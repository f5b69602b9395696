//! The media core seen by an independent client: the `webrtc` crate, which shares no code with it.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clients have sockets, clocks and a runtime"
)]

mod support;

use housecall_sfu::{Event, Layer, Mid, Target, TrackChange, TrackId};
use support::lossy::LossyLink;
use support::peer::{H, Line, M, Peer};
use support::server::{P480, P720, PUBLISHER, ROOM, Server, VIEWER, lines_for, without_faults};

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
    without_faults(&viewer, "1");
    assert_eq!(viewer.inbox("1", |inbox| inbox.viewer.frames_of(M)), 0);
    viewer.leave().await;
    publisher.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulcast_is_received_and_switched_without_a_broken_frame() {
    let mut server = Server::start();
    let (publisher, tracks) = server.publisher(&[Line::PublishAudio, Line::PublishSimulcast]).await;
    let viewer = server.viewer(VIEWER, &tracks).await;
    let shown = |encoding| viewer.inbox("1", |inbox| inbox.viewer.frames_of(encoding));

    server.sending("1", Some(Layer::P720)).await;
    viewer.until("1", "720p", |inbox| inbox.viewer.frames_of(H) >= 60).await;
    viewer.until("0", "audio", |inbox| inbox.listener.packets >= 50).await;
    assert_eq!(shown(M), 0, "one layer at a time");
    let stats = server.stats(PUBLISHER).await;
    for (layer, size) in [(Layer::P480, (853, 480)), (Layer::P720, (1280, 720))] {
        let published = stats
            .published
            .iter()
            .find(|published| published.layer == Some(layer))
            .unwrap();
        assert!(published.packets > 100, "both layers arrive: {published:?}");
        assert_eq!((published.size, published.lost), (Some(size), 0));
    }

    let mid = Mid::new("1").unwrap();
    server.sfu.set_target(ROOM, VIEWER, mid, P480);
    server.sending("1", Some(Layer::P480)).await;
    viewer.until("1", "480p", |inbox| inbox.viewer.frames_of(M) >= 60).await;
    let at_720 = shown(H);

    server.sfu.set_target(ROOM, VIEWER, mid, Target::AudioOnly);
    server.sending("1", None).await;
    // What is shown may still be on its way; what leaves is exact.
    let sent = async || {
        let stats = server.stats(VIEWER).await;
        let slot = stats
            .slots
            .iter()
            .find(|slot| slot.mid == mid)
            .expect("a picture's line");
        slot.packets
    };
    let at_the_stop = sent().await;
    let heard = viewer.inbox("0", |inbox| inbox.listener.packets);
    viewer
        .until("0", "audio goes on", |inbox| inbox.listener.packets >= heard + 100)
        .await;
    assert_eq!(sent().await, at_the_stop, "the picture stops");
    assert!(at_the_stop > 0);
    assert_eq!(shown(H), at_720, "nothing of the other layer while at 480p");

    server.sfu.set_target(ROOM, VIEWER, mid, P720);
    server.sending("1", Some(Layer::P720)).await;
    viewer
        .until("1", "720p again", |inbox| inbox.viewer.frames_of(H) >= at_720 + 60)
        .await;
    without_faults(&viewer, "1");
    viewer.inbox("1", |inbox| {
        assert_eq!(inbox.viewer.missing(), 0, "no gap in sequence numbers");
    });
    viewer.inbox("0", |inbox| assert_eq!(inbox.listener.lost, 0));
    publisher.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoder_that_lists_the_largest_first_is_understood_by_its_pictures() {
    let mut server = Server::start();
    let (publisher, tracks) = server.publisher(&[Line::PublishAudio, Line::PublishLargestFirst]).await;
    let viewer = server.viewer(VIEWER, &tracks).await;
    viewer.until("1", "720p", |inbox| inbox.viewer.frames_of(H) >= 20).await;
    let stats = server.stats(PUBLISHER).await;
    for (layer, size) in [(Layer::P480, (853, 480)), (Layer::P720, (1280, 720))] {
        let published = stats.published.iter().find(|published| published.layer == Some(layer));
        assert_eq!(published.unwrap().size, Some(size));
    }

    // What was seen outlives a new offer, which says it the other way round again.
    let answer = server.negotiate(PUBLISHER, &publisher).await;
    assert_eq!(answer.published, tracks);
    let large = viewer.inbox("1", |inbox| inbox.viewer.frames_of(H));
    viewer
        .until("1", "720p goes on", |inbox| inbox.viewer.frames_of(H) >= large + 30)
        .await;

    let small = viewer.inbox("1", |inbox| inbox.viewer.frames_of(M));
    server.sfu.set_target(ROOM, VIEWER, Mid::new("1").unwrap(), P480);
    server.sending("1", Some(Layer::P480)).await;
    viewer
        .until("1", "480p", |inbox| inbox.viewer.frames_of(M) >= small + 60)
        .await;
    without_faults(&viewer, "1");
    viewer.inbox("1", |inbox| {
        assert_eq!(inbox.viewer.missing(), 0, "no gap in sequence numbers");
    });
    publisher.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_forwarded_before_a_slot_is_pointed_at_a_track() {
    let mut server = Server::start();
    let (_publisher, tracks) = server.publisher(&[Line::PublishAudio, Line::PublishSimulcast]).await;
    let viewer = Peer::new(&lines_for(&tracks)).await;
    let answer = server.join(VIEWER, &viewer).await;
    let audio = tracks[0];
    server
        .sfu
        .set_source(ROOM, VIEWER, answer.slots[0].mid, Some(audio.track));
    viewer.until("0", "audio", |inbox| inbox.listener.packets >= 50).await;
    viewer.inbox("1", |inbox| assert_eq!(inbox.viewer.packets, 0, "deny by default"));
    // A track of the other kind, or one that is not there, is nothing.
    server
        .sfu
        .set_source(ROOM, VIEWER, answer.slots[1].mid, Some(audio.track));
    server
        .sfu
        .set_source(ROOM, VIEWER, answer.slots[0].mid, Some(TrackId(u64::MAX)));
    let stats = server.stats(VIEWER).await;
    assert!(stats.slots.iter().all(|slot| slot.source.is_none()), "{stats:?}");
    server.sfu.close_room(ROOM);
    let closed = |event: &Event| {
        matches!(
            event,
            Event::Track {
                change: TrackChange::Ended,
                ..
            }
        )
        .then_some(())
    };
    server.event("the tracks end with the room", closed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_packets_are_resent() {
    let server = Server::start();
    let (publisher, tracks) = server.publisher(&[Line::PublishAudio, Line::PublishSimulcast]).await;
    let link = LossyLink::to(server.address, 0x5eed_0001).await;
    let viewer = Peer::new(&lines_for(&tracks)).await;
    let answer = server.sfu.negotiate(ROOM, VIEWER, viewer.offer().await).await.unwrap();
    viewer.accept(&link.reroute(&answer.sdp)).await;
    viewer.connected().await;
    server.subscribe(VIEWER, &answer, &tracks);
    viewer
        .until("1", "a picture", |inbox| inbox.viewer.frames_of(H) >= 30)
        .await;
    let asked = publisher.key_frames_asked();

    link.lose(0.05);
    let before = viewer.inbox("1", |inbox| inbox.viewer.frames_of(H));
    viewer
        .until("1", "five seconds under loss", |inbox| {
            inbox.viewer.frames_of(H) >= before + 150
        })
        .await;
    link.lose(0.0);
    assert!(link.dropped() > 10, "the link did lose packets: {}", link.dropped());
    without_faults(&viewer, "1");
    let repaired: u64 = server.stats(VIEWER).await.slots.iter().map(|slot| slot.resent).sum();
    assert!(repaired > 10, "by retransmission: {repaired}");
    // A client that stood still may ask too late. That it takes none otherwise is tested where the clock is held (subscription_tests).
    let new = publisher.key_frames_asked() - asked;
    assert!(
        5 * new < link.dropped(),
        "not by new key frames: {new} for {}",
        link.dropped()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_encoding_without_rid_is_720p() {
    let mut server = Server::start();
    let (_publisher, tracks) = server.publisher(&[Line::PublishVideo]).await;
    let viewer = server.viewer(VIEWER, &tracks).await;
    server.sending("0", Some(Layer::P720)).await;
    viewer
        .until("0", "the picture", |inbox| inbox.viewer.frames_of(H) >= 60)
        .await;
    without_faults(&viewer, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_added_later_receives_and_what_was_there_goes_on() {
    let server = Server::start();
    let (_publisher, tracks) = server.publisher(&[Line::PublishAudio, Line::PublishSimulcast]).await;
    let mut viewer = server.viewer(VIEWER, &tracks[..1]).await;
    viewer.until("0", "audio", |inbox| inbox.listener.packets >= 50).await;
    viewer.add(Line::ReceiveVideo).await;
    let answer = server.negotiate(VIEWER, &viewer).await;
    server.subscribe(VIEWER, &answer, &tracks);
    viewer
        .until("1", "the picture", |inbox| inbox.viewer.frames_of(H) >= 60)
        .await;
    without_faults(&viewer, "1");
    viewer.inbox("0", |inbox| {
        assert_eq!(inbox.listener.lost, 0, "the sound did not stop");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ice_restart_moves_the_media_to_a_new_path() {
    let server = Server::start();
    let (publisher, tracks) = server.publisher(&[Line::PublishAudio, Line::PublishSimulcast]).await;
    let viewer = Peer::new(&lines_for(&tracks)).await;
    let answer = server.sfu.negotiate(ROOM, VIEWER, viewer.offer().await).await.unwrap();
    let first = LossyLink::to(server.address, 1).await;
    viewer.accept(&first.reroute(&answer.sdp)).await;
    viewer.connected().await;
    server.subscribe(VIEWER, &answer, &tracks);
    viewer
        .until("1", "a picture", |inbox| inbox.viewer.frames_of(H) >= 30)
        .await;
    assert_eq!(server.stats(VIEWER).await.remote, Some(first.server_sees));

    let second = LossyLink::to(server.address, 2).await;
    drop(first);
    viewer.restart_ice().await;
    let answer = server.sfu.negotiate(ROOM, VIEWER, viewer.offer().await).await.unwrap();
    viewer.accept(&second.reroute(&answer.sdp)).await;
    let before = viewer.inbox("1", |inbox| inbox.viewer.packets);
    viewer
        .until("1", "packets over the new path", |inbox| {
            inbox.viewer.packets >= before + 500
        })
        .await;
    assert_eq!(server.stats(VIEWER).await.remote, Some(second.server_sees));
    publisher.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_who_leaves_takes_the_tracks_along() {
    let mut server = Server::start();
    let (publisher, tracks) = server.publisher(&[Line::PublishAudio, Line::PublishSimulcast]).await;
    let viewer = server.viewer(VIEWER, &tracks).await;
    viewer
        .until("1", "a picture", |inbox| inbox.viewer.frames_of(H) >= 5)
        .await;
    publisher.leave().await;
    let mut ended = Vec::new();
    while ended.len() < tracks.len() {
        let track = server.event("the end of the tracks", |event| match event {
            Event::Track {
                participant: PUBLISHER,
                track,
                change: TrackChange::Ended,
                ..
            } => Some(*track),
            _ => None,
        });
        ended.push(track.await);
    }
    ended.sort_by_key(|track| track.track);
    assert_eq!(ended, tracks);
    let stats = server.stats(VIEWER).await;
    assert!(stats.slots.iter().all(|slot| slot.source.is_none()), "{stats:?}");
    assert_eq!(server.sfu.stats(ROOM, PUBLISHER).await, None);
}
