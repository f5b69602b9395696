//! One published track: its layers with their rings, what was received and repaired, and who watches.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::adapt::{Plan, nominal};
use crate::api::{Event, PublishedStats, PublishedTrack, TrackChange};
use crate::counters::{Count, Counters};
use crate::ext::AudioLevel;
use crate::ids::{Mid, ParticipantId, PayloadType, Rid, RoomId, Ssrc, TrackId};
use crate::limits;
use crate::media::{Bitrate, Codec, Kind, Layer, Source};
use crate::member::MemberKey;
use crate::ntp::{NtpSpan, SrMapping};
use crate::receive::{KeyFrameRequests, LayerReceiver, Refused, Repair};
use crate::red::{self, Block, Red};
use crate::ring::{Incoming, Packing, Ring, RingSize};
use crate::sdp::{Encoding, Format, Formats, LayerOrder, MediaLine, Publishing};
use crate::send::LayerSource;

/// Ticks of 60 ms. A redundant frame that is older than its packet by more was not in the packet before.
const LONGEST_AUDIO_PACKET: u16 = 2_880;

/// A track's place in the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrackKey(pub(crate) usize);

/// A layer's place in its track, as the client lists them: usually the smallest first.
pub(crate) type LayerIndex = usize;

/// One encoding of a track.
pub(crate) struct PublishedLayer {
    pub(crate) encoding: Encoding,
    /// What is received of it; `None` until its first packet.
    pub(crate) stream: Option<Stream>,
}

/// One SSRC's worth of an encoding.
pub(crate) struct Stream {
    pub(crate) receiver: LayerReceiver,
    pub(crate) ring: Ring,
    key_frames: u64,
    last_packet: Instant,
    /// Packets came within [`limits::LAYER_INACTIVE`].
    active: bool,
    /// Its newest packet is not the last of its frame: more of the frame is on the way.
    open: bool,
}

/// See the module.
pub(crate) struct Published {
    pub(crate) id: TrackId,
    pub(crate) room: RoomId,
    pub(crate) owner: MemberKey,
    pub(crate) owner_id: ParticipantId,
    pub(crate) mid: Mid,
    pub(crate) kind: Kind,
    pub(crate) source: Source,
    formats: Formats,
    repair: Repair,
    pub(crate) layers: ArrayVec<PublishedLayer, { limits::MAX_ENCODINGS }>,
    order: LayerOrder,
    /// How often the layers have changed places since the first offer.
    reorders: u8,
    /// Members with a slot that points here.
    pub(crate) viewers: Vec<MemberKey>,
    pub(crate) key_frames: KeyFrameRequests,
    /// Which layers its publisher is asked to send.
    pub(crate) plan: Plan,
    /// From the publisher's clock to ours, the same for all its tracks.
    pub(crate) clock_offset: Option<NtpSpan>,
    /// The first packet has come and was announced.
    pub(crate) started: bool,
    /// There are packets the viewers have not been offered yet.
    pub(crate) dirty: bool,
    /// They are kept from its viewers until the frame is whole, or until the tick.
    pub(crate) held: bool,
    /// Streams its layers have had: an encoder may start anew under another SSRC, and a new offer may name other encodings. No ring's
    /// places are ever taken for another's.
    streams: u32,
}

/// One received packet as the transport hands it on: header facts and the plain payload.
pub(crate) struct MediaPacket<'a> {
    pub(crate) ssrc: Ssrc,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload_type: PayloadType,
    pub(crate) audio_level: Option<AudioLevel>,
    pub(crate) payload: &'a [u8],
    /// Length of the whole RTP packet.
    pub(crate) len: usize,
    /// Came as a retransmission; `ssrc` is then not the media's.
    pub(crate) repaired: bool,
    /// The publisher may be made to send it again under the same number: its cipher bears that, or a resent one is the same to the bit.
    /// See [`crate::srtp::Profile::may_repeat`].
    pub(crate) may_repeat: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the ring.
    Stored,
    /// Padding or a duplicate: used up.
    Used,
}

impl Published {
    pub(crate) fn new(
        id: TrackId,
        room: RoomId,
        owner: (MemberKey, ParticipantId),
        line: &MediaLine,
        publishing: &Publishing,
    ) -> Self {
        Self {
            id,
            room,
            owner: owner.0,
            owner_id: owner.1,
            mid: line.mid,
            kind: line.kind,
            source: publishing.source,
            formats: line.formats.clone(),
            repair: repair(line),
            layers: publishing.encodings.iter().map(PublishedLayer::new).collect(),
            order: publishing.order,
            reorders: 0,
            viewers: Vec::new(),
            key_frames: KeyFrameRequests::default(),
            plan: Plan::default(),
            clock_offset: None,
            started: false,
            dirty: false,
            held: false,
            streams: 0,
        }
    }

    /// Takes over what a new offer says of the line. Encodings that are still there keep what was received of them. Returns the new
    /// place of each layer there was.
    pub(crate) fn renegotiate(
        &mut self,
        line: &MediaLine,
        publishing: &Publishing,
    ) -> ArrayVec<Option<LayerIndex>, { limits::MAX_ENCODINGS }> {
        let same = |one: &Encoding, other: &Encoding| (one.rid, one.layer) == (other.rid, other.layer);
        self.formats = line.formats.clone();
        self.repair = repair(line);
        self.order = publishing.order;
        let mut before = std::mem::take(&mut self.layers);
        let mut encodings = publishing.encodings.clone();
        let known = |encoding: &Encoding| before.iter().find(|layer| layer.encoding.rid == encoding.rid);
        if self.order == LayerOrder::Assumed
            && encodings.len() == before.len()
            && encodings.iter().all(|e| known(e).is_some())
        {
            // What the pictures have shown of these layers holds, whatever their order is now.
            for encoding in &mut encodings {
                encoding.layer = known(encoding).and_then(|layer| layer.encoding.layer);
            }
        }
        let moved = before
            .iter()
            .map(|layer| encodings.iter().position(|encoding| same(encoding, &layer.encoding)));
        let moved = moved.collect();
        for encoding in &encodings {
            let known = before.iter().position(|layer| same(encoding, &layer.encoding));
            let stream = known.and_then(|place| before.remove(place).stream);
            self.layers.push(PublishedLayer {
                encoding: *encoding,
                stream,
            });
        }
        moved
    }

    /// The payload type a retransmission's content had at first.
    pub(crate) fn resent_as(&self, rtx: PayloadType) -> Option<PayloadType> {
        match self.formats.get(rtx)? {
            Format::Rtx { apt } => Some(apt),
            Format::Media(_) | Format::Red { .. } => None,
        }
    }

    /// Takes one packet of a layer.
    pub(crate) fn receive(
        &mut self,
        index: LayerIndex,
        packet: &MediaPacket<'_>,
        counters: &mut Counters,
        now: Instant,
    ) -> Result<Outcome, Count> {
        let packing = match self.formats.get(packet.payload_type) {
            Some(Format::Red { .. }) => Packing::Red,
            Some(Format::Media(codec)) => Packing::Plain(codec),
            Some(Format::Rtx { .. }) | None => return Err(Count::Malformed),
        };
        if packet.payload.len() > limits::MAX_PAYLOAD {
            return Err(Count::TooBig);
        }
        let (kind, repair) = (self.kind, self.repair);
        let layer = &mut self.layers[index];
        let Some(stream) = layer.stream(kind, repair, &mut self.streams, packet, now) else {
            return Ok(Outcome::Used);
        };
        let accepted = if packet.repaired {
            stream.receiver.handle_repaired(packet.sequence, packet.len, now)
        } else {
            stream
                .receiver
                .handle_packet(packet.sequence, packet.timestamp, packet.len, now)
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(Refused::Duplicate) => return Ok(Outcome::Used),
            // Not stored, so not to be acknowledged either.
            Err(Refused::TooOld | Refused::TooNew) => return Err(Count::Untimely),
        };
        if packet.repaired {
            counters.add(Count::RtxIn, 1);
        }
        stream.last_packet = now;
        stream.active = true;
        if !packet.repaired {
            stream.open = !packet.marker;
        }
        let incoming = Incoming {
            arrival: now,
            sequence: accepted.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            packing,
            audio_level: packet.audio_level,
        };
        stream.recover(&incoming, packet.payload);
        let stored = stream
            .ring
            .insert(incoming, packet.payload)
            .map_err(|_| Count::Malformed)?;
        if stored.starts_key_frame() {
            stream.key_frames += 1;
            stream.receiver.handle_key_frame(accepted.sequence);
            if let Some(rung) = layer.encoding.layer {
                self.key_frames.handle_key_frame(rung, now);
            }
            self.order_by_size();
        }
        Ok(Outcome::Stored)
    }

    /// The layer with the larger picture is the upper rung, whatever the order of the offer: some encoders list the largest first
    /// (RFC 8853 calls the first the preferred one) and do not say how large it is. Rings keep the depth they were made with.
    fn order_by_size(&mut self) {
        let (LayerOrder::Assumed, [one, other]) = (self.order, self.layers.as_mut_slice()) else {
            return;
        };
        let (Some(first), Some(second)) = (one.active_size(), other.active_size()) else {
            return;
        };
        let as_taken = one.encoding.layer < other.encoding.layer;
        let is_so = match first.cmp(&second) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => as_taken,
            std::cmp::Ordering::Greater => false,
        };
        if is_so == as_taken || self.reorders == limits::LAYER_REORDERS {
            return;
        }
        self.reorders += 1;
        std::mem::swap(&mut one.encoding.layer, &mut other.encoding.layer);
        for stream in [one, other].into_iter().filter_map(|layer| layer.stream.as_mut()) {
            self.streams += 1;
            stream.ring.renumber(self.streams);
        }
    }

    /// The layer with this rung, or the only one there is.
    pub(crate) fn layer_at(&self, rung: Layer) -> Option<&PublishedLayer> {
        self.layers
            .iter()
            .find(|layer| layer.encoding.layer == Some(rung))
            .or_else(|| self.layers.first())
    }

    /// Whether more of a frame of video is on the way, as far as its last packets tell.
    pub(crate) fn is_amid_frame(&self) -> bool {
        let mut streams = self.layers.iter().filter_map(|layer| layer.stream.as_ref());
        self.kind == Kind::Video && streams.any(|stream| stream.active && stream.open)
    }

    /// Notices layers that were switched off. True if one was: viewers then have to look for another. A screen is never taken for off:
    /// while nothing moves on it, nothing need come.
    pub(crate) fn update_activity(&mut self, now: Instant) -> bool {
        let mut changed = false;
        if self.source == Source::Screen {
            return changed;
        }
        for stream in self.layers.iter_mut().filter_map(|layer| layer.stream.as_mut()) {
            if stream.active && stream.last_packet + limits::LAYER_INACTIVE <= now {
                stream.active = false;
                changed = true;
            }
        }
        changed
    }

    /// When a layer will be taken as switched off if nothing comes.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let streams = self.layers.iter().filter_map(|layer| layer.stream.as_ref());
        let video = streams.filter(|stream| stream.active && self.source == Source::Camera);
        video.map(|stream| stream.last_packet + limits::LAYER_INACTIVE).min()
    }

    pub(crate) fn public(&self) -> PublishedTrack {
        PublishedTrack {
            track: self.id,
            mid: self.mid,
            kind: self.kind,
            source: self.source,
        }
    }

    /// The event that tells of its first packet or of its end.
    pub(crate) fn event(&self, change: TrackChange) -> Event {
        Event::Track {
            room: self.room,
            participant: self.owner_id,
            track: self.public(),
            change,
        }
    }

    /// The round trip to the publisher, if repairs have measured it.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let mut streams = self.layers.iter().filter_map(|layer| layer.stream.as_ref());
        streams.find_map(|stream| stream.receiver.round_trip())
    }

    /// What a layer of video is being sent at, if its publisher sends it, or would be if it were asked for.
    pub(crate) fn rate(&self, rung: Layer, now: Instant) -> Option<Bitrate> {
        let measured = self.stream_of(Some(rung)).filter(|stream| stream.active);
        let measured = measured.map(|stream| stream.receiver.rate(now));
        measured.or_else(|| self.plan.comes(rung).then(|| nominal(rung)))
    }

    /// Audio: packets that came, and that did not or only when asked for.
    pub(crate) fn audio_account(&self) -> Option<(u64, u64)> {
        let counted = self.stream_of(None)?.receiver.counters();
        Some((counted.packets - counted.repaired, counted.lost + counted.repaired))
    }

    /// Whether packets of a layer come.
    pub(crate) fn arrives(&self, rung: Layer) -> bool {
        self.stream_of(Some(rung)).is_some_and(|stream| stream.active)
    }

    /// The names of a camera's two layers, if it has two, as their publisher lists them. One with a single layer is never told what
    /// to send.
    pub(crate) fn two_layers(&self) -> Option<[(Rid, Layer); 2]> {
        let named = |layer: &PublishedLayer| Some((layer.encoding.rid?, layer.encoding.layer?));
        match self.layers.as_slice() {
            [one, other] if self.started => Some([named(one)?, named(other)?]),
            _ => None,
        }
    }

    pub(crate) fn stats(&self, now: Instant) -> impl Iterator<Item = PublishedStats> {
        self.layers.iter().filter_map(move |layer| {
            let stream = layer.stream.as_ref()?;
            let counted = stream.receiver.counters();
            Some(PublishedStats {
                track: self.id,
                layer: layer.encoding.layer,
                packets: counted.packets,
                bytes: counted.bytes,
                rate: stream.receiver.rate(now),
                lost: counted.lost,
                repaired: counted.repaired,
                jitter: counted.jitter,
                spread: counted.spread,
                size: stream.ring.latest_key_frame().and_then(|key| key.size),
                key_frames: stream.key_frames,
            })
        })
    }

    fn stream_of(&self, layer: Option<Layer>) -> Option<&Stream> {
        let found = self.layers.iter().find(|known| known.encoding.layer == layer)?;
        found.stream.as_ref()
    }
}

impl Stream {
    /// Takes the frames before out of a packet with redundancy, if they did not come by themselves: whoever listens can have them at once,
    /// without redundancy too. Browsers put one there, and our page two on a line that loses packets.
    fn recover(&mut self, packet: &Incoming, payload: &[u8]) {
        if packet.packing != Packing::Red || Red::parse(payload).is_err() {
            return;
        }
        // The oldest first in the payload as in the ring; which packet each belongs to is counted from the end.
        let mut after = 0;
        let mut found: ArrayVec<Block<'_>, { limits::RECOVERED_FRAMES }> = ArrayVec::new();
        for block in red::last_blocks::<{ limits::RECOVERED_FRAMES }>(payload)
            .into_iter()
            .rev()
        {
            // Older than that, it was not in the packet before.
            if !block.is_expressible() || block.age <= after || block.age - after > LONGEST_AUDIO_PACKET {
                break;
            }
            after = block.age;
            found.push(block);
        }
        for (place, block) in found.iter().enumerate().rev() {
            let Some(sequence) = packet.sequence.checked_sub(1 + place as u64) else {
                continue;
            };
            if !self.receiver.handle_recovered(sequence) {
                continue;
            }
            let recovered = Incoming {
                sequence,
                timestamp: packet.timestamp.wrapping_sub(u32::from(block.age)),
                marker: false,
                packing: Packing::Plain(Codec::Opus),
                audio_level: None,
                ..*packet
            };
            // Not too long, for it is a part of one that is not.
            let _ = self.ring.insert(recovered, block.data);
        }
    }
}

/// What is done about losses on a line.
fn repair(line: &MediaLine) -> Repair {
    let mut media = line
        .formats
        .iter()
        .filter(|(_, format)| matches!(format, Format::Media(_)));
    let has_rtx = media.all(|(payload_type, _)| line.formats.rtx(payload_type).is_some())
        && line.publishes.as_ref().is_some_and(Publishing::names_repairs);
    match line.kind {
        Kind::Video if line.feedback.nack && has_rtx => Repair::Nack,
        // Some encoders have no retransmission stream, or list its format and send none.
        Kind::Video if line.feedback.nack => Repair::Same,
        Kind::Video => Repair::None,
        // Offered by no browser, and answered by all, as long as it is the same packet: see `MediaPacket::may_repeat`.
        Kind::Audio => Repair::Speech,
    }
}

impl PublishedLayer {
    const fn new(encoding: &Encoding) -> Self {
        Self {
            encoding: *encoding,
            stream: None,
        }
    }

    /// Pixels of its latest key frame, if it is being sent and they are known.
    fn active_size(&self) -> Option<u32> {
        let stream = self.stream.as_ref().filter(|stream| stream.active)?;
        let (width, height) = stream.ring.latest_key_frame()?.size?;
        Some(u32::from(width) * u32::from(height))
    }

    /// The stream a packet belongs to; a new one for the first packet of an SSRC. A retransmission makes none.
    fn stream(
        &mut self,
        kind: Kind,
        repair: Repair,
        streams: &mut u32,
        packet: &MediaPacket<'_>,
        now: Instant,
    ) -> Option<&mut Stream> {
        let known = self
            .stream
            .as_ref()
            .is_some_and(|stream| packet.repaired || stream.receiver.ssrc() == packet.ssrc);
        if !known {
            if packet.repaired {
                return None;
            }
            let clock_rate = match kind {
                Kind::Audio => Codec::Opus.clock_rate(),
                Kind::Video => Codec::Vp8.clock_rate(),
            };
            *streams += 1;
            self.stream = Some(Stream {
                receiver: LayerReceiver::new(packet.ssrc, clock_rate, repair),
                ring: Ring::new(ring_size(kind, self.encoding.layer), *streams),
                key_frames: 0,
                last_packet: now,
                active: true,
                open: false,
            });
        }
        let stream = self.stream.as_mut()?;
        if !packet.may_repeat {
            stream.receiver.spare_numbers();
        }
        Some(stream)
    }

    pub(crate) fn ssrc(&self) -> Option<Ssrc> {
        self.stream.as_ref().map(|stream| stream.receiver.ssrc())
    }
}

const fn ring_size(kind: Kind, layer: Option<Layer>) -> RingSize {
    match (kind, layer) {
        (Kind::Audio, _) => limits::AUDIO_RING,
        (Kind::Video, Some(Layer::P480)) => limits::SMALL_VIDEO_RING,
        (Kind::Video, Some(Layer::P720) | None) => limits::LARGE_VIDEO_RING,
    }
}

impl LayerSource for Published {
    fn ring(&self, layer: Option<Layer>) -> Option<&Ring> {
        self.stream_of(layer).map(|stream| &stream.ring)
    }

    fn sr_mapping(&self, layer: Option<Layer>) -> Option<SrMapping> {
        let (mapping, _) = self.stream_of(layer)?.receiver.sender_report()?;
        Some(mapping)
    }

    fn clock_offset(&self) -> Option<NtpSpan> {
        self.clock_offset
    }

    fn only_layer(&self) -> Option<Layer> {
        match self.layers.as_slice() {
            [only] => only.encoding.layer,
            _ => None,
        }
    }

    fn is_active(&self, layer: Layer) -> bool {
        self.arrives(layer) || self.plan.comes(layer)
    }
}
