//! What a visit's events make of its quality records.

use housecall_sfu::{Bitrate, QualityChange, Rid, UplinkChange, UplinkLayer};

use super::*;
use crate::message::ClientReport;
use crate::quality::{Direction as Way, QualityRecord, Rung};

const SECOND: Duration = Duration::from_secs(1);
const P720: Target = Target::Video(Layer::P720);
const P480: Target = Target::Video(Layer::P480);

fn sending(participant: ParticipantId, layer: Option<Layer>) -> Event {
    Event::Sending {
        room: RoomId(7),
        participant,
        mid: Mid::new("3").expect("valid"),
        target: P720,
        layer,
    }
}

fn patients(records: &[QualityRecord]) -> &QualityRecord {
    records
        .iter()
        .rfind(|record| record.role == RoleName::Patient)
        .expect("the patient's record")
}

#[test]
fn time_at_a_rung_is_what_was_shown_and_not_what_was_hidden() {
    let Visiting {
        mut world,
        patient,
        patient_media,
        ..
    } = visiting();
    world.say(patient, subscribe("3", "t2"));
    world.media(&Event::Connected {
        room: RoomId(7),
        participant: patient_media,
        handshake: Duration::ZERO,
        srtp_profile: "SRTP_AEAD_AES_256_GCM",
    });
    // Five seconds each: 720p, 480p by the path, no picture by the path, 480p again; then the camera goes off; then the line shows nothing.
    let steps = [
        vec![sending(patient_media, Some(Layer::P720))],
        vec![
            moved(patient_media, P720, P480),
            sending(patient_media, Some(Layer::P480)),
        ],
        vec![
            moved(patient_media, P480, Target::AudioOnly),
            sending(patient_media, None),
        ],
        vec![
            moved(patient_media, Target::AudioOnly, P480),
            sending(patient_media, Some(Layer::P480)),
        ],
        vec![
            moved(patient_media, P480, P720),
            sending(patient_media, Some(Layer::P720)),
            sending(patient_media, None),
        ],
    ];
    for events in steps {
        for event in &events {
            world.media(event);
        }
        world.pass(5 * SECOND);
    }
    world.say(
        patient,
        ClientMessage::Subscribe {
            mid: "3".to_owned(),
            track: None,
        },
    );
    world.pass(5 * SECOND);
    world.visit.keep_quality(world.now);
    world.settle();
    let record = patients(&world.kept);
    let rungs: Vec<_> = record.rungs.iter().map(|(rung, seconds)| (*rung, *seconds)).collect();
    assert_eq!(rungs, [(Rung::AudioOnly, 5.0), (Rung::P480, 10.0), (Rung::P720, 5.0)]);
    assert!((record.picture.play_seconds - 15.0).abs() < 1e-9);
    let moves: Vec<_> = record.moves.iter().map(|step| (step.at, step.from, step.to)).collect();
    assert_eq!(
        moves,
        [
            (5.0, Rung::P720, Rung::P480),
            (10.0, Rung::P480, Rung::AudioOnly),
            (15.0, Rung::AudioOnly, Rung::P480),
            (20.0, Rung::P480, Rung::P720),
        ]
    );
    assert_eq!(
        (record.moves[0].rtt_ms, record.moves[0].estimate_kbps),
        (Some(70.0), Some(420))
    );
    assert!(record.join.dtls_ms.is_some() && record.join.media_ms.is_some() && record.join.admitted_ms.is_some());
}

#[test]
fn what_the_uplink_carries_is_in_the_publishers_record_and_what_is_asked_for_is_not() {
    let Visiting {
        mut world,
        patient_media,
        ..
    } = visiting();
    let layer = |rid| UplinkLayer {
        rid: Rid::new(rid).expect("valid"),
        active: true,
        max: Bitrate::from_kbps(600),
    };
    for change in [UplinkChange::Demand, UplinkChange::Path(QualityChange::Loss)] {
        world.media(&Event::Uplink {
            room: RoomId(7),
            participant: patient_media,
            mid: Mid::new("1").expect("valid"),
            track: TrackId(4),
            layers: [layer("m"), layer("h")],
            from: P720,
            to: P480,
            change,
            evidence: evidence(),
        });
    }
    world.visit.keep_quality(world.now);
    world.settle();
    let moves = &patients(&world.kept).moves;
    assert_eq!(moves.len(), 1);
    assert_eq!((moves[0].direction, moves[0].reason.as_str()), (Way::Up, "loss"));
}

#[test]
fn a_record_is_stored_when_a_stay_ends() {
    let Visiting {
        mut world,
        patient,
        clinician,
        ..
    } = visiting();
    let report = ClientReport {
        interval_ms: 10_000,
        ..ClientReport::default()
    };
    world.say(patient, ClientMessage::Report(report));
    world.say(patient, ClientMessage::Report(report));
    assert_eq!(last_error(&world, patient), Some(ErrorCode::Limit));
    let wrong = ClientReport {
        interval_ms: 0,
        ..report
    };
    world.say(clinician, ClientMessage::Report(wrong));
    assert_eq!(last_error(&world, clinician), Some(ErrorCode::BadMessage));

    let participant = world.name_of(patient);
    world.say(patient, ClientMessage::Leave { keep_place: false });
    assert_eq!(world.kept.len(), 1);
    assert!(world.kept[0].ended && world.kept[0].participant == participant);
    world.say(clinician, ClientMessage::EndVisit {});
    assert_eq!(world.kept.len(), 2);
}

#[test]
fn an_http_participant_who_never_came_in_leaves_no_record() {
    let mut world = world();
    let who = identity("encoder", RoleName::Guest);
    world.http(who, crate::visit::HttpKind::Whip).expect("there is room");
    world.refuse_offer(NegotiateError::Busy);
    world.pass(SECOND);
    assert_eq!(world.kept, []);
}
