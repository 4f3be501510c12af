//! Which queue the next message goes to.
//!
//! In turn, beginning anywhere; after a failure not to the broker that failed, if there is another; not to brokers that
//! are being avoided, if there are others. A message with an order key goes to the queue that its key's hash names, always.
//!
//! Source: `TopicPublishInfo.selectOneMessageQueue`, `SelectMessageQueueByHash.java`.

use super::avoidance::Avoidance;
use crate::queue::Queue;
use ringmq_wire::record::tag;
use std::time::Duration;

/// The queue in turn: the first from `turn` on that no rule speaks against. `None` if there is no queue at all.
pub(crate) fn in_turn<'q>(
    queues: &'q [Queue],
    turn: usize,
    failed: Option<&str>,
    avoidance: &Avoidance,
    now: Duration,
) -> Option<&'q Queue> {
    let start = turn.checked_rem(queues.len())?;
    let around = || queues[start..].iter().chain(&queues[..start]);
    let not_failed = |queue: &&Queue| failed != Some(&*queue.broker);
    around()
        .find(|queue| not_failed(queue) && avoidance.allows(&queue.broker, now))
        .or_else(|| around().find(not_failed))
        .or_else(|| around().next())
}

/// The queue of an order key, as Java's selector by hash gives it, so that producers of both keep one order.
pub(crate) fn by_key<'q>(queues: &'q [Queue], key: &str) -> Option<&'q Queue> {
    let count = i32::try_from(queues.len()).ok().filter(|count| *count > 0)?;
    queues.get((tag::hash_code(key) % count).unsigned_abs() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn queues() -> Vec<Queue> {
        [("a", 0), ("a", 1), ("b", 0)].map(|(broker, id)| Queue::new("T", broker, id)).to_vec()
    }

    fn chosen(turn: usize, failed: Option<&str>, slow: &[&str]) -> String {
        let mut avoidance = Avoidance::default();
        for broker in slow {
            avoidance.note(&(*broker).into(), None, NOW);
        }
        in_turn(&queues(), turn, failed, &avoidance, NOW).unwrap().to_string()
    }

    #[test]
    fn queues_take_turns_around_what_failed_and_what_is_avoided() {
        for (turn, failed, slow, expected) in [
            (0, None, &[][..], "T@a:0"),
            (1, None, &[], "T@a:1"),
            (5, None, &[], "T@b:0"),
            (usize::MAX, None, &[], "T@a:0"),
            (0, Some("a"), &[], "T@b:0"),
            (2, Some("b"), &[], "T@a:0"),
            (1, None, &["a"], "T@b:0"),
            // All are avoided: but what has just failed is still the last choice.
            (1, None, &["a", "b"], "T@a:1"),
            (1, Some("a"), &["a", "b"], "T@b:0"),
            (1, Some("a"), &["b"], "T@b:0"),
        ] {
            assert_eq!(chosen(turn, failed, slow), expected, "{turn} {failed:?} {slow:?}");
        }
    }

    #[test]
    fn a_lone_broker_that_failed_is_tried_again() {
        let queues = [Queue::new("T", "a", 0)];
        let choice = in_turn(&queues, 7, Some("a"), &Avoidance::default(), NOW);
        assert_eq!(choice, Some(&queues[0]));
        assert_eq!(in_turn(&[], 7, None, &Avoidance::default(), NOW), None);
    }

    #[test]
    fn a_key_has_the_queue_that_java_gives_it() {
        // "TagA".hashCode() = 2598919, "TagB" one more; "polygenelubricants".hashCode() = Integer.MIN_VALUE.
        for (key, expected) in [("TagA", "T@a:1"), ("TagB", "T@b:0"), ("polygenelubricants", "T@b:0")] {
            assert_eq!(by_key(&queues(), key).unwrap().to_string(), expected, "{key}");
        }
        assert_eq!(by_key(&[], "k"), None);
    }
}
