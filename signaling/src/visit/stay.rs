//! One person's stay in a visit: where they are, how they are linked to us, what they send and receive.

use std::collections::BTreeMap;
use std::time::Instant;

use housecall_sfu::{Answer, Kind, Layer, Mid, ParticipantId, PublishedTrack, Target, TrackId};
use subtle::ConstantTimeEq;

use crate::ids::{DisplayName, PersonId, StayId};
use crate::limits;
use crate::message::{RoleName, ScreenAudience, ServerMessage, VisitState};
use crate::portal::{Via, Who};

/// One WebSocket of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SocketId(pub(crate) u64);

/// What lets a dropped socket come back to its stay: 192 random bits in base64url. A secret, hence no `Debug`.
#[derive(Clone)]
pub(crate) struct ResumeToken(String);

impl ResumeToken {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// In constant time for candidates of the right length.
    fn matches(&self, candidate: &str) -> bool {
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }
}

/// The random parts of a new stay; chance comes from outside, like time.
pub(crate) struct Fresh {
    pub(crate) stay: StayId,
    pub(crate) resume: ResumeToken,
}

/// Where somebody is in the visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the queue since then; `turn` orders the queue.
    Waiting { since: Instant, turn: u64 },
    /// In the visit.
    Admitted,
}

/// How somebody is linked to the server.
pub(super) enum Link {
    Socket { resume: ResumeToken, state: SocketState },
    Http { via: HttpVia, state: HttpState },
}

impl Link {
    pub(super) fn via(&self) -> Via {
        match self {
            Self::Socket { .. } => Via::Socket,
            Self::Http { via: HttpVia::Whip, .. } => Via::Whip,
            Self::Http {
                via: HttpVia::Whep { .. },
                ..
            } => Via::Whep,
        }
    }
}

pub(super) enum SocketState {
    /// The socket is there. `told` is the last state it was sent.
    Online { socket: SocketId, told: Option<VisitState> },
    /// The socket dropped; media goes on.
    Lost { since: Instant },
    /// No socket and no media; the place is kept.
    Away { since: Instant },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVia {
    Whip,
    /// `from`: only this participant; `following`: whom the slots show.
    Whep {
        from: Option<StayId>,
        following: Option<StayId>,
    },
}

pub(super) enum HttpState {
    /// The offer has not been answered yet: nobody is told of this stay.
    Joining,
    Live(IceSession),
    /// No ICE consent.
    Lost {
        since: Instant,
        ice: IceSession,
    },
}

/// What a later `PATCH` needs to know.
#[derive(Clone)]
pub(super) struct IceSession {
    /// The server's user name fragment, which is the `ETag`.
    pub(super) ufrag: String,
    /// The lines of the answer that an ICE restart repeats: first media line, its `mid`, its candidates.
    pub(super) lines: String,
}

/// A transport of the media core: one `RTCPeerConnection` of the client.
pub(super) struct Connection {
    pub(super) id: ParticipantId,
    pub(super) negotiation: Negotiation,
    /// Whether an offer was ever answered, so that the media core has something.
    pub(super) answered: bool,
    pub(super) slots: BTreeMap<Mid, Slot>,
    pub(super) tracks: Vec<PublishedTrack>,
    /// What it was last told to send, by line of a camera; no more of them than tracks.
    pub(super) uplinks: BTreeMap<Mid, ServerMessage>,
    /// What was last said of who sees a screen, by line; no more of them than tracks.
    pub(super) audiences: BTreeMap<Mid, ScreenAudience>,
    /// Orders publishers; `None` while there are no tracks.
    pub(super) publishing_since: Option<u64>,
}

pub(super) enum Negotiation {
    Idle,
    /// The offer `id` is with the media core; at most one more waits.
    Answering {
        id: u32,
        next: Option<(u32, String)>,
    },
}

/// A line on which a client receives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) kind: Kind,
    /// What the client (or, over WHEP, the server on its behalf) wants to see.
    pub(super) wish: Option<TrackId>,
    /// What the media core was told.
    pub(super) source: Option<TrackId>,
    /// What the media core last said about it.
    pub(super) sending: Option<(Target, Option<Layer>)>,
    /// Where its path has put it on the ladder, if it has.
    pub(super) limit: Option<Target>,
}

impl Connection {
    pub(super) fn new(id: ParticipantId) -> Self {
        Self {
            id,
            negotiation: Negotiation::Idle,
            answered: false,
            slots: BTreeMap::new(),
            tracks: Vec::new(),
            uplinks: BTreeMap::new(),
            audiences: BTreeMap::new(),
            publishing_since: None,
        }
    }

    /// Takes over the lines of an answer; lines that were there before keep what they show.
    pub(super) fn take_answer(&mut self, answer: &Answer) {
        self.answered = true;
        let before = std::mem::take(&mut self.slots);
        for slot in answer.slots.iter().take(limits::MAX_SLOTS) {
            let kept = before.get(&slot.mid).filter(|old| old.kind == slot.kind);
            self.slots.insert(
                slot.mid,
                kept.copied().unwrap_or(Slot {
                    kind: slot.kind,
                    wish: None,
                    source: None,
                    sending: None,
                    limit: None,
                }),
            );
        }
    }
}

/// One person's stay.
pub(super) struct Stay {
    pub(super) id: StayId,
    pub(super) person: PersonId,
    pub(super) role: RoleName,
    pub(super) name: DisplayName,
    pub(super) place: Place,
    pub(super) link: Link,
    pub(super) connection: Option<Connection>,
    pub(super) microphone_muted: bool,
    pub(super) camera_muted: bool,
}

impl Stay {
    pub(super) fn who(&self) -> Who {
        Who {
            participant: self.id.to_string(),
            person: self.person.clone(),
            role: self.role,
            via: self.via(),
        }
    }

    pub(super) fn via(&self) -> Via {
        self.link.via()
    }

    pub(super) fn is_admitted(&self) -> bool {
        self.place == Place::Admitted && !self.is_joining()
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(
            &self.link,
            Link::Http {
                state: HttpState::Joining,
                ..
            }
        )
    }

    /// In the queue: since when, and the turn that orders it.
    pub(super) fn waiting(&self) -> Option<(Instant, u64)> {
        match self.place {
            Place::Waiting { since, turn } if !self.is_joining() => Some((since, turn)),
            _ => None,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        match &self.link {
            Link::Socket { state, .. } => matches!(state, SocketState::Online { .. }),
            Link::Http { state, .. } => matches!(state, HttpState::Live(_)),
        }
    }

    pub(super) fn socket(&self) -> Option<SocketId> {
        match &self.link {
            Link::Socket {
                state: SocketState::Online { socket, .. },
                ..
            } => Some(*socket),
            _ => None,
        }
    }

    pub(super) fn may_resume(&self, candidate: &str) -> bool {
        match &self.link {
            Link::Socket { resume, .. } => resume.matches(candidate),
            Link::Http { .. } => false,
        }
    }

    /// Tracks that others may be shown. A WHEP viewer publishes nothing, whatever its offer said.
    pub(super) fn tracks(&self) -> &[PublishedTrack] {
        match (&self.connection, self.via()) {
            (Some(connection), Via::Socket | Via::Whip) => &connection.tracks,
            _ => &[],
        }
    }

    /// Whether the others see this stay among the participants. Pure viewers are left out: there may be hundreds.
    pub(super) fn is_listed(&self) -> bool {
        self.is_admitted() && (self.via() == Via::Socket || !self.tracks().is_empty())
    }

    /// When something must be done about this stay, and what that is.
    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        match (&self.link, self.place) {
            (
                Link::Http {
                    state: HttpState::Lost { since, .. },
                    ..
                },
                _,
            ) => Some((*since + limits::HTTP_GRACE, "http grace")),
            (
                Link::Socket {
                    state: SocketState::Lost { since },
                    ..
                },
                _,
            )
            | (
                Link::Socket {
                    state: SocketState::Away { since },
                    ..
                },
                Place::Admitted,
            ) => Some((*since + limits::RESUME_GRACE, "resume grace")),
            (
                Link::Socket {
                    state: SocketState::Away { since },
                    ..
                },
                Place::Waiting { .. },
            ) => Some((*since + limits::PLACE_KEPT, "place kept")),
            _ => None,
        }
    }
}
