//! What a handler decided, and what is still to wait for before it may leave the shard.

use ringmq_conn::ConnId;
use ringmq_engine::env::Env;
use ringmq_engine::store::{Piece, Ticket};
use ringmq_wire::HeadFormat;
use std::time::Duration;

use super::handler::pull::ConditionalPull;
use super::handler::query::KeyLookUp;

/// The moment a request is handled at; handed in, never asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, milliseconds since 1970; for what clients see.
    pub wall_ms: i64,
    /// Never goes back; for deadlines.
    pub monotonic: Duration,
}

/// A handler's decision. The reply's bytes are in the buffer that the handler was given.
#[derive(Debug)]
pub enum Outcome<E: Env> {
    /// Send the reply.
    Reply,
    /// Send the reply once the batch is durable.
    ReplyWhenDurable(Ticket),
    /// The reply's header is written; these records are its body.
    Deliver(Vec<Piece<E>>),
    /// No reply yet: these records must be looked at first.
    Inspect(Vec<Piece<E>>, Question),
    /// Nothing to say now: one-way, or parked until a queue grows or a deadline passes.
    Silent,
    /// Nothing that can be answered: close the connection.
    Close,
}

/// What a handler wants to know of records before it can reply.
#[derive(Debug)]
pub enum Question {
    /// Which of them have the key?
    HaveKey(KeyLookUp),
    /// Which of them fulfil the condition of a pull?
    Fulfil(ConditionalPull),
}

/// Records that a handler must see before it can reply: the loop reads them, and hands them to
/// [`Broker::inspected`](super::Broker::inspected). As long as it is on its way, its call has no reply.
#[derive(Debug)]
pub struct Inspection<E: Env> {
    /// Who asked.
    pub conn: ConnId,
    /// As the request was written.
    pub format: HeadFormat,
    /// Correlation number.
    pub opaque: i32,
    /// What is to be read; may be empty, when the handler has worked long enough for one turn.
    pub pieces: Vec<Piece<E>>,
    /// What it is read for.
    pub question: Question,
}

/// Everything that wants to leave the shard, collected during a turn and sent by the loop. One per shard; reused.
#[derive(Debug)]
pub struct Outbox<E: Env> {
    /// Encoded frames, back to back; items point into it.
    pub bytes: Vec<u8>,
    /// In order.
    pub items: Vec<OutItem<E>>,
    /// Records to be read and handed back.
    pub inspections: Vec<Inspection<E>>,
    /// Connections to close after their items.
    pub close: Vec<ConnId>,
}

/// One frame for one connection.
#[derive(Debug)]
pub struct OutItem<E: Env> {
    /// Whom it goes to.
    pub conn: ConnId,
    /// Range of [`Outbox::bytes`].
    pub start: usize,
    /// Its length.
    pub len: usize,
    /// Not before this is durable.
    pub wait: Option<Ticket>,
    /// Body slices that follow the bytes; empty for ordinary replies.
    pub pieces: Vec<Piece<E>>,
    /// If a cold read for this item fails: answer this call with a system error instead.
    pub opaque: i32,
}

impl<E: Env> Default for Outbox<E> {
    fn default() -> Self {
        Outbox { bytes: Vec::new(), items: Vec::new(), inspections: Vec::new(), close: Vec::new() }
    }
}
