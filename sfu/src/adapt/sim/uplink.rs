//! A publisher's uplink in virtual time: a browser that adapts by itself, a thin link, and a server that reads what arrives.
#![expect(clippy::print_stdout, reason = "the figures are what these tests are read for")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{FLOOR, Link, LinkConfig, p95, seeds};
use crate::adapt::{Demand, Rates, Uplink, nominal};
use crate::clock::testing::start;
use crate::media::{Bitrate, Layer, Target};
use crate::testing::Chance;

const P480: Target = Target::Video(Layer::P480);
const P720: Target = Target::Video(Layer::P720);
/// From the media core's word to the encoder.
const OBEYS_MS: u64 = 80;
/// The browser's feedback interval and the queue at which it backs off.
const FEEDBACK_MS: u64 = 60;
const QUEUE_MS: f32 = 70.0;
const PACKET: usize = 1_100;

#[derive(Clone, Copy)]
struct OnWire {
    number: u16,
    sent_us: i64,
    size: usize,
    is_audio: bool,
    is_large: bool,
}

/// A browser: an estimate of its own, two layers as it was told, probes when one is switched on.
struct Browser {
    chance: Chance,
    estimate: f64,
    on: [bool; 2],
    small_max: f64,
    fresh: [bool; 2],
    probe: Option<u64>,
    backed_off_ms: u64,
    orders: VecDeque<(u64, Target, f64)>,
    next_frame: u64,
    queue: VecDeque<(usize, bool)>,
    credit: f64,
    number: u16,
    /// Audio tells of the path as well. Without redundancy it does not, for it is to be the same when it is sent again.
    numbers_audio: bool,
}

impl Browser {
    fn rates(&self) -> [f64; 2] {
        let left = (self.estimate - 60.0).max(30.0);
        let small = if self.on[0] { left.min(self.small_max) } else { 0.0 };
        let large = if self.on[1] { (left - small).min(1_450.0) } else { 0.0 };
        [small, large]
    }

    fn obey(&mut self, ms: u64) {
        while self.orders.front().is_some_and(|(at, ..)| *at <= ms) {
            let Some((_, limit, small_max)) = self.orders.pop_front() else {
                return;
            };
            let on = [limit == P480, limit == P720];
            for (place, on) in on.into_iter().enumerate() {
                if on && !self.on[place] {
                    self.fresh[place] = true;
                    self.probe = Some(ms + 100);
                }
            }
            self.on = on;
            self.small_max = small_max;
        }
    }

    fn step(&mut self, ms: u64, link: &mut Link<OnWire>) {
        self.obey(ms);
        if ms.is_multiple_of(20) {
            self.send(110, true, false, ms, link);
        }
        if ms >= self.next_frame {
            self.next_frame = ms + 33;
            let rates = self.rates();
            for (place, kbps) in rates.into_iter().enumerate().filter(|(_, kbps)| *kbps > 0.0) {
                let key = std::mem::take(&mut self.fresh[place]);
                let noise = 0.7 + self.chance.below(600) as f64 / 1_000.0;
                let bytes = kbps * 125.0 / 30.0 * noise * if key { 5.0 } else { 1.0 };
                for _ in 0..(bytes as usize).div_ceil(PACKET) {
                    self.queue.push_back((PACKET.min(bytes as usize), place == 1));
                }
            }
        }
        self.credit = (self.credit + 2.5 * self.estimate / 8.0).min(3_000.0);
        while let Some((size, is_large)) = self.queue.front().copied()
            && size as f64 <= self.credit
        {
            self.queue.pop_front();
            self.credit -= size as f64;
            self.send(size, false, is_large, ms, link);
        }
        // A probe at 2.5 Mbit/s for 30 ms, as browsers send when there is more to send.
        if self.probe.is_some_and(|at| (at..at + 30).contains(&ms)) {
            self.send(310, false, false, ms, link);
        }
        if self.probe.is_some_and(|at| ms == at + 150) {
            self.probe = None;
            self.estimate = self.estimate.max((link.kbps() as f64 * 0.9).min(2_400.0));
        }
        if ms.is_multiple_of(FEEDBACK_MS) {
            let sent: f64 = self.rates().iter().sum::<f64>() + 60.0;
            if link.queue_ms(ms) > QUEUE_MS && ms >= self.backed_off_ms + 300 {
                self.backed_off_ms = ms;
                self.estimate = (0.85 * sent.min(link.kbps() as f64)).max(80.0);
            } else if ms >= self.backed_off_ms + 1_000 {
                let grown = self.estimate * (1.0 + 0.08 * FEEDBACK_MS as f64 / 1_000.0);
                self.estimate = self.estimate.max(grown.min(1.5 * sent));
            }
        }
    }

    fn send(&mut self, size: usize, is_audio: bool, is_large: bool, ms: u64, link: &mut Link<OnWire>) {
        self.number = self.number.wrapping_add(u16::from(self.numbers_audio || !is_audio));
        let packet = OnWire {
            number: self.number,
            sent_us: ms as i64 * 1_000,
            size,
            is_audio,
            is_large,
        };
        link.offer(packet, size + 44, ms);
    }
}

struct World {
    start: Instant,
    ms: u64,
    link: Link<OnWire>,
    browser: Browser,
    uplink: Uplink,
    flying: VecDeque<(OnWire, i64)>,
    large: VecDeque<(u64, usize)>,
    /// When what limit was set.
    limits: Vec<(u64, Target)>,
    audio: Vec<f64>,
}

impl World {
    fn new(config: LinkConfig, numbers_audio: bool, seed: u64) -> Self {
        let start = start();
        Self {
            start,
            ms: 0,
            link: Link::new(config, seed),
            browser: Browser {
                chance: Chance::new(seed),
                estimate: 1_500.0,
                on: [false, true],
                small_max: 600.0,
                fresh: [false, true],
                probe: Some(200),
                backed_off_ms: 0,
                orders: VecDeque::new(),
                next_frame: seed % 33,
                queue: VecDeque::new(),
                credit: 0.0,
                number: seed as u16,
                numbers_audio,
            },
            uplink: Uplink::new(FLOOR, start),
            flying: VecDeque::new(),
            large: VecDeque::new(),
            limits: vec![(0, P720)],
            audio: Vec::new(),
        }
    }

    fn run_until(&mut self, ms: u64) {
        while self.ms < ms {
            self.step();
            self.ms += 1;
        }
    }

    fn step(&mut self) {
        let ms = self.ms;
        self.browser.step(ms, &mut self.link);
        let flying = &mut self.flying;
        self.link.step(ms, |packet, at| flying.push_back((packet, at)), |_| {});
        while self.flying.front().is_some_and(|(_, at)| *at < (ms as i64 + 1) * 1_000) {
            let Some((packet, at)) = self.flying.pop_front() else {
                break;
            };
            let now = self.start + Duration::from_micros(at as u64);
            let send_time = ((packet.sent_us << 18) / 1_000_000) as u32 & 0xff_ffff;
            if self.browser.numbers_audio || !packet.is_audio {
                self.uplink
                    .handle_arrival(packet.number, Some(send_time), packet.size, now);
            }
            if packet.is_audio {
                self.audio.push(at as f64 / 1_000.0);
            }
            if packet.is_large {
                self.large.push_back((ms, packet.size));
            }
        }
        let now = self.start + Duration::from_millis(ms + 1);
        // The worker looks four times a second although nothing is heard.
        let looks = (ms + 1).is_multiple_of(250) && self.uplink.may_step(now);
        if !self.uplink.is_due(now) && !looks {
            return;
        }
        while self.large.front().is_some_and(|(at, _)| at + 1_000 < ms) {
            self.large.pop_front();
        }
        let bytes: usize = self.large.iter().map(|(_, size)| size).sum();
        let large = if self.browser.on[1] {
            Bitrate::from_bps(bytes as u64 * 8)
        } else {
            nominal(Layer::P720)
        };
        let demand = Demand {
            ideal: P720,
            rates: Rates {
                small: Some(nominal(Layer::P480)),
                large: Some(large),
            },
            screen: Bitrate::ZERO,
            large_is_missing: false,
            audio: (self.audio.len() as u64, 0),
        };
        let max = self.uplink.small_max();
        self.uplink.step(&demand, now);
        let limit = self.uplink.limit();
        if self.limits.last().is_none_or(|(_, last)| *last != limit) || max != self.uplink.small_max() {
            let max = self.uplink.small_max().bps() as f64 / 1_000.0;
            self.browser.orders.push_back((ms + OBEYS_MS, limit, max));
        }
        if self.limits.last().is_none_or(|(_, last)| *last != limit) {
            self.limits.push((ms, limit));
        }
    }

    fn first(&self, limit: impl Fn(Target) -> bool, from: u64) -> f64 {
        let mut limits = self.limits.iter();
        let found = limits.find(|(at, what)| *at >= from && limit(*what));
        found.map_or(1e9, |(at, _)| (at - from) as f64)
    }

    fn longest_gap(&self, span: std::ops::Range<u64>) -> f64 {
        let inside = self.audio.windows(2).filter(|pair| span.contains(&(pair[0] as u64)));
        inside.map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
    }
}

fn cut(kbps: u64, numbers_audio: bool, seed: u64) -> (World, u64, u64) {
    let at = 10_000 + (seed * 137) % 1_000;
    let back = at + 15_000 + (seed * 331) % 2_000;
    let mut link = LinkConfig::steps(&[(0, 2_500), (at, kbps), (back, 2_500)]);
    link.queue = kbps as usize * 125 / 1_000 * 500;
    let mut world = World::new(link, numbers_audio, seed);
    world.run_until(back + 45_000);
    (world, at, back)
}

fn check(what: &str, values: Vec<f64>, limit: f64, story: &str) {
    let value = p95(values);
    println!("{what}: {value:.0} (limit {limit})");
    assert!(value <= limit, "{what}: {value:.0} over {limit}\n{story}");
}

#[test]
fn an_uplink_cut_to_700_sends_480p_and_720p_again_when_it_is_back() {
    let (mut down, mut up, mut none) = (Vec::new(), Vec::new(), Vec::new());
    let mut story = String::new();
    for seed in seeds(20) {
        let (world, at, back) = cut(700, true, seed);
        story = format!("seed {seed}, {at}..{back}: {:?}", world.limits);
        down.push(world.first(|limit| limit < P720, at));
        up.push(world.first(|limit| limit == P720, back));
        none.push(f64::from(u8::from(
            world.first(|limit| limit == Target::AudioOnly, at) < 1e8,
        )));
    }
    check("uplink 700 kbit/s: 720p off after ms", down, 700.0, &story);
    check("uplink back from 700: 720p after ms", up, 12_000.0, &story);
    check("uplink 700 kbit/s: runs that lost the picture", none, 0.0, &story);
}

#[test]
fn an_uplink_cut_to_400_sends_sound_only_and_the_picture_comes_back() {
    cut_to_400(true);
}

#[test]
fn the_picture_comes_back_also_where_sound_says_nothing_of_the_path() {
    cut_to_400(false);
}

fn cut_to_400(numbers_audio: bool) {
    let (mut down, mut gap, mut small, mut large) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut story = String::new();
    for seed in seeds(20) {
        let (world, at, back) = cut(400, numbers_audio, seed);
        story = format!("seed {seed}, {at}..{back}: {:?}", world.limits);
        if std::env::var("HOUSECALL_STORY").is_ok() {
            println!("{story}");
        }
        down.push(world.first(|limit| limit == Target::AudioOnly, at));
        gap.push(world.longest_gap(at + 2_000..back));
        let picture = |world: &World| {
            let now = world.limits.iter().rev().find(|(set, _)| *set <= back);
            // A try may be under way when the link comes back.
            if now.is_some_and(|(_, limit)| *limit > Target::AudioOnly) {
                0.0
            } else {
                world.first(|limit| limit > Target::AudioOnly, back)
            }
        };
        small.push(picture(&world));
        large.push(world.first(|limit| limit == P720, back));
    }
    check("uplink 400 kbit/s: audio only after ms", down, 2_000.0, &story);
    check("uplink 400 kbit/s: longest audio gap after 2 s, ms", gap, 250.0, &story);
    check("uplink back from 400: picture after ms", small, 6_000.0, &story);
    check("uplink back from 400: 720p after ms", large, 12_000.0, &story);
}

#[test]
fn an_uplink_of_three_megabits_with_wifi_stalls_is_left_alone() {
    let mut moves = 0;
    for seed in seeds(4) {
        let link = LinkConfig {
            jitter_ms: 30,
            loss_permille: 10,
            stall_ms: 250,
            queue: 150_000,
            ..LinkConfig::constant(3_000)
        };
        let mut world = World::new(link, true, seed);
        world.run_until(300_000);
        let none = world.first(|limit| limit == Target::AudioOnly, 0);
        assert!(
            none > 1e8,
            "no picture after {none} ms, seed {seed}: {:?}",
            world.limits
        );
        moves += world.limits.len() - 1;
    }
    println!(
        "uplink over Wi-Fi: no picture lost, {moves} moves in {} minutes",
        5 * seeds(4).count()
    );
}
