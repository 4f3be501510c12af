//! Cold bytes in memory: parts of the log that were read, or are being read, each once and within a budget. Pure.
//!
//! ```text
//!   log      ──────────────────────────────────────────────────────────
//!   extents      [read ][read ]      [being read   ]          none overlaps another
//!                   ▲ ▲                    ▲ ▲ ▲
//!   loans           slices being sent      fetches that wait: all get the one read
//! ```
//!
//! Invariants
//!  1. No two extents overlap, so no byte is read twice at a time.
//!  2. What counts against the budget is all memory of cold bytes: extents being read, kept, and lent to slices that
//!     are being sent. It is given back when the last of them lets go, and not before.
//!  3. The budget is exceeded only by one who finds nothing else in memory: a record larger than all of it gets through.
//!  4. Who finds no room waits its turn, first come first served, and holds nothing meanwhile. Those that nobody
//!     uses go to make room, the oldest first.
//!
//! Not here: what to read (`read_ahead`), reading it (`reader`).

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use crate::env::Signal;
use crate::planted::{self, Bug};

/// The extents of one log. One per shard.
#[derive(Debug)]
pub(crate) struct Extents<B> {
    by_start: RefCell<BTreeMap<u64, Rc<Extent<B>>>>,
    /// The oldest first; some are gone.
    by_age: RefCell<VecDeque<Weak<Extent<B>>>>,
    memory: Rc<Memory>,
}

/// Bytes `from..to` of the log: being read, read, or failed to be.
#[derive(Debug)]
pub(crate) struct Extent<B> {
    pub from: u64,
    pub to: u64,
    outcome: OnceCell<Result<B, String>>,
    waiting: RefCell<Vec<Waker>>,
    memory: Rc<Memory>,
}

/// A use of an extent, which keeps its memory.
#[derive(Debug)]
pub(crate) struct Loan<B>(Rc<Extent<B>>);

#[derive(Debug)]
struct Memory {
    held: Cell<usize>,
    max: usize,
    turns: RefCell<VecDeque<Rc<Signal>>>,
}

/// A place in the line of those who wait for memory.
#[derive(Debug)]
pub(crate) struct Turn {
    memory: Rc<Memory>,
    signal: Rc<Signal>,
}

impl<B> Extents<B> {
    /// None yet, and that much memory for them.
    pub fn new(bytes_max: usize) -> Extents<B> {
        let memory = Memory { held: Cell::new(0), max: bytes_max, turns: RefCell::default() };
        Extents { by_start: RefCell::default(), by_age: RefCell::default(), memory: Rc::new(memory) }
    }

    /// Memory of all cold bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory.held.get()
    }

    /// The parts of `from..to` that no extent covers.
    pub fn gaps(&self, from: u64, to: u64, gaps: &mut Vec<(u64, u64)>) {
        let mut at = from;
        self.visit(from, to, |extent| {
            if extent.from > at {
                gaps.push((at, extent.from));
            }
            at = extent.to;
        });
        if at < to {
            gaps.push((at, to));
        }
    }

    /// Loans of all that cover some of `from..to`, in order.
    pub fn lend(&self, from: u64, to: u64, loans: &mut Vec<Loan<B>>) {
        self.visit(from, to, |extent| loans.push(Loan(extent.clone())));
    }

    fn visit(&self, from: u64, to: u64, mut visit: impl FnMut(&Rc<Extent<B>>)) {
        let by_start = self.by_start.borrow();
        let before = by_start.range(..from).next_back().filter(|(_, extent)| extent.to > from);
        let within = by_start.range(from..to);
        before.into_iter().chain(within).for_each(|(_, extent)| visit(extent));
    }

    /// Whether there is memory for so many bytes more, after letting go of what nobody uses.
    pub fn make_room(&self, bytes: usize) -> bool {
        let mut candidates = self.by_age.borrow().len();
        while self.memory.held.get() + bytes > self.memory.max && candidates > 0 {
            candidates -= 1;
            let oldest = self.by_age.borrow_mut().pop_front();
            let Some(extent) = oldest.and_then(|oldest| oldest.upgrade()) else { continue };
            // One is the map's and one is ours.
            if Rc::strong_count(&extent) > 2 {
                self.by_age.borrow_mut().push_back(Rc::downgrade(&extent));
            } else {
                self.forget(&extent);
            }
        }
        let held = self.memory.held.get();
        held + bytes <= self.memory.max || held == 0
    }

    /// An extent that is to be read, for which [`Extents::make_room`] made room.
    pub fn add(&self, from: u64, to: u64) -> Loan<B> {
        let loan = self.apart(from, to);
        let before = self.by_start.borrow_mut().insert(from, loan.0.clone());
        debug_assert!(before.is_none(), "only gaps are filled");
        let mut by_age = self.by_age.borrow_mut();
        by_age.push_back(Rc::downgrade(&loan.0));
        // What failed, or was exceeding alone, leaves its place behind.
        while by_age.front().is_some_and(|oldest| oldest.strong_count() == 0) {
            by_age.pop_front();
        }
        loan
    }

    /// The same for one fetch alone: nobody else will find it.
    pub fn apart(&self, from: u64, to: u64) -> Loan<B> {
        self.memory.held.set(self.memory.held.get() + bytes(from, to));
        let memory = self.memory.clone();
        let (outcome, waiting) = (OnceCell::new(), RefCell::default());
        Loan(Rc::new(Extent { from, to, outcome, waiting, memory }))
    }

    /// Nobody else will find it any more.
    pub fn forget(&self, extent: &Rc<Extent<B>>) {
        let mut by_start = self.by_start.borrow_mut();
        if by_start.get(&extent.from).is_some_and(|held| Rc::ptr_eq(held, extent)) {
            by_start.remove(&extent.from);
        }
    }

    /// Whether somebody waits for memory.
    pub fn is_waited_for(&self) -> bool {
        !self.memory.turns.borrow().is_empty()
    }

    /// Stands in line for memory.
    pub fn stand_in_line(&self) -> Turn {
        let signal = Rc::new(Signal::new());
        self.memory.turns.borrow_mut().push_back(signal.clone());
        Turn { memory: self.memory.clone(), signal }
    }
}

fn bytes(from: u64, to: u64) -> usize {
    usize::try_from(to - from).expect("an extent is one read, or one record")
}

impl<B> Loan<B> {
    /// What it is a use of.
    pub fn extent(&self) -> &Rc<Extent<B>> {
        &self.0
    }
}

impl<B> Clone for Loan<B> {
    fn clone(&self) -> Self {
        Loan(self.0.clone())
    }
}

impl<B> Deref for Loan<B> {
    type Target = Extent<B>;
    fn deref(&self) -> &Extent<B> {
        &self.0
    }
}

impl<B> Drop for Loan<B> {
    fn drop(&mut self) {
        // The last use: what is left is the map's, and may go.
        if Rc::strong_count(&self.0) <= 2 {
            self.0.memory.tell_the_first();
        }
    }
}

impl<B> Extent<B> {
    /// It was read, or could not be; wakes who waits for it.
    pub fn finish(&self, outcome: Result<B, String>) {
        let first = self.outcome.set(outcome).is_ok();
        debug_assert!(first, "an extent is read once");
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Returns once it was read; an error says why it could not be.
    pub async fn finished(&self) -> Result<&B, &str> {
        poll_fn(|context| match self.outcome.get() {
            Some(_) => Poll::Ready(()),
            None => {
                let mut waiting = self.waiting.borrow_mut();
                if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    waiting.push(context.waker().clone());
                }
                Poll::Pending
            }
        })
        .await;
        match self.outcome.get().expect("it has just been there") {
            Ok(buffer) => Ok(buffer),
            Err(reason) => Err(reason),
        }
    }

    /// What was read, if it was. The same for as long as the extent lives.
    pub fn buffer(&self) -> Option<&B> {
        self.outcome.get()?.as_ref().ok()
    }
}

impl<B> Drop for Extent<B> {
    fn drop(&mut self) {
        if planted::is(Bug::ColdMemoryKept) {
            return;
        }
        self.memory.held.set(self.memory.held.get() - bytes(self.from, self.to));
        self.memory.tell_the_first();
    }
}

impl Memory {
    fn tell_the_first(&self) {
        if let Some(first) = self.turns.borrow().front() {
            first.fire();
        }
    }
}

impl Turn {
    /// Whether everybody who came before has gone.
    pub fn is_first(&self) -> bool {
        self.memory.turns.borrow().front().is_some_and(|first| Rc::ptr_eq(first, &self.signal))
    }

    /// Returns when memory was given back after this call, or everybody who came before has gone.
    pub async fn wait(&self) {
        // What was given back by looking in vain is no reason to look again.
        self.signal.take();
        self.signal.wait().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.memory.turns.borrow_mut().retain(|turn| !Rc::ptr_eq(turn, &self.signal));
        self.memory.tell_the_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(max: usize) -> Extents<Vec<u8>> {
        Extents::new(max)
    }

    fn read(extents: &Extents<Vec<u8>>, from: u64, to: u64) {
        extents.add(from, to).finish(Ok(vec![0; (to - from) as usize]));
    }

    fn gaps(extents: &Extents<Vec<u8>>, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        extents.gaps(from, to, &mut gaps);
        gaps
    }

    #[test]
    fn gaps_and_loans_cover_what_is_wanted() {
        let extents = extents(1 << 20);
        read(&extents, 100, 200);
        read(&extents, 200, 250);
        extents.add(300, 400);
        type Row<'a> = (u64, u64, &'a [(u64, u64)], &'a [u64]);
        #[rustfmt::skip]
        let rows: &[Row<'_>] = &[
            // from, to, gaps, extents
            (  0, 100, &[(0, 100)],                          &[]),
            (  0, 101, &[(0, 100)],                          &[100]),
            (150, 160, &[],                                  &[100]),
            (150, 220, &[],                                  &[100, 200]),
            (250, 300, &[(250, 300)],                        &[]),
            (199, 500, &[(250, 300), (400, 500)],            &[100, 200, 300]),
            (  0, 500, &[(0, 100), (250, 300), (400, 500)],  &[100, 200, 300]),
            (400, 500, &[(400, 500)],                        &[]),
        ];
        for (from, to, expected, starts) in rows {
            let mut loans = Vec::new();
            extents.lend(*from, *to, &mut loans);
            let lent: Vec<u64> = loans.iter().map(|loan| loan.from).collect();
            assert_eq!((&gaps(&extents, *from, *to)[..], &lent[..]), (*expected, *starts), "{from}..{to}");
        }
    }

    #[test]
    fn the_oldest_that_nobody_uses_goes_first() {
        let extents = extents(300);
        for start in [0, 100, 200] {
            read(&extents, start, start + 100);
        }
        let mut lent = Vec::new();
        extents.lend(0, 1, &mut lent);
        assert!(extents.make_room(100));
        assert_eq!(gaps(&extents, 0, 300), [(100, 200)], "the oldest is lent, the next one goes");
        extents.lend(200, 201, &mut lent);
        assert!(extents.make_room(100) && !extents.make_room(101), "both are lent");
        assert_eq!(extents.memory_bytes(), 200);
        lent.clear();
        assert!(extents.make_room(300));
        assert_eq!(extents.memory_bytes(), 0);
    }

    #[test]
    fn what_is_lent_counts_until_the_last_use_ends() {
        let extents = extents(100);
        read(&extents, 0, 100);
        let mut lent = Vec::new();
        extents.lend(0, 100, &mut lent);
        extents.forget(lent[0].extent());
        assert_eq!((gaps(&extents, 0, 100), extents.memory_bytes()), (vec![(0, 100)], 100));
        let second = lent[0].clone();
        lent.clear();
        assert!(!extents.make_room(1));
        drop(second);
        assert_eq!(extents.memory_bytes(), 0);
    }

    #[test]
    fn more_than_all_memory_is_had_by_one_alone() {
        let extents = extents(100);
        assert!(extents.make_room(1000));
        let whole = extents.add(0, 1000);
        assert!(!extents.make_room(1));
        whole.finish(Err("EIO".into()));
        extents.forget(whole.extent());
        drop(whole);
        assert!(extents.make_room(1000));
    }

    #[test]
    fn who_waits_is_told_in_turn_when_memory_is_given_back() {
        let extents = extents(100);
        let loan = extents.add(0, 100);
        assert!(!extents.is_waited_for());
        let (first, second) = (extents.stand_in_line(), extents.stand_in_line());
        assert!(first.is_first() && !second.is_first() && extents.is_waited_for());
        drop(loan);
        assert!(first.signal.take() && !second.signal.is_fired());
        drop(first);
        assert!(second.is_first() && second.signal.take());
        drop(second);
        assert!(!extents.is_waited_for());
    }
}
