//! Whether the offsets that a queue gave out are dense: each exactly once, none left out.
//!
//! Answers of several connections overtake each other, so offsets come a little out of order. Pure.
//!
//! Invariants
//!  1. Every offset below `next` was seen exactly once; `next` itself was not.
//!  2. `ahead[i]` tells whether offset `next + i` was seen, and `ahead` is never longer than [`AHEAD_MAX`].

use super::Wrong;
use std::collections::VecDeque;

/// How far an offset may run ahead of the lowest one missing; further is a wrong answer.
pub const AHEAD_MAX: u64 = 1 << 20;

/// The offsets seen of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Density {
    next: u64,
    ahead: VecDeque<bool>,
}

impl Density {
    /// Of a queue whose next offset is `next`.
    pub fn starting_at(next: u64) -> Density {
        Density { next, ahead: VecDeque::new() }
    }

    /// Notes `count` consecutive offsets.
    pub fn note(&mut self, first: i64, count: u64) -> Result<(), Wrong> {
        let first = u64::try_from(first).map_err(|_| Wrong(format!("queue offset {first} is negative")))?;
        for offset in first..first.saturating_add(count) {
            self.note_one(offset)?;
        }
        Ok(())
    }

    /// The next offset, if all before it were seen and none after it.
    pub fn finish(&self) -> Result<u64, Wrong> {
        match self.ahead.len() {
            0 => Ok(self.next),
            ahead => {
                Err(Wrong(format!("queue offset {} was never given out, one {ahead} further was", self.next)))
            }
        }
    }

    fn note_one(&mut self, offset: u64) -> Result<(), Wrong> {
        let twice = || Wrong(format!("queue offset {offset} was given out twice"));
        let index = offset.checked_sub(self.next).ok_or_else(twice)?;
        if index == 0 {
            self.next += 1;
            self.ahead.pop_front();
            while self.ahead.front() == Some(&true) {
                self.ahead.pop_front();
                self.next += 1;
            }
            return Ok(());
        }
        if index >= AHEAD_MAX {
            return Err(Wrong(format!("queue offset {offset} came while {} is missing", self.next)));
        }
        let index = index as usize;
        if self.ahead.len() <= index {
            self.ahead.resize(index + 1, false);
        }
        match std::mem::replace(&mut self.ahead[index], true) {
            true => Err(twice()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes the offsets one by one and finishes.
    fn check(offsets: &[i64], expected: Result<u64, &str>) {
        let mut density = Density::starting_at(3);
        let noted =
            offsets.iter().try_for_each(|offset| density.note(*offset, 1)).and_then(|()| density.finish());
        assert_eq!(noted, expected.map_err(|text| Wrong(text.to_owned())), "{offsets:?}");
    }

    #[test]
    fn offsets_are_dense_in_any_order_and_gaps_and_repeats_are_named() {
        check(&[], Ok(3));
        check(&[3, 4, 5], Ok(6));
        check(&[5, 3, 4, 7, 6], Ok(8));
        check(&[4, 5], Err("queue offset 3 was never given out, one 3 further was"));
        check(&[3, 3], Err("queue offset 3 was given out twice"));
        check(&[5, 5], Err("queue offset 5 was given out twice"));
        check(&[2], Err("queue offset 2 was given out twice"));
        check(&[-1], Err("queue offset -1 is negative"));
        check(&[3 + AHEAD_MAX as i64], Err("queue offset 1048579 came while 3 is missing"));
    }

    #[test]
    fn a_batch_notes_consecutive_offsets() {
        let mut density = Density::starting_at(0);
        assert_eq!(density.note(4, 4), Ok(()));
        assert_eq!(density.note(0, 4), Ok(()));
        assert_eq!(density.finish(), Ok(8));
    }
}
