//! Parked pulls: long polls that wait for their queue to grow. Pure.
//!
//! ```text
//! park ──▶ parked ──wake: something may match──▶ run again, answered or put back with what was examined
//!            │
//!            ├──expire: the deadline has passed──▶ answered with what was examined
//!            └──the connection is gone──▶ dropped
//! ```
//!
//! Invariants
//!  1. A pull is in `pulls` exactly if it is at its queue, among the deadlines and at its connection.
//!  2. At most [`PARKED_PER_QUEUE_MAX`] at a queue and [`PARKED_MAX`] in all; beyond, parking is refused.
//!  3. `examined_to` never goes back: no entry is examined twice for one pull.
//!
//! Not here: what a pull answers (`handler/pull`), when a queue has grown (the store says).
//!
//! Source: `broker/.../longpolling/PullRequestHoldService.java`. That one looks every 5 s and keeps pulls of
//! closed connections until their time-out; here both are exact.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_engine::offset::QueueOffset;
use ringmq_engine::state::QueueRef;
use ringmq_wire::HeadFormat;

use super::group::subscription::Filter;
use super::limits::{PARKED_MAX, PARKED_PER_QUEUE_MAX};

/// A pull that waits.
#[derive(Debug, Clone)]
pub struct ParkedPull {
    /// Whom to answer, and how.
    pub conn: ConnId,
    /// As the request was written.
    pub format: HeadFormat,
    /// Correlation number.
    pub opaque: i32,
    /// Where it waits.
    pub queue: QueueRef,
    /// What it asked for first.
    pub from: QueueOffset,
    /// Everything before this was examined and does not match.
    pub examined_to: QueueOffset,
    /// Which records it wants.
    pub filter: Filter,
    /// At most so many records.
    pub records_max: usize,
    /// Answered then, whatever there is (monotonic).
    pub deadline: Duration,
}

/// One parked pull's number; grows, so earlier ones are served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ParkId(u64);

/// All parked pulls of a shard. One per shard.
#[derive(Debug, Default)]
pub struct ParkedPulls {
    pulls: BTreeMap<ParkId, ParkedPull>,
    /// Indexed by `QueueRef::index`.
    at_queue: Vec<Vec<ParkId>>,
    deadlines: BTreeSet<(Duration, ParkId)>,
    of_conn: BTreeSet<(ConnId, ParkId)>,
    next: u64,
}

impl ParkedPulls {
    /// Parks a pull; gives it back if there is no room.
    pub fn park(&mut self, pull: ParkedPull) -> Result<(), ParkedPull> {
        let queue = pull.queue.index();
        if self.at_queue.len() <= queue {
            self.at_queue.resize_with(queue + 1, Vec::new);
        }
        if self.at_queue[queue].len() >= PARKED_PER_QUEUE_MAX || self.pulls.len() >= PARKED_MAX {
            return Err(pull);
        }
        let id = ParkId(self.next);
        self.next += 1;
        self.at_queue[queue].push(id);
        self.deadlines.insert((pull.deadline, id));
        self.of_conn.insert((pull.conn, id));
        self.pulls.insert(id, pull);
        Ok(())
    }

    /// Takes every pull that waits at a queue, in the order they came.
    pub fn take_at(&mut self, queue: QueueRef, woken: &mut Vec<ParkedPull>) {
        let Some(ids) = self.at_queue.get_mut(queue.index()) else { return };
        // The emptied list goes back: its memory is wanted again as soon as the consumer returns.
        let mut ids = std::mem::take(ids);
        for id in ids.drain(..) {
            let pull = self.pulls.remove(&id).expect("every pull at a queue is in the table");
            self.deadlines.remove(&(pull.deadline, id));
            self.of_conn.remove(&(pull.conn, id));
            woken.push(pull);
        }
        self.at_queue[queue.index()] = ids;
    }

    /// Takes every pull whose deadline has passed, earliest first.
    pub fn take_expired(&mut self, now: Duration, expired: &mut Vec<ParkedPull>) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            expired.push(self.remove(id));
        }
    }

    /// Drops every pull of a connection.
    pub fn drop_conn(&mut self, conn: ConnId) {
        let first = (conn, ParkId(0));
        while let Some(&(_, id)) = self.of_conn.range(first..).next().filter(|(of, _)| *of == conn) {
            self.remove(id);
        }
    }

    /// When the next one expires.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.pulls.len()
    }

    fn remove(&mut self, id: ParkId) -> ParkedPull {
        let pull = self.pulls.remove(&id).expect("every deadline and connection names a pull in the table");
        self.deadlines.remove(&(pull.deadline, id));
        self.of_conn.remove(&(pull.conn, id));
        self.at_queue[pull.queue.index()].retain(|at| *at != id);
        pull
    }
}

#[cfg(test)]
mod tests {
    use ringmq_engine::env::sim::Sim;

    use super::*;
    use crate::broker::testing::open_store;

    /// A pull of a connection at a queue until a second; the opaque tells them apart.
    fn pull(slot: u32, queue: QueueRef, deadline_s: u64, opaque: i32) -> ParkedPull {
        ParkedPull {
            conn: ConnId { slot, generation: 0 },
            format: HeadFormat::Json,
            opaque,
            queue,
            from: QueueOffset(0),
            examined_to: QueueOffset(0),
            filter: Filter::Everything,
            records_max: 32,
            deadline: Duration::from_secs(deadline_s),
        }
    }

    fn opaques(pulls: &mut Vec<ParkedPull>) -> Vec<i32> {
        pulls.drain(..).map(|pull| pull.opaque).collect()
    }

    /// Invariant 1, counted.
    fn check(parked: &ParkedPulls) {
        let at_queues: usize = parked.at_queue.iter().map(Vec::len).sum();
        assert_eq!(
            [at_queues, parked.deadlines.len(), parked.of_conn.len()],
            [parked.pulls.len(); 3],
            "every pull is at its queue, among the deadlines and at its connection"
        );
    }

    #[test]
    fn pulls_wait_until_woken_expired_or_dropped() {
        let sim = Sim::new(1);
        let store = open_store(&sim);
        let (a, b) = (store.queue("T", 0), store.queue("T", 1));
        let mut parked = ParkedPulls::default();
        for (slot, queue, deadline, opaque) in
            [(1, a, 30, 1), (2, a, 10, 2), (1, b, 20, 3), (3, b, 20, 4), (1, b, 5, 5), (2, b, 40, 6)]
        {
            parked.park(pull(slot, queue, deadline, opaque)).unwrap();
        }
        check(&parked);
        let mut taken = Vec::new();
        assert_eq!(parked.next_deadline(), Some(Duration::from_secs(5)));
        parked.take_expired(Duration::from_secs(4), &mut taken);
        assert_eq!(opaques(&mut taken), [0; 0]);
        parked.take_expired(Duration::from_secs(10), &mut taken);
        assert_eq!(opaques(&mut taken), [5, 2], "earliest first");
        parked.drop_conn(ConnId { slot: 1, generation: 0 });
        check(&parked);
        parked.take_at(a, &mut taken);
        assert_eq!(opaques(&mut taken), [0; 0], "the last one there was the dropped connection's");
        parked.take_at(b, &mut taken);
        assert_eq!(opaques(&mut taken), [4, 6], "in the order they came");
        check(&parked);
        assert_eq!((parked.len(), parked.next_deadline()), (0, None));
    }

    #[test]
    fn a_full_queue_gives_the_pull_back_and_takes_others() {
        let sim = Sim::new(1);
        let store = open_store(&sim);
        let (a, b) = (store.queue("T", 0), store.queue("T", 1));
        let mut parked = ParkedPulls::default();
        for opaque in 0..PARKED_PER_QUEUE_MAX as i32 {
            parked.park(pull(1, a, 10, opaque)).unwrap();
        }
        assert_eq!(parked.park(pull(1, a, 10, -1)).unwrap_err().opaque, -1);
        parked.park(pull(1, b, 10, -2)).unwrap();
        check(&parked);
        parked.drop_conn(ConnId { slot: 1, generation: 0 });
        assert_eq!(parked.len(), 0);
        check(&parked);
    }
}
