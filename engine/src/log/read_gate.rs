//! The gate that cold reads pass: a few at a time, those that somebody waits for first, and one at a time while
//! producers wait for the disk. A pure rule, and who waits for it.
//!
//! ```text
//!   wanted ─▶ ┐ first, but not for ever
//!             ├─▶ gate ─▶ at most COLD_READS_AT_ONCE in the disk's hands
//!   ahead  ─▶ ┘ not while a wanted read is being overtaken
//!
//!   producers write   read │  pause  │ read │ …     one at a time, then three times as long nothing
//! ```
//!
//! A disk serves whoever has most in flight. With megabytes of reads before it a log write took the disk's whole queue
//! instead of its own time, and a consumer that was behind slowed all producers down to a fifth.
//!
//! It also serves whoever it likes: Linux's `mq-deadline` goes on upwards for as long as there is something above, and a
//! read below waits up to half a second. So one of several consumers that fell behind the others stayed behind, and what
//! they could have shared was read for each of them.
//!
//! Invariants
//!  1. At most [`COLD_READS_AT_ONCE`] reads are with the disk; while producers write, one, and reads have at most one
//!     part in 1 + [`PAUSE_FACTOR`] of the disk's time.
//!  2. No read ahead is given to the disk while a wanted one is there that [`OVERTAKEN_MAX`] were given after.
//!  3. Both kinds get on: of [`IN_A_ROW_MAX`] + 1 reads, one is a read ahead that waits. Within a kind: first come,
//!     first served.
//!
//! Not here: the CPU's share of cold reads (`TaskClass::Read`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::env::Signal;
use crate::limits::{COLD_READS_AT_ONCE, READ_PAUSE_MAX, WRITERS_QUIET_AFTER};

/// While producers write, reads leave the disk to them for so many times as long as they took.
const PAUSE_FACTOR: u32 = 3;
/// So many reads may be given to the disk after a wanted one before it answers that.
const OVERTAKEN_MAX: u64 = 4;
/// Wanted reads that pass one after the other while a read ahead waits.
const IN_A_ROW_MAX: usize = 4;

/// Why something is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody waits for it.
    Wanted,
    /// Somebody will probably want it.
    Ahead,
}

/// See the module. One per shard.
#[derive(Debug, Default)]
pub(crate) struct ReadGate {
    /// When the log gave a frame to the disk last.
    written_at: Cell<Option<Duration>>,
    opened: Cell<bool>,
    at_once: Cell<usize>,
    /// Reads that have passed, ever.
    passed: Cell<u64>,
    /// The numbers of the wanted ones among those with the disk.
    wanted: RefCell<Vec<u64>>,
    in_a_row: Cell<usize>,
    waiting_wanted: RefCell<VecDeque<Rc<Waiting>>>,
    waiting_ahead: RefCell<VecDeque<Rc<Waiting>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    may_pass: Signal,
    number: Cell<u64>,
}

/// A read that has passed. [`ReadGate::leave`] ends it.
#[derive(Debug)]
pub(crate) struct Passed {
    number: u64,
    /// Producers were writing then.
    was_narrow: bool,
}

impl ReadGate {
    /// The log gives a frame to the disk.
    pub fn written(&self, now: Duration) {
        self.written_at.set(Some(now));
    }

    /// The log is closing: whoever waits passes at once.
    pub fn open(&self) {
        self.opened.set(true);
        self.let_in(Duration::ZERO);
    }

    /// Whether producers write.
    fn is_narrow(&self, now: Duration) -> bool {
        let since = self.written_at.get().map(|at| now.saturating_sub(at));
        !self.opened.get() && since.is_some_and(|since| since < WRITERS_QUIET_AFTER)
    }

    /// Waits until a read may begin.
    pub async fn pass(&self, purpose: Purpose, now: impl Fn() -> Duration) -> Passed {
        let waiting = Rc::new(Waiting::default());
        self.line(purpose).borrow_mut().push_back(waiting.clone());
        self.let_in(now());
        waiting.may_pass.wait().await;
        Passed { number: waiting.number.get(), was_narrow: self.is_narrow(now()) }
    }

    /// How long a read that took so long leaves the disk to the producers.
    pub fn pause(&self, passed: &Passed, took: Duration, now: Duration) -> Duration {
        if passed.was_narrow && self.is_narrow(now) {
            (took * PAUSE_FACTOR).min(READ_PAUSE_MAX)
        } else {
            Duration::ZERO
        }
    }

    /// The read has ended, and its pause.
    pub fn leave(&self, passed: Passed, now: Duration) {
        self.at_once.set(self.at_once.get() - 1);
        self.wanted.borrow_mut().retain(|number| *number != passed.number);
        self.let_in(now);
    }

    fn line(&self, purpose: Purpose) -> &RefCell<VecDeque<Rc<Waiting>>> {
        match purpose {
            Purpose::Wanted => &self.waiting_wanted,
            Purpose::Ahead => &self.waiting_ahead,
        }
    }

    /// Lets in all who may pass now.
    fn let_in(&self, now: Duration) {
        while let Some(purpose) = self.next(now) {
            let Some(first) = self.line(purpose).borrow_mut().pop_front() else { return };
            let number = self.passed.get();
            self.passed.set(number + 1);
            self.at_once.set(self.at_once.get() + 1);
            match purpose {
                Purpose::Wanted => {
                    self.in_a_row.set(self.in_a_row.get() + 1);
                    self.wanted.borrow_mut().push(number);
                }
                Purpose::Ahead => self.in_a_row.set(0),
            }
            first.number.set(number);
            first.may_pass.fire();
        }
    }

    /// From which line the next one may pass now.
    fn next(&self, now: Duration) -> Option<Purpose> {
        let (wanted, ahead) =
            (!self.waiting_wanted.borrow().is_empty(), !self.waiting_ahead.borrow().is_empty());
        let whose_turn = match (wanted, ahead) {
            (false, false) => return None,
            (true, false) => Purpose::Wanted,
            (false, true) => Purpose::Ahead,
            (true, true) if self.in_a_row.get() < IN_A_ROW_MAX => Purpose::Wanted,
            (true, true) => Purpose::Ahead,
        };
        if self.opened.get() {
            return Some(whose_turn);
        }
        let at_once_max = if self.is_narrow(now) { 1 } else { COLD_READS_AT_ONCE };
        let oldest_wanted = self.wanted.borrow().first().copied();
        let overtakes = whose_turn == Purpose::Ahead
            && oldest_wanted.is_some_and(|number| self.passed.get() - number > OVERTAKEN_MAX);
        (self.at_once.get() < at_once_max && !overtakes).then_some(whose_turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use Purpose::{Ahead, Wanted};

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// One who tries to pass at that moment, and goes away if that is not possible at once.
    fn passes(gate: &ReadGate, purpose: Purpose, now: Duration) -> Option<Passed> {
        match poll(pin!(gate.pass(purpose, || now))) {
            Poll::Ready(passed) => Some(passed),
            Poll::Pending => {
                gate.line(purpose).borrow_mut().pop_back();
                None
            }
        }
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn while_nobody_writes_a_few_pass_at_once_and_nobody_pauses() {
        let gate = ReadGate::default();
        let mut all: Vec<_> = (0..10).filter_map(|_| passes(&gate, Ahead, millis(1))).collect();
        assert_eq!(all.len(), COLD_READS_AT_ONCE);
        assert_eq!(gate.pause(&all[0], millis(2), millis(3)), Duration::ZERO);
        assert!(passes(&gate, Wanted, millis(3)).is_none());
        gate.leave(all.remove(0), millis(4));
        assert!(passes(&gate, Wanted, millis(4)).is_some() && passes(&gate, Ahead, millis(4)).is_none());
    }

    #[test]
    fn a_wanted_read_is_overtaken_by_a_few_only() {
        let gate = ReadGate::default();
        let wanted = passes(&gate, Wanted, millis(1)).expect("nobody is in it");
        let mut overtook = 0;
        while let Some(ahead) = passes(&gate, Ahead, millis(1)) {
            overtook += 1;
            gate.leave(ahead, millis(1));
        }
        assert_eq!(overtook, OVERTAKEN_MAX);
        assert!(passes(&gate, Wanted, millis(1)).is_some(), "those that are wanted do not wait for it");
        gate.leave(wanted, millis(1));
        let after_the_second = passes(&gate, Ahead, millis(1));
        assert!(after_the_second.is_some(), "the second one was overtaken by none");
    }

    #[test]
    fn wanted_reads_go_first_and_reads_ahead_get_on() {
        let gate = ReadGate::default();
        gate.written(millis(10));
        let now = || millis(11);
        let mut inside = passes(&gate, Ahead, now());
        let mut waiting: Vec<_> = [Ahead, Ahead, Wanted, Wanted, Wanted, Wanted, Wanted, Wanted]
            .into_iter()
            .map(|purpose| (purpose, Box::pin(gate.pass(purpose, now))))
            .collect();
        let all_wait = waiting.iter_mut().all(|(_, one)| poll(one.as_mut()).is_pending());
        assert!(all_wait);
        let mut order = Vec::new();
        while let Some(passed) = inside.take() {
            gate.leave(passed, now());
            for at in 0..waiting.len() {
                if let Poll::Ready(passed) = poll(waiting[at].1.as_mut()) {
                    order.push(waiting.remove(at).0);
                    inside = Some(passed);
                    break;
                }
            }
        }
        assert_eq!(order, [Wanted, Wanted, Wanted, Wanted, Ahead, Wanted, Wanted, Ahead]);
    }

    #[test]
    fn while_producers_write_reads_pass_by_turns_and_pause() {
        let gate = ReadGate::default();
        gate.written(millis(10));
        let first = passes(&gate, Wanted, millis(11)).expect("nobody is in it");
        let mut second = pin!(gate.pass(Wanted, || millis(11)));
        let mut third = pin!(gate.pass(Wanted, || millis(11)));
        assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
        assert_eq!(gate.pause(&first, millis(2), millis(12)), millis(6));
        assert_eq!(gate.pause(&first, Duration::from_secs(10), millis(12)), READ_PAUSE_MAX);
        gate.leave(first, millis(12));
        assert!(poll(third.as_mut()).is_pending(), "it came later");
        let Poll::Ready(second) = poll(second.as_mut()) else { panic!("it is its turn") };
        gate.leave(second, millis(12));
        assert!(poll(third.as_mut()).is_ready());
    }

    #[test]
    fn when_the_producers_fall_silent_several_pass() {
        let gate = ReadGate::default();
        gate.written(millis(10));
        let now = Cell::new(millis(11));
        let first = passes(&gate, Wanted, now.get()).expect("nobody is in it");
        let mut waiting: Vec<_> =
            (0..COLD_READS_AT_ONCE).map(|_| Box::pin(gate.pass(Wanted, || now.get()))).collect();
        assert!(waiting.iter_mut().all(|one| poll(one.as_mut()).is_pending()));
        now.set(millis(10) + WRITERS_QUIET_AFTER);
        gate.leave(first, now.get());
        assert!(waiting.iter_mut().all(|one| poll(one.as_mut()).is_ready()));
    }

    #[test]
    fn a_closing_log_holds_nobody_up() {
        let gate = ReadGate::default();
        gate.written(millis(10));
        let _first = passes(&gate, Wanted, millis(11)).expect("nobody is in it");
        let mut second = pin!(gate.pass(Ahead, || millis(11)));
        assert!(poll(second.as_mut()).is_pending());
        gate.open();
        assert!(poll(second.as_mut()).is_ready() && passes(&gate, Wanted, millis(11)).is_some());
    }
}
