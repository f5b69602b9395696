//! From a connection to requests. Whoever listens accepts the connections, and bounds them in number.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::limits::{DRAIN_TIME, HEADER_TIME};

/// Where a request came from, put into its extensions: the TCP peer, or the client that a trusted proxy names. Without it, rate
/// limits take everybody for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Serves requests on connections. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    stopped: watch::Receiver<()>,
}

/// Ends what [`Connections`] serve.
pub struct Stop {
    stop: watch::Sender<()>,
}

impl Connections {
    /// Those of one server, and what stops them.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let (stop, stopped) = watch::channel(());
        (Self { stopped }, Stop { stop })
    }

    /// Waits for the stop.
    pub async fn stopped(&mut self) {
        // An error means that whoever could stop is gone, which is a stop as well.
        let _ = self.stopped.changed().await;
    }

    /// Serves the requests of one connection until it ends, or the stop: then the request in progress is finished. WebSockets end when
    /// the visits close them.
    pub async fn serve<S>(self, stream: S, peer: Peer, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut stopped = self.stopped;
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
}

impl Stop {
    /// Lets requests in progress finish for a few seconds. All other clones of the connections are to be dropped before.
    pub async fn stop(self) {
        self.stop.send_replace(());
        // The channel closes when the last connection has dropped its end.
        let _ = tokio::time::timeout(DRAIN_TIME, self.stop.closed()).await;
    }
}
