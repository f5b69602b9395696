//! Tokens in, identities out.

use jiff::Timestamp;

use super::clinic::{after, over};
use super::{Portal, PortalError};
use crate::ids::{RequestId, VisitId};
use crate::limits::SESSION_LIFE;
use crate::secret::{Token, TokenKind};
use crate::store::{Ctx, Holder, HolderRole, Purpose, StoreError, VisitDetails};
use crate::text::PersonName;

/// A new session and what its page shows first. Carries personal data and a secret: no `Debug`.
pub struct SessionGrant {
    /// The session token.
    pub session: Token,
    /// Until when it works.
    pub expires_at: Timestamp,
    /// The person's role in the visit.
    pub role: HolderRole,
    /// The person's own name.
    pub name: PersonName,
    /// Whether they go straight into the visit: a clinician, or somebody who was let in already.
    pub admitted: bool,
    /// The visit.
    pub visit: VisitId,
    /// Its time, clinic and clinician.
    pub details: VisitDetails,
}

impl Portal {
    /// Trades a join link's token (or any the command line printed) for a session.
    ///
    /// A clinician's link works whatever became of its visit, for it also opens the day's list.
    ///
    /// # Errors
    /// [`PortalError::LinkInvalid`], [`PortalError::LinkExpired`], [`PortalError::VisitEnded`], [`PortalError::VisitCancelled`];
    /// see [`PortalError`].
    pub async fn exchange(&self, token: &str, request: RequestId) -> Result<SessionGrant, PortalError> {
        let link = Token::parse(token)
            .filter(|token| token.kind() == TokenKind::Link)
            .ok_or(PortalError::LinkInvalid)?;
        let session = Token::mint(TokenKind::Session);
        let (link, hash) = (link.hash(), session.hash());
        let ctx = Ctx::bearer(request);
        let redeemed = self.store.tx(&ctx, move |tx| {
            let holder = tx.link_redeem(&link)?;
            if let Some(over) = over(holder.visit_status()).filter(|_| holder.role() != HolderRole::Clinician) {
                return Ok(Err(over));
            }
            tx.session_create(&holder, holder.visit(), &hash, after(tx.now(), SESSION_LIFE))?;
            Ok(Ok(holder))
        });
        let holder = redeemed.await.map_err(|cause| match cause {
            StoreError::NotFound => {
                self.unknown_secrets.inc();
                PortalError::LinkInvalid
            }
            other => other.into(),
        })??;
        self.grant(&holder, holder.visit(), session, request).await
    }

    /// A new session for somebody who has one. The old one works until its own end: the answer to this may be lost on the way.
    ///
    /// # Errors
    /// As [`Self::exchange`], but for the link's own.
    pub async fn refresh(&self, holder: &Holder, request: RequestId) -> Result<SessionGrant, PortalError> {
        if let Some(over) = over(holder.visit_status()).filter(|_| holder.role() != HolderRole::Clinician) {
            return Err(over);
        }
        let session = Token::mint(TokenKind::Session);
        let (owner, hash) = (holder.clone(), session.hash());
        let ctx = Ctx::bearer(request);
        let stored = self.store.tx(&ctx, move |tx| {
            tx.session_create(&owner, owner.visit(), &hash, after(tx.now(), SESSION_LIFE))
        });
        stored.await?;
        self.grant(holder, holder.visit(), session, request).await
    }

    /// A clinician's session for another visit of theirs.
    ///
    /// # Errors
    /// [`PortalError::NotFound`] if it is none of theirs; see [`PortalError`].
    pub async fn session_for_visit(
        &self,
        holder: &Holder,
        visit: VisitId,
        request: RequestId,
    ) -> Result<SessionGrant, PortalError> {
        let session = Token::mint(TokenKind::Session);
        let (owner, hash) = (holder.clone(), session.hash());
        let ctx = holder.ctx(Purpose::Treatment, request);
        let stored = self.store.tx(&ctx, move |tx| {
            tx.session_create(&owner, visit, &hash, after(tx.now(), SESSION_LIFE))
        });
        stored.await?;
        self.grant(holder, visit, session, request).await
    }

    /// Who presents this bearer: a session token, or a join link's.
    ///
    /// # Errors
    /// [`PortalError::SessionExpired`] for anything that is not good at the moment; [`PortalError::Unavailable`].
    pub async fn authenticate_bearer(&self, text: &str, request: RequestId) -> Result<Holder, PortalError> {
        // An operator is nobody in a visit.
        let token = Token::parse(text)
            .filter(|token| token.kind() != TokenKind::Operator)
            .ok_or(PortalError::SessionExpired)?;
        let (kind, hash) = (token.kind(), token.hash());
        let ctx = Ctx::bearer(request);
        let found = self.store.tx(&ctx, move |tx| match kind {
            TokenKind::Session => tx.session_authenticate(&hash),
            TokenKind::Link => tx.link_redeem(&hash),
            TokenKind::Operator => Err(StoreError::NotFound),
        });
        found.await.map_err(|cause| match cause {
            StoreError::NotFound => {
                self.unknown_secrets.inc();
                PortalError::SessionExpired
            }
            StoreError::Stale(_) => PortalError::SessionExpired,
            other => other.into(),
        })
    }

    /// Who presents this session token. Join links are not accepted.
    ///
    /// # Errors
    /// As [`Self::authenticate_bearer`].
    pub async fn authenticate_session(&self, text: &str, request: RequestId) -> Result<Holder, PortalError> {
        match Token::parse(text) {
            Some(token) if token.kind() == TokenKind::Session => self.authenticate_bearer(text, request).await,
            _ => Err(PortalError::SessionExpired),
        }
    }

    async fn grant(
        &self,
        holder: &Holder,
        visit: VisitId,
        session: Token,
        request: RequestId,
    ) -> Result<SessionGrant, PortalError> {
        let ctx = holder.ctx(Purpose::Treatment, request);
        let details = self.store.tx(&ctx, move |tx| tx.visit_read(visit)).await?;
        Ok(SessionGrant {
            session,
            expires_at: after(self.now(), SESSION_LIFE).min(holder.link_expires_at()),
            role: holder.role(),
            name: holder.name().clone(),
            admitted: holder.admitted() || holder.role() == HolderRole::Clinician,
            visit,
            details,
        })
    }
}
