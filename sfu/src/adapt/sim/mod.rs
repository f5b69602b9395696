//! The controller in virtual time: a camera, a forwarder in miniature, a link with all its faults, and a browser's feedback. Seeded;
//! `HOUSECALL_SEED` gives a run back, `HOUSECALL_SEEDS` asks for more of them.

#[cfg(test)]
mod acceptance;
pub(crate) mod beside;
mod link;
pub(crate) mod plot;
mod publisher;
#[cfg(test)]
mod uplink;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Candidate, Candidates, Controller, Flow, Move, Rates, Sort, Verdict};
use crate::media::{Bitrate, Layer, Target};

pub(super) use link::{Link, LinkConfig};
use publisher::{Packet, Publisher};

/// Feedback of Chromium: every 62.5 ms.
const FEEDBACK_MS: u64 = 62;
/// The lowest rung of picture.
const FLOOR: Bitrate = Bitrate::from_kbps(500);
/// Publisher to server, one way.
const UPLINK_MS: u64 = 20;

/// A packet on the viewer's link.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnWire {
    number: u16,
    pub(super) size: usize,
    sort: Sort,
    media: Option<Packet>,
}

/// What the run has shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// (ms, where to, why).
    pub(super) moves: Vec<(u64, Move)>,
    /// (ms, layer that flows from here on).
    pub(super) flowing: Vec<(u64, Option<Layer>)>,
    /// Queue on the link for each 10 ms.
    pub(super) queue: Vec<f32>,
    /// Estimate in kbit/s for each 10 ms; 0 unknown.
    pub(super) estimate: Vec<f32>,
    /// Arrival times of audio packets in ms.
    pub(super) audio: Vec<f64>,
    pub(super) audio_sent: u64,
    /// Voices besides the first.
    pub(super) more_voices: u64,
    /// Video bytes that arrived, padding not counted, for each 10 ms.
    pub(super) video_bytes: Vec<u32>,
    pub(super) probes: Vec<(u64, Verdict, u64, u64)>,
}

impl Record {
    /// Moves after `from_ms`.
    pub(super) fn moves_after(&self, from_ms: u64) -> usize {
        self.moves.iter().filter(|(at, _)| *at >= from_ms).count()
    }

    /// When `rung` was first taken after `from_ms`, counted from it.
    pub(super) fn first(&self, rung: Target, from_ms: u64) -> Option<u64> {
        let mut moves = self.moves.iter();
        let found = moves.find(|(at, step)| *at >= from_ms && step.to == rung)?;
        Some(found.0 - from_ms)
    }

    /// When a layer first flowed after `from_ms`, counted from it.
    pub(super) fn first_flow(&self, layer: Option<Layer>, from_ms: u64) -> Option<u64> {
        let mut flows = self.flowing.iter();
        let found = flows.find(|(at, flowing)| *at >= from_ms && *flowing == layer)?;
        Some(found.0 - from_ms)
    }

    /// Audio lost in a span, as a share; the longest time between two arrivals in ms.
    pub(super) fn audio(&self, span: std::ops::Range<u64>) -> (f64, f64) {
        let inside: Vec<f64> = self
            .audio
            .iter()
            .copied()
            .filter(|at| *at >= span.start as f64 && *at < span.end as f64)
            .collect();
        let expected = (1 + self.more_voices) as f64 * (span.end - span.start) as f64 / 20.0;
        let gap = inside.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        ((1.0 - inside.len() as f64 / expected).max(0.0), gap)
    }

    /// The given percentile of the queue over a span.
    pub(super) fn queue_percentile(&self, span: std::ops::Range<u64>, percent: usize) -> f32 {
        let mut queue = self.queue[(span.start / 10) as usize..(span.end / 10) as usize].to_vec();
        queue.sort_by(f32::total_cmp);
        queue[(queue.len() - 1) * percent / 100]
    }

    /// Mean video rate over a span in kbit/s.
    pub(super) fn video_kbps(&self, span: std::ops::Range<u64>) -> f64 {
        let bytes = &self.video_bytes[(span.start / 10) as usize..(span.end / 10) as usize];
        let sum: u64 = bytes.iter().map(|bytes| u64::from(*bytes)).sum();
        sum as f64 * 8.0 / (span.end - span.start) as f64
    }
}

/// Numbers, and when they arrived.
type Report = Vec<(u16, Option<i64>)>;

/// One viewer.
pub(super) struct Viewer {
    controller: Controller,
    flow: Flow,
    ideal: Target,
    number: u16,
    flowing: Option<Layer>,
    awaited: Option<Layer>,
    /// What flows must not be sent any further.
    held: bool,
    queue: VecDeque<Packet>,
    last_frame: Option<(u64, bool)>,
    pub(super) link: Link<OnWire>,
    /// Numbers that arrived since the last feedback, and when.
    arrived: Vec<(u16, i64)>,
    feedback: VecDeque<(u64, Report)>,
    next_feedback: u64,
    /// The next number to be reported on.
    reported: u16,
    resends: VecDeque<(u64, Packet)>,
    pub(super) record: Record,
}

/// Receivers count time from elsewhere.
const RECEIVER_CLOCK: i64 = 77_000_000_000;

impl Viewer {
    pub(super) fn new(config: LinkConfig, seed: u64, at: Instant) -> Self {
        let ideal = Target::Video(Layer::P720);
        let mut controller = Controller::new(FLOOR, at);
        controller.set_ordered(config.ordered);
        Self {
            controller,
            flow: Flow::new(ideal),
            ideal,
            number: seed as u16,
            flowing: None,
            awaited: Some(Layer::P720),
            held: false,
            queue: VecDeque::new(),
            last_frame: None,
            link: Link::new(config, seed),
            arrived: Vec::new(),
            feedback: VecDeque::new(),
            next_feedback: 50 + seed % FEEDBACK_MS,
            reported: seed as u16,
            resends: VecDeque::new(),
            record: Record::default(),
        }
    }

    /// A packet of the publisher is there.
    fn handle_media(&mut self, packet: &Packet, ms: u64) {
        if self.awaited == Some(packet.layer) && packet.starts_key_frame {
            self.awaited = None;
            if self.held {
                self.queue.clear();
            }
            self.held = false;
            self.flowing = Some(packet.layer);
            self.record.flowing.push((ms, self.flowing));
        }
        if self.flowing != Some(packet.layer) {
            return;
        }
        let kept = match self.last_frame {
            Some((frame, kept)) if frame == packet.frame => kept,
            _ => packet.temporal == 0 || packet.temporal <= 2_u8.saturating_sub(self.flow.thinning()),
        };
        self.last_frame = Some((packet.frame, kept));
        if kept {
            self.queue.push_back(Packet {
                arrived_ms: ms,
                ..*packet
            });
        }
    }

    fn send(&mut self, size: usize, sort: Sort, media: Option<Packet>, now: Instant, ms: u64) {
        self.controller.handle_sent(self.number, size, sort, now);
        let packet = OnWire {
            number: self.number,
            size: size + 44,
            sort,
            media,
        };
        self.number = self.number.wrapping_add(1);
        if sort == Sort::Audio {
            self.record.audio_sent += 1;
        }
        self.link.offer(packet, packet.size, ms);
    }

    /// One millisecond. Says whether a key frame is wanted, and of what.
    fn step(&mut self, ms: u64, now: Instant, rates: Rates) -> Option<Layer> {
        // Two RED packets' worth of Opus.
        if ms.is_multiple_of(20) {
            for _ in 0..=self.record.more_voices {
                self.send(110, Sort::Audio, None, now, ms);
            }
        }
        while let Some((at, packet)) = self.resends.front().copied()
            && at <= ms
        {
            if self.controller.wait(now, now).is_some() {
                break;
            }
            self.resends.pop_front();
            if Some(packet.layer) == self.flowing {
                self.send(packet.size, Sort::Resend, Some(packet), now, ms);
            }
        }
        while let Some(packet) = self.queue.front().copied() {
            // What is held ends with the frame that was begun.
            if self.held && packet.begins_frame {
                self.queue.clear();
                break;
            }
            let waited = Duration::from_millis(ms - packet.arrived_ms);
            if self.controller.wait(now - waited, now).is_some() {
                break;
            }
            self.queue.pop_front();
            self.send(packet.size, Sort::Video, Some(packet), now, ms);
        }
        let mut padding = self.controller.wanted_padding(now);
        while padding > 0 {
            self.send(275, Sort::Padding, None, now, ms);
            padding = padding.saturating_sub(275 + 44);
        }
        self.receive(ms);
        self.take_feedback(ms, now);
        self.adapt(ms, now, rates)
    }

    fn receive(&mut self, ms: u64) {
        let arrived = &mut self.arrived;
        let record = &mut self.record;
        let bytes = &mut 0;
        let resends = &mut self.resends;
        let round_trip = self.link.round_trip_ms();
        self.link.step(
            ms,
            |packet, at_us| {
                arrived.push((packet.number, at_us + RECEIVER_CLOCK));
                match packet.sort {
                    Sort::Audio => record.audio.push(at_us as f64 / 1_000.0),
                    Sort::Video | Sort::Resend => *bytes += packet.size as u32,
                    Sort::Padding => {}
                }
            },
            |packet| {
                if let Some(media) = packet.media {
                    resends.push_back((ms + round_trip + 10, media));
                }
            },
        );
        let place = (ms / 10) as usize;
        if record.video_bytes.len() <= place {
            record.video_bytes.push(0);
            record.queue.push(self.link.queue_ms(ms));
            let target = self.controller.estimate().target;
            record
                .estimate
                .push(target.map_or(0.0, |target| target.bps() as f32 / 1_000.0));
        }
        record.video_bytes[place] += *bytes;
    }

    fn take_feedback(&mut self, ms: u64, now: Instant) {
        if ms >= self.next_feedback {
            self.next_feedback = ms + FEEDBACK_MS;
            let cut = ms as i64 * 1_000 + RECEIVER_CLOCK;
            let due: Vec<(u16, Option<i64>)> = {
                let (due, later) = self.arrived.drain(..).partition(|(_, at)| *at <= cut);
                self.arrived = later;
                let due: Vec<(u16, i64)> = due;
                let mut report = Vec::new();
                for (number, at) in due {
                    // Nothing overtakes here: what is left out did not arrive.
                    while self.reported != number {
                        report.push((self.reported, None));
                        self.reported = self.reported.wrapping_add(1);
                    }
                    report.push((number, Some(at / 250 * 250)));
                    self.reported = number.wrapping_add(1);
                }
                report
            };
            if !due.is_empty()
                && let Some(delay) = self.link.feedback_delay_ms()
            {
                self.feedback.push_back((ms + delay, due));
            }
        }
        while self.feedback.front().is_some_and(|(at, _)| *at <= ms) {
            if let Some((_, report)) = self.feedback.pop_front() {
                self.controller.handle_arrivals(report.into_iter(), now);
            }
        }
    }

    fn adapt(&mut self, ms: u64, now: Instant, rates: Rates) -> Option<Layer> {
        if !self.controller.is_due(now) {
            return None;
        }
        if let Some(probed) = self.controller.take_probed() {
            self.record
                .probes
                .push((ms, probed.verdict, probed.rate.bps() / 1_000, probed.aim.bps() / 1_000));
        }
        let mut candidates = Candidates::new();
        candidates.push(Candidate {
            flow: &mut self.flow,
            ideal: self.ideal,
            rates,
            is_screen: false,
        });
        let moves = self.controller.decide(&mut candidates, true, now);
        let (_, step) = *moves.first()?;
        self.record.moves.push((ms, step));
        match step.to {
            Target::AudioOnly => {
                self.held = true;
                self.awaited = None;
                self.flowing = None;
                self.record.flowing.push((ms, None));
                None
            }
            Target::Video(layer) => {
                self.awaited = Some(layer);
                self.held = step.urgent;
                Some(layer)
            }
        }
    }
}

/// A publisher and its viewers.
pub(super) struct World {
    start: Instant,
    pub(super) ms: u64,
    publisher: Publisher,
    uplink: VecDeque<(u64, Packet)>,
    pub(super) viewers: Vec<Viewer>,
}

impl World {
    #[cfg(test)]
    pub(super) fn new(links: &[LinkConfig], seed: u64) -> Self {
        Self::starting_at(crate::clock::testing::start(), links, seed)
    }

    /// `start` is any moment: only differences count.
    pub(super) fn starting_at(start: Instant, links: &[LinkConfig], seed: u64) -> Self {
        Self {
            start,
            ms: 0,
            publisher: Publisher::new(seed),
            uplink: VecDeque::new(),
            viewers: links
                .iter()
                .enumerate()
                .map(|(place, link)| Viewer::new(link.clone(), seed.wrapping_mul(31) + place as u64, start))
                .collect(),
        }
    }

    pub(super) fn run_until(&mut self, ms: u64) {
        while self.ms < ms {
            self.step();
        }
    }

    fn step(&mut self) {
        let ms = self.ms;
        let now = self.start + Duration::from_millis(ms);
        let uplink = &mut self.uplink;
        self.publisher
            .step(ms, |packet| uplink.push_back((ms + UPLINK_MS, packet)));
        while self.uplink.front().is_some_and(|(at, _)| *at <= ms) {
            if let Some((_, packet)) = self.uplink.pop_front() {
                for viewer in &mut self.viewers {
                    viewer.handle_media(&packet, ms);
                }
            }
        }
        let rates = self.publisher.rates();
        for viewer in &mut self.viewers {
            if viewer.step(ms, now, rates).is_some() {
                self.publisher.request_key_frame(ms + UPLINK_MS);
            }
        }
        self.ms += 1;
    }

    pub(super) fn record(&self) -> &Record {
        &self.viewers[0].record
    }
}

/// The seed of a run: `HOUSECALL_SEED`, or all up to `HOUSECALL_SEEDS`, or to `own`.
pub(super) fn seeds(own: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("HOUSECALL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("HOUSECALL_SEEDS").unwrap_or(own),
    }
}

/// The 95th percentile; what never came counts as the largest.
pub(super) fn p95(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * 0.95).ceil() as usize).clamp(1, values.len()) - 1]
}

/// For failures: what happened, in words.
pub(super) fn story(record: &Record) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (at, step) in &record.moves {
        lines.push((*at, format!("{:?} → {:?}: {:?}", step.from, step.to, step.cause)));
    }
    for (at, verdict, rate, aim) in &record.probes {
        lines.push((*at, format!("probe {verdict:?} {rate} of {aim}")));
    }
    for (at, layer) in &record.flowing {
        lines.push((*at, format!("flows {layer:?}")));
    }
    lines.sort();
    for (at, line) in lines {
        let place = ((at / 10) as usize).min(record.estimate.len() - 1);
        let _ = writeln!(
            text,
            "{at:>7} ms  T {:>5.0}  q {:>4.0}  {line}",
            record.estimate[place], record.queue[place]
        );
    }
    text
}
