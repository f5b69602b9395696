//! Streams of a shard: TCP and TLS connections whose tasks live elsewhere. What comes is handed over in chunks of whole messages; what leaves
//! is gathered for a burst and goes as one chunk, which is one write and one TLS record.
//!
//! A connection carries less than it is given now and then. What it has not taken waits here, in two lanes: audio, feedback and
//! handshakes go first, and of video only what is fresh. So there is a bound in bytes and in time, and video is lost before audio.

mod lane;
mod link;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use futures_util::task::AtomicWaker;
use housecall_turn::stream::{Frame, FramingError, ice_frame, turn_frame};
use rustc_hash::FxHashMap;

use crate::batch::Cargo;
use crate::limits;
use crate::outbox::Sent;
use crate::path::{Path, StreamId, StreamKind};

use lane::Lane;
pub use link::{End, LinkError, StreamLink, StreamReader, StreamWriter};
pub(crate) use link::{Opener, pair};

/// Bytes on their way between a task and its shard: whole messages, each framed as its stream has it.
pub type Chunk = Vec<u8>;

/// What a stream's task tells its shard.
pub(crate) enum FromStream {
    /// It is there.
    Opened(Box<Opened>),
    /// Whole messages have come.
    Messages(StreamId, Chunk),
    /// The socket has taken a chunk for which the shard was waiting.
    Room(StreamId),
}

/// The shard's end of a new stream.
pub(crate) struct Opened {
    path: Path,
    id: StreamId,
    kind: StreamKind,
    shared: Arc<Shared>,
    down: SyncSender<Chunk>,
    written: Receiver<Chunk>,
    returned: SyncSender<Chunk>,
}

/// What both ends look at.
#[derive(Default)]
pub(crate) struct Shared {
    /// The task, while it waits for something to write.
    writer: AtomicWaker,
    /// The task, while it waits for a chunk to read into.
    reader: AtomicWaker,
    /// The task is gone.
    closed: AtomicBool,
    /// The shard has more than the task took.
    wants_room: AtomicBool,
    /// The client has proved who it is: more is kept for it, and its messages may be as long as this kind of shard takes them.
    is_trusted: AtomicBool,
}

/// The first message of a stream, whose messages have at most `longest` bytes.
pub(crate) fn frame(kind: StreamKind, bytes: &[u8], longest: usize) -> Result<Option<Frame>, FramingError> {
    match kind {
        StreamKind::IceTcp => ice_frame(bytes, longest),
        StreamKind::TurnTcp | StreamKind::TurnTls => turn_frame(bytes, longest),
    }
}

/// One stream, as its shard has it.
struct Stream {
    path: Path,
    kind: StreamKind,
    shared: Arc<Shared>,
    /// `None` only while being dropped.
    down: Option<SyncSender<Chunk>>,
    written: Receiver<Chunk>,
    returned: SyncSender<Chunk>,
    urgent: Lane,
    video: Lane,
    /// Chunks that came back.
    spare: ArrayVec<Chunk, { limits::STREAM_CHUNKS_DOWN }>,
    /// When what the oldest chunk with the task holds began to wait, and so on.
    in_flight: ArrayVec<Instant, { limits::STREAM_CHUNKS_DOWN }>,
    opened: Instant,
    is_dirty: bool,
}

/// Whether a stream can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    /// Everything is with its task.
    Empty,
    /// Something waits.
    Waits,
    /// Its task is gone.
    Gone,
}

impl Stream {
    /// Puts datagrams into a lane, each framed. How many were lost for it.
    fn push(&mut self, contents: &[u8], segment: usize, cargo: Cargo, now: Instant) -> usize {
        let (lane, bound) = match cargo {
            Cargo::Urgent => (&mut self.urgent, limits::STREAM_URGENT),
            Cargo::Video => (&mut self.video, limits::STREAM_VIDEO),
        };
        let mut lost = lane.expire(bound, contents.len() + 4 * contents.len().div_ceil(segment.max(1)), now);
        for datagram in contents.chunks(segment.max(1)) {
            if !lane.push(self.kind, datagram, now) {
                lost += 1;
            }
        }
        lost
    }

    /// Takes back chunks that were written.
    fn collect(&mut self) {
        while let Ok(chunk) = self.written.try_recv() {
            self.in_flight.pop_at(0);
            // There are never more chunks than places.
            let _ = self.spare.try_push(chunk);
        }
    }

    /// Hands over what waits, as far as the task has taken what it was given before.
    fn pump(&mut self) -> Pumped {
        self.collect();
        while !(self.urgent.is_empty() && self.video.is_empty()) {
            if self.in_flight.is_full() {
                self.shared.wants_room.store(true, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                self.collect();
                if self.in_flight.is_full() {
                    return Pumped::Waits;
                }
            }
            let empty = self.spare.pop().unwrap_or_default();
            // What fits into one record leaves in one.
            if !self.urgent.is_empty() && self.urgent.len() + self.video.len() <= limits::STREAM_RECORD {
                self.urgent.append(&mut self.video);
            }
            let lane = if self.urgent.is_empty() {
                &mut self.video
            } else {
                &mut self.urgent
            };
            let (chunk, since) = lane.take(empty);
            match self.down.as_ref().map(|down| down.try_send(chunk)) {
                Some(Ok(())) => self.in_flight.push(since),
                // The channel has a place for each chunk, so it is never full.
                Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => return Pumped::Gone,
            }
            self.shared.writer.wake();
        }
        Pumped::Empty
    }

    /// Since when the oldest datagram waits that the kernel has not taken.
    fn waits_since(&self) -> Option<Instant> {
        let lanes = self.urgent.since().into_iter().chain(self.video.since()).min();
        self.in_flight.first().copied().or(lanes)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The task sees that nobody sends any more, and ends.
        self.down = None;
        self.shared.writer.wake();
    }
}

/// All streams of a shard.
pub(crate) struct Streams {
    inbox: Receiver<FromStream>,
    /// How many tasks have ended, and how many of them were seen.
    closes: Arc<AtomicU64>,
    seen: u64,
    streams: FxHashMap<StreamId, Stream>,
    /// Streams with something in their lanes.
    dirty: Vec<StreamId>,
    /// The time of the present flush.
    now: Instant,
    swept: Instant,
    lost: u64,
}

/// What the driver is to do about a stream.
pub(crate) enum StreamEvent {
    /// It is there.
    Opened(Path),
    /// These messages came by this path; the chunk is to be given back.
    Messages(Path, StreamKind, Chunk),
    /// It is gone.
    Closed(Path),
}

impl Streams {
    fn new(inbox: Receiver<FromStream>, closes: Arc<AtomicU64>, now: Instant) -> Self {
        Self {
            inbox,
            closes,
            seen: 0,
            streams: FxHashMap::default(),
            dirty: Vec::new(),
            now,
            swept: now,
            lost: 0,
        }
    }

    /// The next thing that happened, `None` if nothing did.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<StreamEvent> {
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                FromStream::Opened(opened) if self.streams.len() < limits::MAX_STREAMS => {
                    let path = opened.path;
                    self.streams.insert(opened.id, opened.into_stream(now));
                    return Some(StreamEvent::Opened(path));
                }
                // Its task sees that nobody holds the other end.
                FromStream::Opened(_) => {}
                FromStream::Messages(id, chunk) => {
                    if let Some(stream) = self.streams.get(&id) {
                        return Some(StreamEvent::Messages(stream.path, stream.kind, chunk));
                    }
                }
                FromStream::Room(id) => {
                    let _ = self.streams.get(&id);
                }
            }
        }
        let closes = self.closes.load(Ordering::Acquire);
        if closes != self.seen {
            let gone = |(_, stream): &(&StreamId, &Stream)| stream.shared.closed.load(Ordering::Acquire);
            match self.streams.iter().find(gone).map(|(id, stream)| (*id, stream.path)) {
                Some((id, path)) => {
                    self.streams.remove(&id);
                    return Some(StreamEvent::Closed(path));
                }
                None => self.seen = closes,
            }
        }
        None
    }

    /// Gives a chunk back to the stream it came from.
    pub(crate) fn give_back(&self, path: Path, mut chunk: Chunk) {
        if let Some(stream) = path.is_stream().and_then(|(id, _)| self.streams.get(&id)) {
            chunk.clear();
            // One that held a long message is not kept so.
            chunk.shrink_to(limits::STREAM_CHUNK);
            let _ = stream.returned.try_send(chunk);
            stream.shared.reader.wake();
        }
    }

    /// The client of a stream is no stranger any more: it may have messages as long as [`pair`] was told, and send ahead.
    pub(crate) fn trust(&self, path: Path) {
        if let Some(stream) = path.is_stream().and_then(|(id, _)| self.streams.get(&id)) {
            stream.shared.is_trusted.store(true, Ordering::Release);
        }
    }

    /// Ends a stream, whatever its task is doing.
    pub(crate) fn close(&mut self, path: Path) {
        if let Some((id, _)) = path.is_stream() {
            self.streams.remove(&id);
        }
    }

    /// Sets the time of what is sent from now on.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.now = now;
    }

    /// Takes datagrams that are to leave.
    pub(crate) fn send(&mut self, id: StreamId, contents: &[u8], segment: usize, cargo: Cargo) -> Sent {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Sent::Refused;
        };
        self.lost += stream.push(contents, segment, cargo, self.now) as u64;
        if !stream.is_dirty {
            stream.is_dirty = true;
            self.dirty.push(id);
        }
        Sent::All
    }

    /// Hands over what was sent. `queue` is told of each stream that had something to send, and since when its oldest datagram waits.
    pub(crate) fn flush(&mut self, mut queue: impl FnMut(StreamId, Option<Instant>)) {
        let streams = &mut self.streams;
        self.dirty.retain(|id| {
            let Some(stream) = streams.get_mut(id) else {
                queue(*id, None);
                return false;
            };
            match stream.pump() {
                Pumped::Waits => {
                    queue(*id, stream.waits_since());
                    true
                }
                Pumped::Empty | Pumped::Gone => {
                    queue(*id, None);
                    stream.is_dirty = false;
                    false
                }
            }
        });
    }

    /// Datagrams that were lost in lanes, since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Streams that have been there for long enough to be of use, if it is time to look.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Path> {
        if now.saturating_duration_since(self.swept) < limits::STREAM_SWEEP {
            return Vec::new();
        }
        self.swept = now;
        let old = |stream: &&Stream| now.saturating_duration_since(stream.opened) >= limits::STREAM_UNUSED;
        self.streams.values().filter(old).map(|stream| stream.path).collect()
    }
}

impl Opened {
    fn into_stream(self, now: Instant) -> Stream {
        Stream {
            path: self.path,
            kind: self.kind,
            shared: self.shared,
            down: Some(self.down),
            written: self.written,
            returned: self.returned,
            urgent: Lane::default(),
            video: Lane::default(),
            spare: ArrayVec::new(),
            in_flight: ArrayVec::new(),
            opened: now,
            is_dirty: false,
        }
    }
}

/// How much may wait, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneBound {
    /// In bytes.
    pub(crate) bytes: usize,
    /// What has waited for longer is worth nothing.
    pub(crate) age: Duration,
}
