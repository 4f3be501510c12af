//! What a handler decided, and what is still to wait for before it may leave the shard.

use ringmq_conn::ConnId;
use ringmq_engine::env::Env;
use ringmq_engine::store::{Piece, Ticket};
use ringmq_wire::HeadFormat;
use std::time::Duration;

use super::facts::waiting::Waiting;
use super::handler::pull::ConditionalPull;
use super::handler::query::KeyLookUp;
use super::handler::send_back::GivenBack;

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
    /// What becomes of this one, that a consumer gives back?
    GivenBack(GivenBack),
}

impl Question {
    /// Nobody waits for the answer: the call was one-way.
    pub fn is_one_way(&self) -> bool {
        match self {
            Question::HaveKey(_) | Question::Fulfil(_) => false,
            Question::GivenBack(given) => given.one_way,
        }
    }
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
    /// Records to be read; each comes back through [`Broker::read_done`](super::Broker::read_done).
    pub reads: Vec<RecordRead<E>>,
}

/// Records that a rule needs and that are not in memory. The loop reads them, whole and checked.
#[derive(Debug)]
pub struct RecordRead<E: Env> {
    /// What for.
    pub what: ReadFor,
    /// One per record, in the order in which their bytes are wanted.
    pub pieces: Vec<Piece<E>>,
}

/// Who needs records.
#[derive(Debug)]
pub enum ReadFor {
    /// These messages, soon to be delivered.
    Waiting(Vec<Waiting>),
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
        let (bytes, items, close) = (Vec::new(), Vec::new(), Vec::new());
        Outbox { bytes, items, inspections: Vec::new(), close, reads: Vec::new() }
    }
}
