//! A task that sleeps on a timer for ever, so that the executor never parks for good.
//!
//! glommio 0.12.0 takes "preempted before anything ran" for "nothing to run" and then sleeps until some
//! completion arrives. Under load that may be never; a timer is always a completion to come, and its period is
//! the longest such sleep. Mended upstream by glommio/glommio#53: this file goes when a release contains it.
//!
//! ```text
//!           set_busy(true)
//!   idle ───────────────────▶ busy        busy: a beat every 5 ms
//!   idle ◀─────────────────── busy        idle: a beat every 100 ms
//!      a beat finds no work
//! ```
//!
//! Invariants
//!  1. From `set_busy(true)` on, the next beat is at most [`BEAT_BUSY`] away.
//!  2. Becoming idle costs nothing: only the next beat notices. So a shard that turns busy and idle a
//!     thousand times a second wakes this task at most once per beat.

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

/// One per executor.
#[derive(Debug)]
pub struct Heartbeat {
    busy: Cell<bool>,
    /// The beat under way is an idle one.
    slow: Cell<bool>,
    ending: Cell<bool>,
    /// Cuts an idle beat short.
    hurry: Signal,
    ended: Signal,
    beats: Cell<u64>,
    longest_delay: Cell<Duration>,
}

impl Heartbeat {
    pub(super) fn new() -> Heartbeat {
        Heartbeat {
            busy: Cell::new(false),
            slow: Cell::new(false),
            ending: Cell::new(false),
            hurry: Signal::new(),
            ended: Signal::new(),
            beats: Cell::new(0),
            longest_delay: Cell::new(Duration::ZERO),
        }
    }

    /// Says whether the shard has work in hand.
    pub fn set_busy(&self, busy: bool) {
        self.busy.set(busy);
        if busy && self.slow.get() {
            self.hurry.fire();
        }
    }

    /// How many beats there have been.
    pub fn beats(&self) -> u64 {
        self.beats.get()
    }

    /// By how much the latest beat of all came after its time: the longest the executor did not run tasks.
    pub fn longest_delay(&self) -> Duration {
        self.longest_delay.get()
    }

    /// The loop; returns after [`Heartbeat::end`].
    pub(super) async fn beat(&self) {
        while !self.ending.get() {
            let began = Instant::now();
            if self.busy.get() {
                ::glommio::timer::sleep(BEAT_BUSY).await;
                self.note(began.elapsed().saturating_sub(BEAT_BUSY));
            } else {
                self.slow.set(true);
                let cut_short = self.idle_beat().await;
                self.slow.set(false);
                if !cut_short {
                    self.note(began.elapsed().saturating_sub(BEAT_IDLE));
                }
            }
        }
        self.ended.fire();
    }

    pub(super) async fn end(&self) {
        self.ending.set(true);
        self.hurry.fire();
        self.ended.wait().await;
    }

    /// Sleeps until the idle beat is over or somebody is in a hurry; says whether somebody was.
    async fn idle_beat(&self) -> bool {
        let mut sleep = pin!(::glommio::timer::sleep(BEAT_IDLE));
        let mut hurry = pin!(self.hurry.wait());
        poll_fn(|context| {
            if hurry.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            sleep.as_mut().poll(context).map(|()| false)
        })
        .await
    }

    fn note(&self, delay: Duration) {
        self.beats.set(self.beats.get() + 1);
        self.longest_delay.set(self.longest_delay.get().max(delay));
    }
}
