//! Whether a shard with nothing to do looks again at once instead of sleeping. A pure rule.
//!
//! Sleeping and being woken costs a send with little company more than the broker's own work does, twice: once while
//! its batch goes to the disk, once before the next send comes.
//!
//! ```text
//! send ─▶ append ─────── wait for the disk ───────▶ answer ─────── wait for a send ───────▶ append
//!                  spins if the latest such wait              spins if the latest such wait
//!                  was short, and few wait with it            was short
//! ```
//!
//! Invariants
//!  1. A wait is spun through for at most `longest`, and only if the latest wait of its kind was not longer.
//!  2. Only what is appended begins a wait: heartbeats, timers and an idle shard never spin.
//!  3. Where others want the core (the spinning thread did not run for [`INTERRUPTED_MIN`]) nothing spins for a while,
//!     twice as long each time up to [`BACK_OFF_MAX`]: who spins loses the scheduler's favour that a sleeper has.
//!
//! Not here: how a step of spinning is done (`Env::spin_step`), what counts as a send (`shard_loop`).

use std::time::Duration;

/// Answers waiting for the disk beyond which sleeping is cheap: it is shared by all of them.
const HELD_MAX: usize = 4;
/// A look that comes so late was held up by another thread.
const INTERRUPTED_MIN: Duration = Duration::from_micros(500);
/// How long others have the core without a rival the first time, and at most.
const BACK_OFF_MIN: Duration = Duration::from_millis(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// One per shard.
#[derive(Debug)]
pub struct Spin {
    longest: Duration,
    /// When the present wait began, and what it is for.
    since: Duration,
    awaited: Awaited,
    disk_is_quick: bool,
    sends_are_quick: bool,
    /// When it was decided to look again, unless it was decided to sleep.
    looked: Option<Duration>,
    not_before: Duration,
    back_off: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Awaited {
    Disk,
    Send,
}

impl Spin {
    /// Spins through waits that are not longer than `longest`; through none if that is zero.
    pub fn new(longest: Duration) -> Spin {
        Spin {
            longest,
            since: Duration::ZERO,
            awaited: Awaited::Send,
            disk_is_quick: false,
            sends_are_quick: false,
            looked: None,
            not_before: Duration::ZERO,
            back_off: Duration::ZERO,
        }
    }

    /// Whether to look again at once. `moved`: sends were accepted or answered since the last call; `held` answers
    /// wait for the disk.
    pub fn look_again(&mut self, now: Duration, moved: bool, held: usize) -> bool {
        if self.longest.is_zero() {
            return false;
        }
        if self.looked.take().is_some_and(|looked| now.saturating_sub(looked) >= INTERRUPTED_MIN) {
            self.leave_the_core(now);
        }
        if moved {
            let quick = now.saturating_sub(self.since) <= self.longest;
            match self.awaited {
                Awaited::Disk => self.disk_is_quick = quick,
                Awaited::Send => self.sends_are_quick = quick,
            }
            self.since = now;
            self.awaited = if held > 0 { Awaited::Disk } else { Awaited::Send };
        }
        let quick = match self.awaited {
            Awaited::Disk => self.disk_is_quick,
            Awaited::Send => self.sends_are_quick,
        };
        let lasts = now.saturating_sub(self.since);
        let again = quick && held <= HELD_MAX && lasts < self.longest && now >= self.not_before;
        self.looked = again.then_some(now);
        again
    }

    /// Others want the core. They do all the time if this comes soon after the last time was over.
    fn leave_the_core(&mut self, now: Duration) {
        let again = now.saturating_sub(self.not_before) <= self.back_off;
        self.back_off = if again { (self.back_off * 2).min(BACK_OFF_MAX) } else { BACK_OFF_MIN };
        self.not_before = now + self.back_off;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: u64 = 200;
    const MOVED: bool = true;
    const STILL: bool = false;

    /// Says for each (microseconds, moved, held) whether to look again.
    fn looks(spin: &mut Spin, rows: &[(u64, bool, usize)]) -> Vec<bool> {
        rows.iter()
            .map(|(now, moved, held)| spin.look_again(Duration::from_micros(*now), *moved, *held))
            .collect()
    }

    fn spin() -> Spin {
        Spin::new(Duration::from_micros(LONGEST))
    }

    #[test]
    fn a_wait_is_spun_through_once_the_latest_of_its_kind_was_short() {
        #[rustfmt::skip]
        let rows = [
            (10_000, MOVED, 1, false), // the first send: how long the disk takes is not known
            (10_100, MOVED, 0, false), // answered: how soon a client sends again is not known
            (10_150, MOVED, 1, true),  // the disk was quick
            (10_160, STILL, 1, true),
            (10_250, MOVED, 0, true),  // so was the client
            (10_260, STILL, 0, true),
        ];
        let mut spin = spin();
        for (now, moved, held, again) in rows {
            assert_eq!(looks(&mut spin, &[(now, moved, held)]), [again], "at {now}");
        }
    }

    /// A shard whose disk and client are quick, at 1,000 microseconds, after an answer.
    fn quick() -> Spin {
        let mut spin = spin();
        let taught =
            looks(&mut spin, &[(700, MOVED, 1), (800, MOVED, 0), (900, MOVED, 1), (1_000, MOVED, 0)]);
        assert!(taught[3]);
        spin
    }

    #[test]
    fn a_wait_that_lasts_ends_in_sleep_and_the_next_of_its_kind_begins_there() {
        let mut spin = quick();
        assert_eq!(
            looks(&mut spin, &[(1_199, STILL, 0), (1_200, STILL, 0), (1_201, STILL, 0)]),
            [true, false, false]
        );
        assert_eq!(looks(&mut spin, &[(9_000, MOVED, 1)]), [true], "the disk is as quick as before");
        assert_eq!(looks(&mut spin, &[(9_100, MOVED, 0)]), [false], "the client took 7.8 ms");
        assert_eq!(looks(&mut spin, &[(9_150, MOVED, 1), (9_250, MOVED, 0)]), [true, true], "now it did not");
    }

    #[test]
    fn what_is_not_a_send_begins_no_wait() {
        let mut spin = quick();
        assert_eq!(looks(&mut spin, &[(5_000, STILL, 0), (5_010, STILL, 0)]), [false, false]);
    }

    #[test]
    fn many_that_wait_together_let_the_shard_sleep() {
        assert_eq!(looks(&mut quick(), &[(1_100, MOVED, HELD_MAX)]), [true]);
        assert_eq!(looks(&mut quick(), &[(1_100, MOVED, HELD_MAX + 1)]), [false]);
    }

    #[test]
    fn whoever_is_held_up_leaves_the_core_to_others_for_a_while() {
        let mut spin = quick();
        let held_up = 1_000 + INTERRUPTED_MIN.as_micros() as u64;
        assert_eq!(looks(&mut spin, &[(held_up, MOVED, 1), (held_up + 100, MOVED, 0)]), [false, false]);
        let until = held_up + BACK_OFF_MIN.as_micros() as u64;
        let within = [(until - 100, MOVED, 1), (until - 60, MOVED, 0), (until - 1, MOVED, 1)];
        assert_eq!(looks(&mut spin, &within), [false; 3]);
        assert_eq!(looks(&mut spin, &[(until, STILL, 1), (until + 60, MOVED, 0)]), [true, true]);
    }

    #[test]
    fn the_core_is_left_for_longer_to_those_who_always_want_it() {
        let mut spin = quick();
        let held_up = |spin: &mut Spin| {
            let looked = spin.looked.expect("it spins");
            spin.look_again(looked + INTERRUPTED_MIN, STILL, 0);
            let back_off = spin.back_off.as_millis();
            let then = spin.not_before;
            spin.look_again(then, MOVED, 1);
            spin.look_again(then, MOVED, 0);
            assert!(spin.look_again(then, MOVED, 1), "after {back_off} ms");
            back_off
        };
        let longer: Vec<u128> = (0..9).map(|_| held_up(&mut spin)).collect();
        assert_eq!(longer, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        let asleep = spin.not_before + spin.longest;
        assert!(!spin.look_again(asleep, STILL, 1));
        let later = asleep + 2 * BACK_OFF_MAX;
        spin.look_again(later, MOVED, 0);
        spin.look_again(later, MOVED, 1);
        assert!(spin.look_again(later, MOVED, 0));
        assert_eq!(held_up(&mut spin), 10, "nobody came for a long time");
    }

    #[test]
    fn zero_means_never() {
        let mut never = Spin::new(Duration::ZERO);
        assert_eq!(looks(&mut never, &[(0, MOVED, 1), (0, MOVED, 0), (0, MOVED, 1)]), [false; 3]);
    }
}
