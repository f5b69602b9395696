//! `housecall probe`: goes into a test room from outside, as two headless clients of which one hears the other, and says how media got there.
//!
//! Signalling is WHIP and WHEP (RFC 9725). ICE, DTLS, SRTP and TURN are those of the `webrtc` crate, which shares no code with the server. Nothing
//! of it is used by the server itself.

mod carrier;
mod http;
mod link;
mod measure;
mod peer;
mod report;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use housecall_sfu::PathKind;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use carrier::{Carrier, Far, Known};
use http::{Session, Web};
use link::{Candidates, Link};
use peer::{Part, Peer, Progress, Shared};
use report::{Outcome, Times};

/// How often as long as on any sensible machine things may take: more than once only where the machine itself is slow.
#[derive(Clone, Copy, Debug)]
struct Patience(u32);

impl Patience {
    /// ICE and DTLS together: a patient would have given up.
    fn connect(self) -> Duration {
        Duration::from_secs(8) * self.0
    }

    /// Packets on their way, and the server's last report.
    fn drain(self) -> Duration {
        Duration::from_secs(6) * self.0
    }

    /// The server's first report, of which there is one a second.
    fn report(self) -> Duration {
        Duration::from_secs(3) * self.0
    }

    /// A step on the way to the web server or the relay: longer than any patient waits for it.
    fn step(self) -> Duration {
        Duration::from_secs(10) * self.0
    }

    /// A connection to the media server, or an allocation.
    fn way(self) -> Duration {
        Duration::from_secs(5) * self.0
    }

    /// What needs no network.
    fn at_once(self) -> Duration {
        Duration::from_secs(5) * self.0
    }
}

/// What browsers end up with, best first. TURN over UDP is not among it: they are not told of it.
const AUTO: [PathKind; 4] = [PathKind::Udp, PathKind::Tcp, PathKind::TurnTls, PathKind::TurnTcp];

/// What a probe is asked for. Holds a secret: no `Debug`.
pub struct Order {
    /// The link to the test room.
    pub url: String,
    /// The way to take; `None`: the first that works.
    pub path: Option<PathKind>,
    /// For how long sound is sent.
    pub time: Duration,
    /// Percent of packets that may be lost in either direction.
    pub max_loss: f64,
    /// Milliseconds that a packet may take to the server and back, in the median.
    pub max_rtt_ms: f64,
    /// A PEM file with the authority to believe.
    pub authority: Option<PathBuf>,
    /// One line of JSON in place of a table.
    pub json: bool,
    /// Where to write metrics.
    pub prometheus: Option<PathBuf>,
    /// How often as long as usual everything may take.
    pub patience: u32,
}

/// Why there is no media. Each says what to do, and none the link.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(
        "this is no link of a test room; make one with `housecall ops probe-link` on the server, and give it whole and in quotes"
    )]
    NoLink,
    #[error(
        "this link is for people, and a probe would disturb them; make one for probes with `housecall ops probe-link` on the server"
    )]
    OtherLink,
    #[error("the authority's certificate in {} cannot be read; give a PEM file to --ca", .0.display())]
    Authority(PathBuf),
    #[error("{0} has no address; see that the name is right and that the DNS has a record for it")]
    NoName(String),
    #[error(
        "nothing answers at TCP {place} ({why}); see that the server runs and that the firewalls on the way let this port through"
    )]
    Unreachable { place: String, why: String },
    #[error(
        "there is no TLS with {place} ({why}); run `housecall doctor` on the server, or name the authority of its certificate with --ca"
    )]
    Tls { place: String, why: String },
    #[error(
        "the web server took the connection and gave no answer; look at the server's log, or for a proxy in front that is broken"
    )]
    NoAnswer,
    #[error(
        "what answers there is no Housecall of this version; see that the link leads to the right server, and that both are up to date"
    )]
    NoHousecall,
    #[error(
        "the server does not take this link, which has ended or was taken back; make another with `housecall ops probe-link` on the server"
    )]
    LinkRefused,
    #[error(
        "what the first client sent was gone when the second asked for it; probe again, and look at the server's log if this stays"
    )]
    PublisherGone,
    #[error("the server is full or asks for a pause; probe less often, and look at the server's log if this stays")]
    Busy,
    #[error("the server answered {0}; look at its log")]
    Answered(u16),
    #[error("the server offers no way by {}; see `turn.relay`, `[tls]` and `public_addresses` in its configuration", .0.as_str())]
    NotOffered(PathKind),
    #[error("nothing answers at {place} for {}; open this port in the firewalls on the way", path.as_str())]
    Closed { path: PathKind, place: String },
    #[error("the relay refused {} ({why}); look at the server's log, and at `turn` in its configuration", path.as_str())]
    Relay { path: PathKind, why: String },
    #[error(
        "no media connection by {} within {} s ({stage}); open {} in the firewalls on the way, and run `housecall doctor` on the server",
        path.as_str(), time.as_secs(), opening(*path)
    )]
    NoConnection {
        path: PathKind,
        time: Duration,
        stage: &'static str,
    },
    #[error("no way to the media server works, neither udp, tcp, turn_tls nor turn_tcp; of the first: {0}")]
    NoWay(Box<Trouble>),
    #[error("the media connection by {} stands, but no sound came back; look at the server's log", .0.as_str())]
    Silent(PathKind),
    #[error("this is a bug, please report it: {0}")]
    Bug(String),
}

/// What a firewall must let through.
fn opening(path: PathKind) -> &'static str {
    match path {
        PathKind::Udp | PathKind::TurnUdp => "the server's UDP port",
        PathKind::Tcp | PathKind::TurnTcp | PathKind::TurnTls => "the server's TCP port",
    }
}

/// Probes, and prints what came of it. 0: all is well; 1: worse than ordered; 2: it does not work.
///
/// # Errors
/// If it cannot be printed, or the metrics cannot be written.
pub async fn probe(order: &Order, out: &mut impl Write, progress: &mut impl Write) -> io::Result<ExitCode> {
    let outcome = match look(order, progress).await {
        Ok(found) => found.judged(order),
        Err(trouble) => Outcome::failed(&trouble),
    };
    match (&outcome.problem, order.json) {
        (_, true) => writeln!(out, "{}", serde_json::to_string(&outcome)?)?,
        (_, false) if outcome.reached => write!(out, "{}", outcome.table())?,
        (Some(problem), false) => writeln!(out, "FAILED: {problem}.")?,
        (None, false) => {}
    }
    // Whoever reads is told first: the file may be in no place that can be written.
    if let Some(file) = &order.prometheus {
        out.flush()?;
        report::write_whole(file, &outcome.prometheus())?;
    }
    Ok(ExitCode::from(outcome.code()))
}

/// The first way that works.
async fn look(order: &Order, progress: &mut impl Write) -> Result<Outcome, Trouble> {
    let link = Link::parse(&order.url)?;
    let connector = http::connector(order.authority.as_deref())?;
    let mut say = |what: &str| {
        // Nobody may be there to read it.
        let _ = writeln!(progress, "{what}");
    };
    say(&format!("connecting to {} ...", link.authority()));
    let patience = Patience(order.patience);
    let mut web = Web::connect(&link, &connector, patience).await?;
    let began = Instant::now();
    let (session, room) = web.enter(&link).await?;
    let entered = began.elapsed();
    let ways = match order.path {
        Some(path) => vec![path],
        None => AUTO.to_vec(),
    };
    let mut blocked: Vec<(PathKind, Trouble)> = Vec::new();
    for path in ways {
        say(&format!("media by {} ...", path.as_str()));
        let mut visit = Visit {
            web: &mut web,
            patience,
            connector: &connector,
            session: &session,
            room: &room,
            shared: Shared::new(),
            sessions: Vec::new(),
            carried: Vec::new(),
        };
        let found = visit.by(path, order.time, &mut say).await;
        visit.leave().await;
        match found {
            Ok(mut found) => {
                found.blocked = blocked.iter().map(|(path, _)| path.as_str()).collect();
                found.times.session = Some(entered);
                found.times.web(&web.steps);
                return Ok(found);
            }
            Err(trouble @ (Trouble::LinkRefused | Trouble::Busy | Trouble::NoAnswer)) => return Err(trouble),
            Err(trouble) => {
                if order.path.is_none() {
                    say(&format!("{trouble}."));
                }
                blocked.push((path, trouble));
            }
        }
    }
    Err(match (order.path, blocked.into_iter().next()) {
        (Some(_), Some((_, trouble))) => trouble,
        // What is said of the best way helps most.
        (None, Some((_, trouble))) => Trouble::NoWay(Box::new(trouble)),
        (_, None) => Trouble::NoHousecall,
    })
}

/// One stay in the test room.
struct Visit<'a> {
    web: &'a mut Web,
    patience: Patience,
    connector: &'a TlsConnector,
    session: &'a str,
    room: &'a str,
    shared: Arc<Shared>,
    sessions: Vec<Session>,
    carried: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Visit<'_> {
    async fn by(&mut self, path: PathKind, time: Duration, say: &mut impl FnMut(&str)) -> Result<Outcome, Trouble> {
        let (mut publisher, sent) = Peer::new(Part::Publisher, &self.shared, self.patience).await?;
        let found = match Peer::new(Part::Viewer, &self.shared, self.patience).await {
            Ok((mut viewer, heard)) => {
                let found = self
                    .between(path, time, say, (&mut publisher, sent), (&mut viewer, heard))
                    .await;
                viewer.close().await;
                found
            }
            Err(trouble) => Err(trouble),
        };
        publisher.close().await;
        found
    }

    /// Measures between two clients, and leaves them open.
    async fn between(
        &mut self,
        path: PathKind,
        time: Duration,
        say: &mut impl FnMut(&str),
        (publisher, sent): (&mut Peer, Far),
        (viewer, heard): (&mut Peer, Far),
    ) -> Result<Outcome, Trouble> {
        let mut times = Times::default();
        let endpoint = format!("/whip/{}", self.room);
        times.connected(self.join(path, publisher, sent, &endpoint).await?);
        let from = self.sessions.last().map(Session::participant).unwrap_or_default();
        let endpoint = format!("/whep/{}?from={from}", self.room);
        self.join(path, viewer, heard, &endpoint).await?;

        let speaking = Instant::now();
        let measured = async {
            let first = timeout(self.patience.connect(), viewer.first.wait_for(Option::is_some)).await;
            let (_, at) = match first {
                Ok(Ok(first)) => first.ok_or(Trouble::Silent(path))?,
                _ => return Err(Trouble::Silent(path)),
            };
            times.first_packet = Some(at.saturating_duration_since(speaking));
            self.shared.packets().open();
            let counting = async {
                while !self.shared.packets().is_counting() {
                    self.shared.changed.notified().await;
                }
            };
            if timeout(self.patience.report(), counting).await.is_err() {
                self.shared.packets().begin_unreported();
            }
            say(&format!("measuring for {} s ...", time.as_secs()));
            tokio::time::sleep(time).await;
            Ok(())
        };
        tokio::select! {
            measured = measured => measured?,
            ended = publisher.talk() => return Err(ended.err().unwrap_or(Trouble::Silent(path))),
        }
        let settled = async {
            loop {
                {
                    let packets = self.shared.packets();
                    if packets.is_whole() && packets.is_reported(packets.last()) {
                        return;
                    }
                }
                self.shared.changed.notified().await;
            }
        };
        // Whatever has not come by then is lost.
        let _ = timeout(self.patience.drain(), settled).await;
        let figures = self.shared.packets().figures();
        if !figures.is_measured() {
            return Err(Trouble::Silent(path));
        }
        Ok(Outcome::reached(path, times, figures))
    }

    /// Connects a client; says when it began and what took how long.
    async fn join(&mut self, path: PathKind, peer: &mut Peer, far: Far, endpoint: &str) -> Result<Joined, Trouble> {
        let offer = peer.offer().await?;
        let began = Instant::now();
        let joined = self.web.offer(endpoint, self.session, offer).await?;
        let signalled = Instant::now();
        let candidates = Candidates::of(&joined.answer);
        let (answer, relays) = (joined.answer.clone(), joined.relays.clone());
        // From here on it is left again, whatever happens.
        self.sessions.push(joined);
        let known = Known {
            web: self.web.address,
            candidates: &candidates,
            relays: &relays,
            connector: self.connector,
            patience: self.patience,
        };
        let carrier = Carrier::open(path, &known).await?;
        let opened = Instant::now();
        let (stop, stopped) = oneshot::channel();
        self.carried.push((stop, tokio::spawn(carrier.carry(far, stopped))));
        peer.accept(&answer).await?;
        let connected = peer
            .progress
            .wait_for(|progress| progress.dtls.is_some() || progress.failed);
        let _ = timeout(self.patience.connect(), connected).await;
        let Progress { ice, dtls, .. } = *peer.progress.borrow();
        let stage = match ice {
            None => "no answer to ICE checks",
            Some(_) => "no end of the DTLS handshake",
        };
        let (Some(ice), Some(dtls)) = (ice, dtls) else {
            return Err(Trouble::NoConnection {
                path,
                time: self.patience.connect(),
                stage,
            });
        };
        Ok(Joined {
            signalling: signalled - began,
            transport: opened - signalled,
            ice: ice.saturating_duration_since(opened),
            dtls: dtls.saturating_duration_since(ice),
        })
    }

    async fn leave(self) {
        for session in &self.sessions {
            self.web.leave(session, self.session).await;
        }
        for (stop, task) in self.carried {
            // It may have ended already; otherwise it gives back what it has, within a bounded time.
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}

/// How long the steps to a media connection took.
#[derive(Clone, Copy, Debug)]
struct Joined {
    signalling: Duration,
    transport: Duration,
    ice: Duration,
    dtls: Duration,
}
