//! The interface between a shard and its connections.
//!
//! Synchronous: nothing here waits. The shard calls [`Network::turn`] when it is woken, handles the
//! events, queues answers, and before it sleeps asks [`Network::arm`]. One per shard.
//!
//! Invariants
//!  1. Events of one connection come in order: `Opened`, any number of `Data` and `Drained`, at most one
//!     `HalfClosed` with no `Data` behind it, `Closed`. (A connection that could not be made has only
//!     `Closed`.)
//!  2. After `Closed`, nothing more is heard of that [`ConnId`]; calls that name it do nothing.
//!  3. A `ConnId` is never reused: slots are, with another generation.
//!  4. A peer's half-close is not a close: what is queued before or after it is still sent.
//!  5. Memory per connection is bounded by [`crate::limits`]: a connection whose unsent bytes pass the
//!     mark is paused by itself until drained; one that does not drain in time is closed.

use std::net::SocketAddr;

/// One connection, for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Index into the network's table; small and dense, fit for a `Vec` beside it.
    pub slot: u32,
    /// Which life of the slot this is.
    pub generation: u32,
}

/// Bytes that stay where they are for as long as the value lives.
///
/// # Safety
/// `bytes()` must return the same address and length on every call until the value is dropped, even
/// when the value itself is moved: the kernel reads from there while a send is in flight.
pub unsafe trait StableBytes: 'static {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

// SAFETY: the heap block of a boxed slice does not move with the box.
unsafe impl StableBytes for Box<[u8]> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// What happened on the network during one turn.
#[allow(missing_docs, reason = "the fields are described with their events")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A connection is there: accepted on a listener (its index in the order of `listen`), or, with
    /// `listener` `None`, one that [`Network::connect`] asked for.
    Opened { conn: ConnId, listener: Option<usize>, peer: SocketAddr },
    /// Bytes came; read them with [`Network::bytes`] before the next turn.
    Data { conn: ConnId, buffer: BufferRef },
    /// The peer has sent its last byte (RFC 9293: a half-close) and may still be reading. What is queued
    /// is sent; the owner queues the answers it still owes and then calls [`Network::close`]. One that
    /// never does is closed for it after [`crate::limits::HALF_CLOSED_MAX`].
    HalfClosed { conn: ConnId },
    /// Everything that was queued has been handed to the kernel, after the connection had been above
    /// its mark; a reader of large answers goes on here.
    Drained { conn: ConnId },
    /// The connection is gone, for the reason given.
    Closed { conn: ConnId, reason: CloseReason },
}

/// Where the bytes of a [`Event::Data`] lie; meaningful to the network that made it, until its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferRef {
    /// Which receive buffer.
    pub index: u32,
    /// How many bytes came.
    pub len: u32,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer reset, or half-closed and was then closed from here.
    Peer,
    /// [`Network::close`] was called first.
    Local,
    /// It did not take its answers in time or passed the bound on unsent bytes.
    SlowReader,
    /// A connection we asked for could not be made.
    ConnectFailed,
    /// The kernel reported this error number.
    Os(i32),
}

/// Many connections, driven in turns.
pub trait Network {
    /// What large answers are sliced from without copying.
    type Slice: StableBytes;

    /// Sends what is queued, receives what has come, and appends what happened to `events`.
    /// Buffers of the previous turn's `Data` events are given back first.
    fn turn(&mut self, events: &mut Vec<Event>);

    /// The bytes of a [`Event::Data`] of the latest turn.
    fn bytes(&self, buffer: BufferRef) -> &[u8];

    /// Queues bytes to be sent. Takes the contents of `bytes` and leaves it empty, by swapping when
    /// nothing else is waiting on the connection, so `bytes` keeps some buffer's capacity.
    fn queue(&mut self, conn: ConnId, bytes: &mut Vec<u8>);

    /// Queues a header and slices behind whatever is queued; the slices are kept until they are sent.
    fn queue_slices(&mut self, conn: ConnId, head: &[u8], slices: &mut Vec<Self::Slice>);

    /// Bytes queued and not yet taken by the kernel.
    fn unsent(&self, conn: ConnId) -> usize;

    /// Asks for a connection to `peer`: `Opened` or `Closed` will tell.
    fn connect(&mut self, peer: SocketAddr) -> ConnId;

    /// Stops receiving. Data that is already on its way may still come.
    fn pause(&mut self, conn: ConnId);

    /// Receives again.
    fn resume(&mut self, conn: ConnId);

    /// Ends a connection once what is queued has been sent (or fails to be). `Closed` will tell.
    fn close(&mut self, conn: ConnId);

    /// Stops accepting on all listeners: the first step of an orderly shutdown.
    fn stop_accepting(&mut self);

    /// Asks to sleep. `true`: the readiness signal will fire when a turn has something to do.
    /// `false`: there is something already; call [`Network::turn`] again.
    fn arm(&mut self) -> bool;

    /// Fires the readiness signal.
    fn kick(&self);

    /// Open connections.
    fn connections(&self) -> usize;
}
