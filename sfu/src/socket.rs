//! UDP sockets with GRO on receive and GSO on send, and the media socket: one of them per shard, dual-stack where the address is `[::]`.
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
use std::time::Instant;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Ipv6DontFrag;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::{SendFlags, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::batch::Cargo;
use crate::limits;
use crate::outbox::{Sent, Sink};
use crate::path::Path;
use crate::steering::{self, Lane, Rule};

/// Biggest UDP payload the kernel hands over in one buffer, coalesced or not.
pub(crate) const RECEIVE_BUFFER: usize = 65_535;
/// Buffers per receive call. Each may hold a GRO batch; more would only spread the cache.
const RECEIVE_BUFFERS: usize = if BATCH_SIZE < 8 { BATCH_SIZE } else { 8 };
/// The same for requests in a flood: GRO puts up to 64 of one sender into each, and media waits meanwhile. Without GRO on their socket media would
/// lose its own, for the kernel looks whether to use it before the program has chosen.
const REQUEST_BUFFERS: usize = if RECEIVE_BUFFERS < 2 { RECEIVE_BUFFERS } else { 2 };

/// Whether the kernel takes several datagrams in one call. Found out by trying: neither the kernel nor a driver says so before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segmentation {
    /// Until it refuses.
    Used,
    /// It has refused what it took one by one. It is not asked again.
    Refused,
}

impl Segmentation {
    /// Sends `contents` in datagrams of `segment` bytes through `call`, which is given the segment size if there is more than one.
    fn send(
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

/// What a link answers that does not carry datagrams of this length whole.
fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw_os_error) == Some(Errno::MSGSIZE)
}

fn outcome(result: io::Result<()>) -> Sent {
    match result {
        Ok(()) => Sent::All,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Full,
        Err(_) => Sent::Refused,
    }
}

/// What becomes of a datagram that is longer than a link on its way carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oversize {
    /// It is lost: what is sent is known to fit everywhere, and a path that drops fragments would hide what is wrong.
    Lost,
    /// It goes on in fragments. Over IPv6 only its sender may make them: by the MTU of its own link, for what routers say is not believed.
    Fragmented,
}

/// A UDP socket that sends runs and receives batches. Addresses are those that a peer has in its own family.
pub(crate) struct UdpPort {
    socket: Socket,
    state: UdpSocketState,
    segmentation: Segmentation,
    /// What the kernel told at first. The library forgets it at the first refusal, which may be about one path or one length alone.
    max_segments: usize,
    oversize: Oversize,
    /// Bound to one address: what is sent leaves from it without being told to.
    has_address: bool,
    /// Whether others must be written as IPv4-mapped IPv6 addresses.
    is_v6: bool,
    local: SocketAddr,
}

/// Bytes of a datagram that every path takes whole (RFC 8200 §5, less the headers of IPv6 and UDP).
const FITS_EVERYWHERE: usize = 1_280 - 48;

impl UdpPort {
    /// Binds `address`. `[::]` takes IPv4 as well, unless `only_v6`; an explicit IPv6 address serves IPv6 only.
    pub(crate) fn bind(
        address: SocketAddr,
        only_v6: bool,
        oversize: Oversize,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(only_v6 || address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
        }
        socket.bind(&address.into())?;
        Self::of(socket, oversize, buffer_bytes)
    }

    /// Takes one that is bound, and sets it up.
    fn of(socket: Socket, oversize: Oversize, buffer_bytes: usize) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        if oversize == Oversize::Fragmented {
            allow_fragments(&socket, socket.local_addr()?.is_ipv6())?;
        }
        // The kernel may grant less (net.core.rmem_max); that is no error, only less slack in a burst.
        // Whoever bound it may have had the right to more.
        if socket.recv_buffer_size()? < buffer_bytes {
            let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), buffer_bytes);
        }
        if socket.send_buffer_size()? < buffer_bytes {
            let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), buffer_bytes);
        }
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("a UDP socket has no IP address"))?;
        Ok(Self {
            segmentation: Segmentation::Used,
            max_segments: state.max_gso_segments(),
            oversize,
            has_address: !local.ip().is_unspecified(),
            is_v6: local.is_ipv6(),
            local,
            state,
            socket,
        })
    }

    /// Where it is bound.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams one send call may hold, 1 where the kernel has no GSO.
    pub(crate) fn max_segments(&self) -> usize {
        self.max_segments
    }

    /// Receives once. How many buffers were filled, 0 if nothing is there.
    pub(crate) fn receive(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        match self.state.recv(UdpSockRef::from(&self.socket), buffers, metas) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Sends datagrams of `segment` bytes to one address, from the one of ours that it knows.
    pub(crate) fn send(&mut self, to: SocketAddr, from: Option<IpAddr>, contents: &[u8], segment: usize) -> Sent {
        let destination = if self.is_v6 { mapped(to) } else { to };
        let (socket, state, has_address) = (&self.socket, &self.state, self.has_address);
        let call = |contents: &[u8], segment_size: Option<usize>| {
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
        };
        let is_plain = self.oversize == Oversize::Lost || segment <= FITS_EVERYWHERE || contents.len() <= segment;
        if is_plain || self.segmentation == Segmentation::Refused {
            return self.segmentation.send(contents, segment, call);
        }
        // What must be cut into fragments cannot be cut into segments. A refusal says nothing of shorter datagrams.
        match call(contents, Some(segment)) {
            Err(error) if refuses_segments(&error) || is_too_long(&error) => {
                Segmentation::Refused.send(contents, segment, call)
            }
            other => outcome(other),
        }
    }

    /// As [`Self::send`] for datagrams that are rather lost than fragmented. Some system calls more: for what is rare.
    pub(crate) fn send_whole(&mut self, to: SocketAddr, from: Option<IpAddr>, contents: &[u8], segment: usize) -> Sent {
        if self.oversize == Oversize::Lost {
            return self.send(to, from, contents, segment);
        }
        if forbid_fragments(&self.socket, self.is_v6).is_err() {
            return Sent::Refused;
        }
        let sent = self.send(to, from, contents, segment);
        // It worked before.
        let _ = allow_fragments(&self.socket, self.is_v6);
        sent
    }
}

impl AsFd for UdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// DF is clear, and what routers say about path MTUs is not believed: it needs no key to say so.
fn allow_fragments(socket: &Socket, is_v6: bool) -> io::Result<()> {
    sockopt::set_ip_mtu_discover(socket, sockopt::Ipv4PathMtuDiscovery::OMIT)?;
    if is_v6 {
        sockopt::set_ipv6_mtu_discover(socket, sockopt::Ipv6PathMtuDiscovery::OMIT)?;
        // The library that we receive and send with has set it.
        setsockopt(socket, Ipv6DontFrag, &false)?;
    }
    Ok(())
}

/// DF is set, and the link's own MTU is all that counts.
fn forbid_fragments(socket: &Socket, is_v6: bool) -> io::Result<()> {
    sockopt::set_ip_mtu_discover(socket, sockopt::Ipv4PathMtuDiscovery::PROBE)?;
    if is_v6 {
        sockopt::set_ipv6_mtu_discover(socket, sockopt::Ipv6PathMtuDiscovery::PROBE)?;
        setsockopt(socket, Ipv6DontFrag, &true)?;
    }
    Ok(())
}

/// What one receive call brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Datagrams handed on.
    pub(crate) datagrams: usize,
    /// The time they were handed on with, if there were any.
    pub(crate) at: Option<Instant>,
    /// Whether more may be waiting.
    pub(crate) more: bool,
}

/// A bound media socket: one that everything leaves by and, while there is a flood, one beside it that only receives requests.
pub(crate) struct MediaSocket {
    port: UdpPort,
    requests: Option<UdpPort>,
    buffers: Vec<Box<[u8]>>,
    metas: [RecvMeta; RECEIVE_BUFFERS],
}

impl MediaSocket {
    /// Binds `address`. `[::]` takes IPv4 as well.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        UdpPort::bind(address, false, Oversize::Lost, limits::SOCKET_BUFFER_BYTES).map(Self::on)
    }

    /// Takes one that is bound, and sets it up.
    pub(crate) fn of(socket: Socket) -> io::Result<Self> {
        UdpPort::of(socket, Oversize::Lost, limits::SOCKET_BUFFER_BYTES).map(Self::on)
    }

    fn on(port: UdpPort) -> Self {
        Self {
            port,
            requests: None,
            buffers: (0..RECEIVE_BUFFERS)
                .map(|_| vec![0; RECEIVE_BUFFER].into_boxed_slice())
                .collect(),
            metas: [RecvMeta::default(); RECEIVE_BUFFERS],
        }
    }

    /// From now on the kernel keeps requests apart from media: as `rule` says.
    ///
    /// # Errors
    /// What the system answers if it cannot do this. Nothing has changed then.
    pub(crate) fn part(&mut self, rule: Rule) -> io::Result<()> {
        if self.requests.is_none() {
            let socket = steering::part(&self.port.socket, rule)?;
            let port = UdpPort::of(socket, Oversize::Lost, limits::REQUESTS_BUFFER_BYTES);
            if port.is_err() {
                steering::close(&self.port.socket);
            }
            let port = port?;
            // Whatever the system's default is. It may grant less, which is no error.
            let _ = port.socket.set_recv_buffer_size(limits::REQUESTS_BUFFER_BYTES);
            self.requests = Some(port);
        }
        Ok(())
    }

    /// From now on all arrives in one place again. What was not received on the other is lost with [`Self::close_requests`].
    pub(crate) fn join(&mut self) {
        if self.requests.is_some() {
            steering::join(&self.port.socket);
        }
    }

    /// After [`Self::join`].
    pub(crate) fn close_requests(&mut self) {
        if self.requests.take().is_some() {
            steering::close(&self.port.socket);
        }
    }

    #[cfg(test)]
    pub(crate) fn requests(&self) -> Option<&Socket> {
        self.requests.as_ref().map(|port| &port.socket)
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.port.local()
    }

    /// Datagrams one send call may hold, 1 where the kernel has no GSO.
    pub(crate) fn max_segments(&self) -> usize {
        self.port.max_segments()
    }

    /// Receives one batch and hands each datagram to `handle`, with the time at which all of them had come.
    ///
    /// `clock` is read once they are there, not before they are asked for. A thread that is kept from the processor in between finds what has
    /// come since: with the time of before, that would have travelled faster than any packet can, and all later ones would seem to stand in a
    /// queue.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        lane: Lane,
        clock: impl Fn() -> Instant,
        mut handle: impl FnMut(Path, &mut [u8], Instant),
    ) -> io::Result<Received> {
        let (port, most) = match (lane, &self.requests) {
            (Lane::Media, _) => (&self.port, RECEIVE_BUFFERS),
            (Lane::Requests, Some(requests)) => (requests, REQUEST_BUFFERS),
            (Lane::Requests, None) => return Ok(Received::default()),
        };
        let mut slices = self.buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; RECEIVE_BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(slices.next().map_or(&mut [], |buffer| &mut buffer[..])));
        let filled = port.receive(&mut slices[..most], &mut self.metas[..most])?;
        let mut datagrams = 0;
        let mut at = None;
        for (meta, buffer) in self.metas.iter().zip(&mut self.buffers).take(filled) {
            let path = Path::udp(meta.addr, meta.dst_ip);
            let stride = meta.stride.max(1);
            for datagram in buffer[..meta.len].chunks_mut(stride) {
                handle(path, datagram, *at.get_or_insert_with(&clock));
                datagrams += 1;
            }
        }
        Ok(Received {
            datagrams,
            at,
            more: filled == most,
        })
    }
}

impl Sink for MediaSocket {
    fn send(&mut self, path: Path, contents: &[u8], segment: usize, _: Cargo) -> Sent {
        self.port.send(path.remote(), path.local(), contents, segment)
    }
}

/// That of media.
impl AsFd for MediaSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 @ SocketAddr::V6(_) => v6,
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

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
        assert_eq!(given.port.state.gro_segments(), own.port.state.gro_segments());
        let buffers = |socket: &MediaSocket| {
            (
                socket.port.socket.recv_buffer_size().ok(),
                socket.port.socket.send_buffer_size().ok(),
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
            .receive(Lane::Media, Instant::now, |path, datagram, _| {
                got.push((path, datagram.to_vec()));
            })
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
    fn no_datagram_is_given_a_time_at_which_it_had_not_come() {
        let mut socket = MediaSocket::bind("127.0.0.1:0".parse().expect("address")).expect("a port");
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        let mut came = Vec::new();
        let none = socket.receive(
            Lane::Media,
            || unreachable!("nothing has come"),
            |_, _, at| came.push((at, Instant::now())),
        );
        assert_eq!(none.expect("receive").at, None);
        let own = socket.as_fd().try_clone_to_owned().expect("a descriptor");
        let holds_something = || {
            let mut own = [PollFd::new(&own, PollFlags::IN)];
            poll(&mut own, Some(&Timespec::default())).expect("polled") > 0
        };
        client.send_to(b"hello", socket.local()).expect("sent on loopback");
        while !holds_something() {
            std::thread::yield_now();
        }
        let clock = || {
            assert!(!holds_something(), "read after what came was taken");
            Instant::now()
        };
        let received = socket
            .receive(Lane::Media, clock, |_, _, at| came.push((at, Instant::now())))
            .expect("receive");
        assert_eq!((received.datagrams, received.at), (1, Some(came[0].0)));
        assert!(came[0].0 <= came[0].1);
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
    fn what_a_link_does_not_carry_is_fragmented_or_lost_as_was_asked() {
        let discovery = |port: &UdpPort| sockopt::ip_mtu_discover(&port.socket).expect("an option");
        let address = "127.0.0.1:0".parse().expect("address");
        let mut relays = UdpPort::bind(address, true, Oversize::Fragmented, 0).expect("a port");
        assert_eq!(discovery(&relays), sockopt::Ipv4PathMtuDiscovery::OMIT);
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let to = client.local_addr().expect("bound");
        // Longer than a link of Ethernet, two of them, and none of it says anything about segmentation.
        assert_eq!(relays.send(to, None, &[7; 6_000], 3_000), Sent::All);
        assert_eq!(relays.send_whole(to, None, b"aab", 2), Sent::All);
        assert_eq!(discovery(&relays), sockopt::Ipv4PathMtuDiscovery::OMIT, "as before");
        let mut buffer = [0; 4_096];
        for expected in [3_000, 3_000, 2, 1] {
            assert_eq!(client.recv_from(&mut buffer).expect("sent"), (expected, relays.local()));
        }
        let mut media = UdpPort::bind(address, true, Oversize::Lost, 0).expect("a port");
        assert_eq!(media.send_whole(to, None, b"aab", 2), Sent::All);
        assert_eq!(discovery(&media), sockopt::Ipv4PathMtuDiscovery::PROBE);
    }

    // Loopback carries 65,536 bytes with all headers: over IPv6 the longest datagram is longer.
    #[test]
    fn over_ipv6_the_sender_fragments_unless_it_must_not() {
        static LONG: [u8; 65_507] = [7; 65_507];
        let any = "[::]:0".parse().expect("address");
        let Ok(client) = std::net::UdpSocket::bind("[::1]:0") else {
            // A machine without IPv6 has nothing to show here.
            return;
        };
        let to = client.local_addr().expect("bound");
        let mut relays = UdpPort::bind(any, false, Oversize::Fragmented, 1 << 20).expect("a port");
        let mut buffer = vec![0; 65_536];
        for from in [None, Some(to.ip())] {
            assert_eq!(relays.send(to, from, &LONG, LONG.len()), Sent::All);
            assert_eq!(client.recv(&mut buffer).expect("sent"), LONG.len());
            assert_eq!(relays.send_whole(to, from, &LONG, LONG.len()), Sent::Refused);
        }
        assert_eq!(relays.send(to, None, &LONG, LONG.len()), Sent::All, "as before");
        assert_eq!(client.recv(&mut buffer).expect("sent"), LONG.len());
        let mut media = UdpPort::bind(any, false, Oversize::Lost, 1 << 20).expect("a port");
        assert_eq!(media.send(to, None, &LONG, LONG.len()), Sent::Refused);
    }

    #[test]
    fn one_refusal_does_not_change_how_many_segments_a_call_may_hold() {
        let address = "127.0.0.1:0".parse().expect("address");
        let mut port = UdpPort::bind(address, true, Oversize::Fragmented, 0).expect("a port");
        let before = port.max_segments();
        // Linux answers EINVAL to more than 128 segments in a call.
        assert_eq!(port.send(port.local(), None, &[7; 400], 1), Sent::All);
        assert_eq!(port.max_segments(), before);
    }

    #[test]
    fn datagrams_cross_both_ways_with_segmentation() {
        exchange("127.0.0.1:0", "127.0.0.1:0");
        exchange("0.0.0.0:0", "127.0.0.2:0");
        exchange("[::]:0", "127.0.0.1:0");
        exchange("[::]:0", "[::1]:0");
    }
}
