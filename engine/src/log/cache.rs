//! The tail cache: the newest durable frames, kept in memory for consumers that keep up.
//!
//! Invariants
//!  1. Only durable frames enter, in order of their positions.
//!  2. At most the budget is held, but for the newest frame; the oldest go first. What a reader still holds stays alive.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::env::Buffer;

#[derive(Debug)]
struct Cached<B> {
    position: u64,
    buffer: Rc<B>,
    memory_bytes: usize,
}

/// One per shard.
#[derive(Debug)]
pub(crate) struct TailCache<B> {
    frames: VecDeque<Cached<B>>,
    bytes: usize,
    bytes_max: usize,
}

impl<B: Buffer> TailCache<B> {
    /// An empty cache of that budget.
    pub fn new(bytes_max: usize) -> TailCache<B> {
        TailCache { frames: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the frame at `position`, which is past all before; its buffer occupies `memory_bytes`.
    pub fn insert(&mut self, position: u64, buffer: Rc<B>, memory_bytes: usize) {
        debug_assert!(self.frames.back().is_none_or(|last| last.position < position));
        self.bytes += memory_bytes;
        self.frames.push_back(Cached { position, buffer, memory_bytes });
        while self.bytes > self.bytes_max && self.frames.len() > 1 {
            if let Some(oldest) = self.frames.pop_front() {
                self.bytes -= oldest.memory_bytes;
            }
        }
    }

    /// The frame that holds all `len` bytes at `physical`, and where in it they begin.
    pub fn find(&self, physical: u64, len: u32) -> Option<(&Rc<B>, u32)> {
        let after = self.frames.partition_point(|frame| frame.position <= physical);
        let frame = self.frames.get(after.checked_sub(1)?)?;
        let start = physical - frame.position;
        if start + u64::from(len) > frame.buffer.len() as u64 {
            return None;
        }
        Some((&frame.buffer, u32::try_from(start).ok()?))
    }
}
