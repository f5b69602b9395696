//! STUN messages (RFC 8489) and their attributes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_turn::fuzzing::stun(data));
