//! The portal as the live visits see it: who is this, and store that.

use housecall_signaling::message::{EndReason, RoleName};
use housecall_signaling::{AuthError, Change, DisplayName, Identity, RecordError, VisitEvent};

use housecall_signaling::quality::QualityRecord;
use jiff::SignedDuration;

use super::clinic::over;
use super::{Portal, PortalError};
use crate::ids::{PersonId, RequestId, VisitId};
use crate::store::{Ctx, Holder, HolderRole, NewQuality, Purpose, VisitProgress, VisitStatus};

impl housecall_signaling::Portal for Portal {
    async fn authenticate(&self, session: &str) -> Result<Identity, AuthError> {
        let holder = self
            .authenticate_session(session, RequestId::random())
            .await
            .map_err(|cause| auth_error(&cause))?;
        identity(&holder).map_err(|cause| auth_error(&cause))
    }

    async fn record(&self, event: VisitEvent) -> Result<(), RecordError> {
        let refused = |cause: Box<dyn std::error::Error + Send + Sync>| RecordError(cause);
        let visit: VisitId = event.visit.as_str().parse().map_err(|cause| refused(Box::new(cause)))?;
        let progress = progress(&event).map_err(|cause| refused(Box::new(cause)))?;
        let mut words = vec![("event", event.name().to_owned())];
        if let Some(who) = event.who() {
            words.push(("participant", who.participant.clone()));
            words.push((PersonId::KIND, who.person.as_str().to_owned()));
            words.push(("via", who.via.name().to_owned()));
        }
        if let Some(by) = event.by() {
            words.push(("by", by.person.as_str().to_owned()));
        }
        let ctx = Ctx::system("signaling", Purpose::Treatment, RequestId::random());
        self.store
            .tx(&ctx, move |tx| tx.visit_event(visit, progress, &words))
            .await
            .map_err(|cause| refused(Box::new(cause)))
    }

    async fn keep_quality(
        &self,
        visit: housecall_signaling::VisitId,
        records: Vec<QualityRecord>,
    ) -> Result<(), RecordError> {
        let refused = |cause: Box<dyn std::error::Error + Send + Sync>| RecordError(cause);
        let visit: VisitId = visit.as_str().parse().map_err(|cause| refused(Box::new(cause)))?;
        let records = records.iter().map(stored).collect::<Result<Vec<_>, _>>();
        let records = records.map_err(|cause| refused(Box::new(cause)))?;
        let kept = self.quality_kept;
        let ctx = Ctx::system("signaling", Purpose::Operations, RequestId::random());
        self.store
            .tx(&ctx, move |tx| tx.quality_keep(visit, &records, kept))
            .await
            .map_err(|cause| refused(Box::new(cause)))
    }
}

/// A record as it is stored.
fn stored(record: &QualityRecord) -> Result<NewQuality, serde_json::Error> {
    Ok(NewQuality {
        participant: record.participant.clone(),
        role: match record.role {
            RoleName::Clinician => HolderRole::Clinician,
            RoleName::Patient => HolderRole::Patient,
            RoleName::Guest => HolderRole::Guest,
        },
        culprit: record.culprit.clone(),
        age: SignedDuration::try_from_secs_f64(record.seconds).unwrap_or_default(),
        record: serde_json::to_string(record)?,
    })
}

/// The identity of a token's holder in their visit.
///
/// # Errors
/// [`PortalError::VisitEnded`] and [`PortalError::VisitCancelled`]: nobody goes into a visit that is over.
pub(crate) fn identity(holder: &Holder) -> Result<Identity, PortalError> {
    if let Some(over) = over(holder.visit_status()) {
        return Err(over);
    }
    let person =
        |id: PersonId| housecall_signaling::PersonId::new(&id.to_string()).expect("a UUID is 36 visible ASCII bytes");
    Ok(Identity {
        visit: live_visit(holder.visit()),
        person: person(holder.person()),
        role: role_name(holder.role()),
        name: DisplayName::new(holder.name().expose()),
        admitted: holder.admitted(),
        clinician: Some(person(holder.clinician())),
    })
}

/// A visit's id as the live visits have it.
pub(crate) fn live_visit(visit: VisitId) -> housecall_signaling::VisitId {
    housecall_signaling::VisitId::new(&visit.to_string()).expect("a UUID is 36 visible ASCII bytes")
}

/// A role in the words of the protocol.
pub(crate) fn role_name(role: HolderRole) -> RoleName {
    match role {
        HolderRole::Clinician => RoleName::Clinician,
        HolderRole::Patient => RoleName::Patient,
        HolderRole::Guest => RoleName::Guest,
    }
}

fn auth_error(cause: &PortalError) -> AuthError {
    match cause {
        PortalError::VisitEnded => AuthError::VisitEnded,
        PortalError::VisitCancelled => AuthError::VisitCancelled,
        PortalError::Unavailable(_) => AuthError::Unavailable,
        _ => AuthError::SessionExpired,
    }
}

/// What an event changes in the visit's rows.
fn progress(event: &VisitEvent) -> Result<VisitProgress, uuid::Error> {
    let person = event
        .who()
        .map(|who| who.person.as_str().parse::<PersonId>())
        .transpose()?;
    Ok(match (&event.change, event.admission(), person) {
        (_, Some(true), Some(person)) => VisitProgress::Admitted(person),
        (_, Some(false), Some(person)) => VisitProgress::AdmissionLost(person),
        (Change::Entered { who }, ..) if who.role != RoleName::Clinician => VisitProgress::Began,
        (Change::Left { .. }, _, Some(person)) => VisitProgress::Left(person),
        (Change::Ended { reason, .. }, ..) => match reason {
            EndReason::VisitEnded => VisitProgress::Over(VisitStatus::Ended),
            EndReason::Cancelled => VisitProgress::Over(VisitStatus::Cancelled),
            EndReason::Declined
            | EndReason::Left
            | EndReason::Replaced
            | EndReason::ServerStopping
            | EndReason::Failed => VisitProgress::Noted,
        },
        _ => VisitProgress::Noted,
    })
}
