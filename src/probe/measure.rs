//! What the figures mean: sound goes to the server and comes back, and says when it left.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

/// The beginning of a packet's payload: its number and when it left.
const STAMP: usize = 12;
/// A packet of sound at 64 kbit/s and 20 ms.
pub(super) const PAYLOAD: usize = 160;

/// The payload of a packet.
pub(super) fn payload(number: u32, left: Duration) -> Vec<u8> {
    let mut payload = vec![0; PAYLOAD];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    let micros = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
    payload[4..STAMP].copy_from_slice(&micros.to_be_bytes());
    payload
}

/// What a payload says.
pub(super) fn stamp(payload: &[u8]) -> Option<(u32, Duration)> {
    let number = payload.get(..4)?.try_into().ok()?;
    let micros = payload.get(4..STAMP)?.try_into().ok()?;
    Some((
        u32::from_be_bytes(number),
        Duration::from_micros(u64::from_be_bytes(micros)),
    ))
}

/// What the server last reported of the stream it receives (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Uplink {
    /// Lost since the stream began.
    pub(super) lost: u32,
    /// The last packet that the server has seen, as this side numbers them.
    pub(super) seen: u32,
    pub(super) jitter_ms: f64,
}

/// Where counting begins.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Window {
    /// Not yet: the way back is not open.
    #[default]
    Before,
    /// At the packet after the next report's last one: what was lost until then is known.
    AtReport,
    /// With what had been reported lost before, if there was a report.
    From { first: u32, lost_before: Option<u32> },
}

/// Packets as they go out and come back.
#[derive(Debug, Default)]
pub(super) struct Loop {
    window: Window,
    /// The last one that was sent. Their numbers begin at nothing.
    last: Option<u32>,
    back: HashSet<u32>,
    /// Of what came back, in that order.
    round_trips: Vec<(u32, Duration)>,
    uplink: Option<Uplink>,
}

impl Loop {
    /// The way back is open: from the server's next report on, packets count.
    pub(super) fn open(&mut self) {
        if self.window == Window::Before {
            self.window = Window::AtReport;
        }
    }

    /// Whether packets count.
    pub(super) fn is_counting(&self) -> bool {
        matches!(self.window, Window::From { .. })
    }

    /// There was no report: the packets from the next one on count, and which way one was lost stays unknown.
    pub(super) fn begin_unreported(&mut self) {
        if !self.is_counting() {
            let first = self.last.map_or(0, |last| last + 1);
            let lost_before = None;
            self.window = Window::From { first, lost_before };
        }
    }

    /// The last packet that was sent.
    pub(super) fn last(&self) -> u32 {
        self.last.unwrap_or_default()
    }

    /// The numbers that count.
    fn counted(&self) -> Range<u32> {
        match self.window {
            Window::Before | Window::AtReport => 0..0,
            Window::From { first, .. } => first..self.last.map_or(0, |last| last + 1).max(first),
        }
    }

    pub(super) fn handle_sent(&mut self, number: u32) {
        self.last = Some(number);
    }

    pub(super) fn handle_back(&mut self, number: u32, left: Duration, now: Duration) {
        if self.back.insert(number) {
            self.round_trips.push((number, now.saturating_sub(left)));
        }
    }

    pub(super) fn handle_report(&mut self, report: Uplink) {
        if self.window == Window::AtReport {
            let (first, lost_before) = (report.seen + 1, Some(report.lost));
            self.window = Window::From { first, lost_before };
        }
        self.uplink = Some(report);
    }

    /// Whether the server has told of this packet, or of later ones.
    pub(super) fn is_reported(&self, number: u32) -> bool {
        self.uplink.is_some_and(|uplink| uplink.seen >= number)
    }

    /// Whether all packets that count have come back.
    pub(super) fn is_whole(&self) -> bool {
        self.counted().all(|number| self.back.contains(&number))
    }

    pub(super) fn figures(&self) -> Figures {
        let counted = self.counted();
        let in_order: Vec<Duration> = self
            .round_trips
            .iter()
            .filter(|(number, _)| counted.contains(number))
            .map(|(_, taken)| *taken)
            .collect();
        // RFC 3550 §6.4.1, with one clock on both sides.
        let jitter = in_order.windows(2).fold(0.0, |jitter, pair| {
            let change = pair[1].abs_diff(pair[0]).as_secs_f64() * 1e3;
            jitter + (change - jitter) / 16.0
        });
        let mut sorted = in_order;
        sorted.sort_unstable();
        let at = |share: f64| {
            let place = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
            sorted.get(place).map_or(0.0, |taken| taken.as_secs_f64() * 1e3)
        };
        let sent = counted.end - counted.start;
        let back = u32::try_from(sorted.len()).unwrap_or(u32::MAX);
        let lost = sent.saturating_sub(back);
        // What the server has not reported lost was lost on the way back.
        let lost_up = match (self.window, self.uplink) {
            (Window::From { lost_before, .. }, Some(uplink)) => {
                lost_before.map(|before| uplink.lost.saturating_sub(before).min(lost))
            }
            _ => None,
        };
        Figures {
            sent,
            lost,
            lost_up,
            rtt_min: at(0.0),
            rtt_median: at(0.5),
            rtt_p95: at(0.95),
            rtt_max: at(1.0),
            jitter_up: self.uplink.map(|uplink| uplink.jitter_ms),
            jitter_loop: jitter,
        }
    }
}

/// What became of the packets that count. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) sent: u32,
    /// There or back.
    pub(super) lost: u32,
    /// On the way to the server; `None` if it has not told.
    pub(super) lost_up: Option<u32>,
    pub(super) rtt_min: f64,
    pub(super) rtt_median: f64,
    pub(super) rtt_p95: f64,
    pub(super) rtt_max: f64,
    /// `None` without a report.
    pub(super) jitter_up: Option<f64>,
    pub(super) jitter_loop: f64,
}

impl Figures {
    /// Whether anything was measured.
    pub(super) fn is_measured(&self) -> bool {
        self.lost < self.sent
    }

    /// On the way from the server.
    pub(super) fn lost_down(&self) -> Option<u32> {
        Some(self.lost - self.lost_up?)
    }

    /// In percent of what was sent.
    pub(super) fn loss(&self) -> f64 {
        percent(self.lost, self.sent)
    }

    /// In percent of what was sent that way.
    pub(super) fn loss_up(&self) -> Option<f64> {
        Some(percent(self.lost_up?, self.sent))
    }

    /// In percent of what the server had to send.
    pub(super) fn loss_down(&self) -> Option<f64> {
        Some(percent(self.lost_down()?, self.sent - self.lost_up?))
    }
}

fn percent(part: u32, whole: u32) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    f64::from(part) * 100.0 / f64::from(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_stamp_reads_back() {
        let payload = payload(7, Duration::from_micros(1_234_567));
        assert_eq!(payload.len(), PAYLOAD);
        assert_eq!(stamp(&payload), Some((7, Duration::from_micros(1_234_567))));
        assert_eq!(stamp(&payload[..STAMP - 1]), None);
    }

    fn reported(lost: u32, seen: u32, jitter_ms: f64) -> Uplink {
        Uplink { lost, seen, jitter_ms }
    }

    #[test]
    fn losses_are_told_apart_by_what_the_server_reports() {
        let mut packets = Loop::default();
        packets.handle_report(reported(1, 2, 9.0));
        packets.open();
        assert!(!packets.is_counting());
        for number in 0..110 {
            packets.handle_sent(number);
            // Every fifth is lost; the server reports five of the last twenty, and three of those before.
            if number % 5 != 0 {
                let left = ms(u64::from(number) * 20);
                packets.handle_back(number, left, left + ms(u64::from(number)));
            }
            // It tells of the ninth when the eighteenth has left.
            if number == 17 {
                packets.handle_report(reported(3, 9, 9.0));
            }
        }
        packets.handle_back(11, ms(0), ms(900));
        packets.handle_back(9, ms(0), ms(900));
        // The last one, of which is not known whether it was sent.
        packets.handle_back(110, ms(0), ms(900));
        assert!(!packets.is_reported(109) && !packets.is_whole());
        packets.handle_report(reported(8, 109, 1.5));
        assert!(packets.is_reported(109));
        let figures = packets.figures();
        assert_eq!(
            (figures.sent, figures.lost, figures.lost_up, figures.lost_down()),
            (100, 20, Some(5), Some(15))
        );
        assert_eq!(
            (figures.loss_up(), figures.loss_down()),
            (Some(5.0), Some(15.0 * 100.0 / 95.0))
        );
        assert_eq!(
            (figures.rtt_min, figures.rtt_max, figures.jitter_up),
            (11.0, 109.0, Some(1.5))
        );
        assert_eq!((figures.rtt_median, figures.rtt_p95), (59.0, 104.0));
        assert!(figures.jitter_loop > 1.0 && figures.jitter_loop < 2.0, "{figures:?}");
    }

    #[test]
    fn which_way_is_unknown_without_a_report() {
        let mut packets = Loop::default();
        packets.open();
        packets.handle_sent(0);
        packets.begin_unreported();
        for number in 1..5 {
            packets.handle_sent(number);
        }
        packets.handle_back(0, ms(0), ms(5));
        packets.handle_back(3, ms(0), ms(5));
        let figures = packets.figures();
        assert_eq!((figures.sent, figures.lost, figures.loss()), (4, 3, 75.0));
        assert_eq!(
            (figures.lost_up, figures.lost_down(), figures.jitter_up),
            (None, None, None)
        );
        assert!(figures.is_measured());
    }

    #[test]
    fn where_nothing_came_back_nothing_is_measured() {
        let mut packets = Loop::default();
        assert!(!packets.figures().is_measured());
        packets.begin_unreported();
        assert!(!packets.figures().is_measured());
        packets.handle_sent(0);
        assert!(!packets.figures().is_measured());
        packets.handle_back(0, ms(0), ms(5));
        assert!(packets.figures().is_measured());
    }
}
