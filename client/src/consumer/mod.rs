//! Consuming as a member of a group.
//!
//! ```text
//!            member            who is in the group, which queues are ours, what to commit
//!           ╱   │   ╲
//!      puller puller puller    one per queue: pull, wait for room, pull on
//!           ╲   │   ╱
//!       Delivery Delivery …    handed to you; ack, or retry
//! ```
//!
//! | file | what |
//! |---|---|
//! | `member` | the group: rebalance, offsets, locks, end |
//! | `assigned` | one queue that is ours: its progress, its puller |
//! | `pull` | one pull; and [`Puller`], pulling by hand |
//! | `delivery` | one message in your hands |
//! | `give_back` | messages that were not consumed |
//! | `run` | handlers: [`ConsumerBuilder::run`], [`ConsumerBuilder::run_orderly`] |
//!
//! Invariants
//!  1. A message is delivered until it is acknowledged, or became a dead letter: at least once.
//!  2. A queue's committed offset never passes a message that is neither acknowledged nor given back.
//!  3. What is held in memory is bounded: by messages and offsets per queue, and by bytes together.
//!  4. Nothing of a queue that was handed to another member is delivered or committed any more.

mod assigned;
mod delivery;
mod filter;
mod give_back;
mod member;
mod pull;
mod run;

pub use crate::rules::allocation::Allocation;
pub use delivery::{Deliveries, Delivery};
pub use filter::Filter;
pub use pull::{Pulled, Puller};
pub use run::HandlerError;

use crate::core::Core;
use crate::error::Error;
use crate::limits::BYTES_UNCONSUMED_MAX;
use crate::queue::Queue;
use crate::stored_message::StoredMessage;
use member::{Delivering, Running};
use ringmq_wire::name;
use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

/// Times that a message is tried again before it becomes a dead letter. (RocketMQ: `maxReconsumeTimes`)
const RETRIES: u16 = 16;

/// Where a group begins in a queue that it has no offset in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the first message still there.
    First,
    /// With what is stored from now on.
    #[default]
    Last,
    /// With the first message stored at this time or later.
    Timestamp(SystemTime),
}

/// A consumer to be.
///
/// Finish it with [`ConsumerBuilder::run`] (a handler, several at once), [`ConsumerBuilder::run_orderly`] (a handler, queue by
/// queue in order) or [`ConsumerBuilder::stream`] (you take messages yourself). A client has at most one consumer per group.
///
/// ```no_run
/// # async fn example(client: ringmq_client::Client) -> Result<(), ringmq_client::Error> {
/// use ringmq_client::Filter;
///
/// client
///     .consumer("billing")
///     .subscribe("orders", Filter::tags("created || paid"))
///     .run(16, |message| async move {
///         println!("{}: {}", message.id(), message.text());
///         Ok(())
///     })
///     .await
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a consumer does nothing before `run`, `run_orderly` or `stream`"]
pub struct ConsumerBuilder {
    core: Arc<Core>,
    settings: Settings,
}

/// What a consumer was told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub group: String,
    pub subscriptions: Vec<(String, Filter)>,
    pub from: Start,
    pub broadcast: bool,
    pub allocation: Allocation,
    pub retries: u16,
    pub bytes_max: usize,
    /// These queues and no others, whoever else is in the group.
    pub assigned: Option<Vec<Queue>>,
}

impl ConsumerBuilder {
    pub(crate) fn new(core: Arc<Core>, group: String) -> ConsumerBuilder {
        let settings = Settings {
            group,
            subscriptions: Vec::new(),
            from: Start::default(),
            broadcast: false,
            allocation: Allocation::default(),
            retries: RETRIES,
            bytes_max: BYTES_UNCONSUMED_MAX,
            assigned: None,
        };
        ConsumerBuilder { core, settings }
    }

    /// Consumes what the filter admits of a topic. All members of a group must subscribe alike.
    pub fn subscribe(mut self, topic: impl Into<String>, filter: Filter) -> ConsumerBuilder {
        self.settings.subscriptions.push((topic.into(), filter));
        self
    }

    /// Where the group begins in a queue that it has no offset in; unless said, with what is stored from now on.
    pub fn from(mut self, from: Start) -> ConsumerBuilder {
        self.settings.from = from;
        self
    }

    /// Every member gets every message. Offsets are not kept: each start begins as [`ConsumerBuilder::from`] says. A message
    /// that was not acknowledged is not delivered again.
    pub fn broadcast(mut self) -> ConsumerBuilder {
        self.settings.broadcast = true;
        self
    }

    /// How queues are divided among the members; all members of a group must divide alike.
    pub fn allocation(mut self, allocation: Allocation) -> ConsumerBuilder {
        self.settings.allocation = allocation;
        self
    }

    /// How often a message is tried again before it goes to the group's dead-letter topic; 16 unless said.
    pub fn retries(mut self, times: u16) -> ConsumerBuilder {
        self.settings.retries = times;
        self
    }

    /// Bytes of messages that are held and not acknowledged, 64 MiB unless said. It may be passed by what one pull per
    /// queue brings; then pulling pauses.
    pub fn bytes_unconsumed_max(mut self, bytes: usize) -> ConsumerBuilder {
        self.settings.bytes_max = bytes;
        self
    }

    /// Consumes these queues, and no others, whoever else is in the group: you divide the queues yourself. Their topics must be
    /// subscribed to. Offsets are kept as usual.
    pub fn assign(mut self, queues: impl IntoIterator<Item = Queue>) -> ConsumerBuilder {
        self.settings.assigned = Some(queues.into_iter().collect());
        self
    }

    /// Hands every message to `handler`, at most `concurrency` at once. `Ok` acknowledges it; an error or a panic has it tried
    /// again later, with the broker's growing pauses, and in the end makes it a dead letter.
    ///
    /// Ends with `Ok` when the client is shut down, after the handlers that were at work. Dropping the future stops the
    /// handlers where they are; their messages are delivered again.
    pub async fn run<H, F>(self, concurrency: usize, handler: H) -> Result<(), Error>
    where
        H: Fn(StoredMessage) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        run::run(self.stream().await?, concurrency, handler).await
    }

    /// Hands messages to `handler` in the order of their queue, one at a time per queue and several queues at once. The broker
    /// locks each queue for one member. After an error the same message is tried again a second later, and its queue waits;
    /// after [`ConsumerBuilder::retries`] it becomes a dead letter and the queue goes on.
    ///
    /// Ends, and is dropped, as [`ConsumerBuilder::run`].
    pub async fn run_orderly<H, F>(self, handler: H) -> Result<(), Error>
    where
        H: Fn(StoredMessage) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.check()?;
        let handler: run::Handler = Arc::new(move |message| Box::pin(handler(message)));
        let running = Running::start(self.core, self.settings, Delivering::Orderly(handler)).await?;
        running.ended().await;
        Ok(())
    }

    /// A stream of messages. Acknowledge each ([`Delivery::ack`]); one that is dropped without is tried again later.
    ///
    /// Returns when the brokers have been told of the member, or could not be within 3 s. Dropping the future ends the member
    /// that it began.
    pub async fn stream(self) -> Result<Deliveries, Error> {
        self.check()?;
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let running = Running::start(self.core, self.settings, Delivering::Stream(sender)).await?;
        Ok(Deliveries::new(receiver, running))
    }

    fn check(&self) -> Result<(), Error> {
        name::check_group(&self.settings.group).map_err(Error::invalid)?;
        if self.settings.subscriptions.is_empty() {
            return Err(Error::Invalid(format!("group {} subscribes to nothing", self.settings.group)));
        }
        for (index, (topic, filter)) in self.settings.subscriptions.iter().enumerate() {
            name::check_topic(topic).map_err(Error::invalid)?;
            filter.check()?;
            if self.settings.subscriptions[..index].iter().any(|(other, _)| other == topic) {
                return Err(Error::Invalid(format!("topic {topic} is subscribed to twice")));
            }
        }
        for queue in self.settings.assigned.iter().flatten() {
            if !self.settings.subscriptions.iter().any(|(topic, _)| topic == queue.topic()) {
                return Err(Error::Invalid(format!("{queue} is assigned, and its topic not subscribed to")));
            }
        }
        Ok(())
    }
}
