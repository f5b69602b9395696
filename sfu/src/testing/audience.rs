//! One publisher and its viewers behind a whole worker, in virtual time: packets go in sealed and come out sealed. For benchmarks, and for
//! tests of what forwarding costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::puppet::{Direction, Fields, Line, OPUS, Puppet, RTX, VP8, offer, sending_ssrcs};
use super::{Chance, VideoPublisher};
use crate::api::IceCredentials;
use crate::clock::{NtpTime, WallClock};
use crate::command::Command;
use crate::counters::{Count, Counters};
use crate::dtls::{Certificate, Fingerprint};
use crate::ids::{Mid, ParticipantId, RoomId, Ssrc, TrackId};
use crate::load::Load;
use crate::media::{Kind, Layer};
use crate::path::Path;
use crate::random::Random;
use crate::rtcp::Writer;
use crate::rtp::RtpHeader;
use crate::worker::{Worker, WorkerConfig};

const ROOM: RoomId = RoomId(1);
/// Time between two pictures; audio packets come with each, and between them.
const PICTURE: Duration = Duration::from_millis(33);

/// One participant's other end.
struct Seat {
    id: ParticipantId,
    path: Path,
    puppet: Puppet,
    /// What it receives on: its video's SSRC.
    video: Option<Ssrc>,
    /// Tracks it publishes.
    tracks: Vec<TrackId>,
}

/// What left in one go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Media packets.
    pub packets: u64,
    /// Retransmissions.
    pub resent: u64,
    /// Bytes that made packets equally long.
    pub padding: u64,
    /// Transport-wide feedback to the publisher.
    pub feedback: u64,
    /// Send calls for all of it.
    pub calls: u64,
}

/// See the module.
pub struct Audience {
    worker: Worker,
    now: Instant,
    publisher: Seat,
    viewers: Vec<Seat>,
    camera: VideoPublisher,
    /// Sealed packets on their way to the server, with the path each comes by.
    wire: Vec<(Path, Vec<u8>)>,
    /// The next numbers of audio, video and the transport.
    audio: u16,
    video: u16,
    transport_wide: u16,
    /// For each viewer, the highest number of its video.
    seen: Vec<Option<u16>>,
}

impl Audience {
    /// All viewers are connected and watch; nothing has been sent.
    ///
    /// # Panics
    /// If they cannot be connected, which would be a fault of the core.
    #[must_use]
    pub fn new(viewers: u64, start: Instant) -> Self {
        let config = WorkerConfig {
            shard: 0,
            candidates: vec![([192, 0, 2, 1], 8_080).into()],
            tcp_candidates: Vec::new(),
            certificate: Arc::new(Certificate::generate().expect("P-256 works")),
            start_kbps: 1_500,
            picture_floor: crate::media::Bitrate::from_kbps(500),
            adaptation: crate::settings::Adaptation::On,
            tag: crate::steering::Tag(*b"tags"),
            max_segments: 64,
            wall: WallClock::new(start, NtpTime::from_bits(0xe000_0000_0000_0000)),
        };
        let mut worker = Worker::new(config, Random::Seeded(Chance::new(7)));
        worker.handle_command(
            Command::CreateRoom {
                room: ROOM,
                max_participants: viewers as usize + 1,
            },
            start,
        );
        let publisher = join(&mut worker, 0, Direction::SendOnly, start);
        let seats: Vec<Seat> = (1..=viewers)
            .map(|number| join(&mut worker, number, Direction::RecvOnly, start))
            .collect();
        for seat in &seats {
            for (mid, track) in ["0", "1"].into_iter().zip(&publisher.tracks) {
                worker.handle_command(
                    Command::SetSource {
                        room: ROOM,
                        participant: seat.id,
                        mid: Mid::new(mid).expect("a digit"),
                        source: Some(*track),
                    },
                    start,
                );
            }
        }
        let mut audience = Self {
            worker,
            now: start,
            publisher,
            seen: vec![None; seats.len()],
            viewers: seats,
            camera: VideoPublisher::new(1),
            wire: Vec::new(),
            audio: 1,
            video: 1,
            transport_wide: 1,
        };
        audience.forward();
        audience
    }

    /// Says how busy the shard is, 0 to 1,000.
    pub fn set_busy(&mut self, permille: u16) {
        self.worker.handle_load(Load {
            permille,
            media_permille: permille,
            datagrams: 0,
        });
    }

    /// Puts the next picture and a packet of audio on the wire.
    pub fn send_picture(&mut self) {
        self.camera.advance();
        for packet in self.camera.encode(Layer::P720) {
            let fields = Fields {
                ssrc: 2_000,
                sequence: self.video,
                timestamp: packet.timestamp,
                payload_type: VP8.0,
                marker: packet.marker,
                mid: Some("1"),
                ..Fields::default()
            };
            self.video = self.video.wrapping_add(1);
            self.put(&fields, &packet.payload);
        }
        self.send_audio();
    }

    /// Puts a packet of audio on the wire.
    pub fn send_audio(&mut self) {
        let fields = Fields {
            ssrc: 1_000,
            sequence: self.audio,
            timestamp: u32::from(self.audio) * 960,
            payload_type: OPUS.0,
            mid: Some("0"),
            ..Fields::default()
        };
        self.audio = self.audio.wrapping_add(1);
        self.put(&fields, &[0x5a; 80]);
    }

    fn put(&mut self, fields: &Fields<'_>, payload: &[u8]) {
        let fields = Fields {
            twcc: Some(self.transport_wide),
            ..*fields
        };
        self.transport_wide = self.transport_wide.wrapping_add(1);
        let packet = self.publisher.puppet.seal_rtp(&fields, payload);
        self.wire.push((self.publisher.path, packet.expect("numbers rise")));
    }

    /// Every viewer asks for the last packet of its video again.
    pub fn ask_again(&mut self) {
        for (seat, seen) in self.viewers.iter_mut().zip(&self.seen) {
            let (Some(media), Some(number)) = (seat.video, *seen) else {
                continue;
            };
            let mut buffer = [0; 64];
            let mut writer = Writer::new(&mut buffer);
            writer.nack(Ssrc(1), media, &[number]).expect("it fits");
            let len = writer.len();
            let packet = seat.puppet.seal_rtcp(&buffer[..len]).expect("connected");
            self.wire.push((seat.path, packet));
        }
    }

    /// Lets the time of one picture pass.
    pub fn pass_picture(&mut self) {
        self.pass(PICTURE);
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// The server takes what is on the wire, and does what is due; what leaves is counted and forgotten. This is the packet path, and
    /// nothing else.
    pub fn forward(&mut self) -> Forwarded {
        self.receive();
        while self.worker.poll_transmit(self.now).is_some() {}
        let (counters, _) = self.worker.take_counters();
        self.wire.clear();
        figures(&counters)
    }

    /// As [`Self::forward`], and the viewers read what is for them. Video payloads by viewer, in the order they came; retransmissions by the
    /// payload they repeat.
    ///
    /// # Panics
    /// If a packet cannot be opened.
    pub fn forward_and_read(&mut self) -> (Forwarded, Vec<Vec<Vec<u8>>>) {
        self.receive();
        let mut read = vec![Vec::new(); self.viewers.len()];
        while let Some(transmit) = self.worker.poll_transmit(self.now) {
            let Some(number) = self.viewers.iter().position(|seat| seat.path == transmit.path) else {
                continue;
            };
            let seat = &mut self.viewers[number];
            for datagram in transmit.contents.chunks(transmit.segment) {
                let mut datagram = datagram.to_vec();
                let is_media = datagram.len() > 12 && matches!(datagram[1] & 0x7f, 96 | 97);
                if !is_media {
                    continue;
                }
                let len = seat.puppet.open_rtp(&mut datagram).expect("sealed for this viewer");
                let header = RtpHeader::parse(&datagram[..len]).expect("a packet");
                let payload = header.payload(&datagram[..len]).expect("padding is right");
                if header.payload_type == RTX {
                    read[number].push(payload[2..].to_vec());
                } else {
                    self.seen[number] = Some(header.sequence);
                    read[number].push(payload.to_vec());
                }
            }
        }
        let (counters, _) = self.worker.take_counters();
        self.wire.clear();
        (figures(&counters), read)
    }

    fn receive(&mut self) {
        for (path, packet) in &mut self.wire {
            self.worker.handle_datagram(*path, packet, self.now);
        }
        self.worker.handle_timeout(self.now);
    }

    /// How long until the server must be asked again.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let (at, _) = self.worker.poll_timeout()?;
        Some(at.saturating_duration_since(self.now))
    }

    /// The time it is.
    #[cfg(test)]
    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// What all of this stands on.
    #[cfg(test)]
    pub(crate) const fn worker(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// Where a viewer's datagrams come from.
    #[cfg(test)]
    pub(crate) fn viewer_path(&self, number: usize) -> Path {
        self.viewers[number].path
    }

    /// Hands over what is on the wire, without asking for what leaves.
    #[cfg(test)]
    pub(crate) fn deliver(&mut self) {
        self.receive();
        self.wire.clear();
    }

    /// Takes the last so many packets off the wire again, to be put there by [`Self::give_back`].
    #[cfg(test)]
    pub(crate) fn take_back(&mut self, packets: usize) -> Vec<(Path, Vec<u8>)> {
        self.wire.split_off(self.wire.len() - packets)
    }

    /// See [`Self::take_back`].
    #[cfg(test)]
    pub(crate) fn give_back(&mut self, packets: Vec<(Path, Vec<u8>)>) {
        self.wire.extend(packets);
    }

    /// How many viewers there are.
    #[must_use]
    pub fn viewers(&self) -> u64 {
        self.viewers.len() as u64
    }
}

fn figures(counters: &Counters) -> Forwarded {
    Forwarded {
        packets: counters.get(Count::RtpOut),
        resent: counters.get(Count::RtxOut),
        padding: counters.get(Count::PaddingOut),
        feedback: counters.get(Count::TwccOut),
        calls: counters.get(Count::SendCalls),
    }
}

/// Negotiates one line of audio and one of video, and connects.
fn join(worker: &mut Worker, number: u64, direction: Direction, now: Instant) -> Seat {
    let own = IceCredentials {
        ufrag: format!("ufrag{number}"),
        pwd: "a-password-of-the-client".to_owned(),
    };
    let mut lines = [Line::new(Kind::Audio, direction), Line::new(Kind::Video, direction)];
    lines[1].simulcast = false;
    let (id, path) = (
        ParticipantId(number + 1),
        Path::udp(([192, 0, 2, 9], 1_000 + number as u16).into(), None),
    );
    let (reply, mut answer) = oneshot::channel();
    worker.handle_command(
        Command::Negotiate {
            room: ROOM,
            participant: id,
            offer: offer(&lines, &own, &Fingerprint::from_sha256([7; 32])),
            reply,
        },
        now,
    );
    let answer = answer.try_recv().expect("answered at once").expect("a good offer");
    let mut puppet = Puppet::new(own, answer.ice);
    let mut check = puppet.check(true);
    worker.handle_datagram(path, &mut check, now);
    let key = worker.by_id[&id];
    let keys = Puppet::keys(number);
    puppet.connect(&keys);
    worker.members[key.0].transport.connect_with(&keys, now);
    worker.after_transport(key, now);
    let video = sending_ssrcs(&answer.sdp)
        .iter()
        .find(|(line, ..)| *line == 1)
        .map(|(_, media, _)| *media);
    Seat {
        id,
        path,
        puppet,
        video,
        tracks: answer.published.iter().map(|track| track.track).collect(),
    }
}
