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
    fn send(&mut self, path: Path, contents: &[u8], segment: usize, cargo: Cargo) -> Sent;
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

    /// Sends what was held, then what the worker has, in at most `calls` calls. How many runs the worker had.
    pub(crate) fn flush(&mut self, worker: &mut Worker, sink: &mut impl Sink, now: Instant, calls: usize) -> usize {
        let (mut lost, mut refused, mut runs) = (0, 0, 0);
        while let Some(held) = self.held.front() {
            match sink.send(held.path, &held.contents, held.segment, Cargo::Urgent) {
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
            runs += 1;
            let sent = if self.is_blocked() {
                // Behind what is held already.
                Sent::Full
            } else {
                sink.send(transmit.path, transmit.contents, transmit.segment, transmit.cargo)
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
        runs
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;
    use crate::testing::Audience;

    const VIEWERS: u64 = 3;

    /// A socket that takes so many calls before it is full.
    struct Narrow {
        room: usize,
        taken: Vec<usize>,
    }

    impl Sink for Narrow {
        fn send(&mut self, _: Path, contents: &[u8], segment: usize, _: Cargo) -> Sent {
            if self.room == 0 {
                return Sent::Full;
            }
            self.room -= 1;
            self.taken.extend(contents.chunks(segment).map(<[u8]>::len));
            Sent::All
        }
    }

    fn audience() -> Audience {
        let mut audience = Audience::new(VIEWERS, testing::start());
        for _ in 0..10 {
            audience.pass_picture();
            audience.send_picture();
            audience.forward();
        }
        audience
    }

    const fn is_video(len: usize) -> bool {
        len > 300
    }

    #[test]
    fn a_full_socket_holds_audio_and_drops_video() {
        let mut audience = audience();
        let (mut outbox, mut socket) = (
            Outbox::default(),
            Narrow {
                room: 0,
                taken: Vec::new(),
            },
        );
        audience.pass_picture();
        audience.send_picture();
        audience.deliver();
        let now = audience.now();
        outbox.flush(audience.worker(), &mut socket, now, 1_000);
        assert!(outbox.is_blocked());
        let (counters, _) = audience.worker().take_counters();
        assert!(counters.get(Count::SendHeld) >= VIEWERS, "everybody's audio");
        let lost = counters.get(Count::SendBufferFull);
        assert!(lost > 0 && lost + counters.get(Count::SendHeld) >= counters.get(Count::RtpOut));
        assert!(
            !audience.worker().has_output(),
            "nobody asks a full socket again and again"
        );

        socket.room = 1_000;
        outbox.flush(audience.worker(), &mut socket, now, 1_000);
        assert!(!outbox.is_blocked());
        assert_eq!(
            socket.taken.iter().filter(|len| !is_video(**len)).count() as u64,
            counters.get(Count::SendHeld)
        );

        // New video leaves as always, after the tick that it waits for.
        audience.pass_picture();
        audience.send_picture();
        audience.deliver();
        let now = audience.now();
        socket.taken.clear();
        outbox.flush(audience.worker(), &mut socket, now, 1_000);
        assert!(socket.taken.iter().any(|len| is_video(*len)));
        assert_eq!(audience.worker().take_counters().0.get(Count::SendBufferFull), 0);
    }

    #[test]
    fn a_socket_that_stays_full_holds_a_bounded_number() {
        let mut audience = audience();
        let (mut outbox, mut socket) = (
            Outbox::default(),
            Narrow {
                room: 0,
                taken: Vec::new(),
            },
        );
        let mut lost = 0;
        for _ in 0..limits::MAX_HELD {
            audience.pass_picture();
            audience.send_audio();
            audience.deliver();
            let now = audience.now();
            outbox.flush(audience.worker(), &mut socket, now, 1_000);
            lost += audience.worker().take_counters().0.get(Count::SendBufferFull);
        }
        assert!(outbox.datagrams <= limits::MAX_HELD);
        assert!(
            lost >= (VIEWERS - 1) * limits::MAX_HELD as u64,
            "the older ones are gone: {lost}"
        );
        assert_eq!(outbox.datagrams, outbox.held.iter().map(Held::datagrams).sum::<usize>());
    }
}
