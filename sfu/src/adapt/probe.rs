//! Probing: for a third of a second more is sent than the media needs, as far as the next rung and no further, and what comes of
//! it decides whether that rung is tried.

use std::time::Duration;

use crate::adapt::estimator::ORDERED_GATE;
use crate::adapt::signals::{Millis, Signals};
use crate::media::Bitrate;

/// How long more is sent.
const LENGTH_US: i64 = 350_000;
/// A verdict needs the feedback about the last packet; without it for so long there is none.
const VERDICT_TIMEOUT_US: i64 = 1_500_000;
/// A queue that rises by so much ends a probe at once: people are talking.
const TOO_MUCH: Millis = 35.0;
/// A clean probe leaves no more queue than this.
const CLEAN: Millis = 20.0;
/// A failed probe measures the capacity while at least so much queue stands ...
const QUEUED: Millis = 10.0;
/// ... for so long.
const LEAST_FULL_US: i64 = 120_000;
/// Loss of a clean probe, over the usual.
const CLEAN_LOSS: f64 = 0.03;
/// The first probe after the picture stopped or got smaller.
const FIRST: Duration = Duration::from_secs(2);
/// From one probe that failed to the next, at first.
const AGAIN: Duration = Duration::from_secs(3);
/// Each failure makes it longer by this: little while there is no picture ...
const LONGER_WITHOUT_PICTURE: f64 = 1.1;
/// ... more where only a better one is to be had ...
const LONGER: f64 = 1.4;
/// ... up to this.
const LONGEST: Duration = Duration::from_secs(30);
/// From a clean probe to the next.
const NEXT: Duration = Duration::from_millis(250);
/// A probe goes no further above what is known than this: a path that is not better than before would be flooded.
const LARGEST_STEP: f64 = 1.3;
/// Or, without picture, than this: small steps take too long at the bottom.
const LEAST_STEP: Bitrate = Bitrate::from_kbps(300);
/// Queue that a clean probe may build, as a share of its time: 4 % over the capacity.
const CLEAN_SLOPE: f64 = 0.04;

/// Over TCP and TLS a probe during which nothing came for so long says nothing ...
const STOOD_STILL: Millis = 100.0;
/// ... and is made again so soon ...
const STOOD_STILL_AGAIN: Duration = Duration::from_millis(700);
/// ... so often in a row: what stands still each time is a bottleneck that overflows, and each probe holds up speech.
const STANDSTILLS: u8 = 2;

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It arrived as it was sent.
    Clean,
    /// A queue built: the rate that came through is the capacity.
    Full,
    /// Nobody knows: too little came back.
    Unclear,
}

/// A probe that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Probed {
    /// What came of it.
    pub(crate) verdict: Verdict,
    /// What it measured; zero if nothing.
    pub(crate) rate: Bitrate,
    /// What it aimed at.
    pub(crate) aim: Bitrate,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waiting,
    Running(Running),
}

#[derive(Clone, Copy, Debug)]
struct Running {
    aim: f64,
    started_us: i64,
    /// When the last packet left; `None` while more is being sent.
    ended_us: Option<i64>,
    /// Everything sent since the start, in bytes.
    sent: u64,
    /// The queue there was before.
    queue: Millis,
    /// Arrival of the last packet before the probe.
    since_arrival_us: i64,
    /// Queue rose too much, or packets were lost.
    failed: bool,
    has_picture: bool,
}

/// See the module.
pub(crate) struct Prober {
    state: State,
    next_us: i64,
    again: Duration,
    /// Where the bottleneck was met last.
    full: Bitrate,
    /// Each loss holds up all that is behind it.
    is_ordered: bool,
    /// Probes in a row that say nothing because the connection stood still.
    standstills: u8,
}

impl Prober {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Waiting,
            next_us: 0,
            again: AGAIN,
            full: Bitrate::ZERO,
            is_ordered: false,
            standstills: 0,
        }
    }

    /// Whether packets come in order and none is missing, as over TCP.
    pub(crate) const fn set_ordered(&mut self, is_ordered: bool) {
        self.is_ordered = is_ordered;
    }

    /// A rung was lost: the way back begins.
    pub(crate) fn handle_step_down(&mut self, now_us: i64) {
        self.state = State::Waiting;
        self.again = AGAIN;
        self.standstills = 0;
        self.next_us = now_us + micros(FIRST);
    }

    /// Starts a probe for `aim`, or as far towards it as is decent above `known`, if it is time.
    pub(crate) fn start(&mut self, aim: Bitrate, known: Bitrate, has_picture: bool, signals: &Signals, now_us: i64) {
        if !matches!(self.state, State::Waiting) || now_us < self.next_us {
            return;
        }
        let mut furthest = Bitrate::from_bps((known.bps() as f64 * LARGEST_STEP) as u64);
        if !has_picture {
            furthest = furthest.max(known + LEAST_STEP);
        }
        let aim = aim.min(furthest);
        self.state = State::Running(Running {
            aim: aim.bps() as f64,
            started_us: now_us,
            ended_us: None,
            sent: 0,
            queue: signals.latest().unwrap_or(0.0).max(0.0),
            since_arrival_us: signals.newest_arrival_us,
            failed: false,
            has_picture,
        });
    }

    /// Anything was sent.
    pub(crate) const fn handle_sent(&mut self, size: usize) {
        if let State::Running(running) = &mut self.state
            && running.ended_us.is_none()
        {
            running.sent += size as u64;
        }
    }

    /// Bytes that are to be sent now for the probe to go as fast as it should.
    pub(crate) fn wanted(&mut self, now_us: i64) -> usize {
        let State::Running(running) = &mut self.state else {
            return 0;
        };
        if running.ended_us.is_some() {
            return 0;
        }
        let elapsed = now_us - running.started_us;
        if elapsed >= LENGTH_US {
            running.ended_us = Some(now_us);
            return 0;
        }
        // A little ahead, so that the first moment counts.
        let due = running.aim / 8e6 * (elapsed + 5_000) as f64;
        (due as u64).saturating_sub(running.sent) as usize
    }

    /// More is being sent right now.
    pub(crate) const fn is_sending(&self) -> bool {
        matches!(self.state, State::Running(Running { ended_us: None, .. }))
    }

    /// For a receiver that takes nothing to probe with: the rung itself is the probe, as often as probes would be.
    pub(crate) fn blind(&mut self, aim: Bitrate, now_us: i64) -> Option<Probed> {
        if now_us < self.next_us {
            return None;
        }
        self.next_us = now_us + micros(self.again);
        self.again = self.again.mul_f64(LONGER).min(LONGEST);
        Some(Probed {
            verdict: Verdict::Clean,
            rate: aim,
            aim,
        })
    }

    /// A feedback was taken in; perhaps it ends the probe.
    pub(crate) fn handle_feedback(&mut self, signals: &mut Signals, now_us: i64) -> Option<Probed> {
        let State::Running(running) = &mut self.state else {
            return None;
        };
        // What was sent before is no evidence.
        if signals.newest_sent_us > running.started_us && running.ended_us.is_none() {
            let losses = signals.losses(3, now_us);
            let too_much = if self.is_ordered { ORDERED_GATE } else { 1.0 } * TOO_MUCH;
            let rose = signals.latest().is_some_and(|queue| queue > running.queue + too_much);
            let lost = losses.packets >= 20 && losses.share() > signals.usual_loss() + 0.10;
            if rose || lost {
                running.failed = true;
                running.ended_us = Some(now_us);
            }
        }
        let ended = running.ended_us?;
        let heard = signals.newest_sent_us >= ended - 20_000;
        if !heard && now_us - ended < VERDICT_TIMEOUT_US {
            return None;
        }
        let running = *running;
        let aim = Bitrate::from_bps(running.aim as u64);
        let done = |verdict, rate: f64| Probed {
            verdict,
            rate: Bitrate::from_bps(rate as u64),
            aim,
        };
        let passage = signals.passage(running.started_us..=ended);
        let ground = signals.ground(running.started_us..=ended).filter(|_| self.is_ordered);
        let stood_still = ground.is_some_and(|ground| ground.gap > STOOD_STILL);
        let probed = match passage {
            Some(passage) if heard && passage.span_us >= 50_000 => {
                let losses = signals.losses(5, now_us);
                // What a loss held up is gone again with what came of it: over TCP what counts is what stood below.
                let (queue, slope) = match ground {
                    Some(ground) => {
                        let apart = (ended - running.started_us) as f64 / 1_000.0 * 2.0 / 3.0;
                        (ground.last, (ground.last - ground.first) / apart)
                    }
                    None => (signals.latest().unwrap_or(0.0), passage.slope),
                };
                let is_clean = !running.failed
                    && queue <= running.queue + CLEAN
                    && slope <= CLEAN_SLOPE
                    && (losses.lost <= 2 || losses.share() <= 2.0 * signals.usual_loss() + CLEAN_LOSS)
                    && passage.span_us >= LENGTH_US / 2;
                if is_clean {
                    done(Verdict::Clean, passage.rate.clamp(running.aim, running.aim * 1.1))
                } else if stood_still {
                    done(Verdict::Unclear, 0.0)
                } else {
                    // Only while a queue stands is what comes through the capacity.
                    let full = signals.delivered(LENGTH_US, running.since_arrival_us + 1, Some(QUEUED));
                    let full = full.filter(|(_, span)| *span >= LEAST_FULL_US);
                    done(Verdict::Full, full.map_or(0.0, |(rate, _)| rate.min(running.aim)))
                }
            }
            _ => done(Verdict::Unclear, 0.0),
        };
        self.state = State::Waiting;
        self.standstills = match probed.verdict {
            Verdict::Unclear if stood_still => self.standstills.saturating_add(1),
            Verdict::Unclear => self.standstills,
            Verdict::Clean | Verdict::Full => 0,
        };
        if probed.verdict == Verdict::Full {
            self.full = probed.aim;
        }
        let says_nothing = probed.verdict == Verdict::Unclear && stood_still && !running.failed;
        if probed.verdict == Verdict::Clean {
            // Only what goes further than the last failure is news.
            if probed.aim > self.full {
                self.again = AGAIN;
            }
            self.next_us = now_us + micros(NEXT);
        } else if says_nothing && self.standstills <= STANDSTILLS {
            self.next_us = now_us + micros(STOOD_STILL_AGAIN);
        } else {
            self.next_us = now_us + micros(self.again);
            let longer = if running.has_picture {
                LONGER
            } else {
                LONGER_WITHOUT_PICTURE
            };
            self.again = self.again.mul_f64(longer).min(LONGEST);
        }
        Some(probed)
    }
}

const fn micros(time: Duration) -> i64 {
    time.as_micros() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::sent::{SentPacket, Sort};

    const STEP_US: i64 = 5_000;
    /// One way.
    const DELAY_US: i64 = 20_000;

    /// A line through TCP that probes for 1,000 kbit/s while a picture is shown, for two minutes.
    struct Line {
        /// Microseconds of queue for each that a probe lasts.
        overflow: f64,
        /// Which probes, counted from 0, find that nothing arrives for 120 ms.
        stands_still: fn(usize) -> bool,
    }

    impl Line {
        /// When each probe began in milliseconds, and what came of it.
        fn run(&self, mut at_step: impl FnMut(i64, &mut Prober)) -> Vec<(i64, Verdict)> {
            let mut prober = Prober::new();
            prober.set_ordered(true);
            let mut signals = Signals::new();
            let (mut probes, mut under_way, mut began_us) = (Vec::new(), std::collections::VecDeque::new(), None);
            let (mut number, mut earliest) = (0, 0);
            for now_us in (0..120_000_000).step_by(STEP_US as usize) {
                at_step(now_us, &mut prober);
                prober.start(
                    Bitrate::from_kbps(1_000),
                    Bitrate::from_kbps(900),
                    true,
                    &signals,
                    now_us,
                );
                if !prober.is_sending() {
                    began_us = None;
                } else if began_us.is_none() {
                    began_us = Some(now_us);
                }
                let mut delay = DELAY_US;
                if let Some(began) = began_us {
                    let elapsed = now_us - began;
                    delay += (self.overflow * elapsed as f64) as i64;
                    if (self.stands_still)(probes.len()) && (150_000..270_000).contains(&elapsed) {
                        delay += 270_000 - elapsed;
                    }
                }
                // In order, whatever was held up.
                earliest = (now_us + delay).max(earliest);
                let packet = SentPacket {
                    number,
                    sent_us: now_us,
                    size: 625,
                    sort: Sort::Padding,
                };
                number += 1;
                prober.handle_sent(usize::from(packet.size));
                prober.wanted(now_us);
                under_way.push_back((packet, earliest));
                if now_us % 60_000 == 0 {
                    while let Some((packet, arrival)) = under_way.front()
                        && *arrival <= now_us
                    {
                        signals.handle_arrival(packet, *arrival);
                        under_way.pop_front();
                    }
                    let started_us = match prober.state {
                        State::Running(running) => running.started_us,
                        State::Waiting => 0,
                    };
                    if let Some(probed) = prober.handle_feedback(&mut signals, now_us) {
                        probes.push((started_us / 1_000, probed.verdict));
                    }
                }
            }
            probes
        }
    }

    fn apart(probes: &[(i64, Verdict)]) -> Vec<i64> {
        probes.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    /// The same on a line that stands still at every probe, none of which says anything.
    fn apart_where_all_stand_still(overflow: f64) -> Vec<i64> {
        let line = Line {
            overflow,
            stands_still: |_| true,
        };
        let probes = line.run(|_, _| {});
        let says_nothing = |(_, verdict): &(i64, Verdict)| *verdict == Verdict::Unclear;
        assert!(probes.iter().all(says_nothing), "{probes:?}");
        apart(&probes)
    }

    #[test]
    fn a_line_that_stands_still_each_time_is_probed_less_and_less() {
        let apart = apart_where_all_stand_still(0.2);
        // Twice at once: one standstill is chance. Then as any that failed.
        assert!(apart[..2].iter().all(|ms| (1_000..1_300).contains(ms)), "{apart:?}");
        assert!((3_300..3_700).contains(&apart[2]), "{apart:?}");
        assert!(apart[2..].windows(2).all(|pair| pair[1] >= pair[0]), "{apart:?}");
        assert!(apart.iter().all(|ms| *ms < 31_000), "{apart:?}");
        assert!((7..=10).contains(&apart.len()), "{apart:?}");
    }

    #[test]
    fn a_step_down_and_an_answer_begin_the_count_anew() {
        // An answer after two that say nothing: the next two are tried at once again.
        let line = Line {
            overflow: 0.2,
            stands_still: |number| number % 3 != 2,
        };
        let mut probes = line.run(|_, _| {});
        probes.truncate(12);
        for (number, (_, verdict)) in probes.iter().enumerate() {
            let expected = if number % 3 == 2 {
                Verdict::Full
            } else {
                Verdict::Unclear
            };
            assert_eq!(*verdict, expected, "{number} of {probes:?}");
        }
        let is_soon = |ms: i64| ms < 1_300;
        for (number, ms) in apart(&probes).into_iter().enumerate() {
            assert_eq!(is_soon(ms), number % 3 != 2, "{number} of {probes:?}");
        }

        let line = Line {
            overflow: 0.2,
            stands_still: |_| true,
        };
        let probes = line.run(|now_us, prober| {
            if now_us == 60_000_000 {
                prober.handle_step_down(now_us);
            }
        });
        let soon = apart(&probes).into_iter().filter(|ms| is_soon(*ms)).count();
        assert_eq!(soon, 4, "{probes:?}");
    }

    #[test]
    fn a_probe_that_flooded_the_line_is_not_repeated_at_once() {
        let apart = apart_where_all_stand_still(1.0);
        assert!(apart.iter().all(|ms| *ms >= 3_000), "{apart:?}");
    }
}
