//! A WebSocket without a WebSocket library: what crosses between a socket and a visit.

/// One WebSocket message. Control frames carry no data here: their answering is the library's work.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message. JSON of this protocol; may carry protected health information, hence no `Debug`.
    Text(String),
    /// A binary message: refused.
    Binary,
    /// A ping: from the peer, a sign of life; from here, a request for one.
    Ping,
    /// A pong.
    Pong,
    /// The end. From here always with a code; from the peer it may be missing.
    Close(Option<CloseCode>),
}

/// Why the server closes a socket. Listed in `docs/protocol.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// After `ended`.
    Done,
    /// No hello in time.
    HelloTimeout,
    /// The session was not accepted: get a new one and come back.
    SessionRefused,
    /// Not a message of this protocol, or not the right one to begin with.
    BadMessage,
    /// A message was too long.
    TooLong,
    /// Too many messages.
    TooFast,
    /// The client reads too slowly.
    TooSlow,
    /// No sign of life.
    Idle,
    /// The visit or the server is full.
    Full,
    /// The server cannot serve at the moment.
    Unavailable,
    /// What the peer said.
    Other(u16),
}

impl CloseCode {
    /// The number on the wire: 1000 (RFC 6455 §7.4.1) or one of the private range 4000–4999.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Done => 1000,
            Self::HelloTimeout => 4000,
            Self::SessionRefused => 4001,
            Self::BadMessage => 4002,
            Self::TooLong => 4003,
            Self::TooFast => 4004,
            Self::TooSlow => 4005,
            Self::Idle => 4006,
            Self::Full => 4007,
            Self::Unavailable => 4008,
            Self::Other(number) => number,
        }
    }

    /// The close reason, a plain phrase.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::HelloTimeout => "no hello in time",
            Self::SessionRefused => "session not accepted",
            Self::BadMessage => "not a message of this protocol",
            Self::TooLong => "message too long",
            Self::TooFast => "too many messages",
            Self::TooSlow => "reading too slowly",
            Self::Idle => "no sign of life",
            Self::Full => "the visit is full",
            Self::Unavailable => "the server is unavailable",
            Self::Other(_) => "",
        }
    }

    /// A snake_case word for metrics and the protocol page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::HelloTimeout => "hello_timeout",
            Self::SessionRefused => "session_refused",
            Self::BadMessage => "bad_message",
            Self::TooLong => "too_long",
            Self::TooFast => "too_fast",
            Self::TooSlow => "too_slow",
            Self::Idle => "idle",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
            Self::Other(_) => "peer",
        }
    }

    /// All that the server uses, for the protocol page and metrics.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::HelloTimeout,
        Self::SessionRefused,
        Self::BadMessage,
        Self::TooLong,
        Self::TooFast,
        Self::TooSlow,
        Self::Idle,
        Self::Full,
        Self::Unavailable,
    ];
}
