//! A worker, its clients and the links between them, in virtual time and from one seed.

use std::cell::RefCell;
use std::panic::{RefUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::peer::{Peer, Profile, receiving_mid};
use crate::api::{Answer, Event, IceCredentials, NegotiateError, ParticipantStats};
use crate::clock::{self, NtpTime, WallClock};
use crate::command::Command;
use crate::counters::Count;
use crate::driver;
use crate::dtls::Certificate;
use crate::ids::{ParticipantId, RoomId, TrackId};
use crate::limits;
use crate::media::{Kind, Target};
use crate::path::Path;
use crate::random::Random;
use crate::testing::Chance;
use crate::testing::link::{Arrival, Link, LinkFigures, Quality};
use crate::testing::tunnel::{Tunnel, unwrapped};
use crate::worker::{Worker, WorkerConfig};

pub(crate) const ROOM: RoomId = RoomId(1);
/// Turns between two looks at the worker's indices, which take their time.
const TURNS_PER_CHECK: u64 = 64;
/// Wall-clock time when the stage is set.
const WALL: NtpTime = NtpTime::from_bits(0xe000_0000_0000_0000);

thread_local! {
    /// For the message of a failed run.
    static PROGRESS: RefCell<(u64, Duration)> = const { RefCell::new((0, Duration::ZERO)) };
}

/// Runs a story with one seed after the other: [`super::seed`] and [`super::times`] say which and how many.
///
/// # Panics
/// As the story does, having printed how to repeat it.
#[expect(
    clippy::print_stderr,
    reason = "how to repeat a failed run is for whoever reads the test's output"
)]
pub(crate) fn tell(own_seed: u64, own_times: u64, story: impl Fn(u64) + RefUnwindSafe) {
    let first = super::seed(own_seed);
    let own_times = if first == own_seed { own_times } else { 1 };
    for seed in first..first + super::times(own_times) {
        PROGRESS.set((seed, Duration::ZERO));
        let outcome = catch_unwind(|| story(seed));
        if let Err(cause) = outcome {
            let after = PROGRESS.with_borrow(|(_, after)| *after);
            eprintln!("failed after {after:?} of virtual time; again with HOUSECALL_SEED={seed}");
            resume_unwind(cause);
        }
    }
}

/// One client and its links.
pub(crate) struct Seat {
    pub(crate) peer: Peer,
    /// Its way through the relay, if it takes that.
    pub(crate) tunnel: Option<Tunnel>,
    pub(crate) up: Link<(Path, Vec<u8>)>,
    pub(crate) down: Link<Vec<u8>>,
}

/// See the module.
pub(crate) struct Stage {
    pub(crate) worker: Worker,
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) chance: Chance,
    pub(crate) seats: Vec<Seat>,
    /// What was told, and when.
    pub(crate) events: Vec<(Instant, Event)>,
    /// Datagrams to addresses where nobody is (any more).
    pub(crate) strays: Vec<(Instant, Path)>,
    /// Times the worker was woken by its own deadline, and what for.
    pub(crate) wake_ups: Vec<(Instant, &'static str)>,
    turns: u64,
    joined: u64,
    /// Panics of the worker end a room, as in the driver, and are counted here. Else they are the test's.
    pub(crate) caught: Option<u64>,
}

impl Stage {
    /// An empty room.
    pub(crate) fn new(seed: u64) -> Self {
        static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
        let certificate = CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate_seeded(1).expect("P-256 works")));
        let start = clock::testing::start();
        let mut chance = Chance::new(seed);
        let config = WorkerConfig {
            shard: 0,
            candidates: vec![([198, 51, 100, 1], 8_080).into()],
            tcp_candidates: Vec::new(),
            certificate: Arc::clone(certificate),
            start_kbps: 1_500,
            picture_floor: crate::media::Bitrate::from_kbps(500),
            adaptation: crate::settings::Adaptation::On,
            tag: crate::steering::Tag(*b"tags"),
            max_segments: 16,
            wall: WallClock::new(start, WALL),
        };
        let mut stage = Self {
            worker: Worker::new(config, Random::Seeded(Chance::new(chance.bits()))),
            now: start,
            start,
            chance,
            seats: Vec::new(),
            events: Vec::new(),
            strays: Vec::new(),
            wake_ups: Vec::new(),
            turns: 0,
            joined: 0,
            caught: None,
        };
        stage.create_room(ROOM);
        stage
    }

    pub(crate) fn create_room(&mut self, room: RoomId) {
        self.command(Command::CreateRoom {
            room,
            max_participants: 50,
        });
    }

    pub(crate) fn command(&mut self, command: Command) {
        let now = self.now;
        self.guard(|worker| worker.handle_command(command, now));
        self.settle();
    }

    /// Does it as the driver does: a panic ends a room, and the rest goes on. False if that happened.
    fn guard(&mut self, work: impl FnOnce(&mut Worker)) -> bool {
        let Some(caught) = &mut self.caught else {
            work(&mut self.worker);
            return true;
        };
        let is_well = driver::guard(&mut self.worker, work);
        *caught += u64::from(!is_well);
        is_well
    }

    /// The wall clock of the server's reports.
    pub(crate) fn wall(&self, at: Instant) -> NtpTime {
        WALL + at.duration_since(self.start)
    }

    /// An address that nobody has had.
    pub(crate) fn fresh_path(&mut self) -> Path {
        self.joined += 1;
        let [.., high, low] = self.joined.to_be_bytes();
        Path::udp(
            ([192, 0, 2, 1 + high], 10_000 + u16::from(low)).into(),
            Some([198, 51, 100, 1].into()),
        )
    }

    /// Somebody comes; the handshake begins with the next turn. Its place among the seats.
    pub(crate) fn join(&mut self, room: RoomId, profile: &Profile, quality: Quality) -> usize {
        let path = self.fresh_path();
        let id = ParticipantId(self.joined);
        let seeds = [self.chance.bits(), self.chance.bits(), self.chance.bits()];
        let peer = Peer::new(id, room, path, profile, seeds[0], self.now);
        self.seats.push(Seat {
            peer,
            tunnel: None,
            up: Link::new(quality, seeds[1]),
            down: Link::new(quality, seeds[2]),
        });
        let seat = self.seats.len() - 1;
        self.negotiate(seat).expect("a good offer");
        seat
    }

    /// Offers the peer's lines as they are now.
    pub(crate) fn negotiate(&mut self, seat: usize) -> Result<Answer, NegotiateError> {
        let peer = &self.seats[seat].peer;
        let (reply, mut answer) = oneshot::channel();
        let command = Command::Negotiate {
            room: peer.room,
            participant: peer.id,
            offer: peer.offer(),
            reply,
        };
        self.command(command);
        let answer = answer.try_recv().expect("a command is answered at once");
        if let Ok(answer) = &answer {
            self.seats[seat].peer.handle_answer(answer, self.now);
        }
        answer
    }

    /// An ICE restart by command.
    pub(crate) fn restart_ice(&mut self, seat: usize) {
        let peer = &mut self.seats[seat].peer;
        let remote = peer.renew_credentials();
        let (reply, mut answer) = oneshot::channel::<Result<IceCredentials, _>>();
        let command = Command::RestartIce {
            room: peer.room,
            participant: peer.id,
            remote,
            reply,
        };
        self.command(command);
        let server = answer
            .try_recv()
            .expect("a command is answered at once")
            .expect("a member");
        self.seats[seat].peer.handle_server_credentials(server, self.now);
    }

    /// Points one line of a seat at a track, or at nothing.
    pub(crate) fn point(&mut self, seat: usize, pair: usize, kind: Kind, source: Option<TrackId>) {
        let peer = &self.seats[seat].peer;
        self.command(Command::SetSource {
            room: peer.room,
            participant: peer.id,
            mid: receiving_mid(pair, kind),
            source,
        });
    }

    /// Points one pair of lines of a seat at both tracks of another.
    pub(crate) fn watch(&mut self, seat: usize, pair: usize, other: usize) {
        for kind in [Kind::Audio, Kind::Video] {
            let source = self.seats[other].peer.track(kind);
            self.point(seat, pair, kind, source);
        }
    }

    pub(crate) fn target(&mut self, seat: usize, target: Target) {
        let peer = &self.seats[seat].peer;
        self.command(Command::SetTarget {
            room: peer.room,
            participant: peer.id,
            mid: receiving_mid(0, Kind::Video),
            target,
        });
    }

    pub(crate) fn remove(&mut self, seat: usize) {
        let peer = &self.seats[seat].peer;
        self.command(Command::RemoveParticipant {
            room: peer.room,
            participant: peer.id,
        });
    }

    pub(crate) fn stats(&mut self, seat: usize) -> Option<ParticipantStats> {
        let peer = &self.seats[seat].peer;
        let (reply, mut answer) = oneshot::channel();
        let command = Command::Stats {
            room: peer.room,
            participant: peer.id,
            reply,
        };
        self.command(command);
        answer.try_recv().expect("a command is answered at once")
    }

    pub(crate) fn count(&self, count: Count) -> u64 {
        self.worker.shared.counters.get(count)
    }

    pub(crate) fn set_quality(&mut self, seat: usize, quality: Quality) {
        self.seats[seat].up.set_quality(quality);
        self.seats[seat].down.set_quality(quality);
    }

    /// What the links of a seat did: up, down.
    pub(crate) fn links(&self, seat: usize) -> [LinkFigures; 2] {
        [self.seats[seat].up.figures(), self.seats[seat].down.figures()]
    }

    /// Lets time pass until all have keys.
    pub(crate) fn connect_all(&mut self) {
        let end = self.now + limits::CONNECT_TIMEOUT;
        let waits = |stage: &Self| {
            stage
                .seats
                .iter()
                .any(|seat| !seat.peer.is_gone && !seat.peer.puppet.has_keys())
        };
        while waits(self) && self.now < end {
            self.run(Duration::from_millis(10));
        }
        assert!(!waits(self), "all connect within the time there is");
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.worker.poll_timeout();
            let clients = self.seats.iter().flat_map(|seat| {
                let links = [
                    seat.up.poll_timeout(),
                    seat.down.poll_timeout(),
                    seat.peer.poll_timeout(),
                ];
                links.into_iter().flatten()
            });
            let next = clients.chain(due.map(|(at, _)| at)).min();
            let Some(at) = next.filter(|at| *at <= end) else {
                self.now = end;
                break;
            };
            self.now = self.now.max(at);
            if let Some((at, what)) = due.filter(|(at, _)| *at <= self.now) {
                self.wake_ups.push((at, what));
            }
            self.turn();
        }
        PROGRESS.with_borrow_mut(|progress| progress.1 = self.now - self.start);
    }

    /// One turn of the driver: what has arrived, what is due, what is to be sent.
    fn turn(&mut self) {
        let now = self.now;
        for place in 0..self.seats.len() {
            let seat = &mut self.seats[place];
            while let Some(arrival) = seat.down.receive(now) {
                let Some(content) = unwrapped(seat.tunnel.as_ref(), arrival.content) else {
                    continue;
                };
                let arrival = Arrival { content, ..arrival };
                seat.peer.handle_datagram(arrival, now);
            }
            if seat.peer.poll_timeout().is_some_and(|due| due <= now) {
                seat.peer.handle_timeout(now);
            }
            for datagram in seat.peer.out.drain(..) {
                let datagram = match &seat.tunnel {
                    Some(tunnel) => tunnel.wrap(&datagram),
                    None => datagram,
                };
                seat.up.send((seat.peer.path, datagram), now);
            }
            while let Some(arrival) = self.seats[place].up.receive(now) {
                let (path, mut datagram) = arrival.content;
                self.guard(|worker| worker.handle_datagram(path, &mut datagram, now));
            }
        }
        self.settle();
    }

    /// What the driver does after whatever it was woken for.
    pub(crate) fn settle(&mut self) {
        let now = self.now;
        // Deadlines behind one that broke its room are due as well.
        while !self.guard(|worker| worker.handle_timeout(now)) {}
        while let Some(transmit) = self.worker.poll_transmit(now) {
            let path = transmit.path;
            let seat = self
                .seats
                .iter_mut()
                .find(|seat| seat.peer.path == path && !seat.peer.is_gone);
            match seat {
                Some(seat) => {
                    for datagram in transmit.contents.chunks(transmit.segment) {
                        seat.down.send_sized(datagram.to_vec(), datagram.len(), now);
                    }
                }
                None => self.strays.push((now, path)),
            }
        }
        assert!(!self.worker.has_output(), "all was sent");
        if let Some((at, what)) = self.worker.poll_timeout() {
            assert!(at > now, "woken again for {what}");
        }
        self.turns += 1;
        if self.caught.is_none() && self.turns.is_multiple_of(TURNS_PER_CHECK) {
            self.worker.check();
        }
        while let Some(event) = self.worker.poll_event() {
            self.events.push((now, event));
        }
    }

    /// How often something was told since a moment.
    pub(crate) fn told(&self, since: Instant, is: impl Fn(&Event) -> bool) -> usize {
        self.events
            .iter()
            .filter(|(at, event)| *at >= since && is(event))
            .count()
    }
}
