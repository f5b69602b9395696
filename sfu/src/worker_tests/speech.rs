//! Speech on lines that are hardly lines.

use std::time::Duration;

use super::peer::Profile;
use super::stage::{ROOM, Stage, tell};
use crate::testing::link::Quality;

const SECOND: Duration = Duration::from_secs(1);

/// A fifth lost on each of the two ways, and 600 ms of round trip on each: speech flows, and nothing holds it back.
#[test]
fn speech_flows_over_two_lines_that_lose_a_fifth_and_take_600_ms() {
    tell(1, 2, |seed| {
        let bad = Quality {
            loss: 200,
            delay: Duration::from_millis(300),
            ..Quality::lossy(0)
        };
        let mut stage = Stage::new(seed);
        stage.join(ROOM, &Profile::full(), bad);
        stage.join(ROOM, &Profile::viewer(), bad);
        stage.connect_all();
        stage.watch(1, 0, 0);
        stage.run(3 * SECOND);
        let first = stage.seats[0].peer.studio.sounds();
        stage.run(30 * SECOND);
        // What is on its way yet is left out.
        let last = stage.seats[0].peer.studio.sounds() - 50;
        let heard = &stage.seats[1].peer.screen.audio[0].sounds;
        let came = |number: u32| heard.contains_key(&number);
        let all = f64::from(last - first);
        let share = (first..last).filter(|number| came(*number)).count() as f64 / all;
        // Browsers send each packet of speech again with the next one (RFC 2198).
        let with_red = (first..last).filter(|number| came(*number) || came(number + 1)).count() as f64 / all;
        assert!(share >= 0.64 * 0.95, "{share:.3} of the packets came");
        assert!(with_red >= 0.85, "{with_red:.3} of speech can be played");
        let mut silence = 0;
        let mut longest = 0;
        for number in first..last {
            silence = if came(number) || came(number + 1) {
                0
            } else {
                silence + 1
            };
            longest = longest.max(silence);
        }
        assert!(longest <= 8, "{longest} packets of 20 ms in a row are gone");
    });
}
