//! A client as a browser is one: offers, checks, a real DTLS handshake, SRTP both ways, and feedback. No sockets, virtual time.

pub(super) mod screen;
pub(super) mod studio;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::api::{Answer, IceCredentials};
use crate::demux::{Datagram, classify};
use crate::ids::{Mid, ParticipantId, RoomId, Ssrc, TrackId};
use crate::limits;
use crate::media::{Kind, Layer};
use crate::path::Path;
use crate::receive::TwccRecorder;
use crate::rtcp::{self, Packet, Writer};
use crate::rtp::RtpHeader;
use crate::srtp::OpenError;
use crate::testing::link::Arrival;
use crate::testing::puppet::{Direction, IDS, Line, Puppet, offer, sending_ssrcs};
use crate::transport::tests::client::Client;
use screen::{Ask, Screen};
use studio::{Studio, Timing};

/// Between checks until one is answered, and from then on.
const CHECK_FAST: Duration = Duration::from_millis(50);
const CHECK_SLOW: Duration = Duration::from_millis(2_650);
/// Mean time between reports.
const REPORT: Duration = Duration::from_secs(1);

/// What somebody brings to a room.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) microphone: bool,
    pub(crate) camera: bool,
    /// Its camera is a screen, with one encoding.
    pub(crate) screen: bool,
    /// Pairs of lines it receives on, sound and picture.
    pub(crate) receives: usize,
    /// Its offers list the layers of the camera from large to small.
    pub(crate) largest_first: bool,
    pub(crate) timing: Timing,
    /// With how many later ones each of its sounds is sent again (RFC 2198).
    pub(crate) redundancy: usize,
}

impl Profile {
    /// Sends everything and receives from one other.
    pub(crate) fn full() -> Self {
        Self {
            microphone: true,
            camera: true,
            screen: false,
            receives: 1,
            largest_first: false,
            timing: Timing::default(),
            redundancy: 0,
        }
    }

    /// Only receives.
    pub(crate) fn viewer() -> Self {
        Self {
            microphone: false,
            camera: false,
            ..Self::full()
        }
    }

    /// The microphone is always line 0 and the camera line 1; receiving lines follow.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let sends = |kind, on| Line::new(kind, if on { Direction::SendOnly } else { Direction::Inactive });
        let mut lines = vec![sends(Kind::Audio, self.microphone), sends(Kind::Video, self.camera)];
        for _ in 0..self.receives {
            lines.extend([Kind::Audio, Kind::Video].map(|kind| Line::new(kind, Direction::RecvOnly)));
        }
        lines
    }
}

/// The line on which the `pair`-th other is heard, or seen.
pub(crate) fn receiving_mid(pair: usize, kind: Kind) -> Mid {
    let place = 2 + 2 * pair + usize::from(kind == Kind::Video);
    Mid::new(&place.to_string()).expect("a number is a tag")
}

/// What was seen going wrong that a real client would only count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerFigures {
    /// Packets of the server that did not open: sealed with another's keys, or far too late.
    pub(crate) unopened: u64,
    /// Packets that came before there were keys: they overtook the end of the handshake.
    pub(crate) early: u64,
    /// RTP packets that opened.
    pub(crate) rtp: u64,
    /// RTCP packets that opened.
    pub(crate) rtcp: u64,
}

/// See the module.
pub(crate) struct Peer {
    pub(crate) id: ParticipantId,
    pub(crate) room: RoomId,
    pub(crate) path: Path,
    /// Behind the relay: what the server is to see as its address.
    pub(crate) relayed: Option<SocketAddr>,
    pub(crate) lines: Vec<Line>,
    pub(crate) largest_first: bool,
    pub(crate) shares_screen: bool,
    pub(crate) studio: Studio,
    pub(crate) screen: Screen,
    pub(crate) puppet: Puppet,
    pub(crate) client: Client,
    /// Tracks of its own: sound, then picture.
    pub(crate) tracks: Vec<(Kind, TrackId)>,
    pub(crate) figures: PeerFigures,
    pub(crate) out: Vec<Vec<u8>>,
    /// A check of the present credentials and address was answered.
    pub(crate) is_checked: bool,
    /// It no longer does anything.
    pub(crate) is_gone: bool,
    restarts: u32,
    next_check: Option<Instant>,
    next_report: Option<Instant>,
    wide: TwccRecorder,
    /// The SSRC that was last received on: what transport-wide feedback names.
    heard: Option<Ssrc>,
}

impl Peer {
    pub(crate) fn new(id: ParticipantId, room: RoomId, path: Path, profile: &Profile, seed: u64, now: Instant) -> Self {
        let own = IceCredentials {
            ufrag: format!("peer{}", id.0),
            pwd: "a-password-of-the-client".to_owned(),
        };
        // The server's are known with its answer.
        let client = Client::seeded(seed, &own, &own, now);
        let mut studio = Studio::new(profile.timing, seed, profile.microphone, profile.camera, now);
        studio.redundancy = profile.redundancy;
        studio.numbers_sounds = profile.redundancy > 0;
        if profile.screen {
            studio.switch(Layer::P720, false);
        }
        Self {
            id,
            room,
            path,
            relayed: None,
            lines: profile.lines(),
            largest_first: profile.largest_first,
            shares_screen: profile.screen,
            wide: TwccRecorder::new(studio.own_ssrc()),
            studio,
            screen: Screen::default(),
            puppet: Puppet::new(own.clone(), own),
            client,
            tracks: Vec::new(),
            figures: PeerFigures::default(),
            out: Vec::new(),
            is_checked: false,
            is_gone: false,
            restarts: 0,
            next_check: None,
            next_report: None,
            heard: None,
        }
    }

    pub(crate) fn offer(&self) -> String {
        let offer = offer(&self.lines, &self.puppet.own, &self.client.fingerprint());
        if self.shares_screen {
            let both = "a=rid:m send\r\na=rid:h send\r\na=simulcast:send m;h\r\n";
            return offer.replace(both, "a=content:slides\r\na=rid:m send\r\na=simulcast:send m\r\n");
        }
        match self.largest_first {
            true => offer.replace("a=simulcast:send m;h", "a=simulcast:send h;m"),
            false => offer,
        }
    }

    /// Takes in the answer and begins to check.
    pub(crate) fn handle_answer(&mut self, answer: &Answer, now: Instant) {
        self.tracks = answer.published.iter().map(|track| (track.kind, track.track)).collect();
        self.tracks.sort_unstable();
        for (line, ssrc, rtx) in sending_ssrcs(&answer.sdp) {
            self.screen.add_line(self.lines[line].kind, ssrc, rtx);
        }
        if self.puppet.server != answer.ice {
            self.handle_server_credentials(answer.ice.clone(), now);
        }
    }

    /// The server's credentials of a restart, or the first ones.
    pub(crate) fn handle_server_credentials(&mut self, server: IceCredentials, now: Instant) {
        self.client.use_credentials(&server, &self.puppet.own);
        self.puppet.server = server;
        self.is_checked = false;
        self.next_check = Some(now);
    }

    /// New credentials of its own for an ICE restart.
    pub(crate) fn renew_credentials(&mut self) -> IceCredentials {
        self.restarts += 1;
        self.puppet.own.ufrag = format!("peer{}again{}", self.id.0, self.restarts);
        self.puppet.own.clone()
    }

    /// It has another address from now on, and checks it at once.
    pub(crate) fn move_to(&mut self, path: Path, now: Instant) {
        self.path = path;
        self.is_checked = false;
        self.next_check = Some(now);
    }

    /// Stops checking, as a browser whose page is frozen.
    pub(crate) fn stop_checking(&mut self) {
        self.next_check = None;
    }

    /// Checks again.
    pub(crate) fn resume_checking(&mut self, now: Instant) {
        self.next_check = Some(now);
    }

    pub(crate) fn track(&self, kind: Kind) -> Option<TrackId> {
        let mut tracks = self.tracks.iter();
        tracks.find(|(known, _)| *known == kind).map(|(_, track)| *track)
    }

    /// When it has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_gone {
            return None;
        }
        let handshake = self.client.poll_timeout().filter(|_| !self.puppet.has_keys());
        let media = self.studio.poll_timeout().filter(|_| self.puppet.has_keys());
        let rtcp = [self.next_report, self.screen.poll_timeout(), self.wide.poll_timeout()];
        let rtcp = rtcp.into_iter().filter(|_| self.puppet.has_keys());
        rtcp.chain([handshake, media, self.next_check]).flatten().min()
    }

    /// Does what is due; what is to be sent lies in `out`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.next_check.is_some_and(|due| due <= now) {
            let check = self.puppet.check(self.is_checked || self.puppet.has_keys());
            self.out.push(check);
            self.next_check = Some(now + if self.is_checked { CHECK_SLOW } else { CHECK_FAST });
        }
        if !self.puppet.has_keys() {
            if self.client.poll_timeout().is_some_and(|due| due <= now) {
                self.client.handle_timeout(now);
            }
            return self.flush_dtls(now);
        }
        self.studio.handle_timeout(&mut self.puppet, &mut self.out, now);
        self.send_feedback(now);
    }

    /// DTLS is sent once a check was answered: before that nobody listens.
    fn flush_dtls(&mut self, now: Instant) {
        if self.is_checked {
            self.out.extend(self.client.poll_dtls(now));
        }
        if self.client.is_connected() && !self.puppet.has_keys() {
            self.puppet.adopt_keys(self.client.srtp());
            self.studio.begin(now);
            self.next_report = Some(now + REPORT / 4);
        }
    }

    fn send_feedback(&mut self, now: Instant) {
        let own = self.studio.own_ssrc();
        let mut buffer = [0; limits::MAX_DATAGRAM];
        if self.next_report.is_some_and(|due| due <= now) {
            // Spread a little, and different for each peer.
            self.next_report = Some(now + REPORT * 9 / 10 + Duration::from_millis(self.id.0 * 37 % 200));
            let mut writer = Writer::new(&mut buffer);
            let mut blocks = self.screen.report_blocks(now);
            for info in self.studio.sender_infos(now) {
                writer.sender_report(&info, &blocks).expect("it fits");
                blocks.clear();
            }
            if writer.len() == 0 {
                writer.receiver_report(own, &blocks).expect("it fits");
            }
            writer.source_description(own, "peer").expect("it fits");
            let len = writer.len();
            self.out.extend(self.puppet.seal_rtcp(&buffer[..len]));
        }
        while let Some(ask) = self.screen.poll_ask(now) {
            let mut writer = Writer::new(&mut buffer);
            match ask {
                Ask::Packets(ssrc, sequences) => writer.nack(own, ssrc, &sequences).expect("it fits"),
                Ask::KeyFrame(ssrc) => writer.picture_loss(own, ssrc).expect("it fits"),
            }
            let len = writer.len();
            self.out.extend(self.puppet.seal_rtcp(&buffer[..len]));
        }
        if let Some(heard) = self.heard {
            while let Some(len) = self.wide.poll_feedback(now, heard, &mut buffer) {
                self.out.extend(self.puppet.seal_rtcp(&buffer[..len]));
            }
        }
    }

    /// Takes a datagram of the server.
    ///
    /// # Panics
    /// If it is nothing a server sends, or what it says contradicts what came before.
    pub(crate) fn handle_datagram(&mut self, arrival: Arrival<Vec<u8>>, now: Instant) {
        if self.is_gone {
            return;
        }
        let Arrival {
            content: mut datagram,
            is_doubled,
        } = arrival;
        match classify(&datagram).expect("the server speaks what was agreed on") {
            Datagram::Stun => {
                if self
                    .puppet
                    .is_answer(&datagram, self.relayed.unwrap_or(self.path.remote()))
                    && !self.is_checked
                {
                    self.is_checked = true;
                    // Nominate at once, as Firefox does.
                    self.next_check = Some(now);
                }
            }
            Datagram::Dtls => {
                self.client.handle_dtls(&datagram, now);
                self.flush_dtls(now);
            }
            Datagram::Rtp => {
                let opened = self.puppet.open_rtp(&mut datagram);
                if let Some(len) = self.opened(opened, is_doubled) {
                    self.figures.rtp += 1;
                    self.handle_rtp(&datagram[..len], now);
                }
            }
            Datagram::Rtcp => {
                let opened = self.puppet.open_rtcp(&mut datagram);
                if let Some(len) = self.opened(opened, is_doubled) {
                    self.figures.rtcp += 1;
                    self.handle_rtcp(&datagram[..len], now);
                }
            }
            Datagram::Turn | Datagram::ChannelData => panic!("it was taken out of what the relay put around it"),
        }
    }

    fn opened(&mut self, opened: Result<usize, OpenError>, is_doubled: bool) -> Option<usize> {
        match opened {
            Ok(len) => Some(len),
            Err(OpenError::Replayed) => {
                assert!(is_doubled, "a key and nonce came twice");
                None
            }
            Err(OpenError::NotReady) => {
                self.figures.early += 1;
                None
            }
            Err(_) => {
                self.figures.unopened += 1;
                None
            }
        }
    }

    fn handle_rtp(&mut self, packet: &[u8], now: Instant) {
        let header = RtpHeader::parse(packet).expect("the server writes RTP");
        if let Some(number) = header.extensions(packet, &IDS).twcc {
            self.wide.record(number, now);
        }
        self.heard = Some(header.ssrc);
        self.screen.handle_rtp(packet, now);
    }

    fn handle_rtcp(&mut self, compound: &[u8], now: Instant) {
        for packet in rtcp::parse(compound) {
            match packet.expect("the server writes RTCP") {
                Packet::SenderReport(report) => {
                    self.screen.handle_sender_report(&report.info, now);
                    report
                        .blocks
                        .for_each(|block| self.studio.handle_report_block(&block, now));
                }
                Packet::ReceiverReport(report) => {
                    report
                        .blocks
                        .for_each(|block| self.studio.handle_report_block(&block, now));
                }
                Packet::Nack(nack) => self.studio.handle_nack(nack.media, nack.sequences(), now),
                Packet::PictureLoss(loss) => self.studio.handle_key_frame_request(loss.media, now),
                Packet::TransportFeedback(feedback) => self.studio.handle_transport_feedback(&feedback),
                Packet::SourceDescription(_) | Packet::Goodbye(_) | Packet::FullIntraRequest(_) => {}
                Packet::Remb(_) | Packet::Other => {}
            }
        }
    }
}
