//! What the composition root decides for the media core.

use std::net::{IpAddr, SocketAddr};

use crate::media::Bitrate;

/// Settings of the media core.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the first shard's UDP socket binds; further shards take the ports after it. Port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Addresses put into answers as host candidates, in order of preference, e.g. the public one behind 1:1 NAT.
    /// Empty: every usable address of this machine if `listen` is unspecified, else `listen` itself.
    pub public_addresses: Vec<IpAddr>,
    /// Shards (OS threads), at least 1.
    pub shards: usize,
    /// Whether there is a listener for each shard, on its port, that brings connections to [`crate::Sfu::open_stream`].
    pub streams: Streams,
    /// Whether clients can reach the media port through TURN as well.
    pub relay: Relay,
    /// Bitrate the answer lets publishers start with, as a hint (`x-google-start-bitrate`), kbit/s.
    pub start_kbps: u32,
    /// A viewer whose path carries less than this is sent no picture, so that speech stays clear. The picture comes back at 1.3 times
    /// of it.
    pub picture_floor: Bitrate,
    /// Whether what a viewer is sent follows what its path carries.
    pub adaptation: Adaptation,
}

/// Fitting what a viewer is sent to its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adaptation {
    /// What is sent follows what feedback says.
    #[default]
    On,
    /// Everybody is sent what was asked for, and no feedback is read: for measuring what adaptation costs.
    Off,
}

/// Connections from TCP and TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// Nobody listens: clients are told of UDP only.
    #[default]
    None,
    /// Answers have candidates for ICE over TCP.
    Accepted {
        /// The addresses of TURN on them for each shard, which participants are told with their credentials.
        relay_urls: RelayUrls,
    },
}

/// How the relay is reached on streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayUrls {
    /// The host of `turn:` addresses; `None`: the candidates' addresses.
    pub tcp_host: Option<String>,
    /// The host of `turns:` addresses, which the certificate is for; `None`: there is no TLS.
    pub tls_host: Option<String>,
    /// The port that clients see for the first shard's, if it is another; further shards have their own.
    pub port: Option<u16>,
}

/// The embedded TURN relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// None.
    Off,
    /// On the media port, for participants, towards the media core only. Participants are given credentials, and the addresses that
    /// the composition root adds.
    HandOver,
    /// The same, and participants are told the address of TURN over UDP on the media port itself. **Chromium then never uses the direct path**
    /// (`docs/decisions/0003-no-turn-over-udp-for-browsers.md`): for laboratories, and for clients that may use a relay only.
    HandOverUdp,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            public_addresses: Vec::new(),
            shards: 1,
            streams: Streams::None,
            relay: Relay::HandOver,
            start_kbps: 1_500,
            picture_floor: Bitrate::from_kbps(500),
            adaptation: Adaptation::On,
        }
    }
}
