//! Carrying forward: records in a segment that is about to retire, and that facts still point to, are appended again.
//!
//! ```text
//!   all pointing facts, in steps ─▶ those that point there ─▶ records read, checked ─▶ facts still the same?
//!            ▲                                                                              │ in one go
//!            └── durable ◀── one batch: the records again, the facts with their new places ◀┘
//! ```
//!
//! Invariants
//!  1. A record and its fact move in one batch: after a crash the fact points to the first or to the copy, and both are there.
//!  2. A fact that was changed while its record was read is left alone: the next walk sees what it has become.
//!  3. A segment is clear only once a whole walk found nothing that points there, and the log is durable past the last change
//!     of a pointing fact: also a deletion, which a crash could take back.
//!  4. One batch at a time, of at most [`CARRY_STEP_BYTES`](crate::limits::CARRY_STEP_BYTES); reading gives way to producers
//!     as any cold read does.
//!
//! Not here: the form of pointing facts and the walk over them (`pointing`), which segment goes (`retention`), when it goes
//! (`retiring`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;

use ringmq_wire::record::decode;

use crate::append::Appending;
use crate::batch::{Batch, Target};
use crate::env::{BLOCK_BYTES, Env, yield_once};
use crate::log::{Fetched, Log, Wanted, fetch};
use crate::planted::{self, Bug};
use crate::pointing::{Due, StepMax, Walk, split};
use crate::sidecar::Damaged;
use crate::state::{Entry, State};
use crate::store::{AppendError, ReadError};

/// Carries records forward, and remembers how much it appended. One per shard.
pub(crate) struct Carrying<E: Env> {
    log: Rc<Log<E>>,
    state: Rc<RefCell<State>>,
    appending: Rc<Appending<E>>,
    /// By segment: bytes of the log that carrying took, since the start.
    carried: BTreeMap<u64, u64>,
}

/// Why a segment is not clear.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarryError {
    /// The record is not there, or not as it was written: nothing that is good may be deleted because of that.
    #[error("the record of fact {key} cannot be carried forward, so its segment stays: {error}")]
    Unreadable {
        /// Printable.
        key: String,
        error: ReadError,
    },
    /// Made again from its segment, then tried again.
    #[error("{0}")]
    Damaged(#[from] Damaged),
    /// No room, or the disk is behind.
    #[error("records are not carried forward yet: {0}")]
    Refused(#[from] AppendError),
    #[error("the log is over")]
    Over,
}

impl<E: Env> Carrying<E> {
    pub fn new(log: Rc<Log<E>>, state: Rc<RefCell<State>>, appending: Rc<Appending<E>>) -> Carrying<E> {
        Carrying { log, state, appending, carried: BTreeMap::new() }
    }

    /// Carries forward what lies before `end`, a segment's. Returns a walk that found nothing more: the segment is clear for
    /// as long as [`Carrying::is_clear`] says so.
    pub async fn clear(&mut self, end: u64) -> Result<Walk, CarryError> {
        loop {
            let walk = self.walk(end).await?;
            let last_change = self.state.borrow().pointing.last();
            if let Some(last_change) = last_change
                && !planted::is(Bug::CarryNotAwaited)
                && !planted::is(Bug::DeletionNotAwaited)
            {
                self.log.flushed(last_change + 1).await;
            }
            if self.log.is_over() {
                return Err(CarryError::Over);
            }
            if self.is_clear(&walk) {
                return Ok(walk);
            }
        }
    }

    /// Whether no fact points to where the walk went. Holds for as long as the caller does not wait.
    pub fn is_clear(&self, walk: &Walk) -> bool {
        walk.is_clear(&self.state.borrow()) || planted::is(Bug::CarriedWithoutFact)
    }

    /// Bytes of the log from `base` on that carrying took.
    pub fn bytes_from(&self, base: u64) -> u64 {
        self.carried.range(base..).map(|(_, bytes)| bytes).sum()
    }

    /// Segments before `base` have retired.
    pub fn forget_before(&mut self, base: u64) {
        self.carried = self.carried.split_off(&base);
    }

    async fn walk(&mut self, end: u64) -> Result<Walk, CarryError> {
        let max = StepMax::of(self.log.batch_bytes_max());
        let mut walk = Walk::begin(&mut self.state.borrow_mut(), end, max);
        while !walk.is_over() {
            let due = walk.step(&self.state.borrow())?;
            if due.is_empty() {
                yield_once().await;
            } else {
                self.carry(&due).await?;
            }
            if self.log.is_over() {
                return Err(CarryError::Over);
            }
        }
        Ok(walk)
    }

    /// Appends records again, and waits until they are durable.
    async fn carry(&mut self, due: &[Due]) -> Result<(), CarryError> {
        let records = self.read(due).await?;
        let before = self.log.appended();
        let mut batch = Batch::default();
        for (due, record) in due.iter().zip(&records) {
            if !due.is_still(&self.state.borrow()) {
                continue;
            }
            let (_, rest) = split(&due.value).expect("the walk has found a place in it");
            let record = decode(record).map_err(|_| {
                let (file, physical) =
                    (self.log.segments().file_name(due.entry.physical), due.entry.physical);
                unreadable(due, ReadError::Corrupt { file, physical })
            })?;
            batch.record_again(due.queue, due.entry.tag_hash, &record);
            if !planted::is(Bug::CarriedWithoutFact) {
                batch.put_pointing(&due.key, Target::LastRecord, rest);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.appending.append_carried(&mut batch)?;
        self.note(before, &batch);
        if !planted::is(Bug::CarryNotAwaited) {
            self.log.flushed(self.log.appended()).await;
        }
        Ok(())
    }

    /// Notes what a batch took of the log: its frame, and what was left of a segment that it did not fit into. What others
    /// append at the same time is theirs, so it is at most twice the frame.
    fn note(&mut self, before: u64, batch: &Batch) {
        let need = batch.need().expect("it was appended");
        let frame = need.frame_bytes() as u64;
        let block = BLOCK_BYTES as u64;
        let after = self.log.appended().next_multiple_of(block);
        let took = (after - before / block * block).min(2 * (frame + block));
        let Some(first) = batch.places().next() else { return };
        *self.carried.entry(self.log.segments().base(first.physical_offset.0)).or_default() += took;
    }

    /// The bytes of the records; those that come from the file are checked.
    async fn read(&self, due: &[Due]) -> Result<Vec<Vec<u8>>, CarryError> {
        let hot: Vec<_> = due.iter().map(|due| self.log.cached(due.entry.physical, due.entry.size)).collect();
        let cold = due.iter().zip(&hot).filter(|(_, hot)| hot.is_none());
        let mut cold: Vec<Wanted> = cold.map(|(due, _)| wanted(&due.entry)).collect();
        // As they lie in the file: neighbours come with one read.
        cold.sort_by_key(|record| record.physical);
        let fetched = match cold.is_empty() {
            true => None,
            false => Some(self.fetch(&cold).await?.map_err(|error| unreadable(&due[0], error))?),
        };
        let mut records = Vec::with_capacity(due.len());
        for (due, hot) in due.iter().zip(&hot) {
            let mut record = Vec::with_capacity(due.entry.size as usize);
            match (hot, &fetched) {
                (Some((frame, start)), _) => {
                    record.extend_from_slice(&frame[*start as usize..][..due.entry.size as usize]);
                }
                (None, Some(fetched)) => fetched
                    .record(&self.log, &wanted(&due.entry), |slice| record.extend_from_slice(slice.bytes()))
                    .map_err(|error| unreadable(due, error))?,
                (None, None) => unreachable!("what is not in memory was fetched"),
            }
            records.push(record);
        }
        Ok(records)
    }

    /// Fetches, unless the log ends first: those who hold memory that this waits for may wait for that end.
    async fn fetch(&self, wanted: &[Wanted]) -> Result<Result<Fetched<E::Buffer>, ReadError>, CarryError> {
        let mut fetching = pin!(fetch(&self.log, wanted));
        loop {
            match self.log.may_retire().cut_short(fetching.as_mut()).await {
                Some(fetched) => return Ok(fetched),
                None if self.log.is_over() => return Err(CarryError::Over),
                None => {}
            }
        }
    }
}

fn wanted(entry: &Entry) -> Wanted {
    Wanted { physical: entry.physical, len: entry.size, crc: entry.crc }
}

fn unreadable(due: &Due, error: ReadError) -> CarryError {
    CarryError::Unreadable { key: due.key.escape_ascii().to_string(), error }
}
