//! A disk in memory that notes every write and every flush in order, and can be put back to what a crash would have left.
//!
//! ```text
//!   operations   w w F w w w F w │ w …          F = flush
//!                       flushed ─┘ └ crash here: of the writes since the last flush any blocks may be there
//! ```
//!
//! Invariants
//!  1. A flush covers every write before it in the list.
//!  2. The notes end with a flush; what is written after that is not noted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ringmq_engine::env::Random;

/// What is there or not there as one; a disk that tears such a block breaks the file systems themselves.
pub const BLOCK_BYTES: usize = 4096;

type Block = Arc<[u8; BLOCK_BYTES]>;

/// What a disk holds. Cheap to clone: blocks are shared.
#[derive(Debug, Clone)]
pub struct Blocks {
    blocks: Vec<Option<Block>>,
}

/// One thing that was done to the disk.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Bytes at a position.
    Write {
        /// Where.
        position: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Everything before it is kept from now on.
    Flush,
}

/// The disk as its server sees it. Shared between threads.
pub struct RecordedDisk {
    state: Mutex<State>,
    /// Operations noted so far.
    noted: Arc<AtomicU64>,
}

struct State {
    now: Blocks,
    /// Noted since [`RecordedDisk::record`].
    operations: Vec<Operation>,
    /// Flushes among them.
    flushes: u64,
    /// Nothing is noted once there are so many flushes.
    flushes_max: u64,
}

impl Operation {
    /// Whether it is a flush.
    pub fn is_flush(&self) -> bool {
        matches!(self, Operation::Flush)
    }
}

impl Blocks {
    fn new(bytes: u64) -> Blocks {
        Blocks { blocks: vec![None; usize::try_from(bytes).expect("it fits in memory") / BLOCK_BYTES] }
    }

    fn bytes(&self) -> u64 {
        (self.blocks.len() * BLOCK_BYTES) as u64
    }

    fn read(&self, position: u64, len: usize) -> Vec<u8> {
        let end = position.saturating_add(len as u64).min(self.bytes());
        let mut bytes = Vec::with_capacity(len);
        let mut at = position;
        while at < end {
            let (block, within) = place(at);
            let part = (BLOCK_BYTES - within).min((end - at) as usize);
            match &self.blocks[block] {
                Some(block) => bytes.extend_from_slice(&block[within..within + part]),
                None => bytes.resize(bytes.len() + part, 0),
            }
            at += part as u64;
        }
        bytes
    }

    /// Puts bytes, block by block, where `keeps` says so. Beyond the end nothing is kept.
    fn write(&mut self, position: u64, bytes: &[u8], mut keeps: impl FnMut() -> bool) {
        let mut at = position;
        let mut rest = bytes;
        while !rest.is_empty() && at < self.bytes() {
            let (block, within) = place(at);
            let (part, after) = rest.split_at((BLOCK_BYTES - within).min(rest.len()));
            if keeps() {
                let block = self.blocks[block].get_or_insert_with(|| Arc::new([0; BLOCK_BYTES]));
                Arc::make_mut(block)[within..within + part.len()].copy_from_slice(part);
            }
            at += part.len() as u64;
            rest = after;
        }
    }

    /// Does all of an operation.
    pub fn apply(&mut self, operation: &Operation) {
        if let Operation::Write { position, bytes } = operation {
            self.write(*position, bytes, || true);
        }
    }

    /// Does what a crash may keep of an operation: all, nothing, or some blocks of it.
    pub fn apply_by_chance(&mut self, operation: &Operation, random: &Random) {
        let Operation::Write { position, bytes } = operation else { return };
        match random.below(3) {
            0 => {}
            1 => self.write(*position, bytes, || true),
            _ => self.write(*position, bytes, || random.chance(500)),
        }
    }
}

impl RecordedDisk {
    /// An empty disk.
    pub fn new(bytes: u64) -> RecordedDisk {
        let state = State { now: Blocks::new(bytes), operations: Vec::new(), flushes: 0, flushes_max: 0 };
        RecordedDisk { state: Mutex::new(state), noted: Arc::default() }
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.lock().now.bytes()
    }

    /// Grows with every operation that is noted: [`crate::load::Known::clock`].
    pub fn clock(&self) -> Arc<AtomicU64> {
        self.noted.clone()
    }

    /// Notes everything from here on; returns what is there now.
    pub fn record(&self) -> Blocks {
        let mut state = self.lock();
        state.flushes_max = u64::MAX;
        state.now.clone()
    }

    /// Ends the notes after so many more flushes. What happens after that is after every moment of the clock.
    pub fn record_flushes(&self, flushes: u64) {
        let mut state = self.lock();
        state.flushes_max = state.flushes + flushes;
    }

    /// What was noted, once the notes have ended.
    pub fn recorded(&self) -> Option<Vec<Operation>> {
        let mut state = self.lock();
        state.is_over().then(|| std::mem::take(&mut state.operations))
    }

    /// Lets it hold something else.
    pub fn put_back(&self, blocks: Blocks) {
        self.lock().now = blocks;
    }

    /// Reads; shorter only at the end.
    pub fn read(&self, position: u64, len: usize) -> Vec<u8> {
        self.lock().now.read(position, len)
    }

    /// Writes.
    pub fn write(&self, position: u64, bytes: &[u8]) {
        self.note(Operation::Write { position, bytes: bytes.to_vec() });
    }

    /// Flushes.
    pub fn flush(&self) {
        self.note(Operation::Flush);
    }

    fn note(&self, operation: Operation) {
        let mut state = self.lock();
        state.now.apply(&operation);
        if state.is_over() {
            return;
        }
        state.flushes += u64::from(operation.is_flush());
        state.operations.push(operation);
        let noted = if state.is_over() { u64::MAX } else { state.operations.len() as u64 };
        self.noted.store(noted, Ordering::SeqCst);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.flushes >= self.flushes_max
    }
}

/// The block of a position, and where in it.
fn place(position: u64) -> (usize, usize) {
    let position = usize::try_from(position).expect("the disk fits in memory");
    (position / BLOCK_BYTES, position % BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_across_blocks_and_never_beyond_the_end() {
        let disk = RecordedDisk::new(3 * BLOCK_BYTES as u64);
        let bytes: Vec<u8> = (0..6000u32).map(|n| n as u8).collect();
        disk.write(4000, &bytes);
        assert_eq!(disk.read(4000, 6000), bytes);
        assert_eq!(disk.read(3999, 2), [0, 0]);
        disk.write(3 * BLOCK_BYTES as u64 - 1, &[1, 2]);
        assert_eq!(disk.read(3 * BLOCK_BYTES as u64 - 2, 100), [0, 1]);
    }

    #[test]
    fn a_disk_is_put_back_to_any_moment() {
        let disk = RecordedDisk::new(BLOCK_BYTES as u64);
        disk.write(0, &[1]);
        let mut then = disk.record();
        disk.write(0, &[2]);
        assert_eq!(disk.clock().load(Ordering::SeqCst), 1);
        disk.record_flushes(1);
        assert!(disk.recorded().is_none());
        disk.flush();
        disk.write(0, &[3]);
        assert_eq!(disk.clock().load(Ordering::SeqCst), u64::MAX);
        let operations = disk.recorded().expect("the notes have ended");
        assert_eq!((operations.len(), then.read(0, 1)), (2, vec![1]));
        operations.iter().for_each(|operation| then.apply(operation));
        disk.put_back(then);
        assert_eq!(disk.read(0, 1), [2]);
    }
}
