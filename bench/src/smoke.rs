//! `bench forward --smoke`: a few seconds that show whether forwarding has become dearer than the committed baseline.
//!
//! It must not fail because a machine is busy or slow. So nothing is compared with a clock: processor time of the server over that of
//! the floor, taken in turns of a third of a second within one run. Other work on the machine can only add to either (it empties caches
//! and takes turns in between), so the least of each is compared; and what is too much is measured twice more, and all rounds count
//! together. Frames arrive whole, so that the number of send calls does not depend on who is woken when.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::floor::{self, Kind};
use crate::forward::{self, Running, Shape};
use crate::load::{Opening, Receivers};
use crate::report::figure;
use crate::server::Adaptation;
use crate::source::Source;
use crate::stats::micros_each;
use crate::target::Elsewhere;

/// A figure may grow by so much.
const TOLERANCE: f64 = 1.25;
/// Runs before too much counts as too much. The rounds of all of them count.
const ATTEMPTS: usize = 3;
const VIEWERS: usize = 40;
/// Packets a second from the publisher: sixty frames.
const RATE: u64 = 360;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(350);
/// What is on its way at the end of a round arrives within this time.
const DRAIN: Duration = Duration::from_millis(50);

/// What is compared, by build profile: an unoptimised server costs more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    /// Processor time of the server for a forwarded packet over that of the best floor.
    ratio_to_best: f64,
    /// The server's send calls for a forwarded packet. One frame of six packets in one call is a sixth.
    send_calls_per_packet: f64,
}

/// The committed file: a profile's name and its figures.
type Baselines = BTreeMap<String, Figures>;

/// Where it is, seen from the root of the source tree.
fn default_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines/forward-smoke.json")
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

/// Measures and compares, or records.
pub(crate) async fn run(binary: PathBuf, baseline: Option<PathBuf>, record: bool) -> Result<()> {
    let file = baseline.unwrap_or_else(default_file);
    let mut baselines = read(&file)?;
    let mut all = Rounds::default();
    if record {
        for _ in 0..ATTEMPTS {
            all.extend(once(&binary).await?);
        }
        let figures = all.figures();
        let figures = Figures {
            ratio_to_best: rounded(figures.ratio_to_best),
            send_calls_per_packet: rounded(figures.send_calls_per_packet),
        };
        baselines.insert(profile().to_owned(), figures);
        std::fs::write(&file, serde_json::to_string_pretty(&baselines)? + "\n")?;
        println!("recorded for {}: {figures:?}", profile());
        return Ok(());
    }
    let Some(baseline) = baselines.get(profile()) else {
        bail!(
            "{} has no figures for {}: run this with --record",
            file.display(),
            profile()
        );
    };
    let mut complaints = Vec::new();
    for attempt in 1..=ATTEMPTS {
        match once(&binary).await {
            Ok(rounds) => all.extend(rounds),
            // On a machine that is busy beyond measure people may fail to join in time. That says nothing of forwarding, unless it is
            // always so.
            Err(error) if attempt < ATTEMPTS => {
                println!("this attempt came to nothing: {error:#}");
                continue;
            }
            Err(error) => return Err(error),
        }
        let measured = all.figures();
        println!(
            "smoke, {}: {} × the best floor (baseline {}), {} send calls a packet (baseline {})",
            profile(),
            figure(measured.ratio_to_best),
            figure(baseline.ratio_to_best),
            figure(measured.send_calls_per_packet),
            figure(baseline.send_calls_per_packet)
        );
        complaints = compare(&measured, baseline);
        if complaints.is_empty() {
            return Ok(());
        }
        if attempt < ATTEMPTS {
            println!("too much; measuring again");
        }
    }
    bail!(
        "forwarding has become dearer than {} allows, in {} rounds: {}. If that is meant, record it anew: bench forward --smoke --record",
        file.display(),
        all.server.len(),
        complaints.join("; ")
    )
}

/// Microseconds for each packet, a figure a round, and what the server counted.
#[derive(Clone, Debug, Default)]
struct Rounds {
    server: Vec<f64>,
    floor: Vec<f64>,
    calls: f64,
    packets: f64,
}

impl Rounds {
    fn extend(&mut self, more: Self) {
        self.server.extend(more.server);
        self.floor.extend(more.floor);
        self.calls += more.calls;
        self.packets += more.packets;
    }

    /// The least of the server over the least of the floor: whatever else runs on the machine can only add.
    fn figures(&self) -> Figures {
        let least = |of: &[f64]| of.iter().copied().fold(f64::NAN, f64::min);
        Figures {
            ratio_to_best: least(&self.server) / least(&self.floor),
            send_calls_per_packet: self.calls / self.packets.max(1.0),
        }
    }
}

fn read(file: &Path) -> Result<Baselines> {
    match std::fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("reading {}", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Baselines::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// What has grown too much.
fn compare(measured: &Figures, baseline: &Figures) -> Vec<String> {
    let figures = [
        ("the ratio to the floor", measured.ratio_to_best, baseline.ratio_to_best),
        (
            "send calls a packet",
            measured.send_calls_per_packet,
            baseline.send_calls_per_packet,
        ),
    ];
    // Written so that a figure that is no number complains.
    let within = |measured: f64, baseline: f64| measured <= baseline * TOLERANCE;
    figures
        .into_iter()
        .filter(|(_, measured, baseline)| !within(*measured, *baseline))
        .map(|(name, measured, baseline)| format!("{name} is {} against {}", figure(measured), figure(baseline)))
        .collect()
}

async fn once(binary: &Path) -> Result<Rounds> {
    let plan = forward::Plan {
        binary: binary.to_owned(),
        other: Elsewhere::default(),
        viewers: vec![VIEWERS],
        rate: Some(RATE),
        shape: Shape::Whole,
        shards: vec![1],
        adaptation: Adaptation::On,
        receivers: Receivers::Woken,
        profile: None,
        time: ROUND,
        limit: None,
        json: None,
    };
    let bar = forward::bar(VIEWERS + 1 + ROUNDS)?;
    bar.set_message("smoke: joining");
    let running = forward::start(&plan, VIEWERS, 1, Opening::Sample, &bar).await?;
    bar.set_message("smoke: server and floor in turns");
    let calls = "housecall_media_driver_total{kind=\"send_calls\"}";
    let packets = "housecall_media_packets_total{kind=\"rtp_out\"}";
    // The server publishes its counters a few times a second; while all is paused they are exact.
    let counted = async || -> Result<(f64, f64)> {
        tokio::time::sleep(Duration::from_millis(600)).await;
        Ok((
            running.target.metric(calls).await?,
            running.target.metric(packets).await?,
        ))
    };
    running.load.pause(true);
    let before = counted().await?;
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let (server, floor) = tokio::task::block_in_place(|| round(&running))?;
        rounds.server.push(server);
        rounds.floor.push(floor);
        bar.inc(1);
    }
    let after = counted().await?;
    bar.finish_and_clear();
    let seen = running.load.seen();
    running.load.stop()?;
    ensure!(
        seen.verified > 0 && seen.broken == 0,
        "what was forwarded could not be opened"
    );
    (rounds.calls, rounds.packets) = (after.0 - before.0, after.1 - before.1);
    Ok(rounds)
}

/// Server, then floor: what a packet costs each.
fn round(running: &Running) -> Result<(f64, f64)> {
    let (process, threads) = running.target.process();
    let (seen, used) = (running.load.seen(), process.usage(threads)?);
    running.load.pause(false);
    std::thread::sleep(ROUND);
    running.load.pause(true);
    std::thread::sleep(DRAIN);
    let seen = running.load.seen().since(seen);
    let used = process.usage(threads)?.since(used);
    ensure!(seen.received > 0, "nothing was forwarded");
    let floor = floor::measure(&floor::Plan {
        receivers: Receivers::Woken,
        kind: Kind::Best,
        streams: &[(Source::Whole { rate: RATE }, VIEWERS)],
        profile: None,
        time: ROUND,
    })?;
    Ok((micros_each(used.cpu, seen.received), floor.send_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASELINE: Figures = Figures {
        ratio_to_best: 2.0,
        send_calls_per_packet: 0.2,
    };

    #[test]
    fn a_quarter_more_is_allowed_and_no_more() {
        let within = Figures {
            ratio_to_best: 2.49,
            send_calls_per_packet: 0.01,
        };
        assert_eq!(compare(&within, &BASELINE), Vec::<String>::new());
        let dearer = Figures {
            ratio_to_best: 2.6,
            ..BASELINE
        };
        assert_eq!(
            compare(&dearer, &BASELINE),
            ["the ratio to the floor is 2.60 against 2.00"]
        );
        let broken = Figures {
            ratio_to_best: f64::NAN,
            send_calls_per_packet: 1.0,
        };
        assert_eq!(compare(&broken, &BASELINE).len(), 2);
    }

    #[test]
    fn a_busy_machine_adds_to_some_rounds_and_the_least_counts() {
        let mut rounds = Rounds {
            server: vec![9.0, 4.0, 30.0],
            floor: vec![2.0, 7.0, 2.5],
            calls: 10.0,
            packets: 60.0,
        };
        assert_eq!(rounds.figures().ratio_to_best, 2.0);
        rounds.extend(Rounds {
            server: vec![3.0],
            floor: vec![5.0],
            calls: 20.0,
            packets: 60.0,
        });
        let figures = rounds.figures();
        assert_eq!((figures.ratio_to_best, figures.send_calls_per_packet), (1.5, 0.25));
        assert_eq!(
            compare(&Rounds::default().figures(), &BASELINE).len(),
            1,
            "nothing measured is no pass"
        );
    }

    #[test]
    fn the_committed_baseline_is_readable_and_has_both_profiles() {
        let baselines = read(&default_file()).expect("readable");
        for profile in ["debug", "release"] {
            let figures = baselines.get(profile).expect(profile);
            assert!(figures.ratio_to_best > 0.3 && figures.send_calls_per_packet <= 1.0);
        }
        assert!(read(Path::new("no/such/file")).expect("none is no error").is_empty());
    }
}
