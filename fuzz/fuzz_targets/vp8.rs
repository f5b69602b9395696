//! VP8 payload descriptors (RFC 7741) and what is rewritten in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_sfu::fuzzing::vp8(data));
