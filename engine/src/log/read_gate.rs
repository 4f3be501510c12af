//! The gate that cold reads pass: wide open while nobody writes, narrow while producers wait for the disk.
//!
//! ```text
//!   nobody writes     read read read read …         as many at once as were started
//!   producers write   read │  pause  │ read │ …     one at a time, then three times as long nothing
//! ```
//!
//! A disk serves whoever has most in flight. With megabytes of reads before it a log write took the disk's whole queue
//! instead of its own time, and a consumer that was behind slowed all producers down to a fifth.
//!
//! Invariants
//!  1. While producers write, at most one read passes at a time, and reads have at most one part in
//!     1 + [`PAUSE_FACTOR`] of the disk's time.
//!  2. First come, first served; nobody waits for a gate that is open.
//!
//! Not here: the CPU's share of cold reads (`TaskClass::Read`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::env::Signal;
use crate::limits::{READ_PAUSE_MAX, WRITERS_QUIET_AFTER};

/// While producers write, reads leave the disk to them for so many times as long as they took.
const PAUSE_FACTOR: u32 = 3;

/// See the module. One per shard.
#[derive(Debug, Default)]
pub(crate) struct ReadGate {
    /// When the log gave a frame to the disk last.
    written_at: Cell<Option<Duration>>,
    /// Somebody is in the narrow gate.
    occupied: Cell<bool>,
    waiting: RefCell<VecDeque<Rc<Signal>>>,
    opened: Cell<bool>,
}

/// A read that has passed; dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Passed<'a>(Option<&'a ReadGate>);

impl ReadGate {
    /// The log gives a frame to the disk.
    pub fn written(&self, now: Duration) {
        self.written_at.set(Some(now));
    }

    /// The log is closing: whoever waits passes at once.
    pub fn open(&self) {
        self.opened.set(true);
        self.let_all_look();
    }

    fn let_all_look(&self) {
        self.waiting.take().iter().for_each(|signal| signal.fire());
    }

    /// Whether producers write.
    fn is_narrow(&self, now: Duration) -> bool {
        let since = self.written_at.get().map(|at| now.saturating_sub(at));
        !self.opened.get() && since.is_some_and(|since| since < WRITERS_QUIET_AFTER)
    }

    /// Waits until a read may begin.
    pub async fn pass(&self, now: impl Fn() -> Duration) -> Passed<'_> {
        while self.is_narrow(now()) {
            if !self.occupied.replace(true) {
                return Passed(Some(self));
            }
            let signal = Rc::new(Signal::new());
            self.waiting.borrow_mut().push_back(signal.clone());
            signal.wait().await;
        }
        self.let_all_look();
        Passed(None)
    }

    /// How long a read that took so long leaves the disk to the producers.
    pub fn pause(&self, passed: &Passed<'_>, took: Duration, now: Duration) -> Duration {
        match passed.0 {
            Some(_) if self.is_narrow(now) => (took * PAUSE_FACTOR).min(READ_PAUSE_MAX),
            _ => Duration::ZERO,
        }
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        if let Some(gate) = self.0 {
            gate.occupied.set(false);
            if let Some(next) = gate.waiting.borrow_mut().pop_front() {
                next.fire();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// One who tries to pass at that moment.
    fn passes(gate: &ReadGate, now: Duration) -> Option<Passed<'_>> {
        match pin!(gate.pass(|| now)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(passed) => Some(passed),
            Poll::Pending => None,
        }
    }

    #[test]
    fn while_nobody_writes_all_pass_and_nobody_pauses() {
        let gate = ReadGate::default();
        let all: Vec<_> = (0..5).filter_map(|_| passes(&gate, millis(1))).collect();
        assert_eq!(all.len(), 5);
        assert_eq!(gate.pause(&all[0], millis(2), millis(3)), Duration::ZERO);
        gate.written(millis(10));
        let late = millis(10) + WRITERS_QUIET_AFTER;
        assert!(passes(&gate, late).is_some() && passes(&gate, late).is_some());
    }

    #[test]
    fn while_producers_write_reads_pass_by_turns_and_pause() {
        let gate = ReadGate::default();
        gate.written(millis(10));
        let first = passes(&gate, millis(11)).expect("nobody is in it");
        let mut second = pin!(gate.pass(|| millis(11)));
        let mut third = pin!(gate.pass(|| millis(11)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert_eq!(gate.pause(&first, millis(2), millis(12)), millis(6));
        assert_eq!(gate.pause(&first, Duration::from_secs(10), millis(12)), READ_PAUSE_MAX);
        drop(first);
        assert!(third.as_mut().poll(&mut context).is_pending(), "it came later");
        let Poll::Ready(second) = second.as_mut().poll(&mut context) else { panic!("it is its turn") };
        drop(second);
        assert!(third.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn when_the_producers_fall_silent_all_pass() {
        let gate = ReadGate::default();
        gate.written(millis(10));
        let now = Cell::new(millis(11));
        let first = passes(&gate, now.get()).expect("nobody is in it");
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(gate.pass(|| now.get()))).collect();
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.iter_mut().all(|one| one.as_mut().poll(&mut context).is_pending()));
        now.set(millis(1000));
        drop(first);
        assert!(waiting.iter_mut().all(|one| one.as_mut().poll(&mut context).is_ready()));
    }

    #[test]
    fn a_closing_log_holds_nobody_up() {
        let gate = ReadGate::default();
        gate.written(millis(10));
        let _first = passes(&gate, millis(11)).expect("nobody is in it");
        let mut second = pin!(gate.pass(|| millis(11)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        gate.open();
        assert!(second.as_mut().poll(&mut context).is_ready() && passes(&gate, millis(11)).is_some());
    }
}
