//! A viewer for tests: a subscription whose every packet is checked and handed to a decoder.

use std::collections::HashMap;
use std::time::Instant;

use crate::clock::NtpTime;
use crate::ext::ExtensionIds;
use crate::ids::{Mid, PayloadType, Ssrc};
use crate::limits;
use crate::media::Kind;
use crate::rtp::RtpHeader;
use crate::send::{LayerSource, MAX_HEADER, Negotiated, PayloadTypes, SlotConfig, Stamp, Subscription, Written};
use crate::testing::VideoDecoder;

pub(super) const SSRC: Ssrc = Ssrc(0x1111_1111);
pub(super) const RTX_SSRC: Ssrc = Ssrc(0x2222_2222);
pub(super) const OPUS: PayloadType = PayloadType(109);
pub(super) const RED: PayloadType = PayloadType(64);
pub(super) const VP8: PayloadType = PayloadType(120);
pub(super) const VP8_RTX: PayloadType = PayloadType(121);
/// A time on the server's wall clock.
pub(super) const EPOCH: NtpTime = NtpTime::from_bits(0xe000_0000_0000_0000);

pub(super) fn config(kind: Kind) -> SlotConfig {
    let negotiated = |media, rtx| Some(Negotiated { media, rtx });
    SlotConfig {
        mid: Mid::new("1").unwrap(),
        kind,
        ssrc: SSRC,
        rtx_ssrc: (kind == Kind::Video).then_some(RTX_SSRC),
        payload_types: match kind {
            Kind::Audio => PayloadTypes {
                opus: negotiated(OPUS, None),
                red: negotiated(RED, None),
                ..PayloadTypes::default()
            },
            Kind::Video => PayloadTypes {
                vp8: negotiated(VP8, Some(VP8_RTX)),
                ..PayloadTypes::default()
            },
        },
        extensions: ExtensionIds {
            twcc: Some(3),
            ..ExtensionIds::default()
        },
    }
}

/// A packet as it left.
#[derive(Clone, Debug)]
pub(super) struct Out {
    pub(super) written: Written,
    pub(super) bytes: Vec<u8>,
}

impl Out {
    pub(super) fn header(&self) -> RtpHeader {
        RtpHeader::parse(&self.bytes).unwrap()
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.header().payload(&self.bytes).unwrap()
    }

    pub(super) fn is_rtx(&self) -> bool {
        self.written.ssrc == RTX_SSRC
    }
}

pub(super) struct Viewer {
    pub(super) sub: Subscription,
    pub(super) decoder: VideoDecoder,
    /// Every (SSRC, number) that was sealed: what a nonce is made of.
    sealed: HashMap<(Ssrc, u64), usize>,
    /// First sendings' payloads by number.
    payloads: HashMap<u16, Vec<u8>>,
    transport_wide: u16,
}

impl Viewer {
    pub(super) fn new(config: SlotConfig, seed: u64, now: Instant) -> Self {
        Self {
            sub: Subscription::new(config, seed, now),
            decoder: VideoDecoder::new(),
            sealed: HashMap::new(),
            payloads: HashMap::new(),
            transport_wide: 65_000,
        }
    }

    /// Everything there is to be sent, checked; the decoder has not seen it.
    pub(super) fn take(&mut self, source: &impl LayerSource, now: Instant) -> Vec<Out> {
        let mut all = Vec::new();
        let mut stamp = Stamp {
            now,
            ntp: EPOCH,
            transport_wide: self.transport_wide,
        };
        let mut space = [0; MAX_HEADER + 2 + limits::MAX_PAYLOAD];
        loop {
            let expected = stamp.transport_wide;
            let resent = self.sub.poll_resend(source, &mut stamp, &mut space);
            let Some(written) = resent.or_else(|| self.sub.poll_packet(source, &mut stamp, &mut space)) else {
                break;
            };
            assert_eq!(
                written.transport_wide,
                Some(expected),
                "no number of the transport is left out"
            );
            assert_eq!(stamp.transport_wide, expected.wrapping_add(1));
            let out = Out {
                written,
                bytes: space[..written.len].to_vec(),
            };
            self.check(&out);
            all.push(out);
        }
        self.transport_wide = stamp.transport_wide;
        all
    }

    /// So many packets of padding, checked. They come on the numbers of the retransmissions.
    pub(super) fn pad(&mut self, count: usize, now: Instant) {
        let mut stamp = Stamp {
            now,
            ntp: EPOCH,
            transport_wide: self.transport_wide,
        };
        let mut space = [0; MAX_HEADER + 2 + limits::MAX_PAYLOAD];
        for _ in 0..count {
            let written = self
                .sub
                .write_padding(&mut stamp, &mut space)
                .expect("it takes padding");
            let out = Out {
                written,
                bytes: space[..written.len].to_vec(),
            };
            assert!(out.is_rtx() && out.payload().is_empty());
            self.check(&out);
            self.decode(&out);
        }
        self.transport_wide = stamp.transport_wide;
    }

    fn check(&mut self, out: &Out) {
        let header = out.header();
        assert_eq!(
            (header.ssrc, header.sequence),
            (out.written.ssrc, out.written.sequence as u16)
        );
        assert_eq!(usize::from(header.len), out.written.header_len);
        let before = self
            .sealed
            .insert((out.written.ssrc, out.written.sequence), out.bytes.len());
        assert_eq!(before, None, "a number is sealed once: {:?}", out.written);
        if out.is_rtx() && !out.payload().is_empty() {
            let (number, payload) = out.payload().split_first_chunk::<2>().unwrap();
            let first = &self.payloads[&u16::from_be_bytes(*number)];
            assert!(first == payload, "a retransmission is what was sent at first");
        } else if !out.is_rtx() {
            self.payloads.insert(header.sequence, out.payload().to_vec());
        }
    }

    pub(super) fn decode(&mut self, out: &Out) {
        if out.is_rtx() {
            self.decoder.receive_rtx(&out.bytes);
        } else {
            self.decoder.receive(&out.bytes);
        }
    }

    /// Sends and decodes everything; how many packets.
    pub(super) fn pump(&mut self, source: &impl LayerSource, now: Instant) -> usize {
        let all = self.take(source, now);
        for out in &all {
            self.decode(out);
        }
        all.len()
    }
}
