//! Other estimators on our links: str0m's, in two of its sessions with their own pacer and probes, and the GCC of the `rtc` crates, which
//! has neither.
//!
//! Theirs drive an encoder that follows the estimate at once and up to what 720p and sound need, without key frames or rungs: easier than what
//! ours has to do, which chooses between two layers of a camera. So the figures say how estimates follow a link, not what people see.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use comfy_table::Table;
use housecall_sfu::benching::{Ran, WANTED_KBPS, Way, ours};
use rtc_interceptor::{BandwidthEstimator as _, Gcc, PacketReport};
use str0m::bwe::{Bitrate, BweKind};
use str0m::format::Codec;
use str0m::media::MediaKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};

/// Links, when they get worse, and when they are good again, in tenths of a second.
const LINKS: [(&str, usize, usize); 6] = [
    ("cut-700", 100, 250),
    ("cut-400", 100, 250),
    ("steps", 100, 400),
    ("policer", 100, 250),
    ("wifi", 0, 0),
    ("loss", 100, 0),
];
/// Bytes below RTP.
const WIRE: usize = 44;
/// As Chromium's.
const FEEDBACK_MS: u64 = 62;
const PACKET: usize = 1_150;
/// What both begin with, as browsers do.
const FIRST_KBPS: u64 = 300;
/// Of the estimate, so much is media.
const USED: f64 = 0.95;
const SSRC: u32 = 42;
const RTX: u32 = 44;

pub(crate) fn print(seeds: u64, start: Instant) {
    str0m::crypto::from_feature_flags().install_process_default();
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([
        "link",
        "estimator",
        "below the link after, s",
        "least, % of the link",
        "enough again after, s",
        "media while worse, % of the link",
        "media, % of what fits",
        "queue p95, ms",
        "queue p95 of 3 s after, ms",
    ]);
    for (name, cut, back) in LINKS {
        let runs: [(&str, &dyn Fn(u64) -> Ran); 3] = [
            ("ours", &|seed| ours(name, seed, start).expect("a link of the list")),
            ("str0m 0.25", &|seed| str0m(name, seed, start)),
            ("rtc-interceptor 0.21", &|seed| gcc(name, seed, start)),
        ];
        for (who, run) in runs {
            let rows: Vec<[Option<f32>; 7]> = (1..=seeds).map(|seed| figures(&run(seed), cut, back)).collect();
            let cells = (0..7).map(|column| cell(rows.iter().map(|row| row[column]).collect(), column));
            table.add_row([name.to_owned(), who.to_owned()].into_iter().chain(cells));
        }
    }
    println!("{table}");
}

/// The median; what never came in half of the runs is "never".
fn cell(mut values: Vec<Option<f32>>, column: usize) -> String {
    if values.iter().all(|value| value.is_some_and(f32::is_nan)) {
        return "–".to_owned();
    }
    values.sort_by(|one, other| one.unwrap_or(f32::MAX).total_cmp(&other.unwrap_or(f32::MAX)));
    let digits = usize::from(column == 0 || column == 2);
    match values[values.len() / 2] {
        Some(value) => format!("{value:.digits$}"),
        None => "never".to_owned(),
    }
}

fn percentile(values: &[f32]) -> f32 {
    let mut values = values.to_vec();
    values.sort_by(f32::total_cmp);
    values.get((values.len().max(1) - 1) * 95 / 100).copied().unwrap_or(0.0)
}

/// In the order of the table's columns; NaN where the link has no such moment.
fn figures(ran: &Ran, cut: usize, back: usize) -> [Option<f32>; 7] {
    let known = |place: usize| {
        if ran.estimate[place] > 0.0 {
            ran.estimate[place]
        } else {
            f32::INFINITY
        }
    };
    let end = ran.capacity.len();
    let worse = cut..if back > 0 { back } else { end };
    let fits = |place: usize| ran.capacity[place].min(WANTED_KBPS);
    let share = |range: std::ops::Range<usize>, of: &dyn Fn(usize) -> f32| {
        let (media, room) = range.fold((0.0, 0.0), |(media, room), place| {
            (media + ran.media[place], room + of(place))
        });
        100.0 * media / room
    };
    let is_cut = cut > 0 && ran.capacity[cut] < ran.capacity[cut - 1];
    let below = worse.clone().find(|place| known(*place) < ran.capacity[*place]);
    let least = worse
        .clone()
        .map(|place| 100.0 * known(place) / ran.capacity[place])
        .fold(f32::INFINITY, f32::min);
    let again = (back..end).find(|place| known(*place) >= (0.9 * ran.capacity[*place]).min(WANTED_KBPS));
    let seconds = |found: Option<usize>, from: usize| found.map(|place| (place - from) as f32 / 10.0);
    let nan = Some(f32::NAN);
    [
        if is_cut { seconds(below, cut) } else { nan },
        Some(least.min(999.0)),
        if back > 0 { seconds(again, back) } else { nan },
        Some(share(worse.start.max(50) + 30..worse.end, &|place| ran.capacity[place])),
        Some(share(50..end, &fits)),
        Some(percentile(&ran.queue[50..])),
        if is_cut {
            Some(percentile(&ran.queue[cut..cut + 30]))
        } else {
            nan
        },
    ]
}

/// The next of what is under way, once it is there.
fn take_due<At: PartialOrd + Copy, T>(under_way: &mut VecDeque<(At, T)>, now: At) -> Option<(At, T)> {
    if under_way.front()?.0 > now {
        return None;
    }
    under_way.pop_front()
}

/// Sizes of the packets of an encoder that follows a rate: thirty frames a second and sound.
struct Encoder {
    noise: u64,
    next_frame: u64,
}

impl Encoder {
    fn new(seed: u64) -> Self {
        Self {
            noise: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            next_frame: 7 + seed % 33,
        }
    }

    /// RTP payload sizes that are due at this millisecond.
    fn step(&mut self, ms: u64, estimate_kbps: f64, mut packet: impl FnMut(usize)) {
        if ms.is_multiple_of(20) {
            packet(98);
        }
        if ms < self.next_frame {
            return;
        }
        self.next_frame += 33;
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        let kbps = (estimate_kbps * USED).min(f64::from(WANTED_KBPS)) - 62.0;
        let noise = 0.7 + (self.noise % 600) as f64 / 1_000.0;
        let mut left = (kbps.max(20.0) / 8.0 * 33.0 * noise) as usize;
        while left > 0 {
            let part = left.clamp(60, PACKET);
            packet(part);
            left = left.saturating_sub(part);
        }
    }
}

/// Gathers what happened into tenths of a second.
#[derive(Default)]
struct Tally {
    ran: Ran,
    bytes: usize,
    queue: f32,
}

impl Tally {
    fn step(&mut self, ms: u64, way: &Way, estimate_kbps: f64) {
        self.queue = self.queue.max(way.queue_ms(ms));
        if ms % 100 == 99 {
            self.ran.capacity.push(way.kbps());
            self.ran.estimate.push(estimate_kbps as f32);
            self.ran
                .media
                .push(std::mem::take(&mut self.bytes) as f32 * 8.0 / 100.0);
            self.ran.queue.push(std::mem::take(&mut self.queue));
        }
    }
}

/// `Gcc` is a function of reports; what leaves is spread at the rate it says, as its crate's pacer does.
fn gcc(name: &str, seed: u64, start: Instant) -> Ran {
    let mut way = Way::new(name, seed).expect("a link of the list");
    let mut gcc = Gcc::new(FIRST_KBPS as f64 * 1e3, 100e3, 10e6);
    let mut encoder = Encoder::new(seed);
    let mut tally = Tally::default();
    let mut waiting: VecDeque<usize> = VecDeque::new();
    let mut credit = 0.0;
    // When each left, its size, and when it arrived.
    let mut sent: Vec<(u64, usize, Option<i64>)> = Vec::new();
    let mut reported = 0;
    let mut feedback: VecDeque<(u64, Vec<PacketReport>)> = VecDeque::new();
    for ms in 0..way.length_ms() {
        let kbps = gcc.target_bitrate() / 1e3;
        encoder.step(ms, kbps, |payload| waiting.push_back(payload + 12 + WIRE));
        credit = (credit + kbps / 8.0).min(f64::max(kbps, 2_000.0));
        while let Some(size) = waiting.front().copied().filter(|size| *size as f64 <= credit) {
            waiting.pop_front();
            credit -= size as f64;
            way.offer(sent.len() as u32, size, ms);
            sent.push((ms, size, None));
        }
        way.step(ms, |packet, at| {
            let packet = &mut sent[packet as usize];
            packet.2 = Some(at);
            tally.bytes += packet.1;
        });
        let newest = (reported..sent.len())
            .rev()
            .find(|number| sent[*number].2.is_some_and(|at| at <= ms as i64 * 1_000));
        if ms % FEEDBACK_MS == 0
            && let Some(newest) = newest
        {
            let report = |number: usize| {
                let (left, size, arrival) = sent[number];
                let arrival = arrival.map(|at| Duration::from_micros(at as u64 / 250 * 250));
                PacketReport {
                    ssrc: SSRC,
                    id: number as u64,
                    rtp_sequence_number: number as u16,
                    is_twcc: true,
                    twcc_sequence_number: number as u16,
                    size,
                    arrived: arrival.is_some(),
                    departure: start + Duration::from_millis(left),
                    arrival,
                    ecn: rtc_rtcp::transport_feedbacks::cc_feedback_report::Ecn::default(),
                }
            };
            let reports = (reported..=newest).map(report).collect();
            reported = newest + 1;
            if let Some(delay) = way.back_ms() {
                feedback.push_back((ms + delay, reports));
            }
        }
        while let Some((_, reports)) = take_due(&mut feedback, ms) {
            gcc.on_reports(start + Duration::from_millis(ms), &reports);
        }
        tally.step(ms, &way, gcc.target_bitrate() / 1e3);
    }
    tally.ran
}

struct Session {
    rtc: Rtc,
    here: SocketAddr,
    there: SocketAddr,
    due: Instant,
    estimate_kbps: f64,
    /// Datagrams that leave.
    out: Vec<Vec<u8>>,
    /// Bytes of media that came in, headers and all.
    media: usize,
}

impl Session {
    fn new(rtc: Rtc, here: SocketAddr, there: SocketAddr, start: Instant) -> Self {
        let mut session = Self {
            rtc,
            here,
            there,
            due: start,
            estimate_kbps: FIRST_KBPS as f64,
            out: Vec::new(),
            media: 0,
        };
        let candidate = |address| Candidate::host(address, "udp").expect("a candidate");
        session.rtc.add_local_candidate(candidate(here));
        session.rtc.add_remote_candidate(candidate(there));
        session
    }

    fn poll(&mut self) {
        loop {
            match self.rtc.poll_output().expect("no error") {
                Output::Timeout(due) => {
                    self.due = due;
                    return;
                }
                Output::Transmit(transmit) => self.out.push(transmit.contents.to_vec()),
                Output::Event(Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. })) => {
                    self.estimate_kbps = estimate.as_f64() / 1e3;
                }
                Output::Event(Event::RtpPacket(packet)) => self.media += packet.payload.len() + 12 + WIRE,
                Output::Event(_) => {}
            }
        }
    }

    fn advance(&mut self, now: Instant) {
        while self.due <= now {
            let due = self.due;
            self.rtc.handle_input(Input::Timeout(due)).expect("no error");
            self.poll();
            if self.due <= due {
                // It wants to be asked again at once: a moment later will do.
                self.due = due + Duration::from_micros(200);
            }
        }
    }

    fn receive(&mut self, datagram: &[u8], now: Instant) {
        let receive = Receive {
            proto: Protocol::Udp,
            source: self.there,
            destination: self.here,
            contents: datagram.try_into().expect("a datagram of its own"),
        };
        self.rtc.handle_input(Input::Receive(now, receive)).expect("no error");
        self.poll();
    }
}

fn pair(start: Instant) -> [Session; 2] {
    let left = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 1_000));
    let right = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 2), 2_000));
    let sender = Rtc::builder()
        .set_rtp_mode(true)
        .enable_bwe(Some(Bitrate::kbps(FIRST_KBPS)));
    let receiver = Rtc::builder().set_rtp_mode(true);
    let mut pair = [
        Session::new(sender.build(start), left, right, start),
        Session::new(receiver.build(start), right, left, start),
    ];
    for (one, other) in [(0, 1), (1, 0)] {
        let api = pair[other].rtc.direct_api();
        let (fingerprint, credentials) = (api.local_dtls_fingerprint().clone(), api.local_ice_credentials());
        let mut api = pair[one].rtc.direct_api();
        api.set_remote_fingerprint(fingerprint);
        api.set_remote_ice_credentials(credentials);
        api.set_ice_controlling(one == 0);
        api.declare_media("vid".into(), MediaKind::Video);
    }
    let (ssrc, rtx): (Ssrc, Ssrc) = (SSRC.into(), RTX.into());
    let mut api = pair[0].rtc.direct_api();
    api.declare_stream_tx(ssrc, Some(rtx), "vid".into(), None);
    api.start_dtls(true).expect("it starts");
    let mut api = pair[1].rtc.direct_api();
    api.expect_stream_rx(ssrc, Some(rtx), "vid".into(), None);
    api.enable_twcc_feedback();
    api.start_dtls(false).expect("it starts");
    pair
}

/// Two sessions, the handshake over a path without delay, then media over the link.
fn str0m(name: &str, seed: u64, start: Instant) -> Ran {
    let mut way = Way::new(name, seed).expect("a link of the list");
    let [mut sender, mut receiver] = pair(start);
    let mut now = start;
    while !(sender.rtc.is_connected() && receiver.rtc.is_connected()) {
        assert!(now < start + Duration::from_secs(20), "they do not connect");
        now += Duration::from_millis(1);
        sender.advance(now);
        receiver.advance(now);
        for datagram in std::mem::take(&mut sender.out) {
            receiver.receive(&datagram, now);
        }
        for datagram in std::mem::take(&mut receiver.out) {
            sender.receive(&datagram, now);
        }
    }
    let begin = now;
    sender
        .rtc
        .bwe()
        .set_bitrate(Bitrate::ZERO, Bitrate::kbps(WANTED_KBPS as u64));
    let pt = sender
        .rtc
        .codec_config()
        .find(|params| params.spec().codec == Codec::Vp8)
        .expect("it has VP8")
        .pt();
    let mut encoder = Encoder::new(seed);
    let mut tally = Tally::default();
    let mut sequence = 1_000_u64;
    let mut under_way: Vec<Vec<u8>> = Vec::new();
    let mut arriving: VecDeque<(i64, u32)> = VecDeque::new();
    let mut back: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
    for ms in 0..way.length_ms() {
        let now = begin + Duration::from_millis(ms);
        while let Some((_, datagram)) = take_due(&mut back, ms) {
            sender.receive(&datagram, now);
        }
        let mut due = Vec::new();
        encoder.step(ms, sender.estimate_kbps, |payload| due.push(payload));
        for payload in due {
            let mut api = sender.rtc.direct_api();
            let stream = api.stream_tx(&SSRC.into()).expect("declared");
            let time = (ms * 90) as u32;
            let write = RtpWrite::new(pt, sequence.into(), time, now, vec![0_u8; payload]);
            stream.write_rtp(write.nackable(true));
            sequence += 1;
            sender.poll();
        }
        sender.advance(now);
        for datagram in std::mem::take(&mut sender.out) {
            way.offer(under_way.len() as u32, datagram.len() + 28, ms);
            under_way.push(datagram);
        }
        way.step(ms, |packet, at| arriving.push_back((at, packet)));
        while let Some((at, packet)) = take_due(&mut arriving, ms as i64 * 1_000) {
            let at = begin + Duration::from_micros(at as u64);
            receiver.advance(at);
            receiver.receive(&std::mem::take(&mut under_way[packet as usize]), at);
        }
        receiver.advance(now);
        for datagram in std::mem::take(&mut receiver.out) {
            if let Some(delay) = way.back_ms() {
                back.push_back((ms + delay, datagram));
            }
        }
        tally.bytes += std::mem::take(&mut receiver.media);
        tally.step(ms, &way, sender.estimate_kbps);
    }
    tally.ran
}
