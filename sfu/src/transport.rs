//! One participant's transport: ICE-lite, DTLS and SRTP put together.
//!
//! Calling contract: after every `handle_*` call and [`Transport::restart_ice`], drain [`Transport::poll_transmit`] and
//! [`Transport::poll_event`], then ask [`Transport::poll_timeout`] when to come back. `open_*` and `seal_*` change none of these.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::IceCredentials;
use crate::dtls::{Certificate, Fingerprint};
use crate::path::Path;
use crate::srtp::{OpenError, Profile, SealError};

/// What a transport is made from: both sides of the SDP exchange.
pub(crate) struct TransportConfig {
    /// Ours, from [`crate::ice::generate_credentials`], as put into the answer.
    pub(crate) local: IceCredentials,
    /// The peer's, from its offer.
    pub(crate) remote: IceCredentials,
    /// The peer's certificate fingerprint, from its offer.
    pub(crate) remote_fingerprint: Fingerprint,
    /// Ours, one for the process.
    pub(crate) certificate: Arc<Certificate>,
}

/// What a transport tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransportEvent {
    /// A check validated this path: datagrams from it belong to this transport. Overrides an older owner of the path.
    NewPath(Path),
    /// The path is forgotten. Take it out of the index, if it still points here.
    PathDropped(Path),
    /// ICE and DTLS are done, keys are in place. Once.
    Connected {
        /// The SRTP profile in use.
        profile: Profile,
        /// From the first answered check to here.
        handshake: Duration,
    },
    /// Consent was lost on every path: nothing may be sent until [`TransportEvent::Reconnected`].
    Disconnected,
    /// A check came after [`TransportEvent::Disconnected`].
    Reconnected,
    /// The end: nothing will work any more. Once, and last.
    Closed(CloseReason),
}

/// Why a transport closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    /// The peer closed DTLS: the page was closed or reloaded.
    ClosedByPeer,
    /// It did not connect within the limit.
    ConnectTimeout,
    /// The DTLS handshake failed.
    HandshakeFailed,
    /// The peer's certificate is not the one of its SDP.
    WrongFingerprint,
}

impl CloseReason {
    /// A word for logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ClosedByPeer => "closed_by_peer",
            Self::ConnectTimeout => "connect_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::WrongFingerprint => "wrong_fingerprint",
        }
    }
}

/// Why a STUN datagram had no effect. It may have been answered by an error response all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StunRejected {
    /// Not a well-formed STUN message.
    Malformed,
    /// Well-formed, but nothing an ICE-lite agent acts on.
    NotARequest,
    /// USERNAME or MESSAGE-INTEGRITY missing (400), or wrong (401).
    Unauthenticated,
    /// Authenticated, and refused: role conflict (487) or an unknown attribute (420).
    Refused,
    /// The transport has closed.
    Closed,
}

/// Why a DTLS datagram had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DtlsRejected {
    /// No valid check came from this path.
    UnvalidatedPath,
    /// The transport has closed, perhaps by this datagram.
    Closed,
}

/// The user name fragment of ours that a STUN request is addressed to: the part of USERNAME before the colon.
///
/// Unauthenticated; good for finding the transport to hand it to, and nothing else. Route every STUN datagram by it, known
/// path or not: a NAT may give one participant's address to another.
pub(crate) fn stun_local_ufrag(_datagram: &[u8]) -> Option<&str> {
    None
}

/// See the module.
pub(crate) struct Transport {
    _config: TransportConfig,
}

impl Transport {
    /// A transport that waits for the peer's checks until [`crate::limits::CONNECT_TIMEOUT`].
    pub(crate) fn new(config: TransportConfig, _now: Instant) -> Self {
        Self { _config: config }
    }

    /// Takes a datagram that [`crate::demux`] says is STUN.
    pub(crate) fn handle_stun(&mut self, _path: Path, _datagram: &[u8], _now: Instant) -> Result<(), StunRejected> {
        Err(StunRejected::Malformed)
    }

    /// Takes a datagram that [`crate::demux`] says is DTLS.
    pub(crate) fn handle_dtls(&mut self, _path: Path, _datagram: &[u8], _now: Instant) -> Result<(), DtlsRejected> {
        Err(DtlsRejected::UnvalidatedPath)
    }

    /// Authenticates and decrypts an SRTP packet in place. `header_len` is the RTP header with CSRCs and extension.
    /// Returns the length of the plain packet, header included.
    pub(crate) fn open_rtp(&mut self, _packet: &mut [u8], _header_len: usize) -> Result<usize, OpenError> {
        Err(OpenError::NotReady)
    }

    /// Same for an SRTCP compound packet.
    pub(crate) fn open_rtcp(&mut self, _packet: &mut [u8]) -> Result<usize, OpenError> {
        Err(OpenError::NotReady)
    }

    /// Encrypts the RTP packet in `buffer[..plain_len]` in place; `buffer` must be longer by [`crate::srtp::MAX_RTP_OVERHEAD`].
    /// Returns the length to send. Sequence numbers of one SSRC must rise from call to call.
    pub(crate) fn seal_rtp(
        &mut self,
        _buffer: &mut [u8],
        _plain_len: usize,
        _header_len: usize,
    ) -> Result<usize, SealError> {
        Err(SealError::NotReady)
    }

    /// Same for an RTCP compound packet; `buffer` must be longer by [`crate::srtp::MAX_RTCP_OVERHEAD`].
    pub(crate) fn seal_rtcp(&mut self, _buffer: &mut [u8], _plain_len: usize) -> Result<usize, SealError> {
        Err(SealError::NotReady)
    }

    /// Writes the next STUN answer or DTLS datagram to `out`, which holds at least [`crate::limits::MAX_DATAGRAM`] bytes.
    pub(crate) fn poll_transmit(&mut self, _out: &mut [u8]) -> Option<(Path, usize)> {
        None
    }

    /// The next event, if there is one.
    pub(crate) fn poll_event(&mut self) -> Option<TransportEvent> {
        None
    }

    /// When [`Self::handle_timeout`] must be called, and what for.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// Does what is due at `now`; calling early does no harm.
    pub(crate) fn handle_timeout(&mut self, _now: Instant) {}

    /// Where to send media: the nominated path, before nomination the validated path that DTLS came from or the first one.
    pub(crate) fn selected_path(&self) -> Option<Path> {
        None
    }

    /// New credentials on both sides (RFC 8445 §9), same DTLS. The old ones stay good until the first check with the new ones.
    pub(crate) fn restart_ice(&mut self, _local: IceCredentials, _remote: IceCredentials, _now: Instant) {}

    /// Whether media can be sent now: keys are in place and a path has consent.
    pub(crate) fn is_connected(&self) -> bool {
        false
    }

    /// Tells the peer by a DTLS `close_notify`; drain [`Self::poll_transmit`] once more and drop the transport.
    pub(crate) fn close(&mut self) {}
}
