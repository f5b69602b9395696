//! What operators may do, and what is kept for them.

use jiff::{SignedDuration, Timestamp};

use super::clinic::{after, ensure_clinic};
use super::live::live_visit;
use super::{ClinicProfile, Portal, PortalError};
use crate::ids::{RequestId, VisitId};
use crate::limits::{OPERATOR_LIFE, PROBE_LIFE};
use crate::secret::{Token, TokenKind};
use crate::store::{
    Ctx, HolderRole, MeasuredVisit, NewVisit, PROBE_CLINIC, PersonKind, Purpose, QualityPlace, QualityRow, StoreError,
    VisitProgress, VisitStatus,
};
use crate::text::PersonName;

/// An operator's token, made from the command line.
pub struct MintedOperator {
    /// The secret.
    pub token: Token,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// A room for probes and the token that opens it.
pub struct MintedProbe {
    /// The secret.
    pub token: Token,
    /// The room. Its links are taken back like those of any visit.
    pub visit: VisitId,
    /// Until when it works.
    pub expires_at: Timestamp,
}

impl Portal {
    /// Ends the visits that nobody ended and that no link opens any more, but for those that somebody is in still. Returns how many.
    ///
    /// # Errors
    /// See [`PortalError`].
    pub async fn end_lapsed(
        &self,
        is_open: impl Fn(&housecall_signaling::VisitId) -> bool + Send + 'static,
    ) -> Result<usize, PortalError> {
        let ctx = Ctx::system("upkeep", Purpose::Operations, RequestId::random());
        let ended = self.store.tx(&ctx, move |tx| {
            let mut lapsed = tx.visits_lapsed()?;
            lapsed.retain(|&visit| !is_open(&live_visit(visit)));
            let (over, words) = (
                VisitProgress::Over(VisitStatus::Ended),
                [("event", "lapsed".to_owned())],
            );
            for &visit in &lapsed {
                tx.visit_event(visit, over, &words)?;
            }
            Ok(lapsed.len())
        });
        Ok(ended.await?)
    }

    /// Makes a test room that stands for a time, in a clinic of its own that nobody is cared for in, and mints a guest's token to it.
    ///
    /// # Errors
    /// [`PortalError::Invalid`] for a time to live that is nothing or more than [`PROBE_LIFE`]; see [`PortalError`].
    pub async fn mint_probe(&self, ttl: SignedDuration) -> Result<MintedProbe, PortalError> {
        if !ttl.is_positive() || ttl > PROBE_LIFE {
            return Err(PortalError::Invalid(
                "the time to live must be more than zero and at most 366 days",
            ));
        }
        let name = |text| PersonName::new(text).map_err(|_| PortalError::Invalid("not a name"));
        let (probe, room) = (name("Probe")?, name("Test room")?);
        let profile = ClinicProfile {
            slug: PROBE_CLINIC.to_owned(),
            name: "Test rooms".to_owned(),
            time_zone: "UTC".to_owned(),
            clinician: room,
            ..ClinicProfile::demo()
        };
        let ctx = Ctx::system("command-line", Purpose::Administration, RequestId::random());
        let minted = self.store.tx(&ctx, move |tx| {
            let (clinic, clinician) = ensure_clinic(tx, &profile)?;
            let (starts_at, expires_at) = (tx.now(), after(tx.now(), ttl));
            let visit = tx.visit_create(&NewVisit {
                clinic,
                clinician,
                patient: None,
                starts_at,
                ends_at: expires_at,
                time_zone: profile.time_zone.clone(),
            })?;
            let person = tx.person_create(clinic, PersonKind::Guest, &probe)?;
            tx.visit_join(visit, person, HolderRole::Guest)?;
            let token = Token::mint(TokenKind::Link);
            tx.link_create(visit, person, &token.hash(), expires_at)?;
            Ok(MintedProbe {
                token,
                visit,
                expires_at,
            })
        });
        Ok(minted.await?)
    }

    /// Mints an operator's token.
    ///
    /// # Errors
    /// [`PortalError::Invalid`] for a time to live that is nothing or more than [`OPERATOR_LIFE`]; see [`PortalError`].
    pub async fn mint_operator(&self, ttl: SignedDuration) -> Result<MintedOperator, PortalError> {
        if !ttl.is_positive() || ttl > OPERATOR_LIFE {
            return Err(PortalError::Invalid(
                "the time to live must be more than zero and at most 31 days",
            ));
        }
        let token = Token::mint(TokenKind::Operator);
        let hash = token.hash();
        let ctx = Ctx::system("command-line", Purpose::Administration, RequestId::random());
        let made = self.store.tx(&ctx, move |tx| {
            let expires_at = after(tx.now(), ttl);
            tx.operator_create(&hash, expires_at)?;
            Ok(expires_at)
        });
        Ok(MintedOperator {
            expires_at: made.await?,
            token,
        })
    }

    /// The context of whoever presents this bearer, of whatever kind it is: the permission table decides what they may do.
    ///
    /// # Errors
    /// As [`Portal::authenticate_bearer`].
    pub async fn context_of(&self, text: &str, request: RequestId) -> Result<Ctx, PortalError> {
        let token = Token::parse(text).ok_or(PortalError::SessionExpired)?;
        if token.kind() != TokenKind::Operator {
            let holder = self.authenticate_bearer(text, request).await?;
            return Ok(holder.ctx(Purpose::Operations, request));
        }
        let hash = token.hash();
        let found = self
            .store
            .tx(&Ctx::bearer(request), move |tx| tx.operator_authenticate(&hash));
        match found.await {
            Ok(operator) => Ok(operator.ctx(request)),
            Err(StoreError::NotFound) => {
                self.unknown_secrets.inc();
                Err(PortalError::SessionExpired)
            }
            Err(StoreError::Stale(_)) => Err(PortalError::SessionExpired),
            Err(other) => Err(other.into()),
        }
    }

    /// The quality records of one visit.
    ///
    /// # Errors
    /// [`PortalError::NotAllowed`] for anybody but operators, [`PortalError::NotFound`] without records; see [`PortalError`].
    pub async fn visit_quality(&self, ctx: &Ctx, visit: VisitId) -> Result<Vec<QualityRow>, PortalError> {
        Ok(self.store.tx(ctx, move |tx| tx.quality_read(visit)).await?)
    }

    /// The next quality records behind a place.
    ///
    /// # Errors
    /// [`PortalError::NotAllowed`] for anybody but operators; see [`PortalError`].
    pub async fn quality_since(&self, ctx: &Ctx, place: QualityPlace) -> Result<Vec<QualityRow>, PortalError> {
        Ok(self.store.tx(ctx, move |tx| tx.quality_since(&place)).await?)
    }

    /// The visits whose records changed last.
    ///
    /// # Errors
    /// [`PortalError::NotAllowed`] for anybody but operators; see [`PortalError`].
    pub async fn measured_visits(&self, ctx: &Ctx) -> Result<Vec<MeasuredVisit>, PortalError> {
        Ok(self.store.tx(ctx, |tx| tx.quality_latest()).await?)
    }
}
