//! Threads of shards, with their sockets and their clock: each feeds a [`Worker`] and sends what it says. (The general relay has a thread of its own kind.)
//!
//! One turn of a shard's thread: wait for the socket, a command or a deadline · read the clock once · received datagrams · due deadlines ·
//! send · in a flood, requests · commands · a step of a handshake · tell events. Each step has a budget, so that none starves the others, and media goes first:
//! however many people join, forwarding waits for two offers and one step of a handshake at most.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the driver: its threads, waits and sockets"
)]

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use housecall_turn::limits::MAX_STREAM_MESSAGE;
use housecall_turn::{Bindings, Config, Peers, Quotas, RelayAddresses, Secret, Server, UnixSeconds};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use socket2::Socket;
use tokio::sync::mpsc;

use crate::api::{Event, NegotiateError, RelayAccess};
use crate::batch::Cargo;
use crate::clock::{NtpTime, WallClock};
use crate::command::Command;
use crate::counters::{Count, Metrics};
use crate::dtls::Certificate;
use crate::flood::Flood;
use crate::handle::Sfu;
use crate::ice;
use crate::ids::RelayUserId;
use crate::limits;
use crate::load::{self, Intake, LoadMeter, Lull, TurnTimes};
use crate::outbox::{Outbox, Sent, Sink};
use crate::path::{Path, StreamKind};
use crate::random::Random;
use crate::relay::{self, Relay};
use crate::settings::{self, Settings};
use crate::socket::MediaSocket;
use crate::steering::{Lane, Rule};
use crate::streams::{self, Arrival, Opener, StreamEnd, StreamEvent, Streams};
use crate::worker::{Worker, WorkerConfig};

/// Commands handled in one turn.
const COMMANDS_PER_TURN: usize = 64;
/// Receive calls in one turn; each brings up to eight coalesced buffers.
const RECEIVES_PER_TURN: usize = 4;

/// Send calls in one turn, about 0.3 ms. What is left is sent after the next look at what has arrived, for audio goes before it.
const TRANSMITS_PER_TURN: usize = 128;

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
    /// The process-wide DTLS certificate could not be made.
    #[error("making the DTLS certificate failed: {0}")]
    Certificate(String),
    /// The kernel gave no thread or no event descriptor.
    #[error("starting a media thread failed")]
    Thread(#[source] std::io::Error),
    /// A settings value that cannot work.
    #[error("{0}")]
    Settings(&'static str),
}

/// A running media core. It stops when the last clone of its [`Sfu`] is dropped.
pub struct Running {
    /// The handle for everything above.
    pub sfu: Sfu,
    /// Events, in order per room.
    pub events: mpsc::Receiver<Event>,
    /// The UDP addresses really bound, one per shard.
    pub addresses: Vec<SocketAddr>,
    /// Figures for Prometheus.
    pub metrics: Arc<Metrics>,
}

/// Starts the shards' threads.
///
/// # Errors
/// [`StartError`] when a socket, a thread or the certificate cannot be had, or `settings` cannot work.
pub fn start(settings: &Settings) -> Result<Running, StartError> {
    start_on(settings, Vec::new())
}

/// As [`start`], on sockets that were bound before, e.g. by a service manager: one for each shard, in their order. With none, each shard binds
/// its own.
///
/// # Errors
/// As [`start`], and [`StartError::Settings`] for another number of sockets.
pub fn start_on(settings: &Settings, sockets: Vec<Socket>) -> Result<Running, StartError> {
    if !sockets.is_empty() && sockets.len() != settings.shards {
        return Err(StartError::Settings(
            "there must be one socket for each of media.shards",
        ));
    }
    let mut sockets = sockets.into_iter();
    if settings.shards == 0 || settings.shards > limits::MAX_SHARDS {
        return Err(StartError::Settings("media.shards must be between 1 and 64"));
    }
    let certificate = Arc::new(Certificate::generate().map_err(|error| StartError::Certificate(error.to_string()))?);
    let metrics = Arc::new(Metrics::new());
    let secret = match settings.relay {
        settings::Relay::Off => None,
        settings::Relay::HandOver | settings::Relay::HandOverUdp => Some(Secret::new(&random_bytes())),
    };
    let (event_sender, events) = mpsc::channel(limits::EVENT_QUEUE);
    let mut shards = Vec::with_capacity(settings.shards);
    let mut addresses = Vec::with_capacity(settings.shards);
    for index in 0..settings.shards {
        let address = shard_address(settings.listen, index);
        let socket = match sockets.next() {
            Some(socket) => MediaSocket::of(socket),
            None => MediaSocket::bind(address),
        };
        let socket = socket.map_err(|source| StartError::Bind { address, source })?;
        let local = socket.local();
        addresses.push(local);
        let wall = clock();
        let candidates = candidates(&settings.public_addresses, local);
        let mut relay_urls = Vec::new();
        if let settings::Streams::Accepted { relay_urls: urls } = &settings.streams {
            relay_urls.extend(relay::stream_urls(index, &candidates, urls));
        }
        if settings.relay == settings::Relay::HandOverUdp {
            relay_urls.extend(relay::udp_urls(&candidates));
        }
        let tcp_candidates = match settings.streams {
            settings::Streams::None => Vec::new(),
            settings::Streams::Accepted { .. } => relay::one_of_each_family(&candidates),
        };
        let relay = secret.as_ref().map(|secret| relay(secret, &candidates));
        let rule = Rule {
            tag: ice::generate_tag(&mut Random::System),
            sends: match settings.relay {
                settings::Relay::HandOverUdp => Lane::Media,
                // Nobody was told of TURN over UDP.
                settings::Relay::HandOver | settings::Relay::Off => Lane::Requests,
            },
        };
        let config = WorkerConfig {
            shard: index as u16,
            candidates,
            tcp_candidates,
            certificate: Arc::clone(&certificate),
            start_kbps: settings.start_kbps,
            picture_floor: settings.picture_floor,
            adaptation: settings.adaptation,
            tag: rule.tag,
            max_segments: socket.max_segments(),
            wall,
        };
        let (commands, inbox) = sync_channel(limits::COMMAND_QUEUE);
        let wake = Arc::new(
            eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
                .map_err(|errno| StartError::Thread(errno.into()))?,
        );
        let queued = Arc::new(AtomicUsize::new(0));
        let permille = Arc::new(AtomicU16::new(0));
        let mut worker = Worker::new(config, Random::System);
        if let Some(relay) = relay {
            worker.set_relay(relay);
        }
        let (opener, streams) =
            streams::pair(Arc::clone(&wake), MAX_STREAM_MESSAGE, now).map_err(StartError::Thread)?;
        let shard = Shard {
            queued: Arc::clone(&queued),
            worker,
            outlet: Outlet { socket, streams },
            wake: Arc::clone(&wake),
            inbox,
            events: event_sender.clone(),
            backlog: VecDeque::new(),
            outbox: Outbox::default(),
            intake: Intake::default(),
            lull: Lull::default(),
            flood: Flood::new(now()),
            rule,
            requests: 0,
            paused: Pause::None,
            received: 0,
            sent: 0,
            more: false,
            forwarded: None,
            permille: Arc::clone(&permille),
            metrics: Arc::clone(&metrics),
        };
        let thread = std::thread::Builder::new()
            .name(format!("media-{index}"))
            .spawn(move || shard.run())
            .map_err(StartError::Thread)?;
        shards.push(ShardHandle {
            commands: Some(commands),
            queued,
            permille,
            wake,
            thread,
            metrics: Arc::clone(&metrics),
            relay: secret.clone().map(|secret| (secret, relay_urls)),
            opener,
        });
    }
    Ok(Running {
        sfu: Sfu::new(Arc::from(shards)),
        events,
        addresses,
        metrics,
    })
}

/// Further shards take the ports after the first one's; port 0 stays 0.
fn shard_address(listen: SocketAddr, index: usize) -> SocketAddr {
    let port = match listen.port() {
        0 => 0,
        port => port.saturating_add(index as u16),
    };
    SocketAddr::new(listen.ip(), port)
}

/// Host candidates in order of preference. Loopback comes last: it serves a demo on one machine.
pub(crate) fn candidates(public: &[IpAddr], local: SocketAddr) -> Vec<SocketAddr> {
    let mut addresses: Vec<IpAddr> = if !public.is_empty() {
        public.to_vec()
    } else if local.ip().is_unspecified() {
        let both = local.is_ipv6();
        let mut found: Vec<IpAddr> = if_addrs::get_if_addrs()
            .unwrap_or_default()
            .into_iter()
            .map(|interface| interface.ip())
            .filter(|ip| both || ip.is_ipv4())
            .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
            .collect();
        found.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
        found
    } else {
        vec![local.ip()]
    };
    addresses.dedup();
    addresses.truncate(limits::MAX_CANDIDATES);
    addresses
        .into_iter()
        .map(|ip| SocketAddr::new(ip, local.port()))
        .collect()
}

/// The relay of a shard: its virtual addresses are those of the candidates, which are also all that it reaches.
fn relay(secret: &Secret, candidates: &[SocketAddr]) -> Relay {
    let v4 = candidates.iter().find_map(|candidate| match candidate.ip() {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    });
    let v6 = candidates.iter().find_map(|candidate| match candidate.ip() {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => Some(v6),
    });
    Relay::new(Server::new(Config {
        secret: secret.clone(),
        key: random_bytes(),
        relay: RelayAddresses {
            v4,
            v6,
            // Dynamic ports (RFC 8656 §7.2). Nothing is bound to them.
            ports: 49_152..=65_535,
        },
        peers: Peers::Only(candidates.to_vec()),
        quotas: Quotas {
            per_user: limits::RELAY_ALLOCATIONS_PER_USER,
            per_prefix: limits::RELAY_ALLOCATIONS_PER_PREFIX,
            total: limits::RELAY_ALLOCATIONS,
            bytes_per_second: limits::RELAY_BYTES_PER_SECOND,
        },
        bindings: Bindings::Ignore,
        started: now(),
        unix: unix_now(),
    }))
}

pub(crate) fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    Random::System.fill(&mut bytes);
    bytes
}

pub(crate) fn unix_now() -> UnixSeconds {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixSeconds(unix.unwrap_or_default().as_secs())
}

fn now() -> Instant {
    Instant::now()
}

fn clock() -> WallClock {
    let now = Instant::now();
    let unix = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    WallClock::new(now, NtpTime::from_unix(unix))
}

/// The way into a shard's thread.
pub(crate) struct ShardHandle {
    /// `None` only while being dropped.
    commands: Option<SyncSender<Command>>,
    /// Commands in the queue, give or take those being moved.
    queued: Arc<AtomicUsize>,
    permille: Arc<AtomicU16>,
    wake: Arc<OwnedFd>,
    thread: JoinHandle<()>,
    metrics: Arc<Metrics>,
    /// What relay credentials are made of, and the relay's addresses.
    relay: Option<(Secret, Vec<String>)>,
    opener: Opener,
}

impl ShardHandle {
    /// Queues a command that somebody waits for, or says that the shard is too busy. Such commands get half of the queue, so
    /// that there is room for those that must not be lost.
    pub(crate) fn send(&self, command: Command) -> Result<(), NegotiateError> {
        if self.queued.load(Ordering::Relaxed) >= limits::COMMAND_QUEUE / 2 {
            self.metrics.add(Count::CommandsRefused, 1);
            return Err(NegotiateError::Busy);
        }
        self.queue(command)
    }

    /// Queues a command that takes something away from somebody, or points a slot: **it is never lost while the shard runs**.
    /// With a queue that is full all the same it blocks until the shard has taken a turn, which is milliseconds.
    pub(crate) fn send_always(&self, command: Command) {
        if self.queue(command).is_err() {
            tracing::error!("a media thread has ended; its rooms are gone");
        }
    }

    /// Credentials for the relay, good from now on, if participants are told of it.
    pub(crate) fn relay_access(&self, user: RelayUserId) -> Option<RelayAccess> {
        let (secret, urls) = self.relay.as_ref()?;
        if urls.is_empty() {
            return None;
        }
        let expires = UnixSeconds(unix_now().0 + limits::RELAY_CREDENTIALS_LIFE.as_secs());
        let credentials = secret.mint(&user.to_string(), expires);
        Some(RelayAccess {
            urls: urls.clone(),
            username: credentials.username,
            password: credentials.password,
        })
    }

    /// Hands a connection to the shard.
    pub(crate) fn open_stream(&self, arrival: Arrival) -> Option<StreamEnd> {
        self.opener.open(arrival)
    }

    /// Whether the shard's thread is still there. It ends by itself only if its driver panicked outside of a room.
    pub(crate) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// The share of its time the shard works, in thousandths, over the last second.
    pub(crate) fn permille(&self) -> u16 {
        self.permille.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn pretend_busy(&self, permille: u16) {
        self.permille.store(permille, Ordering::Relaxed);
    }

    fn queue(&self, command: Command) -> Result<(), NegotiateError> {
        let Some(commands) = &self.commands else {
            return Err(NegotiateError::Busy);
        };
        self.queued.fetch_add(1, Ordering::Relaxed);
        let sent = match commands.try_send(command) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(command)) => {
                self.metrics.add(Count::CommandsDelayed, 1);
                commands.send(command).map_err(|_| NegotiateError::Busy)
            }
            Err(TrySendError::Disconnected(_)) => Err(NegotiateError::Busy),
        };
        wake(&self.wake);
        sent
    }
}

impl Drop for ShardHandle {
    fn drop(&mut self) {
        self.commands = None;
        wake(&self.wake);
    }
}

pub(crate) fn wake(fd: &OwnedFd) {
    // Fails only if the counter is at its maximum, and then the thread is being woken anyway.
    let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

/// Lets the worker do something. A broken invariant is a panic, and ends one room, not the server. False if that happened.
#[inline]
pub(crate) fn guard(worker: &mut Worker, work: impl FnOnce(&mut Worker)) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| work(worker)));
    if outcome.is_err() {
        end_room(worker);
    }
    outcome.is_ok()
}

/// Ends the room in which a panic struck. The panic hook has printed where.
#[cold]
fn end_room(worker: &mut Worker) {
    tracing::error!("a broken invariant ended a room");
    // What is left of that room may be broken too; then the worker forgets it where it lies.
    let _ = catch_unwind(AssertUnwindSafe(|| worker.fail_current_room()));
}

/// Where a shard's datagrams leave.
struct Outlet {
    socket: MediaSocket,
    streams: Streams,
}

impl Sink for Outlet {
    fn send(&mut self, path: Path, contents: &[u8], segment: usize, cargo: Cargo) -> Sent {
        match path.is_stream() {
            None => self.socket.send(path, contents, segment, cargo),
            Some((id, _)) => self.streams.send(id, contents, segment, cargo),
        }
    }
}

/// One shard's thread.
struct Shard {
    worker: Worker,
    outlet: Outlet,
    wake: Arc<OwnedFd>,
    inbox: Receiver<Command>,
    queued: Arc<AtomicUsize>,
    events: mpsc::Sender<Event>,
    /// Events that found the queue full; told as soon as there is room again.
    backlog: VecDeque<Event>,
    outbox: Outbox,
    intake: Intake,
    lull: Lull,
    flood: Flood,
    rule: Rule,
    /// What strangers may send too, received in the last turn.
    requests: usize,
    /// What the present turn began with.
    paused: Pause,
    /// Datagrams received in the last turn.
    received: usize,
    /// Runs sent in it.
    sent: usize,
    /// Whether more of them were left in the socket.
    more: bool,
    /// When this turn was done with media, if something else follows.
    forwarded: Option<Instant>,
    /// How busy it is, for whoever places rooms.
    permille: Arc<AtomicU16>,
    metrics: Arc<Metrics>,
}

impl Shard {
    fn run(mut self) {
        let mut ended = now();
        let mut published = ended;
        let mut meter = LoadMeter::new(ended);
        loop {
            let woken = self.wait(ended);
            let began = now();
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(woken, began)));
            match turn {
                Ok(Turn::Go) => {}
                Ok(Turn::Stop) => return,
                Err(_) => {
                    end_room(&mut self.worker);
                    // Commands behind the one that broke may be waiting, and what woke us for them was read.
                    wake(&self.wake);
                }
            }
            self.tell();
            ended = now();
            let turn = TurnTimes {
                began,
                forwarded: self.forwarded.take().unwrap_or(ended),
                ended,
            };
            if self.paused == Pause::InLull {
                self.lull.note(self.received);
            }
            if let Some(load) = meter.note_turn(turn, self.received as u64) {
                self.worker.handle_load(load);
                let average = load::average(self.permille.load(Ordering::Relaxed), load.permille);
                self.permille.store(average, Ordering::Relaxed);
                self.intake = self.intake.after(load);
            }
            if ended.saturating_duration_since(published) >= limits::METRICS_INTERVAL {
                published = ended;
                self.sweep_streams(ended);
                self.metrics.publish(self.worker.take_counters());
            }
        }
    }

    /// Whether to sleep for [`limits::INTAKE_PAUSE`] before the next look at the socket.
    fn pause(&mut self) -> Pause {
        // Never while it is behind: the socket's buffer would overflow.
        if self.received == 0 || self.more || self.outbox.is_blocked() {
            return Pause::None;
        }
        // Where packets come one after the other, whoever waits a little finds several, and need not ask whether there are any.
        if self.intake == Intake::InGroups {
            return Pause::BetweenMany;
        }
        // Nobody waited for what came: it was feedback, or parts of frames that are forwarded whole. What a pause brought is followed by a
        // real look.
        if self.sent == 0 && self.paused == Pause::None && self.lull.take() {
            Pause::InLull
        } else {
            Pause::None
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self, now: Instant) -> Woken {
        self.paused = self.pause();
        let timeout = if self.more || self.worker.has_output() || self.outlet.streams.is_behind() {
            Duration::ZERO
        } else {
            let deadline = self.worker.poll_timeout().map(|(at, _)| at);
            let deadline = deadline.map(|at| at.saturating_duration_since(now));
            let retell = (!self.backlog.is_empty()).then_some(limits::RETELL);
            let look = self.flood.poll_look().map(|at| at.saturating_duration_since(now));
            let all = deadline.into_iter().chain(retell).chain(look);
            all.fold(limits::METRICS_INTERVAL, Duration::min)
        };
        let pauses = self.paused != Pause::None;
        let timeout = if pauses {
            timeout.min(limits::INTAKE_PAUSE)
        } else {
            timeout
        };
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut events = PollFlags::IN;
        if self.outbox.is_blocked() {
            events |= PollFlags::OUT;
        }
        let mut fds = [
            PollFd::new(&*self.wake, PollFlags::IN),
            PollFd::new(&self.outlet.socket, events),
            PollFd::new(&self.outlet.streams, PollFlags::IN),
        ];
        let looked_at = if pauses {
            1
        } else if self.outlet.streams.is_empty() {
            2
        } else {
            3
        };
        match poll(&mut fds[..looked_at], Some(&timeout)) {
            Ok(_) => Woken {
                command: !fds[0].revents().is_empty(),
                socket: pauses || !fds[1].revents().is_empty(),
                streams: pauses || !fds[2].revents().is_empty() || self.outlet.streams.is_behind(),
            },
            // Interrupted: look at everything.
            Err(_) => Woken {
                socket: true,
                streams: true,
                command: true,
            },
        }
    }

    fn turn(&mut self, woken: Woken, mut now: Instant) -> Turn {
        (self.received, self.sent, self.requests, self.more) = (0, 0, 0, false);
        self.outlet.streams.begin(now);
        if woken.socket {
            now = self.receive(now);
        }
        if woken.command {
            let mut counter = [0; 8];
            // Non-blocking; an empty counter is no error worth telling.
            let _ = rustix::io::read(&*self.wake, &mut counter);
            now = self.handle_streams(now);
        }
        if woken.streams || self.outlet.streams.is_behind() {
            self.outlet.streams.look();
            now = self.handle_streams(now);
        }
        self.worker.handle_timeout(now);
        self.flush(now);
        let looks = self.flood.poll_look().is_some_and(|at| at <= now);
        if looks || woken.command || self.worker.has_handshakes() {
            self.forwarded = Some(self::now());
        }
        if looks {
            now = self.receive_requests();
        }
        if let Some(change) = self.flood.note(self.requests, now) {
            self.part_or_join(change, now);
        }
        if woken.command && self.handle_commands(now) == Turn::Stop {
            return Turn::Stop;
        }
        if self.worker.handle_handshake(now) || woken.command || looks {
            self.flush(now);
        }
        Turn::Go
    }

    fn handle_commands(&mut self, now: Instant) -> Turn {
        let mut offers = 0;
        for _ in 0..COMMANDS_PER_TURN {
            match self.inbox.try_recv() {
                Ok(command) => {
                    self.queued.fetch_sub(1, Ordering::Relaxed);
                    offers += usize::from(matches!(command, Command::Negotiate { .. }));
                    self.worker.handle_command(command, now);
                    if offers == limits::OFFERS_PER_TURN {
                        break;
                    }
                }
                Err(TryRecvError::Empty) => return Turn::Go,
                Err(TryRecvError::Disconnected) => return Turn::Stop,
            }
        }
        // More may be waiting: come back at once.
        wake(&self.wake);
        Turn::Go
    }

    /// Takes what connections have brought. The time at which the last of it had come.
    fn handle_streams(&mut self, mut now: Instant) -> Instant {
        while let Some(event) = self.outlet.streams.poll() {
            match event {
                StreamEvent::Opened(path) => {
                    if !self.worker.open_stream(path) {
                        self.outlet.streams.close(path);
                    }
                }
                StreamEvent::Messages(path, kind, mut messages) => {
                    // As for datagrams: it may have come since the turn began.
                    now = self::now();
                    self.handle_messages(path, kind, messages.bytes(), now);
                    if self.worker.uses_stream(path) {
                        self.outlet.streams.trust(path);
                    }
                    self.outlet.streams.give_back(messages);
                }
                StreamEvent::Closed(path) => {
                    guard(&mut self.worker, |worker| worker.close_stream(path, now));
                }
            }
        }
        now
    }

    fn handle_messages(&mut self, path: Path, kind: StreamKind, mut bytes: &mut [u8], now: Instant) {
        // There are whole messages only.
        while let Ok(Some(found)) = streams::frame(kind, bytes, MAX_STREAM_MESSAGE) {
            let (message, rest) = bytes.split_at_mut(found.len);
            if let Some(message) = message.get_mut(found.message)
                && !message.is_empty()
            {
                guard(&mut self.worker, |worker| worker.handle_datagram(path, message, now));
                self.received += 1;
            }
            bytes = rest;
        }
    }

    /// Closes connections that are of no use to anybody.
    fn sweep_streams(&mut self, now: Instant) {
        for path in self.outlet.streams.due(now) {
            if !self.worker.uses_stream(path) {
                self.outlet.streams.end(path);
                self.worker.count(Count::StreamsUnused, 1);
            }
        }
    }

    fn flush(&mut self, began: Instant) {
        self.sent += self
            .outbox
            .flush(&mut self.worker, &mut self.outlet, began, TRANSMITS_PER_TURN);
        let worker = &mut self.worker;
        self.outlet
            .streams
            .flush(|id, since| worker.handle_stream_queue(id, since));
        let lost = self.outlet.streams.take_lost();
        if lost > 0 {
            self.worker.count(Count::StreamQueueFull, lost);
        }
        let samples = self.worker.take_samples();
        if !samples.is_empty() {
            let ended = now();
            for (kind, arrival) in samples {
                self.metrics
                    .note_forwarded(kind, ended.saturating_duration_since(arrival));
            }
        }
    }

    fn tell(&mut self) {
        while let Some(event) = self.worker.poll_event() {
            if self.backlog.len() == limits::EVENT_BACKLOG {
                self.worker.count(Count::EventsLost, 1);
                tracing::error!("nobody takes the media core's events; one was lost");
                continue;
            }
            self.backlog.push_back(event);
        }
        while let Some(event) = self.backlog.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
    }
}

/// What the thread does before it looks at its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// It asks whether there is something.
    None,
    /// It has slept: many packets come one after the other.
    BetweenMany,
    /// It has slept: what came before was of no use to anybody yet.
    InLull,
}

/// Why the thread is awake.
#[derive(Clone, Copy)]
struct Woken {
    socket: bool,
    streams: bool,
    command: bool,
}

/// Whether the thread goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Go,
    Stop,
}

mod receive;
#[cfg(test)]
mod tests;
