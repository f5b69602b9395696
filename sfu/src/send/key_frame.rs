//! When a slot asks for a key frame.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::limits;

/// The first repetition of a request that is not answered. A request is one small RTCP packet on a path that may lose it.
const FIRST_RETRY: Duration = Duration::from_millis(300);
/// The longest time between repetitions while nothing comes.
const LONGEST_RETRY: Duration = Duration::from_secs(3);

/// Why a key frame is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// To start, or to change the layer.
    Switch,
    /// The receiver lost the picture: a PLI, or a NACK that cannot be served.
    Refresh,
}

/// Spaces out the requests of one slot. The publisher's side merges the requests of all its viewers.
#[derive(Debug, Default)]
pub(super) struct KeyFrameRequests {
    last: Option<Instant>,
    /// Requests for the same need so far, and when the next is due.
    retry: Option<(Duration, Instant)>,
    /// Refreshes of the last ten seconds, oldest first.
    refreshes: ArrayVec<Instant, { limits::KEY_FRAMES_PER_WINDOW }>,
}

impl KeyFrameRequests {
    /// What was needed has come, or another thing is needed: the next request need not wait for a repetition.
    pub(super) const fn reset(&mut self) {
        self.retry = None;
    }

    /// Whether to ask now. To be called as long as a key frame is needed.
    pub(super) fn poll(&mut self, reason: Reason, now: Instant) -> bool {
        if self.due(reason, now) > now {
            return false;
        }
        self.last = Some(now);
        let wait = self
            .retry
            .map_or(FIRST_RETRY, |(wait, _)| (wait * 2).min(LONGEST_RETRY));
        self.retry = Some((wait, now + wait));
        if reason == Reason::Refresh {
            if self.refreshes.is_full() {
                self.refreshes.remove(0);
            }
            self.refreshes.push(now);
        }
        true
    }

    /// When [`Self::poll`] will say yes.
    pub(super) fn due(&self, reason: Reason, now: Instant) -> Instant {
        let mut due = self.last.map_or(now, |last| last + limits::KEY_FRAME_GAP);
        if let Some((_, retry)) = self.retry {
            due = due.max(retry);
        }
        if reason == Reason::Refresh && self.refreshes.is_full() {
            due = due.max(self.refreshes[0] + limits::KEY_FRAME_WINDOW);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;

    /// The milliseconds at which requests go out within `span`, if polled each millisecond.
    fn asked(requests: &mut KeyFrameRequests, reason: Reason, start: Instant, span: std::ops::Range<u64>) -> Vec<u64> {
        span.filter(|ms| requests.poll(reason, start + Duration::from_millis(*ms)))
            .collect()
    }

    #[test]
    fn a_switch_asks_at_once_and_ever_more_rarely() {
        let mut requests = KeyFrameRequests::default();
        let asked = asked(&mut requests, Reason::Switch, testing::start(), 0..10_000);
        assert_eq!(asked, [0, 300, 900, 2_100, 4_500, 7_500]);
    }

    #[test]
    fn another_switch_waits_for_the_least_gap_only() {
        let start = testing::start();
        let mut requests = KeyFrameRequests::default();
        assert!(requests.poll(Reason::Switch, start));
        requests.reset();
        assert_eq!(asked(&mut requests, Reason::Switch, start, 1..450), [200]);
    }

    #[test]
    fn a_receiver_gets_three_refreshes_in_ten_seconds() {
        let start = testing::start();
        let mut requests = KeyFrameRequests::default();
        let mut asked = Vec::new();
        for ms in 0..12_000 {
            if requests.poll(Reason::Refresh, start + Duration::from_millis(ms)) {
                asked.push(ms);
                requests.reset(); // the key frame came, and the picture was lost again
            }
        }
        assert_eq!(asked, [0, 200, 400, 10_000, 10_200, 10_400]);
        assert!(requests.poll(Reason::Switch, start + Duration::from_millis(12_000)));
    }
}
