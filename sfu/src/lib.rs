//! The media core: a selective forwarding unit without sockets, threads or clocks, and one thin driver that has them.

mod adapt;
mod api;
mod batch;
#[doc(hidden)]
pub mod benching;
#[doc(hidden)]
pub mod clock;
mod command;
mod counters;
mod demux;
mod driver;
mod dtls;
mod ext;
mod flood;
#[doc(hidden)]
pub mod fuzzing;
mod h264;
mod handle;
mod ice;
mod ids;
mod lateness;
mod limits;
mod load;
mod media;
mod member;
mod negotiate;
mod ntp;
mod outbox;
mod path;
mod placement;
mod public_relay;
mod published;
pub mod quality;
mod random;
mod receive;
mod red;
mod relay;
mod ring;
mod routes;
mod rtcp;
mod rtp;
mod sdp;
mod send;
mod settings;
mod slot;
mod socket;
pub mod srtp;
mod steering;
mod streams;
#[doc(hidden)]
pub mod testing;
mod timers;
mod transport;
mod vp8;
mod worker;
#[cfg(test)]
mod worker_tests;

pub use api::{
    Answer, Event, Evidence, IceCredentials, NegotiateError, Output, ParticipantStats, PublishedStats, PublishedTrack,
    QualityChange, RelayAccess, Slot, SlotStats, Snapshot, TrackChange, UplinkChange, UplinkLayer,
};
pub use counters::Metrics;
pub use driver::{Running, StartError, start, start_on};
pub use handle::Sfu;
pub use ids::{Mid, ParticipantId, PayloadType, RelayUserId, Rid, RoomId, Ssrc, TrackId};
pub use media::{Bitrate, Codec, Kind, Layer, Source, Target};
pub use path::{Path, PathKind, StreamKind};
pub use public_relay::{PublicRelay, PublicRelayError, PublicRelaySettings, usable_addresses};
pub use settings::{Adaptation, Relay, RelayUrls, Settings, Streams};
pub use streams::{Arrival, Connection, Plain, StreamEnd};
