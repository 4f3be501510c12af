//! Facts that point to a record (pending timers, half messages): their form, and which of them point into what is about to
//! retire. Pure.
//!
//! ```text
//!   key     0x80 … 0xff │ anything                     the first byte says that the fact points
//!
//!   value   0                 8
//!           │ physical offset │ rest │                 big-endian; the rest is the fact's owner's
//! ```
//!
//! The record is kept for as long as the fact is there, however long ago its time came: before its segment retires it is
//! *carried forward* ([`crate::carrying`]), which is appended again to its queue, while the fact is made to point there, in
//! one batch. The copy has a queue offset, a physical offset and a store timestamp of its own, as any append stamps them.
//! All else is the first's, byte for byte: topic, queue, body, properties, flags, born timestamp, hosts, reconsume
//! times, prepared transaction offset. Hence, for those who make such facts:
//!
//!  - how old a record is, its born timestamp tells, not its store timestamp;
//!  - what others were told of its place (a message id, the offset in an answer) names the first place for ever. Whoever
//!    must find the record by that has it in the fact's key or rest;
//!  - readers of the queue come to the copy, too: at its end, while the first is still there or after it has gone. So such
//!    records belong into queues that are read through the facts only (system topics).
//!
//! Invariants
//!  1. A fact points to a record that was accepted with it or before it.
//!  2. It can be read as soon as the batch is durable that made the fact point there: right after that was accepted, also by
//!     carrying it forward, not yet.
//!  3. Each fact's record is its own: of two facts that point to one record, each gets a copy.
//!
//! A fact that points to no record (its queue was forgotten) keeps nothing from retiring.

use std::ops::ControlFlow;

use crate::limits::{CARRY_STEP_BYTES, CARRY_STEP_FACTS, CARRY_STEP_RECORDS};
use crate::offset::PhysicalOffset;
use crate::sidecar::Damaged;
use crate::state::{Entry, QueueRef, State};

/// First bytes of the keys of pointing facts: these and all above.
pub const KEYS_FROM: u8 = 0x80;

/// Whether a fact of that key points to a record.
pub fn is_pointing(key: &[u8]) -> bool {
    key.first().is_some_and(|first| *first >= KEYS_FROM)
}

/// Where the record of a pointing fact begins, and the rest of the fact's value. `None`: it is no such value.
pub fn split(value: &[u8]) -> Option<(PhysicalOffset, &[u8])> {
    let (place, rest) = value.split_first_chunk()?;
    Some((PhysicalOffset(u64::from_be_bytes(*place)), rest))
}

/// What the last changes of pointing facts did, for those who let segments go. Part of the state.
#[derive(Debug, Default)]
pub(crate) struct PointingChanges {
    /// Where in the log the last one lies.
    last: Option<u64>,
    /// The lowest place that a fact was made to point to since the walk began.
    lowest: Option<u64>,
}

impl PointingChanges {
    /// A pointing fact is changed by what lies at `physical`.
    pub fn note(&mut self, physical: u64, value: Option<&[u8]>) {
        self.last = Some(physical);
        if let Some((place, _)) = value.and_then(split) {
            self.lowest = Some(self.lowest.map_or(place.0, |lowest| lowest.min(place.0)));
        }
    }

    /// The log must be durable past here, or the facts may not be what they seem: one that is deleted comes back when its
    /// deletion is lost.
    pub fn last(&self) -> Option<u64> {
        self.last
    }
}

/// A record to be carried forward, with the fact that points to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub key: Box<[u8]>,
    pub value: Box<[u8]>,
    pub queue: QueueRef,
    pub entry: Entry,
}

impl Due {
    /// Whether the fact is still what it was.
    pub fn is_still(&self, state: &State) -> bool {
        state.fact(&self.key) == Some(&self.value)
    }
}

/// At most so much is looked at and taken by one step of a walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepMax {
    /// Facts, and deletions of facts.
    pub facts: usize,
    pub records: usize,
    /// Of records with their facts; a first one may exceed it.
    pub bytes: usize,
}

impl StepMax {
    /// For a log whose batches are at most so long.
    pub fn of(batch_bytes_max: usize) -> StepMax {
        // Half of it: the items of a batch take a little more than their bytes.
        let bytes = CARRY_STEP_BYTES.min(batch_bytes_max / 2);
        StepMax { facts: CARRY_STEP_FACTS, records: CARRY_STEP_RECORDS, bytes }
    }
}

/// A walk over all pointing facts, in steps, looking for those that point before `end`.
///
/// A fact that is changed meanwhile may move from where the walk has not been to where it was: nothing is missed because
/// [`Walk::is_clear`] knows of it.
#[derive(Debug)]
pub(crate) struct Walk {
    end: u64,
    max: StepMax,
    /// Where to go on; `None`: nowhere.
    from: Option<Vec<u8>>,
    found: bool,
}

impl Walk {
    /// Begins one. One at a time.
    pub fn begin(state: &mut State, end: u64, max: StepMax) -> Walk {
        state.pointing.lowest = None;
        Walk { end, max, from: Some(vec![KEYS_FROM]), found: false }
    }

    /// Whether there is nothing more to look at.
    pub fn is_over(&self) -> bool {
        self.from.is_none()
    }

    /// Looks at some facts, and says which of their records are to be carried.
    pub fn step(&mut self, state: &State) -> Result<Vec<Due>, Damaged> {
        let (mut due, mut bytes, mut damaged) = (Vec::new(), 0, None);
        let Some(from) = &self.from else { return Ok(due) };
        let next = state.some_facts(from, self.max.facts, |key, value| {
            let Some((place, _)) = split(value).filter(|(place, _)| place.0 < self.end) else {
                return ControlFlow::Continue(());
            };
            let (queue, entry) = match state.record_at(place) {
                Ok(Some(record)) => record,
                Ok(None) => return ControlFlow::Continue(()),
                Err(found) => {
                    damaged = Some(found);
                    return ControlFlow::Break(());
                }
            };
            let size = entry.size as usize + key.len() + value.len();
            if due.len() >= self.max.records || (!due.is_empty() && bytes + size > self.max.bytes) {
                return ControlFlow::Break(());
            }
            bytes += size;
            due.push(Due { key: key.into(), value: value.into(), queue, entry });
            ControlFlow::Continue(())
        })?;
        if let Some(damaged) = damaged {
            return Err(damaged);
        }
        self.from = next;
        self.found |= !due.is_empty();
        Ok(due)
    }

    /// Whether no fact points before `end`. Holds for as long as the caller does not wait.
    pub fn is_clear(&self, state: &State) -> bool {
        let moved_in = state.pointing.lowest.is_some_and(|lowest| lowest < self.end);
        self.is_over() && !self.found && !moved_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::SidecarSet;

    const SEGMENT: u64 = 1000;

    /// A key, and where it points.
    type Fact<'a> = (&'a [u8], u64);

    /// A state with a record of 10 bytes at each of 0, 100, 200, …, 2900, and these facts.
    fn state_of(facts: &[Fact<'_>]) -> State {
        let mut state = State::over(SidecarSet::default(), SEGMENT);
        let queue = state.queues.find_or_add("timers", 0);
        for number in 0..30 {
            let entry = Entry { physical: number * 100, size: 10, tag_hash: 0, crc: 0 };
            state.apply_record(queue, entry, 0, b"");
        }
        for (key, place) in facts {
            put(&mut state, key, *place);
        }
        state
    }

    fn put(state: &mut State, key: &[u8], place: u64) {
        state.apply_fact(3000, key, Some(&place.to_be_bytes()));
    }

    /// The places that each step of a walk finds.
    fn steps(walk: &mut Walk, state: &State) -> Vec<Vec<u64>> {
        let mut steps = Vec::new();
        while !walk.is_over() {
            let due = walk.step(state).expect("nothing is damaged");
            steps.push(due.iter().map(|due| due.entry.physical).collect());
        }
        steps
    }

    #[test]
    fn a_walk_finds_what_points_before_the_end_and_nothing_else() {
        let max = StepMax { facts: 100, records: 100, bytes: 1000 };
        #[rustfmt::skip]
        let rows: &[(&str, &[Fact<'_>], &[u64])] = &[
            ("no facts",               &[],                                       &[]),
            ("one that points there",  &[(b"\x80a", 0)],                          &[0]),
            ("in the order of keys",   &[(b"\x80b", 100), (b"\xff", 0), (b"\x80a", 900)], &[900, 100, 0]),
            ("none after the end",     &[(b"\x80a", 1000), (b"\x80b", 2900)],     &[]),
            ("two of one record",      &[(b"\x80a", 300), (b"\x80b", 300)],       &[300, 300]),
            ("keys that do not point", &[(b"\x7fa", 0), (b"", 0)],                &[]),
            ("where no record is",     &[(b"\x80a", 50)],                         &[]),
        ];
        for (what, facts, expected) in rows {
            let mut state = state_of(facts);
            let mut walk = Walk::begin(&mut state, SEGMENT, max);
            assert_eq!(steps(&mut walk, &state).concat(), *expected, "{what}");
            assert_eq!(walk.is_clear(&state), expected.is_empty(), "{what}");
        }
        let mut state = state_of(&[]);
        state.apply_fact(3000, b"\x80short", Some(b"1234567"));
        let mut walk = Walk::begin(&mut state, SEGMENT, max);
        assert_eq!(steps(&mut walk, &state), [[0; 0]], "a value without a place");
    }

    #[test]
    fn steps_are_short() {
        let facts: Vec<([u8; 2], u64)> = (0..6).map(|n| ([0x80, n], u64::from(n) * 100)).collect();
        let facts: Vec<Fact<'_>> = facts.iter().map(|(key, place)| (&key[..], *place)).collect();
        // A record of 10 bytes, its key of 2, its value of 8.
        #[rustfmt::skip]
        let rows: &[(StepMax, &[&[u64]])] = &[
            (StepMax { facts: 9, records: 9, bytes: 999 }, &[&[0, 100, 200, 300, 400, 500]]),
            (StepMax { facts: 4, records: 9, bytes: 999 }, &[&[0, 100, 200, 300], &[400, 500]]),
            (StepMax { facts: 9, records: 4, bytes: 999 }, &[&[0, 100, 200, 300], &[400, 500]]),
            (StepMax { facts: 9, records: 9, bytes: 80 },  &[&[0, 100, 200, 300], &[400, 500]]),
            (StepMax { facts: 9, records: 9, bytes: 79 },  &[&[0, 100, 200], &[300, 400, 500]]),
            (StepMax { facts: 9, records: 9, bytes: 1 },   &[&[0], &[100], &[200], &[300], &[400], &[500]]),
        ];
        for (max, expected) in rows {
            let mut state = state_of(&facts);
            let mut walk = Walk::begin(&mut state, SEGMENT, *max);
            assert_eq!(steps(&mut walk, &state), *expected, "{max:?}");
        }
        // Deletions are looked at, too.
        let mut state = state_of(&facts);
        (0..5).for_each(|n| state.apply_fact(3000, &[0x80, n], None));
        let max = StepMax { facts: 2, records: 9, bytes: 999 };
        let mut walk = Walk::begin(&mut state, SEGMENT, max);
        assert_eq!(steps(&mut walk, &state), [vec![], vec![], vec![500]]);
    }

    #[test]
    fn a_fact_that_moves_behind_a_walk_is_not_missed() {
        let max = StepMax { facts: 1, records: 1, bytes: 1 };
        let begin = || {
            let mut state = state_of(&[(b"\x80a", 2000), (b"\x80m", 2000), (b"\x80z", 300)]);
            let mut walk = Walk::begin(&mut state, SEGMENT, max);
            assert_eq!(walk.step(&state), Ok(Vec::new()));
            (state, walk)
        };
        for (what, key, place, is_clear) in [
            ("the same record under a lower key", &b"\x80b"[..], 300, false),
            ("a record that stays", b"\x80b", 1000, true),
        ] {
            let (mut state, mut walk) = begin();
            state.apply_fact(3000, b"\x80z", None);
            put(&mut state, key, place);
            assert_eq!(steps(&mut walk, &state).concat(), [0; 0], "{what}");
            assert_eq!(walk.is_clear(&state), is_clear, "{what}");
        }
        let (mut state, mut walk) = begin();
        assert!(!walk.is_clear(&state), "it is not over");
        state.apply_fact(3000, b"\x80z", None);
        steps(&mut walk, &state);
        assert!(walk.is_clear(&state), "a deletion takes nothing in");
    }

    #[test]
    fn what_has_changed_is_carried_no_more() {
        let max = StepMax { facts: 9, records: 9, bytes: 999 };
        let mut state = state_of(&[(b"\x80a", 0), (b"\x80b", 100), (b"\x80c", 200)]);
        let due = Walk::begin(&mut state, SEGMENT, max).step(&state).expect("nothing is damaged");
        state.apply_fact(3000, b"\x80a", None);
        state.apply_fact(3000, b"\x80b", Some(&[&100_u64.to_be_bytes()[..], b"more"].concat()));
        let still: Vec<bool> = due.iter().map(|due| due.is_still(&state)).collect();
        assert_eq!(still, [false, false, true]);
    }

    #[test]
    fn the_last_change_is_known_whatever_it_did() {
        let mut state = state_of(&[]);
        assert_eq!(state.pointing.last(), None);
        state.apply_fact(3100, b"\x80a", Some(&0_u64.to_be_bytes()));
        state.apply_fact(3200, b"\x80a", None);
        state.apply_fact(3300, b"a", None);
        assert_eq!(state.pointing.last(), Some(3200));
    }
}
