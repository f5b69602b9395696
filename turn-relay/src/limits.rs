//! Bounds on everything a client or a stranger can make the relay hold or do, each with its reason.

use std::time::Duration;

/// The lifetime of an allocation unless the client asks for more (RFC 8656 §3.2), seconds.
pub const DEFAULT_LIFETIME: u32 = 600;

/// The longest lifetime granted, seconds: what RFC 8656 §7.2 recommends as the most.
pub const MAX_LIFETIME: u32 = 3_600;

/// The life of a permission, seconds (RFC 8656 §9: it must be this).
pub const PERMISSION_LIFETIME: u32 = 300;

/// The life of a channel binding, seconds (RFC 8656 §12).
pub const CHANNEL_LIFETIME: u32 = 600;

/// How long a port that was reserved by EVEN-PORT is held, seconds: the least that RFC 8656 §7.2 allows.
pub const RESERVATION_LIFETIME: u32 = 30;

/// The life of a nonce, seconds. RFC 8656 §5 recommends to renew it at least once an hour.
pub const NONCE_LIFETIME: u32 = 3_600;

/// How long after their end credentials still serve an allocation that was made with them, seconds. A visit outlives the credentials
/// it began with, and a browser cannot change them on a live allocation; no visit lasts longer than this.
pub const CREDENTIALS_GRACE: u64 = 12 * 3_600;

/// Longest USERNAME taken, bytes: ten digits, a colon and an id. What the RFC allows (508) would only be more to hash.
pub const MAX_USERNAME: usize = 128;

/// Permissions of one allocation. A browser asks for one for each candidate of its peer; an answer of ours has 16 at most.
pub const MAX_PERMISSIONS: usize = 32;

/// Channels of one allocation: one for each permission.
pub const MAX_CHANNELS: usize = 32;

/// Addresses in one CreatePermission request: as many as an allocation can hold.
pub const MAX_PEERS_PER_REQUEST: usize = MAX_PERMISSIONS;

/// Ports held in reserve by EVEN-PORT, over all users. Nobody but RTP/RTCP pairs of old telephones needs them, for 30 s.
pub const MAX_RESERVATIONS: usize = 256;

/// Answers waiting to be sent. A burst of requests is answered by the next send; beyond it, the client asks again.
pub const MAX_PENDING_ANSWERS: usize = 512;

/// Allocations being made whose socket is not open yet (public relay only).
pub const MAX_OPENING: usize = 256;

/// Further ports that are tried for one allocation when the first belongs to another program: the range is part of the one that the system
/// hands out to everybody.
pub const OPEN_TRIES: u8 = 3;

/// The longest answer, bytes. A dual allocation with reservation and SHA-256 integrity takes 172.
pub const MAX_ANSWER: usize = 256;

/// Address prefixes told apart by the budget for unauthenticated answers, a power of two, 16 bytes each. Prefixes that fall on the same
/// entry share it; nothing is stored for any of them.
pub const BUDGET_ENTRIES: usize = 4_096;

/// Unauthenticated answers that one address prefix gets in a row: a hospital behind one address whose visits all come back at once.
pub const BUDGET_BURST: u32 = 1_000;

/// Unauthenticated answers a second that one address prefix gets in the long run. A client needs one for each allocation.
pub const BUDGET_PER_SECOND: u32 = 100;

/// Unauthenticated answers a second, over all prefixes: 17 Mbit/s of 84-byte answers and a tenth of a core, and far above the
/// allocations a machine can carry.
pub const BUDGET_TOTAL_PER_SECOND: u32 = 20_000;

/// Seconds of one slot of the timer wheel. Ends are checked to the second when an allocation is used; the wheel only sweeps.
pub const WHEEL_SECONDS: u32 = 4;

/// Slots of the timer wheel, a power of two: together longer than [`MAX_LIFETIME`].
pub const WHEEL_SLOTS: usize = 1_024;

/// Longest message taken from a stream into the media core, bytes, header included. Everything in a visit is smaller than an Ethernet packet;
/// a client that announces more would only make the server wait for it.
pub const MAX_STREAM_MESSAGE: usize = 4_096;

/// Longest message taken from a stream of the public relay, bytes, header and padding included: the longest that the length fields of STUN and
/// ChannelData can tell (RFC 8489 §5, RFC 8656 §12.4). What it carries may be any UDP datagram.
pub const MAX_RELAYED_MESSAGE: usize = 20 + 65_536;

/// Bytes that must be seen before a connection's protocol is known: an RFC 4571 length and half of a STUN header.
pub const FIRST_BYTES: usize = 10;

/// How long a new connection may take over its first bytes. A client that has connected sends at once; a scanner does not.
pub const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
