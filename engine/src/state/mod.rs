//! What `apply` derives from the log: queues, facts, times. Pure and deterministic.

/// A queue's place in the state's table: cheap, valid for as long as the store is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueRef(pub(crate) u32);

impl QueueRef {
    /// Small and dense, fit for a `Vec` beside the store.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
