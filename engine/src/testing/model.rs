//! A plain model of a store: the list of batches it accepted, and what any prefix of that list amounts to.
//!
//! The oracle after a crash, for `answered` and `appended` batches:
//!
//! ```text
//!   batches   0 ──────────── answered ─────────── appended
//!                            └── the recovered store is exactly one of these prefixes ──┘
//! ```
//!
//! Invariants that [`Model::check`] demands
//!  1. Answered ⊆ recovered ⊆ appended, and what is recovered is a prefix of batches: none is there in part.
//!  2. Per queue: offsets are dense from the minimum, and every record is byte for byte the one accepted. The minimum is
//!     the first record that lies in a segment which has not retired.
//!  3. The facts are exactly those of the prefix.
//!  4. Each record is found by its keys, and by no other ([`super::keyed`]).
//!  5. The pointing facts are those of the prefix, and the record of each is the one that it was made with, wherever that lies
//!     now: what is carried forward is no batch of the model, and seen by nothing else.
//!  6. The recovered store claims nothing durable beyond its end, and shows all of what it recovered.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ringmq_wire::record::{Draft, Records, place};

use super::keyed::{self, properties};
use crate::batch::{Batch, Target};
use crate::env::Env;
use crate::offset::{PhysicalOffset, QueueOffset};
use crate::pointing::{self, is_pointing};
use crate::store::{Appended, Piece, ReadBudget, Store, Ticket};

/// The queues of every workload.
pub const QUEUES: [(&str, i32); 3] = [("orders", 0), ("orders", 1), ("bills", 0)];

/// The queue of the records that facts point to. It is read through them only.
pub const TIMERS: (&str, i32) = ("timers", 0);

/// Between two looks whether what a check wants to read is durable.
const DURABLE_LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// The fact that every batch with facts sets to the batch's number.
pub const NUMBER_KEY: &[u8] = b"number";

/// One batch as it will be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Tells its bytes from every other batch's.
    pub number: u64,
    /// Index into [`QUEUES`] and length of the body.
    pub records: Vec<(usize, usize)>,
    /// Changes of facts; `None` deletes.
    pub facts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Changes of pointing facts, each of another key.
    pub timers: Vec<(Vec<u8>, Timer)>,
    /// Nobody waits for it.
    pub lazy: bool,
}

/// What happens to a pointing fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timer {
    /// It is made, with a record whose body has that length.
    Set(usize),
    /// It is deleted.
    Fire,
    /// If it is there, another takes its place, with the same record.
    Move(Vec<u8>),
}

impl Plan {
    /// Fills a batch for the store.
    pub fn fill<E: Env>(&self, store: &Store<E>, batch: &mut Batch) {
        batch.clear();
        batch.lazy = self.lazy;
        for &(queue, body_bytes) in &self.records {
            let (topic, queue_id) = QUEUES[queue];
            self.with_draft(QUEUES[queue], body_bytes, |draft| {
                batch.record(store.queue(topic, queue_id), self.tag_hash(), draft).expect("a record");
            });
        }
        for (key, value) in &self.facts {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        for (key, timer) in &self.timers {
            match timer {
                Timer::Set(body_bytes) => {
                    let (topic, queue_id) = TIMERS;
                    self.with_draft(TIMERS, *body_bytes, |draft| {
                        batch.record(store.queue(topic, queue_id), self.tag_hash(), draft).expect("a record");
                    });
                    batch.put_pointing(key, Target::LastRecord, &self.number.to_be_bytes());
                }
                Timer::Fire => batch.delete(key),
                Timer::Move(to) => {
                    let Some(value) = store.fact(key).map(|value| value.to_vec()) else { continue };
                    let (place, rest) = pointing::split(&value).expect("a pointing fact");
                    batch.delete(key);
                    batch.put_pointing(to, Target::At(place), rest);
                }
            }
        }
    }

    fn tag_hash(&self) -> i32 {
        i32::try_from(self.number % 7).expect("below 7")
    }

    fn with_draft<T>(
        &self,
        (topic, queue_id): (&str, i32),
        body_bytes: usize,
        then: impl FnOnce(&Draft<'_>) -> T,
    ) -> T {
        let host = "127.0.0.1:10911".parse().expect("an address");
        let body: Vec<u8> = (0..body_bytes as u64).map(|at| (self.number * 31 + at * 7) as u8 | 1).collect();
        then(&Draft {
            topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: i64::try_from(self.number).expect("small"),
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            properties: properties(self.number).as_bytes(),
        })
    }
}

/// One batch that the store accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// What was asked for.
    pub plan: Plan,
    /// Durable once the watermark is here.
    pub ticket: Ticket,
    /// Per record: its queue and its bytes, with its place in them.
    records: Vec<(usize, Vec<u8>)>,
    /// Where the records went that facts point to.
    timer_places: Vec<PhysicalOffset>,
}

/// All batches that a store accepted, in order.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Shared with the models of other moments.
    batches: Vec<Rc<Accepted>>,
}

/// What a prefix of batches amounts to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    /// Where the log begins.
    start: u64,
    /// The records that lie there.
    queues: [Vec<u8>; QUEUES.len()],
    first: [u64; QUEUES.len()],
    counts: [u64; QUEUES.len()],
    facts: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of pointing facts: the rest of the value, and the record without its place and time.
    timers: BTreeMap<Vec<u8>, (Vec<u8>, Vec<u8>)>,
}

impl State {
    fn apply(&mut self, batch: &Accepted) {
        for (queue, bytes) in &batch.records {
            self.counts[*queue] += 1;
            let record = ringmq_wire::record::decode(bytes).expect("it was encoded here");
            if record.physical_offset.cast_unsigned() >= self.start {
                self.queues[*queue].extend_from_slice(bytes);
            } else {
                self.first[*queue] = self.counts[*queue];
            }
        }
        for (key, value) in &batch.plan.facts {
            match value {
                Some(value) => self.facts.insert(key.clone(), value.clone()),
                None => self.facts.remove(key),
            };
        }
        for (key, timer) in &batch.plan.timers {
            match timer {
                Timer::Set(body_bytes) => {
                    let mut record = Vec::new();
                    let encoded =
                        batch.plan.with_draft(TIMERS, *body_bytes, |draft| draft.encode(&mut record));
                    encoded.expect("a record");
                    self.timers.insert(key.clone(), (batch.plan.number.to_be_bytes().to_vec(), record));
                }
                Timer::Fire => {
                    self.timers.remove(key);
                }
                Timer::Move(to) => {
                    if let Some(timer) = self.timers.remove(key) {
                        self.timers.insert(to.clone(), timer);
                    }
                }
            }
        }
    }
}

/// What a check found instead of a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckError {
    /// The store would not serve a record: nothing is known to be wrong but the disk.
    Unread(String),
    /// Something is missing, is there in part, or has other bytes.
    Wrong(String),
}

impl From<String> for CheckError {
    fn from(wrong: String) -> CheckError {
        CheckError::Wrong(wrong)
    }
}

impl Model {
    /// Notes a batch that the store has just accepted.
    pub fn accept(&mut self, plan: Plan, batch: &Batch, appended: Appended) {
        let mut records = Vec::new();
        for (&(queue, body_bytes), at) in plan.records.iter().zip(batch.places()) {
            let mut bytes = Vec::new();
            plan.with_draft(QUEUES[queue], body_bytes, |draft| draft.encode(&mut bytes)).expect("a record");
            let offset = |offset: u64| i64::try_from(offset).expect("small");
            let (queue_offset, physical) = (offset(at.queue_offset.0), offset(at.physical_offset.0));
            place(&mut bytes, queue_offset, physical, appended.store_timestamp_ms);
            records.push((queue, bytes));
        }
        let timer_places = batch.places().skip(records.len()).map(|at| at.physical_offset).collect();
        self.batches.push(Rc::new(Accepted { plan, ticket: appended.ticket, records, timer_places }));
    }

    /// Whether a fact points to a record that was carried forward.
    pub fn is_any_carried<E: Env>(&self, store: &Store<E>) -> bool {
        let first: BTreeSet<_> = self.batches.iter().flat_map(|batch| &batch.timer_places).collect();
        let mut carried = false;
        store.facts_with_prefix(b"", |key, value| {
            let place = pointing::split(value).filter(|_| is_pointing(key));
            carried |= place.is_some_and(|(place, _)| !first.contains(&place));
        });
        carried
    }

    /// Batches accepted.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether nothing was accepted.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many batches the watermark covers.
    pub fn answered(&self, durable: Ticket) -> usize {
        self.batches.partition_point(|batch| batch.ticket <= durable)
    }

    /// The model when it had so many batches.
    pub fn first(&self, batches: usize) -> Model {
        Model { batches: self.batches[..batches].to_vec() }
    }

    /// When this is durable, everything is.
    pub fn last_ticket(&self) -> Ticket {
        self.batches.last().map_or(Ticket::default(), |batch| batch.ticket)
    }

    /// The number of records of a queue in the first `batches` batches.
    pub fn queue_len(&self, queue: usize, batches: usize) -> u64 {
        let records = self.batches[..batches].iter().flat_map(|batch| &batch.records);
        records.filter(|(of, _)| *of == queue).count() as u64
    }

    /// Forgets the batches from `batches` on, and returns what they were to do.
    pub fn cut(&mut self, batches: usize) -> Vec<Plan> {
        self.batches.drain(batches..).map(|batch| batch.plan.clone()).collect()
    }

    /// Compares a store that has just been opened with the prefixes it may be; returns which one it is.
    pub async fn check<E: Env>(
        &self,
        env: &E,
        store: &Store<E>,
        answered: usize,
    ) -> Result<usize, CheckError> {
        let found = observe(env, store).await?;
        let mut state = State { start: found.start, ..State::default() };
        self.batches[..answered].iter().for_each(|batch| state.apply(batch));
        let mut matching = (state == found).then_some(answered);
        for (index, batch) in self.batches.iter().enumerate().skip(answered) {
            state.apply(batch);
            if state == found {
                matching = Some(index + 1);
            }
        }
        matching.ok_or_else(|| self.explain(&found, answered).into())
    }

    fn explain(&self, found: &State, answered: usize) -> String {
        let mut state = State { start: found.start, ..State::default() };
        let mut lines = String::new();
        for index in 0..=self.batches.len() {
            if index >= answered {
                let facts = keys_that_differ(&state.facts, &found.facts);
                let timers = keys_that_differ(&state.timers, &found.timers);
                let same_bytes = (0..QUEUES.len()).all(|queue| state.queues[queue] == found.queues[queue]);
                let bytes = if same_bytes { "equal" } else { "different" };
                lines += &format!(
                    "\n  {index} batches: records {:?} to {:?}, bytes {bytes}; facts that differ: {facts}, and of those that \
                     point: {timers}",
                    state.first, state.counts
                );
            }
            if let Some(batch) = self.batches.get(index) {
                state.apply(batch);
            }
        }
        format!(
            "recovered records {:?} to {:?} in {QUEUES:?}, {} facts: no prefix between {answered} answered and {} appended \
             batches{lines}",
            found.first,
            found.counts,
            found.facts.len(),
            self.batches.len()
        )
    }
}

fn keys_that_differ<V: PartialEq>(expected: &BTreeMap<Vec<u8>, V>, found: &BTreeMap<Vec<u8>, V>) -> String {
    let mut names: Vec<String> = Vec::new();
    for key in expected.keys().chain(found.keys()) {
        if expected.get(key) != found.get(key) {
            names.push(key.escape_ascii().to_string());
        }
    }
    names.sort();
    names.dedup();
    format!("{names:?}")
}

/// Everything a store has, through its public door; looked at again if a segment retired meanwhile.
async fn observe<E: Env>(env: &E, store: &Store<E>) -> Result<State, CheckError> {
    loop {
        let start = store.log_bounds().0;
        let observed = observe_once(env, store).await;
        if store.log_bounds().0 == start {
            return observed;
        }
    }
}

async fn observe_once<E: Env>(env: &E, store: &Store<E>) -> Result<State, CheckError> {
    let mut state = State { start: store.log_bounds().0.0, ..State::default() };
    for (queue, (topic, queue_id)) in QUEUES.into_iter().enumerate() {
        let Some(at) = store.find_queue(topic, queue_id) else { continue };
        let end = store.bounds(at).1;
        if end != store.appended_end(at) {
            return Err(format!("{topic}/{queue_id} shows {end:?} of {:?}", store.appended_end(at)).into());
        }
        let (first, records) = read_all(store, at).await?;
        (state.first[queue], state.counts[queue]) = (first.0, end.0);
        state.queues[queue] = records;
    }
    keyed::check(store, &state.queues).await?;
    if let Some(at) = store.find_queue(TIMERS.0, TIMERS.1) {
        let (first, records) = read_all(store, at).await?;
        check_dense(&records, first)?;
    }
    let mut pointing = Vec::new();
    store.facts_with_prefix(b"", |key, value| {
        if is_pointing(key) {
            pointing.push((key.to_vec(), value.to_vec()));
        } else {
            state.facts.insert(key.to_vec(), value.to_vec());
        }
    });
    for (key, value) in pointing {
        let timer = pointed(env, store, &key, &value).await?;
        state.timers.insert(key, timer);
    }
    let (start, appended) = store.log_bounds();
    if !(start.0..=appended.0).contains(&store.durable().0) {
        let durable = store.durable();
        return Err(format!("watermark {durable:?} is outside the log, {start:?} to {appended:?}").into());
    }
    Ok(state)
}

/// The rest of a pointing fact's value, and its record without place and time.
async fn pointed<E: Env>(
    env: &E,
    store: &Store<E>,
    key: &[u8],
    value: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), CheckError> {
    let key = key.escape_ascii();
    let (at, rest) = pointing::split(value).ok_or(format!("fact {key} names no place"))?;
    // It may just have been carried forward.
    while store.durable().0 <= at.0 {
        if let Some(reason) = store.poisoned() {
            return Err(CheckError::Unread(format!(
                "the record of fact {key} will never be durable: {reason}"
            )));
        }
        env.sleep(DURABLE_LOOK_INTERVAL).await;
    }
    let mut piece = store.locate(at);
    if piece.is_none() {
        // As for a read: a sidecar may have turned out to be damaged.
        store.sealed().await;
        piece = store.locate(at);
    }
    let mut pieces = vec![piece.ok_or(format!("fact {key} points to {at:?}, where no record is"))?];
    let fetched = store.fetch(&mut pieces).await;
    fetched.map_err(|error| CheckError::Unread(error.to_string()))?;
    let mut record = hot(&pieces)?;
    let decoded = ringmq_wire::record::decode(&record).map_err(|error| format!("fact {key}: {error}"))?;
    if decoded.physical_offset.cast_unsigned() != at.0 {
        return Err(format!("fact {key} points to {at:?}, to a record of {}", decoded.physical_offset).into());
    }
    place(&mut record, 0, 0, 0);
    Ok((rest.to_vec(), record))
}

/// Copies take the next offsets of their queue, too.
fn check_dense(records: &[u8], first: QueueOffset) -> Result<(), CheckError> {
    for (record, expected) in Records::new(records).zip(first.0..) {
        let record = record.map_err(|error| format!("number {expected} of {TIMERS:?}: {error}"))?;
        if record.queue_offset.cast_unsigned() != expected {
            return Err(format!("number {expected} of {TIMERS:?} says it is {}", record.queue_offset).into());
        }
    }
    Ok(())
}

fn hot<E: Env>(pieces: &[Piece<E>]) -> Result<Vec<u8>, CheckError> {
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Hot(slice) => bytes.extend_from_slice(slice.bytes()),
            Piece::Cold { .. } => return Err("a fetched piece is still cold".to_string().into()),
        }
    }
    Ok(bytes)
}

/// All records of a queue, and the offset of the first.
async fn read_all<E: Env>(
    store: &Store<E>,
    queue: crate::state::QueueRef,
) -> Result<(QueueOffset, Vec<u8>), CheckError> {
    let budget = ReadBudget { records_max: 7, bytes_max: 64 * 1024, entries_max: 1000 };
    let mut bytes = Vec::new();
    let (mut first, end) = store.bounds(queue);
    let mut next = first;
    while next < end {
        let mut reading = store.read(queue, next, budget, |_| true);
        if reading.records == 0 {
            // A sidecar may have turned out to be damaged: it is made again, and readers wait. Until then a queue may
            // seem to begin too early.
            store.sealed().await;
            if bytes.is_empty() {
                first = store.bounds(queue).0;
                next = first;
            }
            reading = store.read(queue, next, budget, |_| true);
        }
        if next < end && (reading.records == 0 || reading.next_offset <= next) {
            return Err(format!("a read from {next:?} of {end:?} returns nothing").into());
        }
        next = reading.next_offset;
        let fetched = store.fetch(&mut reading.pieces).await;
        fetched.map_err(|error| CheckError::Unread(error.to_string()))?;
        bytes.extend(hot(&reading.pieces)?);
    }
    Ok((first, bytes))
}
