//! Random programs for the function that the fuzz target `worker` calls: most of them make sense, which random bytes rarely do.

use crate::testing::Chance;

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

#[test]
fn sensible_programs_break_nothing() {
    let first = super::seed(1);
    for seed in first..first + super::times(100) {
        let data = program(seed);
        let run = std::panic::catch_unwind(|| crate::fuzzing::worker(&data));
        assert!(run.is_ok(), "again with HOUSECALL_SEED={seed}");
    }
}
