//! Streams over one end of a socket, whose other end the test has; what they write, and how much is taken of it, goes by the test's own book.
#![expect(clippy::disallowed_types, reason = "sockets of the test's own")]

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use housecall_turn::limits::MAX_RELAYED_MESSAGE;
use rustix::event::{EventfdFlags, eventfd};

use super::*;
use crate::clock::testing;

const AUDIO: &[u8] = &[0xaa; 100];
const VIDEO: &[u8] = &[0xbb; 1_200];

/// What a connection took, and what it will take.
struct Book {
    /// Bytes that it takes yet.
    room: usize,
    writes: Vec<Vec<u8>>,
    /// What it read ahead of the socket.
    held: VecDeque<Vec<u8>>,
    is_closed: bool,
}

struct Tap {
    socket: UnixStream,
    book: Arc<Mutex<Book>>,
}

impl Connection for Tap {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.book.lock().expect("no panic").held.pop_front() {
            Some(held) => {
                buffer[..held.len()].copy_from_slice(&held);
                Ok(held.len())
            }
            None => self.socket.read(buffer),
        }
    }

    fn has_more(&self) -> bool {
        !self.book.lock().expect("no panic").held.is_empty()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut book = self.book.lock().expect("no panic");
        let taken = bytes.len().min(book.room);
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        book.room -= taken;
        book.writes.push(bytes[..taken].to_vec());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn close(&mut self) {
        self.book.lock().expect("no panic").is_closed = true;
    }
}

/// A stream's other end.
struct Far {
    socket: UnixStream,
    book: Arc<Mutex<Book>>,
    path: Path,
    end: StreamEnd,
}

impl Far {
    fn id(&self) -> StreamId {
        self.path.is_stream().expect("a stream").0
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the socket takes it");
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("no panic")
    }

    fn writes(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.book().writes)
    }
}

fn thread(longest: usize) -> (Opener, Streams) {
    let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).expect("a descriptor"));
    pair(wake, longest, testing::start).expect("a descriptor")
}

fn open(opener: &Opener, streams: &mut Streams, kind: StreamKind, begun: &[u8]) -> Far {
    let (near, socket) = UnixStream::pair().expect("a pair");
    near.set_nonblocking(true).expect("an option");
    let book = Arc::new(Mutex::new(Book {
        room: usize::MAX,
        writes: Vec::new(),
        held: VecDeque::new(),
        is_closed: false,
    }));
    let arrival = Arrival {
        kind,
        remote: ([192, 0, 2, 1], 5_000).into(),
        local: [198, 51, 100, 1].into(),
        connection: Box::new(Tap {
            socket: near,
            book: Arc::clone(&book),
        }),
        begun: begun.to_vec(),
    };
    let end = opener.open(arrival).expect("room");
    streams.begin(testing::start());
    let Some(StreamEvent::Opened(path)) = streams.poll() else {
        panic!("it is told first that there is a stream");
    };
    Far {
        socket,
        book,
        path,
        end,
    }
}

fn one(kind: StreamKind) -> (Streams, Far) {
    let (opener, mut streams) = thread(MAX_STREAM_MESSAGE);
    let far = open(&opener, &mut streams, kind, &[]);
    assert!(turn(&mut streams).is_empty() && !streams.is_behind());
    (streams, far)
}

/// What a turn brings: messages, and ends of streams as `None`.
fn turn(streams: &mut Streams) -> Vec<Option<Vec<u8>>> {
    let longest = streams.longest;
    streams.begin(testing::start());
    streams.look();
    let mut came = Vec::new();
    while let Some(event) = streams.poll() {
        match event {
            StreamEvent::Opened(_) => {}
            StreamEvent::Messages(_, kind, mut messages) => {
                let mut rest = &*messages.bytes();
                while let Ok(Some(found)) = frame(kind, rest, longest) {
                    came.push(Some(rest[found.message].to_vec()));
                    rest = &rest[found.len..];
                }
                assert!(rest.is_empty(), "whole messages only");
                streams.give_back(messages);
            }
            StreamEvent::Closed(_) => came.push(None),
        }
    }
    came
}

fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend((message.len() as u16).to_be_bytes());
        bytes.extend(*message);
    }
    bytes
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
    let whole: Vec<_> = [AUDIO, &[], VIDEO, AUDIO].map(|message| Some(message.to_vec())).into();
    for piece in [1, 7, 101, 102, 103, 500, 5_000] {
        let (mut streams, mut far) = one(StreamKind::IceTcp);
        let mut messages = Vec::new();
        for piece in bytes.chunks(piece) {
            far.send(piece);
            messages.extend(turn(&mut streams));
        }
        assert_eq!(messages, whole, "in pieces of {piece}");
        assert!(turn(&mut streams).is_empty());
    }
}

#[test]
fn what_was_read_before_it_was_handed_over_comes_first() {
    let (opener, mut streams) = thread(MAX_STREAM_MESSAGE);
    let bytes = framed(&[AUDIO, VIDEO]);
    let mut far = open(&opener, &mut streams, StreamKind::IceTcp, &bytes[..10]);
    // Read ahead by what is around the socket, which has nothing to tell then.
    far.book().held.push_back(bytes[10..20].to_vec());
    far.book().held.push_back(bytes[20..150].to_vec());
    assert!(streams.is_behind());
    assert!(turn(&mut streams).is_empty());
    assert!(streams.is_behind(), "it holds more");
    assert_eq!(turn(&mut streams), [Some(AUDIO.to_vec())]);
    assert!(!streams.is_behind());
    far.send(&bytes[150..]);
    assert_eq!(turn(&mut streams), [Some(VIDEO.to_vec())]);
}

#[test]
fn a_turn_reads_so_much_and_strangers_take_no_turn_of_others() {
    let (opener, mut streams) = thread(MAX_STREAM_MESSAGE);
    let mut strangers: Vec<Far> = (0..3 * limits::STREAM_READS_PER_TURN)
        .map(|_| open(&opener, &mut streams, StreamKind::IceTcp, &[]))
        .collect();
    let mut known: Vec<Far> = (0..2 * limits::STREAM_READS_PER_TURN)
        .map(|_| open(&opener, &mut streams, StreamKind::IceTcp, &[]))
        .collect();
    while streams.is_behind() {
        assert!(turn(&mut streams).is_empty());
    }
    for stranger in &mut strangers {
        // More than is read of them at once, again and again.
        stranger.send(&framed(&[&[255]]).repeat(limits::STRANGERS_READ));
    }
    for (number, far) in (0_u8..).zip(&mut known) {
        streams.trust(far.path);
        far.send(&framed(&[&[number]]));
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let messages: Vec<u8> = turn(&mut streams)
            .into_iter()
            .map(|message| message.expect("none ends")[0])
            .collect();
        let of_strangers = messages.iter().filter(|kind| **kind == 255).count();
        assert!(of_strangers > 0);
        assert!(of_strangers * 3 <= limits::STRANGERS_READS_PER_TURN * limits::STRANGERS_READ);
        assert_eq!(messages.len() - of_strangers, limits::STREAM_READS_PER_TURN);
        seen.extend(messages.into_iter().filter(|kind| *kind != 255));
    }
    assert_eq!(seen.len(), known.len(), "each had its turn");
}

#[test]
fn streams_that_hold_more_are_queued_once_and_not_beyond_their_end() {
    let (opener, mut streams) = thread(MAX_STREAM_MESSAGE);
    let mut fars: Vec<Far> = (0..10)
        .map(|_| open(&opener, &mut streams, StreamKind::IceTcp, &[]))
        .collect();
    while streams.is_behind() {
        turn(&mut streams);
    }
    for far in &mut fars {
        far.book().held.extend(vec![framed(&[AUDIO]); 100]);
        // Its descriptor tells of something too, each time.
        far.send(&[0]);
    }
    for _ in 0..50 {
        assert!(!turn(&mut streams).is_empty());
        assert!(streams.strange.again.len() <= fars.len());
    }
    // Nonsense, with more behind it.
    for far in &mut fars {
        far.book().held.clear();
        far.book().held.extend(vec![vec![0xff; 40]; 3]);
    }
    let mut ends = 0;
    for _ in 0..20 {
        ends += turn(&mut streams).iter().filter(|came| came.is_none()).count();
    }
    assert_eq!((ends, streams.is_behind()), (10, false));

    // The same for one that is closed meanwhile.
    let far = open(&opener, &mut streams, StreamKind::IceTcp, &[]);
    far.book().held.extend(vec![framed(&[AUDIO]); 3]);
    turn(&mut streams);
    assert!(streams.is_behind());
    streams.close(far.path);
    turn(&mut streams);
    assert!(!streams.is_behind());
}

#[test]
fn of_many_that_come_or_go_a_turn_sees_some() {
    let (opener, mut streams) = thread(MAX_STREAM_MESSAGE);
    let fars: Vec<Far> = (0..40)
        .map(|_| open(&opener, &mut streams, StreamKind::IceTcp, &[]))
        .collect();
    while streams.is_behind() {
        turn(&mut streams);
    }
    for far in &fars {
        streams.end(far.path);
    }
    let ends: Vec<usize> = (0..4).map(|_| turn(&mut streams).len()).collect();
    let most = limits::STREAM_CHANGES_PER_TURN;
    assert_eq!(ends, [most, most, 40 - 2 * most, 0]);
    assert!(!streams.is_behind() && streams.is_empty());
}

#[test]
fn of_a_long_message_no_more_room_is_kept_than_it_needs() {
    let (opener, mut streams) = thread(MAX_RELAYED_MESSAGE);
    let mut far = open(&opener, &mut streams, StreamKind::TurnTcp, &[]);
    streams.trust(far.path);
    let mut message = vec![7; 4 + 65_507];
    message[..4].copy_from_slice(&[0x40, 1, 0xff, 0xe3]);
    message.push(0);
    for _ in 0..3 {
        let mut came = Vec::new();
        for piece in message.chunks(10_000) {
            assert!(came.is_empty());
            far.send(piece);
            came = turn(&mut streams);
            let kept = streams.streams[&far.id()].rest.capacity();
            assert!(kept <= MAX_RELAYED_MESSAGE, "{kept} bytes");
        }
        assert_eq!(came, [Some(message[..65_511].to_vec())]);
        let kept = streams.streams[&far.id()].rest.capacity();
        assert!(kept <= limits::STREAM_READ, "{kept} bytes");
    }
}

// A stranger announces 65,504 bytes and would hold them, less one, until the connection is closed for want of use.
#[test]
fn a_stranger_s_stream_holds_little() {
    let (opener, mut streams) = thread(MAX_RELAYED_MESSAGE);
    let mut far = open(&opener, &mut streams, StreamKind::TurnTcp, &[]);
    // One byte less than the longest that it may have.
    let mut longest = vec![0; MAX_STREAM_MESSAGE - 1];
    longest[..4].copy_from_slice(&[0x40, 1, 0x0f, 0xfc]);
    far.send(&longest);
    assert!(turn(&mut streams).is_empty());
    assert_eq!(streams.streams[&far.id()].rest.capacity(), longest.len());
    far.send(&[0]);
    assert_eq!(turn(&mut streams).len(), 1);
    let announced = [0x40, 1, 0xff, 0xe0];
    far.send(&announced);
    assert_eq!(turn(&mut streams), [None], "too long for a stranger");

    let mut far = open(&opener, &mut streams, StreamKind::TurnTcp, &[]);
    streams.trust(far.path);
    far.send(&announced);
    assert!(turn(&mut streams).is_empty(), "its client has an allocation");
}

#[test]
fn what_is_no_message_ends_the_stream() {
    for (kind, bytes) in [
        (StreamKind::IceTcp, &[0xff, 0xff, 0][..]),
        (StreamKind::TurnTcp, b"GET / HTTP/1.1"),
        (StreamKind::TurnTls, &[0x40, 0, 0xff, 0xff]),
        (StreamKind::IceTcp, &[0, 1, 7, 0xff, 0xff]),
    ] {
        let (mut streams, mut far) = one(kind);
        far.send(bytes);
        assert_eq!(turn(&mut streams), [None]);
        assert!(far.book().is_closed);
    }
}

#[test]
fn a_burst_leaves_in_one_write_with_audio_first() {
    let (mut streams, far) = one(StreamKind::IceTcp);
    streams.send(far.id(), &VIDEO.repeat(5), VIDEO.len(), Cargo::Video);
    streams.send(far.id(), AUDIO, AUDIO.len(), Cargo::Urgent);
    streams.flush(|_, since| assert_eq!(since, None));
    let writes = far.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(kinds(&writes[0]), [0xaa, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb]);
}

#[test]
fn turn_messages_are_padded() {
    let (mut streams, far) = one(StreamKind::TurnTls);
    streams.send(far.id(), &[0x40, 1, 0, 1, 9, 0x40, 1, 0, 1, 9], 5, Cargo::Urgent);
    streams.flush(|_, _| {});
    assert_eq!(far.writes(), [[0x40, 1, 0, 1, 9, 0, 0, 0, 0x40, 1, 0, 1, 9, 0, 0, 0]]);
}

#[test]
fn a_connection_that_takes_nothing_loses_video_and_keeps_audio() {
    let (mut streams, far) = one(StreamKind::IceTcp);
    far.book().room = 0;
    let (start, mut waits) = (testing::start(), None);
    let mut now = start;
    // Two seconds of 50 audio packets and 150 of video.
    for _ in 0..100 {
        now += Duration::from_millis(20);
        streams.begin(now);
        streams.send(far.id(), AUDIO, AUDIO.len(), Cargo::Urgent);
        streams.send(far.id(), &VIDEO.repeat(3), VIDEO.len(), Cargo::Video);
        streams.flush(|_, since| waits = since);
    }
    assert_eq!(
        waits.map(|since| now - since),
        Some(Duration::from_millis(1_980)),
        "the queue's age counts what the kernel does not take"
    );
    let lost = streams.take_lost();
    assert!((250..300).contains(&lost), "{lost} of 300");
    let stream = &streams.streams[&far.id()];
    assert!(stream.video.len() + stream.urgent.len() <= limits::STREAM_VIDEO.bytes + limits::STREAM_URGENT.bytes);

    // It takes some at a time again.
    let mut seen = Vec::new();
    while waits.is_some() {
        far.book().room += 5_000;
        turn(&mut streams);
        streams.flush(|_, since| waits = since);
        seen.extend(far.writes().concat());
    }
    let seen = kinds(&seen);
    assert_eq!(
        seen.iter().filter(|kind| **kind == 0xaa).count(),
        100,
        "all audio arrives"
    );
    assert_eq!(seen.iter().filter(|kind| **kind == 0xbb).count() as u64, 300 - lost);
    let first_video = seen.iter().rposition(|kind| *kind == 0xbb);
    assert_eq!(first_video, Some(seen.len() - 1), "audio has overtaken it");
}

#[test]
fn audio_overtakes_video_that_is_leaving_within_a_record() {
    for kind in [StreamKind::IceTcp, StreamKind::TurnTls] {
        let (mut streams, far) = one(kind);
        far.book().room = 5_000;
        // A key frame, in messages of TURN's own framing: channel, length.
        let video = [
            &[0x40, 0, 1_196_u16.to_be_bytes()[0], 1_196_u16.to_be_bytes()[1]][..],
            &VIDEO[4..],
        ]
        .concat();
        for _ in 0..80 {
            streams.send(far.id(), &video, video.len(), Cargo::Video);
        }
        let mut waits = None;
        streams.flush(|_, since| waits = since);
        streams.send(far.id(), AUDIO, AUDIO.len(), Cargo::Urgent);
        far.book().room = usize::MAX;
        while waits.is_some() {
            turn(&mut streams);
            streams.flush(|_, since| waits = since);
        }
        let sent = far.writes().concat();
        let heard = sent.windows(AUDIO.len()).position(|bytes| bytes == AUDIO);
        let heard = heard.expect("audio leaves");
        assert!(
            (5_000..=limits::STREAM_RECORD).contains(&heard),
            "{kind:?}: behind {heard} bytes"
        );
        let frames = sent.windows(4).filter(|bytes| *bytes == &video[..4]).count();
        assert_eq!(
            (frames, streams.take_lost()),
            (80, 0),
            "{kind:?}: nothing is lost for it"
        );
    }
}

#[test]
fn it_goes_on_when_the_descriptor_is_writable_and_not_before() {
    let (mut streams, far) = one(StreamKind::IceTcp);
    far.book().room = 50;
    streams.send(far.id(), AUDIO, AUDIO.len(), Cargo::Urgent);
    let mut waits = None;
    streams.flush(|_, since| waits = since);
    assert_eq!((far.writes().concat().len(), waits.is_some()), (50, true));
    far.book().room = usize::MAX;
    streams.flush(|_, since| waits = since);
    assert_eq!((far.writes().len(), waits.is_some()), (0, true), "nobody has said so");
    assert!(turn(&mut streams).is_empty());
    streams.flush(|_, since| waits = since);
    assert_eq!((far.writes().concat().len(), waits), (52, None));
}

#[tokio::test]
async fn each_end_learns_of_the_other_s_end() {
    let (mut streams, far) = one(StreamKind::TurnTcp);
    let (id, book) = (far.id(), Arc::clone(&far.book));
    drop(far.socket);
    assert_eq!(turn(&mut streams), [None]);
    assert!(turn(&mut streams).is_empty());
    assert_eq!(streams.send(id, AUDIO, 100, Cargo::Urgent), Sent::Refused);
    far.end.seen().await;
    assert!(book.lock().expect("no panic").is_closed);

    let (mut streams, mut far) = one(StreamKind::TurnTcp);
    streams.close(far.path);
    assert!(far.book().is_closed);
    assert_eq!(far.socket.read(&mut [0; 8]).expect("an end"), 0);
    far.end.seen().await;
}

#[test]
fn only_old_streams_are_looked_at() {
    let (mut streams, far) = one(StreamKind::IceTcp);
    let now = testing::start();
    assert!(streams.due(now + limits::STREAM_SWEEP).is_empty());
    assert_eq!(streams.due(now + limits::STREAM_UNUSED), [far.path]);
    assert!(streams.due(now + limits::STREAM_UNUSED).is_empty(), "not again at once");
}

#[test]
fn one_that_takes_nothing_for_long_ends() {
    let (mut streams, far) = one(StreamKind::IceTcp);
    far.book().room = 0;
    streams.send(far.id(), AUDIO, AUDIO.len(), Cargo::Urgent);
    streams.flush(|_, _| {});
    let since = testing::start();
    streams.due(since + limits::STREAM_STUCK - limits::STREAM_SWEEP);
    assert!(!streams.is_behind());
    streams.due(since + limits::STREAM_STUCK);
    assert!(streams.is_behind());
    assert_eq!(turn(&mut streams), [None]);
    assert!(far.book().is_closed);
}
