//! An independent client for tests: a headless peer on the `webrtc` crate, with pictures that can be checked and a link that
//! can lose packets. It shares no code with the server, so what passes here means something.
//!
//! Included by path, from this crate's tests and the product's: not every test uses all of it.
#![allow(unreachable_pub, reason = "shared between test binaries by path")]
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's way to fail")]

pub mod lossy;
pub mod network;
pub mod peer;
pub mod picture;
mod runtime;
pub mod server;
