//! What sound takes of a path. For one voice there is the ladder's reserve; several, each with two frames of redundancy in every packet, take
//! more, and that is nobody's picture.

use crate::adapt::ladder::AUDIO_RESERVE;

/// Who has stopped speaking soon speaks again: what was used is given back over so long.
const GIVEN_BACK_US: f64 = 10_000_000.0;

/// See the module.
pub(super) struct Speech {
    /// Bits per second.
    used: f64,
    at_us: i64,
}

impl Speech {
    pub(super) const fn new() -> Self {
        Self { used: 0.0, at_us: 0 }
    }

    /// So many bytes of sound, headers included, were sent in the last second.
    pub(super) fn handle_second(&mut self, bytes: u32, now_us: i64) {
        let bps = 8.0 * f64::from(bytes);
        let share = ((now_us - self.at_us) as f64 / GIVEN_BACK_US).clamp(0.0, 1.0);
        self.at_us = now_us;
        self.used = bps.max(self.used - (self.used - bps) * share);
    }

    /// Bits per second that are not set aside already.
    pub(super) fn beyond_reserve(&self) -> f64 {
        (self.used - AUDIO_RESERVE.bps() as f64).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::adapt::ladder::{Flow, Rates};
    use crate::adapt::{Candidate, Candidates, Controller, Sort};
    use crate::media::{Bitrate, Layer, Target};

    const P480: Target = Target::Video(Layer::P480);
    const P720: Target = Target::Video(Layer::P720);

    /// So many speak for three seconds on a path of which it is known what it carries, beside a picture of 720p.
    fn rung(speakers: u32, rtp_bytes: usize, kbps: u64) -> (Target, u64) {
        let start = crate::clock::testing::start();
        let mut controller = Controller::new(Bitrate::from_kbps(500), start);
        controller.estimator.handle_ceiling(kbps as f64 * 1e3, 0);
        let mut number = 0_u16;
        let mut flow = Flow::new(P720);
        for tick in 0..150_u64 {
            let sent = start + Duration::from_millis(20 * tick);
            let first = number;
            for _ in 0..speakers {
                controller.handle_sent(number, rtp_bytes, Sort::Audio, sent);
                number += 1;
            }
            let arrival = 20_000 * tick as i64 + 5_000;
            let heard = sent + Duration::from_millis(10);
            controller.handle_arrivals((first..number).map(|number| (number, Some(arrival))), heard);
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
            controller.decide(&mut candidates, false, heard);
        }
        (flow.rung(), controller.speech.beyond_reserve() as u64 / 1_000)
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
        speech.handle_second(30_000, 1_000_000);
        assert_eq!(speech.beyond_reserve() as u64, 160_000);
        speech.handle_second(0, 2_000_000);
        assert_eq!(speech.beyond_reserve() as u64, 136_000);
        for second in 3..60 {
            speech.handle_second(0, second * 1_000_000);
        }
        assert_eq!(speech.beyond_reserve() as u64, 0);
    }
}
