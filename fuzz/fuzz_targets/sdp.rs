//! SDP offers, through the answerer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_sfu::fuzzing::sdp(data));
