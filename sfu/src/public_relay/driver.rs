//! The thread of the general relay: its sockets, its clock, and nothing that decides.
//!
//! One turn: wait until something is readable · read the clock once · take what each socket has and send it on, a run to a call · connections ·
//! ends of allocations. What a client sends is sorted by peer and what peers send by client before anything leaves ([`Gather`]).

#![expect(
    clippy::disallowed_methods,
    reason = "this is a driver: it waits and reads the clock"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use housecall_turn::limits::MAX_RELAYED_MESSAGE;
use housecall_turn::{
    AllocationKey, ClientAddr, ClientTransport, Family, Fragments, Network, Opened, Outcome, PeerAddr, RelayCommand,
    Server,
};
use rustc_hash::FxHashMap;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::buffers::Buffers;
use super::figures::{Direction, Figures, Lost, Tally};
use super::gather::{Gather, To};
use super::own::{Look, Own};
use super::strangers::Strangers;
use super::{PublicRelaySettings, ReadNetworks, server};
use crate::batch::Cargo;
use crate::driver::unix_now;
use crate::limits;
use crate::load::Intake;
use crate::outbox::Sent;
use crate::path::{Path, StreamKind};
use crate::socket::{Oversize, UdpPort};
use crate::streams::{self, StreamEvent, Streams};

/// Receive calls on the clients' socket in one turn; each brings up to 32 buffers. Then peers have their turn.
const RECEIVES_PER_TURN: usize = 4;
/// Sockets served in one turn.
const EVENTS: usize = 256;

/// Which descriptor an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Wake,
    Clients,
    Streams,
    Relayed(Family, u16),
}

impl Token {
    fn number(self) -> u64 {
        match self {
            Self::Wake => 0,
            Self::Clients => 1,
            Self::Streams => 2,
            Self::Relayed(Family::V4, port) => 0x1_0000 | u64::from(port),
            Self::Relayed(Family::V6, port) => 0x2_0000 | u64::from(port),
        }
    }

    fn of(number: u64) -> Self {
        let port = (number & 0xffff) as u16;
        match number >> 16 {
            0 if port == 0 => Self::Wake,
            0 if port == 1 => Self::Clients,
            0 => Self::Streams,
            1 => Self::Relayed(Family::V4, port),
            _ => Self::Relayed(Family::V6, port),
        }
    }
}

/// What stays when a broken invariant takes everything else.
pub(super) struct Base {
    pub(super) settings: PublicRelaySettings,
    /// Addresses of this machine, and its networks.
    pub(super) own: Own,
    /// Reads them.
    pub(super) read: ReadNetworks,
    pub(super) clients: UdpPort,
    pub(super) streams: Streams,
    pub(super) wake: Arc<OwnedFd>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) epoll: OwnedFd,
    pub(super) figures: Figures,
}

impl Base {
    /// Watches what is there from the beginning.
    pub(super) fn watch(&self) -> Result<(), Errno> {
        watch(&self.epoll, &*self.wake, Token::Wake)?;
        watch(&self.epoll, &self.clients, Token::Clients)?;
        watch(&self.epoll, &self.streams, Token::Streams)
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        let mut connected = FxHashMap::default();
        while let Some(own) = self.learn() {
            let mut relay = Relay::new(&mut self, own, &mut connected);
            match catch_unwind(AssertUnwindSafe(|| relay.run())) {
                Ok(()) => return,
                // The panic hook has printed where.
                Err(_) => tracing::error!("a broken invariant ended all allocations of the general relay"),
            }
        }
    }

    /// The networks of this machine, once they can be read: a relay that does not know them would open them to strangers. What clients send
    /// meanwhile waits in the kernel. `None` if it is told to stop.
    fn learn(&mut self) -> Option<Vec<Network>> {
        while !self.stop.load(Ordering::Acquire) {
            self.look(now());
            if let Some(own) = self.own.known() {
                return Some(own);
            }
            std::thread::sleep(limits::OWN_NETWORKS_RETRY);
        }
        None
    }

    fn look(&mut self, now: Instant) -> Look {
        self.own.handle_read((self.read)(&self.settings), now)
    }
}

fn watch(epoll: &OwnedFd, source: impl AsFd, token: Token) -> Result<(), Errno> {
    epoll::add(
        epoll,
        source,
        epoll::EventData::new_u64(token.number()),
        epoll::EventFlags::IN,
    )
}

/// A relayed address.
struct Relayed {
    socket: UdpPort,
    allocation: AllocationKey,
}

/// The relayed addresses of a family, by port.
struct Ports {
    first: u16,
    sockets: Box<[Option<Box<Relayed>>]>,
    /// Where they are bound.
    bind: IpAddr,
}

impl Ports {
    fn at(&mut self, port: u16) -> Option<&mut Option<Box<Relayed>>> {
        let at = usize::from(port.checked_sub(self.first)?);
        self.sockets.get_mut(at)
    }

    fn get(&mut self, port: u16) -> Option<&mut Relayed> {
        self.at(port)?.as_deref_mut()
    }
}

struct Relay<'a> {
    base: &'a mut Base,
    /// Where clients on streams are.
    connected: &'a mut FxHashMap<ClientAddr, Path>,
    server: Server,
    ports: [Ports; 2],
    buffers: Buffers,
    gather: Gather,
    tally: Tally,
    /// Allocations that were refused for want of descriptors, not told of yet.
    exhausted: u64,
    intake: Intake,
    strangers: Strangers,
    /// Datagrams and messages since figures were last published.
    received: u64,
    /// A socket may have more than was taken from it.
    more: bool,
}

impl<'a> Relay<'a> {
    fn new(base: &'a mut Base, own: Vec<Network>, connected: &'a mut FxHashMap<ClientAddr, Path>) -> Self {
        let server = server(&base.settings, own, now());
        let ports = Family::ALL.map(|family| Ports {
            first: *base.settings.ports.start(),
            sockets: base.settings.ports.clone().map(|_| None).collect(),
            bind: bind_address(&base.settings, family),
        });
        Self {
            gather: Gather::new(base.clients.max_segments()),
            base,
            connected,
            server,
            ports,
            buffers: Buffers::new(),
            tally: Tally::default(),
            exhausted: 0,
            intake: Intake::default(),
            strangers: Strangers::default(),
            received: 0,
            more: false,
        }
    }

    fn run(&mut self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let mut published = now();
        let mut looked = published;
        loop {
            self.wait(&mut events, published);
            if self.base.stop.load(Ordering::Acquire) {
                return;
            }
            let now = now();
            let before = self.received;
            // A full list means that others may be ready too.
            self.more = events.len() == EVENTS;
            self.base.streams.begin(now);
            self.strangers.begin();
            let mut streams_ready = false;
            for event in &events {
                match Token::of(event.data.u64()) {
                    Token::Wake => {
                        let mut counter = [0; 8];
                        // Non-blocking; an empty counter is no error worth telling.
                        let _ = rustix::io::read(&*self.base.wake, &mut counter);
                        self.handle_streams(now);
                    }
                    Token::Streams => streams_ready = true,
                    Token::Clients => self.receive_from_clients(now),
                    Token::Relayed(family, port) => self.receive_from_peers(family, port, now),
                }
            }
            if streams_ready || self.base.streams.is_behind() {
                self.base.streams.look();
                self.handle_streams(now);
            }
            self.server.handle_timeout(now);
            self.settle(now);
            self.base.streams.flush(|_, _| {});
            // Where much comes, whoever waits a little finds several for the same way, which then leave in one call.
            let pauses = self.intake == Intake::InGroups && self.received > before && !self.more;
            let window = now.saturating_duration_since(published);
            if window >= limits::METRICS_INTERVAL {
                published = now;
                let millis = window.as_millis().max(1) as u64;
                self.intake = self
                    .intake
                    .after_rate(std::mem::take(&mut self.received) * 1_000 / millis);
                self.server.set_unix(unix_now(), now);
                self.sweep_streams(now);
                self.publish();
            }
            if now.saturating_duration_since(looked) >= limits::OWN_NETWORKS_INTERVAL {
                looked = now;
                self.look_around(now);
            }
            if pauses {
                std::thread::sleep(limits::RELAY_PAUSE);
            }
        }
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, now: Instant) {
        let due = self.server.poll_timeout();
        let due = due.map_or(limits::METRICS_INTERVAL, |due| due.saturating_duration_since(now));
        let timeout = if self.base.streams.is_behind() {
            Duration::ZERO
        } else {
            due.clamp(Duration::from_millis(1), limits::METRICS_INTERVAL)
        };
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        events.clear();
        // Interrupted: there are none, and the next call has them.
        let _ = epoll::wait(&self.base.epoll, rustix::buffer::spare_capacity(events), Some(&timeout));
    }

    fn receive_from_clients(&mut self, now: Instant) {
        for _ in 0..RECEIVES_PER_TURN {
            // An error belongs to one datagram that could not be delivered, and says nothing about the others.
            let filled = self.buffers.fill(&self.base.clients).unwrap_or(0);
            self.gather.clear();
            for buffer in 0..filled {
                let arrived = self.buffers.arrived(buffer);
                let client = ClientAddr::new(ClientTransport::Udp, arrived.from, arrived.to);
                for at in arrived.datagrams() {
                    self.received += 1;
                    if !self.strangers.takes(|| self.server.has_allocation(client)) {
                        continue;
                    }
                    let took = take(
                        &mut self.server,
                        &mut self.gather,
                        &mut self.tally,
                        client,
                        self.buffers.bytes(),
                        at,
                        now,
                    );
                    if took != Took::Payload {
                        self.strangers.note();
                    }
                }
            }
            self.settle(now);
            send_to_peers(
                &mut self.gather,
                &mut self.ports,
                &mut self.tally,
                self.buffers.bytes(),
                ClientTransport::Udp,
            );
            if filled < quinn_udp::BATCH_SIZE {
                return;
            }
        }
        self.more = true;
    }

    fn receive_from_peers(&mut self, family: Family, port: u16, now: Instant) {
        // Closed since it was found readable.
        let Some(relayed) = self.ports[family as usize].get(port) else {
            return;
        };
        let allocation = relayed.allocation;
        let filled = self.buffers.fill(&relayed.socket).unwrap_or(0);
        self.more |= filled == quinn_udp::BATCH_SIZE;
        self.gather.clear();
        for buffer in 0..filled {
            let arrived = self.buffers.arrived(buffer);
            let peer = PeerAddr::new(arrived.from);
            for at in arrived.datagrams() {
                self.received += 1;
                match self.server.handle_peer_datagram(allocation, peer, at.len(), now) {
                    Some(to) => self.gather.add(To::Client(to.client), Some(to.framing), at),
                    None => self.tally.lose(Lost::Unpermitted, 1),
                }
            }
        }
        for run in 0..self.gather.runs() {
            let (run, contents) = self.gather.write(run, self.buffers.bytes());
            let To::Client(client) = run.to else { continue };
            // What is too long for any framing was not written.
            let sent = if contents.is_empty() {
                Sent::Refused
            } else {
                send_to_client(self.base, self.connected, client, contents, run.segment, Cargo::Video)
            };
            let (transport, direction) = (client.transport(), Direction::ToClient);
            note(&mut self.tally, sent, transport, direction, run.datagrams, run.payload);
        }
    }

    /// Does what the server wants done: opens and closes sockets, sends answers.
    fn settle(&mut self, now: Instant) {
        while let Some(command) = self.server.poll_relay() {
            match command {
                RelayCommand::Open { allocation, relayed } => {
                    let opened = match self.open(allocation, relayed) {
                        Ok(()) => Opened::Yes,
                        Err(cause) => {
                            tracing::debug!(%cause, "a relayed address could not be opened");
                            refusal(&cause)
                        }
                    };
                    self.server.relay_opened(allocation, relayed, opened, now);
                }
                RelayCommand::Close { relayed } => {
                    if let Some(place) = self.ports[family_index(relayed)].at(relayed.port()) {
                        // Closing it takes it out of the set that is waited for.
                        *place = None;
                    }
                }
            }
        }
        while let Some((client, answer)) = self.server.poll_transmit() {
            // A lost answer is asked for again.
            send_to_client(self.base, self.connected, client, &answer, answer.len(), Cargo::Urgent);
        }
    }

    fn open(&mut self, allocation: AllocationKey, address: SocketAddr) -> std::io::Result<()> {
        let family = Family::of(address.ip());
        let ports = &mut self.ports[family as usize];
        let bind = SocketAddr::new(ports.bind, address.port());
        let socket = UdpPort::bind(bind, true, Oversize::Fragmented, limits::RELAYED_BUFFER_BYTES)?;
        watch(&self.base.epoll, &socket, Token::Relayed(family, address.port()))?;
        if let Some(place) = ports.at(address.port()) {
            *place = Some(Box::new(Relayed { socket, allocation }));
        }
        Ok(())
    }

    /// Takes what connections have brought.
    fn handle_streams(&mut self, now: Instant) {
        while let Some(event) = self.base.streams.poll() {
            match event {
                StreamEvent::Opened(path) => match path.relay_client() {
                    Some(client) => {
                        // Of an earlier connection from the same address, whose end is not seen yet: it ends here, not with this one.
                        if self.connected.insert(client, path).is_some() {
                            self.server.end_client(client);
                        }
                    }
                    None => self.base.streams.close(path),
                },
                StreamEvent::Messages(path, kind, mut messages) => {
                    if let Some(client) = path.relay_client() {
                        self.handle_messages(path, client, kind, messages.bytes(), now);
                    }
                    self.base.streams.give_back(messages);
                }
                StreamEvent::Closed(path) => self.close(path),
            }
        }
    }

    fn handle_messages(&mut self, path: Path, client: ClientAddr, kind: StreamKind, mut bytes: &[u8], now: Instant) {
        self.gather.clear();
        let (all, mut start) = (bytes, 0);
        // There are whole messages only.
        while let Ok(Some(found)) = streams::frame(kind, bytes, MAX_RELAYED_MESSAGE) {
            let at = start + found.message.start..start + found.message.end;
            self.received += 1;
            if take(
                &mut self.server,
                &mut self.gather,
                &mut self.tally,
                client,
                all,
                at,
                now,
            ) == Took::Request
            {
                // In the order of the stream: what follows may need the socket that was asked for.
                self.settle(now);
                // Its answer has not left yet: what the client sends after it is taken.
                if self.server.has_allocation(client) {
                    self.base.streams.trust(path);
                }
            }
            start += found.len;
            bytes = &all[start..];
        }
        send_to_peers(
            &mut self.gather,
            &mut self.ports,
            &mut self.tally,
            all,
            client.transport(),
        );
    }

    /// A connection is gone, and with it what its client had.
    fn close(&mut self, path: Path) {
        let Some(client) = path.relay_client() else { return };
        // The address may have been used again, by a connection that opened before this one's end was seen.
        if self.connected.get(&client) == Some(&path) {
            self.connected.remove(&client);
            self.server.end_client(client);
        }
    }

    /// Closes connections whose clients have no allocation.
    fn sweep_streams(&mut self, now: Instant) {
        for path in self.base.streams.due(now) {
            let is_used = path
                .relay_client()
                .is_some_and(|client| self.server.has_allocation(client));
            if !is_used {
                self.base.streams.end(path);
            }
        }
    }

    /// Looks at what changes seldom, and tells what should not be told for each request.
    fn look_around(&mut self, now: Instant) {
        let refused = std::mem::take(&mut self.exhausted);
        if refused > 0 {
            tracing::warn!(
                refused,
                "the relay has no descriptors or memory left for allocations: raise the limit of open files (LimitNOFILE)"
            );
        }
        // Addresses of this machine come and go: a lease ends, a tunnel or a container's network is set up.
        if self.base.look(now) == Look::Changed
            && let Some(own) = self.base.own.known()
        {
            tracing::info!("the networks of this machine have changed, and what the relay refuses with them");
            self.server.set_own(own);
        }
    }

    fn publish(&mut self) {
        self.tally.lose(Lost::Full, self.base.streams.take_lost() as usize);
        let (tally, mut requests) = (std::mem::take(&mut self.tally), self.server.take_counters());
        requests.over_budget += self.strangers.take_dropped();
        self.exhausted += requests.exhausted;
        self.base.figures.publish(&tally, requests, self.server.allocations());
    }
}

/// What a message of a client was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Took {
    Request,
    /// Payload, which was sorted.
    Payload,
    /// Of no use.
    Nothing,
}

/// Takes the message that lies at `at` in `all`, and sorts what is in it for a peer.
fn take(
    server: &mut Server,
    gather: &mut Gather,
    tally: &mut Tally,
    client: ClientAddr,
    all: &[u8],
    at: Range<usize>,
    now: Instant,
) -> Took {
    match server.handle_client_datagram(client, &all[at.clone()], now) {
        Outcome::Request => return Took::Request,
        Outcome::Dropped(_) => {
            tally.lose(Lost::Refused, 1);
            return Took::Nothing;
        }
        Outcome::Relay(relay) => {
            let to = To::Peer {
                relayed: relay.relayed,
                peer: relay.peer.get(),
                fragments: relay.fragments,
            };
            gather.add(to, None, at.start + relay.payload.start..at.start + relay.payload.end);
        }
    }
    Took::Payload
}

fn send_to_client(
    base: &mut Base,
    connected: &FxHashMap<ClientAddr, Path>,
    client: ClientAddr,
    contents: &[u8],
    segment: usize,
    cargo: Cargo,
) -> Sent {
    match client.transport() {
        ClientTransport::Udp => base.clients.send(client.remote(), client.local(), contents, segment),
        ClientTransport::Tcp | ClientTransport::Tls => match connected.get(&client).and_then(Path::is_stream) {
            Some((id, _)) => base.streams.send(id, contents, segment, cargo),
            None => Sent::Refused,
        },
    }
}

/// Sends what was gathered of payload in `bytes` to the peers that it is for.
fn send_to_peers(
    gather: &mut Gather,
    ports: &mut [Ports; 2],
    tally: &mut Tally,
    bytes: &[u8],
    transport: ClientTransport,
) {
    for run in 0..gather.runs() {
        let (run, contents) = gather.write(run, bytes);
        let To::Peer {
            relayed,
            peer,
            fragments,
        } = run.to
        else {
            continue;
        };
        let Some(relayed) = ports[family_index(relayed)].get(relayed.port()) else {
            continue;
        };
        let sent = match fragments {
            Fragments::Allowed => relayed.socket.send(peer, None, contents, run.segment),
            Fragments::Forbidden => relayed.socket.send_whole(peer, None, contents, run.segment),
        };
        note(tally, sent, transport, Direction::ToPeer, run.datagrams, run.payload);
    }
}

fn note(
    tally: &mut Tally,
    sent: Sent,
    transport: ClientTransport,
    direction: Direction,
    datagrams: usize,
    payload: usize,
) {
    match sent {
        Sent::All => tally.pass(transport, direction, datagrams, payload),
        Sent::Full => tally.lose(Lost::Full, datagrams),
        Sent::Refused => tally.lose(Lost::Unsendable, datagrams),
    }
}

fn family_index(address: SocketAddr) -> usize {
    Family::of(address.ip()) as usize
}

/// Whether another port may do where one could not be opened.
fn refusal(cause: &std::io::Error) -> Opened {
    let errno = cause.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        // No descriptor for this process or for the system, no memory, no more sockets to wait for.
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::NOSPC) => Opened::Exhausted,
        _ => Opened::No,
    }
}

/// Where sockets for relayed addresses are bound: at the address that clients are told, or, where a NAT in front has that one, at all.
fn bind_address(settings: &PublicRelaySettings, family: Family) -> IpAddr {
    let told = settings.addresses.iter().find(|ip| Family::of(**ip) == family);
    let is_here = |ip: &&IpAddr| UdpPort::bind(SocketAddr::new(**ip, 0), true, Oversize::Lost, 0).is_ok();
    told.filter(is_here).copied().unwrap_or(match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    })
}

/// Starts its thread.
pub(super) fn spawn(base: Base) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("turn".to_owned());
    thread.spawn(move || base.run()).map(drop)
}

pub(super) fn now() -> Instant {
    Instant::now()
}
