//! When requests are due. Pure: moments are nanoseconds since the run began.
//!
//! Invariants
//!  1. At a fixed rate, request k is due at k / rate, whatever became of the requests before it.

/// How fast to ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each lane asks again as soon as it was answered (closed loop).
    Closed,
    /// So many requests per second over all lanes, whether the server keeps up or not (open loop).
    Open {
        /// Requests per second.
        rate: f64,
    },
}

/// The moments at which an open loop's requests are due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    interval_ns: f64,
    taken: u64,
}

impl Schedule {
    /// `rate` requests per second, the first at moment 0.
    pub fn new(rate: f64) -> Schedule {
        Schedule { interval_ns: 1e9 / rate.max(1e-3), taken: 0 }
    }

    /// When the next request is due.
    pub fn next_ns(&self) -> u64 {
        (self.taken as f64 * self.interval_ns) as u64
    }

    /// Takes the next request if it is due, and says since when.
    pub fn take(&mut self, now_ns: u64) -> Option<u64> {
        let due = self.next_ns();
        (due <= now_ns).then(|| {
            self.taken += 1;
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;

    #[test]
    fn requests_are_due_at_their_multiples_of_the_interval() {
        let mut schedule = Schedule::new(1000.0);
        assert_eq!(schedule.take(0), Some(0));
        assert_eq!(schedule.take(999_999), None);
        assert_eq!(schedule.next_ns(), 1_000_000);
        assert_eq!(schedule.take(2_500_000), Some(1_000_000));
        assert_eq!(schedule.take(2_500_000), Some(2_000_000));
        assert_eq!(schedule.take(2_500_000), None);
    }

    /// The reason for an open loop: one server that stands still for 200 ms of 10 s, at 1,000 requests per second. The
    /// 200 requests that were due meanwhile waited 200, 199, … 1 ms, so 1 % of the 10,000 waited longer than 100 ms. A
    /// closed loop of one would have noticed a single slow request.
    #[test]
    fn a_stall_of_200_ms_shows_in_the_tail_as_the_arithmetic_says() {
        const MS: u64 = 1_000_000;
        let stall = 5000 * MS..5200 * MS;
        let mut schedule = Schedule::new(1000.0);
        let mut latency = Histogram::<u64>::new(3).expect("three digits are allowed");
        for now in (0..10_000).map(|ms| ms * MS) {
            if stall.contains(&now) {
                continue;
            }
            while let Some(due) = schedule.take(now) {
                latency.record(now - due).expect("no upper bound");
            }
        }
        assert_eq!(latency.len(), 10_000);
        let above = |ms: u64| latency.len() - latency.count_between(0, ms * MS + MS / 2);
        assert_eq!([above(0), above(100), above(150), above(199)], [200, 100, 50, 1]);
        assert_eq!(latency.value_at_quantile(0.98), 0);
        let p99 = latency.value_at_quantile(0.99);
        assert!((99 * MS..=101 * MS).contains(&p99), "{p99}");
    }
}
