//! Plain datagrams through a relay, both ways: from clients to peers of their own, and back. One thread sends, one receives.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::event::{Timespec, epoll};

use crate::pipe::Pipe;

/// How long the threads sleep at most.
const NAP: Duration = Duration::from_millis(20);

/// A client and its peer.
pub(crate) struct Ends {
    /// Through the relay to the peer.
    pub(crate) client: Pipe,
    /// Connected to the relayed address.
    pub(crate) peer: UdpSocket,
}

/// What each side of each pair sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// Packets that leave one right after the other.
    pub(crate) burst: usize,
    /// Their payload, bytes.
    pub(crate) size: usize,
    /// From burst to burst.
    pub(crate) interval: Duration,
    pub(crate) calls: Calls,
}

/// How a burst leaves the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// One call for each packet.
    Each,
    /// One for the burst, as from a network card that gathers what belongs together.
    Whole,
}

/// What was sent and received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Passed {
    /// The part that did not arrive.
    pub(crate) fn loss(self) -> f64 {
        1.0 - self.received as f64 / self.sent.max(1) as f64
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    paused: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

/// A running flow.
pub(crate) struct Flow {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Flow {
    /// Starts it, paused.
    pub(crate) fn start(ends: Vec<Ends>, traffic: Traffic) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.paused.store(true, Ordering::Relaxed);
        let mut sides = Vec::new();
        for Ends { client, peer } in ends {
            sides.push(Side::new(client)?);
            sides.push(Side::new(Pipe::plain(peer))?);
        }
        let sides = Arc::new(sides);
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, side) in sides.iter().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&poll, &*side.pipe.socket, data, epoll::EventFlags::IN)?;
        }
        let threads = vec![
            named(crate::load::RECEIVING).spawn({
                let (sides, shared) = (Arc::clone(&sides), Arc::clone(&shared));
                move || receive(&sides, &poll, &shared)
            })?,
            named(crate::load::SENDING).spawn({
                let shared = Arc::clone(&shared);
                move || send(&sides, traffic, &shared)
            })?,
        ];
        Ok(Self { shared, threads })
    }

    /// Stops sending, or goes on.
    pub(crate) fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    pub(crate) fn passed(&self) -> Passed {
        Passed {
            sent: self.shared.sent.load(Ordering::Relaxed),
            received: self.shared.received.load(Ordering::Relaxed),
        }
    }

    /// Ends it.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread
                .join()
                .map_err(|_| anyhow!("a thread of the generator panicked"))?;
            ended?;
        }
        Ok(())
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// One socket.
struct Side {
    pipe: Pipe,
    state: UdpSocketState,
    server: SocketAddr,
}

impl Side {
    fn new(pipe: Pipe) -> Result<Self> {
        pipe.socket.set_nonblocking(true)?;
        let _ = socket2::SockRef::from(&*pipe.socket).set_recv_buffer_size(1 << 20);
        Ok(Self {
            state: UdpSocketState::new(UdpSockRef::from(&*pipe.socket))?,
            server: pipe.socket.peer_addr()?,
            pipe,
        })
    }
}

fn send(sides: &[Side], traffic: Traffic, shared: &Shared) -> Result<()> {
    let payload = vec![0x5a; traffic.size];
    // As many as a call may hold.
    let gap = traffic.interval / sides.len().max(1) as u32;
    let mut due = Instant::now();
    let mut next = 0;
    let mut whole = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if shared.paused.load(Ordering::Relaxed) {
            std::thread::sleep(NAP);
            due = Instant::now();
            continue;
        }
        if due > now {
            std::thread::sleep((due - now).min(NAP));
            continue;
        }
        // What is too late is not caught up with.
        if now - due > Duration::from_millis(100) {
            due = now;
        }
        let side = &sides[next % sides.len()];
        match traffic.calls {
            Calls::Each => {
                for _ in 0..traffic.burst {
                    let _ = side.pipe.send(&payload);
                }
            }
            Calls::Whole => {
                whole.clear();
                let header = side.pipe.header(payload.len());
                let header = header.as_ref().map_or(&[][..], |header| &header[..]);
                for _ in 0..traffic.burst {
                    whole.extend_from_slice(header);
                    whole.extend_from_slice(&payload);
                }
                let transmit = Transmit {
                    destination: side.server,
                    ecn: None,
                    contents: &whole,
                    segment_size: Some(header.len() + payload.len()),
                    src_ip: None,
                };
                let _ = side.state.try_send(UdpSockRef::from(&*side.pipe.socket), &transmit);
            }
        }
        shared.sent.fetch_add(traffic.burst as u64, Ordering::Relaxed);
        next += 1;
        due += gap;
    }
    Ok(())
}

fn receive(sides: &[Side], poll: &OwnedFd, shared: &Shared) -> Result<()> {
    let mut buffer = vec![0; 65_535];
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    let nap = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(NAP.subsec_nanos()),
    };
    while !shared.stop.load(Ordering::Relaxed) {
        events.clear();
        let _ = epoll::wait(poll, rustix::buffer::spare_capacity(&mut events), Some(&nap));
        let mut received = 0;
        for event in &events {
            let side = &sides[event.data.u64() as usize];
            let mut metas = [RecvMeta::default()];
            let mut slices = [IoSliceMut::new(&mut buffer)];
            // An error is the relay's end, which shows as nothing received.
            let filled = side
                .state
                .recv(UdpSockRef::from(&*side.pipe.socket), &mut slices, &mut metas);
            if !matches!(filled, Ok(1)) {
                continue;
            }
            let meta = metas[0];
            for datagram in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
                received += u64::from(side.pipe.open(datagram).is_some());
            }
        }
        shared.received.fetch_add(received, Ordering::Relaxed);
    }
    Ok(())
}
