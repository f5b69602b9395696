//! One participant's transport: ICE-lite, DTLS and SRTP put together.
//!
//! Calling contract: after every `handle_*` call and [`Transport::restart_ice`], drain [`Transport::poll_transmit`] and
//! [`Transport::poll_event`], then ask [`Transport::poll_timeout`] when to come back. `open_*` and `seal_*` change none of these.

pub(crate) mod fuzz;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use housecall_turn::stun::{Class, Message};

use crate::api::IceCredentials;
use crate::dtls::{Certificate, Dtls, DtlsEvent, Fingerprint};
use crate::ice::{IceLite, PathChange};
use crate::limits::{CONNECT_TIMEOUT, MAX_PENDING_TRANSMITS};
use crate::path::Path;
use crate::srtp::{self, DtlsRole, OpenError, Opener, Profile, SealError, Sealer};

pub(crate) use crate::ice::StunRejected;

/// What a transport is made from: both sides of the SDP exchange.
pub(crate) struct TransportConfig {
    /// Ours, from [`crate::ice::generate_credentials`], as put into the answer.
    pub(crate) local: IceCredentials,
    /// The peer's, from its offer.
    pub(crate) remote: IceCredentials,
    /// The peer's certificate fingerprint, from its offer.
    pub(crate) remote_fingerprint: Fingerprint,
    /// Ours, one for the process.
    pub(crate) certificate: Arc<Certificate>,
}

/// What a transport tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransportEvent {
    /// A check validated this path: datagrams from it belong to this transport. Overrides an older owner of the path.
    NewPath(Path),
    /// The path is forgotten. Take it out of the index, if it still points here.
    PathDropped(Path),
    /// ICE and DTLS are done, keys are in place. Once.
    Connected {
        /// The SRTP profile in use.
        profile: Profile,
        /// From the first answered check to here.
        handshake: Duration,
    },
    /// Consent was lost on every path: nothing may be sent until [`TransportEvent::Reconnected`].
    Disconnected,
    /// A check came after [`TransportEvent::Disconnected`].
    Reconnected,
    /// The end: nothing will work any more. Once, and last; every path was dropped by an event before it.
    Closed(CloseReason),
}

/// Why a transport closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    /// The peer closed DTLS: the page was closed or reloaded.
    ClosedByPeer,
    /// It did not connect within the limit.
    ConnectTimeout,
    /// The DTLS handshake failed.
    HandshakeFailed,
    /// The peer's certificate is not the one of its SDP.
    WrongFingerprint,
    /// [`Transport::close`] was called.
    ClosedByUs,
}

impl CloseReason {
    /// A word for logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ClosedByPeer => "closed_by_peer",
            Self::ConnectTimeout => "connect_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::WrongFingerprint => "wrong_fingerprint",
            Self::ClosedByUs => "closed_by_us",
        }
    }
}

/// Why a DTLS datagram had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum DtlsRejected {
    /// No valid check came from this path.
    #[error("path not validated")]
    UnvalidatedPath,
    /// The transport has closed, perhaps by this datagram.
    #[error("closed")]
    Closed,
}

/// The user name fragment of ours that a STUN request is addressed to: the part of USERNAME before the colon.
///
/// Unauthenticated; good for finding the transport to hand it to, and nothing else. Route every STUN datagram by it, known
/// path or not: a NAT may give one participant's address to another.
pub(crate) fn stun_local_ufrag(datagram: &[u8]) -> Option<&str> {
    let message = Message::parse(datagram).ok()?;
    if message.class() != Class::Request {
        return None;
    }
    Some(message.username()?.split_once(':')?.0)
}

/// See the module.
///
/// What only checks and handshakes touch lies elsewhere, so that what every packet touches lies close together.
pub(crate) struct Transport {
    ice: Box<IceLite>,
    dtls: Box<Dtls>,
    state: State,
    /// Keys of both directions, from the end of the handshake on.
    srtp: Option<(Opener, Sealer)>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<TransportEvent>,
    face: Face,
}

/// What every packet asks of ICE and DTLS, whose own memory is cold by then. [`Transport::show_face`] keeps it.
#[derive(Clone, Copy, Debug, Default)]
struct Face {
    selected: Option<Path>,
    /// How often `selected` has changed.
    changes: u32,
    due: Option<(Instant, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Checks and handshake are under way.
    Connecting {
        /// When it is given up.
        deadline: Instant,
        /// When the first check was answered.
        first_check: Option<Instant>,
    },
    /// Keys are in place and a path has consent.
    Connected,
    /// Keys are in place, no path has consent.
    Disconnected,
    /// The end.
    Closed,
}

/// A datagram that waits to be sent.
struct Transmit {
    path: Path,
    bytes: Vec<u8>,
}

impl Transport {
    /// A transport that waits for the peer's checks until [`crate::limits::CONNECT_TIMEOUT`].
    pub(crate) fn new(config: TransportConfig, now: Instant) -> Self {
        let mut transport = Self {
            ice: Box::new(IceLite::new(config.local, config.remote)),
            dtls: Box::new(Dtls::new(&config.certificate, config.remote_fingerprint, now)),
            state: State::Connecting {
                deadline: now + CONNECT_TIMEOUT,
                first_check: None,
            },
            srtp: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            face: Face::default(),
        };
        transport.show_face();
        transport
    }

    /// To be called at the end of whatever touches ICE, DTLS or the state.
    fn show_face(&mut self) {
        let selected = self.ice.selected();
        let connecting = match self.state {
            State::Connecting { deadline, .. } => Some((deadline, "transport did not connect")),
            State::Connected | State::Disconnected | State::Closed => None,
        };
        let due = [
            connecting,
            self.ice.poll_timeout().map(|at| (at, "path lost consent")),
            self.dtls.poll_timeout().map(|at| (at, "dtls flight")),
        ];
        self.face = Face {
            selected,
            changes: self
                .face
                .changes
                .wrapping_add(u32::from(selected != self.face.selected)),
            due: match self.state {
                State::Closed => None,
                _ => due.into_iter().flatten().min_by_key(|(at, _)| *at),
            },
        };
    }

    /// Takes a datagram that [`crate::demux`] says is STUN. It may have to be answered even when it is rejected.
    pub(crate) fn handle_stun(&mut self, path: Path, datagram: &[u8], now: Instant) -> Result<(), StunRejected> {
        if self.state == State::Closed {
            return Err(StunRejected::Closed);
        }
        let (answer, outcome) = self.ice.handle(path, datagram, now);
        if let Some(answer) = answer {
            transmit(&mut self.transmits, path, &answer);
        }
        if outcome.is_ok() {
            match &mut self.state {
                State::Connecting { first_check, .. } => {
                    first_check.get_or_insert(now);
                }
                State::Disconnected => {
                    self.state = State::Connected;
                    self.report_paths();
                    self.events.push_back(TransportEvent::Reconnected);
                }
                State::Connected | State::Closed => {}
            }
        }
        self.report_paths();
        self.show_face();
        outcome
    }

    /// Takes a datagram that [`crate::demux`] says is DTLS.
    pub(crate) fn handle_dtls(&mut self, path: Path, datagram: &[u8], now: Instant) -> Result<(), DtlsRejected> {
        if self.state == State::Closed {
            return Err(DtlsRejected::Closed);
        }
        if !self.ice.is_valid(path) {
            return Err(DtlsRejected::UnvalidatedPath);
        }
        self.ice.note_dtls(path);
        let transmits = &mut self.transmits;
        let event = self
            .dtls
            .handle_datagram(datagram, now, &mut |bytes| transmit(transmits, path, bytes));
        self.handle_dtls_event(event, now);
        self.show_face();
        if self.state == State::Closed {
            Err(DtlsRejected::Closed)
        } else {
            Ok(())
        }
    }

    fn handle_dtls_event(&mut self, event: Option<DtlsEvent>, now: Instant) {
        match event {
            None => {}
            Some(DtlsEvent::Connected { profile, keys }) => {
                let State::Connecting { first_check, .. } = self.state else {
                    return;
                };
                let Ok(srtp) = srtp::from_dtls(profile, &keys, DtlsRole::Server) else {
                    return self.end(CloseReason::HandshakeFailed);
                };
                self.srtp = Some(srtp);
                self.state = State::Connected;
                self.events.push_back(TransportEvent::Connected {
                    profile,
                    handshake: now.saturating_duration_since(first_check.unwrap_or(now)),
                });
            }
            Some(DtlsEvent::ClosedByPeer) => self.end(CloseReason::ClosedByPeer),
            Some(DtlsEvent::WrongFingerprint) => self.end(CloseReason::WrongFingerprint),
            Some(DtlsEvent::Failed) => self.end(CloseReason::HandshakeFailed),
        }
    }

    fn end(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.srtp = None;
        self.ice.close();
        self.report_paths();
        self.events.push_back(TransportEvent::Closed(reason));
    }

    fn report_paths(&mut self) {
        while let Some(change) = self.ice.poll_change() {
            self.events.push_back(match change {
                PathChange::Added(path) => TransportEvent::NewPath(path),
                PathChange::Dropped(path) => TransportEvent::PathDropped(path),
            });
        }
    }

    /// How the peer's packets are sealed; `None` before there are keys.
    pub(crate) fn profile(&self) -> Option<Profile> {
        self.srtp.as_ref().map(|(_, sealer)| sealer.profile())
    }

    /// Authenticates and decrypts an SRTP packet in place. `header_len` is the RTP header with CSRCs and extension.
    /// Returns the length of the plain packet, header included.
    #[inline]
    pub(crate) fn open_rtp(&mut self, packet: &mut [u8], header_len: usize) -> Result<usize, OpenError> {
        let (opener, _) = self.srtp.as_mut().ok_or(OpenError::NotReady)?;
        opener.open_rtp(packet, header_len)
    }

    /// Same for an SRTCP compound packet.
    pub(crate) fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, OpenError> {
        let (opener, _) = self.srtp.as_mut().ok_or(OpenError::NotReady)?;
        opener.open_rtcp(packet)
    }

    /// Encrypts the RTP packet in `buffer[..plain_len]` in place; `buffer` must be longer by [`crate::srtp::MAX_RTP_OVERHEAD`].
    /// Returns the length to send. A sequence number of an SSRC can be sealed once; see [`Sealer::seal_rtp`].
    #[inline]
    pub(crate) fn seal_rtp(
        &mut self,
        buffer: &mut [u8],
        plain_len: usize,
        header_len: usize,
    ) -> Result<usize, SealError> {
        let (_, sealer) = self.srtp.as_mut().ok_or(SealError::NotReady)?;
        sealer.seal_rtp(buffer, plain_len, header_len)
    }

    /// Same for an RTCP compound packet; `buffer` must be longer by [`crate::srtp::MAX_RTCP_OVERHEAD`].
    pub(crate) fn seal_rtcp(&mut self, buffer: &mut [u8], plain_len: usize) -> Result<usize, SealError> {
        let (_, sealer) = self.srtp.as_mut().ok_or(SealError::NotReady)?;
        sealer.seal_rtcp(buffer, plain_len)
    }

    /// Writes the next STUN answer or DTLS datagram to `out`, which holds at least [`crate::limits::MAX_DATAGRAM`] bytes; what
    /// does not fit is dropped.
    pub(crate) fn poll_transmit(&mut self, out: &mut [u8]) -> Option<(Path, usize)> {
        loop {
            let Transmit { path, bytes } = self.transmits.pop_front()?;
            if let Some(room) = out.get_mut(..bytes.len()) {
                room.copy_from_slice(&bytes);
                return Some((path, bytes.len()));
            }
        }
    }

    /// The next event, if there is one.
    pub(crate) fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called, and what for.
    #[inline]
    pub(crate) const fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.face.due
    }

    /// Does what is due at `now`; calling early does no harm.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Closed => return,
            State::Connecting { deadline, .. } if now >= deadline => {
                self.end(CloseReason::ConnectTimeout);
                return self.show_face();
            }
            State::Connecting { .. } | State::Connected | State::Disconnected => {}
        }
        self.ice.handle_timeout(now);
        self.report_paths();
        self.note_lost_paths();
        let (transmits, path) = (&mut self.transmits, self.ice.selected());
        let event = self.dtls.handle_timeout(now, &mut |bytes| {
            // Without a path it is lost like any datagram; the next one will be sent again too.
            if let Some(path) = path {
                transmit(transmits, path, bytes);
            }
        });
        self.handle_dtls_event(event, now);
        self.show_face();
    }

    fn note_lost_paths(&mut self) {
        if self.state == State::Connected && self.ice.selected().is_none() {
            self.state = State::Disconnected;
            self.events.push_back(TransportEvent::Disconnected);
        }
    }

    /// Where to send media: the nominated path, before nomination the validated path that DTLS came from or the first one.
    #[inline]
    pub(crate) const fn selected_path(&self) -> Option<Path> {
        self.face.selected
    }

    /// See [`crate::member::Member::touch`].
    #[inline]
    pub(crate) fn touch(&self) {
        std::hint::black_box((self.face.changes, self.face.due.is_some(), self.srtp.is_some()));
        if let Some((_, sealer)) = &self.srtp {
            sealer.touch();
        }
    }

    /// Another number whenever [`Self::selected_path`] has changed.
    #[inline]
    pub(crate) const fn path_changes(&self) -> u32 {
        self.face.changes
    }

    /// The validated paths, in no order: those of which the owner was told by [`TransportEvent::NewPath`] and not since by
    /// [`TransportEvent::PathDropped`], once all events are drained.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> {
        self.ice.paths()
    }

    /// What [`stun_local_ufrag`] gives for checks that are meant for this transport: one name, two after a restart.
    pub(crate) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.ice.local_ufrags()
    }

    /// New credentials on both sides (RFC 8445 §9), same DTLS. The old ones stay good until the first check with the new ones.
    /// A transport that has not connected gets its time anew.
    pub(crate) fn restart_ice(&mut self, local: IceCredentials, remote: IceCredentials, now: Instant) {
        self.ice.restart(local, remote);
        if let State::Connecting { deadline, .. } = &mut self.state {
            *deadline = now + CONNECT_TIMEOUT;
        }
        self.show_face();
    }

    /// The connection of a path is gone: nothing can come or leave by it any more.
    pub(crate) fn handle_path_gone(&mut self, path: Path) {
        self.ice.drop_path(path);
        self.report_paths();
        self.note_lost_paths();
        self.show_face();
    }

    /// Whether media can be sent now: keys are in place and a path has consent.
    pub(crate) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Tells the peer by a DTLS `close_notify`; drain [`Self::poll_transmit`] once more and drop the transport.
    pub(crate) fn close(&mut self) {
        if self.state == State::Closed {
            return;
        }
        let (transmits, path) = (&mut self.transmits, self.ice.selected());
        self.dtls.close(&mut |bytes| {
            if let Some(path) = path {
                transmit(transmits, path, bytes);
            }
        });
        self.end(CloseReason::ClosedByUs);
        self.show_face();
    }
}

/// Queues a datagram; above the bound it is dropped, which the peer takes for loss and asks again.
fn transmit(queue: &mut VecDeque<Transmit>, path: Path, bytes: &[u8]) {
    if queue.len() < MAX_PENDING_TRANSMITS {
        let bytes = bytes.to_vec();
        queue.push_back(Transmit { path, bytes });
    }
}

#[cfg(test)]
pub(crate) mod tests;
