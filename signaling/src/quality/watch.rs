//! One participant being watched.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use housecall_sfu::quality::{self as judge, Culprit, Leg, Signs};
use housecall_sfu::{Evidence, Layer, Mid, ParticipantId, ParticipantStats, PathKind, Target};

use super::QualityMetrics;
use super::observer::{Line, Refused, Sight};
use super::pauses::Freezes;
use super::record::{
    Direction, JoinTimes, LegRecord, Move, PathSince, PictureRecord, QualityRecord, Rung, Sample, TroubleRecord,
};
use super::series::Series;
use crate::ids::StayId;
use crate::limits;
use crate::message::{ClientReport, RoleName};
use crate::portal::Via;

/// A packet of speech is so old when it leaves.
const FRAMING: Duration = Duration::from_millis(20);

/// What a video line shows.
struct Shown {
    line: Line,
    /// Since when.
    since: Instant,
    /// Up to here its time was added to that of its rung.
    accounted: Instant,
}

/// See the module.
pub(super) struct Watch {
    pub(super) role: RoleName,
    via: Via,
    begun: Instant,
    /// When the page it is on now said hello.
    pub(super) page_since: Instant,
    pub(super) join: JoinTimes,
    paths: Vec<PathSince>,
    path: Option<PathKind>,
    lines: BTreeMap<Mid, Shown>,
    rungs: BTreeMap<Rung, f64>,
    moves: Vec<Move>,
    moves_left_out: u32,
    picture: PictureRecord,
    /// Intended pauses that ended since the last report.
    pauses: Vec<Duration>,
    up: Sums,
    down: Sums,
    heard: Mean,
    trouble: BTreeMap<String, f64>,
    series: Series,
    before: Option<(ParticipantId, ParticipantStats)>,
    reported: Option<Instant>,
    pub(super) uplink_is_limited: bool,
}

/// A participant between two looks.
pub(super) struct Seen<'a> {
    pub(super) sight: &'a Sight<'a>,
    pub(super) stats: &'a ParticipantStats,
    pub(super) role: RoleName,
    pub(super) up: Signs,
    pub(super) down: Signs,
}

impl Watch {
    pub(super) fn new(role: RoleName, via: Via, join: JoinTimes, now: Instant) -> Self {
        Self {
            role,
            via,
            begun: now,
            page_since: now,
            join,
            paths: Vec::new(),
            path: None,
            lines: BTreeMap::new(),
            rungs: BTreeMap::new(),
            moves: Vec::new(),
            moves_left_out: 0,
            picture: PictureRecord::default(),
            pauses: Vec::new(),
            up: Sums::default(),
            down: Sums::default(),
            heard: Mean::default(),
            trouble: BTreeMap::new(),
            series: Series::default(),
            before: None,
            reported: None,
            uplink_is_limited: false,
        }
    }

    fn seconds(&self, now: Instant) -> f64 {
        tenths(now.saturating_duration_since(self.begun).as_secs_f64())
    }

    pub(super) fn millis(&self, at: Instant) -> u32 {
        u32::try_from(at.saturating_duration_since(self.begun).as_millis()).unwrap_or(u32::MAX)
    }

    pub(super) fn moved(
        &mut self,
        direction: Direction,
        (from, to): (Target, Target),
        reason: &str,
        evidence: &Evidence,
        now: Instant,
    ) {
        if self.moves.len() == limits::QUALITY_MOVES {
            self.moves.remove(0);
            self.moves_left_out = self.moves_left_out.saturating_add(1);
        }
        let known = self.before.as_ref().and_then(|(_, stats)| stats.rtt);
        self.moves.push(Move {
            at: self.seconds(now),
            direction,
            from: rung(from),
            to: rung(to),
            reason: reason.to_owned(),
            estimate_kbps: evidence.estimate.map(|rate| kbps(rate.bps())),
            delivered_kbps: kbps(evidence.delivered.bps()),
            queue_ms: millis(evidence.queue),
            loss: evidence.loss,
            rtt_ms: evidence.rtt.or(known).map(millis),
        });
    }

    /// Adds the time up to now to what the lines show.
    pub(super) fn account(&mut self, metrics: &QualityMetrics, now: Instant) {
        for shown in self.lines.values_mut() {
            let seconds = now.saturating_duration_since(shown.accounted).as_secs_f64();
            shown.accounted = now;
            let Some(rung) = shown.line.rung else { continue };
            *self.rungs.entry(rung).or_default() += seconds;
            if rung > Rung::AudioOnly {
                self.picture.play_seconds += seconds;
            }
            metrics.rung(rung, seconds);
        }
    }

    /// What the lines show from now on.
    pub(super) fn show(&mut self, lines: &[Line], metrics: &QualityMetrics, now: Instant) {
        self.account(metrics, now);
        let has_picture = |line: &Line| line.rung > Some(Rung::AudioOnly);
        self.lines.retain(|mid, _| lines.iter().any(|line| line.mid == *mid));
        for &line in lines {
            let shown = self.lines.entry(line.mid).or_insert(Shown {
                line,
                since: now,
                accounted: now,
            });
            if has_picture(&line) != has_picture(&shown.line) {
                if has_picture(&line) && self.pauses.len() < limits::QUALITY_PAUSES {
                    self.pauses.push(now.saturating_duration_since(shown.since));
                }
                shown.since = now;
            }
            shown.line = line;
        }
    }

    /// What happened to it since the last look.
    pub(super) fn see<'a>(&self, sight: &'a Sight<'a>, stats: &'a ParticipantStats) -> Seen<'a> {
        let before = self.before.as_ref().filter(|(media, _)| *media == sight.media);
        let before = before.map(|(_, stats)| stats);
        Seen {
            sight,
            stats,
            role: self.role,
            up: Signs {
                leg: Leg::up(before, stats),
                is_limited: self.uplink_is_limited,
            },
            down: Signs {
                leg: Leg::down(before, stats),
                is_limited: self.lines.values().any(|shown| shown.line.is_limited),
            },
        }
    }

    /// Writes down what was seen.
    pub(super) fn note(
        &mut self,
        seen: &Seen<'_>,
        blamed: Option<(Culprit, RoleName)>,
        span: Duration,
        metrics: &QualityMetrics,
        now: Instant,
    ) {
        let stats = seen.stats;
        if let Some(path) = stats.path.filter(|path| self.path != Some(*path)) {
            self.path = Some(path);
            if self.paths.len() < limits::QUALITY_PATHS {
                let (at, path) = (self.seconds(now), path.as_str().to_owned());
                self.paths.push(PathSince { at, path });
            }
        }
        let seconds = span.as_secs_f64();
        let up_mos = self.up.add(&seen.up.leg, seconds);
        let down_mos = self.down.add(&seen.down.leg, seconds);
        for (direction, score) in [(Direction::Up, up_mos), (Direction::Down, down_mos)] {
            if let Some(score) = score {
                metrics.mos(direction, score);
            }
        }
        if seen.down.leg.expected > 0 {
            metrics.path(stats.estimate.map(|rate| rate.bps()), stats.queue.as_secs_f64());
        }
        let culprit = blamed.and_then(|(culprit, sender)| culprit_words(culprit, sender, self.role));
        if let Some((words, kind)) = &culprit {
            *self.trouble.entry(words.clone()).or_default() += seconds;
            metrics.trouble(kind, seconds);
        }
        self.account(metrics, now);
        self.series.push(Sample {
            at: self.seconds(now),
            span: tenths(seconds),
            rung: self.lines.values().filter_map(|shown| shown.line.rung).min(),
            estimate_kbps: stats.estimate.map(|rate| kbps(rate.bps())),
            queue_ms: millis(seen.down.leg.queue),
            rtt_ms: seen.up.leg.rtt.map(millis),
            up_loss: seen.up.leg.loss,
            down_loss: seen.down.leg.loss,
            up_jitter_ms: millis(seen.up.leg.jitter),
            down_jitter_ms: millis(seen.down.leg.jitter),
            up_mos,
            down_mos,
            frozen: 0.0,
            culprit: culprit.map(|(words, _)| words),
        });
        self.before = Some((seen.sight.media, stats.clone()));
    }

    /// Takes in what the client reports, which is in range.
    pub(super) fn report(
        &mut self,
        report: &ClientReport,
        metrics: &QualityMetrics,
        now: Instant,
    ) -> Result<(), Refused> {
        let is_early = |at: Instant| now.saturating_duration_since(at) < limits::REPORT_INTERVAL;
        if self.reported.is_some_and(is_early) {
            return Err(Refused::TooOften);
        }
        self.reported = Some(now);
        self.join.page_ms = self.join.page_ms.or(report.page_ms);
        if let (None, Some(since_page)) = (self.join.first_frame_ms, report.first_frame_ms) {
            let at = self
                .millis(self.page_since)
                .saturating_add(since_page)
                .min(self.millis(now));
            self.join.first_frame_ms = Some(at);
            let ready = self.join.dtls_ms.max(self.join.admitted_ms).unwrap_or_default();
            metrics.first_frame(f64::from(at.saturating_sub(ready)) / 1_000.0);
        }
        let freezes = Freezes {
            count: report.freezes,
            length: Duration::from_millis(u64::from(report.freeze_ms)),
        };
        let freezes = freezes.without(&std::mem::take(&mut self.pauses));
        let frozen = freezes.length.as_secs_f64();
        self.picture.freezes = self.picture.freezes.saturating_add(freezes.count);
        self.picture.freeze_seconds += frozen;
        self.picture.frames += u64::from(report.frames_decoded);
        self.picture.dropped += u64::from(report.frames_dropped);
        metrics.frozen(frozen);
        if let Some(sample) = self.series.last_mut() {
            sample.frozen += frozen as f32;
        }
        if report.samples > 0 {
            let rtt = self
                .before
                .as_ref()
                .and_then(|(_, stats)| stats.rtt)
                .unwrap_or_default();
            let buffer = Duration::from_millis(u64::from(report.jitter_buffer_ms.unwrap_or_default()));
            let loss = f64::from(report.concealed) / f64::from(report.samples);
            let score = judge::mos(FRAMING + rtt / 2 + buffer, loss);
            self.heard
                .add(f64::from(score.value()), f64::from(report.interval_ms) / 1_000.0);
        }
        Ok(())
    }

    pub(super) fn record(&self, stay: StayId, ended: bool, now: Instant) -> QualityRecord {
        let mut trouble: Vec<TroubleRecord> = self
            .trouble
            .iter()
            .map(|(culprit, seconds)| TroubleRecord {
                culprit: culprit.clone(),
                seconds: tenths(*seconds),
            })
            .collect();
        trouble.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        let culprit = trouble.first().map_or("nobody", |worst| worst.culprit.as_str());
        QualityRecord {
            participant: stay.to_string(),
            role: self.role,
            via: self.via.name().to_owned(),
            seconds: self.seconds(now),
            ended,
            join: self.join,
            paths: self.paths.clone(),
            rungs: self
                .rungs
                .iter()
                .map(|(rung, seconds)| (*rung, tenths(*seconds)))
                .collect(),
            moves: self.moves.clone(),
            moves_left_out: self.moves_left_out,
            picture: PictureRecord {
                play_seconds: tenths(self.picture.play_seconds),
                freeze_seconds: (self.picture.freeze_seconds * 1_000.0).round() / 1_000.0,
                ..self.picture
            },
            up: self.up.record(false),
            down: self.down.record(true),
            heard_mos: self.heard.value().map(hundredths),
            culprit: culprit.to_owned(),
            trouble,
            samples: self.series.samples().to_vec(),
        }
    }
}

/// A mean over time.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, value: f64, weight: f64) {
        self.sum += value * weight;
        self.weight += weight;
    }

    fn value(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

/// A leg over the whole stay.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    packets: u64,
    lost: f64,
    audio_loss: Mean,
    jitter: Mean,
    rtt: Mean,
    queue: Duration,
    mos: Mean,
    mos_low: Option<f32>,
}

impl Sums {
    /// Returns the score for these seconds, if anything was to come.
    fn add(&mut self, leg: &Leg, seconds: f64) -> Option<f32> {
        if leg.expected == 0 {
            return None;
        }
        self.packets += leg.expected;
        self.lost += f64::from(leg.loss) * leg.expected as f64;
        if let Some(loss) = leg.audio_loss {
            self.audio_loss.add(f64::from(loss), seconds);
        }
        self.jitter.add(leg.jitter.as_secs_f64() * 1_000.0, seconds);
        if let Some(rtt) = leg.rtt {
            self.rtt.add(rtt.as_secs_f64() * 1_000.0, seconds);
        }
        self.queue = self.queue.max(leg.queue);
        // A jitter buffer holds about twice the mean deviation.
        let delay = FRAMING + leg.rtt.unwrap_or_default() / 2 + 2 * leg.jitter;
        let score = judge::mos(delay, f64::from(leg.audio_loss.unwrap_or(leg.loss))).value();
        self.mos.add(f64::from(score), seconds);
        self.mos_low = Some(self.mos_low.map_or(score, |low| low.min(score)));
        Some(hundredths(f64::from(score)))
    }

    fn record(&self, knows_queue: bool) -> LegRecord {
        let share = |share: f64| ((share * 10_000.0).round() / 10_000.0) as f32;
        LegRecord {
            packets: self.packets,
            loss: share(self.lost / self.packets.max(1) as f64),
            audio_loss: self.audio_loss.value().map(share),
            jitter_ms: self.jitter.value().map(|jitter| tenths(jitter) as f32),
            rtt_ms: self.rtt.value().map(|rtt| tenths(rtt) as f32),
            queue_ms: (knows_queue && self.packets > 0).then(|| millis(self.queue)),
            mos: self.mos.value().map(hundredths),
            mos_low: self.mos_low.map(|low| hundredths(f64::from(low))),
        }
    }
}

/// In the words of records, and in the label's.
fn culprit_words(culprit: Culprit, sender: RoleName, receiver: RoleName) -> Option<(String, &'static str)> {
    let side = |role| match role {
        RoleName::Patient => "patient",
        RoleName::Guest => "guest",
        RoleName::Clinician => "clinic",
    };
    match culprit {
        Culprit::Nobody => None,
        Culprit::Uplink => Some((format!("{}_uplink", side(sender)), "uplink")),
        Culprit::Downlink => Some((format!("{}_downlink", side(receiver)), "downlink")),
        Culprit::Server => Some(("server".to_owned(), "server")),
    }
}

const fn rung(target: Target) -> Rung {
    match target {
        Target::AudioOnly => Rung::AudioOnly,
        Target::Video(Layer::P480) => Rung::P480,
        Target::Video(Layer::P720) => Rung::P720,
    }
}

fn kbps(bps: u64) -> u32 {
    u32::try_from(bps / 1_000).unwrap_or(u32::MAX)
}

fn millis(time: Duration) -> f32 {
    tenths(time.as_secs_f64() * 1_000.0) as f32
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn hundredths(value: f64) -> f32 {
    ((value * 100.0).round() / 100.0) as f32
}
