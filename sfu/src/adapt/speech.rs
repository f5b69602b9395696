//! What sound takes of a path. For one voice there is the ladder's reserve; several, each with two frames of redundancy in every packet, take
//! more, and that is nobody's picture.

use crate::adapt::ladder::AUDIO_RESERVE;
use crate::limits;

/// The least time that is averaged over: one packet more or less of a voice's fifty is 2 %.
const SPAN_US: i64 = 1_000_000;
/// Who has stopped speaking soon speaks again: what was used is given back over so long.
const GIVEN_BACK_US: f64 = 10_000_000.0;

/// See the module.
pub(super) struct Speech {
    /// Bits per second.
    used: f64,
    /// Up to when what was sent has been counted; `None` before the first feedback.
    counted_us: Option<i64>,
}

impl Speech {
    pub(super) const fn new() -> Self {
        Self {
            used: 0.0,
            counted_us: None,
        }
    }

    /// Whether what was sent since it was counted last is enough for a rate.
    pub(super) fn is_due(&self, now_us: i64) -> bool {
        self.counted_us.is_none_or(|counted| now_us - counted >= SPAN_US)
    }

    /// So many bytes of sound, headers included, left since this was called last.
    pub(super) fn handle_sent(&mut self, bytes: u32, now_us: i64) {
        let Some(counted) = self.counted_us.replace(now_us) else {
            return;
        };
        let elapsed = (now_us - counted).max(SPAN_US) as f64;
        let bps = 8e6 * f64::from(bytes) / elapsed;
        let share = (elapsed / GIVEN_BACK_US).min(1.0);
        self.used = bps.max(self.used - (self.used - bps) * share);
    }

    /// Bits per second that are not set aside already, [`limits::MAX_SPEECH`] at most.
    pub(super) fn beyond_reserve(&self) -> f64 {
        (self.used - AUDIO_RESERVE.bps() as f64).clamp(0.0, limits::MAX_SPEECH.bps() as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crate::adapt::ladder::{Flow, Rates};
    use crate::adapt::{Candidate, Candidates, Controller, Sort};
    use crate::limits;
    use crate::media::{Bitrate, Layer, Target};

    const P480: Target = Target::Video(Layer::P480);
    const P720: Target = Target::Video(Layer::P720);

    const MS: Duration = Duration::from_millis(1);

    /// A viewer who is sent voices and tells of them.
    struct Listener {
        start: Instant,
        controller: Controller,
        /// Of the next packet, and of the first that was not reported on.
        number: u16,
        reported: u16,
        /// Packets of each voice so far, one each 20 ms.
        tick: u32,
        arrivals: Vec<i64>,
    }

    impl Listener {
        fn new() -> Self {
            let start = crate::clock::testing::start();
            Self {
                start,
                controller: Controller::new(Bitrate::from_kbps(500), start),
                number: 0,
                reported: 0,
                tick: 0,
                arrivals: Vec::new(),
            }
        }

        /// So many send a packet each; when what was heard of all so far is told.
        fn send(&mut self, packets: u32, rtp_bytes: usize) -> Instant {
            let sent = self.start + 20 * self.tick * MS;
            for _ in 0..packets {
                self.controller.handle_sent(self.number, rtp_bytes, Sort::Audio, sent);
                self.arrivals.push(20_000 * i64::from(self.tick) + 5_000);
                self.number = self.number.wrapping_add(1);
            }
            self.tick += 1;
            sent + 10 * MS
        }

        fn tell(&mut self, heard: Instant) {
            let first = self.reported;
            let arrivals = self.arrivals.drain(..).enumerate();
            let arrivals = arrivals.map(|(place, at)| (first.wrapping_add(place as u16), Some(at)));
            self.controller.handle_arrivals(arrivals, heard);
            self.reported = self.number;
        }

        fn beyond_kbps(&self) -> u64 {
            self.controller.speech.beyond_reserve() as u64 / 1_000
        }
    }

    /// So many speak for three seconds on a path of which it is known what it carries, beside a picture of 720p.
    fn rung(speakers: u32, rtp_bytes: usize, kbps: u64) -> (Target, u64) {
        let mut listener = Listener::new();
        let ceiling = kbps as f64 * 1e3;
        listener.controller.estimator.handle_ceiling(ceiling, 0);
        let mut flow = Flow::new(P720);
        for _ in 0..150 {
            let heard = listener.send(speakers, rtp_bytes);
            listener.tell(heard);
            let mut candidates = Candidates::new();
            candidates.push(Candidate {
                flow: &mut flow,
                ideal: P720,
                rates: Rates {
                    small: Some(Bitrate::from_kbps(580)),
                    large: Some(Bitrate::from_kbps(1_450)),
                },
                is_screen: false,
            });
            listener.controller.decide(&mut candidates, false, heard);
        }
        (flow.rung(), listener.beyond_kbps())
    }

    #[test]
    fn feedback_that_is_held_back_makes_no_sound_of_it() {
        let mut listener = Listener::new();
        let mut found = Vec::new();
        for second in 0..12 {
            for tick in 0..50 {
                let heard = listener.send(3, 110);
                // None from the fourth second to the end of the sixth: then everything at once.
                if !(4..7).contains(&second) || (second, tick) == (6, 49) {
                    listener.tell(heard);
                    found.push(listener.beyond_kbps());
                }
            }
        }
        // Three of 61.6 kbit/s.
        assert!(found[100..].iter().all(|kbps| (103..=106).contains(kbps)), "{found:?}");
    }

    #[test]
    fn nobody_takes_all_of_a_path_by_sound() {
        let mut listener = Listener::new();
        for _ in 0..150 {
            // A thousand packets of 1,200 bytes a second.
            let heard = listener.send(20, 1_200);
            listener.tell(heard);
        }
        assert_eq!(listener.beyond_kbps(), limits::MAX_SPEECH.bps() / 1_000);
    }

    /// 720p and one voice need 1,588 kbit/s.
    #[test]
    fn what_several_voices_take_is_no_pictures() {
        // Speakers, bytes of RTP in each of 50 packets a second, path; rung, beyond the reserve at most and at least, kbit/s.
        let table = [
            (1, 110, 1_600, P720, 0..=0),
            (1, 200, 1_700, P720, 10..=18),
            (3, 110, 1_700, P720, 90..=105),
            (3, 110, 1_650, P480, 90..=105),
            (3, 200, 1_850, P720, 195..=213),
            (3, 200, 1_750, P480, 195..=213),
        ];
        for (speakers, bytes, kbps, expected, beyond) in table {
            let (rung, found) = rung(speakers, bytes, kbps);
            assert!(beyond.contains(&found), "{speakers} of {bytes} bytes: {found} kbit/s");
            assert_eq!(rung, expected, "{speakers} of {bytes} bytes over {kbps} kbit/s");
        }
    }

    #[test]
    fn a_voice_that_pauses_keeps_its_room_for_a_while() {
        let mut speech = super::Speech::new();
        speech.handle_sent(5_000, 0);
        speech.handle_sent(30_000, 1_000_000);
        assert_eq!(speech.beyond_reserve() as u64, 160_000);
        speech.handle_sent(0, 2_000_000);
        assert_eq!(speech.beyond_reserve() as u64, 136_000);
        for second in 3..60 {
            speech.handle_sent(0, second * 1_000_000);
        }
        assert_eq!(speech.beyond_reserve() as u64, 0);
    }
}
