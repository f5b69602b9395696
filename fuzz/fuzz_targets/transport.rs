//! One transport (ICE-lite, DTLS, SRTP), driven with a program of checks, datagrams and time decoded from the input.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_sfu::fuzzing::transport(data));
