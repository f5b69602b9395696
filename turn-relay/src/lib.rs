//! The STUN codec (RFC 8489), and on it the TURN relay (RFC 8656, #5). No sockets, threads or clocks.

#[doc(hidden)]
pub mod fuzzing;
pub mod stun;
