//! A transport under arbitrary inputs, for the fuzz target of that name.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use housecall_turn::stun::{AttributeType, Builder, Class, IntegrityKey, Method, TransactionId};

use super::{Transport, TransportConfig, TransportEvent, stun_local_ufrag};
use crate::api::IceCredentials;
use crate::demux::{Datagram, classify};
use crate::dtls::{Certificate, DtlsEvent, Fingerprint};
use crate::limits::{MAX_DATAGRAM, MAX_PATHS, MAX_PENDING_TRANSMITS};
use crate::path::Path;
use crate::srtp::Profile;

const LOCAL_UFRAG: &str = "localufraglocal1";
const LOCAL_PWD: &str = "local-password-of-24-chr";
const REMOTE_UFRAG: &str = "peer";

impl Transport {
    /// As if the handshake had just ended with these keys, 44 bytes for each side ([`Profile::AeadAes256Gcm`]). A check must have come
    /// before. Handshakes take milliseconds, and the library's randomness is its own.
    pub(crate) fn connect_with(&mut self, keys: &[u8; 88], now: Instant) {
        let (profile, keys) = (Profile::AeadAes256Gcm, keys.to_vec().into());
        self.handle_dtls_event(Some(DtlsEvent::Connected { profile, keys }), now);
        self.show_face();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an instant to begin at; virtual time runs from there"
)]
pub(crate) fn drive(data: &[u8]) {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    let certificate = CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate().expect("P-256 works")));
    let mut now = Instant::now();
    let credentials = |ufrag: &str, pwd: &str| IceCredentials {
        ufrag: ufrag.to_owned(),
        pwd: pwd.to_owned(),
    };
    let config = TransportConfig {
        local: credentials(LOCAL_UFRAG, LOCAL_PWD),
        remote: credentials(REMOTE_UFRAG, ""),
        remote_fingerprint: Fingerprint::from_sha256([7; 32]),
        certificate: Arc::clone(certificate),
    };
    let mut transport = Transport::new(config, now);
    let mut paths = 0_usize;
    let mut is_closed = false;
    let mut rest = data;
    while let [kind, len, tail @ ..] = rest {
        let (argument, tail) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = tail;
        let path = Path::udp(([192, 0, 2, 1], 1_000 + u16::from(kind >> 4)).into(), None);
        match kind & 7 {
            0 => {
                let _ = transport.handle_stun(path, &check(argument), now);
            }
            1 => now += Duration::from_millis(argument.iter().map(|byte| u64::from(*byte) * 16).sum()),
            2 => {
                let header_len = usize::from(argument.first().copied().unwrap_or_default());
                assert!(transport.open_rtp(&mut argument.to_vec(), header_len).is_err());
                assert!(transport.open_rtcp(&mut argument.to_vec()).is_err());
            }
            3 => transport.restart_ice(credentials(LOCAL_UFRAG, LOCAL_PWD), credentials(REMOTE_UFRAG, ""), now),
            _ => match classify(argument) {
                Some(Datagram::Stun) => {
                    let _ = stun_local_ufrag(argument);
                    let _ = transport.handle_stun(path, argument, now);
                }
                Some(Datagram::Dtls) => {
                    let _ = transport.handle_dtls(path, argument, now);
                }
                Some(Datagram::Rtp | Datagram::Rtcp | Datagram::Turn | Datagram::ChannelData) | None => {}
            },
        }
        transport.handle_timeout(now);
        let next = transport.poll_timeout();
        assert!(next.is_none_or(|(at, what)| at > now || panic!("woken again for {what}")));
        let mut out = [0; MAX_DATAGRAM];
        let sent = std::iter::from_fn(|| transport.poll_transmit(&mut out)).count();
        assert!(sent <= MAX_PENDING_TRANSMITS);
        while let Some(event) = transport.poll_event() {
            assert!(!is_closed, "{event:?} after the end");
            match event {
                TransportEvent::NewPath(_) => paths += 1,
                TransportEvent::PathDropped(_) => paths -= 1,
                TransportEvent::Closed(_) => is_closed = true,
                TransportEvent::Connected { .. } => panic!("connected with nobody"),
                TransportEvent::Disconnected | TransportEvent::Reconnected => {}
            }
            assert!(paths <= MAX_PATHS);
        }
        assert_eq!(transport.selected_path().is_some(), paths > 0);
        if is_closed {
            assert_eq!(paths, 0);
        }
    }
}

/// An authentic check that carries `argument` as an attribute: its first two bytes are the type, the rest is the value.
fn check(argument: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 512];
    let mut builder = Builder::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([3; 12]));
    builder.username(&format!("{LOCAL_UFRAG}:{REMOTE_UFRAG}"));
    if let Some((kind, value)) = argument.split_first_chunk() {
        builder.attribute(AttributeType(u16::from_be_bytes(*kind)), value);
    }
    builder
        .message_integrity(&IntegrityKey::new(LOCAL_PWD.as_bytes()))
        .fingerprint();
    let len = builder.finish().expect("at most 20 + 28 + 260 + 24 + 8 bytes");
    buffer[..len].to_vec()
}
