//! H.264 payloads (RFC 6184), as far as key frames are looked for in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_sfu::fuzzing::h264(data));
