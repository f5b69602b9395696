//! How fast a viewer's packets may leave: a key frame of 50 kB in one go would stand in front of the next half second of speech.
//!
//! A debt that is worked off at the pace. Audio is never held back, but counts.

use std::time::Duration;

/// What may leave at once: one frame of 720p, so that the frame goes in one GSO call.
const LARGEST_BURST: f64 = 12_000.0;
/// At least a packet and an audio packet.
const LEAST_BURST: f64 = 2_500.0;
/// The burst is what the pace sends in this time.
const BURST_SECONDS: f64 = 0.020;

/// On a path with a known limit frames are spread: a frame in one go stands in front of audio there. The burst is then this.
const SPREAD_BURST: f64 = 1_300.0;
/// The pace is so much above what the media needs ...
const SPREAD: f64 = 1.1;
/// ... unless packets have waited for longer than this.
pub(crate) const LONG_WAIT: Duration = Duration::from_millis(45);

/// See the module.
pub(crate) struct Pacing {
    /// What flows needs, on a path with a known limit.
    needed: Option<f64>,
    /// `None` while nothing is known of the path: then nothing waits.
    bps: Option<f64>,
    /// Bytes sent ahead of the pace.
    debt: f64,
    at_us: i64,
}

impl Pacing {
    pub(crate) const fn new() -> Self {
        Self {
            needed: None,
            bps: None,
            debt: 0.0,
            at_us: 0,
        }
    }

    /// Sets the pace in bits per second; `None` while nothing is known.
    pub(crate) fn set_rate(&mut self, bps: Option<f64>, now_us: i64) {
        if let Some(bps) = self.bps {
            self.work_off(bps, now_us);
        } else {
            self.debt = 0.0;
            self.at_us = now_us;
        }
        self.bps = bps.map(|bps| bps.max(50e3));
    }

    /// Whether anything may have to wait.
    pub(crate) const fn is_limited(&self) -> bool {
        self.bps.is_some()
    }

    /// Sets what the media needs; `None` if the path has shown no limit.
    pub(crate) const fn set_needed(&mut self, needed: Option<f64>) {
        self.needed = needed;
    }

    /// The pace for a packet that has waited for so long.
    fn pace(&self, bps: f64, waited: Duration) -> f64 {
        match self.needed {
            Some(needed) if waited < LONG_WAIT => bps.min(SPREAD * needed),
            _ => bps,
        }
    }

    fn work_off(&mut self, bps: f64, now_us: i64) {
        let elapsed = (now_us - self.at_us).max(0) as f64;
        self.at_us = self.at_us.max(now_us);
        self.debt = (self.debt - elapsed * bps / 8e6).max(0.0);
    }

    fn burst(&self, bps: f64) -> f64 {
        match self.needed {
            Some(_) => SPREAD_BURST,
            None => (bps / 8.0 * BURST_SECONDS).clamp(LEAST_BURST, LARGEST_BURST),
        }
    }

    /// Something left.
    pub(crate) fn handle_sent(&mut self, size: usize) {
        self.debt += size as f64;
    }

    /// Whether video that has waited for so long may leave now, and if not, in how long.
    pub(crate) fn wait(&mut self, waited: Duration, now_us: i64) -> Option<Duration> {
        let bps = self.pace(self.bps?, waited);
        self.work_off(bps, now_us);
        let over = self.debt - self.burst(bps);
        (over > 0.0).then(|| Duration::from_micros((over * 8e6 / bps) as u64 + 1_000))
    }
}
