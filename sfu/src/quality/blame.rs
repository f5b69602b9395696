//! Whose line is to blame when somebody hears or sees badly. What went wrong on each leg is put in one unit, *times what people notice*,
//! and the worst leg is named. The server comes first: a thread that is late makes everybody's lines look bad.

use std::time::Duration;

use super::Leg;

/// From here on loss is noticed (ITU-T G.1010: speech stands 3 % at most; below 2 % it passes).
const LOSS: f32 = 0.02;
/// From here on a receiver's jitter buffer grows noticeably.
const JITTER: Duration = Duration::from_millis(30);
/// The same by its transit times: in packets that overtake nothing neighbours come together however late they are, and jitter stays low.
const SPREAD: Duration = Duration::from_millis(50);
/// From here on a round trip is in the way of a conversation (ITU-T G.114: 150 ms one way go unnoticed, and there are two lines).
const ROUND_TRIP: Duration = Duration::from_millis(300);
/// A queue of this length is one the ladder steps down for.
const QUEUE: Duration = Duration::from_millis(100);
/// Longer than this and the shortest jitter buffers run dry.
const LATENESS: Duration = Duration::from_millis(60);
/// Share of what was to be sent.
const UNSENT: f32 = 0.01;

/// Who caused trouble between a sender and a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Culprit {
    /// Nobody: nothing noticeable went wrong.
    Nobody,
    /// The sender's line to the server.
    Uplink,
    /// The server's line to the receiver.
    Downlink,
    /// The server itself.
    Server,
}

/// What was seen of one leg.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signs {
    /// What the leg did.
    pub leg: Leg,
    /// The ladder keeps it below what is wanted.
    pub is_limited: bool,
}

/// What was seen of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Server {
    /// The longest its thread was late.
    pub lateness: Duration,
    /// Datagrams it could not send, as a share of those it should have sent, 0.0..=1.0.
    pub unsent: f32,
}

/// Who is to blame for what a receiver got from a sender over some seconds.
#[must_use]
pub fn blame(uplink: &Signs, downlink: &Signs, server: Server) -> Culprit {
    let late = times(server.lateness, LATENESS).max(server.unsent / UNSENT);
    if late >= 1.0 {
        return Culprit::Server;
    }
    let (up, down) = (strain(uplink), strain(downlink));
    if up.max(down) < 1.0 {
        Culprit::Nobody
    } else if up > down {
        Culprit::Uplink
    } else {
        Culprit::Downlink
    }
}

/// How bad a leg is: 1 is what people begin to notice.
fn strain(signs: &Signs) -> f32 {
    let leg = &signs.leg;
    let limited = if signs.is_limited { 1.0 } else { 0.0 };
    let signs = [
        leg.loss / LOSS,
        leg.audio_loss.unwrap_or(0.0) / LOSS,
        times(leg.jitter, JITTER),
        times(leg.spread, SPREAD),
        times(leg.rtt.unwrap_or_default(), ROUND_TRIP),
        times(leg.queue, QUEUE),
        limited,
    ];
    signs.into_iter().fold(0.0, f32::max)
}

fn times(measured: Duration, noticed: Duration) -> f32 {
    measured.as_secs_f32() / noticed.as_secs_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_worst_leg_is_to_blame_and_the_server_before_all() {
        let fine = Signs {
            leg: Leg {
                expected: 1_000,
                loss: 0.005,
                audio_loss: Some(0.005),
                jitter: ms(8),
                spread: ms(20),
                rtt: Some(ms(60)),
                queue: ms(10),
            },
            is_limited: false,
        };
        let with = |change: fn(&mut Signs)| {
            let mut signs = fine;
            change(&mut signs);
            signs
        };
        let on_time = Server::default();
        let late = Server {
            lateness: ms(90),
            ..on_time
        };
        let full = Server {
            unsent: 0.03,
            ..on_time
        };
        let losing = with(|signs| signs.leg.loss = 0.05);
        let losing_more = with(|signs| signs.leg.loss = 0.2);
        let broken_voice = with(|signs| signs.leg.audio_loss = Some(0.04));
        let trembling = with(|signs| signs.leg.jitter = ms(60));
        let swaying = with(|signs| signs.leg.spread = ms(90));
        let far = with(|signs| signs.leg.rtt = Some(ms(700)));
        let queueing = with(|signs| signs.leg.queue = ms(300));
        let limited = with(|signs| signs.is_limited = true);
        use Culprit::{Downlink, Nobody, Server as TheServer, Uplink};
        for (up, down, server, expected) in [
            (fine, fine, on_time, Nobody),
            (losing, fine, on_time, Uplink),
            (fine, losing, on_time, Downlink),
            (losing_more, losing, on_time, Uplink),
            (losing, losing_more, on_time, Downlink),
            (broken_voice, fine, on_time, Uplink),
            (fine, trembling, on_time, Downlink),
            (trembling, fine, on_time, Uplink),
            (swaying, fine, on_time, Uplink),
            (fine, swaying, on_time, Downlink),
            (far, fine, on_time, Uplink),
            (fine, far, on_time, Downlink),
            (fine, queueing, on_time, Downlink),
            (fine, limited, on_time, Downlink),
            (limited, fine, on_time, Uplink),
            (losing, limited, on_time, Uplink),
            (fine, fine, late, TheServer),
            (trembling, trembling, late, TheServer),
            (fine, losing, full, TheServer),
        ] {
            assert_eq!(blame(&up, &down, server), expected, "{up:?} {down:?} {server:?}");
        }
    }
}
