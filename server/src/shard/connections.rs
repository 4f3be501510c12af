//! What a loop keeps of each connection: the split tail of its input, and the answers of this turn.
//!
//! Connections are state, not tasks. Answers of one turn collect in one buffer per connection and are
//! handed to the network once (corking). Buffers are lent from a pool for the turn only, so an idle
//! connection holds none.
//!
//! Not here: bytes in flight and back-pressure (`ringmq_conn`), what an answer says (`broker`, `namesrv`).

use std::ops::ControlFlow;

use ringmq_conn::frames::Frames;
use ringmq_conn::{ConnId, Network};
use ringmq_wire::FrameError;
use ringmq_wire::frame::Frame;

/// Buffers kept for the next turn, and the capacity above which one is let go instead.
const SPARE_BUFFERS_MAX: usize = 256;
const SPARE_BUFFER_BYTES_MAX: usize = 256 << 10;

/// One per loop.
#[derive(Debug, Default)]
pub struct Connections {
    slots: Vec<Slot>,
    /// Connections with answers of this turn, each with its buffer.
    dirty: Vec<(ConnId, Vec<u8>)>,
    /// Half-closed connections that have been told everything, to be closed at the end of this turn.
    told: Vec<ConnId>,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Slot {
    conn: Option<ConnId>,
    frames: Frames,
    /// Where in `dirty` this connection's buffer is.
    dirty: Option<usize>,
    /// Answers that wait for the watermark or for a read from disk.
    owed: u32,
    /// The peer sends no more, and takes what is owed.
    half_closed: bool,
}

impl Connections {
    /// A connection is there.
    pub fn opened(&mut self, conn: ConnId) {
        let index = conn.slot as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, Slot::default);
        }
        self.slots[index] = Slot { conn: Some(conn), ..Slot::default() };
    }

    /// A connection is gone, with whatever it had left.
    pub fn closed(&mut self, conn: ConnId) {
        if let Some(slot) = self.slot(conn) {
            *slot = Slot::default();
        }
    }

    /// Whether it is there.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.slots.get(conn.slot as usize).is_some_and(|slot| slot.conn == Some(conn))
    }

    /// Every open connection.
    pub fn iter(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.slots.iter().filter_map(|slot| slot.conn)
    }

    /// Feeds received bytes; `on_frame` gets every frame that is whole now, until it breaks.
    pub fn feed(
        &mut self,
        conn: ConnId,
        bytes: &[u8],
        on_frame: impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<(), FrameError> {
        match self.slot(conn) {
            Some(slot) => slot.frames.feed(bytes, on_frame),
            None => Ok(()),
        }
    }

    /// Adds bytes to what leaves at the end of this turn; nothing if the connection is gone.
    pub fn answer(&mut self, conn: ConnId, bytes: &[u8]) {
        let next = self.dirty.len();
        let Some(slot) = self.slot(conn) else { return };
        let at = *slot.dirty.get_or_insert(next);
        if at == next {
            let buffer = self.spare.pop().unwrap_or_default();
            self.dirty.push((conn, buffer));
        }
        self.dirty[at].1.extend_from_slice(bytes);
    }

    /// An answer to this connection waits for something outside the loop.
    pub fn owe(&mut self, conn: ConnId) {
        if let Some(slot) = self.slot(conn) {
            slot.owed += 1;
        }
    }

    /// Such an answer has been given.
    pub fn settle(&mut self, conn: ConnId) {
        let Some(slot) = self.slot(conn) else { return };
        slot.owed = slot.owed.checked_sub(1).expect("only what is owed is settled");
        if slot.owed == 0 && slot.half_closed {
            self.told.push(conn);
        }
    }

    /// The peer sends no more: the connection is closed once it has its answers.
    pub fn half_closed(&mut self, conn: ConnId) {
        let Some(slot) = self.slot(conn) else { return };
        slot.half_closed = true;
        if slot.owed == 0 {
            self.told.push(conn);
        }
    }

    /// Hands one connection's answers to the network now, so that something else can follow them.
    pub fn flush_one<N: Network>(&mut self, conn: ConnId, network: &mut N) {
        if let Some(at) = self.slot(conn).and_then(|slot| slot.dirty)
            && !self.dirty[at].1.is_empty()
        {
            network.queue(conn, &mut self.dirty[at].1);
        }
    }

    /// Hands all answers of this turn to the network. Says whether there were any.
    pub fn flush<N: Network>(&mut self, network: &mut N) -> bool {
        let any = !self.dirty.is_empty();
        let mut dirty = std::mem::take(&mut self.dirty);
        for (conn, mut buffer) in dirty.drain(..) {
            if let Some(slot) = self.slot(conn) {
                slot.dirty = None;
                if !buffer.is_empty() {
                    network.queue(conn, &mut buffer);
                }
            }
            buffer.clear();
            if self.spare.len() < SPARE_BUFFERS_MAX && buffer.capacity() <= SPARE_BUFFER_BYTES_MAX {
                self.spare.push(buffer);
            }
        }
        self.dirty = dirty;
        for conn in self.told.drain(..) {
            network.close(conn);
        }
        any
    }

    fn slot(&mut self, conn: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(conn.slot as usize).filter(|slot| slot.conn == Some(conn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_conn::Event;
    use ringmq_conn::network::BufferRef;
    use std::net::SocketAddr;

    /// Remembers what it was given.
    #[derive(Default)]
    struct Recorder {
        queued: Vec<(u32, Vec<u8>)>,
        closed: Vec<u32>,
    }

    impl Network for Recorder {
        type Slice = Box<[u8]>;
        fn turn(&mut self, _events: &mut Vec<Event>) {}
        fn bytes(&self, _buffer: BufferRef) -> &[u8] {
            &[]
        }
        fn queue(&mut self, conn: ConnId, bytes: &mut Vec<u8>) {
            self.queued.push((conn.slot, std::mem::take(bytes)));
        }
        fn queue_slices(&mut self, _conn: ConnId, _head: &[u8], _slices: &mut Vec<Self::Slice>) {}
        fn unsent(&self, _conn: ConnId) -> usize {
            0
        }
        fn connect(&mut self, _peer: SocketAddr) -> ConnId {
            ConnId { slot: 0, generation: 0 }
        }
        fn pause(&mut self, _conn: ConnId) {}
        fn resume(&mut self, _conn: ConnId) {}
        fn close(&mut self, conn: ConnId) {
            self.closed.push(conn.slot);
        }
        fn stop_accepting(&mut self) {}
        fn arm(&mut self) -> bool {
            true
        }
        fn kick(&self) {}
        fn connections(&self) -> usize {
            0
        }
    }

    fn conn(slot: u32, generation: u32) -> ConnId {
        ConnId { slot, generation }
    }

    #[test]
    fn answers_of_one_turn_leave_as_one_write_per_connection() {
        let (mut connections, mut network) = (Connections::default(), Recorder::default());
        connections.opened(conn(0, 0));
        connections.opened(conn(5, 0));
        connections.answer(conn(5, 0), b"a");
        connections.answer(conn(0, 0), b"x");
        connections.answer(conn(5, 0), b"b");
        assert!(connections.flush(&mut network));
        assert_eq!(network.queued, [(5, b"ab".to_vec()), (0, b"x".to_vec())]);
        assert!(!connections.flush(&mut network));
    }

    #[test]
    fn an_answer_for_an_earlier_life_of_a_slot_goes_nowhere() {
        let (mut connections, mut network) = (Connections::default(), Recorder::default());
        connections.opened(conn(1, 0));
        connections.answer(conn(1, 0), b"old");
        connections.closed(conn(1, 0));
        connections.opened(conn(1, 1));
        connections.answer(conn(1, 0), b"older");
        connections.answer(conn(1, 1), b"new");
        connections.flush(&mut network);
        assert_eq!(network.queued, [(1, b"new".to_vec())]);
    }

    #[test]
    fn a_half_closed_connection_is_closed_after_what_it_is_owed() {
        let (mut connections, mut network) = (Connections::default(), Recorder::default());
        connections.opened(conn(2, 0));
        connections.owe(conn(2, 0));
        connections.half_closed(conn(2, 0));
        connections.flush(&mut network);
        assert!(network.closed.is_empty());
        connections.answer(conn(2, 0), b"stored");
        connections.settle(conn(2, 0));
        connections.flush(&mut network);
        assert_eq!((network.queued.len(), network.closed), (1, vec![2]));
    }
}
