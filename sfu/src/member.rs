//! One participant inside the worker: its transport, what it publishes, the slots it receives on, and its RTCP.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use slab::Slab;

use crate::adapt::{Candidates, Cause as MoveCause, Controller, Uplink, Verdict};
use crate::api::{Event, IceCredentials, ParticipantStats};
use crate::batch::{Batch, Cargo, Envelope};
use crate::counters::Count;
use crate::ids::{ParticipantId, RoomId, Ssrc};
use crate::limits;
use crate::media::Kind;
use crate::ntp::NtpSpan;
use crate::path::Path;
use crate::published::{LayerIndex, MediaPacket, Outcome, Published, PublishedLayer, TrackKey};
use crate::receive::rtx::{self, Retransmission};
use crate::receive::{Cause, ReportSchedule, TwccRecorder};
use crate::routes::Routes;
use crate::rtcp::{self, Packet, ReportBlock, SenderInfo, Writer};
use crate::rtp::RtpHeader;
use crate::sdp::Session;
use crate::send::Leaving;
use crate::slot::{Slot, Way};
use crate::srtp::{MAX_RTCP_OVERHEAD, OpenError, Profile};
use crate::transport::Transport;
use crate::worker::{KeyFrameWish, Shared};

/// A member's place in the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MemberKey(pub(crate) usize);

/// The longest NACK and key frame request of one stream: header, sender, media, a pair for each hole; then a PLI.
const LARGEST_FEEDBACK: usize = 12 + 4 * limits::MAX_HOLES + 12;
/// The longest sender report with all report blocks, and its source description.
const LARGEST_SENDER_REPORT: usize = 28 + 24 * limits::REPORT_BLOCKS + 40;

/// What became of a received media packet.
pub(crate) enum Received {
    /// It waits in this track's ring. `announce`: it is the track's first.
    Stored { track: TrackKey, announce: bool },
    /// A duplicate, or padding.
    Nothing,
    /// Not used, and why.
    Dropped(Count),
}

/// Whether a member has more to send than fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Nothing is left.
    All,
    /// The batch is full.
    Part,
}

/// How near a member's turn is: see [`Member::touch`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Touch {
    /// Three before it.
    Member,
    /// Two before it.
    Slots,
    /// It is the next.
    Histories,
}

/// See the module.
pub(crate) struct Member {
    pub(crate) id: ParticipantId,
    pub(crate) room: RoomId,
    pub(crate) transport: Transport,
    pub(crate) session: Session,
    pub(crate) session_id: u64,
    pub(crate) local_ice: IceCredentials,
    /// Its names in the worker's index.
    pub(crate) ufrags: ArrayVec<Box<str>, 2>,
    /// Audio before video.
    pub(crate) slots: Vec<Slot>,
    /// Slots of lines that do not receive for now. They keep their place in the numbers of their SSRC: under SRTP none may come twice.
    pub(crate) resting: Vec<Slot>,
    pub(crate) tracks: Vec<TrackKey>,
    /// Stands in the worker's line for output.
    pub(crate) pending: bool,
    /// Its video waits for the pacer's tick.
    pub(crate) waits: bool,
    /// What its deadline is for.
    pub(crate) scheduled_for: &'static str,
    routes: Routes,
    /// Made with the first packet: most viewers of a large room send none.
    twcc_in: Option<TwccRecorder>,
    /// The next transport-wide number we send.
    twcc_out: u16,
    /// Fits what is sent to the path. Made with the first packet that has a transport-wide number.
    controller: Option<Box<Controller>>,
    /// What its own uplink carries. Made with its first camera of two layers.
    pub(crate) uplink: Option<Box<Uplink>>,
    /// The path that the controller knows, and when it was looked at, as [`Transport::path_changes`] counts.
    known_path: Option<Path>,
    known_changes: u32,
    /// When video may go on, if the pace stopped it.
    paced_until: Option<Instant>,
    /// Until when no media leaves, for the peer may not have its keys in place. `None` from its first authentic packet on.
    quiet_until: Option<Instant>,
    reports: ReportSchedule,
    /// The slot whose sender report is next, while reports are being written.
    reported: Option<usize>,
    /// Our SSRC in feedback when we send no media.
    feedback_ssrc: Ssrc,
}

impl Member {
    pub(crate) fn new(
        room: RoomId,
        id: ParticipantId,
        transport: Transport,
        session: Session,
        session_id: u64,
        local_ice: IceCredentials,
        seed: u64,
    ) -> Self {
        Self {
            id,
            room,
            transport,
            routes: Routes::new(&session),
            session,
            session_id,
            local_ice,
            ufrags: ArrayVec::new(),
            slots: Vec::new(),
            resting: Vec::new(),
            tracks: Vec::new(),
            pending: false,
            waits: false,
            scheduled_for: "new",
            twcc_in: None,
            twcc_out: seed as u16,
            controller: None,
            uplink: None,
            known_path: None,
            known_changes: 0,
            paced_until: None,
            quiet_until: None,
            reports: ReportSchedule::new(seed),
            reported: None,
            feedback_ssrc: Ssrc(1),
        }
    }

    /// SSRCs in use on this transport, ours and the peer's.
    pub(crate) fn ssrcs(&self) -> Vec<Ssrc> {
        let ours = self
            .session
            .media()
            .flat_map(|line| line.receives.iter().chain(&line.resting));
        ours.flat_map(|receiving| [Some(receiving.ssrc), receiving.rtx])
            .flatten()
            .chain(self.routes.ssrcs())
            .collect()
    }

    /// Takes over what a new session says about what the peer sends.
    pub(crate) fn adopt_session(&mut self, tracks: &Slab<Published>) {
        let mids = self
            .tracks
            .iter()
            .filter_map(|key| tracks.get(key.0).map(|track| (track.mid, *key)));
        self.routes.adopt(&self.session, mids);
        if let Some(slot) = self.slots.first() {
            self.feedback_ssrc = slot.ssrc();
        }
    }

    /// The layers of a track have other places, or are gone.
    pub(crate) fn handle_moved_layers(&mut self, track: TrackKey, moved: &[Option<LayerIndex>]) {
        self.routes.handle_moved_layers(track, moved);
    }

    pub(crate) fn forget_track(&mut self, track: TrackKey) {
        self.tracks.retain(|other| *other != track);
        self.routes.forget(track);
    }

    /// Our keys are in place. The peer's are once it has our last flight, and many have them only a moment later: what comes right
    /// behind that flight they throw away, and a picture that begins in its middle is none.
    pub(crate) fn handle_connected(&mut self, now: Instant) {
        self.quiet_until = Some(now + limits::KEYS_IN_PLACE);
        self.reports.handle_new_stream(now);
    }

    /// Opens one SRTP packet in place and stores it with its track.
    pub(crate) fn handle_rtp(
        &mut self,
        datagram: &mut [u8],
        tracks: &mut Slab<Published>,
        shared: &mut Shared,
        now: Instant,
    ) -> Received {
        let Ok(header) = RtpHeader::parse(datagram) else {
            return Received::Dropped(Count::Malformed);
        };
        let len = match self.transport.open_rtp(datagram, usize::from(header.len)) {
            Ok(len) => len,
            Err(error) => return Received::Dropped(cause(error)),
        };
        self.quiet_until = None;
        let packet = &datagram[..len];
        let extensions = header.extensions(packet, self.routes.extension_ids());
        let Some(route) = self.routes.find(&header, &extensions, now) else {
            return Received::Dropped(Count::UnknownSsrc);
        };
        let Ok(payload) = header.payload(packet) else {
            return Received::Dropped(Count::Malformed);
        };
        let Some(published) = tracks.get_mut(route.track.0) else {
            return Received::Dropped(Count::UnknownSsrc);
        };
        let media = MediaPacket {
            ssrc: header.ssrc,
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            payload_type: header.payload_type,
            audio_level: extensions.audio_level,
            payload,
            len,
            repaired: false,
            may_repeat: !extensions.may_change || self.transport.profile().is_some_and(Profile::may_repeat),
        };
        let outcome = if route.is_rtx {
            match rtx::read(payload) {
                Retransmission::Packet {
                    original_sequence: sequence,
                    payload,
                } => match published.resent_as(header.payload_type) {
                    Some(payload_type) => {
                        let len = len.saturating_sub(rtx::HEADER);
                        let media = MediaPacket {
                            sequence,
                            payload_type,
                            payload,
                            len,
                            repaired: true,
                            ..media
                        };
                        published.receive(route.layer, &media, &mut shared.counters, now)
                    }
                    None => Err(Count::Malformed),
                },
                Retransmission::Padding => Ok(Outcome::Used),
                Retransmission::Truncated => Err(Count::Malformed),
            }
        } else {
            if published.layers[route.layer].stream.is_none() {
                self.reports.handle_new_stream(now);
            }
            published.receive(route.layer, &media, &mut shared.counters, now)
        };
        // Only what was stored, or was nothing to store, is acknowledged: what a browser sees acknowledged it never sends again.
        if outcome.is_ok()
            && let Some(number) = extensions.twcc
        {
            let sender = self.feedback_ssrc;
            self.twcc_in
                .get_or_insert_with(|| TwccRecorder::new(sender))
                .record(number, now);
            if let Some(uplink) = &mut self.uplink {
                uplink.handle_arrival(number, extensions.abs_send_time, len, now);
            }
        }
        match outcome {
            Ok(Outcome::Stored) => {
                shared.counters.add(Count::RtpIn, 1);
                shared.counters.add(Count::RtpBytesIn, len as u64);
                let announce = !std::mem::replace(&mut published.started, true);
                Received::Stored {
                    track: route.track,
                    announce,
                }
            }
            Ok(Outcome::Used) => Received::Nothing,
            Err(cause) => Received::Dropped(cause),
        }
    }

    /// Opens one SRTCP compound and acts on it.
    pub(crate) fn handle_rtcp(
        &mut self,
        datagram: &mut [u8],
        tracks: &mut Slab<Published>,
        shared: &mut Shared,
        now: Instant,
    ) -> Result<(), Count> {
        let len = self.transport.open_rtcp(datagram).map_err(cause)?;
        self.quiet_until = None;
        shared.counters.add(Count::RtcpIn, 1);
        let mut result = Ok(());
        for packet in rtcp::parse(&datagram[..len]) {
            match packet {
                Ok(packet) => self.handle_rtcp_packet(&packet, tracks, shared, now),
                Err(_) => result = Err(Count::Malformed),
            }
        }
        result
    }

    fn handle_rtcp_packet(
        &mut self,
        packet: &Packet<'_>,
        tracks: &mut Slab<Published>,
        shared: &mut Shared,
        now: Instant,
    ) {
        match packet {
            Packet::SenderReport(report) => {
                self.handle_sender_report(&report.info, tracks, shared, now);
                report.blocks.for_each(|block| self.handle_report_block(&block, now));
            }
            Packet::ReceiverReport(report) => report.blocks.for_each(|block| self.handle_report_block(&block, now)),
            Packet::Nack(nack) => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.ssrc() == nack.media) {
                    shared.counters.add(Count::NackIn, nack.sequences().count() as u64);
                    slot.sub.handle_nack(nack.sequences(), now);
                }
            }
            Packet::PictureLoss(loss) => self.handle_key_frame_request(loss.media, shared),
            Packet::FullIntraRequest(request) => {
                for (ssrc, _) in request.entries() {
                    self.handle_key_frame_request(ssrc, shared);
                }
            }
            Packet::TransportFeedback(feedback) => {
                shared.counters.add(Count::TwccIn, 1);
                if let Some(controller) = &mut self.controller {
                    controller.handle_feedback(feedback, now);
                    for (ssrc, sequence, copies) in controller.take_missing(!shared.has_dropped(now), now) {
                        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.ssrc() == ssrc) {
                            slot.sub.handle_missing(sequence, copies);
                        }
                    }
                }
            }
            Packet::Remb(_) | Packet::SourceDescription(_) | Packet::Goodbye(_) | Packet::Other => {}
        }
    }

    fn handle_sender_report(&mut self, info: &SenderInfo, tracks: &mut Slab<Published>, shared: &Shared, now: Instant) {
        let Some(route) = self.routes.known(info.ssrc).filter(|route| !route.is_rtx) else {
            return;
        };
        // One figure for all tracks of the publisher, so that lips stay in sync.
        let known = self.tracks.iter().find_map(|key| tracks.get(key.0)?.clock_offset);
        let offset = known.unwrap_or_else(|| NtpSpan::between(info.ntp, shared.config.wall.ntp(now)));
        let Some(published) = tracks.get_mut(route.track.0) else {
            return;
        };
        published.clock_offset = Some(offset);
        if let Some(stream) = &mut published.layers[route.layer].stream {
            stream.receiver.handle_sender_report(info, now);
        }
    }

    fn handle_report_block(&mut self, block: &ReportBlock, now: Instant) {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.ssrc() == block.ssrc) else {
            return;
        };
        slot.sub.handle_report_block(block, now);
    }

    fn handle_key_frame_request(&mut self, ssrc: Ssrc, shared: &mut Shared) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.ssrc() == ssrc) {
            shared.counters.add(Count::KeyFrameIn, 1);
            slot.sub.handle_pli();
        }
    }

    /// When this member must be looked at next, and what for.
    pub(crate) fn poll_timeout(&self, tracks: &Slab<Published>, now: Instant) -> Option<(Instant, &'static str)> {
        let mut next = self.transport.poll_timeout();
        let mut consider = |at: Option<Instant>, what: &'static str| {
            if let Some(at) = at
                && next.is_none_or(|(earliest, _)| at < earliest)
            {
                next = Some((at, what));
            }
        };
        if self.transport.is_connected() {
            // Feedback must name an SSRC; without one it waits for the next.
            let feedback = self.twcc_in.as_ref().filter(|_| self.routes.first_media().is_some());
            consider(feedback.and_then(TwccRecorder::poll_timeout), "transport-wide feedback");
            consider(self.reports.poll_timeout(), "report");
            for track in self.tracks.iter().filter_map(|key| tracks.get(key.0)) {
                consider(track.key_frames.poll_timeout(), "key frame request to the publisher");
                consider(track.poll_timeout(), "layer activity");
                for stream in track.layers.iter().filter_map(|layer| layer.stream.as_ref()) {
                    consider(stream.receiver.poll_timeout(), "nack");
                }
            }
            if let Some(controller) = &self.controller {
                consider(controller.poll_timeout(now), "probe");
            }
            consider(self.uplink.as_ref().map(|uplink| uplink.poll_timeout()), "uplink");
            consider(self.paced_until, "pace");
            consider(self.quiet_until, "the peer's keys");
            // Video that waits is looked at with the tick, and all media once the peer has its keys.
            let waits = |kind| self.quiet_until.is_some() || (self.waits && kind == Kind::Video);
            let awake = |slot: &&Slot| !waits(slot.kind());
            for slot in self.slots.iter().filter(awake) {
                if let Some((at, what)) = slot.sub.poll_timeout(now) {
                    consider(Some(at), what);
                }
            }
        }
        next
    }

    /// Reads a little of what [`Self::fill`] will need, so that it comes into the cache while members before this one are filled: between
    /// two frames everything of a viewer has left it, and each piece would be waited for by itself. Each `step` reads only what the step
    /// before it has brought.
    #[inline]
    pub(crate) fn touch(&self, step: Touch) {
        match step {
            Touch::Member => {
                std::hint::black_box((
                    self.pending,
                    self.twcc_out,
                    self.slots.len(),
                    self.reports.poll_timeout(),
                ));
                self.transport.touch();
            }
            Touch::Slots => {
                for slot in &self.slots {
                    slot.sub.touch();
                    std::hint::black_box(slot.source);
                }
            }
            Touch::Histories => {
                self.slots.iter().for_each(|slot| slot.sub.touch_history());
                if let Some(controller) = &self.controller {
                    controller.touch();
                }
            }
        }
    }

    /// Writes what is to be sent into the batch, audio before video.
    pub(crate) fn fill(
        &mut self,
        batch: &mut Batch,
        leaving: Leaving,
        tracks: &mut Slab<Published>,
        shared: &mut Shared,
        now: Instant,
    ) -> Filled {
        if self.fill_control(batch, shared, now) == Filled::Part {
            return Filled::Part;
        }
        if self.transport.is_connected() {
            self.adapt(tracks, shared, now);
        }
        self.paced_until = None;
        let Some(path) = self.transport.selected_path().filter(|_| self.transport.is_connected()) else {
            return Filled::All;
        };
        let mut envelope = shared.relay.envelope(path, now);
        if self.fill_rtcp(&mut envelope, batch, tracks, shared, now) == Filled::Part {
            return Filled::Part;
        }
        if self.quiet_until.is_some_and(|until| now < until) {
            return Filled::All;
        }
        self.quiet_until = None;
        let mut way = Way {
            envelope,
            transport: &mut self.transport,
            transport_wide: &mut self.twcc_out,
            controller: &mut self.controller,
            paced_until: &mut self.paced_until,
        };
        for slot in &mut self.slots {
            if leaving == Leaving::Urgent && slot.kind() == Kind::Video {
                break;
            }
            if slot.fill(&mut way, batch, tracks, shared, now) == Filled::Part {
                return Filled::Part;
            }
            if let Some(target) = slot.take_change(tracks) {
                // At a switch the outgoing clock may have had to be pushed forward: lips are in sync again with the next report.
                self.reports.handle_new_stream(now);
                shared.events.push_back(Event::Sending {
                    room: self.room,
                    participant: self.id,
                    mid: slot.mid(),
                    target: target.0,
                    layer: target.1,
                });
            }
            if let Some(track) = slot.source
                && let Some(published) = tracks.get(track.0)
                && let Some(layer) = slot.sub.wanted_key_frame(published, now)
            {
                shared.wishes.push(KeyFrameWish { track, layer });
            }
        }
        let probes = |slot: &&mut Slot| leaving == Leaving::All && slot.takes_padding();
        match self.slots.iter_mut().find(probes) {
            Some(slot) => slot.fill_padding(&mut way, batch, shared, now),
            None => Filled::All,
        }
    }

    /// What was learned of one path says nothing of another.
    #[cold]
    fn handle_changed_path(&mut self) {
        self.known_changes = self.transport.path_changes();
        let path = self.transport.selected_path();
        if path.is_none() || path == self.known_path {
            return;
        }
        if self.known_path.is_some() {
            self.controller
                .iter_mut()
                .for_each(|controller| controller.handle_new_path());
            self.uplink.iter_mut().for_each(|uplink| uplink.handle_new_path());
        }
        self.known_path = path;
    }

    /// Lets the ladder decide what each video slot is sent, whenever feedback has come.
    fn adapt(&mut self, tracks: &Slab<Published>, shared: &mut Shared, now: Instant) {
        if self.known_changes != self.transport.path_changes() {
            self.handle_changed_path();
        }
        let Some(controller) = &mut self.controller else { return };
        if !controller.is_due(now) {
            return;
        }
        if let Some(probed) = controller.take_probed() {
            shared.counters.add(
                match probed.verdict {
                    Verdict::Clean => Count::ProbesClean,
                    Verdict::Full => Count::ProbesFull,
                    Verdict::Unclear => Count::ProbesUnclear,
                },
                1,
            );
        }
        let can_probe = self.slots.iter().any(Slot::takes_padding);
        let mut places = ArrayVec::<usize, { limits::MAX_LINES }>::new();
        let mut candidates = Candidates::new();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if let Some(candidate) = slot.candidate(tracks, now)
                && candidates.try_push(candidate).is_ok()
            {
                places.push(place);
            }
        }
        controller.set_ordered(self.known_path.is_some_and(|path| path.carrier().is_some()));
        let moves = controller.decide(&mut candidates, can_probe, now);
        drop(candidates);
        let estimate = *controller.estimate();
        let rtt = self.slots.iter().find_map(|slot| slot.sub.round_trip());
        for (which, step) in &moves {
            let slot = &mut self.slots[places[*which]];
            slot.handle_move(step, now);
            shared.counters.add(
                match step.cause {
                    MoveCause::Capacity => Count::DownCapacity,
                    MoveCause::Queue => Count::DownQueue,
                    MoveCause::Loss => Count::DownLoss,
                    MoveCause::Recovered => Count::Up,
                },
                1,
            );
            shared.events.push_back(Event::Quality {
                room: self.room,
                participant: self.id,
                mid: slot.mid(),
                from: step.from,
                to: step.to,
                change: step.cause.into(),
                evidence: estimate.evidence(rtt),
            });
        }
        for slot in &mut self.slots {
            slot.sub.set_lossy(controller.is_lossy());
        }
        for place in places {
            let slot = &mut self.slots[place];
            if let Some(is_at_risk) = slot.follow_ladder(controller, now) {
                shared.events.push_back(Event::PictureAtRisk {
                    room: self.room,
                    participant: self.id,
                    mid: slot.mid(),
                    is_over: !is_at_risk,
                });
            }
        }
    }

    /// The round trip, by whatever has measured it.
    pub(crate) fn round_trip(&self, tracks: &Slab<Published>) -> Option<Duration> {
        let by_reports = self.slots.iter().find_map(|slot| slot.sub.round_trip());
        by_reports.or_else(|| {
            let mut mine = self.tracks.iter().filter_map(|key| tracks.get(key.0));
            mine.find_map(Published::round_trip)
        })
    }

    /// The path has shown that it has a limit.
    pub(crate) fn path_is_limited(&self) -> bool {
        self.controller
            .as_ref()
            .is_some_and(|controller| controller.estimate().target.is_some())
    }

    /// STUN answers and DTLS flights, each to the path it is for.
    fn fill_control(&mut self, batch: &mut Batch, shared: &mut Shared, now: Instant) -> Filled {
        loop {
            let Some(space) = batch.space() else {
                return Filled::Part;
            };
            let Some((path, len)) = self.transport.poll_transmit(space) else {
                return Filled::All;
            };
            batch.commit(&mut shared.relay.envelope(path, now), len, Cargo::Urgent);
            shared.counters.add(Count::ControlOut, 1);
        }
    }

    /// Reports, repair requests, key frame requests and transport-wide feedback: one compound each time something is due.
    fn fill_rtcp(
        &mut self,
        envelope: &mut Envelope,
        batch: &mut Batch,
        tracks: &mut Slab<Published>,
        shared: &mut Shared,
        now: Instant,
    ) -> Filled {
        loop {
            let Some(space) = batch.space_in(envelope) else {
                return Filled::Part;
            };
            let room = space.len() - MAX_RTCP_OVERHEAD;
            let len = self.write_rtcp(&mut space[..room.min(limits::MAX_DATAGRAM)], tracks, shared, now);
            if len == 0 {
                return Filled::All;
            }
            match self.transport.seal_rtcp(space, len) {
                Ok(len) => {
                    batch.commit(envelope, len, Cargo::Urgent);
                    shared.counters.add(Count::RtcpOut, 1);
                }
                Err(_) => shared.counters.add(Count::SealFailed, 1),
            }
        }
    }

    fn write_rtcp(&mut self, out: &mut [u8], tracks: &mut Slab<Published>, shared: &mut Shared, now: Instant) -> usize {
        let sender = self.feedback_ssrc;
        if self.reports.poll(now) {
            self.reported = Some(0);
        }
        if let Some(slot) = self.reported.take() {
            let len = self.write_reports(slot, out, tracks, shared, now);
            if len > 0 {
                return len;
            }
        }
        let counters = &mut shared.counters;
        let media = self.routes.first_media();
        if let Some(media) = media
            && let Some(twcc) = &mut self.twcc_in
            && let Some(len) = twcc.poll_feedback(now, media, out)
        {
            counters.add(Count::TwccOut, 1);
            return len;
        }
        let room = out.len();
        let mut writer = Writer::new(out);
        for key in &self.tracks {
            let Some(track) = tracks.get_mut(key.0) else { continue };
            for layer in &mut track.layers {
                let Some(stream) = &mut layer.stream else { continue };
                // What is polled must be sent. The rest is for the next compound, which follows at once.
                if room - writer.len() < LARGEST_FEEDBACK {
                    return writer.len();
                }
                let ssrc = stream.receiver.ssrc();
                let missing = stream.receiver.poll_nack(now);
                if !missing.is_empty() && writer.nack(sender, ssrc, &missing).is_ok() {
                    counters.add(Count::NackOut, missing.len() as u64);
                }
                if stream.receiver.take_broken()
                    && let Some(rung) = layer.encoding.layer
                {
                    track.key_frames.request(rung, Cause::Repair, now);
                }
            }
            if let Some(rung) = track.key_frames.poll(now)
                && let Some(ssrc) = track.layer_at(rung).and_then(PublishedLayer::ssrc)
                && writer.picture_loss(sender, ssrc).is_ok()
            {
                counters.add(Count::KeyFrameOut, 1);
            }
        }
        writer.len()
    }

    /// A sender report for each slot that has sent, else one receiver report; report blocks for all that is received, in the first
    /// of the compounds. Begins with the slot numbered `first`; what does not fit is left to the next compound.
    fn write_reports(
        &mut self,
        first: usize,
        out: &mut [u8],
        tracks: &mut Slab<Published>,
        shared: &Shared,
        now: Instant,
    ) -> usize {
        let mut blocks = ArrayVec::<ReportBlock, { limits::REPORT_BLOCKS }>::new();
        for key in self.tracks.iter().filter(|_| first == 0) {
            let Some(track) = tracks.get_mut(key.0) else { continue };
            for stream in track.layers.iter_mut().filter_map(|layer| layer.stream.as_mut()) {
                if let Some(block) = stream.receiver.report_block(now) {
                    let _ = blocks.try_push(block);
                }
            }
        }
        let ntp = shared.config.wall.ntp(now);
        let room = out.len();
        let mut writer = Writer::new(out);
        let mut cname = None;
        for (number, slot) in self.slots.iter_mut().enumerate().skip(first) {
            if room - writer.len() < LARGEST_SENDER_REPORT {
                self.reported = Some(number);
                break;
            }
            let Some(info) = slot.sender_report(tracks, ntp, now) else {
                continue;
            };
            if writer.sender_report(&info, &blocks).is_err() {
                break;
            }
            blocks.clear();
            cname = cname.or(Some(slot.cname()));
            let _ = writer.source_description(info.ssrc, slot.cname());
        }
        if cname.is_none() && first == 0 {
            let _ = writer.receiver_report(self.feedback_ssrc, &blocks);
            let _ = writer.source_description(self.feedback_ssrc, "housecall");
        }
        writer.len()
    }

    pub(crate) fn stats(&self, tracks: &Slab<Published>, shared: &Shared, now: Instant) -> ParticipantStats {
        let mine = || self.tracks.iter().filter_map(|key| tracks.get(key.0));
        let estimate = self.controller.as_ref().map(|controller| controller.estimate());
        let path = self.transport.selected_path();
        ParticipantStats {
            remote: path.map(|path| path.remote()),
            path: path.map(|path| path.kind()),
            stream_queue: path
                .and_then(|path| shared.stream_queues.get(&path.carrier()?))
                .map(|since| now.saturating_duration_since(*since)),
            rtt: self.slots.iter().find_map(|slot| slot.sub.round_trip()),
            estimate: estimate.and_then(|estimate| estimate.target),
            queue: estimate.map_or(Duration::ZERO, |estimate| estimate.evidence(None).queue),
            spread: self
                .controller
                .as_ref()
                .map_or(Duration::ZERO, |controller| controller.spread()),
            path_loss: estimate.map_or(0.0, |estimate| estimate.losses.share() as f32),
            uplink_estimate: self.uplink.as_ref().and_then(|uplink| uplink.estimate().target),
            uplink_rtt: mine().find_map(Published::round_trip),
            published: mine().flat_map(|track| track.stats(now)).collect(),
            slots: self.slots.iter().map(|slot| slot.stats(tracks)).collect(),
        }
    }
}

fn cause(error: OpenError) -> Count {
    match error {
        OpenError::NotReady => Count::NotConnected,
        OpenError::Authentication => Count::NotAuthentic,
        OpenError::Replayed | OpenError::TooOld => Count::Replayed,
        OpenError::TooShort | OpenError::NotEncrypted => Count::Malformed,
        OpenError::TooManySsrcs => Count::UnknownSsrc,
    }
}
