//! The media socket: one UDP socket per shard, dual-stack where the address is `[::]`, with GRO on receive and GSO on send.
//!
//! Addresses are normalised here: an IPv4 peer is always an IPv4 address inside, whichever kind of socket carries it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the driver's sockets"
)]

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, Socket, Type};

use crate::batch::Cargo;
use crate::limits;
use crate::outbox::{Sent, Sink};
use crate::path::Path;

/// Biggest UDP payload the kernel hands over in one buffer, coalesced or not.
const RECEIVE_BUFFER: usize = 65_535;
/// Buffers per receive call. Each may hold a GRO batch; more would only spread the cache.
const RECEIVE_BUFFERS: usize = if BATCH_SIZE < 8 { BATCH_SIZE } else { 8 };

/// Whether the kernel takes several datagrams in one call. Found out by trying: neither the kernel nor a driver says so before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segmentation {
    /// Until it refuses.
    Used,
    /// It has refused what it took one by one. It is not asked again.
    Refused,
}

impl Segmentation {
    /// Sends `contents` in datagrams of `segment` bytes through `call`, which is given the segment size if there is more than one.
    pub(crate) fn send(
        &mut self,
        contents: &[u8],
        segment: usize,
        mut call: impl FnMut(&[u8], Option<usize>) -> io::Result<()>,
    ) -> Sent {
        if contents.len() <= segment {
            return outcome(call(contents, None));
        }
        let mut by_refusal = false;
        if *self == Self::Used {
            match call(contents, Some(segment)) {
                Err(error) if refuses_segments(&error) => by_refusal = true,
                other => return outcome(other),
            }
        }
        for datagram in contents.chunks(segment.max(1)) {
            match outcome(call(datagram, None)) {
                Sent::All => {}
                // That path is the trouble, or the moment, not the segmentation.
                other => return other,
            }
        }
        if by_refusal {
            tracing::warn!("the kernel refuses segmented sends; every datagram costs a call from now on");
            *self = Self::Refused;
        }
        Sent::All
    }
}

/// What a kernel or driver without segmentation answers (udp(7); EIO from the transmit path of devices without checksum offload).
fn refuses_segments(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::IO | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOPROTOOPT)
    )
}

fn outcome(result: io::Result<()>) -> Sent {
    match result {
        Ok(()) => Sent::All,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Full,
        Err(_) => Sent::Refused,
    }
}

/// What one receive call brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Datagrams handed on.
    pub(crate) datagrams: usize,
    /// Whether more may be waiting.
    pub(crate) more: bool,
}

/// A bound media socket.
pub(crate) struct MediaSocket {
    socket: Socket,
    state: UdpSocketState,
    segmentation: Segmentation,
    /// Bound to one address: answers leave from it without being told to.
    has_address: bool,
    /// Whether peers must be written as IPv4-mapped IPv6 addresses.
    is_v6: bool,
    local: SocketAddr,
    buffers: Vec<Box<[u8]>>,
    metas: [RecvMeta; RECEIVE_BUFFERS],
}

impl MediaSocket {
    /// Binds `address`. `[::]` takes IPv4 as well.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // An explicit IPv6 address serves IPv6 only; the unspecified one serves both.
            socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
        }
        socket.bind(&address.into())?;
        Self::of(socket)
    }

    /// Takes one that is bound, and sets it up.
    pub(crate) fn of(socket: Socket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // The kernel may grant less (net.core.rmem_max); that is no error, only less slack in a burst.
        // Whoever bound it may have had the right to more.
        if socket.recv_buffer_size()? < limits::SOCKET_BUFFER_BYTES {
            let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), limits::SOCKET_BUFFER_BYTES);
        }
        if socket.send_buffer_size()? < limits::SOCKET_BUFFER_BYTES {
            let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), limits::SOCKET_BUFFER_BYTES);
        }
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("the media socket has no IP address"))?;
        Ok(Self {
            segmentation: Segmentation::Used,
            has_address: !local.ip().is_unspecified(),
            is_v6: local.is_ipv6(),
            local,
            buffers: (0..RECEIVE_BUFFERS)
                .map(|_| vec![0; RECEIVE_BUFFER].into_boxed_slice())
                .collect(),
            metas: [RecvMeta::default(); RECEIVE_BUFFERS],
            state,
            socket,
        })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams one send call may hold, 1 where the kernel has no GSO.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Receives one batch and hands each datagram to `handle`.
    pub(crate) fn receive(&mut self, mut handle: impl FnMut(Path, &mut [u8])) -> io::Result<Received> {
        let mut slices = self.buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; RECEIVE_BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(slices.next().map_or(&mut [], |buffer| &mut buffer[..])));
        let filled = match self
            .state
            .recv(UdpSockRef::from(&self.socket), &mut slices, &mut self.metas)
        {
            Ok(filled) => filled,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Received {
                    datagrams: 0,
                    more: false,
                });
            }
            Err(error) => return Err(error),
        };
        let mut datagrams = 0;
        for (meta, buffer) in self.metas.iter().zip(&mut self.buffers).take(filled) {
            let path = Path::udp(meta.addr, meta.dst_ip);
            let stride = meta.stride.max(1);
            for datagram in buffer[..meta.len].chunks_mut(stride) {
                handle(path, datagram);
                datagrams += 1;
            }
        }
        Ok(Received {
            datagrams,
            more: filled == RECEIVE_BUFFERS,
        })
    }
}

impl Sink for MediaSocket {
    fn send(&mut self, path: Path, contents: &[u8], segment: usize, _: Cargo) -> Sent {
        let destination = if self.is_v6 {
            mapped(path.remote())
        } else {
            path.remote()
        };
        let (socket, state, has_address) = (&self.socket, &self.state, self.has_address);
        self.segmentation.send(contents, segment, |contents, segment_size| {
            if has_address && segment_size.is_none() {
                // Without control messages a send is cheaper by a tenth.
                rustix::net::sendto(socket, contents, SendFlags::empty(), &destination)?;
                return Ok(());
            }
            let transmit = quinn_udp::Transmit {
                destination,
                ecn: None,
                contents,
                segment_size,
                src_ip: path.local().filter(|_| !has_address),
            };
            state.try_send(UdpSockRef::from(socket), &transmit)
        })
    }
}

impl AsFd for MediaSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 @ SocketAddr::V6(_) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tested with a socket that shares no code with it.
    fn exchange(bind: &str, from: &str) {
        let Ok(socket) = MediaSocket::bind(bind.parse().expect("address")) else {
            assert!(bind.contains(':') && bind.starts_with('['), "only IPv6 may be missing");
            return;
        };
        exchange_on(socket, from);
    }

    #[test]
    fn a_socket_that_others_have_bound_is_set_up_like_ones_own() {
        let own = MediaSocket::bind("127.0.0.1:0".parse().expect("address")).expect("a port");
        let bound = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let given = MediaSocket::of(bound.into()).expect("set up");
        assert_eq!(given.max_segments(), own.max_segments());
        assert_eq!(given.state.gro_segments(), own.state.gro_segments());
        let buffers = |socket: &MediaSocket| {
            (
                socket.socket.recv_buffer_size().ok(),
                socket.socket.send_buffer_size().ok(),
            )
        };
        assert_eq!(buffers(&given), buffers(&own));
        exchange_on(given, "127.0.0.1:0");
        // From any address: answers leave from the one that was asked.
        exchange_on(
            MediaSocket::of(std::net::UdpSocket::bind("0.0.0.0:0").expect("a port").into()).expect("set up"),
            "127.0.0.2:0",
        );
    }

    fn exchange_on(mut socket: MediaSocket, from: &str) {
        let client = std::net::UdpSocket::bind(from).expect("a loopback socket");
        let to = SocketAddr::new(client.local_addr().expect("bound").ip(), socket.local().port());
        client.send_to(b"hello", to).expect("sent on loopback");
        let mut got = Vec::new();
        while socket
            .receive(|path, datagram| got.push((path, datagram.to_vec())))
            .expect("receive")
            .datagrams
            == 0
        {
            std::thread::yield_now();
        }
        assert_eq!(got[0].1, b"hello");
        let path = got[0].0;
        assert_eq!(
            path.remote(),
            client.local_addr().expect("bound"),
            "normalised to the family the peer uses"
        );
        assert_eq!(socket.send(path, b"aabbc", 2, Cargo::Video), Sent::All);
        let mut buffer = [0; 16];
        for expected in [&b"aa"[..], b"bb", b"c"] {
            let (len, source) = client.recv_from(&mut buffer).expect("an answer");
            assert_eq!(&buffer[..len], expected);
            assert_eq!(source, to, "answered from the address that was asked");
        }
    }

    #[test]
    fn a_kernel_that_refuses_segments_is_asked_once() {
        let mut segmentation = Segmentation::Used;
        let mut calls = Vec::new();
        for _ in 0..2 {
            let sent = segmentation.send(b"aabbc", 2, |contents, segment| {
                calls.push((contents.to_vec(), segment));
                segment.map_or(Ok(()), |_| Err(Errno::IO.into()))
            });
            assert_eq!(sent, Sent::All);
        }
        let single = |contents: &[u8]| (contents.to_vec(), None);
        let singles = [single(b"aa"), single(b"bb"), single(b"c")];
        assert_eq!(calls[0], (b"aabbc".to_vec(), Some(2)));
        assert_eq!(calls[1..4], singles);
        assert_eq!(calls[4..], singles, "the refusal is remembered");
    }

    #[test]
    fn a_path_that_refuses_everything_does_not_end_segmentation() {
        let mut segmentation = Segmentation::Used;
        let sent = segmentation.send(b"aabb", 2, |_, _| Err(Errno::INVAL.into()));
        assert_eq!((sent, segmentation), (Sent::Refused, Segmentation::Used));
        let sent = segmentation.send(b"aabb", 2, |_, _| Err(Errno::AGAIN.into()));
        assert_eq!((sent, segmentation), (Sent::Full, Segmentation::Used));
        let sent = segmentation.send(b"aabb", 2, |_, _| Err(Errno::MSGSIZE.into()));
        assert_eq!((sent, segmentation), (Sent::Refused, Segmentation::Used));
    }

    #[test]
    fn datagrams_cross_both_ways_with_segmentation() {
        exchange("127.0.0.1:0", "127.0.0.1:0");
        exchange("0.0.0.0:0", "127.0.0.2:0");
        exchange("[::]:0", "127.0.0.1:0");
        exchange("[::]:0", "[::1]:0");
    }
}
