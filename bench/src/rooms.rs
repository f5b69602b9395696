//! `bench rooms`: M rooms of two people, each with microphone and camera, each seeing and hearing the other: what telehealth is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::dtls::Profile;
use crate::floor::{self, Kind};
use crate::forward::{self, Measured, bar};
use crate::load::{Load, Opening, Receivers, Spec, Stream};
use crate::measure::Holdings;
use crate::offer::{Line, RIDS};
use crate::peer::Peer;
use crate::report::{self, Row, figure};
use crate::server::Options;
use crate::socket::Person;
use crate::source::Source;
use crate::stats::micros_each;
use crate::target::Target;

/// Rooms that are being made at a time.
const MAKING: usize = 4;

/// What each side sends, beside its microphone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// One camera stream of 1.5 Mbit/s.
    TwoWay,
    /// 720p and 480p, some 180 and 77 packets a second; the other side is forwarded one of them.
    Simulcast,
}

/// What to measure.
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) rooms: Vec<usize>,
    pub(crate) shape: Shape,
    pub(crate) shards: Vec<usize>,
    pub(crate) profile: Option<Profile>,
    pub(crate) time: Duration,
    pub(crate) json: Option<PathBuf>,
}

/// One run.
#[derive(Serialize)]
struct Rooms {
    rooms: usize,
    shards: usize,
    shape: &'static str,
    profile: &'static str,
    packets_in_per_second: f64,
    packets_out_per_second: f64,
    lost: i64,
    verified: u64,
    server_us_per_packet: f64,
    server_us_per_packet_out: f64,
    floor_plain_us: f64,
    floor_best_us: f64,
    ratio_to_plain: f64,
    ratio_to_best: f64,
    media_thread_share: f64,
    turns_per_packet: f64,
    kib_per_person: f64,
    generator_us_per_packet: f64,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Row for Rooms {
    const BENCH: &'static str = "rooms";

    fn cells(&self) -> Vec<(&'static str, String)> {
        vec![
            ("rooms", self.rooms.to_string()),
            ("shards", self.shards.to_string()),
            ("shape", self.shape.to_owned()),
            ("SRTP", self.profile.to_owned()),
            ("in/s", figure(self.packets_in_per_second)),
            ("out/s", figure(self.packets_out_per_second)),
            ("lost", self.lost.to_string()),
            ("server µs", figure(self.server_us_per_packet)),
            ("µs/out", figure(self.server_us_per_packet_out)),
            ("plain µs", figure(self.floor_plain_us)),
            ("best µs", figure(self.floor_best_us)),
            ("× plain", figure(self.ratio_to_plain)),
            ("× best", figure(self.ratio_to_best)),
            ("media thread", format!("{:.0} %", self.media_thread_share * 100.0)),
            ("turns/packet", figure(self.turns_per_packet)),
            ("KiB/person", figure(self.kib_per_person)),
            ("generator µs", figure(self.generator_us_per_packet)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

const MEANING: [&str; 5] = [
    "server µs: ingress included: processor time of the whole server over packets in plus packets out; µs/out: over packets out alone",
    "floor, ingress included: plain receives and sends every datagram by a call, no crypto, no logic; best opens, seals, and uses GSO for frames",
    "in: media packets the people sent, both layers · out: media packets that reached them",
    "KiB/person: resident memory gained since before the first room, over the people",
    "Absolute times hold for this machine and this minute: compare ratios",
];

/// Measures and prints.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let mut rows = Vec::new();
    for shards in &plan.shards {
        for rooms in &plan.rooms {
            rows.push(one(plan, *rooms, *shards).await?);
        }
    }
    report::print(&rows, &MEANING);
    report::write_json(&rows, plan.json.as_deref())?;
    if rows.iter().any(|row| row.verified == 0) {
        bail!("a run forwarded nothing that could be opened");
    }
    Ok(())
}

/// A clinician and a guest, in the visit and connected.
async fn room(target: Target, plan: Shape, number: usize) -> Result<[(Person, Peer); 2]> {
    let making = {
        let target = target.clone();
        tokio::task::spawn_blocking(move || -> Result<[String; 2]> {
            let server = target.server()?;
            let visit = server.create_visit()?;
            Ok([server.token(&visit, "clinician")?, server.token(&visit, "guest")?])
        })
    };
    let [clinician, guest] = making.await??;
    let mut clinician = Person::enter(target.server()?, &clinician).await?;
    let mut guest = Person::enter(target.server()?, &guest).await?;
    clinician.admit_one().await?;
    guest.until_admitted().await?;
    let first = clinician.connect(&lines(plan, 2 * number), &target).await?;
    let second = guest.connect(&lines(plan, 2 * number + 1), &target).await?;
    Ok([(clinician, first), (guest, second)])
}

/// The SSRC of a person's microphone; those of the camera follow.
fn ssrc(person: usize) -> u32 {
    0x0100_0000 + 16 * person as u32
}

fn lines(shape: Shape, person: usize) -> [Line; 4] {
    let camera = match shape {
        Shape::TwoWay => Line::SendVideo { ssrc: ssrc(person) + 2 },
        Shape::Simulcast => Line::SendSimulcast,
    };
    let microphone = Line::SendAudio { ssrc: ssrc(person) };
    [microphone, camera, Line::ReceiveAudio, Line::ReceiveVideo]
}

fn streams(shape: Shape, person: usize) -> Vec<Stream> {
    let stream = |source, number, mid: &str, rid, size| Stream {
        peer: person,
        source,
        ssrc: ssrc(person) + number,
        mid: mid.to_owned(),
        rid,
        size,
    };
    let microphone = stream(Source::Audio, 0, "0", None, (0, 0));
    match shape {
        Shape::TwoWay => vec![microphone, stream(Source::Camera, 2, "1", None, (1_280, 720))],
        Shape::Simulcast => vec![
            microphone,
            stream(Source::P480, 2, "1", Some(RIDS[0]), (853, 480)),
            stream(Source::P720, 4, "1", Some(RIDS[1]), (1_280, 720)),
        ],
    }
}

/// Rooms with everybody in them, and a load that goes through them.
pub(crate) struct Running {
    pub(crate) target: Target,
    pub(crate) load: Load,
    /// The server before the first room.
    pub(crate) empty: Holdings,
    /// The sockets' tasks, which end only if somebody is put out.
    followers: JoinSet<Result<()>>,
}

impl Running {
    /// The load alone, and what must be kept while it runs.
    pub(crate) fn into_parts(self) -> (forward::Running, JoinSet<Result<()>>) {
        let running = forward::Running {
            target: self.target,
            load: self.load,
            empty: self.empty,
        };
        (running, self.followers)
    }

    /// What somebody who has left was told.
    pub(crate) fn somebody_left(&mut self) -> Result<Option<String>> {
        Ok(match self.followers.try_join_next() {
            Some(left) => Some(format!("somebody left: {:?}", left?)),
            None => None,
        })
    }
}

/// Starts the server, makes the rooms and waits until everybody hears and sees the other.
pub(crate) async fn start(
    binary: &Path,
    rooms: usize,
    shards: usize,
    shape: Shape,
    profile: Option<Profile>,
    opening: Opening,
    bar: &ProgressBar,
) -> Result<Running> {
    let target = Target::ours(binary, &Options::shards(shards), profile)?;
    start_on(target, rooms, shape, opening, bar).await
}

/// The same on a server that is there.
pub(crate) async fn start_on(
    target: Target,
    rooms: usize,
    shape: Shape,
    opening: Opening,
    bar: &ProgressBar,
) -> Result<Running> {
    let empty = target.process().0.holdings()?;
    let places = Arc::new(Semaphore::new(MAKING));
    let mut making = JoinSet::new();
    for number in 0..rooms {
        let (target, places) = (target.clone(), Arc::clone(&places));
        making.spawn(async move {
            let _place = places.acquire_owned().await?;
            Ok::<_, anyhow::Error>((number, room(target, shape, number).await?))
        });
    }
    let mut made = Vec::new();
    while let Some(result) = making.join_next().await {
        made.push(result??);
        bar.inc(1);
    }
    made.sort_by_key(|(number, _)| *number);
    let (mut peers, mut followers) = (Vec::new(), JoinSet::new());
    for (person, peer) in made.into_iter().flat_map(|(_, people)| people) {
        peers.push(peer);
        followers.spawn(person.follow());
    }
    let load = Load::start(Spec {
        receivers: Receivers::Woken,
        peers,
        streams: (0..2 * rooms).flat_map(|person| streams(shape, person)).collect(),
        opening,
        spread: Duration::ZERO,
    })?;
    tokio::task::block_in_place(|| load.wait_for(4 * rooms as u64, Duration::from_secs(20)))?;
    Ok(Running {
        target,
        load,
        empty,
        followers,
    })
}

async fn one(plan: &Plan, rooms: usize, shards: usize) -> Result<Rooms> {
    let bar = bar(rooms + 3)?;
    bar.set_message(format!("{rooms} rooms: joining"));
    let mut running = start(
        &plan.binary,
        rooms,
        shards,
        plan.shape,
        plan.profile,
        Opening::Sample,
        &bar,
    )
    .await?;
    bar.set_message(format!("{rooms} rooms: measuring"));
    let (measured, holdings) = tokio::task::block_in_place(|| {
        std::thread::sleep(Duration::from_secs(3));
        let measured = Measured::over(&running.load, &running.target, plan.time, &bar)?;
        bar.inc(1);
        Ok::<_, anyhow::Error>((measured, running.target.process().0.holdings()?))
    })?;
    let mut notes = measured.limits();
    notes.extend(running.somebody_left()?);
    let empty = running.empty;
    running.load.stop()?;
    drop(running.target);
    bar.set_message(format!("{rooms} rooms: the floor"));
    let forwarded = match plan.shape {
        Shape::TwoWay => Source::Camera,
        Shape::Simulcast => Source::P720,
    };
    let floor_streams = [(Source::Audio, 1), (forwarded, 1)].repeat(2 * rooms);
    let (received, sent) = (measured.seen.sent, measured.seen.received);
    let floor = |kind| -> Result<f64> {
        let cost = floor::measure(&floor::Plan {
            receivers: Receivers::Woken,
            kind,
            streams: &floor_streams,
            profile: plan.profile,
            time: plan.time.min(Duration::from_secs(5)),
        })?;
        bar.inc(1);
        Ok(cost.each(received, sent))
    };
    let (plain, best) =
        tokio::task::block_in_place(|| Ok::<_, anyhow::Error>((floor(Kind::Plain)?, floor(Kind::Best)?)))?;
    bar.finish_and_clear();
    let seconds = measured.time.as_secs_f64();
    let wanted = (2 * rooms) as f64 * (50.0 + forwarded.rate()) * seconds;
    if (sent as f64) < 0.9 * wanted {
        notes.push(format!(
            "only {:.0} % of what the top layer and the microphones are was forwarded",
            sent as f64 / wanted * 100.0
        ));
    }
    let server = micros_each(measured.server.cpu, received + sent);
    Ok(Rooms {
        rooms,
        shards,
        shape: match plan.shape {
            Shape::TwoWay => "two-way",
            Shape::Simulcast => "simulcast",
        },
        profile: plan.profile.map_or("GCM-256", Profile::name),
        packets_in_per_second: received as f64 / seconds,
        packets_out_per_second: sent as f64 / seconds,
        lost: measured.seen.lost,
        verified: measured.seen.verified,
        server_us_per_packet: server,
        server_us_per_packet_out: micros_each(measured.server.cpu, sent),
        floor_plain_us: plain,
        floor_best_us: best,
        ratio_to_plain: server / plain,
        ratio_to_best: server / best,
        media_thread_share: measured.share(measured.server.threads),
        turns_per_packet: measured.server.turns as f64 / (received + sent).max(1) as f64,
        kib_per_person: holdings.resident.saturating_sub(empty.resident) as f64 / 1_024.0 / (2 * rooms) as f64,
        generator_us_per_packet: micros_each(measured.own.all, received + sent),
        notes,
    })
}
