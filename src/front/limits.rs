//! Bounds on what connections can hold, each with its reason.

use std::time::Duration;

/// Open TCP connections. A visit holds one or two, and one more where no UDP gets through. Each costs a few kB; one that carries media or TURN
/// has two chunks of 4 KiB besides to be read into (65 MiB for all), and four of 16 KiB, which may grow to 64 KiB, only when its client has proved
/// who it is. Over TLS the library keeps a record that is not whole as well, 18 KiB, or a message of a handshake, 64 KiB: with the chunks 209 MiB
/// or 577 MiB for all. What one read brought, up to 34 KB, is there besides until it is handed on.
pub(crate) const CONNECTIONS: usize = 8_192;

/// Of these, for one address prefix: a quarter. A hospital behind one address needs some 500 for pages and as many for media where its
/// firewall lets no UDP out; a proxy that is listed, and programs on this machine, have no such bound.
pub(super) const CONNECTIONS_PER_PREFIX: usize = 2_048;

/// Connections of one address prefix that have not said what they want. Browsers say it at once, but for one or two each that they open in
/// advance.
pub(super) const SILENT_PER_PREFIX: usize = 512;

/// How long a TLS handshake may take: two round trips, and the time of a slow phone.
pub(super) const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// After a failed `accept`.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes that the kernel may hold of a media connection without having sent them: 90 ms at 1.5 Mbit/s. What waits longer waits where video
/// can still be dropped.
pub(super) const NOT_SENT: u32 = 16 * 1024;

/// After so much silence the peer is asked whether it is there.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(15);

/// A peer that acknowledges nothing for so long is gone: as long as consent lasts (RFC 7675).
pub(super) const UNANSWERED: Duration = Duration::from_secs(30);

/// How long a media connection may take for what it is given at once. A peer that reads nothing for so long has given up.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait for a shard that is too busy to take what was read.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// How long a closing connection may take over its last word.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// Bytes of TLS that are read from a connection at once: a burst of a camera, and what has come behind it. A thread has one such buffer.
pub(super) const READ_AT_ONCE: usize = 16 * 1024;

/// How long a thread that carries connections waits before it looks what has come, while much does: 0.25 ms on average for a packet, a fortieth
/// of a jitter buffer.
pub(super) const PAUSE: Duration = Duration::from_micros(500);

/// From so many wakings a second on it pauses. A visit of two over TLS makes some 1,000.
pub(super) const PAUSE_FROM: u64 = 2_500;

/// With pauses a thread is woken 2,000 times a second at most. Below this, pauses bring less than two wakings together.
pub(super) const PAUSE_UNTIL: u64 = 700;

/// How often that is decided.
pub(super) const PACE_WINDOW: Duration = Duration::from_millis(50);
