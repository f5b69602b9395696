//! The whole TURN relay: bytes as a program of clients, strangers and time.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    housecall_turn::fuzzing::turn(data);
});
