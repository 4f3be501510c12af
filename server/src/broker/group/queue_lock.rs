//! Queue locks: which client consumes a queue in order, alone. Pure; memory only.
//!
//! A lock belongs to a client id, not to a connection: a client that reconnects keeps its queues. It is
//! renewed by locking again and is free after [`LOCK_EXPIRY`] without that. After a restart all are free, and
//! clients distrust a lock that was not confirmed for 30 s, so nobody consumes twice.
//!
//! Source: `broker/.../client/rebalance/RebalanceLockManager.java`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::broker::limits::{LOCK_EXPIRY, LOCKS_PER_GROUP_MAX};

#[derive(Debug)]
struct Lock {
    client_id: Box<str>,
    renewed: Duration,
}

impl Lock {
    fn is_expired(&self, now: Duration) -> bool {
        now.saturating_sub(self.renewed) > LOCK_EXPIRY
    }
}

/// The locks of one group: topic → queue id → lock.
#[derive(Debug, Default)]
pub struct QueueLocks {
    topics: BTreeMap<Box<str>, BTreeMap<i32, Lock>>,
    count: usize,
}

impl QueueLocks {
    /// Gives the queue to the client if it is free, expired or already its own; says whether it has it now.
    pub fn lock(&mut self, topic: &str, queue_id: i32, client_id: &str, now: Duration) -> bool {
        if let Some(lock) = self.topics.get_mut(topic).and_then(|queues| queues.get_mut(&queue_id)) {
            if *lock.client_id == *client_id {
                lock.renewed = now;
                return true;
            }
            if lock.is_expired(now) {
                *lock = Lock { client_id: client_id.into(), renewed: now };
                return true;
            }
            return false;
        }
        if self.count >= LOCKS_PER_GROUP_MAX {
            return false;
        }
        let queues = self.topics.entry(topic.into()).or_default();
        queues.insert(queue_id, Lock { client_id: client_id.into(), renewed: now });
        self.count += 1;
        true
    }

    /// Frees the queue if the client has it.
    pub fn unlock(&mut self, topic: &str, queue_id: i32, client_id: &str) {
        let Some(queues) = self.topics.get_mut(topic) else { return };
        if queues.get(&queue_id).is_some_and(|lock| *lock.client_id == *client_id) {
            queues.remove(&queue_id);
            self.count -= 1;
            if queues.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// Whether any queue is held: the group consumes in order.
    pub fn any_held(&self, now: Duration) -> bool {
        self.topics.values().flat_map(BTreeMap::values).any(|lock| !lock.is_expired(now))
    }

    /// Drops expired locks.
    pub fn expire(&mut self, now: Duration) {
        self.topics.retain(|_, queues| {
            queues.retain(|_, lock| !lock.is_expired(now));
            !queues.is_empty()
        });
        self.count = self.topics.values().map(BTreeMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to queue 0 of topic T, at which second, by whom, and whether it is granted.
    enum Step {
        Lock(u64, &'static str, bool),
        Unlock(&'static str),
        Expire(u64),
    }
    use Step::*;

    fn check(story: &[Step]) {
        let mut locks = QueueLocks::default();
        for (number, step) in story.iter().enumerate() {
            match *step {
                Lock(second, client, expected) => {
                    let got = locks.lock("T", 0, client, Duration::from_secs(second));
                    assert_eq!(got, expected, "step {number}");
                }
                Unlock(client) => locks.unlock("T", 0, client),
                Expire(second) => locks.expire(Duration::from_secs(second)),
            }
        }
    }

    #[test]
    fn a_queue_is_held_by_one_client_at_a_time() {
        check(&[
            Lock(0, "a", true),
            Lock(1, "b", false),
            Lock(2, "a", true),
            Unlock("a"),
            Lock(3, "b", true),
        ]);
    }

    #[test]
    fn only_the_owner_unlocks() {
        check(&[Lock(0, "a", true), Unlock("b"), Lock(1, "b", false)]);
    }

    #[test]
    fn a_lock_not_renewed_for_sixty_seconds_is_free() {
        check(&[Lock(0, "a", true), Lock(60, "b", false), Lock(61, "b", true), Lock(62, "a", false)]);
        check(&[Lock(0, "a", true), Lock(50, "a", true), Lock(61, "b", false), Lock(111, "b", true)]);
    }

    #[test]
    fn expired_locks_are_dropped_and_others_kept() {
        check(&[Lock(0, "a", true), Expire(60), Lock(60, "b", false), Expire(61), Lock(61, "b", true)]);
    }

    #[test]
    fn a_group_is_orderly_while_any_lock_lives() {
        let mut locks = QueueLocks::default();
        assert!(!locks.any_held(Duration::ZERO));
        locks.lock("T", 3, "a", Duration::ZERO);
        assert!(locks.any_held(Duration::from_secs(60)));
        assert!(!locks.any_held(Duration::from_secs(61)));
    }

    #[test]
    fn at_the_bound_new_locks_are_not_granted() {
        let mut locks = QueueLocks::default();
        for queue in 0..LOCKS_PER_GROUP_MAX as i32 {
            assert!(locks.lock("T", queue, "a", Duration::ZERO));
        }
        assert!(!locks.lock("T", -1, "a", Duration::ZERO));
        assert!(locks.lock("T", 0, "a", Duration::ZERO));
        locks.unlock("T", 5, "a");
        assert!(locks.lock("T", -1, "a", Duration::ZERO));
    }
}
