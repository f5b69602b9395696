//! Requests for missing packets: single cases, then whole streams over a bad path in virtual time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::layer::{LayerReceiver, Refused, Repair};
use crate::clock::testing;
use crate::ids::Ssrc;
use crate::limits;

const MS: Duration = Duration::from_millis(1);

fn receiver() -> LayerReceiver {
    LayerReceiver::new(Ssrc(7), 90_000, Repair::Nack)
}

/// Polls each millisecond; (ms, numbers asked for).
fn asked(layer: &mut LayerReceiver, start: Instant, span: std::ops::Range<u32>) -> Vec<(u32, Vec<u16>)> {
    let mut asked = Vec::new();
    for ms in span {
        let now = start + ms * MS;
        let due = layer.poll_timeout().is_some_and(|due| due <= now);
        let list = layer.poll_nack(now);
        assert!(due || list.is_empty(), "nothing is sent that no timeout announced");
        if !list.is_empty() {
            asked.push((ms, list.to_vec()));
        }
    }
    asked
}

#[test]
fn a_hole_is_asked_for_after_the_tolerance_and_again_with_growing_pauses() {
    let start = testing::start();
    let mut layer = receiver();
    layer.handle_packet(65_534, 0, 1, start).unwrap();
    assert_eq!(layer.poll_timeout(), None);
    layer.handle_packet(1, 0, 1, start).unwrap();
    let times: Vec<u32> = asked(&mut layer, start, 0..2_000)
        .into_iter()
        .map(|(ms, list)| {
            assert_eq!(list, [65_535, 0]);
            ms
        })
        .collect();
    assert_eq!(times, [5, 45, 125, 245, 405]);
    assert!(layer.take_broken(), "then it is given up");
    assert!(!layer.take_broken(), "which is said once");
    assert_eq!(layer.poll_timeout(), None);
}

#[test]
fn reordering_within_the_tolerance_is_not_asked_for() {
    let start = testing::start();
    let mut layer = receiver();
    layer.handle_packet(1, 0, 1, start).unwrap();
    layer.handle_packet(3, 0, 1, start).unwrap();
    layer.handle_packet(2, 0, 1, start + 4 * MS).unwrap();
    assert_eq!(asked(&mut layer, start, 0..1_000), []);
    assert!(!layer.take_broken());
}

#[test]
fn repairs_measure_the_round_trip_and_requests_follow_it() {
    let start = testing::start();
    let mut layer = receiver();
    assert_eq!(layer.round_trip(), None);
    layer.handle_packet(1, 0, 1, start).unwrap();
    layer.handle_packet(3, 0, 1, start).unwrap();
    assert_eq!(asked(&mut layer, start, 0..20), [(5, vec![2])]);
    layer.handle_repaired(2, 1, start + 17 * MS).unwrap();
    assert_eq!(layer.round_trip(), Some(12 * MS));
    layer.handle_packet(5, 0, 1, start + 100 * MS).unwrap();
    let times: Vec<u32> = asked(&mut layer, start, 100..300).iter().map(|(ms, _)| *ms).collect();
    // 12 + 3 + 5 ms, five times.
    assert_eq!(times, [105, 125, 145, 165, 185, 205, 245]);
    // Answered after several requests: which one is unknown, so nothing is learned.
    layer.handle_repaired(4, 1, start + 300 * MS).unwrap();
    assert_eq!(layer.round_trip(), Some(12 * MS));
    layer.handle_packet(7, 0, 1, start + 400 * MS).unwrap();
    assert_eq!(asked(&mut layer, start, 400..410), [(405, vec![6])]);
    layer.handle_repaired(6, 1, start + 505 * MS).unwrap();
    assert_eq!(layer.round_trip(), Some(23 * MS));
}

#[test]
fn a_round_trip_longer_than_the_first_interval_is_learned_and_so_is_one_that_grew() {
    let start = testing::start();
    let mut layer = receiver();
    // Answers come after the second request while nothing is known; from then on after the first.
    let mut lose = |at: u32, lost: u16, round_trip: u32| {
        layer.handle_packet(lost - 1, 0, 1, start + at * MS).unwrap();
        layer.handle_packet(lost + 1, 0, 1, start + at * MS).unwrap();
        let answered = at + 5 + round_trip;
        let requests = asked(&mut layer, start, at..answered).len();
        layer.handle_repaired(lost, 1, start + answered * MS).unwrap();
        (requests, layer.round_trip())
    };
    assert_eq!(lose(0, 2, 50), (2, Some(50 * MS)));
    assert_eq!(lose(200, 5, 50), (1, Some(50 * MS)));
    // It was 50 ms; with 90 each hole is asked for twice, and the answer follows the second request too soon to be to it.
    assert_eq!(lose(400, 8, 90), (2, Some(90 * MS)));
    assert_eq!(lose(600, 11, 90), (1, Some(90 * MS)));
}

#[test]
fn a_late_original_measures_nothing() {
    let start = testing::start();
    let mut layer = receiver();
    layer.handle_packet(1, 0, 1, start).unwrap();
    layer.handle_packet(3, 0, 1, start).unwrap();
    assert_eq!(asked(&mut layer, start, 0..20).len(), 1);
    layer.handle_packet(2, 0, 1, start + 20 * MS).unwrap();
    assert_eq!(layer.round_trip(), None);
    assert_eq!(asked(&mut layer, start, 20..1_000), []);
}

#[test]
fn holes_before_a_key_frame_are_dropped_and_later_ones_kept() {
    let start = testing::start();
    let mut layer = receiver();
    layer.handle_packet(1, 0, 1, start).unwrap();
    let key_frame = layer.handle_packet(5, 0, 1, start).unwrap();
    layer.handle_packet(8, 0, 1, start).unwrap();
    layer.handle_key_frame(key_frame.sequence);
    // On a path that loses so much each request is sent twice.
    assert_eq!(asked(&mut layer, start, 0..20), [(5, vec![6, 7]), (13, vec![6, 7])]);
}

#[test]
fn a_large_jump_wants_a_key_frame_instead_of_a_thousand_requests() {
    let start = testing::start();
    let mut layer = receiver();
    layer.handle_packet(0, 0, 1, start).unwrap();
    layer.handle_packet(limits::MAX_HOLES as u16 + 1, 0, 1, start).unwrap();
    assert!(!layer.take_broken(), "as many as there may be");
    assert_eq!(asked(&mut layer, start, 0..6)[0].1.len(), limits::MAX_HOLES);
    layer.handle_packet(5_000, 0, 1, start + 10 * MS).unwrap();
    assert!(layer.take_broken());
    assert_eq!(asked(&mut layer, start, 10..1_000), []);
    // While the key frame is awaited, it is not wanted again for the next jump, but new holes are repaired: some are the key frame's.
    layer.handle_packet(9_000, 0, 1, start + 1_000 * MS).unwrap();
    assert!(!layer.take_broken());
    let key_frame = layer.handle_packet(9_001, 0, 1, start + 1_010 * MS).unwrap();
    layer.handle_key_frame(key_frame.sequence);
    layer.handle_packet(9_003, 0, 1, start + 1_020 * MS).unwrap();
    assert_eq!(asked(&mut layer, start, 1_020..1_030), [(1_025, vec![9_002])]);
    layer.handle_packet(20_000, 0, 1, start + 1_040 * MS).unwrap();
    assert!(layer.take_broken(), "a new loss after the key frame is new");
}

#[test]
fn without_repair_nothing_is_asked_for() {
    let start = testing::start();
    let mut layer = LayerReceiver::new(Ssrc(7), 48_000, Repair::None);
    layer.handle_packet(1, 0, 1, start).unwrap();
    layer.handle_packet(9_000, 0, 1, start).unwrap();
    assert_eq!(asked(&mut layer, start, 0..1_000), []);
    assert!(!layer.take_broken());
    assert_eq!(layer.round_trip(), None);
}

/// SplitMix64, so that a failing case is one number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// What a path does to a stream.
#[derive(Clone, Copy, Debug)]
struct Path {
    /// Percent of packets that start a burst of loss.
    loss: u64,
    /// Longest burst.
    burst: u64,
    /// Percent of packets delayed by up to 15 ms, so that others overtake them.
    reorder: u64,
    duplicate: u64,
    round_trip: u32,
    /// Percent of retransmissions that are lost.
    repair_loss: u64,
}

enum Delivery {
    Original(u64),
    Repair(u64),
}

/// Four seconds of 180 packets/s over the path, polled each millisecond.
fn run(path: Path, seed: u64) {
    const PACKETS: u64 = 720;
    let mut random = Random(seed);
    let start = testing::start();
    let first = random.next() as u16;
    let number = |packet: u64| first.wrapping_add(packet as u16);
    let packet_of: HashMap<u16, u64> = (0..PACKETS).map(|packet| (number(packet), packet)).collect();

    let mut deliveries: BTreeMap<(u64, u64), Delivery> = BTreeMap::new();
    let mut unique = 0;
    let mut deliver = |ms: u64, what: Delivery, deliveries: &mut BTreeMap<(u64, u64), Delivery>| {
        unique += 1;
        deliveries.insert((ms, unique), what);
    };
    let mut lost_until = 0;
    for packet in 0..PACKETS {
        let sent = packet * 1_000 / 180;
        if packet > 0 && packet + 1 < PACKETS && random.chance(path.loss) {
            lost_until = (packet + 1 + random.next() % path.burst).min(PACKETS - 1);
        }
        if packet < lost_until {
            continue;
        }
        let delay = if random.chance(path.reorder) {
            random.next() % 15
        } else {
            0
        };
        deliver(sent + delay, Delivery::Original(packet), &mut deliveries);
        if random.chance(path.duplicate) {
            deliver(
                sent + delay + random.next() % 30,
                Delivery::Original(packet),
                &mut deliveries,
            );
        }
    }

    let mut layer = receiver();
    let mut arrived = BTreeSet::new();
    let mut highest = None;
    // Where the stream begins for the receiver. What was sent before may still come late; it is not asked for.
    let mut begin = None;
    // When each packet was first seen to be missing, and how often it was asked for.
    let mut missing: BTreeMap<u64, u64> = BTreeMap::new();
    let mut requests: BTreeMap<u64, u32> = BTreeMap::new();
    let mut broken = false;
    let mut slowest_repair = 0;
    for ms in 0..PACKETS * 1_000 / 180 + 3_000 {
        let now = start + Duration::from_millis(ms);
        while let Some(entry) = deliveries.first_entry().filter(|entry| entry.key().0 <= ms) {
            let (packet, result) = match entry.remove() {
                Delivery::Original(packet) => (packet, layer.handle_packet(number(packet), 0, 100, now)),
                Delivery::Repair(packet) => (packet, layer.handle_repaired(number(packet), 100, now)),
            };
            assert_eq!(result.is_ok(), arrived.insert(packet), "accepted once");
            if let Some(since) = missing.remove(&packet) {
                slowest_repair = slowest_repair.max(ms - since);
            }
            begin.get_or_insert(packet);
            let before = highest.unwrap_or(packet);
            missing.extend((before + 1..packet).map(|hole| (hole, ms)));
            highest = Some(before.max(packet));
        }
        let list = layer.poll_nack(now);
        assert!(
            list.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) < 1 << 15),
            "ascending"
        );
        for sequence in list {
            let packet = packet_of[&sequence];
            assert!(
                !arrived.contains(&packet),
                "{packet} is asked for after it came, at {ms} ms"
            );
            assert!(missing.contains_key(&packet), "{packet} is not missing at {ms} ms");
            let count = requests.entry(packet).or_default();
            *count += 1;
            assert!(*count <= 2 * u32::from(limits::MAX_NACK_TRIES));
            if !random.chance(path.repair_loss) {
                deliver(
                    ms + u64::from(path.round_trip),
                    Delivery::Repair(packet),
                    &mut deliveries,
                );
            }
        }
        broken |= layer.take_broken();
        for (hole, since) in &missing {
            let prompt = ms < since + limits::NACK_TOLERANCE.as_millis() as u64;
            assert!(
                prompt || requests.contains_key(hole),
                "{hole} is missing since {since} ms, unasked at {ms} ms"
            );
        }
    }
    assert_eq!(layer.poll_timeout(), None, "nothing is asked for forever");
    let never_came = highest.unwrap() + 1 - arrived.first().unwrap() - arrived.len() as u64;
    assert_eq!(layer.counters().lost, never_came);
    let wanted = begin.unwrap()..=highest.unwrap();
    let given_up = wanted.filter(|packet| !arrived.contains(packet)).count();
    let gave_up_too_early = u128::from(slowest_repair) >= limits::MAX_HOLE_AGE.as_millis();
    assert!(broken || given_up == 0, "what is lost for good needs a key frame");
    assert!(!broken || given_up > 0 || gave_up_too_early, "a key frame nobody needs");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every hole is asked for at once, none after it came, all in bounds, over any path.
    #[test]
    fn streams_over_bad_paths(
        seed: u64,
        loss in 0..8_u64,
        burst in 1..12_u64,
        reorder in 0..20_u64,
        duplicate in 0..5_u64,
        round_trip in 1..150_u32,
        repair_loss in 0..90_u64,
    ) {
        run(Path { loss, burst, reorder, duplicate, round_trip, repair_loss }, seed);
    }
}

/// The first packet is delayed beyond the second, which is lost: the stream begins at the third.
#[test]
fn a_stream_that_begins_out_of_order() {
    let path = Path {
        loss: 1,
        burst: 1,
        reorder: 5,
        duplicate: 0,
        round_trip: 1,
        repair_loss: 0,
    };
    run(path, 1_993_398_885_475_202_956);
}

#[test]
fn speech_is_asked_for_while_it_can_be_heard_and_comes_on_its_own_ssrc() {
    let start = testing::start();
    let mut layer = LayerReceiver::new(Ssrc(7), 48_000, Repair::Speech);
    layer.handle_packet(1, 960, 100, start).unwrap();
    layer.handle_packet(3, 2_880, 100, start + 40 * MS).unwrap();
    assert_eq!(asked(&mut layer, start, 0..80), [(45, vec![2])]);
    layer.handle_packet(2, 1_920, 100, start + 85 * MS).unwrap();
    let counters = layer.counters();
    assert_eq!((counters.packets, counters.lost, counters.repaired), (3, 0, 1));
    assert_eq!(
        counters.jitter,
        Duration::ZERO,
        "what is sent again says nothing of the path"
    );
    assert_eq!(layer.round_trip(), Some(40 * MS));
    layer.handle_packet(5, 4_800, 100, start + 100 * MS).unwrap();
    let times: Vec<u32> = asked(&mut layer, start, 100..2_000).iter().map(|(ms, _)| *ms).collect();
    assert_eq!(times, [105, 160, 215, 270, 325], "and no more: it is silence by then");
    // Overtaken by the next one, before anybody asked.
    layer.handle_packet(7, 6_720, 100, start + 2_000 * MS).unwrap();
    layer.handle_packet(6, 5_760, 100, start + 2_002 * MS).unwrap();
    assert_eq!(layer.counters().repaired, 1);
}

#[test]
fn what_came_with_the_next_packet_is_not_asked_for_and_comes_once() {
    let start = testing::start();
    let mut layer = LayerReceiver::new(Ssrc(7), 48_000, Repair::Speech);
    let first = layer.handle_packet(1, 960, 100, start).unwrap().sequence;
    assert!(!layer.handle_recovered(first - 1), "from before the first packet");
    let third = layer.handle_packet(3, 2_880, 100, start + 40 * MS).unwrap().sequence;
    assert!(layer.handle_recovered(third - 1));
    assert!(!layer.handle_recovered(third - 1), "it is there");
    assert_eq!(asked(&mut layer, start, 0..1_000), []);
    let counters = layer.counters();
    assert_eq!((counters.packets, counters.lost, counters.repaired), (3, 0, 1));
    let block = layer.report_block(start + 45 * MS).unwrap();
    assert_eq!(
        (block.cumulative_lost, block.fraction_lost),
        (0, (256 / 3) as u8),
        "the publisher sees what the line loses"
    );
    assert_eq!(
        layer.handle_packet(2, 1_920, 100, start + 50 * MS),
        Err(Refused::Duplicate)
    );
    assert_eq!(
        layer.counters().repaired,
        0,
        "it was overtaken, not lost: what is lost tells of the line"
    );
}
