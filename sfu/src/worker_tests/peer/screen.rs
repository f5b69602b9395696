//! What a peer receives: a decoder for each picture, an account of each sound, and the feedback browsers give.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::clock::{CompactNtp, NtpTime};
use crate::ids::Ssrc;
use crate::media::Kind;
use crate::ntp::NtpSpan;
use crate::red::{self, Red};
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::rtp::{RtpHeader, SequenceUnwrapper, TimestampUnwrapper};
use crate::testing::puppet::RED;
use crate::testing::{VideoDecoder, frame_of};

/// From noticing that a packet is missing to asking for it, and from there to asking again.
const NACK_AFTER: Duration = Duration::from_millis(1);
const NACK_AGAIN: Duration = Duration::from_millis(110);
const NACK_TRIES: u8 = 10;
/// More packets than this are not asked for: a key frame is.
const NACK_MOST: usize = 400;
/// How long a picture waits for a missing packet when a key frame could be shown instead.
const PATIENCE: Duration = Duration::from_millis(200);
/// Time without a picture after which a browser asks for a key frame.
const NO_PICTURE: Duration = Duration::from_secs(3);

/// What the reports about a stream are made from.
#[derive(Default)]
struct Account {
    sequences: SequenceUnwrapper,
    first: Option<u64>,
    received: u64,
    report: Option<(SenderInfo, Instant)>,
}

impl Account {
    fn note(&mut self, sequence: u16) -> u64 {
        let wide = self.sequences.unwrap(u64::from(sequence));
        self.first = Some(self.first.map_or(wide, |first| first.min(wide)));
        self.received += 1;
        wide
    }

    fn block(&self, ssrc: Ssrc, now: Instant) -> Option<ReportBlock> {
        let highest = self.sequences.highest()?;
        let expected = highest - self.first? + 1;
        let (last_sr, delay) = self.report.map_or((CompactNtp::ZERO, CompactNtp::ZERO), |(info, at)| {
            (info.ntp.compact(), CompactNtp::from_duration(now - at))
        });
        Some(ReportBlock {
            ssrc,
            fraction_lost: 0,
            cumulative_lost: (expected as i64 - self.received as i64) as i32,
            highest_sequence: (highest - (1 << 16)) as u32,
            jitter: 0,
            last_sr,
            delay_since_last_sr: delay,
        })
    }

    /// The server's wall clock at an RTP timestamp, by its last report.
    fn ntp(&self, timestamp: u32, rate: u32) -> Option<NtpTime> {
        let (info, _) = self.report?;
        let ticks = i64::from(timestamp.wrapping_sub(info.rtp_timestamp) as i32);
        let span = Duration::from_nanos(ticks.unsigned_abs() * 1_000_000_000 / u64::from(rate));
        Some(if ticks < 0 { info.ntp - span } else { info.ntp + span })
    }
}

/// What a frame or a sound says of its time by the server's reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it came.
    pub(crate) at: Instant,
    /// Layer and number of the frame, or 0 and the number of the sound.
    pub(crate) what: (u8, u32),
    /// Its capture, by the wall clock of the server's reports.
    pub(crate) ntp: NtpTime,
}

/// A line with sound.
pub(crate) struct AudioLine {
    pub(crate) ssrc: Ssrc,
    account: Account,
    timestamps: TimestampUnwrapper,
    /// Who is heard.
    speaker: Option<u32>,
    /// Sequence number and timestamp of each sound of theirs that came, by its number.
    pub(crate) sounds: BTreeMap<u32, (u64, u64)>,
    /// When each sound could first be played, by whichever packet brought it.
    pub(crate) playable: BTreeMap<u32, Instant>,
    /// Packets by how many older frames they brought along.
    pub(crate) older: BTreeMap<usize, u32>,
    pub(crate) samples: Vec<Sample>,
    /// The sounds of those who were heard before.
    past: Vec<BTreeMap<u32, (u64, u64)>>,
}

#[derive(Clone, Copy)]
struct Asked {
    since: Instant,
    due: Instant,
    tries: u8,
}

/// A line with a picture.
pub(crate) struct VideoLine {
    pub(crate) ssrc: Ssrc,
    rtx: Option<Ssrc>,
    account: Account,
    pub(crate) decoder: VideoDecoder,
    asked: BTreeMap<u16, Asked>,
    /// Whether packets have come since the last request for a key frame.
    is_fed: bool,
    last_progress: Option<Instant>,
    /// Too much was missing to be asked for.
    wants_key_frame: bool,
    /// When a frame was decoded, and of which height the last key frame was.
    pub(crate) decoded: Vec<(Instant, u16)>,
    pub(crate) samples: Vec<Sample>,
    /// When it went on at a key frame without what was missing before it.
    pub(crate) jumps: Vec<Instant>,
    /// When it asked for a key frame.
    pub(crate) asked_for_key_frames: Vec<Instant>,
    /// Packets that came by retransmission.
    pub(crate) repaired: u64,
    /// When packets came.
    pub(crate) packets: Vec<Instant>,
}

impl VideoLine {
    /// The longest time without a new frame between two moments.
    pub(crate) fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let inside = self
            .decoded
            .iter()
            .map(|(at, _)| *at)
            .filter(|at| (from..to).contains(at));
        let moments: Vec<Instant> = [from].into_iter().chain(inside).chain([to]).collect();
        moments
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap_or_default()
    }

    /// The heights shown between two moments, without repetitions.
    pub(crate) fn heights(&self, from: Instant, to: Instant) -> Vec<u16> {
        let inside = self.decoded.iter().filter(|(at, _)| (from..to).contains(at));
        let mut heights: Vec<u16> = inside.map(|(_, height)| *height).collect();
        heights.dedup();
        heights
    }

    fn note_progress(&mut self, decoded_before: u64, now: Instant) {
        let figures = self.decoder.figures();
        for _ in decoded_before..figures.decoded {
            self.decoded.push((now, figures.height));
            self.last_progress = Some(now);
        }
    }

    fn look_for_missing(&mut self, now: Instant) {
        let mut missing = self.decoder.missing();
        if missing.len() > NACK_MOST {
            self.decoder.start_anew();
            self.wants_key_frame = true;
            missing.clear();
        }
        self.asked.retain(|sequence, _| missing.contains(sequence));
        for sequence in missing {
            self.asked.entry(sequence).or_insert(Asked {
                since: now,
                due: now + NACK_AFTER,
                tries: 0,
            });
        }
        if self.asked.values().any(|asked| now >= asked.since + PATIENCE) {
            let before = self.decoder.figures().decoded;
            if self.decoder.skip_to_key_frame() {
                self.jumps.push(now);
                self.note_progress(before, now);
                self.look_for_missing(now);
            }
        }
    }

    fn key_frame_due(&self) -> Option<Instant> {
        if self.wants_key_frame {
            return self.last_progress;
        }
        self.last_progress.filter(|_| self.is_fed).map(|last| last + NO_PICTURE)
    }

    /// Whether the last frame could be decoded and nothing is missing.
    pub(crate) fn is_well(&self) -> bool {
        self.decoder.has_picture() && self.decoder.missing().is_empty()
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Screen {
    pub(crate) audio: Vec<AudioLine>,
    pub(crate) video: Vec<VideoLine>,
}

/// What a receiver asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Packets(Ssrc, Vec<u16>),
    KeyFrame(Ssrc),
}

impl Screen {
    /// Takes over a line of the answer. One that is known goes on.
    pub(crate) fn add_line(&mut self, kind: Kind, ssrc: Ssrc, rtx: Option<Ssrc>) {
        match kind {
            Kind::Audio if self.audio.iter().all(|line| line.ssrc != ssrc) => self.audio.push(AudioLine {
                ssrc,
                account: Account::default(),
                timestamps: TimestampUnwrapper::new(),
                speaker: None,
                sounds: BTreeMap::new(),
                playable: BTreeMap::new(),
                older: BTreeMap::new(),
                samples: Vec::new(),
                past: Vec::new(),
            }),
            Kind::Video if self.video.iter().all(|line| line.ssrc != ssrc) => self.video.push(VideoLine {
                ssrc,
                rtx,
                account: Account::default(),
                decoder: VideoDecoder::behind_buffer(),
                asked: BTreeMap::new(),
                is_fed: false,
                last_progress: None,
                wants_key_frame: false,
                decoded: Vec::new(),
                samples: Vec::new(),
                jumps: Vec::new(),
                asked_for_key_frames: Vec::new(),
                repaired: 0,
                packets: Vec::new(),
            }),
            Kind::Audio | Kind::Video => {}
        }
    }

    /// Takes a packet in plaintext.
    ///
    /// # Panics
    /// If it is of no line of the answer, or contradicts what came before.
    pub(crate) fn handle_rtp(&mut self, packet: &[u8], now: Instant) {
        let header = RtpHeader::parse(packet).expect("the server writes RTP");
        let payload = header.payload(packet).expect("the server writes RTP");
        if let Some(line) = self.audio.iter_mut().find(|line| line.ssrc == header.ssrc) {
            return line.handle_rtp(&header, payload, now);
        }
        let mut lines = self.video.iter_mut();
        let line = lines.find(|line| line.ssrc == header.ssrc || line.rtx == Some(header.ssrc));
        let line = line.unwrap_or_else(|| panic!("{:?} is of no line", header.ssrc));
        line.handle_rtp(&header, packet, payload, now);
    }

    pub(crate) fn handle_sender_report(&mut self, info: &SenderInfo, now: Instant) {
        let audio = self.audio.iter_mut().map(|line| (line.ssrc, &mut line.account));
        let video = self.video.iter_mut().map(|line| (line.ssrc, &mut line.account));
        let (_, account) = audio
            .chain(video)
            .find(|(ssrc, _)| *ssrc == info.ssrc)
            .expect("reports are about lines of the answer");
        // A report that was overtaken by a later one says nothing new.
        if account
            .report
            .is_none_or(|(last, _)| NtpSpan::between(last.ntp, info.ntp) > NtpSpan::default())
        {
            account.report = Some((*info, now));
        }
    }

    pub(crate) fn report_blocks(&self, now: Instant) -> Vec<ReportBlock> {
        let audio = self.audio.iter().map(|line| (line.ssrc, &line.account));
        let video = self.video.iter().map(|line| (line.ssrc, &line.account));
        audio
            .chain(video)
            .filter_map(|(ssrc, account)| account.block(ssrc, now))
            .collect()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let due = |line: &VideoLine| {
            let nack = line
                .asked
                .values()
                .filter(|asked| asked.tries < NACK_TRIES)
                .map(|asked| asked.due);
            nack.chain(line.key_frame_due()).min()
        };
        self.video.iter().filter_map(due).min()
    }

    /// What is to be asked for now.
    pub(crate) fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        for line in &mut self.video {
            let mut sequences = Vec::new();
            for (sequence, asked) in &mut line.asked {
                if asked.due <= now && asked.tries < NACK_TRIES {
                    asked.due = now + NACK_AGAIN;
                    asked.tries += 1;
                    sequences.push(*sequence);
                }
            }
            if !sequences.is_empty() {
                return Some(Ask::Packets(line.ssrc, sequences));
            }
            if line.key_frame_due().is_some_and(|due| due <= now) {
                line.is_fed = false;
                line.wants_key_frame = false;
                line.last_progress = Some(now);
                line.asked_for_key_frames.push(now);
                return Some(Ask::KeyFrame(line.ssrc));
            }
        }
        None
    }
}

impl AudioLine {
    fn handle_rtp(&mut self, header: &RtpHeader, payload: &[u8], now: Instant) {
        let wide = self.account.note(header.sequence);
        let timestamp = self.timestamps.unwrap(u64::from(header.timestamp));
        let read = |payload: &[u8]| {
            [1, 5].map(|at| {
                let bytes = payload[at..]
                    .first_chunk()
                    .expect("the studio writes its name and a number");
                u32::from_be_bytes(*bytes)
            })
        };
        let (primary, redundant) = if header.payload_type == RED {
            let primary = Red::parse(payload).expect("the server writes RED").primary;
            (&payload[usize::from(primary)..], payload)
        } else {
            (payload, &[][..])
        };
        let [speaker, number] = read(primary);
        if self.speaker.replace(speaker).is_some_and(|before| before != speaker) {
            self.past.push(std::mem::take(&mut self.sounds));
            self.playable.clear();
            self.samples.clear();
        }
        self.playable.entry(number).or_insert(now);
        *self.older.entry(red::blocks(redundant).count()).or_default() += 1;
        for block in red::blocks(redundant) {
            let [other, number] = read(block.data);
            if other == speaker {
                self.playable.entry(number).or_insert(now);
            }
        }
        let before = self.sounds.insert(number, (wide, timestamp));
        assert_eq!(before, None, "each sound comes once");
        if let Some(ntp) = self.account.ntp(header.timestamp, 48_000) {
            let what = (0, number);
            self.samples.push(Sample { at: now, what, ntp });
        }
    }

    /// Asserts that numbers and times go on as the publisher's do.
    pub(crate) fn check_order(&self) {
        for sounds in self.past.iter().chain([&self.sounds]) {
            for ((first, (sequence, timestamp)), (second, (next_sequence, next_timestamp))) in
                sounds.iter().zip(sounds.iter().skip(1))
            {
                let passed = u64::from(second - first);
                assert_eq!(
                    next_sequence - sequence,
                    passed,
                    "sequence numbers from {first} to {second}"
                );
                assert_eq!(
                    next_timestamp - timestamp,
                    passed * 960,
                    "time from {first} to {second}"
                );
            }
        }
    }
}

impl VideoLine {
    fn handle_rtp(&mut self, header: &RtpHeader, packet: &[u8], payload: &[u8], now: Instant) {
        let before = self.decoder.figures().decoded;
        self.last_progress.get_or_insert(now);
        self.is_fed = true;
        self.packets.push(now);
        if header.ssrc == self.ssrc {
            self.account.note(header.sequence);
            let what = frame_of(payload);
            if self.samples.last().is_none_or(|last| last.what != what)
                && let Some(ntp) = self.account.ntp(header.timestamp, 90_000)
            {
                self.samples.push(Sample { at: now, what, ntp });
            }
            self.decoder.receive(packet);
        } else {
            self.repaired += 1;
            self.decoder.receive_rtx(packet);
        }
        self.note_progress(before, now);
        self.look_for_missing(now);
    }
}
