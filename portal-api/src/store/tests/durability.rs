//! Commits shared by many, two processes at once, faults, and what is there after opening again.

use std::sync::Arc;

use super::fixture::{Fixture, start, system};
use crate::clock::ManualClock;
use crate::store::{OpenError, Store, StoreError, VisitProgress, VisitStatus};

#[tokio::test]
async fn transactions_that_come_together_are_all_done() {
    let fixture = Fixture::new().await;
    let (before, visit) = (fixture.log().len(), fixture.a.visit);
    let ctx = system();
    let all = (0..200).map(|_| fixture.store.tx(&ctx, move |tx| tx.visit_outline(visit)));
    for result in futures_util::future::join_all(all).await {
        assert!(result.is_ok());
    }
    let log = fixture.log();
    assert_eq!(log.len(), before + 200);
    assert!(log.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
}

#[tokio::test]
async fn one_failure_does_not_undo_its_neighbours() {
    let fixture = Fixture::new().await;
    let (a, b) = (fixture.a, fixture.b);
    let ctx = system();
    let end = |visit| {
        fixture.store.tx(&ctx, move |tx| {
            tx.visit_event(visit, VisitProgress::Over(VisitStatus::Ended), &[])
        })
    };
    let failing = fixture.store.tx(&ctx, move |tx| {
        tx.visit_event(a.visit, VisitProgress::Over(VisitStatus::Cancelled), &[])?;
        Err::<(), _>(StoreError::NotFound)
    });
    let panicking = fixture.store.tx(&ctx, move |tx| -> Result<(), StoreError> {
        tx.visit_event(a.visit, VisitProgress::Over(VisitStatus::Cancelled), &[])?;
        panic!("a bug in one query")
    });
    let before = fixture.log().len();
    let (first, failed, panicked, last) = tokio::join!(end(b.visit), failing, panicking, end(a.visit));
    assert!(first.is_ok() && last.is_ok());
    assert!(matches!(failed, Err(StoreError::NotFound)));
    assert!(matches!(panicked, Err(StoreError::Panicked)));
    let left: Vec<_> = fixture.log().split_off(before);
    let left: Vec<_> = left
        .iter()
        .map(|row| (row.action.as_str(), row.outcome.as_str()))
        .collect();
    let row = |outcome| ("visit.event", outcome);
    assert_eq!(
        left,
        [row("ok"), row("failed"), row("failed"), row("ok")],
        "a panic leaves its row too"
    );
    let outline = fixture.store.tx(&ctx, move |tx| tx.visit_outline(a.visit)).await;
    assert_eq!(outline.expect("there").status, VisitStatus::Ended);
}

#[tokio::test]
async fn a_command_works_beside_a_running_server() {
    let fixture = Fixture::new().await;
    let (visit, ctx) = (fixture.a.visit, system());
    let command = Store::open(fixture.directory.path(), fixture.clock.clone()).expect("opened twice");
    let (here, there) = (fixture.store.clone(), command.clone());
    for _ in 0..20 {
        let one = here.tx(&ctx, move |tx| tx.visit_outline(visit));
        let other = there.tx(&ctx, move |tx| tx.visit_event(visit, VisitProgress::Noted, &[]));
        let (one, other) = tokio::join!(one, other);
        assert!(one.is_ok() && other.is_ok());
    }
    let log = fixture.log();
    assert!(log.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
}

#[tokio::test]
async fn everything_is_there_after_opening_again() {
    let fixture = Fixture::new().await;
    let (visit, before) = (fixture.a.visit, fixture.log());
    let again = Store::open(fixture.directory.path(), fixture.clock.clone()).expect("opened again");
    assert_eq!(fixture.log(), before);
    let outline = again.tx(&system(), move |tx| tx.visit_outline(visit)).await;
    assert_eq!(outline.expect("there").clinic, fixture.a.clinic);
}

#[tokio::test]
async fn the_connection_is_durable_and_strict() {
    let fixture = Fixture::new().await;
    let db = crate::store::thread::connect(fixture.directory.path()).expect("connected");
    let pragma = |name: &str| -> String {
        let value = db.query_row(&format!("PRAGMA {name}"), [], |row| {
            row.get::<_, rusqlite::types::Value>(0)
        });
        format!("{:?}", value.expect("a value"))
    };
    assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
    assert_eq!(pragma("synchronous"), "Integer(2)");
    assert_eq!(pragma("foreign_keys"), "Integer(1)");
    assert_eq!(pragma("trusted_schema"), "Integer(0)");
    assert_eq!(pragma("integrity_check"), "Text(\"ok\")");
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().expect("a temporary directory");
    let directory = parent.path().join("data");
    let store = Store::open(&directory, Arc::new(ManualClock::new(start()))).expect("a new store");
    store.probe().await.expect("writable");
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = std::fs::read_dir(&directory)
        .expect("there")
        .map(|entry| entry.expect("entry").path())
        .collect();
    assert!(files.len() >= 2);
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn what_is_no_database_is_refused_in_words() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(
        directory.path().join("housecall.sqlite3"),
        "not a database, but long enough to look like one",
    )
    .expect("written");
    let refused = Store::open(directory.path(), Arc::new(ManualClock::new(start())));
    assert!(matches!(refused, Err(OpenError::Database(_))));

    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("written");
    let refused = Store::open(&file.join("data"), Arc::new(ManualClock::new(start())));
    assert!(matches!(refused, Err(OpenError::Directory(_))));
}
