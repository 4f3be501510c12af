//! The log: frames, one after the other, in segments of a fixed size. Here is the format; the bytes are made
//! and read in [`frame`]; [`dump`] prints any file of it, [`verify`] checks a folder.
//!
//! A *physical offset* counts bytes over all segments, headers, directories and padding included: what lies at
//! physical offset p lies in the file of segment p / segment_bytes, at p mod segment_bytes.
//!
//! ```text
//! segment   │ frame │ frame │ … │ seal │ zeros, never written │      a frame never crosses a segment
//!
//! frame     0        128                          block-rounded      all numbers big-endian
//!           │ header │ payload │ directory │ zeros │
//!
//! header    0      4       6    7   8        16      24         32    40        48
//!           │ RMQF │version│kind│ 0 │store id│ epoch │ position │ term│ durable │ store timestamp │
//!           56       60     64       68       72            76         124
//!           │payload │items │batches │records │ previous crc│ zeros …  │ crc │
//!
//! item      0     4     5      6   8     12                  one per record or fact change, in payload order
//!           │ len │ kind│ flags│ 0 │ crc │ tag hash │        flags: 1 = its batch ends here
//!
//! payload   kind 0, record:       RocketMQ's stored message
//!           kind 1, fact put:     key length (u16) │ key │ value
//!           kind 2, fact delete:  key
//! ```
//!
//! `position` is the frame's own physical offset; `durable`: everything before that offset was flushed when the
//! frame was closed; `previous crc` is the header CRC of the frame before (the chain); a header's `crc` is over its
//! first 124 bytes and the directory, an item's over its bytes. Frame kinds: 0 batches, 1 opening, 2 seal, 3 note.
//!
//! A frame of one batch that puts the fact `k` = `v`, first in store 0x1122334455667788, in epoch 1:
//!
//! ```text
//! 0000  52 4d 51 46 00 01 00 00  11 22 33 44 55 66 77 88   magic, version 1, batches, store id
//! 0010  00 00 00 00 00 00 00 01  00 00 00 00 00 00 10 00   epoch 1, position 4096
//! 0020  00 00 00 00 00 00 00 00  00 00 00 00 00 00 10 00   term 0, durable up to 4096
//! 0030  00 00 01 8b cf e5 68 00  00 00 00 04 00 00 00 01   2023-11-14 22:13:20, 4 bytes in 1 item
//! 0040  00 00 00 01 00 00 00 00  de ad be ef 00 00 00 00   of 1 batch, no record, after deadbeef
//!       …
//! 0070  00 00 00 00 00 00 00 00  00 00 00 00 c0 87 c0 87   crc
//! 0080  00 01 6b 76 00 00 00 04  01 01 00 00 1f e9 d3 4e   payload; item: 4 bytes, fact put, batch end, crc
//! 0090  00 00 00 00 00 …                                   no tag hash; zeros up to 4096
//! ```
//!
//! Invariants
//!  1. A block that holds acknowledged bytes is never written again.
//!  2. Frames count in order: what is after a frame that is not durable is not durable either.
//!  3. The log never shrinks below an offset that a frame calls durable. ([`chain`])
//!  4. After a failed write or flush nothing is written any more.
//!
//! Not here: what batches mean ([`crate::state`]). The log gives back [`Mark`]s when their frame is durable.

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::env::{BLOCK_BYTES, DiskSpace, Env, Signal, TaskClass};
use crate::group_commit::GroupCommit;
use crate::limits::{LAZY_DELAY, PREPARE_CHUNK_BYTES, RESERVE_PART_MAX};
use crate::planted::{self, Bug};
use crate::space::{SpaceLevel, SpaceLimits, Writes};
use crate::store::{AppendError, StoreOptions};

mod appender;
mod cache;
mod chain;
pub mod dump;
mod extents;
mod files;
pub mod frame;
mod read_ahead;
mod read_gate;
mod reader;
mod recovery;
pub mod segment;
mod segment_set;
mod tail;
pub mod verify;

use cache::TailCache;
use extents::Extents;
use frame::FrameKind;
use read_ahead::ReadAhead;
use read_gate::ReadGate;
use tail::ClosedFrame;

pub(crate) use chain::Chain;
pub(crate) use extents::Loan;
pub(crate) use frame::ItemKind;
pub(crate) use reader::{Fetched, ReadSlice, Wanted, fetch};
pub(crate) use recovery::{Recovered, chain_before, is_sealed_by, replay};
pub use segment_set::Pin;
pub(crate) use segment_set::SegmentSet;
pub(crate) use tail::{Mark, Need, Sealed, Tail, TailStart};

/// One shard's log while it is open. One per shard.
pub(crate) struct Log<E: Env> {
    env: E,
    segments: SegmentSet<E>,
    sync_writes: bool,
    answer_before_flush: bool,
    writes_in_flight_max: usize,
    appended_bytes_max: usize,
    space_limits: SpaceLimits,
    space_level: Cell<SpaceLevel>,
    disk_space: Cell<DiskSpace>,

    tail: RefCell<Tail<E::Buffer>>,
    commits: RefCell<GroupCommit<ClosedFrame<E::Buffer>>>,
    cache: RefCell<TailCache<E::Buffer>>,
    extents: Extents<E::Buffer>,
    read_limits: read_ahead::Limits,
    read_ahead: RefCell<ReadAhead>,
    read_gate: ReadGate,
    /// Marks of durable frames, until the owner takes them.
    released: RefCell<Vec<Mark>>,
    /// Under `answer_before_flush`: how far it is flushed.
    flushed: Cell<u64>,
    /// From giving a frame to the disk until it was known to be durable, at most.
    longest_write: Cell<Duration>,
    /// Since when a frame waits for prepared space, and the longest that one did.
    space_wait_since: Cell<Option<Duration>>,
    longest_space_wait: Cell<Duration>,

    /// No append any more.
    closing: Cell<bool>,
    /// No loop any more.
    stopped: Cell<bool>,
    tasks: Cell<usize>,
    tick_pending: Cell<bool>,
    /// There may be something to write.
    work: Signal,
    /// The writer went on to another segment, or waits for space.
    space_wanted: Signal,
    /// A write completed or a loop ended; `close` waits for it.
    settled: Signal,
    /// The watermark moved, or the log is poisoned.
    progress: Rc<Signal>,
    /// A segment may have become durable to its end.
    rolled: Signal,
    /// Something changed that may let a segment retire.
    may_retire: Signal,
    /// The loop that lets segments retire waits until the log is flushed up to here.
    retiring_waits_for: Cell<u64>,
}

impl<E: Env> Log<E> {
    /// A log whose frames up to `start.position` are durable.
    pub fn new(
        env: E,
        segments: SegmentSet<E>,
        start: TailStart,
        options: &StoreOptions,
        sync_writes: bool,
        progress: Rc<Signal>,
    ) -> Log<E> {
        let reserve_max = segments.segment_bytes() / RESERVE_PART_MAX;
        let reserve_bytes = options.space.reserve_bytes.min(reserve_max);
        let read_limits = read_ahead::Limits::of(options.cold_bytes_max);
        Log {
            env,
            segments,
            sync_writes,
            answer_before_flush: options.answer_before_flush,
            writes_in_flight_max: options.writes_in_flight_max.max(1),
            appended_bytes_max: options.appended_bytes_max,
            space_limits: SpaceLimits { reserve_bytes, ..options.space },
            space_level: Cell::default(),
            disk_space: Cell::new(DiskSpace { total: u64::MAX, available: u64::MAX }),
            tail: RefCell::new(Tail::new(start)),
            commits: RefCell::new(GroupCommit::new(start.position)),
            cache: RefCell::new(TailCache::new(options.tail_cache_bytes)),
            extents: Extents::new(options.cold_bytes_max),
            read_limits,
            read_ahead: RefCell::new(ReadAhead::new(read_limits)),
            read_gate: ReadGate::default(),
            released: RefCell::default(),
            flushed: Cell::new(start.position),
            longest_write: Cell::new(Duration::ZERO),
            space_wait_since: Cell::default(),
            longest_space_wait: Cell::default(),
            closing: Cell::new(false),
            stopped: Cell::new(false),
            tasks: Cell::new(0),
            tick_pending: Cell::new(false),
            work: Signal::new(),
            space_wanted: Signal::new(),
            settled: Signal::new(),
            progress,
            rolled: Signal::new(),
            may_retire: Signal::new(),
            retiring_waits_for: Cell::new(u64::MAX),
        }
    }

    /// Writes the opening frame of this epoch and makes it durable; the log may be used after that.
    pub async fn open(&self) -> Result<(), String> {
        self.look_at_space().await;
        if planted::is(Bug::EpochReused) && self.durable() > 0 {
            return self.segments.prepare(PREPARE_CHUNK_BYTES).await.map_err(|error| error.to_string());
        }
        self.tail.borrow_mut().control(FrameKind::Opening, self.durable(), |len| self.env.buffer(len));
        self.drain().await
    }

    /// Starts the loops.
    pub fn start(self: &Rc<Self>) {
        appender::start(self);
    }

    /// Physical offset up to which frames are durable.
    pub fn durable(&self) -> u64 {
        self.commits.borrow().durable()
    }

    /// Physical offset just past everything accepted.
    pub fn appended(&self) -> u64 {
        self.tail.borrow().appended()
    }

    /// From giving a frame to the disk until it was known to be durable, at most.
    pub fn longest_write(&self) -> Duration {
        self.longest_write.get()
    }

    /// The longest that a frame waited for prepared space.
    pub fn longest_space_wait(&self) -> Duration {
        self.longest_space_wait.get()
    }

    /// Why the log is poisoned, if it is.
    pub fn poisoned(&self) -> Option<String> {
        self.commits.borrow().poisoned().map(str::to_owned)
    }

    /// Fires when a segment has become durable to its end.
    pub fn rolled(&self) -> &Signal {
        &self.rolled
    }

    /// Fires when something changed that may let a segment retire: the disk's space or time, a new sidecar, the log's end.
    pub fn may_retire(&self) -> &Signal {
        &self.may_retire
    }

    /// The disk's space at the last look.
    pub fn disk_space(&self) -> DiskSpace {
        self.disk_space.get()
    }

    /// Returns once everything before `physical` is flushed, or never will be. For the loop of [`Log::may_retire`].
    pub async fn flushed(&self, physical: u64) {
        if self.flushed_up_to() < physical {
            self.hurry();
        }
        self.retiring_waits_for.set(physical);
        while self.flushed_up_to() < physical && !self.is_over() {
            self.may_retire.wait().await;
        }
        self.retiring_waits_for.set(u64::MAX);
    }

    /// The longest batch that the log takes, header and directory included.
    pub fn batch_bytes_max(&self) -> usize {
        self.tail.borrow().batch_bytes_max()
    }

    /// Whether the disk has so little space that none should be held.
    pub fn is_disk_low(&self) -> bool {
        self.segments.is_disk_full() || self.space_level.get() == SpaceLevel::Refused
    }

    /// Starts a task that the log's end waits for.
    pub fn spawn_background(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        appender::spawn(self, TaskClass::Background, task);
    }

    /// Takes the seals of segments that have become durable to their ends.
    pub fn take_seals(&self) -> Vec<Sealed> {
        self.tail.borrow_mut().take_seals(self.segments.base(self.flushed_up_to()))
    }

    /// Physical offset up to which everything is flushed.
    pub fn flushed_up_to(&self) -> u64 {
        if self.answer_before_flush { self.flushed.get() } else { self.durable() }
    }

    /// The durable frame in memory that holds these bytes, and where in it they begin.
    pub fn cached(&self, physical: u64, len: u32) -> Option<(Rc<E::Buffer>, u32)> {
        let cache = self.cache.borrow();
        cache.find(physical, len).map(|(buffer, start)| (buffer.clone(), start))
    }

    /// Memory of records that were read from the files, or are being read.
    pub fn cold_bytes(&self) -> usize {
        self.extents.memory_bytes()
    }

    /// The files.
    pub fn segments(&self) -> &SegmentSet<E> {
        &self.segments
    }

    /// Whether frames became durable whose marks were not handed out.
    pub fn has_released(&self) -> bool {
        !self.released.borrow().is_empty()
    }

    /// Hands out the marks of frames that became durable.
    pub fn take_released(&self, mut show: impl FnMut(Mark)) {
        let mut released = self.released.borrow_mut();
        released.drain(..).for_each(&mut show);
    }

    /// Whether a batch may be appended now. Nothing changes.
    pub fn admit(&self, need: Need, writes: Writes) -> Result<(), AppendError> {
        let (tail, commits) = (self.tail.borrow(), self.commits.borrow());
        if let Some(reason) = commits.poisoned() {
            return Err(AppendError::Poisoned(reason.to_owned()));
        }
        if self.closing.get() {
            return Err(AppendError::Closing);
        }
        let (bytes, max) = (need.frame_bytes(), tail.batch_bytes_max());
        if bytes > max {
            return Err(AppendError::TooLarge { bytes, max });
        }
        let unflushed = tail.bytes() + commits.bytes();
        if unflushed > 0 && unflushed + bytes > self.appended_bytes_max {
            return Err(AppendError::Busy { unflushed, max: self.appended_bytes_max });
        }
        // Consumers go on while producers are refused: their facts may use the last of the space.
        if !self.space_level.get().admits(writes) {
            return Err(AppendError::DiskNearlyFull {
                used_percent: self.disk_space.get().used_percent(),
                refuse_percent: self.space_limits.refuse_percent,
            });
        }
        if self.segments.is_disk_full() {
            let reserve = self.space_limits.reserve_from(writes);
            if tail.end_with(need) + reserve > self.segments.ready() {
                return Err(AppendError::DiskFull);
            }
        }
        Ok(())
    }

    /// Asks the disk for its space; who may append follows from it until the next look.
    async fn look_at_space(&self) {
        let space = match self.segments.space().await {
            Ok(space) => space,
            // What was known still holds; a disk that is really full says so when space is prepared.
            Err(error) => return tracing::warn!(%error, "the disk does not say how full it is"),
        };
        let level = SpaceLevel::of(space, &self.space_limits);
        let before = self.space_level.replace(level);
        let used_percent = space.used_percent();
        self.disk_space.set(space);
        self.may_retire.fire();
        match (before, level) {
            (SpaceLevel::Refused, SpaceLevel::Warned | SpaceLevel::Roomy) => {
                tracing::warn!(used_percent, "the disk has room again: records are taken");
            }
            (SpaceLevel::Warned | SpaceLevel::Roomy, SpaceLevel::Refused) => {
                tracing::error!(used_percent, "the disk is nearly full: records are refused");
            }
            (SpaceLevel::Roomy, SpaceLevel::Warned) => {
                tracing::warn!(used_percent, "the disk is filling up");
            }
            _ => {}
        }
    }

    /// Begins a batch that was admitted: its items go into the tail, then [`Log::end_batch`].
    pub fn begin_batch(&self, need: Need) -> RefMut<'_, Tail<E::Buffer>> {
        let mut tail = self.tail.borrow_mut();
        let before = self.segments.base(tail.appended());
        let watermark = self.watermark(&tail);
        tail.room(need, watermark, || self.env.monotonic(), |len| self.env.buffer_to_fill(len));
        if self.segments.base(tail.appended()) != before {
            self.space_wanted.fire();
        }
        tail
    }

    /// After the tail's own `end_batch`: sees to it that the batch is written.
    pub fn end_batch(self: &Rc<Self>, lazy: bool) {
        if lazy {
            appender::tick_later(self);
        } else {
            self.work.fire();
        }
    }

    /// Somebody waits for everything accepted so far: a lazy batch waits for company no longer.
    pub fn hurry(&self) {
        self.tail.borrow_mut().hurry();
        self.work.fire();
    }

    /// Writes and flushes what is accepted, ends the loops, closes the files.
    pub async fn close(self: &Rc<Self>) -> Result<(), AppendError> {
        if self.closing.replace(true) {
            return Err(AppendError::Closing);
        }
        self.tail.borrow_mut().hurry();
        self.settle().await;
        if self.answer_before_flush {
            appender::flush_written(self).await;
        }
        let unwritten = !self.tail.borrow().is_empty();
        if !unwritten && self.poisoned().is_none() && self.tail.borrow().is_unnoted() {
            self.note();
            self.settle().await;
        }
        self.stopped.set(true);
        self.read_gate.open();
        self.work.fire();
        self.space_wanted.fire();
        self.may_retire.fire();
        while self.tasks.get() > 0 {
            self.settled.wait().await;
        }
        if self.answer_before_flush {
            appender::flush_written(self).await;
        }
        self.segments.close().await;
        match self.poisoned() {
            Some(reason) => Err(AppendError::Poisoned(reason)),
            None if unwritten => Err(AppendError::DiskFull),
            None => Ok(()),
        }
    }

    /// Returns when nothing waits for the disk, or never will be written.
    async fn settle(&self) {
        self.work.fire();
        while !self.is_settled() {
            self.settled.wait().await;
        }
    }

    fn is_settled(&self) -> bool {
        let in_flight = self.commits.borrow().in_flight();
        let space_end = self.tail.borrow().next_space_end();
        let stuck = self.segments.is_disk_full() && space_end.is_some_and(|end| end > self.segments.ready());
        self.is_over() || (in_flight == 0 && (self.tail.borrow().is_empty() || stuck))
    }

    /// Writes what waits, one frame after the other: before the loops are there.
    async fn drain(&self) -> Result<(), String> {
        loop {
            let Some(space_end) = self.tail.borrow().next_space_end() else { return Ok(()) };
            while self.segments.ready() < space_end {
                let prepared = self.segments.prepare(PREPARE_CHUNK_BYTES).await;
                prepared.map_err(|error| self.failure("preparing", self.segments.ready(), &error))?;
            }
            let issued = self.issue_within(self.segments.ready());
            let (number, position, buffer) = issued.expect("there is a frame and space for it");
            appender::write_frame(self, position, buffer).await?;
            appender::flush_frame(self, position).await?;
            self.complete(number);
        }
    }

    /// The next frame to write, if one may be written now: its number, place and bytes. The reserve is kept free
    /// while more is being prepared, so that it is there when the disk turns out to be full.
    fn issue(&self) -> Option<(u64, u64, Rc<E::Buffer>)> {
        let ready = self.segments.ready();
        let reserve = if self.segments.is_disk_full() { 0 } else { self.space_limits.reserve_bytes };
        self.issue_within(ready.saturating_sub(reserve))
    }

    fn issue_within(&self, space_end: u64) -> Option<(u64, u64, Rc<E::Buffer>)> {
        let mut tail = self.tail.borrow_mut();
        let watermark = self.watermark(&tail);
        let mut commits = self.commits.borrow_mut();
        if commits.poisoned().is_some() || commits.in_flight() >= self.writes_in_flight_max {
            return None;
        }
        if tail.next_space_end()? > space_end {
            if self.space_wait_since.get().is_none() {
                self.space_wait_since.set(Some(self.env.monotonic()));
            }
            self.space_wanted.fire();
            return None;
        }
        if let Some(since) = self.space_wait_since.take() {
            let waited = self.env.monotonic().saturating_sub(since);
            self.longest_space_wait.set(self.longest_space_wait.get().max(waited));
        }
        let frame = tail.take(watermark)?;
        let (position, buffer, end, bytes) =
            (frame.position, frame.buffer.clone(), frame.end(), frame.buffer.len());
        Some((commits.issue(frame, end, bytes), position, buffer))
    }

    /// A frame is written as durably as the log promises.
    fn complete(&self, number: u64) {
        let mut tail = self.tail.borrow_mut();
        let mut cache = self.cache.borrow_mut();
        let mut released = self.released.borrow_mut();
        let mut commits = self.commits.borrow_mut();
        let before = commits.durable();
        commits.complete(number, |frame| {
            cache.insert(frame.position, frame.buffer, frame.memory_bytes);
            released.extend_from_slice(&frame.marks);
            tail.recycle(frame.marks);
        });
        if self.segments.base(commits.durable()) != self.segments.base(before) {
            self.rolled.fire();
        }
        if commits.durable() != before {
            self.segments.set_written(commits.durable());
            self.progress.fire();
        }
        if commits.durable() >= self.retiring_waits_for.get() {
            self.may_retire.fire();
        }
        self.work.fire();
        self.settled.fire();
    }

    /// What frames closed now call durable.
    fn watermark(&self, tail: &Tail<E::Buffer>) -> u64 {
        if planted::is(Bug::WatermarkAhead) {
            return tail.appended().next_multiple_of(BLOCK_BYTES as u64);
        }
        self.flushed_up_to()
    }

    /// Nothing is written or counted from here on.
    fn poison(&self, reason: String) {
        tracing::error!(%reason, "the log is poisoned: nothing is written any more");
        self.commits.borrow_mut().poison(reason);
        self.work.fire();
        self.space_wanted.fire();
        self.may_retire.fire();
        self.settled.fire();
        self.progress.fire();
    }

    /// `LAZY_DELAY` has passed: whether to come back.
    fn tick(&self) -> bool {
        let now = self.env.monotonic();
        let mut tail = self.tail.borrow_mut();
        if let Some(since) = tail.lazy_since() {
            if now.saturating_sub(since) < LAZY_DELAY {
                return true;
            }
            tail.hurry();
            self.work.fire();
            return true;
        }
        let idle = tail.is_empty() && self.commits.borrow().in_flight() == 0;
        if !idle || !tail.is_unnoted() {
            return !idle && tail.is_unnoted();
        }
        let quiet = now.saturating_sub(tail.last_batch_at()) >= LAZY_DELAY;
        drop(tail);
        if quiet {
            self.note();
        }
        true
    }

    /// Adds a frame that says how far the log is durable.
    fn note(&self) {
        let mut tail = self.tail.borrow_mut();
        let watermark = self.watermark(&tail);
        tail.control(FrameKind::Note, watermark, |len| self.env.buffer(len));
        self.work.fire();
    }

    fn is_unnoted(&self) -> bool {
        self.tail.borrow().is_unnoted()
    }

    /// Nothing is written any more.
    pub fn is_over(&self) -> bool {
        self.stopped.get() || self.commits.borrow().poisoned().is_some()
    }

    fn writer(&self, position: u64) -> Rc<E::File> {
        self.segments.writer(position).expect("a frame is issued only where there is prepared space")
    }

    fn failure(&self, operation: &str, position: u64, error: &io::Error) -> String {
        format!("{operation} {} at physical offset {position}: {error}", self.segments.file_name(position))
    }
}
