//! The certificate is changed while calls go on by TURN over TLS, signalling by WSS: nobody may notice but who comes new.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::Plan;
use super::accounts::Accounts;
use super::certificate::{self, Pair};
use super::client::Link;
use super::tunnel::Tunnels;
use super::ways::{By, Ways};
use crate::forward::bar;
use crate::load::Opening;
use crate::pipe::Way;
use crate::report::{self, Row, figure};
use crate::rooms::{self, Shape};
use crate::server::Options;
use crate::target::Target;

const ROOMS: usize = 20;
/// From one new handshake to the next.
const LOOK: Duration = Duration::from_millis(20);
/// Until the new certificate must be there.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Serialize)]
struct Swapped {
    calls: usize,
    new_after_ms: f64,
    handshakes: u64,
    handshakes_failed: u64,
    relay_connections: u64,
    relay_connections_ended: u64,
    people_who_left: Option<String>,
    packets_per_second_before: f64,
    packets_per_second_after: f64,
    lost: i64,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for Swapped {
    const BENCH: &'static str = "turn-swap";

    fn cells(&self) -> Vec<(&'static str, String)> {
        vec![
            ("calls", self.calls.to_string()),
            ("new certificate after ms", figure(self.new_after_ms)),
            ("handshakes", self.handshakes.to_string()),
            ("failed", self.handshakes_failed.to_string()),
            ("TURN/TLS connections", self.relay_connections.to_string()),
            ("of them ended", self.relay_connections_ended.to_string()),
            (
                "left",
                self.people_who_left.clone().unwrap_or_else(|| "nobody".to_owned()),
            ),
            ("packets/s before", figure(self.packets_per_second_before)),
            ("after", figure(self.packets_per_second_after)),
            ("lost", self.lost.to_string()),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 2] = [
    "calls: rooms of two, media by TURN/TLS both ways, signalling by WSS · new certificate: from the second file's renaming to the first handshake that shows it",
    "handshakes: whole ones, made without a pause from the change on · lost: media packets from the change to the end",
];

/// Measures and prints.
pub(super) async fn run(plan: &Plan) -> Result<()> {
    let directory = super::Scratch::new("swap")?;
    let pair = Pair::make(&directory.0, "server")?;
    let next = Pair::make(&directory.0, "next")?;
    let bar = bar(ROOMS + 3)?;
    bar.set_message("certificate: joining");
    let options = Options {
        tls: Some((pair.cert.clone(), pair.key.clone())),
        ..Options::shards(1)
    };
    let target = Target::ours(&plan.binary, &options, None)?;
    let address = target.server()?.address;
    let accounts = Accounts::enter(&target, 2 * ROOMS).await?;
    let ways = Arc::new(Ways::new(accounts, By::Tls(Tunnels::start()?)));
    let target = target.by(Way::Relayed(Arc::clone(&ways)));
    let mut rooms = rooms::start_on(target, ROOMS, Shape::TwoWay, Opening::Sample, &bar).await?;
    let row = tokio::task::block_in_place(|| {
        bar.set_message("certificate: before");
        std::thread::sleep(Duration::from_secs(1));
        let (began, seen) = (Instant::now(), rooms.load.seen());
        std::thread::sleep(plan.time / 2);
        let before = rooms.load.seen().since(seen).received as f64 / began.elapsed().as_secs_f64();
        let config = certificate::client(&[b"stun.turn"])?;
        let show = || Link::tls(address, &config).and_then(|link| link.certificate().context("no certificate"));
        ensure!(
            show()? == pair.der,
            "the first certificate is not the one that was given"
        );
        bar.set_message("certificate: changed");
        let seen = rooms.load.seen();
        std::fs::rename(&next.key, &pair.key)?;
        std::fs::rename(&next.cert, &pair.cert)?;
        let began = Instant::now();
        let (mut handshakes, mut failed, mut new_after) = (0, 0, None);
        while began.elapsed() < (plan.time / 2).max(Duration::from_secs(4)) {
            handshakes += 1;
            match show() {
                Ok(shown) if shown == next.der => {
                    new_after.get_or_insert(began.elapsed());
                }
                Ok(_) => ensure!(new_after.is_none(), "the old certificate came back"),
                Err(_) => failed += 1,
            }
            ensure!(
                new_after.is_some() || began.elapsed() < PATIENCE,
                "the new certificate was never shown"
            );
            std::thread::sleep(LOOK);
        }
        let after = rooms.load.seen().since(seen);
        let (open, ended) = ways.tunnels().map_or((0, 0), Tunnels::count);
        Ok::<_, anyhow::Error>(Swapped {
            calls: ROOMS,
            new_after_ms: new_after.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3),
            handshakes,
            handshakes_failed: failed,
            relay_connections: open,
            relay_connections_ended: ended,
            people_who_left: None,
            packets_per_second_before: before,
            packets_per_second_after: after.received as f64 / began.elapsed().as_secs_f64(),
            lost: after.lost,
            notes: Vec::new(),
        })
    })?;
    bar.finish_and_clear();
    let row = Swapped {
        people_who_left: rooms.somebody_left()?,
        ..row
    };
    rooms.load.stop()?;
    report::print(std::slice::from_ref(&row), &MEANING);
    report::write_json(std::slice::from_ref(&row), plan.json.as_deref())
}
