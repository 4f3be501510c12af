//! Which brokers to leave alone for a while, because their answers were slow or did not come.
//!
//! A latency of so much costs so long a pause:
//!
//! ```text
//! ms         50   100   550   1800   3000   5000   15000
//! pause ms    0     0  2000   5000   6000  10000   30000
//! ```
//!
//! A send that failed counts as 10 s. Avoiding is a preference: where every broker is avoided, all are used.
//!
//! Source: `client/.../latency/MQFaultStrategy.java`, `LatencyFaultToleranceImpl.java`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const PAUSES_MS: [(u64, u64); 7] =
    [(50, 0), (100, 0), (550, 2000), (1800, 5000), (3000, 6000), (5000, 10_000), (15_000, 30_000)];
const FAILURE: Duration = Duration::from_secs(10);
/// Most brokers remembered; a cluster has fewer, and beyond it nobody is avoided who was not before.
const BROKERS_MAX: usize = 4096;

/// What is known of each broker's answers. Times are durations since any fixed moment.
#[derive(Debug, Default)]
pub(crate) struct Avoidance {
    until: HashMap<Arc<str>, Duration>,
}

impl Avoidance {
    /// A broker answered after `latency`, or, if there is none, failed.
    pub fn note(&mut self, broker: &Arc<str>, latency: Option<Duration>, now: Duration) {
        let pause = pause(latency.unwrap_or(FAILURE));
        if pause.is_zero() {
            if !self.until.is_empty() {
                self.until.remove(broker);
            }
        } else if self.until.len() < BROKERS_MAX || self.until.contains_key(broker) {
            self.until.insert(broker.clone(), now + pause);
        }
    }

    /// Whether a broker may be preferred.
    pub fn allows(&self, broker: &str, now: Duration) -> bool {
        self.until.is_empty() || self.until.get(broker).is_none_or(|until| *until <= now)
    }
}

fn pause(latency: Duration) -> Duration {
    let reached = PAUSES_MS.iter().rev().find(|(from, _)| latency >= Duration::from_millis(*from));
    Duration::from_millis(reached.map_or(0, |(_, pause)| *pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn pauses_by_latency() {
        for (latency, expected) in [
            (0, 0),
            (99, 0),
            (549, 0),
            (550, 2000),
            (1799, 2000),
            (1800, 5000),
            (5000, 10_000),
            (60_000, 30_000),
        ] {
            assert_eq!(pause(MS(latency)), MS(expected), "{latency}");
        }
        assert_eq!(pause(FAILURE), MS(10_000));
    }

    #[test]
    fn a_slow_broker_is_avoided_until_its_pause_is_over_or_it_was_fast() {
        let (slow, other): (Arc<str>, Arc<str>) = ("slow".into(), "other".into());
        let mut avoidance = Avoidance::default();
        avoidance.note(&slow, Some(MS(600)), MS(1000));
        avoidance.note(&other, Some(MS(1)), MS(1000));
        assert!(!avoidance.allows("slow", MS(2999)) && avoidance.allows("other", MS(1000)));
        assert!(avoidance.allows("slow", MS(3000)) && avoidance.allows("unheard of", MS(0)));
        avoidance.note(&slow, None, MS(3000));
        assert!(!avoidance.allows("slow", MS(12_999)));
        avoidance.note(&slow, Some(MS(1)), MS(4000));
        assert!(avoidance.allows("slow", MS(4000)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut avoidance = Avoidance::default();
        for number in 0..2 * BROKERS_MAX {
            avoidance.note(&number.to_string().into(), None, MS(0));
        }
        assert_eq!(avoidance.until.len(), BROKERS_MAX);
    }
}
