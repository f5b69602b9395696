//! The one TCP port: whatever connects is told apart by its first bytes and served as HTTP, TURN or ICE over TCP, plainly or inside of TLS.
//!
//! Strangers hold a connection only for as long as they take to say what they want, and only so many of them.

mod first;
mod limits;
mod metrics;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod wire;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use housecall_portal::{Connections, Peer, Place, Places, Router, holds};
use housecall_sfu::{self as sfu, Connection, Plain, PublicRelay, Sfu, StreamKind};
use housecall_turn::first_bytes::{Protocol, first_bytes, first_bytes_in_tls};
use housecall_turn::limits::FIRST_BYTES_TIMEOUT;
use ipnet::IpNet;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use first::Begun;
pub(crate) use limits::CONNECTIONS;
pub(crate) use metrics::FrontMetrics;
use metrics::{Refused, Served};
use wire::TlsWire;

/// What the port serves.
pub(crate) struct Services {
    /// HTTP, over TLS where there is TLS.
    pub(crate) router: Router,
    /// TLS, and what plain HTTP gets then.
    pub(crate) tls: Option<Secured>,
    /// Where TURN and ICE go.
    pub(crate) sfu: Sfu,
    /// Where TURN of other software goes that came to its own port.
    pub(crate) general: Option<PublicRelay>,
    /// Proxies, which may have any number of connections.
    pub(crate) proxies: Vec<IpNet>,
    pub(crate) metrics: FrontMetrics,
}

/// See [`Services::tls`].
pub(crate) struct Secured {
    pub(crate) acceptor: TlsAcceptor,
    /// Sends plain HTTP to HTTPS.
    pub(crate) redirect: Router,
}

/// A connection, as far as it is known.
#[derive(Clone, Copy)]
struct Arrival {
    peer: SocketAddr,
    local: IpAddr,
    door: Door,
}

/// Which listener a connection came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Door {
    /// That of a shard: everything is served there.
    Shard(usize),
    /// That of the general relay: TURN alone.
    GeneralRelay,
}

/// Serves connections of all listeners, each for its shard, and perhaps one for the general relay, until `shutdown` is done; then accepts no
/// more, lets HTTP requests in progress finish for a few seconds, and returns. Media connections end with the media core.
pub(crate) async fn serve(
    listeners: Vec<(TcpListener, usize)>,
    general: Option<TcpListener>,
    services: Services,
    shutdown: impl Future<Output = ()>,
) {
    let shards = listeners.into_iter();
    let shards = shards.map(|(listener, shard)| (Door::Shard(shard), listener));
    let doors: Vec<_> = shards
        .chain(general.map(|listener| (Door::GeneralRelay, listener)))
        .collect();
    let (connections, stop) = Connections::new();
    let front = Arc::new(Front {
        services,
        room: Arc::new(Semaphore::new(CONNECTIONS)),
        places: Places::new(limits::CONNECTIONS_PER_PREFIX),
        silent: Places::new(limits::SILENT_PER_PREFIX),
    });
    let mut accepting = JoinSet::new();
    for (door, listener) in doors {
        accepting.spawn(accept(Arc::clone(&front), connections.clone(), listener, door));
    }
    drop((front, connections));
    tokio::select! {
        () = shutdown => {}
        // They go on for ever; a panic ends the service, which is noticed outside.
        _ = accepting.join_next() => {}
    }
    accepting.shutdown().await;
    stop.stop().await;
}

async fn accept(front: Arc<Front>, connections: Connections, listener: TcpListener, door: Door) {
    loop {
        let Ok(seat) = Arc::clone(&front.room).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(cause) => {
                tracing::warn!(%cause, "a connection cannot be accepted");
                // Out of file descriptors, most likely: trying again at once would spin.
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(local) = stream.local_addr() else { continue };
        let arrival = Arrival {
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            local: local.ip().to_canonical(),
            door,
        };
        let ip = arrival.peer.ip();
        let unbounded = ip.is_loopback() || holds(&front.services.proxies, ip);
        let (place, silent) = (front.places.take(ip), front.silent.take(ip));
        if (place.is_none() || silent.is_none()) && !unbounded {
            // Closed without a word: an answer would cost what the bound is there to save.
            front.services.metrics.refuse(Refused::Crowd);
            continue;
        }
        // Messages are small and each matters at once.
        let _ = stream.set_nodelay(true);
        // On a line that loses much, a message that is lost again is sent at even pauses instead of ever longer ones.
        let _ = SockRef::from(&stream).set_tcp_thin_linear_timeouts(true);
        let (front, connections) = (Arc::clone(&front), connections.clone());
        tokio::spawn(async move {
            front.serve(stream, arrival, connections, silent).await;
            drop((seat, place));
        });
    }
}

struct Front {
    services: Services,
    room: Arc<Semaphore>,
    places: Places,
    /// Connections that have not said what they want.
    silent: Places,
}

impl Front {
    async fn serve(&self, stream: TcpStream, arrival: Arrival, mut http: Connections, silent: Option<Place>) {
        let metrics = &self.services.metrics;
        let found = tokio::select! {
            () = http.stopped() => return,
            found = timeout(FIRST_BYTES_TIMEOUT, Begun::read(stream, first_bytes)) => found,
        };
        let (stream, protocol) = match found {
            Err(_) => return metrics.refuse(Refused::Silent),
            Ok(Err(refusal)) => return metrics.refuse(refusal),
            Ok(Ok(begun)) => begun,
        };
        match protocol {
            Protocol::Http | Protocol::IceTcp if arrival.door == Door::GeneralRelay => {
                metrics.refuse(Refused::Protocol);
            }
            Protocol::Tls => {
                let Some(secured) = &self.services.tls else {
                    return metrics.refuse(Refused::Protocol);
                };
                let accepted = timeout(limits::TLS_TIMEOUT, secured.acceptor.accept(stream)).await;
                let stream = match accepted {
                    Err(_) => return metrics.refuse(Refused::Silent),
                    Ok(Err(cause)) => {
                        tracing::debug!(%cause, "a TLS handshake failed");
                        return metrics.refuse(Refused::Handshake);
                    }
                    Ok(Ok(stream)) => stream,
                };
                self.serve_tls(stream, arrival, http, silent).await;
            }
            Protocol::Turn => {
                drop((http, silent));
                self.carry_plain(stream, StreamKind::TurnTcp, arrival, Served::TurnTcp)
                    .await;
            }
            Protocol::IceTcp => {
                drop((http, silent));
                self.carry_plain(stream, StreamKind::IceTcp, arrival, Served::IceTcp)
                    .await;
            }
            Protocol::Http => {
                drop(silent);
                metrics.serve(Served::Http);
                let router = match &self.services.tls {
                    None => &self.services.router,
                    Some(secured) => &secured.redirect,
                };
                http.serve(stream, Peer(arrival.peer.ip()), router.clone()).await;
            }
        }
    }

    /// What came out of TLS.
    async fn serve_tls(
        &self,
        mut stream: TlsStream<Begun<TcpStream>>,
        arrival: Arrival,
        mut http: Connections,
        silent: Option<Place>,
    ) {
        let metrics = &self.services.metrics;
        if stream.get_ref().1.alpn_protocol() == Some(tls::ACME) {
            // The handshake was the answer (RFC 8737 §3).
            metrics.serve(Served::Acme);
            let _ = timeout(limits::TLS_TIMEOUT, stream.shutdown()).await;
            return;
        }
        // Not by ALPN: a client that offers both HTTP and TURN gets either, and says by its first bytes which it speaks.
        let found = tokio::select! {
            () = http.stopped() => return,
            found = timeout(FIRST_BYTES_TIMEOUT, Begun::read(stream, first_bytes_in_tls)) => found,
        };
        let (stream, protocol) = match found {
            Err(_) => return metrics.refuse(Refused::Silent),
            Ok(Err(refusal)) => return metrics.refuse(refusal),
            Ok(Ok(begun)) => begun,
        };
        drop(silent);
        match protocol {
            Protocol::Http if arrival.door == Door::GeneralRelay => metrics.refuse(Refused::Protocol),
            Protocol::Http => {
                metrics.serve(Served::Https);
                let router = self.services.router.clone();
                http.serve(stream, Peer(arrival.peer.ip()), router).await;
            }
            Protocol::Turn => {
                drop(http);
                self.carry_tls(stream, arrival).await;
            }
            // No client does this; a way into the media core that nobody needs is better closed.
            Protocol::IceTcp | Protocol::Tls => metrics.refuse(Refused::Protocol),
        }
    }

    async fn carry_plain(&self, begun: Begun<TcpStream>, kind: StreamKind, arrival: Arrival, served: Served) {
        prepare(begun.get_ref());
        let (stream, bytes) = begun.into_parts();
        // Whoever carries it waits for its socket.
        let Ok(stream) = stream.into_std() else { return };
        self.carry(kind, arrival, served, Box::new(Plain(stream)), bytes).await;
    }

    async fn carry_tls(&self, begun: Begun<TlsStream<Begun<TcpStream>>>, arrival: Arrival) {
        prepare(begun.get_ref().get_ref().0.get_ref());
        let (stream, bytes) = begun.into_parts();
        let (stream, tls) = stream.into_inner();
        let Ok(stream) = stream.into_inner().into_std() else {
            return;
        };
        let wire = Box::new(TlsWire::new(stream, tls));
        self.carry(StreamKind::TurnTls, arrival, Served::TurnTls, wire, bytes)
            .await;
    }

    /// Hands a connection to the thread that it is for, and waits until it has ended.
    async fn carry(
        &self,
        kind: StreamKind,
        arrival: Arrival,
        served: Served,
        connection: Box<dyn Connection>,
        begun: Vec<u8>,
    ) {
        let Arrival { peer, local, door } = arrival;
        let arrival = sfu::Arrival {
            kind,
            remote: peer,
            local,
            connection,
            begun,
        };
        let end = match (door, &self.services.general) {
            (Door::Shard(shard), _) => self.services.sfu.open_stream(shard, arrival),
            (Door::GeneralRelay, Some(relay)) => relay.open_stream(arrival),
            (Door::GeneralRelay, None) => None,
        };
        match end {
            Some(end) => {
                self.services.metrics.serve(served);
                end.seen().await;
            }
            None => self.services.metrics.refuse(Refused::Busy),
        }
    }
}

/// Sets up a connection for media: what is sent is on its way or still in our hands, and a peer that is gone is noticed.
fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(limits::KEEPALIVE)
        .with_interval(limits::KEEPALIVE);
    // None of them is needed for the connection to work.
    let _ = socket.set_tcp_notsent_lowat(limits::NOT_SENT);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(limits::UNANSWERED));
}
