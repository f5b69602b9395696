//! The JSON interface of the pages.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use housecall_signaling::message::{EndReason, RoleName};
use housecall_signaling::{Hub, Media};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Edge;
use super::extract::{ExchangeAllowed, Id, Json, Path, Query, Session};
use super::problem::Problem;
use crate::ids::VisitId;
use crate::portal::live::{live_visit, role_name};
use crate::store::{ListedVisit, VisitStatus};
use crate::text::PersonName;
use crate::{AppointmentRequest, Portal, SessionGrant};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExchangeBody {
    token: String,
}

#[derive(Serialize)]
pub(super) struct SessionBody {
    session: String,
    expires_at: Timestamp,
    role: RoleName,
    name: PersonName,
    admitted: bool,
    visit: VisitBody,
}

#[derive(Serialize)]
struct VisitBody {
    id: VisitId,
    starts_at: Timestamp,
    ends_at: Timestamp,
    time_zone: String,
    clinic_name: String,
    clinician_name: PersonName,
    status: VisitStatus,
}

impl From<SessionGrant> for SessionBody {
    fn from(grant: SessionGrant) -> Self {
        Self {
            session: grant.session.expose().to_owned(),
            expires_at: grant.expires_at,
            role: role_name(grant.role),
            name: grant.name,
            admitted: grant.admitted,
            visit: VisitBody {
                id: grant.visit,
                starts_at: grant.details.starts_at,
                ends_at: grant.details.ends_at,
                time_zone: grant.details.time_zone,
                clinic_name: grant.details.clinic_name,
                clinician_name: grant.details.clinician_name,
                status: grant.details.status,
            },
        }
    }
}

/// `POST /api/session`
pub(super) async fn exchange(
    State(edge): State<Edge>,
    _: ExchangeAllowed,
    Id(id): Id,
    Json(body): Json<ExchangeBody>,
) -> Result<Answer<SessionBody>, Problem> {
    Ok(Answer(edge.portal.exchange(&body.token, id).await?.into()))
}

/// `POST /api/session/refresh`
pub(super) async fn refresh(
    State(edge): State<Edge>,
    Id(id): Id,
    Session(holder): Session,
) -> Result<Answer<SessionBody>, Problem> {
    Ok(Answer(edge.portal.refresh(&holder, id).await?.into()))
}

/// `POST /api/visits/{visit}/session`
pub(super) async fn session_for_visit(
    State(edge): State<Edge>,
    Id(id): Id,
    Path(visit): Path<VisitId>,
    Session(holder): Session,
) -> Result<Answer<SessionBody>, Problem> {
    Ok(Answer(edge.portal.session_for_visit(&holder, visit, id).await?.into()))
}

#[derive(Serialize)]
pub(super) struct TodayBody {
    now: Timestamp,
    time_zone: String,
    appointments: Vec<TodayLine>,
}

#[derive(Serialize)]
struct TodayLine {
    #[serde(flatten)]
    appointment: AppointmentLine,
    waiting: usize,
    longest_wait_seconds: u64,
}

#[derive(Serialize)]
pub(super) struct AppointmentLine {
    visit: VisitId,
    starts_at: Timestamp,
    ends_at: Timestamp,
    time_zone: String,
    /// `null` as long as no patient was entered.
    patient_name: Option<PersonName>,
    status: VisitStatus,
}

impl From<ListedVisit> for AppointmentLine {
    fn from(visit: ListedVisit) -> Self {
        Self {
            visit: visit.visit,
            starts_at: visit.starts_at,
            ends_at: visit.ends_at,
            time_zone: visit.time_zone,
            patient_name: visit.patient_name,
            status: visit.status,
        }
    }
}

/// `GET /api/today`
pub(super) async fn today<M: Media>(
    State(edge): State<Edge>,
    State(hub): State<Hub<Portal, M>>,
    Id(id): Id,
    Session(holder): Session,
) -> Result<Answer<TodayBody>, Problem> {
    let day = edge.portal.today(&holder, id).await?;
    let visits: Vec<_> = day.visits.iter().map(|line| live_visit(line.visit)).collect();
    let waiting = hub.waiting(&visits);
    let appointments = day.visits.into_iter().zip(visits).map(|(line, live)| {
        let queue = waiting.iter().find(|queue| queue.visit == live);
        TodayLine {
            appointment: line.into(),
            waiting: queue.map_or(0, |queue| queue.count),
            longest_wait_seconds: queue.map_or(0, |queue| queue.longest.as_secs()),
        }
    });
    Ok(Answer(TodayBody {
        now: day.now,
        time_zone: day.time_zone,
        appointments: appointments.collect(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAppointmentBody {
    patient_name: String,
    starts_at: Timestamp,
    minutes: i64,
    time_zone: Option<String>,
}

#[derive(Serialize)]
pub(super) struct CreatedBody {
    visit: VisitId,
    starts_at: Timestamp,
    ends_at: Timestamp,
    time_zone: String,
    /// Path and fragment: the client knows its own origin better than a server behind a proxy.
    patient_link: String,
    clinician_link: String,
}

/// `POST /api/appointments`
pub(super) async fn create_appointment(
    State(edge): State<Edge>,
    Id(id): Id,
    Session(holder): Session,
    Json(body): Json<NewAppointmentBody>,
) -> Result<(StatusCode, Answer<CreatedBody>), Problem> {
    let patient_name = PersonName::new(&body.patient_name)
        .map_err(|cause| Problem::INVALID_REQUEST.detail(format!("patient_name: {cause}")))?;
    let wanted = AppointmentRequest {
        patient_name,
        starts_at: body.starts_at,
        minutes: body.minutes,
        time_zone: body.time_zone,
    };
    let created = edge.portal.create_appointment(&holder, wanted, id).await?;
    let link = |token: &crate::secret::Token| format!("/join#{}", token.expose());
    let answer = CreatedBody {
        visit: created.visit,
        starts_at: created.starts_at,
        ends_at: created.ends_at,
        patient_link: link(&created.patient),
        clinician_link: link(&created.clinician),
        time_zone: created.time_zone,
    };
    Ok((StatusCode::CREATED, Answer(answer)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    from: Timestamp,
    to: Timestamp,
}

#[derive(Serialize)]
pub(super) struct ListBody {
    appointments: Vec<AppointmentLine>,
}

/// `GET /api/appointments?from&to`
pub(super) async fn list_appointments(
    State(edge): State<Edge>,
    Id(id): Id,
    Query(range): Query<Range>,
    Session(holder): Session,
) -> Result<Answer<ListBody>, Problem> {
    let listed = edge.portal.list_appointments(&holder, range.from, range.to, id).await?;
    Ok(Answer(ListBody {
        appointments: listed.into_iter().map(AppointmentLine::from).collect(),
    }))
}

/// `POST /api/appointments/{visit}/cancel`
pub(super) async fn cancel_appointment<M: Media>(
    State(edge): State<Edge>,
    State(hub): State<Hub<Portal, M>>,
    Id(id): Id,
    Path(visit): Path<VisitId>,
    Session(holder): Session,
) -> Result<StatusCode, Problem> {
    edge.portal.cancel_appointment(&holder, visit, id).await?;
    hub.close_visit(&live_visit(visit), EndReason::Cancelled).await;
    Ok(StatusCode::NO_CONTENT)
}
