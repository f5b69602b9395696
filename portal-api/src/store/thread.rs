//! The thread that owns the connection: jobs in, one commit for all that arrived together, answers out after it.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::mpsc;

use super::error::{OpenError, StoreError};
use crate::clock::Clock;
use crate::limits::{STORE_BATCH, STORE_BUSY, STORE_QUEUE};

/// Gives the caller the result of its job; called after the commit.
type Reply = Box<dyn FnOnce() + Send>;
type Job = Box<dyn FnOnce(&Connection, Timestamp) -> Reply + Send>;

/// "hcal", so that `file` and `sqlite3` know whose database this is.
const APPLICATION_ID: i32 = 0x6863_616c;
const FILE: &str = "housecall.sqlite3";

#[derive(Clone)]
pub(super) struct Handle {
    jobs: mpsc::Sender<Job>,
}

impl Handle {
    /// Queues a job. It runs inside an open transaction; what it returns is called after the commit.
    pub(super) fn submit<R>(
        &self,
        job: impl FnOnce(&Connection, Timestamp) -> R + Send + 'static,
    ) -> Result<(), StoreError>
    where
        R: FnOnce() + Send + 'static,
    {
        let job: Job = Box::new(move |db, now| Box::new(job(db, now)));
        self.jobs.try_send(job).map_err(|_| StoreError::Unavailable)
    }
}

/// Opens the database file, readable by its owner alone.
pub(super) fn connect(directory: &Path) -> Result<Connection, OpenError> {
    create_private(directory).map_err(OpenError::Directory)?;
    prepare(Connection::open(directory.join(FILE))?)
}

/// As [`connect`], but makes nothing: neither a directory nor a file.
pub(super) fn connect_existing(directory: &Path) -> Result<Connection, OpenError> {
    let file = directory.join(FILE);
    // The server makes the file before it writes the first page.
    match std::fs::metadata(&file) {
        Ok(found) if found.len() > 0 => {}
        Ok(_) => return Err(OpenError::Missing),
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(OpenError::Missing);
        }
        Err(cause) => return Err(OpenError::Directory(cause)),
    }
    prepare(Connection::open_with_flags(
        file,
        OpenFlags::default() - OpenFlags::SQLITE_OPEN_CREATE,
    )?)
}

fn prepare(db: Connection) -> Result<Connection, OpenError> {
    db.busy_timeout(STORE_BUSY)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    for (name, value) in [
        ("synchronous", "full"),
        ("foreign_keys", "on"),
        ("trusted_schema", "off"),
    ] {
        db.pragma_update(None, name, value)?;
    }
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn create_private(directory: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        // SQLite gives its side files the permissions of the main one.
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(directory.join(FILE))?;
        Ok(())
    }
    #[cfg(not(unix))]
    std::fs::create_dir_all(directory)
}

pub(super) fn start(db: Connection, clock: Arc<dyn Clock>) -> Result<Handle, OpenError> {
    let (jobs, queue) = mpsc::channel(STORE_QUEUE);
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || serve(&db, &*clock, queue))
        .map_err(OpenError::Thread)?;
    Ok(Handle { jobs })
}

fn serve(db: &Connection, clock: &dyn Clock, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(STORE_BATCH);
    while queue.blocking_recv_many(&mut jobs, STORE_BATCH) > 0 {
        match commit(db, clock, &mut jobs) {
            Ok(replies) => replies.into_iter().for_each(|reply| reply()),
            Err(cause) => tracing::warn!(%cause, "the database did not take a commit"),
        }
        jobs.clear();
    }
}

/// Runs all jobs in one transaction. A job or reply that is dropped tells its caller that nothing was done.
fn commit(db: &Connection, clock: &dyn Clock, jobs: &mut Vec<Job>) -> rusqlite::Result<Vec<Reply>> {
    let mut replies = Vec::with_capacity(jobs.len());
    let tx = rusqlite::Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    for job in jobs.drain(..) {
        // A panic outside of the work itself, which has a net of its own: in the audit log's code, say. Its savepoint is undone, for
        // what cannot be audited does not happen, and the thread goes on serving the others.
        match catch_unwind(AssertUnwindSafe(|| job(&tx, clock.now()))) {
            Ok(reply) => replies.push(reply),
            Err(_) => tx.execute_batch("ROLLBACK TO work; RELEASE work")?,
        }
        // Some faults (disk full, I/O) make SQLite undo the whole transaction at once.
        if tx.is_autocommit() {
            break;
        }
    }
    // Fails if the transaction is gone, and then nobody is told that anything was done.
    tx.commit()?;
    Ok(replies)
}
