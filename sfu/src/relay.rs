//! The TURN server in front of the worker, by hand-over: what clients send to our own candidates through it comes out as datagrams of
//! another [`Path`], and what goes back that way is put into an [`Envelope`]. Nothing is bound, copied or queued for it.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use arrayvec::ArrayVec;
use housecall_turn::limits::MAX_ANSWER;
use housecall_turn::{ClientAddr, ClientTransport, Outcome, Server};

use crate::batch::Envelope;
use crate::ids::RelayUserId;
use crate::path::Path;

/// What became of a datagram that is TURN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relayed {
    /// This part of it came by that path.
    Payload(Path, Range<usize>),
    /// It was a request.
    Request,
    /// Nothing comes of it.
    Nothing,
}

/// See the module.
pub(crate) struct Relay {
    server: Option<Server>,
}

impl Relay {
    /// No TURN here.
    pub(crate) const fn off() -> Self {
        Self { server: None }
    }

    /// Serves clients whose payload is for the worker.
    pub(crate) fn new(server: Server) -> Self {
        Self { server: Some(server) }
    }

    /// Takes a datagram that [`crate::demux`] says is TURN.
    pub(crate) fn handle(&mut self, path: Path, datagram: &[u8], now: Instant) -> Relayed {
        // What comes out of the relay does not go in again.
        let (Some(server), None) = (&mut self.server, path.relayed_by()) else {
            return Relayed::Nothing;
        };
        let client = ClientAddr::new(ClientTransport::Udp, path.remote(), path.local());
        match server.handle_client_datagram(client, datagram, now) {
            Outcome::Relay(relay) => {
                let path = Path::relayed(relay.allocation, relay.relayed, relay.peer);
                Relayed::Payload(path, relay.payload)
            }
            Outcome::Request => Relayed::Request,
            Outcome::Dropped(_) => Relayed::Nothing,
        }
    }

    /// How datagrams leave by a path. By one whose allocation or permission has ended they go nowhere, as if they were lost.
    #[inline]
    pub(crate) fn envelope(&mut self, path: Path, now: Instant) -> Envelope {
        let Some((allocation, peer)) = path.relayed_by() else {
            return Envelope::direct(path);
        };
        let to_client = self
            .server
            .as_mut()
            .and_then(|server| server.to_client(allocation, peer, now));
        match to_client {
            Some(to) => Envelope::relayed(Path::udp(to.client.remote(), to.client.local()), to.framing),
            None => Envelope::nowhere(),
        }
    }

    /// The next answer to a client.
    pub(crate) fn poll_transmit(&mut self) -> Option<(Path, ArrayVec<u8, MAX_ANSWER>)> {
        let (client, bytes) = self.server.as_mut()?.poll_transmit()?;
        Some((Path::udp(client.remote(), client.local()), bytes))
    }

    /// Whether an answer waits.
    pub(crate) fn has_output(&self) -> bool {
        self.server.as_ref().is_some_and(Server::has_transmit)
    }

    /// Ends all that a user has.
    pub(crate) fn end_user(&mut self, user: RelayUserId) {
        if let Some(server) = &mut self.server {
            server.end_user(&user.to_string());
        }
    }

    /// Ends what is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(server) = &mut self.server {
            server.handle_timeout(now);
        }
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.server.as_ref()?.poll_timeout()
    }
}

/// The `turn:` addresses of a shard, at most one of each family: every one costs each client an allocation.
pub(crate) fn urls(candidates: &[SocketAddr]) -> Vec<String> {
    let first = |v4: bool| candidates.iter().find(|candidate| candidate.is_ipv4() == v4);
    let both = [first(true), first(false)];
    let found = both.iter().flatten().filter(|candidate| {
        // Loopback serves a demo on one machine, and only where there is nothing else.
        !candidate.ip().is_loopback() || candidates.iter().all(|other| other.ip().is_loopback())
    });
    found
        .map(|candidate| format!("turn:{candidate}?transport=udp"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_given_one_address_of_each_family() {
        for (candidates, expected) in [
            (&[][..], &[][..]),
            (
                &["192.0.2.1:443", "192.0.2.2:443", "127.0.0.1:443"],
                &["turn:192.0.2.1:443?transport=udp"],
            ),
            (
                &["[2001:db8::1]:443", "192.0.2.1:443"],
                &[
                    "turn:192.0.2.1:443?transport=udp",
                    "turn:[2001:db8::1]:443?transport=udp",
                ],
            ),
            (&["192.0.2.1:443", "[::1]:443"], &["turn:192.0.2.1:443?transport=udp"]),
            (&["127.0.0.1:443"], &["turn:127.0.0.1:443?transport=udp"]),
        ] {
            let candidates: Vec<SocketAddr> = candidates
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect();
            assert_eq!(urls(&candidates), expected);
        }
    }
}
