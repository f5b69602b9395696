//! The ladder as a table: from where, with what known of the path, for how long, to where and why.

use super::*;

const P480: Target = Target::Video(Layer::P480);
const P720: Target = Target::Video(Layer::P720);
const NONE: Target = Target::AudioOnly;
const BOTH: Rates = Rates {
    small: Some(Bitrate::from_kbps(580)),
    large: Some(Bitrate::from_kbps(1_450)),
};

/// Nothing wrong: `target` is what the path carries, and all of it is proven.
fn budget(kbps: u64) -> Budget {
    Budget {
        target: Some(Bitrate::from_kbps(kbps)),
        minimum: Some(Bitrate::from_kbps(kbps)),
        probed: Bitrate::ZERO,
        queue: 0.0,
        is_congested: false,
        loses: false,
        audio_loss: 0.0,
        floor: Bitrate::from_kbps(500),
        is_screen: false,
    }
}

fn congested(kbps: u64, queue: Millis) -> Budget {
    Budget {
        queue,
        is_congested: true,
        ..budget(kbps)
    }
}

fn probed(kbps: u64) -> Budget {
    Budget {
        probed: Bitrate::from_kbps(kbps),
        ..budget(kbps)
    }
}

/// A flow that has long been on a rung.
fn on(rung: Target, ideal: Target) -> Flow {
    let mut flow = Flow::new(rung);
    flow.climbed_us = Some(-120_000_000);
    flow.since_us = -120_000_000;
    flow.is_limited = rung < ideal;
    flow
}

/// The first move within `ms` under a budget that stays, in steps of 60 ms, and when it came.
fn within(flow: &mut Flow, ideal: Target, rates: Rates, budget: &Budget, ms: i64) -> Option<(i64, Target, Cause)> {
    (0..=ms / 60).find_map(|number| {
        let step = flow.step(ideal, rates, budget, number * 60_000)?;
        Some((number * 60, step.to, step.cause))
    })
}

/// Latest by, earliest at (ms), to where, why.
type Expected = (i64, i64, Target, Cause);
type Row = (&'static str, Target, Target, Rates, Budget, Option<Expected>);

#[test]
fn every_move_and_every_reason_to_stay() {
    use Cause::{Capacity, Loss, Queue, Recovered};
    let only_large = Rates { small: None, ..BOTH };
    let unknown = Budget {
        target: None,
        minimum: None,
        ..budget(0)
    };
    // What is said, rung, ideal, rates, budget; latest by, earliest at (ms), to where, why.
    #[rustfmt::skip]
    let table: [Row; 24] = [
        ("nothing known, nothing to do", P720, P720, BOTH, unknown, None),
        ("nothing known: what was asked for", P480, P720, BOTH, unknown, Some((0, 0, P720, Recovered))),
        ("enough", P720, P720, BOTH, budget(1_700), None),
        ("a little short", P720, P720, BOTH, budget(1_500), Some((360, 300, P480, Capacity))),
        ("much too short", P720, P720, BOTH, budget(1_100), Some((0, 0, P480, Capacity))),
        ("a long queue", P720, P720, BOTH, congested(1_650, 180.0), Some((0, 0, P480, Queue))),
        ("a long queue on a path that is wide", P720, P720, BOTH, congested(2_500, 180.0), None),
        ("short, and packets are lost", P720, P720, BOTH, Budget { loses: true, ..congested(1_100, 0.0) }, Some((0, 0, P480, Loss))),
        ("a key frame would only fill the queue", P720, P720, BOTH, congested(390, 80.0), Some((0, 0, NONE, Capacity))),
        ("a single layer is kept until the floor", P720, P720, only_large, budget(1_100), None),
        ("enough for 480p", P480, P480, BOTH, budget(700), None),
        ("below the floor for long", P480, P480, BOTH, budget(490), Some((1_560, 1_500, NONE, Capacity))),
        ("half of the floor", P480, P480, BOTH, congested(240, 80.0), Some((0, 0, NONE, Capacity))),
        ("half of the floor, but no queue", P480, P480, BOTH, budget(240), Some((1_560, 1_500, NONE, Capacity))),
        ("audio is crowded out", P480, P480, BOTH, Budget { audio_loss: 0.08, ..congested(480, 40.0) }, Some((0, 0, NONE, Loss))),
        ("audio is lost on a path that is wide", P480, P480, BOTH, Budget { audio_loss: 0.08, ..congested(700, 40.0) }, None),
        ("loss alone stops no picture", P480, P480, BOTH, Budget { loses: true, ..congested(700, 0.0) }, None),
        ("no picture, nothing proven", NONE, P720, BOTH, budget(2_500), None),
        ("no picture, proven", NONE, P720, BOTH, probed(660), Some((0, 0, P480, Recovered))),
        ("one rung at a time", NONE, P720, BOTH, probed(2_500), Some((0, 0, P480, Recovered))),
        ("proven, but a queue stands", NONE, P720, BOTH, Budget { is_congested: true, ..probed(660) }, None),
        ("480p, proven for 720p", P480, P720, BOTH, probed(1_830), Some((0, 0, P720, Recovered))),
        ("480p, not proven for 720p", P480, P720, BOTH, probed(1_500), None),
        ("480p is what was asked for", P480, P480, BOTH, probed(2_500), None),
    ];
    for (what, rung, ideal, rates, budget, expected) in table {
        let mut flow = on(rung, ideal);
        let came = within(&mut flow, ideal, rates, &budget, 10_000);
        match (came, expected) {
            (None, None) => assert_eq!(flow.rung(), rung, "{what}"),
            (Some((at, to, why)), Some((latest, earliest, wanted, cause))) => {
                assert_eq!((to, why), (wanted, cause), "{what}");
                assert!((earliest..=latest).contains(&at), "{what}: after {at} ms");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// 1,200 kbit/s thinned as far as can be are 499, with audio 579.
#[test]
fn a_screen_comes_back_only_where_the_least_of_it_fits_and_a_camera_at_its_floor() {
    let rates = Rates {
        small: None,
        large: Some(Bitrate::from_kbps(1_200)),
    };
    for (is_screen, floor, aim) in [(false, 500, 650), (true, 280, 666)] {
        let flow = on(NONE, P720);
        let came = flow.aim(P720, rates, Bitrate::from_kbps(floor), is_screen);
        assert_eq!(came.map(|rate| rate.bps() / 1_000), Some(aim), "{is_screen}");
    }
    let camera = Rates {
        small: None,
        large: Some(Bitrate::from_kbps(2_000)),
    };
    let aim = on(NONE, P720).aim(P720, camera, Bitrate::from_kbps(500), false);
    assert_eq!(aim, Some(Bitrate::from_kbps(650)), "whatever a camera sends");
}

#[test]
fn frames_are_left_out_before_the_picture_is() {
    for (kbps, queue, thinning) in [
        (700, 0.0, 0),
        (600, 0.0, 1),
        (520, 0.0, 1),
        (450, 0.0, 1),
        (430, 0.0, 2),
        (700, 130.0, 2),
    ] {
        let mut flow = on(P480, P480);
        let known = if queue > 0.0 {
            congested(kbps, queue)
        } else {
            budget(kbps)
        };
        flow.step(P480, BOTH, &known, 0);
        assert_eq!(flow.thinning(), thinning, "{kbps} kbit/s, {queue} ms");
        assert_eq!(flow.rung(), P480);
    }
}

#[test]
fn people_are_warned_half_a_second_before_at_the_latest() {
    let mut flow = on(P480, P480);
    let (mut warned, mut stopped) = (None, None);
    for ms in (0..3_000).step_by(60) {
        let step = flow.step(P480, BOTH, &budget(480), ms * 1_000);
        if step.is_none() && flow.is_about_to_stop(ms * 1_000) {
            warned.get_or_insert(ms);
        }
        if step.is_some() {
            stopped.get_or_insert(ms);
        }
    }
    let (warned, stopped) = (warned.expect("a warning"), stopped.expect("the picture stops"));
    assert!(
        stopped - warned >= 500,
        "warned at {warned} ms, stopped at {stopped} ms"
    );
}

#[test]
fn a_lost_climb_makes_the_next_one_wait_once() {
    let mut flow = on(P480, P720);
    assert!(flow.step(P720, BOTH, &probed(2_000), 0).is_some());
    // Lost within ten seconds, all the way down: one failure, not two.
    assert_eq!(
        flow.step(P720, BOTH, &congested(600, 90.0), 1_000_000)
            .map(|step| step.to),
        Some(P480)
    );
    assert_eq!(
        flow.step(P720, BOTH, &congested(240, 90.0), 1_500_000)
            .map(|step| step.to),
        Some(NONE)
    );
    assert_eq!(flow.dwell_us, 4 * CLIMB_DWELL_US);
}

#[test]
fn less_that_is_asked_for_is_done_at_once_and_more_is_climbed_to_on_a_path_with_a_limit() {
    let mut flow = on(P720, P720);
    flow.ask(P480, true);
    assert_eq!(flow.rung(), P480);
    flow.ask(P720, true);
    assert_eq!(flow.rung(), P480, "it has to be proven");
    let mut flow = on(P480, P480);
    flow.ask(P720, false);
    assert_eq!(flow.rung(), P720, "the path has shown no limit");
}
