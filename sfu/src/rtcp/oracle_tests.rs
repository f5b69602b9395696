//! What we write, `rtc-rtcp` must read, and the other way round. It shares no code with this crate.

use proptest::collection::vec;
use proptest::prelude::*;
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TransportLayerCc,
};
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};

use super::twcc::{FeedbackBuilder, FeedbackHeader, Split, Status, Ticks};
use super::{Packet, ReportBlock, SenderInfo, Writer, parse};
use crate::clock::{CompactNtp, NtpTime};
use crate::ids::Ssrc;
use crate::media::Bitrate;

type Theirs = Box<dyn rtc_rtcp::Packet>;

fn read_by_them(data: &[u8]) -> Vec<Theirs> {
    rtc_rtcp::packet::unmarshal(&mut &*data).expect("what we write is well-formed")
}

fn written_by_them(packet: impl rtc_rtcp::Packet + 'static) -> Vec<u8> {
    rtc_rtcp::packet::marshal(&[Box::new(packet) as Theirs])
        .unwrap()
        .to_vec()
}

fn the<T: Clone + 'static>(packet: &Theirs) -> T {
    packet
        .as_any()
        .downcast_ref::<T>()
        .expect("of the type written")
        .clone()
}

fn blocks() -> impl Strategy<Value = Vec<ReportBlock>> {
    let block =
        (any::<[u32; 5]>(), any::<u8>(), 0..0x7f_ffff_i32).prop_map(|(words, fraction_lost, cumulative_lost)| {
            let [ssrc, highest_sequence, jitter, last_sr, delay] = words;
            ReportBlock {
                ssrc: Ssrc(ssrc),
                fraction_lost,
                cumulative_lost,
                highest_sequence,
                jitter,
                last_sr: CompactNtp(last_sr),
                delay_since_last_sr: CompactNtp(delay),
            }
        });
    vec(block, 0..70)
}

fn theirs(block: &ReportBlock) -> ReceptionReport {
    ReceptionReport {
        ssrc: block.ssrc.0,
        fraction_lost: block.fraction_lost,
        total_lost: block.cumulative_lost as u32,
        last_sequence_number: block.highest_sequence,
        jitter: block.jitter,
        last_sender_report: block.last_sr.0,
        delay: block.delay_since_last_sr.0,
    }
}

fn only(data: &[u8]) -> Packet<'_> {
    let mut packets = parse(data);
    let packet = packets.next().expect("one packet").expect("well-formed");
    assert!(packets.next().is_none());
    packet
}

proptest! {
    #[test]
    fn sender_reports(words: [u32; 4], ntp: u64, name in "[ -~]{0,60}", blocks in blocks()) {
        let [ssrc, rtp_timestamp, packets, bytes] = words;
        let info = SenderInfo { ssrc: Ssrc(ssrc), ntp: NtpTime::from_bits(ntp), rtp_timestamp, packets, bytes };
        let mut buffer = [0xaa; 2_000];
        let mut writer = Writer::new(&mut buffer);
        writer.sender_report(&info, &blocks).unwrap();
        writer.source_description(info.ssrc, &name).unwrap();
        let length = writer.len();

        // They read what we wrote, over as many packets as it took.
        let read = read_by_them(&buffer[..length]);
        let report = the::<SenderReport>(&read[0]);
        prop_assert_eq!(
            (report.ssrc, report.ntp_time, report.rtp_time, report.packet_count, report.octet_count),
            (ssrc, ntp, rtp_timestamp, packets, bytes)
        );
        let mut reports = report.reports;
        for more in &read[1..read.len() - 1] {
            reports.extend(the::<ReceiverReport>(more).reports);
        }
        prop_assert_eq!(reports, blocks.iter().map(theirs).collect::<Vec<_>>());
        let description = the::<SourceDescription>(&read[read.len() - 1]);
        prop_assert_eq!(description.chunks[0].source, ssrc);
        prop_assert_eq!(&description.chunks[0].items[0].text[..], name.as_bytes());

        // We read what we wrote.
        let mut seen = Vec::new();
        for packet in parse(&buffer[..length]) {
            match packet.unwrap() {
                Packet::SenderReport(report) => {
                    prop_assert_eq!(report.info, info);
                    seen.extend(report.blocks);
                }
                Packet::ReceiverReport(report) => {
                    seen.extend(report.blocks);
                }
                Packet::SourceDescription(description) => {
                    prop_assert_eq!(description.cnames().collect::<Vec<_>>(), [(info.ssrc, name.as_bytes())]);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
        prop_assert_eq!(seen, blocks);
    }

    #[test]
    fn receiver_reports_of_theirs(ssrc: u32, blocks in blocks()) {
        let blocks = &blocks[..blocks.len().min(31)];
        let reports = blocks.iter().map(theirs).collect();
        let data = written_by_them(ReceiverReport { ssrc, reports, ..ReceiverReport::default() });
        let Packet::ReceiverReport(report) = only(&data) else { panic!("not a receiver report") };
        prop_assert_eq!(report.blocks.collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn source_descriptions_of_theirs(
        chunks in vec((any::<u32>(), "[ -~]{0,40}", proptest::option::of("[ -~]{0,9}")), 0..8)
    ) {
        let data = written_by_them(SourceDescription {
            chunks: chunks
                .iter()
                .map(|(source, name, tool)| {
                    let tool = tool.iter().map(|tool| (SdesType::SdesTool, tool));
                    let items = tool.chain([(SdesType::SdesCname, name)]).map(|(sdes_type, text)| SourceDescriptionItem {
                        sdes_type,
                        text: text.clone().into_bytes().into(),
                    });
                    SourceDescriptionChunk { source: *source, items: items.collect() }
                })
                .collect(),
        });
        let Packet::SourceDescription(description) = only(&data) else { panic!("not a source description") };
        let expected: Vec<_> = chunks.iter().map(|(ssrc, name, _)| (Ssrc(*ssrc), name.as_bytes())).collect();
        prop_assert_eq!(description.cnames().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn goodbyes(sources in vec(any::<u32>(), 1..31), reason in "[ -~]{0,20}") {
        let data = written_by_them(Goodbye { sources: sources.clone(), reason: reason.into() });
        let Packet::Goodbye(goodbye) = only(&data) else { panic!("not a goodbye") };
        prop_assert_eq!(goodbye.sources().map(|ssrc| ssrc.0).collect::<Vec<_>>(), sources);
    }

    #[test]
    fn nacks(sender: u32, media: u32, sequences in vec(any::<u16>(), 1..100), start: u16, gaps in vec(1..20_u16, 1..100)) {
        let ascending: Vec<u16> = gaps.iter().scan(start, |at, gap| { *at = at.wrapping_add(*gap); Some(*at) }).collect();
        for sequences in [sequences, ascending] {
            let mut buffer = [0; 600];
            let mut writer = Writer::new(&mut buffer);
            writer.nack(Ssrc(sender), Ssrc(media), &sequences).unwrap();
            let length = writer.len();
            let nack = the::<TransportLayerNack>(&read_by_them(&buffer[..length])[0]);
            prop_assert_eq!((nack.sender_ssrc, nack.media_ssrc), (sender, media));
            let mut asked: Vec<u16> = nack.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
            let mut expected = sequences.clone();
            asked.sort_unstable();
            asked.dedup();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(&asked, &expected);

            let data = written_by_them(TransportLayerNack {
                sender_ssrc: sender,
                media_ssrc: media,
                nacks: nack_pairs_from_sequence_numbers(&expected),
            });
            let Packet::Nack(nack) = only(&data) else { panic!("not a nack") };
            prop_assert_eq!(nack.media, Ssrc(media));
            prop_assert_eq!(nack.sequences().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn picture_loss(sender_ssrc: u32, media_ssrc: u32) {
        let mut buffer = [0; 12];
        Writer::new(&mut buffer).picture_loss(Ssrc(sender_ssrc), Ssrc(media_ssrc)).unwrap();
        let theirs = PictureLossIndication { sender_ssrc, media_ssrc };
        prop_assert_eq!(&the::<PictureLossIndication>(&read_by_them(&buffer)[0]), &theirs);
        let data = written_by_them(theirs);
        let Packet::PictureLoss(ours) = only(&data) else { panic!("not a picture loss") };
        prop_assert_eq!((ours.sender, ours.media), (Ssrc(sender_ssrc), Ssrc(media_ssrc)));
    }

    #[test]
    fn full_intra_requests_of_theirs(sender_ssrc: u32, entries in vec(any::<(u32, u8)>(), 1..20)) {
        let fir = entries.iter().map(|&(ssrc, sequence_number)| FirEntry { ssrc, sequence_number }).collect();
        let data = written_by_them(FullIntraRequest { sender_ssrc, media_ssrc: 0, fir });
        let Packet::FullIntraRequest(request) = only(&data) else { panic!("not a full intra request") };
        prop_assert_eq!(request.entries().map(|(ssrc, number)| (ssrc.0, number)).collect::<Vec<_>>(), entries);
    }

    #[test]
    fn rembs_of_theirs(sender_ssrc: u32, bps in 0..200_000_000_u32, ssrcs in vec(any::<u32>(), 0..20)) {
        let remb = ReceiverEstimatedMaximumBitrate { sender_ssrc, bitrate: bps as f32, ssrcs: ssrcs.clone() };
        let data = written_by_them(remb);
        let Packet::Remb(remb) = only(&data) else { panic!("not a REMB") };
        // 18 bits of mantissa, and an f32 on their side.
        let error = remb.bitrate.bps().abs_diff(Bitrate::from_bps(u64::from(bps)).bps());
        prop_assert!(error <= u64::from(bps >> 16) + 1, "{} for {bps}", remb.bitrate.bps());
        prop_assert_eq!(remb.sources().map(|ssrc| ssrc.0).collect::<Vec<_>>(), ssrcs);
    }

    #[test]
    fn random_bytes_are_walked_without_a_panic(data in vec(any::<u8>(), 0..200)) {
        crate::fuzzing::rtcp(&data);
    }

    /// Random bytes rarely have a valid header; these have.
    #[test]
    fn random_bodies_are_walked_without_a_panic(
        packet_type in 199..209_u8,
        count in 0..32_u8,
        padding: bool,
        body in vec(any::<u8>(), 0..120),
    ) {
        let words = body.len() / 4;
        let mut data = vec![0x80 | u8::from(padding) << 5 | count, packet_type, 0, words as u8];
        data.extend_from_slice(&body[..words * 4]);
        crate::fuzzing::rtcp(&data);
    }
}

/// A packet's status for the builder: mostly short gaps, some losses, now and then a long wait or a step back.
fn arrivals() -> impl Strategy<Value = Vec<Option<i32>>> {
    let step = prop_oneof![
        6 => (0..40_i32).prop_map(Some),
        2 => Just(None),
        1 => (-300..3_000_i32).prop_map(Some),
        1 => (-32_768..=32_767_i32).prop_map(Some),
    ];
    // Runs of the same make all three kinds of chunks.
    vec((step, 1..30_usize), 1..40).prop_map(|runs| {
        runs.into_iter()
            .flat_map(|(step, count)| std::iter::repeat_n(step, count))
            .collect()
    })
}

/// The (number, arrival in ticks) of packets received, as `rtc-rtcp` reads them.
fn decode_by_them(packet: &TransportLayerCc) -> Vec<(u16, Option<i64>)> {
    let mut symbols = Vec::new();
    for chunk in &packet.packet_chunks {
        match chunk {
            PacketStatusChunk::RunLengthChunk(run) => {
                symbols.extend(std::iter::repeat_n(
                    run.packet_status_symbol,
                    usize::from(run.run_length),
                ));
            }
            PacketStatusChunk::StatusVectorChunk(vector) => symbols.extend(&vector.symbol_list),
        }
    }
    let mut deltas = packet.recv_deltas.iter();
    let mut at = i64::from(packet.reference_time) * 256;
    let numbered = symbols.iter().take(usize::from(packet.packet_status_count)).enumerate();
    numbered
        .map(|(index, symbol)| {
            let arrival = (*symbol != SymbolTypeTcc::PacketNotReceived).then(|| {
                at += deltas.next().expect("a delta for each packet received").delta / 250;
                at
            });
            (packet.base_sequence_number.wrapping_add(index as u16), arrival)
        })
        .collect()
}

proptest! {
    /// Whatever was pushed is read back, by them and by us, over as many packets as it took.
    #[test]
    fn transport_feedback_we_build(
        base: u16,
        start: u32,
        count: u8,
        limit in 40..1_232_usize,
        steps in arrivals(),
    ) {
        let mut at = start;
        let expected: Vec<Option<u32>> = steps
            .iter()
            .map(|step| step.map(|step| { at = at.wrapping_add_signed(step); at }))
            .collect();

        let mut by_them = Vec::new();
        let mut by_us = Vec::new();
        let mut next = 0;
        while next < expected.len() {
            let header = FeedbackHeader {
                sender: Ssrc(1),
                media: Ssrc(2),
                base_sequence: base.wrapping_add(next as u16),
                feedback_count: count,
            };
            let mut buffer = [0xaa; 1_232];
            let mut builder = FeedbackBuilder::new(&mut buffer[..limit], header);
            let first = next;
            while next < expected.len() {
                match builder.push(expected[next]) {
                    Ok(()) => next += 1,
                    Err(Split::NoRoom) => break,
                    Err(Split::DeltaOutOfRange) => panic!("steps were chosen within range"),
                }
            }
            prop_assert!(next > first, "a packet holds at least one status");
            let Some(length) = builder.finish() else {
                // Nothing of this part was received.
                prop_assert!(expected[first..next].iter().all(Option::is_none));
                for index in first..next {
                    by_them.push((base.wrapping_add(index as u16), None));
                    by_us.push((base.wrapping_add(index as u16), None));
                }
                continue;
            };
            prop_assert!(length <= limit);
            let theirs = the::<TransportLayerCc>(&read_by_them(&buffer[..length])[0]);
            prop_assert_eq!((theirs.sender_ssrc, theirs.media_ssrc, theirs.fb_pkt_count), (1, 2, count));
            let low_24 = |at: Option<i64>| at.map(|at| at as u32);
            by_them.extend(decode_by_them(&theirs).into_iter().map(|(number, at)| (number, low_24(at))));
            let Packet::TransportFeedback(ours) = only(&buffer[..length]) else { panic!("not transport feedback") };
            prop_assert_eq!(ours.statuses().size_hint().0, usize::from(ours.status_count));
            by_us.extend(ours.statuses().map(|status| {
                let at = status.arrival.map(|ticks| (ours.reference_time << 8).wrapping_add_signed(ticks.0));
                (status.sequence, at)
            }));
        }
        let expected: Vec<_> = expected
            .iter()
            .enumerate()
            .map(|(index, at)| (base.wrapping_add(index as u16), *at))
            .collect();
        prop_assert_eq!(&by_us, &expected);
        prop_assert_eq!(&by_them, &expected);
    }

    /// We read chunks in whatever mix they are written.
    #[test]
    fn transport_feedback_of_theirs(
        base: u16,
        reference_time in 0..1_u32 << 24,
        groups in vec((0..3_u8, vec(0..3_u8, 14..15), 1..60_u16, any::<i16>()), 1..20),
    ) {
        let symbol = |bits| match bits {
            0 => SymbolTypeTcc::PacketNotReceived,
            1 => SymbolTypeTcc::PacketReceivedSmallDelta,
            _ => SymbolTypeTcc::PacketReceivedLargeDelta,
        };
        let mut chunks = Vec::new();
        let mut symbols = Vec::new();
        for (kind, list, run_length, _) in &groups {
            let first = symbol(list[0]);
            let (size, list): (_, Vec<_>) = match kind {
                0 => {
                    symbols.extend(std::iter::repeat_n(first, usize::from(*run_length)));
                    chunks.push(PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                        type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                        packet_status_symbol: first,
                        run_length: *run_length,
                    }));
                    continue;
                }
                1 => (SymbolSizeTypeTcc::OneBit, list.iter().map(|bits| symbol(bits % 2)).collect()),
                _ => (SymbolSizeTypeTcc::TwoBit, list[..7].iter().map(|bits| symbol(*bits)).collect()),
            };
            symbols.extend(&list);
            chunks.push(PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                symbol_size: size,
                symbol_list: list,
            }));
        }
        let deltas: Vec<RecvDelta> = symbols
            .iter()
            .zip(groups.iter().cycle())
            .filter(|(symbol, _)| **symbol != SymbolTypeTcc::PacketNotReceived)
            .map(|(symbol, group)| {
                let large = *symbol == SymbolTypeTcc::PacketReceivedLargeDelta;
                let ticks = if large { i64::from(group.3) } else { i64::from(group.3 as u8) };
                RecvDelta { type_tcc_packet: *symbol, delta: ticks * 250 }
            })
            .collect();
        let packet = TransportLayerCc {
            sender_ssrc: 3,
            media_ssrc: 4,
            base_sequence_number: base,
            packet_status_count: symbols.len() as u16,
            reference_time,
            fb_pkt_count: 9,
            packet_chunks: chunks,
            recv_deltas: deltas,
        };
        let expected: Vec<Status> = decode_by_them(&packet)
            .into_iter()
            .map(|(sequence, at)| Status {
                sequence,
                arrival: at.map(|at| Ticks((at - i64::from(reference_time) * 256) as i32)),
            })
            .collect();
        let data = written_by_them(packet);
        let Packet::TransportFeedback(ours) = only(&data) else { panic!("not transport feedback") };
        prop_assert_eq!((ours.reference_time, ours.feedback_count), (reference_time, 9));
        prop_assert_eq!(ours.statuses().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn statuses_beyond_the_limit_and_reserved_symbols_are_refused() {
    let feedback = |count: u16, chunks: &[u16]| {
        let mut data = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0];
        data.extend(count.to_be_bytes());
        data.extend([0, 0, 1, 0]);
        data.extend(chunks.iter().flat_map(|chunk| chunk.to_be_bytes()));
        data.resize(data.len().next_multiple_of(4), 0);
        data[3] = (data.len() / 4 - 1) as u8;
        parse(&data).all(|packet| packet.is_ok())
    };
    assert!(feedback(8_192, &[0x1fff, 0x1fff]));
    assert!(!feedback(8_193, &[0x1fff, 0x1fff]), "too many");
    assert!(!feedback(0, &[0x1fff]), "none");
    assert!(!feedback(1, &[0x6001]), "run of the reserved symbol");
    assert!(!feedback(7, &[0xc003]), "reserved symbol in a vector");
    assert!(feedback(6, &[0xc003]), "beyond the count it does not matter");
    assert!(!feedback(3, &[0x2003]), "three deltas promised, two bytes there");
    assert!(!feedback(20, &[0, 0]), "empty runs never reach the count");
}

/// The chunk kinds of §3.1.3 and §3.1.4 come out where they are cheapest.
#[test]
fn chunks_are_small() {
    let length = |steps: &[Option<u32>]| {
        let header = FeedbackHeader {
            sender: Ssrc(1),
            media: Ssrc(2),
            base_sequence: 0,
            feedback_count: 0,
        };
        let mut buffer = [0; 1_232];
        let mut builder = FeedbackBuilder::new(&mut buffer, header);
        let mut at = 0;
        for step in steps {
            builder
                .push(step.map(|step| {
                    at += step;
                    at
                }))
                .unwrap();
        }
        builder.finish().unwrap()
    };
    let received = Some(4);
    // 20 fixed, one chunk, a byte for each delta.
    assert_eq!(length(&[received; 10]), 32);
    assert_eq!(length(&[received; 98]), 20 + 2 + 98);
    assert_eq!(length(&[received, None, received, received, None, received]), 28);
    assert_eq!(length(&[&[received][..], &[None; 5_000], &[received]].concat()), 28);
    // Seven two-bit symbols with one large delta.
    assert_eq!(length(&[received, Some(256), received, None, None, None, received]), 28);
}
