//! Bounds on what connections can hold, each with its reason.

use std::time::Duration;

/// Open TCP connections. A visit holds one or two, and one more where no UDP gets through. Each costs a few kB; one that carries media or TURN
/// has the beginning of a message besides, 4 KiB at most (32 MiB for all), and 64 KiB only when its client has proved who it is. Over TLS the
/// library keeps a record that is not whole as well, 18 KiB, or a message of a handshake, 64 KiB: 176 MiB or 544 MiB for all. What one read brought,
/// up to 34 KB, is there besides until it is handed on.
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

/// Bytes of TLS that are read from a connection at once: a burst of a camera, and what has come behind it. A thread has one such buffer.
pub(super) const READ_AT_ONCE: usize = 16 * 1024;
