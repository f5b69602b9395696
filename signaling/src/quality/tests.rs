//! The record of a visit made up of events and figures, in virtual time.

use std::time::{Duration, Instant};

use housecall_sfu::{
    Bitrate, Evidence, Kind, Layer, Mid, ParticipantId, ParticipantStats, PathKind, PublishedStats, PublishedTrack,
    QualityChange, SlotStats, Snapshot, Source, Target, TrackId,
};
use prometheus::Registry;

use super::*;
use crate::ids::StayId;
use crate::limits;
use crate::message::{ClientReport, RoleName};
use crate::portal::Via;

const SECOND: Duration = Duration::from_secs(1);
const P720: Target = Target::Video(Layer::P720);
const P480: Target = Target::Video(Layer::P480);

/// A patient (0) and a clinician (1) who see each other.
struct Visit {
    observer: Observer,
    registry: Registry,
    start: Instant,
    now: Instant,
    people: [ParticipantStats; 2],
    lateness: Duration,
}

fn stay(number: usize) -> StayId {
    StayId::from_random(number as u64 + 1)
}

fn line(rung: Option<Rung>) -> Line {
    Line {
        mid: Mid::new("3").expect("a mid"),
        rung,
        is_limited: rung < Some(Rung::P720),
    }
}

fn quiet_report() -> ClientReport {
    ClientReport {
        interval_ms: 10_000,
        frames_decoded: 300,
        samples: 480_000,
        jitter_buffer_ms: Some(40),
        ..ClientReport::default()
    }
}

impl Visit {
    fn new() -> Self {
        let metrics = QualityMetrics::new();
        let registry = Registry::new();
        metrics.register(&registry).expect("names are unique");
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let mut observer = Observer::new(metrics);
        observer.begin(stay(0), RoleName::Patient, Via::Socket, false, start);
        observer.begin(stay(1), RoleName::Clinician, Via::Socket, true, start);
        let person = |own: u64, other: u64| ParticipantStats {
            path: Some(PathKind::Udp),
            rtt: Some(Duration::from_millis(40)),
            estimate: Some(Bitrate::from_kbps(2_500)),
            published: vec![PublishedStats {
                track: TrackId(own),
                layer: None,
                packets: 0,
                bytes: 0,
                rate: Bitrate::ZERO,
                lost: 0,
                repaired: 0,
                jitter: Duration::from_millis(4),
                spread: Duration::from_millis(8),
                size: None,
                key_frames: 0,
            }],
            slots: vec![SlotStats {
                mid: Mid::new("2").expect("a mid"),
                kind: Kind::Audio,
                source: Some(TrackId(other)),
                target: Target::AudioOnly,
                layer: None,
                packets: 0,
                bytes: 0,
                resent: 0,
                loss: 0.0,
                lost: 0,
                jitter: Duration::from_millis(5),
            }],
            ..ParticipantStats::default()
        };
        Self {
            observer,
            registry,
            start,
            now: start,
            people: [person(10, 20), person(20, 10)],
            lateness: Duration::ZERO,
        }
    }

    /// Lets five seconds pass, of which this share of what each sends and is sent is lost, and looks.
    fn look(&mut self, up: [f64; 2], down: [f64; 2]) {
        self.now += limits::QUALITY_LOOK;
        for (number, person) in self.people.iter_mut().enumerate() {
            person.published[0].packets += (250.0 * (1.0 - up[number])) as u64;
            person.published[0].lost += (250.0 * up[number]) as u64;
            person.slots[0].packets += 250;
            person.slots[0].lost += (250.0 * down[number]) as u64;
        }
        let snapshot = Snapshot {
            lateness: self.lateness,
            participants: (1..).map(ParticipantId).zip(self.people.iter().cloned()).collect(),
            ..Snapshot::default()
        };
        let tracks = [10, 20].map(|track| {
            [PublishedTrack {
                track: TrackId(track),
                mid: Mid::new("0").expect("a mid"),
                kind: Kind::Audio,
                source: Source::Microphone,
            }]
        });
        let sights: Vec<Sight<'_>> = (0..2)
            .map(|number| Sight {
                stay: stay(number),
                media: ParticipantId(number as u64 + 1),
                tracks: &tracks[number],
            })
            .collect();
        self.observer.look(&snapshot, &sights, self.now);
    }

    fn records(&mut self) -> [QualityRecord; 2] {
        self.observer.keep(self.now).try_into().expect("two people")
    }

    fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect(name);
        let values = family
            .get_metric()
            .iter()
            .map(|metric| metric.get_counter().get_value() + metric.get_histogram().get_sample_count() as f64);
        values.sum()
    }
}

fn evidence() -> Evidence {
    Evidence {
        estimate: Some(Bitrate::from_kbps(420)),
        delivered: Bitrate::from_kbps(400),
        queue: Duration::from_millis(180),
        loss: 0.031,
        rtt: None,
    }
}

#[test]
fn a_good_visit() {
    let mut visit = Visit::new();
    let at = |millis| visit.start + Duration::from_millis(millis);
    visit.observer.offered(stay(0), at(120));
    visit.observer.connected(stay(0), Duration::from_millis(35), at(200));
    visit.observer.media_came(stay(0), at(230));
    visit.observer.media_came(stay(0), at(900));
    visit.observer.admitted(stay(0), at(2_000));
    visit.observer.lines(stay(0), &[line(Some(Rung::P720))], at(2_100));
    for _ in 0..12 {
        visit.look([0.0; 2], [0.0; 2]);
    }
    let report = ClientReport {
        page_ms: Some(310),
        first_frame_ms: Some(2_150),
        ..quiet_report()
    };
    visit
        .observer
        .report(stay(0), &report, visit.now)
        .expect("a good report");
    let [patient, clinician] = visit.records();

    assert_eq!(
        patient.join,
        JoinTimes {
            page_ms: Some(310),
            offer_ms: Some(120),
            ice_ms: Some(165),
            dtls_ms: Some(200),
            media_ms: Some(230),
            admitted_ms: Some(2_000),
            first_frame_ms: Some(2_150),
        }
    );
    assert_eq!(clinician.join.admitted_ms, Some(0));
    assert_eq!((patient.culprit.as_str(), patient.trouble.len()), ("nobody", 0));
    assert_eq!(patient.paths.len(), 1);
    assert_eq!(patient.paths[0].path, "udp");
    assert_eq!(patient.rungs.into_iter().collect::<Vec<_>>(), [(Rung::P720, 57.9)]);
    for leg in [patient.up, patient.down] {
        assert!(leg.packets >= 2_900 && leg.mos > Some(4.2), "{leg:?}");
        assert_eq!((leg.loss, leg.audio_loss, leg.rtt_ms), (0.0, Some(0.0), Some(40.0)));
    }
    assert!(patient.heard_mos > Some(4.2));
    assert_eq!(patient.picture.frames, 300);
    assert_eq!(patient.samples.len(), 12);
    assert!((visit.metric("housecall_quality_rung_seconds_total") - 57.9).abs() < 1e-6);
    assert!((visit.metric("housecall_quality_play_seconds_total") - 57.9).abs() < 1e-6);
    assert_eq!(visit.metric("housecall_quality_mos"), 48.0);
    assert_eq!(visit.metric("housecall_quality_estimate_bits_per_second"), 24.0);
    assert_eq!(visit.metric("housecall_quality_queue_seconds"), 24.0);
    assert_eq!(visit.metric("housecall_quality_first_frame_seconds"), 1.0);
    assert_eq!(visit.metric("housecall_quality_trouble_seconds_total"), 0.0);
}

#[test]
fn whoever_hears_badly_learns_whose_line_it_was() {
    // What is lost by patient and clinician on the way up and on the way down; what their records say.
    for (up, down, late, patient, clinician) in [
        ([0.1, 0.0], [0.0, 0.0], 0, "nobody", "patient_uplink"),
        ([0.0, 0.1], [0.0, 0.0], 0, "clinic_uplink", "nobody"),
        ([0.0, 0.0], [0.1, 0.0], 0, "patient_downlink", "nobody"),
        ([0.0, 0.0], [0.0, 0.1], 0, "nobody", "clinic_downlink"),
        ([0.05, 0.0], [0.0, 0.2], 0, "nobody", "clinic_downlink"),
        ([0.0, 0.0], [0.0, 0.0], 200, "server", "server"),
    ] {
        let mut visit = Visit::new();
        visit.lateness = Duration::from_millis(late);
        for _ in 0..4 {
            visit.look(up, down);
        }
        let records = visit.records();
        assert_eq!(
            [records[0].culprit.as_str(), records[1].culprit.as_str()],
            [patient, clinician]
        );
        let is_bad = |culprit: &str| culprit != "nobody";
        for record in &records {
            assert_eq!(!record.trouble.is_empty(), is_bad(&record.culprit));
            assert!(
                record
                    .trouble
                    .iter()
                    .all(|trouble| (trouble.seconds - 20.0).abs() < 1e-6)
            );
            assert_eq!(record.samples[3].culprit.is_some(), is_bad(&record.culprit));
        }
        assert!(visit.metric("housecall_quality_trouble_seconds_total") >= 20.0);
        let worst = records
            .iter()
            .flat_map(|record| [record.up.mos_low, record.down.mos_low])
            .flatten();
        assert_eq!(worst.fold(5.0, f32::min) < 3.6, late == 0, "loss shows in the score");
    }
}

#[test]
fn moves_are_kept_with_their_evidence_and_their_number_is_bounded() {
    let mut visit = Visit::new();
    visit.observer.lines(stay(1), &[line(Some(Rung::P720))], visit.now);
    visit.look([0.0; 2], [0.0; 2]);
    visit.observer.moved(
        stay(1),
        Direction::Down,
        (P720, P480),
        QualityChange::Queue,
        &evidence(),
        visit.now,
    );
    visit.observer.lines(stay(1), &[line(Some(Rung::P480))], visit.now);
    visit.look([0.0; 2], [0.0; 2]);
    let [_, record] = visit.records();
    let expected = Move {
        at: 5.0,
        direction: Direction::Down,
        from: Rung::P720,
        to: Rung::P480,
        reason: "queue".to_owned(),
        estimate_kbps: Some(420),
        delivered_kbps: 400,
        queue_ms: 180.0,
        loss: 0.031,
        rtt_ms: Some(40.0),
    };
    assert_eq!(record.moves, [expected]);
    assert_eq!(
        record.rungs.into_iter().collect::<Vec<_>>(),
        [(Rung::P480, 5.0), (Rung::P720, 5.0)]
    );
    // The line is kept below what is wanted: that is its own path's fault.
    assert_eq!(record.culprit, "clinic_downlink");

    for _ in 0..limits::QUALITY_MOVES {
        visit.observer.moved(
            stay(1),
            Direction::Up,
            (P480, Target::AudioOnly),
            QualityChange::Loss,
            &evidence(),
            visit.now,
        );
    }
    let [_, record] = visit.records();
    assert_eq!((record.moves.len(), record.moves_left_out), (limits::QUALITY_MOVES, 1));
    assert_eq!(record.moves[0].direction, Direction::Up, "the oldest was left out");
    let moves = limits::QUALITY_MOVES as f64 + 1.0;
    assert_eq!(visit.metric("housecall_quality_moves_total"), moves);
}

#[test]
fn freezes_count_and_pauses_do_not() {
    let mut visit = Visit::new();
    visit.observer.lines(stay(0), &[line(Some(Rung::P720))], visit.now);
    visit.look([0.0; 2], [0.0; 2]);
    // The picture stops for three seconds because the path carries none: the client counts a freeze.
    visit.observer.lines(stay(0), &[line(Some(Rung::AudioOnly))], visit.now);
    visit
        .observer
        .lines(stay(0), &[line(Some(Rung::P480))], visit.now + 3 * SECOND);
    visit.look([0.0; 2], [0.0; 2]);
    let report = ClientReport {
        freezes: 2,
        freeze_ms: 6_100,
        frames_dropped: 7,
        concealed: 4_800,
        ..quiet_report()
    };
    visit
        .observer
        .report(stay(0), &report, visit.now)
        .expect("a good report");
    let [record, _] = visit.records();
    assert_eq!((record.picture.freezes, record.picture.dropped), (1, 7));
    assert!(
        (record.picture.freeze_seconds - 0.6).abs() < 1e-6,
        "{:?}",
        record.picture
    );
    assert!((visit.metric("housecall_quality_freeze_seconds_total") - 0.6).abs() < 1e-6);
    assert!((record.samples[1].frozen - 0.6).abs() < 1e-6);
    assert!(
        record.heard_mos < Some(4.1),
        "one per cent of what was heard was made up"
    );
}

#[test]
fn reports_out_of_range_or_too_often_are_refused_and_change_nothing() {
    let mut visit = Visit::new();
    let wrong: [fn(&mut ClientReport); 9] = [
        |report| report.interval_ms = 999,
        |report| report.interval_ms = 120_001,
        |report| report.frames_decoded = u32::MAX,
        |report| report.frames_dropped = u32::MAX,
        |report| report.freezes = 1_000_000,
        |report| report.freeze_ms = u32::MAX,
        |report| report.concealed = report.samples + 1,
        |report| report.samples = u32::MAX,
        |report| report.first_frame_ms = Some(u32::MAX),
    ];
    let before = visit.records();
    for change in wrong {
        let mut report = quiet_report();
        change(&mut report);
        assert_eq!(
            visit.observer.report(stay(0), &report, visit.now),
            Err(Refused::OutOfRange)
        );
    }
    assert_eq!(visit.records(), before);
    let report = quiet_report();
    assert_eq!(visit.observer.report(stay(0), &report, visit.now), Ok(()));
    let soon = visit.now + limits::REPORT_INTERVAL - Duration::from_millis(1);
    assert_eq!(visit.observer.report(stay(0), &report, soon), Err(Refused::TooOften));
    assert_eq!(
        visit
            .observer
            .report(stay(0), &report, visit.now + limits::REPORT_INTERVAL),
        Ok(())
    );
}

#[test]
fn a_record_ends_once_and_a_crowd_has_a_bounded_number_of_them() {
    let mut visit = Visit::new();
    for number in 2..2 * limits::QUALITY_PARTICIPANTS {
        visit
            .observer
            .begin(stay(number), RoleName::Guest, Via::Whep, true, visit.now);
    }
    assert_eq!(visit.observer.keep(visit.now).len(), limits::QUALITY_PARTICIPANTS);
    let ended = visit.observer.end(|other| other != stay(0), visit.now + SECOND);
    assert_eq!(ended.len(), 1);
    assert!(ended[0].ended && ended[0].role == RoleName::Patient && (ended[0].seconds - 1.0).abs() < 1e-6);
    assert_eq!(visit.observer.end(|other| other != stay(0), visit.now), []);
}

#[test]
fn a_record_reads_back_from_its_json() {
    let mut visit = Visit::new();
    visit.look([0.05; 2], [0.0; 2]);
    for record in visit.records() {
        let json = serde_json::to_string(&record).expect("JSON");
        let again: QualityRecord = serde_json::from_str(&json).expect("a record");
        assert_eq!(again, record);
    }
}
