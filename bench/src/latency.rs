//! `bench latency`: how long packets stay in the server, from stamps in their payload, while a media thread is half busy.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::dtls::Profile;
use crate::floor::{self, Kind};
use crate::forward::{Measured, bar};
use crate::load::{Load, Opening, Spec, Stream};
use crate::offer::Line;
use crate::report::{self, Row};
use crate::source::{SPREAD, Source};
use crate::stats::Summary;
use crate::target::{Elsewhere, How, Target};

/// Viewers of the trial that tells how many are needed.
const TRIAL: usize = 30;
/// The most viewers: more handles than this is another benchmark.
const MOST: usize = 900;
const STREAMS: [Source; 2] = [Source::Audio, Source::Burst { rate: 180 }];

/// What to measure.
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) other: Elsewhere,
    pub(crate) viewers: Option<usize>,
    pub(crate) busy: f64,
    pub(crate) profile: Option<Profile>,
    pub(crate) time: Duration,
    pub(crate) json: Option<PathBuf>,
}

/// Audio or video of a run.
#[derive(Serialize)]
struct Latency {
    viewers: usize,
    media: &'static str,
    media_thread_share: f64,
    packets: usize,
    through_server: Summary,
    floor: Summary,
    added_p50_us: f64,
    added_p99_us: f64,
    lost: i64,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for Latency {
    const BENCH: &'static str = "latency";

    fn cells(&self) -> Vec<(&'static str, String)> {
        let millis = |micros: f64| format!("{:.3}", micros / 1e3);
        vec![
            ("viewers", self.viewers.to_string()),
            ("media", self.media.to_owned()),
            ("media thread", format!("{:.0} %", self.media_thread_share * 100.0)),
            ("packets", self.packets.to_string()),
            ("lost", self.lost.to_string()),
            ("p50 ms", millis(self.through_server.p50_us)),
            ("p99 ms", millis(self.through_server.p99_us)),
            ("max ms", millis(self.through_server.max_us)),
            ("floor p50", millis(self.floor.p50_us)),
            ("floor p99", millis(self.floor.p99_us)),
            ("ADDED p50 ms", millis(self.added_p50_us)),
            ("ADDED p99 ms", millis(self.added_p99_us)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 3] = [
    "From the publisher's send call to the return of the viewer's receive call, one clock, every packet of every viewer",
    "floor: the same streams by plain sends straight to one receiver: what kernel, wake-ups and generator take. ADDED is the difference",
    "One publisher with audio at 50 packets/s and video in Chromium-like bursts at 180 packets/s",
];

/// Measures and prints.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let (viewers, found) = match plan.viewers {
        Some(viewers) => (viewers, None),
        None => {
            let (measured, ..) = one(plan, TRIAL, Duration::from_secs(3)).await?;
            let share = measured.share(measured.server.threads).max(0.001);
            let viewers = (TRIAL as f64 * plan.busy / share) as usize;
            (viewers.clamp(1, MOST), Some(share))
        }
    };
    let (measured, mut audio, mut video) = one(plan, viewers, plan.time).await?;
    ensure!(
        audio.len() > 0 && video.len() > 0,
        "audio or video did not come through"
    );
    let streams = STREAMS.map(|source| (source, 1));
    let mut floor = tokio::task::block_in_place(|| {
        floor::measure(&floor::Plan {
            kind: Kind::Plain,
            streams: &streams,
            profile: plan.profile,
            time: plan.time,
        })
    })?;
    let mut notes = measured.limits();
    let share = measured.share(measured.server.threads);
    if let Some(trial) = found
        && (share - plan.busy).abs() > 0.15
    {
        notes.push(format!(
            "the media thread was {:.0} % busy, not {:.0} %: {TRIAL} viewers took {:.0} %; --viewers sets another number",
            share * 100.0,
            plan.busy * 100.0,
            trial * 100.0
        ));
    }
    let row = |media, through: Summary, floor: Summary, notes| Latency {
        viewers,
        media,
        media_thread_share: share,
        packets: through.count,
        through_server: through,
        floor,
        added_p50_us: through.p50_us - floor.p50_us,
        added_p99_us: through.p99_us - floor.p99_us,
        lost: measured.seen.lost,
        notes,
    };
    let rows = [
        row("audio", audio.summary(), floor.latencies.0.summary(), notes),
        row("video", video.summary(), floor.latencies.1.summary(), Vec::new()),
    ];
    report::print(&rows, &MEANING);
    report::write_json(&rows, plan.json.as_deref())
}

/// One publisher and its viewers for so long.
async fn one(
    plan: &Plan,
    viewers: usize,
    time: Duration,
) -> Result<(Measured, crate::stats::Samples, crate::stats::Samples)> {
    let bar = bar(viewers + 2)?;
    bar.set_message(format!("1 → {viewers}: joining"));
    let target = Target::new(&plan.other, &plan.binary, 1, plan.profile)?;
    let visit = target.visit()?;
    let ssrc = 0x00be_0001;
    let lines = [Line::SendAudio { ssrc }, Line::SendVideo { ssrc: ssrc + 2 }];
    let mut peers = vec![target.join(How::Whip, &visit, &lines).await?.peer];
    bar.inc(1);
    let receiving: &[Line] = &[Line::ReceiveAudio, Line::ReceiveVideo];
    peers.extend(target.join_viewers(&visit, receiving, viewers, &bar).await?);
    let stream = |number: usize| Stream {
        peer: 0,
        source: STREAMS[number],
        ssrc: ssrc + 2 * number as u32,
        mid: number.to_string(),
        rid: None,
        size: (1_280, 720),
    };
    let load = Load::start(Spec {
        peers,
        streams: vec![stream(0), stream(1)],
        opening: Opening::All,
        spread: SPREAD,
    })?;
    bar.set_message(format!("1 → {viewers}: measuring"));
    tokio::task::block_in_place(|| {
        load.wait_for(2 * viewers as u64, Duration::from_secs(20))?;
        std::thread::sleep(Duration::from_secs(2));
        load.take_latencies();
        let measured = Measured::over(&load, &target, time, &bar)?;
        let (audio, video) = load.take_latencies();
        load.stop()?;
        bar.finish_and_clear();
        Ok((measured, audio, video))
    })
}
