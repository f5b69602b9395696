//! What a peer publishes: a microphone and a camera with two encodings, on clocks of its own, and how it reacts to feedback as
//! browsers do.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::clock::{CompactNtp, NtpTime};
use crate::ids::Ssrc;
use crate::media::Layer;
use crate::red::{self, Block};
use crate::rtcp::{ReportBlock, SenderInfo, TransportFeedback};
use crate::testing::puppet::{Fields, OPUS, Puppet, RED, RTX, VP8};
use crate::testing::{Chance, FRAME_TIME, MediaPacket, VideoPublisher, frame_of};

const SOUND_TIME: Duration = Duration::from_millis(20);
/// Packets of a stream that can be sent again.
const HISTORY: usize = 600;
/// Packets whose transport-wide number is remembered.
const WIDE_HISTORY: u16 = 2_000;
/// Between two packets of a picture: the encoder's pacer.
const PACE: Duration = Duration::from_micros(200);
/// From a request for a packet to its being sent again.
const ANSWER_TIME: Duration = Duration::from_millis(2);
/// The line the microphone is on, and that of the camera.
const LINES: [&str; 2] = ["0", "1"];
/// The encodings' names, by layer.
const RIDS: [&str; 2] = ["m", "h"];

/// A publisher's clocks and delays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// What its wall clock shows when it joins.
    pub(crate) wall: NtpTime,
    /// How much faster than true time its clock runs, in millionths.
    pub(crate) drift: i64,
    /// How much faster than its own clock its microphone runs, in millionths.
    pub(crate) audio_drift: i64,
    /// From capture to sending.
    pub(crate) audio_latency: Duration,
    /// Same for the two encodings.
    pub(crate) video_latency: [Duration; 2],
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            wall: NtpTime::from_bits(0xd000_0000_0000_0000),
            drift: 0,
            audio_drift: 0,
            audio_latency: Duration::from_millis(5),
            video_latency: [Duration::from_millis(8), Duration::from_millis(15)],
        }
    }
}

/// Which stream a packet is of: 0 the microphone, 1 and 2 the encodings, smaller first.
type StreamIndex = usize;

/// An SSRC and what was sent on it.
struct Stream {
    ssrc: Ssrc,
    rtx: Ssrc,
    rtx_sequence: u16,
    /// A report named it: MID and RID are no longer sent.
    is_known: bool,
    packets: u32,
    bytes: u32,
    sent: VecDeque<MediaPacket>,
    /// The same as it left, for sound: it has no retransmission SSRC and is sent again as it was.
    sealed: VecDeque<Vec<u8>>,
}

impl Stream {
    fn new(chance: &mut Chance) -> Self {
        Self {
            ssrc: Ssrc(chance.bits() as u32 | 1),
            rtx: Ssrc(chance.bits() as u32 & !1),
            rtx_sequence: chance.bits() as u16,
            is_known: false,
            packets: 0,
            bytes: 0,
            sent: VecDeque::new(),
            sealed: VecDeque::new(),
        }
    }
}

struct Encoder {
    camera: VideoPublisher,
    is_on: bool,
    /// Media time of the camera's first picture.
    origin: Duration,
}

/// See the module.
pub(crate) struct Studio {
    start: Instant,
    timing: Timing,
    chance: Chance,
    streams: [Stream; 3],
    encoders: [Encoder; 2],
    has_microphone: bool,
    has_camera: bool,
    sounds: u32,
    first_sound_timestamp: u32,
    first_sound_sequence: u16,
    /// With how many later ones each sound is sent again (RFC 2198): one in Chromium, two with our page's worker, none in Firefox.
    pub(crate) redundancy: usize,
    /// Sounds carry a transport-wide number: sent again they would be another packet under the same number. Chromium's do.
    pub(crate) numbers_sounds: bool,
    /// The oldest first.
    last_sounds: VecDeque<Vec<u8>>,
    /// What its sounds say of who made them.
    name: u32,
    pictures: u32,
    /// Packets that will be sent, by time.
    outbox: BTreeMap<(Instant, u64), (StreamIndex, MediaPacket, bool)>,
    queued: u64,
    wide: u16,
    wide_sent: HashMap<u16, (StreamIndex, u16)>,
    /// Packets that the server said it has.
    acknowledged: HashSet<(StreamIndex, u16)>,
    /// When a packet was last sent again. Browsers don't send it once more within a round trip, whoever asks.
    answered: HashMap<(StreamIndex, u16), Instant>,
    /// The last that reports proved.
    round_trip: Duration,
    /// When which sound was captured, by its number.
    pub(crate) sounds_captured: Vec<Instant>,
    /// When which picture was captured, by layer and number.
    pub(crate) pictures_captured: HashMap<(u8, u32), Instant>,
    /// When the server asked for key frames.
    pub(crate) key_frame_requests: Vec<Instant>,
    /// Packets sent again.
    pub(crate) resent: u64,
    /// Of these, sounds.
    pub(crate) resent_sounds: u64,
    /// Packets asked for after the server said that it has them: never answered. Only a request that was overtaken may be one.
    pub(crate) asked_in_vain: u64,
}

impl Studio {
    pub(crate) fn new(timing: Timing, seed: u64, has_microphone: bool, has_camera: bool, start: Instant) -> Self {
        let mut chance = Chance::new(seed);
        let streams = std::array::from_fn(|_| Stream::new(&mut chance));
        let encoders = std::array::from_fn(|_| Encoder {
            camera: VideoPublisher::new(chance.bits()),
            is_on: true,
            origin: Duration::ZERO,
        });
        Self {
            start,
            timing,
            streams,
            encoders,
            has_microphone,
            has_camera,
            sounds: 0,
            first_sound_timestamp: chance.bits() as u32,
            first_sound_sequence: chance.bits() as u16,
            redundancy: 0,
            numbers_sounds: false,
            last_sounds: VecDeque::new(),
            name: chance.bits() as u32,
            pictures: 0,
            outbox: BTreeMap::new(),
            queued: 0,
            wide: chance.bits() as u16,
            wide_sent: HashMap::new(),
            acknowledged: HashSet::new(),
            answered: HashMap::new(),
            round_trip: Duration::ZERO,
            sounds_captured: Vec::new(),
            pictures_captured: HashMap::new(),
            key_frame_requests: Vec::new(),
            resent: 0,
            resent_sounds: 0,
            asked_in_vain: 0,
            chance,
        }
    }

    /// The media clocks begin now: keys are in place.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.start = now;
    }

    /// Switches an encoding off or on; it begins with a key frame, as the other one then does too.
    pub(crate) fn switch(&mut self, layer: Layer, on: bool) {
        self.encoders[layer as usize].is_on = on;
        if on {
            self.encoders
                .iter_mut()
                .for_each(|encoder| encoder.camera.request_key_frame());
        }
    }

    /// Whether an encoding is being sent.
    pub(crate) fn is_on(&self, layer: Layer) -> bool {
        self.encoders[layer as usize].is_on
    }

    /// Lets an encoder start anew, with another SSRC and all numbers new.
    pub(crate) fn restart_encoder(&mut self, layer: Layer) {
        let index = 1 + layer as usize;
        self.streams[index] = Stream::new(&mut self.chance);
        self.outbox.retain(|_, (stream, ..)| *stream != index);
        self.wide_sent.retain(|_, (stream, _)| *stream != index);
        self.acknowledged.retain(|(stream, _)| *stream != index);
        let origin = FRAME_TIME * self.pictures;
        self.encoders[layer as usize] = Encoder {
            camera: VideoPublisher::new(self.chance.bits()),
            is_on: true,
            origin,
        };
    }

    /// The SSRC the peer names as itself in feedback.
    pub(crate) fn own_ssrc(&self) -> Ssrc {
        self.streams[0].ssrc
    }

    /// Sounds captured so far.
    pub(crate) const fn sounds(&self) -> u32 {
        self.sounds
    }

    /// Pictures captured so far.
    pub(crate) const fn pictures(&self) -> u32 {
        self.pictures
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let sound = self.has_microphone.then(|| self.sound_due());
        let picture = self.has_camera.then(|| self.picture_due());
        let packet = self.outbox.first_key_value().map(|((at, _), _)| *at);
        [sound, picture, packet].into_iter().flatten().min()
    }

    fn sound_due(&self) -> Instant {
        let media = unscale(SOUND_TIME * self.sounds, self.timing.audio_drift);
        self.start + unscale(media, self.timing.drift)
    }

    fn picture_due(&self) -> Instant {
        self.start + unscale(FRAME_TIME * self.pictures, self.timing.drift)
    }

    /// Captures what is due, and seals what is to be sent.
    pub(crate) fn handle_timeout(&mut self, puppet: &mut Puppet, out: &mut Vec<Vec<u8>>, now: Instant) {
        while self.has_microphone && self.sound_due() <= now {
            self.capture_sound();
        }
        while self.has_camera && self.picture_due() <= now {
            self.capture_picture();
        }
        while let Some(first) = self.outbox.first_entry().filter(|first| first.key().0 <= now) {
            let (stream, packet, again) = first.remove();
            self.send(stream, packet, again, puppet, out);
        }
    }

    fn capture_sound(&mut self) {
        let at = self.sound_due();
        let number = self.sounds;
        self.sounds += 1;
        self.sounds_captured.push(at);
        let mut payload = vec![0x78];
        payload.extend(self.name.to_be_bytes());
        payload.extend(number.to_be_bytes());
        payload.resize(40 + self.chance.below(60) as usize, 0x55);
        if self.redundancy > 0 {
            let ages = (1..=self.last_sounds.len() as u16).rev();
            let blocks = ages.zip(&self.last_sounds).map(|(behind, data)| Block {
                age: 960 * behind,
                data,
            });
            let blocks: Vec<Block<'_>> = blocks.collect();
            let len = blocks
                .iter()
                .map(|block| red::BLOCK_HEADER + block.data.len())
                .sum::<usize>();
            let mut whole = vec![0; len + 1 + payload.len()];
            red::write(&mut whole, blocks.iter(), &payload, OPUS);
            self.last_sounds.push_back(payload);
            if self.last_sounds.len() > self.redundancy {
                self.last_sounds.pop_front();
            }
            payload = whole;
        }
        let packet = MediaPacket {
            sequence: self.first_sound_sequence.wrapping_add(number as u16),
            timestamp: self.first_sound_timestamp.wrapping_add(number.wrapping_mul(960)),
            marker: number == 0,
            payload,
        };
        self.queue(at + self.timing.audio_latency, 0, packet, false);
    }

    fn capture_picture(&mut self) {
        let at = self.picture_due();
        for layer in [Layer::P480, Layer::P720] {
            let encoder = &mut self.encoders[layer as usize];
            // The first picture has the camera's own time zero.
            if FRAME_TIME * self.pictures > encoder.origin {
                encoder.camera.advance();
            }
            if !encoder.is_on {
                continue;
            }
            let packets = encoder.camera.encode(layer);
            self.pictures_captured.insert(frame_of(&packets[0].payload), at);
            for (place, packet) in packets.into_iter().enumerate() {
                let due = at + self.timing.video_latency[layer as usize] + PACE * place as u32;
                self.queue(due, 1 + layer as usize, packet, false);
            }
        }
        self.pictures += 1;
    }

    fn queue(&mut self, at: Instant, stream: StreamIndex, packet: MediaPacket, again: bool) {
        self.queued += 1;
        self.outbox.insert((at, self.queued), (stream, packet, again));
    }

    fn send(
        &mut self,
        index: StreamIndex,
        packet: MediaPacket,
        again: bool,
        puppet: &mut Puppet,
        out: &mut Vec<Vec<u8>>,
    ) {
        let stream = &mut self.streams[index];
        if again && index == 0 {
            let place = stream.sent.iter().position(|sent| sent.sequence == packet.sequence);
            out.extend(place.and_then(|place| stream.sealed.get(place)).cloned());
            return;
        }
        // Audio has no number that would be another when it is sent again.
        let is_numbered = index != 0 || self.numbers_sounds;
        self.wide = self.wide.wrapping_add(u16::from(is_numbered));
        let (line, rid) = match index {
            0 => (LINES[0], None),
            layer => (LINES[1], Some(RIDS[layer - 1])),
        };
        let fields = Fields {
            timestamp: packet.timestamp,
            marker: packet.marker,
            twcc: Some(self.wide).filter(|_| is_numbered),
            ..Fields::default()
        };
        let sealed = if again {
            stream.rtx_sequence = stream.rtx_sequence.wrapping_add(1);
            let fields = Fields {
                ssrc: stream.rtx.0,
                sequence: stream.rtx_sequence,
                payload_type: RTX.0,
                // No report ever names this SSRC.
                mid: Some(line),
                repaired_rid: rid,
                ..fields
            };
            let payload = [&packet.sequence.to_be_bytes()[..], &packet.payload].concat();
            puppet.seal_rtp(&fields, &payload)
        } else {
            let fields = Fields {
                ssrc: stream.ssrc.0,
                sequence: packet.sequence,
                payload_type: match index {
                    0 if self.redundancy > 0 => RED.0,
                    0 => OPUS.0,
                    _ => VP8.0,
                },
                mid: Some(line).filter(|_| !stream.is_known),
                rid: rid.filter(|_| !stream.is_known),
                ..fields
            };
            stream.packets += 1;
            stream.bytes += packet.payload.len() as u32;
            puppet.seal_rtp(&fields, &packet.payload)
        };
        if is_numbered {
            self.wide_sent.insert(self.wide, (index, packet.sequence));
            self.wide_sent.remove(&self.wide.wrapping_sub(WIDE_HISTORY));
        }
        if !again {
            self.acknowledged.remove(&(index, packet.sequence));
            stream.sent.push_back(packet);
            if stream.sent.len() > HISTORY {
                stream.sent.pop_front();
            }
            if index == 0 {
                stream.sealed.push_back(sealed.clone().unwrap_or_default());
                if stream.sealed.len() > HISTORY {
                    stream.sealed.pop_front();
                }
            }
        }
        out.extend(sealed);
    }

    /// A report named this SSRC.
    pub(crate) fn handle_report_block(&mut self, block: &ReportBlock, now: Instant) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == block.ssrc) {
            stream.is_known = true;
        }
        let ntp = self.timing.wall + scale(now.saturating_duration_since(self.start), self.timing.drift);
        if let Some(round_trip) = CompactNtp::round_trip(ntp.compact(), block.last_sr, block.delay_since_last_sr) {
            self.round_trip = round_trip;
        }
    }

    /// Packets are to be sent again. Those that were acknowledged are gone, as in browsers.
    pub(crate) fn handle_nack(&mut self, ssrc: Ssrc, sequences: impl Iterator<Item = u16>, now: Instant) {
        let Some(index) = self.streams.iter().position(|stream| stream.ssrc == ssrc) else {
            return;
        };
        for sequence in sequences {
            if self.acknowledged.contains(&(index, sequence)) {
                self.asked_in_vain += 1;
                continue;
            }
            let key = (index, sequence);
            if self.answered.get(&key).is_some_and(|at| now < *at + self.round_trip) {
                continue;
            }
            let sent = &self.streams[index].sent;
            if let Some(packet) = sent.iter().rev().find(|packet| packet.sequence == sequence).cloned() {
                self.answered.insert(key, now);
                self.resent += 1;
                self.resent_sounds += u64::from(index == 0);
                self.queue(now + ANSWER_TIME, index, packet, true);
            }
        }
    }

    pub(crate) fn handle_transport_feedback(&mut self, feedback: &TransportFeedback<'_>) {
        for status in feedback.statuses() {
            if status.arrival.is_some() {
                // Numbers from before the memory, as after a time without a path, say nothing.
                self.acknowledged.extend(self.wide_sent.get(&status.sequence));
            }
        }
    }

    /// One request makes a key frame of every encoding that is on.
    pub(crate) fn handle_key_frame_request(&mut self, ssrc: Ssrc, now: Instant) {
        let known = self.streams[1..].iter().any(|stream| stream.ssrc == ssrc);
        if known {
            self.key_frame_requests.push(now);
            self.encoders
                .iter_mut()
                .for_each(|encoder| encoder.camera.request_key_frame());
        }
    }

    /// What the sender reports of its streams say now.
    pub(crate) fn sender_infos(&self, now: Instant) -> Vec<SenderInfo> {
        let media_time = scale(now.saturating_duration_since(self.start), self.timing.drift);
        let info = |stream: &Stream, rtp_timestamp| SenderInfo {
            ssrc: stream.ssrc,
            ntp: self.timing.wall + media_time,
            rtp_timestamp,
            packets: stream.packets,
            bytes: stream.bytes,
        };
        let mut infos = Vec::new();
        if self.streams[0].packets > 0 {
            let ticks = ticks(scale(media_time, self.timing.audio_drift), 48_000);
            infos.push(info(&self.streams[0], self.first_sound_timestamp.wrapping_add(ticks)));
        }
        for layer in [Layer::P480, Layer::P720] {
            let (encoder, stream) = (&self.encoders[layer as usize], &self.streams[1 + layer as usize]);
            if stream.packets > 0 && encoder.is_on {
                // From the camera's latest picture to now.
                let since = media_time.saturating_sub(encoder.origin + encoder.camera.time());
                let timestamp = encoder.camera.timestamp(layer).wrapping_add(ticks(since, 90_000));
                infos.push(info(stream, timestamp));
            }
        }
        infos
    }
}

fn ticks(time: Duration, rate: u128) -> u32 {
    (time.as_nanos() * rate / 1_000_000_000) as u32
}

/// What a clock that is so many millionths too fast makes of a time.
fn scale(time: Duration, millionths: i64) -> Duration {
    let nanos = time.as_nanos() as i128 * (1_000_000 + i128::from(millionths)) / 1_000_000;
    Duration::from_nanos(nanos as u64)
}

/// The other way round.
fn unscale(time: Duration, millionths: i64) -> Duration {
    let nanos = time.as_nanos() as i128 * 1_000_000 / (1_000_000 + i128::from(millionths));
    Duration::from_nanos(nanos as u64)
}
