//! A small generator for jitter and first choices. Not for secrets.
//!
//! Source: xorshift64*, Vigna, "An experimental exploration of Marsaglia's xorshift generators".

/// A stream of numbers that its seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        // Zero is the one state that the generator never leaves.
        Random(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias is that of 64 bits against a small bound: nothing.
        self.next().checked_rem(bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_numbers_and_they_stay_below_their_bound() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(|_| random.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        for number in 0..10 {
            let seen = numbers(7).iter().filter(|seen| **seen == number).count();
            assert!((50..200).contains(&seen), "{number}: {seen} of 1000");
        }
        assert_eq!(Random::new(0).below(0), 0);
    }
}
