//! What media costs more by hand-over: two servers under the same load, one reached directly and one by its relay, in turns of a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::task::JoinSet;

use super::Plan;
use super::accounts::Accounts;
use super::calls;
use super::ways::{By, Ways};
use crate::compare::{self, round};
use crate::forward::{self, Shape, bar};
use crate::load::{Load, Opening, Receivers, Spec, Stream};
use crate::offer::Line;
use crate::pipe::Way;
use crate::report::{self, Row, figure};
use crate::rooms;
use crate::server::{Options, Relay};
use crate::stats::median;
use crate::target::{How, Target};

const VIEWERS: usize = 100;
const ROOMS: usize = 20;

/// Who sends what to whom.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One publisher, who comes directly, and viewers.
    Forward(Shape),
    /// Rooms of two, all of them by the relay.
    Rooms,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Forward(shape) => write!(f, "1 → {VIEWERS} {}", format!("{shape:?}").to_lowercase()),
            Self::Rooms => write!(f, "{ROOMS} rooms, two-way"),
        }
    }
}

/// One load.
#[derive(Serialize)]
struct HandedOver {
    load: String,
    rounds: usize,
    direct_us_per_packet: f64,
    relayed_us_per_packet: f64,
    added: f64,
    direct_calls_per_packet: Option<f64>,
    relayed_calls_per_packet: Option<f64>,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for HandedOver {
    const BENCH: &'static str = "turn-hand-over";

    fn cells(&self) -> Vec<(&'static str, String)> {
        let calls = |calls: Option<f64>| calls.map_or("–".to_owned(), |calls| format!("{calls:.3}"));
        vec![
            ("load", self.load.clone()),
            ("rounds", self.rounds.to_string()),
            ("direct µs", figure(self.direct_us_per_packet)),
            ("relayed µs", figure(self.relayed_us_per_packet)),
            ("ADDED", format!("{:+.1} %", self.added * 100.0)),
            ("direct calls/packet", calls(self.direct_calls_per_packet)),
            ("relayed calls/packet", calls(self.relayed_calls_per_packet)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 3] = [
    "µs: processor time of the whole server for each packet that reached somebody; two servers take turns of a second under the same load",
    "relayed: viewers (in rooms: everybody) come by TURN over UDP, with a channel each; the publisher of 1 → N comes directly in both",
    "ADDED: median of the quotients within a round, less one · calls: system calls of the server for each packet, counted by perf",
];

/// Measures and prints.
pub(super) async fn run(plan: &Plan) -> Result<()> {
    let mut rows = Vec::new();
    for kind in [Kind::Forward(Shape::Burst), Kind::Forward(Shape::Even), Kind::Rooms] {
        rows.push(one(plan, kind).await?);
    }
    report::print(&rows, &MEANING);
    report::write_json(&rows, plan.json.as_deref())
}

async fn one(plan: &Plan, kind: Kind) -> Result<HandedOver> {
    let rounds = plan.time.as_secs().max(4) as usize;
    let bar = bar(2 * (VIEWERS + 1) + rounds)?;
    bar.set_message(format!("{kind}, twice: joining"));
    let busy = [
        start(plan, kind, false, &bar).await?,
        start(plan, kind, true, &bar).await?,
    ];
    let [direct, relayed] = busy.each_ref().map(|busy| &busy.running);
    bar.set_message(format!("{kind}: in turns"));
    let row = tokio::task::block_in_place(|| {
        std::thread::sleep(compare::SETTLE);
        direct.load.pause(true);
        relayed.load.pause(true);
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for number in 0..rounds {
            if number % 2 == 0 {
                own.push(round(direct)?);
                other.push(round(relayed)?);
            } else {
                other.push(round(relayed)?);
                own.push(round(direct)?);
            }
            bar.inc(1);
        }
        bar.set_message(format!("{kind}: counting system calls"));
        let calls = [count_calls(direct)?, count_calls(relayed)?];
        let quotients: Vec<f64> = own.iter().zip(&other).map(|(own, other)| other / own).collect();
        let mut notes = Vec::new();
        if calls.contains(&None) {
            notes.push(calls::MISSING.to_owned());
        }
        Ok::<_, anyhow::Error>(HandedOver {
            load: kind.to_string(),
            rounds,
            direct_us_per_packet: median(&own),
            relayed_us_per_packet: median(&other),
            added: median(&quotients) - 1.0,
            direct_calls_per_packet: calls[0],
            relayed_calls_per_packet: calls[1],
            notes,
        })
    })?;
    bar.finish_and_clear();
    for busy in busy {
        busy.running.load.stop()?;
    }
    Ok(row)
}

/// System calls for each packet that reached somebody.
fn count_calls(running: &forward::Running) -> Result<Option<f64>> {
    running.load.pause(false);
    std::thread::sleep(Duration::from_millis(500));
    let (began, before) = (Instant::now(), running.load.seen());
    let calls = calls::count(&running.target.process().0, Duration::from_secs(2))?;
    let (seen, time) = (running.load.seen().since(before), began.elapsed());
    running.load.pause(true);
    Ok(calls.map(|calls| calls * time.as_secs_f64() / seen.received.max(1) as f64))
}

/// A load, and what must be kept while it runs.
struct Busy {
    running: forward::Running,
    _followers: Option<JoinSet<Result<()>>>,
}

async fn start(plan: &Plan, kind: Kind, relayed: bool, bar: &ProgressBar) -> Result<Busy> {
    let options = Options {
        relay: Relay::HandOverUdp,
        ..Options::shards(1)
    };
    let target = Target::ours(&plan.binary, &options, None)?;
    let way = if relayed {
        let accounts = Accounts::enter(&target, VIEWERS.max(2 * ROOMS)).await?;
        Way::Relayed(Arc::new(Ways::new(accounts, By::Udp)))
    } else {
        Way::Direct
    };
    match kind {
        Kind::Forward(shape) => Ok(Busy {
            running: forward(target, way, shape, bar).await?,
            _followers: None,
        }),
        Kind::Rooms => {
            let shape = rooms::Shape::TwoWay;
            let rooms = rooms::start_on(target.by(way), ROOMS, shape, Opening::Sample, bar).await?;
            let (running, followers) = rooms.into_parts();
            Ok(Busy {
                running,
                _followers: Some(followers),
            })
        }
    }
}

/// A publisher who comes directly, and viewers who come by `way`.
async fn forward(target: Target, way: Way, shape: Shape, bar: &ProgressBar) -> Result<forward::Running> {
    let visit = target.visit()?;
    let ssrc = 0x00be_0001;
    let publisher = target.join(How::Whip, &visit, &[Line::SendVideo { ssrc }]).await?;
    let empty = target.process().0.holdings()?;
    let target = target.by(way);
    let mut peers = vec![publisher.peer];
    peers.extend(target.join_viewers(&visit, &[Line::ReceiveVideo], VIEWERS, bar).await?);
    let load = Load::start(Spec {
        peers,
        streams: vec![Stream {
            peer: 0,
            source: shape.source(None),
            ssrc,
            mid: "0".to_owned(),
            rid: None,
            size: (1_280, 720),
        }],
        opening: Opening::Sample,
        spread: shape.spread(),
        receivers: Receivers::Woken,
    })?;
    tokio::task::block_in_place(|| load.wait_for(VIEWERS as u64, Duration::from_secs(20)))?;
    Ok(forward::Running { target, load, empty })
}
