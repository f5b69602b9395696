//! What a clinician does with appointments.

use jiff::{SignedDuration, Timestamp};

use super::clinic::after;
use super::{Portal, PortalError, time_zone};
use crate::ids::{RequestId, VisitId};
use crate::limits::{APPOINTMENT_AHEAD, APPOINTMENT_MINUTES, APPOINTMENT_PAST, LINK_AFTER_END, LIST_RANGE};
use crate::secret::{Token, TokenKind};
use crate::store::{Holder, ListedVisit, NewVisit, PersonKind, Purpose, StoreError};
use crate::text::PersonName;

/// An appointment to be made. Carries personal data: no `Debug`.
pub struct AppointmentRequest {
    /// The patient.
    pub patient_name: PersonName,
    /// From.
    pub starts_at: Timestamp,
    /// How long, in minutes, within [`APPOINTMENT_MINUTES`].
    pub minutes: i64,
    /// IANA name of the zone it was agreed in; the clinic's if none is given.
    pub time_zone: Option<String>,
}

/// An appointment that was made, with a link for each side. The tokens are secrets: no `Debug`.
pub struct CreatedAppointment {
    /// Its visit.
    pub visit: VisitId,
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// IANA name of the zone it was agreed in.
    pub time_zone: String,
    /// Opens the visit as the patient.
    pub patient: Token,
    /// Opens the visit as the clinician.
    pub clinician: Token,
}

/// A clinician's day. Carries personal data: no `Debug`.
pub struct Day {
    /// The instant the list is from.
    pub now: Timestamp,
    /// IANA name of the clinic's zone, whose midnights bound the day.
    pub time_zone: String,
    /// The clinician's visits, by start.
    pub visits: Vec<ListedVisit>,
}

impl Portal {
    /// Makes an appointment of this clinician with a new patient.
    ///
    /// # Errors
    /// [`PortalError::Invalid`], [`PortalError::NotAllowed`]; see [`PortalError`].
    pub async fn create_appointment(
        &self,
        holder: &Holder,
        wanted: AppointmentRequest,
        request: RequestId,
    ) -> Result<CreatedAppointment, PortalError> {
        let now = self.now();
        if !APPOINTMENT_MINUTES.contains(&wanted.minutes) {
            return Err(PortalError::Invalid("minutes must be from 5 to 600"));
        }
        if wanted.starts_at < after(now, -APPOINTMENT_PAST) || wanted.starts_at > after(now, APPOINTMENT_AHEAD) {
            return Err(PortalError::Invalid(
                "starts_at must lie between yesterday and two years from now",
            ));
        }
        if let Some(name) = &wanted.time_zone {
            time_zone(name)?;
        }
        let (clinic, clinician) = (holder.clinic(), holder.person());
        let ends_at = after(wanted.starts_at, SignedDuration::from_mins(wanted.minutes));
        let ctx = holder.ctx(Purpose::Treatment, request);
        let created = self.store.tx(&ctx, move |tx| {
            let time_zone = match wanted.time_zone {
                Some(name) => name,
                None => tx.clinic_find(None)?.time_zone,
            };
            let patient = tx.person_create(clinic, PersonKind::Patient, &wanted.patient_name)?;
            let visit = tx.visit_create(&NewVisit {
                clinic,
                clinician,
                patient: Some(patient),
                starts_at: wanted.starts_at,
                ends_at,
                time_zone: time_zone.clone(),
            })?;
            let link = |person| {
                let token = Token::mint(TokenKind::Link);
                tx.link_create(visit, person, &token.hash(), after(ends_at, LINK_AFTER_END))?;
                Ok::<_, StoreError>(token)
            };
            Ok(CreatedAppointment {
                visit,
                starts_at: wanted.starts_at,
                ends_at,
                time_zone,
                patient: link(patient)?,
                clinician: link(clinician)?,
            })
        });
        Ok(created.await?)
    }

    /// The clinician's visits of this day, by the clinic's clock on the wall.
    ///
    /// # Errors
    /// See [`PortalError`].
    pub async fn today(&self, holder: &Holder, request: RequestId) -> Result<Day, PortalError> {
        let now = self.now();
        let ctx = holder.ctx(Purpose::Treatment, request);
        let day = self.store.tx(&ctx, move |tx| {
            let clinic = tx.clinic_find(None)?;
            let Some((from, to)) = day_of(now, &clinic.time_zone) else {
                return Ok(Err(PortalError::Invalid(
                    "the clinic's time zone is unknown to this program",
                )));
            };
            Ok(Ok(Day {
                now,
                time_zone: clinic.time_zone,
                visits: tx.visit_list(from, to)?,
            }))
        });
        day.await?
    }

    /// The clinician's visits that touch a range of time.
    ///
    /// # Errors
    /// [`PortalError::Invalid`] for an empty or too wide range; see [`PortalError`].
    pub async fn list_appointments(
        &self,
        holder: &Holder,
        from: Timestamp,
        to: Timestamp,
        request: RequestId,
    ) -> Result<Vec<ListedVisit>, PortalError> {
        if to <= from || to.duration_since(from) > LIST_RANGE {
            return Err(PortalError::Invalid("to must lie after from, by at most 62 days"));
        }
        let ctx = holder.ctx(Purpose::Treatment, request);
        Ok(self.store.tx(&ctx, move |tx| tx.visit_list(from, to)).await?)
    }

    /// Cancels an appointment. Whoever waits must be told by the caller, after this.
    ///
    /// # Errors
    /// [`PortalError::NotFound`], [`PortalError::Conflict`] once somebody was let in; see [`PortalError`].
    pub async fn cancel_appointment(
        &self,
        holder: &Holder,
        visit: VisitId,
        request: RequestId,
    ) -> Result<(), PortalError> {
        let ctx = holder.ctx(Purpose::Treatment, request);
        Ok(self.store.tx(&ctx, move |tx| tx.visit_cancel(visit)).await?)
    }
}

/// From the last midnight to the next, where the zone's day has them: 23 to 25 hours around a change of the clocks.
fn day_of(now: Timestamp, zone: &str) -> Option<(Timestamp, Timestamp)> {
    let today = now.to_zoned(time_zone(zone).ok()?).start_of_day().ok()?;
    let tomorrow = today.tomorrow().ok()?.start_of_day().ok()?;
    Some((today.timestamp(), tomorrow.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_zones_own() {
        let hours = |now: &str, zone| {
            let (from, to) = day_of(now.parse().expect("instant"), zone).expect("zone");
            (from.to_string(), to.duration_since(from).as_hours())
        };
        let vancouver = "America/Vancouver";
        assert_eq!(
            hours("2026-07-01T06:59:00Z", vancouver),
            ("2026-06-30T07:00:00Z".to_owned(), 24)
        );
        assert_eq!(
            hours("2026-03-08T20:00:00Z", vancouver),
            ("2026-03-08T08:00:00Z".to_owned(), 23)
        );
        assert_eq!(
            hours("2026-03-29T20:00:00Z", "Europe/Berlin"),
            ("2026-03-28T23:00:00Z".to_owned(), 23)
        );
        // The zone stays on summer time from 2026-11-01: an old database would say 08:00.
        assert_eq!(
            hours("2026-12-01T12:00:00Z", vancouver),
            ("2026-12-01T07:00:00Z".to_owned(), 24)
        );
        assert!(day_of(Timestamp::UNIX_EPOCH, "Mars/Olympus").is_none());
    }
}
