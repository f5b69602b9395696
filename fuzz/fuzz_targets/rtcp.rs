//! Compound RTCP packets (RFC 3550, RFC 4585, transport-wide feedback).
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_sfu::fuzzing::rtcp(data));
