//! Every bound of this crate, with its reason.

use std::time::Duration;

use jiff::SignedDuration;

/// A name as people write it. Longer ones are cut by no screen of ours; much longer ones are abuse.
pub const NAME_CHARS: usize = 100;
/// An appointment shorter than this cannot be met; a longer one than a working day is a typing error.
pub const APPOINTMENT_MINUTES: std::ops::RangeInclusive<i64> = 5..=600;
/// How far ahead appointments can be made. Less would annoy yearly check-ups; more is a typing error.
pub const APPOINTMENT_AHEAD: SignedDuration = SignedDuration::from_hours(2 * 366 * 24);
/// How long ago a new appointment may have started: room for "we started already".
pub const APPOINTMENT_PAST: SignedDuration = SignedDuration::from_hours(24);
/// The widest range of a list of appointments: two months, so that any calendar page fits.
pub const LIST_RANGE: SignedDuration = SignedDuration::from_hours(62 * 24);
/// The most appointments one list shows. A clinician has at most some 50 a day; the caller narrows the range.
pub const LIST_ROWS: usize = 1_000;

/// A session token lives this long unless refreshed: short, for it sits in the memory of a page on a borrowed phone.
pub const SESSION_LIFE: SignedDuration = SignedDuration::from_mins(15);
/// A join link works until this long after the appointment's end: people return late and visits overrun.
pub const LINK_AFTER_END: SignedDuration = SignedDuration::from_hours(12);
/// The longest life of a token from the command line: a month of testing; anything permanent deserves an account.
pub const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(31 * 24);
/// Live sessions of one link: a page uses two at a time (before and after a refresh). The oldest gives way, so a stolen link
/// cannot fill the table, and a hundred tools sharing one token still work.
pub const SESSIONS_PER_LINK: usize = 256;

/// Jobs that may wait for the store. Each is one request; beyond it, the caller is told to come back.
pub const STORE_QUEUE: usize = 512;
/// Transactions that share one commit (one flush to disk). More would only lengthen the wait of the first.
pub const STORE_BATCH: usize = 64;
/// How long a transaction waits for another process (a command line tool) to finish with the database.
pub const STORE_BUSY: Duration = Duration::from_secs(5);
/// Objects named by one audit row. A longer list says how many were left out; the list queries stay far below it.
pub const AUDIT_OBJECTS: usize = 2_048;

/// A JSON body. The largest honest one (an appointment) is under 1 kB.
pub const JSON_BYTES: usize = 16 * 1024;
/// An SDP offer: as much as the media core reads. Browsers send 6 to 12 kB for a visit.
pub const SDP_BYTES: usize = 64 * 1024;
/// From the end of a request's headers to the beginning of its answer, reading the body included. Signalling waits for the media
/// core, which answers in milliseconds. Answers are sent from memory, and WebSockets have limits of their own.
pub const REQUEST_TIME: Duration = Duration::from_secs(15);
/// How long a client may take over its request headers; slower ones hold a connection for nothing.
pub const HEADER_TIME: Duration = Duration::from_secs(10);
/// WebSockets of one address prefix that have not said hello: a tenth of what the visits greet at once. Honest pages say it in the
/// same moment, so this many come and go within a second when a whole clinic comes back.
pub const GREETING_PER_PREFIX: usize = 100;
/// How long requests may go on once the server is told to stop.
pub const DRAIN_TIME: Duration = Duration::from_secs(5);
/// Address prefixes that are remembered for rate limits (about 100 B each). Strangers beyond it share one allowance.
pub const RATE_PREFIXES: usize = 20_000;
/// Quality records read at once; an export goes on with the next. One has at most some 60 kB.
pub const QUALITY_ROWS: usize = 200;
/// How long quality records are kept if the configuration says nothing: long enough to compare two quarters' months.
pub const QUALITY_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// The longest life of an operator's token, and how long one lives without a wish: a working day.
pub const OPERATOR_LIFE: SignedDuration = SignedDuration::from_hours(31 * 24);
/// See [`OPERATOR_LIFE`].
pub const OPERATOR_DAY: SignedDuration = SignedDuration::from_hours(12);
/// The longest life of a probe's link, and how long one lives without a wish: monitoring stands for years, but its secrets are renewed.
pub const PROBE_LIFE: SignedDuration = SignedDuration::from_hours(366 * 24);
