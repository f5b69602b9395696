//! ChannelData read and written again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| housecall_turn::fuzzing::channel_data(data));
