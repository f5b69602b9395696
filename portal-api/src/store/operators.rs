//! Operators: whoever holds one of their tokens. They look after the machine and see no health data.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::ctx::{Actor, Ctx, Purpose, Role};
use super::permissions::Action;
use super::{Stale, StoreError, Tx, instant};
use crate::ids::{OperatorId, RequestId};
use crate::secret::TokenHash;

const INSERT: &str = "INSERT INTO operators (id, secret_hash, created_at, expires_at) VALUES ($1, $2, $3, $4)";
const EXPIRED: &str = "DELETE FROM operators WHERE expires_at < $1";
const FIND: &str = "SELECT id, expires_at FROM operators WHERE secret_hash = $1";

/// An operator whose token was looked up and found good. Made by the store only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    id: OperatorId,
}

impl Operator {
    /// The context for what this operator does next.
    #[must_use]
    pub fn ctx(&self, request: RequestId) -> Ctx {
        Ctx {
            actor: Actor::Operator(self.id),
            role: Role::Operator,
            purpose: Purpose::Operations,
            request,
        }
    }
}

impl Tx<'_> {
    /// Makes an operator, who is known by this secret until then. Those whose time is over are forgotten.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn operator_create(&self, secret: &TokenHash, expires_at: Timestamp) -> Result<OperatorId, StoreError> {
        let mut access = self.access(Action::OperatorCreate)?;
        let id = OperatorId::random();
        access.object(OperatorId::KIND, id);
        let now = self.now.as_microsecond();
        access.db().prepare_cached(EXPIRED)?.execute([now])?;
        access
            .db()
            .prepare_cached(INSERT)?
            .execute(params![id, secret.as_str(), now, expires_at.as_microsecond(),])?;
        Ok(id)
    }

    /// Who holds this operator's token.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an unknown secret, which leaves no audit row; [`StoreError::Stale`] for one whose time is over; see
    /// [`StoreError`].
    pub fn operator_authenticate(&self, secret: &TokenHash) -> Result<Operator, StoreError> {
        let mut access = self.access(Action::OperatorAuthenticate)?;
        let found: Option<(OperatorId, Timestamp)> = access
            .db()
            .prepare_cached(FIND)?
            .query_row([secret.as_str()], |row| Ok((row.get(0)?, instant(row, 1)?)))
            .optional()?;
        let Some((id, expires_at)) = found else {
            access.met_nobody();
            return Err(StoreError::NotFound);
        };
        access.object(OperatorId::KIND, id);
        if self.now >= expires_at {
            return Err(StoreError::Stale(Stale::Expired));
        }
        Ok(Operator { id })
    }
}
