//! A flood of requests without credentials, from many address prefixes, while people talk: what the server keeps of it, what it answers,
//! and what the talk notices.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde::Serialize;

use super::Plan;
use super::messages;
use crate::forward::{Measured, bar};
use crate::load::{Load, Opening};
use crate::measure::Process;
use crate::report::{self, Row, figure};
use crate::rooms::{self, Shape};
use crate::server::{Options, Relay};
use crate::stats::Samples;
use crate::target::Target;

const ROOMS: usize = 10;
/// Prefixes (/24) that strangers come from.
const PREFIXES: usize = 64;
/// From one handful of requests to the next.
const STEP: Duration = Duration::from_micros(500);
/// Bytes of IPv4 and UDP headers.
const HEADERS: u64 = 28;

#[derive(Serialize)]
struct Flooded {
    requests_per_second: f64,
    seconds: f64,
    answers_per_second: f64,
    longest_answer_over_request: f64,
    bytes_out_over_in: f64,
    resident_kib_before: u64,
    resident_kib_most: u64,
    resident_kib_after: u64,
    bytes_kept_per_request: f64,
    media_p99_us_before: f64,
    media_p99_us_during: f64,
    p99_ratio: f64,
    media_loss: f64,
    server_us_per_request: f64,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for Flooded {
    const BENCH: &'static str = "turn-strangers";

    fn cells(&self) -> Vec<(&'static str, String)> {
        vec![
            ("requests/s", figure(self.requests_per_second)),
            ("seconds", figure(self.seconds)),
            ("answers/s", figure(self.answers_per_second)),
            (
                "longest answer",
                format!("× {}", figure(self.longest_answer_over_request)),
            ),
            ("bytes out/in", figure(self.bytes_out_over_in)),
            ("RSS KiB before", self.resident_kib_before.to_string()),
            ("most", self.resident_kib_most.to_string()),
            ("after", self.resident_kib_after.to_string()),
            ("bytes kept/request", format!("{:.5}", self.bytes_kept_per_request)),
            ("media p99 ms before", figure(self.media_p99_us_before / 1e3)),
            ("during", figure(self.media_p99_us_during / 1e3)),
            ("ratio", figure(self.p99_ratio)),
            ("media lost", format!("{:.2} %", self.media_loss * 100.0)),
            ("server µs/request", figure(self.server_us_per_request)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 3] = [
    "requests: Allocate of 28 bytes without credentials, one send call each, from 64 prefixes (/24), by a thread of nice 19",
    "answers are counted as both are on the wire, with 28 bytes of IPv4 and UDP headers",
    "media: audio and video of 10 rooms of two on the same port, every packet's time from send call to receive call",
];

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    answers: AtomicU64,
    answer_bytes: AtomicU64,
    longest: AtomicU64,
}

/// Measures and prints.
pub(super) async fn run(plan: &Plan) -> Result<()> {
    let bar = bar(ROOMS + 2)?;
    bar.set_message("strangers: rooms");
    let options = Options {
        relay: Relay::HandOverUdp,
        ..Options::shards(1)
    };
    let target = Target::ours(&plan.binary, &options, None)?;
    let rooms = rooms::start_on(target, ROOMS, Shape::TwoWay, Opening::All, &bar).await?;
    let row = tokio::task::block_in_place(|| {
        let server = rooms.target.server()?.address;
        let process = rooms.target.process().0;
        std::thread::sleep(Duration::from_secs(3));
        bar.set_message("strangers: quiet");
        let (quiet, mut before) = watch(&rooms.load, &rooms.target, plan.time.min(Duration::from_secs(10)), &bar)?;
        let resident_before = process.holdings()?.resident;
        bar.set_message("strangers: flood");
        let shared = Arc::new(Shared::default());
        let flood = std::thread::Builder::new().name("bench-flood".to_owned()).spawn({
            let (shared, rate) = (Arc::clone(&shared), plan.flood);
            move || flood(server, rate, &shared)
        })?;
        let most = most_resident(process.clone(), Arc::clone(&shared))?;
        let (during, mut stormy) = watch(&rooms.load, &rooms.target, plan.time, &bar)?;
        let sent = shared.sent.load(Ordering::Relaxed);
        shared.stop.store(true, Ordering::Relaxed);
        flood.join().map_err(|_| anyhow!("the flood panicked"))??;
        let most = most.join().map_err(|_| anyhow!("the watcher panicked"))?;
        std::thread::sleep(Duration::from_secs(1));
        let resident_after = process.holdings()?.resident;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (answers, bytes) = (load(&shared.answers), load(&shared.answer_bytes));
        let request = messages::allocate(None)?.len() as u64 + HEADERS;
        let seconds = during.time.as_secs_f64();
        let rate = sent as f64 / seconds;
        let mut notes = during.limits();
        if rate < 0.95 * plan.flood as f64 {
            notes.push(format!(
                "the generator's one flooding thread reached {rate:.0} of {} requests/s",
                plan.flood
            ));
        }
        let (before, stormy) = (before.summary(), stormy.summary());
        // What media costs in as long a time is known from before.
        let media = quiet.server.cpu.mul_f64(seconds / quiet.time.as_secs_f64());
        let kib = |bytes: u64| bytes / 1_024;
        Ok::<_, anyhow::Error>(Flooded {
            requests_per_second: rate,
            seconds,
            answers_per_second: answers as f64 / seconds,
            longest_answer_over_request: (load(&shared.longest) + HEADERS) as f64 / request as f64,
            bytes_out_over_in: (bytes + answers * HEADERS) as f64 / (sent * request) as f64,
            resident_kib_before: kib(resident_before),
            resident_kib_most: kib(most),
            resident_kib_after: kib(resident_after),
            bytes_kept_per_request: resident_after.saturating_sub(resident_before) as f64 / sent.max(1) as f64,
            media_p99_us_before: before.p99_us,
            media_p99_us_during: stormy.p99_us,
            p99_ratio: stormy.p99_us / before.p99_us,
            media_loss: during.seen.loss(),
            server_us_per_request: crate::stats::micros_each(during.server.cpu.saturating_sub(media), sent),
            notes,
        })
    })?;
    bar.finish_and_clear();
    rooms.load.stop()?;
    report::print(std::slice::from_ref(&row), &MEANING);
    report::write_json(std::slice::from_ref(&row), plan.json.as_deref())
}

/// Measures the rooms for so long: what was used, and the times of all packets.
fn watch(load: &Load, target: &Target, time: Duration, bar: &indicatif::ProgressBar) -> Result<(Measured, Samples)> {
    load.take_latencies();
    let measured = Measured::over(load, target, time, bar)?;
    let (mut audio, mut video) = load.take_latencies();
    audio.append(&mut video);
    Ok((measured, audio))
}

/// The most memory the server had while the flood went on.
fn most_resident(process: Process, shared: Arc<Shared>) -> Result<std::thread::JoinHandle<u64>> {
    let watch = move || {
        let mut most = 0;
        while !shared.stop.load(Ordering::Relaxed) {
            most = most.max(process.holdings().map_or(0, |holdings| holdings.resident));
            std::thread::sleep(Duration::from_millis(250));
        }
        most
    };
    Ok(std::thread::Builder::new().spawn(watch)?)
}

/// Asks without credentials, and counts what is answered.
fn flood(server: SocketAddr, rate: u64, shared: &Shared) -> Result<()> {
    // Real strangers do not use our processors: whoever has something to do for the calls goes first. It concerns this thread alone.
    rustix::process::setpriority_process(None, 19)?;
    let mut sockets = Vec::new();
    for number in 0..PREFIXES {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 9, number as u8, 1), 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    let mut request = messages::allocate(None)?;
    let (began, mut next, mut buffer) = (Instant::now(), 0_u64, [0; 2_048]);
    while !shared.stop.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        // What the generator does not manage it does not make up for later.
        let behind = due.saturating_sub(next).min(rate / 100);
        next = next.max(due - behind.min(due));
        for _ in 0..behind {
            // Another transaction each time.
            request[8..16].copy_from_slice(&next.to_be_bytes());
            // One socket after the other, a handful each.
            let socket = &sockets[(next / 8) as usize % PREFIXES];
            if socket.send(&request).is_ok() {
                shared.sent.fetch_add(1, Ordering::Relaxed);
            }
            next += 1;
        }
        for socket in &sockets {
            while let Ok(len) = socket.recv(&mut buffer) {
                shared.answers.fetch_add(1, Ordering::Relaxed);
                shared.answer_bytes.fetch_add(len as u64, Ordering::Relaxed);
                shared.longest.fetch_max(len as u64, Ordering::Relaxed);
            }
        }
        std::thread::sleep(STEP);
    }
    Ok(())
}
