//! The receiving thread.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::epoll;

use super::{Opening, Shared};
use crate::feedback::{self, Arrivals};
use crate::peer::Check;
use crate::pipe::Pipe;
use crate::srtp::{RtcpKeys, RtpKeys};
use crate::stats::Samples;
use crate::wire::{Media, Packet, Received, read_stamp};

/// Buffers filled by one receive call, each with coalesced datagrams.
const BUFFERS: usize = 4;
/// How long to wait for packets before the peers' timers are looked at.
const PATIENCE: Duration = Duration::from_millis(5);
const REPORT: Duration = Duration::from_secs(1);
const CHECK: Duration = Duration::from_secs(4);
/// Of each stream, one in so many is opened.
const SAMPLE: u64 = 64;

/// The receiving half of a peer.
pub(super) struct Receiver {
    pipe: Pipe,
    state: UdpSocketState,
    open: RtpKeys,
    seal_control: RtcpKeys,
    open_control: RtcpKeys,
    check: Check,
    publishes: bool,
    streams: Vec<Stream>,
    arrivals: Arrivals,
    /// When feedback, report and check are due.
    due: [Duration; 3],
}

/// What a peer has seen of a stream.
struct Stream {
    ssrc: u32,
    media: Media,
    newest: u64,
}

impl Receiver {
    pub(super) fn new(
        pipe: Pipe,
        open: RtpKeys,
        seal_control: RtcpKeys,
        open_control: RtcpKeys,
        check: Check,
    ) -> Result<Self> {
        let _ = socket2::SockRef::from(&*pipe.socket).set_recv_buffer_size(1 << 20);
        let state = UdpSocketState::new(UdpSockRef::from(&*pipe.socket))?;
        Ok(Self {
            pipe,
            state,
            open,
            seal_control,
            open_control,
            check,
            publishes: false,
            streams: Vec::new(),
            arrivals: Arrivals::default(),
            due: [Duration::ZERO; 3],
        })
    }

    /// It sends media, so the server's requests matter.
    pub(super) fn publishes(&mut self) {
        self.publishes = true;
    }
}

/// Counted in one turn.
#[derive(Default)]
struct Tally {
    received: u64,
    lost: i64,
    verified: u64,
    broken: u64,
    flowing: u64,
    latencies: (Samples, Samples),
}

pub(super) struct Receiving {
    receivers: Vec<Receiver>,
    opening: Opening,
    waiting: super::Receivers,
    shared: Arc<Shared>,
    began: Instant,
    poll: OwnedFd,
}

impl Receiving {
    pub(super) fn new(
        mut receivers: Vec<Receiver>,
        opening: Opening,
        waiting: super::Receivers,
        shared: Arc<Shared>,
        began: Instant,
    ) -> Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).context("an epoll instance")?;
        let count = receivers.len().max(1) as u32;
        for (number, receiver) in receivers.iter_mut().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&poll, &*receiver.pipe.socket, data, epoll::EventFlags::IN)?;
            // Not all at once: that would be a burst no real crowd makes.
            let spread = |interval: Duration| interval * number as u32 / count;
            receiver.due = [feedback::INTERVAL, REPORT, CHECK].map(spread);
        }
        Ok(Self {
            receivers,
            opening,
            waiting,
            shared,
            began,
            poll,
        })
    }

    pub(super) fn run(mut self) -> Result<()> {
        let mut buffers: Vec<Vec<u8>> = (0..BUFFERS).map(|_| vec![0; 65_535]).collect();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let mut timers = Duration::ZERO;
        let mut tally = Tally::default();
        while !self.shared.stop.load(Ordering::Relaxed) {
            events.clear();
            let patience = self.waiting.wait(PATIENCE);
            let _ = epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&patience));
            for event in &events {
                self.drain(event.data.u64() as usize, &mut buffers, &mut tally)?;
            }
            self.publish(&mut tally);
            let now = self.began.elapsed();
            if now >= timers {
                timers = now + Duration::from_millis(5);
                for receiver in &mut self.receivers {
                    receiver.handle_time(now)?;
                }
            }
        }
        Ok(())
    }

    fn drain(&mut self, number: usize, buffers: &mut [Vec<u8>], tally: &mut Tally) -> Result<()> {
        let receiver = &mut self.receivers[number];
        let mut metas = [RecvMeta::default(); BUFFERS];
        let filled = {
            let mut rest = buffers.iter_mut();
            let mut slices: [IoSliceMut<'_>; BUFFERS] =
                std::array::from_fn(|_| IoSliceMut::new(rest.next().map_or(&mut [], |buffer| &mut buffer[..])));
            receiver
                .state
                .recv(UdpSockRef::from(&*receiver.pipe.socket), &mut slices, &mut metas)
        };
        // A refused port is the server's end, which others notice.
        let Ok(filled) = filled else { return Ok(()) };
        let now = self.began.elapsed().as_nanos() as u64;
        for (meta, buffer) in metas.iter().zip(buffers).take(filled) {
            for datagram in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
                let Some(datagram) = receiver.pipe.open(datagram) else {
                    continue;
                };
                match Received::parse(datagram) {
                    Received::Media(packet) => receiver.media(packet, datagram, now, self.opening, tally),
                    Received::Repair {
                        transport_wide: Some(number),
                    } => receiver.arrivals.note(number, now),
                    Received::Control if receiver.publishes => {
                        let requests = receiver.open_control.open(datagram);
                        let requests = requests.map_or(0, |plain| feedback::key_frame_requests(&plain));
                        self.shared.key_frames[number].fetch_add(requests, Ordering::Relaxed);
                        self.shared.requests.fetch_add(requests, Ordering::Relaxed);
                    }
                    Received::Stun => {
                        if let Some(response) = receiver.check.respond(datagram) {
                            let _ = receiver.pipe.send(&response);
                        }
                    }
                    Received::Repair { .. } | Received::Control | Received::Other => {}
                }
            }
        }
        Ok(())
    }

    fn publish(&self, tally: &mut Tally) {
        if tally.received == 0 {
            return;
        }
        let shared = &self.shared;
        shared.received.fetch_add(tally.received, Ordering::Relaxed);
        shared.lost.fetch_add(tally.lost, Ordering::Relaxed);
        shared.verified.fetch_add(tally.verified, Ordering::Relaxed);
        shared.broken.fetch_add(tally.broken, Ordering::Relaxed);
        shared.flowing.fetch_add(tally.flowing, Ordering::Relaxed);
        if tally.latencies.0.len() + tally.latencies.1.len() > 0 {
            let mut latencies = shared.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.0.append(&mut tally.latencies.0);
            latencies.1.append(&mut tally.latencies.1);
        }
        *tally = Tally::default();
    }
}

impl Receiver {
    fn media(&mut self, packet: Packet, datagram: &mut [u8], now: u64, opening: Opening, tally: &mut Tally) {
        if let Some(number) = packet.transport_wide {
            self.arrivals.note(number, now);
        }
        tally.received += 1;
        let number = match self.streams.iter_mut().find(|stream| stream.ssrc == packet.ssrc) {
            Some(stream) => {
                let number = feedback::extend(Some(stream.newest), packet.sequence);
                if number > stream.newest {
                    tally.lost += (number - stream.newest) as i64 - 1;
                    stream.newest = number;
                } else {
                    tally.lost -= 1;
                }
                number
            }
            None => {
                tally.flowing += 1;
                let number = u64::from(packet.sequence);
                self.streams.push(Stream {
                    ssrc: packet.ssrc,
                    media: packet.media,
                    newest: number,
                });
                number
            }
        };
        if opening == Opening::Sample && !number.is_multiple_of(SAMPLE) {
            return;
        }
        let Ok(len) = self.open.open(datagram, packet.header, number) else {
            tally.broken += 1;
            return;
        };
        tally.verified += 1;
        if opening == Opening::All
            && let Some(sent) = read_stamp(packet.media, &datagram[packet.header..len])
        {
            let latencies = match packet.media {
                Media::Audio => &mut tally.latencies.0,
                Media::Video => &mut tally.latencies.1,
            };
            latencies.add(now.saturating_sub(sent));
        }
    }

    /// Sends what is due. A full socket loses it, as any network may.
    fn handle_time(&mut self, now: Duration) -> Result<()> {
        let [feedback_due, report_due, check_due] = self.due;
        if now >= feedback_due {
            self.due[0] = now + feedback::INTERVAL;
            let video = self.streams.iter().find(|stream| stream.media == Media::Video);
            if let Some(ssrc) = video.or(self.streams.first()).map(|stream| stream.ssrc) {
                while let Some(message) = self.arrivals.poll(ssrc) {
                    let _ = self.pipe.send(&self.seal_control.seal(&message)?);
                }
            }
        }
        if now >= report_due {
            self.due[1] = now + REPORT;
            let streams: Vec<(u32, u64)> = self
                .streams
                .iter()
                .map(|stream| (stream.ssrc, stream.newest))
                .take(31)
                .collect();
            if !streams.is_empty() {
                let _ = self.pipe.send(&self.seal_control.seal(&feedback::report(&streams))?);
            }
        }
        if now >= check_due {
            self.due[2] = now + CHECK;
            let _ = self.pipe.send(&self.check.request()?);
        }
        Ok(())
    }
}
