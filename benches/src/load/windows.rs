//! Latencies by windows of time: those in which something turned in the server, and the others. Pure.
//!
//! ```text
//!   time     │ window │ window │ window │ window │
//!   turns              ×                  × ×
//!   latency    without   with    without    with
//! ```
//!
//! An answer belongs to the window in which it came. What a turn held up is answered right after it, so with it.

use hdrhistogram::Histogram;
use std::time::Duration;

/// The windows of a run. One per ledger.
#[derive(Debug, Clone)]
pub struct Windows {
    length: Duration,
    /// End of the window that is filled now.
    end: Duration,
    now: Histogram<u64>,
    has_turn: bool,
    turns: u64,
    with: Side,
    without: Side,
}

/// All windows of one kind.
#[derive(Debug, Clone)]
pub struct Side {
    /// How many there were.
    pub windows: u64,
    /// Nanoseconds, of all of them together.
    pub latency: Histogram<u64>,
    /// The 99.9th percentile of each, nanoseconds.
    pub p999: Vec<u64>,
}

impl Windows {
    /// Windows of this length; `empty` is the histogram to begin with.
    pub fn new(length: Duration, empty: Histogram<u64>) -> Windows {
        let side = Side { windows: 0, latency: empty.clone(), p999: Vec::new() };
        let (with, without) = (side.clone(), side);
        Windows { length, end: Duration::ZERO, now: empty, has_turn: false, turns: 0, with, without }
    }

    /// Notes an answer that came `now`, and whether it was the first after a turn.
    pub fn note(&mut self, now: Duration, latency: Duration, turned: bool) {
        if now >= self.end {
            self.close();
            self.end = now + self.length;
        }
        self.has_turn |= turned;
        self.turns += u64::from(turned);
        self.now.saturating_record(latency.as_nanos() as u64);
    }

    /// Turns seen, windows with one, windows without one.
    pub fn sides(mut self) -> (u64, Side, Side) {
        self.close();
        (self.turns, self.with, self.without)
    }

    fn close(&mut self) {
        if !self.now.is_empty() {
            let side = if self.has_turn { &mut self.with } else { &mut self.without };
            side.windows += 1;
            side.p999.push(self.now.value_at_quantile(0.999));
            side.latency.add(&self.now).expect("all have the same bounds");
        }
        self.now.reset();
        self.has_turn = false;
    }
}

impl Side {
    /// The median window's 99.9th percentile, nanoseconds; one hiccup of the machine does not move it.
    pub fn median_p999(&self) -> Option<u64> {
        let mut all = self.p999.clone();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
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
    fn answers_are_kept_apart_by_whether_something_turned_in_their_window() {
        let mut windows = Windows::new(10 * MS, empty());
        for (at, latency, turned) in
            [(1, 5, false), (9, 6, false), (11, 70, true), (12, 71, false), (25, 7, false), (40, 72, true)]
        {
            windows.note(at * MS, latency * MS, turned);
        }
        let (turns, with, without) = windows.sides();
        assert_eq!((turns, with.windows, without.windows), (2, 2, 2));
        assert_eq!((with.latency.len(), without.latency.len()), (3, 3));
        // Three digits are kept.
        let ms = |ns: u64| (ns + 500_000) / 1_000_000;
        assert_eq!((ms(with.latency.min()), ms(without.latency.max())), (70, 7));
        assert_eq!(without.median_p999().map(ms), Some(7));
    }

    #[test]
    fn a_run_without_answers_has_no_windows() {
        let windows = Windows::new(MS, empty());
        let (turns, with, without) = windows.sides();
        assert_eq!((turns, with.windows, without.median_p999()), (0, 0, None));
    }
}
