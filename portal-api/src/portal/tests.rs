//! Lives of tokens, visits and days, in virtual time.

use std::sync::Arc;

use housecall_signaling::message::{EndReason, RoleName};
use housecall_signaling::{AuthError, Change, Interruption, Leaving, Portal as _, Via, VisitEvent, Who};
use jiff::{SignedDuration, Timestamp};

mod command_line;

use super::live::live_visit;
use super::{AppointmentRequest, ClinicProfile, Portal, PortalError, SessionGrant, TokenRequest, VisitStart};
use crate::clock::ManualClock;
use crate::ids::{PersonId, RequestId, VisitId};
use crate::limits::{LINK_AFTER_END, SESSION_LIFE, SESSIONS_PER_LINK, TOKEN_LIFE};
use crate::secret::{Token, TokenKind};
use crate::store::{Conflict, Ctx, Holder, HolderRole, Purpose, VisitStatus};
use crate::text::PersonName;

struct Fixture {
    _directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    portal: Portal,
}

fn start() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().expect("instant")
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = Arc::new(ManualClock::new(start()));
    let portal = Portal::open_with_clock(directory.path(), clock.clone()).expect("a new portal");
    Fixture {
        _directory: directory,
        clock,
        portal,
    }
}

fn request() -> RequestId {
    RequestId::random()
}

impl Fixture {
    async fn session(&self, link: &Token) -> SessionGrant {
        let granted = self.portal.exchange(link.expose(), request()).await;
        granted.unwrap_or_else(|cause| panic!("{cause}"))
    }

    async fn holder(&self, link: &Token) -> Holder {
        let held = self.portal.authenticate_bearer(link.expose(), request()).await;
        held.unwrap_or_else(|cause| panic!("{cause}"))
    }

    async fn token(&self, visit: VisitId, role: HolderRole, name: Option<&str>) -> super::MintedToken {
        let name = name.map(|text| PersonName::new(text).expect("a good name"));
        let wanted = TokenRequest {
            visit,
            role,
            name,
            ttl: Some(SignedDuration::from_hours(1)),
        };
        self.portal
            .mint_token(wanted)
            .await
            .unwrap_or_else(|cause| panic!("{cause}"))
    }
}

fn err<T>(result: Result<T, PortalError>) -> PortalError {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(cause) => cause,
    }
}

#[tokio::test]
async fn a_start_seeds_once_and_mints_links_each_time() {
    let f = fixture();
    let first = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let second = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    assert_eq!(first.visit, second.visit);
    assert_ne!(first.patient.expose(), second.patient.expose());
    for link in [&first.patient, &second.patient] {
        let session = f.session(link).await;
        assert_eq!((session.role, session.visit), (HolderRole::Patient, first.visit));
        assert_eq!(session.name.expose(), "Alex Rivera");
        assert_eq!(session.details.clinician_name.expose(), "Dr. Sam Morgan");
        assert_eq!(session.details.status, VisitStatus::Scheduled);
    }
    assert_eq!(f.session(&first.clinician).await.role, HolderRole::Clinician);

    f.clock.advance(SignedDuration::from_hours(3));
    let later = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    assert_ne!(later.visit, first.visit, "an appointment that is over is not offered");
    let day = f
        .portal
        .today(&f.holder(&later.clinician).await, request())
        .await
        .unwrap_or_else(|cause| panic!("{cause}"));
    assert_eq!(day.visits.len(), 2);
}

#[tokio::test]
async fn a_link_lives_until_well_after_the_appointment() {
    let f = fixture();
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let minute = SignedDuration::from_mins(1);
    f.clock.advance(SignedDuration::from_mins(60) + LINK_AFTER_END - minute);
    let last = f.session(&links.patient).await;
    assert_eq!(last.expires_at, f.portal.now() + minute, "no session outlives its link");
    f.clock.advance(minute);
    assert!(matches!(
        err(f.portal.exchange(links.patient.expose(), request()).await),
        PortalError::LinkExpired
    ));
    assert!(matches!(
        err(f.portal.authenticate_session(last.session.expose(), request()).await),
        PortalError::SessionExpired
    ));
}

#[tokio::test]
async fn a_visit_that_nobody_ends_is_ended_when_no_link_opens_it_any_more() {
    let f = fixture();
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let minute = SignedDuration::from_mins(1);
    let patient = f.holder(&links.patient).await;
    let event = |change| VisitEvent {
        visit: live_visit(links.visit),
        change,
    };
    let entered = Change::Entered {
        who: who(patient.person(), RoleName::Patient),
    };
    f.portal.record(event(entered)).await.expect("stored");
    let end = async |open| {
        f.portal
            .end_lapsed(move |_| open)
            .await
            .unwrap_or_else(|cause| panic!("{cause}"))
    };
    let status = async || {
        let ctx = Ctx::system("test", Purpose::Operations, request());
        let outline = f.portal.store().tx(&ctx, move |tx| tx.visit_outline(links.visit)).await;
        outline.expect("there").status
    };
    f.clock.advance(SignedDuration::from_mins(59) + LINK_AFTER_END);
    assert_eq!(
        (end(false).await, status().await),
        (0, VisitStatus::InProgress),
        "its links still open it"
    );
    f.clock.advance(minute);
    assert_eq!(
        (end(true).await, status().await),
        (0, VisitStatus::InProgress),
        "somebody is in it still"
    );
    assert_eq!((end(false).await, status().await), (1, VisitStatus::Ended));
    assert_eq!(end(false).await, 0, "once");
}

#[tokio::test]
async fn a_session_lives_fifteen_minutes_unless_refreshed() {
    let f = fixture();
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let mut session = f.session(&links.patient).await.session;
    for _ in 0..5 {
        f.clock.advance(SESSION_LIFE - SignedDuration::from_secs(1));
        let holder = f.portal.authenticate_session(session.expose(), request()).await;
        let holder = holder.unwrap_or_else(|cause| panic!("{cause}"));
        let fresh = f
            .portal
            .refresh(&holder, request())
            .await
            .unwrap_or_else(|cause| panic!("{cause}"));
        assert!(
            f.portal.authenticate_session(session.expose(), request()).await.is_ok(),
            "the answer may be lost"
        );
        session = fresh.session;
    }
    f.clock.advance(SESSION_LIFE);
    assert!(matches!(
        err(f.portal.authenticate_session(session.expose(), request()).await),
        PortalError::SessionExpired
    ));
}

#[tokio::test]
async fn tokens_that_are_none_open_nothing() {
    let f = fixture();
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let session = f.session(&links.patient).await.session;
    let unknown = Token::mint(TokenKind::Link);
    for bad in ["", "x", unknown.expose(), session.expose()] {
        assert!(matches!(
            err(f.portal.exchange(bad, request()).await),
            PortalError::LinkInvalid
        ));
    }
    for bad in [
        "",
        "x",
        Token::mint(TokenKind::Session).expose(),
        links.patient.expose(),
    ] {
        assert!(matches!(
            err(f.portal.authenticate_session(bad, request()).await),
            PortalError::SessionExpired
        ));
    }
    assert!(matches!(
        err(f.portal.authenticate_bearer(unknown.expose(), request()).await),
        PortalError::SessionExpired
    ));
}

#[tokio::test]
async fn revoked_links_take_their_sessions_with_them() {
    let f = fixture();
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let session = f.session(&links.patient).await.session;
    assert_eq!(f.portal.revoke_links(links.visit).await.expect("revoked"), 2);
    assert!(matches!(
        err(f.portal.exchange(links.patient.expose(), request()).await),
        PortalError::LinkInvalid
    ));
    assert!(matches!(
        err(f.portal.authenticate_session(session.expose(), request()).await),
        PortalError::SessionExpired
    ));
}

#[tokio::test]
async fn one_link_holds_a_bounded_number_of_sessions() {
    let f = fixture();
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let first = f.session(&links.patient).await.session;
    f.clock.advance(SignedDuration::from_secs(1));
    let many = (0..SESSIONS_PER_LINK).map(|_| f.session(&links.patient));
    let many = futures_util::future::join_all(many).await;
    assert!(
        f.portal.authenticate_session(first.expose(), request()).await.is_err(),
        "the oldest gives way"
    );
    for session in [&many[0], &many[SESSIONS_PER_LINK - 1]] {
        assert!(
            f.portal
                .authenticate_session(session.session.expose(), request())
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn appointments_are_made_listed_and_cancelled() {
    let f = fixture();
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let clinician = f.holder(&links.clinician).await;
    let wanted = |minutes, days: i64, zone: Option<&str>| AppointmentRequest {
        patient_name: PersonName::new("Bo Lund").expect("a good name"),
        starts_at: start() + SignedDuration::from_hours(24 * days),
        minutes,
        time_zone: zone.map(str::to_owned),
    };
    for bad in [
        wanted(4, 0, None),
        wanted(601, 0, None),
        wanted(30, -2, None),
        wanted(30, 800, None),
        wanted(30, 1, Some("Mars")),
    ] {
        assert!(matches!(
            err(f.portal.create_appointment(&clinician, bad, request()).await),
            PortalError::Invalid(_)
        ));
    }
    let made = f
        .portal
        .create_appointment(&clinician, wanted(30, 1, Some("America/Vancouver")), request())
        .await;
    let made = made.unwrap_or_else(|cause| panic!("{cause}"));
    let (from, to) = (
        start() + SignedDuration::from_hours(23),
        start() + SignedDuration::from_hours(25),
    );
    let listed = f
        .portal
        .list_appointments(&clinician, from, to, request())
        .await
        .unwrap_or_else(|cause| panic!("{cause}"));
    let [line] = &listed[..] else {
        panic!("{} lines", listed.len())
    };
    assert_eq!((line.visit, line.time_zone.as_str()), (made.visit, "America/Vancouver"));
    assert_eq!(line.patient_name.as_ref().map(PersonName::expose), Some("Bo Lund"));
    for (from, to) in [
        (to, from),
        (from, from),
        (from, from + SignedDuration::from_hours(24 * 63)),
    ] {
        assert!(matches!(
            err(f.portal.list_appointments(&clinician, from, to, request()).await),
            PortalError::Invalid(_)
        ));
    }

    let patient = f.holder(&made.patient).await;
    assert!(matches!(
        err(f.portal.today(&patient, request()).await),
        PortalError::NotAllowed
    ));
    assert!(matches!(
        err(f.portal.cancel_appointment(&patient, made.visit, request()).await),
        PortalError::NotAllowed
    ));
    let switched = f
        .portal
        .session_for_visit(&clinician, made.visit, request())
        .await
        .unwrap_or_else(|cause| panic!("{cause}"));
    assert_eq!(switched.visit, made.visit);
    assert!(matches!(
        err(f
            .portal
            .session_for_visit(&clinician, VisitId::random(), request())
            .await),
        PortalError::NotFound
    ));

    for _ in 0..2 {
        f.portal
            .cancel_appointment(&clinician, made.visit, request())
            .await
            .expect("cancelled");
    }
    assert!(matches!(
        err(f.portal.exchange(made.patient.expose(), request()).await),
        PortalError::VisitCancelled
    ));
    assert!(matches!(
        err(f.portal.refresh(&f.holder(&made.patient).await, request()).await),
        PortalError::VisitCancelled
    ));
    let own = f.session(&made.clinician).await;
    assert_eq!(
        own.details.status,
        VisitStatus::Cancelled,
        "a clinician's link still opens the day's list"
    );
}

fn who(person: PersonId, role: RoleName) -> Who {
    let person = housecall_signaling::PersonId::new(&person.to_string()).expect("a UUID");
    Who {
        participant: "00000000000000ab".to_owned(),
        person,
        role,
        via: Via::Socket,
    }
}

/// Each event of a visit, what it makes of the visit and of the patient's admission.
#[tokio::test]
async fn events_of_a_visit_are_stored() {
    let f = fixture();
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let patient_link = links.patient;
    let (clinician, patient) = (
        f.holder(&links.clinician).await.person(),
        f.holder(&patient_link).await.person(),
    );
    let patient_is = who(patient, RoleName::Patient);
    let clinician_is = who(clinician, RoleName::Clinician);
    let left = |how, keeps_admission| Change::Left {
        who: patient_is.clone(),
        how,
        keeps_admission,
    };
    use VisitStatus::{Ended, InProgress, Scheduled};
    let steps = [
        (
            Change::Entered {
                who: clinician_is.clone(),
            },
            Scheduled,
            false,
        ),
        (
            Change::Queued {
                who: patient_is.clone(),
            },
            Scheduled,
            false,
        ),
        (
            Change::Declined {
                who: patient_is.clone(),
                by: clinician_is.clone(),
            },
            Scheduled,
            false,
        ),
        (
            Change::Admitted {
                who: patient_is.clone(),
                by: clinician_is.clone(),
            },
            InProgress,
            true,
        ),
        (
            Change::Disconnected {
                who: patient_is.clone(),
            },
            InProgress,
            true,
        ),
        (
            Change::Returned {
                who: patient_is.clone(),
            },
            InProgress,
            true,
        ),
        (left(Leaving::Timeout, true), InProgress, true),
        (
            Change::Interrupted {
                cause: Interruption::MediaFailed,
            },
            InProgress,
            true,
        ),
        (left(Leaving::Asked, false), InProgress, false),
        (
            Change::Admitted {
                who: patient_is.clone(),
                by: clinician_is.clone(),
            },
            InProgress,
            true,
        ),
        (
            Change::Ended {
                reason: EndReason::ServerStopping,
                by: None,
            },
            InProgress,
            true,
        ),
        (
            Change::Ended {
                reason: EndReason::VisitEnded,
                by: Some(clinician_is.clone()),
            },
            Ended,
            true,
        ),
        (
            Change::Ended {
                reason: EndReason::Cancelled,
                by: None,
            },
            Ended,
            true,
        ),
    ];
    for (change, status, admitted) in steps {
        let event = VisitEvent {
            visit: live_visit(links.visit),
            change,
        };
        let word = event.name();
        f.portal
            .record(event)
            .await
            .unwrap_or_else(|cause| panic!("{word}: {cause}"));
        let holder = f.holder(&patient_link).await;
        assert_eq!((holder.visit_status(), holder.admitted()), (status, admitted), "{word}");
        if status != Ended {
            assert_eq!(f.session(&patient_link).await.admitted, admitted, "{word}");
            assert!(f.session(&links.clinician).await.admitted, "{word}");
        }
    }
    assert!(matches!(
        err(f.portal.exchange(patient_link.expose(), request()).await),
        PortalError::VisitEnded
    ));

    let ctx = Ctx::operator("test", request());
    let log = f
        .portal
        .store()
        .tx(&ctx, |tx| tx.audit_read(0, 1_000))
        .await
        .expect("allowed");
    let admitted = log
        .iter()
        .find(|row| row.objects.contains("event:admitted"))
        .expect("a row for the admission");
    let expected = format!(
        "visit:{} event:admitted participant:00000000000000ab person:{patient} via:socket by:{clinician}",
        links.visit
    );
    assert_eq!(
        (admitted.action.as_str(), admitted.objects.as_str()),
        ("visit.event", expected.as_str())
    );
    assert_eq!(log.iter().filter(|row| row.action == "visit.event").count(), 13);
}

#[tokio::test]
async fn live_visits_learn_who_holds_a_session() {
    let f = fixture();
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let patient = f.session(&links.patient).await;
    let identity = f
        .portal
        .authenticate(patient.session.expose())
        .await
        .unwrap_or_else(|cause| panic!("{cause}"));
    assert_eq!(identity.visit.as_str(), links.visit.to_string());
    assert_eq!(
        (identity.role, identity.name.reveal(), identity.admitted),
        (RoleName::Patient, "Alex Rivera", false)
    );
    let clinician = f.holder(&links.clinician).await;
    assert_eq!(
        identity.clinician.expect("booked").as_str(),
        clinician.person().to_string()
    );

    let refused = |result: Result<_, AuthError>| match result {
        Ok(housecall_signaling::Identity { .. }) => panic!("expected an error"),
        Err(cause) => cause,
    };
    assert_eq!(
        refused(f.portal.authenticate("nonsense").await),
        AuthError::SessionExpired
    );
    assert_eq!(
        refused(f.portal.authenticate(links.patient.expose()).await),
        AuthError::SessionExpired
    );
    f.portal
        .cancel_appointment(&clinician, links.visit, request())
        .await
        .expect("cancelled");
    assert_eq!(
        refused(f.portal.authenticate(patient.session.expose()).await),
        AuthError::VisitCancelled
    );
}

#[tokio::test]
async fn a_visit_under_way_is_not_cancelled() {
    let f = fixture();
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    let (clinician, patient) = (f.holder(&links.clinician).await, f.holder(&links.patient).await);
    let change = Change::Admitted {
        who: who(patient.person(), RoleName::Patient),
        by: who(clinician.person(), RoleName::Clinician),
    };
    f.portal
        .record(VisitEvent {
            visit: live_visit(links.visit),
            change,
        })
        .await
        .expect("stored");
    assert!(matches!(
        err(f.portal.cancel_appointment(&clinician, links.visit, request()).await),
        PortalError::Conflict(Conflict::VisitNotScheduled)
    ));
}
