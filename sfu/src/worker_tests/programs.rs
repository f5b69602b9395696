//! Random programs for the function that the fuzz target `worker` calls: most of them make sense, which random bytes rarely do.

use crate::testing::Chance;
use crate::worker::fuzz::{Reached, drive};

/// Operations in an order of likelihood: pictures and time most of all.
const KINDS: [u8; 28] = [
    0, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 1, 1, 1, 2, 2, 2, 8, 8, 9, 9, 6, 4, 11, 12, 13, 14, 15,
];

fn program(seed: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let mut data = Vec::new();
    // All watch each other first.
    for actor in 0..3_u8 {
        for slot in [2, 3] {
            data.extend([8 | actor << 4, 2, slot, ((actor + 1) % 3) * 2 + (slot & 1)]);
        }
    }
    for _ in 0..chance.below(400) {
        // Feedback like a browser's; now and then somebody goes behind the relay or comes back, or writes to it what they like.
        if chance.percent(15) {
            let kind = if chance.percent(80) { 0 } else { 8 + chance.below(8) };
            let len = chance.below(12);
            data.extend([0x80 | (kind | chance.below(4) << 4) as u8, len as u8]);
            for _ in 0..len {
                // Mostly in time, and nothing lost.
                let byte = if chance.percent(90) { 0 } else { chance.bits() as u8 };
                data.push(byte);
            }
            continue;
        }
        let rare = chance.percent(2);
        let kind = if rare {
            [3, 5, 10][chance.below(3) as usize]
        } else {
            KINDS[chance.below(28) as usize]
        };
        let len = match kind {
            7 => 1,
            0 | 8 | 9 | 13 | 14 => 2,
            10 => 1 + chance.below(2),
            _ => chance.below(40),
        };
        let burst = u64::from(chance.percent(10)) << 6;
        data.push(kind | (chance.below(4) << 4 | burst) as u8);
        data.push(len as u8);
        for place in 0..len {
            let byte = match (kind, place) {
                // Mostly frames' worth of time.
                (7, _) if chance.percent(95) => chance.below(8) as u8,
                // Mostly nothing lost.
                (0, 0) if chance.percent(70) => 0,
                (8, 1) => chance.below(10) as u8,
                _ => chance.bits() as u8,
            };
            data.push(byte);
        }
    }
    data
}

/// Half a minute of one person's picture for another one, over a path that is thin at times: the ladder has something to do.
fn visit(seed: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let mut data = Vec::new();
    // Actor 1 watches the camera of actor 0.
    data.extend([8 | 1 << 4, 2, 3, 1]);
    let mut is_thin = false;
    for _ in 0..900 {
        if chance.percent(1) {
            is_thin = !is_thin;
        }
        // A picture, of which packets may be lost on the way in, and 36 ms.
        let lost = if chance.percent(3) { chance.bits() as u8 } else { 0 };
        data.extend([0, 2, lost, u8::from(chance.percent(1)), 7, 1, 6]);
        if chance.percent(60) {
            // What came, each packet later than the one before it while the path is thin.
            data.extend([0x80 | 1 << 4, 4]);
            for _ in 0..4 {
                let lost = if chance.percent(2) { 0x0f } else { 0 };
                let late = if is_thin { chance.below(16) as u8 } else { 0 };
                data.push(late << 4 | lost);
            }
        }
        if chance.percent(5) {
            data.extend([0x86 | 1 << 4, 3, 0, chance.below(20) as u8, chance.below(20) as u8]);
        }
        if chance.percent(1) {
            // To the relay, or away from it.
            data.extend([0x88 | chance.below(2) as u8 | 1 << 4, 0]);
        }
        if chance.percent(1) {
            data.extend([9 | 1 << 4, 2, 3, chance.below(3) as u8]);
        }
    }
    data
}

#[test]
fn sensible_programs_break_nothing() {
    let first = super::seed(1);
    let times = super::times(100);
    let mut reached = Reached::default();
    for seed in first..first + times {
        let data = if seed % 5 == 0 { visit(seed) } else { program(seed) };
        let Ok(run) = std::panic::catch_unwind(|| drive(&data)) else {
            panic!("again with HOUSECALL_SEED={seed}");
        };
        reached.probes += run.probes;
        reached.steps += run.steps;
        reached.feedback += run.feedback;
        reached.relayed += run.relayed;
        reached.resent += run.resent;
    }
    // Not of one seed, but of many: else the programs have come away from what the worker does.
    let Reached {
        probes,
        steps,
        feedback,
        relayed,
        resent,
    } = reached;
    let everything = probes > 0 && steps > 0 && feedback > 0 && relayed > 0 && resent > 0;
    assert!(everything || times < 100, "{reached:?}");
}
