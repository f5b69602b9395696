//! `bench latency`: how long packets stay in the server, from stamps in their payload, while a media thread is half busy.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::dtls::Profile;
use crate::floor::{self, Kind};
use crate::forward::{Measured, bar};
use crate::load::{Load, Opening, Receivers, Spec, Stream};
use crate::offer::Line;
use crate::report::{self, Row};
use crate::rooms;
use crate::server::Options;
use crate::source::{SPREAD, Source};
use crate::stats::{Samples, Summary};
use crate::target::{Elsewhere, How, Target};

/// Rooms of the trial that tells how many are needed.
const TRIAL: usize = 20;
/// The most rooms: more would be about the generator.
const MOST: usize = 200;
const STREAMS: [Source; 2] = [Source::Audio, Source::Burst { rate: 180 }];

/// What to measure.
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) other: Elsewhere,
    /// One publisher and so many viewers instead of rooms.
    pub(crate) viewers: Option<usize>,
    /// So many rooms instead of as many as keep a media thread busy.
    pub(crate) rooms: Option<usize>,
    pub(crate) busy: f64,
    pub(crate) profile: Option<Profile>,
    pub(crate) time: Duration,
    pub(crate) json: Option<PathBuf>,
}

/// Audio or video of a run.
#[derive(Serialize)]
struct Latency {
    load: String,
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
            ("load", self.load.clone()),
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
    "rooms: two people each, with audio, 720p and 480p · 1 → N: audio at 50 packets/s and video in Chromium-like bursts at 180",
];

/// Measures and prints.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let mut found = None;
    let load = match (plan.viewers, plan.rooms) {
        (Some(viewers), _) => People::Viewers(viewers),
        (None, Some(rooms)) => People::Rooms(rooms),
        (None, None) => {
            let (measured, ..) = one(plan, People::Rooms(TRIAL), Duration::from_secs(3)).await?;
            let share = measured.share(measured.server.threads).max(0.001);
            found = Some(share);
            People::Rooms(((TRIAL as f64 * plan.busy / share) as usize).clamp(1, MOST))
        }
    };
    let (measured, mut audio, mut video) = one(plan, load, plan.time).await?;
    ensure!(
        audio.len() > 0 && video.len() > 0,
        "audio or video did not come through"
    );
    let streams = STREAMS.map(|source| (source, 1));
    let mut floor = tokio::task::block_in_place(|| {
        floor::measure(&floor::Plan {
            receivers: Receivers::Woken,
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
            "the media thread was {:.0} % busy, not {:.0} %: {TRIAL} rooms took {:.0} %; --rooms sets another number",
            share * 100.0,
            plan.busy * 100.0,
            trial * 100.0
        ));
    }
    let row = |media, through: Summary, floor: Summary, notes| Latency {
        load: load.to_string(),
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

/// Who makes the load.
#[derive(Clone, Copy, Debug)]
enum People {
    Viewers(usize),
    Rooms(usize),
}

impl std::fmt::Display for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Viewers(count) => write!(f, "1 → {count}"),
            Self::Rooms(count) => write!(f, "{count} rooms"),
        }
    }
}

/// Measures one load for so long: what was used, latencies of audio and of video.
async fn one(plan: &Plan, people: People, time: Duration) -> Result<(Measured, Samples, Samples)> {
    let (People::Viewers(count) | People::Rooms(count)) = people;
    let bar = bar(count + 1)?;
    bar.set_message(format!("{people}: joining"));
    let measure = |load: &Load, target: &Target| {
        bar.set_message(format!("{people}: measuring"));
        tokio::task::block_in_place(|| {
            std::thread::sleep(Duration::from_secs(2));
            load.take_latencies();
            let measured = Measured::over(load, target, time, &bar)?;
            let (audio, video) = load.take_latencies();
            Ok::<_, anyhow::Error>((measured, audio, video))
        })
    };
    let result = match people {
        People::Rooms(rooms) => {
            let shape = rooms::Shape::Simulcast;
            let running = rooms::start(&plan.binary, rooms, 1, shape, plan.profile, Opening::All, &bar).await?;
            let result = measure(&running.load, &running.target)?;
            running.load.stop()?;
            result
        }
        People::Viewers(viewers) => {
            let target = Target::new(&plan.other, &plan.binary, &Options::shards(1), plan.profile)?;
            let load = fan(&target, viewers, &bar).await?;
            let result = measure(&load, &target)?;
            load.stop()?;
            result
        }
    };
    bar.finish_and_clear();
    Ok(result)
}

/// One publisher and its viewers.
async fn fan(target: &Target, viewers: usize, bar: &ProgressBar) -> Result<Load> {
    let visit = target.visit()?;
    let ssrc = 0x00be_0001;
    let lines = [Line::SendAudio { ssrc }, Line::SendVideo { ssrc: ssrc + 2 }];
    let mut peers = vec![target.join(How::Whip, &visit, &lines).await?.peer];
    let receiving: &[Line] = &[Line::ReceiveAudio, Line::ReceiveVideo];
    peers.extend(target.join_viewers(&visit, receiving, viewers, bar).await?);
    let stream = |number: usize| Stream {
        peer: 0,
        source: STREAMS[number],
        ssrc: ssrc + 2 * number as u32,
        mid: number.to_string(),
        rid: None,
        size: (1_280, 720),
    };
    let load = Load::start(Spec {
        receivers: Receivers::Woken,
        peers,
        streams: vec![stream(0), stream(1)],
        opening: Opening::All,
        spread: SPREAD,
    })?;
    tokio::task::block_in_place(|| load.wait_for(2 * viewers as u64, Duration::from_secs(20)))?;
    Ok(load)
}
