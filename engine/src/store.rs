//! The store: the only public door of the engine. One per shard.
//!
//! Everything but [`Store::open`], [`Store::fetch`] and [`Store::close`] is synchronous: appending is a
//! memory operation, and what must be durable waits for the watermark.
//!
//! The ladder, in physical offsets: `start ≤ durable ≤ written ≤ appended`. Nothing at or after `durable`
//! is ever read by a consumer.

use std::cell::Ref;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;

use crate::batch::Batch;
use crate::env::{Env, Signal};
use crate::offset::{PhysicalOffset, QueueOffset};
use crate::state::QueueRef;

/// What an append promises: durable once the watermark reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// The outcome of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub ticket: Ticket,
    pub store_timestamp_ms: i64,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub segment_bytes: u64,
    /// Log frames in flight to the disk at once.
    pub writes_in_flight_max: usize,
    pub tail_cache_bytes: usize,
    /// Appended and not yet durable; an append beyond is refused as busy.
    pub appended_bytes_max: usize,
    pub flush: FlushHow,
    /// Answer before the flush (`flush = "async"`): tickets are durable as soon as written, flushed on a timer.
    pub answer_before_flush: bool,
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
    pub records: u64,
    pub facts: u64,
    pub segments: usize,
    pub torn_bytes: u64,
    pub flush: FlushHow,
    /// Why that flush: the two medians measured, or "configured".
    pub flush_reason: String,
    pub flush_median_us: u64,
    /// False when the folder has no `O_DIRECT`.
    pub direct_io: bool,
}

/// Why an append was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the log is poisoned: {0}")]
    Poisoned(String),
    #[error("{unflushed} bytes are waiting for the disk, of at most {max}")]
    Busy { unflushed: usize, max: usize },
    #[error("batch of {bytes} bytes exceeds {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("the disk has no room for another segment")]
    DiskFull,
    #[error("the store is closing")]
    Closing,
}

/// How much one read may return.
#[derive(Debug, Clone, Copy)]
pub struct ReadBudget {
    pub records_max: usize,
    pub bytes_max: usize,
    /// Entries examined, matching or not.
    pub entries_max: usize,
}

/// Where the records of a read lie.
pub struct Reading<E: Env> {
    pub next_offset: QueueOffset,
    pub records: usize,
    pub bytes: usize,
    pub pieces: Vec<Piece<E>>,
}

/// A run of neighbouring records.
#[derive(Debug)]
pub enum Piece<E: Env> {
    /// In memory.
    Hot(Slice<E>),
    /// On disk: [`Store::fetch`] gets it, checked.
    Cold { physical: PhysicalOffset, len: u32, crc: u32 },
}

/// Bytes of a buffer that stays alive.
#[derive(Debug)]
pub struct Slice<E: Env> {
    pub(crate) buffer: Rc<E::Buffer>,
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl<E: Env> Slice<E> {
    /// The bytes; the address is the same for as long as the slice lives.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start as usize..][..self.len as usize]
    }
}

/// A read from disk that could not be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("reading {file} at {position}: {error}")]
    Io { file: String, position: u64, error: String },
    #[error("record at {physical} in {file} fails its checksum")]
    Corrupt { file: String, physical: u64 },
    #[error("no record at {0}")]
    Absent(u64),
}

/// Why a folder could not be opened. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("{folder} is in use by another process")]
    Locked { folder: String },
    #[error("{file} is damaged at {position}: {what}")]
    Corrupt { file: String, position: u64, what: String },
    #[error("{operation} {file}: {error}")]
    Io { operation: &'static str, file: String, error: String },
    #[error("{folder}: {what}")]
    Refused { folder: String, what: String },
}

/// One shard's store. Cheap to clone; all clones are the same store.
pub struct Store<E: Env> {
    _e: std::marker::PhantomData<E>,
}

#[allow(unused_variables)]
impl<E: Env> Store<E> {
    /// Opens the folder, recovering what is there. `progress` fires whenever the watermark moves or the log is poisoned.
    pub async fn open(
        env: E,
        folder: &Path,
        options: StoreOptions,
        progress: Rc<Signal>,
    ) -> Result<(Store<E>, OpenReport), OpenError> {
        todo!()
    }

    /// Accepts a batch: from here on it is visible to handlers, and to consumers once durable. Fills in `batch.places()`.
    pub fn append(&self, batch: &mut Batch) -> Result<Appended, AppendError> {
        todo!()
    }

    /// Everything before this ticket is durable.
    pub fn durable(&self) -> Ticket {
        todo!()
    }
    /// Why the log is poisoned, if it is.
    pub fn poisoned(&self) -> Option<String> {
        todo!()
    }
    /// Takes the queues that have grown for consumers since the last call.
    pub fn take_grown(&self, grown: &mut Vec<QueueRef>) {
        todo!()
    }

    /// The queue of that name, made in memory if it is new.
    pub fn queue(&self, topic: &str, queue_id: i32) -> QueueRef {
        todo!()
    }
    /// The queue of that name, if the log knows it.
    pub fn find_queue(&self, topic: &str, queue_id: i32) -> Option<QueueRef> {
        todo!()
    }
    /// First offset still there, and end of what consumers may see.
    pub fn bounds(&self, queue: QueueRef) -> (QueueOffset, QueueOffset) {
        todo!()
    }
    /// End of what is accepted, durable or not.
    pub fn appended_end(&self, queue: QueueRef) -> QueueOffset {
        todo!()
    }
    /// Adds to `batch` the fact that forgets a queue's records: its minimum becomes its end. Offsets are never reused.
    pub fn forget_queue(&self, batch: &mut Batch, queue: QueueRef) {
        todo!()
    }

    /// Plans a read from `from` (within bounds; else empty), keeping entries whose tag hash passes `filter`.
    pub fn read(
        &self,
        queue: QueueRef,
        from: QueueOffset,
        budget: ReadBudget,
        filter: impl FnMut(i32) -> bool,
    ) -> Reading<E> {
        todo!()
    }
    /// Plans a read of the one record at a physical offset; `None` if no visible record starts there.
    /// Validated against its queue's entry once fetched.
    pub fn locate(&self, physical: PhysicalOffset) -> Option<Piece<E>> {
        todo!()
    }
    /// Gets the cold pieces of a reading; afterwards all are hot.
    pub async fn fetch(&self, pieces: &mut Vec<Piece<E>>) -> Result<(), ReadError> {
        todo!()
    }

    /// Smallest visible offset whose store time is ≥ `timestamp_ms`, else the end.
    pub fn offset_at_or_after(&self, queue: QueueRef, timestamp_ms: i64) -> QueueOffset {
        todo!()
    }
    /// Largest visible offset whose store time is ≤ `timestamp_ms`; `None` if there is none.
    pub fn offset_at_or_before(&self, queue: QueueRef, timestamp_ms: i64) -> Option<QueueOffset> {
        todo!()
    }
    /// Store time of a visible record.
    pub fn store_time(&self, queue: QueueRef, offset: QueueOffset) -> Option<i64> {
        todo!()
    }

    /// A fact's value.
    pub fn fact(&self, key: &[u8]) -> Option<Ref<'_, [u8]>> {
        todo!()
    }
    /// Visits the facts of a range of keys, in order.
    pub fn facts(&self, range: RangeInclusive<&[u8]>, visit: impl FnMut(&[u8], &[u8])) {
        todo!()
    }
    /// Visits the facts whose key begins with `prefix`, in order.
    pub fn facts_with_prefix(&self, prefix: &[u8], visit: impl FnMut(&[u8], &[u8])) {
        todo!()
    }

    /// Physical offsets: first byte kept, and end of what is appended.
    pub fn log_bounds(&self) -> (PhysicalOffset, PhysicalOffset) {
        todo!()
    }
    /// Writes and flushes what is accepted, closes the files, lets go of the folder.
    pub async fn close(&self) -> Result<(), AppendError> {
        todo!()
    }
}

impl<E: Env> Clone for Store<E> {
    fn clone(&self) -> Self {
        Store { _e: std::marker::PhantomData }
    }
}
