//! Participants over WHIP and WHEP, story by story.

use std::time::Duration;

use housecall_sfu::{Event, Kind, NegotiateError, ParticipantId, RoomId, TrackChange};

use super::Bounds;
use super::harness::{World, identity};
use super::http::{HttpKind, PatchPlan};
use crate::error::{HttpError, JoinError};
use crate::ids::PersonId;
use crate::limits;
use crate::message::{ClientMessage, RoleName};

const AUDIO: Kind = Kind::Audio;
const VIDEO: Kind = Kind::Video;

fn world() -> World {
    World::new(Bounds {
        people: 16,
        viewers: 500,
    })
}

fn whep(world: &mut World, role: RoleName, from: Option<String>) -> ParticipantId {
    world
        .http(identity("viewer", role), HttpKind::Whep { from })
        .expect("there is room");
    world.answer(&[("0", AUDIO), ("1", VIDEO)], &[])
}

fn whip(world: &mut World, role: RoleName, tracks: &[(u64, Kind)]) -> (ParticipantId, String) {
    let stay = world
        .http(identity("encoder", role), HttpKind::Whip)
        .expect("there is room");
    (world.answer(&[], tracks), stay.to_string())
}

#[test]
fn a_whep_viewer_follows_the_first_publisher() {
    let mut world = world();
    let early = whep(&mut world, RoleName::Guest, None);
    let (_, first) = whip(&mut world, RoleName::Guest, &[(10, AUDIO), (11, VIDEO)]);
    let (_, second) = whip(&mut world, RoleName::Clinician, &[(20, AUDIO), (21, VIDEO)]);
    let late = whep(&mut world, RoleName::Guest, None);
    let fixed = whep(&mut world, RoleName::Guest, Some(second.clone()));
    let sorted = |mut ids: Vec<ParticipantId>| {
        ids.sort_unstable();
        ids
    };
    for track in [10, 11] {
        assert_eq!(sorted(world.viewers_of(track)), [early, late]);
    }
    assert_eq!(world.viewers_of(21), [fixed]);

    let encoder = identity("encoder", RoleName::Guest).person;
    world.visit.handle_http_leave(&encoder, &first).expect("it is there");
    world.settle();
    assert_eq!(sorted(world.viewers_of(21)), [early, late, fixed]);
    // A new first publisher does not take viewers from the one they follow.
    whip(&mut world, RoleName::Guest, &[(30, VIDEO)]);
    assert_eq!(world.viewers_of(21).len(), 3);
    world.visit.handle_http_leave(&encoder, &second).expect("it is there");
    world.settle();
    assert_eq!(sorted(world.viewers_of(30)), [early, late], "`from` does not move on");
}

#[test]
fn viewers_are_not_listed_and_publishers_are() {
    let mut world = world();
    let clinician = world.join("clinician", RoleName::Clinician);
    whep(&mut world, RoleName::Guest, None);
    let (media, name) = whip(&mut world, RoleName::Guest, &[]);
    assert_eq!(world.inbox(clinician).state().participants.len(), 1);
    world.track(media, 10, VIDEO, TrackChange::Started);
    let listed = &world.inbox(clinician).state().participants;
    assert!(listed.iter().any(|p| p.participant == name && p.tracks.len() == 1));
}

#[test]
fn hundreds_watch_and_the_limit_holds() {
    let mut world = world();
    let clinician = world.join("clinician", RoleName::Clinician);
    let (media, _) = whip(&mut world, RoleName::Guest, &[]);
    for _ in 0..500 {
        whep(&mut world, RoleName::Guest, None);
    }
    let before = world.inbox(clinician).messages.len();
    let refused = world.http(identity("viewer", RoleName::Guest), HttpKind::Whep { from: None });
    assert_eq!(refused, Err(JoinError::Full { limit: 500 }));
    world.track(media, 10, VIDEO, TrackChange::Started);
    assert_eq!(world.viewers_of(10).len(), 500);
    assert_eq!(
        world.inbox(clinician).messages.len(),
        before + 1,
        "one view for the publisher, none for viewers"
    );
}

#[test]
fn a_patient_over_http_waits_like_anybody() {
    let mut world = world();
    let clinician = world.join("clinician", RoleName::Clinician);
    let (publisher, name) = whip(&mut world, RoleName::Patient, &[(10, VIDEO)]);
    let viewer = whep(&mut world, RoleName::Guest, None);
    assert!(world.viewers_of(10).is_empty());
    assert_eq!(world.inbox(clinician).state().queue.len(), 1);
    world.say(clinician, ClientMessage::Admit { participant: name });
    assert_eq!(world.viewers_of(10), [viewer]);

    for _ in 0..limits::MAX_HTTP_PER_PERSON - 1 {
        whip(&mut world, RoleName::Patient, &[]);
    }
    let limit = limits::MAX_HTTP_PER_PERSON;
    let refused = world.http(identity("encoder", RoleName::Patient), HttpKind::Whip);
    assert_eq!(
        refused,
        Err(JoinError::Full { limit }),
        "one link cannot fill the visit"
    );
    world.media(&Event::Closed {
        room: RoomId(7),
        participant: publisher,
        reason: "test",
    });
    assert!(world.viewers_of(10).is_empty());
}

#[test]
fn a_refused_offer_over_http_leaves_no_trace() {
    let mut world = world();
    let stay = world
        .http(identity("encoder", RoleName::Guest), HttpKind::Whip)
        .expect("there is room");
    let error = NegotiateError::Unsupported("no".to_owned());
    world.refuse_offer(error.clone());
    assert_eq!(world.answers[&stay], Err(JoinError::Offer(error)));
    assert!(world.events.is_empty() && world.visit.is_empty());
    let from = Some("0123456789abcdef".to_owned());
    let unknown = world.http(identity("viewer", RoleName::Guest), HttpKind::Whep { from });
    assert_eq!(unknown, Err(JoinError::Offer(NegotiateError::NoSuchParticipant)));
}

#[test]
fn an_http_session_without_consent_ends_unless_it_comes_back() {
    let mut world = world();
    let (media, _) = whip(&mut world, RoleName::Guest, &[(10, VIDEO)]);
    let (room, participant) = (RoomId(7), media);
    world.media(&Event::Disconnected { room, participant });
    world.pass(limits::HTTP_GRACE - Duration::from_secs(1));
    world.media(&Event::Reconnected { room, participant });
    world.pass(limits::HTTP_GRACE * 2);
    assert!(!world.visit.is_empty());
    world.media(&Event::Disconnected { room, participant });
    world.pass(limits::HTTP_GRACE);
    assert!(world.visit.is_empty() && world.transports.is_empty());
    assert_eq!(
        world.event_names(),
        ["entered", "disconnected", "returned", "disconnected", "left"]
    );
}

#[test]
fn patch_follows_rfc_9725() {
    let mut world = world();
    let (media, name) = whip(&mut world, RoleName::Guest, &[]);
    let person = identity("encoder", RoleName::Guest).person;
    let stranger = identity("stranger", RoleName::Guest).person;
    let trickle =
        "a=ice-ufrag:EsAw\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
    let restart = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";
    let etag = format!("\"ufrag{}\"", media.0);
    let mut patch = |person: &PersonId, body: &str, if_match: Option<&str>| {
        world
            .visit
            .handle_patch(person, &name, body, if_match)
            .map(|plan| matches!(plan, PatchPlan::Restart { .. }))
    };
    // §4.3.1: "the client MUST add an If-Match header"; 428 and 412 when it is missing or does not match.
    assert_eq!(patch(&person, trickle, None), Err(HttpError::PreconditionRequired));
    assert_eq!(
        patch(&person, trickle, Some("\"other\"")),
        Err(HttpError::PreconditionFailed)
    );
    assert_eq!(patch(&person, trickle, Some(&etag)), Ok(false));
    assert_eq!(patch(&person, restart, Some("*")), Ok(true));
    assert!(matches!(
        patch(&person, trickle, Some("*")),
        Err(HttpError::Fragment(_))
    ));
    assert!(matches!(
        patch(&person, "v=0", Some(&etag)),
        Err(HttpError::Fragment(_))
    ));
    assert_eq!(patch(&stranger, restart, Some("*")), Err(HttpError::NotFound));

    let new = housecall_sfu::IceCredentials {
        ufrag: "newufrag".to_owned(),
        pwd: "q".repeat(22),
    };
    let answer = world.visit.handle_restarted(media, Ok(new)).expect("restarted");
    let expected = format!(
        "a=ice-lite\r\na=ice-ufrag:newufrag\r\na=ice-pwd:{}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n",
        "q".repeat(22)
    );
    let etag = "\"newufrag\"".to_owned();
    assert_eq!(
        answer,
        crate::hub::HttpPatch::Restarted {
            fragment: expected,
            etag
        }
    );
    assert!(
        world
            .visit
            .handle_patch(&person, &name, trickle, Some("\"newufrag\""))
            .is_ok()
    );
}

#[test]
fn guests_cannot_fill_the_visit() {
    let mut world = world();
    for (link, role) in [("guest", RoleName::Guest), ("clinician", RoleName::Clinician)] {
        let who = || identity(link, role);
        let limit = limits::MAX_HTTP_PER_PERSON;
        for _ in 0..limit {
            world.http(who(), HttpKind::Whip).expect("there is room");
        }
        assert_eq!(world.http(who(), HttpKind::Whip), Err(JoinError::Full { limit }));
        world
            .http(who(), HttpKind::Whep { from: None })
            .expect("watching is bounded for the visit alone");
    }
    for n in 2 * limits::MAX_HTTP_PER_PERSON..14 {
        world.join(&format!("guest-{n}"), RoleName::Guest);
    }
    let late = |world: &mut World| world.hello(identity("late", RoleName::Guest), None);
    assert_eq!(late(&mut world), Err(JoinError::Full { limit: 14 }));
    world.join("sam", RoleName::Patient);
    assert_eq!(late(&mut world), Err(JoinError::Full { limit: 15 }));
    world.join("alex", RoleName::Clinician);
    assert_eq!(late(&mut world), Err(JoinError::Full { limit: 16 }));
}
