//! The load: one thread that sends all streams by a plan, one that receives, counts, answers and reports for all peers.

mod receive;
mod send;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use rustix::event::Timespec;

use crate::measure::{Process, Usage};
use crate::peer::Peer;
use crate::source::Source;
use crate::stats::Samples;

/// Names of the two threads.
pub(crate) const SENDING: &str = "bench-send";
/// See [`SENDING`].
pub(crate) const RECEIVING: &str = "bench-recv";

/// What a peer sends.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// Index of its peer.
    pub(crate) peer: usize,
    pub(crate) source: Source,
    pub(crate) ssrc: u32,
    pub(crate) mid: String,
    /// Of a simulcast layer.
    pub(crate) rid: Option<&'static str>,
    /// Pixels of its key frames.
    pub(crate) size: (u16, u16),
}

/// How many received packets are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// One in 64 of each stream, which shows that keys and rewriting are right; more would make the generator the bottleneck.
    Sample,
    /// All, and the times of sending in them are compared with those of arrival.
    All,
}

/// All there is to the load.
pub(crate) struct Spec {
    pub(crate) peers: Vec<Peer>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) opening: Opening,
    /// The packets of a frame leave within this time, by busy waiting; zero: at once.
    pub(crate) spread: Duration,
    pub(crate) receivers: Receivers,
}

/// What was sent and received since the load began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Packets sent.
    pub(crate) sent: u64,
    /// Frames that began more than 100 ms late.
    pub(crate) late: u64,
    /// Media packets received by all peers.
    pub(crate) received: u64,
    /// Holes in the sequence numbers received; not repaired, for the generator asks for nothing again.
    pub(crate) lost: i64,
    /// Opened packets.
    pub(crate) verified: u64,
    /// Packets that could not be opened.
    pub(crate) broken: u64,
    /// Streams of which at least one packet has come.
    pub(crate) flowing: u64,
    /// Key frames asked for by the server.
    pub(crate) requests: u64,
}

impl Seen {
    /// What was seen between `earlier` and this; `flowing` is the state now.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            late: self.late - earlier.late,
            received: self.received - earlier.received,
            lost: self.lost - earlier.lost,
            verified: self.verified - earlier.verified,
            broken: self.broken - earlier.broken,
            flowing: self.flowing,
            requests: self.requests - earlier.requests,
        }
    }

    /// Holes over what should have come.
    pub(crate) fn loss(self) -> f64 {
        let lost = self.lost.max(0) as f64;
        lost / (lost + self.received as f64).max(1.0)
    }
}

/// How the receiving thread learns that something has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Receivers {
    /// It sleeps until it is woken, and waking it is charged to whoever sends.
    #[default]
    Woken,
    /// It looks once a millisecond. Nobody is woken by a packet, as when viewers are on other machines.
    Polling,
}

impl Receivers {
    /// From one look to the next.
    const LOOK: Duration = Duration::from_millis(1);

    /// Waits, up to `patience`, and gives the time that is then to be spent waiting for events.
    pub(crate) fn wait(self, patience: Duration) -> Timespec {
        let patience = match self {
            Self::Woken => patience,
            Self::Polling => {
                std::thread::sleep(Self::LOOK);
                Duration::ZERO
            }
        };
        Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(patience.subsec_nanos()),
        }
    }
}

/// What the threads share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Nothing is sent meanwhile.
    paused: AtomicBool,
    /// Replaces the rate of even and burst sources, unless zero.
    rate: AtomicU64,
    sent: AtomicU64,
    late: AtomicU64,
    received: AtomicU64,
    lost: AtomicI64,
    verified: AtomicU64,
    broken: AtomicU64,
    flowing: AtomicU64,
    requests: AtomicU64,
    /// Audio, video.
    latencies: Mutex<(Samples, Samples)>,
    /// By peer: how often the server asked it for a key frame.
    key_frames: Vec<AtomicU64>,
}

/// A running load.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    /// Starts both threads.
    pub(crate) fn start(spec: Spec) -> Result<Self> {
        let shared = Arc::new(Shared {
            key_frames: spec.peers.iter().map(|_| AtomicU64::new(0)).collect(),
            ..Shared::default()
        });
        let began = Instant::now();
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for peer in spec.peers {
            peer.pipe.socket.set_nonblocking(true)?;
            let keys = peer.keys;
            senders.push(send::Sender::new(peer.pipe.clone(), keys.rtp_seal)?);
            receivers.push(receive::Receiver::new(
                peer.pipe,
                keys.rtp_open,
                keys.rtcp_seal,
                keys.rtcp_open,
                peer.check,
            )?);
        }
        for stream in &spec.streams {
            receivers[stream.peer].publishes();
        }
        let receiving = receive::Receiving::new(receivers, spec.opening, spec.receivers, Arc::clone(&shared), began)?;
        let sending = send::Sending::new(senders, spec.streams, spec.spread, Arc::clone(&shared), began);
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let threads = vec![
            named(RECEIVING).spawn(move || receiving.run())?,
            named(SENDING).spawn(move || sending.run())?,
        ];
        Ok(Self { shared, threads })
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        let shared = &self.shared;
        Seen {
            sent: shared.sent.load(Ordering::Relaxed),
            late: shared.late.load(Ordering::Relaxed),
            received: shared.received.load(Ordering::Relaxed),
            lost: shared.lost.load(Ordering::Relaxed),
            verified: shared.verified.load(Ordering::Relaxed),
            broken: shared.broken.load(Ordering::Relaxed),
            flowing: shared.flowing.load(Ordering::Relaxed),
            requests: shared.requests.load(Ordering::Relaxed),
        }
    }

    /// Changes the rate of even and burst sources.
    pub(crate) fn set_rate(&self, rate: u64) {
        self.shared.rate.store(rate, Ordering::Relaxed);
    }

    /// Stops sending, or goes on.
    pub(crate) fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    /// Waits until so many streams flow.
    pub(crate) fn wait_for(&self, streams: u64, patience: Duration) -> Result<()> {
        let began = Instant::now();
        while self.seen().flowing < streams {
            if self.threads.iter().any(JoinHandle::is_finished) {
                bail!("a thread of the generator has ended");
            }
            if began.elapsed() > patience {
                bail!(
                    "only {} of {streams} streams came through within {patience:?}",
                    self.seen().flowing
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The times from sending to arrival since this was last asked: audio, video.
    pub(crate) fn take_latencies(&self) -> (Samples, Samples) {
        let mut latencies = self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *latencies)
    }

    /// Stops both threads and says what went wrong in them.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread
                .join()
                .map_err(|_| anyhow!("a thread of the generator panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// What the generator itself has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnUsage {
    pub(crate) all: Duration,
    pub(crate) sending: Duration,
    pub(crate) receiving: Duration,
}

impl OwnUsage {
    pub(crate) fn now() -> Result<Self> {
        let own = Process::own();
        let Usage { cpu, threads, .. } = own.usage(SENDING)?;
        Ok(Self {
            all: cpu,
            sending: threads,
            receiving: own.usage(RECEIVING)?.threads,
        })
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            all: self.all.saturating_sub(earlier.all),
            sending: self.sending.saturating_sub(earlier.sending),
            receiving: self.receiving.saturating_sub(earlier.receiving),
        }
    }
}
