//! Who may do what, and attempts at more. Nothing here may succeed, change a row, or go unrecorded.

use jiff::{SignedDuration, Timestamp};

use super::fixture::{Fixture, hash, name, start, system, visit};
use crate::ids::VisitId;
use crate::store::permissions::reach;
use crate::store::{Action, Ctx, PersonKind, QualityPlace, Role, StoreError, Tx, VisitProgress, VisitStatus};

/// The whole permission table, written a second time. A change of one needs a change of the other.
#[tokio::test]
async fn each_role_may_do_this_and_nothing_else() {
    use Action as A;
    let fixture = Fixture::new().await;
    for role in Role::ALL {
        let expected: &[Action] = match role {
            Role::Patient | Role::Guest => &[A::VisitRead],
            Role::Clinician => &[
                A::ClinicFind,
                A::PersonCreate,
                A::VisitCreate,
                A::VisitRead,
                A::VisitList,
                A::VisitCancel,
                A::LinkCreate,
                A::LinkRevoke,
                A::SessionCreate,
            ],
            Role::Operator => &[A::AuditRead, A::QualityRead],
            Role::Bearer => &[
                A::LinkRedeem,
                A::SessionCreate,
                A::SessionAuthenticate,
                A::OperatorAuthenticate,
            ],
            Role::System => &[
                A::ClinicCreate,
                A::ClinicFind,
                A::PersonCreate,
                A::PersonFind,
                A::VisitCreate,
                A::VisitOutline,
                A::VisitJoin,
                A::VisitEvent,
                A::LinkCreate,
                A::LinkRevoke,
                A::QualityKeep,
                A::OperatorCreate,
            ],
        };
        let ctx = fixture.of_role(role);
        let allowed: Vec<Action> = Action::ALL
            .into_iter()
            .filter(|action| reach(&ctx, *action).is_some())
            .collect();
        assert_eq!(allowed, expected, "{role:?}");
    }
}

#[tokio::test]
async fn a_role_without_its_actor_may_do_nothing() {
    let fixture = Fixture::new().await;
    for role in Role::ALL {
        let person = matches!(role, Role::Patient | Role::Guest | Role::Clinician);
        let actor = if person {
            Ctx::bearer(fixture.patient().request()).actor
        } else {
            fixture.clinician().actor
        };
        let forged = Ctx {
            actor,
            ..fixture.of_role(role)
        };
        for action in Action::ALL {
            assert!(reach(&forged, action).is_none(), "{role:?} {action:?}");
        }
    }
}

type Attempt = Box<dyn FnOnce(&Tx<'_>) -> Result<(), StoreError> + Send>;

fn attempt<T>(work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static) -> Attempt {
    Box::new(|tx| work(tx).map(drop))
}

#[tokio::test]
async fn no_way_around_the_rules() {
    let fixture = Fixture::new().await;
    let (a, b) = (fixture.a, fixture.b);
    let (colleague, theirs) = (fixture.colleague, fixture.colleagues_visit);
    let later = start() + SignedDuration::from_hours(1);
    let other_holder = fixture.holder(theirs, colleague).await;
    let patient_holder = fixture.holder(a.visit, a.patient).await;
    let patient_again = patient_holder.clone();

    // The same patient, another appointment: a link opens the one it was made for.
    let second = fixture.store.tx(&system(), move |tx| {
        tx.visit_create(&visit(a.clinic, a.clinician, a.patient))
    });
    let second = second.await.expect("made");
    let patient_elsewhere = patient_holder.clone();

    let clinician = fixture.clinician();
    let patient = fixture.patient();
    let attempts: Vec<(&str, Ctx, Attempt)> = vec![
        (
            "clinician reads another clinic's visit",
            clinician.clone(),
            attempt(move |tx| tx.visit_read(b.visit)),
        ),
        (
            "clinician reads a colleague's visit",
            clinician.clone(),
            attempt(move |tx| tx.visit_read(theirs)),
        ),
        (
            "clinician reads a visit that is not there",
            clinician.clone(),
            attempt(|tx| tx.visit_read(VisitId::random())),
        ),
        (
            "clinician cancels another clinic's visit",
            clinician.clone(),
            attempt(move |tx| tx.visit_cancel(b.visit)),
        ),
        (
            "clinician cancels a colleague's visit",
            clinician.clone(),
            attempt(move |tx| tx.visit_cancel(theirs)),
        ),
        (
            "clinician books in another clinic",
            clinician.clone(),
            attempt(move |tx| tx.visit_create(&visit(b.clinic, b.clinician, b.patient))),
        ),
        (
            "clinician books for a colleague",
            clinician.clone(),
            attempt(move |tx| tx.visit_create(&visit(a.clinic, colleague, a.patient))),
        ),
        (
            "clinician books another clinic's patient",
            clinician.clone(),
            attempt(move |tx| tx.visit_create(&visit(a.clinic, a.clinician, b.patient))),
        ),
        (
            "clinician enters a person in another clinic",
            clinician.clone(),
            attempt(move |tx| tx.person_create(b.clinic, PersonKind::Patient, &name("N"))),
        ),
        (
            "clinician makes a clinician",
            clinician.clone(),
            attempt(move |tx| tx.person_create(a.clinic, PersonKind::Clinician, &name("N"))),
        ),
        (
            "clinician links into a colleague's visit",
            clinician.clone(),
            attempt(move |tx| tx.link_create(theirs, a.clinician, &hash(), later)),
        ),
        (
            "clinician links a stranger into an own visit",
            clinician.clone(),
            attempt(move |tx| tx.link_create(a.visit, b.patient, &hash(), later)),
        ),
        (
            "clinician revokes a colleague's links",
            clinician.clone(),
            attempt(move |tx| tx.link_revoke(theirs)),
        ),
        (
            "clinician takes a session for a colleague's visit",
            clinician.clone(),
            attempt(move |tx| tx.session_create(&other_holder, theirs, &hash(), later)),
        ),
        (
            "clinician takes a session in a patient's name",
            clinician.clone(),
            attempt(move |tx| tx.session_create(&patient_again, a.visit, &hash(), later)),
        ),
        (
            "clinician joins anybody anywhere",
            clinician.clone(),
            attempt(move |tx| tx.visit_join(theirs, a.clinician, PersonKind::Clinician)),
        ),
        (
            "clinician writes an event",
            clinician.clone(),
            attempt(move |tx| tx.visit_event(a.visit, VisitProgress::Over(VisitStatus::Ended), &[])),
        ),
        (
            "clinician reads the audit log",
            clinician,
            attempt(|tx| tx.audit_read(0, 10)),
        ),
        (
            "patient reads another visit",
            patient.clone(),
            attempt(move |tx| tx.visit_read(theirs)),
        ),
        (
            "patient reads another visit of their own by the first one's link",
            patient.clone(),
            attempt(move |tx| tx.visit_read(second)),
        ),
        (
            "bearer takes a session for another visit of the same person",
            fixture.of_role(Role::Bearer),
            attempt(move |tx| tx.session_create(&patient_elsewhere, second, &hash(), later)),
        ),
        (
            "patient reads another clinic's visit",
            patient.clone(),
            attempt(move |tx| tx.visit_read(b.visit)),
        ),
        (
            "patient lists",
            patient.clone(),
            attempt(|tx| tx.visit_list(Timestamp::MIN, Timestamp::MAX)),
        ),
        (
            "patient cancels",
            patient.clone(),
            attempt(move |tx| tx.visit_cancel(a.visit)),
        ),
        (
            "patient makes a link",
            patient.clone(),
            attempt(move |tx| tx.link_create(a.visit, a.patient, &hash(), later)),
        ),
        (
            "patient makes a session",
            patient,
            attempt({
                let holder = patient_holder.clone();
                move |tx| tx.session_create(&holder, a.visit, &hash(), later)
            }),
        ),
        (
            "bearer takes a session for another visit",
            fixture.of_role(Role::Bearer),
            attempt(move |tx| tx.session_create(&patient_holder, theirs, &hash(), later)),
        ),
        (
            "bearer guesses a link",
            fixture.of_role(Role::Bearer),
            attempt(|tx| tx.link_redeem(&hash())),
        ),
        (
            "bearer guesses a session",
            fixture.of_role(Role::Bearer),
            attempt(|tx| tx.session_authenticate(&hash())),
        ),
        (
            "bearer reads a visit",
            fixture.of_role(Role::Bearer),
            attempt(move |tx| tx.visit_read(a.visit)),
        ),
        (
            "operator reads a visit",
            fixture.of_role(Role::Operator),
            attempt(move |tx| tx.visit_read(a.visit)),
        ),
        (
            "operator lists",
            fixture.of_role(Role::Operator),
            attempt(|tx| tx.visit_list(Timestamp::MIN, Timestamp::MAX)),
        ),
        (
            "bearer guesses an operator's token",
            fixture.of_role(Role::Bearer),
            attempt(|tx| tx.operator_authenticate(&hash())),
        ),
        (
            "clinician reads quality records",
            fixture.clinician(),
            attempt(move |tx| tx.quality_read(a.visit)),
        ),
        (
            "patient reads quality records",
            fixture.patient(),
            attempt(move |tx| tx.quality_since(&QualityPlace::before(Timestamp::MIN))),
        ),
        (
            "system reads quality records",
            fixture.of_role(Role::System),
            attempt(|tx| tx.quality_latest()),
        ),
        (
            "operator writes quality records",
            fixture.of_role(Role::Operator),
            attempt(move |tx| tx.quality_keep(a.visit, &[], SignedDuration::ZERO)),
        ),
        (
            "clinician makes an operator",
            fixture.clinician(),
            attempt(move |tx| tx.operator_create(&hash(), later)),
        ),
        (
            "system reads names",
            fixture.of_role(Role::System),
            attempt(move |tx| tx.visit_read(a.visit)),
        ),
        (
            "system joins a person of another clinic",
            fixture.of_role(Role::System),
            attempt(move |tx| tx.visit_join(a.visit, b.patient, PersonKind::Guest)),
        ),
    ];

    let before = rows(&fixture);
    for (what, ctx, work) in attempts {
        let (result, log) = fixture.logged(&ctx, work).await;
        assert!(result.is_err(), "{what}: succeeded");
        if what.starts_with("bearer guesses") {
            // A made-up secret names nobody: it is counted, and a stranger cannot grow the log with it.
            assert!(log.is_empty(), "{what}: {log:?}");
            continue;
        }
        assert_eq!(log.len(), 1, "{what}: {log:?}");
        assert_ne!(log[0].outcome, "ok", "{what}");
        assert_eq!(log[0].role, ctx.role().word(), "{what}");
    }
    assert_eq!(rows(&fixture), before, "an attempt changed something");
}

/// What is stored, apart from the audit log.
fn rows(fixture: &Fixture) -> Vec<String> {
    let db = fixture.raw();
    let tables = [
        "clinics",
        "people",
        "appointments",
        "visits",
        "visit_people",
        "join_links",
        "sessions",
        "visit_quality",
        "operators",
    ];
    let mut all = Vec::new();
    for table in tables {
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).expect("table");
        let columns = statement.column_count();
        let read = statement.query_map([], |row| {
            let values: Result<Vec<_>, _> = (0..columns).map(|n| row.get::<_, rusqlite::types::Value>(n)).collect();
            values.map(|values| format!("{table} {values:?}"))
        });
        all.extend(read.expect("query").map(|row| row.expect("row")));
    }
    all
}

#[tokio::test]
async fn a_list_holds_own_visits_only() {
    let fixture = Fixture::new().await;
    let ctx = fixture.clinician();
    let list = move |from: Timestamp, to: Timestamp| {
        let (store, ctx) = (fixture.store.clone(), ctx.clone());
        async move {
            let listed = store.tx(&ctx, move |tx| tx.visit_list(from, to)).await;
            listed
                .unwrap_or_else(|cause| panic!("{cause}"))
                .iter()
                .map(|line| line.visit)
                .collect::<Vec<_>>()
        }
    };
    let minute = SignedDuration::from_mins(1);
    let end = start() + 30 * minute;
    assert_eq!(list(Timestamp::MIN, Timestamp::MAX).await, [fixture.a.visit]);
    assert_eq!(list(start() - minute, start()).await, []);
    assert_eq!(list(start(), start() + minute).await, [fixture.a.visit]);
    assert_eq!(list(end - minute, end).await, [fixture.a.visit]);
    assert_eq!(list(end, end + minute).await, []);
}

#[tokio::test]
async fn a_clinician_who_is_a_guest_somewhere_reads_and_does_no_more() {
    let fixture = Fixture::new().await;
    let (a, theirs, colleague) = (fixture.a, fixture.colleagues_visit, fixture.colleague);
    let later = start() + SignedDuration::from_hours(1);
    let joined = fixture.store.tx(&system(), move |tx| {
        tx.visit_join(theirs, a.clinician, PersonKind::Guest)
    });
    joined.await.expect("joined");
    let holder = fixture.holder(a.visit, a.clinician).await;

    let ctx = fixture.clinician();
    let read = fixture.store.tx(&ctx, move |tx| tx.visit_read(theirs)).await;
    assert!(read.is_ok());
    let attempts = [
        attempt(move |tx| tx.visit_cancel(theirs)),
        attempt(move |tx| tx.link_create(theirs, colleague, &hash(), later)),
        attempt(move |tx| tx.link_create(theirs, a.clinician, &hash(), later)),
        attempt(move |tx| tx.link_revoke(theirs)),
        attempt(move |tx| tx.session_create(&holder, theirs, &hash(), later)),
    ];
    for (number, work) in attempts.into_iter().enumerate() {
        let refused = fixture.store.tx(&ctx, work).await;
        assert!(matches!(refused, Err(StoreError::NotFound)), "attempt {number}");
    }
    let listed = fixture
        .store
        .tx(&ctx, |tx| tx.visit_list(Timestamp::MIN, Timestamp::MAX))
        .await;
    assert_eq!(listed.unwrap_or_else(|cause| panic!("{cause}")).len(), 1);
}
