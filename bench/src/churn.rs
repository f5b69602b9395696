//! `bench churn`: many people join and leave a visit with a stream in it; afterwards the server holds what it held before.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::dtls::Profile;
use crate::forward::bar;
use crate::load::{Load, Opening, Receivers, Spec, Stream};
use crate::measure::Holdings;
use crate::offer::Line;
use crate::report::{self, Row, figure};
use crate::server::Options;
use crate::source::Source;
use crate::target::{How, Target, Visit};

/// Joined and left before the baseline: caches, pools and threads are there then.
const WARM_UP: u64 = 500;
/// People who join and leave at a time.
const AT_ONCE: u64 = 8;
/// Resident memory may grow by so much.
const MAY_GROW: i64 = 5 * 1_024 * 1_024;
/// How long the server has to forget everybody.
const PATIENCE: Duration = Duration::from_secs(60);
/// Idle HTTP connections are closed by then, on both sides.
const SETTLE: Duration = Duration::from_secs(5);
const RECEIVING: &[Line] = &[Line::ReceiveAudio, Line::ReceiveVideo];

/// What to measure.
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) joins: u64,
    pub(crate) profile: Option<Profile>,
    pub(crate) json: Option<PathBuf>,
}

/// What the server says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Sizes {
    rooms: f64,
    participants: f64,
    tracks: f64,
    slots: f64,
}

/// One run.
#[derive(Serialize)]
struct Churn {
    joins: u64,
    failed: u64,
    joins_per_second: f64,
    before: Holdings,
    after: Holdings,
    resident_growth: i64,
    /// At each tenth of the joins, while people come and go.
    resident_on_the_way: Vec<u64>,
    sizes_before: Sizes,
    sizes_after: Sizes,
    flat: bool,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for Churn {
    const BENCH: &'static str = "churn";

    fn cells(&self) -> Vec<(&'static str, String)> {
        let mebi = |bytes: f64| format!("{:.1}", bytes / 1_048_576.0);
        let pair = |before: f64, after: f64| format!("{before:.0} → {after:.0}");
        let way: Vec<String> = self
            .resident_on_the_way
            .iter()
            .map(|bytes| mebi(*bytes as f64))
            .collect();
        vec![
            ("joins", self.joins.to_string()),
            ("failed", self.failed.to_string()),
            ("joins/s", figure(self.joins_per_second)),
            ("MiB before", mebi(self.before.resident as f64)),
            ("on the way", way.join(" ")),
            ("MiB after", mebi(self.after.resident as f64)),
            ("growth MiB", mebi(self.resident_growth as f64)),
            (
                "fds",
                pair(self.before.descriptors as f64, self.after.descriptors as f64),
            ),
            ("maps", pair(self.before.mappings as f64, self.after.mappings as f64)),
            ("rooms", pair(self.sizes_before.rooms, self.sizes_after.rooms)),
            (
                "participants",
                pair(self.sizes_before.participants, self.sizes_after.participants),
            ),
            ("slots", pair(self.sizes_before.slots, self.sizes_after.slots)),
            ("flat", if self.flat { "yes" } else { "NO" }.to_owned()),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 2] = [
    "before: after 500 joins and leaves that fill caches and pools; after: when /metrics says that everybody is gone",
    "flat: the same descriptors, rooms, participants, tracks and slots as before, and at most 5 MiB more resident memory",
];

/// Measures and prints; an error if the server is not as it was.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let bar = bar((plan.joins + WARM_UP) as usize)?;
    let target = Target::ours(&plan.binary, &Options::shards(1), plan.profile)?;
    let visit = target.visit()?;
    let ssrc = 0x00be_0001;
    let publisher = target.join(How::Whip, &visit, &[Line::SendVideo { ssrc }]).await?;
    let load = Load::start(Spec {
        receivers: Receivers::Woken,
        peers: vec![publisher.peer],
        streams: vec![Stream {
            peer: 0,
            source: Source::Even { rate: 50 },
            ssrc,
            mid: "0".to_owned(),
            rid: None,
            size: (1_280, 720),
        }],
        opening: Opening::Sample,
        spread: Duration::ZERO,
    })?;
    bar.set_message("warming up");
    let mut ignored = Vec::new();
    churn(&target, &visit, WARM_UP, &bar, &mut ignored).await?;
    let (before, sizes_before) = settled(&target, None).await?;
    bar.set_message("joining and leaving");
    let began = Instant::now();
    let mut on_the_way = Vec::new();
    let failed = churn(&target, &visit, plan.joins, &bar, &mut on_the_way).await?;
    let took = began.elapsed();
    let (after, sizes_after) = settled(&target, Some(sizes_before)).await?;
    bar.finish_and_clear();
    load.stop()?;
    let resident_growth = after.resident as i64 - before.resident as i64;
    let flat = resident_growth <= MAY_GROW && after.descriptors == before.descriptors && sizes_after == sizes_before;
    let mut notes = Vec::new();
    if failed > 0 {
        notes.push(format!("{failed} joins failed"));
    }
    let row = Churn {
        joins: plan.joins,
        failed,
        joins_per_second: plan.joins as f64 / took.as_secs_f64(),
        before,
        after,
        resident_growth,
        resident_on_the_way: on_the_way,
        sizes_before,
        sizes_after,
        flat,
        notes,
    };
    report::print(std::slice::from_ref(&row), &MEANING);
    report::write_json(std::slice::from_ref(&row), plan.json.as_deref())?;
    if !flat {
        bail!("the server did not return to what it held before");
    }
    Ok(())
}

/// So many joins, each followed by a leave; notes the resident memory at each tenth. Gives how many failed.
async fn churn(
    target: &Target,
    visit: &Visit,
    joins: u64,
    bar: &ProgressBar,
    on_the_way: &mut Vec<u64>,
) -> Result<u64> {
    let failed = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let mut going = JoinSet::new();
    let (mut begun, mut done) = (0, 0);
    while done < joins {
        while begun < joins && (going.len() as u64) < AT_ONCE {
            begun += 1;
            let (target, visit, failed) = (target.clone(), visit.clone(), Arc::clone(&failed));
            going.spawn(async move {
                let stayed = match target.join(How::Whep, &visit, RECEIVING).await {
                    Ok(joined) => match joined.session {
                        Some(session) => target.leave(&visit, &session).await.is_ok(),
                        None => false,
                    },
                    Err(_) => false,
                };
                if !stayed {
                    failed.fetch_add(1, relaxed);
                }
            });
        }
        if going.join_next().await.is_some() {
            done += 1;
            bar.inc(1);
            if done % joins.div_ceil(10) == 0 {
                on_the_way.push(target.process().0.holdings()?.resident);
            }
        }
        let failed = failed.load(relaxed);
        if failed > 100 && failed > done / 2 {
            bail!("{failed} of {done} joins failed");
        }
    }
    Ok(failed.load(relaxed))
}

/// What the server holds once its sizes are `as_before`, or at the end of our patience.
async fn settled(target: &Target, as_before: Option<Sizes>) -> Result<(Holdings, Sizes)> {
    tokio::time::sleep(SETTLE).await;
    let began = Instant::now();
    loop {
        let sizes = sizes(target).await?;
        if as_before.is_none_or(|before| before == sizes) || began.elapsed() > PATIENCE {
            // The connection of the question itself is gone, too.
            tokio::time::sleep(SETTLE).await;
            return Ok((target.process().0.holdings()?, sizes));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn sizes(target: &Target) -> Result<Sizes> {
    Ok(Sizes {
        rooms: target.metric("housecall_media_rooms").await?,
        participants: target.metric("housecall_media_participants").await?,
        tracks: target.metric("housecall_media_tracks").await?,
        slots: target.metric("housecall_media_slots").await?,
    })
}
