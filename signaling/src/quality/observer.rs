//! Watches the participants of one visit and keeps their records.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use housecall_sfu::quality::{self as judge, Server};
use housecall_sfu::{Evidence, Mid, Output, ParticipantId, PublishedTrack, QualityChange, Snapshot, Target};

use super::QualityMetrics;
use super::record::{Direction, JoinTimes, QualityRecord, Rung};
use super::watch::{Seen, Watch};
use crate::ids::StayId;
use crate::limits;
use crate::message::{ClientReport, RoleName};
use crate::portal::Via;

/// People, lines and frames a second that a report may speak of.
const MOST_LINES: u64 = 16;
const MOST_FRAMES: u64 = 120;
const SAMPLE_RATE: u64 = 48_000;
/// A jitter buffer holds less than this in every browser.
const MOST_BUFFER_MS: u32 = 10_000;
/// Join times beyond an hour say nothing about quality.
const MOST_JOIN_MS: u32 = 3_600_000;

/// What one of a participant's receiving video lines shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) mid: Mid,
    /// `None`: no picture, and not because of the path.
    pub(crate) rung: Option<Rung>,
    /// Its path keeps it below what is wanted.
    pub(crate) is_limited: bool,
}

/// A participant as the visit sees it when it is looked at.
pub(crate) struct Sight<'a> {
    pub(crate) stay: StayId,
    pub(crate) media: ParticipantId,
    /// What others may be shown of it.
    pub(crate) tracks: &'a [PublishedTrack],
}

/// See the module.
pub(crate) struct Observer {
    watches: BTreeMap<StayId, Watch>,
    metrics: QualityMetrics,
    looked: Option<(Instant, Output)>,
}

impl Observer {
    pub(crate) const fn new(metrics: QualityMetrics) -> Self {
        Self {
            watches: BTreeMap::new(),
            metrics,
            looked: None,
        }
    }

    /// Somebody's stay begins.
    pub(crate) fn begin(&mut self, stay: StayId, role: RoleName, via: Via, is_admitted: bool, now: Instant) {
        if self.watches.len() >= limits::QUALITY_PARTICIPANTS {
            return;
        }
        let join = JoinTimes {
            admitted_ms: is_admitted.then_some(0),
            ..JoinTimes::default()
        };
        self.watches.insert(stay, Watch::new(role, via, join, now));
    }

    /// It never was one: nothing is kept of it.
    pub(crate) fn forget(&mut self, stay: StayId) {
        self.watches.remove(&stay);
    }

    /// The same person comes from another page.
    pub(crate) fn new_page(&mut self, stay: StayId, now: Instant) {
        if let Some(watch) = self.watches.get_mut(&stay) {
            watch.page_since = now;
        }
    }

    /// An offer came.
    pub(crate) fn offered(&mut self, stay: StayId, now: Instant) {
        self.reach(stay, now, |join| &mut join.offer_ms);
    }

    /// ICE and DTLS are done; `handshake` ago the first check was answered.
    pub(crate) fn connected(&mut self, stay: StayId, handshake: Duration, now: Instant) {
        self.reach(stay, now.checked_sub(handshake).unwrap_or(now), |join| &mut join.ice_ms);
        self.reach(stay, now, |join| &mut join.dtls_ms);
    }

    /// The first packet of a track came.
    pub(crate) fn media_came(&mut self, stay: StayId, now: Instant) {
        self.reach(stay, now, |join| &mut join.media_ms);
    }

    /// Was let in.
    pub(crate) fn admitted(&mut self, stay: StayId, now: Instant) {
        self.reach(stay, now, |join| &mut join.admitted_ms);
    }

    fn reach(&mut self, stay: StayId, at: Instant, stage: impl Fn(&mut JoinTimes) -> &mut Option<u32>) {
        if let Some(watch) = self.watches.get_mut(&stay) {
            let millis = watch.millis(at);
            stage(&mut watch.join).get_or_insert(millis);
        }
    }

    /// The ladder moved a line.
    pub(crate) fn moved(
        &mut self,
        stay: StayId,
        direction: Direction,
        (from, to): (Target, Target),
        change: QualityChange,
        evidence: &Evidence,
        now: Instant,
    ) {
        self.metrics.moved(direction, reason(change));
        if let Some(watch) = self.watches.get_mut(&stay) {
            watch.moved(direction, (from, to), reason(change), evidence, now);
        }
    }

    /// The server keeps what somebody publishes below what is wanted, or does so no more.
    pub(crate) fn uplink_limited(&mut self, stay: StayId, is_limited: bool) {
        if let Some(watch) = self.watches.get_mut(&stay) {
            watch.uplink_is_limited = is_limited;
        }
    }

    /// What somebody's video lines show has changed, or may have.
    pub(crate) fn lines(&mut self, stay: StayId, lines: &[Line], now: Instant) {
        if let Some(watch) = self.watches.get_mut(&stay) {
            watch.show(lines, &self.metrics, now);
        }
    }

    /// Takes in a snapshot of those in sight.
    pub(crate) fn look(&mut self, snapshot: &Snapshot, sights: &[Sight<'_>], now: Instant) {
        let before = self.looked.replace((now, snapshot.output));
        let server = Server {
            lateness: snapshot.lateness,
            unsent: before.map_or(0.0, |(_, output)| snapshot.output.unsent_since(output)),
        };
        let span = before.map_or(limits::QUALITY_LOOK, |(at, _)| now.saturating_duration_since(at));
        let seen: Vec<Seen<'_>> = sights
            .iter()
            .filter_map(|sight| {
                let (_, stats) = snapshot.participants.iter().find(|(id, _)| *id == sight.media)?;
                Some(self.watches.get(&sight.stay)?.see(sight, stats))
            })
            .collect();
        for one in &seen {
            let blamed = seen
                .iter()
                .filter(|other| other.sight.stay != one.sight.stay)
                .filter(|other| {
                    let is_theirs = |track| other.sight.tracks.iter().any(|known| known.track == track);
                    judge::receives(one.stats, is_theirs)
                })
                .map(|other| (judge::blame(&other.up, &one.down, server), other.role))
                .max_by_key(|(culprit, _)| *culprit);
            if let Some(watch) = self.watches.get_mut(&one.sight.stay) {
                watch.note(one, blamed, span, &self.metrics, now);
            }
        }
    }

    /// Takes in what a client reports.
    pub(crate) fn report(&mut self, stay: StayId, report: &ClientReport, now: Instant) -> Result<(), Refused> {
        check(report)?;
        match self.watches.get_mut(&stay) {
            Some(watch) => watch.report(report, &self.metrics, now),
            None => Ok(()),
        }
    }

    /// The records of those that are gone: `is_here` says who is not.
    pub(crate) fn end(&mut self, is_here: impl Fn(StayId) -> bool, now: Instant) -> Vec<QualityRecord> {
        let gone: Vec<StayId> = self.watches.keys().copied().filter(|stay| !is_here(*stay)).collect();
        gone.into_iter()
            .filter_map(|stay| Some((stay, self.watches.remove(&stay)?)))
            .map(|(stay, mut watch)| {
                watch.show(&[], &self.metrics, now);
                watch.record(stay, true, now)
            })
            .collect()
    }

    /// The records of all that are here, as they are now.
    pub(crate) fn keep(&mut self, now: Instant) -> Vec<QualityRecord> {
        let metrics = &self.metrics;
        self.watches
            .iter_mut()
            .map(|(stay, watch)| {
                watch.account(metrics, now);
                watch.record(*stay, false, now)
            })
            .collect()
    }
}

/// Why a report was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The last one was only just taken.
    TooOften,
    /// It says what cannot be.
    OutOfRange,
}

fn check(report: &ClientReport) -> Result<(), Refused> {
    let interval = u64::from(report.interval_ms);
    let spans = 1_000..=limits::REPORT_SPAN.as_millis() as u64;
    let most = |each_second: u64| each_second * MOST_LINES * interval / 1_000 + each_second;
    let joins = [report.page_ms, report.first_frame_ms];
    let fits = spans.contains(&interval)
        && u64::from(report.frames_decoded) <= most(MOST_FRAMES)
        && u64::from(report.frames_dropped) <= most(MOST_FRAMES)
        && u64::from(report.freezes) <= most(10)
        // A freeze is counted when it ends, and may have begun long before.
        && u64::from(report.freeze_ms) <= MOST_LINES * limits::REPORT_SPAN.as_millis() as u64
        && u64::from(report.samples) <= most(SAMPLE_RATE + SAMPLE_RATE / 10)
        && report.concealed <= report.samples
        && report.jitter_buffer_ms.is_none_or(|buffer| buffer <= MOST_BUFFER_MS)
        && joins.into_iter().flatten().all(|join| join <= MOST_JOIN_MS);
    fits.then_some(()).ok_or(Refused::OutOfRange)
}

/// Why a slot moved, as in records and labels.
const fn reason(change: QualityChange) -> &'static str {
    match change {
        QualityChange::Capacity => "capacity",
        QualityChange::Queue => "queue",
        QualityChange::Loss => "loss",
        QualityChange::Recovered => "recovered",
    }
}
