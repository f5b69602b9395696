//! The hub with pretended sockets, media core and portal, on a clock that is held.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use housecall_sfu::{Event, Kind, NegotiateError, ParticipantStats, PathKind, TrackId};
use serde_json::{Value, json};

use super::fakes::{House, identity};
use super::task;
use crate::error::{HttpError, JoinError};
use crate::frame::{CloseCode, Frame};
use crate::hub::{HttpJoin, HttpPatch};
use crate::ids::VisitId;
use crate::limits;
use crate::message::{EndReason, IceServer};

fn is_admitted(message: &Value) -> bool {
    message["type"] == "state" && message["you"]["place"] == "admitted"
}

#[tokio::test(start_paused = true)]
async fn a_visit_from_hello_to_its_end() {
    let house = House::new();
    let (mut patient, welcome) = house.join("v/sam/patient").await;
    assert_eq!(patient.hear().await["you"], json!({"place": "waiting", "position": 1}));
    patient.say(&json!({"type": "offer", "id": 1, "sdp": "v=0", "fresh": true}));
    assert_eq!(
        patient.hear_type("answer").await["slots"][1],
        json!({"mid": "3", "kind": "video"})
    );
    let patient_media = house.media.newest();
    house.publish(patient_media, 4, Kind::Video).await;

    let (mut clinician, _) = house.join("v/doctor/clinician").await;
    clinician.say(&json!({"type": "offer", "id": 1, "sdp": "v=0"}));
    clinician.hear_type("answer").await;
    let clinician_media = house.media.newest();
    clinician.say(&json!({"type": "admit", "participant": welcome["you"]}));
    let state = clinician
        .hear_until(|m| m["participants"].as_array().is_some_and(|all| all.len() == 2))
        .await;
    let has_track = |p: &Value| p["tracks"] == json!([{"track": "t4", "kind": "video", "source": "camera"}]);
    assert!(
        state["participants"]
            .as_array()
            .is_some_and(|all| all.iter().any(has_track))
    );
    clinician.say(&json!({"type": "subscribe", "mid": "3", "track": "t4"}));
    clinician.say(&json!({"type": "ping", "id": 5}));
    assert_eq!(clinician.hear_type("pong").await["id"], 5);
    assert_eq!(house.media.source(clinician_media.1, "3"), Some(TrackId(4)));
    patient.hear_until(is_admitted).await;

    clinician.say(&json!({"type": "end_visit"}));
    assert_eq!(patient.hear_type("ended").await["reason"], "visit_ended");
    assert_eq!(patient.closed().await, CloseCode::Done);
    assert_eq!(clinician.closed().await, CloseCode::Done);
    assert_eq!(house.event_names(), ["queued", "entered", "admitted", "ended"]);
    house.settle().await;
    assert_eq!(house.media.rooms(), 0);
}

#[tokio::test(start_paused = true)]
async fn everybody_is_told_of_the_relay_with_credentials_that_end_with_the_stay() {
    let house = House::new();
    let (mut patient, patient_welcome) = house.join("v/sam/patient").await;
    let (mut clinician, clinician_welcome) = house.join("v/doctor/clinician").await;
    for welcome in [&patient_welcome, &clinician_welcome] {
        let server = &welcome["ice_servers"][0];
        let you = welcome["you"].as_str().unwrap_or_default();
        assert_eq!(server["username"], format!("1800000000:{you}"));
        assert_eq!(server["credential"], "secret");
        assert!(server["urls"][0].as_str().is_some_and(|url| url.starts_with("turn:")));
    }
    assert_ne!(patient_welcome["ice_servers"], clinician_welcome["ice_servers"]);

    patient.say(&json!({"type": "leave", "keep_place": false}));
    patient.hear_type("ended").await;
    clinician.say(&json!({"type": "end_visit"}));
    clinician.hear_type("ended").await;
    house.settle().await;
    let ended: Vec<String> = house
        .media
        .0
        .lock()
        .unwrap()
        .relay_ended
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected =
        [&patient_welcome, &clinician_welcome].map(|welcome| welcome["you"].as_str().unwrap_or_default().to_owned());
    assert_eq!(ended, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_greeting_is_refused_with_a_reason() {
    let house = House::new();
    let hello = |session: &str| Frame::Text(json!({"type": "hello", "session": session}).to_string());
    let cases = [
        (None, CloseCode::HelloTimeout),
        (Some(Frame::Text("{}".to_owned())), CloseCode::BadMessage),
        (
            Some(Frame::Text(r#"{"type":"ping","id":1}"#.to_owned())),
            CloseCode::BadMessage,
        ),
        (Some(Frame::Binary), CloseCode::BadMessage),
        (
            Some(hello(&"x".repeat(limits::MAX_SMALL_MESSAGE_BYTES))),
            CloseCode::TooLong,
        ),
        (Some(hello("nobody")), CloseCode::SessionRefused),
        (Some(hello("ended")), CloseCode::Done),
        (Some(hello("cancelled")), CloseCode::Done),
        (Some(hello("down")), CloseCode::Unavailable),
    ];
    for (frame, expected) in cases {
        let mut client = house.open();
        client.send(Frame::Pong);
        if let Some(frame) = frame {
            client.send(frame);
        }
        assert_eq!(client.closed().await, expected);
    }
    let mut client = house.open();
    client.send(hello("nobody"));
    assert_eq!(client.hear().await["code"], "session_expired");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_breaks_the_limits_is_closed_with_a_reason() {
    let house = House::new();
    let long = |kind: &str, size: usize| {
        let text = "x".repeat(size);
        Frame::Text(match kind {
            "offer" => json!({"type": "offer", "id": 1, "sdp": text}).to_string(),
            _ => json!({"type": "decline", "participant": "x", "reason": text}).to_string(),
        })
    };
    let cases = [
        (Frame::Binary, CloseCode::BadMessage),
        (long("decline", limits::MAX_SMALL_MESSAGE_BYTES), CloseCode::TooLong),
        (long("offer", limits::MAX_MESSAGE_BYTES), CloseCode::TooLong),
    ];
    for (frame, expected) in cases {
        let (mut client, _) = house.join("v/sam/patient").await;
        client.send(frame);
        assert_eq!(client.closed().await, expected);
    }
    let (mut client, _) = house.join("v/sam/patient").await;
    client.send(long("offer", limits::MAX_MESSAGE_BYTES - 100));
    client.hear_type("answer").await;
    client.send(Frame::Text("not JSON".to_owned()));
    assert_eq!(
        client.hear_type("error").await["code"],
        "bad_message",
        "and the socket stays"
    );
    for id in 0..=limits::MESSAGE_BURST {
        client.say(&json!({"type": "ping", "id": id}));
    }
    assert_eq!(client.closed().await, CloseCode::TooFast);
}

#[tokio::test(start_paused = true)]
async fn a_silent_socket_is_closed_and_a_living_one_is_not() {
    let house = House::new();
    let (mut silent, _) = house.join("v/sam/patient").await;
    let (mut living, _) = house.join("v/ana/patient").await;
    for _ in 0..5 {
        // The held clock moves on when everything waits.
        while !matches!(living.from_server.recv().await, Some(Frame::Ping)) {}
        living.send(Frame::Pong);
    }
    assert_eq!(silent.closed().await, CloseCode::Idle);
    living.say(&json!({"type": "ping", "id": 1}));
    living.hear_type("pong").await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_cut_off_and_holds_nobody_up() {
    let house = House::new();
    let (mut slow, welcome) = house.join("v/sam/patient").await;
    let (mut clinician, _) = house.join("v/doctor/clinician").await;
    clinician.say(&json!({"type": "admit", "participant": welcome["you"]}));
    slow.hear_until(is_admitted).await;
    slow.stuck.store(true, Ordering::Relaxed);
    let start = task::now();
    let mut changes = 0;
    while !slow.served.is_finished() && task::now() - start < limits::WRITE_TIMEOUT {
        clinician.say(&json!({"type": "muted", "microphone": changes % 2 == 0, "camera": false}));
        clinician.hear_type("state").await;
        changes += 1;
        tokio::time::sleep(Duration::from_millis(60)).await;
        if changes > limits::SEND_QUEUE + 1 {
            break;
        }
    }
    let gone = |m: &Value| {
        m["participants"]
            .as_array()
            .is_some_and(|all| all.iter().any(|p| p["connected"] == false))
    };
    clinician.say(&json!({"type": "muted", "microphone": true, "camera": true}));
    clinician.hear_until(gone).await;
    assert!(task::now() - start < limits::WRITE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_socket_comes_back_with_its_token() {
    let house = House::new();
    let (mut patient, welcome) = house.join("v/sam/patient").await;
    patient.say(&json!({"type": "offer", "id": 1, "sdp": "v=0"}));
    patient.hear_type("answer").await;
    patient.vanish();
    house.settle().await;
    let mut back = house.open();
    back.say(&json!({"type": "hello", "session": "v/sam/patient", "resume": welcome["resume"]}));
    let again = back.hear_type("welcome").await;
    assert_eq!((&again["you"], &again["resumed"]), (&welcome["you"], &json!(true)));

    let (_elsewhere, other) = house.join("v/sam/patient").await;
    assert_eq!(back.hear_type("ended").await["reason"], "replaced");
    assert_eq!((&other["you"], &other["resumed"]), (&welcome["you"], &json!(false)));
    assert_eq!(house.event_names(), ["queued", "disconnected", "returned", "took_over"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_interrupts_the_visit() {
    let house = House::new();
    let (mut patient, welcome) = house.join("v/sam/patient").await;
    let (mut clinician, _) = house.join("v/doctor/clinician").await;
    patient.say(&json!({"type": "ping", "id": 1}));
    patient.hear_type("pong").await;
    house.portal.failing.store(true, Ordering::Relaxed);
    clinician.say(&json!({"type": "admit", "participant": welcome["you"]}));
    let end = patient.hear_until(|m| m["type"] == "ended" || is_admitted(m)).await;
    assert_eq!(end["reason"], "failed", "never told of the admission");
    assert_eq!(clinician.closed().await, CloseCode::Done);
    house.portal.failing.store(false, Ordering::Relaxed);

    let (mut patient, welcome) = house.join("v/sam/patient").await;
    let (clinician, _) = house.join("v/doctor/clinician").await;
    house.portal.failing.store(true, Ordering::Relaxed);
    clinician.say(&json!({"type": "decline", "participant": welcome["you"], "reason": ""}));
    assert_eq!(patient.hear_type("state").await["you"]["position"], 1);
    while let Some(frame) = patient.from_server.recv().await {
        let declined = matches!(&frame, Frame::Text(text) if text.contains("declined"));
        assert!(!declined, "told of what was not stored");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_when_it_is_durable_and_not_before() {
    let house = House::new();
    house.portal.open.send_replace(false);
    let mut client = house.open();
    client.say(&json!({"type": "hello", "session": "v/sam/patient"}));
    house.settle().await;
    assert!(
        client.from_server.try_recv().is_err(),
        "nothing is said while the store is busy"
    );
    house.portal.open.send_replace(true);
    assert_eq!(client.hear().await["type"], "welcome");
}

#[tokio::test(start_paused = true)]
async fn a_stop_tells_everybody_and_refuses_newcomers() {
    let house = House::new();
    let (mut one, _) = house.join("v/sam/patient").await;
    let (mut other, _) = house.join("w/ana/patient").await;
    house.hub.shutdown().await;
    for client in [&mut one, &mut other] {
        assert_eq!(client.hear_type("ended").await["reason"], "server_stopping");
        assert_eq!(client.closed().await, CloseCode::Done);
    }
    let mut late = house.open();
    late.say(&json!({"type": "hello", "session": "v/sam/patient"}));
    assert_eq!(late.closed().await, CloseCode::Unavailable);
    let whip = house
        .hub
        .whip(identity("v", "encoder", "guest"), "v=0".to_owned())
        .await;
    assert_eq!(whip, Err(JoinError::Stopping));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_appointment_sends_those_who_wait_home() {
    let house = House::new();
    let (mut patient, _) = house.join("v/sam/patient").await;
    let visit = VisitId::new("v").unwrap();
    house.settle().await;
    assert_eq!(house.hub.waiting(std::slice::from_ref(&visit))[0].count, 1);
    tokio::time::advance(Duration::from_secs(20)).await;
    assert!(house.hub.waiting(std::slice::from_ref(&visit))[0].longest >= Duration::from_secs(20));
    house.hub.close_visit(&visit, EndReason::Cancelled).await;
    assert_eq!(patient.hear_type("ended").await["reason"], "cancelled");
    house.hub.close_visit(&visit, EndReason::Cancelled).await;
    assert!(house.hub.waiting(&[visit]).is_empty());
    assert_eq!(house.event_names(), ["queued", "ended"]);
}

#[tokio::test(start_paused = true)]
async fn whip_and_whep_from_post_to_delete() {
    let house = House::new();
    let encoder = identity("v", "encoder", "guest");
    let joined = house
        .hub
        .whip(encoder.clone(), "v=0".to_owned())
        .await
        .expect("answered");
    let publisher = house.media.newest();
    house.publish(publisher, 10, Kind::Video).await;
    assert_eq!(
        (joined.etag.as_str(), joined.answer.as_str()),
        ("\"ufrag\"", "m=audio 9 X 111\r\n")
    );
    let viewer = identity("v", "viewer", "guest");
    let mut viewers = Vec::new();
    for _ in 0..100 {
        viewers.push(
            house
                .hub
                .whep(viewer.clone(), None, "v=0".to_owned())
                .await
                .expect("answered")
                .participant,
        );
    }
    house.settle().await;
    assert_eq!(house.media.source(house.media.newest().1, "3"), Some(TrackId(10)));

    let restart = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n";
    let patched = house
        .hub
        .http_patch(&encoder, &joined.participant, restart, Some("*"))
        .await;
    assert!(matches!(patched, Ok(HttpPatch::Restarted { etag, .. }) if etag == "\"again\""));
    let trickle = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
    let patched = house
        .hub
        .http_patch(&encoder, &joined.participant, trickle, Some("\"again\""))
        .await;
    assert_eq!(patched, Ok(HttpPatch::Accepted));

    assert_eq!(
        house.hub.http_leave(&viewer, &joined.participant).await,
        Err(HttpError::NotFound)
    );
    for participant in viewers {
        assert_eq!(house.hub.http_leave(&viewer, &participant).await, Ok(()));
    }
    assert_eq!(house.hub.http_leave(&encoder, &joined.participant).await, Ok(()));
    house.settle().await;
    assert_eq!(house.media.rooms(), 0, "an empty visit holds no room");
    let refused = house.hub.whip(encoder, "bad".to_owned()).await;
    assert!(matches!(refused, Err(JoinError::Offer(NegotiateError::Malformed(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_clinician_in_another_visit_is_with_another_patient() {
    let house = House::new();
    let (mut waiting, _) = house.join("b/ana/patient").await;
    assert_eq!(waiting.hear_type("state").await["clinician"], "not_started");
    let (_patient, welcome) = house.join("a/sam/patient").await;
    let (mut clinician, _) = house.join("a/doctor/clinician").await;
    clinician.say(&json!({"type": "admit", "participant": welcome["you"]}));
    waiting.hear_until(|m| m["clinician"] == "with_another_patient").await;
    clinician.vanish();
    waiting.hear_until(|m| m["clinician"] == "not_started").await;
}

#[tokio::test(start_paused = true)]
async fn a_bug_in_one_visit_ends_that_visit_and_no_other() {
    let house = House::new();
    let (mut other, _) = house.join("w/ana/patient").await;
    let (_patient, welcome) = house.join("v/sam/patient").await;
    let (mut client, _) = house.join("v/doctor/clinician").await;
    client.say(&json!({"type": "admit", "participant": welcome["you"]}));
    other.hear_until(|m| m["clinician"] == "with_another_patient").await;
    client.say(&json!({"type": "offer", "id": 1, "sdp": "v=0"}));
    client.hear_type("answer").await;
    house.media.0.lock().unwrap().break_on_target = true;
    client.say(&json!({"type": "target", "mid": "3", "target": "p480"}));
    assert_eq!(client.closed().await, CloseCode::Unavailable);
    house.media.0.lock().unwrap().break_on_target = false;
    house.settle().await;
    assert_eq!(house.event_names().last(), Some(&"interrupted"));
    assert_eq!(house.media.rooms(), 0);
    other.hear_until(|m| m["clinician"] == "not_started").await;
    house.join("v/doctor/clinician").await;
}

#[tokio::test(start_paused = true)]
async fn a_visit_that_cannot_keep_up_with_its_media_is_interrupted() {
    let house = House::new();
    let (mut client, _) = house.join("v/doctor/clinician").await;
    client.say(&json!({"type": "offer", "id": 1, "sdp": "v=0"}));
    client.hear_type("answer").await;
    let (room, participant) = house.media.newest();
    // The store hangs while somebody comes, and the media core goes on telling.
    house.portal.open.send_replace(false);
    let waiting = house.open();
    waiting.say(&json!({"type": "hello", "session": "v/sam/patient"}));
    house.settle().await;
    for _ in 0..=super::MEDIA_EVENTS {
        house
            .events
            .send(Event::Reconnected { room, participant })
            .await
            .expect("the hub listens");
    }
    house.portal.open.send_replace(true);
    assert_eq!(client.hear_type("ended").await["reason"], "failed");
    assert_eq!(house.hub.shared.metrics.visits_lagging.get(), 1);
}

/// Every series exists from the start, and every metric moves.
#[tokio::test(start_paused = true)]
async fn metrics_move_and_their_number_does_not() {
    let house = House::new();
    let registry = prometheus::Registry::new();
    house.hub.register_metrics(&registry).expect("registered once");
    let read = || {
        let mut values: HashMap<String, f64> = HashMap::new();
        for family in registry.gather() {
            for metric in family.get_metric() {
                let labels: Vec<_> = metric.get_label().iter().map(|l| l.value().to_owned()).collect();
                let value = metric.get_gauge().get_value() + metric.get_counter().get_value();
                values.insert(format!("{}/{}", family.name(), labels.join("/")), value);
            }
        }
        values
    };
    let before = read();
    let (mut clinician, _) = house.join("v/doctor/clinician").await;
    let (_patient, _) = house.join("v/sam/patient").await;
    clinician.say(&json!({"type": "nonsense"}));
    clinician.hear_type("error").await;
    house.settle().await;
    let during = read();
    let value = |name: &str| during[&format!("housecall_signaling_{name}")];
    assert_eq!(before.len(), during.len());
    assert_eq!(value("sockets/"), 2.0);
    assert_eq!(value("visits/"), 1.0);
    // Labels come in the order of their names: place, via.
    assert_eq!(
        (
            value("participants/admitted/socket"),
            value("participants/waiting/socket")
        ),
        (1.0, 1.0)
    );
    assert_eq!(
        (value("messages_total/hello"), value("messages_total/refused")),
        (2.0, 1.0)
    );
    assert_eq!(
        (value("events_total/entered"), value("events_total/queued")),
        (1.0, 1.0)
    );
    clinician.say(&json!({"type": "end_visit"}));
    clinician.closed().await;
    house.settle().await;
    let after = read();
    let value = |name: &str| after[&format!("housecall_signaling_{name}")];
    assert_eq!(
        (
            value("sockets/"),
            value("visits/"),
            value("participants/admitted/socket")
        ),
        (0.0, 0.0, 0.0)
    );
    assert_eq!(value("closes_total/done"), 2.0);
}

/// The last one leaves and another comes in the same moment, again and again, on two threads: there is always a visit to come to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_as_a_visit_empties_gets_in() {
    let house = House::new();
    let encoder = identity("v", "encoder", "guest");
    for _ in 0..2_000 {
        let joined = house
            .hub
            .whip(encoder.clone(), "v=0".to_owned())
            .await
            .expect("answered");
        assert_eq!(house.hub.http_leave(&encoder, &joined.participant).await, Ok(()));
    }
    let names = house.event_names();
    assert_eq!(names.len(), 4_000);
    assert!(names.chunks(2).all(|pair| pair == ["entered", "left"]));
}

#[test]
fn printing_answers_over_http_shows_no_password() {
    let join = HttpJoin {
        participant: "0123456789abcdef".to_owned(),
        answer: "a=ice-pwd:secret".to_owned(),
        etag: "\"frag\"".to_owned(),
        relay: Some(IceServer {
            urls: Vec::new(),
            username: "expiry:id".to_owned(),
            credential: "secret".to_owned(),
        }),
    };
    let patch = HttpPatch::Restarted {
        fragment: "a=ice-pwd:secret".to_owned(),
        etag: "\"frag\"".to_owned(),
    };
    for printed in [format!("{join:?}"), format!("{patch:?}")] {
        assert!(printed.contains("frag") && !printed.contains("secret"), "{printed}");
    }
}

#[tokio::test(start_paused = true)]
async fn quality_records_are_stored_as_people_leave_and_on_demand() {
    let house = House::new();
    let visit = VisitId::new("v").unwrap();
    let (mut clinician, welcome) = house.join("v/doctor/clinician").await;
    clinician.say(&json!({"type": "offer", "id": 1, "sdp": "v=0", "fresh": true}));
    clinician.hear_type("answer").await;
    let (_, media) = house.media.newest();
    let figures = ParticipantStats {
        path: Some(PathKind::TurnTls),
        ..ParticipantStats::default()
    };
    house.media.0.lock().unwrap().figures.insert(media, figures);
    tokio::time::sleep(2 * limits::QUALITY_LOOK + Duration::from_millis(1)).await;
    let report = json!({
        "type": "report", "interval_ms": 10_000, "first_frame_ms": 700, "frames_decoded": 250, "frames_dropped": 0,
        "freezes": 0, "freeze_ms": 0, "samples": 480_000, "concealed": 0
    });
    clinician.say(&report);
    clinician.say(&report);
    assert_eq!(
        clinician.hear_type("error").await["code"],
        "limit",
        "one report at a time"
    );
    house.hub.keep_quality(&visit).await;
    let kept = std::mem::take(&mut *house.portal.kept.lock().unwrap());
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].participant, welcome["you"].as_str().unwrap());
    assert_eq!((kept[0].ended, kept[0].join.first_frame_ms), (false, Some(700)));
    assert_eq!(kept[0].paths[0].path, "turn_tls");
    assert_eq!((kept[0].samples.len(), kept[0].picture.frames), (2, 250));

    clinician.say(&json!({"type": "leave", "keep_place": false}));
    clinician.closed().await;
    house.settle().await;
    let kept = std::mem::take(&mut *house.portal.kept.lock().unwrap());
    assert_eq!(kept.len(), 1);
    assert!(kept[0].ended);
}

#[tokio::test(start_paused = true)]
async fn records_are_stored_now_and_then_and_a_visit_does_not_hang_on_them() {
    let house = House::new();
    let registry = prometheus::Registry::new();
    house.hub.register_metrics(&registry).expect("fresh metrics");
    let (mut clinician, _) = house.join("v/doctor/clinician").await;
    let mut stay = async || {
        for id in 0..=limits::QUALITY_KEEP.as_secs() / 10 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            clinician.say(&json!({"type": "ping", "id": id}));
            assert_eq!(clinician.hear_type("pong").await["id"], id);
        }
    };
    stay().await;
    assert_eq!(house.portal.kept.lock().unwrap().len(), 1);
    house.portal.failing.store(true, Ordering::Relaxed);
    stay().await;
    let families = registry.gather();
    let unkept = families
        .iter()
        .find(|family| family.name() == "housecall_quality_unkept_total");
    assert_eq!(
        unkept.map(|family| family.get_metric()[0].get_counter().get_value()),
        Some(1.0)
    );
}
