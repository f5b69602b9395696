//! The whole worker, driven with a program of datagrams, commands and time decoded from the input.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_sfu::fuzzing::worker(data));
