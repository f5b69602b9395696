//! Two people talk to each other for a minute over links that lose, delay, mix up and double packets.

use std::time::Duration;

use super::peer::Profile;
use super::stage::{ROOM, Stage, tell};
use crate::api::Event;
use crate::counters::Count;
use crate::testing::link::Quality;

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// What must hold of a minute whose links lose this share, per thousand, each way.
fn minute(seed: u64, quality: Quality, longest_gap: Duration) {
    let mut stage = Stage::new(seed);
    for _ in 0..2 {
        stage.join(ROOM, &Profile::full(), quality);
    }
    stage.watch(0, 0, 1);
    stage.watch(1, 0, 0);
    stage.connect_all();
    let began = stage.now;
    let before = [0, 1].map(|seat: usize| {
        let studio = &stage.seats[seat].peer.studio;
        (studio.pictures(), studio.sounds())
    });
    stage.run(MINUTE);
    // What is still missing is repaired before anybody counts.
    for seat in 0..2 {
        stage.set_quality(seat, Quality::PERFECT);
    }
    stage.run(2 * SECOND);
    assert_eq!(
        stage.told(stage.start, |event| matches!(event, Event::Connected { .. })),
        2
    );

    let arrives = (1_000 - quality.loss) as f64 / 1_000.0;
    let (mut repaired_in, mut resent) = (0, 0);
    for (seat, other) in [(0, 1), (1, 0)] {
        let own = stage.stats(seat).expect("a member");
        let theirs = stage.stats(other).expect("a member");
        let lost_on_links = stage.links(seat)[0].lost.min(stage.links(seat)[1].lost);
        let sender = &stage.seats[other].peer.studio;
        let (pictures, sounds) = (sender.pictures() - before[other].0, sender.sounds() - before[other].1);
        let (video, audio) = {
            let screen = &stage.seats[seat].peer.screen;
            (&screen.video[0], &screen.audio[0])
        };
        let seen = video.decoder.figures();

        // Picture: nothing is decoded wrongly (the decoder panics at that), next to nothing is missing, and it never stands still.
        assert_eq!(seen.undecodable, 0, "{seen:?}");
        assert!(video.is_well(), "{seen:?}");
        assert!(seen.unfinished <= video.jumps.len() as u64, "{seen:?}");
        assert!(
            video.jumps.len() <= 6 && seen.lost <= 40,
            "{seen:?} {:?}",
            video.jumps.len()
        );
        assert!(seen.decoded * 100 >= u64::from(pictures) * 98, "{seen:?} of {pictures}");
        assert_eq!(seen.height, 720);
        let gap = video.longest_gap(began + 5 * SECOND, stage.now);
        assert!(gap <= longest_gap, "{gap:?} without a frame");

        // Sound: not repaired, so what both links let through, in order and in time.
        audio.check_order();
        let expected = f64::from(sounds) * arrives * arrives;
        let heard = audio.sounds.len() as f64;
        assert!(
            heard >= expected * 0.96 && heard <= f64::from(sender.sounds()),
            "{heard} sounds, {expected} expected"
        );

        // Repairs are made, and counted where they are made.
        if quality.loss > 0 {
            assert!(lost_on_links > 0 && video.repaired > 0 && sender.resent > 0);
        }
        let slot = own
            .slots
            .iter()
            .find(|slot| slot.resent >= video.repaired)
            .expect("it was repaired from here");
        resent += slot.resent;
        let published = theirs.published.iter().filter(|published| published.layer.is_some());
        repaired_in += published.clone().map(|published| published.repaired).sum::<u64>();
        assert!(
            published
                .clone()
                .all(|published| published.lost * 200 <= published.packets),
            "{theirs:?}"
        );
        assert_eq!(stage.seats[seat].peer.figures.unopened, 0);
    }
    assert_eq!(stage.count(Count::RtxOut), resent);
    assert_eq!(stage.count(Count::RtxIn), repaired_in);
    for dropped in [Count::NotAuthentic, Count::Malformed, Count::SealFailed, Count::TooBig] {
        assert_eq!(stage.count(dropped), 0, "{dropped:?}");
    }
    assert_eq!(stage.strays, []);
    stage.worker.check();
}

#[test]
fn two_people_see_and_hear_each_other_over_lossy_links() {
    tell(1, 2, |seed| minute(seed, Quality::lossy(50), SECOND));
}

#[test]
fn losses_in_bursts_are_repaired_too() {
    let quality = Quality {
        burst: 4,
        reordered: 0,
        ..Quality::lossy(30)
    };
    tell(20, 1, |seed| minute(seed, quality, SECOND));
}

#[test]
fn over_a_good_link_nothing_is_lost_and_nothing_asked_for() {
    tell(30, 1, |seed| {
        let mut stage = Stage::new(seed);
        let quality = Quality {
            delay: Duration::from_millis(20),
            ..Quality::PERFECT
        };
        for _ in 0..2 {
            stage.join(ROOM, &Profile::full(), quality);
        }
        stage.watch(0, 0, 1);
        stage.watch(1, 0, 0);
        stage.connect_all();
        stage.run(20 * SECOND);
        for seat in 0..2 {
            let peer = &stage.seats[seat].peer;
            let (video, audio) = (&peer.screen.video[0], &peer.screen.audio[0]);
            assert_eq!((video.repaired, peer.studio.resent, video.jumps.len()), (0, 0, 0));
            let first = *audio.sounds.keys().next().expect("sound was heard");
            let last = *audio.sounds.keys().last().expect("sound was heard");
            assert_eq!(audio.sounds.len() as u32, last - first + 1, "not one sound is missing");
            let figures = video.decoder.figures();
            assert_eq!((figures.lost, figures.undecodable, figures.unfinished), (0, 0, 0));
            let requests = &peer.studio.key_frame_requests;
            assert!(
                requests.len() <= 2,
                "one to begin with, and one for the larger layer: {requests:?}"
            );
        }
        assert_eq!((stage.count(Count::NackOut), stage.count(Count::NackIn)), (0, 0));
    });
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let run = |seed| {
        let mut stage = Stage::new(seed);
        for _ in 0..2 {
            stage.join(ROOM, &Profile::full(), Quality::lossy(100));
        }
        stage.watch(0, 0, 1);
        stage.watch(1, 0, 0);
        stage.connect_all();
        stage.run(3 * SECOND);
        let seen = |seat: usize| stage.seats[seat].peer.screen.video[0].decoded.clone();
        let seen = [0, 1].map(|seat| seen(seat).iter().map(|(at, _)| *at - stage.start).collect::<Vec<_>>());
        (
            seen,
            [0, 1].map(|seat| stage.links(seat)),
            stage.stats(0).expect("a member").slots,
        )
    };
    let seed = super::seed(5);
    assert_eq!(run(seed), run(seed));
    assert_ne!(run(seed).0, run(seed + 1).0);
}
