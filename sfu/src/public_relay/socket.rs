//! Sockets of the general relay, and the buffers that all of them are read into.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the sockets of the relay's driver"
)]

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits;
use crate::outbox::Sent;
use crate::socket::{Segmentation, mapped};

/// Biggest UDP payload the kernel hands over in one buffer, coalesced or not.
const RECEIVE_BUFFER: usize = 65_535;
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

/// A socket for clients, or one relayed address.
pub(super) struct RelaySocket {
    socket: Socket,
    state: UdpSocketState,
    segmentation: Segmentation,
    /// Bound to one address: what is sent leaves from it without being told to.
    has_address: bool,
    /// Whether others must be written as IPv4-mapped IPv6 addresses.
    is_v6: bool,
}

impl RelaySocket {
    /// Binds `address`. `[::]` takes IPv4 as well, unless `only_v6`.
    pub(super) fn bind(address: SocketAddr, only_v6: bool, buffer_bytes: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(only_v6 || address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
        }
        socket.bind(&address.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // The kernel may grant less (net.core.rmem_max); that is no error, only less slack in a burst.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), buffer_bytes);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), buffer_bytes);
        Ok(Self {
            segmentation: Segmentation::Used,
            has_address: !address.ip().is_unspecified(),
            is_v6: address.is_ipv6(),
            state,
            socket,
        })
    }

    /// Where it is bound.
    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        let local = self.socket.local_addr()?.as_socket();
        local.ok_or_else(|| io::Error::other("a relay's socket has no IP address"))
    }

    /// Datagrams one send call may hold.
    pub(super) fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Receives once. How many buffers were filled.
    pub(super) fn receive(&self, buffers: &mut Buffers) -> io::Result<usize> {
        let mut slices = buffers.bytes.chunks_exact_mut(STRIDE);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| {
            IoSliceMut::new(
                slices
                    .next()
                    .map_or(&mut [][..], |buffer| &mut buffer[..RECEIVE_BUFFER]),
            )
        });
        match self
            .state
            .recv(UdpSockRef::from(&self.socket), &mut slices, &mut buffers.metas)
        {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Sends datagrams of `segment` bytes to one address, from that of ours which they came to.
    pub(super) fn send(&mut self, to: SocketAddr, from: Option<IpAddr>, contents: &[u8], segment: usize) -> Sent {
        let destination = if self.is_v6 { mapped(to) } else { to };
        let (socket, state, has_address) = (&self.socket, &self.state, self.has_address);
        self.segmentation.send(contents, segment, |contents, segment_size| {
            if (has_address || from.is_none()) && segment_size.is_none() {
                // Without control messages a send is cheaper by a tenth.
                rustix::net::sendto(socket, contents, SendFlags::empty(), &destination)?;
                return Ok(());
            }
            let transmit = quinn_udp::Transmit {
                destination,
                ecn: None,
                contents,
                segment_size,
                src_ip: from.filter(|_| !has_address),
            };
            state.try_send(UdpSockRef::from(socket), &transmit)
        })
    }
}

impl AsFd for RelaySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Bytes that a client's own socket buffers, in each direction.
pub(super) const CLIENTS_BUFFER: usize = limits::SOCKET_BUFFER_BYTES;
