//! What a name server wants to send, collected during a turn of its loop.

use ringmq_conn::ConnId;

/// Encoded frames, in order. One per name server; emptied and reused by the loop.
#[derive(Debug, Default)]
pub struct Replies {
    /// Frames back to back; items point into it.
    pub bytes: Vec<u8>,
    /// In the order in which they were decided.
    pub items: Vec<Reply>,
    /// Connections to close after their items.
    pub close: Vec<ConnId>,
}

/// One frame for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Whom it is for.
    pub conn: ConnId,
    /// Where it begins in [`Replies::bytes`].
    pub start: usize,
    /// Bytes.
    pub len: usize,
}

impl Replies {
    /// The frame of one item.
    pub fn frame(&self, item: Reply) -> &[u8] {
        &self.bytes[item.start..item.start + item.len]
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.close.clear();
    }
}
