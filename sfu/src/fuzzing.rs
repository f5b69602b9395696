//! Entry points for fuzzing: each takes arbitrary bytes and must return. The targets in `fuzz/` call them, and the tests replay
//! their corpora over them.

use std::net::SocketAddr;

use rtc_sdp::SessionDescription;

use crate::api::IceCredentials;
use crate::ext::{AudioLevel, ExtensionIds};
use crate::ids::Ssrc;
use crate::rtcp::twcc::{FeedbackBuilder, FeedbackHeader, Split};
use crate::rtcp::{self, Packet};
use crate::{h264, limits, red, rtp, sdp, vp8};

/// RTP header, extensions in both forms, padding, redundancy.
pub fn rtp(data: &[u8]) {
    const IDS: ExtensionIds = ExtensionIds {
        mid: Some(4),
        rid: Some(10),
        repaired_rid: Some(11),
        twcc: Some(3),
        abs_send_time: Some(2),
        audio_level: Some(1),
    };
    let Ok(header) = rtp::RtpHeader::parse(data) else {
        return;
    };
    assert!(
        usize::from(header.len) <= data.len(),
        "the header lies inside the packet"
    );
    let found = header.extensions(data, &IDS);
    let _ = (
        found.mid(),
        found.rid(),
        found.repaired_rid(),
        found.audio_level.map(AudioLevel::to_byte),
    );
    if let Ok(payload) = header.payload(data)
        && let Ok(parsed) = red::Red::parse(payload)
    {
        let mut written = payload.to_vec();
        red::set_block_payload_type(&mut written, header.payload_type);
        assert_eq!(red::Red::parse(&written), Ok(parsed), "renaming keeps the blocks");
        let last = red::last_blocks::<{ limits::RECOVERED_FRAMES }>(payload);
        let bytes: usize = last.iter().map(|block| red::BLOCK_HEADER + block.data.len()).sum();
        assert!(bytes < usize::from(parsed.primary), "the blocks lie before the primary");
    }
}

/// VP8 payload descriptor and key frame header, and what is rewritten in them.
pub fn vp8(data: &[u8]) {
    let Ok(before) = vp8::Descriptor::parse(data) else {
        return;
    };
    let _ = before.key_frame_size(data);
    let mut written = data.to_vec();
    before.rewrite(&mut written, 0x1234, 0x56);
    let after = vp8::Descriptor::parse(&written);
    assert_eq!(
        after.map(|after| (after.len, after.temporal)),
        Ok((before.len, before.temporal)),
        "rewriting keeps the layout"
    );
}

/// H.264 aggregation, fragments and sequence parameter sets.
pub fn h264(data: &[u8]) {
    if let Some(sps) = h264::sequence_parameter_set(data) {
        let _ = h264::picture_size(sps);
    }
    let _ = h264::picture_size(data);
}

/// A compound RTCP packet: everything in it is walked. The same bytes are also taken as a list for [`twcc_roundtrip`].
pub fn rtcp(data: &[u8]) {
    twcc_roundtrip(data);
    for packet in rtcp::parse(data) {
        match packet {
            Ok(Packet::SenderReport(report)) => {
                std::hint::black_box((report.info, report.blocks.count()));
            }
            Ok(Packet::ReceiverReport(report)) => {
                assert!(report.blocks.count() <= 31, "the header counts in five bits");
            }
            Ok(Packet::SourceDescription(description)) => {
                std::hint::black_box(description.cnames().count());
            }
            Ok(Packet::Goodbye(goodbye)) => {
                std::hint::black_box(goodbye.sources().count());
            }
            Ok(Packet::Nack(nack)) => {
                std::hint::black_box(nack.sequences().count());
            }
            Ok(Packet::TransportFeedback(feedback)) => {
                let walked = feedback.statuses().count();
                assert_eq!(
                    walked,
                    usize::from(feedback.status_count),
                    "what was checked can be walked"
                );
            }
            Ok(Packet::FullIntraRequest(request)) => {
                std::hint::black_box(request.entries().count());
            }
            Ok(Packet::Remb(remb)) => {
                std::hint::black_box((remb.bitrate, remb.sources().count()));
            }
            Ok(Packet::PictureLoss(_) | Packet::Other) | Err(_) => {}
        }
    }
}

/// Transport-wide feedback: the input is a list of arrivals, which must come out of the packets built from them unchanged.
///
/// # Panics
/// When they do not.
pub fn twcc_roundtrip(data: &[u8]) {
    let mut at = 0_u32;
    let arrivals = data.chunks_exact(3).map(|step| {
        let [kind, high, low] = [step[0], step[1], step[2]];
        match kind % 4 {
            0 => None,
            1 | 2 => {
                at = at.wrapping_add(u32::from(low));
                Some(at)
            }
            // Up to 16 s either way: some of these must split.
            _ => {
                at = at.wrapping_add_signed(i32::from(i16::from_be_bytes([high, low])) * 2);
                Some(at)
            }
        }
    });
    let mut arrivals = arrivals.peekable();
    let mut buffer = [0; limits::MAX_DATAGRAM];
    let mut base_sequence = 65_500_u16;
    while arrivals.peek().is_some() {
        let header = FeedbackHeader {
            sender: Ssrc(1),
            media: Ssrc(2),
            base_sequence,
            feedback_count: 0,
        };
        let mut builder = FeedbackBuilder::new(&mut buffer, header);
        let mut pushed = Vec::new();
        while let Some(&arrival) = arrivals.peek() {
            match builder.push(arrival) {
                Ok(()) => pushed.push(arrival),
                Err(Split::NoRoom | Split::DeltaOutOfRange) => break,
            }
            arrivals.next();
        }
        assert!(!pushed.is_empty(), "an empty packet takes any status");
        let next = base_sequence.wrapping_add(pushed.len() as u16);
        let Some(length) = builder.finish() else {
            assert!(
                pushed.iter().all(Option::is_none),
                "only feedback on nothing is no packet"
            );
            base_sequence = next;
            continue;
        };
        let mut packets = rtcp::parse(&buffer[..length]);
        let Some(Ok(Packet::TransportFeedback(feedback))) = packets.next() else {
            panic!("what was built is not transport feedback");
        };
        let read = feedback.statuses().map(|status| {
            status
                .arrival
                .map(|ticks| (feedback.reference_time << 8).wrapping_add_signed(ticks.0))
        });
        assert!(read.eq(pushed), "the arrivals changed on the way");
        assert!(packets.next().is_none());
        base_sequence = next;
    }
}

/// SDP offers through the answerer: a first offer, the same again, and the answer read back.
pub fn sdp(data: &[u8]) {
    let Ok(offer) = std::str::from_utf8(data) else { return };
    let local_ice = IceCredentials {
        ufrag: "fuzz".to_owned(),
        pwd: "a-password-of-the-server".to_owned(),
    };
    let fingerprint = format!("sha-256 {}", ["00"; 32].join(":"));
    let fingerprint = fingerprint.parse().expect("a fingerprint of the right form");
    let mut ssrc = 0;
    let mut answer = |previous: Option<&sdp::Session>| {
        let params = sdp::AnswerParams {
            local_ice: &local_ice,
            fingerprint: &fingerprint,
            candidates: &[SocketAddr::from(([192, 0, 2, 1], 8080))],
            tcp_candidates: &[],
            start_kbps: 1_500,
            session_id: 1,
            next_ssrc: &mut || {
                ssrc += 1;
                Ssrc(ssrc)
            },
        };
        sdp::answer(offer, previous, params)
    };
    let Ok((session, text)) = answer(None) else { return };
    let read = SessionDescription::unmarshal(&mut std::io::Cursor::new(text.as_bytes()));
    let read = read.expect("the answer is SDP");
    assert_eq!(
        read.media_descriptions.len(),
        session.lines.len(),
        "a line for each line"
    );
    assert_eq!(
        read.marshal(),
        text,
        "nothing of the offer broke out of its place in the answer"
    );
    let (again, _) = answer(Some(&session)).expect("the same offer is good a second time");
    assert_eq!(again.lines, session.lines, "and changes nothing");
}

/// One transport, driven with checks, datagrams, packets and time decoded from the input: a byte for what, a byte for how long
/// its argument is, the argument.
///
/// # Panics
/// When it queues without bound, acts after its end, or asks to be woken for something it has done.
pub fn transport(data: &[u8]) {
    crate::transport::fuzz::drive(data);
}

/// A whole worker, driven with commands, datagrams, packets, damage and time decoded from the input: a byte for what and by whom, a
/// byte for how long its argument is, the argument.
///
/// # Panics
/// When its indices disagree, something outlives its owner, a nonce is used twice, a track's events are out of order, or it asks to be
/// woken for something it has done.
pub fn worker(data: &[u8]) {
    let _ = crate::worker::fuzz::drive(data);
}
