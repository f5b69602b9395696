//! `bench forward --smoke`: a few seconds that show whether forwarding has become dearer than the committed baseline.
//!
//! It must not fail because a machine is busy or slow. So nothing is compared with a clock: processor time of the server over that of
//! the floor, taken in turns of a third of a second within one run, and the median of their ratios; frames arrive whole, so that
//! the number of send calls does not depend on who is woken when; and only what is too much three times in a row is a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::floor::{self, Kind};
use crate::forward::{self, Running, Shape};
use crate::load::Opening;
use crate::report::figure;
use crate::server::Adaptation;
use crate::source::Source;
use crate::stats::{median, micros_each};
use crate::target::Elsewhere;

/// A figure may grow by so much.
const TOLERANCE: f64 = 1.25;
/// Runs before too much counts as too much.
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
    if record {
        let mut measured = Vec::new();
        for _ in 0..ATTEMPTS {
            measured.push(once(&binary).await?);
        }
        let middle = |of: fn(&Figures) -> f64| median(&measured.iter().map(of).collect::<Vec<_>>());
        let figures = Figures {
            ratio_to_best: rounded(middle(|figures| figures.ratio_to_best)),
            send_calls_per_packet: rounded(middle(|figures| figures.send_calls_per_packet)),
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
        let measured = once(&binary).await?;
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
        "forwarding has become dearer than {} allows, {ATTEMPTS} times in a row: {}. If that is meant, record it anew: bench forward --smoke --record",
        file.display(),
        complaints.join("; ")
    )
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

async fn once(binary: &Path) -> Result<Figures> {
    let plan = forward::Plan {
        binary: binary.to_owned(),
        other: Elsewhere::default(),
        viewers: vec![VIEWERS],
        rate: Some(RATE),
        shape: Shape::Whole,
        shards: vec![1],
        adaptation: Adaptation::On,
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
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        ratios.push(tokio::task::block_in_place(|| round(&running))?);
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
    Ok(Figures {
        ratio_to_best: median(&ratios),
        send_calls_per_packet: (after.0 - before.0) / (after.1 - before.1).max(1.0),
    })
}

/// Server, then floor. Their ratio.
fn round(running: &Running) -> Result<f64> {
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
        kind: Kind::Best,
        streams: &[(Source::Whole { rate: RATE }, VIEWERS)],
        profile: None,
        time: ROUND,
    })?;
    Ok(micros_each(used.cpu, seen.received) / floor.send_us)
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
    fn the_committed_baseline_is_readable_and_has_both_profiles() {
        let baselines = read(&default_file()).expect("readable");
        for profile in ["debug", "release"] {
            let figures = baselines.get(profile).expect(profile);
            assert!(figures.ratio_to_best > 0.3 && figures.send_calls_per_packet <= 1.0);
        }
        assert!(read(Path::new("no/such/file")).expect("none is no error").is_empty());
    }
}
