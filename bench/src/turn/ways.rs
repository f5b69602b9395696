//! How peers of the generator get onto our relay: each with an allocation of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use super::accounts::Accounts;
use super::client::{Client, Link, home};
use super::tunnel::Tunnels;
use crate::pipe::Pipe;

/// Hands out ways to peers.
pub(crate) struct Ways {
    accounts: Accounts,
    next: AtomicUsize,
    by: By,
}

/// What is between the client and the relay.
pub(crate) enum By {
    /// UDP.
    Udp,
    /// TLS, in another thread.
    Tls(Tunnels),
}

impl Ways {
    pub(crate) fn new(accounts: Accounts, by: By) -> Self {
        Self {
            accounts,
            next: AtomicUsize::new(0),
            by,
        }
    }

    /// A new one to the server's media address, at which its relay is too.
    pub(crate) fn open(&self, server: SocketAddr) -> Result<Pipe> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let credentials = self.accounts.of(number);
        match &self.by {
            By::Udp => {
                let link = Link::udp(home(number), server)?;
                Pipe::relayed(Client::allocate(link, credentials)?, server)
            }
            By::Tls(tunnels) => tunnels.open(server, credentials),
        }
    }

    /// The tunnels, if there are any.
    pub(crate) fn tunnels(&self) -> Option<&Tunnels> {
        match &self.by {
            By::Udp => None,
            By::Tls(tunnels) => Some(tunnels),
        }
    }
}
