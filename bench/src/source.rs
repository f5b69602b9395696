//! What streams consist of: when packets are due, and how large they are. The load and the floor send by the same plan.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::wire::Media;

/// Bytes of an RTP packet of the 1 → N shapes, before it is sealed.
pub(crate) const PACKET: usize = 1_180;
/// Packets of a frame in a burst.
pub(crate) const PER_BURST: usize = 6;
/// Packets of a frame come within this time on a local link (p50 of Chromium is 0.26 ms for 720p).
pub(crate) const SPREAD: Duration = Duration::from_micros(250);

/// How one stream's packets are spaced and sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// One packet after the other, evenly, so many a second.
    Even { rate: u64 },
    /// Frames of six packets, so many packets a second: at 180 what Chromium sends of 720p.
    Burst { rate: u64 },
    /// The same with packets of one length, a frame in one send call: it arrives whole, whatever the machine is doing.
    Whole { rate: u64 },
    /// Opus: fifty packets a second.
    Audio,
    /// A camera at thirty frames a second, 1.5 Mbit/s in one stream.
    Camera,
    /// Simulcast 720p: some 180 packets a second.
    P720,
    /// Simulcast 480p: some 77 packets a second.
    P480,
}

const CAMERA: [usize; 5] = [6, 5, 6, 5, 6];
const P720: [usize; 6] = [5, 6, 4, 8, 6, 7];
const P480: [usize; 7] = [2, 3, 2, 3, 3, 2, 3];

impl Source {
    pub(crate) fn media(self) -> Media {
        match self {
            Self::Audio => Media::Audio,
            _ => Media::Video,
        }
    }

    /// From one frame to the next.
    pub(crate) fn interval(self) -> Duration {
        let per_second = |packets: u64, rate: u64| Duration::from_nanos(1_000_000_000 * packets / rate.max(1));
        match self {
            Self::Even { rate } => per_second(1, rate),
            Self::Burst { rate } | Self::Whole { rate } => per_second(PER_BURST as u64, rate),
            Self::Audio => per_second(1, 50),
            Self::Camera | Self::P720 | Self::P480 => per_second(1, 30),
        }
    }

    /// The RTP lengths of a frame's packets. They differ by a byte, the smaller first, as browsers cut frames.
    pub(crate) fn sizes(self, frame: u64, sizes: &mut Vec<usize>) {
        sizes.clear();
        let packets = |pattern: &[usize]| pattern[frame as usize % pattern.len()];
        let (count, largest) = match self {
            Self::Even { .. } => (1, PACKET),
            Self::Burst { .. } | Self::Whole { .. } => (PER_BURST, PACKET),
            // 16 bytes of header; payloads of 80 to 120 bytes, as speech varies.
            Self::Audio => (1, 24 + 80 + (frame as usize * 17) % 41),
            Self::Camera => (packets(&CAMERA), 1_130),
            Self::P720 => (packets(&P720), 1_060),
            Self::P480 => (packets(&P480), 980),
        };
        let smaller = if matches!(self, Self::Whole { .. }) {
            0
        } else {
            count / 2
        };
        sizes.extend((0..count).map(|place| largest - usize::from(place < smaller)));
    }

    /// Ticks of the RTP clock from one frame to the next.
    pub(crate) fn ticks(self) -> u32 {
        match self {
            Self::Audio => 960,
            other => (other.interval().as_nanos() * 90_000 / 1_000_000_000) as u32,
        }
    }

    /// Packets a second.
    pub(crate) fn rate(self) -> f64 {
        let mut sizes = Vec::new();
        let total: usize = (0..420)
            .map(|frame| {
                self.sizes(frame, &mut sizes);
                sizes.len()
            })
            .sum();
        total as f64 / 420.0 / self.interval().as_secs_f64()
    }
}

/// When each of many streams is due. Streams begin spread over one interval, as people do not join in step.
pub(crate) struct Schedule {
    due: BinaryHeap<Reverse<(Duration, usize)>>,
}

impl Schedule {
    pub(crate) fn new(sources: &[Source]) -> Self {
        let mut due = BinaryHeap::new();
        for (number, source) in sources.iter().enumerate() {
            // The golden ratio spreads any number of streams evenly, and the same way in every run.
            let phase = (number as f64 * 0.618_033_988_749_895).fract();
            due.push(Reverse((source.interval().mul_f64(phase), number)));
        }
        Self { due }
    }

    /// The stream that is due next, and when, counted from the beginning.
    pub(crate) fn peek(&self) -> Option<(Duration, usize)> {
        self.due.peek().map(|Reverse(next)| *next)
    }

    /// Puts off the stream that is due next by `interval`, counted from when it was due, or from `late` if that is much later.
    pub(crate) fn advance(&mut self, interval: Duration, late: Option<Duration>) {
        if let Some(mut next) = self.due.peek_mut() {
            next.0.0 = late.unwrap_or(next.0.0) + interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_browsers() {
        for (source, expected) in [
            (Source::Even { rate: 250 }, 250.0),
            (Source::Burst { rate: 180 }, 180.0),
            (Source::Audio, 50.0),
            (Source::P720, 180.0),
            (Source::P480, 77.0),
        ] {
            let rate = source.rate();
            assert!((rate - expected).abs() < 1.0, "{source:?}: {rate}");
        }
        let mut sizes = Vec::new();
        let bytes: usize = (0..30)
            .map(|frame| {
                Source::Camera.sizes(frame, &mut sizes);
                sizes.iter().sum::<usize>()
            })
            .sum();
        let megabits = bytes as f64 * 8.0 / 1e6;
        assert!((1.4..1.6).contains(&megabits), "{megabits} Mbit/s");
    }

    #[test]
    fn a_burst_differs_by_a_byte_smaller_first() {
        let mut sizes = Vec::new();
        Source::Burst { rate: 180 }.sizes(0, &mut sizes);
        assert_eq!(sizes, [1_179, 1_179, 1_179, 1_180, 1_180, 1_180]);
        Source::Whole { rate: 180 }.sizes(0, &mut sizes);
        assert_eq!(sizes, [1_180; 6]);
        Source::Audio.sizes(3, &mut sizes);
        assert_eq!(sizes.len(), 1);
        assert!((100..=150).contains(&sizes[0]));
    }

    #[test]
    fn streams_come_in_order_and_at_their_rates() {
        let sources = [Source::Audio, Source::P720, Source::Even { rate: 1_000 }];
        let mut schedule = Schedule::new(&sources);
        let mut counts = [0; 3];
        let mut before = Duration::ZERO;
        while let Some((at, stream)) = schedule.peek() {
            if at >= Duration::from_secs(1) {
                break;
            }
            assert!(at >= before);
            before = at;
            counts[stream] += 1;
            schedule.advance(sources[stream].interval(), None);
        }
        assert_eq!(counts, [50, 30, 1_000]);
        schedule.advance(Duration::from_secs(1), Some(Duration::from_secs(9)));
        while schedule.peek().is_some_and(|(at, _)| at < Duration::from_secs(10)) {
            schedule.advance(Duration::from_secs(20), None);
        }
        assert_eq!(schedule.peek().map(|(at, _)| at), Some(Duration::from_secs(10)));
    }
}
