//! When packets leave: at once from an idle shard, with the tick from a busy one, and media before handshakes.

use std::time::Duration;

use crate::clock::testing;
use crate::counters::Count;
use crate::limits;
use crate::media::Kind;
use crate::testing::Audience;

const VIEWERS: u64 = 3;

/// Everybody watches, and the first pictures are through.
fn audience() -> Audience {
    audience_of(VIEWERS)
}

fn audience_of(viewers: u64) -> Audience {
    let mut audience = Audience::new(viewers, testing::start());
    for _ in 0..10 {
        audience.pass_picture();
        audience.send_picture();
        audience.forward();
    }
    audience.pass_picture();
    audience.forward();
    audience
}

#[test]
fn an_idle_shard_forwards_at_once_and_a_frame_is_one_run() {
    let mut audience = audience();
    audience.send_picture();
    let (forwarded, read) = audience.forward_and_read();
    let packets = read[0].len() as u64;
    assert!(packets > 2, "a frame of 1.5 Mbit/s has several packets");
    assert_eq!(
        forwarded.packets,
        (packets + 1) * VIEWERS,
        "its packets and one of audio"
    );
    let lens: Vec<usize> = read[0].iter().map(Vec::len).collect();
    assert!(read[1].iter().map(Vec::len).eq(lens.iter().copied()), "padding is gone");
    assert!(lens[0] < lens[lens.len() - 1], "the shorter ones come first: {lens:?}");
    let shorter = lens.iter().filter(|len| **len == lens[0]).count() as u64;
    assert_eq!(forwarded.padding, shorter * VIEWERS);
    // Audio and video for each viewer; feedback to the publisher may be among it.
    assert!(
        (2 * VIEWERS..=2 * VIEWERS + 1).contains(&forwarded.calls),
        "{forwarded:?}"
    );
}

#[test]
fn where_many_watch_a_frame_is_offered_when_it_is_whole_or_with_the_tick() {
    // Its last packet, and the audio behind it.
    const LATE: usize = 2;
    let many = limits::WHOLE_FRAMES_FROM as u64;
    let mut audience = audience_of(many);
    for _ in 0..3 {
        audience.send_picture();
        let late = audience.take_back(LATE);
        let (_, read) = audience.forward_and_read();
        assert!(read.concat().is_empty(), "more of the frame is on the way");
        assert!(audience.next_deadline().expect("the tick") <= limits::PACER_TICK);
        audience.give_back(late);
        let (forwarded, read) = audience.forward_and_read();
        assert!(
            read.iter()
                .all(|payloads| payloads.len() == read[0].len() && payloads.len() > 2)
        );
        assert!((2 * many..=2 * many + 1).contains(&forwarded.calls), "{forwarded:?}");
        audience.pass_picture();
        audience.forward();
    }
    // The last packet does not come in time.
    audience.send_picture();
    let late = audience.take_back(LATE);
    assert!(audience.forward_and_read().1.concat().is_empty());
    let tick = audience.next_deadline().expect("the tick");
    audience.pass(tick);
    let (_, read) = audience.forward_and_read();
    assert!(
        read.iter().all(|payloads| payloads.len() > 1),
        "the rest waits no longer"
    );
    audience.give_back(late);
    let (_, read) = audience.forward_and_read();
    assert!(
        read.iter().all(|payloads| payloads.len() == 1),
        "and it does not wait for anything"
    );

    // In a visit of few, nothing waits.
    let mut audience = audience_of(VIEWERS);
    audience.send_picture();
    audience.take_back(LATE);
    let (_, read) = audience.forward_and_read();
    assert!(read.iter().all(|payloads| payloads.len() > 1));
}

#[test]
fn a_busy_shard_collects_video_until_the_tick_and_audio_never_waits() {
    let mut audience = audience();
    audience.set_busy(1_000);
    audience.send_picture();
    let (forwarded, read) = audience.forward_and_read();
    assert_eq!((forwarded.packets, read.concat().len()), (VIEWERS, 0), "audio only");
    let tick = audience.next_deadline().expect("the tick");
    assert!(tick <= limits::PACER_TICK);
    // More comes just before the tick, and leaves with it.
    audience.pass(tick - Duration::from_micros(1));
    audience.send_picture();
    let (_, read) = audience.forward_and_read();
    assert!(read.concat().is_empty());
    audience.pass(Duration::from_micros(1));
    let (forwarded, read) = audience.forward_and_read();
    assert_eq!(forwarded.packets, (read[0].len() as u64) * VIEWERS);
    let frames = read[0].iter().filter(|payload| payload[0] & 0x10 != 0).count();
    assert_eq!(frames, 2);
    audience.set_busy(0);
    audience.send_picture();
    let (_, read) = audience.forward_and_read();
    assert!(!read[0].is_empty(), "an idle shard does not wait any more");
}

#[test]
fn packets_that_come_all_the_time_do_not_put_the_tick_off() {
    let mut audience = audience();
    audience.set_busy(1_000);
    let mut since_video = Duration::ZERO;
    let step = Duration::from_micros(500);
    for _ in 0..100 {
        audience.pass(step);
        audience.send_picture();
        let (forwarded, read) = audience.forward_and_read();
        assert!(forwarded.packets >= VIEWERS, "audio leaves each time");
        since_video += step;
        if read.iter().all(|payloads| !payloads.is_empty()) {
            since_video = Duration::ZERO;
        }
        assert!(
            since_video <= limits::PACER_TICK,
            "video has waited for {since_video:?}"
        );
    }
}

#[test]
fn some_of_the_packets_tell_how_long_they_took() {
    let mut audience = audience();
    let arrival = audience.now();
    let worker = audience.worker();
    worker.take_samples();
    audience.set_busy(1_000);
    for _ in 0..8 {
        audience.send_picture();
    }
    audience.forward();
    audience.pass(limits::PACER_TICK);
    audience.forward();
    let samples = audience.worker().take_samples();
    assert!(samples.iter().any(|(kind, _)| *kind == Kind::Audio));
    assert!(samples.iter().any(|(kind, _)| *kind == Kind::Video));
    assert!(
        samples.iter().all(|(_, at)| *at == arrival),
        "when they came, not when they left"
    );
}

#[test]
fn handshakes_wait_for_media_and_have_a_bound() {
    let mut audience = audience();
    let now = audience.now();
    // A handshake record of a version nobody speaks: it costs a look.
    let record = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let path = audience.viewer_path(0);
    let worker = audience.worker();
    for _ in 0..limits::MAX_WAITING_HANDSHAKES + 3 {
        worker.handle_datagram(path, &mut record.to_vec(), now);
    }
    assert!(worker.has_output(), "they want a turn");
    assert!(worker.poll_ready(now).is_none(), "which is not in media's place");
    let mut steps = 0;
    while worker.handle_handshake(now) {
        steps += 1;
    }
    assert_eq!(steps, limits::MAX_WAITING_HANDSHAKES);
    let (counters, _) = worker.take_counters();
    assert_eq!(counters.get(Count::HandshakesDropped), 3);
}
