//! Shared screens: whoever is in the visit may share one, and the others are told that it is one.

use housecall_sfu::{Source, TrackChange};

use super::*;
use crate::message::SourceName;

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
