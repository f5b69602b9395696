//! The sending thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};

use super::{Shared, Stream};
use crate::pipe::Pipe;
use crate::source::{Schedule, Source};
use crate::srtp::{MAX_TAG, RtpKeys};
use crate::wire::{Header, Media, Picture, write_stamp};

/// Behind the plan by this much, the plan is moved instead of caught up with.
const LATE: Duration = Duration::from_millis(100);
/// Packets of a stream that carry mid and rid: browsers do so until a report names the stream.
const NAMED: u64 = 300;
/// The longest sleep, so that the end is noticed.
const NAP: Duration = Duration::from_millis(50);
/// How often a paused sender looks whether it may go on.
const PAUSE: Duration = Duration::from_millis(5);

/// The sending half of a peer.
pub(super) struct Sender {
    pipe: Pipe,
    state: UdpSocketState,
    server: SocketAddr,
    seal: RtpKeys,
    transport_wide: u16,
}

impl Sender {
    pub(super) fn new(pipe: Pipe, seal: RtpKeys) -> Result<Self> {
        Ok(Self {
            state: UdpSocketState::new(UdpSockRef::from(&*pipe.socket))?,
            server: pipe.socket.peer_addr()?,
            pipe,
            seal,
            transport_wide: 0,
        })
    }

    /// Sends packets of one length in one call.
    fn send_whole(&self, packets: &[u8], segment: usize) {
        let transmit = Transmit {
            destination: self.server,
            ecn: None,
            contents: packets,
            segment_size: Some(segment),
            src_ip: None,
        };
        let _ = self.state.try_send(UdpSockRef::from(&*self.pipe.socket), &transmit);
    }
}

/// A stream and where it stands.
struct Flow {
    stream: Stream,
    /// Packets and frames so far.
    index: u64,
    frame: u64,
    timestamp: u32,
    /// Key frame requests of its peer that are answered.
    answered: u64,
}

pub(super) struct Sending {
    senders: Vec<Sender>,
    flows: Vec<Flow>,
    schedule: Schedule,
    spread: Duration,
    shared: Arc<Shared>,
    began: Instant,
    packet: Vec<u8>,
    /// A frame that is sent as a whole.
    whole: Vec<u8>,
    sizes: Vec<usize>,
}

impl Sending {
    pub(super) fn new(
        senders: Vec<Sender>,
        streams: Vec<Stream>,
        spread: Duration,
        shared: Arc<Shared>,
        began: Instant,
    ) -> Self {
        let sources: Vec<Source> = streams.iter().map(|stream| stream.source).collect();
        let flows = streams.into_iter().map(|stream| Flow {
            stream,
            index: 0,
            frame: 0,
            timestamp: 0,
            answered: 0,
        });
        Self {
            senders,
            flows: flows.collect(),
            schedule: Schedule::new(&sources),
            spread,
            shared,
            began,
            packet: vec![0x5a; 2_048],
            whole: Vec::new(),
            sizes: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<()> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            if self.shared.paused.load(Ordering::Relaxed) {
                std::thread::sleep(PAUSE);
                continue;
            }
            let Some((due, stream)) = self.schedule.peek() else {
                std::thread::sleep(NAP);
                continue;
            };
            let now = self.began.elapsed();
            if due > now {
                std::thread::sleep((due - now).min(NAP));
                continue;
            }
            let late = (now - due > LATE).then_some(now);
            if late.is_some() {
                self.shared.late.fetch_add(1, Ordering::Relaxed);
            }
            let source = self.flows[stream].stream.source;
            let source = match (source, self.shared.rate.load(Ordering::Relaxed)) {
                (Source::Even { .. }, rate) if rate > 0 => Source::Even { rate },
                (Source::Burst { .. }, rate) if rate > 0 => Source::Burst { rate },
                (Source::Whole { .. }, rate) if rate > 0 => Source::Whole { rate },
                _ => source,
            };
            self.frame(stream, source, now)?;
            self.schedule.advance(source.interval(), late);
        }
        Ok(())
    }

    fn frame(&mut self, stream: usize, source: Source, now: Duration) -> Result<()> {
        let flow = &mut self.flows[stream];
        let sender = &mut self.senders[flow.stream.peer];
        let asked = self.shared.key_frames[flow.stream.peer].load(Ordering::Relaxed);
        let key = flow.frame == 0 || asked != flow.answered;
        flow.answered = asked;
        source.sizes(flow.frame, &mut self.sizes);
        let count = self.sizes.len();
        // Frames that follow one another this closely leave no time to wait in.
        let spread = self.spread.min(source.interval() / 8);
        let gap = spread / count.saturating_sub(1).max(1) as u32;
        for (place, size) in self.sizes.iter().enumerate() {
            if !spread.is_zero() {
                let at = now + gap * place as u32;
                while self.began.elapsed() < at {
                    std::hint::spin_loop();
                }
            }
            let names = (flow.index < NAMED).then_some((&*flow.stream.mid, flow.stream.rid));
            let header = Header {
                media: source.media(),
                marker: place + 1 == count && source.media() == Media::Video,
                sequence: flow.index as u16,
                timestamp: flow.timestamp,
                ssrc: flow.stream.ssrc,
                transport_wide: sender.transport_wide,
                names,
            };
            sender.transport_wide = sender.transport_wide.wrapping_add(1);
            let len = header.write(&mut self.packet);
            let payload = &mut self.packet[len..];
            match source.media() {
                // Hybrid wideband, 20 ms, mono, one frame (RFC 6716 §3.1).
                Media::Audio => payload[0] = 0x68,
                Media::Video => {
                    let picture = Picture {
                        frame: flow.frame,
                        first: place == 0,
                        key,
                        size: flow.stream.size,
                    };
                    picture.write(payload);
                }
            }
            write_stamp(source.media(), payload, self.began.elapsed().as_nanos() as u64);
            let sealed = sender
                .seal
                .seal(&mut self.packet[..size + MAX_TAG], *size, len, flow.index)?;
            // A full socket buffer is loss on the publisher's side; it shows as lost.
            if let Source::Whole { .. } = source {
                let header = sender.pipe.header(sealed);
                let header = header.as_ref().map_or(&[][..], |header| &header[..]);
                self.whole.extend_from_slice(header);
                self.whole.extend_from_slice(&self.packet[..sealed]);
                if place + 1 == count {
                    sender.send_whole(&self.whole, header.len() + sealed);
                    self.whole.clear();
                }
            } else {
                let _ = sender.pipe.send(&self.packet[..sealed]);
            }
            flow.index += 1;
        }
        flow.frame += 1;
        flow.timestamp = flow.timestamp.wrapping_add(source.ticks());
        self.shared.sent.fetch_add(count as u64, Ordering::Relaxed);
        Ok(())
    }
}
