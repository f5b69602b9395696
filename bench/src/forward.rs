//! `bench forward`: one publisher, N viewers: processor time of the server for each forwarded packet, beside the floor.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::dtls::Profile;
use crate::floor::{self, Kind};
use crate::load::{Load, Opening, OwnUsage, Receivers, Seen, Spec, Stream};
use crate::measure::{self, Holdings, Usage};
use crate::offer::Line;
use crate::report::{self, Row, figure};
use crate::server::{Adaptation, Options};
use crate::source::{SPREAD, Source};
use crate::stats::{median, micros_each};
use crate::target::{Elsewhere, How, Target};

/// How packets leave the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// One packet after the other, evenly spaced.
    Even,
    /// Frames of six packets within 0.25 ms: what Chromium does on a fast line.
    Burst,
    /// Frames of six equal packets in one send call, for comparisons that must not depend on timing.
    Whole,
}

impl Shape {
    /// Within what time a frame's packets leave.
    pub(crate) fn spread(self) -> Duration {
        match self {
            Self::Even | Self::Whole => Duration::ZERO,
            Self::Burst => SPREAD,
        }
    }

    pub(crate) fn source(self, rate: Option<u64>) -> Source {
        match self {
            Self::Even => Source::Even {
                rate: rate.unwrap_or(250),
            },
            Self::Burst => Source::Burst {
                rate: rate.unwrap_or(180),
            },
            Self::Whole => Source::Whole {
                rate: rate.unwrap_or(180),
            },
        }
    }
}

/// What to measure.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) other: Elsewhere,
    pub(crate) viewers: Vec<usize>,
    pub(crate) rate: Option<u64>,
    pub(crate) shape: Shape,
    pub(crate) shards: Vec<usize>,
    pub(crate) adaptation: Adaptation,
    pub(crate) receivers: Receivers,
    pub(crate) profile: Option<Profile>,
    pub(crate) time: Duration,
    /// Search the highest rate with less than this part lost.
    pub(crate) limit: Option<f64>,
    pub(crate) json: Option<PathBuf>,
}

/// What every measurement of a load has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) time: Duration,
    pub(crate) seen: Seen,
    pub(crate) server: Usage,
    pub(crate) own: OwnUsage,
    /// Of everything else on the machine.
    pub(crate) others: Duration,
}

impl Measured {
    /// Measures for so long.
    pub(crate) fn over(load: &Load, target: &Target, time: Duration, bar: &ProgressBar) -> Result<Self> {
        let (process, threads) = target.process();
        let began = std::time::Instant::now();
        let (seen, server, own) = (load.seen(), process.usage(threads)?, OwnUsage::now()?);
        let machine = measure::machine()?;
        while began.elapsed() < time {
            std::thread::sleep((time - began.elapsed().min(time)).min(Duration::from_millis(200)));
            bar.tick();
        }
        let (server, own) = (process.usage(threads)?.since(server), OwnUsage::now()?.since(own));
        let machine = measure::machine()?.saturating_sub(machine);
        Ok(Self {
            seen: load.seen().since(seen),
            server,
            own,
            others: machine.saturating_sub(server.cpu + own.all),
            time: began.elapsed(),
        })
    }

    /// How much of one processor `used` is.
    pub(crate) fn share(&self, used: Duration) -> f64 {
        used.as_secs_f64() / self.time.as_secs_f64()
    }

    /// What to say about the generator and the machine.
    pub(crate) fn limits(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let (sending, receiving) = (self.share(self.own.sending), self.share(self.own.receiving));
        if sending > 0.9 || receiving > 0.9 {
            notes.push(format!(
                "THE GENERATOR WAS THE BOTTLENECK: its sending thread used {:.0} % of a processor, its receiving thread {:.0} %",
                sending * 100.0,
                receiving * 100.0
            ));
        }
        if self.own.all > self.server.cpu {
            notes.push("the generator used more processor time than the server".to_owned());
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let all = self.share(self.own.all + self.server.cpu);
        if all > 0.95 * processors as f64 {
            notes.push(format!(
                "the machine was full: {all:.2} of {processors} processors by server and generator"
            ));
        }
        let others = self.share(self.others);
        if others > 0.1 {
            notes.push(format!(
                "other work on this machine used {others:.1} processors meanwhile"
            ));
        }
        if self.seen.late > 0 {
            notes.push(format!("{} frames were sent more than 100 ms late", self.seen.late));
        }
        if self.seen.broken > 0 {
            notes.push(format!("{} packets could not be opened", self.seen.broken));
        }
        notes
    }
}

/// One run.
#[derive(Serialize)]
struct Forwarded {
    viewers: usize,
    shards: usize,
    shape: String,
    receivers: String,
    profile: &'static str,
    packets_per_second_in: u64,
    forwarded: u64,
    forwarded_per_second: f64,
    lost: i64,
    verified: u64,
    server_us_per_packet: f64,
    floor_plain_us: f64,
    floor_best_us: f64,
    ratio_to_plain: f64,
    ratio_to_best: f64,
    media_thread_share: f64,
    turns_per_packet: f64,
    kib_per_viewer: f64,
    generator_us_per_packet: f64,
    generator_processors: f64,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for Forwarded {
    const BENCH: &'static str = "forward";

    fn cells(&self) -> Vec<(&'static str, String)> {
        vec![
            ("viewers", self.viewers.to_string()),
            ("shards", self.shards.to_string()),
            ("shape", self.shape.clone()),
            ("receivers", self.receivers.clone()),
            ("SRTP", self.profile.to_owned()),
            ("out/s", figure(self.forwarded_per_second)),
            ("lost", self.lost.to_string()),
            ("server µs", figure(self.server_us_per_packet)),
            ("plain µs", figure(self.floor_plain_us)),
            ("best µs", figure(self.floor_best_us)),
            ("× plain", figure(self.ratio_to_plain)),
            ("× best", figure(self.ratio_to_best)),
            ("media thread", format!("{:.0} %", self.media_thread_share * 100.0)),
            ("turns/packet", figure(self.turns_per_packet)),
            ("KiB/viewer", figure(self.kib_per_viewer)),
            ("generator µs", figure(self.generator_us_per_packet)),
            ("its CPUs", figure(self.generator_processors)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 5] = [
    "server µs: processor time of the whole server, user and system, for each packet that reached a viewer",
    "plain: the same datagrams by send_to, no crypto, no logic · best: sealed, a frame in one GSO call · both in this run, sending only",
    "turns/packet: how often a media thread was put on a processor (its wake-ups, at most)",
    "KiB/viewer: resident memory gained since before the first viewer joined, over their number",
    "Absolute times hold for this machine and this minute: compare ratios",
];

/// Measures and prints.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    if plan.limit.is_some() {
        return crate::limit::run(plan).await;
    }
    let mut rows = Vec::new();
    for shards in &plan.shards {
        for viewers in &plan.viewers {
            rows.push(one(plan, *viewers, *shards).await?);
        }
    }
    report::print(&rows, &MEANING);
    explain_shards(&rows);
    report::write_json(&rows, plan.json.as_deref())?;
    if rows.iter().any(|row| row.forwarded == 0 || row.verified == 0) {
        bail!("a run forwarded nothing that could be opened");
    }
    Ok(())
}

/// What several threads carry where each has a processor of its own, by what a packet costs. Here they share the processors with the generator,
/// so that a search for the most packets a second ends where the machine is full.
fn explain_shards(rows: &[Forwarded]) {
    let cost = |shards: usize| -> Vec<f64> {
        let of = rows.iter().filter(|row| row.shards == shards);
        of.map(|row| row.server_us_per_packet).collect()
    };
    let mut several: Vec<usize> = rows.iter().map(|row| row.shards).filter(|shards| *shards > 1).collect();
    several.sort_unstable();
    several.dedup();
    let one = cost(1);
    for shards in several.into_iter().filter(|_| !one.is_empty()) {
        let (one, each) = (median(&one), median(&cost(shards)));
        println!(
            "{shards} shards: {} µs a packet against {} with one: by cost {:.2} × as many packets where each has a processor of its own",
            figure(each),
            figure(one),
            shards as f64 * one / each
        );
    }
}

/// A progress bar with one message.
pub(crate) fn bar(steps: usize) -> Result<ProgressBar> {
    let bar = ProgressBar::new(steps as u64);
    bar.set_style(ProgressStyle::with_template(
        "{msg:40} {wide_bar} {pos}/{len} {elapsed}",
    )?);
    Ok(bar)
}

/// A running load of one publisher and its viewers on each shard.
pub(crate) struct Running {
    pub(crate) target: Target,
    pub(crate) load: Load,
    /// The server before the first viewer.
    pub(crate) empty: Holdings,
}

/// Starts the server and the load, and waits until every viewer sees something.
pub(crate) async fn start(
    plan: &Plan,
    viewers: usize,
    shards: usize,
    opening: Opening,
    bar: &ProgressBar,
) -> Result<Running> {
    let options = Options {
        adaptation: plan.adaptation,
        ..Options::shards(shards)
    };
    let target = Target::new(&plan.other, &plan.binary, &options, plan.profile)?;
    let source = plan.shape.source(plan.rate);
    let (mut peers, mut streams, mut visits) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..shards {
        let visit = target.visit()?;
        let ssrc = 0x00be_0001 + 16 * number as u32;
        let publisher = target.join(How::Whip, &visit, &[Line::SendVideo { ssrc }]).await?;
        streams.push(Stream {
            peer: peers.len(),
            source,
            ssrc,
            mid: "0".to_owned(),
            rid: None,
            size: (1_280, 720),
        });
        peers.push(publisher.peer);
        visits.push(visit);
        bar.inc(1);
    }
    let empty = target.process().0.holdings()?;
    for visit in &visits {
        peers.extend(target.join_viewers(visit, &[Line::ReceiveVideo], viewers, bar).await?);
    }
    let load = Load::start(Spec {
        receivers: plan.receivers,
        peers,
        streams,
        opening,
        spread: plan.shape.spread(),
    })?;
    let expected = (viewers * shards) as u64;
    tokio::task::block_in_place(|| load.wait_for(expected, Duration::from_secs(20)))?;
    Ok(Running { target, load, empty })
}

async fn one(plan: &Plan, viewers: usize, shards: usize) -> Result<Forwarded> {
    let bar = bar((viewers + 1) * shards + 4)?;
    bar.set_message(format!("{shards} × (1 → {viewers}): joining"));
    let running = start(plan, viewers, shards, Opening::Sample, &bar).await?;
    bar.set_message(format!("{shards} × (1 → {viewers}): measuring"));
    let source = plan.shape.source(plan.rate);
    let streams: Vec<(Source, usize)> = vec![(source, viewers); shards];
    tokio::task::block_in_place(|| {
        std::thread::sleep(Duration::from_secs(2));
        let measured = Measured::over(&running.load, &running.target, plan.time, &bar)?;
        let holdings = running.target.process().0.holdings()?;
        bar.inc(2);
        running.load.stop()?;
        drop(running.target);
        bar.set_message(format!("{shards} × (1 → {viewers}): the floor"));
        let floor = |kind| {
            floor::measure(&floor::Plan {
                receivers: plan.receivers,
                kind,
                streams: &streams,
                profile: plan.profile,
                time: plan.time.min(Duration::from_secs(5)),
            })
        };
        let plain = floor(Kind::Plain)?.send_us;
        bar.inc(1);
        let best = floor(Kind::Best)?.send_us;
        bar.finish_and_clear();
        let seen = measured.seen;
        let server = micros_each(measured.server.cpu, seen.received);
        let rate = match source {
            Source::Even { rate } | Source::Burst { rate } | Source::Whole { rate } => rate,
            _ => 0,
        };
        Ok(Forwarded {
            viewers,
            shards,
            shape: format!("{:?}", plan.shape).to_lowercase(),
            receivers: format!("{:?}", plan.receivers).to_lowercase(),
            profile: plan.profile.map_or("GCM-256", Profile::name),
            packets_per_second_in: rate * shards as u64,
            forwarded: seen.received,
            forwarded_per_second: seen.received as f64 / measured.time.as_secs_f64(),
            lost: seen.lost,
            verified: seen.verified,
            server_us_per_packet: server,
            floor_plain_us: plain,
            floor_best_us: best,
            ratio_to_plain: server / plain,
            ratio_to_best: server / best,
            media_thread_share: measured.share(measured.server.threads),
            turns_per_packet: measured.server.turns as f64 / seen.received.max(1) as f64,
            kib_per_viewer: holdings.resident.saturating_sub(running.empty.resident) as f64
                / 1_024.0
                / (viewers * shards) as f64,
            generator_us_per_packet: micros_each(measured.own.all, seen.received),
            generator_processors: measured.share(measured.own.all),
            notes: measured.limits(),
        })
    })
}
