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
    let moved = |from, to| Event::Quality {
        room: RoomId(7),
        participant: patient_media,
        mid,
        from,
        to,
        change: housecall_sfu::QualityChange::Capacity,
        evidence: housecall_sfu::Evidence {
            estimate: None,
            delivered: housecall_sfu::Bitrate::ZERO,
            queue: Duration::ZERO,
            loss: 0.0,
        },
    };
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
