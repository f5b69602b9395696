//! Numbered migrations, forward only, each remembered with its hash so that an edited one is noticed.

use aws_lc_rs::digest;
use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

use super::error::OpenError;

/// In order of application, the first is number 1. Never edit one that was released: add the next.
const MIGRATIONS: [&str; 2] = [
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_quality.sql"),
];

const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
    (version INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT";
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations')";
const APPLIED: &str = "SELECT version, sha256 FROM schema_migrations ORDER BY version";
const INSERT: &str = "INSERT INTO schema_migrations (version, sha256, applied_at) VALUES ($1, $2, $3)";

/// Brings the database up to date, all or nothing. Safe to run from two processes at once.
pub(super) fn migrate(db: &mut Connection, now: Timestamp) -> Result<(), OpenError> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(CREATE)?;
    for (version, sql, hash) in pending(&tx)? {
        tx.execute_batch(sql)?;
        tx.execute(INSERT, params![version, hash, now.as_microsecond()])?;
    }
    Ok(tx.commit()?)
}

/// Asks whether the database is up to date, and changes nothing.
///
/// # Errors
/// [`OpenError::Older`] if not; else as [`migrate`].
pub(super) fn check(db: &Connection) -> Result<(), OpenError> {
    let known = MIGRATIONS.len() as i64;
    let any: bool = db.query_row(ANY, [], |row| row.get(0))?;
    let missing = if any { pending(db)?.len() as i64 } else { known };
    match missing {
        0 => Ok(()),
        missing => Err(OpenError::Older {
            found: known - missing,
            known,
        }),
    }
}

/// The migrations that are not applied yet: number, text and hash.
fn pending(db: &Connection) -> Result<Vec<(i64, &'static str, String)>, OpenError> {
    let applied: Vec<(i64, String)> = db
        .prepare(APPLIED)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let known = MIGRATIONS.len() as i64;
    if let Some(&(found, _)) = applied.last().filter(|(version, _)| *version > known) {
        return Err(OpenError::Newer { found, known });
    }
    let mut pending = Vec::new();
    for (version, sql) in (1..).zip(MIGRATIONS) {
        let hash = hex::encode(digest::digest(&digest::SHA256, sql.as_bytes()));
        match applied.iter().find(|(number, _)| *number == version) {
            Some((_, stored)) if *stored == hash => {}
            Some(_) => return Err(OpenError::MigrationChanged { version }),
            None => pending.push((version, sql, hash)),
        }
    }
    Ok(pending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated() -> Connection {
        let mut db = Connection::open_in_memory().expect("memory");
        migrate(&mut db, Timestamp::UNIX_EPOCH).expect("first run");
        db
    }

    #[test]
    fn a_second_run_changes_nothing() {
        let mut db = migrated();
        let version = |db: &Connection| db.query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0));
        let before = version(&db).expect("readable");
        migrate(&mut db, Timestamp::UNIX_EPOCH).expect("second run");
        assert_eq!(version(&db).expect("readable"), before);
    }

    #[test]
    fn a_look_at_the_version_changes_nothing() {
        let known = MIGRATIONS.len() as i64;
        let db = migrated();
        check(&db).expect("up to date");
        db.execute("DELETE FROM schema_migrations WHERE version = $1", [known])
            .expect("test edit");
        let before = db.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0));
        let result = check(&db);
        assert!(matches!(result, Err(OpenError::Older { found, .. }) if found == known - 1));
        assert_eq!(db.query_row("PRAGMA data_version", [], |row| row.get(0)), before);

        let empty = Connection::open_in_memory().expect("memory");
        assert!(matches!(check(&empty), Err(OpenError::Older { found: 0, .. })));
        let tables: i64 = empty
            .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
            .expect("readable");
        assert_eq!(tables, 0, "nothing was made");
    }

    #[test]
    fn an_edited_migration_is_noticed() {
        let mut db = migrated();
        db.execute("UPDATE schema_migrations SET sha256 = 'x'", [])
            .expect("test edit");
        let result = migrate(&mut db, Timestamp::UNIX_EPOCH);
        assert!(matches!(result, Err(OpenError::MigrationChanged { version: 1 })));
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let mut db = migrated();
        db.execute(INSERT, params![99, "x", 0]).expect("test edit");
        let result = migrate(&mut db, Timestamp::UNIX_EPOCH);
        assert!(matches!(result, Err(OpenError::Newer { found: 99, .. })));
    }
}
