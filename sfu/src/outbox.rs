//! From the worker to the socket: what a full socket does. Video is dropped, for its viewers ask for it again, and what has not been sealed
//! yet waits in the rings; audio, feedback and handshakes are held, up to a bound.

use std::collections::VecDeque;
use std::time::Instant;

use crate::batch::{Cargo, Transmit};
use crate::counters::Count;
use crate::limits;
use crate::path::Path;
use crate::worker::Worker;

/// What became of one send call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel took it all.
    All,
    /// The socket's buffer is full: nothing, or not all of it, was taken.
    Full,
    /// The kernel refused (no route, too big, …): the datagrams are lost.
    Refused,
}

/// Where datagrams go.
pub(crate) trait Sink {
    /// Sends `contents` to `path`, cut into datagrams of `segment` bytes (the last may be shorter).
    fn send(&mut self, path: Path, contents: &[u8], segment: usize) -> Sent;
}

/// One run that found the socket full.
struct Held {
    path: Path,
    contents: Box<[u8]>,
    segment: usize,
}

impl Held {
    fn datagrams(&self) -> usize {
        self.contents.len().div_ceil(self.segment.max(1))
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Outbox {
    held: VecDeque<Held>,
    datagrams: usize,
}

impl Outbox {
    /// Whether something is to be sent as soon as the socket has room.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.held.is_empty()
    }

    /// Sends what was held, then what the worker has, in at most `calls` calls.
    pub(crate) fn flush(&mut self, worker: &mut Worker, sink: &mut impl Sink, now: Instant, calls: usize) {
        let (mut lost, mut refused) = (0, 0);
        while let Some(held) = self.held.front() {
            match sink.send(held.path, &held.contents, held.segment) {
                Sent::Full => break,
                Sent::All => {}
                Sent::Refused => refused += held.datagrams(),
            }
            self.datagrams -= held.datagrams();
            self.held.pop_front();
        }
        if self.is_blocked() {
            lost += worker.handle_full_socket(now);
        }
        for _ in 0..calls {
            let Some(transmit) = worker.poll_ready(now) else { break };
            let sent = if self.is_blocked() {
                // Behind what is held already.
                Sent::Full
            } else {
                sink.send(transmit.path, transmit.contents, transmit.segment)
            };
            match sent {
                Sent::All => {}
                Sent::Full => {
                    match transmit.cargo {
                        Cargo::Video => lost += transmit.datagrams(),
                        Cargo::Urgent => {
                            let datagrams = transmit.datagrams();
                            lost += self.hold(&transmit);
                            worker.count(Count::SendHeld, datagrams as u64);
                        }
                    }
                    lost += worker.handle_full_socket(now);
                }
                Sent::Refused => refused += transmit.datagrams(),
            }
        }
        if lost > 0 {
            worker.count(Count::SendBufferFull, lost as u64);
        }
        if refused > 0 {
            worker.count(Count::SendRefused, refused as u64);
        }
    }

    /// Keeps a run. How many datagrams are lost for it.
    fn hold(&mut self, transmit: &Transmit<'_>) -> usize {
        self.datagrams += transmit.datagrams();
        self.held.push_back(Held {
            path: transmit.path,
            contents: transmit.contents.into(),
            segment: transmit.segment,
        });
        let mut lost = 0;
        while self.datagrams > limits::MAX_HELD
            && let Some(oldest) = self.held.pop_front()
        {
            self.datagrams -= oldest.datagrams();
            lost += oldest.datagrams();
        }
        lost
    }
}
