//! `bench storm`: many people join while a stream goes on: what it costs, and what the stream's viewers notice.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::dtls::Profile;
use crate::floor::{self, Kind};
use crate::forward::{Measured, bar};
use crate::load::{Load, Opening, Receivers, Spec, Stream};
use crate::offer::Line;
use crate::report::{self, Row, figure};
use crate::server::Options;
use crate::source::{SPREAD, Source};
use crate::stats::{Samples, Summary, micros_each};
use crate::target::{How, Target, Visit};

/// Who joins is in the visit for so long: the storm is about joining, not about being many.
const STAY: Duration = Duration::from_secs(2);
/// Joins under way. More means that the server or the generator does not keep up, and they wait.
const UNDER_WAY: usize = 64;
/// Visits the joins are spread over.
const VISITS: usize = 16;
const STREAM: Source = Source::Burst { rate: 180 };
const RECEIVING: &[Line] = &[Line::ReceiveAudio, Line::ReceiveVideo];

/// What to measure.
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) viewers: usize,
    pub(crate) joins_per_second: u64,
    pub(crate) profile: Option<Profile>,
    pub(crate) time: Duration,
    pub(crate) json: Option<PathBuf>,
}

/// One run.
#[derive(Serialize)]
struct Storm {
    viewers: usize,
    joins_per_second: f64,
    joined: u64,
    failed: u64,
    join: Summary,
    cpu_us_per_join: f64,
    media_thread_us_per_join: f64,
    media_thread_share: f64,
    quiet: Summary,
    stormy: Summary,
    floor: Summary,
    added_p50_us: f64,
    added_p99_us: f64,
    stormy_over_floor_p50_us: f64,
    stormy_over_floor_p99_us: f64,
    lost: i64,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for Storm {
    const BENCH: &'static str = "storm";

    fn cells(&self) -> Vec<(&'static str, String)> {
        let millis = |micros: f64| format!("{:.3}", micros / 1e3);
        vec![
            ("joins/s", figure(self.joins_per_second)),
            ("joined", self.joined.to_string()),
            ("failed", self.failed.to_string()),
            ("join p50 ms", millis(self.join.p50_us)),
            ("join p99 ms", millis(self.join.p99_us)),
            ("CPU ms/join", millis(self.cpu_us_per_join)),
            ("of it media", millis(self.media_thread_us_per_join)),
            ("media thread", format!("{:.0} %", self.media_thread_share * 100.0)),
            ("quiet p50", millis(self.quiet.p50_us)),
            ("quiet p99", millis(self.quiet.p99_us)),
            ("storm p50", millis(self.stormy.p50_us)),
            ("storm p99", millis(self.stormy.p99_us)),
            ("storm max", millis(self.stormy.max_us)),
            ("ADDED p50 ms", millis(self.added_p50_us)),
            ("ADDED p99 ms", millis(self.added_p99_us)),
            ("floor p99", millis(self.floor.p99_us)),
            ("lost", self.lost.to_string()),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 5] = [
    "join: from the offer's POST to SRTP keys, the generator's own DTLS included; everyone leaves after 2 s",
    "CPU ms/join: processor time of the whole server in the storm less that of as long a quiet time, over the joins; leaving is in it",
    "latencies: of the stream's forwarded video in ms, before the storm and in it; ADDED is their difference",
    "floor: the same stream by plain sends straight to one receiver, without server and storm",
    "The joining half of the generator runs at a lower priority: the clients of a real storm have processors of their own",
];

/// Measures and prints.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let steps = plan.viewers + 2 * plan.time.as_secs() as usize;
    let bar = bar(steps)?;
    bar.set_message(format!("1 → {}: joining", plan.viewers));
    let target = Target::ours(&plan.binary, &Options::shards(1), plan.profile)?;
    let visit = target.visit()?;
    let ssrc = 0x00be_0001;
    let mut peers = vec![target.join(How::Whip, &visit, &[Line::SendVideo { ssrc }]).await?.peer];
    let viewers = target.join_viewers(&visit, &[Line::ReceiveVideo], plan.viewers, &bar);
    peers.extend(viewers.await?);
    let visits: Vec<Visit> =
        tokio::task::block_in_place(|| (0..VISITS).map(|_| target.visit()).collect::<Result<_>>())?;
    let load = Load::start(Spec {
        receivers: Receivers::Woken,
        peers,
        streams: vec![Stream {
            peer: 0,
            source: STREAM,
            ssrc,
            mid: "0".to_owned(),
            rid: None,
            size: (1_280, 720),
        }],
        opening: Opening::All,
        spread: SPREAD,
    })?;
    bar.set_message("quiet");
    let (quiet, mut before) = tokio::task::block_in_place(|| {
        load.wait_for(plan.viewers as u64, Duration::from_secs(20))?;
        std::thread::sleep(Duration::from_secs(2));
        watch(&load, &target, plan.time, &bar)
    })?;
    bar.set_message(format!("{} joins/s", plan.joins_per_second));
    let tally = Arc::new(Tally::default());
    let storm = tokio::spawn(storm(
        target.clone(),
        visits,
        plan.joins_per_second,
        plan.time,
        Arc::clone(&tally),
    ));
    let (stormy, mut during) = tokio::task::block_in_place(|| watch(&load, &target, plan.time, &bar))?;
    let joined = tally.joined.load(Ordering::Relaxed);
    let mut join = storm.await??;
    load.stop()?;
    drop(target);
    let mut floor = tokio::task::block_in_place(|| {
        floor::measure(&floor::Plan {
            receivers: Receivers::Woken,
            kind: Kind::Plain,
            streams: &[(STREAM, 1)],
            profile: plan.profile,
            time: plan.time.min(Duration::from_secs(5)),
        })
    })?;
    bar.finish_and_clear();
    let (before, during, floor) = (before.1.summary(), during.1.summary(), floor.latencies.1.summary());
    let failed = tally.failed.load(Ordering::Relaxed);
    let mut notes = stormy.limits();
    let rate = joined as f64 / stormy.time.as_secs_f64();
    if rate < 0.9 * plan.joins_per_second as f64 {
        notes.push(format!(
            "{rate:.0} joins/s were reached instead of {}",
            plan.joins_per_second
        ));
    }
    if let Some(error) = tally.error.get() {
        notes.push(format!("the first failure: {error}"));
    }
    let row = Storm {
        viewers: plan.viewers,
        joins_per_second: rate,
        joined,
        failed,
        join: join.summary(),
        cpu_us_per_join: micros_each(stormy.server.cpu.saturating_sub(quiet.server.cpu), joined),
        media_thread_us_per_join: micros_each(stormy.server.threads.saturating_sub(quiet.server.threads), joined),
        media_thread_share: stormy.share(stormy.server.threads),
        quiet: before,
        stormy: during,
        floor,
        added_p50_us: during.p50_us - before.p50_us,
        added_p99_us: during.p99_us - before.p99_us,
        stormy_over_floor_p50_us: during.p50_us - floor.p50_us,
        stormy_over_floor_p99_us: during.p99_us - floor.p99_us,
        lost: stormy.seen.lost,
        notes,
    };
    report::print(std::slice::from_ref(&row), &MEANING);
    report::write_json(std::slice::from_ref(&row), plan.json.as_deref())?;
    if row.joined == 0 {
        bail!("nobody could join");
    }
    Ok(())
}

fn watch(load: &Load, target: &Target, time: Duration, bar: &ProgressBar) -> Result<(Measured, (Samples, Samples))> {
    load.take_latencies();
    let measured = Measured::over(load, target, time, bar)?;
    bar.inc(time.as_secs());
    Ok((measured, load.take_latencies()))
}

/// Counted by the storm.
#[derive(Default)]
struct Tally {
    joined: AtomicU64,
    failed: AtomicU64,
    error: std::sync::OnceLock<String>,
}

/// Joins at a rate for so long; gives how long each join took.
async fn storm(
    target: Target,
    visits: Vec<Visit>,
    joins_per_second: u64,
    time: Duration,
    tally: Arc<Tally>,
) -> Result<Samples> {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut joining = JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_nanos(1_000_000_000 / joins_per_second));
    let (began, mut number) = (Instant::now(), 0);
    let mut samples = Samples::default();
    while began.elapsed() < time {
        pace.tick().await;
        let place = Arc::clone(&room).acquire_owned().await?;
        let (target, visit, tally) = (
            target.clone(),
            visits[number % visits.len()].clone(),
            Arc::clone(&tally),
        );
        number += 1;
        joining.spawn(async move {
            let began = Instant::now();
            let joined = target.join(How::Whep, &visit, RECEIVING).await;
            let took = began.elapsed();
            drop(place);
            match joined {
                Ok(joined) => {
                    tally.joined.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(STAY).await;
                    if let Some(session) = &joined.session {
                        let _ = target.leave(&visit, session).await;
                    }
                    Some(took)
                }
                Err(error) => {
                    tally.failed.fetch_add(1, Ordering::Relaxed);
                    let _ = tally.error.set(format!("{error:#}"));
                    None
                }
            }
        });
    }
    while let Some(took) = joining.join_next().await {
        if let Some(took) = took? {
            samples.add(took.as_nanos() as u64);
        }
    }
    Ok(samples)
}
