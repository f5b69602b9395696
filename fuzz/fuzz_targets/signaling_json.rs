//! Signalling messages (JSON), through the visit's state machine where it takes them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_signaling::fuzzing::message(data));
