//! A receiver of [`super::VideoPublisher`]'s pictures that notices every mistake in what it is sent.

use std::collections::BTreeMap;

use super::publisher::STAMP_LEN;
use crate::rtp::{RtpHeader, SequenceUnwrapper};
use crate::vp8::Descriptor;

/// What a decoder has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderFigures {
    /// Frames decoded.
    pub decoded: u64,
    /// Of which key frames.
    pub key_frames: u64,
    /// Frames that came whole but whose reference was not decoded.
    pub undecodable: u64,
    /// Frames that were begun and not finished.
    pub unfinished: u64,
    /// Packets given up as lost.
    pub lost: u64,
    /// Height of the last key frame.
    pub height: u16,
}

/// What a packet says of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    timestamp: u32,
    picture_id: u16,
    tl0: u8,
    temporal: u8,
    layer: u8,
    number: u32,
    reference: u32,
    parts: u8,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    frame: Frame,
    part: u8,
    marker: bool,
    key_height: Option<u16>,
}

/// A frame of which some parts have come.
#[derive(Clone, Copy, Debug)]
struct Partial {
    frame: Frame,
    next: u8,
    key_height: Option<u16>,
}

/// Puts packets in order, assembles frames and "decodes" them.
///
/// # Panics
/// When packets contradict each other: a sequence number with two contents, time that stands still, picture ids with gaps that no
/// loss explains, parts of different frames under one timestamp.
#[derive(Clone, Debug)]
pub struct VideoDecoder {
    sequences: SequenceUnwrapper,
    waiting: BTreeMap<u64, Part>,
    next: Option<u64>,
    partial: Option<Partial>,
    /// The last whole frame.
    last: Option<Frame>,
    /// Layer and number of the last decoded frame; `None` while the picture is lost.
    decoded: Option<(u8, u32)>,
    /// A packet was given up since the last frame's start, or nothing has come yet: the first packets may be missing.
    loss: bool,
    /// Nothing is played before a whole key frame has come.
    awaits_key_frame: bool,
    figures: DecoderFigures,
}

impl Default for VideoDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl VideoDecoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sequences: SequenceUnwrapper::new(),
            waiting: BTreeMap::new(),
            next: None,
            partial: None,
            last: None,
            decoded: None,
            loss: true,
            awaits_key_frame: false,
            figures: DecoderFigures::default(),
        }
    }

    /// A decoder behind a jitter buffer that begins with the first whole key frame, in whatever order its packets come.
    #[must_use]
    pub fn behind_buffer() -> Self {
        Self {
            awaits_key_frame: true,
            ..Self::new()
        }
    }

    /// Takes a plaintext RTP packet of the media SSRC.
    pub fn receive(&mut self, packet: &[u8]) {
        let header = RtpHeader::parse(packet).expect("the server writes RTP");
        let payload = header.payload(packet).expect("the server writes RTP");
        self.take(header.sequence, header.timestamp, header.marker, payload);
    }

    /// Takes a plaintext retransmission (RFC 4588).
    pub fn receive_rtx(&mut self, packet: &[u8]) {
        let header = RtpHeader::parse(packet).expect("the server writes RTP");
        let payload = header.payload(packet).expect("the server writes RTP");
        // Padding that measures the path.
        if payload.is_empty() {
            return;
        }
        let (number, payload) = payload.split_first_chunk::<2>().expect("with the original number");
        self.take(u16::from_be_bytes(*number), header.timestamp, header.marker, payload);
    }

    /// What was seen so far.
    #[must_use]
    pub fn figures(&self) -> DecoderFigures {
        self.figures
    }

    /// Whether the last frame it got whole was decoded.
    #[must_use]
    pub fn has_picture(&self) -> bool {
        self.decoded.is_some()
    }

    /// The numbers a receiver would ask for again.
    #[must_use]
    pub fn missing(&self) -> Vec<u16> {
        let first = self.next.or_else(|| self.waiting.keys().next().copied());
        let (Some(next), Some((highest, _))) = (first, self.waiting.last_key_value()) else {
            return Vec::new();
        };
        (next..*highest)
            .filter(|number| !self.waiting.contains_key(number))
            .map(|number| number as u16)
            .collect()
    }

    /// Gives up on what is missing.
    pub fn skip_missing(&mut self) {
        while let (Some(next), Some((first, _))) = (self.next, self.waiting.first_key_value()) {
            self.figures.lost += first - next;
            self.next = Some(*first);
            self.loss = true;
            self.figures.unfinished += u64::from(self.partial.take().is_some());
            self.drain();
        }
    }

    /// Gives up on what is missing if a whole key frame waits behind it. True if it did.
    pub fn skip_to_key_frame(&mut self) -> bool {
        let is_whole = |(number, part): &(&u64, &Part)| {
            let followers = (1..u64::from(part.frame.parts)).map(|ahead| self.waiting.get(&(*number + ahead)));
            part.key_height.is_some() && followers.flatten().count() + 1 == usize::from(part.frame.parts)
        };
        let Some((first, _)) = self
            .waiting
            .iter()
            .find(is_whole)
            .map(|(number, part)| (*number, *part))
        else {
            return false;
        };
        if let Some(next) = self.next {
            self.figures.lost += (next..first)
                .filter(|number| !self.waiting.contains_key(number))
                .count() as u64;
        }
        self.waiting = self.waiting.split_off(&first);
        self.next = Some(first);
        self.loss = true;
        self.figures.unfinished += u64::from(self.partial.take().is_some());
        self.drain();
        true
    }

    /// Gives up on all that is missing so far and waits for a key frame among what comes, as browsers do when it is too much.
    pub fn start_anew(&mut self) {
        self.figures.lost += self.missing().len() as u64;
        self.figures.unfinished += u64::from(self.partial.take().is_some());
        let newest = self.waiting.pop_last();
        self.waiting.clear();
        self.waiting.extend(newest);
        self.next = None;
        self.decoded = None;
        self.loss = true;
        self.awaits_key_frame = true;
    }

    fn take(&mut self, number: u16, timestamp: u32, marker: bool, payload: &[u8]) {
        let number = self.sequences.unwrap(u64::from(number));
        let part = parse(timestamp, marker, payload);
        if self.awaits_key_frame && self.next.is_none() {
            self.waiting.insert(number, part);
            self.skip_to_key_frame();
            return;
        }
        let next = *self.next.get_or_insert(number);
        if number < next {
            return;
        }
        if let Some(other) = self.waiting.insert(number, part) {
            assert_eq!(other.frame, part.frame, "one number, two packets");
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(next) = self.next
            && let Some(part) = self.waiting.remove(&next)
        {
            self.next = Some(next + 1);
            self.assemble(&part);
        }
    }

    fn assemble(&mut self, part: &Part) {
        if part.part == 0 {
            self.figures.unfinished += u64::from(self.partial.is_some());
            self.check_order(&part.frame);
            self.partial = Some(Partial {
                frame: part.frame,
                next: 0,
                key_height: part.key_height,
            });
        }
        let Some(partial) = &mut self.partial else {
            // A part that was lost on its way to the server together with the start of the next frame cannot be told from that start:
            // it has a number though its frame was left out. Decoders pass it over.
            let is_of_upper_layer = part.frame.temporal > 0;
            assert!(
                self.loss || is_of_upper_layer,
                "a frame without its start, and nothing was lost: {:?} part {}, the last was {:?}",
                part.frame,
                part.part,
                self.last
            );
            return;
        };
        assert_eq!(partial.frame, part.frame, "parts of one frame");
        assert_eq!(partial.next, part.part, "parts in order");
        partial.next += 1;
        assert_eq!(
            part.marker,
            partial.next == part.frame.parts,
            "the marker ends the frame"
        );
        if part.marker {
            let partial = *partial;
            self.partial = None;
            self.finish(partial);
        }
    }

    fn check_order(&mut self, frame: &Frame) {
        let Some(last) = self.last.replace(*frame) else {
            self.loss = false;
            return;
        };
        let time = frame.timestamp.wrapping_sub(last.timestamp) as i32;
        assert!(time > 0, "time goes forward: {last:?} {frame:?}");
        let pictures = frame.picture_id.wrapping_sub(last.picture_id) & 0x7fff;
        if std::mem::take(&mut self.loss) {
            assert!(
                pictures > 0 && pictures < 1 << 14,
                "picture ids go forward: {last:?} {frame:?}"
            );
        } else {
            assert_eq!(pictures, 1, "picture ids have no gap: {last:?} {frame:?}");
            let base = u8::from(frame.temporal == 0);
            assert_eq!(frame.tl0, last.tl0.wrapping_add(base), "{last:?} {frame:?}");
        }
    }

    fn finish(&mut self, whole: Partial) {
        let frame = whole.frame;
        if let Some(height) = whole.key_height {
            self.figures.key_frames += 1;
            self.figures.height = height;
        } else if self.decoded != Some((frame.layer, frame.reference)) {
            self.decoded = None;
            self.figures.undecodable += 1;
            return;
        }
        self.figures.decoded += 1;
        if frame.temporal == 0 {
            self.decoded = Some((frame.layer, frame.number));
        }
    }
}

/// Layer and number of the frame that a payload is of.
#[cfg(test)]
pub(crate) fn frame_of(payload: &[u8]) -> (u8, u32) {
    let frame = parse(0, false, payload).frame;
    (frame.layer, frame.number)
}

fn parse(timestamp: u32, marker: bool, payload: &[u8]) -> Part {
    let descriptor = Descriptor::parse(payload).expect("the publisher writes VP8");
    let key = descriptor.starts_key_frame(payload);
    let head = usize::from(descriptor.len) + if key { 10 } else { 1 };
    let stamp = payload[head..]
        .first_chunk::<STAMP_LEN>()
        .expect("the publisher stamps it");
    let number = |at: usize| u32::from_be_bytes([stamp[at], stamp[at + 1], stamp[at + 2], stamp[at + 3]]);
    let part = Part {
        frame: Frame {
            timestamp,
            picture_id: descriptor.picture_id.expect("the publisher writes one").value,
            tl0: descriptor.tl0.expect("the publisher writes one").value,
            temporal: descriptor.temporal.expect("the publisher writes one").id,
            layer: stamp[0],
            number: number(1),
            reference: number(5),
            parts: stamp[10],
        },
        part: stamp[9],
        marker,
        key_height: descriptor.key_frame_size(payload).map(|(_, height)| height),
    };
    assert_eq!(
        descriptor.frame_start,
        part.part == 0,
        "the descriptor is the publisher's"
    );
    part
}
