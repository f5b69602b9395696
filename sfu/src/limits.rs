//! Bounds on everything a stranger can make this crate hold or do, each with its reason.

use std::time::Duration;

use crate::media::Bitrate;
use crate::ring::RingSize;
use crate::streams::LaneBound;

/// Longest SDP offer read. A browser's offer with ten audio and ten video lines has about 40 KiB.
pub(crate) const MAX_OFFER_BYTES: usize = 64 * 1024;

/// What sound may take from the pictures of one viewer, beyond the 80 kbit/s that are set aside for it: with them it is seven voices, as in a
/// visit of eight, or five with two frames of redundancy in each packet. Without, whoever publishes "sound" of any rate would leave every
/// viewer without picture.
pub(crate) const MAX_SPEECH: Bitrate = Bitrate::from_kbps(400);

/// Most `m=` lines of one session. Each costs about 500 bytes and an entry in the demultiplexer; a visit of eight people
/// needs sixteen, and lines closed by the client keep their place for the life of the session.
pub(crate) const MAX_LINES: usize = 64;

/// Payload types agreed per line: VP8 and H.264 with retransmission each (audio needs two).
pub(crate) const MAX_FORMATS: usize = 4;

/// Simulcast encodings accepted per line: one per video rung of the ladder.
pub(crate) const MAX_ENCODINGS: usize = 2;

/// Media SSRCs noted per published line: what a browser lists for three encodings, and one to spare.
pub(crate) const MAX_DECLARED_SSRCS: usize = 4;

/// How long a transport may take to connect before it is closed.
///
/// A browser gives up its own checks after 15–30 s; a slower join is retried by the client with a new offer. Longer only
/// keeps dead transports of people who closed the page at once.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long after the last authenticated check the peer's consent to receive is taken as lost (RFC 7675 §5.1).
///
/// Browsers check a live path every 2.65 s (Chromium) to 5.5 s (Firefox).
pub(crate) const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest datagram this server sends of its own making, bytes of UDP payload. Fits every path IPv6 allows (1,280 − 48).
pub(crate) const MAX_DATAGRAM: usize = 1_232;

/// The longest RTP payload stored and forwarded, bytes; longer packets are dropped and counted.
///
/// With 46 bytes of our header, 16 of SRTP tag and 4 of TURN framing it fits the 1,472 bytes that an Ethernet leaves to UDP. Browsers
/// send at most 1,198 bytes in all; encoders set to an RTP packet of 1,400 have payloads of 1,388.
pub(crate) const MAX_PAYLOAD: usize = 1_400;

/// How often a track's layers may change places because of the sizes of their pictures. Once puts an encoder right that lists the
/// largest first; the rest is for one that changes its sizes. Each time uses up two serial numbers of rings, which must not run out.
pub(crate) const LAYER_REORDERS: u8 = 8;

/// The ring of a large video layer: 2.4 s at 210 packets/s, and 2.8 s at 1.5 Mbit/s. Viewers read within milliseconds; the depth is
/// for retransmissions, which are worth nothing after a second or two. More costs cache and memory per publisher, less turns the
/// NACKs of slow paths into key frames.
pub(crate) const LARGE_VIDEO_RING: RingSize = RingSize {
    packets: 512,
    bytes: 512 * 1024,
};

/// The ring of a small video layer: 3.3 s at 77 packets/s, 2.6 s at 600 kbit/s.
pub(crate) const SMALL_VIDEO_RING: RingSize = RingSize {
    packets: 256,
    bytes: 192 * 1024,
};

/// The ring of an audio track: 2.5 s at 50 packets/s, 192 bytes each; redundant Opus has 125 on average.
pub(crate) const AUDIO_RING: RingSize = RingSize {
    packets: 128,
    bytes: 24 * 1024,
};

/// Packets of a video slot remembered for retransmission, at 20 bytes each: 10 KiB, as deep as the ring they are resent from.
pub(crate) const VIDEO_HISTORY: usize = 512;

/// Packets of an audio slot remembered. Audio is not resent; the memory keeps a number from being used twice.
pub(crate) const AUDIO_HISTORY: usize = 64;

/// The longest run of packets lost by the publisher that is kept open for repair in the outgoing numbers. Half the history, so that
/// every hole can still be filled. A longer gap (over a second of 720p) restarts video at a key frame and is closed for audio.
pub(crate) const MAX_HOLE: u64 = VIDEO_HISTORY as u64 / 2;

/// How long a packet lost by the publisher may take to be repaired before a receiver's NACK for it asks for a key frame instead:
/// two round trips of 100 ms to the publisher and a retry.
pub(crate) const REPAIR_WINDOW: Duration = Duration::from_millis(300);

/// How far behind its followers the first packet of a key frame may arrive, in packets, for them to be found at a switch:
/// a round trip of 500 ms at 210 packets/s.
pub(crate) const SWITCH_LOOK_BACK: u64 = 128;

/// The oldest key frame a receiver that is shown nothing yet starts from instead of asking for a new one: people who join together
/// share one. What came since is sent in one go: 40 kB at 1.5 Mbit/s.
pub(crate) const KEY_FRAME_REUSE: Duration = Duration::from_millis(200);

/// Resends waiting in one slot. One NACK message of a browser names at most a few dozen packets; those over the limit are asked for
/// again 100 ms later.
pub(crate) const MAX_PENDING_RESENDS: usize = 128;

/// How often one packet is resent. Ten at one a round trip is as long as a browser asks before it wants a key frame; on a path that loses many,
/// where each time counts twice, five round trips.
pub(crate) const MAX_RESENDS: u8 = 10;

/// Sender reports whose time of sending is remembered for round trips: a report block echoes the last, or the one before it if the
/// two crossed.
pub(crate) const REMEMBERED_REPORTS: usize = 4;

/// Least time between two key frame requests of one slot. A key frame takes 16–47 ms in a browser, plus the round trip.
pub(crate) const KEY_FRAME_GAP: Duration = Duration::from_millis(200);

/// Key frame requests that a receiver's PLIs and NACKs may cause in [`KEY_FRAME_WINDOW`]. A key frame costs every viewer of the
/// publisher bandwidth; a receiver that needs more of them has a path that they make worse.
pub(crate) const KEY_FRAMES_PER_WINDOW: usize = 3;

/// See [`KEY_FRAMES_PER_WINDOW`].
pub(crate) const KEY_FRAME_WINDOW: Duration = Duration::from_secs(10);

/// How long a slot that was told to stop waits for the end of the frame it is in.
pub(crate) const FINISH_FRAME: Duration = Duration::from_millis(100);

/// RTCP packets read from one datagram. Browsers send up to about ten; the bound keeps a datagram full of empty packets cheap.
pub(crate) const RTCP_PACKETS_PER_DATAGRAM: usize = 64;

/// Packet statuses read from one transport-wide feedback. A 36-byte packet can claim 65,535 of them, and a datagram holds 40 such
/// packets. Eight thousand is 20 s of darkness at 4 Mbit/s, after which the sender's history is gone anyway.
pub(crate) const TWCC_STATUSES_PER_FEEDBACK: u16 = 8_192;

/// Packets of one received stream remembered as "arrived", a power of two: 256 bytes of bits, 10 s of 720p. An older packet is refused,
/// because it could not be told from a duplicate. SRTP's replay window is no larger.
pub(crate) const RECEIVE_WINDOW: u64 = 2_048;

/// Holes of one received stream that are being repaired. A key frame of 720p has 30 to 100 packets: more holes than that cost less
/// as a new key frame than as repairs, on an uplink that is losing packets already.
pub(crate) const MAX_HOLES: usize = 128;

/// How long a hole may be reordering before it is asked for. Home uplinks reorder within 1 to 3 ms; every millisecond here is a
/// millisecond of every repair.
pub(crate) const NACK_TOLERANCE: Duration = Duration::from_millis(5);

/// Time from one request for a hole to the next while no round trip was measured. The n-th repetition waits n times as long.
pub(crate) const NACK_INTERVAL: Duration = Duration::from_millis(40);

/// Repetitions that do not wait longer than the one before, where the round trip is known: on a path that loses a packet in ten either
/// way, each request fails one time in five, and viewers notice after 200 ms.
pub(crate) const NACK_FREE_TRIES: u8 = 4;

/// Packets over which the loss of an uplink is averaged, and the share from which on each request is sent twice, the second time so much
/// later: a request is some 30 bytes, and one that is lost costs a round trip.
pub(crate) const UPLINK_LOSS_SPAN: f32 = 128.0;
/// See [`UPLINK_LOSS_SPAN`].
pub(crate) const LOSSY_UPLINK: f32 = 0.03;
/// See [`UPLINK_LOSS_SPAN`].
pub(crate) const NACK_ECHO: Duration = Duration::from_millis(8);

/// The most intervals to wait between repetitions.
pub(crate) const NACK_BACKOFF: u8 = 4;

/// The shortest interval, whatever the round trip: browsers answer in 1 to 5 ms and do not repeat themselves faster.
pub(crate) const MIN_NACK_INTERVAL: Duration = Duration::from_millis(20);

/// Requests for one hole before giving up.
pub(crate) const MAX_NACK_TRIES: u8 = 10;

/// Frames of speech that are taken out of one packet with redundancy, from the youngest on: what our page sends at most, and one more.
pub(crate) const RECOVERED_FRAMES: usize = 3;

/// Age at which a hole is given up, or four measured round trips if that is longer. Viewers that have their frames held up for longer
/// than this are better off with a key frame.
pub(crate) const MAX_HOLE_AGE: Duration = Duration::from_millis(500);

/// The same for audio: what browsers hold back of speech on a bad path. Later it is silence already.
pub(crate) const MAX_SPEECH_HOLE_AGE: Duration = Duration::from_millis(250);

/// The longest a hole is asked for on any path. A round trip over 375 ms leaves no time for four of them.
pub(crate) const LONGEST_HOLE_AGE: Duration = Duration::from_millis(1_500);

/// Time between transport-wide feedbacks. With 50 ms Chromium sends 720p after 130–220 ms, with 200 ms after 225 ms and reaches full
/// rate later. Shorter costs uplink of the viewers' own: 20 packets/s of about 60 bytes is 10 kbit/s already.
pub(crate) const TWCC_INTERVAL: Duration = Duration::from_millis(50);

/// Packets whose arrivals a transport remembers for feedback, a power of two: 4 KiB. Half of it fills in 50 ms at 10,000 packets/s, and
/// then feedback is sent early. What falls out is never reported, as if its feedback had been lost.
pub(crate) const TWCC_WINDOW: u64 = 1_024;

/// Time between feedbacks of a crowded window. Numbers that jump to and fro make any window crowded: without it, each such packet of a
/// stranger would cost a walk over the window and a packet in return.
pub(crate) const TWCC_CROWDED_INTERVAL: Duration = Duration::from_millis(5);

/// Mean time between key frame requests to one publisher, whoever asks. A request costs key frames of *all* its layers: at 20 to
/// 60 kB each, more than one a second is more than a third of a 720p uplink. Longer would make somebody who joins wait for it.
pub(crate) const KEY_FRAME_PACE: Duration = Duration::from_secs(1);

/// Key frame requests that may run ahead of [`KEY_FRAME_PACE`], as when several people join within a second.
pub(crate) const KEY_FRAME_BURST: u32 = 5;

/// Time from a key frame request to its repetition: a browser's 47 ms and a round trip of 250 ms. Doubles with each try.
pub(crate) const KEY_FRAME_RETRY: Duration = Duration::from_millis(300);

/// Repetitions after which a key frame is no longer expected: the layer is off. Over 0.3 + 0.6 + 1.2 + 2.4 + 4.8 s.
pub(crate) const KEY_FRAME_TRIES: u8 = 5;

/// Mean time between reports of one transport. RFC 3550 §6.2 asks for 5 % of the session's bandwidth or less: a report of two
/// streams once a second is 0.1 % of a visit.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a report that is due may wait for media to the same client, to leave with it: two frames at 30 a second. Alone it would wake this thread
/// and whoever forwards it, which costs as much as a dozen packets of a burst. It is a tenth of the spread that reports have anyway.
pub(crate) const REPORT_SLACK: Duration = Duration::from_millis(70);

/// From the first packet of a new stream to the report that names it. After it the browser stops sending the stream's MID and RID,
/// which are 6 bytes of each packet; some time lets packets of the same stream that were sent before it be recognised.
pub(crate) const FIRST_REPORT: Duration = Duration::from_millis(100);

/// SSRCs of one transport in one direction, for RTP and for RTCP each. Sixteen published layers with their retransmission, or
/// 64 received lines with theirs, need half of it; each costs 76 bytes. None is forgotten, because replay protection and
/// nonces hang on them.
pub(crate) const MAX_SSRCS: usize = 256;

/// Longest DTLS datagram looked at: a client's flight is cut to the path's MTU, 1,500 bytes at most but for jumbo frames.
pub(crate) const MAX_DTLS_DATAGRAM: usize = 2_048;

/// DTLS datagrams held per transport until a handshake message is whole. A browser's longest flight is three; retransmissions
/// that are cut differently take places of their own.
pub(crate) const MAX_DTLS_QUEUE: usize = 30;

/// Validated paths per transport: four addresses of the peer towards four of ours. The one unused for longest goes.
pub(crate) const MAX_PATHS: usize = 16;

/// STUN answers and DTLS datagrams waiting to be sent, per transport. A DTLS flight is three; the rest is answers, which the
/// peer asks for again if they are dropped.
pub(crate) const MAX_PENDING_TRANSMITS: usize = 32;

/// Shards a media core may have. Each takes a port and a thread; no machine has use for more.
pub(crate) const MAX_SHARDS: usize = 64;

/// Socket buffers asked of the kernel: 50 ms at a gigabit. Linux grants up to `net.core.rmem_max`; with less, a burst is lost
/// earlier.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// The same for the socket of requests in a flood: some 2,700 datagrams, for Linux doubles it: 13 ms of 200,000 requests a second. What a flood leaves waiting stands
/// before honest requests, so more would not help them; what is lost is asked again.
pub(crate) const REQUESTS_BUFFER_BYTES: usize = 1024 * 1024;

/// Requests that strangers may send too, in [`FLOOD_WINDOW`], from which on they are kept apart from media: 4,000 a second, which is more than
/// 400 people a second that join by relay. As many at once hold up media for less than half a millisecond.
pub(crate) const FLOOD_REQUESTS: usize = 400;

/// See [`FLOOD_REQUESTS`].
pub(crate) const FLOOD_WINDOW: Duration = Duration::from_millis(100);

/// A flood is over when there were never too many requests for so long.
pub(crate) const FLOOD_OVER: Duration = Duration::from_secs(10);

/// In a flood a shard's thread looks for requests this often. They do not wake it: whoever floods it decides neither how often it is woken nor
/// what it does first.
pub(crate) const REQUESTS_GAP: Duration = Duration::from_millis(1);

/// It is doubled up to this while there are none: what is left of a flood is to be waited for, not to be woken for.
pub(crate) const REQUESTS_GAP_MOST: Duration = Duration::from_millis(16);

/// Time for them in one turn. With the answers that leave at its end it is some 0.15 ms that media waits at most.
pub(crate) const REQUESTS_TIME: Duration = Duration::from_micros(50);

/// Host candidates in an answer. Every one costs each client a check.
pub(crate) const MAX_CANDIDATES: usize = 16;

/// Commands waiting for a shard. A join is about five; the shard takes 64 a turn.
pub(crate) const COMMAND_QUEUE: usize = 8_192;

/// Events waiting for whoever takes them, before the shard keeps them itself.
pub(crate) const EVENT_QUEUE: usize = 4_096;

/// Events a shard keeps while nobody takes them; then they are lost and counted.
pub(crate) const EVENT_BACKLOG: usize = 65_536;

/// How often counters are published, and the longest sleep of an idle shard.
pub(crate) const METRICS_INTERVAL: Duration = Duration::from_millis(250);

/// Participants of one shard, over all rooms: some 64 KiB each.
pub(crate) const MAX_MEMBERS_PER_SHARD: usize = 10_000;

/// SSRCs learned from one peer: eight lines of two layers with retransmission each. Looked through one by one.
pub(crate) const MAX_ROUTES: usize = 32;

/// The longest packet ever written: header, resent number, payload, tag.
pub(crate) const MAX_PACKET: usize = crate::send::MAX_HEADER + 2 + MAX_PAYLOAD + crate::srtp::MAX_RTP_OVERHEAD;

/// Screens one participant may share: people show one thing at a time, and each goes before all cameras of a visit on a thin line.
pub(crate) const MAX_SCREENS: usize = 1;

/// A video layer from which nothing came for so long was switched off by its publisher. A layer at two frames a second, the
/// slowest that Chromium lets one become, is still on.
pub(crate) const LAYER_INACTIVE: Duration = Duration::from_millis(1_200);

/// How often a publisher of a camera with two layers is looked at if nothing calls for it: what nobody watches is switched off within
/// 2 s, with a second of patience and the way to the browser in it. A look costs a microsecond and one for each ten viewers.
pub(crate) const UPLINK_LOOK: Duration = Duration::from_millis(250);

/// Report blocks in one compound: all streams of a publisher with three cameras. The count field ends at 31.
pub(crate) const REPORT_BLOCKS: usize = 16;

/// How long media waits after our last flight of the handshake, unless a packet of the peer shows that it has its keys. Clients that take
/// their datagrams in groups put the keys in place behind the group; on an idle machine that is well under a millisecond.
pub(crate) const KEYS_IN_PLACE: Duration = Duration::from_millis(50);

/// Least time for which an SSRC keeps its layer before another one can take it. Each change costs a new ring, 700 kB, and a key frame;
/// an encoder that really starts anew has been silent for longer.
pub(crate) const STREAM_LIFE: Duration = Duration::from_secs(1);

/// Relay allocations of one person. A browser makes one for each of its network interfaces and each of our addresses, again for each new
/// connection while the old ones end.
pub(crate) const RELAY_ALLOCATIONS_PER_USER: u32 = 16;

/// Relay allocations of one address prefix: a hospital behind one address, 500 people with two networks each.
pub(crate) const RELAY_ALLOCATIONS_PER_PREFIX: u32 = 2_048;

/// Relay allocations of a shard, about 500 bytes each. More people than a shard's thread carries, with two networks each.
pub(crate) const RELAY_ALLOCATIONS: u32 = 8_192;

/// What one relay allocation may send, bytes a second: 10 Mbit/s, four times what a browser of ours publishes.
pub(crate) const RELAY_BYTES_PER_SECOND: u32 = 1_250_000;

/// Buffers asked of the kernel for one relayed address of the general relay: a second at 8 Mbit/s. Nothing is set aside for it.
pub(crate) const RELAYED_BUFFER_BYTES: usize = 1024 * 1024;

/// How long credentials for the relay open new allocations. They are handed out again whenever a page says hello; a page that lost its
/// network for longer than this says hello before it connects.
pub(crate) const RELAY_CREDENTIALS_LIFE: Duration = Duration::from_secs(4 * 3_600);

/// DTLS goodbyes that wait to be sent: a large room that is closed. One that is lost is noticed by its client all the same, 30 s later.
pub(crate) const MAX_FAREWELLS: usize = 1_024;

/// Windows over which a shard measures how busy it is: some frames, so that a frame's burst alone does not look like a load.
pub(crate) const LOAD_WINDOW: Duration = Duration::from_millis(100);

/// From this share of a shard's time spent on media on, in thousandths, video waits for the tick. Below it, waiting would save what nobody needs.
pub(crate) const PACING_FROM_PERMILLE: u16 = 150;

/// The grid on which video that waits leaves. Uplinks of 10 to 50 Mbit/s spread a frame over 1 to 4 ms, and 2 ms gather 2.5 to 5 of its
/// packets; at 5 ms it is little more, and the delay could be seen.
pub(crate) const PACER_TICK: Duration = Duration::from_millis(2);

/// From this many viewers on, a frame is forwarded when its last packet is there, or with the tick. In a visit of a few people an idle
/// shard has nothing to save; with a hundred viewers each packet that leaves by itself costs a hundred calls.
pub(crate) const WHOLE_FRAMES_FROM: usize = 4;

/// From this many received datagrams per second on, a shard's thread pauses for [`INTAKE_PAUSE`] between two looks at its socket, so that
/// a wake-up serves two and more. Below it, pauses would cost more wake-ups than they save.
pub(crate) const INTAKE_IN_GROUPS_FROM: u64 = 6_000;

/// See [`INTAKE_IN_GROUPS_FROM`] and [`crate::load::Lull`]. This is all that audio ever waits for: 0.1 ms on average, a hundredth of a
/// jitter buffer.
pub(crate) const INTAKE_PAUSE: Duration = Duration::from_micros(200);

/// The same for the general relay, from the same rate on. It knows nothing of what it carries, which is no conversation's only hop; within a
/// millisecond the bursts of several clients arrive, and leave in one turn. With half of it sleeping and waking was a quarter of the relay's time.
pub(crate) const RELAY_PAUSE: Duration = Duration::from_millis(1);

/// Requests and useless datagrams that the general relay looks at in one turn of its thread, if they are of strangers. Each that is answered costs some
/// 4 µs, most of it for sending the answer; with 64 of them media waits for 0.3 ms. A turn may bring 8,192: 32 buffers of 64 datagrams, four times.
pub(crate) const RELAY_STRANGERS_PER_TURN: usize = 64;

/// DTLS datagrams that wait for their turn: the first flights of 500 people who join at once. What does not fit is sent again by its client
/// after a second.
pub(crate) const MAX_WAITING_HANDSHAKES: usize = 1_024;

/// Offers read in one turn of a shard's thread, 0.1 to 0.3 ms each: media that came meanwhile goes first again.
pub(crate) const OFFERS_PER_TURN: usize = 2;

/// Datagrams of audio, feedback and handshakes that are kept when the socket is full: 20 ms of audio to 500 viewers. Older ones go first, for
/// audio that is late is worth nothing.
pub(crate) const MAX_HELD: usize = 512;

/// Packets of which it is noted how long they took through the server: one of so many that are forwarded, and so many in one flush.
pub(crate) const LATENCY_SAMPLE: u32 = 16;

/// See [`LATENCY_SAMPLE`].
pub(crate) const LATENCY_SAMPLES_PER_FLUSH: usize = 8;

/// Time to the next attempt to tell events that found their queue full.
pub(crate) const RETELL: Duration = Duration::from_millis(5);

/// Packets of one transport remembered until feedback tells of them, a power of two, at 8 bytes each: 4 s of 720p, and 1.2 s while a
/// probe of small packets runs. Feedback is a round trip and 100 ms late.
pub(crate) const SENT_HISTORY: usize = 1_024;

/// Packets of pictures whose transport-wide numbers are remembered for [`crate::adapt::Missing`], a power of two, at 12 bytes each, only for
/// paths that lose many: 2 s of 720p. Feedback is a round trip and 100 ms late.
pub(crate) const MISSING_HISTORY: usize = 512;

/// How long after the socket was full nothing is sent again unasked: what viewers then miss was dropped here. A round trip and 100 ms.
pub(crate) const FULL_SOCKET_PAUSE: Duration = Duration::from_millis(300);

/// Packets that one feedback makes the server send again unasked. Where it tells of more, something else is wrong than chance.
pub(crate) const MAX_UNASKED: usize = 32;

/// Arrivals that delay, trend and rate are computed from, at 16 bytes each: half a second with a probe of small packets.
pub(crate) const ARRIVAL_SAMPLES: usize = 512;

/// Runs of numbers remembered while frames of a temporal layer are left out: one for each such frame, two seconds' worth.
pub(crate) const REMEMBERED_RUNS: usize = 32;

/// Streams (TCP and TLS connections) of a shard: as many as the port takes connections.
pub(crate) const MAX_STREAMS: usize = 8_192;

/// Connections that were handed to a thread which has not looked at them. Beyond it they are closed.
pub(crate) const STREAM_INBOX: usize = 4_096;

/// Bytes read from a connection at once: a TLS record, a dozen packets.
pub(crate) const STREAM_READ: usize = 16 * 1024;

/// The same of a connection whose client has not proved who it is: its longest message.
pub(crate) const STRANGERS_READ: usize = housecall_turn::limits::MAX_STREAM_MESSAGE;

/// Plaintext of one TLS record (RFC 8446 §5.1).
pub(crate) const STREAM_RECORD: usize = 16 * 1024;

/// Video that waits for a connection: a key frame of 720p, and half a second at 1.5 Mbit/s. What is older than that, a viewer does without.
pub(crate) const STREAM_VIDEO: LaneBound = LaneBound {
    bytes: 128 * 1024,
    age: Duration::from_millis(400),
};

/// Audio, feedback and handshakes that wait for a connection: three seconds of two people speaking, after which audio is worth nothing and
/// the rest has been sent again.
pub(crate) const STREAM_URGENT: LaneBound = LaneBound {
    bytes: 32 * 1024,
    age: Duration::from_secs(3),
};

/// How often the general relay reads which addresses and networks its machine has: one system call for what changes once in a day or a year. Until
/// then a peer in a network that is new can be reached.
pub(crate) const OWN_NETWORKS_INTERVAL: Duration = Duration::from_secs(5);

/// How long the general relay refuses a network that its machine has no more: longer than a lease takes to be renewed or a link to come back, and
/// than a permission lasts (5 minutes), which was given in the meantime.
pub(crate) const OWN_NETWORKS_KEPT: Duration = Duration::from_secs(600);

/// When the general relay tries again to read them for the first time. Until it could, it serves nobody.
pub(crate) const OWN_NETWORKS_RETRY: Duration = Duration::from_millis(500);

/// How long a stream may be there without being of use: no allocation, no check that was answered. A browser does either within a second.
pub(crate) const STREAM_UNUSED: Duration = Duration::from_secs(30);

/// How often streams are looked at for that.
pub(crate) const STREAM_SWEEP: Duration = Duration::from_secs(5);

/// A connection whose peer takes nothing of what waits for it for so long has ended: as long as consent lasts (RFC 7675).
pub(crate) const STREAM_STUCK: Duration = Duration::from_secs(30);

/// Reads of connections in one turn of a thread: 512 KiB at most.
pub(crate) const STREAM_READS_PER_TURN: usize = 32;

/// Besides, reads of connections that are of no use to anybody (yet). One that brings the shortest messages, each in a TLS record of its own, takes a
/// thread some 0.2 ms by our reckoning, and due deadlines and what is to be sent wait behind it; a client that joins has one at a time.
pub(crate) const STRANGERS_READS_PER_TURN: usize = 2;

/// Connections that may come and go in one turn. To close one takes some 20 µs, with TLS's goodbye in it.
pub(crate) const STREAM_CHANGES_PER_TURN: usize = 16;

/// For so long the longest delay of a shard's thread is remembered: as often as quality is looked at.
pub(crate) const LATENESS_WINDOW: Duration = Duration::from_secs(5);
/// A shard's thread that was brought media is back by then, and is late if it is not: two packets of speech, so that in a visit where
/// somebody speaks it is never woken for this alone.
pub(crate) const BACK_WITHIN: Duration = Duration::from_millis(40);
/// Participants in one snapshot: all people of the largest visit. Figures of one cost some microseconds of the thread.
pub(crate) const SNAPSHOT_PARTICIPANTS: usize = 64;
