//! The calls of one connection that await answers, by the number that the answer will carry (RocketMQ: `opaque`).
//!
//! ```text
//! opaque, always positive:   0 │ 15 bits: round │ 16 bits: slot
//! ```
//!
//! Invariants
//!  1. An answer goes to the call whose number it carries, or to nobody: a slot's round changes with each use, so what
//!     comes too late for one call is not taken for the next one's.
//!  2. Every call ends in one way: answered, failed, or forgotten by its caller.
//!
//! Not here: bytes, waiting. `W` is whatever wakes the caller.

use crate::limits::CALLS_PER_CONNECTION_MAX;
use std::time::Duration;

const SLOT_BITS: u32 = 16;
const ROUND_MASK: u16 = 0x7FFF;
const _: () = assert!(CALLS_PER_CONNECTION_MAX <= 1 << SLOT_BITS);

/// The table of one connection. `A` is what an ended call ended with.
#[derive(Debug)]
pub(crate) struct Calls<A, W> {
    slots: Vec<Slot<A, W>>,
    free: Vec<usize>,
    waiting: usize,
}

#[derive(Debug)]
struct Slot<A, W> {
    round: u16,
    state: State<A, W>,
}

#[derive(Debug)]
enum State<A, W> {
    Free,
    Waiting(Waiting<W>),
    Ended(A),
}

/// What is known of a call that awaits its answer.
#[derive(Debug)]
pub(crate) struct Waiting<W> {
    /// Wakes the caller, once it has waited.
    pub waker: Option<W>,
    /// When it began, and when it is given up; since any fixed moment.
    pub began: Duration,
    pub deadline: Duration,
    /// Where its frame begins among all bytes that the connection ever sent.
    pub frame_at: u64,
}

/// What the caller finds when it looks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<A> {
    Waiting,
    Ended(A),
}

impl<A, W> Calls<A, W> {
    pub fn new() -> Calls<A, W> {
        Calls { slots: Vec::new(), free: Vec::new(), waiting: 0 }
    }

    /// Begins a call and gives its number; `None` if there are too many.
    pub fn begin(&mut self, waiting: Waiting<W>) -> Option<i32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < CALLS_PER_CONNECTION_MAX => {
                self.slots.push(Slot { round: 0, state: State::Free });
                self.slots.len() - 1
            }
            None => return None,
        };
        self.slots[slot].state = State::Waiting(waiting);
        self.waiting += 1;
        Some(i32::from(self.slots[slot].round) << SLOT_BITS | slot as i32)
    }

    /// Calls that await their answers.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Ends the call with this number, and gives what wakes its caller. `None` if no such call waits.
    pub fn end(&mut self, opaque: i32, how: A) -> Option<Option<W>> {
        let slot = self.slot(opaque)?;
        let slot = &mut self.slots[slot];
        if !matches!(slot.state, State::Waiting(_)) {
            return None;
        }
        self.waiting -= 1;
        match std::mem::replace(&mut slot.state, State::Ended(how)) {
            State::Waiting(waiting) => Some(waiting.waker),
            _ => None,
        }
    }

    /// What came of a call. Once it is seen to have ended, its number means nothing any more. `waker` is kept while it waits.
    pub fn look(&mut self, opaque: i32, waker: impl FnOnce(Option<W>) -> W) -> Option<Look<A>> {
        let index = self.slot(opaque)?;
        let slot = &mut self.slots[index];
        if let State::Waiting(waiting) = &mut slot.state {
            waiting.waker = Some(waker(waiting.waker.take()));
            return Some(Look::Waiting);
        }
        match self.release(index) {
            State::Ended(how) => Some(Look::Ended(how)),
            _ => None,
        }
    }

    /// The caller wants to know no more.
    pub fn forget(&mut self, opaque: i32) {
        if let Some(index) = self.slot(opaque) {
            if matches!(self.slots[index].state, State::Waiting(_)) {
                self.waiting -= 1;
            }
            self.release(index);
        }
    }

    /// Ends every call for which `how` says how, and adds what wakes their callers to `wake`.
    pub fn end_those(&mut self, mut how: impl FnMut(&Waiting<W>) -> Option<A>, wake: &mut Vec<W>) {
        for slot in &mut self.slots {
            let State::Waiting(waiting) = &mut slot.state else { continue };
            if let Some(how) = how(waiting) {
                wake.extend(waiting.waker.take());
                slot.state = State::Ended(how);
                self.waiting -= 1;
            }
        }
    }

    fn slot(&self, opaque: i32) -> Option<usize> {
        let round = u16::try_from(opaque >> SLOT_BITS).ok()?;
        let index = (opaque & 0xFFFF) as usize;
        let slot = self.slots.get(index)?;
        (slot.round == round && !matches!(slot.state, State::Free)).then_some(index)
    }

    fn release(&mut self, index: usize) -> State<A, W> {
        let slot = &mut self.slots[index];
        slot.round = (slot.round + 1) & ROUND_MASK;
        self.free.push(index);
        std::mem::replace(&mut slot.state, State::Free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Table = Calls<&'static str, u32>;

    fn waiting(deadline: u64) -> Waiting<u32> {
        Waiting { waker: None, began: Duration::ZERO, deadline: Duration::from_secs(deadline), frame_at: 0 }
    }

    fn look(calls: &mut Table, opaque: i32, waker: u32) -> Option<Look<&'static str>> {
        calls.look(opaque, |_| waker)
    }

    #[test]
    fn an_answer_finds_its_call_and_wakes_its_caller() {
        let mut calls = Table::new();
        let (first, second) = (calls.begin(waiting(1)).unwrap(), calls.begin(waiting(1)).unwrap());
        assert_ne!(first, second);
        assert_eq!(look(&mut calls, second, 7), Some(Look::Waiting));
        assert_eq!(calls.end(second, "b"), Some(Some(7)));
        assert_eq!(calls.end(first, "a"), Some(None));
        assert_eq!(look(&mut calls, first, 0), Some(Look::Ended("a")));
        assert_eq!(look(&mut calls, second, 0), Some(Look::Ended("b")));
        assert_eq!(calls.waiting(), 0);
    }

    #[test]
    fn an_answer_that_comes_twice_or_too_late_goes_to_nobody() {
        let mut calls = Table::new();
        let first = calls.begin(waiting(1)).unwrap();
        calls.forget(first);
        let second = calls.begin(waiting(1)).unwrap();
        assert_eq!(first & 0xFFFF, second & 0xFFFF, "the slot is used again");
        for nobody in [first, -1, i32::MAX, i32::MIN, second + 1] {
            assert_eq!(calls.end(nobody, "late"), None, "{nobody}");
            assert_eq!(look(&mut calls, nobody, 0), None, "{nobody}");
        }
        assert!(calls.end(second, "in time").is_some());
        assert!(calls.end(second, "again").is_none());
        assert_eq!(look(&mut calls, second, 0), Some(Look::Ended("in time")));
    }

    #[test]
    fn a_slot_comes_back_with_the_same_number_only_after_all_rounds() {
        let mut calls = Table::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..=usize::from(ROUND_MASK) {
            let opaque = calls.begin(waiting(1)).unwrap();
            assert!(opaque >= 0 && seen.insert(opaque));
            calls.forget(opaque);
        }
        assert!(!seen.insert(calls.begin(waiting(1)).unwrap()));
    }

    #[test]
    fn calls_are_ended_together() {
        let mut calls = Table::new();
        let opaques: Vec<_> = (0..4).map(|deadline| calls.begin(waiting(deadline)).unwrap()).collect();
        look(&mut calls, opaques[0], 70);
        let mut wake = Vec::new();
        let now = Duration::from_secs(1);
        calls.end_those(|call| (call.deadline <= now).then_some("late"), &mut wake);
        assert_eq!((wake, calls.waiting()), (vec![70], 2));
        assert_eq!(look(&mut calls, opaques[1], 0), Some(Look::Ended("late")));
        assert_eq!(look(&mut calls, opaques[2], 0), Some(Look::Waiting));
    }

    #[test]
    fn there_are_at_most_so_many() {
        let mut calls = Table::new();
        for _ in 0..CALLS_PER_CONNECTION_MAX {
            calls.begin(waiting(1)).unwrap();
        }
        assert_eq!(calls.begin(waiting(1)), None);
        calls.forget(5);
        assert!(calls.begin(waiting(1)).is_some());
    }
}
