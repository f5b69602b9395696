//! The audit log. An entry is formed here and nowhere else, and [`append`] is the only statement that writes one: this is where
//! the Merkle log (#11) will take its leaves.

use std::fmt::Write as _;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::ctx::Ctx;
use super::permissions::Action;
use crate::limits::AUDIT_OBJECTS;

const APPEND: &str = "INSERT INTO audit (seq, at, actor, role, clinic, purpose, request, action, objects, outcome) \
    SELECT COALESCE(MAX(seq), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9 FROM audit";
const LIST: &str = "SELECT seq, at, actor, role, clinic, purpose, request, action, objects, outcome \
    FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";

/// What came of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done, and committed with this very row.
    Ok,
    /// The role has no such permission.
    Denied,
    /// Not done: the transaction was undone (not found, conflict, fault).
    Failed,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// One access: what was done to which objects.
pub(super) struct Entry {
    action: Action,
    /// `kind:id` words, with a space between. Ids only.
    objects: String,
    count: usize,
    denied: bool,
}

impl Entry {
    pub(super) fn new(action: Action) -> Self {
        Self {
            action,
            objects: String::new(),
            count: 0,
            denied: false,
        }
    }

    pub(super) fn denied(action: Action) -> Self {
        Self {
            denied: true,
            ..Self::new(action)
        }
    }

    /// Names an object; beyond [`AUDIT_OBJECTS`] they are counted only.
    pub(super) fn object(&mut self, kind: &str, id: impl std::fmt::Display) {
        self.count += 1;
        if self.count <= AUDIT_OBJECTS {
            let space = if self.objects.is_empty() { "" } else { " " };
            write!(self.objects, "{space}{kind}:{id}").expect("writing to a string does not fail");
        }
    }
}

/// Writes an entry. `done` says whether the transaction it belongs to is going to be kept.
pub(super) fn append(db: &Connection, ctx: &Ctx, mut entry: Entry, done: bool, now: Timestamp) -> rusqlite::Result<()> {
    let outcome = match (entry.denied, done) {
        (true, _) => Outcome::Denied,
        (false, true) => Outcome::Ok,
        (false, false) => Outcome::Failed,
    };
    if entry.count > AUDIT_OBJECTS {
        let more = entry.count - AUDIT_OBJECTS;
        write!(entry.objects, " more:{more}").expect("writing to a string does not fail");
    }
    db.prepare_cached(APPEND)?.execute(params![
        now.as_microsecond(),
        ctx.actor_text(),
        ctx.role.word(),
        ctx.clinic(),
        ctx.purpose.word(),
        ctx.request,
        entry.action.word(),
        entry.objects,
        outcome.word(),
    ])?;
    Ok(())
}

/// A row of the audit log, as it is read. Ids and words, no names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AuditRow {
    /// Its number, from 1, without gaps.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// A person's id, or the part of the product that acted.
    pub actor: String,
    /// See [`super::Role::word`].
    pub role: String,
    /// The actor's clinic, if it has one.
    pub clinic: Option<String>,
    /// See [`super::Purpose::word`].
    pub purpose: String,
    /// The request's id.
    pub request: String,
    /// See [`Action::word`].
    pub action: String,
    /// `kind:id` words.
    pub objects: String,
    /// `ok`, `denied` or `failed`.
    pub outcome: String,
}

impl super::Tx<'_> {
    /// Rows of the audit log after number `after`, at most `limit`.
    ///
    /// # Errors
    /// See [`super::StoreError`].
    pub fn audit_read(&self, after: i64, limit: usize) -> Result<Vec<AuditRow>, super::StoreError> {
        let access = self.access(Action::AuditRead)?;
        let mut statement = access.db().prepare_cached(LIST)?;
        let rows = statement.query_map(params![after, limit as i64], |row| {
            Ok(AuditRow {
                seq: row.get(0)?,
                at: super::instant(row, 1)?,
                actor: row.get(2)?,
                role: row.get(3)?,
                clinic: row.get(4)?,
                purpose: row.get(5)?,
                request: row.get(6)?,
                action: row.get(7)?,
                objects: row.get(8)?,
                outcome: row.get(9)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
