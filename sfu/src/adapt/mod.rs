//! Adaptation of what one viewer is sent to what its path carries: sent history and transport-wide feedback → estimate → ladder,
//! probes and pace. Sans-IO; one [`Controller`] for each transport.
//!
//! * `sent` remembers what left under which number;
//! * `signals` turns feedback into queue delay, trend, arrival rate and loss;
//! * `missing` says what of a picture is to be sent again, where much is lost;
//! * `unasked` says how much that may be;
//! * `estimator` makes one capacity of them, by states;
//! * `probe` sends more for a moment to see whether the next rung fits;
//! * `ladder` decides what each video flow is sent;
//! * `pacing` says when video may leave;
//! * `speech` knows what sound takes;
//! * `uplink` does the same for what a publisher sends: it reads what arrives, and the publisher is asked; `plan` says which layers.
//!
//! A receiver that sends no feedback is sent what was asked for, at once.

mod estimator;
mod ladder;
mod missing;
mod pacing;
mod plan;
mod probe;
mod sent;
mod signals;
#[cfg_attr(not(test), allow(dead_code, reason = "the drawing bench uses only a part of it"))]
pub(crate) mod sim;
mod speech;
mod unasked;
mod uplink;

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::ids::Ssrc;
use crate::limits;
use crate::media::{Bitrate, Target};
use crate::quality::Spread;
use crate::rtcp::TransportFeedback;

pub(crate) use estimator::Estimate;
use estimator::{Estimator, LEAST_FATES};
use ladder::{AUDIO_RESERVE, SCREEN_FLOOR};
pub(crate) use ladder::{Budget, Cause, Flow, LARGE, Move, Rates, SCREEN_RESERVE};
pub(crate) use missing::Missing;
use pacing::Pacing;
pub(crate) use plan::{LayerFacts, Plan, nominal};
use probe::Prober;
pub(crate) use probe::{Probed, Verdict};
use sent::SentHistory;
pub(crate) use sent::Sort;
use signals::Signals;
use speech::Speech;
use unasked::Allowance;
pub(crate) use unasked::Copies;
pub(crate) use uplink::{Demand, Uplink};

/// Bytes that a packet is longer on the wire than as RTP: SRTP tag, UDP and IPv4 headers.
const WIRE_OVERHEAD: usize = 16 + 8 + 20;
/// A packet is given up when one that left so much later has arrived.
const REORDERING_US: i64 = 30_000;
/// A probe's packets are sent in steps of this.
const PROBE_STEP: Duration = Duration::from_millis(5);
/// A clean probe is evidence for so long.
const EVIDENCE_US: i64 = 10_000_000;
/// After a queue has stood the capacity is known, and the pace stays close to it for so long.
const KNOWN: Duration = Duration::from_secs(30);
/// There is more redundancy from this share of packets lost on, whatever is sent; from this share on without waiting for more
/// evidence than one second's; and until this.
const LOSSY: f64 = 0.03;
const VERY_LOSSY: f64 = 0.06;
const HARDLY_LOSSY: f64 = 0.015;
/// With so much more than usual lost within 0.3 s it may not be chance, and nothing is sent again unasked.
const DOUBTFUL: f64 = 0.15;
/// What was kept for a path that loses many is given up when it has not for so long.
const MISSING_KEPT_US: i64 = 5_000_000;
/// A path with less has no room for it.
const ROOM_FOR_REDUNDANCY: Bitrate = Bitrate::from_kbps(250);
/// With nothing flowing, and so no feedback, the way back is looked for this often.
const LOOK_US: i64 = 250_000;

/// A video flow as the controller sees it.
pub(crate) struct Candidate<'a> {
    pub(crate) flow: &'a mut Flow,
    /// What was asked for.
    pub(crate) ideal: Target,
    pub(crate) rates: Rates,
    /// It shows a shared screen.
    pub(crate) is_screen: bool,
}

impl Candidate<'_> {
    /// Below this there is no picture, where the clinic says so for faces.
    fn floor(&self, faces: Bitrate) -> Bitrate {
        if self.is_screen { faces.min(SCREEN_FLOOR) } else { faces }
    }

    /// What it takes of the path.
    fn cost(&self) -> f64 {
        let least = if self.is_screen && self.flow.rung() != Target::AudioOnly {
            SCREEN_RESERVE.bps() as f64
        } else {
            0.0
        };
        self.flow.cost(self.rates).max(least)
    }
}

/// At most one flow for each line.
pub(crate) type Candidates<'a> = ArrayVec<Candidate<'a>, { limits::MAX_LINES }>;

/// A move of one candidate, by its place.
pub(crate) type Moves = ArrayVec<(usize, Move), { limits::MAX_LINES }>;

/// What every packet reads and writes, in one line of the cache: by the time a viewer's next packet leaves, everything of the viewer is cold.
/// The flags repeat what the parts below know; [`Controller::note_flags`] keeps them.
#[repr(align(64))]
struct Hot {
    epoch: Instant,
    sent: SentHistory,
    /// A probe counts what is sent.
    probes: bool,
    /// Video may have to wait.
    paces: bool,
    /// New feedback is there.
    due: bool,
    /// A flow waits for a better path.
    waits: bool,
    /// Bytes of sound that left since `speech` was last told.
    audio_bytes: u32,
}

const _ONE_LINE: () = assert!(size_of::<Hot>() == 64);

/// Places of flows in the order in which they get what the path carries: the first is the last to lose its picture. Shared screens come
/// before all cameras. Whoever is to be seen large is asked for large, so what is asked for says who comes next; among equals, the
/// first line does.
fn by_priority(flows: impl Iterator<Item = (bool, Target)>) -> ArrayVec<usize, { limits::MAX_LINES }> {
    let mut order: ArrayVec<_, { limits::MAX_LINES }> = flows.enumerate().take(limits::MAX_LINES).collect();
    order.sort_unstable_by_key(|(place, flow)| (std::cmp::Reverse(*flow), *place));
    order.into_iter().map(|(place, _)| place).collect()
}

/// Bytes on the wire of a packet of `len` RTP bytes.
fn wire_size(len: usize) -> u16 {
    u16::try_from(len + WIRE_OVERHEAD).unwrap_or(u16::MAX)
}

/// See the module.
pub(crate) struct Controller {
    hot: Hot,
    signals: Signals,
    estimator: Estimator,
    prober: Prober,
    pacing: Pacing,
    /// Reference time of the last feedback, unwrapped, in units of 64 ms.
    reference: Option<i64>,
    /// Rate of the last clean probe and when it ended.
    clean: Option<(Bitrate, i64)>,
    probed: Option<Probed>,
    floor: Bitrate,
    speech: Speech,
    /// How evenly sound comes.
    spread: Spread,
    /// Packets are lost by chance.
    is_lossy: bool,
    /// When they last were.
    lossy_us: i64,
    /// And nothing speaks against it: what is missing may be sent again unasked.
    resends: bool,
    /// Packets come in order and none is missing, as over TCP: what is, the server itself has dropped.
    is_ordered: bool,
    /// Made when packets are lost by chance, and given up some time after.
    missing: Option<Box<Missing>>,
    allowance: Allowance,
    /// A flow waits for a better path, which must be looked for even if nothing else is sent; when it was last looked at.
    waiting: Option<i64>,
}

impl Controller {
    /// `floor`: below this there is no picture.
    pub(crate) fn new(floor: Bitrate, now: Instant) -> Self {
        Self {
            hot: Hot {
                epoch: now,
                sent: SentHistory::new(),
                probes: false,
                paces: false,
                due: false,
                waits: false,
                audio_bytes: 0,
            },
            signals: Signals::new(),
            estimator: Estimator::new(),
            prober: Prober::new(),
            pacing: Pacing::new(),
            reference: None,
            clean: None,
            probed: None,
            floor,
            speech: Speech::new(),
            spread: Spread::new(),
            is_lossy: false,
            lossy_us: 0,
            resends: false,
            is_ordered: false,
            missing: None,
            allowance: Allowance::default(),
            waiting: None,
        }
    }

    fn micros(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.hot.epoch).as_micros() as i64
    }

    fn instant(&self, micros: i64) -> Instant {
        self.hot.epoch + Duration::from_micros(micros.max(0) as u64)
    }

    /// Whether packets go over TCP, where none is missing and each may be held up by those before.
    pub(crate) const fn set_ordered(&mut self, is_ordered: bool) {
        self.is_ordered = is_ordered;
        self.is_lossy &= !is_ordered;
        self.resends &= !is_ordered;
        self.estimator.set_ordered(is_ordered);
        self.prober.set_ordered(is_ordered);
    }

    /// From here on everything goes another way: nothing is known of it.
    pub(crate) fn handle_new_path(&mut self) {
        self.hot.sent.forget();
        self.missing.iter_mut().for_each(|missing| missing.forget());
        self.signals = Signals::new();
        self.spread = Spread::new();
        self.estimator = Estimator::new();
        self.prober = Prober::new();
        self.pacing = Pacing::new();
        self.clean = None;
        self.hot.due = true;
        self.note_flags();
    }

    fn note_flags(&mut self) {
        self.hot.probes = self.prober.is_sending();
        self.hot.paces = self.pacing.is_limited();
        self.hot.waits = self.waiting.is_some();
    }

    /// A packet of `len` RTP bytes left under a transport-wide number.
    pub(crate) fn handle_sent(&mut self, number: u16, len: usize, sort: Sort, now: Instant) {
        let now_us = self.micros(now);
        let size = len + WIRE_OVERHEAD;
        self.hot.sent.record(number, now_us, size, sort);
        if sort == Sort::Audio {
            self.hot.audio_bytes = self.hot.audio_bytes.saturating_add(size as u32);
        }
        if self.hot.probes {
            self.prober.handle_sent(size);
        }
        if self.hot.paces && sort != Sort::Padding {
            self.pacing.handle_sent(size);
        }
    }

    /// A packet of a picture, `len` RTP bytes, left under a transport-wide number, on a path that [loses many](Self::is_lossy): see
    /// [`Missing::handle_sent`].
    pub(crate) fn handle_sent_picture(
        &mut self,
        number: u16,
        (ssrc, sequence): (Ssrc, u16),
        len: usize,
        again: bool,
        now: Instant,
    ) {
        let size = wire_size(len);
        if let Some(missing) = &mut self.missing {
            missing.handle_sent(number, ssrc, sequence, size, again);
        }
        if !again {
            let now_us = self.micros(now);
            self.allowance.handle_picture(size, now_us);
        }
    }

    /// What of pictures feedback said is missing, as SSRC and sequence number, once: to be sent again unasked, so often. Nothing if
    /// `may_resend` is false, or if more is lost than chance explains.
    pub(crate) fn take_missing(
        &mut self,
        may_resend: bool,
        now: Instant,
    ) -> ArrayVec<(Ssrc, u16, Copies), { limits::MAX_UNASKED }> {
        let lost = self.missing.as_mut().map(|missing| missing.take_lost());
        let lost = lost.filter(|_| self.resends && may_resend).into_iter().flatten();
        let now_us = self.micros(now);
        lost.filter_map(|lost| {
            let copies = self.allowance.take(lost.size, Copies::Two, now_us)?;
            Some((lost.ssrc, lost.sequence, copies))
        })
        .collect()
    }

    /// Whether a packet of a picture, `len` RTP bytes, may be sent once more unasked. It is counted as sent.
    pub(crate) fn takes_copy(&mut self, len: usize, now: Instant) -> bool {
        let now_us = self.micros(now);
        self.resends && self.allowance.take(wire_size(len), Copies::One, now_us).is_some()
    }

    /// See [`crate::member::Member::touch`].
    #[inline]
    pub(crate) fn touch(&self) {
        self.hot.sent.touch();
    }

    /// Takes in a transport-wide feedback.
    pub(crate) fn handle_feedback(&mut self, feedback: &TransportFeedback<'_>, now: Instant) {
        let raw = i64::from(feedback.reference_time);
        let reference = match self.reference {
            None => raw,
            Some(last) => {
                // 24 bits, around the wrap in either direction.
                let step = ((raw - last) << 40) >> 40;
                last + step
            }
        };
        self.reference = Some(reference);
        let start = reference * 64_000;
        let statuses = feedback.statuses();
        self.handle_arrivals(
            statuses.map(|status| (status.sequence, status.arrival.map(|ticks| start + ticks.micros()))),
            now,
        );
    }

    /// Numbers, and when they arrived by the receiver's clock in microseconds.
    fn handle_arrivals(&mut self, arrivals: impl Iterator<Item = (u16, Option<i64>)>, now: Instant) {
        let now_us = self.micros(now);
        for (number, arrival) in arrivals {
            match (&mut self.missing, arrival) {
                (Some(missing), Some(_)) => missing.handle_arrived(number),
                (Some(missing), None) => missing.handle_missing(number),
                (None, _) => {}
            }
            let Some(number) = self.hot.sent.widen(number) else {
                continue;
            };
            let Some(arrival) = arrival else {
                self.hot.sent.missing(number);
                continue;
            };
            if let Some((packet, _)) = self.hot.sent.arrived(number, now_us) {
                self.signals.handle_arrival(&packet, arrival);
                if packet.sort == Sort::Audio {
                    self.spread.add(arrival.saturating_sub(packet.sent_us), arrival);
                }
            }
        }
        let (signals, sent, missing) = (&mut self.signals, &mut self.hot.sent, &mut self.missing);
        let before = signals.newest_sent_us.saturating_sub(REORDERING_US);
        sent.settle(before, now_us, |packet, is_lost| {
            signals.handle_fate(&packet, is_lost, now_us);
            if let Some(missing) = missing.as_mut().filter(|_| is_lost) {
                missing.handle_given_up(packet.number as u16);
            }
        });
        self.estimator.handle_feedback(signals, now_us);
        if self.estimator.estimate().is_congested {
            self.clean = None;
        }
        if let Some(probed) = self.prober.handle_feedback(signals, now_us) {
            self.take_verdict(probed, now_us);
        }
        // What was sent since, over the time since: feedback that is late changes neither.
        if self.speech.is_due(now_us) {
            let bytes = std::mem::take(&mut self.hot.audio_bytes);
            self.speech.handle_sent(bytes, now_us);
        }
        self.set_pace(now_us);
        self.weigh_loss(now_us);
        self.hot.due = true;
        self.note_flags();
    }

    /// More redundancy helps against chance, and does harm where packets are lost because there are too many.
    fn weigh_loss(&mut self, now_us: i64) {
        let estimate = self.estimator.estimate();
        let (usual, losses) = (self.signals.usual_loss(), estimate.losses);
        let is_narrow = estimate.target.is_some_and(|target| target < ROOM_FOR_REDUNDANCY);
        if estimate.is_congested || is_narrow || self.is_ordered {
            self.is_lossy = false;
        } else if usual >= LOSSY || losses.packets >= 40 && losses.share() >= VERY_LOSSY {
            self.is_lossy = true;
        } else if usual < HARDLY_LOSSY {
            self.is_lossy = false;
        }
        let loses_more = estimate.loses_more_than_usual;
        let recent = self.signals.losses(3, now_us);
        let is_doubtful = recent.packets >= LEAST_FATES && recent.share() > usual + DOUBTFUL;
        self.resends = self.is_lossy && self.estimator.is_clear() && !loses_more && !is_doubtful;
        if self.is_lossy {
            self.lossy_us = now_us;
            self.missing.get_or_insert_with(|| Box::new(Missing::new()));
        } else if now_us - self.lossy_us > MISSING_KEPT_US {
            self.missing = None;
        }
    }

    /// Whether the path loses packets by chance, and has room for redundancy.
    pub(crate) const fn is_lossy(&self) -> bool {
        self.is_lossy
    }

    fn take_verdict(&mut self, probed: Probed, now_us: i64) {
        let was_clean = probed.verdict == Verdict::Clean;
        self.estimator.handle_probed(probed.rate, was_clean, now_us);
        if was_clean {
            self.clean = Some((probed.rate, now_us));
        }
        self.probed = Some(probed);
    }

    fn set_pace(&mut self, now_us: i64) {
        let estimate = self.estimator.estimate();
        let gain = if estimate.is_congested {
            1.0
        } else if self.estimator.congested_within(KNOWN, now_us) {
            1.25
        } else {
            1.5
        };
        let rate = estimate.target.map(|target| target.bps() as f64 * gain);
        let rate = match (rate, self.estimator.hint()) {
            (Some(rate), Some(hint)) => Some(rate.min(hint)),
            (rate, hint) => rate.or(hint),
        };
        self.pacing.set_rate(rate, now_us);
    }

    /// Whether [`Self::decide`] has something to go by.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.hot.due || self.hot.waits && self.waiting.is_some_and(|since| self.micros(now) - since >= LOOK_US)
    }

    /// Decides anew what each flow is sent, [by priority](by_priority).
    pub(crate) fn decide(&mut self, candidates: &mut Candidates<'_>, can_probe: bool, now: Instant) -> Moves {
        self.hot.due = false;
        let now_us = self.micros(now);
        let estimate = *self.estimator.estimate();
        let probed = self
            .clean
            .filter(|(_, at)| now_us - at <= EVIDENCE_US)
            .map_or(Bitrate::ZERO, |(rate, _)| rate);
        let losses = estimate.losses;
        for candidate in candidates.iter_mut() {
            candidate.rates = candidate.flow.smooth(candidate.rates, now_us);
        }
        let costs: ArrayVec<(f64, f64), { limits::MAX_LINES }> = candidates
            .iter()
            .map(|candidate| {
                let now = candidate.cost();
                (now, now.max(Flow::least_cost(candidate.ideal, candidate.rates)))
            })
            .collect();
        let mut moves = Moves::new();
        let mut aim: Option<Bitrate> = None;
        // Sound comes first; what one voice takes is in what the ladder sets aside.
        let mut before = self.speech.beyond_reserve();
        let has_picture = candidates
            .iter()
            .any(|candidate| candidate.flow.rung() != Target::AudioOnly);
        let order = by_priority(
            candidates
                .iter()
                .map(|candidate| (candidate.is_screen, candidate.ideal)),
        );
        for (turn, place) in order.iter().copied().enumerate() {
            let candidate = &mut candidates[place];
            // What flows: those before take what they have. What is new: those after keep what they have or would be first to get.
            // A screen's room is taken from the cameras: what flows for them has shown what the path carries.
            let is_screen = candidate.is_screen;
            let after: f64 = order.iter().skip(turn + 1).map(|place| costs[*place].1).sum();
            let (after, probed) = if is_screen {
                (0.0, probed.max(estimate.delivered))
            } else {
                (after, probed)
            };
            let floor = candidate.floor(self.floor);
            let others = |taken: f64| Bitrate::from_bps(taken as u64);
            let budget = Budget {
                target: estimate.target.map(|target| target - others(before)),
                minimum: estimate.minimum.map(|minimum| minimum - others(before + after)),
                probed: probed - others(before + after),
                queue: estimate.queue,
                is_congested: estimate.is_congested,
                loses: estimate.loses_more_than_usual,
                audio_loss: if losses.audio >= 20 {
                    (losses.audio_share() - self.signals.usual_loss()).max(0.0)
                } else {
                    0.0
                },
                floor,
                is_screen,
            };
            let step = candidate.flow.step(candidate.ideal, candidate.rates, &budget, now_us);
            if let Some(step) = step {
                if step.to < step.from {
                    self.prober.handle_step_down(now_us);
                }
                if step.to > step.from {
                    // What was probed is used up: the next flow needs its own.
                    self.clean = None;
                }
                let _ = moves.try_push((place, step));
            } else if aim.is_none()
                && let Some(own) = candidate.flow.aim(candidate.ideal, candidate.rates, floor, is_screen)
            {
                aim = Some(own + others(before + after));
            }
            before += candidate.cost();
        }
        let needed = before + AUDIO_RESERVE.bps() as f64;
        self.pacing.set_needed(estimate.target.map(|_| needed));
        self.waiting = aim.is_some().then_some(now_us);
        self.probe_for(aim, probed, can_probe, has_picture, now_us);
        self.note_flags();
        moves
    }

    fn probe_for(&mut self, aim: Option<Bitrate>, probed: Bitrate, can_probe: bool, has_picture: bool, now_us: i64) {
        let estimate = self.estimator.estimate();
        let (Some(known), Some(aim)) = (estimate.target, aim) else {
            return;
        };
        if estimate.is_congested || probed >= aim {
            return;
        }
        if can_probe {
            self.prober
                .start(aim, known.max(estimate.delivered), has_picture, &self.signals, now_us);
        } else if let Some(blind) = self.prober.blind(aim, now_us) {
            self.take_verdict(blind, now_us);
        }
    }

    /// Bytes of padding that are to be sent now, zero most of the time.
    pub(crate) fn wanted_padding(&mut self, now: Instant) -> usize {
        if !self.hot.probes {
            return 0;
        }
        let now_us = self.micros(now);
        let wanted = self.prober.wanted(now_us);
        self.note_flags();
        wanted
    }

    /// Whether video may have to wait at all.
    pub(crate) const fn paces(&self) -> bool {
        self.hot.paces
    }

    /// When video that has waited since `arrival` may leave, if not now.
    pub(crate) fn wait(&mut self, arrival: Instant, now: Instant) -> Option<Duration> {
        if !self.hot.paces {
            return None;
        }
        let now_us = self.micros(now);
        self.pacing.wait(now.saturating_duration_since(arrival), now_us)
    }

    /// When the controller wants to be asked although nothing came.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.hot.probes {
            return Some(now + PROBE_STEP);
        }
        if !self.hot.waits {
            return None;
        }
        self.waiting.map(|since| self.instant(since + LOOK_US))
    }

    /// Whether a flow's picture will soon be stopped unless the path gets better.
    pub(crate) fn is_about_to_stop(&self, flow: &Flow, now: Instant) -> bool {
        flow.is_about_to_stop(self.micros(now))
    }

    /// What is known of the path.
    pub(crate) const fn estimate(&self) -> &Estimate {
        self.estimator.estimate()
    }

    /// The range in which the transit times of nine in ten packets of sound lie.
    pub(crate) fn spread(&self) -> Duration {
        self.spread.get()
    }

    /// The verdict of a probe that has ended, once.
    pub(crate) const fn take_probed(&mut self) -> Option<Probed> {
        self.probed.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Layer;

    /// A viewer that is sent 200 packets of a picture a second.
    struct Line {
        controller: Controller,
        now: Instant,
        number: u16,
    }

    impl Line {
        fn new() -> Self {
            let now = crate::clock::testing::start();
            Self {
                controller: Controller::new(Bitrate::ZERO, now),
                now,
                number: 0,
            }
        }

        /// So many feedbacks, each of ten packets of which those are lost. How many packets may be sent again unasked for each hundred.
        fn run(&mut self, feedbacks: u32, may_resend: bool, is_lost: impl Fn(u16) -> bool) -> usize {
            let mut unasked = 0;
            for _ in 0..feedbacks {
                let mut told = Vec::new();
                for _ in 0..10 {
                    let number = self.number;
                    self.number = self.number.wrapping_add(1);
                    self.now += Duration::from_millis(5);
                    self.controller.handle_sent(number, 1_200, Sort::Video, self.now);
                    if self.controller.is_lossy() {
                        self.controller
                            .handle_sent_picture(number, (Ssrc(7), number), 1_200, false, self.now);
                    }
                    let arrival = self.controller.micros(self.now) + 20_000;
                    told.push((number, (!is_lost(number)).then_some(arrival)));
                }
                self.controller.handle_arrivals(told.into_iter(), self.now);
                for (_, _, copies) in self.controller.take_missing(may_resend, self.now) {
                    unasked += if copies == Copies::Two { 2 } else { 1 };
                }
            }
            unasked * 10 / feedbacks as usize
        }
    }

    const fn a_tenth(number: u16) -> bool {
        number % 10 == 3
    }

    #[test]
    fn what_chance_loses_is_sent_again_unasked_within_the_allowance_and_what_the_server_dropped_is_not() {
        let mut line = Line::new();
        line.run(200, true, a_tenth);
        assert!(line.controller.is_lossy());
        let unasked = line.run(200, true, a_tenth);
        assert!((15..=25).contains(&unasked), "{unasked} of 100");
        assert_eq!(line.run(200, false, a_tenth), 0, "the socket is full");
        line.controller.set_ordered(true);
        assert!(!line.controller.is_lossy());
        assert_eq!(line.run(200, true, a_tenth), 0, "over TCP");
        assert!(!line.controller.is_lossy());
    }

    #[test]
    fn nothing_is_sent_again_unasked_where_more_is_lost_than_chance_explains() {
        let mut line = Line::new();
        line.run(200, true, a_tenth);
        // What is known of the last quarter of a second is of before at first.
        line.run(1, true, |number| number % 2 == 0);
        assert_eq!(line.run(20, true, |number| number % 2 == 0), 0);
    }

    #[test]
    fn what_is_kept_for_a_path_that_loses_many_is_given_up_when_it_does_not() {
        let mut line = Line::new();
        line.run(200, true, a_tenth);
        assert!(line.controller.missing.is_some());
        line.run(100, true, |_| false);
        assert!(line.controller.missing.is_some(), "it may again");
        line.run(300, true, |_| false);
        assert!(line.controller.missing.is_none());
    }

    #[test]
    fn screens_come_first_then_what_is_asked_for_large_and_else_the_first_line() {
        const SMALL: Target = Target::Video(Layer::P480);
        const LARGE: Target = Target::Video(Layer::P720);
        const NONE: Target = Target::AudioOnly;
        let table: [(&[Target], &[usize]); 5] = [
            (&[], &[]),
            (&[LARGE, LARGE, LARGE], &[0, 1, 2]),
            (&[SMALL, SMALL, LARGE], &[2, 0, 1]),
            (&[NONE, SMALL, LARGE, SMALL], &[2, 1, 3, 0]),
            (&[LARGE, NONE, LARGE], &[0, 2, 1]),
        ];
        for (ideals, order) in table {
            let cameras = ideals.iter().map(|ideal| (false, *ideal));
            assert_eq!(by_priority(cameras).as_slice(), order, "{ideals:?}");
        }
        let screens = [(false, LARGE), (true, SMALL), (false, SMALL), (true, LARGE)];
        assert_eq!(by_priority(screens.into_iter()).as_slice(), [3, 1, 0, 2]);
    }
}
