//! Streams of a thread: TCP and TLS connections, which it reads and writes itself. What comes is looked at where it was read to; what leaves is
//! gathered for a burst and goes at once, which is one write and one TLS record.
//!
//! A connection carries less than it is given now and then. What it has not taken waits here, in two lanes: audio, feedback and
//! handshakes go first, and of video only what is fresh. So there is a bound in bytes and in time, and video is lost before audio.

mod connection;
mod lane;
mod opener;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use housecall_turn::limits::MAX_STREAM_MESSAGE;
use housecall_turn::stream::{Frame, FramingError, ice_frame, turn_frame};
use rustc_hash::FxHashMap;
use rustix::event::{Timespec, epoll};
use tokio::sync::oneshot;

use crate::batch::Cargo;
use crate::limits;
use crate::outbox::Sent;
use crate::path::{Path, StreamId, StreamKind};

pub use connection::{Connection, Plain};
use lane::Lane;
pub use opener::{Arrival, StreamEnd};
pub(crate) use opener::{Opener, pair};

/// What a message may have on its stream besides its own bytes: its length before it, or what fills it up behind it.
const HEADER: usize = 4;

/// Bytes on their way to a connection: whole messages, each framed as its stream has it.
type Chunk = Vec<u8>;

/// The first message of a stream, whose messages have at most `longest` bytes.
pub(crate) fn frame(kind: StreamKind, bytes: &[u8], longest: usize) -> Result<Option<Frame>, FramingError> {
    match kind {
        StreamKind::IceTcp => ice_frame(bytes, longest),
        StreamKind::TurnTcp | StreamKind::TurnTls => turn_frame(bytes, longest),
    }
}

/// Who is at the other end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// Nobody knows.
    Stranger,
    /// It has proved who it is: it may have more read at once, and its messages may be as long as this kind of thread takes them.
    Trusted,
}

/// Whether the kernel takes what a stream has to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlet {
    Open,
    /// Not before its descriptor is writable again. Since when nothing was taken.
    Full(Instant),
}

/// One stream.
struct Stream {
    path: Path,
    kind: StreamKind,
    connection: Box<dyn Connection>,
    client: Client,
    /// The beginning of a message that is not whole yet.
    rest: Vec<u8>,
    urgent: Lane,
    video: Lane,
    /// What is being written, and how much of it the connection has taken.
    leaving: Chunk,
    taken: usize,
    /// Since when what is being written waits.
    since: Option<Instant>,
    outlet: Outlet,
    opened: Instant,
    is_dirty: bool,
    /// It is among those that are read again: its connection holds more than was read of it.
    is_queued: bool,
    /// Whoever waits for its end sees that this is dropped.
    _end: oneshot::Sender<()>,
}

/// Whether a stream can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    /// Everything is with the kernel.
    Empty,
    /// Something waits.
    Waits,
    /// The connection is over.
    Gone,
}

/// What one read of a connection brought.
enum Came {
    /// Whole messages, so many bytes of them.
    Messages(usize),
    /// None that is whole.
    Nothing,
    /// The connection is over.
    End,
}

impl Stream {
    fn new(
        path: Path,
        kind: StreamKind,
        connection: Box<dyn Connection>,
        begun: Vec<u8>,
        end: oneshot::Sender<()>,
        now: Instant,
    ) -> Self {
        Self {
            path,
            kind,
            connection,
            client: Client::Stranger,
            rest: begun,
            urgent: Lane::default(),
            video: Lane::default(),
            leaving: Chunk::new(),
            taken: 0,
            since: None,
            outlet: Outlet::Open,
            opened: now,
            is_dirty: false,
            is_queued: false,
            _end: end,
        }
    }

    /// Reads once, to the beginning of `buffer`. Messages have at most `longest` bytes once the client is trusted.
    fn read(&mut self, buffer: &mut [u8], longest: usize) -> Came {
        let (longest, at_once) = match self.client {
            Client::Trusted => (longest, limits::STREAM_READ),
            Client::Stranger => (longest.min(MAX_STREAM_MESSAGE), limits::STRANGERS_READ),
        };
        let begun = self.rest.len();
        buffer[..begun].copy_from_slice(&self.rest);
        let read = match self.connection.read(&mut buffer[begun..begun + at_once]) {
            Ok(0) => return Came::End,
            Ok(read) => read,
            Err(cause) if is_for_later(&cause) => return Came::Nothing,
            Err(_) => return Came::End,
        };
        let bytes = &buffer[..begun + read];
        let mut whole = 0;
        loop {
            match frame(self.kind, &bytes[whole..], longest) {
                Ok(Some(found)) => whole += found.len,
                Ok(None) => break,
                // What is no message: there is no telling where the next one would begin.
                Err(_) => return Came::End,
            }
        }
        self.keep(&bytes[whole..]);
        if whole == 0 {
            Came::Nothing
        } else {
            Came::Messages(whole)
        }
    }

    /// Keeps what is no whole message yet, in no more room than it needs: growing by doubling would keep twice its length.
    fn keep(&mut self, rest: &[u8]) {
        if rest.len() > self.rest.capacity() || self.rest.capacity() > limits::STREAM_READ.max(2 * rest.len()) {
            self.rest = Vec::with_capacity(rest.len());
        }
        self.rest.clear();
        self.rest.extend_from_slice(rest);
    }

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

    /// Writes what waits, as far as the kernel takes it.
    fn pump(&mut self, now: Instant) -> Pumped {
        if matches!(self.outlet, Outlet::Full(_)) {
            return Pumped::Waits;
        }
        loop {
            match self.leave() {
                Ok(()) => {}
                Err(cause) if is_for_later(&cause) => {
                    self.outlet = Outlet::Full(now);
                    return Pumped::Waits;
                }
                Err(_) => return Pumped::Gone,
            }
            if self.urgent.is_empty() && self.video.is_empty() {
                return Pumped::Empty;
            }
            // What fits into one record leaves in one.
            if !self.urgent.is_empty() && self.urgent.len() + self.video.len() <= limits::STREAM_RECORD {
                self.urgent.append(&mut self.video);
            }
            let lane = if self.urgent.is_empty() {
                &mut self.video
            } else {
                &mut self.urgent
            };
            let (chunk, since) = lane.take(std::mem::take(&mut self.leaving));
            (self.leaving, self.since) = (chunk, Some(since));
        }
    }

    /// Gives the connection the rest of what is being written.
    fn leave(&mut self) -> io::Result<()> {
        while self.taken < self.leaving.len() {
            let record = self.leaving.len().min(self.taken + limits::STREAM_RECORD);
            match self.connection.write(&self.leaving[self.taken..record])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                taken => self.taken += taken,
            }
        }
        if self.since.is_some() {
            self.connection.flush()?;
            self.leaving.clear();
            // One that held a key frame is not kept so.
            self.leaving.shrink_to(limits::STREAM_RECORD);
            (self.taken, self.since) = (0, None);
        }
        Ok(())
    }

    /// What it waits for. A stranger who does not take his answers is not read either.
    fn interest(&self) -> epoll::EventFlags {
        match (self.outlet, self.client) {
            (Outlet::Open, _) => epoll::EventFlags::IN,
            (Outlet::Full(_), Client::Stranger) => epoll::EventFlags::OUT,
            (Outlet::Full(_), Client::Trusted) => epoll::EventFlags::IN | epoll::EventFlags::OUT,
        }
    }

    /// Since when the oldest datagram waits that the kernel has not taken.
    fn waits_since(&self) -> Option<Instant> {
        let lanes = self.urgent.since().into_iter().chain(self.video.since()).min();
        self.since.or(lanes)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.close();
    }
}

/// Has it told when a stream is ready.
fn watch(ready: &Ready, stream: &Stream, id: StreamId, flags: epoll::EventFlags) -> io::Result<()> {
    let data = epoll::EventData::new_u64(id.0);
    epoll::add(&ready.epoll, stream.connection.descriptor(), data, flags)?;
    Ok(())
}

/// What a stream waits for has changed.
fn change(ready: &Ready, stream: &Stream, id: StreamId) {
    let data = epoll::EventData::new_u64(id.0);
    // It worked before with the same descriptor.
    let _ = epoll::modify(&ready.epoll, stream.connection.descriptor(), data, stream.interest());
}

/// Whether it is no error but a matter of time.
fn is_for_later(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Streams of one kind of clients, and which of them are ready.
struct Ready {
    epoll: OwnedFd,
    /// Those that hold more than was read of them, in the order in which they are read again.
    again: VecDeque<StreamId>,
}

impl Ready {
    fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            again: VecDeque::new(),
        })
    }

    /// Finds so many of them at most, and is asked at least: half of them may be such as hold more. From the end.
    #[expect(clippy::disallowed_methods, reason = "it asks the kernel, and waits for nothing")]
    fn find<const MOST: usize>(&mut self, found: &mut Vec<(StreamId, epoll::EventFlags)>) {
        let held = self.again.len().min(MOST / 2);
        found.extend(self.again.drain(..held).map(|id| (id, epoll::EventFlags::empty())));
        let mut events = [const { MaybeUninit::uninit() }; MOST];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Interrupted: there are none, and the next look has them.
        if let Ok((events, _)) = epoll::wait(&self.epoll, &mut events[held..], Some(&at_once)) {
            // Those that wait for longest are served first, and so they are last.
            let ready = events.iter().rev();
            found.extend(ready.map(|event| (StreamId(event.data.u64()), event.flags)));
        }
    }
}

/// All streams of a thread. Its descriptor is readable when [`Self::look`] has something to find.
pub(crate) struct Streams {
    inbox: Receiver<Box<Stream>>,
    /// The inbox may have more than was taken from it.
    has_arrivals: bool,
    /// What is waited for: the two below.
    both: OwnedFd,
    /// Those of known clients, and those of strangers: however many of these are ready, they take no turn of those.
    known: Ready,
    strange: Ready,
    /// What the last look found, from the end.
    found: Vec<(StreamId, epoll::EventFlags)>,
    /// Streams that are to end.
    ended: Vec<StreamId>,
    streams: FxHashMap<StreamId, Box<Stream>>,
    /// How many of them are strangers'.
    strangers: usize,
    /// Streams with something in their lanes.
    dirty: Vec<StreamId>,
    /// Longest message of a client that has proved who it is.
    longest: usize,
    /// What all of them are read into: the longest message that is not whole, and one read.
    buffer: Box<[u8]>,
    /// How many streams may still come and go in this turn.
    changes: usize,
    /// The time of the present turn.
    now: Instant,
    swept: Instant,
    lost: u64,
}

/// Messages, where they were read to.
pub(crate) struct Messages {
    bytes: Box<[u8]>,
    len: usize,
}

impl Messages {
    /// Whole messages, one behind the other.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

/// What the driver is to do about a stream.
pub(crate) enum StreamEvent {
    /// It is there.
    Opened(Path),
    /// These messages came by this path; they are to be given back.
    Messages(Path, StreamKind, Messages),
    /// It is gone.
    Closed(Path),
}

impl Streams {
    fn new(inbox: Receiver<Box<Stream>>, longest: usize, now: Instant) -> io::Result<Self> {
        let (known, strange) = (Ready::new()?, Ready::new()?);
        let both = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for ready in [&known, &strange] {
            epoll::add(&both, &ready.epoll, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        Ok(Self {
            inbox,
            has_arrivals: false,
            both,
            known,
            strange,
            found: Vec::with_capacity(limits::STREAM_READS_PER_TURN + limits::STRANGERS_READS_PER_TURN),
            ended: Vec::new(),
            streams: FxHashMap::default(),
            strangers: 0,
            dirty: Vec::new(),
            longest,
            buffer: Box::default(),
            changes: 0,
            now,
            swept: now,
            lost: 0,
        })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether something is to be done that the descriptor does not tell of.
    pub(crate) fn is_behind(&self) -> bool {
        self.has_arrivals
            || !(self.found.is_empty()
                && self.known.again.is_empty()
                && self.strange.again.is_empty()
                && self.ended.is_empty())
    }

    /// Sets the time of this turn, and how much may happen in it.
    pub(crate) fn begin(&mut self, now: Instant) {
        (self.now, self.changes) = (now, limits::STREAM_CHANGES_PER_TURN);
    }

    /// Looks which connections are ready: as many as are served in a turn, and of strangers few.
    pub(crate) fn look(&mut self) {
        self.found.clear();
        if self.streams.is_empty() {
            self.known.again.clear();
            self.strange.again.clear();
            return;
        }
        if self.strangers > 0 {
            self.strange
                .find::<{ limits::STRANGERS_READS_PER_TURN }>(&mut self.found);
        } else {
            self.strange.again.clear();
        }
        self.known.find::<{ limits::STREAM_READS_PER_TURN }>(&mut self.found);
    }

    /// The next thing that happened, `None` if nothing did, or the turn has had enough.
    pub(crate) fn poll(&mut self) -> Option<StreamEvent> {
        while self.changes > 0
            && let Some(id) = self.ended.pop()
        {
            if let Some(stream) = self.remove(id) {
                self.changes -= 1;
                return Some(StreamEvent::Closed(stream.path));
            }
        }
        self.has_arrivals = true;
        while self.changes > 0 {
            let Ok(stream) = self.inbox.try_recv() else {
                self.has_arrivals = false;
                break;
            };
            self.changes -= 1;
            // One over the bound or that cannot be waited for is closed.
            if self.streams.len() < limits::MAX_STREAMS
                && let Some((id, _)) = stream.path.is_stream()
                && watch(&self.strange, &stream, id, epoll::EventFlags::IN).is_ok()
            {
                let path = stream.path;
                self.streams.insert(id, stream);
                self.strangers += 1;
                // It may hold what its descriptor does not tell of.
                self.read_again(id);
                return Some(StreamEvent::Opened(path));
            }
        }
        while let Some((id, flags)) = self.found.pop() {
            if let Some(event) = self.serve(id, flags) {
                return Some(event);
            }
        }
        None
    }

    /// Has a stream read again, whatever its descriptor tells.
    fn read_again(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.is_queued
        {
            stream.is_queued = true;
            match stream.client {
                Client::Stranger => self.strange.again.push_back(id),
                Client::Trusted => self.known.again.push_back(id),
            }
        }
    }

    /// Does what a connection is ready for: by its flags, or, where there are none, because it holds more than was read of it.
    fn serve(&mut self, id: StreamId, flags: epoll::EventFlags) -> Option<StreamEvent> {
        let stream = self.streams.get_mut(&id)?;
        if flags.is_empty() {
            stream.is_queued = false;
        }
        if flags.contains(epoll::EventFlags::OUT) && matches!(stream.outlet, Outlet::Full(_)) {
            // It is dirty: the next flush goes on with it.
            stream.outlet = Outlet::Open;
            let ready = match stream.client {
                Client::Stranger => &self.strange,
                Client::Trusted => &self.known,
            };
            change(ready, stream, id);
        }
        let to_read = epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        if !flags.is_empty() && !flags.intersects(to_read) {
            return None;
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; self.longest + HEADER + limits::STREAM_READ].into_boxed_slice();
        }
        let came = stream.read(&mut self.buffer, self.longest);
        let (path, kind, has_more) = (stream.path, stream.kind, stream.connection.has_more());
        if matches!(came, Came::End) {
            self.remove(id);
            return Some(StreamEvent::Closed(path));
        }
        if has_more {
            self.read_again(id);
        }
        match came {
            Came::Nothing | Came::End => None,
            Came::Messages(len) => {
                let bytes = std::mem::take(&mut self.buffer);
                Some(StreamEvent::Messages(path, kind, Messages { bytes, len }))
            }
        }
    }

    /// Gives back what messages lie in.
    pub(crate) fn give_back(&mut self, messages: Messages) {
        self.buffer = messages.bytes;
    }

    /// The client of a stream is no stranger any more.
    pub(crate) fn trust(&mut self, path: Path) {
        if let Some((id, _)) = path.is_stream()
            && let Some(stream) = self.streams.get_mut(&id)
            && stream.client == Client::Stranger
        {
            stream.client = Client::Trusted;
            self.strangers -= 1;
            // It worked before with the same descriptor.
            let _ = epoll::delete(&self.strange.epoll, stream.connection.descriptor());
            if watch(&self.known, stream, id, stream.interest()).is_err() {
                self.ended.push(id);
            } else if std::mem::take(&mut stream.is_queued) {
                self.read_again(id);
            }
        }
    }

    /// Has a stream end: [`StreamEvent::Closed`] follows, a few in each turn.
    pub(crate) fn end(&mut self, path: Path) {
        if let Some((id, _)) = path.is_stream() {
            self.ended.push(id);
        }
    }

    /// Ends a stream at once, without telling.
    pub(crate) fn close(&mut self, path: Path) {
        if let Some((id, _)) = path.is_stream() {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: StreamId) -> Option<Box<Stream>> {
        let stream = self.streams.remove(&id)?;
        self.strangers -= usize::from(stream.client == Client::Stranger);
        Some(stream)
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

    /// Writes what was sent. `queue` is told of each stream that had something to send, and since when its oldest datagram waits.
    pub(crate) fn flush(&mut self, mut queue: impl FnMut(StreamId, Option<Instant>)) {
        let mut at = 0;
        while let Some(id) = self.dirty.get(at).copied() {
            let Some(stream) = self.streams.get_mut(&id) else {
                queue(id, None);
                self.dirty.swap_remove(at);
                continue;
            };
            let was = stream.outlet;
            match stream.pump(self.now) {
                Pumped::Waits => {
                    queue(id, stream.waits_since());
                    if was == Outlet::Open {
                        let ready = match stream.client {
                            Client::Stranger => &self.strange,
                            Client::Trusted => &self.known,
                        };
                        change(ready, stream, id);
                    }
                    at += 1;
                    continue;
                }
                Pumped::Empty => {}
                Pumped::Gone => self.ended.push(id),
            }
            stream.is_dirty = false;
            queue(id, None);
            self.dirty.swap_remove(at);
        }
    }

    /// Datagrams that were lost in lanes, since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Streams that have been there for long enough to be of use, if it is time to look. Those whose peers take nothing any more end.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Path> {
        if now.saturating_duration_since(self.swept) < limits::STREAM_SWEEP {
            return Vec::new();
        }
        self.swept = now;
        let since = |since: Instant| now.saturating_duration_since(since);
        let is_stuck =
            |stream: &Stream| matches!(stream.outlet, Outlet::Full(full) if since(full) >= limits::STREAM_STUCK);
        let stuck = self.streams.iter().filter(|(_, stream)| is_stuck(stream));
        self.ended.extend(stuck.map(|(id, _)| *id));
        let old = self.streams.values();
        let old = old.filter(|stream| since(stream.opened) >= limits::STREAM_UNUSED);
        old.map(|stream| stream.path).collect()
    }
}

impl AsFd for Streams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.both.as_fd()
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
