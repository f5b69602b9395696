//! The load: one publisher that sends at a given shape, and viewers that count what reaches them.

use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::epoll;

use crate::peer::{Peer, TWCC_ID, VP8};

/// Bytes of an RTP packet before it is sealed.
pub(crate) const PACKET: usize = 1_180;
/// The fixed header, one extension word pair for the transport-wide number.
const HEADER: usize = 12 + 8;
const BURST_RATE: u64 = 30;

/// How packets leave the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// One packet after the other, evenly spaced.
    Even,
    /// Thirty frames a second, each a burst: what Chromium does on a fast line.
    Burst,
}

/// What one run of the load saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Packets the publisher sent.
    pub(crate) sent: u64,
    /// Packets all viewers received.
    pub(crate) received: u64,
    /// Packets missing between the first and the last each viewer saw.
    pub(crate) lost: u64,
    /// Packets opened and found to be what was sent (a sample).
    pub(crate) verified: u64,
}

struct Counts {
    stop: AtomicBool,
    received: AtomicU64,
    lost: AtomicU64,
    verified: AtomicU64,
    key_frames: AtomicU64,
}

/// Runs the load until `during` returns and gives what was seen meanwhile.
pub(crate) fn run<T>(
    publisher: Peer,
    viewers: Vec<Peer>,
    ssrc: u32,
    rate: u64,
    shape: Shape,
    warm_up: Duration,
    during: impl FnOnce() -> Result<T>,
) -> Result<(T, Seen)> {
    let counts = Arc::new(Counts {
        stop: AtomicBool::new(false),
        received: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        verified: AtomicU64::new(0),
        key_frames: AtomicU64::new(0),
    });
    let sent = Arc::new(AtomicU64::new(0));
    let receiving = receive(viewers, Arc::clone(&counts))?;
    let sending = {
        let (counts, sent) = (Arc::clone(&counts), Arc::clone(&sent));
        std::thread::spawn(move || publish(publisher, ssrc, rate, shape, &counts, &sent))
    };
    std::thread::sleep(warm_up);
    let before = snapshot(&counts, &sent);
    let result = during();
    let after = snapshot(&counts, &sent);
    counts.stop.store(true, Ordering::Relaxed);
    sending
        .join()
        .map_err(|_| anyhow::anyhow!("the publisher's thread panicked"))??;
    receiving
        .join()
        .map_err(|_| anyhow::anyhow!("the viewers' thread panicked"))??;
    let seen = Seen {
        sent: after.sent - before.sent,
        received: after.received - before.received,
        lost: after.lost - before.lost,
        verified: after.verified - before.verified,
    };
    Ok((result?, seen))
}

fn snapshot(counts: &Counts, sent: &AtomicU64) -> Seen {
    Seen {
        sent: sent.load(Ordering::Relaxed),
        received: counts.received.load(Ordering::Relaxed),
        lost: counts.lost.load(Ordering::Relaxed),
        verified: counts.verified.load(Ordering::Relaxed),
    }
}

fn publish(mut peer: Peer, ssrc: u32, rate: u64, shape: Shape, counts: &Counts, sent: &AtomicU64) -> Result<()> {
    peer.socket.set_nonblocking(true)?;
    let per_tick = match shape {
        Shape::Even => 1,
        Shape::Burst => rate.div_ceil(BURST_RATE),
    };
    let tick = Duration::from_nanos(1_000_000_000 * per_tick / rate);
    let per_frame = rate.div_ceil(BURST_RATE).max(1);
    let mut packet = vec![0; PACKET + crate::srtp::TAG_LEN];
    let mut buffer = [0; 2_048];
    let mut index = 0_u64;
    let mut key_until = 0;
    let mut next = Instant::now();
    let mut checked = Instant::now();
    while !counts.stop.load(Ordering::Relaxed) {
        for _ in 0..per_tick {
            let (frame, place) = (index / per_frame, index % per_frame);
            if place == 0 && counts.key_frames.swap(0, Ordering::Relaxed) > 0 {
                key_until = frame + 1;
            }
            let key = frame < key_until || frame == 0;
            write_packet(&mut packet, ssrc, index, frame, place, per_frame, key);
            let len = peer.seal.seal_rtp(&mut packet, PACKET, HEADER, index)?;
            // A full socket buffer is loss on the publisher's side; it shows as lost.
            let _ = peer.socket.send(&packet[..len]);
            index += 1;
        }
        sent.store(index, Ordering::Relaxed);
        while let Ok(len) = peer.socket.recv(&mut buffer) {
            note_key_frame_requests(&mut peer, &buffer[..len], counts);
        }
        if checked.elapsed() > Duration::from_secs(4) {
            checked = Instant::now();
            peer.send_check()?;
        }
        next += tick;
        let now = Instant::now();
        if next > now {
            std::thread::sleep(next - now);
        } else if now - next > Duration::from_millis(100) {
            next = now;
        }
    }
    Ok(())
}

fn note_key_frame_requests(peer: &mut Peer, datagram: &[u8], counts: &Counts) {
    let is_rtcp = datagram.len() > 8 && datagram[0] >> 6 == 2 && (192..=223).contains(&datagram[1]);
    if !is_rtcp {
        return;
    }
    let Ok(plain) = peer.open.open_rtcp(datagram) else {
        return;
    };
    let mut rest = &plain[..];
    while rest.len() >= 4 {
        let len = (usize::from(u16::from_be_bytes([rest[2], rest[3]])) + 1) * 4;
        if rest[1] == 206 && matches!(rest[0] & 0x1f, 1 | 4) {
            counts.key_frames.fetch_add(1, Ordering::Relaxed);
        }
        rest = rest.get(len..).unwrap_or_default();
    }
}

/// A VP8 packet as a browser makes it: picture id of fifteen bits, TL0PICIDX, key frame header at the start of a key frame.
fn write_packet(packet: &mut [u8], ssrc: u32, index: u64, frame: u64, place: u64, per_frame: u64, key: bool) {
    let last = place + 1 == per_frame;
    packet[0] = 0x90;
    packet[1] = VP8 | if last { 0x80 } else { 0 };
    packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&((frame * 3_000) as u32).to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet[12..16].copy_from_slice(&[0xbe, 0xde, 0, 1]);
    packet[16] = TWCC_ID << 4 | 1;
    packet[17..19].copy_from_slice(&(index as u16).to_be_bytes());
    packet[19] = 0;
    let payload = &mut packet[HEADER..];
    let picture = (frame as u16) & 0x7fff | 0x8000;
    payload[0] = 0x80 | if place == 0 { 0x10 } else { 0 };
    payload[1] = 0xc0;
    payload[2..4].copy_from_slice(&picture.to_be_bytes());
    payload[4] = frame as u8;
    payload[5] = u8::from(!key);
    if key && place == 0 {
        payload[6..15].copy_from_slice(&[0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02]);
    }
}

fn receive(mut viewers: Vec<Peer>, counts: Arc<Counts>) -> Result<JoinHandle<Result<()>>> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).context("an epoll instance")?;
    let mut states = Vec::new();
    for (number, viewer) in viewers.iter().enumerate() {
        viewer.socket.set_nonblocking(true)?;
        let _ = socket2::SockRef::from(&viewer.socket).set_recv_buffer_size(1 << 20);
        states.push(UdpSocketState::new(UdpSockRef::from(&viewer.socket))?);
        epoll::add(
            &poll,
            &viewer.socket,
            epoll::EventData::new_u64(number as u64),
            epoll::EventFlags::IN,
        )?;
    }
    Ok(std::thread::spawn(move || {
        let mut streams = vec![Stream::default(); viewers.len()];
        let mut buffers: Vec<Vec<u8>> = (0..BATCH_SIZE.min(4)).map(|_| vec![0; 65_535]).collect();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let mut checked = Instant::now();
        let mut turn = 0_u64;
        let timeout = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        while !counts.stop.load(Ordering::Relaxed) {
            events.clear();
            let _ = epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
            for event in &events {
                let number = event.data.u64() as usize;
                drain(
                    &viewers[number],
                    &states[number],
                    &mut streams[number],
                    &mut buffers,
                    &counts,
                )?;
            }
            if checked.elapsed() > Duration::from_secs(1) {
                checked = Instant::now();
                turn += 1;
                for (viewer, stream) in viewers.iter_mut().zip(&streams) {
                    report(viewer, stream)?;
                    if turn.is_multiple_of(5) {
                        viewer.send_check()?;
                    }
                }
            }
        }
        Ok(())
    }))
}

/// What a viewer has seen of its video stream.
#[derive(Clone, Copy, Default)]
struct Stream {
    /// Extended number of the newest packet.
    newest: Option<u64>,
    /// The SSRC the sequence belongs to.
    ssrc: u32,
}

/// Sends a receiver report (RFC 3550 §6.4.2), as a browser does each second.
fn report(viewer: &mut Peer, stream: &Stream) -> Result<()> {
    let Some(newest) = stream.newest else { return Ok(()) };
    let mut plain = [0; 32];
    plain[..8].copy_from_slice(&[0x81, 201, 0, 7, 0, 0, 0, 1]);
    plain[8..12].copy_from_slice(&stream.ssrc.to_be_bytes());
    plain[16..20].copy_from_slice(&(newest as u32).to_be_bytes());
    let sealed = viewer.seal.seal_rtcp(&plain)?;
    viewer.socket.send(&sealed)?;
    Ok(())
}

fn drain(
    viewer: &Peer,
    state: &UdpSocketState,
    stream: &mut Stream,
    buffers: &mut [Vec<u8>],
    counts: &Counts,
) -> Result<()> {
    let socket: &UdpSocket = &viewer.socket;
    let mut metas = [RecvMeta::default(); 4];
    let metas = &mut metas[..buffers.len()];
    let mut slices: Vec<IoSliceMut<'_>> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
    let Ok(filled) = state.recv(UdpSockRef::from(socket), &mut slices, metas) else {
        return Ok(());
    };
    for (meta, buffer) in metas.iter().zip(buffers).take(filled) {
        for datagram in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
            let is_media = datagram.len() > HEADER && datagram[0] >> 6 == 2 && !(192..=223).contains(&datagram[1]);
            if is_media {
                note(viewer, stream, datagram, counts);
            }
        }
    }
    Ok(())
}

fn note(viewer: &Peer, stream: &mut Stream, datagram: &mut [u8], counts: &Counts) {
    if datagram[1] & 0x7f != VP8 {
        return;
    }
    let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
    let ssrc = u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
    let newest = match stream.newest {
        Some(newest) if ssrc == stream.ssrc => newest,
        _ => u64::from(sequence).wrapping_sub(1) & 0xffff,
    };
    let step = sequence.wrapping_sub(newest as u16) as i16;
    let number = newest.wrapping_add_signed(i64::from(step));
    counts.received.fetch_add(1, Ordering::Relaxed);
    if step > 1 {
        counts.lost.fetch_add(step as u64 - 1, Ordering::Relaxed);
    } else if step < 0 {
        counts.lost.fetch_sub(1, Ordering::Relaxed);
    }
    *stream = Stream {
        newest: Some(number.max(newest)),
        ssrc,
    };
    // Opening all of them would make the generator the bottleneck; one in 64 shows that the keys and the rewriting are right.
    if number % 64 == 0
        && viewer
            .open
            .open_rtp(datagram, 12 + extension_len(datagram), number)
            .is_ok()
    {
        counts.verified.fetch_add(1, Ordering::Relaxed);
    }
}

fn extension_len(packet: &[u8]) -> usize {
    if packet[0] & 0x10 == 0 {
        0
    } else {
        4 + 4 * usize::from(u16::from_be_bytes([packet[14], packet[15]]))
    }
}
