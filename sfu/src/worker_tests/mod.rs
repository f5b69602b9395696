//! The worker as a whole in virtual time.

mod programs;

/// The seed of a random test: `HOUSECALL_SEED`, or one of its own.
fn seed(own: u64) -> u64 {
    let given = std::env::var("HOUSECALL_SEED").ok();
    given.map_or(own, |text| text.parse().expect("HOUSECALL_SEED is a number"))
}

/// How often a random test is repeated: `HOUSECALL_TIMES`, or as often as it takes a second or two.
fn times(own: u64) -> u64 {
    let given = std::env::var("HOUSECALL_TIMES").ok();
    given.map_or(own, |text| text.parse().expect("HOUSECALL_TIMES is a number"))
}
