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

    /// Where the oldest frame begins: from there on the log is in memory.
    pub fn begin(&self) -> Option<u64> {
        self.frames.front().map(|frame| frame.position)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::env::sim::{Sim, SimBuffer};

    fn cache_of(positions: &[u64], bytes_max: usize) -> TailCache<SimBuffer> {
        let env = Sim::new(1).env();
        let mut cache = TailCache::new(bytes_max);
        for position in positions {
            cache.insert(*position, Rc::new(env.buffer(4096)), 8192);
        }
        cache
    }

    #[test]
    fn bytes_are_found_in_the_frame_that_holds_all_of_them() {
        let cache = cache_of(&[4096, 12288], 1 << 20);
        #[rustfmt::skip]
        let rows = [
            (4095, 1, None), (4096, 4096, Some(0)), (4096, 4097, None), (8191, 1, Some(4095)), (8192, 1, None),
            (12288, 1, Some(0)), (16383, 1, Some(4095)), (16383, 2, None), (16384, 1, None),
        ];
        for (physical, len, start) in rows {
            assert_eq!(cache.find(physical, len).map(|(_, start)| start), start, "{len} bytes at {physical}");
        }
    }

    #[test]
    fn the_oldest_frames_go_when_the_memory_is_spent_and_the_newest_stays() {
        for (budget, kept) in [(0, 1), (8192, 1), (16384, 2), (20000, 2), (1 << 20, 4)] {
            let positions = [0, 4096, 8192, 12288];
            let cache = cache_of(&positions, budget);
            let found = positions.iter().filter(|position| cache.find(**position, 1).is_some()).count();
            assert_eq!(found, kept, "of {budget} bytes");
            assert!(cache.find(12288, 1).is_some());
        }
    }
}
