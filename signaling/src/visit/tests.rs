//! What people see and what is forwarded, story by story.

mod quality;
mod record;
mod screen;

use std::time::Duration;

use housecall_sfu::{
    Bitrate, Event, Evidence, Kind, Layer, Mid, NegotiateError, ParticipantId, QualityChange, RoomId, Target, TrackId,
};

use super::harness::{World, identity};
use super::{Bounds, SocketId};
use crate::error::JoinError;
use crate::frame::CloseCode;
use crate::ids::PersonId;
use crate::limits;
use crate::message::{
    ClientMessage, ClinicianPresence, Direction, EndReason, ErrorCode, Place, QualityReason, RoleName, ServerMessage,
    TargetName,
};
use crate::portal::Interruption;

const AUDIO: Kind = Kind::Audio;
const VIDEO: Kind = Kind::Video;
/// The lines our client offers to receive on.
const LINES: [(&str, Kind); 2] = [("2", AUDIO), ("3", VIDEO)];

fn world() -> World {
    World::new(Bounds {
        people: 16,
        viewers: 500,
    })
}

fn offer(id: u32) -> ClientMessage {
    ClientMessage::Offer {
        id,
        sdp: format!("offer {id}"),
        fresh: false,
    }
}

/// What a change was decided on.
fn evidence() -> Evidence {
    Evidence {
        estimate: Some(Bitrate::from_kbps(420)),
        delivered: Bitrate::from_kbps(400),
        queue: Duration::from_millis(90),
        loss: 0.0,
        rtt: Some(Duration::from_millis(70)),
    }
}

/// The rung of what this participant is sent on line 3 has changed.
fn moved(participant: ParticipantId, from: Target, to: Target) -> Event {
    Event::Quality {
        room: RoomId(7),
        participant,
        mid: Mid::new("3").expect("valid"),
        from,
        to,
        change: QualityChange::Capacity,
        evidence: evidence(),
    }
}

fn subscribe(mid: &str, track: &str) -> ClientMessage {
    ClientMessage::Subscribe {
        mid: mid.to_owned(),
        track: Some(track.to_owned()),
    }
}

fn admit(world: &World, whom: SocketId) -> ClientMessage {
    ClientMessage::Admit {
        participant: world.name_of(whom),
    }
}

/// Offers, is answered, and publishes a microphone and a camera.
fn connect(world: &mut World, socket: SocketId, tracks: (u64, u64)) -> ParticipantId {
    world.say(socket, offer(1));
    world.answer(&LINES, &[(tracks.0, AUDIO), (tracks.1, VIDEO)])
}

fn last_error(world: &World, socket: SocketId) -> Option<ErrorCode> {
    match world.inbox(socket).messages.last() {
        Some(ServerMessage::Error { code, .. }) => Some(*code),
        _ => None,
    }
}

/// A clinician and an admitted patient, both connected: tracks 1 and 2 are the clinician's, 3 and 4 the patient's.
struct Visiting {
    world: World,
    clinician: SocketId,
    patient: SocketId,
    patient_media: ParticipantId,
}

fn visiting() -> Visiting {
    let mut world = world();
    let clinician = world.join("clinician", RoleName::Clinician);
    connect(&mut world, clinician, (1, 2));
    let patient = world.join("patient", RoleName::Patient);
    let patient_media = connect(&mut world, patient, (3, 4));
    world.say(clinician, admit(&world, patient));
    Visiting {
        world,
        clinician,
        patient,
        patient_media,
    }
}

#[test]
fn a_patient_waits_is_admitted_and_is_seen() {
    let mut world = world();
    let patient = world.join("patient", RoleName::Patient);
    assert!(world.inbox(patient).state().you == Place::Waiting { position: 1 });
    assert_eq!(world.inbox(patient).state().clinician, ClinicianPresence::NotStarted);
    let patient_media = connect(&mut world, patient, (3, 4));

    let clinician = world.join("clinician", RoleName::Clinician);
    assert_eq!(world.inbox(patient).state().clinician, ClinicianPresence::Ready);
    let clinician_media = connect(&mut world, clinician, (1, 2));
    world.say(clinician, subscribe("3", "t4"));
    assert_eq!(
        last_error(&world, clinician),
        Some(ErrorCode::NotFound),
        "a waiting patient's track is nobody's"
    );
    world.say(patient, subscribe("3", "t2"));
    assert_eq!(last_error(&world, patient), Some(ErrorCode::NotAllowed));

    world.say(clinician, admit(&world, patient));
    let state = world.inbox(clinician).state();
    assert_eq!(state.participants.len(), 2);
    assert!(state.queue.is_empty());
    world.say(clinician, subscribe("3", "t4"));
    world.say(patient, subscribe("3", "t2"));
    assert_eq!(world.viewers_of(4), [clinician_media]);
    assert_eq!(world.viewers_of(2), [patient_media]);
    assert_eq!(world.event_names(), ["queued", "entered", "admitted"]);
}

#[test]
fn the_queue_keeps_its_order_over_absences() {
    let mut world = world();
    let first = world.join("ana", RoleName::Patient);
    let second = world.join("ben", RoleName::Guest);
    world.say(first, ClientMessage::Leave { keep_place: true });
    assert_eq!(world.inbox(first).ended(), Some(EndReason::Left));
    assert_eq!(world.inbox(first).closed, Some(CloseCode::Done));
    assert!(world.inbox(second).state().you == Place::Waiting { position: 2 });

    world.pass(limits::PLACE_KEPT - Duration::from_secs(1));
    let back = world.join("ana", RoleName::Patient);
    assert!(world.inbox(back).state().you == Place::Waiting { position: 1 });

    world.say(back, ClientMessage::Leave { keep_place: true });
    world.pass(limits::PLACE_KEPT);
    assert!(world.inbox(second).state().you == Place::Waiting { position: 1 });
    let again = world.join("ana", RoleName::Patient);
    assert!(
        world.inbox(again).state().you == Place::Waiting { position: 2 },
        "a new stay"
    );
    assert_eq!(
        world.event_names(),
        [
            "queued",
            "queued",
            "stepped_away",
            "returned",
            "stepped_away",
            "left",
            "queued"
        ]
    );
}

#[test]
fn a_clinician_declines_with_a_word_of_reason() {
    let mut world = world();
    let clinician = world.join("clinician", RoleName::Clinician);
    let patient = world.join("patient", RoleName::Patient);
    let participant = world.name_of(patient);
    let reason = "Please call\nus.".to_owned();
    world.say(
        clinician,
        ClientMessage::Decline {
            participant: participant.clone(),
            reason: "x".repeat(201),
        },
    );
    assert_eq!(last_error(&world, clinician), Some(ErrorCode::Limit));
    world.say(
        clinician,
        ClientMessage::Decline {
            participant: participant.clone(),
            reason,
        },
    );
    let last = world.inbox(patient).messages.last().expect("a message");
    assert!(
        matches!(last, ServerMessage::Ended { reason: EndReason::Declined, message } if message == "Please callus.")
    );
    world.say(clinician, ClientMessage::Admit { participant });
    assert_eq!(last_error(&world, clinician), Some(ErrorCode::NotFound));
}

#[test]
fn only_clinicians_do_what_clinicians_do() {
    for role in [RoleName::Patient, RoleName::Guest] {
        let mut visiting = visiting();
        let world = &mut visiting.world;
        let mut who = identity("other", role);
        who.admitted = true;
        let other = world.hello(who, None).expect("there is room");
        let waiting = world.join("waiting", RoleName::Patient);
        let participant = world.name_of(waiting);
        let tries = [
            ClientMessage::Admit {
                participant: participant.clone(),
            },
            ClientMessage::Decline {
                participant,
                reason: String::new(),
            },
            ClientMessage::EndVisit {},
        ];
        let before = world.events.len();
        for message in tries {
            world.say(other, message);
            assert_eq!(last_error(world, other), Some(ErrorCode::NotAllowed));
        }
        assert_eq!(world.events.len(), before);
        assert!(world.inbox(other).state().queue.is_empty(), "nor do they see the queue");
    }
}

#[test]
fn a_dropped_socket_resumes_and_media_does_not_notice() {
    let Visiting {
        mut world,
        clinician,
        patient,
        patient_media,
    } = visiting();
    world.say(clinician, subscribe("3", "t4"));
    world.say(patient, subscribe("3", "t2"));
    let sending = |layer| Event::Sending {
        room: RoomId(7),
        participant: patient_media,
        mid: Mid::new("3").expect("valid"),
        target: Target::Video(Layer::P720),
        layer,
    };
    world.media(&sending(Some(Layer::P720)));
    let token = world.inbox(patient).welcome().1.to_owned();
    world.drop_socket(patient);
    let gone = &world.inbox(clinician).state().participants;
    assert_eq!(gone.iter().filter(|p| !p.connected).count(), 1);

    world.pass(limits::RESUME_GRACE - Duration::from_secs(1));
    let back = world
        .hello(identity("patient", RoleName::Patient), Some(&token))
        .expect("there is room");
    assert!(world.inbox(back).welcome().2, "resumed");
    assert_eq!(world.inbox(back).welcome().1, token);
    assert!(matches!(
        world.inbox(back).messages[1],
        ServerMessage::Quality {
            sending: TargetName::P720,
            ..
        }
    ));
    assert!(world.transports.contains_key(&patient_media));
    assert_eq!(
        (world.viewers_of(4).len(), world.viewers_of(2)),
        (1, vec![patient_media])
    );
    assert!(world.inbox(clinician).state().participants.iter().all(|p| p.connected));
}

#[test]
fn a_reload_takes_the_stay_over_at_once() {
    let Visiting {
        mut world,
        clinician,
        patient,
        patient_media,
    } = visiting();
    world.say(clinician, subscribe("3", "t4"));
    world.say(
        patient,
        ClientMessage::Muted {
            microphone: true,
            camera: true,
        },
    );
    let name = world.name_of(patient);
    let reloaded = world.join("patient", RoleName::Patient);
    assert_eq!(world.inbox(patient).ended(), Some(EndReason::Replaced));
    assert_eq!(world.name_of(reloaded), name, "the same participant");
    assert!(!world.inbox(reloaded).welcome().2, "with a connection to build");
    assert!(!world.transports.contains_key(&patient_media));
    assert!(world.inbox(reloaded).state().you == Place::Admitted {});
    let seen = &world.inbox(clinician).state().participants;
    let tile = seen.iter().find(|p| p.participant == name).expect("still there");
    assert!(tile.connected && tile.tracks.is_empty() && !tile.microphone_muted);

    connect(&mut world, reloaded, (5, 6));
    world.say(clinician, subscribe("3", "t6"));
    assert_eq!(world.viewers_of(6).len(), 1);
    assert_eq!(world.event_names(), ["entered", "queued", "admitted", "took_over"]);
    // The page before cannot come back with its token and its connection.
    let old_token = world.inbox(patient).welcome().1.to_owned();
    let old = world
        .hello(identity("patient", RoleName::Patient), Some(&old_token))
        .expect("there is room");
    assert!(!world.inbox(old).welcome().2);
}

#[test]
fn a_strangers_resume_token_resumes_nothing() {
    let Visiting {
        mut world,
        clinician,
        patient,
        ..
    } = visiting();
    let token = world.inbox(patient).welcome().1.to_owned();
    let mut guest = identity("guest", RoleName::Guest);
    guest.admitted = true;
    let stranger = world.hello(guest, Some(&token)).expect("there is room");
    assert!(!world.inbox(stranger).welcome().2);
    assert_ne!(world.name_of(stranger), world.name_of(patient));
    assert_eq!(world.inbox(patient).ended(), None);
    assert_eq!(world.inbox(clinician).state().participants.len(), 3);
}

#[test]
fn who_does_not_return_in_time_has_left_but_stays_admitted() {
    let Visiting {
        mut world,
        clinician,
        patient,
        patient_media,
    } = visiting();
    world.drop_socket(patient);
    world.pass(limits::RESUME_GRACE);
    assert_eq!(world.inbox(clinician).state().participants.len(), 1);
    assert!(!world.transports.contains_key(&patient_media));
    let left = world.events.last().expect("an event");
    assert_eq!(
        (left.name(), left.admission()),
        ("left", None),
        "what was said of the admission holds"
    );

    // The portal says so when they come again.
    let mut who = identity("patient", RoleName::Patient);
    who.admitted = true;
    let back = world.hello(who, None).expect("there is room");
    assert!(world.inbox(back).state().you == Place::Admitted {});
}

#[test]
fn leaving_for_good_gives_the_admission_up() {
    for (keep_place, admission) in [(true, None), (false, Some(false))] {
        let Visiting { mut world, patient, .. } = visiting();
        world.say(patient, ClientMessage::Leave { keep_place });
        assert_eq!(world.inbox(patient).ended(), Some(EndReason::Left));
        assert_eq!(
            world.events.last().map(crate::portal::VisitEvent::admission),
            Some(admission)
        );
    }
}

#[test]
fn a_leavers_tracks_are_taken_away() {
    let Visiting {
        mut world,
        clinician,
        patient,
        ..
    } = visiting();
    world.say(clinician, subscribe("2", "t3"));
    world.say(clinician, subscribe("3", "t4"));
    world.say(patient, ClientMessage::Leave { keep_place: true });
    assert!(world.viewers_of(3).is_empty() && world.viewers_of(4).is_empty());
    assert_eq!(world.inbox(clinician).state().participants.len(), 1);
}

#[test]
fn the_end_of_a_visit_reaches_everybody() {
    let Visiting {
        mut world,
        clinician,
        patient,
        ..
    } = visiting();
    let waiting = world.join("waiting", RoleName::Patient);
    world.say(clinician, ClientMessage::EndVisit {});
    for socket in [clinician, patient, waiting] {
        assert_eq!(world.inbox(socket).ended(), Some(EndReason::VisitEnded));
        assert_eq!(world.inbox(socket).closed, Some(CloseCode::Done));
    }
    assert!(world.visit.is_over() && world.transports.is_empty());
    let event = world.events.last().expect("an event");
    assert_eq!(event.by().map(|who| who.role), Some(RoleName::Clinician));
    assert_eq!(
        world.hello(identity("late", RoleName::Patient), None),
        Err(JoinError::Stopping)
    );
}

#[test]
fn interruptions_say_whether_to_come_back() {
    let cases = [
        (Interruption::ServerStopping, EndReason::ServerStopping),
        (Interruption::StoreFailed, EndReason::Failed),
        (Interruption::MediaFailed, EndReason::Failed),
    ];
    for (cause, reason) in cases {
        let Visiting {
            mut world,
            clinician,
            patient,
            ..
        } = visiting();
        world.visit.handle_interruption(cause);
        world.settle();
        assert_eq!(world.inbox(clinician).ended(), Some(reason));
        assert_eq!(world.inbox(patient).ended(), Some(reason));
    }
}

#[test]
fn what_could_not_be_stored_does_not_happen() {
    let mut world = world();
    let clinician = world.join("clinician", RoleName::Clinician);
    let patient = world.join("patient", RoleName::Patient);
    connect(&mut world, patient, (3, 4));
    // The task takes the event, fails to store it, and interrupts before taking anything else.
    world.visit.handle_message(clinician, admit(&world, patient), world.now);
    assert!(matches!(
        world.visit.poll_output(world.now),
        Some(super::Output::Record(_))
    ));
    world.visit.handle_interruption(Interruption::StoreFailed);
    world.settle();
    assert!(
        world.inbox(patient).state().you == Place::Waiting { position: 1 },
        "never told of the admission"
    );
    assert_eq!(world.inbox(patient).ended(), Some(EndReason::Failed));
}

#[test]
fn those_who_wait_see_what_the_clinician_does() {
    let mut world = world();
    let clinician = world.join("clinician", RoleName::Clinician);
    let first = world.join("first", RoleName::Patient);
    let second = world.join("second", RoleName::Patient);
    let shown = |world: &World, socket| world.inbox(socket).state().clinician;
    assert_eq!(shown(&world, second), ClinicianPresence::Ready);
    world.say(clinician, admit(&world, first));
    assert_eq!(shown(&world, second), ClinicianPresence::WithAnotherPatient);
    assert_eq!(shown(&world, first), ClinicianPresence::Ready, "they are that patient");
    assert_eq!(
        world
            .visit
            .clinicians_here()
            .iter()
            .map(|(_, busy)| *busy)
            .collect::<Vec<_>>(),
        [true]
    );
    world.say(first, ClientMessage::Leave { keep_place: false });
    assert_eq!(shown(&world, second), ClinicianPresence::Ready);
    world.visit.handle_elsewhere(true);
    world.settle();
    assert_eq!(shown(&world, second), ClinicianPresence::WithAnotherPatient);
    world.visit.handle_elsewhere(false);
    world.drop_socket(clinician);
    assert_eq!(shown(&world, second), ClinicianPresence::NotStarted);
}

#[test]
fn the_booked_clinician_is_of_interest_before_coming() {
    let mut world = world();
    let mut who = identity("patient", RoleName::Patient);
    who.clinician = PersonId::new("clinician");
    world.hello(who, None).expect("there is room");
    assert_eq!(
        world.visit.clinicians_of_interest(),
        PersonId::new("clinician").into_iter().collect::<Vec<_>>()
    );
}

#[test]
fn offers_are_answered_in_turn() {
    let mut world = world();
    let socket = world.join("patient", RoleName::Patient);
    for id in 1..=3 {
        world.say(socket, offer(id));
    }
    assert!(matches!(
        world.inbox(socket).messages.last(),
        Some(ServerMessage::OfferRefused { id: 3, .. })
    ));
    assert_eq!(world.offers.len(), 1);
    world.answer(&LINES, &[]);
    assert_eq!(world.offers[0].1, "offer 2");
    world.refuse_offer(NegotiateError::Conflict("no".to_owned()));
    let answers: Vec<_> = world
        .inbox(socket)
        .messages
        .iter()
        .filter_map(|message| match message {
            ServerMessage::Answer { id, slots, .. } => Some((*id, slots.len())),
            ServerMessage::OfferRefused { id, .. } => Some((*id, 0)),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [(3, 0), (1, 2), (2, 0)]);
}

#[test]
fn a_fresh_offer_makes_a_new_transport() {
    let Visiting {
        mut world,
        clinician,
        patient,
        patient_media,
    } = visiting();
    world.say(clinician, subscribe("3", "t4"));
    world.say(
        patient,
        ClientMessage::Offer {
            id: 2,
            sdp: "new".to_owned(),
            fresh: true,
        },
    );
    assert!(!world.transports.contains_key(&patient_media));
    assert!(world.viewers_of(4).is_empty());
    let again = world.answer(&LINES, &[(5, VIDEO)]);
    assert_ne!(again, patient_media);
    // What the media core still says about the one before changes nothing.
    let before = world.inbox(patient).messages.len();
    world.media(&Event::Closed {
        room: RoomId(7),
        participant: patient_media,
        reason: "test",
    });
    assert_eq!(world.inbox(patient).messages.len(), before);
}

#[test]
fn an_answer_for_somebody_who_left_is_cleaned_up() {
    let mut world = world();
    let socket = world.join("patient", RoleName::Patient);
    world.say(socket, offer(1));
    world.say(socket, ClientMessage::Leave { keep_place: false });
    // The harness's media core makes the transport; the visit must have it removed.
    let participant = world.answer(&LINES, &[]);
    assert!(!world.transports.contains_key(&participant));
}

#[test]
fn a_lost_connection_keeps_the_place() {
    let Visiting {
        mut world,
        clinician,
        patient,
        patient_media,
    } = visiting();
    world.say(clinician, subscribe("3", "t4"));
    world.media(&Event::Closed {
        room: RoomId(7),
        participant: patient_media,
        reason: "test",
    });
    assert!(
        world
            .inbox(patient)
            .messages
            .iter()
            .any(|m| matches!(m, ServerMessage::ConnectionLost {}))
    );
    assert!(world.inbox(patient).state().you == Place::Admitted {});
    let token = world.inbox(patient).welcome().1.to_owned();
    world.drop_socket(patient);
    let back = world
        .hello(identity("patient", RoleName::Patient), Some(&token))
        .expect("there is room");
    assert!(!world.inbox(back).welcome().2, "there is no connection to go on with");
}

#[test]
fn subscriptions_are_checked() {
    let Visiting {
        mut world, clinician, ..
    } = visiting();
    let cases = [
        (subscribe("3", "t2"), Some(ErrorCode::NotAllowed)), // one's own
        (subscribe("2", "t4"), Some(ErrorCode::NotAllowed)), // video on an audio line
        (subscribe("9", "t4"), Some(ErrorCode::NotFound)),   // no such line
        (subscribe("3", "t99"), Some(ErrorCode::NotFound)),  // no such track
        (subscribe("3", "t04x"), Some(ErrorCode::NotFound)), // no track's name
        (
            ClientMessage::Target {
                mid: "2".to_owned(),
                target: TargetName::P480,
            },
            Some(ErrorCode::NotFound),
        ),
        (
            ClientMessage::Target {
                mid: "3".to_owned(),
                target: TargetName::P480,
            },
            None,
        ),
        (subscribe("3", "t4"), None),
    ];
    for (index, (message, expected)) in cases.into_iter().enumerate() {
        let before = world.inbox(clinician).messages.len();
        world.say(clinician, message);
        let answered = world.inbox(clinician).messages.len() > before;
        assert_eq!(
            (answered, last_error(&world, clinician).filter(|_| answered)),
            (expected.is_some(), expected),
            "{index}"
        );
    }
    assert_eq!(
        world.targets.iter().map(|(_, target)| *target).collect::<Vec<_>>(),
        [Target::Video(Layer::P480)]
    );
    assert_eq!(world.viewers_of(4).len(), 1);
    world.say(
        clinician,
        ClientMessage::Subscribe {
            mid: "3".to_owned(),
            track: None,
        },
    );
    assert!(world.viewers_of(4).is_empty());
}

#[test]
fn quality_is_told_with_its_direction_and_reason() {
    use Direction::{Down, Same, Up};
    use QualityReason::{Asked, Publisher};
    let Visiting {
        mut world,
        patient,
        patient_media,
        ..
    } = visiting();
    world.say(patient, subscribe("3", "t2"));
    let (p480, p720) = (Target::Video(Layer::P480), Target::Video(Layer::P720));
    let cases = [
        (p720, None, Some((Same, Asked))),
        (p720, Some(Layer::P480), Some((Up, Publisher))),
        (p720, Some(Layer::P720), Some((Up, Publisher))),
        (p720, Some(Layer::P720), None),
        (p480, Some(Layer::P720), Some((Same, Asked))),
        (p480, Some(Layer::P480), Some((Down, Publisher))),
        (Target::AudioOnly, None, Some((Down, Asked))),
    ];
    for (target, layer, expected) in cases {
        let before = world.inbox(patient).messages.len();
        let mid = Mid::new("3").expect("valid");
        world.media(&Event::Sending {
            room: RoomId(7),
            participant: patient_media,
            mid,
            target,
            layer,
        });
        let told = world.inbox(patient).messages[before..]
            .iter()
            .find_map(|message| match message {
                ServerMessage::Quality { direction, reason, .. } => Some((*direction, *reason)),
                _ => None,
            });
        assert_eq!(told, expected, "{target:?} {layer:?}");
    }
}

#[test]
fn one_seat_is_the_clinicians() {
    let mut world = World::new(Bounds { people: 3, viewers: 1 });
    world.join("a", RoleName::Patient);
    world.join("b", RoleName::Patient);
    assert_eq!(
        world.hello(identity("c", RoleName::Patient), None),
        Err(JoinError::Full { limit: 2 })
    );
    world.join("a", RoleName::Patient);
    world.join("clinician", RoleName::Clinician);
    assert_eq!(
        world.hello(identity("d", RoleName::Clinician), None),
        Err(JoinError::Full { limit: 3 })
    );
}

#[test]
fn views_are_sent_once_for_several_changes_and_not_at_all_for_none() {
    let Visiting {
        mut world,
        clinician,
        patient,
        ..
    } = visiting();
    let count = |world: &World, socket| {
        world
            .inbox(socket)
            .messages
            .iter()
            .filter(|m| matches!(m, ServerMessage::State(_)))
            .count()
    };
    let before = count(&world, clinician);
    for camera in [true, false, true] {
        let message = ClientMessage::Muted {
            microphone: false,
            camera,
        };
        world.visit.handle_message(patient, message, world.now);
    }
    world.settle();
    assert_eq!(count(&world, clinician), before + 1);
    world.say(
        patient,
        ClientMessage::Muted {
            microphone: false,
            camera: true,
        },
    );
    assert_eq!(count(&world, clinician), before + 1);
}

/// Everything above refuses such wishes already; this is the last gate, and it must hold alone.
#[test]
fn whoever_waits_is_neither_sent_nor_shown_anything_even_if_wished() {
    let Visiting {
        mut world,
        patient,
        patient_media,
        ..
    } = visiting();
    let waiting = world.join("waiting", RoleName::Patient);
    let waiting_media = connect(&mut world, waiting, (5, 6));
    let wishes = [(waiting_media, 2), (patient_media, 6), (patient_media, 4)];
    for (viewer, track) in wishes {
        let id = world.visit.by_media[&viewer];
        let stay = world.visit.stays.get_mut(&id).expect("is there");
        let slots = &mut stay.connection.as_mut().expect("connected").slots;
        slots.get_mut(&Mid::new("3").expect("valid")).expect("a line").wish = Some(TrackId(track));
        world.visit.sources_stale = true;
        world.settle();
        assert!(world.viewers_of(track).is_empty(), "{viewer:?} is sent {track}");
    }
    world.say(patient, subscribe("3", "t2"));
    assert_eq!(world.viewers_of(2), [patient_media]);
}

#[test]
fn a_new_offer_keeps_what_the_lines_show() {
    let Visiting {
        mut world,
        clinician,
        patient,
        ..
    } = visiting();
    world.say(clinician, subscribe("3", "t4"));
    world.say(clinician, offer(2));
    world.answer(&[LINES[0], LINES[1], ("4", VIDEO)], &[]);
    assert_eq!(world.viewers_of(4).len(), 1);
    world.say(patient, ClientMessage::Leave { keep_place: true });
    assert!(world.viewers_of(4).is_empty());
}
