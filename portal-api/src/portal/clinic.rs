//! Setting up: the first clinic, its links at every start, and what the command line makes.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::{Portal, PortalError, time_zone};
use crate::ids::{ClinicId, PersonId, RequestId, VisitId};
use crate::limits::{APPOINTMENT_AHEAD, APPOINTMENT_PAST, LINK_AFTER_END, TOKEN_LIFE};
use crate::secret::{Token, TokenKind};
use crate::store::{Ctx, HolderRole, NewClinic, NewVisit, PersonKind, Purpose, StoreError, Tx, VisitStatus};
use crate::text::PersonName;

/// A clinic as the configuration describes it.
pub struct ClinicProfile {
    /// Short name for machines, unique.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// IANA time zone name.
    pub time_zone: String,
    /// Its first clinician.
    pub clinician: PersonName,
    /// The patient of the appointment that is made at each start, if one is.
    pub patient: PersonName,
}

impl ClinicProfile {
    /// What the server has to show without any configuration.
    #[must_use]
    pub fn demo() -> Self {
        let name = |text| PersonName::new(text).expect("a constant, checked by a test");
        Self {
            slug: "demo".to_owned(),
            name: "Harbor Street Clinic".to_owned(),
            time_zone: "UTC".to_owned(),
            clinician: name("Dr. Sam Morgan"),
            patient: name("Alex Rivera"),
        }
    }
}

/// The links that are printed at a start. The tokens are secrets: they belong behind `{origin}/join#`, and into no log.
pub struct StartLinks {
    /// The visit.
    pub visit: VisitId,
    /// Opens it as the clinician.
    pub clinician: Token,
    /// Opens it as the patient.
    pub patient: Token,
}

/// A visit made from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedVisit {
    /// The visit.
    pub visit: VisitId,
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// IANA name of the clinic's zone.
    pub time_zone: String,
}

/// When a visit from the command line starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisitStart {
    /// In so long, from now.
    In(SignedDuration),
    /// At this instant.
    At(Timestamp),
    /// When the clinic's clock on the wall shows this.
    OnTheWall(DateTime),
}

/// A token wanted from the command line.
pub struct TokenRequest {
    /// For which visit.
    pub visit: VisitId,
    /// As what. A guest is a new person each time; a patient or clinician is the visit's, unless a name is given.
    pub role: HolderRole,
    /// Makes a new person of this name.
    pub name: Option<PersonName>,
    /// How long it works, at most [`TOKEN_LIFE`]. `None`: as long as the links of an appointment do, and an hour at least.
    pub ttl: Option<SignedDuration>,
}

/// A token made from the command line: a bearer for WHIP and WHEP, and good behind `{origin}/join#`.
pub struct MintedToken {
    /// The secret.
    pub token: Token,
    /// Whose it is.
    pub person: PersonId,
    /// Until when it works.
    pub expires_at: Timestamp,
    /// Until when the visit is planned.
    pub ends_at: Timestamp,
    /// IANA name of the zone the visit's time was agreed in.
    pub time_zone: String,
}

/// How long an appointment made here lasts: long enough to try everything out.
const START_MINUTES: SignedDuration = SignedDuration::from_mins(60);
/// A token without a wish lives at least this long: also for a visit that should be over by now.
const TOKEN_AT_LEAST: SignedDuration = SignedDuration::from_hours(1);
/// How long a visit from the command line lasts.
const VISIT_MINUTES: SignedDuration = SignedDuration::from_mins(30);

impl Portal {
    /// Makes sure that the clinic is there, with a clinician and an appointment of the profile's patient now, and mints new links to
    /// it. Other people's appointments are left alone. Links of earlier starts go on working: somebody may have the page open.
    ///
    /// # Errors
    /// See [`PortalError`].
    pub async fn start_clinic(&self, profile: ClinicProfile) -> Result<StartLinks, PortalError> {
        time_zone(&profile.time_zone)?;
        let ctx = Ctx::system("start", Purpose::Administration, RequestId::random());
        let links = self.store.tx(&ctx, move |tx| {
            let (clinic, clinician) = ensure_clinic(tx, &profile)?;
            let patient = match tx.person_named(clinic, PersonKind::Patient, &profile.patient)? {
                Some(person) => person,
                None => tx.person_create(clinic, PersonKind::Patient, &profile.patient)?,
            };
            let visit = match tx.visit_current(patient)? {
                Some(visit) => visit,
                None => tx.visit_create(&NewVisit {
                    clinic,
                    clinician,
                    patient: Some(patient),
                    starts_at: tx.now(),
                    ends_at: after(tx.now(), START_MINUTES),
                    time_zone: profile.time_zone.clone(),
                })?,
            };
            let outline = tx.visit_outline(visit)?;
            let expires_at = after(outline.ends_at, LINK_AFTER_END);
            let link = |person| {
                let token = Token::mint(TokenKind::Link);
                tx.link_create(visit, person, &token.hash(), expires_at)?;
                Ok::<_, StoreError>(token)
            };
            Ok(StartLinks {
                visit,
                clinician: link(outline.clinician)?,
                patient: link(patient)?,
            })
        });
        Ok(links.await?)
    }

    /// Makes a visit with the clinic's first clinician. In an empty data directory the clinic is made first, from its profile.
    ///
    /// # Errors
    /// [`PortalError::Invalid`] for a start that is too far away, or that the clinic's clocks don't show exactly once; see
    /// [`PortalError`].
    pub async fn create_visit(&self, start: VisitStart, profile: ClinicProfile) -> Result<CreatedVisit, PortalError> {
        time_zone(&profile.time_zone)?;
        let ctx = Ctx::system("command-line", Purpose::Administration, RequestId::random());
        let created = self.store.tx(&ctx, move |tx| {
            let (clinic, time_zone, clinician) = match tx.clinic_find(None) {
                Ok(found) => {
                    let clinician = tx.person_first(found.id, PersonKind::Clinician)?;
                    (found.id, found.time_zone, clinician.ok_or(StoreError::NotFound)?)
                }
                Err(StoreError::NotFound) => {
                    let (clinic, clinician) = ensure_clinic(tx, &profile)?;
                    (clinic, profile.time_zone, clinician)
                }
                Err(other) => return Err(other),
            };
            let starts_at = match start.instant(tx.now(), &time_zone) {
                Ok(instant) => instant,
                Err(refused) => return Ok(Err(refused)),
            };
            let ends_at = after(starts_at, VISIT_MINUTES);
            let visit = tx.visit_create(&NewVisit {
                clinic,
                clinician,
                patient: None,
                starts_at,
                ends_at,
                time_zone: time_zone.clone(),
            })?;
            Ok(Ok(CreatedVisit {
                visit,
                starts_at,
                ends_at,
                time_zone,
            }))
        });
        created.await?
    }

    /// Mints a token for a visit.
    ///
    /// # Errors
    /// [`PortalError::NotFound`] without such a visit, [`PortalError::VisitEnded`], [`PortalError::VisitCancelled`]; see [`PortalError`].
    pub async fn mint_token(&self, request: TokenRequest) -> Result<MintedToken, PortalError> {
        let TokenRequest { visit, role, name, ttl } = request;
        if ttl.is_some_and(|ttl| !ttl.is_positive() || ttl > TOKEN_LIFE) {
            return Err(PortalError::Invalid(
                "the time to live must be more than zero and at most 31 days",
            ));
        }
        let ctx = Ctx::system("command-line", Purpose::Administration, RequestId::random());
        let minted = self.store.tx(&ctx, move |tx| {
            let outline = tx.visit_outline(visit)?;
            if let Some(over) = over(outline.status) {
                return Ok(Err(over));
            }
            let known = match (&name, role) {
                (None, HolderRole::Clinician) => Some(outline.clinician),
                (None, HolderRole::Patient) => outline.patient,
                _ => None,
            };
            let person = match known {
                Some(person) => person,
                None => {
                    let name = name.unwrap_or_else(|| default_name(role));
                    let person = tx.person_create(outline.clinic, role, &name)?;
                    tx.visit_join(visit, person, role)?;
                    person
                }
            };
            let token = Token::mint(TokenKind::Link);
            let expires_at = match ttl {
                Some(ttl) => after(tx.now(), ttl),
                None => after(outline.ends_at, LINK_AFTER_END).max(after(tx.now(), TOKEN_AT_LEAST)),
            };
            tx.link_create(visit, person, &token.hash(), expires_at)?;
            Ok(Ok(MintedToken {
                token,
                person,
                expires_at,
                ends_at: outline.ends_at,
                time_zone: outline.time_zone,
            }))
        });
        minted.await?
    }

    /// Takes back all links to a visit, and the sessions that came from them. Returns how many links there were. Whoever is in the
    /// visit stays until their socket drops or they leave.
    ///
    /// # Errors
    /// [`PortalError::NotFound`] without such a visit; see [`PortalError`].
    pub async fn revoke_links(&self, visit: VisitId) -> Result<usize, PortalError> {
        let ctx = Ctx::system("command-line", Purpose::Administration, RequestId::random());
        let revoked = self.store.tx(&ctx, move |tx| {
            tx.visit_outline(visit)?;
            tx.link_revoke(visit)
        });
        Ok(revoked.await?)
    }
}

impl VisitStart {
    /// The instant, for a clinic in this zone.
    fn instant(self, now: Timestamp, zone: &str) -> Result<Timestamp, PortalError> {
        let instant = match self {
            Self::In(wait) => now.saturating_add(wait).unwrap_or(Timestamp::MAX),
            Self::At(instant) => instant,
            Self::OnTheWall(shown) => {
                let zoned = time_zone(zone)?.into_ambiguous_zoned(shown).unambiguous();
                let zoned = zoned.map_err(|_| {
                    PortalError::Invalid(
                        "the clinic's clocks change then, and show that time twice or never: add the offset from UTC",
                    )
                })?;
                zoned.timestamp()
            }
        };
        if instant < after(now, -APPOINTMENT_PAST) || instant > after(now, APPOINTMENT_AHEAD) {
            return Err(PortalError::Invalid(
                "a visit must start between yesterday and two years from now",
            ));
        }
        Ok(instant)
    }
}

/// What a visit that is over answers to whoever wants in.
pub(super) fn over(status: VisitStatus) -> Option<PortalError> {
    match status {
        VisitStatus::Scheduled | VisitStatus::InProgress => None,
        VisitStatus::Ended => Some(PortalError::VisitEnded),
        VisitStatus::Cancelled => Some(PortalError::VisitCancelled),
    }
}

/// An instant a bounded time later; at the end of time it stays there.
pub(super) fn after(start: Timestamp, by: SignedDuration) -> Timestamp {
    start.saturating_add(by).unwrap_or(Timestamp::MAX)
}

pub(super) fn ensure_clinic(tx: &Tx<'_>, profile: &ClinicProfile) -> Result<(ClinicId, PersonId), StoreError> {
    let clinic = match tx.clinic_find(Some(&profile.slug)) {
        Ok(found) => found.id,
        Err(StoreError::NotFound) => tx.clinic_create(&NewClinic {
            slug: profile.slug.clone(),
            name: profile.name.clone(),
            time_zone: profile.time_zone.clone(),
        })?,
        Err(other) => return Err(other),
    };
    let clinician = match tx.person_first(clinic, PersonKind::Clinician)? {
        Some(person) => person,
        None => tx.person_create(clinic, PersonKind::Clinician, &profile.clinician)?,
    };
    Ok((clinic, clinician))
}

fn default_name(role: HolderRole) -> PersonName {
    let text = match role {
        HolderRole::Clinician => "Clinician",
        HolderRole::Patient => "Patient",
        HolderRole::Guest => "Guest",
    };
    PersonName::new(text).expect("constants are good names")
}
