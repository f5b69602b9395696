//! The general relay where the system has no descriptors left. A test of its own process, for the limit is one of the process.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test over real sockets"
)]

#[path = "support/relay.rs"]
mod relay;

use std::fs::File;
use std::process::Command;

use housecall_turn::stun::{AttributeType, Method};
use relay::{Client, Lab};

/// Sets how many descriptors this process may have.
fn limit(descriptors: usize) {
    let status = Command::new("prlimit")
        .arg(format!("--pid={}", std::process::id()))
        .arg(format!("--nofile={descriptors}:"))
        .status();
    assert!(status.expect("prlimit of util-linux").success());
}

fn allocate(client: &mut Client) -> u16 {
    let reply = client.ask(Method::ALLOCATE, |builder| {
        builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    reply.code()
}

#[test]
fn without_descriptors_allocations_are_refused_and_counted_and_the_others_go_on() {
    let lab = Lab::open(&["127.0.0.1"], &[]);
    let mut clients: Vec<Client> = (0..10).map(|user| Client::new(&lab, &user.to_string())).collect();
    limit(256);
    // Takes all there are, and gives three back.
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken.truncate(taken.len() - 3);
    let codes: Vec<u16> = clients.iter_mut().map(allocate).collect();
    assert_eq!(codes, [0, 0, 0, 508, 508, 508, 508, 508, 508, 508]);
    lab.wait_for("housecall_turn_public_requests_total", &["exhausted"], 7);
    // Whoever has one keeps it, and what one gives up another gets.
    let ended = clients[0].ask(Method::REFRESH, |builder| {
        builder.attribute(AttributeType::LIFETIME, &[0; 4]);
    });
    assert_eq!((ended.code(), allocate(&mut clients[9])), (0, 0));
}
