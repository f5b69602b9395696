//! Asking a publisher for key frames, once for everybody who needs one.
//!
//! A PLI on the SSRC of one layer makes browsers send a key frame on *every* active layer, within 50 ms and a round trip. So requests
//! of all viewers for all layers share one message, and what one of them costs is counted for the publisher as a whole. Each viewer's
//! own budget (three in ten seconds) is kept by its subscription, which is what knows the viewer.

use std::time::Instant;

use arrayvec::ArrayVec;

use crate::limits;
use crate::media::Layer;

/// Who needs a key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A viewer: to start, to change the layer, or because its decoder asked. Its subscription has checked its budget.
    Viewer,
    /// Everybody: packets of the publisher are lost for good. Held to the budget of one viewer, because key frames do not help an
    /// uplink that is full.
    Repair,
}

/// The requests to one publisher for one video track.
#[derive(Debug, Default)]
pub(crate) struct KeyFrameRequests {
    /// By layer.
    wants: [Option<Want>; LAYERS],
    key_frames: [Option<Instant>; LAYERS],
    last_sent: Option<Instant>,
    /// Where the requests would be had they been sent at their mean pace; it may run ahead of time by a burst.
    paced: Option<Instant>,
    repairs: RepairBudget,
}

const LAYERS: usize = 2;
const BY_LAYER: [Layer; LAYERS] = [Layer::P480, Layer::P720];

const fn index(layer: Layer) -> usize {
    match layer {
        Layer::P480 => 0,
        Layer::P720 => 1,
    }
}

/// A key frame is needed on a layer.
#[derive(Clone, Copy, Debug)]
struct Want {
    since: Instant,
    /// When to ask, or ask again.
    due: Instant,
    /// Requests on this layer's SSRC so far.
    tries: u8,
}

impl KeyFrameRequests {
    /// A key frame of this layer is needed. Repeating it is harmless: one that is wanted already is not wanted more.
    pub(crate) fn request(&mut self, layer: Layer, cause: Cause, now: Instant) {
        let place = index(layer);
        let known = self.wants[place];
        if known.is_some_and(|want| want.tries > 0 || want.due <= now || cause == Cause::Repair) {
            return;
        }
        let mut due = now;
        if let Some(sent) = self.last_sent {
            let answered = self.key_frames[place].is_some_and(|at| at >= sent);
            // A request on its way, for whatever layer, brings this one's key frame too.
            due = due.max(if answered {
                sent + limits::KEY_FRAME_GAP
            } else {
                sent + limits::KEY_FRAME_RETRY
            });
        }
        if cause == Cause::Repair {
            due = due.max(self.repairs.free_at(now));
            self.repairs.spend(due);
        }
        self.wants[place] = Some(Want {
            since: known.map_or(now, |want| want.since),
            // A viewer does not wait for the budget of repairs.
            due: known.map_or(due, |want| want.due.min(due)),
            tries: 0,
        });
    }

    /// The first packet of a key frame of this layer came.
    pub(crate) fn handle_key_frame(&mut self, layer: Layer, now: Instant) {
        let place = index(layer);
        self.wants[place] = None;
        self.key_frames[place] = Some(now);
    }

    /// The layer on whose SSRC to send a PLI now: the one that is due longest.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Layer> {
        if now < self.gate(now) {
            return None;
        }
        let (place, mut want) = self.earliest()?;
        if now < want.due {
            return None;
        }
        want.tries += 1;
        want.due = now + limits::KEY_FRAME_RETRY * (1 << (want.tries - 1));
        self.wants[place] = Some(want);
        // The other layers' key frames come with it.
        for other in self.wants.iter_mut().flatten() {
            other.due = other.due.max(now + limits::KEY_FRAME_RETRY);
        }
        self.wants[place] = (want.tries < limits::KEY_FRAME_TRIES).then_some(want);
        self.last_sent = Some(now);
        self.paced = Some(self.paced.map_or(now, |paced| paced.max(now)) + limits::KEY_FRAME_PACE);
        Some(BY_LAYER[place])
    }

    /// When [`Self::poll`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let (_, want) = self.earliest()?;
        Some(want.due.max(self.gate(want.due)))
    }

    fn earliest(&self) -> Option<(usize, Want)> {
        let wants = self.wants.iter().enumerate();
        wants
            .filter_map(|(place, want)| want.map(|want| (place, want)))
            .min_by_key(|(_, want)| (want.due, want.since))
    }

    /// Before this nothing may be sent, whoever wants it.
    fn gate(&self, now: Instant) -> Instant {
        let spaced = self.last_sent.map_or(now, |sent| sent + limits::KEY_FRAME_GAP);
        let burst = limits::KEY_FRAME_PACE * limits::KEY_FRAME_BURST;
        let paced = self.paced.map_or(now, |paced| {
            // The request itself takes one of the burst.
            (paced + limits::KEY_FRAME_PACE).checked_sub(burst).unwrap_or(now)
        });
        spaced.max(paced)
    }
}

/// The last repairs, oldest first: at most [`limits::KEY_FRAMES_PER_WINDOW`] in [`limits::KEY_FRAME_WINDOW`].
#[derive(Debug, Default)]
struct RepairBudget {
    spent: ArrayVec<Instant, { limits::KEY_FRAMES_PER_WINDOW }>,
}

impl RepairBudget {
    fn free_at(&self, now: Instant) -> Instant {
        match self.spent.first() {
            Some(oldest) if self.spent.is_full() => *oldest + limits::KEY_FRAME_WINDOW,
            _ => now,
        }
    }

    fn spend(&mut self, at: Instant) {
        if self.spent.is_full() {
            self.spent.remove(0);
        }
        self.spent.push(at);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::testing;

    const MS: Duration = Duration::from_millis(1);

    /// Polls each millisecond of a span after the start; the (time in ms, layer) of each request sent.
    fn sent(requests: &mut KeyFrameRequests, start: Instant, span: std::ops::Range<u32>) -> Vec<(u32, Layer)> {
        let mut sent = Vec::new();
        for ms in span {
            let now = start + ms * MS;
            let due = requests.poll_timeout().is_some_and(|due| due <= now);
            let layer = requests.poll(now);
            assert_eq!(due, layer.is_some(), "the timeout says when to poll, at {ms} ms");
            sent.extend(layer.map(|layer| (ms, layer)));
        }
        sent
    }

    #[test]
    fn one_request_serves_all_viewers_and_layers() {
        let start = testing::start();
        let mut requests = KeyFrameRequests::default();
        for _ in 0..100 {
            requests.request(Layer::P720, Cause::Viewer, start);
            requests.request(Layer::P480, Cause::Viewer, start);
        }
        assert_eq!(sent(&mut requests, start, 0..30), [(0, Layer::P480)]);
        requests.request(Layer::P720, Cause::Viewer, start + 30 * MS);
        requests.handle_key_frame(Layer::P480, start + 30 * MS);
        requests.handle_key_frame(Layer::P720, start + 32 * MS);
        assert_eq!(requests.poll_timeout(), None);
    }

    #[test]
    fn a_request_that_comes_after_the_answer_waits_for_the_gap_only() {
        let start = testing::start();
        let mut requests = KeyFrameRequests::default();
        requests.request(Layer::P720, Cause::Viewer, start);
        assert_eq!(sent(&mut requests, start, 0..1).len(), 1);
        requests.handle_key_frame(Layer::P720, start + 20 * MS);
        requests.request(Layer::P720, Cause::Viewer, start + 50 * MS);
        assert_eq!(sent(&mut requests, start, 50..300), [(200, Layer::P720)]);
    }

    #[test]
    fn another_layer_is_expected_to_come_with_a_request_on_its_way() {
        let start = testing::start();
        let mut requests = KeyFrameRequests::default();
        requests.request(Layer::P480, Cause::Viewer, start);
        assert_eq!(sent(&mut requests, start, 0..10), [(0, Layer::P480)]);
        requests.handle_key_frame(Layer::P480, start + 10 * MS);
        requests.request(Layer::P720, Cause::Viewer, start + 11 * MS);
        // It does not come: then it is asked for on its own SSRC.
        assert_eq!(sent(&mut requests, start, 11..400), [(300, Layer::P720)]);
    }

    #[test]
    fn repeats_with_growing_pauses_and_ends() {
        let start = testing::start();
        let mut requests = KeyFrameRequests::default();
        requests.request(Layer::P720, Cause::Viewer, start);
        let times: Vec<u32> = sent(&mut requests, start, 0..20_000)
            .iter()
            .map(|(ms, _)| *ms)
            .collect();
        assert_eq!(times, [0, 300, 900, 2_100, 4_500]);
        assert_eq!(requests.poll_timeout(), None);
        // A new need starts afresh.
        requests.request(Layer::P720, Cause::Viewer, start + 20_000 * MS);
        assert_eq!(sent(&mut requests, start, 20_000..20_100), [(20_000, Layer::P720)]);
        requests.handle_key_frame(Layer::P720, start + 20_100 * MS);
        assert_eq!(sent(&mut requests, start, 20_100..40_000), []);
    }

    /// A publisher's key frames cost all its viewers: insatiable viewers get them spaced, then rationed.
    #[test]
    fn the_publisher_has_a_budget() {
        let start = testing::start();
        let mut requests = KeyFrameRequests::default();
        let mut times = Vec::new();
        for ms in 0..20_000 {
            let now = start + ms * MS;
            requests.request(Layer::P720, Cause::Viewer, now);
            if requests.poll(now).is_some() {
                times.push(ms);
                requests.handle_key_frame(Layer::P720, now);
            }
        }
        let burst: Vec<u32> = (0..limits::KEY_FRAME_BURST).map(|request| request * 200).collect();
        assert_eq!(times[..burst.len()], burst);
        assert!(
            times
                .windows(2)
                .all(|pair| (200..=1_000).contains(&(pair[1] - pair[0]))),
            "{times:?}"
        );
        assert_eq!(times.len(), 20 + burst.len() - 1, "{times:?}");
    }

    #[test]
    fn a_viewer_does_not_wait_for_the_budget_of_repairs() {
        let start = testing::start();
        let mut requests = KeyFrameRequests::default();
        for ms in 0..3_000 {
            let now = start + ms * MS;
            requests.request(Layer::P720, Cause::Repair, now);
            if requests.poll(now).is_some() {
                requests.handle_key_frame(Layer::P720, now);
            }
        }
        assert!(
            requests.poll_timeout() > Some(start + 9_000 * MS),
            "the budget is spent"
        );
        requests.request(Layer::P720, Cause::Viewer, start + 4_000 * MS);
        assert_eq!(sent(&mut requests, start, 4_000..4_100), [(4_000, Layer::P720)]);
    }

    #[test]
    fn repairs_have_the_budget_of_one_viewer_and_are_not_forgotten_beyond_it() {
        let start = testing::start();
        let mut requests = KeyFrameRequests::default();
        let mut times = Vec::new();
        for ms in 0..21_000 {
            let now = start + ms * MS;
            requests.request(Layer::P480, Cause::Repair, now);
            if requests.poll(now).is_some() {
                times.push(ms);
                requests.handle_key_frame(Layer::P480, now + MS);
            }
        }
        assert!(times.len() >= 6, "{times:?}");
        for window in times.windows(limits::KEY_FRAMES_PER_WINDOW + 1) {
            assert!(window[limits::KEY_FRAMES_PER_WINDOW] - window[0] >= 9_999, "{times:?}");
        }
    }
}
