//! `bench forward --beside`: two servers in turns within one run. The machine's speed changes by the minute, so that two runs one after
//! the other tell differences of a fifth at best; seconds that follow each other tell a few hundredths.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::floor::{self, Kind};
use crate::forward::{self, Plan, Running};
use crate::load::Opening;
use crate::report::{self, Row, figure};
use crate::server::Adaptation;
use crate::stats::{median, micros_each};

/// Says that the other server is this one without adaptation.
const WITHOUT_ADAPTATION: &str = "without-adaptation";
const ROUND: Duration = Duration::from_secs(1);
/// Of each floor in a round.
const FLOOR: Duration = Duration::from_millis(300);
/// Before the first round: key frames, estimates and windows of load settle.
pub(crate) const SETTLE: Duration = Duration::from_secs(2);
/// After a change of turns, before anything is measured.
const LEAD: Duration = Duration::from_millis(250);
/// What is on its way at the end of a round arrives within this time.
const DRAIN: Duration = Duration::from_millis(50);

/// One comparison.
#[derive(Serialize)]
struct Compared {
    viewers: usize,
    shape: String,
    other: String,
    rounds: usize,
    server_us_per_packet: f64,
    other_us_per_packet: f64,
    difference_us: f64,
    ratio: f64,
    floor_plain_us: f64,
    floor_best_us: f64,
    ratio_to_plain: f64,
    ratio_to_best: f64,
    kib_per_viewer: f64,
    other_kib_per_viewer: f64,
}

impl Row for Compared {
    const BENCH: &'static str = "forward-beside";

    fn cells(&self) -> Vec<(&'static str, String)> {
        vec![
            ("viewers", self.viewers.to_string()),
            ("shape", self.shape.clone()),
            ("other", self.other.clone()),
            ("rounds", self.rounds.to_string()),
            ("server µs", figure(self.server_us_per_packet)),
            ("other µs", figure(self.other_us_per_packet)),
            ("difference µs", format!("{:+.3}", self.difference_us)),
            ("ratio", format!("{:.3}", self.ratio)),
            ("plain µs", figure(self.floor_plain_us)),
            ("best µs", figure(self.floor_best_us)),
            ("× plain", figure(self.ratio_to_plain)),
            ("× best", figure(self.ratio_to_best)),
            ("KiB/viewer", figure(self.kib_per_viewer)),
            ("other's", figure(self.other_kib_per_viewer)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

const MEANING: [&str; 2] = [
    "Both servers run with the same load and take turns of a second; each figure is the median over all rounds",
    "difference and ratio: medians of those within a round, this server's figure less, and over, the other's",
];

/// Measures and prints.
pub(crate) async fn run(plan: Plan, beside: &Path) -> Result<()> {
    ensure!(plan.shards == [1], "--beside compares servers of one shard");
    let mut other = plan.clone();
    let name = if beside == Path::new(WITHOUT_ADAPTATION) {
        other.adaptation = Adaptation::Off;
        WITHOUT_ADAPTATION.to_owned()
    } else {
        ensure!(beside.is_file(), "{} is not there", beside.display());
        beside.file_name().unwrap_or_default().to_string_lossy().into_owned()
    };
    other.binary = if name == WITHOUT_ADAPTATION {
        plan.binary.clone()
    } else {
        beside.to_owned()
    };
    let mut rows = Vec::new();
    for viewers in &plan.viewers {
        rows.push(one(&plan, &other, &name, *viewers).await?);
    }
    report::print(&rows, &MEANING);
    report::write_json(&rows, plan.json.as_deref())
}

async fn one(plan: &Plan, other: &Plan, name: &str, viewers: usize) -> Result<Compared> {
    let rounds = plan.time.as_secs().max(2) as usize;
    let bar = forward::bar(2 * (viewers + 1) + rounds)?;
    bar.set_message(format!("1 → {viewers}, twice: joining"));
    let ours = forward::start(plan, viewers, 1, Opening::Sample, &bar).await?;
    let theirs = forward::start(other, viewers, 1, Opening::Sample, &bar).await?;
    bar.set_message("in turns");
    tokio::task::block_in_place(|| {
        std::thread::sleep(SETTLE);
        ours.load.pause(true);
        theirs.load.pause(true);
        let source = plan.shape.source(plan.rate);
        let floor = |kind| {
            let streams = &[(source, viewers)];
            let (profile, receivers, time) = (plan.profile, plan.receivers, FLOOR);
            let cost = floor::measure(&floor::Plan {
                kind,
                streams,
                profile,
                time,
                receivers,
            });
            cost.map(|cost| cost.send_us)
        };
        let (mut own, mut other, mut plain, mut best) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 0..rounds {
            // Whoever goes first finds the processor as the floor left it: they change places.
            if number % 2 == 0 {
                own.push(round(&ours)?);
                other.push(round(&theirs)?);
            } else {
                other.push(round(&theirs)?);
                own.push(round(&ours)?);
            }
            plain.push(floor(Kind::Plain)?);
            best.push(floor(Kind::Best)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let pairs = |of: fn(f64, f64) -> f64, by: &[f64]| -> f64 {
            let each: Vec<f64> = own.iter().zip(by).map(|(own, by)| of(*own, *by)).collect();
            median(&each)
        };
        let kib = |running: &Running| -> Result<f64> {
            let resident = running.target.process().0.holdings()?.resident;
            Ok(resident.saturating_sub(running.empty.resident) as f64 / 1_024.0 / viewers as f64)
        };
        let row = Compared {
            viewers,
            shape: format!("{:?}", plan.shape).to_lowercase(),
            other: name.to_owned(),
            rounds,
            server_us_per_packet: median(&own),
            other_us_per_packet: median(&other),
            difference_us: pairs(|own, other| own - other, &other),
            ratio: pairs(|own, other| own / other, &other),
            floor_plain_us: median(&plain),
            floor_best_us: median(&best),
            ratio_to_plain: pairs(|own, plain| own / plain, &plain),
            ratio_to_best: pairs(|own, best| own / best, &best),
            kib_per_viewer: kib(&ours)?,
            other_kib_per_viewer: kib(&theirs)?,
        };
        ours.load.stop()?;
        theirs.load.stop()?;
        Ok(row)
    })
}

/// A server's turn: its processor time for each packet that reached a viewer, in microseconds.
pub(crate) fn round(running: &Running) -> Result<f64> {
    let (process, threads) = running.target.process();
    running.load.pause(false);
    std::thread::sleep(LEAD);
    let (seen, used) = (running.load.seen(), process.usage(threads)?);
    std::thread::sleep(ROUND);
    let (seen, used) = (running.load.seen().since(seen), process.usage(threads)?.since(used));
    running.load.pause(true);
    std::thread::sleep(DRAIN);
    ensure!(seen.received > 0, "nothing was forwarded");
    Ok(micros_each(used.cpu, seen.received))
}
