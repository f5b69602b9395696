//! The STUN codec (RFC 8489), and on it the TURN relay (RFC 8656). No sockets, threads or clocks.
//!
//! [`Server`] is the relay: datagrams of clients go in, answers and payload for peers come out. [`stream`] cuts TCP and TLS
//! streams into messages, [`first_bytes`] tells which protocol a new connection speaks. `docs/turn.md` is the map.

mod address;
mod allocation;
mod budget;
mod channel;
mod credentials;
pub mod deny;
pub mod first_bytes;
#[doc(hidden)]
pub mod fuzzing;
pub mod limits;
mod nonce;
mod ports;
mod server;
pub mod stream;
pub mod stun;
mod wheel;

pub use address::{ClientAddr, ClientTransport, Family, PeerAddr};
pub use allocation::AllocationKey;
pub use channel::{ChannelData, ChannelNumber, Framing};
pub use credentials::{Credentials, REALM, Secret, UnixSeconds};
pub use deny::Network;
pub use server::{
    Bindings, Config, Counters, Dropped, Fragments, Opened, Outcome, Peers, Quotas, Relay, RelayAddresses,
    RelayCommand, Server, ToClient,
};
