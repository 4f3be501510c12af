//! The thread that keeps every executor of the process from staying parked with runnable work.
//!
//! glommio 0.12.0 arms its preemption timer, and runs tasks until there are none or the timer has fired. If it has
//! fired before the first task ran, because the core was taken away in between, `run_task_queues` answers the same as
//! for "nothing to run", and the executor parks (`executor/mod.rs`, `run`): it sleeps until a completion arrives.
//!
//! ```text
//!   ┌─▶ reap, wake tasks ─▶ arm the preemption timer ─▶ fired? ─ no ─▶ run tasks ─▶ nothing left ──┐
//!   │                                                     │                                        │
//!   │                                    yes, nothing ran └──────────────▶ park, the tasks ready ──┤
//!   └──────────── a completion: I/O, a timer, a waker of another thread ◀──────────────────────────┘
//! ```
//!
//! Each completion is one more try, which may end the same way. What a task has to order anew, a timer or a poll, is
//! spent by a try that fails: with N timers pending, the N + 1st such try in a row is the last, and the executor sleeps
//! for ever. A waker of another thread is not spent: it writes an eventfd that the executor itself, not a task, reads
//! again before each park, and without which it does not park. So beats come from outside, and for as long as tries
//! succeed at all a shard with work goes on after [`BEAT_BUSY`] or a few of it.
//!
//! Mended upstream by glommio/glommio#53: when a release contains it, this is only a measurement.
//!
//! Invariants
//!  1. An executor is asked for a beat every [`BEAT_BUSY`] while it says that it has work in hand, else every
//!     [`BEAT_IDLE`]. That it has become busy is noticed at the next beat of anyone: after at most [`BEAT_IDLE`].
//!  2. No executor ever waits for this thread, except to be watched first and forgotten last.
//!  3. While all are idle it wakes once per [`BEAT_IDLE`].
//!
//! Not guarded: the very first pass of an executor, when none of its tasks has run yet.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[cfg(doc)]
use super::heartbeat::BEAT_BUSY;
use super::heartbeat::{BEAT_IDLE, Heartbeat};

/// One per process, made before its executors and shared by them. Its thread ends when it is dropped.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    epoch: Instant,
    watch: Mutex<Watch>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Watch {
    watched: Vec<Watched>,
    /// When the thread is to wake.
    planned: Duration,
    ending: bool,
}

#[derive(Debug)]
struct Watched {
    heartbeat: Arc<Heartbeat>,
    /// When it was last asked.
    last: Duration,
}

impl Watchdog {
    /// Starts the thread, with the cores and the signal mask of the caller.
    pub fn start() -> io::Result<Arc<Watchdog>> {
        let shared =
            Arc::new(Shared { epoch: Instant::now(), watch: Mutex::default(), changed: Condvar::new() });
        let watching = shared.clone();
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(move || watching.run())?;
        Ok(Arc::new(Watchdog { shared, thread: Some(thread) }))
    }

    /// A heartbeat that is asked for beats from now on.
    pub(super) fn watch(&self) -> Arc<Heartbeat> {
        let heartbeat = Arc::new(Heartbeat::new(self.shared.epoch));
        let watched = Watched { heartbeat: heartbeat.clone(), last: self.shared.epoch.elapsed() };
        self.shared.lock().watched.push(watched);
        self.shared.changed.notify_one();
        heartbeat
    }

    /// Asks it for no more.
    pub(super) fn forget(&self, heartbeat: &Arc<Heartbeat>) {
        self.shared.lock().watched.retain(|watched| !Arc::ptr_eq(&watched.heartbeat, heartbeat));
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().ending = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the watchdog does not panic");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().expect("no holder of this lock panics")
    }

    fn run(&self) {
        let mut watch = self.lock();
        while !watch.ending {
            let now = self.epoch.elapsed();
            let next = watch.ask_who_is_due(now);
            let woken = self.changed.wait_timeout(watch, next - now);
            (watch, _) = woken.expect("no holder of this lock panics");
        }
    }
}

impl Watch {
    /// Asks everybody whose beat is due, and says when the next one is: after `now`.
    fn ask_who_is_due(&mut self, now: Duration) -> Duration {
        let mut next = beat_after(now, BEAT_IDLE);
        for Watched { heartbeat, last } in &mut self.watched {
            let interval = heartbeat.interval();
            if let Some(due) = due(*last, interval, self.planned, now) {
                heartbeat.ask(due);
                *last = now;
            }
            next = next.min(beat_after(now, interval));
        }
        self.planned = next;
        next
    }
}

/// The first beat after `moment`. All beat on one grid, so that one wake-up of the thread does for all.
fn beat_after(moment: Duration, interval: Duration) -> Duration {
    let interval = interval.as_nanos() as u64;
    Duration::from_nanos((moment.as_nanos() as u64 / interval + 1) * interval)
}

/// Since when a beat is due, if one is. One that the thread slept through because it had no reason yet to wake for it
/// is due since it was to wake.
fn due(last: Duration, interval: Duration, planned: Duration, now: Duration) -> Option<Duration> {
    let beat = beat_after(last, interval);
    (beat <= now).then(|| beat.max(planned.min(now)))
}

#[cfg(test)]
mod tests {
    use super::super::heartbeat::BEAT_BUSY;
    use super::*;

    #[test]
    fn beats_are_due_on_a_grid_and_since_somebody_was_to_ask() {
        let ms = Duration::from_millis;
        #[rustfmt::skip]
        let rows = [
            // last, interval, planned, now, due since
            (   0,     5,         5,    4,  None,      "too early: somebody came or went"),
            (   0,     5,         5,    5,  Some(5),   "in time"),
            (   7,     5,        10,   10,  Some(10),  "on the grid, however late the last was"),
            (   0,     5,         5,   97,  Some(5),   "the machine let this thread not run"),
            (   1,     5,       100,  100,  Some(100), "busy since a while, noticed now"),
            (   1,     5,       100,  130,  Some(100), "noticed late"),
            (   1,     5,       100,   60,  Some(60),  "noticed early: somebody came or went"),
            (  95,   100,       100,  100,  Some(100), "idle now"),
            (   5,   100,        10,   10,  None,      "idle beside one that is busy"),
        ];
        for (last, interval, planned, now, expected, why) in rows {
            assert_eq!(due(ms(last), ms(interval), ms(planned), ms(now)), expected.map(ms), "{why}");
        }
    }

    #[test]
    fn the_thread_wakes_for_the_busiest() {
        let mut watch = Watch::default();
        assert_eq!(watch.ask_who_is_due(BEAT_BUSY), BEAT_IDLE);
        let hearts = [(); 2].map(|()| Arc::new(Heartbeat::new(Instant::now())));
        watch.watched.extend(hearts.clone().map(|heartbeat| Watched { heartbeat, last: BEAT_BUSY }));
        assert_eq!(watch.ask_who_is_due(BEAT_BUSY), BEAT_IDLE);
        hearts[1].set_busy(true);
        assert_eq!(watch.ask_who_is_due(BEAT_BUSY), 2 * BEAT_BUSY);
    }
}
