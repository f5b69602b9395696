//! The ways to the server.
//!
//! The `webrtc` crate sees one UDP socket and one far end. What it sends there is carried by the way under test, as a browser would carry it:
//! datagrams, ICE over TCP (RFC 6544, framed by RFC 4571), or the relay over UDP, TCP or TLS (RFC 8656, by the crate's own TURN client). So every
//! way can be forced, and nothing but it is measured.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::default_provider;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::turn::client::{Client, ClientConfig, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

use super::http::{self, Stream};
use super::link::{Candidates, Relay};
use super::{PathKind, Patience, Trouble};

/// How long the relay may take to give an allocation back. It ends by itself if it does not.
const GIVE_BACK: Duration = Duration::from_secs(1);
/// How long the relay's client waits if it waits for no time.
const IDLE: Duration = Duration::from_secs(5);
/// Packets that may wait on the way; more are lost, as on any wire.
const QUEUE: usize = 256;
/// The longest datagram.
const DATAGRAM: usize = 2_048;
/// The far end as the `webrtc` crate sees it. Nothing is ever sent to this address.
pub(super) const FAR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// The near end of a link: the crate's socket.
#[derive(Debug)]
struct Near {
    /// Holds the port by which the crate knows the socket.
    place: std::net::UdpSocket,
    out: mpsc::Sender<Vec<u8>>,
    back: Mutex<mpsc::Receiver<Vec<u8>>>,
}

/// The far end of a link, to be carried.
pub(super) struct Far {
    out: mpsc::Receiver<Vec<u8>>,
    back: mpsc::Sender<Vec<u8>>,
}

impl AsyncUdpSocket for Near {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.place.local_addr()
    }

    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        // A full or closed way loses packets.
        let _ = self.out.try_send(transmit.contents.to_vec());
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        match back.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            // The way is gone; the connection notices by itself that nothing comes.
            Poll::Ready(None) => Poll::Pending,
            Poll::Ready(Some(packet)) => {
                let len = packet.len().min(bufs[0].len());
                bufs[0][..len].copy_from_slice(&packet[..len]);
                meta[0] = RecvMeta::default();
                (meta[0].len, meta[0].stride, meta[0].addr) = (len, len.max(1), FAR);
                Poll::Ready(Ok(1))
            }
        }
    }
}

/// Tokio, with a link in place of a socket.
#[derive(Debug)]
pub(super) struct Linked {
    tokio: TokioRuntime,
    link: Mutex<Option<Ends>>,
}

/// Of the near side.
type Ends = (mpsc::Sender<Vec<u8>>, mpsc::Receiver<Vec<u8>>);

impl Linked {
    /// A runtime for one connection, and what it is linked to.
    pub(super) fn new() -> (Self, Far) {
        let (out, carried) = mpsc::channel(QUEUE);
        let (back, received) = mpsc::channel(QUEUE);
        let runtime = Self {
            tokio: TokioRuntime,
            link: Mutex::new(Some((out, received))),
        };
        (runtime, Far { out: carried, back })
    }
}

impl Runtime for Linked {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.tokio.spawn(future)
    }

    fn wrap_udp_socket(&self, place: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (out, back) = link.ok_or_else(|| io::Error::other("one link, one socket"))?;
        let back = Mutex::new(back);
        Ok(Arc::new(Near { place, out, back }))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.tokio.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.tokio.connect_tcp(remote)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.tokio.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.tokio.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }
}

/// How messages are told apart on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Two bytes of length in front (RFC 4571 §2).
    Ice,
    /// By their own lengths (RFC 8656 §12.5).
    Turn,
}

/// Takes the first whole message off what has arrived.
fn cut(framing: Framing, got: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = |at: usize| Some(usize::from(u16::from_be_bytes([*got.get(at)?, *got.get(at + 1)?])));
    let (skip, len) = match framing {
        Framing::Ice => (2, length(0)?),
        Framing::Turn if got.first()? & 0xC0 == 0 => (0, 20 + length(2)?),
        Framing::Turn => (0, 4 + length(2)?.next_multiple_of(4)),
    };
    if got.len() < skip + len {
        return None;
    }
    let message = got[skip..skip + len].to_vec();
    got.drain(..skip + len);
    Some(message)
}

/// What messages travel on.
pub(super) enum Wire {
    Datagrams(UdpSocket),
    Stream {
        stream: Box<dyn Stream>,
        framing: Framing,
        got: Vec<u8>,
    },
}

impl Wire {
    fn stream(stream: Box<dyn Stream>, framing: Framing) -> Self {
        let got = Vec::new();
        Self::Stream { stream, framing, got }
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => {
                // A refusal (ICMP) is no end: the next one may arrive.
                let _ = socket.send(message).await;
                Ok(())
            }
            Self::Stream { stream, framing, .. } => {
                let len = u16::try_from(message.len()).map_err(io::Error::other)?;
                let framed = match framing {
                    Framing::Ice => [&len.to_be_bytes()[..], message].concat(),
                    Framing::Turn => message.to_vec(),
                };
                stream.write_all(&framed).await?;
                stream.flush().await
            }
        }
    }

    /// The next message. Nothing is lost when this is given up.
    async fn recv(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Datagrams(socket) => loop {
                let mut buffer = [0; DATAGRAM];
                if let Ok(len) = socket.recv(&mut buffer).await {
                    return Ok(buffer[..len].to_vec());
                }
            },
            Self::Stream { stream, framing, got } => loop {
                if let Some(message) = cut(*framing, got) {
                    return Ok(message);
                }
                if stream.read_buf(got).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            },
        }
    }
}

/// An open way to the media server.
pub(super) enum Carrier {
    Plain(Wire),
    Relayed(Box<Relayed>),
}

/// An allocation on the relay, with a permission for the media server.
pub(super) struct Relayed {
    wire: Wire,
    client: Client,
    relayed: SocketAddr,
    peer: SocketAddr,
}

/// What is known of the server by now.
pub(super) struct Known<'a> {
    pub(super) web: std::net::IpAddr,
    pub(super) candidates: &'a Candidates,
    pub(super) relays: &'a [Relay],
    pub(super) connector: &'a TlsConnector,
    pub(super) patience: Patience,
}

impl Carrier {
    /// Opens a way.
    pub(super) async fn open(path: PathKind, known: &Known<'_>) -> Result<Self, Trouble> {
        let Known {
            web,
            candidates,
            relays,
            patience,
            ..
        } = known;
        let none = || Trouble::NotOffered(path);
        let wire = match path {
            PathKind::Udp => {
                let media = Candidates::nearest(&candidates.udp, *web).ok_or_else(none)?;
                return Ok(Self::Plain(Wire::Datagrams(datagrams(path, media).await?)));
            }
            PathKind::Tcp => {
                let media = Candidates::nearest(&candidates.tcp, *web).ok_or_else(none)?;
                let stream = timeout(patience.way(), TcpStream::connect(media)).await;
                let stream = stream.ok().and_then(Result::ok);
                let stream = stream.ok_or(Trouble::Closed {
                    path,
                    place: media.to_string(),
                })?;
                let _ = stream.set_nodelay(true);
                return Ok(Self::Plain(Wire::stream(Box::new(stream), Framing::Ice)));
            }
            PathKind::TurnUdp => {
                // The relay is told of for TCP; on UDP it has the same place.
                let relay = relays.first().ok_or_else(none)?;
                let found = http::addresses(&relay.host, relay.port, *patience).await?;
                let place = Candidates::nearest(&found, *web).ok_or_else(|| Trouble::NoName(relay.host.clone()))?;
                Wire::Datagrams(datagrams(path, place).await?)
            }
            PathKind::TurnTcp | PathKind::TurnTls => {
                let relay = Self::relay(path, relays).ok_or_else(none)?;
                let tls = relay.tls.then_some(known.connector);
                let (stream, ..) = http::connect(&relay.host, relay.port, tls, *patience).await?;
                Wire::stream(stream, Framing::Turn)
            }
        };
        let relay = Self::relay(path, relays).ok_or_else(none)?;
        // The crate asks for IPv4 addresses alone.
        let peer = candidates
            .udp
            .iter()
            .find(|address| address.is_ipv4())
            .ok_or_else(none)?;
        let allocated = Relayed::allocate(wire, relay, *peer, path);
        let refused = || Trouble::Closed {
            path,
            place: format!("{} port {}", relay.host, relay.port),
        };
        let relayed = timeout(patience.way(), allocated).await.map_err(|_| refused())??;
        Ok(Self::Relayed(Box::new(relayed)))
    }

    fn relay(path: PathKind, relays: &[Relay]) -> Option<&Relay> {
        match path {
            PathKind::TurnTls => relays.iter().find(|relay| relay.tls),
            PathKind::TurnTcp => relays.iter().find(|relay| !relay.tls),
            _ => relays.first(),
        }
    }

    /// Carries packets both ways, until one end is gone or it is told to stop. What was allocated is given back.
    pub(super) async fn carry(mut self, mut far: Far, stop: oneshot::Receiver<()>) {
        tokio::select! {
            () = self.carry_on(&mut far) => {}
            _ = stop => {}
        }
        if let Self::Relayed(relayed) = &mut self {
            let _ = timeout(GIVE_BACK, relayed.give_back()).await;
        }
    }

    async fn carry_on(&mut self, far: &mut Far) {
        match self {
            Self::Plain(wire) => loop {
                tokio::select! {
                    packet = far.out.recv() => {
                        let Some(packet) = packet else { return };
                        if wire.send(&packet).await.is_err() {
                            return;
                        }
                    }
                    packet = wire.recv() => {
                        let Ok(packet) = packet else { return };
                        let _ = far.back.try_send(packet);
                    }
                }
            },
            Self::Relayed(relayed) => {
                // An error is the end of the connection to the relay; the media connection notices.
                let _ = relayed.carry(far).await;
            }
        }
    }
}

async fn datagrams(path: PathKind, to: SocketAddr) -> Result<UdpSocket, Trouble> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let opened = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(to).await?;
        io::Result::Ok(socket)
    };
    let closed = |_| Trouble::Closed {
        path,
        place: to.to_string(),
    };
    opened.await.map_err(closed)
}

impl Relayed {
    async fn allocate(wire: Wire, relay: &Relay, peer: SocketAddr, path: PathKind) -> Result<Self, Trouble> {
        let failed = |what: &dyn std::fmt::Display| Trouble::Relay {
            path,
            why: what.to_string(),
        };
        let crypto = default_provider().map_err(|cause| failed(&cause))?;
        let config = ClientConfig {
            turn_serv_addr: FAR.to_string(),
            local_addr: FAR,
            username: relay.username.clone(),
            password: relay.credential.clone(),
            ..ClientConfig::default()
        };
        let client = Client::new(config, crypto).map_err(|cause| failed(&cause))?;
        let mut relayed = Self {
            wire,
            client,
            relayed: FAR,
            peer,
        };
        let lost = |cause: io::Error| failed(&cause);
        relayed
            .client
            .allocate(Instant::now())
            .map_err(|cause| failed(&cause))?;
        loop {
            match relayed.turn(None).await.map_err(lost)? {
                Some(Event::AllocateResponse(_, address)) => {
                    relayed.relayed = address;
                    let allocation = relayed.client.relay(address).map_err(|cause| failed(&cause));
                    allocation?
                        .create_permission(Instant::now(), peer)
                        .map_err(|cause| failed(&cause))?;
                }
                Some(Event::CreatePermissionResponse(..)) => return Ok(relayed),
                Some(Event::AllocateError(_, cause) | Event::CreatePermissionError(_, cause)) => {
                    return Err(failed(&cause));
                }
                _ => {}
            }
        }
    }

    /// Does one thing: tells of an event, or sends, waits and receives once.
    async fn turn(&mut self, far: Option<&mut Far>) -> io::Result<Option<Event>> {
        while let Some(message) = self.client.poll_write() {
            self.wire.send(&message.message).await?;
        }
        if let Some(event) = self.client.poll_event() {
            return Ok(Some(event));
        }
        let wait = self.client.poll_timeout();
        let wait = wait.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()));
        let outgoing = async {
            match far {
                Some(far) => far.out.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {
                let _ = self.client.handle_timeout(Instant::now());
            }
            message = self.wire.recv() => {
                let message = TaggedBytesMut {
                    now: Instant::now(),
                    transport: TransportContext {
                        local_addr: FAR,
                        peer_addr: FAR,
                        transport_protocol: TransportProtocol::UDP,
                        ecn: None,
                    },
                    message: BytesMut::from(&message?[..]),
                };
                // What it cannot read is lost.
                let _ = self.client.handle_read(message);
            }
            packet = outgoing => {
                let packet = packet.ok_or(io::ErrorKind::BrokenPipe)?;
                if let Ok(mut allocation) = self.client.relay(self.relayed) {
                    let _ = allocation.send_to(Instant::now(), &packet, self.peer);
                }
            }
        }
        Ok(None)
    }

    /// Ends the allocation (RFC 8656 §8): over UDP it would stand until its time is over.
    async fn give_back(&mut self) -> io::Result<()> {
        if let Ok(mut allocation) = self.client.relay(self.relayed) {
            allocation.close(Instant::now()).map_err(io::Error::other)?;
        }
        while self.client.relay(self.relayed).is_ok() {
            self.turn(None).await?;
        }
        Ok(())
    }

    async fn carry(&mut self, far: &mut Far) -> io::Result<()> {
        loop {
            if let Some(Event::DataIndicationOrChannelData(_, _, packet)) = self.turn(Some(far)).await? {
                let _ = far.back.try_send(packet.to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_out_of_a_stream_wherever_it_is_split() {
        let stun = [&[0, 1, 0, 4][..], &[7; 20]].concat();
        let data = [0x40, 0, 0, 3, 1, 2, 3, 0];
        let turn = [&stun[..], &data, &stun].concat();
        let ice = [&[0, 2, 8, 9][..], &[0, 0], &[0, 1, 5]].concat();
        for (framing, stream, whole) in [
            (Framing::Turn, turn, vec![stun.clone(), data.to_vec(), stun]),
            (Framing::Ice, ice, vec![vec![8, 9], vec![], vec![5]]),
        ] {
            for split in 0..=stream.len() {
                let (mut got, mut messages) = (Vec::new(), Vec::new());
                for part in [&stream[..split], &stream[split..]] {
                    got.extend_from_slice(part);
                    messages.extend(std::iter::from_fn(|| cut(framing, &mut got)));
                }
                assert_eq!(messages, whole, "{framing:?} split at {split}");
                assert!(got.is_empty());
            }
        }
    }
}
