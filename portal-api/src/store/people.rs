//! Clinics and people.

use rusqlite::{OptionalExtension, params};

use super::permissions::{Action, Reach};
use super::{StoreError, Tx, word_column};
use crate::ids::{ClinicId, PersonId};
use crate::text::PersonName;

/// The slug of the clinic that holds the rooms of probes, and nobody who is cared for. It is never the first one.
pub const PROBE_CLINIC: &str = "housecall-probe";

const CLINIC_INSERT: &str = "INSERT INTO clinics (id, slug, name, time_zone, created_at) VALUES ($1, $2, $3, $4, $5)";
const CLINIC_BY_SLUG: &str = "SELECT id, time_zone FROM clinics WHERE slug = $1";
const CLINIC_FIRST: &str = "SELECT id, time_zone FROM clinics WHERE slug <> $1 ORDER BY created_at, id LIMIT 1";
const CLINIC_BY_ID: &str = "SELECT id, time_zone FROM clinics WHERE id = $1";
const PERSON_INSERT: &str =
    "INSERT INTO people (id, clinic, kind, display_name, created_at) VALUES ($1, $2, $3, $4, $5)";
const PERSON_FIRST: &str = "SELECT id FROM people WHERE clinic = $1 AND kind = $2 ORDER BY created_at, id LIMIT 1";

const PERSON_NAMED: &str = "SELECT id FROM people \
    WHERE clinic = $1 AND kind = $2 AND display_name = $3 ORDER BY created_at, id LIMIT 1";

/// What a person is to the clinic, for good. The role in one visit has the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PersonKind {
    /// Staff who see patients.
    Clinician,
    /// Somebody who is cared for.
    Patient,
    /// Somebody who joins a visit: family, an interpreter, a device.
    Guest,
}
word_column!(PersonKind { Clinician = "clinician", Patient = "patient", Guest = "guest" });

/// A clinic to be made.
pub struct NewClinic {
    /// Short name for machines, unique.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// IANA time zone name.
    pub time_zone: String,
}

/// A clinic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clinic {
    /// Its id.
    pub id: ClinicId,
    /// IANA time zone name.
    pub time_zone: String,
}

impl Tx<'_> {
    /// Makes a clinic.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn clinic_create(&self, clinic: &NewClinic) -> Result<ClinicId, StoreError> {
        let mut access = self.access(Action::ClinicCreate)?;
        let id = ClinicId::random();
        access.object(ClinicId::KIND, id);
        access.db().prepare_cached(CLINIC_INSERT)?.execute(params![
            id,
            clinic.slug,
            clinic.name,
            clinic.time_zone,
            self.now.as_microsecond(),
        ])?;
        Ok(id)
    }

    /// A clinic by its slug, or the oldest one for `None`. A clinician gets their own, whatever is asked for.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn clinic_find(&self, slug: Option<&str>) -> Result<Clinic, StoreError> {
        let mut access = self.access(Action::ClinicFind)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Clinic {
                id: row.get(0)?,
                time_zone: row.get(1)?,
            })
        };
        let db = access.db();
        let clinic = match (access.reach(), slug) {
            (Reach::OwnVisits { clinic, .. }, _) => db.prepare_cached(CLINIC_BY_ID)?.query_row([clinic], read),
            (Reach::Anything, Some(slug)) => db.prepare_cached(CLINIC_BY_SLUG)?.query_row([slug], read),
            (Reach::Anything, None) => db.prepare_cached(CLINIC_FIRST)?.query_row([PROBE_CLINIC], read),
            (Reach::PresentedSecret, _) => return Err(StoreError::Denied),
        };
        let clinic = clinic.optional()?.ok_or(StoreError::NotFound)?;
        access.object(ClinicId::KIND, clinic.id);
        Ok(clinic)
    }

    /// Enters a person. A clinician can enter patients of their own clinic.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn person_create(&self, clinic: ClinicId, kind: PersonKind, name: &PersonName) -> Result<PersonId, StoreError> {
        let mut access = self.access(Action::PersonCreate)?;
        let allowed = match access.reach() {
            Reach::Anything => true,
            Reach::OwnVisits { clinic: own, .. } => own == clinic && kind == PersonKind::Patient,
            Reach::PresentedSecret => false,
        };
        if !allowed {
            return Err(StoreError::Denied);
        }
        let id = PersonId::random();
        access.object(PersonId::KIND, id);
        access.db().prepare_cached(PERSON_INSERT)?.execute(params![
            id,
            clinic,
            kind,
            name,
            self.now.as_microsecond()
        ])?;
        Ok(id)
    }

    /// The person of this kind who was entered first, by id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn person_first(&self, clinic: ClinicId, kind: PersonKind) -> Result<Option<PersonId>, StoreError> {
        let mut access = self.access(Action::PersonFind)?;
        let person: Option<PersonId> = access
            .db()
            .prepare_cached(PERSON_FIRST)?
            .query_row(params![clinic, kind], |row| row.get(0))
            .optional()?;
        if let Some(person) = person {
            access.object(PersonId::KIND, person);
        }
        Ok(person)
    }

    /// The person of this kind and name who was entered first, by id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn person_named(
        &self,
        clinic: ClinicId,
        kind: PersonKind,
        name: &PersonName,
    ) -> Result<Option<PersonId>, StoreError> {
        let mut access = self.access(Action::PersonFind)?;
        let person: Option<PersonId> = access
            .db()
            .prepare_cached(PERSON_NAMED)?
            .query_row(params![clinic, kind, name], |row| row.get(0))
            .optional()?;
        if let Some(person) = person {
            access.object(PersonId::KIND, person);
        }
        Ok(person)
    }
}
