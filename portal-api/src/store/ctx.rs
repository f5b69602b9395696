//! Who asks, and what for: without this, no row.

use crate::ids::{ClinicId, OperatorId, PersonId, RequestId, VisitId};

/// What somebody is to the store. Patients, guests and clinicians are people of a clinic; the others are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sees the one visit the session is for.
    Patient,
    /// As a patient.
    Guest,
    /// Sees the visits they take part in.
    Clinician,
    /// Looks after the machine and the audit log. Sees no health data.
    Operator,
    /// Holds nothing but a token so far: may trade it for an identity.
    Bearer,
    /// The server itself and the commands run on its machine. Writes, but reads no names.
    System,
}

impl Role {
    /// All of them, for tests that walk the permissions.
    pub const ALL: [Self; 6] = [
        Self::Patient,
        Self::Guest,
        Self::Clinician,
        Self::Operator,
        Self::Bearer,
        Self::System,
    ];

    /// As it stands in the audit log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Guest => "guest",
            Self::Clinician => "clinician",
            Self::Operator => "operator",
            Self::Bearer => "bearer",
            Self::System => "system",
        }
    }
}

/// What access is for (after HL7 PurposeOfUse).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Care of a patient: visits and their appointments.
    Treatment,
    /// Finding out who somebody is.
    Authentication,
    /// Setting up and running the clinic: seeding, commands.
    Administration,
    /// Reviewing the audit log.
    Audit,
    /// Looking after the machine: how well visits worked.
    Operations,
}

impl Purpose {
    /// As it stands in the audit log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Treatment => "treatment",
            Self::Authentication => "authentication",
            Self::Administration => "administration",
            Self::Audit => "audit",
            Self::Operations => "operations",
        }
    }
}

/// Who acts. Ids only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    /// A clinician.
    Staff { clinic: ClinicId, person: PersonId },
    /// A patient or guest, within one visit.
    Participant {
        clinic: ClinicId,
        person: PersonId,
        visit: VisitId,
    },
    /// Whoever holds an operator's token.
    Operator(OperatorId),
    /// Nobody yet, or no person at all: the word says which part of the product acts.
    Part(&'static str),
}

/// The context of every access: actor, role, clinic, purpose, request. It decides which rows are seen and what the audit log says.
///
/// Its fields are closed: a person's context comes out of [`super::Holder::ctx`] only, that is, out of a token that was looked up.
#[derive(Clone, Debug)]
pub struct Ctx {
    pub(super) actor: Actor,
    pub(super) role: Role,
    pub(super) purpose: Purpose,
    pub(super) request: RequestId,
}

impl Ctx {
    /// For trading a token for an identity.
    #[must_use]
    pub fn bearer(request: RequestId) -> Self {
        Self {
            actor: Actor::Part("token"),
            role: Role::Bearer,
            purpose: Purpose::Authentication,
            request,
        }
    }

    /// For the server's own doing; `part` names the part of the product, e.g. `command-line`.
    #[must_use]
    pub fn system(part: &'static str, purpose: Purpose, request: RequestId) -> Self {
        Self {
            actor: Actor::Part(part),
            role: Role::System,
            purpose,
            request,
        }
    }

    /// For whoever looks after the machine.
    #[must_use]
    pub fn operator(part: &'static str, request: RequestId) -> Self {
        Self {
            actor: Actor::Part(part),
            role: Role::Operator,
            purpose: Purpose::Audit,
            request,
        }
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The request this belongs to.
    #[must_use]
    pub fn request(&self) -> RequestId {
        self.request
    }

    pub(super) fn clinic(&self) -> Option<ClinicId> {
        match self.actor {
            Actor::Staff { clinic, .. } | Actor::Participant { clinic, .. } => Some(clinic),
            Actor::Operator(_) | Actor::Part(_) => None,
        }
    }

    pub(super) fn actor_text(&self) -> String {
        match self.actor {
            Actor::Staff { person, .. } | Actor::Participant { person, .. } => person.to_string(),
            Actor::Operator(operator) => operator.to_string(),
            Actor::Part(part) => part.to_owned(),
        }
    }
}
