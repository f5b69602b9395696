//! The worker as a whole in virtual time: random programs, and stories told with real clients over bad links.
//!
//! All chance comes from one seed, which a failed run prints: `HOUSECALL_SEED=n` repeats it, `HOUSECALL_TIMES=n` tells each
//! story with that many seeds.

mod blame;
mod broken;
mod churn;
mod deny;
mod layers;
mod lip_sync;
mod pace;
mod paths;
mod peer;
mod programs;
mod relayed;
mod republish;
mod share;
mod speech;
mod stage;
mod streams;
mod uplink;
mod visit;

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
