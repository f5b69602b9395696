//! Runs to be drawn: one viewer on a named link, and what happened each tenth of a second.

use std::time::Instant;

use super::{LinkConfig, World};
use crate::media::{Layer, Target};

/// Milliseconds between two samples.
pub(super) const STEP_MS: u64 = 100;

/// The links there are, by name, with what they are.
pub const TRACES: [(&str, &str); 12] = [
    ("cut-700", "2.5 Mbit/s, 700 kbit/s for 15 s, 2.5 Mbit/s"),
    ("cut-400", "2.5 Mbit/s, 400 kbit/s for 15 s, 2.5 Mbit/s"),
    ("cut-250", "2.5 Mbit/s, 250 kbit/s for 15 s, 2.5 Mbit/s"),
    ("steady-1000", "1 Mbit/s all the time"),
    ("steady-3000", "3 Mbit/s all the time"),
    ("square-700", "700 kbit/s ±10 %, 2 s each"),
    ("ramp", "from 3 Mbit/s down to 300 kbit/s in 27 s, and back"),
    ("wifi", "1.5 Mbit/s, 1 % loss, 30 ms jitter, stalls to 270 ms"),
    (
        "others",
        "2.5 Mbit/s, of which somebody else takes 1.5 for 2 s in every 6",
    ),
    ("steps", "2.5, 1.2, 0.8, 1.2, 2.5 Mbit/s, 10 s each"),
    ("loss", "2.5 Mbit/s, of which a tenth is lost from 10 s on"),
    (
        "policer",
        "5 Mbit/s, 300 kbit/s for 15 s, 5 Mbit/s, and nothing ever waits",
    ),
];

/// A run, as it is drawn. One value for each tenth of a second.
pub struct Drawn {
    /// Virtual milliseconds.
    pub length_ms: u64,
    /// What the link carries, kbit/s.
    pub capacity: Vec<f32>,
    /// What it is thought to carry, kbit/s; 0 as long as nothing has shown a limit.
    pub estimate: Vec<f32>,
    /// Pictures that arrived, kbit/s.
    pub pictures: Vec<f32>,
    /// Queue on the link, ms.
    pub queue: Vec<f32>,
    /// The rung the viewer is on: 0 no picture, 1 480p, 2 720p.
    pub rung: Vec<u8>,
    /// What happened, by time, in words.
    pub story: String,
    /// Share of audio lost, and the longest time between two packets of it in ms.
    pub audio: (f64, f64),
}

pub(super) fn link(name: &str) -> Option<(LinkConfig, u64)> {
    let cut = |kbps: u64| {
        let mut link = LinkConfig::steps(&[(0, 2_500), (10_000, kbps), (25_000, 2_500)]);
        link.queue = kbps as usize * 125 / 1_000 * 800;
        (link, 40_000)
    };
    Some(match name {
        "cut-700" => cut(700),
        "cut-400" => cut(400),
        "cut-250" => cut(250),
        "steady-1000" => (LinkConfig::constant(1_000), 40_000),
        "steady-3000" => (LinkConfig::constant(3_000), 40_000),
        "square-700" => {
            let steps: Vec<_> = (0..30)
                .map(|n| (n * 2_000, if n % 2 == 0 { 770 } else { 630 }))
                .collect();
            (LinkConfig::steps(&steps), 60_000)
        }
        "ramp" => {
            let down = (0..28).map(|n| (n * 1_000, 3_000 - n * 100));
            let up = (0..28).map(|n| (28_000 + n * 1_000, 300 + n * 100));
            let steps: Vec<_> = down.chain(up).collect();
            (LinkConfig::steps(&steps), 66_000)
        }
        "wifi" => {
            let link = LinkConfig {
                jitter_ms: 30,
                loss_permille: 10,
                stall_ms: 250,
                queue: 150_000,
                ..LinkConfig::constant(1_500)
            };
            (link, 60_000)
        }
        "others" => {
            let link = LinkConfig {
                others_kbps: 1_500,
                queue: 100_000,
                ..LinkConfig::constant(2_500)
            };
            (link, 60_000)
        }
        "steps" => {
            let steps = [
                (0, 2_500),
                (10_000, 1_200),
                (20_000, 800),
                (30_000, 1_200),
                (40_000, 2_500),
            ];
            (LinkConfig::steps(&steps), 55_000)
        }
        "loss" => {
            let link = LinkConfig {
                loss_permille: 100,
                loss_from_ms: 10_000,
                jitter_ms: 5,
                ..LinkConfig::constant(2_500)
            };
            (link, 40_000)
        }
        "policer" => {
            let link = LinkConfig {
                burst: 60_000,
                ..LinkConfig::steps(&[(0, 5_000), (10_000, 300), (25_000, 5_000)])
            };
            (link, 40_000)
        }
        _ => return None,
    })
}

/// Runs a link of [`TRACES`]; `None` if there is none of that name. `start` is any moment: only differences count.
#[must_use]
pub fn draw(name: &str, seed: u64, start: Instant) -> Option<Drawn> {
    let (link, length_ms) = link(name)?;
    let mut world = World::starting_at(start, std::slice::from_ref(&link), seed);
    world.run_until(length_ms);
    let record = world.record();
    let samples = (0..length_ms).step_by(STEP_MS as usize);
    let at = |values: &[f32], ms: u64| values[(ms / 10) as usize];
    let kbps = |ms: u64| {
        let steps = link.steps.iter().take_while(|step| step.at_ms <= ms);
        steps.last().map_or(0.0, |step| step.kbps as f32)
    };
    let rung = |ms: u64| {
        let moves = record.moves.iter().take_while(|(at, _)| *at <= ms);
        match moves.last().map_or(Target::Video(Layer::P720), |(_, step)| step.to) {
            Target::AudioOnly => 0,
            Target::Video(Layer::P480) => 1,
            Target::Video(Layer::P720) => 2,
        }
    };
    let highest = |ms: u64| {
        let within = &record.queue[(ms / 10) as usize..((ms + STEP_MS) / 10) as usize];
        within.iter().copied().fold(0.0, f32::max)
    };
    Some(Drawn {
        length_ms,
        capacity: samples.clone().map(kbps).collect(),
        estimate: samples.clone().map(|ms| at(&record.estimate, ms)).collect(),
        pictures: samples
            .clone()
            .map(|ms| record.video_kbps(ms..ms + STEP_MS) as f32)
            .collect(),
        queue: samples.clone().map(highest).collect(),
        rung: samples.map(rung).collect(),
        story: super::story(record),
        audio: record.audio(1_000..length_ms),
    })
}
