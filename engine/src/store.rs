//! The store: the only public door of the engine. One per shard.
//!
//! Everything but [`Store::open`], [`Store::fetch`] and [`Store::close`] is synchronous: appending is a
//! memory operation, and what must be durable waits for the watermark.
//!
//! The ladder, in physical offsets: `start ≤ durable ≤ written ≤ appended`. Nothing at or after `durable`
//! is ever read by a consumer.

use std::borrow::Cow;
use std::cell::{Ref, RefCell, RefMut};
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::append::Appending;
use crate::batch::Batch;
use crate::env::{Env, Signal};
use crate::keys::{FoundByKey, KeyQuery};
use crate::log::{Loan, Log, Pin, ReadSlice, Wanted, fetch};
use crate::offset::{PhysicalOffset, QueueOffset};
use crate::opening;
use crate::planted::{self, Bug};
use crate::retention::Retention;
use crate::sealing::Sealing;
use crate::space::SpaceLimits;
use crate::state::{Entry, QueueRef, State, queue_min_key};

/// What an append promises: durable once the watermark reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// The outcome of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Durable once [`Store::durable`] reaches it.
    pub ticket: Ticket,
    /// Milliseconds since 1970; never less than an earlier batch's.
    pub store_timestamp_ms: i64,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Length of a segment file; fixed when the store is made.
    pub segment_bytes: u64,
    /// Log frames in flight to the disk at once.
    pub writes_in_flight_max: usize,
    /// Memory for the newest durable frames; the oldest go first.
    pub tail_cache_bytes: usize,
    /// Memory for records that are read from the files: being read, read ahead, kept, and being sent. At the bound, reads
    /// wait their turn; one record, or one read's worth of them, gets through however small it is.
    pub cold_bytes_max: usize,
    /// Appended and not yet durable; an append beyond is refused as busy.
    pub appended_bytes_max: usize,
    /// How writes are made durable.
    pub flush: FlushHow,
    /// Answer before the flush (`flush = "async"`): tickets are durable as soon as written, flushed on a timer.
    pub answer_before_flush: bool,
    /// What happens as the disk fills up.
    pub space: SpaceLimits,
    /// How long records are kept.
    pub retention: Retention,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            segment_bytes: 256 << 20,
            writes_in_flight_max: 4,
            tail_cache_bytes: 64 << 20,
            cold_bytes_max: 32 << 20,
            appended_bytes_max: 64 << 20,
            flush: FlushHow::Probe,
            answer_before_flush: false,
            space: SpaceLimits::default(),
            retention: Retention::default(),
        }
    }
}

/// How writes are made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushHow {
    /// Measure both at start and take the faster.
    Probe,
    /// `write`, then `fdatasync`.
    Fdatasync,
    /// Files opened `O_DSYNC`.
    Dsync,
}

/// What recovery found and chose; printed in the banner and the log.
#[derive(Debug, Clone)]
pub struct OpenReport {
    /// Records in the log.
    pub records: u64,
    /// Live facts.
    pub facts: u64,
    /// Segment files.
    pub segments: usize,
    /// Sidecars found or made: their segments were not read.
    pub sidecars: usize,
    /// Of these, made because they were missing or bad.
    pub sidecars_made: usize,
    /// Bytes of the log read: what follows the newest sidecar, and a little beyond the end.
    pub replayed_bytes: u64,
    /// Length of the torn tail that was cut.
    pub torn_bytes: u64,
    /// The way chosen.
    pub flush: FlushHow,
    /// Why that flush: the two medians measured, or "configured".
    pub flush_reason: String,
    /// Median time to make one block durable that way.
    pub flush_median_us: u64,
    /// False when the folder has no `O_DIRECT`.
    pub direct_io: bool,
}

/// Why an append was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A write or flush failed; what it holds is unknown, and nothing is written any more.
    #[error("the log is poisoned: {0}")]
    Poisoned(String),
    /// The disk is slower than the senders.
    #[error("{unflushed} bytes are waiting for the disk, of at most {max}")]
    Busy {
        /// Accepted and not yet durable.
        unflushed: usize,
        /// `appended_bytes_max`.
        max: usize,
    },
    /// The batch, a key or a value is too large.
    #[error("batch, key or value of {bytes} bytes exceeds {max}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// At the bound of facts.
    #[error("more than {max} facts")]
    TooManyFacts {
        /// The limit.
        max: usize,
    },
    /// Fact changes are taken a little longer than records; writing resumes by itself.
    #[error("the disk has no room for another segment")]
    DiskFull,
    /// Records are refused before the disk has nothing left; fact changes are taken, and writing resumes by itself.
    #[error("{used_percent} percent of the disk are used, and records are refused from {refuse_percent} on")]
    DiskNearlyFull {
        /// Of the disk, in percent.
        used_percent: u8,
        /// `SpaceLimits::refuse_percent`.
        refuse_percent: u8,
    },
    /// [`Store::close`] was called.
    #[error("the store is closing")]
    Closing,
}

/// How much one read may return.
#[derive(Debug, Clone, Copy)]
pub struct ReadBudget {
    /// Records returned.
    pub records_max: usize,
    /// Their bytes; a first record may exceed it.
    pub bytes_max: usize,
    /// Entries examined, matching or not.
    pub entries_max: usize,
}

/// Where the records of a read lie.
pub struct Reading<E: Env> {
    /// Offset to go on from: everything before it was examined.
    pub next_offset: QueueOffset,
    /// Records in the pieces.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Where they are, in queue order.
    pub pieces: Vec<Piece<E>>,
}

/// A run of neighbouring records.
#[derive(Debug)]
pub enum Piece<E: Env> {
    /// In memory.
    Hot(Slice<E>),
    /// On disk: [`Store::fetch`] gets it, checked.
    Cold {
        /// Where the one record begins.
        physical: PhysicalOffset,
        /// Its length.
        len: u32,
        /// Its checksum.
        crc: u32,
        /// Keeps its segment from retiring until it was read.
        pin: Pin,
    },
}

impl<E: Env> Piece<E> {
    /// Bytes of its records.
    pub fn size(&self) -> usize {
        match self {
            Piece::Hot(slice) => slice.bytes().len(),
            Piece::Cold { len, .. } => *len as usize,
        }
    }

    /// Its records, whole, if they are in memory.
    pub fn hot(&self) -> Option<&[u8]> {
        match self {
            Piece::Hot(slice) => Some(slice.bytes()),
            Piece::Cold { .. } => None,
        }
    }

    /// The records of fetched pieces, back to back, as one run of bytes. Nothing is copied if there is only one piece.
    pub fn gather(pieces: &[Piece<E>]) -> Cow<'_, [u8]> {
        let mut runs = pieces.iter().map(|piece| piece.hot().expect("a fetched piece is hot"));
        match pieces {
            [_] => Cow::Borrowed(runs.next().expect("there is one")),
            _ => Cow::Owned(runs.collect::<Vec<_>>().concat()),
        }
    }
}

/// Bytes of a buffer that stays alive.
#[derive(Debug)]
pub struct Slice<E: Env> {
    buffer: Held<E::Buffer>,
    start: u32,
    len: u32,
}

/// What keeps a slice's bytes.
#[derive(Debug)]
enum Held<B> {
    /// A frame of the tail cache.
    Frame(Rc<B>),
    /// A read from a file.
    Read(Loan<B>),
}

impl<E: Env> Slice<E> {
    /// The bytes; the address is the same for as long as the slice lives.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer()[self.start as usize..][..self.len as usize]
    }

    fn buffer(&self) -> &E::Buffer {
        match &self.buffer {
            Held::Frame(frame) => frame,
            Held::Read(read) => read.buffer().expect("slices are made of what was read"),
        }
    }
}

/// A read from disk that could not be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The disk says no.
    #[error("reading {file} at {position}: {error}")]
    Io {
        /// The segment.
        file: String,
        /// File position.
        position: u64,
        /// What the system said.
        error: String,
    },
    /// What was read is not what was written. It is not served.
    #[error("record at {physical} in {file} fails its checksum")]
    Corrupt {
        /// The segment.
        file: String,
        /// The record's physical offset.
        physical: u64,
    },
    /// Nothing begins there.
    #[error("no record at {0}")]
    Absent(u64),
}

/// Why a folder could not be opened. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("{folder} is in use by another process")]
    Locked {
        /// The folder.
        folder: String,
    },
    /// Something that was durable is damaged. Nothing was changed.
    #[error("{file} is damaged at {position}: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// File position.
        position: u64,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The disk says no.
    #[error("{operation} {file}: {error}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        file: String,
        /// What the system said.
        error: String,
    },
    /// The folder is not what a store's folder is, or the options are no options.
    #[error("{folder}: {what}")]
    Refused {
        /// The folder.
        folder: String,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// One shard's store. Cheap to clone; all clones are the same store.
pub struct Store<E: Env> {
    shared: Rc<Shared<E>>,
}

struct Shared<E: Env> {
    log: Rc<Log<E>>,
    state: Rc<RefCell<State>>,
    appending: Rc<Appending<E>>,
    sealing: Rc<Sealing<E>>,
    /// Queues that have grown for consumers, each once.
    grown: RefCell<Vec<QueueRef>>,
    lock: RefCell<Option<E::FolderLock>>,
}

impl<E: Env> Store<E> {
    /// Opens the folder, recovering what is there. `progress` fires whenever the watermark moves or the log is poisoned.
    pub async fn open(
        env: E,
        folder: &Path,
        options: StoreOptions,
        progress: Rc<Signal>,
    ) -> Result<(Store<E>, OpenReport), OpenError> {
        let opened = opening::open(env, folder, &options, progress).await?;
        let shared = Shared {
            appending: opened.appending,
            log: opened.log,
            state: opened.state,
            sealing: opened.sealing,
            grown: RefCell::default(),
            lock: RefCell::new(Some(opened.lock)),
        };
        Ok((Store { shared: Rc::new(shared) }, opened.report))
    }

    /// Accepts a batch: from here on it is visible to handlers, and to consumers once durable. Fills in `batch.places()`.
    ///
    /// A batch that changes nothing (no record, facts that have these values) costs nothing; its ticket is the last
    /// batch's, because the values that it found may not be durable yet.
    pub fn append(&self, batch: &mut Batch) -> Result<Appended, AppendError> {
        self.settle();
        self.shared.appending.append(batch)
    }

    /// Everything before this ticket is durable.
    pub fn durable(&self) -> Ticket {
        Ticket(self.shared.log.durable())
    }
    /// The longest that the disk took to make something durable, for whoever looks for the cause of a delay.
    pub fn longest_write(&self) -> Duration {
        self.shared.log.longest_write()
    }
    /// The longest that a frame waited for prepared space: what going on to another segment added.
    pub fn longest_space_wait(&self) -> Duration {
        self.shared.log.longest_space_wait()
    }
    /// Why the log is poisoned, if it is.
    pub fn poisoned(&self) -> Option<String> {
        self.shared.log.poisoned()
    }
    /// Takes the queues that have grown for consumers since the last call.
    pub fn take_grown(&self, grown: &mut Vec<QueueRef>) {
        let mut state = self.settled_mut();
        for queue in self.shared.grown.borrow_mut().drain(..) {
            state.queues.at_mut(queue).grown = false;
            grown.push(queue);
        }
    }

    /// The queue of that name, made in memory if it is new.
    pub fn queue(&self, topic: &str, queue_id: i32) -> QueueRef {
        self.settled_mut().queues.find_or_add(topic, queue_id)
    }
    /// The queue of that name, if the log knows it.
    pub fn find_queue(&self, topic: &str, queue_id: i32) -> Option<QueueRef> {
        self.settled().queues.find(topic, queue_id)
    }
    /// First offset still there, and end of what consumers may see.
    pub fn bounds(&self, queue: QueueRef) -> (QueueOffset, QueueOffset) {
        let state = self.settled();
        let queue = state.queues.at(queue);
        let first = state.first_kept(queue);
        (first, queue.visible_end.max(first))
    }
    /// End of what is accepted, durable or not.
    pub fn appended_end(&self, queue: QueueRef) -> QueueOffset {
        self.settled().queues.at(queue).end()
    }
    /// Adds to `batch` the fact that forgets a queue's records: its minimum becomes its end. Offsets are never reused.
    pub fn forget_queue(&self, batch: &mut Batch, queue: QueueRef) {
        let state = self.settled();
        let queue = state.queues.at(queue);
        let (topic, queue_id) = queue.name();
        batch.put(&queue_min_key(topic, queue_id), &queue.end().0.to_be_bytes());
    }

    /// Plans a read from `from` (within bounds; else empty), keeping entries whose tag hash passes `filter`.
    /// A single record may exceed `bytes_max`: a reader always gets on.
    pub fn read(
        &self,
        queue: QueueRef,
        from: QueueOffset,
        budget: ReadBudget,
        mut filter: impl FnMut(i32) -> bool,
    ) -> Reading<E> {
        let state = self.settled();
        let queue = state.queues.at(queue);
        let mut reading = Reading { next_offset: from, records: 0, bytes: 0, pieces: Vec::new() };
        let mut last_end = 0;
        let mut run = state.run(queue, from);
        let mut next_in_run = 0;
        for _ in 0..budget.entries_max {
            if reading.next_offset >= queue.visible_end || reading.records >= budget.records_max {
                break;
            }
            if next_in_run == run.len() {
                (run, next_in_run) = (state.run(queue, reading.next_offset), 0);
                if run.len() == 0 {
                    self.mend_if_damaged(&state);
                    break;
                }
            }
            let entry = run.at(next_in_run);
            if filter(entry.tag_hash) {
                let size = entry.size as usize;
                if reading.records > 0 && reading.bytes + size > budget.bytes_max {
                    break;
                }
                self.add_piece(&mut reading.pieces, entry, last_end);
                last_end = entry.physical + u64::from(entry.size);
                reading.records += 1;
                reading.bytes += size;
            }
            reading.next_offset.0 += 1;
            next_in_run += 1;
        }
        reading
    }

    /// Plans a read of the one record at a physical offset; `None` if no visible record starts there.
    pub fn locate(&self, physical: PhysicalOffset) -> Option<Piece<E>> {
        let state = self.settled();
        let Some((queue, offset)) = state.place(physical) else {
            self.mend_if_damaged(&state);
            return None;
        };
        let entry = state.entry(queue, offset).filter(|_| offset < queue.visible_end)?;
        let mut pieces = Vec::with_capacity(1);
        self.add_piece(&mut pieces, entry, 0);
        pieces.pop()
    }

    /// Looks for durable records with a key, the newest first; `before`: where an earlier look-up left off.
    pub fn find_by_key(
        &self,
        query: &KeyQuery<'_>,
        before: Option<PhysicalOffset>,
        max: usize,
    ) -> FoundByKey {
        let state = self.settled();
        let early = planted::is(Bug::KeyFoundBeforeDurable);
        let end = if early { self.shared.log.appended() } else { self.shared.log.durable() };
        let before = before.map_or(end, |before| before.0.min(end));
        state.find_by_key(query, before, max).unwrap_or_else(|damaged| {
            tracing::warn!(%damaged, "a look-up of a key waits until it is made again");
            self.shared.sealing.wake();
            FoundByKey { candidates: Vec::new(), next: Some(PhysicalOffset(before)) }
        })
    }

    /// Gets the cold pieces of a reading; afterwards all are hot, and one record may be in several. After an
    /// error they are of no use.
    ///
    /// Waits while [`StoreOptions::cold_bytes_max`] is used up by others' reads and slices, so it must not be awaited by
    /// one who alone could let go of enough of them.
    pub async fn fetch(&self, pieces: &mut Vec<Piece<E>>) -> Result<(), ReadError> {
        let cold = |piece: &Piece<E>| match piece {
            Piece::Cold { physical, len, crc, .. } => {
                Some(Wanted { physical: physical.0, len: *len, crc: *crc })
            }
            Piece::Hot(_) => None,
        };
        let wanted: Vec<Wanted> = pieces.iter().filter_map(cold).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let fetched = fetch(&self.shared.log, &wanted).await?;
        let mut fetched_pieces = Vec::with_capacity(pieces.len());
        for piece in pieces.drain(..) {
            match cold(&piece) {
                Some(record) => {
                    fetched.record(&self.shared.log, &record, |slice| join(&mut fetched_pieces, slice))?
                }
                None => fetched_pieces.push(piece),
            }
        }
        *pieces = fetched_pieces;
        Ok(())
    }

    /// Memory of records that were read from the files, or are being read; see [`StoreOptions::cold_bytes_max`].
    pub fn cold_bytes(&self) -> usize {
        self.shared.log.cold_bytes()
    }

    /// Smallest visible offset whose store time is ≥ `timestamp_ms`, else the end.
    pub fn offset_at_or_after(&self, queue: QueueRef, timestamp_ms: i64) -> QueueOffset {
        let state = self.settled();
        let queue = state.queues.at(queue);
        let end = queue.visible_end.max(queue.min());
        state.stored_at_or_after(queue, timestamp_ms, end)
    }
    /// Largest visible offset whose store time is ≤ `timestamp_ms`; `None` if there is none.
    pub fn offset_at_or_before(&self, queue: QueueRef, timestamp_ms: i64) -> Option<QueueOffset> {
        let after = match timestamp_ms.checked_add(1) {
            Some(next_ms) => self.offset_at_or_after(queue, next_ms),
            None => self.bounds(queue).1,
        };
        let (min, _) = self.bounds(queue);
        after.0.checked_sub(1).map(QueueOffset).filter(|offset| *offset >= min)
    }
    /// Store time of a visible record.
    pub fn store_time(&self, queue: QueueRef, offset: QueueOffset) -> Option<i64> {
        let state = self.settled();
        let queue = state.queues.at(queue);
        let entry = state.entry(queue, offset).filter(|_| offset < queue.visible_end)?;
        state.time_of(entry.physical)
    }

    /// A fact's value. To be let go of before the next append.
    pub fn fact(&self, key: &[u8]) -> Option<Ref<'_, [u8]>> {
        Ref::filter_map(self.settled(), |state| state.fact(key)).ok()
    }
    /// Visits the facts of a range of keys, in order.
    pub fn facts(&self, range: RangeInclusive<&[u8]>, visit: impl FnMut(&[u8], &[u8])) {
        self.settled().visit_facts(range, visit);
    }
    /// Visits the facts whose key begins with `prefix`, in order.
    pub fn facts_with_prefix(&self, prefix: &[u8], visit: impl FnMut(&[u8], &[u8])) {
        self.settled().visit_facts_with_prefix(prefix, visit);
    }

    /// Visits facts from a key on, in order, until `visit` breaks off or `max` facts and deletions of facts were looked at;
    /// deletions are not visited. Returns the key to go on from, the one at which `visit` broke off or the next one;
    /// `None`: there are no more. While a sidecar is damaged it may return `from` and have visited nothing.
    pub fn some_facts(
        &self,
        from: &[u8],
        max: usize,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Option<Vec<u8>> {
        let state = self.settled();
        state.some_facts(from, max, visit).unwrap_or_else(|damaged| {
            tracing::warn!(%damaged, "facts are not known until it is made again");
            self.mend_if_damaged(&state);
            Some(from.to_vec())
        })
    }

    /// The store timestamp that a batch gets if it is appended now: the log's time never goes back, whatever the wall clock
    /// does.
    pub fn stamp(&self, wall_ms: i64) -> i64 {
        self.shared.appending.stamp(wall_ms)
    }

    /// The longest batch that the log takes, with its directory.
    pub fn batch_bytes_max(&self) -> usize {
        self.shared.log.batch_bytes_max()
    }

    /// Physical offsets: first byte kept, and end of what is appended.
    pub fn log_bounds(&self) -> (PhysicalOffset, PhysicalOffset) {
        let first = self.shared.state.borrow().first_base();
        let appended = self.shared.log.appended();
        (PhysicalOffset(first.min(appended)), PhysicalOffset(appended))
    }
    /// Writes and flushes what is accepted, closes the files, lets go of the folder.
    pub async fn close(&self) -> Result<(), AppendError> {
        self.shared.sealing.close().await;
        let closed = self.shared.log.close().await;
        if closed != Err(AppendError::Closing) {
            self.shared.lock.take();
        }
        closed
    }

    /// Returns when every segment that has ended is in a sidecar, or the last attempt to write one failed.
    pub async fn sealed(&self) {
        self.shared.sealing.settle().await;
    }

    /// A look-up found nothing: perhaps because of a damaged sidecar.
    fn mend_if_damaged(&self, state: &State) {
        if state.damaged().is_some() {
            self.shared.sealing.wake();
        }
    }

    /// Adds a record's piece; it joins the last one if that ends where it begins, at `last_end`.
    fn add_piece(&self, pieces: &mut Vec<Piece<E>>, entry: Entry, last_end: u64) {
        if entry.physical == last_end
            && let Some(Piece::Hot(last)) = pieces.last_mut()
            && (last.start + last.len + entry.size) as usize <= last.buffer().len()
        {
            last.len += entry.size;
            return;
        }
        pieces.push(match self.shared.log.cached(entry.physical, entry.size) {
            Some((frame, start)) => Piece::Hot(Slice { buffer: Held::Frame(frame), start, len: entry.size }),
            None => {
                let pin = self.shared.log.segments().pin(entry.physical);
                Piece::Cold { physical: PhysicalOffset(entry.physical), len: entry.size, crc: entry.crc, pin }
            }
        });
    }

    /// Shows everything durable.
    fn settle(&self) {
        if self.shared.log.has_released() {
            drop(self.settled_mut());
        }
    }

    /// The state, with everything durable shown.
    fn settled(&self) -> Ref<'_, State> {
        self.settle();
        self.shared.state.borrow()
    }

    fn settled_mut(&self) -> RefMut<'_, State> {
        let mut state = self.shared.state.borrow_mut();
        self.shared.log.take_released(|mark| {
            let queue_ref = QueueRef(mark.slot);
            let queue = state.queues.at_mut(queue_ref);
            queue.visible_end = queue.visible_end.max(QueueOffset(mark.end));
            if !queue.grown {
                queue.grown = true;
                self.shared.grown.borrow_mut().push(queue_ref);
            }
        });
        state
    }
}

impl<E: Env> Clone for Store<E> {
    fn clone(&self) -> Self {
        Store { shared: self.shared.clone() }
    }
}

/// Adds a slice; it joins the last one if it goes on where that ends.
fn join<E: Env>(pieces: &mut Vec<Piece<E>>, slice: ReadSlice<E::Buffer>) {
    if let Some(Piece::Hot(last)) = pieces.last_mut()
        && let Held::Read(read) = &last.buffer
        && Rc::ptr_eq(read.extent(), slice.loan.extent())
        && last.start + last.len == slice.start
    {
        last.len += slice.len;
        return;
    }
    let ReadSlice { loan, start, len } = slice;
    pieces.push(Piece::Hot(Slice { buffer: Held::Read(loan), start, len }));
}
