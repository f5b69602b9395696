//! Servers in turns of a second: the machine's speed changes by the minute, and so all of them see the same of it.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use indicatif::ProgressBar;

use super::client::{Client, Link, home};
use super::flow::{Ends, Flow};
use super::tunnel::Tunnels;
use crate::forward;
use crate::measure::Process;
use crate::pipe::Pipe;
use crate::stats::{median, micros_each};

const ROUND: Duration = Duration::from_secs(1);
const LEAD: Duration = Duration::from_millis(250);
/// What is on its way at the end of a round arrives within this time.
const DRAIN: Duration = Duration::from_millis(50);

/// Whatever takes turns.
pub(super) enum Turn {
    /// People in rooms on our server.
    Rooms(forward::Running),
    /// Datagrams through a relay.
    Flow(Flow, Process),
}

impl Turn {
    fn pause(&self, paused: bool) {
        match self {
            Self::Rooms(running) => running.load.pause(paused),
            Self::Flow(flow, _) => flow.pause(paused),
        }
    }

    /// Packets so far.
    fn packets(&self) -> u64 {
        match self {
            Self::Rooms(running) => running.load.seen().received + running.load.seen().sent,
            Self::Flow(flow, _) => flow.passed().received,
        }
    }

    fn process(&self) -> Process {
        match self {
            Self::Rooms(running) => running.target.process().0,
            Self::Flow(_, process) => process.clone(),
        }
    }

    /// Processor time of a packet in microseconds, and packets a second.
    fn round(&self) -> Result<(f64, f64)> {
        let process = self.process();
        self.pause(false);
        std::thread::sleep(LEAD);
        let (packets, used) = (self.packets(), process.usage("")?);
        std::thread::sleep(ROUND);
        let (packets, used) = (self.packets() - packets, process.usage("")?.since(used));
        self.pause(true);
        std::thread::sleep(DRAIN);
        ensure!(packets > 0, "nothing came through");
        Ok((micros_each(used.cpu, packets), packets as f64 / ROUND.as_secs_f64()))
    }

    /// The part of all packets so far that was lost.
    pub(super) fn loss(&self) -> f64 {
        match self {
            Self::Rooms(running) => running.load.seen().loss(),
            Self::Flow(flow, _) => flow.passed().loss(),
        }
    }

    /// System calls of a packet.
    pub(super) fn calls(&self) -> Result<Option<f64>> {
        self.pause(false);
        std::thread::sleep(LEAD);
        let (began, packets) = (std::time::Instant::now(), self.packets());
        let calls = super::calls::count(&self.process(), Duration::from_secs(1))?;
        let (packets, time) = (self.packets() - packets, began.elapsed());
        self.pause(true);
        Ok(calls.map(|calls| calls * time.as_secs_f64() / packets.max(1) as f64))
    }

    pub(super) fn stop(self) -> Result<()> {
        match self {
            Self::Rooms(running) => running.load.stop(),
            Self::Flow(flow, _) => flow.stop(),
        }
    }
}

/// What came of a server's rounds: medians.
pub(super) struct Figures {
    pub(super) cpu_us_per_packet: f64,
    pub(super) packets_per_second: f64,
}

/// So many rounds, in each of which every server has its turn.
pub(super) fn take<'a>(
    turns: impl Iterator<Item = &'a Turn>,
    rounds: usize,
    bar: &ProgressBar,
) -> Result<Vec<Figures>> {
    let turns: Vec<&Turn> = turns.collect();
    turns.iter().for_each(|turn| turn.pause(true));
    let mut costs = vec![Vec::new(); turns.len()];
    let mut rates = costs.clone();
    for number in 0..rounds {
        for place in 0..turns.len() {
            // Whoever goes first finds the processor as another left it: they change places.
            let which = (number + place) % turns.len();
            let (cost, rate) = turns[which].round()?;
            costs[which].push(cost);
            rates[which].push(rate);
        }
        bar.inc(1);
    }
    let figures = costs.iter().zip(&rates).map(|(costs, rates)| Figures {
        cpu_us_per_packet: median(costs),
        packets_per_second: median(rates),
    });
    Ok(figures.collect())
}

/// Clients over UDP, each with a peer of its own. The relay takes credentials of [`super::SECRET`].
pub(super) fn over_udp(count: usize, server: SocketAddr) -> Result<Vec<Ends>> {
    (0..count)
        .map(|number| {
            let peer = UdpSocket::bind("127.0.0.1:0")?;
            let client = Client::allocate(Link::udp(home(number), server)?, &super::credentials(number))?;
            peer.connect(client.relayed)?;
            let client = Pipe::relayed(client, peer.local_addr()?)?;
            Ok(Ends { client, peer })
        })
        .collect()
}

/// The same over TLS.
pub(super) fn over_tls(count: usize, server: SocketAddr, tunnels: &Tunnels) -> Result<Vec<Ends>> {
    (0..count)
        .map(|number| {
            let peer = UdpSocket::bind("127.0.0.1:0")?;
            let (client, relayed) = tunnels.open_to(server, &super::credentials(number), peer.local_addr()?)?;
            peer.connect(relayed)?;
            Ok(Ends { client, peer })
        })
        .collect()
}
