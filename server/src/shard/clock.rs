//! Wakes a loop once something is due, and not before.
//!
//! ```text
//! due   ────────x───────────────────x─x──x───────────▶ time      what the loop says before it sleeps
//! wakes ──────────────▪───────────────────────▪───────           the next point of a grid of `STEP`
//! ```
//!
//! What has to happen at its time (a message that was to wait until then) is *fine* due, and has a finer grid.
//!
//! An idle loop is asleep for as long as nothing is due. A due time that comes nearer cuts the sleep short; one
//! that moves away is noticed when the clock wakes, which then sleeps again and disturbs nobody.
//!
//! Invariants
//!  1. A due time is noticed at most [`STEP`] late, a fine one [`FINE_STEP`].
//!  2. A loop is woken at most once per step of the grid in which something is due, however many things that are.
//!
//! Not here: what is due (the rules' `next_due`). One per loop; a task of its loop's `Env`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmq_engine::env::{Env, Signal, TaskClass};

/// Between two moments at which the clock may wake its loop.
pub const STEP: Duration = Duration::from_millis(100);

/// The same for what is fine due: what notices it has most of 50 ms left.
pub const FINE_STEP: Duration = Duration::from_millis(5);

/// The clock of one loop.
#[derive(Debug)]
pub struct Clock {
    due: Cell<Option<Duration>>,
    fine_due: Cell<Option<Duration>>,
    /// When it last woke its loop.
    woke: Cell<Option<Duration>>,
    /// When the clock wakes by itself.
    asleep_until: Cell<Option<Duration>>,
    ending: Cell<bool>,
    /// Cuts the clock's sleep short.
    hurry: Signal,
    ended: Signal,
}

impl Clock {
    /// Starts a clock that fires `wake`. The first thing is due at once.
    pub fn start<E: Env>(env: &E, wake: &Rc<Signal>) -> Rc<Clock> {
        let clock = Rc::new(Clock {
            due: Cell::new(Some(Duration::ZERO)),
            fine_due: Cell::new(None),
            woke: Cell::new(None),
            asleep_until: Cell::new(None),
            ending: Cell::new(false),
            hurry: Signal::new(),
            ended: Signal::new(),
        });
        let (running, env_of_task, wake) = (clock.clone(), env.clone(), wake.clone());
        env.spawn(TaskClass::Serve, async move { running.run(env_of_task, &wake).await });
        clock
    }

    /// Says when something is due next, and fine due (monotonic), or that nothing is.
    pub fn set(&self, due: Option<Duration>, fine_due: Option<Duration>) {
        self.due.set(due);
        self.fine_due.set(fine_due);
        let Some(at) = self.wakes_at() else { return };
        if self.asleep_until.get().is_none_or(|until| at < until) {
            self.hurry.fire();
        }
    }

    /// Whether something is due.
    pub fn is_due(&self, now: Duration) -> bool {
        [self.due.get(), self.fine_due.get()].into_iter().flatten().any(|due| due <= now)
    }

    /// Ends the clock; returns when its task is over.
    pub async fn end(&self) {
        self.ending.set(true);
        self.hurry.fire();
        self.ended.wait().await;
    }

    /// The next point of the grids at which something will be due, after the last wake.
    fn wakes_at(&self) -> Option<Duration> {
        let at = |due: Option<Duration>, step| {
            Some(
                step_after(due?, step)
                    .max(self.woke.get().map_or(Duration::ZERO, |woke| step_after(woke, step))),
            )
        };
        [at(self.due.get(), STEP), at(self.fine_due.get(), FINE_STEP)].into_iter().flatten().min()
    }

    async fn run<E: Env>(&self, env: E, wake: &Signal) {
        while !self.ending.get() {
            let at = self.wakes_at();
            self.asleep_until.set(at);
            let Some(at) = at else {
                self.hurry.wait().await;
                continue;
            };
            let sleep = env.sleep(at.saturating_sub(env.monotonic()));
            let slept = self.hurry.cut_short(sleep).await.is_some();
            if slept && self.is_due(env.monotonic()) {
                self.woke.set(Some(env.monotonic()));
                self.asleep_until.set(None);
                wake.fire();
                // What is due next is the loop's to say.
                self.hurry.wait().await;
            }
        }
        self.ended.fire();
    }
}

/// The first point of a grid after a moment, never the moment itself: a loop that finds the same thing due again
/// and again is woken once per step.
fn step_after(moment: Duration, step: Duration) -> Duration {
    let step = step.as_nanos() as u64;
    let steps = moment.as_nanos() as u64 / step + 1;
    Duration::from_nanos(steps.saturating_mul(step))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use ringmq_engine::env::sim::{Sim, Step};

    use super::*;

    /// Runs a loop that says `dues` one after the other, each when it was woken, and returns when that was.
    fn woken_at(dues: &[Option<u64>]) -> Vec<u64> {
        let sim = Sim::new(1);
        let (env, wake, times) = (sim.env(), Rc::new(Signal::new()), Rc::new(RefCell::new(Vec::new())));
        let clock = Clock::start(&env, &wake);
        let (dues, seen, now) = (dues.to_vec(), times.clone(), env.clone());
        env.spawn(TaskClass::Serve, async move {
            for due in dues {
                clock.set(due.map(Duration::from_millis), None);
                wake.wait().await;
                seen.borrow_mut().push(now.monotonic().as_millis() as u64);
            }
            clock.end().await;
        });
        sim.run_for(Duration::from_secs(100));
        times.take()
    }

    #[test]
    fn a_loop_is_woken_at_the_step_after_what_is_due() {
        assert_eq!(woken_at(&[Some(1)]), [100]);
        assert_eq!(woken_at(&[Some(30_000), Some(45_001)]), [30_100, 45_100]);
        assert_eq!(woken_at(&[None]), [0; 0]);
    }

    #[test]
    fn what_is_due_already_waits_for_the_next_step() {
        assert_eq!(
            woken_at(&[Some(50), Some(50), Some(60), Some(150), Some(301)]),
            [100, 200, 300, 400, 500]
        );
    }

    #[test]
    fn what_comes_nearer_cuts_the_sleep_short_and_what_moves_away_does_not_wake() {
        let sim = Sim::new(1);
        let (env, wake) = (sim.env(), Rc::new(Signal::new()));
        let clock = Clock::start(&env, &wake);
        clock.set(Some(Duration::from_secs(30)), None);
        sim.run_for(Duration::from_secs(1));
        clock.set(Some(Duration::from_secs(2)), None);
        clock.set(Some(Duration::from_secs(4)), None);
        sim.run_for(Duration::from_secs(2));
        assert!(!wake.is_fired(), "at 3 s");
        sim.run_for(Duration::from_millis(1_100));
        assert!(wake.take(), "at 4.1 s");
    }

    #[test]
    fn what_is_fine_due_wakes_in_its_own_grid() {
        let ms = Duration::from_millis;
        let (sim, wake, times) = (Sim::new(1), Rc::new(Signal::new()), Rc::new(RefCell::new(Vec::new())));
        let clock = Clock::start(&sim.env(), &wake);
        let (seen, env, running) = (times.clone(), sim.env(), clock.clone());
        sim.env().spawn(TaskClass::Serve, async move {
            // The same fine thing is due again and again; then both, of which the coarse one comes first; then one alone.
            for (due, fine) in
                [(None, 12), (None, 12), (Some(16), 999), (Some(130), 131), (Some(130), 900), (None, 300)]
            {
                running.set(due.map(ms), Some(ms(fine)));
                wake.wait().await;
                seen.borrow_mut().push(env.monotonic().as_millis());
            }
        });
        sim.run_for(Duration::from_secs(2));
        assert_eq!(times.take(), [15, 20, 100, 135, 200, 305]);
        sim.run_until(clock.end()).expect("the clock ends");
    }

    #[test]
    fn an_idle_clock_sleeps() {
        let sim = Sim::new(1);
        let clock = Clock::start(&sim.env(), &Rc::new(Signal::new()));
        clock.set(Some(Duration::from_secs(10)), None);
        sim.run_for(Duration::from_secs(1));
        assert_eq!(sim.step(), Step::Waited);
        assert_eq!(sim.now(), Duration::from_millis(10_100), "no timer before");
    }

    #[test]
    fn an_ended_clock_leaves_no_task() {
        let sim = Sim::new(1);
        for due in [None, Some(Duration::ZERO), Some(Duration::from_secs(9))] {
            let clock = Clock::start(&sim.env(), &Rc::new(Signal::new()));
            clock.set(due, due);
            sim.run_for(Duration::from_secs(1));
            sim.run_until(clock.end()).expect("the clock ends");
            assert_eq!(sim.tasks(), 0, "{due:?}");
        }
    }
}
