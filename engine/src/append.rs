//! Appending: a batch gets its places in the open frame and is applied to the state, in one step.
//!
//! Synchronous: a memory operation. One per shard, shared by the store and the loop that carries records forward.
//!
//! Not here: whether there is room (`log`), what a change means (`state`), when it is durable (the watermark).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::batch::{Batch, Place};
use crate::env::{Buffer, Env};
use crate::limits::FACTS_MAX;
use crate::log::{ItemKind, Log, Mark, Tail};
use crate::offset::PhysicalOffset;
use crate::planted::{self, Bug};
use crate::space::Writes;
use crate::state::{Entry, State};
use crate::store::{AppendError, Appended, Ticket};

/// See the module. One per shard.
pub(crate) struct Appending<E: Env> {
    env: E,
    log: Rc<Log<E>>,
    state: Rc<RefCell<State>>,
    /// Of the last batch.
    store_timestamp_ms: Cell<i64>,
}

impl<E: Env> Appending<E> {
    /// Of a log whose last batch was stored at that time.
    pub fn new(env: E, log: Rc<Log<E>>, state: Rc<RefCell<State>>, store_timestamp_ms: i64) -> Appending<E> {
        Appending { env, log, state, store_timestamp_ms: Cell::new(store_timestamp_ms) }
    }

    /// Accepts a batch; see [`crate::Store::append`].
    pub fn append(&self, batch: &mut Batch) -> Result<Appended, AppendError> {
        let writes = if batch.records.is_empty() { Writes::Facts } else { Writes::Records };
        let facts = usize::try_from(self.state.borrow().live_facts()).unwrap_or(usize::MAX);
        if facts + batch.facts.len() > FACTS_MAX {
            return Err(AppendError::TooManyFacts { max: FACTS_MAX });
        }
        self.append_as(writes, batch)
    }

    /// Accepts a batch of records that are carried forward; each fact of it is there already.
    pub fn append_carried(&self, batch: &mut Batch) -> Result<Appended, AppendError> {
        self.append_as(Writes::Carried, batch)
    }

    /// See [`crate::Store::stamp`].
    pub fn stamp(&self, wall_ms: i64) -> i64 {
        wall_ms.max(self.store_timestamp_ms.get())
    }

    fn append_as(&self, writes: Writes, batch: &mut Batch) -> Result<Appended, AppendError> {
        let log = &self.log;
        let mut state = self.state.borrow_mut();
        let need = batch.need()?;
        log.admit(need, writes)?;
        if batch.records.is_empty() && !batch.facts.iter().any(|fact| batch.changes(fact, &state)) {
            let ticket = Ticket(log.appended());
            if !batch.lazy {
                log.hurry();
            }
            return Ok(Appended { ticket, store_timestamp_ms: self.store_timestamp_ms.get() });
        }

        let now_ms = self.stamp(batch.wall_ms.unwrap_or_else(|| self.env.wall_ms()));
        self.store_timestamp_ms.set(now_ms);
        let mut tail = log.begin_batch(need);
        append_records(batch, &mut tail, &mut state, now_ms);
        batch.resolve();
        append_facts(batch, &mut tail, &mut state);
        tail.end_batch(batch.lazy, now_ms);
        let ticket = Ticket(tail.appended());
        drop(tail);
        log.end_batch(batch.lazy);
        Ok(Appended { ticket, store_timestamp_ms: now_ms })
    }
}

/// Copies the records of a batch into the open frame, each with the place it gets, and applies them.
fn append_records<B: Buffer>(batch: &mut Batch, tail: &mut Tail<B>, state: &mut State, now_ms: i64) {
    let frame = tail.frame_number();
    for record in &mut batch.records {
        let queue_offset = state.queues.at(record.queue).end();
        let encoded = &batch.bytes[record.start..record.start + record.len];
        let (physical, crc) = tail.item(ItemKind::Record, record.tag_hash, record.len, |physical, out| {
            out.copy_from_slice(encoded);
            // Neither reaches 2^63 before the disk of any machine is full.
            ringmq_wire::record::place(out, queue_offset.0 as i64, physical as i64, now_ms);
        });
        let size = u32::try_from(record.len).expect("a batch is at most BATCH_BYTES_MAX");
        let properties = &encoded[record.len - record.properties_len..];
        let entry = Entry { physical, size, tag_hash: record.tag_hash, crc };
        state.apply_record(record.queue, entry, now_ms, properties);
        record.place = Place { queue_offset, physical_offset: PhysicalOffset(physical) };

        let queue = state.queues.at_mut(record.queue);
        let at = queue.marked.filter(|(marked, _)| *marked == frame).map(|(_, at)| at);
        let mark = Mark { slot: record.queue.0, end: queue_offset.0 + 1 };
        queue.marked = Some((frame, tail.mark(mark, at)));
        if planted::is(Bug::VisibleBeforeDurable) {
            queue.visible_end = queue.end();
        }
    }
}

/// Writes those fact changes of a batch into the open frame that change something, and applies them.
fn append_facts<B: Buffer>(batch: &Batch, tail: &mut Tail<B>, state: &mut State) {
    for fact in batch.facts.iter() {
        if !batch.changes(fact, state) {
            continue;
        }
        let (key, value) = batch.fact(fact);
        let Some(value) = value else {
            let (physical, _) =
                tail.item(ItemKind::FactDelete, 0, key.len(), |_, out| out.copy_from_slice(key));
            state.apply_fact(physical, key, None);
            continue;
        };
        let key_len = u16::try_from(key.len()).expect("keys are at most FACT_KEY_BYTES_MAX");
        let len = size_of::<u16>() + key.len() + value.len();
        let (physical, _) = tail.item(ItemKind::FactPut, 0, len, |_, out| {
            let (len_out, rest) = out.split_at_mut(size_of::<u16>());
            let (key_out, value_out) = rest.split_at_mut(key.len());
            len_out.copy_from_slice(&key_len.to_be_bytes());
            key_out.copy_from_slice(key);
            value_out.copy_from_slice(value);
        });
        state.apply_fact(physical, key, Some(value));
    }
}
