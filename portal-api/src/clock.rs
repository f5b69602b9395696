//! Where the time of day comes from, so that tests decide it.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

/// A source of the time of day.
pub trait Clock: Send + Sync + 'static {
    /// The instant it is.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until it is moved. For tests, here and in the crates above.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(Mutex::new(start))
    }

    /// Moves the clock forward, or back if `by` is negative.
    ///
    /// # Panics
    /// When the result lies outside of what [`Timestamp`] can hold, which is a mistake in the test.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock().expect("no code panics while it holds this lock");
        *now = now.checked_add(by).expect("a test clock stays within jiff's range");
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no code panics while it holds this lock")
    }
}
