//! TURN and ICE-TCP framing split at every byte, and the first bytes of connections.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_turn::fuzzing::framing(data));
