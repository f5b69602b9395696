//! Stub of the driver; the real one comes with the worker.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::api::{Event, NegotiateError};
use crate::command::Command;
use crate::handle::Sfu;
use crate::settings::Settings;

/// Why the media core could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The UDP socket could not be bound.
    #[error("binding the media socket to UDP {address} failed; is another program using the port?")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// A running media core.
pub struct Running {
    /// The handle for everything above.
    pub sfu: Sfu,
    /// Events, in order per room.
    pub events: mpsc::Receiver<Event>,
    /// The UDP addresses really bound, one per shard.
    pub addresses: Vec<SocketAddr>,
}

/// Starts the shards' threads.
///
/// # Errors
/// [`StartError`] when a socket cannot be had.
pub fn start(settings: &Settings) -> Result<Running, StartError> {
    let (_tx, events) = mpsc::channel(1);
    Ok(Running {
        sfu: Sfu::new(Arc::from(vec![ShardHandle {}])),
        events,
        addresses: vec![settings.listen],
    })
}

pub(crate) struct ShardHandle {}

impl ShardHandle {
    pub(crate) fn send(&self, _command: Command) -> Result<(), NegotiateError> {
        Err(NegotiateError::Busy)
    }
    pub(crate) fn send_or_count(&self, _command: Command) {}
}
