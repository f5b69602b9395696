//! `bench forward`: one publisher, N viewers, processor time of the server for each forwarded packet, beside the floor.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use comfy_table::{Cell, CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::floor::{self, Kind};
use crate::generator::{self, Shape};
use crate::peer::{Offering, Peer, Role};
use crate::server::Server;

/// What to measure.
pub(crate) struct Plan {
    /// Viewers of each run.
    pub(crate) viewers: Vec<usize>,
    /// Packets per second the publisher sends.
    pub(crate) rate: u64,
    /// How they are spaced.
    pub(crate) shape: Shape,
    /// Length of each measurement.
    pub(crate) time: Duration,
}

/// One run.
#[derive(Serialize)]
struct Row {
    viewers: usize,
    shape: String,
    packets_per_second_in: u64,
    forwarded: u64,
    lost: u64,
    verified: u64,
    server_us_per_packet: f64,
    floor_plain_us: f64,
    floor_best_us: f64,
    ratio_to_plain: f64,
    ratio_to_best: f64,
    kib_per_viewer: f64,
    generator_us_per_packet: f64,
}

/// Measures and prints a table, then a JSON line for each run.
pub(crate) async fn run(plan: &Plan, binary: &Path) -> Result<()> {
    let mut rows = Vec::new();
    for viewers in &plan.viewers {
        rows.push(one(plan, *viewers, binary).await?);
    }
    print_table(&rows);
    for row in &rows {
        println!("{}", serde_json::to_string(row)?);
    }
    if rows.iter().any(|row| row.forwarded == 0 || row.verified == 0) {
        bail!("a run forwarded nothing that could be opened");
    }
    Ok(())
}

async fn one(plan: &Plan, viewers: usize, binary: &Path) -> Result<Row> {
    let scratch = std::env::temp_dir().join(format!("housecall-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let server = Server::start(binary, &scratch)?;
    let visit = server.create_visit()?;
    let token = server.token(&visit)?;
    let bar = ProgressBar::new(viewers as u64 + 4);
    bar.set_style(ProgressStyle::with_template("{msg:32} {wide_bar} {pos}/{len}")?);
    bar.set_message(format!("1 → {viewers}: joining"));
    let ssrc = 0x00be_0001;
    let publisher = connect(
        &server,
        "whip",
        &visit,
        &token,
        Offering::new(Role::Publisher, ssrc, 0)?,
    )
    .await?;
    bar.inc(1);
    let empty = server.memory()?;
    let mut peers = Vec::new();
    for number in 0..viewers {
        let offering = Offering::new(Role::Viewer, 0, number as u64 + 1)?;
        peers.push(connect(&server, "whep", &visit, &token, offering).await?);
        bar.inc(1);
    }
    bar.set_message(format!("1 → {viewers}: measuring"));
    let measured = tokio::task::block_in_place(|| {
        generator::run(
            publisher,
            peers,
            ssrc,
            plan.rate,
            plan.shape,
            Duration::from_secs(2),
            || {
                let (server_before, own_before) = (server.cpu()?, crate::server::process_cpu("self")?);
                std::thread::sleep(plan.time);
                let memory = server.memory()?;
                Ok((
                    server.cpu()? - server_before,
                    crate::server::process_cpu("self")? - own_before,
                    memory,
                ))
            },
        )
    })?;
    let ((server_cpu, own_cpu, memory), seen) = measured;
    bar.inc(1);
    drop(server);
    bar.set_message(format!("1 → {viewers}: the floor"));
    let time = plan.time.min(Duration::from_secs(5));
    let plain = floor::measure(Kind::Plain, viewers, plan.rate, plan.shape, time)?;
    bar.inc(1);
    let best = floor::measure(Kind::Best, viewers, plan.rate, plan.shape, time)?;
    bar.finish_and_clear();
    let _ = std::fs::remove_dir_all(&scratch);
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let server_us = micros(server_cpu) / seen.received.max(1) as f64;
    Ok(Row {
        viewers,
        shape: format!("{:?}", plan.shape).to_lowercase(),
        packets_per_second_in: plan.rate,
        forwarded: seen.received,
        lost: seen.lost,
        verified: seen.verified,
        server_us_per_packet: server_us,
        floor_plain_us: micros(plain),
        floor_best_us: micros(best),
        ratio_to_plain: server_us / micros(plain),
        ratio_to_best: server_us / micros(best),
        kib_per_viewer: memory.saturating_sub(empty) as f64 / 1_024.0 / viewers as f64,
        generator_us_per_packet: micros(own_cpu) / seen.received.max(1) as f64,
    })
}

async fn connect(server: &Server, how: &str, visit: &str, token: &str, offering: Offering) -> Result<Peer> {
    let url = format!("http://{}/{how}/{visit}", server.address);
    let response = reqwest::Client::new()
        .post(&url)
        .bearer_auth(token)
        .header("content-type", "application/sdp")
        .body(offering.offer.clone())
        .send()
        .await
        .with_context(|| format!("POST {url}"))?;
    let status = response.status();
    let answer = response.text().await?;
    if status.as_u16() != 201 {
        bail!("POST /{how} answered {status}: {answer}");
    }
    let address = server.address;
    tokio::task::spawn_blocking(move || offering.connect(&answer, address)).await?
}

fn print_table(rows: &[Row]) {
    let mut table = Table::new();
    table.set_header([
        "viewers",
        "shape",
        "forwarded",
        "lost",
        "server µs/packet",
        "plain floor µs",
        "best floor µs",
        "× plain",
        "× best",
        "KiB/viewer",
        "generator µs",
    ]);
    for row in rows {
        let number = |value: f64| Cell::new(format!("{value:.2}")).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(row.viewers).set_alignment(CellAlignment::Right),
            Cell::new(&row.shape),
            Cell::new(row.forwarded).set_alignment(CellAlignment::Right),
            Cell::new(row.lost).set_alignment(CellAlignment::Right),
            number(row.server_us_per_packet),
            number(row.floor_plain_us),
            number(row.floor_best_us),
            number(row.ratio_to_plain),
            number(row.ratio_to_best),
            number(row.kib_per_viewer),
            number(row.generator_us_per_packet),
        ]);
        if row.generator_us_per_packet > row.server_us_per_packet {
            table.add_row([
                "",
                "",
                "the generator uses more than the server",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
            ]);
        }
    }
    println!("{table}");
}
