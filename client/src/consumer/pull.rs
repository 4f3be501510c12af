//! One pull of one queue, and pulling by hand.

use super::Filter;
use crate::admin::{Admin, Boundary};
use crate::core::Core;
use crate::edge::connection::Request;
use crate::error::Error;
use crate::limits::MESSAGES_PER_PULL;
use crate::queue::Queue;
use crate::stored_message::{StoredMessage, all_in};
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::name;
use ringmq_wire::request::pull::{
    FLAG_STORE_OFFSET, FLAG_SUBSCRIPTION, FLAG_SUSPEND, PullReply, PullRequest,
};
use ringmq_wire::request::subscription::Subscription;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// An answer may be so much later than the pull was told to wait. (RocketMQ: 30 s against 15 s)
const GRACE: Duration = Duration::from_secs(15);

/// What is asked of one queue.
pub(super) struct Wanted<'a> {
    pub group: &'a str,
    pub queue: &'a Queue,
    pub offset: i64,
    pub subscription: &'a Subscription,
    pub messages_max: i32,
    /// How long the broker waits for a message, if there is none.
    pub wait: Duration,
    pub commit: Option<i64>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Messages; then go on at `next`.
    Found { messages: Vec<StoredMessage>, next: i64, first: i64, end: i64 },
    /// Nothing that is wanted; go on at `next`.
    Nothing { next: i64, first: i64, end: i64 },
    /// There is no such offset; go on at `next`.
    Moved { next: i64, first: i64, end: i64 },
}

/// Pulls once.
pub(super) async fn pull(core: &Core, wanted: &Wanted<'_>) -> Result<Outcome, Error> {
    let queue = wanted.queue;
    let deadline = Instant::now() + wanted.wait + GRACE;
    let no_route = || Error::NoRoute { topic: queue.topic().to_owned() };
    let route = core.route(queue.topic(), deadline).await?.ok_or_else(no_route)?;
    let address = route.readable_address(queue.broker()).ok_or_else(no_route)?;
    let mut flags = FLAG_SUBSCRIPTION;
    flags |= if wanted.wait.is_zero() { 0 } else { FLAG_SUSPEND };
    flags |= if wanted.commit.is_some() { FLAG_STORE_OFFSET } else { 0 };
    let fields = PullRequest {
        consumer_group: wanted.group,
        topic: queue.topic(),
        queue_id: queue.id(),
        queue_offset: wanted.offset,
        records_max: wanted.messages_max,
        flags,
        commit_offset: wanted.commit.unwrap_or(0),
        suspend_timeout_ms: i64::try_from(wanted.wait.as_millis()).unwrap_or(i64::MAX),
        subscription: Some(&wanted.subscription.expression),
        subscription_version: wanted.subscription.version,
        expression_type: Some(&wanted.subscription.expression_type),
        bytes_max: None,
    }
    .fields();
    let request = Request { code: RequestCode::PullMessage.number(), fields: &fields, body: &[] };
    let answer = core.ask(address, &request, deadline).await?;
    let is_pulled = matches!(
        answer.code,
        response::SUCCESS
            | response::PULL_NOT_FOUND
            | response::PULL_RETRY_IMMEDIATELY
            | response::PULL_OFFSET_MOVED
    );
    if !is_pulled {
        return Err(answer.refusal());
    }
    let reply = PullReply::decode(&answer.fields()).map_err(|error| answer.malformed(error))?;
    let (next, first, end) = (reply.next_offset, reply.min_offset, reply.max_offset);
    Ok(match answer.code {
        response::SUCCESS => {
            let messages =
                all_in(answer.body.clone(), &queue.broker).map_err(|error| answer.malformed(error))?;
            Outcome::Found { messages, next, first, end }
        }
        response::PULL_OFFSET_MOVED => Outcome::Moved { next, first, end },
        _ => Outcome::Nothing { next, first, end },
    })
}

/// Pulls messages queue by queue: you keep the offsets, and say what is done.
///
/// ```no_run
/// # async fn example(client: ringmq_client::Client) -> Result<(), ringmq_client::Error> {
/// use ringmq_client::Filter;
/// use std::time::Duration;
///
/// let puller = client.puller("audit")?;
/// for queue in puller.queues("orders").await? {
///     let mut offset = puller.committed(&queue).await?.unwrap_or(0);
///     loop {
///         let pulled = puller.pull(&queue, offset, &Filter::all(), 32, Duration::ZERO).await?;
///         for message in &pulled.messages {
///             println!("{}", message.text());
///         }
///         puller.commit(&queue, pulled.next).await?;
///         if pulled.next >= pulled.end {
///             break;
///         }
///         offset = pulled.next;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Puller {
    core: Arc<Core>,
    group: String,
}

/// What a pull brought.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Messages, in the order of their offsets; none if there is nothing that the filter admits.
    pub messages: Vec<StoredMessage>,
    /// The offset to pull next. It may be lower than the one asked for, if that is not there.
    pub next: i64,
    /// The first offset still there.
    pub first: i64,
    /// The offset that the next message will have.
    pub end: i64,
}

impl Puller {
    pub(crate) fn new(core: Arc<Core>, group: String) -> Result<Puller, Error> {
        name::check_group(&group).map_err(Error::invalid)?;
        Ok(Puller { core, group })
    }

    /// The queues of a topic that can be read.
    pub async fn queues(&self, topic: &str) -> Result<Vec<Queue>, Error> {
        let route = self.core.route(topic, Instant::now() + GRACE).await?;
        Ok(route.ok_or_else(|| Error::NoRoute { topic: topic.to_owned() })?.readable.clone())
    }

    /// At most `max` messages (brokers may give fewer: 32 as a rule) from `offset` on, waiting for one at most `wait`, 30 s at
    /// the longest.
    ///
    /// Dropping the future forgets what was pulled; nothing was committed.
    pub async fn pull(
        &self,
        queue: &Queue,
        offset: i64,
        filter: &Filter,
        max: u32,
        wait: Duration,
    ) -> Result<Pulled, Error> {
        let selection = filter.selection()?;
        let wanted = Wanted {
            group: &self.group,
            queue,
            offset,
            subscription: &filter.subscription(queue.topic(), 0),
            messages_max: max.try_into().unwrap_or(MESSAGES_PER_PULL),
            wait: wait.min(Duration::from_secs(30)),
            commit: None,
        };
        Ok(match pull(&self.core, &wanted).await? {
            Outcome::Found { mut messages, next, first, end } => {
                messages.retain(|message| selection.admits_tag(message.tag()));
                Pulled { messages, next, first, end }
            }
            Outcome::Nothing { next, first, end } | Outcome::Moved { next, first, end } => {
                Pulled { messages: Vec::new(), next, first, end }
            }
        })
    }

    /// The offset that the group has committed in a queue; `None` if there is none.
    pub async fn committed(&self, queue: &Queue) -> Result<Option<i64>, Error> {
        self.admin().group_offset(&self.group, queue).await
    }

    /// Commits the offset to consume next.
    pub async fn commit(&self, queue: &Queue, offset: i64) -> Result<(), Error> {
        self.admin().set_group_offset(&self.group, queue, offset).await
    }

    /// The first offset whose message was stored at this time or later.
    pub async fn offset_at(&self, queue: &Queue, time: SystemTime) -> Result<i64, Error> {
        self.admin().offset(queue, Boundary::At(time)).await
    }

    fn admin(&self) -> Admin {
        Admin::new(self.core.clone())
    }
}
