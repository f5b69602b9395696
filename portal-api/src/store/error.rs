//! What can go wrong in the store.

/// Why a transaction did nothing. Whatever the reason, all of it was undone, and the attempt is in the audit log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// This role may not do this.
    #[error("this role may not do this")]
    Denied,
    /// No such row, or none this context may see: the two are not told apart.
    #[error("there is no such thing, or it may not be seen")]
    NotFound,
    /// The row's state does not allow it.
    #[error("not possible as things stand: {0}")]
    Conflict(Conflict),
    /// The token was known, but is good no more.
    #[error("the token is good no more: {0}")]
    Stale(Stale),
    /// The work panicked: a bug. All of it was undone; the panic is in the server's log, what it touched in the audit log.
    #[error("a bug: the work panicked")]
    Panicked,
    /// Not done: too many requests wait, another process holds the database, or it did not take the commit.
    #[error("the store cannot take this at the moment")]
    Unavailable,
    /// The database refused.
    #[error("the database refused")]
    Database(#[from] rusqlite::Error),
}

/// Which state stood in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The visit has begun or is over.
    #[error("the visit has begun or is over")]
    VisitNotScheduled,
}

/// Why a known token is good no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// Its time, or its link's, is over.
    #[error("expired")]
    Expired,
    /// It was taken back.
    #[error("revoked")]
    Revoked,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or file could not be made or read.
    #[error("cannot use the data directory")]
    Directory(#[source] std::io::Error),
    /// There is no database, and none was to be made.
    #[error("nothing is stored there")]
    Missing,
    /// The database was last used by an older program, and was not to be brought up to date.
    #[error("the database is at version {found}, this program needs {known}")]
    Older {
        /// The database's version.
        found: i64,
        /// This program's version.
        known: i64,
    },
    /// Not a database, damaged, or locked.
    #[error("cannot open the database")]
    Database(#[from] rusqlite::Error),
    /// The database is older than this program remembers it: a migration was edited after it had been applied.
    #[error("migration {version} in the database differs from the one in this program")]
    MigrationChanged {
        /// Its number.
        version: i64,
    },
    /// The database was used by a newer program; going back is not possible.
    #[error("the database is at version {found}, this program knows {known}: use the newer program again")]
    Newer {
        /// The database's version.
        found: i64,
        /// This program's version.
        known: i64,
    },
    /// The operating system gave no thread.
    #[error("cannot start the store's thread")]
    Thread(#[source] std::io::Error),
}
