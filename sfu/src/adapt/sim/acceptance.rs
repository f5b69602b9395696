//! The figures of issue #4 in virtual time: the 95th percentile over twenty seeds.
#![expect(clippy::print_stdout, reason = "the figures are what these tests are read for")]

use super::{LinkConfig, World, p95, seeds, story};
use crate::media::{Layer, Target};

const P480: Target = Target::Video(Layer::P480);
const P720: Target = Target::Video(Layer::P720);

/// The cut comes at a moment of its own in each run, and lasts about 15 s.
fn cut(kbps: u64, seed: u64) -> (World, u64, u64) {
    let at = 10_000 + (seed * 137) % 1_000;
    let back = at + 15_000 + (seed * 331) % 2_000;
    let mut link = LinkConfig::steps(&[(0, 2_500), (at, kbps), (back, 2_500)]);
    // From half a second to a second and a half of the low rate.
    link.queue = kbps as usize * 125 / 1_000 * [500, 800, 1_500][(seed % 3) as usize];
    let mut world = World::new(&[link], seed);
    world.run_until(back + 15_000);
    (world, at, back)
}

fn check(what: &str, value: f64, limit: f64, story: &str) {
    println!("{what}: {value:.2} (limit {limit})");
    assert!(value <= limit, "{what}: {value:.2} over {limit}\n{story}");
}

#[test]
fn a_cut_to_700_is_480p_at_once() {
    let (mut flowing, mut queue, mut back) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = String::new();
    for seed in seeds(20) {
        let (world, at, end) = cut(700, seed);
        let record = world.record();
        flowing.push(record.first_flow(Some(Layer::P480), at).map_or(1e9, |ms| ms as f64));
        // Probes, which come later, may touch it for a moment.
        queue.push(f64::from(record.queue_percentile(at + 1_500..end, 95)));
        back.push(record.first_flow(Some(Layer::P720), end).map_or(1e9, |ms| ms as f64));
        last = format!("seed {seed}, cut at {at}, back at {end}\n{}", story(record));
        if std::env::var("HOUSECALL_STORY").is_ok() {
            println!("{last}");
        }
    }
    check("700 kbit/s: 480p after ms", p95(flowing), 700.0, &last);
    check("700 kbit/s: queue p95 after 1.5 s, ms", p95(queue), 100.0, &last);
    check("back from 700: 720p after ms", p95(back), 12_000.0, &last);
}

#[test]
fn a_cut_to_400_is_audio_only_and_audio_holds() {
    let (mut audio_only, mut lost, mut gap) = (Vec::new(), Vec::new(), Vec::new());
    let (mut small, mut large) = (Vec::new(), Vec::new());
    let mut last = String::new();
    for seed in seeds(20) {
        let (world, at, end) = cut(400, seed);
        let record = world.record();
        audio_only.push(record.first(Target::AudioOnly, at).map_or(1e9, |ms| ms as f64));
        let (share, longest) = record.audio(at..end);
        lost.push(share * 100.0);
        gap.push(longest);
        small.push(record.first_flow(Some(Layer::P480), end).map_or(1e9, |ms| ms as f64));
        large.push(record.first_flow(Some(Layer::P720), end).map_or(1e9, |ms| ms as f64));
        last = format!("seed {seed}, cut at {at}, back at {end}\n{}", story(record));
        if std::env::var("HOUSECALL_STORY").is_ok() {
            println!("{last}");
        }
    }
    check("400 kbit/s: audio only after ms", p95(audio_only), 2_000.0, &last);
    check("400 kbit/s: audio lost, percent", p95(lost), 1.0, &last);
    // A frame that left when the line was still good stands in front of audio: so frames are spread.
    check("400 kbit/s: longest audio gap, ms", p95(gap), 120.0, &last);
    check("back from 400: 480p after ms", p95(small), 6_000.0, &last);
    check("back from 400: 720p after ms", p95(large), 12_000.0, &last);
}

/// Three people speak, 185 kbit/s of sound: 480p fits with a temporal layer less.
#[test]
fn a_cut_to_700_with_three_voices_keeps_a_picture_and_their_sound() {
    let (mut flowing, mut lost, mut gap, mut shown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut last = String::new();
    for seed in seeds(6) {
        let at = 10_000 + (seed * 137) % 1_000;
        let end = at + 30_000;
        let mut link = LinkConfig::steps(&[(0, 2_500), (at, 700)]);
        link.queue = 700 * 125 / 1_000 * [500, 800, 1_500][(seed % 3) as usize];
        let mut world = World::new(&[link], seed);
        world.viewers[0].record.more_voices = 2;
        world.run_until(end + 1_000);
        let record = world.record();
        last = format!("seed {seed}, cut at {at}\n{}", story(record));
        if std::env::var("HOUSECALL_STORY").is_ok() {
            println!("{last}");
        }
        assert_eq!(record.first(Target::AudioOnly, 0), None, "audio only, {last}");
        flowing.push(record.first_flow(Some(Layer::P480), at).map_or(1e9, |ms| ms as f64));
        let (share, longest) = record.audio(at..end);
        lost.push(share * 100.0);
        gap.push(longest);
        shown.push(-record.video_kbps(at + 3_000..end));
    }
    check("700 kbit/s, three voices: 480p after ms", p95(flowing), 700.0, &last);
    check("700 kbit/s, three voices: audio lost, percent", p95(lost), 1.0, &last);
    check(
        "700 kbit/s, three voices: longest audio gap, ms",
        p95(gap),
        200.0,
        &last,
    );
    check(
        "700 kbit/s, three voices: picture, kbit/s (negative)",
        p95(shown),
        -250.0,
        &last,
    );
}

#[test]
fn constant_capacity_settles() {
    let mut worst = 0;
    // Twenty with `HOUSECALL_SEEDS=20`; unoptimised, each is half an hour of virtual time.
    for kbps in (300..=3_000).step_by(100) {
        for seed in seeds(1) {
            let mut world = World::new(&[LinkConfig::constant(kbps)], seed);
            world.run_until(60_000);
            let switches = world.record().moves_after(15_000);
            worst = worst.max(switches);
            assert!(
                switches <= 2,
                "{switches} switches at {kbps} kbit/s, seed {seed}\n{}",
                story(world.record())
            );
        }
    }
    println!("constant capacity: at most {worst} switches after 15 s");
}

#[test]
fn steady_lines_are_used() {
    for (kbps, rung, need) in [(1_000, P480, 580.0), (3_000, P720, 1_450.0)] {
        let (mut used, mut queue) = (Vec::new(), Vec::new());
        let mut last = String::new();
        for seed in seeds(6) {
            let mut world = World::new(&[LinkConfig::constant(kbps)], seed);
            world.run_until(40_000);
            let record = world.record();
            used.push(-record.video_kbps(20_000..40_000) / need * 100.0);
            queue.push(f64::from(record.queue_percentile(20_000..40_000, 95)));
            last = format!("{rung:?}, seed {seed}\n{}", story(record));
        }
        check(
            &format!("{kbps} kbit/s: use of the rung, percent (negative)"),
            p95(used),
            -85.0,
            &last,
        );
        check(&format!("{kbps} kbit/s: queue p95, ms"), p95(queue), 50.0, &last);
    }
}

#[test]
fn a_capacity_that_swings_around_a_threshold_does_not_make_the_picture_swing() {
    // What 720p needs, what 480p needs, the floor.
    for middle in [1_600, 700, 500] {
        for seed in seeds(3) {
            let steps: Vec<(u64, u64)> = (0..40)
                .map(|number| {
                    (
                        number * 2_000,
                        if number % 2 == 0 {
                            middle * 11 / 10
                        } else {
                            middle * 9 / 10
                        },
                    )
                })
                .collect();
            let mut world = World::new(&[LinkConfig::steps(&steps)], seed);
            world.run_until(75_000);
            let switches = world.record().moves_after(15_000);
            assert!(
                switches <= 2,
                "{switches} switches in 60 s around {middle} kbit/s, seed {seed}\n{}",
                story(world.record())
            );
        }
    }
}

/// TCP and TLS: no packet is missing, and each loss holds up all behind it.
#[test]
fn a_line_through_tcp_keeps_its_picture_and_is_seen_to_be_thin() {
    let through_tcp = |link| LinkConfig {
        ordered: true,
        loss_permille: 10,
        queue: 200_000,
        ..link
    };
    let mut switches = 0;
    for seed in seeds(4) {
        for kbps in [1_500, 2_500, 5_000] {
            let mut world = World::new(&[through_tcp(LinkConfig::constant(kbps))], seed);
            world.run_until(120_000);
            let record = world.record();
            switches += record.moves.len();
            assert_eq!(
                record.first(Target::AudioOnly, 0),
                None,
                "audio only at {kbps} kbit/s, seed {seed}\n{}",
                story(record)
            );
        }
    }
    println!(
        "TCP with 1 % lost: no picture lost, {switches} switches in {} minutes",
        6 * seeds(4).count()
    );
    let (mut down, mut back) = (Vec::new(), Vec::new());
    let mut last = String::new();
    for seed in seeds(4) {
        let mut world = World::new(
            &[through_tcp(LinkConfig::steps(&[
                (0, 2_500),
                (10_000, 300),
                (30_000, 2_500),
            ]))],
            seed,
        );
        world.run_until(60_000);
        let record = world.record();
        down.push(record.first(Target::AudioOnly, 10_000).map_or(1e9, |ms| ms as f64));
        back.push(record.first_flow(Some(Layer::P480), 30_000).map_or(1e9, |ms| ms as f64));
        last = format!("seed {seed}\n{}", story(record));
    }
    check("TCP to 300 kbit/s: audio only after ms", p95(down), 2_000.0, &last);
    check("TCP back from 300: 480p after ms", p95(back), 7_000.0, &last);
}

/// A line that is good enough, and bad all the same.
fn wifi(kbps: u64) -> LinkConfig {
    LinkConfig {
        jitter_ms: 30,
        loss_permille: 10,
        stall_ms: 250,
        queue: 150_000,
        ..LinkConfig::constant(kbps)
    }
}

/// 100 hours with `HOUSECALL_HOURS=100`.
#[test]
fn a_jittery_line_of_a_megabit_never_loses_its_picture() {
    let hours = std::env::var("HOUSECALL_HOURS").ok();
    let runs = hours.map_or(4, |text| 12 * text.parse::<u64>().expect("a number"));
    let mut switches = 0;
    for run in 1..=runs {
        let kbps = [1_000, 1_500, 2_500, 5_000][(run % 4) as usize];
        let mut world = World::new(&[wifi(kbps)], run);
        world.run_until(300_000);
        let record = world.record();
        switches += record.moves.len();
        assert_eq!(
            record.first(Target::AudioOnly, 0),
            None,
            "audio only at {kbps} kbit/s, seed {run}\n{}",
            story(record)
        );
    }
    println!("Wi-Fi: no picture lost, {} switches in {} minutes", switches, runs * 5);
}

#[test]
fn a_bad_line_is_nobody_elses_business() {
    let mut furthest: f64 = 0.0;
    for seed in seeds(5) {
        // One that shows no limit, and one that does.
        for kbps in [3_000, 1_100] {
            let good = LinkConfig::constant(kbps);
            let bad = LinkConfig {
                loss_permille: 50,
                jitter_ms: 40,
                ..LinkConfig::steps(&[(0, 2_500), (8_000, 300), (20_000, 900)])
            };
            let mut alone = World::new(std::slice::from_ref(&good), seed);
            alone.run_until(30_000);
            let mut both = World::new(&[good, bad], seed);
            both.run_until(30_000);
            let (one, other) = (&alone.viewers[0].record, &both.viewers[0].record);
            let rungs = |record: &super::Record| record.moves.iter().map(|(_, step)| step.to).collect::<Vec<_>>();
            assert_eq!(rungs(one), rungs(other), "seed {seed}\n{}", story(other));
            let used = |record: &super::Record| record.video_kbps(10_000..30_000);
            // The other's key frames are everybody's.
            assert!((used(one) - used(other)).abs() <= 0.05 * used(one), "seed {seed}");
            let mean = |record: &super::Record| {
                let values = &record.estimate[1_000..3_000];
                values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64
            };
            let apart = (mean(one) - mean(other)).abs() / mean(one).max(1.0);
            furthest = furthest.max(apart);
            assert!(
                apart <= 0.05,
                "seed {seed}, {kbps} kbit/s: {:.1} % apart",
                100.0 * apart
            );
        }
    }
    println!(
        "one viewer's bad line: the others' estimate at most {:.1} % apart",
        100.0 * furthest
    );
}

#[test]
fn feedback_that_is_late_or_lost_does_no_harm() {
    for seed in seeds(4) {
        let link = LinkConfig {
            feedback_extra_ms: 200,
            feedback_loss_permille: 200,
            ..LinkConfig::constant(3_000)
        };
        let mut world = World::new(&[link], seed);
        world.run_until(60_000);
        let record = world.record();
        assert_eq!(
            record.first(Target::AudioOnly, 0),
            None,
            "seed {seed}\n{}",
            story(record)
        );
        assert!(record.moves_after(15_000) == 0, "seed {seed}\n{}", story(record));
    }
}

#[test]
fn traffic_of_others_costs_a_rung_at_most() {
    for seed in seeds(4) {
        let link = LinkConfig {
            others_kbps: 1_500,
            queue: 100_000,
            ..LinkConfig::constant(2_500)
        };
        let mut world = World::new(&[link], seed);
        world.run_until(60_000);
        let record = world.record();
        assert_eq!(
            record.first(Target::AudioOnly, 0),
            None,
            "seed {seed}\n{}",
            story(record)
        );
        assert!(record.moves_after(15_000) <= 4, "seed {seed}\n{}", story(record));
    }
}

/// Loss by chance is not congestion, however suddenly it begins. With 2 and 5 Mbit/s even 720p stays for the most part.
#[test]
fn a_line_that_begins_to_lose_a_tenth_keeps_its_picture() {
    let mut switches = 0;
    let mut runs = 0;
    for seed in seeds(4) {
        for kbps in [1_000, 2_500, 5_000] {
            let link = LinkConfig {
                loss_permille: 100,
                loss_from_ms: 10_000,
                jitter_ms: 5,
                ..LinkConfig::constant(kbps)
            };
            let mut world = World::new(&[link], seed);
            world.run_until(130_000);
            let record = world.record();
            assert_eq!(
                record.first(Target::AudioOnly, 0),
                None,
                "audio only at {kbps} kbit/s, seed {seed}\n{}",
                story(record)
            );
            switches += record.moves_after(10_000);
            runs += 1;
        }
    }
    println!(
        "a tenth lost by chance: no picture lost, {switches} switches in {} minutes",
        2 * runs
    );
}

/// A policer drops what is too much and holds nothing back: only loss shows it.
#[test]
fn a_path_without_a_queue_is_seen_by_its_losses() {
    let (mut down, mut lost) = (Vec::new(), Vec::new());
    let mut last = String::new();
    for seed in seeds(6) {
        let at = 10_000 + (seed * 137) % 1_000;
        let link = LinkConfig {
            burst: 60_000,
            ..LinkConfig::steps(&[(0, 5_000), (at, 300)])
        };
        let mut world = World::new(&[link], seed);
        world.run_until(at + 20_000);
        let record = world.record();
        down.push(record.first(Target::AudioOnly, at).map_or(1e9, |ms| ms as f64));
        lost.push(100.0 * record.audio(at + 3_000..at + 20_000).0);
        last = format!("seed {seed}, cut at {at}\n{}", story(record));
    }
    check("policer of 300 kbit/s: audio only after ms", p95(down), 3_000.0, &last);
    check(
        "policer of 300 kbit/s: audio lost from 3 s on, percent",
        p95(lost),
        3.0,
        &last,
    );
}
