//! The headless peer.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rtc::interceptor::{Interceptor, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use webrtc::media_stream::Track;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder, configure_nack,
    configure_rtcp_reports, configure_simulcast_extension_headers, configure_twcc,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use webrtc::runtime::TokioRuntime;

use super::picture::{Encoder, Listener, Viewer};
use super::runtime::RoomySockets;

/// Longest wait for anything: far beyond what a loaded machine needs, so that running into it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(90);

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const OPUS: u8 = 111;
const VP8: u8 = 96;
const RTX: u8 = 97;

/// A line of the offer, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    PublishAudio,
    /// One encoding without rid.
    PublishVideo,
    /// Two encodings as our client sends them: `m` at 853×480, `h` at 1280×720.
    PublishSimulcast,
    /// As [`Self::PublishSimulcast`], listed the other way round: `0` at 1280×720, `1` at 853×480, as some encoders do.
    PublishLargestFirst,
    ReceiveAudio,
    ReceiveVideo,
}

/// Number of the encoding in [`Line::PublishSimulcast`] that stands for 480p, for [`Viewer::frames_of`].
pub const M: u8 = 0;
/// The one for 720p, and the only one of [`Line::PublishVideo`].
pub const H: u8 = 1;

/// One client.
pub struct Peer {
    connection: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    tracks: Vec<Published>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    state: watch::Sender<RTCPeerConnectionState>,
    gathered: watch::Sender<bool>,
    inboxes: Mutex<HashMap<String, Inbox>>,
    arrived: Notify,
    /// Track ids of the last answer, by the mid they belong to.
    mids: Mutex<HashMap<String, String>>,
    key_frames_asked: AtomicU64,
}

/// What came in on one line.
#[derive(Debug, Default)]
pub struct Inbox {
    pub viewer: Viewer,
    pub listener: Listener,
}

struct Published {
    line: Line,
    track: Arc<TrackLocalStaticRTP>,
    /// SSRC and rid of each encoding.
    encodings: Vec<(u32, Option<&'static str>)>,
}

struct Handler(Arc<Shared>);

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.0.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.0.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let shared = self.0.clone();
        tokio::spawn(async move {
            let id = track.track_id().await;
            let key = shared.mids.lock().unwrap().get(&id).cloned().unwrap_or(id);
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    shared.receive(&key, &packet);
                }
            }
        });
    }
}

impl Shared {
    fn receive(&self, key: &str, packet: &rtp::Packet) {
        let mut inboxes = self.inboxes.lock().unwrap();
        let inbox = inboxes.entry(key.to_owned()).or_default();
        let header = &packet.header;
        if header.payload_type == OPUS {
            inbox.listener.receive(header.sequence_number);
        } else {
            let (sequence, timestamp) = (header.sequence_number, header.timestamp);
            inbox
                .viewer
                .receive(sequence, timestamp, header.marker, &packet.payload);
        }
        drop(inboxes);
        self.arrived.notify_waiters();
    }
}

impl Peer {
    /// A client with these lines on the loopback interface, not yet connected.
    pub async fn new(lines: &[Line]) -> Self {
        Self::at("127.0.0.1:0", lines).await
    }

    /// A client with one socket, bound to this address.
    pub async fn at(address: &str, lines: &[Line]) -> Self {
        let shared = Arc::new(Shared {
            state: watch::Sender::new(RTCPeerConnectionState::New),
            gathered: watch::Sender::new(false),
            inboxes: Mutex::default(),
            arrived: Notify::new(),
            mids: Mutex::default(),
            key_frames_asked: AtomicU64::new(0),
        });
        let (engine, registry) = media_engine(&shared);
        let builder = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_include_loopback_candidate(true)
                    .build(),
            )
            .with_handler(Arc::new(Handler(shared.clone())))
            .with_runtime(Arc::new(RoomySockets(TokioRuntime)))
            .with_udp_addrs(vec![address.to_owned()]);
        let connection = Box::pin(builder.build()).await.unwrap();
        let mut peer = Self {
            connection: Arc::new(connection),
            shared,
            tracks: Vec::new(),
            tasks: Vec::new(),
        };
        for line in lines {
            peer.add(*line).await;
        }
        peer
    }

    /// Adds a line; the next offer has it.
    pub async fn add(&mut self, line: Line) {
        let (kind, encodings) = match line {
            Line::ReceiveAudio | Line::ReceiveVideo => {
                let kind = if line == Line::ReceiveAudio {
                    RtpCodecKind::Audio
                } else {
                    RtpCodecKind::Video
                };
                let init = direction(RTCRtpTransceiverDirection::Recvonly);
                self.connection
                    .add_transceiver_from_kind(kind, Some(init))
                    .await
                    .unwrap();
                return;
            }
            Line::PublishAudio => (RtpCodecKind::Audio, vec![(random_ssrc(), None)]),
            Line::PublishVideo => (RtpCodecKind::Video, vec![(random_ssrc(), None)]),
            Line::PublishSimulcast => (
                RtpCodecKind::Video,
                vec![(random_ssrc(), Some("m")), (random_ssrc(), Some("h"))],
            ),
            Line::PublishLargestFirst => (
                RtpCodecKind::Video,
                vec![(random_ssrc(), Some("0")), (random_ssrc(), Some("1"))],
            ),
        };
        let codec = match kind {
            RtpCodecKind::Audio => opus(),
            _ => vp8(),
        };
        let codings = encodings.iter().map(|(ssrc, rid)| RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                rid: rid.unwrap_or_default().to_owned(),
                ssrc: Some(*ssrc),
                rtx: (kind == RtpCodecKind::Video).then(|| RTCRtpRtxParameters { ssrc: random_ssrc() }),
                fec: None,
            },
            active: true,
            codec: codec.clone(),
            ..RTCRtpEncodingParameters::default()
        });
        let name = format!("{line:?}-{}", self.tracks.len());
        let track = MediaStreamTrack::new("local".to_owned(), name.clone(), name, kind, codings.collect());
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let init = direction(RTCRtpTransceiverDirection::Sendonly);
        self.connection
            .add_transceiver_from_track(track.clone(), Some(init))
            .await
            .unwrap();
        self.tracks.push(Published { line, track, encodings });
    }

    /// An offer with all candidates inside.
    pub async fn offer(&self) -> String {
        let offer = self.connection.create_offer(None).await.unwrap();
        self.connection.set_local_description(offer).await.unwrap();
        let mut gathered = self.shared.gathered.subscribe();
        within("gathering", gathered.wait_for(|done| *done)).await.unwrap();
        self.connection.local_description().await.unwrap().sdp
    }

    /// Takes the answer.
    pub async fn accept(&self, answer: &str) {
        *self.shared.mids.lock().unwrap() = track_ids(answer);
        let answer = RTCSessionDescription::answer(answer.to_owned()).unwrap();
        self.connection.set_remote_description(answer).await.unwrap();
    }

    /// Makes the next offer restart ICE.
    pub async fn restart_ice(&self) {
        self.shared.gathered.send_replace(false);
        self.connection.restart_ice().await.unwrap();
    }

    /// Answers another peer's offer.
    pub async fn answer(&self, offer: &str) -> String {
        *self.shared.mids.lock().unwrap() = track_ids(offer);
        let offer = RTCSessionDescription::offer(offer.to_owned()).unwrap();
        self.connection.set_remote_description(offer).await.unwrap();
        let answer = self.connection.create_answer(None).await.unwrap();
        self.connection.set_local_description(answer).await.unwrap();
        let mut gathered = self.shared.gathered.subscribe();
        within("gathering", gathered.wait_for(|done| *done)).await.unwrap();
        self.connection.local_description().await.unwrap().sdp
    }

    /// Waits until media can flow.
    pub async fn connected(&self) {
        let mut state = self.shared.state.subscribe();
        within(
            "connecting",
            state.wait_for(|state| *state == RTCPeerConnectionState::Connected),
        )
        .await
        .unwrap();
    }

    /// Starts sending on every publishing line, as the last offer named them: 50 audio packets and 30 frames a second. A key
    /// frame comes first and whenever one is asked for, on all encodings at once, as browsers do.
    pub async fn publish(&mut self) {
        let offer = self.connection.local_description().await.unwrap().sdp;
        let sections: Vec<&str> = offer.split("\r\nm=").skip(1).collect();
        for published in &self.tracks {
            let ssrc = published.encodings[0].0;
            let id = published.track.track_id().await;
            let section = sections
                .iter()
                .find(|section| section.contains(&id))
                .expect("the line is in the offer");
            let marks = Marks::read(section);
            let track = published.track.clone();
            let task = match published.line {
                Line::PublishAudio => tokio::spawn(talk(track, ssrc, marks)),
                line => {
                    let mut encodings = published.encodings.clone();
                    if line == Line::PublishLargestFirst {
                        encodings.reverse();
                    }
                    tokio::spawn(film(track, encodings, marks, self.shared.clone()))
                }
            };
            self.tasks.push(task);
        }
    }

    /// How often a key frame was asked of this peer.
    pub fn key_frames_asked(&self) -> u64 {
        self.shared.key_frames_asked.load(Ordering::Relaxed)
    }

    /// Waits until what came in on the line satisfies `enough`.
    pub async fn until(&self, mid: &str, what: &str, enough: impl Fn(&Inbox) -> bool) {
        let wait = async {
            loop {
                let arrived = self.shared.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                if self.inbox(mid, &enough) {
                    return;
                }
                arrived.await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let seen = self.inbox(mid, |inbox| format!("{inbox:?}"));
            let lines: Vec<_> = self.shared.inboxes.lock().unwrap().keys().cloned().collect();
            panic!("{what}: did not happen within {PATIENCE:?}; line {mid} of {lines:?}: {seen}");
        }
    }

    /// Looks at what came in on the line.
    pub fn inbox<T>(&self, mid: &str, look: impl FnOnce(&Inbox) -> T) -> T {
        look(self.shared.inboxes.lock().unwrap().entry(mid.to_owned()).or_default())
    }

    /// Closes the connection, DTLS first, as a browser does when its page is closed.
    pub async fn leave(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.connection.close().await.unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Track ids of a description's lines with the mid of each.
fn track_ids(description: &str) -> HashMap<String, String> {
    let sections = description.split("\r\nm=").skip(1);
    let pairs = sections.filter_map(|section| {
        let value = |key: &str| section.lines().find_map(|line| line.strip_prefix(key));
        Some((
            value("a=msid:")?.split(' ').nth(1)?.to_owned(),
            value("a=mid:")?.to_owned(),
        ))
    });
    pairs.collect()
}

/// The header extensions by which the receiver knows a line's packets.
#[derive(Clone)]
struct Marks {
    mid_id: Option<u8>,
    rid_id: Option<u8>,
    mid: Bytes,
}

impl Marks {
    fn read(section: &str) -> Self {
        let id = |uri: &str| {
            section.lines().find_map(|line| {
                let (id, rest) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
                (rest.trim() == uri)
                    .then(|| id.split('/').next()?.parse().ok())
                    .flatten()
            })
        };
        let mid = section
            .lines()
            .find_map(|line| line.strip_prefix("a=mid:"))
            .expect("a mid");
        Self {
            mid_id: id(MID),
            rid_id: id(RID),
            mid: Bytes::copy_from_slice(mid.as_bytes()),
        }
    }

    fn put(&self, header: &mut rtp::Header, rid: Option<&'static str>) {
        if let Some(id) = self.mid_id {
            header.set_extension(id, self.mid.clone()).unwrap();
        }
        if let (Some(id), Some(rid)) = (self.rid_id, rid) {
            header.set_extension(id, Bytes::from_static(rid.as_bytes())).unwrap();
        }
    }
}

/// 20 ms of nothing, fifty times a second.
async fn talk(track: Arc<TrackLocalStaticRTP>, ssrc: u32, marks: Marks) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let (mut sequence, mut timestamp) = (65_000_u16, 4_294_000_000_u32);
    loop {
        ticks.tick().await;
        let mut header = rtp::Header {
            version: 2,
            payload_type: OPUS,
            sequence_number: sequence,
            timestamp,
            ssrc,
            ..rtp::Header::default()
        };
        marks.put(&mut header, None);
        let payload = Bytes::from_static(&[0x78; 60]);
        let _ = track.write_rtp(rtp::Packet { header, payload }).await;
        sequence = sequence.wrapping_add(1);
        timestamp = timestamp.wrapping_add(960);
    }
}

async fn film(
    track: Arc<TrackLocalStaticRTP>,
    // Small to large.
    encodings: Vec<(u32, Option<&'static str>)>,
    marks: Marks,
    shared: Arc<Shared>,
) {
    let all = [Encoder::new(M, (853, 480), 2), Encoder::new(H, (1280, 720), 4)];
    // A single encoding is the large one.
    let mut encoders: Vec<Encoder> = all.into_iter().skip(2 - encodings.len()).collect();
    let mut sequences = vec![65_300_u16; encodings.len()];
    let mut ticks = tokio::time::interval(Duration::from_micros(33_333));
    let mut served = None;
    loop {
        ticks.tick().await;
        let asked = Some(shared.key_frames_asked.load(Ordering::Relaxed));
        let key = served != asked;
        served = asked;
        for ((encoder, sequence), (ssrc, rid)) in encoders.iter_mut().zip(&mut sequences).zip(&encodings) {
            for packet in encoder.frame(key) {
                let mut header = rtp::Header {
                    version: 2,
                    marker: packet.marker,
                    payload_type: VP8,
                    sequence_number: *sequence,
                    timestamp: packet.timestamp,
                    ssrc: *ssrc,
                    ..rtp::Header::default()
                };
                marks.put(&mut header, *rid);
                let payload = Bytes::from(packet.payload);
                let _ = track.write_rtp(rtp::Packet { header, payload }).await;
                *sequence = sequence.wrapping_add(1);
            }
        }
    }
}

/// Listens for key frame requests: inbound RTCP ends in the client's stack, unless somebody in the chain takes it.
struct KeyFrameRequests {
    shared: Arc<Shared>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Interceptor for KeyFrameRequests {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for KeyFrameRequests {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = rtc::shared::error::Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Self::Error> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            let asks = |packet: &dyn Any| packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>();
            let count = packets.iter().filter(|packet| asks(packet.as_any())).count() as u64;
            self.shared.key_frames_asked.fetch_add(count, Ordering::Relaxed);
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Self::Error> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

fn media_engine(shared: &Arc<Shared>) -> (MediaEngine, Registry) {
    let mut engine = MediaEngine::default();
    for (codec, payload_type, kind) in [
        (opus(), OPUS, RtpCodecKind::Audio),
        (vp8(), VP8, RtpCodecKind::Video),
        (rtx(), RTX, RtpCodecKind::Video),
    ] {
        let parameters = RTCRtpCodecParameters {
            rtp_codec: codec,
            payload_type,
        };
        engine.register_codec(parameters, kind).unwrap();
    }
    let registry = configure_nack(Registry::new(), &mut engine);
    configure_simulcast_extension_headers(&mut engine).unwrap();
    let mid = RTCRtpHeaderExtensionCapability { uri: MID.to_owned() };
    engine
        .register_header_extension(mid, RtpCodecKind::Audio, None)
        .unwrap();
    let registry = configure_twcc(registry, &mut engine).unwrap();
    let requests = KeyFrameRequests {
        shared: shared.clone(),
        reads: VecDeque::new(),
        writes: VecDeque::new(),
    };
    (
        engine,
        configure_rtcp_reports(registry).with(Slot::Custom(6_500), requests),
    )
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

fn vp8() -> RTCRtpCodec {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback {
        typ: typ.to_owned(),
        parameter: parameter.to_owned(),
    };
    RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: vec![feedback("ccm", "fir")],
    }
}

fn rtx() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_RTX.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: format!("apt={VP8}"),
        rtcp_feedback: Vec::new(),
    }
}

fn direction(direction: RTCRtpTransceiverDirection) -> RTCRtpTransceiverInit {
    RTCRtpTransceiverInit {
        direction,
        streams: Vec::new(),
        send_encodings: Vec::new(),
    }
}

/// Any number but zero, different each time.
fn random_ssrc() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0_u8) as u32).max(1)
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: did not happen within {PATIENCE:?}"),
    }
}
