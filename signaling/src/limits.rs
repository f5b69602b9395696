//! The bound of everything a stranger can grow, each with its reason.

use std::time::Duration;

/// Longest message from a client, bytes of JSON: an offer with a camera, a microphone and a dozen receiving lines is 10–30 KiB.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Longest message that is not an offer. The largest of them, hello, carries two tokens; a decline 200 characters.
pub const MAX_SMALL_MESSAGE_BYTES: usize = 4 * 1024;
/// Longest SDP fragment of a WHIP or WHEP `PATCH`: credentials and some twenty candidates.
pub const MAX_FRAGMENT_BYTES: usize = 8 * 1024;
/// Messages per second a socket may send for long. People click; a client that renegotiates sends five in a burst.
pub const MESSAGES_PER_SECOND: u32 = 20;
/// Messages a socket may send at once.
pub const MESSAGE_BURST: u32 = 60;
/// Messages waiting for a slow reader. Every state is whole, so whoever is this far behind loses nothing by starting again.
pub const SEND_QUEUE: usize = 64;
/// How long one message may take to be written before the reader counts as gone.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests waiting for a visit's task. Senders wait when it is full, so this bounds memory, not correctness.
pub const VISIT_QUEUE: usize = 256;
/// Time for the first message. Longer only helps who holds sockets open to exhaust us.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Sockets that have not said hello yet, over all visits.
pub const MAX_GREETING_SOCKETS: usize = 1_000;
/// A socket that sends neither message nor pong for so long is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the server pings. Two pings fit before [`IDLE_TIMEOUT`], and most middleboxes drop silent connections after 60 s.
pub const PING_INTERVAL: Duration = Duration::from_secs(12);
/// How long a dropped socket's stay and media are kept. Shorter ends visits in lifts; longer leaves a frozen tile on the screen.
pub const RESUME_GRACE: Duration = Duration::from_secs(60);
/// How long a place in the queue is kept for somebody who is away.
pub const PLACE_KEPT: Duration = Duration::from_secs(600);
/// How long an HTTP participant without ICE consent stays. There is no socket to come back on, only an ICE restart.
pub const HTTP_GRACE: Duration = Duration::from_secs(30);
/// Characters of a name.
pub const MAX_NAME_CHARS: usize = 100;
/// Characters of a word of reason.
pub const MAX_REASON_CHARS: usize = 200;
/// Bytes of a visit's or person's id.
pub const MAX_ID_BYTES: usize = 64;
/// Offers of one client that wait while one is answered. A client has one in flight by the rules of JSEP; one more is a rebuilt connection.
pub const MAX_WAITING_OFFERS: usize = 1;
/// Receiving lines one client may have: 15 others with microphone and camera, and as many spare ones.
pub const MAX_SLOTS: usize = 64;
/// Tracks one participant can publish that are announced: microphone, camera and two shared screens with sound.
pub const MAX_TRACKS: usize = 8;
/// WHIP sessions of one person in one visit, so that one link can't fill it: two encoders, and one of each that has not timed out
/// yet. A patient's WHEP sessions count too; those of others don't, for hundreds may watch with one token.
pub const MAX_HTTP_PER_PERSON: usize = 4;
/// Visits with somebody in them.
pub const MAX_VISITS: usize = 10_000;

/// How often the media core is looked at for the quality record. Shorter shows more and costs each shard more; a freeze lasts a second.
pub const QUALITY_LOOK: Duration = Duration::from_secs(5);
/// How often the records of a visit that goes on are stored: what a kill may cost. Each time is one row of the audit log.
pub const QUALITY_KEEP: Duration = Duration::from_secs(300);
/// Participants of one visit that have a quality record: all people, and the first of hundreds of viewers.
pub const QUALITY_PARTICIPANTS: usize = 64;
/// Samples in one record: 20 minutes at full detail, longer visits at less. One is some 200 bytes.
pub const QUALITY_SAMPLES: usize = 240;
/// Moves on the ladder in one record; of more, the last are kept. The ladder's dwell times allow a few a minute.
pub const QUALITY_MOVES: usize = 200;
/// Changes of path in one record. A phone that leaves home makes two.
pub const QUALITY_PATHS: usize = 32;
/// Pauses of pictures that are remembered between two reports of a client.
pub const QUALITY_PAUSES: usize = 32;
/// A client may report this often; ours does each ten seconds.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// The longest time one report may be about: a page that was asleep.
pub const REPORT_SPAN: Duration = Duration::from_secs(120);

/// Keeps at most `max` characters, drops what would break or reorder a line (controls, bidirectional overrides), trims.
pub(crate) fn clean_text(text: &str, max: usize) -> String {
    let kept: String = text
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .collect();
    kept.trim().chars().take(max).collect()
}
