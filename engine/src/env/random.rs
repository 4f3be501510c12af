//! A small generator of random numbers: SplitMix64.
//!
//! Every `u64` is a good seed, neighbouring ones too, and a seed gives the same numbers on every machine:
//! that is what a replayed simulation needs. Not for secrets.
//!
//! Truth: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).

use std::cell::Cell;

/// One stream of numbers. Shared by reference within a shard.
#[derive(Debug, Clone)]
pub struct Random {
    state: Cell<u64>,
}

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Random {
        Random { state: Cell::new(seed) }
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero. The bias of the remainder is below `bound` / 2^64.
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below zero");
        self.next() % bound
    }

    /// An index into something of `len` elements, which is not empty.
    pub fn index(&self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True `per_mille` times in a thousand.
    pub fn chance(&self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// A stream of its own, decided by this one.
    pub fn fork(&self) -> Random {
        Random::new(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        let random = Random::new(1234567);
        let drawn: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(drawn, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn chances_keep_to_their_share() {
        let random = Random::new(1);
        let hits = (0..10_000).filter(|_| random.chance(100)).count();
        assert!((900..1100).contains(&hits), "{hits} hits of about 1000");
        assert!(!random.chance(0));
        assert!(random.chance(1000));
    }
}
