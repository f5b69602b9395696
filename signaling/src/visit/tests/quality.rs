//! What people are told when their line carries less than before, or more.

use super::*;

#[test]
fn a_picture_that_the_line_cannot_carry_is_announced_before_it_stops() {
    use Direction::{Down, Up};
    use QualityReason::{Connection, Publisher};
    let Visiting {
        mut world,
        patient,
        patient_media,
        ..
    } = visiting();
    world.say(patient, subscribe("3", "t2"));
    let mid = Mid::new("3").expect("valid");
    let p720 = Target::Video(Layer::P720);
    let sending = |layer| Event::Sending {
        room: RoomId(7),
        participant: patient_media,
        mid,
        target: p720,
        layer,
    };
    let moved = |from, to| moved(patient_media, from, to);
    let (none, p480) = (Target::AudioOnly, Target::Video(Layer::P480));
    world.media(&sending(Some(Layer::P720)));
    let cases = [
        (moved(p720, none), Some((TargetName::AudioOnly, Down, Connection))),
        // Said already.
        (sending(None), None),
        // A key frame is on its way: nothing to be seen yet.
        (moved(none, p480), None),
        (sending(Some(Layer::P480)), Some((TargetName::P480, Up, Connection))),
        (moved(p480, p720), None),
        (sending(Some(Layer::P720)), Some((TargetName::P720, Up, Connection))),
        (sending(Some(Layer::P480)), Some((TargetName::P480, Down, Publisher))),
        (sending(Some(Layer::P720)), Some((TargetName::P720, Up, Publisher))),
    ];
    for (event, expected) in cases {
        let before = world.inbox(patient).messages.len();
        world.media(&event);
        let told = world.inbox(patient).messages[before..]
            .iter()
            .find_map(|message| match message {
                ServerMessage::Quality {
                    sending,
                    direction,
                    reason,
                    ..
                } => Some((*sending, *direction, *reason)),
                _ => None,
            });
        assert_eq!(told, expected, "{event:?}");
    }
}

#[test]
fn a_picture_at_risk_is_said_and_that_it_is_over_too() {
    let Visiting {
        mut world,
        patient,
        patient_media,
        ..
    } = visiting();
    for is_over in [false, true] {
        world.media(&Event::PictureAtRisk {
            room: RoomId(7),
            participant: patient_media,
            mid: Mid::new("3").expect("valid"),
            is_over,
        });
        let last = world.inbox(patient).messages.last().expect("a message");
        assert!(
            matches!(last, ServerMessage::PictureAtRisk { mid, over } if mid == "3" && *over == is_over),
            "{is_over}"
        );
    }
}

#[test]
fn a_publisher_is_told_what_to_send_and_told_again_when_it_comes_back() {
    use housecall_sfu::{Bitrate, Rid, UplinkChange, UplinkLayer};
    let Visiting {
        mut world,
        patient,
        patient_media,
        ..
    } = visiting();
    let layer = |rid, active, kbps| UplinkLayer {
        rid: Rid::new(rid).expect("valid"),
        active,
        max: Bitrate::from_kbps(kbps),
    };
    let told = |world: &World, socket| {
        let messages = &world.inbox(socket).messages;
        messages
            .iter()
            .filter_map(|message| match message {
                ServerMessage::Uplink {
                    mid,
                    layers,
                    carries,
                    reason,
                } => {
                    let layers: Vec<_> = layers
                        .iter()
                        .map(|layer| (layer.rid.clone(), layer.active, layer.max_kbps))
                        .collect();
                    Some((mid.clone(), layers, *carries, *reason))
                }
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    world.media(&Event::Uplink {
        room: RoomId(7),
        participant: patient_media,
        mid: Mid::new("1").expect("valid"),
        track: TrackId(2),
        layers: [layer("m", true, 600), layer("h", false, 1_500)],
        from: Target::Video(Layer::P720),
        to: Target::Video(Layer::P480),
        change: UplinkChange::Path(QualityChange::Queue),
        evidence: evidence(),
    });
    let expected = (
        "1".to_owned(),
        vec![("m".to_owned(), true, 600), ("h".to_owned(), false, 1_500)],
        TargetName::P480,
        crate::message::UplinkReason::Connection,
    );
    assert_eq!(told(&world, patient), std::slice::from_ref(&expected));
    // The socket drops and comes back with its token.
    let resume = world.inbox(patient).welcome().1.to_owned();
    world.drop_socket(patient);
    let who = identity("patient", RoleName::Patient);
    let again = world.hello(who, Some(&resume)).expect("there is room");
    assert_eq!(told(&world, again), [expected]);
}
