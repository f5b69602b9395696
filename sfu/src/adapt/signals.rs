//! What feedback says about a path: queue delay, its trend, what arrived how fast, what was lost.
//!
//! All times are microseconds: sending times on our clock, arrival times on the receiver's, which has another zero and may drift.
//! Only differences are used.

use crate::adapt::sent::{SentPacket, Sort};
use crate::limits;

/// Milliseconds of queue, with a fraction.
pub(crate) type Millis = f64;

/// The time over which a queue must stand to be one: jitter and the bursts of Wi-Fi leave gaps shorter than this.
const STANDING_US: i64 = 150_000;
/// A standing queue needs samples over at least so much of that time: after a stall everything comes at once, which says nothing.
const LEAST_SPAN_US: i64 = 60_000;
/// The trend is taken over this.
const TREND_US: i64 = 250_000;
/// Packets are looked up this far back.
const PASSAGE_US: i64 = 1_000_000;
const SHORT_TREND_US: i64 = 130_000;
/// The lowest delay of so many spans of [`BASE_SPAN_US`] is that of the empty path. Longer is less able to follow a path that
/// changes and a clock that drifts (100 ppm are 3 ms in 30 s).
const BASE_SPANS: usize = 6;
const BASE_SPAN_US: i64 = 5_000_000;
/// Loss is counted in spans of this.
const LOSS_SPAN_US: i64 = 100_000;
const LOSS_SPANS: usize = 10;

/// One packet that arrived.
#[derive(Clone, Copy, Debug)]
struct Sample {
    arrival: i64,
    /// Arrival minus sending, less that of the first packet: a path's delays stay within half an hour of it.
    delay: i32,
    size: u16,
}

impl Sample {
    const fn delay(&self) -> i64 {
        self.delay as i64
    }
}

/// What left and what was lost of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Packets whose fate is known.
    pub(crate) packets: u32,
    /// Of which lost.
    pub(crate) lost: u32,
    /// Of the packets, audio.
    pub(crate) audio: u32,
    /// Of which lost.
    pub(crate) audio_lost: u32,
}

impl Losses {
    /// The share lost, 0 if nothing was sent.
    pub(crate) fn share(&self) -> f64 {
        f64::from(self.lost) / f64::from(self.packets.max(1))
    }

    /// The share of audio lost.
    pub(crate) fn audio_share(&self) -> f64 {
        f64::from(self.audio_lost) / f64::from(self.audio.max(1))
    }

    fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.lost += other.lost;
        self.audio += other.audio;
        self.audio_lost += other.audio_lost;
    }
}

/// How delay developed over the last quarter of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Trend {
    /// Milliseconds of queue per millisecond: by how much more is sent than the path takes, as a share of what it takes.
    pub(crate) slope: f64,
    /// The line's rise from its first to its last sample.
    pub(crate) rise: Millis,
    /// How far samples lie from the line, on average.
    pub(crate) scatter: Millis,
}

/// What became of the packets of a span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Passage {
    /// Bits per second at which they arrived.
    pub(crate) rate: f64,
    /// From the first arrival to the last.
    pub(crate) span_us: i64,
    /// Milliseconds of queue per millisecond.
    pub(crate) slope: f64,
}

/// The least that stood while the packets of a span of time went by, in the first and in the last third of them, and the longest time
/// without an arrival among them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ground {
    /// Of the first third.
    pub(crate) first: Millis,
    /// Of the last.
    pub(crate) last: Millis,
    /// Where nothing arrived.
    pub(crate) gap: Millis,
}

/// See the module.
pub(crate) struct Signals {
    /// The newest samples, a ring.
    samples: Box<[Sample]>,
    len: usize,
    newest: usize,
    /// What delays are counted from.
    first_delay: Option<i64>,
    base: [i64; BASE_SPANS],
    /// Number of the span the newest base is of.
    base_span: i64,
    losses: [Losses; LOSS_SPANS],
    loss_span: i64,
    /// The loss there is whatever is sent.
    usual_loss: f64,
    /// Sending time of the newest packet that arrived.
    pub(crate) newest_sent_us: i64,
    /// Arrival time of the newest.
    pub(crate) newest_arrival_us: i64,
}

impl Signals {
    pub(crate) fn new() -> Self {
        let empty = Sample {
            arrival: 0,
            delay: 0,
            size: 0,
        };
        Self {
            samples: vec![empty; limits::ARRIVAL_SAMPLES].into_boxed_slice(),
            len: 0,
            newest: 0,
            first_delay: None,
            base: [i64::MAX; BASE_SPANS],
            base_span: i64::MIN,
            losses: [Losses::default(); LOSS_SPANS],
            loss_span: i64::MIN,
            usual_loss: 0.0,
            newest_sent_us: i64::MIN,
            newest_arrival_us: i64::MIN,
        }
    }

    /// A packet arrived.
    pub(crate) fn handle_arrival(&mut self, packet: &SentPacket, arrival_us: i64) {
        let delay = arrival_us - packet.sent_us;
        let first = *self.first_delay.get_or_insert(delay);
        let delay = (delay - first).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        let span = packet.sent_us.div_euclid(BASE_SPAN_US);
        if self.base_span == i64::MIN {
            self.base_span = span;
        }
        for number in (self.base_span + 1..=span).take(BASE_SPANS) {
            self.base[number.rem_euclid(BASE_SPANS as i64) as usize] = i64::MAX;
        }
        self.base_span = self.base_span.max(span);
        let lowest = &mut self.base[self.base_span.rem_euclid(BASE_SPANS as i64) as usize];
        *lowest = (*lowest).min(delay);
        self.newest = if self.newest + 1 < self.samples.len() {
            self.newest + 1
        } else {
            0
        };
        self.samples[self.newest] = Sample {
            arrival: arrival_us,
            delay: delay as i32,
            size: packet.size,
        };
        self.len = (self.len + 1).min(self.samples.len());
        self.newest_sent_us = self.newest_sent_us.max(packet.sent_us);
        self.newest_arrival_us = self.newest_arrival_us.max(arrival_us);
    }

    /// The fate of a packet is known.
    pub(crate) fn handle_fate(&mut self, packet: &SentPacket, is_lost: bool, now_us: i64) {
        self.advance_losses(now_us);
        let place = self.loss_span.rem_euclid(LOSS_SPANS as i64) as usize;
        let is_audio = packet.sort == Sort::Audio;
        self.losses[place].add(Losses {
            packets: 1,
            lost: u32::from(is_lost),
            audio: u32::from(is_audio),
            audio_lost: u32::from(is_audio && is_lost),
        });
    }

    fn advance_losses(&mut self, now_us: i64) {
        let span = now_us.div_euclid(LOSS_SPAN_US);
        if self.loss_span == i64::MIN {
            self.loss_span = span;
        }
        for number in (self.loss_span + 1..=span).take(LOSS_SPANS) {
            self.losses[number.rem_euclid(LOSS_SPANS as i64) as usize] = Losses::default();
        }
        self.loss_span = self.loss_span.max(span);
    }

    /// Losses of the last `spans` tenths of a second, ten at most.
    pub(crate) fn losses(&mut self, spans: usize, now_us: i64) -> Losses {
        self.advance_losses(now_us);
        let mut sum = Losses::default();
        for back in 0..spans.min(LOSS_SPANS) as i64 {
            sum.add(self.losses[(self.loss_span - back).rem_euclid(LOSS_SPANS as i64) as usize]);
        }
        sum
    }

    /// The loss this path has without congestion.
    pub(crate) const fn usual_loss(&self) -> f64 {
        self.usual_loss
    }

    /// Lets the usual loss follow what is lost while nothing stands in a queue.
    pub(crate) fn learn_usual_loss(&mut self, share: f64, seconds: f64) {
        let step = if share < self.usual_loss {
            seconds / 2.0
        } else {
            seconds / 10.0
        };
        self.usual_loss += (share - self.usual_loss) * step.min(1.0);
    }

    /// The samples that arrived within `window_us` of the newest, newest first.
    fn recent(&self, window_us: i64) -> impl Iterator<Item = &Sample> {
        // The ring holds the newest at `newest`, older ones before it, then from its end on downwards.
        let (newer, older) = self.samples.split_at(self.newest + 1);
        let all = newer.iter().rev().chain(older.iter().rev());
        all.take(self.len)
            .take_while(move |sample| self.newest_arrival_us - sample.arrival <= window_us)
    }

    fn base(&self) -> i64 {
        self.base.iter().copied().min().unwrap_or(i64::MAX)
    }

    /// Takes the delay as it is now for that of an empty path: the path is another one.
    pub(crate) fn rebase(&mut self) {
        let lowest = self.recent(STANDING_US).map(|sample| sample.delay()).min();
        if let Some(lowest) = lowest {
            self.base = [i64::MAX; BASE_SPANS];
            self.base[self.base_span.rem_euclid(BASE_SPANS as i64) as usize] = lowest;
        }
    }

    /// The queue that stood all the last 150 ms, or `None` where too little arrived to say.
    pub(crate) fn standing(&self) -> Option<Millis> {
        let (mut lowest, mut oldest, mut count) = (i64::MAX, i64::MAX, 0);
        for sample in self.recent(STANDING_US) {
            lowest = lowest.min(sample.delay());
            oldest = oldest.min(sample.arrival);
            count += 1;
        }
        let is_known = count >= 3 && self.newest_arrival_us - oldest >= LEAST_SPAN_US;
        is_known.then(|| (lowest - self.base()) as Millis / 1_000.0)
    }

    /// The least delay of the last few packets over that of the empty path: what stands now, up to jitter.
    pub(crate) fn latest(&self) -> Option<Millis> {
        let lowest = self.recent(TREND_US).take(5).map(|sample| sample.delay()).min()?;
        Some((lowest - self.base()) as Millis / 1_000.0)
    }

    /// The longest time without an arrival within the time of the short trend: what a stall leaves behind.
    pub(crate) fn longest_gap(&self) -> Millis {
        let mut later = self.newest_arrival_us;
        let mut longest = 0;
        for sample in self.recent(SHORT_TREND_US) {
            longest = longest.max(later - sample.arrival);
            later = sample.arrival;
        }
        longest as Millis / 1_000.0
    }

    /// Least squares over the last quarter of a second.
    pub(crate) fn trend(&self) -> Option<Trend> {
        self.trend_over(TREND_US)
    }

    /// The same over the time of two feedbacks: sooner, and easier to fool.
    pub(crate) fn short_trend(&self) -> Option<Trend> {
        self.trend_over(SHORT_TREND_US)
    }

    fn trend_over(&self, window_us: i64) -> Option<Trend> {
        let newest = self.newest_arrival_us;
        let (mut n, mut sum_x, mut sum_y, mut sum_xx, mut sum_xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let mut oldest = newest;
        let base = self.base();
        for sample in self.recent(window_us) {
            let x = (sample.arrival - newest) as f64 / 1_000.0;
            let y = (sample.delay() - base) as f64 / 1_000.0;
            oldest = oldest.min(sample.arrival);
            n += 1.0;
            sum_x += x;
            sum_y += y;
            sum_xx += x * x;
            sum_xy += x * y;
        }
        let spread = n * sum_xx - sum_x * sum_x;
        if n < 4.0 || newest - oldest < LEAST_SPAN_US || spread <= 0.0 {
            return None;
        }
        let slope = (n * sum_xy - sum_x * sum_y) / spread;
        let level = (sum_y - slope * sum_x) / n;
        let mut scatter = 0.0;
        for sample in self.recent(window_us) {
            let x = (sample.arrival - newest) as f64 / 1_000.0;
            let y = (sample.delay() - base) as f64 / 1_000.0;
            scatter += (y - level - slope * x).abs();
        }
        Some(Trend {
            slope,
            rise: slope * (newest - oldest) as f64 / 1_000.0,
            scatter: scatter / n,
        })
    }

    /// What became of the packets that left in a span of time.
    pub(crate) fn passage(&self, sent_us: std::ops::RangeInclusive<i64>) -> Option<Passage> {
        let newest = self.newest_arrival_us;
        let (mut n, mut sum_x, mut sum_y, mut sum_xx, mut sum_xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let (mut bytes, mut first, mut last) = (0_u64, (i64::MAX, 0), i64::MIN);
        let base = self.base();
        let first_delay = self.first_delay.unwrap_or(0);
        for sample in self.recent(PASSAGE_US) {
            if !sent_us.contains(&(sample.arrival - sample.delay() - first_delay)) {
                continue;
            }
            let x = (sample.arrival - newest) as f64 / 1_000.0;
            let y = (sample.delay() - base) as f64 / 1_000.0;
            n += 1.0;
            sum_x += x;
            sum_y += y;
            sum_xx += x * x;
            sum_xy += x * y;
            bytes += u64::from(sample.size);
            first = first.min((sample.arrival, u64::from(sample.size)));
            last = last.max(sample.arrival);
        }
        let spread = n * sum_xx - sum_x * sum_x;
        if n < 8.0 || spread <= 0.0 || last <= first.0 {
            return None;
        }
        let span_us = last - first.0;
        Some(Passage {
            rate: (bytes - first.1) as f64 * 8e6 / span_us as f64,
            span_us,
            slope: (n * sum_xy - sum_x * sum_y) / spread,
        })
    }

    /// What stood below the packets that left in a span of time. A connection that stands still for a moment leaves it as it was, a queue
    /// that builds raises it.
    pub(crate) fn ground(&self, sent_us: std::ops::RangeInclusive<i64>) -> Option<Ground> {
        let base = self.base();
        let first_delay = self.first_delay?;
        let third = (sent_us.end() - sent_us.start()) / 3;
        let (mut first, mut last, mut gap, mut later) = (i64::MAX, i64::MAX, 0, None);
        for sample in self.recent(PASSAGE_US) {
            let sent = sample.arrival - sample.delay() - first_delay;
            if !sent_us.contains(&sent) {
                continue;
            }
            if sent <= sent_us.start() + third {
                first = first.min(sample.delay() - base);
            } else if sent >= sent_us.end() - third {
                last = last.min(sample.delay() - base);
            }
            gap = gap.max(later.unwrap_or(sample.arrival) - sample.arrival);
            later = Some(sample.arrival);
        }
        let is_known = first != i64::MAX && last != i64::MAX;
        is_known.then(|| Ground {
            first: first as Millis / 1_000.0,
            last: last as Millis / 1_000.0,
            gap: gap as Millis / 1_000.0,
        })
    }

    /// Bits per second that arrived within `window_us` of the newest arrival, and the time it was measured over in microseconds.
    /// Only packets from `since_us` (arrival) on count, and only those that found a queue of `queue` at least, up to the first
    /// that did not.
    pub(crate) fn delivered(&self, window_us: i64, since_us: i64, queue: Option<Millis>) -> Option<(f64, i64)> {
        let base = self.base();
        let (mut bytes, mut oldest, mut oldest_size, mut count) = (0_u64, self.newest_arrival_us, 0, 0);
        for sample in self.recent(window_us) {
            let stood = (sample.delay() - base) as Millis / 1_000.0;
            if sample.arrival < since_us || queue.is_some_and(|least| stood < least) {
                break;
            }
            bytes += u64::from(sample.size);
            oldest = sample.arrival;
            oldest_size = u64::from(sample.size);
            count += 1;
        }
        // The first packet marks the start; its own bytes came before.
        let span = self.newest_arrival_us - oldest;
        (count >= 4 && span > 0).then(|| ((bytes - oldest_size) as f64 * 8e6 / span as f64, span))
    }
}
