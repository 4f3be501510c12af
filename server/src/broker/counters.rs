//! What the broker has done, counted, for the runtime table that operators look at. Pure.
//!
//! Rates are of the last 10, 60 and 600 seconds, from samples taken at every scan; missing samples count
//! from the start.
//!
//! Source: `store/.../StoreStatsService.java`.

use std::collections::VecDeque;
use std::time::Duration;

use super::limits::SCAN_EVERY;
use super::outcome::Now;

/// Samples kept: enough for the longest rate.
const SAMPLES_MAX: usize = 600 / SCAN_EVERY.as_secs() as usize + 1;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Totals since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Messages stored.
    pub put: u64,
    /// Bytes of their bodies.
    pub put_bytes: u64,
    /// Sends that the store refused.
    pub put_failed: u64,
    /// Messages given to consumers.
    pub got: u64,
    /// Pulls that found something.
    pub pulls_found: u64,
    /// Pulls that found nothing.
    pub pulls_missed: u64,
}

/// What one shard counts. One per shard.
#[derive(Debug)]
pub struct Counters {
    /// Since the start.
    pub totals: Totals,
    samples: VecDeque<(Duration, Totals)>,
    /// The day (of UTC) that `today` begins.
    day: i64,
    /// Totals at the last two midnights.
    pub this_morning: Totals,
    /// Totals at the midnight before.
    pub yesterday_morning: Totals,
}

impl Counters {
    /// Begins to count.
    pub fn new(now: Now) -> Counters {
        Counters {
            totals: Totals::default(),
            samples: VecDeque::from([(now.monotonic, Totals::default())]),
            day: now.wall_ms.div_euclid(DAY_MS),
            this_morning: Totals::default(),
            yesterday_morning: Totals::default(),
        }
    }

    /// Remembers how things stand.
    pub fn sample(&mut self, now: Now) {
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now.monotonic, self.totals));
        let day = now.wall_ms.div_euclid(DAY_MS);
        if day > self.day {
            self.day = day;
            self.yesterday_morning = self.this_morning;
            self.this_morning = self.totals;
        }
    }

    /// Per second, over the last 10, 60 and 600 seconds, of what `count` takes from the totals.
    pub fn rates(&self, now: Now, count: impl Fn(&Totals) -> u64) -> [f64; 3] {
        [10, 60, 600].map(|seconds| {
            let begin = now.monotonic.saturating_sub(Duration::from_secs(seconds));
            let sample = self.samples.iter().rev().find(|(at, _)| *at <= begin).or(self.samples.front());
            let Some((at, then)) = sample else { return 0.0 };
            let elapsed = now.monotonic.saturating_sub(*at).as_secs_f64();
            if elapsed == 0.0 { 0.0 } else { (count(&self.totals) - count(then)) as f64 / elapsed }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { wall_ms: seconds as i64 * 1000, monotonic: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_rate_is_taken_over_its_own_span() {
        let mut counters = Counters::new(at(0));
        for second in (10..=60).step_by(10) {
            counters.totals.put += 10;
            counters.sample(at(second));
        }
        counters.totals.put += 90;
        assert_eq!(counters.rates(at(70), |totals| totals.put), [9.0, 140.0 / 60.0, 150.0 / 70.0]);
    }

    #[test]
    fn a_new_day_begins_at_midnight() {
        let mut counters = Counters::new(at(10));
        counters.totals.got = 7;
        counters.sample(at(86_400));
        assert_eq!((counters.this_morning.got, counters.yesterday_morning.got), (7, 0));
        counters.totals.got = 9;
        counters.sample(at(86_410));
        assert_eq!(counters.this_morning.got, 7);
        counters.sample(at(2 * 86_400));
        assert_eq!((counters.this_morning.got, counters.yesterday_morning.got), (9, 7));
    }
}
