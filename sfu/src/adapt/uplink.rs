//! What a publisher's own path carries, read from what arrives: the same signals, estimator and ladder as for a viewer, with two
//! differences. The sending time is what the sender says (`abs-send-time`), and nothing can be sent to probe: **switching a layer on is
//! the probe** (browsers then probe by themselves), tried less often the more often it fails.

use std::time::{Duration, Instant};

use crate::adapt::estimator::{Estimate, Estimator};
use crate::adapt::ladder::{AUDIO_RESERVE, Budget, Flow, Move, Rates, SMALL};
use crate::adapt::sent::{SentPacket, Sort};
use crate::adapt::signals::Signals;
use crate::limits;
use crate::media::{Bitrate, Layer, Target};

/// Bytes that a packet is longer on the wire than as RTP: SRTP tag, UDP and IPv4 headers.
const WIRE_OVERHEAD: usize = 16 + 8 + 20;
/// From one step to the next while packets come: as often as a viewer's feedback.
const STEP_US: i64 = 60_000;
/// Audio says nothing of the path: without picture nothing is heard of it, and after so long what stood there has drained.
const SILENCE_US: i64 = 1_000_000;
/// A number is given up when so many after it have arrived.
const REORDERING: u32 = 16;
/// Numbers that jump further were begun anew.
const LARGEST_JUMP: u16 = 1_000;
/// 24 bits of `abs-send-time` in microseconds: 64 s in steps of 1/2¹⁸ s.
const SEND_TIME_BITS: u32 = 24;
/// From a step down to the first try, and the most it becomes: each try that fails makes it half as long again. A try without
/// picture costs a quarter of a second of too much, and people miss the picture.
const FIRST_PAUSE_US: i64 = 2_000_000;
const LONGEST_PAUSE_US: i64 = 30_000_000;
const LONGEST_WITHOUT_PICTURE_US: i64 = 8_000_000;
/// A rung lost sooner than this after a try was a try that failed.
const FAILED_US: i64 = 10_000_000;
/// The larger layer was asked for, and the sender has not sent it for so long while it sends the smaller one: it cannot.
const WITHHELD_US: i64 = 3_000_000;
/// What a picture needs at least, over the floor, where only the sender says that it cannot send more.
const ABOVE_FLOOR: f64 = 1.2;
/// The smaller layer is not held under this: 480p below it is no picture.
const LEAST_SMALL: Bitrate = Bitrate::from_kbps(250);
/// Audio loss is counted over this.
const AUDIO_SPAN_US: i64 = 1_000_000;
const LEAST_AUDIO: u64 = 20;

/// What viewers want of a publisher's cameras, and what comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// The best anybody is to be sent.
    pub(crate) ideal: Target,
    /// What each rung costs the uplink.
    pub(crate) rates: Rates,
    /// What the publisher's shared screen costs it: that comes first.
    pub(crate) screen: Bitrate,
    /// The larger layer is asked for and does not come, while the smaller one does.
    pub(crate) large_is_missing: bool,
    /// Audio packets that arrived and that were lost, since ever.
    pub(crate) audio: (u64, u64),
}

/// See the module.
pub(crate) struct Uplink {
    epoch: Instant,
    floor: Bitrate,
    numbers: Numbers,
    /// The newest sending time, unwrapped, in units of 1/2¹⁸ s.
    send_time: Option<i64>,
    signals: Signals,
    estimator: Estimator,
    flow: Flow,
    /// What a shared screen takes before it.
    screen: Bitrate,
    /// Something arrived since the last step.
    heard: bool,
    stepped_us: i64,
    /// When the estimator was last fed, and how much audio had come by then.
    fed_us: i64,
    audio_when_fed: u64,
    next_try_us: i64,
    pause_us: i64,
    tried_us: Option<i64>,
    missing_us: Option<i64>,
    audio_mark: (i64, u64, u64),
    audio_loss: f64,
}

impl Uplink {
    /// `floor`: below this there is no picture.
    pub(crate) fn new(floor: Bitrate, now: Instant) -> Self {
        Self {
            epoch: now,
            floor,
            numbers: Numbers::default(),
            send_time: None,
            signals: Signals::new(),
            estimator: Estimator::new(),
            flow: Flow::new(Target::Video(Layer::P720)),
            screen: Bitrate::ZERO,
            heard: false,
            stepped_us: 0,
            fed_us: 0,
            audio_when_fed: 0,
            next_try_us: 0,
            pause_us: FIRST_PAUSE_US,
            tried_us: None,
            missing_us: None,
            audio_mark: (0, 0, 0),
            audio_loss: 0.0,
        }
    }

    fn micros(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.epoch).as_micros() as i64
    }

    /// Whether packets come over TCP, where none is missing and each may be held up by those before.
    pub(crate) const fn set_ordered(&mut self, is_ordered: bool) {
        self.estimator.set_ordered(is_ordered);
    }

    /// Everything comes another way from here on.
    pub(crate) fn handle_new_path(&mut self) {
        self.signals = Signals::new();
        self.estimator = Estimator::new();
        self.numbers = Numbers::default();
        self.send_time = None;
    }

    /// A packet of `len` RTP bytes arrived under a transport-wide number; `send_time` is its `abs-send-time`, if it has one.
    pub(crate) fn handle_arrival(&mut self, number: u16, send_time: Option<u32>, len: usize, now: Instant) {
        let now_us = self.micros(now);
        self.heard = true;
        let signals = &mut self.signals;
        let fate = SentPacket {
            number: 0,
            sent_us: now_us,
            size: 0,
            sort: Sort::Video,
        };
        self.numbers
            .take(number, |is_lost| signals.handle_fate(&fate, is_lost, now_us));
        // Without a sending time there is no delay, and its bytes are part of the audio reserve.
        let Some(raw) = send_time.map(i64::from) else { return };
        let unwrapped = match self.send_time {
            None => raw,
            Some(last) => last + ((raw - last) << (64 - SEND_TIME_BITS) >> (64 - SEND_TIME_BITS)),
        };
        self.send_time = Some(self.send_time.map_or(unwrapped, |last| last.max(unwrapped)));
        let packet = SentPacket {
            sent_us: (unwrapped * 1_000_000) >> 18,
            size: (len + WIRE_OVERHEAD).min(usize::from(u16::MAX)) as u16,
            ..fate
        };
        self.signals.handle_arrival(&packet, now_us);
    }

    /// Whether [`Self::step`] has something to go by.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.heard && self.micros(now) - self.stepped_us >= STEP_US
    }

    /// Whether the last step is long enough ago for another.
    pub(crate) fn may_step(&self, now: Instant) -> bool {
        self.micros(now) - self.stepped_us >= STEP_US
    }

    /// When to look although nothing comes.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.epoch + Duration::from_micros(self.stepped_us.max(0) as u64) + limits::UPLINK_LOOK
    }

    /// The most the uplink carries.
    pub(crate) const fn limit(&self) -> Target {
        self.flow.rung()
    }

    /// The most that the smaller layer may take: less than usual while the path is too small for it.
    pub(crate) fn small_max(&self) -> Bitrate {
        match self.estimator.estimate().target {
            Some(target) if self.flow.thinning() > 0 => {
                let left = target - self.screen - AUDIO_RESERVE;
                // In steps, so that the publisher is not told of every wobble.
                Bitrate::from_kbps(left.bps() / 50_000 * 50).clamp(LEAST_SMALL, SMALL)
            }
            _ => SMALL,
        }
    }

    /// What is known of the path.
    pub(crate) const fn estimate(&self) -> &Estimate {
        self.estimator.estimate()
    }

    /// One step of the ladder.
    pub(crate) fn step(&mut self, demand: &Demand, now: Instant) -> Option<Move> {
        let now_us = self.micros(now);
        self.stepped_us = now_us;
        self.screen = demand.screen;
        if self.heard && now_us - self.fed_us >= STEP_US {
            self.heard = false;
            self.fed_us = now_us;
            self.audio_when_fed = demand.audio.0;
            self.estimator.handle_feedback(&mut self.signals, now_us);
        } else if now_us - self.fed_us >= SILENCE_US && demand.audio.0 > self.audio_when_fed {
            // Audio that bears no numbers comes through. Where nothing does, the path may have stopped, and what stands in it is still to come.
            self.estimator.handle_silence(now_us);
        }
        self.count_audio(demand.audio, now_us);
        let missing_us = demand.large_is_missing.then(|| self.missing_us.unwrap_or(now_us));
        self.missing_us = missing_us;
        if demand.ideal == Target::AudioOnly {
            // Nobody watches: nothing is sent that could be learned from.
            return None;
        }
        let rates = self.flow.smooth(demand.rates, now_us);
        if self.flow.rung() == Target::Video(Layer::P720)
            && missing_us.is_some_and(|since| now_us - since >= WITHHELD_US)
        {
            return Some(self.give_up_large(rates, now_us));
        }
        let estimate = *self.estimator.estimate();
        let aim = self.flow.aim(demand.ideal, rates, self.floor, false);
        let tries = aim.filter(|_| now_us >= self.next_try_us && !estimate.is_congested);
        let budget = Budget {
            target: estimate.target.map(|target| target - self.screen),
            minimum: None,
            probed: tries.unwrap_or(Bitrate::ZERO),
            queue: estimate.queue,
            is_congested: estimate.is_congested,
            loses: estimate.loses_more_than_usual,
            audio_loss: (self.audio_loss - self.signals.usual_loss()).max(0.0),
            floor: self.floor,
            is_screen: false,
        };
        let step = self.flow.step(demand.ideal, rates, &budget, now_us);
        match step {
            Some(step) if step.to < step.from => self.lost(step.to, now_us),
            Some(_) => self.tried(tries, now_us),
            // The smaller layer is held back: it may take more, and that is the try.
            None if tries.is_some() && self.flow.thinning() > 0 => {
                self.tried(tries, now_us);
                self.next_try_us = now_us + self.pause_us;
            }
            None => {}
        }
        step
    }

    fn give_up_large(&mut self, rates: Rates, now_us: i64) -> Move {
        let small = rates.small.map_or(0, Bitrate::bps) as f64 * 1.1;
        let picture = (AUDIO_RESERVE.bps() as f64 + small).max(ABOVE_FLOOR * self.floor.bps() as f64);
        let least = self.screen.bps() as f64 + picture;
        let delivered = self.estimator.estimate().delivered.bps() as f64;
        self.estimator.handle_ceiling(least.max(delivered), now_us);
        self.missing_us = None;
        self.lost(Target::Video(Layer::P480), now_us);
        self.flow.give_up_large(now_us)
    }

    /// A rung was lost; `to` is left.
    fn lost(&mut self, to: Target, now_us: i64) {
        let was_try = self.tried_us.is_some_and(|tried| now_us - tried < FAILED_US);
        let longest = if to == Target::AudioOnly {
            LONGEST_WITHOUT_PICTURE_US
        } else {
            LONGEST_PAUSE_US
        };
        self.pause_us = if was_try {
            (self.pause_us * 3 / 2).min(longest)
        } else {
            FIRST_PAUSE_US
        };
        self.next_try_us = now_us + self.pause_us;
    }

    /// More is asked for: the path is taken to carry it until it shows that it does not.
    fn tried(&mut self, aim: Option<Bitrate>, now_us: i64) {
        self.tried_us = Some(now_us);
        if let Some(aim) = aim {
            self.estimator.handle_probed(aim + self.screen, true, now_us);
        }
    }

    fn count_audio(&mut self, (packets, lost): (u64, u64), now_us: i64) {
        let (since, packets_before, lost_before) = self.audio_mark;
        if now_us - since < AUDIO_SPAN_US {
            return;
        }
        let came = packets.saturating_sub(packets_before);
        let lost_now = lost.saturating_sub(lost_before);
        let all = came + lost_now;
        self.audio_loss = if all < LEAST_AUDIO {
            0.0
        } else {
            lost_now as f64 / all as f64
        };
        self.audio_mark = (now_us, packets, lost);
    }
}

/// The transport-wide numbers that came, to tell which did not.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    /// The highest.
    highest: Option<u16>,
    /// Which of the last ones arrived: bit 0 is the highest.
    arrived: u32,
    /// How many of the bits mean something.
    known: u32,
}

impl Numbers {
    /// Takes one in; `settled` is called with whether it was lost for each that is given up.
    fn take(&mut self, number: u16, mut settled: impl FnMut(bool)) {
        let Some(highest) = self.highest else {
            *self = Self::from(number);
            return;
        };
        let ahead = number.wrapping_sub(highest);
        if ahead == 0 {
            return;
        }
        if ahead > u16::MAX / 2 {
            let behind = u32::from(highest.wrapping_sub(number));
            if behind < self.known {
                self.arrived |= 1 << behind;
            }
            return;
        }
        if ahead > LARGEST_JUMP {
            *self = Self::from(number);
            return;
        }
        for _ in 0..ahead {
            if self.known == REORDERING {
                settled(self.arrived >> (REORDERING - 1) & 1 == 0);
            }
            self.arrived <<= 1;
            self.known = (self.known + 1).min(REORDERING);
        }
        self.arrived |= 1;
        self.highest = Some(number);
    }
}

impl From<u16> for Numbers {
    fn from(number: u16) -> Self {
        Self {
            highest: Some(number),
            arrived: 1,
            known: 1,
        }
    }
}
