//! A headless client: the `webrtc` crate over a [link](super::carrier), with sound.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{Interceptor, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::MIME_TYPE_OPUS;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::sansio::Protocol;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceConnectionState,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder,
    configure_rtcp_reports,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

use super::carrier::{FAR, Far, Linked};
use super::link::with_candidate;
use super::measure::{Loop, Uplink, payload, stamp};
use super::{Patience, Trouble};

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const OPUS: u8 = 111;
/// Samples of a packet: 20 ms at 48 kHz.
const SAMPLES: u32 = 960;
/// Between packets.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// What both clients of a probe know.
#[derive(Debug)]
pub(super) struct Shared {
    packets: Mutex<Loop>,
    /// Something came back, or was reported.
    pub(super) changed: Notify,
    began: Instant,
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            packets: Mutex::default(),
            changed: Notify::new(),
            began: Instant::now(),
        })
    }

    pub(super) fn packets(&self) -> MutexGuard<'_, Loop> {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a connection has come, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) ice: Option<Instant>,
    pub(super) dtls: Option<Instant>,
    pub(super) failed: bool,
}

struct Handler {
    shared: Arc<Shared>,
    gathered: watch::Sender<bool>,
    progress: watch::Sender<Progress>,
    first: watch::Sender<Option<(u32, Instant)>>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        self.progress.send_modify(|progress| match state {
            RTCIceConnectionState::Connected | RTCIceConnectionState::Completed => {
                progress.ice.get_or_insert_with(Instant::now);
            }
            RTCIceConnectionState::Failed => progress.failed = true,
            _ => {}
        });
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.progress.send_modify(|progress| match state {
            RTCPeerConnectionState::Connected => {
                progress.dtls.get_or_insert_with(Instant::now);
            }
            RTCPeerConnectionState::Failed => progress.failed = true,
            _ => {}
        });
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let (shared, first) = (Arc::clone(&self.shared), self.first.clone());
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                let TrackRemoteEvent::OnRtpPacket(packet) = event else {
                    continue;
                };
                let Some((number, left)) = stamp(&packet.payload) else {
                    continue;
                };
                first.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert_with(|| (number, Instant::now()));
                    is_first
                });
                shared.packets().handle_back(number, left, shared.began.elapsed());
                shared.changed.notify_one();
            }
        });
    }
}

/// What a client is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Publisher,
    Viewer,
}

/// One client.
pub(super) struct Peer {
    connection: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    track: Option<(Arc<TrackLocalStaticRTP>, u32)>,
    patience: Patience,
    gathered: watch::Receiver<bool>,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) first: watch::Receiver<Option<(u32, Instant)>>,
}

fn bug(cause: impl std::fmt::Display) -> Trouble {
    Trouble::Bug(cause.to_string())
}

impl Peer {
    /// A client, and the far end of its link.
    pub(super) async fn new(part: Part, shared: &Arc<Shared>, patience: Patience) -> Result<(Self, Far), Trouble> {
        let (runtime, far) = Linked::new();
        let (gathered, is_gathered) = watch::channel(false);
        let (progress, has_progress) = watch::channel(Progress::default());
        let (first, has_first) = watch::channel(None);
        let handler = Handler {
            shared: Arc::clone(shared),
            gathered,
            progress,
            first,
        };
        let ssrc = ssrc();
        let (engine, registry) = engine(shared, ssrc)?;
        // The link is the only socket.
        let settings = SettingEngineBuilder::new()
            .with_include_loopback_candidate(true)
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .build();
        let builder = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings)
            .with_handler(Arc::new(handler))
            .with_runtime(Arc::new(runtime))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()]);
        let connection = Box::pin(builder.build()).await.map_err(bug)?;
        let mut peer = Self {
            connection: Arc::new(connection),
            shared: Arc::clone(shared),
            track: None,
            patience,
            gathered: is_gathered,
            progress: has_progress,
            first: has_first,
        };
        let init = |direction| {
            Some(RTCRtpTransceiverInit {
                direction,
                streams: Vec::new(),
                send_encodings: Vec::new(),
            })
        };
        match part {
            Part::Viewer => {
                let init = init(RTCRtpTransceiverDirection::Recvonly);
                let added = peer.connection.add_transceiver_from_kind(RtpCodecKind::Audio, init);
                added.await.map_err(bug)?;
            }
            Part::Publisher => {
                let coding = RTCRtpEncodingParameters {
                    rtp_coding_parameters: RTCRtpCodingParameters {
                        ssrc: Some(ssrc),
                        ..RTCRtpCodingParameters::default()
                    },
                    active: true,
                    codec: opus(),
                    ..RTCRtpEncodingParameters::default()
                };
                let name = || "probe".to_owned();
                let track = MediaStreamTrack::new(name(), name(), name(), RtpCodecKind::Audio, vec![coding]);
                let track = Arc::new(TrackLocalStaticRTP::new(track));
                let init = init(RTCRtpTransceiverDirection::Sendonly);
                let added = peer
                    .connection
                    .add_transceiver_from_track(Arc::clone(&track) as Arc<dyn TrackLocal>, init);
                added.await.map_err(bug)?;
                peer.track = Some((track, ssrc));
            }
        }
        Ok((peer, far))
    }

    /// An offer.
    pub(super) async fn offer(&mut self) -> Result<String, Trouble> {
        let offer = self.connection.create_offer(None).await.map_err(bug)?;
        self.connection.set_local_description(offer).await.map_err(bug)?;
        let gathered = timeout(self.patience.at_once(), self.gathered.wait_for(|done| *done)).await;
        gathered.map_err(bug)?.map_err(bug)?;
        let offer = self.connection.local_description().await;
        Ok(offer.ok_or_else(|| bug("no offer"))?.sdp)
    }

    /// Takes the answer, and begins to look for the server at the far end of the link.
    pub(super) async fn accept(&self, answer: &str) -> Result<(), Trouble> {
        let answer = RTCSessionDescription::answer(with_candidate(answer, FAR)).map_err(|_| Trouble::NoHousecall)?;
        let accepted = self.connection.set_remote_description(answer).await;
        accepted.map_err(|_| Trouble::NoHousecall)
    }

    /// Sends sound until this is given up.
    pub(super) async fn talk(&self) -> Result<(), Trouble> {
        let (Some((track, ssrc)), Some(offer)) = (&self.track, self.connection.local_description().await) else {
            return Err(bug("not a publisher"));
        };
        let line = |key: &str| offer.sdp.lines().find_map(|line| line.strip_prefix(key));
        let mid = Bytes::copy_from_slice(line("a=mid:").unwrap_or_default().as_bytes());
        let mut lines = offer.sdp.lines().filter_map(|line| line.strip_prefix("a=extmap:"));
        let mid_id = lines.find_map(|line| {
            line.split_once(' ')
                .filter(|(_, uri)| uri.trim() == MID)?
                .0
                .parse::<u8>()
                .ok()
        });
        let mut ticks = tokio::time::interval(TICK);
        // Not in bursts after a pause.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for number in 0_u32.. {
            ticks.tick().await;
            let mut header = rtp::Header {
                version: 2,
                payload_type: OPUS,
                // A probe of five minutes has 15,000 packets: the number does not wrap.
                sequence_number: number as u16,
                timestamp: number.wrapping_mul(SAMPLES),
                ssrc: *ssrc,
                ..rtp::Header::default()
            };
            if let Some(id) = mid_id {
                header.set_extension(id, mid.clone()).map_err(bug)?;
            }
            let payload = Bytes::from(payload(number, self.shared.began.elapsed()));
            // What cannot be sent is lost.
            let _ = track.write_rtp(rtp::Packet { header, payload }).await;
            // Only now: this may be given up while it waits above.
            self.shared.packets().handle_sent(number);
        }
        Ok(())
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        // It may be closed already.
        let _ = timeout(self.patience.at_once(), self.connection.close()).await;
    }
}

/// Listens for the server's reports: inbound RTCP ends in the crate, unless somebody in the chain takes it.
struct Reports {
    shared: Arc<Shared>,
    ssrc: u32,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Interceptor for Reports {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Reports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = rtc::shared::error::Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Self::Error> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            let reports = packets
                .iter()
                .filter_map(|packet| packet.as_any().downcast_ref::<ReceiverReport>());
            for report in reports.flat_map(|report| &report.reports) {
                if report.ssrc == self.ssrc {
                    self.shared.packets().handle_report(Uplink {
                        lost: report.total_lost,
                        // Numbers begin at nothing and don't wrap.
                        seen: report.last_sequence_number & 0xFFFF,
                        jitter_ms: f64::from(report.jitter) / 48.0,
                    });
                    self.shared.changed.notify_one();
                }
            }
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

/// Sound, and nothing that repairs it: what is lost is to be seen.
fn engine(shared: &Arc<Shared>, ssrc: u32) -> Result<(MediaEngine, Registry), Trouble> {
    let mut engine = MediaEngine::default();
    let codec = RTCRtpCodecParameters {
        rtp_codec: opus(),
        payload_type: OPUS,
    };
    engine.register_codec(codec, RtpCodecKind::Audio).map_err(bug)?;
    let mid = RTCRtpHeaderExtensionCapability { uri: MID.to_owned() };
    let registered = engine.register_header_extension(mid, RtpCodecKind::Audio, None);
    registered.map_err(bug)?;
    let reports = Reports {
        shared: Arc::clone(shared),
        ssrc,
        reads: VecDeque::new(),
        writes: VecDeque::new(),
    };
    let registry = configure_rtcp_reports(Registry::new()).with(Slot::Custom(6_500), reports);
    Ok((engine, registry))
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

/// Any number but zero, different each time.
fn ssrc() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0_u8) as u32).max(1)
}
