//! One executor's heartbeat: a task that runs whenever the [`Watchdog`](super::Watchdog) asks for it.
//!
//! The runtime's defect that it guards against is told in `watchdog.rs`. Being asked wakes the executor if it is
//! parked; having run proves that it runs tasks again, and says how long that took.
//!
//! ```text
//! watchdog's thread   ask ───────── ask ───────── ask          every BEAT_BUSY or BEAT_IDLE
//!                      │ due         ┊             ┊
//! executor's thread    └▶ ran        └─ parked, preempted, … ─▶ ran
//!                      0             ◀──── this delay ────────▶
//! ```
//!
//! Invariants
//!  1. The task is in the executor's default queue, to which latency does not matter. A waker of another queue would
//!     interrupt the executor also while it runs, and so cause what it guards against.
//!  2. A delay counts from when the oldest beat that is owed was due, however late it was asked for: a machine that
//!     ran neither thread does not hide itself.
//!  3. The executor never waits for the watchdog: it takes the lock once at the start and once at the end.
//!  4. After [`Heartbeat::end`] no other thread holds the task's waker.

use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Between two beats of a shard with work in hand.
pub const BEAT_BUSY: Duration = Duration::from_millis(5);
/// Between two beats of an idle shard: two shards and a name server then take less than 0.2 % of a core.
pub const BEAT_IDLE: Duration = Duration::from_millis(200);

/// One per executor, shared with the watchdog.
#[derive(Debug)]
pub struct Heartbeat {
    /// Moments are nanoseconds since then.
    epoch: Instant,
    busy: AtomicBool,
    /// When the oldest beat that was asked for and has not come was due; 0 if none is owed.
    owed_since: AtomicU64,
    longest_delay: AtomicU64,
    /// Of the task, while it is to beat.
    waker: Mutex<Option<Waker>>,
    ending: AtomicBool,
}

impl Heartbeat {
    pub(super) fn new(epoch: Instant) -> Heartbeat {
        Heartbeat {
            epoch,
            busy: AtomicBool::new(false),
            owed_since: AtomicU64::new(0),
            longest_delay: AtomicU64::new(0),
            waker: Mutex::new(None),
            ending: AtomicBool::new(false),
        }
    }

    /// Says whether the shard has work in hand.
    pub fn set_busy(&self, busy: bool) {
        if self.busy.load(Relaxed) != busy {
            self.busy.store(busy, Relaxed);
        }
    }

    /// By how much the latest beat of all came after its time: the longest the executor did not run tasks.
    pub fn longest_delay(&self) -> Duration {
        Duration::from_nanos(self.longest_delay.load(Relaxed))
    }

    /// How long after the last beat the next one is due.
    pub(super) fn interval(&self) -> Duration {
        if self.busy.load(Relaxed) { BEAT_BUSY } else { BEAT_IDLE }
    }

    /// From the watchdog's thread: asks for the beat that is `due`, and wakes the executor if it is parked.
    pub(super) fn ask(&self, due: Duration) {
        let due = (due.as_nanos() as u64).max(1);
        // Whether another is owed already makes no difference to the waking: each wake-up is one more try.
        let _ = self.owed_since.compare_exchange(0, due, Relaxed, Relaxed);
        if let Some(waker) = &*self.waker.lock().expect("no holder of this lock panics") {
            waker.wake_by_ref();
        }
    }

    /// The task; returns after [`Heartbeat::end`].
    pub(super) async fn beat(&self) {
        let mut known = false;
        poll_fn(|context| {
            let owed_since = self.owed_since.swap(0, Relaxed);
            if owed_since > 0 {
                let delay = (self.epoch.elapsed().as_nanos() as u64).saturating_sub(owed_since);
                self.longest_delay.fetch_max(delay, Relaxed);
            }
            if self.ending.load(Relaxed) {
                return Poll::Ready(());
            }
            if !known {
                *self.waker.lock().expect("no holder of this lock panics") = Some(context.waker().clone());
                known = true;
            }
            Poll::Pending
        })
        .await;
    }

    /// From the executor's own thread, when the watchdog has forgotten it: the task ends.
    pub(super) fn end(&self) {
        self.ending.store(true, Relaxed);
        if let Some(waker) = self.waker.lock().expect("no holder of this lock panics").take() {
            waker.wake();
        }
    }
}
