//! What operators see: how well visits worked. The permission table decides who is one; no answer holds personal data.

use axum::Json as Answer;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use housecall_signaling::{Hub, Media};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Edge;
use super::extract::{Asker, Path, Query};
use super::problem::Problem;
use crate::ids::VisitId;
use crate::limits::QUALITY_ROWS;
use crate::portal::live::live_visit;
use crate::store::{Ctx, MeasuredVisit, QualityPlace, QualityRow};
use crate::{Portal, PortalError};

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

#[derive(Serialize)]
pub(super) struct VisitsBody {
    visits: Vec<VisitLine>,
}

#[derive(Serialize)]
struct VisitLine {
    visit: VisitId,
    started_at: Timestamp,
    updated_at: Timestamp,
    participants: u32,
    /// `null` if nobody had trouble.
    culprit: Option<String>,
}

impl From<MeasuredVisit> for VisitLine {
    fn from(visit: MeasuredVisit) -> Self {
        Self {
            visit: visit.visit,
            started_at: visit.started_at,
            updated_at: visit.updated_at,
            participants: visit.participants,
            culprit: visit.culprit,
        }
    }
}

/// `GET /ops/visits`
pub(super) async fn visits(State(edge): State<Edge>, Asker(ctx): Asker) -> Result<Answer<VisitsBody>, Problem> {
    let visits = edge.portal.measured_visits(&ctx).await?;
    let visits = visits.into_iter().map(VisitLine::from).collect();
    Ok(Answer(VisitsBody { visits }))
}

#[derive(Serialize)]
pub(super) struct QualityBody {
    visit: VisitId,
    participants: Vec<serde_json::Value>,
}

/// `GET /ops/visits/{visit}/quality`
pub(super) async fn quality<M: Media>(
    State(edge): State<Edge>,
    State(hub): State<Hub<Portal, M>>,
    Path(visit): Path<VisitId>,
    Asker(ctx): Asker,
) -> Result<Answer<QualityBody>, Problem> {
    // Only who may read the records has those of a visit that goes on brought up to date.
    match edge.portal.visit_quality(&ctx, visit).await {
        Ok(_) | Err(PortalError::NotFound) => hub.keep_quality(&live_visit(visit)).await,
        Err(cause) => return Err(cause.into()),
    }
    let rows = edge.portal.visit_quality(&ctx, visit).await?;
    let participants = rows.iter().map(told).collect();
    Ok(Answer(QualityBody { visit, participants }))
}

/// A record with when and where it was.
fn told(row: &QualityRow) -> serde_json::Value {
    // What the server itself has stored is an object.
    let mut record = serde_json::from_str(&row.record).unwrap_or_else(|_| serde_json::json!({}));
    if let Some(fields) = record.as_object_mut() {
        fields.insert("started_at".to_owned(), row.started_at.to_string().into());
        fields.insert("updated_at".to_owned(), row.updated_at.to_string().into());
    }
    record
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    since: Option<Timestamp>,
}

/// `GET /ops/visits/quality.ndjson?since`
pub(super) async fn export(
    State(edge): State<Edge>,
    Query(range): Query<Since>,
    Asker(ctx): Asker,
) -> Result<Response, Problem> {
    let place = QualityPlace::before(range.since.unwrap_or(Timestamp::UNIX_EPOCH));
    // The first rows are read here, so that a refusal is an answer and not a broken body.
    let first = edge.portal.quality_since(&ctx, place).await?;
    let start = Export {
        portal: edge.portal.clone(),
        ctx,
        rows: Some(first),
    };
    let body = stream::try_unfold(start, Export::next);
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(body)).into_response())
}

/// An export that is under way: a page of rows in memory, never more.
struct Export {
    portal: Portal,
    ctx: Ctx,
    /// The next to be sent; `None` behind the last.
    rows: Option<Vec<QualityRow>>,
}

impl Export {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, PortalError> {
        let Some(rows) = self.rows.take().filter(|rows| !rows.is_empty()) else {
            return Ok(None);
        };
        let mut lines = String::new();
        for row in &rows {
            let mut line = told(row);
            if let Some(fields) = line.as_object_mut() {
                fields.insert("visit".to_owned(), row.visit.to_string().into());
            }
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        if let Some(last) = rows.last().filter(|_| rows.len() == QUALITY_ROWS) {
            self.rows = Some(self.portal.quality_since(&self.ctx, QualityPlace::behind(last)).await?);
        }
        Ok(Some((lines.into(), self)))
    }
}
