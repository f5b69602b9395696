//! The task's end of a stream.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::task::{Context, Poll};
use std::time::Instant;

use housecall_turn::limits::MAX_STREAM_MESSAGE;
use housecall_turn::stream::FramingError;

use super::{Chunk, FromStream, Opened, Shared, Streams, frame};
use crate::driver::wake;
use crate::limits;
use crate::path::{Path, StreamId, StreamKind};

/// Opens streams to one shard.
#[derive(Clone)]
pub(crate) struct Opener {
    inbox: SyncSender<FromStream>,
    closes: Arc<AtomicU64>,
    next: Arc<AtomicU64>,
    wake: Arc<OwnedFd>,
    longest: usize,
}

/// Both ends of what a shard and the tasks of its streams have between them. Messages have at most `longest` bytes, and at most
/// [`MAX_STREAM_MESSAGE`] while the client is a stranger ([`Streams::trust`]): nobody can make the server keep 64 KiB without a credential.
pub(crate) fn pair(wake: Arc<OwnedFd>, longest: usize, now: Instant) -> (Opener, Streams) {
    let (sender, inbox) = sync_channel(limits::STREAM_INBOX);
    let closes = Arc::new(AtomicU64::new(0));
    let opener = Opener {
        inbox: sender,
        closes: Arc::clone(&closes),
        next: Arc::default(),
        wake,
        longest,
    };
    (opener, Streams::new(inbox, closes, now))
}

impl Opener {
    /// Tells the shard of a new connection; `None` if it has too much to do, or has ended.
    pub(crate) fn open(&self, kind: StreamKind, remote: SocketAddr, local: IpAddr) -> Option<StreamLink> {
        let id = StreamId(self.next.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(Shared::default());
        let (down, to_write) = sync_channel(limits::STREAM_CHUNKS_DOWN);
        let (written, back) = sync_channel(limits::STREAM_CHUNKS_DOWN);
        let (returned, empties) = sync_channel(limits::STREAM_CHUNKS_UP);
        let opened = Opened {
            path: Path::stream(id, kind, remote, local),
            id,
            kind,
            shared: Arc::clone(&shared),
            down,
            written: back,
            returned,
        };
        self.inbox.try_send(FromStream::Opened(Box::new(opened))).ok()?;
        wake(&self.wake);
        let link = StreamLink {
            reader: StreamReader {
                id,
                kind,
                shared: Arc::clone(&shared),
                inbox: self.inbox.clone(),
                wake: Arc::clone(&self.wake),
                empties,
                made: 0,
                filling: None,
                longest: self.longest,
            },
            writer: StreamWriter {
                id,
                shared: Arc::clone(&shared),
                inbox: self.inbox.clone(),
                wake: Arc::clone(&self.wake),
                to_write,
                written,
            },
            end: End {
                shared,
                closes: Arc::clone(&self.closes),
                wake: Arc::clone(&self.wake),
            },
        };
        Some(link)
    }
}

/// A connection's way to its shard: what was read goes in by the reader, what is to be written comes out of the writer. When it is dropped,
/// the shard is told that the connection is gone.
pub struct StreamLink {
    /// From the connection to the shard.
    pub reader: StreamReader,
    /// From the shard to the connection.
    pub writer: StreamWriter,
    /// Hold this as long as the connection is there.
    pub end: End,
}

/// Tells the shard, when dropped, that the connection is gone.
pub struct End {
    shared: Arc<Shared>,
    closes: Arc<AtomicU64>,
    wake: Arc<OwnedFd>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.closes.fetch_add(1, Ordering::Release);
        wake(&self.wake);
    }
}

/// Why nothing can be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// What was read is no stream of messages.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The shard has closed the stream.
    #[error("the media thread has closed the stream")]
    Closed,
}

/// See [`StreamLink`].
pub struct StreamReader {
    id: StreamId,
    kind: StreamKind,
    shared: Arc<Shared>,
    inbox: SyncSender<FromStream>,
    wake: Arc<OwnedFd>,
    empties: Receiver<Chunk>,
    /// Chunks made so far.
    made: usize,
    /// What was read and is not a whole message yet.
    filling: Option<Chunk>,
    /// Longest message of a client that has proved who it is.
    longest: usize,
}

impl StreamReader {
    /// The chunk to read into: append to it, then call [`Self::hand_over`]. Waits while the shard has all chunks of this stream, so the
    /// connection is not read and its sender waits.
    ///
    /// # Errors
    /// [`LinkError::Closed`].
    pub async fn buffer(&mut self) -> Result<&mut Chunk, LinkError> {
        if self.filling.is_none() {
            self.filling = Some(self.empty().await?);
        }
        let longest = self.longest();
        let chunk = self.filling.get_or_insert_default();
        if chunk.len() == chunk.capacity() {
            // A long message of a client that may have them. Growing by doubling would keep twice its length.
            chunk.reserve_exact(longest.saturating_sub(chunk.len()));
        }
        Ok(chunk)
    }

    fn is_trusted(&self) -> bool {
        self.shared.is_trusted.load(Ordering::Acquire)
    }

    fn longest(&self) -> usize {
        if self.is_trusted() {
            self.longest
        } else {
            self.longest.min(MAX_STREAM_MESSAGE)
        }
    }

    /// One that came back, or a new one while there are not as many as this client may have.
    async fn empty(&mut self) -> Result<Chunk, LinkError> {
        let (chunks, len) = if self.is_trusted() {
            (limits::STREAM_CHUNKS_UP, limits::STREAM_CHUNK)
        } else {
            (limits::STRANGERS_CHUNKS_UP, limits::STRANGERS_CHUNK)
        };
        let mut chunk = match self.empties.try_recv() {
            Ok(chunk) => chunk,
            Err(TryRecvError::Disconnected) => return Err(LinkError::Closed),
            Err(TryRecvError::Empty) if self.made < chunks => {
                self.made += 1;
                Chunk::new()
            }
            Err(TryRecvError::Empty) => poll_fn(|cx| self.poll_empty(cx)).await?,
        };
        if chunk.capacity() < len {
            chunk.reserve_exact(len);
        }
        Ok(chunk)
    }

    /// Takes `self` as a whole: tasks move between threads, and a shared receiver could not.
    fn poll_empty(&mut self, cx: &Context<'_>) -> Poll<Result<Chunk, LinkError>> {
        for attempt in 0..2 {
            match self.empties.try_recv() {
                Ok(chunk) => return Poll::Ready(Ok(chunk)),
                Err(TryRecvError::Disconnected) => return Poll::Ready(Err(LinkError::Closed)),
                // Once more after the shard knows whom to wake.
                Err(TryRecvError::Empty) if attempt == 0 => self.shared.reader.register(cx.waker()),
                Err(TryRecvError::Empty) => {}
            }
        }
        Poll::Pending
    }

    /// Gives the whole messages in the buffer to the shard. What is behind the last of them stays. False if the shard is too busy:
    /// wait for a moment, and call again.
    ///
    /// # Errors
    /// If what was read is no message of such a stream: the connection is to be closed.
    pub async fn hand_over(&mut self) -> Result<bool, LinkError> {
        let longest = self.longest();
        let Some(chunk) = &mut self.filling else {
            return Ok(true);
        };
        let mut whole = 0;
        while let Some(found) = frame(self.kind, &chunk[whole..], longest)? {
            whole += found.len;
        }
        if whole == 0 {
            return Ok(true);
        }
        let mut rest = self.empty().await?;
        let Some(mut chunk) = self.filling.take() else {
            return Ok(true);
        };
        rest.extend_from_slice(&chunk[whole..]);
        chunk.truncate(whole);
        match self.inbox.try_send(FromStream::Messages(self.id, chunk)) {
            Ok(()) => {
                self.filling = Some(rest);
                wake(&self.wake);
                Ok(true)
            }
            Err(TrySendError::Full(FromStream::Messages(_, mut chunk))) => {
                // As it was; the spare chunk is one that may be made again.
                chunk.extend_from_slice(&rest);
                self.filling = Some(chunk);
                self.made -= 1;
                Ok(false)
            }
            Err(_) => Err(LinkError::Closed),
        }
    }
}

/// See [`StreamLink`].
pub struct StreamWriter {
    id: StreamId,
    shared: Arc<Shared>,
    inbox: SyncSender<FromStream>,
    wake: Arc<OwnedFd>,
    to_write: Receiver<Chunk>,
    written: SyncSender<Chunk>,
}

impl StreamWriter {
    /// The next bytes to write, `None` once the shard has closed the stream. Each is to be given back by [`Self::done`].
    pub async fn next(&mut self) -> Option<Chunk> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Chunk>> {
        for attempt in 0..2 {
            match self.to_write.try_recv() {
                Ok(chunk) => return Poll::Ready(Some(chunk)),
                Err(TryRecvError::Disconnected) => return Poll::Ready(None),
                Err(TryRecvError::Empty) if attempt == 0 => self.shared.writer.register(cx.waker()),
                Err(TryRecvError::Empty) => {}
            }
        }
        Poll::Pending
    }

    /// The connection has taken a chunk.
    pub fn done(&mut self, mut chunk: Chunk) {
        chunk.clear();
        let _ = self.written.try_send(chunk);
        fence(Ordering::SeqCst);
        if self.shared.wants_room.swap(false, Ordering::Relaxed) {
            // If there is no place for it, the shard looks by itself a little later.
            let _ = self.inbox.try_send(FromStream::Room(self.id));
            wake(&self.wake);
        }
    }
}
