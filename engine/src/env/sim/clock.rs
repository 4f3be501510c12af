//! Virtual time: it stands still while anything is ready, and then jumps to the next timer.
//!
//! Timers due at the same moment fire in the order in which they were set; which of the woken tasks runs
//! first is chance.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{WALL_START_MS, World};

/// The clock of one simulated process.
#[derive(Debug, Default)]
pub(super) struct Clock {
    now: Cell<Duration>,
    wall_shift_ms: Cell<i64>,
    timers: RefCell<BinaryHeap<Reverse<Timer>>>,
    timers_set: Cell<u64>,
}

#[derive(Debug)]
struct Timer {
    due: Duration,
    /// Orders timers of the same moment.
    number: u64,
    waker: Waker,
}

impl Clock {
    pub(super) fn now(&self) -> Duration {
        self.now.get()
    }

    pub(super) fn wall_ms(&self) -> i64 {
        let passed = i64::try_from(self.now.get().as_millis()).unwrap_or(i64::MAX);
        WALL_START_MS.saturating_add(passed).saturating_add(self.wall_shift_ms.get())
    }

    pub(super) fn jump(&self, by_ms: i64) {
        self.wall_shift_ms.set(self.wall_shift_ms.get().saturating_add(by_ms));
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.timers.borrow().peek().map(|Reverse(timer)| timer.due)
    }

    /// Moves on to `now` and wakes whoever is due.
    pub(super) fn advance(&self, now: Duration) {
        self.now.set(self.now.get().max(now));
        loop {
            let mut timers = self.timers.borrow_mut();
            let due = timers.peek().is_some_and(|Reverse(timer)| timer.due <= self.now.get());
            let timer = if due { timers.pop() } else { None };
            drop(timers);
            match timer {
                Some(Reverse(timer)) => timer.waker.wake(),
                None => return,
            }
        }
    }

    fn set(&self, due: Duration, waker: Waker) {
        let number = self.timers_set.get();
        self.timers_set.set(number + 1);
        self.timers.borrow_mut().push(Reverse(Timer { due, number, waker }));
    }
}

/// Returns once its time has come; at once if that is now.
#[derive(Debug)]
pub(super) struct Sleep {
    world: Rc<World>,
    due: Duration,
}

impl Sleep {
    pub(super) fn new(world: Rc<World>, duration: Duration) -> Sleep {
        let due = world.clock.now().saturating_add(duration);
        Sleep { world, due }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = &self.world.clock;
        if clock.now() >= self.due {
            return Poll::Ready(());
        }
        // A timer per poll: the waker may be another each time, and a spurious wake-up harms nobody.
        clock.set(self.due, context.waker().clone());
        Poll::Pending
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Timer) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}
