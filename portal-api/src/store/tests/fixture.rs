//! Two clinics with people and visits in them, and contexts of everybody.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use crate::clock::ManualClock;
use crate::ids::{ClinicId, PersonId, RequestId, VisitId};
use crate::secret::{Token, TokenHash, TokenKind};
use crate::store::ctx::Actor;
use crate::store::{AuditRow, Ctx, Holder, NewClinic, NewVisit, PersonKind, Purpose, Role, Store, StoreError, Tx};
use crate::text::PersonName;

/// Names that must show up nowhere but in their own columns.
pub(super) const NAMES: [&str; 3] = ["Zoe Quux", "Dr. Yaw Plugh", "Xyzzy Family Clinic"];

pub(super) struct Fixture {
    pub(super) directory: tempfile::TempDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) store: Store,
    pub(super) a: Side,
    pub(super) b: Side,
    /// Another clinician of clinic `a`, with a visit of their own.
    pub(super) colleague: PersonId,
    pub(super) colleagues_visit: VisitId,
}

/// One clinic.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) clinic: ClinicId,
    pub(super) clinician: PersonId,
    pub(super) patient: PersonId,
    pub(super) visit: VisitId,
}

pub(super) fn start() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().expect("instant")
}

pub(super) fn name(text: &str) -> PersonName {
    PersonName::new(text).expect("a good name")
}

pub(super) fn system() -> Ctx {
    Ctx::system("test", Purpose::Administration, RequestId::random())
}

pub(super) fn hash() -> TokenHash {
    Token::mint(TokenKind::Link).hash()
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(start()));
        let store = Store::open(directory.path(), clock.clone()).expect("a new store");
        let a = side(&store, "a").await;
        let b = side(&store, "b").await;
        let made = store.tx(&system(), move |tx| {
            let colleague = tx.person_create(a.clinic, PersonKind::Clinician, &name("Dr. Other"))?;
            let patient = tx.person_create(a.clinic, PersonKind::Patient, &name("Somebody Else"))?;
            Ok((colleague, tx.visit_create(&visit(a.clinic, colleague, patient))?))
        });
        let (colleague, colleagues_visit) = made.await.expect("seeded");
        Self {
            directory,
            clock,
            store,
            a,
            b,
            colleague,
            colleagues_visit,
        }
    }

    pub(super) fn clinician(&self) -> Ctx {
        let Side { clinic, clinician, .. } = self.a;
        person_ctx(
            Role::Clinician,
            Actor::Staff {
                clinic,
                person: clinician,
            },
        )
    }

    pub(super) fn patient(&self) -> Ctx {
        let Side {
            clinic, patient, visit, ..
        } = self.a;
        person_ctx(
            Role::Patient,
            Actor::Participant {
                clinic,
                person: patient,
                visit,
            },
        )
    }

    /// A context of every role; people are those of clinic `a`.
    pub(super) fn of_role(&self, role: Role) -> Ctx {
        match role {
            Role::Clinician => self.clinician(),
            Role::Patient => self.patient(),
            Role::Guest => Ctx {
                role: Role::Guest,
                ..self.patient()
            },
            Role::Operator => Ctx::operator("test", RequestId::random()),
            Role::Bearer => Ctx::bearer(RequestId::random()),
            Role::System => system(),
        }
    }

    /// The holder of a new link to a visit of clinic `a`.
    pub(super) async fn holder(&self, visit: VisitId, person: PersonId) -> Holder {
        let secret = Token::mint(TokenKind::Link);
        let (stored, shown) = (secret.hash(), secret.hash());
        let expires_at = start() + SignedDuration::from_hours(8);
        let made = self
            .store
            .tx(&system(), move |tx| tx.link_create(visit, person, &stored, expires_at));
        made.await.expect("a link");
        let redeemed = self
            .store
            .tx(&Ctx::bearer(RequestId::random()), move |tx| tx.link_redeem(&shown))
            .await;
        redeemed.unwrap_or_else(|cause| panic!("a fresh link is good: {cause}"))
    }

    /// The file itself, past every rule.
    pub(super) fn raw(&self) -> Connection {
        Connection::open(self.directory.path().join("housecall.sqlite3")).expect("the database file")
    }

    /// All audit rows, read past the store so that reading adds none.
    pub(super) fn log(&self) -> Vec<AuditRow> {
        let db = self.raw();
        let mut statement = db
            .prepare("SELECT seq, at, actor, role, clinic, purpose, request, action, objects, outcome FROM audit ORDER BY seq")
            .expect("the audit table");
        let rows = statement.query_map([], |row| {
            Ok(AuditRow {
                seq: row.get(0)?,
                at: crate::store::instant(row, 1)?,
                actor: row.get(2)?,
                role: row.get(3)?,
                clinic: row.get(4)?,
                purpose: row.get(5)?,
                request: row.get(6)?,
                action: row.get(7)?,
                objects: row.get(8)?,
                outcome: row.get(9)?,
            })
        });
        rows.expect("a query").collect::<Result<_, _>>().expect("rows")
    }

    /// Runs `work` and returns its result with the audit rows it left.
    pub(super) async fn logged<T, F>(&self, ctx: &Ctx, work: F) -> (Result<T, StoreError>, Vec<AuditRow>)
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let before = self.log().len();
        let result = self.store.tx(ctx, work).await;
        (result, self.log().split_off(before))
    }
}

async fn side(store: &Store, slug: &'static str) -> Side {
    let made = store.tx(&system(), move |tx| {
        let clinic = tx.clinic_create(&NewClinic {
            slug: slug.to_owned(),
            name: NAMES[2].to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
        })?;
        let clinician = tx.person_create(clinic, PersonKind::Clinician, &name(NAMES[1]))?;
        let patient = tx.person_create(clinic, PersonKind::Patient, &name(NAMES[0]))?;
        let visit = tx.visit_create(&visit(clinic, clinician, patient))?;
        Ok(Side {
            clinic,
            clinician,
            patient,
            visit,
        })
    });
    made.await.expect("seeded")
}

pub(super) fn visit(clinic: ClinicId, clinician: PersonId, patient: PersonId) -> NewVisit {
    NewVisit {
        clinic,
        clinician,
        patient: Some(patient),
        starts_at: start(),
        ends_at: start() + SignedDuration::from_mins(30),
        time_zone: "Europe/Berlin".to_owned(),
    }
}

fn person_ctx(role: Role, actor: Actor) -> Ctx {
    Ctx {
        actor,
        role,
        purpose: Purpose::Treatment,
        request: RequestId::random(),
    }
}
