//! Frames given to the disk: they count in order only, and after a failure none counts any more. Pure.
//!
//! Invariants
//!  1. The watermark moves only past a frame whose predecessors have all completed.
//!  2. Once poisoned it never moves again, whatever completes later.
//!
//! Not here: who waits for the watermark (whoever holds a ticket compares it with `durable`).

use std::collections::VecDeque;

use crate::planted::{self, Bug};

/// See the module. One per shard.
#[derive(Debug)]
pub(crate) struct GroupCommit<F> {
    in_flight: VecDeque<InFlight<F>>,
    /// Number of the front of `in_flight`.
    first: u64,
    bytes: usize,
    durable: u64,
    poisoned: Option<String>,
}

#[derive(Debug)]
struct InFlight<F> {
    frame: F,
    end: u64,
    bytes: usize,
    completed: bool,
}

impl<F> GroupCommit<F> {
    /// Everything before `durable` is durable; nothing is in flight.
    pub fn new(durable: u64) -> GroupCommit<F> {
        GroupCommit { in_flight: VecDeque::new(), first: 0, bytes: 0, durable, poisoned: None }
    }

    /// The watermark: physical end of the last frame that counts.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Why nothing counts any more.
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    /// Frames given to the disk and not yet counted.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Bytes of the frames in flight.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that a frame goes to the disk; its number is what `complete` wants. `end` is past all before.
    pub fn issue(&mut self, frame: F, end: u64, bytes: usize) -> u64 {
        debug_assert!(self.in_flight.back().is_none_or(|last| last.end < end), "frames are issued in order");
        self.in_flight.push_back(InFlight { frame, end, bytes, completed: false });
        self.bytes += bytes;
        self.first + self.in_flight.len() as u64 - 1
    }

    /// Notes that a frame is durable, and releases those that now count, in order.
    pub fn complete(&mut self, number: u64, mut release: impl FnMut(F)) {
        if self.poisoned.is_some() {
            return;
        }
        if planted::is(Bug::AcknowledgedOutOfOrder) && number < self.first {
            return;
        }
        let at = usize::try_from(number - self.first).expect("few frames are in flight");
        self.in_flight[at].completed = true;
        if planted::is(Bug::AcknowledgedOutOfOrder) {
            self.in_flight.iter_mut().take(at).for_each(|before| before.completed = true);
        }
        while self.in_flight.front().is_some_and(|front| front.completed) {
            let front = self.in_flight.pop_front().expect("there is a front");
            self.first += 1;
            self.bytes -= front.bytes;
            self.durable = front.end;
            release(front.frame);
        }
    }

    /// Nothing counts from here on. The first reason stays.
    pub fn poison(&mut self, reason: String) {
        self.poisoned.get_or_insert(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issues frames 0..n ending at 10, 20, …, completes them in `order`, and says what was released after each.
    fn released(n: u64, order: &[u64]) -> Vec<(Vec<u64>, u64)> {
        let mut commits = GroupCommit::new(0);
        for number in 0..n {
            assert_eq!(commits.issue(number, (number + 1) * 10, 10), number);
        }
        let mut steps = Vec::new();
        for &number in order {
            let mut out = Vec::new();
            commits.complete(number, |frame| out.push(frame));
            steps.push((out, commits.durable()));
        }
        steps
    }

    #[test]
    fn frames_count_in_order_only() {
        let check = |order: &[u64], expected: &[(&[u64], u64)]| {
            let expected: Vec<_> = expected.iter().map(|(out, durable)| (out.to_vec(), *durable)).collect();
            assert_eq!(released(3, order), expected, "completed in order {order:?}");
        };
        check(&[0, 1, 2], &[(&[0], 10), (&[1], 20), (&[2], 30)]);
        check(&[1, 0, 2], &[(&[], 0), (&[0, 1], 20), (&[2], 30)]);
        check(&[2, 1, 0], &[(&[], 0), (&[], 0), (&[0, 1, 2], 30)]);
    }

    #[test]
    fn a_poisoned_log_counts_nothing_more() {
        let mut commits = GroupCommit::new(0);
        let first = commits.issue('a', 10, 10);
        let second = commits.issue('b', 20, 10);
        commits.poison("flush failed".into());
        commits.poison("another".into());
        commits.complete(first, |_| panic!("released"));
        commits.complete(second, |_| panic!("released"));
        assert_eq!((commits.durable(), commits.poisoned()), (0, Some("flush failed")));
    }

    #[test]
    fn bytes_in_flight_are_counted() {
        let mut commits = GroupCommit::new(100);
        let number = commits.issue((), 140, 40);
        assert_eq!((commits.bytes(), commits.in_flight(), commits.durable()), (40, 1, 100));
        commits.complete(number, drop);
        assert_eq!((commits.bytes(), commits.in_flight(), commits.durable()), (0, 0, 140));
    }
}
