//! Everything that is stored, behind one door: [`Store::tx`].
//!
//! A transaction needs a [`Ctx`]. Inside it, the only way to the database is `Tx::access`, which asks the permission table, and
//! writes the audit row in the same transaction, whatever comes of it (docs/decisions/0005 has the exceptions). The connection lives on one thread; transactions that
//! arrive together share one commit, and none is answered before that commit is on disk (WAL, `synchronous=FULL`).
//!
//! SQL stands in the common subset of SQLite and PostgreSQL, one constant per query beside the method that uses it, with `$n`
//! parameters in order of appearance, which mean the same to both.

mod audit;
mod ctx;
mod error;
mod links;
mod migrate;
mod operators;
mod people;
mod permissions;
mod quality;
mod thread;
mod visits;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::oneshot;

pub use audit::AuditRow;
pub use ctx::{Ctx, Purpose, Role};
pub use error::{Conflict, OpenError, Stale, StoreError};
pub use links::{Holder, HolderRole};
pub use operators::Operator;
pub use people::{Clinic, NewClinic, PROBE_CLINIC, PersonKind};
pub use permissions::Action;
pub use quality::{MeasuredVisit, NewQuality, QualityPlace, QualityRow};
pub use visits::{ListedVisit, NewVisit, VisitDetails, VisitOutline, VisitProgress, VisitStatus};

use crate::clock::Clock;
use permissions::Reach;

/// The store. Cheap to clone; the database closes when the last clone is gone.
#[derive(Clone)]
pub struct Store {
    thread: thread::Handle,
}

impl Store {
    /// Opens or creates the database in `directory`, and brings its schema up to date. Several processes may have it open.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let mut db = thread::connect(directory)?;
        migrate::migrate(&mut db, clock.now())?;
        Ok(Self {
            thread: thread::start(db, clock)?,
        })
    }

    /// Opens the database in `directory` as it is: makes nothing, and brings nothing up to date.
    ///
    /// # Errors
    /// [`OpenError::Missing`], [`OpenError::Older`]; see [`OpenError`].
    pub fn open_as_it_is(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let db = thread::connect_existing(directory)?;
        migrate::check(&db)?;
        Ok(Self {
            thread: thread::start(db, clock)?,
        })
    }

    /// Runs `work` as one transaction in this context. When this returns `Ok`, the changes and their audit rows are on disk. When it
    /// returns an error, nothing was changed, and the attempt is in the audit log (unless the database itself is out of order, or all
    /// there was is a secret that nobody holds).
    ///
    /// # Errors
    /// What `work` returned, or [`StoreError::Unavailable`], [`StoreError::Database`].
    pub fn tx<T, F>(&self, ctx: &Ctx, work: F) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (thread, ctx) = (self.thread.clone(), ctx.clone());
        async move {
            let (reply, answer) = oneshot::channel();
            thread.submit(move |db: &Connection, now: Timestamp| {
                let result = run(db, &ctx, now, work);
                // The caller may be gone; what was done stays done.
                move || drop(reply.send(result))
            })?;
            answer.await.unwrap_or(Err(StoreError::Unavailable))
        }
    }

    /// Whether the database takes a commit. Touches nothing but a row of its own, hence no context.
    ///
    /// # Errors
    /// As [`Store::tx`].
    pub async fn probe(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.thread.submit(move |db: &Connection, now: Timestamp| {
            let result = db.execute(PROBE, [now.as_microsecond()]);
            move || drop(reply.send(result.map(drop).map_err(StoreError::from)))
        })?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }
}

const PROBE: &str = "UPDATE probe SET at = $1 WHERE id = 1";

/// One job: the work inside a savepoint of its own, then its audit rows, kept even if the work is undone or panicked.
fn run<T>(
    db: &Connection,
    ctx: &Ctx,
    now: Timestamp,
    work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let tx = Tx {
        db,
        ctx,
        now,
        entries: RefCell::default(),
    };
    db.execute_batch("SAVEPOINT work")?;
    // A panic is a bug in one query. What it had begun to look at is known, and belongs into the log as much as any other failure.
    let result = catch_unwind(AssertUnwindSafe(|| work(&tx))).unwrap_or(Err(StoreError::Panicked));
    if result.is_err() {
        db.execute_batch("ROLLBACK TO work")?;
    }
    let written = tx
        .entries
        .take()
        .into_iter()
        .try_for_each(|entry| audit::append(db, ctx, entry, result.is_ok(), now));
    match written {
        Ok(()) => {
            db.execute_batch("RELEASE work")?;
            result
        }
        // What cannot be audited does not happen.
        Err(cause) => {
            db.execute_batch("ROLLBACK TO work; RELEASE work")?;
            Err(cause.into())
        }
    }
}

/// A transaction in progress. Its methods, in the files beside this one, are all that can be done with the store.
pub struct Tx<'a> {
    db: &'a Connection,
    ctx: &'a Ctx,
    now: Timestamp,
    entries: RefCell<Vec<audit::Entry>>,
}

impl Tx<'_> {
    /// The instant of this transaction.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The only way to the database: permission is asked, and the audit entry begun.
    fn access(&self, action: Action) -> Result<Access<'_>, StoreError> {
        let Some(reach) = permissions::reach(self.ctx, action) else {
            self.entries.borrow_mut().push(audit::Entry::denied(action));
            return Err(StoreError::Denied);
        };
        Ok(Access {
            db: self.db,
            reach,
            entries: &self.entries,
            entry: Some(audit::Entry::new(action)),
        })
    }
}

/// A permitted access; its entry reaches the log when it is dropped.
struct Access<'a> {
    db: &'a Connection,
    reach: Reach,
    entries: &'a RefCell<Vec<audit::Entry>>,
    entry: Option<audit::Entry>,
}

impl Access<'_> {
    fn db(&self) -> &Connection {
        self.db
    }

    fn reach(&self) -> Reach {
        self.reach
    }

    fn object(&mut self, kind: &str, id: impl std::fmt::Display) {
        if let Some(entry) = &mut self.entry {
            entry.object(kind, id);
        }
    }

    /// A secret that nobody holds was presented. There is nobody and nothing to write a row about, and strangers can do it without
    /// end in a log that is kept for years: the one access that leaves no row. [`crate::Portal`] counts it.
    fn met_nobody(mut self) {
        self.entry = None;
    }
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        self.entries.borrow_mut().extend(self.entry.take());
    }
}

/// Reads an instant, stored as microseconds.
fn instant(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let micros: i64 = row.get(column)?;
    Timestamp::from_microsecond(micros).map_err(|cause| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Integer, Box::new(cause))
    })
}

/// A text column that stands for an enum; a word this program does not know is a database error.
macro_rules! word_column {
    ($name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $name {
            /// As it is stored.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl rusqlite::types::FromSql for $name {
            fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
                match value.as_str()? {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(rusqlite::types::FromSqlError::InvalidType),
                }
            }
        }

        impl rusqlite::types::ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                Ok(rusqlite::types::ToSqlOutput::from(self.word()))
            }
        }
    };
}
use word_column;
