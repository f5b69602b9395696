//! Feedback says exactly what was recorded: read back by `rtc-rtcp`, which shares no code with this crate.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{PacketStatusChunk, SymbolTypeTcc, TransportLayerCc};

use super::twcc::TwccRecorder;
use crate::clock::testing;
use crate::ids::Ssrc;
use crate::limits;

const MS: Duration = Duration::from_millis(1);

/// One feedback packet as the other side sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Feedback {
    count: u8,
    /// Each number with its arrival in ticks of 250 µs.
    statuses: Vec<(u16, Option<i64>)>,
}

fn decode(data: &[u8]) -> Feedback {
    let packets = rtc_rtcp::packet::unmarshal(&mut &*data).expect("what we send is well-formed");
    let packet: &TransportLayerCc = packets[0].as_any().downcast_ref().expect("transport feedback");
    assert_eq!((packet.sender_ssrc, packet.media_ssrc, packets.len()), (1, 2, 1));
    let symbols = packet.packet_chunks.iter().flat_map(|chunk| match chunk {
        PacketStatusChunk::RunLengthChunk(run) => vec![run.packet_status_symbol; usize::from(run.run_length)],
        PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
    });
    let mut deltas = packet.recv_deltas.iter();
    let mut at = i64::from(packet.reference_time) * 256;
    let statuses = symbols
        .take(usize::from(packet.packet_status_count))
        .enumerate()
        .map(|(index, symbol)| {
            let arrival = (symbol != SymbolTypeTcc::PacketNotReceived).then(|| {
                at += deltas.next().expect("a delta for each packet received").delta / 250;
                at
            });
            (packet.base_sequence_number.wrapping_add(index as u16), arrival)
        });
    Feedback {
        count: packet.fb_pkt_count,
        statuses: statuses.collect(),
    }
}

fn poll_into(recorder: &mut TwccRecorder, now: Instant, size: usize) -> Vec<Feedback> {
    let mut buffer = [0xaa; limits::MAX_DATAGRAM];
    let mut all = Vec::new();
    while let Some(length) = recorder.poll_feedback(now, Ssrc(2), &mut buffer[..size]) {
        assert!(length <= size);
        all.push(decode(&buffer[..length]));
    }
    all
}

fn poll(recorder: &mut TwccRecorder, now: Instant) -> Vec<Feedback> {
    poll_into(recorder, now, limits::MAX_DATAGRAM)
}

fn statuses(feedback: &[Feedback]) -> Vec<Vec<(u16, Option<i64>)>> {
    feedback.iter().map(|one| one.statuses.clone()).collect()
}

#[test]
fn feedback_is_sent_at_once_and_then_each_interval_while_there_is_something() {
    let start = testing::start();
    let mut recorder = TwccRecorder::new(Ssrc(1));
    assert_eq!(recorder.poll_timeout(), None);
    assert_eq!(poll(&mut recorder, start), []);
    recorder.record(65_535, start);
    assert_eq!(recorder.poll_timeout(), Some(start));
    assert_eq!(statuses(&poll(&mut recorder, start)), [[(65_535, Some(0))]]);
    assert_eq!(recorder.poll_timeout(), None);

    recorder.record(0, start + 10 * MS);
    recorder.record(3, start + 20 * MS);
    assert_eq!(recorder.poll_timeout(), Some(start + limits::TWCC_INTERVAL));
    assert_eq!(poll(&mut recorder, start + 49 * MS), []);
    let feedback = poll(&mut recorder, start + 50 * MS);
    assert_eq!(
        statuses(&feedback),
        [[(0, Some(40)), (1, None), (2, None), (3, Some(80))]]
    );
    assert_eq!(feedback[0].count, 1);
    assert_eq!(poll(&mut recorder, start + 500 * MS), []);
    // After a silence at once again.
    recorder.record(4, start + 600 * MS);
    assert_eq!(recorder.poll_timeout(), Some(start + 600 * MS));
}

#[test]
fn what_was_reported_lost_is_acknowledged_when_it_comes() {
    let start = testing::start();
    let mut recorder = TwccRecorder::new(Ssrc(1));
    recorder.record(10, start);
    recorder.record(12, start + MS);
    assert_eq!(
        statuses(&poll(&mut recorder, start + MS)),
        [[(10, Some(0)), (11, None), (12, Some(4))]]
    );
    recorder.record(11, start + 100 * MS);
    recorder.record(11, start + 101 * MS);
    recorder.record(12, start + 101 * MS);
    recorder.record(13, start + 102 * MS);
    // Back before the others: a negative delta.
    assert_eq!(
        statuses(&poll(&mut recorder, start + 110 * MS)),
        [[(11, Some(400)), (12, Some(4)), (13, Some(408))]]
    );
}

#[test]
fn arrivals_too_far_apart_go_into_another_packet() {
    let start = testing::start();
    let mut recorder = TwccRecorder::new(Ssrc(1));
    recorder.record(1, start);
    recorder.record(4, start + 9_000 * MS);
    let feedback = poll(&mut recorder, start + 9_000 * MS);
    assert_eq!(
        statuses(&feedback),
        [vec![(1, Some(0)), (2, None), (3, None)], vec![(4, Some(36_000))]]
    );
    assert_eq!((feedback[0].count, feedback[1].count), (0, 1));
    assert_eq!(recorder.poll_timeout(), None);
}

#[test]
fn a_crowd_is_reported_early_and_what_falls_out_is_never_reported() {
    let start = testing::start();
    let mut recorder = TwccRecorder::new(Ssrc(1));
    recorder.record(0, start);
    assert_eq!(poll(&mut recorder, start).len(), 1);
    let half = limits::TWCC_WINDOW as u16 / 2;
    for sequence in 1..=half {
        recorder.record(sequence, start + MS);
    }
    assert_eq!(recorder.poll_timeout(), Some(start + limits::TWCC_INTERVAL));
    recorder.record(half + 1, start + 2 * MS);
    assert_eq!(recorder.poll_timeout(), Some(start + limits::TWCC_CROWDED_INTERVAL));
    // Unpolled, the oldest are forgotten.
    for sequence in half + 2..3_000 {
        recorder.record(sequence, start + 3 * MS);
    }
    let reported: Vec<u16> = poll(&mut recorder, start + limits::TWCC_CROWDED_INTERVAL)
        .iter()
        .flat_map(|one| one.statuses.iter().map(|(number, _)| *number))
        .collect();
    assert_eq!(
        reported,
        (3_000 - limits::TWCC_WINDOW as u16..3_000).collect::<Vec<_>>()
    );
}

#[test]
fn a_sender_that_counts_anew_is_followed_from_its_second_packet() {
    let start = testing::start();
    let mut recorder = TwccRecorder::new(Ssrc(1));
    recorder.record(30_000, start);
    poll(&mut recorder, start);
    recorder.record(5, start + 100 * MS);
    recorder.record(9_000, start + 101 * MS);
    assert_eq!(poll(&mut recorder, start + 200 * MS), [], "stragglers");
    recorder.record(30_001, start + 201 * MS);
    poll(&mut recorder, start + 300 * MS);
    recorder.record(5, start + 400 * MS);
    recorder.record(6, start + 401 * MS);
    recorder.record(7, start + 402 * MS);
    assert_eq!(
        statuses(&poll(&mut recorder, start + 500 * MS)),
        [[(6, Some(1_604)), (7, Some(1_608))]]
    );
}

#[test]
fn the_reference_time_wraps() {
    let start = testing::start();
    let mut recorder = TwccRecorder::new(Ssrc(1));
    recorder.record(1, start);
    poll(&mut recorder, start);
    // 2^32 ticks of 250 µs, less two.
    let wrap = Duration::from_micros(250 << 32);
    let late = start + wrap - Duration::from_micros(500);
    recorder.record(2, late);
    recorder.record(3, late + MS);
    let feedback = poll(&mut recorder, late + 50 * MS);
    let last = (1_i64 << 32) - 2;
    assert_eq!(statuses(&feedback), [[(2, Some(last)), (3, Some(last + 4))]]);
    recorder.record(4, late + 200 * MS);
    assert_eq!(statuses(&poll(&mut recorder, late + 300 * MS)), [[(4, Some(798))]]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Time passes.
    Wait(u64),
    /// The next packet comes after so many that are lost or late.
    Packet(u16),
    /// One of the packets passed over comes, or a duplicate.
    Behind(u16),
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5_000_u64).prop_map(Step::Wait),
        1 => (0..12_000_000_u64).prop_map(Step::Wait),
        8 => Just(Step::Packet(0)),
        2 => (0..40_u16).prop_map(Step::Packet),
        2 => (1..60_u16).prop_map(Step::Behind),
        3 => Just(Step::Poll),
    ];
    vec(step, 1..400)
}

proptest! {
    /// The other side ends up knowing each recorded arrival, exactly, and calls lost only what had not come by then.
    #[test]
    fn feedback_says_what_was_recorded(first: u16, steps in steps(), size in 40..limits::MAX_DATAGRAM) {
        let start = testing::start();
        let mut now = start;
        let mut recorder = TwccRecorder::new(Ssrc(1));
        let mut next = 100_u64;
        let number = |packet: u64| first.wrapping_add(packet as u16);
        let mut recorded: BTreeMap<u64, i64> = BTreeMap::new();
        let mut known: BTreeMap<u64, i64> = BTreeMap::new();
        let mut count = 0_u8;
        for step in steps.into_iter().chain([Step::Packet(0), Step::Wait(50_000), Step::Poll]) {
            match step {
                Step::Wait(micros) => now += Duration::from_micros(micros),
                Step::Packet(gap) => {
                    next += u64::from(gap) + 1;
                    recorder.record(number(next), now);
                    recorded.entry(next).or_insert((now - start).as_micros() as i64 / 250);
                }
                Step::Behind(back) => {
                    let Some(packet) = next.checked_sub(u64::from(back)).filter(|packet| *packet >= 100) else { continue };
                    if recorded.is_empty() {
                        continue;
                    }
                    recorder.record(number(packet), now);
                    recorded.entry(packet).or_insert((now - start).as_micros() as i64 / 250);
                }
                Step::Poll => {
                    for feedback in poll_into(&mut recorder, now, size) {
                        prop_assert_eq!(feedback.count, count);
                        count = count.wrapping_add(1);
                        let newest = *recorded.keys().next_back().unwrap();
                        for (sequence, arrival) in feedback.statuses {
                            let back = number(newest).wrapping_sub(sequence);
                            let packet = newest - u64::from(back);
                            match arrival {
                                Some(at) => { known.insert(packet, at); }
                                None => prop_assert!(!recorded.contains_key(&packet), "{} came before", packet),
                            }
                        }
                    }
                }
            }
        }
        // The recorder's time begins with the first packet it saw.
        let expected: Vec<u64> = recorded.keys().copied().collect();
        prop_assert_eq!(known.keys().copied().collect::<Vec<_>>(), expected);
        let offset = recorded.iter().next().map_or(0, |(packet, at)| at - known[packet]);
        for (packet, at) in &recorded {
            // Two roundings to a tick: the epoch's and the packet's.
            prop_assert!((at - known[packet] - offset).abs() <= 1, "packet {}", packet);
        }
    }

    #[test]
    fn nothing_a_stranger_sends_panics_or_is_reported_forever(
        packets in vec((any::<u16>(), 0..20_000_u64), 0..100),
    ) {
        let mut now = testing::start();
        let mut recorder = TwccRecorder::new(Ssrc(1));
        for (sequence, micros) in packets {
            now += Duration::from_micros(micros);
            recorder.record(sequence, now);
            if sequence.is_multiple_of(3) {
                prop_assert!(poll(&mut recorder, now).len() <= limits::TWCC_WINDOW as usize);
            }
        }
        now += limits::TWCC_INTERVAL;
        poll(&mut recorder, now);
        prop_assert_eq!(recorder.poll_timeout(), None);
    }
}
