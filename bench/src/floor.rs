//! The floor: the same datagrams by the same plan from one thread without any logic. No server can be below it on this machine at
//! this moment, so ratios to it say what the server itself costs.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use dimpl::SrtpProfile;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::event::epoll;
use rustix::time::{ClockId, clock_gettime};

use crate::dtls::Profile;
use crate::load::Receivers;
use crate::source::{Schedule, Source};
use crate::srtp::{MAX_TAG, SessionKeys};
use crate::stats::{Samples, micros_each};
use crate::wire::Media;

/// Which floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `send_to`, one datagram a call, no crypto.
    Plain,
    /// Sealed, a whole frame in one GSO call: its packets are padded to one length.
    Best,
}

/// What the floor does.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) kind: Kind,
    /// Every stream and to how many sockets of its own it goes.
    pub(crate) streams: &'a [(Source, usize)],
    pub(crate) profile: Option<Profile>,
    pub(crate) time: Duration,
    pub(crate) receivers: Receivers,
}

/// What it cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// Processor time for a packet sent, microseconds. The kernel's receiving half is in it, on loopback.
    pub(crate) send_us: f64,
    /// For a packet received, by coalesced batches as the streams allow.
    pub(crate) receive_us: f64,
    /// To open one packet of each size in turn, without I/O. Zero in the plain one.
    pub(crate) open_us: f64,
    /// From the beginning of a frame's sending to a packet's arrival: audio, video.
    pub(crate) latencies: (Samples, Samples),
}

impl Cost {
    /// Of `received` packets taken in and `sent` ones sent, for each of both.
    pub(crate) fn each(&self, received: u64, sent: u64) -> f64 {
        let (received, sent) = (received as f64, sent as f64);
        (received * (self.receive_us + self.open_us) + sent * self.send_us) / (received + sent).max(1.0)
    }
}

/// Runs it.
pub(crate) fn measure(plan: &Plan<'_>) -> Result<Cost> {
    let total: usize = plan.streams.iter().map(|(_, targets)| targets).sum();
    let sinks: Vec<UdpSocket> = (0..total)
        .map(|_| UdpSocket::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let mut addresses = sinks.iter().map(UdpSocket::local_addr);
    let mut streams = Vec::new();
    for (source, targets) in plan.streams {
        let targets: Vec<SocketAddr> = addresses.by_ref().take(*targets).collect::<Result<_, _>>()?;
        streams.push((*source, targets));
    }
    let began = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let draining = {
        let (stop, receivers) = (Arc::clone(&stop), plan.receivers);
        std::thread::Builder::new()
            .name(crate::load::RECEIVING.to_owned())
            .spawn(move || drain(&sinks, receivers, &stop, began))?
    };
    let (kind, profile, time) = (plan.kind, plan.profile, plan.time);
    let sending = std::thread::spawn(move || send(kind, &streams, profile, time, began));
    let sent = sending.join().map_err(|_| anyhow!("the floor's thread panicked"));
    stop.store(true, Ordering::Relaxed);
    let drained = draining.join().map_err(|_| anyhow!("the sink's thread panicked"))??;
    let (packets, used) = sent??;
    Ok(Cost {
        send_us: micros_each(used, packets),
        receive_us: micros_each(drained.used, drained.packets),
        open_us: match kind {
            Kind::Plain => 0.0,
            Kind::Best => open_cost(plan)?,
        },
        latencies: drained.latencies,
    })
}

/// Seals one packet after the other.
enum Seal {
    Gcm(Box<LessSafeKey>),
    Sha1(Box<SessionKeys>),
}

fn sha1_keys(client: bool) -> Result<Box<SessionKeys>> {
    let material = [7; 2 * (16 + 14)];
    Ok(Box::new(SessionKeys::new(
        &material,
        SrtpProfile::AES128_CM_SHA1_80,
        client,
    )?))
}

impl Seal {
    fn new(profile: Option<Profile>) -> Result<Self> {
        match profile {
            Some(Profile::Sha1) => Ok(Self::Sha1(sha1_keys(true)?)),
            _ => Ok(Self::Gcm(Box::new(LessSafeKey::new(UnboundKey::new(
                &AES_256_GCM,
                &[7; 32],
            )?)))),
        }
    }

    /// Bytes it adds.
    fn tag(&self) -> usize {
        match self {
            Self::Gcm(_) => 16,
            Self::Sha1(_) => 10,
        }
    }

    /// Seals `slot`, which ends with the room for the tag.
    fn seal(&self, slot: &mut [u8], index: u64) -> Result<()> {
        const HEADER: usize = 20;
        let len = slot.len() - self.tag();
        match self {
            Self::Gcm(key) => {
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&index.to_be_bytes());
                let (body, tag) = slot.split_at_mut(len);
                let (header, payload) = body.split_at_mut(HEADER);
                let nonce = Nonce::assume_unique_for_key(nonce);
                let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)?;
                tag.copy_from_slice(sealed.as_ref());
            }
            Self::Sha1(keys) => {
                keys.rtp_seal.seal(slot, len, HEADER, index)?;
            }
        }
        Ok(())
    }
}

/// Marks the media of a floor's datagram behind its time of sending.
const MARK: usize = 8;

/// Sends until the time is over; gives the number of packets and what they cost.
fn send(
    kind: Kind,
    streams: &[(Source, Vec<SocketAddr>)],
    profile: Option<Profile>,
    time: Duration,
    began: Instant,
) -> Result<(u64, Duration)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let seal = Seal::new(profile)?;
    let sources: Vec<Source> = streams.iter().map(|(source, _)| *source).collect();
    let mut schedule = Schedule::new(&sources);
    let mut frames = vec![0_u64; streams.len()];
    let plain = vec![0x5a; 2_048];
    let (mut buffer, mut sizes) = (vec![0; 64 * 1_024], Vec::new());
    let (mut index, mut packets) = (0_u64, 0_u64);
    let start = began.elapsed();
    let cpu = thread_cpu();
    while let Some((due, stream)) = schedule.peek() {
        let now = began.elapsed() - start;
        if now >= time {
            break;
        }
        if due > now {
            std::thread::sleep((due - now).min(time - now));
            continue;
        }
        let (source, targets) = &streams[stream];
        source.sizes(frames[stream], &mut sizes);
        frames[stream] += 1;
        let longest = sizes.iter().copied().max().unwrap_or(0);
        let mut stamp = [0; MARK + 1];
        stamp[..MARK].copy_from_slice(&(began.elapsed().as_nanos() as u64).to_be_bytes());
        stamp[MARK] = u8::from(source.media() == Media::Video);
        for target in targets {
            match kind {
                Kind::Plain => {
                    for size in &sizes {
                        // The copy stands for the one any forwarder makes into its send buffer.
                        let len = size + seal.tag();
                        buffer[..len].copy_from_slice(&plain[..len]);
                        buffer[..stamp.len()].copy_from_slice(&stamp);
                        let _ = socket.send_to(&buffer[..len], target);
                    }
                }
                Kind::Best => {
                    let segment = longest + seal.tag();
                    for slot in buffer[..segment * sizes.len()].chunks_exact_mut(segment) {
                        index += 1;
                        slot[..longest].copy_from_slice(&plain[..longest]);
                        slot[..stamp.len()].copy_from_slice(&stamp);
                        seal.seal(slot, index)?;
                    }
                    let transmit = Transmit {
                        destination: *target,
                        ecn: None,
                        contents: &buffer[..segment * sizes.len()],
                        segment_size: (sizes.len() > 1).then_some(segment),
                        src_ip: None,
                    };
                    let _ = state.try_send(UdpSockRef::from(&socket), &transmit);
                }
            }
            packets += sizes.len() as u64;
        }
        let late = (now - due > Duration::from_millis(100)).then_some(now);
        schedule.advance(source.interval(), late);
    }
    Ok((packets, thread_cpu() - cpu))
}

/// What opening costs, over the sizes of the streams.
fn open_cost(plan: &Plan<'_>) -> Result<f64> {
    let mut lengths = Vec::new();
    let mut sizes = Vec::new();
    for (source, _) in plan.streams.iter().take(8) {
        for frame in 0..6 {
            source.sizes(frame, &mut sizes);
            lengths.extend_from_slice(&sizes);
        }
    }
    let profile = match plan.profile {
        Some(Profile::Sha1) => SrtpProfile::AES128_CM_SHA1_80,
        Some(Profile::Gcm128) => SrtpProfile::AEAD_AES_128_GCM,
        _ => SrtpProfile::AEAD_AES_256_GCM,
    };
    let material = [7; 2 * (32 + 14)];
    let (client, server) = (
        SessionKeys::new(&material, profile, true)?,
        SessionKeys::new(&material, profile, false)?,
    );
    let mut sealed = Vec::new();
    for index in 0..2_000_u64 {
        let len = lengths[index as usize % lengths.len()];
        let mut packet = vec![0x5a; len + MAX_TAG];
        let total = client.rtp_seal.seal(&mut packet, len, 20, index)?;
        packet.truncate(total);
        sealed.push(packet);
    }
    let before = thread_cpu();
    for (index, packet) in sealed.iter_mut().enumerate() {
        server.rtp_open.open(packet, 20, index as u64)?;
    }
    Ok(micros_each(thread_cpu() - before, sealed.len() as u64))
}

/// What the receiving half saw and used.
#[derive(Default)]
struct Drained {
    packets: u64,
    used: Duration,
    latencies: (Samples, Samples),
}

/// Reads `sockets` until told to stop, with the same calls the load's receivers use.
fn drain(sockets: &[UdpSocket], receivers: Receivers, stop: &AtomicBool, began: Instant) -> Result<Drained> {
    const BUFFERS: usize = 4;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).context("an epoll instance")?;
    let mut states = Vec::new();
    for (number, socket) in sockets.iter().enumerate() {
        socket.set_nonblocking(true)?;
        let _ = socket2::SockRef::from(socket).set_recv_buffer_size(1 << 20);
        states.push(UdpSocketState::new(UdpSockRef::from(socket))?);
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&poll, socket, data, epoll::EventFlags::IN)?;
    }
    let mut buffers: Vec<Vec<u8>> = (0..BUFFERS).map(|_| vec![0; 65_535]).collect();
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    let mut drained = Drained::default();
    let cpu = thread_cpu();
    while !stop.load(Ordering::Relaxed) {
        events.clear();
        let patience = receivers.wait(Duration::from_millis(5));
        let _ = epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&patience));
        for event in &events {
            let number = event.data.u64() as usize;
            let mut metas = [RecvMeta::default(); BUFFERS];
            let mut slices: Vec<IoSliceMut<'_>> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            let received = states[number].recv(UdpSockRef::from(&sockets[number]), &mut slices, &mut metas);
            let now = began.elapsed().as_nanos() as u64;
            for (meta, buffer) in metas.iter().zip(&buffers).take(received.unwrap_or(0)) {
                for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                    drained.packets += 1;
                    let Some((stamp, rest)) = datagram.split_first_chunk::<MARK>() else {
                        continue;
                    };
                    let samples = match rest.first() {
                        Some(0) => &mut drained.latencies.0,
                        _ => &mut drained.latencies.1,
                    };
                    samples.add(now.saturating_sub(u64::from_be_bytes(*stamp)));
                }
            }
        }
    }
    drained.used = thread_cpu() - cpu;
    Ok(drained)
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_floors_send_all_and_cost_something() {
        let streams = [(Source::Burst { rate: 600 }, 3), (Source::Audio, 2)];
        for kind in [Kind::Plain, Kind::Best] {
            for profile in [None, Some(Profile::Sha1)] {
                let mut cost = measure(&Plan {
                    kind,
                    streams: &streams,
                    profile,
                    time: Duration::from_millis(200),
                    receivers: Receivers::Polling,
                })
                .expect("loopback");
                assert!(cost.send_us > 0.0 && cost.receive_us > 0.0);
                assert_eq!(cost.open_us > 0.0, kind == Kind::Best);
                // The stamp is sealed in neither: it stands in what is the header.
                assert!(cost.latencies.0.summary().count > 0 && cost.latencies.1.summary().count > 0);
                assert!(cost.each(1, 1) < cost.each(1, 0).max(cost.each(0, 1)) + 1e-9);
            }
        }
    }
}
