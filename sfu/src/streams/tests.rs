//! Both ends of a stream without a connection between them.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use housecall_turn::limits::{MAX_RELAYED_MESSAGE, MAX_STREAM_MESSAGE};
use housecall_turn::stream::FramingError;
use rustix::event::{EventfdFlags, eventfd};

use super::*;
use crate::clock::testing;

const AUDIO: &[u8] = &[0xaa; 100];
const VIDEO: &[u8] = &[0xbb; 1_200];

fn ends(kind: StreamKind) -> (Streams, StreamLink, Path, Instant) {
    ends_with(kind, MAX_STREAM_MESSAGE)
}

fn ends_with(kind: StreamKind, longest: usize) -> (Streams, StreamLink, Path, Instant) {
    let now = testing::start();
    let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).expect("a descriptor"));
    let (opener, mut streams) = pair(wake, longest, now);
    let link = opener
        .open(kind, ([192, 0, 2, 1], 5_000).into(), [198, 51, 100, 1].into())
        .expect("room");
    let Some(StreamEvent::Opened(path)) = streams.poll(now) else {
        panic!("it is told first that there is a stream");
    };
    streams.begin(now);
    (streams, link, path, now)
}

fn id(path: Path) -> StreamId {
    path.is_stream().expect("a stream").0
}

/// What a future gives without waiting.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Messages that the shard gets.
fn received(streams: &mut Streams, now: Instant) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some(event) = streams.poll(now) {
        let StreamEvent::Messages(path, kind, chunk) = event else {
            continue;
        };
        let mut rest = &chunk[..];
        while let Ok(Some(found)) = frame(kind, rest, MAX_STREAM_MESSAGE) {
            messages.push(rest[found.message].to_vec());
            rest = &rest[found.len..];
        }
        assert!(rest.is_empty(), "whole messages only");
        streams.give_back(path, chunk);
    }
    messages
}

fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend((message.len() as u16).to_be_bytes());
        bytes.extend(*message);
    }
    bytes
}

/// What the task gets to write, all at once.
fn written(link: &mut StreamLink) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    while let Some(Some(chunk)) = at_once(link.writer.next()) {
        chunks.push(chunk);
    }
    chunks
}

fn kinds(chunk: &[u8]) -> Vec<u8> {
    let mut rest = chunk;
    let mut kinds = Vec::new();
    while let Ok(Some(found)) = frame(StreamKind::IceTcp, rest, MAX_STREAM_MESSAGE) {
        kinds.push(rest[found.message.start]);
        rest = &rest[found.len..];
    }
    assert!(rest.is_empty());
    kinds
}

#[test]
fn messages_cross_whole_however_they_were_read() {
    let bytes = framed(&[AUDIO, &[], VIDEO, AUDIO]);
    for piece in [1, 7, 101, 102, 103, 500, 5_000] {
        let (mut streams, mut link, _, now) = ends(StreamKind::IceTcp);
        let mut messages = Vec::new();
        for piece in bytes.chunks(piece) {
            at_once(link.reader.buffer())
                .expect("a chunk is free")
                .expect("open")
                .extend_from_slice(piece);
            assert_eq!(at_once(link.reader.hand_over()), Some(Ok(true)));
            messages.extend(received(&mut streams, now));
        }
        assert_eq!(messages, [AUDIO, &[], VIDEO, AUDIO], "in pieces of {piece}");
    }
}

#[test]
fn a_connection_is_not_read_while_its_shard_is_behind() {
    let (mut streams, mut link, path, now) = ends(StreamKind::IceTcp);
    streams.trust(path);
    let mut given = 0;
    while let Some(buffer) = at_once(link.reader.buffer()) {
        buffer.expect("open").extend_from_slice(&framed(&[AUDIO]));
        match at_once(link.reader.hand_over()) {
            Some(outcome) => assert_eq!(outcome, Ok(true)),
            None => break,
        }
        given += 1;
    }
    assert_eq!(given, limits::STREAM_CHUNKS_UP - 1, "one chunk holds what is not whole");
    assert_eq!(received(&mut streams, now).len(), given);
    assert_eq!(at_once(link.reader.hand_over()), Some(Ok(true)), "chunks came back");
    assert_eq!(received(&mut streams, now).len(), 1, "and nothing was lost");
}

#[test]
fn a_long_message_crosses_whole_and_leaves_no_long_chunks_behind() {
    let (mut streams, mut link, path, now) = ends_with(StreamKind::TurnTcp, MAX_RELAYED_MESSAGE);
    streams.trust(path);
    let mut message = vec![7; 4 + 65_507];
    message[..4].copy_from_slice(&[0x40, 1, 0xff, 0xe3]);
    message.push(0);
    for _ in 0..10 {
        for piece in message.chunks(10_000) {
            at_once(link.reader.buffer())
                .expect("a chunk is free")
                .expect("open")
                .extend_from_slice(piece);
            assert_eq!(at_once(link.reader.hand_over()), Some(Ok(true)));
        }
        let Some(StreamEvent::Messages(_, kind, chunk)) = streams.poll(now) else {
            panic!("a message has come")
        };
        assert!(
            chunk.capacity() <= MAX_RELAYED_MESSAGE + 10_000,
            "{} bytes",
            chunk.capacity()
        );
        let found = frame(kind, &chunk, MAX_RELAYED_MESSAGE)
            .expect("a message")
            .expect("whole");
        assert_eq!((found.message, found.len, chunk.len()), (0..65_511, 65_512, 65_512));
        streams.give_back(path, chunk);
        let spare = at_once(link.reader.buffer()).expect("free").expect("open").capacity();
        assert!(spare <= limits::STREAM_CHUNK, "{spare} bytes");
    }
}

// A stranger announces 65,504 bytes and would hold them, less one, until the connection is closed for want of use.
#[test]
fn a_stranger_s_stream_holds_little() {
    let (streams, mut link, path, _) = ends_with(StreamKind::TurnTcp, MAX_RELAYED_MESSAGE);
    let announced = [0x40, 1, 0xff, 0xe0];
    let mut read = |bytes: &[u8]| {
        let buffer = at_once(link.reader.buffer()).expect("a chunk is free").expect("open");
        buffer.extend_from_slice(bytes);
        let held = buffer.capacity();
        (held, at_once(link.reader.hand_over()).expect("not busy"))
    };
    // One byte less than the longest that it may have.
    let mut longest = vec![0; MAX_STREAM_MESSAGE - 1];
    longest[..4].copy_from_slice(&[0x40, 1, 0x0f, 0xfc]);
    assert_eq!(read(&longest), (limits::STRANGERS_CHUNK, Ok(true)));
    assert_eq!(read(&[0]), (limits::STRANGERS_CHUNK, Ok(true)));
    let too_long = LinkError::Framing(FramingError::TooLong);
    assert_eq!(read(&announced), (limits::STRANGERS_CHUNK, Err(too_long)));
    streams.trust(path);
    let rest = [0; limits::STRANGERS_CHUNK - 4];
    assert_eq!(read(&rest).1, Ok(true), "its client has an allocation");
    assert_eq!(
        read(&[]),
        (MAX_RELAYED_MESSAGE, Ok(true)),
        "as long as a message, not twice that"
    );
}

/// Sends as much as is taken. How many bytes are kept for that.
fn held_for_a_sender_ahead(streams: &mut Streams, link: &mut StreamLink, path: Path, now: Instant) -> usize {
    let mut held = 0;
    while let Some(buffer) = at_once(link.reader.buffer()) {
        buffer.expect("open").extend_from_slice(&framed(&[AUDIO]));
        if at_once(link.reader.hand_over()).is_none() {
            break;
        }
    }
    held += at_once(link.reader.buffer())
        .expect("it is there")
        .expect("open")
        .capacity();
    let mut taken = Vec::new();
    while let Some(StreamEvent::Messages(_, _, chunk)) = streams.poll(now) {
        held += chunk.capacity();
        taken.push(chunk);
    }
    for chunk in taken {
        streams.give_back(path, chunk);
    }
    // What was not handed over before.
    assert_eq!(at_once(link.reader.hand_over()), Some(Ok(true)));
    received(streams, now);
    held
}

#[test]
fn little_is_kept_for_a_stranger_who_sends_ahead() {
    let (mut streams, mut link, path, now) = ends(StreamKind::IceTcp);
    let mut held = || held_for_a_sender_ahead(&mut streams, &mut link, path, now);
    for _ in 0..3 {
        assert_eq!(held(), 2 * limits::STRANGERS_CHUNK);
    }
    streams.trust(path);
    let mut held = || held_for_a_sender_ahead(&mut streams, &mut link, path, now);
    // Those that it had grow when they come round.
    held();
    held();
    assert_eq!(held(), limits::STREAM_CHUNKS_UP * limits::STREAM_CHUNK);
}

#[test]
fn two_chunks_do_for_whoever_sends_no_faster_than_is_looked() {
    let (mut streams, mut link, path, now) = ends(StreamKind::IceTcp);
    streams.trust(path);
    let mut places = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let buffer = at_once(link.reader.buffer()).expect("a chunk is free").expect("open");
        places.insert(buffer.as_ptr());
        buffer.extend_from_slice(&framed(&[AUDIO]));
        assert_eq!(at_once(link.reader.hand_over()), Some(Ok(true)));
        assert_eq!(received(&mut streams, now), [AUDIO]);
    }
    assert_eq!(places.len(), 2);
}

#[test]
fn what_is_no_message_ends_the_stream() {
    for (kind, bytes) in [
        (StreamKind::IceTcp, &[0xff, 0xff, 0][..]),
        (StreamKind::TurnTcp, b"GET / HTTP/1.1"),
        (StreamKind::TurnTls, &[0x40, 0, 0xff, 0xff]),
    ] {
        let (_streams, mut link, ..) = ends(kind);
        at_once(link.reader.buffer())
            .expect("free")
            .expect("open")
            .extend_from_slice(bytes);
        let outcome = at_once(link.reader.hand_over());
        assert!(matches!(
            outcome,
            Some(Err(LinkError::Framing(FramingError::TooLong | FramingError::Unknown)))
        ));
    }
}

#[test]
fn a_burst_leaves_as_one_chunk_with_audio_first() {
    let (mut streams, mut link, path, _) = ends(StreamKind::IceTcp);
    streams.send(id(path), &VIDEO.repeat(5), VIDEO.len(), Cargo::Video);
    streams.send(id(path), AUDIO, AUDIO.len(), Cargo::Urgent);
    streams.flush(|_, since| assert_eq!(since, None));
    let chunks = written(&mut link);
    assert_eq!(chunks.len(), 1);
    assert_eq!(kinds(&chunks[0]), [0xaa, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb]);
}

#[test]
fn turn_messages_are_padded() {
    let (mut streams, mut link, path, _) = ends(StreamKind::TurnTls);
    streams.send(id(path), &[0x40, 1, 0, 1, 9, 0x40, 1, 0, 1, 9], 5, Cargo::Urgent);
    streams.flush(|_, _| {});
    assert_eq!(
        written(&mut link),
        [[0x40, 1, 0, 1, 9, 0, 0, 0, 0x40, 1, 0, 1, 9, 0, 0, 0]]
    );
}

#[test]
fn a_connection_that_takes_nothing_loses_video_and_keeps_audio() {
    let (mut streams, mut link, path, start) = ends(StreamKind::IceTcp);
    let mut now = start;
    let mut waits = None;
    // Two seconds of 50 audio packets and 150 of video.
    for _ in 0..100 {
        now += Duration::from_millis(20);
        streams.begin(now);
        streams.send(id(path), AUDIO, AUDIO.len(), Cargo::Urgent);
        streams.send(id(path), &VIDEO.repeat(3), VIDEO.len(), Cargo::Video);
        streams.flush(|_, since| waits = since);
    }
    assert_eq!(
        waits.map(|since| now - since),
        Some(Duration::from_millis(1_980)),
        "the queue's age counts what the kernel does not take"
    );
    let lost = streams.take_lost();
    assert!((250..300).contains(&lost), "{lost} of 300");
    let held = streams.streams[&id(path)].video.len() + streams.streams[&id(path)].urgent.len();
    assert!(held <= limits::STREAM_VIDEO.bytes + limits::STREAM_URGENT.bytes);

    // It takes all at once again.
    let mut seen = Vec::new();
    while let Some(Some(chunk)) = at_once(link.writer.next()) {
        seen.extend(kinds(&chunk));
        link.writer.done(chunk);
        streams.flush(|_, since| waits = since);
    }
    assert_eq!(waits, None);
    assert_eq!(
        seen.iter().filter(|kind| **kind == 0xaa).count(),
        100,
        "all audio arrives"
    );
    assert_eq!(seen.iter().filter(|kind| **kind == 0xbb).count() as u64, 300 - lost);
}

#[test]
fn the_shard_is_told_when_there_is_room_again() {
    let (mut streams, mut link, path, now) = ends(StreamKind::IceTcp);
    for _ in 0..=limits::STREAM_CHUNKS_DOWN {
        streams.send(id(path), AUDIO, AUDIO.len(), Cargo::Urgent);
        streams.flush(|_, _| {});
    }
    let chunk = at_once(link.writer.next()).flatten().expect("a chunk");
    assert!(matches!(
        streams.inbox.try_recv(),
        Err(std::sync::mpsc::TryRecvError::Empty)
    ));
    link.writer.done(chunk);
    assert!(matches!(streams.inbox.try_recv(), Ok(FromStream::Room(_))));
    streams.flush(|_, since| assert_eq!(since, None));
    assert_eq!(written(&mut link).len(), limits::STREAM_CHUNKS_DOWN);
    assert!(streams.poll(now).is_none());
}

#[test]
fn each_end_learns_of_the_other_s_end() {
    let (mut streams, link, path, now) = ends(StreamKind::TurnTcp);
    drop(link);
    assert!(matches!(streams.poll(now), Some(StreamEvent::Closed(gone)) if gone == path));
    assert!(streams.poll(now).is_none());
    assert_eq!(streams.send(id(path), AUDIO, 100, Cargo::Urgent), Sent::Refused);

    let (mut streams, mut link, path, _) = ends(StreamKind::TurnTcp);
    assert!(at_once(link.writer.next()).is_none(), "waits");
    streams.close(path);
    assert_eq!(at_once(link.writer.next()), Some(None));
}

#[test]
fn only_old_streams_are_looked_at() {
    let (mut streams, _link, path, now) = ends(StreamKind::IceTcp);
    assert!(streams.due(now + limits::STREAM_SWEEP).is_empty());
    assert_eq!(streams.due(now + limits::STREAM_UNUSED), [path]);
    assert!(streams.due(now + limits::STREAM_UNUSED).is_empty(), "not again at once");
}
