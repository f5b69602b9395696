//! The TURN server (RFC 8656) without sockets, threads or clock.
//!
//! Calling contract: after every `handle_*`, [`Server::relay_opened`] and [`Server::end_user`], drain [`Server::poll_transmit`] and
//! [`Server::poll_relay`], and come back at [`Server::poll_timeout`] at the latest. Payload takes no part in this: it is found in
//! the datagram ([`Outcome::Relay`]) and wrapped where it lies ([`Server::to_client`]).
//!
//! Two modes, told apart by [`Peers`]. *Hand-over*: relayed addresses are numbers, nothing is bound, and the only peers are the addresses
//! that are listed. *Public*: every relayed address is a socket that the driver opens and closes by [`RelayCommand`], and peers are
//! all addresses but those in [`crate::deny`].

mod auth;
mod check;
mod requests;
mod state;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use aws_lc_rs::hmac;
use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::address::{ClientAddr, Family, PeerAddr};
use crate::allocation::{Allocation, AllocationKey};
use crate::budget::Budget;
use crate::channel::{ChannelData, Framing};
use crate::credentials::{Secret, UnixSeconds, User};
use crate::deny::{self, Network};
use crate::limits;
use crate::nonce::Nonces;
use crate::ports::PortPool;
use crate::stun::{AttributeType, Class, Fingerprint, Integrity, IntegrityKey, Message, Method, TransactionId};
use crate::wheel::Wheel;

/// What a server is made from.
pub struct Config {
    /// What credentials are derived from.
    pub secret: Secret,
    /// Random, known to nobody: seals nonces and reservations.
    pub key: [u8; 32],
    /// Where relayed addresses come from.
    pub relay: RelayAddresses,
    /// Who can be reached.
    pub peers: Peers,
    /// How much a client may have.
    pub quotas: Quotas,
    /// Whether Binding requests without credentials are answered.
    pub bindings: Bindings,
    /// Now.
    pub started: Instant,
    /// The wall-clock time of [`Self::started`].
    pub unix: UnixSeconds,
}

/// The relayed addresses that can be given out. A family without address is refused with 440.
pub struct RelayAddresses {
    /// IPv4, as clients are told.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
    /// The ports of each of them.
    pub ports: RangeInclusive<u16>,
}

/// Which peers a client can reach; any other is 403 (Forbidden).
pub enum Peers {
    /// Hand-over: exactly these addresses, and payload goes to them inside the process.
    Only(Vec<SocketAddr>),
    /// Public relay: every globally reachable address.
    Public {
        /// Addresses of this machine and of the networks it stands in. Of these only relayed ports can be reached.
        own: Vec<Network>,
        /// Addresses that cannot be reached whatever else is said of them.
        denied: Vec<Network>,
        /// Addresses that can be reached although they are in [`crate::deny`], or in `own`.
        allowed: Vec<Network>,
    },
}

/// How much clients may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Allocations of one user (an id in credentials); above it 486.
    pub per_user: u32,
    /// Allocations of one address prefix (IPv4 /24, IPv6 /48); above it 486.
    pub per_prefix: u32,
    /// Allocations in all; above it 508.
    pub total: u32,
    /// Payload of one allocation in each direction that is limited, bytes a second; what is over it is lost.
    pub bytes_per_second: u32,
}

/// What becomes of Binding requests without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bindings {
    /// They get no answer.
    Ignore,
    /// They are told their address, within the budget for strangers.
    Answer,
}

/// What became of a datagram from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was a request; [`Server::poll_transmit`] may have the answer.
    Request,
    /// It was payload for a peer.
    Relay(Relay),
    /// Nothing comes of it.
    Dropped(Dropped),
}

/// Payload from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Whose.
    pub allocation: AllocationKey,
    /// Where it comes from, as the peer sees it.
    pub relayed: SocketAddr,
    /// Where it goes to.
    pub peer: PeerAddr,
    /// Where in the datagram it lies.
    pub payload: Range<usize>,
    /// What the client wants of the network.
    pub fragments: Fragments,
}

/// Whether payload may go on in pieces where it is longer than a link carries (DONT-FRAGMENT, RFC 8656 §18.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragments {
    /// It may.
    Allowed,
    /// It is rather lost.
    Forbidden,
}

/// Why nothing came of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// Neither ChannelData nor STUN of a method this server does.
    NotTurn,
    /// Framing, fingerprint or attributes are wrong.
    Malformed,
    /// Its sender's prefix, or all strangers together, have had their share of answers.
    Budget,
    /// The client has no allocation.
    NoAllocation,
    /// The channel is not bound.
    NoChannel,
    /// No permission for the peer, or no relayed address of its family.
    NoPermission,
    /// The peer cannot be reached.
    Forbidden,
    /// Over [`Quotas::bytes_per_second`].
    Bandwidth,
    /// The queue of answers is full.
    Busy,
}

/// Figures since the last [`Server::take_counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Allocations made.
    pub allocated: u64,
    /// Requests of authenticated clients that were refused.
    pub refused: u64,
    /// Of them those for which the system had no socket left ([`Opened::Exhausted`]).
    pub exhausted: u64,
    /// Answers 401 and 438: the normal first step, or wrong credentials.
    pub challenged: u64,
    /// Datagrams by [`Dropped::Budget`].
    pub over_budget: u64,
    /// Datagrams dropped for any other reason.
    pub dropped: u64,
    /// Payloads from clients to peers.
    pub relayed: u64,
    /// Their bytes.
    pub relayed_bytes: u64,
    /// Payloads from peers to clients.
    pub returned: u64,
}

/// What the driver of a public relay has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayCommand {
    /// Bind a UDP socket for this port, then call [`Server::relay_opened`].
    Open {
        /// For whom.
        allocation: AllocationKey,
        /// Which address it has for clients.
        relayed: SocketAddr,
    },
    /// Close it.
    Close {
        /// The address.
        relayed: SocketAddr,
    },
}

/// Whether a socket could be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is there.
    Yes,
    /// The port is taken by another program; another may be free.
    No,
    /// The system has no descriptor or no memory for one more: trying others is of no use.
    Exhausted,
}

/// Where and how payload from a peer goes to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToClient {
    /// Where to.
    pub client: ClientAddr,
    /// How it is wrapped.
    pub framing: Framing,
}

/// An answer, ready to be sent.
pub(crate) struct Answer {
    client: ClientAddr,
    bytes: ArrayVec<u8, { limits::MAX_ANSWER }>,
}

/// A relayed address and its ports.
struct Pool {
    ip: IpAddr,
    ports: PortPool,
}

/// A port held for a client that shows the token.
struct Reservation {
    relayed: SocketAddr,
    expires: u32,
    /// Who has it, as far as quotas go.
    user: User,
    prefix: u64,
}

/// An Allocate request whose sockets are being opened.
struct Opening {
    request: Box<[u8]>,
    key: IntegrityKey,
    integrity: Integrity,
    /// Sockets not heard of yet.
    waiting: u8,
    /// How many other ports may be tried for those that cannot be opened.
    tries: u8,
}

/// See the module.
pub struct Server {
    secret: Secret,
    nonces: Nonces,
    tokens: hmac::Key,
    peers: Peers,
    quotas: Quotas,
    bindings: Bindings,
    started: Instant,
    unix: UnixSeconds,
    allocations: Slab<Allocation>,
    generation: u32,
    by_client: FxHashMap<ClientAddr, AllocationKey>,
    /// The client of the last datagram: a burst is looked up once.
    last: Option<(ClientAddr, AllocationKey)>,
    by_user: FxHashMap<User, SmallVec<[AllocationKey; 2]>>,
    by_prefix: FxHashMap<u64, u32>,
    pools: [Option<Pool>; 2],
    reservations: FxHashMap<[u8; 8], Reservation>,
    /// All reservations live equally long, so the oldest ends first.
    reservation_ends: VecDeque<([u8; 8], u32)>,
    opening: FxHashMap<AllocationKey, Opening>,
    /// Each allocation once, at the time it says in `swept_at`.
    wheel: Wheel<(AllocationKey, u32)>,
    budget: Budget,
    answers: VecDeque<Answer>,
    commands: VecDeque<RelayCommand>,
    counters: Counters,
    chance: u64,
}

/// The time of a call, in the units the server counts in.
#[derive(Clone, Copy)]
struct Now {
    /// Seconds of the server's life.
    secs: u32,
    /// Milliseconds of it.
    millis: u64,
}

impl Server {
    /// A server without allocations.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let RelayAddresses { v4, v6, ports } = config.relay;
        let pool = |ip: Option<IpAddr>| {
            ip.map(|ip| Pool {
                ip,
                ports: PortPool::new(&ports),
            })
        };
        let tokens = hmac::Key::new(hmac::HMAC_SHA256, &config.key);
        let seed = hmac::sign(&tokens, b"seed");
        let mut seeds = [[0; 8]; 2];
        seeds.as_flattened_mut().copy_from_slice(&seed.as_ref()[..16]);
        Self {
            nonces: Nonces::new(&config.key),
            tokens,
            secret: config.secret,
            pools: [pool(v4.map(IpAddr::V4)), pool(v6.map(IpAddr::V6))],
            peers: config.peers,
            quotas: config.quotas,
            bindings: config.bindings,
            started: config.started,
            unix: config.unix,
            allocations: Slab::new(),
            generation: 0,
            by_client: FxHashMap::default(),
            last: None,
            by_user: FxHashMap::default(),
            by_prefix: FxHashMap::default(),
            reservations: FxHashMap::default(),
            reservation_ends: VecDeque::new(),
            opening: FxHashMap::default(),
            wheel: Wheel::new(),
            budget: Budget::new(u64::from_be_bytes(seeds[0])),
            answers: VecDeque::new(),
            commands: VecDeque::new(),
            counters: Counters::default(),
            chance: u64::from_be_bytes(seeds[1]),
        }
    }

    /// Takes one message of a client: a datagram, or one frame of its stream without padding ([`crate::stream`]).
    #[inline]
    pub fn handle_client_datagram(&mut self, client: ClientAddr, datagram: &[u8], now: Instant) -> Outcome {
        let now = self.time(now);
        let outcome = match datagram.first() {
            Some(0x40..=0x4f) => self.handle_channel_data(client, datagram, now),
            Some(0x00..=0x3f) => self.handle_stun(client, datagram, now),
            _ => Outcome::Dropped(Dropped::NotTurn),
        };
        match &outcome {
            Outcome::Request => {}
            Outcome::Relay(relay) => {
                self.counters.relayed += 1;
                self.counters.relayed_bytes += relay.payload.len() as u64;
            }
            Outcome::Dropped(Dropped::Budget) => self.counters.over_budget += 1,
            Outcome::Dropped(_) => self.counters.dropped += 1,
        }
        outcome
    }

    fn handle_channel_data(&mut self, client: ClientAddr, datagram: &[u8], now: Now) -> Outcome {
        let Some(key) = self.find(client, now) else {
            return Outcome::Dropped(Dropped::NoAllocation);
        };
        let Some(data) = ChannelData::parse(datagram) else {
            return Outcome::Dropped(Dropped::Malformed);
        };
        let Some(peer) = self.allocations[key.index as usize].peer(data.channel, now.secs) else {
            return Outcome::Dropped(Dropped::NoChannel);
        };
        if !self.can_still_reach(peer) {
            return Outcome::Dropped(Dropped::Forbidden);
        }
        self.relay(key, peer, data.payload, Fragments::Allowed, now)
    }

    fn handle_stun(&mut self, client: ClientAddr, datagram: &[u8], now: Now) -> Outcome {
        let Ok(message) = Message::parse(datagram) else {
            return Outcome::Dropped(Dropped::Malformed);
        };
        if message.fingerprint() == Fingerprint::Invalid {
            return Outcome::Dropped(Dropped::Malformed);
        }
        match (message.class(), message.method()) {
            (Class::Indication, Method::SEND) => self.handle_send(client, &message, now),
            (Class::Request, Method::BINDING) => self.handle_binding(client, &message, now),
            (Class::Request, Method::ALLOCATE | Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND) => {
                self.handle_request(client, &message, now)
            }
            _ => Outcome::Dropped(Dropped::NotTurn),
        }
    }

    /// RFC 8656 §11.2.
    fn handle_send(&mut self, client: ClientAddr, message: &Message<'_>, now: Now) -> Outcome {
        const KNOWN: [AttributeType; 3] = [
            AttributeType::XOR_PEER_ADDRESS,
            AttributeType::DATA,
            AttributeType::DONT_FRAGMENT,
        ];
        let Some(key) = self.find(client, now) else {
            return Outcome::Dropped(Dropped::NoAllocation);
        };
        let peer = message.xor_address(AttributeType::XOR_PEER_ADDRESS);
        let (Some(peer), Some(payload)) = (peer, message.position(AttributeType::DATA)) else {
            return Outcome::Dropped(Dropped::Malformed);
        };
        if message.unknown_required(&KNOWN).next().is_some() {
            return Outcome::Dropped(Dropped::Malformed);
        }
        let peer = PeerAddr::new(peer);
        if !self.can_reach(peer) {
            return Outcome::Dropped(Dropped::Forbidden);
        }
        let fragments = match message.get(AttributeType::DONT_FRAGMENT) {
            None => Fragments::Allowed,
            Some(_) => Fragments::Forbidden,
        };
        self.relay(key, peer, payload, fragments, now)
    }

    /// Payload for a peer that can be reached.
    fn relay(
        &mut self,
        key: AllocationKey,
        peer: PeerAddr,
        payload: Range<usize>,
        fragments: Fragments,
        now: Now,
    ) -> Outcome {
        let limit = self.quotas.bytes_per_second;
        let family = peer.family();
        let allocation = &mut self.allocations[key.index as usize];
        if !allocation.has(family, now.secs) || !allocation.permits(peer.get().ip(), now.secs) {
            return Outcome::Dropped(Dropped::NoPermission);
        }
        if !allocation.bandwidth.take(payload.len(), limit, now.millis) {
            return Outcome::Dropped(Dropped::Bandwidth);
        }
        let Some(relayed) = self.relayed(key, family) else {
            return Outcome::Dropped(Dropped::NoPermission);
        };
        Outcome::Relay(Relay {
            allocation: key,
            relayed,
            peer,
            payload,
            fragments,
        })
    }

    fn handle_binding(&mut self, client: ClientAddr, message: &Message<'_>, now: Now) -> Outcome {
        match self.bindings {
            Bindings::Ignore => Outcome::Dropped(Dropped::NotTurn),
            Bindings::Answer if !self.budget.take(client, now.millis) => Outcome::Dropped(Dropped::Budget),
            Bindings::Answer => self.answer(client, message, Class::Success, None, |builder| {
                builder.xor_mapped_address(client.remote());
            }),
        }
    }

    /// Where a peer's payload for an allocation goes, and how it is to be wrapped. `None` if the allocation has ended or has no permission
    /// for the peer (RFC 8656 §11.3): then the payload is dropped.
    #[inline]
    pub fn to_client(&mut self, key: AllocationKey, peer: PeerAddr, now: Instant) -> Option<ToClient> {
        let now = self.time(now);
        let allocation = self.get(key)?;
        if !allocation.has(peer.family(), now.secs) || !allocation.permits(peer.get().ip(), now.secs) {
            return None;
        }
        let client = allocation.client;
        let framing = match allocation.channel(peer, now.secs) {
            Some(channel) => Framing::Channel(channel),
            None => Framing::Indication {
                peer,
                id: self.next_id(),
            },
        };
        self.counters.returned += 1;
        Some(ToClient { client, framing })
    }

    /// As [`Self::to_client`] for a datagram that came to a relayed socket: the payload counts towards the bandwidth.
    pub fn handle_peer_datagram(
        &mut self,
        key: AllocationKey,
        peer: PeerAddr,
        len: usize,
        now: Instant,
    ) -> Option<ToClient> {
        let limit = self.quotas.bytes_per_second;
        let millis = self.time(now).millis;
        let to_client = self.to_client(key, peer, now)?;
        let allocation = self.allocations.get_mut(key.index as usize)?;
        allocation.bandwidth.take(len, limit, millis).then_some(to_client)
    }

    /// Ends everything a user (the id of [`Secret::mint`]) has: the visit is over.
    pub fn end_user(&mut self, id: &str) {
        for key in self.by_user.get(&User::new(id)).cloned().unwrap_or_default() {
            self.remove(key);
        }
    }

    /// Ends what a stream had: its connection is gone.
    pub fn end_client(&mut self, client: ClientAddr) {
        if let Some(key) = self.by_client.get(&client).copied() {
            self.remove(key);
        }
    }

    /// Whether a client has an allocation. One that has just ended may still count.
    #[must_use]
    pub fn has_allocation(&self, client: ClientAddr) -> bool {
        self.by_client.contains_key(&client)
    }

    /// Ends what is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.time(now);
        while let Some(entries) = self.wheel.take_due(now.secs) {
            for (key, due) in entries {
                self.sweep(key, due, now);
            }
        }
        while let Some((token, expires)) = self.reservation_ends.front().copied()
            && expires <= now.secs
        {
            self.reservation_ends.pop_front();
            if let Some(reservation) = self.reservations.remove(&token) {
                self.release(reservation.relayed);
            }
        }
    }

    /// When [`Self::handle_timeout`] must be called; doing it late only delays the return of ports and quotas.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let reservation = self.reservation_ends.front().map(|(_, expires)| *expires);
        let due = self.wheel.next_due().into_iter().chain(reservation).min()?;
        Some(self.started + Duration::from_secs(due.into()))
    }

    /// The next answer to send.
    pub fn poll_transmit(&mut self) -> Option<(ClientAddr, ArrayVec<u8, { limits::MAX_ANSWER }>)> {
        self.answers.pop_front().map(|answer| (answer.client, answer.bytes))
    }

    /// Whether [`Self::poll_transmit`] has something.
    #[must_use]
    pub fn has_transmit(&self) -> bool {
        !self.answers.is_empty()
    }

    /// What the driver of a public relay has to do next.
    pub fn poll_relay(&mut self) -> Option<RelayCommand> {
        self.commands.pop_front()
    }

    /// How many allocations there are.
    #[must_use]
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// The figures since the last call.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Says what the wall clock shows at `now`. It may be set while a server runs, and credentials end by it.
    pub fn set_unix(&mut self, unix: UnixSeconds, now: Instant) {
        self.unix = UnixSeconds(unix.0.saturating_sub(self.time(now).secs.into()));
    }

    /// Replaces the peers of hand-over mode.
    ///
    /// # Panics
    /// In public mode.
    pub fn set_peers(&mut self, peers: Vec<SocketAddr>) {
        match &mut self.peers {
            Peers::Only(only) => *only = peers,
            Peers::Public { .. } => panic!("a public relay has no list of peers"),
        }
    }

    /// Says which addresses and networks the machine of a public relay has now ([`Peers::Public`]). What clients were permitted before and may not
    /// have any more ends.
    ///
    /// # Panics
    /// In hand-over mode.
    pub fn set_own(&mut self, networks: Vec<Network>) {
        match &mut self.peers {
            Peers::Public { own, .. } if *own == networks => return,
            Peers::Public { own, .. } => *own = networks,
            Peers::Only(_) => panic!("hand-over has a list of peers"),
        }
        // Taken out, so that the rest can be asked meanwhile.
        let mut allocations = std::mem::take(&mut self.allocations);
        for (_, allocation) in &mut allocations {
            allocation
                .permissions
                .retain(|permission| self.can_permit(permission.ip));
            allocation
                .bindings
                .retain(|binding| self.can_permit(binding.peer.get().ip()));
        }
        self.allocations = allocations;
    }

    /// Whether a client may have permission for an IP address.
    fn can_permit(&self, ip: IpAddr) -> bool {
        match &self.peers {
            Peers::Only(only) => only.iter().any(|peer| peer.ip() == ip),
            Peers::Public { own, denied, allowed } => {
                !is_in(denied, ip)
                    && (is_in(allowed, ip) || self.is_relayed_ip(ip) || !(is_in(own, ip) || deny::is_denied(ip)))
            }
        }
    }

    /// Whether a client may send to a peer.
    fn can_reach(&self, peer: PeerAddr) -> bool {
        let ip = peer.get().ip();
        self.can_still_reach(peer)
            && match &self.peers {
                Peers::Only(_) => true,
                Peers::Public { .. } => peer.get().port() != 0 && self.can_permit(ip),
            }
    }

    /// Whether a client may go on sending to a peer that it could reach when it bound a channel: the list of what is denied does not change,
    /// and is too long to be read for each packet.
    fn can_still_reach(&self, peer: PeerAddr) -> bool {
        let address = peer.get();
        match &self.peers {
            Peers::Only(only) => only.contains(&address),
            // Two clients of this relay may meet; nothing else of this machine can be reached.
            Peers::Public { allowed, .. } if self.is_relayed_ip(address.ip()) => {
                let pool = self.pools[peer.family().index()].as_ref();
                pool.is_some_and(|pool| pool.ports.is_taken(address.port())) || is_in(allowed, address.ip())
            }
            Peers::Public { .. } => true,
        }
    }

    fn is_relayed_ip(&self, ip: IpAddr) -> bool {
        self.pools[Family::of(ip).index()]
            .as_ref()
            .is_some_and(|pool| pool.ip == ip)
    }

    fn time(&self, now: Instant) -> Now {
        let life = now.saturating_duration_since(self.started);
        Now {
            secs: life.as_secs().min(u32::MAX.into()) as u32,
            millis: life.as_millis() as u64,
        }
    }

    /// A number that nobody outside can foretell, but that need not withstand more than that.
    fn next_chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next_id(&mut self) -> TransactionId {
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.next_chance().to_be_bytes());
        id[8..].copy_from_slice(&(self.chance as u32).to_be_bytes());
        TransactionId(id)
    }
}

fn is_in(networks: &[Network], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(ip))
}
