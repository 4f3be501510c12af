//! How far one queue is consumed: what was pulled, what of it is not done yet, what may be committed.
//!
//! ```text
//! consumed  …  ├──────────┼─▓▓──▓─────────┤ ◄── next to pull
//!                         │ not done yet
//!                         └ commit offset: a restart begins here
//! ```
//!
//! Invariants
//!  1. The commit offset is that of the first message not done, or else the next to pull: nothing before it is lost
//!     by a restart, and what was done behind it is delivered again.
//!  2. It never goes back by itself.
//!
//! Not here: pulling, waiting, other queues.
//! Source: `client/.../impl/consumer/ProcessQueue.java` (`removeMessage`), `DefaultMQPushConsumerImpl.pullMessage`
//! (flow control).

use crate::limits::{MESSAGES_UNCONSUMED_PER_QUEUE_MAX, OFFSETS_UNCONSUMED_PER_QUEUE_MAX};
use std::collections::BTreeSet;

/// One queue's.
#[derive(Debug)]
pub(crate) struct Progress {
    undone: BTreeSet<i64>,
    next: i64,
    committed: Option<i64>,
}

impl Progress {
    /// Consuming begins at `next`; nothing is known to be committed.
    pub fn new(next: i64) -> Progress {
        Progress { undone: BTreeSet::new(), next, committed: None }
    }

    /// The queue offset to pull next.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// A message was pulled and will be delivered. `false` if it was pulled before: an answer that came twice.
    pub fn pulled(&mut self, offset: i64) -> bool {
        let is_new = offset >= self.next;
        if is_new {
            self.undone.insert(offset);
            self.next = offset + 1;
        }
        is_new
    }

    /// Pulling goes on at `next`, though no message was delivered up to there: the filter wanted none of them.
    pub fn passed(&mut self, next: i64) {
        self.next = self.next.max(next);
    }

    /// The broker has no message at the offset that was asked for: pulling goes on at `next`, wherever that is.
    pub fn moved(&mut self, next: i64) {
        self.undone.retain(|offset| *offset < next);
        self.next = next;
    }

    /// A message is done. `false` if it was before.
    pub fn done(&mut self, offset: i64) -> bool {
        self.undone.remove(&offset)
    }

    /// Whether a message was pulled and is not done.
    pub fn is_undone(&self, offset: i64) -> bool {
        self.undone.contains(&offset)
    }

    /// Where a restart would begin.
    pub fn commit_offset(&self) -> i64 {
        self.undone.first().copied().unwrap_or(self.next)
    }

    /// The offset to commit, if it is another than the last one committed.
    pub fn to_commit(&self) -> Option<i64> {
        let offset = self.commit_offset();
        (self.committed != Some(offset)).then_some(offset)
    }

    /// The broker knows this offset.
    pub fn committed(&mut self, offset: i64) {
        self.committed = Some(offset);
    }

    /// Whether more may be pulled.
    pub fn has_room(&self) -> bool {
        let span = self.next - self.commit_offset();
        self.undone.len() < MESSAGES_UNCONSUMED_PER_QUEUE_MAX && span < OFFSETS_UNCONSUMED_PER_QUEUE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_that_is_not_done_is_where_a_restart_begins() {
        let mut progress = Progress::new(10);
        assert_eq!(progress.commit_offset(), 10);
        for offset in [10, 11, 13] {
            assert!(progress.pulled(offset));
        }
        for (done, commit) in [(11, 10), (10, 13), (13, 14)] {
            assert!(progress.done(done));
            assert_eq!(progress.commit_offset(), commit, "{done}");
        }
        assert!(progress.next() == 14 && !progress.is_undone(13));
    }

    #[test]
    fn what_came_twice_is_delivered_once_and_done_once() {
        let mut progress = Progress::new(0);
        assert!(progress.pulled(0) && !progress.pulled(0));
        assert!(progress.done(0) && !progress.done(0));
        assert!(!progress.pulled(0), "it is done");
    }

    #[test]
    fn what_the_filter_wants_nothing_of_is_passed() {
        let mut progress = Progress::new(0);
        progress.pulled(5);
        progress.passed(9);
        progress.passed(7);
        assert_eq!((progress.next(), progress.commit_offset()), (9, 5));
        progress.done(5);
        assert_eq!(progress.commit_offset(), 9);
    }

    #[test]
    fn an_offset_that_is_no_more_moves_forth_or_back() {
        let mut progress = Progress::new(0);
        progress.pulled(5);
        progress.moved(100);
        assert_eq!((progress.next(), progress.commit_offset()), (100, 5), "5 is being consumed");
        progress.done(5);
        progress.moved(3);
        assert_eq!((progress.next(), progress.commit_offset()), (3, 3));
        assert!(progress.pulled(5), "it is another message now");
    }

    #[test]
    fn an_offset_is_committed_when_it_changed() {
        let mut progress = Progress::new(3);
        assert_eq!(progress.to_commit(), Some(3), "a broker that knows nothing learns the start");
        progress.committed(3);
        assert_eq!(progress.to_commit(), None);
        progress.pulled(3);
        assert_eq!(progress.to_commit(), None);
        progress.done(3);
        assert_eq!(progress.to_commit(), Some(4));
    }

    #[test]
    fn pulling_pauses_at_too_many_messages_and_at_too_wide_a_span() {
        let mut many = Progress::new(0);
        for offset in 0..MESSAGES_UNCONSUMED_PER_QUEUE_MAX as i64 {
            assert!(many.has_room());
            many.pulled(offset);
        }
        assert!(!many.has_room());
        many.done(500);
        assert!(many.has_room(), "one less");

        let mut wide = Progress::new(0);
        wide.pulled(0);
        for offset in 1..OFFSETS_UNCONSUMED_PER_QUEUE_MAX {
            assert!(wide.has_room());
            wide.pulled(offset);
            wide.done(offset);
        }
        assert!(!wide.has_room());
        wide.done(0);
        assert!(wide.has_room());
    }
}
