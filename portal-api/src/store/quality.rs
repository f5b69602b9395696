//! Quality records of visits: written by the live visits, read by operators. Ids and numbers only.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, params};

use super::permissions::Action;
use super::{PersonKind, StoreError, Tx, instant};
use crate::ids::VisitId;
use crate::limits::QUALITY_ROWS;

/// A participant keeps the beginning it was first stored with, whatever the clock has done since.
const KEEP: &str = "INSERT INTO visit_quality (visit, participant, role, culprit, started_at, updated_at, record) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) \
    ON CONFLICT (visit, participant) DO UPDATE SET \
    culprit = excluded.culprit, updated_at = excluded.updated_at, record = excluded.record";
const EXPIRED: &str = "DELETE FROM visit_quality WHERE updated_at < $1";
const READ: &str = "SELECT visit, participant, role, culprit, started_at, updated_at, record FROM visit_quality \
    WHERE visit = $1 ORDER BY started_at, participant LIMIT $2";
/// In the order of their last change, from a place on: a row that changes meanwhile comes again later, none is passed over.
const SINCE: &str = "SELECT visit, participant, role, culprit, started_at, updated_at, record FROM visit_quality \
    WHERE (updated_at, visit, participant) > ($1, $2, $3) ORDER BY updated_at, visit, participant LIMIT $4";
const LATEST: &str = "SELECT visit, MIN(started_at), MAX(updated_at), COUNT(*), \
    (SELECT w.culprit FROM visit_quality w WHERE w.visit = q.visit AND w.culprit <> 'nobody' \
     ORDER BY w.updated_at DESC, w.participant LIMIT 1) \
    FROM visit_quality q GROUP BY visit ORDER BY MAX(updated_at) DESC, visit LIMIT $1";

/// A record to be stored.
pub struct NewQuality {
    /// The participant: a stay, not a person.
    pub participant: String,
    /// Their role.
    pub role: PersonKind,
    /// Who caused most of the trouble.
    pub culprit: String,
    /// How long the participant was there.
    pub age: SignedDuration,
    /// The record, JSON without personal data.
    pub record: String,
}

/// A stored record. No personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualityRow {
    /// The visit.
    pub visit: VisitId,
    /// The participant.
    pub participant: String,
    /// Their role.
    pub role: PersonKind,
    /// Who caused most of the trouble.
    pub culprit: String,
    /// When the participant came.
    pub started_at: Timestamp,
    /// When it was stored.
    pub updated_at: Timestamp,
    /// The record, JSON.
    pub record: String,
}

/// A visit with records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredVisit {
    /// The visit.
    pub visit: VisitId,
    /// When the first participant came.
    pub started_at: Timestamp,
    /// When the last record was stored.
    pub updated_at: Timestamp,
    /// How many records there are.
    pub participants: u32,
    /// Who caused trouble to somebody, if there was any.
    pub culprit: Option<String>,
}

/// A place in the order of last changes: everything after it is later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualityPlace {
    at: i64,
    visit: String,
    participant: String,
}

impl QualityPlace {
    /// Before everything that was stored at this instant or later.
    #[must_use]
    pub fn before(instant: Timestamp) -> Self {
        Self {
            at: instant.as_microsecond(),
            visit: String::new(),
            participant: String::new(),
        }
    }

    /// Behind a row.
    #[must_use]
    pub fn behind(row: &QualityRow) -> Self {
        Self {
            at: row.updated_at.as_microsecond(),
            visit: row.visit.to_string(),
            participant: row.participant.clone(),
        }
    }
}

impl Tx<'_> {
    /// Stores records of a visit in place of those of the same participants, and forgets all that were stored longer than `kept` ago.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn quality_keep(&self, visit: VisitId, records: &[NewQuality], kept: SignedDuration) -> Result<(), StoreError> {
        let mut access = self.access(Action::QualityKeep)?;
        access.object(VisitId::KIND, visit);
        for record in records {
            access.object("participant", &record.participant);
        }
        let oldest = self.now.saturating_sub(kept).unwrap_or(Timestamp::MIN);
        access
            .db()
            .prepare_cached(EXPIRED)?
            .execute([oldest.as_microsecond()])?;
        let mut keep = access.db().prepare_cached(KEEP)?;
        for record in records {
            let started_at = self.now.saturating_sub(record.age).unwrap_or(Timestamp::MIN);
            keep.execute(params![
                visit,
                record.participant,
                record.role,
                record.culprit,
                started_at.as_microsecond(),
                self.now.as_microsecond(),
                record.record,
            ])?;
        }
        Ok(())
    }

    /// The records of one visit, in the order of coming.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there are none; see [`StoreError`].
    pub fn quality_read(&self, visit: VisitId) -> Result<Vec<QualityRow>, StoreError> {
        let mut access = self.access(Action::QualityRead)?;
        access.object(VisitId::KIND, visit);
        let mut statement = access.db().prepare_cached(READ)?;
        let found = statement.query_map(params![visit, QUALITY_ROWS as i64], row)?;
        let rows: Vec<QualityRow> = found.collect::<Result<_, _>>()?;
        if rows.is_empty() {
            return Err(StoreError::NotFound);
        }
        Ok(rows)
    }

    /// At most [`QUALITY_ROWS`] records behind a place, in the order of their last change.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn quality_since(&self, place: &QualityPlace) -> Result<Vec<QualityRow>, StoreError> {
        let mut access = self.access(Action::QualityRead)?;
        let rows: Vec<QualityRow> = access
            .db()
            .prepare_cached(SINCE)?
            .query_map(
                params![place.at, place.visit, place.participant, QUALITY_ROWS as i64],
                row,
            )?
            .collect::<Result<_, _>>()?;
        let mut last = None;
        for row in &rows {
            if last.replace(row.visit) != Some(row.visit) {
                access.object(VisitId::KIND, row.visit);
            }
        }
        Ok(rows)
    }

    /// The visits whose records changed last, the newest first, at most [`QUALITY_ROWS`].
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn quality_latest(&self) -> Result<Vec<MeasuredVisit>, StoreError> {
        let mut access = self.access(Action::QualityRead)?;
        let visits: Vec<MeasuredVisit> = access
            .db()
            .prepare_cached(LATEST)?
            .query_map([QUALITY_ROWS as i64], |row| {
                Ok(MeasuredVisit {
                    visit: row.get(0)?,
                    started_at: instant(row, 1)?,
                    updated_at: instant(row, 2)?,
                    participants: row.get(3)?,
                    culprit: row.get(4)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        for visit in &visits {
            access.object(VisitId::KIND, visit.visit);
        }
        Ok(visits)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<QualityRow> {
    Ok(QualityRow {
        visit: row.get(0)?,
        participant: row.get(1)?,
        role: row.get(2)?,
        culprit: row.get(3)?,
        started_at: instant(row, 4)?,
        updated_at: instant(row, 5)?,
        record: row.get(6)?,
    })
}
