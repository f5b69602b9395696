//! Live visits: messages, waiting room, admit, leave, resume. Knows no HTTP and no SQL.
//!
//! The front door is [`Hub`]: it serves WebSockets and WHIP and WHEP requests that somebody else has accepted, asks a
//! [`Portal`] who people are, has every change of a visit stored through it, and tells the media core what to forward.

mod error;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod hub;
mod ids;
pub mod limits;
mod media;
#[expect(
    missing_docs,
    reason = "the message fields speak for themselves; docs/protocol.md shows each message"
)]
pub mod message;
mod metrics;
mod portal;
pub mod quality;
mod rate;
mod sdpfrag;
mod visit;

pub use error::{HttpError, JoinError};
pub use frame::{CloseCode, Frame};
pub use hub::{HttpJoin, HttpPatch, Hub, HubSettings, Waiting};
pub use ids::{DisplayName, PersonId, StayId, VisitId};
pub use media::Media;
pub use portal::{AuthError, Change, Identity, Interruption, Leaving, Portal, RecordError, Via, VisitEvent, Who};
