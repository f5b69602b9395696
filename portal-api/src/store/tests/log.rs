//! The audit log: each access leaves its row, whatever came of it; no row is changed or lost; no row names anybody.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::fixture::{Fixture, NAMES, name, start, system, visit};
use crate::ids::RequestId;
use crate::secret::{Token, TokenKind};
use crate::store::{Action, Ctx, NewClinic, NewQuality, PersonKind, QualityPlace, Role, StoreError, Tx, VisitProgress};

type Access = Box<dyn FnOnce(&Tx<'_>) -> Result<(), StoreError> + Send>;

fn access<T>(work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static) -> Access {
    Box::new(|tx| work(tx).map(drop))
}

/// Walks every method of [`Tx`] that touches data.
#[tokio::test]
async fn every_access_leaves_its_row() {
    let fixture = Fixture::new().await;
    let a = fixture.a;
    let later = start() + SignedDuration::from_hours(1);
    let holder = fixture.holder(a.visit, a.patient).await;
    let (link, session) = (Token::mint(TokenKind::Link), Token::mint(TokenKind::Session));
    let [link_stored, link_shown] = [link.hash(), link.hash()];
    let [session_stored, session_shown] = [session.hash(), session.hash()];
    let operator = Token::mint(TokenKind::Operator);
    let [operator_stored, operator_shown] = [operator.hash(), operator.hash()];
    let quality = NewQuality {
        participant: "0123456789abcdef".to_owned(),
        role: PersonKind::Patient,
        culprit: "nobody".to_owned(),
        age: SignedDuration::ZERO,
        record: "{}".to_owned(),
    };
    let clinic = NewClinic {
        slug: "c".to_owned(),
        name: "C".to_owned(),
        time_zone: "UTC".to_owned(),
    };

    let accesses: Vec<(Action, Ctx, Access)> = vec![
        (
            Action::ClinicCreate,
            system(),
            access(move |tx| tx.clinic_create(&clinic)),
        ),
        (Action::ClinicFind, system(), access(|tx| tx.clinic_find(None))),
        (
            Action::ClinicFind,
            fixture.clinician(),
            access(|tx| tx.clinic_find(Some("b"))),
        ),
        (
            Action::PersonCreate,
            system(),
            access(move |tx| tx.person_create(a.clinic, PersonKind::Guest, &name("G"))),
        ),
        (
            Action::PersonFind,
            system(),
            access(move |tx| tx.person_first(a.clinic, PersonKind::Patient)),
        ),
        (
            Action::PersonFind,
            system(),
            access(move |tx| tx.person_named(a.clinic, PersonKind::Patient, &name(NAMES[0]))),
        ),
        (
            Action::VisitCreate,
            fixture.clinician(),
            access(move |tx| tx.visit_create(&visit(a.clinic, a.clinician, a.patient))),
        ),
        (
            Action::VisitRead,
            fixture.patient(),
            access(move |tx| tx.visit_read(a.visit)),
        ),
        (
            Action::VisitList,
            fixture.clinician(),
            access(|tx| tx.visit_list(Timestamp::MIN, Timestamp::MAX)),
        ),
        (
            Action::VisitOutline,
            system(),
            access(move |tx| tx.visit_outline(a.visit)),
        ),
        (
            Action::VisitOutline,
            system(),
            access(move |tx| tx.visit_current(a.patient)),
        ),
        (
            Action::LinkCreate,
            fixture.clinician(),
            access(move |tx| tx.link_create(a.visit, a.patient, &link_stored, later)),
        ),
        (
            Action::LinkRedeem,
            fixture.of_role(Role::Bearer),
            access(move |tx| tx.link_redeem(&link_shown)),
        ),
        (
            Action::SessionCreate,
            fixture.of_role(Role::Bearer),
            access(move |tx| tx.session_create(&holder, a.visit, &session_stored, later)),
        ),
        (
            Action::SessionAuthenticate,
            fixture.of_role(Role::Bearer),
            access(move |tx| tx.session_authenticate(&session_shown)),
        ),
        (
            Action::LinkRevoke,
            fixture.clinician(),
            access(move |tx| tx.link_revoke(a.visit)),
        ),
        (
            Action::VisitEvent,
            system(),
            access(move |tx| {
                tx.visit_event(
                    a.visit,
                    VisitProgress::Admitted(a.patient),
                    &[("event", "admitted".to_owned())],
                )
            }),
        ),
        (
            Action::AuditRead,
            fixture.of_role(Role::Operator),
            access(|tx| tx.audit_read(0, 5)),
        ),
        (
            Action::QualityKeep,
            system(),
            access(move |tx| tx.quality_keep(a.visit, &[quality], SignedDuration::from_hours(1))),
        ),
        (
            Action::QualityRead,
            fixture.of_role(Role::Operator),
            access(move |tx| tx.quality_read(a.visit)),
        ),
        (
            Action::QualityRead,
            fixture.of_role(Role::Operator),
            access(|tx| tx.quality_since(&QualityPlace::before(start()))),
        ),
        (
            Action::QualityRead,
            fixture.of_role(Role::Operator),
            access(|tx| tx.quality_latest()),
        ),
        (
            Action::OperatorCreate,
            system(),
            access(move |tx| tx.operator_create(&operator_stored, later)),
        ),
        (
            Action::OperatorAuthenticate,
            fixture.of_role(Role::Bearer),
            access(move |tx| tx.operator_authenticate(&operator_shown)),
        ),
    ];
    let mut seen = BTreeSet::from([Action::VisitJoin, Action::VisitCancel]);
    for (action, ctx, work) in accesses {
        let (result, log) = fixture.logged(&ctx, work).await;
        assert!(result.is_ok(), "{action:?}: {result:?}");
        let [row] = &log[..] else {
            panic!("{action:?} left {} rows", log.len())
        };
        assert_eq!((row.action.as_str(), row.outcome.as_str()), (action.word(), "ok"));
        assert_eq!(row.request, ctx.request().to_string(), "{action:?}");
        assert_eq!(row.at, start(), "{action:?}");
        assert!(
            action == Action::AuditRead || !row.objects.is_empty(),
            "{action:?} names no object"
        );
        seen.insert(action);
    }

    let guest = fixture.store.tx(&system(), move |tx| {
        tx.person_create(a.clinic, PersonKind::Guest, &name("G"))
    });
    let guest = guest.await.expect("a guest");
    let (joined, log) = fixture
        .logged(&system(), move |tx| tx.visit_join(a.visit, guest, PersonKind::Guest))
        .await;
    assert!(joined.is_ok() && log[0].objects == format!("visit:{} person:{guest}", a.visit));
    let theirs = fixture.b;
    let ctx = fixture.holder(theirs.visit, theirs.clinician).await;
    let ctx = ctx.ctx(crate::store::Purpose::Treatment, RequestId::random());
    let (cancelled, log) = fixture.logged(&ctx, move |tx| tx.visit_cancel(theirs.visit)).await;
    assert!(cancelled.is_ok() && log.len() == 1 && log[0].actor == theirs.clinician.to_string());
    assert_eq!(log[0].clinic, Some(theirs.clinic.to_string()));

    assert_eq!(
        seen,
        BTreeSet::from(Action::ALL),
        "an action that no access here performs"
    );
}

#[tokio::test]
async fn a_transaction_that_fails_is_undone_and_written_down() {
    let fixture = Fixture::new().await;
    let a = fixture.a;
    let people = |fixture: &Fixture| -> i64 {
        let count = fixture
            .raw()
            .query_row("SELECT COUNT(*) FROM people", [], |row| row.get(0));
        count.expect("a count")
    };
    let before = people(&fixture);
    let (result, log) = fixture
        .logged(&fixture.clinician(), move |tx| {
            tx.person_create(a.clinic, PersonKind::Patient, &name("N"))?;
            tx.visit_outline(a.visit)
        })
        .await;
    assert!(matches!(result, Err(StoreError::Denied)));
    assert_eq!(people(&fixture), before);
    let outcomes: Vec<_> = log
        .iter()
        .map(|row| (row.action.as_str(), row.outcome.as_str()))
        .collect();
    assert_eq!(outcomes, [("person.create", "failed"), ("visit.outline", "denied")]);
}

#[tokio::test]
async fn the_log_only_grows() {
    let fixture = Fixture::new().await;
    let before = fixture.log();
    assert!(before.len() > 10);
    let db = fixture.raw();
    for attempt in [
        "DELETE FROM audit",
        "DELETE FROM audit WHERE seq = 1",
        "UPDATE audit SET actor = 'nobody'",
        "UPDATE audit SET seq = seq + 100 WHERE seq = 1",
        "REPLACE INTO audit SELECT 1, at, 'x', role, clinic, purpose, request, action, objects, outcome FROM audit WHERE seq = 1",
        "INSERT OR REPLACE INTO audit SELECT seq, at, 'x', role, clinic, purpose, request, action, objects, outcome FROM audit",
        "INSERT INTO audit SELECT 0, at, 'x', role, clinic, purpose, request, action, objects, outcome FROM audit WHERE seq = 1",
    ] {
        assert!(db.execute(attempt, []).is_err(), "{attempt}");
    }
    assert_eq!(fixture.log(), before);
    let numbers: Vec<i64> = before.iter().map(|row| row.seq).collect();
    assert_eq!(numbers, (1..=before.len() as i64).collect::<Vec<_>>(), "a gap");
}

#[tokio::test]
async fn an_operator_reads_the_log_in_pages_and_finds_no_names_or_secrets_in_it() {
    let fixture = Fixture::new().await;
    let secret = Token::mint(TokenKind::Link);
    let (stored, a) = (secret.hash(), fixture.a);
    let later = start() + SignedDuration::from_hours(1);
    let made = fixture.store.tx(&fixture.clinician(), move |tx| {
        tx.link_create(a.visit, a.patient, &stored, later)
    });
    made.await.expect("a link");
    let (_, _) = fixture
        .logged(&fixture.patient(), move |tx| tx.visit_read(a.visit))
        .await;

    let operator = fixture.of_role(Role::Operator);
    let page = |after: i64| {
        let (store, operator) = (fixture.store.clone(), operator.clone());
        async move {
            store
                .tx(&operator, move |tx| tx.audit_read(after, 4))
                .await
                .expect("allowed")
        }
    };
    let first = page(0).await;
    let second = page(first[3].seq).await;
    assert_eq!((first.len(), second.len(), second[0].seq), (4, 4, 5));

    let text = format!("{:?}", fixture.log());
    for needle in NAMES
        .into_iter()
        .chain([secret.expose(), secret.hash().as_str(), "Berlin"])
    {
        assert!(!text.contains(needle));
    }
}

#[tokio::test]
async fn what_cannot_be_written_down_does_not_happen() {
    let fixture = Fixture::new().await;
    let breaking = "CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no space for audit'); END";
    fixture.raw().execute_batch(breaking).expect("a trigger");
    let a = fixture.a;
    let result = fixture
        .store
        .tx(&fixture.clinician(), move |tx| tx.visit_cancel(a.visit))
        .await;
    assert!(matches!(result, Err(StoreError::Database(_))));
    fixture.raw().execute_batch("DROP TRIGGER broken").expect("dropped");
    let outline = fixture
        .store
        .tx(&system(), move |tx| tx.visit_outline(a.visit))
        .await
        .expect("there");
    assert_eq!(outline.status, crate::store::VisitStatus::Scheduled);
}

#[tokio::test]
async fn a_log_row_names_a_bounded_number_of_objects() {
    let mut entry = crate::store::audit::Entry::new(Action::VisitList);
    for n in 0..crate::limits::AUDIT_OBJECTS + 7 {
        entry.object("visit", n);
    }
    let fixture = Fixture::new().await;
    crate::store::audit::append(&fixture.raw(), &system(), entry, true, start()).expect("appended");
    let last = fixture.log().pop().expect("a row");
    assert!(last.objects.ends_with(" more:7"));
    assert_eq!(last.objects.split(' ').count(), crate::limits::AUDIT_OBJECTS + 1);
}

#[tokio::test]
async fn secrets_are_stored_as_hashes_only() {
    let fixture = Fixture::new().await;
    let (secret, a) = (Token::mint(TokenKind::Link), fixture.a);
    let stored = secret.hash();
    let later = start() + SignedDuration::from_hours(1);
    let made = fixture
        .store
        .tx(&system(), move |tx| tx.link_create(a.visit, a.patient, &stored, later));
    made.await.expect("a link");
    let known = |text: &str| -> i64 {
        let found = fixture.raw().query_row(
            "SELECT COUNT(*) FROM join_links WHERE secret_hash = $1",
            [text],
            |row| row.get(0),
        );
        found.expect("a count")
    };
    assert_eq!(known(secret.hash().as_str()), 1);
    assert_eq!(known(secret.expose()), 0);
}
