//! What one viewer of an audio track is sent.

use std::time::{Duration, Instant};

use super::testbed::{OPUS, RED, Viewer, config};
use crate::clock::testing::start;
use crate::ext::ExtensionIds;
use crate::ids::TrackId;
use crate::limits;
use crate::media::{Codec, Kind, Target};
use crate::ring::Packing;
use crate::testing::MediaPacket;
use crate::testing::track::TestTrack;

const PLAIN: Packing = Packing::Plain(Codec::Opus);

fn packet(number: u16, payload: &[u8]) -> MediaPacket {
    MediaPacket {
        sequence: number,
        timestamp: u32::from(number).wrapping_mul(960),
        marker: false,
        payload: payload.to_vec(),
    }
}

fn viewer(now: Instant) -> Viewer {
    let mut viewer = Viewer::new(config(Kind::Audio), 0xffff_fff0_1234_7ffe, now);
    viewer.sub.set_source(Some(TrackId(1)));
    viewer
}

fn at(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

#[test]
fn flows_from_the_first_packet_whatever_the_target() {
    let start = start();
    let mut track = TestTrack::audio();
    let mut viewer = viewer(start);
    viewer.sub.set_target(Target::AudioOnly, start);
    assert_eq!(viewer.take(&track, start).len(), 0);
    let mut sent = Vec::new();
    // Browsers send a handful of empty packets first. 65,534 and on: the publisher's numbers wrap, and so do ours.
    for (i, payload) in [&b""[..], b"", b"one", b"two", b"three"].into_iter().enumerate() {
        let now = at(start, 20 * i as u64);
        track.store_audio(&packet(65_533_u16.wrapping_add(i as u16), payload), PLAIN, now);
        sent.extend(viewer.take(&track, now));
    }
    let numbers: Vec<u64> = sent.iter().map(|out| out.written.sequence).collect();
    assert_eq!(numbers, [0x7ffe, 0x7fff, 0x8000, 0x8001, 0x8002]);
    let payloads: Vec<&[u8]> = sent.iter().map(|out| out.payload()).collect();
    assert_eq!(payloads, [&b""[..], b"", b"one", b"two", b"three"]);
    assert!(sent.iter().all(|out| out.header().payload_type == OPUS));
    let first = sent[0].header().timestamp;
    // Wrapping sequence numbers made the timestamps of `packet` jump; they are the publisher's all the same.
    assert_eq!(sent[1].header().timestamp.wrapping_sub(first), 960);
    assert_eq!(viewer.sub.layer(), None);
    assert_eq!(viewer.sub.wanted_key_frame(&track, start), None);
}

#[test]
fn another_source_goes_on_in_numbers_and_time() {
    let start = start();
    let mut viewer = viewer(start);
    let mut last = None;
    for speaker in 0..3_u64 {
        let mut track = TestTrack::audio();
        viewer.sub.set_source(Some(TrackId(speaker + 10)));
        for i in 0..5_u64 {
            // 100 ms of silence between the speakers.
            let now = at(start, speaker * 200 + i * 20);
            track.store_audio(&packet((7_000 * speaker + i) as u16, b"x"), PLAIN, now);
            for out in viewer.take(&track, now) {
                let header = out.header();
                if let Some((sequence, timestamp)) = last {
                    assert_eq!(out.written.sequence, sequence + 1);
                    let step = if i == 0 { 48 * 120 } else { 960 };
                    assert_eq!(header.timestamp.wrapping_sub(timestamp), step);
                }
                last = Some((out.written.sequence, header.timestamp));
            }
        }
    }
    assert_eq!(viewer.sub.counters().packets, 15);
}

#[test]
fn two_speakers_at_once_do_not_share_a_time() {
    let start = start();
    let mut viewer = viewer(start);
    let mut timestamps = Vec::new();
    for speaker in 0..2 {
        let mut track = TestTrack::audio();
        viewer.sub.set_source(Some(TrackId(speaker)));
        track.store_audio(&packet(9, b"x"), PLAIN, start);
        timestamps.extend(viewer.take(&track, start).iter().map(|out| out.header().timestamp));
    }
    assert_eq!(timestamps[1].wrapping_sub(timestamps[0]), 960);
}

#[test]
fn of_more_redundancy_than_a_browser_has_the_youngest_goes_along() {
    let start = start();
    let table: [(&[u8], &[u8]); 5] = [
        (
            b"\xef\x1e\x00\x02\xef\x0f\x00\x03\x6faaoldnew",
            b"\xed\x0f\x00\x03\x6doldnew",
        ),
        (
            b"\xef\x2d\x00\x01\xef\x1e\x00\x02\xef\x0f\x00\x03\x6fzaaoldnew",
            b"\xed\x0f\x00\x03\x6doldnew",
        ),
        // One without an age, and an empty one.
        (b"\xef\x1e\x00\x02\xef\x00\x00\x03\x6faaoldnew", b"\x6dnew"),
        (b"\xef\x1e\x00\x02\xef\x0f\x00\x00\x6faanew", b"\x6dnew"),
        // Its fourth byte of data looks like a header.
        (b"\x6fnew\xef", b"\x6dnew\xef"),
    ];
    for (payload, expected) in table {
        let mut track = TestTrack::audio();
        track.store_audio(&packet(1, payload), Packing::Red, start);
        let sent = viewer(start).take(&track, start);
        assert_eq!(
            (sent[0].header().payload_type, sent[0].payload()),
            (RED, expected),
            "{payload:02x?}"
        );
    }
}

#[test]
fn redundancy_is_kept_renamed_or_stripped() {
    let start = start();
    let mut track = TestTrack::audio();
    track.store_audio(&packet(1, b"\xef\x0f\x00\x03\x6foldnew"), Packing::Red, start);

    let sent = viewer(start).take(&track, start);
    assert_eq!(
        (sent[0].header().payload_type, sent[0].payload()),
        (RED, &b"\xed\x0f\x00\x03\x6doldnew"[..])
    );

    let mut plain = config(Kind::Audio);
    plain.payload_types.red = None;
    let mut viewer = Viewer::new(plain, 1, start);
    viewer.sub.set_source(Some(TrackId(1)));
    let sent = viewer.take(&track, start);
    assert_eq!((sent[0].header().payload_type, sent[0].payload()), (OPUS, &b"new"[..]));
    // Plain and empty packets between redundant ones.
    track.store_audio(&packet(2, b""), Packing::Red, start);
    track.store_audio(&packet(3, b"plain"), PLAIN, start);
    let payloads: Vec<Vec<u8>> = viewer
        .take(&track, start)
        .iter()
        .map(|out| out.payload().to_vec())
        .collect();
    assert_eq!(payloads, [b"".to_vec(), b"plain".to_vec()]);
}

#[test]
fn a_late_packet_keeps_its_number_and_a_long_gap_is_closed() {
    let start = start();
    let mut track = TestTrack::audio();
    let mut viewer = viewer(start);
    let mut send = |numbers: &[u16], ms: u64| -> Vec<(u64, u32)> {
        for number in numbers {
            track.store_audio(&packet(*number, b"x"), PLAIN, at(start, ms));
        }
        let sent = viewer.take(&track, at(start, ms));
        sent.iter()
            .map(|out| (out.written.sequence - 0x7ffe, out.header().timestamp))
            .collect()
    };
    let base = send(&[100], 0)[0].1;
    assert_eq!(
        send(&[102, 101], 40),
        [(2, base.wrapping_add(1_920)), (1, base.wrapping_add(960))]
    );
    let gap = 102 + limits::MAX_HOLE as u16 + 2;
    let ms = 20 * u64::from(gap - 100);
    let ticks = 960 * u32::from(gap - 100);
    assert_eq!(
        send(&[gap, gap + 1], ms),
        [(3, base.wrapping_add(ticks)), (4, base.wrapping_add(ticks + 960))]
    );
}

#[test]
fn a_reader_that_was_overtaken_goes_on_at_the_oldest() {
    let start = start();
    let mut track = TestTrack::audio();
    let mut viewer = viewer(start);
    track.store_audio(&packet(0, b"x"), PLAIN, start);
    assert_eq!(viewer.take(&track, start).len(), 1);
    for number in 1..=500 {
        track.store_audio(&packet(number, b"x"), PLAIN, start);
    }
    assert_eq!(viewer.take(&track, start).len(), limits::AUDIO_RING.packets);
    assert_eq!(viewer.sub.counters().interrupted, 1);
}

#[test]
fn levels_are_handed_on() {
    let start = start();
    let mut track = TestTrack::audio();
    let mut config = config(Kind::Audio);
    config.extensions.audio_level = Some(1);
    let ids: ExtensionIds = config.extensions;
    let mut viewer = Viewer::new(config, 1, start);
    viewer.sub.set_source(Some(TrackId(1)));
    track.store_audio(&packet(1, b"x"), PLAIN, start);
    let sent = viewer.take(&track, start);
    let found = sent[0].header().extensions(&sent[0].bytes, &ids);
    assert_eq!((found.audio_level, found.twcc), (None, Some(65_000)));
}
