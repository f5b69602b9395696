//! Sockets that are read and forgotten: the receiving half of the floor.

use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::{Timespec, epoll};

/// Reads `sockets` until told to stop, with the same calls the generator's viewers use.
pub(crate) fn drain(sockets: &[UdpSocket], stop: &AtomicBool) -> Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).context("an epoll instance")?;
    let mut states = Vec::new();
    for (number, socket) in sockets.iter().enumerate() {
        socket.set_nonblocking(true)?;
        states.push(UdpSocketState::new(UdpSockRef::from(socket))?);
        epoll::add(
            &poll,
            socket,
            epoll::EventData::new_u64(number as u64),
            epoll::EventFlags::IN,
        )?;
    }
    let mut buffers: Vec<Vec<u8>> = (0..4).map(|_| vec![0; 65_535]).collect();
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    while !stop.load(Ordering::Relaxed) {
        events.clear();
        let _ = epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
        for event in &events {
            let number = event.data.u64() as usize;
            let mut metas = [RecvMeta::default(); 4];
            let mut slices: Vec<IoSliceMut<'_>> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            let _ = states[number].recv(UdpSockRef::from(&sockets[number]), &mut slices, &mut metas);
        }
    }
    Ok(())
}
