//! Accounts of a received stream against the formulas of RFC 3550.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::layer::{Accepted, LayerReceiver, Order, Refused, Repair};
use crate::clock::{CompactNtp, NtpTime, testing};
use crate::ids::Ssrc;
use crate::limits;
use crate::media::Bitrate;
use crate::rtcp::SenderInfo;

const MS: Duration = Duration::from_millis(1);

fn receiver() -> LayerReceiver {
    LayerReceiver::new(Ssrc(7), 90_000, Repair::Nack)
}

#[test]
fn order_duplicates_and_age() {
    let now = testing::start();
    let mut layer = receiver();
    let mut check = |sequence, expected: Result<Order, Refused>| {
        let accepted = layer.handle_packet(sequence, 0, 100, now);
        assert_eq!(accepted.map(|accepted| accepted.order), expected, "{sequence}");
        if let Ok(accepted) = accepted {
            assert_eq!(accepted.sequence as u16, sequence);
        }
    };
    check(65_534, Ok(Order::Newest));
    check(1, Ok(Order::Newest));
    check(65_535, Ok(Order::Late));
    check(65_535, Err(Refused::Duplicate));
    check(65_534, Err(Refused::Duplicate));
    check(65_533, Ok(Order::Late));
    check(2_046, Ok(Order::Newest));
    check(65_534, Err(Refused::TooOld));
    check(65_535, Err(Refused::Duplicate));
    check(0, Ok(Order::Late));
    // Far ahead, past everything remembered.
    check(30_000, Ok(Order::Newest));
    check(29_999, Ok(Order::Late));
    check(1, Err(Refused::TooOld));
}

#[test]
fn wide_numbers_go_on_over_the_wrap() {
    let now = testing::start();
    let mut layer = receiver();
    for sequence in 65_000..265_000_u64 {
        let accepted = layer.handle_packet(sequence as u16, 0, 1, now);
        let newest = Accepted {
            sequence: 65_536 + sequence,
            order: Order::Newest,
        };
        assert_eq!(accepted, Ok(newest));
    }
    let block = layer.report_block(now).unwrap();
    assert_eq!(u64::from(block.highest_sequence), 65_000 + 199_999);
    assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 0));
}

/// RFC 3550 §A.3: lost = expected − received; the fraction is that of the interval, in 1/256.
#[test]
fn loss_is_counted_after_repair() {
    let now = testing::start();
    let mut layer = receiver();
    let block = |layer: &mut LayerReceiver| {
        let block = layer.report_block(now).unwrap();
        (block.fraction_lost, block.cumulative_lost, block.highest_sequence)
    };
    assert_eq!(layer.report_block(now), None);
    for sequence in (0..100).filter(|sequence| sequence % 4 != 1) {
        layer.handle_packet(sequence, 0, 100, now).unwrap();
    }
    assert_eq!(block(&mut layer), (64, 25, 99));
    // All of them come back, and the next interval loses half: more came than was expected.
    for sequence in (0..100).filter(|sequence| sequence % 4 == 1) {
        layer.handle_repaired(sequence, 100, now).unwrap();
    }
    for sequence in (100..120).filter(|sequence| sequence % 2 == 1) {
        layer.handle_packet(sequence, 0, 100, now).unwrap();
    }
    assert_eq!(block(&mut layer), (0, 10, 119));
    assert_eq!(block(&mut layer), (0, 10, 119));
    layer.handle_packet(139, 0, 100, now).unwrap();
    assert_eq!(block(&mut layer), (243, 29, 139));
    let counters = layer.counters();
    assert_eq!((counters.packets, counters.bytes), (111, 11_100));
    assert_eq!((counters.lost, counters.repaired), (29, 25));
}

#[test]
fn last_sender_report_and_the_delay_since() {
    let now = testing::start();
    let mut layer = receiver();
    layer.handle_packet(1, 0, 1, now).unwrap();
    let block = layer.report_block(now).unwrap();
    assert_eq!(
        (block.last_sr, block.delay_since_last_sr),
        (CompactNtp::ZERO, CompactNtp::ZERO)
    );
    let info = SenderInfo {
        ssrc: Ssrc(7),
        ntp: NtpTime::from_bits(0x1111_2222_3333_4444),
        rtp_timestamp: 99,
        packets: 0,
        bytes: 0,
    };
    layer.handle_sender_report(&info, now + MS);
    let block = layer.report_block(now + 5_251 * MS).unwrap();
    assert_eq!(block.last_sr, CompactNtp(0x2222_3333));
    // The delay of the example in RFC 3550 §6.4.1, figure 2.
    assert_eq!(block.delay_since_last_sr, CompactNtp(0x0005_4000));
    let (mapping, arrival) = layer.sender_report().unwrap();
    assert_eq!((mapping.ntp, mapping.rtp, arrival), (info.ntp, 99, now + MS));
}

#[test]
fn retransmissions_count_once_and_only_near_what_was_sent() {
    let now = testing::start();
    let mut layer = receiver();
    assert_eq!(
        layer.handle_repaired(5, 1, now),
        Err(Refused::TooNew),
        "of a stream that never was"
    );
    layer.handle_packet(10, 0, 1, now).unwrap();
    assert_eq!(layer.handle_repaired(10, 1, now), Err(Refused::Duplicate), "a probe");
    // The tail of a burst may come back before anything newer.
    assert_eq!(layer.handle_repaired(12, 1, now).unwrap().order, Order::Newest);
    let far = 12 + limits::MAX_HOLES as u16 + 1;
    assert_eq!(layer.handle_repaired(far, 1, now), Err(Refused::TooNew));
    assert_eq!(layer.counters().repaired, 1);
    assert_eq!(layer.counters().lost, 1);
}

#[test]
fn rates() {
    let start = testing::start();
    let mut layer = receiver();
    for packet in 0..200_u16 {
        let now = start + u32::from(packet) * 5 * MS;
        layer.handle_packet(packet, 0, 1_000, now).unwrap();
    }
    let rate = layer.rate(start + 1_000 * MS);
    let error = rate.bps().abs_diff(Bitrate::from_kbps(1_600).bps());
    assert!(error < 20_000, "{rate}");
}

/// RFC 3550 §6.4.1: J += (|D| − J) / 16, with D the difference of spacing at the receiver and at the sender.
#[test]
fn jitter_follows_the_formula() {
    let start = testing::start();
    // A path that adds 0, 10, 3, 7, … ms to packets sent each 20 ms.
    let delays = [0_u32, 10, 3, 7, 0, 0, 25, 4, 4, 11, 2];
    for rate in [48_000_u32, 90_000] {
        let mut layer = LayerReceiver::new(Ssrc(1), rate, Repair::None);
        let (mut jitter, mut before) = (0.0_f64, None::<f64>);
        for packet in 0..500_u32 {
            let delay = delays[packet as usize % delays.len()];
            // Over the wrap of the timestamp, too.
            let timestamp = (packet * rate / 50).wrapping_sub(rate);
            let arrival = start + (packet * 20 + delay) * MS;
            layer.handle_packet(packet as u16, timestamp, 1, arrival).unwrap();
            let transit = f64::from(delay) * f64::from(rate) / 1_000.0;
            if let Some(before) = before {
                let difference: f64 = transit - before;
                jitter += (difference.abs() - jitter) / 16.0;
            }
            before = Some(transit);
        }
        let reported = f64::from(layer.report_block(start).unwrap().jitter);
        assert!((reported - jitter).abs() <= jitter / 50.0 + 1.0, "{reported} {jitter}");
        let seconds = layer.counters().jitter.as_secs_f64();
        assert!((seconds - jitter / f64::from(rate)).abs() < 0.001);
    }
}

#[test]
fn a_timestamp_that_jumps_is_no_jitter() {
    let start = testing::start();
    let mut layer = receiver();
    for (sequence, timestamp) in [(1, 0), (2, 0x7fff_ffff), (3, 0xffff_fff0), (4, 5)] {
        layer.handle_packet(sequence, timestamp, 1, start).unwrap();
    }
    assert_eq!(layer.report_block(start).unwrap().jitter, 1, "21 ticks / 16");
}

proptest! {
    /// Reordering, duplicates and gaps within the window, over the wrap, against the same accounts kept with a set.
    #[test]
    fn accounts_agree_with_a_set(
        start: u16,
        steps in vec(prop_oneof![8 => Just(1_i64), 1 => 2..40_i64, 2 => -20..1_i64], 1..500),
        reports in vec(any::<bool>(), 500),
    ) {
        let now = testing::start();
        let mut layer = receiver();
        let mut at = 0_i64;
        let mut seen = BTreeSet::new();
        let mut last_lost = 0;
        for (step, report) in steps.iter().zip(reports) {
            at += step;
            let sequence = start.wrapping_add(at as u16);
            let known = !seen.insert(at);
            let accepted = layer.handle_packet(sequence, 0, 10, now);
            prop_assert_eq!(accepted.is_err(), known);
            let packets = seen.len() as u64;
            let expected = seen.last().unwrap() - seen.first().unwrap() + 1;
            let lost = expected as u64 - packets;
            let counters = layer.counters();
            prop_assert_eq!((counters.packets, counters.bytes, counters.lost), (packets, packets * 10, lost));
            if report {
                let block = layer.report_block(now).unwrap();
                prop_assert_eq!(block.cumulative_lost as u64, lost);
                prop_assert!(block.fraction_lost == 0 || lost > last_lost);
                last_lost = lost;
            }
        }
    }

    #[test]
    fn nothing_a_stranger_sends_panics(
        packets in vec((any::<u16>(), any::<u32>(), any::<bool>(), 0..10_000_u64), 0..300),
    ) {
        let mut now: Instant = testing::start();
        let mut layer = receiver();
        for (sequence, timestamp, repaired, micros) in packets {
            now += Duration::from_micros(micros);
            let accepted = if repaired {
                layer.handle_repaired(sequence, 10, now)
            } else {
                layer.handle_packet(sequence, timestamp, 10, now)
            };
            if let Ok(accepted) = accepted
                && timestamp.is_multiple_of(7)
            {
                layer.handle_key_frame(accepted.sequence);
            }
            prop_assert!(layer.poll_nack(now).len() <= limits::MAX_HOLES);
            layer.take_broken();
            layer.report_block(now);
        }
    }
}
