//! What a simulated network does to its bytes, short of breaking TCP's promise: bytes of one direction of
//! one connection arrive in order and unchanged, or the connection ends.

use super::random::Random;
use std::time::Duration;

/// A mix of faults. Chances are in a thousand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// Longest time that a segment travels, beyond the microsecond that each does.
    pub delay_max: Duration,
    /// Longest segment; shorter ones are as likely.
    pub segment_bytes_max: usize,
    /// Bytes that a direction takes before its receiver has read any: the sockets' buffers.
    pub window_bytes: usize,
    /// That a segment stands still, with all behind it.
    pub stall_chance: u32,
    /// For at most so long.
    pub stall_max: Duration,
    /// That a segment is the last one, and both ends see a reset.
    pub cut_chance: u32,
    /// That a connection is refused although somebody listens.
    pub refuse_chance: u32,
    /// That a network's turn sees only some of what has come.
    pub partial_turn_chance: u32,
}

impl Faults {
    /// A fast network on which nothing goes wrong.
    pub fn none() -> Faults {
        Faults {
            delay_max: Duration::from_micros(50),
            segment_bytes_max: 64 * 1024,
            window_bytes: 256 * 1024,
            stall_chance: 0,
            stall_max: Duration::ZERO,
            cut_chance: 0,
            refuse_chance: 0,
            partial_turn_chance: 0,
        }
    }

    /// Some kinds off, some mild, some extreme: a uniform drizzle would find less.
    pub fn mix(seed: u64) -> Faults {
        let random = &mut Random::new(seed);
        let pick = |random: &mut Random, choices: [u32; 4]| choices[random.below(4)];
        Faults {
            delay_max: Duration::from_micros(u64::from(pick(random, [1, 50, 2_000, 200_000]))),
            segment_bytes_max: pick(random, [1, 100, 16 * 1024, 64 * 1024]) as usize,
            window_bytes: pick(random, [1, 4 * 1024, 64 * 1024, 1024 * 1024]) as usize,
            stall_chance: pick(random, [0, 0, 5, 100]),
            stall_max: Duration::from_millis(u64::from(pick(random, [1, 100, 5_000, 60_000]))),
            cut_chance: pick(random, [0, 0, 1, 20]),
            refuse_chance: pick(random, [0, 0, 50, 500]),
            partial_turn_chance: pick(random, [0, 0, 100, 500]),
        }
    }
}
