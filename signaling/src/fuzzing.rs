//! What the fuzz targets call.

use std::time::{Duration, Instant};

use housecall_sfu::RoomId;

use crate::ids::{DisplayName, PersonId, StayId, VisitId};
use crate::message::{ClientMessage, RoleName, ServerMessage};
use crate::portal::Identity;
use crate::quality::QualityMetrics;
use crate::sdpfrag;
use crate::visit::{Bounds, Fresh, Output, ResumeToken, SocketId, Visit};

/// Reads `data` as a message of either side and as an SDP fragment. A client's message is also said by a clinician and by a
/// waiting patient of a small visit.
///
/// # Panics
/// When a message does not come back from its own JSON as it was, or the visit does not settle: both are bugs.
pub fn message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = sdpfrag::credentials(text);
    let _ = sdpfrag::lines_of_answer(text);
    if let Ok(message) = serde_json::from_str::<ServerMessage>(text) {
        let again = serde_json::to_string(&message).expect("a message is JSON");
        assert!(
            serde_json::from_str::<ServerMessage>(&again).is_ok_and(|back| back == message),
            "changed on its way"
        );
    }
    let Ok(message) = serde_json::from_str::<ClientMessage>(text) else {
        return;
    };
    let again = serde_json::to_string(&message).expect("a message is JSON");
    assert!(
        serde_json::from_str::<ClientMessage>(&again).is_ok_and(|back| back == message),
        "changed on its way"
    );
    say(&message);
}

fn say(message: &ClientMessage) {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do; nothing below depends on it"
    )]
    let start = Instant::now();
    let mut visit = Visit::new(
        VisitId::new("fuzzed").expect("a valid id"),
        RoomId(1),
        Bounds { people: 4, viewers: 4 },
        QualityMetrics::new(),
    );
    for (number, role) in [(1, RoleName::Clinician), (2, RoleName::Patient)] {
        let identity = Identity {
            visit: VisitId::new("fuzzed").expect("a valid id"),
            person: PersonId::new(&format!("person-{number}")).expect("a valid id"),
            role,
            name: DisplayName::new("x"),
            admitted: false,
            clinician: None,
        };
        let fresh = Fresh {
            stay: StayId::from_random(number),
            resume: ResumeToken::new(format!("token-{number}")),
        };
        let joined = visit.handle_hello(identity, None, SocketId(number), fresh, start);
        assert!(joined.is_ok(), "there is room for both");
    }
    for socket in [SocketId(2), SocketId(1)] {
        visit.handle_message(socket, message.clone(), start);
        settle(&mut visit, start);
    }
    visit.handle_timeout(start + Duration::from_secs(3_600));
    settle(&mut visit, start);
}

fn settle(visit: &mut Visit, now: Instant) {
    for _ in 0..1_000 {
        match visit.poll_output(now) {
            None => return,
            Some(Output::Send { message, .. } | Output::Welcome { message, .. }) => {
                assert!(serde_json::to_string(&message).is_ok(), "a message is JSON");
            }
            Some(_) => {}
        }
    }
    panic!("the visit does not settle");
}
