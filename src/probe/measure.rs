//! What the figures mean: sound goes to the server and comes back, and says when it left.

use std::collections::HashSet;
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

/// Packets as they go out and come back.
#[derive(Debug, Default)]
pub(super) struct Loop {
    /// The first one that counts: those before it left before the way back was open.
    first: Option<u32>,
    sent: u32,
    back: HashSet<u32>,
    round_trips: Vec<Duration>,
    jitter: f64,
    /// Reported when counting began.
    lost_before: u32,
    uplink: Option<Uplink>,
}

impl Loop {
    /// From this packet on they count.
    pub(super) fn begin(&mut self, first: u32) {
        self.first = Some(first);
        self.lost_before = self.uplink.map_or(0, |uplink| uplink.lost);
    }

    pub(super) fn handle_sent(&mut self, number: u32) {
        if self.first.is_some_and(|first| number >= first) {
            self.sent += 1;
        }
    }

    pub(super) fn handle_back(&mut self, number: u32, left: Duration, now: Duration) {
        if self.first.is_none_or(|first| number < first) || !self.back.insert(number) {
            return;
        }
        let taken = now.saturating_sub(left);
        if let Some(last) = self.round_trips.last() {
            // RFC 3550 §6.4.1, with one clock on both sides.
            let change = taken.abs_diff(*last).as_secs_f64() * 1e3;
            self.jitter += (change - self.jitter) / 16.0;
        }
        self.round_trips.push(taken);
    }

    pub(super) fn handle_report(&mut self, report: Uplink) {
        self.uplink = Some(report);
    }

    /// Whether the server has told of this packet, or of later ones.
    pub(super) fn is_reported(&self, number: u32) -> bool {
        self.uplink.is_some_and(|uplink| uplink.seen >= number)
    }

    /// Whether all packets that count have come back.
    pub(super) fn is_whole(&self) -> bool {
        self.back.len() >= self.sent as usize
    }

    pub(super) fn figures(&self) -> Figures {
        let mut sorted = self.round_trips.clone();
        sorted.sort_unstable();
        let at = |share: f64| {
            let place = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
            sorted.get(place).map_or(0.0, |taken| taken.as_secs_f64() * 1e3)
        };
        let back = u32::try_from(self.back.len()).unwrap_or(u32::MAX);
        let lost = self.sent.saturating_sub(back);
        // What the server has not reported lost was lost on the way back.
        let lost_up = self
            .uplink
            .map_or(0, |uplink| uplink.lost.saturating_sub(self.lost_before))
            .min(lost);
        Figures {
            sent: self.sent,
            lost_up,
            lost_down: lost - lost_up,
            rtt_min: at(0.0),
            rtt_median: at(0.5),
            rtt_p95: at(0.95),
            rtt_max: at(1.0),
            jitter_up: self.uplink.map_or(0.0, |uplink| uplink.jitter_ms),
            jitter_loop: self.jitter,
        }
    }
}

/// What became of the packets that count. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) sent: u32,
    pub(super) lost_up: u32,
    pub(super) lost_down: u32,
    pub(super) rtt_min: f64,
    pub(super) rtt_median: f64,
    pub(super) rtt_p95: f64,
    pub(super) rtt_max: f64,
    pub(super) jitter_up: f64,
    pub(super) jitter_loop: f64,
}

impl Figures {
    /// In percent of what was sent that way.
    pub(super) fn loss_up(&self) -> f64 {
        percent(self.lost_up, self.sent)
    }

    /// In percent of what the server had to send.
    pub(super) fn loss_down(&self) -> f64 {
        percent(self.lost_down, self.sent - self.lost_up)
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

    #[test]
    fn losses_are_told_apart_by_what_the_server_reports() {
        let mut packets = Loop::default();
        packets.handle_sent(0);
        packets.handle_report(Uplink {
            lost: 3,
            seen: 0,
            jitter_ms: 9.0,
        });
        packets.begin(10);
        for number in 10..110 {
            packets.handle_sent(number);
            // Twenty are lost; the server reports five of them.
            if number % 5 != 0 {
                let left = ms(u64::from(number) * 20);
                packets.handle_back(number, left, left + ms(u64::from(number)));
            }
        }
        packets.handle_back(11, ms(0), ms(900));
        packets.handle_back(9, ms(0), ms(900));
        assert!(!packets.is_reported(109) && !packets.is_whole());
        packets.handle_report(Uplink {
            lost: 8,
            seen: 109,
            jitter_ms: 1.5,
        });
        assert!(packets.is_reported(109));
        let figures = packets.figures();
        assert_eq!((figures.sent, figures.lost_up, figures.lost_down), (100, 5, 15));
        assert_eq!((figures.loss_up(), figures.loss_down()), (5.0, 15.0 * 100.0 / 95.0));
        assert_eq!(
            (figures.rtt_min, figures.rtt_max, figures.jitter_up),
            (11.0, 109.0, 1.5)
        );
        assert_eq!((figures.rtt_median, figures.rtt_p95), (59.0, 104.0));
        assert!(figures.jitter_loop > 1.0 && figures.jitter_loop < 2.0, "{figures:?}");
    }

    #[test]
    fn nothing_came_back() {
        let mut packets = Loop::default();
        packets.begin(0);
        packets.handle_sent(0);
        let figures = packets.figures();
        assert_eq!((figures.lost_up, figures.lost_down, figures.rtt_median), (0, 1, 0.0));
        assert_eq!(Loop::default().figures().loss_down(), 0.0);
    }
}
