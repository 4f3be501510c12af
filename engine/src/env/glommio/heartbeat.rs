//! Timers that are always pending, so that the executor never parks for good.
//!
//! glommio 0.12.0 takes "preempted before anything ran" for "nothing to run" and then sleeps until some
//! completion arrives. Under load that may be never; a pending timer is always a completion to come. One is not
//! enough: the executor may be preempted again right after the timer woke it, and then that timer is spent and
//! its task has not run to set another. So several lanes beat by turns, each with a timer of its own:
//!
//! ```text
//!   lane 0   ▪───────────────▪───────────────▪        busy: a beat every 5 ms, each lane every 20 ms
//!   lane 1   ────▪───────────────▪───────────         idle: a beat every 100 ms
//!   lane 2   ────────▪───────────────▪───────         set_busy(true) cuts idle waits short
//!   lane 3   ────────────▪───────────────▪───
//! ```
//!
//! Mended upstream by glommio/glommio#53: this file goes when a release contains it.
//!
//! Invariants
//!  1. From `set_busy(true)` on, the next beat is at most [`BEAT_BUSY`] away.
//!  2. Becoming idle costs nothing: only the next beat notices. So a shard that turns busy and idle a
//!     thousand times a second wakes a lane at most once per beat.
//!  3. Lanes beat on a grid of time, not so long after their last beat: a stall does not bunch them.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::env::Signal;

/// Between two beats of a shard with work in hand: 0.8 % of a core for one shard.
pub const BEAT_BUSY: Duration = Duration::from_millis(5);
/// Between two beats of an idle shard: no cost that can be measured.
pub const BEAT_IDLE: Duration = Duration::from_millis(100);
/// So many preemptions in a row, each before anything ran, are survived.
pub const LANES: usize = 4;

/// One per executor.
#[derive(Debug)]
pub struct Heartbeat {
    started: Instant,
    busy: Cell<bool>,
    ending: Cell<bool>,
    lanes: [Lane; LANES],
    beats: Cell<u64>,
    longest_delay: Cell<Duration>,
}

#[derive(Debug, Default)]
struct Lane {
    /// The beat under way is an idle one.
    slow: Cell<bool>,
    /// Cuts an idle beat short.
    hurry: Signal,
    ended: Signal,
}

impl Heartbeat {
    pub(super) fn new() -> Heartbeat {
        Heartbeat {
            started: Instant::now(),
            busy: Cell::new(false),
            ending: Cell::new(false),
            lanes: Default::default(),
            beats: Cell::new(0),
            longest_delay: Cell::new(Duration::ZERO),
        }
    }

    /// Says whether the shard has work in hand.
    pub fn set_busy(&self, busy: bool) {
        if busy && !self.busy.get() {
            for lane in self.lanes.iter().filter(|lane| lane.slow.get()) {
                lane.hurry.fire();
            }
        }
        self.busy.set(busy);
    }

    /// How many beats there have been.
    pub fn beats(&self) -> u64 {
        self.beats.get()
    }

    /// By how much the latest beat of all came after its time: the longest the executor did not run tasks.
    pub fn longest_delay(&self) -> Duration {
        self.longest_delay.get()
    }

    /// The loop of one lane; returns after [`Heartbeat::end`].
    pub(super) async fn beat(&self, index: usize) {
        let lane = &self.lanes[index];
        while !self.ending.get() {
            let slow = !self.busy.get();
            lane.slow.set(slow);
            let due = next_beat(self.started.elapsed(), index, if slow { BEAT_IDLE } else { BEAT_BUSY });
            let wait = due.saturating_sub(self.started.elapsed());
            if slow && lane.cut_short(::glommio::timer::sleep(wait)).await {
                continue;
            } else if !slow {
                ::glommio::timer::sleep(wait).await;
            }
            let delay = self.started.elapsed().saturating_sub(due);
            self.beats.set(self.beats.get() + 1);
            self.longest_delay.set(self.longest_delay.get().max(delay));
        }
        lane.ended.fire();
    }

    pub(super) async fn end(&self) {
        self.ending.set(true);
        for lane in &self.lanes {
            lane.hurry.fire();
            lane.ended.wait().await;
        }
    }
}

impl Lane {
    /// Sleeps until the sleep is over or somebody is in a hurry; says whether somebody was.
    async fn cut_short(&self, sleep: impl Future<Output = ()>) -> bool {
        let mut sleep = pin!(sleep);
        let mut hurry = pin!(self.hurry.wait());
        poll_fn(|context| {
            if hurry.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            sleep.as_mut().poll(context).map(|()| false)
        })
        .await
    }
}

/// The first moment after `now` that is this lane's when there is a beat of some lane every `beat`.
fn next_beat(now: Duration, lane: usize, beat: Duration) -> Duration {
    let nanos = |duration: Duration| duration.as_nanos() as u64;
    let (period, phase) = (nanos(beat) * LANES as u64, nanos(beat) * lane as u64);
    let into = (nanos(now) + period - phase) % period;
    Duration::from_nanos(nanos(now) + period - into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_beat_by_turns_on_a_grid() {
        let millis = Duration::from_millis;
        let beat = millis(5);
        #[rustfmt::skip]
        let rows = [
            // now, lane, next
            ( 0, 0, 20),
            ( 0, 1,  5),
            ( 0, 3, 15),
            ( 4, 1,  5),
            ( 5, 1, 25),
            (19, 0, 20),
            (20, 0, 40),
            (77, 2, 90),
        ];
        for (now, lane, next) in rows {
            assert_eq!(next_beat(millis(now), lane, beat), millis(next), "lane {lane} after {now} ms");
        }
    }
}
