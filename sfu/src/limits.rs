//! Bounds on everything a stranger can make this crate hold or do, each with its reason.

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
