//! What a packet costs by TURN over TLS. Three servers take turns of a second: coturn, which relays to peers over UDP; ours, whose
//! hand-over leads into its own media core; and ours without the relay.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::accounts::Accounts;
use super::certificate::Pair;
use super::coturn::{self, Coturn};
use super::flow::{Calls, Flow, Traffic};
use super::tunnel::Tunnels;
use super::turns::{self, Turn};
use super::ways::{By, Ways};
use super::{Plan, SECRET};
use crate::forward::bar;
use crate::load::Opening;
use crate::pipe::Way;
use crate::report::{self, Row, figure};
use crate::rooms::{self, Shape};
use crate::server::{Options, Relay};
use crate::target::Target;

const ROOMS: usize = 20;
/// Clients of coturn: as many as there are people in the rooms.
const CLIENTS: usize = 2 * ROOMS;
/// What they and their peers send: packets as large as the issue counts them, at the rate of a camera and a microphone.
const TRAFFIC: Traffic = Traffic {
    burst: 6,
    size: 1_000,
    interval: Duration::from_millis(30),
    calls: Calls::Each,
};

/// What coturn and our public relay do.
const RELAYING: &str = "TLS client, UDP peer";

/// One server.
#[derive(Serialize)]
struct OverTls {
    server: String,
    work: &'static str,
    packets_per_second: f64,
    cpu_us_per_packet: f64,
    loss: f64,
    calls_per_packet: Option<f64>,
    of_coturn: f64,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for OverTls {
    const BENCH: &'static str = "turn-tls";

    fn cells(&self) -> Vec<(&'static str, String)> {
        vec![
            ("server", self.server.clone()),
            ("work", self.work.to_owned()),
            ("packets/s", figure(self.packets_per_second)),
            ("CPU µs/packet", figure(self.cpu_us_per_packet)),
            ("lost", format!("{:.2} %", self.loss * 100.0)),
            ("calls/packet", self.calls_per_packet.map_or("–".to_owned(), figure)),
            ("of coturn's", figure(self.of_coturn)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 4] = [
    "TLS client, UDP peer: each packet goes through TLS on one side and is a datagram on the other; half go up, half down; 1,000 bytes",
    "hand-over: rooms of two, everybody over TLS; packets in plus packets out, each once through TLS; SRTP, forwarding and feedback are in it",
    "directly: the same rooms over UDP, to see what the relay and TLS add",
    "What clients send has a TLS record for each packet, as browsers write it; all over AES-256-GCM",
];

/// Measures and prints.
pub(super) async fn run(plan: &Plan) -> Result<()> {
    let directory = super::Scratch::new("tls")?;
    let pair = Pair::make(&directory.0, "server")?;
    let rounds = plan.time.as_secs().max(4) as usize;
    let bar = bar(2 * ROOMS + rounds + 3)?;
    let mut turns = Vec::new();
    let (mut kept, mut kept_tunnels) = (Vec::new(), Vec::new());
    bar.set_message("TURN/TLS: joining");
    let options = Options {
        tls: Some((pair.cert.clone(), pair.key.clone())),
        ..Options::shards(1)
    };
    for relayed in [true, false] {
        let target = Target::ours(&plan.binary, &options, None)?;
        let way = if relayed {
            let accounts = Accounts::enter(&target, CLIENTS).await?;
            Way::Relayed(Arc::new(Ways::new(accounts, By::Tls(Tunnels::start()?))))
        } else {
            Way::Direct
        };
        let rooms = rooms::start_on(target.by(way), ROOMS, Shape::TwoWay, Opening::Sample, &bar).await?;
        let (running, followers) = rooms.into_parts();
        kept.push(followers);
        turns.push(if relayed {
            (
                Turn::Rooms(running),
                "housecall, hand-over".to_owned(),
                "rooms by TURN/TLS",
            )
        } else {
            (Turn::Rooms(running), "housecall".to_owned(), "the same rooms directly")
        });
    }
    let options = Options {
        relay: Relay::Public { secret: SECRET },
        ..options
    };
    let public = Target::ours(&plan.binary, &options, None);
    // A build from before there was one can still be measured.
    if let Ok(public) = &public {
        let tunnels = Tunnels::start()?;
        let ends = turns::over_tls(CLIENTS, public.server()?.relay, &tunnels)?;
        let flow = Turn::Flow(Flow::start(ends, TRAFFIC)?, public.process().0);
        turns.push((flow, "housecall, public".to_owned(), RELAYING));
        kept_tunnels.push(tunnels);
    }
    let coturn = coturn::version().map(|version| {
        let coturn = Coturn::start(Some(&pair))?;
        let tunnels = Tunnels::start()?;
        let flow = Flow::start(turns::over_tls(CLIENTS, coturn.tls, &tunnels)?, TRAFFIC)?;
        let name = format!("coturn {version}");
        turns.push((Turn::Flow(flow, coturn.process()), name, RELAYING));
        kept_tunnels.push(tunnels);
        Ok::<_, anyhow::Error>(coturn)
    });
    let coturn = coturn.transpose()?;
    bar.set_message("TURN/TLS: in turns");
    let mut rows = tokio::task::block_in_place(|| {
        let figures = turns::take(turns.iter().map(|(turn, ..)| turn), rounds, &bar)?;
        let mut rows = Vec::new();
        for ((turn, server, work), figures) in turns.into_iter().zip(figures) {
            rows.push(OverTls {
                server,
                work,
                calls_per_packet: turn.calls()?,
                loss: turn.loss(),
                cpu_us_per_packet: figures.cpu_us_per_packet,
                packets_per_second: figures.packets_per_second,
                of_coturn: f64::NAN,
                notes: Vec::new(),
            });
            turn.stop()?;
            bar.inc(1);
        }
        Ok::<_, anyhow::Error>(rows)
    })?;
    bar.finish_and_clear();
    match &coturn {
        Some(_) => {
            let theirs = rows.last().map_or(f64::NAN, |row| row.cpu_us_per_packet);
            rows.iter_mut()
                .for_each(|row| row.of_coturn = row.cpu_us_per_packet / theirs);
        }
        None => rows[0].notes.push(coturn::MISSING.to_owned()),
    }
    let added = format!(
        "TURN/TLS adds {} µs to each packet that goes in or out",
        figure(rows[0].cpu_us_per_packet - rows[1].cpu_us_per_packet)
    );
    rows[0].notes.push(added);
    if let Err(error) = public {
        let note = format!("the public relay did not start, so its row is missing: {error:#}");
        rows[0].notes.push(note);
    }
    report::print(&rows, &MEANING);
    report::write_json(&rows, plan.json.as_deref())
}
