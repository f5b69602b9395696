//! What the portal can do, for HTTP handlers and the command line alike. None of it writes the audit log: the store does.

mod appointments;
mod clinic;
mod error;
pub(crate) mod live;
mod operations;
mod sessions;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

pub use appointments::{AppointmentRequest, CreatedAppointment, Day};
pub use clinic::{ClinicProfile, CreatedVisit, MintedToken, StartLinks, TokenRequest, VisitStart};
pub use error::PortalError;
pub use operations::{MintedOperator, MintedProbe};
pub use sessions::SessionGrant;

use jiff::SignedDuration;
use prometheus::IntCounter;

use crate::clock::{Clock, SystemClock};
use crate::limits::QUALITY_KEPT;
use crate::store::{OpenError, Store};

/// The portal over one data directory. Cheap to clone. A server and any number of commands may have the same directory open.
#[derive(Clone)]
pub struct Portal {
    store: Store,
    clock: Arc<dyn Clock>,
    unknown_secrets: IntCounter,
    quality_kept: SignedDuration,
}

impl Portal {
    /// Opens or creates what is stored in `directory`, by the machine's clock.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_with_clock(directory, Arc::new(SystemClock))
    }

    /// As [`Self::open`], by another clock.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_with_clock(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let store = Store::open(directory, Arc::clone(&clock))?;
        Ok(Self::over(store, clock))
    }

    /// Opens what is stored in `directory` as it is: makes nothing, and brings nothing up to date.
    ///
    /// # Errors
    /// [`OpenError::Missing`], [`OpenError::Older`]; see [`OpenError`].
    pub fn open_as_it_is(directory: &Path) -> Result<Self, OpenError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open_as_it_is(directory, Arc::clone(&clock))?;
        Ok(Self::over(store, clock))
    }

    fn over(store: Store, clock: Arc<dyn Clock>) -> Self {
        let unknown_secrets = IntCounter::new(
            "housecall_unknown_secrets_total",
            "Well-formed links and sessions presented that nobody holds: wrong guesses, and sessions long gone.",
        );
        Self {
            store,
            clock,
            unknown_secrets: unknown_secrets.expect("a constant name that is valid"),
            quality_kept: QUALITY_KEPT,
        }
    }

    /// Keeps quality records for so long, instead of [`QUALITY_KEPT`].
    #[must_use]
    pub fn keeping_quality(self, quality_kept: SignedDuration) -> Self {
        Self { quality_kept, ..self }
    }

    /// Registers the portal's metrics.
    ///
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn register_metrics(&self, registry: &prometheus::Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.unknown_secrets.clone()))
    }

    /// The instant it is for this portal.
    #[must_use]
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// The store, for what needs no domain function, such as reading the audit log.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// Looks up a time zone in the bundled database, never in the host's.
fn time_zone(name: &str) -> Result<jiff::tz::TimeZone, PortalError> {
    jiff::tz::TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| PortalError::Invalid("time_zone is not a name of the IANA time zone database"))
}
