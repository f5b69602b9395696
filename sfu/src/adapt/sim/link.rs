//! A bottleneck: a rate that changes, a queue that drops when it is full, delay, jitter, loss by chance and in bursts, stalls as
//! Wi-Fi has them, traffic of others, and a way back for feedback.

use std::collections::VecDeque;

use crate::testing::Chance;

/// From a moment on the rate is this.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Step {
    pub(in super::super) at_ms: u64,
    pub(in super::super) kbps: u64,
}

/// What a link is like.
#[derive(Clone, Debug)]
pub(in super::super) struct LinkConfig {
    /// In order of time; the first at 0.
    pub(in super::super) steps: Vec<Step>,
    /// One way, each way.
    pub(in super::super) delay_ms: u64,
    /// Up to so much more for a packet, without overtaking.
    pub(in super::super) jitter_ms: u64,
    /// Bytes.
    pub(in super::super) queue: usize,
    /// A policer: what is over the rate by so many bytes is dropped, and nothing ever waits. 0: there is none.
    pub(in super::super) burst: usize,
    /// TCP: what is lost comes a round trip later, one time in eight a timeout later, and everything behind it waits.
    pub(in super::super) ordered: bool,
    /// Lost in a thousand.
    pub(in super::super) loss_permille: u64,
    /// From this moment on.
    pub(in super::super) loss_from_ms: u64,
    /// Losses come in runs of this length.
    pub(in super::super) loss_run: u64,
    /// Nothing moves for 20 to so many ms, about every five seconds.
    pub(in super::super) stall_ms: u64,
    /// Somebody else sends at this rate for 2 s in every 6.
    pub(in super::super) others_kbps: u64,
    /// On top of the delay.
    pub(in super::super) feedback_extra_ms: u64,
    /// Feedback lost in a thousand.
    pub(in super::super) feedback_loss_permille: u64,
}

impl LinkConfig {
    /// A clean link with a queue of 200 ms at its lowest rate, 20 kB at least.
    pub(in super::super) fn steps(steps: &[(u64, u64)]) -> Self {
        let lowest = steps.iter().map(|(_, kbps)| *kbps).min().unwrap_or(1_000);
        Self {
            steps: steps
                .iter()
                .map(|(at_ms, kbps)| Step {
                    at_ms: *at_ms,
                    kbps: *kbps,
                })
                .collect(),
            delay_ms: 20,
            jitter_ms: 0,
            queue: (lowest as usize * 125 / 1_000 * 400).max(20_000),
            burst: 0,
            ordered: false,
            loss_permille: 0,
            loss_from_ms: 0,
            loss_run: 1,
            stall_ms: 0,
            others_kbps: 0,
            feedback_extra_ms: 0,
            feedback_loss_permille: 0,
        }
    }

    pub(in super::super) fn constant(kbps: u64) -> Self {
        Self::steps(&[(0, kbps)])
    }
}

pub(in super::super) struct Link<P> {
    config: LinkConfig,
    chance: Chance,
    step: usize,
    /// `None`: somebody else's.
    queue: VecDeque<(Option<P>, usize)>,
    queued: usize,
    /// Bytes that may leave.
    credit: f64,
    /// Bytes that a policer lets through.
    tokens: f64,
    stalled_until: u64,
    losing: u64,
    others: f64,
    last_arrival_us: i64,
    dropped: Vec<P>,
}

impl<P: Copy> Link<P> {
    pub(super) fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            chance: Chance::new(seed ^ 0x5eed),
            step: 0,
            queue: VecDeque::new(),
            queued: 0,
            credit: 0.0,
            tokens: 0.0,
            stalled_until: 0,
            losing: 0,
            others: 0.0,
            last_arrival_us: 0,
            dropped: Vec::new(),
        }
    }

    pub(super) fn kbps(&self) -> u64 {
        self.config.steps[self.step].kbps
    }

    pub(super) fn round_trip_ms(&self) -> u64 {
        2 * self.config.delay_ms
    }

    pub(super) fn queue_ms(&self, _ms: u64) -> f32 {
        self.queued as f32 * 8.0 / self.kbps().max(1) as f32
    }

    /// `None`: the feedback is lost.
    pub(super) fn feedback_delay_ms(&mut self) -> Option<u64> {
        if self.chance.below(1_000) < self.config.feedback_loss_permille {
            return None;
        }
        let jitter = self.chance.below(self.config.jitter_ms + 1);
        Some(self.config.delay_ms + jitter + self.config.feedback_extra_ms)
    }

    pub(super) fn offer(&mut self, packet: P, size: usize, _ms: u64) {
        let polices = self.config.burst > 0;
        if self.queued + size > self.config.queue || polices && self.tokens < size as f64 {
            self.dropped.push(packet);
            return;
        }
        if polices {
            self.tokens -= size as f64;
        }
        self.queued += size;
        self.queue.push_back((Some(packet), size));
    }

    fn is_lost(&mut self, ms: u64) -> bool {
        if ms < self.config.loss_from_ms {
            return false;
        }
        if self.losing > 0 {
            self.losing -= 1;
            return true;
        }
        let run = self.config.loss_run.max(1);
        if self.chance.below(1_000 * run) < self.config.loss_permille {
            self.losing = run - 1;
            return true;
        }
        false
    }

    /// One millisecond of service.
    pub(super) fn step(&mut self, ms: u64, mut arrived: impl FnMut(P, i64), mut lost: impl FnMut(P)) {
        while self
            .config
            .steps
            .get(self.step + 1)
            .is_some_and(|next| next.at_ms <= ms)
        {
            self.step += 1;
        }
        for packet in self.dropped.drain(..) {
            lost(packet);
        }
        let mut rate = self.kbps() as f64 / 8.0;
        if self.config.burst > 0 {
            self.tokens = (self.tokens + rate).min(self.config.burst as f64);
            rate = 1e6;
        }
        if self.config.others_kbps > 0 && ms % 6_000 < 2_000 {
            self.others += self.config.others_kbps as f64 / 8.0;
            while self.others >= 1_200.0 {
                self.others -= 1_200.0;
                if self.queued + 1_200 <= self.config.queue {
                    self.queued += 1_200;
                    self.queue.push_back((None, 1_200));
                }
            }
        }
        if self.config.stall_ms > 0 && self.chance.below(5_000) == 0 {
            self.stalled_until = ms + 20 + self.chance.below(self.config.stall_ms);
        }
        if ms < self.stalled_until {
            // Wi-Fi catches up at its own rate, not at the line's.
            self.credit = (self.credit + rate).min(60_000.0);
            return;
        }
        self.credit += rate;
        while let Some((_, size)) = self.queue.front()
            && *size as f64 <= self.credit
        {
            let Some((packet, size)) = self.queue.pop_front() else {
                break;
            };
            if self.config.ordered && self.is_lost(ms) {
                let timeout = if self.chance.below(8) == 0 {
                    200 + self.chance.below(100)
                } else {
                    0
                };
                self.stalled_until = ms + 2 * self.config.delay_ms + timeout;
                self.queue.push_front((packet, size));
                break;
            }
            self.credit -= size as f64;
            self.queued -= size;
            let Some(packet) = packet else { continue };
            if !self.config.ordered && self.is_lost(ms) {
                lost(packet);
                continue;
            }
            let within = ((1.0 - self.credit / rate.max(1.0)) * 1_000.0).clamp(0.0, 999.0) as i64;
            let jitter = self.chance.below(self.config.jitter_ms * 1_000 + 1) as i64;
            let at = (ms + self.config.delay_ms) as i64 * 1_000 + within + jitter;
            self.last_arrival_us = self.last_arrival_us.max(at);
            arrived(packet, self.last_arrival_us);
        }
        if self.queue.is_empty() {
            self.credit = self.credit.min(rate.max(1_500.0));
        }
    }
}
