//! Shared screens: whoever is in the visit may share one, and the others are told that it is one.

use housecall_sfu::{Source, TrackChange};

use super::*;
use crate::message::{ScreenAudience, SourceName};

/// The sources of what `whose` publishes, as `socket` was last told.
fn sources(world: &World, socket: SocketId, whose: RoleName) -> Vec<SourceName> {
    let state = world.inbox(socket).state();
    let found = state.participants.iter().find(|info| info.role == whose);
    found.map_or_else(Vec::new, |info| info.tracks.iter().map(|track| track.source).collect())
}

#[test]
fn everybody_in_the_visit_may_share_a_screen_and_nobody_who_waits() {
    use SourceName::{Camera, Microphone, Screen};
    let Visiting {
        mut world,
        clinician,
        patient,
        patient_media,
    } = visiting();
    let guest = world.join("guest", RoleName::Guest);
    let guest_media = connect(&mut world, guest, (5, 6));
    world.track_from(guest_media, 7, Source::Screen, TrackChange::Started);
    assert_eq!(
        sources(&world, clinician, RoleName::Guest),
        [],
        "who waits shows nothing"
    );
    world.say(clinician, subscribe("3", "t7"));
    assert_eq!(last_error(&world, clinician), Some(ErrorCode::NotFound));

    world.say(clinician, admit(&world, guest));
    world.track_from(patient_media, 8, Source::Screen, TrackChange::Started);
    for socket in [clinician, patient, guest] {
        for role in [RoleName::Guest, RoleName::Patient] {
            assert_eq!(sources(&world, socket, role), [Microphone, Camera, Screen]);
        }
        assert_eq!(sources(&world, socket, RoleName::Clinician), [Microphone, Camera]);
    }
    world.say(clinician, subscribe("3", "t7"));
    assert_eq!(last_error(&world, clinician), None);

    world.track_from(guest_media, 7, Source::Screen, TrackChange::Ended);
    assert_eq!(sources(&world, clinician, RoleName::Guest), [Microphone, Camera]);
}

#[test]
fn who_shares_a_screen_is_told_whether_anybody_sees_it_and_told_again_when_they_come_back() {
    use ScreenAudience::{NotArriving, Seen, TooThin, Unwatched};
    let Visiting {
        mut world,
        clinician,
        patient,
        patient_media,
    } = visiting();
    let guest = world.join("guest", RoleName::Guest);
    let guest_media = connect(&mut world, guest, (5, 6));
    world.say(clinician, admit(&world, guest));
    let told = |world: &World, socket| {
        let messages = world.inbox(socket).messages.iter();
        let all = messages.filter_map(|message| match message {
            ServerMessage::Audience { mid, by } => Some((mid.clone(), *by)),
            _ => None,
        });
        all.collect::<Vec<_>>()
    };
    world.track_from(guest_media, 7, Source::Screen, TrackChange::Started);
    let mid = Mid::new("3").expect("valid");
    let sending = |target, layer| Event::Sending {
        room: RoomId(7),
        participant: patient_media,
        mid,
        target,
        layer,
    };
    let moved = |from, to| moved(patient_media, from, to);
    let (none, whole) = (Target::AudioOnly, Target::Video(Layer::P720));
    let mut expected = vec![Unwatched];
    let said = |world: &World, expected: &[ScreenAudience], what: &str| {
        let expected: Vec<_> = expected.iter().map(|by| ("0".to_owned(), *by)).collect();
        assert_eq!(told(world, guest), expected, "{what}");
    };
    said(&world, &expected, "nobody has asked yet");
    world.say(patient, subscribe("3", "t7"));
    expected.push(NotArriving);
    said(&world, &expected, "asked for");
    for (event, by) in [
        (sending(whole, Some(Layer::P720)), Some(Seen)),
        (moved(whole, none), Some(TooThin)),
        (sending(whole, None), None),
        // A key frame is on its way.
        (moved(none, whole), Some(NotArriving)),
        (sending(whole, Some(Layer::P720)), Some(Seen)),
        (sending(whole, None), Some(NotArriving)),
        (sending(none, None), Some(Unwatched)),
        (sending(whole, Some(Layer::P720)), Some(Seen)),
    ] {
        world.media(&event);
        expected.extend(by);
        said(&world, &expected, &format!("{event:?}"));
    }
    // Somebody who asks and is not sent it yet changes nothing for whoever shares.
    world.say(clinician, subscribe("3", "t7"));
    said(&world, &expected, "one of two");
    world.say(patient, ClientMessage::Leave { keep_place: false });
    expected.push(NotArriving);
    said(&world, &expected, "the one who saw it has gone");
    assert_eq!(
        [told(&world, patient), told(&world, clinician)],
        [vec![], vec![]],
        "it is nobody else's business"
    );

    let resume = world.inbox(guest).welcome().1.to_owned();
    world.drop_socket(guest);
    let who = identity("guest", RoleName::Guest);
    let again = world.hello(who, Some(&resume)).expect("there is room");
    assert_eq!(told(&world, again), [("0".to_owned(), NotArriving)]);
    // The next one is another screen.
    world.track_from(guest_media, 7, Source::Screen, TrackChange::Ended);
    world.track_from(guest_media, 8, Source::Screen, TrackChange::Started);
    assert_eq!(told(&world, again).last(), Some(&("0".to_owned(), Unwatched)));
}
