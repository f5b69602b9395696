//! Addresses change, ICE is restarted, consent is lost and comes back: the media goes on, or resumes at a key frame.

use std::time::{Duration, Instant};

use super::peer::Profile;
use super::stage::{ROOM, Stage, tell};
use crate::api::Event;
use crate::limits;
use crate::testing::link::Quality;

const SECOND: Duration = Duration::from_secs(1);
const PUBLISHER: usize = 0;
const VIEWER: usize = 1;

/// A publisher and its viewer, who has seen the picture for three seconds.
fn watching(seed: u64, quality: Quality) -> Stage {
    let mut stage = Stage::new(seed);
    stage.join(ROOM, &Profile::full(), quality);
    stage.join(ROOM, &Profile::viewer(), quality);
    stage.watch(VIEWER, 0, PUBLISHER);
    stage.connect_all();
    stage.run(3 * SECOND);
    stage
}

fn longest_gap(stage: &Stage, from: Instant) -> Duration {
    stage.seats[VIEWER].peer.screen.video[0].longest_gap(from, stage.now)
}

/// Nothing was decoded wrongly, numbers have no gap but what was lost, and it is well again.
fn assert_well(stage: &Stage) {
    let screen = &stage.seats[VIEWER].peer.screen;
    let figures = screen.video[0].decoder.figures();
    assert_eq!(figures.undecodable, 0, "{figures:?}");
    assert!(screen.video[0].decoder.has_picture(), "{figures:?}");
    assert!(
        screen.video[0].longest_gap(stage.now - SECOND, stage.now) < SECOND / 2,
        "{figures:?}"
    );
    stage.worker.check();
}

fn connected(stage: &Stage) -> usize {
    stage.told(stage.start, |event| matches!(event, Event::Connected { .. }))
}

#[test]
fn media_goes_on_through_an_ice_restart() {
    tell(1, 2, |seed| {
        let mut stage = watching(seed, Quality::lossy(20));
        for round in 0..6 {
            let before = stage.now;
            for seat in [PUBLISHER, VIEWER] {
                if round % 2 == 0 {
                    stage.restart_ice(seat);
                } else {
                    // By a new offer with new credentials.
                    stage.seats[seat].peer.renew_credentials();
                    stage.negotiate(seat).expect("a good offer");
                }
                if round > 3 {
                    // From a new network, as a phone that leaves the house.
                    let path = stage.fresh_path();
                    stage.seats[seat].peer.move_to(path, stage.now);
                }
            }
            stage.run(3 * SECOND);
            assert!(
                stage.seats.iter().all(|seat| seat.peer.is_checked),
                "the new credentials are good"
            );
            assert!(
                longest_gap(&stage, before) < SECOND,
                "{:?} in round {round}",
                longest_gap(&stage, before)
            );
        }
        assert_eq!(connected(&stage), 2, "it is the same DTLS");
        assert_eq!(
            stage.told(stage.start, |event| matches!(event, Event::Disconnected { .. })),
            0
        );
        assert_well(&stage);
        stage.seats[VIEWER].peer.screen.audio[0].check_order();
    });
}

#[test]
fn media_follows_an_address_that_changes() {
    tell(10, 2, |seed| {
        let mut stage = watching(seed, Quality::lossy(20));
        for seat in [VIEWER, PUBLISHER, VIEWER] {
            let before = stage.now;
            let (old, new) = (stage.seats[seat].peer.path, stage.fresh_path());
            stage.seats[seat].peer.move_to(new, stage.now);
            stage.run(SECOND / 2);
            let moved = stage.now;
            stage.run(2 * SECOND);
            assert!(
                longest_gap(&stage, before) < SECOND,
                "{:?}",
                longest_gap(&stage, before)
            );
            let late = stage
                .strays
                .iter()
                .filter(|(at, path)| *at > moved && *path == old)
                .count();
            assert_eq!(late, 0, "nothing is sent to where nobody is any more");
            assert_eq!(stage.stats(seat).expect("a member").remote, Some(new.remote()));
        }
        assert_well(&stage);
        // The old addresses are forgotten when their consent runs out.
        stage.run(limits::CONSENT_TIMEOUT);
        assert_eq!(
            stage.told(stage.start, |event| matches!(event, Event::Disconnected { .. })),
            0
        );
        assert_well(&stage);
    });
}

#[test]
fn without_consent_nothing_is_sent_and_with_it_the_picture_returns() {
    tell(20, 2, |seed| {
        for dark in [VIEWER, PUBLISHER] {
            let quality = Quality::lossy(20);
            let mut stage = watching(seed, quality);
            let left = stage.now;
            stage.set_quality(dark, Quality::DARK);
            stage.run(limits::CONSENT_TIMEOUT + SECOND);
            let gone = |event: &Event| matches!(event, Event::Disconnected { .. });
            assert_eq!(stage.told(left, gone), 1);
            let (at, _) = *stage.events.iter().rev().find(|(_, event)| gone(event)).expect("told");
            assert!(at - left <= limits::CONSENT_TIMEOUT, "after {:?}", at - left);
            // RFC 7675: not one packet more, however long it lasts.
            let sent = stage.links(dark)[1].sent;
            stage.run(20 * SECOND);
            assert_eq!(stage.links(dark)[1].sent, sent, "sent without consent");

            let back = stage.now;
            let asked = stage.seats[PUBLISHER].peer.studio.key_frame_requests.len();
            stage.set_quality(dark, quality);
            stage.run(6 * SECOND);
            let reconnected = |event: &Event| matches!(event, Event::Reconnected { .. });
            assert_eq!(stage.told(back, reconnected), 1);
            let (at, _) = *stage
                .events
                .iter()
                .rev()
                .find(|(_, event)| reconnected(event))
                .expect("told");
            let asked = &stage.seats[PUBLISHER].peer.studio.key_frame_requests[asked..];
            assert!(
                asked.first().is_some_and(|asked| *asked <= at + SECOND),
                "a key frame is asked for at once: {asked:?}"
            );
            let video = &stage.seats[VIEWER].peer.screen.video[0];
            let first = video.decoded.iter().map(|(at, _)| *at).find(|decoded| *decoded >= at);
            assert!(
                first.is_some_and(|first| first <= at + SECOND),
                "the picture is back within a second"
            );
            assert!(longest_gap(&stage, first.unwrap_or(at)) < SECOND);
            assert_eq!(connected(&stage), 2);
            assert_well(&stage);
        }
    });
}

/// Somebody whose page is frozen stops checking but still receives: consent is what checks say, not what arrives.
#[test]
fn who_stops_checking_is_sent_nothing_more() {
    tell(30, 1, |seed| {
        let mut stage = watching(seed, Quality::lossy(20));
        stage.seats[VIEWER].peer.stop_checking();
        stage.run(limits::CONSENT_TIMEOUT + 3 * SECOND);
        let [up, down] = stage.links(VIEWER);
        stage.run(5 * SECOND);
        assert!(stage.links(VIEWER)[0].sent > up.sent, "its reports still come");
        assert_eq!(stage.links(VIEWER)[1].sent, down.sent, "and nothing goes out");
        let now = stage.now;
        stage.seats[VIEWER].peer.resume_checking(now);
        stage.run(4 * SECOND);
        assert_well(&stage);
    });
}
