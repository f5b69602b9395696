//! From a listening socket to requests: one task per connection, bounded in number and in patience.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use super::proxy::holds;
use super::rate::Places;
use crate::limits::{CONNECTIONS, CONNECTIONS_PER_PREFIX, DRAIN_TIME, HEADER_TIME};

/// Where a request came from, put into its extensions: the TCP peer, or the client that a trusted proxy names. Without it, rate
/// limits take everybody for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Serves requests until `shutdown` is done; then accepts no more, lets those in progress finish for a few seconds, and returns.
/// WebSockets end when the visits close them.
///
/// One address prefix may hold only some of the connections, unless it is this machine's own or one of `proxies`.
pub async fn serve(listener: TcpListener, router: Router, proxies: Vec<IpNet>, shutdown: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(());
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let places = Places::new(CONNECTIONS_PER_PREFIX);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, peer, seat)) = accepted else {
            continue;
        };
        let peer = peer.to_canonical();
        let unbounded = peer.is_loopback() || holds(&proxies, peer);
        let place = places.take(peer);
        if place.is_none() && !unbounded {
            // Closed without a word: an answer would cost what the bound is there to save.
            continue;
        }
        let (router, stopped) = (router.clone(), stopped.clone());
        tokio::spawn(async move {
            serve_connection(stream, Peer(peer), router, stopped).await;
            drop((seat, place));
        });
    }
    drop(listener);
    drop(stopped);
    stop.send_replace(());
    // The channel closes when the last connection has dropped its end.
    let _ = tokio::time::timeout(DRAIN_TIME, stop.closed()).await;
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(room)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Messages are small and each matters at once.
            let _ = stream.set_nodelay(true);
            Some((stream, peer.ip(), place))
        }
        Err(cause) => {
            tracing::warn!(%cause, "a connection cannot be accepted");
            // Out of file descriptors, most likely: trying again at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn serve_connection<S>(stream: S, peer: Peer, router: Router, mut stopped: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(axum::body::Body::new) as Request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let mut told = pin!(stopped.changed());
    let mut stopping = false;
    let served = poll_fn(|cx| {
        if !stopping && told.as_mut().poll(cx).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        Pin::new(&mut connection).poll(cx)
    });
    // A broken connection is the peer's affair and ends here.
    if let Err(cause) = served.await {
        tracing::trace!(%cause, "connection ended");
    }
}
