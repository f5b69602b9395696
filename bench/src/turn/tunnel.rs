//! Clients of a relay over TLS for peers that speak UDP: each peer has a socket of its own to this thread, which wraps what it sends and
//! writes one TLS record for each packet, as browsers do.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{Timespec, epoll};
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use super::client::{Client, Link};
use super::messages::{self, CHANNEL_HEADER, Credentials};
use crate::pipe::Pipe;

/// The name of the thread.
pub(crate) const THREAD: &str = "bench-tunnel";
/// How long it sleeps at most.
const NAP: Duration = Duration::from_millis(50);

/// All of them.
pub(crate) struct Tunnels {
    config: Arc<ClientConfig>,
    new: Mutex<Sender<Tunnel>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    open: AtomicU64,
    ended: AtomicU64,
}

/// One client.
struct Tunnel {
    stream: TcpStream,
    tls: ClientConnection,
    peer: UdpSocket,
    /// Plaintext of which the last message is not whole.
    text: Vec<u8>,
}

impl Tunnels {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Self> {
        let (sender, new) = channel();
        let shared = Arc::new(Shared::default());
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&poll, &new, &shared)
        })?;
        Ok(Self {
            config: super::certificate::client(&[b"stun.turn"])?,
            new: Mutex::new(sender),
            shared,
            thread: Some(thread),
        })
    }

    /// A socket behind which `server` is reached by its own relay over TLS, on the same port.
    pub(crate) fn open(&self, server: SocketAddr, credentials: &Credentials) -> Result<Pipe> {
        Ok(self.open_to(server, credentials, server)?.0)
    }

    /// A socket behind which `peer` is reached by the relay of `server`, and the relayed address.
    pub(crate) fn open_to(
        &self,
        server: SocketAddr,
        credentials: &Credentials,
        peer: SocketAddr,
    ) -> Result<(Pipe, SocketAddr)> {
        let mut client = Client::allocate(Link::tls(server, &self.config)?, credentials)?;
        client.bind(peer)?;
        let relayed = client.relayed;
        let Link::Tls(stream) = client.link else {
            bail!("not over TLS");
        };
        let (tls, stream) = stream.into_parts();
        let (ours, peers) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        ours.connect(peers.local_addr()?)?;
        peers.connect(ours.local_addr()?)?;
        ours.set_nonblocking(true)?;
        stream.set_nonblocking(true)?;
        let tunnel = Tunnel {
            stream,
            tls,
            peer: ours,
            text: Vec::new(),
        };
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        let new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        new.send(tunnel).ok().context("the tunnels' thread has ended")?;
        Ok((Pipe::plain(peers), relayed))
    }

    /// How many were opened, and how many of those have ended.
    pub(crate) fn count(&self) -> (u64, u64) {
        let shared = &self.shared;
        (
            shared.open.load(Ordering::Relaxed),
            shared.ended.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What an event is about: the tunnel, and which of its ends.
fn token(number: u64, is_peer: bool) -> epoll::EventData {
    epoll::EventData::new_u64(number << 1 | u64::from(is_peer))
}

fn run(poll: &OwnedFd, new: &Receiver<Tunnel>, shared: &Shared) {
    let mut tunnels: HashMap<u64, Tunnel> = HashMap::new();
    let mut next = 0;
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    let nap = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(NAP.subsec_nanos()),
    };
    while !shared.stop.load(Ordering::Relaxed) {
        while let Ok(tunnel) = new.try_recv() {
            let watch = |fd: std::os::fd::BorrowedFd<'_>, is_peer| {
                epoll::add(poll, fd, token(next, is_peer), epoll::EventFlags::IN)
            };
            if watch(tunnel.stream.as_fd(), false).is_ok() && watch(tunnel.peer.as_fd(), true).is_ok() {
                tunnels.insert(next, tunnel);
            } else {
                shared.ended.fetch_add(1, Ordering::Relaxed);
            }
            next += 1;
        }
        events.clear();
        let _ = epoll::wait(poll, rustix::buffer::spare_capacity(&mut events), Some(&nap));
        for event in &events {
            let number = event.data.u64() >> 1;
            let Some(tunnel) = tunnels.get_mut(&number) else {
                continue;
            };
            let going = match event.data.u64() & 1 {
                1 => tunnel.up(),
                _ => tunnel.down(),
            };
            if going.is_err() {
                shared.ended.fetch_add(1, Ordering::Relaxed);
                tunnels.remove(&number);
            }
        }
    }
}

impl Tunnel {
    /// From the peer to the relay.
    fn up(&mut self) -> Result<()> {
        let mut buffer = [0; 2_048];
        loop {
            let len = match self.peer.recv(&mut buffer[CHANNEL_HEADER..]) {
                Ok(len) => len,
                // A peer that is gone is told as a refusal of what was sent to it.
                Err(_) => return Ok(()),
            };
            buffer[..CHANNEL_HEADER].copy_from_slice(&messages::channel_header(len));
            let padded = CHANNEL_HEADER + len.next_multiple_of(4);
            buffer[CHANNEL_HEADER + len..padded].fill(0);
            self.tls.writer().write_all(&buffer[..padded])?;
            self.flush()?;
        }
    }

    /// What does not fit into the socket waits for the next time.
    fn flush(&mut self) -> Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// From the relay to the peer.
    fn down(&mut self) -> Result<()> {
        match self.tls.read_tls(&mut self.stream) {
            Ok(0) => bail!("closed"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.tls.process_new_packets()?;
        let mut buffer = [0; 16_384];
        loop {
            match self.tls.reader().read(&mut buffer) {
                Ok(0) => bail!("closed"),
                Ok(len) => self.text.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut at = 0;
        while let Some(len) = messages::stream_message(&self.text[at..])? {
            let Some(message) = self.text.get_mut(at..at + len) else {
                break;
            };
            if let Some(payload) = messages::channel_payload(message) {
                // A full socket is loss, as anywhere.
                let _ = self.peer.send(payload);
            }
            at += len;
        }
        self.text.drain(..at);
        self.flush()
    }
}
