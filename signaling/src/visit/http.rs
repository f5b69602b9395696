//! Participants over WHIP and WHEP: no socket, one offer, and a `PATCH` or `DELETE` later.

use std::time::Instant;

use housecall_sfu::{Answer, IceCredentials, NegotiateError, ParticipantId};

use super::stay::{HttpState, HttpVia, IceSession, Link, Place, Stay};
use super::{Output, Visit, arrival};
use crate::error::{HttpError, JoinError};
use crate::hub::{HttpJoin, HttpPatch};
use crate::ids::{PersonId, StayId};
use crate::limits;
use crate::message::{EndReason, RoleName};
use crate::portal::{Change, Identity, Leaving, Via};
use crate::sdpfrag;

/// What a `PATCH` comes to.
pub(crate) enum PatchPlan {
    /// Nothing to do.
    Accepted,
    /// Restart ICE in the media core, then call [`Visit::handle_restarted`].
    Restart {
        participant: ParticipantId,
        remote: IceCredentials,
    },
}

/// Which of the two protocols, as asked for.
pub(crate) enum HttpKind {
    Whip,
    Whep { from: Option<String> },
}

impl Visit {
    /// Somebody posts an offer. [`Output::HttpAnswer`] follows for `stay`.
    pub(crate) fn handle_http_join(
        &mut self,
        identity: Identity,
        kind: HttpKind,
        offer: String,
        stay: StayId,
        now: Instant,
    ) -> Result<(), JoinError> {
        if self.over {
            return Err(JoinError::Stopping);
        }
        let via = match kind {
            HttpKind::Whip => HttpVia::Whip,
            HttpKind::Whep { from } => HttpVia::Whep {
                from: self.parse_from(from)?,
                following: None,
            },
        };
        let is_viewer = matches!(via, HttpVia::Whep { .. });
        self.check_room_for(identity.role, if is_viewer { Via::Whep } else { Via::Whip })?;
        // One link must not be able to fill the visit.
        let counts = |via: Via| match identity.role {
            RoleName::Patient => via != Via::Socket,
            RoleName::Clinician | RoleName::Guest => via == Via::Whip && !is_viewer,
        };
        let of_person = |s: &&Stay| s.person == identity.person && counts(s.via());
        let limit = limits::MAX_HTTP_PER_PERSON;
        if self.stays.values().filter(of_person).count() >= limit {
            return Err(JoinError::Full { limit });
        }
        let admitted = identity.admitted || identity.role != RoleName::Patient;
        let link = Link::Http {
            via,
            state: HttpState::Joining,
        };
        let new = self.new_stay(stay, identity, admitted, link, now);
        self.stays.insert(stay, new);
        self.quality.offered(stay, now);
        self.start_connection(stay, 0, offer);
        Ok(())
    }

    /// A publisher that was never here will never come: participants' names are not chosen by them.
    fn parse_from(&self, from: Option<String>) -> Result<Option<StayId>, JoinError> {
        let Some(from) = from else { return Ok(None) };
        match StayId::parse(&from).filter(|id| self.stays.contains_key(id)) {
            Some(id) => Ok(Some(id)),
            None => Err(JoinError::Offer(NegotiateError::NoSuchParticipant)),
        }
    }

    pub(super) fn http_negotiated(&mut self, id: StayId, result: Result<Answer, NegotiateError>, now: Instant) {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return self.http_refused(id, error),
        };
        let Some(stay) = self.stays.get_mut(&id) else { return };
        if matches!(stay.place, Place::Waiting { .. }) {
            // The queue is in the order in which it was recorded.
            self.next_turn += 1;
            stay.place = Place::Waiting {
                since: now,
                turn: self.next_turn,
            };
        }
        let Link::Http { state, .. } = &mut stay.link else {
            return;
        };
        let etag = etag(&answer.ice.ufrag);
        *state = HttpState::Live(IceSession {
            lines: sdpfrag::lines_of_answer(&answer.sdp),
            ufrag: answer.ice.ufrag,
        });
        let change = arrival(stay);
        self.record(change);
        let joined = HttpJoin {
            participant: id.to_string(),
            answer: answer.sdp,
            etag,
            // The driver knows the relay.
            relay: None,
        };
        self.outputs.push_back(Output::HttpAnswer {
            stay: id,
            result: Ok(joined),
        });
        self.views_stale = true;
        self.sources_stale = true;
    }

    /// Nobody was told of this stay: it goes as it came, without an event.
    pub(super) fn http_refused(&mut self, id: StayId, error: NegotiateError) {
        self.remove_stay(id, EndReason::Failed, String::new());
        let result = Err(JoinError::Offer(error));
        self.outputs.push_back(Output::HttpAnswer { stay: id, result });
    }

    pub(super) fn http_consent_lost(&mut self, participant: ParticipantId, now: Instant) {
        let Some(stay) = self.by_media.get(&participant).and_then(|id| self.stays.get_mut(id)) else {
            return;
        };
        let who = stay.who();
        let Link::Http { state, .. } = &mut stay.link else {
            return;
        };
        let HttpState::Live(ice) = state else { return };
        *state = HttpState::Lost {
            since: now,
            ice: ice.clone(),
        };
        self.record(Change::Disconnected { who });
        self.views_stale = true;
    }

    pub(super) fn http_consent_back(&mut self, participant: ParticipantId) {
        let Some(stay) = self.by_media.get(&participant).and_then(|id| self.stays.get_mut(id)) else {
            return;
        };
        let who = stay.who();
        let Link::Http { state, .. } = &mut stay.link else {
            return;
        };
        let HttpState::Lost { ice, .. } = state else { return };
        *state = HttpState::Live(ice.clone());
        self.record(Change::Returned { who });
        self.views_stale = true;
    }

    /// A `PATCH`: trickled candidates or, with `If-Match: *`, an ICE restart (RFC 9725 §4.3).
    pub(crate) fn handle_patch(
        &mut self,
        person: &PersonId,
        participant: &str,
        fragment: &str,
        if_match: Option<&str>,
    ) -> Result<PatchPlan, HttpError> {
        let (id, ice) = self.http_session(person, participant)?;
        let current = etag(&ice.ufrag);
        match if_match.map(str::trim) {
            None => Err(HttpError::PreconditionRequired),
            Some("*") => {
                let remote = sdpfrag::credentials(fragment).map_err(HttpError::Fragment)?;
                let connection = self.stays.get(&id).and_then(|stay| stay.connection.as_ref());
                let participant = connection.ok_or(HttpError::NotFound)?.id;
                Ok(PatchPlan::Restart { participant, remote })
            }
            Some(given) if given == current => {
                sdpfrag::check(fragment).map_err(HttpError::Fragment)?;
                Ok(PatchPlan::Accepted)
            }
            Some(_) => Err(HttpError::PreconditionFailed),
        }
    }

    /// The media core has new credentials.
    pub(crate) fn handle_restarted(
        &mut self,
        participant: ParticipantId,
        result: Result<IceCredentials, NegotiateError>,
    ) -> Result<HttpPatch, HttpError> {
        let credentials = result?;
        let stay = self.by_media.get(&participant).and_then(|id| self.stays.get_mut(id));
        let Some(Stay {
            link: Link::Http { state, .. },
            ..
        }) = stay
        else {
            return Err(HttpError::NotFound);
        };
        let (HttpState::Live(ice) | HttpState::Lost { ice, .. }) = state else {
            return Err(HttpError::NotFound);
        };
        ice.ufrag.clone_from(&credentials.ufrag);
        Ok(HttpPatch::Restarted {
            fragment: sdpfrag::restart(&credentials, &ice.lines),
            etag: etag(&credentials.ufrag),
        })
    }

    /// A `DELETE`. [`Output::HttpLeft`] follows for the stay returned.
    pub(crate) fn handle_http_leave(&mut self, person: &PersonId, participant: &str) -> Result<StayId, HttpError> {
        let (id, _) = self.http_session(person, participant)?;
        self.http_left(id);
        self.outputs.push_back(Output::HttpLeft { stay: id });
        Ok(id)
    }

    /// The answer to a `POST` reached nobody: its client has gone.
    pub(crate) fn handle_http_abandoned(&mut self, id: StayId) {
        self.http_left(id);
    }

    fn http_left(&mut self, id: StayId) {
        let Some(who) = self.who(id) else { return };
        let how = Leaving::Asked;
        self.record(Change::Left {
            who,
            how,
            keeps_admission: true,
        });
        self.remove_stay(id, EndReason::Left, String::new());
    }

    fn http_session(&self, person: &PersonId, participant: &str) -> Result<(StayId, &IceSession), HttpError> {
        let id = StayId::parse(participant).ok_or(HttpError::NotFound)?;
        let stay = self
            .stays
            .get(&id)
            .filter(|stay| stay.person == *person)
            .ok_or(HttpError::NotFound)?;
        match &stay.link {
            Link::Http {
                state: HttpState::Live(ice) | HttpState::Lost { ice, .. },
                ..
            } => Ok((id, ice)),
            _ => Err(HttpError::NotFound),
        }
    }
}

/// A strong entity tag (RFC 9110 §8.8.3) for an ICE session.
fn etag(ufrag: &str) -> String {
    format!("\"{ufrag}\"")
}
