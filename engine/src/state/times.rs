//! Store times: for each millisecond in which something was stored, where in the log it begins. Pure.
//!
//! Invariant: both times and physical offsets strictly increase along the list.

use super::places::Chunked;

/// See the module. One per shard.
#[derive(Debug, Default)]
pub(crate) struct Times {
    steps: Chunked<(i64, u64)>,
}

impl Times {
    /// The record at `physical`, past all before, was stored then.
    pub fn push(&mut self, store_timestamp_ms: i64, physical: u64) {
        if self.steps.last().is_none_or(|(last, _)| *last < store_timestamp_ms) {
            self.steps.push((store_timestamp_ms, physical));
        }
    }

    /// The time of that number, and where it begins.
    pub fn step(&self, number: usize) -> Option<(i64, u64)> {
        self.steps.at(number).copied()
    }

    /// Where the first record stored at or after `timestamp_ms` lies.
    pub fn first_at_or_after(&self, timestamp_ms: i64) -> Option<u64> {
        let at = self.steps.partition_point(|(ms, _)| *ms < timestamp_ms);
        self.steps.at(at).map(|(_, physical)| *physical)
    }

    /// When the record at `physical` was stored.
    pub fn of(&self, physical: u64) -> Option<i64> {
        let after = self.steps.partition_point(|(_, first)| *first <= physical);
        self.steps.at(after.checked_sub(1)?).map(|(ms, _)| *ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_found_by_place_and_a_place_by_time() {
        let mut times = Times::default();
        for (ms, physical) in [(10, 128), (10, 200), (12, 300), (12, 400), (20, 500)] {
            times.push(ms, physical);
        }
        #[rustfmt::skip]
        let places = [(i64::MIN, Some(128)), (10, Some(128)), (11, Some(300)), (12, Some(300)), (20, Some(500)), (21, None)];
        for (ms, physical) in places {
            assert_eq!(times.first_at_or_after(ms), physical, "at or after {ms}");
        }
        for (physical, ms) in
            [(127, None), (128, Some(10)), (299, Some(10)), (300, Some(12)), (499, Some(12)), (900, Some(20))]
        {
            assert_eq!(times.of(physical), ms, "at {physical}");
        }
    }
}
