//! How long to wait before trying again: doubling, with jitter, so that a thousand clients of a broker that restarts do
//! not come back in the same millisecond.

use super::random::Random;
use std::time::Duration;

/// Waits between tries of one thing.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub const fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, failures: 0 }
    }

    /// Another try failed: how long to wait. Between half of 2ⁿ times the first wait, and all of it.
    pub fn failed(&mut self, random: &mut Random) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let half = full / 2;
        half + Duration::from_nanos(random.below(u64::try_from(half.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// A try succeeded.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(1000));
        let mut random = Random::new(1);
        for full in [100, 200, 400, 800, 1000, 1000, 1000] {
            let wait = backoff.failed(&mut random);
            assert!((ms(full / 2)..=ms(full)).contains(&wait), "{wait:?} of {full}");
        }
        backoff.failures = u32::MAX;
        assert!(backoff.failed(&mut random) <= ms(1000));
        backoff.succeeded();
        assert!(backoff.failed(&mut random) <= ms(100));
    }

    #[test]
    fn two_clients_do_not_wait_alike() {
        let wait = |seed| Backoff::new(Duration::from_secs(1), Duration::MAX).failed(&mut Random::new(seed));
        assert_ne!(wait(1), wait(3));
    }
}
