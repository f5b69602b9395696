//! A grid of sixty impairments: in each of them the leg that is impaired is the one that is blamed.
//!
//! Fifty are played to a whole worker in virtual time (loss, bursts, jitter, delay, a late server); ten are figures as the ladder and a full
//! queue leave them. `HOUSECALL_GRID=1 … --no-capture` plays and prints all of them; without it, every fifth is played, and every one that is
//! nobody's fault. Those must all be right: false blame sends people to mend what works.

use std::time::Duration;

use super::peer::Profile;
use super::stage::{ROOM, Stage};
use crate::api::{Output, ParticipantStats, Snapshot};
use crate::command::Command;
use crate::quality::{Culprit, Leg, Server, Signs, blame};
use crate::testing::link::Quality;

const LOOK: Duration = Duration::from_secs(5);
const SENDER: usize = 0;
const RECEIVER: usize = 1;

/// What is wrong between the sender and the receiver.
#[derive(Clone, Copy)]
struct Trouble {
    up: Quality,
    down: Quality,
    /// The server's thread does nothing for so long, each second.
    stall: Duration,
}

const GOOD: Quality = Quality {
    delay: Duration::from_millis(20),
    jitter: Duration::from_millis(4),
    ..Quality::PERFECT
};
const NOTHING: Trouble = Trouble {
    up: GOOD,
    down: GOOD,
    stall: Duration::ZERO,
};

fn lossy(loss: u64, burst: u64) -> Quality {
    Quality { loss, burst, ..GOOD }
}

fn shaky(jitter: u64) -> Quality {
    Quality {
        jitter: Duration::from_millis(jitter),
        ..GOOD
    }
}

fn far(delay: u64) -> Quality {
    Quality {
        delay: Duration::from_millis(delay),
        ..GOOD
    }
}

/// What is played, and who is to blame.
fn played() -> Vec<(String, Trouble, Culprit)> {
    let mut grid = Vec::new();
    let mut both = |what: String, quality: Quality| {
        let up = Trouble { up: quality, ..NOTHING };
        let down = Trouble {
            down: quality,
            ..NOTHING
        };
        grid.push((format!("up: {what}"), up, Culprit::Uplink));
        grid.push((format!("down: {what}"), down, Culprit::Downlink));
    };
    for loss in [30, 50, 80, 120, 200] {
        both(format!("{loss} ‰ lost"), lossy(loss, 1));
    }
    for loss in [40, 80, 150] {
        both(format!("{loss} ‰ lost in bursts of 4"), lossy(loss, 4));
    }
    for jitter in [150, 220, 300] {
        both(format!("{jitter} ms of jitter"), shaky(jitter));
    }
    for delay in [320, 450, 600] {
        both(format!("{delay} ms of delay"), far(delay));
    }
    for (loss, jitter) in [(50, 60), (100, 30)] {
        let quality = Quality { loss, ..shaky(jitter) };
        both(format!("{loss} ‰ lost, {jitter} ms of jitter"), quality);
    }
    // Both legs are bad, one of them is worse.
    for (little, much) in [(10, 50), (20, 80), (30, 120), (40, 200)] {
        let (little, much) = (lossy(little, 1), lossy(much, 1));
        let up = Trouble {
            up: much,
            down: little,
            ..NOTHING
        };
        let down = Trouble {
            up: little,
            down: much,
            ..NOTHING
        };
        grid.push((
            format!("up {} ‰, down {} ‰", much.loss, little.loss),
            up,
            Culprit::Uplink,
        ));
        grid.push((
            format!("up {} ‰, down {} ‰", little.loss, much.loss),
            down,
            Culprit::Downlink,
        ));
    }
    for stall in [150, 250, 400] {
        let stall = Duration::from_millis(stall);
        grid.push((
            format!("server late by {stall:?}"),
            Trouble { stall, ..NOTHING },
            Culprit::Server,
        ));
        let lossy = Trouble {
            stall,
            down: lossy(30, 1),
            ..NOTHING
        };
        grid.push((
            format!("server late by {stall:?}, 30 ‰ lost down"),
            lossy,
            Culprit::Server,
        ));
    }
    for (what, quality) in [
        ("nothing", GOOD),
        ("5 ‰ lost", lossy(5, 1)),
        ("20 ms of jitter", shaky(20)),
        ("80 ms of delay", far(80)),
    ] {
        let trouble = Trouble {
            up: quality,
            down: quality,
            ..NOTHING
        };
        grid.push((format!("both: {what}"), trouble, Culprit::Nobody));
    }
    grid
}

/// What was seen where the worker's links can't be made narrow.
fn constructed() -> Vec<(String, [Signs; 2], Server, Culprit)> {
    let fine = Signs {
        leg: Leg {
            expected: 900,
            jitter: Duration::from_millis(6),
            rtt: Some(Duration::from_millis(50)),
            queue: Duration::from_millis(5),
            ..Leg::default()
        },
        is_limited: false,
    };
    let limited = Signs {
        is_limited: true,
        ..fine
    };
    let queueing = |millis| Signs {
        leg: Leg {
            queue: Duration::from_millis(millis),
            ..fine.leg
        },
        ..fine
    };
    let dropping = |unsent| Server {
        unsent,
        ..Server::default()
    };
    let well = Server::default();
    let lines = [
        ("the receiver is kept at 480p", [fine, limited], well, Culprit::Downlink),
        ("the sender is kept at 480p", [limited, fine], well, Culprit::Uplink),
        ("a queue of 120 ms down", [fine, queueing(120)], well, Culprit::Downlink),
        ("a queue of 400 ms down", [fine, queueing(400)], well, Culprit::Downlink),
        (
            "a queue of 400 ms down, sender kept low",
            [limited, queueing(400)],
            well,
            Culprit::Downlink,
        ),
        ("a queue of 60 ms down", [fine, queueing(60)], well, Culprit::Nobody),
        ("1 % could not be sent", [fine, fine], dropping(0.01), Culprit::Server),
        (
            "8 % could not be sent, queue down",
            [fine, queueing(300)],
            dropping(0.08),
            Culprit::Server,
        ),
        ("1 ‰ could not be sent", [fine, fine], dropping(0.001), Culprit::Nobody),
        (
            "1 ‰ could not be sent, sender kept low",
            [limited, fine],
            dropping(0.001),
            Culprit::Uplink,
        ),
    ];
    lines
        .into_iter()
        .map(|(what, legs, server, culprit)| (what.to_owned(), legs, server, culprit))
        .collect()
}

fn snapshot(stage: &mut Stage) -> Snapshot {
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    let participants = stage.seats.iter().map(|seat| seat.peer.id).collect();
    stage.command(Command::Snapshot {
        room: ROOM,
        participants,
        reply,
    });
    answer.try_recv().expect("a command is answered at once")
}

/// Who is blamed for most of ten seconds.
fn play(seed: u64, trouble: Trouble) -> Culprit {
    let mut stage = Stage::new(seed);
    for _ in 0..2 {
        stage.join(ROOM, &Profile::full(), GOOD);
    }
    stage.watch(RECEIVER, 0, SENDER);
    stage.watch(SENDER, 0, RECEIVER);
    stage.connect_all();
    stage.run(Duration::from_secs(2));
    stage.seats[SENDER].up.set_quality(trouble.up);
    stage.seats[RECEIVER].down.set_quality(trouble.down);
    // What is measured of a round trip is smoothed over some reports.
    run(&mut stage, Duration::from_secs(5), trouble.stall);
    let mut before = snapshot(&mut stage);
    let mut blamed = Vec::new();
    for _ in 0..2 {
        run(&mut stage, LOOK, trouble.stall);
        let now = snapshot(&mut stage);
        let stats = |snapshot: &Snapshot, seat: usize| -> ParticipantStats { snapshot.participants[seat].1.clone() };
        let up = Leg::up(Some(&stats(&before, SENDER)), &stats(&now, SENDER));
        let down = Leg::down(Some(&stats(&before, RECEIVER)), &stats(&now, RECEIVER));
        let [up, down] = [up, down].map(|leg| Signs { leg, is_limited: false });
        let server = Server {
            lateness: now.lateness,
            unsent: now.output.unsent_since(before.output),
        };
        assert_ne!(now.output, Output::default());
        blamed.push(blame(&up, &down, server));
        before = now;
    }
    // In doubt, the window with trouble.
    blamed.into_iter().max().expect("two windows")
}

fn run(stage: &mut Stage, time: Duration, stall: Duration) {
    let second = Duration::from_secs(1);
    for _ in 0..time.as_secs() {
        stage.run(second - stall);
        stage.now += stall;
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the grid is for whoever asks for it")]
fn the_impaired_leg_is_blamed() {
    let all = std::env::var_os("HOUSECALL_GRID").is_some();
    let seed = super::seed(31);
    let mut wrong = Vec::new();
    let mut falsely = Vec::new();
    let (mut count, mut whole) = (0, 0);
    let mut judge = |what: &str, expected: Culprit, blamed: Culprit| {
        count += 1;
        println!("{what}: {blamed:?}");
        if blamed != expected && expected == Culprit::Nobody {
            falsely.push(format!("{what}: {blamed:?}"));
        }
        if blamed != expected {
            wrong.push(format!("{what}: {blamed:?}, not {expected:?}"));
        }
    };
    for (number, (what, trouble, expected)) in played().into_iter().enumerate() {
        whole += 1;
        if all || number % 5 == 0 || expected == Culprit::Nobody {
            judge(&what, expected, play(seed + number as u64, trouble));
        }
    }
    for (what, [up, down], server, expected) in constructed() {
        whole += 1;
        judge(&what, expected, blame(&up, &down, server));
    }
    assert_eq!(whole, 60);
    let right = count - wrong.len();
    println!("{right} of {count} right");
    assert!(falsely.is_empty(), "seed {seed}: {falsely:#?}");
    assert!(right * 100 >= count * 95, "{right} of {count}: {wrong:#?}");
}
