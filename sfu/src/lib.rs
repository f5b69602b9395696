//! The media core: a selective forwarding unit without sockets, threads or clocks, and one thin driver that has them.

mod api;
#[doc(hidden)]
pub mod benching;
#[doc(hidden)]
pub mod clock;
mod command;
#[allow(dead_code, reason = "the worker that uses it is on its way (#2)")]
mod demux;
mod driver;
#[allow(dead_code, reason = "the worker that uses it is on its way (#2)")]
mod dtls;
#[cfg_attr(not(test), allow(dead_code, reason = "the receive side uses it (#2)"))]
mod ext;
#[doc(hidden)]
pub mod fuzzing;
#[cfg_attr(not(test), allow(dead_code, reason = "the worker that uses it is on its way (#2)"))]
mod h264;
mod handle;
#[allow(dead_code, reason = "the worker that uses it is on its way (#2)")]
mod ice;
mod ids;
mod limits;
mod media;
#[cfg_attr(not(test), allow(dead_code, reason = "the receive and send sides use it (#2)"))]
mod ntp;
mod path;
#[allow(dead_code, unused_imports, reason = "the worker that uses it is on its way (#2)")]
mod receive;
#[cfg_attr(not(test), allow(dead_code, reason = "the worker that uses it is on its way (#2)"))]
mod red;
#[cfg_attr(not(test), allow(dead_code, reason = "the worker that uses it is on its way (#2)"))]
mod ring;
#[allow(dead_code, unused_imports, reason = "the worker that uses it is on its way (#2)")]
mod rtcp;
#[cfg_attr(not(test), allow(dead_code, reason = "the receive side uses it (#2)"))]
mod rtp;
#[allow(dead_code, unused_imports, reason = "the worker that uses it is on its way (#2)")]
mod sdp;
#[cfg_attr(not(test), allow(dead_code, reason = "the worker that uses it is on its way (#2)"))]
mod send;
mod settings;
pub mod srtp;
#[doc(hidden)]
pub mod testing;
#[allow(dead_code, reason = "the worker that uses it is on its way (#2)")]
mod transport;
#[cfg_attr(not(test), allow(dead_code, reason = "the worker that uses it is on its way (#2)"))]
mod vp8;

pub use api::{
    Answer, Event, IceCredentials, NegotiateError, ParticipantStats, PublishedStats, PublishedTrack, Slot, SlotStats,
    TrackChange,
};
pub use driver::{Running, StartError, start};
pub use handle::Sfu;
pub use ids::{Mid, ParticipantId, PayloadType, Rid, RoomId, Ssrc, TrackId};
pub use media::{Bitrate, Codec, Kind, Layer, Target};
pub use path::Path;
pub use settings::Settings;
