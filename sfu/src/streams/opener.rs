//! How connections come to the thread that carries them.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Connection, Stream, Streams};
use crate::driver::wake;
use crate::limits;
use crate::path::{Path, StreamId, StreamKind};

/// A connection that speaks ICE or TURN, for whoever carries it on.
pub struct Arrival {
    /// What it speaks.
    pub kind: StreamKind,
    /// Who speaks.
    pub remote: SocketAddr,
    /// To which address of ours.
    pub local: IpAddr,
    /// The connection.
    pub connection: Box<dyn Connection>,
    /// What was read of it already: a few bytes, by which it was told what it speaks.
    pub begun: Vec<u8>,
}

/// Tells when a connection has ended.
#[must_use]
pub struct StreamEnd(oneshot::Receiver<()>);

impl StreamEnd {
    /// Waits until it has.
    pub async fn seen(self) {
        // An error means that the other end was dropped, and that is what is waited for.
        let _ = self.0.await;
    }
}

/// Opens streams to one thread.
#[derive(Clone)]
pub(crate) struct Opener {
    inbox: SyncSender<Box<Stream>>,
    next: Arc<AtomicU64>,
    wake: Arc<OwnedFd>,
    now: fn() -> Instant,
}

/// Both ends of the way of connections to a thread, which is woken by `wake`. Messages have at most `longest` bytes, and at most
/// [`housecall_turn::limits::MAX_STREAM_MESSAGE`] while the client is a stranger ([`Streams::trust`]): nobody can make the server keep 64 KiB without a
/// credential.
///
/// # Errors
/// If the kernel gives no descriptor.
pub(crate) fn pair(wake: Arc<OwnedFd>, longest: usize, now: fn() -> Instant) -> std::io::Result<(Opener, Streams)> {
    let (sender, inbox) = sync_channel(limits::STREAM_INBOX);
    let opener = Opener {
        inbox: sender,
        next: Arc::default(),
        wake,
        now,
    };
    Ok((opener, Streams::new(inbox, longest, now())?))
}

impl Opener {
    /// Hands a connection over; `None` if the thread has too much to do, or has ended.
    pub(crate) fn open(&self, arrival: Arrival) -> Option<StreamEnd> {
        let Arrival {
            kind,
            remote,
            local,
            connection,
            begun,
        } = arrival;
        let id = StreamId(self.next.fetch_add(1, Ordering::Relaxed));
        let (end, seen) = oneshot::channel();
        let path = Path::stream(id, kind, remote, local);
        let stream = Stream::new(path, kind, connection, begun, end, (self.now)());
        self.inbox.try_send(Box::new(stream)).ok()?;
        wake(&self.wake);
        Some(StreamEnd(seen))
    }
}
