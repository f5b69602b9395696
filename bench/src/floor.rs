//! The floor: the same datagrams to as many sockets, at the same pace, from one thread without any logic. No server can be below
//! it on this machine at this moment, so ratios to it say what the server itself costs.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustix::time::{ClockId, clock_gettime};

use crate::generator::{PACKET, Shape};
use crate::srtp::TAG_LEN;

/// Which floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `send_to`, one datagram a call, no crypto.
    Plain,
    /// Sealed, in the GSO calls the burst's shape allows.
    Best,
}

/// Processor time of one sent packet.
pub(crate) fn measure(kind: Kind, viewers: usize, rate: u64, shape: Shape, time: Duration) -> Result<Duration> {
    let sinks: Vec<UdpSocket> = (0..viewers)
        .map(|_| UdpSocket::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let targets: Vec<SocketAddr> = sinks.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    let draining = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || crate::sink::drain(&sinks, &stop))
    };
    let sending = std::thread::spawn(move || send(kind, &targets, rate, shape, time));
    let result = sending
        .join()
        .map_err(|_| anyhow::anyhow!("the floor's thread panicked"))?;
    stop.store(true, Ordering::Relaxed);
    draining
        .join()
        .map_err(|_| anyhow::anyhow!("the sink's thread panicked"))??;
    result
}

fn send(kind: Kind, targets: &[SocketAddr], rate: u64, shape: Shape, time: Duration) -> Result<Duration> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32])?);
    let per_tick = match shape {
        Shape::Even => 1,
        Shape::Burst => rate.div_ceil(30),
    } as usize;
    let tick = Duration::from_nanos(1_000_000_000 * per_tick as u64 / rate);
    let segment = PACKET + TAG_LEN;
    let plain = vec![0x5a; PACKET];
    let mut buffer = vec![0; segment * per_tick];
    let mut counter = 0_u64;
    let mut packets = 0_u64;
    let cpu = thread_cpu();
    let began = Instant::now();
    let mut next = began;
    while began.elapsed() < time {
        for target in targets {
            match kind {
                Kind::Plain => {
                    for _ in 0..per_tick {
                        // The copy stands for the one any forwarder makes into its send buffer.
                        buffer[..PACKET].copy_from_slice(&plain);
                        let _ = socket.send_to(&buffer[..segment], target);
                    }
                }
                Kind::Best => {
                    for slot in buffer.chunks_exact_mut(segment) {
                        counter += 1;
                        let mut nonce = [0; 12];
                        nonce[4..].copy_from_slice(&counter.to_be_bytes());
                        let (body, tag) = slot.split_at_mut(PACKET);
                        body.copy_from_slice(&plain);
                        let (header, payload) = body.split_at_mut(20);
                        let nonce = Nonce::assume_unique_for_key(nonce);
                        let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)?;
                        tag.copy_from_slice(sealed.as_ref());
                    }
                    let transmit = Transmit {
                        destination: *target,
                        ecn: None,
                        contents: &buffer,
                        segment_size: (per_tick > 1).then_some(segment),
                        src_ip: None,
                    };
                    let _ = state.try_send(UdpSockRef::from(&socket), &transmit);
                }
            }
            packets += per_tick as u64;
        }
        next += tick;
        let now = Instant::now();
        if next > now {
            std::thread::sleep(next - now);
        } else {
            next = now;
        }
    }
    let used = thread_cpu() - cpu;
    Ok(used / u32::try_from(packets.max(1))?)
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
