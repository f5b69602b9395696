//! The links of [`super::plot::TRACES`] for somebody else's estimator, and what ours does on them, in the same terms.

use std::time::Instant;

use super::plot::{STEP_MS, link};
use super::{Link, World};
use crate::adapt::ladder::LARGE;

/// What happened on a link. One value for each tenth of a second.
#[derive(Default)]
pub struct Ran {
    /// What the link carries, kbit/s.
    pub capacity: Vec<f32>,
    /// What it is thought to carry, kbit/s; 0 as long as nothing has shown a limit.
    pub estimate: Vec<f32>,
    /// Sound and pictures that arrived, headers included, padding not, kbit/s.
    pub media: Vec<f32>,
    /// The highest queue on the link, ms.
    pub queue: Vec<f32>,
}

/// What 720p and sound come to, kbit/s.
pub const WANTED_KBPS: f32 = LARGE.bps() as f32 / 1_000.0 + 100.0;

/// A link for packets that are numbers.
pub struct Way {
    link: Link<u32>,
    length_ms: u64,
}

impl Way {
    /// A link of the list; `None` if there is none of that name.
    #[must_use]
    pub fn new(name: &str, seed: u64) -> Option<Self> {
        let (config, length_ms) = link(name)?;
        let link = Link::new(config, seed);
        Some(Self { link, length_ms })
    }

    /// Virtual milliseconds the run takes.
    #[must_use]
    pub const fn length_ms(&self) -> u64 {
        self.length_ms
    }

    /// What it carries now, kbit/s.
    #[must_use]
    pub fn kbps(&self) -> f32 {
        self.link.kbps() as f32
    }

    /// What stands before it now.
    #[must_use]
    pub fn queue_ms(&self, ms: u64) -> f32 {
        self.link.queue_ms(ms)
    }

    /// A packet of so many bytes on the wire is sent.
    pub fn offer(&mut self, packet: u32, size: usize, ms: u64) {
        self.link.offer(packet, size, ms);
    }

    /// One millisecond. `arrived` is told of packets and the microsecond they arrive at, in order, some of them ahead of time.
    pub fn step(&mut self, ms: u64, arrived: impl FnMut(u32, i64)) {
        self.link.step(ms, arrived, |_| {});
    }

    /// How long what a receiver says now is on its way; `None` if it is lost.
    pub fn back_ms(&mut self) -> Option<u64> {
        self.link.feedback_delay_ms()
    }
}

/// Our controller on a link of the list, with the camera, the ladder and the probes it is made for.
#[must_use]
pub fn ours(name: &str, seed: u64, start: Instant) -> Option<Ran> {
    let (config, length_ms) = link(name)?;
    let mut world = World::starting_at(start, std::slice::from_ref(&config), seed);
    let mut ran = Ran::default();
    for ms in (0..length_ms).step_by(STEP_MS as usize) {
        world.run_until(ms + STEP_MS);
        let record = world.record();
        let tenths = (ms / 10) as usize..((ms + STEP_MS) / 10) as usize;
        let heard = record.audio.iter().rev().take_while(|at| **at >= ms as f64).count();
        let sound = heard as f32 * (110 + 44) as f32 * 8.0 / STEP_MS as f32;
        ran.capacity.push(world.viewers[0].link.kbps() as f32);
        ran.estimate.push(record.estimate[tenths.end - 1]);
        ran.media.push(record.video_kbps(ms..ms + STEP_MS) as f32 + sound);
        ran.queue.push(record.queue[tenths].iter().copied().fold(0.0, f32::max));
    }
    Some(ran)
}
