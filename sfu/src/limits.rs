//! Bounds on everything a stranger can make this crate hold or do, each with its reason.

use std::time::Duration;

/// Longest SDP offer read. A browser's offer with ten audio and ten video lines has about 40 KiB.
pub(crate) const MAX_OFFER_BYTES: usize = 64 * 1024;

/// Most `m=` lines of one session. Each costs about 500 bytes and an entry in the demultiplexer; a visit of eight people
/// needs sixteen, and lines closed by the client keep their place for the life of the session.
pub(crate) const MAX_LINES: usize = 64;

/// Payload types agreed per line: VP8 and H.264 with retransmission each (audio needs two).
pub(crate) const MAX_FORMATS: usize = 4;

/// Simulcast encodings accepted per line: one per video rung of the ladder.
pub(crate) const MAX_ENCODINGS: usize = 2;

/// Media SSRCs noted per published line: what a browser lists for three encodings, and one to spare.
pub(crate) const MAX_DECLARED_SSRCS: usize = 4;

/// How long a transport may take to connect before it is closed.
///
/// A browser gives up its own checks after 15–30 s; a slower join is retried by the client with a new offer. Longer only
/// keeps dead transports of people who closed the page at once.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long after the last authenticated check the peer's consent to receive is taken as lost (RFC 7675 §5.1).
///
/// Browsers check a live path every 2.65 s (Chromium) to 5.5 s (Firefox).
pub(crate) const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest datagram this server sends of its own making, bytes of UDP payload. Fits every path IPv6 allows (1,280 − 48).
pub(crate) const MAX_DATAGRAM: usize = 1_232;
