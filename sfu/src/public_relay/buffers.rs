//! The buffers that all sockets of the general relay are read into.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use quinn_udp::{BATCH_SIZE, RecvMeta};

use crate::socket::{RECEIVE_BUFFER, UdpPort};

/// From one buffer to the next. With a power of two the beginnings of all of them would fight for the same places of the cache.
const STRIDE: usize = 65_536 + 33 * 64;

/// Where datagrams lie after one receive call.
pub(super) struct Buffers {
    bytes: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
}

/// Some datagrams from one address.
pub(super) struct Arrived {
    /// Who sent them.
    pub(super) from: SocketAddr,
    /// Which address of ours they came to, if the socket tells.
    pub(super) to: Option<IpAddr>,
    /// Where they lie in [`Buffers::bytes`], one behind the other.
    at: Range<usize>,
    /// The length of each; the last may be shorter.
    each: usize,
}

impl Arrived {
    /// Where each of them lies.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (at, each) = (self.at.clone(), self.each.max(1));
        // An empty datagram is one as well.
        let count = at.len().div_ceil(each).max(1);
        (0..count).map(move |number| {
            let start = at.start + number * each;
            start..at.end.min(start + each)
        })
    }
}

impl Buffers {
    /// As many as one call fills.
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH_SIZE * STRIDE].into_boxed_slice(),
            metas: [RecvMeta::default(); BATCH_SIZE],
        }
    }

    /// Receives once from a socket. How many buffers were filled.
    pub(super) fn fill(&mut self, socket: &UdpPort) -> io::Result<usize> {
        let mut slices = self.bytes.chunks_exact_mut(STRIDE);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| {
            IoSliceMut::new(
                slices
                    .next()
                    .map_or(&mut [][..], |buffer| &mut buffer[..RECEIVE_BUFFER]),
            )
        });
        socket.receive(&mut slices, &mut self.metas)
    }

    /// What one of the buffers of the last call holds.
    pub(super) fn arrived(&self, buffer: usize) -> Arrived {
        let meta = &self.metas[buffer];
        let start = buffer * STRIDE;
        Arrived {
            from: SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port()),
            to: meta.dst_ip.map(|ip| ip.to_canonical()),
            at: start..start + meta.len,
            each: meta.stride,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
