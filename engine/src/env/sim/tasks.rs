//! The executor: tasks that need not be `Send`, of which a random ready one runs next.
//!
//! Invariants
//!  1. A task is in the ready list at most once, and only while it lives.
//!  2. A task is polled only after it was woken: a lost wake-up shows as a stuck program, not as a slow one.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use crate::env::Random;

/// Index of the future that `run_until` drives; it lives on the caller's stack.
pub(super) const MAIN: usize = 0;

type Body = Pin<Box<dyn Future<Output = ()>>>;

/// All tasks of one simulated process.
pub(super) struct Tasks {
    /// Slot [`MAIN`] has no body.
    slots: RefCell<Vec<Slot>>,
    ready: Arc<Mutex<Vec<usize>>>,
}

struct Slot {
    body: Option<Body>,
    /// Until the task ends; a slot is not reused, so that a stale waker wakes nobody else.
    alive: bool,
    wake: Arc<WakeTask>,
}

/// Wakers must be `Send` by their type; here all of them stay on one thread and the mutex is never contended.
struct WakeTask {
    index: usize,
    queued: AtomicBool,
    ready: Arc<Mutex<Vec<usize>>>,
}

impl Wake for WakeTask {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().expect("nobody panics while holding it").push(self.index);
        }
    }
}

impl Default for Tasks {
    fn default() -> Tasks {
        let tasks = Tasks { slots: RefCell::default(), ready: Arc::default() };
        tasks.add(None);
        tasks
    }
}

impl Tasks {
    pub(super) fn spawn(&self, body: Body) {
        self.add(Some(body)).wake_by_ref();
    }

    pub(super) fn wake_main(&self) {
        let wake = self.slots.borrow()[MAIN].wake.clone();
        wake.wake();
    }

    /// Tasks that have not ended.
    pub(super) fn len(&self) -> usize {
        self.slots.borrow().iter().filter(|slot| slot.alive).count()
    }

    pub(super) fn any_ready(&self) -> bool {
        !self.ready.lock().expect("nobody panics while holding it").is_empty()
    }

    /// Takes one of the ready tasks, decided by chance.
    pub(super) fn take_ready(&self, chance: &Random) -> Option<usize> {
        let mut ready = self.ready.lock().expect("nobody panics while holding it");
        if ready.is_empty() {
            return None;
        }
        let choice = chance.index(ready.len());
        Some(ready.swap_remove(choice))
    }

    pub(super) fn poll(&self, index: usize) {
        let (body, waker) = {
            let mut slots = self.slots.borrow_mut();
            let slot = &mut slots[index];
            slot.wake.queued.store(false, Ordering::Relaxed);
            (slot.body.take(), Waker::from(slot.wake.clone()))
        };
        let Some(mut body) = body else { return };
        let ended = body.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if ended {
            // Its end may run the program's destructors, which may spawn: no borrow is held here.
            drop(body);
            self.slots.borrow_mut()[index].alive = false;
        } else {
            self.slots.borrow_mut()[index].body = Some(body);
        }
    }

    pub(super) fn poll_main(&self, poll: &mut dyn FnMut(&mut Context<'_>)) {
        let wake = self.slots.borrow()[MAIN].wake.clone();
        wake.queued.store(false, Ordering::Relaxed);
        poll(&mut Context::from_waker(&Waker::from(wake)));
    }

    /// Drops all tasks where they stand.
    pub(super) fn clear(&self) {
        loop {
            let body = self.slots.borrow_mut().iter_mut().find_map(|slot| slot.body.take());
            match body {
                Some(body) => drop(body),
                None => break,
            }
        }
    }

    fn add(&self, body: Option<Body>) -> Arc<WakeTask> {
        let mut slots = self.slots.borrow_mut();
        let queued = AtomicBool::new(false);
        let wake = Arc::new(WakeTask { index: slots.len(), queued, ready: self.ready.clone() });
        slots.push(Slot { alive: body.is_some(), body, wake: wake.clone() });
        wake
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} tasks", self.len())
    }
}
