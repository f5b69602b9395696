//! The HTTP edge: routes, and what holds for every answer.
//!
//! A handler reads its input, calls one function of [`Portal`] or of the live visits, and shapes the answer. Whoever asks for
//! [`extract::Session`] or [`extract::Bearer`] in its signature is for known people only. No handler writes the audit log.

mod api;
mod assets;
mod edge;
mod extract;
mod health;
mod metrics;
mod ops;
mod pages;
mod problem;
mod proxy;
mod rate;
mod redirect;
mod serve;
mod socket;
mod whip;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use housecall_signaling::{Hub, Media};
use ipnet::IpNet;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

pub use proxy::holds;
pub use rate::{Allowance, Place, Places};
pub use redirect::redirect;
pub use serve::{Connections, Peer, Stop};

use crate::Portal;
use crate::limits::{GREETING_PER_PREFIX, REQUEST_TIME};
use problem::Problem;

/// What the composition root decides for the HTTP edge.
#[derive(Clone, Debug)]
pub struct WebSettings {
    /// The origin people use, e.g. `https://visits.example.org`, if it is known: a WebSocket may then come from it too, whatever
    /// `Host` a proxy makes of it.
    pub public_origin: Option<String>,
    /// Whether everything is reached over TLS: then browsers are told to insist on it (HSTS).
    pub tls: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who is shown `/metrics`, directly and not through a proxy.
    pub metrics_from: Vec<IpNet>,
    /// WebSockets that have not said hello, per address prefix.
    pub greeting: usize,
    /// Exchanges of a link for a session, per address prefix.
    pub exchanges: Allowance,
    /// Look-ups of a bearer or session, new WebSockets included, per address prefix. A clinic behind one address shares it.
    pub lookups: Allowance,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            public_origin: None,
            tls: false,
            trusted_proxies: Vec::new(),
            metrics_from: vec![
                IpNet::from(IpAddr::from(Ipv4Addr::LOCALHOST)),
                IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST)),
            ],
            greeting: GREETING_PER_PREFIX,
            exchanges: Allowance {
                per_second: 5,
                burst: 120,
            },
            lookups: Allowance {
                per_second: 200,
                burst: 2_000,
            },
        }
    }
}

/// What the HTTP edge stands on.
pub struct Web<M> {
    /// Everything stored.
    pub portal: Portal,
    /// The live visits.
    pub hub: Hub<Portal, M>,
    /// Its settings.
    pub settings: WebSettings,
    /// What `/metrics` shows, and where the edge's own metrics are registered.
    pub registry: prometheus::Registry,
    /// Whether the media core still runs, for `/readyz`.
    pub media_alive: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// What handlers share.
#[derive(Clone)]
struct Edge {
    inner: Arc<Inner>,
}

struct Inner {
    portal: Portal,
    settings: WebSettings,
    registry: prometheus::Registry,
    media_alive: Arc<dyn Fn() -> bool + Send + Sync>,
    metrics: metrics::HttpMetrics,
    exchanges: rate::RateLimit,
    lookups: rate::RateLimit,
    greeting: Places,
    readiness: health::Readiness,
}

impl std::ops::Deref for Edge {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.inner
    }
}

/// The router's state. The hub is apart, for only some handlers need to know its type.
struct Shared<M> {
    edge: Edge,
    hub: Hub<Portal, M>,
}

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self {
            edge: self.edge.clone(),
            hub: self.hub.clone(),
        }
    }
}

impl<M> FromRef<Shared<M>> for Edge {
    fn from_ref(shared: &Shared<M>) -> Self {
        shared.edge.clone()
    }
}

impl<M> FromRef<Shared<M>> for Hub<Portal, M> {
    fn from_ref(shared: &Shared<M>) -> Self {
        shared.hub.clone()
    }
}

/// Builds the router.
///
/// # Errors
/// When a metric of the same name is registered already.
pub fn router<M: Media>(web: Web<M>) -> Result<Router, prometheus::Error> {
    let metrics = metrics::HttpMetrics::register(&web.registry)?;
    web.portal.register_metrics(&web.registry)?;
    let edge = Edge {
        inner: Arc::new(Inner {
            exchanges: rate::RateLimit::new(web.settings.exchanges),
            lookups: rate::RateLimit::new(web.settings.lookups),
            greeting: Places::new(web.settings.greeting),
            portal: web.portal,
            settings: web.settings,
            registry: web.registry,
            media_alive: web.media_alive,
            metrics,
            readiness: health::Readiness::default(),
        }),
    };
    let shared = Shared {
        edge: edge.clone(),
        hub: web.hub,
    };

    let tools = Router::new()
        .route("/whip/{visit}", post(whip::publish::<M>).options(whip::options))
        .route("/whep/{visit}", post(whip::watch::<M>).options(whip::options))
        .route(
            "/whip/{visit}/{participant}",
            axum::routing::delete(whip::leave::<M>)
                .patch(whip::patch::<M>)
                .options(whip::session_options),
        )
        .route(
            "/whep/{visit}/{participant}",
            axum::routing::delete(whip::leave::<M>)
                .patch(whip::patch::<M>)
                .options(whip::session_options),
        )
        .layer(from_fn(whip::cross_origin));

    let routes = Router::new()
        .route("/", get(pages::index))
        .route("/join", get(pages::index))
        .route("/assets/{*path}", get(pages::asset))
        .route("/api/session", post(api::exchange))
        .route("/api/session/refresh", post(api::refresh))
        .route("/api/visits/{visit}/session", post(api::session_for_visit))
        .route("/api/today", get(api::today::<M>))
        .route(
            "/api/appointments",
            post(api::create_appointment).get(api::list_appointments),
        )
        .route("/api/appointments/{visit}/cancel", post(api::cancel_appointment::<M>))
        .route("/ops", get(pages::ops))
        .route("/ops/visits", get(ops::visits))
        .route("/ops/visits/quality.ndjson", get(ops::export))
        .route("/ops/visits/{visit}/quality", get(ops::quality::<M>))
        .route("/ws", get(socket::upgrade::<M>))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .merge(tools)
        .fallback(async || Problem::NOT_FOUND)
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            REQUEST_TIME,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(edge, edge::finish))
        .with_state(shared);
    Ok(routes)
}

/// A handler's panic is a bug, and ends its own request only. What it said may name things: the panic hook's business, not the client's.
fn panicked(_payload: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    Problem::INTERNAL.into_response()
}
