//! What an allocation costs: processor time with its challenge (401), and what the server holds for it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde::Serialize;

use super::Plan;
use super::accounts::Accounts;
use super::client::{Link, home};
use super::coturn::{self, Coturn};
use super::messages::{self, Access, Credentials};
use crate::forward::bar;
use crate::measure::{Process, Usage};
use crate::report::{self, Row, figure};
use crate::server::{Options, Relay};
use crate::stats::micros_each;
use crate::target::Target;

/// Allocations in flight where there are many.
const WAVE: usize = 64;
/// Of those made one at a time.
const SINGLE: usize = 1_000;
/// How long the server is watched doing nothing.
const QUIET: Duration = Duration::from_secs(2);
/// Rounds; the middle one counts.
const ROUNDS: usize = 5;

/// One server.
#[derive(Serialize)]
struct Allocated {
    server: String,
    allocations: usize,
    cpu_us_each: f64,
    cpu_us_each_one_at_a_time: f64,
    bytes_each: f64,
    descriptors_each: f64,
    udp_sockets_each: f64,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for Allocated {
    const BENCH: &'static str = "turn-allocation";

    fn cells(&self) -> Vec<(&'static str, String)> {
        vec![
            ("server", self.server.clone()),
            ("allocations", self.allocations.to_string()),
            ("CPU µs", figure(self.cpu_us_each)),
            ("CPU µs, one at a time", figure(self.cpu_us_each_one_at_a_time)),
            ("bytes", figure(self.bytes_each)),
            ("descriptors", figure(self.descriptors_each)),
            ("UDP sockets", figure(self.udp_sockets_each)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 3] = [
    "CPU: processor time of the whole server for a refused request, the challenge, the request with credentials, the answer; over UDP",
    "64 clients in flight, or one at a time, when each request finds the server asleep; less what it uses while nothing happens",
    "bytes: resident memory gained over all allocations; descriptors and UDP sockets gained likewise",
];

/// Measures and prints.
pub(super) async fn run(plan: &Plan) -> Result<()> {
    let mut rows = vec![ours(plan).await?];
    match coturn::version() {
        Some(version) => {
            let coturn = Coturn::start(None)?;
            let name = format!("coturn {version}");
            rows.push(tokio::task::block_in_place(|| {
                measure(plan, name, coturn.address, &coturn.process(), super::credentials)
            })?);
            let note = format!(
                "{:.2} of coturn's processor time, {:.3} of its memory",
                rows[0].cpu_us_each / rows[1].cpu_us_each,
                rows[0].bytes_each / rows[1].bytes_each
            );
            rows[0].notes.push(note);
        }
        None => rows[0].notes.push(coturn::MISSING.to_owned()),
    }
    report::print(&rows, &MEANING);
    report::write_json(&rows, plan.json.as_deref())
}

async fn ours(plan: &Plan) -> Result<Allocated> {
    let options = Options {
        relay: Relay::HandOverUdp,
        ..Options::shards(1)
    };
    let target = Target::ours(&plan.binary, &options, None)?;
    let accounts = Accounts::enter(&target, plan.allocations).await?;
    let address = target.server()?.address;
    tokio::task::block_in_place(|| {
        measure(
            plan,
            "housecall, hand-over".to_owned(),
            address,
            &target.process().0,
            |number| accounts.of(number).clone(),
        )
    })
}

fn measure(
    plan: &Plan,
    name: String,
    server: SocketAddr,
    process: &Process,
    credentials: impl Fn(usize) -> Credentials,
) -> Result<Allocated> {
    let count = plan.allocations;
    let bar = bar(count + SINGLE + ROUNDS * WAVE)?;
    bar.set_message(format!("{name}: nothing"));
    let quiet = {
        let before = process.usage("")?;
        std::thread::sleep(QUIET);
        process.usage("")?.since(before).cpu.as_secs_f64() / QUIET.as_secs_f64()
    };
    let clients = |range: std::ops::Range<usize>| -> Result<Vec<Waiting>> {
        range
            .map(|number| Waiting::new(home(number), server, credentials(number)))
            .collect()
    };
    bar.set_message(format!("{name}: many"));
    // Nothing was allocated before, so all that the server takes for the first ones is counted.
    let mut crowd = clients(0..count)?;
    let (before, sockets) = (process.holdings()?, process.udp_sockets()?);
    let mut costs = Vec::new();
    for part in crowd.chunks_mut(count.div_ceil(ROUNDS)) {
        let each = part.len();
        costs.push(timed(process, quiet, each, || {
            part.chunks_mut(WAVE).try_for_each(|clients| wave(clients, &bar))
        })?);
    }
    let (after, sockets_after) = (process.holdings()?, process.udp_sockets()?);
    crowd.iter_mut().try_for_each(Waiting::release)?;
    bar.set_message(format!("{name}: one at a time"));
    let single = SINGLE.min(count);
    let mut one_by_one = clients(0..single)?;
    let cost = timed(process, quiet, single, || {
        one_by_one.chunks_mut(1).try_for_each(|client| wave(client, &bar))
    })?;
    bar.finish_and_clear();
    let gained = |before: u64, after: u64| (after as f64 - before as f64) / count as f64;
    Ok(Allocated {
        server: name,
        allocations: count,
        cpu_us_each: crate::stats::median(&costs),
        cpu_us_each_one_at_a_time: cost,
        bytes_each: gained(before.resident, after.resident),
        descriptors_each: gained(before.descriptors, after.descriptors),
        udp_sockets_each: gained(sockets, sockets_after),
        notes: Vec::new(),
    })
}

/// Processor time of the server for each of `count` things, in microseconds.
fn timed(process: &Process, quiet: f64, count: usize, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (began, before): (_, Usage) = (std::time::Instant::now(), process.usage("")?);
    work()?;
    let (used, time) = (process.usage("")?.since(before).cpu, began.elapsed());
    Ok(micros_each(used.saturating_sub(time.mul_f64(quiet)), count as u64))
}

/// A client that is about to allocate.
struct Waiting {
    link: Link,
    credentials: Credentials,
    access: Option<Access>,
}

impl Waiting {
    fn new(from: std::net::Ipv4Addr, server: SocketAddr, credentials: Credentials) -> Result<Self> {
        Ok(Self {
            link: Link::udp(from, server)?,
            credentials,
            access: None,
        })
    }

    fn release(&mut self) -> Result<()> {
        let access = self.access.as_ref().context("an allocation")?;
        let answer = self.link.ask(&messages::release(access)?)?;
        messages::check_success(&answer)?;
        Ok(())
    }
}

/// Makes all these allocations at once.
fn wave(clients: &mut [Waiting], bar: &ProgressBar) -> Result<()> {
    for client in clients.iter_mut() {
        client.link.send(&messages::allocate(None)?)?;
    }
    for client in clients.iter_mut() {
        let challenge = client.link.receive()?;
        client.access = Some(Access::from_challenge(&challenge, &client.credentials)?);
    }
    for client in clients.iter_mut() {
        client.link.send(&messages::allocate(client.access.as_ref())?)?;
    }
    for client in clients.iter_mut() {
        messages::relayed(&client.link.receive()?)?;
    }
    bar.inc(clients.len() as u64);
    Ok(())
}
