//! The TURN server in front of the worker, by hand-over: what clients send to our own candidates through it comes out as datagrams of
//! another [`Path`], and what goes back that way is put into an [`Envelope`]. Nothing is bound, copied or queued for it.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use arrayvec::ArrayVec;
use housecall_turn::limits::MAX_ANSWER;
use housecall_turn::{ClientAddr, ClientTransport, Outcome, Server};
use rustc_hash::FxHashMap;

use crate::batch::Envelope;
use crate::ids::RelayUserId;
use crate::path::Path;
use crate::settings::RelayUrls;

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
    /// Where clients on streams are. As many as there are streams.
    streams: FxHashMap<ClientAddr, Path>,
}

impl Relay {
    /// No TURN here.
    pub(crate) fn off() -> Self {
        Self {
            server: None,
            streams: FxHashMap::default(),
        }
    }

    /// Serves clients whose payload is for the worker.
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server: Some(server),
            streams: FxHashMap::default(),
        }
    }

    /// Takes a datagram that [`crate::demux`] says is TURN.
    pub(crate) fn handle(&mut self, path: Path, datagram: &[u8], now: Instant) -> Relayed {
        // What comes out of the relay does not go in again.
        let (Some(server), Some(client)) = (&mut self.server, path.relay_client()) else {
            return Relayed::Nothing;
        };
        match server.handle_client_datagram(client, datagram, now) {
            Outcome::Relay(relay) => {
                let path = Path::relayed(path, relay.allocation, relay.relayed, relay.peer);
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
            Some(to) => match self.path_to(to.client) {
                Some(path) => Envelope::relayed(path, to.framing),
                None => Envelope::nowhere(),
            },
            None => Envelope::nowhere(),
        }
    }

    /// How a client is reached; `None` if its connection is gone.
    fn path_to(&self, client: ClientAddr) -> Option<Path> {
        match client.transport() {
            ClientTransport::Udp => Some(Path::udp(client.remote(), client.local())),
            ClientTransport::Tcp | ClientTransport::Tls => self.streams.get(&client).copied(),
        }
    }

    /// A client has connected. False if there is no relay for it.
    pub(crate) fn open_stream(&mut self, path: Path) -> bool {
        let (true, Some(client)) = (self.server.is_some(), path.relay_client()) else {
            return false;
        };
        // Of an earlier connection from the same address, whose end is not seen yet: what it had ends here, not with this one.
        if self.streams.insert(client, path).is_some()
            && let Some(server) = &mut self.server
        {
            server.end_client(client);
        }
        true
    }

    /// A client's connection is gone, and with it what it had.
    pub(crate) fn close_stream(&mut self, path: Path) {
        let Some(client) = path.relay_client() else { return };
        // The address may have been used again, by a connection that opened before this one's end was seen.
        if self.streams.get(&client) == Some(&path) {
            self.streams.remove(&client);
            if let Some(server) = &mut self.server {
                server.end_client(client);
            }
        }
    }

    /// Whether the client on this connection has an allocation.
    pub(crate) fn has_allocation(&self, path: Path) -> bool {
        let client = path.relay_client();
        let server = self.server.as_ref();
        client.is_some_and(|client| server.is_some_and(|server| server.has_allocation(client)))
    }

    /// Figures since the last call.
    pub(crate) fn take_counters(&mut self) -> housecall_turn::Counters {
        self.server.as_mut().map(Server::take_counters).unwrap_or_default()
    }

    /// How many allocations there are.
    pub(crate) fn allocations(&self) -> usize {
        self.server.as_ref().map_or(0, Server::allocations)
    }

    /// The next answer to a client.
    pub(crate) fn poll_transmit(&mut self) -> Option<(Path, ArrayVec<u8, MAX_ANSWER>)> {
        loop {
            let (client, bytes) = self.server.as_mut()?.poll_transmit()?;
            if let Some(path) = self.path_to(client) {
                return Some((path, bytes));
            }
        }
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

/// The addresses of TURN over UDP of a shard, at most one of each family: every one costs each client an allocation.
pub(crate) fn udp_urls(candidates: &[SocketAddr]) -> Vec<String> {
    let found = one_of_each_family(candidates).into_iter();
    found
        .map(|candidate| format!("turn:{candidate}?transport=udp"))
        .collect()
}

/// The addresses of TURN over TLS and TCP of the shard with this number. The one that gets through most firewalls comes first.
pub(crate) fn stream_urls(shard: usize, candidates: &[SocketAddr], urls: &RelayUrls) -> Vec<String> {
    let Some(own) = candidates.first().map(SocketAddr::port) else {
        return Vec::new();
    };
    let port = urls.port.filter(|_| shard == 0).unwrap_or(own);
    let tls = urls
        .tls_host
        .iter()
        .map(|host| format!("turns:{host}:{port}?transport=tcp"));
    let tcp: Vec<String> = match &urls.tcp_host {
        Some(host) => vec![format!("turn:{host}:{port}?transport=tcp")],
        None => {
            let found = one_of_each_family(candidates).into_iter();
            found
                .map(|candidate| format!("turn:{candidate}?transport=tcp"))
                .collect()
        }
    };
    tls.chain(tcp).collect()
}

/// The best candidate of each family.
pub(crate) fn one_of_each_family(candidates: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = |v4: bool| candidates.iter().find(|candidate| candidate.is_ipv4() == v4);
    let both = [first(true), first(false)];
    let found = both.into_iter().flatten().filter(|candidate| {
        // Loopback serves a demo on one machine, and only where there is nothing else.
        !candidate.ip().is_loopback() || candidates.iter().all(|other| other.ip().is_loopback())
    });
    found.copied().collect()
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
            assert_eq!(udp_urls(&candidates), expected);
        }
    }

    #[test]
    fn streams_are_told_by_the_name_in_the_certificate_and_the_port_that_is_seen_outside() {
        let candidates: Vec<SocketAddr> = vec!["192.0.2.1:8443".parse().expect("an address")];
        let named = RelayUrls {
            tcp_host: Some("visits.example.org".to_owned()),
            tls_host: Some("visits.example.org".to_owned()),
            port: Some(443),
        };
        let tcp_only = RelayUrls {
            tls_host: None,
            tcp_host: None,
            port: None,
        };
        for (shard, urls, expected) in [
            (
                0,
                &named,
                &[
                    "turns:visits.example.org:443?transport=tcp",
                    "turn:visits.example.org:443?transport=tcp",
                ][..],
            ),
            (
                1,
                &named,
                &[
                    "turns:visits.example.org:8443?transport=tcp",
                    "turn:visits.example.org:8443?transport=tcp",
                ],
            ),
            (0, &tcp_only, &["turn:192.0.2.1:8443?transport=tcp"]),
        ] {
            assert_eq!(stream_urls(shard, &candidates, urls), expected);
        }
        assert!(stream_urls(0, &[], &named).is_empty());
    }
}
