//! One address, two sockets while a flood lasts: requests, of which strangers may send as much as they like, neither stand before media nor take
//! its room.
//!
//! The sockets share their address (`SO_REUSEPORT`), and a classic BPF program picks one for each datagram by its first bytes, which it has counted
//! from the UDP payload. What GRO has put together goes where the first datagram of it goes, so nothing may rely on a lane carrying only its kind.
//!
//! Checks of participants are told from those of strangers by the [`Tag`] that our names in ICE begin with: no flood stands between a participant and
//! their consent (RFC 7675).

#![expect(clippy::disallowed_types, reason = "a socket of the driver's")]

use std::io;

use nix::libc::{BPF_ABS, BPF_B, BPF_H, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_LEN, BPF_RET, BPF_W};
use nix::libc::{sock_filter, sock_fprog};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::AttachReusePortCbpf;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

/// What datagrams are kept apart in. The numbers are those that the program answers: the order in which the sockets joined the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// SRTP, SRTCP, DTLS, what TURN carries, checks that name us, and whatever is not STUN: read first.
    Media = 0,
    /// All other STUN. Anybody may send it: TURN's requests, and checks that name nobody.
    Requests = 1,
}

/// What all our names in ICE begin with, in one shard: 24 bits that participants are told and strangers would have to guess. It is no credential:
/// whoever has it, with a former participant among them, can make what they send stand in line with media, as all stands without a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(
    /// `ice-char`s.
    pub(crate) [u8; 4],
);

/// What goes where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Checks that name it are media.
    pub(crate) tag: Tag,
    /// The lane of TURN's Send indications: media where clients are told of TURN over UDP. Strangers can send them too.
    pub(crate) sends: Lane,
}

/// First bytes of what is not STUN begin here (RFC 7983).
const NOT_STUN: u8 = 4;
/// Binding requests, which ICE checks with.
const BINDING: u16 = 0x0001;
/// TURN's Send indications: they carry media.
const SEND: u16 = 0x0016;
/// The attribute that says who is meant.
const USERNAME: u16 = 0x0006;
/// Where the first attribute begins; where its value begins; where the tag ends. Clients that put another attribute first are served all the same.
const ATTRIBUTE: usize = 20;
const VALUE: usize = 24;
const TAGGED: usize = 28;

impl Lane {
    /// The lane for a datagram: what the kernel's program says as well, of the first datagram that GRO has put together with others.
    #[inline]
    pub(crate) fn of(datagram: &[u8], rule: Rule) -> Self {
        match *datagram {
            [first, second, ..] if first < NOT_STUN => {
                Self::of_stun(u16::from_be_bytes([first, second]), datagram, rule)
            }
            _ => Self::Media,
        }
    }

    fn of_stun(kind: u16, datagram: &[u8], Rule { tag: Tag(tag), sends }: Rule) -> Self {
        let is_named = || {
            datagram.get(ATTRIBUTE..ATTRIBUTE + 2) == Some(&USERNAME.to_be_bytes())
                && datagram.get(VALUE..TAGGED) == Some(&tag)
        };
        match kind {
            SEND => sends,
            BINDING if is_named() => Self::Media,
            _ => Self::Requests,
        }
    }
}

/// Binds a second socket to the address of `first`, which is bound, and has the kernel put into it what is for [`Lane::Requests`].
///
/// `first` was bound without sharing, so a second program with this address has been refused as ever. Until [`close`] a program could join by sharing
/// as well if its user is the one that made `first`; other users' are refused (socket(7)).
///
/// # Errors
/// What the system answers if it cannot do this, or `first` was made by another user (a service manager), or is shared already. `first` is then as it
/// was.
pub(crate) fn part(first: &Socket, rule: Rule) -> io::Result<Socket> {
    if sockopt::socket_reuseport(first)? {
        return Err(io::Error::other("others may have this address already"));
    }
    sockopt::set_socket_reuseport(first, true)?;
    let second = companion(first, rule);
    if second.is_err() {
        close(first);
    }
    second
}

/// Has the kernel put everything into `first` again.
pub(crate) fn join(first: &Socket) {
    // It has taken a longer one.
    let _ = attach(first, &mut [answer(Lane::Media)]);
}

/// The second socket is gone: nobody may share the address any longer, and no program is run for what arrives.
pub(crate) fn close(first: &Socket) {
    // It could be set.
    let _ = sockopt::set_socket_reuseport(first, false);
}

fn companion(first: &Socket, rule: Rule) -> io::Result<Socket> {
    let address = first
        .local_addr()?
        .as_socket()
        .filter(|address| address.port() != 0)
        .ok_or_else(|| io::Error::other("the UDP socket has no address"))?;
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(first.only_v6()?)?;
    }
    sockopt::set_socket_reuseport(&socket, true)?;
    socket.bind(&address.into())?;
    // Until here the kernel chooses by address, and so any lane may be given anything; or there is the program of `join`.
    attach(first, &mut steering(rule))?;
    Ok(socket)
}

/// `jt` and `jf`: how many instructions to leave out.
const fn step(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

const fn answer(lane: Lane) -> sock_filter {
    step(BPF_RET | BPF_K, 0, 0, lane as u32)
}

/// As [`Lane::of`]. A datagram too short for a load is answered 0.
fn steering(Rule { tag: Tag(tag), sends }: Rule) -> [sock_filter; 13] {
    const BYTE: u32 = BPF_LD | BPF_B | BPF_ABS;
    const HALF: u32 = BPF_LD | BPF_H | BPF_ABS;
    const WORD: u32 = BPF_LD | BPF_W | BPF_ABS;
    const LENGTH: u32 = BPF_LD | BPF_W | BPF_LEN;
    const AT_LEAST: u32 = BPF_JMP | BPF_JGE | BPF_K;
    const IS: u32 = BPF_JMP | BPF_JEQ | BPF_K;
    let to_sends = match sends {
        Lane::Requests => 7,
        Lane::Media => 8,
    };
    [
        step(BYTE, 0, 0, 0),
        step(AT_LEAST, 10, 0, u32::from(NOT_STUN)),
        step(HALF, 0, 0, 0),
        step(IS, to_sends, 0, u32::from(SEND)),
        step(IS, 0, 6, u32::from(BINDING)),
        step(LENGTH, 0, 0, 0),
        step(AT_LEAST, 0, 4, TAGGED as u32),
        step(HALF, 0, 0, ATTRIBUTE as u32),
        step(IS, 0, 2, u32::from(USERNAME)),
        step(WORD, 0, 0, VALUE as u32),
        step(IS, 1, 0, u32::from_be_bytes(tag)),
        answer(Lane::Requests),
        answer(Lane::Media),
    ]
}

/// Gives the address of `socket` its program.
fn attach(socket: &Socket, program: &mut [sock_filter]) -> io::Result<()> {
    let program = sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    Ok(setsockopt(socket, AttachReusePortCbpf, &program)?)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "sockets are tested in real time")]
mod tests {
    use std::collections::HashMap;
    use std::net::{SocketAddr, UdpSocket};
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::batch::Cargo;
    use crate::demux::{self, Datagram};
    use crate::limits;
    use crate::outbox::{Sent, Sink};
    use crate::path::Path;
    use crate::socket::MediaSocket;

    const LANES: [Lane; 2] = [Lane::Media, Lane::Requests];
    const RULE: Rule = Rule {
        tag: Tag(*b"a/Z9"),
        sends: Lane::Media,
    };
    /// Nobody was told of TURN over UDP.
    const NO_SENDS: Rule = Rule {
        sends: Lane::Requests,
        ..RULE
    };
    const PATIENCE: Duration = Duration::from_secs(60);

    /// STUN of this kind, whose first attribute is this.
    fn stun(kind: u16, attribute: u16, value: &[u8]) -> Vec<u8> {
        let mut message = kind.to_be_bytes().to_vec();
        message.extend([0, 0, 0x21, 0x12, 0xa4, 0x42]);
        message.extend([7; 12]);
        message.extend(attribute.to_be_bytes());
        message.extend((value.len() as u16).to_be_bytes());
        message.extend(value);
        message
    }

    /// Somebody's check of us.
    fn check() -> Vec<u8> {
        stun(BINDING, USERNAME, b"a/Z9abcdefghijkl:peer")
    }

    /// Datagrams of all kinds, none like another, and their lanes.
    fn datagrams() -> Vec<(Vec<u8>, Lane)> {
        use Lane::{Media, Requests};
        let mut all = vec![
            (check(), Media),
            (check()[..TAGGED].to_vec(), Media),
            (check()[..TAGGED - 1].to_vec(), Requests),
            (check()[..ATTRIBUTE].to_vec(), Requests),
            (stun(BINDING, USERNAME, b"a/Z8abcdefghijkl:peer"), Requests),
            (stun(BINDING, 0x0024, b"a/Z9abcdefghijkl:peer"), Requests),
            (stun(0x0101, USERNAME, b"a/Z9abcdefghijkl:peer"), Requests),
            (vec![1], Media),
            (vec![0, 1], Requests),
            (vec![0, 0x16], Media),
            (vec![3, 0xff], Requests),
            (vec![4, 0], Media),
        ];
        // Every method of STUN that there is, in all classes, and every first byte.
        for method in 0..16 {
            for class in [0x0000, 0x0010, 0x0100, 0x0110] {
                let lane = if method | class == SEND { Media } else { Requests };
                all.push((stun(method | class, USERNAME, b"otherabc:peer"), lane));
            }
        }
        for first in 0..=255_u8 {
            let mut datagram = vec![first, 200, 3];
            datagram.resize(40, 7);
            all.push((datagram, if first < 4 { Requests } else { Media }));
        }
        all
    }

    /// Receives until so many datagrams are there: what came on which lane.
    fn arrived(socket: &mut MediaSocket, expected: usize) -> HashMap<Vec<u8>, Lane> {
        let patience = Instant::now() + PATIENCE;
        let mut arrived = HashMap::new();
        while arrived.len() < expected {
            assert!(Instant::now() < patience, "only {arrived:?} of {expected} arrived");
            for lane in LANES {
                let note = |_, datagram: &mut [u8], _| _ = arrived.insert(datagram.to_vec(), lane);
                socket.receive(lane, Instant::now, note).expect("receives");
            }
        }
        arrived
    }

    /// Until one is there to be received.
    fn wait_for_requests(socket: &MediaSocket) {
        let mut fds = [PollFd::new(socket.requests().expect("apart"), PollFlags::IN)];
        let patience = Timespec {
            tv_sec: PATIENCE.as_secs() as i64,
            tv_nsec: 0,
        };
        assert_eq!(poll(&mut fds, Some(&patience)), Ok(1), "a request arrives");
    }

    /// A socket on this address, a client of it, and where that sends.
    fn pair(bind: &str, from: &str) -> Option<(MediaSocket, UdpSocket, SocketAddr)> {
        let Ok(socket) = MediaSocket::bind(bind.parse().expect("an address")) else {
            assert!(bind.starts_with('['), "only IPv6 may be missing");
            return None;
        };
        let client = UdpSocket::bind(from).expect("loopback");
        client.set_read_timeout(Some(PATIENCE)).expect("set");
        let to = SocketAddr::new(client.local_addr().expect("bound").ip(), socket.local().port());
        Some((socket, client, to))
    }

    /// Sends all of them. Few enough at a time for any receive buffer.
    fn each_arrives(socket: &mut MediaSocket, client: &UdpSocket, to: SocketAddr, lane: impl Fn(Lane) -> Lane) {
        for some in datagrams().chunks(64) {
            for (datagram, _) in some {
                client.send_to(datagram, to).expect("sent");
            }
            let arrived = arrived(socket, some.len());
            for (datagram, own) in some {
                assert_eq!(arrived.get(datagram), Some(&lane(*own)), "{datagram:?} to {to}");
            }
        }
    }

    fn each_kind_arrives_where_it_belongs(bind: &str, from: &str) {
        let Some((mut socket, client, to)) = pair(bind, from) else {
            return;
        };
        each_arrives(&mut socket, &client, to, |_| Lane::Media);
        for _ in 0..2 {
            socket.part(RULE).expect("this kernel does it");
            each_arrives(&mut socket, &client, to, |own| own);
            // Answers leave by the first socket, whose address they all have.
            let path = Path::udp(client.local_addr().expect("bound"), Some(to.ip()));
            assert_eq!(socket.send(path, b"answer", 6, Cargo::Urgent), Sent::All);
            let mut buffer = [0; 16];
            assert_eq!(client.recv_from(&mut buffer).expect("an answer"), (6, to));
            // And back, without the loss of anything.
            client.send_to(&stun(3, 0, b""), to).expect("sent");
            wait_for_requests(&socket);
            socket.join();
            assert_eq!(arrived(&mut socket, 1)[&stun(3, 0, b"")], Lane::Requests);
            each_arrives(&mut socket, &client, to, |_| Lane::Media);
            socket.close_requests();
            each_arrives(&mut socket, &client, to, |_| Lane::Media);
        }
    }

    #[test]
    fn each_kind_arrives_where_it_belongs_over_both_families_while_a_flood_lasts() {
        each_kind_arrives_where_it_belongs("127.0.0.1:0", "127.0.0.1:0");
        each_kind_arrives_where_it_belongs("0.0.0.0:0", "127.0.0.2:0");
        each_kind_arrives_where_it_belongs("[::]:0", "127.0.0.1:0");
        each_kind_arrives_where_it_belongs("[::]:0", "[::1]:0");
        each_kind_arrives_where_it_belongs("[::1]:0", "[::1]:0");
    }

    #[test]
    fn the_lane_is_the_one_that_the_kernel_chooses() {
        for (datagram, lane) in datagrams() {
            assert_eq!(Lane::of(&datagram, RULE), lane, "{datagram:?}");
            // No other protocol is called a request, and no payload of TURN.
            let kind = demux::classify(&datagram);
            let is_request = matches!(kind, None | Some(Datagram::Stun | Datagram::Turn));
            assert!(is_request || lane == Lane::Media, "{datagram:?}");
        }
        assert_eq!(Lane::of(&[], RULE), Lane::Media);
        assert_eq!(Lane::of(&stun(SEND, 0, b""), NO_SENDS), Lane::Requests);
    }

    #[test]
    fn a_flood_that_fills_its_buffer_takes_no_room_of_participants_checks() {
        let (mut socket, client, to) = pair("127.0.0.1:0", "127.0.0.1:0").expect("IPv4");
        socket.part(RULE).expect("this kernel does it");
        // More than the buffer takes, and nobody receives any. No more than that: other tests send over the same loopback.
        let flood = stun(3, 0, b"");
        for _ in 0..4_000 {
            client.send_to(&flood, to).expect("sent");
        }
        // Each is sent again until it is there, as clients do, for the kernel's own queues are full as well.
        let patience = Instant::now() + PATIENCE;
        for number in 0..50_u8 {
            let check = [check(), vec![number]].concat();
            let mut is_there = false;
            while !is_there {
                assert!(Instant::now() < patience, "check {number} never arrived");
                client.send_to(&check, to).expect("sent");
                let note = |_, datagram: &mut [u8], _| is_there |= datagram == check;
                socket.receive(Lane::Media, Instant::now, note).expect("receives");
            }
        }
        let mut requests = 0;
        let count = |_, _: &mut [u8], _| requests += 1;
        socket.receive(Lane::Requests, Instant::now, count).expect("receives");
        assert!(requests > 0, "and there they still are");
    }

    #[test]
    fn datagrams_that_were_sent_as_one_arrive_one_by_one_where_the_first_of_them_belongs() {
        let address = "127.0.0.1:0".parse().expect("an address");
        let mut socket = MediaSocket::bind(address).expect("loopback");
        socket.part(RULE).expect("this kernel does it");
        let mut client = MediaSocket::bind(address).expect("loopback");
        let path = Path::udp(socket.local(), None);
        // Each first one is followed by five of the other lane.
        for (first, others, expected) in [(128_u8, 0, Lane::Media), (0, 128, Lane::Requests)] {
            let mut run = Vec::new();
            for number in 0..6_u8 {
                run.extend([if number == 0 { first } else { others }, 3, number]);
                run.resize(usize::from(number + 1) * 100, 0);
            }
            assert_eq!(client.send(path, &run, 100, Cargo::Video), Sent::All);
            let arrived = arrived(&mut socket, 6);
            assert!(
                run.chunks(100).all(|datagram| arrived[datagram] == expected),
                "{arrived:?}"
            );
        }
    }

    #[test]
    fn a_receive_call_for_requests_brings_few() {
        let (mut socket, client, to) = pair("127.0.0.1:0", "127.0.0.1:0").expect("IPv4");
        socket.part(RULE).expect("this kernel does it");
        for _ in 0..40 {
            client.send_to(&stun(3, 0, b""), to).expect("sent");
        }
        let mut received = 0;
        while received < 40 {
            wait_for_requests(&socket);
            let call = socket.receive(Lane::Requests, Instant::now, |_, _, _| {});
            let datagrams = call.expect("receives").datagrams;
            assert!((1..=2).contains(&datagrams), "{datagrams}");
            received += datagrams;
        }
    }

    #[test]
    fn indications_are_requests_where_nobody_was_told_to_send_them() {
        let (mut socket, client, to) = pair("127.0.0.1:0", "127.0.0.1:0").expect("IPv4");
        socket.part(NO_SENDS).expect("this kernel does it");
        let sent = [stun(SEND, 0, b""), stun(BINDING, 0, b""), check(), vec![128, 0, 0]];
        for datagram in &sent {
            client.send_to(datagram, to).expect("sent");
        }
        let arrived = arrived(&mut socket, sent.len());
        let lanes = sent.each_ref().map(|datagram| arrived[datagram]);
        assert_eq!(lanes, [Lane::Requests, Lane::Requests, Lane::Media, Lane::Media]);
        assert_eq!(lanes, sent.each_ref().map(|datagram| Lane::of(datagram, NO_SENDS)));
    }

    #[test]
    fn nobody_else_binds_an_address_before_or_after_a_flood() {
        let mut socket = MediaSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("loopback");
        let address = socket.local();
        let shared = || {
            let other = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
            sockopt::set_socket_reuseport(&other, true).expect("an option");
            other.bind(&address.into()).map_err(|error| error.kind())
        };
        assert_eq!(shared(), Err(io::ErrorKind::AddrInUse));
        socket.part(RULE).expect("this kernel does it");
        let taken = MediaSocket::bind(address).err().map(|error| error.kind());
        assert_eq!(
            taken,
            Some(io::ErrorKind::AddrInUse),
            "who does not ask for sharing is told"
        );
        socket.join();
        socket.close_requests();
        assert_eq!(shared(), Err(io::ErrorKind::AddrInUse));
    }

    #[test]
    fn what_cannot_be_parted_is_left_as_it_was() {
        let unbound = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
        assert!(part(&unbound, RULE).is_err());
        assert!(!sockopt::socket_reuseport(&unbound).expect("an option"));

        let shared = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
        sockopt::set_socket_reuseport(&shared, true).expect("an option");
        shared
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .expect("loopback");
        let mut socket = MediaSocket::of(shared).expect("it works all the same");
        assert!(socket.part(RULE).is_err(), "others may join it before or after us");
    }

    #[test]
    fn the_buffer_of_requests_is_as_large_as_was_asked_or_as_the_system_grants() {
        let first = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
        first
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .expect("loopback");
        // Linux grants twice what is asked, for its own bookkeeping (socket(7)).
        let granted = |wanted: usize| {
            first.set_recv_buffer_size(wanted).expect("set");
            first.recv_buffer_size().expect("an option")
        };
        let expected = granted(limits::REQUESTS_BUFFER_BYTES);
        let mut socket = MediaSocket::of(first.try_clone().expect("a descriptor")).expect("set up");
        socket.part(RULE).expect("this kernel does it");
        let second = socket.requests().expect("apart");
        assert_eq!(second.recv_buffer_size().expect("an option"), expected);
    }
}
