//! Appointments and visits.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::permissions::{Action, Reach};
use super::{Access, Conflict, PersonKind, StoreError, Tx, instant, word_column};
use crate::ids::{AppointmentId, ClinicId, PersonId, VisitId};
use crate::limits::LIST_ROWS;
use crate::text::PersonName;

const APPOINTMENT_INSERT: &str = "INSERT INTO appointments \
    (id, clinic, clinician, starts_at, ends_at, time_zone, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const VISIT_INSERT: &str = "INSERT INTO visits (id, clinic, appointment, status) VALUES ($1, $2, $3, 'scheduled')";
const MEMBER_INSERT: &str = "INSERT INTO visit_people (clinic, visit, person, role) \
    SELECT clinic, id, $1, $2 FROM visits WHERE id = $3";

/// One visit with names, for somebody who takes part in it.
const READ: &str = "SELECT a.starts_at, a.ends_at, a.time_zone, v.status, c.name, d.display_name, a.clinician \
    FROM visits v \
    JOIN visit_people me ON me.visit = v.id \
    JOIN appointments a ON a.id = v.appointment \
    JOIN clinics c ON c.id = v.clinic \
    JOIN people d ON d.id = a.clinician \
    WHERE v.id = $1 AND v.clinic = $2 AND me.person = $3";
/// A clinician's visits in a range of time. The patient is whoever was entered first as such.
const LIST: &str = "SELECT v.id, a.starts_at, a.ends_at, a.time_zone, v.status, \
    (SELECT p.display_name FROM visit_people m JOIN people p ON p.id = m.person \
     WHERE m.visit = v.id AND m.role = 'patient' ORDER BY p.created_at, p.id LIMIT 1) \
    FROM appointments a \
    JOIN visits v ON v.appointment = a.id \
    JOIN visit_people me ON me.visit = v.id \
    WHERE a.clinic = $1 AND me.person = $2 AND me.role = 'clinician' AND a.starts_at < $3 AND a.ends_at > $4 \
    ORDER BY a.starts_at, v.id LIMIT $5";
const OUTLINE: &str = "SELECT v.clinic, v.status, a.clinician, a.starts_at, a.ends_at, a.time_zone FROM visits v \
    JOIN appointments a ON a.id = v.appointment WHERE v.id = $1";
const OUTLINE_PATIENT: &str = "SELECT m.person FROM visit_people m JOIN people p ON p.id = m.person \
    WHERE m.visit = $1 AND m.role = 'patient' ORDER BY p.created_at, p.id LIMIT 1";
/// The newest visit of a patient that is not over, among those whose appointment lasts at a moment.
const CURRENT: &str = "SELECT v.id FROM visits v \
    JOIN visit_people m ON m.visit = v.id \
    JOIN appointments a ON a.id = v.appointment \
    WHERE m.person = $1 AND m.role = 'patient' AND v.status IN ('scheduled', 'in_progress') \
    AND a.starts_at <= $2 AND a.ends_at > $3 \
    ORDER BY a.created_at DESC, v.id LIMIT 1";
const STATUS_OWN: &str = "SELECT v.status FROM visits v JOIN visit_people me ON me.visit = v.id \
    WHERE v.id = $1 AND v.clinic = $2 AND me.person = $3 AND me.role = 'clinician'";
const CANCEL: &str = "UPDATE visits SET status = 'cancelled', ended_at = $1 WHERE id = $2 AND status = 'scheduled'";
const BEGIN: &str = "UPDATE visits SET status = 'in_progress', started_at = $1 WHERE id = $2 AND status = 'scheduled'";
const END: &str = "UPDATE visits SET status = $1, ended_at = $2 \
    WHERE id = $3 AND status IN ('scheduled', 'in_progress')";
/// Visits in progress that nobody can come back into: the appointment is over, and so is every link. The oldest first.
const LAPSED: &str = "SELECT v.id FROM visits v JOIN appointments a ON a.id = v.appointment \
    WHERE v.status = 'in_progress' AND a.ends_at <= $1 AND NOT EXISTS \
    (SELECT 1 FROM join_links l WHERE l.visit = v.id AND l.revoked_at IS NULL AND l.expires_at > $2) \
    ORDER BY a.ends_at, v.id LIMIT $3";
const ADMIT: &str = "UPDATE visit_people SET admitted_at = $1 WHERE visit = $2 AND person = $3";
const LEAVE: &str = "UPDATE visit_people SET left_at = $1 WHERE visit = $2 AND person = $3";

/// Where a visit is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VisitStatus {
    /// Nobody has been let in yet.
    Scheduled,
    /// Somebody was let in.
    InProgress,
    /// A clinician ended it, or nobody did and nobody can come back.
    Ended,
    /// The appointment was cancelled before it began.
    Cancelled,
}
word_column!(VisitStatus {
    Scheduled = "scheduled",
    InProgress = "in_progress",
    Ended = "ended",
    Cancelled = "cancelled",
});

/// An appointment to be made.
pub struct NewVisit {
    /// The clinic.
    pub clinic: ClinicId,
    /// Who sees the patient.
    pub clinician: PersonId,
    /// Who is seen, if that is known already.
    pub patient: Option<PersonId>,
    /// From.
    pub starts_at: Timestamp,
    /// Until; later than `starts_at`.
    pub ends_at: Timestamp,
    /// IANA name of the zone the time was agreed in.
    pub time_zone: String,
}

/// A visit, for somebody who takes part in it. Carries personal data: no `Debug`.
pub struct VisitDetails {
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// IANA name of the zone the time was agreed in.
    pub time_zone: String,
    /// Where it is in its life.
    pub status: VisitStatus,
    /// The clinic's name.
    pub clinic_name: String,
    /// The clinician's name.
    pub clinician_name: PersonName,
}

/// A line of a clinician's list. Carries personal data: no `Debug`.
pub struct ListedVisit {
    /// The visit.
    pub visit: VisitId,
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// IANA name of the zone the time was agreed in.
    pub time_zone: String,
    /// Where it is in its life.
    pub status: VisitStatus,
    /// The patient's name, if there is a patient yet.
    pub patient_name: Option<PersonName>,
}

/// A visit without names, for the server itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitOutline {
    /// The clinic.
    pub clinic: ClinicId,
    /// Where it is in its life.
    pub status: VisitStatus,
    /// Who sees the patient.
    pub clinician: PersonId,
    /// Who is seen, if anybody was entered.
    pub patient: Option<PersonId>,
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// IANA name of the zone the time was agreed in.
    pub time_zone: String,
}

/// What a live visit's event changes in the visit's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisitProgress {
    /// Nothing but the audit log.
    Noted,
    /// Somebody came in who need not be let in, and it is not the clinician who prepares: the visit is on.
    Began,
    /// Let in: the visit is on, and the person may return without being let in again.
    Admitted(PersonId),
    /// Must be let in before coming again.
    AdmissionLost(PersonId),
    /// Gone, admission unchanged.
    Left(PersonId),
    /// Over: [`VisitStatus::Ended`] or [`VisitStatus::Cancelled`]. A visit that is over stays what it is.
    Over(VisitStatus),
}

impl Tx<'_> {
    /// Makes an appointment and its visit. A clinician makes their own, in their own clinic.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn visit_create(&self, new: &NewVisit) -> Result<VisitId, StoreError> {
        let mut access = self.access(Action::VisitCreate)?;
        let allowed = match access.reach() {
            Reach::Anything => true,
            Reach::OwnVisits { clinic, person, .. } => new.clinic == clinic && new.clinician == person,
            Reach::PresentedSecret => false,
        };
        if !allowed {
            return Err(StoreError::Denied);
        }
        let (appointment, visit) = (AppointmentId::random(), VisitId::random());
        access.object(VisitId::KIND, visit);
        access.object(AppointmentId::KIND, appointment);
        access.db().prepare_cached(APPOINTMENT_INSERT)?.execute(params![
            appointment,
            new.clinic,
            new.clinician,
            new.starts_at.as_microsecond(),
            new.ends_at.as_microsecond(),
            new.time_zone,
            self.now.as_microsecond(),
        ])?;
        access
            .db()
            .prepare_cached(VISIT_INSERT)?
            .execute(params![visit, new.clinic, appointment])?;
        let patient = new.patient.map(|person| (person, PersonKind::Patient));
        for (person, role) in [(new.clinician, PersonKind::Clinician)].into_iter().chain(patient) {
            add_member(&mut access, visit, person, role)?;
        }
        Ok(visit)
    }

    /// One visit, for somebody who takes part in it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn visit_read(&self, visit: VisitId) -> Result<VisitDetails, StoreError> {
        let mut access = self.access(Action::VisitRead)?;
        access.object(VisitId::KIND, visit);
        let (clinic, person) = own(&access, visit)?;
        let found = access
            .db()
            .prepare_cached(READ)?
            .query_row(params![visit, clinic, person], |row| {
                let details = VisitDetails {
                    starts_at: instant(row, 0)?,
                    ends_at: instant(row, 1)?,
                    time_zone: row.get(2)?,
                    status: row.get(3)?,
                    clinic_name: row.get(4)?,
                    clinician_name: row.get(5)?,
                };
                Ok((details, row.get::<_, PersonId>(6)?))
            })
            .optional()?;
        let (details, clinician) = found.ok_or(StoreError::NotFound)?;
        access.object(PersonId::KIND, clinician);
        Ok(details)
    }

    /// A clinician's own visits that touch the time from `from` until before `to`, by start.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn visit_list(&self, from: Timestamp, to: Timestamp) -> Result<Vec<ListedVisit>, StoreError> {
        let mut access = self.access(Action::VisitList)?;
        let Reach::OwnVisits {
            clinic,
            person,
            visit: None,
        } = access.reach()
        else {
            return Err(StoreError::Denied);
        };
        let listed: Vec<ListedVisit> = access
            .db()
            .prepare_cached(LIST)?
            .query_map(
                params![
                    clinic,
                    person,
                    to.as_microsecond(),
                    from.as_microsecond(),
                    LIST_ROWS as i64
                ],
                |row| {
                    Ok(ListedVisit {
                        visit: row.get(0)?,
                        starts_at: instant(row, 1)?,
                        ends_at: instant(row, 2)?,
                        time_zone: row.get(3)?,
                        status: row.get(4)?,
                        patient_name: row.get(5)?,
                    })
                },
            )?
            .collect::<Result<_, _>>()?;
        for line in &listed {
            access.object(VisitId::KIND, line.visit);
        }
        Ok(listed)
    }

    /// A visit without names.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn visit_outline(&self, visit: VisitId) -> Result<VisitOutline, StoreError> {
        let mut access = self.access(Action::VisitOutline)?;
        access.object(VisitId::KIND, visit);
        let patient = access
            .db()
            .prepare_cached(OUTLINE_PATIENT)?
            .query_row([visit], |row| row.get(0))
            .optional()?;
        access
            .db()
            .prepare_cached(OUTLINE)?
            .query_row([visit], |row| {
                Ok(VisitOutline {
                    clinic: row.get(0)?,
                    status: row.get(1)?,
                    clinician: row.get(2)?,
                    patient,
                    starts_at: instant(row, 3)?,
                    ends_at: instant(row, 4)?,
                    time_zone: row.get(5)?,
                })
            })
            .optional()?
            .ok_or(StoreError::NotFound)
    }

    /// The newest visit of a patient that is not over and whose appointment lasts at this moment.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn visit_current(&self, patient: PersonId) -> Result<Option<VisitId>, StoreError> {
        let mut access = self.access(Action::VisitOutline)?;
        let now = self.now.as_microsecond();
        let visit: Option<VisitId> = access
            .db()
            .prepare_cached(CURRENT)?
            .query_row(params![patient, now, now], |row| row.get(0))
            .optional()?;
        if let Some(visit) = visit {
            access.object(VisitId::KIND, visit);
        }
        Ok(visit)
    }

    /// Visits in progress whose appointment is over and that no link opens any more, [`LIST_ROWS`] at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn visits_lapsed(&self) -> Result<Vec<VisitId>, StoreError> {
        let mut access = self.access(Action::VisitOutline)?;
        let now = self.now.as_microsecond();
        let lapsed = access
            .db()
            .prepare_cached(LAPSED)?
            .query_map(params![now, now, LIST_ROWS as i64], |row| row.get(0))?
            .collect::<Result<Vec<VisitId>, _>>()?;
        for &visit in &lapsed {
            access.object(VisitId::KIND, visit);
        }
        Ok(lapsed)
    }

    /// Adds somebody of the same clinic to a visit.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn visit_join(&self, visit: VisitId, person: PersonId, role: PersonKind) -> Result<(), StoreError> {
        let mut access = self.access(Action::VisitJoin)?;
        access.object(VisitId::KIND, visit);
        add_member(&mut access, visit, person, role)
    }

    /// Cancels a clinician's own appointment. Once cancelled, again does nothing.
    ///
    /// # Errors
    /// [`Conflict::VisitNotScheduled`] once somebody was let in or it is over; see [`StoreError`].
    pub fn visit_cancel(&self, visit: VisitId) -> Result<(), StoreError> {
        let mut access = self.access(Action::VisitCancel)?;
        access.object(VisitId::KIND, visit);
        let (clinic, person) = own(&access, visit)?;
        let status: Option<VisitStatus> = access
            .db()
            .prepare_cached(STATUS_OWN)?
            .query_row(params![visit, clinic, person], |row| row.get(0))
            .optional()?;
        match status.ok_or(StoreError::NotFound)? {
            VisitStatus::Cancelled => {}
            VisitStatus::InProgress | VisitStatus::Ended => {
                return Err(StoreError::Conflict(Conflict::VisitNotScheduled));
            }
            VisitStatus::Scheduled => {
                access
                    .db()
                    .prepare_cached(CANCEL)?
                    .execute(params![self.now.as_microsecond(), visit])?;
            }
        }
        Ok(())
    }

    /// Stores what happened in a live visit. `words` are `kind:id` pairs that belong into the audit row beside the visit.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn visit_event(
        &self,
        visit: VisitId,
        progress: VisitProgress,
        words: &[(&'static str, String)],
    ) -> Result<(), StoreError> {
        let mut access = self.access(Action::VisitEvent)?;
        access.object(VisitId::KIND, visit);
        for (kind, id) in words {
            access.object(kind, id);
        }
        let db = access.db();
        let now = self.now.as_microsecond();
        match progress {
            VisitProgress::Noted => {}
            VisitProgress::Began => {
                db.prepare_cached(BEGIN)?.execute(params![now, visit])?;
            }
            VisitProgress::Admitted(person) => {
                db.prepare_cached(BEGIN)?.execute(params![now, visit])?;
                db.prepare_cached(ADMIT)?.execute(params![now, visit, person])?;
            }
            VisitProgress::AdmissionLost(person) => {
                db.prepare_cached(ADMIT)?.execute(params![None::<i64>, visit, person])?;
                db.prepare_cached(LEAVE)?.execute(params![now, visit, person])?;
            }
            VisitProgress::Left(person) => {
                db.prepare_cached(LEAVE)?.execute(params![now, visit, person])?;
            }
            VisitProgress::Over(status) => {
                db.prepare_cached(END)?.execute(params![status, now, visit])?;
            }
        }
        Ok(())
    }
}

fn add_member(access: &mut Access<'_>, visit: VisitId, person: PersonId, role: PersonKind) -> Result<(), StoreError> {
    access.object(PersonId::KIND, person);
    let added = access
        .db()
        .prepare_cached(MEMBER_INSERT)?
        .execute(params![person, role, visit])?;
    if added == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}

/// Whose visits are within reach, for the `WHERE`; a context that is bound to another visit sees nothing.
fn own(access: &Access<'_>, asked: VisitId) -> Result<(ClinicId, PersonId), StoreError> {
    match access.reach() {
        Reach::OwnVisits { visit: Some(only), .. } if only != asked => Err(StoreError::NotFound),
        Reach::OwnVisits { clinic, person, .. } => Ok((clinic, person)),
        Reach::Anything | Reach::PresentedSecret => Err(StoreError::Denied),
    }
}
