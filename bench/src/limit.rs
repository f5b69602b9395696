//! `bench forward --find-limit`: how many packets a second reach the viewers before too many are lost, and what the limit was.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::dtls::Profile;
use crate::forward::{self, Measured, Plan};
use crate::load::Opening;
use crate::report::{self, Row, figure};

/// The rate that is tried first, unless another is told.
const START: u64 = 500;
/// From one rate to the next while nothing is lost.
const STEP: f64 = 1.3;
/// Halvings between the last good and the first bad rate.
const HALVINGS: u32 = 3;
/// Of each step; the first part lets queues settle.
const SETTLE: Duration = Duration::from_millis(500);
const HOLD: Duration = Duration::from_secs(3);

/// The highest rate that held.
#[derive(Serialize)]
struct Limit {
    viewers: usize,
    shards: usize,
    shape: String,
    profile: &'static str,
    allowed_loss: f64,
    packets_per_second: f64,
    loss: f64,
    server_us_per_packet: f64,
    server_processors: f64,
    media_threads: f64,
    generator_processors: f64,
    generator_sending: f64,
    generator_receiving: f64,
    next_packets_per_second: f64,
    next_loss: f64,
    scaling: f64,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for Limit {
    const BENCH: &'static str = "forward-limit";

    fn cells(&self) -> Vec<(&'static str, String)> {
        let percent = |value: f64| format!("{:.2} %", value * 100.0);
        vec![
            ("viewers", self.viewers.to_string()),
            ("shards", self.shards.to_string()),
            ("shape", self.shape.clone()),
            ("SRTP", self.profile.to_owned()),
            ("packets/s", figure(self.packets_per_second)),
            ("loss", percent(self.loss)),
            ("server µs", figure(self.server_us_per_packet)),
            ("server CPUs", figure(self.server_processors)),
            ("media threads", figure(self.media_threads)),
            ("generator CPUs", figure(self.generator_processors)),
            ("sending", figure(self.generator_sending)),
            ("receiving", figure(self.generator_receiving)),
            ("next step", figure(self.next_packets_per_second)),
            ("its loss", percent(self.next_loss)),
            ("× first row", figure(self.scaling)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 2] = [
    "packets/s: what reached the viewers at the highest rate with less loss than allowed; the next step is the first that lost more",
    "CPUs: processors in use at that rate by the whole server, by its media threads, by the whole generator, by its two threads",
];

/// One rate and what came of it.
#[derive(Clone, Copy)]
struct Tried {
    rate: u64,
    measured: Measured,
    loss: f64,
}

/// Searches and prints.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let allowed = plan.limit.unwrap_or(0.01);
    let mut rows: Vec<Limit> = Vec::new();
    for shards in &plan.shards {
        for viewers in &plan.viewers {
            let mut row = search(plan, *viewers, *shards, allowed).await?;
            let first = rows
                .iter()
                .find(|first| first.viewers == row.viewers)
                .map_or(row.packets_per_second, |first| first.packets_per_second);
            row.scaling = row.packets_per_second / first;
            rows.push(row);
        }
    }
    report::print(&rows, &MEANING);
    report::write_json(&rows, plan.json.as_deref())
}

async fn search(plan: &Plan, viewers: usize, shards: usize, allowed: f64) -> Result<Limit> {
    let bar = forward::bar((viewers + 1) * shards)?;
    bar.set_message(format!("{shards} × (1 → {viewers}): joining"));
    let running = forward::start(plan, viewers, shards, Opening::Sample, &bar).await?;
    tokio::task::block_in_place(|| {
        let attempt = |rate: u64| -> Result<Tried> {
            bar.set_message(format!("{shards} × (1 → {viewers}): {rate} packets/s in"));
            running.load.set_rate(rate);
            std::thread::sleep(SETTLE);
            let measured = Measured::over(&running.load, &running.target, HOLD, &bar)?;
            let wanted = rate as f64 * shards as f64 * measured.time.as_secs_f64();
            // Holes the viewers saw; what the generator did not even send; what never became a number at the server.
            let expected = wanted * viewers as f64;
            let missing = 1.0 - (measured.seen.received as f64 / expected).min(1.0);
            // Within a step some packets are always on their way, so a missing half per cent is no loss by itself.
            let loss = measured.seen.loss().max(missing - 0.005);
            Ok(Tried { rate, measured, loss })
        };
        let mut good = attempt(plan.rate.unwrap_or(START))?;
        let mut bad = None;
        while bad.is_none() {
            let next = attempt((good.rate as f64 * STEP) as u64)?;
            if next.loss < allowed && next.rate < 200_000 {
                good = next;
            } else {
                bad = Some(next);
            }
        }
        let mut bad = bad.unwrap_or(good);
        for _ in 0..HALVINGS {
            let next = attempt(u64::midpoint(good.rate, bad.rate))?;
            if next.loss < allowed {
                good = next;
            } else {
                bad = next;
            }
        }
        bar.finish_and_clear();
        running.load.stop()?;
        let (at, next) = (good.measured, bad.measured);
        let mut notes = at.limits();
        notes.push(explain(&next));
        let per_second = |measured: &Measured| measured.seen.received as f64 / measured.time.as_secs_f64();
        Ok(Limit {
            viewers,
            shards,
            shape: format!("{:?}", plan.shape).to_lowercase(),
            profile: plan.profile.map_or("GCM-256", Profile::name),
            allowed_loss: allowed,
            packets_per_second: per_second(&at),
            loss: good.loss.max(0.0),
            server_us_per_packet: crate::stats::micros_each(at.server.cpu, at.seen.received),
            server_processors: at.share(at.server.cpu),
            media_threads: at.share(at.server.threads),
            generator_processors: at.share(at.own.all),
            generator_sending: at.share(at.own.sending),
            generator_receiving: at.share(at.own.receiving),
            next_packets_per_second: per_second(&next),
            next_loss: bad.loss,
            scaling: 1.0,
            notes,
        })
    })
}

/// What was full at the first rate that lost too much.
fn explain(at: &Measured) -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let (server, media, own) = (
        at.share(at.server.cpu),
        at.share(at.server.threads),
        at.share(at.own.all),
    );
    let (sending, receiving) = (at.share(at.own.sending), at.share(at.own.receiving));
    let cause = if sending > 0.9 || receiving > 0.9 {
        "the generator limits"
    } else if server + own > 0.95 * processors {
        "the machine limits: server and generator fill it together"
    } else if media > 0.9 {
        "the server's media thread limits"
    } else {
        "nothing of ours was full: socket buffers, or other work on this machine"
    };
    format!(
        "at the next step {cause} (processors: server {server:.2}, its media threads {media:.2}, generator {own:.2}, \
         of it sending {sending:.2} and receiving {receiving:.2})"
    )
}
