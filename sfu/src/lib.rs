//! The media core: a selective forwarding unit without sockets, threads or clocks, and one thin driver that has them.

mod api;
mod command;
mod driver;
mod handle;
mod ids;
mod limits;
mod media;
mod sdp;
mod settings;

pub use api::{
    Answer, Event, IceCredentials, NegotiateError, ParticipantStats, PublishedStats, PublishedTrack, Slot, SlotStats,
    TrackChange,
};
pub use driver::{Running, StartError, start};
pub use handle::Sfu;
pub use ids::{Mid, ParticipantId, PayloadType, Rid, RoomId, Ssrc, TrackId};
pub use media::{Bitrate, Codec, Kind, Layer, Target};
pub use settings::Settings;
