//! The files of one log: found by physical offset, prepared ahead of the writer.
//!
//! ```text
//!   retired │ sealed … │ active: frames │ written before and flushed │ not prepared yet
//!     spare │          │                ^ writer                     ^ ready
//!       └────────────── renamed to the next segment to prepare ─────────┘
//! ```
//!
//! Invariants
//!  1. Everything from the active segment's base to `ready` is in files whose names are durable, and was
//!     written and flushed, with zeros or in a file's earlier life; the writer writes only there, so appending needs no
//!     journal commit. What an earlier process prepared may have less behind it than it seems: writing there is slower,
//!     not wrong.
//!  2. Zeros are written only at or after `ready`: never where a frame may be.
//!  3. A segment is prepared to its last byte before the next one is created.
//!  4. A retired file gets another name only after its old one is durably gone, and is written only after the new one is
//!     durable.
//!
//! Not here: when to prepare more (`appender`).

use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::segment;
use crate::env::{BLOCK_BYTES, DiskSpace, Env, File, OpenHow};
use crate::limits::{PREPARE_WRITE_BYTES, SEGMENT_FILES_OPEN_MAX, SPARE_SEGMENTS_MAX};
use crate::planted::{self, Bug};

/// See the module. One per shard.
pub(crate) struct SegmentSet<E: Env> {
    env: E,
    folder: PathBuf,
    segment_bytes: u64,
    /// Files are opened so that every write is durable when it returns.
    sync_writes: bool,
    files: RefCell<BTreeMap<u64, Rc<E::File>>>,
    /// Opened twice at a time, or one too many: to be closed by somebody who has nothing better to do.
    left: RefCell<Vec<E::File>>,
    ready: Cell<u64>,
    /// Nothing is written before this any more.
    written: Cell<u64>,
    disk_full: Cell<bool>,
    /// Files of retired segments, by their old bases.
    spares: RefCell<BTreeSet<u64>>,
    /// Segments that must not retire, because somebody is about to read them.
    pins: RefCell<BTreeMap<u64, Rc<()>>>,
    /// The segment that is prepared, opened once more: its zeros need not be durable one write after the other.
    preparing: RefCell<Option<(u64, Rc<E::File>)>>,
    /// What prepared space is filled with; kept while writes of its length follow one another.
    zeros: RefCell<Option<Rc<E::Buffer>>>,
}

/// Keeps a segment from retiring.
#[derive(Debug, Clone)]
pub struct Pin {
    _held: Rc<()>,
}

impl<E: Env> SegmentSet<E> {
    /// A set of which nothing is prepared from `active` (a segment's base) on.
    pub fn new(env: E, folder: PathBuf, segment_bytes: u64, sync_writes: bool, active: u64) -> SegmentSet<E> {
        SegmentSet {
            env,
            folder,
            segment_bytes,
            sync_writes,
            files: RefCell::default(),
            left: RefCell::default(),
            ready: Cell::new(active),
            written: Cell::new(active),
            disk_full: Cell::new(false),
            spares: RefCell::default(),
            pins: RefCell::default(),
            preparing: RefCell::default(),
            zeros: RefCell::default(),
        }
    }

    /// Length of every segment.
    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The segment that a physical offset is in, by its base.
    pub fn base(&self, physical: u64) -> u64 {
        physical - physical % self.segment_bytes
    }

    /// The file that a physical offset is in, for messages.
    pub fn file_name(&self, physical: u64) -> String {
        self.path(self.base(physical)).display().to_string()
    }

    /// Physical offset up to which there is prepared space.
    pub fn ready(&self) -> u64 {
        self.ready.get()
    }

    /// Whether the last attempt to prepare found no room on the disk.
    pub fn is_disk_full(&self) -> bool {
        self.disk_full.get()
    }

    /// Space of the disk that the files are on.
    pub async fn space(&self) -> io::Result<DiskSpace> {
        self.env.space(&self.folder).await
    }

    /// Nothing is written before `physical` any more: files of whole segments there may be closed.
    pub fn set_written(&self, physical: u64) {
        self.written.set(physical);
    }

    /// The open file of a prepared place.
    pub fn writer(&self, physical: u64) -> Option<Rc<E::File>> {
        self.files.borrow().get(&self.base(physical)).cloned()
    }

    /// Prepares at most `chunk_bytes` more. An error leaves everything as it was; a full disk is also remembered.
    pub async fn prepare(&self, chunk_bytes: u64) -> io::Result<()> {
        let prepared = self.prepare_chunk(chunk_bytes).await;
        match &prepared {
            Ok(()) => self.disk_full.set(false),
            Err(error) if is_disk_full(error) => self.disk_full.set(true),
            Err(_) => {}
        }
        prepared
    }

    async fn prepare_chunk(&self, chunk_bytes: u64) -> io::Result<()> {
        let from = self.ready.get();
        let base = self.base(from);
        if self.writer(base).is_none() {
            // What an earlier life of this process prepared is not prepared again.
            let file = self.open_or_create(base).await?;
            let len = file.len().await?.min(self.segment_bytes);
            let (file, left) = self.hold(base, file);
            close_all::<E>(left).await;
            if len >= BLOCK_BYTES as u64 {
                file.flush().await?;
                self.ready.set(base + len - len % BLOCK_BYTES as u64);
                return Ok(());
            }
        }
        let file = self.file_to_prepare(base).await?;
        let end = self.segment_bytes.min(from - base + chunk_bytes);
        let mut position = from - base;
        while position < end {
            let bytes = PREPARE_WRITE_BYTES.min(end - position);
            file.write_at(self.zeros(usize::try_from(bytes).expect("a write is small")), position).await?;
            position += bytes;
        }
        file.flush().await?;
        self.ready.set(base + end);
        if end == self.segment_bytes {
            drop(file);
            self.close_preparing().await;
        }
        Ok(())
    }

    async fn file_to_prepare(&self, base: u64) -> io::Result<Rc<E::File>> {
        if let Some((open, file)) = &*self.preparing.borrow()
            && *open == base
        {
            return Ok(file.clone());
        }
        self.close_preparing().await;
        let how = OpenHow { create_new: false, write: true, sync_writes: false };
        let file = Rc::new(self.env.open(&self.path(base), how).await?);
        self.preparing.replace(Some((base, file.clone())));
        Ok(file)
    }

    async fn close_preparing(&self) {
        let open = self.preparing.take();
        close_all::<E>(open.and_then(|(_, file)| Rc::into_inner(file))).await;
    }

    fn zeros(&self, len: usize) -> Rc<E::Buffer> {
        let mut kept = self.zeros.borrow_mut();
        match &*kept {
            Some(zeros) if zeros.len() == len => zeros.clone(),
            _ => kept.insert(Rc::new(self.env.buffer(len))).clone(),
        }
    }

    /// Nothing is prepared for a while: lets go of the zeros.
    pub fn rest(&self) {
        self.zeros.take();
    }

    async fn open_or_create(&self, base: u64) -> io::Result<E::File> {
        let path = self.path(base);
        let how = OpenHow { create_new: false, write: true, sync_writes: self.sync_writes };
        let mut recycled = false;
        let file = match self.env.open(&path, how).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Bound before the wait: nothing stays borrowed meanwhile.
                let spare = self.spares.borrow_mut().pop_first();
                match spare {
                    Some(spare) => {
                        self.env.rename(&self.spare_path(spare), &path).await?;
                        recycled = true;
                        self.env.open(&path, how).await?
                    }
                    None => self.env.open(&path, OpenHow { create_new: true, ..how }).await?,
                }
            }
            opened => opened?,
        };
        // Also when it was there: an attempt that failed half-way may have made it.
        let forgotten =
            planted::is(Bug::FolderSyncForgotten) || (recycled && planted::is(Bug::RecycledNameUnsynced));
        if !forgotten {
            self.env.sync_folder(&self.folder).await?;
        }
        Ok(file)
    }

    /// The segment at `base` leaves the log: its file becomes a spare one, once and for all. An error leaves it open whether
    /// it did.
    pub async fn retire(&self, base: u64) -> io::Result<()> {
        let file = self.files.borrow_mut().remove(&base);
        self.pins.borrow_mut().remove(&base);
        close_all::<E>(file.and_then(Rc::into_inner)).await;
        self.env.rename(&self.path(base), &self.spare_path(base)).await?;
        self.env.sync_folder(&self.folder).await
    }

    /// Takes the spare files that an earlier process left, and removes those that are too many.
    pub async fn take_spares(&self, bases: Vec<u64>) -> io::Result<()> {
        for base in bases {
            self.keep_spare(base, false).await?;
        }
        Ok(())
    }

    /// What becomes of a retired segment's file: it is used again, or removed if there are enough, or the disk has
    /// little space.
    pub async fn keep_spare(&self, base: u64, is_disk_low: bool) -> io::Result<()> {
        if self.spares.borrow().len() < SPARE_SEGMENTS_MAX && !is_disk_low {
            self.spares.borrow_mut().insert(base);
            return Ok(());
        }
        self.env.remove(&self.spare_path(base)).await
    }

    /// Whether somebody reads the segment at `base`, or is about to.
    pub fn is_read(&self, base: u64) -> bool {
        let is_open = |file: &Rc<E::File>| Rc::strong_count(file) > 1;
        let is_pinned = |pin: &Rc<()>| Rc::strong_count(pin) > 1;
        self.files.borrow().get(&base).is_some_and(is_open)
            || self.pins.borrow().get(&base).is_some_and(is_pinned)
    }

    /// The segment of `physical` does not retire as long as the pin is held.
    pub fn pin(&self, physical: u64) -> Pin {
        Pin { _held: self.pins.borrow_mut().entry(self.base(physical)).or_default().clone() }
    }

    fn spare_path(&self, base: u64) -> PathBuf {
        self.folder.join(segment::spare_name(base))
    }

    /// The file to read a physical offset from, opened if it is not. The caller reads, and then calls
    /// [`SegmentSet::close_left`]: a close ends when the kernel's workers come to it, which a busy core delays.
    pub async fn reader(&self, physical: u64) -> io::Result<Rc<E::File>> {
        let base = self.base(physical);
        if let Some(file) = self.writer(base) {
            return Ok(file);
        }
        let how = OpenHow { create_new: false, write: false, sync_writes: false };
        let file = self.env.open(&self.path(base), how).await?;
        let (file, left) = self.hold(base, file);
        self.left.borrow_mut().extend(left);
        Ok(file)
    }

    /// Closes what reading has left open.
    pub async fn close_left(&self) {
        let left = self.left.take();
        close_all::<E>(left).await;
    }

    /// Closes all files that nobody uses.
    pub async fn close(&self) {
        self.close_left().await;
        self.close_preparing().await;
        let files = self.files.take();
        close_all::<E>(files.into_values().filter_map(Rc::into_inner)).await;
    }

    /// Keeps a file open, and gives back those to close: one that is open already, or too many: then the oldest that
    /// nobody uses.
    fn hold(&self, base: u64, file: E::File) -> (Rc<E::File>, Vec<E::File>) {
        let mut files = self.files.borrow_mut();
        let mut left = Vec::new();
        let held = match files.entry(base) {
            Entry::Occupied(held) => {
                left.push(file);
                held.get().clone()
            }
            Entry::Vacant(place) => place.insert(Rc::new(file)).clone(),
        };
        let written = self.base(self.written.get());
        while files.len() > SEGMENT_FILES_OPEN_MAX {
            let unused =
                files.iter().find(|&(&at, file)| at < written && at != base && Rc::strong_count(file) == 1);
            let Some(at) = unused.map(|(&at, _)| at) else { break };
            left.extend(files.remove(&at).and_then(Rc::into_inner));
        }
        (held, left)
    }

    fn path(&self, base: u64) -> PathBuf {
        segment::path(&self.folder, base)
    }
}

/// What was written through them was flushed, or told as failed; failing to close them harms nobody.
async fn close_all<E: Env>(files: impl IntoIterator<Item = E::File>) {
    for file in files {
        let _ = file.close().await;
    }
}

/// Whether an error of preparing says that the disk has no room. A file system that fills up in the middle of a write
/// writes what fits: a short write of zeros harms nobody and is tried again. (Of a frame it poisons.)
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero
    )
}
