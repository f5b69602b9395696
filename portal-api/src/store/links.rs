//! Join links and sessions: who holds which secret.
//!
//! Sessions are random and stored (as hashes), not signed: they survive a kill and a restart because their row does, and one can be
//! taken back at once by its link, with no key to keep, rotate or leak. The price is one indexed look-up for each.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::ctx::{Actor, Ctx, Purpose, Role};
use super::permissions::{Action, Reach};
use super::{PersonKind, Stale, StoreError, Tx, VisitStatus, instant};
use crate::ids::{ClinicId, LinkId, PersonId, RequestId, SessionId, VisitId};
use crate::limits::SESSIONS_PER_LINK;
use crate::secret::TokenHash;
use crate::text::PersonName;

/// What a person is in the visit they hold a token for.
pub type HolderRole = PersonKind;

const LINK_INSERT: &str =
    "INSERT INTO join_links (id, secret_hash, visit, person, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
const LINK_MEMBER: &str = "SELECT COUNT(*) FROM visit_people me JOIN visit_people you ON you.visit = me.visit \
    WHERE me.visit = $1 AND me.clinic = $2 AND me.person = $3 AND me.role = 'clinician' AND you.person = $4";
const LINK_REVOKE: &str = "UPDATE join_links SET revoked_at = $1 WHERE visit = $2 AND revoked_at IS NULL";
const LINK_REDEEM: &str = "SELECT l.id, l.person, l.visit, l.expires_at, l.revoked_at, \
    m.clinic, m.role, m.admitted_at, p.display_name, v.status, a.clinician, l.expires_at \
    FROM join_links l \
    JOIN visit_people m ON m.visit = l.visit AND m.person = l.person \
    JOIN people p ON p.id = l.person \
    JOIN visits v ON v.id = l.visit \
    JOIN appointments a ON a.id = v.appointment \
    WHERE l.secret_hash = $1";
/// As above for a session; the visit is the session's, which for a clinician need not be the link's.
const SESSION_FIND: &str = "SELECT l.id, s.person, s.visit, l.expires_at, l.revoked_at, \
    m.clinic, m.role, m.admitted_at, p.display_name, v.status, a.clinician, s.expires_at \
    FROM sessions s \
    JOIN join_links l ON l.id = s.link \
    JOIN visit_people m ON m.visit = s.visit AND m.person = s.person \
    JOIN people p ON p.id = s.person \
    JOIN visits v ON v.id = s.visit \
    JOIN appointments a ON a.id = v.appointment \
    WHERE s.secret_hash = $1";
const SESSION_INSERT: &str = "INSERT INTO sessions (id, secret_hash, link, visit, person, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const SESSIONS_EXPIRED: &str = "DELETE FROM sessions WHERE expires_at < $1";
const SESSIONS_SURPLUS: &str = "DELETE FROM sessions WHERE id IN \
    (SELECT id FROM sessions WHERE link = $1 ORDER BY created_at DESC, id LIMIT 1000000 OFFSET $2)";
const VISIT_ROLE: &str = "SELECT role FROM visit_people WHERE visit = $1 AND clinic = $2 AND person = $3";

/// Somebody whose token was looked up and found good. Made by the store only. Carries personal data: no `Debug`.
#[derive(Clone)]
pub struct Holder {
    clinic: ClinicId,
    person: PersonId,
    visit: VisitId,
    role: HolderRole,
    link: LinkId,
    name: PersonName,
    admitted: bool,
    visit_status: VisitStatus,
    clinician: PersonId,
    expires_at: Timestamp,
    link_expires_at: Timestamp,
}

impl Holder {
    /// The context for what this person does next.
    #[must_use]
    pub fn ctx(&self, purpose: Purpose, request: RequestId) -> Ctx {
        let &Self {
            clinic, person, visit, ..
        } = self;
        let (role, actor) = match self.role {
            PersonKind::Clinician => (Role::Clinician, Actor::Staff { clinic, person }),
            PersonKind::Patient => (Role::Patient, Actor::Participant { clinic, person, visit }),
            PersonKind::Guest => (Role::Guest, Actor::Participant { clinic, person, visit }),
        };
        Ctx {
            actor,
            role,
            purpose,
            request,
        }
    }

    /// The clinic.
    #[must_use]
    pub fn clinic(&self) -> ClinicId {
        self.clinic
    }

    /// The person.
    #[must_use]
    pub fn person(&self) -> PersonId {
        self.person
    }

    /// The visit the token is for.
    #[must_use]
    pub fn visit(&self) -> VisitId {
        self.visit
    }

    /// The role in it.
    #[must_use]
    pub fn role(&self) -> HolderRole {
        self.role
    }

    /// The person's own name.
    #[must_use]
    pub fn name(&self) -> &PersonName {
        &self.name
    }

    /// Whether they may come in without being let in again.
    #[must_use]
    pub fn admitted(&self) -> bool {
        self.admitted
    }

    /// Where the visit is in its life.
    #[must_use]
    pub fn visit_status(&self) -> VisitStatus {
        self.visit_status
    }

    /// The clinician the visit is booked with.
    #[must_use]
    pub fn clinician(&self) -> PersonId {
        self.clinician
    }

    /// When the token that was presented stops working.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// When the link behind it stops working: no session outlives it.
    #[must_use]
    pub fn link_expires_at(&self) -> Timestamp {
        self.link_expires_at
    }
}

impl Tx<'_> {
    /// Stores a join link for somebody who takes part in a visit. A clinician can do so for their own visits.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn link_create(
        &self,
        visit: VisitId,
        person: PersonId,
        secret: &TokenHash,
        expires_at: Timestamp,
    ) -> Result<LinkId, StoreError> {
        let mut access = self.access(Action::LinkCreate)?;
        let id = LinkId::random();
        access.object(LinkId::KIND, id);
        access.object(VisitId::KIND, visit);
        access.object(PersonId::KIND, person);
        self.check_own_visit(&access, visit, person)?;
        access.db().prepare_cached(LINK_INSERT)?.execute(params![
            id,
            secret.as_str(),
            visit,
            person,
            self.now.as_microsecond(),
            expires_at.as_microsecond(),
        ])?;
        Ok(id)
    }

    /// Takes back all join links of a visit, and with them their sessions.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn link_revoke(&self, visit: VisitId) -> Result<usize, StoreError> {
        let mut access = self.access(Action::LinkRevoke)?;
        access.object(VisitId::KIND, visit);
        if let Reach::OwnVisits { person, .. } = access.reach() {
            self.check_own_visit(&access, visit, person)?;
        }
        let revoked = access
            .db()
            .prepare_cached(LINK_REVOKE)?
            .execute(params![self.now.as_microsecond(), visit])?;
        Ok(revoked)
    }

    fn check_own_visit(&self, access: &super::Access<'_>, visit: VisitId, other: PersonId) -> Result<(), StoreError> {
        match access.reach() {
            Reach::Anything => Ok(()),
            Reach::OwnVisits { clinic, person, .. } => {
                let both: i64 = access
                    .db()
                    .prepare_cached(LINK_MEMBER)?
                    .query_row(params![visit, clinic, person, other], |row| row.get(0))?;
                if both == 1 { Ok(()) } else { Err(StoreError::NotFound) }
            }
            Reach::PresentedSecret => Err(StoreError::Denied),
        }
    }

    /// Who holds this link's secret.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an unknown secret, which leaves no audit row; [`StoreError::Stale`] for one that is good no more; see [`StoreError`].
    pub fn link_redeem(&self, secret: &TokenHash) -> Result<Holder, StoreError> {
        self.holder(Action::LinkRedeem, LINK_REDEEM, secret)
    }

    /// Who holds this session's token.
    ///
    /// # Errors
    /// As [`Tx::link_redeem`].
    pub fn session_authenticate(&self, secret: &TokenHash) -> Result<Holder, StoreError> {
        self.holder(Action::SessionAuthenticate, SESSION_FIND, secret)
    }

    fn holder(&self, action: Action, query: &'static str, secret: &TokenHash) -> Result<Holder, StoreError> {
        let mut access = self.access(action)?;
        let found = access
            .db()
            .prepare_cached(query)?
            .query_row([secret.as_str()], |row| {
                let holder = Holder {
                    link: row.get(0)?,
                    person: row.get(1)?,
                    visit: row.get(2)?,
                    link_expires_at: instant(row, 3)?,
                    clinic: row.get(5)?,
                    role: row.get(6)?,
                    admitted: row.get::<_, Option<i64>>(7)?.is_some(),
                    name: row.get(8)?,
                    visit_status: row.get(9)?,
                    clinician: row.get(10)?,
                    expires_at: instant(row, 11)?,
                };
                Ok((holder, row.get::<_, Option<i64>>(4)?.is_some()))
            })
            .optional()?;
        let Some((holder, revoked)) = found else {
            access.met_nobody();
            return Err(StoreError::NotFound);
        };
        access.object(LinkId::KIND, holder.link);
        access.object(PersonId::KIND, holder.person);
        access.object(VisitId::KIND, holder.visit);
        access.object(ClinicId::KIND, holder.clinic);
        if revoked {
            return Err(StoreError::Stale(Stale::Revoked));
        }
        if self.now >= holder.expires_at.min(holder.link_expires_at) {
            return Err(StoreError::Stale(Stale::Expired));
        }
        Ok(holder)
    }

    /// Starts a session for somebody whose token was found good, in their visit or, for a clinician, in another visit of theirs.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if `visit` is none of theirs; see [`StoreError`].
    pub fn session_create(
        &self,
        holder: &Holder,
        visit: VisitId,
        secret: &TokenHash,
        expires_at: Timestamp,
    ) -> Result<SessionId, StoreError> {
        let mut access = self.access(Action::SessionCreate)?;
        let id = SessionId::random();
        access.object(SessionId::KIND, id);
        access.object(LinkId::KIND, holder.link);
        access.object(PersonId::KIND, holder.person);
        access.object(VisitId::KIND, visit);
        let db = access.db();
        let allowed = match access.reach() {
            Reach::PresentedSecret => visit == holder.visit,
            Reach::OwnVisits { clinic, person, .. } => {
                let role: Option<HolderRole> = db
                    .prepare_cached(VISIT_ROLE)?
                    .query_row(params![visit, clinic, person], |row| row.get(0))
                    .optional()?;
                person == holder.person && role == Some(HolderRole::Clinician)
            }
            Reach::Anything => false,
        };
        if !allowed {
            return Err(StoreError::NotFound);
        }
        let now = self.now.as_microsecond();
        db.prepare_cached(SESSIONS_EXPIRED)?.execute([now])?;
        db.prepare_cached(SESSIONS_SURPLUS)?
            .execute(params![holder.link, SESSIONS_PER_LINK as i64 - 1])?;
        db.prepare_cached(SESSION_INSERT)?.execute(params![
            id,
            secret.as_str(),
            holder.link,
            visit,
            holder.person,
            now,
            expires_at.min(holder.link_expires_at).as_microsecond(),
        ])?;
        Ok(id)
    }
}
