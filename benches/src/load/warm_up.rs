//! When a load has become steady. Pure.
//!
//! What was seen so far is cut into windows. The load is steady once the later half of the windows is level: its own two
//! halves have nearly the same rate and the same median latency.
//!
//! ```text
//!   rate        ▁▂▄▆▇████████
//!   looked at         ├──┤├──┤   level: measuring begins
//! ```
//!
//! Looking at a share of what was seen, and not at a fixed while, tells a just-in-time compiler that is still at work
//! from noise at any pace.
//!
//! Invariants
//!  1. A warm-up takes at least `least` and at most `most`; what is not steady by then is measured all the same, and the
//!     result says so.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Length of a window.
const WINDOW: Duration = Duration::from_millis(100);
/// So many windows at least are looked at.
const WINDOWS_MIN: usize = 8;
/// Of one half's rate, the other's may differ by so much.
const RATE_SPREAD: f64 = 0.1;
/// Of one half's median latency, the other's may differ by so much.
const LATENCY_SPREAD: f64 = 0.2;

/// How long a warm-up may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmUp {
    /// Not shorter.
    pub least: Duration,
    /// Not longer.
    pub most: Duration,
}

impl WarmUp {
    /// Measuring begins at once.
    pub const NONE: WarmUp = WarmUp::exactly(Duration::ZERO);

    /// Measuring begins then, steady or not.
    pub const fn exactly(after: Duration) -> WarmUp {
        WarmUp { least: after, most: after }
    }
}

/// How a warm-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warmed {
    /// How long it took.
    pub after: Duration,
    /// Whether the load was steady, or the length was fixed.
    pub is_steady: bool,
}

/// What was seen in one window.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Window {
    answers: u64,
    /// Nanoseconds.
    median: u64,
}

/// Watches a load that warms up. One per ledger.
#[derive(Debug)]
pub struct Watch {
    warm_up: WarmUp,
    windows: Vec<Window>,
    latency: Histogram<u64>,
    window_end: Duration,
}

impl Watch {
    /// Watches from moment 0 on; `empty` is the histogram to use.
    pub fn new(warm_up: WarmUp, empty: Histogram<u64>) -> Watch {
        Watch { warm_up, windows: Vec::new(), latency: empty, window_end: WINDOW }
    }

    /// Notes an answer.
    pub fn note(&mut self, latency: Duration) {
        self.latency.saturating_record(latency.as_nanos() as u64);
    }

    /// How the warm-up ended, if it ends now.
    pub fn ends(&mut self, now: Duration) -> Option<Warmed> {
        if now >= self.window_end {
            let median = self.latency.value_at_quantile(0.5);
            self.windows.push(Window { answers: self.latency.len(), median });
            self.latency.reset();
            self.window_end = now + WINDOW;
        }
        let ended = |is_steady| Some(Warmed { after: now, is_steady });
        match now {
            _ if now < self.warm_up.least => None,
            _ if is_level(&self.windows) => ended(true),
            // Who fixes the length does not ask whether it is steady.
            _ if now >= self.warm_up.most => ended(self.warm_up.least == self.warm_up.most),
            _ => None,
        }
    }
}

/// Whether the later half of the windows is level.
fn is_level(windows: &[Window]) -> bool {
    let later = &windows[windows.len() / 2..];
    let (first, last) = later.split_at(later.len() / 2);
    let rate =
        |half: &[Window]| half.iter().map(|w| w.answers).sum::<u64>() as f64 / half.len().max(1) as f64;
    later.len() >= WINDOWS_MIN
        && rate(last) > 0.0
        && is_near(rate(first), rate(last), RATE_SPREAD)
        && is_near(median(first), median(last), LATENCY_SPREAD)
}

/// Of the windows' medians.
fn median(windows: &[Window]) -> f64 {
    let mut medians: Vec<u64> = windows.iter().map(|window| window.median).collect();
    medians.sort_unstable();
    medians.get(medians.len() / 2).copied().unwrap_or_default() as f64
}

fn is_near(a: f64, b: f64, spread: f64) -> bool {
    (a - b).abs() <= spread * a.max(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, windows: impl Iterator<Item = (u64, u64)>, expected: bool) {
        let windows: Vec<Window> = windows.map(|(answers, median)| Window { answers, median }).collect();
        assert_eq!(is_level(&windows), expected, "{name}");
    }

    #[test]
    fn only_what_has_been_level_for_half_of_the_time_is_steady() {
        check("too little was seen", (0..14).map(|_| (100, 50)), false);
        check("level from the start", (0..16).map(|_| (100, 50)), true);
        check("nothing is answered", (0..16).map(|_| (0, 0)), false);
        check("rises all the time", (1..40).map(|at| (at * 10, 50)), false);
        check("rose, and is level since", (1..40).map(|at| (at.min(12) * 10, 50)), true);
        check("has just become level", (1..40).map(|at| (at.min(32) * 10, 50)), false);
        check("a fixed rate, latency still falls", (1..40).map(|at| (100, 4000 / at)), false);
        check("a fixed rate, latency has fallen", (1..40).map(|at| (100, 4000 / at.min(10))), true);
        check("noise of five per cent", (0..40).map(|at| (100 + at % 5, 50 + at % 3)), true);
    }

    #[test]
    fn a_warm_up_keeps_its_bounds() {
        let ends = |warm_up: WarmUp, per_window: fn(u64) -> u64| {
            let mut watch = Watch::new(warm_up, Histogram::new(3).expect("three digits are allowed"));
            (0_u64..10_000).find_map(|ms| {
                let answers = if ms % 100 == 50 { per_window(ms / 100) } else { 0 };
                (0..answers).for_each(|_| watch.note(Duration::from_micros(50)));
                watch.ends(Duration::from_millis(ms)).map(|warmed| (ms, warmed.is_steady))
            })
        };
        let seconds =
            |least, most| WarmUp { least: Duration::from_secs(least), most: Duration::from_secs(most) };
        assert_eq!(ends(WarmUp::NONE, |_| 0), Some((0, true)), "none was asked for");
        assert_eq!(ends(seconds(0, 5), |_| 100), Some((1500, true)), "as soon as it can be told");
        assert_eq!(ends(seconds(3, 5), |_| 100), Some((3000, true)), "not before");
        assert_eq!(ends(seconds(1, 5), |window| window * window), Some((5000, false)), "not longer");
    }
}
