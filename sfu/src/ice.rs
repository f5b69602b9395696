//! ICE-lite for one transport (RFC 8445): answers the peer's checks, remembers which paths they proved, never checks itself.
//!
//! Every answer follows from the request alone, so a check sent again gets the same answer.

use std::collections::VecDeque;
use std::time::Instant;

use arrayvec::ArrayVec;
use housecall_turn::stun::{AttributeType, Builder, Class, Fingerprint, Integrity, IntegrityKey, Message, Method};

use crate::api::IceCredentials;
use crate::limits::{CONSENT_TIMEOUT, MAX_PATHS};
use crate::path::Path;
use crate::random::Random;
use crate::steering::Tag;

/// Characters of a local user name fragment: those of the shard's [`Tag`], and 72 bits, so that it names a transport among all and cannot be
/// guessed.
pub(crate) const UFRAG_LEN: usize = 16;

/// Characters of a local password: 144 bits (RFC 8445 §5.3 asks for 128).
pub(crate) const PWD_LEN: usize = 24;

/// Bytes of the longest answer: 420 with 16 attributes named and a SHA-256 integrity needs 124.
const MAX_ANSWER: usize = 160;

/// Attributes with a number below 0x8000 that a check may carry. Others are refused (420).
const KNOWN: [AttributeType; 3] = [
    AttributeType::USERNAME,
    AttributeType::PRIORITY,
    AttributeType::USE_CANDIDATE,
];

/// Fresh random credentials for our side, named with `tag`.
#[must_use]
pub(crate) fn generate_credentials(random: &mut Random, tag: Tag) -> IceCredentials {
    let Tag(tag) = tag;
    let name = random_ice_chars(random, UFRAG_LEN - tag.len());
    IceCredentials {
        ufrag: tag.map(char::from).into_iter().chain(name).collect(),
        pwd: random_ice_chars(random, PWD_LEN).collect(),
    }
}

/// What the names of a shard are to begin with.
#[must_use]
pub(crate) fn generate_tag(random: &mut Random) -> Tag {
    let mut tag = Tag([0; 4]);
    for (place, name) in tag.0.iter_mut().zip(random_ice_chars(random, 4)) {
        *place = name as u8;
    }
    tag
}

/// `len` ≤ 32 random `ice-char`s (RFC 8839 §5.4), six bits each.
fn random_ice_chars(random: &mut Random, len: usize) -> impl Iterator<Item = char> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    let chars = bytes.into_iter().take(len);
    chars.map(|byte| char::from(ALPHABET[usize::from(byte & 63)]))
}

/// Why a STUN datagram had no effect. It may have been answered by an error response all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum StunRejected {
    /// Not a well-formed STUN message, or its FINGERPRINT is wrong.
    #[error("malformed")]
    Malformed,
    /// Well-formed, but nothing an ICE-lite agent acts on.
    #[error("not a Binding request")]
    NotARequest,
    /// USERNAME or MESSAGE-INTEGRITY missing (400), or wrong (401).
    #[error("not authenticated")]
    Unauthenticated,
    /// Authenticated, and refused: role conflict (487) or an unknown attribute (420).
    #[error("refused")]
    Refused,
    /// The transport has closed.
    #[error("closed")]
    Closed,
}

/// An answer to a check.
pub(crate) type Answer = ArrayVec<u8, MAX_ANSWER>;

/// What became of the set of validated paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathChange {
    Added(Path),
    Dropped(Path),
}

/// The agent.
pub(crate) struct IceLite {
    current: Credentials,
    /// Before an ICE restart; good until the first check with the current ones (RFC 8445 §9).
    previous: Option<Box<Credentials>>,
    /// At most [`MAX_PATHS`].
    paths: Vec<ValidPath>,
    selection: Selection,
    changes: VecDeque<PathChange>,
}

/// Both sides' names and our key, between two ICE restarts.
struct Credentials {
    local_ufrag: String,
    remote_ufrag: String,
    key: IntegrityKey,
}

impl Credentials {
    fn new(local: IceCredentials, remote: IceCredentials) -> Self {
        Self {
            local_ufrag: local.ufrag,
            remote_ufrag: remote.ufrag,
            key: IntegrityKey::new(local.pwd.as_bytes()),
        }
    }

    /// USERNAME of a check is the receiver's fragment, a colon, the sender's (RFC 8445 §7.2.2).
    fn are_named_by(&self, username: &str) -> bool {
        username.split_once(':') == Some((self.local_ufrag.as_str(), self.remote_ufrag.as_str()))
    }
}

struct ValidPath {
    path: Path,
    /// When the last authenticated check came: consent lasts from here (RFC 7675).
    last_check: Instant,
    /// Whether that check had the current credentials.
    current: bool,
}

#[derive(Clone, Copy)]
enum Selection {
    None,
    /// Validated, and the best guess while none is nominated: Chromium sends DTLS and media before it nominates.
    Provisional(Path),
    /// The peer said USE-CANDIDATE; its latest word counts.
    Nominated(Path),
}

impl IceLite {
    pub(crate) fn new(local: IceCredentials, remote: IceCredentials) -> Self {
        Self {
            current: Credentials::new(local, remote),
            previous: None,
            paths: Vec::new(),
            selection: Selection::None,
            changes: VecDeque::new(),
        }
    }

    /// New credentials on both sides. Paths stay until they lose consent or another is nominated.
    pub(crate) fn restart(&mut self, local: IceCredentials, remote: IceCredentials) {
        let current = Credentials::new(local, remote);
        let replaced = std::mem::replace(&mut self.current, current);
        // Restarted again before any check came: the ones before are those the peer is known to use.
        self.previous.get_or_insert_with(|| Box::new(replaced));
        self.paths.iter_mut().for_each(|valid| valid.current = false);
    }

    /// Takes a STUN datagram. Whatever came of it, an answer may have to be sent back on `path`.
    pub(crate) fn handle(
        &mut self,
        path: Path,
        datagram: &[u8],
        now: Instant,
    ) -> (Option<Answer>, Result<(), StunRejected>) {
        let Ok(request) = Message::parse(datagram) else {
            return (None, Err(StunRejected::Malformed));
        };
        if request.fingerprint() == Fingerprint::Invalid {
            return (None, Err(StunRejected::Malformed));
        }
        if (request.class(), request.method()) != (Class::Request, Method::BINDING) {
            return (None, Err(StunRejected::NotARequest));
        }
        let (is_current, credentials, integrity) = match self.authenticate(&request) {
            Ok(found) => found,
            Err((code, reason)) => {
                let answer = answer(&request, Class::Error, None, |b| {
                    b.error_code(code, reason);
                });
                return (answer, Err(StunRejected::Unauthenticated));
            }
        };
        let protect = Some((&credentials.key, integrity));

        // RFC 8489 §9.1.3, §6.3.1.
        if request.unknown_required(&KNOWN).next().is_some() {
            let answer = answer(&request, Class::Error, protect, |b| {
                b.error_code(420, "Unknown Attribute")
                    .unknown_attributes(request.unknown_required(&KNOWN));
            });
            return (answer, Err(StunRejected::Refused));
        }
        // RFC 8445 §7.3.1.1. A full agent facing a lite one is always controlling (§6.1.1): we never switch, the peer must.
        if request.get(AttributeType::ICE_CONTROLLED).is_some() {
            let answer = answer(&request, Class::Error, protect, |b| {
                b.error_code(487, "Role Conflict");
            });
            return (answer, Err(StunRejected::Refused));
        }

        let answer = answer(&request, Class::Success, protect, |b| {
            b.xor_mapped_address(path.remote());
        });
        self.note_check(path, is_current, request.use_candidate(), now);
        (answer, Ok(()))
    }

    /// Finds the credentials a request was made with, or the error response it gets.
    fn authenticate(&self, request: &Message<'_>) -> Result<(bool, &Credentials, Integrity), (u16, &'static str)> {
        if !request.has_integrity() || request.get(AttributeType::USERNAME).is_none() {
            return Err((400, "Bad Request"));
        }
        let username = request.username().unwrap_or_default();
        let generations = [(true, Some(&self.current)), (false, self.previous.as_deref())];
        generations
            .into_iter()
            .filter_map(|(is_current, credentials)| Some((is_current, credentials?)))
            .filter(|(_, credentials)| credentials.are_named_by(username))
            .find_map(|(is_current, credentials)| {
                let integrity = request.verify_integrity(&credentials.key).ok()?;
                Some((is_current, credentials, integrity))
            })
            .ok_or((401, "Unauthenticated"))
    }

    /// A check was good: its path is valid (RFC 8445 §7.3.2) and consent begins anew (RFC 7675).
    fn note_check(&mut self, path: Path, is_current: bool, nominates: bool, now: Instant) {
        let is_first_of_restart = is_current && self.previous.take().is_some();
        match self.paths.iter_mut().find(|valid| valid.path == path) {
            Some(valid) => {
                valid.last_check = now;
                valid.current = is_current;
            }
            None => {
                if self.paths.len() >= MAX_PATHS {
                    self.evict_oldest();
                }
                self.paths.push(ValidPath {
                    path,
                    last_check: now,
                    current: is_current,
                });
                self.changes.push_back(PathChange::Added(path));
            }
        }
        if nominates {
            self.selection = Selection::Nominated(path);
            if is_current {
                self.drop_where(|valid| !valid.current);
            }
        } else if is_first_of_restart || matches!(self.selection, Selection::None) {
            // After a restart the peer's first word says where it is now; the old path may be the reason for the restart.
            self.selection = Selection::Provisional(path);
        }
    }

    /// DTLS came this way: until a path is nominated that says best where the peer listens.
    pub(crate) fn note_dtls(&mut self, path: Path) {
        if let Selection::Provisional(_) = self.selection {
            self.selection = Selection::Provisional(path);
        }
    }

    fn evict_oldest(&mut self) {
        let selected = self.selected();
        let oldest = self
            .paths
            .iter()
            .filter(|valid| Some(valid.path) != selected)
            .min_by_key(|valid| valid.last_check)
            .map(|valid| valid.path);
        self.drop_where(|valid| Some(valid.path) == oldest);
    }

    fn drop_where(&mut self, gone: impl Fn(&ValidPath) -> bool) {
        let changes = &mut self.changes;
        self.paths.retain(|valid| {
            let gone = gone(valid);
            if gone {
                changes.push_back(PathChange::Dropped(valid.path));
            }
            !gone
        });
        if self.selected().is_none_or(|path| !self.is_valid(path)) {
            let latest = self.paths.iter().max_by_key(|valid| valid.last_check);
            self.selection = latest.map_or(Selection::None, |valid| Selection::Provisional(valid.path));
        }
    }

    /// Forgets paths whose consent has run out.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.drop_where(|valid| now >= valid.last_check + CONSENT_TIMEOUT);
    }

    /// Forgets a path that cannot be used any more.
    pub(crate) fn drop_path(&mut self, path: Path) {
        self.drop_where(|valid| valid.path == path);
    }

    /// When the next path loses consent.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let oldest = self.paths.iter().map(|valid| valid.last_check).min()?;
        Some(oldest + CONSENT_TIMEOUT)
    }

    /// Forgets all paths: the transport has closed.
    pub(crate) fn close(&mut self) {
        self.drop_where(|_| true);
    }

    /// What happened to the set of paths, in order.
    pub(crate) fn poll_change(&mut self) -> Option<PathChange> {
        self.changes.pop_front()
    }

    /// The paths that checks have proved and that have consent, in no order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> {
        self.paths.iter().map(|valid| valid.path)
    }

    /// Our user name fragments that checks may name: the current one, and the one before a restart while that is good.
    pub(crate) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        let both = std::iter::once(&self.current).chain(self.previous.as_deref());
        both.map(|credentials| credentials.local_ufrag.as_str())
    }

    /// Whether a check proved this path and consent holds.
    pub(crate) fn is_valid(&self, path: Path) -> bool {
        self.paths.iter().any(|valid| valid.path == path)
    }

    /// The path to send on.
    pub(crate) fn selected(&self) -> Option<Path> {
        match self.selection {
            Selection::None => None,
            Selection::Provisional(path) | Selection::Nominated(path) => Some(path),
        }
    }
}

/// Writes an answer to `request`; `None` if it does not fit, which [`MAX_ANSWER`] rules out.
fn answer(
    request: &Message<'_>,
    class: Class,
    protect: Option<(&IntegrityKey, Integrity)>,
    add: impl FnOnce(&mut Builder<'_>),
) -> Option<Answer> {
    let mut buffer = [0; MAX_ANSWER];
    let mut builder = Builder::new(&mut buffer, class, request.method(), request.transaction_id());
    add(&mut builder);
    if let Some((key, integrity)) = protect {
        builder.integrity(integrity, key);
    }
    let len = builder.fingerprint().finish().ok()?;
    Answer::try_from(&buffer[..len]).ok()
}
