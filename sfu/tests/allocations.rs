//! Forwarding allocates nothing: counted by an allocator of its own, which is why this is a program of its own.

use std::time::{Duration, Instant};

use allocation_counter::measure;
use housecall_sfu::testing::{Audience, Forwarded};

const VIEWERS: u64 = 10;

/// Everything that grows to its size has grown.
fn warmed_up(busy: bool) -> Audience {
    #[expect(
        clippy::disallowed_methods,
        reason = "an instant to begin at; virtual time runs from there"
    )]
    let mut audience = Audience::new(VIEWERS, Instant::now());
    audience.set_busy(if busy { 1_000 } else { 0 });
    for _ in 0..400 {
        audience.pass_picture();
        audience.send_picture();
        let (_, read) = audience.forward_and_read();
        if read.iter().any(|payloads| !payloads.is_empty()) {
            audience.ask_again();
        }
    }
    audience
}

fn forwards_without_allocating(busy: bool) {
    let mut audience = warmed_up(busy);
    let mut all = Forwarded::default();
    for round in 0..200 {
        // Reading is the test's own affair and allocates.
        audience.pass_picture();
        audience.send_picture();
        audience.forward_and_read();
        // Feedback is due each 50 ms: in some of the rounds that count.
        audience.pass(Duration::from_millis(40 + round % 30));
        audience.send_picture();
        audience.ask_again();
        let mut forwarded = Forwarded::default();
        let allocated = measure(|| forwarded = audience.forward());
        assert_eq!(allocated.count_total, 0, "in round {round}: {forwarded:?}");
        all.packets += forwarded.packets;
        all.resent += forwarded.resent;
        all.feedback += forwarded.feedback;
        all.padding += forwarded.padding;
    }
    assert!(all.packets > 200 * 5 * VIEWERS, "{all:?}");
    assert!(all.resent > 0 && all.feedback > 0 && all.padding > 0, "{all:?}");
}

#[test]
fn an_idle_shard_forwards_without_allocating() {
    forwards_without_allocating(false);
}

#[test]
fn a_busy_shard_forwards_without_allocating() {
    forwards_without_allocating(true);
}
