//! Who may do what: one table, closed by default. [`Reach`] says on which rows; the queries take it as their `WHERE`.

use super::ctx::{Actor, Ctx, Role};
use crate::ids::{ClinicId, PersonId, VisitId};

/// Everything that can be done with the store, by the name it has in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// A clinic was made.
    ClinicCreate,
    /// A clinic's id and zone were looked up.
    ClinicFind,
    /// A person was entered.
    PersonCreate,
    /// Ids of a clinic's people were looked up.
    PersonFind,
    /// An appointment and its visit were made.
    VisitCreate,
    /// A visit was read, with names.
    VisitRead,
    /// Visits in a range of time were read, with names.
    VisitList,
    /// A visit was looked at without names.
    VisitOutline,
    /// Somebody was added to a visit.
    VisitJoin,
    /// An appointment was cancelled.
    VisitCancel,
    /// Something happened in a live visit.
    VisitEvent,
    /// A join link was made.
    LinkCreate,
    /// A join link's secret was presented.
    LinkRedeem,
    /// A visit's links were revoked.
    LinkRevoke,
    /// A session began.
    SessionCreate,
    /// A session token was presented.
    SessionAuthenticate,
    /// The audit log was read.
    AuditRead,
    /// Quality records of a visit were stored.
    QualityKeep,
    /// Quality records were read.
    QualityRead,
    /// An operator's token was made.
    OperatorCreate,
    /// An operator's token was presented.
    OperatorAuthenticate,
}

impl Action {
    /// All of them, for tests that walk the permissions.
    pub const ALL: [Self; 21] = [
        Self::ClinicCreate,
        Self::ClinicFind,
        Self::PersonCreate,
        Self::PersonFind,
        Self::VisitCreate,
        Self::VisitRead,
        Self::VisitList,
        Self::VisitOutline,
        Self::VisitJoin,
        Self::VisitCancel,
        Self::VisitEvent,
        Self::LinkCreate,
        Self::LinkRedeem,
        Self::LinkRevoke,
        Self::SessionCreate,
        Self::SessionAuthenticate,
        Self::AuditRead,
        Self::QualityKeep,
        Self::QualityRead,
        Self::OperatorCreate,
        Self::OperatorAuthenticate,
    ];

    /// As it stands in the audit log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClinicCreate => "clinic.create",
            Self::ClinicFind => "clinic.find",
            Self::PersonCreate => "person.create",
            Self::PersonFind => "person.find",
            Self::VisitCreate => "visit.create",
            Self::VisitRead => "visit.read",
            Self::VisitList => "visit.list",
            Self::VisitOutline => "visit.outline",
            Self::VisitJoin => "visit.join",
            Self::VisitCancel => "visit.cancel",
            Self::VisitEvent => "visit.event",
            Self::LinkCreate => "link.create",
            Self::LinkRedeem => "link.redeem",
            Self::LinkRevoke => "link.revoke",
            Self::SessionCreate => "session.create",
            Self::SessionAuthenticate => "session.authenticate",
            Self::AuditRead => "audit.read",
            Self::QualityKeep => "quality.keep",
            Self::QualityRead => "quality.read",
            Self::OperatorCreate => "operator.create",
            Self::OperatorAuthenticate => "operator.authenticate",
        }
    }
}

/// The rows a permitted action extends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Rows of any clinic; the actions that have it return no names.
    Anything,
    /// Visits of this clinic this person takes part in, and for `visit`, only that one.
    OwnVisits {
        clinic: ClinicId,
        person: PersonId,
        visit: Option<VisitId>,
    },
    /// The row whose secret is presented.
    PresentedSecret,
}

/// What this context may do this action on; `None` is no.
pub(super) fn reach(ctx: &Ctx, action: Action) -> Option<Reach> {
    use Action as A;
    match (ctx.role, ctx.actor) {
        (Role::Patient | Role::Guest, Actor::Participant { clinic, person, visit }) => match action {
            A::VisitRead => Some(Reach::OwnVisits {
                clinic,
                person,
                visit: Some(visit),
            }),
            _ => None,
        },
        (Role::Clinician, Actor::Staff { clinic, person }) => match action {
            A::ClinicFind
            | A::PersonCreate
            | A::VisitCreate
            | A::VisitRead
            | A::VisitList
            | A::VisitCancel
            | A::LinkCreate
            | A::LinkRevoke
            | A::SessionCreate => Some(Reach::OwnVisits {
                clinic,
                person,
                visit: None,
            }),
            _ => None,
        },
        (Role::Bearer, Actor::Part(_)) => match action {
            A::LinkRedeem | A::SessionAuthenticate | A::SessionCreate | A::OperatorAuthenticate => {
                Some(Reach::PresentedSecret)
            }
            _ => None,
        },
        (Role::System, Actor::Part(_)) => match action {
            A::ClinicCreate
            | A::ClinicFind
            | A::PersonCreate
            | A::PersonFind
            | A::VisitCreate
            | A::VisitOutline
            | A::VisitJoin
            | A::VisitEvent
            | A::LinkCreate
            | A::LinkRevoke
            | A::QualityKeep
            | A::OperatorCreate => Some(Reach::Anything),
            _ => None,
        },
        (Role::Operator, Actor::Operator(_)) => match action {
            A::QualityRead => Some(Reach::Anything),
            _ => None,
        },
        (Role::Operator, Actor::Part(_)) => match action {
            A::AuditRead | A::QualityRead => Some(Reach::Anything),
            _ => None,
        },
        _ => None,
    }
}
