//! Answers that wait for the watermark.
//!
//! A first-in-first-out list, because tickets only grow: what becomes durable is always a prefix.
//! The bytes lie back to back in one buffer, so holding an answer allocates nothing under load.
//!
//! Invariants
//!  1. Tickets never decrease from front to back.
//!  2. An answer leaves exactly once: released when durable, or failed when the log is poisoned.
//!
//! Not here: which answers wait (`broker/outcome`), who sends them (`shard_loop`).

use std::collections::VecDeque;

use ringmq_conn::ConnId;
use ringmq_engine::store::Ticket;

/// Released bytes are dropped from the front of the buffer once they are this many.
const RELEASED_BYTES_MAX: usize = 1 << 20;

/// One per shard.
#[derive(Debug, Default)]
pub struct HeldAnswers {
    bytes: Vec<u8>,
    /// Where the first held answer begins in `bytes`.
    start: usize,
    items: VecDeque<Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    ticket: Ticket,
    conn: ConnId,
    opaque: i32,
    len: usize,
}

impl HeldAnswers {
    /// Holds `answer` until `ticket` is durable.
    pub fn hold(&mut self, ticket: Ticket, conn: ConnId, opaque: i32, answer: &[u8]) {
        if let Some(last) = self.items.back() {
            assert!(last.ticket <= ticket, "tickets never decrease");
        }
        self.bytes.extend_from_slice(answer);
        self.items.push_back(Held { ticket, conn, opaque, len: answer.len() });
    }

    /// Hands out every answer that is durable now, in order.
    pub fn release(&mut self, durable: Ticket, mut send: impl FnMut(ConnId, &[u8])) {
        while let Some(held) = self.items.front().filter(|held| held.ticket <= durable).copied() {
            self.items.pop_front();
            send(held.conn, &self.bytes[self.start..self.start + held.len]);
            self.start += held.len;
        }
        self.reclaim();
    }

    /// Hands out every answer that will never be durable, as the call it belongs to and the answer that
    /// must not be sent.
    pub fn fail(&mut self, mut answer: impl FnMut(ConnId, i32, &[u8])) {
        for held in std::mem::take(&mut self.items) {
            answer(held.conn, held.opaque, &self.bytes[self.start..self.start + held.len]);
            self.start += held.len;
        }
        self.reclaim();
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Answers waiting.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    fn reclaim(&mut self) {
        if self.items.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(RELEASED_BYTES_MAX);
            self.start = 0;
        } else if self.start >= RELEASED_BYTES_MAX {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(slot: u32) -> ConnId {
        ConnId { slot, generation: 0 }
    }

    fn released(held: &mut HeldAnswers, durable: u64) -> Vec<(u32, String)> {
        let mut out = Vec::new();
        held.release(Ticket(durable), |conn, bytes| {
            out.push((conn.slot, String::from_utf8_lossy(bytes).into_owned()));
        });
        out
    }

    #[test]
    fn a_prefix_leaves_in_order_and_exactly_once() {
        let mut held = HeldAnswers::default();
        held.hold(Ticket(10), conn(1), 1, b"a");
        held.hold(Ticket(10), conn(2), 2, b"bb");
        held.hold(Ticket(20), conn(1), 3, b"ccc");
        assert_eq!(released(&mut held, 9), []);
        assert_eq!(released(&mut held, 10), [(1, "a".into()), (2, "bb".into())]);
        assert_eq!(released(&mut held, 10), []);
        assert_eq!(released(&mut held, 25), [(1, "ccc".into())]);
        assert!(held.is_empty());
    }

    #[test]
    fn a_poisoned_log_fails_what_is_still_held() {
        let mut held = HeldAnswers::default();
        held.hold(Ticket(10), conn(1), 7, b"stored");
        held.hold(Ticket(20), conn(2), 8, b"lost");
        assert_eq!(released(&mut held, 10).len(), 1);
        let mut failed = Vec::new();
        held.fail(|conn, opaque, answer| failed.push((conn.slot, opaque, answer.to_vec())));
        assert_eq!(failed, [(2, 8, b"lost".to_vec())]);
        assert!(held.is_empty());
    }

    #[test]
    fn released_bytes_are_reclaimed_while_others_still_wait() {
        let mut held = HeldAnswers::default();
        let large = vec![b'x'; RELEASED_BYTES_MAX];
        held.hold(Ticket(1), conn(1), 1, &large);
        held.hold(Ticket(2), conn(2), 2, b"tail");
        assert_eq!(released(&mut held, 1).len(), 1);
        assert_eq!(held.bytes, b"tail");
        assert_eq!(released(&mut held, 2), [(2, "tail".into())]);
    }
}
