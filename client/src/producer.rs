//! Sending.
//!
//! ```text
//! check ─► queue ─► connection ─► answer ─┬─► stored
//!            ▲                            └─► failed ─► worth another try, and time left?
//!            └────────────────── wait ◄───────────────── yes: another queue, rather of another broker
//! ```
//!
//! Invariants
//!  1. `Ok` means that the broker has stored the message as safely as it is configured to.
//!  2. An error without [`Error::outcome_unknown`] means that the message is nowhere, and no try of it is under way.
//!  3. All tries together end by the deadline.
//!  4. A message with an order key, and one with a given queue, goes to that queue or nowhere.

use crate::compression::{self, Compression};
use crate::core::{Core, NEW_TOPIC_QUEUES, wall_ms};
use crate::edge::answer::Answer;
use crate::edge::connection::Request;
use crate::edge::connections::lock;
use crate::error::Error;
use crate::limits::{BODY_BYTES_MAX, COMPRESS_ABOVE_BYTES};
use crate::message::Message;
use crate::queue::Queue;
use crate::rules::backoff::Backoff;
use crate::rules::queue_choice;
use crate::rules::route::TopicRoute;
use crate::stored_message::StoredMessage;
use bytes::Bytes;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::name::{self, AUTO_CREATE_TOPIC, CLIENT_INNER_PRODUCER};
use ringmq_wire::record::batch;
use ringmq_wire::record::properties::{
    self, DELAY, MAX_RECONSUME_TIMES, NAME_END, ORIGIN_MESSAGE_ID, PAIR_END, RECONSUME_TIME, RETRY_TOPIC,
    TRANSACTION_PREPARED, UNIQUE_KEY,
};
use ringmq_wire::request::send::{SendReply, SendRequest};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The group of producers that name none.
const DEFAULT_GROUP: &str = "ringmq-client";
/// All tries of one send together.
const TIMEOUT: Duration = Duration::from_secs(15);
/// One try, while there is time for others. (RocketMQ: `sendMsgTimeout`)
const TRY_TIMEOUT: Duration = Duration::from_secs(3);
/// Between tries.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Sends messages. Cheap to clone; clones share everything.
///
/// Many sends at once are the fast way: what is ready together leaves in one write and is stored by one flush.
///
/// ```no_run
/// # async fn example(client: ringmq_client::Client) -> Result<(), ringmq_client::Error> {
/// use ringmq_client::Message;
///
/// let producer = client.producer().build()?;
/// let receipt = producer.send(Message::new("orders", "four boxes")).await?;
/// println!("{} is at {} in {}", receipt.id, receipt.offset, receipt.queue);
/// # Ok(())
/// # }
/// ```
///
/// # When a send is repeated
///
/// A try that failed is followed by others until the deadline ([`ProducerBuilder::timeout`]), with pauses that double, at
/// another broker if there is one. If the outcome of a try is not known (no answer came, or the connection ended), the
/// message may be stored twice then: consumers are told *at least once*. [`ProducerBuilder::at_most_once`] gives such a
/// message up instead.
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    settings: Settings,
}

#[derive(Debug, Clone)]
struct Settings {
    group: String,
    timeout: Duration,
    repeat_unknown: bool,
    avoid_slow: bool,
    compression: Option<Compression>,
    compress_above: usize,
}

/// Settings of a [`Producer`].
#[derive(Debug, Clone)]
#[must_use = "a producer is made by `build`"]
pub struct ProducerBuilder {
    core: Arc<Core>,
    settings: Settings,
}

impl ProducerBuilder {
    pub(crate) fn new(core: Arc<Core>) -> ProducerBuilder {
        let settings = Settings {
            group: DEFAULT_GROUP.to_owned(),
            timeout: TIMEOUT,
            repeat_unknown: true,
            avoid_slow: false,
            compression: compression::default_form(),
            compress_above: COMPRESS_ABOVE_BYTES,
        };
        ProducerBuilder { core, settings }
    }

    /// The group that brokers know it under.
    pub fn group(mut self, group: impl Into<String>) -> ProducerBuilder {
        self.settings.group = group.into();
        self
    }

    /// How long a send may take, all tries together; 15 s unless said.
    pub fn timeout(mut self, timeout: Duration) -> ProducerBuilder {
        self.settings.timeout = timeout;
        self
    }

    /// Does not repeat a send whose outcome is not known; see [`Producer`].
    pub fn at_most_once(mut self) -> ProducerBuilder {
        self.settings.repeat_unknown = false;
        self
    }

    /// Leaves brokers alone for a while whose answers are slow or do not come, if there are others: from 2 s after an
    /// answer that took 550 ms to 30 s after one that took 15 s. (RocketMQ: `sendLatencyFaultEnable`)
    pub fn avoid_slow_brokers(mut self) -> ProducerBuilder {
        self.settings.avoid_slow = true;
        self
    }

    /// How bodies are compressed, `None` for not at all. Unless said: zlib, if the feature is there.
    pub fn compression(mut self, form: impl Into<Option<Compression>>) -> ProducerBuilder {
        self.settings.compression = form.into();
        self
    }

    /// Bodies of more bytes than this are compressed; 4096 unless said. Batches never are.
    pub fn compress_above(mut self, bytes: usize) -> ProducerBuilder {
        self.settings.compress_above = bytes;
        self
    }

    /// Makes the producer. Nothing is sent yet.
    pub fn build(self) -> Result<Producer, Error> {
        name::check_group(&self.settings.group).map_err(Error::invalid)?;
        self.core.add_producer(&self.settings.group);
        Ok(Producer { shared: Arc::new(Shared { core: self.core, settings: self.settings }) })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.core.remove_producer(&self.settings.group);
    }
}

/// Where a message is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The message's id, made by this client. (RocketMQ: `UNIQ_KEY`)
    pub id: String,
    /// The broker's id for the place, by which the message can be fetched. (RocketMQ: `offsetMsgId`)
    pub place: String,
    /// The queue.
    pub queue: Queue,
    /// Its number in the queue.
    pub offset: i64,
}

impl Producer {
    /// Stores a message. `Ok` means stored; see [`Error`] for what else.
    ///
    /// Dropping the future before it is ready makes the outcome unknown: the message may be on its way already.
    pub async fn send(&self, message: Message) -> Result<Receipt, Error> {
        self.send_somewhere(message, None).await
    }

    /// Stores a message in this queue. Dropping the future: as for [`Producer::send`].
    pub async fn send_to(&self, queue: &Queue, message: Message) -> Result<Receipt, Error> {
        if queue.topic() != message.topic() {
            return Err(Error::Invalid(format!("{queue} is no queue of topic {}", message.topic)));
        }
        self.send_somewhere(message, Some(queue)).await
    }

    /// Stores several messages of one topic together, in one queue and in this order, by one request: all of them or
    /// none. All together have at most 4 MiB. Order keys are those of the first message.
    ///
    /// Dropping the future: as for [`Producer::send`].
    pub async fn send_batch(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Vec<Receipt>, Error> {
        let outgoing = self.pack_batch(messages.into_iter().collect())?;
        if outgoing.ids.is_empty() {
            return Ok(Vec::new());
        }
        self.deliver(&outgoing, None).await
    }

    /// Hands a message to the connection and waits for no answer: nobody will know whether it arrived. `Ok` means queued for
    /// the socket.
    ///
    /// Dropping the future before it is ready: nothing was sent.
    pub async fn send_oneway(&self, message: Message) -> Result<(), Error> {
        let outgoing = self.pack(message)?;
        let Shared { core, settings } = &*self.shared;
        let deadline = Instant::now() + settings.timeout;
        let route = core.route_to_send(&outgoing.topic, deadline).await?;
        let (queue, address) = self.choose(&route, &outgoing, None, None)?;
        let room = core.connections.room(outgoing.body.len(), deadline).await?;
        let connection = core.connections.get(address, deadline).await?;
        outgoing.with_request(&settings.group, queue.id, |request| connection.one_way(request, room))
    }

    /// The queues that messages of a topic can go to now.
    pub async fn queues(&self, topic: &str) -> Result<Vec<Queue>, Error> {
        let deadline = Instant::now() + self.shared.settings.timeout;
        Ok(self.shared.core.route_to_send(topic, deadline).await?.writable.clone())
    }

    async fn send_somewhere(&self, message: Message, queue: Option<&Queue>) -> Result<Receipt, Error> {
        let outgoing = self.pack(message)?;
        let mut receipts = self.deliver(&outgoing, queue).await?;
        Ok(receipts.pop().expect("a message has a receipt"))
    }

    /// Tries until it is stored, or refused for good, or the deadline has come.
    async fn deliver(&self, outgoing: &Outgoing, given: Option<&Queue>) -> Result<Vec<Receipt>, Error> {
        let core = &self.shared.core;
        let deadline = Instant::now() + self.shared.settings.timeout;
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut failed: Option<Arc<str>> = None;
        let mut unknown: Option<Error> = None;
        loop {
            let error = match self.try_once(outgoing, given, &mut failed, deadline).await {
                Ok(receipts) => return Ok(receipts),
                Err(error) => error,
            };
            let is_unknown = error.outcome_unknown();
            let may_repeat = error.is_retryable() && (!is_unknown || self.shared.settings.repeat_unknown);
            let wait = backoff.failed(&mut core.random());
            if !may_repeat || core.is_stopped() || Instant::now() + wait >= deadline {
                // A later refusal does not undo an earlier try.
                return Err(if is_unknown { error } else { unknown.unwrap_or(error) });
            }
            tracing::debug!(topic = outgoing.topic, %error, ?wait, "send is repeated");
            if is_unknown {
                unknown = Some(error);
            }
            core.doubt(&outgoing.topic);
            sleep(wait).await;
        }
    }

    async fn try_once(
        &self,
        outgoing: &Outgoing,
        given: Option<&Queue>,
        failed: &mut Option<Arc<str>>,
        deadline: Instant,
    ) -> Result<Vec<Receipt>, Error> {
        let Shared { core, settings } = &*self.shared;
        let began = Instant::now();
        let deadline = deadline.min(began + TRY_TIMEOUT);
        let route = core.route_to_send(&outgoing.topic, deadline).await?;
        let (queue, address) = self.choose(&route, outgoing, given, failed.as_deref())?;
        let room = core.connections.room(outgoing.body.len(), deadline).await?;
        let answer = match core.connections.get(address, deadline).await {
            Ok(connection) => {
                let call = outgoing.with_request(&settings.group, queue.id, |request| {
                    connection.call(request, deadline, Some(room))
                });
                call.await
            }
            Err(error) => Err(error),
        };
        let receipts = answer.and_then(|answer| outgoing.receipts(queue, &answer));
        if settings.avoid_slow {
            let latency = receipts.is_ok().then(|| began.elapsed());
            lock(&core.avoidance).note(&queue.broker, latency, core.now());
        }
        if receipts.is_err() {
            *failed = Some(queue.broker.clone());
        }
        receipts
    }

    /// The queue for a message, and its broker's address.
    fn choose<'r>(
        &self,
        route: &'r TopicRoute,
        outgoing: &Outgoing,
        given: Option<&'r Queue>,
        failed: Option<&str>,
    ) -> Result<(&'r Queue, &'r str), Error> {
        let core = &self.shared.core;
        let queue = match (given, &outgoing.ordered_by) {
            (Some(queue), _) => Some(queue),
            (None, Some(key)) => queue_choice::by_key(&route.writable, key),
            (None, None) => {
                let turn = core.turn.fetch_add(1, Ordering::Relaxed);
                let avoidance = lock(&core.avoidance);
                queue_choice::in_turn(&route.writable, turn, failed, &avoidance, core.now())
            }
        };
        let chosen = queue.and_then(|queue| Some((queue, route.master(&queue.broker)?)));
        chosen.ok_or_else(|| Error::NoRoute { topic: outgoing.topic.clone() })
    }

    fn pack(&self, message: Message) -> Result<Outgoing, Error> {
        message.check()?;
        let now_ms = wall_ms();
        let mut outgoing = Outgoing {
            topic: message.topic,
            properties: message.properties,
            ordered_by: message.ordered_by,
            flag: message.flag,
            born_ms: now_ms,
            ..Outgoing::default()
        };
        outgoing.push_id(&self.shared.core, now_ms);
        let settings = &self.shared.settings;
        let form = settings.compression.filter(|_| message.body.len() > settings.compress_above);
        (outgoing.body, outgoing.sys_flag) =
            match form.and_then(|form| compression::compress(form, &message.body)) {
                Some((packed, bits)) => (packed.into(), bits),
                None => (message.body, 0),
            };
        outgoing.check_size()?;
        Ok(outgoing)
    }

    fn pack_batch(&self, messages: Vec<Message>) -> Result<Outgoing, Error> {
        let now_ms = wall_ms();
        let mut outgoing = Outgoing { is_batch: true, born_ms: now_ms, ..Outgoing::default() };
        let mut body = Vec::new();
        for mut message in messages {
            message.check()?;
            if outgoing.ids.is_empty() {
                (outgoing.topic, outgoing.ordered_by) = (message.topic, message.ordered_by);
            } else if outgoing.topic != message.topic {
                let (one, other) = (&outgoing.topic, &message.topic);
                return Err(Error::Invalid(format!("a batch has one topic, not {one} and {other}")));
            }
            std::mem::swap(&mut outgoing.properties, &mut message.properties);
            outgoing.push_id(&self.shared.core, now_ms);
            std::mem::swap(&mut outgoing.properties, &mut message.properties);
            let properties = message.properties.as_bytes();
            let item = batch::Item { flag: message.flag, body: &message.body, properties };
            if !item.encode(&mut body) {
                return Err(Error::Invalid(format!("a body of {} bytes fits no batch", message.body.len())));
            }
        }
        outgoing.body = body.into();
        outgoing.check_size()?;
        Ok(outgoing)
    }
}

/// A message, or several, ready for any queue of its topic.
#[derive(Debug, Default)]
struct Outgoing {
    topic: String,
    body: Bytes,
    properties: String,
    ordered_by: Option<String>,
    flag: i32,
    sys_flag: i32,
    born_ms: u64,
    is_batch: bool,
    /// One per message.
    ids: Vec<String>,
    /// Of a message that a consumer gives back: how often it was tried, and how often it may be.
    tried: Option<(i32, i32)>,
}

/// Stores a message that `group` did not consume in its retry topic: its next try. The broker files it as a dead letter if it
/// was tried too often. For brokers that take none back.
///
/// Source: `DefaultMQPushConsumerImpl.sendMessageBackAsNormalMessage`.
pub(crate) async fn resend(
    core: &Arc<Core>,
    group: &str,
    message: &StoredMessage,
    times: u32,
    times_max: u16,
) -> Result<(), Error> {
    const LEVEL_OF_FIRST_RETRY: u32 = 3;
    let origin = message.property(ORIGIN_MESSAGE_ID).map_or_else(|| message.place(), str::to_owned);
    let mut properties = Vec::new();
    let replaced =
        [TRANSACTION_PREPARED, DELAY, RETRY_TOPIC, ORIGIN_MESSAGE_ID, RECONSUME_TIME, MAX_RECONSUME_TIMES];
    properties::copy_without(message.encoded_properties(), &replaced, &mut properties);
    properties::push(RETRY_TOPIC, message.topic(), &mut properties);
    properties::push(ORIGIN_MESSAGE_ID, &origin, &mut properties);
    properties::push_number(
        DELAY,
        i64::from(LEVEL_OF_FIRST_RETRY + message.attempts_before()),
        &mut properties,
    );
    let outgoing = Outgoing {
        topic: name::retry_topic(group),
        body: message.body().clone(),
        properties: String::from_utf8_lossy(&properties).into_owned(),
        flag: message.flag(),
        born_ms: wall_ms(),
        ids: vec![message.id()],
        tried: Some((times.try_into().unwrap_or(i32::MAX), i32::from(times_max))),
        ..Outgoing::default()
    };
    let producer =
        ProducerBuilder::new(core.clone()).group(CLIENT_INNER_PRODUCER).timeout(TRY_TIMEOUT).build()?;
    producer.deliver(&outgoing, None).await.map(drop)
}

impl Outgoing {
    fn push_id(&mut self, core: &Core, now_ms: u64) {
        let mut id = String::with_capacity(32);
        core.push_unique_key(now_ms, &mut id);
        self.properties.reserve(UNIQUE_KEY.len() + id.len() + 2);
        self.properties.push_str(UNIQUE_KEY);
        self.properties.push(char::from(NAME_END));
        self.properties.push_str(&id);
        self.properties.push(char::from(PAIR_END));
        self.ids.push(id);
    }

    fn check_size(&self) -> Result<(), Error> {
        if self.body.len() > BODY_BYTES_MAX {
            let bytes = self.body.len();
            return Err(Error::Invalid(format!("a body of {bytes} bytes exceeds {BODY_BYTES_MAX}")));
        }
        Ok(())
    }

    /// Hands the request for one queue to `send`.
    fn with_request<T>(&self, group: &str, queue_id: i32, send: impl FnOnce(&Request<'_>) -> T) -> T {
        let code = if self.is_batch { RequestCode::SendBatchMessage } else { RequestCode::SendMessageV2 };
        let fields = SendRequest {
            producer_group: group,
            topic: &self.topic,
            default_topic: AUTO_CREATE_TOPIC,
            default_topic_queues: NEW_TOPIC_QUEUES,
            queue_id,
            sys_flag: self.sys_flag,
            born_timestamp_ms: self.born_ms.cast_signed(),
            flag: self.flag,
            properties: &self.properties,
            reconsume_times: self.tried.map_or(0, |(times, _)| times),
            unit_mode: false,
            reconsume_times_max: self.tried.map(|(_, max)| max),
            batch: self.is_batch,
        }
        .fields(code.number());
        send(&Request { code: code.number(), fields: &fields, body: &self.body })
    }

    /// What an answer says about where the messages are.
    fn receipts(&self, queue: &Queue, answer: &Answer) -> Result<Vec<Receipt>, Error> {
        match answer.code {
            response::SUCCESS => {}
            response::FLUSH_DISK_TIMEOUT | response::SLAVE_NOT_AVAILABLE | response::FLUSH_SLAVE_TIMEOUT => {
                return Err(Error::NotDurable { address: answer.from.to_string(), code: answer.code });
            }
            _ => return Err(answer.refusal()),
        }
        let fields = answer.fields();
        let reply = SendReply::decode(&fields).map_err(|error| answer.malformed(error))?;
        let queue = if reply.queue_id == queue.id {
            queue.clone()
        } else {
            Queue::new(queue.topic.clone(), queue.broker.clone(), reply.queue_id)
        };
        let mut places = reply.message_id.split(',');
        let receipt = |(index, id): (usize, &String)| Receipt {
            id: id.clone(),
            place: places.next().unwrap_or_default().to_owned(),
            queue: queue.clone(),
            offset: reply.queue_offset + index as i64,
        };
        Ok(self.ids.iter().enumerate().map(receipt).collect())
    }
}
