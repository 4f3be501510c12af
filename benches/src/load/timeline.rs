//! Latencies by ticks of time: what happened when. Pure.
//!
//! The distribution of a whole run is the sum of its ticks' distributions; no percentile is ever averaged.
//!
//! Invariants
//!  1. An answer belongs to the tick in which it came; those after the last tick belong to the last.
//!  2. There are at most [`TICKS_MAX`] ticks, all made before the run: noting an answer allocates nothing.

use hdrhistogram::Histogram;
use std::time::Duration;

/// A longer run has longer ticks, not more of them.
pub const TICKS_MAX: u32 = 60;
/// Shorter ticks hold too few answers for percentiles.
const TICK_MIN: Duration = Duration::from_millis(100);

/// The ticks of a run, one after the other from the moment at which measuring began.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Length of each tick.
    pub tick: Duration,
    /// What was answered in each.
    pub ticks: Vec<Tick>,
}

/// What was answered in one tick.
#[derive(Debug, Clone)]
pub struct Tick {
    /// Messages.
    pub messages: u64,
    /// Nanoseconds.
    pub latency: Histogram<u64>,
}

impl Timeline {
    /// For a run that measures for so long; its histograms have the bounds of `empty`.
    ///
    /// Their memory is not touched before something is recorded there, so that making them delays no schedule.
    pub fn new(measure: Duration, empty: &Histogram<u64>) -> Timeline {
        let tick = (measure / TICKS_MAX).max(TICK_MIN);
        let count = measure.as_nanos().div_ceil(tick.as_nanos()).clamp(1, TICKS_MAX.into()) as usize;
        let tick_of = |_| Tick { messages: 0, latency: Histogram::new_from(empty) };
        Timeline { tick, ticks: (0..count).map(tick_of).collect() }
    }

    /// Notes an answer for so many messages that came `at`, counted from when measuring began.
    pub fn note(&mut self, at: Duration, messages: u64, latency: Duration) {
        let index = usize::try_from(at.as_nanos() / self.tick.as_nanos()).unwrap_or(usize::MAX);
        let index = index.min(self.ticks.len() - 1);
        let tick = &mut self.ticks[index];
        tick.messages += messages;
        tick.latency.saturating_record(latency.as_nanos() as u64);
    }

    /// Adds what another generator noted in the same while.
    pub fn add(&mut self, other: &Timeline) {
        for (ours, theirs) in self.ticks.iter_mut().zip(&other.ticks) {
            ours.messages += theirs.messages;
            ours.latency.add(&theirs.latency).expect("all have the same bounds");
        }
    }

    /// The latencies of all ticks together; `empty` is the histogram to add to.
    pub fn all(&self, mut empty: Histogram<u64>) -> Histogram<u64> {
        for tick in &self.ticks {
            empty.add(&tick.latency).expect("all have the same bounds");
        }
        empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn empty() -> Histogram<u64> {
        Histogram::new_with_bounds(1, 1_000_000_000, 3).expect("bounds and digits are allowed")
    }

    #[test]
    fn ticks_are_long_enough_and_few_enough() {
        for (measure, tick, count) in [(0, 100, 1), (250, 100, 3), (5000, 100, 50), (60_000, 1000, 60)] {
            let timeline = Timeline::new(measure * MS, &empty());
            assert_eq!((timeline.tick, timeline.ticks.len()), (tick * MS, count), "{measure} ms");
        }
    }

    #[test]
    fn the_sum_of_the_ticks_is_the_run() {
        let mut timeline = Timeline::new(300 * MS, &empty());
        for (at, messages, latency) in [(0, 1, 5), (99, 2, 6), (100, 1, 70), (299, 1, 8), (350, 4, 9)] {
            timeline.note(at * MS, messages, latency * MS);
        }
        let other = timeline.clone();
        timeline.add(&other);
        let by_tick: Vec<_> = timeline.ticks.iter().map(|tick| (tick.messages, tick.latency.len())).collect();
        assert_eq!(by_tick, [(6, 4), (2, 2), (10, 4)]);
        let all = timeline.all(empty());
        assert_eq!((all.len(), (all.max() + 500_000) / 1_000_000), (10, 70));
    }
}
