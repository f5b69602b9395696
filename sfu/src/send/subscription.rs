//! One slot of one viewer: what is forwarded to it, and what it asks for.

use std::time::{Duration, Instant};

use crate::adapt::Copies;
use crate::clock::NtpTime;
use crate::ids::{PayloadType, Ssrc, TrackId};
use crate::limits;
use crate::media::{Kind, Layer, Target};
use crate::ntp::NtpSpan;
use crate::red;
use crate::ring::{Facts, KeyFrame, Read, Ring, RingIndex, Stored};
use crate::rtcp::ReportBlock;
use crate::send::forwarder::{Alignment, Forwarder, Misplaced, Offsets};
use crate::send::header::{HeaderFields, HeaderTemplate};
use crate::send::history::History;
use crate::send::key_frame::{KeyFrameRequests, Reason};
use crate::send::padding::PaddedRun;
use crate::send::redundancy::Protected;
use crate::send::report::{Reports, SenderFacts};
use crate::send::resend::{Asked, Resends};
use crate::send::{LayerSource, Outgoing, SlotConfig, Stamp, Written};

mod repair;
mod steer;

/// Figures of a slot since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Packets sent, without retransmissions.
    pub(crate) packets: u64,
    /// Their RTP bytes, headers included.
    pub(crate) bytes: u64,
    /// Their payload bytes.
    pub(crate) octets: u64,
    /// Retransmissions sent.
    pub(crate) resent: u64,
    /// Packets left out because their temporal layer is.
    pub(crate) thinned: u64,
    /// Packets read but not forwarded: from before a switch, of a codec the receiver does not take, or under a used number.
    pub(crate) skipped: u64,
    /// Times the publisher was faster than this reader, or left a gap too long to be filled.
    pub(crate) interrupted: u64,
}

/// What flows.
#[derive(Debug)]
enum Flow {
    /// Nothing, and nothing is wanted.
    Idle,
    /// Nothing yet: the first packet (audio) or a key frame (video) is awaited.
    Starting(Option<Awaited>),
    /// Nothing, because the receiver does not take the publisher's codec.
    Incompatible,
    /// Packets.
    Flowing(Flowing),
}

/// A key frame that is waited for.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    layer: Layer,
    /// Older ones do not count. `None`: the layer had no packet yet.
    not_before: Option<RingIndex>,
}

impl Awaited {
    /// One that has still to come.
    fn new(layer: Layer, source: &impl LayerSource) -> Self {
        Self {
            layer,
            not_before: source.ring(Some(layer)).map(Ring::end),
        }
    }

    /// The latest one if it has just come, else the next.
    fn or_fresh(layer: Layer, source: &impl LayerSource, now: Instant) -> Self {
        let is_fresh = |key: &KeyFrame| now.saturating_duration_since(key.arrival) <= limits::KEY_FRAME_REUSE;
        match latest_key_frame(source, layer) {
            Some((_, key)) if is_fresh(key) => Self {
                layer,
                not_before: Some(key.index),
            },
            _ => Self::new(layer, source),
        }
    }

    /// The key frame, if it has come.
    fn find<'a>(&self, source: &'a impl LayerSource) -> Option<(&'a Ring, &'a KeyFrame)> {
        let (ring, key) = latest_key_frame(source, self.layer)?;
        self.not_before
            .is_none_or(|first| key.index >= first)
            .then_some((ring, key))
    }
}

#[derive(Debug)]
struct Flowing {
    layer: Option<Layer>,
    /// Where it began: with this key frame, for video.
    start: RingIndex,
    /// The next place to read.
    cursor: RingIndex,
    /// Audio starts its numbers at the first packet that is read.
    begun: bool,
    /// Timestamp of the newest packet sent.
    frame: u64,
    /// Whether that packet was the last of its frame.
    frame_complete: bool,
    /// The packets that are being made equally long.
    run: Option<PaddedRun>,
    next: Next,
    /// The highest temporal layer seen, and the highest that is let through.
    top_temporal: u8,
    through_temporal: u8,
    /// Timestamp of a frame that is being left out.
    left_out: Option<u64>,
}

impl Flowing {
    /// Padding for the payload at `place`: none for audio, whose packets leave one by one.
    fn padding(&mut self, ring: &Ring, place: RingIndex, payload: usize) -> usize {
        if self.layer.is_none() {
            return 0;
        }
        let run = match self.run {
            Some(run) if run.contains(place) => run,
            _ => *self.run.insert(PaddedRun::starting_at(ring, place)),
        };
        run.padding(place, payload)
    }
}

/// What comes after the flow as it is.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// More of it.
    Same,
    /// More of it, and a key frame is needed: the receiver has lost the picture.
    Refresh,
    /// Another layer, at its key frame.
    Switch(Awaited),
    /// Nothing, at the end of the frame.
    Stop { since: Instant },
}

impl Flowing {
    /// Whether a packet is of a temporal layer that is left out. Decided at the start of a frame, for all of it.
    fn is_unwanted(&mut self, stored: &Stored, thinning: u8) -> bool {
        let Facts::Vp8(vp8) = &stored.facts else { return false };
        let Some(temporal) = vp8.descriptor.temporal else {
            return false;
        };
        if self.left_out == Some(stored.timestamp) {
            return true;
        }
        self.top_temporal = self.top_temporal.max(temporal.id);
        let wanted = self.top_temporal.saturating_sub(thinning);
        if thinning == 0 && self.through_temporal >= self.top_temporal {
            self.through_temporal = u8::MAX;
            return false;
        }
        // A frame that was begun is finished; one that comes late has its number.
        if stored.timestamp <= self.frame || !vp8.descriptor.frame_start {
            return false;
        }
        if wanted < self.through_temporal {
            self.through_temporal = wanted;
        } else if temporal.id > self.through_temporal && temporal.id <= wanted && temporal.base_only {
            // Back up only at a frame that refers to nothing that was left out.
            self.through_temporal = temporal.id;
        }
        temporal.id > self.through_temporal
    }
}

/// See the module.
///
/// Calling contract: after new packets were stored, or after any `set_*` or `handle_*`, call [`Self::poll_resend`] and
/// [`Self::poll_packet`] until each says `None`, then [`Self::wanted_key_frame`]; come back at [`Self::poll_timeout`].
pub(crate) struct Subscription {
    config: SlotConfig,
    header: HeaderTemplate,
    source: Option<TrackId>,
    target: Target,
    /// How many temporal layers are left out, from the top.
    thinning: u8,
    /// The path loses packets by chance: audio takes the frames before its own along, and what is asked for is resent twice.
    is_lossy: bool,
    /// What flows must not be sent beyond its frame: the path does not carry it, and something smaller is on its way.
    held: bool,
    flow: Flow,
    forwarder: Forwarder,
    history: History,
    resends: Resends,
    requests: KeyFrameRequests,
    reports: Reports,
    /// Our sequence number from which on packets are of the present source: only they can be resent.
    source_from: u64,
    /// Our sequence number from which the receiver can decode: the latest key frame's first, or the start of what flows.
    decodable_from: u64,
    next_rtx_sequence: u64,
    counters: Counters,
}

impl Subscription {
    /// A slot that is pointed at nothing, and wants the best video once it is. `seed` must be unpredictable: it decides the first numbers.
    pub(crate) fn new(config: SlotConfig, seed: u64, now: Instant) -> Self {
        let history = match config.kind {
            Kind::Audio => limits::AUDIO_HISTORY,
            Kind::Video => limits::VIDEO_HISTORY,
        };
        let forwarder = Forwarder::new(config.kind, seed);
        Self {
            header: HeaderTemplate::new(&config),
            source: None,
            target: Target::Video(Layer::P720),
            thinning: 0,
            is_lossy: false,
            held: false,
            flow: Flow::Idle,
            history: History::new(history, now),
            resends: Resends::new(),
            requests: KeyFrameRequests::default(),
            reports: Reports::default(),
            source_from: forwarder.next_sequence(),
            decodable_from: forwarder.next_sequence(),
            forwarder,
            next_rtx_sequence: seed >> 7 & 0x7fff,
            counters: Counters::default(),
            config,
        }
    }

    /// Takes over what was negotiated anew for the same line and SSRC. All numbers go on.
    pub(crate) fn set_config(&mut self, config: SlotConfig) {
        debug_assert_eq!(
            (config.ssrc, config.kind),
            (self.config.ssrc, self.config.kind),
            "the same line"
        );
        self.header = HeaderTemplate::new(&config);
        self.config = config;
        if let Flow::Incompatible = self.flow {
            self.flow = Flow::Starting(None);
        }
    }

    /// Points the slot at a track, or at nothing. From here on the [`LayerSource`] handed in must be that track.
    pub(crate) fn set_source(&mut self, source: Option<TrackId>) {
        if self.source == source {
            return;
        }
        self.source = source;
        self.forwarder.forget_source();
        self.resends.clear();
        self.requests.reset();
        self.source_from = self.forwarder.next_sequence();
        self.decodable_from = self.source_from;
        self.flow = if source.is_some() && self.wants_anything() {
            Flow::Starting(None)
        } else {
            Flow::Idle
        };
    }

    /// What a video slot should be sent. Audio slots ignore it.
    pub(crate) fn set_target(&mut self, target: Target, now: Instant) {
        let old = std::mem::replace(&mut self.target, target);
        self.held = false;
        if self.config.kind == Kind::Audio || self.source.is_none() || old == target {
            return;
        }
        match (&mut self.flow, target) {
            (Flow::Flowing(flowing), Target::AudioOnly) => {
                if !matches!(flowing.next, Next::Stop { .. }) {
                    flowing.next = Next::Stop { since: now };
                }
            }
            (Flow::Flowing(flowing), Target::Video(_)) => {
                if matches!(flowing.next, Next::Stop { .. }) {
                    flowing.next = Next::Same;
                }
            }
            (flow, Target::AudioOnly) => *flow = Flow::Idle,
            (Flow::Starting(_), Target::Video(_)) => {}
            (flow, Target::Video(_)) => *flow = Flow::Starting(None),
        }
        self.requests.reset();
    }

    /// Does not send what flows beyond the frame it is in: to be called after [`Self::set_target`] with a smaller one.
    pub(crate) const fn hold(&mut self) {
        self.held = true;
    }

    /// How many temporal layers are to be left out, from the top: two of three leave a quarter of the frames.
    pub(crate) const fn set_thinning(&mut self, layers: u8) {
        self.thinning = layers;
    }

    /// Whether the path loses packets by chance. Packets of audio then take the frames before their own along, if the receiver takes
    /// redundancy at all, and what is asked for again is sent twice.
    pub(crate) const fn set_lossy(&mut self, is_lossy: bool) {
        self.is_lossy = is_lossy;
    }

    /// See [`Self::set_lossy`].
    pub(crate) const fn is_lossy(&self) -> bool {
        self.is_lossy
    }

    /// Writes the next packet, complete and in plaintext, to the start of `out`. `None` if there is none.
    ///
    /// `out` must have room for [`super::MAX_HEADER`] and [`limits::MAX_PAYLOAD`]; a packet that does not fit is skipped.
    pub(crate) fn poll_packet(
        &mut self,
        source: &impl LayerSource,
        stamp: &mut Stamp,
        out: &mut [u8],
    ) -> Option<Written> {
        loop {
            self.steer(source, stamp.now);
            let Flow::Flowing(flowing) = &mut self.flow else {
                return None;
            };
            let place = flowing.cursor;
            let ring = source.ring(flowing.layer)?;
            match ring.read(place) {
                Read::Empty => return None,
                Read::Overtaken(oldest) => self.interrupt(oldest),
                Read::Packet(stored, _)
                    if self.held
                        && matches!(flowing.next, Next::Switch(_))
                        && (flowing.frame_complete || stored.timestamp > flowing.frame) =>
                {
                    return None;
                }
                Read::Packet(stored, payload) => {
                    flowing.cursor = place.next();
                    let padding = flowing.padding(ring, place, payload.len());
                    if !flowing.begun {
                        flowing.begun = true;
                        // Over a gap the clock is the same; after another source it cannot be, and is not taken to be.
                        self.forwarder.begin(stored, None, Alignment::SameClock);
                        self.decodable_from = self.forwarder.next_sequence();
                    }
                    self.forwarder.end_left_out(stored);
                    if flowing.is_unwanted(stored, self.thinning)
                        && self
                            .forwarder
                            .leave_out(stored, flowing.left_out != Some(stored.timestamp))
                    {
                        flowing.left_out = Some(stored.timestamp);
                        self.counters.thinned += 1;
                        continue;
                    }
                    match self.forward(ring, place, stored, (payload, padding), stamp, out) {
                        Forwarded::Written(written) => return Some(written),
                        Forwarded::Skipped => self.counters.skipped += 1,
                        Forwarded::Torn => self.interrupt(place),
                    }
                }
            }
        }
    }

    /// When the packet that is to be sent next arrived here, if there is one.
    pub(crate) fn next_arrival(&self, source: &impl LayerSource) -> Option<Instant> {
        match &self.flow {
            Flow::Flowing(flowing) => match source.ring(flowing.layer)?.read(flowing.cursor) {
                Read::Packet(stored, _) => Some(stored.arrival),
                Read::Empty | Read::Overtaken(_) => None,
            },
            Flow::Idle | Flow::Starting(_) | Flow::Incompatible => None,
        }
    }

    fn forward(
        &mut self,
        ring: &Ring,
        place: RingIndex,
        stored: &Stored,
        (payload, padding): (&[u8], usize),
        stamp: &mut Stamp,
        out: &mut [u8],
    ) -> Forwarded {
        let Flow::Flowing(flowing) = &mut self.flow else {
            return Forwarded::Skipped;
        };
        let sequence = match self.forwarder.place(stored) {
            Ok(sequence) => sequence,
            Err(Misplaced::TooEarly) => return Forwarded::Skipped,
            Err(Misplaced::Gap) => return Forwarded::Torn,
        };
        let Some((outgoing, negotiated)) = self.config.payload_types.outgoing(stored.packing) else {
            return Forwarded::Skipped;
        };
        let types = self.config.payload_types.protected().filter(|_| self.is_lossy);
        let protected = types.and_then(|types| Some((Protected::gather(ring, place, stored, payload)?, types)));
        let room = protected.as_ref().map_or(payload.len(), |(frames, _)| frames.len());
        if out.len() < self.header.len() + room + padding {
            return Forwarded::Skipped;
        }
        let offsets = self.forwarder.offsets_of(stored);
        if !self.history.claim(sequence, place, offsets, flowing.layer, stamp.now) {
            return Forwarded::Skipped;
        }
        // Padding between frames has the timestamp of the frame before it and no marker.
        let is_newest = self.forwarder.note_sent(stored, sequence);
        let is_empty = stored.facts == Facts::Empty;
        if is_newest && !is_empty {
            flowing.frame = stored.timestamp;
            flowing.frame_complete = stored.marker;
        }
        if stored.starts_key_frame() {
            self.decodable_from = self.decodable_from.max(sequence);
            if let Next::Refresh = flowing.next {
                flowing.next = Next::Same;
                self.requests.reset();
            }
        }
        let is_awaited = !is_newest && !is_empty && self.is_lossy && self.was_missed(sequence, stamp.now);
        let payload_type = protected.as_ref().map_or(negotiated.media, |(_, (red, _))| *red);
        let fields = fields(stored, offsets, self.config.ssrc, payload_type, sequence);
        let transport_wide = self.header.write(out, fields, stamp);
        let header_len = self.header.len();
        let octets = match protected {
            Some((frames, (_, opus))) => {
                frames.write(&mut out[header_len..], opus);
                frames.len()
            }
            None => write_payload(&mut out[header_len..], stored, payload, outgoing, offsets),
        };
        let len = header_len + octets + padding;
        write_padding(&mut out[..len], padding);
        self.counters.packets += 1;
        self.counters.bytes += len as u64;
        self.counters.octets += octets as u64;
        Forwarded::Written(Written {
            len,
            arrival: stored.arrival,
            padding,
            header_len,
            ssrc: self.config.ssrc,
            sequence,
            repeats: None,
            is_awaited,
            marker: stored.marker,
            transport_wide,
        })
    }

    /// The layer whose publisher is to be asked for a key frame now, if one is needed and the last request is long enough ago.
    pub(crate) fn wanted_key_frame(&mut self, source: &impl LayerSource, now: Instant) -> Option<Layer> {
        self.steer(source, now);
        let (layer, reason) = self.needed_key_frame()?;
        self.requests.poll(reason, now).then_some(layer)
    }

    fn needed_key_frame(&self) -> Option<(Layer, Reason)> {
        match &self.flow {
            Flow::Starting(awaited) => awaited.map(|awaited| (awaited.layer, Reason::Switch)),
            Flow::Flowing(flowing) => match flowing.next {
                Next::Refresh => flowing.layer.map(|layer| (layer, Reason::Refresh)),
                Next::Switch(awaited) => Some((awaited.layer, Reason::Switch)),
                Next::Same | Next::Stop { .. } => None,
            },
            Flow::Idle | Flow::Incompatible => None,
        }
    }

    /// When this slot wants to be polled although nothing came.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<(Instant, &'static str)> {
        if let Flow::Flowing(Flowing {
            next: Next::Stop { since },
            ..
        }) = self.flow
        {
            return Some((since + limits::FINISH_FRAME, "end of the last frame"));
        }
        let (_, reason) = self.needed_key_frame()?;
        Some((self.requests.due(reason, now), "key frame request"))
    }

    /// What a sender report about this slot says now: the publisher's own report, moved to the server's clock and to our RTP
    /// timestamps, and on to this moment. `None` until the publisher has reported on what flows.
    pub(crate) fn sender_report(
        &mut self,
        source: &impl LayerSource,
        now: Instant,
        ntp: NtpTime,
    ) -> Option<SenderFacts> {
        let mapping = source.sr_mapping(self.forwarder.layer()?)?;
        let reported = source.clock_offset()?.after(mapping.ntp);
        let since = NtpSpan::between(reported, ntp).ticks(self.forwarder.clock_rate());
        let rtp = mapping
            .rtp
            .wrapping_add(since as u32)
            .wrapping_add(self.forwarder.offsets().timestamp);
        self.reports.note_sent(ntp, now);
        Some(SenderFacts {
            ntp,
            rtp,
            packets: self.counters.packets as u32,
            octets: self.counters.octets as u32,
        })
    }

    /// Takes in a report block about the slot's media SSRC.
    pub(crate) fn handle_report_block(&mut self, heard: &ReportBlock, now: Instant) {
        self.reports.handle(heard, self.forwarder.holes(), now);
    }

    /// See [`crate::member::Member::touch`]. The subscription itself first; what it points at a step later.
    #[inline]
    pub(crate) fn touch(&self) {
        std::hint::black_box((
            self.config.ssrc.0,
            matches!(self.flow, Flow::Idle),
            self.forwarder.next_sequence(),
            self.counters.packets,
            self.next_rtx_sequence,
        ));
    }

    /// The second step.
    #[inline]
    pub(crate) fn touch_history(&self) {
        self.history.touch(self.forwarder.next_sequence());
    }

    /// What was negotiated.
    pub(crate) const fn config(&self) -> &SlotConfig {
        &self.config
    }

    /// What is wanted.
    pub(crate) const fn target(&self) -> Target {
        self.target
    }

    /// The layer that flows. `None` for audio, before the first key frame, and for audio-only.
    pub(crate) const fn layer(&self) -> Option<Layer> {
        match &self.flow {
            Flow::Flowing(flowing) => flowing.layer,
            Flow::Idle | Flow::Starting(_) | Flow::Incompatible => None,
        }
    }

    /// Counts since the slot was made.
    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The share of what was sent that the receiver last reported as lost, without what the publisher lost, 0.0..=1.0.
    pub(crate) const fn loss(&self) -> f32 {
        self.reports.loss()
    }

    /// Packets that never arrived, by all the receiver's reports.
    pub(crate) const fn lost(&self) -> u64 {
        self.reports.lost()
    }

    /// The interarrival jitter the receiver last reported.
    pub(crate) fn reported_jitter(&self) -> Duration {
        self.reports.jitter(self.config.kind)
    }

    /// The round trip to the receiver, if one was measured.
    pub(crate) const fn round_trip(&self) -> Option<Duration> {
        self.reports.round_trip()
    }
}

/// What became of a packet that was read.
enum Forwarded {
    Written(Written),
    Skipped,
    /// It is so far ahead that the numbers cannot go on.
    Torn,
}

fn latest_key_frame(source: &impl LayerSource, layer: Layer) -> Option<(&Ring, &KeyFrame)> {
    let ring = source.ring(Some(layer))?;
    ring.latest_key_frame().map(|key| (ring, key))
}

fn fields(stored: &Stored, offsets: Offsets, ssrc: Ssrc, payload_type: PayloadType, sequence: u64) -> HeaderFields {
    HeaderFields {
        ssrc,
        payload_type,
        sequence: sequence as u16,
        timestamp: (stored.timestamp as u32).wrapping_add(offsets.timestamp),
        marker: stored.marker,
        audio_level: stored.audio_level,
    }
}

/// Marks the end of a packet as padding (RFC 3550 §5.1): the last byte says how many bytes it is.
fn write_padding(packet: &mut [u8], padding: usize) {
    if padding == 0 {
        return;
    }
    let start = packet.len() - padding;
    packet[start..].fill(0);
    if let Some(last) = packet.last_mut() {
        *last = padding as u8;
    }
    packet[0] |= 0x20;
}

/// Writes a payload with its outgoing numbers to the start of `out`; its length. The same arguments write the same bytes.
///
/// Of redundant blocks only the youngest goes along, as in a browser's own packets: a publisher whose line loses puts more of them there,
/// which have done their work here, and what a viewer's own line needs is [`Protected`]'s matter.
fn write_payload(out: &mut [u8], stored: &Stored, payload: &[u8], outgoing: Outgoing, offsets: Offsets) -> usize {
    if let (Outgoing::Redundant { opus }, Facts::Red(red)) = (outgoing, stored.facts)
        && red::has_several_blocks(payload)
    {
        let youngest = red::last_blocks::<1>(payload);
        let youngest = youngest.iter().filter(|block| block.is_expressible());
        let own = payload.get(usize::from(red.primary)..).unwrap_or_default();
        return red::write(out, youngest, own, opus);
    }
    let payload = match (outgoing, stored.facts) {
        (Outgoing::PrimaryOnly, Facts::Red(red)) => payload.get(usize::from(red.primary)..).unwrap_or_default(),
        _ => payload,
    };
    let out = &mut out[..payload.len()];
    out.copy_from_slice(payload);
    match (outgoing, stored.facts) {
        (Outgoing::Redundant { opus }, Facts::Red(_)) => red::set_block_payload_type(out, opus),
        (_, Facts::Vp8(vp8)) => {
            let picture_id = (vp8.picture_id.unwrap_or(0) as u16).wrapping_add(offsets.picture_id);
            let tl0 = vp8.descriptor.tl0.map_or(0, |tl0| tl0.value.wrapping_add(offsets.tl0));
            vp8.descriptor.rewrite(out, picture_id, tl0);
        }
        _ => {}
    }
    payload.len()
}
