//! The general relay: datagrams from clients over UDP to peers of theirs and back, in bursts, beside coturn.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::coturn::{self, Coturn};
use super::flow::{Calls, Flow, Traffic};
use super::turns::{self, Turn};
use super::{Plan, SECRET};
use crate::forward::bar;
use crate::report::{self, Row, figure};
use crate::server::{Options, Relay};
use crate::target::Target;

const CLIENTS: usize = 50;

fn traffic(calls: Calls) -> Traffic {
    Traffic {
        burst: 8,
        size: 1_000,
        interval: Duration::from_millis(40),
        calls,
    }
}

#[derive(Serialize)]
struct Relayed {
    server: String,
    bursts: &'static str,
    packets_per_second: f64,
    cpu_us_per_packet: f64,
    packets_per_cpu_second: f64,
    loss: f64,
    calls_per_packet: Option<f64>,
    over_coturn: f64,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for Relayed {
    const BENCH: &'static str = "turn-general";

    fn cells(&self) -> Vec<(&'static str, String)> {
        vec![
            ("server", self.server.clone()),
            ("bursts of 8", self.bursts.to_owned()),
            ("packets/s", figure(self.packets_per_second)),
            ("CPU µs/packet", figure(self.cpu_us_per_packet)),
            ("packets/CPU second", figure(self.packets_per_cpu_second)),
            ("lost", format!("{:.2} %", self.loss * 100.0)),
            ("calls/packet", self.calls_per_packet.map_or("–".to_owned(), figure)),
            ("× coturn", figure(self.over_coturn)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 2] = [
    "50 clients over UDP, each with a channel to a peer of its own; both sides send bursts of 8 packets of 1,000 bytes",
    "one by one: the generator sends each packet by a call; whole: a burst by one call, as a network card hands over what belongs together",
];

/// Measures and prints.
pub(super) async fn run(plan: &Plan) -> Result<()> {
    let rounds = plan.time.as_secs().max(4) as usize;
    let mut rows = Vec::new();
    tokio::task::block_in_place(|| {
        for (calls, bursts) in [(Calls::Each, "one by one"), (Calls::Whole, "whole")] {
            let bar = bar(rounds)?;
            bar.set_message(format!("general relay, {bursts}"));
            let options = Options {
                relay: Relay::Public { secret: SECRET },
                ..Options::shards(1)
            };
            let ours = Target::ours(&plan.binary, &options, None).context("starting the public relay")?;
            let start = |server| Flow::start(turns::over_udp(CLIENTS, server)?, traffic(calls));
            let flow = start(ours.server()?.relay)?;
            let mut turns = vec![(Turn::Flow(flow, ours.process().0), "housecall, public".to_owned())];
            let coturn = coturn::version().map(|version| {
                let coturn = Coturn::start(None)?;
                let flow = start(coturn.address)?;
                turns.push((Turn::Flow(flow, coturn.process()), format!("coturn {version}")));
                Ok::<_, anyhow::Error>(coturn)
            });
            let coturn = coturn.transpose()?;
            let figures = turns::take(turns.iter().map(|(turn, _)| turn), rounds, &bar)?;
            let theirs = match &coturn {
                Some(_) => figures[1].cpu_us_per_packet,
                None => f64::NAN,
            };
            for ((turn, server), figures) in turns.into_iter().zip(figures) {
                rows.push(Relayed {
                    server,
                    bursts,
                    packets_per_second: figures.packets_per_second,
                    cpu_us_per_packet: figures.cpu_us_per_packet,
                    packets_per_cpu_second: 1e6 / figures.cpu_us_per_packet,
                    calls_per_packet: turn.calls()?,
                    loss: turn.loss(),
                    over_coturn: theirs / figures.cpu_us_per_packet,
                    notes: Vec::new(),
                });
                turn.stop()?;
            }
            bar.finish_and_clear();
            if coturn.is_none() {
                rows[0].notes.push(coturn::MISSING.to_owned());
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    report::print(&rows, &MEANING);
    report::write_json(&rows, plan.json.as_deref())
}
