//! RTP headers and header extensions (RFC 3550, RFC 8285).
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_sfu::fuzzing::rtp(data));
