//! The quality record: what one participant's part in a visit was like, in numbers. `docs/quality.md` says what each of them means.
//!
//! An observer belongs to a visit. It is told what happens and looked in on every `limits::QUALITY_LOOK` with a snapshot of the
//! media core; it has no clock. No name, address or text of anybody gets in here: only numbers, and words from closed sets.

mod metrics;
mod observer;
mod pauses;
mod record;
mod series;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use metrics::QualityMetrics;
pub(crate) use observer::{Line, Observer, Refused, Sight};
pub use record::{
    Direction, JoinTimes, LegRecord, Move, PathSince, PictureRecord, QualityRecord, Rung, Sample, TroubleRecord,
};
