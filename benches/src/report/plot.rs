//! A latency distribution as text: one row per step of latency, as long as its share.

use hdrhistogram::Histogram;
use std::fmt::Write;

/// Each row's latencies are up to so many times the ones of the row before.
const STEP: f64 = 1.5;
/// Characters of the longest bar.
const WIDTH: f64 = 50.0;
/// Fewer rows than this say nothing that the percentiles do not.
const ROWS_MAX: usize = 40;

/// One row per step from the shortest to the longest latency; shares are of all latencies.
pub fn plot(histogram: &Histogram<u64>) -> String {
    let mut out = String::new();
    if histogram.is_empty() {
        return out;
    }
    let mut from = histogram.min().max(1);
    let mut rows = Vec::new();
    while from <= histogram.max() && rows.len() < ROWS_MAX {
        let to = ((from as f64 * STEP) as u64).max(from + 1);
        // Both ends of `count_between` count with all their equivalents, so the upper end is the one just below.
        let count =
            histogram.count_between(from, histogram.lowest_equivalent(to).saturating_sub(1).max(from));
        rows.push((to, count));
        from = histogram.lowest_equivalent(to).max(from + 1);
    }
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    for (to, count) in rows {
        let share = count as f64 / histogram.len() as f64;
        let bar = "█".repeat((count as f64 / most as f64 * WIDTH).round() as usize);
        let _ = writeln!(out, "  < {:>11.1} µs {:>9.4} % {bar}", to as f64 / 1e3, share * 100.0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_in_one_row() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 1 << 40, 3).expect("allowed");
        for ns in [1000, 1000, 1000, 1400, 1600, 100_000] {
            histogram.record(ns).expect("within bounds");
        }
        let plot = plot(&histogram);
        let shares: f64 = plot
            .lines()
            .map(|line| line.split_whitespace().nth(3).expect("a share"))
            .map(|share| share.parse::<f64>().expect("a number"))
            .sum();
        assert!((shares - 100.0).abs() < 0.01, "{plot}");
        assert!(plot.starts_with("  <         1.5 µs   66.6667 % ██████████"), "{plot}");
        assert_eq!(super::plot(&Histogram::<u64>::new(3).expect("allowed")), "");
    }
}
