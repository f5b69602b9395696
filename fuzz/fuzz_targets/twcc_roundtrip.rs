//! Transport-wide feedback: a list of arrivals must come out of the packets built from it unchanged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_sfu::fuzzing::twcc_roundtrip(data));
